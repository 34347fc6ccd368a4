//! `completions`, `man` and the command-line reference: all made from the clap structs.

use clap::CommandFactory as _;
use clap_complete::generate;

use super::output::print;
use crate::cli::{Cli, CompletionsArgs, ManArgs};
use crate::error::{Context, EXIT_OK, Error, Result, nearest};
use crate::files;
use crate::measure::engine::option::{Only, Place};
use crate::measure::engine::{Capability, ENGINES, Engine, ServerOption};

pub(super) fn completions(args: &CompletionsArgs) -> Result<u8> {
    let mut script = Vec::new();
    generate(args.shell, &mut command(), "kneepoint", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// The page of a command, or files with the pages of all.
pub(super) fn man(args: &ManArgs) -> Result<u8> {
    // Built, every command knows its whole name, by which the pages refer to each other.
    let mut root = command().disable_help_subcommand(true);
    root.build();
    if let Some(folder) = &args.out {
        std::fs::create_dir_all(folder).context(|| format!("cannot create {}", folder.display()))?;
        for path in files::write_all(folder, &pages(&root)?)? {
            print(&format!("{}\n", path.display()))?;
        }
        return Ok(EXIT_OK);
    }
    let page = page(named(&root, &args.command)?)?;
    print(&String::from_utf8_lossy(&page))
}

/// The command that is meant: `run`, `history trend`, `kneepoint-history-trend` or `kneepoint-run(1)`.
fn named<'a>(root: &'a clap::Command, words: &[String]) -> Result<&'a clap::Command> {
    let joined = words.join("-");
    let wanted = joined.strip_suffix("(1)").unwrap_or(&joined);
    let wanted = wanted.strip_prefix("kneepoint").map_or(wanted, |rest| rest.trim_start_matches('-'));
    let mut names = Vec::new();
    for command in visible(root) {
        let name = page_name(command).trim_start_matches("kneepoint").trim_start_matches('-');
        if name == wanted {
            return Ok(command);
        }
        names.push(name);
    }
    let error = Error::usage(format!("there is no command `{}`", words.join(" ")));
    Err(match nearest(wanted, names.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `kneepoint man {near}`?")),
        None => error.hint("`kneepoint --help` lists the commands"),
    })
}

/// A command and all below it that pages refer to.
fn visible(command: &clap::Command) -> Vec<&clap::Command> {
    let below = command.get_subcommands().filter(|sub| !sub.is_hide_set()).flat_map(visible);
    std::iter::once(command).chain(below).collect()
}

/// `kneepoint-history-trend`.
fn page_name(command: &clap::Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

fn page(command: &clap::Command) -> Result<Vec<u8>> {
    let mut page = Vec::new();
    let man = clap_mangen::Man::new(command.clone());
    man.render(&mut page).context(|| "cannot make the manual page".into())?;
    Ok(page)
}

fn pages(root: &clap::Command) -> Result<Vec<(String, Vec<u8>)>> {
    visible(root)
        .into_iter()
        .map(|command| Ok((format!("{}.1", page_name(command)), page(command)?)))
        .collect()
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

/// Every exit code and its meaning.
const EXIT_CODES: [(u8, &str); 10] = {
    use crate::error as e;
    [
        (e::EXIT_OK, "everything went well"),
        (e::EXIT_RUNTIME, "something failed while running"),
        (e::EXIT_USAGE, "the command line or the suite is wrong; nothing was started"),
        (e::EXIT_NOTHING_SELECTED, "a filter selected nothing, or nothing fits (`fit`)"),
        (e::EXIT_BUG, "a bug in kneepoint itself: please report it; what was measured is kept"),
        (
            e::EXIT_GATE_FAILED,
            "a gate or a regression check failed, or a server does not hold a schema (`schema-check`)",
        ),
        (e::EXIT_ENGINE_START, "an inference server could not be started"),
        (
            e::EXIT_INCOMPLETE,
            "some planned trials have no outcome, or gates of an unfinished run are undecided",
        ),
        (e::EXIT_INTERRUPTED, "stopped by Ctrl-C, SIGTERM or SIGHUP"),
        (e::EXIT_READER_GONE, "nobody reads stdout any more (a closed pipe), and more lines would follow"),
    ]
};

fn exit_codes() -> String {
    let mut text = String::from("| exit code | meaning |\n|---|---|\n");
    for (code, meaning) in EXIT_CODES {
        text.push_str(&format!("| {code} | {meaning} |\n"));
    }
    text.push('\n');
    text
}

/// `docs/engines.md`: what every engine can do and which options it has. A test fails when the file drifts from this.
pub fn engines() -> String {
    let mut text = String::from(
        "# Engines\n\n<!-- made by `kneepoint __reference --engines`; a test fails when this file drifts from it -->\n\n\
         What each engine can do for kneepoint. A task that needs what is missing is unscored, with the reason; it does not\n\
         fail. Engines are added as [adding.md](adding.md) says.\n\n",
    );
    text.push_str(&capabilities());
    for engine in ENGINES {
        text.push_str(&of_engine(*engine));
    }
    text
}

fn capabilities() -> String {
    let names: Vec<String> = ENGINES.iter().map(|engine| heading(*engine)).collect();
    let mut text =
        format!("| | {} | without it |\n|---|{}---|\n", names.join(" | "), "---|".repeat(names.len()));
    for capability in Capability::ALL {
        let cells: Vec<String> = ENGINES.iter().map(|engine| engine.supports(capability).words()).collect();
        text.push_str(&format!(
            "| {} | {} | {} |\n",
            capability.name(),
            cells.join(" | "),
            capability.without()
        ));
    }
    text
}

/// The engine's name in the head of the table.
fn heading(engine: &dyn Engine) -> String {
    let remark = if engine.card().experimental { " (experimental: never run here)" } else { "" };
    format!("{}{remark}", engine.name())
}

fn of_engine(engine: &dyn Engine) -> String {
    let code = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let drafting: Vec<&str> = engine
        .card()
        .speculation_types
        .iter()
        .copied()
        .filter(|kind| engine.card().takes_draft(kind))
        .collect();
    let mut text = format!("\n## {}\n\n{}.\n\n", engine.name(), engine.card().described());
    text.push_str(&format!(
        "- Cache types: {} (default `{}`)\n",
        code(engine.card().cache_types),
        engine.card().default_cache_type
    ));
    text.push_str(&format!("- Speculation: {}\n", code(engine.card().speculation_types)));
    if !drafting.is_empty() {
        text.push_str(&format!("- With a draft model (`draft`): {}\n", code(&drafting)));
    }
    if let Some(words) = engine.card().flag_style.words() {
        text.push_str(&format!("- Flags of one's own (`args`, `extra_args`): {words}\n"));
    }
    if !engine.card().options.is_empty() {
        text.push_str("\n| option | takes | on the command line | what it does |\n|---|---|---|---|\n");
        engine.card().options.iter().for_each(|option| text.push_str(&option_row(option)));
    }
    text
}

fn option_row(option: &ServerOption) -> String {
    let flags =
        |flags: &[&str]| flags.iter().map(|flag| format!("`{flag}`")).collect::<Vec<_>>().join(" or ");
    let place = match option.place {
        Place::Flag(names) => flags(names),
        Place::Switch { on: [], off } => format!("false: {}", flags(off)),
        Place::Switch { on, off: [] } => format!("true: {}", flags(on)),
        Place::Switch { on, off } => format!("true: {}, false: {}", flags(on), flags(off)),
        Place::Speculation(key) => format!("`{key}` of the speculation"),
        Place::Env(name) => format!("environment `{name}`"),
        Place::Config { section, key } => format!("`{section}.{key}` of the configuration file"),
    };
    let only = match option.only {
        Only::Always => String::new(),
        Only::Speculating => " (when speculating)".to_owned(),
        Only::Types(types) => format!(" ({})", types.join(", ")),
        Only::Draft => " (with a draft model)".to_owned(),
    };
    format!("| `{}` | {} | {place} | {}{only} |\n", option.name, option.kind.describe(), option.summary)
}

/// The clap command, for what is made from it.
fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::EXIT_CODES;
    use crate::error::{EXIT_BUG, EXIT_ENGINE_START};

    #[test]
    fn no_two_outcomes_share_an_exit_code() {
        let mut codes: Vec<u8> = EXIT_CODES.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), EXIT_CODES.len());
        assert!(codes.contains(&EXIT_BUG) && codes.contains(&EXIT_ENGINE_START));
    }
}
