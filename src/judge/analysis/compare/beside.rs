//! More than two runs in one table: engines, builds or machines that measured the same model.

use std::collections::BTreeSet;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RunName;
use super::headers::{engines, machine_words, same_machine};
use crate::error::{Error, Result};
use crate::judge::analysis::summarise;
use crate::judge::analysis::summary::CellSummary;
use crate::record::journal::{Header, Journal};

/// Version of the JSON form of [`Beside`].
pub const BESIDE_SCHEMA_VERSION: u32 = 1;

/// Most runs in one table: each has a letter.
const MOST: usize = 26;

/// Several runs side by side. Nothing is paired: every figure is that of a run's own report, differences and KLD beside its own
/// reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Beside {
    /// [`BESIDE_SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The runs, in the order in which they were named.
    pub runs: Vec<BesideRun>,
    /// What keeps their figures from being compared.
    pub notes: Vec<String>,
}

/// One of the runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct BesideRun {
    /// What it is called in the table: `A`, `B` ..
    pub letter: char,
    /// The run.
    pub name: RunName,
    /// Engines and their builds.
    pub engine: String,
    /// Models with their weights.
    pub models: String,
    /// The machine.
    pub machine: String,
    /// Label of its reference.
    pub reference: String,
    /// Share (0..1) of its cases that the first run asked, too, at the context lengths of both; absent where it has none there.
    pub same_cases: Option<f64>,
    /// Its cells.
    pub cells: Vec<CellSummary>,
}

/// Puts runs side by side.
///
/// # Errors
/// A usage error for fewer than two runs or more than 26; and when a journal does not hold together.
pub fn beside(journals: &[Journal]) -> Result<Beside> {
    let Some(first) = journals.first().filter(|_| (2..=MOST).contains(&journals.len())) else {
        return Err(Error::usage(format!("{} runs cannot be put side by side", journals.len()))
            .hint(format!("name 2 to {MOST} of them")));
    };
    let asked = cases(first, &first.header.suite.contexts);
    let runs: Vec<BesideRun> = journals
        .iter()
        .zip('A'..)
        .map(|(journal, letter)| run(journal, letter, &asked, &first.header.suite.contexts))
        .collect::<Result<_>>()?;
    let notes = journals.iter().zip(&runs).skip(1).flat_map(|(journal, run)| notes(first, journal, run));
    Ok(Beside { schema_version: BESIDE_SCHEMA_VERSION, notes: notes.collect(), runs })
}

fn run(journal: &Journal, letter: char, asked: &BTreeSet<&str>, contexts: &[u32]) -> Result<BesideRun> {
    let own = cases(journal, contexts);
    let shared = own.intersection(asked).count();
    Ok(BesideRun {
        letter,
        name: super::name(journal),
        engine: engines(&journal.header),
        models: models(&journal.header),
        machine: machine_words(&journal.header),
        reference: journal.header.suite.reference().label.clone(),
        same_cases: (!own.is_empty()).then(|| shared as f64 / own.len() as f64),
        cells: summarise(journal)?.cells,
    })
}

/// The cases that a run asked at these context lengths, by the hash of their content.
fn cases<'a>(journal: &'a Journal, contexts: &[u32]) -> BTreeSet<&'a str> {
    let here = journal.cases.iter().filter(|case| contexts.contains(&case.context));
    here.map(|case| case.id.as_str()).collect()
}

/// The models of a run with their weights, each file once.
fn models(header: &Header) -> String {
    let names: BTreeSet<String> =
        header.models.iter().map(|model| format!("{} {}", model.name, model.weights)).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

/// What keeps a run's figures from being compared with the first one's.
fn notes(first: &Journal, journal: &Journal, run: &BesideRun) -> Vec<String> {
    let letter = run.letter;
    let mut notes = Vec::new();
    if let Some(share) = run.same_cases.filter(|share| *share < 1.0) {
        notes.push(format!(
            "{letter} asked other cases than A: {:.0}% of its own are the same, so qualities are of different questions",
            share * 100.0
        ));
    }
    if !same_machine(&first.header, &journal.header) {
        notes.push(format!("{letter} was measured on another machine than A: speed and memory are of both, machine and setting"));
    }
    let files =
        |header: &Header| header.models.iter().map(|model| model.sha256.clone()).collect::<BTreeSet<_>>();
    if files(&first.header).is_disjoint(&files(&journal.header)) {
        notes.push(format!("{letter} has no model file in common with A: its weights are others"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;
    use crate::record::Case;

    fn journal(seed: u32) -> Journal {
        let text = format!(
            "name = \"a\"\nseed = {seed}\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
             [reference]\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n"
        );
        let suite = crate::suite::parse(&text, std::path::Path::new("a.toml"), &[]).unwrap();
        Journal::new(testing::header(suite))
    }

    #[test]
    fn each_run_has_a_letter_and_what_cannot_be_compared_is_said() {
        let mut other = journal(1);
        other.header.machine.cpu = "another".into();
        let found = beside(&[journal(1), journal(1), other]).unwrap();
        let letters: String = found.runs.iter().map(|run| run.letter).collect();
        assert_eq!(letters, "ABC");
        assert_eq!(
            found.notes.iter().filter(|note| note.contains("machine")).count(),
            1,
            "{:?}",
            found.notes
        );
        assert!(found.notes.iter().any(|note| note.starts_with("C was measured on another machine")));
    }

    #[test]
    fn cases_of_a_length_that_the_first_run_lacks_are_no_other_questions() {
        let (first, mut longer) = (testing::Play::new("").journal, testing::Play::new("").journal);
        longer.header.suite.contexts.push(4096);
        let far = Case { id: "far".into(), context: 4096, ..longer.cases[0].clone() };
        longer.cases.push(far);
        let found = beside(&[first, longer]).unwrap();
        assert_eq!(found.runs[1].same_cases, Some(1.0));
        assert!(!found.notes.iter().any(|note| note.contains("other cases")), "{:?}", found.notes);
    }

    #[test]
    fn one_run_or_too_many_are_refused() {
        assert!(beside(&[journal(1)]).unwrap_err().to_string().contains("1 runs"));
        let many: Vec<Journal> = (0..27).map(|_| journal(1)).collect();
        assert!(beside(&many).is_err());
    }
}
