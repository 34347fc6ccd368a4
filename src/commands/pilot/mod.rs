//! `run --pilot`: the reference alone tries the suite's tasks, and options are proposed that put each into the
//! range in which it tells settings apart.
//!
//! The cases are others than the run's (another seed): options chosen on the run's own cases would flatter them.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::output::{plain_table, print, print_json};
use super::progress::Display;
use super::setup;
use crate::cli::{Global, RunArgs};
use crate::console;
use crate::error::{EXIT_OK, Error, Kind, Result};
use crate::measure::runner::{CaseServer, Interrupt};
use crate::record::filter::Filter;
use crate::record::suite::{Suite, TaskSpec};
use crate::record::{Arm, Case, Outcome};
use crate::suite;
use crate::task::{self, Task, Weight};

mod search;
mod write;

use search::{Search, WANTED, in_range};

/// Makes the pilot's seed from the suite's.
const OTHER_CASES: u64 = 0x7069_6c6f_7400_0001;

/// What `run --pilot --json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct Pilot {
    /// Version of this form.
    pub schema_version: u32,
    /// Suite name.
    pub suite: String,
    /// The setting that tried the tasks.
    pub reference: String,
    /// Cases for each context length, arm and step.
    pub samples: u32,
    /// The wanted range of mean scores (0..1).
    pub wanted: (f64, f64),
    /// Every task of the suite.
    pub tasks: Vec<PilotTask>,
    /// Whether the proposals were written into the suite file.
    pub written: bool,
}

/// What the pilot found out about a task.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct PilotTask {
    /// Task name.
    pub task: String,
    /// How it went.
    pub state: State,
    /// What was tried, in order; the first are the suite's own options.
    pub steps: Vec<PilotStep>,
    /// Options that differ from the suite's; empty: leave it as it is.
    pub proposed: BTreeMap<String, u32>,
    /// Mean score of the proposal (0..1).
    pub score: Option<f64>,
}

/// One try of a task.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct PilotStep {
    /// Tuned options and their values.
    pub options: BTreeMap<String, u32>,
    /// Mean score over the context lengths and arms (0..1), each counting alike.
    pub score: Option<f64>,
    /// Mean score by context length (0..1).
    pub by_context: BTreeMap<u32, f64>,
    /// Trials with a score.
    pub scored: u32,
    /// Why others had none, and how many.
    pub unscored: BTreeMap<String, u32>,
}

/// How the pilot of a task went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// The proposal (or the suite's own options) is in the wanted range.
    InRange,
    /// Too easy, whatever was tried.
    TooEasy,
    /// Too hard, whatever was tried.
    TooHard,
    /// Not part of the quality: not tried.
    NotTuned,
    /// No trial had a score.
    NotScored,
}

impl State {
    const fn words(self) -> &'static str {
        match self {
            Self::InRange => "in range",
            Self::TooEasy => "too easy",
            Self::TooHard => "too hard",
            Self::NotTuned => "not part of the quality: left alone",
            Self::NotScored => "nothing could be scored",
        }
    }
}

/// Runs the pilot instead of the suite.
pub(super) fn pilot(args: &RunArgs, global: &Global) -> Result<u8> {
    let suite = &suite::load(&args.suite, &args.overrides())?;
    let filter = Filter::parse(&args.filters)?;
    let chosen = chosen(suite, &filter)?;
    let display = Display::new(global);
    // Only the reference's files are needed.
    let suite = Suite { settings: vec![suite.reference().clone()], ..suite.clone() };
    let prepared = setup::prepare(&suite, &display)?;
    display.finish();
    let tasks = setup::runtime()?.block_on(async {
        let interrupt = Interrupt::listen()?;
        // One server with room for the longest serves all: quality does not depend on unused room.
        let context = chosen.iter().flat_map(|spec| &spec.contexts).copied().max().unwrap_or_default();
        let mut desk = CaseServer::open(&suite, &prepared, context, &interrupt).await?;
        let mut trier =
            Trier { desk: &mut desk, seed: suite.seed ^ OTHER_CASES, samples: args.pilot_samples };
        let tried = tokio::select! {
            tried = trier.every(&chosen) => tried,
            () = interrupt.asked(1) => Err(Error::new(Kind::Interrupted, "the pilot was stopped")),
        };
        desk.close().await?;
        tried
    })?;
    let changes: write::Changes = tasks
        .iter()
        .filter(|task| !task.proposed.is_empty())
        .map(|task| (task.task.clone(), task.proposed.clone()))
        .collect();
    if args.write && !changes.is_empty() {
        write::write(&args.suite, &changes)?;
    }
    let pilot = Pilot {
        schema_version: 1,
        suite: suite.name.clone(),
        reference: suite.reference().label.clone(),
        samples: args.pilot_samples,
        wanted: WANTED,
        written: args.write && !changes.is_empty(),
        tasks,
    };
    if args.json {
        print_json(&pilot)?
    } else {
        print(&table(&pilot))?
    };
    say(&pilot, args);
    Ok(EXIT_OK)
}

/// The tasks and context lengths that the filter leaves.
fn chosen(suite: &Suite, filter: &Filter) -> Result<Vec<TaskSpec>> {
    let specs: Vec<TaskSpec> = suite
        .tasks
        .iter()
        .map(|spec| TaskSpec {
            contexts: spec
                .contexts
                .iter()
                .copied()
                .filter(|&context| filter.keeps(&spec.name, context))
                .collect(),
            ..spec.clone()
        })
        .filter(|spec| !spec.contexts.is_empty())
        .collect();
    if specs.is_empty() {
        return Err(Error::new(Kind::NothingSelected, "the filter leaves no task to try"));
    }
    Ok(specs)
}

/// Tries tasks on a running server.
struct Trier<'a> {
    desk: &'a mut CaseServer,
    seed: u64,
    samples: u32,
}

impl Trier<'_> {
    async fn every(&mut self, specs: &[TaskSpec]) -> Result<Vec<PilotTask>> {
        let mut tasks = Vec::new();
        for spec in specs {
            let task =
                task::find(&spec.name).ok_or_else(|| Error::usage(format!("unknown task {}", spec.name)))?;
            tasks.push(self.task(spec, task).await?);
        }
        Ok(tasks)
    }

    /// Steps a task's options until its score is in range or nothing is left to try.
    async fn task(&mut self, spec: &TaskSpec, task: &dyn Task) -> Result<PilotTask> {
        if task.card().weight.told(spec.primary) != Weight::Primary {
            return Ok(finished(spec, State::NotTuned, Vec::new(), None));
        }
        let mut search = Search::new(task, &spec.options);
        let mut steps = Vec::new();
        loop {
            let step = self.step(spec, search.options()).await?;
            let score = step.score;
            tracing::info!("{} with {:?}: {score:?}", spec.name, step.options);
            steps.push(step);
            let Some(score) = score else {
                return Ok(finished(spec, State::NotScored, steps, None));
            };
            if !search.learn(score) {
                break;
            }
        }
        let best = search.best();
        let state = match best.map(|step| step.score) {
            Some(score) if in_range(score) => State::InRange,
            Some(score) if score > WANTED.1 => State::TooEasy,
            _ => State::TooHard,
        };
        Ok(finished(spec, state, steps, best))
    }

    async fn step(&mut self, spec: &TaskSpec, options: BTreeMap<String, u32>) -> Result<PilotStep> {
        let mut tried = spec.clone();
        tried.samples = self.samples;
        tried.options.extend(options.clone());
        let arms: Vec<Option<Arm>> = match spec.arms.as_slice() {
            [] => vec![None],
            arms => arms.iter().copied().map(Some).collect(),
        };
        let mut tally = Tally::default();
        for &context in &spec.contexts {
            for &arm in &arms {
                let mut cases: Vec<Case> = Vec::new();
                let mut keep = |case| {
                    cases.push(case);
                    Ok(())
                };
                self.desk.each_case(&tried, self.seed, context, arm, &mut keep).await?;
                for case in &cases {
                    tally.add(context, &self.desk.ask(case).await.outcome);
                }
            }
        }
        Ok(tally.step(options))
    }
}

/// Scores of one step.
#[derive(Default)]
struct Tally {
    scores: BTreeMap<u32, Vec<f64>>,
    unscored: BTreeMap<String, u32>,
}

impl Tally {
    fn add(&mut self, context: u32, outcome: &Outcome) {
        let reason = match outcome {
            Outcome::Scored(score) => match score.quality {
                Some(quality) => return self.scores.entry(context).or_default().push(quality),
                None => "no quality of its own".to_owned(),
            },
            Outcome::Unscored { reason } => reason.clone(),
            Outcome::Failed { error, .. } => error.lines().next().unwrap_or_default().to_owned(),
        };
        *self.unscored.entry(reason).or_default() += 1;
    }

    fn step(self, options: BTreeMap<String, u32>) -> PilotStep {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let by_context: BTreeMap<u32, f64> =
            self.scores.iter().map(|(context, scores)| (*context, mean(scores))).collect();
        let means: Vec<f64> = by_context.values().copied().collect();
        PilotStep {
            options,
            score: (!means.is_empty()).then(|| mean(&means)),
            by_context,
            scored: self.scores.values().map(|scores| scores.len() as u32).sum(),
            unscored: self.unscored,
        }
    }
}

fn finished(spec: &TaskSpec, state: State, steps: Vec<PilotStep>, best: Option<&search::Step>) -> PilotTask {
    let first = steps.first().map(|step| step.options.clone()).unwrap_or_default();
    let differs = |(name, value): &(&String, &u32)| first.get(*name) != Some(*value);
    let proposed = best.map(|step| {
        let options = step.options.iter().filter(differs);
        options.map(|(name, value)| (name.clone(), *value)).collect()
    });
    PilotTask {
        task: spec.name.clone(),
        state,
        steps,
        proposed: proposed.unwrap_or_default(),
        score: best.map(|step| step.score),
    }
}

fn table(pilot: &Pilot) -> String {
    let mut table = plain_table();
    table.set_header(["task", "score now", "by context", "proposal", "its score", ""]);
    let percent =
        |score: Option<f64>| score.map_or("–".to_owned(), |score| format!("{:.0}%", score * 100.0));
    for task in &pilot.tasks {
        let first = task.steps.first();
        let by_context: Vec<String> = first
            .iter()
            .flat_map(|step| &step.by_context)
            .map(|(context, score)| format!("{context}: {:.0}%", score * 100.0))
            .collect();
        let proposal: Vec<String> =
            task.proposed.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        let proposal = if proposal.is_empty() { "as it is".to_owned() } else { proposal.join(", ") };
        table.add_row(vec![
            task.task.clone(),
            percent(first.and_then(|step| step.score)),
            by_context.join(", "),
            proposal,
            percent(task.score),
            state_words(task),
        ]);
    }
    format!("{}\n", table.trim_fmt())
}

fn state_words(task: &PilotTask) -> String {
    let tunable = task.steps.iter().any(|step| !step.options.is_empty());
    match task.state {
        State::TooEasy | State::TooHard if !tunable => {
            format!("{}, and it has no option to tune", task.state.words())
        }
        State::NotScored => {
            let reasons = task.steps.iter().flat_map(|step| step.unscored.keys());
            let reasons: Vec<String> = reasons.map(|reason| crate::console::shown(reason)).collect();
            format!("{}: {}", task.state.words(), reasons.join("; "))
        }
        state => state.words().to_owned(),
    }
}

fn say(pilot: &Pilot, args: &RunArgs) {
    console::note(&format!(
        "{} cases a step on {} alone, others than the run's: rough figures, good for choosing a difficulty",
        pilot.samples, pilot.reference
    ));
    if pilot.written {
        console::note(&format!("written into {}", args.suite.display()));
    } else if pilot.tasks.iter().any(|task| !task.proposed.is_empty()) {
        console::note(&format!("\nhint: --write puts the proposals into {}", args.suite.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Score, Stage};

    #[test]
    fn contexts_count_alike_and_what_broke_is_told() {
        let mut tally = Tally::default();
        for quality in [1.0, 1.0, 1.0, 0.0] {
            tally.add(512, &Outcome::Scored(Score::of(quality)));
        }
        tally.add(1024, &Outcome::Scored(Score::of(0.25)));
        tally.add(1024, &Outcome::Failed { stage: Stage::Stream, error: "cut off\nlog".into() });
        let step = tally.step(BTreeMap::new());
        assert_eq!((step.score, step.scored), (Some(0.5), 5));
        assert_eq!(step.unscored, BTreeMap::from([("cut off".to_owned(), 1)]));
        assert_eq!(Tally::default().step(BTreeMap::new()).score, None);
    }
}
