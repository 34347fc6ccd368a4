//! Wall-clock time as text, and the monotonic clock of a session. Durations are measured with `Instant`, never with
//! wall-clock time: that is set, by hand and by the network, while a run goes on.

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::time::Instant;

use chrono::{SecondsFormat, Utc};
#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A moment by the monotonic clock, which nobody sets. It stands still while the machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Tick {
    /// Which session at the run, from 0: `run` is the first, every `resume` another.
    #[serde(rename = "sitting", with = "from_zero")]
    #[cfg_attr(test, schemars(with = "u32"))]
    session: NonZeroU32,
    /// Time since the session began (s).
    pub at_s: f64,
}

impl Tick {
    /// A moment of a session (from 0, and not the last number that there is), so long after it began (s).
    pub const fn new(session: u32, at_s: f64) -> Self {
        Self { session: counted(session), at_s }
    }

    /// Which session at the run, from 0.
    pub const fn session(self) -> u32 {
        self.session.get() - 1
    }
}

/// Counted from 1, so that a trial without a tick takes no more room than one with.
const fn counted(session: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(session)
}

mod from_zero {
    use std::num::NonZeroU32;

    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
    pub(super) fn serialize<S: Serializer>(session: &NonZeroU32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(session.get() - 1)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<NonZeroU32, D::Error> {
        u32::deserialize(deserializer).map(super::counted)
    }
}

/// The session of this process: its number in the run, and when it began.
static SESSION: OnceLock<(u32, Instant)> = OnceLock::new();

/// Now, UTC, RFC 3339 with milliseconds.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Now, UTC, as the start of a folder name: `20260731T235959Z`.
pub fn folder_stamp() -> String {
    Utc::now().format("%Y%m%dT%H%M%SZ").to_string()
}

/// This process goes on with a run: from now on [`moment`] tells the session too. The first call counts.
pub fn begin_session(number: u32) {
    SESSION.get_or_init(|| (number, Instant::now()));
}

/// A moment by both clocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Moment {
    /// Wall clock: UTC, RFC 3339.
    pub wall: String,
    /// Monotonic clock; `None` outside of a session.
    pub tick: Option<Tick>,
}

/// Now, by both clocks.
pub fn moment() -> Moment {
    let tick = SESSION.get().map(|(session, began)| {
        // Microseconds: more digits would only lengthen the journal.
        let at_s = (began.elapsed().as_secs_f64() * 1e6).round() / 1e6;
        Tick::new(*session, at_s)
    });
    Moment { wall: now(), tick }
}
