use std::path::Path;

use super::*;
use crate::judge::analysis::stopping::Sequential;
use crate::judge::analysis::{summarise, testing};
use crate::record::filter::Filter;
use crate::record::plan::{Plan, plan};
use crate::record::{Message, Outcome, Score, StopRule, Trial};

const OTHER: &str = "m kv=q4_0";

/// Two rounds of eight texts, four questions each, and a second task of as many texts with two questions each.
fn journal() -> (Journal, Plan) {
    let text = "name = \"t\"\ncontexts = [512]\nrounds = 2\ndraws = 100\nmargin = 0.05\n[[model]]\nname = \"m\"\n\
                path = \"m.gguf\"\nweights = \"Q8_0\"\n[reference]\n[[setting]]\nkv = \"q4_0\"\n[[setting]]\nkv = \"q5_0\"\n\
                [[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = 64\nquestions = 4\nscore = \"probability\"\n\
                [[task]]\nname = \"retrieval/niah_multikey_3\"\nsamples = 32\nquestions = 2\nscore = \"probability\"\n\
                [stopping]\nrule = \"sequential\"\n";
    let mut suite = crate::suite::parse(text, Path::new("t.toml"), &[]).unwrap();
    for (setting, label) in suite.settings.iter_mut().zip(["m kv=f16", OTHER, "m kv=q5_0"]) {
        setting.label = label.into();
    }
    let plan = plan(&suite, &Filter::default()).unwrap();
    let mut journal = Journal::new(testing::header(suite));
    let first_visits = plan.keys().filter(|key| key.setting == "m kv=f16" && key.replicate == 0);
    journal.cases = first_visits.map(case).collect();
    (journal, plan)
}

fn questions(task: &str) -> u32 {
    if task.ends_with('2') { 4 } else { 2 }
}

fn case(key: &TrialKey) -> Case {
    Case {
        id: format!("{} {}", key.task, key.index).into(),
        task: key.task,
        task_version: 1,
        arm: None,
        context: 512,
        index: key.index,
        depth: None,
        cluster: format!("text {}", key.index / questions(&key.task)).into(),
        prompt: Prompt::chat(vec![Message::user("?")]),
        max_tokens: 8,
        prompt_tokens: 100,
        target: serde_json::Value::Null,
        forced: Vec::new(),
        shared_tokens: 0,
    }
}

/// A probability that varies from case to case by a hundredth or two, less what is lost.
fn answer(key: &TrialKey, lost: f64) -> Trial {
    let varies = f64::from(key.index * 7 % 5) * 0.004 * (1.0 + f64::from(u8::from(lost > 0.0)));
    Trial {
        key: *key,
        case: format!("{} {}", key.task, key.index).as_str().into(),
        launch: 0,
        started: "2026-01-01T00:00:00Z".into(),
        tick: None,
        reply: None,
        measurements: Vec::new().into(),
        outcome: Outcome::Scored(Score::of(0.8 - lost - varies)),
    }
}

/// What the reference's two visits of the first rounds say.
fn reference(journal: &mut Journal, plan: &Plan, rounds: u32) {
    let keys = plan.keys().filter(|key| key.setting == "m kv=f16" && key.round < rounds);
    journal.trials.extend(keys.map(|key| answer(key, 0.0)));
}

/// The keys of the other setting, in the order in which they are asked.
fn asked(plan: &Plan) -> Vec<TrialKey> {
    plan.keys().filter(|key| key.setting == OTHER).cloned().collect()
}

fn look(journal: &Journal, round: u32) -> Option<Decision> {
    Sequential.decide_within(journal, OTHER, 512, round).unwrap()
}

#[test]
fn a_cell_that_is_plainly_worse_stops_after_a_text_and_its_run_is_complete() {
    let (mut journal, plan) = journal();
    reference(&mut journal, &plan, 2);
    let mut decided = None;
    for key in asked(&plan) {
        decided = decided.or_else(|| look(&journal, key.round));
        if decided.as_ref().is_some_and(|decision| decision.stops(&key)) {
            continue;
        }
        journal.trials.push(answer(&key, 0.3));
    }
    let decision = decided.unwrap();
    let WithinRound { texts, from } = decision.within.clone().unwrap();
    assert_eq!((decision.reason, decision.after_round, texts), (StopReason::Settled, 0, 6));
    assert!(decision.because.starts_with("worse: −30"), "{}", decision.because);
    // Six of the texts 0, 2, 4, .. of the first round: the seventh is 12, of either task.
    let rest = [("retrieval/niah_multikey_2", 48), ("retrieval/niah_multikey_3", 24)];
    assert_eq!(from, BTreeMap::from(rest.map(|(task, index)| (task.to_owned(), index))));
    let own = journal.trials.iter().filter(|trial| trial.key.setting == OTHER).count();
    assert_eq!(own, 6 * (4 + 2));
    journal.decisions.push(decision);
    assert_eq!(look(&journal, 0), None, "it is not named again");
    journal.trials.extend(plan.keys().filter(|key| key.setting == "m kv=q5_0").map(|key| answer(key, 0.0)));
    let summary = summarise(&journal).unwrap();
    assert_eq!(summary.stopping.as_ref().unwrap().saved, 10 * (4 + 2));
    assert_eq!(summary.planned, summary.done, "a run that stopped early is complete");
    assert_eq!(summary.cells[1].texts, Some(6));
    assert_eq!(summary.cells[1].verdict, crate::judge::analysis::summary::Verdict::Worse);
}

#[test]
fn half_a_text_and_what_the_reference_alone_has_change_nothing() {
    let (mut journal, plan) = journal();
    reference(&mut journal, &plan, 1);
    let keys = asked(&plan);
    let five_texts = 5 * (4 + 2);
    journal.trials.extend(keys[..five_texts].iter().map(|key| answer(key, 0.3)));
    for key in &keys[five_texts..five_texts + 5] {
        journal.trials.push(answer(key, 0.3));
        assert_eq!(look(&journal, 0), None, "five texts are whole");
    }
    journal.trials.push(answer(&keys[five_texts + 5], 0.3));
    let decision = look(&journal, 0).unwrap();
    // What later texts come to, asked in part or of the reference alone, does not move it.
    journal.trials.extend(keys[five_texts + 6..five_texts + 8].iter().map(|key| answer(key, -0.2)));
    let later = plan.keys().filter(|key| key.setting == "m kv=f16" && key.round == 1);
    journal.trials.extend(later.map(|key| answer(key, 0.5)));
    let again = look(&journal, 0).unwrap();
    assert_eq!(again.because, decision.because);
    assert_eq!(
        again.within.unwrap().from["retrieval/niah_multikey_2"],
        50,
        "two of its questions were asked"
    );
}

#[test]
fn texts_that_the_reference_has_in_part_do_not_count() {
    let (mut journal, plan) = journal();
    reference(&mut journal, &plan, 1);
    let keys = asked(&plan);
    journal.trials.extend(keys[..6 * (4 + 2)].iter().map(|key| answer(key, 0.3)));
    assert!(look(&journal, 0).is_some());
    let lost =
        |trial: &Trial| trial.key.setting == "m kv=f16" && trial.key.replicate == 0 && trial.key.index == 3;
    journal.trials.retain(|trial| !lost(trial));
    assert_eq!(look(&journal, 0), None);
}

#[test]
fn a_cell_that_keeps_everything_is_settled_too_and_one_on_the_margin_is_not() {
    let (mut journal, plan) = journal();
    reference(&mut journal, &plan, 1);
    let own = journal.trials.len();
    let settles = |journal: &mut Journal, lost: &dyn Fn(&TrialKey) -> f64| {
        journal.trials.truncate(own);
        for key in asked(&plan).iter().filter(|key| key.round == 0) {
            journal.trials.push(answer(key, lost(key)));
        }
        look(journal, 0).map(|decision| decision.because)
    };
    let because = settles(&mut journal, &|_| 0.0).unwrap();
    assert!(because.starts_with("no worse"), "{because}");
    // Lost or won by the text.
    let by_text =
        |key: &TrialKey| if (key.index / questions(&key.task)).is_multiple_of(4) { 0.15 } else { -0.05 };
    assert_eq!(settles(&mut journal, &by_text), None);
}

/// The figures are those of the look between two rounds.
#[test]
fn at_the_end_of_a_round_it_says_what_the_look_between_rounds_says() {
    let (mut journal, plan) = journal();
    reference(&mut journal, &plan, 1);
    let round = plan.keys().filter(|key| key.round == 0 && key.setting != "m kv=f16");
    journal.trials.extend(round.map(|key| answer(key, 0.3)));
    let between = Sequential.decide(&journal, 0).unwrap().stopped;
    let between = between.into_iter().find(|decision| decision.setting == OTHER).unwrap();
    let within = look(&journal, 0).unwrap();
    assert_eq!((within.because, within.reason), (between.because, between.reason));
    assert_eq!(within.within.unwrap().from, BTreeMap::new(), "nothing of the round is left");
}

#[test]
fn other_suites_are_not_looked_at_within_a_visit() {
    let (mut journal, plan) = journal();
    reference(&mut journal, &plan, 2);
    journal.trials.extend(asked(&plan).iter().map(|key| answer(key, 0.3)));
    assert!(look(&journal, 1).is_some());
    journal.header.suite.tasks[0].questions = 1;
    assert_eq!(look(&journal, 1), None);
    journal.header.suite.tasks[0].questions = 4;
    journal.header.suite.stopping = None;
    assert_eq!(look(&journal, 1), None);
}

/// A published run that looked between its rounds of five texts, which took 5, 10, 10 and 10 texts, and twice no decision at all.
#[test]
fn a_published_run_would_have_decided_within_its_rounds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/kv-apart");
    let mut whole = crate::record::journal::load(&folder).unwrap();
    whole.decisions.clear();
    whole.trials.iter_mut().for_each(|trial| trial.reply = None);
    let texts =
        |place: usize, context| decided_at(&whole, &whole.header.suite.settings[place].label, context);
    assert_eq!([1, 2, 3, 4].map(|place| texts(place, 8192)), [5, 6, 7, 7].map(Some));
    assert_eq!([1, 2, 3, 4].map(|place| texts(place, 16_384)), [6, 6, 11, 11].map(Some));
}

/// With how many texts a cell stops that is looked at after each of them.
fn decided_at(whole: &Journal, setting: &str, context: u32) -> Option<u32> {
    let own = |trial: &&Trial| trial.key.setting == setting && trial.key.context == context;
    let mut journal = whole.clone();
    journal.trials.retain(|trial| !own(&trial));
    let own: Vec<&Trial> = whole.trials.iter().filter(own).collect();
    own.chunk_by(|a, b| a.key.index / 6 == b.key.index / 6).find_map(|text| {
        journal.trials.extend(text.iter().copied().cloned());
        let decided = Sequential.decide_within(&journal, setting, context, text[0].key.round).unwrap();
        Some(decided?.within?.texts)
    })
}
