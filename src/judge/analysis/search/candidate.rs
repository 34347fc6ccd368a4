//! A setting in the search: what was seen of it, and what came of it.

use std::collections::HashSet;

use super::fidelity::{Fidelity, Part, parts};
use crate::judge::analysis::measured::Measured;
use crate::judge::analysis::outlook::Open;
use crate::judge::analysis::pareto;
use crate::judge::analysis::quality::Level;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::Verdict;
use crate::judge::analysis::{outlook, stopping};
use crate::record::plan::{Plan, Visit};
use crate::record::suite::Setting;
use crate::record::{Decision, Direction, Objective, StopReason, TrialKey};

/// What came of a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    NoWorse,
    Worse,
    /// Not decided: an alarm, and cases that lean the same way.
    Far,
    /// Not decided, and not going on.
    GivenUp,
}

/// A setting in the search.
pub(super) struct Candidate<'a> {
    pub(super) setting: &'a Setting,
    pub(super) parts: Vec<Part>,
    pub(super) fidelity: Fidelity,
    /// Rounds that are complete, from the first on.
    pub(super) rounds: u32,
    /// Whether any trial of it ended.
    pub(super) tried: bool,
    /// How many times better than the reference it is in what is asked for; `None`: not measured.
    pub(super) gain: Option<f64>,
    /// Peak memory (bytes).
    pub(super) memory: Option<f64>,
    pub(super) end: Option<End>,
    /// The least that its distributions moved from the reference's (nat), where that is far.
    pub(super) alarm: Option<f64>,
}

/// What was measured, and what is looked for.
#[derive(Clone, Copy)]
pub(super) struct Seen<'c> {
    pub(super) cells: &'c [Measured],
    pub(super) goal: Objective,
    /// Whether any server shared much memory with others: a part of that is charged to it then, and which part depends on
    /// how many they were.
    pub(super) sharing: bool,
}

impl Seen<'_> {
    /// Peak memory (bytes): what a server would take alone.
    fn memory(self, cell: &Measured) -> Option<f64> {
        let memory = &cell.summary.memory;
        match memory.peak_rss_bytes.filter(|_| self.sharing) {
            Some(bytes) => Some(bytes as f64),
            None => pareto::value(&cell.summary, Objective::Memory),
        }
    }

    /// How many times better than the reference: more than 1 is better.
    fn gain(self, cell: &Measured, reference: &Measured) -> Option<f64> {
        if self.goal == Objective::Memory {
            return self.memory(reference).zip(self.memory(cell)).map(|(theirs, ours)| theirs / ours);
        }
        // Standings are ratios to the reference's on the same requests.
        let ratio = cell.standing.get(&self.goal)?.estimate.value;
        let relative = reference.standing.get(&self.goal).map_or(1.0, |standing| standing.estimate.value);
        let ratio = ratio / relative;
        (ratio > 0.0).then_some(match self.goal.direction() {
            Direction::Up => ratio,
            Direction::Down => 1.0 / ratio,
        })
    }
}

impl<'a> Candidate<'a> {
    pub(super) fn new(run: &Run<'a>, setting: &'a Setting, rounds: u32, seen: Seen<'_>) -> Self {
        let reference = run.suite.reference();
        let cells = seen.cells;
        let cell = cells.iter().find(|cell| cell.summary.setting == setting.label);
        let of_reference = cells.iter().find(|cell| cell.summary.setting == reference.label);
        let trials = run.journal.trials.iter();
        Self {
            setting,
            parts: parts(setting, reference),
            fidelity: Fidelity::of(setting, &run.journal.header),
            rounds,
            tried: trials.filter(|trial| trial.key.setting == setting.label).count() > 0,
            gain: cell.zip(of_reference).and_then(|(cell, reference)| seen.gain(cell, reference)),
            memory: cell.and_then(|cell| seen.memory(cell)),
            end: ended(run, setting, cell),
            alarm: None,
        }
    }

    pub(super) fn label(&self) -> &'a str {
        &self.setting.label
    }

    pub(super) fn is_reference(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether it differs from the reference in one thing.
    pub(super) fn is_single(&self) -> bool {
        self.parts.len() == 1
    }

    pub(super) fn is_live(&self) -> bool {
        !self.is_reference() && self.end.is_none()
    }

    /// Whether it may be chosen as things are.
    pub(super) fn is_good(&self) -> bool {
        self.is_reference() || self.end == Some(End::NoWorse)
    }
}

/// What the decisions so far say of it.
fn ended(run: &Run<'_>, setting: &Setting, cell: Option<&Measured>) -> Option<End> {
    let about = |decision: &&Decision| decision.setting == setting.label && decision.replicate.is_none();
    let decision = run.journal.decisions.iter().find(about)?;
    Some(match (decision.reason, cell.map(|cell| cell.summary.verdict)) {
        (StopReason::Settled, Some(Verdict::NoWorse)) => End::NoWorse,
        (StopReason::Settled, Some(Verdict::Worse)) => End::Worse,
        (StopReason::Alarm, _) => End::Far,
        _ => End::GivenUp,
    })
}

/// What its cases show so far: why it is settled, or that it cannot be decided within what is planned.
pub(super) fn shown(
    run: &Run<'_>,
    level: &Level<'_>,
    cell: &Measured,
    rounds: u32,
) -> Option<(End, StopReason, String)> {
    if cell.summary.scored == 0 && cell.summary.failed > 0 {
        let because = format!("all {} of its trials broke", cell.summary.failed);
        return Some((End::GivenUp, StopReason::Undecidable, because));
    }
    if let Some(void) = &cell.summary.void {
        return Some((End::GivenUp, StopReason::Undecidable, format!("void: {void}")));
    }
    let family = run.suite.settings.len() as f64 - 1.0;
    if let Some(because) = stopping::settled(run.suite, cell, family) {
        let end = if cell.summary.verdict == Verdict::NoWorse { End::NoWorse } else { End::Worse };
        return Some((end, StopReason::Settled, because));
    }
    let rule = level.rule();
    let open = Open::new(run, level, (&cell.summary.setting, cell.credit), &rule)?;
    let outlook = open.outlook(outlook::busy_s(run, &cell.summary.setting, level.context));
    let total = open.seen() * run.suite.rounds as usize / rounds.max(1) as usize;
    let last = rounds >= run.suite.rounds;
    let hopeless = open.seen() >= open.enough_to_give_up() && open.is_hopeless_with(total);
    (last || hopeless).then(|| {
        let planned = if last { "seen" } else { "planned" };
        let because = format!(
            "the {total} {} that are {planned} leave it open: {}",
            outlook.unit.name(),
            outlook::words(&outlook)
        );
        (End::GivenUp, StopReason::Undecidable, because)
    })
}

/// Visits of a plan, and which of them are done.
pub(super) struct Progress<'p> {
    visits: Vec<&'p Visit>,
    done: HashSet<&'p TrialKey>,
}

impl<'p> Progress<'p> {
    pub(super) fn new(plan: &'p Plan, run: &Run<'p>) -> Self {
        let done = run.journal.trials.iter().map(|trial| &trial.key).collect();
        Self { visits: plan.visits.iter().collect(), done }
    }

    /// Whether everything was asked that one visit of a setting asks.
    pub(super) fn is_done(&self, run: &Run<'_>, setting: &str, round: u32, replicate: u32) -> bool {
        let mut visits = self.visits.iter();
        let visit = visits.find(|visit| {
            visit.cell.setting.label == setting && visit.round == round && visit.replicate == replicate
        });
        let wanted = |key: &&TrialKey| !run.selection.skips(key);
        visit.is_none_or(|visit| visit.trials.iter().filter(wanted).all(|key| self.done.contains(key)))
    }

    /// Complete rounds of a setting's first visits.
    pub(super) fn rounds(&self, run: &Run<'_>, setting: &str) -> u32 {
        (0..run.suite.rounds).take_while(|&round| self.is_done(run, setting, round, 0)).count() as u32
    }
}
