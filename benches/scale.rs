//! What it takes to judge a run that a thousand tasks of a cluster have measured: 10,000,000 trials in a thousand journals
//! (20 settings x 5 context lengths x 10 rounds), made up, read from disk, joined and judged by kneepoint itself as a
//! process of its own, with 10,000 paired bootstrap draws.
//!
//!     cargo bench --bench scale                        # 1 and 10 million trials
//!     cargo bench --bench scale -- 100000 1000000      # others
//!     KNEEPOINT_BESIDE=/path/to/kneepoint cargo bench --bench scale -- 1000000   # another build in turns
//!
//! The largest takes 7 GB of the folder for temporary files. A line of a made-up journal is shorter than one of a real
//! run: two figures of a trial, and no reply.

#![allow(clippy::print_stdout, reason = "its results")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kneepoint::error::{Context, Error, Result};
use kneepoint::record::journal::{Header, JournalWriter, PARTS, Record};
use kneepoint::record::{Spread, SpreadOn, Worker};
use made_up::{Luck, Size};

#[allow(dead_code, reason = "this bench writes what others keep in memory")]
mod made_up;

const TASK: &str = "retrieval/niah_multikey_2";
const SIZE: Size =
    Size { settings: 20, contexts: 5, tasks: &[TASK], items: 0, draws: 10_000, said: 0, rounds: 10 };
/// How often the process is looked at.
const TICK: Duration = Duration::from_millis(10);

fn main() -> Result<()> {
    let asked: Vec<u32> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![1_000_000, 10_000_000] } else { asked };
    let builds = [Some(env!("CARGO_BIN_EXE_kneepoint").to_owned()), std::env::var("KNEEPOINT_BESIDE").ok()];
    println!("| build | trials | journals | on disk | time | CPU | peak memory |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
    for trials in sizes {
        let folder = tempfile::tempdir().context(|| "no temporary folder".into())?;
        let size = Size { items: trials / SIZE.settings / SIZE.contexts, ..SIZE };
        let (journals, bytes) = write(folder.path(), size)?;
        for build in builds.iter().flatten() {
            let Took { wall_s, cpu_s, peak_bytes } = judge(build, folder.path())?;
            let name = if *build == env!("CARGO_BIN_EXE_kneepoint") { "this" } else { "beside" };
            println!(
                "| {name} | {trials} | {journals} | {:.2} GB | {wall_s:.1} s | {cpu_s:.1} s | {:.2} GB |",
                bytes as f64 / 1e9,
                peak_bytes as f64 / 1e9,
            );
        }
    }
    Ok(())
}

/// Writes the run: a journal for each round of each cell. How many there are, and their bytes.
fn write(folder: &Path, size: Size) -> Result<(u32, u64)> {
    let header = made_up::header(size)?;
    let workers = size.settings * size.contexts * size.rounds;
    let spread = Some(Spread { workers, on: SpreadOn::Slurm(Vec::new()) });
    let header = Header { spread, ..header };
    JournalWriter::create(folder, &header)?;
    let (mut index, mut bytes) = (0, 0);
    for (context, level) in header.suite.contexts.clone().into_iter().zip(0..) {
        for (setting, coarseness) in header.suite.settings.iter().zip(0..) {
            for round in 0..size.rounds {
                let place = format!("node{:03}", index % 100);
                let worker = Some(Worker { index, place, cards: Vec::new() });
                let part = folder.join(PARTS).join(format!("{index:05}"));
                let cell = (setting.label.as_str(), coarseness, context, level);
                bytes += write_part(&part, &Header { worker, ..header.clone() }, size, cell, round)?;
                index += 1;
            }
        }
    }
    Ok((workers, bytes))
}

fn write_part(
    folder: &Path,
    header: &Header,
    size: Size,
    (setting, coarseness, context, level): (&str, u32, u32, u32),
    round: u32,
) -> Result<u64> {
    std::fs::create_dir_all(folder).context(|| "cannot make a folder".into())?;
    let mut writer = JournalWriter::create(folder, header)?;
    let indexes = || (0..size.items).filter(|index| index % size.rounds == round);
    let mut luck = Luck(u64::from((coarseness * size.rounds + round) * size.contexts + level) + 1);
    let cases = indexes().map(|index| Record::Case(Box::new(made_up::case(TASK, 0, context, index, 0))));
    let trials = indexes().map(|index| {
        let key = made_up::key(setting, TASK, context, index, size.rounds);
        // The same cases are right for all, but for those that a setting loses.
        let right = Luck(u64::from(index * size.contexts + level)).share() < 0.8;
        let kept = luck.share() >= 0.004 * f64::from(coarseness % 20);
        let decode = 40.0 + f64::from(coarseness % 20) + luck.share();
        let id = made_up::id(context, 0, index);
        Record::Trial(Box::new(made_up::trial(key, &id, 0, right && kept, decode)))
    });
    writer.append_all(cases.chain(trials))?;
    let file = folder.join(kneepoint::record::journal::FILE_NAME);
    Ok(std::fs::metadata(&file).context(|| "no journal".into())?.len())
}

/// What a process took.
struct Took {
    wall_s: f64,
    cpu_s: f64,
    peak_bytes: u64,
}

fn judge(build: &str, folder: &Path) -> Result<Took> {
    let begun = Instant::now();
    let mut child = Command::new(build)
        .args(["report", "--json"])
        .arg(folder)
        .stdout(Stdio::null())
        .spawn()
        .context(|| format!("cannot start {build}"))?;
    let mut took = Took { wall_s: 0.0, cpu_s: 0.0, peak_bytes: 0 };
    let ended = loop {
        if let Some((cpu_s, peak_bytes)) = look(child.id()) {
            (took.cpu_s, took.peak_bytes) = (cpu_s, peak_bytes.max(took.peak_bytes));
        }
        if let Some(ended) = child.try_wait().context(|| "cannot wait".into())? {
            break ended;
        }
        std::thread::sleep(TICK);
    };
    took.wall_s = begun.elapsed().as_secs_f64();
    match ended.success() {
        true => Ok(took),
        false => Err(Error::runtime(format!("{build} ended with {ended}"))),
    }
}

/// Processor time so far (s) and largest resident memory (bytes).
fn look(pid: u32) -> Option<(f64, u64)> {
    let process = procfs::process::Process::new(pid.cast_signed()).ok()?;
    let stat = process.stat().ok()?;
    let cpu_s = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
    Some((cpu_s, process.status().ok()?.vmhwm? * 1024))
}
