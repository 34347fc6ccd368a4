//! TabbyAPI with exllamav3: `main.py --config FILE`.
//!
//! Written from its source (August 2026: `config_sample.yml`, `common/config_models.py`, `endpoints/`) and never run:
//! the configuration file and the bodies of requests are tested against what that reads, decoders against what it writes.
//!
//! It reads its configuration from a file and, beside `--config`, no other argument. Its cache of prefixes cannot be
//! turned off, and no reply says what came from it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::capability::{Capability, Support};
use super::card::{EngineCard, Introspection, ModelForm, words};
use super::definition::Engine;
use super::launch::Launch;
use super::{arguments, figures, option};
use crate::error::{Error, Result};
use crate::measure::client::Endpoints;
use crate::record::suite::{Cell, FlashAttention, Setting};
use crate::record::{Argv, Build, Effective, Measurement, Placement, Source, metric};

mod config;
mod options;
mod readback;
mod wire;

/// The engine `tabbyapi`.
#[derive(Debug, Clone, Copy)]
pub struct TabbyApi;

/// Bits of one side of the cache; the two sides may differ, but both are quantised or neither is.
const CACHE_TYPES: &[&str] = &[config::PLAIN, "Q2", "Q3", "Q4", "Q5", "Q6", "Q7", "Q8"];

/// What kneepoint knows of it without asking.
static CARD: EngineCard = EngineCard {
    name: "tabbyapi",
    summary: "TabbyAPI with exllamav3, from the path of its `main.py` or of a script that starts it; models are folders with EXL3 weights",
    experimental: true,
    binaries: &["tabbyapi"],
    cache_types: CACHE_TYPES,
    default_cache_type: config::PLAIN,
    default_flash_attention: FlashAttention::Auto,
    speculation_types: &["off", "model", "mtp", "ngram"],
    draft_types: &["model"],
    options: options::OPTIONS,
    model_form: ModelForm::Folder,
    wire: &wire::Tabby,
    endpoints: Endpoints {
        health: "/health",
        tokenize: Some("/v1/token/encode"),
        props: Some("/v1/model"),
        ..Endpoints::OPENAI
    },
    properties: &["/v1/model"],
    config_file: Some("config.yml"),
    limits: &[
        (
            Capability::Timings,
            Support::Partly("decode alone: nothing says what of a prompt came from its cache"),
        ),
        (Capability::TokenLogprobs, Support::No("kneepoint reads none from it")),
        (Capability::PromptLogprobs, Support::No("its interface lists none")),
        (Capability::Tools, Support::Partly("needs the option tool_format")),
        (
            Capability::CacheState,
            Support::No("its `usage` does not count it, and its cache of prefixes stays on"),
        ),
        (
            Capability::Effective,
            Support::Partly("context, cache types and slots; of speculation only a draft model"),
        ),
        (Capability::Memory, Support::No("the server does not say")),
        (Capability::Speculation, Support::Partly("its replies hold no counts of drafted tokens")),
    ],
    placement: Placement::Cards,
    ..EngineCard::PLAIN
};

impl Engine for TabbyApi {
    fn card(&self) -> &'static EngineCard {
        &CARD
    }

    fn validate(&self, setting: &Setting) -> Result<(), String> {
        let wrong = arguments::unknown_cache_type(&CARD, setting)
            .or_else(|| half_quantised(setting))
            .or_else(|| flash_attention(setting))
            .or_else(|| arguments::unknown_speculation(&CARD, "TabbyAPI", setting))
            .or_else(|| arguments::unfit_draft(&CARD, setting, false))
            .or_else(|| other_arguments(&setting.extra_args))
            .or_else(|| config::malformed(setting))
            .or_else(|| option::misplaced(options::OPTIONS, setting, CARD.takes_draft(&setting.speculation)));
        wrong.map_or(Ok(()), Err)
    }

    /// `main.py` is run by the Python of the environment beside it, which knows the version of exllamav3.
    fn introspection(&self, binary: &Path) -> Introspection {
        let (program, first) = runner_of(binary);
        let version = match first {
            Some(_) => words(&["-c", "from importlib.metadata import version; print(version('exllamav3'))"]),
            None => Vec::new(),
        };
        let help = first.into_iter().chain(words(&["--help"])).collect();
        Introspection { program, version, help, limit: Duration::from_secs(240) }
    }

    fn build(&self, version: &str, help: &str) -> Build {
        let numbered = arguments::bare_version_of(version);
        let version = match numbered.as_str() {
            "" => "version unknown".to_owned(),
            number => format!("exllamav3 {number}"),
        };
        Build { version, flags: arguments::argparse_flags(help), ..Build::default() }
    }

    fn argv(&self, _: &Cell, launch: &Launch<'_>) -> Result<Argv> {
        if let Some(reason) = other_arguments(launch.extra_args) {
            return Err(Error::usage(reason));
        }
        let config = launch.config.ok_or_else(|| Error::runtime("TabbyAPI has no configuration file"))?;
        let (program, first) = runner_of(launch.binary);
        let args = first.into_iter().chain(["--config".to_owned(), config.to_string_lossy().into_owned()]);
        let mut env = vec![("HF_HUB_OFFLINE".to_owned(), "1".to_owned())];
        env.extend(launch.threads.map(|threads| ("OMP_NUM_THREADS".to_owned(), threads.to_string())));
        Ok(Argv { program, args: args.collect(), env })
    }

    fn config(&self, cell: &Cell, launch: &Launch<'_>) -> Result<String> {
        config::text(cell, launch)
    }

    fn measurements(&self, last: &Value) -> Vec<Measurement> {
        measurements(last)
    }

    fn effective(&self, _: &str, props: &Value) -> Effective {
        readback::effective(props)
    }

    fn deviations(&self, cell: &Cell, effective: &Effective) -> Vec<String> {
        readback::deviations(cell, effective)
    }
}

/// What runs a binary, and its first argument: a Python file is run by the environment that TabbyAPI's own start
/// script makes beside it, where there is one.
fn runner_of(binary: &Path) -> (PathBuf, Option<String>) {
    if binary.extension().is_none_or(|extension| extension != "py") {
        return (binary.to_owned(), None);
    }
    let own = binary.with_file_name("venv").join("bin").join("python");
    let python = if own.is_file() { own } else { PathBuf::from("python3") };
    (python, Some(binary.to_string_lossy().into_owned()))
}

fn half_quantised(setting: &Setting) -> Option<String> {
    let plain = [&setting.k, &setting.v].map(|kind| kind == config::PLAIN);
    (plain[0] != plain[1]).then(|| {
        format!(
            "exllamav3 quantises both caches or neither, not `{}` for K and `{}` for V: name bits for both, such as \
             `k = \"Q8\"` and `v = \"Q4\"`",
            setting.k, setting.v
        )
    })
}

fn flash_attention(setting: &Setting) -> Option<String> {
    (setting.flash_attention != FlashAttention::Auto)
        .then(|| "TabbyAPI has no switch for flash attention: leave `flash_attention` out".to_owned())
}

fn other_arguments(args: &[String]) -> Option<String> {
    let first = args.first()?;
    Some(format!(
        "TabbyAPI reads no argument beside its configuration file, so `{first}` would do nothing: use the setting's options"
    ))
}

/// The engine's own figures from `usage`: counts, and the time from the first token to the last (s).
fn measurements(last: &Value) -> Vec<Measurement> {
    let number = |pointer: &str| last.pointer(pointer).and_then(Value::as_f64).filter(|n| *n >= 0.0);
    let output = number("/usage/completion_tokens");
    let generating = number("/usage/completion_time").map(|seconds| seconds * 1000.0);
    vec![
        figures::count(metric::PROMPT_TOKENS, number("/usage/prompt_tokens"), figures::NO_PROMPT_COUNT),
        Measurement::absent(metric::CACHED_TOKENS, Source::Engine, figures::NO_CACHE_COUNT),
        Measurement::absent(metric::PREFILL_TPS, Source::Engine, figures::NO_CACHE_COUNT),
        figures::decode(output, generating),
        figures::count(metric::OUTPUT_TOKENS, output, figures::NO_OUTPUT_COUNT),
        Measurement::absent(metric::DRAFT_TOKENS, Source::Engine, figures::NO_DRAFT_COUNT),
        Measurement::absent(metric::DRAFT_ACCEPTED, Source::Engine, figures::NO_DRAFT_COUNT),
    ]
}

#[cfg(test)]
mod tests;
