use std::path::Path;

use super::*;
use crate::measure::engine::option::Place;
use crate::record::Source;
use crate::record::suite::DraftModel;

const HELP: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/help-flags.txt");
const VERSION: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/version.txt");
const PROPS: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/props.json");
const PROPS_10434: &str = include_str!("../../../../tests/fixtures/llama-server-b10434-props.json");
const LOG_F16: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/f16.log");
const LOG_Q8Q4: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/q8q4.log");
const LOG_NGRAM: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/ngram.log");
const LOG_DRAFT: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/draft.log");
const LOG_FA_AUTO: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/faauto.log");
const LOG_FA_OFF: &str = include_str!("../../../../tests/fixtures/llama-server-b10068/faoff.log");

/// Help of a build from early 2025, in the same form: a switch for flash attention, no speculation types.
const OLD_HELP: &str = "\
-fa,   --flash-attn                     enable it
-ctk,  --cache-type-k TYPE              cache
-ngl,  --gpu-layers, --n-gpu-layers N   layers
                                        --spec-type in a description is no flag
--no-context-shift                      no shift
--metrics                               metrics
--no-slots                              none
--no-webui                              no page
--draft-max, --draft, --draft-n N       tokens
";

fn cell(k: &str, v: &str, speculation: &str) -> Cell {
    let mut setting = Setting {
        label: String::new(),
        engine: "llama.cpp".into(),
        model: "smollm2".into(),
        weights: "Q4_1".into(),
        k: k.into(),
        v: v.into(),
        speculation: speculation.into(),
        flash_attention: FlashAttention::On,
        draft: None,
        options: Default::default(),
        extra_args: Vec::new(),
        sampling: None,
    };
    setting.label = setting.label_of(false);
    Cell { setting, context: 2048 }
}

fn argv(cell: &Cell, build: &Build, gpu: bool) -> Result<Argv> {
    argv_with_slots(cell, build, gpu, 1)
}

fn argv_with_slots(cell: &Cell, build: &Build, gpu: bool, slots: u16) -> Result<Argv> {
    let launch = Launch {
        binary: Path::new("/opt/llama/llama-server"),
        library_path: Some(Path::new("/opt/llama")),
        model: Path::new("/models/small model.gguf"),
        draft: cell.setting.draft.as_ref().map(|_| Path::new("/models/draft.gguf")),
        port: 8080,
        slots,
        config: None,
        threads: Some(2),
        gpu,
        extra_args: &["--mlock".to_owned()],
        build,
    };
    LlamaCpp.argv(cell, &launch)
}

fn shell(cell: &Cell, build: &Build, gpu: bool) -> String {
    argv(cell, build, gpu).unwrap().shell()
}

#[test]
fn every_slot_has_the_whole_context() {
    let cell = cell("f16", "f16", "off");
    let build = LlamaCpp.build(VERSION, HELP);
    let line = argv_with_slots(&cell, &build, false, 8).unwrap().shell();
    assert!(line.contains(" -c 16384 -np 8 --no-kv-unified "), "{line}");
    let old = argv_with_slots(&cell, &LlamaCpp.build("", OLD_HELP), false, 8).unwrap().shell();
    assert!(old.contains(" -c 16384 -np 8 -fa "), "{old}");
    assert!(!shell(&cell, &build, false).contains("unified"));
}

fn props(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn build_reads_flags_types_and_version() {
    let build = LlamaCpp.build(VERSION, HELP);
    assert_eq!(build.version, "1 (571d0d5)");
    for flag in
        ["-fa", "--flash-attn", "--spec-type", "--no-ui", "--no-webui", "-cram", "--cache-ram", "--fit"]
    {
        assert!(build.has(flag), "{flag}");
    }
    assert!(!build.has("--webui-nonsense"));
    assert!(build.speculation.contains(&"ngram-simple".to_owned()));
    assert!(!build.speculation.contains(&"none".to_owned()));
    assert!(build.flash_attention_value);
}

#[test]
fn pinned_build_promises_nothing_that_the_real_one_lacks() {
    let real = LlamaCpp.build(VERSION, HELP);
    let pinned = LlamaCpp.pinned_build();
    assert_eq!(pinned.version, real.version);
    for cell in [cell("q8_0", "q4_0", "ngram-simple"), cell("f16", "f16", "off")] {
        assert_eq!(argv(&cell, &pinned, false).unwrap(), argv(&cell, &real, false).unwrap());
        assert_eq!(argv(&cell, &pinned, true).unwrap(), argv(&cell, &real, true).unwrap());
    }
    let mut known = real.speculation.clone();
    let mut promised = pinned.speculation.clone();
    known.sort();
    promised.sort();
    assert_eq!(promised, known);
}

#[test]
fn old_help_gives_an_old_build() {
    let build = LlamaCpp.build("version: 4800 (abc)\nbuilt with cc", OLD_HELP);
    assert_eq!(build.version, "4800 (abc)");
    assert!(!build.flash_attention_value);
    assert!(!build.has("--spec-type"));
    insta::assert_snapshot!(shell(&cell("f16", "f16", "off"), &build, true), @"LD_LIBRARY_PATH=/opt/llama /opt/llama/llama-server -m '/models/small model.gguf' --host 127.0.0.1 --port 8080 -c 2048 -np 1 -fa -ctk f16 -ctv f16 -t 2 --n-gpu-layers 999 --no-context-shift --metrics --no-webui --mlock");
    let error = argv(&cell("f16", "f16", "ngram-simple"), &build, false).unwrap_err();
    assert!(error.to_string().contains("--spec-type"), "{error}");
    assert!(!error.hints().is_empty());
    let mut auto = cell("f16", "f16", "off");
    auto.setting.flash_attention = FlashAttention::Auto;
    assert!(argv(&auto, &build, false).is_err());
}

#[test]
fn argv_of_the_pinned_build() {
    let build = LlamaCpp.build(VERSION, HELP);
    insta::assert_snapshot!(shell(&cell("f16", "f16", "off"), &build, false), @"LD_LIBRARY_PATH=/opt/llama /opt/llama/llama-server -m '/models/small model.gguf' --host 127.0.0.1 --port 8080 -c 2048 -np 1 -fa on -ctk f16 -ctv f16 -t 2 --device none --no-context-shift --cache-ram 0 --fit off --jinja --metrics --slots --no-ui --log-verbosity 4 --mlock");
    let mut special = cell("q8_0", "q4_0", "ngram-simple");
    special.setting.extra_args = vec!["--spec-ngram-simple-size-n".into(), "8".into()];
    insta::assert_snapshot!(shell(&special, &build, true), @"LD_LIBRARY_PATH=/opt/llama /opt/llama/llama-server -m '/models/small model.gguf' --host 127.0.0.1 --port 8080 -c 2048 -np 1 -fa on -ctk q8_0 -ctv q4_0 --spec-type ngram-simple -t 2 --n-gpu-layers 999 --no-context-shift --cache-ram 0 --fit off --jinja --metrics --slots --no-ui --log-verbosity 4 --mlock --spec-ngram-simple-size-n 8");
}

#[test]
fn a_type_that_the_build_lacks_is_an_error_that_lists_its_own() {
    let build = LlamaCpp.build(VERSION, HELP);
    let error = argv(&cell("f16", "f16", "draft-dspark"), &build, false).unwrap_err();
    assert!(error.to_string().contains("draft-dspark"));
    assert!(error.hints()[0].contains("ngram-simple"));
}

#[test]
fn impossible_settings_say_what_to_do() {
    let reason = |cell: &Cell| LlamaCpp.validate(&cell.setting).err();
    assert_eq!(reason(&cell("q8_0", "q4_0", "ngram-simple")), None);
    assert!(reason(&cell("q8", "f16", "off")).unwrap().contains("did you mean `q8_0`"));
    assert!(reason(&cell("f16", "f16", "ngram-simpel")).unwrap().contains("ngram-simple"));
    assert!(reason(&cell("f16", "f16", "draft-simple")).unwrap().contains("needs a draft model"));
    let mut off = cell("f16", "q8_0", "off");
    off.setting.flash_attention = FlashAttention::Off;
    assert!(reason(&off).unwrap().contains("needs flash attention"));
    off.setting.v = "f16".into();
    off.setting.k = "q8_0".into();
    assert_eq!(reason(&off), None);
}

fn with(mut cell: Cell, options: &[(&str, &str)]) -> Cell {
    let pairs = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    cell.setting.options = pairs.collect();
    cell
}

fn drafting(options: &[(&str, &str)]) -> Cell {
    let mut cell = with(cell("q8_0", "q8_0", "draft-simple"), options);
    cell.setting.draft = Some(DraftModel { model: "tiny".into(), weights: "Q4_0".into() });
    cell
}

#[test]
fn options_become_the_flags_that_this_build_has() {
    let build = LlamaCpp.build(VERSION, HELP);
    let options =
        [("gpu_layers", "20"), ("threads", "6"), ("ubatch", "128"), ("mmap", "false"), ("mlock", "false")];
    let wide = with(cell("f16", "f16", "off"), &options);
    insta::assert_snapshot!(shell(&wide, &build, true), @"LD_LIBRARY_PATH=/opt/llama /opt/llama/llama-server -m '/models/small model.gguf' --host 127.0.0.1 --port 8080 -c 2048 -np 1 -fa on -ctk f16 -ctv f16 -ub 128 -t 6 -ngl 20 --no-mmap --no-context-shift --cache-ram 0 --fit off --jinja --metrics --slots --no-ui --log-verbosity 4 --mlock");
    let line = shell(&drafting(&[("draft_max", "4"), ("draft_k", "q8_0")]), &build, false);
    assert!(line.contains("--spec-type draft-simple -md /models/draft.gguf"), "{line}");
    assert!(line.contains("--spec-draft-n-max 4 --spec-draft-type-k q8_0"), "{line}");
    let old = LlamaCpp.build("version: 6000 (a)", &format!("{OLD_HELP}--spec-type none,draft-simple\n"));
    let line = shell(&drafting(&[("draft_max", "4")]), &old, false);
    assert!(line.contains("--draft-max 4"), "{line}");
    let error = argv(&with(cell("f16", "f16", "off"), &[("repack", "false")]), &old, false).unwrap_err();
    assert!(error.to_string().contains("no option `repack`"), "{error}");
}

#[test]
fn every_option_is_known_to_the_pinned_build() {
    let build = LlamaCpp.build(VERSION, HELP);
    for option in LlamaCpp.card().options {
        let lists = match option.place {
            Place::Flag(flags) => vec![flags],
            Place::Switch { on, off } => vec![on, off],
            _ => panic!("{} has no flag", option.name),
        };
        for flags in lists.into_iter().filter(|flags| !flags.is_empty()) {
            assert!(build.first_of(flags).is_some(), "{}: {flags:?}", option.name);
        }
    }
    assert!(!build.has("--draft-max"), "the help names it only to say that it is gone");
}

#[test]
fn drafts_and_options_that_do_not_fit_are_impossible() {
    let reason = |cell: Cell| LlamaCpp.validate(&cell.setting).err();
    assert_eq!(reason(drafting(&[("draft_max", "8"), ("draft_v", "q4_0")])), None);
    let mut twice = drafting(&[]);
    twice.setting.extra_args = vec!["-md".into(), "x.gguf".into()];
    let mut unused = drafting(&[]);
    unused.setting.speculation = "draft-mtp".into();
    let mut unquantised = drafting(&[("draft_v", "q8_0")]);
    unquantised.setting.v = "f16".into();
    unquantised.setting.flash_attention = FlashAttention::Off;
    let plain = |options| with(cell("f16", "f16", "off"), options);
    for (cell, expected) in [
        (twice, "two draft models"),
        (unused, "without a second model"),
        (unquantised, "`draft_v` to f16"),
        (drafting(&[("draft_max", "2"), ("draft_min", "4")]), "larger than"),
        (drafting(&[("ngram_mod_max", "2")]), "belongs to speculation ngram-mod"),
        (plain(&[("draft_max", "2")]), "belongs to speculation draft-simple"),
        (plain(&[("batch", "128"), ("ubatch", "512")]), "larger than"),
        (plain(&[("cpu_moe", "true"), ("n_cpu_moe", "4")]), "two things"),
        (plain(&[("split_mode", "none"), ("tensor_split", "1,1")]), "on one GPU"),
    ] {
        let found = reason(cell).unwrap_or_default();
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

#[test]
fn a_draft_model_and_options_are_read_back() {
    let effective = LlamaCpp.effective(LOG_DRAFT, &Value::Null);
    assert_eq!(effective.speculation.as_deref(), Some("draft-simple"));
    assert_eq!(effective.draft_model_bytes, effective.model_bytes, "the model drafted for itself");
    assert_eq!(effective.draft_kv_bytes.unwrap(), effective.k_bytes.unwrap() + effective.v_bytes.unwrap());
    let asked = [("batch", "1024"), ("ubatch", "128"), ("draft_max", "4"), ("rope_freq_base", "90000")];
    assert_eq!(LlamaCpp.deviations(&drafting(&asked), &effective), Vec::<String>::new());
    let other = drafting(&[("ubatch", "512"), ("draft_max", "8")]);
    assert_eq!(
        LlamaCpp.deviations(&other, &effective),
        [
            "option draft_max: asked for 8, the server runs 4",
            "option ubatch: asked for 512, the server runs 128"
        ]
    );
    let mut narrow = drafting(&[("batch", "4096")]);
    narrow.context = 1024;
    assert!(LlamaCpp.deviations(&narrow, &effective).is_empty(), "a batch is never larger than the context");
}

#[test]
fn effective_of_a_plain_server() {
    insta::assert_json_snapshot!("effective_f16", LlamaCpp.effective(LOG_F16, &props(PROPS)));
}

#[test]
fn caches_and_states_are_summed_and_those_on_cards_told_apart() {
    // In the form of a hybrid model's log, half of its layers on a card.
    let log = "\
load_tensors:   CPU_Mapped model buffer size =   100.00 MiB
load_tensors:        CUDA0 model buffer size =   300.00 MiB
llama_kv_cache:        CPU KV buffer size =    16.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =    32.00 MiB
llama_kv_cache: size =   48.00 MiB (  4096 cells,  12 layers,  1/1 seqs), K (f16):   24.00 MiB, V (f16):   24.00 MiB
llama_memory_recurrent:        CPU RS buffer size =     3.00 MiB
llama_memory_recurrent:      CUDA0 RS buffer size =     6.00 MiB
llama_memory_recurrent: size =    9.00 MiB (     1 cells,  48 layers,  1 seqs  0 rs_seq), R (f32):    1.00 MiB, S (f32):    8.00 MiB
";
    let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes >> 20);
    let effective = LlamaCpp.effective(log, &serde_json::Value::Null);
    assert_eq!((mib(effective.state_bytes), mib(effective.kv_bytes())), (Some(9), Some(57)));
    assert_eq!(mib(effective.kv_gpu_bytes), Some(38));
    assert_eq!(effective.gpu_backend.as_deref(), Some("CUDA"));
    assert_eq!((mib(effective.model_gpu_bytes), mib(effective.model_mapped_bytes)), (Some(300), Some(100)));
    assert_eq!(effective.k.as_deref(), Some("f16"), "a state has no type of K");
    let kept_back = log.replace("CUDA0 KV", "  CPU KV").replace("CUDA0 RS", "  CPU RS");
    let effective = LlamaCpp.effective(&kept_back, &serde_json::Value::Null);
    assert_eq!(effective.kv_gpu_bytes, Some(0), "`--no-kv-offload`: none of it is on the card");
    // Compressed K and V with an indexer's keys: two caches of K alone.
    let latent = "\
llama_kv_cache: size =   68.62 MiB (  1024 cells,  61 layers,  1/1 seqs), K (f16):   68.62 MiB, V (f16):    0.00 MiB
llama_kv_cache: size =   15.25 MiB (  1024 cells,  61 layers,  1/1 seqs), K (f16):   15.25 MiB, V (f16):    0.00 MiB
";
    let effective = LlamaCpp.effective(latent, &serde_json::Value::Null);
    assert_eq!(mib(effective.kv_bytes()), Some(83));
}

#[test]
fn what_is_rotated_and_where_the_graph_is_computed_is_read_back() {
    let of = |log: &str| {
        let effective = LlamaCpp.effective(log, &Value::Null);
        (effective.k_rotated, effective.v_rotated, effective.graph_splits, effective.compute_cpu_bytes)
    };
    assert_eq!(of(LOG_Q8Q4), (Some(true), Some(true), Some(1), None));
    assert_eq!(of(LOG_F16), (Some(false), Some(false), Some(1), None));
    assert_eq!(of(&LOG_Q8Q4.replace("attn_rot_v = 1", "attn_rot_v = 0")).1, Some(false));
    assert_eq!(of(""), (None, None, None, None), "older builds do not say");
    // Beside a card, the processor's own buffer counts, and what a card reads of main memory does not.
    let card = "sched_reserve:      CUDA0 compute buffer size =   298.50 MiB\n\
                sched_reserve:  CUDA_Host compute buffer size =     9.00 MiB\n\
                sched_reserve: graph nodes  = 1086\nsched_reserve: graph splits = 2\n";
    assert_eq!(of(card), (None, None, Some(2), None));
    let fallen = card.replace("splits = 2", "splits = 62 (with bs=512), 62 (with bs=1)")
        + "sched_reserve:        CPU compute buffer size =    14.50 MiB\n";
    assert_eq!(of(&fallen), (None, None, Some(62), Some(29 << 19)));
}

#[test]
fn effective_of_a_quantised_cache() {
    let effective = LlamaCpp.effective(LOG_Q8Q4, &props(PROPS));
    assert_eq!(effective.k.as_deref(), Some("q8_0"));
    assert_eq!(effective.v.as_deref(), Some("q4_0"));
    // 30 layers x 3 heads x 64 x 2048 cells at 34/32 and 18/32 bytes; the log rounds to 0.01 MiB.
    let elements = 30.0 * 3.0 * 64.0 * 2048.0;
    let near =
        |bytes: Option<u64>, exact: f64| (bytes.unwrap() as f64 - exact).abs() < 0.01 * 1024.0 * 1024.0;
    assert!(near(effective.k_bytes, elements * 34.0 / 32.0));
    assert!(near(effective.v_bytes, elements * 18.0 / 32.0));
    assert_eq!(LlamaCpp.deviations(&cell("q8_0", "q4_0", "off"), &effective), Vec::<String>::new());
    assert_eq!(
        LlamaCpp.deviations(&cell("f16", "f16", "ngram-simple"), &effective),
        [
            "K cache type: asked for f16, the server runs q8_0",
            "V cache type: asked for f16, the server runs q4_0",
            "speculation: asked for ngram-simple, the server runs none",
        ]
    );
}

#[test]
fn speculation_is_read_from_the_log_because_props_denies_it() {
    let effective = LlamaCpp.effective(LOG_NGRAM, &props(PROPS));
    assert_eq!(effective.speculation.as_deref(), Some("ngram-simple"));
    assert!(LlamaCpp.deviations(&cell("f16", "f16", "ngram-simple"), &effective).is_empty());
    assert_eq!(LlamaCpp.deviations(&cell("f16", "f16", "off"), &effective).len(), 1);
}

#[test]
fn the_server_says_what_it_cannot_run() {
    let log = include_str!("../../../../tests/fixtures/llama-server-b10068/vbad.log");
    assert!(LlamaCpp.refusal(log).unwrap().ends_with("V cache quantization requires flash_attn"));
    assert_eq!(LlamaCpp.refusal(LOG_F16), None);
}

#[test]
fn flash_attention_in_every_state() {
    let of = |log| LlamaCpp.effective(log, &Value::Null).flash_attention;
    assert_eq!(of(LOG_F16), Some(true));
    assert_eq!(of(LOG_FA_OFF), Some(false));
    assert_eq!(of(LOG_FA_AUTO), Some(true));
    assert_eq!(of(""), None);
}

#[test]
fn a_shrunken_context_is_a_deviation_and_an_unknown_one_is_not() {
    let mut wide = cell("f16", "f16", "off");
    wide.context = 4096;
    let effective = LlamaCpp.effective(LOG_F16, &props(PROPS));
    assert_eq!(
        LlamaCpp.deviations(&wide, &effective),
        ["context per slot: asked for 4096 tokens, the server runs 2048 tokens"]
    );
    assert!(LlamaCpp.deviations(&wide, &Effective::default()).is_empty());
}

#[test]
fn a_draft_model_does_not_count_as_the_model() {
    let draft = LOG_Q8Q4.replace("18.28 MiB (", "1.00 MiB (");
    let log = format!("{LOG_F16}{draft}");
    assert_eq!(
        LlamaCpp.effective(&log, &Value::Null).k_bytes,
        LlamaCpp.effective(LOG_F16, &Value::Null).k_bytes
    );
}

#[test]
fn two_caches_of_a_sliding_window_are_added() {
    let line = "llama_kv_cache: size = 3.00 MiB ( 512 cells, 5 layers, 1/1 seqs), K (f16): 1.00 MiB, V (f16): 2.00 MiB\n";
    let effective = LlamaCpp.effective(&line.repeat(2), &Value::Null);
    assert_eq!((effective.k_bytes, effective.v_bytes), (Some(2 << 20), Some(4 << 20)));
    assert_eq!(effective.k.as_deref(), Some("f16"));
    let mixed = format!("{line}{}", line.replace("K (f16)", "K (q8_0)"));
    assert_eq!(LlamaCpp.effective(&mixed, &Value::Null).k.as_deref(), Some("f16+q8_0"));
}

#[test]
fn buffers_on_cards_are_told_from_those_in_main_memory() {
    let log = "load_tensors:   CPU_Mapped model buffer size =    89.00 MiB\n\
               load_tensors:      Vulkan0 model buffer size =   373.00 MiB\n\
               llama_context: Vulkan_Host  output buffer size =     0.58 MiB\n\
               sched_reserve:    Vulkan0 compute buffer size =    34.00 MiB\n\
               sched_reserve: Vulkan_Host compute buffer size =     6.00 MiB\n";
    let effective = LlamaCpp.effective(log, &Value::Null);
    assert_eq!((effective.model_bytes, effective.model_gpu_bytes), (Some(462 << 20), Some(373 << 20)));
    assert_eq!((effective.compute_bytes, effective.compute_gpu_bytes), (Some(40 << 20), Some(34 << 20)));
    let on_the_processor = LlamaCpp.effective(LOG_F16, &Value::Null);
    assert_eq!((on_the_processor.model_gpu_bytes, on_the_processor.compute_gpu_bytes), (None, None));
}

#[test]
fn properties_of_a_later_build() {
    let effective = LlamaCpp.effective("", &props(PROPS_10434));
    assert_eq!(effective.weights.as_deref(), Some("Q4_K - Medium"));
    assert_eq!(effective.context, Some(8192));
    assert_eq!(effective.speculation, None, "`none` in the properties proves nothing");
    assert_eq!(effective.k, None);
}

#[test]
fn hostile_logs_do_not_panic() {
    for log in [
        "K (",
        " K ( V (",
        " K (f16): x MiB, V (f16): 1e400 MiB",
        "flash_attn =",
        "model buffer size = -1 MiB",
    ] {
        let effective = LlamaCpp.effective(log, &Value::Null);
        assert_eq!((effective.k, effective.model_bytes), (None, None), "{log}");
    }
}

fn measured(last: Value) -> Vec<(String, Option<f64>)> {
    LlamaCpp
        .measurements(&last)
        .into_iter()
        .map(|m| {
            assert_eq!(m.source, Source::Engine);
            assert!(m.value.is_some() != m.absent.is_some());
            (m.name.to_string(), m.value)
        })
        .collect()
}

#[test]
fn measurements_of_a_cold_reply_with_speculation() {
    let last = serde_json::from_str(
        r#"{"usage":{"completion_tokens":120,"prompt_tokens":49},
            "timings":{"cache_n":0,"prompt_n":49,"prompt_ms":490.0,"predicted_n":120,"predicted_ms":9000.0,
            "predicted_per_second":13.25,"draft_n":40,"draft_n_accepted":39}}"#,
    )
    .unwrap();
    insta::assert_debug_snapshot!("measurements_cold", measured(last));
}

#[test]
fn a_warm_prompt_has_no_prefill_rate() {
    let last = serde_json::json!({"timings": {"cache_n": 18, "prompt_n": 31, "prompt_ms": 690.9, "predicted_n": 1,
        "predicted_ms": 0.001}});
    let figures = measured(last);
    let of = |name: &str| figures.iter().find(|(n, _)| n == name).unwrap().1;
    assert_eq!(of("prompt_tokens"), Some(49.0));
    assert_eq!(of("prefill_tps"), None);
    assert_eq!(of("decode_tps"), None, "one token has no rate");
    assert_eq!(of("draft_tokens"), None);
}

#[test]
fn measurements_of_nothing_are_all_absent() {
    for last in [
        Value::Null,
        serde_json::json!([1]),
        serde_json::json!({"timings": "x", "usage": {"prompt_tokens": -3}}),
    ] {
        assert!(measured(last).iter().all(|(_, value)| value.is_none()));
    }
}
