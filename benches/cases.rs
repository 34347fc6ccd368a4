//! What making cases costs kneepoint itself: 128K-token cases a second of own CPU time, and whether memory
//! grows with their number.
//!
//! Token counts come from a counter that does next to nothing, so that the figures are those of the generator
//! and not of a tokenizer. Every measurement is a process of its own (this binary again), so that peak memory is
//! its alone.
//!
//!     cargo bench --bench cases
//!
//! With a model's file (or a folder with its `tokenizer.json`) the tokenizer is part of it: processor time a case of
//! `retrieval/niah_multikey_2` at 32,768 tokens, with a text each and with twelve questions to a text.
//!
//!     cargo bench --bench cases -- tokens MODEL.gguf

#![allow(clippy::print_stdout, reason = "its results")]

use std::path::Path;
use std::process::Command;

use kneepoint::error::{Context, Error, Result};
use kneepoint::measure::model::BytePairs;
use kneepoint::record::{Message, Tool};
use kneepoint::task;
use kneepoint::task::{Params, Task, TokenCounter, Weight};
use serde::{Deserialize, Serialize};

/// The context length that is measured (tokens).
const CONTEXT: u32 = 131_072;
/// Numbers of cases whose peak memory is compared.
const FEW: u32 = 10;
const MANY: u32 = 200;
/// Memory counts as flat when so many more cases need less than this more (bytes).
const FLAT: u64 = 8 << 20;
const SEED: u64 = 1;

/// Four bytes a token: additive, and as fast as a look at a length.
struct Fast;

impl TokenCounter for Fast {
    fn count_chat(&self, messages: &[Message], _: &[Tool]) -> Result<u32> {
        let bytes: usize = messages.iter().map(|message| message.content.len()).sum();
        Ok((bytes / 4) as u32)
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        Ok(vec![0; text.len() / 4])
    }
}

/// The tokenizer of a model, in a template that writes nothing around.
struct OfModel(BytePairs);

impl TokenCounter for OfModel {
    fn count_chat(&self, messages: &[Message], _: &[Tool]) -> Result<u32> {
        let text: String = messages.iter().map(|message| message.content.as_str()).collect();
        self.0.count(&text, true).ok_or_else(|| Error::runtime("this tokenizer cannot count the text"))
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        self.0.tokens(text, false).ok_or_else(|| Error::runtime("this tokenizer cannot read the text"))
    }
}

/// What a process found.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    cases: u32,
    /// User and system time of the generation, the process's start not included (s).
    cpu_s: f64,
    peak_rss_bytes: u64,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["make", name, samples] => make(name, samples),
        ["tokens", model] | ["tokens", model, "--bench"] => with_tokenizer(Path::new(model)),
        _ => compare(),
    }
}

/// Makes cases and throws each away, as a run does that writes them to its journal.
fn make(name: &str, samples: &str) -> Result<()> {
    let task = task::find(name).ok_or_else(|| Error::usage(format!("no task {name}")))?;
    let samples: u32 = samples.parse().context(|| "samples is no number".into())?;
    let params = params(CONTEXT, samples, 1);
    let before = cpu_s()?;
    let mut cases = 0;
    task.each_case(&params, SEED, &Fast, &mut |case| {
        cases += u32::from(!std::hint::black_box(&case).id.is_empty());
        Ok(())
    })?;
    let found = Found { cases, cpu_s: cpu_s()? - before, peak_rss_bytes: peak_rss_bytes()? };
    println!("{}", serde_json::to_string(&found).context(|| "cannot write JSON".into())?);
    Ok(())
}

fn params(context: u32, samples: u32, questions: u32) -> Params {
    Params {
        context,
        samples,
        arm: None,
        mode: Default::default(),
        score: Default::default(),
        questions,
        text: None,
        options: Default::default(),
        file: None,
    }
}

fn with_tokenizer(model: &Path) -> Result<()> {
    let name = "retrieval/niah_multikey_2";
    let task = task::find(name).ok_or_else(|| Error::usage(format!("no task {name}")))?;
    for questions in [1, 12] {
        let pairs = BytePairs::of_model(model).ok_or_else(|| {
            Error::usage(format!("{} has no tokenizer that is known here", model.display()))
        })?;
        let params = params(32_768, 120, questions);
        let mut cases = 0;
        let before = cpu_s()?;
        task.each_case(&params, SEED, &OfModel(pairs), &mut |case| {
            cases += u32::from(!std::hint::black_box(&case).id.is_empty());
            Ok(())
        })?;
        let each = (cpu_s()? - before) / f64::from(cases);
        println!(
            "{name}, 32,768 tokens, {questions} to a text: {cases} cases, {:.2} ms of processor time each",
            each * 1000.0
        );
    }
    Ok(())
}

fn cpu_s() -> Result<f64> {
    let stat = procfs::process::Process::myself()
        .and_then(|process| process.stat())
        .context(|| "cannot read /proc/self/stat".into())?;
    Ok((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
}

fn peak_rss_bytes() -> Result<u64> {
    let status = procfs::process::Process::myself()
        .and_then(|process| process.status())
        .context(|| "cannot read /proc/self/status".into())?;
    status.vmhwm.map(|kib| kib * 1024).ok_or_else(|| Error::runtime("the kernel does not say VmHWM"))
}

fn compare() -> Result<()> {
    println!("| task | cases/s (own CPU, 128K tokens) | peak, {FEW} cases | peak, {MANY} cases | memory |");
    println!("|---|--:|--:|--:|---|");
    let long = |task: &&&dyn Task| {
        let card = task.card();
        card.needs.fills_context && !card.needs.reads_file && card.weight != Weight::Comparative
    };
    for task in task::TASKS.iter().filter(long) {
        let (few, many) = (in_a_process(task.name(), FEW)?, in_a_process(task.name(), MANY)?);
        let grown = many.peak_rss_bytes.saturating_sub(few.peak_rss_bytes);
        println!(
            "| {} | {:.0} | {:.1} MiB | {:.1} MiB | {} |",
            task.name(),
            f64::from(many.cases) / many.cpu_s.max(0.01),
            mib(few.peak_rss_bytes),
            mib(many.peak_rss_bytes),
            if grown < FLAT { "flat".to_owned() } else { format!("grows by {:.1} MiB", mib(grown)) }
        );
    }
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn in_a_process(task: &str, samples: u32) -> Result<Found> {
    let this = std::env::current_exe().context(|| "cannot find this program".into())?;
    let output = Command::new(this)
        .args(["make", task, &samples.to_string()])
        .output()
        .context(|| "cannot start this program again".into())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::runtime(format!("{task} with {samples} cases: {said}")));
    }
    serde_json::from_slice(&output.stdout).context(|| format!("{task}: the process printed no result"))
}
