//! The load phase against a mock server: what it sends, what it writes down, and what it makes of faults.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::MockBench;
use serde_json::Value;

/// A mock suite with a load phase; no round of warm-up, so that every server process gets the same requests.
fn bench(mock_args: &str, load: &str) -> MockBench {
    let bench = MockBench::new(mock_args);
    let path = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n[load]\nwarm_up_s = 0\nprompt_tokens = 64\n{load}\n")).unwrap();
    bench
}

/// Runs a command that prints a summary: exit code and summary.
fn summary(bench: &MockBench, args: &[&str]) -> (i32, Value) {
    let out = bench.command(args).output().unwrap();
    let summary = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
    (out.status.code().unwrap(), summary)
}

/// The load phase alone.
const ALONE: [&str; 5] = ["run", "suite.toml", "--json", "--filter", "task=load"];

/// Records of a kind.
fn records(folder: &Path, kind: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("journal.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|line| line.get(kind).cloned()).collect()
}

fn steps(summary: &Value) -> Vec<Value> {
    summary["load"]["steps"].as_array().unwrap().clone()
}

/// What was not asked for is not missing.
#[test]
fn a_load_that_was_asked_for_alone_is_a_whole_run() {
    let bench =
        bench("--prefill-ms 0.02 --decode-ms 1", "concurrency = [2]\nrequests = 12\noutput_tokens = 8\n");
    let (code, summary) = summary(&bench, &ALONE);
    assert_eq!(code, 0, "{}", summary["warnings"]);
    assert_eq!((&summary["planned"], &summary["done"]), (&0.into(), &0.into()));
    assert!(
        summary["verdict"].as_str().unwrap().starts_with("The load alone was asked for"),
        "{}",
        summary["verdict"]
    );
    let missed =
        |warning: &&Value| ["run_incomplete", "no_noise_floor"].map(Value::from).contains(&warning["code"]);
    let warnings = summary["warnings"].as_array().unwrap();
    assert_eq!(warnings.iter().find(missed), None);
    assert_eq!(summary["not_measured"].as_array().map_or(0, Vec::len), 0, "{}", summary["not_measured"]);
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    assert!(
        report.contains("## Many requests at once") && !report.contains("of which servers worked"),
        "{report}"
    );
}

#[test]
fn every_setting_goes_through_the_ladder_and_is_asked_the_same_items() {
    let load = "concurrency = [1, 4]\nrates = [40]\nrequests = 24\noutput_tokens = 8\n\
                [load.limits]\nttft_s = 10\n[load.quality]\ntask = \"retrieval/niah_single_1\"\n";
    let bench = bench("--prefill-ms 0.02 --decode-ms 2", load);
    let (code, summary) = summary(&bench, &["run", "suite.toml", "--json"]);
    assert_eq!(code, 0, "{}", summary["warnings"]);
    let steps = steps(&summary);
    let arrivals: Vec<&Value> = steps.iter().map(|step| &step["arrivals"]).collect();
    let ladder = [
        serde_json::json!({"closed": 1}),
        serde_json::json!({"closed": 4}),
        serde_json::json!({"poisson": 40.0}),
    ];
    assert_eq!(arrivals, ladder.iter().chain(&ladder).collect::<Vec<_>>());
    for step in &steps {
        assert_eq!(
            (&step["requests"], &step["failed"], &step["short"]),
            (&24.into(), &0.into(), &0.into()),
            "{step}"
        );
        assert_eq!(step["within_limits"]["value"].as_f64(), Some(1.0));
        // Eight tokens at 2 ms each, and the prompt.
        assert!(step["e2e_s"]["p50"].as_f64().unwrap() >= 0.016, "{step}");
        assert!(step["ttft_s"]["p95"].is_f64() && step["ttft_s"]["p99"].is_null(), "{step}");
        let streams = step["arrivals"]["closed"].as_f64().unwrap_or(64.0);
        assert!(step["output_tps"].as_f64().unwrap() <= streams * 500.0, "{step}");
    }
    assert_eq!(steps[1]["peak_in_flight"], 4);

    let folder = bench.run_folder();
    let servers = records(&folder, "loadserver");
    assert_eq!(servers.len(), 2);
    for server in &servers {
        let args = server["launch"]["argv"]["args"].to_string();
        assert!(args.contains("\"-c\",\"2048\",\"-np\",\"4\""), "{args}");
    }
    let written = records(&folder, "loadstep");
    for (step, again) in written.iter().zip(&written[3..]) {
        // Another setting gets the same prompts, and in an open loop at the same moments.
        let tokens = |step: &Value| -> Vec<Value> {
            let requests = step["requests"].as_array().unwrap();
            requests.iter().take(20).map(|request| request["prompt_tokens"].clone()).collect()
        };
        assert_eq!(tokens(step), tokens(again));
        if step["arrivals"]["poisson"].is_f64() {
            let due = |step: &Value, at: usize| step["requests"][at]["due_s"].clone();
            assert!((0..20).all(|at| due(step, at) == due(again, at)));
        }
    }
    for request in written.iter().flat_map(|step| step["requests"].as_array().unwrap()) {
        let at = |name: &str| request[name].as_f64().unwrap();
        assert!(at("due_s") <= at("sent_s") + 1e-6, "{request}");
        // What is read at once, as on a busy machine, arrived at the same moment.
        assert!(at("sent_s") < at("first_s") && at("first_s") <= at("end_s"), "{request}");
        assert_eq!(request["gaps_us"].as_array().unwrap().len(), 7);
        let tokens = request["prompt_tokens"].as_f64().unwrap();
        assert!((62.0..=66.0).contains(&tokens), "asked for 64, the server counts {tokens}");
        assert_eq!(request["cached_tokens"], 0);
    }

    // Alone, four at a time, alone again.
    let quality = summary["load"]["quality"].as_array().unwrap();
    let crowds: Vec<u64> = quality.iter().map(|row| row["streams"].as_u64().unwrap()).collect();
    assert_eq!(crowds, [1, 4, 1, 4]);
    for row in quality {
        assert_eq!((&row["difference"]["n"], &row["identical"]), (&4.into(), &1.0.into()), "{row}");
    }
    assert_eq!(records(&folder, "loadtrial").len(), 2 * 3 * 4);
    let report = std::fs::read_to_string(folder.join("report.md")).unwrap();
    assert!(
        report.contains("## Many requests at once") && report.contains("### Quality under load"),
        "{report}"
    );
    let csv = std::fs::read_to_string(folder.join("load.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 6);
    let widths: Vec<usize> = csv.lines().map(|line| line.split(',').count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{csv}");
    assert!(folder.join("load.svg").exists());
}

#[test]
fn requests_that_fail_are_figures_of_the_step_and_not_of_the_run() {
    let load = "concurrency = [2]\nrequests = 12\noutput_tokens = 4\n[load.limits]\ne2e_s = 10\n";
    for (fault, stage) in [("http-500@10-11", "request"), ("close@10-11", "stream"), ("cut@10-11", "stream")]
    {
        let bench = bench(&format!("--prefill-ms 0.02 --decode-ms 2 --fault {fault}"), load);
        let (code, summary) = summary(&bench, &ALONE);
        assert_eq!(code, 0, "{}", summary["warnings"]);
        for step in steps(&summary) {
            assert_eq!((&step["requests"], &step["failed"]), (&12.into(), &2.into()), "{fault}: {step}");
            assert_eq!(step["e2e_s"]["n"], 10, "{step}");
            let within = step["within_limits"]["value"].as_f64().unwrap();
            assert!((within - 10.0 / 12.0).abs() < 1e-9, "{within}");
        }
        let failed: Vec<Value> = records(&bench.run_folder(), "loadstep")
            .iter()
            .flat_map(|step| step["requests"].as_array().unwrap().clone())
            .filter(|request| request["error"].is_string())
            .collect();
        assert_eq!(failed.len(), 4);
        assert!(failed.iter().all(|request| request["failed"] == stage), "{failed:?}");
        let warnings = summary["warnings"].to_string();
        assert!(warnings.contains("2 of 12 requests failed"), "{warnings}");
    }
}

#[test]
fn a_slow_server_is_sent_requests_by_the_timetable_all_the_same() {
    // One slot and 100 ms a request: 10 requests/s at most, and 50 arrive.
    let load = "rates = [50]\nrequests = 30\noutput_tokens = 20\nslots = 1\n";
    let bench = bench("--prefill-ms 0.02 --decode-ms 5 --slots 1", load);
    let (code, summary) = summary(&bench, &ALONE);
    assert_eq!(code, 0, "{}", summary["warnings"]);
    for step in steps(&summary) {
        assert_eq!((&step["not_sent"], &step["falls_behind"]), (&0.into(), &true.into()), "{step}");
        // The last of 30 waits for those in front of it.
        assert!(step["e2e_s"]["p95"].as_f64().unwrap() > 1.0, "{step}");
        assert!(step["peak_in_flight"].as_u64().unwrap() > 10, "{step}");
    }
    for step in records(&bench.run_folder(), "loadstep") {
        let counted: Vec<&Value> =
            step["requests"].as_array().unwrap().iter().filter(|request| request["counts"] == true).collect();
        let due = |request: &Value| request["due_s"].as_f64().unwrap();
        let span = due(counted[29]) - due(counted[0]);
        assert!(span < 1.5, "30 requests at 50/s are due within {span} s");
    }
    assert!(summary["warnings"].to_string().contains("falls behind"));
}

#[test]
fn a_cap_on_what_is_under_way_is_reported_when_it_is_hit() {
    let load = "rates = [100]\nrequests = 40\noutput_tokens = 20\nslots = 1\nmax_in_flight = 3\n";
    let bench = bench("--prefill-ms 0.02 --decode-ms 5 --slots 1", load);
    let (_, summary) = summary(&bench, &ALONE);
    for step in steps(&summary) {
        assert_eq!((&step["requests"], &step["peak_in_flight"]), (&40.into(), &3.into()), "{step}");
        let not_sent = step["not_sent"].as_u64().unwrap();
        assert!(not_sent > 5, "{step}");
        assert_eq!(step["e2e_s"]["n"].as_u64().unwrap(), 40 - not_sent);
    }
    assert!(summary["warnings"].to_string().contains("were not sent"));
}

#[test]
fn a_server_that_dies_breaks_the_step_and_is_started_again_once() {
    let load = "concurrency = [1, 2, 3]\nrequests = 6\noutput_tokens = 4\n";
    let bench = bench("--prefill-ms 0.02 --decode-ms 2 --fault exit@8", load);
    let (code, summary) = summary(&bench, &ALONE);
    assert_eq!(code, 106);
    let steps = steps(&summary);
    assert_eq!(steps.len(), 6);
    for step in &steps {
        let reason = step["broke"].as_str().unwrap();
        assert!(reason.contains("died") && reason.contains("scripted end of the mock server"), "{reason}");
        assert_eq!(step["requests"], 0);
    }
    assert_eq!(
        records(&bench.run_folder(), "loadserver").len(),
        4,
        "two settings, each server restarted once"
    );
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    assert!(report.contains("broken off"), "{report}");
}

#[test]
fn a_server_with_fewer_slots_than_asked_is_void() {
    let load = "concurrency = [4]\nrequests = 6\noutput_tokens = 4\n";
    let bench = bench("--slots 2", load);
    let (code, summary) = summary(&bench, &ALONE);
    assert_eq!(code, 106);
    let void = summary["load"]["servers"][0]["void"].as_str().unwrap();
    assert!(void.contains("slots: asked for 4, the server runs 2"), "{void}");
    assert!(steps(&summary).iter().all(|step| step["broke"].is_string()));
}

/// Processes that a process started.
fn children(process: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn a_load_phase_that_was_interrupted_goes_on_where_it_stopped() {
    goes_on_after(|child| child.kill().unwrap());
}

/// As a cluster and a terminal do it.
#[test]
fn a_server_that_is_ended_together_with_its_load_breaks_no_step() {
    goes_on_after(|child| {
        let kneepoint = child.id().to_string();
        let servers = children(child.id());
        assert!(!servers.is_empty());
        let status = Command::new("kill").arg("-TERM").args(servers).arg(kneepoint).status().unwrap();
        assert!(status.success());
    });
}

fn goes_on_after(end: impl Fn(&mut std::process::Child)) {
    let load = "concurrency = [1, 2]\nrequests = 8\noutput_tokens = 8\n\
                [load.quality]\ntask = \"retrieval/niah_single_1\"\n";
    let bench = bench("--prefill-ms 0.1 --decode-ms 4", load);
    let mut child = bench.command(&["run", "suite.toml", "--filter", "task=load"]).spawn().unwrap();
    let begin = Instant::now();
    while std::fs::read_dir(bench.dir.path().join("runs")).into_iter().flatten().flatten().all(|run| {
        !std::fs::read_to_string(run.path().join("journal.jsonl")).unwrap_or_default().contains("loadstep")
    }) {
        assert!(begin.elapsed() < Duration::from_secs(60), "no step after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    end(&mut child);
    child.wait().unwrap();
    let done = records(&bench.run_folder(), "loadstep");
    assert!(done.len() < 4 && done.iter().all(|step| step["broke"].is_null()), "{done:?}");
    let (code, summary) = summary(&bench, &["resume", "latest", "--json"]);
    assert_eq!(code, 0, "{}", summary["warnings"]);
    let steps = records(&bench.run_folder(), "loadstep");
    assert_eq!(
        (steps.len(), summary["load"]["steps"].as_array().unwrap().len()),
        (4, 4),
        "none twice, none lost"
    );
    let mut items: Vec<String> = records(&bench.run_folder(), "loadtrial")
        .iter()
        .map(|asked| format!("{} {}", asked["streams"], asked["trial"]["key"]))
        .collect();
    items.sort();
    let all = items.len();
    items.dedup();
    assert_eq!((all, items.len()), (24, 24));
}

#[test]
fn a_dry_run_says_what_the_load_phase_would_do() {
    let load = "concurrency = [1, 4]\nrequests = 8\noutput_tokens = 8\n\
                [load.quality]\ntask = \"retrieval/niah_single_1\"\nsamples = 3\n";
    let bench = bench("", load);
    let out = bench.command(&["run", "suite.toml", "--dry-run"]).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(
        text.contains("load: Q8_0 kv=f16 at 512, 4 slots: 1 stream, 8 requests; 4 streams, 8 requests"),
        "{text}"
    );
    assert!(text.contains("3 cases of retrieval/niah_single_1: alone twice, and 4 at a time"), "{text}");
    assert!(text.contains("-c 2048 -np 4"), "{text}");
}

/// Every step of the journal: setting, streams or rate, visit.
fn visits(folder: &Path) -> Vec<(String, f64, u64)> {
    let of = |step: &Value| {
        let load = step["arrivals"]["closed"].as_f64().or(step["arrivals"]["poisson"].as_f64()).unwrap();
        (step["setting"].as_str().unwrap().to_owned(), load, step["visit"].as_u64().unwrap_or(0))
    };
    records(folder, "loadstep").iter().map(of).collect()
}

/// Four slots, and 400 ms a request: a fifth stream waits 100 ms on average for a slot, more than the limit. How fast the
/// machine is decides no more than whether fewer streams keep it.
#[test]
fn a_search_finds_how_many_streams_have_a_slot() {
    let load = "slots = 4\nrequests = 20\noutput_tokens = 40\n[load.limits]\nttft_s = 0.08\n\
                [load.search]\nover = \"streams\"\nfrom = 2\nto = 16\n";
    let bench = bench("--prefill-ms 0.02 --decode-ms 10 --output-tokens 40 --slots 4", load);
    let (code, summary) = summary(&bench, &[&ALONE[..], &["--filter", "setting=reference"]].concat());
    assert_eq!(code, 0, "{}", summary["warnings"]);
    let rows = summary["load"]["capacity"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let streams = |side: &str| rows[0][side]["arrivals"]["closed"].as_u64();
    assert!(streams("held").unwrap_or(0) <= 4 && streams("failed").unwrap() <= 5, "{rows:?}");
    let steps = steps(&summary);
    let shares = |streams: u64| -> Vec<f64> {
        let here = steps.iter().filter(|step| step["arrivals"]["closed"] == streams);
        here.map(|step| step["within_limits"]["value"].as_f64().unwrap()).collect()
    };
    let enough = |streams: u64| shares(streams).iter().sum::<f64>() / shares(streams).len() as f64 >= 0.95;
    if enough(2) && enough(4) {
        assert_eq!(
            (streams("held"), streams("failed"), &rows[0]["end"]),
            (Some(4), Some(5), &"found".into())
        );
        let loads: Vec<f64> = visits(&bench.run_folder()).iter().map(|(_, load, _)| *load).collect();
        assert_eq!(loads, [2., 4., 8., 6., 5., 4., 5.]);
    }
    let missed = &rows[0]["failed"]["missed"][0];
    assert!(missed["limit"] == "ttft" && missed["reached_s"].as_f64().unwrap() > 0.08, "{rows:?}");
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    assert!(
        report.contains("### The highest load") && report.contains("first token: 95% within"),
        "{report}"
    );
}

/// Two slots and 200 ms a request: 10 requests a second at most.
#[test]
fn a_search_over_rates_ends_where_the_server_falls_behind() {
    let load = "slots = 2\nrequests = 30\noutput_tokens = 20\n[load.limits]\ne2e_s = 0.6\n\
                [load.quality]\ntask = \"retrieval/niah_single_1\"\n\
                [load.search]\nover = \"rate\"\nfrom = 5\nto = 40\nwithin = 0.5\ngoal = 0.9\n";
    let bench = bench("--prefill-ms 0.02 --decode-ms 10 --output-tokens 20 --slots 2", load);
    let (code, summary) = summary(&bench, &[&ALONE[..], &["--filter", "setting=reference"]].concat());
    assert_eq!(code, 0, "{}", summary["warnings"]);
    let row = &summary["load"]["capacity"]["rows"][0];
    let rate = |side: &str| row[side]["arrivals"]["poisson"].as_f64();
    // More than twice what it can answer is never within the limits.
    assert!(rate("failed").unwrap() <= 20.0 && rate("held").is_none_or(|held| held < 20.0), "{row}");
    if let Some(held) = rate("held") {
        assert!(rate("failed").unwrap() <= 1.5 * held + 1e-9, "{row}");
        // Cases are asked with as many under way as the load had; alone is not asked again.
        let quality = &row["quality"];
        assert_eq!((&quality["end"], &quality["failed"]), (&"top".into(), &Value::Null), "{row}");
        let crowd = quality["held"]["streams"].as_u64().unwrap();
        let asked = records(&bench.run_folder(), "loadtrial");
        assert_eq!(asked.len(), if crowd == 1 { 0 } else { 3 * 4 }, "{row}");
        assert!(crowd <= 2);
    }
}

#[test]
fn a_search_that_was_killed_goes_on_where_it_stopped() {
    let load = "requests = 20\noutput_tokens = 4\n[load.limits]\nttft_s = 100\n\
                [load.quality]\ntask = \"retrieval/niah_single_1\"\n\
                [load.search]\nover = \"streams\"\nto = 3\n";
    let bench = bench("--prefill-ms 0.1 --decode-ms 4 --output-tokens 4", load);
    let written = || {
        let runs = std::fs::read_dir(bench.dir.path().join("runs")).into_iter().flatten().flatten();
        runs.map(|run| std::fs::read_to_string(run.path().join("journal.jsonl")).unwrap_or_default())
            .collect::<String>()
    };
    // Killed in the midst of the steps, and again in the midst of the cases.
    for (args, kind) in [
        (&["run", "suite.toml", "--filter", "task=load"][..], "\"loadstep\""),
        (&["resume", "latest"][..], "\"loadtrial\""),
    ] {
        let mut child = bench.command(args).spawn().unwrap();
        let begin = Instant::now();
        while !written().contains(kind) {
            assert!(begin.elapsed() < Duration::from_secs(60), "no {kind} after a minute");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let (code, summary) = summary(&bench, &["resume", "latest", "--json"]);
    assert_eq!(code, 0, "{}", summary["warnings"]);
    // Up to the end of the search, which is confirmed, on both settings: none twice, none lost.
    let path = [(1., 0), (2., 0), (3., 0), (3., 1)];
    let found: Vec<(f64, u64)> =
        visits(&bench.run_folder()).into_iter().map(|(_, load, visit)| (load, visit)).collect();
    assert_eq!(found, [path, path].concat());
    let mut items: Vec<String> = records(&bench.run_folder(), "loadtrial")
        .iter()
        .map(|asked| format!("{} {}", asked["streams"], asked["trial"]["key"]))
        .collect();
    items.sort();
    let all = items.len();
    items.dedup();
    assert_eq!((all, items.len()), (2 * 3 * 4, 2 * 3 * 4));
    for row in summary["load"]["capacity"]["rows"].as_array().unwrap() {
        assert_eq!((&row["end"], &row["held"]["arrivals"]["closed"]), (&"top".into(), &3.into()), "{row}");
        assert_eq!((&row["quality"]["end"], &row["quality"]["held"]["streams"]), (&"top".into(), &3.into()));
    }
    // The report is made from the journal alone, and a search that has ended asks nothing more.
    let (code, again) = self::summary(&bench, &["resume", "latest", "--json"]);
    assert_eq!((code, &again["load"]["capacity"]), (0, &summary["load"]["capacity"]));
    assert_eq!(visits(&bench.run_folder()).len(), 8);
}

#[test]
fn a_search_on_a_server_that_does_not_start_is_incomplete() {
    let load = "requests = 20\noutput_tokens = 4\n[load.limits]\nttft_s = 1\n\
                [load.search]\nover = \"streams\"\nto = 8\n";
    let bench = bench("--slots 2", load);
    let (code, summary) = summary(&bench, &ALONE);
    assert_eq!(code, 106);
    for row in summary["load"]["capacity"]["rows"].as_array().unwrap() {
        assert_eq!((&row["end"], &row["held"]), (&"not_measured".into(), &Value::Null), "{row}");
    }
    assert_eq!(visits(&bench.run_folder()).len(), 2, "one of each setting says why");
}

/// The eighth request ends the server, each time that it is started: no load above the lowest is answered.
#[test]
fn a_load_that_ends_the_server_is_the_end_of_the_search() {
    let load = "requests = 20\noutput_tokens = 4\n[load.limits]\nttft_s = 100\n\
                [load.search]\nover = \"streams\"\nto = 4\n";
    let bench = bench("--prefill-ms 0.02 --decode-ms 2 --output-tokens 4 --fault exit@40", load);
    let (code, summary) = summary(&bench, &[&ALONE[..], &["--filter", "setting=reference"]].concat());
    let row = &summary["load"]["capacity"]["rows"][0];
    assert_eq!(code, 0, "{row} {}", summary["warnings"]);
    assert_eq!(row["held"]["arrivals"]["closed"], 1, "{row}");
    let broke = row["failed"]["broke"].as_str().unwrap();
    assert!(broke.contains("scripted end of the mock server"), "{row}");
}

#[test]
fn a_dry_run_says_how_far_a_search_may_go() {
    let load = "requests = 40\n[load.limits]\nttft_s = 1\n[load.quality]\ntask = \"retrieval/niah_single_1\"\nsamples = 3\n\
                [load.search]\nover = \"streams\"\nto = 16\n";
    let bench = bench("", &format!("output_tokens = 8\n{load}"));
    let out = bench.command(&["run", "suite.toml", "--dry-run"]).output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let search = "16 slots: a search from 1 to 16 streams, to within 10%: at most 25 steps of 40 requests, 1,000 requests in all; \
                  3 cases of retrieval/niah_single_1: alone twice, and in at most 8 crowds";
    assert!(text.contains(search), "{text}");
}
