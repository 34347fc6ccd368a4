//! What a suite asks of a task.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::card::Card;
use crate::record::suite::{TaskSpec, TextSource};
use crate::record::{Arm, Mode, Scoring};

/// Name of the option that says whether facts that do not matter fill the context.
pub(crate) const FILL_CONTEXT: &str = "fill_context";

/// What a suite asks of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Params {
    /// Context length in tokens: prompt and reply together stay within it.
    pub context: u32,
    /// How many cases.
    pub samples: u32,
    /// For tool tasks: how the tools reach the model.
    pub arm: Option<Arm>,
    /// How the reply begins; one of [`Needs::modes`](super::Needs::modes).
    #[serde(default)]
    pub mode: Mode,
    /// How answers are scored; by probability only where [`Needs::closed_answer`](super::Needs::closed_answer).
    #[serde(default)]
    pub score: Scoring,
    /// Questions to one text, at least 1 and at most [`Needs::questions`](super::Needs::questions): case `i` is question
    /// `i % questions` to text `i / questions`.
    #[serde(default = "one")]
    pub questions: u32,
    /// The user's own text to hide things in, for tasks that [take one](super::Needs::takes_text).
    #[serde(default)]
    pub text: Option<TextSource>,
    /// Options of the task by name, as the suite gave them; see [`Card::options`].
    pub options: BTreeMap<String, u32>,
    /// The user's file, for tasks that read one; see [`Needs::reads_file`](super::Needs::reads_file).
    pub file: Option<PathBuf>,
}

const fn one() -> u32 {
    1
}

impl Params {
    /// What a suite asks of a task at a context length (and arm).
    pub fn of(spec: &TaskSpec, context: u32, arm: Option<Arm>) -> Self {
        Self {
            context,
            samples: spec.samples,
            arm,
            mode: spec.mode,
            score: spec.score,
            questions: spec.questions,
            text: spec.text.clone(),
            options: spec.options.clone(),
            file: spec.file.clone(),
        }
    }

    /// Returns whether prompts fill the context: where the task fills it, and the suite does not say otherwise.
    pub fn fills_context(&self, card: &Card) -> bool {
        card.needs.fills_context && self.options.get(FILL_CONTEXT) != Some(&0)
    }

    /// Returns the option's value, or the default that the task's card declares.
    pub fn option(&self, card: &Card, name: &str) -> u32 {
        let declared = card.options.iter().find(|option| option.name == name);
        self.options.get(name).copied().or(declared.map(|option| option.default)).unwrap_or_default()
    }
}
