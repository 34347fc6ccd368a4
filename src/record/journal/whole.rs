//! A journal in memory.

use std::ops::Range;

use super::header::Header;
use super::launch::LaunchRecord;
use super::loadtest::LoadtestJournal;
use super::records::Record;
use crate::record::{Case, Decision, HeldCase, HeldSchema, Machine, Trial, TrialKey};

/// What servers were found to hold of the schemas that replies are constrained by.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HeldJournal {
    /// Schemas, each once.
    pub schemas: Vec<HeldSchema>,
    /// Cases that are held to them.
    pub cases: Vec<HeldCase>,
}

/// What one worker's journal has brought to a run that several measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Name of its folder.
    pub name: String,
    /// Name of the machine, as its cluster calls it; the run's name where it was a run of its own.
    pub place: String,
    /// Cards that its servers were told to use; empty: all that they see.
    pub cards: Vec<u32>,
    /// The machine; where the worker was given cards, with those alone.
    pub machine: Machine,
    /// Numbers of its launches in the joined journal.
    pub launches: Range<u32>,
    /// Trials that it measured, the repeated ones included.
    pub trials: u32,
}

/// A whole journal in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Journal {
    /// What the run is.
    pub header: Header,
    /// Cases in the order they were made.
    pub cases: Vec<Case>,
    /// Server processes.
    pub launches: Vec<LaunchRecord>,
    /// Trials in the order they ended.
    pub trials: Vec<Trial>,
    /// Cells that were stopped, in order.
    pub decisions: Vec<Decision>,
    /// What servers hold of schemas; runs before that was looked at have none.
    pub held: HeldJournal,
    /// The load phase.
    pub load: LoadtestJournal,
    /// What whoever uses its figures has to know of the file, such as a header that was changed.
    pub doubts: Vec<String>,
    /// Who measured what, where several workers did; empty where one process did it all.
    pub parts: Vec<Part>,
    /// Trials of the plan that another worker had measured, too, such as the reference's where several visit it: with a
    /// number of the replicate that no planned trial has, from 2.
    pub repeated: Vec<Trial>,
}

impl Journal {
    /// The journal of a run that has just begun.
    pub fn new(header: Header) -> Self {
        Self {
            header,
            cases: Vec::new(),
            launches: Vec::new(),
            trials: Vec::new(),
            decisions: Vec::new(),
            held: HeldJournal::default(),
            load: LoadtestJournal::default(),
            doubts: Vec::new(),
            parts: Vec::new(),
            repeated: Vec::new(),
        }
    }

    /// Which of the parts a launch belongs to; `None` where one process measured the run.
    pub fn part_of(&self, launch: u32) -> Option<usize> {
        let at = self.parts.partition_point(|part| part.launches.end <= launch);
        self.parts.get(at).filter(|part| part.launches.contains(&launch)).map(|_| at)
    }

    /// The machine that a launch ran on.
    pub fn machine_of(&self, launch: u32) -> &Machine {
        self.part_of(launch).map_or(&self.header.machine, |part| &self.parts[part].machine)
    }

    /// Whether a planned trial is not wanted any more, because its cell was stopped before its round.
    pub fn is_stopped(&self, key: &TrialKey) -> bool {
        self.decisions.iter().any(|decision| decision.stops(key))
    }

    /// Cases, servers and trials as records, in an order in which they can be read again.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let cases = self.cases.iter().map(|case| Record::Case(Box::new(case.clone())));
        let launches = self.launches.iter().map(|launch| Record::Launch(Box::new(launch.clone())));
        let trials = self.trials.iter().map(|trial| Record::Trial(Box::new(trial.clone())));
        let schemas = self.held.schemas.iter().map(|held| Record::HeldSchema(Box::new(held.clone())));
        let of_cases = self.held.cases.iter().map(|held| Record::HeldCase(Box::new(held.clone())));
        cases.chain(schemas).chain(of_cases).chain(launches).chain(trials)
    }

    /// Keys of the trials that have an outcome.
    pub fn done(&self) -> std::collections::HashSet<TrialKey> {
        self.trials.iter().map(|trial| trial.key).collect()
    }

    /// The number of the session that goes on with this run.
    pub fn next_session(&self) -> u32 {
        let of_trials = self.trials.iter().map(|trial| trial.tick);
        let servers = self.launches.iter().chain(self.load.servers.iter().map(|server| &server.launch));
        let ticks = of_trials.chain(servers.map(|launch| launch.tick)).flatten();
        ticks.map(|tick| tick.session().saturating_add(1)).max().unwrap_or(0)
    }

    /// The number that the next launch gets.
    pub fn next_launch(&self) -> u32 {
        let of_load = self.load.servers.iter().map(|server| &server.launch);
        self.launches.iter().chain(of_load).map(|launch| launch.id + 1).max().unwrap_or(0)
    }
}
