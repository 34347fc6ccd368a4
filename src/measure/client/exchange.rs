//! A request that was answered, why one was not, and how much of either is waited for.

use std::time::Duration;

use serde_json::Value;
use thiserror::Error;

use super::timeline;
use crate::record::{Measurement, Reply, Stage};

/// How long to wait and how much to take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From sending a request to the end of its reply.
    pub request_timeout: Duration,
    /// Longest silence within a reply, once its first bytes are there. Before them only
    /// `request_timeout` holds: a long prompt is silent while it is processed.
    pub idle_timeout: Duration,
    /// Largest reply (bytes).
    pub max_reply_bytes: usize,
    /// Longest line of an event stream (bytes).
    pub max_line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(60),
            max_reply_bytes: 64 << 20,
            max_line_bytes: 1 << 20,
        }
    }
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// What came back.
    pub reply: Reply,
    /// The client's figures; for distributions also the engine's.
    pub measurements: Vec<Measurement>,
    /// The last event that carries `usage` or `timings` (or the whole reply of a server that did not
    /// stream), for [`Engine::measurements`](crate::measure::engine::Engine::measurements). Null for distributions,
    /// where the last of many requests says nothing about the whole.
    pub last: Value,
    /// When what arrived, for figures over several turns; `None` where nothing was streamed.
    pub timeline: Option<timeline::Timeline>,
}

/// Why there is no exchange. The message is safe to show.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct Failure {
    /// Where it broke: [`Stage::Request`], [`Stage::Stream`] or [`Stage::Integrity`].
    pub stage: Stage,
    /// What happened, with the HTTP status and the server's own words where there are any.
    pub message: String,
    /// The engine cannot do what was asked, whatever the case: the trial does not apply to it.
    pub unsupported: bool,
}

impl Failure {
    pub(super) fn new(stage: Stage, message: impl Into<String>) -> Self {
        Self { stage, message: message.into(), unsupported: false }
    }

    /// Creates a failure that says what the engine cannot do.
    pub(crate) fn unsupported(message: impl Into<String>) -> Self {
        Self { unsupported: true, ..Self::request(message) }
    }

    pub(super) fn request(message: impl Into<String>) -> Self {
        Self::new(Stage::Request, message)
    }

    /// Whether the server refused this very request, and may well answer another: not a key, a path or a limit of
    /// requests is what it is about.
    pub(super) fn refuses_the_request(&self) -> bool {
        let statuses = ["HTTP 400", "HTTP 422", "HTTP 500"];
        self.stage == Stage::Request && statuses.iter().any(|status| self.message.starts_with(status))
    }

    /// Whether the server could not write this very reply, as a token of it is a piece of a character; others it can.
    pub(crate) fn cannot_be_written(&self) -> bool {
        // nlohmann's library of ik_llama.cpp; llama-server 10068 on a free token; both llama-servers (10068, 11549) under a grammar of tokens.
        const SAID: [&str; 3] = ["UTF-8", "does not match the expected", "Unexpected empty grammar stack"];
        let said = SAID.iter().any(|said| self.message.contains(said));
        self.stage == Stage::Request && self.message.contains("HTTP 500") && said
    }

    pub(super) fn stream(message: impl Into<String>) -> Self {
        Self::new(Stage::Stream, message)
    }

    pub(crate) fn integrity(message: impl Into<String>) -> Self {
        Self::new(Stage::Integrity, message)
    }
}
