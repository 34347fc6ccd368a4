//! `run --on slurm`: an array job whose tasks are the workers.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::again::Again;
use super::crew::Told;
use super::shares::Missing;
use super::tally::Tally;
use super::tasks::{shares_in_words, tasks};
use crate::cli::{Global, RunArgs};
use crate::commands::output::print;
use crate::commands::progress::Display;
use crate::commands::run::Asked;
use crate::commands::setup::runtime;
use crate::console;
use crate::error::{Context, EXIT_OK, Error, Result};
use crate::files;
use crate::measure::runner::{Ending, Interrupt};
use crate::record::plan::Plan;
use crate::record::share::share;
use crate::record::suite::Suite;
use crate::record::{Spread, SpreadOn, shell_word};

/// Name of the batch script in a run folder.
const SCRIPT: &str = "slurm.sh";
/// Name of the folder for the tasks' logs.
const LOGS: &str = "slurm";
/// Seconds before a task's time is up that it is asked to end.
const NOTICE_S: u32 = 60;
/// Between two looks at a job.
const LOOK: Duration = Duration::from_secs(2);
/// Looks between two questions to Slurm.
const LOOKS: u32 = 5;

pub(super) fn run(suite: Suite, plan: &Plan, args: &RunArgs, global: &Global) -> Result<u8> {
    let workers = tasks(&suite, plan, args);
    let options = options(args)?;
    if args.dry_run {
        let folder = global.runs_dir.join(format!("TIME-{}-ID", suite.name));
        let job = Job { folder: &folder, suite: &suite, options: &options, retry_failed: false };
        print(&job.script(&(0..workers).collect::<Vec<_>>())?)?;
        console::note(shares_in_words(&suite, plan, workers, |_| String::new()).trim_end());
        return Ok(EXIT_OK);
    }
    sbatch_is_there()?;
    let spread = Spread { workers, on: SpreadOn::Slurm(options.clone()) };
    let asked = Asked { file: &args.suite, sets: &args.overrides(), filters: &args.filters, json: args.json };
    let (session, _) = asked.start(suite, Some(spread))?.begin(&Display::new(global), global)?;
    let job = Job { folder: &session.folder, suite: &session.suite, options: &options, retry_failed: false };
    let submitted = job.submit(&(0..workers).collect::<Vec<_>>());
    let id = submitted.inspect_err(|_| {
        // Nothing was measured: a run that nobody will go on with is no run.
        let _ = std::fs::remove_dir_all(&session.folder);
    })?;
    let watch = Watch { folder: &session.folder, suite: &session.suite, plan, workers };
    if !args.spread.wait {
        return watch.farewell(&id, workers as usize, &session.resume_hint(global));
    }
    let ending = watch.wait(&id, global)?;
    session.report(plan, ending, global)
}

pub(super) fn resume(
    again: &Again<'_>,
    options: &[String],
    missing: &[Missing],
    global: &Global,
) -> Result<u8> {
    sbatch_is_there().map_err(|error| {
        let first = missing.first().map_or(0, |missing| missing.index);
        error.hint(format!("`kneepoint worker RUN --index {first}` measures a share here"))
    })?;
    let session = again.session()?;
    let indexes: Vec<u32> = missing.iter().map(|missing| missing.index).collect();
    let (suite, retry_failed) = (again.suite, again.args.retry_failed);
    let id = Job { folder: again.folder, suite, options, retry_failed }.submit(&indexes)?;
    let watch = Watch { folder: again.folder, suite, plan: again.plan, workers: again.spread.workers };
    if !again.args.wait {
        return watch.farewell(&id, indexes.len(), &session.resume_hint(global));
    }
    let ending = watch.wait(&id, global)?;
    session.report(again.plan, ending, global)
}

/// The options of `sbatch` that the user asks for.
fn options(args: &RunArgs) -> Result<Vec<String>> {
    let partition = args.spread.partition.iter().map(|name| format!("--partition={name}"));
    let options: Vec<String> = partition.chain(args.spread.sbatch.iter().cloned()).collect();
    let bad = options.iter().find(|option| !option.starts_with('-') || option.contains(char::is_control));
    match bad {
        None => Ok(options),
        Some(bad) => Err(Error::usage(format!("`{}` is no option of sbatch", bad.escape_debug()))
            .hint("write it in one word, such as --sbatch=--gres=gpu:1 --sbatch=--time=04:00:00")),
    }
}

/// Whether jobs can be submitted from here.
fn sbatch_is_there() -> Result<()> {
    let asked = Command::new("sbatch").arg("--version").stdin(Stdio::null()).output();
    asked.map(drop).map_err(|source| {
        Error::usage("Slurm's `sbatch` cannot be run here")
            .with_source(source)
            .hint("submit from a machine of the cluster, such as its login node")
            .hint("`--dry-run` prints the batch script, to be submitted elsewhere")
            .hint("without a cluster: `kneepoint run SUITE`, or --gpus for several cards of this machine")
    })
}

/// Slurm tells which cards are the task's to CUDA and ROCm alone, and hands on what the shell that submitted was told as a
/// step of its own (seen with 22.05).
const CARDS: [&str; 3] = [
    "unset SLURM_STEP_GPUS",
    "cards=\"${CUDA_VISIBLE_DEVICES:-$ROCR_VISIBLE_DEVICES}\"",
    "if [[ \"$cards\" =~ ^[0-9,]+$ ]]; then export CUDA_DEVICE_ORDER=\"${CUDA_DEVICE_ORDER:-PCI_BUS_ID}\" \
     GGML_VK_VISIBLE_DEVICES=\"${GGML_VK_VISIBLE_DEVICES:-$cards}\"; fi",
];

/// An array job for shares of a run.
struct Job<'a> {
    folder: &'a Path,
    suite: &'a Suite,
    options: &'a [String],
    retry_failed: bool,
}

impl Job<'_> {
    /// The batch script.
    fn script(&self, indexes: &[u32]) -> Result<String> {
        let folder =
            std::path::absolute(self.folder).context(|| format!("cannot find {}", self.folder.display()))?;
        let own = std::env::current_exe().context(|| "cannot find the program of kneepoint".into())?;
        let (folder, own) = (folder.display().to_string(), own.display().to_string());
        if folder.contains(char::is_control) || folder.contains(['"', '%', '\\']) {
            return Err(Error::usage(format!("Slurm cannot name logs in {}", folder.escape_debug()))
                .hint("choose a folder for the runs without quotes, % and \\ in its name: --runs-dir"));
        }
        let name = format!("kneepoint-{}", self.suite.name);
        let mut lines = vec![
            "#!/bin/bash".to_owned(),
            format!("#SBATCH --job-name={}", shell_word(&name)),
            format!("#SBATCH --array={}", array(indexes)),
            format!("#SBATCH --output=\"{folder}/{LOGS}/%a.log\""),
            "#SBATCH --open-mode=append".to_owned(),
            // A task that is preempted or loses its node goes on in its own journal.
            "#SBATCH --requeue".to_owned(),
            // One whose time is nearly up ends after its trial.
            format!("#SBATCH --signal=B:TERM@{NOTICE_S}"),
        ];
        lines.extend(self.options.iter().map(|option| format!("#SBATCH {option}")));
        if self.suite.engine.threads.is_none() {
            lines.push(
                "if [ -n \"$SLURM_CPUS_PER_TASK\" ]; then export LLAMA_ARG_THREADS=\"$SLURM_CPUS_PER_TASK\"; fi".to_owned(),
            );
        }
        lines.extend(CARDS.map(str::to_owned));
        let retry = if self.retry_failed { " --retry-failed" } else { "" };
        lines.push(format!(
            "exec {} worker {} --index \"$SLURM_ARRAY_TASK_ID\"{retry}",
            shell_word(&own),
            shell_word(&folder)
        ));
        Ok(lines.join("\n") + "\n")
    }

    /// Submits the job; its id.
    ///
    /// # Errors
    /// When Slurm refuses it, in its words.
    fn submit(&self, indexes: &[u32]) -> Result<String> {
        let script = self.script(indexes)?;
        files::write(&self.folder.join(SCRIPT), script.as_bytes())?;
        let logs = self.folder.join(LOGS);
        std::fs::create_dir_all(&logs).context(|| format!("cannot create {}", logs.display()))?;
        let mut sbatch = Command::new("sbatch")
            .arg("--parsable")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context(|| "cannot run sbatch".into())?;
        if let Some(mut input) = sbatch.stdin.take() {
            // One that does not read says why below.
            let _ = input.write_all(script.as_bytes());
        }
        let out = sbatch.wait_with_output().context(|| "cannot wait for sbatch".into())?;
        let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
        if !out.status.success() {
            let said = if said.is_empty() { "it does not say why".to_owned() } else { said };
            return Err(Error::runtime(format!("Slurm refuses the job: {said}"))
                .hint("--partition and --sbatch say what the cluster wants to know, such as --sbatch=--account=NAME")
                .hint("`sinfo` lists its partitions; `--dry-run` prints the batch script"));
        }
        if !said.is_empty() {
            console::note(&said);
        }
        // With several clusters: `ID;CLUSTER`.
        let id = String::from_utf8_lossy(&out.stdout);
        Ok(id.trim().split(';').next().unwrap_or_default().to_owned())
    }
}

/// Indexes as Slurm writes them: `0-3,7`.
fn array(indexes: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &index in indexes {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => ranges.push((index, index)),
        }
    }
    let words = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    words.collect::<Vec<_>>().join(",")
}

/// A run whose tasks are at work elsewhere.
struct Watch<'a> {
    folder: &'a Path,
    suite: &'a Suite,
    plan: &'a Plan,
    workers: u32,
}

impl Watch<'_> {
    fn farewell(&self, id: &str, tasks: usize, resume: &str) -> Result<u8> {
        print(&format!("{}\n", self.folder.display()))?;
        console::note(&format!(
            "submitted {tasks} tasks as job {id}; logs: {}\n\nhint: `kneepoint report RUN` shows what there is at any \
             time\nhint: {resume} when its tasks have ended, if anything is missing",
            self.folder.join(LOGS).display(),
        ));
        Ok(EXIT_OK)
    }

    /// Waits until no task of the job is left; says how far they are.
    fn wait(&self, id: &str, global: &Global) -> Result<Ending> {
        let interrupt = Interrupt::listen()?;
        let shares =
            (0..self.workers).map(|index| share(self.suite, self.plan, index, self.workers).trials());
        let total = shares.sum();
        let (mut tally, mut told) = (Tally::default(), Told::new(total, global));
        let mut left = queued(id)?;
        let watched = runtime()?.block_on(async {
            for look in 1.. {
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = interrupt.asked(1) => break,
                }
                let done = tally.trials(self.folder);
                if look % LOOKS == 0 || done >= total {
                    left = queued(id)?;
                }
                told.tell(done, left);
                if left == 0 {
                    break;
                }
            }
            Ok(())
        });
        told.finish();
        watched?;
        if interrupt.requested() {
            console::note(&format!("job {id} goes on; `scancel {id}` ends it"));
            return Ok(Ending::Interrupted);
        }
        Ok(Ending::Complete)
    }
}

/// Tasks of a job that wait or run.
fn queued(id: &str) -> Result<usize> {
    let asked = Command::new("squeue").args(["--noheader", "--array", "--jobs", id, "--format=%i"]).output();
    let out = asked.context(|| "cannot run squeue".into())?;
    let said = String::from_utf8_lossy(&out.stderr);
    // A job that ended some minutes ago is forgotten.
    if !out.status.success() && !said.contains("Invalid job id") {
        return Err(Error::runtime(format!("Slurm does not tell of job {id}: {}", said.trim()))
            .hint("its tasks go on; `kneepoint report RUN` shows what there is"));
    }
    Ok(String::from_utf8_lossy(&out.stdout).lines().filter(|line| !line.trim().is_empty()).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_written_as_slurm_reads_them() {
        assert_eq!(array(&[0, 1, 2, 3, 7, 9, 10]), "0-3,7,9-10");
        assert_eq!((array(&[5]), array(&[])), ("5".to_owned(), String::new()));
    }

    fn suite() -> Suite {
        let text = "name = \"t\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
                    [reference]\n[[task]]\nname = \"serving/speed\"\nsamples = 1\n";
        crate::suite::parse(text, Path::new("t.toml"), &[]).unwrap()
    }

    #[test]
    fn the_script_requeues_names_its_log_and_quotes_what_it_runs() {
        let (folder, suite) = (Path::new("/runs/a b/r"), suite());
        let options = ["--partition=gpu".to_owned()];
        let job = Job { folder, suite: &suite, options: &options, retry_failed: true };
        let script = job.script(&[0, 1]).unwrap();
        for line in [
            "#SBATCH --array=0-1",
            "#SBATCH --output=\"/runs/a b/r/slurm/%a.log\"",
            "#SBATCH --requeue",
            "#SBATCH --partition=gpu",
        ] {
            assert!(script.lines().any(|known| known == line), "{line}\n{script}");
        }
        assert!(
            script.contains("worker '/runs/a b/r' --index \"$SLURM_ARRAY_TASK_ID\" --retry-failed"),
            "{script}"
        );
        let odd = Job { folder: Path::new("/runs/50%"), suite: &suite, options: &[], retry_failed: false };
        assert!(odd.script(&[0]).is_err());
    }

    #[test]
    fn the_script_tells_vulkan_what_slurm_tells_cuda() {
        let told = |variables: &[(&str, &str)]| {
            let script =
                CARDS.join("\n") + "\necho \"$GGML_VK_VISIBLE_DEVICES/$CUDA_DEVICE_ORDER/$SLURM_STEP_GPUS\"";
            let mut bash = Command::new("bash");
            bash.env_clear().args(["-c", &script]).envs(variables.iter().copied());
            String::from_utf8(bash.output().unwrap().stdout).unwrap().trim().to_owned()
        };
        assert_eq!(told(&[("CUDA_VISIBLE_DEVICES", "2,3"), ("SLURM_STEP_GPUS", "0,1")]), "2,3/PCI_BUS_ID/");
        assert_eq!(told(&[("ROCR_VISIBLE_DEVICES", "1")]), "1/PCI_BUS_ID/");
        assert_eq!(told(&[]), "//", "no card was asked for");
        assert_eq!(told(&[("CUDA_VISIBLE_DEVICES", "MIG-0c1d")]), "//", "a part of a card has no number");
        let own = [("CUDA_VISIBLE_DEVICES", "2"), ("GGML_VK_VISIBLE_DEVICES", "5")];
        assert_eq!(told(&own), "5/PCI_BUS_ID/", "what the user says stands");
    }
}
