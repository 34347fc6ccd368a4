//! Where the trial of a key stands, without a second copy of its key.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::record::{Trial, TrialKey};

/// The places of trials in a list by their keys, which the list alone holds: five bytes a trial.
#[derive(Default)]
pub(super) struct Index {
    places: HashTable<u32>,
    hashes: RandomState,
}

impl Index {
    /// Where the trial of this key stands; where there is none, the next one that the list takes is its.
    pub(super) fn find_or_add(&mut self, trials: &[Trial], key: &TrialKey) -> Option<usize> {
        let key_at = |place: u32| &trials[place as usize].key;
        let hash = |key: &TrialKey| self.hashes.hash_one(key.numbers());
        match self.places.entry(hash(key), |place| key_at(*place) == key, |place| hash(key_at(*place))) {
            Entry::Occupied(known) => Some(*known.get() as usize),
            Entry::Vacant(free) => {
                free.insert(trials.len() as u32);
                None
            }
        }
    }
}
