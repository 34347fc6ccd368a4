//! What tasks of several families share: options of the same name and meaning, and the reading of targets and replies.

use serde::de::DeserializeOwned;

use super::{Harder, Params, Task, TaskOption};
use crate::record::{Case, Outcome};

/// Name of the option for the tokens that a model may think with before it answers.
pub(crate) const THINKING_TOKENS: &str = "thinking_tokens";
/// Name of the option for the tokens of an answer.
pub(crate) const OUTPUT_TOKENS: &str = "output_tokens";

/// An option of a task; its value is in `min..=max`.
pub(crate) const fn option(
    name: &'static str,
    help: &'static str,
    default: u32,
    min: u32,
    max: u32,
) -> TaskOption {
    TaskOption { name, help, default, min, max, difficulty: None }
}

/// An option that the pilot may tune, and which way makes the task harder.
pub(crate) const fn tuned(option: TaskOption, harder: Harder) -> TaskOption {
    TaskOption { difficulty: Some(harder), ..option }
}

/// The option for the output budget, with its default in chat mode.
pub(crate) const fn output_tokens(default: u32, help: &'static str) -> TaskOption {
    option(OUTPUT_TOKENS, help, default, 8, 65_536)
}

/// What [`output_tokens`] says where there is no more to say.
pub(crate) const OUTPUT_HELP: &str = "output budget of the answer in tokens";

/// The option for the budget of thinking models.
pub(crate) const THINKING: TaskOption = option(
    THINKING_TOKENS,
    "tokens added to the output budget for a model that thinks before it answers",
    0,
    0,
    1_000_000,
);

/// Output budget of a case: the answer's and the reasoning's.
pub(crate) fn max_tokens(task: &dyn Task, params: &Params) -> u32 {
    params.option(&task.card(), OUTPUT_TOKENS).saturating_add(params.option(&task.card(), THINKING_TOKENS))
}

/// A case's target in the task's own form.
///
/// # Errors
/// The outcome when it has another form: the case was not made by this version of the task.
pub(crate) fn read_target<T: DeserializeOwned>(case: &Case) -> Result<T, Outcome> {
    T::deserialize(&case.target).map_err(|error| Outcome::Unscored {
        reason: format!("the target of the case is not one of {}: {error}", case.task),
    })
}
