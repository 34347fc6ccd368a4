//! A panic is a bug of kneepoint itself. It is said so, and has an exit code of its own, so that no script takes it for
//! one of the outcomes that are documented (Rust's own 101 would be "no server").

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook};

use crate::console;
use crate::error::EXIT_BUG;

/// Runs a whole command: its exit code, or [`EXIT_BUG`] when it panics. What it holds is dropped first, so that its
/// servers end.
pub fn guard(command: impl FnOnce() -> u8) -> u8 {
    set_hook(Box::new(|info| {
        console::note(&said(info));
    }));
    catch_unwind(AssertUnwindSafe(command)).unwrap_or(EXIT_BUG)
}

/// What happened, and what to do.
fn said(info: &PanicHookInfo<'_>) -> String {
    let what = info.payload_as_str().unwrap_or("a panic without words");
    let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    let version = env!("CARGO_PKG_VERSION");
    let build = option_env!("KNEEPOINT_GIT_HASH").map_or_else(String::new, |hash| format!(" ({hash})"));
    let backtrace = Backtrace::capture();
    let trace = match backtrace.status() {
        BacktraceStatus::Captured => format!("\n{backtrace}"),
        _ => String::new(),
    };
    format!(
        "error: this is a bug in kneepoint {version}{build}: {what}\n  at {place}\n{trace}\n\
         hint: please report it with this text and the command (RUST_BACKTRACE=1 shows more)\n\
         hint: nothing is lost: every trial that ended is in the run's journal, and `kneepoint resume` goes on"
    )
}
