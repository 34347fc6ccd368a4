//! Suite files: TOML with defaults, a matrix and overrides, checked and resolved to a [`Suite`](crate::record::suite::Suite).

mod checker;
mod label;
mod load;
mod overrides;
pub mod raw;
mod resolve;
mod samplings;
pub mod scalar;

pub use load::{load, parse};
