//! Find the most frequent words of a coded text, equivalent to RULER's `fwe` in structure and parameters (Hsieh
//! et al. 2024, arXiv 2404.06654; NVIDIA/RULER, Apache-2.0): its words and sentences are not used, ours are.

use std::collections::BTreeSet;
use std::f64::consts::PI;
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::record::{Case, Message, Mode, Outcome, Reply, Score};
use crate::task::fitting::{Draft, Piece};
use crate::task::random::Random;
use crate::task::{Card, Needs, TaskOption};

use super::closed::Closed;
use super::matching::{all_answers, judged, plain_error, target};
use super::{About, CaseDraft, Draw, Retrieval, THINKING, conversation, output_tokens};

/// What stands for the word of rank 1.
const DOTS: &str = "....";
/// Words that are asked for: ranks 2 to 4.
const ASKED: usize = 3;
/// Fewest words that tell rank 4 from rank 5: (1/16 - 1/25) / zeta(2) of them are one word.
const MIN_UNITS: usize = 74;
/// RULER's output budget (tokens), where the answer is begun for the model.
const PREFILL_OUTPUT: u32 = 50;
const LETTERS: usize = 6;
/// The Riemann zeta function at 2.
const ZETA_2: f64 = PI * PI / 6.0;

static OPTIONS: &[TaskOption] =
    &[output_tokens(128, "output budget in tokens (in prefill mode 50 unless set, as RULER's)"), THINKING];

/// A coded text whose words follow Zipf's law with exponent 2.
#[derive(Debug)]
pub struct FrequentWords;

impl Retrieval for FrequentWords {
    fn about(&self) -> About {
        About {
            card: Card {
                name: "retrieval/frequent_words",
                summary: "the three most frequent words of a coded text are found (aggregation over all of the context)",
                options: OPTIONS,
                needs: Needs { closed_answer: true, ..Needs::LONG },
                ..Card::PRIMARY
            },
            prefill: Some(PREFILL_OUTPUT),
        }
    }

    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a> {
        Box::new(CodedText::new(draw))
    }

    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        Ok(judged(case, reply, |_, quality| plain_error(quality)))
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        Some(all_answers(case))
    }
}

/// A case whose length is not decided yet: units are words.
struct CodedText {
    mode: Mode,
    /// By rank, dots first.
    vocabulary: Vec<String>,
    /// Where the order of the words comes from; the same for every try.
    order: Random,
}

impl CodedText {
    fn new(draw: &Draw<'_>) -> Self {
        let size = (draw.params.context.saturating_sub(50) / 50) as usize;
        Self {
            mode: draw.params.mode,
            vocabulary: vocabulary(size.max(ASKED + 2), &mut draw.random("")),
            order: draw.random("#order"),
        }
    }

    /// How often each word comes among `units`, by rank; words that never come are left out.
    fn counts(&self, units: usize) -> Vec<usize> {
        let ranks = 1..=self.vocabulary.len();
        ranks.map(|rank| count(rank, units)).take_while(|count| *count > 0).collect()
    }
}

fn began() -> String {
    format!("Answer: The {ASKED} coded words that come most often are")
}

/// `units * rank^-2 / zeta(2)`, rounded down.
fn count(rank: usize, units: usize) -> usize {
    (units as f64 / ((rank * rank) as f64 * ZETA_2)) as usize
}

/// Different words of random letters, behind the dots.
fn vocabulary(size: usize, random: &mut Random) -> Vec<String> {
    let mut used = BTreeSet::new();
    let mut words = vec![DOTS.to_owned()];
    while words.len() < size {
        let word: String = (0..LETTERS).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
        if used.insert(word.clone()) {
            words.push(word);
        }
    }
    words
}

impl Draft for CodedText {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        let counts = self.counts(units);
        let words = self.vocabulary.iter().zip(&counts);
        let mut words: Vec<&str> =
            words.flat_map(|(word, count)| std::iter::repeat_n(word.as_str(), *count)).collect();
        self.order.clone().shuffle(&mut words);
        // The first word has no blank in front: it is always the same, so that every text costs the same there.
        if let Some(at) = words.iter().position(|word| *word == self.vocabulary[1]) {
            words.swap(0, at);
        }
        let text = words.join(" ");
        let prompt = format!(
            "Below is a coded text. The dots in it mean nothing. Find the {ASKED} coded words that come most often.\n\n\
             {text}\n\nQuestion: Which {ASKED} coded words, dots apart, come most often in the text? Answer with the \
             words only."
        );
        conversation(prompt, self.mode, began)
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        let (before, after) = (self.counts(from), self.counts(to));
        let mut added = String::new();
        for (rank, count) in after.iter().enumerate() {
            let more = count - before.get(rank).copied().unwrap_or_default();
            for _ in 0..more {
                added.push(' ');
                added.push_str(&self.vocabulary[rank]);
            }
        }
        Piece { lead: self.vocabulary[1].clone(), added }
    }
}

impl CaseDraft for CodedText {
    fn units(&self) -> RangeInclusive<usize> {
        MIN_UNITS..=usize::MAX
    }

    fn target(&self, _: usize) -> Value {
        target(self.vocabulary[1..=ASKED].to_vec())
    }

    fn closed(&self, _: usize) -> Option<Closed> {
        let words = self.vocabulary[1..=ASKED].iter();
        let words: Vec<(&str, Option<f64>)> = words.map(|word| (word.as_str(), None)).collect();
        Some(Closed::enclosed(&began(), "", &words))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::Prompt;
    use crate::task::Task;
    use crate::task::retrieval::answers;
    use crate::task::testing::{WordCounter, params};

    #[test]
    fn counting_finds_the_same_words_in_the_same_order() {
        for context in [512, 1024, 8192] {
            for case in FrequentWords.cases(&params(context, 3, None), 7, &WordCounter::default()).unwrap() {
                let Prompt::Chat { messages, .. } = &case.prompt else { unreachable!() };
                let text = messages[0].content.split("\n\n").nth(1).unwrap();
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for word in text.split(' ') {
                    *counts.entry(word).or_default() += 1;
                }
                let mut ranked: Vec<(usize, &str)> = counts.iter().map(|(word, n)| (*n, *word)).collect();
                ranked.sort_by(|a, b| b.cmp(a));
                assert_eq!(ranked[0].1, DOTS);
                let found: Vec<&str> = ranked[1..=ASKED].iter().map(|(_, word)| *word).collect();
                assert_eq!(found, answers(&case.target));
                // Nothing is as frequent as an answer.
                assert!(ranked[ASKED].0 > ranked[ASKED + 1].0, "{ranked:?}");
                assert!(ranked.iter().skip(1).all(|(_, word)| word.len() == LETTERS));
            }
        }
    }

    #[test]
    fn counts_follow_the_law() {
        let shares: Vec<f64> = [1, 2, 3, 4].map(|rank| count(rank, 1_000_000) as f64 / 1e6).to_vec();
        // 6 / (pi r)^2
        for (share, expected) in shares.iter().zip([0.607_927, 0.151_981, 0.067_547, 0.037_995]) {
            assert!((share - expected).abs() < 2e-6, "{share} {expected}");
        }
        for units in MIN_UNITS..2_000 {
            assert!((2..=ASKED + 1).all(|rank| count(rank, units) > count(rank + 1, units)), "{units}");
        }
    }
}
