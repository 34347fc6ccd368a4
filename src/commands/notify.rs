//! `[notify]`: telling somebody how a run ended. Whatever comes of it, the run ends as it would have.

use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::setup::runtime;
use crate::console;
use crate::error::{Error, Result, chain};
use crate::judge::analysis::summary::{GateStatus, Summary};
use crate::judge::report;
use crate::measure::client::post_once;
use crate::record::suite::{Notify, NotifyWhen};

/// Tells as the suite says. `problem`: what kept the run from being whole.
pub(super) fn tell(notify: Option<&Notify>, summary: &Summary, problem: Option<&str>) {
    let Some(notify) = notify else { return };
    let lines = lines(summary, problem);
    if notify.when == NotifyWhen::Problem && !is_bad(summary, problem) {
        return;
    }
    for told in [by_command(notify, &lines), by_webhook(notify, summary, &lines)] {
        if let Err(error) = told {
            console::note(&format!("nobody was told: {}", chain(&error)));
        }
    }
}

fn is_bad(summary: &Summary, problem: Option<&str>) -> bool {
    let failed = summary.gates.iter().any(|gate| gate.status == GateStatus::Failed);
    let worse = summary.night_before.as_ref().is_some_and(|before| !before.worse.is_empty());
    failed || worse || problem.is_some() || summary.done < summary.planned || !summary.failures.is_empty()
}

/// Five lines: what ran, what is to be done about it, what changed, what the gates say, what the verdict is.
fn lines(summary: &Summary, problem: Option<&str>) -> Vec<String> {
    let failed: Vec<String> = summary
        .gates
        .iter()
        .filter(|gate| gate.status == GateStatus::Failed)
        .map(|gate| format!("{} ({} at {})", gate.gate, gate.setting, gate.context))
        .collect();
    let gates = match (summary.gates.len(), failed.as_slice()) {
        (0, _) => "gates: none".to_owned(),
        (all, []) => format!("gates: {all} kept"),
        (all, failed) => format!("gates: {} of {all} failed: {}", failed.len(), failed.join("; ")),
    };
    let since = match &summary.night_before {
        Some(before) if !before.worse.is_empty() => {
            format!("worse since {}: {}", before.run, before.worse.join("; "))
        }
        Some(before) => format!("nothing worse since {}", before.run),
        None => "no run before to compare with".to_owned(),
    };
    let state = match problem {
        Some(problem) => format!("not whole: {problem}"),
        None => format!("{} of {} trials, {} broke", summary.done, summary.planned, summary.failures.len()),
    };
    let all = [
        format!("kneepoint: {} ({})", summary.suite, summary.run),
        state,
        gates,
        since,
        summary.verdict.clone(),
    ];
    all.iter().map(|line| report::plain(line)).collect()
}

fn by_command(notify: &Notify, lines: &[String]) -> Result<()> {
    let Some((program, arguments)) = notify.command.split_first() else { return Ok(()) };
    let text = lines.join("\n") + "\n";
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // In a group of its own, so that what it started ends with it.
    command.process_group(0).kill_on_drop(true);
    let told = runtime()?.block_on(run(command, &text, Duration::from_secs_f64(notify.timeout_s)));
    told.map_err(|why| Error::runtime(format!("`{}` {why}", report::plain(program))))
}

/// Runs a command with a text on its standard input, and ends it where it does not end by itself.
async fn run(mut command: Command, text: &str, limit: Duration) -> Result<(), String> {
    let mut child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    let group = child.id();
    let told = async {
        if let Some(mut input) = child.stdin.take() {
            // Who does not read has been told all the same.
            let _ = input.write_all(text.as_bytes()).await;
        }
        child.wait().await
    };
    match timeout(limit, told).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("ended with {status}")),
        Ok(Err(error)) => Err(format!("cannot be waited for: {error}")),
        Err(_) => {
            if let Some(group) = group.and_then(|pid| i32::try_from(pid).ok()) {
                // It may have ended in this moment.
                let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            let _ = child.wait().await;
            Err(format!("did not end within {} s and was killed", limit.as_secs_f64()))
        }
    }
}

/// JSON that chat services take as it is (`text`, `content`), with the lines and what programs ask for.
fn by_webhook(notify: &Notify, summary: &Summary, lines: &[String]) -> Result<()> {
    let Some(variable) = &notify.webhook_env else { return Ok(()) };
    let address = std::env::var(variable)
        .map_err(|_| Error::usage(format!("the environment variable {variable} is not set")))?;
    let text = lines.join("\n");
    let body = json!({
        "text": text, "content": text, "lines": lines, "suite": summary.suite, "run": summary.run,
        "started": summary.started, "done": summary.done, "planned": summary.planned,
        "gates_failed": summary.gates.iter().filter(|gate| gate.status == GateStatus::Failed).count(),
    });
    runtime()?.block_on(post_once(&address, &body, Duration::from_secs_f64(notify.timeout_s)))
}
