//! Cases whose score changed, with both replies.

use super::cases::{CellCases, PairedCase};
use super::compared::Flip;
use crate::record::{Outcome, Trial};

/// Characters of a reply that are kept.
const EXCERPT: usize = 400;

impl CellCases<'_> {
    /// The cases whose score changed, as they are listed.
    pub(super) fn flips(&self, setting: &str, context: u32) -> Vec<Flip> {
        let changed = self.paired.iter().filter(|case| case.a != case.b);
        changed.map(|case| flip(case, setting, context)).collect()
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

/// The first of them: losses before gains, else in their order.
pub(super) fn first(mut flips: Vec<Flip>, most: usize) -> Vec<Flip> {
    flips.sort_by_key(|flip| flip.score_b > flip.score_a);
    flips.truncate(most);
    flips
}
