//! What was seen of engines that tell no grammar: the data of `docs/seen/constrained.md`, which `docs/seen/constrained.py` writes.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::situation::Situation;
use crate::record::Hold;

static SEEN: LazyLock<Result<Seen, String>> =
    LazyLock::new(|| serde_json::from_str(include_str!("seen.json")).map_err(|error| error.to_string()));

/// How a cell begins whose schema the engine gives to its next library, unless this one is named.
const PASSED_ON: &str = "passed on: ";

/// The table.
#[derive(Debug, Deserialize)]
pub(super) struct Seen {
    engines: Vec<Engine>,
    rows: Vec<Row>,
}

/// A version of an engine.
#[derive(Debug, Deserialize)]
pub(super) struct Engine {
    /// Its name.
    pub(super) engine: String,
    /// Its version.
    pub(super) version: String,
    /// Libraries that it may give a schema to, in the order in which it tries them.
    pub(super) libraries: Vec<Library>,
}

/// A library that makes grammars of schemas.
#[derive(Debug, Deserialize)]
pub(super) struct Library {
    /// What the engine calls it.
    pub(super) name: String,
    /// Its package.
    pub(super) package: String,
    /// Its version.
    pub(super) version: String,
}

#[derive(Debug, Deserialize)]
struct Row {
    what: String,
    /// For each engine's version a word for each of its libraries.
    engines: Vec<Vec<String>>,
}

/// What a library makes of a situation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell<'s> {
    /// Whether the engine gives the schema to its next library, unless this one is named.
    pub(super) passed_on: bool,
    /// What is held; [`Hold::Unshown`] where that was not found out.
    pub(super) hold: Hold,
    /// The same in the table's words.
    pub(super) words: &'s str,
}

/// The table; `None` never, as a test shows.
pub(super) fn seen() -> Option<&'static Seen> {
    SEEN.as_ref().ok()
}

impl Seen {
    /// The versions of an engine that were looked at, with their places.
    pub(super) fn versions<'s>(&'s self, engine: &str) -> impl Iterator<Item = (usize, &'s Engine)> {
        self.engines.iter().enumerate().filter(move |(_, seen)| seen.engine == engine)
    }

    /// What a library of an engine's version makes of a situation; `None` where no row is about it.
    pub(super) fn cell(&self, engine: usize, library: usize, situation: Situation) -> Option<Cell<'_>> {
        let row = self.rows.iter().find(|row| row.what == situation.row())?;
        Some(Cell::of(row.engines.get(engine)?.get(library)?))
    }
}

impl<'s> Cell<'s> {
    fn of(text: &'s str) -> Self {
        let (passed_on, words) = match text.strip_prefix(PASSED_ON) {
            Some(words) => (true, words),
            None => (false, text),
        };
        let hold = match words {
            "enforced" | "can be written" => Hold::Enforced,
            "dropped" => Hold::Dropped,
            "over-restricted" | "cannot be written" => Hold::OverRestricted,
            refused if refused.starts_with("refused") => Hold::Refused,
            _ => Hold::Unshown,
        };
        Self { passed_on, hold, words }
    }
}

/// The first three numbers of a version, such as `0.33.0+cpu` or `v0.33.1rc1`; `None` of a text that names none.
pub(super) fn numbers(version: &str) -> Option<[u64; 3]> {
    let word = version
        .split_whitespace()
        .map(|word| word.trim_start_matches('v'))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))?;
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(word.split('.')) {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        *number = digits.parse().ok()?;
        if digits.len() < part.len() {
            break;
        }
    }
    Some(numbers)
}

/// The library that a server's arguments name for its grammars, whichever engine's they are; `None` where they leave the choice to it.
pub(super) fn library_of(args: &[String]) -> Option<String> {
    const FLAGS: [&str; 4] = [
        "--structured-outputs-config.backend",
        "--structured-outputs-config",
        "--guided-decoding-backend",
        "--grammar-backend",
    ];
    let mut named = None;
    for (at, arg) in args.iter().enumerate() {
        let (flag, value) = match arg.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (arg.as_str(), args.get(at + 1).map(String::as_str)),
        };
        if let Some(value) = value.filter(|_| FLAGS.contains(&flag)) {
            named = named_in(value).or(named);
        }
    }
    named.filter(|name| name != "auto")
}

/// A name, or the `backend` of a configuration.
fn named_in(value: &str) -> Option<String> {
    match serde_json::from_str::<Value>(value) {
        Ok(Value::Object(config)) => config.get("backend")?.as_str().map(str::to_owned),
        _ => Some(value.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::by_table::Column;
    use super::super::classify::of_keyword;
    use super::super::keywords::every_keyword;
    use super::*;
    use crate::record::Conversion;
    use crate::task::tools::held::check::Constraint;

    fn data() -> Value {
        serde_json::from_str(include_str!("seen.json")).unwrap()
    }

    fn texts(value: &Value) -> Vec<&str> {
        value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
    }

    #[test]
    fn every_row_is_a_situation_and_every_situation_a_row() {
        let seen = SEEN.as_ref().unwrap();
        let rows: Vec<&str> = seen.rows.iter().map(|row| row.what.as_str()).collect();
        let situations: Vec<&str> = Situation::ALL.iter().map(|situation| situation.row()).collect();
        assert_eq!(rows, situations);
        for (at, engine) in seen.engines.iter().enumerate() {
            assert!(numbers(&engine.version).is_some() && !engine.libraries.is_empty());
            for row in &seen.rows {
                assert_eq!(row.engines[at].len(), engine.libraries.len(), "{}", row.what);
                for text in &row.engines[at] {
                    assert_ne!(Cell::of(text).hold, Hold::Unshown, "{}: {text}", row.what);
                }
                let last = row.engines[at].last().unwrap();
                assert!(!Cell::of(last).passed_on, "{}: there is nobody to pass it on to", row.what);
            }
        }
    }

    /// The schema that a row was made with is a case of it.
    #[test]
    fn the_schema_of_a_row_is_a_case_of_it() {
        for row in data()["rows"].as_array().unwrap() {
            let what = row["what"].as_str().unwrap();
            // These are about values, which every schema of their kind has.
            if [Situation::LongIntegers.row(), Situation::Escapes.row()].contains(&what) {
                continue;
            }
            let keywords = every_keyword(&row["schema"]).unwrap();
            let found: Vec<&str> = keywords
                .iter()
                .filter_map(|keyword| of_keyword(&row["schema"], keyword))
                .flatten()
                .map(Situation::row)
                .collect();
            assert!(found.contains(&what), "{what}: {found:?}");
        }
    }

    /// The lines of a table of the page, without the one below its head.
    fn table_of_page<'p>(page: &'p str, after: &str) -> Vec<Vec<&'p str>> {
        let lines = page.lines().skip_while(|line| !line.starts_with(after)).skip(1);
        let rows = lines.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
        let cells = |line: &'p str| line.trim_matches('|').split(" | ").map(str::trim).collect();
        rows.filter(|line| !line.starts_with("|---")).map(cells).collect()
    }

    /// The page and the data are of one run of the program.
    #[test]
    fn the_page_shows_the_data() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/seen/constrained.md");
        let page = std::fs::read_to_string(path).unwrap();
        let data = data();
        let (rows, seen) = (data["rows"].as_array().unwrap(), SEEN.as_ref().unwrap());
        let mut alone = vec![[vec!["what"], texts(&data["alone"])].concat()];
        alone.extend(
            rows.iter().map(|row| [vec![row["what"].as_str().unwrap()], texts(&row["alone"])].concat()),
        );
        assert_eq!(table_of_page(&page, "# What constrained decoding"), alone);

        let heads = data["engines"].as_array().unwrap().iter().map(|engine| engine["heading"].to_string());
        let mut engines = vec![
            [vec!["what".to_owned()], heads.map(|head| head.trim_matches('"').to_owned()).collect()].concat(),
        ];
        for row in &seen.rows {
            let word = |(cells, engine): (&Vec<String>, &Engine)| {
                let chosen = cells.iter().position(|cell| !Cell::of(cell).passed_on).unwrap();
                let by =
                    if chosen == 0 { String::new() } else { format!(" ({})", engine.libraries[chosen].name) };
                format!("{}{by}", cells[chosen])
            };
            let words = row.engines.iter().zip(&seen.engines).map(word);
            engines.push([row.what.clone()].into_iter().chain(words).collect());
        }
        assert_eq!(table_of_page(&page, "## What vLLM and SGLang"), engines);
    }

    #[test]
    fn versions_are_read() {
        for (text, expected) in [
            ("0.33.0", Some([0, 33, 0])),
            ("v0.33.1rc2", Some([0, 33, 1])),
            ("0.32.0+cpu", Some([0, 32, 0])),
            ("vllm 1.2", Some([1, 2, 0])),
            ("main", None),
            ("7", None),
        ] {
            assert_eq!(numbers(text), expected, "{text}");
        }
    }

    #[test]
    fn the_library_that_arguments_name_is_found() {
        for (args, named) in [
            ("--grammar-backend llguidance", Some("llguidance")),
            ("--structured-outputs-config.backend=guidance", Some("guidance")),
            ("--structured-outputs-config {\"backend\":\"outlines\"}", Some("outlines")),
            ("--structured-outputs-config {\"disable_any_whitespace\":true}", None),
            ("--guided-decoding-backend auto --seed 3", None),
            ("--grammar-backend", None),
        ] {
            let args: Vec<String> = args.split(' ').map(str::to_owned).collect();
            assert_eq!(library_of(&args).as_deref(), named, "{args:?}");
        }
    }

    /// What the table says of the data set's schemas, against what the libraries themselves made of them. A schema that the table takes for
    /// held in full and of which a listed wrong value can be written, or that is refused, is one that the table misleads about.
    #[test]
    fn the_table_says_of_the_data_set_what_the_libraries_do() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/tools");
        let levels = ["1-flat", "2-bounded", "3-nested", "4-composed", "5-nasty"];
        let read = |level: &str| -> Value {
            let text = std::fs::read_to_string(folder.join(format!("schemas-{level}.json"))).unwrap();
            serde_json::from_str(&text).unwrap()
        };
        let collections: Vec<Value> = levels.into_iter().map(read).collect();
        let entries: Vec<&Value> =
            collections.iter().flat_map(|all| all["schemas"].as_array().unwrap()).collect();
        let mut lines = Vec::new();
        for engine in data()["engines"].as_array().unwrap() {
            let (name, version) = (engine["engine"].as_str().unwrap(), engine["version"].as_str().unwrap());
            let column = Column::of(name, Some(version), &[]).unwrap().unwrap();
            let did = |what: &str, id: &str| texts(&engine["schemas"][what]).contains(&id);
            let (mut full, mut broken, mut open, mut refused) =
                (Vec::new(), Vec::new(), Vec::new(), [0, 0, 0]);
            for entry in &entries {
                let id = entry["id"].as_str().unwrap();
                let held = column.held(&Constraint::new(id, entry["schema"].clone()));
                let is_refused = matches!(held.conversion, Conversion::Refused { .. });
                refused[0] += u32::from(is_refused && did("refused", id));
                refused[1] += u32::from(is_refused);
                refused[2] += u32::from(did("refused", id));
                let went_wrong = did("refused", id) || did("wrong_allowed", id) || did("answer_barred", id);
                match (held.in_full(), went_wrong) {
                    (Some(true), false) => full.push(id),
                    (Some(true), true) => broken.push(id),
                    (None, true) => open.push(id),
                    _ => {}
                }
            }
            let [both, table, library] = refused;
            lines.push(format!(
                "{name} {version}: by table {table} refused, by its libraries {library}, {both} of them the same; held in full by table \
                 {}, of which the libraries do otherwise with {broken:?}; not known by table, and not held: {open:?}",
                full.len() + broken.len()
            ));
        }
        insta::assert_snapshot!(lines.join("\n"));
    }
}
