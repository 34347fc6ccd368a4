//! `schema-check`, and what a run finds out of the schemas that it constrains replies by.

use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::common::{KNEEPOINT, MockBench, MockServer};

fn check(text: &str, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tools.json");
    std::fs::write(&file, text).unwrap();
    Command::new(KNEEPOINT).arg("schema-check").arg(file).args(args).env("NO_COLOR", "1").output().unwrap()
}

fn tools() -> String {
    json!([
        {"type": "function", "function": {"name": "book", "parameters": {
            "type": "object",
            "properties": {"seats": {"type": "integer", "minimum": 1}, "name": {"type": "string"}},
            "required": ["seats", "name"]
        }}},
        {"type": "function", "function": {"name": "free", "parameters": {}}},
        {"type": "function", "function": {"name": "odd", "parameters": {"$dynamicRef": "#x", "type": "object"}}}
    ])
    .to_string()
}

#[test]
fn what_is_not_held_is_said_with_an_instance_and_an_exit_code() {
    let mock = MockServer::start("--decode-ms 0");
    let out = check(&tools(), &["--url", &mock.url, "--json"]);
    assert_eq!(out.status.code(), Some(100), "{}", String::from_utf8_lossy(&out.stderr));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    let [book, free, odd] = found["schemas"].as_array().unwrap().as_slice() else { panic!("{found}") };
    let minimum =
        book["keywords"].as_array().unwrap().iter().find(|held| held["keyword"] == "minimum").unwrap();
    assert_eq!((&minimum["hold"], &minimum["at"]), (&json!("dropped"), &json!("/properties/seats")));
    assert!(minimum["instance"]["seats"].as_i64().unwrap() < 1, "{minimum}");
    assert_eq!((&free["conversion"], &free["keywords"]), (&json!("made"), &Value::Null));
    // Its reference leads nowhere, so no value of it can be judged.
    assert!(odd["conversion"]["unknown"]["reason"].is_string(), "{odd}");
    assert_eq!((&found["held"], &found["engine"]), (&json!(false), &json!("llama.cpp")));

    let out = check(&tools(), &["--url", &mock.url]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains("book: NOT held in full; not enforced: minimum, required, type"), "{said}");
    assert!(said.contains("free: held in full"), "{said}");
}

/// Values that are known to be right and wrong are tried, too.
#[test]
fn values_of_the_file_are_tried() {
    let mock = MockServer::start("--decode-ms 0");
    let file = json!({"schemas": [
        {"id": "even", "schema": {"type": "integer", "multipleOf": 2}, "answer": 4, "valid": [0], "invalid": [3, "x"]},
        {"schema": {"$dynamicRef": "#x", "$defs": {"x": {"$dynamicAnchor": "x"}}}, "answer": 4}
    ]});
    let out = check(&file.to_string(), &["--url", &mock.url, "--json"]);
    assert_eq!(out.status.code(), Some(100), "{}", String::from_utf8_lossy(&out.stderr));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    let [even, refused] = found["schemas"].as_array().unwrap().as_slice() else { panic!("{found}") };
    assert_eq!(
        (&even["name"], &even["wrong"], &even["wrong_allowed"]),
        (&json!("even"), &json!(2), &json!(2))
    );
    assert_eq!((&even["answer_reachable"], &even["in_full"]), (&json!(true), &json!(false)));
    assert_eq!(refused["name"], "schema 1");
    assert!(refused["conversion"]["refused"]["words"].as_str().unwrap().contains("HTTP 400"), "{refused}");
    assert_eq!((&refused["answer_reachable"], &refused["in_full"]), (&Value::Null, &json!(false)));
    let out = check(&file.to_string(), &["--url", &mock.url]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains("2 of 2 wrong values of the file can be written"), "{said}");
    assert!(said.contains("schema 1: REFUSED"), "{said}");
}

#[test]
fn what_is_held_ends_well() {
    let mock = MockServer::start("--decode-ms 0");
    let out = check("{}", &["--url", &mock.url]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn bad_input_is_told_with_what_to_do() {
    for (text, args, words) in [
        ("{", vec![], "it is no JSON"),
        ("[1]", vec![], "entry 0 of the array is no tool"),
        ("{\"messages\": []}", vec![], "there is no schema in it"),
        ("{}", vec!["--engine", "nothing"], "no engine is called nothing"),
        (
            "{}",
            vec!["--engine", "tabbyapi"],
            "does not tell what grammar it makes of a schema, and is not in the table",
        ),
        ("{}", vec!["--engine", "vllm", "--backend", "x"], "the table has no column of vllm with x"),
        ("{}", vec!["--engine", "vllm", "--binary", "x"], "vllm is judged by table: no server is started"),
        ("{}", vec!["--version", "0.33.0"], "llama.cpp is asked itself"),
        ("{}", vec!["--url", "nowhere"], "not the address of a server"),
    ] {
        let out = check(text, &args);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{text} {args:?}: {said}");
        assert!(said.contains(words), "{text} {args:?}: {said}");
    }
}

/// Every schema is known before its first trial, once, and the report says what is not enforced.
#[test]
fn a_run_finds_out_what_is_held_before_its_first_trial() {
    let bench = MockBench::new("");
    let path = bench.dir.path().join("suite.toml");
    let suite = std::fs::read_to_string(&path).unwrap();
    let own = suite.find("[[task]]").unwrap();
    let task =
        "[[task]]\nname = \"tools/json_schema\"\nsamples = 6\narms = [\"prompted\", \"constrained\"]\n";
    let suite = suite[..own].replace("contexts = [512]", "contexts = [4096]") + task;
    std::fs::write(&path, suite).unwrap();
    let out = bench.command(&["run", "suite.toml", "--json"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let journal = std::fs::read_to_string(bench.run_folder().join("journal.jsonl")).unwrap();
    let lines: Vec<Value> = journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let place = |kind: &str| lines.iter().position(|line| line.get(kind).is_some()).unwrap();
    let count = |kind: &str| lines.iter().filter(|line| line.get(kind).is_some()).count();
    assert_eq!((count("heldschema"), count("heldcase")), (6, 6));
    assert!(place("heldschema") < place("heldcase") && place("heldcase") < place("trial"));
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    assert!(report.contains("not enforced: `"), "{report}");
    assert!(report.contains("schemas held in full"), "{report}");
}

/// A suite on an attached server of an engine, with cases of `tools/json_schema`.
fn attached_suite(dir: &std::path::Path, engine: &str, url: &str) {
    let suite = format!(
        "name = \"attached\"\ncontexts = [4096]\nrounds = 1\ndraws = 200\nobjectives = [\"quality\"]\n\
         [engine]\nname = \"{engine}\"\nurl = \"{url}\"\n[[model]]\nname = \"m\"\nweights = \"Q4_K_M\"\n[reference]\n\
         [[task]]\nname = \"tools/json_schema\"\nsamples = 4\narms = [\"prompted\", \"constrained\"]\n"
    );
    std::fs::write(dir.join("suite.toml"), suite).unwrap();
}

fn kneepoint(dir: &std::path::Path, args: &[&str]) -> Output {
    let mut command = Command::new(KNEEPOINT);
    command.current_dir(dir).args(args).env_remove("KNEEPOINT_RUNS_DIR").env("NO_COLOR", "1");
    command.output().unwrap()
}

/// vLLM and SGLang tell no grammar: what was seen of them is looked up, and marked as that.
#[test]
fn engines_that_tell_no_grammar_are_judged_by_table() {
    let file = json!([
        {"type": "function", "function": {"name": "book", "parameters": {
            "type": "object",
            "properties": {
                "seats": {"type": "integer", "minimum": 1, "multipleOf": 2},
                "name": {"type": "string", "pattern": "[a-z]+", "maxLength": 20},
                "tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": true}
            },
            "required": ["seats", "name"]
        }}},
        {"type": "function", "function": {"name": "find", "parameters": {
            "type": "object", "properties": {"code": {"type": "string", "pattern": "[a-z]{2}"}}, "required": ["code"]
        }}},
        {"type": "function", "function": {"name": "list", "parameters": {
            "type": "object", "properties": {"kind": {"type": "string", "enum": ["a", "b"]}}, "required": ["kind"]
        }}},
        {"type": "function", "function": {"name": "link", "parameters": {
            "type": "object", "properties": {"to": {"type": "string", "format": "iri"}}
        }}}
    ])
    .to_string();
    let mut said = Vec::new();
    for args in [
        &["--engine", "vllm", "--version", "0.33.0"][..],
        &["--engine", "vllm", "--version", "0.29.1", "--backend", "guidance"],
        &["--engine", "sglang"],
    ] {
        let out = check(&file, args);
        assert_eq!(out.status.code(), Some(100), "{}", String::from_utf8_lossy(&out.stderr));
        said.push(String::from_utf8(out.stdout).unwrap());
    }
    insta::assert_snapshot!(said.join("\n"));

    let out = check(&file, &["--engine", "vllm", "--version", "0.33.0", "--json"]);
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!((&found["table"], &found["build"]), (&json!("vllm 0.33.0"), &json!("0.33.0")));
    let full: Vec<&Value> =
        found["schemas"].as_array().unwrap().iter().map(|schema| &schema["in_full"]).collect();
    assert_eq!(full, [&json!(false), &json!(false), &json!(true), &Value::Null]);
    let pattern =
        &found["schemas"][1]["keywords"].as_array().unwrap().iter().find(|held| held["keyword"] == "pattern");
    assert_eq!(pattern.unwrap()["row"], "pattern, not anchored");
    // Held in full: a good end.
    assert!(check("{}", &["--engine", "vllm"]).status.success());
}

#[test]
fn a_suite_on_such_an_engine_is_warned_about_before_any_run() {
    let dir = tempfile::tempdir().unwrap();
    attached_suite(dir.path(), "vllm", "http://127.0.0.1:9");
    let path = dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("samples = 4", "samples = 120")).unwrap();
    let out = kneepoint(dir.path(), &["validate", "suite.toml", "--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    let warnings = found["warnings"].as_array().unwrap();
    let warning = warnings.iter().find(|warning| warning["code"] == "schemas-not-held");
    let text = warning.unwrap_or_else(|| panic!("{found}"))["text"].as_str().unwrap();
    assert!(text.starts_with("tools/json_schema: "), "{text}");
    assert!(text.contains("by table for vllm 0.33.0 (the newest of the table: the version is not known), no server was asked"), "{text}");
}

/// The report says the same of the schemas that were asked for, and marks it; nothing is claimed of values.
#[test]
fn a_run_on_such_an_engine_reports_by_table() {
    let mock = MockServer::start("--decode-ms 0");
    let dir = tempfile::tempdir().unwrap();
    attached_suite(dir.path(), "vllm", &mock.url);
    let out = kneepoint(dir.path(), &["run", "suite.toml", "--json"]);
    let summary: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
    let held = &summary["held"][0]["held"];
    let by_table: u64 =
        held["by_table"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!((by_table, &held["schemas"], &held["unreachable"]), (4, &json!(4), &json!(0)), "{held}");
    let run = std::fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let report = std::fs::read_to_string(run.join("report.md")).unwrap();
    assert!(report.contains("By table, no server was asked"), "{report}");
    assert!(report.contains("whose schemas it holds in full by table (no server was asked)"), "{report}");
}

/// One that tells no grammar is not known to hold anything, and its coverage keeps the older meaning.
#[test]
fn a_server_that_tells_no_grammar_is_not_known_to_hold_anything() {
    let mock = MockServer::start("--decode-ms 0");
    let dir = tempfile::tempdir().unwrap();
    attached_suite(dir.path(), "openai", &mock.url);
    let out = kneepoint(dir.path(), &["run", "suite.toml", "--json"]);
    let summary: Value = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out.stderr)));
    let held = &summary["held"][0]["held"];
    assert_eq!(
        (&held["in_full"], &held["unknown"], &held["schemas"]),
        (&json!(0), &json!(4), &json!(4)),
        "{held}"
    );
    let run = std::fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let report = std::fs::read_to_string(run.join("report.md")).unwrap();
    assert!(report.contains("this engine does not tell what grammar it makes of a schema"), "{report}");
    assert!(report.contains("that the server took (what it then enforces is not known)"), "{report}");
}

/// What the pinned build of llama.cpp holds of the data set's schemas: refused, the answer unreachable, a listed wrong value allowed.
#[test]
fn the_schemas_of_the_data_set_on_the_real_server() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/tools");
    let levels = ["1-flat", "2-bounded", "3-nested", "4-composed", "5-nasty"];
    let read = |level: &str| -> Vec<Value> {
        let text = std::fs::read_to_string(folder.join(format!("schemas-{level}.json"))).unwrap();
        let collection: Value = serde_json::from_str(&text).unwrap();
        collection["schemas"].as_array().unwrap().clone()
    };
    let all: Vec<Value> = levels.into_iter().flat_map(read).collect();
    let out = check(&json!({ "schemas": all }).to_string(), &["--json"]);
    assert_eq!(out.status.code(), Some(100), "{}", String::from_utf8_lossy(&out.stderr));
    let found: Value = serde_json::from_slice(&out.stdout).unwrap();
    let schemas = found["schemas"].as_array().unwrap();
    let count = |fits: &dyn Fn(&Value) -> bool| schemas.iter().filter(|schema| fits(schema)).count();
    let counts = [
        ("schemas", schemas.len()),
        ("refused", count(&|schema| schema["conversion"].get("refused").is_some())),
        ("not known", count(&|schema| schema["in_full"].is_null())),
        ("answer unreachable", count(&|schema| schema["answer_reachable"] == false)),
        ("no right value reachable", count(&|schema| schema["right_reachable"] == false)),
        ("a listed wrong value allowed", count(&|schema| schema["wrong_allowed"].as_u64() > Some(0))),
        ("in full", count(&|schema| schema["in_full"] == true)),
    ];
    let named = |fits: &dyn Fn(&Value) -> bool| -> Vec<String> {
        schemas.iter().filter(|schema| fits(schema)).map(|schema| schema["name"].to_string()).collect()
    };
    let expected = [
        ("schemas", 120),
        ("refused", 10),
        ("not known", 0),
        ("answer unreachable", 9),
        ("no right value reachable", 6),
        ("a listed wrong value allowed", 32),
        ("in full", 63),
    ];
    assert_eq!(
        counts,
        expected,
        "unreachable {:?}, no right value {:?}, wrong {:?}, refused {:?}",
        named(&|schema| schema["answer_reachable"] == false),
        named(&|schema| schema["right_reachable"] == false),
        named(&|schema| schema["wrong_allowed"].as_u64() > Some(0)),
        named(&|schema| schema["conversion"].get("refused").is_some())
    );
}
