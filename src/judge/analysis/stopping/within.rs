//! Between two texts of a visit: whether a cell need not go on.
//!
//! The evidence of scores by probability counts texts and holds whenever one looks (docs/statistics.md, sections 5 and 6), so
//! it may be looked at after every text. Only whole texts count, those whose questions both the cell and the reference have
//! answered: what a text is worth must not depend on when it was looked at.

use std::collections::{BTreeMap, HashSet};
use std::slice;

use super::settled::settled;
use crate::error::Result;
use crate::judge::analysis::Tasks;
use crate::judge::analysis::measured::Measured;
use crate::judge::analysis::quality::{self, Level};
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::CellSummary;
use crate::record::journal::Journal;
use crate::record::plan::Planned;
use crate::record::suite::{Suite, TaskSpec};
use crate::record::{Case, Decision, KeyParts, Name, Prompt, Selection, StopReason, TrialKey, WithinRound};

/// No mean is refuted by fewer texts.
const FEWEST_TEXTS: usize = 5;

/// Whether a cell (setting, context length) is settled by the whole texts of its rounds up to this one (from 0). `None`: it goes on, or
/// was stopped before.
///
/// # Errors
/// When the journal does not hold together.
pub fn decide(
    journal: &Journal,
    (setting, context): (&str, u32),
    round: u32,
    tasks: &dyn Tasks,
) -> Result<Option<Decision>> {
    let suite = &journal.header.suite;
    let stopped = journal.decisions.iter().any(|decision| decision.covers(setting, context, 0));
    if stopped || setting == suite.reference().label || !suite.stops_within_visits() {
        return Ok(None);
    }
    let answered = Answered::new(journal, setting, context, round)?;
    if answered.texts() < FEWEST_TEXTS {
        return Ok(None);
    }
    let Some((texts, because)) = judged(&answered.journal(), setting, context, tasks)? else {
        return Ok(None);
    };
    Ok(Some(Decision {
        after_round: round,
        setting: setting.to_owned(),
        context,
        replicate: None,
        untried: false,
        within: Some(WithinRound { texts, from: answered.rest() }),
        reason: StopReason::Settled,
        because,
    }))
}

/// Why the verdict of a cell cannot change any more, and on how many texts; the same figures as between two rounds.
fn judged(
    journal: &Journal,
    setting: &str,
    context: u32,
    tasks: &dyn Tasks,
) -> Result<Option<(u32, String)>> {
    let mut run = Run::new(journal, tasks)?;
    // A confidence sequence is made of the texts alone.
    run.resampling.draws = 0;
    if run.void.contains_key(&(setting, context)) {
        return Ok(None);
    }
    let level = Level::new(&run, context);
    let mut cell = Measured::new(CellSummary::unmeasured(setting, context));
    level.measure(&mut cell);
    quality::judge(slice::from_mut(&mut cell), &level);
    let family = run.suite.settings.len() as f64 - 1.0;
    let texts = cell.summary.texts.filter(|texts| *texts as usize >= FEWEST_TEXTS);
    Ok(texts.zip(settled(run.suite, &cell, family)))
}

/// A visit that counts: setting and replicate.
type Visit = (Name, u32);

/// A text by its task and its number there.
type Text = (Name, u32);

/// What a cell and the reference have answered, up to a round.
struct Answered<'a> {
    journal: &'a Journal,
    suite: &'a Suite,
    cell: Visit,
    context: u32,
    round: u32,
    asked: HashSet<&'a TrialKey>,
    /// Of the cell, which the reference has whole, too, and of the reference's two visits.
    whole: HashSet<(Visit, Text)>,
}

impl<'a> Answered<'a> {
    fn new(journal: &'a Journal, setting: &str, context: u32, round: u32) -> Result<Self> {
        let suite = &journal.header.suite;
        let reference = suite.reference().label.as_str().into();
        let (first, second, cell) = ((reference, 0), (reference, 1), (Name::from(setting), 0));
        let counts = |key: &TrialKey| {
            [first, second, cell].contains(&(key.setting, key.replicate)) && key.round <= round
        };
        let trials = journal.trials.iter().map(|trial| &trial.key);
        let asked = trials.filter(|key| key.context == context && counts(key)).collect();
        let mut answered = Self { journal, suite, cell, context, round, asked, whole: HashSet::new() };
        let whole = answered.whole_of(&[first, second, cell])?;
        let both = |(visit, text): &(Visit, Text)| *visit != cell || whole.contains(&(first, *text));
        answered.whole = whole.iter().copied().filter(both).collect();
        Ok(answered)
    }

    /// The texts of which nothing that is planned, and chosen, is missing.
    fn whole_of(&self, visits: &[Visit]) -> Result<HashSet<(Visit, Text)>> {
        let planned = Planned::new(self.suite, &self.journal.header.filters)?;
        let selection = Selection::of(self.suite, &self.journal.trials);
        let done = |key: TrialKey| {
            self.asked.contains(&key) || planned.stranger(&key).is_some() || selection.skips(&key)
        };
        let mut whole = HashSet::new();
        for task in self.tasks() {
            let name = Name::from(task.name.as_str());
            for text in 0..task.samples.div_ceil(task.questions) {
                let is_whole = |visit: &Visit| self.keys(*visit, task, text).all(done);
                whole.extend(
                    visits.iter().filter(|visit| is_whole(visit)).map(|visit| (*visit, (name, text))),
                );
            }
        }
        Ok(whole)
    }

    fn tasks(&self) -> impl Iterator<Item = &'a TaskSpec> {
        let context = self.context;
        self.suite.tasks.iter().filter(move |task| task.contexts.contains(&context))
    }

    /// Everything that is planned of a text.
    fn keys(
        &self,
        (setting, replicate): Visit,
        task: &TaskSpec,
        text: u32,
    ) -> impl Iterator<Item = TrialKey> {
        let name = Name::from(task.name.as_str());
        let (context, repeats) = (self.context, task.repeats.max(1));
        let arms = task.every_arm();
        let first = text * task.questions;
        let round = task.round_of(first, self.suite.rounds);
        let cases = first..(first + task.questions).min(task.samples);
        cases.flat_map(move |index| arms.clone().into_iter().map(move |arm| (index, arm))).flat_map(
            move |(index, arm)| {
                (0..repeats).map(move |repeat| {
                    KeyParts { setting, context, round, replicate, task: name, arm, index, repeat }.key()
                })
            },
        )
    }

    /// Texts of the cell that are whole: of the task that has the fewest.
    fn texts(&self) -> usize {
        let of = |task: &TaskSpec| {
            let name = Name::from(task.name.as_str());
            self.whole.iter().filter(|(visit, (task, _))| *visit == self.cell && *task == name).count()
        };
        self.tasks().map(of).min().unwrap_or(0)
    }

    /// The part of the journal that these texts are, without their prompts.
    fn journal(&self) -> Journal {
        let Self { journal, context, .. } = self;
        let counts = |key: &TrialKey| self.asked.contains(key) && self.whole.contains(&self.place(key));
        let mut part = Journal::new(journal.header.clone());
        part.trials = journal.trials.iter().filter(|trial| counts(&trial.key)).cloned().collect();
        let used: HashSet<&str> = part.trials.iter().map(|trial| trial.case.as_str()).collect();
        let cases = journal.cases.iter().filter(|case| used.contains(case.id.as_str()));
        part.cases = cases.map(without_prompt).collect();
        let launches = journal.launches.iter().filter(|launch| launch.context == *context);
        part.launches = launches.cloned().collect();
        part
    }

    fn place(&self, key: &TrialKey) -> (Visit, Text) {
        let task = self.suite.tasks.iter().find(|task| task.name == key.task.as_str());
        let text = task.map_or(0, |task| key.index / task.questions.max(1));
        ((key.setting, key.replicate), (key.task, text))
    }

    /// By task the first case of the round that the cell was not asked.
    fn rest(&self) -> BTreeMap<String, u32> {
        let first = |task: &TaskSpec| {
            let asked = self.asked.iter().filter(|key| (key.setting, key.replicate) == self.cell);
            let here = asked.filter(|key| key.round == self.round && task.name == key.task.as_str());
            let next = here.map(|key| key.index + 1).max().unwrap_or(0);
            (next..task.samples).find(|index| task.round_of(*index, self.suite.rounds) == self.round)
        };
        self.tasks().filter_map(|task| Some((task.name.clone(), first(task)?))).collect()
    }
}

/// Prompts are long, and no verdict reads them.
fn without_prompt(case: &Case) -> Case {
    Case {
        id: case.id,
        task: case.task,
        task_version: case.task_version,
        arm: case.arm,
        context: case.context,
        index: case.index,
        depth: case.depth,
        cluster: case.cluster,
        prompt: Prompt::chat(Vec::new()),
        max_tokens: case.max_tokens,
        prompt_tokens: case.prompt_tokens,
        target: serde_json::Value::Null,
        forced: Vec::new(),
        shared_tokens: case.shared_tokens,
    }
}

#[cfg(test)]
mod tests;
