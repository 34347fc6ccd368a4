//! What every environment is: a state that calls change, and what it answers.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a call comes to: its result, or what the model is told went wrong.
pub type Answer = Result<Value, String>;

/// A state that calls change.
pub trait Environment {
    /// Carries out a call. After an error the state is what it was.
    ///
    /// # Errors
    /// What went wrong, in words for the model.
    fn call(&mut self, name: &str, arguments: Value) -> Answer;

    /// What counts of the state: without ids that it gave away itself and without any order of things, so
    /// that two ways to the same end are the same.
    fn essence(&self) -> Value;
}

/// The arguments of a call in the form that it needs.
pub(super) fn read<T: DeserializeOwned>(arguments: Value) -> Result<T, String> {
    serde_json::from_value(arguments).map_err(|error| format!("invalid arguments ({error})"))
}

/// The answer to a call of a function that the environment does not have.
pub(super) fn unknown() -> Answer {
    Err("there is no such function".into())
}

/// The result of a call that only changes something.
pub(super) fn done() -> Answer {
    Ok(serde_json::json!({ "ok": true }))
}

/// Values in an order of their own.
pub(super) fn sorted(values: impl IntoIterator<Item = Value>) -> Value {
    let mut values: Vec<Value> = values.into_iter().collect();
    values.sort_by_cached_key(Value::to_string);
    Value::Array(values)
}

/// Returns whether a text is found in another, whatever the case of its letters.
pub(super) fn mentions(text: &str, part: &str) -> bool {
    text.to_lowercase().contains(&part.to_lowercase())
}
