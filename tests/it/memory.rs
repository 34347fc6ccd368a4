//! Memory as it is reported: which kind it is, what the engine says of its caches, and what the formula makes of both.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::common::{KNEEPOINT, MockServer};

const MIB: f64 = 1024.0 * 1024.0;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn kneepoint(dir: &Path, args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(KNEEPOINT);
    command.current_dir(dir).args(args).env("NO_COLOR", "1").env_remove("KNEEPOINT_RUNS_DIR");
    command.envs(env.iter().copied()).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the folder's suite: its summary.
fn run(dir: &Path, env: &[(&str, &str)]) -> Value {
    let output = kneepoint(dir, &["run", "suite.toml", "--json"], env);
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn report(dir: &Path) -> String {
    let output = kneepoint(dir, &["report", "latest", "--format", "md"], &[]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

const TASK: &str = "\
[[task]]
name = \"retrieval/niah_single_1\"
samples = 2
[task.options]
output_tokens = 16
";

/// A model file's header, behind a server that logs these caches at 1,024 tokens: (cells, layers, KiB a cell, layer and
/// side for K, and for V).
struct LoggingServer(tempfile::TempDir);

impl LoggingServer {
    fn new(model: &Path, caches: &[(u32, u32, f64, f64)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(model, dir.path().join("model.gguf")).unwrap();
        let line = |(cells, layers, k, v): &(u32, u32, f64, f64)| {
            let mib = |kib: &f64| f64::from(cells * layers) * kib / 1024.0;
            format!(
                "llama_kv_cache: size = {:.2} MiB ({cells} cells, {layers} layers, 1/1 seqs), K (f16): {:.2} MiB, V (f16): {:.2} MiB",
                mib(k) + mib(v),
                mib(k),
                mib(v)
            )
        };
        let lines: String = caches.iter().map(|cache| format!("echo '{}' >&2\n", line(cache))).collect();
        let script = format!(
            "#!/bin/sh\ncase \"$1\" in\n  --version) echo 'version: 1 (mock)'; exit 0 ;;\n  \
             --help) echo '  -m, --model FNAME'; echo '  -fa, --flash-attn [on|off|auto]'; exit 0 ;;\nesac\n\
             while [ $# -gt 0 ]; do case \"$1\" in --port) port=$2 ;; -c) ctx=$2 ;; esac; shift; done\n\
             {lines}exec {KNEEPOINT} mock-server --port \"$port\" --slots 1 --context \"$ctx\"\n"
        );
        let server = dir.path().join("llama-server");
        std::fs::write(&server, script).unwrap();
        std::fs::set_permissions(&server, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let suite = format!(
            "name = \"kv\"\ncontexts = [1024]\nrounds = 1\ndraws = 200\nobjectives = [\"quality\", \"decode\", \"memory\"]\n\
             [engine]\nbinary = \"./llama-server\"\nstart_timeout_s = 30\nrequest_timeout_s = 20\nidle_timeout_s = 5\n\
             [[model]]\nname = \"m\"\npath = \"model.gguf\"\nweights = \"Q4_K_M\"\n[reference]\n{TASK}"
        );
        std::fs::write(dir.path().join("suite.toml"), suite).unwrap();
        Self(dir)
    }

    fn weights(self, name: &str) -> Self {
        let path = self.0.path().join("suite.toml");
        let suite = std::fs::read_to_string(&path).unwrap().replace("Q4_K_M", name);
        std::fs::write(path, suite).unwrap();
        self
    }

    fn run(&self) -> Value {
        run(self.0.path(), &[])
    }

    fn pick(&self, context: &str) -> Value {
        let args = ["pick", "latest", "--context", context, "--extrapolate", "--min-quality", "0", "--json"];
        let output = kneepoint(self.0.path(), &args, &[]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// (by the engine, by the formula) of the only cell, in MiB.
fn caches(summary: &Value) -> (f64, f64) {
    let check = &summary["memory_fits"][0]["checks"][0];
    let mib = |key: &str| check[key].as_f64().unwrap() / MIB;
    (mib("kv_reported_bytes"), mib("kv_formula_bytes"))
}

fn warnings(summary: &Value) -> String {
    summary["warnings"].to_string()
}

#[test]
fn a_glm_has_46_layers_with_a_cache_not_47() {
    let server = LoggingServer::new(&fixture("kv/glm-nextn.gguf"), &[(1024, 46, 2.0, 2.0)]).weights("Q3_K_M");
    let summary = server.run();
    assert_eq!(caches(&summary), (184.0, 184.0));
    assert!(!warnings(&summary).contains("KV cache"), "{}", warnings(&summary));
    let kv = server.pick("131072")["memory"]["kv_bytes"].as_f64().unwrap() / MIB;
    assert_eq!(kv, 46.0 * 131_072.0 * 4.0 / 1024.0);
}

#[test]
fn a_llama_4_takes_about_7_gib_at_128k_not_24() {
    let log = [(1024, 12, 2.0, 2.0), (1024, 36, 2.0, 2.0)];
    let server = LoggingServer::new(&fixture("kv/llama4-chunked.gguf"), &log);
    assert_eq!(caches(&server.run()), (192.0, 192.0));
    let gib = server.pick("131072")["memory"]["kv_bytes"].as_f64().unwrap() / MIB / 1024.0;
    assert!((gib - 7.195).abs() < 0.001, "{gib} GiB");
}

#[test]
fn where_engine_and_formula_disagree_the_engine_rules_and_it_is_said() {
    // The engine keeps half of what the file's layers would take.
    let server = LoggingServer::new(&fixture("kv/glm-nextn.gguf"), &[(1024, 23, 2.0, 2.0)]).weights("Q3_K_M");
    let summary = server.run();
    assert_eq!(caches(&summary), (92.0, 184.0));
    let said = warnings(&summary);
    assert!(
        said.contains("92.0 MiB") && said.contains("184 MiB") && said.contains("engine's figures"),
        "{said}"
    );
    let report = report(server.0.path());
    assert!(report.contains("| 92.0 MiB | **184 MiB** |"), "both figures, the wrong one marked:\n{report}");
    let pick = server.pick("2048");
    assert_eq!(pick["memory"]["kv_bytes"].as_f64().unwrap() / MIB, 184.0, "half of the formula's 368 MiB");
    let notes = pick["memory"]["notes"].to_string();
    assert!(notes.contains("times 0.50") && notes.contains("92.0 MiB"), "{notes}");
}

#[test]
fn the_rest_of_the_server_is_never_negative() {
    // The mock holds no cache at all: 184 MiB of buffers are set aside and never touched.
    let server = LoggingServer::new(&fixture("kv/glm-nextn.gguf"), &[(1024, 46, 2.0, 2.0)]).weights("Q3_K_M");
    server.run();
    let memory = server.pick("1024")["memory"].clone();
    assert_eq!(memory["other_bytes"], 0);
    assert!(memory["overlap_bytes"].as_f64().unwrap() > 100.0 * MIB);
    let parts = memory["weights_bytes"].as_u64().unwrap() + memory["kv_bytes"].as_u64().unwrap();
    assert_eq!(memory["total_bytes"].as_u64(), Some(parts), "the parts add up");
    assert!(memory["notes"].to_string().contains("in no measured peak"), "{}", memory["notes"]);
}

/// A server that runs already, and a stand-in for NVIDIA's library that knows of it.
struct Card {
    dir: tempfile::TempDir,
    _server: MockServer,
}

impl Card {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("libnvidia-ml.so.1");
        let source = fixture("nvml/fakenvml.c");
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status().unwrap();
        assert!(built.success(), "a C compiler makes the stand-in");
        let server = MockServer::start("--context 1024");
        let url = &server.url;
        std::fs::write(dir.path().join("pid"), server.child.id().to_string()).unwrap();
        let suite = format!(
            "name = \"card\"\ncontexts = [1024]\nrounds = 1\ndraws = 200\nobjectives = [\"quality\", \"decode\", \"memory\"]\n\
             [engine]\nname = \"openai\"\nurl = \"{url}\"\nstart_timeout_s = 10\nrequest_timeout_s = 20\nidle_timeout_s = 5\n\
             [[model]]\nname = \"mock\"\nweights = \"Q8_0\"\n[reference]\n{TASK}"
        );
        std::fs::write(dir.path().join("suite.toml"), suite).unwrap();
        Self { dir, _server: server }
    }

    fn run(&self, kind: &str) -> Value {
        let path = self.dir.path().to_str().unwrap();
        let pid = self.dir.path().join("pid");
        let env =
            [("FAKE_NVML", kind), ("FAKE_NVML_PIDFILE", pid.to_str().unwrap()), ("LD_LIBRARY_PATH", path)];
        run(self.dir.path(), &env)
    }
}

const GIB: u64 = 1 << 30;

#[test]
fn a_card_that_reports_no_memory_of_its_own_still_has_all_its_other_figures() {
    let card = Card::new();
    let summary = card.run("gb10");
    let memory = &summary["cells"][0]["memory"];
    assert_eq!(memory["peak_vram_bytes"], 5 * GIB, "the server's part");
    assert_eq!((&memory["peak_bytes"], &memory["peak_kind"]), (&Value::from(5 * GIB), &Value::from("gpu")));
    assert!(memory["peak_vram_device_bytes"].is_null(), "only the card's total is absent");
    assert!(summary["cells"][0]["energy"]["gpu"].as_bool().unwrap(), "its power is known");
    let not_measured = summary["not_measured"].to_string();
    assert!(not_measured.contains("does not report its memory in use"), "{not_measured}");
    let report = report(card.dir.path());
    assert!(report.contains("| GPU memory (GiB) ↓ |") && report.contains("| 5.00 |"), "{report}");
}

#[test]
fn in_a_container_with_the_hosts_process_ids_the_cause_is_named_and_nothing_stands_in() {
    let card = Card::new();
    let summary = card.run("pidns");
    let memory = &summary["cells"][0]["memory"];
    assert!(memory["peak_vram_bytes"].is_null());
    assert_eq!((&memory["peak_bytes"], &memory["peak_kind"]), (&Value::from(6 * GIB), &Value::from("cards")));
    let said = warnings(&summary) + &summary["not_measured"].to_string();
    assert!(said.contains("ids that do not exist here") && said.contains("--pid=host"), "{said}");
    assert!(said.contains("by whomever"), "{said}");
    let report = report(card.dir.path());
    assert!(report.contains("| memory in use on the cards (GiB) ↓ |"), "{report}");
    let csv = kneepoint(card.dir.path(), &["report", "latest", "--format", "csv"], &[]);
    let csv = text(&csv.stdout);
    assert!(csv.lines().next().unwrap().ends_with("peak_kind") && csv.contains(",cards"), "{csv}");
    let pick = kneepoint(
        card.dir.path(),
        &["pick", "latest", "--context", "1024", "--memory", "5GiB", "--min-quality", "0"],
        &[],
    );
    assert_eq!(pick.status.code(), Some(4), "{}", text(&pick.stdout));
    assert!(text(&pick.stderr).contains("memory in use on its cards, by whomever"), "{}", text(&pick.stderr));
}

#[test]
fn a_run_lives_with_little_address_space() {
    // The copies that measure the memory's speed are not granted: that is no figure, and no abort.
    let server = LoggingServer::new(&fixture("kv/glm-nextn.gguf"), &[(1024, 46, 2.0, 2.0)]).weights("Q3_K_M");
    // The binary of the tests is mapped whole; arenas of the allocator take address space for every thread. What the copies want
    // depends on the processor's caches, so the limit goes down until they are not granted.
    let copied = |limit_kb: u32| {
        let script = format!("ulimit -v {limit_kb}; exec {KNEEPOINT} run suite.toml --json");
        let output = Command::new("sh")
            .current_dir(server.0.path())
            .args(["-c", &script])
            .env_remove("KNEEPOINT_RUNS_DIR")
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{limit_kb} kB: {}", text(&output.stderr));
        let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
        !summary["machine"]["memory_copy_bytes_per_s"].is_null()
    };
    let refused = (0..10).map(|step| 400_000 - step * 20_000).find(|limit_kb| !copied(*limit_kb));
    assert!(refused.is_some(), "the copies are granted with whatever a run lives with");
}
