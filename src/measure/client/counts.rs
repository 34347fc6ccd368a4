//! Counts of prompts that are kept.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts of prompts by the hash of what was asked.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts(Arc<Mutex<Known>>);

/// What was counted, and what cannot be.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) exact: HashMap<String, u32>,
    /// What the server refused to count.
    pub(super) refused: HashSet<String>,
}

impl Counts {
    pub(super) fn get(&self, key: &str) -> Option<u32> {
        self.known().exact.get(key).copied()
    }

    pub(super) fn keep(&self, key: String, count: u32) {
        self.known().exact.insert(key, count);
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
