//! Structured output: a request with all its facts, a JSON Schema, and one value that is right.
//!
//! The quality of a reply is whether it is valid against the schema (of the draft that it names, formats checked; what
//! cannot be told is unscored); what it says is judged beside: `facts` is the share of the right value's leaves that are in the reply at the same
//! place. In the constrained arm the server is given the schema too (`response_format`), with the same prompt, so
//! that the arms differ by nothing else. A server that refuses the schema has given no usable reply: that scores
//! 0 with the label `not_compiled` and `compiled` 0, and so coverage is 1 - not_compiled / scored, and compliance
//! where it compiled is quality / coverage.

use std::sync::LazyLock;

use jsonschema::error::ValidationErrorKind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::record::{Arm, Case, FinishReason, Message, Outcome, Prompt, Reply, Score};
use crate::task::sizing::too_small;
use crate::task::{Card, Needs, Params, Task, TaskOption, TokenCounter};

use crate::task::tools::cases::{OUTPUT_TOKENS, arm, drawn, output_tokens};
use crate::task::tools::extract::MAX_BYTES;
use crate::task::tools::grading::{self, to_json};
use crate::task::tools::held::check::Constraint;
use crate::task::tools::ladder::OVER_LIMIT;
use crate::task::tools::numbers::{same_json, tamed};
use crate::task::tools::schema::Schema;

static DATA: LazyLock<std::result::Result<Vec<Collection>, String>> = LazyLock::new(|| {
    [
        include_str!("../../../../datasets/tools/schemas-1-flat.json"),
        include_str!("../../../../datasets/tools/schemas-2-bounded.json"),
        include_str!("../../../../datasets/tools/schemas-3-nested.json"),
        include_str!("../../../../datasets/tools/schemas-4-composed.json"),
        include_str!("../../../../datasets/tools/schemas-5-nasty.json"),
    ]
    .into_iter()
    .map(|text| serde_json::from_str(text).map_err(|error| error.to_string()))
    .collect()
});

static OPTIONS: &[TaskOption] = &[
    output_tokens(
        "output budget in tokens (the longest right value has some 120, more when it is indented)",
        512,
    ),
    TaskOption {
        name: "from_level",
        help: "easiest schemas taken: 1 flat, 2 bounded, 3 nested, 4 composed, 5 nasty",
        default: 1,
        min: 1,
        max: 5,
        difficulty: Some(crate::task::Harder::Larger),
    },
];

/// What the model is told in both arms.
const INSTRUCTION: &str = "Answer with one JSON value that is valid against the user's JSON Schema and holds what the \
    user says, and with nothing else. Text in backquotes is taken as it is, without the backquotes. Leave out optional \
    properties that the user says nothing about.";
/// Words of a server that cannot hold a reply to a schema.
const REFUSALS: [&str; 3] = ["schema", "grammar", "response_format"];

/// Returns whether a server's refusal says that it cannot make a grammar of a schema.
pub(crate) fn is_about_a_schema(refusal: &str) -> bool {
    let refusal = refusal.to_lowercase();
    refusal.starts_with("http ") && REFUSALS.iter().any(|word| refusal.contains(word))
}

/// The task `tools/json_schema`.
#[derive(Debug)]
pub struct JsonSchema;

/// The schemas of a level.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Collection {
    level: String,
    schemas: Vec<Entry>,
}

/// One entry of the data set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    request: String,
    schema: Value,
    /// What the request comes to.
    answer: Value,
    /// Other instances that pass.
    valid: Vec<Value>,
    /// Instances that fail.
    invalid: Vec<Value>,
    /// Texts of the answer that are not in the request as they are (a date written in words, ..).
    #[serde(default)]
    #[cfg_attr(not(test), expect(dead_code, reason = "the data set's own tests"))]
    derived: Vec<String>,
}

/// What a right answer is: the target of a case.
#[derive(Debug, Serialize, Deserialize)]
struct Target {
    /// The entry's name in the data set.
    entry: String,
    /// Its level.
    level: String,
    /// What a reply has to be valid against.
    schema: Value,
    /// What it has to say.
    answer: Value,
}

impl Task for JsonSchema {
    fn card(&self) -> Card {
        Card {
            name: "tools/json_schema",
            summary: "replies keep to a JSON Schema, from flat to nasty, and hold the facts of the request",
            arms: &[Arm::Prompted, Arm::Constrained],
            options: OPTIONS,
            needs: Needs::SHORT,
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), OUTPUT_TOKENS)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let arm = arm(self, params)?;
        let easier = params.option(&self.card(), "from_level").saturating_sub(1) as usize;
        let hard_enough = data()?.iter().skip(easier);
        let entries: Vec<(&str, &Entry)> = hard_enough
            .flat_map(|level| level.schemas.iter().map(|entry| (level.level.as_str(), entry)))
            .collect();
        let chosen = drawn(self, params, seed, entries)?;
        let case = |(index, entry)| self.case(params, arm, index, entry, tokens);
        (0..).zip(chosen).map(case).collect()
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let target: Target = match grading::read(case) {
            Ok(target) => target,
            Err(outcome) => return outcome,
        };
        match score(&target, reply) {
            Ok(score) if case.arm == Some(Arm::Constrained) => Outcome::Scored(score.with("compiled", 1.0)),
            Ok(score) => Outcome::Scored(score),
            Err(reason) => Outcome::Unscored { reason },
        }
    }

    fn refused(&self, case: &Case, words: &str) -> Option<Outcome> {
        let score = || {
            let score = Score::of(0.0).with("compiled", 0.0).labelled("not_compiled");
            ["json_validity", "schema_compliance", "facts", "exact", "bare"]
                .into_iter()
                .fold(score, |score, name| score.with(name, 0.0))
        };
        (case.arm == Some(Arm::Constrained) && is_about_a_schema(words)).then(|| Outcome::Scored(score()))
    }

    fn constraints(&self, case: &Case) -> Vec<Constraint> {
        let target: Option<Target> = serde_json::from_value(case.target.clone()).ok();
        let Some(target) = target.filter(|_| case.arm == Some(Arm::Constrained)) else { return Vec::new() };
        let all = data().unwrap_or_default().iter().flat_map(|level| &level.schemas);
        let entry = all.into_iter().find(|entry| entry.id == target.entry && entry.schema == target.schema);
        let (valid, wrong) =
            entry.map_or_else(Default::default, |entry| (entry.valid.clone(), entry.invalid.clone()));
        let right = std::iter::once(target.answer).chain(valid).collect();
        vec![Constraint { name: "reply".into(), schema: target.schema, right, wrong }]
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target: Target = serde_json::from_value(case.target.clone()).ok()?;
        let content = target.answer.to_string();
        Some(Reply { content, finish_reason: Some(FinishReason::Stop), ..Reply::default() })
    }
}

impl JsonSchema {
    fn case(
        &self,
        params: &Params,
        arm: Arm,
        index: u32,
        (level, entry): (&str, &Entry),
        tokens: &dyn TokenCounter,
    ) -> Result<Case> {
        let (card, max_tokens) = (self.card(), self.max_tokens(params));
        let user = format!("{}\n\nJSON Schema:\n{}", entry.request, entry.schema);
        let messages = vec![Message::system(INSTRUCTION), Message::user(user)];
        let prompt_tokens = tokens.count_chat(&messages, &[])?;
        if prompt_tokens.saturating_add(max_tokens) > params.context {
            return Err(too_small(&card, params.context, max_tokens, prompt_tokens));
        }
        let prompt = Prompt::Chat {
            messages,
            tools: Vec::new(),
            tool_choice: None,
            response_schema: (arm == Arm::Constrained).then(|| Box::new(entry.schema.clone())),
        };
        let case = card.case(params.context, index, prompt, to_json(&Target::new(level, entry))?);
        let cluster = format!("{}/{}", card.name, entry.id);
        Ok(case.in_arm(Some(arm)).in_cluster(cluster).sized(prompt_tokens, max_tokens).seal())
    }
}

impl Target {
    fn new(level: &str, entry: &Entry) -> Self {
        Self {
            entry: entry.id.clone(),
            level: level.into(),
            schema: entry.schema.clone(),
            answer: entry.answer.clone(),
        }
    }
}

fn data() -> Result<&'static [Collection]> {
    match &*DATA {
        Ok(data) => Ok(data),
        Err(error) => Err(Error::runtime(format!("datasets/tools/schemas-*.json cannot be read: {error}"))),
    }
}

fn score(target: &Target, reply: &Reply) -> std::result::Result<Score, String> {
    let ran_out = reply.finish_reason == Some(FinishReason::Length);
    Ok(match read(&reply.answer()) {
        Found::Nothing | Found::Broken if ran_out => unread("truncated"),
        Found::Nothing => unread("no_json"),
        Found::Broken => unread("bad_json"),
        Found::Value { value, bare } => {
            let violation = violation(&target.schema, &value)?;
            judged(&target.answer, &value, bare, violation)
        }
    })
}

fn unread(label: &str) -> Score {
    figures(false, false, (0, 1), false, false).labelled(label)
}

fn judged(answer: &Value, value: &Value, bare: bool, violation: Option<Violation>) -> Score {
    let exact = same_json(answer, value);
    let score = figures(true, violation.is_none(), facts(answer, Some(value)), exact, bare);
    match violation {
        Some(violation) => score.labelled(violation.name()),
        // The one label that a score of 1 may have: valid, and wrong.
        None if !exact => score.labelled("facts"),
        None => score,
    }
}

fn figures(json: bool, compliant: bool, facts: (usize, usize), exact: bool, bare: bool) -> Score {
    compliance(Score::of(bit(compliant)), json, compliant, bare)
        .with("facts", facts.0 as f64 / facts.1.max(1) as f64)
        .with("exact", bit(exact))
}

fn compliance(score: Score, json: bool, compliant: bool, bare: bool) -> Score {
    score.with("json_validity", bit(json)).with("schema_compliance", bit(compliant)).with("bare", bit(bare))
}

fn bit(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// The JSON in a reply.
#[derive(Debug, PartialEq)]
enum Found {
    /// Nothing that looks like JSON.
    Nothing,
    /// Something that looks like it and is not.
    Broken,
    /// A value; `bare`: with nothing around it.
    Value { value: Value, bare: bool },
}

/// The JSON value that a text is, else the first object or array in it (in a code fence, between words). What
/// is inside of one that is broken does not count.
fn read(text: &str) -> Found {
    let text = text[..text.floor_char_boundary(MAX_BYTES)].trim();
    if let Ok(value) = serde_json::from_str(text) {
        return Found::Value { value, bare: true };
    }
    let mut found = Found::Nothing;
    let mut rest = text;
    while let Some(at) = rest.find(['{', '[']) {
        rest = &rest[at..];
        match serde_json::Deserializer::from_str(rest).into_iter::<Value>().next() {
            Some(Ok(value)) => return Found::Value { value, bare: false },
            Some(Err(error)) => {
                found = Found::Broken;
                rest = &rest[offset(rest, &error).max(1)..];
            }
            None => break,
        }
    }
    found
}

/// Where in the text an error is (bytes).
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let before: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    text.floor_char_boundary(before.saturating_add(error.column()))
}

/// In which way a value breaks a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Violation {
    Missing,
    Extra,
    Type,
    Enum,
    Pattern,
    Format,
    Bounds,
    Combination,
    Other,
}

impl Violation {
    const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Type => "type",
            Self::Enum => "enum",
            Self::Pattern => "pattern",
            Self::Format => "format",
            Self::Bounds => "bounds",
            Self::Combination => "combination",
            Self::Other => "value",
        }
    }

    fn of(kind: &ValidationErrorKind) -> Self {
        use ValidationErrorKind as Kind;
        match kind {
            Kind::Required { .. } => Self::Missing,
            Kind::AdditionalProperties { .. }
            | Kind::AdditionalItems { .. }
            | Kind::UnevaluatedProperties { .. }
            | Kind::UnevaluatedItems { .. }
            | Kind::FalseSchema => Self::Extra,
            Kind::Type { .. } => Self::Type,
            Kind::Enum { .. } | Kind::Constant { .. } => Self::Enum,
            Kind::Pattern { .. } | Kind::PropertyNames { .. } => Self::Pattern,
            Kind::Format { .. } => Self::Format,
            Kind::Minimum { .. }
            | Kind::Maximum { .. }
            | Kind::ExclusiveMinimum { .. }
            | Kind::ExclusiveMaximum { .. }
            | Kind::MultipleOf { .. }
            | Kind::MinLength { .. }
            | Kind::MaxLength { .. }
            | Kind::MinItems { .. }
            | Kind::MaxItems { .. }
            | Kind::MinProperties { .. }
            | Kind::MaxProperties { .. } => Self::Bounds,
            Kind::AnyOf { .. }
            | Kind::OneOfNotValid { .. }
            | Kind::OneOfMultipleValid { .. }
            | Kind::Not { .. } => Self::Combination,
            _ => Self::Other,
        }
    }
}

/// How a value breaks a schema; of several ways the one that comes first in [`Violation`].
///
/// # Errors
/// Why that cannot be told.
fn violation(schema: &Value, value: &Value) -> std::result::Result<Option<Violation>, String> {
    let compiled =
        Schema::compile(schema).map_err(|error| format!("the case's schema cannot be used here: {error}"))?;
    let tame = tamed(value, schema)?;
    compiled.first_error(&tame, Violation::of).map_err(|_| OVER_LIMIT.to_owned())
}

/// Judges a reply by a schema alone, where nobody knows what it has to say: quality 1 when the JSON in it is valid, with
/// `json_validity`, `schema_compliance` and `bare` beside, and the first violation in words.
///
/// # Errors
/// Why that cannot be told.
pub(crate) fn by_schema(
    schema: &Value,
    reply: &Reply,
) -> std::result::Result<(Score, Option<String>), String> {
    let ran_out = reply.finish_reason == Some(FinishReason::Length);
    let figures = |json, compliant, bare| compliance(Score::of(0.0), json, compliant, bare);
    Ok(match read(&reply.answer()) {
        Found::Nothing | Found::Broken if ran_out => {
            (figures(false, false, false).labelled("truncated"), Some("the output budget ran out".into()))
        }
        Found::Nothing => {
            (figures(false, false, false).labelled("no_json"), Some("no JSON in the reply".into()))
        }
        Found::Broken => (
            figures(false, false, false).labelled("bad_json"),
            Some("the JSON in the reply is broken".into()),
        ),
        Found::Value { value, bare } => match violation(schema, &value)? {
            None => (Score { quality: Some(1.0), ..figures(true, true, bare) }, None),
            Some(violation) => {
                let words = Schema::compile(schema).ok().and_then(|schema| schema.first_words(&value));
                (figures(true, false, bare).labelled(violation.name()), words)
            }
        },
    })
}

/// How many leaves (texts, numbers, booleans, nulls, empty lists and objects) of the answer a value has at the
/// same place, and how many there are.
fn facts(answer: &Value, given: Option<&Value>) -> (usize, usize) {
    let add = |(a, b): (usize, usize), (c, d): (usize, usize)| (a + c, b + d);
    match answer {
        Value::Object(object) if !object.is_empty() => object
            .iter()
            .map(|(key, value)| facts(value, given.and_then(|given| given.get(key))))
            .fold((0, 0), add),
        Value::Array(values) if !values.is_empty() => {
            let at = |index: usize| given.and_then(|given| given.get(index));
            values.iter().enumerate().map(|(index, value)| facts(value, at(index))).fold((0, 0), add)
        }
        leaf => (usize::from(given.is_some_and(|given| same_json(leaf, given))), 1),
    }
}

#[cfg(test)]
mod tests;
