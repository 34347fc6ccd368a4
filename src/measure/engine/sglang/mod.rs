//! SGLang: `sglang serve`, or `python -m sglang.launch_server` when the binary is a Python.
//!
//! Run on an H100 and an H200 with version 0.5.17; command lines are tested against its help, decoders against its replies.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::arguments::{self, Args};
use super::capability::{Capability, Support};
use super::card::{EngineCard, FlagStyle, Introspection, ModelForm, words};
use super::definition::Engine;
use super::launch::Launch;
use super::{figures, option};
use crate::error::Result;
use crate::measure::client::{Endpoints, wire};
use crate::record::suite::{Cell, FlashAttention, Setting};
use crate::record::{Argv, Build, Effective, Measurement, Placement, Source, metric};

mod options;
mod readback;

/// The engine `sglang`.
#[derive(Debug, Clone, Copy)]
pub struct Sglang;

/// Types of `--kv-cache-dtype`.
const CACHE_TYPES: &[&str] =
    &["auto", "bf16", "bfloat16", "fp8_e5m2", "fp8_e4m3", "mxfp8", "nvfp4", "fp4_mx_block16", "fp4_e2m1"];

/// Algorithms of `--speculative-algorithm`.
const SPECULATION_TYPES: &[&str] =
    &["off", "EAGLE", "EAGLE3", "NEXTN", "STANDALONE", "NGRAM", "DFLASH", "DSPARK"];

/// Algorithms that need a second model; NEXTN has its heads in the model.
const NEED_DRAFT_MODEL: &[&str] = &["EAGLE", "EAGLE3", "STANDALONE", "DFLASH", "DSPARK"];

/// What kneepoint knows of it without asking.
static CARD: EngineCard = EngineCard {
    name: "sglang",
    summary: "SGLang's server, from a path (`sglang` or a Python that has it) or from PATH; models are folders with safetensors",
    binaries: &["sglang"],
    cache_types: CACHE_TYPES,
    default_cache_type: "auto",
    default_flash_attention: FlashAttention::Auto,
    speculation_types: SPECULATION_TYPES,
    draft_types: NEED_DRAFT_MODEL,
    options: options::OPTIONS,
    flag_style: FlagStyle::Argparse,
    model_form: ModelForm::FolderOrFile,
    wire: &wire::Sglang,
    endpoints: Endpoints {
        // `/health_generate` makes a token for each question, beside the measured ones.
        health: "/health",
        prompt_logprobs: Some("/generate"),
        tokenize: Some("/tokenize"),
        props: Some("/server_info"),
        metrics: Some("/metrics"),
        ..Endpoints::OPENAI
    },
    properties: // The second name is the one of builds before 2026.
        &["/server_info", "/get_server_info"],
    limits: &[
        (Capability::Timings, Support::No("its chat replies hold no times")),
        (
            Capability::TokenLogprobs,
            Support::Partly("a request a token, over its radix cache"),
        ),
        (Capability::PromptLogprobs, Support::Partly("a request a position, over its radix cache")),
        (Capability::Tools, Support::Partly("needs the option tool_call_parser")),
        (Capability::Memory, Support::Partly("weights and the pool of the KV cache")),
        (
            Capability::Speculation,
            Support::Partly("its chat replies hold no counts of drafted tokens"),
        ),
    ],
    refusals: &["notimplementederror: "],
    measuring_arguments: &[&["--enable-cache-report"], &["--enable-metrics"], &["--sampling-defaults", "openai"]],
    // It takes five seconds and more to bring its workers down (0.5.17).
    grace: Duration::from_secs(30),
    cache_report: Some(("--enable-cache-report", "")),
    beyond_trained: "SGLang refuses to start unless json_model_override_args scales the positions",
    placement: Placement::Cards,
    ..EngineCard::PLAIN
};

impl Engine for Sglang {
    fn card(&self) -> &'static EngineCard {
        &CARD
    }

    fn validate(&self, setting: &Setting) -> Result<(), String> {
        let wrong = arguments::unknown_cache_type(&CARD, setting)
            .or_else(|| arguments::two_cache_types("SGLang", setting, ""))
            .or_else(|| arguments::no_flash_attention("SGLang", setting, "fa3 or flashinfer"))
            .or_else(|| arguments::unknown_speculation(&CARD, "SGLang", setting))
            .or_else(|| arguments::unfit_draft(&CARD, setting, names_draft(setting)))
            .or_else(|| {
                let drafts = CARD.takes_draft(&setting.speculation);
                option::misplaced(options::OPTIONS, setting, drafts)
            });
        wrong.map_or(Ok(()), Err)
    }

    fn introspection(&self, binary: &Path) -> Introspection {
        let (version, help) = match is_python(binary) {
            true => (
                words(&["-c", "import sglang; print(sglang.__version__)"]),
                words(&["-m", "sglang.launch_server", "--help"]),
            ),
            false => (words(&["version"]), words(&["serve", "--help"])),
        };
        Introspection { version, help, limit: Duration::from_secs(240), ..Introspection::of(binary) }
    }

    fn build(&self, version: &str, help: &str) -> Build {
        let numbered = arguments::bare_version_of(version);
        let version = if numbered.is_empty() { arguments::version_of(version) } else { numbered };
        Build {
            version,
            flags: arguments::argparse_flags(help),
            speculation: algorithms(help),
            values: arguments::argparse_values(help),
            cache_types: arguments::argparse_choices(help, "--kv-cache-dtype"),
            flash_attention_value: false,
        }
    }

    fn argv(&self, cell: &Cell, launch: &Launch<'_>) -> Result<Argv> {
        let mut env = vec![("HF_HUB_OFFLINE".to_owned(), "1".to_owned())];
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

/// A Python, which then has to be told which module to run.
fn is_python(binary: &Path) -> bool {
    binary.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python"))
}

/// Whether the setting's own arguments name a draft model.
fn names_draft(setting: &Setting) -> bool {
    setting.extra_args.iter().any(|arg| arg.starts_with("--speculative-draft-model"))
}

/// The server's arguments. Later arguments win, so the suite's and the setting's come last.
fn arguments(cell: &Cell, launch: &Launch<'_>) -> Result<Vec<String>> {
    let setting = &cell.setting;
    let mut args = Args::default();
    match is_python(launch.binary) {
        true => args.pair("-m", "sglang.launch_server"),
        false => args.word("serve"),
    }
    args.pair("--model-path", launch.model.to_string_lossy());
    args.pair("--served-model-name", &setting.model);
    args.pair("--host", "127.0.0.1");
    args.pair("--port", launch.port.to_string());
    args.pair("--context-length", cell.context.to_string());
    args.pair("--kv-cache-dtype", &setting.k);
    if setting.speculation != "off" {
        args.pair("--speculative-algorithm", &setting.speculation);
    }
    if let Some(draft) = launch.draft {
        args.pair("--speculative-draft-model-path", draft.to_string_lossy());
    }
    args.extend(option::words(options::OPTIONS, setting, launch.build)?);
    args.extend(fixed_behaviour(launch.build));
    args.extend(launch.extra_args.iter().cloned());
    args.extend(setting.extra_args.iter().cloned());
    Ok(args.into())
}

/// Algorithms of speculation that the help lists, as choices or (0.5.17) in words: `Builtins: EAGLE, .., DSPARK. Or any name`.
fn algorithms(help: &str) -> Vec<String> {
    let flag = "--speculative-algorithm";
    let choices = arguments::argparse_choices(help, flag);
    if !choices.is_empty() {
        return choices;
    }
    let described = arguments::argparse_description(help, flag);
    let Some((_, list)) = described.split_once("Builtins: ") else { return Vec::new() };
    let list = list.split('.').next().unwrap_or_default();
    let names = list.split(',').map(str::trim).filter(|name| option::may_be_type(name));
    names.map(str::to_owned).collect()
}

/// What would otherwise be chosen by the server or by the model's folder, where this build has the choice.
fn fixed_behaviour(build: &Build) -> Vec<String> {
    let words = [
        // What came from the cache.
        &["--enable-cache-report"][..],
        &["--enable-metrics"],
        // Sampling parameters come with every request, not from the model's folder.
        &["--sampling-defaults", "openai"],
    ];
    arguments::known_to(build, words)
}

/// The engine's own figures: counts from `usage`, or from `meta_info` of a reply of `/generate`. Names of the counts of
/// drafts changed between versions.
fn measurements(last: &Value) -> Vec<Measurement> {
    let first = |pointers: &[&str]| {
        let found = pointers.iter().find_map(|pointer| last.pointer(pointer)?.as_f64());
        found.filter(|n| *n >= 0.0)
    };
    let prompt = first(&["/usage/prompt_tokens", "/meta_info/prompt_tokens"]);
    let cached = first(&["/usage/prompt_tokens_details/cached_tokens", "/meta_info/cached_tokens"]);
    let output = first(&["/usage/completion_tokens", "/meta_info/completion_tokens"]);
    let drafted = first(&["/meta_info/spec_num_proposed_drafts", "/meta_info/spec_draft_token_num"]);
    let accepted = first(&["/meta_info/spec_num_correct_drafts", "/meta_info/spec_accept_token_num"]);
    let untimed = "the reply holds no times";
    vec![
        figures::count(metric::PROMPT_TOKENS, prompt, figures::NO_PROMPT_COUNT),
        figures::count(metric::CACHED_TOKENS, cached, figures::NO_CACHE_COUNT),
        Measurement::absent(metric::PREFILL_TPS, Source::Engine, untimed),
        Measurement::absent(metric::DECODE_TPS, Source::Engine, untimed),
        figures::count(metric::OUTPUT_TOKENS, output, figures::NO_OUTPUT_COUNT),
        figures::count(metric::DRAFT_TOKENS, drafted, figures::NO_DRAFT_COUNT),
        figures::count(metric::DRAFT_ACCEPTED, accepted, figures::NO_DRAFT_COUNT),
    ]
}

#[cfg(test)]
mod tests;
