//! What a recorded answer to a chat amounts to.

use std::time::Duration;

use super::cache_report::CacheReport;
use super::exchange::{Exchange, Failure, Limits};
use super::http::Answer;
use super::reply::{self, Decoded, NoReply};
use super::sse;
use super::timeline::{Counts, Timeline, TokenEvent};
use crate::console::shown;
use crate::record::{FinishReason, Measurement, Source, metric};

/// Decodes and measures a recorded answer.
pub(super) fn exchange(answer: &Answer, limits: &Limits, cache: &CacheReport) -> Result<Exchange, Failure> {
    match answer.media_type.as_str() {
        "text/event-stream" => streamed(answer, limits, cache),
        "application/json" => whole(answer, cache),
        other => Err(Failure::stream(format!(
            "the reply is `{}`, not an event stream: {}",
            shown(other),
            shown(&String::from_utf8_lossy(answer.recording.bytes()))
        ))),
    }
}

fn streamed(answer: &Answer, limits: &Limits, cache: &CacheReport) -> Result<Exchange, Failure> {
    let bounds = sse::Bounds { line: limits.max_line_bytes, event: limits.max_line_bytes };
    let events =
        sse::decode(answer.recording.bytes(), bounds).map_err(|error| Failure::stream(error.to_string()))?;
    let mut decoded = reply::from_events(&events).map_err(no_reply)?;
    cache.complete(&mut decoded.last);
    decoded.counts = reply::counts(&decoded.last);
    let arrived = decoded.token_events.iter().filter_map(|event| {
        let at = answer.recording.arrival(events[event.index].end)?;
        Some(TokenEvent { at_s: at.as_secs_f64(), tokens: event.tokens })
    });
    let timeline = Timeline {
        events: arrived.collect(),
        counts: Counts { output: shown_tokens(&decoded), ..decoded.counts },
        total_s: answer.total.as_secs_f64(),
        other_choices: decoded.other_choices,
    };
    let mut measurements = timeline.measurements();
    measurements.extend(thinking(&decoded));
    Ok(Exchange { measurements, reply: decoded.reply, last: decoded.last, timeline: Some(timeline) })
}

/// How many tokens a reply thought; nothing of one that did not think, or of which nobody can tell.
fn thinking(decoded: &Decoded) -> Option<Measurement> {
    let (tokens, source) = decoded.thinking?;
    Some(Measurement::new(metric::THINKING_TOKENS, source, tokens as f64))
}

/// Tokens of the reply that events carried. Where a server counts only at the end, a reply that the model ended itself
/// has one more than it shows: the token that ended it.
fn shown_tokens(decoded: &Decoded) -> Option<u64> {
    let events = decoded.token_events.len() as u64;
    let uncounted = decoded.token_events.iter().all(|event| event.tokens.is_none());
    let ended = matches!(decoded.reply.finish_reason, Some(FinishReason::Stop | FinishReason::ToolCalls));
    match decoded.counts.output {
        Some(output) if uncounted && ended && output == events + 1 => Some(events),
        output => output,
    }
}

fn no_reply(why: NoReply) -> Failure {
    if why.refused { Failure::request(why.message) } else { Failure::stream(why.message) }
}

/// A server that ignores `stream` answers all the same; there is just little to measure.
fn whole(answer: &Answer, cache: &CacheReport) -> Result<Exchange, Failure> {
    let decoded = reply::from_whole(answer.recording.bytes()).map_err(no_reply)?;
    let thought = thinking(&decoded);
    let Decoded { reply, mut last, .. } = decoded;
    cache.complete(&mut last);
    let measurements = figures_in_one_piece(answer.total).chain(thought).collect();
    Ok(Exchange { reply, measurements, last, timeline: None })
}

/// The client's figures of a reply that came in one piece: nothing but how long it took.
pub(super) fn figures_in_one_piece(took: Duration) -> impl Iterator<Item = Measurement> {
    let unknown = [
        metric::TTFT_S,
        metric::PREFILL_TPS,
        metric::DECODE_TPS,
        metric::ITL_P50_S,
        metric::ITL_P95_S,
        metric::ITL_MAX_S,
    ];
    let absent = |name| Measurement::absent(name, Source::Client, "the server did not stream its reply");
    let total = Measurement::new(metric::TOTAL_S, Source::Client, took.as_secs_f64());
    unknown.map(absent).into_iter().chain([total])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::client::timeline::Recording;
    use crate::record::Stage;

    fn answer(media_type: &str, chunks: &[(u64, &str)]) -> Answer {
        let mut recording = Recording::default();
        for (ms, bytes) in chunks {
            recording.push(Duration::from_millis(*ms), bytes.as_bytes());
        }
        Answer { media_type: media_type.into(), recording, total: Duration::from_secs(1) }
    }

    /// What an answer amounts to, of a server of which nothing is known yet.
    fn read(answer: &Answer, limits: &Limits) -> Result<Exchange, Failure> {
        exchange(answer, limits, &CacheReport::default())
    }

    /// A reply of events that arrive at so many milliseconds.
    fn streamed(chunks: &[(u64, &str)]) -> Exchange {
        read(&answer("text/event-stream", chunks), &Limits::default()).unwrap()
    }

    fn measured(exchange: &Exchange, name: &str) -> Option<f64> {
        let found = exchange.measurements.iter().find(|m| m.name == name);
        found.unwrap().value
    }

    const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":null}}]}\n\n";
    const END: &str = "data: {\"choices\":[{\"finish_reason\":\"stop\",\"delta\":{}}]}\n\ndata: {\"choices\":[],\
                       \"usage\":{\"prompt_tokens\":10,\"completion_tokens\":2,\
                       \"prompt_tokens_details\":{\"cached_tokens\":0}}}\n\ndata: [DONE]\n\n";

    fn token(text: &str) -> String {
        format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
    }

    #[test]
    fn a_role_or_an_empty_delta_is_not_the_first_token() {
        let (empty, one, two) = (token(""), token("a"), token("b"));
        let chunks = [(100, ROLE), (150, &empty), (200, &one), (300, &two), (400, END)];
        let exchange = streamed(&chunks);
        assert_eq!(exchange.reply.content, "ab");
        assert_eq!(measured(&exchange, metric::TTFT_S), Some(0.2));
        // Two events are a step of 0.1 s.
        assert_eq!(measured(&exchange, metric::PREFILL_TPS).map(f64::round), Some(100.0));
        assert_eq!(exchange.last["usage"]["prompt_tokens"], 10);
    }

    #[test]
    fn the_token_that_ends_a_reply_is_not_among_those_shown() {
        let tokens: Vec<String> = ["a", "b", "c", "d", "e"].map(token).to_vec();
        let rate = |end: &str| {
            let mut chunks = vec![(100, ROLE)];
            chunks.extend((2..).map(|i| 100 * i).zip(tokens.iter().map(String::as_str)));
            chunks.push((700, end));
            let exchange = streamed(&chunks);
            measured(&exchange, metric::DECODE_TPS).map(f64::round)
        };
        let counted = |output: u32, finish: &str| {
            END.replace("\"completion_tokens\":2", &format!("\"completion_tokens\":{output}"))
                .replace("stop", finish)
        };
        assert_eq!(rate(&counted(5, "stop")), Some(10.0));
        assert_eq!(rate(&counted(6, "stop")), Some(10.0));
        // Here one event held two tokens, and nobody knows which.
        assert_eq!(rate(&counted(6, "length")), None);
        assert_eq!(rate(&counted(7, "stop")), None);
    }

    /// A parser that keeps a call back: events with nothing but a count in between tell when its tokens were made.
    #[test]
    fn a_count_that_grows_is_a_token_though_its_text_is_kept_back() {
        let counted = |delta: &str, finish: &str, count: u32| {
            format!(
                "data: {{\"choices\":[{{\"delta\":{delta},\"finish_reason\":{finish}}}],\"usage\":{{\"prompt_tokens\":10,\
                 \"completion_tokens\":{count},\"prompt_tokens_details\":{{\"cached_tokens\":0}}}}}}\n\n"
            )
        };
        let call = r#"{"tool_calls":[{"index":0,"id":"1","function":{"name":"f","arguments":"{}"}}]}"#;
        let mut events = vec![(100, counted(r#"{"role":"assistant","content":""}"#, "null", 0))];
        events.extend((1..=50).map(|i| (100 + 20 * u64::from(i), counted("{}", "null", i))));
        events.push((1101, counted(call, "null", 50)));
        events.push((1102, counted("{}", "\"tool_calls\"", 51)));
        events.push((1103, "data: [DONE]\n\n".to_owned()));
        let chunks: Vec<(u64, &str)> = events.iter().map(|(at, text)| (*at, text.as_str())).collect();
        let exchange = streamed(&chunks);
        assert_eq!(measured(&exchange, metric::TTFT_S), Some(0.12));
        let rate = measured(&exchange, metric::DECODE_TPS).unwrap();
        assert!((rate - 50.0).abs() < 0.1, "{rate}");
        assert!((measured(&exchange, metric::ITL_P50_S).unwrap() - 0.02).abs() < 1e-9);
        assert!((measured(&exchange, metric::PREFILL_TPS).unwrap() - 10.0 / 0.1).abs() < 1e-6);
    }

    /// Some servers count only with the last event, which may hold nothing else and name no reason for the end.
    #[test]
    fn a_count_of_the_whole_at_the_end_is_no_token() {
        let (one, two) = (token("a"), token("b"));
        let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"\"}],\"usage\":{\"prompt_tokens\":10,\
                   \"completion_tokens\":2}}\n\ndata: [DONE]\n\n";
        let chunks = [(100, ROLE), (200, &*one), (300, &*two), (900, end)];
        let exchange = streamed(&chunks);
        assert_eq!(exchange.timeline.as_ref().map(|timeline| timeline.events.len()), Some(2));
        assert!((measured(&exchange, metric::ITL_MAX_S).unwrap() - 0.1).abs() < 1e-9);
    }

    #[test]
    fn an_event_counts_when_its_last_byte_is_there() {
        let (one, two) = (token("a"), token("b"));
        let (head, tail) = one.split_at(20);
        let chunks = [(100, ROLE), (200, head), (350, tail), (500, &two), (600, END)];
        let exchange = streamed(&chunks);
        assert_eq!(measured(&exchange, metric::TTFT_S), Some(0.35));
        assert!((measured(&exchange, metric::ITL_MAX_S).unwrap() - 0.15).abs() < 1e-9);
    }

    #[test]
    fn a_whole_reply_is_read_but_not_timed() {
        let body = include_str!("../../../tests/fixtures/llama-server/chat_tools_required.json");
        let exchange = read(&answer("application/json", &[(5, body)]), &Limits::default()).unwrap();
        assert_eq!(exchange.reply.finish_reason, Some(FinishReason::Length));
        assert_eq!(measured(&exchange, metric::TTFT_S), None);
        assert_eq!(measured(&exchange, metric::TOTAL_S), Some(1.0));
        assert_eq!(exchange.last["timings"]["predicted_n"].as_u64(), Some(120));
    }

    /// Real replies of SGLang 0.5.17 (null) and vLLM 0.23.0 (left out) to a cold prompt and to the same again.
    #[test]
    fn a_cold_reply_has_a_prefill_rate_once_the_server_has_counted() {
        for (cold, warm, cached) in [
            (
                include_str!("../../../tests/fixtures/sglang/chat_cold.sse"),
                include_str!("../../../tests/fixtures/sglang/chat_warm.sse"),
                32,
            ),
            (
                include_str!("../../../tests/fixtures/vllm-0.23/chat_cold.sse"),
                include_str!("../../../tests/fixtures/vllm-0.23/chat_warm.sse"),
                32,
            ),
        ] {
            let report = CacheReport::default();
            let read = |reply: &str| {
                let events: Vec<&str> = reply.split_inclusive("\n\n").collect();
                let chunks: Vec<(u64, &str)> = (0..).map(|i| 100 + 10 * i).zip(events).collect();
                exchange(&answer("text/event-stream", &chunks), &Limits::default(), &report).unwrap()
            };
            assert_eq!(measured(&read(cold), metric::PREFILL_TPS), None, "nobody knows whether it counts");
            let counted = read(warm);
            assert_eq!(counted.timeline.as_ref().unwrap().counts.cached, Some(cached));
            assert_eq!(measured(&counted, metric::PREFILL_TPS), None, "it was not cold");
            let cold = read(cold);
            assert_eq!(cold.last["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
            let (prompt, ttft) =
                (cold.timeline.as_ref().unwrap().counts.prompt.unwrap(), measured(&cold, metric::TTFT_S));
            let rate = measured(&cold, metric::PREFILL_TPS).unwrap();
            // Events are 10 ms apart: one step.
            assert!((rate - prompt as f64 / (ttft.unwrap() - 0.01)).abs() < 1e-6, "{rate}");
        }
    }

    #[test]
    fn other_media_and_long_lines_fail_the_stream() {
        let html = read(&answer("text/html", &[(1, "<html>\x1b[2J")]), &Limits::default());
        let failure = html.unwrap_err();
        assert_eq!(failure.stage, Stage::Stream);
        assert_eq!(failure.message, "the reply is `text/html`, not an event stream: <html>\\u{1b}[2J");
        let limits = Limits { max_line_bytes: 40, ..Limits::default() };
        let long = read(&answer("text/event-stream", &[(1, ROLE)]), &limits).unwrap_err();
        assert!(long.message.contains("longer than 40 bytes"), "{long}");
    }
}
