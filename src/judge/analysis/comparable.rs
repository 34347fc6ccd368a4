//! Tests: settings are only compared on the same cases of the same tasks, and on the same requests.

use super::compare::{self, Prices, compare};
use super::pick::{Goal, MinQuality, PickRequest, WarningCode, pick};
use super::route::{self, route};
use super::summarise;
use super::summary::{CellSummary, FrontStatus, Summary, Verdict};
use super::testing::{ITEMS, OTHER, PLAYED, Play, REFERENCE, broke, model, right, unscored};
use crate::error::Kind;
use crate::judge::report;
use crate::judge::serving::ServeForm;
use crate::record::journal::Journal;
use crate::record::{Argv, Measurement, ModelInfo, Outcome, Score, Source, TrainedContext, metric};

const EASY: &str = PLAYED[0].0;
const MIDDLING: &str = PLAYED[1].0;
const HARD: &str = PLAYED[2].0;

fn summary(play: &Play) -> Summary {
    summarise(&play.journal).unwrap()
}

fn cell<'s>(summary: &'s Summary, setting: &str) -> &'s CellSummary {
    summary.cells.iter().find(|cell| cell.setting == setting).unwrap()
}

/// A setting that gets all of the easy task right and breaks in 36 of 57 trials, on the others.
fn fragile() -> Play {
    Play::new("").reference().other(|task, index| match task {
        EASY => Outcome::Scored(Score::of(1.0)),
        HARD if index < 2 => right(task, index),
        _ => broke(),
    })
}

fn any_quality() -> PickRequest {
    PickRequest { min_quality: MinQuality::Score(0.0), ..PickRequest::new(512) }
}

fn codes(journal: &Journal, request: &PickRequest) -> Vec<WarningCode> {
    pick(journal, request, &as_measured).unwrap().warnings.into_iter().map(|warning| warning.code).collect()
}

#[test]
fn a_setting_that_broke_in_36_of_57_trials_counts_them_as_lost() {
    let summary = summary(&fragile());
    let (reference, other) = (cell(&summary, REFERENCE), cell(&summary, OTHER));
    assert_eq!((other.scored, other.failed), (21, 36));
    let (theirs, ours) = (reference.quality.unwrap(), other.quality.unwrap());
    // All of the easy task, nothing of the middling one, what was right of two cases of the hard one.
    let hard = f64::from(u8::from(right(HARD, 0).judged() == Some(1.0)))
        + f64::from(u8::from(right(HARD, 1).judged() == Some(1.0)));
    assert!((ours.value - (1.0 + 0.0 + hard / f64::from(ITEMS)) / 3.0).abs() < 1e-9, "{ours:?}");
    assert_eq!((ours.n, theirs.n), (57, 57), "the same cases");
    assert!(ours.value < theirs.value - 0.1, "{ours:?} {theirs:?}");
    assert_eq!(other.verdict, Verdict::Worse, "{other:?}");
    assert_eq!(other.difference.map(|difference| difference.n), Some(57));
    // It is twice as fast and smaller: the front has it by its cost, and says so.
    assert_eq!(other.front, FrontStatus::OnlyByCost);
    assert!(summary.fronts[0].knees.iter().all(|knee| knee.setting != OTHER), "{:?}", summary.fronts);
    let row = |task: &str| summary.tasks.iter().find(|r| r.task == task && r.setting == OTHER).unwrap();
    assert_eq!(row(HARD).quality.map(|quality| quality.n), Some(19));
    assert_eq!((row(MIDDLING).quality, row(MIDDLING).failed), (None, 19), "nothing of it was scored");
    assert!(summary.warnings.iter().any(|warning| warning.sentence.contains("36 of 57 trials")
        && warning.sentence.contains("in its place on the front")));
    let text =
        report::render(&summary).unwrap().into_iter().find(|(name, _)| *name == "report.md").unwrap().1;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("(36 of 57 broke)") && text.contains("only by cost (100%)"), "{text}");
}

#[test]
fn what_broke_is_lost_for_pick_compare_and_route() {
    let fragile = fragile();
    let picked = pick(&fragile.journal, &PickRequest::new(512), &as_measured).unwrap();
    assert_eq!(picked.setting, REFERENCE);
    let refused = &picked.candidates.iter().find(|row| row.setting == OTHER).unwrap().refused;
    assert!(refused[0].contains("36 of 57 trials that broke counted as lost"), "{refused:?}");
    let codes = codes(&fragile.journal, &any_quality());
    assert_eq!(
        codes,
        [WarningCode::WorseThanReference, WarningCode::TrialsBroke],
        "the fastest of any quality"
    );

    let whole = Play::new("").reference().other(right);
    let request = compare::CompareRequest { thresholds: Vec::new(), flips: 0, prices: Prices::default() };
    let compared = compare(&whole.journal, &fragile.journal, &request).unwrap();
    let cell = compared.cells.iter().find(|cell| cell.setting == OTHER).unwrap();
    assert_eq!((cell.pairs, cell.unpaired), (57, 0), "what has no case of its own pairs by its place");
    assert!(cell.quality.unwrap().value < -0.1, "{cell:?}");

    let request = route::RouteRequest { fast: Some(OTHER.into()), smart: Some(REFERENCE.into()) };
    let routed = route(&fragile.journal, &request).unwrap();
    let point = routed.settings.iter().find(|point| point.name == OTHER).unwrap();
    assert!(point.quality.value < 0.4, "{point:?}");
}

#[test]
fn a_cell_without_a_task_of_the_references_is_not_comparable_on_it() {
    let play = Play::new("").reference().other(|task, index| match task {
        HARD => unscored(),
        _ => right(task, index),
    });
    let summary = summary(&play);
    let other = cell(&summary, OTHER);
    assert_eq!(other.not_comparable, [format!("{HARD} (native)")]);
    assert_eq!((other.verdict, other.quality, other.difference), (Verdict::NotComparable, None, None));
    assert_eq!(other.front, FrontStatus::NotMeasured);
    assert!(
        summary.verdict.contains("ot comparable with the reference for want of a task"),
        "{}",
        summary.verdict
    );
    let table = report::table(&summary, report::Look::of(false, true, None));
    assert!(table.contains(&format!("not comparable on {HARD} (native)")), "{table}");
    let picked = pick(&play.journal, &PickRequest::new(512), &as_measured).unwrap();
    assert_eq!(picked.setting, REFERENCE);
    let refused = &picked.candidates.iter().find(|row| row.setting == OTHER).unwrap().refused;
    assert!(refused[0].contains("not comparable on"), "{refused:?}");
    let mut weighted = PickRequest::new(512);
    weighted.task_weights.insert(EASY.into(), 2.0);
    let picked = pick(&play.journal, &weighted, &as_measured).unwrap();
    assert_eq!(picked.setting, REFERENCE, "weights do not make it comparable");
    weighted.task_weights.insert(HARD.into(), 0.0);
    assert_eq!(
        pick(&play.journal, &weighted, &as_measured).unwrap().setting,
        OTHER,
        "without that task it is"
    );
}

#[test]
fn what_does_not_apply_to_one_is_left_out_of_both() {
    let play = Play::new("").reference().other(|task, index| match (task, index % 2) {
        (EASY, 1) => unscored(),
        _ => right(task, index),
    });
    let summary = summary(&play);
    let (reference, other) = (cell(&summary, REFERENCE), cell(&summary, OTHER));
    let difference = other.difference.unwrap();
    assert_eq!((difference.value, difference.n), (0.0, 57 - 9));
    // The same answers on the cases that both have: the quality beside the reference's is the same, too.
    let (ours, theirs) = (other.quality.unwrap().value, reference.quality.unwrap().value);
    assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
}

#[test]
fn what_the_reference_broke_on_proves_nothing_of_the_others() {
    let lost = |task: &str, index: u32| task == EASY && index.is_multiple_of(3);
    let mut play = Play::new("").reference().other(|task, index| match lost(task, index) {
        true => Outcome::Scored(Score::of(1.0)),
        false => right(task, index),
    });
    for trial in &mut play.journal.trials {
        if trial.key.setting == REFERENCE && lost(&trial.key.task, trial.key.index) {
            trial.outcome = broke();
        }
    }
    let summary = summary(&play);
    let other = cell(&summary, OTHER);
    assert!(other.difference.unwrap().value > 0.1, "{:?}", other.difference);
    assert_ne!(other.verdict, Verdict::NoWorse);
    assert_eq!(summary.aa[0].discordance, 0.0, "a server that breaks is no noise");
    assert!(
        summary
            .warnings
            .iter()
            .any(|warning| warning.sentence.contains("what others gain there shows nothing"))
    );
}

#[test]
fn a_setting_that_never_answered_has_no_quality() {
    let summary = summary(&Play::new("").reference().other(|_, _| broke()));
    let other = cell(&summary, OTHER);
    assert_eq!((other.quality, other.verdict), (None, Verdict::NotMeasured));
    assert!(
        summary.warnings.iter().any(|warning| warning.sentence.contains("nothing of it was scored")),
        "{:?}",
        summary.warnings
    );
}

#[test]
fn speed_is_compared_request_by_request_and_shown_by_prompt_length() {
    let summary = summary(&Play::new("").reference().other(right));
    let other = cell(&summary, OTHER);
    let (ttft, decode) = (other.ttft_ratio.unwrap(), other.decode_ratio.unwrap());
    assert_eq!((ttft.value, ttft.low, ttft.high, ttft.n), (0.5, Some(0.5), Some(0.5), 57));
    assert_eq!((decode.value, decode.n), (2.0, 57));
    let lengths: Vec<(u32, u32, f64)> = summary
        .speeds
        .iter()
        .filter(|row| row.setting == OTHER)
        .map(|row| (row.shortest, row.longest, row.ttft_s.unwrap().value))
        .collect();
    assert_eq!(lengths, [(480, 500, 0.245), (60, 60, 0.03)]);
    assert!(summary.speeds.iter().all(|row| (row.setting == REFERENCE) == row.ttft_ratio.is_none()));
}

#[test]
fn a_setting_that_was_timed_on_the_short_prompts_alone_is_not_the_faster_for_it() {
    let mut play = Play::new("").reference().other(right);
    for trial in play.journal.trials.iter_mut().filter(|trial| trial.key.setting == OTHER) {
        if trial.key.task != HARD {
            trial.measurements.retain(|m| m.name != metric::TTFT_S);
        }
        // It is a little slower than the reference.
        let slower = |value| value * 2.2;
        trial.measurements.change(|m| {
            if m.name == metric::TTFT_S {
                m.value = m.value.map(slower);
            }
        });
    }
    let request = PickRequest { goal: Goal::Ttft, ..PickRequest::new(512) };
    let picked = pick(&play.journal, &request, &as_measured).unwrap();
    assert_eq!(picked.setting, REFERENCE, "{picked:?}");
    assert!((picked.runner_up.unwrap().margin.value - (1.1 - 1.0) / 1.1).abs() < 1e-9);
    let other = picked.candidates.iter().find(|row| row.setting == OTHER).unwrap();
    let reference = picked.candidates.iter().find(|row| row.setting == REFERENCE).unwrap();
    assert!(
        other.ttft_s.unwrap().value < reference.ttft_s.unwrap().value,
        "its own median is of short prompts"
    );
}

#[test]
fn an_unfinished_run_says_so_before_its_pick() {
    let mut play = Play::new("").reference().other(right);
    play.journal.trials.truncate(2);
    let picked = pick(&play.journal, &PickRequest::new(512), &as_measured).unwrap();
    assert_eq!(picked.warnings[0].code, WarningCode::RunIncomplete);
    assert!(picked.warnings[0].text.contains("2 of 171 planned trials"), "{:?}", picked.warnings);
    assert_eq!(picked.frequency, None, "two trials are no certainty");
    let text = report::pick(&picked, &[ServeForm::Shell]).unwrap();
    assert!(text.starts_with("**Before you rely on this:**\n\n- the run is not finished"), "{text}");
    assert!(!text.contains("100% of the bootstrap draws"), "{text}");
}

#[test]
fn a_reference_that_gets_nothing_right_is_no_measure() {
    let zero = |_: &str, _: u32| Outcome::Scored(Score::of(0.0));
    let mut play = Play::new("").reference().other(zero);
    play.journal.trials.iter_mut().for_each(|trial| trial.outcome = zero("", 0));
    let error = pick(&play.journal, &PickRequest::new(512), &as_measured).unwrap_err();
    assert_eq!(error.kind(), Kind::NothingSelected);
    assert!(error.hints()[0].contains("the reference scores 0 on"), "{:?}", error.hints());
    assert_eq!(codes(&play.journal, &any_quality()), [WarningCode::ReferenceScoresZero]);
}

#[test]
fn tasks_that_are_all_too_easy_are_named_before_the_pick() {
    let mut play = Play::new("").reference().other(right);
    assert_eq!(codes(&play.journal, &PickRequest::new(512)), []);
    play.journal.trials.iter_mut().for_each(|trial| trial.outcome = Outcome::Scored(Score::of(1.0)));
    assert_eq!(codes(&play.journal, &PickRequest::new(512)), [WarningCode::UninformativeTasks]);
}

#[test]
fn figures_that_the_run_doubts_are_named_where_the_pick_rests_on_them() {
    let mut play = Play::new("").reference().other(right);
    for trial in &mut play.journal.trials {
        trial.measurements.push(Measurement::new(metric::STEAL, Source::Procfs, 0.5));
        trial.measurements.push(Measurement::new(metric::GPU_OTHERS, Source::Nvml, 1.0));
    }
    assert_eq!(codes(&play.journal, &PickRequest::new(512)), [WarningCode::DoubtfulSpeed]);
    let least = PickRequest { goal: Goal::Memory, ..PickRequest::new(512) };
    assert_eq!(codes(&play.journal, &least), [WarningCode::DoubtfulMemory], "speed has no part in it");
    let within = PickRequest { memory: Some(1 << 40), ..PickRequest::new(512) };
    assert_eq!(codes(&play.journal, &within), [WarningCode::DoubtfulSpeed, WarningCode::DoubtfulMemory]);
}

#[test]
fn a_context_beyond_the_trained_one_is_named_before_the_pick() {
    let mut play = Play::new("").reference().other(right);
    let setting = play.journal.header.suite.reference().clone();
    let model = |tokens: u64| ModelInfo {
        name: setting.model.clone(),
        weights: setting.weights.clone(),
        trained: Some(TrainedContext { tokens, scaled: None }),
        ..model(1)
    };
    play.journal.header.models = vec![model(512)];
    assert_eq!(codes(&play.journal, &PickRequest::new(512)), []);
    let longer = PickRequest { extrapolate: true, ..PickRequest::new(1024) };
    let expected = [WarningCode::ContextNotMeasured, WarningCode::BeyondTrainedContext];
    assert_eq!(codes(&play.journal, &longer), expected);
    play.journal.header.models = vec![model(256)];
    assert_eq!(codes(&play.journal, &PickRequest::new(512)), [WarningCode::BeyondTrainedContext]);
    for setting in &mut play.journal.header.suite.settings {
        setting.options.insert("rope_scale".into(), "2".into());
    }
    assert_eq!(codes(&play.journal, &PickRequest::new(512)), [], "the suite scales the positions itself");
}

fn as_measured(_: &str, argv: &Argv, _: usize) -> Argv {
    argv.clone()
}
