//! What the verdicts of a planned run are expected to take, by an earlier run that asked the same.

use std::path::Path;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::earlier::{self, Earlier};
use crate::judge::analysis::expected::{Expected, expected};
use crate::judge::analysis::{power, verdict_takes};
use crate::judge::report::plain;
use crate::measure::runner::Prepared;
use crate::record::EvidenceUnit;
use crate::record::journal;
use crate::record::journal::{Header, Journal};
use crate::record::suite::{Suite, TaskSpec};
use crate::task;
use crate::task::Weight;

/// The verdicts that a plan may expect.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct ExpectedVerdicts {
    /// The earlier run whose scatter and speed are taken for those of the planned one.
    pub run: String,
    /// A cell each, the reference's apart.
    pub cells: Vec<ExpectedVerdict>,
}

/// What the verdict of a planned cell is expected to take.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct ExpectedVerdict {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// What is counted.
    pub unit: EvidenceUnit,
    /// Units with which the verdict is expected; `None`: none that anybody would wait for.
    pub needed: Option<u32>,
    /// Units that are planned.
    pub planned: u32,
    /// Time that servers would work on what is needed (s), the reference's share included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy_s: Option<f64>,
    /// What the earlier run found, where that was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<&'static str>,
}

/// The latest run of this machine that asked this suite's questions of its reference; `None` where there is none.
pub(super) fn verdicts(suite: &Suite, prepared: &Prepared, runs_dir: &Path) -> Option<ExpectedVerdicts> {
    let asks_the_same = |header: &Header| {
        super::estimate::is_of_this_machine(header, suite, prepared) && asked(&header.suite) == asked(suite)
    };
    let earlier = earlier::runs(runs_dir, asks_the_same);
    earlier.iter().filter(|run| super::estimate::is_small(run)).find_map(|run| of(suite, run))
}

/// One damaged or empty run must not stop another.
fn of(suite: &Suite, earlier: &Earlier) -> Option<ExpectedVerdicts> {
    let journal: Journal = journal::load(&earlier.folder).ok()?;
    let planned = |cell: &Expected| {
        let here = suite.settings.iter().any(|setting| setting.label == cell.setting);
        here && suite.contexts.contains(&cell.context)
    };
    let cells: Vec<ExpectedVerdict> =
        expected(&journal).ok()?.into_iter().filter(planned).map(|cell| row(suite, cell)).collect();
    (!cells.is_empty()).then_some(ExpectedVerdicts { run: journal.header.run, cells })
}

fn row(suite: &Suite, cell: Expected) -> ExpectedVerdict {
    let Expected { setting, context, unit, needed, decided, unit_s } = cell;
    ExpectedVerdict {
        planned: planned(suite, context, unit),
        busy_s: needed.zip(unit_s).map(|(needed, unit_s)| f64::from(needed) * unit_s),
        found: decided.map(crate::judge::analysis::summary::Verdict::words),
        setting,
        context,
        unit,
        needed,
    }
}

/// Units of a cell that sees all of its cases.
fn planned(suite: &Suite, context: u32, unit: EvidenceUnit) -> u32 {
    let units = match unit {
        EvidenceUnit::Texts => {
            power::texts(suite).iter().find(|row| row.context == context).map(|row| row.texts)
        }
        EvidenceUnit::Pairs => {
            power::rows(suite).iter().find(|row| row.context == context).map(|row| row.pairs)
        }
    };
    units.unwrap_or_default()
}

/// The tasks that a verdict rests on.
fn judged(suite: &Suite) -> impl Iterator<Item = &TaskSpec> {
    suite.tasks.iter().filter(|spec| task::weight_of(spec) == Some(Weight::Primary))
}

/// What is asked, and of which reference: runs that differ in that scatter otherwise. How many cases there are, and at which
/// lengths, does not matter to one of them.
fn asked(suite: &Suite) -> (&str, f64, Vec<TaskSpec>) {
    let alike = |spec: &TaskSpec| TaskSpec { samples: 0, contexts: Vec::new(), ..spec.clone() };
    (&suite.reference().label, suite.margin, judged(suite).map(alike).collect())
}

/// The verdicts in lines of their own; empty where none is expected.
pub(super) fn text(expected: Option<&ExpectedVerdicts>) -> String {
    let Some(ExpectedVerdicts { run, cells }) = expected else { return String::new() };
    let lines: String = cells.iter().map(line).collect();
    format!("\nto a verdict, if it goes as in {}:\n{lines}", plain(run))
}

fn line(cell: &ExpectedVerdict) -> String {
    let ExpectedVerdict { setting, context, unit, needed, planned, busy_s, found } = cell;
    let takes = verdict_takes(*unit, *needed, busy_s.filter(|_| needed.is_some()));
    let short = needed.is_some_and(|needed| needed > *planned);
    let short = if short { format!("; {planned} are planned") } else { String::new() };
    let found = found.map_or(String::new(), |found| format!(" ({found})"));
    format!("  {} at {context}: {takes}{short}{found}\n", plain(setting))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(needed: Option<u32>, busy_s: Option<f64>, found: Option<&'static str>) -> ExpectedVerdict {
        let (setting, context, unit) = ("Q4_1 kv=q8_0".to_owned(), 512, EvidenceUnit::Texts);
        ExpectedVerdict { setting, context, unit, needed, planned: 15, busy_s, found }
    }

    #[test]
    fn what_it_takes_is_said_with_what_is_planned_where_that_is_too_little() {
        let line = |cell: &ExpectedVerdict| line(cell);
        assert_eq!(
            line(&cell(Some(5), Some(40.0), Some("no worse"))),
            "  Q4_1 kv=q8_0 at 512: about 5 texts, 40 s of the servers' time (no worse)\n"
        );
        assert_eq!(
            line(&cell(Some(40), None, None)),
            "  Q4_1 kv=q8_0 at 512: about 40 texts; 15 are planned\n"
        );
        assert!(line(&cell(None, Some(1.0), None)).contains(": more than 100,000 texts\n"));
        assert_eq!(text(None), "");
    }
}
