//! Wall-clock time as text. Durations are measured with `Instant`, never with this.

use chrono::{SecondsFormat, Utc};

/// Now, UTC, RFC 3339 with milliseconds.
pub fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Now, UTC, as the start of a folder name: `20260731T235959Z`.
pub fn folder_stamp() -> String {
    Utc::now().format("%Y%m%dT%H%M%SZ").to_string()
}
