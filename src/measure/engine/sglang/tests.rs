use serde_json::json;

use super::*;
use crate::measure::engine::option::Place;
use crate::record::suite::DraftModel;

/// Flags as its documentation lists them (`docs/advanced_features/server_arguments.md`), in the form of a help text.
const FLAGS: &str = include_str!("../../../../tests/fixtures/sglang/documented-flags.txt");
/// The reply of `/server_info` in its documentation (`docs/basic_usage/native_api`), cut to what is read.
const INFO: &str = include_str!("../../../../tests/fixtures/sglang/server_info.json");

fn cell(kv: &str, speculation: &str, options: &[(&str, &str)]) -> Cell {
    let setting = Setting {
        label: String::new(),
        engine: "sglang".into(),
        model: "m".into(),
        weights: "bf16".into(),
        k: kv.into(),
        v: kv.into(),
        speculation: speculation.into(),
        flash_attention: FlashAttention::Auto,
        draft: None,
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        extra_args: Vec::new(),
        sampling: None,
    };
    Cell { setting, context: 8192 }
}

fn drafting(speculation: &str, options: &[(&str, &str)]) -> Cell {
    let mut cell = cell("auto", speculation, options);
    cell.setting.draft = Some(DraftModel { model: "head".into(), weights: "bf16".into() });
    cell
}

fn shell(cell: &Cell, binary: &str) -> String {
    let launch = Launch {
        binary: Path::new(binary),
        library_path: None,
        model: Path::new("/models/m"),
        draft: cell.setting.draft.as_ref().map(|_| Path::new("/models/head")),
        port: 30000,
        slots: 1,
        config: None,
        threads: None,
        gpu: true,
        extra_args: &[],
        build: &Sglang.build("0.5.9\n", FLAGS),
    };
    Sglang.argv(cell, &launch).unwrap().shell()
}

#[test]
fn every_option_is_documented() {
    let build = Sglang.build("sglang 0.5.9", FLAGS);
    assert_eq!(build.version, "sglang 0.5.9");
    for option in Sglang.card().options {
        let lists = match option.place {
            Place::Flag(flags) => vec![flags],
            Place::Switch { on, off } => vec![on, off],
            _ => panic!("{} is no flag", option.name),
        };
        for flags in lists.into_iter().filter(|flags| !flags.is_empty()) {
            assert!(build.first_of(flags).is_some(), "{}: {flags:?}", option.name);
        }
    }
    // Later builds have more.
    assert!(
        build.cache_types.len() >= 6 && build.cache_types.iter().all(|name| CACHE_TYPES.contains(&&**name))
    );
    assert!(
        build.speculation.len() >= 5
            && build.speculation.iter().all(|name| SPECULATION_TYPES.contains(&&**name))
    );
}

#[test]
fn argv_of_settings() {
    insta::assert_snapshot!("argv_plain", shell(&cell("auto", "off", &[]), "/opt/sglang/bin/sglang"));
    let options = [
        ("radix_cache", "false"),
        ("attention_backend", "fa3"),
        ("mem_fraction_static", "0.8"),
        ("tool_call_parser", "qwen25"),
        ("chunked_prefill_size", "-1"),
    ];
    insta::assert_snapshot!(
        "argv_options",
        shell(&cell("fp8_e4m3", "off", &options), "/opt/venv/bin/python3")
    );
    let eagle = [("spec_steps", "3"), ("spec_topk", "1"), ("spec_tokens", "4")];
    insta::assert_snapshot!("argv_eagle", shell(&drafting("EAGLE3", &eagle), "sglang"));
    let ngram = [("spec_tokens", "8"), ("ngram_match_type", "PROB")];
    insta::assert_snapshot!("argv_ngram", shell(&cell("auto", "NGRAM", &ngram), "sglang"));
}

#[test]
fn a_python_is_asked_for_its_module() {
    assert_eq!(Sglang.introspection(Path::new("/v/bin/python3.12")).help[0], "-m");
    assert_eq!(Sglang.introspection(Path::new("/v/bin/sglang")).help, ["serve", "--help"]);
}

#[test]
fn impossible_settings_say_what_to_do() {
    let reason = |cell: Cell| Sglang.validate(&cell.setting).err();
    for possible in [
        cell("fp8_e5m2", "NGRAM", &[]),
        drafting("EAGLE", &[("spec_steps", "3")]),
        cell("auto", "NEXTN", &[]),
    ] {
        assert_eq!(reason(possible), None);
    }
    let mut split = cell("auto", "off", &[]);
    split.setting.k = "bf16".into();
    for (cell, expected) in [
        (split, "one type for both"),
        (cell("auto", "EAGLE3", &[]), "needs a draft model"),
        (drafting("NEXTN", &[]), "without a second model"),
        (cell("auto", "EAGLE,NGRAM", &[]), "one way at a time"),
        (cell("auto", "eagle3", &[]), "no speculation type"),
        (cell("auto", "NGRAM", &[("spec_topk", "2")]), "belongs to speculation EAGLE"),
        (cell("fp8", "off", &[]), "no cache type"),
    ] {
        let found = reason(cell).unwrap_or_default();
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn what_it_runs_is_read_back() {
    let info: Value = serde_json::from_str(INFO).unwrap();
    let effective = Sglang.effective("", &info);
    insta::assert_json_snapshot!("effective", effective);
    let same =
        cell("auto", "off", &[("attention_backend", "fa3"), ("radix_cache", "true"), ("page_size", "1")]);
    assert_eq!(Sglang.deviations(&same, &effective), Vec::<String>::new());
    let other = cell("fp8_e4m3", "NGRAM", &[("attention_backend", "triton"), ("cuda_graph", "true")]);
    assert_eq!(
        Sglang.deviations(&other, &effective),
        [
            "KV cache type: asked for fp8_e4m3, the server runs auto",
            "speculation: asked for NGRAM, the server runs none",
            "option attention_backend: asked for triton, the server runs fa3",
            "option cuda_graph: asked for true, the server runs false",
        ]
    );
    let mut narrow = info;
    narrow["context_length"] = json!(4096);
    narrow["speculative_algorithm"] = json!("EAGLE");
    let effective = Sglang.effective("", &narrow);
    assert_eq!(
        Sglang.deviations(&cell("auto", "NEXTN", &[]), &effective),
        ["context: asked for 8192 tokens, the server runs 4096 tokens"]
    );
    assert_eq!(Sglang.effective("", &Value::Null), Effective::default());
}

#[test]
fn figures_of_chats_and_of_generate() {
    let value = |last: &Value, name: &str| {
        Sglang.measurements(last).iter().find(|figure| figure.name == name).unwrap().value
    };
    let chat = json!({ "usage": { "prompt_tokens": 307, "total_tokens": 371, "completion_tokens": 64,
                       "prompt_tokens_details": { "cached_tokens": 12 }, "reasoning_tokens": 0 } });
    assert_eq!(value(&chat, metric::PROMPT_TOKENS), Some(307.0));
    assert_eq!(value(&chat, metric::OUTPUT_TOKENS), Some(64.0));
    assert_eq!(value(&chat, metric::CACHED_TOKENS), Some(12.0));
    assert_eq!([value(&chat, metric::DECODE_TPS), value(&chat, metric::DRAFT_TOKENS)], [None, None]);
    let silent =
        json!({ "usage": { "prompt_tokens": 36, "completion_tokens": 8, "prompt_tokens_details": null } });
    assert_eq!(value(&silent, metric::CACHED_TOKENS), None);
    let old = json!({ "meta_info": { "prompt_tokens": 7, "completion_tokens": 128, "cached_tokens": 0,
                      "e2e_latency": 1.167, "spec_accept_token_num": 90, "spec_draft_token_num": 120 } });
    assert_eq!(
        (value(&old, metric::DRAFT_TOKENS), value(&old, metric::DRAFT_ACCEPTED)),
        (Some(120.0), Some(90.0))
    );
    let new = json!({ "meta_info": { "spec_num_correct_drafts": 1, "spec_num_proposed_drafts": 2 } });
    assert_eq!(
        (value(&new, metric::DRAFT_TOKENS), value(&new, metric::DRAFT_ACCEPTED)),
        (Some(2.0), Some(1.0))
    );
}

/// Flags of the help of 0.5.17 that hold lists, `/server_info` and the log's first lines of it, from an H100.
const HELP: &str = include_str!("../../../../tests/fixtures/sglang/help_0.5.17.txt");
const INFO_FP8: &str = include_str!("../../../../tests/fixtures/sglang/server_info_0.5.17_fp8_e4m3.json");
const LOG: &str = include_str!("../../../../tests/fixtures/sglang/server_log_0.5.17.txt");

#[test]
fn types_come_from_the_help_of_0_5_17() {
    let build = Sglang.build("0.5.17", HELP);
    let caches =
        ["auto", "fp8_e5m2", "fp8_e4m3", "mxfp8", "bf16", "bfloat16", "nvfp4", "fp4_mx_block16", "fp4_e2m1"];
    assert_eq!(build.cache_types, caches);
    let algorithms = ["EAGLE", "EAGLE3", "NEXTN", "STANDALONE", "NGRAM", "DFLASH", "DSPARK"];
    assert_eq!(build.speculation, algorithms);
    for name in caches {
        assert!(CACHE_TYPES.contains(&name), "{name}");
    }
    for name in algorithms {
        assert!(SPECULATION_TYPES.contains(&name), "{name}");
    }
}

#[test]
fn a_parser_that_the_server_renamed_is_no_deviation() {
    let info: Value = serde_json::from_str(INFO_FP8).unwrap();
    let asked = |parser| {
        Sglang.deviations(
            &cell("fp8_e4m3", "off", &[("tool_call_parser", parser)]),
            &Sglang.effective("", &info),
        )
    };
    assert_eq!(asked("qwen25"), Vec::<String>::new(), "attached: nothing says so");
    assert_eq!(asked("hermes"), ["option tool_call_parser: asked for hermes, the server runs qwen"]);
    let told = Sglang.effective(LOG, &json!({ "tool_call_parser": "qwen" }));
    assert_eq!(told.renamed, [("qwen25".to_owned(), "qwen".to_owned())].into());
    // Whatever else it renames, it says so.
    let log = "[2026-11-28] The reasoning_parser 'old' is deprecated. Please use 'new' instead.\n";
    let told = Sglang.effective(log, &json!({ "reasoning_parser": "new" }));
    assert_eq!(
        Sglang.deviations(&cell("auto", "off", &[("reasoning_parser", "old")]), &told),
        Vec::<String>::new()
    );
}

#[test]
fn the_pool_and_the_type_of_its_cache_are_read() {
    let info: Value = serde_json::from_str(INFO_FP8).unwrap();
    let attached = Sglang.effective("", &info);
    assert_eq!((attached.k.as_deref(), attached.kv_pool_tokens), (Some("fp8_e4m3"), Some(65_536)));
    assert_eq!((attached.kv_pool_bytes, attached.pool_token_bytes()), (Some(402_653_184), Some(6144.0)));
    let by_log = Sglang.effective(LOG, &json!({ "kv_cache_dtype": "auto", "max_total_num_tokens": 65_536 }));
    assert_eq!(by_log.k.as_deref(), Some("bfloat16"), "`auto` says nothing");
    // Two decimals of a GiB, twice.
    assert_eq!(by_log.kv_pool_bytes, Some(2 * 751_619_277));
    assert_eq!(Sglang.deviations(&cell("auto", "off", &[]), &by_log), Vec::<String>::new());
    assert_eq!(Sglang.deviations(&cell("bf16", "off", &[]), &by_log), Vec::<String>::new());
}
