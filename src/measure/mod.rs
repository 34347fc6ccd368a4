//! Everything that touches a server, a clock or a card: engines, requests, model files, probes, and the runner that writes
//! the journal.

pub mod client;
pub mod engine;
pub mod mock;
pub mod model;
pub mod probe;
pub(crate) mod processes;
pub mod runner;
