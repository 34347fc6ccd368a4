//! `[notify]`: telling somebody how a run ended. Whatever comes of it, the run ends as it would have.

use std::io::Write;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::setup::runtime;
use crate::console;
use crate::error::{Error, Result, chain};
use crate::judge::analysis::summary::{GateStatus, Summary};
use crate::judge::report;
use crate::measure::client::post_once;
use crate::record::suite::{Notify, NotifyWhen};

/// How often an ended command is looked for.
const POLL: Duration = Duration::from_millis(20);

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
    let failed = |why: String| Error::runtime(format!("`{}` {why}", report::plain(program)));
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| failed(format!("cannot be started: {error}")))?;
    let text = lines.join("\n") + "\n";
    if let Some(mut input) = child.stdin.take() {
        // Who does not read has been told all the same.
        let _ = input.write_all(text.as_bytes());
    }
    wait(&mut child, Duration::from_secs_f64(notify.timeout_s)).map_err(failed)
}

fn wait(child: &mut Child, limit: Duration) -> Result<(), String> {
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("ended with {status}")),
            Ok(None) if began.elapsed() < limit => std::thread::sleep(POLL),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("did not end within {} s", limit.as_secs_f64()));
            }
            Err(error) => return Err(format!("cannot be waited for: {error}")),
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
