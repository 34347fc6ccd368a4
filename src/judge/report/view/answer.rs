//! What to use at each context length, what that saves and costs, and what was not decided.

use serde::Serialize;

use crate::judge::analysis::gain::{Gain, gain, reference_of};
use crate::judge::analysis::summary::{CellSummary, Summary, Verdict};
use crate::record::Objective;

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
    /// The context lengths at which memory was measured, where it was not at this one: a server that serves several is
    /// measured at the longest.
    memory_at: Vec<u32>,
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
    let context = level.first().map_or(0, |cell| cell.context);
    let reference = reference_of(summary, context);
    let named = |wanted: fn(&CellSummary) -> bool| -> Vec<&'a str> {
        let others = level.iter().filter(|cell| cell.setting != summary.reference && wanted(cell));
        others.map(|cell| cell.setting.as_str()).collect()
    };
    let good = || level.iter().filter(|cell| cell.verdict == Verdict::NoWorse && cell.void.is_none());
    let ratio = |cell: &CellSummary, objective| Some(gain(cell, reference?, objective)?.ratio);
    let best = |objective: Objective| -> Option<Choice<'a>> {
        let gains = good().filter_map(|cell| Some((cell, worth(cell, reference?, objective)?)));
        let (cell, _) = gains.max_by(|a, b| a.1.total_cmp(&b.1))?;
        let (decode, memory) = (ratio(cell, Objective::Decode), ratio(cell, Objective::Memory));
        Some(Choice { cell, decode, memory })
    };
    Answer {
        context,
        reference: &summary.reference,
        fastest: best(Objective::Decode),
        smallest: best(Objective::Memory),
        no_worse: named(|cell| cell.verdict == Verdict::NoWorse && cell.void.is_none()),
        worse: named(|cell| cell.verdict == Verdict::Worse && cell.void.is_none()),
        memory_at: memory_elsewhere(summary, level),
        open: named(|cell| cell.void.is_some() || !matches!(cell.verdict, Verdict::NoWorse | Verdict::Worse)),
    }
}

fn memory_elsewhere(summary: &Summary, level: &[CellSummary]) -> Vec<u32> {
    let has_memory = |cell: &&CellSummary| cell.memory.peak_bytes.is_some();
    if level.iter().any(|cell| has_memory(&cell)) {
        return Vec::new();
    }
    let mut contexts: Vec<u32> = summary.cells.iter().filter(has_memory).map(|cell| cell.context).collect();
    contexts.dedup();
    contexts
}

/// How many times as good as the reference a cell is, where that is worth anything.
fn worth(cell: &CellSummary, reference: &CellSummary, objective: Objective) -> Option<f64> {
    gain(cell, reference, objective).filter(Gain::is_worth_it).map(|gain| gain.times)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::summary::Estimate;
    use crate::judge::analysis::testing;

    fn cell(setting: &str, verdict: Verdict, decode: f64, bytes: u64) -> CellSummary {
        let mut cell = testing::cell(setting, 512);
        cell.verdict = verdict;
        let interval = (Some(decode * 0.95), Some(decode * 1.05));
        cell.decode_ratio = Some(Estimate { value: decode, low: interval.0, high: interval.1, n: 9 });
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
        let unsure = cell("b", Verdict::NoWorse, 1.03, 1000);
        summary.cells =
            vec![cell("ref", Verdict::Reference, 1.0, 1000), cell("a", Verdict::NoWorse, 0.98, 995), unsure];
        let answers = super::answers(&summary);
        assert!(answers[0].fastest.is_none() && answers[0].smallest.is_none());
        summary.cells.truncate(1);
        assert!(super::answers(&summary).is_empty(), "nothing was compared");
    }

    #[test]
    fn a_context_without_memory_says_where_it_was_measured() {
        let mut summary = testing::summary();
        summary.reference = "ref".into();
        let at = |context: u32, bytes: Option<u64>| {
            [("ref", Verdict::Reference), ("a", Verdict::NoWorse)].map(|(name, verdict)| {
                let mut cell = cell(name, verdict, 1.0, 0);
                (cell.context, cell.memory.peak_bytes) = (context, bytes);
                cell
            })
        };
        summary.cells = [at(512, None), at(1024, Some(1000))].concat();
        let elsewhere: Vec<Vec<u32>> =
            super::answers(&summary).into_iter().map(|answer| answer.memory_at).collect();
        assert_eq!(elsewhere, [vec![1024], vec![]]);
    }
}
