//! What differs between two runs beside their trials.

use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::analysis::{InSuite, Registry, Tasks as _, words};
use crate::record::journal::{Header, Journal};
use crate::record::secrets::shown_args;
use crate::record::suite::Suite;
use crate::record::{Effective, GpuCard, ModelInfo};
use crate::task::Weight;

/// Something that differs between two runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Difference {
    /// What.
    pub what: String,
    /// In A.
    pub a: String,
    /// In B.
    pub b: String,
    /// Whether it makes other cases: those do not pair.
    pub changes_items: bool,
}

/// Everything that differs.
pub(super) fn differences(a: &Header, b: &Header) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what: &str, a: String, b: String, changes_items: bool| {
        if a != b {
            found.push(Difference { what: what.into(), a, b, changes_items });
        }
    };
    compare("suite", a.suite.name.clone(), b.suite.name.clone(), false);
    compare("seed", a.suite.seed.to_string(), b.suite.seed.to_string(), true);
    compare("tasks", tasks(&a.suite), tasks(&b.suite), true);
    compare(
        "tasks that count for the quality (A's are taken)",
        counting(&a.suite),
        counting(&b.suite),
        false,
    );
    compare("context lengths", join(&a.suite.contexts), join(&b.suite.contexts), false);
    compare("sampling", sampling(&a.suite), sampling(&b.suite), false);
    compare("rounds", a.suite.rounds.to_string(), b.suite.rounds.to_string(), false);
    compare("reference", a.suite.reference().label.clone(), b.suite.reference().label.clone(), false);
    compare("engine", engines(a), engines(b), false);
    let args = |suite: &Suite| shown_args(&suite.engine.args).join(" ");
    compare("server arguments", args(&a.suite), args(&b.suite), false);
    compare("threads", threads(&a.suite), threads(&b.suite), false);
    compare("machine", machine(a), machine(b), false);
    compare("graphics cards", cards(a), cards(b), false);
    compare("CPU governor", governor(a), governor(b), false);
    if let Some((a, b)) = copies(a, b) {
        compare("memory copied by all processors", a, b, false);
    }
    compare("kneepoint", a.tool_version.clone(), b.tool_version.clone(), false);
    for model in &a.models {
        let same_name = |other: &&ModelInfo| other.name == model.name && other.weights == model.weights;
        if let Some(other) = b.models.iter().find(same_name) {
            let what = format!("file of {} {}", model.name, model.weights);
            compare(&what, short(&model.sha256), short(&other.sha256), false);
        }
    }
    compare("models", models(a), models(b), true);
    found
}

/// What the environment and the servers' own read-back add: variables that servers may obey, and what the same setting means in
/// each build.
pub(super) fn of_servers(a: &Journal, b: &Journal) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut compare = |what: String, a: String, b: String| {
        if a != b {
            found.push(Difference { what, a, b, changes_items: false });
        }
    };
    if let (Some(ours), Some(theirs)) = (&a.header.environment, &b.header.environment) {
        let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let value = |all: &BTreeMap<String, String>, name: &String| {
            all.get(name).cloned().unwrap_or_else(|| "not set".to_owned())
        };
        for name in names {
            compare(format!("environment variable {name}"), value(ours, name), value(theirs, name));
        }
    }
    for setting in &a.header.suite.settings {
        let (Some(ours), Some(theirs)) = (launch(a, &setting.label), launch(b, &setting.label)) else {
            continue;
        };
        if let (Some(ours), Some(theirs)) = (rotation(ours), rotation(theirs)) {
            compare(format!("rotation of K and V of {}", setting.label), ours, theirs);
        }
        if let (Some(ours), Some(theirs)) = (ours.graph_splits, theirs.graph_splits) {
            compare(
                format!("pieces of the graph of {}", setting.label),
                ours.to_string(),
                theirs.to_string(),
            );
        }
    }
    found
}

/// What the first server of a setting says that it runs.
fn launch<'j>(journal: &'j Journal, setting: &str) -> Option<&'j Effective> {
    let mut launches = journal.launches.iter().filter(|launch| launch.setting == setting);
    launches.find(|launch| launch.failure.is_none()).map(|launch| &launch.effective)
}

/// Whether quantised K and V are rotated.
fn rotation(effective: &Effective) -> Option<String> {
    let word = |rotated: bool| if rotated { "rotated" } else { "as they are" };
    Some(format!("K {}, V {}", word(effective.k_rotated?), word(effective.v_rotated?)))
}

/// A task by everything that decides its cases.
fn tasks(suite: &Suite) -> String {
    let one = |task: &crate::record::suite::TaskSpec| {
        let options: Vec<String> =
            task.options.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        format!("{} x{}{}", task.name, task.samples, options.concat())
    };
    suite.tasks.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The tasks that count for the quality.
fn counting(suite: &Suite) -> String {
    let weights = InSuite { tasks: &Registry, suite };
    let names = suite.tasks.iter().map(|task| task.name.as_str());
    let counting: Vec<&str> = names.filter(|name| weights.weight(name) == Some(Weight::Primary)).collect();
    if counting.is_empty() { "none".to_owned() } else { counting.join(", ") }
}

/// The suite's sampling, and that of the settings which have one of their own.
fn sampling(suite: &Suite) -> String {
    let own = suite.settings.iter().filter_map(|setting| Some((&setting.label, setting.sampling?)));
    let own = own.map(|(label, sampling)| format!("; {label}: {}", sampling.words()));
    let repeats = suite.repeats().map_or(String::new(), |repeats| format!(", each case {repeats} times"));
    format!("{}{}{repeats}", suite.sampling.words(), own.collect::<String>())
}

pub(super) fn engines(header: &Header) -> String {
    header.engines.iter().map(|e| format!("{} {}", e.name, e.version)).collect::<Vec<_>>().join(", ")
}

fn threads(suite: &Suite) -> String {
    suite.engine.threads.map_or("the server's choice".into(), |threads| threads.to_string())
}

fn machine(header: &Header) -> String {
    let m = &header.machine;
    let gpus = m.gpus.iter().map(|gpu| format!(", {gpu}")).collect::<String>();
    format!("{}, {} CPUs, {}, {}{gpus}", m.cpu, m.cpus, words::bytes(m.memory_bytes), m.os)
}

/// The machine with its cards, as far as neither changes from run to run.
pub(super) fn machine_words(header: &Header) -> String {
    let cards = cards(header);
    if cards.is_empty() { machine(header) } else { format!("{}; {cards}", machine(header)) }
}

/// Whether two runs were made on machines of one description.
pub(super) fn same_machine(a: &Header, b: &Header) -> bool {
    machine(a) == machine(b) && cards(a) == cards(b)
}

/// What stays the same from run to run of the drivers' figures.
fn cards(header: &Header) -> String {
    let one = |card: &GpuCard| {
        let bytes = card.memory_bytes.map_or(String::new(), |bytes| format!(", {}", words::bytes(bytes)));
        let driver = card.driver.as_ref().map_or(String::new(), |driver| format!(", driver {driver}"));
        let limit = card.power_limit_w.map_or(String::new(), |watts| format!(", limit {watts:.0} W"));
        let instances = match card.instances.len() {
            0 => String::new(),
            count => format!(", {count} instances by MIG"),
        };
        format!("{}{bytes}{driver}{limit}{instances}", card.name)
    };
    header.machine.cards.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn governor(header: &Header) -> String {
    header.machine.cpu_governor.clone().unwrap_or_else(|| "not known".into())
}

/// How fast both machines copy memory, when they differ by more than one machine from run to run.
fn copies(a: &Header, b: &Header) -> Option<(String, String)> {
    const NOISE: f64 = 1.2;
    let (a, b) = (a.machine.memory_copy_bytes_per_s?, b.machine.memory_copy_bytes_per_s?);
    let words = |speed: f64| format!("{} GB/s", words::significant(speed / 1e9));
    (a / b > NOISE || b / a > NOISE).then(|| (words(a), words(b)))
}

fn models(header: &Header) -> String {
    let mut names: Vec<&str> = header.models.iter().map(|model| model.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// The first digits of a hash.
fn short(hash: &str) -> String {
    hash.chars().take(12).collect()
}

fn join(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn the_memory_of_machines_is_told_in_units() {
        let text = "name = \"a\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
                    [reference]\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n";
        let suite = crate::suite::parse(text, std::path::Path::new("a.toml"), &[]).unwrap();
        let mut a = testing::header(suite);
        a.machine.memory_bytes = 64 << 30;
        let mut b = a.clone();
        b.machine.memory_bytes = 24 << 30;
        let found = differences(&a, &b);
        let machine = found.iter().find(|difference| difference.what == "machine").unwrap();
        assert!(machine.a.contains("64.0 GiB") && machine.b.contains("24.0 GiB"), "{machine:?}");
        assert!(!machine.a.contains("bytes"));
    }

    #[test]
    fn other_tasks_that_count_are_named() {
        let suite = |primary: &str| {
            let text = format!(
                "name = \"a\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
                 [reference]\n[[task]]\nname = \"retrieval/niah_multikey_1\"\nsamples = 1\n{primary}"
            );
            testing::header(crate::suite::parse(&text, std::path::Path::new("a.toml"), &[]).unwrap())
        };
        let found = differences(&suite(""), &suite("primary = true"));
        let [counts] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((counts.a.as_str(), counts.b.as_str()), ("none", "retrieval/niah_multikey_1"));
        assert_eq!(differences(&suite(""), &suite("primary = false")), [], "it is what it was");
    }

    #[test]
    fn what_a_build_or_the_environment_changes_is_named() {
        let text = "name = \"a\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
                    [reference]\nkv = \"q8_0\"\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n";
        let suite = crate::suite::parse(text, std::path::Path::new("a.toml"), &[]).unwrap();
        let journal = |rotated: bool, variables: &[(&str, &str)]| {
            let mut header = testing::header(suite.clone());
            let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            header.environment = Some(variables.collect());
            let label = header.suite.reference().label.clone();
            let mut journal = Journal::new(header);
            let mut launch = testing::launch(&label, 512);
            launch.effective.k_rotated = Some(rotated);
            launch.effective.v_rotated = Some(rotated);
            journal.launches.push(launch);
            journal
        };
        let (a, b) = (journal(true, &[]), journal(false, &[("LLAMA_ATTN_ROT_DISABLE", "1")]));
        let found = of_servers(&a, &b);
        let said: Vec<String> =
            found.iter().map(|found| format!("{}: {} -> {}", found.what, found.a, found.b)).collect();
        assert_eq!(said[0], "environment variable LLAMA_ATTN_ROT_DISABLE: not set -> 1");
        assert!(said[1].ends_with(": K rotated, V rotated -> K as they are, V as they are"), "{said:?}");
        assert_eq!(of_servers(&a, &a), []);
        let mut older = a.clone();
        older.header.environment = None;
        assert_eq!(of_servers(&older, &a), [], "nobody knows what an older run had");
    }
}
