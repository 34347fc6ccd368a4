use std::path::Path;

use super::*;
use crate::measure::engine::option::Place;
use crate::record::suite::DraftModel;

/// Definitions of `vllm serve --help=all` of 0.32, without the descriptions.
const HELP: &str = include_str!("../../../../tests/fixtures/vllm/help-flags.txt");
const LOG: &str = include_str!("../../../../tests/fixtures/vllm/server.log");
const MODELS: &str = include_str!("../../../../tests/fixtures/vllm/models.json");
const CHAT: &str = include_str!("../../../../tests/fixtures/vllm/chat_continuous_usage.sse");

fn cell(kv: &str, speculation: &str, options: &[(&str, &str)]) -> Cell {
    let mut setting = Setting {
        label: String::new(),
        engine: "vllm".into(),
        model: "smollm2".into(),
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
    setting.label = setting.label_of(false);
    Cell { setting, context: 4096 }
}

fn drafting(speculation: &str, options: &[(&str, &str)]) -> Cell {
    let mut cell = cell("auto", speculation, options);
    cell.setting.draft = Some(DraftModel { model: "head".into(), weights: "bf16".into() });
    cell
}

fn build() -> Build {
    Vllm.build("Triton is installed, but..\n0.32.0+cpu\n", HELP)
}

fn argv(cell: &Cell, build: &Build) -> Result<Argv> {
    let launch = Launch {
        binary: Path::new("/opt/vllm/bin/vllm"),
        library_path: None,
        model: Path::new("/models/smollm2"),
        draft: cell.setting.draft.as_ref().map(|_| Path::new("/models/head")),
        port: 8000,
        slots: 1,
        config: None,
        threads: Some(2),
        gpu: false,
        extra_args: &[],
        build,
    };
    Vllm.argv(cell, &launch)
}

fn shell(cell: &Cell) -> String {
    argv(cell, &build()).unwrap().shell()
}

#[test]
fn build_reads_flags_types_and_version() {
    let build = build();
    assert_eq!(build.version, "0.32.0+cpu");
    for flag in
        ["--max-model-len", "--no-enable-prefix-caching", "--speculative-config", "-sc", "--enforce-eager"]
    {
        assert!(build.has(flag), "{flag}");
    }
    assert!(build.speculation.iter().any(|name| name == "eagle3"));
    assert!(build.cache_types.iter().any(|name| name == "turboquant_k8v4"));
}

#[test]
fn what_is_promised_is_what_the_build_has() {
    let build = build();
    for option in Vllm.card().options {
        let lists = match option.place {
            Place::Flag(flags) => vec![flags],
            Place::Switch { on, off } => vec![on, off],
            Place::Speculation(_) | Place::Env(_) | Place::Config { .. } => continue,
        };
        for flags in lists.into_iter().filter(|flags| !flags.is_empty()) {
            assert!(build.first_of(flags).is_some(), "{}: {flags:?}", option.name);
        }
    }
    for kind in options::CACHE_TYPES {
        assert!(build.cache_types.iter().any(|known| known == kind), "{kind}");
    }
    for kind in SPECULATION_TYPES.iter().filter(|kind| **kind != "off") {
        assert!(build.speculation.iter().any(|known| known == kind), "{kind}");
    }
}

#[test]
fn argv_of_settings() {
    insta::assert_snapshot!("argv_plain", shell(&cell("auto", "off", &[])));
    let options = [
        ("dtype", "bfloat16"),
        ("enforce_eager", "true"),
        ("prefix_caching", "false"),
        ("tool_call_parser", "hermes"),
        ("cpu_kv_cache_gib", "2"),
        ("attention_backend", "FLASHINFER"),
        ("gpu_memory_utilization", "0.8"),
    ];
    insta::assert_snapshot!("argv_options", shell(&cell("fp8", "off", &options)));
    let ngram = [("spec_tokens", "4"), ("prompt_lookup_max", "5"), ("prompt_lookup_min", "2")];
    insta::assert_snapshot!("argv_ngram", shell(&cell("auto", "ngram", &ngram)));
    let eagle = [("spec_tokens", "3"), ("draft_quantization", "fp8")];
    insta::assert_snapshot!("argv_eagle", shell(&drafting("eagle3", &eagle)));
}

#[test]
fn labels_say_what_differs_from_its_own_usual() {
    assert_eq!(cell("auto", "off", &[]).setting.label, "bf16 kv=auto");
    assert_eq!(
        cell("fp8", "ngram", &[("spec_tokens", "4")]).setting.label,
        "bf16 kv=fp8 spec=ngram spec_tokens=4"
    );
}

#[test]
fn what_a_build_lacks_is_an_error_that_says_what_it_has() {
    let old = Build {
        cache_types: vec!["auto".into(), "fp8".into()],
        speculation: vec!["ngram".into(), "eagle".into()],
        ..build()
    };
    let error = argv(&cell("nvfp4", "off", &[]), &old).unwrap_err();
    assert!(error.to_string().contains("no KV cache type `nvfp4`"), "{error}");
    assert!(!error.hints().is_empty());
    let error = argv(&cell("auto", "suffix", &[]), &old).unwrap_err();
    assert!(error.to_string().contains("no speculation method `suffix`"), "{error}");
    let bare = Build { flags: vec!["--dtype".into()], ..Build::default() };
    let error = argv(&cell("auto", "off", &[("max_num_seqs", "8")]), &bare).unwrap_err();
    assert!(error.to_string().contains("no option `max_num_seqs`"), "{error}");
    let line = argv(&cell("auto", "off", &[]), &bare).unwrap().shell();
    assert!(!line.contains("--enable-per-request-metrics"), "{line}");
}

#[test]
fn what_a_processor_only_seems_to_take_is_refused() {
    for word in ["int8_per_token_head", "nvfp4", "turboquant_4bit_nc", "bfloat16"] {
        let error = argv(&cell(word, "off", &[]), &build()).unwrap_err();
        assert!(error.to_string().contains("answers nonsense"), "{error}");
        assert!(error.hints().join(" ").contains("auto, fp8, fp8_e4m3, fp8_e5m2"), "{error:?}");
        let card = Build { version: "0.32.0".to_owned(), ..build() };
        assert!(argv(&cell(word, "off", &[]), &card).is_ok(), "{word}");
    }
    assert!(argv(&cell("fp8_e5m2", "off", &[]), &build()).is_ok());
    let error = argv(&drafting("eagle", &[("draft_kv", "nvfp4")]), &build()).unwrap_err();
    assert!(error.to_string().contains("`nvfp4` on a processor"), "{error}");
}

#[test]
fn impossible_settings_say_what_to_do() {
    let reason = |cell: Cell| Vllm.validate(&cell.setting).err();
    for possible in [
        cell("turboquant_k8v4", "off", &[]),
        cell("auto", "ngram", &[("spec_tokens", "4")]),
        cell("auto", "suffix", &[("suffix_max_tree_depth", "16")]),
        cell("auto", "mtp", &[]),
        drafting("eagle", &[("draft_kv", "fp8")]),
        drafting("draft_model", &[("spec_tokens", "4")]),
    ] {
        assert_eq!(reason(possible), None);
    }
    let mut split = cell("fp8", "off", &[]);
    split.setting.v = "auto".into();
    let mut flash = cell("auto", "off", &[]);
    flash.setting.flash_attention = FlashAttention::Off;
    for (cell, expected) in [
        (split, "one type for both"),
        (flash, "attention_backend"),
        (cell("q8_0", "off", &[]), "known are auto"),
        (cell("auto", "ngram", &[]), "spec_tokens"),
        (cell("auto", "eagle3", &[]), "needs a draft model"),
        (drafting("mtp", &[]), "without a second model"),
        (drafting("draft_model", &[]), "spec_tokens"),
        (cell("auto", "ngram,mtp", &[]), "one way at a time"),
        (cell("auto", "off", &[("spec_tokens", "4")]), "any speculation"),
        (cell("auto", "mtp", &[("prompt_lookup_max", "4")]), "belongs to speculation ngram"),
    ] {
        let found = reason(cell).unwrap_or_default();
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn what_it_runs_is_read_back() {
    let effective = Vllm.effective(LOG, &serde_json::from_str(MODELS).unwrap());
    insta::assert_json_snapshot!("effective", effective);
    let same =
        cell("auto", "off", &[("enforce_eager", "true"), ("dtype", "auto"), ("prefix_caching", "true")]);
    assert_eq!(Vllm.deviations(&same, &effective), Vec::<String>::new());
    let mut other = cell("fp8", "ngram", &[("spec_tokens", "4"), ("dtype", "float16")]);
    other.context = 8192;
    assert_eq!(
        Vllm.deviations(&other, &effective),
        [
            "KV cache type: asked for fp8, the server runs auto",
            "context: asked for 8192 tokens, the server runs 4096 tokens",
            "speculation: asked for ngram, the server runs none",
            "option dtype: asked for float16, the server runs bfloat16",
        ]
    );
    let speculating = LOG.replace(
        "speculative_config=None",
        "speculative_config=SpeculativeConfig(method='ngram', model=None, num_spec_tokens=4)",
    );
    let effective =
        Vllm.effective(&speculating.replace("kv_cache_dtype=auto", "kv_cache_dtype=fp8_e4m3"), &Value::Null);
    assert_eq!(effective.speculation.as_deref(), Some("ngram"));
    assert_eq!(effective.options.get("spec_tokens").map(String::as_str), Some("4"));
    let asked = cell("fp8", "ngram", &[("spec_tokens", "4")]);
    assert_eq!(Vllm.deviations(&asked, &effective), Vec::<String>::new());
    assert_eq!(Vllm.effective("", &Value::Null), Effective::default());
}

#[test]
fn lines_of_a_gpu() {
    let log = "INFO [cuda.py:507] Using FLASH_ATTN attention backend out of potential backends: ['FLASH_ATTN']\n\
               INFO [gpu_model_runner.py:5150] Model loading took 1.25 GiB memory and 3.2 seconds\n\
               INFO [gpu_worker.py:760] Available KV cache memory: 12.5 GiB\n\
               INFO [kv_cache_utils.py:2327] GPU KV cache size: 1,234,567 tokens, Maximum concurrency for 4,096\n";
    let effective = Vllm.effective(log, &Value::Null);
    assert_eq!(effective.options.get("attention_backend").map(String::as_str), Some("FLASH_ATTN"));
    assert_eq!(effective.model_bytes, Some(5 << 28));
    assert_eq!((effective.kv_pool_bytes, effective.kv_pool_tokens), (Some(25 << 29), Some(1_234_567)));
}

fn figures(last: &Value) -> Vec<(String, Option<f64>)> {
    let figures = Vllm.measurements(last).into_iter();
    figures.map(|figure| (figure.name.to_string(), figure.value)).collect()
}

#[test]
fn figures_of_a_reply_with_and_without_times() {
    let last = CHAT.lines().filter_map(|line| line.strip_prefix("data: {")).next_back().unwrap();
    let bare: Value = serde_json::from_str(&format!("{{{last}")).unwrap();
    insta::assert_debug_snapshot!("figures_bare", figures(&bare));
    let told = json!({
        "usage": { "prompt_tokens": 40, "completion_tokens": 21, "prompt_tokens_details": { "cached_tokens": 0 } },
        "metrics": {
            "time_to_first_token_ms": 100.0, "generation_time_ms": 1000.0, "tokens_per_second": 19.1,
            "speculative_decoding": { "num_draft_tokens": 30, "num_accepted_draft_tokens": 12, "num_spec_tokens": 4 },
        },
    });
    insta::assert_debug_snapshot!("figures_told", figures(&told));
    let warm = json!({ "usage": { "prompt_tokens": 40, "prompt_tokens_details": { "cached_tokens": 32 } },
                       "metrics": { "time_to_first_token_ms": 10.0 } });
    let prefill = Vllm.measurements(&warm).into_iter().find(|m| m.name == metric::PREFILL_TPS).unwrap();
    assert!(prefill.absent.unwrap().contains("32 prompt tokens"));
}

#[test]
fn a_refusal_is_told_from_other_failures() {
    let log = "INFO up\n(EngineCore pid=1) ERROR 11-22 [core.py:1] ValueError: fp8 kv cache is not supported on CPU.\n";
    assert!(Vllm.refusal(log).unwrap().contains("fp8 kv cache"));
    assert!(Vllm.refusal("vllm serve: error: unrecognized arguments: --foo").is_some());
    assert_eq!(Vllm.refusal(LOG), None);
    assert_eq!(Vllm.refusal("ERROR torch.OutOfMemoryError: CUDA out of memory"), None);
}

/// Lines of 0.23.0 on an H100, whose pool an option sets.
const TURBOQUANT: &str = include_str!("../../../../tests/fixtures/vllm-0.23/server_log_turboquant_k8v4.txt");
/// A line of its `/metrics`, another KV type.
const METRICS: &str = include_str!("../../../../tests/fixtures/vllm-0.23/metrics_cache_config.txt");

#[test]
fn a_pool_that_an_option_sets_is_read_to_the_byte() {
    let effective = Vllm.effective(TURBOQUANT, &Value::Null);
    assert_eq!(effective.k.as_deref(), Some("turboquant_k8v4"));
    assert_eq!((effective.kv_pool_bytes, effective.kv_pool_tokens), (Some(1 << 30), Some(177_536)));
    assert_eq!(effective.pool_token_bytes().map(f64::round), Some(6048.0));
    assert_eq!(effective.options["attention_backend"], "TURBOQUANT", "not the one of its prefill");
    let rounded = TURBOQUANT.replace("'kv_cache_memory_bytes': 1073741824, ", "");
    assert_eq!(Vllm.effective(&rounded, &Value::Null).kv_pool_bytes, Some(1 << 30));
    let sized = cell("turboquant_k8v4", "off", &[("kv_cache_memory_bytes", "8589934592")]);
    let option = Vllm.card().options.iter().find(|option| option.name == "kv_cache_memory_bytes").unwrap();
    assert!(option.check(&sized.setting.options["kv_cache_memory_bytes"]).is_ok(), "more than 2^30");
    assert!(option.check("0").is_err());
}

#[test]
fn a_server_that_runs_already_tells_its_cache_by_its_metrics() {
    let effective = Vllm.effective(METRICS, &Value::Null);
    assert_eq!(effective.k.as_deref(), Some("auto"));
    assert_eq!((effective.kv_pool_bytes, effective.kv_pool_tokens), (Some(2 << 30), Some(93_200)));
    assert_eq!(effective.options["prefix_caching"], "true");
    let off = METRICS.replace("enable_prefix_caching=\"True\"", "enable_prefix_caching=\"False\"");
    let off = Vllm.effective(&off, &Value::Null);
    assert_eq!(
        Vllm.deviations(&cell("fp8", "off", &[("prefix_caching", "true")]), &off),
        [
            "KV cache type: asked for fp8, the server runs auto",
            "option prefix_caching: asked for true, the server runs false"
        ]
    );
}
