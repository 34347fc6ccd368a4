//! The answer of `pick` as Markdown that reads well in a terminal too.

use std::collections::BTreeSet;

use serde::Serialize;

use super::filters::{self, Figure};
use super::markdown::built_in;
use super::view::CheckRow;
use crate::error::Result;
use crate::judge::analysis::pick::{CandidateRow, Goal, Pick};
use crate::judge::analysis::summary::MemoryKind;
use crate::judge::serving::{ServeForm, ServeText};

const TEMPLATE: &str = include_str!("templates/pick.md.j2");

/// What the template shows: the answer, and what of it is grouped.
#[derive(Serialize)]
struct View<'a> {
    pick: &'a Pick,
    /// How the distance to the runner-up is written.
    margin: Figure,
    /// Title of the column of memory.
    memory_head: &'static str,
    /// Whether the rows hold memory of several kinds, so that each must say its own.
    several_memories: bool,
    /// The settings of which anything was run.
    measured: Vec<&'a CandidateRow>,
    /// The refused ones of them, those first that look better than the pick.
    refused: Vec<&'a CandidateRow>,
    /// The others: a search leaves out what can be no better.
    untried: Vec<&'a str>,
    checks: Vec<CheckRow<'a>>,
    /// The other forms of the command that are asked for.
    forms: Vec<FormRow<'a>>,
    /// Whether the command for a shell is asked for.
    shell: bool,
}

/// A form of the command as the template shows it.
#[derive(Serialize)]
struct FormRow<'a> {
    name: &'static str,
    language: &'static str,
    written: &'a ServeText,
}

/// Returns the setting to use, its command in the forms that are asked for, how sure that is, and why not another one.
///
/// # Errors
/// When the template fails.
pub fn pick(pick: &Pick, forms: &[ServeForm]) -> Result<String> {
    let kinds: BTreeSet<&str> =
        pick.candidates.iter().filter_map(|row| row.memory_kind).map(MemoryKind::name).collect();
    let (untried, measured): (Vec<&CandidateRow>, Vec<&CandidateRow>) =
        pick.candidates.iter().partition(|row| row.untried);
    let mut refused: Vec<&CandidateRow> =
        measured.iter().copied().filter(|row| !row.refused.is_empty()).collect();
    refused.sort_by_key(|row| !row.better_looking);
    let view = View {
        pick,
        margin: if pick.goal == Goal::Knee { filters::SCORE } else { filters::LEAD },
        memory_head: memory_head(pick, kinds.len()),
        several_memories: kinds.len() > 1,
        measured,
        refused,
        untried: untried.into_iter().map(|row| row.setting.as_str()).collect(),
        checks: pick.memory.checks.iter().map(CheckRow::of).collect(),
        forms: form_rows(pick, forms),
        shell: forms.contains(&ServeForm::Shell),
    };
    built_in("pick.md", TEMPLATE, view)
}

/// The forms that are asked for, in the order asked; the line for a shell has its own place.
fn form_rows<'a>(pick: &'a Pick, forms: &[ServeForm]) -> Vec<FormRow<'a>> {
    let asked = forms.iter().filter(|form| **form != ServeForm::Shell);
    let written = asked.filter_map(|form| pick.serve.iter().find(|written| written.form == *form));
    let row = |written: &'a ServeText| FormRow {
        name: written.form.title(),
        language: written.form.language(),
        written,
    };
    written.map(row).collect()
}

fn memory_head(pick: &Pick, kinds: usize) -> &'static str {
    let first = pick.candidates.iter().find_map(|row| row.memory_kind);
    match first.filter(|_| kinds == 1) {
        Some(MemoryKind::Gpu) => "GPU memory",
        Some(MemoryKind::Cards) => "memory in use on the cards",
        Some(MemoryKind::Main) => "main memory",
        Some(MemoryKind::Pooled) => "weights and cache",
        None => "memory",
    }
}
