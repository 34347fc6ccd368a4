//! What real servers do to a client: a suite attached to a scripted server, and what it makes of that.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::common::scripted::{Answer, Request, Scripted, chunk, models, reply, words};

const KNEEPOINT: &str = env!("CARGO_BIN_EXE_kneepoint");
pub(crate) const KEY: &str = "sk-not/to+be-found-0123456789";
const KEY_NAME: &str = "KNEEPOINT_TEST_KEY";

/// A finished run.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) summary: Value,
    pub(crate) stderr: String,
    pub(crate) journal: String,
    pub(crate) report: String,
    pub(crate) dir: tempfile::TempDir,
}

impl Ran {
    pub(crate) fn trials(&self) -> Vec<Value> {
        let lines = self.journal.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| line.get("trial").cloned()).collect()
    }

    fn cell(&self) -> &Value {
        &self.summary["cells"][0]
    }

    fn warnings(&self) -> String {
        self.summary["warnings"].to_string()
    }

    fn not_measured(&self) -> String {
        self.summary["not_measured"].to_string()
    }

    fn row(&self, task: &str) -> &Value {
        self.summary["tasks"].as_array().unwrap().iter().find(|row| row["task"] == task).unwrap()
    }
}

/// Runs a suite with these tasks on the server; files beside the suite by name.
pub(crate) fn run(engine: &str, server: &Scripted, tasks: &str, files: &[(&str, &str)]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let suite = format!(
        "name = \"scripted\"\ncontexts = [2048]\nrounds = 1\ndraws = 200\nobjectives = [\"quality\", \"decode\", \"prefill\", \"ttft\"]\n\
         [engine]\nname = \"{engine}\"\nurl = \"{}\"\nrequest_timeout_s = 60\nidle_timeout_s = 5\nstart_timeout_s = 10\n\
         api_key_env = \"{KEY_NAME}\"\n[[model]]\nname = \"m\"\nweights = \"Q4_K_M\"\n[reference]\n{tasks}",
        server.url
    );
    let suite = match suite.contains("SERVED") {
        true => {
            suite.replace("SERVED\n", "").replace("[engine]\n", "[engine]\nserved_model = \"org/one:Q4_1\"\n")
        }
        false => suite,
    };
    std::fs::write(dir.path().join("suite.toml"), suite).unwrap();
    for (name, text) in files {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    finished(dir)
}

fn finished(dir: tempfile::TempDir) -> Ran {
    let out = Command::new(KNEEPOINT)
        .current_dir(dir.path())
        .args(["run", "suite.toml", "--json"])
        .env("NO_COLOR", "1")
        .env(KEY_NAME, KEY)
        .env_remove("KNEEPOINT_RUNS_DIR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&out.stderr).into_owned();
    let summary = serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let folder = std::fs::read_dir(dir.path().join("runs")).unwrap().next().unwrap().unwrap().path();
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (journal, report) = (text("journal.jsonl"), text("report.md"));
    Ran { code: out.status.code(), summary, stderr, journal, report, dir }
}

const NEEDLE: &str =
    "[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 2\noptions.output_tokens = 128\n";
const CALLS: &str = "[[task]]\nname = \"tools/arguments\"\nsamples = 4\narms = [\"native\"]\n";

pub(crate) fn requests(samples: u32, more: &str) -> String {
    format!("[[task]]\nname = \"tools/requests\"\nfile = \"traffic.jsonl\"\nsamples = {samples}\n{more}")
}

pub(crate) fn weather(id: &str, text: &str) -> Value {
    let parameters =
        json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let tool = json!({ "type": "function", "function": {
        "name": "get_weather", "description": "Weather of a city", "parameters": parameters,
    } });
    json!({ "custom_id": id, "body": { "messages": [{ "role": "user", "content": text }], "tools": [tool] } })
}

pub(crate) fn call(index: u64, id: &str, arguments: &str) -> Value {
    let function = json!({ "name": "get_weather", "arguments": arguments });
    json!({ "id": id, "type": "function", "index": index, "function": function })
}

/// Everything but a chat of a server with nothing but OpenAI's interface.
fn openai(request: &Request) -> Answer {
    match request.path.as_str() {
        "/v1/models" => models(&["served"]),
        _ => Answer::not_found(),
    }
}

pub(crate) fn hello(request: &Request) -> Answer {
    reply(request, json!({ "role": "assistant", "content": "Hello" }), "stop", 1)
}

// Parallel calls

fn cities(request: &Request) -> Vec<String> {
    let cities = ["Lima", "Oslo", "Rome"].into_iter().filter(|city| request.asks().contains(city));
    cities.map(|city| json!({ "city": city }).to_string()).collect()
}

/// All calls with index 0: whole ones as Ollama sends them, or in pieces as older builds of vLLM.
fn parallel(request: &Request, in_pieces: bool) -> Answer {
    if !request.is_chat() {
        return openai(request);
    }
    let arguments = cities(request);
    if arguments.is_empty() {
        return hello(request);
    }
    let calls = arguments.iter().enumerate();
    let whole = calls.clone().map(|(i, arguments)| call(0, &format!("call_{i}"), arguments));
    if request.body["stream"] != true {
        let message = json!({ "role": "assistant", "content": "", "tool_calls": whole.collect::<Vec<_>>() });
        return reply(request, message, "tool_calls", 20);
    }
    let mut events: Vec<Value> = match in_pieces {
        false => whole.map(|call| chunk(&json!({ "content": "", "tool_calls": [call] }), None)).collect(),
        true => calls
            .flat_map(|(i, arguments)| {
                let rest = |part: &str| {
                    let function = json!({ "name": null, "arguments": part });
                    json!({ "id": "", "type": "function", "index": 0, "function": function })
                };
                let (head, tail) = arguments.split_at(6);
                [call(0, &format!("chatcmpl-tool-{i}"), ""), rest(head), rest(tail)]
            })
            .map(|piece| chunk(&json!({ "tool_calls": [piece] }), None))
            .collect(),
    };
    events.push(chunk(&json!({ "content": "" }), Some("tool_calls")));
    events.push(json!({ "choices": [], "usage": request.usage(20) }));
    Answer::at_once(events)
}

#[test]
fn parallel_calls_that_all_have_index_0_are_as_many_as_their_ids() {
    let traffic =
        [weather("two", "Weather in Lima and in Oslo?"), weather("three", "Weather in Lima, Oslo and Rome?")];
    let traffic = traffic.map(|line| line.to_string()).join("\n");
    for in_pieces in [false, true] {
        let server = Scripted::start(move |request| parallel(request, in_pieces));
        let task = requests(2, "options.stream_check = 1\n");
        let ran = run("openai", &server, &task, &[("traffic.jsonl", &traffic)]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.row("tools/requests")["quality"]["value"], 1.0, "{}", ran.summary["tasks"]);
        let calls = |trial: &Value| trial["reply"]["tool_calls"].as_array().unwrap().len();
        assert_eq!(ran.trials().iter().map(calls).collect::<Vec<_>>(), [2, 3, 2, 3]);
        assert!(!ran.warnings().contains("without streaming"), "{}", ran.warnings());
    }
}

// A router

const NAMES: [&str; 2] = ["org/one:Q4_1", "org/two:Q8_0"];

fn rendered(body: &Value) -> String {
    let said = body["messages"].as_array().unwrap().iter();
    let said = said.map(|message| format!("{}: {}\n", message["role"], message["content"]));
    format!("{}{}", body["tools"], said.collect::<String>())
}

/// llama-server as a router: its own `/props` is a stand-in, and everything else wants the model's name.
fn router(request: &Request) -> Answer {
    let missing = || {
        let message = "model name is missing from the request";
        Answer::Json(
            400,
            json!({ "error": { "code": 400, "message": message, "type": "invalid_request_error" } }),
        )
    };
    let asked = format!("model={}", NAMES[0].replace('/', "%2F").replace(':', "%3A"));
    let named = request.query.as_deref() == Some(asked.as_str());
    match request.path.as_str() {
        "/health" => return Answer::ok(json!({ "status": "ok" })),
        "/v1/models" => {
            let model = |name: &str| json!({ "id": name, "status": { "value": "loaded", "args": [] } });
            return Answer::ok(json!({ "data": NAMES.map(model) }));
        }
        "/props" if !named => {
            return Answer::ok(json!({
                "role": "router", "max_instances": 4, "model_path": "none", "build_info": "b10434-abc",
                "default_generation_settings": { "params": {}, "n_ctx": 0 },
            }));
        }
        "/props" => {
            return Answer::ok(json!({
                "default_generation_settings": { "params": {}, "n_ctx": 4096 }, "total_slots": 4,
                "model_path": "/m.gguf", "chat_template": "x", "build_info": "b10434-abc",
            }));
        }
        "/metrics" if named => return Answer::not_found(),
        _ if request.body["model"] != NAMES[0] => return missing(),
        _ => {}
    }
    let body = &request.body;
    match request.path.as_str() {
        "/tokenize" => {
            let count = words(body["content"].as_str().unwrap());
            Answer::ok(json!({ "tokens": (10..10 + count).collect::<Vec<_>>() }))
        }
        "/apply-template" => Answer::ok(json!({ "prompt": rendered(body) })),
        "/completion" => {
            let tokens = body["prompt"].as_array().unwrap().len();
            let cached = if body["cache_prompt"] == true { tokens - 1 } else { 0 };
            let top = (0..8).map(|i| json!({ "id": i, "logprob": -1.0 - f64::from(i) }));
            Answer::ok(json!({
                "tokens_evaluated": tokens, "truncated": false,
                "timings": { "cache_n": cached, "prompt_n": tokens - cached, "prompt_ms": 10.0 },
                "completion_probabilities": [{ "top_logprobs": top.collect::<Vec<_>>() }],
            }))
        }
        _ => {
            let mut usage = request.usage(1);
            usage["prompt_tokens"] = words(&rendered(body)).into();
            usage["prompt_tokens_details"] = json!({ "cached_tokens": 0 });
            let message = json!({ "role": "assistant", "content": "Hello" });
            if body["stream"] != true {
                let choice = json!({ "index": 0, "message": message, "finish_reason": "stop" });
                return Answer::ok(json!({ "choices": [choice], "usage": usage }));
            }
            let end = json!({ "choices": [], "usage": usage });
            Answer::at_once([chunk(&message, None), chunk(&json!({}), Some("stop")), end])
        }
    }
}

#[test]
fn a_router_is_told_the_models_name_wherever_it_is_asked() {
    let server = Scripted::start(router);
    let kld = "[[task]]\nname = \"coherence/kld\"\nsamples = 1\noptions.positions = 8\noptions.top_k = 8\n";
    let ran = run("llama.cpp", &server, &format!("{NEEDLE}{CALLS}{kld}SERVED\n"), &[]);
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.stderr, ran.summary["failures"]);
    assert_eq!(ran.cell()["void"], Value::Null);
    assert_eq!(ran.cell()["effective"]["context"], 4096);
    assert_eq!(ran.row("retrieval/niah_single_1")["scored"], 2);
    assert_eq!(ran.row("coherence/kld")["scored"], 1);
    assert!(ran.warnings().contains("passes requests on to servers of 2 models"), "{}", ran.warnings());
    assert!(!ran.warnings().contains("not available: token"), "{}", ran.warnings());
    let seen = server.seen();
    for path in ["/props", "/tokenize", "/apply-template", "/completion", "/v1/chat/completions"] {
        assert!(seen.iter().any(|request| request.path == path), "{path} was not asked");
    }
    for request in seen.iter().filter(|request| !["/health", "/v1/models"].contains(&request.path.as_str())) {
        let query = request.query.as_deref().unwrap_or_default();
        assert!(request.body["model"] == NAMES[0] || query == "model=org%2Fone%3AQ4_1", "{request:?}");
    }
}

// A reply that is kept back

/// vLLM with a parser that keeps a call back until it is complete: prefill 0.1 s, 50 tokens of 20 ms. `counted`: events
/// with nothing but a count in between.
fn keeps_back(request: &Request, counted: bool) -> Answer {
    let usage = |output: u64| {
        let prompt = request.prompt_tokens();
        json!({ "prompt_tokens": prompt, "completion_tokens": output,
                "prompt_tokens_details": { "cached_tokens": 0 } })
    };
    let event = |delta: Value, finish: Option<&str>, output: u64| {
        let mut event = chunk(&delta, finish);
        event["usage"] = usage(output);
        event.to_string()
    };
    match request.path.as_str() {
        "/health" => Answer::ok(json!({})),
        "/v1/models" => {
            Answer::ok(json!({ "data": [{ "id": "served", "object": "model", "max_model_len": 4096 }] }))
        }
        "/tokenize" => {
            let count = match request.body.get("messages") {
                Some(_) => request.prompt_tokens(),
                None => words(request.body["prompt"].as_str().unwrap()),
            };
            Answer::ok(json!({ "count": count, "tokens": (0..count).collect::<Vec<_>>() }))
        }
        "/v1/chat/completions" if request.body["stream"] != true => hello(request),
        "/v1/chat/completions" if !request.has_tools() => {
            let mut events = vec![(100, event(json!({ "role": "assistant", "content": "" }), None, 0))];
            events.extend((1..=8).map(|i| (20, event(json!({ "content": format!("tok{i} ") }), None, i))));
            events.push((0, event(json!({}), Some("stop"), 8)));
            events.push((0, "[DONE]".to_owned()));
            Answer::Events(events)
        }
        "/v1/chat/completions" => {
            let name = &request.body["tools"][0]["function"]["name"];
            let piece = |arguments: &str| {
                let function = json!({ "name": name, "arguments": arguments });
                json!({ "tool_calls": [{ "index": 0, "id": "chatcmpl-tool-1", "function": function }] })
            };
            let mut events = vec![(100, event(json!({ "role": "assistant", "content": "" }), None, 0))];
            let held = (1..=50).map(|i| (20, event(json!({}), None, i)));
            match counted {
                true => events.extend(held),
                false => events.push((1000, event(json!({}), None, 0))),
            }
            events.push((0, event(piece(""), None, 50)));
            events.push((2, event(piece("{}"), Some("tool_calls"), 51)));
            events.push((0, json!({ "choices": [], "usage": usage(51) }).to_string()));
            events.push((0, "[DONE]".to_owned()));
            Answer::Events(events)
        }
        _ => Answer::not_found(),
    }
}

#[test]
fn a_call_that_was_kept_back_gives_no_speed_and_says_why() {
    let server = Scripted::start(|request| keeps_back(request, false));
    let ran = run("vllm", &server, CALLS, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for figure in ["decode_tps", "ttft_s", "prefill_tps", "itl_p50_s"] {
        assert_eq!(ran.cell()[figure], Value::Null, "{figure}: {}", ran.cell());
    }
    for what in ["decode rate", "time to first token", "prefill rate", "time between tokens"] {
        let line = format!("{what}: many tokens came with the first one: the server had kept them back");
        assert!(ran.not_measured().contains(&line), "{line}: {}", ran.not_measured());
        assert!(ran.report.contains(&line), "{line}: {}", ran.report);
    }
}

#[test]
fn counts_of_empty_deltas_time_a_call_that_was_kept_back() {
    let server = Scripted::start(|request| keeps_back(request, true));
    let ran = run("vllm", &server, CALLS, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let value = |figure: &str| ran.cell()[figure]["value"].as_f64().unwrap();
    assert!((0.1..0.4).contains(&value("ttft_s")), "{}", ran.cell());
    // 50 tokens/s; this machine may be busy.
    assert!((25.0..55.0).contains(&value("decode_tps")), "{}", ran.cell());
    assert!(value("prefill_tps") > 0.0);
}

// The end of a reply

/// Names "" as the reason on every event; `cut`: streams end after three of them.
fn empty_reasons(request: &Request, reason: &str, cut: bool) -> Answer {
    if !request.is_chat() {
        return openai(request);
    }
    if request.body["stream"] != true || request.asks().contains("Say hello") {
        return hello(request);
    }
    let event = |i: u64| (1, chunk(&json!({ "content": format!("tok{i} ") }), Some(reason)).to_string());
    if cut {
        return Answer::Events((0..3).map(event).collect());
    }
    let usage = json!({ "choices": [], "usage": request.usage(8) }).to_string();
    Answer::Events((0..8).map(event).chain([(0, usage), (0, "[DONE]".to_owned())]).collect())
}

#[test]
fn a_stream_that_is_cut_is_broken_although_every_event_names_an_empty_reason() {
    for reason in ["", "null"] {
        let server = Scripted::start(move |request| empty_reasons(request, reason, true));
        let ran = run("openai", &server, NEEDLE, &[]);
        assert_eq!(ran.code, Some(106), "{}", ran.stderr);
        let failures = ran.summary["failures"].as_array().unwrap();
        assert_eq!(failures.len(), 4, "{failures:?}");
        for failure in failures {
            assert_eq!(failure["stage"], "stream");
            assert!(
                failure["error"].as_str().unwrap().contains("ended unfinished after 3 events"),
                "{failure}"
            );
        }
        let server = Scripted::start(move |request| empty_reasons(request, reason, false));
        let ran = run("openai", &server, NEEDLE, &[]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(ran.row("retrieval/niah_single_1")["scored"], 2);
        assert!(ran.trials().iter().all(|trial| trial["reply"].get("finish_reason").is_none()));
    }
}

#[test]
fn calls_count_beside_a_reason_that_denies_them_and_the_disagreement_is_reported() {
    let server = Scripted::start(|request| match (request.is_chat(), cities(request).is_empty()) {
        (false, _) => openai(request),
        (true, true) => hello(request),
        (true, false) => {
            let calls = [call(0, "a", r#"{"city":"Lima"}"#)];
            reply(request, json!({ "role": "assistant", "content": "", "tool_calls": calls }), "stop", 20)
        }
    });
    let traffic = [weather("one", "Weather in Lima?"), weather("two", "And in Oslo?")];
    let traffic = traffic.map(|line| line.to_string()).join("\n");
    let ran = run("openai", &server, &requests(2, ""), &[("traffic.jsonl", &traffic)]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let row = &ran.summary["triggers"][0];
    assert_eq!((&row["both"], &row["valid_calls"]), (&json!(2), &json!(2)), "{row}");
    for trial in ran.trials() {
        let metrics = &trial["outcome"]["scored"]["metrics"];
        assert_eq!((&metrics["triggered"], &metrics["valid_calls"]), (&json!(1.0), &json!(1.0)), "{metrics}");
        assert_eq!(metrics["finish_disagrees"], 1.0);
    }
    let words = "came with a finish_reason that contradicts their tool calls: the calls are what counts";
    assert!(ran.warnings().contains(words), "{}", ran.warnings());
}

// A schema that the server refuses

const REFUSAL: &str = "JSON schema conversion failed:\nPattern must start with '^' and end with '$'";

fn picky(request: &Request) -> Answer {
    if request.has_tools() && request.body["tools"].to_string().contains("oracle_submit") {
        return Answer::Json(400, json!({ "error": { "code": 400, "message": REFUSAL } }));
    }
    match request.path.as_str() {
        "/v1/chat/completions" if request.has_tools() && request.body["stream"] == true => {
            let calls = [call(0, "x1", r#"{"city":"Lima"}"#)];
            reply(request, json!({ "content": null, "tool_calls": calls }), "tool_calls", 12)
        }
        "/v1/chat/completions" => hello(request),
        _ => openai(request),
    }
}

/// A server that counts by rendering refuses there, too.
fn picky_llama_server(request: &Request) -> Answer {
    match (request.path.as_str(), request.body["tools"].to_string().contains("oracle_submit")) {
        ("/health", _) => Answer::ok(json!({ "status": "ok" })),
        ("/props", _) => {
            Answer::ok(json!({ "default_generation_settings": { "n_ctx": 4096 }, "total_slots": 1 }))
        }
        ("/apply-template", true) => picky(request),
        ("/apply-template", false) => {
            let body = &request.body;
            Answer::ok(json!({ "prompt": format!("{}{}", body["messages"], body["tools"]) }))
        }
        ("/tokenize", _) => {
            let count = words(request.body["content"].as_str().unwrap());
            Answer::ok(json!({ "tokens": (0..count).collect::<Vec<_>>() }))
        }
        _ => picky(request),
    }
}

#[test]
fn a_schema_that_the_server_refuses_costs_its_own_case_only() {
    let mut refused = weather("unanchored", "Ask the oracle about a.txt");
    refused["body"]["tool_choice"] = json!("required");
    refused["body"]["tools"][0]["function"]["name"] = json!("oracle_submit");
    let mut bare = weather("bare", "What is my goal in Lima?");
    bare["body"]["tools"][0]["function"].as_object_mut().unwrap().remove("parameters");
    let traffic =
        [weather("plain", "Weather in Lima?"), refused, bare].map(|line| line.to_string()).join("\n");
    type Server = fn(&Request) -> Answer;
    for (engine, server) in [("openai", picky as Server), ("llama.cpp", picky_llama_server)] {
        let server = Scripted::start(server);
        let ran = run(engine, &server, &requests(3, ""), &[("traffic.jsonl", &traffic)]);
        let row = ran.row("tools/requests");
        assert_eq!(row["scored"], 3, "{engine}: {} {}", ran.summary["failures"], ran.stderr);
        assert_eq!(row["labels"], json!({ "not_compiled": 1 }), "{engine}");
        let quality = |trial: &Value| trial["outcome"]["scored"]["quality"].clone();
        let qualities: Vec<Value> = ran.trials().iter().map(quality).collect();
        assert_eq!(qualities[..3], [json!(1.0), json!(0.0), json!(1.0)], "{engine}");
        assert_eq!(ran.code, Some(0), "{engine}: {}", ran.stderr);
    }
}

#[test]
fn roles_that_the_template_refuses_cost_their_own_case_only() {
    let mut refused = weather("twice", "Weather in Lima?");
    refused["body"]["messages"] = json!([
        { "role": "user", "content": "Weather in Lima?" }, { "role": "user", "content": "Now." },
    ]);
    let traffic = [weather("plain", "Weather in Lima?"), refused].map(|line| line.to_string()).join("\n");
    let server = Scripted::start(|request| {
        if request.body["messages"].as_array().is_some_and(|messages| messages.len() > 1) {
            let message = "Conversation roles must alternate user/assistant";
            return Answer::Json(500, json!({ "error": { "message": message } }));
        }
        picky(request)
    });
    let ran = run("openai", &server, &requests(2, ""), &[("traffic.jsonl", &traffic)]);
    assert_eq!(ran.row("tools/requests")["scored"], 1, "{}", ran.stderr);
    let failures = ran.summary["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures.iter().all(|failure| failure["error"].to_string().contains("roles must alternate")));
}

// More than was asked for

#[test]
fn a_reply_beyond_its_budget_is_said_and_kept_in_part_with_its_hash() {
    let megabytes = 8;
    let server = Scripted::start(move |request| {
        if !request.is_chat() || request.asks().contains("Say hello") || request.body["max_tokens"] == 1 {
            return if request.is_chat() { hello(request) } else { openai(request) };
        }
        let piece = chunk(&json!({ "content": "way too much ".repeat(20_165) }), None);
        let end = json!({ "choices": [], "usage": request.usage(2_000_000) });
        let pieces = vec![piece; 4 * megabytes];
        Answer::at_once(pieces.into_iter().chain([chunk(&json!({}), Some("stop")), end]))
    });
    let ran = run("openai", &server, NEEDLE, &[]);
    assert!(ran.journal.len() < 1 << 20, "{} bytes of journal", ran.journal.len());
    let trials = ran.trials();
    assert_eq!(trials.len(), 4);
    for trial in &trials {
        let error = trial["outcome"]["failed"]["error"].as_str().unwrap();
        assert!(error.contains("ignored the output budget: 8388640 bytes came for 128 tokens"), "{error}");
        let overlong = &trial["reply"]["overlong"];
        assert_eq!(overlong["bytes"], 8_388_640);
        assert_eq!(overlong["sha256"].as_str().unwrap().len(), 64);
        assert!(trial["reply"]["content"].as_str().unwrap().starts_with("way too much way"));
    }
    assert!(ran.warnings().contains("longer than their output budget"), "{}", ran.warnings());
}

#[test]
fn a_reply_somewhat_over_its_budget_is_judged_and_said() {
    let server = Scripted::start(|request| match request.is_chat() {
        true if request.body["max_tokens"].as_u64().unwrap() > 16 => {
            reply(request, json!({ "role": "assistant", "content": "on and on" }), "stop", 200)
        }
        true => hello(request),
        false => openai(request),
    });
    let ran = run("openai", &server, NEEDLE, &[]);
    assert_eq!(ran.row("retrieval/niah_single_1")["scored"], 2, "{}", ran.stderr);
    let line = "are longer than their output budget (up to 200 tokens): the server ignored it";
    assert!(ran.warnings().contains(line), "{}", ran.warnings());
}
