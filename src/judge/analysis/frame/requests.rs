//! What was asked in a run: its requests, numbered in the order of their names.

use std::collections::HashMap;
use std::sync::Arc;

use super::columns::arm_name;
use crate::judge::analysis::Tasks;
use crate::judge::analysis::visits::{Habit, Places, Visits};
use crate::record::journal::Journal;
use crate::record::{Case, Prompt, Trial};
use crate::task::Weight;

/// What identifies a request between visits, and between runs: task, arm and case.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestKey {
    pub(crate) task: Arc<str>,
    /// Empty for a task without arms.
    pub(crate) arm: Arc<str>,
    /// Hash of the case; empty when nobody made it.
    pub(crate) case: Arc<str>,
}

/// A request of a run, with what is known of its case and its task.
pub(super) struct Request {
    pub(super) key: Arc<RequestKey>,
    pub(super) cluster: Arc<str>,
    /// Number of the cluster's name among those of the run, in their order.
    pub(super) cluster_number: u32,
    /// Length of the prompt (tokens), as the case was made; 0 when nobody made it.
    pub(super) prompt_tokens: u32,
    pub(super) chat: bool,
    /// Whether its answer is forced: such a request costs what no other does.
    pub(super) forced: bool,
    pub(super) weight: Option<Weight>,
}

/// A request before it has its number: task, arm, hash of the case, and the case where it is known.
type Found<'a> = (&'a str, &'static str, &'a str, Option<&'a Case>);

/// Returns the number of each trial's request, visit by visit, and the requests.
pub(super) fn numbered<'a>(
    journal: &'a Journal,
    tasks: &dyn Tasks,
    visits: &Visits<'a>,
    places: &Places<'a>,
) -> (Vec<Vec<u32>>, Vec<Request>) {
    let cases: HashMap<&str, &Case> = journal.cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let mut numbers: HashMap<(&str, &str, &str), u32> = HashMap::new();
    let mut found: Vec<Found<'a>> = Vec::new();
    let mut habit = Habit::default();
    let mut number_of = |trial: &'a Trial| {
        // What broke before its case was made has the case of its place in the plan, where another visit made it.
        let placed = if trial.case.is_empty() { places.of(&trial.key) } else { None };
        let id = placed.map_or(trial.case.as_str(), |case| &case.id);
        let (task, arm) = (trial.key.task.as_str(), arm_name(trial.key.arm));
        let is_asked = |number: u32| {
            let (known, its_arm, its_id, _) = found[number as usize];
            known == task && its_arm == arm && its_id == id
        };
        let request = habit.next().filter(|&number| is_asked(number)).unwrap_or_else(|| {
            *numbers.entry((task, arm, id)).or_insert_with(|| {
                found.push((task, arm, id, cases.get(id).copied()));
                found.len() as u32 - 1
            })
        });
        habit.learn(request);
        request
    };
    let mut asked: Vec<Vec<u32>> =
        visits.values().map(|trials| trials.iter().map(|&trial| number_of(trial)).collect()).collect();
    let mut order: Vec<u32> = (0..found.len() as u32).collect();
    order.sort_unstable_by_key(|&number| {
        let (task, arm, id, _) = found[number as usize];
        (task, arm, id)
    });
    let mut places = vec![0; found.len()];
    order.iter().zip(0..).for_each(|(&number, place)| places[number as usize] = place);
    asked.iter_mut().flatten().for_each(|request| *request = places[*request as usize]);
    (asked, requests(order.iter().map(|&number| found[number as usize]), tasks))
}

/// Tasks and arms come in runs: their names are kept once.
fn requests<'a>(found: impl Iterator<Item = Found<'a>>, tasks: &dyn Tasks) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for (task, arm, id, case) in found {
        let last = requests.last().filter(|last| *last.key.task == *task);
        let weight = last.map_or_else(|| tasks.weight(task), |last| last.weight);
        let named = last.map_or_else(|| task.into(), |last| Arc::clone(&last.key.task));
        let last = last.filter(|last| *last.key.arm == *arm);
        let arm = last.map_or_else(|| arm.into(), |last| Arc::clone(&last.key.arm));
        requests.push(Request {
            key: Arc::new(RequestKey { task: named, arm, case: id.into() }),
            cluster: case.map_or(id, |case| &case.cluster).into(),
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
    let mut names: Vec<Arc<str>> = requests.iter().map(|request| Arc::clone(&request.cluster)).collect();
    names.sort_unstable();
    names.dedup();
    let numbers: HashMap<&str, u32> = names.iter().map(|name| &**name).zip(0..).collect();
    for request in requests {
        request.cluster_number = numbers[&*request.cluster];
    }
}
