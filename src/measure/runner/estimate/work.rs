//! What a trial asks of its server, known before the first one ran.

use crate::record::Arm;
use crate::record::suite::TaskSpec;
use crate::task::{self, Params};

/// Tokens of the prompt of a task that does not fill its context.
const SHORT_PROMPT: f64 = 800.0;

/// Share of its budget that a reply takes; tasks about coherence ask for as much as there is.
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
        let prompt = if task.card().needs.fills_context { left } else { left.min(SHORT_PROMPT) };
        let share = if spec.name.starts_with("coherence/") { 1.0 } else { REPLY_SHARE };
        Self { prompt, output: budget * share }
    }
}
