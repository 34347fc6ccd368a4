//! Next-token distributions of the served setting, one position after another.
//!
//! llama.cpp's `/completion` is made to say the text that follows, token by token, by a grammar that allows nothing else,
//! and lists for every token what was probable before the grammar: one decode step a position, read through the very KV
//! cache that is measured, and one request for several that follow on another. The first request prefills the prefix with
//! the cache off, so nothing that was served before takes part; between two bands of positions the text in between is
//! added in one go, to the same cache. What a server does not list that way (it takes no such grammar, or accepted a
//! drafted token without computing its probability) is asked for alone: one token after `tokens[..t]`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::completion::{self, Asked, Completion, Timings, id_of, top_of};
use super::exchange::{Exchange, Failure};
use super::http::{Answer, Http};
use super::listed::{log_probability, sort};
use super::wire::token_by_token;
use super::writer::RequestWriter;
use crate::record::{Measurement, PackedDistributions, Reply, Source, metric};

/// Positions in one request. llama-server (build 10068) keeps what it lists until the reply is whole: 256 positions took 67 MiB more
/// of SmolLM2's server than one at a time, eight take 9: it stands in the memory of every setting alike.
const MOST_POSITIONS: usize = 8;
/// Picks a token that is a whole character, and leaves the list as it is without: llama-server (builds 10068 and 11549) lists nothing
/// for a token that is a piece of one, or ends with HTTP 500.
const WHOLE: &str = "root ::= [ -~]";

/// Who is asked for what.
pub(super) struct Walk<'a> {
    pub(super) http: &'a Http,
    pub(super) writer: &'a RequestWriter,
    pub(super) path: &'a str,
    pub(super) tokens: &'a [u32],
    pub(super) top_k: usize,
    /// Whether the server was found to take no grammar of tokens.
    pub(super) refuses_tokens: &'a AtomicBool,
}

/// One position as it was served.
#[derive(Debug, Clone)]
struct Position {
    top: Vec<(u32, f32)>,
    timings: Timings,
    /// From sending the request to the end of its reply; of one of several in a request: what it took of that.
    took: Duration,
    /// Whether only one token was added to the position before it.
    step: bool,
}

impl Walk<'_> {
    /// Asks for the positions, which are ascending.
    pub(super) async fn collect(&self, lengths: &[usize]) -> Result<Exchange, Failure> {
        let mut positions: Vec<Position> = Vec::with_capacity(lengths.len());
        for band in lengths.chunk_by(|a, b| a + 1 == *b).flat_map(|band| band.chunks(MOST_POSITIONS)) {
            let follows = positions.last().is_some() && lengths.contains(&(band[0] - 1));
            let mut served = self.band(band, positions.is_empty()).await?;
            if let Some(first) = served.first_mut() {
                first.step = follows;
            }
            positions.extend(served);
        }
        let lists: Vec<Vec<(u32, f32)>> = positions.iter().map(|position| position.top.clone()).collect();
        Ok(Exchange {
            measurements: measurements(&positions, lengths.last().copied().unwrap_or_default()),
            reply: Reply {
                distributions: Some(PackedDistributions::pack(self.top_k, &lists)),
                ..Reply::default()
            },
            last: Value::Null,
            timeline: None,
        })
    }

    /// Positions that follow on one another; `cold`: nothing may come from the cache.
    async fn band(&self, lengths: &[usize], cold: bool) -> Result<Vec<Position>, Failure> {
        if lengths.len() < 2 || self.refuses_tokens.load(Ordering::Relaxed) {
            return self.alone(lengths, cold).await;
        }
        match self.forced(lengths, cold).await {
            Ok(Some(positions)) => Ok(positions),
            // The text has a piece of a character: one token at a time it need not be said.
            Err(failure) if failure.cannot_be_written() => self.alone(lengths, cold).await,
            Err(failure) if !failure.refuses_the_request() => Err(failure),
            // It does not do what it was told, or says so: not asked again.
            Ok(None) | Err(_) => {
                let positions = self.alone(lengths, cold).await?;
                self.refuses_tokens.store(true, Ordering::Relaxed);
                Ok(positions)
            }
        }
    }

    /// One request for all of them; `None` where the server says something else than what it was told.
    async fn forced(&self, lengths: &[usize], cold: bool) -> Result<Option<Vec<Position>>, Failure> {
        let text = &self.tokens[lengths[0]..=lengths[lengths.len() - 1]];
        let (answer, response) = self.ask(lengths[0], text.len(), Some(&token_by_token(text)), cold).await?;
        let said = response.said.iter().map(id_of);
        if !said.eq(text.iter().map(|id| Some(u64::from(*id)))) {
            return Ok(None);
        }
        let [prefill, step] = times(&answer, &response.timings, text.len());
        let mut positions = Vec::with_capacity(lengths.len());
        for (&length, listed) in lengths.iter().zip(&response.said) {
            if top_of(listed).is_empty() {
                // It was drafted, and accepted.
                positions.push(self.position(length, false).await?);
                continue;
            }
            let first = length == lengths[0];
            let timings = if first { response.timings.clone() } else { one_step(&response.timings) };
            let top = top_list(top_of(listed), self.top_k).map_err(|reason| at(length, &reason))?;
            positions.push(Position {
                top,
                timings,
                took: if first { prefill + step } else { step },
                step: !first,
            });
        }
        Ok(Some(positions))
    }

    /// One request for each.
    async fn alone(&self, lengths: &[usize], cold: bool) -> Result<Vec<Position>, Failure> {
        let mut positions = Vec::with_capacity(lengths.len());
        for &length in lengths {
            let mut position = self.position(length, cold && positions.is_empty()).await?;
            position.step = !positions.is_empty();
            positions.push(position);
        }
        Ok(positions)
    }

    async fn position(&self, length: usize, cold: bool) -> Result<Position, Failure> {
        let (answer, response) = match self.ask(length, 1, None, cold).await {
            Err(failure) if failure.cannot_be_written() => self.ask(length, 1, Some(WHOLE), cold).await?,
            Ok((_, response)) if response.said.is_empty() => self.ask(length, 1, Some(WHOLE), cold).await?,
            asked => asked?,
        };
        let listed = response.said.first().map_or(&[][..], top_of);
        if listed.is_empty() {
            return Err(Failure::unsupported(
                "this server lists no token ids with its probabilities (`top_logprobs`): it cannot be compared by them",
            ));
        }
        let top = top_list(listed, self.top_k).map_err(|reason| at(length, &reason))?;
        Ok(Position { top, timings: response.timings, took: answer.total, step: false })
    }

    /// Asks what follows the first `length` tokens: so many tokens, of those that a grammar allows.
    async fn ask(
        &self,
        length: usize,
        steps: usize,
        grammar: Option<&str>,
        cold: bool,
    ) -> Result<(Answer, Completion), Failure> {
        let model = self.writer.model.as_deref();
        let asked = Asked { model, prompt: &self.tokens[..length], steps, top: self.top_k, grammar, cold };
        completion::ask(self.http, self.path, asked).await
    }
}

fn at(length: usize, reason: &str) -> Failure {
    Failure::stream(format!("position {length}: {reason}"))
}

/// What the prompt took of a request, and each of its positions.
fn times(answer: &Answer, timings: &Timings, positions: usize) -> [Duration; 2] {
    let prompt = Duration::try_from_secs_f64(timings.prompt_ms.unwrap_or_default() / 1e3).unwrap_or_default();
    let prompt = prompt.min(answer.total);
    [prompt, (answer.total - prompt) / positions.max(1) as u32]
}

/// The timings of a position that was one decode step; unknown where the server does not tell the prompt's time, which
/// would count as that of the steps.
fn one_step(timings: &Timings) -> Timings {
    Timings { prompt_n: timings.prompt_ms.map(|_| 1), ..Timings::default() }
}

/// Whether there is something to ask for, in an order that a growing cache can follow.
pub(super) fn check(tokens: &[u32], positions: &[usize], top_k: usize) -> Result<(), Failure> {
    let ascending = positions.is_sorted_by(|a, b| a < b);
    let (first, last) = (positions.first().copied(), positions.last().copied());
    let possible = first.is_some_and(|first| first > 0) && last.is_some_and(|last| last < tokens.len());
    if ascending && possible && top_k > 0 {
        return Ok(());
    }
    Err(Failure::request(format!(
        "no distributions to ask for: {} positions of {} tokens, {top_k} a position",
        positions.len(),
        tokens.len()
    )))
}

/// The list of a position, most probable first.
fn top_list(listed: &[Value], top_k: usize) -> Result<Vec<(u32, f32)>, String> {
    let read: Option<Vec<_>> = listed.iter().map(entry).collect();
    let mut top = read.ok_or("an entry of `top_logprobs` has no token id or no log-probability")?;
    sort(&mut top);
    top.truncate(top_k);
    Ok(top)
}

fn entry(value: &Value) -> Option<(u32, f32)> {
    let id = value.get("id")?.as_u64()?.try_into().ok()?;
    Some((id, log_probability(value)?))
}

/// Figures of the walk; `seen` are the tokens that the server had processed at its end.
fn measurements(positions: &[Position], seen: usize) -> Vec<Measurement> {
    let total: Duration = positions.iter().map(|position| position.took).sum();
    vec![
        Measurement::new(metric::TOTAL_S, Source::Client, total.as_secs_f64()),
        step_time(&positions.iter().filter(|position| position.step).collect::<Vec<_>>()),
        prefill_rate(&positions[0].timings),
        Measurement::new(metric::PROMPT_TOKENS, Source::Engine, seen as f64),
    ]
}

/// The mean over the positions that follow on another, each of which must have been one decode step. A server that
/// cannot keep a prefix (some sliding-window caches) processes the prompt again: right, but another time.
fn step_time(steps: &[&Position]) -> Measurement {
    let absent = |reason: String| Measurement::absent(metric::POSITION_S, Source::Client, reason);
    if steps.is_empty() {
        return absent("no position follows on another".to_owned());
    }
    let again = steps.iter().filter(|step| step.timings.prompt_n != Some(1)).count();
    if again > 0 {
        return absent(format!("{again} of {} positions were not known to be one decode step", steps.len()));
    }
    let total: Duration = steps.iter().map(|step| step.took).sum();
    let mean = total.as_secs_f64() / steps.len() as f64;
    Measurement::new(metric::POSITION_S, Source::Client, mean)
}

fn prefill_rate(timings: &Timings) -> Measurement {
    match (timings.cache_n, timings.prompt_n, timings.prompt_ms) {
        (Some(0), Some(tokens), Some(ms)) if ms > 0.0 => {
            Measurement::new(metric::PREFILL_TPS, Source::Engine, tokens as f64 / (ms / 1e3))
        }
        (None, ..) => Measurement::absent(
            metric::PREFILL_TPS,
            Source::Engine,
            "the engine does not say whether the prompt was cached",
        ),
        _ => Measurement::absent(metric::PREFILL_TPS, Source::Engine, "the engine gave no prompt timings"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(text: &str) -> Completion {
        Completion::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn llama_server_reply() {
        let response = response(include_str!("../../../tests/fixtures/llama-server/completion_n_probs.json"));
        let listed = top_of(&response.said[0]);
        let top = top_list(listed, 64).unwrap();
        assert_eq!(top.len(), 5);
        assert_eq!(top[0], (12095, -0.097_158_3));
        assert!(top.is_sorted_by(|a, b| a.1 >= b.1));
        assert_eq!(top_list(listed, 2).unwrap().len(), 2);
    }

    #[test]
    fn a_server_without_token_ids_is_refused() {
        let response = response(include_str!("../../../tests/fixtures/ik_llama/completion_n_probs.json"));
        assert!(top_of(&response.said[0]).is_empty());
    }

    #[test]
    fn ik_llama_lists_ids_in_openais_words() {
        let response = response(include_str!("../../../tests/fixtures/ik_llama/v1_completions_n_probs.json"));
        assert_eq!(top_list(top_of(&response.said[0]), 64).unwrap()[1], (260, -2.835_428));
    }

    #[test]
    fn lists_must_hold_probabilities() {
        let list = |entry: &str| {
            let text = format!(r#"{{"completion_probabilities":[{{"top_logprobs":[{entry}]}}]}}"#);
            top_list(top_of(&response(&text).said[0]), 4)
        };
        assert_eq!(list(r#"{"id":3,"logprob":-1}"#), Ok(vec![(3, -1.0)]));
        assert_eq!(list(r#"{"id":3,"logprob":-1e300}"#), Ok(vec![(3, f32::MIN)]));
        for wrong in [
            r#"{"logprob":-1}"#,
            r#"{"id":-3,"logprob":-1}"#,
            r#"{"id":4294967296,"logprob":-1}"#,
            r#"{"id":3,"logprob":null}"#,
            r#"{"id":3,"logprob":2}"#,
            r#"{"id":3}"#,
            "7",
        ] {
            assert!(list(wrong).is_err(), "{wrong}");
        }
    }

    fn served(ms: u64, cache_n: u64, prompt_n: u64) -> Position {
        Position {
            top: vec![(1, -0.5)],
            timings: Timings {
                cache_n: Some(cache_n),
                prompt_n: Some(prompt_n),
                prompt_ms: Some(50.0),
                ..Timings::default()
            },
            took: Duration::from_millis(ms),
            step: prompt_n == 1,
        }
    }

    #[test]
    fn figures_of_a_walk() {
        // The third position is the first of another band: not a step.
        let positions = [served(100, 0, 10), served(4, 10, 1), served(50, 11, 40), served(6, 51, 1)];
        let all = measurements(&positions, 52);
        let value = |name: &str| all.iter().find(|m| m.name == name).unwrap().value;
        assert_eq!(value(metric::POSITION_S), Some(0.005));
        assert_eq!(value(metric::PREFILL_TPS), Some(200.0));
        assert_eq!(value(metric::PROMPT_TOKENS), Some(52.0));
        assert_eq!(value(metric::TOTAL_S), Some(0.16));
    }

    #[test]
    fn a_prompt_processed_again_is_no_decode_step() {
        let steps = [served(4, 10, 1), served(90, 0, 12)];
        assert!(step_time(&steps.iter().collect::<Vec<_>>()).absent.unwrap().starts_with("1 of 2 positions"));
        assert!(step_time(&[]).absent.is_some());
    }
}
