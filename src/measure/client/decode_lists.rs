//! Next-token distributions over the cache that holds the text, from servers that take no grammar of tokens: a request a
//! position, over the server's prefix cache; see [`DecodeLists`](super::wire::decode_list::DecodeLists). What a server had to compute
//! first is asked for again, and then read from its cache, if it has one.

use std::time::Duration;

use serde_json::Value;

use super::exchange::{Exchange, Failure};
use super::http::Http;
use super::prompt_logprobs::explained;
use super::wire::decode_list::{DecodeLists, DecodedList};
use super::wire::prompt_lists::Place;
use super::writer::RequestWriter;
use crate::record::{Measurement, PackedDistributions, ReadPath, Reply, Source, metric};

/// Room for one listed token of two in a reply (bytes).
const ENTRY_BYTES: usize = 2 * 96;

/// Asks for the positions, which are ascending and at least 2. Nothing that was served before takes part.
pub(super) async fn collect(
    http: &Http,
    writer: &RequestWriter,
    format: &'static dyn DecodeLists,
    tokens: &[u32],
    (positions, top_k): (&[usize], usize),
) -> Result<Exchange, Failure> {
    // Fresh once: the requests share what they have in common, and nothing with others.
    let salt = writer.salt(false);
    let (mut lists, mut total) = (Vec::with_capacity(positions.len()), Duration::ZERO);
    let mut worst = ReadPath::Decode;
    for &length in positions {
        let model = writer.model.as_deref();
        let asked = DecodedList { model, tokens: &tokens[..length], top_k, salt: salt.clone() };
        let (mut list, mut path) = ask(http, format, &asked, &mut total).await?;
        if path.is_prefill() && !worst.is_prefill() {
            (list, path) = ask(http, format, &asked, &mut total).await?;
        }
        worst = worst.max(path);
        lists.push(list);
    }
    let distributions = PackedDistributions { path: worst, ..PackedDistributions::pack(top_k, &lists) };
    Ok(Exchange {
        measurements: measurements(total, positions),
        reply: Reply { distributions: Some(distributions), ..Reply::default() },
        last: Value::Null,
        timeline: None,
    })
}

async fn ask(
    http: &Http,
    format: &'static dyn DecodeLists,
    asked: &DecodedList<'_>,
    total: &mut Duration,
) -> Result<(Place, ReadPath), Failure> {
    let room = asked.top_k.saturating_add(1).saturating_mul(ENTRY_BYTES);
    let sent = http.with_room(room);
    let answer = sent.post(format.path(), &format.body(asked)).await.map_err(explained)?;
    *total += answer.total;
    format.read(answer.recording.bytes(), asked).map_err(|failure| Failure {
        message: format!("position {}: {}", asked.tokens.len(), failure.message),
        ..failure
    })
}

/// A request computes the token behind the cached prompt with what the cache's blocks left over: no step is timed.
fn measurements(total: Duration, positions: &[usize]) -> Vec<Measurement> {
    vec![
        Measurement::new(metric::TOTAL_S, Source::Client, total.as_secs_f64()),
        Measurement::absent(
            metric::POSITION_S,
            Source::Client,
            "a request a position, each with a piece of the prompt",
        ),
        Measurement::new(
            metric::PROMPT_TOKENS,
            Source::Engine,
            positions.last().map_or(0.0, |length| length.saturating_sub(1) as f64),
        ),
    ]
}
