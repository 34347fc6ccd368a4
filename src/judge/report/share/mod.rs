//! What boards elsewhere take of a run: one setting at one context length, in the form that the board documents. Nothing here
//! sends anything.

mod form;
mod hf_eval;
mod localmaxxing;
mod measured;
mod required;
mod table;

pub use form::{Asked, Board, Destination, Document};
pub use measured::{Shared, shared};
pub use table::document;
