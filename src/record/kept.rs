//! What comes again and again is kept once, until the process ends, and named by four bytes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::thread::LocalKey;

use foldhash::fast::RandomState;

/// Places of the first shelf; every further one has twice as many.
const FIRST: u32 = 64;
/// Shelves that there can be: together they have a place for each number of four bytes, as nearly as does not matter.
const SHELVES: usize = 26;

/// The number of something that is kept, from 1.
#[derive(Debug)]
pub(super) struct Kept<T: ?Sized> {
    number: NonZeroU32,
    of: PhantomData<T>,
}

impl<T: ?Sized> Clone for Kept<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: ?Sized> Copy for Kept<T> {}

// Equal things have one number.
impl<T: ?Sized> PartialEq for Kept<T> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<T: ?Sized> Eq for Kept<T> {}

impl<T: ?Sized> Kept<T> {
    #[inline]
    pub(super) fn number(self) -> u32 {
        self.number.get()
    }

    /// What has a number, should anything have it.
    pub(super) fn numbered(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(|number| Self { number, of: PhantomData })
    }

    /// Shelf and place.
    #[inline]
    fn place(self) -> (usize, usize) {
        // No sum of a number below 2^31 and 64 is too large, and more is not kept.
        let number = self.number.get() - 1 + FIRST;
        let shelf = number.ilog2() - FIRST.ilog2();
        (shelf as usize, (number - (FIRST << shelf)) as usize)
    }
}

type Shelf<T> = OnceLock<Box<[OnceLock<&'static T>]>>;

/// Where what was kept is found by what it is.
type Places<T> = HashMap<&'static T, Kept<T>, RandomState>;

/// All of this process: by number without a lock, by what they are with one.
pub(super) struct Known<T: ?Sized + 'static> {
    shelves: [Shelf<T>; SHELVES],
    places: LazyLock<Mutex<Places<T>>>,
}

/// Some that a thread finds without asking for the lock.
pub(super) type Near<T> = RefCell<Places<T>>;

/// With more of them at hand a thread begins anew.
pub(super) const AT_HAND: usize = 1 << 16;

impl<T: ?Sized + Hash + Eq> Known<T> {
    pub(super) const fn new() -> Self {
        Self {
            shelves: [const { OnceLock::new() }; SHELVES],
            places: LazyLock::new(|| Mutex::new(Places::default())),
        }
    }

    /// What was kept under a number, if anything was.
    #[inline]
    pub(super) fn find(&'static self, kept: Kept<T>) -> Option<&'static T> {
        let (shelf, place) = kept.place();
        self.shelves.get(shelf)?.get()?.get(place)?.get().copied()
    }

    /// What was kept under a number that [`Known::kept`] gave.
    #[inline]
    pub(super) fn get(&'static self, kept: Kept<T>) -> &'static T {
        self.find(kept).expect("a number is given to what is kept")
    }

    /// The number of what is equal to this.
    pub(super) fn kept(&'static self, this: &T, near: &'static LocalKey<Near<T>>) -> Kept<T>
    where
        for<'a> Box<T>: From<&'a T>,
    {
        near.with_borrow_mut(|near| {
            if let Some(found) = near.get(this) {
                return *found;
            }
            if near.len() >= AT_HAND {
                near.clear();
            }
            let (contents, found) = self.found_or_added(this);
            near.insert(contents, found);
            found
        })
    }

    fn found_or_added(&'static self, this: &T) -> (&'static T, Kept<T>)
    where
        for<'a> Box<T>: From<&'a T>,
    {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((contents, found)) = places.get_key_value(this) {
            return (*contents, *found);
        }
        let contents: &'static T = Box::leak(Box::from(this));
        // So many texts fit into no machine.
        let number = NonZeroU32::MIN.saturating_add(places.len() as u32);
        let added = Kept { number, of: PhantomData };
        let (shelf, place) = added.place();
        let room = || (0..FIRST << shelf).map(|_| OnceLock::new()).collect();
        let _ = self.shelves[shelf].get_or_init(room)[place].set(contents);
        places.insert(contents, added);
        (contents, added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fill_one_shelf_after_the_other() {
        let place = |number: u32| Kept::<str> { number: number.try_into().unwrap(), of: PhantomData }.place();
        let places = [1, 64, 65, 192, 193, 1 << 31].map(place);
        assert_eq!(places, [(0, 0), (0, 63), (1, 0), (1, 127), (2, 0), (25, 63)]);
        assert_eq!(place(2 + (1 << 30)), (24, 65));
    }
}
