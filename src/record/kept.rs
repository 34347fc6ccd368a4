//! What comes again and again is kept once, until the process ends, and named by a pointer's eight bytes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread::LocalKey;

use foldhash::fast::RandomState;

/// What is kept: a reference to it takes a pointer's room, also where one to its contents takes two.
#[derive(Debug)]
pub(super) struct Kept<T: ?Sized>(Box<T>);

impl<T: ?Sized> Kept<T> {
    pub(super) fn contents(&'static self) -> &'static T {
        &self.0
    }
}

/// Where what was kept is found by what it is.
type Places<T> = HashMap<&'static T, &'static Kept<T>, RandomState>;

/// All of this process.
pub(super) type Known<T> = LazyLock<Mutex<Places<T>>>;

/// Some that a thread finds without asking for the lock.
pub(super) type Near<T> = RefCell<Places<T>>;

/// With more of them at hand a thread begins anew.
pub(super) const AT_HAND: usize = 1 << 16;

/// The one of all that are equal to this.
pub(super) fn kept<T>(
    this: &T,
    near: &'static LocalKey<Near<T>>,
    known: &'static Known<T>,
) -> &'static Kept<T>
where
    T: Hash + Eq + ?Sized,
    for<'a> Box<T>: From<&'a T>,
{
    near.with_borrow_mut(|near| {
        if let Some(found) = near.get(this) {
            return *found;
        }
        if near.len() >= AT_HAND {
            near.clear();
        }
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(this).copied().unwrap_or_else(|| {
            let kept: &'static Kept<T> = Box::leak(Box::new(Kept(Box::from(this))));
            known.insert(kept.contents(), kept);
            kept
        });
        near.insert(found.contents(), found);
        found
    })
}
