//! The suite file as written: every key, with its place in the text where a later check may point at it.

use std::collections::BTreeMap;
use std::path::PathBuf;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::scalar::{Budget, Limit, Scalar, Tokens};
use crate::record::suite::{FlashAttention, GateMetric, NotifyWhen, Relaunch, StoppingRule};
use crate::record::{Arm, Mode, Objective, Scoring};

pub mod loadtest;
mod place;
mod sampling;

use place::unplaced;
pub use sampling::{OwnSampling, RawSampling};

/// A suite file (TOML).
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawSuite {
    /// Short name, used in the run folder's name: letters, digits, `-` and `_`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub name: Spanned<String>,
    /// What the suite is for.
    #[serde(default)]
    pub description: String,
    /// Seed of cases and resampling.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// How often every cell is visited, each time with a slice of the cases (1..=100).
    #[serde(default = "default_rounds")]
    #[cfg_attr(test, schemars(with = "u32"))]
    pub rounds: Spanned<u32>,
    /// Non-inferiority margin, in points of the 0..1 scale of scores. Default: 0.02, or that of the reference's pack.
    #[serde(default = "default_margin")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub margin: Spanned<f64>,
    /// Confidence of intervals (0.5..1).
    #[serde(default = "default_confidence")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub confidence: Spanned<f64>,
    /// Bootstrap draws (100..=1,000,000).
    #[serde(default = "default_draws")]
    #[cfg_attr(test, schemars(with = "u32"))]
    pub draws: Spanned<u32>,
    /// Context lengths in tokens, such as 32768 or `"32k"` (k is 1024).
    #[cfg_attr(test, schemars(with = "Vec<Tokens>"))]
    pub contexts: Vec<Spanned<Tokens>>,
    /// What the front trades off.
    #[serde(default = "default_objectives")]
    pub objectives: Vec<Objective>,
    /// The engine that serves.
    #[serde(default)]
    pub engine: RawEngine,
    /// Sampling parameters; the defaults are greedy.
    #[serde(default)]
    pub sampling: RawSampling,
    /// How often each case of the tasks with a score is asked, each time with a seed of its own (1..=100; default 1): its
    /// replies are averaged before it is compared. Needs a temperature above 0.
    #[serde(default = "default_repeats")]
    #[cfg_attr(test, schemars(with = "u32"))]
    pub repeats: Spanned<u32>,
    /// Models.
    #[serde(default, rename = "model")]
    pub models: Vec<RawModel>,
    /// The setting that the others are compared with; it runs twice (A/A), or comes from a pack (`from`).
    #[cfg_attr(test, schemars(with = "RawSetting"))]
    pub reference: Spanned<RawSetting>,
    /// Settings as the product of lists.
    #[cfg_attr(test, schemars(with = "Option<RawMatrix>"))]
    pub matrix: Option<Spanned<RawMatrix>>,
    /// Settings one by one.
    #[serde(default, rename = "setting")]
    #[cfg_attr(test, schemars(with = "Vec<RawSetting>"))]
    pub settings: Vec<Spanned<RawSetting>>,
    /// Tasks; beside a reference that comes from a pack, default: all that it holds.
    #[serde(default, rename = "task")]
    pub tasks: Vec<RawTask>,
    /// Stopping early; default: every cell sees every case.
    #[cfg_attr(test, schemars(with = "Option<RawStopping>"))]
    pub stopping: Option<Spanned<RawStopping>>,
    /// Many requests at once; default: none, trials run one at a time.
    #[cfg_attr(test, schemars(with = "Option<loadtest::RawLoad>"))]
    pub load: Option<Spanned<loadtest::RawLoad>>,
    /// Limits that a run must keep, else its exit code is 100.
    #[serde(default, rename = "gate")]
    #[cfg_attr(test, schemars(with = "Vec<RawGate>"))]
    pub gates: Vec<Spanned<RawGate>>,
    /// Whom to tell when a run has ended; default: nobody.
    #[cfg_attr(test, schemars(with = "Option<RawNotify>"))]
    pub notify: Option<Spanned<RawNotify>>,
}

fn default_seed() -> u64 {
    1
}

fn default_rounds() -> Spanned<u32> {
    unplaced(2)
}

fn default_repeats() -> Spanned<u32> {
    unplaced(1)
}

fn default_margin() -> Spanned<f64> {
    unplaced(0.02)
}

fn default_confidence() -> Spanned<f64> {
    unplaced(0.95)
}

fn default_draws() -> Spanned<u32> {
    unplaced(10_000)
}

fn default_objectives() -> Vec<Objective> {
    vec![Objective::Quality, Objective::Decode, Objective::Memory]
}

/// `[engine]`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawEngine {
    /// Engine name; see `kneepoint list engines`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub name: Spanned<String>,
    /// The server's binary; default: the one on `PATH`, else the pinned package.
    pub binary: Option<PathBuf>,
    /// Further arguments of every server.
    pub args: Vec<String>,
    /// Threads for computing; default: the server decides.
    #[cfg_attr(test, schemars(with = "Option<u16>"))]
    pub threads: Option<Spanned<u16>>,
    /// How long a server may take until it is ready (s).
    #[cfg_attr(test, schemars(with = "f64"))]
    pub start_timeout_s: Spanned<f64>,
    /// How long a whole request may take (s).
    #[cfg_attr(test, schemars(with = "f64"))]
    pub request_timeout_s: Spanned<f64>,
    /// How long a stream may be silent (s).
    #[cfg_attr(test, schemars(with = "f64"))]
    pub idle_timeout_s: Spanned<f64>,
    /// Address of a server that runs already, such as `http://127.0.0.1:11434/v1`: nothing is started.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub url: Option<Spanned<String>>,
    /// Name of the environment variable that holds the key for `url`; its value is never kept.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub api_key_env: Option<Spanned<String>>,
    /// What the server at `url` calls the model; default: the only one that it lists.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub served_model: Option<Spanned<String>>,
    /// When a server is started anew: for every context length, or once for all context lengths of a setting (which measures
    /// memory at the longest alone).
    pub relaunch: Relaunch,
    /// Whether trials of `serving/` tasks, and the load phase, may overlap with the work of other workers on the same machine
    /// (`run --gpus`); they have it to themselves otherwise.
    pub speed_overlaps: bool,
}

impl Default for RawEngine {
    fn default() -> Self {
        Self {
            name: unplaced("llama.cpp".into()),
            binary: None,
            args: Vec::new(),
            threads: None,
            start_timeout_s: unplaced(120.0),
            request_timeout_s: unplaced(900.0),
            idle_timeout_s: unplaced(300.0),
            url: None,
            api_key_env: None,
            served_model: None,
            relaunch: Relaunch::Context,
            speed_overlaps: false,
        }
    }
}

/// `[[model]]`: a pinned package, a file or folder, or a repository of a Hub.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawModel {
    /// Name used by settings and reports.
    #[cfg_attr(test, schemars(with = "String"))]
    pub name: Spanned<String>,
    /// A pinned package that holds the weights; see `kneepoint doctor`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub package: Option<Spanned<String>>,
    /// Relative to the suite's folder: a GGUF file (the first of several parts), a folder or a pattern with `*` that
    /// offers every quant in it, or a folder with `config.json` and safetensors.
    #[cfg_attr(test, schemars(with = "Option<PathBuf>"))]
    pub path: Option<Spanned<PathBuf>>,
    /// A repository of a Hub: `hf:OWNER/REPO`, `hf:OWNER/REPO:Q4_K_M`, `hf:OWNER/REPO@REVISION:FILE.gguf`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub from: Option<Spanned<String>>,
    /// Weight quant of the file, such as `Q4_K_M`; default: what the file, its name or the package says. Of several
    /// quants it is the usual one (default: the largest).
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub weights: Option<Spanned<String>>,
    /// Further quants of the Hub's repository, found by their names; a folder or pattern offers its own.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub quants: Vec<Spanned<String>>,
    /// Further quants to make from the file with the packaged quantiser, such as `Q8_0`.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub derive: Vec<Spanned<String>>,
    /// What of the suite's sampling is otherwise for this model, such as what its publisher recommends.
    #[serde(default)]
    pub sampling: OwnSampling,
}

/// One setting; what is left out is the usual (first model, its own weights, `f16`, `off`, `on`).
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawSetting {
    /// Only of `[reference]`, and nothing beside it: a pack (`kneepoint reference export RUN`) whose reference the settings are
    /// compared with, instead of one that is served here. Relative to the suite's folder.
    #[cfg_attr(test, schemars(with = "Option<PathBuf>"))]
    pub from: Option<Spanned<PathBuf>>,
    /// Model name.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub model: Option<Spanned<String>>,
    /// Weight quant.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub weights: Option<Spanned<String>>,
    /// Type of both caches, or `K/V` such as `q8_0/q4_0`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub kv: Option<Spanned<String>>,
    /// Type of the K cache.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub k: Option<Spanned<String>>,
    /// Type of the V cache.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub v: Option<Spanned<String>>,
    /// Speculative decoding: `off` or an engine's type.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub speculation: Option<Spanned<String>>,
    /// Flash attention: `on`, `off`, `auto`.
    #[cfg_attr(test, schemars(with = "Option<FlashAttention>"))]
    pub flash_attention: Option<Spanned<FlashAttention>>,
    /// The model that drafts, for speculation that takes one: a `[[model]]` of the suite, or `MODEL:QUANT`.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub draft: Option<Spanned<String>>,
    /// Options of the engine by name; `kneepoint list engines` and docs/engines.md show them.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, Scalar>"))]
    pub options: BTreeMap<Spanned<String>, Spanned<Scalar>>,
    /// Further arguments of the server.
    pub extra_args: Vec<String>,
    /// What of the suite's sampling, or of the model's own, is otherwise for this setting.
    pub sampling: OwnSampling,
}

/// `[matrix]`: the product of its lists; what is left out is the reference's.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawMatrix {
    /// Model names.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub model: Vec<Spanned<String>>,
    /// Weight quants; `all`: every one that the model offers.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub weights: Vec<Spanned<String>>,
    /// Types of both caches, or `K/V`.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub kv: Vec<Spanned<String>>,
    /// Types of the K cache (with `v`, instead of `kv`).
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub k: Vec<Spanned<String>>,
    /// Types of the V cache (with `k`, instead of `kv`).
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub v: Vec<Spanned<String>>,
    /// Speculation types.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub speculation: Vec<Spanned<String>>,
    /// Flash attention.
    #[cfg_attr(test, schemars(with = "Vec<FlashAttention>"))]
    pub flash_attention: Vec<Spanned<FlashAttention>>,
    /// Models that draft; left out of combinations whose speculation takes none.
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub draft: Vec<Spanned<String>>,
    /// Options of the engine, a list of values each; left out of combinations in which they mean nothing.
    #[cfg_attr(test, schemars(with = "BTreeMap<String, Vec<Scalar>>"))]
    pub options: BTreeMap<Spanned<String>, Vec<Spanned<Scalar>>>,
    /// Combinations to leave out: those that match every key given.
    #[cfg_attr(test, schemars(with = "Vec<RawSetting>"))]
    pub exclude: Vec<Spanned<RawSetting>>,
}

/// `[[task]]`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawTask {
    /// Task name; see `kneepoint list tasks`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub name: Spanned<String>,
    /// Cases for each context length and arm (1..=100,000).
    #[cfg_attr(test, schemars(with = "u32"))]
    pub samples: Spanned<u32>,
    /// Context lengths, of the suite's; default: all.
    #[cfg_attr(test, schemars(with = "Option<Vec<Tokens>>"))]
    pub contexts: Option<Vec<Spanned<Tokens>>>,
    /// Arms of a tool task; default: all it has.
    #[cfg_attr(test, schemars(with = "Option<Vec<Arm>>"))]
    pub arms: Option<Vec<Spanned<Arm>>>,
    /// File of the cases, for tasks that read one, relative to the suite's folder; `{context}` in it stands for
    /// the context length. `tools/bfcl` reads two: `QUESTIONS,ANSWERS`.
    #[cfg_attr(test, schemars(with = "Option<PathBuf>"))]
    pub file: Option<Spanned<PathBuf>>,
    /// How the reply begins: `chat` (default), or `prefill` with the first words of an answer.
    #[cfg_attr(test, schemars(with = "Option<Mode>"))]
    pub mode: Option<Spanned<Mode>>,
    /// How answers are scored: `match` (default), or `probability`: the right answer is forced, and its probability is
    /// the score. All tasks of a suite have the same.
    #[cfg_attr(test, schemars(with = "Option<Scoring>"))]
    pub score: Option<Spanned<Scoring>>,
    /// Questions to one text (default 1): the cases are so many in a row with the same prompt up to the question, which the
    /// server's cache keeps.
    #[cfg_attr(test, schemars(with = "Option<u32>"))]
    pub questions: Option<Spanned<u32>>,
    /// Smallest and largest probability (0..1) that the reference's first visit must have given to the right answer of a case
    /// for the settings to be compared on it (default: all cases count). Only beside `score = "probability"`.
    #[cfg_attr(test, schemars(with = "Option<[f64; 2]>"))]
    pub window: Option<Spanned<[f64; 2]>>,
    /// Whether it counts for the quality (default: a sanity check does not, other tasks with a score do).
    #[cfg_attr(test, schemars(with = "Option<bool>"))]
    pub primary: Option<Spanned<bool>>,
    /// A text file, or a folder of `.txt` and `.md` files, to hide needles in instead of generated prose;
    /// relative to the suite's folder.
    #[cfg_attr(test, schemars(with = "Option<PathBuf>"))]
    pub text: Option<Spanned<PathBuf>>,
    /// Options of the task; numbers of tokens may be written as `"2k"`, too.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "BTreeMap<String, Tokens>"))]
    pub options: BTreeMap<Spanned<String>, Spanned<Tokens>>,
}

/// `[stopping]`: decided between rounds; where all tasks ask several questions to a text and score by probability, also between texts.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawStopping {
    /// `sequential`: a cell stops when its verdict is settled. `racing`: also when another setting is better and
    /// no worse on speed and memory. `best`: settings are visited one after the other, the most promising first, until
    /// the best one that is no worse is shown (one context length, scores by probability). Default: only the budget stops.
    pub rule: Option<StoppingRule>,
    /// For `best`: what to be the best in (decode, ttft, memory or energy); default: decode.
    #[cfg_attr(test, schemars(with = "Option<Objective>"))]
    pub goal: Option<Spanned<Objective>>,
    /// For `best`: memory that a setting may take, such as `"24GiB"`; default: any.
    #[cfg_attr(test, schemars(with = "Option<Limit>"))]
    pub memory: Option<Spanned<Limit>>,
    /// No round is begun that would take prompt and output tokens of all trials together beyond this.
    #[cfg_attr(test, schemars(with = "Option<Budget>"))]
    pub budget_tokens: Option<Spanned<Budget>>,
    /// No round is begun that would take the time that servers are up beyond this (s).
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub budget_s: Option<Spanned<f64>>,
}

/// `[notify]`: a command, a webhook, or both.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawNotify {
    /// `problem` (a gate failed, something got worse since the run before, the run is not whole) or `always`.
    #[serde(default)]
    pub when: NotifyWhen,
    /// Program and arguments; five lines come on its standard input.
    #[serde(default)]
    pub command: Vec<String>,
    /// Name of the environment variable that holds the webhook's address.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub webhook_env: Option<Spanned<String>>,
    /// Longest time for either (s).
    #[serde(default = "default_notify_timeout")]
    #[cfg_attr(test, schemars(with = "f64"))]
    pub timeout_s: Spanned<f64>,
}

fn default_notify_timeout() -> Spanned<f64> {
    unplaced(20.0)
}

/// `[[gate]]`: at least one of `min`, `max` and `no_worse_than_reference`.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RawGate {
    /// What it looks at: quality, difference (0..1 scale), kld (nat), decode, prefill (tokens/s), ttft (s), energy
    /// of a request (J), memory (bytes), failed (share of trials).
    pub metric: GateMetric,
    /// For the metric `quality`: one task of the suite instead of all primary ones.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub task: Option<Spanned<String>>,
    /// Which cells: `setting=` and `context=` terms as of `--filter`; default: all.
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "Vec<String>"))]
    pub cells: Vec<Spanned<String>>,
    /// Smallest value; memory may be written as `"24GiB"`.
    #[cfg_attr(test, schemars(with = "Option<Limit>"))]
    pub min: Option<Spanned<Limit>>,
    /// Largest value; memory may be written as `"24GiB"`.
    #[cfg_attr(test, schemars(with = "Option<Limit>"))]
    pub max: Option<Spanned<Limit>>,
    /// For the metric `quality`: the verdict must not be `worse`.
    #[serde(default)]
    pub no_worse_than_reference: bool,
    /// What the data cannot tell counts as failed, too.
    #[serde(default)]
    pub strict: bool,
}
