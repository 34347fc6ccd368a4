//! Whether verdicts by probability and by match say the same: the table of docs/results.md, made of the published reports.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use kneepoint::record::{Forced, journal};
use serde_json::Value;

use super::{assert_current, root, signed, thousands};

const BEGIN: &str = "<!-- both ways: made by tests/it/docs/both_ways.rs -->\n";
const END: &str = "<!-- both ways: end -->\n";

/// What a run found on a setting at a context length.
struct Cell {
    run: String,
    by_probability: bool,
    /// Weights and KV types with the file's hash: what is the same in another run.
    setting: String,
    file: String,
    context: u64,
    verdict: String,
    /// Value, low and high (points).
    difference: Option<[f64; 3]>,
    cases: u64,
    /// Whether the reference ran twice there.
    has_floor: bool,
    margin: f64,
}

#[test]
fn the_verdicts_of_published_runs_both_ways_are_current() {
    let text = std::fs::read_to_string(root().join("docs/results.md")).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    assert_current("docs/results.md", &format!("{before}{BEGIN}{}{END}{after}", section()));
}

fn section() -> String {
    let mut folders: Vec<_> =
        std::fs::read_dir(root().join("reports")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.join("summary.json").exists());
    folders.sort();
    let cells: Vec<Cell> = folders.iter().flat_map(|folder| cells(folder)).collect();
    let mut text = "\n| context | setting | by match | difference (points) | verdict | by probability | difference (points) | verdict | both |\n\
                    |--:|---|---|--:|---|---|--:|---|---|\n"
        .to_owned();
    let mut counts: BTreeMap<Outcome, u32> = BTreeMap::new();
    let mut pairs: Vec<(&Cell, &Cell)> = Vec::new();
    for a in cells.iter().filter(|cell| !cell.by_probability) {
        pairs.extend(cells.iter().filter(|b| b.by_probability && is_same(a, b)).map(|b| (a, b)));
    }
    pairs.sort_by_key(|(a, b)| (&a.run, &b.run, a.context));
    for (a, b) in &pairs {
        let outcome = Outcome::of(a, b);
        *counts.entry(outcome).or_default() += 1;
        let why = [a, b].iter().filter_map(|cell| why_open(cell)).collect::<Vec<_>>().join("; ");
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        writeln!(
            text,
            "| {} | `{}` | {} | {} | {} | {} | {} | {} | {}{why} |",
            thousands(a.context),
            a.setting,
            a.run,
            points(a),
            a.verdict,
            b.run,
            points(b),
            b.verdict,
            outcome.words()
        )
        .unwrap();
    }
    let counted = counts.iter().map(|(outcome, count)| format!("{count} {}", outcome.words()));
    let counted = counted.collect::<Vec<_>>().join(", ");
    let contradict = match counts.get(&Outcome::Contradict) {
        Some(count) => format!("{count} contradict each other"),
        None => "none contradict each other".to_owned(),
    };
    let worse = pairs.iter().filter(|(a, b)| a.verdict == "worse" && b.verdict == "worse");
    let falls: Vec<(f64, f64)> =
        worse.filter_map(|(a, b)| Some((a.difference?[0], b.difference?[0]))).collect();
    let less = falls.iter().filter(|(by_match, by_probability)| by_match < by_probability).count();
    write!(
        text,
        "\nOf {} pairs of cells: {counted}; {contradict}. In {less} of the {} that both call worse the probability falls by less \
         than the\nshare of right answers: the two are not the same figure.\n\n",
        pairs.len(),
        falls.len()
    )
    .unwrap();
    text += "What cannot be judged both ways:\n\n";
    text += &alone(&cells, &pairs);
    text += &within(&folders);
    text + "\n"
}

/// How the two verdicts of a pair go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Agree,
    ProbabilityOnly,
    MatchOnly,
    Neither,
    Contradict,
}

impl Outcome {
    fn of(a: &Cell, b: &Cell) -> Self {
        match (a.is_decided(), b.is_decided()) {
            (true, true) if a.verdict == b.verdict => Self::Agree,
            (true, true) => Self::Contradict,
            (false, true) => Self::ProbabilityOnly,
            (true, false) => Self::MatchOnly,
            (false, false) => Self::Neither,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Agree => "agree",
            Self::ProbabilityOnly => "decided by probability alone",
            Self::MatchOnly => "decided by match alone",
            Self::Neither => "decided by neither",
            Self::Contradict => "**contradict**",
        }
    }
}

impl Cell {
    fn is_decided(&self) -> bool {
        self.verdict != "not separable"
    }
}

fn is_same(a: &Cell, b: &Cell) -> bool {
    (&a.setting, &a.file, a.context) == (&b.setting, &b.file, b.context)
}

/// Why a cell has no verdict.
fn why_open(cell: &Cell) -> Option<String> {
    let way = if cell.by_probability { "probability" } else { "match" };
    match cell.difference {
        _ if cell.is_decided() => None,
        None => Some(format!("{way} has nothing to compare")),
        Some([_, _, high]) if high < 0.0 && !cell.has_floor => {
            Some(format!("{way} calls nothing worse where its reference did not run twice"))
        }
        Some([_, low, high]) => Some(format!(
            "{way} spans {:.0} points on {} cases, the margin is {:.0}",
            high - low,
            cell.cases,
            cell.margin
        )),
    }
}

/// The cells but the reference's of a report whose verdicts rest on needles among needles alone; none of another.
fn cells(folder: &Path) -> Vec<Cell> {
    let text = std::fs::read_to_string(folder.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&text).unwrap();
    let list = |name: &str| summary[name].as_array().unwrap().clone();
    let other = |row: &Value| row["sanity"] == false && row["task"] != "retrieval/niah_multikey_2";
    if list("tasks").iter().any(other) {
        return Vec::new();
    }
    let mut cells = Vec::new();
    for cell in list("cells").iter().filter(|cell| cell["verdict"] != "reference") {
        let label = cell["setting"].as_str().unwrap();
        // Where layers are computed makes no other setting.
        let setting: Vec<&str> = label.split(' ').filter(|word| !word.starts_with("gpu_layers=")).collect();
        let of = |model: &&Value| model["weights"] == *setting[0];
        let file = list("models").iter().find(of).unwrap()["sha256"].as_str().unwrap().to_owned();
        let difference = &cell["difference"];
        let value = |name: &str| Some(difference[name].as_f64()? * 100.0);
        let values = [value("value"), value("low"), value("high")];
        cells.push(Cell {
            run: folder.file_name().unwrap().to_string_lossy().into_owned(),
            by_probability: summary["score"] == "probability",
            setting: setting.join(" "),
            file,
            context: cell["context"].as_u64().unwrap(),
            verdict: cell["verdict"].as_str().unwrap().replace('_', " "),
            difference: match values {
                [Some(value), Some(low), Some(high)] => Some([value, low, high]),
                _ => None,
            },
            cases: difference["n"].as_u64().unwrap_or_default(),
            has_floor: list("aa").iter().any(|row| row["context"] == cell["context"]),
            margin: summary["margin"].as_f64().unwrap() * 100.0,
        });
    }
    cells
}

/// The cells of each run that no run scored the other way has.
fn alone(cells: &[Cell], pairs: &[(&Cell, &Cell)]) -> String {
    let mut left: BTreeMap<(&str, bool), Vec<&Cell>> = BTreeMap::new();
    for cell in cells {
        if !pairs.iter().any(|(a, b)| std::ptr::eq(*a, cell) || std::ptr::eq(*b, cell)) {
            left.entry((&cell.run, cell.by_probability)).or_default().push(cell);
        }
    }
    let mut text = String::new();
    for ((run, by_probability), cells) in left {
        let mut lengths: Vec<u64> = cells.iter().map(|cell| cell.context).collect();
        lengths.dedup();
        let lengths = lengths.iter().map(|length| thousands(*length)).collect::<Vec<_>>().join(" and ");
        let other = if by_probability { "match" } else { "probability" };
        let count = cells.len();
        writeln!(
            text,
            "- {run}: its {count} cells at {lengths} tokens; no published run has them by {other}."
        )
        .unwrap();
    }
    text
}

/// What a run by probability says of greedy replies: the right one, where each of its tokens has more than half.
fn within(folders: &[std::path::PathBuf]) -> String {
    let half = 0.5_f32.ln();
    let sure = |forced: &[Forced]| {
        forced
            .iter()
            .any(|form| !form.tokens.is_empty() && form.tokens.iter().all(|token| token.logprob > half))
    };
    let mut shares = Vec::new();
    for folder in folders {
        let journal = journal::load(folder).unwrap();
        let forced: Vec<&[Forced]> = journal
            .trials
            .iter()
            .filter_map(|trial| Some(trial.reply.as_ref()?.forced.as_slice()))
            .filter(|forced| !forced.is_empty())
            .collect();
        if !forced.is_empty() {
            let known = forced.iter().filter(|forced| sure(forced)).count();
            let name = folder.file_name().unwrap().to_string_lossy();
            shares.push(format!(
                "{} of {} in {name}",
                thousands(known as u64),
                thousands(forced.len() as u64)
            ));
        }
    }
    format!(
        "- A run by itself: one by match has no probabilities, and one by probability has no replies. A greedy reply is known to be right only where \
         every token of the forced answer has more than half ({}); of the others it may be either.\n",
        shares.join(", ")
    )
}

fn points(cell: &Cell) -> String {
    match cell.difference {
        Some([value, low, high]) => format!("{} [{}, {}]", signed(value), signed(low), signed(high)),
        None => "–".to_owned(),
    }
}
