//! Speed alone: a cold prompt that fills the context, and a reply that is written freely. For suites whose other cases share
//! texts or are made to give an answer, and so have no cold prompt and no pace of their own.

use serde_json::Value;

use crate::error::Result;
use crate::record::{Case, Message, Outcome, Prompt, Reply, Score};
use crate::task::fitting::{Draft, Fitter, Piece};
use crate::task::options::{THINKING, max_tokens, output_tokens};
use crate::task::prose::Prose;
use crate::task::random::Random;
use crate::task::sizing::{Fit, too_large, too_small};
use crate::task::{Card, Emit, Needs, Params, Task, TaskOption, TokenCounter, Weight, collected};

const TASK: &str = "serving/speed";
/// Fewest sentences of a prompt.
const FEWEST: usize = 3;
const SEPARATOR: &str = " ";

static OPTIONS: &[TaskOption] =
    &[output_tokens(64, "tokens that a reply has at most; it may end before"), THINKING];

/// The task `serving/speed`.
#[derive(Debug)]
pub struct Speed;

impl Task for Speed {
    fn card(&self) -> Card {
        Card {
            name: TASK,
            summary: "speed, memory and energy of cold prompts that fill the context; no quality",
            weight: Weight::Comparative,
            options: OPTIONS,
            needs: Needs::LONG,
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        max_tokens(self, params)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        collected(|emit| self.each_case(params, seed, tokens, emit))
    }

    fn each_case(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter, emit: Emit<'_>) -> Result<()> {
        let budget = params.context.saturating_sub(self.max_tokens(params));
        let mut fitter = Fitter::new(budget, FEWEST, usize::MAX);
        (0..params.samples).try_for_each(|index| emit(self.case(params, seed, index, &mut fitter, tokens)?))
    }

    fn score(&self, _: &Case, _: &Reply) -> Outcome {
        Outcome::Scored(Score::default())
    }
}

impl Speed {
    fn case(
        &self,
        params: &Params,
        seed: u64,
        index: u32,
        fitter: &mut Fitter,
        tokens: &dyn TokenCounter,
    ) -> Result<Case> {
        let random = Random::of_case(seed, TASK, params.context, index);
        let mut story = Story { prose: Prose::new(random), sentences: Vec::new() };
        let kept = self.max_tokens(params);
        let Some(Fit { units, tokens: prompt_tokens }) = fitter.fit(&mut story, tokens)? else {
            let needed = tokens.count_chat(&story.messages(FEWEST), &[])?;
            return Err(too_small(&self.card(), params.context, kept, needed));
        };
        if units >= fitter.max() {
            return Err(too_large(TASK, params.context, prompt_tokens));
        }
        let case = self.card().case(params.context, index, Prompt::chat(story.messages(units)), Value::Null);
        Ok(case.sized(prompt_tokens, kept).seal())
    }
}

/// A text that is to be gone on with; one unit is a sentence.
struct Story {
    prose: Prose,
    sentences: Vec<String>,
}

impl Story {
    fn grow(&mut self, units: usize) {
        while self.sentences.len() < units {
            self.sentences.extend(self.prose.sentences());
        }
    }
}

impl Draft for Story {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        self.grow(units);
        let text = self.sentences[..units].join(SEPARATOR);
        vec![Message::user(format!(
            "Read the text below.\n\n{text}\n\nGo on with it in the same style, at length."
        ))]
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.grow(to.max(1));
        Piece::of(&self.sentences, from, to, SEPARATOR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::testing::{WordCounter, params};

    #[test]
    fn every_prompt_fills_its_context_and_is_another_one() {
        let cases = Speed.cases(&params(2048, 3, None), 7, &WordCounter::default()).unwrap();
        assert!(cases.iter().all(|case| case.prompt_tokens + case.max_tokens <= 2048));
        assert!(cases.iter().all(|case| case.prompt_tokens + case.max_tokens > 2048 - 64), "{cases:?}");
        let ids: std::collections::BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(ids.len(), 3);
        assert_eq!(Speed.score(&cases[0], &Reply::default()), Outcome::Scored(Score::default()));
        assert!(Speed.cases(&params(128, 1, None), 7, &WordCounter::default()).is_err());
    }
}
