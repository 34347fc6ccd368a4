//! Arguments of runs on several cards or machines.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Help heading of the options for cards and machines.
const HEADING: &str = "Several cards or machines";

/// Who distributes a run over machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Cluster {
    /// An array job, submitted with sbatch
    Slurm,
    /// An Indexed Job, created with kubectl
    Kubernetes,
}

/// Options of `run` for several cards or machines.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub struct SpreadArgs {
    /// Cards of this machine to work side by side, by the driver's numbers: one worker for each, `0+1,2+3` for two with two
    /// cards each, `all` for all that are alike
    #[arg(long, value_name = "0,1,..", conflicts_with_all = ["on", "pilot"])]
    pub gpus: Option<String>,
    /// Spread the run over a cluster
    #[arg(long, value_enum, conflicts_with = "pilot")]
    pub on: Option<Cluster>,
    /// Workers on the cluster; default: as many as the suite keeps busy, at most 8
    #[arg(long, value_name = "N", requires = "on", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub tasks: Option<u32>,
    /// Partition of Slurm
    #[arg(long, value_name = "NAME", requires = "on")]
    pub partition: Option<String>,
    /// A further option of sbatch, such as --sbatch=--gres=gpu:1
    #[arg(long = "sbatch", value_name = "OPTION", requires = "on", allow_hyphen_values = true)]
    pub sbatch: Vec<String>,
    /// Stay until Slurm's tasks have ended, then report
    #[arg(long, requires = "on")]
    pub wait: bool,
    /// What the pods of Kubernetes are
    #[command(flatten)]
    pub pods: PodArgs,
}

impl SpreadArgs {
    /// Whether several workers are asked for.
    pub fn is_asked(&self) -> bool {
        self.gpus.is_some() || self.on.is_some()
    }
}

/// Options of `run --on kubernetes`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = HEADING)]
pub struct PodArgs {
    /// Image of the pods: it holds kneepoint, and the engine's server where the suite names its binary
    #[arg(long, value_name = "IMAGE", requires = "on")]
    pub image: Option<String>,
    /// Claim of the volume for runs, shared by all pods [default: kneepoint-runs]
    #[arg(long, value_name = "CLAIM", requires = "on")]
    pub runs_claim: Option<String>,
    /// Claim of the volume that holds models and the cache, at /models [default: none]
    #[arg(long, value_name = "CLAIM", requires = "on")]
    pub models_claim: Option<String>,
    /// Resource that counts cards [default: nvidia.com/gpu]
    #[arg(long, value_name = "RESOURCE", requires = "on")]
    pub gpu_resource: Option<String>,
    /// Cards of a pod [default: 1]
    #[arg(long, value_name = "N", requires = "on", value_parser = clap::value_parser!(u32).range(0..=64))]
    pub gpus_per_task: Option<u32>,
    /// Processors of a pod
    #[arg(long, value_name = "N", requires = "on", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub cpus_per_task: Option<u32>,
    /// Nodes to choose from, such as gpu.model=h200
    #[arg(long = "node-selector", value_name = "LABEL=VALUE", requires = "on")]
    pub node_selector: Vec<String>,
    /// Namespace of the job
    #[arg(long, value_name = "NAME", requires = "on")]
    pub namespace: Option<String>,
}

/// Arguments of `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Run folder, a unique prefix of its name, or `latest`
    pub run: String,
    /// Which share to measure, from 0
    #[arg(long, value_name = "N")]
    pub index: u32,
    /// Try trials again that failed
    #[arg(long)]
    pub retry_failed: bool,
    /// Begin the run where nobody has yet, from this suite; RUN is its name
    #[arg(long, value_name = "FILE", requires = "tasks")]
    pub suite: Option<PathBuf>,
    /// With --suite: workers of the run
    #[arg(long, value_name = "N", requires = "suite", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub tasks: Option<u32>,
    /// With --suite: override a key of the suite
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "suite")]
    pub sets: Vec<String>,
    /// With --suite: run only matching trials
    #[arg(long = "filter", value_name = "KEY=PATTERN", requires = "suite")]
    pub filters: Vec<String>,
    /// Cards that its servers are told to use
    #[arg(long, hide = true, value_delimiter = ',')]
    pub cards: Vec<u32>,
    /// Processors that it is pinned to
    #[arg(long, hide = true, value_delimiter = ',')]
    pub cpus: Vec<usize>,
    /// Process that it ends with
    #[arg(long, hide = true)]
    pub parent: Option<i32>,
    /// File with what that process asked the server's binary
    #[arg(long, hide = true)]
    pub build: Option<PathBuf>,
}

/// Arguments of `merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// Run folders, unique prefixes of their names, or `latest`
    #[arg(required = true, num_args = 2..)]
    pub runs: Vec<String>,
    /// The folder to make
    #[arg(short, long, value_name = "FOLDER")]
    pub out: PathBuf,
    /// Print what was joined as JSON on stdout
    #[arg(long)]
    pub json: bool,
}
