//! What a server holds of the JSON Schemas that replies are constrained by, found out before the first trial.

use std::fmt;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::outcome::Outcome;

/// Longest value that is kept (bytes as JSON), and most words of a server (characters).
const MAX_INSTANCE: usize = 4_096;
const MAX_WORDS: usize = 1_000;

/// What a server holds of a schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct HeldSchema {
    /// Hash of the schema (hex, 16 digits), as [`HeldCase::schemas`] names it.
    pub schema: String,
    /// The tool whose arguments it is about, or `reply`.
    pub name: String,
    /// What became of it.
    pub conversion: Conversion,
    /// Its keywords, each at its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<HeldKeyword>,
    /// Right values that were tried.
    #[serde(default)]
    pub right: u32,
    /// Of these, how many the grammar cannot write.
    #[serde(default)]
    pub right_barred: u32,
    /// One of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barred: Option<Value>,
    /// Wrong values that the task lists, and that were tried.
    #[serde(default)]
    pub wrong: u32,
    /// Of these, how many the grammar can write.
    #[serde(default)]
    pub wrong_allowed: u32,
    /// Whether properties that the schema allows without naming them cannot be written.
    #[serde(default)]
    pub closed: bool,
    /// The engine, its version and its library as the table of `docs/seen/constrained.md` has them, where that says what is held and no
    /// server was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

/// What a server made of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Conversion {
    /// A grammar that instances were tried on.
    Made,
    /// It refuses the schema.
    Refused {
        /// In its own words.
        words: String,
    },
    /// That is not known.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// What is held of a keyword.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct HeldKeyword {
    /// JSON pointer to the schema that has it.
    pub at: String,
    /// Its name.
    pub keyword: String,
    /// What is held of it.
    pub hold: Hold,
    /// The value that shows it: a wrong one that can be written, or a right one that cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<Value>,
    /// The row of the table that says it, where no server was asked; none where no row is about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
}

/// What is held of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// No value that breaks it alone can be written, of those that were tried.
    Enforced,
    /// Such a value can be written.
    Dropped,
    /// The schema is refused for it.
    Refused,
    /// Right values cannot be written because of it.
    OverRestricted,
    /// No value was found that would show it.
    Unshown,
}

impl Hold {
    /// The name used in JSON and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforced => "enforced",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
            Self::OverRestricted => "over-restricted",
            Self::Unshown => "unshown",
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl HeldSchema {
    /// A schema of which no keyword was tried.
    pub fn unknown(schema: String, name: String, conversion: Conversion) -> Self {
        Self {
            schema,
            name,
            conversion,
            keywords: Vec::new(),
            right: 0,
            right_barred: 0,
            barred: None,
            wrong: 0,
            wrong_allowed: 0,
            closed: false,
            table: None,
        }
    }

    /// Whether the schema is held in full, as far as values were tried: converted, no keyword dropped or over-restricted, no listed
    /// wrong value allowed, no right one barred. `None` where nothing is known of it, nor where no right value was found to try. That an
    /// object with names of its own takes no others is no fault. By table: no row says otherwise, and there is one for every keyword.
    pub fn in_full(&self) -> Option<bool> {
        match self.conversion {
            Conversion::Unknown { .. } => None,
            Conversion::Refused { .. } => Some(false),
            Conversion::Made => {
                let broken = |held: &HeldKeyword| matches!(held.hold, Hold::Dropped | Hold::OverRestricted);
                let is_broken =
                    self.keywords.iter().any(broken) || self.wrong_allowed > 0 || self.right_barred > 0;
                let is_open = |held: &HeldKeyword| held.hold == Hold::Unshown;
                let is_known = match self.table {
                    Some(_) => !self.keywords.iter().any(is_open),
                    None => self.right > 0,
                };
                (is_broken || is_known).then_some(!is_broken)
            }
        }
    }

    /// The same as it is kept: without values that are long, and with few words of the server's.
    #[must_use]
    pub fn kept(mut self) -> Self {
        let short = |value: &Value| value.to_string().len() <= MAX_INSTANCE;
        self.barred = self.barred.filter(short);
        for keyword in &mut self.keywords {
            keyword.instance = keyword.instance.take().filter(short);
        }
        if let Conversion::Refused { words } | Conversion::Unknown { reason: words } = &mut self.conversion {
            *words = words.chars().take(MAX_WORDS).collect();
        }
        self
    }

    /// Names of the keywords of which this is held, each once, in the order of the alphabet.
    pub fn keywords_of(&self, hold: Hold) -> Vec<&str> {
        let found = self.keywords.iter().filter(|held| held.hold == hold);
        let mut names: Vec<&str> = found.map(|held| held.keyword.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Why a case does not count that no right reply was allowed for.
const UNREACHABLE: &str =
    "answer unreachable: the grammar that the server makes of the schema allows no right reply";

/// What the grammar of a case allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct HeldCase {
    /// The case's hash.
    pub case: String,
    /// Hashes of the schemas that its reply is held to.
    pub schemas: Vec<String>,
    /// Whether the one right answer can be written; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<bool>,
    /// Whether any of the right replies that were tried can be written; `None` where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<bool>,
}

impl HeldCase {
    /// What becomes of a reply's score where nobody could have answered: it says nothing of the setting.
    pub fn counted(&self, outcome: Outcome) -> Outcome {
        match (self.right, outcome) {
            (Some(false), Outcome::Scored(_)) => Outcome::Unscored { reason: UNREACHABLE.to_owned() },
            (_, outcome) => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Score;

    #[test]
    fn long_values_and_words_are_not_kept() {
        let refused = Conversion::Refused { words: "é".repeat(5_000) };
        let mut held = HeldSchema::unknown("0".into(), "reply".into(), refused);
        let keyword = |instance: String| HeldKeyword {
            at: String::new(),
            keyword: "maxLength".into(),
            hold: Hold::Dropped,
            instance: Some(Value::from(instance)),
            row: None,
        };
        held.keywords = vec![keyword("x".into()), keyword("x".repeat(5_000))];
        let kept = held.kept();
        let there: Vec<bool> = kept.keywords.iter().map(|keyword| keyword.instance.is_some()).collect();
        assert_eq!(there, [true, false]);
        assert_eq!(kept.conversion, Conversion::Refused { words: "é".repeat(MAX_WORDS) });
    }

    #[test]
    fn by_table_a_schema_is_held_in_full_only_where_every_keyword_has_a_row() {
        let by_table = |holds: &[Hold]| {
            let mut held = HeldSchema::unknown("0".into(), "reply".into(), Conversion::Made);
            held.table = Some("vllm 0.33.0".into());
            let keyword = |hold| HeldKeyword {
                at: String::new(),
                keyword: "x".into(),
                hold,
                instance: None,
                row: None,
            };
            held.keywords = holds.iter().copied().map(keyword).collect();
            held.in_full()
        };
        assert_eq!(by_table(&[]), Some(true));
        assert_eq!(by_table(&[Hold::Enforced]), Some(true));
        assert_eq!(by_table(&[Hold::Enforced, Hold::Unshown]), None);
        assert_eq!(by_table(&[Hold::Unshown, Hold::Dropped]), Some(false));
    }

    #[test]
    fn a_case_that_no_right_reply_is_allowed_for_does_not_count() {
        let case = |right| HeldCase { case: "c".into(), schemas: Vec::new(), answer: Some(false), right };
        let scored = || Outcome::Scored(Score::of(0.0));
        assert!(matches!(case(Some(false)).counted(scored()), Outcome::Unscored { .. }));
        assert_eq!(case(Some(true)).counted(scored()), scored());
        assert_eq!(case(None).counted(scored()), scored());
        let broken = Outcome::Failed { stage: crate::record::Stage::Request, error: "HTTP 503".into() };
        assert_eq!(case(Some(false)).counted(broken.clone()), broken, "what broke stays broken");
    }
}
