//! How fast this machine copies memory: decode on a processor reads every weight for every token, so this is what
//! bounds it.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long is measured, beside the time to get the memory.
const LENGTH: Duration = Duration::from_millis(250);
/// Copies at the least, whatever they take, and at the most.
const COPIES: std::ops::Range<usize> = 3..64;
/// Bytes copied by all processors together; more than most caches hold.
const TOGETHER: usize = 256 << 20;
/// Bytes copied by one processor.
const EACH: std::ops::RangeInclusive<usize> = (4 << 20)..=(64 << 20);

/// Bytes a second that all processors together move when they copy, read and written bytes both counted (as STREAM's
/// Copy does; <https://www.cs.virginia.edu/stream/ref.html>). The median of several copies; takes about 0.3 s.
/// On machines with caches of hundreds of megabytes part of it is the caches' speed.
pub fn copy_bytes_per_s() -> Option<f64> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let each = (TOGETHER / threads).clamp(*EACH.start(), *EACH.end());
    measure(threads, each, LENGTH)
}

fn measure(threads: usize, each: usize, length: Duration) -> Option<f64> {
    let gate = Barrier::new(threads);
    let over = AtomicBool::new(false);
    let mut times = std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(|| Copier::new(each).copy_until(&gate, &over, |_| false));
        }
        let mut first = Copier::new(each);
        let start = Instant::now();
        let enough =
            |copies| copies >= COPIES.end - 1 || (copies >= COPIES.start && start.elapsed() >= length);
        first.copy_until(&gate, &over, enough)
    });
    times.sort_by(f64::total_cmp);
    let median = *times.get(times.len() / 2)?;
    let moved = 2.0 * each as f64 * threads as f64;
    (median > 0.0).then(|| moved / median)
}

/// Two buffers of one thread, touched by it first so that they lie in its own memory.
struct Copier {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Copier {
    fn new(bytes: usize) -> Self {
        // Not zeros: the kernel gives those out without memory behind them.
        Self { from: vec![1; bytes], to: vec![2; bytes] }
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
    fn memory_is_copied_at_a_believable_speed() {
        for threads in [1, 3] {
            let speed = measure(threads, 4 << 20, Duration::from_millis(20)).unwrap();
            assert!((1e7..1e14).contains(&speed), "{speed} bytes/s by {threads} threads");
        }
    }
}
