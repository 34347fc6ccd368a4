//! Find the most common words of a long list, equivalent to RULER's `cwe` in structure and parameters (Hsieh
//! et al. 2024, arXiv 2404.06654; NVIDIA/RULER, Apache-2.0): its words and sentences are not used, ours are.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::record::{Case, Message, Mode, Outcome, Reply, Score};
use crate::task::fitting::{Draft, Piece};
use crate::task::random::Random;
use crate::task::words::NOUNS;
use crate::task::{Card, Needs, Params, TaskOption};

use super::closed::Closed;
use super::matching::{all_answers, judged, plain_error, target};
use super::{About, CaseDraft, Draw, Retrieval, THINKING, conversation, output_tokens};

/// Fewest other words.
const MIN_UNITS: usize = 5;
/// Most other words; there are 28,900 compounds.
const MAX_UNITS: usize = 20_000;
/// Output budgets (tokens): ours in chat mode, RULER's where the answer is begun for the model.
const OUTPUT: u32 = 192;
const PREFILL_OUTPUT: u32 = 120;
/// Context lengths (tokens) below which lists are smaller.
const LONG_CONTEXT: u32 = 4096;
const SHORT_CONTEXT: u32 = 1024;

static OPTIONS: &[TaskOption] = &[
    output_tokens(
        OUTPUT,
        "output budget in tokens (in prefill mode 120 unless set, as RULER's; below 1,024 tokens of context half \
         of either, for fewer words are asked for)",
    ),
    THINKING,
];

/// How lists are made at a context length.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Common words: those that are asked for.
    common: usize,
    repeats: Repeats,
    /// How often the words of the worked example come, and how many of these are not common.
    example: Repeats,
    example_others: usize,
}

/// RULER's parameters; its worked example has 40 words.
const LONG: Shape = Shape {
    common: 10,
    repeats: Repeats { common: 30, other: 3 },
    example: Repeats { common: 3, other: 1 },
    example_others: 10,
};
/// RULER's for short contexts.
const SHORT: Shape = Shape { repeats: Repeats { common: 6, other: 1 }, ..LONG };
/// Ours, where RULER's example alone would take half of the context.
const SHORTEST: Shape =
    Shape { common: 4, example: Repeats { common: 2, other: 1 }, example_others: 2, ..SHORT };

impl Shape {
    const fn of(context: u32) -> Self {
        match context {
            LONG_CONTEXT.. => LONG,
            SHORT_CONTEXT.. => SHORT,
            _ => SHORTEST,
        }
    }
}

/// A numbered list of words, a few of which are common.
#[derive(Debug)]
pub struct CommonWords;

impl Retrieval for CommonWords {
    fn about(&self) -> About {
        About {
            card: Card {
                name: "retrieval/common_words",
                summary: "the most common words of a list are found (aggregation over all of the context)",
                version: 2,
                options: OPTIONS,
                needs: Needs { closed_answer: true, ..Needs::LONG },
                ..Card::PRIMARY
            },
            prefill: Some(PREFILL_OUTPUT),
        }
    }

    fn answer_tokens(&self, params: &Params) -> u32 {
        let usual = if params.mode == Mode::Prefill { PREFILL_OUTPUT } else { OUTPUT };
        if params.context < SHORT_CONTEXT { usual / 2 } else { usual }
    }

    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a> {
        Box::new(WordList::new(draw))
    }

    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        Ok(judged(case, reply, |_, quality| plain_error(quality)))
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        Some(all_answers(case))
    }
}

/// How often words come.
#[derive(Debug, Clone, Copy)]
struct Repeats {
    common: usize,
    other: usize,
}

/// Compounds such as `bellroof`, none of them twice.
struct Compounds {
    random: Random,
    used: BTreeSet<String>,
    /// Words that are answers: none may stand inside another word, or naming that one would count.
    answers: Vec<String>,
}

impl Compounds {
    fn answer(&mut self) -> String {
        let word = loop {
            let word = self.word();
            if !self.used.iter().any(|other| *other != word && other.contains(&word)) {
                break word;
            }
        };
        self.answers.push(word.clone());
        word
    }

    fn word(&mut self) -> String {
        loop {
            let word = format!("{}{}", self.random.pick(NOUNS), self.random.pick(NOUNS));
            let clash = self.answers.iter().any(|answer| word.contains(answer.as_str()));
            if !clash && self.used.insert(word.clone()) {
                return word;
            }
        }
    }
}

/// A case whose length is not decided yet: one unit is one word that is not common.
struct WordList {
    mode: Mode,
    shape: Shape,
    common: Vec<String>,
    others: Vec<String>,
    words: Compounds,
    /// Where the order of the list comes from; the same for every try.
    order: Random,
    example: String,
}

impl WordList {
    fn new(draw: &Draw<'_>) -> Self {
        let shape = Shape::of(draw.params.context);
        let mut words = Compounds { random: draw.random(""), used: BTreeSet::new(), answers: Vec::new() };
        let mut answers = || (0..shape.common).map(|_| words.answer()).collect::<Vec<_>>();
        let (common, known) = (answers(), answers());
        let fillers: Vec<String> = (0..shape.example_others).map(|_| words.word()).collect();
        let list = numbered(&shuffled(&known, &fillers, shape.example, &mut draw.random("#example")));
        Self {
            mode: draw.params.mode,
            shape,
            common,
            others: Vec::new(),
            words,
            order: draw.random("#order"),
            example: format!("{list}\n\nAnswer: {}", known.join(", ")),
        }
    }

    fn began(&self) -> String {
        format!("Answer: The {} words that come most often are", self.shape.common)
    }

    fn others(&mut self, units: usize) -> &[String] {
        while self.others.len() < units {
            self.others.push(self.words.word());
        }
        &self.others[..units]
    }
}

/// Every word as often as it comes, in a random order.
fn shuffled<'a>(
    common: &'a [String],
    others: &'a [String],
    repeats: Repeats,
    order: &mut Random,
) -> Vec<&'a str> {
    let repeated = |words: &'a [String], times: usize| {
        words.iter().flat_map(move |word| std::iter::repeat_n(word.as_str(), times))
    };
    let mut list: Vec<&str> =
        repeated(common, repeats.common).chain(repeated(others, repeats.other)).collect();
    order.shuffle(&mut list);
    list
}

/// `1. first 2. second ..`
fn numbered(words: &[&str]) -> String {
    let items: Vec<String> =
        words.iter().zip(1..).map(|(word, number)| format!("{number}. {word}")).collect();
    items.join(" ")
}

impl Draft for WordList {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        self.others(units);
        let list = shuffled(&self.common, &self.others[..units], self.shape.repeats, &mut self.order.clone());
        let (example, list, asked) = (&self.example, numbered(&list), self.shape.common);
        let prompt = format!(
            "Below is a numbered list of words. Some of them come often, the others come seldom. Find the {asked} words \
             that come most often. Here is an example.\n\nList:\n{example}\n\nNow the list that you are asked about.\n\n\
             List:\n{list}\n\nQuestion: Which {asked} words come most often in this list? Answer with the words only."
        );
        conversation(prompt, self.mode, || self.began())
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        let Repeats { common, other } = self.shape.repeats;
        let before = self.shape.common * common + from * other;
        let lead = format!("{before}. {}", self.common[0]);
        let words = self.others(to)[from..].iter().flat_map(|word| std::iter::repeat_n(word, other));
        let added = words.zip(before + 1..).map(|(word, number)| format!(" {number}. {word}")).collect();
        Piece { lead, added }
    }
}

impl CaseDraft for WordList {
    fn units(&self) -> RangeInclusive<usize> {
        MIN_UNITS..=MAX_UNITS
    }

    fn target(&self, _: usize) -> Value {
        target(self.common.clone())
    }

    fn closed(&self, _: usize) -> Option<Closed> {
        let words: Vec<(&str, Option<f64>)> = self.common.iter().map(|word| (word.as_str(), None)).collect();
        Some(Closed::enclosed(&self.began(), "", &words))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::record::Prompt;
    use crate::task::Task;
    use crate::task::retrieval::answers;
    use crate::task::testing::{WordCounter, params};

    /// Counts of the words of the example's list and of the real one.
    fn counts(case: &Case) -> Vec<BTreeMap<String, usize>> {
        let Prompt::Chat { messages, .. } = &case.prompt else { return Vec::new() };
        let lists = messages[0].content.split("List:\n").skip(1);
        let lists = lists.map(|part| part.split("\n\n").next().unwrap());
        let count = |list: &str| {
            let mut counts = BTreeMap::new();
            for (at, word) in list.split(' ').enumerate() {
                if at % 2 == 0 {
                    assert_eq!(word, format!("{}.", at / 2 + 1));
                } else {
                    *counts.entry(word.to_owned()).or_default() += 1;
                }
            }
            counts
        };
        lists.map(count).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn counting_finds_the_same_words(seed: u64, context in prop::sample::select(vec![512, 1024, 2048, 4096])) {
            let Shape { common, repeats, example, example_others } = Shape::of(context);
            for case in CommonWords.cases(&params(context, 2, None), seed, &WordCounter::default()).unwrap() {
                let counts = counts(&case);
                prop_assert_eq!(counts.len(), 2);
                let words = common * example.common + example_others * example.other;
                prop_assert_eq!(counts[0].values().sum::<usize>(), words);
                let gold: BTreeSet<String> = answers(&case.target).into_iter().collect();
                prop_assert_eq!(gold.len(), common);
                for (word, count) in &counts[1] {
                    let expected = if gold.contains(word) { repeats.common } else { repeats.other };
                    prop_assert_eq!(*count, expected, "{}", word);
                    // No answer hides inside another word, in the example's list neither.
                    prop_assert!(!counts[0].contains_key(word));
                }
                for other in counts.iter().flat_map(BTreeMap::keys).filter(|word| !gold.contains(*word)) {
                    prop_assert!(!gold.iter().any(|answer| other.contains(answer.as_str())), "{}", other);
                }
            }
        }
    }

    #[test]
    fn the_examples_answer_is_no_answer() {
        let case = &CommonWords.cases(&params(2048, 1, None), 1, &WordCounter::default()).unwrap()[0];
        let known: Vec<String> =
            counts(case)[0].iter().filter(|(_, count)| **count > 1).map(|(word, _)| word.clone()).collect();
        assert_eq!(known.len(), SHORT.common);
        let reply = Reply { content: known.join(", "), ..Reply::default() };
        let outcome = CommonWords.score(case, &reply);
        let score = outcome.score().unwrap();
        assert_eq!((score.quality, score.label.as_deref()), (Some(0.0), Some("wrong")));
    }

    #[test]
    fn every_context_from_512_tokens_on_has_a_case_in_both_modes() {
        for mode in [Mode::Chat, Mode::Prefill] {
            for context in [512, 600, 1023, 1024, 4095, 4096] {
                let params = Params { mode, ..params(context, 4, None) };
                for case in CommonWords.cases(&params, 9, &WordCounter::default()).unwrap() {
                    let used = case.prompt_tokens + case.max_tokens;
                    assert!(used <= context && context - used < 20, "{used} of {context}");
                    // Other words outnumber those that are asked for.
                    let others = counts(&case)[1].len() - answers(&case.target).len();
                    assert!(others > answers(&case.target).len(), "{others} others at {context}");
                }
            }
        }
    }

    #[test]
    fn the_published_parameters_are_rulers() {
        let Shape { common, repeats, example, example_others } = LONG;
        assert_eq!((common, repeats.common, repeats.other), (10, 30, 3));
        assert_eq!(common * example.common + example_others * example.other, 40);
        assert_eq!((SHORT.common, SHORT.repeats.common, SHORT.repeats.other), (10, 6, 1));
    }
}
