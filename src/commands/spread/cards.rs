//! `run --gpus 0,1,3`: one worker for each card, or group of cards, of this machine.

use std::collections::BTreeMap;

use super::again::Again;
use super::crew::{self, Plan as Start};
use super::room::{crowded, dealt};
use super::shares::Missing;
use super::tasks::shares_in_words;
use crate::cli::{Global, RunArgs};
use crate::commands::dry_run;
use crate::commands::output::print;
use crate::commands::progress::Display;
use crate::commands::run::Asked;
use crate::commands::worker::hand_over;
use crate::console;
use crate::error::{Error, Result};
use crate::measure::probe::machine::{free_memory_bytes, machine};
use crate::measure::probe::near::processors_near_cards;
use crate::measure::processes;
use crate::record::plan::Plan;
use crate::record::share::most_workers;
use crate::record::suite::{Setting, Suite};
use crate::record::{Machine, ModelInfo, Spread, SpreadOn};

pub(super) fn run(suite: Suite, plan: &Plan, gpus: &str, args: &RunArgs, global: &Global) -> Result<u8> {
    let machine = machine();
    let mut groups = groups(gpus, &machine)?;
    enough_for_each(&suite, &groups)?;
    let most = most_workers(&suite, plan) as usize;
    if groups.len() > most {
        console::note(&format!(
            "{most} of {} cards have something to do: what is compared is measured on one card; more `rounds` in the suite \
             make more shares",
            groups.len()
        ));
        groups.truncate(most);
    }
    let workers = groups.len() as u32;
    if args.dry_run {
        let code = dry_run::dry_run(&suite, plan, args, global)?;
        if !args.json {
            let name = |index: u32| format!(" on {}", in_words(&groups[index as usize]));
            print(&format!("\n{}", shares_in_words(&suite, plan, workers, name)))?;
        }
        return Ok(code);
    }
    let spread = Spread { workers, on: SpreadOn::Cards(groups.clone()) };
    let asked = Asked { file: &args.suite, sets: &args.overrides(), filters: &args.filters, json: args.json };
    let display = Display::new(global);
    let (session, prepared) = asked.start(suite, Some(spread))?.begin(&display, global)?;
    drop(display);
    let mut starts = starts(&groups, &session.suite, &(0..workers).collect::<Vec<_>>(), false);
    let build = hand_over(&session.folder, &prepared.build)?;
    for start in &mut starts {
        start.args.extend(["--build".to_owned(), build.display().to_string()]);
    }
    let total = all_trials(&session.suite, plan, workers);
    warn_of_crowding(&session.journal.header.models, groups.len());
    let ending = crew::work(&session.folder, starts, total, global)?;
    session.report(plan, ending, global)
}

pub(super) fn resume(
    again: &Again<'_>,
    groups: &[Vec<u32>],
    missing: &[Missing],
    global: &Global,
) -> Result<u8> {
    // Held while workers measure.
    let session = again.session()?;
    let indexes: Vec<u32> = missing.iter().map(|missing| missing.index).collect();
    let starts = starts(groups, again.suite, &indexes, again.args.retry_failed);
    let total = all_trials(again.suite, again.plan, again.spread.workers);
    let ending = crew::work(again.folder, starts, total, global)?;
    session.report(again.plan, ending, global)
}

/// Trials of all shares: those of the reference that several workers measure count for each.
fn all_trials(suite: &Suite, plan: &Plan, workers: u32) -> usize {
    (0..workers).map(|index| crate::record::share::share(suite, plan, index, workers).trials()).sum()
}

/// How the workers of these shares are started: each on its cards, with its share of the processors.
fn starts(groups: &[Vec<u32>], suite: &Suite, indexes: &[u32], retry_failed: bool) -> Vec<Start> {
    let cores = dealt(&processes::cores(), &near(groups));
    if cores.is_empty() {
        tracing::warn!(
            "there are fewer processor cores than workers: none is pinned, and they may slow each other down"
        );
    }
    let of = |index: &u32| {
        let (cards, cpus) = (groups.get(*index as usize)?, cores.get(*index as usize));
        let mut args = vec!["--cards".to_owned(), listed(cards)];
        if let Some(cpus) = cpus {
            args.extend(["--cpus".to_owned(), listed(cpus)]);
        }
        if retry_failed {
            args.push("--retry-failed".to_owned());
        }
        let threads = cpus.map(Vec::len).filter(|_| suite.engine.threads.is_none());
        Some(Start { index: *index, name: in_words(cards), args, env: environment(cards, threads) })
    };
    indexes.iter().filter_map(of).collect()
}

/// The processors near each worker's cards.
fn near(groups: &[Vec<u32>]) -> Vec<Vec<usize>> {
    let cards = processors_near_cards();
    let of = |card: &u32| cards.get(*card as usize).cloned().unwrap_or_default();
    groups.iter().map(|group| group.iter().flat_map(of).collect()).collect()
}

/// What tells servers which cards to use, and how many threads where the suite leaves it open: llama.cpp counts the machine's
/// processors, not those that it is pinned to.
fn environment(cards: &[u32], threads: Option<usize>) -> Vec<(String, String)> {
    let list = listed(cards);
    let mut variables = vec![
        // The driver's order, and not the fastest card first.
        ("CUDA_DEVICE_ORDER".to_owned(), "PCI_BUS_ID".to_owned()),
        ("CUDA_VISIBLE_DEVICES".to_owned(), list.clone()),
        ("HIP_VISIBLE_DEVICES".to_owned(), list.clone()),
        ("GGML_VK_VISIBLE_DEVICES".to_owned(), list),
    ];
    let set = std::env::var_os("LLAMA_ARG_THREADS").is_some();
    if let Some(threads) = threads.filter(|_| !set) {
        variables.push(("LLAMA_ARG_THREADS".to_owned(), threads.to_string()));
    }
    variables
}

/// Main memory is not divided by the kernel as processors are: says so where the servers' models do not fit side by side.
fn warn_of_crowding(models: &[ModelInfo], workers: usize) {
    let sizes: Vec<u64> = models.iter().map(|model| model.bytes).collect();
    if let Some(said) = free_memory_bytes().and_then(|free| crowded(&sizes, workers, free)) {
        tracing::warn!("{said}");
    }
}

fn listed<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn in_words(cards: &[u32]) -> String {
    let plural = if cards.len() == 1 { "card" } else { "cards" };
    format!("{plural} {}", listed(cards).replace(',', "+"))
}

/// The groups of cards that the user names.
fn groups(text: &str, machine: &Machine) -> Result<Vec<Vec<u32>>> {
    let names: Vec<&str> = match machine.cards.as_slice() {
        [] => machine.gpus.iter().map(String::as_str).collect(),
        cards => cards.iter().map(|card| card.name.as_str()).collect(),
    };
    if text == "all" {
        return all_alike(&names);
    }
    let number = |word: &str| word.trim().parse::<u32>().map_err(|_| no_cards(text));
    let group = |words: &str| words.split('+').map(number).collect::<Result<Vec<u32>>>();
    let groups: Vec<Vec<u32>> = text.split(',').map(group).collect::<Result<_>>()?;
    let mut all = groups.concat();
    all.sort_unstable();
    if let Some(twice) = all.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::usage(format!("--gpus {text}: card {} is named twice", twice[0]))
            .hint("two servers on one card slow each other down: name each card once"));
    }
    if let Some(gone) = all.iter().find(|card| !names.is_empty() && **card as usize >= names.len()) {
        let there: Vec<String> =
            (0..).zip(&names).map(|(number, name): (u32, _)| format!("{number}: {name}")).collect();
        return Err(Error::usage(format!("--gpus {text}: this machine has no card {gone}"))
            .hint(format!("it has {}", there.join(", "))));
    }
    if names.is_empty() {
        tracing::warn!("no graphics card was found here: servers are only told which ones to use");
    }
    Ok(groups)
}

fn no_cards(text: &str) -> Error {
    Error::usage(format!("--gpus {text}: not a list of cards"))
        .hint("such as --gpus 0,1,3, --gpus 0+1,2+3 for two workers with two cards each, or --gpus all")
}

/// A group for each card of the kind that most are of.
fn all_alike(names: &[&str]) -> Result<Vec<Vec<u32>>> {
    let mut kinds = BTreeMap::<&str, Vec<Vec<u32>>>::new();
    for (number, name) in (0..).zip(names) {
        kinds.entry(name).or_default().push(vec![number]);
    }
    let most = kinds.into_iter().max_by_key(|(_, cards)| cards.len());
    let (name, cards) = most.ok_or_else(|| {
        Error::usage("--gpus all: no graphics card was found here")
            .hint("`kneepoint doctor` says what was looked for")
            .hint("name the cards by number if servers see them all the same, such as --gpus 0,1")
    })?;
    if cards.len() < names.len() {
        let others = names.len() - cards.len();
        console::note(&format!("{} cards are {name}; {others} of other kinds are left out", cards.len()));
    }
    Ok(cards)
}

/// Whether every group has the cards that the suite's settings take.
fn enough_for_each(suite: &Suite, groups: &[Vec<u32>]) -> Result<()> {
    for setting in suite.measured() {
        let takes = takes(setting);
        if let Some(group) = groups.iter().find(|group| group.len() < takes) {
            let example: Vec<String> = (0..takes).map(|card| card.to_string()).collect();
            return Err(Error::usage(format!(
                "{} takes {takes} cards, and a worker has {}",
                setting.label,
                in_words(group)
            ))
            .hint(format!("give each worker as many, such as --gpus {}", example.join("+"))));
        }
    }
    Ok(())
}

/// Cards that a setting is spread over.
fn takes(setting: &Setting) -> usize {
    let option = |name: &str| setting.options.get(name).map(String::as_str);
    let split = option("tensor_split").map(|shares| shares.split([',', '/']).count());
    let parallel = option("tensor_parallel").and_then(|number| number.parse().ok());
    split.or(parallel).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::record::GpuCard;

    fn machine(names: &[&str]) -> Machine {
        let card = |name: &&str| GpuCard { name: (*name).to_owned(), ..GpuCard::default() };
        Machine { cards: names.iter().map(card).collect(), ..Machine::default() }
    }

    #[test]
    fn cards_are_named_one_by_one_in_groups_or_all() {
        let four = machine(&["A", "A", "B", "A"]);
        assert_eq!(groups("0,3", &four).unwrap(), [vec![0], vec![3]]);
        assert_eq!(groups("0+1,2+3", &four).unwrap(), [vec![0, 1], vec![2, 3]]);
        assert_eq!(groups("all", &four).unwrap(), [vec![0], vec![1], vec![3]]);
        assert_eq!(
            groups("0,1", &machine(&[])).unwrap(),
            [vec![0], vec![1]],
            "what is not seen may be there"
        );
        for (text, said) in [("0,0", "twice"), ("0,4", "no card 4"), ("a", "not a list"), ("", "not a list")]
        {
            assert!(groups(text, &four).unwrap_err().to_string().contains(said), "{text}");
        }
        assert!(groups("all", &machine(&[])).unwrap_err().to_string().contains("no graphics card"));
    }

    #[test]
    fn servers_are_told_their_cards_and_threads() {
        let told = environment(&[2, 3], Some(4));
        let of = |name: &str| told.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!(of("CUDA_VISIBLE_DEVICES"), Some("2,3"));
        assert_eq!(of("GGML_VK_VISIBLE_DEVICES"), Some("2,3"));
        assert_eq!(of("LLAMA_ARG_THREADS"), Some("4"));
    }

    #[test]
    fn a_setting_over_two_cards_needs_two() {
        let text = "name = \"t\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
                    [reference]\n[[setting]]\noptions = { tensor_split = \"1,1\" }\n[[task]]\nname = \"serving/speed\"\nsamples = 1\n";
        let suite = crate::suite::parse(text, Path::new("t.toml"), &[]).unwrap();
        let error = enough_for_each(&suite, &[vec![0], vec![1]]).unwrap_err();
        assert!(error.to_string().contains("takes 2 cards"), "{error}");
        assert!(enough_for_each(&suite, &[vec![0, 1]]).is_ok());
    }
}
