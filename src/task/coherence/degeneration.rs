//! Long free replies, and whether they fall apart: loops, repetition, broken characters, no end.
//!
//! Nothing here is right or wrong by itself: small models loop at full precision too. Every figure is set beside
//! the reference's on the same prompts.

use std::collections::BTreeMap;

use serde_json::Value;

use super::detect::{self, COMPRESSION_LIMIT};
use super::{option, ran_out, short_case, without_tokens};
use crate::error::Result;
use crate::record::{Case, Name, Outcome, Reply, Score};
use crate::task::random::Random;
use crate::task::{Card, Comparison, Figures, Needs, Params, Task, TaskOption, TokenCounter, Weight};

static OPTIONS: &[TaskOption] = &[option("tokens", "tokens generated a case, at most", 1024, 64, 65_536)];

/// What to write.
const FORMS: &[&str] = &[
    "a detailed travel guide to",
    "a long story, told by an old sailor, that takes place in",
    "a step-by-step manual for a newcomer who has to keep the accounts of",
    "a long dialogue between two friends who disagree about the future of",
    "a report to the council about everything that went wrong last year in",
    "a history, century by century, of",
    "a long letter home from somebody who has just moved to",
    "an encyclopedia article with many sections about",
];

/// What to write about.
const TOPICS: &[&str] = &[
    "a small harbour town on a cold coast",
    "a mountain railway and its stations",
    "a market where only second-hand things are sold",
    "an island with a single lighthouse",
    "a school for clockmakers",
    "a city that is flooded every spring",
    "a large public garden and its greenhouses",
    "a village that lives from making glass",
    "an old theatre and its travelling company",
    "a research station in the desert",
    "a bakery that never closes",
    "a library in which every book is a copy of another",
];

/// The task `coherence/degeneration`.
#[derive(Debug)]
pub struct Degeneration;

impl Task for Degeneration {
    fn card(&self) -> Card {
        Card {
            name: "coherence/degeneration",
            summary: "loops, repetition, broken characters and missing ends in long replies, beside the reference's rate",
            weight: Weight::Comparative,
            options: OPTIONS,
            needs: Needs { reads_tokens: true, ..Needs::SHORT },
            figures: &[
                "loop",
                "loop_start",
                "seq_rep_4",
                "distinct_2",
                "compression_ratio",
                "repetitive",
                "replacement_rate",
                "script_switch_rate",
                "no_eos",
                "output_tokens",
                "length_ratio",
            ],
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), "tokens")
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let case = |index| {
            let text = request(seed, index, self.max_tokens(params));
            short_case(self, params, index, text, Value::Null, tokens)
        };
        (0..params.samples).map(case).collect()
    }

    /// The figures of [`detect`], as far as the reply is long enough for them. `loop` (with `loop_start` in tokens and
    /// `loop_period`), `repetitive` (a compression ratio above 2.4) and `no_eos` are 0 or 1.
    fn score(&self, _: &Case, reply: &Reply) -> Outcome {
        if let Some(outcome) = without_tokens(reply) {
            return outcome;
        }
        let metrics = figures(reply);
        let label = label(&metrics);
        Outcome::Scored(Score { metrics: metrics.into(), label: label.map(Name::from), ..Score::default() })
    }

    fn comparison(&self) -> Comparison {
        Comparison::Figures(beside)
    }
}

/// How long the reply is beside the reference's.
fn beside(_: &Case, reply: &Reply, reference: &Reply) -> Option<Figures> {
    let (ours, theirs) = (reply.tokens.len(), reference.tokens.len());
    (theirs > 0).then(|| Figures::from([("length_ratio".to_owned(), ours as f64 / theirs as f64)]))
}

/// Another form and topic for every case, in an order of the seed's own.
fn request(seed: u64, index: u32, tokens: u32) -> String {
    let mut pairs: Vec<(&str, &str)> =
        FORMS.iter().flat_map(|form| TOPICS.iter().map(move |topic| (*form, *topic))).collect();
    Random::of_task(seed, "coherence/degeneration").shuffle(&mut pairs);
    let (form, topic) = pairs[index as usize % pairs.len()];
    // A word has more than one token: the reply is meant to reach its budget's end, or to end shortly before.
    let words = tokens * 3 / 4;
    format!(
        "Write {form} {topic}. Invent whatever you need, do not repeat yourself, and keep to plain English text. \
         Write about {words} words, then stop."
    )
}

fn figures(reply: &Reply) -> BTreeMap<String, f64> {
    let text = reply.text();
    let found = detect::trailing_loop(&reply.tokens);
    let flag = |set: bool| f64::from(u8::from(set));
    let compression = detect::compression_ratio(&text);
    let figures = [
        ("loop", Some(flag(found.is_some()))),
        ("loop_start", found.map(|found| found.start as f64)),
        ("loop_period", found.map(|found| found.period as f64)),
        ("seq_rep_4", detect::seq_rep(&reply.tokens, 4)),
        ("distinct_1", detect::distinct(&reply.tokens, 1)),
        ("distinct_2", detect::distinct(&reply.tokens, 2)),
        ("compression_ratio", compression),
        ("repetitive", compression.map(|ratio| flag(ratio > COMPRESSION_LIMIT))),
        ("replacement_rate", detect::replacement_rate(&text)),
        ("script_switch_rate", detect::script_switch_rate(&text)),
        ("no_eos", reply.finish_reason.is_some().then(|| flag(ran_out(reply)))),
        ("output_tokens", Some(reply.tokens.len() as f64)),
    ];
    figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// The gravest thing that was found.
fn label(metrics: &BTreeMap<String, f64>) -> Option<&'static str> {
    let above = |name: &str| metrics.get(name).is_some_and(|value| *value > 0.0);
    ["loop", "repetitive", "replacement_rate"]
        .into_iter()
        .find(|name| above(name))
        .map(|name| if name == "replacement_rate" { "broken characters" } else { name })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::record::FinishReason;
    use crate::task::testing::{WordCounter, params};

    fn case() -> Case {
        Degeneration.cases(&params(2048, 1, None), 1, &WordCounter::default()).unwrap().remove(0)
    }

    fn judged(content: &str, tokens: Vec<u32>, finish: FinishReason) -> Score {
        let reply =
            Reply { content: content.into(), tokens, finish_reason: Some(finish), ..Reply::default() };
        Degeneration.score(&case(), &reply).score().unwrap().clone()
    }

    #[test]
    fn a_loop_without_an_end_is_seen_as_both() {
        let score = judged(&"again and ".repeat(200), [1, 2].repeat(200), FinishReason::Length);
        assert_eq!(score.label.as_deref(), Some("loop"));
        let figure = |name: &str| score.metrics[name];
        assert_eq!((figure("loop"), figure("loop_start"), figure("no_eos")), (1.0, 0.0, 1.0));
        assert!(figure("repetitive") == 1.0 && figure("seq_rep_4") > 0.9);
        assert_eq!(score.quality, None);
    }

    #[test]
    fn a_sound_reply_has_nothing() {
        let score = judged("The harbour lies between two cliffs.", (0..300).collect(), FinishReason::Stop);
        assert_eq!(score.label, None);
        for name in ["loop", "repetitive", "replacement_rate", "script_switch_rate", "no_eos", "seq_rep_4"] {
            assert_eq!(score.metrics[name], 0.0, "{name}");
        }
        assert!(!score.metrics.contains_key("loop_start"));
    }

    #[test]
    fn broken_characters_are_named() {
        let score = judged("The \u{fffd}\u{fffd} harbour", vec![1, 2, 3], FinishReason::Stop);
        assert_eq!(score.label.as_deref(), Some("broken characters"));
    }

    #[test]
    fn lengths_are_compared_with_the_reference() {
        let reply = |n| Reply { content: "x".into(), tokens: vec![1; n], ..Reply::default() };
        let figures = beside(&case(), &reply(50), &reply(100)).unwrap();
        assert_eq!(figures["length_ratio"], 0.5);
        assert_eq!(beside(&case(), &reply(50), &reply(0)), None);
    }

    #[test]
    fn prompts_differ() {
        let all: BTreeSet<String> = (0..96).map(|index| request(3, index, 1024)).collect();
        assert_eq!(all.len(), 96);
    }

    #[test]
    fn every_figure_of_the_report_exists() {
        let mut known = figures(&Reply {
            content: "a b ".repeat(200),
            tokens: [1, 2].repeat(200),
            finish_reason: Some(FinishReason::Stop),
            ..Reply::default()
        });
        known.insert("length_ratio".into(), 1.0);
        for name in Degeneration.card().figures {
            assert!(known.contains_key(*name), "{name}");
        }
    }
}
