//! What an engine is launched with, and the command line to serve with afterwards.

use std::path::Path;

use super::card::EngineCard;
use crate::record::{Argv, Build};

/// What the runner found on this machine for an engine and a setting's model.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The server's binary.
    pub binary: &'a Path,
    /// Folder of its shared libraries when they do not lie where the loader looks.
    pub library_path: Option<&'a Path>,
    /// The weights.
    pub model: &'a Path,
    /// The weights of the draft model, when the setting names one.
    pub draft: Option<&'a Path>,
    /// Loopback port to listen on.
    pub port: u16,
    /// Requests that the server works on at the same time, each with the cell's whole context.
    pub slots: u16,
    /// Threads for computing; `None` leaves it to the server.
    pub threads: Option<u16>,
    /// Whether the machine has a GPU that the server may use.
    pub gpu: bool,
    /// Arguments for every server of the suite, as they are.
    pub extra_args: &'a [String],
    /// What the binary says that it can do.
    pub build: &'a Build,
    /// Where [`Engine::config`](super::Engine::config)'s text lies, for engines that have a configuration file.
    pub config: Option<&'a Path>,
}

/// The port in the commands that are printed to serve with.
pub const SERVING_PORT: u16 = 8080;

/// The command line to serve with, from one that was measured: [`SERVING_PORT`] instead of a free one, and without what
/// is there only to measure (see [`EngineCard::measuring_arguments`]). The first `own` arguments are kneepoint's; those
/// behind them are the user's and stay as they are.
#[must_use]
pub fn serving(card: &EngineCard, argv: &Argv, own: usize) -> Argv {
    let (own, users) = argv.args.split_at(own.min(argv.args.len()));
    let mut args: Vec<String> = Vec::new();
    let mut rest = own;
    while let Some((first, more)) = rest.split_first() {
        let measures = card.measuring_arguments.iter().find(|words| {
            rest.len() >= words.len() && rest.iter().zip(words.iter()).all(|(arg, word)| arg == word)
        });
        if let Some(words) = measures {
            rest = &rest[words.len()..];
            continue;
        }
        args.push(first.clone());
        rest = more;
        if first == "--port" && !rest.is_empty() {
            args.push(SERVING_PORT.to_string());
            rest = &rest[1..];
        }
    }
    args.extend(users.iter().cloned());
    Argv { program: argv.program.clone(), args, env: argv.env.clone() }
}

/// The environment variable with the folders that the loader searches first.
pub(crate) const LIBRARY_PATH: &str =
    if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
