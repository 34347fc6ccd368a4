//! Follow assignments from variable to variable, equivalent to RULER's `vt` in structure and parameters (Hsieh
//! et al. 2024, arXiv 2404.06654; NVIDIA/RULER, Apache-2.0): its sentences are not used, ours are.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::Value;

use crate::record::{Case, Message, Mode, Outcome, Reply, Score};
use crate::task::fitting::{Draft, Piece};
use crate::task::random::Random;
use crate::task::{Card, Harder, Needs, TaskOption};

use super::haystack::{Haystack, HaystackKind, insert, place};
use super::matching::{all_answers, judged, plain_error, target_at};
use super::needles::{Needles, ValueKind};
use super::{
    About, CaseDraft, Closed, Draw, Retrieval, THINKING, conversation, option, output_tokens, tuned,
};

/// Fewest sentences of noise.
const MIN_UNITS: usize = 3;
/// Sentences of noise in the worked example.
const EXAMPLE_UNITS: usize = 10;
/// RULER's output budget (tokens), where the answer is begun for the model.
const PREFILL_OUTPUT: u32 = 30;
const NAME_LETTERS: usize = 5;

static OPTIONS: &[TaskOption] = &[
    output_tokens(96, "output budget in tokens (in prefill mode 30 unless set, as RULER's)"),
    THINKING,
    tuned(
        option(
            "hops",
            "assignments from variable to variable in a chain (4 is RULER's; more is harder)",
            4,
            1,
            16,
        ),
        Harder::Larger,
    ),
    tuned(
        option(
            "chains",
            "chains in the text, one of which is asked for (1 is RULER's; more is harder)",
            1,
            1,
            8,
        ),
        Harder::Larger,
    ),
];

/// One chain of variables through the whole context.
#[derive(Debug)]
pub struct VariableTracking;

impl Retrieval for VariableTracking {
    fn about(&self) -> About {
        About {
            card: Card {
                name: "retrieval/variable_tracking",
                summary: "a chain of assignments is followed over the whole context (multi-hop)",
                options: OPTIONS,
                needs: Needs { closed_answer: true, ..Needs::LONG },
                ..Card::PRIMARY
            },
            prefill: Some(PREFILL_OUTPUT),
        }
    }

    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a> {
        Box::new(Chase::new(draw))
    }

    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        Ok(judged(case, reply, |_, quality| plain_error(quality)))
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        Some(all_answers(case))
    }
}

/// Variables that all have one value, each assigned from the one before.
#[derive(Debug, Clone)]
struct Chain {
    names: Vec<String>,
    value: u32,
}

impl Chain {
    /// The assignments in order.
    fn statements(&self) -> Vec<String> {
        let first = format!("VAR {} = {}.", self.names[0], self.value);
        let later = self.names.windows(2).map(|pair| format!("VAR {} = VAR {}.", pair[1], pair[0]));
        std::iter::once(first).chain(later).collect()
    }

    fn question(&self) -> String {
        format!("Question: Which variables have the value {}?", self.value)
    }
}

/// Chains whose names and values are never used twice.
struct Chains {
    random: Random,
    names: BTreeSet<String>,
    values: BTreeSet<u32>,
}

impl Chains {
    fn draw(&mut self, hops: u32) -> Chain {
        let names = (0..=hops).map(|_| self.name()).collect();
        let value = loop {
            let value = self.random.between(10_000, 99_999);
            if self.values.insert(value) {
                break value;
            }
        };
        Chain { names, value }
    }

    fn name(&mut self) -> String {
        loop {
            let letters = (0..NAME_LETTERS).map(|_| char::from(b'A' + self.random.below(26) as u8));
            let name: String = letters.collect();
            if self.names.insert(name.clone()) {
                return name;
            }
        }
    }
}

/// A case whose length is not decided yet.
struct Chase {
    mode: Mode,
    /// The one asked for first.
    chains: Vec<Chain>,
    /// Where the statements of each chain go, ascending.
    depths: Vec<Vec<f64>>,
    example: String,
    haystack: Haystack<'static>,
    needles: Needles,
}

impl Chase {
    fn new(draw: &Draw<'_>) -> Self {
        let mut source = Chains { random: draw.random(""), names: BTreeSet::new(), values: BTreeSet::new() };
        let hops = draw.option("hops");
        let count = draw.option("chains");
        let chains: Vec<Chain> = (0..count).map(|_| source.draw(hops)).collect();
        let depths = (0..count).map(|chain| {
            let mut depths: Vec<f64> = (0..=hops).map(|hop| draw.depth(&format!("#{chain}.{hop}"))).collect();
            depths.sort_by(f64::total_cmp);
            depths
        });
        let depths = depths.collect();
        let mut needles = Needles::new(source.random.clone(), ValueKind::Words, ValueKind::Number);
        let mut haystack = Haystack::new(HaystackKind::Noise, source.random.clone(), None);
        let example = example(&mut source, hops, haystack.units(EXAMPLE_UNITS, &mut needles));
        Self { mode: draw.params.mode, chains, depths, example, haystack, needles }
    }

    fn asked(&self) -> &Chain {
        &self.chains[0]
    }

    fn began(&self) -> String {
        let Chain { names, value } = self.asked();
        format!("Answer: The {} variables with the value {value} are", names.len())
    }
}

/// A worked example: a short text with a chain of its own, the question, the answer.
fn example(source: &mut Chains, hops: u32, units: &[String]) -> String {
    let chain = source.draw(hops);
    let mut places: Vec<usize> = chain.names.iter().map(|_| source.random.below(units.len() + 1)).collect();
    places.sort_unstable();
    let placed: Vec<(usize, String)> = places.into_iter().zip(chain.statements()).collect();
    let text = insert(units, &placed, HaystackKind::Noise.separator());
    format!("{text}\n\n{}\nAnswer: {}", chain.question(), chain.names.join(", "))
}

impl Draft for Chase {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        let chains = self.chains.iter().zip(&self.depths);
        let mut placed: Vec<(usize, String)> = chains
            .flat_map(|(chain, depths)| {
                depths.iter().map(|depth| place(*depth, units)).zip(chain.statements())
            })
            .collect();
        // Stable: assignments in one place stay in their order.
        placed.sort_by_key(|(place, _)| *place);
        let text =
            insert(self.haystack.units(units, &mut self.needles), &placed, HaystackKind::Noise.separator());
        let (example, question) = (&self.example, self.asked().question());
        let prompt = format!(
            "Among other sentences, the text below gives values to variables. A variable may get its value from \
             another variable. Here is an example.\n\nText:\n{example}\n\nNow the text that you are asked about.\n\n\
             Text:\n{text}\n\n{question} Answer with all their names only."
        );
        conversation(prompt, self.mode, || self.began())
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.haystack.piece(from, to, HaystackKind::Noise.separator(), &mut self.needles)
    }
}

impl CaseDraft for Chase {
    fn units(&self) -> RangeInclusive<usize> {
        MIN_UNITS..=HaystackKind::Noise.max_units(ValueKind::Words, None)
    }

    fn target(&self, units: usize) -> Value {
        let depths = self.depths[0].iter().map(|depth| place(*depth, units) as f64 / units as f64);
        target_at(self.asked().names.clone(), &depths.collect::<Vec<_>>())
    }

    fn closed(&self, units: usize) -> Option<Closed> {
        let names = self.asked().names.iter().zip(&self.depths[0]);
        let named: Vec<(&str, f64)> =
            names.map(|(name, depth)| (name.as_str(), place(*depth, units) as f64 / units as f64)).collect();
        Some(Closed::listed(&self.began(), &named))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::Prompt;
    use crate::task::retrieval::answers;
    use crate::task::testing::{WordCounter, params};
    use crate::task::{Params, Task};

    fn cases(params: &Params, seed: u64) -> Vec<Case> {
        VariableTracking.cases(params, seed, &WordCounter::default()).unwrap()
    }

    /// Example and text, each with its question.
    fn texts(case: &Case) -> Vec<(String, String)> {
        let Prompt::Chat { messages, .. } = &case.prompt else { return Vec::new() };
        let parts = messages[0].content.split("Text:\n").skip(1);
        let parts = parts.filter_map(|part| part.split_once("\n\nQuestion: "));
        parts.map(|(text, question)| (text.to_owned(), question.to_owned())).collect()
    }

    /// All variables with a value, by going over the assignments in the order of the text.
    fn solve(text: &str, value: &str) -> BTreeSet<String> {
        let words: Vec<&str> = text.split([' ', '.']).filter(|word| !word.is_empty()).collect();
        let mut known: Vec<(&str, &str)> = Vec::new();
        for at in 0..words.len() {
            if let ["VAR", name, "=", right, ..] = &words[at..] {
                let value = match *right {
                    "VAR" => known.iter().find(|(other, _)| *other == words[at + 4]).unwrap().1,
                    number => number,
                };
                known.push((name, value));
            }
        }
        known.iter().filter(|(_, held)| *held == value).map(|(name, _)| (*name).to_owned()).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_solver_finds_the_same_variables(seed: u64, hops in 1_u32..8, chains in 1_u32..5) {
            let mut params = params(2048, 2, None);
            params.options.insert("hops".into(), hops);
            params.options.insert("chains".into(), chains);
            for case in cases(&params, seed) {
                let gold: BTreeSet<String> = answers(&case.target).into_iter().collect();
                prop_assert_eq!(gold.len() as u32, hops + 1);
                let texts = texts(&case);
                prop_assert_eq!(texts.len(), 2);
                let (text, question) = &texts[1];
                let value: String = question.chars().filter(char::is_ascii_digit).collect();
                prop_assert_eq!(&solve(text, &value), &gold);
                for name in &gold {
                    // Defined once, used once unless last; and never in the example.
                    prop_assert_eq!(text.matches(&format!("VAR {name} = ")).count(), 1);
                    prop_assert!(!texts[0].0.contains(name.as_str()));
                }
                prop_assert_eq!(text.matches(&format!("= {value}.")).count(), 1);
                prop_assert_eq!(text.matches(" = ").count() as u32, (hops + 1) * chains);
            }
        }
    }

    #[test]
    fn the_example_is_right() {
        for case in cases(&params(1024, 4, None), 3) {
            let (text, rest) = &texts(&case)[0];
            let (question, answer) = rest.split_once("\nAnswer: ").unwrap();
            let value: String = question.chars().filter(char::is_ascii_digit).collect();
            let listed = answer.split("\n\n").next().unwrap().split(", ").map(str::to_owned);
            assert_eq!(listed.collect::<BTreeSet<_>>(), solve(text, &value));
        }
    }

    #[test]
    fn half_of_the_chain_is_half_of_the_score() {
        let case = &cases(&params(1024, 1, None), 3)[0];
        let reply = Reply { content: answers(&case.target)[..2].join(" and "), ..Reply::default() };
        let outcome = VariableTracking.score(case, &reply);
        let score = outcome.score().unwrap();
        assert_eq!((score.quality, score.label.as_deref()), (Some(0.4), Some("incomplete")));
    }

    #[test]
    fn assignments_are_spread_over_the_context() {
        let mut bins = [0; 5];
        for case in cases(&params(2048, 20, None), 5) {
            for depth in case.target["depths"].as_array().unwrap() {
                bins[(depth.as_f64().unwrap() * 5.0).min(4.9) as usize] += 1;
            }
        }
        assert!(bins.iter().all(|n| (15..=25).contains(n)), "{bins:?}");
    }

    #[test]
    fn budgets_follow_the_mode() {
        let mut params = params(1024, 1, None);
        assert_eq!(VariableTracking.max_tokens(&params), 96);
        params.mode = Mode::Prefill;
        assert_eq!(VariableTracking.max_tokens(&params), 30);
        params.options.insert("output_tokens".into(), 50);
        assert_eq!(VariableTracking.max_tokens(&params), 50);
        params.options.insert("thinking_tokens".into(), 200);
        assert_eq!(VariableTracking.max_tokens(&params), 250);
    }
}
