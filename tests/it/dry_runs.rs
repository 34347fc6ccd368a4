//! Dry runs: what they print, and what they find out before anything starts.

use std::time::{Duration, Instant};

use crate::common::MockBench;
use crate::manners::{huge_model, text};

#[test]
fn a_dry_run_is_a_table_a_sum_and_every_command_once() {
    let bench = MockBench::new("");
    let out = bench.command(&["run", "suite.toml", "--dry-run"]).output().unwrap();
    let said = text(&out.stdout);
    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(said.starts_with("mock: 18 trials of 2 cells by 6 server processes\n"), "{said}");
    // Two settings are two commands, however often their servers are started.
    assert_eq!(said.matches("--port").count(), 2, "{said}");
    assert_eq!(said.matches("\ncommand ").count(), 2, "{said}");
    for words in ["context  setting", "download  nothing", "disk", "time", "tokens    at most 9,216"] {
        let squeezed = said.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        let words = words.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
        assert!(squeezed.contains(&words), "{words}: {said}");
    }
    let out = bench.command(&["run", "suite.toml", "--dry-run", "--json"]).output().unwrap();
    let plan: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(plan["cells"].as_array().unwrap().len(), 2);
    assert_eq!((&plan["cells"][0]["trials"], &plan["cells"][0]["servers"]), (&12.into(), &4.into()));
    assert_eq!(plan["download_bytes"], 0);
}

#[test]
fn a_dry_run_names_the_base_model_and_the_quantiser_of_a_derived_quant() {
    let bench = MockBench::new("");
    let suite = std::fs::read_to_string(bench.dir.path().join("suite.toml")).unwrap();
    let derived = suite
        .replace(
            "path = \"model.gguf\"\nweights = \"Q8_0\"",
            "package = \"smollm2-135m-instruct\"\nderive = [\"Q8_0\"]",
        )
        .replace("[reference]", "[reference]\nweights = \"Q8_0\"")
        .replace("kv = \"q8_0\"", "weights = \"Q8_0\"\nkv = \"q8_0\"");
    std::fs::write(bench.dir.path().join("suite.toml"), derived).unwrap();
    let run = |more: &[&str]| {
        let args: Vec<&str> = ["run", "suite.toml", "--dry-run"].iter().chain(more).copied().collect();
        let mut command = bench.command(&args);
        command.env("KNEEPOINT_CACHE_DIR", bench.dir.path().join("empty")).output().unwrap()
    };
    let said = text(&run(&[]).stdout);
    let place = |words: &str| said.find(words).unwrap_or_else(|| panic!("no {words}: {said}"));
    let (base, quantiser, derive) = (
        place("first: fetch smollm2"),
        place("first: fetch llama-quantize"),
        place("first: requantise Q4_1 to Q8_0"),
    );
    assert!(base < quantiser && quantiser < derive, "{said}");
    let plan: serde_json::Value = serde_json::from_slice(&run(&["--json"]).stdout).unwrap();
    assert!(plan["download_bytes"].as_u64().unwrap() > 90_000_000, "{plan}");
    assert!(plan["disk_bytes"].as_u64() > plan["download_bytes"].as_u64(), "{plan}");
}

#[test]
fn a_dry_run_hashes_nothing() {
    let bench = MockBench::new("");
    huge_model(&bench.dir.path().join("model.gguf"));
    let begin = Instant::now();
    let mut command = bench.command(&["run", "suite.toml", "--dry-run"]);
    let out = command.env("KNEEPOINT_CACHE_DIR", bench.dir.path().join("cache")).output().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let said = text(&out.stdout);
    assert!(said.contains("hashing") && said.contains("26.8 GB") && said.contains("--port"), "{said}");
    assert!(!bench.dir.path().join("cache/hashes").exists());
}

#[test]
fn a_program_that_is_no_server_is_found_out_before_a_run() {
    let bench = MockBench::new("");
    let suite = std::fs::read_to_string(bench.dir.path().join("suite.toml")).unwrap();
    let server = bench.dir.path().join("llama-server");
    let suite = suite.replace(server.to_str().unwrap(), "/bin/ls");
    std::fs::write(bench.dir.path().join("suite.toml"), &suite).unwrap();
    let out = bench.command(&["run", "suite.toml", "--dry-run"]).output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("/bin/ls is no server of llama.cpp") && said.contains("engine.binary"), "{said}");
    // Also where the model is still to be fetched.
    let fetched =
        suite.replace("path = \"model.gguf\"\nweights = \"Q8_0\"", "package = \"smollm2-135m-instruct\"");
    std::fs::write(bench.dir.path().join("fetched.toml"), fetched).unwrap();
    let mut command = bench.command(&["run", "fetched.toml", "--dry-run"]);
    let out = command.env("KNEEPOINT_CACHE_DIR", bench.dir.path().join("empty")).output().unwrap();
    assert_eq!(out.status.code(), Some(2), "{}", text(&out.stderr));
    let out = bench.command(&["doctor", "suite.toml", "--json"]).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let checks = found["checks"].as_array().unwrap();
    let of = checks.iter().find(|check| check["name"] == "server of mock").unwrap();
    assert_eq!(of["state"], "problem", "{of}");
}

#[test]
fn a_cause_is_told_once() {
    let bench = MockBench::new("");
    std::fs::write(bench.dir.path().join("llama-server"), "#!/no/such/shell\n").unwrap();
    let out = bench.command(&["run", "suite.toml", "--dry-run"]).output().unwrap();
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(101), "{said}");
    assert_eq!(said.matches("os error 2").count(), 1, "{said}");
}
