//! What judging a large run costs: 1,000,000 trials (20 settings x 5 context lengths x 10,000 cases) with 10,000
//! paired bootstrap draws, and how time and memory grow with settings, cases and draws.
//!
//! Every measurement is a process of its own (this binary again), so that peak memory is its alone. The time is
//! that of `summarise`, from a journal in memory to the summary of a report: quality, differences, verdicts, speed,
//! memory, fronts, knees. What the journal itself takes in memory is given beside it.
//!
//!     cargo bench --bench analysis              # the table
//!     cargo bench --bench analysis -- small     # a tenth of the cases, for a first look

#![allow(clippy::print_stdout, reason = "its results")]

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use kneepoint::error::{Context, Error, Result};
use kneepoint::judge::analysis::summarise;
use kneepoint::record::journal::{FORMAT, Header, Journal};
use kneepoint::record::{
    Case, Machine, Measurement, Message, Outcome, Prompt, Score, Source, Trial, TrialKey, metric,
};
use kneepoint::suite;
use serde::{Deserialize, Serialize};

const TASK: &str = "retrieval/niah_multikey_2";
const WEIGHTS: [&str; 4] = ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"];
const CACHES: [&str; 5] = ["f16", "q8_0", "q5_1", "q5_0", "q4_0"];

/// The size of a made-up run.
#[derive(Debug, Clone, Copy)]
struct Size {
    settings: u32,
    contexts: u32,
    items: u32,
    draws: u32,
}

const GOAL: Size = Size { settings: 20, contexts: 5, items: 10_000, draws: 10_000 };

/// What a process found.
#[derive(Debug, Serialize, Deserialize)]
struct Found {
    trials: usize,
    /// Wall-clock time of the analysis (s).
    wall_s: f64,
    /// Processor time of the analysis (s).
    cpu_s: f64,
    /// Resident memory with the journal alone (bytes).
    journal_bytes: u64,
    /// Peak of resident memory, the journal included (bytes).
    peak_bytes: u64,
}

fn main() -> Result<()> {
    // Cargo adds its own `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["judge", settings, contexts, items, draws] => {
            let number = |text: &str| text.parse::<u32>().context(|| format!("{text} is no number"));
            judge(Size {
                settings: number(settings)?,
                contexts: number(contexts)?,
                items: number(items)?,
                draws: number(draws)?,
            })
        }
        ["small"] => compare(Size { items: GOAL.items / 10, draws: GOAL.draws / 10, ..GOAL }),
        _ => compare(GOAL),
    }
}

fn compare(goal: Size) -> Result<()> {
    println!("| settings | contexts | cases | draws | trials | time | CPU | journal | peak memory |");
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    let halves = [
        Size { settings: goal.settings / 2, ..goal },
        Size { items: goal.items / 2, ..goal },
        Size { draws: goal.draws / 2, ..goal },
    ];
    for size in std::iter::once(goal).chain(halves) {
        let found = in_a_process(size)?;
        println!(
            "| {} | {} | {} | {} | {} | {:.2} s | {:.2} s | {:.0} MiB | {:.0} MiB |",
            size.settings,
            size.contexts,
            size.items,
            size.draws,
            found.trials,
            found.wall_s,
            found.cpu_s,
            mib(found.journal_bytes),
            mib(found.peak_bytes),
        );
    }
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn in_a_process(size: Size) -> Result<Found> {
    let this = std::env::current_exe().context(|| "cannot find this program".into())?;
    let numbers = [size.settings, size.contexts, size.items, size.draws].map(|number| number.to_string());
    let output = Command::new(this)
        .arg("judge")
        .args(numbers)
        .output()
        .context(|| "cannot start this program again".into())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Error::runtime(format!("{size:?}: {said}")));
    }
    serde_json::from_slice(&output.stdout).context(|| "the process printed no result".into())
}

fn judge(size: Size) -> Result<()> {
    let journal = journal(size)?;
    let journal_bytes = status(|status| status.vmrss)?;
    let (started, before) = (Instant::now(), cpu_s()?);
    let summary = summarise(&journal)?;
    let found = Found {
        trials: journal.trials.len(),
        wall_s: started.elapsed().as_secs_f64(),
        cpu_s: cpu_s()? - before,
        journal_bytes,
        peak_bytes: status(|status| status.vmhwm)?,
    };
    if summary.cells.iter().any(|cell| cell.quality.is_none() || cell.decode_tps.is_none()) {
        return Err(Error::runtime("a cell was not judged"));
    }
    println!("{}", serde_json::to_string(&found).context(|| "cannot write JSON".into())?);
    Ok(())
}

fn cpu_s() -> Result<f64> {
    let stat = procfs::process::Process::myself()
        .and_then(|process| process.stat())
        .context(|| "cannot read /proc/self/stat".into())?;
    Ok((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
}

fn status(of: impl Fn(&procfs::process::Status) -> Option<u64>) -> Result<u64> {
    let status = procfs::process::Process::myself()
        .and_then(|process| process.status())
        .context(|| "cannot read /proc/self/status".into())?;
    of(&status).map(|kib| kib * 1024).ok_or_else(|| Error::runtime("the kernel does not say how much memory"))
}

/// A run whose settings lose the more cases the coarser they are, in two rounds.
fn journal(size: Size) -> Result<Journal> {
    let suite = suite::parse(&suite_text(size), Path::new("bench.toml"), &[])?;
    let header = Header {
        format: FORMAT,
        run: "bench".into(),
        started: "2026-01-01T00:00:00Z".into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        git_hash: None,
        fingerprint: suite.fingerprint(),
        suite,
        repeat: String::new(),
        machine: Machine::default(),
        engines: Vec::new(),
        models: Vec::new(),
        files: Vec::new(),
        filters: Vec::new(),
        choice_notes: None,
    };
    let mut journal = Journal::new(header);
    let suite = journal.header.suite.clone();
    let mut luck = Luck(1);
    for (&context, level) in suite.contexts.iter().zip(0..) {
        for index in 0..size.items {
            let right = luck.share() < 0.8;
            let case = case(context, index);
            for (setting, coarseness) in suite.settings.iter().zip(0..) {
                let kept = luck.share() >= 0.004 * f64::from(coarseness);
                let key = TrialKey {
                    setting: setting.label.clone(),
                    context,
                    round: index % suite.rounds,
                    replicate: 0,
                    task: TASK.into(),
                    arm: None,
                    index,
                };
                let launch = (level * size.settings + coarseness) * suite.rounds + index % suite.rounds;
                let decode = 40.0 + f64::from(coarseness) + luck.share();
                journal.trials.push(trial(key, &case.id, launch, right && kept, decode));
            }
            journal.cases.push(case);
        }
    }
    Ok(journal)
}

fn suite_text(size: Size) -> String {
    let contexts: Vec<String> = (0..size.contexts).map(|n| (1024 << n).to_string()).collect();
    let models: String = WEIGHTS
        .iter()
        .map(|weights| {
            format!("[[model]]\nname = \"{weights}\"\npath = \"m.gguf\"\nweights = \"{weights}\"\n")
        })
        .collect();
    let pairs = WEIGHTS.iter().flat_map(|weights| CACHES.iter().map(move |cache| (weights, cache)));
    let settings: String = pairs
        .take(size.settings as usize)
        .map(|(model, kv)| {
            format!("[[setting]]\nmodel = \"{model}\"\nweights = \"{model}\"\nkv = \"{kv}\"\n")
        })
        .collect();
    format!(
        "name = \"bench\"\nrounds = 2\ndraws = {}\ncontexts = [{}]\nobjectives = [\"quality\", \"decode\", \"memory\"]\n\
         {models}[reference]\nmodel = \"Q8_0\"\nkv = \"f16\"\n{settings}[[task]]\nname = \"{TASK}\"\nsamples = {}\n",
        size.draws,
        contexts.join(", "),
        size.items,
    )
}

fn case(context: u32, index: u32) -> Case {
    Case {
        id: format!("{context:08x}{index:08x}"),
        task: TASK.into(),
        task_version: 1,
        arm: None,
        context,
        index,
        depth: None,
        cluster: format!("{index}"),
        prompt: Prompt::chat(vec![Message::user("?")]),
        max_tokens: 8,
        prompt_tokens: 100,
        target: serde_json::Value::Null,
        forced: Vec::new(),
        shared_tokens: 0,
    }
}

fn trial(key: TrialKey, case: &str, launch: u32, right: bool, decode_tps: f64) -> Trial {
    Trial {
        key,
        case: case.into(),
        launch,
        started: "2026-01-01T00:00:00Z".into(),
        tick: None,
        reply: None,
        measurements: vec![
            Measurement::new(metric::DECODE_TPS, Source::Client, decode_tps),
            Measurement::new(metric::PEAK_RSS_BYTES, Source::Procfs, 1e9 / decode_tps),
        ],
        outcome: Outcome::Scored(Score::of(f64::from(u8::from(right)))),
    }
}

/// Repeatable numbers: splitmix64 (Steele et al. 2014).
struct Luck(u64);

impl Luck {
    /// In 0..1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / 2.0_f64.powi(64)
    }
}
