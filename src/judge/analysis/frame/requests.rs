//! What was asked in a run: its requests, numbered in the order of their names.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use foldhash::fast::RandomState;

use super::columns::arm_name;
use crate::judge::analysis::Tasks;
use crate::judge::analysis::visits::{Habit, Places, Visits};
use crate::record::journal::Journal;
use crate::record::{Arm, Case, Name, Prompt, Trial};
use crate::task::Weight;

/// What identifies a request between visits, and between runs: task, arm and case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RequestKey {
    pub(crate) task: Name,
    /// Empty for a task without arms.
    pub(crate) arm: Name,
    /// Hash of the case; empty when nobody made it.
    pub(crate) case: Name,
}

// Millions are looked up: by the numbers of their names, not by the texts.
impl Hash for RequestKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.task.number(), self.arm.number(), self.case.number()).hash(state);
    }
}

/// A request of a run, with what is known of its case and its task.
pub(super) struct Request {
    pub(super) key: RequestKey,
    pub(super) cluster: Name,
    /// Number of the cluster's name among those of the run, in their order.
    pub(super) cluster_number: u32,
    /// Length of the prompt (tokens), as the case was made; 0 when nobody made it.
    pub(super) prompt_tokens: u32,
    pub(super) chat: bool,
    /// Whether its answer is forced: such a request costs what no other does.
    pub(super) forced: bool,
    pub(super) weight: Option<Weight>,
}

/// A request before it has its number, and the case where it is known.
type Found<'a> = (RequestKey, Option<&'a Case>);

/// Returns the number of each trial's request, visit by visit, and the requests.
pub(super) fn numbered<'a>(
    journal: &'a Journal,
    tasks: &dyn Tasks,
    visits: &Visits<'a>,
    places: &Places<'a>,
) -> (Vec<Vec<u32>>, Vec<Request>) {
    // By the numbers of their names.
    let cases: HashMap<u32, &Case, RandomState> =
        journal.cases.iter().map(|case| (case.id.number(), case)).collect();
    let mut numbers: HashMap<RequestKey, u32, RandomState> = HashMap::default();
    let mut found: Vec<Found<'a>> = Vec::new();
    let mut habit = Habit::default();
    let arms = [None, Some(Arm::Native), Some(Arm::Prompted), Some(Arm::Constrained)];
    let arms = arms.map(|arm| (arm, Name::from(arm_name(arm))));
    let arm_of =
        |arm| arms.iter().find(|(known, _)| *known == arm).map_or_else(Name::default, |(_, name)| *name);
    let mut number_of = |trial: &'a Trial| {
        // What broke before its case was made has the case of its place in the plan, where another visit made it.
        let placed = if trial.case.is_empty() { places.of(&trial.key) } else { None };
        let case = placed.map_or(trial.case, |case| case.id);
        let key = RequestKey { task: trial.key.task, arm: arm_of(trial.key.arm), case };
        let guess = habit.next().filter(|&number| found[number as usize].0 == key);
        let request = guess.unwrap_or_else(|| {
            *numbers.entry(key).or_insert_with(|| {
                found.push((key, cases.get(&case.number()).copied()));
                found.len() as u32 - 1
            })
        });
        habit.learn(request);
        request
    };
    let mut asked: Vec<Vec<u32>> =
        visits.keys().map(|visit| visits.trials(visit).map(&mut number_of).collect()).collect();
    let mut order: Vec<u32> = (0..found.len() as u32).collect();
    order.sort_unstable_by_key(|&number| {
        let RequestKey { task, arm, case } = found[number as usize].0;
        (task, arm, case)
    });
    let mut places = vec![0; found.len()];
    order.iter().zip(0..).for_each(|(&number, place)| places[number as usize] = place);
    asked.iter_mut().flatten().for_each(|request| *request = places[*request as usize]);
    (asked, requests(order.iter().map(|&number| found[number as usize]), tasks))
}

fn requests<'a>(found: impl Iterator<Item = Found<'a>>, tasks: &dyn Tasks) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for (key, case) in found {
        // Tasks come in runs.
        let last = requests.last().filter(|last| last.key.task == key.task);
        let weight = last.map_or_else(|| tasks.weight(&key.task), |last| last.weight);
        requests.push(Request {
            key,
            cluster: case.map_or(key.case, |case| case.cluster),
            cluster_number: 0,
            prompt_tokens: case.map_or(0, |case| case.prompt_tokens),
            chat: case.is_some_and(|case| matches!(case.prompt, Prompt::Chat { .. })),
            forced: case.is_some_and(|case| !case.forced.is_empty()),
            weight,
        });
    }
    number_clusters(&mut requests);
    requests
}

fn number_clusters(requests: &mut [Request]) {
    let mut names: Vec<Name> = requests.iter().map(|request| request.cluster).collect();
    names.sort_unstable();
    names.dedup();
    let numbers: HashMap<Name, u32> = names.into_iter().zip(0..).collect();
    for request in requests {
        request.cluster_number = numbers[&request.cluster];
    }
}
