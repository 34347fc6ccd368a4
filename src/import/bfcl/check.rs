//! BFCL's checker of calls (v4, single turn, Python), rule by rule: which calls pass, and the published name of
//! the rule that one breaks.

use super::question::{Answer, Function, Question, sent_name};
use crate::console::shown;
use crate::task::tools::python::calls::Call;
use crate::task::tools::python::{Python, PythonType};

/// Why calls do not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// BFCL's name for it, such as `value_error:string`.
    pub(super) kind: &'static str,
    /// What is wrong, in words.
    pub(super) message: String,
}

impl Wrong {
    pub(super) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

type Checked = Result<(), Wrong>;

/// Checks all calls of a reply against the answers of a question.
pub(super) fn check(question: &Question, calls: &[Call], native: bool) -> Checked {
    let answers = &question.answers;
    if question.category.contains("parallel") {
        return parallel(question, calls, native);
    }
    let wrong_count = match question.category.contains("multiple") {
        true => (calls.len() != answers.len()).then_some("multiple_function_checker:wrong_count"),
        false => (calls.len() != 1).then_some("simple_function_checker:wrong_count"),
    };
    if let Some(kind) = wrong_count {
        return Err(Wrong::new(kind, format!("{} calls instead of {}", calls.len(), answers.len())));
    }
    match (calls.first(), answers.first()) {
        (Some(call), Some(answer)) => check_call(question, answer, call, native),
        _ => Ok(()),
    }
}

/// Every answer, in order, takes the first call that passes and that no earlier answer took.
fn parallel(question: &Question, calls: &[Call], native: bool) -> Checked {
    let answers = &question.answers;
    if calls.len() != answers.len() {
        let message = format!("{} calls instead of {}", calls.len(), answers.len());
        return Err(Wrong::new("parallel_function_checker_no_order:wrong_count", message));
    }
    let mut free: Vec<&Call> = calls.iter().collect();
    for (position, answer) in answers.iter().enumerate() {
        let mut reasons = Vec::new();
        let passes = |call: &&Call| match check_call(question, answer, call, native) {
            Ok(()) => true,
            Err(wrong) => {
                reasons.push(wrong.message);
                false
            }
        };
        let Some(taken) = free.iter().position(passes) else {
            let message = format!("no call passes for answer {}: {}", position + 1, reasons.join("; "));
            return Err(Wrong::new("parallel_function_checker_no_order:cannot_find_match", message));
        };
        free.remove(taken);
    }
    Ok(())
}

fn check_call(question: &Question, answer: &Answer, call: &Call, native: bool) -> Checked {
    let function = question.function_of(answer);
    let expected = sent_name(&function.name, native);
    if call.name != expected {
        let message = format!("`{}` is called instead of `{expected}`", shown(&call.name));
        return Err(Wrong::new("simple_function_checker:wrong_func_name", message));
    }
    if let Some(missing) = function.required.iter().find(|name| call.argument(name).is_none()) {
        let message = format!("the required parameter `{missing}` is missing");
        return Err(Wrong::new("simple_function_checker:missing_required", message));
    }
    for (name, value) in &call.arguments {
        check_argument(function, answer, name, value)?;
    }
    let omitted = answer.parameters.iter().find(|(name, accepted)| {
        call.argument(name).is_none() && !accepted.iter().any(Python::is_empty_text)
    });
    match omitted {
        Some((name, _)) => {
            let message = format!("the parameter `{name}` is missing and may not be left out here");
            Err(Wrong::new("simple_function_checker:missing_optional", message))
        }
        None => Ok(()),
    }
}

fn check_argument(function: &Function, answer: &Answer, name: &str, value: &Python) -> Checked {
    let (Some(parameter), Some(accepted)) = (function.parameters.get(name), answer.parameters.get(name))
    else {
        let message = format!("the parameter `{}` is not expected", shown(name));
        return Err(Wrong::new("simple_function_checker:unexpected_param", message));
    };
    let value = converted(value, &parameter.kind_name);
    let is_variable = check_type(name, &value, accepted, parameter.kind, parameter.nested)?;
    let right = match (&value, parameter.kind) {
        (_, kind)
            if is_variable || !matches!(kind, PythonType::Dict | PythonType::List | PythonType::Text) =>
        {
            return require(among(&value, accepted), "value_error:others", name, &value);
        }
        (Python::Dict(_), PythonType::Dict) => return check_dict(name, &value, accepted),
        (Python::List(items), _) if parameter.nested == Some(PythonType::Dict) => {
            return check_dicts(name, items, accepted);
        }
        (Python::Text(text), _) => same_text(text, accepted),
        (Python::List(items), _) => return check_list(name, items, accepted),
        _ => false,
    };
    require(right, "value_error:string", name, &value)
}

/// What Python would convert before it looks: a whole number for a float, a tuple for a tuple.
fn converted(value: &Python, kind_name: &str) -> Python {
    match (value, kind_name) {
        (Python::Int(digits), "float") => Python::float(digits).unwrap_or_else(|| value.clone()),
        (Python::Tuple(values), "tuple") => Python::List(values.clone()),
        _ => value.clone(),
    }
}

/// Returns whether a value has an acceptable type, and if so whether it stands for a variable: then the answers are of
/// another type than the documentation says.
fn check_type(
    name: &str,
    value: &Python,
    accepted: &[Python],
    expected: PythonType,
    nested: Option<PythonType>,
) -> Result<bool, Wrong> {
    let answered = accepted.iter().find(|answer| !answer.is_empty_text()).map(Python::kind);
    if value.kind() == expected {
        let Some(nested) = nested else {
            return Ok(answered.is_some_and(|kind| kind != expected));
        };
        if accepted.iter().any(|answer| elements_fit(name, value, answer, nested)) {
            return Ok(answered.is_some_and(|kind| kind != expected));
        }
        let message = format!("`{name}` is {}: an element has the wrong type", seen(value));
        return Err(Wrong::new("type_error:nested", message));
    }
    if answered == Some(value.kind()) {
        return Ok(true);
    }
    let message = format!("`{name}` is {}, not of type {}", seen(value), expected.name());
    Err(Wrong::new("type_error:simple", message))
}

/// Element types are checked one level deep, and only against answers that are lists.
fn elements_fit(name: &str, value: &Python, answer: &Python, nested: PythonType) -> bool {
    match (value, answer) {
        (Python::List(items), Python::List(accepted)) => {
            items.iter().all(|item| check_type(name, item, accepted, nested, None).is_ok())
        }
        _ => true,
    }
}

fn check_list(name: &str, items: &[Python], accepted: &[Python]) -> Checked {
    let given: Vec<Python> = items.iter().map(normal).collect();
    let same = |answer: &Python| {
        let elements = elements(answer);
        elements.len() == given.len() && elements.iter().zip(&given).all(|(a, b)| normal(a).equals(b))
    };
    let right = accepted.iter().any(same);
    require(right, "value_error:list/tuple", name, &Python::List(items.to_vec()))
}

/// The elements of an answer for a list: a string is its characters, so "" is the empty list.
fn elements(answer: &Python) -> Vec<Python> {
    match answer {
        Python::List(items) => items.clone(),
        Python::Text(text) => text.chars().map(|c| Python::Text(c.to_string())).collect(),
        other => vec![other.clone()],
    }
}

/// The complaint is that about the last answer that was tried.
fn check_dict(name: &str, value: &Python, accepted: &[Python]) -> Checked {
    let unclear =
        Wrong::new("dict_checker:unclear", format!("`{name}` is {}: no answer takes it", seen(value)));
    let mut complaint = unclear;
    for answer in accepted.iter().filter(|answer| !answer.is_empty_text()) {
        match dict_matches(name, value, answer) {
            Ok(()) => return Ok(()),
            Err(wrong) => complaint = wrong,
        }
    }
    Err(complaint)
}

/// No extra keys, every value among those of its key, and a key may only be absent when "" is among its values.
fn dict_matches(name: &str, value: &Python, answer: &Python) -> Checked {
    let (Python::Dict(given), Python::Dict(answer)) = (value, answer) else {
        return Err(Wrong::new("dict_checker:unclear", format!("`{name}` is {}", seen(value))));
    };
    for (key, value) in given {
        let Some(accepted) = answer.get(key) else {
            let message = format!("`{name}` has the extra key `{}`", shown(key));
            return Err(Wrong::new("value_error:dict_key", message));
        };
        let accepted: Vec<Python> = elements(accepted).iter().map(normal).collect();
        require(among(&normal(value), &accepted), "value_error:dict_value", key, value)?;
    }
    let required = |(key, accepted): &(&String, &Python)| {
        !given.contains_key(*key) && !elements(accepted).iter().any(Python::is_empty_text)
    };
    match answer.iter().find(required) {
        Some((key, _)) => Err(Wrong::new("value_error:dict_key", format!("`{name}` lacks the key `{key}`"))),
        None => Ok(()),
    }
}

/// Lists of dictionaries: the same length, compared by position.
fn check_dicts(name: &str, items: &[Python], accepted: &[Python]) -> Checked {
    let unclear = || Wrong::new("list_dict_checker:unclear", format!("`{name}`: no answer takes the list"));
    let mut complaint = unclear();
    for answer in accepted {
        let answers = elements(answer);
        if answers.len() != items.len() {
            let message = format!("`{name}` has {} elements, the answer {}", items.len(), answers.len());
            complaint = Wrong::new("value_error:list_dict_count", message);
            continue;
        }
        let one = |(item, answer): (&Python, &Python)| check_dict(name, item, std::slice::from_ref(answer));
        match items.iter().zip(&answers).try_for_each(one) {
            Ok(()) => return Ok(()),
            Err(wrong) => complaint = wrong,
        }
    }
    Err(complaint)
}

fn same_text(text: &str, accepted: &[Python]) -> bool {
    let text = normal_text(text);
    accepted.iter().any(|answer| matches!(answer, Python::Text(answer) if normal_text(answer) == text))
}

fn among(value: &Python, accepted: &[Python]) -> bool {
    accepted.iter().any(|answer| answer.equals(value))
}

/// Strings in the form in which they are compared; anything else as it is.
fn normal(value: &Python) -> Python {
    match value {
        Python::Text(text) => Python::Text(normal_text(text)),
        other => other.clone(),
    }
}

/// Blanks and some punctuation do not count, nor does case, nor which quotes.
fn normal_text(text: &str) -> String {
    let kept: String = text.chars().filter(|c| !" ,./-_*^".contains(*c)).collect();
    kept.to_lowercase().replace('\'', "\"")
}

fn require(right: bool, kind: &'static str, name: &str, value: &Python) -> Checked {
    if right {
        return Ok(());
    }
    Err(Wrong::new(kind, format!("`{}` is {}: not among the answers", shown(name), seen(value))))
}

/// A value that a model wrote, shortened and with its escapes written out.
fn seen(value: &Python) -> String {
    format!("{} {}", value.kind().name(), shown(&value.to_string()))
}
