//! Where the trial of a key stands, without a second copy of its key.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::record::{Row, Trial, TrialKey};

/// A row is laid out up to a case whose index is so many times the number of its trials, and no further: a file that names
/// cases in the billions is no reason to take memory for them.
const SPARSE: usize = 64;
/// Trials that a row is taken to have when it has fewer.
const FEW: usize = 64;

/// The places of trials in a list by their keys, which the list alone holds: four bytes a trial. Nearly all trials that
/// have the same case of the same row have the same round, too.
#[derive(Default)]
pub(super) struct Index {
    /// Of every row but for its round.
    rows: Vec<Places>,
    numbers: HashMap<Row, usize, RandomState>,
    last: Option<(Row, usize)>,
    /// Those of which another round was first, and whose index is far off.
    others: HashMap<TrialKey, u32, RandomState>,
}

/// The places of a row's trials.
#[derive(Default)]
struct Places {
    /// By the index of a case: 0, or one more than the place of the first trial that has it.
    by_index: Vec<u32>,
    trials: usize,
}

impl Places {
    /// The place of a case, unless its index is far off.
    fn of(&mut self, index: usize) -> Option<&mut u32> {
        if index >= SPARSE * self.trials.max(FEW) {
            return None;
        }
        if self.by_index.len() <= index {
            self.by_index.resize(index + 1, 0);
        }
        self.by_index.get_mut(index)
    }
}

impl Index {
    /// Where the trial of this key stands; where there is none, the next one that the list takes is its.
    pub(super) fn find_or_add(&mut self, trials: &[Trial], key: &TrialKey) -> Option<usize> {
        let (next, row) = (trials.len(), self.row(key));
        row.trials += 1;
        match row.of(key.index as usize) {
            Some(place) if *place == 0 => *place = next as u32 + 1,
            Some(place) if trials[*place as usize - 1].key == *key => return Some(*place as usize - 1),
            Some(_) | None => return self.other(next, key),
        }
        // The row has grown since it was too short for this index.
        if self.others.is_empty() { None } else { self.moved(key) }
    }

    fn row(&mut self, key: &TrialKey) -> &mut Places {
        let row = Row { round: 0, ..**key };
        let number = match self.last {
            Some((last, number)) if last == row => number,
            _ => {
                let next = self.rows.len();
                *self.numbers.entry(row).or_insert(next)
            }
        };
        self.last = Some((row, number));
        if number == self.rows.len() {
            self.rows.push(Places::default());
        }
        &mut self.rows[number]
    }

    fn other(&mut self, next: usize, key: &TrialKey) -> Option<usize> {
        let mut is_new = false;
        let place = *self.others.entry(*key).or_insert_with(|| {
            is_new = true;
            next as u32
        });
        (!is_new).then_some(place as usize)
    }

    /// A trial that is among the others although its index has a place in its row, which it gets.
    fn moved(&mut self, key: &TrialKey) -> Option<usize> {
        let place = *self.others.get(key)?;
        self.row(key).of(key.index as usize).into_iter().for_each(|free| *free = place + 1);
        Some(place as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{KeyParts, Outcome, Score};

    fn trial(setting: &str, index: u32, round: u32) -> Trial {
        let key = KeyParts {
            setting: setting.into(),
            context: 512,
            round,
            replicate: 0,
            task: "t".into(),
            arm: None,
            index,
            repeat: 0,
        }
        .key();
        Trial {
            key,
            case: "c".into(),
            launch: 0,
            started: "".into(),
            tick: None,
            reply: None,
            measurements: Vec::new().into(),
            outcome: Outcome::Scored(Score::of(1.0)),
        }
    }

    #[test]
    fn every_key_has_one_place_however_far_off_its_index_is() {
        let (mut index, mut trials) = (Index::default(), Vec::new());
        let far = (SPARSE * FEW) as u32;
        let mut keys: Vec<Trial> = Vec::new();
        for number in [u32::MAX, 0, 7, far, far + 3, 3] {
            for (setting, round) in [("a", 0), ("b", 0), ("a", 1)] {
                keys.push(trial(setting, number, round));
            }
        }
        // Many more, so that what was far off is so no more.
        keys.extend((100..40 * FEW as u32).map(|number| trial("a", number, 0)));
        for key in &keys {
            assert_eq!(index.find_or_add(&trials, &key.key), None);
            trials.push(key.clone());
        }
        for (place, key) in keys.iter().enumerate().chain(keys.iter().enumerate()) {
            assert_eq!(index.find_or_add(&trials, &key.key), Some(place), "{:?}", key.key);
        }
        assert!(index.rows.iter().all(|row| row.by_index.len() <= SPARSE * row.trials.max(FEW)));
    }
}
