//! What the verdicts of a run's cells took, or would take: said before another run of the same kind.

use super::outlook::{self, Open};
use super::quality::{self, Level};
use super::run::Run;
use super::summary::Verdict;
use super::{Registry, Tasks, cells, kld};
use crate::error::Result;
use crate::record::EvidenceUnit;
use crate::record::journal::Journal;

/// Draws of the intervals that a verdict may rest on: it is only a forecast.
const DRAWS: u32 = 1000;

/// What the verdict of a cell is expected to take.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// What is counted.
    pub unit: EvidenceUnit,
    /// Units with which the verdict is expected; `None`: none that anybody would wait for.
    pub needed: Option<u32>,
    /// The verdict, where the run had decided it.
    pub decided: Option<Verdict>,
    /// Time that servers worked on a unit (s), the reference's share included; `None` where no reply was timed.
    pub unit_s: Option<f64>,
}

/// Says of every cell that has something in common with the reference what its verdict takes, if what comes is like what
/// the run saw: the same formula as for a cell that is open between two rounds.
///
/// # Errors
/// When the journal does not hold together.
pub fn expected(journal: &Journal) -> Result<Vec<Expected>> {
    expected_with(journal, &Registry)
}

fn expected_with(journal: &Journal, tasks: &dyn Tasks) -> Result<Vec<Expected>> {
    let mut run = Run::new(journal, tasks)?;
    run.resampling.draws = run.resampling.draws.min(DRAWS);
    let mut all = Vec::new();
    for &context in &run.suite.contexts {
        let level = Level::new(&run, context);
        let mut measured = cells::of_level(&run, &level, &kld::Comparison::default())?;
        quality::judge(&mut measured, &level);
        let rule = level.rule();
        for cell in &measured {
            let setting = cell.summary.setting.as_str();
            if setting == run.suite.reference().label {
                continue;
            }
            let Some(open) = Open::new(&run, &level, (setting, cell.credit), &rule) else { continue };
            if open.seen() == 0 {
                continue;
            }
            let busy_s = outlook::busy_s(&run, setting, context);
            let outlook = open.outlook(busy_s);
            all.push(Expected {
                setting: setting.to_owned(),
                context,
                unit: outlook.unit,
                needed: outlook.needed,
                decided: Some(cell.summary.verdict)
                    .filter(|verdict| matches!(verdict, Verdict::NoWorse | Verdict::Worse)),
                unit_s: busy_s.map(|busy_s| busy_s / f64::from(outlook.seen)),
            });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{OTHER, Play, right};
    use super::*;

    #[test]
    fn a_cell_takes_what_an_open_one_would_and_the_reference_takes_nothing() {
        let play = Play::new("").reference().other(right);
        let [cell] = expected(&play.journal).unwrap().try_into().unwrap();
        assert_eq!((cell.setting.as_str(), cell.context, cell.unit), (OTHER, 512, EvidenceUnit::Pairs));
        // Equal so far, which 57 pairs do not show within the margin; a pair takes 1 s of the reference and half a second here.
        assert!(cell.needed.unwrap() > 57 && cell.decided.is_none(), "{cell:?}");
        assert!((cell.unit_s.unwrap() - 1.5).abs() < 1e-9, "{cell:?}");
        let nothing = Play::new("").reference();
        assert_eq!(expected(&nothing.journal).unwrap(), []);
    }
}
