//! One question of BFCL's files with its answers, ready to be asked and checked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::import::values::name_of;
use crate::record::{Message, Role, Tool};
use crate::task::tools::python::{Python, PythonType};

/// Parts of the names of categories that are not read, and why.
const OTHER_FORMS: [(&str, &str); 12] = [
    ("multi_turn", "it is played over several turns with the published environment's own tools"),
    ("java", "its arguments are written and compared as Java"),
    ("javascript", "its arguments are written and compared as JavaScript"),
    ("memory", "it is played over several conversations with a store of its own"),
    ("web_search", "it is played over several turns with a search engine"),
    ("agentic", "it is played over several turns with tools of its own"),
    ("format_sensitivity", "it asks the questions of other categories again, in other formats"),
    ("exec", "its calls are carried out, and their results compared"),
    ("executable", "its calls are carried out, and their results compared"),
    ("rest", "its calls are sent to public servers"),
    ("sql", "its arguments are compared as SQL"),
    ("chatable", "it has no functions, and nothing that could be checked"),
];

/// A line of a file of questions.
#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) id: Value,
    question: Vec<Vec<Said>>,
    function: Vec<Map<String, Value>>,
}

#[derive(Debug, Deserialize)]
struct Said {
    role: Role,
    content: String,
}

/// A line of a file of answers.
#[derive(Debug, Deserialize)]
pub(super) struct AnswerRow {
    pub(super) id: Value,
    pub(super) ground_truth: Vec<Map<String, Value>>,
}

/// The target of a case: what the files say, unchanged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Target {
    /// The file's name of the question.
    pub(super) source: String,
    pub(super) category: String,
    pub(super) function: Vec<Map<String, Value>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ground_truth: Vec<Map<String, Value>>,
}

/// What a category asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The calls of the answers.
    Calls,
    /// Any call at all.
    AnyCall,
    /// No call.
    NoCall,
}

impl Target {
    pub(super) fn wanted(&self) -> Wanted {
        if self.category.contains("irrelevance") {
            Wanted::NoCall
        } else if self.category.contains("relevance") {
            Wanted::AnyCall
        } else {
            Wanted::Calls
        }
    }

    /// The functions as tools of the OpenAI form; `native`: without dots in their names.
    pub(super) fn tools(&self, native: bool) -> Vec<Tool> {
        let text = |function: &Map<String, Value>, key: &str| {
            function.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let tool = |function: &Map<String, Value>| Tool {
            name: sent_name(&text(function, "name"), native),
            description: text(function, "description"),
            parameters: openapi(function.get("parameters").unwrap_or(&Value::Null)),
        };
        self.function.iter().map(tool).collect()
    }
}

/// A function's name as it is sent: servers take no dots in the names of the `tools` field.
pub(super) fn sent_name(name: &str, native: bool) -> String {
    if native { name.replace('.', "_") } else { name.to_owned() }
}

/// A schema with JSON Schema's names for the types; what is not known becomes a string, as published.
fn openapi(schema: &Value) -> Value {
    let Value::Object(object) = schema else { return schema.clone() };
    let mut object = object.clone();
    if let Some(Value::String(kind)) = object.get_mut("type") {
        *kind = match kind.as_str() {
            "integer" | "number" | "boolean" | "array" | "object" => return nested(object),
            "float" => "number",
            "dict" => "object",
            "tuple" => "array",
            _ => "string",
        }
        .to_owned();
    }
    nested(object)
}

fn nested(mut object: Map<String, Value>) -> Value {
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(|property| *property = openapi(property));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(schema) = object.get_mut(key) {
            *schema = openapi(schema);
        }
    }
    Value::Object(object)
}

/// A parameter as its function documents it.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) kind_name: String,
    pub(super) kind: PythonType,
    /// The type of the elements of an array or a tuple.
    pub(super) nested: Option<PythonType>,
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) required: Vec<String>,
    pub(super) parameters: BTreeMap<String, Parameter>,
}

/// A call that is asked for: each parameter with what is accepted for it.
#[derive(Debug)]
pub(super) struct Answer {
    function: usize,
    pub(super) parameters: BTreeMap<String, Vec<Python>>,
}

/// What the checker needs.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) category: String,
    pub(super) functions: Vec<Function>,
    pub(super) answers: Vec<Answer>,
}

impl Question {
    /// # Errors
    /// What is wrong with the file's functions or answers.
    pub(super) fn of(target: &Target) -> Result<Self, String> {
        let functions: Vec<Function> = target.function.iter().map(function).collect::<Result<_, _>>()?;
        let answers = target.ground_truth.iter().map(|truth| answer(truth, &functions));
        let answers: Vec<Answer> = answers.collect::<Result<_, _>>()?;
        if answers.is_empty() {
            return Err("`ground_truth` is empty: there is nothing to score against".into());
        }
        Ok(Self { category: target.category.clone(), functions, answers })
    }

    /// Calls are checked against the function that the answer names; where just one call is asked for and
    /// there is one function, that is it.
    pub(super) fn function_of(&self, answer: &Answer) -> &Function {
        &self.functions[answer.function]
    }
}

fn function(function: &Map<String, Value>) -> Result<Function, String> {
    let name = function.get("name").and_then(Value::as_str).ok_or("a function has no `name`")?.to_owned();
    let parameters = function.get("parameters").unwrap_or(&Value::Null);
    let properties = parameters.get("properties").and_then(Value::as_object);
    let of = |(key, schema): (&String, &Value)| {
        parameter(schema)
            .map(|parameter| (key.clone(), parameter))
            .map_err(|error| format!("{name}.{key}: {error}"))
    };
    let required = parameters.get("required").and_then(Value::as_array).into_iter().flatten();
    Ok(Function {
        required: required.filter_map(|name| name.as_str().map(str::to_owned)).collect(),
        parameters: properties.into_iter().flatten().map(of).collect::<Result<_, _>>()?,
        name,
    })
}

fn parameter(schema: &Value) -> Result<Parameter, String> {
    let named = |schema: &Value| {
        let name = schema.get("type").and_then(Value::as_str).ok_or("a parameter has no `type`")?;
        let kind = PythonType::named(name).ok_or_else(|| format!("BFCL has no type `{name}`"))?;
        Ok::<_, String>((name.to_owned(), kind))
    };
    let (kind_name, kind) = named(schema)?;
    let nested = match (kind, schema.get("items")) {
        (PythonType::List, Some(items)) => Some(named(items)?.1),
        _ => None,
    };
    Ok(Parameter { kind_name, kind, nested })
}

fn answer(truth: &Map<String, Value>, functions: &[Function]) -> Result<Answer, String> {
    let mut entries = truth.iter();
    let (Some((name, accepted)), None) = (entries.next(), entries.next()) else {
        return Err("an answer in `ground_truth` must name one function".into());
    };
    let function = functions
        .iter()
        .position(|function| function.name == *name)
        .ok_or_else(|| format!("the answer calls `{name}`, which is not among the functions"))?;
    let accepted = accepted.as_object().ok_or_else(|| format!("the answer for `{name}` is not an object"))?;
    let list = |(key, values): (&String, &Value)| match values {
        Value::Array(values) => Ok((key.clone(), values.iter().map(Python::from).collect())),
        _ => Err(format!("{name}.{key}: the accepted values are not a list")),
    };
    Ok(Answer { function, parameters: accepted.iter().map(list).collect::<Result<_, _>>()? })
}

/// A question as it is read: its name, its messages and what is right.
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) messages: Vec<Message>,
    pub(super) target: Target,
}

/// Puts a question and its answers together. `file`: the name of the file of questions, which says the category
/// where the question's own name does not.
///
/// # Errors
/// What is wrong with them.
pub(super) fn asked(
    row: Row,
    file: &str,
    answers: impl FnOnce(&str) -> Option<Vec<Map<String, Value>>>,
) -> Result<Asked, String> {
    let id = name_of(&row.id).map_err(|error| format!("`id`: {error}"))?;
    let category = category(&id, file);
    let [turn] = row
        .question
        .try_into()
        .map_err(|turns: Vec<_>| format!("{} turns: only single-turn questions are read", turns.len()))?;
    let messages = turn.into_iter().map(|said| Message::new(said.role, said.content)).collect();
    let mut target =
        Target { source: id.clone(), category, function: row.function, ground_truth: Vec::new() };
    if target.wanted() == Wanted::Calls {
        target.ground_truth = answers(&id).ok_or_else(|| {
            format!("no answers to {id}: name their file too, as in QUESTIONS.json,ANSWERS.json")
        })?;
        Question::of(&target)?;
    }
    Ok(Asked { id, messages, target })
}

/// Why a category is not read, if it is not.
pub(super) fn unread(category: &str) -> Option<String> {
    let (form, why) = other_form(category)?;
    Some(format!("category {category}: only single-turn questions about Python are read, no {form}: {why}"))
}

/// What the question's name says before its number (`live_simple_0-0-0`), else the file's name.
pub(super) fn category(id: &str, file: &str) -> String {
    let known = |name: &str| {
        let parts = ["simple", "multiple", "parallel", "relevance"];
        parts.iter().any(|part| name.contains(part)) || other_form(name).is_some()
    };
    let own = id.rsplit_once('_').map_or(id, |(category, _)| category);
    if known(own) || !known(file) {
        return own.to_owned();
    }
    of_file(file).unwrap_or(file).to_owned()
}

/// The category that a published file's name says: `BFCL_v4_multi_turn_base` is about `multi_turn_base`.
pub(super) fn of_file(file: &str) -> Option<&str> {
    let rest = file.strip_prefix("BFCL_")?;
    Some(rest.split_once('_').map_or(rest, |(_, rest)| rest))
}

fn other_form(category: &str) -> Option<(&'static str, &'static str)> {
    let category = format!("_{category}_");
    OTHER_FORMS.into_iter().find(|(form, _)| category.contains(&format!("_{form}_")))
}
