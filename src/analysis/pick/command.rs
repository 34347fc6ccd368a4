//! The command that starts the picked setting's server.

use super::levels::Basis;
use crate::engine::Argv;
use crate::journal::{Journal, LaunchRecord};

/// Flags of the engines' servers that take the context length.
const CONTEXT_FLAGS: &[&str] = &["-c", "--ctx-size", "--max-model-len", "--context-length"];

/// The command line of a launch that came up; at another context length with that put in its place.
pub(super) fn of(
    journal: &Journal,
    setting: &str,
    basis: &Basis,
    context: u32,
    notes: &mut Vec<String>,
) -> Option<String> {
    let contexts = basis.contexts();
    let of_setting = |launch: &&LaunchRecord| {
        launch.setting == setting && contexts.contains(&launch.context) && launch.failure.is_none()
    };
    let launch = journal.launches.iter().find(of_setting)?;
    if launch.attached.is_some() {
        notes.push("no command: the server was running already".into());
        return None;
    }
    if launch.context == context {
        return Some(launch.argv.shell());
    }
    match with_context(&launch.argv, launch.context, context) {
        Some(argv) => Some(argv.shell()),
        None => {
            notes.push(format!(
                "the command is that of {} tokens: set the context length by hand",
                launch.context
            ));
            Some(launch.argv.shell())
        }
    }
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
