//! Energy of a cell: what its requests used beyond the idle machine.
//!
//! Gross energy is what the counters of the cards and of the processor packages moved during a trial. The idle
//! power, watched before the first server started, times the trial's time is taken off where it is known. Requests whose
//! answer was forced are kept apart, as their speed is: they write no reply, and read their prompt from a cache.

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

#[cfg(test)]
mod tests {
    use crate::judge::analysis::summarise;
    use crate::judge::analysis::testing::{OTHER, Play, REFERENCE, right};
    use crate::record::{ForcedPart, Measurement, Source, metric};

    /// The cases of one task are forced and cost 1 J each, the others cost 10 J.
    fn forced(task: &str) -> Play {
        let mut play = Play::new("").reference().other(right);
        for case in play.journal.cases.iter_mut().filter(|case| case.task.starts_with(task)) {
            case.forced = vec![ForcedPart { begun: String::new(), forms: Vec::new(), depth: None }];
        }
        for trial in &mut play.journal.trials {
            let joules = if trial.key.task.starts_with(task) { 1.0 } else { 10.0 };
            trial.measurements.push(Measurement::new(metric::CPU_ENERGY_J, Source::Rapl, joules));
            trial.measurements.push(Measurement::new(metric::OUTPUT_TOKENS, Source::Engine, 5.0));
        }
        play
    }

    #[test]
    fn forced_answers_are_no_part_of_the_energy_of_a_request() {
        let summary = summarise(&forced("retrieval/counting").journal).unwrap();
        for setting in [REFERENCE, OTHER] {
            let cell = summary.cells.iter().find(|cell| cell.setting == setting).unwrap();
            let energy = cell.energy.as_ref().unwrap();
            // 38 of the 57 requests; of these 21 are right.
            assert_eq!((energy.per_request_j.value, energy.per_request_j.n), (10.0, 38));
            assert_eq!(energy.per_token_j, Some(2.0));
            assert_eq!(energy.per_right_answer_j, Some(380.0 / 21.0));
        }
        let said: Vec<&str> = summary.not_measured.iter().map(|row| row.sentence.as_str()).collect();
        assert!(said.contains(&"energy of a request: the answer was forced (57 trials)"), "{said:?}");
    }

    #[test]
    fn a_run_of_forced_answers_has_no_energy_of_a_request() {
        let summary = summarise(&forced("").journal).unwrap();
        assert!(summary.cells.iter().all(|cell| cell.energy.is_none() && cell.energy_ratio.is_none()));
    }
}
