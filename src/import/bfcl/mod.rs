//! The Berkeley Function-Calling Leaderboard's files (BFCL v4, Apache-2.0), as published: single-turn questions
//! about Python, with their answers in a second file. Scores are those of its checker.
//!
//! What is asked in the prompted arm is worded by us, so only the native arm's figures are comparable with
//! published ones. No overall figure is made of the categories.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::answers::beside;
use super::format::{Format, Imported, Matching, TakeCase, Verdict};
use super::lines::{Line, lines};
use super::suite_file::{bad_line, file_at, size, too_few};
use super::values::name_of;
use crate::error::{Error, Result};
use crate::record::{
    Arm, Case, FinishReason, Message, Outcome, Prompt, Reply, Role, Score, ToolCall, ToolChoice,
};
use crate::task::retrieval::ran_out;
use crate::task::tools::extract::leak;
use crate::task::tools::fault::Fault;
use crate::task::tools::python::calls::Call;
use crate::task::{Card, Emit, Needs, Params, STREAM_CHECK, Task, TaskOption, TokenCounter, collected};

mod check;
mod decode;
mod question;

use check::{Wrong, check};
use decode::Form;
use question::{
    AnswerRow, Asked, Question, Row, Target, Wanted, asked, category, of_file, sent_name, unread,
};

/// Name of the task that imported cases belong to.
const TASK: &str = "tools/bfcl";

static OPTIONS: &[TaskOption] = &[
    TaskOption {
        name: "output_tokens",
        help: "output budget in tokens",
        default: 512,
        min: 16,
        max: 65_536,
        difficulty: None,
    },
    STREAM_CHECK,
];

/// What the model is told where the functions are described in the prompt.
const INSTRUCTION: &str = "Answer the user by calling functions. Write the calls as one Python list and nothing \
    else, every argument by name: [name(argument=value, ...), name(argument=value, ...)]. If no function fits, or \
    something needed is not known, say so in words and call nothing. The functions, as JSON:";

/// BFCL's files, as a format for scoring and as the task `tools/bfcl`.
#[derive(Debug)]
pub struct Bfcl;

/// Answers by the name of their question, or what is wrong with them.
type Answers = HashMap<String, Vec<Map<String, Value>>>;

/// The files of questions and of answers that `QUESTIONS,ANSWERS` names.
fn files(pair: &Path) -> (PathBuf, Option<PathBuf>) {
    match pair.to_str().and_then(|text| text.rsplit_once(',')) {
        Some((questions, answers)) if !pair.exists() => (questions.into(), Some(answers.into())),
        _ => (pair.into(), None),
    }
}

/// Reads a file of answers; `bad` takes lines that are none, with their place.
fn read_answers(path: &Path, mut bad: impl FnMut(usize, String) -> Result<()>) -> Result<Answers> {
    let mut answers = Answers::new();
    lines(path, |number, text| {
        let add = |text: &str| {
            let row: AnswerRow =
                serde_json::from_str(text).map_err(|error| format!("not an answer of BFCL's: {error}"))?;
            let id = name_of(&row.id).map_err(|error| format!("`id`: {error}"))?;
            match answers.insert(id.clone(), row.ground_truth) {
                None => Ok(()),
                Some(_) => Err(format!("an answer to {id} stands further up")),
            }
        };
        text.and_then(add).or_else(|reason| bad(number, reason))
    })?;
    Ok(answers)
}

fn question(text: &str, file: &str, answers: &Answers) -> Result<Asked, String> {
    let not = |error: serde_json::Error| format!("not a question of BFCL's: {error}");
    // Questions of other categories have another form: their category is what is wrong with them.
    let named: Named = serde_json::from_str(text).map_err(not)?;
    if let Some(why) = name_of(&named.id).ok().and_then(|id| unread(&category(&id, file))) {
        return Err(why);
    }
    let row: Row = serde_json::from_str(text).map_err(not)?;
    asked(row, file, |id| answers.get(id).cloned())
}

/// A question's name.
#[derive(serde::Deserialize)]
struct Named {
    id: Value,
}

/// Why a whole file is not read, by its published name.
fn unread_file(path: &Path) -> Option<String> {
    of_file(stem(path)).and_then(unread)
}

fn stem(path: &Path) -> &str {
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default()
}

/// The case of a question; `arm` is none where only replies are scored.
fn case(asked: Asked, arm: Option<Arm>, index: u32) -> Result<Case, String> {
    let Asked { id, messages, target } = asked;
    let prompt = match arm {
        None => Prompt::chat(messages),
        Some(Arm::Prompted) => Prompt::chat(instructed(messages, &target)),
        Some(arm) => Prompt::Chat {
            messages,
            tools: target.tools(true),
            tool_choice: Some(if arm == Arm::Constrained { ToolChoice::Required } else { ToolChoice::Auto }),
            response_schema: None,
        },
    };
    let target = serde_json::to_value(target).map_err(|error| error.to_string())?;
    Ok(Case::new(TASK, Bfcl.card().version, index, prompt, target)
        .in_arm(arm)
        .in_cluster(format!("{TASK}/{id}")))
}

/// The functions in front of the conversation, and of the file's own instructions if it has some.
fn instructed(mut messages: Vec<Message>, target: &Target) -> Vec<Message> {
    let functions = Value::from_iter(target.function.iter().cloned().map(Value::Object));
    let mut text = format!("{INSTRUCTION}\n{functions}");
    if messages.first().is_some_and(|message| message.role == Role::System) {
        text = format!("{text}\n\n{}", messages.remove(0).content);
    }
    messages.insert(0, Message::system(text));
    messages
}

impl Format for Bfcl {
    fn name(&self) -> &'static str {
        "bfcl"
    }

    fn summary(&self) -> &'static str {
        "BFCL's single-turn files, QUESTIONS,ANSWERS (irrelevance and relevance: QUESTIONS alone)"
    }

    /// A question alone: enough where no particular call is asked for.
    fn case(&self, line: &Line<'_>, _: Option<Matching>) -> Result<Imported, String> {
        imported(line, "", &Answers::new())
    }

    fn read(&self, file: &Path, matching: Option<Matching>, each: TakeCase<'_>) -> Result<()> {
        let (questions, answers) = files(file);
        let place = |path: &Path, number: usize| format!("{}:{number}", path.display());
        if let Some(why) = unread_file(&questions) {
            return each(questions.display().to_string(), Err(why));
        }
        let answers = match &answers {
            Some(path) => read_answers(path, |number, reason| each(place(path, number), Err(reason)))?,
            None => Answers::new(),
        };
        lines(&questions, |number, text| {
            let one = match matching {
                Some(_) => Err("--match is not for BFCL's files: its checker has its own rules".to_owned()),
                None => text.and_then(|text| imported(&Line { number, text }, stem(&questions), &answers)),
            };
            each(place(&questions, number), one)
        })
    }

    fn verdict(&self, case: &Case, reply: &Reply) -> Option<Verdict> {
        let target: Target = serde_json::from_value(case.target.clone()).ok()?;
        let judged = published(&target, case.arm, reply).err();
        Some(Verdict {
            valid: judged.is_none(),
            error: judged.map(|wrong| format!("{}: {}", wrong.kind, wrong.message)),
        })
    }
}

fn imported(line: &Line<'_>, file: &str, answers: &Answers) -> Result<Imported, String> {
    let asked = question(line.text, file, answers)?;
    let id = asked.id.clone();
    let index = u32::try_from(line.number - 1).unwrap_or(u32::MAX);
    Ok(Imported { id, case: case(asked, None, index)?.seal() })
}

impl Task for Bfcl {
    fn card(&self) -> Card {
        Card {
            name: TASK,
            summary: "single-turn cases of BFCL's published files, checked by its rules (the import of published tasks)",
            arms: &[Arm::Native, Arm::Prompted, Arm::Constrained],
            options: OPTIONS,
            needs: Needs { reads_file: true, reads_answers: true, ..Needs::SHORT },
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), "output_tokens")
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        collected(|emit| self.each_case(params, seed, tokens, emit))
    }

    /// The first questions of the file, as many as the suite asks for: nothing is drawn, the seed is not used.
    fn each_case(&self, params: &Params, _: u64, tokens: &dyn TokenCounter, emit: Emit<'_>) -> Result<()> {
        let (questions, answers) = files(&file_at(TASK, params)?);
        if let Some(why) = unread_file(&questions) {
            return Err(Error::usage(format!("{}: {why}", questions.display())));
        }
        let answers = match &answers {
            Some(path) => read_answers(path, |number, reason| Err(bad_line(path, number, &reason)))?,
            None => Answers::new(),
        };
        let mut made = 0;
        lines(&questions, |number, text| {
            if made == params.samples {
                return Ok(());
            }
            let bad = |reason: String| bad_line(&questions, number, &reason);
            let asked = text.and_then(|text| question(text, stem(&questions), &answers)).map_err(bad)?;
            let mut case = case(asked, params.arm, made).map_err(bad)?;
            if let Some(reason) = size(&mut case, params.context, self.max_tokens(params), tokens)? {
                return Err(bad(reason).hint("give the task a larger context, or a smaller `output_tokens`"));
            }
            made += 1;
            emit(case.seal())
        })?;
        if made < params.samples {
            return Err(too_few(TASK, &questions, made as usize, params.samples));
        }
        Ok(())
    }

    /// Quality by BFCL's rules; the figure `published` is what its own checker says where that is something else, as it
    /// takes calls in JSON for none and the thinking for a part of the answer.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let target: Target = match serde_json::from_value(case.target.clone()) {
            Ok(target) => target,
            Err(error) => {
                let reason = format!("the case has no target of this task: {error}");
                return Outcome::Unscored { reason };
            }
        };
        if case.arm == Some(Arm::Constrained) && target.wanted() == Wanted::NoCall {
            return Outcome::Unscored { reason: "a server that must call cannot keep from calling".into() };
        }
        let score = match judge(&target, case.arm, reply) {
            Ok(form) => {
                form.name().map_or(Score::of(1.0), |name| Score::of(1.0).labelled(name).with(name, 1.0))
            }
            Err(_) if is_cut_off(case.arm, reply) => Score::of(0.0).labelled("truncated"),
            Err(wrong) => Score::of(0.0).labelled(wrong.kind),
        };
        let passes = published(&target, case.arm, reply).is_ok();
        Outcome::Scored(beside(score, f64::from(u8::from(passes))))
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target: Target = serde_json::from_value(case.target.clone()).ok()?;
        Some(perfect(&target, case.arm))
    }
}

/// Where replies are scored without an arm, one with tool calls counts as native, any other as prompted.
fn is_native(arm: Option<Arm>, reply: &Reply) -> bool {
    arm.map_or(!reply.tool_calls.is_empty(), |arm| arm != Arm::Prompted)
}

/// The published checker's verdict on what the published decoder reads.
fn published(target: &Target, arm: Option<Arm>, reply: &Reply) -> Result<(), Wrong> {
    let native = is_native(arm, reply);
    verdict(target, native, decode::published(native, reply))
}

/// The checker's verdict on the calls of a reply, and how they are written. A call that the server left in the text is
/// none that anybody got.
fn judge(target: &Target, arm: Option<Arm>, reply: &Reply) -> Result<Form, Wrong> {
    let native = is_native(arm, reply);
    let decoded = decode::decode(arm, native, reply, &target.tools(false));
    let is_empty = decoded.as_ref().map_or(true, |(calls, _)| calls.is_empty());
    if is_empty && arm != Some(Arm::Prompted) && has_leaked(target, arm, reply) {
        return Err(Wrong::new(Fault::LeakedToContent.name(), "the server left the call in the text"));
    }
    let form = decoded.as_ref().map_or(Form::Published, |(_, form)| *form);
    verdict(target, native, decoded.map(|(calls, _)| calls)).map(|()| form)
}

/// Returns whether a call of one of the functions was left in the text. Without an arm, text may be what was asked for: only
/// the marks of a model's own syntax show that it was not.
fn has_leaked(target: &Target, arm: Option<Arm>, reply: &Reply) -> bool {
    let offered = [target.tools(true), target.tools(false)].concat();
    leak(reply, &offered).is_some_and(|leak| arm.is_some() || leak.has_marks())
}

fn verdict(target: &Target, native: bool, decoded: Result<Vec<Call>, String>) -> Result<(), Wrong> {
    let has_call = decode::has_call(&decoded);
    match target.wanted() {
        Wanted::NoCall if has_call => {
            Err(Wrong::new("irrelevance_error:decoder_success", "there is a call where none fits"))
        }
        Wanted::AnyCall if !has_call => {
            Err(Wrong::new("relevance_error:decoder_failed", "there is no call where one fits"))
        }
        Wanted::NoCall | Wanted::AnyCall => Ok(()),
        Wanted::Calls => {
            let question = Question::of(target).map_err(|error| Wrong::new("bad_question", error))?;
            let calls = decoded.map_err(|reason| Wrong::new("ast_decoder:decoder_failed", reason))?;
            check(&question, &calls, native)
        }
    }
}

/// Returns whether the output budget ran out before there was a call that can be read.
fn is_cut_off(arm: Option<Arm>, reply: &Reply) -> bool {
    let native = arm.is_some_and(|arm| arm != Arm::Prompted);
    ran_out(reply) && decode::decode(arm, native, reply, &[]).is_err()
}

/// A reply that passes: the first accepted value of every parameter, those that may stay out left out.
fn perfect(target: &Target, arm: Option<Arm>) -> Reply {
    let native = arm.is_some_and(|arm| arm != Arm::Prompted);
    let calls: Vec<(String, Value)> = match target.wanted() {
        Wanted::NoCall => Vec::new(),
        Wanted::AnyCall => vec![("any".into(), Value::Object(Map::new()))],
        Wanted::Calls => target.ground_truth.iter().flatten().map(first_accepted).collect(),
    };
    if native {
        let call = |(name, arguments): &(String, Value)| ToolCall {
            id: None,
            name: sent_name(name, true),
            arguments: arguments.to_string(),
        };
        let tool_calls = calls.iter().map(call).collect();
        return Reply { tool_calls, finish_reason: Some(FinishReason::ToolCalls), ..Reply::default() };
    }
    let call = |(name, arguments): &(String, Value)| {
        Map::from_iter([("name".into(), name.as_str().into()), ("arguments".into(), arguments.clone())])
    };
    let content = Value::from_iter(calls.iter().map(call).map(Value::Object)).to_string();
    Reply { content, finish_reason: Some(FinishReason::Stop), ..Reply::default() }
}

fn first_accepted((name, parameters): (&String, &Value)) -> (String, Value) {
    let keep = |(key, accepted): (&String, &Value)| Some((key.clone(), plain(first(accepted)?)));
    let parameters = parameters.as_object().into_iter().flatten().filter_map(keep);
    (name.clone(), Value::Object(parameters.collect()))
}

/// The first of accepted values; none where "" says that the parameter or key may stay out.
fn first(accepted: &Value) -> Option<&Value> {
    let accepted = accepted.as_array()?;
    let may_stay_out = accepted.iter().any(|value| value.as_str() == Some(""));
    accepted.first().filter(|_| !may_stay_out)
}

/// An accepted value as a call has it: in dictionaries, also those in lists, every key has a list of values.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            let keep = |(key, accepted): (&String, &Value)| Some((key.clone(), first(accepted)?.clone()));
            Value::Object(entries.iter().filter_map(keep).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(plain).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
