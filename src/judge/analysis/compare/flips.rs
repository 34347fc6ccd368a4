//! Cases whose score changed, with both replies.

use super::cases::{CellCases, PairedCase};
use super::compared::Flip;
use crate::record::suite::Suite;
use crate::record::{Outcome, Trial};

/// Characters of a reply that are kept.
const EXCERPT: usize = 400;

/// The least change of a probability that is listed.
const MOVED: f64 = 0.05;

/// The least change that is listed, where not every one is.
pub(super) fn least(suite: &Suite) -> Option<f64> {
    suite.scores_by_probability().then_some(MOVED)
}

impl CellCases<'_> {
    /// The cases whose score changed, by at least so much where that is given, as they are listed.
    pub(super) fn flips(&self, setting: &str, context: u32, least: Option<f64>) -> Vec<Flip> {
        let moved = |case: &&PairedCase<'_>| match least {
            Some(least) => (case.a - case.b).abs() >= least,
            None => case.a != case.b,
        };
        self.paired.iter().filter(moved).map(|case| flip(case, setting, context)).collect()
    }
}

fn flip(case: &PairedCase<'_>, setting: &str, context: u32) -> Flip {
    let (a, b) = case.trials;
    Flip {
        setting: setting.into(),
        context,
        task: case.task.into(),
        arm: case.arm,
        index: a.key.index,
        case: a.case.to_string(),
        score_a: case.a,
        score_b: case.b,
        reply_a: excerpt(a),
        reply_b: excerpt(b),
    }
}

/// The beginning of what was judged: the text, the calls, or why there is none.
fn excerpt(trial: &Trial) -> String {
    if let Outcome::Failed { error, .. } = &trial.outcome {
        return cut(&format!("(broke) {error}"));
    }
    let Some(reply) = &trial.reply else { return "(no reply)".into() };
    if !reply.forced.is_empty() {
        return "(the answer was forced)".into();
    }
    let calls = reply.tool_calls.iter().map(|call| format!("{}({})", call.name, call.arguments));
    let parts = std::iter::once(reply.content.clone()).filter(|text| !text.is_empty()).chain(calls);
    let text = parts.collect::<Vec<_>>().join("\n");
    if text.is_empty() { "(empty)".into() } else { cut(&text) }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first of them: losses before gains, the largest of both first, else in their order.
pub(super) fn first(mut flips: Vec<Flip>, most: usize) -> Vec<Flip> {
    let gain = |flip: &Flip| flip.score_b - flip.score_a;
    flips.sort_by(|one, other| {
        let losses_first = (gain(one) > 0.0).cmp(&(gain(other) > 0.0));
        losses_first.then(gain(other).abs().total_cmp(&gain(one).abs()))
    });
    flips.truncate(most);
    flips
}
