//! `completions`, `man` and the command-line reference: all made from the clap structs.

use clap_complete::generate;

use super::{command, print};
use crate::cli::CompletionsArgs;
use crate::error::{Context, Result};

pub(super) fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    generate(args.shell, &mut command(), "kneepoint", &mut script);
    print(&String::from_utf8_lossy(&script))
}

pub(super) fn man() -> Result<u8> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command()).render(&mut page).context(|| "cannot make the manual page".into())?;
    print(&String::from_utf8_lossy(&page))
}

/// `docs/cli.md`: the help of every command. A test fails when the file drifts from this.
pub fn reference() -> String {
    let mut root = command().term_width(100);
    root.build();
    let mut text = String::from(
        "# Command line\n\n<!-- made by `kneepoint __reference`; a test fails when this file drifts from it -->\n\n\
         stdout is data, stderr is progress and logs. `--json` everywhere data is printed.\n\n",
    );
    text.push_str(&exit_codes());
    section(&mut text, &mut root, "kneepoint");
    for sub in root.get_subcommands_mut().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        let name = format!("kneepoint {}", sub.get_name());
        section(&mut text, sub, &name);
    }
    text
}

fn section(text: &mut String, command: &mut clap::Command, name: &str) {
    let help = command.render_long_help().to_string();
    let help: String = help.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    text.push_str(&format!("## {name}\n\n```text\n{}\n```\n\n", help.trim_end()));
}

fn exit_codes() -> String {
    use crate::error as e;
    let rows = [
        (e::EXIT_OK, "everything went well"),
        (e::EXIT_RUNTIME, "something failed while running"),
        (e::EXIT_USAGE, "the command line or the suite is wrong; nothing was started"),
        (e::EXIT_NOTHING_SELECTED, "a filter selected nothing"),
        (e::EXIT_GATE_FAILED, "a gate or a regression check failed"),
        (e::EXIT_ENGINE_START, "an inference server could not be started"),
        (e::EXIT_INCOMPLETE, "some planned trials have no outcome"),
        (e::EXIT_INTERRUPTED, "stopped by Ctrl-C or SIGTERM"),
    ];
    let mut text = String::from("| exit code | meaning |\n|---|---|\n");
    for (code, meaning) in rows {
        text.push_str(&format!("| {code} | {meaning} |\n"));
    }
    text.push('\n');
    text
}
