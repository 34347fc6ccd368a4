//! What a trial asks of its server, known before the first one ran.

use crate::record::suite::TaskSpec;
use crate::record::{Arm, Scoring};
use crate::task::{self, Params};

/// Tokens of the prompt of a task that does not fill its context.
const SHORT_PROMPT: f64 = 800.0;

/// Tokens of a question to a text that the server's cache holds, and of an answer that is forced.
const QUESTION: f64 = 32.0;
const FORCED: f64 = 10.0;

/// Share of its budget that a reply takes; tasks about coherence and long replies ask for as much as there is.
const REPLY_SHARE: f64 = 0.5;

/// Tokens of one trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Work {
    pub(super) prompt: f64,
    pub(super) output: f64,
}

impl Work {
    /// Of a task at a context length.
    pub(super) fn of(spec: &TaskSpec, context: u32, arm: Option<Arm>) -> Self {
        let room = f64::from(context);
        let params = Params::of(spec, context, arm);
        let Some(task) = task::find(&spec.name) else {
            return Self { prompt: room / 2.0, output: room / 16.0 };
        };
        if task.comparison().is_of_distributions() {
            let of = |name| params.option(&task.card(), name);
            return Self { prompt: room, output: f64::from(of("positions") * of("bands")).min(room) };
        }
        let budget = f64::from(task.max_tokens(&params)).min(room);
        let left = (room - budget).max(0.0);
        let prompt = if params.fills_context(&task.card()) { left } else { left.min(SHORT_PROMPT) };
        // Of several questions to a text the first alone reads all of it.
        let prompt = match spec.questions {
            0 | 1 => prompt,
            questions => (prompt / f64::from(questions) + QUESTION).min(prompt),
        };
        let share = if ["coherence/", "longform/"].iter().any(|family| spec.name.starts_with(family)) {
            1.0
        } else {
            REPLY_SHARE
        };
        let output = if spec.score == Scoring::Probability { FORCED.min(budget) } else { budget * share };
        Self { prompt, output }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn questions_to_one_text_cost_a_share_of_its_prompt_each() {
        let suite = |keys: &str| {
            let text = format!(
                "name = \"a\"\ncontexts = [8192]\n[[model]]\nname = \"m\"\npath = \"/m\"\nweights = \"Q8_0\"\n[reference]\n\
                 [[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = 12\n{keys}"
            );
            crate::suite::parse(&text, Path::new("a.toml"), &[]).unwrap().tasks.remove(0)
        };
        let alone = Work::of(&suite(""), 8192, None);
        let shared = Work::of(&suite("questions = 12\nscore = \"probability\""), 8192, None);
        assert!(shared.prompt < alone.prompt / 11.0 + 40.0 && shared.output <= 10.0, "{shared:?} {alone:?}");
    }
}
