//! The syntaxes in which models write calls, family by family.
//!
//! A family is a file with a table of its dialects: the marks that the parsers of llama.cpp (`common/chat`), vLLM
//! (`tool_parsers`) and SGLang (`function_call`) look for, as their documentation and the models' own chat templates
//! give them. A new dialect is a line in such a table, a new family a file and a line in [`FAMILIES`].
//!
//! Families look for calls of the tools that were offered and for nothing else: whatever else a text says about
//! functions is prose.

mod braces;
mod json;
mod named;
mod pythonic;
mod source;
mod tags;
pub(super) mod written;
mod xml;

pub(super) use source::Source;
pub(super) use written::Sign;
pub use written::Written;

/// Reads the calls of a family.
type Read = fn(&Source<'_>, &mut Vec<Written>);

/// The families, those with the plainest marks first: where two see the same stretch, the first one has it.
pub(super) static FAMILIES: &[Read] =
    &[xml::read, tags::read, braces::read, named::read, pythonic::read, json::read];
