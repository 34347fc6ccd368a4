//! What to use at each context length, what that saves and costs, and what was not decided.

use serde::Serialize;

use crate::judge::analysis::summary::{CellSummary, Summary, Verdict};

/// A setting whose requests are decoded faster than this, beside the reference's, is faster.
const FASTER: f64 = 1.01;
/// A setting with less memory than this share of the reference's has less: two starts differ by about as much.
const LESS: f64 = 0.99;

/// The answer at a context length.
#[derive(Serialize)]
pub(in crate::judge::report) struct Answer<'a> {
    context: u32,
    reference: &'a str,
    /// The fastest setting that is no worse, where it is faster than the reference.
    fastest: Option<Choice<'a>>,
    /// The one with the least memory likewise.
    smallest: Option<Choice<'a>>,
    /// Settings that are no worse, that are worse, and of which nothing is shown.
    no_worse: Vec<&'a str>,
    worse: Vec<&'a str>,
    open: Vec<&'a str>,
}

/// A setting beside the reference.
#[derive(Serialize)]
pub(in crate::judge::report) struct Choice<'a> {
    cell: &'a CellSummary,
    /// Decode rate (1: as fast).
    decode: Option<f64>,
    /// Memory, where both are of one kind.
    memory: Option<f64>,
}

/// Returns the answers by context length, in the order of the cells; none where nothing was compared.
pub(in crate::judge::report) fn answers(summary: &Summary) -> Vec<Answer<'_>> {
    let levels = summary.cells.chunk_by(|a, b| a.context == b.context);
    levels.filter(|level| level.len() > 1).map(|level| answer(summary, level)).collect()
}

fn answer<'a>(summary: &'a Summary, level: &'a [CellSummary]) -> Answer<'a> {
    let reference = level.iter().find(|cell| cell.setting == summary.reference);
    let named = |wanted: fn(&CellSummary) -> bool| -> Vec<&'a str> {
        let others = level.iter().filter(|cell| cell.setting != summary.reference && wanted(cell));
        others.map(|cell| cell.setting.as_str()).collect()
    };
    let good = || level.iter().filter(|cell| cell.verdict == Verdict::NoWorse && cell.void.is_none());
    let beside = |cell: &'a CellSummary| Choice {
        cell,
        decode: cell.decode_ratio.map(|ratio| ratio.value),
        memory: reference.and_then(|reference| memory_ratio(cell, reference)),
    };
    let fastest = good().map(beside).filter(|choice| is_faster(choice));
    let fastest =
        fastest.max_by(|a, b| a.decode.unwrap_or_default().total_cmp(&b.decode.unwrap_or_default()));
    let smallest = good().map(beside).filter(|choice| choice.memory.is_some_and(|ratio| ratio < LESS));
    let smallest = smallest.min_by(|a, b| a.memory.unwrap_or(1.0).total_cmp(&b.memory.unwrap_or(1.0)));
    Answer {
        context: level.first().map_or(0, |cell| cell.context),
        reference: &summary.reference,
        fastest,
        smallest,
        no_worse: named(|cell| cell.verdict == Verdict::NoWorse && cell.void.is_none()),
        worse: named(|cell| cell.verdict == Verdict::Worse && cell.void.is_none()),
        open: named(|cell| cell.void.is_some() || !matches!(cell.verdict, Verdict::NoWorse | Verdict::Worse)),
    }
}

/// Faster beyond what the requests' ratios vary by.
fn is_faster(choice: &Choice<'_>) -> bool {
    choice
        .cell
        .decode_ratio
        .is_some_and(|ratio| ratio.value > FASTER && ratio.low.is_none_or(|low| low > 1.0))
}

fn memory_ratio(cell: &CellSummary, reference: &CellSummary) -> Option<f64> {
    let (own, other) = (&cell.memory, &reference.memory);
    let alike = own.peak_kind == other.peak_kind;
    let bytes = own.peak_bytes.zip(other.peak_bytes).filter(|(_, theirs)| alike && *theirs > 0)?;
    Some(bytes.0 as f64 / bytes.1 as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::summary::Estimate;
    use crate::judge::analysis::testing;

    fn cell(setting: &str, verdict: Verdict, decode: f64, bytes: u64) -> CellSummary {
        let mut cell = testing::cell(setting, 512);
        cell.verdict = verdict;
        cell.decode_ratio = Some(Estimate { value: decode, low: None, high: None, n: 9 });
        cell.memory.peak_bytes = Some(bytes);
        cell
    }

    #[test]
    fn only_what_is_shown_to_be_no_worse_is_named() {
        let mut summary = testing::summary();
        summary.reference = "ref".into();
        let mut void = cell("void", Verdict::NoWorse, 9.0, 1);
        void.void = Some("other cache".into());
        summary.cells = vec![
            cell("ref", Verdict::Reference, 1.0, 1000),
            cell("fast", Verdict::NoWorse, 1.4, 1000),
            cell("small", Verdict::NoWorse, 0.9, 700),
            cell("bad", Verdict::Worse, 3.0, 100),
            cell("open", Verdict::NotSeparable, 2.0, 200),
            void,
        ];
        let answers = answers(&summary);
        let [answer] = answers.as_slice() else { panic!("one context") };
        let of = |choice: &Option<Choice<'_>>| choice.as_ref().map(|choice| choice.cell.setting.clone());
        assert_eq!((of(&answer.fastest), of(&answer.smallest)), (Some("fast".into()), Some("small".into())));
        assert_eq!(answer.smallest.as_ref().and_then(|choice| choice.memory), Some(0.7));
        assert_eq!(
            (&answer.no_worse[..], &answer.worse[..], &answer.open[..]),
            (&["fast", "small"][..], &["bad"][..], &["open", "void"][..])
        );
    }

    #[test]
    fn nothing_that_saves_nothing_is_advised() {
        let mut summary = testing::summary();
        summary.reference = "ref".into();
        summary.cells =
            vec![cell("ref", Verdict::Reference, 1.0, 1000), cell("a", Verdict::NoWorse, 0.98, 995)];
        let answers = super::answers(&summary);
        assert!(answers[0].fastest.is_none() && answers[0].smallest.is_none());
        summary.cells.truncate(1);
        assert!(super::answers(&summary).is_empty(), "nothing was compared");
    }
}
