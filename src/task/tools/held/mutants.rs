//! Small changes of a value: most break a schema, each in its own way, and some do not.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::{decimals, examples, patterns};
use crate::task::tools::effort::Effort;

/// Most changed values of a schema.
const MAX_MUTANTS: usize = 1_000;
/// Largest value that is changed (bytes as JSON).
const MAX_BYTES: usize = 20_000;
/// Most parts of a value that are changed.
const MAX_PLACES: usize = 1_000;
/// Most that all changed values are as JSON (bytes).
const MAX_TEXT: usize = 8 << 20;
/// Longest list or text that is made: servers have bounds of their own for `maxLength` and `maxItems`.
const MAX_LENGTH: u64 = 4_000;
/// Largest list that is made of a shorter one (bytes as JSON, about).
const MAX_LIST: usize = 100_000;
/// Most numbers, lengths, texts and names that are taken from a schema, of each.
const MAX_HINTS: usize = 16;

/// What a schema names: values and bounds that changes are made with.
#[derive(Debug, Default)]
pub(super) struct Hints {
    numbers: Vec<f64>,
    /// What numbers are multiples of.
    steps: Vec<f64>,
    lengths: Vec<u64>,
    texts: Vec<String>,
    /// Names of properties, each with a value that fits it.
    members: Vec<(String, Value)>,
}

impl Hints {
    pub(super) fn of(schema: &Value, effort: &Effort<'_>) -> Self {
        let mut hints = Self::default();
        hints.look(schema, schema, 0, effort);
        hints.lengths.retain(|length| *length <= MAX_LENGTH);
        hints.numbers.truncate(MAX_HINTS);
        hints.steps.truncate(MAX_HINTS);
        hints.lengths.truncate(MAX_HINTS);
        hints.texts.truncate(MAX_HINTS);
        hints.members.truncate(MAX_HINTS);
        hints
    }

    fn look(&mut self, root: &Value, value: &Value, depth: u32, effort: &Effort<'_>) {
        match value {
            Value::Number(number) => {
                if let Some(number) = number.as_f64() {
                    push(&mut self.numbers, number);
                }
                if let Some(length) = number.as_u64() {
                    push(&mut self.lengths, length);
                }
            }
            Value::Array(values) if depth < 64 => {
                for value in values {
                    if let Value::String(text) = value {
                        push(&mut self.texts, text.clone());
                    }
                    self.look(root, value, depth + 1, effort);
                }
            }
            Value::Object(object) if depth < 64 => {
                for (key, value) in object {
                    match (key.as_str(), value) {
                        ("const", Value::String(text)) => push(&mut self.texts, text.clone()),
                        ("multipleOf", Value::Number(step)) => {
                            self.steps.extend(step.as_f64().filter(|step| *step > 0.0));
                        }
                        ("properties", Value::Object(members)) => self.members_of(root, members, effort),
                        ("patternProperties", Value::Object(members)) => {
                            let named = members.iter().filter_map(|(pattern, schema)| {
                                Some((patterns::example(pattern)?, schema.clone()))
                            });
                            self.members_of(root, &named.collect(), effort);
                        }
                        _ => {}
                    }
                    self.look(root, value, depth + 1, effort);
                }
            }
            _ => {}
        }
    }

    fn members_of(&mut self, root: &Value, members: &Map<String, Value>, effort: &Effort<'_>) {
        let room = MAX_HINTS.saturating_sub(self.members.len());
        for (name, schema) in members.iter().take(room) {
            let value = examples::of_part(root, schema, effort).unwrap_or(Value::Null);
            push(&mut self.members, (name.clone(), value));
        }
    }
}

fn push<T: PartialEq>(all: &mut Vec<T>, one: T) {
    if all.len() < 4 * MAX_HINTS && !all.contains(&one) {
        all.push(one);
    }
}

/// Values that differ from one of these by one small change, without those themselves: so many as the effort allows.
///
/// Work is counted in parts of the values that are made.
pub(super) fn mutants(of: &[Value], hints: &Hints, effort: &Effort<'_>) -> Vec<Value> {
    let mut seen: HashSet<String> = of.iter().map(Value::to_string).collect();
    let (mut found, mut bytes) = (Vec::new(), 0);
    for value in of.iter().filter(|value| value.to_string().len() <= MAX_BYTES) {
        for place in places(value) {
            let part = value.pointer(&place).unwrap_or(&Value::Null);
            for change in own_changes(part, hints) {
                let mutant = changed(value, &place, change);
                let text = mutant.to_string();
                if found.len() == MAX_MUTANTS
                    || bytes > MAX_TEXT
                    || effort.spend(1 + text.len() as u64 / 16).is_none()
                {
                    return found;
                }
                bytes += text.len();
                if seen.insert(text) {
                    found.push(mutant);
                }
            }
        }
    }
    found
}

/// The places of a value's parts (JSON pointers), each before those within it, its own first.
fn places(value: &Value) -> Vec<String> {
    let (mut found, mut open) = (Vec::new(), vec![(String::new(), value)]);
    while let Some((place, value)) = open.pop() {
        let within: Vec<(String, &Value)> = match value {
            Value::Array(values) => values
                .iter()
                .enumerate()
                .take(MAX_HINTS)
                .map(|(index, part)| (index.to_string(), part))
                .collect(),
            Value::Object(object) => {
                object.iter().map(|(key, part)| (key.replace('~', "~0").replace('/', "~1"), part)).collect()
            }
            _ => Vec::new(),
        };
        open.extend(within.into_iter().rev().map(|(key, part)| (format!("{place}/{key}"), part)));
        found.push(place);
        if found.len() == MAX_PLACES {
            break;
        }
    }
    found
}

fn changed(value: &Value, place: &str, change: Value) -> Value {
    let mut mutant = value.clone();
    if let Some(part) = mutant.pointer_mut(place) {
        *part = change;
    }
    mutant
}

fn own_changes(value: &Value, hints: &Hints) -> Vec<Value> {
    let mut all = match value {
        Value::Number(number) => numbers(number.as_f64().unwrap_or_default(), hints),
        Value::String(text) => texts(text, hints),
        Value::Array(values) => lists(values, hints),
        Value::Object(object) => objects(object, hints),
        Value::Bool(yes) => vec![json!(!yes)],
        Value::Null => Vec::new(),
    };
    all.extend([json!("zzz"), json!(0), json!(1.5), json!(true), Value::Null, json!([]), json!({})]);
    all
}

fn numbers(number: f64, hints: &Hints) -> Vec<Value> {
    let near = |number: f64| [number, number - 1.0, number + 1.0, number - 0.5, number + 0.5];
    // One and a half may well be a multiple of a hundredth: half a step never is.
    let of_step = |step: &f64| [0.5, -0.5, 1.0, -1.0].map(|part| decimals::plus(number, part, *step));
    let all = near(number).into_iter().chain([-number]).chain(hints.steps.iter().flat_map(of_step));
    let all = all.chain(hints.numbers.iter().copied().flat_map(near));
    all.map(decimals::json).collect()
}

fn texts(text: &str, hints: &Hints) -> Vec<Value> {
    let chars: Vec<char> = text.chars().collect();
    let mut all: Vec<String> = Vec::new();
    // Further on in the same way first, so that a length is the one thing that is broken.
    for length in near_lengths(hints) {
        let last = chars.last().copied().unwrap_or('x');
        all.push(chars.iter().copied().chain(std::iter::repeat(last)).take(length as usize).collect());
    }
    all.push(chars.iter().take(chars.len().saturating_sub(1)).collect());
    all.push(chars.iter().skip(1).collect());
    all.extend(chars.last().map(|last| format!("{text}{last}")));
    all.extend([format!("{text}!"), format!(" {text}"), format!("{text}\n"), String::new()]);
    all.extend([text.to_uppercase(), text.to_lowercase(), format!("{text}{text}")]);
    for at in 0..chars.len().min(MAX_HINTS) {
        let mut changed = chars.clone();
        changed[at] = if changed[at].is_ascii_digit() { 'x' } else { '0' };
        all.push(changed.into_iter().collect());
    }
    all.extend(hints.texts.iter().cloned());
    all.into_iter().map(Value::String).collect()
}

fn near_lengths(hints: &Hints) -> Vec<u64> {
    let mut lengths = Vec::new();
    for length in &hints.lengths {
        push(&mut lengths, length + 1);
        push(&mut lengths, length.saturating_sub(1));
    }
    lengths
}

fn lists(values: &[Value], hints: &Hints) -> Vec<Value> {
    let mut all: Vec<Vec<Value>> = Vec::new();
    for (at, _) in values.iter().enumerate().take(MAX_HINTS) {
        let mut fewer = values.to_vec();
        fewer.remove(at);
        all.push(fewer);
    }
    if let (Some(first), Some(last)) = (values.first(), values.last()) {
        all.push([values, std::slice::from_ref(last)].concat());
        let mut same = values.to_vec();
        same[values.len() - 1] = first.clone();
        all.push(same);
        let longest = values.iter().map(|value| value.to_string().len()).max().unwrap_or(0);
        let fits = |length: &u64| *length as usize * longest <= MAX_LIST;
        for length in near_lengths(hints).into_iter().filter(fits) {
            all.push(values.iter().cycle().take(length as usize).cloned().collect());
            all.push((0..length as usize).map(|at| values.get(at).unwrap_or(last)).cloned().collect());
        }
    }
    for more in [json!("zzz"), json!(0), Value::Null] {
        all.push([values, &[more]].concat());
    }
    all.push(values.iter().rev().cloned().collect());
    all.into_iter().map(Value::Array).collect()
}

fn objects(object: &Map<String, Value>, hints: &Hints) -> Vec<Value> {
    let mut all = Vec::new();
    for key in object.keys() {
        let mut fewer = object.clone();
        fewer.shift_remove(key);
        all.push(fewer);
    }
    let with = |name: &str, value: &Value| {
        let mut more = object.clone();
        more.insert(name.to_owned(), value.clone());
        more
    };
    all.extend(hints.members.iter().map(|(name, value)| with(name, value)));
    for value in [json!("x"), json!(0), Value::Null, json!(true)] {
        all.push(with("zzz", &value));
    }
    // Of the kind of what is there already: then nothing but the number of properties, or their names, is broken.
    if let Some(value) = object.values().next() {
        all.extend(["zzz", "Z-0", "0"].map(|name| with(name, value)));
        for length in near_lengths(hints).into_iter().filter(|length| *length <= 40) {
            let mut more = object.clone();
            let names = (0..).map(|number| format!("zz{number}"));
            names.take((length as usize).saturating_sub(object.len())).for_each(|name| {
                more.insert(name, value.clone());
            });
            all.push(more);
        }
    }
    all.into_iter().map(Value::Object).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_changed_and_nothing_comes_twice() {
        let schema = json!({"properties": {"n": {"maximum": 9}, "t": {"maxLength": 3, "enum": ["tea"]}, "o": {"const": 5}}});
        let value = json!({"n": 9, "t": ["tea"]});
        let effort = Effort::new(1_000_000, &|| false);
        let found = mutants(std::slice::from_ref(&value), &Hints::of(&schema, &effort), &effort);
        for wanted in [
            json!({"n": 10, "t": ["tea"]}),
            json!({"n": 9, "t": ["teaa"]}),
            json!({"n": 9, "t": ["tea", "tea"]}),
            json!({"n": 9}),
            json!({"n": 9, "t": ["tea"], "o": 5}),
            json!({"n": 9, "t": ["tea"], "zzz": null}),
            json!({"n": "zzz", "t": ["tea"]}),
        ] {
            assert!(found.contains(&wanted), "{wanted}");
        }
        assert!(!found.contains(&value));
        let texts: HashSet<String> = found.iter().map(Value::to_string).collect();
        assert_eq!(texts.len(), found.len());
    }
}
