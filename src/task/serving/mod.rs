//! Serving: what a server keeps from one request to the next, and whether the answers stay what they were.

pub mod prefix_cache;
pub mod speed;
mod variants;

pub use variants::Variant;
