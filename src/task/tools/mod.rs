//! Tools: does the model call the right function with exactly the right arguments?

pub mod arguments;
pub mod extract;
pub mod ladder;
