//! What an engine that tells no grammar holds of a schema: by the table of `docs/seen/constrained.md`, no server is asked.
//!
//! A schema goes to one library as a whole. So where an engine passes one of its keywords on to its next library, what that one makes
//! of all others counts.

use super::check::{Constraint, MAX_SCHEMA};
use super::classify::of_keyword;
use super::keywords::{Keyword, every_keyword};
use super::seen::{self, Cell, Engine, Seen};
use super::situation::Situation;
use crate::record::{Conversion, HeldKeyword, HeldSchema, Hold};
use crate::task::tools::schema::Schema;

/// The column of the table that a server is judged by.
#[derive(Debug, Clone)]
pub struct Column {
    seen: &'static Seen,
    /// The engine's version, and its place.
    engine: &'static Engine,
    at: usize,
    /// Place of the library that the server's arguments name.
    named: Option<usize>,
    /// The engine and its version, in words.
    words: String,
}

/// Whether the table has columns of an engine of this name.
pub fn is_in_table(engine: &str) -> bool {
    seen::seen().is_some_and(|seen| seen.versions(engine).next().is_some())
}

impl Column {
    /// The column of an engine, its version and the arguments that its server is started with: the version's own, else that of the nearest
    /// one; the newest where the version is not known. `None` where the table has no column of the engine.
    ///
    /// # Errors
    /// When the arguments name a library that the table has no column of, in words.
    pub fn of(engine: &str, version: Option<&str>, args: &[String]) -> Option<Result<Self, String>> {
        let seen = seen::seen()?;
        let wanted = version.and_then(seen::numbers);
        let known = |(_, of): &(usize, &Engine)| seen::numbers(&of.version).unwrap_or_default();
        let (at, engine) = match wanted {
            Some(wanted) => seen.versions(engine).min_by_key(|of| distance(known(of), wanted))?,
            None => seen.versions(engine).max_by_key(known)?,
        };
        let named = match seen::library_of(args) {
            None => None,
            Some(name) => {
                match engine.libraries.iter().position(|of| of.name == name || of.package == name) {
                    Some(library) => Some(library),
                    None => {
                        return Some(Err(format!(
                            "the table has no column of {} with {name}",
                            engine.engine
                        )));
                    }
                }
            }
        };
        let is_own = wanted.is_some() && wanted == seen::numbers(&engine.version);
        let words = format!(
            "{} {}{}",
            engine.engine,
            engine.version,
            match version {
                Some(_) if is_own => String::new(),
                Some(version) if wanted.is_some() =>
                    format!(" (of the table the nearest to {})", shown(version)),
                _ => " (the newest of the table: the version is not known)".to_owned(),
            }
        );
        Some(Ok(Self { seen, engine, at, named, words }))
    }

    /// The engine and its version, in words; if it is not the one that was asked for, that too.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Whether texts with a bound of their length cannot hold what has to be escaped: quotes, backslashes, line breaks.
    pub fn bars_escapes(&self) -> bool {
        self.cell(self.named.unwrap_or(0), Situation::Escapes)
            .is_some_and(|cell| cell.hold == Hold::OverRestricted)
    }

    /// What is held of a schema.
    pub fn held(&self, constraint: &Constraint) -> HeldSchema {
        let unknown = |reason: String| {
            let conversion = Conversion::Unknown { reason };
            let held = HeldSchema::unknown(constraint.hash(), constraint.name.clone(), conversion);
            HeldSchema { table: Some(self.words.clone()), ..held }
        };
        if constraint.schema.to_string().len() > MAX_SCHEMA {
            return unknown(format!("it is longer than {} KiB", MAX_SCHEMA >> 10));
        }
        if let Err(error) = Schema::compile(&constraint.schema) {
            return unknown(error.to_string());
        }
        let Some(keywords) = every_keyword(&constraint.schema) else {
            return unknown("it has too many keywords, or too deep ones".into());
        };
        let found: Vec<(&Keyword, Option<Vec<Situation>>)> =
            keywords.iter().map(|keyword| (keyword, of_keyword(&constraint.schema, keyword))).collect();
        let library =
            self.library(found.iter().filter_map(|(_, situations)| situations.as_deref()).flatten());
        let mut held = HeldSchema {
            conversion: Conversion::Made,
            table: Some(self.words_with(library)),
            ..unknown(String::new())
        };
        let mut refusal = None;
        for (keyword, situations) in found {
            let Some(entry) = self.entry(library, keyword, situations.as_deref(), &mut refusal) else {
                continue;
            };
            held.keywords.push(entry);
        }
        if let Some(words) = refusal {
            held.conversion = Conversion::Refused {
                words: format!("by table: {words} by {}", self.library_words(library)),
            };
            // Of what is refused nothing else is held or dropped.
            held.keywords.retain(|keyword| keyword.hold == Hold::Refused);
        }
        held
    }

    /// The library that gets a schema with these situations.
    fn library<'a>(&self, situations: impl Iterator<Item = &'a Situation> + Clone) -> usize {
        let passes_on = |library: &usize| {
            let cell = |situation: &Situation| self.cell(*library, *situation);
            situations.clone().filter_map(cell).any(|cell| cell.passed_on)
        };
        let last = self.engine.libraries.len().saturating_sub(1);
        self.named.unwrap_or_else(|| (0..last).find(|library| !passes_on(library)).unwrap_or(last))
    }

    fn cell(&self, library: usize, situation: Situation) -> Option<Cell<'static>> {
        self.seen.cell(self.at, library, situation)
    }

    /// What is held of a keyword: the worst of its situations; `None` where there is nothing to hold.
    fn entry(
        &self,
        library: usize,
        keyword: &Keyword,
        situations: Option<&[Situation]>,
        refusal: &mut Option<&'static str>,
    ) -> Option<HeldKeyword> {
        let entry = |hold, row: Option<&str>| HeldKeyword {
            at: keyword.at.clone(),
            keyword: keyword.name.to_owned(),
            hold,
            instance: None,
            row: row.map(str::to_owned),
        };
        let Some(situations) = situations else { return Some(entry(Hold::Unshown, None)) };
        let cells = situations.iter().map(|situation| (self.cell(library, *situation), situation.row()));
        let (cell, row) =
            cells.max_by_key(|(cell, _)| weight(cell.map_or(Hold::Unshown, |cell| cell.hold)))?;
        let hold = cell.map_or(Hold::Unshown, |cell| cell.hold);
        if hold == Hold::Refused && refusal.is_none() {
            *refusal = cell.map(|cell| cell.words);
        }
        Some(entry(hold, cell.map(|_| row)))
    }

    fn library_words(&self, library: usize) -> String {
        let library = &self.engine.libraries[library];
        format!("{} {}", library.package, library.version)
    }

    fn words_with(&self, library: usize) -> String {
        format!("{}, with {}", self.words, self.library_words(library))
    }
}

/// How much a hold says against an engine.
const fn weight(hold: Hold) -> u8 {
    match hold {
        Hold::Refused => 4,
        Hold::Dropped => 3,
        Hold::OverRestricted => 2,
        Hold::Unshown => 1,
        Hold::Enforced => 0,
    }
}

/// How far two versions are apart, the first numbers first.
fn distance(one: [u64; 3], other: [u64; 3]) -> [u64; 3] {
    std::array::from_fn(|at| one[at].abs_diff(other[at]))
}

/// A version as it is shown: it may come from a server.
fn shown(version: &str) -> String {
    version.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn column(engine: &str, version: &str, args: &[&str]) -> Column {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Column::of(engine, Some(version), &args).unwrap().unwrap()
    }

    fn held(column: &Column, schema: Value) -> HeldSchema {
        column.held(&Constraint::new("s", schema))
    }

    #[test]
    fn a_version_that_is_not_in_the_table_is_judged_by_the_nearest_one() {
        assert_eq!(column("vllm", "0.33.0+cpu", &[]).words(), "vllm 0.33.0");
        assert_eq!(column("vllm", "0.32.1", &[]).words(), "vllm 0.33.0 (of the table the nearest to 0.32.1)");
        assert_eq!(column("vllm", "0.11.0", &[]).words(), "vllm 0.23.0 (of the table the nearest to 0.11.0)");
        let newest = Column::of("sglang", None, &[]).unwrap().unwrap();
        assert_eq!(newest.words(), "sglang 0.5.23 (the newest of the table: the version is not known)");
        assert!(
            Column::of("llama.cpp", None, &[]).is_none() && is_in_table("vllm") && !is_in_table("openai")
        );
        let odd = Column::of("vllm", None, &["--guided-decoding-backend=lm-format-enforcer".into()]).unwrap();
        assert_eq!(odd.unwrap_err(), "the table has no column of vllm with lm-format-enforcer");
    }

    #[test]
    fn what_is_not_held_is_said_keyword_by_keyword() {
        let schema = json!({"type": "object", "properties": {
            "name": {"type": "string", "pattern": "[a-z]{2}"},
            "size": {"type": "integer", "minimum": 1},
        }, "required": ["name"]});
        let found = held(&column("vllm", "0.33.0", &[]), schema);
        assert_eq!(found.table.as_deref(), Some("vllm 0.33.0, with xgrammar 0.2.8"));
        assert_eq!((&found.conversion, found.in_full()), (&Conversion::Made, Some(false)));
        assert_eq!(found.keywords_of(Hold::OverRestricted), ["pattern"]);
        assert_eq!(found.keywords_of(Hold::Enforced), ["minimum", "required", "type"]);
        let pattern = found.keywords.iter().find(|held| held.keyword == "pattern").unwrap();
        assert_eq!(
            (pattern.at.as_str(), pattern.row.as_deref()),
            ("/properties/name", Some("pattern, not anchored"))
        );

        let full = held(&column("vllm", "0.33.0", &[]), json!({"type": "string", "enum": ["a"]}));
        assert_eq!(full.in_full(), Some(true));
        assert_eq!(held(&column("vllm", "0.33.0", &[]), json!({})).in_full(), Some(true));
    }

    /// `multipleOf` goes to guidance in vLLM, and with it everything beside it: there an open pattern is held as it is.
    #[test]
    fn one_keyword_takes_the_whole_schema_to_another_library() {
        let schema = json!({"type": "object", "properties": {
            "name": {"type": "string", "pattern": "[a-z]{2}"},
            "size": {"type": "integer", "minimum": 0, "multipleOf": 5},
        }});
        let found = held(&column("vllm", "0.33.0", &[]), schema.clone());
        assert_eq!(found.table.as_deref(), Some("vllm 0.33.0, with llguidance 1.7.6"));
        assert_eq!(found.in_full(), Some(true), "{found:?}");
        // A library that is named refuses what it would otherwise pass on.
        let named = held(
            &column("vllm", "0.33.0", &["--structured-outputs-config.backend", "xgrammar"]),
            schema.clone(),
        );
        assert!(matches!(named.conversion, Conversion::Refused { .. }), "{named:?}");
        let named = held(&column("sglang", "0.5.23", &["--grammar-backend", "llguidance"]), schema);
        assert_eq!(named.in_full(), Some(true), "{named:?}");
    }

    #[test]
    fn what_is_refused_is_named() {
        let schema =
            json!({"type": "array", "items": {"type": "integer"}, "uniqueItems": true, "maxItems": 3});
        let found = held(&column("sglang", "0.5.23", &[]), schema);
        let Conversion::Refused { words } = &found.conversion else { panic!("{found:?}") };
        assert_eq!(words, "by table: refused (UnsupportedJSONSchemaFeature) by xgrammar 0.2.7");
        assert_eq!(found.keywords_of(Hold::Refused), ["uniqueItems"]);
        assert_eq!((found.keywords.len(), found.in_full()), (1, Some(false)));
    }

    #[test]
    fn what_no_row_is_about_is_not_known() {
        let found = held(&column("vllm", "0.33.0", &[]), json!({"type": "string", "format": "iri"}));
        assert_eq!((found.in_full(), found.keywords_of(Hold::Unshown)), (None, vec!["format"]));
        let no_schema = held(&column("vllm", "0.33.0", &[]), json!({"type": "nothing"}));
        assert!(matches!(no_schema.conversion, Conversion::Unknown { .. }), "{no_schema:?}");
        let mut deep = json!({"type": "integer"});
        for _ in 0..80 {
            deep = json!({"properties": {"a": deep}});
        }
        assert_eq!(held(&column("vllm", "0.33.0", &[]), deep).in_full(), None);
    }
}
