//! Many streams at once, read by one thread.
//!
//! A thread that waits is woken for the first piece that comes, and to be woken costs as much as to read a piece. So while many
//! streams are open it rests for a moment before it waits, and what came in the meantime is read together. Stamps are late by
//! that moment at most, a fortieth of the time between two pieces of a stream that writes 100 tokens/s.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Streams from which on it is worth it: fewer cost next to nothing.
const MANY: usize = 64;
/// How long the thread rests; Linux adds up to 0.05 ms.
const REST: Duration = Duration::from_micros(250);

static OPEN: AtomicUsize = AtomicUsize::new(0);

/// A stream that is open as long as this is held.
#[derive(Debug)]
pub(super) struct OpenStream(());

impl OpenStream {
    pub(super) fn new() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Rests where many streams are open: what a runtime does before its thread waits.
pub fn gather() {
    if OPEN.load(Ordering::Relaxed) >= MANY {
        std::thread::sleep(REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_counted_while_they_are_open() {
        // Other tests have streams of their own, never so many.
        let open: Vec<OpenStream> = (0..MANY).map(|_| OpenStream::new()).collect();
        assert!(OPEN.load(Ordering::Relaxed) >= MANY);
        gather();
        drop(open);
        assert!(OPEN.load(Ordering::Relaxed) < MANY);
    }
}
