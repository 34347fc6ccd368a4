//! Tools: does the model call the right function with exactly the right arguments, and only then?
//!
//! | module | what it does |
//! |---|---|
//! | [`data`] | the requests that ship, with the tools they are about |
//! | `offer` | tools, and how they reach the model in each arm |
//! | `cases` | from a request to a case |
//! | [`extract`] | from a reply to its calls |
//! | `python` | calls that are written as Python |
//! | [`ladder`] | one call against what is asked for |
//! | [`grammar`] | what a server's grammar allows |
//! | [`effort`] | how much is done at most for a schema |
//! | [`held`] | what is held of a schema, keyword by keyword |
//! | `grading` | the calls of a reply against all that is asked for, in any order |

pub mod abstention;
pub mod arguments;
mod cases;
pub mod context_pressure;
pub mod data;
pub mod effort;
pub mod extract;
pub mod fault;
mod forced_call;
mod grading;
pub mod grammar;
pub mod held;
pub mod json_schema;
pub mod ladder;
pub mod long_chain;
pub mod multi_turn;
mod numbers;
mod offer;
pub mod parallel;
pub(crate) mod python;
pub mod schema;
pub mod selection;
mod siblings;

use serde_json::Value;

use crate::record::{Reply, ToolCall};

/// Returns whether two replies make the same calls in the same order: names equal, arguments the same JSON (numbers by
/// value); arguments that are not JSON are compared as text. Ids do not count.
pub fn same_calls(a: &Reply, b: &Reply) -> bool {
    a.tool_calls.len() == b.tool_calls.len() && a.tool_calls.iter().zip(&b.tool_calls).all(same_call)
}

fn same_call((a, b): (&ToolCall, &ToolCall)) -> bool {
    let json = |call: &ToolCall| serde_json::from_str::<Value>(&call.arguments).ok();
    let same_arguments = match (json(a), json(b)) {
        (Some(a), Some(b)) => numbers::same_json(&a, &b),
        (None, None) => a.arguments == b.arguments,
        _ => false,
    };
    a.name == b.name && same_arguments
}
