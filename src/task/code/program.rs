//! Right programs, what they do in words, and programs that nearly do it.

use crate::task::random::Random;

use super::language::{Cell, Comparison, Direction, Fold, Operation, Output, Row, Sign, run};

/// Fields with numbers, and the largest number of each.
const FIELDS: &[(&str, u32)] = &[("price", 90), ("count", 12), ("weight", 60)];
const KINDS: &[&str] = &["tool", "toy", "book", "lamp"];
/// Names of fields that a program adds.
const NEW_FIELDS: &[&str] = &["total", "value", "load"];
/// Fewest and most rows of an input.
const LEAST_ROWS: u32 = 8;
const MOST_ROWS: u32 = 14;
/// Inputs that a program is run on.
const INPUTS: usize = 8;
/// Draws of a mutation before another program is drawn.
const TRIES: usize = 40;

/// A program, inputs, and a program that does something else on most of them.
#[derive(Debug)]
pub(super) struct Puzzle {
    pub(super) right: Vec<Operation>,
    pub(super) broken: Vec<Operation>,
    /// Operations of the right program (numbers from 0) that the broken one has otherwise.
    pub(super) changed: Vec<usize>,
    pub(super) inputs: Vec<Vec<Row>>,
}

impl Puzzle {
    pub(super) fn draw(random: &mut Random, operations: usize, bugs: usize) -> Self {
        loop {
            let right = program(random, operations);
            let inputs: Vec<Vec<Row>> = (0..INPUTS).map(|_| input(random)).collect();
            let outputs: Vec<_> = inputs.iter().map(|input| run(&right, input)).collect();
            // Neither empty nor the same for all.
            let says = |output: &Result<Output, _>| match output {
                Ok(Output::Rows(rows)) => !rows.is_empty(),
                Ok(Output::Number(_)) => true,
                Err(_) => false,
            };
            if !outputs.iter().all(says) || outputs.windows(2).all(|pair| pair[0] == pair[1]) {
                continue;
            }
            for _ in 0..TRIES {
                let (broken, changed) = broken(random, &right, bugs);
                let differs = inputs
                    .iter()
                    .zip(&outputs)
                    .filter(|(input, output)| run(&broken, input) != **output)
                    .count();
                if differs * 2 >= INPUTS {
                    return Self { right, broken, changed, inputs };
                }
            }
        }
    }
}

fn input(random: &mut Random) -> Vec<Row> {
    let rows = random.between(LEAST_ROWS, MOST_ROWS);
    let row = |_| {
        let mut row = Row::from([("kind".to_owned(), Cell::Text(random.pick(KINDS).to_owned()))]);
        for (field, most) in FIELDS {
            row.insert((*field).to_owned(), Cell::Number(i64::from(random.between(1, *most))));
        }
        row
    };
    (0..rows).map(row).collect()
}

/// A program of so many operations, the last of which makes a number or groups.
fn program(random: &mut Random, operations: usize) -> Vec<Operation> {
    let mut fields: Vec<String> = FIELDS.iter().map(|(field, _)| (*field).to_owned()).collect();
    let mut program: Vec<Operation> = Vec::new();
    while program.len() + 1 < operations {
        let next = operation(random, &mut fields);
        // Two of a kind behind each other could be one.
        let repeats =
            program.last().is_some_and(|last| std::mem::discriminant(last) == std::mem::discriminant(&next));
        if !repeats {
            program.push(next);
        }
    }
    let field = fields[random.below(fields.len())].clone();
    let fold = [Fold::Sum, Fold::Max, Fold::Min][random.below(3)];
    program.push(match random.below(2) {
        0 => Operation::Result(fold, field),
        _ => Operation::Group("kind".to_owned(), fold, field),
    });
    program
}

fn operation(random: &mut Random, fields: &mut Vec<String>) -> Operation {
    let at = random.below(fields.len());
    let field = fields[at].clone();
    match random.below(8) {
        0 => {
            let comparison = [Comparison::AtLeast, Comparison::More, Comparison::AtMost, Comparison::Less];
            let most = FIELDS.iter().find(|(known, _)| *known == field).map_or(40, |(_, most)| *most);
            let value = i64::from(random.between(most / 4, most / 2));
            Operation::Keep(field, comparison[random.below(4)], Cell::Number(value))
        }
        1 => {
            Operation::Keep("kind".to_owned(), Comparison::Unequal, Cell::Text(random.pick(KINDS).to_owned()))
        }
        2 => Operation::Add(field, i64::from(random.between(2, 20))),
        3 => Operation::Times(field, i64::from(random.between(2, 5))),
        4 => {
            let other = fields[(at + 1 + random.below(fields.len() - 1)) % fields.len()].clone();
            let new = random.pick(NEW_FIELDS).to_owned();
            let sign = [Sign::Plus, Sign::Minus, Sign::Times][random.below(3)];
            if !fields.contains(&new) {
                fields.push(new.clone());
            }
            Operation::Set(new, field, sign, other)
        }
        5 => Operation::Sort(field, [Direction::Up, Direction::Down][random.below(2)]),
        6 => Operation::Take(random.between(3, 7) as usize),
        _ => Operation::Drop(random.between(1, 2) as usize),
    }
}

/// A program with so many operations changed, left out or in another place; and the right ones' numbers.
fn broken(random: &mut Random, right: &[Operation], bugs: usize) -> (Vec<Operation>, Vec<usize>) {
    let mut places: Vec<usize> = (0..right.len()).collect();
    random.shuffle(&mut places);
    places.truncate(bugs.min(right.len()));
    places.sort_unstable();
    let mut broken: Vec<Option<Operation>> = right.iter().cloned().map(Some).collect();
    for at in &places {
        // The last one stays, changed.
        let gone = at + 1 < right.len() && random.chance(15);
        broken[*at] = (!gone).then(|| altered(random, &right[*at]));
    }
    (broken.into_iter().flatten().collect(), places)
}

/// The operation with one of its words or numbers changed.
fn altered(random: &mut Random, operation: &Operation) -> Operation {
    let off = |random: &mut Random, number: i64| number + [-3, -1, 1, 2][random.below(4)];
    let count = |random: &mut Random, number: usize| {
        if number > 1 && random.chance(50) { number - 1 } else { number + 1 }
    };
    let other = |random: &mut Random, field: &str| {
        let others: Vec<&str> =
            FIELDS.iter().map(|(other, _)| *other).filter(|other| *other != field).collect();
        random.pick(&others).to_owned()
    };
    let first = random.chance(50);
    match operation.clone() {
        Operation::Keep(field, comparison, Cell::Number(value)) if first => {
            Operation::Keep(field, comparison, Cell::Number(off(random, value)))
        }
        Operation::Keep(field, comparison, value) => Operation::Keep(field, comparison.neighbour(), value),
        Operation::Add(field, by) if first => Operation::Add(other(random, &field), by),
        Operation::Add(field, by) => Operation::Add(field, off(random, by)),
        Operation::Times(field, by) if first => Operation::Times(other(random, &field), by),
        Operation::Times(field, by) => Operation::Times(field, by + 1),
        Operation::Set(new, one, sign, with) if first => Operation::Set(new, one, sign.other(), with),
        Operation::Set(new, one, sign, with) => Operation::Set(new, other(random, &one), sign, with),
        Operation::Sort(field, direction) if first => Operation::Sort(field, direction.other()),
        Operation::Sort(field, direction) => Operation::Sort(other(random, &field), direction),
        Operation::Take(number) => Operation::Take(count(random, number)),
        Operation::Drop(number) => Operation::Drop(count(random, number)),
        Operation::Group(key, fold, field) if first => Operation::Group(key, fold.other(), field),
        Operation::Group(key, fold, field) => Operation::Group(key, fold, other(random, &field)),
        Operation::Result(fold, field) if first => Operation::Result(fold.other(), field),
        Operation::Result(fold, field) => Operation::Result(fold, other(random, &field)),
    }
}

impl Comparison {
    /// The one that is confused with it.
    const fn neighbour(self) -> Self {
        match self {
            Self::Less => Self::AtMost,
            Self::AtMost => Self::Less,
            Self::Equal => Self::Unequal,
            Self::Unequal => Self::Equal,
            Self::AtLeast => Self::More,
            Self::More => Self::AtLeast,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Less => "less than",
            Self::AtMost => "at most",
            Self::Equal => "exactly",
            Self::Unequal => "not",
            Self::AtLeast => "at least",
            Self::More => "more than",
        }
    }
}

impl Sign {
    const fn other(self) -> Self {
        match self {
            Self::Plus => Self::Minus,
            Self::Minus => Self::Plus,
            Self::Times => Self::Plus,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Plus => "plus",
            Self::Minus => "minus",
            Self::Times => "times",
        }
    }
}

impl Direction {
    const fn other(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

impl Fold {
    const fn other(self) -> Self {
        match self {
            Self::Sum => Self::Max,
            Self::Max => Self::Min,
            Self::Min => Self::Max,
            Self::Count => Self::Sum,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Sum => "the sum of",
            Self::Min => "the smallest",
            Self::Max => "the largest",
            Self::Count => "the number of rows with",
        }
    }
}

/// What an operation does, in words.
pub(super) fn words(operation: &Operation) -> String {
    match operation {
        Operation::Keep(field, comparison, value) => {
            let value = match value {
                Cell::Number(number) => number.to_string(),
                Cell::Text(text) => text.clone(),
            };
            format!("keep the rows whose {field} is {} {value}", comparison.words())
        }
        Operation::Add(field, by) => format!("add {by} to the {field}"),
        Operation::Times(field, by) => format!("multiply the {field} by {by}"),
        Operation::Set(new, one, sign, other) => format!("set {new} to {one} {} {other}", sign.words()),
        Operation::Sort(field, Direction::Up) => format!("sort by {field}, smallest first"),
        Operation::Sort(field, Direction::Down) => format!("sort by {field}, largest first"),
        Operation::Take(count) => format!("take the first {count} rows"),
        Operation::Drop(count) => format!("leave out the first {count} rows"),
        Operation::Group(key, fold, field) => {
            format!("make a row for each {key} with {} {field}", fold.words())
        }
        Operation::Result(fold, field) => format!("the result is {} {field}", fold.words()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::language::{read, written};
    use super::*;

    /// A program from its words, read apart from how they are written.
    fn told(words: &str) -> Operation {
        let all: Vec<&str> = words.split([' ', ',']).filter(|word| !word.is_empty()).collect();
        let number = |word: &str| word.parse::<i64>().unwrap();
        let own = |word: &str| word.to_owned();
        let fold = |words: &[&str]| match words {
            ["the", "sum", "of", field] => (Fold::Sum, own(field)),
            ["the", "smallest", field] => (Fold::Min, own(field)),
            ["the", "largest", field] => (Fold::Max, own(field)),
            other => panic!("{other:?}"),
        };
        match all.as_slice() {
            ["keep", "the", "rows", "whose", field, "is", how @ .., value] => {
                let comparison = match how {
                    ["less", "than"] => Comparison::Less,
                    ["at", "most"] => Comparison::AtMost,
                    ["not"] => Comparison::Unequal,
                    ["at", "least"] => Comparison::AtLeast,
                    ["more", "than"] => Comparison::More,
                    other => panic!("{other:?}"),
                };
                let value = value.parse().map_or_else(|_| Cell::Text(own(value)), Cell::Number);
                Operation::Keep(own(field), comparison, value)
            }
            ["add", by, "to", "the", field] => Operation::Add(own(field), number(by)),
            ["multiply", "the", field, "by", by] => Operation::Times(own(field), number(by)),
            ["set", new, "to", one, sign, other] => {
                let sign = match *sign {
                    "plus" => Sign::Plus,
                    "minus" => Sign::Minus,
                    "times" => Sign::Times,
                    other => panic!("{other}"),
                };
                Operation::Set(own(new), own(one), sign, own(other))
            }
            ["sort", "by", field, "smallest", "first"] => Operation::Sort(own(field), Direction::Up),
            ["sort", "by", field, "largest", "first"] => Operation::Sort(own(field), Direction::Down),
            ["take", "the", "first", count, "rows"] => Operation::Take(count.parse().unwrap()),
            ["leave", "out", "the", "first", count, "rows"] => Operation::Drop(count.parse().unwrap()),
            ["make", "a", "row", "for", "each", key, "with", rest @ ..] => {
                let (fold, field) = fold(rest);
                Operation::Group(own(key), fold, field)
            }
            ["the", "result", "is", rest @ ..] => {
                let (fold, field) = fold(rest);
                Operation::Result(fold, field)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_words_say_the_program() {
        let mut random = Random::of_task(1, "programs");
        for operations in [3, 6, 12] {
            for _ in 0..40 {
                let right = program(&mut random, operations);
                assert_eq!(right.len(), operations);
                assert_eq!(right.iter().map(|operation| told(&words(operation))).collect::<Vec<_>>(), right);
                assert_eq!(read(&written(&right)).unwrap(), right);
            }
        }
    }

    #[test]
    fn a_broken_program_does_something_else_on_half_of_the_inputs() {
        let mut random = Random::of_task(2, "programs");
        for (operations, bugs) in [(3, 1), (6, 1), (6, 3), (12, 2)] {
            for _ in 0..10 {
                let Puzzle { right, broken, changed, inputs } = Puzzle::draw(&mut random, operations, bugs);
                assert_eq!((right.len(), changed.len()), (operations, bugs));
                let differs = inputs.iter().filter(|input| run(&right, input) != run(&broken, input)).count();
                assert!(differs * 2 >= inputs.len() && right != broken);
            }
        }
    }
}
