//! How long a run still takes, from what is left by kind of trial and cell. Pure: times are told, not read.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Estimator, Kind};
use crate::record::plan::Plan;
use crate::record::suite::{Relaunch, Suite};
use crate::record::{Arm, Decision, Name, TrialKey};

/// What is expected of a kind counts as much as so many trials of it.
const PRIOR_TRIALS: f64 = 1.0;

/// What takes longer than expected is expected to take this share of what it took once more.
const OVERDUE: f64 = 0.1;

/// A visit of a cell: setting, context length, round, replicate.
type VisitKey = (Name, u32, u32, u32);

/// What is left of a run, and how long what was done took.
#[derive(Debug, Default)]
pub struct Eta {
    kinds: BTreeMap<Kind, Tally>,
    /// Whether what is expected is a time, or only a measure of the work until the first trials are done.
    calibrated: bool,
    /// Trials left of each visit that has any.
    visits: BTreeMap<VisitKey, u32>,
    /// Its server is up.
    running: Option<VisitKey>,
    launch_s: f64,
    /// One server serves all context lengths.
    shared: bool,
    launches: (u32, f64),
    load: LoadPhase,
}

/// Settings that are put under load, one after another.
#[derive(Debug, Default)]
struct LoadPhase {
    /// Those that were not begun, in order, and what is expected of each (s).
    left: Vec<(String, f64)>,
    /// What is expected of the one that is under load (s).
    now_s: Option<f64>,
    /// Those that were: what was expected of them, and what they took (s).
    seen: (f64, f64),
}

impl LoadPhase {
    /// What is left (s), the trials' ratio of time to expectation given; `under_way_s`: how long the setting under load has been.
    fn left_s(&self, ratio: f64, under_way_s: f64) -> f64 {
        let (expected, took) = self.seen;
        let ratio = if expected > 0.0 { took / expected } else { ratio };
        let now =
            self.now_s.map_or(0.0, |expected| (expected * ratio - under_way_s).max(OVERDUE * under_way_s));
        now + ratio * self.left.iter().map(|(_, seconds)| seconds).sum::<f64>()
    }
}

/// Trials of one kind.
#[derive(Debug, Default)]
struct Tally {
    expected_s: f64,
    left: BTreeMap<(u32, u32), u32>,
    seen: u32,
    took_s: f64,
}

impl Tally {
    fn left(&self) -> f64 {
        f64::from(self.left.values().sum::<u32>())
    }

    /// What was expected of the trials that were seen, and what they took (s).
    fn compared(&self) -> (f64, f64) {
        (f64::from(self.seen) * self.expected_s, self.took_s)
    }
}

impl Eta {
    /// What a plan leaves to do; `settled` are trials that have an outcome or are not wanted any more.
    pub fn new(
        suite: &Suite,
        plan: &Plan,
        estimator: &Estimator,
        settled: impl Fn(&TrialKey) -> bool,
    ) -> Self {
        let mut eta = Self {
            calibrated: estimator.is_calibrated(),
            launch_s: estimator.launch_s(),
            shared: suite.engine.relaunch == Relaunch::Setting,
            ..Self::default()
        };
        let mut expected: HashMap<Kind, f64> = HashMap::new();
        for visit in &plan.visits {
            for key in visit.trials.iter().filter(|key| !settled(key)) {
                let kind = Kind::of(key);
                let seconds = *expected
                    .entry(kind.clone())
                    .or_insert_with(|| estimator.trial_s(suite, &visit.cell.setting, &kind));
                let tally = eta.kinds.entry(kind).or_default();
                tally.expected_s = seconds;
                *tally.left.entry((key.round, key.replicate)).or_default() += 1;
                *eta.visits.entry(visit_of(key)).or_default() += 1;
            }
        }
        for visit in &plan.load {
            let seconds = suite.load.as_ref().map_or(0.0, |load| estimator.load_s(load, &visit.cell.setting));
            eta.load.left.push((visit.cell.setting.label.clone(), seconds));
        }
        eta
    }

    /// A server is up, after so many seconds.
    pub fn launched(&mut self, key: &TrialKey, seconds: f64) {
        self.running = Some(visit_of(key));
        self.launches.0 += 1;
        self.launches.1 += seconds;
    }

    /// A trial ended; `seconds` only of one that was answered: what broke at once says nothing of the others.
    pub fn trial(&mut self, key: &TrialKey, seconds: Option<f64>) {
        if let Some(tally) = self.kinds.get_mut(&Kind::of(key)) {
            take_one(&mut tally.left, &(key.round, key.replicate));
            if let Some(seconds) = seconds {
                tally.seen += 1;
                tally.took_s += seconds;
            }
        }
        take_one(&mut self.visits, &visit_of(key));
    }

    /// A cell was stopped: its later rounds are not run, nor what is left of the one that it was stopped within.
    pub fn stopped(&mut self, decision: &Decision) {
        let wanted = |setting: &str, context: u32, round: u32, replicate: u32| {
            round < decision.whole_rounds() || !decision.covers(setting, context, replicate)
        };
        for (kind, tally) in &mut self.kinds {
            tally
                .left
                .retain(|(round, replicate), _| wanted(&kind.setting, kind.context, *round, *replicate));
        }
        self.visits
            .retain(|(setting, context, round, replicate), _| wanted(setting, *context, *round, *replicate));
    }

    /// A setting enters the load phase; those before it are done.
    pub fn load_began(&mut self, setting: &str) {
        let place = self.load.left.iter().position(|(label, _)| label == setting);
        self.load.now_s = place.and_then(|place| self.load.left.drain(..=place).next_back()).map(|(_, s)| s);
    }

    /// The setting under load is done with, after so many seconds.
    pub fn load_ended(&mut self, took_s: f64) {
        if let Some(expected) = self.load.now_s.take() {
            self.load.seen.0 += expected;
            self.load.seen.1 += took_s;
        }
    }

    /// What is left (s), where the trial and the setting under load that are under way, if any, have been for so many seconds;
    /// `None` as long as nothing is known of the time that a trial takes.
    pub fn left_s(&self, trial_s: f64, under_load_s: f64) -> Option<f64> {
        let ratio = self.ratio(|_| true);
        let ratio = match (ratio, self.calibrated) {
            (Some(ratio), _) => ratio,
            (None, true) => 1.0,
            (None, false) => return None,
        };
        let by_task = self.ratios_by_task(ratio);
        let trials: f64 = self
            .kinds
            .iter()
            .filter(|(_, tally)| tally.left() > 0.0)
            .map(|(kind, tally)| {
                let expected = tally.expected_s * by_task.get(&(&*kind.task, kind.arm)).unwrap_or(&ratio);
                let seen = f64::from(tally.seen);
                let each = (tally.took_s + PRIOR_TRIALS * expected) / (seen + PRIOR_TRIALS);
                tally.left() * each
            })
            .sum();
        let trials = (trials - trial_s).max(OVERDUE * trial_s);
        Some(trials + self.launches_left() * self.launch() + self.load.left_s(ratio, under_load_s))
    }

    /// What the trials that were seen took, beside what was expected of them.
    fn ratio(&self, of: impl Fn(&Kind) -> bool) -> Option<f64> {
        let seen = self.kinds.iter().filter(|(kind, tally)| tally.seen > 0 && of(kind));
        let (expected, took) = seen.fold((0.0, 0.0), |(expected, took), (_, tally)| {
            let (of_kind, seconds) = tally.compared();
            (expected + of_kind, took + seconds)
        });
        (expected > 0.0).then(|| took / expected)
    }

    /// The same task on other cells says the most of a kind that was not seen yet.
    fn ratios_by_task(&self, overall: f64) -> HashMap<(&str, Option<Arm>), f64> {
        let tasks: BTreeSet<(&str, Option<Arm>)> =
            self.kinds.keys().map(|kind| (kind.task.as_str(), kind.arm)).collect();
        let of = |(task, arm): (&'_ str, Option<Arm>)| {
            self.ratio(|kind| kind.task == task && kind.arm == arm).unwrap_or(overall)
        };
        tasks.into_iter().map(|task| (task, of(task))).collect()
    }

    fn launches_left(&self) -> f64 {
        let launch = |(setting, context, round, replicate): &VisitKey| {
            (*setting, if self.shared { 0 } else { *context }, *round, *replicate)
        };
        let left: BTreeSet<VisitKey> = self.visits.keys().map(launch).collect();
        let running = self.running.as_ref().is_some_and(|visit| left.contains(&launch(visit)));
        (left.len() - usize::from(running)) as f64
    }

    fn launch(&self) -> f64 {
        let (seen, took) = self.launches;
        (took + PRIOR_TRIALS * self.launch_s) / (f64::from(seen) + PRIOR_TRIALS)
    }
}

fn visit_of(key: &TrialKey) -> VisitKey {
    (key.setting, key.context, key.round, key.replicate)
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::filter::Filter;
    use crate::record::plan::plan;
    use crate::record::{StopReason, WithinRound};

    fn suite() -> Suite {
        let text = r#"
            name = "t"
            contexts = [1024, 32768]
            rounds = 2
            [[model]]
            name = "m"
            path = "m.gguf"
            weights = "Q8_0"
            [reference]
            [[setting]]
            kv = "q8_0"
            [[task]]
            name = "retrieval/niah_multikey_2"
            samples = 20
            [[task]]
            name = "tools/arguments"
            samples = 20
            arms = ["prompted"]
            contexts = [1024]
        "#;
        crate::suite::parse(text, std::path::Path::new("t.toml"), &[]).unwrap()
    }

    /// What a trial takes in this made-up world (s).
    fn truth(key: &TrialKey) -> f64 {
        match (key.task.as_str(), key.context) {
            ("tools/arguments", _) => 2.0,
            (_, 32_768) => 200.0,
            _ => 4.0,
        }
    }

    const LAUNCH_S: f64 = 10.0;

    /// Runs a plan in the made-up world; what was left and what was said of it, after each trial.
    fn run(suite: &Suite, estimator: &Estimator) -> Vec<(f64, Option<f64>)> {
        let plan = plan(suite, &Filter::default()).unwrap();
        let mut eta = Eta::new(suite, &plan, estimator, |_| false);
        let mut left: f64 = plan.keys().map(truth).sum::<f64>() + LAUNCH_S * plan.visits.len() as f64;
        let mut said = vec![(left, eta.left_s(0.0, 0.0))];
        for visit in &plan.visits {
            for (number, key) in visit.trials.iter().enumerate() {
                if number == 0 {
                    eta.launched(key, LAUNCH_S);
                    left -= LAUNCH_S;
                }
                eta.trial(key, Some(truth(key)));
                left -= truth(key);
                said.push((left, eta.left_s(0.0, 0.0)));
            }
        }
        said
    }

    #[test]
    fn what_is_left_is_said_within_a_half_once_each_kind_was_seen() {
        // By rule of thumb everything is many times faster than it is.
        let estimator = Estimator::for_tests(0.02, true);
        let said = run(&suite(), &estimator);
        let first_round = said.len() / 6;
        for (number, (left, estimate)) in said.iter().enumerate().skip(first_round) {
            let estimate = estimate.unwrap();
            assert!((estimate - left).abs() <= 0.5 * left + 60.0, "after {number}: {estimate} of {left}");
        }
        assert_eq!(said.last().unwrap().1, Some(0.0), "nothing is left in the end");
    }

    #[test]
    fn long_cells_count_for_more_than_their_number() {
        let estimator = Estimator::for_tests(0.02, true);
        let said = run(&suite(), &estimator);
        // 2 settings and the second visit: 3 x 20 long trials of 200 s are nearly all of the time.
        let (left, estimate) = said[30];
        assert!(estimate.unwrap() > 0.5 * left, "{estimate:?} of {left}");
    }

    #[test]
    fn nothing_is_said_before_anything_is_known() {
        let estimator = Estimator::for_tests(1.0, false);
        let said = run(&suite(), &estimator);
        assert_eq!(said[0].1, None, "neither 0 s nor centuries");
        assert!(said[1..].iter().all(|(_, estimate)| estimate.is_some_and(|s| s.is_finite() && s < 1e6)));
    }

    #[test]
    fn trials_that_broke_at_once_do_not_make_the_others_quick() {
        let suite = suite();
        let plan = plan(&suite, &Filter::default()).unwrap();
        let mut eta = Eta::new(&suite, &plan, &Estimator::for_tests(1.0, true), |_| false);
        let before = eta.left_s(0.0, 0.0).unwrap();
        let first = &plan.visits[0].trials[0];
        eta.trial(first, None);
        let after = eta.left_s(0.0, 0.0).unwrap();
        assert!(after < before && after > 0.9 * before, "{before} to {after}");
    }

    #[test]
    fn cells_that_stop_are_not_left_any_more() {
        let suite = suite();
        let plan = plan(&suite, &Filter::default()).unwrap();
        let estimator = Estimator::for_tests(1.0, true);
        let mut eta = Eta::new(&suite, &plan, &estimator, |_| false);
        let before = eta.left_s(0.0, 0.0).unwrap();
        let stop = |setting: &str, context| Decision {
            after_round: 0,
            setting: setting.to_owned(),
            context,
            replicate: None,
            untried: false,
            within: None,
            reason: StopReason::Settled,
            because: String::new(),
        };
        eta.stopped(&stop(&suite.settings[1].label, 32_768));
        let after = eta.left_s(0.0, 0.0).unwrap();
        assert!(after < 0.9 * before, "{before} to {after}");
        let rest = WithinRound { texts: 5, from: [("retrieval/niah_multikey_2".to_owned(), 9)].into() };
        let decision = stop(&suite.settings[1].label, 32_768);
        let mut sooner = Eta::new(&suite, &plan, &estimator, |_| false);
        sooner.stopped(&Decision { within: Some(rest), ..decision });
        assert!(
            sooner.left_s(0.0, 0.0).unwrap() < 0.95 * after,
            "what is left of its round is not asked, either"
        );
        let done = Eta::new(&suite, &plan, &estimator, |_| true);
        assert_eq!(done.left_s(0.0, 0.0), Some(0.0));
    }

    #[test]
    fn a_setting_under_load_is_left_until_it_is_done() {
        let mut eta = Eta { calibrated: true, ..Eta::default() };
        eta.load.left = ["a", "b", "c"].map(|label| (label.to_owned(), 100.0)).into();
        assert_eq!(eta.left_s(0.0, 0.0), Some(300.0));
        eta.load_began("a");
        assert_eq!(eta.left_s(0.0, 30.0), Some(270.0));
        assert_eq!(eta.left_s(0.0, 150.0), Some(215.0), "one that is late is not done yet");
        eta.load_ended(200.0);
        eta.load_began("b");
        assert_eq!(eta.left_s(0.0, 50.0), Some(350.0), "the others take as much longer as the first did");
        // Of a run that goes on, the settings before are done.
        let mut resumed = Eta { calibrated: true, ..Eta::default() };
        resumed.load.left = ["a", "b", "c"].map(|label| (label.to_owned(), 100.0)).into();
        resumed.load_began("c");
        assert_eq!(resumed.left_s(0.0, 0.0), Some(100.0));
    }
}
