//! From a made-up journal to every file of a report, byte for byte.

mod choosing;
mod coherence;
mod flips;
mod journal;
mod truncation;

use journal::{CONTEXTS, HOSTILE, MadeUp};
use kneepoint::judge::analysis::summarise_with;
use kneepoint::judge::analysis::summary::{CellSummary, FrontStatus, Summary, Verdict, WarningCode};
use kneepoint::judge::report;
use kneepoint::judge::report::Look;
use kneepoint::record::{Outcome, Part, Score};
use std::sync::LazyLock;

static SUMMARY: LazyLock<Summary> =
    LazyLock::new(|| summarise_with(&journal::journal(), &MadeUp).expect("a summary"));

fn cell(setting: &str, context: u32) -> &'static CellSummary {
    let found = SUMMARY.cells.iter().find(|cell| cell.setting == setting && cell.context == context);
    found.expect("a cell of that name")
}

fn file(name: &str) -> String {
    let files = report::render(&SUMMARY).expect("a report");
    let (_, bytes) = files.into_iter().find(|(file, _)| file == name).expect("a file of that name");
    String::from_utf8(bytes).expect("text")
}

#[test]
fn the_markdown_report() {
    insta::assert_snapshot!(file("report.md"));
}

#[test]
fn the_picture() {
    insta::assert_snapshot!(file("front.svg"));
}

#[test]
fn the_cells_as_csv() {
    insta::assert_snapshot!(file("cells.csv"));
}

#[test]
fn the_tasks_as_csv() {
    insta::assert_snapshot!(file("tasks.csv"));
}

#[test]
fn how_far_settings_go_as_csv() {
    insta::assert_snapshot!(file("effective.csv"));
}

#[test]
fn the_heat_map() {
    insta::assert_snapshot!(file("heatmap.svg"));
}

#[test]
fn the_table_of_a_terminal() {
    insta::assert_snapshot!(report::table(&SUMMARY, Look::of(true, true, Some(132))));
}

#[test]
fn the_table_of_a_pipe() {
    insta::assert_snapshot!(report::table(&SUMMARY, Look::of(false, false, None)));
}

#[test]
fn the_same_journal_gives_the_same_bytes() {
    let again = summarise_with(&journal::journal(), &MadeUp).expect("a summary");
    assert_eq!(report::render(&again).unwrap(), report::render(&SUMMARY).unwrap());
}

#[test]
fn json_reads_back_and_obeys_its_schema() {
    let json = file("summary.json");
    let back: Summary = serde_json::from_str(&json).expect("a summary");
    assert_eq!(back, *SUMMARY);
    let schema: serde_json::Value =
        serde_json::from_str(include_str!("../../../docs/schema/summary.schema.json")).expect("a schema");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn the_made_up_truth_is_found() {
    for context in CONTEXTS {
        assert_eq!(cell("Q8_0 kv=f16", context).verdict, Verdict::Reference);
        assert_eq!(cell("Q8_0 kv=q8_0", context).verdict, Verdict::NoWorse, "no case differs");
        assert_eq!(cell("Q8_0 kv=q4_0", context).verdict, Verdict::Worse, "a quarter is lost");
        assert_eq!(cell("Q4_1 kv=q8_0", context).verdict, Verdict::NotSeparable, "few are lost");
        assert_eq!(cell("Q8_0 kv=q4_0", context).front, FrontStatus::Dominated);
        let kld = |setting| cell(setting, context).kld.as_ref().map(|kld| kld.mean.value);
        assert_eq!(kld("Q8_0 kv=f16"), Some(0.0));
        assert!(kld("Q8_0 kv=q8_0") < kld("Q8_0 kv=q4_0"));
    }
    let aa = &SUMMARY.aa[0];
    assert_eq!((aa.discordance, aa.identical_replies, aa.max_kld), (0.0, 1.0, Some(0.0)));
}

#[test]
fn a_suite_says_which_tasks_count_for_the_quality() {
    let quality = |primary: &[(usize, Option<bool>)]| {
        let mut journal = journal::journal();
        for &(task, primary) in primary {
            journal.header.suite.tasks[task].primary = primary;
        }
        let summary = summarise_with(&journal, &MadeUp).unwrap();
        let reported_apart: Vec<String> =
            summary.tasks.iter().filter(|row| row.sanity).map(|row| row.task.clone()).collect();
        let cell = summary.cells.into_iter().find(|cell| cell.setting == "Q8_0 kv=q4_0").unwrap();
        (cell.quality.unwrap().value, reported_apart.iter().any(|task| task == "retrieval/niah_single_1"))
    };
    let (by_itself, apart) = quality(&[]);
    assert!(apart);
    // Nearly every setting finds a single needle.
    let (with_the_single_needle, apart) = quality(&[(1, Some(true))]);
    assert!(!apart && with_the_single_needle > by_itself, "{with_the_single_needle} {by_itself}");
    let (alone, _) = quality(&[(0, Some(false)), (1, Some(true)), (2, Some(false))]);
    assert!(alone > with_the_single_needle, "{alone}");
    // What has no quality of its own has none on request.
    assert_eq!(quality(&[(3, Some(true))]).0, by_itself);
}

#[test]
fn a_void_cell_has_no_figures() {
    let void = cell("Q2_K kv=q4_0", 2048);
    assert_eq!(void.void.as_deref(), Some("context per slot is 1024, not 2048"));
    assert_eq!(
        (void.quality, void.difference, void.decode_tps, void.memory.peak_bytes),
        (None, None, None, None)
    );
    assert_eq!((void.verdict, void.front), (Verdict::NotMeasured, FrontStatus::NotMeasured));
    assert!(file("report.md").contains("context per slot is 1024, not 2048"));
}

#[test]
fn a_task_that_the_reference_cannot_do_is_left_out_and_named() {
    let native = SUMMARY.tasks.iter().filter(|row| row.arm == Some(kneepoint::record::Arm::Native));
    assert!(native.clone().count() > 0 && native.clone().all(|row| row.uninformative));
    let mut left_out = SUMMARY.warnings.iter().filter(|warning| warning.code == WarningCode::TaskLeftOut);
    assert!(left_out.any(|warning| warning.sentence.contains("(native) at 512 tokens")));
    // 100 retrieval and 100 prompted cases; the 90 native ones would have halved every difference.
    assert_eq!(cell("Q8_0 kv=q8_0", 512).difference.map(|difference| difference.n), Some(200));
}

#[test]
fn what_was_not_measured_is_said_once() {
    let lines: Vec<&str> = SUMMARY.not_measured.iter().map(|absence| absence.sentence.as_str()).collect();
    assert_eq!(lines.iter().filter(|line| line.contains("smaps_rollup")).count(), 1, "{lines:?}");
    assert_eq!(lines.iter().filter(|line| line.contains("no card answers")).count(), 1, "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("template drops the tools")));
}

#[test]
fn parts_of_an_answer_count_where_they_lie() {
    let task = "retrieval/niah_multikey_2";
    let mut journal = journal::journal();
    journal.cases.iter_mut().filter(|case| case.task == task).for_each(|case| case.depth = None);
    for trial in journal.trials.iter_mut().filter(|trial| trial.key.task == task) {
        let part = |depth, quality| Part { depth, quality };
        let mut score = Score::of(0.5);
        score.parts = vec![part(0.1, 1.0), part(0.2, 0.0), part(0.6, 1.0), part(1.0, 0.0)].into();
        trial.outcome = Outcome::Scored(score);
    }
    let summary = summarise_with(&journal, &MadeUp).expect("a summary");
    let rows = summary.depths.iter().filter(|row| row.task == task && row.context == 512);
    let rows: Vec<_> = rows.filter(|row| row.setting == "Q8_0 kv=f16").collect();
    let found: Vec<_> = rows.iter().map(|row| (row.from, row.value, row.n)).collect();
    assert_eq!(found, [(0.0, 0.5, 200), (0.5, 1.0, 100), (0.75, 0.0, 100)], "100 trials of the first visits");
    let picture = report::render(&summary).unwrap().into_iter().find(|(name, _)| name == "heatmap.svg");
    assert!(String::from_utf8(picture.unwrap().1).unwrap().contains(">n 200</text>"));
    // A void cell has none.
    assert!(summary.depths.iter().all(|row| row.setting != "Q2_K kv=q4_0" || row.context != 2048));
}

#[test]
fn clocks_that_disagree_are_named() {
    let apart = SUMMARY.warnings.iter().filter(|warning| warning.code == WarningCode::ClocksDisagree);
    let cells: Vec<_> = apart.filter_map(|warning| warning.cell.clone()).collect();
    let disagreeing = |setting: &str| {
        cells.iter().any(|cell| cell.setting.as_deref() == Some(setting) && cell.context == Some(512))
    };
    assert!(disagreeing("Q8_0 kv=q4_0"));
    assert!(!disagreeing("Q8_0 kv=q8_0"));
}

#[test]
fn hostile_text_comes_out_harmless() {
    assert!(SUMMARY.failures.iter().any(|failure| failure.error == HOSTILE), "the JSON keeps it as it came");
    let report = file("report.md");
    let rows: Vec<&str> = report.lines().filter(|line| line.contains("alert")).collect();
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!(row.matches('|').count(), 7, "one row of six columns: {row}");
        for bad in ["<script", "`rm", "\u{1b}", "](", "\u{202e}", "@all", "://"] {
            assert!(!row.contains(bad), "{bad:?} in {row}");
        }
    }
    for name in ["report.md", "front.svg", "heatmap.svg", "cells.csv", "tasks.csv", "effective.csv"] {
        assert!(!file(name).contains('\u{1b}') && !file(name).contains("<script"), "{name}");
    }
}

#[test]
fn without_the_second_visit_nothing_is_called_worse() {
    let mut journal = journal::journal();
    journal.trials.retain(|trial| trial.key.replicate == 0);
    let summary = summarise_with(&journal, &MadeUp).expect("a summary");
    assert!(summary.aa.is_empty());
    assert!(summary.cells.iter().all(|cell| cell.verdict != Verdict::Worse));
    assert!(summary.warnings.iter().any(|warning| warning.code == WarningCode::NoNoiseFloor));
}

#[test]
fn an_empty_journal_is_summarised() {
    let mut journal = journal::journal();
    journal.trials.clear();
    journal.launches.clear();
    let summary = summarise_with(&journal, &MadeUp).expect("a summary");
    assert!(summary.cells.iter().all(|cell| cell.quality.is_none()));
    assert!(report::render(&summary).is_ok());
}
