//! The boards, what the user says beside what was measured, and what comes of it.

use serde_json::Value;

/// A board that takes the results of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// localmaxxing.com's API for speed tests: JSON
    Localmaxxing,
    /// Evaluation results of a model on the Hugging Face Hub: a YAML file
    HfEval,
}

impl Board {
    /// Returns its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Localmaxxing => "localmaxxing",
            Self::HfEval => "hf-eval",
        }
    }
}

/// What no run knows, or what its user knows better.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// The model on the Hugging Face Hub (`OWNER/REPO`).
    pub hf_id: Option<String>,
    /// The board's description of the machine, as it takes it.
    pub hardware: Option<Value>,
    /// The benchmark's dataset on the Hub (`OWNER/NAME`).
    pub dataset: Option<String>,
    /// Which of the dataset's tasks, as its `eval.yaml` names it.
    pub dataset_task: Option<String>,
    /// The task of the run whose score is meant; the quality over all of them when `None`.
    pub task: Option<String>,
    /// Where the report can be read.
    pub source_url: Option<String>,
}

/// What a board takes, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// JSON or YAML.
    pub text: String,
    /// Where it goes.
    pub to: Destination,
}

/// Where a document goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// By POST to a path of a site.
    Post {
        /// The site, unless the user names another.
        site: &'static str,
        /// The path.
        path: &'static str,
    },
    /// Into a file of a repository, by a pull request.
    File {
        /// The repository, in words.
        repository: String,
        /// The file's path in it.
        path: String,
    },
}
