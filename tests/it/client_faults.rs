//! Each scripted fault once through the real client, and the next request after it.

use std::time::Duration;

use kneepoint::measure::client::{Client, Conversation, Exchange, Failure, Limits};
use kneepoint::measure::mock;
use kneepoint::measure::mock::Script;
use kneepoint::record::suite::Sampling;
use kneepoint::record::{FinishReason, ForcedForm, Message, Prompt, Source, Stage, metric};
use tokio::net::TcpListener;

use crate::common::scripted::{Answer, Request, Scripted};

/// Quick enough for tests, slow enough that the chunks are apart.
fn quick(faults: &[&str]) -> Script {
    Script {
        prefill_ms_per_token: 0.1,
        decode_ms_per_token: 2.0,
        output_tokens: 12,
        faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
        ..Script::default()
    }
}

fn limits() -> Limits {
    Limits {
        request_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_millis(400),
        max_reply_bytes: 8 << 20,
        max_line_bytes: 64 << 10,
    }
}

/// Runs `test` with a client of a mock server that follows `script`.
fn with_mock<T>(script: Script, limits: Limits, test: impl AsyncFnOnce(Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(mock::serve(listener, script, std::future::pending()));
        test(Client::new(&url, mock::ENDPOINTS, limits).unwrap()).await
    })
}

async fn ask(client: &Client) -> Result<Exchange, Failure> {
    let messages = [Message::user("Where does the river flow?")];
    client.chat(&Conversation::of(&messages), &Sampling::default(), 64).await
}

/// The same as one of many requests at the same time.
async fn ask_under_load(client: &Client) -> Result<Exchange, Failure> {
    let messages = [Message::user("Where does the river flow?")];
    client.chat_under_load(&Conversation::of(&messages), &Sampling::default(), 64, false).await
}

/// What a request with the fault comes to, alone and under load; the request after it must be answered as if nothing had been.
fn hit(fault: &str, limits: Limits) -> Result<Exchange, Failure> {
    let good = good();
    with_mock(quick(&[&format!("{fault}@1"), &format!("{fault}@3")]), limits, async |client| {
        let first = ask(&client).await;
        let second = ask(&client).await.unwrap();
        assert_eq!(second.reply, good, "the request after {fault}");
        let loaded = ask_under_load(&client).await;
        match (&first, &loaded) {
            (Ok(first), Ok(loaded)) => assert_eq!(first.reply, loaded.reply, "{fault}"),
            (Err(first), Err(loaded)) => {
                assert_eq!((first.stage, words(first)), (loaded.stage, words(loaded)), "{fault}");
            }
            _ => panic!("{fault}: {first:?}, but under load {loaded:?}"),
        }
        let fourth = ask_under_load(&client).await.unwrap();
        assert_eq!(fourth.reply, good, "the request after {fault}, under load");
        first
    })
}

/// A failure without the number of the request, and without what a library says of its cause.
fn words(failure: &Failure) -> String {
    let words = failure.message.replace("mock-3", "mock-1");
    match words.contains("broke") {
        true => words.split(':').next().unwrap_or_default().to_owned(),
        false => words,
    }
}

fn good() -> kneepoint::record::Reply {
    with_mock(quick(&[]), limits(), async |client| ask(&client).await.unwrap().reply)
}

fn assert_fails(fault: &str, stage: Stage, words: &str) {
    let failure = hit(fault, limits()).unwrap_err();
    assert_eq!(failure.stage, stage, "{fault}: {failure}");
    assert!(failure.message.contains(words), "{fault}: {failure}");
    let shown = failure.message.chars();
    assert!(shown.clone().count() < 600 && shown.clone().all(|c| !c.is_control()), "{failure:?}");
}

#[test]
fn http_500() {
    assert_fails("http-500", Stage::Request, "HTTP 500: scripted failure (server_error)");
}

#[test]
fn a_connection_cut_in_mid_stream() {
    assert_fails("close", Stage::Stream, "the reply broke off after");
}

#[test]
fn a_stream_that_ends_too_early() {
    assert_fails("cut", Stage::Stream, "ended unfinished after");
}

#[test]
fn silence_in_mid_stream() {
    assert_fails("silence", Stage::Stream, "fell silent for 0.4 s after");
}

#[test]
fn no_answer_at_all() {
    let limits = Limits { request_timeout: Duration::from_millis(700), ..limits() };
    let failure = hit("hang", limits).unwrap_err();
    assert_eq!(failure.stage, Stage::Stream);
    assert!(failure.message.contains("no complete reply within 0.7 s"), "{failure}");
}

#[test]
fn malformed_json() {
    assert_fails("malformed-json", Stage::Stream, "of the stream is not JSON");
}

#[test]
fn an_error_event() {
    assert_fails("error-event", Stage::Stream, "scripted error event (server_error)");
}

#[test]
fn a_huge_line() {
    assert_fails("huge-line", Stage::Stream, "longer than 65536 bytes");
}

#[test]
fn a_huge_reply_is_not_read_to_its_end() {
    let limits = Limits { max_reply_bytes: 256 << 10, ..limits() };
    let failure = hit("huge-line", limits).unwrap_err();
    assert_eq!(failure.stage, Stage::Stream);
    assert!(failure.message.contains("larger than 262144 bytes"), "{failure}");
}

#[test]
fn a_web_page_instead_of_a_stream() {
    assert_fails(
        "wrong-content-type",
        Stage::Stream,
        "the reply is `text/html`, not an event stream: <html>",
    );
}

#[test]
fn split_characters_and_other_line_ends_change_nothing() {
    for fault in ["split-utf8", "crlf"] {
        let exchange = hit(fault, limits()).unwrap();
        assert_eq!(exchange.reply, good(), "{fault}");
        assert!(exchange.reply.content.contains("naïve"), "{fault}");
    }
}

#[test]
fn nobody_listens() {
    with_mock(quick(&[]), limits(), async |_| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let client = Client::new(&url, mock::ENDPOINTS, limits()).unwrap();
        let failure = ask(&client).await.unwrap_err();
        assert_eq!(failure.stage, Stage::Request);
        assert!(failure.message.contains(&format!("no connection to {url}")), "{failure}");
        assert!(!client.healthy().await);
    });
}

#[test]
fn a_prompt_that_does_not_fit() {
    let script = Script { context: 4, ..quick(&[]) };
    let failure = with_mock(script, limits(), async |client| ask(&client).await.unwrap_err());
    assert_eq!(failure.stage, Stage::Request);
    assert!(failure.message.contains("does not fit into the server's context of 4 tokens"), "{failure}");
}

fn measured(exchange: &Exchange, name: &str) -> Option<f64> {
    let mut figures = exchange.measurements.iter();
    let found = figures.find(|m| m.name == name && m.source == Source::Client);
    found.unwrap_or_else(|| panic!("{name} is not mentioned")).value
}

#[test]
fn times_are_never_shorter_than_the_script() {
    let script = Script {
        prefill_ms_per_token: 2.0,
        decode_ms_per_token: 5.0,
        tokens_per_chunk: 4,
        output_tokens: 32,
        ..Script::default()
    };
    let exchange = with_mock(script, limits(), async |client| ask(&client).await.unwrap());
    let prompt_ms = exchange.last["timings"]["prompt_ms"].as_f64().unwrap();
    let ttft = measured(&exchange, metric::TTFT_S).unwrap();
    assert!(ttft >= prompt_ms / 1e3 + 0.020, "{ttft} s, prompt {prompt_ms} ms");
    assert!(measured(&exchange, metric::TOTAL_S).unwrap() >= prompt_ms / 1e3 + 0.160);
    // Wide: this machine may be busy. The benchmark client_fidelity measures how near it is.
    let rate = measured(&exchange, metric::DECODE_TPS).unwrap();
    assert!((20.0..260.0).contains(&rate), "{rate} tokens/s instead of 200");
}

#[test]
fn many_tokens_a_chunk_need_the_engines_count() {
    let silent = Script { tokens_per_chunk: 4, per_token_timings: false, ..quick(&[]) };
    let exchange = with_mock(silent, limits(), async |client| ask(&client).await.unwrap());
    assert_eq!(measured(&exchange, metric::DECODE_TPS), None);
    // Far enough apart that no two arrive together on a busy machine.
    let single = Script { per_token_timings: false, decode_ms_per_token: 20.0, ..quick(&[]) };
    let exchange = with_mock(single, limits(), async |client| ask(&client).await.unwrap());
    assert!(measured(&exchange, metric::DECODE_TPS).is_some());
}

#[test]
fn a_cached_prompt_has_no_prefill_rate() {
    let script = Script { cached_tokens: 3, ..quick(&[]) };
    let exchange = with_mock(script, limits(), async |client| ask(&client).await.unwrap());
    assert_eq!(measured(&exchange, metric::PREFILL_TPS), None);
    let exchange = with_mock(quick(&[]), limits(), async |client| ask(&client).await.unwrap());
    assert!(measured(&exchange, metric::PREFILL_TPS).is_some());
}

#[test]
fn replies_are_cut_at_the_budget_and_given_in_turn() {
    let script =
        Script { replies: vec!["The answer is 7.".into(), "one two three four".into()], ..quick(&[]) };
    with_mock(script, limits(), async |client| {
        let messages = [Message::user("?")];
        let sampling = Sampling::default();
        let first = client.chat(&Conversation::of(&messages), &sampling, 20).await.unwrap();
        assert_eq!(first.reply.content, "The answer is 7.");
        assert_eq!(first.reply.finish_reason, Some(FinishReason::Stop));
        let second = client.chat(&Conversation::of(&messages), &sampling, 2).await.unwrap();
        assert_eq!(second.reply.content, "one two");
        assert_eq!(second.reply.finish_reason, Some(FinishReason::Length));
    });
}

#[test]
fn counts_agree_with_the_tokenizer_and_the_template() {
    with_mock(quick(&[]), limits(), async |client| {
        let messages = [Message::system("Sei kurz."), Message::user("Größe?  日本!")];
        let prompt = client.apply_template(&messages, &[]).await.unwrap();
        let tokens = client.tokenize(&prompt, true).await.unwrap();
        let exchange = client.chat(&Conversation::of(&messages), &Sampling::default(), 8).await.unwrap();
        let usage = &exchange.last["usage"];
        assert_eq!(usage["prompt_tokens"].as_u64(), Some(tokens.len() as u64));
        let reply = client.tokenize(&exchange.reply.content, false).await.unwrap();
        assert_eq!(usage["completion_tokens"].as_u64(), Some(reply.len() as u64));
    });
}

#[test]
fn other_endpoints_answer() {
    with_mock(quick(&[]), limits(), async |client| {
        assert!(client.healthy().await);
        let props = client.get_json("/props").await.unwrap();
        assert_eq!(props["default_generation_settings"]["n_ctx"], 8192);
        assert!(client.get_json("/slots").await.unwrap().is_array());
        let metrics = client.get_text("/metrics").await.unwrap();
        assert!(metrics.contains("llamacpp:tokens_predicted_total 0"), "{metrics}");
        assert!(client.get_json("/metrics").await.is_err());
        let missing = client.get_json("/nowhere").await.unwrap_err();
        assert!(missing.to_string().contains("/nowhere failed: HTTP 404"), "{missing}");
    });
}

fn walk() -> Prompt {
    Prompt::Distributions {
        tokens: (0..40).map(|i| i * i % 977).collect(),
        first: 30,
        top_k: 8,
        bands: Vec::new(),
        by_decode: false,
    }
}

async fn ask_distributions(client: &Client) -> Result<Exchange, Failure> {
    client.send(&walk(), &Sampling::default(), 0).await
}

#[test]
fn distributions_do_not_depend_on_what_came_before() {
    with_mock(quick(&[]), limits(), async |client| {
        let first = ask_distributions(&client).await.unwrap();
        ask(&client).await.unwrap();
        let second = ask_distributions(&client).await.unwrap();
        assert_eq!(first.reply, second.reply);
        let lists = first.reply.distributions.as_ref().unwrap().unpack().unwrap();
        assert_eq!(lists.len(), 10);
        assert!(lists.iter().all(|list| list.len() == 8 && list.is_sorted_by(|a, b| a.1 > b.1)));
        assert_ne!(lists[0], lists[1]);
        // One position is one decode step of 2 ms at least, and far from the 3 ms more that the prefix takes.
        assert!(measured(&second, metric::POSITION_S).unwrap() >= 0.002);
        let prefill = second.measurements.iter().find(|m| m.name == metric::PREFILL_TPS);
        assert_eq!(prefill.map(|m| (m.source, m.value)), Some((Source::Engine, Some(10_000.0))));
    });
}

/// A server whose grammars know no tokens: each position is a request.
fn without_grammars(faults: &[&str]) -> Script {
    Script { token_grammars: false, ..quick(faults) }
}

#[test]
fn forced_positions_and_single_ones_are_the_same_and_the_first_need_fewer_requests() {
    let forced = with_mock(quick(&[]), limits(), async |client| ask_distributions(&client).await.unwrap());
    let single = with_mock(without_grammars(&[]), limits(), async |client| {
        ask_distributions(&client).await.unwrap();
        // Found out once.
        ask_distributions(&client).await.unwrap()
    });
    assert_eq!(forced.reply, single.reply);
    assert!(measured(&single, metric::POSITION_S).unwrap() >= 0.002);
    // Ten positions are two requests, or ten behind the one that finds out: the fourth is of the same walk there.
    for (script, broken) in [(quick(&["http-500@4"]), false), (without_grammars(&["http-500@4"]), true)] {
        with_mock(script, limits(), async |client| {
            assert_eq!(ask_distributions(&client).await.is_err(), broken);
        });
    }
}

#[test]
fn a_silently_cut_prompt_is_an_integrity_failure() {
    for (script, place) in
        [(quick(&["truncated-prompt@1"]), 30), (without_grammars(&["truncated-prompt@5"]), 33)]
    {
        with_mock(script, limits(), async |client| {
            let failure = ask_distributions(&client).await.unwrap_err();
            assert_eq!(failure.stage, Stage::Integrity);
            let saw = place / 2 + place % 2;
            assert_eq!(
                failure.message,
                format!("position {place}: the server saw {saw} tokens of {place} sent")
            );
            assert!(ask_distributions(&client).await.is_ok());
        });
    }
}

#[test]
fn a_broken_position_names_itself() {
    for (script, place) in
        [(quick(&["wrong-content-type@1"]), 30), (without_grammars(&["wrong-content-type@3"]), 31)]
    {
        with_mock(script, limits(), async |client| {
            let failure = ask_distributions(&client).await.unwrap_err();
            assert_eq!(failure.stage, Stage::Stream);
            let message = format!("position {place}: the reply is not a completion");
            assert!(failure.message.starts_with(&message), "{failure}");
        });
    }
}

#[test]
fn nonsense_is_not_sent() {
    with_mock(quick(&[]), limits(), async |client| {
        let nonsense: [(&[usize], usize); 6] =
            [(&[], 4), (&[0, 1], 4), (&[3], 4), (&[9], 4), (&[2, 1], 4), (&[1], 0)];
        for (positions, top_k) in nonsense {
            let failure = client.distributions(&[1, 2, 3], positions, top_k).await.unwrap_err();
            assert_eq!(failure.stage, Stage::Request);
        }
    });
}

/// Lists the word as one token of its own.
fn spelled(request: &Request, id: u32) -> Answer {
    let entry = serde_json::json!({ "id": id, "token": "seven", "logprob": -0.5, "top_logprobs": [{ "token": "seven", "logprob": -0.5 }] });
    let end = serde_json::json!({ "token": "", "logprob": -0.1, "top_logprobs": [{ "token": "", "logprob": -0.1 }] });
    let message = serde_json::json!({ "role": "assistant", "content": "seven" });
    let choice = serde_json::json!({ "index": 0, "message": message, "finish_reason": "stop", "logprobs": { "content": [entry, end] } });
    Answer::ok(serde_json::json!({ "choices": [choice], "usage": request.usage(1) }))
}

#[test]
fn a_server_whose_grammars_know_no_tokens_is_told_the_text_and_not_asked_again() {
    let server = Scripted::start(|request| match request.body["grammar"].as_str() {
        Some(grammar) if grammar.contains("<[") => Answer::Json(
            400,
            serde_json::json!({ "error": { "code": 400, "message": "failed to parse grammar" } }),
        ),
        _ => spelled(request, 9),
    });
    let client = Client::new(&server.url, mock::ENDPOINTS, limits()).unwrap();
    let form = ForcedForm { text: "seven".into(), tokens: vec![7] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let forced = runtime.block_on(async {
        let messages = [Message::user("How many?")];
        let first = client.force(&Conversation::of(&messages), &form, 8).await.unwrap();
        let again = client.clone().force(&Conversation::of(&messages), &form, 8).await.unwrap();
        assert_eq!(first.forced, again.forced);
        first.forced
    });
    // The other token is for the scorer to see.
    assert_eq!((forced.tokens.len(), forced.tokens[0].id), (1, Some(9)));
    let grammars: Vec<String> =
        server.seen().iter().map(|request| request.body["grammar"].as_str().unwrap().to_owned()).collect();
    assert_eq!(grammars, ["root ::= <[7]>", "root ::= \"seven\"", "root ::= \"seven\""]);
}

/// What llama-server says of a grammar of tokens through a piece of a character says nothing of other answers.
#[test]
fn an_answer_that_cannot_be_told_by_its_tokens_is_no_reason_not_to_tell_others_so() {
    let server = Scripted::start(|request| match request.body["grammar"].as_str() {
        Some("root ::= <[7]> <[8]>") => Answer::Json(
            500,
            serde_json::json!({ "error": { "code": 500, "message": "Unexpected empty grammar stack after accepting piece" } }),
        ),
        _ => spelled(request, 9),
    });
    let client = Client::new(&server.url, mock::ENDPOINTS, limits()).unwrap();
    let form = |tokens| ForcedForm { text: "seven".into(), tokens };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let messages = [Message::user("How many?")];
        for tokens in [vec![7, 8], vec![9], vec![7, 8]] {
            client.force(&Conversation::of(&messages), &form(tokens), 8).await.unwrap();
        }
    });
    let grammars: Vec<String> =
        server.seen().iter().map(|request| request.body["grammar"].as_str().unwrap().to_owned()).collect();
    let text = "root ::= \"seven\"";
    assert_eq!(grammars, ["root ::= <[7]> <[8]>", text, "root ::= <[9]>", "root ::= <[7]> <[8]>", text]);
}

#[test]
fn a_server_that_refuses_every_grammar_has_no_score_and_is_not_lost() {
    let server = Scripted::start(|_| {
        Answer::Json(400, serde_json::json!({ "error": { "message": "no grammars here" } }))
    });
    let client = Client::new(&server.url, mock::ENDPOINTS, limits()).unwrap();
    let form = ForcedForm { text: "seven".into(), tokens: vec![7] };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let failure = runtime.block_on(async {
        client.force(&Conversation::of(&[Message::user("How many?")]), &form, 8).await.unwrap_err()
    });
    assert!(failure.unsupported && failure.message.contains("no grammars here"), "{failure}");
}
