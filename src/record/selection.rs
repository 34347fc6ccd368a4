//! Cases that can tell: those to whose right answer the reference gave a probability in a declared window.
//!
//! Where the reference is sure, or lost, little damage shows. Its own first visit says where it is neither, before any
//! other setting is seen; the others are asked these cases alone, and everything that is said of quality speaks of them.

use std::collections::{BTreeMap, HashMap};

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key::TrialKey;
use super::suite::{Suite, Window};
use super::trial::Trial;
use super::{Arm, Name, Outcome};

/// A case by its place in the plan: task, arm, context length, index.
type Place = (Name, Option<Arm>, u32, u32);

/// What the reference's first visit has chosen so far.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    reference: String,
    windows: BTreeMap<String, Window>,
    /// Cases that the reference has scored, and whether they are chosen.
    seen: HashMap<Place, bool>,
}

/// The cases of one task at one context length that the settings are compared on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct SelectedCases {
    /// Task name.
    pub task: String,
    /// Context length (tokens).
    pub context: u32,
    /// Smallest and largest probability (0..1) that the reference gave to the right answer of a chosen case.
    pub window: Window,
    /// How many cases were chosen.
    pub chosen: u32,
    /// Of how many that the reference scored.
    pub of: u32,
}

impl Selection {
    /// Nothing is chosen yet.
    pub fn new(suite: &Suite) -> Self {
        let windows = suite.tasks.iter().filter_map(|task| Some((task.name.clone(), task.window?)));
        Self { reference: suite.reference().label.clone(), windows: windows.collect(), seen: HashMap::new() }
    }

    /// What these trials have chosen.
    pub fn of<'t>(suite: &Suite, trials: impl IntoIterator<Item = &'t Trial>) -> Self {
        let mut selection = Self::new(suite);
        if !selection.windows.is_empty() {
            trials.into_iter().for_each(|trial| selection.note(trial));
        }
        selection
    }

    /// Returns whether any task declares a window.
    pub fn selects(&self) -> bool {
        !self.windows.is_empty()
    }

    /// Takes note of a trial; only the reference's first visit chooses. What it did not score is asked of everyone.
    pub fn note(&mut self, trial: &Trial) {
        let Some(window) = self.windows.get(trial.key.task.as_str()).filter(|_| self.chooses(&trial.key))
        else {
            return;
        };
        let quality = match &trial.outcome {
            Outcome::Scored(score) => score.quality,
            Outcome::Unscored { .. } | Outcome::Failed { .. } => None,
        };
        if let Some(quality) = quality {
            self.seen.insert(place(&trial.key), window.holds(quality));
        }
    }

    fn chooses(&self, key: &TrialKey) -> bool {
        key.replicate == 0 && key.setting == self.reference
    }

    /// Returns whether a case does not count, in whatever visit.
    pub fn leaves_out(&self, key: &TrialKey) -> bool {
        !self.windows.is_empty() && self.seen.get(&place(key)) == Some(&false)
    }

    /// Returns whether a planned trial is not asked: its case was not chosen, and it is not the one that chooses.
    pub fn skips(&self, key: &TrialKey) -> bool {
        self.leaves_out(key) && !self.chooses(key)
    }

    /// How many cases were chosen, by task and context length; empty where a suite declares no window.
    pub fn rows(&self) -> Vec<SelectedCases> {
        let mut counts: BTreeMap<(&str, u32), (u32, u32)> = BTreeMap::new();
        for ((task, _, context, _), chosen) in &self.seen {
            let row = counts.entry((task, *context)).or_default();
            row.0 += u32::from(*chosen);
            row.1 += 1;
        }
        let row = |((task, context), (chosen, of)): ((&str, u32), (u32, u32))| {
            let window = *self.windows.get(task)?;
            Some(SelectedCases { task: task.to_owned(), context, window, chosen, of })
        };
        counts.into_iter().filter_map(row).collect()
    }
}

fn place(key: &TrialKey) -> Place {
    (key.task, key.arm, key.context, key.index)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::record::{KeyParts, Score};

    fn suite() -> Suite {
        let text = "name = \"a\"\ncontexts = [512]\n[engine]\nname = \"llama.cpp\"\n[[model]]\nname = \"m\"\n\
                    path = \"/m\"\nweights = \"Q8_0\"\n[reference]\n[matrix]\nkv = [\"q4_0\"]\n[[task]]\n\
                    name = \"retrieval/niah_multikey_2\"\nsamples = 4\nscore = \"probability\"\nwindow = [0.2, 0.9]\n";
        crate::suite::parse(text, Path::new("a.toml"), &[]).unwrap()
    }

    fn trial(suite: &Suite, place: usize, replicate: u32, index: u32, outcome: Outcome) -> Trial {
        let key = KeyParts {
            setting: suite.settings[place].label.as_str().into(),
            context: 512,
            round: 0,
            replicate,
            task: "retrieval/niah_multikey_2".into(),
            arm: None,
            index,
            repeat: 0,
        }
        .key();
        Trial {
            key,
            case: "".into(),
            launch: 0,
            started: "".into(),
            tick: None,
            reply: None,
            measurements: Vec::new().into(),
            outcome,
        }
    }

    #[test]
    fn the_reference_s_first_visit_chooses_for_all() {
        let suite = suite();
        let scored = |quality| Outcome::Scored(Score::of(quality));
        let failed = Outcome::Unscored { reason: "odd tokens".into() };
        let trials = [
            trial(&suite, 0, 0, 0, scored(0.5)),
            trial(&suite, 0, 0, 1, scored(0.95)),
            trial(&suite, 0, 0, 2, scored(0.1)),
            trial(&suite, 0, 0, 3, failed),
            // What others score changes nothing.
            trial(&suite, 1, 0, 0, scored(0.0)),
            trial(&suite, 0, 1, 0, scored(0.0)),
        ];
        let selection = Selection::of(&suite, &trials);
        let skipped = |place, replicate| {
            let keys = (0..4).map(|index| trial(&suite, place, replicate, index, scored(0.0)).key);
            keys.map(|key| selection.skips(&key)).collect::<Vec<_>>()
        };
        assert_eq!(skipped(1, 0), [false, true, true, false]);
        assert_eq!(skipped(0, 1), [false, true, true, false]);
        assert_eq!(skipped(0, 0), [false; 4], "it must be asked everything");
        let row = &selection.rows()[0];
        assert_eq!((row.chosen, row.of, row.window.low()), (1, 3, 0.2));
    }
}
