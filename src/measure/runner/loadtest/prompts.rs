//! Prompts of a wanted length: prose from a seed, every one another, sized by what the server counts. With a tokenizer
//! at hand they are fitted one by one before a step begins; without, or where a step needs more than were fitted, the
//! number of words follows from what words cost on average.

use crate::error::{Error, Result};
use crate::measure::client::{Client, Conversation};
use crate::record::Message;
use crate::record::suite::{LoadSpec, Sampling};
use crate::task::prose::Prose;
use crate::task::random::Random;

/// Asked at the end of every prompt.
const REQUEST: &str = "\n\nGo on with this story in as much detail as you can.";

/// Words of the shorter text that the server counts.
const FEW_WORDS: usize = 16;
/// Words of the longer one at most: the price of a word does not depend on where it stands.
const MANY_WORDS: usize = 2000;
/// Words for a token of context, so few that the longer text surely fits into a slot.
const WORDS_PER_TOKEN: f64 = 0.4;
/// How often the words of a prompt are counted to find their number.
const FITS: u32 = 5;

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
    /// Tokens of a prompt beside its text, exactly; `None` when the server has no tokenizer.
    frame: Option<i64>,
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
        let many = (f64::from(spec.context) * WORDS_PER_TOKEN) as usize;
        let mut counted = Vec::new();
        let mut frame = None;
        for words in [FEW_WORDS, many.clamp(FEW_WORDS + 1, MANY_WORDS)] {
            let text = prose(Random::of_task(seed, "load scale"), words) + REQUEST;
            let alone = client.tokenize(&text, false).await.ok();
            let messages = [Message::user(text)];
            let asked = client.chat(&Conversation::of(&messages), sampling, 1).await;
            let exchange = asked.map_err(|failure| Error::runtime(failure.message))?;
            let tokens = exchange.timeline.and_then(|timeline| timeline.counts.prompt).ok_or_else(|| {
                Error::runtime("the engine does not count the tokens of prompts, so none can be sized")
            })?;
            counted.push((words as f64, tokens as f64));
            frame = alone.map(|alone| tokens as i64 - alone.len() as i64);
        }
        Ok(Self { seed, spec: spec.clone(), scale: Scale::through(counted[0], counted[1])?, frame })
    }

    /// The first so many requests of a step, each fitted by the server's tokenizer where it has one.
    pub(super) async fn fitted(&self, client: &Client, step: &str, count: u32) -> Vec<Ask> {
        let mut made = Vec::new();
        for number in 0..count {
            made.push(self.fit(client, step, number).await);
        }
        made
    }

    async fn fit(&self, client: &Client, step: &str, number: u32) -> Ask {
        let (wanted, _) = self.spec.sizes(number);
        let mut words = self.scale.words(wanted);
        let mut best: Option<(i64, Ask)> = None;
        for _ in 0..FITS {
            let ask = self.of_words(step, number, words);
            let counted = client.tokenize(&ask.messages[0].content, false).await;
            let (Some(frame), Ok(tokens)) = (self.frame, counted) else { break };
            let missing = i64::from(wanted) - frame - tokens.len() as i64;
            if best.as_ref().is_none_or(|(least, _)| missing.abs() < *least) {
                best = Some((missing.abs(), ask));
            }
            // Less than a word's worth of tokens cannot be made up for.
            if missing.abs() as f64 <= self.scale.per_word / 2.0 {
                break;
            }
            let step = (missing as f64 / self.scale.per_word).round() as isize;
            let step = if step == 0 { missing.signum() as isize } else { step };
            words = words.saturating_add_signed(step).max(1);
        }
        best.map_or_else(|| self.make(step, number), |(_, ask)| ask)
    }

    /// Request `number` (from 0) of a step, by what words cost on average.
    pub(super) fn make(&self, step: &str, number: u32) -> Ask {
        let (prompt, _) = self.spec.sizes(number);
        self.of_words(step, number, self.scale.words(prompt))
    }

    fn of_words(&self, step: &str, number: u32, words: usize) -> Ask {
        let (prompt, max_tokens) = self.spec.sizes(number);
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
    use crate::measure::client::Limits;
    use crate::measure::mock;
    use crate::measure::mock::{ENDPOINTS, Script};

    fn prompts(shared: u32) -> Prompts {
        let spec = LoadSpec {
            context: 2048,
            slots: 2,
            concurrency: vec![2],
            rates: Vec::new(),
            search: None,
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
        let scale = Scale::through((16.0, 46.0), (216.0, 306.0)).unwrap();
        Prompts { seed: 1, spec, scale, frame: None }
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
    fn a_tokenizer_makes_prompts_as_long_as_asked() {
        let asked = |shared| async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(mock::serve(listener, Script::default(), std::future::pending()));
            let client = Client::new(&url, ENDPOINTS, Limits::default()).unwrap();
            let spec = prompts(shared).spec;
            let made = Prompts::learn(&client, &Sampling::default(), &spec, 1).await.unwrap();
            let fitted = made.fitted(&client, "a", 6).await;
            let mut counted = Vec::new();
            for ask in &fitted {
                let chat =
                    client.chat(&Conversation::of(&ask.messages), &Sampling::default(), 1).await.unwrap();
                counted.push(chat.timeline.unwrap().counts.prompt.unwrap());
            }
            (counted, fitted)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for shared in [0, 60] {
            let (counted, fitted) = runtime.block_on(asked(shared));
            for (tokens, wanted) in counted.iter().zip([200, 400].into_iter().cycle()) {
                assert!(tokens.abs_diff(wanted) <= 2, "asked for {wanted}, the server counts {tokens}");
            }
            assert_eq!(fitted[2].max_tokens, 16);
        }
    }

    #[test]
    fn counts_that_do_not_grow_are_an_error() {
        assert!(Scale::through((16.0, 40.0), (200.0, 40.0)).is_err());
    }
}
