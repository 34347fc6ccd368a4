//! What many streams cost the client, and how far its percentiles are from the truth: kneepoint's own load phase
//! against a mock server whose timetable is known.
//!
//! kneepoint runs as a process of its own, whose CPU time and memory are read from /proc while the step goes on; the
//! mock is another process. The mock's lateness counts against the client.
//!
//!     cargo bench --bench load                 # 1, 16, 64 and 256 streams of 100 tokens/s
//!     cargo bench --bench load -- 8 32         # others

#![allow(clippy::print_stdout, reason = "its results")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kneepoint::error::{Context, Error, Result};
use kneepoint::quantile::nearest_rank;
use kneepoint::record::journal::loadtest::{LoadtestRequest, LoadtestStep};

/// Every token takes so long: 100 tokens/s.
const DECODE_MS: f64 = 10.0;
/// A prompt of 64 tokens takes 32 ms.
const PREFILL_MS: f64 = 0.5;
/// Tokens of a reply.
const TOKENS: u32 = 100;
/// Measured requests for every stream.
const ROUNDS: u32 = 4;
/// How often the process is looked at.
const TICK: Duration = Duration::from_millis(20);

/// The process at a moment.
struct Look {
    /// Since the epoch (s).
    at: f64,
    /// User and system time so far (s).
    cpu_s: f64,
    /// Largest resident set so far (bytes).
    peak_bytes: u64,
}

fn main() -> Result<()> {
    let asked: Vec<u32> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let ladder = if asked.is_empty() { vec![1, 16, 64, 256] } else { asked };
    println!("{TOKENS} tokens a reply, {} tokens/s a stream; errors against the timetable", 1e3 / DECODE_MS);
    println!(
        "{:>7} {:>8} {:>9} {:>19} {:>26} {:>19} {:>7} {:>7} {:>9} {:>9}",
        "streams",
        "requests",
        "tokens/s",
        "TTFT 50 / 99 (ms)",
        "gap 50 / 99 / max (ms)",
        "end 50 / 99 (ms)",
        "CPU s",
        "core",
        "us/token",
        "peak RSS"
    );
    for streams in ladder {
        println!("{}", measure(streams)?);
    }
    Ok(())
}

/// One step of so many streams, as a row.
fn measure(streams: u32) -> Result<String> {
    let folder = tempfile::tempdir().context(|| "no temporary folder".to_owned())?;
    write_bench(folder.path(), streams)?;
    let child = Command::new(env!("CARGO_BIN_EXE_kneepoint"))
        .current_dir(folder.path())
        .args(["run", "suite.toml", "-q", "--filter", "task=load"])
        .env_remove("KNEEPOINT_RUNS_DIR")
        .stdout(Stdio::null())
        .spawn();
    let looks = watch(child.context(|| "kneepoint cannot be started".to_owned())?)?;
    let step = step_of(&folder.path().join("runs"))?;
    row(streams, &step, &looks)
}

/// A suite whose server is the mock behind llama-server's command line.
fn write_bench(folder: &Path, streams: u32) -> Result<()> {
    let kneepoint = env!("CARGO_BIN_EXE_kneepoint");
    let server = format!(
        "#!/bin/sh\n\
         for arg in \"$@\"; do case \"$arg\" in\n\
         --version) echo 'version: 1 (mock)'; exit 0 ;;\n\
         --help) echo '-m, --model FNAME'; echo '-fa, --flash-attn [on|off|auto]'; exit 0 ;;\n\
         esac; done\n\
         while [ $# -gt 0 ]; do case \"$1\" in --port) port=$2 ;; -np) slots=$2 ;; esac; shift; done\n\
         exec {kneepoint} mock-server --port \"$port\" --slots \"$slots\" --prefill-ms {PREFILL_MS} \
         --decode-ms {DECODE_MS}\n"
    );
    let suite = format!(
        "name = \"load-bench\"\ncontexts = [512]\n[engine]\nbinary = \"{}\"\n\
         [[model]]\nname = \"mock\"\npath = \"model.gguf\"\nweights = \"Q8_0\"\n[reference]\n\
         [[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n\
         [load]\nconcurrency = [{streams}]\nrequests = {}\nprompt_tokens = [32, 64, 128]\noutput_tokens = {TOKENS}\n\
         warm_up_s = 0\n",
        folder.join("llama-server").display(),
        (ROUNDS * streams).max(2),
    );
    let binary = folder.join("llama-server");
    std::fs::write(&binary, server)
        .and_then(|()| std::fs::set_permissions(&binary, Permissions::from_mode(0o755)))
        .and_then(|()| std::fs::write(folder.join("model.gguf"), empty_gguf()))
        .and_then(|()| std::fs::write(folder.join("suite.toml"), suite))
        .context(|| "the bench's files cannot be written".to_owned())
}

/// Version 3, no tensors, no keys.
fn empty_gguf() -> Vec<u8> {
    let counts = [0u64, 0].into_iter().flat_map(u64::to_le_bytes);
    b"GGUF".iter().copied().chain(3u32.to_le_bytes()).chain(counts).collect()
}

/// Looks at the process until it ends.
fn watch(mut child: Child) -> Result<Vec<Look>> {
    let pid = i32::try_from(child.id()).context(|| "not a process id".to_owned())?;
    let mut looks = Vec::new();
    loop {
        let ended = child.try_wait().context(|| "kneepoint cannot be waited for".to_owned())?;
        if let Some(status) = ended {
            return if status.success() {
                Ok(looks)
            } else {
                Err(Error::runtime(format!("kneepoint: {status}")))
            };
        }
        // Between its end and our waiting for it there is nothing to read.
        looks.extend(look(pid).ok());
        std::thread::sleep(TICK);
    }
}

fn look(pid: i32) -> procfs::ProcResult<Look> {
    let process = procfs::process::Process::new(pid)?;
    let stat = process.stat()?;
    let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let peak_kib = process.status()?.vmhwm.unwrap_or_default();
    let cpu_s = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
    Ok(Look { at, cpu_s, peak_bytes: peak_kib * 1024 })
}

/// The only step of the only run.
fn step_of(runs: &Path) -> Result<LoadtestStep> {
    let no_run = || Error::runtime("kneepoint left no run");
    let mut folders = std::fs::read_dir(runs).context(|| "no runs".to_owned())?;
    let folder = folders.next().ok_or_else(no_run)?.context(|| "no runs".to_owned())?.path();
    let journal = kneepoint::record::journal::load(&folder)?;
    let step = journal.load.steps.into_iter().next().ok_or_else(no_run)?;
    match step.broke {
        Some(reason) => Err(Error::runtime(reason)),
        None => Ok(step),
    }
}

fn row(streams: u32, step: &LoadtestStep, looks: &[Look]) -> Result<String> {
    let done: Vec<&LoadtestRequest> = step.requests.iter().filter(|request| request.is_done()).collect();
    let counted: Vec<&LoadtestRequest> = done.iter().copied().filter(|request| request.counts).collect();
    let since_sent = |at: fn(&LoadtestRequest) -> Option<f64>| -> Vec<f64> {
        counted.iter().filter_map(|request| Some((at(request)? - request.sent_s?) * 1e3)).collect()
    };
    let prompt_ms = |request: &LoadtestRequest| PREFILL_MS * request.prompt_tokens.unwrap_or_default() as f64;
    let true_end =
        |tokens: f64| counted.iter().map(|r| prompt_ms(r) + DECODE_MS * tokens).collect::<Vec<f64>>();
    let gaps: Vec<f64> =
        counted.iter().flat_map(|request| request.gaps_us.iter().map(|gap| f64::from(*gap) / 1e3)).collect();
    let ttft = errors(since_sent(|r| r.first_s), true_end(1.0), &[0.5, 0.99])?;
    let gap = errors(gaps.clone(), vec![DECODE_MS; gaps.len()], &[0.5, 0.99, 1.0])?;
    let end = errors(since_sent(|r| r.end_s), true_end(f64::from(TOKENS)), &[0.5, 0.99])?;
    let (cpu_s, wall_s, peak) = cost(step, looks)?;
    let tokens = done.iter().filter_map(|request| request.output_tokens).sum::<u64>() as f64;
    Ok(format!(
        "{streams:>7} {:>8} {:>9.0} {ttft:>19} {gap:>26} {end:>19} {cpu_s:>7.2} {:>6.1}% {:>9.1} {:>6.1} MB",
        counted.len(),
        tokens / wall_s,
        cpu_s / wall_s * 100.0,
        cpu_s / tokens * 1e6,
        peak as f64 / 1e6,
    ))
}

/// Percentiles of what was measured less those of the truth.
fn errors(mut measured: Vec<f64>, mut truth: Vec<f64>, at: &[f64]) -> Result<String> {
    measured.sort_by(f64::total_cmp);
    truth.sort_by(f64::total_cmp);
    let error = |q: &f64| Some(format!("{:+.2}", nearest_rank(&measured, *q)? - nearest_rank(&truth, *q)?));
    let shown: Option<Vec<String>> = at.iter().map(error).collect();
    Ok(shown.ok_or_else(|| Error::runtime("nothing was measured"))?.join(" / "))
}

/// CPU time (s) and wall time (s) of the step, and the process's peak memory until then (bytes).
fn cost(step: &LoadtestStep, looks: &[Look]) -> Result<(f64, f64, u64)> {
    let began = chrono::DateTime::parse_from_rfc3339(&step.started).context(|| "no start".to_owned())?;
    let began = began.timestamp_millis() as f64 / 1e3;
    let last = step.requests.iter().filter_map(|request| request.end_s).fold(0.0, f64::max);
    let near = |at: f64| looks.iter().min_by(|a, b| (a.at - at).abs().total_cmp(&(b.at - at).abs()));
    let ends = near(began).zip(near(began + last));
    let (from, until) = ends.ok_or_else(|| Error::runtime("the process was never looked at"))?;
    Ok((until.cpu_s - from.cpu_s, last, until.peak_bytes))
}
