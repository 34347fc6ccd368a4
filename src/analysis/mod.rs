//! From a journal to a [`Summary`](summary::Summary): what can be claimed, and how sure it is.

pub mod summary;
