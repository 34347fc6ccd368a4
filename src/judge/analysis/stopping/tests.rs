use std::path::Path;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::judge::analysis::{summarise_with, testing};
use crate::judge::stats::rng;
use crate::record::{Case, KeyParts, Measurement, Message, Outcome, Prompt, Score, TrialKey};
use crate::task::Weight;

/// One primary task and nothing else.
struct OneTask;

impl Tasks for OneTask {
    fn weight(&self, _: &str) -> Option<Weight> {
        Some(Weight::Primary)
    }
}

/// How a setting is in truth: the chance to lose a case that the reference has, to gain one, and its speed.
#[derive(Clone, Copy)]
struct Truth {
    loss: f64,
    gain: f64,
    decode_tps: f64,
}

const EQUAL: Truth = Truth { loss: 0.0, gain: 0.0, decode_tps: 50.0 };

/// A run with these settings beside the reference, before its first trial.
fn run(others: usize, samples: u32, rounds: u32, stopping: &str) -> Journal {
    let kinds = ["q8_0", "q4_0", "q5_0", "q4_1"];
    let settings: String = kinds[..others].iter().map(|kv| format!("[[setting]]\nkv = \"{kv}\"\n")).collect();
    let text = format!(
        "name = \"t\"\ncontexts = [512]\nrounds = {rounds}\ndraws = 100\nmargin = 0.05\nobjectives = [\"quality\", \"decode\"]\n\
         [[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n[reference]\n{settings}\
         [[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = {samples}\n{stopping}\n"
    );
    let suite = crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap();
    let mut journal = Journal::new(testing::header(suite));
    journal.cases = (0..samples).map(case).collect();
    journal
}

fn case(index: u32) -> Case {
    Case {
        id: format!("{index:08}").into(),
        task: "retrieval/niah_multikey_2".into(),
        task_version: 1,
        arm: None,
        context: 512,
        index,
        depth: None,
        cluster: format!("{index}").into(),
        prompt: Prompt::chat(vec![Message::user("?")]),
        max_tokens: 8,
        prompt_tokens: 100,
        target: serde_json::Value::Null,
        forced: Vec::new(),
        shared_tokens: 0,
    }
}

/// Measures a round on every cell that still runs, the reference twice.
fn measure(journal: &mut Journal, round: u32, truths: &[Truth], rng: &mut ChaCha8Rng) {
    let suite = journal.header.suite.clone();
    let cases: Vec<Case> =
        journal.cases.iter().filter(|c| c.index % suite.rounds == round).cloned().collect();
    for case in &cases {
        let mut chance = || f64::from(rng.next_u32()) / 4_294_967_296.0;
        let right = chance() < 0.8;
        for (place, setting) in suite.settings.iter().enumerate() {
            let truth = place.checked_sub(1).map_or(EQUAL, |place| truths[place]);
            let toss = chance();
            // A loss is one of the cases that the reference has, a gain one of those that it has not.
            let own = if right { toss >= truth.loss / 0.8 } else { toss < truth.gain / 0.2 };
            for replicate in 0..if place == 0 { 2 } else { 1 } {
                let key = KeyParts {
                    setting: setting.label.as_str().into(),
                    context: 512,
                    round,
                    replicate,
                    task: case.task,
                    arm: None,
                    index: case.index,
                    repeat: 0,
                }
                .key();
                if !journal.is_stopped(&key) {
                    journal.trials.push(trial(key, &case.id, own, truth.decode_tps));
                }
            }
        }
    }
}

fn trial(key: TrialKey, case: &str, right: bool, decode_tps: f64) -> Trial {
    Trial {
        key,
        case: case.into(),
        launch: 0,
        started: "2026-01-01T00:00:00Z".into(),
        tick: None,
        reply: None,
        measurements: vec![
            Measurement::new(metric::DECODE_TPS, Source::Client, decode_tps),
            Measurement::new(metric::PROMPT_TOKENS, Source::Engine, 100.0),
            Measurement::new(metric::OUTPUT_TOKENS, Source::Engine, 20.0),
        ]
        .into(),
        outcome: Outcome::Scored(Score::of(f64::from(u8::from(right)))),
    }
}

/// Runs all rounds with a look after each.
fn play(journal: &mut Journal, truths: &[Truth], rng: &mut ChaCha8Rng) {
    play_with(journal, truths, rng, true);
}

/// The same; `gives_up`: cells whose verdict cannot be expected stop, too.
fn play_with(journal: &mut Journal, truths: &[Truth], rng: &mut ChaCha8Rng, gives_up: bool) {
    let rounds = journal.header.suite.rounds;
    for round in 0..rounds {
        measure(journal, round, truths, rng);
        if round + 1 < rounds {
            let mut decisions = decide_with(journal, round, &OneTask).unwrap().stopped;
            decisions.retain(|decision| gives_up || decision.reason != StopReason::Undecidable);
            journal.decisions.extend(decisions);
        }
    }
}

const SEQUENTIAL: &str = "[stopping]\nrule = \"sequential\"";
const RACING: &str = "[stopping]\nrule = \"racing\"";

fn reason_of(journal: &Journal, place: usize) -> Option<(StopReason, u32)> {
    let label = &journal.header.suite.settings[place].label;
    let mut whole_cells = journal.decisions.iter().filter(|decision| decision.replicate.is_none());
    let decision = whole_cells.find(|decision| decision.setting == *label)?;
    Some((decision.reason, decision.after_round))
}

#[test]
fn clear_verdicts_stop_early_and_stay() {
    let mut journal = run(2, 400, 4, SEQUENTIAL);
    let broken = Truth { loss: 0.4, gain: 0.0, decode_tps: 60.0 };
    play(&mut journal, &[EQUAL, broken], &mut rng(1, "clear"));
    assert_eq!(reason_of(&journal, 2), Some((StopReason::Settled, 0)), "{:?}", journal.decisions);
    assert_eq!(reason_of(&journal, 1), Some((StopReason::Settled, 1)), "101 equal pairs show 5 points");
    assert_eq!(reason_of(&journal, 0), Some((StopReason::NothingLeft, 1)));
    let summary = summarise_with(&journal, &OneTask).unwrap();
    let verdicts: Vec<Verdict> = summary.cells.iter().map(|cell| cell.verdict).collect();
    assert_eq!(verdicts, [Verdict::Reference, Verdict::NoWorse, Verdict::Worse]);
    // 3 rounds of the broken one, 2 of the equal one and of the reference's two visits
    let stopping = summary.stopping.unwrap();
    assert_eq!(stopping.saved, 300 + 200 + 2 * 200);
    assert_eq!(summary.planned, summary.done, "a stopped run is complete");
    assert!(stopping.guarantee.contains("5%"));
}

#[test]
fn the_quality_of_a_cell_of_easier_items_is_adjusted() {
    let mut journal = run(1, 400, 4, SEQUENTIAL);
    play(&mut journal, &[Truth { loss: 0.4, gain: 0.0, decode_tps: 50.0 }], &mut rng(7, "easy"));
    assert_eq!(reason_of(&journal, 1), Some((StopReason::Settled, 0)), "{:?}", journal.decisions);
    // The reference goes on, and finds half of the later cases too hard.
    journal.decisions.retain(|decision| decision.reason != StopReason::NothingLeft);
    for round in 1..4 {
        measure(&mut journal, round, &[EQUAL], &mut rng(7, "later"));
    }
    for trial in journal.trials.iter_mut().filter(|t| t.key.round > 0 && t.key.index % 8 < 4) {
        trial.outcome = Outcome::Scored(Score::of(0.0));
    }
    let summary = summarise_with(&journal, &OneTask).unwrap();
    let [reference, cell] = summary.cells.as_slice() else { panic!("{:?}", summary.cells) };
    let (whole, own) = (reference.quality.unwrap(), cell.quality.unwrap());
    assert_eq!((whole.n, own.n), (400, 100));
    // It loses half of what the reference has, of any cases.
    assert!((own.value - whole.value / 2.0).abs() < 0.08, "{own:?} {whole:?}");
    let seen = journal.trials.iter().filter(|t| t.key.setting == cell.setting);
    let right = seen.filter(|t| matches!(&t.outcome, Outcome::Scored(s) if s.quality == Some(1.0))).count();
    assert!(own.value + 0.1 < right as f64 / 100.0, "its own cases were easier: {own:?}, {right} right");
}

#[test]
fn what_is_open_goes_on() {
    let mut journal = run(1, 120, 3, SEQUENTIAL);
    play(&mut journal, &[Truth { loss: 0.1, gain: 0.05, decode_tps: 50.0 }], &mut rng(2, "open"));
    assert!(journal.decisions.is_empty(), "{:?}", journal.decisions);
}

/// The truth lies on the margin: no number of cases that is planned decides it.
#[test]
fn what_cannot_be_decided_is_given_up_and_stays_open() {
    let mut journal = run(1, 480, 8, SEQUENTIAL);
    play(&mut journal, &[Truth { loss: 0.20, gain: 0.15, decode_tps: 50.0 }], &mut rng(3, "margin"));
    let (reason, round) = reason_of(&journal, 1).unwrap();
    assert!(reason == StopReason::Undecidable && round < 6, "{:?}", journal.decisions);
    assert_eq!(reason_of(&journal, 0), Some((StopReason::NothingLeft, round)));
    let because = &journal.decisions.iter().find(|d| d.reason == reason).unwrap().because;
    assert!(
        because.contains("480 pairs that are planned") && because.contains("would be needed"),
        "{because}"
    );
    let summary = summarise_with(&journal, &OneTask).unwrap();
    let cell = &summary.cells[1];
    assert_eq!(cell.verdict, Verdict::NotSeparable);
    let outlook = cell.outlook.unwrap();
    assert!(outlook.needed.is_none_or(|needed| needed > 480), "{outlook:?}");
    assert!(summary.verdict.contains("would be needed"), "{}", summary.verdict);
}

/// Giving up must not cost verdicts that the planned cases would have reached.
#[test]
fn giving_up_hardly_costs_a_verdict() {
    let decided = |seed: u64, gives_up: bool| {
        // Eight points lost: 480 pairs show it nearly always.
        let mut journal = run(1, 480, 8, SEQUENTIAL);
        let truth = Truth { loss: 0.12, gain: 0.04, decode_tps: 50.0 };
        play_with(&mut journal, &[truth], &mut rng(seed, "cost"), gives_up);
        matches!(reason_of(&journal, 1), Some((StopReason::Settled, _)))
    };
    let (mut shown, mut lost) = (0, 0);
    for seed in 0..60 {
        let patient = decided(seed, false);
        shown += u32::from(patient);
        lost += u32::from(patient && !decided(seed, true));
    }
    assert!(shown >= 48 && lost <= 2, "{shown} decided by all that is planned, {lost} of them given up");
}

/// What the end of a round says of the open cells.
#[test]
fn an_open_cell_says_what_its_verdict_would_take() {
    let mut journal = run(1, 400, 4, SEQUENTIAL);
    measure(&mut journal, 0, &[Truth { loss: 0.14, gain: 0.07, decode_tps: 50.0 }], &mut rng(5, "floor"));
    let look = decide_with(&journal, 0, &OneTask).unwrap();
    assert_eq!((look.stopped.len(), look.open.len()), (0, 1));
    let outlook = look.open[0].outlook;
    assert_eq!((outlook.unit, outlook.seen), (crate::record::EvidenceUnit::Pairs, 100));
    assert!(outlook.needed.unwrap() > 100 && outlook.further_s.is_none(), "{outlook:?}");
}

/// After which round the reference's second visit stopped.
fn floor_known(journal: &Journal) -> Option<u32> {
    journal.decisions.iter().find(|decision| decision.replicate == Some(1)).map(|d| d.after_round)
}

#[test]
fn the_second_visit_ends_when_the_floor_is_below_the_margin() {
    let mut journal = run(1, 400, 4, SEQUENTIAL);
    let unclear = Truth { loss: 0.14, gain: 0.07, decode_tps: 50.0 };
    play(&mut journal, &[unclear], &mut rng(5, "floor"));
    assert_eq!(floor_known(&journal), Some(1), "{:?}", journal.decisions);
    assert_eq!(reason_of(&journal, 0), None, "the setting is open, so the reference itself goes on");
    let visits = |replicate| {
        journal
            .trials
            .iter()
            .filter(|t| t.key.setting.ends_with("f16") && t.key.replicate == replicate)
            .count()
    };
    assert_eq!((visits(0), visits(1)), (400, 200));
    let summary = summarise_with(&journal, &OneTask).unwrap();
    assert_eq!(summary.stopping.unwrap().saved, 200);
    assert_eq!(summary.planned, summary.done);
}

#[test]
fn a_reference_that_does_not_repeat_itself_keeps_its_second_visit() {
    let mut journal = run(1, 400, 4, SEQUENTIAL);
    let unclear = Truth { loss: 0.12, gain: 0.08, decode_tps: 50.0 };
    for round in 0..3 {
        measure(&mut journal, round, &[unclear], &mut rng(6, "flaky"));
        // A fifth of the round's cases comes out the other way.
        for trial in journal.trials.iter_mut().filter(|t| t.key.round == round && t.key.replicate == 1) {
            if trial.key.index % 20 == round {
                let Outcome::Scored(Score { quality: Some(quality), .. }) = trial.outcome else { continue };
                trial.outcome = Outcome::Scored(Score::of(1.0 - quality));
            }
        }
        let decisions = decide_with(&journal, round, &OneTask).unwrap().stopped;
        journal.decisions.extend(decisions);
    }
    assert_eq!(floor_known(&journal), None, "a fifth is more than 5 points: {:?}", journal.decisions);
}

#[test]
fn decisions_are_made_again_alike_and_never_twice() {
    let mut journal = run(2, 400, 4, SEQUENTIAL);
    play(&mut journal, &[EQUAL, Truth { loss: 0.4, gain: 0.0, decode_tps: 60.0 }], &mut rng(1, "clear"));
    let made = std::mem::take(&mut journal.decisions);
    for round in 0..3 {
        let again = decide_with(&journal, round, &OneTask).unwrap().stopped;
        journal.decisions.extend(again);
    }
    assert_eq!(journal.decisions, made, "a resumed run decides the same from the same trials");
    assert!(decide_with(&journal, 1, &OneTask).unwrap().stopped.is_empty());
}

#[test]
fn a_race_drops_what_another_beats_in_everything() {
    let mut journal = run(2, 400, 4, RACING);
    let slow_and_bad = Truth { loss: 0.3, gain: 0.05, decode_tps: 40.0 };
    play(&mut journal, &[EQUAL, slow_and_bad], &mut rng(3, "race"));
    let (reason, after) = reason_of(&journal, 2).unwrap();
    assert!(after == 0 && matches!(reason, StopReason::Settled | StopReason::Dominated));
    let mut journal = run(1, 100, 2, RACING);
    measure(&mut journal, 0, &[Truth { loss: 0.15, gain: 0.0, decode_tps: 90.0 }], &mut rng(3, "fast"));
    let decisions = decide_with(&journal, 0, &OneTask).unwrap().stopped;
    assert!(decisions.iter().all(|decision| decision.reason != StopReason::Dominated), "worse, but faster");
}

#[test]
fn a_budget_ends_the_run_whatever_it_showed() {
    // 3 visits x 20 cases x 120 tokens a round
    for (budget, stops) in [(14_399, true), (14_400, false)] {
        let mut journal = run(1, 60, 3, &format!("[stopping]\nbudget_tokens = {budget}"));
        let noisy = Truth { loss: 0.1, gain: 0.1, decode_tps: 50.0 };
        measure(&mut journal, 0, &[noisy], &mut rng(4, "budget"));
        let decisions = decide_with(&journal, 0, &OneTask).unwrap().stopped;
        assert_eq!(decisions.len(), if stops { 2 } else { 0 });
        assert!(decisions.iter().all(|decision| decision.reason == StopReason::Budget));
    }
}

#[test]
fn without_stopping_nothing_is_decided() {
    let mut journal = run(1, 60, 3, "");
    measure(&mut journal, 0, &[Truth { loss: 0.8, gain: 0.0, decode_tps: 1.0 }], &mut rng(4, "none"));
    assert!(decide_with(&journal, 0, &OneTask).unwrap().stopped.is_empty());
    assert!(summarise_with(&journal, &OneTask).unwrap().stopping.is_none());
}

#[test]
fn a_budget_of_server_time_goes_by_the_monotonic_clock() {
    use crate::clock::Tick;
    use crate::record::journal::LaunchRecord;
    use crate::record::{Argv, Effective};
    let launch = |tick| LaunchRecord {
        id: 0,
        setting: "m".into(),
        context: 512,
        served_at: None,
        round: 0,
        replicate: 0,
        started: "2026-01-01T00:00:00Z".into(),
        tick,
        argv: Argv::default(),
        load_s: None,
        effective: Effective::default(),
        deviations: Vec::new(),
        failure: None,
        log: String::new(),
        pack: None,
        attached: None,
    };
    let key = KeyParts {
        setting: "m".into(),
        context: 512,
        round: 0,
        replicate: 0,
        task: "t".into(),
        arm: None,
        index: 0,
        repeat: 0,
    }
    .key();
    let at = |at_s| Some(Tick::new(0, at_s));
    // The clock is set five days forward while the server loads.
    let started = || "2026-01-06T00:00:04Z".to_owned();
    let asked = |tick| Trial { started: started().into(), tick, ..trial(key, "c", true, 10.0) };
    assert!((since_launch_s(&launch(at(1.0)), &asked(at(5.0))).unwrap() - 4.0).abs() < 1e-9);
    let by_the_wall = since_launch_s(&launch(None), &asked(None)).unwrap();
    assert!((by_the_wall - 432_004.0).abs() < 1e-6, "{by_the_wall}");
}
