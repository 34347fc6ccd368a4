//! Coherence: what the served model says next, compared with the reference, and whether it keeps to what was
//! said, over many turns; without any judge.

mod dialogue;
pub mod instruction_retention;
pub mod kld;
mod rules;
pub mod running_sum;
pub mod self_consistency;
pub mod state_ledger;
pub mod turns;
