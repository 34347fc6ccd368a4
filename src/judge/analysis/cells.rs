//! The cells of a context length, measured but not judged.

use super::frame::VisitKey;
use super::kld::Comparison;
use super::measured::Measured;
use super::quality::Level;
use super::run::Run;
use super::summary::{CellSummary, WeightsSummary};
use super::{declared, energy, memory, roofline, speed};
use crate::error::Result;
use crate::record::journal::LaunchRecord;
use crate::record::metric;

/// Every cell of a context length, measured but not judged.
pub(super) fn of_level(run: &Run<'_>, level: &Level<'_>, kld: &Comparison) -> Result<Vec<Measured>> {
    if run.planned(level.context) == 0 {
        return Ok(Vec::new());
    }
    let settings = run.suite.settings.iter();
    let mut cells: Vec<Measured> =
        settings.map(|setting| measure(run, level, kld, &setting.label)).collect::<Result<_>>()?;
    speed::relate(run, level.context, &mut cells)?;
    Ok(cells)
}

fn measure(run: &Run<'_>, level: &Level<'_>, kld: &Comparison, setting: &str) -> Result<Measured> {
    let context = level.context;
    let visit = VisitKey { setting, context, replicate: 0 };
    let counts = run.frame.counts(visit);
    let mut summary = blank(run, setting, context);
    summary.scored = counts.scored;
    summary.unscored = counts.unscored;
    summary.failed = counts.failed;
    summary.truncated = counts.truncated;
    let mut cell = Measured::new(summary);
    if cell.summary.void.is_some() {
        return Ok(cell);
    }
    level.measure(&mut cell);
    speed::measure(run, &mut cell.summary, &mut cell.draws)?;
    energy::measure(run, &mut cell.summary, &mut cell.draws)?;
    declared::measure(run, &mut cell.summary, metric::FIGURES)?;
    if let Some((kld, kld_draws)) = kld.cells.get(setting) {
        cell.summary.kld = Some(kld.clone());
        cell.draws.kld.clone_from(kld_draws);
    }
    cell.summary.memory = memory::measure(run, visit)?;
    cell.summary.roofline = roofline::of(run, &cell.summary);
    let replies = || run.trials(visit).filter_map(|trial| trial.reply.as_ref());
    cell.summary.prefill_path =
        replies().flat_map(|reply| &reply.forced).any(|forced| forced.path.is_prefill());
    let mut lists = replies().filter_map(|reply| reply.distributions.as_ref());
    cell.summary.kld_on_prefill_path = lists.any(|lists| lists.path.is_prefill());
    let other_cache = run.setting(setting).is_some_and(|setting| run.has_other_cache(setting));
    cell.unread_kld = other_cache && cell.summary.kld_on_prefill_path;
    Ok(cell)
}

/// The file of the setting's weights, as the run knows it.
fn weights(run: &Run<'_>, label: &str) -> Option<WeightsSummary> {
    let file = run.model_of(run.setting(label)?)?;
    let bits = file.parameters.filter(|values| *values > 0);
    let bits = bits.map(|values| file.bytes as f64 * 8.0 / values as f64);
    (file.bytes > 0).then_some(WeightsSummary { bytes: file.bytes, bits })
}

/// The cell as the servers describe it, without figures.
fn blank(run: &Run<'_>, setting: &str, context: u32) -> CellSummary {
    let mut launches = run.launches(setting, context);
    let first = launches.next();
    let ready =
        first.filter(|launch| launch.failure.is_none()).or_else(|| launches.find(|l| l.failure.is_none()));
    CellSummary {
        void: run.void.get(&(setting, context)).cloned(),
        planned: run.planned(context),
        command: first.and_then(LaunchRecord::command),
        effective: ready.map(|launch| launch.effective.clone()),
        weights: weights(run, setting),
        ..CellSummary::unmeasured(setting, context)
    }
}
