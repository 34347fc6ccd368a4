//! Where a figure begins to be doubtful.

/// Client and engine may differ in the decode rate by this share.
pub(crate) const DECODE_TOLERANCE: f64 = 0.05;

/// Replies shorter than this have no decode rate worth comparing (tokens).
pub(crate) const MIN_DECODED: f64 = 16.0;

/// Above this share of stolen CPU time a trial's speed is doubtful.
pub(crate) const STEAL_LIMIT: f64 = 0.05;

/// Above this share of CPU time used by others a trial's speed is doubtful.
pub(crate) const OTHER_CPU_LIMIT: f64 = 0.20;

/// Above this share of memory that others map too, the proportional set size says too little of a server.
pub(super) const SHARED_LIMIT: f64 = 0.20;

/// Above this mean probability outside the lists a KLD may lie far below the true one (see docs/suites.md).
pub(super) const UNLISTED_LIMIT: f64 = 0.10;

/// Fewer visits than this do not show drift.
pub(super) const MIN_VISITS: u32 = 3;
