//! Distributions from a server that lists the probabilities of a prompt's tokens (vLLM), and from one that lists none.

use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::post;
use kneepoint::measure::client::{Client, Exchange, Failure, Limits};
use kneepoint::measure::engine::Endpoints;
use kneepoint::record::suite::Sampling;
use kneepoint::record::{Band, Prompt, Stage};

const CAPTURE: &str = include_str!("../fixtures/vllm/completions_prompt_logprobs.json");
const PATH: &str = "/v1/completions";

const ENDPOINTS: Endpoints = Endpoints {
    health: "/health",
    chat: "/v1/chat/completions",
    completion: None,
    prompt_logprobs: Some(PATH),
    tokenize: Some("/tokenize"),
    apply_template: None,
    props: None,
    metrics: None,
};

/// Answers with the capture when asked as vLLM has to be, else refuses with what it was asked.
async fn answer(body: String) -> (StatusCode, [(header::HeaderName, &'static str); 1], String) {
    let json = [(header::CONTENT_TYPE, "application/json")];
    let asked: serde_json::Value = serde_json::from_str(&body).unwrap();
    let wanted = serde_json::json!({
        "prompt": (0..12).collect::<Vec<_>>(), "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 5, "stream": false,
    });
    if asked == wanted {
        return (StatusCode::OK, json, CAPTURE.to_owned());
    }
    let message = format!(
        "Requested prompt logprobs of {}, which is greater than max allowed: 5",
        asked["prompt_logprobs"]
    );
    (StatusCode::BAD_REQUEST, json, serde_json::json!({ "error": { "message": message } }).to_string())
}

fn ask(endpoints: Endpoints, top_k: usize) -> Result<Exchange, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, Router::new().route(PATH, post(answer))).await });
        let client = Client::new(&format!("http://{address}"), endpoints, Limits::default()).unwrap();
        let bands = vec![Band { first: 1, end: 3 }, Band { first: 10, end: 12 }];
        let prompt =
            Prompt::Distributions { tokens: (0..12).collect(), first: 1, top_k, bands, by_decode: false };
        client.send(&prompt, &Sampling::default(), 1).await
    })
}

#[test]
fn one_request_lists_every_band() {
    let exchange = ask(ENDPOINTS, 5).unwrap();
    let lists = exchange.reply.distributions.unwrap().unpack().unwrap();
    assert_eq!(lists.len(), 4);
    assert_eq!(lists[0][0].0, 29);
    assert!(lists.iter().all(|list| list.len() == 5));
}

#[test]
fn a_cap_of_the_server_is_an_error_that_says_what_to_do() {
    let failure = ask(ENDPOINTS, 9).unwrap_err();
    assert_eq!((failure.stage, failure.unsupported), (Stage::Request, false));
    assert!(
        failure.message.contains("max allowed: 5") && failure.message.contains("--max-logprobs"),
        "{failure}"
    );
}

#[test]
fn an_engine_that_lists_nothing_is_unsupported() {
    let failure = ask(Endpoints { prompt_logprobs: None, ..ENDPOINTS }, 5).unwrap_err();
    assert!(failure.unsupported, "{failure}");
}
