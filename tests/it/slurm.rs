//! A suite on a real Slurm: slurmctld, munged and a slurmd for each of several nodes, all of this machine.
//!
//! Needs Debian's packages `slurm-wlm` and `munge` (.ci/run installs them); Debian's slurmd is built for several on one machine
//! (`-N`). `KNEEPOINT_SLURM_KILLS=30` makes the random test a long one; `KNEEPOINT_SLURM_SEED` repeats one.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::MockBench;
use crate::spread::{lines, trials};

/// Nodes of the cluster.
const NODES: usize = 4;
/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(240);

/// A cluster that ends with the test.
struct Cluster {
    dir: tempfile::TempDir,
    munged: Child,
    controller: Child,
    nodes: BTreeMap<String, Child>,
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

impl Cluster {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["munge", "state", "spool", "log"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        // munged refuses a key and a folder that others may write to.
        std::fs::write(at("munge/key"), [7_u8; 1024]).unwrap();
        for (path, mode) in
            [(at("munge/key"), 0o400), (at("munge"), 0o755), (dir.path().to_path_buf(), 0o755)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::write(at("slurm.conf"), config(dir.path())).unwrap();
        let munge = |name: &str| at("munge").join(name);
        let flags = [
            ("key-file", "key"),
            ("socket", "socket"),
            ("pid-file", "pid"),
            ("log-file", "log"),
            ("seed-file", "seed"),
        ];
        let words: Vec<String> =
            flags.iter().map(|(flag, name)| format!("--{flag}={}", munge(name).display())).collect();
        let munged = daemon(
            dir.path(),
            "munged",
            "munged",
            &[&["--force".into(), "--foreground".into()], &words[..]].concat(),
        );
        until("munged listens", || munge("socket").exists());
        let words = ["-D".into(), "-f".into(), at("slurm.conf").display().to_string()];
        let controller = daemon(dir.path(), "slurmctld", "ctld", &words);
        let mut cluster = Self { dir, munged, controller, nodes: BTreeMap::new() };
        for number in 0..NODES {
            cluster.start_node(&format!("node{number}"));
        }
        until("all nodes are idle", || {
            let out = cluster.ask("sinfo", &["--noheader", "--Node", "--format=%N %t"]);
            String::from_utf8_lossy(&out.stdout).lines().filter(|line| line.ends_with(" idle")).count()
                == NODES
        });
        cluster
    }

    fn start_node(&mut self, name: &str) {
        let config = self.config().display().to_string();
        let words = ["-D".into(), "-N".into(), name.to_owned(), "-f".into(), config];
        let node = daemon(self.dir.path(), "slurmd", name, &words);
        self.nodes.insert(name.to_owned(), node);
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("slurm.conf")
    }

    fn ask(&self, program: &str, args: &[&str]) -> Output {
        Command::new(program).args(args).env("SLURM_CONF", self.config()).output().unwrap()
    }

    /// A kneepoint command that finds the cluster.
    fn kneepoint(&self, bench: &MockBench, args: &[&str]) -> Command {
        let mut command = bench.command(args);
        command.env("SLURM_CONF", self.config()).env_remove("KNEEPOINT_NODE");
        command
    }

    /// Slurm holds a requeued task back for two minutes: here nobody waits for that.
    fn hurry(&self) {
        let waiting = self.ask("squeue", &["--noheader", "--states=PENDING", "--array", "--format=%A"]);
        for job in String::from_utf8_lossy(&waiting.stdout).split_whitespace() {
            self.ask("scontrol", &["update", &format!("JobId={job}"), "StartTime=now"]);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.ask("scancel", &["--user=root", "--signal=KILL"]);
        self.ask("scancel", &["--user=root"]);
        std::thread::sleep(Duration::from_secs(2));
        let others = [&mut self.controller, &mut self.munged];
        for child in self.nodes.values_mut().chain(others) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn daemon(folder: &Path, program: &str, name: &str, words: &[String]) -> Child {
    let log = File::create(folder.join("log").join(format!("{name}.out"))).unwrap();
    Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error} (Debian's packages slurm-wlm and munge)"))
}

fn config(folder: &Path) -> String {
    let host = String::from_utf8(Command::new("hostname").arg("-s").output().unwrap().stdout).unwrap();
    let (host, at) = (host.trim(), folder.display());
    let mut text = format!(
        "ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={}\nSlurmUser=root\nSlurmdUser=root\n\
         AuthType=auth/munge\nAuthInfo=socket={at}/munge/socket\nCredType=cred/munge\nStateSaveLocation={at}/state\n\
         SlurmdSpoolDir={at}/spool/%n\nSlurmctldPidFile={at}/ctld.pid\nSlurmdPidFile={at}/%n.pid\n\
         SlurmctldLogFile={at}/log/ctld.log\nSlurmdLogFile={at}/log/%n.log\nProctrackType=proctrack/linuxproc\n\
         TaskPlugin=task/none\nSwitchType=switch/none\nJobAcctGatherType=jobacct_gather/none\n\
         AccountingStorageType=accounting_storage/none\nMpiDefault=none\nSchedulerType=sched/backfill\n\
         SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nReturnToService=2\nSlurmdTimeout=5\nKillWait=5\n\
         JobRequeue=1\nSlurmdParameters=config_overrides\n",
        free_port()
    );
    for number in 0..NODES {
        text.push_str(&format!(
            "NodeName=node{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={} CPUs=1 RealMemory=500 State=UNKNOWN\n",
            free_port()
        ));
    }
    text + &format!("PartitionName=cards Nodes=node[0-{}] Default=YES MaxTime=INFINITE State=UP\n", NODES - 1)
}

/// A suite of four rounds: four shares.
fn bench(mock: &str) -> MockBench {
    let bench = MockBench::new(mock);
    let suite = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&suite).unwrap();
    std::fs::write(&suite, text.replace("rounds = 2", "rounds = 4").replace("samples = 4", "samples = 8"))
        .unwrap();
    bench
}

/// What one process measures of it: 2 settings and A/A of 8 + 2 cases.
fn whole() -> BTreeMap<String, Vec<String>> {
    let alone = bench("");
    assert!(alone.command(&["run", "suite.toml"]).output().unwrap().status.success());
    let whole = trials(&alone.run_folder());
    assert_eq!(whole.len(), 30);
    whole
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
#[ignore = "needs slurm-wlm and munge; .ci/run has them"]
fn four_nodes_measure_what_one_process_does() {
    let whole = whole();
    let cluster = Cluster::start();
    let bench = bench("--decode-ms 2");
    let args = ["run", "suite.toml", "--on", "slurm", "--partition", "cards", "--tasks", "4", "--wait"];
    let out = cluster.kneepoint(&bench, &args).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    let folder = bench.run_folder();
    assert_eq!(trials(&folder), whole);
    let places: std::collections::BTreeSet<String> = lines(&folder, "header")
        .into_iter()
        .filter_map(|(_, header)| Some(header["worker"]["place"].as_str()?.to_owned()))
        .collect();
    assert_eq!(places.into_iter().collect::<Vec<_>>(), ["node0", "node1", "node2", "node3"]);
    let report = std::fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(report.contains("| node3 |"), "{report}");

    // A queue that refuses leaves no run behind.
    let args = ["run", "suite.toml", "--on", "slurm", "--partition", "nowhere"];
    let out = cluster.kneepoint(&bench, &args).output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(
        said(&out).contains("Slurm refuses the job") && said(&out).contains("invalid partition"),
        "{}",
        said(&out)
    );
    assert_eq!(bench.run_folder(), folder);
}

/// Numbers of a known seed (an LCG of Knuth's MMIX).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Process ids of what runs for a bench, by a word of their command line.
fn processes(bench: &MockBench, word: &str) -> Vec<u32> {
    let folder = bench.dir.path().to_string_lossy().into_owned();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let ours = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        words.contains(&format!("\0{word}\0")) && words.contains(&folder)
    };
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(ours).collect()
}

#[test]
#[ignore = "needs slurm-wlm and munge; .ci/run has them"]
fn tasks_nodes_and_kneepoint_are_killed_and_no_trial_is_lost_or_measured_twice() {
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let (wanted, seed) = (number("KNEEPOINT_SLURM_KILLS", 4), number("KNEEPOINT_SLURM_SEED", 1));
    let whole = whole();
    let mut cluster = Cluster::start();
    let mut random = Random(seed);
    let mut kills: Vec<&str> = Vec::new();
    while (kills.len() as u64) < wanted {
        let before = kills.len();
        killed_run(&mut cluster, &mut random, &whole, wanted, &mut kills);
        assert!(kills.len() > before || wanted == 0, "a run ended before anything was killed");
    }
}

/// One run: things are killed until it has all its trials.
fn killed_run(
    cluster: &mut Cluster,
    random: &mut Random,
    whole: &BTreeMap<String, Vec<String>>,
    wanted: u64,
    kills: &mut Vec<&'static str>,
) {
    let bench = bench("--decode-ms 8");
    let submit = |cluster: &Cluster, args: &[&str]| {
        cluster.kneepoint(&bench, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let args = ["run", "suite.toml", "--on", "slurm", "--tasks", "4", "--wait"];
    let mut kneepoint = submit(cluster, &args);
    until("the run has begun", || {
        std::fs::read_dir(bench.dir.path().join("runs")).is_ok_and(|mut runs| {
            runs.any(|run| run.is_ok_and(|run| !run.file_name().to_string_lossy().starts_with('.')))
        })
    });
    let folder = bench.run_folder();
    let began = Instant::now();
    let mut down: Vec<(String, Instant)> = Vec::new();
    while trials(&folder).len() < whole.len() {
        assert!(
            began.elapsed() < PATIENCE,
            "{} of {} trials after {kills:?}",
            trials(&folder).len(),
            whole.len()
        );
        std::thread::sleep(Duration::from_millis(100 + random.below(700)));
        if (kills.len() as u64) < wanted && trials(&folder).len() < whole.len() {
            match random.below(3) {
                0 => {
                    let tasks = processes(&bench, "worker");
                    if !tasks.is_empty() {
                        let task = tasks[random.below(tasks.len() as u64) as usize];
                        Command::new("kill").args(["-9", &task.to_string()]).output().unwrap();
                        kills.push("task");
                    }
                }
                1 if down.is_empty() => {
                    let name = format!("node{}", random.below(NODES as u64));
                    let node = cluster.nodes.get_mut(&name).unwrap();
                    node.kill().unwrap();
                    node.wait().unwrap();
                    // Some come back before Slurm has noticed, some after it has given their tasks to others.
                    down.push((name, Instant::now() + Duration::from_secs(random.below(15))));
                    kills.push("slurmd");
                }
                2 => {
                    kneepoint.kill().unwrap();
                    kneepoint.wait().unwrap();
                    kills.push("kneepoint");
                }
                _ => {}
            }
        }
        let now = Instant::now();
        for (name, _) in down.extract_if(.., |(_, back)| *back <= now) {
            cluster.start_node(&name);
        }
        cluster.hurry();
        if kneepoint.try_wait().unwrap().is_some() && trials(&folder).len() < whole.len() {
            kneepoint = submit(cluster, &["resume", folder.to_str().unwrap(), "--wait"]);
        }
    }
    for (name, _) in down {
        cluster.start_node(&name);
    }
    let measured = trials(&folder);
    assert!(
        measured.values().all(|times| times.len() == 1),
        "a trial was measured twice after {kills:?}: {measured:?}"
    );
    assert_eq!(&measured, whole, "after {kills:?}");
    let _ = kneepoint.kill();
    kneepoint.wait().unwrap();
    // Tasks that have nothing left to do end by themselves.
    until("no task is left", || {
        cluster.hurry();
        cluster.ask("squeue", &["--noheader"]).stdout.is_empty()
    });
    let out = cluster.kneepoint(&bench, &["resume", folder.to_str().unwrap(), "--wait"]).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    assert_eq!(&trials(&folder), whole);
}

/// Two settings of a real model, scored by probability: what a server says depends on nothing else here.
const REAL: &str = r#"
name = "real"
contexts = [512]
rounds = 2
[engine]
threads = 1
[[model]]
name = "SmolLM2-135M-Instruct"
package = "smollm2-135m-instruct"
[reference]
kv = "f16"
[[setting]]
kv = "q4_0"
[[task]]
name = "retrieval/niah_multikey_2"
samples = 8
questions = 4
score = "probability"
options.output_tokens = 16
"#;

/// The score of every trial by setting, replicate and index.
fn scores(folder: &Path) -> BTreeMap<(String, u32, u32), f64> {
    let journal = kneepoint::record::journal::load(folder).unwrap();
    let score = |trial: &kneepoint::record::Trial| {
        let key = &trial.key;
        let quality = trial.outcome.score().unwrap_or_else(|| panic!("{trial:?}")).quality.unwrap();
        ((key.setting.to_string(), key.replicate, key.index), quality)
    };
    journal.trials.iter().map(score).collect()
}

#[test]
#[ignore = "needs slurm-wlm and munge; .ci/run has them"]
fn a_real_server_says_the_same_on_two_nodes_as_in_one_process() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("suite.toml"), REAL).unwrap();
    let kneepoint = |args: &[&str], cluster: Option<&Cluster>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kneepoint"));
        command.current_dir(dir.path()).args(args).env_remove("KNEEPOINT_RUNS_DIR");
        if let Some(cluster) = cluster {
            command.env("SLURM_CONF", cluster.config()).env_remove("KNEEPOINT_NODE");
        }
        let out = command.output().unwrap();
        assert!(out.status.success(), "{}", said(&out));
        let runs = std::fs::read_dir(dir.path().join("runs")).unwrap().flatten().map(|run| run.path());
        runs.filter(|run| run.is_dir()).max_by_key(|run| run.metadata().unwrap().modified().unwrap()).unwrap()
    };
    let alone = scores(&kneepoint(&["run", "suite.toml"], None));
    assert_eq!(alone.len(), 24, "two settings and A/A");
    let cluster = Cluster::start();
    let folder = kneepoint(&["run", "suite.toml", "--on", "slurm", "--tasks", "2", "--wait"], Some(&cluster));
    let spread = scores(&folder);
    assert_eq!(alone.keys().collect::<Vec<_>>(), spread.keys().collect::<Vec<_>>());
    for (trial, score) in &alone {
        assert!(
            (spread[trial] - score).abs() < 1e-6,
            "{trial:?}: {score} alone, {} on a node",
            spread[trial]
        );
    }
    let nodes: std::collections::BTreeSet<String> = lines(&folder, "header")
        .into_iter()
        .filter_map(|(_, header)| Some(header["worker"]["place"].as_str()?.to_owned()))
        .collect();
    assert_eq!(nodes.len(), 2, "{nodes:?}");
}
