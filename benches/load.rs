//! What many streams cost the client, and how far its percentiles are from the truth: kneepoint's own load phase
//! against a mock server whose timetable is known.
//!
//! kneepoint runs as a process of its own, whose CPU time and memory are read from /proc while the step goes on; the
//! mock is another process, on the same cores. It writes down when each request came in and each piece of the replies
//! really left: what it is late itself is told apart from what the client adds.
//!
//!     cargo bench --bench load                          # 1, 16, 64 and 256 streams of 100 tokens/s
//!     cargo bench --bench load -- 8 1024@25             # others; 1,024 streams of 25 tokens/s
//!     cargo bench --bench load -- --client PATH 256     # another build's client, against this build's mock

#![allow(clippy::print_stdout, reason = "its results")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kneepoint::error::{Context, Error, Result};
use kneepoint::quantile::nearest_rank;
use kneepoint::record::journal::loadtest::{LoadtestRequest, LoadtestStep};
use serde::Deserialize;

/// Tokens a second of a stream, where nothing else is asked for.
const RATE: f64 = 100.0;
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

/// How the client is loaded.
#[derive(Debug, Clone, Copy)]
struct Load {
    streams: u32,
    /// Time of a token (ms).
    decode_ms: f64,
}

impl Load {
    /// `256`, or `1024@25`: so many streams, of so many tokens a second.
    fn of(text: &str) -> Option<Self> {
        let (streams, rate) =
            text.split_once('@').map_or((text, Some(RATE)), |(n, rate)| (n, rate.parse().ok()));
        Some(Self { streams: streams.parse().ok()?, decode_ms: 1e3 / rate? })
    }
}

/// What the mock wrote down of a reply.
#[derive(Debug, Deserialize)]
struct Sent {
    prompt_tokens: u64,
    received_s: f64,
    left_us: Vec<u64>,
}

/// A request as the client and as the server saw it (ms).
struct Pair {
    /// Time to the first token by the client's clock.
    seen: f64,
    /// By the server's.
    left: f64,
    /// By the timetable.
    due: f64,
    /// From the start of the client's clock until the server had the request. The step's beginning is known to the millisecond.
    there: f64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let other = args.iter().position(|arg| arg == "--client").and_then(|at| args.get(at + 1));
    let client = other.map_or(PathBuf::from(env!("CARGO_BIN_EXE_kneepoint")), PathBuf::from);
    let asked: Vec<Load> = args.iter().filter_map(|arg| Load::of(arg)).collect();
    let usual = || [1, 16, 64, 256].map(|streams| Load { streams, decode_ms: 1e3 / RATE }).to_vec();
    let ladder = if asked.is_empty() { usual() } else { asked };
    println!("{TOKENS} tokens a reply; what was measured less what is true, in ms");
    println!(
        "{:>9} {:>8} {:>8} | {:>15} {:>15} {:>15} {:>15} | {:>20} {:>15} | {:>6} {:>6} {:>8} {:>8}",
        "streams",
        "requests",
        "tokens/s",
        "TTFT 50 / 99",
        "the mock's",
        "the way there",
        "and back",
        "gap 50 / 99 / max",
        "end 50 / 99",
        "CPU s",
        "core",
        "us/token",
        "peak RSS"
    );
    for load in ladder {
        println!("{}", measure(&client, load)?);
    }
    Ok(())
}

/// One step, as a row.
fn measure(client: &Path, load: Load) -> Result<String> {
    let folder = tempfile::tempdir().context(|| "no temporary folder".to_owned())?;
    write_bench(folder.path(), load)?;
    let child = Command::new(client)
        .current_dir(folder.path())
        .args(["run", "suite.toml", "-q", "--filter", "task=load"])
        .env_remove("KNEEPOINT_RUNS_DIR")
        .stdout(Stdio::null())
        .spawn();
    let looks = watch(child.context(|| "kneepoint cannot be started".to_owned())?)?;
    let step = step_of(&folder.path().join("runs"))?;
    let sent = sent_of(&folder.path().join("sent.jsonl"))?;
    row(load, &step, &looks, sent)
}

/// A suite whose server is the mock behind llama-server's command line.
fn write_bench(folder: &Path, Load { streams, decode_ms }: Load) -> Result<()> {
    let kneepoint = env!("CARGO_BIN_EXE_kneepoint");
    let server = format!(
        "#!/bin/sh\n\
         for arg in \"$@\"; do case \"$arg\" in\n\
         --version) echo 'version: 1 (mock)'; exit 0 ;;\n\
         --help) echo '-m, --model FNAME'; echo '-fa, --flash-attn [on|off|auto]'; exit 0 ;;\n\
         esac; done\n\
         while [ $# -gt 0 ]; do case \"$1\" in --port) port=$2 ;; -np) slots=$2 ;; esac; shift; done\n\
         exec {kneepoint} mock-server --port \"$port\" --slots \"$slots\" --prefill-ms {PREFILL_MS} \
         --decode-ms {decode_ms} --sent-log {}\n",
        folder.join("sent.jsonl").display()
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

/// What the mock wrote down, in the order in which the requests came in.
fn sent_of(path: &Path) -> Result<Vec<Sent>> {
    let text = std::fs::read_to_string(path).context(|| "the mock wrote nothing down".to_owned())?;
    let lines =
        text.lines().map(|line| serde_json::from_str(line).context(|| "not the mock's line".to_owned()));
    let mut sent: Vec<Sent> = lines.collect::<Result<_>>()?;
    sent.sort_by(|a, b| a.received_s.total_cmp(&b.received_s));
    Ok(sent)
}

fn row(load: Load, step: &LoadtestStep, looks: &[Look], sent: Vec<Sent>) -> Result<String> {
    let done: Vec<&LoadtestRequest> = step.requests.iter().filter(|request| request.is_done()).collect();
    let counted: Vec<&LoadtestRequest> = done.iter().copied().filter(|request| request.counts).collect();
    let since_sent = |at: fn(&LoadtestRequest) -> Option<f64>| -> Vec<f64> {
        counted.iter().filter_map(|request| Some((at(request)? - request.sent_s?) * 1e3)).collect()
    };
    let true_end: Vec<f64> = counted
        .iter()
        .map(|request| due_ms(load, request.prompt_tokens.unwrap_or_default(), TOKENS))
        .collect();
    let gaps: Vec<f64> =
        counted.iter().flat_map(|request| request.gaps_us.iter().map(|gap| f64::from(*gap) / 1e3)).collect();
    let gap = errors(gaps.clone(), vec![load.decode_ms; gaps.len()], &[0.5, 0.99, 1.0])?;
    let end = errors(since_sent(|r| r.end_s), true_end, &[0.5, 0.99])?;
    let pairs = pairs(load, step, &done, sent)?;
    let of = |time: fn(&Pair) -> f64| pairs.iter().map(time).collect::<Vec<f64>>();
    let zeros = vec![0.0; pairs.len()];
    let part = |time: fn(&Pair) -> f64| errors(of(time), zeros.clone(), &[0.5, 0.99]);
    let ttft = errors(of(|pair| pair.seen), of(|pair| pair.due), &[0.5, 0.99])?;
    let mocks = part(|pair| pair.left - pair.due)?;
    let there = part(|pair| pair.there)?;
    let back = part(|pair| pair.seen - pair.left - pair.there)?;
    let (cpu_s, wall_s, peak) = cost(step, looks)?;
    let tokens = done.iter().filter_map(|request| request.output_tokens).sum::<u64>() as f64;
    Ok(format!(
        "{:>9} {:>8} {:>8.0} | {ttft:>15} {mocks:>15} {there:>15} {back:>15} | {gap:>20} {end:>15} | {cpu_s:>6.2} {:>5.1}% {:>8.1} {:>5.1} MB",
        format!("{}@{:.0}", load.streams, 1e3 / load.decode_ms),
        counted.len(),
        tokens / wall_s,
        cpu_s / wall_s * 100.0,
        cpu_s / tokens * 1e6,
        peak as f64 / 1e6,
    ))
}

/// When a token leaves, after a prompt of so many came in (ms).
fn due_ms(load: Load, prompt_tokens: u64, token: u32) -> f64 {
    PREFILL_MS * prompt_tokens as f64 + load.decode_ms * f64::from(token)
}

/// The requests that count with what the mock wrote down of them. Nothing in a request says which it is, so both sides are put
/// into the order in which they began, those of each prompt length by themselves: requests that change places began at almost the
/// same moment.
fn pairs(
    load: Load,
    step: &LoadtestStep,
    done: &[&LoadtestRequest],
    mut sent: Vec<Sent>,
) -> Result<Vec<Pair>> {
    let began_s = began_s(step)?;
    let mut requests: Vec<&LoadtestRequest> = done.to_vec();
    requests.sort_by(|a, b| a.sent_s.unwrap_or_default().total_cmp(&b.sent_s.unwrap_or_default()));
    let mut pairs = Vec::new();
    for request in requests {
        let prompt = request.prompt_tokens.unwrap_or_default();
        let at = sent.iter().position(|sent| sent.prompt_tokens == prompt);
        let there = sent.remove(at.ok_or_else(|| Error::runtime("the mock wrote down too few requests"))?);
        // In front of the first token stands the role.
        let left = there.left_us.get(1).map(|left| *left as f64 / 1e3);
        let times = request.first_s.zip(request.sent_s).zip(left);
        if let (true, Some(((first_s, sent_s), left))) = (request.counts, times) {
            pairs.push(Pair {
                seen: (first_s - sent_s) * 1e3,
                left,
                due: due_ms(load, prompt, 1),
                there: (there.received_s - began_s - sent_s) * 1e3,
            });
        }
    }
    Ok(pairs)
}

/// When the step began (s since the epoch).
fn began_s(step: &LoadtestStep) -> Result<f64> {
    let began = chrono::DateTime::parse_from_rfc3339(&step.started).context(|| "no start".to_owned())?;
    Ok(began.timestamp_millis() as f64 / 1e3)
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
    let began = began_s(step)?;
    let last = step.requests.iter().filter_map(|request| request.end_s).fold(0.0, f64::max);
    let near = |at: f64| looks.iter().min_by(|a, b| (a.at - at).abs().total_cmp(&(b.at - at).abs()));
    let ends = near(began).zip(near(began + last));
    let (from, until) = ends.ok_or_else(|| Error::runtime("the process was never looked at"))?;
    Ok((until.cpu_s - from.cpu_s, last, until.peak_bytes))
}
