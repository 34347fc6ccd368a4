//! The command line: clap structs only.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::import::Matching;
use crate::judge::analysis::compare::Threshold;
use crate::measure::mock::MockArgs;
use crate::quantity;
use crate::record::Arm;

mod choose;
mod fit;
mod history;
mod pick;
mod schema_check;
mod share;
mod spread;

pub use choose::{Best, ChooseArgs, Purpose};
pub use fit::{FitArgs, FitEngine};
pub use history::{
    ExportArgs, ExportFormat, HistoryAction, HistoryArgs, PageArgs, PruneArgs, ShowArgs, SuiteRunsArgs,
};
pub use pick::{PickArgs, ServeForms};
pub use schema_check::SchemaCheckArgs;
pub use share::ShareArgs;
pub use spread::{Cluster, MergeArgs, PodArgs, SpreadArgs, WorkerArgs};

/// What a faster, smaller setting of a local LLM costs in quality
///
/// kneepoint runs a suite of retrieval, coherence and tool-calling checks on every setting of a model
/// (weight quant, KV-cache quant, speculation, context length), measures speed and memory on the same
/// requests, and reports which settings are on the Pareto front.
#[derive(Debug, Parser)]
#[command(name = "kneepoint", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Say more on stderr; twice: still more
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Folder of the runs
    #[arg(long, global = true, env = "KNEEPOINT_RUNS_DIR", default_value = "runs", value_name = "DIR")]
    pub runs_dir: PathBuf,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a suite and report it
    Run(RunArgs),
    /// Resume a run that was interrupted
    Resume(ResumeArgs),
    /// Measure one share of a run that is spread over several workers
    Worker(WorkerArgs),
    /// Join runs of one plan, or of a suite that was split by --filter
    Merge(MergeArgs),
    /// Make the report of a run again, from its journal alone
    Report(ReportArgs),
    /// Make a static site of runs, without the names of people and machines
    Publish(PublishArgs),
    /// Write what a board elsewhere takes of a run; send it only when told to
    Share(ShareArgs),
    /// Manage the runs folder: list, show, trend, export, prune
    History(HistoryArgs),
    /// Say which quants and caches of a model fit into a memory, before anything is downloaded
    Fit(FitArgs),
    /// Find the best setting of a model that keeps its quality: fetches and measures only what can matter
    Choose(ChooseArgs),
    /// Choose a setting of a run for a context length and the memory there is
    Pick(PickArgs),
    /// Compare two runs, case by case, or put several in one table
    Compare(CompareArgs),
    /// Export a run's reference, for a machine on which it does not fit
    #[command(name = "reference")]
    ReferencePack(ReferencePackArgs),
    /// Lay a served setting beside a base file of llama-perplexity, over HTTP on the same tokens
    #[command(name = "kld-base")]
    KldBase(KldBaseArgs),
    /// Say what a server really holds of your tools and schemas, keyword by keyword
    SchemaCheck(SchemaCheckArgs),
    /// Say whether routing between a fast and a smart setting would beat every single one
    Route(RouteArgs),
    /// Score replies again: a run's, or any made elsewhere; no server is needed
    Score(ScoreArgs),
    /// Print the cases of a suite's task, one JSON value a line
    Cases(CasesArgs),
    /// Check a suite without running anything
    Validate(ValidateArgs),
    /// List tasks, engines or suites
    List(ListArgs),
    /// Check this machine: what was found, and what that means
    Doctor(DoctorArgs),
    /// Print a JSON Schema
    Schema(SchemaArgs),
    /// Serve scripted replies in llama-server's dialect, for tests of clients
    MockServer(MockArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print a manual page
    Man(ManArgs),
    /// Start a server and end it with kneepoint (used by kneepoint itself)
    #[command(name = "__watch-server", hide = true)]
    WatchServer(WatchServerArgs),
    /// Set the parent-death signal, then become the server (used by kneepoint itself)
    #[command(name = "__exec-server", hide = true)]
    ExecServer(ExecServerArgs),
    /// Print the command-line reference (docs/cli.md)
    #[command(name = "__reference", hide = true)]
    Reference(ReferenceArgs),
}

/// Arguments of `__reference`.
#[derive(Debug, Args)]
pub struct ReferenceArgs {
    /// The engines and their options (docs/engines.md) instead
    #[arg(long)]
    pub engines: bool,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Suite file
    pub suite: PathBuf,
    /// Another model instead of the suite's: a GGUF file, a folder, a pattern, or hf:OWNER/REPO:QUANT
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Override a key of the suite, such as matrix.kv='["f16"]' or task.0.samples=10
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Run only matching trials: task=, setting=, context= or arm= with * for anything
    #[arg(long = "filter", value_name = "KEY=PATTERN")]
    pub filters: Vec<String>,
    /// Print cells, trials, estimates and each server's command, and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not start the reference for about 20 s to see how fast it is, where no earlier run says it
    #[arg(long, requires = "dry_run")]
    pub no_probe: bool,
    /// Try the tasks on the reference alone and propose options that put each into 60 to 90%
    #[arg(long, conflicts_with = "dry_run")]
    pub pilot: bool,
    /// Write the pilot's proposals into the suite file
    #[arg(long, requires = "pilot")]
    pub write: bool,
    /// Cases that the pilot tries for each context length and step
    #[arg(long, requires = "pilot", default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub pilot_samples: u32,
    /// Print the summary (or the plan, or the pilot's table) as JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// Several cards or machines
    #[command(flatten)]
    pub spread: SpreadArgs,
}

impl RunArgs {
    /// What is changed of the suite, the model first.
    pub fn overrides(&self) -> Vec<String> {
        overrides(self.model.as_deref(), &self.sets)
    }
}

/// `--model X` is short for `--set model=X`.
fn overrides(model: Option<&str>, sets: &[String]) -> Vec<String> {
    model.map(|model| format!("model={model}")).into_iter().chain(sets.iter().cloned()).collect()
}

/// Arguments of `score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// Run folder, a unique prefix of its name, `latest`, or `latest~1` for the one before: its replies are scored with today's rules
    #[arg(required_unless_present_any = ["cases", "schema"], conflicts_with_all = ["cases", "schema", "replies"])]
    pub run: Option<String>,
    /// Cases to score against: FILE as `kneepoint cases` prints them, ruler:FILE, qa:FILE,
    /// requests:FILE or bfcl:QUESTIONS,ANSWERS
    #[arg(long, value_name = "[FORMAT:]FILE", requires = "replies")]
    pub cases: Option<String>,
    /// A JSON Schema of your own: is the JSON in each reply valid against it? Replies need no `case` then, and
    /// chat completions and lines of batch files are replies too
    #[arg(long, value_name = "FILE", requires = "replies", conflicts_with = "cases")]
    pub schema: Option<PathBuf>,
    /// Replies, one a line: {"case", "content", "reasoning"?, "tool_calls"?, "finish_reason"?}, or RULER's own
    /// predictions {"index", "pred", ..}; - for stdin
    #[arg(long, value_name = "FILE")]
    pub replies: Option<PathBuf>,
    /// Which references of an imported case a reply must hold [default: all for ruler, part for qa]
    #[arg(long = "match", value_enum, value_name = "RULE", requires = "cases")]
    pub matching: Option<Matching>,
}

/// Arguments of `cases`.
#[derive(Debug, Args)]
pub struct CasesArgs {
    /// Suite file
    pub suite: PathBuf,
    /// Task of the suite
    #[arg(long)]
    pub task: String,
    /// Only this context length in tokens, such as 32k (k is 1024); default: all of the task's
    #[arg(long, value_parser = quantity::tokens)]
    pub context: Option<u32>,
    /// Only this arm of a tool task; default: all of the suite's
    #[arg(long, value_enum)]
    pub arm: Option<Arm>,
    /// Count four characters a token instead of asking the reference's server: sizes are not exact
    #[arg(long)]
    pub approximate: bool,
    /// Another model instead of the suite's, as of `run`
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Override a key of the suite
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
}

impl CasesArgs {
    /// What is changed of the suite.
    pub fn overrides(&self) -> Vec<String> {
        overrides(self.model.as_deref(), &self.sets)
    }
}

/// Arguments of `kld-base`.
#[derive(Debug, Args)]
pub struct KldBaseArgs {
    /// What `llama-perplexity --kl-divergence-base FILE` wrote
    pub file: PathBuf,
    /// Address of the llama-server, such as http://127.0.0.1:8080
    #[arg(long)]
    pub url: String,
    /// What the server calls the model, where it has several
    #[arg(long, value_name = "NAME")]
    pub served_model: Option<String>,
    /// Environment variable that holds the server's key
    #[arg(long, value_name = "NAME")]
    pub api_key_env: Option<String>,
    /// Most probable tokens that the server lists at each position: more take longer and leave less out
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(2..=262_144))]
    pub top_k: u32,
    /// Compare only the first chunks; default: all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub chunks: Option<u32>,
    /// Print the figures as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `reference`.
#[derive(Debug, Args)]
pub struct ReferencePackArgs {
    /// What to do
    #[command(subcommand)]
    pub action: ReferenceAction,
}

/// What to do with a reference.
#[derive(Debug, Subcommand)]
pub enum ReferenceAction {
    /// Write the reference of a run as one file: its cases, replies and scores of both visits
    Export {
        /// Run folder, a unique prefix of its name, `latest`, or `latest~1` for the one before
        #[arg(default_value = "latest")]
        run: String,
        /// The file; default: the name of the run with .pack, here
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Print what is in it as JSON on stdout
        #[arg(long)]
        json: bool,
    },
}

/// Arguments of `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Run folder, a unique prefix of its name, `latest`, or `latest~1` for the one before
    #[arg(default_value = "latest")]
    pub run: String,
    /// Try trials again that failed
    #[arg(long)]
    pub retry_failed: bool,
    /// With a run on Slurm: stay until its tasks have ended, then report
    #[arg(long)]
    pub wait: bool,
    /// Print the summary as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Formats of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Markdown
    Md,
    /// The summary as JSON
    Json,
    /// The table of cells as CSV
    Csv,
    /// The Pareto front as SVG
    Svg,
    /// Scores by depth and context length as SVG
    Heatmap,
    /// The gates as JUnit XML
    Junit,
    /// The whole report as one page
    Html,
    /// A block of text for model cards and threads, no wider than 80 columns
    Card,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Run folder, a unique prefix of its name, `latest`, or `latest~1` for the one before
    #[arg(default_value = "latest")]
    pub run: String,
    /// Print this format on stdout instead of writing the report's files
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Print the summary as JSON on stdout (the same as --format json)
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Folder for the report's files; default: the run folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// A minijinja template to use for the Markdown instead of the built-in one
    #[arg(long, value_name = "FILE")]
    pub template: Option<PathBuf>,
}

/// Arguments of `publish`.
#[derive(Debug, Args)]
pub struct PublishArgs {
    /// Run folders, unique prefixes of their names, or `latest`
    #[arg(required = true)]
    pub runs: Vec<String>,
    /// Folder of the site; what lies there stays, pages of the same names are replaced
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
}

/// Arguments of `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The run to compare with: a folder, a unique prefix of its name, `latest`, or `latest~1` for the one before
    pub a: String,
    /// The run that is judged; with more of them, all stand in one table, nothing is paired, and the options of two runs are
    /// refused
    #[arg(required = true)]
    pub b: Vec<String>,
    /// Fail (exit code 100) when a whole interval lies beyond one of these: quality, leaked, failed
    /// (points), decode, prefill, ttft, energy, memory (shares), kld (nat)
    #[arg(long, value_name = "quality=2pp,kld=0.01,decode=10%,..", value_delimiter = ',')]
    pub fail_on: Vec<Threshold>,
    /// Cases with changed scores to list, losses first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub flips: usize,
    /// Price of the first run's machine for an hour: what a million tokens cost is shown
    #[arg(long, value_name = "PRICE", value_parser = quantity::price)]
    pub price_a: Option<f64>,
    /// Price of the second run's machine for an hour, in the same currency
    #[arg(long, value_name = "PRICE", value_parser = quantity::price)]
    pub price_b: Option<f64>,
    /// Write the comparison as a page into this file, too
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Print as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `route`.
#[derive(Debug, Args)]
pub struct RouteArgs {
    /// Run folder, a unique prefix of its name, `latest`, or `latest~1` for the one before
    #[arg(default_value = "latest")]
    pub run: String,
    /// Label of the fast setting; default: the one with the lowest mean latency
    #[arg(long, value_name = "SETTING")]
    pub fast: Option<String>,
    /// Label of the smart setting; default: the reference
    #[arg(long, value_name = "SETTING")]
    pub smart: Option<String>,
    /// Print as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Suite file
    pub suite: PathBuf,
    /// Another model instead of the suite's, as of `run`
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Override a key of the suite
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Print the resolved suite, or what is wrong with it, as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

impl ValidateArgs {
    /// What is changed of the suite.
    pub fn overrides(&self) -> Vec<String> {
        overrides(self.model.as_deref(), &self.sets)
    }
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// Tasks that suites may name
    Tasks,
    /// Engines that suites may name
    Engines,
    /// Suite files below ./suites
    Suites,
}

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// What to list
    #[arg(value_enum)]
    pub what: Listed,
    /// Print as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Also look at what this suite needs, and say what a run of it would fetch
    pub suite: Option<PathBuf>,
    /// Print as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Things with a JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Schema {
    /// A suite file
    Suite,
    /// A line of a journal
    Journal,
    /// The summary of a run
    Summary,
    /// The output of `run --dry-run --json`
    Plan,
    /// The output of `list --json`
    List,
    /// The output of `doctor --json`
    Doctor,
    /// The output of `validate --json`
    Validate,
    /// A line of the output of `score`
    Score,
    /// A line of the output of `cases`
    Case,
    /// The output of `run --pilot --json`
    Pilot,
    /// The output of `fit --json`
    Fit,
    /// The output of `choose --json`
    Choose,
    /// The output of `pick --json`
    Pick,
    /// The output of `compare --json`
    Compare,
    /// The output of `compare --json` with more than two runs
    Beside,
    /// The output of `route --json`
    Route,
    /// The output of `reference export --json`
    Reference,
    /// The output of `kld-base --json`
    KldBase,
    /// The output of `schema-check --json`
    SchemaCheck,
    /// The output of `history --json`
    History,
    /// The output of `history trend --json`
    Trends,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of what
    #[arg(value_enum)]
    pub of: Schema,
}

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Arguments of the hidden process that watches over a server.
#[derive(Debug, Args)]
pub struct WatchServerArgs {
    /// The server's command line
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// Arguments of `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Command whose page is printed, such as `run`, `history trend` or `kneepoint-run`; default: kneepoint itself
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write the pages of all commands into this folder instead, one file each
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub out: Option<PathBuf>,
}

/// Arguments of the hidden step that becomes a server.
#[derive(Debug, Args)]
pub struct ExecServerArgs {
    /// Process id of the watcher that starts the server
    #[arg(long)]
    pub parent: i32,
    /// The server's command line
    #[arg(last = true, required = true)]
    pub command: Vec<std::ffi::OsString>,
}
