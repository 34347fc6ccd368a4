//! Needles in a haystack, equivalent to RULER's `niah_*` in structure and parameters (Hsieh et al. 2024,
//! arXiv 2404.06654; NVIDIA/RULER, Apache-2.0): its words and sentences are not used, ours are.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::record::{Case, Message, Mode, Outcome, Prompt, Reply, Score};
use crate::task::fitting::{Draft, Piece};
use crate::task::{Card, Harder, Needs, TaskOption, Weight};

use super::haystack::{Haystack, HaystackKind, insert, place};
use super::matching::{all_answers, answers, judged, plain_error, target, target_at};
use super::needles::{Needle, Needles, ValueKind};
use super::{
    About, CaseDraft, Closed, Draw, Retrieval, THINKING, conversation, option, output_tokens, tuned,
};

/// Fewest units of haystack that still make a haystack.
const MIN_UNITS: usize = 3;
/// RULER's output budget (tokens).
const OUTPUT: u32 = 128;
/// Digits of a number, characters of a code.
const NUMBER_LENGTH: usize = 7;
const CODE_LENGTH: usize = 36;
/// Values of a reply that are looked up in the prompt when the answer is not among them.
const VALUES_READ: usize = 64;

const ANSWER: TaskOption =
    output_tokens(OUTPUT, "output budget in tokens (128 is RULER's; a plain chat model needs some 20)");
const NEEDLES: TaskOption =
    tuned(option("needles", "needles in the text (4 is RULER's; more is harder)", 4, 1, 32), Harder::Larger);
static ONE: &[TaskOption] = &[ANSWER, THINKING];
static SEVERAL: &[TaskOption] = &[ANSWER, THINKING, NEEDLES];

/// What every variant is unless it says otherwise: one needle in prose, a number for two words.
const PLAIN: Niah = Niah {
    name: "",
    summary: "",
    weight: Weight::Primary,
    haystack: HaystackKind::Prose,
    key: ValueKind::Words,
    value: ValueKind::Number,
    asked: Asked::One,
};

/// One needle among sentences that say nothing: a sanity check.
pub static SINGLE_1: Niah = Niah {
    name: "retrieval/niah_single_1",
    summary: "one key in noise is still found at every depth (sanity check, catches truncation)",
    weight: Weight::Sanity,
    haystack: HaystackKind::Noise,
    ..PLAIN
};

/// One needle in prose: a sanity check.
pub static SINGLE_2: Niah = Niah {
    name: "retrieval/niah_single_2",
    summary: "one key in prose is still found at every depth (sanity check)",
    weight: Weight::Sanity,
    ..PLAIN
};

/// One needle in prose with a long value: a sanity check.
pub static SINGLE_3: Niah = Niah {
    name: "retrieval/niah_single_3",
    summary: "a UUID in prose is still copied right (sanity check)",
    weight: Weight::Sanity,
    value: ValueKind::Code,
    ..PLAIN
};

/// One needle in prose among a few with other keys: a sanity check.
pub static MULTIKEY_1: Niah = Niah {
    name: "retrieval/niah_multikey_1",
    summary: "a key in prose is told from three others (sanity check)",
    weight: Weight::Sanity,
    asked: Asked::OneOf,
    ..PLAIN
};

/// One needle among needles with other keys.
pub static MULTIKEY_2: Niah = Niah {
    name: "retrieval/niah_multikey_2",
    summary: "keys are not confused when every line of the context is a key with a number",
    haystack: HaystackKind::Needles,
    ..PLAIN
};

/// One needle among needles, keys and values UUIDs.
pub static MULTIKEY_3: Niah = Niah {
    name: "retrieval/niah_multikey_3",
    summary: "keys are not confused when every line of the context is a UUID with a UUID",
    haystack: HaystackKind::Needles,
    key: ValueKind::Code,
    value: ValueKind::Code,
    ..PLAIN
};

/// One key with several values in prose.
pub static MULTIVALUE: Niah = Niah {
    name: "retrieval/niah_multivalue",
    summary: "all values of a key are recalled, wherever they stand",
    asked: Asked::ValuesOfOne,
    ..PLAIN
};

/// Several keys in prose, all asked for at once.
pub static MULTIQUERY: Niah = Niah {
    name: "retrieval/niah_multiquery",
    summary: "the values of several keys are recalled at once",
    asked: Asked::All,
    ..PLAIN
};

/// Which of the needles a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The only one.
    One,
    /// One of several keys.
    OneOf,
    /// The values of one key.
    ValuesOfOne,
    /// Several keys.
    All,
}

/// A variant of the family.
#[derive(Debug)]
pub struct Niah {
    name: &'static str,
    summary: &'static str,
    weight: Weight,
    haystack: HaystackKind,
    key: ValueKind,
    value: ValueKind,
    asked: Asked,
}

impl Retrieval for Niah {
    fn about(&self) -> About {
        About {
            card: Card {
                name: self.name,
                summary: self.summary,
                version: 2,
                weight: self.weight,
                options: if self.asked == Asked::One { ONE } else { SEVERAL },
                needs: Needs {
                    takes_text: self.haystack == HaystackKind::Prose,
                    closed_answer: true,
                    questions: if self.asked == Asked::OneOf || self.haystack == HaystackKind::Needles {
                        NEEDLES.max
                    } else {
                        1
                    },
                    ..Needs::LONG
                },
                ..Card::PRIMARY
            },
            prefill: Some(OUTPUT),
        }
    }

    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a> {
        Box::new(NeedleCase::new(self, draw))
    }

    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        Ok(judged(case, reply, |text, quality| self.error_label(case, text, quality)))
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        Some(all_answers(case))
    }
}

/// A case whose length is not decided yet.
struct NeedleCase<'a> {
    noun: &'static str,
    asked: Asked,
    mode: Mode,
    kind: HaystackKind,
    /// Most units of haystack.
    max: usize,
    /// Number of the needle that is asked for, where one is.
    asking: usize,
    /// Those asked for first.
    needles: Vec<Needle>,
    /// Where each of them goes.
    depths: Vec<f64>,
    /// Further keys and values.
    others: Needles,
    haystack: Haystack<'a>,
    text_hash: Option<String>,
}

impl<'a> NeedleCase<'a> {
    fn new(niah: &Niah, draw: &Draw<'a>) -> Self {
        let mut others = Needles::new(draw.random(""), niah.key, niah.value);
        let mut needles = vec![others.draw()];
        let count = if niah.asked == Asked::One { 1 } else { draw.option(NEEDLES.name) };
        // Each question asks for a needle of its own.
        let count = count.max(draw.params.questions);
        for _ in 1..count {
            needles.push(match niah.asked {
                Asked::ValuesOfOne => others.with_key(needles[0].key.clone()),
                _ => others.draw(),
            });
        }
        let depths = (0..count).map(|needle| {
            // Every needle is spread over the cases by itself.
            draw.depth(&if needle == 0 { String::new() } else { format!("#{needle}") })
        });
        Self {
            noun: niah.value.noun(),
            asked: niah.asked,
            mode: draw.params.mode,
            kind: niah.haystack,
            max: niah.haystack.max_units(niah.key, draw.text),
            asking: 0,
            depths: depths.collect(),
            needles,
            others,
            haystack: Haystack::new(niah.haystack, draw.random("#text"), draw.text),
            text_hash: draw.params.text.as_ref().map(|source| source.hash.clone()),
        }
    }

    /// The needles whose values are the answer.
    fn wanted(&self) -> &[Needle] {
        match self.asked {
            Asked::One | Asked::OneOf => &self.needles[self.asking..=self.asking],
            Asked::ValuesOfOne | Asked::All => &self.needles,
        }
    }

    fn wording(&self) -> (&'static str, String) {
        let (noun, keys) = (self.noun, self.keys());
        match self.wanted() {
            [_] => (
                "It states a secret {noun} for a name, and you will be asked for it.",
                format!("What is the secret {noun} for {keys}? Answer with the {noun} only."),
            ),
            _ => (
                "It states secret {noun}s for names, and you will be asked for some of them.",
                format!("What are all the secret {noun}s for {keys}? Answer with the {noun}s only."),
            ),
        }
    }

    /// The keys asked for, as a sentence names them.
    fn keys(&self) -> String {
        let mut keys: Vec<&str> = self.wanted().iter().map(|needle| needle.key.as_str()).collect();
        keys.dedup();
        match keys.as_slice() {
            [front @ .., last] if !front.is_empty() => format!("{} and {last}", front.join(", ")),
            _ => keys.concat(),
        }
    }

    fn began(&self) -> String {
        let (noun, keys) = (self.noun, self.keys());
        match self.wanted() {
            [_] => format!("The secret {noun} for {keys} is"),
            _ => format!("The secret {noun}s for {keys} are"),
        }
    }
}

impl Draft for NeedleCase<'_> {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        let placed = self.needles.iter().zip(&self.depths);
        let mut placed: Vec<(usize, String)> =
            placed.map(|(needle, depth)| (place(*depth, units), needle.sentence())).collect();
        placed.sort_by_key(|(place, _)| *place);
        let units = self.haystack.units(units, &mut self.others);
        let text = insert(units, &placed, self.kind.separator());
        let (purpose, question) = self.wording();
        let purpose = purpose.replace("{noun}", self.noun);
        let prompt = format!("Read the text below. {purpose}\n\n{text}\n\n{question}");
        conversation(prompt, self.mode, || self.began())
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.haystack.piece(from, to, self.kind.separator(), &mut self.others)
    }
}

impl CaseDraft for NeedleCase<'_> {
    fn units(&self) -> RangeInclusive<usize> {
        MIN_UNITS..=self.max
    }

    fn depth(&self, units: usize) -> Option<f64> {
        let one = self.wanted().len() == 1;
        one.then(|| place(self.depths[self.asking], units) as f64 / units as f64)
    }

    fn target(&self, units: usize) -> Value {
        let values = self.wanted().iter().map(|needle| needle.value.clone()).collect();
        let places = self.depths.iter().map(|depth| place(*depth, units) as f64 / units as f64);
        let mut target = match self.wanted() {
            [_] => target(values),
            _ => target_at(values, &places.collect::<Vec<_>>()),
        };
        if let Some(hash) = &self.text_hash {
            target["text"] = hash.as_str().into();
        }
        target
    }

    fn ask(&mut self, question: u32) {
        self.asking = (question as usize).min(self.needles.len() - 1);
    }

    fn question(&self) -> String {
        self.wording().1
    }

    fn closed(&self, units: usize) -> Option<Closed> {
        let wanted = self.wanted();
        if let [needle] = wanted {
            return Some(Closed::one(self.began(), &needle.value));
        }
        let place = |depth: &f64| place(*depth, units) as f64 / units as f64;
        let answers =
            wanted.iter().zip(&self.depths).map(|(needle, depth)| (needle.value.as_str(), place(depth)));
        Some(Closed::listed(&self.began(), &answers.collect::<Vec<_>>()))
    }
}

impl Niah {
    /// What kind of error an answer is.
    fn error_label(&self, case: &Case, text: &str, quality: f64) -> &'static str {
        let answers = answers(&case.target);
        let values = values_in(text, self.value);
        if values.iter().any(|value| !answers.contains(value) && prompt_holds(case, value)) {
            "other_needle"
        } else if quality > 0.0 || text.contains(|c: char| c.is_ascii_digit()) {
            plain_error(quality)
        } else if self.value == ValueKind::Code {
            "no_code"
        } else {
            "no_number"
        }
    }
}

/// The first parts of a text that have the form of a value.
fn values_in(text: &str, kind: ValueKind) -> Vec<String> {
    let (length, inside): (usize, fn(char) -> bool) = match kind {
        ValueKind::Code => (CODE_LENGTH, |c| c.is_ascii_hexdigit() || c == '-'),
        ValueKind::Number | ValueKind::Words => (NUMBER_LENGTH, |c| c.is_ascii_digit()),
    };
    let parts = text.split(|c| !inside(c)).filter(|part| part.len() == length);
    parts.take(VALUES_READ).map(str::to_ascii_lowercase).collect()
}

fn prompt_holds(case: &Case, value: &str) -> bool {
    match &case.prompt {
        Prompt::Chat { messages, .. } => messages.iter().any(|message| message.content.contains(value)),
        Prompt::Distributions { .. } => false,
    }
}

#[cfg(test)]
mod tests;
