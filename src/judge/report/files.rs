//! Names of the files of a run's report.

/// The report itself.
pub const REPORT_FILE: &str = "report.md";

/// The report as one self-contained page; made from the summary and the journal.
pub const PAGE_FILE: &str = "report.html";

/// File name of the picture that the Markdown report shows.
pub const FRONT_FILE: &str = "front.svg";

/// File name of the picture of scores by depth and context length.
pub const HEATMAP_FILE: &str = "heatmap.svg";

/// File name of the picture of throughput against latency; there is none without a load phase.
pub(super) const LOAD_FILE: &str = "load.svg";

/// File name of the gates as JUnit XML; there is none without gates.
pub const JUNIT_FILE: &str = "junit.xml";

/// The summary as JSON.
pub const SUMMARY_FILE: &str = "summary.json";

/// A row for each cell.
pub const CELLS_FILE: &str = "cells.csv";

/// A row for each task on each cell.
pub(super) const TASKS_FILE: &str = "tasks.csv";

/// How far each setting goes; there is none with fewer than two context lengths.
pub(super) const EFFECTIVE_FILE: &str = "effective.csv";

/// A row for each step under load; there is none without a load phase.
pub(super) const STEPS_FILE: &str = "load.csv";

/// A row for each trial, as measured; made from the journal and not from the summary.
pub const TRIALS_FILE: &str = "trials.parquet";
