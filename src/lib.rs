//! kneepoint measures what a faster, smaller setting of a local LLM costs in quality.
//!
//! One straight path: suite -> plan -> trials -> journal -> analysis -> report. [`measure`] writes the journal, [`judge`]
//! reads it, and neither imports the other: what both speak of is in [`record`]. docs/architecture.md has the picture.

pub mod cli;
pub mod clock;
pub mod commands;
pub mod console;
pub mod error;
pub mod fault;
pub mod files;
pub mod import;
pub mod judge;
pub mod measure;
pub mod quantile;
pub mod quantity;
pub mod record;
pub mod suite;
pub mod task;
pub mod tree;

pub use error::{Error, Result};
