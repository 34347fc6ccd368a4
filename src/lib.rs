//! kneepoint measures what a faster, smaller setting of a local LLM costs in quality.
//!
//! One straight path: suite -> plan -> trials -> journal -> analysis -> report. The journal is the only
//! seam between measuring and judging.

pub mod analysis;
pub mod cli;
pub mod client;
pub mod clock;
pub mod commands;
pub mod console;
pub mod engine;
pub mod error;
pub mod fault;
pub mod files;
pub mod import;
pub mod journal;
pub mod mock;
pub mod model;
pub mod plan;
pub mod probe;
pub mod quantity;
pub mod report;
pub mod runner;
pub mod secrets;
pub mod suite;
pub mod task;
pub mod trial;

pub use error::{Error, Result};
