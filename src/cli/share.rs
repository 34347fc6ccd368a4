//! The command line of `share`.

use std::path::PathBuf;

use clap::Args;

use crate::judge::report::Board;
use crate::quantity;

/// Arguments of `share`.
#[derive(Debug, Args)]
pub struct ShareArgs {
    /// Run folder, a unique prefix of its name, `latest`, or `latest~1` for the one before
    #[arg(default_value = "latest")]
    pub run: String,
    /// What to write
    #[arg(long, value_enum)]
    pub format: Board,
    /// Label of the setting; default: the only one
    #[arg(long, value_name = "SETTING")]
    pub setting: Option<String>,
    /// Context length in tokens, such as 32k (k is 1024); default: the only one
    #[arg(long, value_name = "TOKENS", value_parser = quantity::tokens)]
    pub context: Option<u32>,
    /// The model on Hugging Face; default: where the run fetched it from
    #[arg(long, value_name = "OWNER/REPO")]
    pub hf_id: Option<String>,
    /// The machine as localmaxxing takes it, as JSON; default: as the run saw it
    #[arg(long, value_name = "FILE")]
    pub hardware: Option<PathBuf>,
    /// The benchmark that an evaluation result belongs to: its dataset on the Hub
    #[arg(long, value_name = "OWNER/NAME")]
    pub dataset: Option<String>,
    /// The benchmark's task, as the dataset's eval.yaml names it
    #[arg(long, value_name = "ID")]
    pub dataset_task: Option<String>,
    /// The run's task whose score is meant; default: the quality over all tasks
    #[arg(long, value_name = "TASK")]
    pub task: Option<String>,
    /// Where the report can be read
    #[arg(long, value_name = "URL")]
    pub source_url: Option<String>,
    /// Write into this file instead of stdout
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Send it; without this nothing leaves the machine
    #[arg(long, requires = "key_env")]
    pub send: bool,
    /// Environment variable that holds the site's key
    #[arg(long, value_name = "NAME", requires = "send")]
    pub key_env: Option<String>,
    /// Another address of the site
    #[arg(long, value_name = "URL", requires = "send")]
    pub site: Option<String>,
}
