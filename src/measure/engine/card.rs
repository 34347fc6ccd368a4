//! What kneepoint knows of an engine without asking anything: one constant per engine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::capability::{Capability, Support};
use super::option::ServerOption;
use crate::error::{Error, Result};
use crate::measure::client::{Endpoints, WireFormat, wire};
use crate::record::Placement;
use crate::record::suite::FlashAttention;

/// What an engine is and has. An engine names what differs from [`EngineCard::PLAIN`].
#[derive(Debug)]
pub struct EngineCard {
    /// Name in suites.
    pub name: &'static str,
    /// One line for `kneepoint list engines`.
    pub summary: &'static str,
    /// Written from documentation and source, and never run by those who wrote it.
    pub experimental: bool,
    /// Names of the binary to look for on `PATH`; an engine without any is only ever attached to.
    pub binaries: &'static [&'static str],
    /// Cache types that `k` and `v` of a setting may name.
    pub cache_types: &'static [&'static str],
    /// Cache type of a setting that names none.
    pub default_cache_type: &'static str,
    /// Flash attention of a setting that does not speak of it.
    pub default_flash_attention: FlashAttention,
    /// Speculation types that a setting may name, `off` among them.
    pub speculation_types: &'static [&'static str],
    /// Speculation types that draft with a second model; a setting with one of them must name it.
    pub draft_types: &'static [&'static str],
    /// Options that a setting may name, in the order in which they go onto the command line.
    pub options: &'static [ServerOption],
    /// How it reads its arguments.
    pub flag_style: FlagStyle,
    /// What form of weights it reads.
    pub model_form: ModelForm,
    /// How requests to it are written.
    pub wire: &'static dyn WireFormat,
    /// Paths of its HTTP interface.
    pub endpoints: Endpoints,
    /// Paths that are asked in turn for the settings in force, until one answers.
    pub properties: &'static [&'static str],
    /// Path that tells its version, where none of [`properties`](Self::properties) does.
    pub version: Option<&'static str>,
    /// Name of the configuration file that it reads beside its arguments; see [`Engine::config`](super::Engine::config).
    pub config_file: Option<&'static str>,
    /// Arguments that are there only to measure, each with its value: a command to serve with does without them.
    pub measuring_arguments: &'static [&'static [&'static str]],
    /// The flag that makes it count what of a prompt came from its cache, and the one that forbids it, where it must be told:
    /// such servers leave a count of zero out of a reply.
    pub cache_report: Option<(&'static str, &'static str)>,
    /// How long it may take to end after SIGTERM, before it is killed.
    pub grace: Duration,
    /// Where it puts weights and caches.
    pub placement: Placement,
    /// Words of its log by which it refuses a setting, beside those that all servers use (lower case).
    pub refusals: &'static [&'static str],
    /// What it cannot do, or only partly; everything else it does.
    pub limits: &'static [(Capability, Support)],
    /// What it does with a context beyond the one that the model was made for, in words.
    pub beyond_trained: &'static str,
}

impl EngineCard {
    /// A card without a name: OpenAI's interface, GGUF files, no options.
    pub const PLAIN: Self = Self {
        name: "",
        summary: "",
        experimental: false,
        binaries: &[],
        cache_types: &[],
        default_cache_type: "f16",
        default_flash_attention: FlashAttention::On,
        speculation_types: &["off"],
        draft_types: &[],
        options: &[],
        flag_style: FlagStyle::Unjudged,
        model_form: ModelForm::File,
        wire: &wire::OpenAi,
        endpoints: Endpoints::OPENAI,
        properties: &[],
        version: None,
        config_file: None,
        measuring_arguments: &[],
        cache_report: None,
        grace: Duration::from_secs(3),
        placement: Placement::Unknown,
        refusals: &[],
        limits: &[],
        beyond_trained: "every setting answers worse there, whatever its quant",
    };

    /// Returns whether a speculation type (one, not a list) drafts with a second model.
    #[must_use]
    pub fn takes_draft(&self, speculation: &str) -> bool {
        self.draft_types.contains(&speculation)
    }

    /// Returns how far it supports something.
    #[must_use]
    pub fn supports(&self, capability: Capability) -> Support {
        let limit = self.limits.iter().find(|(limited, _)| *limited == capability);
        limit.map_or(Support::Yes, |(_, support)| *support)
    }

    /// Returns whether a server with these arguments counts what comes from its cache; of several flags the last holds.
    #[must_use]
    pub fn counts_cached(&self, args: &[String]) -> bool {
        self.cache_report.is_some_and(|(on, off)| {
            let last = args.iter().rev().find(|arg| *arg == on || *arg == off);
            last.is_some_and(|flag| flag == on)
        })
    }

    /// Returns the summary as lists show it: an engine that was never run here says so.
    #[must_use]
    pub fn described(&self) -> String {
        let remark = if self.experimental { " (experimental: never run here)" } else { "" };
        format!("{}{remark}", self.summary)
    }
}

/// How a server reads its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlagStyle {
    /// Its help does not name every flag that it takes, or it takes none: nothing is checked.
    Unjudged,
    /// A flag is written out, its value is a word of its own, and underscores stand for dashes (llama.cpp's `arg.cpp`).
    Apart,
    /// Python's `argparse`: beginnings will do, values may follow behind `=`, parts of them behind a dot (vLLM).
    Argparse,
}

impl FlagStyle {
    /// How arguments of one's own are written, for people; `None` where nothing is checked.
    pub const fn words(self) -> Option<&'static str> {
        match self {
            Self::Unjudged => None,
            Self::Apart => Some(
                "a flag and its value are two words (`\"--flag\", \"value\"`): build 10068 refuses `--flag=value` as an invalid argument",
            ),
            Self::Argparse => {
                Some("a value is a word of its own or stands behind `=`, and the beginning of a flag will do")
            }
        }
    }
}

/// What form of weights a server reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelForm {
    /// A GGUF file.
    File,
    /// A folder with `config.json` and safetensors.
    Folder,
    /// A folder with `config.json` and safetensors, or a GGUF file.
    FolderOrFile,
}

/// Checks that an engine reads weights of this form.
///
/// # Errors
/// A usage error for a folder where only a file will do, and the other way round.
pub fn check_form(card: &EngineCard, model: &Path) -> Result<()> {
    match (card.model_form, model.is_dir()) {
        (ModelForm::FolderOrFile, _) | (ModelForm::File, false) | (ModelForm::Folder, true) => Ok(()),
        (ModelForm::File, true) => {
            let message = format!("{} reads GGUF files, and {} is a folder", card.name, model.display());
            Err(Error::usage(message).hint("name the file, or an engine that reads folders: vllm, sglang"))
        }
        (ModelForm::Folder, false) => {
            let message = format!("{} reads folders, and {} is a file", card.name, model.display());
            Err(Error::usage(message).hint("name the folder with its `config.json` and safetensors"))
        }
    }
}

/// How a binary is asked about itself.
#[derive(Debug, Clone)]
pub struct Introspection {
    /// What is run: the binary itself, or what runs it.
    pub program: PathBuf,
    /// Arguments that make it print its version; none: it is not asked.
    pub version: Vec<String>,
    /// Arguments that make it print its flags.
    pub help: Vec<String>,
    /// How long either may take.
    pub limit: Duration,
}

impl Introspection {
    /// `--version` and `--help`, 20 seconds each.
    #[must_use]
    pub fn of(binary: &Path) -> Self {
        let limit = Duration::from_secs(20);
        Self { program: binary.to_owned(), version: words(&["--version"]), help: words(&["--help"]), limit }
    }
}

/// Arguments from words.
pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}
