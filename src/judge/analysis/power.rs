//! Before a run: which drop its suite can see, with which chance.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::judge::stats::{mcnemar_power, smallest_drop, t_bound};
use crate::record::suite::{Suite, TaskSpec};
use crate::task::{Weight, weight_of};

/// Shares of pairs that differ, as settings that are nearly equal, damaged, and broken show them.
const DISCORDANCES: [f64; 3] = [0.05, 0.10, 0.20];

/// Drops that are looked at (of the 0..1 scale).
const DROPS: [f64; 3] = [0.05, 0.10, 0.20];

/// What a cell of one context length can show, if so many of its pairs differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PowerRow {
    /// Context length (tokens).
    pub context: u32,
    /// Paired cases of the primary tasks in a cell that sees all of them.
    pub pairs: u32,
    /// Assumed share of pairs that differ (0..1).
    pub discordance: f64,
    /// Chances of the exact McNemar test, at the suite's confidence, for one setting; the correction for several
    /// (Holm) and stopping early make them somewhat smaller.
    pub chances: Vec<Chance>,
    /// Smallest drop that is seen with a chance of 80% (0..1); `None` when none is.
    pub smallest_drop: Option<f64>,
}

/// The chance to see a drop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Chance {
    /// Cases lost less cases gained, as a share of all (0..1).
    pub drop: f64,
    /// The chance that it is called a difference (0..1).
    pub power: f64,
}

/// What a cell of one context length can show where answers are scored by their probability: that depends on how much its
/// texts scatter, which only a run tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct TextsRow {
    /// Context length (tokens).
    pub context: u32,
    /// The margin (0..1).
    pub margin: f64,
    /// Texts of the task that has fewest.
    pub texts: u32,
    /// Largest standard deviation of a text's mean difference (0..1) at which a setting that equals the reference is shown to
    /// be within the margin; `None`: so few texts show nothing.
    pub scatter: Option<f64>,
}

/// For every context length of a suite whose answers are scored by their probability; empty for any other.
pub fn texts(suite: &Suite) -> Vec<TextsRow> {
    let primary = |spec: &&TaskSpec| weight_of(spec) == Some(Weight::Primary);
    let row = |&context: &u32| {
        let here = suite.tasks.iter().filter(primary).filter(|task| task.contexts.contains(&context));
        let texts = here.map(|task| task.samples / task.questions.max(1)).min()?;
        let bound = t_bound(texts as usize, 1.0 - suite.confidence);
        let scatter = bound.map(|t| suite.margin * f64::from(texts).sqrt() / t);
        Some(TextsRow { context, margin: suite.margin, texts, scatter })
    };
    if suite.scores_by_probability() { suite.contexts.iter().filter_map(row).collect() } else { Vec::new() }
}

/// For every context length of a suite that has a primary task whose answers are right or wrong.
pub fn rows(suite: &Suite) -> Vec<PowerRow> {
    if suite.scores_by_probability() {
        return Vec::new();
    }
    let primary = |spec: &&TaskSpec| weight_of(spec) == Some(Weight::Primary);
    let mut rows = Vec::new();
    for &context in &suite.contexts {
        let here = suite.tasks.iter().filter(primary).filter(|task| task.contexts.contains(&context));
        let pairs: u32 = here.map(|task| task.samples * task.arms.len().max(1) as u32).sum();
        if pairs > 0 {
            rows.extend(DISCORDANCES.map(|discordance| row(context, pairs, discordance, suite)));
        }
    }
    rows
}

fn row(context: u32, pairs: u32, discordance: f64, suite: &Suite) -> PowerRow {
    let level = 1.0 - suite.confidence;
    let possible = DROPS.iter().filter(|drop| **drop <= discordance);
    let chance = |drop: &f64| Chance { drop: *drop, power: mcnemar_power(pairs, discordance, *drop, level) };
    PowerRow {
        context,
        pairs,
        discordance,
        chances: possible.map(chance).collect(),
        smallest_drop: smallest_drop(pairs, discordance, level),
    }
}
