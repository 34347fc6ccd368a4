//! Reasoning: chains of steps whose facts lie scattered among others, with one final answer that a program checks.
//!
//! What a model writes on the way is its own affair, thinking or not; the last line names the answer. Where answers are
//! scored by probability nobody thinks: the right steps are said one after another, and up to six of them, spread over the
//! chain, are scored.

pub mod arithmetic_story;
mod chain;
pub mod deduction;
mod final_answer;
#[cfg(test)]
mod testing;
