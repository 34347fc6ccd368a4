use serde_json::json;

use super::*;
use crate::record::suite::DraftModel;

fn cell(k: &str, v: &str, speculation: &str, options: &[(&str, &str)]) -> Cell {
    let setting = Setting {
        label: String::new(),
        engine: "tabbyapi".into(),
        model: "m".into(),
        weights: "exl3-4bit".into(),
        k: k.into(),
        v: v.into(),
        speculation: speculation.into(),
        flash_attention: FlashAttention::Auto,
        draft: (speculation == "model")
            .then(|| DraftModel { model: "d".into(), weights: "exl3-4bit".into() }),
        options: options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        extra_args: Vec::new(),
        sampling: None,
    };
    Cell { setting, context: 2000 }
}

fn launch<'a>(binary: &'a Path, draft: Option<&'a Path>, build: &'a Build) -> Launch<'a> {
    Launch {
        binary,
        library_path: None,
        model: Path::new("/models/a \"b\"-exl3"),
        draft,
        port: 5001,
        slots: 2,
        threads: Some(4),
        gpu: true,
        extra_args: &[],
        build,
        config: Some(Path::new("/runs/r/engine/1-config.yml")),
    }
}

fn config(cell: &Cell) -> String {
    let draft = cell.setting.draft.as_ref().map(|_| Path::new("/drafts/d"));
    TabbyApi.config(cell, &launch(Path::new("/opt/tabbyAPI/main.py"), draft, &Build::default())).unwrap()
}

#[test]
fn the_file_says_what_the_cell_asks_for() {
    let wanted = r#"network:
  host: "127.0.0.1"
  port: 5001
  disable_auth: true
model:
  model_dir: "/models"
  model_name: "a \"b\"-exl3"
  backend: "exllamav3"
  max_seq_len: 2000
  cache_size: 4096
  cache_mode: "FP16"
  max_batch_size: 2
draft_model:
  draft_mode: "disabled"
memory:
"#;
    assert_eq!(config(&cell("FP16", "FP16", "off", &[])), wanted);
}

#[test]
fn options_stand_in_their_part_of_the_file() {
    let options = [
        ("cache_size", "8192"),
        ("chunk_size", "512"),
        ("gpu_split", "20,24"),
        ("tool_format", "qwen3_coder"),
        ("draft_num_tokens", "4"),
        ("sysmem_kv_cache", "64"),
    ];
    let text = config(&cell("Q8", "Q4", "model", &options));
    let (model, rest) = text.split_once("draft_model:\n").unwrap();
    for line in [
        "  cache_mode: \"8,4\"\n",
        "  cache_size: 8192\n",
        "  chunk_size: 512\n",
        "  gpu_split: [20,24]\n",
        "  tool_format: \"qwen3_coder\"\n",
    ] {
        assert_eq!(model.matches(line).count(), 1, "{line} in {text}");
    }
    assert_eq!(text.matches("cache_size").count(), 1);
    assert_eq!(
        rest,
        "  draft_mode: \"model\"\n  draft_model_dir: \"/drafts\"\n  draft_model_name: \"d\"\n  draft_num_tokens: 4\n\
         memory:\n  sysmem_kv_cache: 64\n"
    );
}

#[test]
fn the_command_names_the_file_alone() {
    let build = Build::default();
    let cell = cell("FP16", "FP16", "off", &[]);
    let argv = TabbyApi.argv(&cell, &launch(Path::new("/opt/tabbyAPI/main.py"), None, &build)).unwrap();
    assert_eq!(argv.program, Path::new("python3"));
    assert_eq!(argv.args, ["/opt/tabbyAPI/main.py", "--config", "/runs/r/engine/1-config.yml"]);
    let own = TabbyApi.argv(&cell, &launch(Path::new("/opt/start"), None, &build)).unwrap();
    assert_eq!((own.program.as_path(), own.args.len()), (Path::new("/opt/start"), 2));
    let more = ["--port".to_owned()];
    let with_more = Launch { extra_args: &more, ..launch(Path::new("/opt/start"), None, &build) };
    assert!(TabbyApi.argv(&cell, &with_more).unwrap_err().to_string().contains("--port"));
}

#[test]
fn the_python_beside_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("main.py");
    assert_eq!(TabbyApi.introspection(&main).program, Path::new("python3"));
    let python = folder.path().join("venv/bin/python");
    std::fs::create_dir_all(python.parent().unwrap()).unwrap();
    std::fs::write(&python, "").unwrap();
    let asked = TabbyApi.introspection(&main);
    assert_eq!(asked.program, python);
    assert_eq!(asked.help[1], "--help");
    assert!(TabbyApi.introspection(Path::new("/opt/start")).version.is_empty());
    assert_eq!(TabbyApi.build("warning\n0.0.9\n", "").version, "exllamav3 0.0.9");
}

#[test]
fn settings_that_cannot_run_say_what_to_do() {
    let reason = |cell: Cell| TabbyApi.validate(&cell.setting).err();
    assert_eq!(reason(cell("Q8", "Q4", "model", &[])), None);
    assert_eq!(reason(cell("FP16", "FP16", "ngram", &[("ngram_match_min", "3")])), None);
    for (wrong, says) in [
        (cell("FP16", "Q4", "off", &[]), "both caches or neither"),
        (cell("q4_0", "q4_0", "off", &[]), "cache type"),
        (cell("FP16", "FP16", "eagle", &[]), "speculation type"),
        (cell("FP16", "FP16", "off", &[("ngram_match_min", "3")]), "ngram_match_min"),
        (cell("FP16", "FP16", "off", &[("gpu_split", "a")]), "list of numbers"),
        (cell("FP16", "FP16", "off", &[("cache_size", "1000")]), "multiple of 256"),
    ] {
        assert!(reason(wrong).unwrap().contains(says), "{says}");
    }
    let mut on = cell("FP16", "FP16", "off", &[]);
    on.setting.flash_attention = FlashAttention::On;
    assert!(reason(on).unwrap().contains("flash attention"));
    let mut more = cell("FP16", "FP16", "off", &[]);
    more.setting.extra_args = vec!["--port".into()];
    assert!(reason(more).unwrap().contains("--port"));
}

/// The form of `ModelCard` in `endpoints/core/types/model.py`.
#[test]
fn the_model_in_use_is_read_back() {
    let card = json!({ "id": "m", "object": "model", "owned_by": "tabbyAPI", "parameters": {
        "max_seq_len": 2048, "cache_size": 4096, "cache_mode": "8,4", "max_batch_size": 2, "chunk_size": 2048,
        "rope_scale": 1.0, "prompt_template": "from_jinja", "draft": null,
    } });
    let effective = TabbyApi.effective("", &card);
    assert_eq!((effective.k.as_deref(), effective.v.as_deref()), (Some("Q8"), Some("Q4")));
    assert_eq!(
        (effective.context, effective.slots, effective.kv_pool_tokens),
        (Some(2048), Some(2), Some(4096))
    );
    assert!(TabbyApi.deviations(&cell("Q8", "Q4", "off", &[("chunk_size", "2048")]), &effective).is_empty());
    let other = TabbyApi.deviations(&cell("Q6", "Q4", "off", &[("chunk_size", "512")]), &effective);
    assert_eq!(other.len(), 2, "{other:?}");
    assert_eq!(TabbyApi.effective("", &json!({})), Effective::default());
    let drafting = json!({ "parameters": { "cache_mode": "FP16", "draft": { "id": "d" } } });
    let found = TabbyApi.deviations(&cell("FP16", "FP16", "off", &[]), &TabbyApi.effective("", &drafting));
    assert_eq!(found, ["speculation: asked for off, the server runs model"]);
}

/// The form of `UsageStats` in `endpoints/OAI/types/common.py`.
#[test]
fn usage_gives_counts_and_the_decode_rate() {
    let last = json!({ "usage": {
        "prompt_tokens": 37, "prompt_time": 0.1, "prompt_tokens_per_sec": 370.0, "completion_tokens": 11,
        "completion_time": 0.5, "completion_tokens_per_sec": 22.0, "total_tokens": 48, "total_time": 0.6,
    } });
    let all = TabbyApi.measurements(&last);
    let value = |name: &str| all.iter().find(|m| m.name == name).unwrap().value;
    assert_eq!(value(metric::PROMPT_TOKENS), Some(37.0));
    assert_eq!(value(metric::OUTPUT_TOKENS), Some(11.0));
    assert_eq!(value(metric::DECODE_TPS), Some(20.0));
    assert_eq!([value(metric::CACHED_TOKENS), value(metric::PREFILL_TPS)], [None, None]);
}
