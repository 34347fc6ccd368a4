//! Numbers of many trials in few blocks of memory: each by itself would take twice its room.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many numbers a block has room for; one that is made for more has room for these alone.
const ROOM: usize = 512;

/// Bits of numbers. Each is written once, before anybody is told where it stands; a block goes when nothing in it is
/// wanted any more.
pub(super) type Block = Arc<Vec<AtomicU64>>;

thread_local! {
    /// The block that a thread fills, and how many of its numbers are taken.
    static OPEN: RefCell<(Option<Block>, usize)> = const { RefCell::new((None, 0)) };
}

/// Keeps numbers next to each other: their block, and where they begin in it. No numbers need none.
pub(super) fn stored(numbers: &[f64]) -> (Option<Block>, u32) {
    if numbers.is_empty() {
        return (None, 0);
    }
    OPEN.with_borrow_mut(|(open, taken)| {
        let has_room = |block: &&mut Block| block.len() - *taken >= numbers.len();
        let block = match open.as_mut().filter(has_room) {
            Some(block) => block,
            None => {
                *taken = 0;
                open.insert(Arc::new((0..numbers.len().max(ROOM)).map(|_| AtomicU64::new(0)).collect()))
            }
        };
        for (place, number) in block[*taken..].iter().zip(numbers) {
            place.store(number.to_bits(), Ordering::Relaxed);
        }
        let at = *taken;
        *taken += numbers.len();
        (Some(Arc::clone(block)), at as u32)
    })
}

/// A number of a block.
#[inline]
pub(super) fn read(place: &AtomicU64) -> f64 {
    f64::from_bits(place.load(Ordering::Relaxed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_whatever_block_and_thread() {
        let rows: Vec<Vec<f64>> = (0..400).map(|row| (0..row % 7).map(f64::from).collect()).collect();
        let long: Vec<f64> = (0..3 * ROOM as u32).map(f64::from).collect();
        let rows: Vec<Vec<f64>> = rows.into_iter().chain([long, vec![-0.0]]).collect();
        let kept: Vec<_> = std::thread::scope(|scope| {
            scope.spawn(|| rows.iter().map(|row| stored(row)).collect()).join().unwrap()
        });
        for (row, (block, at)) in rows.iter().zip(&kept) {
            let places = block.iter().flat_map(|block| &block[*at as usize..][..row.len()]);
            assert_eq!(places.map(|place| read(place).to_bits()).collect::<Vec<_>>(), bits(row));
        }
        let blocks: Vec<_> = kept.iter().filter_map(|(block, _)| block.as_ref()).collect();
        assert!(blocks.windows(2).filter(|pair| !Arc::ptr_eq(pair[0], pair[1])).count() < 6);
    }

    fn bits(row: &[f64]) -> Vec<u64> {
        row.iter().map(|number| number.to_bits()).collect()
    }
}
