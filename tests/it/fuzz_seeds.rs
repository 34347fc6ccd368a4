//! Runs the fuzzers' entry functions over their committed seeds and over random changes of it.

#[path = "../../fuzz/src/entry.rs"]
#[expect(unreachable_pub, reason = "a library of its own for the fuzzers")]
mod entry;

use std::path::Path;

use proptest::prelude::*;

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 4, "{name} has too few seeds");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// The seeds as they are, cut anywhere, with bytes changed, with a piece of another entry in the middle, and any bytes.
fn hammer(name: &str, entry: fn(&[u8])) {
    let seeds = seeds(name);
    seeds.iter().for_each(|bytes| entry(bytes));
    let seed = || proptest::sample::select(seeds.clone());
    let change = || proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    let any_bytes = || proptest::collection::vec(any::<u8>(), 0..300);
    let cut = any::<prop::sample::Index>;
    proptest!(|(first in seed(), second in seed(), changes in change(), cut in cut(), random in any_bytes())| {
        entry(&random);
        if first.is_empty() {
            return Ok(());
        }
        let at = cut.index(first.len());
        entry(&first[..at]);
        entry(&[&first[..at], &second, &first[at..]].concat());
        let mut changed = first.clone();
        for (index, byte) in changes {
            changed[index.index(first.len())] = byte;
        }
        entry(&changed);
    });
}

#[test]
fn calls() {
    hammer("calls", entry::calls);
}

#[test]
fn events() {
    hammer("events", entry::events);
}

#[test]
fn gguf() {
    hammer("gguf", entry::gguf);
}

#[test]
fn grammar() {
    hammer("grammar", entry::grammar);
}

#[test]
fn journal() {
    hammer("journal", entry::journal);
}

#[test]
fn suite() {
    hammer("suite", entry::suite);
}
