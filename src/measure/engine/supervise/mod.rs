//! Starts a server, waits until it is ready, and makes sure that it ends with us.
//!
//! Between kneepoint and a server stands a watcher: kneepoint itself, started with `__watch-server`. It ends every
//! process of the server on every exit path: when it is asked to by [`Server::stop`], and when the pipe to it closes,
//! be it by `Drop` on errors and panics or because kneepoint was killed. Should the watcher be killed, the kernel's
//! parent-death signal ends the server and kneepoint what the server left behind. That signal is set without `unsafe`
//! by a detour: the watcher starts `__exec-server`, which asks for the signal and then becomes the server (see
//! [`exec_server`]).

mod ask;
mod exec;
mod log;
mod server;
#[cfg(target_os = "linux")]
mod watcher;

pub use crate::measure::processes::{EXEC_SERVER, WATCH_SERVER};
pub use ask::ask;
#[cfg(unix)]
pub use exec::exec_server;
pub use log::{log_tail, port_was_taken};
pub use server::{Broken, Launcher, PORTS, Server, free_port};
#[cfg(target_os = "linux")]
pub use watcher::watch_server;
