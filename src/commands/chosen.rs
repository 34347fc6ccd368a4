//! The answer: the setting, the command to serve it with, what it costs, and what was given up on.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::Result;
use crate::judge::analysis::pick::{Goal, MinQuality, Pick, PickRequest};
use crate::judge::analysis::{pick, search};
use crate::judge::report;
use crate::judge::report::{about, plain};
use crate::judge::serving::ServeForm;
use crate::measure::engine;
use crate::record::filter::Filter;
use crate::record::journal::{Header, Journal};
use crate::record::{Decision, Objective, plan};

/// Version of the JSON form of [`Choice`].
const SCHEMA_VERSION: u32 = 1;

/// What `choose --json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(in crate::commands) struct Choice {
    /// Version of this form.
    pub schema_version: u32,
    /// Whether the search came to its end: nothing that was left out could be better.
    pub complete: bool,
    /// Whether the setting is shown to be no worse than the reference, or is the reference.
    pub shown: bool,
    /// The answer, as `pick` gives it.
    pub pick: Pick,
    /// Settings on which nothing is decided yet, products of what may still be shown apart: one of them may turn out better.
    pub open: Vec<String>,
    /// Time that these would keep servers busy (s), if one more visit decides each; `None` where nothing is open, or nothing
    /// was timed.
    pub open_s: Option<f64>,
    /// What was not shown to be no worse, and why it was given up on.
    pub given_up: Vec<GivenUp>,
    /// What to know of the choice of candidates and questions.
    pub notes: Vec<String>,
}

/// A setting that was given up on.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(in crate::commands) struct GivenUp {
    /// Setting label.
    pub setting: String,
    /// Whether it was visited at all.
    pub tried: bool,
    /// Why.
    pub because: String,
}

/// The answer that a journal gives, complete or not.
///
/// # Errors
/// When nothing can be picked, not even the reference.
pub(in crate::commands) fn of(journal: &Journal, complete: bool) -> Result<Choice> {
    let request = request(journal);
    let strict = pick::pick(journal, &request, &engine::to_serve);
    // Without any setting that is shown, the reference itself is refused nothing; only a run that was cut off has none.
    let (pick, shown) = match strict {
        Ok(pick) => (pick, true),
        Err(_) => {
            let lenient = PickRequest { strict: false, ..request };
            (pick::pick(journal, &lenient, &engine::to_serve)?, false)
        }
    };
    let reference = &journal.header.suite.reference().label;
    let would_do = |setting: &str| {
        let mut rows = pick.candidates.iter();
        rows.any(|row| row.setting == setting && row.refused.is_empty())
    };
    let left_out = |decision: &&Decision| decision.setting != *reference && !would_do(&decision.setting);
    let given_up = journal.decisions.iter().filter(left_out).map(|decision| GivenUp {
        setting: decision.setting.clone(),
        tried: !decision.untried,
        because: decision.because.clone(),
    });
    let given_up = given_up.collect();
    let (open, open_s) = if complete { (Vec::new(), None) } else { still_open(journal)? };
    let notes = journal.header.choice_notes.clone().unwrap_or_default();
    Ok(Choice { schema_version: SCHEMA_VERSION, complete, shown, open, open_s, given_up, pick, notes })
}

/// What the search would go on with, and how long that may take (s).
fn still_open(journal: &Journal) -> Result<(Vec<String>, Option<f64>)> {
    let Header { suite, filters, .. } = &journal.header;
    let step = search::next(journal, &plan::plan(suite, &Filter::parse(filters)?)?)?;
    let time = step.expected_s.filter(|_| !step.open.is_empty());
    Ok((step.open, time))
}

fn request(journal: &Journal) -> PickRequest {
    let suite = &journal.header.suite;
    let stopping = suite.stopping;
    let goal = match stopping.and_then(|stopping| stopping.goal) {
        Some(Objective::Memory) => Goal::Memory,
        Some(Objective::Ttft) => Goal::Ttft,
        Some(Objective::Energy) => Goal::Energy,
        _ => Goal::Decode,
    };
    PickRequest {
        memory: stopping.and_then(|stopping| stopping.memory_bytes),
        min_quality: MinQuality::WithinMargin,
        goal,
        strict: true,
        ..PickRequest::new(suite.contexts.first().copied().unwrap_or_default())
    }
}

impl Choice {
    /// How sure an answer is that came before the end, and what may still change it.
    fn so_far(&self) -> String {
        let standing = match (self.shown, self.pick.setting == self.pick.reference) {
            (true, true) => "It is the reference itself: no other setting is shown to keep the quality yet.",
            (true, false) => "It is shown to keep the quality.",
            (false, _) => "That it keeps the quality is not shown yet.",
        };
        if self.open.is_empty() {
            return standing.to_owned();
        }
        let names: Vec<String> = self.open.iter().map(|label| format!("`{}`", plain(label))).collect();
        let time = self.open_s.map_or(String::new(), |seconds| format!(", about {}", about(seconds)));
        format!(
            "{standing} Open still: {}{time}. How often the draws pick it, below, says nothing of those.",
            names.join(", ")
        )
    }

    /// The answer in words.
    ///
    /// # Errors
    /// When the template of the pick fails.
    pub(in crate::commands) fn text(&self, forms: &[ServeForm]) -> Result<String> {
        let mut text = String::new();
        if !self.complete {
            text.push_str(&format!(
                "**The search is not over: this is the best so far.** {}\n\n",
                self.so_far()
            ));
        } else if !self.shown {
            text.push_str(
                "**No setting is shown to keep the quality: this one only looks as if it did.**\n\n",
            );
        }
        text.push_str(&report::pick(&self.pick, forms)?);
        if !self.given_up.is_empty() {
            text.push_str("\n## Given up on\n\n");
            for GivenUp { setting, tried, because } in &self.given_up {
                let tried = if *tried { "" } else { " (not tried)" };
                text.push_str(&format!("- `{}`{tried}: {}\n", plain(setting), plain(because)));
            }
        }
        if !self.notes.is_empty() {
            text.push_str("\n## How it was chosen\n\n");
            self.notes.iter().for_each(|note| text.push_str(&format!("- {}\n", plain(note))));
        }
        Ok(text)
    }
}
