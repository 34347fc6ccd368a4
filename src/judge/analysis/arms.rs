//! What the arms of a tool task show: the same requests with the tools in the `tools` field, described in the
//! prompt, and with the output held to a form.
//!
//! Everything is compared within a setting, request by request, so that what makes a request hard cancels out.

use std::collections::{BTreeMap, HashMap};

use super::figures::share;
use super::frame::VisitKey;
use super::held::Held;
use super::quality::difference_in;
use super::run::Run;
use super::speed;
use super::summary::{ArmRow, ConstrainedArm, ConstraintCost, Estimate};
use crate::judge::stats::ClusterSums;
use crate::record::{Arm, Outcome, Score, Source, Stage, Trial, metric};

/// 1 where the server could hold the output to the schema, 0 where not; tasks that do not say leave it out.
const COMPILED: &str = "compiled";

/// Under which name a task says how much of a reply is valid against its schema.
const COMPLIANCE: [&str; 2] = ["schema_compliance", "schema_valid"];

/// Two trials of one request.
type Pair<'a> = (&'a Trial, &'a Trial);

/// A row for every task with arms that can be compared, by context, in suite order.
pub(crate) fn rows(run: &Run<'_>) -> Vec<ArmRow> {
    let cases = run.journal.cases.iter();
    let clusters: HashMap<&str, &str> = cases.map(|case| (case.id.as_str(), case.cluster.as_str())).collect();
    let held = Held::of(run.journal);
    let mut rows = Vec::new();
    for &context in &run.suite.contexts {
        let here = run.suite.tasks.iter().filter(|task| task.contexts.contains(&context));
        for task in here.filter(|task| task.arms.len() > 1) {
            for setting in &run.suite.settings {
                let visit = VisitKey { setting: &setting.label, context, replicate: 0 };
                rows.extend(Answers { run, clusters: &clusters, task: &task.name, visit, held: &held }.row());
            }
        }
    }
    rows
}

/// What a task's requests were answered with in a visit, in every arm.
struct Answers<'r, 'a> {
    run: &'r Run<'a>,
    clusters: &'r HashMap<&'a str, &'a str>,
    task: &'r str,
    visit: VisitKey<'r>,
    held: &'r Held<'a>,
}

impl<'a> Answers<'_, 'a> {
    /// `None` for a void cell, and where no two arms can be compared.
    fn row(&self) -> Option<ArmRow> {
        let VisitKey { setting, context, .. } = self.visit;
        if self.run.void.contains_key(&(setting, context)) {
            return None;
        }
        let native = self.difference(Arm::Native);
        let constrained = self.constrained();
        (native.is_some() || constrained.is_some()).then(|| ArmRow {
            task: self.task.into(),
            setting: setting.into(),
            context,
            native,
            constrained,
        })
    }

    /// The trials of an arm, in the order they ended.
    fn of(&self, arm: Arm) -> impl Iterator<Item = &'a Trial> {
        let trials = self.run.trials(self.visit);
        trials.filter(move |trial| trial.key.task == self.task && trial.key.arm == Some(arm))
    }

    /// The trials of the same requests in two arms: same index, same cluster.
    fn pairs(&self, arm: Arm, other: Arm) -> Vec<Pair<'a>> {
        let asked = |trial: &'a Trial| (trial.key.index, trial.key.repeat);
        let others: BTreeMap<(u32, u32), &'a Trial> =
            self.of(other).map(|trial| (asked(trial), trial)).collect();
        let pair = |ours: &'a Trial| {
            let theirs = *others.get(&asked(ours))?;
            (self.cluster(ours) == self.cluster(theirs)).then_some((ours, theirs))
        };
        self.of(arm).filter_map(pair).collect()
    }

    fn cluster(&self, trial: &'a Trial) -> &'a str {
        self.clusters.get(trial.case.as_str()).copied().unwrap_or(&trial.case)
    }

    /// Mean score of an arm minus that of the prompted one, over the requests that both scored.
    fn difference(&self, arm: Arm) -> Option<Estimate> {
        let quality = |trial: &Trial| trial.outcome.score().and_then(|score| score.quality);
        let change = |(ours, theirs): &Pair<'a>| {
            Some((ours.key.index, (self.cluster(ours), quality(ours)? - quality(theirs)?)))
        };
        // Of a request that was asked several times, the mean.
        let mut requests: BTreeMap<u32, (&str, f64, f64)> = BTreeMap::new();
        for (index, (cluster, change)) in self.pairs(arm, Arm::Prompted).iter().filter_map(change) {
            let (_, sum, count) = requests.entry(index).or_insert((cluster, 0.0, 0.0));
            (*sum, *count) = (*sum + change, *count + 1.0);
        }
        let changes = requests.values().map(|(cluster, sum, count)| (*cluster, sum / count));
        let changes = [ClusterSums::of(changes)];
        let purpose = self.purpose(arm.name());
        let difference = difference_in(self.run.suite, &changes, self.run.resampling, &purpose);
        difference.map(|difference| difference.estimate)
    }

    fn constrained(&self) -> Option<ConstrainedArm> {
        let trials: Vec<&Trial> = self.of(Arm::Constrained).collect();
        let confidence = self.run.resampling.confidence;
        let holds: Vec<f64> = trials.iter().filter_map(|trial| self.held.in_full(trial)).map(bit).collect();
        let coverage = if holds.is_empty() { covered(&trials) } else { holds };
        Some(ConstrainedArm {
            coverage: share(&coverage, confidence)?,
            held: self.held.of_trials(&trials),
            compliance: share(&compliant(&trials), confidence),
            difference: self.difference(Arm::Constrained),
            cost: [Arm::Native, Arm::Prompted].into_iter().find_map(|against| self.cost(against)),
        })
    }

    /// What constraining costs beside another arm; `None` where no request was timed in both.
    fn cost(&self, against: Arm) -> Option<ConstraintCost> {
        let pairs = self.pairs(Arm::Constrained, against);
        let ttft = self.ratio(&pairs, metric::TTFT_S);
        let decode = self.ratio(&pairs, metric::DECODE_TPS);
        (ttft.is_some() || decode.is_some()).then_some(ConstraintCost { against, ttft, decode })
    }

    /// Median ratio of a figure within the pairs; draws are nested in server processes, as those of speed are.
    fn ratio(&self, pairs: &[Pair<'_>], figure: &str) -> Option<Estimate> {
        let positive = |trial: &Trial| trial.measured(figure, Source::Client).filter(|value| *value > 0.0);
        let mut by_launch: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (ours, theirs) in pairs {
            if let Some((ours_is, theirs_is)) = positive(ours).zip(positive(theirs)) {
                by_launch.entry(ours.launch).or_default().push(ours_is / theirs_is);
            }
        }
        let visits: Vec<Vec<f64>> = by_launch.into_values().collect();
        speed::estimate(&visits, self.run.resampling, &self.purpose(figure)).map(|(ratio, _)| ratio)
    }

    fn purpose(&self, what: &str) -> String {
        let VisitKey { setting, context, .. } = self.visit;
        format!("arms {what} {context} {} {setting}", self.task)
    }
}

fn bit(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// For every request that the server answered or refused: 1 where it could hold the output to the form, else 0.
/// What does not apply or broke otherwise says nothing about that.
fn covered(trials: &[&Trial]) -> Vec<f64> {
    let one = |trial: &&Trial| match &trial.outcome {
        Outcome::Scored(score) => Some(score.metrics.get(COMPILED).copied().unwrap_or(1.0)),
        Outcome::Failed { stage: Stage::Request, error } if error.starts_with("HTTP ") => Some(0.0),
        Outcome::Failed { .. } | Outcome::Unscored { .. } => None,
    };
    trials.iter().filter_map(one).collect()
}

/// How much of each reply is valid against its schema (0..1), of requests that the server took.
fn compliant(trials: &[&Trial]) -> Vec<f64> {
    let taken = |score: &&Score| score.metrics.get(COMPILED).is_none_or(|compiled| *compiled > 0.0);
    let scores = trials.iter().filter_map(|trial| trial.outcome.score()).filter(taken);
    scores.filter_map(|score| COMPLIANCE.iter().find_map(|name| score.metrics.get(*name).copied())).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{Registry, testing};
    use super::*;
    use crate::judge::analysis::summary::HeldFailures;
    use crate::record::journal::{Journal, PackedServer};
    use crate::record::{Case, Conversion, HeldCase, HeldSchema, KeyParts, Measurement, Message, Prompt};

    const TASK: &str = "tools/arguments";

    /// A run of three arms on one setting, before its first trial.
    fn journal() -> Journal {
        let text = format!(
            "name = \"t\"\ncontexts = [4096]\ndraws = 500\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\n\
             weights = \"Q8_0\"\n[reference]\n[[task]]\nname = \"{TASK}\"\nsamples = 40\n\
             arms = [\"native\", \"prompted\", \"constrained\"]\n"
        );
        Journal::new(testing::header(crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap()))
    }

    /// A request's answer in one arm, `slowness` times as slow as 0.1 s to the first token and 50 tokens/s.
    fn answer(journal: &mut Journal, arm: Arm, index: u32, outcome: Outcome, slowness: f64) {
        let case = Case {
            id: format!("{arm}{index}").into(),
            task: TASK.into(),
            task_version: 1,
            arm: Some(arm),
            context: 4096,
            index,
            depth: None,
            cluster: format!("request {index}").into(),
            prompt: Prompt::chat(vec![Message::user("?")]),
            max_tokens: 8,
            prompt_tokens: 100,
            target: serde_json::Value::Null,
            forced: Vec::new(),
            shared_tokens: 0,
        };
        let key = KeyParts {
            setting: journal.header.suite.reference().label.as_str().into(),
            context: 4096,
            round: 0,
            replicate: 0,
            task: TASK.into(),
            arm: Some(arm),
            index,
            repeat: 0,
        }
        .key();
        let measurements = if outcome.score().is_some() {
            vec![
                Measurement::new(metric::TTFT_S, Source::Client, 0.1 * slowness),
                Measurement::new(metric::DECODE_TPS, Source::Client, 50.0 / slowness),
            ]
        } else {
            Vec::new()
        };
        journal.trials.push(Trial {
            key,
            case: case.id,
            launch: 0,
            started: "2026-01-01T00:00:00Z".into(),
            tick: None,
            reply: None,
            measurements: measurements.into(),
            outcome,
        });
        journal.cases.push(case);
    }

    fn scored(quality: f64) -> Outcome {
        Outcome::Scored(Score::of(quality))
    }

    fn found(journal: &Journal) -> Vec<ArmRow> {
        rows(&Run::new(journal, &Registry).unwrap())
    }

    #[test]
    fn the_same_requests_are_compared() {
        let mut journal = journal();
        for index in 0..40 {
            // Every fourth request is gained by the engine's parser; what makes a request hard is in both arms.
            let hard = index % 2 == 1;
            let prompted = f64::from(u8::from(!hard));
            let native = f64::from(u8::from(!hard || index % 4 == 1));
            answer(&mut journal, Arm::Prompted, index, scored(prompted), 1.0);
            answer(&mut journal, Arm::Native, index, scored(native), 1.0);
        }
        // Answers of one arm alone say nothing.
        answer(&mut journal, Arm::Native, 40, scored(0.0), 1.0);
        let found = found(&journal);
        let [row] = found.as_slice() else { panic!("{found:?}") };
        let native = row.native.unwrap();
        assert_eq!((native.value, native.n, &row.constrained), (0.25, 40, &None));
        let (low, high) = (native.low.unwrap(), native.high.unwrap());
        assert!(0.05 < low && low < 0.25 && 0.25 < high && high < 0.5, "{native:?}");
    }

    #[test]
    fn other_requests_of_the_same_index_are_not_compared() {
        let mut journal = journal();
        for index in 0..10 {
            answer(&mut journal, Arm::Prompted, index, scored(0.0), 1.0);
            answer(&mut journal, Arm::Native, index, scored(1.0), 1.0);
        }
        for case in journal.cases.iter_mut().filter(|case| case.arm == Some(Arm::Native) && case.index < 4) {
            case.cluster = "something else".into();
        }
        assert_eq!(found(&journal)[0].native.map(|native| native.n), Some(6));
    }

    #[test]
    fn constraining_has_a_reach_an_effect_and_a_cost() {
        let mut journal = journal();
        for index in 0..20 {
            let constrained = match index {
                0 => Outcome::Scored(Score::of(0.0).with(COMPILED, 0.0).with("schema_compliance", 0.0)),
                1 => Outcome::Failed { stage: Stage::Request, error: "HTTP 400: grammar".into() },
                2 => Outcome::Failed { stage: Stage::Request, error: "cannot connect".into() },
                3 => Outcome::Unscored { reason: "the template drops the tools".into() },
                4 => Outcome::Scored(Score::of(0.0).with(COMPILED, 1.0).with("schema_compliance", 0.0)),
                _ => Outcome::Scored(Score::of(1.0).with("schema_valid", 1.0)),
            };
            answer(&mut journal, Arm::Constrained, index, constrained, 1.25);
            answer(&mut journal, Arm::Prompted, index, scored(1.0), 0.5);
            answer(&mut journal, Arm::Native, index, scored(1.0), 1.0);
        }
        let row = found(&journal).remove(0);
        let arm = row.constrained.unwrap();
        // 18 were answered or refused, 2 of them not taken; of the 16 taken one is not valid.
        assert_eq!((arm.coverage.n, arm.coverage.value), (18, 16.0 / 18.0));
        let compliance = arm.compliance.unwrap();
        assert_eq!((compliance.n, compliance.value), (16, 15.0 / 16.0));
        let difference = arm.difference.unwrap();
        assert_eq!((difference.n, difference.value), (17, -2.0 / 17.0));
        let cost = arm.cost.unwrap();
        assert_eq!(
            (cost.against, cost.ttft.unwrap().value, cost.decode.unwrap().value),
            (Arm::Native, 1.25, 0.8)
        );

        // Without a native arm that answers, the prompted one is what it is compared with.
        journal.trials.retain(|trial| trial.key.arm != Some(Arm::Native));
        let row = found(&journal).remove(0);
        let cost = row.constrained.unwrap().cost.unwrap();
        assert_eq!((row.native, cost.against, cost.ttft.unwrap().value), (None, Arm::Prompted, 2.5));
    }

    /// What a server holds of the schema of a case, named after it.
    fn hold(journal: &mut Journal, case: &str, conversion: Conversion, answer: Option<bool>) {
        let held = HeldSchema::unknown(format!("schema of {case}"), "reply".into(), conversion);
        journal.held.schemas.push(HeldSchema { right: 3, ..held });
        let schemas = vec![format!("schema of {case}")];
        journal.held.cases.push(HeldCase { case: case.into(), schemas, answer, right: answer.map(|_| true) });
    }

    #[test]
    fn coverage_is_the_share_of_schemas_that_are_held_in_full() {
        let mut journal = journal();
        for index in 0..6 {
            answer(&mut journal, Arm::Constrained, index, scored(f64::from(u8::from(index > 3))), 1.0);
            answer(&mut journal, Arm::Prompted, index, scored(1.0), 1.0);
        }
        // A journal without these facts keeps the older meaning: the server took all.
        let before = found(&journal).remove(0).constrained.unwrap();
        assert_eq!((before.coverage.value, before.held), (1.0, None));

        hold(&mut journal, "constrained0", Conversion::Made, Some(true));
        hold(&mut journal, "constrained1", Conversion::Made, Some(false));
        hold(&mut journal, "constrained2", Conversion::Refused { words: "HTTP 400".into() }, None);
        hold(&mut journal, "constrained3", Conversion::Unknown { reason: "not told".into() }, None);
        hold(&mut journal, "constrained4", Conversion::Made, Some(true));
        let arm = found(&journal).remove(0).constrained.unwrap();
        // Of the five, nothing is known of one; the answer to another cannot be written, a third is refused.
        assert_eq!((arm.coverage.n, arm.coverage.value), (4, 0.5));
        let held = arm.held.unwrap();
        assert_eq!((held.schemas, held.in_full, held.refused, held.unknown), (5, 3, 1, 1));
        assert_eq!(held.unknown_because, [("not told".to_owned(), 1)].into());
        let failures = HeldFailures { answer: vec![0], other: vec![1], refused: vec![2], unknown: vec![3] };
        assert_eq!(held.failures, failures);

        // What a pack brings was answered by another server, of which nothing is known here.
        let mut packed = testing::launch(&journal.header.suite.reference().label.clone(), 4096);
        packed.pack =
            Some(PackedServer { run: String::new(), machine: String::new(), engine: String::new() });
        journal.launches.push(packed);
        let arm = found(&journal).remove(0).constrained.unwrap();
        assert_eq!((arm.coverage.value, arm.held), (1.0, None));
    }

    #[test]
    fn shares_stay_within_their_range() {
        let graded = share(&[1.0, 1.0, 0.5, 1.0], 0.95).unwrap();
        assert_eq!((graded.value, graded.high), (0.875, Some(1.0)));
        assert!(graded.low.is_some_and(|low| 0.4 < low && low < 0.7), "{graded:?}");
    }

    #[test]
    fn nothing_is_said_without_two_arms() {
        let mut journal = journal();
        assert!(found(&journal).is_empty());
        for index in 0..4 {
            answer(&mut journal, Arm::Prompted, index, scored(1.0), 1.0);
            let dropped = Outcome::Unscored { reason: "the template drops the tools".into() };
            answer(&mut journal, Arm::Native, index, dropped, 1.0);
        }
        assert!(found(&journal).is_empty());
    }
}
