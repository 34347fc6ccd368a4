//! What each task costs and what it sees: the tables of docs/tasks.md, made of the runs published for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kneepoint::record::{Scoring, Source, Trial, journal, metric};
use kneepoint::task::{TASKS, Weight};
use serde_json::Value;

use super::{assert_current, root, signed, thousands};

const BEGIN: &str = "<!-- tables: made by tests/it/docs/power.rs -->\n";
const END: &str = "<!-- tables: end -->\n";
const BEGIN_LIST: &str = "<!-- list: made by tests/it/docs/power.rs -->\n";
const END_LIST: &str = "<!-- list: end -->\n";
/// Published runs of `suites/power.toml` and its twin, and what they are called.
const RUNS: [(&str, &str); 2] = [
    ("power", "By match: replies that are right"),
    ("power-probability", "By probability of the right answer"),
];
/// How many tasks are named as the best of a setting.
const BEST: usize = 4;

#[test]
fn the_tables_of_what_tasks_see_are_current() {
    let text = std::fs::read_to_string(root().join("docs/tasks.md")).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let tables: String = RUNS.iter().map(|(run, title)| Table::read(run).section(title)).collect();
    assert_current("docs/tasks.md", &format!("{before}{BEGIN}\n{tables}{END}{after}"));
}

#[test]
fn the_list_of_tasks_is_current() {
    let text = std::fs::read_to_string(root().join("docs/tasks.md")).unwrap();
    let (before, rest) = text.split_once(BEGIN_LIST).unwrap();
    let (_, after) = rest.split_once(END_LIST).unwrap();
    let mut list = "\n| task | what it checks | part of quality | by probability | questions to a text |\n|---|---|---|---|--:|\n".to_owned();
    for task in TASKS {
        let card = task.card();
        let weight = match card.weight {
            Weight::Primary => "yes",
            Weight::Sanity => "sanity check",
            Weight::Comparative => "compared alone",
        };
        let by_probability = match (card.needs.closed_answer, card.arms.is_empty()) {
            (true, true) => "yes",
            (true, false) => "in the prompted arm",
            (false, _) => "",
        };
        let (by_match, forced) =
            (card.needs.questions.max(1), card.needs.most_questions(Scoring::Probability));
        let questions = match forced > by_match {
            true => format!("{by_match}, by probability {forced}"),
            false => by_match.to_string(),
        };
        let summary = card.summary.replace('|', "\\|");
        writeln!(list, "| `{}` | {summary} | {weight} | {by_probability} | {questions} |", card.name)
            .unwrap();
    }
    assert_current("docs/tasks.md", &format!("{before}{BEGIN_LIST}{list}\n{END_LIST}{after}"));
}

/// None is left out because it looks bad.
#[test]
fn every_task_with_a_score_and_cases_of_its_own_was_measured() {
    let measured = Table::read(RUNS[0].0);
    for task in TASKS {
        let card = task.card();
        let is_scored = card.weight != Weight::Comparative && !card.needs.watches_cache;
        if is_scored && !card.needs.reads_file {
            assert!(measured.tasks.iter().any(|row| row.task == card.name), "{} was not run", card.name);
        }
    }
}

/// What a run says of its tasks.
struct Table {
    /// The reference first.
    settings: Vec<String>,
    tasks: Vec<Row>,
}

struct Row {
    task: String,
    sanity: bool,
    /// Mean score of the reference (0..1).
    reference: f64,
    /// The reference's first visit: cases, server time (s) and computed tokens of all of them.
    cases: u64,
    server_s: f64,
    tokens: f64,
    /// By setting: the difference with its interval (points), and the server time until such a loss shows (s).
    seen: BTreeMap<String, Seen>,
}

struct Seen {
    difference: [f64; 3],
    after_s: Option<f64>,
}

impl Table {
    fn read(run: &str) -> Self {
        let folder = root().join("reports").join(run);
        let text = std::fs::read_to_string(folder.join("summary.json")).unwrap();
        let summary: Value = serde_json::from_str(&text).unwrap();
        let journal = journal::load(&folder).unwrap();
        let rows = summary["tasks"].as_array().unwrap();
        let reference = summary["reference"].as_str().unwrap();
        let mut settings: Vec<String> = Vec::new();
        let mut tasks: Vec<Row> = Vec::new();
        for row in rows.iter().filter(|row| !row["quality"].is_null()) {
            let (task, setting) = (row["task"].as_str().unwrap(), row["setting"].as_str().unwrap());
            if !settings.iter().any(|known| known == setting) {
                settings.push(setting.to_owned());
            }
            if setting == reference {
                tasks.push(Row {
                    task: task.to_owned(),
                    sanity: row["sanity"].as_bool().unwrap(),
                    reference: row["quality"]["value"].as_f64().unwrap(),
                    cases: row["scored"].as_u64().unwrap() + row["failed"].as_u64().unwrap(),
                    server_s: row["server_s"].as_f64().unwrap(),
                    tokens: computed(&journal, task, reference),
                    seen: BTreeMap::new(),
                });
            } else if let Some(seen) = seen(row) {
                let known = tasks
                    .iter_mut()
                    .find(|known| known.task == task)
                    .expect("the reference's row comes first");
                known.seen.insert(setting.to_owned(), seen);
            }
        }
        // A setting that time did not reach has nothing to show.
        let is_compared = |setting: &String| tasks.iter().any(|row| row.seen.contains_key(setting));
        settings.retain(|setting| setting == reference || is_compared(setting));
        Self { settings, tasks }
    }

    fn section(&self, title: &str) -> String {
        let mut text = format!("### {title}\n\n");
        let settings: Vec<String> = self.settings[1..].iter().map(|setting| short(setting)).collect();
        text += "| task | reference | tokens a case | server time a case |";
        settings.iter().for_each(|setting| write!(text, " {setting} (points) | shows after |").unwrap());
        text += "\n|---|--:|--:|--:|";
        settings.iter().for_each(|_| text += "--:|--:|");
        text += "\n";
        for row in &self.tasks {
            text += &self.line(row);
        }
        text += "\n";
        for setting in &self.settings[1..] {
            text += &self.best(setting);
        }
        text + "\n"
    }

    fn line(&self, row: &Row) -> String {
        let cases = row.cases as f64;
        let mut line = format!(
            "| `{}`{} | {:.2} | {} | {} |",
            row.task,
            if row.sanity { " (sanity)" } else { "" },
            row.reference,
            thousands((row.tokens / cases).round() as u64),
            seconds(row.server_s / cases)
        );
        for setting in &self.settings[1..] {
            let cell = row.seen.get(setting).map_or_else(
                || " – | – |".to_owned(),
                |Seen { difference: [value, low, high], after_s }| {
                    let after = after_s.map_or_else(|| "–".to_owned(), seconds);
                    format!(" {} [{}, {}] | {after} |", signed(*value), signed(*low), signed(*high))
                },
            );
            line += &cell;
        }
        line + "\n"
    }

    /// The tasks that show what a setting loses from the least server time.
    fn best(&self, setting: &str) -> String {
        let loss = |row: &Row| row.seen.get(setting).filter(|seen| seen.difference[0] < 0.0)?.after_s;
        let mut best: Vec<(f64, &str)> =
            self.tasks.iter().filter_map(|row| Some((loss(row)?, row.task.as_str()))).collect();
        best.sort_by(|a, b| a.0.total_cmp(&b.0));
        let names: Vec<String> = best
            .iter()
            .take(BEST)
            .map(|(after_s, task)| format!("`{task}` ({})", seconds(*after_s)))
            .collect();
        match names.as_slice() {
            [] => format!("- {}: no task shows a loss.\n", short(setting)),
            names => format!(
                "- {} shows soonest in {}; {} of {} tasks show a loss.\n",
                short(setting),
                names.join(", "),
                best.len(),
                self.tasks.len()
            ),
        }
    }
}

fn seen(row: &Value) -> Option<Seen> {
    let points = |name: &str| Some(row["difference"][name].as_f64()? * 100.0);
    Some(Seen {
        difference: [points("value")?, points("low")?, points("high")?],
        after_s: row["shown_after_s"].as_f64(),
    })
}

/// Tokens that the server computed for a task in the reference's first visits: prompts less what the cache held, and replies.
fn computed(journal: &journal::Journal, task: &str, reference: &str) -> f64 {
    let of = |trial: &&Trial| {
        *trial.key.task == *task && *trial.key.setting == *reference && trial.key.replicate == 0
    };
    let figure = |trial: &Trial, name| {
        [Source::Engine, Source::Client].iter().find_map(|source| trial.measured(name, *source))
    };
    journal
        .trials
        .iter()
        .filter(of)
        .map(|trial| {
            let prompt = figure(trial, metric::PROMPT_TOKENS).unwrap_or_default();
            let cached = figure(trial, metric::CACHED_TOKENS).unwrap_or_default();
            let reply = figure(trial, metric::OUTPUT_TOKENS).unwrap_or_default();
            figure(trial, metric::COMPUTED_TOKENS).unwrap_or(prompt - cached + reply)
        })
        .sum()
}

/// What differs from the reference: the KV types, or the weights where those are the same.
fn short(setting: &str) -> String {
    let (weights, rest) = setting.split_once(' ').unwrap_or((setting, ""));
    let kv = rest.split(' ').find_map(|word| word.strip_prefix("kv="));
    match kv {
        Some(kv) if kv != "f16" => format!("KV `{kv}`"),
        _ => format!("weights `{weights}`"),
    }
}

fn seconds(value: f64) -> String {
    match value {
        value if value < 0.995 => format!("{value:.2} s"),
        value if value < 9.95 => format!("{value:.1} s"),
        value => format!("{value:.0} s"),
    }
}
