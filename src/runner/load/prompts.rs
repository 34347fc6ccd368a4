//! Prompts of a wanted length: prose from a seed, every one another, sized by what the server counts.

use crate::client::{Client, Conversation};
use crate::error::{Error, Result};
use crate::suite::{LoadSpec, Sampling};
use crate::task::prose::Prose;
use crate::task::random::Random;
use crate::trial::Message;

/// Asked at the end of every prompt.
const REQUEST: &str = "\n\nGo on with this story in as much detail as you can.";

/// Words of the shorter text that the server counts.
const FEW_WORDS: usize = 16;
/// Words of the longer one at most: the price of a word does not depend on where it stands.
const MANY_WORDS: usize = 2000;
/// Words that a token has at most, roughly: what is counted must fit into a slot.
const WORDS_PER_TOKEN: f64 = 0.5;

/// What a request asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) messages: Vec<Message>,
    /// Tokens of the reply.
    pub(super) max_tokens: u32,
}

/// Makes prompts for one model. The same step of another setting gets the same.
#[derive(Debug, Clone)]
pub(super) struct Prompts {
    seed: u64,
    spec: LoadSpec,
    scale: Scale,
}

/// What words cost (tokens).
#[derive(Debug, Clone, Copy, PartialEq)]
struct Scale {
    per_word: f64,
    /// The chat template and [`REQUEST`].
    fixed: f64,
}

impl Prompts {
    /// Learns from two requests what words cost on this server, its chat template included.
    ///
    /// # Errors
    /// When the server does not answer, or does not count prompts.
    pub(super) async fn learn(
        client: &Client,
        sampling: &Sampling,
        spec: &LoadSpec,
        seed: u64,
    ) -> Result<Self> {
        let longest = spec.prompt_tokens.iter().copied().max().unwrap_or_default();
        let many = (f64::from(longest) * WORDS_PER_TOKEN) as usize;
        let mut counted = Vec::new();
        for words in [FEW_WORDS, many.clamp(FEW_WORDS + 1, MANY_WORDS)] {
            let text = prose(Random::of_task(seed, "load scale"), words);
            let messages = [Message::user(text + REQUEST)];
            let asked = client.chat(&Conversation::of(&messages), sampling, 1).await;
            let exchange = asked.map_err(|failure| Error::runtime(failure.message))?;
            let tokens = exchange.timeline.and_then(|timeline| timeline.counts.prompt).ok_or_else(|| {
                Error::runtime("the engine does not count the tokens of prompts, so none can be sized")
            })?;
            counted.push((words as f64, tokens as f64));
        }
        Ok(Self { seed, spec: spec.clone(), scale: Scale::through(counted[0], counted[1])? })
    }

    /// Request `number` (from 0) of a step.
    pub(super) fn make(&self, step: &str, number: u32) -> Ask {
        let (prompt, max_tokens) = self.spec.sizes(number);
        let words = self.scale.words(prompt);
        let shared = match self.spec.shared_prefix_tokens {
            0 => 0,
            // What is fixed may stand behind the text, so it is not taken off.
            tokens => ((f64::from(tokens) / self.scale.per_word) as usize).min(words),
        };
        let mut text = prose(Random::of_task(self.seed, "load prefix"), shared);
        if shared > 0 {
            text.push(' ');
        }
        let own = Random::of_case(self.seed, &format!("load {step}"), prompt, number);
        text.push_str(&prose(own, words - shared));
        Ask { messages: vec![Message::user(text + REQUEST)], max_tokens }
    }

    /// Whether the server may take the beginning of a prompt from its cache.
    pub(super) fn reuse_cache(&self) -> bool {
        self.spec.shared_prefix_tokens > 0
    }
}

impl Scale {
    /// The straight line through two counts (words, tokens).
    fn through(few: (f64, f64), many: (f64, f64)) -> Result<Self> {
        let per_word = (many.1 - few.1) / (many.0 - few.0);
        if !per_word.is_finite() || per_word <= 0.0 {
            return Err(Error::runtime(format!(
                "the engine's counts of prompts contradict each other: {} words are {} tokens, {} words {}",
                few.0, few.1, many.0, many.1
            )));
        }
        Ok(Self { per_word, fixed: (few.1 - per_word * few.0).max(0.0) })
    }

    fn words(&self, tokens: u32) -> usize {
        ((f64::from(tokens) - self.fixed) / self.per_word).round().max(1.0) as usize
    }
}

/// So many words of prose.
fn prose(random: Random, words: usize) -> String {
    let mut prose = Prose::new(random);
    let mut text = String::new();
    let mut left = words;
    while left > 0 {
        let paragraph = prose.paragraph();
        for word in paragraph.split(' ').take(left) {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(word);
            left -= 1;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts(shared: u32) -> Prompts {
        let spec = LoadSpec {
            context: 2048,
            slots: 2,
            concurrency: vec![2],
            rates: Vec::new(),
            requests: Some(4),
            duration_s: None,
            prompt_tokens: vec![200, 400],
            output_tokens: vec![8, 16],
            shared_prefix_tokens: shared,
            max_in_flight: 4,
            warm_up_s: 0.0,
            limits: None,
            quality: None,
        };
        Prompts { seed: 1, spec, scale: Scale::through((16.0, 46.0), (216.0, 306.0)).unwrap() }
    }

    fn words(ask: &Ask) -> usize {
        ask.messages[0].content.strip_suffix(REQUEST).unwrap().split(' ').count()
    }

    #[test]
    fn sizes_go_round_and_come_out_as_asked() {
        let prompts = prompts(0);
        let made: Vec<Ask> = (0..4).map(|number| prompts.make("a", number)).collect();
        // 1.3 tokens a word and 25.2 for the rest.
        assert_eq!(made.iter().map(words).collect::<Vec<_>>(), [134, 288, 134, 288]);
        assert_eq!(made.iter().map(|ask| ask.max_tokens).collect::<Vec<_>>(), [8, 8, 16, 16]);
    }

    #[test]
    fn no_two_prompts_are_alike_but_settings_get_the_same() {
        let prompts = prompts(0);
        let mut starts: Vec<String> = ["1 stream", "4 streams"]
            .iter()
            .flat_map(|step| (0..40).map(|number| prompts.make(step, number)))
            .map(|ask| ask.messages[0].content.chars().take(60).collect())
            .collect();
        starts.sort();
        starts.dedup();
        assert_eq!(starts.len(), 80);
        assert_eq!(prompts.make("x", 3), prompts.clone().make("x", 3));
    }

    #[test]
    fn a_shared_prefix_is_shared_and_no_more() {
        let prompts = prompts(130);
        let (one, other) = (prompts.make("a", 0), prompts.make("a", 1));
        let texts = [&one, &other].map(|ask| ask.messages[0].content.clone());
        let common = texts[0].split(' ').zip(texts[1].split(' ')).take_while(|(a, b)| a == b).count();
        assert!((100..105).contains(&common), "{common}");
        assert_eq!(words(&one), 134);
    }

    #[test]
    fn counts_that_do_not_grow_are_an_error() {
        assert!(Scale::through((16.0, 40.0), (200.0, 40.0)).is_err());
    }
}
