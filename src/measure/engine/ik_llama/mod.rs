//! ik_llama.cpp's `llama-server`: a fork with other quants and caches, its own flags and its own way to name
//! speculation. Its binary has the same name as llama.cpp's: the help text tells them apart.
//!
//! It cuts an over-long prompt silently (HTTP 200 with fewer tokens): every trial is checked for that. Its `timings` have
//! no `cache_n`; `usage` says what came from the cache, and `n_past` how far the server is with the conversation.

use serde_json::{Value, json};

use super::arguments::{self, Args};
use super::capability::{Capability, Support};
use super::card::EngineCard;
use super::definition::Engine;
use super::launch::Launch;
use super::llama_family::{self, PLAIN_CACHE_TYPES};
use super::option;
use crate::error::{Error, Result};
use crate::measure::client::{Endpoints, wire};
use crate::record::suite::{Cell, FlashAttention, Setting};
use crate::record::{Argv, Build, Effective, Measurement};

mod options;
mod readback;

/// The engine `ik_llama.cpp`.
#[derive(Debug, Clone, Copy)]
pub struct IkLlama;

/// Speculation types of `--spec-type` in any build; a build says itself which ones it has.
const SPECULATION_TYPES: &[&str] = &[
    "off",
    "ngram-cache",
    "ngram-simple",
    "ngram-map-k",
    "ngram-map-k4v",
    "ngram-mod",
    "suffix",
    "mtp",
    "draft",
    "dflash",
];

/// Speculation types that need a second model.
const NEED_DRAFT_MODEL: &[&str] = &["draft", "dflash"];

/// Flags of `docs/parameters.md` that its help leaves out.
const UNLISTED_FLAGS: &[&str] = &["-ot", "--override-tensor"];

/// What kneepoint knows of it without asking.
static CARD: EngineCard = EngineCard {
    name: "ik_llama.cpp",
    summary: "ik_llama.cpp's llama-server, from a path or from PATH",
    binaries: &["llama-server"],
    cache_types: options::CACHE_TYPES,
    speculation_types: SPECULATION_TYPES,
    draft_types: NEED_DRAFT_MODEL,
    options: options::OPTIONS,
    wire: &wire::LlamaCpp,
    // Its `/completion` lists texts without token ids.
    endpoints: Endpoints { completion: Some("/v1/completions"), ..llama_family::ENDPOINTS },
    properties: &["/props"],
    limits: &[
        (
            Capability::PromptLogprobs,
            Support::Partly("by decode steps over the server's cache, not all at once"),
        ),
        (Capability::Effective, Support::Partly("its log names no type of speculation")),
    ],
    refusals: llama_family::REFUSALS,
    measuring_arguments: &[&["-np", "1"], &["--cache-ram", "0"], &["--metrics"], &["--webui", "none"]],
    ..EngineCard::PLAIN
};

impl Engine for IkLlama {
    fn card(&self) -> &'static EngineCard {
        &CARD
    }

    fn validate(&self, setting: &Setting) -> Result<(), String> {
        let wrong = arguments::unknown_cache_type(&CARD, setting)
            .or_else(|| quantised_v_without_flash_attention(setting))
            .or_else(|| unfit_stages(setting))
            .or_else(|| arguments::unfit_draft(&CARD, setting, names_draft(setting)))
            .or_else(|| unfit_options(setting));
        wrong.map_or(Ok(()), Err)
    }

    fn recognises(&self, help: &str) -> bool {
        llama_family::is_ik_llama_help(help)
    }

    fn build(&self, version: &str, help: &str) -> Build {
        let mut flags: Vec<String> = help
            .lines()
            .flat_map(flags_of)
            .chain(UNLISTED_FLAGS.iter().copied())
            .map(str::to_owned)
            .collect();
        flags.sort();
        flags.dedup();
        Build {
            version: arguments::version_of(version),
            flags,
            values: Vec::new(),
            speculation: speculation_of(help),
            cache_types: llama_family::cache_types_of(help),
            flash_attention_value: help.contains("(auto|on|off"),
        }
    }

    fn argv(&self, cell: &Cell, launch: &Launch<'_>) -> Result<Argv> {
        Ok(Argv {
            program: launch.binary.to_owned(),
            args: arguments(cell, launch)?,
            env: launch.library_path.map(arguments::library_path).into_iter().collect(),
        })
    }

    fn measurements(&self, last: &Value) -> Vec<Measurement> {
        llama_family::measurements(&with_prompt_tokens(last))
    }

    fn effective(&self, log: &str, props: &Value) -> Effective {
        readback::effective(log, props)
    }

    fn deviations(&self, cell: &Cell, effective: &Effective) -> Vec<String> {
        // Its flash attention is on or off: `auto` means on.
        llama_family::deviations(cell, effective)
    }
}

/// A reply of `/completion` has no `usage`, but `n_past`: the tokens of the prompt and all but the last of the reply.
fn with_prompt_tokens(last: &Value) -> Value {
    let number = |pointer: &str| last.pointer(pointer).and_then(Value::as_u64);
    let (Some(past), Some(made), Some(read), None) = (
        number("/timings/n_past"),
        number("/timings/predicted_n"),
        number("/timings/prompt_n"),
        last.get("usage"),
    ) else {
        return last.clone();
    };
    let prompt = (past + 1).saturating_sub(made);
    let mut last = last.clone();
    last["usage"] = json!({
        "prompt_tokens": prompt,
        "completion_tokens": made,
        "prompt_tokens_details": { "cached_tokens": prompt.saturating_sub(read) },
    });
    last
}

fn quantised_v_without_flash_attention(setting: &Setting) -> Option<String> {
    let quantised = !PLAIN_CACHE_TYPES.contains(&setting.v.as_str());
    (quantised && setting.flash_attention == FlashAttention::Off).then(|| {
        let kind = &setting.v;
        format!("a quantised V cache (`{kind}`) needs flash attention: set `flash_attention = \"on\"`, or `v` to f16")
    })
}

/// One stage, or an n-gram or suffix stage before one that drafts with the model: what its parser takes.
fn unfit_stages(setting: &Setting) -> Option<String> {
    let stages: Vec<&str> = setting.speculation.split(',').collect();
    if let Some(name) = stages.iter().find(|name| !SPECULATION_TYPES.contains(name)) {
        return Some(arguments::unknown("ik_llama.cpp", "speculation type", name, SPECULATION_TYPES));
    }
    let looks_back = |name: &str| options::NGRAM.contains(&name) || name == "suffix";
    match stages.as_slice() {
        [_] => None,
        [first, second] if looks_back(first) && ["mtp", "draft"].contains(second) => None,
        [_, _] => Some(format!(
            "speculation `{}`: of two stages the first must be an n-gram type or `suffix`, the second `mtp` or `draft`",
            setting.speculation
        )),
        _ => Some(format!("speculation `{}`: at most two stages are supported", setting.speculation)),
    }
}

/// Whether the setting's own arguments name a draft model.
fn names_draft(setting: &Setting) -> bool {
    setting.extra_args.iter().any(|arg| arg == "-md" || arg == "--model-draft")
}

fn unfit_options(setting: &Setting) -> Option<String> {
    let drafts = setting.speculation.split(',').any(|name| NEED_DRAFT_MODEL.contains(&name));
    let quoted = setting.options.get("suffix_corpus").is_some_and(|path| path.contains('\''));
    option::misplaced(options::OPTIONS, setting, drafts)
        .or_else(|| quoted.then(|| "option `suffix_corpus` cannot hold a quote".to_owned()))
}

/// The flags of a line of the help: definitions are indented by up to nine spaces, descriptions by 34.
fn flags_of(line: &str) -> impl Iterator<Item = &str> {
    let indent = line.len() - line.trim_start().len();
    let line = if (1..=10).contains(&indent) { line.trim_start() } else { "" };
    line.split_whitespace()
        .take_while(|word| word.starts_with('-'))
        .map(|word| word.trim_end_matches(','))
        .filter(|flag| flag.trim_start_matches('-').starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// The list after `types:` in the description of `--spec-type`, without `none`.
fn speculation_of(help: &str) -> Vec<String> {
    let mut lines = help.lines().skip_while(|line| !line.trim_start().starts_with("--spec-type "));
    lines.next();
    let list = lines.take(3).find_map(|line| line.trim().strip_prefix("types:"));
    let names = list.into_iter().flat_map(|list| list.split(','));
    names.map(str::trim).filter(|name| !name.is_empty() && *name != "none").map(str::to_owned).collect()
}

/// The server's arguments. Later arguments win, so the suite's and the setting's come last.
fn arguments(cell: &Cell, launch: &Launch<'_>) -> Result<Vec<String>> {
    let (setting, build) = (&cell.setting, launch.build);
    let mut args = Args::default();
    args.pair("-m", launch.model.to_string_lossy());
    args.pair("--host", "127.0.0.1");
    args.pair("--port", launch.port.to_string());
    // Each slot has its share of the whole.
    args.pair("-c", (u64::from(cell.context) * u64::from(launch.slots)).to_string());
    args.pair("-np", launch.slots.to_string());
    args.extend(flash_attention(setting.flash_attention, build));
    args.pair("-ctk", &setting.k);
    args.pair("-ctv", &setting.v);
    args.extend(speculation(setting, build)?);
    if let Some(draft) = launch.draft {
        args.pair("-md", draft.to_string_lossy());
    }
    if let Some(threads) = launch.threads.filter(|_| !setting.options.contains_key("threads")) {
        args.pair("-t", threads.to_string());
    }
    if build.has("-ngl") && !setting.options.contains_key("gpu_layers") {
        args.pair("-ngl", if launch.gpu { "999" } else { "0" });
    }
    args.extend(option::words(options::OPTIONS, setting, build)?);
    args.extend(fixed_behaviour(build));
    args.extend(launch.extra_args.iter().cloned());
    args.extend(setting.extra_args.iter().cloned());
    Ok(args.into())
}

/// `-fa on|off`; builds before autumn 2025 had the switch `-fa` alone, and off was the default.
fn flash_attention(wanted: FlashAttention, build: &Build) -> Vec<String> {
    let on = wanted != FlashAttention::Off;
    let words: &[&str] = match (build.flash_attention_value, on) {
        (true, true) => &["-fa", "on"],
        (true, false) => &["-fa", "off"],
        (false, true) => &["-fa"],
        (false, false) => &[],
    };
    words.iter().map(|&word| word.to_owned()).collect()
}

/// `--spec-type TYPE:key=value,..`, once a stage.
fn speculation(setting: &Setting, build: &Build) -> Result<Vec<String>> {
    if setting.speculation == "off" {
        return Ok(Vec::new());
    }
    let mut words = Vec::new();
    for kind in setting.speculation.split(',') {
        if !build.speculation.iter().any(|known| known == kind) {
            let has = match build.speculation.as_slice() {
                [] => "its help lists no types of speculation by stage: use a newer build".to_owned(),
                types => format!("it has {}", types.join(", ")),
            };
            let message = format!("this llama-server ({}) has no speculation type `{kind}`", build.version);
            return Err(Error::usage(message).hint(has));
        }
        let drafts = NEED_DRAFT_MODEL.contains(&kind);
        let parameters: Vec<String> = option::speculation(options::OPTIONS, setting, kind, drafts)
            .map(
                |(key, _, value)| {
                    if value.contains(',') { format!("{key}='{value}'") } else { format!("{key}={value}") }
                },
            )
            .collect();
        words.push("--spec-type".to_owned());
        words.push(match parameters.as_slice() {
            [] => kind.to_owned(),
            _ => format!("{kind}:{}", parameters.join(",")),
        });
    }
    Ok(words)
}

/// What would otherwise be chosen by the server, where this build has the choice.
fn fixed_behaviour(build: &Build) -> Vec<String> {
    let words = [
        // A full context is an error of its own, never a silently shifted one.
        &["--no-context-shift"][..],
        // Every trial computes its own prompt.
        &["--cache-ram", "0"],
        &["--jinja"],
        &["--metrics"],
        &["--webui", "none"],
    ];
    arguments::known_to(build, words)
}

#[cfg(test)]
mod tests;
