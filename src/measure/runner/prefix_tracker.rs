//! What of each prompt of a case a server's cache of prefixes could hold, beside what the server says it took.

use crate::error;
use crate::measure::client::Client;
use crate::record::{Measurement, Message, Reply, Served, Source, Tool, metric};

/// Follows the requests of one case. Prompts are rendered and tokenised between requests, so no time is measured
/// with it, and neither touches a server's cache.
#[derive(Debug, Default)]
pub(super) struct PrefixTracker {
    /// Tokens that the server had computed when the last reply ended; `None`: it does not show them.
    held: Option<Vec<u32>>,
    /// Tokens of the prompt that is asked now.
    asked: Option<Vec<u32>>,
}

impl PrefixTracker {
    /// Before a request.
    pub(super) async fn before(&mut self, client: &Client, messages: &[Message], tools: &[Tool]) {
        self.asked = match client.prompt_tokens(messages, tools).await {
            Ok(tokens) => Some(tokens),
            Err(error) => {
                tracing::debug!("the prompt is not known as tokens: {}", error::chain(&error));
                None
            }
        };
    }

    /// Tokens of the prompt that is asked, as the server will see it.
    pub(super) fn prompt_tokens(&self) -> Option<u32> {
        self.asked.as_ref().map(|tokens| u32::try_from(tokens.len()).unwrap_or(u32::MAX))
    }

    /// After its reply, whose figures these are.
    pub(super) async fn after(
        &mut self,
        client: &Client,
        reply: &Reply,
        figures: &[Measurement],
        reused: bool,
    ) -> Served {
        let asked = self.asked.take();
        let served = Served {
            prompt_tokens: count(figures, metric::PROMPT_TOKENS),
            cached_tokens: count(figures, metric::CACHED_TOKENS),
            shared_tokens: asked.as_ref().zip(self.held.as_ref()).map(|(asked, held)| common(asked, held)),
            ttft_s: figure(figures, metric::TTFT_S, Source::Client),
            cold: !reused && client.forbids_cache(),
        };
        self.held = asked;
        if let (Some(held), Ok(written)) = (&mut self.held, client.tokenize(&reply.text(), false).await) {
            held.extend(written);
        }
        served
    }
}

fn figure(figures: &[Measurement], name: &str, source: Source) -> Option<f64> {
    figures.iter().find(|figure| figure.name == name && figure.source == source)?.value
}

fn count(figures: &[Measurement], name: &str) -> Option<u32> {
    figure(figures, name, Source::Engine).map(|tokens| tokens as u32)
}

/// How many tokens both begin with.
fn common(asked: &[u32], held: &[u32]) -> u32 {
    asked.iter().zip(held).take_while(|(asked, held)| asked == held).count() as u32
}
