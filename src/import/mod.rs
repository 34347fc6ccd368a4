//! Cases and replies that were made elsewhere, in files of one JSON value a line.
//!
//! A new format is one file and one line in [`FORMATS`]; a suite reaches it through a task of its own, so that
//! what is imported is run, scored and reported like any other case.

pub mod answers;
pub mod bfcl;
mod format;
pub mod kld_base;
mod lines;
pub mod own;
pub mod qa;
pub mod replies;
pub mod requests;
pub mod ruler;
pub mod schemas;
mod suite_file;
mod table;
mod values;

pub use answers::prediction_name;
pub use format::{Format, Imported, Matching, TakeCase, Verdict};
pub use lines::{Line, lines};
pub use table::{FORMATS, find};
