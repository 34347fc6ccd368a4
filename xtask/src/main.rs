//! Chores of the repository: `cargo xtask gate` and `cargo xtask bless`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask gate     everything that must hold, as CI checks it (.ci/run)
cargo xtask bless    remakes what is generated: docs, schemas, snapshots, published reports";

/// A command line, and the environment variables that it is given.
struct Step<'a> {
    program: &'a str,
    args: Vec<&'a str>,
    env: &'a [(&'a str, &'a str)],
}

fn main() -> ExitCode {
    let chore = std::env::args().nth(1).unwrap_or_default();
    let done = match chore.as_str() {
        "gate" => run(&Step { program: ".ci/run", args: vec![], env: &[] }),
        "bless" => bless(),
        _ => Err(HELP.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Schemas first, which the binary carries, then published reports, docs (tables of those reports among them), and snapshots of what
/// is left.
fn bless() -> Result<(), String> {
    let update: &[(&str, &str)] = &[("KNEEPOINT_UPDATE_DOCS", "1")];
    run(&Step { program: "cargo", args: vec!["test", "--lib", "schemas_kept"], env: update })?;
    for folder in published()? {
        let folder = folder.to_string_lossy();
        let args = vec!["run", "--quiet", "--", "report", &folder, "--quiet"];
        run(&Step { program: "cargo", args, env: &[] })?;
    }
    run(&Step { program: "cargo", args: vec!["test", "--test", "it", "docs::"], env: update })?;
    let snapshots: &[(&str, &str)] = &[("INSTA_UPDATE", "always"), ("INSTA_FORCE_PASS", "1")];
    run(&Step { program: "cargo", args: vec!["test", "--lib"], env: snapshots })?;
    run(&Step {
        program: "cargo",
        args: vec!["test", "--test", "it", "report_from_journal::"],
        env: snapshots,
    })?;
    run(&Step { program: "cargo", args: vec!["test", "--test", "it", "cli::"], env: snapshots })?;
    println!("remade; read `git diff` before you commit it");
    Ok(())
}

fn published() -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(root().join("reports")).map_err(|error| format!("reports: {error}"))?;
    let mut folders: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    Ok(folders)
}

fn run(step: &Step<'_>) -> Result<(), String> {
    let shown = format!("{} {}", step.program, step.args.join(" "));
    println!("== {shown}");
    let status = Command::new(step.program)
        .args(&step.args)
        .envs(step.env.iter().copied())
        .current_dir(root())
        .status()
        .map_err(|error| format!("{shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown}: {status}")) }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
