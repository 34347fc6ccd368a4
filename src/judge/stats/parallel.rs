//! Work over the machine's threads whose result does not depend on how many there are.

/// Less work than this (in steps of about a nanosecond) is done on the caller's thread.
const WORTH_A_THREAD: usize = 2_000_000;

/// Threads for so much work: one for little, else as many as the machine has.
pub(crate) fn threads_for(steps: usize) -> usize {
    if steps < WORTH_A_THREAD { 1 } else { std::thread::available_parallelism().map_or(1, usize::from) }
}

/// Fills rows of `width` places, each by its number alone; every thread has a state of its own, which must
/// not carry anything from row to row but memory to work in.
pub(crate) fn fill_rows<T: Send, S>(
    places: &mut [T],
    width: usize,
    threads: usize,
    state: impl Fn() -> S + Sync,
    fill: impl Fn(&mut S, usize, &mut [T]) + Sync,
) {
    if width == 0 || places.is_empty() {
        return;
    }
    let rows = places.len() / width;
    let share = rows.div_ceil(threads.max(1)).max(1);
    let work = |first: usize, part: &mut [T]| {
        let mut state = state();
        for (offset, row) in part.chunks_mut(width).enumerate() {
            fill(&mut state, first + offset, row);
        }
    };
    if share >= rows {
        return work(0, places);
    }
    std::thread::scope(|scope| {
        let mut parts = places.chunks_mut(share * width).enumerate();
        // The first share is the caller's: what its thread has freed is of use to no other.
        let own = parts.next();
        for (number, part) in parts {
            let work = &work;
            scope.spawn(move || work(number * share, part));
        }
        if let Some((_, part)) = own {
            work(0, part);
        }
    });
}

/// What `of` makes of each case, in their order, over the machine's threads.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], of: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut results: Vec<Option<R>> = items.iter().map(|_| None).collect();
    fill_rows(
        &mut results,
        1,
        threads.min(items.len()),
        || (),
        |(), number, place| {
            place[0] = Some(of(&items[number]));
        },
    );
    results.into_iter().flatten().collect()
}

/// Two pieces of work at the same time.
pub(crate) fn beside<A, B: Send>(one: impl FnOnce() -> A, other: impl FnOnce() -> B + Send) -> (A, B) {
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        let one = one();
        // What made the other panic is for whoever called this.
        (one, other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_pieces_of_work_end_together() {
        assert_eq!(beside(|| 1, || "two"), (1, "two"));
        assert!(std::panic::catch_unwind(|| beside(|| 1, || panic!("other"))).is_err());
    }

    #[test]
    fn what_is_made_of_items_keeps_their_order() {
        let items: Vec<usize> = (0..23).collect();
        assert_eq!(map(&items, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
        assert!(map(&[] as &[usize], |item| *item).is_empty());
    }

    #[test]
    fn rows_are_the_same_on_any_number_of_threads() {
        let filled = |threads: usize| {
            let mut places = vec![0_usize; 7 * 3];
            fill_rows(
                &mut places,
                3,
                threads,
                || (),
                |(), row, places| {
                    places.iter_mut().enumerate().for_each(|(at, place)| *place = row * 10 + at);
                },
            );
            places
        };
        assert_eq!(filled(1)[18..], [60, 61, 62]);
        for threads in [2, 3, 7, 50] {
            assert_eq!(filled(threads), filled(1), "{threads} threads");
        }
        fill_rows(&mut [] as &mut [u8], 0, 2, || (), |(), _, _| {});
    }
}
