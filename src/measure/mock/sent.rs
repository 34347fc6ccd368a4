//! When requests came in and when the pieces of their replies really left: what a client measures less that is its own error.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use tokio::time::Instant;

use crate::error::{Context, Result};

/// A file of JSON lines, one a streamed reply.
#[derive(Debug, Clone)]
pub(super) struct SentLog(Arc<Mutex<File>>);

impl SentLog {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = File::create(path);
        let file =
            file.context(|| format!("cannot write `{}`", crate::console::shown(&path.to_string_lossy())))?;
        Ok(Self(Arc::new(Mutex::new(file))))
    }

    fn add(&self, entry: &Entry) {
        let line = serde_json::to_string(entry).unwrap_or_default() + "\n";
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
        if let Err(error) = written {
            tracing::warn!(%error, "mock server cannot write its log");
        }
    }
}

/// One reply.
#[derive(Debug, Serialize)]
struct Entry {
    /// Number of the request, from 1.
    request: u64,
    /// Tokens of its prompt.
    prompt_tokens: u64,
    /// When it was there as a whole and its timetable began (s since the epoch).
    received_s: f64,
    /// When each piece left, since then (us).
    left_us: Vec<u64>,
}

/// Follows one reply, and writes down what it saw when it is dropped.
#[derive(Debug)]
pub(super) struct Sent {
    log: Option<SentLog>,
    start: Instant,
    entry: Entry,
}

impl Sent {
    /// Of a request that has just come in.
    pub(super) fn of(log: Option<SentLog>, request: u64, prompt_tokens: u64, start: Instant) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let received = now.saturating_sub(start.elapsed()).as_secs_f64();
        let received_s = (received * 1e6).round() / 1e6;
        Self { log, start, entry: Entry { request, prompt_tokens, received_s, left_us: Vec::new() } }
    }

    /// A piece leaves.
    pub(super) fn piece(&mut self) {
        if self.log.is_some() {
            self.entry.left_us.push(self.start.elapsed().as_micros() as u64);
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let Some(log) = &self.log {
            log.add(&self.entry);
        }
    }
}
