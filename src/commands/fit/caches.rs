//! Cache types of an engine, and the bytes that a model's cache takes in them.

use crate::cli::{FitArgs, FitEngine};
use crate::error::{Error, Result, nearest};
use crate::measure::model::{Form, Offering};
use crate::record::kv::{KvError, KvShape, KvUse, Pool};

/// What the engines of the llama family have, from the largest to the smallest.
const LLAMA: &[&str] = &["f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"];
const IK_LLAMA: &[&str] = &["f16", "bf16", "q8_0", "q8_KV", "q6_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"];
const VLLM: &[&str] = &["auto", "fp8"];
const SGLANG: &[&str] = &["auto", "fp8_e5m2"];

/// Tokens of a page: vLLM's default, and SGLang's.
const VLLM_PAGE: u64 = 16;
const SGLANG_PAGE: u64 = 1;
/// vLLM's `--max-num-batched-tokens` on cards with much memory; less on others.
const VLLM_BATCH: u64 = 8192;

fn form_of(offering: &Offering) -> Form {
    offering.offered.first().map_or(Form::File, |offered| offered.form)
}

/// The engine that is asked about: the named one, else the usual one for such weights.
pub(super) fn engine_of(args: &FitArgs, offering: &Offering) -> FitEngine {
    args.engine.unwrap_or(match form_of(offering) {
        Form::File => FitEngine::LlamaCpp,
        Form::Folder => FitEngine::Vllm,
    })
}

/// Types that an engine is known to have.
const fn known(engine: FitEngine) -> &'static [&'static str] {
    match engine {
        FitEngine::LlamaCpp => LLAMA,
        FitEngine::IkLlama => IK_LLAMA,
        FitEngine::Vllm => VLLM,
        FitEngine::Sglang => SGLANG,
    }
}

/// The engine, and the types that are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caches {
    pub engine: FitEngine,
    /// K and V.
    pub types: Vec<(String, String)>,
    /// Whether these were named.
    pub named: bool,
}

/// Types of the cache that are asked about, as `K/V` or one name for both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::commands) struct AskedTypes {
    /// None: all that the engine is known to have.
    pub types: Vec<String>,
    /// Whether the user named them: then the server is asked whether it has them.
    pub named: bool,
}

impl Caches {
    /// What is asked for; `listed` are the types that the server's own help lists, where that was asked.
    ///
    /// # Errors
    /// For an engine that does not read such weights, or a type that it does not have.
    pub(super) fn of(
        args: &FitArgs,
        offering: &Offering,
        asked: &AskedTypes,
        listed: &[String],
    ) -> Result<Self> {
        let form = form_of(offering);
        let engine = engine_of(args, offering);
        let caches = Self { engine, types: Vec::new(), named: asked.named };
        match (form, caches.is_paged()) {
            (Form::File, true) => Err(Error::usage(format!(
                "what {} takes of a GGUF file is not known here",
                engine.title()
            ))
            .hint("name the folder or repository with config.json and safetensors, or `--engine llama.cpp`")),
            (Form::Folder, false) => Err(Error::usage(format!(
                "{} reads GGUF files, and {} is a folder",
                engine.title(),
                args.model
            ))
            .hint("name a GGUF file or repository, or an engine that reads folders: vllm, sglang")),
            _ => Ok(Self { types: caches.pairs(&asked.types, listed)?, ..caches }),
        }
    }

    fn pairs(&self, asked: &[String], listed: &[String]) -> Result<Vec<(String, String)>> {
        if asked.is_empty() {
            return Ok(known(self.engine).iter().map(|&name| (name.to_owned(), name.to_owned())).collect());
        }
        asked
            .iter()
            .map(|text| {
                let (k, v) = text.split_once('/').unwrap_or((text, text));
                Ok((self.checked(k, listed)?, self.checked(v, listed)?))
            })
            .collect()
    }

    fn checked(&self, name: &str, listed: &[String]) -> Result<String> {
        let has: Vec<&str> = match listed {
            [] => known(self.engine).to_vec(),
            listed => listed.iter().map(String::as_str).collect(),
        };
        if has.contains(&name) {
            return Ok(name.to_owned());
        }
        let whose = if listed.is_empty() {
            self.engine.title().to_owned()
        } else {
            format!("this server of {}", self.engine.title())
        };
        let error = Error::usage(format!("{whose} has no cache type `{name}`"));
        let error = match nearest(name, has.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        };
        Err(match listed {
            [] => error.hint(format!("it is known to have {}", has.join(", "))).hint(
                "a fork's own types are those that its server lists: put it on PATH, or name it with --binary",
            ),
            _ => error.hint(format!("its help lists {}", has.join(", "))),
        })
    }

    /// Whether requests share a pool of pages.
    pub(super) const fn is_paged(&self) -> bool {
        !self.engine.is_llama()
    }

    /// Whether logits are kept for every token of a batch.
    pub(super) const fn keeps_all_logits(&self) -> bool {
        matches!(self.engine, FitEngine::IkLlama)
    }

    /// Whether layers with a window keep the whole context: ik_llama.cpp does unless `--swa-compress` says otherwise.
    pub(super) const fn keeps_whole_windows(&self) -> bool {
        matches!(self.engine, FitEngine::IkLlama)
    }

    /// Bytes of the cache for one request of a length. `label` says how the weights are stored: `auto` follows it.
    ///
    /// # Errors
    /// For a type that the model's rows do not fill.
    pub(super) fn bytes(&self, shape: &KvShape, usage: KvUse<'_>, label: &str) -> Result<u64, KvError> {
        if !self.is_paged() {
            return shape.bytes(usage).map(|bytes| bytes.total());
        }
        let value_bytes = match usage.k {
            "auto" if label == "F32" => 4,
            "auto" => 2,
            _ => 1,
        };
        let pool = match self.engine {
            FitEngine::Sglang => Pool { page: SGLANG_PAGE, value_bytes, batch: None },
            _ => Pool { page: VLLM_PAGE, value_bytes, batch: Some(VLLM_BATCH) },
        };
        Ok(shape.paged_bytes(usage.context, pool))
    }
}
