//! Cases that were asked several times: how often all replies to one are right, and how far they scatter.
//!
//! Everything that compares settings takes a case's mean over its replies: the case, or its text, stays the unit.

use std::collections::BTreeMap;

use super::frame::VisitKey;
use super::run::Run;
use super::summary::{PassRow, RepeatRow};
use super::tasks::estimate;
use crate::judge::stats::{all_right, deviation_within};
use crate::record::{Arm, Case};

/// The replies to a case.
struct Asked<'a> {
    cluster: &'a str,
    /// Scores (0..1) in the order they ended, what broke as 0.
    scores: Vec<f64>,
}

/// A row for every task whose cases are asked several times, arm and setting; none where nothing was scored.
pub(crate) fn rows(run: &Run<'_>, context: u32) -> Vec<RepeatRow> {
    let clusters: BTreeMap<&str, &Case> = match run.suite.repeats() {
        Some(_) => run.journal.cases.iter().map(|case| (case.id.as_str(), case)).collect(),
        None => return Vec::new(),
    };
    let repeated = run.task_arms(context).into_iter().filter(|(task, _)| run.suite.repeats_of(task) > 1);
    let of_task = |task_arm: (&str, Option<Arm>)| {
        let settings = run.suite.settings.iter();
        let rows = settings.filter_map(|setting| {
            let visit = VisitKey { setting: &setting.label, context, replicate: 0 };
            row(run, task_arm, visit, &asked(run, task_arm, visit, &clusters))
        });
        rows.collect::<Vec<_>>()
    };
    repeated.flat_map(of_task).collect()
}

/// What was asked in a visit; nothing of a void cell. What broke counts as lost, what does not apply not at all.
fn asked<'a>(
    run: &Run<'a>,
    (task, arm): (&str, Option<Arm>),
    visit: VisitKey<'_>,
    cases: &BTreeMap<&'a str, &'a Case>,
) -> Vec<Asked<'a>> {
    if run.void.contains_key(&(visit.setting, visit.context)) {
        return Vec::new();
    }
    let mut all: BTreeMap<u32, Asked<'a>> = BTreeMap::new();
    for trial in run.trials(visit).filter(|trial| trial.key.task == task && trial.key.arm == arm) {
        let case = run.case_of(trial);
        let Some(score) = trial.outcome.judged().filter(|_| !case.is_empty()) else { continue };
        let cluster = cases.get(case).map_or(case, |case| case.cluster.as_str());
        let asked = all.entry(trial.key.index).or_insert(Asked { cluster, scores: Vec::new() });
        asked.scores.push(score);
    }
    all.into_values().collect()
}

fn row(
    run: &Run<'_>,
    (task, arm): (&str, Option<Arm>),
    visit: VisitKey<'_>,
    asked: &[Asked<'_>],
) -> Option<RepeatRow> {
    let scored = run.frame.judged(visit, task, arm).is_ok_and(|judged| !judged.is_empty());
    let repeats = run.suite.repeats_of(task);
    scored.then(|| RepeatRow {
        task: task.to_owned(),
        arm,
        setting: visit.setting.to_owned(),
        context: visit.context,
        repeats,
        cases: asked.len() as u32,
        replies: asked.iter().map(|case| case.scores.len() as u32).sum(),
        pass: (1..=repeats).filter_map(|k| pass(run, visit.context, asked, k)).collect(),
        spread: deviation_within(asked.iter().map(|case| case.scores.as_slice())),
    })
}

/// The share of cases that are right in all of `k` replies, over the cases that have so many.
fn pass<'a>(run: &Run<'_>, context: u32, asked: &[Asked<'a>], k: u32) -> Option<PassRow> {
    let of_case = |case: &Asked<'a>| {
        let right = case.scores.iter().filter(|score| **score >= 1.0).count() as u32;
        Some((case.cluster, all_right(right, case.scores.len() as u32, k)?))
    };
    let cases: Vec<(&str, f64)> = asked.iter().filter_map(of_case).collect();
    Some(PassRow { k, share: estimate(&cases, run.resampling, context)? })
}

#[cfg(test)]
mod tests {
    use super::super::summarise;
    use super::super::testing::{self, OTHER, REFERENCE};
    use crate::judge::stats::close;
    use crate::record::journal::Journal;
    use crate::record::{Case, KeyParts, Message, Outcome, Prompt, Score, Trial};

    const TASK: &str = "retrieval/niah_multikey_2";

    /// The scores of two settings: cases by replies.
    type Scores<'s> = &'s [[f64; 3]];

    fn journal(reference: Scores<'_>, other: Scores<'_>) -> Journal {
        let text = format!(
            "name = \"t\"\ncontexts = [512]\nrounds = 1\ndraws = 200\nrepeats = 3\n[sampling]\ntemperature = 0.7\n\
             [[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n[reference]\n[[setting]]\nkv = \"q4_0\"\n\
             [[task]]\nname = \"{TASK}\"\nsamples = {}\n",
            reference.len()
        );
        let mut suite = crate::suite::parse(&text, std::path::Path::new("t.toml"), &[]).unwrap();
        suite.settings[0].label = REFERENCE.into();
        suite.settings[1].label = OTHER.into();
        let mut journal = Journal::new(testing::header(suite));
        for (setting, replicate, scores) in
            [(REFERENCE, 0, reference), (OTHER, 0, other), (REFERENCE, 1, reference)]
        {
            for (index, replies) in (0..).zip(scores) {
                for (repeat, score) in (0..).zip(replies) {
                    journal.trials.push(trial((setting, replicate), (index, repeat), *score));
                }
            }
        }
        let prompt = || Prompt::chat(vec![Message::user("?")]);
        let case = |index| Case {
            id: format!("c{index}").into(),
            ..Case::new(TASK, 1, index, prompt(), serde_json::Value::Null).in_context(512)
        };
        journal.cases = (0..reference.len() as u32).map(case).collect();
        journal
    }

    fn trial((setting, replicate): (&str, u32), (index, repeat): (u32, u32), score: f64) -> Trial {
        Trial {
            key: KeyParts {
                setting: setting.into(),
                context: 512,
                round: 0,
                replicate,
                task: TASK.into(),
                arm: None,
                index,
                repeat,
            }
            .key(),
            case: format!("c{index}").into(),
            launch: 0,
            started: "2026-01-01T00:00:00Z".into(),
            tick: None,
            reply: None,
            measurements: Vec::new().into(),
            outcome: Outcome::Scored(Score::of(score).with("steps", f64::from(repeat))),
        }
    }

    const ALL: [f64; 3] = [1.0; 3];
    const TWO: [f64; 3] = [1.0, 0.0, 1.0];
    const ONE: [f64; 3] = [0.0, 0.0, 1.0];

    #[test]
    fn all_right_and_the_spread_are_those_by_hand() {
        let summary = summarise(&journal(&[ALL, ALL, TWO, ALL], &[ALL, TWO, ONE, TWO])).unwrap();
        let row = summary.repeats.iter().find(|row| row.setting == OTHER).unwrap();
        assert_eq!((row.repeats, row.cases, row.replies), (3, 4, 12));
        let pass: Vec<f64> = row.pass.iter().map(|pass| pass.share.value).collect();
        // Right: 3, 2, 1 and 2 of 3. Two of them: 1, 1/3, 0, 1/3; all three: 1, 0, 0, 0.
        for (found, by_hand) in pass.iter().zip([8.0 / 12.0, (1.0 + 2.0 / 3.0) / 4.0, 0.25]) {
            close(*found, by_hand, 1e-12);
        }
        assert_eq!(
            row.pass.iter().map(|pass| (pass.k, pass.share.n)).collect::<Vec<_>>(),
            [(1, 4), (2, 4), (3, 4)]
        );
        // Sums of squares 0 and three times 2/3, over 4 times 2 degrees of freedom.
        close(row.spread.unwrap(), (2.0 / 8.0_f64).sqrt(), 1e-12);
    }

    /// Three replies to a case are one case: no interval is narrower for them than that of their mean.
    #[test]
    fn the_case_is_the_unit_of_everything_that_is_compared() {
        let summary = summarise(&journal(&[ALL, ALL, TWO, ALL], &[ALL, TWO, ONE, TWO])).unwrap();
        let cell = summary.cells.iter().find(|cell| cell.setting == OTHER).unwrap();
        let (quality, difference) = (cell.quality.unwrap(), cell.difference.unwrap());
        assert_eq!((quality.n, difference.n), (4, 4));
        close(quality.value, 8.0 / 12.0, 1e-12);
        close(difference.value, -3.0 / 12.0, 1e-12);
        let task = summary.tasks.iter().find(|row| row.setting == OTHER).unwrap();
        assert_eq!((task.quality.unwrap().n, task.difference.unwrap().n, task.scored), (4, 4, 12));
        close(task.difference.unwrap().value, -3.0 / 12.0, 1e-12);
        assert_eq!(summary.aa[0].pairs, 4);
    }

    /// A case of which only a part was asked yet counts with what there is.
    #[test]
    fn what_is_not_asked_yet_is_left_out_and_what_broke_is_lost() {
        let mut journal = journal(&[ALL, TWO], &[ALL, ALL]);
        journal
            .trials
            .retain(|trial| (trial.key.setting.as_str(), trial.key.index, trial.key.repeat) != (OTHER, 0, 2));
        let broken =
            journal.trials.iter_mut().find(|trial| trial.key.setting == OTHER && trial.key.index == 1);
        broken.unwrap().outcome = testing::broke();
        let summary = summarise(&journal).unwrap();
        let row = summary.repeats.iter().find(|row| row.setting == OTHER).unwrap();
        let seen: Vec<_> = row.pass.iter().map(|pass| (pass.k, pass.share.n)).collect();
        assert_eq!((row.replies, seen.as_slice()), (5, [(1, 2), (2, 2), (3, 1)].as_slice()));
        close(row.pass[0].share.value, (1.0 + 2.0 / 3.0) / 2.0, 1e-12);
        assert_eq!(row.pass[2].share.value, 0.0);
        assert_eq!((summary.planned, summary.done), (18, 17));
    }

    #[test]
    fn a_suite_that_asks_once_has_no_such_rows() {
        let play = testing::Play::new("").reference().other(testing::right);
        assert_eq!(summarise(&play.journal).unwrap().repeats, []);
    }
}
