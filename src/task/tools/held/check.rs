//! From a schema and what a server makes of it to what is held of it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::examples::{self, size};
use super::keywords::{Keyword, keywords, without};
use super::mutants::{Hints, mutants};
use crate::record::{ANY_OBJECT, Conversion, HeldKeyword, HeldSchema, Hold, Prompt, short_hash};
use crate::task::tools::effort::{Effort, GiveUp};
use crate::task::tools::grammar::Grammar;
use crate::task::tools::schema::{Judgement, Schema};

/// Values that a keyword is tried with.
const WITNESSES: usize = 6;
/// Right values that are made beside those that are given.
const MADE: usize = 16;
/// Right values that the changes begin from.
const BASES: usize = 6;
/// Largest schema that is looked at (bytes as JSON).
pub(super) const MAX_SCHEMA: usize = 256 << 10;
/// Work that making and judging values may take (parts of schemas and values).
const MAKING: u64 = 20_000_000;
/// Steps that matching all values may take.
const MATCHING: u64 = 50_000_000;
/// What compiling a schema counts for, beside its size.
const COMPILING: u64 = 500;
/// Most schemas without a keyword that a server is asked about.
const MAX_QUESTIONS: usize = 24;

/// A schema that replies are held to, with what is known of its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    /// The tool whose arguments it is about, or `reply`.
    pub name: String,
    /// The schema.
    pub schema: Value,
    /// Values that are right; the first is the one that is asked for, if there is such a one.
    pub right: Vec<Value>,
    /// Values that are wrong.
    pub wrong: Vec<Value>,
}

impl Constraint {
    /// One of which nothing else is known.
    pub fn new(name: impl Into<String>, schema: Value) -> Self {
        Self { name: name.into(), schema, right: Vec::new(), wrong: Vec::new() }
    }

    /// Those of a prompt: the schema of the reply, and the arguments of its tools.
    pub fn of_prompt(prompt: &Prompt) -> Vec<Self> {
        let Prompt::Chat { tools, response_schema, .. } = prompt else { return Vec::new() };
        let reply = response_schema.as_deref().filter(|schema| **schema != ANY_OBJECT);
        let reply = reply.map(|schema| Self::new("reply", schema.clone()));
        reply
            .into_iter()
            .chain(tools.iter().map(|tool| Self::new(tool.name.as_str(), tool.parameters.clone())))
            .collect()
    }

    /// The schema's hash, as journals name it.
    pub fn hash(&self) -> String {
        short_hash(self.schema.to_string().as_bytes())
    }

    /// The hash of the values that are right.
    pub fn hash_of_right(&self) -> String {
        short_hash(Value::from(self.right.clone()).to_string().as_bytes())
    }
}

/// What a server says to a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The grammar that it made of it (GBNF).
    Grammar(String),
    /// It refuses it, in these words.
    Refused(String),
    /// Nothing that helps, and why.
    Nothing(String),
}

/// A schema whose keywords are tried.
#[derive(Debug)]
pub struct Check {
    constraint: Constraint,
    keywords: Vec<Keyword>,
    /// Values that break one keyword and no other, for each of them.
    witnesses: Vec<Vec<Value>>,
    /// Right values, those that were given first.
    right: Vec<Value>,
    given: usize,
    /// Right values with keys that no other right one has: closed objects cannot have them.
    strange: Vec<Value>,
    schema: Schema,
}

/// What is known after the first answer, and which keywords to ask about.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What is held, as far as that is known.
    pub held: HeldSchema,
    /// The keywords without which the server should be asked again: [`Check::without`].
    pub ask: Vec<usize>,
    /// Right values that could not be written, for whatever reason but that their objects are closed.
    barred: Vec<Value>,
}

impl Check {
    /// Makes the values that a schema is tried with.
    ///
    /// # Errors
    /// Why that cannot be done: the schema is none, or not for us, or somebody gave up.
    pub fn new(constraint: Constraint, give_up: GiveUp<'_>) -> Result<Self, String> {
        if constraint.schema.to_string().len() > MAX_SCHEMA {
            return Err(format!("it is longer than {} KiB", MAX_SCHEMA >> 10));
        }
        let effort = Effort::new(MAKING, give_up);
        let schema = Schema::compile(&constraint.schema).map_err(|error| error.to_string())?;
        let valid = |value: &Value| schema.judge(value) == Judgement::Valid;
        let mut right: Vec<Value> = constraint.right.iter().filter(|value| valid(value)).cloned().collect();
        let given = right.len();
        let made = examples::candidates(&constraint.schema, &effort).into_iter();
        right.extend(made.filter(|value| valid(value) && !constraint.right.contains(value)));
        let hints = Hints::of(&constraint.schema, &effort);
        let bases: Vec<Value> = right.iter().take(BASES).cloned().collect();
        let (mut fine, mut wrong) = parted(mutants(&bases, &hints, &effort), &schema, &effort);
        // Once more from what came out right in another way: what holds only under a condition is seen there.
        let bases: Vec<Value> = spread(&fine, BASES);
        let (more_fine, more_wrong) = parted(mutants(&bases, &hints, &effort), &schema, &effort);
        fine.extend(more_fine);
        wrong.extend(more_wrong);
        let (_, listed) = parted(constraint.wrong.clone(), &schema, &effort);
        wrong.splice(0..0, listed);
        let keywords = keywords(&constraint.schema);
        let witnesses =
            keywords.iter().map(|keyword| witnesses(&constraint.schema, keyword, &wrong, &effort)).collect();
        if give_up() {
            return Err(TOO_LONG.into());
        }
        let mut known = BTreeSet::new();
        right.iter().for_each(|value| key_places(value, "", &mut known));
        let (own, strange): (Vec<Value>, Vec<Value>) = fine.into_iter().partition(|value| {
            let mut places = BTreeSet::new();
            key_places(value, "", &mut places);
            places.is_subset(&known)
        });
        right.extend(spread(&own, MADE));
        let strange = spread(&strange, BASES);
        Ok(Self { constraint, keywords, witnesses, right, given, strange, schema })
    }

    /// What a server's answer to the whole schema says.
    pub fn first(&self, answer: &Answer, give_up: GiveUp<'_>) -> Found {
        match answer {
            Answer::Nothing(reason) => self.unknown(reason.clone()),
            Answer::Refused(words) => {
                let conversion = Conversion::Refused { words: words.clone() };
                let ask = (0..self.keywords.len()).take(MAX_QUESTIONS).collect();
                Found { held: self.held(conversion, |_| (Hold::Unshown, None)), ask, barred: Vec::new() }
            }
            Answer::Grammar(text) => match Grammar::read(text) {
                Ok(grammar) => {
                    let found = self.tried(&grammar, &Effort::new(MATCHING, give_up));
                    // What was tried says less than it seems to.
                    if give_up() { self.unknown(TOO_LONG.into()) } else { found }
                }
                Err(error) => self.unknown(format!("its grammar cannot be read here: {error}")),
            },
        }
    }

    /// The schema without a keyword.
    pub fn without(&self, keyword: usize) -> Value {
        without(&self.constraint.schema, &self.keywords[keyword])
    }

    /// What the answers about [`Found::ask`] add, in that order.
    pub fn finish(&self, found: Found, answers: &[Answer], give_up: GiveUp<'_>) -> HeldSchema {
        let effort = Effort::new(MATCHING, give_up);
        let Found { mut held, ask, barred } = found;
        let refused = matches!(held.conversion, Conversion::Refused { .. });
        for (keyword, answer) in ask.into_iter().zip(answers) {
            let Answer::Grammar(text) = answer else { continue };
            let entry = &mut held.keywords[keyword];
            if refused {
                entry.hold = Hold::Refused;
                continue;
            }
            let Ok(grammar) = Grammar::read(text) else { continue };
            let freed = barred.iter().find(|value| grammar.can_write(value, &effort) == Ok(true));
            if let Some(value) = freed.filter(|_| entry.hold != Hold::Dropped) {
                entry.hold = Hold::OverRestricted;
                entry.instance = Some(value.clone());
            }
        }
        tidied(held, |at| self.keywords[at].is_holder)
    }

    fn unknown(&self, reason: String) -> Found {
        let held = self.held(Conversion::Unknown { reason }, |_| (Hold::Unshown, None));
        Found { held, ask: Vec::new(), barred: Vec::new() }
    }

    fn held(&self, conversion: Conversion, hold: impl Fn(usize) -> (Hold, Option<Value>)) -> HeldSchema {
        let entry = |(index, keyword): (usize, &Keyword)| {
            let (hold, instance) = hold(index);
            HeldKeyword {
                at: keyword.at.clone(),
                keyword: keyword.name.to_owned(),
                hold,
                instance,
                row: None,
            }
        };
        let held = HeldSchema::unknown(self.constraint.hash(), self.constraint.name.clone(), conversion);
        HeldSchema { keywords: self.keywords.iter().enumerate().map(entry).collect(), ..held }
    }

    fn tried(&self, grammar: &Grammar, effort: &Effort<'_>) -> Found {
        let writes = |value: &Value| grammar.can_write(value, effort).ok();
        let right: Vec<Option<bool>> = self.right.iter().map(writes).collect();
        // That something cannot be written shows a keyword only where something else can.
        let any = right.contains(&Some(true));
        let mut held = self.held(Conversion::Made, |index| self.hold(index, any, &writes));
        held.closed = any && self.strange.iter().any(|value| writes(value) == Some(false));
        let mut barred = Vec::new();
        for value in self.right.iter().zip(&right).filter(|(_, written)| **written == Some(false)) {
            match self.is_closed(value.0, &writes) {
                true => held.closed = true,
                false => barred.push(value.0.clone()),
            }
        }
        held.right = self.right.len() as u32;
        held.right_barred = barred.len() as u32;
        held.barred = barred.first().cloned();
        held.wrong = self.constraint.wrong.len() as u32;
        held.wrong_allowed =
            self.constraint.wrong.iter().filter(|value| writes(value) == Some(true)).count() as u32;
        let ask = if barred.is_empty() { 0 } else { self.keywords.len().min(MAX_QUESTIONS) };
        Found { held, ask: (0..ask).collect(), barred }
    }

    fn hold(
        &self,
        keyword: usize,
        any: bool,
        writes: &impl Fn(&Value) -> Option<bool>,
    ) -> (Hold, Option<Value>) {
        let tried: Vec<(&Value, Option<bool>)> =
            self.witnesses[keyword].iter().map(|value| (value, writes(value))).collect();
        match tried.iter().find(|(_, written)| *written == Some(true)) {
            Some((value, _)) => (Hold::Dropped, Some((*value).clone())),
            None if any && tried.iter().any(|(_, written)| *written == Some(false)) => (Hold::Enforced, None),
            None => (Hold::Unshown, None),
        }
    }

    /// Whether a right value cannot be written only for properties that the schema does not name.
    fn is_closed(&self, value: &Value, writes: &impl Fn(&Value) -> Option<bool>) -> bool {
        let mut names = Vec::new();
        property_names(&self.constraint.schema, &mut names);
        let named = named_only(value, &names);
        named != *value && self.schema.judge(&named) == Judgement::Valid && writes(&named) == Some(true)
    }

    /// Whether the one right answer, and whether any right value, can be written in a grammar; `None` where none was given, or
    /// that cannot be told.
    pub fn reach(&self, answer: &Answer, give_up: GiveUp<'_>) -> (Option<bool>, Option<bool>) {
        let Answer::Grammar(text) = answer else { return (None, None) };
        let Ok(grammar) = Grammar::read(text) else { return (None, None) };
        if self.given == 0 {
            return (None, None);
        }
        let effort = Effort::new(MATCHING, give_up);
        let written: Vec<Option<bool>> =
            self.right.iter().map(|value| grammar.can_write(value, &effort).ok()).collect();
        let any = if written.contains(&Some(true)) {
            Some(true)
        } else if written.contains(&None) {
            None
        } else {
            Some(false)
        };
        (written[0], any)
    }
}

/// Why nothing is known of a schema that nobody waited for.
const TOO_LONG: &str = "trying values on it took too long";

/// A wrong value, with the keywords that it breaks.
type Wrong = (Value, BTreeSet<String>);

/// Right values and wrong ones; what cannot be told is neither.
fn parted(values: Vec<Value>, schema: &Schema, effort: &Effort<'_>) -> (Vec<Value>, Vec<Wrong>) {
    let (mut right, mut wrong) = (Vec::new(), Vec::new());
    for value in values {
        if effort.spend(size(&value)).is_none() {
            break;
        }
        match schema.broken_keywords(&value) {
            Ok(broken) if broken.is_empty() => right.push(value),
            Ok(broken) => wrong.push((value, broken)),
            Err(_) => {}
        }
    }
    (right, wrong)
}

/// Without the keywords that others stand for, unless something is known of them; and of several that a schema is refused for, not the
/// type, without which most others mean nothing.
fn tidied(mut held: HeldSchema, is_holder: impl Fn(usize) -> bool) -> HeldSchema {
    let refused = |held: &HeldKeyword| held.hold == Hold::Refused;
    let others = held.keywords.iter().any(|keyword| refused(keyword) && keyword.keyword != "type");
    let mut at = 0;
    held.keywords.retain_mut(|keyword| {
        if others && refused(keyword) && keyword.keyword == "type" {
            keyword.hold = Hold::Unshown;
        }
        at += 1;
        keyword.hold != Hold::Unshown || !is_holder(at - 1)
    });
    held
}

/// The keys of a value's objects, each with its place; entries of a list are alike.
fn key_places(value: &Value, at: &str, places: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let place = format!("{at}/{key}");
                key_places(value, &place, places);
                places.insert(place);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| key_places(value, &format!("{at}/*"), places)),
        _ => {}
    }
}

/// So many values, from all over a list.
fn spread(values: &[Value], count: usize) -> Vec<Value> {
    let step = values.len().div_ceil(count).max(1);
    values.iter().step_by(step).cloned().collect()
}

/// Wrong values that are right without a keyword.
fn witnesses(schema: &Value, keyword: &Keyword, wrong: &[Wrong], effort: &Effort<'_>) -> Vec<Value> {
    if effort.spend(COMPILING + size(schema)).is_none() {
        return Vec::new();
    }
    let Ok(freed) = Schema::compile(&without(schema, keyword)) else { return Vec::new() };
    let alone = wrong.iter().filter(|(_, broken)| keyword.may_be_alone(broken)).map(|(value, _)| value);
    let judged = alone.take_while(|value| effort.spend(size(value)).is_some());
    judged.filter(|value| freed.judge(value) == Judgement::Valid).take(WITNESSES).cloned().collect()
}

fn property_names<'s>(schema: &'s Value, names: &mut Vec<&'s str>) {
    match schema {
        Value::Object(object) => {
            let named = object.get("properties").and_then(Value::as_object).into_iter().flatten();
            names.extend(named.map(|(name, _)| name.as_str()));
            object.values().for_each(|part| property_names(part, names));
        }
        Value::Array(parts) => parts.iter().for_each(|part| property_names(part, names)),
        _ => {}
    }
}

fn named_only(value: &Value, names: &[&str]) -> Value {
    match value {
        Value::Object(object) => {
            let named = object.iter().filter(|(name, _)| names.contains(&name.as_str()));
            named.map(|(name, value)| (name.clone(), named_only(value, names))).collect()
        }
        Value::Array(values) => values.iter().map(|value| named_only(value, names)).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
