//! Peak memory of a cell, and which memory that is.

use super::frame::{self, VisitKey};
use super::run::Run;
use super::summary::{MemoryKind, MemorySummary, PoolSummary};
use crate::error::Result;
use crate::record::{Effective, Measurement, Placement, metric};

/// The largest of the peaks of the cell's trials, and the buffers that the engine reported.
pub(crate) fn measure(run: &Run<'_>, visit: VisitKey<'_>) -> Result<MemorySummary> {
    if run.suite.is_packed(visit.setting) {
        // That of another machine.
        return Ok(MemorySummary::default());
    }
    let visit = asked_as_others(run, visit);
    let peak =
        |column| run.frame.largest(visit, column).filter(|bytes| *bytes >= 0.0).map(|bytes| bytes as u64);
    let peak_rss_bytes = peak(frame::RSS);
    let peak_pss_bytes = peak(frame::PSS);
    let peak_vram_bytes = peak(frame::VRAM);
    let peak_vram_device_bytes = peak(frame::VRAM_DEVICE);
    let launches: Vec<&Effective> =
        run.launches(visit.setting, visit.context).map(|launch| &launch.effective).collect();
    let trials = run.trials(visit);
    let measurements = || trials.clone().flat_map(|trial| trial.measurements.iter());
    let place = match by_probes(measurements()) {
        // An older run, whose figures stay what they were.
        Place::NotAsked if peak_vram_bytes.is_some() => Place::NotAsked,
        seen => by_engine(run, visit.setting, &launches).unwrap_or(seen),
    };
    let peaks = Peaks {
        server: peak_vram_bytes,
        cards: peak_vram_device_bytes,
        main: peak_pss_bytes.or(peak_rss_bytes),
    };
    let (kind, peak_bytes) = peaks.of(&place);
    let peak_absent =
        (peak_bytes.is_none() && trials.len() > 0).then(|| why_absent(&place, measurements())).flatten();
    let kind = kind.filter(|_| peak_bytes.is_some());
    let parts = Parts { kind, launches: &launches };
    let pool = launches.iter().find_map(|effective| pool_of(effective));
    let model_bytes = parts.part(&|e| e.model_gpu_bytes, &|e| e.model_bytes);
    let kv_bytes = parts.largest(&Effective::kv_bytes).or_else(|| Some(pool?.at(visit.context)));
    let weights = model_bytes.or_else(|| file_of(run, visit.setting));
    let needed = pool.and(weights).zip(kv_bytes).map(|(weights, kv)| weights.saturating_add(kv));
    Ok(MemorySummary {
        peak_bytes: needed.or(peak_bytes),
        peak_kind: needed.map_or(kind, |_| Some(MemoryKind::Pooled)),
        peak_absent: peak_absent.filter(|_| needed.is_none()),
        peak_vram_bytes,
        peak_vram_device_bytes,
        peak_rss_bytes,
        peak_pss_bytes,
        peak_anon_bytes: peak(frame::ANON),
        peak_file_bytes: peak(frame::FILE),
        kv_bytes,
        compute_bytes: parts.part(&|e| e.compute_gpu_bytes, &|e| e.compute_bytes),
        model_bytes,
        pool,
        kv_gpu_bytes: parts.largest(&|effective| effective.kv_gpu_bytes),
        model_mapped_bytes: parts.largest(&|effective| effective.model_mapped_bytes),
    })
}

/// Where cases are chosen (`window`), the reference's first visit answers all of them, and what it took for those that nobody else
/// is asked is no setting's figure. Its second visit is asked what the others are.
fn asked_as_others<'v>(run: &Run<'_>, visit: VisitKey<'v>) -> VisitKey<'v> {
    let second = VisitKey { replicate: 1, ..visit };
    let is_reference = visit.setting == run.suite.reference().label;
    let chose = run.suite.tasks.iter().any(|task| task.window.is_some());
    if is_reference && chose && run.trials(second).len() > 0 { second } else { visit }
}

fn pool_of(effective: &Effective) -> Option<PoolSummary> {
    let token_bytes = effective.pool_token_bytes()?;
    Some(PoolSummary { bytes: effective.kv_pool_bytes?, tokens: effective.kv_pool_tokens?, token_bytes })
}

/// Size of the setting's weights on disk (bytes), where the run has the file.
fn file_of(run: &Run<'_>, label: &str) -> Option<u64> {
    let model = run.model_of(run.setting(label)?)?;
    Some(model.bytes).filter(|bytes| *bytes > 0)
}

/// What several sizes of an engine's buffers come to.
struct Parts<'a> {
    kind: Option<MemoryKind>,
    launches: &'a [&'a Effective],
}

impl Parts<'_> {
    fn largest(&self, of: &dyn Fn(&Effective) -> Option<u64>) -> Option<u64> {
        self.launches.iter().filter_map(|launch| of(launch)).max()
    }

    /// Of buffers, those in the memory that the peak is of; all of them where that is not known.
    fn part(
        &self,
        on_cards: &dyn Fn(&Effective) -> Option<u64>,
        all: &dyn Fn(&Effective) -> Option<u64>,
    ) -> Option<u64> {
        match self.kind {
            Some(MemoryKind::Gpu | MemoryKind::Cards) => self.largest(on_cards).or_else(|| self.largest(all)),
            Some(MemoryKind::Main) => {
                self.largest(&|e| Some(all(e)?.saturating_sub(on_cards(e).unwrap_or_default())))
            }
            Some(MemoryKind::Pooled) | None => self.largest(all),
        }
    }
}

/// Where a server's weights and caches are.
#[derive(Debug, PartialEq)]
enum Place {
    Cards,
    Main,
    /// The run says nothing of it: it was measured before anybody asked.
    NotAsked,
    /// Nobody could tell, and why.
    Unknown(String),
}

/// As the engine says of its buffers.
fn by_engine(run: &Run<'_>, setting: &str, launches: &[&Effective]) -> Option<Place> {
    let setting = run.suite.settings.iter().find(|known| known.label == setting)?;
    let placement = Placement::of(&run.journal.header.engines, &setting.engine);
    if placement == Placement::Cards {
        let machine = &run.journal.header.machine;
        let has_cards = !machine.gpus.is_empty() || !machine.cards.is_empty();
        return Some(if has_cards { Place::Cards } else { Place::Main });
    }
    let weights_on_cards = |effective: &&Effective| effective.model_gpu_bytes > Some(0);
    if launches.iter().any(weights_on_cards) {
        return Some(Place::Cards);
    }
    let described = launches.iter().any(|effective| effective.model_bytes.is_some());
    (described && placement == Placement::Logged).then_some(Place::Main)
}

/// As the probes saw it: on a card by any of them, else not known if any could not tell.
fn by_probes(measurements: impl Iterator<Item = Measurement>) -> Place {
    let mut place = Place::NotAsked;
    for found in measurements.filter(|measurement| measurement.name == metric::ON_GPU) {
        match (found.value, &found.absent) {
            (Some(value), _) if value > 0.0 => return Place::Cards,
            (Some(_), _) if place == Place::NotAsked => place = Place::Main,
            (Some(_), _) => {}
            (None, reason) => {
                place = Place::Unknown(reason.as_deref().unwrap_or("no reason given").to_owned());
            }
        }
    }
    place
}

/// Whether main memory cannot be taken for a server's: it is on a card, or nobody can tell.
pub(crate) fn may_be_on_a_card(measurements: impl Iterator<Item = Measurement>) -> bool {
    !matches!(by_probes(measurements), Place::Main | Place::NotAsked)
}

/// Peaks by memory (bytes).
struct Peaks {
    server: Option<u64>,
    cards: Option<u64>,
    main: Option<u64>,
}

impl Peaks {
    /// The peak of the memory that a server lives in. One of another kind never stands in for it: where the server's
    /// part of the cards is not known, what is in use on them is the most that it can be, and is called that.
    fn of(&self, place: &Place) -> (Option<MemoryKind>, Option<u64>) {
        match place {
            Place::Main => (Some(MemoryKind::Main), self.main),
            Place::NotAsked if self.server.is_none() => (Some(MemoryKind::Main), self.main),
            _ if self.server.is_some() => (Some(MemoryKind::Gpu), self.server),
            _ => (Some(MemoryKind::Cards), self.cards),
        }
    }
}

/// Why there is no peak.
fn why_absent(place: &Place, measurements: impl Iterator<Item = Measurement>) -> Option<String> {
    if let Place::Unknown(reason) = place {
        return Some(format!("whether it is on a graphics card: {reason}"));
    }
    let (wanted, what) = match place {
        Place::Cards => (metric::PEAK_VRAM_BYTES, "GPU memory of the server"),
        _ => (metric::PEAK_RSS_BYTES, "its main memory"),
    };
    let absent = measurements.filter(|m| m.name == wanted).find_map(|m| m.absent).map(|why| why.as_str())?;
    Some(format!("{what}: {absent}"))
}

#[cfg(test)]
mod tests {
    use super::super::summarise;
    use super::super::testing::{OTHER, Play, REFERENCE, right};
    use super::*;
    use crate::record::Source;

    /// On that card the reference took 48 MiB more once, for a case that it could not answer and nobody else was asked.
    #[test]
    fn the_reference_that_chose_cases_is_charged_for_what_the_others_were_asked() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/choose-16k");
        let summary = summarise(&crate::record::journal::load(&folder).unwrap()).unwrap();
        let mib = |cell: &crate::judge::analysis::summary::CellSummary| cell.memory.peak_bytes.unwrap() >> 20;
        let peaks: Vec<u64> = summary.cells.iter().map(mib).collect();
        assert_eq!(peaks, [675, 585, 561, 537]);
    }

    /// vLLM's 1 GiB for 177,536 tokens and 1.18 GiB of weights, whatever its process holds.
    #[test]
    fn a_server_with_a_pool_is_charged_for_what_a_request_needs() {
        let mut journal = Play::new("").reference().other(right).journal;
        let launch = serde_json::json!({
            "id": 0, "setting": REFERENCE, "context": 512, "round": 0, "replicate": 0, "started": "2026-01-01T00:00:00Z",
            "argv": { "program": "vllm", "args": [], "env": [] }, "deviations": [], "failure": null, "log": "", "load_s": 1.0,
            "effective": { "kv_pool_bytes": 1_u64 << 30, "kv_pool_tokens": 177_536, "model_bytes": 1_267_014_000_u64 },
        });
        journal.launches.push(serde_json::from_value(launch).unwrap());
        let summary = summarise(&journal).unwrap();
        let of =
            |setting: &str| summary.cells.iter().find(|cell| cell.setting == setting).unwrap().memory.clone();
        let pooled = of(REFERENCE);
        let pool = pooled.pool.unwrap();
        assert_eq!((pool.bytes, pool.tokens, pool.token_bytes.round()), (1 << 30, 177_536, 6048.0));
        // 512 tokens of 6,048.02 bytes.
        assert_eq!(pooled.kv_bytes, Some(3_096_588));
        assert_eq!((pooled.peak_kind, pooled.peak_bytes), (Some(MemoryKind::Pooled), Some(1_270_110_588)));
        assert_eq!(pooled.peak_rss_bytes, Some(500_000_000), "what was measured stays");
        let other = of(OTHER);
        assert_eq!((other.peak_kind, other.pool), (Some(MemoryKind::Main), None));
    }

    fn on_gpu(value: Result<f64, &'static str>) -> Measurement {
        match value {
            Ok(value) => Measurement::new(metric::ON_GPU, Source::Nvml, value),
            Err(reason) => Measurement::absent(metric::ON_GPU, Source::Nvml, reason),
        }
    }

    #[test]
    fn main_memory_never_stands_in_for_gpu_memory() {
        let peaks = |server, cards| Peaks { server, cards, main: Some(12) };
        let unknown = || Place::Unknown("container".into());
        assert_eq!(peaks(Some(5), Some(6)).of(&Place::Cards), (Some(MemoryKind::Gpu), Some(5)));
        assert_eq!(peaks(None, Some(6)).of(&Place::Cards), (Some(MemoryKind::Cards), Some(6)));
        assert_eq!(peaks(None, None).of(&Place::Cards).1, None);
        assert_eq!(peaks(None, Some(6)).of(&unknown()), (Some(MemoryKind::Cards), Some(6)));
        assert_eq!(peaks(None, None).of(&unknown()).1, None);
        assert_eq!(peaks(None, Some(6)).of(&Place::Main), (Some(MemoryKind::Main), Some(12)));
        assert_eq!(
            peaks(Some(1), Some(6)).of(&Place::Main),
            (Some(MemoryKind::Main), Some(12)),
            "nor the other way"
        );
        assert_eq!(
            peaks(None, Some(6)).of(&Place::NotAsked),
            (Some(MemoryKind::Main), Some(12)),
            "older runs"
        );
        assert_eq!(peaks(Some(5), None).of(&Place::NotAsked), (Some(MemoryKind::Gpu), Some(5)));
    }

    #[test]
    fn one_probe_that_cannot_tell_makes_it_unknown_and_one_that_sees_it_certain() {
        let place = |all: &[Measurement]| by_probes(all.iter().copied());
        assert_eq!(place(&[]), Place::NotAsked);
        assert_eq!(place(&[on_gpu(Ok(0.0)), on_gpu(Ok(0.0))]), Place::Main);
        assert_eq!(place(&[on_gpu(Ok(0.0)), on_gpu(Err("hidden"))]), Place::Unknown("hidden".into()));
        assert_eq!(place(&[on_gpu(Err("hidden")), on_gpu(Ok(0.0))]), Place::Unknown("hidden".into()));
        assert_eq!(place(&[on_gpu(Err("hidden")), on_gpu(Ok(1.0))]), Place::Cards);
    }
}
