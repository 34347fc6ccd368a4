//! Pipelines over rows as JSON: a list of operations, each an object with one key.
//!
//! ```json
//! [{"keep":["price",">=",20]},{"sort":["price","down"]},{"take":3},{"result":["sum","price"]}]
//! ```
//!
//! A program is hostile input: it is read with bounds, its numbers are checked, and no operation makes more rows than it is given,
//! so running one takes at most [`MAX_OPERATIONS`] passes over the input.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most operations of a program.
pub const MAX_OPERATIONS: usize = 64;
/// Places of a text at which a program is looked for.
const MOST_STARTS: usize = 64;
/// Bytes of a text that are read.
const MAX_BYTES: usize = 64 * 1024;

/// A cell of a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// A whole number.
    Number(i64),
    /// A word.
    Text(String),
}

/// Cells by the names of their fields.
pub type Row = BTreeMap<String, Cell>;

/// An operation of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Keeps the rows whose field compares so with a value.
    Keep(String, Comparison, Cell),
    /// Adds a number to a field.
    Add(String, i64),
    /// Multiplies a field by a number.
    Times(String, i64),
    /// Sets a field to what two fields make.
    Set(String, String, Sign, String),
    /// Sorts by a field; rows that are equal in it keep their order.
    Sort(String, Direction),
    /// Keeps the first rows.
    Take(usize),
    /// Leaves out the first rows.
    Drop(usize),
    /// Makes one row of all that are equal in the first field, in the order of their first: that field and the second one folded.
    Group(String, Fold, String),
    /// Makes one number of a field of all rows; the last operation.
    Result(Fold, String),
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Comparison {
    /// Less.
    #[serde(rename = "<")]
    Less,
    /// Less or equal.
    #[serde(rename = "<=")]
    AtMost,
    /// Equal.
    #[serde(rename = "=")]
    Equal,
    /// Not equal.
    #[serde(rename = "!=")]
    Unequal,
    /// More or equal.
    #[serde(rename = ">=")]
    AtLeast,
    /// More.
    #[serde(rename = ">")]
    More,
}

/// What is made of two fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    /// Their sum.
    #[serde(rename = "+")]
    Plus,
    /// Their difference.
    #[serde(rename = "-")]
    Minus,
    /// Their product.
    #[serde(rename = "*")]
    Times,
}

/// Which way rows are sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The smallest first.
    Up,
    /// The largest first.
    Down,
}

/// What is made of a field of several rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fold {
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// How many there are.
    Count,
}

/// What a program makes of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Rows.
    Rows(Vec<Row>),
    /// The number of a result.
    Number(i64),
}

/// Why a program has no output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A row lacks a field that is named.
    #[error("a row has no such field")]
    NoField,
    /// A field that is calculated with has no number.
    #[error("the field has no number")]
    NoNumber,
    /// A number beyond 64 bits.
    #[error("the number is too large")]
    TooLarge,
    /// The smallest or largest of no rows.
    #[error("there are no rows")]
    NoRows,
    /// Operations behind the result.
    #[error("an operation stands behind the result")]
    BehindResult,
}

/// Returns the first program in a text: a JSON list of operations. `Err` tells whether any JSON list of objects was found.
///
/// # Errors
/// When there is none.
pub fn read(text: &str) -> Result<Vec<Operation>, NoProgram> {
    let text = &text[..text.floor_char_boundary(MAX_BYTES)];
    let mut why = NoProgram::Nothing;
    for (start, _) in text.match_indices('[').take(MOST_STARTS) {
        let value = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>().next();
        let Some(Ok(Value::Array(operations))) = value else { continue };
        if operations.is_empty() || !operations.iter().all(Value::is_object) {
            continue;
        }
        match serde_json::from_value::<Vec<Operation>>(Value::Array(operations)) {
            Ok(program) if program.len() <= MAX_OPERATIONS => return Ok(program),
            _ => why = NoProgram::OtherForm,
        }
    }
    Err(why)
}

/// Why a text has no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoProgram {
    /// No list of objects.
    Nothing,
    /// A list of objects that are not all operations, or too many.
    OtherForm,
}

/// Returns a program as it is written: an operation a line.
pub fn written(program: &[Operation]) -> String {
    let lines: Vec<String> = program.iter().map(|operation| format!("  {}", line(operation))).collect();
    format!("[\n{}\n]", lines.join(",\n"))
}

/// An operation as JSON.
pub(super) fn line(operation: &Operation) -> String {
    serde_json::to_string(operation).unwrap_or_default()
}

/// Runs a program.
///
/// # Errors
/// When an operation does not fit the rows.
pub fn run(program: &[Operation], input: &[Row]) -> Result<Output, Fault> {
    let mut rows = input.to_vec();
    for (at, operation) in program.iter().enumerate() {
        if let Operation::Result(fold, field) = operation {
            let is_last = at + 1 == program.len();
            return if is_last {
                folded(*fold, field, &rows).map(Output::Number)
            } else {
                Err(Fault::BehindResult)
            };
        }
        rows = done(operation, rows)?;
    }
    Ok(Output::Rows(rows))
}

fn done(operation: &Operation, mut rows: Vec<Row>) -> Result<Vec<Row>, Fault> {
    match operation {
        Operation::Keep(field, comparison, value) => {
            let mut kept = Vec::new();
            for row in rows {
                if comparison.holds(cell(&row, field)?, value)? {
                    kept.push(row);
                }
            }
            return Ok(kept);
        }
        Operation::Add(field, by) => changed(&mut rows, field, |number| number.checked_add(*by))?,
        Operation::Times(field, by) => changed(&mut rows, field, |number| number.checked_mul(*by))?,
        Operation::Set(field, one, sign, other) => {
            for row in &mut rows {
                let number = sign.of(number(row, one)?, number(row, other)?).ok_or(Fault::TooLarge)?;
                row.insert(field.clone(), Cell::Number(number));
            }
        }
        Operation::Sort(field, direction) => {
            rows.iter().try_for_each(|row| cell(row, field).map(|_| ()))?;
            rows.sort_by(|a, b| match direction {
                Direction::Up => a.get(field).cmp(&b.get(field)),
                Direction::Down => b.get(field).cmp(&a.get(field)),
            });
        }
        Operation::Take(count) => rows.truncate(*count),
        Operation::Drop(count) => drop(rows.drain(..(*count).min(rows.len()))),
        Operation::Group(key, fold, field) => return grouped(&rows, key, *fold, field),
        Operation::Result(..) => return Err(Fault::BehindResult),
    }
    Ok(rows)
}

fn cell<'a>(row: &'a Row, field: &str) -> Result<&'a Cell, Fault> {
    row.get(field).ok_or(Fault::NoField)
}

fn number(row: &Row, field: &str) -> Result<i64, Fault> {
    match cell(row, field)? {
        Cell::Number(number) => Ok(*number),
        Cell::Text(_) => Err(Fault::NoNumber),
    }
}

fn changed(rows: &mut [Row], field: &str, of: impl Fn(i64) -> Option<i64>) -> Result<(), Fault> {
    for row in rows {
        let new = of(number(row, field)?).ok_or(Fault::TooLarge)?;
        row.insert(field.to_owned(), Cell::Number(new));
    }
    Ok(())
}

fn folded(fold: Fold, field: &str, rows: &[Row]) -> Result<i64, Fault> {
    if fold == Fold::Count {
        return Ok(rows.len() as i64);
    }
    let numbers: Vec<i64> = rows.iter().map(|row| number(row, field)).collect::<Result<_, _>>()?;
    match fold {
        Fold::Sum => {
            numbers.iter().try_fold(0_i64, |sum, number| sum.checked_add(*number)).ok_or(Fault::TooLarge)
        }
        Fold::Min => numbers.into_iter().min().ok_or(Fault::NoRows),
        Fold::Max => numbers.into_iter().max().ok_or(Fault::NoRows),
        Fold::Count => Ok(numbers.len() as i64),
    }
}

fn grouped(rows: &[Row], key: &str, fold: Fold, field: &str) -> Result<Vec<Row>, Fault> {
    let mut groups: Vec<(Cell, Vec<Row>)> = Vec::new();
    for row in rows {
        let value = cell(row, key)?;
        match groups.iter_mut().find(|(known, _)| known == value) {
            Some((_, group)) => group.push(row.clone()),
            None => groups.push((value.clone(), vec![row.clone()])),
        }
    }
    let row = |(value, group): (Cell, Vec<Row>)| {
        let number = Cell::Number(folded(fold, field, &group)?);
        Ok(Row::from([(key.to_owned(), value), (field.to_owned(), number)]))
    };
    groups.into_iter().map(row).collect()
}

impl Comparison {
    fn holds(self, cell: &Cell, value: &Cell) -> Result<bool, Fault> {
        let is_same_kind =
            matches!((cell, value), (Cell::Number(_), Cell::Number(_)) | (Cell::Text(_), Cell::Text(_)));
        if !is_same_kind {
            return Err(Fault::NoNumber);
        }
        Ok(match self {
            Self::Less => cell < value,
            Self::AtMost => cell <= value,
            Self::Equal => cell == value,
            Self::Unequal => cell != value,
            Self::AtLeast => cell >= value,
            Self::More => cell > value,
        })
    }
}

impl Sign {
    fn of(self, one: i64, other: i64) -> Option<i64> {
        match self {
            Self::Plus => one.checked_add(other),
            Self::Minus => one.checked_sub(other),
            Self::Times => one.checked_mul(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn rows() -> Vec<Row> {
        serde_json::from_value(json!([
            { "name": "a", "kind": "x", "price": 5, "count": 2 },
            { "name": "b", "kind": "y", "price": 9, "count": 1 },
            { "name": "c", "kind": "x", "price": 5, "count": 7 },
            { "name": "d", "kind": "y", "price": 2, "count": 4 }
        ]))
        .unwrap()
    }

    fn output(program: Value) -> Result<Output, Fault> {
        run(&read(&program.to_string()).unwrap(), &rows())
    }

    fn names(program: Value) -> String {
        let Ok(Output::Rows(rows)) = output(program) else { panic!("no rows") };
        let name = |row: &Row| match &row["name"] {
            Cell::Text(name) => name.clone(),
            Cell::Number(_) => String::new(),
        };
        rows.iter().map(name).collect()
    }

    #[test]
    fn operations_do_what_they_say() {
        assert_eq!(names(json!([{"keep": ["price", ">=", 5]}])), "abc");
        assert_eq!(names(json!([{"keep": ["price", ">", 5]}])), "b");
        assert_eq!(names(json!([{"keep": ["kind", "!=", "x"]}])), "bd");
        assert_eq!(names(json!([{"keep": ["price", "<=", 5]}, {"keep": ["count", "<", 7]}])), "ad");
        // Stable in both directions.
        assert_eq!(names(json!([{"sort": ["price", "up"]}])), "dacb");
        assert_eq!(names(json!([{"sort": ["price", "down"]}])), "bacd");
        assert_eq!(names(json!([{"drop": 1}, {"take": 2}])), "bc");
        assert_eq!(names(json!([{"take": 99}, {"drop": 99}])), "");
        let number = |program| output(program).unwrap();
        assert_eq!(number(json!([{"add": ["price", -1]}, {"result": ["sum", "price"]}])), Output::Number(17));
        assert_eq!(
            number(json!([{"times": ["price", 3]}, {"result": ["max", "price"]}])),
            Output::Number(27)
        );
        let set = json!([{"set": ["total", "price", "*", "count"]}, {"result": ["min", "total"]}]);
        assert_eq!(number(set), Output::Number(8));
        assert_eq!(
            number(json!([{"keep": ["kind", "=", "z"]}, {"result": ["count", "price"]}])),
            Output::Number(0)
        );
        let Output::Rows(groups) = number(json!([{"group": ["kind", "sum", "count"]}])) else {
            panic!("no rows")
        };
        assert_eq!(json!(groups), json!([{"count": 9, "kind": "x"}, {"count": 5, "kind": "y"}]));
    }

    #[test]
    fn what_does_not_fit_is_a_fault() {
        for (program, fault) in [
            (json!([{"keep": ["colour", "=", 1]}]), Fault::NoField),
            (json!([{"keep": ["kind", "<", 1]}]), Fault::NoNumber),
            (json!([{"add": ["kind", 1]}]), Fault::NoNumber),
            (json!([{"times": ["price", i64::MAX]}]), Fault::TooLarge),
            (json!([{"take": 0}, {"result": ["max", "price"]}]), Fault::NoRows),
            (json!([{"result": ["sum", "price"]}, {"take": 1}]), Fault::BehindResult),
        ] {
            assert_eq!(output(program.clone()), Err(fault), "{program}");
        }
    }

    #[test]
    fn the_program_of_a_text_is_found() {
        let program = r#"[{"take":3},{"result":["sum","price"]}]"#;
        for text in [program.to_owned(), format!("[1] It [sorts]:\n```json\n{program}\n```\n[{{}}]")] {
            assert_eq!(read(&text).unwrap().len(), 2, "{text}");
        }
        for (text, why) in [
            ("", NoProgram::Nothing),
            ("[1, 2]", NoProgram::Nothing),
            ("[{\"take\":3}", NoProgram::Nothing),
            ("[{\"take\":-3}]", NoProgram::OtherForm),
            ("[{\"take\":3,\"drop\":1}]", NoProgram::OtherForm),
            ("[{\"keep\":[\"price\",\"~\",1]}]", NoProgram::OtherForm),
            ("[{\"exec\":\"rm\"}]", NoProgram::OtherForm),
        ] {
            assert_eq!(read(text), Err(why), "{text}");
        }
        let long = format!("[{}]", vec!["{\"take\":1}"; MAX_OPERATIONS + 1].join(","));
        assert_eq!(read(&long), Err(NoProgram::OtherForm));
        assert!(read(&"[".repeat(1 << 20)).is_err());
    }

    fn any_operation() -> impl Strategy<Value = Operation> {
        let field =
            || prop_oneof![Just("price"), Just("count"), Just("kind"), Just("other")].prop_map(str::to_owned);
        let fold = || prop_oneof![Just(Fold::Sum), Just(Fold::Min), Just(Fold::Max), Just(Fold::Count)];
        prop_oneof![
            (field(), any::<i64>()).prop_map(|(field, by)| Operation::Add(field, by)),
            (field(), any::<i64>()).prop_map(|(field, by)| Operation::Times(field, by)),
            (field(), any::<i64>()).prop_map(|(field, value)| Operation::Keep(
                field,
                Comparison::AtMost,
                Cell::Number(value)
            )),
            (field(), field(), field()).prop_map(|(a, b, c)| Operation::Set(a, b, Sign::Times, c)),
            field().prop_map(|field| Operation::Sort(field, Direction::Down)),
            any::<usize>().prop_map(Operation::Take),
            any::<usize>().prop_map(Operation::Drop),
            (field(), fold(), field()).prop_map(|(key, fold, field)| Operation::Group(key, fold, field)),
            (fold(), field()).prop_map(|(fold, field)| Operation::Result(fold, field)),
        ]
    }

    proptest! {
        #[test]
        fn any_program_ends_and_comes_back_as_it_is_written(
            program in proptest::collection::vec(any_operation(), 1..MAX_OPERATIONS)
        ) {
            if let Ok(Output::Rows(rows)) = run(&program, &rows()) {
                prop_assert!(rows.len() <= 4);
            }
            prop_assert_eq!(read(&written(&program)).unwrap(), program);
        }

        #[test]
        fn any_text_is_read(text in any::<String>(), json in r#"(\[|\]|\{|\}|"take"|:|,|3|1e99999){0,30}"#) {
            let _ = read(&text);
            let _ = read(&json);
        }
    }
}
