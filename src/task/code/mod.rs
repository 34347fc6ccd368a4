//! Code: small programs in a language of our own, run by an interpreter of ours on inputs that the model does not see. Nothing
//! of a reply is ever executed by anything else.

pub mod language;
pub mod patch;
mod program;
