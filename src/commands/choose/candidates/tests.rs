use clap::Parser;

use super::*;
use crate::cli::{Cli, Command};
use crate::commands::fit;

fn args(words: &[&str]) -> ChooseArgs {
    let words = ["kneepoint", "choose", "hf:owner/model"].iter().chain(words);
    match Cli::try_parse_from(words).unwrap().command {
        Command::Choose(args) => args,
        other => panic!("{other:?}"),
    }
}

/// Quants of a model of 8 billion weights, with a cache of 4 GiB in f16.
fn table(quants: &[(&str, f64)], memory_gib: f64) -> FitTable {
    const GIB: f64 = (1_u64 << 30) as f64;
    let bytes = |bits: f64| (8e9 * bits / 8.0) as u64;
    let caches =
        [("f16", "f16", 1.0), ("q8_0", "q8_0", 0.53), ("q8_0", "q4_0", 0.41), ("q4_0", "q4_0", 0.28)];
    let memory = (memory_gib * GIB) as u64;
    let rows = quants.iter().flat_map(|(weights, bits)| {
        caches.iter().map(move |(k, v, share)| {
            let kv = (4.0 * GIB * share) as u64;
            let total = bytes(*bits) + kv;
            Row {
                weights: (*weights).to_owned(),
                file: format!("{weights}.gguf"),
                k: (*k).to_owned(),
                v: (*v).to_owned(),
                weights_bytes: bytes(*bits),
                kv_bytes: Some(kv),
                kv_not_known: None,
                measured: false,
                compute_bytes: None,
                total_bytes: total,
                fits: if total <= memory { Fits::Yes } else { Fits::No },
                layers_in_main_memory: None,
                main_memory_bytes: None,
                short_bytes: total.checked_sub(memory).filter(|short| *short > 0),
                longest_context: None,
            }
        })
    });
    FitTable {
        schema_version: 1,
        model: "hf:owner/model".into(),
        origin: "hf:owner/model".into(),
        architecture: Some("llama".into()),
        layers: Some(32),
        trained_context: Some(131_072),
        context: 32_768,
        engine: crate::cli::FitEngine::LlamaCpp,
        memory: fit::Memory { bytes: memory, kind: MemoryKind::Gpu, source: "--memory".into() },
        kv_not_known: None,
        kv_measured: None,
        compute_checked: true,
        rows: rows.collect(),
        quants: quants
            .iter()
            .map(|(weights, bits)| Quant {
                weights: (*weights).to_owned(),
                file: format!("{weights}.gguf"),
                file_bytes: bytes(*bits),
                weights_bytes: bytes(*bits),
                bits_per_weight: Some(*bits),
                made_of: vec![fit::TensorKind {
                    name: (*weights).to_owned(),
                    bytes: bytes(*bits),
                    share: 1.0,
                }],
                mostly: None,
            })
            .collect(),
        unread: Vec::new(),
        notes: vec!["nothing fits: nearest is Q2_K".into()],
    }
}

const USUAL: &[(&str, f64)] = &[
    ("F16", 16.0),
    ("Q8_0", 8.5),
    ("Q6_K", 6.6),
    ("Q5_K_M", 5.7),
    ("Q4_K_M", 4.9),
    ("Q4_K_S", 4.7),
    ("IQ4_XS", 4.3),
    ("Q3_K_M", 3.9),
    ("Q2_K", 3.0),
];

#[test]
fn the_finest_that_fits_is_compared_with_three_smaller_sizes() {
    let found = Candidates::of(&args(&[]), &table(USUAL, 24.0), Vec::new()).unwrap();
    assert_eq!(found.reference, ("Q8_0".into(), "f16".into(), "f16".into()));
    assert_eq!(found.weights, ["Q4_K_M", "Q3_K_M", "Q6_K"]);
    assert_eq!(found.caches.len(), 3);
    assert_eq!(found.downloads.len(), 4);
    assert_eq!(found.notes, ["F16 is not the reference: twice the download (--reference names another)"]);
    let tight = Candidates::of(&args(&[]), &table(USUAL, 10.0), Vec::new()).unwrap();
    assert_eq!(tight.reference.0, "Q5_K_M");
    assert_eq!(tight.weights, ["Q4_K_M", "Q3_K_M", "Q4_K_S"]);
    assert!(tight.notes[0].starts_with("Q6_K is not the reference: too large for 10"), "{:?}", tight.notes);
}

#[test]
fn where_no_whole_cache_fits_the_reference_has_a_smaller_one() {
    let found =
        Candidates::of(&args(&[]), &table(&[("Q4_K_M", 4.9), ("Q3_K_M", 3.9)], 7.0), Vec::new()).unwrap();
    assert_eq!(found.reference, ("Q4_K_M".into(), "q8_0".into(), "q8_0".into()));
    assert!(found.notes[0].starts_with("the reference's cache is q8_0"), "{:?}", found.notes);
    assert!(!found.caches.contains(&("f16".into(), "f16".into())), "what does not fit is not tried");
}

#[test]
fn what_fits_nowhere_is_an_error_with_the_nearest_miss() {
    let error = Candidates::of(&args(&[]), &table(USUAL, 2.0), Vec::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::NothingSelected);
    assert!(error.to_string().contains("nothing fits as a whole"), "{error}");
    assert_eq!(error.hints()[0], "nothing fits: nearest is Q2_K");
}

#[test]
fn names_are_found_whatever_their_case_and_others_are_refused() {
    let table = table(USUAL, 24.0);
    let found =
        Candidates::of(&args(&["--weights", "q4_k_m", "--reference", "q6_k"]), &table, Vec::new()).unwrap();
    assert_eq!((found.reference.0.as_str(), found.weights.as_slice()), ("Q6_K", &["Q4_K_M".to_owned()][..]));
    let error = Candidates::of(&args(&["--weights", "Q4_K_L"]), &table, Vec::new()).unwrap_err();
    assert!(error.hints()[0].contains("Q4_K_"), "{:?}", error.hints());
    let error =
        Candidates::of(&args(&["--reference", "F16"]), &self::table(USUAL, 10.0), Vec::new()).unwrap_err();
    assert!(error.to_string().starts_with("F16 does not fit"), "{error}");
}

#[test]
fn two_names_of_one_file_are_one_setting() {
    let mut table = table(&[("Q8_0", 8.5), ("Q3_K_S", 5.1), ("Q2_K", 5.1)], 24.0);
    table.quants[2].made_of =
        vec![fit::TensorKind { name: "Q3_K_S".into(), bytes: table.quants[1].weights_bytes, share: 1.0 }];
    let found = Candidates::of(&args(&[]), &table, Vec::new()).unwrap();
    assert_eq!(found.weights, ["Q3_K_S"]);
    assert_eq!(found.notes, ["Q2_K is left out: it is made of the same types as Q3_K_S"]);
}

#[test]
fn a_small_budget_keeps_the_most_promising() {
    let mut found = Candidates::of(&args(&[]), &table(USUAL, 24.0), Vec::new()).unwrap();
    found.keep(3);
    assert_eq!((found.weights.len(), found.caches.len()), (1, 2));
    assert!(found.notes.last().unwrap().starts_with("left out, for the budget: Q3_K_M, Q6_K, q4_0"));
    let mut one = Candidates::of(&args(&[]), &table(USUAL, 24.0), Vec::new()).unwrap();
    one.keep(1);
    assert_eq!(one.singles(), 1);
}

#[test]
fn speculation_joins_as_it_is_and_goes_first_when_time_is_short() {
    let args = args(&[]);
    let table = table(&[("Q8_0", 8.5), ("Q4_K_M", 4.85)], 24.0);
    let mut candidates = Candidates::of(&args, &table, vec!["ngram-simple".to_owned()]).unwrap();
    assert_eq!(candidates.speculation, ["ngram-simple"]);
    assert_eq!(candidates.singles(), candidates.weights.len() + candidates.caches.len() + 1);
    let all_but_one = candidates.singles() - 1;
    candidates.keep(all_but_one);
    assert!(candidates.speculation.is_empty());
    assert_eq!(candidates.notes.last().unwrap(), "left out, for the budget: ngram-simple");
    // Where nothing else can be chosen, it is what there is to choose.
    let alone = Candidates::of(&args_of_one(), &table_of_one(), vec!["ngram-simple".to_owned()]).unwrap();
    assert_eq!((alone.singles(), alone.weights.len()), (1, 0));
}

fn args_of_one() -> ChooseArgs {
    args(&["--kv", "f16"])
}

fn table_of_one() -> FitTable {
    let whole = table(&[("Q8_0", 8.5)], 24.0);
    FitTable { rows: whole.rows.into_iter().filter(|row| row.k == "f16").collect(), ..whole }
}
