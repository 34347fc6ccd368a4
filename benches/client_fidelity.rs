//! How true the client's clock is, and what it costs, against a mock server whose timetable is known.
//!
//! The mock runs in one process and each configuration's client in another (this binary again, with an
//! argument), so that CPU time and peak memory are the client's alone. Times are compared with the
//! timetable, so the server's own lateness counts against the client.
//!
//!     cargo bench --bench client_fidelity

#![allow(clippy::print_stdout, reason = "its results")]

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kneepoint::error::{Context, Error, Result};
use kneepoint::measure::client::{Client, Conversation, Exchange, Limits};
use kneepoint::measure::mock;
use kneepoint::measure::mock::Script;
use kneepoint::quantile::nearest_rank;
use kneepoint::record::suite::Sampling;
use kneepoint::record::{Message, Source, metric};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// Tokens of every reply.
const TOKENS: u32 = 128;
/// Every token takes so long: 50 tokens/s.
const DECODE_MS: f64 = 20.0;
/// The prompt takes about 0.6 s.
const PREFILL_MS: f64 = 20.0;

/// Time between the starts of concurrent requests, in units of one token's time. A little over one half: the
/// load builds up within a quarter of a reply, and the tokens of 64 streams come at 64 different moments.
const SPACING: f64 = 33.0 / 64.0;

/// A way to load the client.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Load {
    tokens_per_chunk: u32,
    requests: u32,
    /// All requests together, [`SPACING`] apart; or one after another.
    at_once: bool,
}

const LOADS: [Load; 4] =
    [one_by_one(1), one_by_one(4), one_by_one(16), Load { tokens_per_chunk: 1, requests: 64, at_once: true }];

const fn one_by_one(tokens_per_chunk: u32) -> Load {
    Load { tokens_per_chunk, requests: 8, at_once: false }
}

/// What a client process found.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    load: Load,
    /// Median and largest |decode rate / truth - 1| (ratio).
    decode_error: Spread,
    /// Median and largest |TTFT - truth| (s).
    ttft_error_s: Spread,
    /// User and system time of the process, its start included (s).
    cpu_s: f64,
    /// Largest resident set of the process (bytes).
    peak_rss_bytes: u64,
    /// From the first request to the last reply (s).
    wall_s: f64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Spread {
    median: f64,
    max: f64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["mock", script] => serve(script),
        ["client", url, load] => client(url, load),
        _ => compare(),
    }
}

/// The whole benchmark: a table for people, then one JSON line.
fn compare() -> Result<()> {
    println!("client against timetable: {TOKENS} tokens a reply, {} tokens/s", 1e3 / DECODE_MS);
    println!(
        "{:>7} {:>9} {:>22} {:>22} {:>7} {:>9} {:>7}",
        "streams", "tok/chunk", "decode error med/max", "TTFT error med/max", "CPU s", "peak RSS", "core"
    );
    let mut all = Vec::new();
    for load in LOADS {
        let found = measure(load)?;
        println!("{}", row(&found));
        all.push(found);
    }
    println!("{}", serde_json::to_string(&all).context(|| "results cannot be written".to_owned())?);
    Ok(())
}

fn row(found: &Found) -> String {
    let percent = |ratio: f64| format!("{:.3}%", ratio * 100.0);
    let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
    let load = found.load;
    let streams = if load.at_once { load.requests } else { 1 };
    format!(
        "{streams:>7} {:>9} {:>22} {:>22} {:>7.2} {:>6.1} MB {:>7}",
        load.tokens_per_chunk,
        format!("{} / {}", percent(found.decode_error.median), percent(found.decode_error.max)),
        format!("{} / {}", ms(found.ttft_error_s.median), ms(found.ttft_error_s.max)),
        found.cpu_s,
        found.peak_rss_bytes as f64 / 1e6,
        percent(found.cpu_s / found.wall_s),
    )
}

/// One load: a fresh mock, a fresh client.
fn measure(load: Load) -> Result<Found> {
    let script = Script {
        prefill_ms_per_token: PREFILL_MS,
        decode_ms_per_token: DECODE_MS,
        tokens_per_chunk: load.tokens_per_chunk,
        output_tokens: TOKENS,
        ..Script::default()
    };
    let mut server = Running(again(&["mock", &json(&script)?])?);
    let url = server.line()?;
    let mut client = Running(again(&["client", url.trim(), &json(&load)?])?);
    let line = client.line()?;
    serde_json::from_str(&line).context(|| format!("the client process said `{line}`"))
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).context(|| "arguments cannot be written".to_owned())
}

/// This binary once more, its output to be read.
fn again(args: &[&str]) -> Result<Child> {
    let program = std::env::current_exe().context(|| "this binary cannot be found".to_owned())?;
    let mut command = Command::new(program);
    let child = command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    child.context(|| "this binary cannot be started again".to_owned())
}

/// A process that does not outlive its use.
struct Running(Child);

impl Running {
    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let output = self.0.stdout.take().ok_or_else(|| Error::runtime("no output to read"))?;
        let read = BufReader::new(output).read_line(&mut line);
        read.context(|| "a process of the benchmark said nothing".to_owned())?;
        Ok(line)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    runtime.context(|| "no async runtime".to_owned())?.block_on(work)
}

fn serve(script: &str) -> Result<()> {
    let script: Script = serde_json::from_str(script).context(|| "not a script".to_owned())?;
    block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context(|| "no free port".to_owned())?;
        let address = listener.local_addr().context(|| "no address".to_owned())?;
        println!("http://{address}");
        mock::serve(listener, script, std::future::pending()).await
    })
}

fn client(url: &str, load: &str) -> Result<()> {
    let load: Load = serde_json::from_str(load).context(|| "not a load".to_owned())?;
    let client = Client::new(url, mock::ENDPOINTS, Limits::default())?;
    let start = Instant::now();
    let exchanges = block_on(exchanges(&client, load))?;
    let wall_s = start.elapsed().as_secs_f64();
    let (cpu_s, peak_rss_bytes) = own_cost()?;
    let found = Found {
        load,
        decode_error: spread(exchanges.iter().map(decode_error))?,
        ttft_error_s: spread(exchanges.iter().map(|exchange| ttft_error(exchange, load)))?,
        cpu_s,
        peak_rss_bytes,
        wall_s,
    };
    println!("{}", json(&found)?);
    Ok(())
}

async fn exchanges(client: &Client, load: Load) -> Result<Vec<Exchange>> {
    let mut exchanges = Vec::new();
    if load.at_once {
        let start = tokio::time::Instant::now();
        let ask = |i| {
            let client = client.clone();
            let at = start + Duration::from_secs_f64(DECODE_MS / 1e3 * SPACING * f64::from(i));
            tokio::spawn(async move {
                tokio::time::sleep_until(at).await;
                ask(&client).await
            })
        };
        let asked: Vec<_> = (0..load.requests).map(ask).collect();
        for answer in asked {
            exchanges.push(answer.await.context(|| "a request's task died".to_owned())??);
        }
    } else {
        for _ in 0..load.requests {
            exchanges.push(ask(client).await?);
        }
    }
    Ok(exchanges)
}

async fn ask(client: &Client) -> Result<Exchange> {
    let messages = [Message::user("Tell me where the river flows.")];
    let answer = client.chat(&Conversation::of(&messages), &Sampling::default(), TOKENS).await;
    answer.context(|| "a request failed".to_owned())
}

fn decode_error(exchange: &Exchange) -> Option<f64> {
    let truth = 1e3 / DECODE_MS;
    Some((client_figure(exchange, metric::DECODE_TPS)? / truth - 1.0).abs())
}

/// The first chunk leaves when the prompt and the chunk's tokens are done.
fn ttft_error(exchange: &Exchange, load: Load) -> Option<f64> {
    let prompt_ms = exchange.last.pointer("/timings/prompt_ms")?.as_f64()?;
    let truth_ms = prompt_ms + DECODE_MS * f64::from(load.tokens_per_chunk);
    Some((client_figure(exchange, metric::TTFT_S)? - truth_ms / 1e3).abs())
}

fn client_figure(exchange: &Exchange, name: &str) -> Option<f64> {
    let mut figures = exchange.measurements.iter();
    figures.find(|m| m.name == name && m.source == Source::Client)?.value
}

fn spread(errors: impl Iterator<Item = Option<f64>>) -> Result<Spread> {
    let errors: Option<Vec<f64>> = errors.collect();
    let mut errors = errors.ok_or_else(|| Error::runtime("a reply has no figure to compare"))?;
    errors.sort_by(f64::total_cmp);
    let at = |q| nearest_rank(&errors, q).ok_or_else(|| Error::runtime("no replies"));
    Ok(Spread { median: at(0.5)?, max: at(1.0)? })
}

/// CPU time (s) and largest resident set (bytes) of this process since its start.
fn own_cost() -> Result<(f64, u64)> {
    let read = || -> procfs::ProcResult<(f64, u64)> {
        let process = procfs::process::Process::myself()?;
        let stat = process.stat()?;
        let ticks = stat.utime + stat.stime;
        let peak_kib = process.status()?.vmhwm.unwrap_or_default();
        Ok((ticks as f64 / procfs::ticks_per_second() as f64, peak_kib * 1024))
    };
    read().context(|| "/proc cannot be read".to_owned())
}
