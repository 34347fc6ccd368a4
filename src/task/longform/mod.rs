//! Long outputs that a program checks line by line: damage that adds up while a reply is written.
//!
//! A task of this family is a `Work`: how a `Job` of any length is drawn, and what a reply is worth.
//! Sizing the right reply to as many tokens as a suite asks for is the same for all of them. The score is graded (F1 of lines,
//! steps or changes), and `first_error` says how far a reply is right: the share of it in front of its first error, 1 for a
//! right one.

mod lines;
pub mod merge;
pub mod patch;
pub mod rename;
pub mod route;
pub mod table;
mod unified;
mod work;

#[cfg(test)]
mod testing;

pub use work::Longform;
