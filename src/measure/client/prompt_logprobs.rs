//! Next-token distributions from vLLM: the probabilities of a prompt's own tokens, all positions in one request.
//!
//! `/v1/completions` with `prompt_logprobs` K lists, for every token of the prompt but the first, the K most probable
//! tokens of its place and the token itself. vLLM computes a prompt in chunks and reads the earlier ones from its
//! (maybe quantised) KV cache; it recomputes the whole prompt for such a request, which is checked in the
//! reply's count of cached tokens.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::distributions::sort;
use super::exchange::{Exchange, Failure};
use super::http::{Answer, Http};
use super::listed::log_probability;
use super::writer::RequestWriter;
use crate::console::shown;
use crate::record::{Measurement, PackedDistributions, ReadPath, Reply, Source, metric};

/// Room for one listed token in a reply (bytes): id, log probability, rank and its text, escaped.
const ENTRY_BYTES: usize = 160;
/// What a refusal for too many listed tokens talks about.
const CAP: &str = "logprobs";

#[derive(Debug, Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    prompt: &'a [u32],
    /// The fewest that a completion may have; what it generates is thrown away.
    max_tokens: u32,
    temperature: f64,
    prompt_logprobs: usize,
    stream: bool,
    /// Keeps the prompt from being found in a prefix cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_salt: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Response {
    #[serde(default)]
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Value,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    index: u64,
    /// For each token of the prompt its alternatives by id; null for the first.
    prompt_logprobs: Option<Vec<Option<Map<String, Value>>>>,
}

pub(super) async fn collect(
    http: &Http,
    writer: &RequestWriter,
    path: &str,
    tokens: &[u32],
    positions: &[usize],
    top_k: usize,
) -> Result<Exchange, Failure> {
    let request = Request {
        model: writer.model.as_deref(),
        prompt: tokens,
        max_tokens: 1,
        temperature: 0.0,
        prompt_logprobs: top_k,
        stream: false,
        cache_salt: writer.salt(false),
    };
    let room = tokens.len().saturating_mul(top_k.saturating_add(1)).saturating_mul(ENTRY_BYTES);
    let answer = http.with_room(room).post(path, &request).await.map_err(explained)?;
    let lists = read(answer.recording.bytes(), tokens.len(), positions, top_k)?;
    Ok(Exchange {
        measurements: measurements(&answer, tokens.len(), positions.len()),
        reply: Reply {
            distributions: Some(PackedDistributions {
                path: ReadPath::Prefill,
                ..PackedDistributions::pack(top_k, &lists)
            }),
            ..Reply::default()
        },
        last: Value::Null,
        timeline: None,
    })
}

/// A server that lists fewer tokens than asked for says so; what to do about it is added.
fn explained(mut failure: Failure) -> Failure {
    if failure.message.contains(CAP) {
        failure
            .message
            .push_str("; start the server with a larger `--max-logprobs`, or lower the task's `top_k`");
    }
    failure
}

/// The lists of the positions, most probable first.
fn read(
    body: &[u8],
    sent: usize,
    positions: &[usize],
    top_k: usize,
) -> Result<Vec<Vec<(u32, f32)>>, Failure> {
    let response: Response = serde_json::from_slice(body).map_err(|error| {
        let body = shown(&String::from_utf8_lossy(body));
        Failure::stream(format!("the reply is not a completion ({error}): {body}"))
    })?;
    check_prompt(&response.usage, sent as u64).map_err(Failure::integrity)?;
    let listed = response
        .choices
        .iter()
        .find(|choice| choice.index == 0)
        .and_then(|choice| choice.prompt_logprobs.as_ref());
    let Some(listed) = listed else {
        return Err(Failure::unsupported("this server does not list the prompt's `prompt_logprobs`"));
    };
    if listed.len() != sent {
        return Err(Failure::integrity(format!("{} places are listed of {sent} tokens sent", listed.len())));
    }
    let list = |&position: &usize| {
        let entries = listed.get(position).and_then(Option::as_ref);
        let top = entries.ok_or("nothing is listed".to_owned()).and_then(|entries| top_list(entries, top_k));
        top.map_err(|reason| Failure::stream(format!("position {position}: {reason}")))
    };
    positions.iter().map(list).collect()
}

/// Whether the server computed from exactly the tokens sent, and took none from a cache.
fn check_prompt(usage: &Value, sent: u64) -> Result<(), String> {
    match usage.get("prompt_tokens").and_then(Value::as_u64) {
        Some(seen) if seen == sent => {}
        Some(seen) => return Err(format!("the server saw {seen} tokens of {sent} sent")),
        None => return Err("the server does not say how many tokens it saw".to_owned()),
    }
    let cached = usage.pointer("/prompt_tokens_details/cached_tokens").and_then(Value::as_u64);
    match cached {
        Some(cached) if cached > 0 => Err(format!(
            "{cached} tokens came from the prefix cache: start the server with `--no-enable-prefix-caching`"
        )),
        _ => Ok(()),
    }
}

/// The tokens of one place. The actual one is listed whatever its rank: outside the first `top_k` it is left out,
/// so that no token that is not listed can be more probable than the last.
fn top_list(entries: &Map<String, Value>, top_k: usize) -> Result<Vec<(u32, f32)>, String> {
    let mut top = Vec::with_capacity(entries.len());
    for (id, entry) in entries {
        let token: u32 = id.parse().map_err(|_| format!("`{}` is not a token id", shown(id)))?;
        let log_probability =
            log_probability(entry).ok_or_else(|| format!("token {token} has no log probability"))?;
        let rank = entry.get("rank").and_then(Value::as_u64);
        if rank.is_none_or(|rank| rank <= top_k as u64) {
            top.push((token, log_probability));
        }
    }
    if top.is_empty() {
        return Err("nothing is listed".to_owned());
    }
    sort(&mut top);
    top.truncate(top_k);
    Ok(top)
}

/// One request for all positions: there is no step to be timed.
fn measurements(answer: &Answer, seen: usize, positions: usize) -> Vec<Measurement> {
    let total_s = answer.total.as_secs_f64();
    vec![
        Measurement::new(metric::TOTAL_S, Source::Client, total_s),
        Measurement::absent(
            metric::POSITION_S,
            Source::Client,
            format!("one request listed all {positions} positions"),
        ),
        Measurement::new(metric::PROMPT_TOKENS, Source::Engine, seen as f64),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::record::Stage;

    const CAPTURE: &[u8] = include_bytes!("../../../tests/fixtures/vllm/completions_prompt_logprobs.json");

    #[test]
    fn vllm_reply() {
        let lists = read(CAPTURE, 12, &[1, 3, 11], 5).unwrap();
        assert_eq!(lists.len(), 3);
        // The actual token, 3575, has rank 3177: left out.
        assert_eq!(lists[0].len(), 5);
        assert_eq!(lists[0][0], (29, -0.834_092_6));
        assert!(lists[0].iter().all(|(token, _)| *token != 3575));
        // The actual token, 4649, has rank 2.
        assert_eq!(lists[1][1].0, 4649);
        assert!(lists.iter().all(|list| list.is_sorted_by(|a, b| a.1 >= b.1)));
        assert_eq!(read(CAPTURE, 12, &[2], 2).unwrap()[0].len(), 2);
    }

    #[test]
    fn what_was_not_computed_from_the_tokens_sent_is_refused() {
        let wrong = read(CAPTURE, 11, &[1], 5).unwrap_err();
        assert_eq!(
            (wrong.stage, wrong.message.as_str()),
            (Stage::Integrity, "the server saw 12 tokens of 11 sent")
        );
        let mut cached: Value = serde_json::from_slice(CAPTURE).unwrap();
        cached["usage"]["prompt_tokens_details"] = json!({ "cached_tokens": 8 });
        let cached = read(cached.to_string().as_bytes(), 12, &[1], 5).unwrap_err();
        assert!(cached.message.contains("--no-enable-prefix-caching"), "{cached}");
        assert!(!cached.unsupported);
        let first = read(CAPTURE, 12, &[0], 5).unwrap_err();
        assert_eq!(first.message, "position 0: nothing is listed");
    }

    #[test]
    fn a_server_that_lists_nothing_is_unsupported() {
        let mut bare: Value = serde_json::from_slice(CAPTURE).unwrap();
        bare["choices"][0]["prompt_logprobs"] = Value::Null;
        assert!(read(bare.to_string().as_bytes(), 12, &[1], 5).unwrap_err().unsupported);
        assert!(!read(b"<html>", 12, &[1], 5).unwrap_err().unsupported);
    }

    #[test]
    fn the_cap_is_explained() {
        let refused = Failure::request(
            "HTTP 400: Requested prompt logprobs of 64, which is greater than max allowed: 20",
        );
        assert!(explained(refused).message.contains("--max-logprobs"));
        assert_eq!(explained(Failure::request("HTTP 500")).message, "HTTP 500");
    }

    #[test]
    fn entries_must_hold_probabilities() {
        let list = |entries: Value| top_list(entries.as_object().unwrap(), 4);
        assert_eq!(list(json!({ "3": { "logprob": -1.0 } })), Ok(vec![(3, -1.0)]));
        for wrong in [
            json!({}),
            json!({ "x": { "logprob": -1.0 } }),
            json!({ "-3": { "logprob": -1.0 } }),
            json!({ "3": { "logprob": 2.0 } }),
            json!({ "3": {} }),
            json!({ "3": { "logprob": -1.0, "rank": 9 } }),
        ] {
            assert!(list(wrong.clone()).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn odd_bodies_never_panic(body in ".{0,80}", sent in 0_usize..4, places in proptest::collection::vec(0_usize..9, 0..4)) {
            let _ = read(body.as_bytes(), sent, &places, 3);
            let wrapped = format!(r#"{{"usage":{{"prompt_tokens":{sent}}},"choices":[{{"prompt_logprobs":[{body}]}}]}}"#);
            let _ = read(wrapped.as_bytes(), sent, &places, 3);
        }
    }
}
