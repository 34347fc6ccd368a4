//! A small program that nearly does what it should: the reply's program is run on inputs that the model does not see.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::{Error, Result};
use crate::record::{Case, ForcedPart, Message, Outcome, Prompt, Reply, Score, Scoring};
use crate::task::options::{self, OUTPUT_TOKENS, THINKING, option, output_tokens, read_target, tuned};
use crate::task::random::Random;
use crate::task::retrieval::ran_out;
use crate::task::sizing::too_small;
use crate::task::{Card, Harder, Needs, Params, Task, TaskOption, TokenCounter, probability};

use super::language::{NoProgram, Operation, Row, line, read, run, written};
use super::program::{Puzzle, words};

/// What the model is told of the language.
const LANGUAGE: &str = "A program is a JSON list of operations on rows, done one after another:\n\
    {\"keep\":[FIELD,COMPARISON,VALUE]} keeps the rows for which it holds; a comparison is one of < <= = != >= >\n\
    {\"add\":[FIELD,NUMBER]} adds a number to a field\n\
    {\"times\":[FIELD,NUMBER]} multiplies a field\n\
    {\"set\":[NEW,FIELD,SIGN,FIELD]} sets a field from two fields; a sign is one of + - *\n\
    {\"sort\":[FIELD,\"up\"]} sorts, smallest first, and \"down\" largest first\n\
    {\"take\":NUMBER} keeps the first rows\n\
    {\"drop\":NUMBER} leaves out the first rows\n\
    {\"group\":[FIELD,FOLD,FIELD]} makes a row for each value of the first field; a fold is one of sum, min, max, count\n\
    {\"result\":[FOLD,FIELD]} makes one number of all rows";

static OPTIONS: &[TaskOption] = &[
    output_tokens(400, "output budget of the program in tokens (some 25 an operation)"),
    THINKING,
    tuned(option("operations", "operations of the program; more is harder", 6, 3, 24), Harder::Larger),
    tuned(option("bugs", "operations that are wrong or missing; more is harder", 1, 1, 3), Harder::Larger),
];

/// The task `code/patch`.
#[derive(Debug)]
pub struct CodePatch;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    right: Vec<Operation>,
    broken: Vec<Operation>,
    /// What the model does not see.
    inputs: Vec<Vec<Row>>,
}

impl Task for CodePatch {
    fn card(&self) -> Card {
        Card {
            name: "code/patch",
            summary: "a small program is mended: the reply's program runs on hidden inputs and must do what was asked",
            options: OPTIONS,
            figures: &["passed", "runs"],
            needs: Needs { closed_answer: true, ..Needs::SHORT },
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        options::max_tokens(self, params)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let of = |name| params.option(&self.card(), name) as usize;
        let case = |index| {
            let mut random = Random::of_case(seed, self.card().name, params.context, index);
            let puzzle = Puzzle::draw(&mut random, of("operations"), of("bugs"));
            self.case(params, index, puzzle, tokens)
        };
        (0..params.samples).map(case).collect()
    }

    /// Quality is 1 when the reply's first program makes of every input what the right one makes, however it does so. The figures:
    /// `passed`, the share of the inputs on which it does; `runs`, 1 where it runs on all of them.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        match read_target(case) {
            Ok(target) => Outcome::Scored(score(&target, reply)),
            Err(outcome) => outcome,
        }
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target: Target = read_target(case).ok()?;
        Some(Reply { content: written(&target.right), ..Reply::default() })
    }
}

fn score(target: &Target, reply: &Reply) -> Score {
    let answer = reply.answer();
    let program = match read(&answer) {
        Ok(program) => program,
        Err(why) => {
            let label = match why {
                _ if ran_out(reply) => "truncated",
                _ if answer.trim().is_empty() => "empty",
                NoProgram::Nothing => "no_program",
                NoProgram::OtherForm => "bad_program",
            };
            return Score::of(0.0).with("passed", 0.0).with("runs", 0.0).labelled(label);
        }
    };
    let made: Vec<_> = target.inputs.iter().map(|input| run(&program, input)).collect();
    let right =
        target.inputs.iter().zip(&made).filter(|(input, made)| run(&target.right, input) == **made).count();
    let passed = right as f64 / made.len().max(1) as f64;
    let runs = made.iter().all(Result::is_ok);
    let score = Score::of(f64::from(u8::from(passed == 1.0)))
        .with("passed", passed)
        .with("runs", f64::from(u8::from(runs)));
    match () {
        () if passed == 1.0 => score,
        () if program == target.broken => score.labelled("unchanged"),
        () if !runs => score.labelled("does_not_run"),
        () => score.labelled("wrong_output"),
    }
}

impl CodePatch {
    fn case(&self, params: &Params, index: u32, puzzle: Puzzle, tokens: &dyn TokenCounter) -> Result<Case> {
        let answer = written(&puzzle.right);
        let forced = match params.score {
            Scoring::Match => Vec::new(),
            Scoring::Probability => forced(&puzzle, &answer, tokens)?,
        };
        let mut messages = vec![Message::user(text(&puzzle))];
        let begun = forced.first().map(|part| &part.begun).filter(|begun| !begun.is_empty());
        messages.extend(begun.map(Message::prefill));
        let Puzzle { right, broken, inputs, .. } = puzzle;
        let (prompt_tokens, max_tokens) = (tokens.count_chat(&messages, &[])?, self.max_tokens(params));
        if prompt_tokens.saturating_add(max_tokens) > params.context {
            return Err(too_small(&self.card(), params.context, max_tokens, prompt_tokens));
        }
        // One more ends the turn.
        let (needed, kept) = (tokens.count_text(&answer)? + 1, params.option(&self.card(), OUTPUT_TOKENS));
        if needed > kept {
            let message = format!(
                "{}: the right program has {needed} tokens, and {kept} are kept for it",
                self.card().name
            );
            return Err(Error::usage(message)
                .hint(format!("set its `{OUTPUT_TOKENS}` to {needed} or more, or lower its `operations`")));
        }
        let case = self.card().case(
            params.context,
            index,
            Prompt::chat(messages),
            json!(Target { right, broken, inputs }),
        );
        Ok(case.sized(prompt_tokens, max_tokens).forcing(forced).seal())
    }
}

/// The operations that the broken program has otherwise, each behind the right ones in front of it. Other programs may do the
/// same, so the probability is a lower bound of that of a right one.
fn forced(puzzle: &Puzzle, answer: &str, tokens: &dyn TokenCounter) -> Result<Vec<ForcedPart>> {
    let lines: Vec<String> = puzzle.right.iter().map(line).collect();
    let part = |at: &usize| {
        // Brackets, commas, line breaks and indentation stand between the operations.
        let start = lines[..*at].iter().map(|line| line.len() + ",\n  ".len()).sum::<usize>() + "[\n  ".len();
        probability::stretch(answer, start..start + lines[*at].len(), tokens)
    };
    puzzle.changed.iter().map(part).collect()
}

fn text(puzzle: &Puzzle) -> String {
    let steps: Vec<String> =
        (1..).zip(&puzzle.right).map(|(n, step)| format!("{n}. {}", words(step))).collect();
    format!(
        "{LANGUAGE}\n\nA program should do this:\n{}\n\nBut it was written like this:\n{}\n\nWrite the program as it should be: the \
         whole JSON list, an operation a line, and nothing else.",
        steps.join("\n"),
        written(&puzzle.broken)
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::FinishReason;
    use crate::task::testing::{WordCounter, params};

    fn make(options: &[(&str, u32)], samples: u32, score: Scoring) -> Vec<Case> {
        let options = options.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        let params = Params { options, score, ..params(4096, samples, None) };
        CodePatch.cases(&params, 7, &WordCounter::default()).unwrap()
    }

    fn judged(case: &Case, content: &str) -> (f64, Option<String>) {
        let reply = Reply { content: content.into(), ..Reply::default() };
        let outcome = CodePatch.score(case, &reply);
        let score = outcome.score().unwrap();
        (score.quality.unwrap(), score.label.map(String::from))
    }

    fn target(case: &Case) -> Target {
        read_target(case).unwrap()
    }

    #[test]
    fn a_program_that_does_the_same_is_right_however_it_is_written() {
        for case in make(&[("operations", 8), ("bugs", 2)], 6, Scoring::Match) {
            let Target { right, .. } = target(&case);
            assert_eq!(judged(&case, &written(&right)), (1.0, None));
            let compact = serde_json::to_string(&right).unwrap();
            assert_eq!(judged(&case, &format!("The program:\n```json\n{compact}\n```")), (1.0, None));
            // What changes nothing may stand in it.
            let mut longer = right.clone();
            longer.insert(0, Operation::Add("price".into(), 0));
            longer.insert(1, Operation::Take(1000));
            assert_eq!(judged(&case, &written(&longer)), (1.0, None));
        }
    }

    #[test]
    fn errors_get_their_label() {
        let case = &make(&[], 1, Scoring::Match)[0];
        let Target { right, broken, .. } = target(case);
        let label = |content: &str| {
            let (quality, label) = judged(case, content);
            assert_eq!(quality, 0.0, "{content}");
            label.unwrap()
        };
        assert_eq!(label(&written(&broken)), "unchanged");
        assert_eq!(label("Use sort."), "no_program");
        assert_eq!(label("[{\"sort\": 7}]"), "bad_program");
        assert_eq!(label("[{\"take\": 1}]"), "wrong_output");
        assert_eq!(label("[{\"add\": [\"kind\", 1]}]"), "does_not_run");
        assert_eq!(label(&format!("<think>{}</think>", written(&right))), "empty");
        assert_eq!(label(&format!("<think>{}</think>I cannot.", written(&right))), "no_program");
        let reply = Reply { reasoning: written(&right), ..Reply::default() };
        assert_eq!(CodePatch.score(case, &reply).score().unwrap().quality, Some(0.0));
        let cut =
            Reply { content: "[{".into(), finish_reason: Some(FinishReason::Length), ..Reply::default() };
        assert_eq!(CodePatch.score(case, &cut).score().unwrap().label.as_deref(), Some("truncated"));
        assert!(CodePatch.score(case, &cut).score().unwrap().metrics["passed"] == 0.0);
    }

    #[test]
    fn what_was_wrong_is_forced() {
        for case in make(&[("operations", 8), ("bugs", 3)], 6, Scoring::Probability) {
            let Target { right, .. } = target(&case);
            assert_eq!(case.forced.len(), 3);
            for part in &case.forced {
                let said = format!("{}{}", part.begun, part.forms[0].text);
                assert!(written(&right).starts_with(&said), "{said}");
                assert!(
                    right.iter().any(|operation| part.forms[0].text.contains(&line(operation))),
                    "{part:?}"
                );
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_a_usage_error() {
        for (context, options) in [(512, vec![]), (4096, vec![("output_tokens", 40_u32)])] {
            let options = options.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let params = Params { options, ..params(context, 1, None) };
            let error = CodePatch.cases(&params, 7, &WordCounter::default()).unwrap_err();
            assert!(error.kind() == crate::error::Kind::Usage && !error.hints().is_empty(), "{error}");
        }
    }

    proptest! {
        #[test]
        fn only_programs_that_make_every_output_are_right(text in any::<String>(), cut in 0.0..1.0) {
            let case = &make(&[], 1, Scoring::Match)[0];
            let right = written(&target(case).right);
            prop_assert_eq!(judged(case, &text).0, 0.0);
            let cut = right.floor_char_boundary((right.len() as f64 * cut) as usize);
            prop_assert_eq!(judged(case, &right[..cut]).0, 0.0);
        }
    }
}
