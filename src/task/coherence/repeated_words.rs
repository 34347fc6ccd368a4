//! A long run of one word with one changed word inside, to be copied: how stable copying is.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{option, ran_out, read_target, short_case};
use crate::error::Result;
use crate::record::{Case, Outcome, Reply, Score};
use crate::task::random::{Random, stratified_depth};
use crate::task::{Card, Harder, Needs, Params, Task, TaskOption, TokenCounter};

/// Output tokens kept for a word, and for what the model may say around the run.
const TOKENS_PER_WORD: u32 = 3;
const TOKENS_AROUND: u32 = 32;
/// Words of a reply that are compared, as a multiple of those asked for; what is beyond counts as wrong.
const COMPARED: usize = 4;

static OPTIONS: &[TaskOption] =
    &[TaskOption { difficulty: Some(Harder::Larger), ..option("words", "words to copy", 200, 16, 4000) }];

/// A word and another that is nearly the same.
const PAIRS: &[(&str, &str)] = &[
    ("apple", "apples"),
    ("river", "rivers"),
    ("golden", "golder"),
    ("window", "windows"),
    ("winter", "winner"),
    ("letter", "better"),
    ("garden", "harden"),
    ("marble", "marbles"),
    ("silver", "sliver"),
    ("market", "marked"),
    ("candle", "handle"),
    ("summer", "hummer"),
];

/// The task `coherence/repeated_words`.
#[derive(Debug)]
pub struct RepeatedWords;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Target {
    word: String,
    changed: String,
    /// Place of the changed word, from 0.
    at: usize,
    /// How many words there are.
    words: usize,
}

impl Target {
    fn run(&self) -> Vec<&str> {
        let word = |at| if at == self.at { self.changed.as_str() } else { self.word.as_str() };
        (0..self.words).map(word).collect()
    }
}

impl Task for RepeatedWords {
    fn card(&self) -> Card {
        Card {
            name: "coherence/repeated_words",
            summary: "a long run of one word with one changed word inside is copied (copy stability)",
            options: OPTIONS,
            needs: Needs::SHORT,
            figures: &["present", "right_index", "length_ratio"],
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), "words").saturating_mul(TOKENS_PER_WORD).saturating_add(TOKENS_AROUND)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let case = |index| {
            let mut random = Random::of_case(seed, self.card().name, params.context, index);
            let (word, changed) = PAIRS[random.below(PAIRS.len())];
            let words = params.option(&self.card(), "words") as usize;
            let depth = stratified_depth(seed, self.card().name, params.context, index);
            let at = (depth * words as f64) as usize;
            let target = Target { word: word.into(), changed: changed.into(), at, words };
            let mut case = short_case(self, params, index, request(&target), json!(target), tokens)?;
            case.depth = Some(depth);
            Ok(case.seal())
        };
        (0..params.samples).map(case).collect()
    }

    /// Quality is 1 - Levenshtein distance / larger length, both in words; a reply of more than four times the
    /// words asked for is compared up to there. `present`: the changed word is there; `right_index`: at its place;
    /// `length_ratio`: words of the reply by those asked for.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let target: Target = match read_target(case) {
            Ok(target) => target,
            Err(outcome) => return outcome,
        };
        let run = target.run();
        let answer = reply.answer();
        let said: Vec<&str> = answer.split_whitespace().collect();
        let compared: Vec<&str> = said.iter().copied().take(COMPARED * run.len().max(1)).collect();
        let distance = strsim::generic_levenshtein(&compared, &run) + (said.len() - compared.len());
        let longer = said.len().max(run.len()).max(1);
        let places: Vec<usize> =
            said.iter().enumerate().filter(|(_, word)| **word == target.changed).map(|(at, _)| at).collect();
        let flag = |set: bool| f64::from(u8::from(set));
        let score = Score::of((1.0 - distance as f64 / longer as f64).max(0.0))
            .with("present", flag(!places.is_empty()))
            .with("right_index", flag(places == [target.at]))
            .with("length_ratio", said.len() as f64 / run.len().max(1) as f64);
        Outcome::Scored(match error(&target, &said, &places, reply) {
            Some(label) => score.labelled(label),
            None => score,
        })
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target: Target = read_target(case).ok()?;
        Some(Reply { content: target.run().join(" "), ..Reply::default() })
    }
}

fn request(target: &Target) -> String {
    format!(
        "Repeat the following text exactly as it is, word for word, and write nothing else:\n\n{}",
        target.run().join(" ")
    )
}

/// The first of what went wrong.
fn error(target: &Target, said: &[&str], places: &[usize], reply: &Reply) -> Option<&'static str> {
    match () {
        () if said == target.run() => None,
        () if ran_out(reply) => Some("truncated"),
        () if places.is_empty() => Some("changed word lost"),
        () if places.len() > 1 => Some("changed word repeated"),
        () if places != [target.at] => Some("changed word moved"),
        () if said.len() != target.words => Some("wrong length"),
        () => Some("other words"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::FinishReason;
    use crate::task::testing::{WordCounter, params};

    fn case() -> Case {
        let mut params = params(2048, 1, None);
        params.options.insert("words".into(), 16);
        let mut case = RepeatedWords.cases(&params, 1, &WordCounter::default()).unwrap().remove(0);
        case.target = json!(Target { word: "apple".into(), changed: "apples".into(), at: 3, words: 8 });
        case
    }

    fn judged(content: &str) -> (f64, Option<String>) {
        let outcome = RepeatedWords.score(&case(), &Reply { content: content.into(), ..Reply::default() });
        let score = outcome.score().unwrap().clone();
        (score.quality.unwrap(), score.label.map(String::from))
    }

    const RIGHT: &str = "apple apple apple apples apple apple apple apple";

    #[test]
    fn only_the_very_run_is_right() {
        assert_eq!(judged(RIGHT), (1.0, None));
        assert_eq!(judged(&format!("\n{}  \n", RIGHT.replace(' ', "\n"))), (1.0, None));
        for (content, quality, label) in [
            ("", 0.0, "changed word lost"),
            ("apple apple apple apple apple apple apple apple", 0.875, "changed word lost"),
            ("apple apple apples apple apple apple apple apple", 0.75, "changed word moved"),
            ("apples apple apple apples apple apple apple apple", 0.875, "changed word repeated"),
            ("apple apple apple apples apple apple apple", 0.875, "wrong length"),
            ("apple apple apple apples apple pear apple apple", 0.875, "other words"),
        ] {
            assert_eq!(judged(content), (quality, Some(label.to_owned())), "{content}");
        }
    }

    #[test]
    fn a_reply_without_an_end_is_worth_little() {
        let reply = Reply {
            content: "apple ".repeat(800),
            finish_reason: Some(FinishReason::Length),
            ..Reply::default()
        };
        let outcome = RepeatedWords.score(&case(), &reply);
        let score = outcome.score().unwrap();
        assert!(score.quality.unwrap() <= 0.01, "{score:?}");
        assert_eq!(score.label.as_deref(), Some("truncated"));
        assert_eq!(score.metrics["length_ratio"], 100.0);
    }

    #[test]
    fn the_changed_word_lies_everywhere() {
        let mut at: Vec<usize> = RepeatedWords
            .cases(&params(2048, 8, None), 1, &WordCounter::default())
            .unwrap()
            .iter()
            .map(|case| read_target::<Target>(case).unwrap().at / 25)
            .collect();
        at.sort_unstable();
        assert_eq!(at, (0..8).collect::<Vec<_>>());
        assert!(PAIRS.iter().all(|(word, changed)| word != changed));
    }

    proptest! {
        #[test]
        fn any_reply_is_between_nothing_and_all(content in any::<String>()) {
            prop_assert!((0.0..=1.0).contains(&judged(&content).0));
        }
    }
}
