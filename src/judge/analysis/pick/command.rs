//! The commands that start the picked setting's server: to serve with, and as it was measured.

use super::levels::Basis;
use crate::judge::serving::{self, Serving};
use crate::record::Argv;
use crate::record::journal::{Journal, LaunchRecord};
use crate::record::suite::Setting;

/// Makes of a command line as it was measured the one to serve with, by the engine's name; the first `own` arguments are
/// kneepoint's, those behind them the user's.
pub type ToServe<'a> = &'a dyn Fn(&str, &Argv, usize) -> Argv;

/// Flags of the engines' servers that take the context length.
const CONTEXT_FLAGS: &[&str] = &["-c", "--ctx-size", "--max-model-len", "--context-length"];

/// What serves a setting, and the command line that was measured.
pub(super) struct Commands {
    pub(super) serving: Serving,
    pub(super) measured: String,
}

/// The command lines of a launch that came up, to serve with and as measured; at another context length with that put in
/// its place.
pub(super) fn of(
    journal: &Journal,
    setting: &Setting,
    basis: &Basis,
    context: u32,
    to_serve: ToServe<'_>,
    notes: &mut Vec<String>,
) -> Option<Commands> {
    let contexts = basis.contexts();
    let of_setting = |launch: &&LaunchRecord| {
        launch.setting == setting.label && contexts.contains(&launch.context) && launch.failure.is_none()
    };
    let launch = journal.launches.iter().find(of_setting)?;
    if launch.attached.is_some() {
        notes.push("no command: the server was running already".into());
        return None;
    }
    let mut argv = launch.argv.clone();
    if launch.context != context {
        match with_context(&argv, launch.context, context) {
            Some(longer) => argv = longer,
            None => notes.push(format!(
                "the command is that of {} tokens: set the context length by hand",
                launch.context
            )),
        }
    }
    let suite = &journal.header.suite;
    let users = suite.engine.args.len() + setting.extra_args.len();
    let own = argv.args.len().saturating_sub(users);
    let serve = to_serve(&suite.engine.name, &argv, own);
    let serving = Serving::of(&journal.header, launch, setting, context, serve, users);
    notes.extend(serving::about_files(&serving));
    Some(Commands { serving, measured: argv.shell() })
}

/// The same command with another context length; `None` when it does not name the old one.
fn with_context(argv: &Argv, from: u32, to: u32) -> Option<Argv> {
    let mut argv = argv.clone();
    let flag = argv
        .args
        .windows(2)
        .position(|pair| CONTEXT_FLAGS.contains(&pair[0].as_str()) && pair[1] == from.to_string())?;
    argv.args[flag + 1] = to.to_string();
    Some(argv)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_context_is_changed() {
        let args = ["-m", "m.gguf", "-n", "512", "-c", "512", "-np", "1"].map(str::to_owned).to_vec();
        let argv = Argv { program: "llama-server".into(), args, env: Vec::new() };
        let longer = with_context(&argv, 512, 4096).unwrap();
        assert_eq!(longer.shell(), "llama-server -m m.gguf -n 512 -c 4096 -np 1");
        assert_eq!(with_context(&argv, 1024, 4096), None);
    }
}
