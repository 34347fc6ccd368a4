//! How fast this machine copies memory: decode on a processor reads every weight for every token, so this is what
//! bounds it.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long is measured, beside the time to get the memory.
const LENGTH: Duration = Duration::from_millis(60);
/// Copies at the least, whatever they take, and at the most.
const COPIES: std::ops::Range<usize> = 3..64;
/// Bytes copied by all processors together: twice what the last cache holds, within these bounds.
const TOGETHER: std::ops::RangeInclusive<usize> = (32 << 20)..=(256 << 20);
/// Bytes copied by one processor.
const EACH: std::ops::RangeInclusive<usize> = (4 << 20)..=(64 << 20);

/// Bytes a second that all processors together move when they copy, read and written bytes both counted (as STREAM's
/// Copy does; <https://www.cs.virginia.edu/stream/ref.html>). The median of several copies; takes about 0.1 s.
/// On machines with caches of hundreds of megabytes part of it is the caches' speed. `None` where the memory or the
/// threads for it are not granted (`ulimit -v`, a container's limits).
pub fn copy_bytes_per_s() -> Option<f64> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let together = last_cache_bytes().map_or(*TOGETHER.end(), |bytes| bytes.saturating_mul(2));
    let together = together.clamp(*TOGETHER.start(), *TOGETHER.end());
    let each = (together / threads).clamp(*EACH.start(), *EACH.end());
    measure(threads, each, LENGTH)
}

/// Size of the last cache of the first processor (bytes), as Linux tells it (`266240K`).
fn last_cache_bytes() -> Option<usize> {
    let size = |index: u32| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        cache_bytes(&std::fs::read_to_string(path).ok()?)
    };
    (0..8).filter_map(size).max()
}

fn cache_bytes(text: &str) -> Option<usize> {
    let text = text.trim();
    let (number, unit) = match text.strip_suffix('K') {
        Some(number) => (number, 1 << 10),
        None => (text.strip_suffix('M')?, 1 << 20),
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

fn measure(threads: usize, each: usize, length: Duration) -> Option<f64> {
    // All of it first: an allocation that fails by itself ends the process, and a thread that is not granted must not
    // leave the others waiting for it.
    let mut copiers = (0..threads).map(|_| Copier::new(each)).collect::<Option<Vec<Copier>>>()?;
    let mut first = copiers.pop()?;
    let gate = Barrier::new(threads);
    let over = AtomicBool::new(false);
    let mut times = std::thread::scope(|scope| {
        let mut starts = Vec::new();
        for mut copier in copiers {
            let (start, wait) = channel();
            let (gate, over) = (&gate, &over);
            let copy = move || {
                if wait.recv().is_ok() {
                    copier.touch();
                    copier.copy_until(gate, over, |_| false);
                }
            };
            std::thread::Builder::new().spawn_scoped(scope, copy).ok()?;
            starts.push(start);
        }
        // Who hears nothing, because a later thread was not granted, ends.
        for start in &starts {
            start.send(()).ok()?;
        }
        first.touch();
        let start = Instant::now();
        let enough =
            |copies| copies >= COPIES.end - 1 || (copies >= COPIES.start && start.elapsed() >= length);
        Some(first.copy_until(&gate, &over, enough))
    })?;
    times.sort_by(f64::total_cmp);
    let median = *times.get(times.len() / 2)?;
    let moved = 2.0 * each as f64 * threads as f64;
    (median > 0.0).then(|| moved / median)
}

/// Two buffers of one thread.
struct Copier {
    bytes: usize,
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Copier {
    /// Sets the memory aside; `None` when it is not granted.
    fn new(bytes: usize) -> Option<Self> {
        let reserved = || {
            let mut buffer = Vec::new();
            buffer.try_reserve_exact(bytes).ok().map(|()| buffer)
        };
        Some(Self { bytes, from: reserved()?, to: reserved()? })
    }

    /// Fills the buffers in the thread that copies, so that they lie in its own memory.
    fn touch(&mut self) {
        // Not zeros: the kernel gives those out without memory behind them.
        self.from.resize(self.bytes, 1);
        self.to.resize(self.bytes, 2);
    }

    /// Copies in step with the other threads until the first of them says that it is enough; how long each copy
    /// took (s), until the last thread was done.
    fn copy_until(&mut self, gate: &Barrier, over: &AtomicBool, enough: impl Fn(usize) -> bool) -> Vec<f64> {
        let mut times = Vec::new();
        loop {
            gate.wait();
            if over.load(Ordering::SeqCst) {
                return times;
            }
            let start = Instant::now();
            self.to.copy_from_slice(black_box(&self.from));
            black_box(&mut self.to);
            gate.wait();
            times.push(start.elapsed().as_secs_f64());
            if enough(times.len()) {
                over.store(true, Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_not_granted_is_no_figure_and_no_end() {
        assert_eq!(measure(2, usize::MAX / 2, Duration::ZERO), None);
        assert_eq!(measure(1, usize::MAX, Duration::ZERO), None);
    }

    #[test]
    fn sizes_of_caches_are_read() {
        assert_eq!(cache_bytes("266240K\n"), Some(260 << 20));
        assert_eq!(cache_bytes("32M"), Some(32 << 20));
        for odd in ["", "K", "32", "-1K", "99999999999999999999K"] {
            assert_eq!(cache_bytes(odd), None, "{odd}");
        }
    }

    #[test]
    fn memory_is_copied_at_a_believable_speed() {
        for threads in [1, 3] {
            let speed = measure(threads, 4 << 20, Duration::from_millis(20)).unwrap();
            assert!((1e7..1e14).contains(&speed), "{speed} bytes/s by {threads} threads");
        }
    }
}
