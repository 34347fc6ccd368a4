//! Evaluation results on the Hugging Face Hub: a YAML file in the `.eval_results` folder of a model's repository.
//!
//! Form: `eval_results.yaml` and `docs/hub/eval-results.md` of huggingface/hub-docs at 242f4a1 (2026-08-22). A result belongs to a
//! benchmark: a dataset on the Hub that says so in its `eval.yaml`. kneepoint's own tasks belong to none, so its user names one.

use super::form::{Asked, Destination, Document};
use super::measured::Shared;
use super::required::Required;
use crate::error::{Error, Result};
use crate::judge::analysis::summary::{Estimate, TaskRow};
use crate::judge::report::text;

const BOARD: &str = "hf-eval";

pub(super) fn document(shared: &Shared<'_>, asked: &Asked) -> Result<Document> {
    let value = value(shared, asked)?;
    let mut required = Required::default();
    let dataset = required.take(
        "dataset.id",
        asked.dataset.as_deref(),
        "the benchmark's dataset on the Hub, which no run knows: --dataset OWNER/NAME gives it",
    );
    let task = required.take(
        "dataset.task_id",
        asked.dataset_task.as_deref(),
        "its task, as the dataset's eval.yaml names it: --dataset-task ID gives it",
    );
    let value = required.take("value", value, "the score was not measured");
    let all = dataset.zip(task).zip(value);
    let ((dataset, task), value) = required.complete(BOARD, all)?;
    let date = shared.summary.started.get(..10).unwrap_or(&shared.summary.started);
    let mut yaml = format!(
        "- dataset:\n    id: {}\n    task_id: {}\n  value: {:.4}\n  date: {}\n",
        quoted(dataset),
        quoted(task),
        value.value,
        quoted(date)
    );
    if let Some(url) = &asked.source_url {
        yaml.push_str(&format!("  source:\n    url: {}\n    name: \"kneepoint report\"\n", quoted(url)));
    }
    yaml.push_str(&format!("  notes: {}\n", quoted(&notes(shared, asked, value))));
    let repository = match &asked.hf_id {
        Some(id) => format!("the model's repository {}", text::plain(id)),
        None => "the model's repository".to_owned(),
    };
    Ok(Document { text: yaml, to: Destination::File { repository, path: path(shared) } })
}

/// The score (0..1): of one task, or over all that count.
fn value(shared: &Shared<'_>, asked: &Asked) -> Result<Option<Estimate>> {
    let Some(task) = &asked.task else { return Ok(shared.cell.quality) };
    let here = |row: &&TaskRow| {
        (row.setting.as_str(), row.context) == (shared.cell.setting.as_str(), shared.cell.context)
    };
    let rows: Vec<&TaskRow> = shared.summary.tasks.iter().filter(here).collect();
    let found: Vec<&&TaskRow> = rows.iter().filter(|row| row.task == *task).collect();
    match found.as_slice() {
        [row] => Ok(row.quality),
        [] => {
            let error = Error::usage(format!("the setting has no task `{}`", text::plain(task)));
            Err(rows.iter().fold(error, |error, row| error.hint(text::plain(&row.task))))
        }
        _ => {
            Err(Error::usage(format!("`{}` has several arms: no one score is the task's", text::plain(task))))
        }
    }
}

fn notes(shared: &Shared<'_>, asked: &Asked, value: Estimate) -> String {
    let Shared { summary, cell, .. } = shared;
    let of = match &asked.task {
        Some(task) => text::plain(task),
        None => format!("mean over the tasks of {}", text::plain(&summary.suite)),
    };
    format!(
        "kneepoint {}: {of}, {} at a context of {} tokens; score {} (0 to 1, {:.0}% interval, {} cases)",
        summary.tool_version,
        text::plain(&cell.setting),
        text::tokens(cell.context),
        text::estimate(Some(value), text::score),
        summary.confidence * 100.0,
        value.n
    )
}

/// A file's name of the suite and the setting: letters, digits, dots and dashes.
fn path(shared: &Shared<'_>) -> String {
    let name = format!("kneepoint-{}-{}-{}", shared.summary.suite, shared.cell.setting, shared.cell.context);
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '_' { c } else { '-' };
    let name: String = name.chars().map(safe).take(120).collect();
    format!(".eval_results/{name}.yaml")
}

/// A string of YAML 1.2, whose double-quoted form holds every string of JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
