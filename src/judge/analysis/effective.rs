//! Effective context length: how far a setting goes before its quality leaves the reference's, or falls below
//! a fixed line.

use super::gain::reference_of;
use super::summary::{CellSummary, EffectiveLength, EffectivePoint, Summary, Verdict};

/// RULER's fixed line (0..1): the mean score of Llama2-7B at 4K tokens (Hsieh et al. 2024, arXiv 2404.06654,
/// section 4), below which a length does not count as usable.
pub const RULER_LINE: f64 = 0.856;

/// For every setting; empty when quality was measured at fewer than two context lengths.
pub(crate) fn lengths(summary: &Summary) -> Vec<EffectiveLength> {
    let measured =
        summary.cells.iter().filter(|cell| cell.setting == summary.reference && cell.quality.is_some());
    if measured.count() < 2 {
        return Vec::new();
    }
    let mut settings: Vec<&str> = Vec::new();
    for cell in &summary.cells {
        if !settings.contains(&cell.setting.as_str()) {
            settings.push(&cell.setting);
        }
    }
    settings.into_iter().map(|setting| length(summary, setting)).collect()
}

fn length(summary: &Summary, setting: &str) -> EffectiveLength {
    let mut ladder: Vec<&CellSummary> = summary.cells.iter().filter(|cell| cell.setting == setting).collect();
    ladder.sort_by_key(|cell| cell.context);
    let is_reference = setting == summary.reference;
    // The tolerance keeps a difference of exactly the margin, as 2 of 100 cases, from being lost to rounding.
    // Where the reference itself scores no more than that, anything would be within it.
    let keeps = |cell: &CellSummary| {
        let room = reference_of(summary, cell.context)
            .and_then(|reference| reference.quality)
            .map_or(1.0, |quality| quality.value);
        let within = |value: f64| value >= -summary.margin - 1e-9 && room > summary.margin;
        is_reference || cell.difference.is_some_and(|change| within(change.value))
    };
    let proven = |cell: &CellSummary| is_reference || cell.verdict == Verdict::NoWorse;
    let above = |cell: &CellSummary| cell.quality.is_some_and(|quality| quality.value >= RULER_LINE);
    EffectiveLength {
        setting: setting.into(),
        within_margin: last_of_run(&ladder, keeps),
        shown_within_margin: last_of_run(&ladder, proven),
        above_line: last_of_run(&ladder, above),
        points: ladder
            .iter()
            .map(|cell| EffectivePoint {
                context: cell.context,
                quality: cell.quality,
                difference: cell.difference,
                verdict: cell.verdict,
            })
            .collect(),
    }
}

/// The last context length before the first at which `holds` fails or nothing was measured: a length counts
/// only when all shorter ones do.
fn last_of_run(ladder: &[&CellSummary], holds: impl Fn(&CellSummary) -> bool) -> Option<u32> {
    let run = ladder.iter().take_while(|cell| cell.quality.is_some() && holds(cell));
    run.last().map(|cell| cell.context)
}

#[cfg(test)]
mod tests {
    use super::super::summary::Estimate;
    use super::super::testing;
    use super::*;

    fn cell(
        setting: &str,
        context: u32,
        quality: Option<f64>,
        change: Option<f64>,
        verdict: Verdict,
    ) -> CellSummary {
        let estimate = |value: f64| Estimate { value, low: None, high: None, n: 100 };
        let mut cell = testing::cell(setting, context);
        cell.quality = quality.map(estimate);
        cell.difference = change.map(estimate);
        cell.verdict = verdict;
        cell
    }

    fn summary(quick: &[(u32, Option<f64>, f64, Verdict)]) -> Summary {
        let mut summary = testing::summary();
        let reference = summary.reference.clone();
        for (context, quality) in [(4096, 0.95), (8192, 0.90), (16_384, 0.80)] {
            summary.cells.push(cell(&reference, context, Some(quality), None, Verdict::Reference));
        }
        for &(context, quality, change, verdict) in quick {
            summary.cells.push(cell("quick", context, quality, Some(change), verdict));
        }
        summary
    }

    fn three(length: &EffectiveLength) -> [Option<u32>; 3] {
        [length.within_margin, length.shown_within_margin, length.above_line]
    }

    #[test]
    fn lengths_end_before_the_first_that_fails() {
        use Verdict::{NoWorse, NotSeparable, Worse};
        let lengths = lengths(&summary(&[
            (16_384, Some(0.79), -0.01, NoWorse),
            (4096, Some(0.95), 0.0, NoWorse),
            (8192, Some(0.88), -0.02, NotSeparable),
        ]));
        assert_eq!(three(&lengths[0]), [Some(16_384), Some(16_384), Some(8192)], "the reference");
        assert_eq!(three(&lengths[1]), [Some(16_384), Some(4096), Some(8192)]);
        assert_eq!(lengths[1].points.iter().map(|p| p.context).collect::<Vec<_>>(), [4096, 8192, 16_384]);

        let dip = super::lengths(&summary(&[
            (4096, Some(0.5), -0.45, Worse),
            (8192, Some(0.90), 0.0, NoWorse),
            (16_384, Some(0.80), 0.0, NoWorse),
        ]));
        assert_eq!(three(&dip[1]), [None, None, None], "a longer one that holds does not mend a shorter one");
    }

    #[test]
    fn what_was_not_measured_ends_the_ladder() {
        let lengths = lengths(&summary(&[
            (4096, Some(0.95), 0.0, Verdict::NoWorse),
            (8192, None, 0.0, Verdict::NotMeasured),
            (16_384, Some(0.9), 0.1, Verdict::NoWorse),
        ]));
        assert_eq!(three(&lengths[1]), [Some(4096), Some(4096), Some(4096)]);
    }

    #[test]
    fn one_length_is_no_ladder() {
        let mut summary = summary(&[]);
        summary.cells.truncate(1);
        assert!(lengths(&summary).is_empty());
    }
}
