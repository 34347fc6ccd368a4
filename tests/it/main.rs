//! Every integration test, one binary: `cargo test --test it NAME::` runs those of a file.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod attach;
mod beyond_needles;
mod browser;
mod choose;
mod choosing;
mod cli;
mod client_faults;
mod coherence;
mod common;
mod conversations;
mod docs;
mod dry_runs;
mod engines;
mod fault;
mod fit;
mod fit_measured;
mod found_types;
mod fuzz_seeds;
mod journal_damage;
mod judging;
mod junit;
mod kld_base;
mod large_pages;
mod load;
mod manners;
mod memory;
mod nights;
mod old_journals;
mod own_tokens;
mod pack;
mod page_inputs;
mod pictures;
mod prefix_cache;
mod prompt_logprobs;
mod quickstart;
mod real_engine;
mod real_kv;
mod real_load;
mod real_packages;
mod real_servers;
mod real_text;
mod real_vllm;
mod relaunch;
mod repeated_key;
mod repeats;
mod report_from_journal;
mod requests;
mod resume;
mod run_faults;
mod schema_check;
mod score;
mod serving;
mod sharing;
mod slurm;
mod spread;
mod stopping;
mod structure;
mod supervise;
mod telling;
mod thinking;
mod trained_context;

/// A file that nobody names here would never be run.
#[test]
fn no_file_is_forgotten() {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let listed = include_str!("main.rs");
    for entry in std::fs::read_dir(tests.join("it")).unwrap() {
        let path = entry.unwrap().path();
        let module =
            path.is_dir() && path.join("mod.rs").exists() || path.extension().is_some_and(|e| e == "rs");
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let named = listed.lines().any(|line| line == format!("mod {name};"));
        assert!(!module || name == "main" || named, "tests/it/main.rs does not name {name}");
    }
    for entry in std::fs::read_dir(&tests).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(!name.ends_with(".rs"), "tests/{name} would be a binary of its own: move it to tests/it");
    }
}
