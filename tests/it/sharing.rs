//! What boards elsewhere take of a run: dry unless told otherwise, after the board's own documentation.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use kneepoint::judge::analysis::summarise;
use kneepoint::judge::report;
use kneepoint::judge::report::{Asked, Board};
use kneepoint::record::{GpuCard, journal};
use serde_json::{Value, json};

use crate::common::{KNEEPOINT, MockBench};

/// What the boards document, with sources and dates.
fn documented(board: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/boards/{board}.json"));
    let fields: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert!(fields["source"].is_string() && fields["read"].is_string());
    fields
}

/// A small run on the mock server, made once.
static RUN: LazyLock<MockBench> = LazyLock::new(|| {
    let bench = MockBench::new("--decode-ms 2 --prefill-ms 0.1");
    let ran = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", said(&ran));
    bench
});

fn share(run: &Path, more: &[&str]) -> Output {
    Command::new(KNEEPOINT)
        .args(["share", run.to_str().unwrap()])
        .args(more)
        .env("NO_COLOR", "1")
        .env_remove("BOARD_KEY")
        .output()
        .unwrap()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

const CELL: &[&str] = &["--setting", "Q8_0 kv=q8_0", "--context", "512"];
const SPEED_TEST: &[&str] = &[
    "--format",
    "localmaxxing",
    "--setting",
    "Q8_0 kv=q8_0",
    "--context",
    "512",
    "--hf-id",
    "HuggingFaceTB/SmolLM2-135M-Instruct",
];

/// Holds an object against a documented list: `{"name": {"type": .., "required": .., "longest": .., "one_of": ..}}`.
fn assert_documented(object: &Value, fields: &Value, of: &str) {
    for (name, value) in object.as_object().unwrap() {
        let field = fields.get(name).unwrap_or_else(|| panic!("{of}.{name} is documented nowhere"));
        let fits = match field["type"].as_str().unwrap() {
            "string" => value.as_str().is_some_and(|text| {
                field["longest"].as_u64().is_none_or(|longest| text.chars().count() as u64 <= longest)
            }),
            "number" => value.as_f64().is_some_and(f64::is_finite),
            "integer" => value.as_u64().is_some(),
            "object" => value.is_object(),
            other => panic!("{other}"),
        };
        assert!(fits, "{of}.{name} = {value}");
        if let Some(allowed) = field["one_of"].as_array() {
            assert!(allowed.contains(value), "{of}.{name} = {value}");
        }
    }
    for (name, field) in fields.as_object().unwrap() {
        assert!(field["required"] != true || object.get(name).is_some(), "{of}.{name} is required");
    }
}

#[test]
fn a_speed_test_is_what_the_board_documents_and_stays_here() {
    let out = share(&RUN.run_folder(), SPEED_TEST);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert!(said(&out).contains("nothing was sent"), "{}", said(&out));
    assert!(said(&out).contains("https://www.localmaxxing.com/api/speed-tests"));
    let payload: Value = serde_json::from_slice(&out.stdout).unwrap();
    let documented = documented("localmaxxing");
    assert_documented(&payload, &documented["fields"], "payload");
    assert_documented(&payload["engineFlags"], &documented["engineFlags"], "engineFlags");
    let hardware = &payload["hardware"];
    assert_eq!(hardware["hwClass"], "CPU_ONLY");
    assert_documented(hardware, &documented["hardware"]["CPU_ONLY"], "hardware");
    let one_of = documented["at_least_one_of"].as_array().unwrap();
    assert!(one_of.iter().any(|name| !payload[name.as_str().unwrap()].is_null()));
    // It says what the report says.
    let summary = std::fs::read_to_string(RUN.run_folder().join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let cells = summary["cells"].as_array().unwrap();
    let cell = cells.iter().find(|cell| cell["setting"] == "Q8_0 kv=q8_0").unwrap();
    let decode = cell["decode_tps"]["value"].as_f64().unwrap();
    assert!((payload["tokSOut"].as_f64().unwrap() - decode).abs() <= 0.005, "{payload}");
    assert_eq!((&payload["quantization"], &payload["engineName"]), (&json!("Q8_0"), &json!("llama.cpp")));
    assert_eq!(payload["engineFlags"]["kvCacheDtype"], "q8_0");
    assert!(payload["promptTokens"].as_u64().unwrap() > 100);
    let command = payload["engineFlags"]["commandSnippet"].as_str().unwrap();
    let folder = RUN.dir.path().to_string_lossy().into_owned();
    assert!(command.contains("-ctk q8_0") && !command.contains(&folder), "{command}");
}

#[test]
fn a_card_is_described_or_given_and_never_made_up() {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/hardware-h200");
    let mut journal = journal::load(&run).unwrap();
    journal.header.suite.draws = 200;
    let mut summary = summarise(&journal).unwrap();
    let document = |summary: &_, asked: &Asked| {
        let shared = report::shared(summary, &journal, Some("Q4_K_M kv=q8_0"), Some(2048)).unwrap();
        report::document(Board::Localmaxxing, &shared, asked)
    };
    let hardware = |document: report::Document| -> Value {
        let payload: Value = serde_json::from_str(&document.text).unwrap();
        assert!(payload["peakVramGb"].as_f64().unwrap() > 0.4);
        assert_documented(
            &payload["hardware"],
            &documented("localmaxxing")["hardware"]["DISCRETE_GPU"],
            "hardware",
        );
        payload["hardware"].clone()
    };
    let mut asked = Asked { hf_id: Some("a/b".into()), ..Asked::default() };
    // The run was made before the memory of cards was kept.
    let refused = document(&summary, &asked).unwrap_err();
    assert!(refused.to_string().contains("requires what is not known: hardware.vramGb"), "{refused}");
    let card = GpuCard { memory_bytes: Some(143_771 << 20), ..GpuCard::default() };
    summary.machine.cards = vec![card; 2];
    let found = hardware(document(&summary, &asked).unwrap());
    assert_eq!((&found["gpuName"], &found["vramGb"]), (&json!("NVIDIA H200"), &json!(140)));
    summary.machine.gpus[1] = "another".into();
    let refused = document(&summary, &asked).unwrap_err();
    assert!(refused.to_string().contains("hardware.gpuName"), "{refused}");
    let given = json!({ "hwClass": "DISCRETE_GPU", "gpuName": "NVIDIA H200", "gpuCount": 1, "vramGb": 141 });
    asked.hardware = Some(given.clone());
    assert_eq!(hardware(document(&summary, &asked).unwrap()), given);
}

#[test]
fn a_machine_in_the_boards_own_words_comes_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("hardware.json");
    let given =
        json!({ "hwClass": "UNIFIED", "chipVendor": "AMD", "chipFamily": "x", "unifiedMemoryGb": 128 });
    std::fs::write(&file, given.to_string()).unwrap();
    let with = [SPEED_TEST, &["--hardware", file.to_str().unwrap()][..]].concat();
    let out = share(&RUN.run_folder(), &with);
    let payload: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", said(&out)));
    assert_eq!(payload["hardware"], given);
    for (text, expected) in [("{}", "has no `hwClass`"), ("{", "is not JSON")] {
        std::fs::write(&file, text).unwrap();
        let out = share(&RUN.run_folder(), &with);
        assert_eq!(out.status.code(), Some(2));
        assert!(said(&out).contains(expected), "{}", said(&out));
    }
}

#[test]
fn what_a_board_requires_and_nobody_measured_is_named() {
    let run = RUN.run_folder();
    let out = share(&run, &["--format", "localmaxxing"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(said(&out).contains("a board takes one setting at one context length"), "{}", said(&out));
    assert!(said(&out).contains("--setting 'Q8_0 kv=q8_0' --context 512"), "{}", said(&out));
    let out = share(&run, &SPEED_TEST[..6]);
    assert!(said(&out).contains("localmaxxing requires what is not known: hfId"), "{}", said(&out));
    let out = share(&run, &[&["--format", "hf-eval"], CELL].concat());
    assert!(said(&out).contains("requires what is not known: dataset.id, dataset.task_id"), "{}", said(&out));
    assert!(out.stdout.is_empty(), "nothing half is written");
    // A run in which nothing was measured but cases that broke.
    let bench = MockBench::new("--fault http-500@1-9999");
    let ran = bench.command(&["run", "suite.toml"]).output().unwrap();
    let run = bench.run_folder();
    let more = ["--format", "localmaxxing", "--setting", "Q8_0 kv=f16", "--context", "512", "--hf-id", "a/b"];
    let out = share(&run, &more);
    assert_eq!(out.status.code(), Some(2), "{}\n{}", said(&ran), said(&out));
    assert!(said(&out).contains("tokSOut"), "{}", said(&out));
}

#[test]
fn an_evaluation_result_is_the_hubs_file() {
    let more = [
        "--format",
        "hf-eval",
        "--setting",
        "Q8_0 kv=q8_0",
        "--context",
        "512",
        "--dataset",
        "someone/needles",
        "--dataset-task",
        "multikey: \"2\"",
        "--task",
        "retrieval/niah_single_1",
        "--source-url",
        "https://example.org/report.html",
        "--hf-id",
        "someone/model-GGUF",
    ];
    let out = share(&RUN.run_folder(), &more);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    let wanted = "into .eval_results/kneepoint-mock-Q8_0-kv-q8_0-512.yaml of the model's repository someone/model-GGUF";
    assert!(said(&out).contains(wanted), "{}", said(&out));
    let results: Value = serde_norway::from_slice(&out.stdout).unwrap();
    let [result] = results.as_array().unwrap().as_slice() else { panic!("{results}") };
    let documented = documented("hf-eval");
    assert_documented(result, &documented["fields"], "result");
    assert_documented(&result["dataset"], &documented["dataset"], "dataset");
    assert_documented(&result["source"], &documented["source_fields"], "source");
    assert_eq!(result["dataset"], json!({ "id": "someone/needles", "task_id": "multikey: \"2\"" }));
    assert_eq!(result["date"].as_str().unwrap().len(), 10);
    let value = result["value"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&value), "{value}");
    let out = share(&RUN.run_folder(), &[&more[..10], &["--task", "retrieval/none"]].concat());
    assert!(said(&out).contains("has no task `retrieval/none`") && said(&out).contains("niah_single_1"));
}

/// A site that takes one request: it answers with a status and a body, and gives back what it heard.
fn site(answer: String) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        let mut piece = [0; 4096];
        loop {
            let read = stream.read(&mut piece).unwrap();
            heard.extend_from_slice(&piece[..read]);
            let text = String::from_utf8_lossy(&heard).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap().split("\r\n").next().unwrap();
            if body.len() >= length.parse().unwrap() {
                stream.write_all(answer.as_bytes()).unwrap();
                return text;
            }
        }
    });
    (address, heard)
}

fn send(address: &str) -> Output {
    Command::new(KNEEPOINT)
        .args(["share", RUN.run_folder().to_str().unwrap()])
        .args(SPEED_TEST)
        .args(["--send", "--key-env", "BOARD_KEY", "--site", address])
        .env("BOARD_KEY", "bhk_0123456789abcdef")
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

#[test]
fn it_is_sent_when_told_and_the_key_is_never_shown() {
    let record = r#"{"id":"cm123","status":"APPROVED","x":"bhk_0123456789abcdef"}"#;
    let head =
        format!("HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: {}", record.len());
    let (address, heard) = site(format!("{head}\r\n\r\n{record}"));
    let out = send(&address);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert!(said(&out).contains("its id there is cm123"), "{}", said(&out));
    let heard = heard.join().unwrap();
    assert!(heard.starts_with("POST /api/speed-tests HTTP/1.1"), "{heard}");
    assert!(heard.to_ascii_lowercase().contains("authorization: bearer bhk_0123456789abcdef"), "{heard}");
    let (_, body) = heard.split_once("\r\n\r\n").unwrap();
    let printed: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), printed, "what was printed was sent");
    assert!(!said(&out).contains("bhk_") && !String::from_utf8_lossy(&out.stdout).contains("bhk_"));
}

#[test]
fn a_page_in_place_of_a_record_is_no_success() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 22\r\n\r\n<html>bhk_0123456789ab",
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 38\r\n\r\n{\"error\":\"bhk_0123456789abcdef is bad\"}",
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
    ] {
        let (address, heard) = site(answer.to_owned());
        let out = send(&address);
        heard.join().unwrap();
        assert_eq!(out.status.code(), Some(1), "{}", said(&out));
        assert!(said(&out).contains("not with a record"), "{}", said(&out));
        assert!(!said(&out).contains("bhk_0123456789abcdef"), "{}", said(&out));
    }
}

#[test]
fn a_key_is_a_variables_and_goes_nowhere_in_the_clear() {
    let with = |more: &[&str]| share(&RUN.run_folder(), &[SPEED_TEST, more].concat());
    let out = with(&["--send"]);
    assert!(said(&out).contains("--key-env"), "{}", said(&out));
    let out = with(&["--send", "--key-env", "BOARD_KEY"]);
    assert!(said(&out).contains("the environment variable BOARD_KEY is not set"), "{}", said(&out));
    let out = with(&["--send", "--key-env", "bhk_123-456"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(
        said(&out).contains("not the name of an environment variable") && !said(&out).contains("bhk_123")
    );
    let out = with(&["--send", "--key-env", "bhk_1234567890abcdef1234567890abcdef12345678"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(said(&out).contains("is not set") && !said(&out).contains("bhk_"), "{}", said(&out));
    let out = send("http://board.invalid");
    assert!(said(&out).contains("a key is not sent over http to another machine"), "{}", said(&out));
}
