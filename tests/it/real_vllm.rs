//! A real vLLM, when there is one: `KNEEPOINT_VLLM=.../bin/vllm KNEEPOINT_VLLM_MODEL=FOLDER cargo test --test it real_vllm:: --
//! --ignored`. It takes minutes on a CPU, so it is not part of the usual tests.

#![allow(clippy::print_stderr, reason = "what a person who runs it by hand reads")]
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use kneepoint::measure::engine::supervise::{Launcher, ask, free_port};
use kneepoint::measure::engine::vllm::Vllm;
use kneepoint::measure::engine::{Engine, Launch};
use kneepoint::record::metric;
use kneepoint::record::suite::{Cell, FlashAttention, Setting};

fn cell(speculation: &str, options: &[(&str, &str)]) -> Cell {
    let setting = Setting {
        label: "test".into(),
        engine: "vllm".into(),
        model: "model".into(),
        weights: "bf16".into(),
        k: "auto".into(),
        v: "auto".into(),
        speculation: speculation.into(),
        flash_attention: FlashAttention::Auto,
        draft: None,
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        extra_args: Vec::new(),
        sampling: None,
    };
    Cell { setting, context: 2048 }
}

/// The body of a bare request.
fn http(port: u16, request: &str, body: &str) -> String {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test]
#[ignore = "needs a vLLM: KNEEPOINT_VLLM and KNEEPOINT_VLLM_MODEL name it"]
async fn a_real_vllm_runs_what_it_was_asked_for() {
    let path =
        |name: &str| PathBuf::from(std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set")));
    let (binary, model) = (path("KNEEPOINT_VLLM"), path("KNEEPOINT_VLLM_MODEL"));
    let folder = tempfile::tempdir().unwrap();
    let build = ask(&Vllm, &binary, None).await.unwrap();
    assert!(
        build.has("--max-model-len") && !build.speculation.is_empty() && !build.version.is_empty(),
        "{build:?}"
    );
    let launcher = Launcher {
        reexec: Some(env!("CARGO_BIN_EXE_kneepoint").into()),
        ..Launcher::new(Duration::from_secs(1500))
    };
    let options = [
        ("enforce_eager", "true"),
        ("cpu_kv_cache_gib", "1"),
        ("spec_tokens", "4"),
        ("prompt_lookup_max", "4"),
    ];
    let cell = cell("ngram", &options);
    assert_eq!(Vllm.validate(&cell.setting), Ok(()));
    let port = free_port().unwrap();
    let launch = Launch {
        binary: &binary,
        library_path: None,
        model: &model,
        draft: None,
        port,
        slots: 1,
        config: None,
        threads: None,
        gpu: false,
        extra_args: &[],
        build: &build,
    };
    let argv = Vllm.argv(&cell, &launch).unwrap();
    let log = folder.path().join("server.log");
    let server = match launcher.start(&argv, port, Vllm.endpoints().health, &log).await {
        Ok(server) => server,
        Err(error) => panic!("{error}\n{}", std::fs::read_to_string(&log).unwrap_or_default()),
    };
    let props = serde_json::from_str(&http(port, "GET /v1/models", "")).unwrap();
    let effective = Vllm.effective(&server.read_log().unwrap(), &props);
    let body = r#"{"model":"model","messages":[{"role":"user","content":"Count from 1 to 20: 1, 2, 3, 4, 5, 6,"}],
        "max_tokens":40,"temperature":0,"cache_salt":"a"}"#;
    let reply: serde_json::Value =
        serde_json::from_str(&http(port, "POST /v1/chat/completions", body)).unwrap();
    let figures = Vllm.measurements(&reply);
    server.stop().await.unwrap();

    eprintln!("{}\n{effective:#?}\n{figures:#?}", argv.shell());
    assert_eq!(Vllm.deviations(&cell, &effective), Vec::<String>::new());
    assert_eq!((effective.context, effective.speculation.as_deref()), (Some(2048), Some("ngram")));
    assert!(effective.kv_pool_bytes.is_some() && effective.kv_pool_tokens.is_some() && effective.k.is_some());
    for name in [
        metric::PROMPT_TOKENS,
        metric::OUTPUT_TOKENS,
        metric::CACHED_TOKENS,
        metric::PREFILL_TPS,
        metric::DECODE_TPS,
        metric::DRAFT_TOKENS,
        metric::DRAFT_ACCEPTED,
    ] {
        let figure = figures.iter().find(|figure| figure.name == name).unwrap();
        assert!(figure.value.is_some(), "{name}: {:?}", figure.absent);
    }
}

#[tokio::test]
#[ignore = "needs a vLLM that runs with --dtype float32 and --max-logprobs 20: KNEEPOINT_VLLM_URL"]
async fn a_real_vllm_lists_by_decode_steps_what_it_lists_of_a_prompt() {
    use kneepoint::measure::client::wire;
    use kneepoint::measure::client::{Client, Limits, abilities};
    let url = std::env::var("KNEEPOINT_VLLM_URL").expect("KNEEPOINT_VLLM_URL is not set");
    let client = Client::new(&url, Vllm.endpoints(), Limits::default()).unwrap().speaking(&wire::Vllm);
    let (client, _) = abilities::probe(client).await.unwrap();
    let text =
        "The river ran past an old mill, where seven men sold bread and salt to whoever came by. ".repeat(10);
    let ids = client.tokenize(&text, false).await.unwrap();
    let positions: Vec<usize> = (100..116).chain([150]).collect();
    let lists = async |steps: bool| {
        let exchange = match steps {
            true => client.decoded_distributions(&ids, &positions, 20).await.unwrap(),
            false => client.distributions(&ids, &positions, 20).await.unwrap(),
        };
        exchange.reply.distributions.unwrap().unpack().unwrap()
    };
    for ((step, at_once), position) in lists(true).await.iter().zip(&lists(false).await).zip(&positions) {
        // Beyond the likely ones, equals may change places.
        for ((id, logprob), (same, reference)) in step.iter().zip(at_once).take(5) {
            assert!(id == same && (logprob - reference).abs() < 1e-3, "{position}: {step:?} {at_once:?}");
        }
    }
}
