//! What stands behind a cell: its tasks beside the reference's, its kinds of error, where in the text it fails, and replies
//! that differ from the reference's.

use std::collections::HashMap;

use serde::Serialize;

use super::body::escaped;
use super::depths::{self, DepthMap};
use super::differing::{Branch, Marked, Said, parted};
use crate::judge::analysis::held::Held;
use crate::judge::analysis::summary::{Allowed, CellSummary, Summary, TaskRow, Verdict};
use crate::record::journal::Journal;
use crate::record::{Arm, Case, Outcome, Prompt, Trial, token_lengths};

/// Replies that are shown of a cell, and of all cells together: those of settings that are worse come first.
const SHOWN: usize = 6;
const SHOWN_IN_ALL: usize = 400;
/// Characters of either end of a prompt that are shown.
const PROMPT_CHARS: usize = 220;

/// The part of the page about a cell.
#[derive(Serialize)]
pub(super) struct CellPart<'a> {
    id: usize,
    cell: &'a CellSummary,
    is_reference: bool,
    tasks: Vec<TaskPart<'a>>,
    depths: Vec<DepthMap<'a>>,
    replies: Vec<ReplyPart>,
    /// Replies of the cell that differ from the reference's, all in all.
    differing: usize,
}

/// A task of a cell beside the reference's.
#[derive(Serialize)]
pub(super) struct TaskPart<'a> {
    row: &'a TaskRow,
    reference: Option<&'a TaskRow>,
}

/// A reply beside the reference's to the same case. Texts are escaped already.
#[derive(Serialize)]
pub(super) struct ReplyPart {
    task: String,
    prompt: String,
    /// What both begin with.
    shared: String,
    reference: Branch,
    setting: Branch,
    marked: Marked,
    reference_outcome: String,
    setting_outcome: String,
    /// What the grammar would have allowed of a wrong reply, in words; empty for all others.
    allowed: &'static str,
}

type Key<'a> = (&'a str, Option<Arm>, u32, u32, u32);

/// The trials of each setting, but those of the reference's second visit, by what they were asked.
struct Trials<'a>(HashMap<&'a str, HashMap<Key<'a>, &'a Trial>>);

impl<'a> Trials<'a> {
    fn of(journal: &'a Journal) -> Self {
        let mut grouped: HashMap<&str, HashMap<Key<'_>, &Trial>> = HashMap::new();
        for trial in journal.trials.iter().filter(|trial| trial.key.replicate == 0) {
            grouped.entry(&trial.key.setting).or_default().insert(key(trial), trial);
        }
        Self(grouped)
    }

    /// Pairs of trials of the same case at a context length, the setting's and the reference's.
    fn pairs(&self, setting: &str, reference: &str, context: u32) -> Vec<(&'a Trial, &'a Trial)> {
        let (Some(own), Some(theirs)) = (self.0.get(setting), self.0.get(reference)) else {
            return Vec::new();
        };
        own.iter()
            .filter(|(key, _)| key.2 == context)
            .filter_map(|(key, trial)| Some((*trial, *theirs.get(key)?)))
            .filter(|(own, theirs)| own.case == theirs.case)
            .collect()
    }
}

/// Returns the parts of all cells, in their order.
pub(super) fn parts<'a>(summary: &'a Summary, journal: &'a Journal) -> Vec<CellPart<'a>> {
    let cases: HashMap<&str, &Case> = journal.cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let trials = Trials::of(journal);
    let held = Held::of(journal);
    let shown = shown(&summary.cells);
    let part = |(id, cell): (usize, &'a CellSummary)| {
        let is_reference = cell.setting == summary.reference;
        let (replies, differing) = match is_reference {
            true => (Vec::new(), 0),
            false => {
                let pairs = trials.pairs(&cell.setting, &summary.reference, cell.context);
                replies(pairs, (&cases, &held), shown[id])
            }
        };
        CellPart {
            id,
            cell,
            is_reference,
            tasks: tasks(summary, cell),
            depths: depths::maps(summary, cell),
            replies,
            differing,
        }
    };
    summary.cells.iter().enumerate().map(part).collect()
}

/// How many replies are shown of each cell.
fn shown(cells: &[CellSummary]) -> Vec<usize> {
    let rank = |at: &usize| match cells[*at].verdict {
        Verdict::Worse => 0,
        Verdict::NoWorse => 2,
        _ => 1,
    };
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by_key(rank);
    let mut shown = vec![0; cells.len()];
    for at in order.into_iter().take(SHOWN_IN_ALL / SHOWN) {
        shown[at] = SHOWN;
    }
    shown
}

fn key(trial: &Trial) -> Key<'_> {
    (&trial.key.task, trial.key.arm, trial.key.context, trial.key.index, trial.key.repeat)
}

fn tasks<'a>(summary: &'a Summary, cell: &CellSummary) -> Vec<TaskPart<'a>> {
    let of = |setting: &str| {
        let rows = summary.tasks.iter().filter(move |row| row.context == cell.context);
        rows.filter(|row| row.setting == setting).collect::<Vec<_>>()
    };
    let reference = of(&summary.reference);
    let twin = |row: &TaskRow| {
        let alike = |other: &&&TaskRow| (&other.task, other.arm) == (&row.task, row.arm);
        reference.iter().find(alike).copied()
    };
    of(&cell.setting).into_iter().map(|row| TaskPart { row, reference: twin(row) }).collect()
}

/// Replies that differ, those whose score differs first, so many at most; and how many there are.
fn replies(
    mut pairs: Vec<(&Trial, &Trial)>,
    (cases, held): (&HashMap<&str, &Case>, &Held<'_>),
    most: usize,
) -> (Vec<ReplyPart>, usize) {
    pairs.retain(|(own, theirs)| differ(own, theirs));
    pairs.sort_by_key(|(own, theirs)| {
        let lost = match (own.outcome.judged(), theirs.outcome.judged()) {
            (Some(own), Some(theirs)) if own < theirs => 0,
            (Some(own), Some(theirs)) if own > theirs => 1,
            _ => 2,
        };
        (lost, &own.key.task, own.key.arm, own.key.index, own.key.repeat)
    });
    let count = pairs.len();
    let shown = pairs.into_iter().take(most);
    let part = |(own, theirs): (&Trial, &Trial)| {
        let case = cases.get(own.case.as_str()).copied();
        let differing = parted(&said(own), &said(theirs));
        ReplyPart {
            task: own
                .key
                .arm
                .map_or(own.key.task.to_string(), |arm| format!("{} ({})", own.key.task, arm.name())),
            prompt: case.map(prompt).unwrap_or_default(),
            shared: escaped(&differing.shared),
            reference: differing.theirs.map(escaped),
            setting: differing.own.map(escaped),
            marked: differing.marked,
            reference_outcome: outcome(&theirs.outcome),
            setting_outcome: outcome(&own.outcome),
            allowed: held.allowed(own).map_or("", words),
        }
    };
    (shown.map(part).collect(), count)
}

fn differ(own: &Trial, theirs: &Trial) -> bool {
    let text = |trial: &Trial| trial.reply.as_ref().map(|_| said(trial).text);
    match (text(own), text(theirs)) {
        (Some(own), Some(theirs)) => own != theirs && !(own.is_empty() && theirs.is_empty()),
        _ => false,
    }
}

/// What a reply says, its calls as they were made.
fn said(trial: &Trial) -> Said {
    let Some(reply) = &trial.reply else { return Said::default() };
    let text = reply.text();
    let pieces = token_lengths::read(&reply.token_lengths, &text);
    let mut text = text.into_owned();
    for call in &reply.tool_calls {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&format!("{}({})", call.name, call.arguments));
    }
    Said { text, pieces }
}

/// The two ends of a prompt.
fn prompt(case: &Case) -> String {
    let Prompt::Chat { messages, .. } = &case.prompt else { return String::new() };
    let whole: Vec<&str> = messages.iter().map(|message| message.content.as_str()).collect();
    let whole = whole.join("\n");
    let count = whole.chars().count();
    if count <= 2 * PROMPT_CHARS {
        return escaped(&whole);
    }
    let head: String = whole.chars().take(PROMPT_CHARS).collect();
    let tail: String = whole.chars().skip(count - PROMPT_CHARS).collect();
    escaped(&format!("{head}\n… ({} characters) …\n{tail}", count - 2 * PROMPT_CHARS))
}

/// What the grammar that the server made of the schema would have allowed.
const fn words(allowed: Allowed) -> &'static str {
    match allowed {
        Allowed::Answer => "the grammar allowed the right answer",
        Allowed::Other => "the grammar allowed another right reply, and not the answer that was asked for",
        Allowed::Refused => "there was no grammar: the server refused the schema",
        Allowed::Unknown => "whether the grammar allowed a right reply is not known",
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Scored(score) => {
            let quality = score.quality.map_or("–".to_owned(), |quality| format!("{quality:.2}"));
            score.label.as_ref().map_or(quality.clone(), |label| format!("{quality}: {label}"))
        }
        Outcome::Unscored { reason } => reason.clone(),
        Outcome::Failed { error, .. } => error.clone(),
    }
}
