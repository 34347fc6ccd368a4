//! From a [`Summary`](crate::analysis::summary::Summary) to bytes that people and programs read.
