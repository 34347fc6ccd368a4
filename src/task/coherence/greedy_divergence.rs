//! The same greedy request on the setting and on the reference: the first token at which they part.
//!
//! A lossless speed-up gives the very tokens of the reference, but for the noise of the arithmetic: a batch of
//! another size adds up in another order, and a near tie between two tokens falls the other way. So the places
//! are compared with those at which the reference parts from itself.

use serde_json::Value;

use super::{option, without_tokens};
use crate::error::Result;
use crate::record::{Case, Message, Outcome, Prompt, Reply, Score};
use crate::task::fitting::{Draft, Fitter, Piece};
use crate::task::prose::Prose;
use crate::task::random::Random;
use crate::task::sizing::{Fit, too_small};
use crate::task::{Card, Comparison, Divergence, Needs, Params, Task, TaskOption, TokenCounter, Weight};

/// Sentences that no context is larger than.
const MOST_SENTENCES: usize = 200_000;

static OPTIONS: &[TaskOption] = &[option("tokens", "tokens generated a case, at most", 256, 8, 65_536)];

/// What is asked for after the text, a case each in turn: some invite copying (where speculation is accepted),
/// some do not.
const REQUESTS: &[&str] = &[
    "Go on with this text in the same style. Write at least six more paragraphs.",
    "List everybody who is named in this text, each on a line of its own: name, trade, home and what they carry.",
    "Retell this text as a letter to a friend who knows nobody in it. Write at least five paragraphs.",
    "Repeat the last twelve sentences of this text word for word, then explain each of them in a sentence.",
];

/// The task `coherence/greedy_divergence`.
#[derive(Debug)]
pub struct GreedyDivergence;

impl Task for GreedyDivergence {
    fn card(&self) -> Card {
        Card {
            name: "coherence/greedy_divergence",
            summary: "first token at which a greedy reply parts from the reference's (is this speculation lossless?)",
            weight: Weight::Comparative,
            options: OPTIONS,
            needs: Needs { reads_tokens: true, ..Needs::LONG },
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), "tokens")
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let budget = params.context.saturating_sub(self.max_tokens(params));
        let mut fitter = Fitter::new(budget, 1, MOST_SENTENCES);
        let mut case = |index| {
            let random = Random::of_case(seed, self.card().name, params.context, index);
            self.case(params, index, &mut Story::new(random, index), &mut fitter, tokens)
        };
        (0..params.samples).map(&mut case).collect()
    }

    fn score(&self, _: &Case, reply: &Reply) -> Outcome {
        let judged = Score::default().with("output_tokens", reply.tokens.len() as f64);
        without_tokens(reply).unwrap_or(Outcome::Scored(judged))
    }

    fn comparison(&self) -> Comparison {
        Comparison::Greedy(divergence)
    }
}

impl GreedyDivergence {
    fn case(
        &self,
        params: &Params,
        index: u32,
        story: &mut Story,
        fitter: &mut Fitter,
        tokens: &dyn TokenCounter,
    ) -> Result<Case> {
        let Some(Fit { units, tokens: prompt_tokens }) = fitter.fit(story, tokens)? else {
            let needed = tokens.count_chat(&story.messages(1), &[])?;
            return Err(too_small(&self.card(), params.context, self.max_tokens(params), needed));
        };
        let case = self.card().case(params.context, index, Prompt::chat(story.messages(units)), Value::Null);
        Ok(case.sized(prompt_tokens, self.max_tokens(params)).seal())
    }
}

/// Sentences of one text, and a request at its end.
struct Story {
    prose: Prose,
    sentences: Vec<String>,
    request: &'static str,
}

impl Story {
    fn new(random: Random, index: u32) -> Self {
        let request = REQUESTS[index as usize % REQUESTS.len()];
        Self { prose: Prose::new(random), sentences: Vec::new(), request }
    }

    fn grow(&mut self, units: usize) {
        while self.sentences.len() < units {
            self.sentences.extend(self.prose.sentences());
        }
    }
}

impl Draft for Story {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        self.grow(units);
        vec![Message::user(format!("{}\n\n{}", self.sentences[..units].join(" "), self.request))]
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.grow(to);
        let lead = from.checked_sub(1).map_or(String::new(), |before| self.sentences[before].clone());
        let added = self.sentences[from..to].iter().map(|sentence| format!(" {sentence}")).collect();
        Piece { lead, added }
    }
}

/// Compares the tokens of two replies; an end of turn where the other goes on is a difference like any other.
/// `None` when the tokens of one are not known.
pub fn divergence(_: &Case, reply: &Reply, reference: &Reply) -> Option<Divergence> {
    if without_tokens(reply).is_some() || without_tokens(reference).is_some() {
        return None;
    }
    let (ours, theirs) = (&reply.tokens, &reference.tokens);
    let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    let first = (same < ours.len().max(theirs.len())).then_some(same);
    Some(Divergence { first, compared: same })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::testing::{WordCounter, params};

    fn reply(tokens: &[u32]) -> Reply {
        Reply { content: "text".into(), tokens: tokens.to_vec(), ..Reply::default() }
    }

    fn case() -> Case {
        GreedyDivergence.cases(&params(1024, 1, None), 1, &WordCounter::default()).unwrap().remove(0)
    }

    fn first(ours: &[u32], theirs: &[u32]) -> Option<usize> {
        divergence(&case(), &reply(ours), &reply(theirs)).unwrap().first
    }

    #[test]
    fn the_first_differing_token_is_found() {
        assert_eq!(first(&[1, 2, 3], &[1, 2, 3]), None);
        assert_eq!(first(&[1, 2, 3], &[1, 9, 3]), Some(1));
        assert_eq!(first(&[9, 2], &[1, 2]), Some(0));
        // One of them ended its turn.
        assert_eq!(first(&[1, 2], &[1, 2, 3]), Some(2));
        assert_eq!(first(&[1, 2, 3], &[1, 2]), Some(2));
    }

    #[test]
    fn text_without_tokens_cannot_be_compared() {
        let bare = Reply { content: "text".into(), ..Reply::default() };
        let case = case();
        assert_eq!(divergence(&case, &bare, &reply(&[1])), None);
        assert_eq!(divergence(&case, &reply(&[1]), &bare), None);
        // Two replies that ended at once are the same.
        let nothing = Divergence { first: None, compared: 0 };
        assert_eq!(divergence(&case, &Reply::default(), &Reply::default()), Some(nothing));
        assert!(matches!(GreedyDivergence.score(&case, &bare), Outcome::Unscored { .. }));
    }

    #[test]
    fn the_task_says_where_replies_part_and_nothing_else() {
        let (case, ours, theirs) = (case(), reply(&[1, 2]), reply(&[1, 3]));
        let comparison = GreedyDivergence.comparison();
        let parted = Divergence { first: Some(1), compared: 1 };
        assert_eq!(comparison.divergence(&case, &ours, &theirs), Some(parted));
        assert!(comparison.figures(&case, &ours, &theirs).is_empty());
        assert!(comparison.positions(&case, &ours, &theirs).is_empty());
    }
}
