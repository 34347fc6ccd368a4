//! What names a trial of the plan, in little room: all but the index of its case it has in common with many others.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use super::arm::Arm;
use super::kept::{Kept, Known, Near};
use super::name::Name;

/// Names one planned trial; unique within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(rename = "TrialKey"))]
pub struct KeyParts {
    /// Setting label, unique in the suite (see [`Setting`](crate::record::suite::Setting)).
    pub setting: Name,
    /// Context length of the cell in tokens.
    pub context: u32,
    /// Round that it belongs to, from 0.
    pub round: u32,
    /// 0, or 1 for the reference's second visit (the A/A pair).
    pub replicate: u32,
    /// Task name.
    pub task: Name,
    /// For tool tasks: the arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// Index of the case in its task's list.
    pub index: u32,
    /// Which reply to the case it is, from 0, where each case is asked several times; journals before that was possible have none.
    #[serde(default, skip_serializing_if = "is_first")]
    pub repeat: u32,
}

fn is_first(repeat: &u32) -> bool {
    *repeat == 0
}

impl KeyParts {
    /// The key that has these parts.
    pub fn key(self) -> TrialKey {
        let Self { setting, context, round, replicate, task, arm, index, repeat } = self;
        let row = Row { setting, context, round, replicate, task, arm, repeat };
        TrialKey { row: ROWS.kept(&row, &NEAR), index }
    }
}

/// What many trials have in common: see [`KeyParts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Setting label.
    pub setting: Name,
    /// Context length of the cell in tokens.
    pub context: u32,
    /// Round, from 0.
    pub round: u32,
    /// 0, or 1 for the reference's second visit.
    pub replicate: u32,
    /// Task name.
    pub task: Name,
    /// For tool tasks: the arm.
    pub arm: Option<Arm>,
    /// Which reply to the case it is, from 0.
    pub repeat: u32,
}

// Millions are looked up: by the numbers of their names, not by the texts.
impl Hash for Row {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { setting, context, round, replicate, task, arm, repeat } = *self;
        (setting.number(), task.number(), (context, round, replicate), arm, repeat).hash(state);
    }
}

impl From<&Row> for Box<Row> {
    fn from(row: &Row) -> Self {
        Self::new(*row)
    }
}

static ROWS: Known<Row> = Known::new();

thread_local! {
    static NEAR: Near<Row> = Near::default();
}

/// Names one planned trial; unique within a run: eight bytes, of which what is not the case's index is read as its parts.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "KeyParts", into = "KeyParts")]
pub struct TrialKey {
    row: Kept<Row>,
    /// Index of the case in its task's list.
    pub index: u32,
}

impl TrialKey {
    /// All that it says.
    pub fn parts(&self) -> KeyParts {
        let Row { setting, context, round, replicate, task, arm, repeat } = **self;
        KeyParts { setting, context, round, replicate, task, arm, index: self.index, repeat }
    }

    /// Changes some of it.
    pub fn change(&mut self, change: impl FnOnce(&mut KeyParts)) {
        let mut parts = self.parts();
        change(&mut parts);
        *self = parts.key();
    }
}

impl Deref for TrialKey {
    type Target = Row;

    #[inline]
    fn deref(&self) -> &Row {
        ROWS.get(self.row)
    }
}

impl From<KeyParts> for TrialKey {
    fn from(parts: KeyParts) -> Self {
        parts.key()
    }
}

impl From<TrialKey> for KeyParts {
    fn from(key: TrialKey) -> Self {
        key.parts()
    }
}

impl Hash for TrialKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.row.number(), self.index).hash(state);
    }
}

impl PartialOrd for TrialKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for TrialKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl fmt::Debug for TrialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().fmt(f)
    }
}

#[cfg(test)]
impl JsonSchema for TrialKey {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        KeyParts::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        KeyParts::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> KeyParts {
        KeyParts {
            setting: "a".into(),
            context: 512,
            round: 1,
            replicate: 0,
            task: "t".into(),
            arm: Some(Arm::Native),
            index: 7,
            repeat: 0,
        }
    }

    #[test]
    fn a_key_is_its_parts() {
        let key = parts().key();
        assert_eq!((key.parts(), key, key.setting.as_str(), key.round), (parts(), parts().key(), "a", 1));
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text, serde_json::to_string(&parts()).unwrap());
        assert_eq!(serde_json::from_str::<TrialKey>(&text).unwrap(), key);
        let mut other = key;
        other.change(|parts| parts.round = 0);
        assert_eq!(
            (other.round, other < key, format!("{other:?}")),
            (0, true, format!("{:?}", other.parts()))
        );
        assert!(
            KeyParts { repeat: 1, ..parts() }.key() > key && KeyParts { index: 6, ..parts() }.key() < key
        );
    }
}
