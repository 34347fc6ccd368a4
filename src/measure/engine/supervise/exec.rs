//! Becoming the server.

use std::ffi::OsString;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::log::{cannot_run, engine_start};
#[cfg(target_os = "linux")]
use super::watcher;
use crate::error::Error;

/// Becomes the server: asks the kernel to kill this process when the thread that started it dies, then
/// replaces the program. Never returns on success.
#[cfg(unix)]
pub fn exec_server(parent: i32, program: &OsString, args: &[OsString]) -> Error {
    use std::os::unix::process::CommandExt;

    #[cfg(target_os = "linux")]
    if let Err(source) = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL) {
        return engine_start("cannot ask for the parent-death signal").with_source(source);
    }
    // The parent may have died before the signal was asked for: then nobody will ever send it.
    if nix::unistd::getppid() != Pid::from_raw(parent) {
        return engine_start(format!("the watcher (process {parent}) is gone: the server is not started"));
    }
    #[cfg(target_os = "linux")]
    watcher::unblock_signals();
    let source = std::process::Command::new(program).args(args).exec();
    cannot_run(Path::new(program), source)
}
