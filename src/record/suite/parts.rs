//! What a suite is put together from: engine, models, tasks.

use std::collections::BTreeMap;
use std::path::PathBuf;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::arm::{Arm, Mode};
use crate::record::forced::Scoring;

/// The engine that serves, and how it is started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct EngineSpec {
    /// Engine name.
    pub name: String,
    /// The server's binary; `None`: the one on `PATH`, else the pinned package.
    pub binary: Option<PathBuf>,
    /// Further arguments of every server.
    pub args: Vec<String>,
    /// Threads for computing; `None` leaves it to the server.
    pub threads: Option<u16>,
    /// How long a server may take until it is ready (s).
    pub start_timeout_s: f64,
    /// How long a whole request may take (s).
    pub request_timeout_s: f64,
    /// How long a stream may be silent (s).
    pub idle_timeout_s: f64,
    /// Address of a server that runs already: nothing is started. `None`: kneepoint starts its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Name of the environment variable that holds the key for `url`; its value is never kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_env: Option<String>,
    /// What the server at `url` calls the model; `None`: the only one that it lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_model: Option<String>,
    /// When a server is started anew.
    #[serde(default, skip_serializing_if = "Relaunch::is_default")]
    pub relaunch: Relaunch,
    /// Whether trials of tasks that are about speed, and the load phase, may overlap with the work of other workers on the same
    /// machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub speed_overlaps: bool,
}

/// When a server is started anew, beside once a round for every setting.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Relaunch {
    /// For every context length: its memory is that of the length.
    #[default]
    Context,
    /// One server for all context lengths, started for the longest: less waiting for models that take long to load, and
    /// memory is measured at the longest alone.
    Setting,
}

impl Relaunch {
    /// Returns whether it is [`Relaunch::Context`]; what suites say nothing about is not written out.
    pub fn is_default(&self) -> bool {
        *self == Self::Context
    }
}

/// Where a model comes from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ModelSpec {
    /// Name used by settings.
    pub name: String,
    /// A pinned package that holds the weights, such as `smollm2-135m-instruct`.
    pub package: Option<String>,
    /// A file or folder, when it is not a package.
    pub path: Option<PathBuf>,
    /// A repository of a Hub, `hf:OWNER/REPO[@REVISION][:QUANT or FILE]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Weight quant of that file, such as `Q4_1`.
    pub weights: String,
    /// Further quants that have files of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub quants: Vec<QuantFile>,
    /// Further quants that kneepoint makes from that file with the packaged quantiser.
    pub derive: Vec<String>,
}

impl ModelSpec {
    /// Every quant that a setting may name: the file's, those with files of their own, those that are made.
    pub fn offered(&self) -> impl Iterator<Item = &str> {
        let own = self.quants.iter().map(|quant| quant.weights.as_str());
        std::iter::once(self.weights.as_str()).chain(own).chain(self.derive.iter().map(String::as_str))
    }
}

/// A quant of a model with a file of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct QuantFile {
    /// Weight quant.
    pub weights: String,
    /// The file; `None`: found by its name in the Hub's repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

/// One task of a suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct TaskSpec {
    /// Task name.
    pub name: String,
    /// Cases a context length (and arm).
    pub samples: u32,
    /// Context lengths that it runs at (tokens), a subset of the suite's.
    pub contexts: Vec<u32>,
    /// Arms, for tool tasks; empty else.
    pub arms: Vec<Arm>,
    /// How the reply begins.
    #[serde(default, skip_serializing_if = "Mode::is_chat")]
    pub mode: Mode,
    /// How its answers are scored.
    #[serde(default, skip_serializing_if = "Scoring::is_match")]
    pub score: Scoring,
    /// Questions to one text: its cases are so many in a row, with one prompt up to the question.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub questions: u32,
    /// How often each case is asked, each time with a seed of its own; the replies of a case are averaged before it is compared.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub repeats: u32,
    /// Which cases the settings are compared on, by the reference's probability of the right answer; `None`: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Whether it counts for the quality; `None`: as it does by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<bool>,
    /// The user's own text for the haystack; its hash makes runs on another text another suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextSource>,
    /// Options of the task.
    pub options: BTreeMap<String, u32>,
    /// For tasks that read one: the user's file; `{context}` in it stands for the context length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

impl TaskSpec {
    /// Returns the arms that it runs in; `None` alone for a task without arms.
    pub fn every_arm(&self) -> Vec<Option<Arm>> {
        match self.arms.as_slice() {
            [] => vec![None],
            arms => arms.iter().copied().map(Some).collect(),
        }
    }

    /// Returns the round (from 0, of `rounds`) in which case `index` is asked: texts take turns, and all questions to one
    /// text belong to one round.
    pub fn round_of(&self, index: u32, rounds: u32) -> u32 {
        index / self.questions.max(1) % rounds.max(1)
    }

    /// Returns which of its round's texts (from 0) case `index` is about; without shared texts, which of its cases it is.
    pub fn text_of(&self, index: u32, rounds: u32) -> u32 {
        index / self.questions.max(1) / rounds.max(1)
    }
}

/// Smallest and largest probability (0..1), both within.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Window(f64, f64);

impl Window {
    /// `None` for what is no part of 0 to 1.
    pub fn new(low: f64, high: f64) -> Option<Self> {
        (0.0 <= low && low < high && high <= 1.0).then_some(Self(low, high))
    }

    /// The smallest.
    pub const fn low(self) -> f64 {
        self.0
    }

    /// The largest.
    pub const fn high(self) -> f64 {
        self.1
    }

    /// Returns whether a probability lies within.
    pub fn holds(self, probability: f64) -> bool {
        (self.0..=self.1).contains(&probability)
    }
}

const fn one() -> u32 {
    1
}

fn is_one(number: &u32) -> bool {
    *number == 1
}

/// Where a text is and what it was when the suite was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct TextSource {
    /// A file, or a folder whose `.txt` and `.md` files (those of folders in it too) are read in the order of
    /// their paths.
    pub path: PathBuf,
    /// First 16 hex digits of the SHA-256 of the text.
    pub hash: String,
}
