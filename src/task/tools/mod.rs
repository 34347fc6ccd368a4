//! Tools: does the model call the right function with exactly the right arguments, and only then?
//!
//! | module | what it does |
//! |---|---|
//! | [`data`] | the requests that ship, with the tools they are about |
//! | `asking` | from a request to a case, in each arm |
//! | [`extract`] | from a reply to its calls |
//! | [`ladder`] | one call against what is asked for |
//! | `marking` | the calls of a reply against all that is asked for, in any order |

pub mod abstention;
pub mod arguments;
mod asked;
mod asking;
pub mod context_pressure;
pub mod data;
pub mod extract;
pub mod json_schema;
pub mod ladder;
mod marking;
pub mod multi_turn;
pub mod parallel;
pub mod selection;
mod siblings;
