//! From a suite to visits and trial keys, in the order in which they run.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;
use serde::Serialize;

use super::filter::{Filter, FilterKey};
use super::key::{KeyParts, TrialKey};
use super::suite::{Cell, LoadSpec, Relaunch, Setting, Suite, TaskSpec};
use crate::error::{Error, Kind, Result};

/// What filters call the load phase: `--filter task=load` runs it alone.
pub const LOAD: &str = "load";

/// Everything that a run will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Server processes in run order, none without trials.
    pub visits: Vec<Visit>,
    /// Server processes of the load phase, in run order behind the visits; they have no trials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub load: Vec<Visit>,
}

impl Plan {
    /// Number of trials, the reference's second visits included.
    pub fn trials(&self) -> usize {
        self.visits.iter().map(|visit| visit.trials.len()).sum()
    }

    /// Every trial key in run order.
    pub fn keys(&self) -> impl Iterator<Item = &TrialKey> {
        self.visits.iter().flat_map(|visit| &visit.trials)
    }
}

/// One server process and the trials that it answers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Visit {
    /// The setting at a context length.
    pub cell: Cell,
    /// Round, from 0.
    pub round: u32,
    /// 1 for the reference's second visit.
    pub replicate: u32,
    /// Requests that the server works on at the same time: 1 for trials, which run one at a time.
    pub slots: u16,
    /// Context length (tokens) that the server is started for, where that is a longer one than the cell's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_at: Option<u32>,
    /// What it answers, in order.
    pub trials: Vec<TrialKey>,
}

impl Visit {
    /// Returns the cell that the server is started for.
    pub fn served(&self) -> Cell {
        Cell { context: self.served_at.unwrap_or(self.cell.context), ..self.cell.clone() }
    }

    /// Returns whether the server of the visit before it serves it, too.
    pub fn goes_on_with(&self, before: &Self) -> bool {
        let of = |visit: &Self| (visit.round, visit.replicate, visit.slots);
        of(self) == of(before) && self.cell.context != before.cell.context && self.served() == before.served()
    }
}

/// Lays out a run. In each round every cell is visited once, the reference a second time at the end (A/A);
/// the order is reversed from round to round so that drift favours no cell, but for the reference's first visit where the
/// others need its answers: it chooses their cases, or they are compared text by text. Case `i` belongs to round
/// `i % rounds`; with several questions to one text, it is the texts that take turns. Where cells may be stopped between two
/// texts, the trials of a visit come text by text, the first text of every task before the second of any.
///
/// # Errors
/// When the filter leaves nothing to run.
pub fn plan(suite: &Suite, filter: &Filter) -> Result<Plan> {
    let mut visits = Vec::new();
    for round in 0..suite.rounds {
        let mut one_round = round_of(suite, filter, round);
        if round % 2 == 1 {
            one_round.reverse();
        }
        if reference_leads(suite) {
            one_round.sort_by_key(|visit| visit.replicate > 0 || visit.cell.setting != *suite.reference());
        }
        visits.extend(one_round);
    }
    let load = load_of(suite, filter);
    if visits.is_empty() && load.is_empty() {
        return Err(Error::new(Kind::NothingSelected, "the filter leaves no trial to run")
            .hint("`--dry-run` without the filter shows what there is"));
    }
    Ok(Plan { visits, load })
}

/// Whether the reference's first visit comes first in every round.
fn reference_leads(suite: &Suite) -> bool {
    let chooses_cases = suite.tasks.iter().any(|task| task.window.is_some());
    chooses_cases || suite.stops_within_visits()
}

/// One server a setting. Filters see the load phase as a task of the name [`LOAD`].
fn load_of(suite: &Suite, filter: &Filter) -> Vec<Visit> {
    let wanted = |load: &&LoadSpec| filter.keeps(LOAD, load.context);
    let Some(load) = suite.load.as_ref().filter(wanted) else {
        return Vec::new();
    };
    let reference = suite.reference();
    let chosen = suite.measured().filter(|setting| filter.passes_setting(setting, reference));
    chosen
        .map(|setting| Visit {
            cell: Cell { setting: setting.clone(), context: load.context },
            round: 0,
            replicate: 0,
            slots: load.slots,
            served_at: None,
            trials: Vec::new(),
        })
        .collect()
}

fn round_of(suite: &Suite, filter: &Filter, round: u32) -> Vec<Visit> {
    let reference = suite.reference();
    let chosen = suite.measured().filter(|setting| filter.passes_setting(setting, reference));
    // One that comes from a pack was visited elsewhere.
    let second_visit = suite.pack.is_none().then_some((reference, 1));
    let mut visits = Vec::new();
    for (setting, replicate) in chosen.map(|setting| (setting, 0)).chain(second_visit) {
        for &context in &suite.contexts {
            if !filter.passes(FilterKey::Context, &context.to_string()) {
                continue;
            }
            let trials = trials_of(suite, filter, setting, context, round, replicate);
            if !trials.is_empty() {
                visits.push(Visit {
                    cell: Cell { setting: setting.clone(), context },
                    round,
                    replicate,
                    slots: 1,
                    served_at: None,
                    trials,
                });
            }
        }
    }
    if suite.engine.relaunch == Relaunch::Setting {
        serve_all_lengths(&mut visits);
    }
    visits
}

/// One server for all context lengths of a setting: the longest is what it is started for.
fn serve_all_lengths(visits: &mut [Visit]) {
    let longest = visits.iter().map(|visit| visit.cell.context).max().unwrap_or_default();
    for visit in visits {
        visit.served_at = Some(longest).filter(|longest| *longest != visit.cell.context);
    }
}

fn trials_of(
    suite: &Suite,
    filter: &Filter,
    setting: &Setting,
    context: u32,
    round: u32,
    replicate: u32,
) -> Vec<TrialKey> {
    let mut trials = Vec::new();
    let runs_here =
        |task: &&TaskSpec| task.contexts.contains(&context) && filter.passes(FilterKey::Task, &task.name);
    for task in suite.tasks.iter().filter(runs_here) {
        for arm in task.every_arm() {
            if !filter.keeps_arm(arm) {
                continue;
            }
            for index in (0..task.samples).filter(|index| task.round_of(*index, suite.rounds) == round) {
                // One after the other: a round ends with whole cases.
                trials.extend((0..task.repeats.max(1)).map(|repeat| {
                    KeyParts {
                        setting: setting.label.as_str().into(),
                        context,
                        round,
                        replicate,
                        task: task.name.as_str().into(),
                        arm,
                        index,
                        repeat,
                    }
                    .key()
                }));
            }
        }
    }
    if suite.stops_within_visits() {
        // The questions to one text stay together: the server keeps the text for them.
        trials.sort_by_cached_key(|key| suite.text_of(key));
    }
    trials
}

/// Which trials a plan holds, told without laying it out.
#[derive(Debug, Clone)]
pub struct Planned {
    filter: Filter,
    rounds: u32,
    reference: String,
    settings: HashSet<String, RandomState>,
    tasks: HashMap<String, TaskSpec, RandomState>,
    load: Option<LoadSpec>,
}

impl Planned {
    /// The plan of a suite with filters.
    ///
    /// # Errors
    /// As [`Filter::parse`].
    pub fn new(suite: &Suite, filters: &[String]) -> Result<Self> {
        Ok(Self {
            filter: Filter::parse(filters)?,
            rounds: suite.rounds,
            reference: suite.reference().label.clone(),
            settings: suite.settings.iter().map(|setting| setting.label.clone()).collect(),
            tasks: suite.tasks.iter().map(|task| (task.name.clone(), task.clone())).collect(),
            load: suite.load.clone(),
        })
    }

    /// Whether a setting is of the suite.
    pub fn has_setting(&self, label: &str) -> bool {
        self.settings.contains(label)
    }

    /// Whether a task is of the suite.
    pub fn has_task(&self, name: &str) -> bool {
        self.tasks.contains_key(name)
    }

    /// Why a trial is not of the plan; `None` when it is.
    pub fn stranger(&self, key: &TrialKey) -> Option<String> {
        let KeyParts { setting, context, round, replicate, task, arm, index, repeat } = &key.parts();
        if !self.has_setting(setting) {
            return Some(format!("the suite has no setting `{setting}`"));
        }
        let Some(spec) = self.tasks.get(task.as_str()) else {
            return Some(format!("the suite has no task `{task}`"));
        };
        if !spec.contexts.contains(context) {
            return Some(format!("{task} does not run at {context} tokens"));
        }
        let fits = match arm {
            Some(arm) => spec.arms.contains(arm),
            None => spec.arms.is_empty(),
        };
        if !fits {
            return Some(format!("{task} does not run in this arm"));
        }
        if *index >= spec.samples || *round != spec.round_of(*index, self.rounds) {
            return Some(format!("{task} has no case {index} in round {round}"));
        }
        if *repeat >= spec.repeats.max(1) {
            return Some(format!("{task} asks no case {} times", u64::from(*repeat) + 1));
        }
        let twice = *setting == self.reference;
        if *replicate > u32::from(twice) {
            return Some(format!("`{setting}` is not visited so often"));
        }
        let filtered = !self.filter.keeps(task, *context)
            || !self.filter.keeps_arm(*arm)
            || !(twice || self.filter.passes(FilterKey::Setting, setting));
        filtered.then(|| "the run's filters leave it out".to_owned())
    }

    /// Why a case that was asked beside `streams - 1` others is not of the load phase; `None` when it is.
    pub fn stranger_under_load(&self, streams: u32, key: &TrialKey) -> Option<String> {
        let quality = self.load.as_ref().and_then(|load| Some((load, load.quality.as_ref()?)));
        let Some((load, quality)) = quality else {
            return Some("the suite asks nothing under load".to_owned());
        };
        let item = key.task == quality.task && key.arm == quality.arm && key.context == quality.context;
        let crowd = streams == 1 || load.may_ask_beside(streams);
        if !self.has_setting(&key.setting) {
            return Some(format!("the suite has no setting `{}`", key.setting));
        }
        let known = item
            && crowd
            && key.index < quality.samples
            && key.round == 0
            && key.replicate <= 1
            && key.repeat == 0;
        (!known).then(|| format!("the load phase does not ask it with {streams} streams"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite() -> Suite {
        let text = r#"
            name = "t"
            contexts = [512, 1024]
            rounds = 2
            [[model]]
            name = "m"
            path = "m.gguf"
            weights = "Q8_0"
            [reference]
            [matrix]
            kv = ["f16", "q8_0", "q4_0"]
            [[task]]
            name = "retrieval/niah_multikey_2"
            samples = 5
            [[task]]
            name = "tools/arguments"
            samples = 1
            contexts = [512]
        "#;
        crate::suite::parse(text, std::path::Path::new("t.toml"), &[]).unwrap()
    }

    #[test]
    fn every_planned_trial_is_planned_once() {
        let plan = plan(&suite(), &Filter::default()).unwrap();
        let keys: HashSet<_> = plan.keys().collect();
        assert_eq!(keys.len(), plan.trials());
        // 3 settings + A/A, 5 needles at 2 contexts, 1 tool case in 3 arms at one context
        assert_eq!(plan.trials(), 4 * (5 * 2 + 3));
    }

    #[test]
    fn repeats_of_a_case_follow_each_other_in_its_round() {
        let mut suite = suite();
        suite.tasks[0].repeats = 3;
        let plan = plan(&suite, &Filter::default()).unwrap();
        assert_eq!(plan.trials(), 4 * (5 * 2 * 3 + 3));
        let keys: HashSet<_> = plan.keys().collect();
        assert_eq!(keys.len(), plan.trials());
        for visit in &plan.visits {
            let needles = visit.trials.iter().filter(|key| key.task == "retrieval/niah_multikey_2");
            let needles: Vec<_> = needles.map(|key| (key.index, key.repeat)).collect();
            assert!(needles.chunks(3).all(|case| case.iter().map(|(_, repeat)| *repeat).eq(0..3)));
            assert!(needles.chunks(3).all(|case| case.iter().all(|(index, _)| *index == case[0].0)));
        }
        let planned = Planned::new(&suite, &[]).unwrap();
        assert!(plan.keys().all(|key| planned.stranger(key).is_none()));
        let fourth = KeyParts { repeat: 3, ..plan.visits[0].trials[0].parts() }.key();
        assert!(planned.stranger(&fourth).unwrap().contains("no case 4 times"));
    }

    #[test]
    fn the_order_is_reversed_in_odd_rounds() {
        let plan = plan(&suite(), &Filter::default()).unwrap();
        let labels = |round: u32| -> Vec<_> {
            let visits = plan.visits.iter().filter(|visit| visit.round == round);
            visits
                .map(|visit| (visit.cell.setting.label.clone(), visit.cell.context, visit.replicate))
                .collect()
        };
        let mut second = labels(1);
        second.reverse();
        assert_eq!(labels(0), second);
        assert_eq!(labels(0).first().unwrap().2, 0);
        assert_eq!(labels(0).last().unwrap().2, 1);
    }

    /// Two tasks of six texts in two rounds, looked at after every text.
    fn by_text(more: &str) -> Suite {
        let text = format!(
            r#"
            name = "t"
            contexts = [512, 1024]
            rounds = 2
            [[model]]
            name = "m"
            path = "m.gguf"
            weights = "Q8_0"
            [reference]
            [matrix]
            kv = ["f16", "q8_0", "q4_0"]
            [stopping]
            rule = "sequential"
            [[task]]
            name = "retrieval/niah_multikey_2"
            samples = 12
            questions = 2
            score = "probability"
            [[task]]
            name = "retrieval/niah_multikey_3"
            samples = 18
            questions = 3
            score = "probability"
            {more}
            "#
        );
        crate::suite::parse(&text, std::path::Path::new("t.toml"), &[]).unwrap()
    }

    /// Setting, context length and replicate of a round's visits.
    fn visits(plan: &Plan, round: u32) -> Vec<(String, u32, u32)> {
        let visits = plan.visits.iter().filter(|visit| visit.round == round);
        visits.map(|visit| (visit.cell.setting.label.clone(), visit.cell.context, visit.replicate)).collect()
    }

    #[test]
    fn where_cells_stop_between_texts_the_reference_answers_first_and_the_others_still_take_turns() {
        let suite = by_text("");
        let plan = plan(&suite, &Filter::default()).unwrap();
        let reference = &suite.reference().label;
        let mut rest = Vec::new();
        for round in 0..2 {
            let mut order = visits(&plan, round);
            let behind = order.split_off(2);
            assert!(order.iter().all(|(label, _, replicate)| label == reference && *replicate == 0));
            assert_eq!(behind.len(), 2 * 3);
            rest.push(behind);
        }
        rest[1].reverse();
        assert_eq!(rest[0], rest[1]);
    }

    #[test]
    fn where_cells_stop_between_texts_the_trials_come_text_by_text() {
        let plan = plan(&by_text(""), &Filter::default()).unwrap();
        for visit in &plan.visits {
            let order: Vec<(&str, u32)> =
                visit.trials.iter().map(|key| (key.task.as_str(), key.index)).collect();
            let (two, three) = ("retrieval/niah_multikey_2", "retrieval/niah_multikey_3");
            let texts = (0..3).map(|text| 2 * text + visit.round).flat_map(|text| {
                let first = (0..2).map(move |question| (two, 2 * text + question));
                first.chain((0..3).map(move |question| (three, 3 * text + question)))
            });
            assert_eq!(order, texts.collect::<Vec<_>>());
        }
    }

    #[test]
    fn with_a_task_of_speed_the_settings_take_turns_and_the_tasks_come_one_by_one() {
        let suite = by_text("[[task]]\nname = \"serving/speed\"\nsamples = 2\n");
        let plan = plan(&suite, &Filter::default()).unwrap();
        let mut second = visits(&plan, 1);
        second.reverse();
        assert_eq!(visits(&plan, 0), second);
        let tasks = plan.visits[0].trials.iter().map(|key| key.task.as_str());
        let mut tasks: Vec<&str> = tasks.collect();
        tasks.dedup();
        assert_eq!(tasks.len(), 3);
    }

    #[test]
    fn filters_keep_the_reference() {
        let of = |term: &str| Filter::parse(&[term.to_owned()]).unwrap();
        assert_eq!(of("context=0.5k"), of("context=512"));
        let filter = Filter::parse(&["setting=*q4_0*".into(), "context=0.5k".into()]).unwrap();
        let plan = plan(&suite(), &filter).unwrap();
        let labels: HashSet<_> = plan.keys().map(|key| key.setting.as_str()).collect();
        assert_eq!(labels, HashSet::from(["Q8_0 kv=f16", "Q8_0 kv=q4_0"]));
        assert!(plan.keys().all(|key| key.context == 512));
    }

    #[test]
    fn an_empty_selection_is_its_own_error() {
        let filter = Filter::parse(&["task=nothing".into()]).unwrap();
        assert_eq!(plan(&suite(), &filter).unwrap_err().kind(), Kind::NothingSelected);
    }

    #[test]
    fn every_planned_trial_is_known_and_no_other() {
        let of = |filters: &[String]| {
            let laid_out = plan(&suite(), &Filter::parse(filters).unwrap()).unwrap();
            let keys: HashSet<TrialKey> = laid_out.keys().cloned().collect();
            (Planned::new(&suite(), filters).unwrap(), keys)
        };
        let (all, keys) = of(&[]);
        assert!(keys.iter().all(|key| all.stranger(key).is_none()));
        let (few, chosen) = of(&["setting=*q4_0".into(), "arm=".into(), "arm=native".into()]);
        assert!(keys.iter().all(|key| few.stranger(key).is_none() == chosen.contains(key)));
        assert!(!chosen.is_empty() && chosen.len() < keys.len());

        let key = || *keys.iter().find(|key| key.task == "tools/arguments" && key.replicate == 0).unwrap();
        for (stray, named) in [
            (KeyParts { setting: "Q2_K".into(), ..key().parts() }.key(), "no setting `Q2_K`"),
            (KeyParts { task: "retrieval/qa".into(), ..key().parts() }.key(), "no task `retrieval/qa`"),
            (KeyParts { context: 1024, ..key().parts() }.key(), "does not run at 1024 tokens"),
            (KeyParts { arm: None, ..key().parts() }.key(), "this arm"),
            (KeyParts { index: 1, ..key().parts() }.key(), "no case 1"),
            (KeyParts { round: 2, ..key().parts() }.key(), "in round 2"),
            (KeyParts { repeat: 1, ..key().parts() }.key(), "no case 2 times"),
            (
                KeyParts { setting: "Q8_0 kv=q4_0".into(), replicate: 1, ..key().parts() }.key(),
                "not visited so often",
            ),
        ] {
            assert!(all.stranger(&stray).unwrap().contains(named), "{stray:?}");
        }
    }
}
