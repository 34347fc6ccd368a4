//! Cells whose speed the run itself calls doubtful: a gate on it would judge the machine's other users.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::judge::analysis::frame::{self, Above, VisitKey};
use crate::judge::analysis::run::Run;
use crate::judge::analysis::warnings::{DECODE_TOLERANCE, MIN_DECODED, OTHER_CPU_LIMIT, STEAL_LIMIT};
use crate::judge::analysis::words::percent;
use crate::quantile::median;
use crate::record::suite::GateMetric;

/// A cell's speed is doubtful when more than this share of its trials is: a median hardly moves for fewer.
const FEW: f64 = 0.1;

/// Why the speed of cells is doubtful.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doubts {
    /// Of all its speed, by setting and context length.
    speed: BTreeMap<(String, u32), String>,
    /// Of its decode rate alone.
    decode: BTreeMap<(String, u32), String>,
}

impl Doubts {
    /// What the run's own warnings hold against each of its cells.
    pub(crate) fn of(run: &Run<'_>) -> Result<Self> {
        let mut doubts = Self::default();
        // Only gates ask.
        if run.suite.gates.is_empty() {
            return Ok(doubts);
        }
        let disturbances = disturbances(run)?;
        for setting in &run.suite.settings {
            for &context in &run.suite.contexts {
                let visit = VisitKey { setting: &setting.label, context, replicate: 0 };
                let cell = (setting.label.clone(), context);
                if let Some(reason) = disturbances.iter().find_map(|disturbance| disturbance.at(visit)) {
                    doubts.speed.insert(cell.clone(), reason);
                }
                if let Some(reason) = contradicted(run, visit)? {
                    doubts.decode.insert(cell, reason);
                }
            }
        }
        Ok(doubts)
    }

    /// Why the speed of a cell is not to be judged by this metric.
    pub(super) fn about(&self, metric: GateMetric, setting: &str, context: u32) -> Option<&str> {
        let cell = (setting.to_owned(), context);
        match metric {
            GateMetric::Decode | GateMetric::Prefill | GateMetric::Ttft => {
                self.speed.get(&cell).map(String::as_str)
            }
            GateMetric::Quality
            | GateMetric::Difference
            | GateMetric::Kld
            | GateMetric::Energy
            | GateMetric::Memory
            | GateMetric::Failed => None,
        }
    }

    /// How the client's decode rate of a cell contradicts the engine's.
    pub(super) fn contradiction(&self, setting: &str, context: u32) -> Option<&str> {
        self.decode.get(&(setting.to_owned(), context)).map(String::as_str)
    }
}

/// Others used the machine, or it slowed down: of every visit, in how many trials.
struct Disturbance<'f> {
    seen: Above<'f>,
    /// What is above the limit, in words.
    what: String,
}

fn disturbances<'r>(run: &'r Run<'_>) -> Result<Vec<Disturbance<'r>>> {
    let kinds = [
        (frame::STEAL, STEAL_LIMIT, "the machine's host took more than", " of its CPU time"),
        (frame::OTHER_CPU, OTHER_CPU_LIMIT, "other processes used more than", " of the machine's CPU time"),
        (frame::THROTTLED, 0.0, "a graphics card slowed down for power or heat", ""),
    ];
    let disturbance = |(column, limit, before, behind): (&str, f64, &str, &str)| {
        let limit_in_words = if limit > 0.0 { format!(" {}{behind}", percent(limit)) } else { String::new() };
        Ok(Disturbance { seen: run.frame.above(column, limit)?, what: format!("{before}{limit_in_words}") })
    };
    kinds.into_iter().map(disturbance).collect()
}

impl Disturbance<'_> {
    /// What is to be said of a visit, when it is more than a few of its trials.
    fn at(&self, visit: VisitKey<'_>) -> Option<String> {
        let (trials, above) = self.seen.of(visit);
        let many = f64::from(above) > FEW * f64::from(trials);
        many.then(|| format!("{} in {above} of {trials} trials", self.what))
    }
}

/// The client and the engine do not agree on the decode rate.
fn contradicted(run: &Run<'_>, visit: VisitKey<'_>) -> Result<Option<String>> {
    let rates = run.frame.both(visit, [frame::DECODE, frame::ENGINE_DECODE], MIN_DECODED)?;
    let rates = rates.iter().filter(|(_, engine)| *engine > 0.0);
    let mut gaps: Vec<f64> = rates.map(|(client, engine)| client / engine - 1.0).collect();
    let gap = median(&mut gaps).filter(|gap| gap.abs() > DECODE_TOLERANCE);
    Ok(gap.map(|gap| format!("the client's decode rate is {:+.0}% off the engine's", gap * 100.0)))
}
