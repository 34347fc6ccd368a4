//! vLLM: `vllm serve`.
//!
//! It reads a folder with `config.json` and safetensors. Its KV cache is a pool that it takes at its start, so memory
//! barely depends on the context; what a context needs of the pool is its bytes over its tokens. Flash attention is
//! no switch here: which kernels compute attention is the option `attention_backend`.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::arguments::{self, Args};
use super::capability::{Capability, Support};
use super::card::{EngineCard, FlagStyle, Introspection, ModelForm, words};
use super::definition::Engine;
use super::figures;
use super::launch::Launch;
use super::option::{self, OptionKind};
use crate::error::{Error, Result, nearest};
use crate::measure::client::{Endpoints, wire};
use crate::record::suite::{Cell, FlashAttention, Setting};
use crate::record::{Argv, Build, Effective, Measurement, Placement, metric};

mod options;
mod readback;

/// The engine `vllm`.
#[derive(Debug, Clone, Copy)]
pub struct Vllm;

/// Methods of `SpeculativeConfig` that are not of one model family alone.
const SPECULATION_TYPES: &[&str] = &[
    "off",
    "ngram",
    "ngram_gpu",
    "suffix",
    "draft_model",
    "eagle",
    "eagle3",
    "mtp",
    "medusa",
    "mlp_speculator",
    "dflash",
    "dspark",
];

/// Methods that need a second model (or heads in a folder of their own).
const NEED_DRAFT_MODEL: &[&str] =
    &["draft_model", "eagle", "eagle3", "medusa", "mlp_speculator", "dflash", "dspark"];

/// Methods whose number of tokens no config names.
const NEED_TOKENS: &[&str] = &["ngram", "ngram_gpu", "draft_model"];

/// Nothing is asked of a hub, and nothing is told of how the server is used.
const ENV: &[(&str, &str)] = &[("HF_HUB_OFFLINE", "1"), ("VLLM_NO_USAGE_STATS", "1"), ("DO_NOT_TRACK", "1")];

/// Probabilities that a request may ask for at a position.
const MAX_LOGPROBS: &str = "1024";

/// Cache types that hold two, as the end of a sentence.
const TWO_IN_ONE: &str = " (turboquant_k8v4 and turboquant_k3v4_nc are single names for two types)";

/// What kneepoint knows of it without asking.
static CARD: EngineCard = EngineCard {
    name: "vllm",
    summary: "vLLM's `vllm serve`, from a path or from PATH; models are folders with safetensors",
    binaries: &["vllm"],
    cache_types: options::CACHE_TYPES,
    default_cache_type: "auto",
    default_flash_attention: FlashAttention::Auto,
    speculation_types: SPECULATION_TYPES,
    draft_types: NEED_DRAFT_MODEL,
    options: options::OPTIONS,
    flag_style: FlagStyle::Argparse,
    model_form: ModelForm::FolderOrFile,
    wire: &wire::Vllm,
    endpoints: Endpoints {
        health: "/health",
        prompt_logprobs: Some("/v1/completions"),
        tokenize: Some("/tokenize"),
        metrics: Some("/metrics"),
        ..Endpoints::OPENAI
    },
    properties: &["/v1/models"],
    version: Some("/version"),
    limits: &[
        (Capability::Timings, Support::Partly("builds with `--enable-per-request-metrics`")),
        (Capability::Tools, Support::Partly("`auto` needs the option tool_call_parser")),
        (Capability::TokenLogprobs, Support::Partly("a request a token, over its prefix cache")),
        (
            Capability::Effective,
            Support::Partly("all from its log; a server that is attached to names its context only"),
        ),
        (Capability::Memory, Support::Partly("the pool of the KV cache; weights on a GPU")),
        (
            Capability::Speculation,
            Support::Partly("counts in builds with `--per-request-spec-decode-metrics`"),
        ),
    ],
    refusals: &["notimplementederror: ", "valueerror: no valid attention backend"],
    measuring_arguments: &[
        &["--max-logprobs", "1024"],
        &["--generation-config", "vllm"],
        &["--enable-prompt-tokens-details"],
        &["--enable-per-request-metrics"],
        &["--per-request-spec-decode-metrics", "summary"],
    ],
    grace: Duration::from_secs(30),
    cache_report: Some(("--enable-prompt-tokens-details", "--no-enable-prompt-tokens-details")),
    beyond_trained: "vLLM refuses to start unless hf_overrides scales the positions",
    placement: Placement::Cards,
    ..EngineCard::PLAIN
};

/// KV cache types that mean what they say on a processor (0.32.0; docs/seen/servers.md).
const ON_PROCESSORS: [&str; 4] = ["auto", "fp8", "fp8_e4m3", "fp8_e5m2"];

impl Engine for Vllm {
    fn card(&self) -> &'static EngineCard {
        &CARD
    }

    fn validate(&self, setting: &Setting) -> Result<(), String> {
        let wrong = arguments::unknown_cache_type(&CARD, setting)
            .or_else(|| arguments::two_cache_types("vLLM", setting, TWO_IN_ONE))
            .or_else(|| arguments::no_flash_attention("vLLM", setting, "FLASH_ATTN or FLASHINFER"))
            .or_else(|| arguments::unknown_speculation(&CARD, "vLLM", setting))
            .or_else(|| arguments::unfit_draft(&CARD, setting, by_flag(setting)))
            .or_else(|| uncounted_drafts(setting))
            .or_else(|| {
                let drafts = CARD.takes_draft(&setting.speculation);
                option::misplaced(options::OPTIONS, setting, drafts)
            });
        wrong.map_or(Ok(()), Err)
    }

    fn introspection(&self, binary: &std::path::Path) -> Introspection {
        // It imports half of Python before it answers.
        Introspection {
            help: words(&["serve", "--help=all"]),
            limit: Duration::from_secs(600),
            ..Introspection::of(binary)
        }
    }

    fn build(&self, version: &str, help: &str) -> Build {
        Build {
            version: arguments::bare_version_of(version),
            flags: arguments::argparse_flags(help),
            values: arguments::argparse_values(help),
            speculation: arguments::argparse_choices(help, "--spec-method"),
            cache_types: arguments::argparse_choices(help, "--kv-cache-dtype"),
            flash_attention_value: false,
        }
    }

    fn argv(&self, cell: &Cell, launch: &Launch<'_>) -> Result<Argv> {
        let mut env: Vec<(String, String)> =
            ENV.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        env.extend(option::env(options::OPTIONS, &cell.setting));
        env.extend(launch.threads.map(|threads| ("OMP_NUM_THREADS".to_owned(), threads.to_string())));
        Ok(Argv { program: launch.binary.to_owned(), args: arguments(cell, launch)?, env })
    }

    fn measurements(&self, last: &Value) -> Vec<Measurement> {
        measurements(last)
    }

    fn effective(&self, log: &str, props: &Value) -> Effective {
        readback::effective(log, props)
    }

    fn deviations(&self, cell: &Cell, effective: &Effective) -> Vec<String> {
        readback::deviations(cell, effective)
    }
}

/// Whether the setting's own arguments say how to speculate.
fn by_flag(setting: &Setting) -> bool {
    setting.extra_args.iter().any(|arg| arg == "--speculative-config" || arg == "--spec-model")
}

fn uncounted_drafts(setting: &Setting) -> Option<String> {
    let name = setting.speculation.as_str();
    let told = setting.options.contains_key("spec_tokens") || by_flag(setting);
    (NEED_TOKENS.contains(&name) && !told).then(|| {
        format!("speculation `{name}` must say how many tokens it drafts: add `options.spec_tokens = 4`")
    })
}

/// The server's arguments. Later arguments win, so the suite's and the setting's come last.
fn arguments(cell: &Cell, launch: &Launch<'_>) -> Result<Vec<String>> {
    let (setting, build) = (&cell.setting, launch.build);
    let mut args = Args::default();
    args.word("serve");
    args.word(&launch.model.to_string_lossy());
    args.pair("--served-model-name", &setting.model);
    args.pair("--host", "127.0.0.1");
    args.pair("--port", launch.port.to_string());
    args.pair("--max-model-len", cell.context.to_string());
    args.pair(
        "--kv-cache-dtype",
        kept(known(&build.cache_types, &setting.k, "KV cache type", build)?, build)?,
    );
    args.extend(speculation(setting, launch)?);
    args.extend(option::words(options::OPTIONS, setting, build)?);
    if setting.options.contains_key("tool_call_parser") {
        args.word("--enable-auto-tool-choice");
    }
    args.extend(fixed_behaviour(setting, build));
    args.extend(launch.extra_args.iter().cloned());
    args.extend(setting.extra_args.iter().cloned());
    Ok(args.into())
}

/// A word that the build knows; a build that lists nothing is asked nothing.
fn known<'a>(list: &[String], word: &'a str, what: &str, build: &Build) -> Result<&'a str> {
    if list.is_empty() || list.iter().any(|name| name == word) {
        return Ok(word);
    }
    let near = nearest(word, list.iter().map(String::as_str));
    let hint =
        near.map_or_else(|| format!("it has {}", list.join(", ")), |near| format!("did you mean `{near}`?"));
    Err(Error::usage(format!("this vLLM ({}) has no {what} `{word}`", build.version)).hint(hint))
}

/// A KV cache type that the build keeps: on a processor it takes the others without a word, and answers nonsense.
fn kept<'a>(word: &'a str, build: &Build) -> Result<&'a str> {
    if !build.version.ends_with("+cpu") || ON_PROCESSORS.contains(&word) {
        return Ok(word);
    }
    let version = &build.version;
    Err(Error::usage(format!(
        "vLLM {version} takes the KV cache type `{word}` on a processor, and answers nonsense"
    ))
    .hint(format!("what it keeps there is {}", ON_PROCESSORS.join(", "))))
}

/// `--speculative-config {"method":..,"model":..,"num_speculative_tokens":..}`.
fn speculation(setting: &Setting, launch: &Launch<'_>) -> Result<Vec<String>> {
    let method = setting.speculation.as_str();
    if method == "off" {
        return Ok(Vec::new());
    }
    known(&launch.build.speculation, method, "speculation method", launch.build)?;
    let mut config = Map::new();
    config.insert("method".to_owned(), json!(method));
    if let Some(draft) = launch.draft {
        config.insert("model".to_owned(), json!(draft.to_string_lossy()));
    }
    let drafts = NEED_DRAFT_MODEL.contains(&method);
    for (key, parameter, value) in option::speculation(options::OPTIONS, setting, method, drafts) {
        if matches!(parameter.kind, OptionKind::CacheType(_)) {
            kept(value, launch.build)?;
        }
        config.insert(key.to_owned(), typed(parameter.kind, value));
    }
    Ok(vec!["--speculative-config".to_owned(), Value::Object(config).to_string()])
}

/// A checked value as JSON of its kind.
fn typed(kind: OptionKind, value: &str) -> Value {
    match kind {
        OptionKind::Int { .. } => value.parse::<i64>().map_or_else(|_| json!(value), |number| json!(number)),
        OptionKind::Number { .. } => {
            value.parse::<f64>().map_or_else(|_| json!(value), |number| json!(number))
        }
        OptionKind::Switch => json!(value == "true"),
        OptionKind::IntOr { .. } | OptionKind::Words(_) | OptionKind::CacheType(_) | OptionKind::Text => {
            json!(value)
        }
    }
}

/// What would otherwise be chosen by the server or by the model's folder, where this build has the choice.
fn fixed_behaviour(setting: &Setting, build: &Build) -> Vec<String> {
    let says = |option: &str| setting.options.contains_key(option);
    let mut args = Vec::new();
    if !says("prefix_caching") {
        args.extend(arguments::known_to(build, [&["--enable-prefix-caching"]]));
    }
    if !says("max_logprobs") {
        args.extend(arguments::known_to(build, [&["--max-logprobs", MAX_LOGPROBS]]));
    }
    let always = [
        // Sampling parameters come with every request, not from the model's folder.
        &["--generation-config", "vllm"][..],
        // What came from the cache, how long it took, what was drafted.
        &["--enable-prompt-tokens-details"],
        &["--enable-per-request-metrics"],
    ];
    args.extend(arguments::known_to(build, always));
    if setting.speculation != "off" {
        args.extend(arguments::known_to(build, [&["--per-request-spec-decode-metrics", "summary"]]));
    }
    args
}

/// The engine's own figures: counts from `usage`, times and drafts from `metrics` where the build sends them.
fn measurements(last: &Value) -> Vec<Measurement> {
    let number = |pointer: &str| last.pointer(pointer).and_then(Value::as_f64).filter(|n| *n >= 0.0);
    let prompt = number("/usage/prompt_tokens");
    let output = number("/usage/completion_tokens");
    let cached = number("/usage/prompt_tokens_details/cached_tokens");
    let drafted = number("/metrics/speculative_decoding/num_draft_tokens");
    let accepted = number("/metrics/speculative_decoding/num_accepted_draft_tokens");
    vec![
        figures::count(metric::PROMPT_TOKENS, prompt, figures::NO_PROMPT_COUNT),
        figures::count(metric::CACHED_TOKENS, cached, figures::NO_CACHE_COUNT),
        // From scheduling to the first token.
        figures::prefill(prompt, cached, number("/metrics/time_to_first_token_ms")),
        figures::decode(output, number("/metrics/generation_time_ms")),
        figures::count(metric::OUTPUT_TOKENS, output, figures::NO_OUTPUT_COUNT),
        figures::count(metric::DRAFT_TOKENS, drafted, figures::NO_DRAFT_COUNT),
        figures::count(metric::DRAFT_ACCEPTED, accepted, figures::NO_DRAFT_COUNT),
    ]
}

#[cfg(test)]
mod tests;
