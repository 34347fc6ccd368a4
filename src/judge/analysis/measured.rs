//! A cell while it is being judged.

use std::collections::BTreeMap;

use super::draws::{Draw, Draws};
use super::quality::interval::Difference;
use super::summary::{CellSummary, Estimate};
use crate::record::Objective;

/// A cell while it is being judged: what is published, and the draws that its place on the front needs.
pub(crate) struct Measured {
    pub(crate) summary: CellSummary,
    pub(crate) difference: Option<Difference>,
    /// What of the difference comes from cases that broke on the reference.
    pub(crate) credit: f64,
    pub(crate) draws: Draws,
    /// Its KLD was read on the prefill path, where its KV type, another than the reference's, does not show.
    pub(crate) unread_kld: bool,
    /// By what it is laid beside the other cells in time and energy.
    pub(crate) standing: BTreeMap<Objective, Standing>,
}

impl Measured {
    /// A cell of which nothing more is known.
    pub(crate) fn new(summary: CellSummary) -> Self {
        Self {
            summary,
            difference: None,
            credit: 0.0,
            draws: Draws::default(),
            unread_kld: false,
            standing: BTreeMap::new(),
        }
    }
}

/// By what a cell is laid beside the others: its figure as a ratio to the reference's on the same requests; where the
/// reference has none, its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) estimate: Estimate,
    pub(crate) draws: Vec<Draw>,
}
