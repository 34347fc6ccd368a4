//! A call as it stands in a text.

use std::ops::Range;

use serde_json::Value;

/// A call that stands in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The syntax that it is written in.
    pub syntax: &'static str,
    /// Function name, one of those that were offered.
    pub name: String,
    /// Its arguments; none where they cannot be read.
    pub arguments: Option<Value>,
    /// The bytes of the text that it takes.
    pub(in crate::task::tools::extract) span: Range<usize>,
    /// What shows that it is meant as a call.
    pub(in crate::task::tools::extract) sign: Sign,
}

/// What shows that something is meant as a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::task::tools::extract) enum Sign {
    /// Marks that no prose and no program has.
    Marks,
    /// A JSON object with the name and the arguments of a call.
    Json,
    /// Nothing but its form: it has to stand alone.
    Form,
}
