//! A panic is a bug, and says so, with an exit code that no documented outcome has.

#![expect(clippy::print_stderr, reason = "what the end of a process prints is what is tested")]

use std::process::Command;

use kneepoint::error::EXIT_BUG;
use kneepoint::fault;

const IN_A_PROCESS_OF_ITS_OWN: &str = "KNEEPOINT_TEST_PANICS";

struct Server;

impl Drop for Server {
    fn drop(&mut self) {
        eprintln!("the server has ended");
    }
}

/// Does nothing among the others; started again by the test below, it panics as a command would.
#[test]
fn a_process_that_panics() {
    if std::env::var_os(IN_A_PROCESS_OF_ITS_OWN).is_some() {
        let code = fault::guard(|| {
            let _server = Server;
            panic!("made up")
        });
        std::process::exit(code.into());
    }
}

#[test]
fn a_panic_is_a_bug_with_an_exit_code_of_its_own() {
    let me = std::env::current_exe().expect("the test's own path");
    let out = Command::new(me)
        .args(["--exact", "fault::a_process_that_panics", "--nocapture"])
        .env(IN_A_PROCESS_OF_ITS_OWN, "1")
        .env_remove("RUST_BACKTRACE")
        .output()
        .expect("the test starts again");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(EXIT_BUG.into()), "{said}");
    for words in
        ["this is a bug in kneepoint", "made up", "tests/it/fault.rs", "please report it", "nothing is lost"]
    {
        assert!(said.contains(words), "{words} is missing: {said}");
    }
    assert!(said.contains("the server has ended"), "what is held is dropped: {said}");
    assert!(!said.contains("thread '"), "said once, in our words: {said}");
}
