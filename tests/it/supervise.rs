//! Servers end with kneepoint, however kneepoint ends. Real processes, started through the real binary.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{KNEEPOINT, MockBench};
use kneepoint::error::{Error, Kind};
use kneepoint::measure::engine::supervise::{EXEC_SERVER, Launcher, Server, free_port};
use kneepoint::measure::probe::Subject;
use kneepoint::measure::probe::sampler::Sampler;
use kneepoint::record::{Argv, metric};

fn launcher(start_timeout: Duration) -> Launcher {
    Launcher { reexec: Some(KNEEPOINT.into()), ..Launcher::new(start_timeout) }
}

fn shell(script: &str) -> Argv {
    Argv {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: vec![("GREETING".into(), "hello".into())],
    }
}

/// A web server of which `/health` answers 200, because a file of that name is there.
fn web_server(folder: &Path, port: u16) -> Argv {
    std::fs::write(folder.join("health"), "ok").unwrap();
    let folder = folder.to_string_lossy().into_owned();
    let args = ["-m", "http.server", "--bind", "127.0.0.1", "--directory", &folder, &port.to_string()];
    Argv { program: "python3".into(), args: args.map(str::to_owned).to_vec(), env: Vec::new() }
}

async fn start(argv: &Argv, port: u16, folder: &Path, limit: Duration) -> Result<Server, Error> {
    launcher(limit).start(argv, port, "/health", &folder.join("engine/server.log")).await
}

/// Whether the process exists and is no zombie.
fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

fn ends_soon(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while runs(pid) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    !runs(pid)
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_server_becomes_ready_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let mut server = start(&web_server(folder.path(), port), port, folder.path(), LONG).await.unwrap();
    assert!(server.is_alive());
    assert!(server.load_time() > Duration::ZERO);
    assert!(server.read_log().unwrap().contains("/health"));
    let program = std::fs::read_link(format!("/proc/{}/exe", server.pid())).unwrap();
    assert!(program.to_string_lossy().contains("python"), "the detour became the server: {program:?}");
    let pid = server.pid();
    server.stop().await.unwrap();
    assert!(!runs(pid));
}

#[tokio::test]
async fn dropping_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let web = web_server(folder.path(), port);
    let grandchild = folder.path().join("grandchild");
    let script =
        format!("sleep 300 & echo $! > '{}'; exec python3 {}", grandchild.display(), web.args.join(" "));
    let server = start(&shell(&script), port, folder.path(), LONG).await.unwrap();
    let sleeper: u32 = std::fs::read_to_string(&grandchild).unwrap().trim().parse().unwrap();
    let pid = server.pid();
    assert!(runs(pid) && runs(sleeper));
    drop(server);
    assert!(!runs(pid));
    assert!(ends_soon(sleeper));
}

#[tokio::test]
async fn a_server_that_ignores_sigterm_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let web = web_server(folder.path(), port);
    let script = format!("trap '' TERM; python3 {} & wait; wait", web.args.join(" "));
    let server = start(&shell(&script), port, folder.path(), LONG).await.unwrap();
    let pid = server.pid();
    server.stop().await.unwrap();
    assert!(!runs(pid));
}

#[tokio::test]
async fn an_early_end_is_noticed_and_shows_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let script = "echo $GREETING; printf 'bad \\033[31m\\n' >&2; echo 'error: invalid argument: --nonsense' >&2; exit 3";
    let error = start(&shell(script), free_port().unwrap(), folder.path(), LONG).await.unwrap_err();
    assert_eq!(error.kind(), Kind::EngineStart);
    let text = error.to_string();
    assert!(text.contains("exit code 3") && text.contains("hello"), "{text}");
    assert!(text.contains("bad \\u{1b}[31m"), "terminal escapes are shown, not obeyed: {text}");
    assert!(error.hints().iter().any(|hint| hint.contains("does not know one of the arguments")));
    assert!(error.hints().iter().any(|hint| hint.contains("server.log")));
}

#[tokio::test]
async fn an_illegal_instruction_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let error = start(&shell("kill -ILL $$"), free_port().unwrap(), folder.path(), LONG).await.unwrap_err();
    assert!(error.to_string().contains("SIGILL"), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("processor instructions")));
}

#[tokio::test]
async fn a_missing_program_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let argv = Argv { program: folder.path().join("no-such-server"), args: Vec::new(), env: Vec::new() };
    let error = start(&argv, free_port().unwrap(), folder.path(), LONG).await.unwrap_err();
    assert!(error.to_string().contains("no-such-server"), "{error}");
}

#[tokio::test]
async fn a_server_that_is_never_ready_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let script = format!("echo $$ > '{}'; echo loading; exec sleep 300", pid_file.display());
    let limit = Duration::from_secs(2);
    let error = start(&shell(&script), free_port().unwrap(), folder.path(), limit).await.unwrap_err();
    assert!(error.to_string().contains("not ready after 2 s"), "{error}");
    assert!(error.to_string().contains("loading"), "{error}");
    let pid: u32 = std::fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
    assert!(ends_soon(pid));
}

#[tokio::test]
async fn an_answer_of_another_process_is_not_taken_for_the_servers() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let other = start(&web_server(folder.path(), port), port, folder.path(), LONG).await.unwrap();
    let error = start(&shell("sleep 300"), port, folder.path(), LONG).await.unwrap_err();
    assert!(error.to_string().contains("another process answers"), "{error}");
    other.stop().await.unwrap();
}

/// A parent that starts `sleep` the way kneepoint starts a server, tells its pid, and waits.
fn parent_of_a_server(pid_file: &Path) -> std::process::Child {
    let script = "import os,subprocess,sys,time\n\
                  child = subprocess.Popen([sys.argv[1], sys.argv[2], '--parent', str(os.getpid()), '--', 'sleep', '300'])\n\
                  open(sys.argv[3] + '.new', 'w').write(str(child.pid))\n\
                  os.rename(sys.argv[3] + '.new', sys.argv[3])\n\
                  time.sleep(300)\n";
    Command::new("python3").args(["-c", script, KNEEPOINT, EXEC_SERVER]).arg(pid_file).spawn().unwrap()
}

#[test]
fn a_killed_parent_takes_its_server_along() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let mut parent = parent_of_a_server(&pid_file);
    let deadline = Instant::now() + LONG;
    while !pid_file.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    let server: u32 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    // The detour is over when the program is `sleep`.
    let exe = || std::fs::read_to_string(format!("/proc/{server}/comm")).unwrap_or_default();
    while exe().trim() != "sleep" && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(exe().trim(), "sleep");
    parent.kill().unwrap(); // SIGKILL: no code of the parent runs any more
    parent.wait().unwrap();
    assert!(ends_soon(server));
}

#[test]
fn nothing_is_started_for_a_parent_that_is_gone() {
    let output = Command::new(KNEEPOINT)
        .args([EXEC_SERVER, "--parent", "1", "--", "echo", "started"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
}

/// Scripts that start `$SERVER` in the ways that are out there.
const WAYS: &[(&str, &str)] = &[
    ("a wrapper without exec", "$SERVER; exit $?"),
    ("two wrappers without exec", "sh -c '$SERVER; exit $?'; exit $?"),
    ("a server in a session of its own", "setsid --fork $SERVER; sleep 300"),
    ("a server that forks twice", "( $SERVER & ); sleep 300"),
    ("a server that forks twice and calls setsid", "( setsid $SERVER & ); sleep 300"),
    (
        "workers in sessions of their own, deaf to SIGTERM",
        "for i in 1 2; do setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & done; $SERVER; exit $?",
    ),
    ("a worker without its environment", "env -i /usr/bin/setsid /bin/sleep 300 & $SERVER; exit $?"),
];

/// A web server that is started in one of the [`WAYS`].
fn in_a_way(way: &str, folder: &Path, port: u16) -> Argv {
    let web = web_server(folder, port);
    let marker = folder.to_string_lossy().into_owned();
    let server = format!("python3 {}", web.args.join(" "));
    Argv { env: vec![("KNEEPOINT_TEST".into(), marker), ("SERVER".into(), server)], ..shell(way) }
}

/// Pids of processes, zombies left out, that a folder's name is in the environment of, or whose output goes there.
fn processes_of(folder: &Path) -> Vec<u32> {
    let marker = folder.to_str().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    pids.filter(|pid| runs(*pid))
        .filter(|pid| {
            let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let marked = String::from_utf8_lossy(&environ).contains(&format!("KNEEPOINT_TEST={marker}"));
            let output = std::fs::read_link(format!("/proc/{pid}/fd/1")).unwrap_or_default();
            marked || output.starts_with(folder)
        })
        .collect()
}

fn no_process_is_left(folder: &Path, way: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !processes_of(folder).is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(processes_of(folder), Vec::<u32>::new(), "{way}: outlived its end");
}

#[tokio::test]
async fn the_normal_stop_ends_every_process_of_a_server_however_it_was_started() {
    for (name, way) in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        let server = start(&in_a_way(way, folder.path(), port), port, folder.path(), LONG).await;
        let mut server = server.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(server.is_alive(), "{name}");
        let before = processes_of(folder.path());
        server.stop().await.unwrap();
        let left: Vec<u32> = processes_of(folder.path());
        assert!(left.is_empty(), "{name}: {left:?} of {before:?} are left when `stop` returns");
    }
}

#[tokio::test]
async fn dropping_ends_every_process_of_a_server_however_it_was_started() {
    for (name, way) in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        let server = start(&in_a_way(way, folder.path(), port), port, folder.path(), LONG).await.unwrap();
        drop(server);
        no_process_is_left(folder.path(), name);
    }
}

/// A run whose server is started in one of the [`WAYS`].
fn bench_in_a_way(way: &str, mock_args: &str) -> MockBench {
    let bench = MockBench::new(mock_args);
    let [binary, serve] = ["llama-server", "serve"].map(|name| bench.dir.path().join(name));
    std::fs::rename(&binary, &serve).unwrap();
    let serve = serve.display();
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in --version|--help) exec {serve} \"$@\" ;; esac\nexport SERVER=\"{serve} $*\"\n{way}\n"
    );
    std::fs::write(&binary, script).unwrap();
    std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bench
}

/// Starts it and waits until its first trial has ended.
fn in_the_middle(bench: &MockBench) -> Child {
    let folder = bench.dir.path();
    let mut child = bench
        .command(&["run", "suite.toml"])
        .env("KNEEPOINT_TEST", folder)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + LONG;
    let measured = || {
        let runs = std::fs::read_dir(folder.join("runs")).into_iter().flatten().flatten();
        let mut texts = runs.filter_map(|run| std::fs::read_to_string(run.path().join("journal.jsonl")).ok());
        texts.any(|text| text.contains("\"trial\""))
    };
    while !measured() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be killed");
        assert!(Instant::now() < deadline, "no trial after a minute");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn sigkill_of_kneepoint_leaves_no_process_of_the_server_however_it_was_started() {
    for (name, way) in WAYS {
        let bench = bench_in_a_way(way, "--decode-ms 20");
        let mut child = in_the_middle(&bench);
        child.kill().unwrap();
        child.wait().unwrap();
        no_process_is_left(bench.dir.path(), name);
    }
}

#[test]
fn a_run_with_any_of_these_servers_is_whole_and_leaves_nothing() {
    // The deaf workers take their whole time of grace in every visit.
    for (name, way) in WAYS.iter().filter(|(_, way)| !way.contains("trap")) {
        let bench = bench_in_a_way(way, "");
        let out =
            bench.command(&["run", "suite.toml"]).env("KNEEPOINT_TEST", bench.dir.path()).output().unwrap();
        assert!(out.status.success(), "{name}: {}", String::from_utf8_lossy(&out.stderr));
        assert!(bench.run_folder().join("report.md").is_file(), "{name}");
        assert_eq!(processes_of(bench.dir.path()), Vec::<u32>::new(), "{name}");
    }
}

/// The parent of a process.
fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_killed_watcher_takes_the_server_along_and_kneepoint_ends_what_is_left() {
    for (name, way) in WAYS {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port().unwrap();
        let mut server = start(&in_a_way(way, folder.path(), port), port, folder.path(), LONG).await.unwrap();
        let watcher = parent(server.pid());
        assert_ne!(watcher, std::process::id(), "{name}: the server's parent is its watcher");
        Command::new("kill").args(["-KILL", &watcher.to_string()]).status().unwrap();
        let deadline = Instant::now() + LONG;
        while server.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let how = server.exit().unwrap();
        assert!(how.contains("watcher") && how.contains("SIGKILL"), "{name}: {how}");
        no_process_is_left(folder.path(), name);
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn signals_to_the_whole_terminal_or_unit_do_not_end_the_watcher_before_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let way = "$SERVER; exit $?";
    let mut server = start(&in_a_way(way, folder.path(), port), port, folder.path(), LONG).await.unwrap();
    let watcher = parent(server.pid()).to_string();
    for signal in ["-INT", "-TERM", "-HUP"] {
        Command::new("kill").args([signal, &watcher]).status().unwrap();
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(server.is_alive(), "{:?}", server.exit());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_behind_the_watcher_takes_sigterm_as_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let web = web_server(folder.path(), port);
    let script =
        format!("trap 'echo ended softly; kill $!; exit 0' TERM; python3 {} & wait", web.args.join(" "));
    let patient = Launcher { grace: LONG, ..launcher(LONG) };
    let log = folder.path().join("engine/server.log");
    let server = patient.start(&shell(&script), port, "/health", &log).await.unwrap();
    let began = Instant::now();
    server.stop().await.unwrap();
    assert!(began.elapsed() < LONG / 2, "it was not left to the end of its grace");
    assert!(std::fs::read_to_string(log).unwrap().contains("ended softly"));
}

#[tokio::test]
async fn the_exit_status_is_the_servers_own() {
    let folder = tempfile::tempdir().unwrap();
    for (script, how) in [("exit 7", "exit code 7"), ("kill -SEGV $$", "killed by SIGSEGV")] {
        let port = free_port().unwrap();
        let web = web_server(folder.path(), port);
        let gone = folder.path().join("gone");
        let _ = std::fs::remove_file(&gone);
        let script = format!(
            "python3 {} & while [ ! -e '{}' ]; do sleep 0.05; done; {script}",
            web.args.join(" "),
            gone.display()
        );
        let mut server = start(&shell(&script), port, folder.path(), LONG).await.unwrap();
        assert_eq!(server.exit(), None);
        std::fs::write(&gone, "").unwrap();
        let deadline = Instant::now() + LONG;
        while server.is_alive() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(server.exit().as_deref(), Some(how));
    }
}

#[tokio::test]
async fn a_script_that_leaves_its_server_behind_is_told_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let argv = in_a_way("setsid --fork $SERVER", folder.path(), port);
    let error = start(&argv, port, folder.path(), LONG).await.unwrap_err();
    assert!(error.to_string().contains("exit code 0"), "{error}");
    assert!(error.hints().iter().any(|hint| hint.contains("`exec`")), "{:?}", error.hints());
    no_process_is_left(folder.path(), "a server that was left behind");
}

#[tokio::test]
async fn orphans_of_a_server_do_not_stay_as_zombies() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let argv = in_a_way("for i in 1 2 3; do ( sleep 0.1 & ); done; $SERVER; exit $?", folder.path(), port);
    let server = start(&argv, port, folder.path(), LONG).await.unwrap();
    let watcher = parent(server.pid());
    std::thread::sleep(Duration::from_millis(500));
    let children = std::fs::read_to_string(format!("/proc/{watcher}/task/{watcher}/children")).unwrap();
    assert_eq!(children.trim(), server.pid().to_string(), "the orphans have ended and are reaped");
    server.stop().await.unwrap();
}

/// A figure of what the probes measure of a server.
fn probed(server: &Server, name: &str) -> f64 {
    let sampler = Sampler::start(Subject { server_pid: server.pid() }).unwrap();
    sampler.begin();
    let measured = sampler.end();
    measured.iter().find(|figure| figure.name == name).and_then(|figure| figure.value).unwrap()
}

#[tokio::test]
async fn memory_counts_orphans_of_the_server_and_not_the_watcher() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let alone =
        start(&in_a_way("exec $SERVER", folder.path(), port), port, folder.path(), LONG).await.unwrap();
    let rss = probed(&alone, metric::PEAK_RSS_BYTES);
    let status = std::fs::read_to_string(format!("/proc/{}/status", alone.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(rss <= kib * 1024.0, "{rss} bytes of one process, whose peak is {kib} KiB: the watcher counts");
    alone.stop().await.unwrap();

    // 64 MiB in a process that forked twice and left the server's session.
    let ballast = "import time; room = b'x' * (64 << 20); open('ballast', 'w').close(); time.sleep(300)";
    let port = free_port().unwrap();
    let way =
        format!("cd '{}'; ( setsid python3 -c \"{ballast}\" & ); exec $SERVER", folder.path().display());
    let server = start(&in_a_way(&way, folder.path(), port), port, folder.path(), LONG).await.unwrap();
    let deadline = Instant::now() + LONG;
    while !folder.path().join("ballast").exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    for name in [metric::PEAK_RSS_BYTES, metric::PEAK_PSS_BYTES, metric::PEAK_ANON_BYTES] {
        let bytes = probed(&server, name);
        assert!(bytes > f64::from(64 << 20), "{name} is {bytes}: the worker is missing");
    }
    server.stop().await.unwrap();
}
