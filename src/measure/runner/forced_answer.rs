//! A case whose answer is forced: one request for each accepted form of each part, over one cache.

use super::figures::{alike, engine_figure};
use crate::measure::client::{Client, Conversation, Failure, ForcedExchange};
use crate::measure::engine::Engine;
use crate::record::{
    Case, Forced, ForcedForm, ForcedPart, Measurement, Message, Prompt, Reply, Source, metric, prefill,
};

/// Tokens that a forced answer may have for each of its canonical ones, and further ones: another spelling in tokens is
/// reported, not cut off.
const SPARE_FACTOR: usize = 4;
const SPARE: usize = 8;
/// Why a forced answer has no figures of speed.
const NO_SPEED: &str = "the answer was forced";

/// What came back so far.
#[derive(Debug, Default)]
pub(super) struct ForcedAnswer {
    forced: Vec<Forced>,
    /// The figures of each request in order, the client's and the engine's.
    figures: Vec<Vec<Measurement>>,
}

impl ForcedAnswer {
    /// Asks for every form of every part, and how probable each is; stops at the first failure. `warm`: the server's cache
    /// may hold the beginning of the prompt already.
    pub(super) async fn ask(
        client: &Client,
        engine: &dyn Engine,
        case: &Case,
        warm: bool,
    ) -> (Self, Option<Failure>) {
        let mut answer = Self::default();
        for (part, asked) in case.forced.iter().enumerate() {
            for (form, wanted) in asked.forms.iter().enumerate() {
                let reuse_cache = warm || !answer.figures.is_empty();
                let exchange = match force(client, case, asked, wanted, reuse_cache).await {
                    Ok(exchange) => exchange,
                    Err(failure) => return (answer, Some(failure)),
                };
                answer.push(exchange, engine, (part, form));
                if let Err(failure) = answer.check(case, reuse_cache) {
                    return (answer, Some(failure));
                }
            }
        }
        (answer, None)
    }

    fn push(&mut self, exchange: ForcedExchange, engine: &dyn Engine, (part, form): (usize, usize)) {
        for (mut figures, last) in exchange.measurements.into_iter().zip(&exchange.last) {
            figures.extend(engine.measurements(last));
            self.figures.push(figures);
        }
        self.forced.push(Forced { part: part as u32, form: form as u32, ..exchange.forced });
    }

    /// The first request is the case's prompt to the token; nothing of a cold one may come from a cache.
    fn check(&self, case: &Case, reuse_cache: bool) -> Result<(), Failure> {
        if self.forced.len() > 1 {
            return Ok(());
        }
        let Some(first) = self.figures.first() else { return Ok(()) };
        let seen = engine_figure(first, metric::PROMPT_TOKENS);
        if let Some(seen) = seen.filter(|seen| *seen != f64::from(case.prompt_tokens)) {
            let sent = case.prompt_tokens;
            return Err(Failure::integrity(format!("{sent} prompt tokens were sent, the server saw {seen}")));
        }
        match engine_figure(first, metric::CACHED_TOKENS) {
            Some(cached) if !reuse_cache && cached > 0.0 => Err(Failure::integrity(format!(
                "{cached} tokens came from earlier requests although the cache was switched off"
            ))),
            _ => Ok(()),
        }
    }

    /// The reply: nothing but what was forced.
    pub(super) fn reply(&self) -> Reply {
        Reply { forced: self.forced.clone(), ..Reply::default() }
    }

    /// The prompt's figures are those of the first request, times and counted tokens those of all; a forced answer has no
    /// speed of its own.
    pub(super) fn measurements(&self) -> Vec<Measurement> {
        let Some(first) = self.figures.first() else { return Vec::new() };
        let mut all: Vec<Measurement> = first.iter().filter_map(|figure| self.over_all(figure)).collect();
        all.push(self.computed());
        all
    }

    fn over_all(&self, first: &Measurement) -> Option<Measurement> {
        let with = |value| Measurement { value, absent: None, ..*first };
        let absent = || Measurement { absent: Some(NO_SPEED.into()), ..with(None) };
        match (first.name.as_ref(), first.source) {
            (metric::PROMPT_TOKENS | metric::CACHED_TOKENS, _) | (metric::PREFILL_TPS, Source::Engine) => {
                Some(*first)
            }
            (metric::TOTAL_S | metric::OUTPUT_TOKENS, _) => {
                let each =
                    self.figures.iter().map(|request| alike(request, first).and_then(|figure| figure.value));
                let sum = each.sum::<Option<f64>>();
                Some(sum.map_or_else(absent, |sum| with(Some(sum))))
            }
            (metric::DRAFT_TOKENS | metric::DRAFT_ACCEPTED, _) => None,
            _ => Some(absent()),
        }
    }

    /// Tokens that the server computed for this case: those of the prompts that came from no cache, and those written.
    fn computed(&self) -> Measurement {
        let of = |request: &Vec<Measurement>| {
            let prompt = engine_figure(request, metric::PROMPT_TOKENS)?;
            let cached = engine_figure(request, metric::CACHED_TOKENS)?;
            Some(prompt - cached + engine_figure(request, metric::OUTPUT_TOKENS)?)
        };
        match self.figures.iter().map(of).sum::<Option<f64>>() {
            Some(tokens) => Measurement::new(metric::COMPUTED_TOKENS, Source::Engine, tokens),
            None => Measurement::absent(
                metric::COMPUTED_TOKENS,
                Source::Engine,
                "the reply does not say what came from a cache",
            ),
        }
    }
}

async fn force(
    client: &Client,
    case: &Case,
    part: &ForcedPart,
    form: &ForcedForm,
    reuse_cache: bool,
) -> Result<ForcedExchange, Failure> {
    let Prompt::Chat { messages, tools, tool_choice, .. } = &case.prompt else {
        return Err(Failure::unsupported("only the answer to a chat can be forced"));
    };
    let messages = begun(messages, &part.begun);
    let conversation = Conversation {
        messages: &messages,
        tools,
        tool_choice: *tool_choice,
        response_schema: None,
        reuse_cache,
    };
    let most = form.tokens.len() * SPARE_FACTOR + SPARE;
    client.force(&conversation, form, u32::try_from(most).unwrap_or(u32::MAX)).await
}

/// The messages with so much of the reply said already.
fn begun(messages: &[Message], begun: &str) -> Vec<Message> {
    let asked = if prefill(messages).is_some() { &messages[..messages.len() - 1] } else { messages };
    let mut messages = asked.to_vec();
    if !begun.is_empty() {
        messages.push(Message::prefill(begun));
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(prompt: f64, cached: f64, output: f64, seconds: f64) -> Vec<Measurement> {
        vec![
            Measurement::new(metric::TOTAL_S, Source::Client, seconds),
            Measurement::absent(metric::TTFT_S, Source::Client, "the server did not stream its reply"),
            Measurement::new(metric::PROMPT_TOKENS, Source::Engine, prompt),
            Measurement::new(metric::CACHED_TOKENS, Source::Engine, cached),
            Measurement::new(metric::OUTPUT_TOKENS, Source::Engine, output),
        ]
    }

    fn figure(measurements: &[Measurement], name: &str) -> Option<f64> {
        measurements.iter().find(|figure| figure.name == name).and_then(|figure| figure.value)
    }

    #[test]
    fn what_was_computed_is_summed_over_the_requests() {
        let figures = vec![request(100.0, 0.0, 9.0, 2.0), request(104.0, 99.0, 5.0, 0.5)];
        let all = ForcedAnswer { forced: Vec::new(), figures }.measurements();
        assert_eq!(figure(&all, metric::TOTAL_S), Some(2.5));
        assert_eq!(figure(&all, metric::OUTPUT_TOKENS), Some(14.0));
        assert_eq!(figure(&all, metric::PROMPT_TOKENS), Some(100.0));
        assert_eq!(figure(&all, metric::COMPUTED_TOKENS), Some(100.0 + 9.0 + 5.0 + 5.0));
        let ttft = all.iter().find(|figure| figure.name == metric::TTFT_S).unwrap();
        assert_eq!(ttft.absent.as_deref(), Some(NO_SPEED));
    }

    #[test]
    fn a_prompt_of_another_length_and_a_cold_one_from_a_cache_are_failures() {
        let mut case = Case::new("a/b", 1, 0, Prompt::chat(Vec::new()), serde_json::Value::Null);
        case.prompt_tokens = 100;
        let of = |prompt, cached| ForcedAnswer {
            forced: Vec::new(),
            figures: vec![request(prompt, cached, 1.0, 1.0)],
        };
        assert!(of(100.0, 0.0).check(&case, false).is_ok());
        assert!(of(100.0, 90.0).check(&case, true).is_ok());
        assert!(of(99.0, 0.0).check(&case, false).unwrap_err().message.contains("the server saw 99"));
        assert!(of(100.0, 90.0).check(&case, false).unwrap_err().message.contains("90 tokens came from"));
    }

    #[test]
    fn a_reply_that_has_begun_is_begun_otherwise_for_another_part() {
        let asked = [Message::user("Which?"), Message::prefill("They are")];
        let of = |text: &str| begun(&asked, text);
        assert_eq!(of("They are a,").last().unwrap().content, "They are a,");
        assert_eq!((of("They are").len(), of("").len()), (2, 1));
    }
}
