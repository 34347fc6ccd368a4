//! Needles in a haystack, equivalent to RULER's `niah_*` in structure and parameters (Hsieh et al. 2024,
//! arXiv 2404.06654; NVIDIA/RULER, Apache-2.0): its words and sentences are not used, ours are.

use crate::error::Result;
use crate::task::random::{Random, stratified_depth};
use crate::task::sizing::{Fit, Sizer, too_large, too_small};
use crate::task::{Params, Task, TaskOption, TokenCounter, Weight};
use crate::trial::{Case, Message, Outcome, Prompt, Reply, Score};

use super::haystack::{Haystack, Needle, Needles};
use super::{answers, match_all, ran_out, target};

/// Fewest units of haystack that still make a haystack.
const MIN_UNITS: usize = 3;
/// Digits of a value.
const VALUE_DIGITS: usize = 7;
/// Numbers of a reply that are looked up in the prompt when the answer is not among them.
const NUMBERS_READ: usize = 64;

static OPTIONS: &[TaskOption] = &[TaskOption {
    name: "output_tokens",
    help: "output budget in tokens (128 is RULER's; a plain chat model needs some 20)",
    default: 128,
    min: 8,
    max: 65_536,
}];

/// One needle among sentences that say nothing: a sanity check.
pub static SINGLE_1: Niah = Niah {
    name: "retrieval/niah_single_1",
    summary: "one key in noise is still found at every depth (sanity check, catches truncation)",
    weight: Weight::Sanity,
    haystack: Haystack::Noise,
};

/// One needle among needles with other keys.
pub static MULTIKEY_2: Niah = Niah {
    name: "retrieval/niah_multikey_2",
    summary: "keys are not confused when every line of the context is a key with a number",
    weight: Weight::Primary,
    haystack: Haystack::Needles,
};

/// A variant of the family.
#[derive(Debug)]
pub struct Niah {
    name: &'static str,
    summary: &'static str,
    weight: Weight,
    haystack: Haystack,
}

impl Task for Niah {
    fn name(&self) -> &'static str {
        self.name
    }

    fn summary(&self) -> &'static str {
        self.summary
    }

    fn version(&self) -> u32 {
        1
    }

    fn weight(&self) -> Weight {
        self.weight
    }

    fn options(&self) -> &'static [TaskOption] {
        OPTIONS
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(self, "output_tokens")
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let budget = params.context.saturating_sub(self.max_tokens(params));
        let mut sizer = Sizer::new(budget, MIN_UNITS, self.haystack.max_units());
        (0..params.samples).map(|index| self.case(params, seed, index, &mut sizer, tokens)).collect()
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let quality = match_all(&answers(&case.target), &reply.content);
        let score = Score::of(quality);
        Outcome::Scored(if quality < 1.0 { score.labelled(error_label(case, reply)) } else { score })
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        Some(Reply { content: answers(&case.target).join(", "), ..Reply::default() })
    }
}

impl Niah {
    fn case(
        &self,
        params: &Params,
        seed: u64,
        index: u32,
        sizer: &mut Sizer,
        tokens: &dyn TokenCounter,
    ) -> Result<Case> {
        let random = Random::of_case(seed, self.name, params.context, index);
        let depth = stratified_depth(seed, self.name, params.context, index);
        let mut draft = Draft::new(self.haystack, random, depth);
        let fit = sizer.fit(&mut |units| tokens.count_chat(&draft.messages(units), &[]))?;
        let Some(Fit { units, tokens: prompt_tokens }) = fit else {
            let needed = tokens.count_chat(&draft.messages(MIN_UNITS), &[])?;
            return Err(too_small(self.name, params.context, self.max_tokens(params), needed));
        };
        if units >= self.haystack.max_units() {
            return Err(too_large(self.name, params.context, prompt_tokens));
        }
        Ok(Case {
            id: String::new(),
            task: self.name.into(),
            task_version: self.version(),
            arm: None,
            context: params.context,
            index,
            depth: Some(draft.place(units) as f64 / units as f64),
            cluster: format!("{}/{}/{index}", self.name, params.context),
            prompt: Prompt::Chat { messages: draft.messages(units), tools: Vec::new(), tool_choice: None },
            max_tokens: self.max_tokens(params),
            prompt_tokens,
            target: target(vec![draft.needle.value]),
        }
        .seal())
    }
}

/// A case whose length is not decided yet.
struct Draft {
    haystack: Haystack,
    needle: Needle,
    others: Needles,
    units: Vec<String>,
    depth: f64,
}

impl Draft {
    fn new(haystack: Haystack, random: Random, depth: f64) -> Self {
        let mut needles = Needles::new(random);
        Self { haystack, needle: needles.draw(), others: needles, units: Vec::new(), depth }
    }

    /// How many units stand in front of the needle when there are `units` beside it.
    fn place(&self, units: usize) -> usize {
        (self.depth * (units + 1) as f64) as usize
    }

    fn messages(&mut self, units: usize) -> Vec<Message> {
        self.haystack.grow(&mut self.units, units, &mut self.others);
        let sentence = self.needle.sentence();
        let (before, after) = self.units[..units].split_at(self.place(units));
        let lines: Vec<&str> = before.iter().chain([&sentence]).chain(after).map(String::as_str).collect();
        let text = lines.join(self.haystack.separator());
        let key = &self.needle.key;
        vec![Message::user(format!(
            "Read the text below. It states a secret number for a name, and you will be asked for it.\n\n{text}\n\n\
             What is the secret number for {key}? Answer with the number only."
        ))]
    }
}

/// What kind of error a wrong reply is.
fn error_label(case: &Case, reply: &Reply) -> &'static str {
    let numbers = long_numbers(&reply.content);
    if ran_out(reply) {
        "truncated"
    } else if numbers.iter().any(|number| prompt_holds(case, number)) {
        "other_needle"
    } else if reply.content.trim().is_empty() {
        "empty"
    } else if !reply.content.contains(|c: char| c.is_ascii_digit()) {
        "no_number"
    } else {
        "wrong"
    }
}

/// The first numbers of a text that are as long as a value.
fn long_numbers(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_ascii_digit())
        .filter(|digits| digits.len() == VALUE_DIGITS)
        .take(NUMBERS_READ)
        .collect()
}

fn prompt_holds(case: &Case, number: &str) -> bool {
    match &case.prompt {
        Prompt::Chat { messages, .. } => messages.iter().any(|message| message.content.contains(number)),
        Prompt::Distributions { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::conformance::{WordCounter, params};
    use crate::trial::FinishReason;

    fn cases(task: &Niah, context: u32, samples: u32) -> Vec<Case> {
        let params = params(context, samples, None);
        task.cases(&params, 7, &WordCounter::default()).unwrap()
    }

    fn text(case: &Case) -> &str {
        match &case.prompt {
            Prompt::Chat { messages, .. } => &messages[0].content,
            Prompt::Distributions { .. } => "",
        }
    }

    fn label(case: &Case, content: &str, finish_reason: FinishReason) -> (f64, Option<String>) {
        let reply = Reply { content: content.into(), finish_reason: Some(finish_reason), ..Reply::default() };
        let outcome = SINGLE_1.score(case, &reply);
        let score = outcome.score().unwrap();
        (score.quality.unwrap(), score.label.clone())
    }

    #[test]
    fn the_answer_stands_once_at_its_depth() {
        for task in [&SINGLE_1, &MULTIKEY_2] {
            for case in cases(task, 2048, 16) {
                let answer = &answers(&case.target)[0];
                assert_eq!(text(&case).matches(answer.as_str()).count(), 1);
                let place = text(&case).find(answer.as_str()).unwrap() as f64 / text(&case).len() as f64;
                let depth = case.depth.unwrap();
                assert!((place - depth).abs() < 0.12, "{place} for {depth}");
            }
        }
    }

    #[test]
    fn the_first_cases_do_not_depend_on_how_many_there_are() {
        for task in [&SINGLE_1, &MULTIKEY_2] {
            assert_eq!(cases(task, 1024, 3), cases(task, 1024, 12)[..3]);
        }
    }

    #[test]
    fn depths_cover_the_context() {
        let depths: Vec<f64> = cases(&MULTIKEY_2, 2048, 20).iter().filter_map(|case| case.depth).collect();
        for bin in 0..5 {
            let n = depths.iter().filter(|&&d| (d * 5.0).min(4.9) as usize == bin).count();
            assert!((2..=6).contains(&n), "bin {bin} has {n} of 20");
        }
    }

    #[test]
    fn keys_and_values_differ_within_a_case() {
        let case = &cases(&MULTIKEY_2, 8192, 1)[0];
        let lines: Vec<&str> = text(case).lines().filter(|line| line.starts_with("The secret")).collect();
        let mut keys: Vec<&str> = lines.iter().filter_map(|line| line.split(' ').nth(4)).collect();
        assert!(keys.len() > 300);
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn errors_get_their_label() {
        let case = &cases(&MULTIKEY_2, 1024, 1)[0];
        let answer = answers(&case.target).remove(0);
        let other = long_numbers(text(case)).into_iter().find(|number| *number != answer).unwrap();
        use FinishReason::{Length, Stop};
        assert_eq!(label(case, &format!("It is {answer}."), Length), (1.0, None));
        for (content, finish, expected) in [
            (other, Stop, "other_needle"),
            (other, Length, "truncated"),
            ("I think that", Length, "truncated"),
            ("", Stop, "empty"),
            ("\u{1b}[K I cannot say.", Stop, "no_number"),
            ("It is 42.", Stop, "wrong"),
        ] {
            assert_eq!(label(case, content, finish), (0.0, Some(expected.into())), "{content}");
        }
    }

    #[test]
    fn reasoning_does_not_count() {
        let case = &cases(&SINGLE_1, 1024, 1)[0];
        let reply = Reply { reasoning: answers(&case.target).remove(0), ..Reply::default() };
        assert_eq!(SINGLE_1.score(case, &reply).score().unwrap().quality, Some(0.0));
    }

    #[test]
    fn a_context_that_is_too_small_is_a_usage_error() {
        let params = params(160, 1, None);
        let error = MULTIKEY_2.cases(&params, 7, &WordCounter::default()).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert!(!error.hints().is_empty());
    }
}
