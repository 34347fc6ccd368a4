//! Shared by integration tests that drive the binary.

pub(crate) mod scripted;
pub(crate) mod tiny_gguf;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The binary under test.
pub(crate) const KNEEPOINT: &str = env!("CARGO_BIN_EXE_kneepoint");

/// A suite on the mock server: 2 settings, 1 context, 2 rounds; deterministic replies.
pub(crate) const MOCK_SUITE: &str = r#"
name = "mock"
contexts = [512]
rounds = 2
draws = 1000
objectives = ["quality", "decode", "memory"]

[engine]
binary = "BINARY"
start_timeout_s = 20
request_timeout_s = 20
idle_timeout_s = 2

[[model]]
name = "mock"
path = "model.gguf"
weights = "Q8_0"

[reference]

[[setting]]
kv = "q8_0"

[[task]]
name = "retrieval/niah_single_1"
samples = 4

[[task]]
name = "coherence/kld"
samples = 2
[task.options]
positions = 8
top_k = 8
"#;

/// A mock server that ends with the test.
pub(crate) struct MockServer {
    pub(crate) child: Child,
    /// Its address.
    pub(crate) url: String,
}

impl MockServer {
    /// `args` are those of `kneepoint mock-server`, in one line.
    pub(crate) fn start(args: &str) -> Self {
        let mut child = Command::new(KNEEPOINT)
            .arg("mock-server")
            .args(args.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { child, url: said["url"].as_str().unwrap().to_owned() }
    }

    pub(crate) fn alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for MockServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with a suite whose server is `kneepoint mock-server` behind llama-server's command line.
pub(crate) struct MockBench {
    /// The folder.
    pub(crate) dir: tempfile::TempDir,
}

impl MockBench {
    /// `mock_args` are those of `kneepoint mock-server`.
    pub(crate) fn new(mock_args: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("llama-server");
        std::fs::write(&binary, wrapper(mock_args)).unwrap();
        set_executable(&binary);
        std::fs::write(dir.path().join("model.gguf"), tiny_gguf()).unwrap();
        let suite = MOCK_SUITE.replace("BINARY", binary.to_str().unwrap());
        std::fs::write(dir.path().join("suite.toml"), suite).unwrap();
        Self { dir }
    }

    /// A kneepoint command in the folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(KNEEPOINT);
        command
            .current_dir(self.dir.path())
            .args(args)
            .env("NO_COLOR", "1")
            .env_remove("KNEEPOINT_RUNS_DIR")
            .stdin(Stdio::null());
        command
    }

    /// The only run.
    pub(crate) fn run_folder(&self) -> PathBuf {
        let mut runs: Vec<_> = std::fs::read_dir(self.dir.path().join("runs"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs.remove(0)
    }
}

/// A journal as kneepoint wrote it before lines had checksums: for tests that change one by hand.
#[allow(dead_code, reason = "not every test changes a journal")]
pub(crate) fn without_checksums(journal: &str) -> String {
    let bare = |line: &str| match line.rsplit_once(",\"crc32\":\"") {
        Some((record, _)) => format!("{record}}}\n"),
        None => format!("{line}\n"),
    };
    journal.lines().map(bare).collect()
}

fn wrapper(mock_args: &str) -> String {
    // A server of one slot is asked one thing at a time.
    let slots = if mock_args.contains("--slots") { "" } else { "--slots \"$slots\"" };
    format!(
        r#"#!/bin/sh
# Takes llama-server's command line, runs the mock.
for arg in "$@"; do
  case "$arg" in
    --version) echo "version: 1 (mock)"; exit 0 ;;
    --help) echo "  -m, --model FNAME"; echo "  -fa, --flash-attn [on|off|auto]"; exit 0 ;;
  esac
done
while [ $# -gt 0 ]; do
  case "$1" in --port) port=$2 ;; -np) slots=$2 ;; esac
  shift
done
[ "$slots" -gt 1 ] || slots=0
exec {KNEEPOINT} mock-server --port "$port" {slots} {mock_args}
"#
    )
}

fn set_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The smallest GGUF file that says it is Q8_0: version 3, no tensors, two keys.
pub(crate) fn tiny_gguf() -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(b"GGUF");
    bytes.extend(3u32.to_le_bytes());
    bytes.extend(0u64.to_le_bytes());
    bytes.extend(2u64.to_le_bytes());
    let mut key = |name: &str, kind: u32, value: &[u8]| {
        bytes.extend((name.len() as u64).to_le_bytes());
        bytes.extend(name.as_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(value);
    };
    // 4: u32; file type 7 is Q8_0. 8: string.
    key("general.file_type", 4, &7u32.to_le_bytes());
    let mut name = 4u64.to_le_bytes().to_vec();
    name.extend(b"mock");
    key("general.name", 8, &name);
    bytes
}
