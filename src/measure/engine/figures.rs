//! The engine's own figures of a reply, and what is said where one is missing.

use crate::record::{Measurement, Source, metric};

pub(super) const NO_PROMPT_COUNT: &str = "the reply counts no prompt tokens";
pub(super) const NO_CACHE_COUNT: &str = "the reply does not say what came from a cache";
pub(super) const NO_OUTPUT_COUNT: &str = "the reply counts no output tokens";
pub(super) const NO_DRAFT_COUNT: &str = "the reply names no drafted tokens";

/// A figure as the reply names it, or why there is none.
pub(super) fn count(name: &'static str, value: Option<f64>, missing: &str) -> Measurement {
    match value {
        Some(value) => Measurement::new(name, Source::Engine, value),
        None => Measurement::absent(name, Source::Engine, missing),
    }
}

/// Prompt tokens over the time (ms) that reading them took (tokens/s), only when nothing came from a cache.
pub(super) fn prefill(tokens: Option<f64>, cached: Option<f64>, ms: Option<f64>) -> Measurement {
    let absent = |reason: String| Measurement::absent(metric::PREFILL_TPS, Source::Engine, reason);
    match (tokens, cached, ms) {
        (_, None, _) => absent(NO_CACHE_COUNT.to_owned()),
        (_, Some(cached), _) if cached > 0.0 => absent(format!("{cached} prompt tokens came from a cache")),
        (Some(tokens), _, Some(ms)) if tokens > 0.0 && ms > 0.0 => {
            Measurement::new(metric::PREFILL_TPS, Source::Engine, tokens / (ms / 1000.0))
        }
        _ => absent("the reply does not time the prompt".to_owned()),
    }
}

/// Tokens after the first over the time (ms) from the first to the last (tokens/s).
pub(super) fn decode(tokens: Option<f64>, ms: Option<f64>) -> Measurement {
    let absent = |reason| Measurement::absent(metric::DECODE_TPS, Source::Engine, reason);
    match (tokens, ms) {
        (Some(tokens), Some(_)) if tokens < 2.0 => absent("fewer than two tokens were generated"),
        (Some(tokens), Some(ms)) if ms > 0.0 => {
            Measurement::new(metric::DECODE_TPS, Source::Engine, (tokens - 1.0) / (ms / 1000.0))
        }
        _ => absent("the reply does not time the generation"),
    }
}
