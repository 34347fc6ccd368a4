//! Scoring without a server: cases and replies from files, and a run's own.

use crate::common::MockBench;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

fn kneepoint(dir: &Path, args: &[&str]) -> Output {
    Command::new(crate::common::KNEEPOINT)
        .current_dir(dir)
        .args(args)
        .env("NO_COLOR", "1")
        .env_remove("KNEEPOINT_RUNS_DIR")
        .output()
        .unwrap()
}

/// What was printed, line by line; every line follows the schema.
fn lines(out: &Output) -> Vec<Value> {
    let text = String::from_utf8(out.stdout.clone()).unwrap();
    let schema = Command::new(crate::common::KNEEPOINT).args(["schema", "score"]).output().unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        assert!(validator.is_valid(line), "{line}");
        assert_eq!(line["schema_version"], 1);
    }
    lines
}

pub(crate) fn score_files(cases: &str, replies: &str, more: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cases.jsonl"), cases).unwrap();
    std::fs::write(dir.path().join("replies.jsonl"), replies).unwrap();
    let mut args = vec!["score", "--cases", "ruler:cases.jsonl", "--replies", "replies.jsonl"];
    args.extend(more);
    let out = kneepoint(dir.path(), &args);
    (out.status.code(), lines(&out), String::from_utf8_lossy(&out.stderr).into_owned())
}

pub(crate) const RULER: &str = r#"{"index": 0, "input": "the number for fox is 1234567. What is it?", "outputs": ["1234567"], "length": 50, "answer_prefix": " The number is"}
{"index": 1, "input": "?", "outputs": ["AAAAA", "BBBBB", "CCCCC", "DDDDD"], "length": 50, "answer_prefix": ""}
{"index": 2, "input": "?", "outputs": ["no", "nope"], "length": 50}
"#;

const REPLIES: &str = r#"{"case": 2, "content": "Nope."}
{"case": 0, "content": "", "reasoning": "It is 1234567", "finish_reason": "length"}
{"case": "1", "content": "aaaaa\tddddd", "finish_reason": "stop"}
"#;

fn quality(line: &Value) -> f64 {
    line["outcome"]["scored"]["quality"].as_f64().unwrap()
}

#[test]
fn rulers_files_are_scored_as_ruler_does() {
    let (code, lines, said) = score_files(RULER, REPLIES, &[]);
    assert_eq!(code, Some(0), "{said}");
    let cases: Vec<&str> = lines.iter().map(|line| line["case"].as_str().unwrap()).collect();
    assert_eq!(cases, ["2", "0", "1"], "in the order of the replies");
    assert_eq!(lines.iter().map(quality).collect::<Vec<_>>(), [1.0, 0.0, 0.5]);
    assert_eq!(lines[1]["outcome"]["scored"]["label"], "truncated", "reasoning is no answer");
    assert!(said.contains("3 replies scored, mean score 50.00%"), "{said}");

    let (_, lines, _) = score_files(RULER, REPLIES, &["--match", "part"]);
    assert_eq!(lines.iter().map(quality).collect::<Vec<_>>(), [1.0, 0.0, 1.0]);
}

#[test]
fn a_needle_that_stands_in_the_thinking_alone_is_no_answer() {
    let reply = |content: &str| json!({"case": 0, "content": content}).to_string();
    for (content, quality, published) in [
        ("<think>It is 1234567.</think>I do not know.", 0.0, 1.0),
        ("It is 1234567.</think>I do not know.", 0.0, 1.0),
        ("<think>It is 1234567", 0.0, 1.0),
        ("<seed:think>It is 1234567.</seed:think>I do not know.", 0.0, 1.0),
        (
            "<|channel|>analysis<|message|>1234567<|end|><|start|>assistant<|channel|>final<|message|>No idea.",
            0.0,
            1.0,
        ),
        (
            "<|channel|>analysis<|message|>Is it?<|end|><|start|>assistant<|channel|>final<|message|>1234567",
            1.0,
            1.0,
        ),
        ("analysisIt is 1234567.assistantfinalNo idea.", 0.0, 1.0),
        ("<think>Is it?</think>It is 1234567.", 1.0, 1.0),
    ] {
        let (code, lines, said) = score_files(RULER.lines().next().unwrap(), &reply(content), &[]);
        let score = &lines[0]["outcome"]["scored"];
        assert_eq!((code, score["quality"].as_f64()), (Some(0), Some(quality)), "{content}");
        let by_ruler = score["metrics"]["published"].as_f64().unwrap_or(quality);
        assert_eq!(by_ruler, published, "RULER reads the whole text: {content}");
        assert_eq!(said.contains("(100.00% by the published rule)"), quality == 0.0, "{said}");
    }
}

/// RULER's generators write the answer's place over `index`: here 40 of 50 cases share one.
#[test]
fn every_case_of_rulers_own_files_is_scored_by_its_own_predictions() {
    let index = |n: usize| if n < 10 { n } else { 3 };
    let case = |n: usize| {
        json!({"index": index(n), "input": format!("the number of case {n} is {n}777. What is it?"),
            "outputs": [format!("{n}777")], "length": 50, "answer_prefix": " It is"})
    };
    let cases: Vec<String> = (0..50).map(|n| case(n).to_string()).collect();
    let prediction = |n: usize, with_input: bool| {
        let mut line = json!({"index": index(n), "pred": format!(" {n}777."), "outputs": [format!("{n}777")],
            "others": {}, "truncation": -1, "length": 50});
        if with_input {
            line["input"] = case(n)["input"].clone();
        }
        line.to_string()
    };
    let in_order: Vec<String> = (0..50).map(|n| prediction(n, false)).collect();
    // Several threads write them: then what was asked says which case it was.
    let in_disorder: Vec<String> = (0..50).rev().map(|n| prediction(n, true)).collect();
    for predictions in [in_order, in_disorder] {
        let (code, lines, said) = score_files(&cases.join("\n"), &predictions.join("\n"), &[]);
        assert_eq!((code, lines.len()), (Some(0), 50), "{said}");
        assert!(lines.iter().all(|line| quality(line) == 1.0), "{said}");
        assert!(said.contains("cases are named by line"), "{said}");
        let (code, lines, _) = score_files(&cases.join("\n"), &predictions[..20].join("\n"), &[]);
        assert_eq!(code, Some(106), "20 of 50 have a prediction");
        assert_eq!(lines.iter().filter(|line| line["outcome"].is_object()).count(), 20);
    }
    let by_line = json!({"case": "50", "content": "49777"}).to_string();
    let (_, lines, _) = score_files(&cases.join("\n"), &by_line, &[]);
    assert_eq!((lines[0]["case"].as_str(), quality(&lines[0])), (Some("50"), 1.0));
    let too_many = [prediction(0, false), prediction(0, false)].join("\n");
    let (code, lines, _) = score_files(&cases.join("\n"), &too_many, &[]);
    let error = lines[1]["error"].as_str().unwrap();
    assert!(code == Some(1) && error.contains("no case of index 0 is left"), "{error}");
}

/// Calls that the server's parser missed, in the models' own syntaxes, as the text of the reply.
#[test]
fn calls_in_the_models_own_syntax_have_leaked_in_every_import() {
    let dir = tempfile::tempdir().unwrap();
    let read = |name: &str| {
        std::fs::read_to_string(format!(
            "{}/tests/fixtures/leaked-formats/{name}",
            env!("CARGO_MANIFEST_DIR")
        ))
        .unwrap()
    };
    let (traffic, replies) = (read("traffic.jsonl"), read("replies.jsonl"));
    std::fs::write(dir.path().join("t.jsonl"), &traffic).unwrap();
    std::fs::write(dir.path().join("r.jsonl"), &replies).unwrap();
    let out = kneepoint(dir.path(), &["score", "--cases", "requests:t.jsonl", "--replies", "r.jsonl"]);
    let lines = lines(&out);
    assert_eq!((out.status.code(), lines.len()), (Some(0), 9));
    for line in &lines {
        let score = &line["outcome"]["scored"];
        let case = line["case"].as_str().unwrap();
        if case == "plain_answer" {
            assert_eq!((score["label"].as_str(), score["quality"].as_f64()), (Some("answered"), None));
            continue;
        }
        assert_eq!(
            (score["label"].as_str(), score["quality"].as_f64()),
            (Some("leaked_to_content"), Some(0.0)),
            "{case}"
        );
        let figures = ["calls", "valid_calls", "leaked_calls", "leaked_valid_calls", "triggered"]
            .map(|name| score["metrics"][name].as_f64().unwrap());
        assert_eq!(figures, [1.0, 0.0, 1.0, 1.0, 0.0], "{case}");
    }

    // BFCL: text is what the prompted arm asks for, but not in a syntax of the model's own.
    let function = json!({"name": "get_weather", "description": "", "parameters":
        {"type": "dict", "required": ["city"], "properties": {"city": {"type": "string"}}}});
    let (mut questions, mut answers) = (Vec::new(), Vec::new());
    let cases: Vec<Value> = replies.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut renamed = Vec::new();
    for (number, reply) in cases.iter().enumerate() {
        let id = format!("simple_python_{number}");
        questions.push(
            json!({"id": id, "question": [[{"role": "user", "content": "?"}]], "function": [function]})
                .to_string(),
        );
        answers.push(json!({"id": id, "ground_truth": [{"get_weather": {"city": ["Lima"]}}]}).to_string());
        renamed.push(json!({"case": id, "content": reply["content"]}).to_string());
    }
    std::fs::write(dir.path().join("q.json"), questions.join("\n")).unwrap();
    std::fs::write(dir.path().join("a.json"), answers.join("\n")).unwrap();
    std::fs::write(dir.path().join("b.jsonl"), renamed.join("\n")).unwrap();
    let out = kneepoint(dir.path(), &["score", "--cases", "bfcl:q.json,a.json", "--replies", "b.jsonl"]);
    let lines = self::lines(&out);
    for (line, case) in lines.iter().zip(&cases) {
        let score = &line["outcome"]["scored"];
        let (label, passes) = match case["case"].as_str().unwrap() {
            "plain_answer" => (Some("ast_decoder:decoder_failed"), false),
            "hermes_json" => (Some("json_calls"), false),
            "pythonic" => (None, true),
            _ => (Some("leaked_to_content"), false),
        };
        assert_eq!(score["label"].as_str(), label, "{case}");
        let published = score["metrics"]["published"].as_f64().or(score["quality"].as_f64());
        let passes = (Some(passes), Some(f64::from(u8::from(passes))));
        assert_eq!((line["valid"].as_bool(), published), passes, "{case}");
    }
}

#[test]
fn bad_lines_are_named_and_lose_nothing() {
    let cases = RULER.replacen("{\"index\": 1", "{\"indx\": 1", 1) + RULER.lines().next().unwrap();
    let replies = format!("<html>\n{REPLIES}\n{{\"case\": 0}}\n");
    let (code, lines, said) = score_files(&cases, &replies, &[]);
    assert_eq!(code, Some(1), "{said}");
    let errors: Vec<&str> = lines.iter().filter_map(|line| line["error"].as_str()).collect();
    let starts =
        ["cases.jsonl:2: ", "cases.jsonl:4: ", "replies.jsonl:1: ", "replies.jsonl:4: ", "replies.jsonl:6: "];
    assert_eq!(errors.len(), starts.len(), "{errors:#?}");
    for (error, start) in errors.iter().zip(starts) {
        assert!(error.starts_with(start), "{error} instead of {start}");
    }
    assert!(errors[1].contains("stands further up") && errors[3].contains("no such case"));
    assert_eq!(lines.iter().filter(|line| line["outcome"].is_object()).count(), 2);
}

#[test]
fn cases_without_a_reply_are_named() {
    let one = REPLIES.lines().next().unwrap();
    let (code, lines, _) = score_files(RULER, one, &[]);
    assert_eq!(code, Some(106));
    let silent: Vec<&str> = lines[1..].iter().map(|line| line["case"].as_str().unwrap()).collect();
    assert_eq!(silent, ["0", "1"]);
    assert!(lines[1..].iter().all(|line| line["error"] == "no reply to this case"));
}

#[test]
fn questions_are_scored_by_any_answer() {
    let dir = tempfile::tempdir().unwrap();
    let cases = json!({"id": "a", "question": "Where?", "answers": ["Rome", "the city of Rome"], "context": "It was in Rome."});
    std::fs::write(dir.path().join("qa.jsonl"), cases.to_string()).unwrap();
    std::fs::write(dir.path().join("r.jsonl"), r#"{"case": "a", "content": "in ROME"}"#).unwrap();
    let out = kneepoint(dir.path(), &["score", "--cases", "qa:qa.jsonl", "--replies", "r.jsonl"]);
    let lines = lines(&out);
    assert_eq!((out.status.code(), quality(&lines[0])), (Some(0), 1.0));
    let all = ["score", "--cases", "qa:qa.jsonl", "--replies", "r.jsonl", "--match", "all"];
    let out = kneepoint(dir.path(), &all);
    assert_eq!(String::from_utf8_lossy(&out.stdout).matches("0.5").count(), 1);
}

#[test]
fn bfcls_files_are_scored_by_its_checker() {
    let dir = tempfile::tempdir().unwrap();
    let function = json!({"name": "m.add", "description": "", "parameters":
        {"type": "dict", "required": ["a"], "properties": {"a": {"type": "integer"}, "b": {"type": "float"}}}});
    let question = |id: &str| {
        json!({"id": id, "question": [[{"role": "user", "content": "?"}]], "function": [function]})
            .to_string()
    };
    let questions =
        ["simple_python_0", "parallel_1", "live_irrelevance_2-0-0", "simple_python_3"].map(question);
    std::fs::write(dir.path().join("q.json"), questions.join("\n")).unwrap();
    let truth = json!({"m.add": {"a": [1], "b": [2.0, ""]}});
    let answers = [
        json!({"id": "simple_python_0", "ground_truth": [truth]}).to_string(),
        json!({"id": "parallel_1", "ground_truth": [truth, truth]}).to_string(),
    ];
    std::fs::write(dir.path().join("a.json"), answers.join("\n")).unwrap();
    let call = |arguments: &str| json!([{"name": "m_add", "arguments": arguments}]);
    let replies = [
        json!({"case": "simple_python_0", "content": null, "tool_calls": call("{\"a\": 1, \"b\": 2}")}),
        json!({"case": "simple_python_0", "content": null, "tool_calls": call("{\"a\": true}")}),
        json!({"case": "parallel_1", "content": "[m.add(a=1), m.add(a=1, b=2.0)]"}),
        json!({"case": "parallel_1", "content": "[m.add(a=1)]"}),
        json!({"case": "live_irrelevance_2-0-0", "content": "I cannot add words."}),
    ];
    let replies = replies.map(|reply| reply.to_string());
    std::fs::write(dir.path().join("r.jsonl"), replies.join("\n")).unwrap();
    let out = kneepoint(dir.path(), &["score", "--cases", "bfcl:q.json,a.json", "--replies", "r.jsonl"]);
    let lines = lines(&out);
    let bad = lines[0]["error"].as_str().unwrap();
    assert!(bad.starts_with("q.json:4: no answers to simple_python_3"), "{bad}");
    let seen: Vec<(Option<bool>, &str)> = lines[1..]
        .iter()
        .map(|line| {
            (line["valid"].as_bool(), line["error"].as_str().unwrap_or_default().split(": ").next().unwrap())
        })
        .collect();
    assert_eq!(
        seen,
        [
            (Some(true), ""),
            (Some(false), "type_error:simple"),
            (Some(true), ""),
            (Some(false), "parallel_function_checker_no_order:wrong_count"),
            (Some(true), ""),
        ]
    );
    assert_eq!(lines[2]["outcome"]["scored"]["label"], "type_error:simple");
    assert_eq!(out.status.code(), Some(1), "a case without answers is an error");

    let alone = ["score", "--cases", "bfcl:q.json", "--replies", "r.jsonl"];
    let out = kneepoint(dir.path(), &alone);
    assert!(String::from_utf8_lossy(&out.stdout).contains("name their file too"));
}

/// The prompted arm's text as BFCL's own decoder reads it, and the figures for what it does not read.
#[test]
fn bfcls_prompted_replies_are_decoded_as_published() {
    let dir = tempfile::tempdir().unwrap();
    let function = json!({"name": "f", "description": "", "parameters": {"type": "dict", "required": [],
        "properties": {"n": {"type": "integer"}, "t": {"type": "string"}}}});
    let question = json!({"id": "simple_python_0", "question": [[{"role": "user", "content": "?"}]], "function": [function]});
    let truth = json!({"id": "simple_python_0", "ground_truth": [{"f": {"n": [-1, ""], "t": ["ab", ""]}}]});
    std::fs::write(dir.path().join("q.json"), question.to_string()).unwrap();
    std::fs::write(dir.path().join("a.json"), truth.to_string()).unwrap();
    let score = |content: &str| {
        let reply = json!({"case": "simple_python_0", "content": content}).to_string();
        std::fs::write(dir.path().join("r.jsonl"), reply).unwrap();
        let out = kneepoint(dir.path(), &["score", "--cases", "bfcl:q.json,a.json", "--replies", "r.jsonl"]);
        let line = lines(&out).remove(0);
        let score = &line["outcome"]["scored"];
        let quality = score["quality"].as_f64().unwrap();
        let figures = (quality, score["metrics"]["published"].as_f64().unwrap_or(quality));
        assert_eq!(line["valid"], figures.1 == 1.0, "`valid` is the published checker's word: {line}");
        (figures, score["label"].as_str().map(str::to_owned))
    };
    for content in [
        "[f(n=-1, # minus one\n t='ab')]",
        "[f(n=+1)]",
        "[f(n=not True)]",
        "[f(t='a' + \"b\")]",
        "[f(n=1-2)]",
    ] {
        assert_eq!(score(content), ((1.0, 1.0), None), "{content}");
    }
    let json = r#"[{"name": "f", "arguments": {"n": -1}}]"#;
    assert_eq!(score(json), ((1.0, 0.0), Some("json_calls".into())), "named, with both figures");
    assert_eq!(
        score("<think>f?</think>\n[f(n=-1)]"),
        ((1.0, 0.0), None),
        "the published decoder reads the thinking"
    );
    for thought in ["<think>[f(n=-1)]</think>I cannot.", "<think>\n[f(n=-1)]", "[f(n=-1)]</think>I cannot."] {
        assert_eq!(score(thought).0.0, 0.0, "a call that is only thought of: {thought}");
    }

    for (id, named) in [
        ("simple_java_1", "no java: its arguments are written and compared as Java"),
        ("simple_javascript_1", "no javascript"),
        ("multi_turn_base_1", "no multi_turn: it is played over several turns"),
        ("memory_kv_1-customer-1", "no memory"),
        ("web_search_base_1", "no web_search"),
    ] {
        // Questions of these categories have no `function`, or another form.
        std::fs::write(dir.path().join("o.json"), json!({"id": id, "question": []}).to_string()).unwrap();
        let out = kneepoint(dir.path(), &["score", "--cases", "bfcl:o.json,a.json", "--replies", "r.jsonl"]);
        let error = lines(&out)[0]["error"].as_str().unwrap().to_owned();
        assert!(
            error.contains("only single-turn questions about Python are read") && error.contains(named),
            "{error}"
        );
    }
    let file = "BFCL_v4_format_sensitivity.json";
    std::fs::write(dir.path().join(file), "{\n  \"simple_python\": [\n    \"simple_python_0\"\n  ]\n}")
        .unwrap();
    let out =
        kneepoint(dir.path(), &["score", "--cases", &format!("bfcl:{file},a.json"), "--replies", "r.jsonl"]);
    let error = lines(&out)[0]["error"].as_str().unwrap().to_owned();
    assert!(error.contains("no format_sensitivity"), "once for the file: {error}");
}

/// Replies that hold what each case's target says.
fn perfect(cases: &str) -> String {
    let reply = |line: &str| {
        let case: Value = serde_json::from_str(line).unwrap();
        let answers = case["target"]["answers"].as_array().unwrap();
        let content: Vec<&str> = answers.iter().filter_map(Value::as_str).collect();
        json!({"case": case["id"], "content": content.join(" ")}).to_string() + "\n"
    };
    cases.lines().map(reply).collect()
}

#[test]
fn our_own_cases_are_printed_and_scored() {
    let bench = MockBench::new("");
    let dir = bench.dir.path();
    let args = ["cases", "suite.toml", "--task", "retrieval/niah_single_1"];
    let exact = kneepoint(dir, &args);
    assert_eq!(exact.status.code(), Some(0), "{}", String::from_utf8_lossy(&exact.stderr));
    let approximate = kneepoint(dir, &[&args[..], &["--approximate", "--context", "512"]].concat());
    assert!(String::from_utf8_lossy(&approximate.stderr).contains("not exact"));
    for out in [exact, approximate] {
        let cases = String::from_utf8(out.stdout).unwrap();
        assert_eq!(cases.lines().count(), 4);
        std::fs::write(dir.join("cases.jsonl"), &cases).unwrap();
        std::fs::write(dir.join("replies.jsonl"), perfect(&cases)).unwrap();
        let out = kneepoint(dir, &["score", "--cases", "cases.jsonl", "--replies", "replies.jsonl"]);
        let lines = lines(&out);
        assert_eq!((out.status.code(), lines.len()), (Some(0), 4));
        assert!(lines.iter().all(|line| quality(line) == 1.0));
    }
}

#[test]
fn the_cases_of_a_run_are_those_that_are_printed() {
    let bench = MockBench::new("");
    let out = bench.command(&["run", "suite.toml"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let printed = kneepoint(bench.dir.path(), &["cases", "suite.toml", "--task", "retrieval/niah_single_1"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let ids: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();

    let before = std::fs::read(bench.run_folder().join("journal.jsonl")).unwrap();
    let out = kneepoint(bench.dir.path(), &["score", "latest"]);
    let scored = lines(&out);
    assert_eq!((out.status.code(), scored.len()), (Some(0), 18));
    assert!(scored.iter().all(|line| line["changed"] == false && line["outcome"].is_object()));
    for id in &ids {
        assert_eq!(scored.iter().filter(|line| line["case"] == *id).count(), 3, "2 settings and A/A");
    }

    // Another judgement in the journal, as an older kneepoint might have left.
    let path = bench.run_folder().join("journal.jsonl");
    let text = crate::common::without_checksums(&String::from_utf8(before).unwrap());
    let wrong = text.replacen(r#""label":"no_number""#, r#""label":"old_rule""#, 1);
    assert_ne!(wrong, text);
    std::fs::write(&path, &wrong).unwrap();
    let out = kneepoint(bench.dir.path(), &["score", "latest"]);
    let changed: Vec<Value> = lines(&out).into_iter().filter(|line| line["changed"] == true).collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["before"]["scored"]["label"], "old_rule");
    assert_eq!(changed[0]["outcome"]["scored"]["label"], "no_number");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), wrong, "the journal is left as it is");
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    for (args, named) in [
        (vec!["score"], "required"),
        (vec!["score", "--cases", "x.jsonl"], "--replies"),
        (vec!["score", "--cases", "rular:x.jsonl", "--replies", "r"], "did you mean `ruler:x.jsonl`?"),
        (vec!["score", "--cases", "ruler:x.jsonl", "--replies", "r"], "cannot read x.jsonl"),
        (vec!["score", "nothing"], "no runs"),
    ] {
        let out = kneepoint(dir.path(), &args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(named), "{args:?}: {said}");
    }
}

#[test]
fn a_suite_runs_rulers_own_cases() {
    let bench = MockBench::new("");
    let suite = std::fs::read_to_string(bench.dir.path().join("suite.toml")).unwrap();
    let own = suite.find("[[task]]").unwrap();
    let text = suite[..own].to_owned()
        + "[[task]]\nname = \"retrieval/ruler\"\nfile = \"c{context}.jsonl\"\nsamples = 3\n";
    std::fs::write(bench.dir.path().join("suite.toml"), &text).unwrap();
    std::fs::write(bench.dir.path().join("c512.jsonl"), RULER).unwrap();
    let out = bench.command(&["run", "suite.toml", "--json"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let summary: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(summary["tasks"][0]["task"], "retrieval/ruler");
    assert_eq!(summary["tasks"][0]["scored"], 3);

    for (from, to, named) in [
        ("file = \"c{context}.jsonl\"\n", "", "does not say which file it reads"),
        ("retrieval/ruler", "retrieval/niah_single_1", "makes its own cases"),
    ] {
        std::fs::write(bench.dir.path().join("suite.toml"), text.replace(from, to)).unwrap();
        let out = bench.command(&["validate", "suite.toml"]).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && said.contains(named), "{said}");
    }
}

#[test]
fn the_pilot_tries_the_reference_alone_and_leaves_a_suite_without_options_as_it_is() {
    let bench = MockBench::new("");
    let path = bench.dir.path().join("suite.toml");
    let suite = std::fs::read_to_string(&path).unwrap().replace("niah_single_1", "niah_multikey_2");
    std::fs::write(&path, &suite).unwrap();
    let args = ["run", "suite.toml", "--pilot", "--pilot-samples", "2", "--write", "--json"];
    let out = bench.command(&args).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let pilot: Value = serde_json::from_slice(&out.stdout).unwrap();
    let schema = bench.command(&["schema", "pilot"]).output().unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    assert!(jsonschema::draft202012::new(&schema).unwrap().is_valid(&pilot), "{pilot}");
    assert_eq!(pilot["tasks"][0]["state"], "too_hard", "the mock knows no answer");
    assert_eq!(pilot["tasks"][0]["steps"].as_array().unwrap().len(), 1);
    assert_eq!(pilot["tasks"][1]["state"], "not_tuned");
    assert_eq!((&pilot["written"], std::fs::read_to_string(&path).unwrap()), (&json!(false), suite));
    assert!(!bench.dir.path().join("runs").exists(), "a pilot is no run");
}

/// Scores these replies by a schema: exit code, lines, what was said.
fn score_schema(schema: &Value, replies: &str) -> (Option<i32>, Vec<Value>, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("schema.json"), schema.to_string()).unwrap();
    std::fs::write(dir.path().join("replies.jsonl"), replies).unwrap();
    let out = kneepoint(dir.path(), &["score", "--schema", "schema.json", "--replies", "replies.jsonl"]);
    (out.status.code(), lines(&out), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn replies_are_scored_by_a_schema_of_ones_own() {
    let schema = json!({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]});
    let replies = [
        json!({"content": "{\"age\": 7}"}),
        json!({"case": "b", "content": "```json\n{\"age\": \"7\"}\n```"}),
        json!({"id": "c", "choices": [{"message": {"role": "assistant", "content": "{}"}, "finish_reason": "stop"}]}),
        json!({"content": "{\"age\": 7", "finish_reason": "length"}),
    ];
    let text = |replies: &[Value]| replies.iter().map(|reply| format!("{reply}\n")).collect::<String>();
    let (code, lines, said) = score_schema(&schema, &text(&replies));
    assert_eq!(code, Some(0), "{said}");
    let seen: Vec<(&str, f64, bool, &Value)> = lines
        .iter()
        .map(|line| {
            let label = &line["outcome"]["scored"]["label"];
            (line["case"].as_str().unwrap(), quality(line), line["valid"].as_bool().unwrap(), label)
        })
        .collect();
    let (wrong_type, missing, cut) = (json!("type"), json!("missing"), json!("truncated"));
    let expected = [
        ("1", 1.0, true, &Value::Null),
        ("b", 0.0, false, &wrong_type),
        ("c", 0.0, false, &missing),
        ("4", 0.0, false, &cut),
    ];
    assert_eq!(seen, expected);
    assert!(lines[1]["error"].as_str().unwrap().starts_with("/age: "), "{}", lines[1]);
    assert!(said.contains("1 of 4 replies valid (25.00%)"), "{said}");

    let wrapped =
        json!({"type": "json_schema", "json_schema": {"name": "person", "strict": true, "schema": schema}});
    assert_eq!(score_schema(&wrapped, &text(&replies)).1, lines, "as a request has it");
    let (code, lines, _) = score_schema(&schema, "{\"content\": \"{\\\"age\\\": 7}\"}\n{\"age\": 7}\n");
    assert_eq!((code, lines.len()), (Some(1), 2), "a line that is no reply is named, the others are scored");
    assert!(lines[1]["error"].as_str().unwrap().contains("replies.jsonl:2: not a reply"), "{}", lines[1]);
}

#[test]
fn a_schema_of_ones_own_is_judged_by_the_draft_that_it_names() {
    let tuple = |draft: Option<&str>| {
        let mut schema = json!({"items": [{"type": "integer"}], "additionalItems": false});
        if let Some(draft) = draft {
            schema["$schema"] = json!(draft);
        }
        score_schema(&schema, "{\"content\": \"[1, 2]\"}\n")
    };
    for draft in ["http://json-schema.org/draft-04/schema#", "https://json-schema.org/draft/2019-09/schema"] {
        let (code, lines, said) = tuple(Some(draft));
        assert_eq!((code, lines[0]["valid"].as_bool()), (Some(0), Some(false)), "{draft}: {said}");
    }
    let (code, _, said) = tuple(None);
    assert_eq!(code, Some(2), "no schema of 2020-12");
    assert!(said.contains("schema.json is no JSON Schema") && said.contains("draft 2020-12"), "{said}");
    let own = json!({"$schema": "https://example.test/own", "type": "integer"});
    let (code, lines, said) = score_schema(&own, "{\"content\": \"1\"}\n");
    assert_eq!((code, lines[0]["valid"].as_bool()), (Some(0), Some(true)));
    assert!(
        said.contains("names no draft that is known here") && said.contains("judged by 2020-12"),
        "{said}"
    );
}

#[test]
fn a_reply_that_a_schema_cannot_tell_of_is_unscored_and_never_wrong() {
    let schema = json!({"items": {"pattern": "^(a|a)*\\1b"}});
    let hostile = json!({"content": json!(["a".repeat(40) + "!"]).to_string()}).to_string();
    let (code, lines, said) = score_schema(&schema, &format!("{hostile}\n"));
    assert_eq!(code, Some(0), "{said}");
    assert!(lines[0]["outcome"]["unscored"]["reason"].as_str().unwrap().contains("limits"), "{}", lines[0]);
    assert!(lines[0].get("valid").is_none() && said.contains("1 not judged"), "{said}");
    let (code, _, said) = score_schema(&json!({"$ref": "https://example.test/far.json"}), &hostile);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot be used here") && said.contains("nothing is fetched"), "{said}");
}
