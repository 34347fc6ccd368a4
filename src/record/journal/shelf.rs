//! Cases that many journals of a run have: each worker writes those that it asks, so that of a thousand journals nearly
//! every line with a case is a copy of one in another. A line is read once; its copies are known by their bytes.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError};

use foldhash::quality::RandomState;

use super::check::Item;
use super::line::Seal;
use crate::record::{Case, Name};

/// How a line with a case begins.
const OPEN: &[u8] = br#"{"case":"#;

/// Parts of the shelf that are locked apart.
const BOARDS: usize = 32;

/// What only equal lines share: a length and 128 bits that are drawn anew in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Mark {
    length: usize,
    hashes: [u64; 2],
}

/// The cases of all journals of a run, by their lines.
#[derive(Default)]
pub(super) struct Shelf {
    boards: [Mutex<HashMap<Mark, Arc<Shelved>, RandomState>>; BOARDS],
    hashers: [RandomState; 2],
}

/// A case that was read and found to be right.
pub(super) struct Shelved {
    pub(super) id: Name,
    pub(super) item: Item,
    pub(super) task_version: u32,
    pub(super) seal: Seal,
    /// Until whoever joins the journals has taken it.
    case: Mutex<Option<Box<Case>>>,
}

impl Shelved {
    /// The case, the first time.
    pub(super) fn take(&self) -> Option<Case> {
        self.case.lock().unwrap_or_else(PoisonError::into_inner).take().map(|case| *case)
    }
}

impl Shelf {
    /// The mark of a line without its line break; `None` for one that is no case.
    pub(super) fn mark(&self, line: &[u8]) -> Option<Mark> {
        let hashes = || self.hashers.each_ref().map(|hasher| hasher.hash_one(line));
        line.starts_with(OPEN).then(|| Mark { length: line.len(), hashes: hashes() })
    }

    /// The case of a line that was read before, by whichever thread.
    pub(super) fn find(&self, mark: Mark) -> Option<Arc<Shelved>> {
        self.board(mark, |board| board.get(&mark).cloned())
    }

    /// Shelves the case of a line. Where another thread was first, that one's, which is the same.
    pub(super) fn put(&self, mark: Mark, case: Case, seal: Seal) -> Arc<Shelved> {
        let shelved = Shelved {
            id: case.id,
            item: Item::of(&case),
            task_version: case.task_version,
            seal,
            case: Mutex::new(Some(Box::new(case))),
        };
        self.board(mark, |board| Arc::clone(board.entry(mark).or_insert_with(|| Arc::new(shelved))))
    }

    fn board<R>(
        &self,
        mark: Mark,
        with: impl FnOnce(&mut HashMap<Mark, Arc<Shelved>, RandomState>) -> R,
    ) -> R {
        let board = &self.boards[mark.hashes[0] as usize % BOARDS];
        with(&mut board.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::record::Prompt;

    fn case(index: u32) -> Case {
        Case::new("a/b", 3, index, Prompt::chat(Vec::new()), Value::Null).seal()
    }

    #[test]
    fn equal_lines_are_one_case_which_is_taken_once() {
        let shelf = Shelf::default();
        let line = |index: u32| format!("{{\"case\":{{\"index\":{index}}}}}").into_bytes();
        let mark = |index| shelf.mark(&line(index)).unwrap();
        assert!(shelf.find(mark(1)).is_none() && mark(1) == mark(1) && mark(1) != mark(2));
        let first = shelf.put(mark(1), case(1), Seal::Kept);
        let again = shelf.put(mark(1), case(1), Seal::Kept);
        assert!(Arc::ptr_eq(&first, &again) && Arc::ptr_eq(&first, &shelf.find(mark(1)).unwrap()));
        assert_eq!((first.id.as_str(), first.task_version), (case(1).id.as_str(), 3));
        assert_eq!((again.take(), first.take()), (Some(case(1)), None));
        assert!(shelf.find(mark(2)).is_none());
    }

    #[test]
    fn only_lines_with_cases_are_shelved() {
        assert!(Shelf::default().mark(br#"{"trial":{}}"#).is_none());
    }
}
