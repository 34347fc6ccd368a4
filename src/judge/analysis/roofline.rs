//! How near decoding is to what memory allows. To make one token for one stream, a server reads every weight that the token goes
//! through and the whole cache, and computes two operations a weight: far below the balance of any processor, so bandwidth is the
//! roof (Williams, Waterman, Patterson 2009, Communications of the ACM 52(4)). A low share says that something else holds the
//! setting back: a kernel, a copy between memories, a card that waits to be told what to do.

use super::run::Run;
use super::summary::{BandwidthSource, CellSummary, Roofline};
use crate::record::{Effective, Machine, ModelInfo, Placement, cards};

/// Parts that a graph is split into where all of it is computed on a card, the row of the input's table apart.
const SPLITS_ON_CARD: u32 = 2;

/// The memory that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Main,
    Card,
}

/// The share of a cell; `None` where anything that it takes is not known.
pub(super) fn of(run: &Run<'_>, cell: &CellSummary) -> Option<Roofline> {
    let setting = run.setting(&cell.setting).filter(|setting| !setting.speculates())?;
    let (model, effective) = (run.model_of(setting)?, cell.effective.as_ref()?);
    let header = &run.journal.header;
    let takes_cards = Placement::of(&header.engines, &setting.engine) == Placement::Cards
        && !header.machine.gpus.is_empty();
    let place = if takes_cards { Place::Card } else { logged(effective, model)? };
    let (bandwidth, source) = bandwidth(&header.machine, place)?;
    let (weights_bytes, kv_bytes) = (model.read_bytes?, kv_bytes(effective, cell.context)?);
    let token = weights_bytes.saturating_add(kv_bytes) as f64;
    let share = cell.decode_tps?.value * token / bandwidth;
    share.is_finite().then_some(Roofline { weights_bytes, kv_bytes, bandwidth, source, share })
}

/// Where all that a token reads lies, by the buffers that a log names; `None` where that is two memories, or not known.
fn logged(effective: &Effective, model: &ModelInfo) -> Option<Place> {
    let cache_apart = effective.kv_gpu_bytes.zip(effective.kv_bytes()).is_some_and(|(card, all)| card < all);
    match effective.model_gpu_bytes.filter(|bytes| *bytes > 0) {
        None => effective.model_bytes.map(|_| Place::Main),
        Some(card) => {
            let whole =
                card >= model.read_bytes? && effective.graph_splits.is_none_or(|n| n <= SPLITS_ON_CARD);
            (whole && !cache_apart).then_some(Place::Card)
        }
    }
}

/// Bytes of the cache that a token reads behind `context` tokens, of a server whose slots hold so many each.
fn kv_bytes(effective: &Effective, context: u32) -> Option<u64> {
    let held = u64::from(effective.context?) * u64::from(effective.slots.unwrap_or(1).max(1));
    let used = u128::from(effective.kv_bytes()?) * u128::from(context);
    u64::try_from(used.checked_div(u128::from(held))?).ok()
}

fn bandwidth(machine: &Machine, place: Place) -> Option<(f64, BandwidthSource)> {
    let (bandwidth, source) = match place {
        Place::Main => (machine.memory_copy_bytes_per_s?, BandwidthSource::Measured),
        // Two cards share the weights in a way that is not known here.
        Place::Card if machine.gpus.len() == 1 => {
            (cards::sheet(&machine.gpus[0])?.bandwidth * 1e9, BandwidthSource::DataSheet)
        }
        Place::Card => return None,
    };
    (bandwidth > 0.0).then_some((bandwidth, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::summarise;
    use crate::judge::analysis::summary::Summary;
    use crate::judge::analysis::testing::{OTHER, Play, REFERENCE, launch, model, right};
    use crate::record::journal::LaunchRecord;

    const GB: u64 = 1_000_000_000;

    fn effective() -> Effective {
        Effective {
            model_bytes: Some(2 * GB),
            k_bytes: Some(GB / 2),
            v_bytes: Some(GB / 2),
            context: Some(1024),
            slots: Some(1),
            ..Effective::default()
        }
    }

    /// Decodes 50 tokens/s; a token reads 1.5 GB of weights and half a cache of 1 GB.
    fn judged(change: impl Fn(&mut Play, &mut Effective)) -> Option<Roofline> {
        let mut play = Play::new("").reference().other(right);
        let header = &mut play.journal.header;
        header.machine.memory_copy_bytes_per_s = Some(400e9);
        header.models = vec![ModelInfo { read_bytes: Some(3 * GB / 2), ..model(2 * GB) }];
        let mut effective = effective();
        change(&mut play, &mut effective);
        for (id, setting) in (0..).zip([REFERENCE, REFERENCE, OTHER]) {
            let ready = LaunchRecord { id, effective: effective.clone(), ..launch(setting, 512) };
            play.journal.launches.push(ready);
        }
        let summary: Summary = summarise(&play.journal).unwrap();
        summary.cells.iter().find(|cell| cell.setting == REFERENCE).unwrap().roofline
    }

    #[test]
    fn a_token_reads_weights_and_the_cache_so_far() {
        let found = judged(|_, _| ()).unwrap();
        assert_eq!((found.weights_bytes, found.kv_bytes), (3 * GB / 2, GB / 2));
        assert_eq!((found.bandwidth, found.source), (400e9, BandwidthSource::Measured));
        assert!((found.share - 50.0 * 2e9 / 400e9).abs() < 1e-9, "{found:?}");
        let of_two = judged(|_, effective| effective.slots = Some(2)).unwrap();
        assert_eq!(of_two.kv_bytes, GB / 4, "the other slot's half is not read");
    }

    #[test]
    fn on_a_card_its_data_sheet_counts() {
        let card = |name: &'static str, gpu: u64, splits: u32| {
            judged(move |play, effective| {
                play.journal.header.machine.gpus = vec![name.into()];
                effective.model_gpu_bytes = Some(gpu);
                effective.kv_gpu_bytes = Some(GB);
                effective.graph_splits = Some(splits);
            })
        };
        let found = card("NVIDIA H200", 2 * GB, 2).unwrap();
        assert_eq!((found.bandwidth, found.source), (4800e9, BandwidthSource::DataSheet));
        assert_eq!(card("NVIDIA H200", GB, 2), None, "a part of the weights lies in main memory");
        assert_eq!(card("NVIDIA H200", 2 * GB, 9), None, "a part is computed elsewhere");
        assert_eq!(card("Nobody's card", 2 * GB, 2), None);
        // vLLM says what its model takes, and not where.
        let vllm = judged(|play, _| {
            play.journal.header.machine.gpus = vec!["NVIDIA H200".into()];
            play.journal.header.suite.settings[0].engine = "vllm".into();
        });
        assert_eq!(vllm.map(|found| found.source), Some(BandwidthSource::DataSheet));
    }

    #[test]
    fn what_is_not_known_is_absent() {
        assert_eq!(judged(|play, _| play.journal.header.machine.memory_copy_bytes_per_s = None), None);
        assert_eq!(judged(|play, _| play.journal.header.models[0].read_bytes = None), None);
        assert_eq!(judged(|_, effective| effective.model_bytes = None), None);
        assert_eq!(judged(|_, effective| effective.k_bytes = None), None);
        assert_eq!(judged(|_, effective| effective.context = Some(0)), None);
        let drafted = |play: &mut Play, _: &mut Effective| {
            play.journal.header.suite.settings[0].speculation = "ngram-simple".into();
        };
        assert_eq!(judged(drafted), None, "a step makes several tokens");
    }
}
