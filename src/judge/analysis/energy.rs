//! Energy of a cell: what its requests used beyond the idle machine.
//!
//! Gross energy is what the counters of the cards and of the processor packages moved during a trial. The idle
//! power, watched before the first server started, times the trial's time is taken off where it is known.

use super::draws::Draws;
use super::frame::{self, VisitKey};
use super::run::Run;
use super::speed;
use super::summary::{CellSummary, EnergySummary};
use crate::error::Result;

/// Fills in the energy of a cell and its draws.
pub(crate) fn measure(run: &Run<'_>, cell: &mut CellSummary, draws: &mut Draws) -> Result<()> {
    let setting = cell.setting.clone();
    let visit = VisitKey { setting: &setting, context: cell.context, replicate: 0 };
    let visits = run.frame.by_launch(visit, frame::ENERGY)?;
    let purpose = format!("energy {} {setting}", visit.context);
    let Some((per_request_j, drawn)) = speed::estimate(&visits, run.resampling, &purpose) else {
        return Ok(());
    };
    draws.energy = drawn;
    let both = run.frame.both(visit, [frame::ENERGY, frame::OUTPUT], 1.0)?;
    let (joules, tokens) = both.iter().fold((0.0, 0.0), |(j, t), (energy, output)| (j + energy, t + output));
    let right: f64 =
        run.frame.both(visit, [frame::ENERGY, frame::QUALITY], 0.0)?.iter().map(|(_, q)| q).sum();
    let total: f64 = visits.iter().flatten().sum();
    cell.energy = Some(EnergySummary {
        per_request_j,
        per_token_j: (tokens > 0.0).then(|| joules / tokens),
        per_right_answer_j: (right > 0.0).then(|| total / right),
        gpu: run.frame.has(visit, frame::GPU_ENERGY),
        cpu: run.frame.has(visit, frame::CPU_ENERGY),
        idle_w: run.journal.header.machine.idle_gpu_w,
    });
    Ok(())
}
