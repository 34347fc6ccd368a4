//! Next-token distributions from servers that list the probabilities of a prompt's own tokens, all positions in one request:
//! vLLM's `/v1/completions` with `prompt_logprobs`.
//!
//! It computes a prompt in chunks and reads the earlier ones from its (maybe quantised) KV cache; it recomputes the places
//! that are listed, which is checked in the reply's count of cached tokens. What is read is the way of prompts
//! ([`ReadPath::Prefill`]).

use serde_json::Value;

use super::exchange::{Exchange, Failure};
use super::http::{Answer, Http};
use super::wire::prompt_lists::{ListedPrompt, PromptLists};
use super::writer::RequestWriter;
use crate::record::{Measurement, PackedDistributions, ReadPath, Reply, Source, metric};

/// Room for one listed token in a reply (bytes): id, log probability, rank and its text, escaped.
const ENTRY_BYTES: usize = 160;
/// What a refusal for too many listed tokens talks about.
const CAP: &str = "logprobs";

pub(super) async fn collect(
    http: &Http,
    writer: &RequestWriter,
    (path, format): (&str, &'static dyn PromptLists),
    tokens: &[u32],
    positions: &[usize],
    top_k: usize,
) -> Result<Exchange, Failure> {
    let first = positions.first().copied().unwrap_or(1);
    let salt = writer.salt(false);
    let asked = ListedPrompt { model: writer.model.as_deref(), tokens, first, top_k, salt };
    let room = tokens.len().saturating_mul(top_k.saturating_add(1)).saturating_mul(ENTRY_BYTES);
    let answer = http.with_room(room).post(path, &format.body(&asked)).await.map_err(explained)?;
    let lists = format.read(answer.recording.bytes(), &asked, positions)?;
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
pub(super) fn explained(mut failure: Failure) -> Failure {
    if failure.message.contains(CAP) {
        failure
            .message
            .push_str("; start the server with a larger `--max-logprobs`, or lower the task's `top_k`");
    }
    failure
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
    use super::*;

    #[test]
    fn the_cap_is_explained() {
        let refused = Failure::request(
            "HTTP 400: Requested prompt logprobs of 64, which is greater than max allowed: 20",
        );
        assert!(explained(refused).message.contains("--max-logprobs"));
        assert_eq!(explained(Failure::request("HTTP 500")).message, "HTTP 500");
    }
}
