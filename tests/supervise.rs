//! Servers end with kneepoint, however kneepoint ends. Real processes, started through the real binary.

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use kneepoint::engine::Argv;
use kneepoint::engine::supervise::{EXEC_SERVER, Launcher, Server, free_port};
use kneepoint::error::{Error, Kind};

const KNEEPOINT: &str = env!("CARGO_BIN_EXE_kneepoint");

fn launcher(start_timeout: Duration) -> Launcher {
    Launcher { reexec: Some(KNEEPOINT.into()), start_timeout }
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
