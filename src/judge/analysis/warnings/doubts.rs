//! What was seen in the run that makes figures of speed, energy and memory doubtful.

use super::finding::Finding;
use super::limits::{DECODE_TOLERANCE, MIN_DECODED, OTHER_CPU_LIMIT, STEAL_LIMIT};
use crate::error::Result;
use crate::judge::analysis::frame::{self, VisitKey};
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{Unit, WarningCode};
use crate::quantile::median;
use crate::record::Objective;

/// Something that was seen in the run and makes figures doubtful.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Doubt {
    /// The figures that it is about; those of memory are GPU memory.
    pub(crate) about: &'static [Objective],
    /// What was seen.
    pub(crate) finding: Finding,
}

/// What depends on how fast the machine was.
const SPEED: &[Objective] = &[Objective::Decode, Objective::Prefill, Objective::Ttft, Objective::Energy];

/// Returns every doubt about speed, energy and memory that the measurements raise.
pub(crate) fn doubts(run: &Run<'_>) -> Result<Vec<Doubt>> {
    let mut doubts = clocks(run)?;
    for (column, limit, code, about) in [
        (frame::STEAL, STEAL_LIMIT, WarningCode::NoiseStolenCpu, SPEED),
        (frame::OTHER_CPU, OTHER_CPU_LIMIT, WarningCode::NoiseOtherProcesses, SPEED),
        (frame::THROTTLED, 0.0, WarningCode::GpuThrottled, SPEED),
        (frame::GPU_OTHERS, 0.0, WarningCode::GpuShared, &[Objective::Energy, Objective::Memory]),
    ] {
        let (trials, affected) = run.frame.above(column, limit)?.all();
        let finding = Finding::new(code)
            .figure("affected", affected, Unit::Trials)
            .figure("trials", trials, Unit::Trials)
            .figure("limit", limit, Unit::Share);
        doubts.extend((affected > 0).then_some(Doubt { about, finding }));
    }
    Ok(doubts)
}

/// Cells whose decode rate the client and the engine do not agree on.
fn clocks(run: &Run<'_>) -> Result<Vec<Doubt>> {
    let mut doubts = Vec::new();
    for (setting, context) in cells(run) {
        let visit = VisitKey { setting, context, replicate: 0 };
        let rates = run.frame.both(visit, [frame::DECODE, frame::ENGINE_DECODE], MIN_DECODED)?;
        let rates = rates.iter().filter(|(_, engine)| *engine > 0.0);
        let mut gaps: Vec<f64> = rates.map(|(client, engine)| client / engine - 1.0).collect();
        if let Some(gap) = median(&mut gaps).filter(|gap| gap.abs() > DECODE_TOLERANCE) {
            let finding = Finding::at(WarningCode::ClocksDisagree, setting, context)
                .figure("gap", gap, Unit::Share)
                .figure("limit", DECODE_TOLERANCE, Unit::Share);
            doubts.push(Doubt { about: &[Objective::Decode], finding });
        }
    }
    Ok(doubts)
}

fn cells<'a>(run: &Run<'a>) -> Vec<(&'a str, u32)> {
    let settings = &run.suite.settings;
    let contexts = run.suite.contexts.iter();
    contexts
        .flat_map(|&context| settings.iter().map(move |setting| (setting.label.as_str(), context)))
        .filter(|cell| !run.void.contains_key(cell))
        .collect()
}
