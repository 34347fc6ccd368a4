//! The command line of `history`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Arguments of `history`.
#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// What to do; default: list
    #[command(subcommand)]
    pub action: Option<HistoryAction>,
    /// Print the list as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// What to do with the store.
#[derive(Debug, Subcommand)]
pub enum HistoryAction {
    /// List the runs, oldest first
    List(SuiteRunsArgs),
    /// Show one run
    Show(ShowArgs),
    /// Show the course of every endpoint, and changes of level beyond the noise
    Trend(SuiteRunsArgs),
    /// Print every endpoint of every run as one table
    Export(ExportArgs),
    /// Write the course of every endpoint as a page
    Page(PageArgs),
    /// Delete old runs, after asking
    Prune(PruneArgs),
}

/// Which runs.
#[derive(Debug, Args)]
pub struct SuiteRunsArgs {
    /// Only runs of this suite
    #[arg(long, value_name = "NAME")]
    pub suite: Option<String>,
    /// Print as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `history show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Run folder, a unique prefix of its name, `latest`, or `latest~1` for the one before
    #[arg(default_value = "latest")]
    pub run: String,
    /// Print as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `history page`.
#[derive(Debug, Args)]
pub struct PageArgs {
    /// Only runs of this suite
    #[arg(long, value_name = "NAME")]
    pub suite: Option<String>,
    /// The file
    #[arg(long, value_name = "FILE", default_value = "history.html")]
    pub to: PathBuf,
}

/// Forms of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// One row an endpoint and run
    Csv,
    /// The trends as JSON
    Json,
}

/// Arguments of `history export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Only runs of this suite
    #[arg(long, value_name = "NAME")]
    pub suite: Option<String>,
    /// Form
    #[arg(long, value_enum, default_value = "csv")]
    pub format: ExportFormat,
}

/// Arguments of `history prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Only runs of this suite
    #[arg(long, value_name = "NAME")]
    pub suite: Option<String>,
    /// Keep so many of the newest runs of each suite
    #[arg(long, value_name = "N")]
    pub keep: u32,
    /// Delete only runs that started before this UTC time, such as 2026-01-31
    #[arg(long, value_name = "TIME")]
    pub before: Option<String>,
    /// Delete without asking
    #[arg(long)]
    pub yes: bool,
    /// Show what would be deleted, and delete nothing
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
}
