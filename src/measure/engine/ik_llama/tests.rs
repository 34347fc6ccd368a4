use std::path::Path;

use super::*;
use crate::measure::engine::llama_cpp::LlamaCpp;
use crate::measure::engine::option::Place;
use crate::record::metric;
use crate::record::suite::DraftModel;

/// Flags and layout of the option table in `common/common.cpp`; the descriptions are left out.
const HELP: &str = include_str!("../../../../tests/fixtures/ik_llama/help-flags.txt");
const MAINLINE_HELP: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/help-flags.txt");
const LOG: &str = include_str!("../../../../tests/fixtures/ik_llama/server.log");
const PROPS: &str = include_str!("../../../../tests/fixtures/ik_llama/props.json");
const OVERLONG: &str =
    include_str!("../../../../tests/fixtures/ik_llama/overlong_prompt_silently_truncated.txt");
const COMPLETION: &str = include_str!("../../../../tests/fixtures/ik_llama/completion_n_probs.json");
const CHAT: &str = include_str!("../../../../tests/fixtures/ik_llama/chat.sse");

fn cell(k: &str, v: &str, speculation: &str, options: &[(&str, &str)]) -> Cell {
    let setting = Setting {
        label: String::new(),
        engine: "ik_llama.cpp".into(),
        model: "m".into(),
        weights: "IQ4_KS".into(),
        k: k.into(),
        v: v.into(),
        speculation: speculation.into(),
        flash_attention: FlashAttention::On,
        draft: None,
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        extra_args: Vec::new(),
        sampling: None,
    };
    Cell { setting, context: 8192 }
}

fn drafting(speculation: &str, options: &[(&str, &str)]) -> Cell {
    let mut cell = cell("f16", "f16", speculation, options);
    cell.setting.draft = Some(DraftModel { model: "tiny".into(), weights: "Q4_0".into() });
    cell
}

fn build() -> Build {
    IkLlama.build("version: 4840 (8337e4cd3)\nbuilt with cc", HELP)
}

fn argv(cell: &Cell, build: &Build, gpu: bool) -> Result<Argv> {
    let launch = Launch {
        binary: Path::new("/opt/ik/llama-server"),
        library_path: None,
        model: Path::new("/models/m.gguf"),
        draft: cell.setting.draft.as_ref().map(|_| Path::new("/models/tiny.gguf")),
        port: 8080,
        slots: 1,
        config: None,
        threads: Some(8),
        gpu,
        extra_args: &[],
        build,
    };
    IkLlama.argv(cell, &launch)
}

fn shell(cell: &Cell, gpu: bool) -> String {
    argv(cell, &build(), gpu).unwrap().shell()
}

#[test]
fn the_two_servers_of_one_name_are_told_apart() {
    assert!(IkLlama.recognises(HELP) && !LlamaCpp.recognises(HELP));
    assert!(LlamaCpp.recognises(MAINLINE_HELP) && !IkLlama.recognises(MAINLINE_HELP));
}

#[test]
fn build_reads_flags_and_types() {
    let build = build();
    assert_eq!(build.version, "4840 (8337e4cd3)");
    for flag in
        ["-khad", "--k-cache-hadamard", "--run-time-repack", "-ctk-first", "--spec-autotune", "--webui"]
    {
        assert!(build.has(flag), "{flag}");
    }
    assert!(!build.has("--spec-stage") && !build.has("--fit-nonsense"));
    assert!(build.flash_attention_value);
    assert_eq!(build.speculation.len(), 8);
    assert!(build.speculation.iter().any(|name| name == "suffix"));
}

#[test]
fn every_option_is_documented() {
    let build = build();
    for option in IkLlama.card().options {
        let lists = match option.place {
            Place::Flag(flags) => vec![flags],
            Place::Switch { on, off } => vec![on, off],
            Place::Speculation(_) => continue,
            Place::Env(_) | Place::Config { .. } => panic!("{} is no flag", option.name),
        };
        for flags in lists.into_iter().filter(|flags| !flags.is_empty()) {
            assert!(build.first_of(flags).is_some(), "{}: {flags:?}", option.name);
        }
    }
}

#[test]
fn argv_of_its_own_caches_and_tricks() {
    let options = [
        ("khad", "true"),
        ("rtr", "true"),
        ("fmoe", "false"),
        ("mla", "3"),
        ("amb", "512"),
        ("ser", "6,1"),
        ("k_last", "q8_0,4"),
    ];
    insta::assert_snapshot!("argv_tricks", shell(&cell("q8_KV", "q8_0", "off", &options), false));
    insta::assert_snapshot!(
        "argv_gpu",
        shell(&cell("f16", "f16", "off", &[("gpu_layers", "20"), ("split_mode", "graph")]), true)
    );
    let mut plain = cell("f16", "f16", "off", &[]);
    plain.setting.flash_attention = FlashAttention::Off;
    assert!(
        shell(&plain, true).contains("-fa off -ctk f16 -ctv f16 -t 8 -ngl 999"),
        "{}",
        shell(&plain, true)
    );
}

#[test]
fn argv_of_its_own_grammar_of_speculation() {
    let of = |cell: &Cell| {
        let words = argv(cell, &build(), false).unwrap().args;
        let types = words.iter().zip(words.iter().skip(1)).filter(|(flag, _)| *flag == "--spec-type");
        types.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let ngram = [("ngram_max", "64"), ("ngram_min", "2"), ("ngram_size_n", "8")];
    assert_eq!(of(&cell("f16", "f16", "ngram-mod", &ngram)), ["ngram-mod:n_max=64,n_min=2,ngram_size_n=8"]);
    let two = [("ngram_max", "64"), ("draft_max", "1"), ("draft_p_min", "0.5")];
    assert_eq!(
        of(&cell("f16", "f16", "ngram-mod,mtp", &two)),
        ["ngram-mod:n_max=64", "mtp:n_max=1,p_min=0.5"]
    );
    let corpus = [("suffix_corpus", "/data/a,b.json"), ("suffix_max_depth", "64")];
    assert_eq!(
        of(&cell("f16", "f16", "suffix", &corpus)),
        ["suffix:suffix_max_depth=64,suffix_corpus='/data/a,b.json'"]
    );
    assert_eq!(of(&cell("f16", "f16", "ngram-simple", &[])), ["ngram-simple"]);
    insta::assert_snapshot!(
        "argv_draft",
        shell(&drafting("draft", &[("draft_max", "8"), ("draft_k", "q8_0")]), false)
    );
}

#[test]
fn a_type_that_the_build_lacks_lists_its_own() {
    let error = argv(&drafting("dflash", &[]), &build(), false).unwrap_err();
    assert!(error.to_string().contains("no speculation type `dflash`"), "{error}");
    assert!(error.hints()[0].contains("suffix"));
}

#[test]
fn impossible_settings_say_what_to_do() {
    let reason = |cell: Cell| IkLlama.validate(&cell.setting).err();
    for possible in [
        cell("q8_KV", "q6_0", "off", &[("khad", "true")]),
        cell("f16", "f16", "ngram-mod,mtp", &[("ngram_max", "8"), ("draft_max", "2")]),
        drafting("suffix,draft", &[("draft_v", "q8_0")]),
    ] {
        assert_eq!(reason(possible), None);
    }
    let mut off = cell("f16", "q8_0", "off", &[]);
    off.setting.flash_attention = FlashAttention::Off;
    for (cell, expected) in [
        (off, "needs flash attention"),
        (cell("q8_kv", "f16", "off", &[]), "did you mean `q8_0`"),
        (cell("f16", "f16", "ngram-moda", &[]), "did you mean `ngram-mod`"),
        (cell("f16", "f16", "mtp,ngram-mod", &[]), "of two stages"),
        (cell("f16", "f16", "ngram-mod,suffix,mtp", &[]), "at most two"),
        (cell("f16", "f16", "draft", &[]), "needs a draft model"),
        (drafting("mtp", &[]), "without a second model"),
        (cell("f16", "f16", "mtp", &[("ngram_max", "2")]), "belongs to speculation ngram-cache"),
        (cell("f16", "f16", "suffix", &[("suffix_corpus", "it's")]), "quote"),
    ] {
        let found = reason(cell).unwrap_or_default();
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn what_it_runs_is_read_back() {
    let effective = IkLlama.effective(LOG, &serde_json::from_str(PROPS).unwrap());
    insta::assert_json_snapshot!("effective", effective);
    let same = cell("q8_KV", "q8_0", "off", &[("khad", "false"), ("ubatch", "512"), ("fmoe", "true")]);
    assert_eq!(IkLlama.deviations(&same, &effective), Vec::<String>::new());
    let mut other = cell("q8_0", "q8_0", "off", &[("khad", "true")]);
    other.context = 16_384;
    assert_eq!(
        IkLlama.deviations(&other, &effective),
        [
            "K cache type: asked for q8_0, the server runs q8_KV",
            "context per slot: asked for 16384 tokens, the server runs 8192 tokens",
            "option khad: asked for true, the server runs false",
        ]
    );
}

#[test]
fn a_latent_cache_has_no_v() {
    let line = "llama_new_context_with_model: KV self size  = 4666.50 MiB, c^KV (q8_0): 4666.50 MiB, kv^T: not used\n";
    let effective = IkLlama.effective(line, &Value::Null);
    assert_eq!((effective.k.as_deref(), effective.v), (Some("q8_0"), None));
    assert_eq!((effective.k_bytes, effective.v_bytes), (Some(4_893_179_904), Some(0)));
}

fn figure(last: &Value, name: &str) -> Option<f64> {
    IkLlama.measurements(last).iter().find(|figure| figure.name == name).unwrap().value
}

#[test]
fn figures_of_a_chat_a_cut_prompt_and_a_completion() {
    let last = CHAT.lines().filter_map(|line| line.strip_prefix("data: {")).next_back().unwrap();
    let last: Value = serde_json::from_str(&format!("{{{last}")).unwrap();
    assert_eq!(figure(&last, metric::PROMPT_TOKENS), Some(38.0));
    assert_eq!(figure(&last, metric::CACHED_TOKENS), Some(0.0));
    assert!((figure(&last, metric::PREFILL_TPS).unwrap() - 276.81).abs() < 0.01);
    assert!((figure(&last, metric::DECODE_TPS).unwrap() - 59.0 / 1.774_352).abs() < 0.01);

    let cut: Value =
        serde_json::from_str(OVERLONG.lines().find(|line| line.starts_with('{')).unwrap()).unwrap();
    assert_eq!(figure(&cut, metric::PROMPT_TOKENS), Some(4934.0), "9,030 were sent");

    let bare: Value = serde_json::from_str(COMPLETION).unwrap();
    assert_eq!(bare.get("usage"), None);
    assert_eq!(figure(&bare, metric::PROMPT_TOKENS), Some(5.0));
    assert_eq!(figure(&bare, metric::CACHED_TOKENS), Some(0.0));
    assert_eq!(figure(&Value::Null, metric::PROMPT_TOKENS), None);
}

#[test]
fn buffers_on_cards_are_told_apart() {
    let log = "\
llm_load_tensors:        CPU buffer size =   100.00 MiB
llm_load_tensors:      CUDA0 buffer size =   300.00 MiB
llama_kv_cache_init:      CUDA0 KV buffer size =    48.00 MiB
llama_init_from_model: KV self size  =   48.00 MiB, K (f16):   24.00 MiB, V (f16):   24.00 MiB
llama_init_from_model:      CUDA0 compute buffer size =   50.00 MiB
llama_init_from_model:  CUDA_Host compute buffer size =     5.00 MiB
";
    let effective = IkLlama.effective(log, &serde_json::Value::Null);
    let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes >> 20);
    assert_eq!((mib(effective.model_bytes), mib(effective.model_gpu_bytes)), (Some(400), Some(300)));
    assert_eq!((mib(effective.compute_bytes), mib(effective.compute_gpu_bytes)), (Some(55), Some(50)));
    assert_eq!(mib(effective.kv_gpu_bytes), Some(48));
    assert_eq!(effective.gpu_backend.as_deref(), Some("CUDA"));
}
