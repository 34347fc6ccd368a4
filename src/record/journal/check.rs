//! Whether what a journal says can be: its header's numbers, and its records against the plan.
//!
//! kneepoint wrote it itself, but disks flip bits and people edit files: nothing here may reach the analysis as a panic,
//! a hang or a figure that nobody measured. (Infinity and NaN are no JSON, and `1e999` is refused where it is read.)

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::header::Header;
use super::launch::LaunchRecord;
use super::records::Record;
use crate::record::plan::Planned;
use crate::record::suite::bounds::{count, texts, within};
use crate::record::{
    Arm, Case, Decision, HeldCase, KeyParts, Machine, ModelInfo, Name, Outcome, Prompt, Score, Trial,
};

/// Most layers of a model, and most groups of them; real models have fewer than 200.
const MOST_LAYERS: u32 = 65_536;

/// What a record of a run may be.
#[derive(Debug)]
pub(super) struct Rules {
    planned: Planned,
    contexts: Vec<u32>,
    rounds: u32,
    /// By the numbers of their names.
    cases: HashMap<u32, Item, RandomState>,
}

/// What a case is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Item {
    pub(super) task: Name,
    arm: Option<Arm>,
    context: u32,
    index: u32,
}

impl Item {
    pub(super) fn of(case: &Case) -> Self {
        Self { task: case.task, arm: case.arm, context: case.context, index: case.index }
    }
}

impl Rules {
    /// Checks a header; the rules for what follows it.
    pub(super) fn new(header: &Header) -> Result<Self, String> {
        header.suite.check()?;
        machine(&header.machine)?;
        let names = [&header.run, &header.started, &header.tool_version, &header.fingerprint];
        texts("a text of the header", names.into_iter().map(String::as_str))?;
        count("engines", header.engines.len())?;
        count("models", header.models.len())?;
        header.models.iter().try_for_each(model)?;
        count("filters", header.filters.len())?;
        count(
            "environment variables",
            header.environment.as_ref().map_or(0, std::collections::BTreeMap::len),
        )?;
        count("notes on the choice", header.choice_notes.as_ref().map_or(0, Vec::len))?;
        texts("a note on the choice", header.choice_notes.iter().flatten().map(String::as_str))?;
        let planned = Planned::new(&header.suite, &header.filters).map_err(|error| error.to_string())?;
        let (contexts, rounds) = (header.suite.contexts.clone(), header.suite.rounds);
        Ok(Self { planned, contexts, rounds, cases: HashMap::default() })
    }

    /// Why a record cannot be of this run.
    pub(super) fn check(&mut self, record: &Record) -> Result<(), String> {
        match record {
            Record::Header(_) => Err("it is a second header".into()),
            Record::Case(case) => self.case(case),
            Record::Launch(launch) => self.launch(launch),
            Record::Trial(trial) => {
                known(self.planned.stranger(&trial.key))?;
                self.trial(trial)
            }
            Record::Decision(decision) => self.decision(decision),
            Record::HeldSchema(held) => count("keywords of a schema", held.keywords.len()),
            Record::HeldCase(held) => self.held_case(held),
            Record::LoadtestServer(server) => self.launch(&server.launch),
            Record::LoadtestStep(step) => self.cell(&step.setting, step.context),
            Record::LoadtestTrial(asked) => {
                known(self.planned.stranger_under_load(asked.streams, &asked.trial.key))?;
                self.trial(&asked.trial)
            }
        }
    }

    fn case(&mut self, case: &Case) -> Result<(), String> {
        if let Prompt::Distributions { bands, .. } = &case.prompt {
            let apart = bands.windows(2).all(|pair| pair[0].end <= pair[1].first);
            if !apart || bands.iter().any(|band| band.first > band.end) {
                return Err("its bands of positions are not one behind the other".into());
            }
        }
        self.known_case(case.id, Item::of(case));
        Ok(())
    }

    /// A case that was checked before, in whatever journal of the run.
    pub(super) fn known_case(&mut self, id: Name, item: Item) {
        self.cases.insert(id.number(), item);
    }

    /// A case that is held to schemas is one of the run's.
    fn held_case(&self, held: &HeldCase) -> Result<(), String> {
        count("schemas of a case", held.schemas.len())?;
        match self.cases.contains_key(&Name::from(&held.case).number()) {
            true => Ok(()),
            false => Err(format!("there is no case `{}` in front of it", held.case)),
        }
    }

    fn cell(&self, setting: &str, context: u32) -> Result<(), String> {
        if !self.planned.has_setting(setting) {
            return Err(format!("the suite has no setting `{setting}`"));
        }
        if !self.contexts.contains(&context) {
            return Err(format!("the suite has no context length {context}"));
        }
        Ok(())
    }

    fn launch(&self, launch: &LaunchRecord) -> Result<(), String> {
        self.cell(&launch.setting, launch.context)?;
        within("the number of the launch", launch.id, &(0..=u32::MAX - 1))
    }

    /// A trial of the plan: is its case known, and the one of its key?
    fn trial(&self, trial: &Trial) -> Result<(), String> {
        // A trial that failed before cases could be made has none.
        if !trial.case.is_empty() {
            let item = self.cases.get(&trial.case.number());
            let item = item.ok_or_else(|| format!("there is no case `{}` in front of it", trial.case))?;
            let KeyParts { task, arm, context, index, .. } = trial.key.parts();
            if *item != (Item { task, arm, context, index }) {
                return Err(format!("its case `{}` is another one than its key names", trial.case));
            }
        }
        match &trial.outcome {
            Outcome::Scored(score) => scored(score),
            Outcome::Unscored { .. } | Outcome::Failed { .. } => Ok(()),
        }
    }

    fn decision(&self, decision: &Decision) -> Result<(), String> {
        self.cell(&decision.setting, decision.context)?;
        within("the round of the decision", decision.after_round, &(0..=self.rounds - 1))?;
        let tasks = decision.within.iter().flat_map(|within| within.from.keys());
        match tasks.into_iter().find(|task| !self.planned.has_task(task)) {
            Some(stranger) => Err(format!("the suite has no task `{stranger}`")),
            None => Ok(()),
        }
    }
}

fn known(stranger: Option<String>) -> Result<(), String> {
    stranger.map_or(Ok(()), |why| Err(format!("its trial is not of the plan: {why}")))
}

fn scored(score: &Score) -> Result<(), String> {
    let share = 0.0..=1.0;
    within("the quality", score.quality.unwrap_or_default(), &share)?;
    for part in score.parts.iter() {
        within("the quality of a part", part.quality, &share)?;
        within("the depth of a part", part.depth, &share)?;
    }
    Ok(())
}

fn machine(machine: &Machine) -> Result<(), String> {
    count("graphics cards", machine.gpus.len().max(machine.cards.len()))?;
    let names = machine.gpus.iter().map(String::as_str);
    texts("a text of the machine", names.chain([machine.os.as_str(), &machine.cpu]))?;
    let possible = 0.0..=1e18;
    for (what, number) in [
        ("idle_gpu_w", machine.idle_gpu_w),
        ("memory_copy_bytes_per_s", machine.memory_copy_bytes_per_s),
        ("cpu_hz", machine.cpu_hz),
        ("cpu_max_hz", machine.cpu_max_hz),
    ] {
        within(what, number.unwrap_or_default(), &possible)?;
    }
    Ok(())
}

fn model(model: &ModelInfo) -> Result<(), String> {
    texts("a text of a model", [model.name.as_str(), &model.weights, &model.origin, &model.sha256])?;
    let groups = model.kv.iter().flat_map(|kv| &kv.groups);
    within("the number of groups of layers", groups.clone().count(), &(0..=MOST_LAYERS as usize))?;
    groups.clone().try_for_each(|group| within("the number of layers", group.layers, &(0..=MOST_LAYERS)))
}
