//! One cell in both runs.

use std::collections::{BTreeMap, HashSet};

use super::cases::{CellCases, PairedCase};
use super::compared::{ComparedCell, Ratio};
use super::pair::Pair;
use crate::error::Result;
use crate::judge::analysis::frame::{RequestKey, Timed, VisitKey};
use crate::judge::analysis::quality::{Difference, difference_of_runs};
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{Estimate, MemoryKind, START_NOISE};
use crate::judge::analysis::{Resampling, frame, memory, speed};
use crate::judge::stats::{ClusterSums, holm};
use crate::quantile::median;
use crate::record::{Arm, Source, Trial, metric};

/// Peaks that memory of a kind is compared by: the first that both runs have.
const fn peaks_of(kind: MemoryKind) -> &'static [&'static str] {
    match kind {
        MemoryKind::Gpu => &[metric::PEAK_VRAM_BYTES],
        MemoryKind::Cards => &[metric::PEAK_VRAM_DEVICE_BYTES],
        MemoryKind::Main => &[metric::PEAK_PSS_BYTES, metric::PEAK_RSS_BYTES],
        MemoryKind::Pooled => &[],
    }
}

/// Which memory a server lives in in both runs; `None` where that is not the same.
fn kind(runs: &Pair<'_>, setting: &str, context: u32) -> Option<MemoryKind> {
    let of = |run: &Run<'_>| {
        let measured = memory::measure(run, VisitKey { setting, context, replicate: 0 });
        measured.ok().and_then(|measured| measured.peak_kind)
    };
    of(&runs.a).filter(|kind| of(&runs.b) == Some(*kind))
}

/// Where peaks come from.
const PEAK_SOURCES: &[Source] = &[Source::Nvml, Source::Sysfs, Source::Procfs];

/// The cell, and the p-value of its quality difference before adjustment.
pub(super) fn compare(
    runs: &Pair<'_>,
    setting: &str,
    context: u32,
    cases: &CellCases<'_>,
    floor: Option<f64>,
) -> Result<(ComparedCell, Option<f64>)> {
    let mut cell = blank(setting, context);
    cell.void = void(runs, setting, context);
    if cell.void.is_some() {
        return Ok((cell, None));
    }
    let primary: Vec<&PairedCase<'_>> = cases.paired.iter().filter(|case| case.primary).collect();
    cell.pairs = primary.len() as u32;
    cell.unpaired = cases.unpaired;
    cell.not_comparable.clone_from(&cases.not_comparable);
    cell.lost = primary.iter().filter(|case| case.b < case.a).count() as u32;
    cell.gained = primary.iter().filter(|case| case.b > case.a).count() as u32;
    cell.floor = floor;
    let strata = Strata::of(&primary);
    cell.quality_a = strata.mean(|case| case.a);
    cell.quality_b = strata.mean(|case| case.b);
    let difference = strata.difference(runs, &format!("compare {context} {setting}"));
    cell.quality = difference.as_ref().map(|difference| difference.estimate);
    let speed = |column: &str| speed(runs, setting, context, column);
    cell.decode = speed(frame::DECODE)?;
    cell.prefill = speed(frame::PREFILL)?;
    cell.ttft = speed(frame::TTFT)?;
    cell.energy = speed(frame::ENERGY)?;
    cell.memory = peak_ratio(runs, setting, context);
    Ok((cell, difference.map(|difference| difference.p_value)))
}

/// Puts the p-values in, adjusted over all cells.
pub(super) fn adjust(cells: Vec<(ComparedCell, Option<f64>)>) -> Vec<ComparedCell> {
    let tested: Vec<f64> = cells.iter().filter_map(|(_, p_value)| *p_value).collect();
    let mut adjusted = holm(&tested).into_iter();
    let put = |(cell, p_value): (ComparedCell, Option<f64>)| ComparedCell {
        p_holm: p_value.and_then(|_| adjusted.next()),
        ..cell
    };
    cells.into_iter().map(put).collect()
}

fn blank(setting: &str, context: u32) -> ComparedCell {
    ComparedCell {
        setting: setting.into(),
        context,
        void: None,
        pairs: 0,
        unpaired: 0,
        not_comparable: Vec::new(),
        lost: 0,
        gained: 0,
        quality_a: None,
        quality_b: None,
        quality: None,
        p_holm: None,
        floor: None,
        decode: None,
        prefill: None,
        ttft: None,
        energy: None,
        memory: None,
        kld: None,
        leaked: None,
        failed: None,
    }
}

fn void(runs: &Pair<'_>, setting: &str, context: u32) -> Option<String> {
    let of = |run: &Run<'_>, name: &str| {
        run.void.get(&(setting, context)).map(|reason| format!("in {name}: {reason}"))
    };
    of(&runs.a, "A").or_else(|| of(&runs.b, "B"))
}

/// Cases by task and arm. Tasks at which both runs score 0 can show nothing, and would only dilute the others.
struct Strata<'i, 'a>(Vec<Vec<&'i PairedCase<'a>>>);

impl<'i, 'a> Strata<'i, 'a> {
    fn of(cases: &[&'i PairedCase<'a>]) -> Self {
        let mut strata: BTreeMap<(&str, Option<Arm>), Vec<&'i PairedCase<'a>>> = BTreeMap::new();
        for &case in cases {
            strata.entry((case.task, case.arm)).or_default().push(case);
        }
        let shows = |cases: &Vec<&PairedCase<'_>>| cases.iter().any(|case| case.a > 0.0 || case.b > 0.0);
        Self(strata.into_values().filter(shows).collect())
    }

    fn sums(&self, of: impl Fn(&PairedCase<'_>) -> f64) -> Vec<ClusterSums> {
        let one =
            |cases: &Vec<&PairedCase<'_>>| ClusterSums::of(cases.iter().map(|case| (case.cluster, of(case))));
        self.0.iter().map(one).collect()
    }

    fn mean(&self, of: impl Fn(&PairedCase<'_>) -> f64) -> Option<f64> {
        let means: Vec<f64> = self.sums(of).iter().filter_map(ClusterSums::mean).collect();
        (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
    }

    fn difference(&self, runs: &Pair<'_>, purpose: &str) -> Option<Difference> {
        let changes = self.sums(|case| case.b - case.a);
        difference_of_runs((runs.a.suite, runs.b.suite), &changes, runs.resampling(), purpose)
    }
}

/// A figure in both runs, compared request by request: the runs may have other mixes of long and short prompts.
fn speed(runs: &Pair<'_>, setting: &str, context: u32, column: &str) -> Result<Option<Ratio>> {
    let visit = VisitKey { setting, context, replicate: 0 };
    let (a, b) = (runs.a.frame.timed(visit, column)?, runs.b.frame.timed(visit, column)?);
    Ok(ratio(&a, &b, runs.resampling(), &format!("compare {column} {context} {setting}")))
}

/// The median of the ratios over the requests that both runs timed, beside the medians over the same requests.
fn ratio(a: &[Timed], b: &[Timed], resampling: Resampling, purpose: &str) -> Option<Ratio> {
    let found = speed::ratio(b, a, resampling, purpose)?.estimate;
    let shared = |ours: &[Timed], theirs: &[Timed]| {
        let theirs: HashSet<&RequestKey> = theirs.iter().map(|timed| &timed.request).collect();
        let shared = ours.iter().filter(|timed| theirs.contains(&timed.request));
        median(&mut shared.map(|timed| timed.value).collect::<Vec<f64>>())
    };
    found.value.is_finite().then_some(Ratio { a: shared(a, b)?, b: shared(b, a)?, ratio: found })
}

/// The ratio of the largest peaks, where both are of one kind of memory. Its interval is the hull over all pairs of server processes, widened by
/// what two starts of one server differ by: there are too few of them for a bootstrap.
fn peak_ratio(runs: &Pair<'_>, setting: &str, context: u32) -> Option<Ratio> {
    let kind = kind(runs, setting, context)?;
    if kind == MemoryKind::Pooled {
        return needed_ratio(runs, setting, context);
    }
    let of = |name: &&str| (peaks(&runs.a, setting, context, name), peaks(&runs.b, setting, context, name));
    let in_both = |(a, b): &(Vec<f64>, Vec<f64>)| !a.is_empty() && !b.is_empty();
    let (a, b) = peaks_of(kind).iter().map(of).find(in_both)?;
    let least = |peaks: &[f64]| peaks.iter().copied().min_by(f64::total_cmp);
    let most = |peaks: &[f64]| peaks.iter().copied().max_by(f64::total_cmp);
    let (low_a, high_a, low_b, high_b) = (least(&a)?, most(&a)?, least(&b)?, most(&b)?);
    let ratio = Estimate {
        value: high_b / high_a,
        low: Some(low_b / high_a * (1.0 - START_NOISE)),
        high: Some(high_b / low_a * (1.0 + START_NOISE)),
        n: a.len().min(b.len()) as u32,
    };
    (low_a > 0.0).then_some(Ratio { a: high_a, b: high_b, ratio })
}

/// The ratio of what weights and cache need, which does not vary from start to start.
fn needed_ratio(runs: &Pair<'_>, setting: &str, context: u32) -> Option<Ratio> {
    let needed = |run: &Run<'_>| {
        let measured = memory::measure(run, VisitKey { setting, context, replicate: 0 }).ok()?;
        measured.peak_bytes.filter(|bytes| *bytes > 0).map(|bytes| bytes as f64)
    };
    let (a, b) = (needed(&runs.a)?, needed(&runs.b)?);
    let value = b / a;
    let ratio = Estimate { value, low: Some(value), high: Some(value), n: 1 };
    Some(Ratio { a, b, ratio })
}

/// Peak of each server process (bytes), by one name of measurement.
fn peaks(run: &Run<'_>, setting: &str, context: u32, name: &str) -> Vec<f64> {
    let here = |trial: &&Trial| {
        trial.key.setting == setting && trial.key.context == context && trial.key.replicate == 0
    };
    let mut peaks: BTreeMap<u32, f64> = BTreeMap::new();
    for trial in run.journal.trials.iter().filter(here) {
        if let Some(bytes) = PEAK_SOURCES.iter().find_map(|source| trial.measured(name, *source)) {
            let peak = peaks.entry(trial.launch).or_default();
            *peak = peak.max(bytes);
        }
    }
    peaks.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESAMPLING: Resampling =
        Resampling { seed: 3, draws: 400, confidence: 0.95, graded_from: Resampling::GRADED_UNITS };

    /// Requests of server processes, in order; they pair by their order.
    fn timed(visits: &[Vec<f64>]) -> Vec<Timed> {
        let mut all = Vec::new();
        for (launch, values) in visits.iter().enumerate() {
            for (at, value) in values.iter().enumerate() {
                let case = format!("{launch} {at}").into();
                let request = RequestKey { task: "t".into(), arm: "".into(), case };
                all.push(Timed { launch: launch as u32, request, prompt_tokens: 100, value: *value });
            }
        }
        all
    }

    #[test]
    fn ratios_have_intervals_around_them() {
        let visits =
            |centre: f64| vec![(0..20).map(|i| centre + f64::from(i % 5) - 2.0).collect::<Vec<_>>(); 4];
        let ratio = ratio(&timed(&visits(50.0)), &timed(&visits(40.0)), RESAMPLING, "t").unwrap();
        assert_eq!((ratio.a, ratio.b, ratio.ratio.value), (50.0, 40.0, 0.8));
        assert!(ratio.ratio.low.unwrap() > 0.7 && ratio.ratio.high.unwrap() < 0.9, "{ratio:?}");
    }

    #[test]
    fn two_requests_have_no_interval_and_others_than_shared_ones_no_part() {
        let a = timed(&[vec![1.0, 1.0]]);
        let mut b = timed(&[vec![2.0, 2.0, 90.0]]);
        let found = ratio(&a, &b, RESAMPLING, "t").unwrap();
        assert_eq!((found.ratio.value, found.ratio.low, found.b), (2.0, None, 2.0));
        b.drain(..2);
        assert!(ratio(&a, &b, RESAMPLING, "t").is_none(), "no request in common");
    }

    #[test]
    fn equal_speeds_are_rarely_told_apart() {
        use crate::judge::stats::rng;
        use rand::Rng;

        // Two runs of one truth: three visits of eight trials each, every time 1 + 20% noise.
        const WORLDS: u32 = 200;
        let resampling =
            Resampling { seed: 3, draws: 150, confidence: 0.95, graded_from: Resampling::GRADED_UNITS };
        let mut noise = rng(11, "worlds");
        let mut alarms = 0;
        for _ in 0..WORLDS {
            let mut visits = || -> Vec<Vec<f64>> {
                let mut trial = || 1.0 + 0.2 * f64::from(noise.next_u32()) / f64::from(u32::MAX);
                (0..3).map(|_| (0..8).map(|_| trial()).collect()).collect()
            };
            let (a, b) = (timed(&visits()), timed(&visits()));
            let ratio = ratio(&a, &b, resampling, "t").unwrap().ratio;
            alarms += u32::from(ratio.low > Some(1.0) || ratio.high < Some(1.0));
        }
        assert!(alarms <= WORLDS * 7 / 100, "{alarms} false alarms of {WORLDS}");
    }
}
