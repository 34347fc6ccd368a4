//! llama.cpp's `llama-server`.
//!
//! Flags have changed names over the years, so the binary is asked (`--help`) before a command line is
//! made. Everything that the server would otherwise choose by itself (slots, context shift, prompt cache,
//! fitting to the device) is fixed, and what it really runs is read back from its log.

use serde_json::Value;

use super::arguments::{self, Args};
use super::capability::{Capability, Support};
use super::card::{EngineCard, FlagStyle};
use super::definition::Engine;
use super::launch::Launch;
use super::llama_family::{self, PLAIN_CACHE_TYPES};
use super::option;
use crate::error::{Error, Result};
use crate::measure::client::wire;
use crate::record::suite::{Cell, FlashAttention, Setting};
use crate::record::{Argv, Build, Effective, Measurement, Placement};

mod options;
mod readback;

/// The engine `llama.cpp`.
#[derive(Debug, Clone, Copy)]
pub struct LlamaCpp;

/// Speculation types of `--spec-type` in any build; a build says itself which ones it has.
const SPECULATION_TYPES: &[&str] = &[
    "off",
    "ngram-simple",
    "ngram-map-k",
    "ngram-map-k4v",
    "ngram-mod",
    "ngram-cache",
    "draft-simple",
    "draft-eagle3",
    "draft-mtp",
    "draft-dflash",
    "draft-dspark",
];

/// Speculation types that need a second model.
const NEED_DRAFT_MODEL: &[&str] = &["draft-simple", "draft-eagle3", "draft-dflash", "draft-dspark"];

/// Flags that name a second model.
const DRAFT_MODEL_FLAGS: &[&str] = &["-md", "--model-draft", "--spec-draft-model"];

/// Flags of build 10068 (the pinned package) that [`arguments`] asks about, sorted.
const PINNED_FLAGS: &[&str] = &[
    "--cache-ram",
    "--device",
    "--fit",
    "--jinja",
    "--log-verbosity",
    "--metrics",
    "--n-gpu-layers",
    "--no-context-shift",
    "--no-kv-unified",
    "--no-ui",
    "--slots",
    "--spec-type",
];

/// What kneepoint knows of it without asking.
static CARD: EngineCard = EngineCard {
    name: "llama.cpp",
    summary: "llama.cpp's llama-server, from a path, from PATH or from a pinned package",
    binaries: &["llama-server"],
    cache_types: options::CACHE_TYPES,
    speculation_types: SPECULATION_TYPES,
    draft_types: NEED_DRAFT_MODEL,
    options: options::OPTIONS,
    flag_style: FlagStyle::Apart,
    wire: &wire::LlamaCpp,
    endpoints: llama_family::ENDPOINTS,
    properties: &["/props"],
    limits: &[
        (
            Capability::PromptLogprobs,
            Support::Partly("by decode steps over the server's cache, not all at once"),
        ),
        (
            Capability::Effective,
            Support::Partly("all from its log; a server that is attached to shows its properties only"),
        ),
    ],
    refusals: llama_family::REFUSALS,
    measuring_arguments: &[
        &["-np", "1"],
        &["--cache-ram", "0"],
        &["--metrics"],
        &["--slots"],
        &["--no-ui"],
        &["--no-webui"],
        &["--log-verbosity", "4"],
    ],
    beyond_trained: // Seen with builds 10068 and later: neither `--rope-scaling` nor `--rope-scale` lifts it.
        "llama-server gives a slot no more than the file's own context length, whatever rope scaling says, so these cells would be void (the option override_kv = \"ARCH.context_length=int:N\" lifts it)",
    placement: Placement::Logged,
    ..EngineCard::PLAIN
};

impl Engine for LlamaCpp {
    fn card(&self) -> &'static EngineCard {
        &CARD
    }

    fn recognises(&self, help: &str) -> bool {
        !llama_family::is_ik_llama_help(help)
    }

    fn validate(&self, setting: &Setting) -> Result<(), String> {
        let wrong = arguments::unknown_cache_type(&CARD, setting)
            .or_else(|| quantised_v_without_flash_attention(setting))
            .or_else(|| unknown_speculation(setting))
            .or_else(|| arguments::unfit_draft(&CARD, setting, names_draft(setting)))
            .or_else(|| unfit_options(setting));
        wrong.map_or(Ok(()), Err)
    }

    fn build(&self, version: &str, help: &str) -> Build {
        Build {
            version: arguments::version_of(version),
            flags: flags(help),
            values: values(help),
            speculation: speculation_of(help),
            cache_types: llama_family::cache_types_of(help),
            flash_attention_value: help
                .lines()
                .any(|line| flags_of(line).any(|flag| flag == "--flash-attn") && line.contains("on|off")),
        }
    }

    fn pinned_build(&self) -> Build {
        Build {
            version: "1 (571d0d5)".to_owned(),
            values: Vec::new(),
            flags: PINNED_FLAGS.iter().map(|&flag| flag.to_owned()).collect(),
            speculation: SPECULATION_TYPES
                .iter()
                .filter(|&&name| name != "off" && name != "draft-dspark")
                .map(|&name| name.to_owned())
                .collect(),
            cache_types: options::CACHE_TYPES.iter().map(|&name| name.to_owned()).collect(),
            flash_attention_value: true,
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
        llama_family::measurements(last)
    }

    fn effective(&self, log: &str, props: &Value) -> Effective {
        readback::effective(log, props)
    }

    fn deviations(&self, cell: &Cell, effective: &Effective) -> Vec<String> {
        llama_family::deviations(cell, effective)
    }
}

fn quantised_v_without_flash_attention(setting: &Setting) -> Option<String> {
    let drafts = setting.options.get("draft_v").map(|kind| ("draft_v", kind));
    let sides = std::iter::once(("v", &setting.v)).chain(drafts);
    let (side, kind) = sides.into_iter().find(|(_, kind)| !PLAIN_CACHE_TYPES.contains(&kind.as_str()))?;
    (setting.flash_attention == FlashAttention::Off).then(|| {
        format!(
            "a quantised V cache (`{kind}`) needs flash attention: set `flash_attention = \"on\"`, or `{side}` to f16"
        )
    })
}

fn unknown_speculation(setting: &Setting) -> Option<String> {
    for name in setting.speculation.split(',') {
        if !SPECULATION_TYPES.contains(&name) {
            return Some(arguments::unknown("llama.cpp", "speculation type", name, SPECULATION_TYPES));
        }
        if name == "off" && setting.speculation != "off" {
            return Some("speculation `off` cannot be combined with other types".to_owned());
        }
    }
    None
}

/// Whether the setting's own arguments name a draft model.
fn names_draft(setting: &Setting) -> bool {
    setting.extra_args.iter().any(|arg| DRAFT_MODEL_FLAGS.contains(&arg.as_str()))
}

/// Options that belong elsewhere, or that contradict each other.
fn unfit_options(setting: &Setting) -> Option<String> {
    let drafts = setting.speculation.split(',').any(|name| NEED_DRAFT_MODEL.contains(&name));
    let number = |name: &str| setting.options.get(name).and_then(|value| value.parse::<u64>().ok());
    let is = |name: &str, word: &str| setting.options.get(name).is_some_and(|value| value == word);
    let above = |small: &str, large: &str| {
        let (low, high) = (number(small)?, number(large)?);
        (low > high).then(|| format!("option `{small}` ({low}) is larger than `{large}` ({high})"))
    };
    option::misplaced(options::OPTIONS, setting, drafts)
        .or_else(|| above("ubatch", "batch"))
        .or_else(|| above("draft_min", "draft_max"))
        .or_else(|| above("ngram_mod_min", "ngram_mod_max"))
        .or_else(|| {
            (is("cpu_moe", "true") && setting.options.contains_key("n_cpu_moe"))
                .then(|| "options `cpu_moe` and `n_cpu_moe` say two things about the same experts".to_owned())
        })
        .or_else(|| {
            (is("split_mode", "none") && setting.options.contains_key("tensor_split")).then(|| {
                "option `tensor_split` splits what `split_mode = \"none\"` keeps on one GPU".to_owned()
            })
        })
}

/// The flags that a help text defines, sorted; those that it names only to say that they are gone are left out.
fn flags(help: &str) -> Vec<String> {
    let lines: Vec<&str> = help.lines().collect();
    let gone = |at: usize| {
        let more = lines[at + 1..].iter().take_while(|line| line.starts_with(' '));
        std::iter::once(&lines[at]).chain(more).any(|line| line.contains("argument has been removed"))
    };
    let known = (0..lines.len()).filter(|&at| !gone(at)).flat_map(|at| flags_of(lines[at]));
    let mut flags: Vec<String> = known.map(str::to_owned).collect();
    flags.sort();
    flags.dedup();
    flags
}

/// The flags that are followed by a value, sorted.
fn values(help: &str) -> Vec<String> {
    let mut flags: Vec<String> =
        help.lines().filter(|line| takes_value(line)).flat_map(flags_of).map(str::to_owned).collect();
    flags.sort();
    flags.dedup();
    flags
}

/// Whether a line of `--help` names a value behind its flags: one space before it, where a description has more.
fn takes_value(line: &str) -> bool {
    let last = flags_of(line).last();
    let rest = last.and_then(|flag| line.split_once(flag)).map_or("", |(_, rest)| rest);
    rest.strip_prefix(' ').is_some_and(|value| value.starts_with(|c: char| !c.is_whitespace()))
}

/// The flags that a line of `--help` defines. Definitions start in the first column, descriptions do not.
fn flags_of(line: &str) -> impl Iterator<Item = &str> {
    line.split_whitespace()
        .take_while(|word| word.starts_with('-') && line.starts_with('-'))
        .map(|word| word.trim_end_matches(','))
        .filter(|flag| flag.trim_start_matches('-').starts_with(|c: char| c.is_ascii_alphanumeric()))
}

/// The list of types that follows `--spec-type` in the help, without `none`.
fn speculation_of(help: &str) -> Vec<String> {
    help.lines()
        .find_map(|line| line.strip_prefix("--spec-type "))
        .and_then(|rest| rest.split_whitespace().next())
        .map(|list| list.trim_matches(['[', ']', '{', '}']).split([',', '|']))
        .into_iter()
        .flatten()
        .filter(|name| *name != "none" && !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The server's arguments. Later arguments win, so the suite's and the setting's come last.
fn arguments(cell: &Cell, launch: &Launch<'_>) -> Result<Vec<String>> {
    let setting = &cell.setting;
    let mut args = Args::default();
    args.pair("-m", launch.model.to_string_lossy());
    args.pair("--host", "127.0.0.1");
    args.pair("--port", launch.port.to_string());
    args.extend(slots(cell.context, launch));
    args.extend(flash_attention(setting.flash_attention, launch.build)?);
    args.pair("-ctk", &setting.k);
    args.pair("-ctv", &setting.v);
    args.extend(speculation(&setting.speculation, launch.build)?);
    if let Some(draft) = launch.draft {
        args.pair("-md", draft.to_string_lossy());
    }
    if let Some(threads) = launch.threads.filter(|_| !setting.options.contains_key("threads")) {
        args.pair("-t", threads.to_string());
    }
    args.extend(devices(launch, setting));
    args.extend(option::words(options::OPTIONS, setting, launch.build)?);
    args.extend(fixed_behaviour(launch.build));
    args.extend(launch.extra_args.iter().cloned());
    args.extend(setting.extra_args.iter().cloned());
    Ok(args.into())
}

/// The server divides its context evenly among its slots, unless they share one cache: then a slot may take what
/// another needs.
fn slots(context: u32, launch: &Launch<'_>) -> Vec<String> {
    let whole = u64::from(context) * u64::from(launch.slots);
    let mut args = Args::default();
    args.pair("-c", whole.to_string());
    args.pair("-np", launch.slots.to_string());
    if launch.slots > 1 && launch.build.has("--no-kv-unified") {
        args.word("--no-kv-unified");
    }
    args.into()
}

/// `-fa on|off|auto`; builds before autumn 2025 only have the switch `-fa`.
fn flash_attention(wanted: FlashAttention, build: &Build) -> Result<Vec<String>> {
    if build.flash_attention_value {
        return Ok(vec!["-fa".to_owned(), wanted.name().to_owned()]);
    }
    match wanted {
        FlashAttention::On => Ok(vec!["-fa".to_owned()]),
        FlashAttention::Off => Ok(Vec::new()),
        FlashAttention::Auto => Err(Error::usage(format!(
            "this llama-server ({}) cannot choose flash attention by itself",
            build.version
        ))
        .hint("set `flash_attention` to \"on\" or \"off\", or use a newer build")),
    }
}

fn speculation(wanted: &str, build: &Build) -> Result<Vec<String>> {
    if wanted == "off" {
        return Ok(Vec::new());
    }
    if !build.has("--spec-type") {
        return Err(Error::usage(format!(
            "this llama-server ({}) has no `--spec-type`: it cannot run speculation `{wanted}`",
            build.version
        ))
        .hint("use a newer build: leave `engine.binary` out and kneepoint fetches its pinned one")
        .hint("or leave speculation out of the suite: `speculation = [\"off\"]`"));
    }
    for name in wanted.split(',') {
        if !build.speculation.is_empty() && !build.speculation.iter().any(|known| known == name) {
            return Err(Error::usage(format!(
                "this llama-server ({}) has no speculation type `{name}`",
                build.version
            ))
            .hint(format!("it has {}", build.speculation.join(", "))));
        }
    }
    Ok(vec!["--spec-type".to_owned(), wanted.to_owned()])
}

/// Without a GPU the server is kept from probing for one; with one, every layer goes there (old builds
/// would leave them all on the CPU), unless the setting says how many.
fn devices(launch: &Launch<'_>, setting: &Setting) -> Vec<String> {
    if launch.gpu && setting.options.contains_key("gpu_layers") {
        return Vec::new();
    }
    let (flag, value) = if launch.gpu { ("--n-gpu-layers", "999") } else { ("--device", "none") };
    if launch.build.has(flag) { vec![flag.to_owned(), value.to_owned()] } else { Vec::new() }
}

/// What would otherwise be chosen by the server, where this build has the choice.
fn fixed_behaviour(build: &Build) -> Vec<String> {
    let no_ui = if build.has("--no-ui") { "--no-ui" } else { "--no-webui" };
    let words = [
        // A full context is an error of its own, never a silently shifted one.
        &["--no-context-shift"][..],
        // Every trial computes its own prompt.
        &["--cache-ram", "0"],
        // The server must not shrink the context to make it fit.
        &["--fit", "off"],
        &["--jinja"],
        &["--metrics"],
        &["--slots"],
        &[no_ui],
        // At the default of 3 the log does not name cache types, buffers and flash attention.
        &["--log-verbosity", "4"],
    ];
    arguments::known_to(build, words)
}

#[cfg(test)]
mod tests;
