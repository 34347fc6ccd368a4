//! Coherence: what the served model says next, compared with the reference, without any judge.

pub mod kld;
