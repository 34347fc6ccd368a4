//! Conversations of many turns: where along them a setting loses hold, and whether it follows its own mistakes.

use super::frame::VisitKey;
use super::run::Run;
use super::summary::ConversationRow;
use crate::record::Score;
use crate::task::coherence::turns::metric;

/// Every task of conversations on every cell, by context, in suite order; with its own replies as history and with
/// right ones.
pub(crate) fn rows(run: &Run<'_>) -> Vec<ConversationRow> {
    let mut rows = Vec::new();
    for &context in &run.suite.contexts {
        for (task, _) in run.task_arms(context) {
            for setting in &run.suite.settings {
                let cell = (setting.label.as_str(), context);
                let scores = scores(run, task, cell);
                rows.extend([false, true].into_iter().filter_map(|gold| row(&scores, task, cell, gold)));
            }
        }
    }
    rows
}

/// What conversations on the first visit of a cell came to.
fn scores<'a>(run: &Run<'a>, task: &str, cell: (&str, u32)) -> Vec<&'a Score> {
    if run.void.contains_key(&cell) {
        return Vec::new();
    }
    let visit = VisitKey { setting: cell.0, context: cell.1, replicate: 0 };
    let here = run.trials(visit).filter(|trial| trial.key.task == task);
    here.filter_map(|trial| trial.outcome.score()).collect()
}

fn row(
    scores: &[&Score],
    task: &str,
    (setting, context): (&str, u32),
    gold: bool,
) -> Option<ConversationRow> {
    let is_of =
        |score: &&&Score| score.metrics.get(metric::GOLD_HISTORY).is_some_and(|of| (*of > 0.5) == gold);
    let here: Vec<&Score> = scores.iter().filter(is_of).copied().collect();
    let mean = |name: &str| {
        let values: Vec<f64> = here.iter().filter_map(|score| score.metrics.get(name)).copied().collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    };
    (!here.is_empty()).then(|| ConversationRow {
        task: task.into(),
        setting: setting.into(),
        context,
        gold,
        n: here.len() as u32,
        turns: mean(metric::TURNS),
        quarters: metric::QUARTERS.map(mean).to_vec(),
        first_wrong_turn: first_wrong(&here),
        horizon: mean(metric::HORIZON),
        own_mistake: mean(metric::OWN_MISTAKE),
        forgot: mean(metric::FORGOT),
        unanswered: mean(metric::UNANSWERED),
    })
}

/// The median; a conversation without an error is longer than any. `None` when half of them have none.
fn first_wrong(scores: &[&Score]) -> Option<f64> {
    let turn = |score: &&Score| score.metrics.get(metric::FIRST_WRONG).copied().unwrap_or(f64::INFINITY);
    let mut turns: Vec<f64> = scores.iter().map(turn).collect();
    turns.sort_unstable_by(f64::total_cmp);
    let last = turns.len().checked_sub(1)?;
    let middle = turns[last / 2].midpoint(turns[last.div_ceil(2)]);
    middle.is_finite().then_some(middle)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(gold: f64, first_wrong: Option<f64>, quarters: [f64; 2]) -> Score {
        let score = Score::of(0.5)
            .with(metric::GOLD_HISTORY, gold)
            .with(metric::QUARTERS[0], quarters[0])
            .with(metric::QUARTERS[3], quarters[1]);
        first_wrong.into_iter().fold(score, |score, turn| score.with(metric::FIRST_WRONG, turn))
    }

    #[test]
    fn histories_are_told_apart_and_averaged() {
        let scores = [
            score(0.0, Some(4.0), [1.0, 0.0]),
            score(0.0, Some(10.0), [0.5, 0.5]),
            score(1.0, None, [1.0, 1.0]),
            Score::of(1.0),
        ];
        let scores: Vec<&Score> = scores.iter().collect();
        let free = row(&scores, "t", ("a", 512), false).unwrap();
        assert_eq!((free.n, free.first_wrong_turn), (2, Some(7.0)));
        assert_eq!(free.quarters, [Some(0.75), None, None, Some(0.25)]);
        let gold = row(&scores, "t", ("a", 512), true).unwrap();
        assert_eq!((gold.n, gold.first_wrong_turn, gold.turns), (1, None, None));
        // A score of one turn is no conversation.
        assert_eq!(row(&scores[3..], "t", ("a", 512), false), None);
    }

    #[test]
    fn the_first_error_of_most_is_a_number_only_when_most_err() {
        let of = |turns: &[Option<f64>]| {
            let scores: Vec<Score> = turns.iter().map(|turn| score(0.0, *turn, [1.0, 1.0])).collect();
            first_wrong(&scores.iter().collect::<Vec<_>>())
        };
        assert_eq!(of(&[Some(3.0), None]), None);
        assert_eq!(of(&[Some(3.0), None, Some(9.0)]), Some(9.0));
        assert_eq!(of(&[Some(3.0), Some(5.0), None, Some(4.0)]), Some(4.5));
        assert_eq!(of(&[]), None);
    }
}
