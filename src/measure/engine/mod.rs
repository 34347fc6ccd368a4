//! Inference servers: each engine describes itself here; [`supervise`] acts.
//!
//! A new engine is one file and one line in [`ENGINES`].

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::record::suite::{Cell, FlashAttention, Setting};
use crate::record::{Argv, Build, Effective, Measurement};

mod arguments;
mod capability;
mod figures;
pub mod ik_llama;
pub mod llama_cpp;
mod llama_options;
pub mod openai;
pub mod option;
pub mod sglang;
pub mod supervise;
pub mod vllm;

pub use capability::{Capability, Support};
pub use option::{OptionKind, ServerOption};

/// Every engine that kneepoint knows.
pub static ENGINES: &[&dyn Engine] =
    &[&llama_cpp::LlamaCpp, &ik_llama::IkLlama, &vllm::Vllm, &sglang::Sglang, &openai::OpenAi];

/// The engine of that name.
pub fn find(name: &str) -> Option<&'static dyn Engine> {
    ENGINES.iter().copied().find(|engine| engine.name() == name)
}

/// What the runner found on this machine for an engine and a setting's model.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The server's binary.
    pub binary: &'a Path,
    /// Folder of its shared libraries when they do not lie where the loader looks.
    pub library_path: Option<&'a Path>,
    /// The weights.
    pub model: &'a Path,
    /// The weights of the draft model, when the setting names one.
    pub draft: Option<&'a Path>,
    /// Loopback port to listen on.
    pub port: u16,
    /// Requests that the server works on at the same time, each with the cell's whole context.
    pub slots: u16,
    /// Threads for computing; `None` leaves it to the server.
    pub threads: Option<u16>,
    /// Whether the machine has a GPU that the server may use.
    pub gpu: bool,
    /// Arguments for every server of the suite, as they are.
    pub extra_args: &'a [String],
    /// What the binary says that it can do.
    pub build: &'a Build,
}

/// The port in the commands that are printed to serve with.
pub const SERVING_PORT: u16 = 8080;

/// The command line to serve with, from one that was measured: [`SERVING_PORT`] instead of a free one, and without what
/// is there only to measure (see [`Engine::measuring_arguments`]). The first `own` arguments are kneepoint's; those
/// behind them are the user's and stay as they are.
#[must_use]
pub fn serving(engine: &dyn Engine, argv: &Argv, own: usize) -> Argv {
    let (own, users) = argv.args.split_at(own.min(argv.args.len()));
    let mut args: Vec<String> = Vec::new();
    let mut rest = own;
    while let Some((first, more)) = rest.split_first() {
        let measures = engine.measuring_arguments().iter().find(|words| {
            rest.len() >= words.len() && rest.iter().zip(words.iter()).all(|(arg, word)| arg == word)
        });
        if let Some(words) = measures {
            rest = &rest[words.len()..];
            continue;
        }
        args.push(first.clone());
        rest = more;
        if first == "--port" && !rest.is_empty() {
            args.push(SERVING_PORT.to_string());
            rest = &rest[1..];
        }
    }
    args.extend(users.iter().cloned());
    Argv { program: argv.program.clone(), args, env: argv.env.clone() }
}

/// As [`serving`], by the engine's name; the same command for an engine that is not known.
#[must_use]
pub fn to_serve(engine: &str, argv: &Argv, own: usize) -> Argv {
    find(engine).map_or_else(|| argv.clone(), |engine| serving(engine, argv, own))
}

/// The environment variable with the folders that the loader searches first.
pub(crate) const LIBRARY_PATH: &str =
    if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };

/// Whose names and habits a server's HTTP interface has. All of them speak OpenAI's chat completions; they differ in
/// what else they understand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// llama.cpp's llama-server, and its forks.
    LlamaCpp,
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// Nothing but what OpenAI's interface has.
    OpenAi,
}

/// Paths of a server's HTTP interface; `None` where it has no such thing.
#[derive(Debug, Clone, Copy)]
pub struct Endpoints {
    /// Answers 200 when the model is loaded.
    pub health: &'static str,
    /// OpenAI-style chat completions.
    pub chat: &'static str,
    /// Completions from text or token arrays, with token probabilities.
    pub completion: Option<&'static str>,
    /// Completions that list the probabilities of the prompt's own tokens in one go (`prompt_logprobs`).
    pub prompt_logprobs: Option<&'static str>,
    /// Text to tokens.
    pub tokenize: Option<&'static str>,
    /// Messages to the rendered prompt.
    pub apply_template: Option<&'static str>,
    /// Settings in force.
    pub props: Option<&'static str>,
    /// Prometheus metrics.
    pub metrics: Option<&'static str>,
}

/// What form of weights a server reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelForm {
    /// A GGUF file.
    File,
    /// A folder with `config.json` and safetensors, or a GGUF file.
    FolderOrFile,
}

/// Whether an engine reads weights of this form.
///
/// # Errors
/// A usage error for a folder where only a file will do.
pub fn check_form(engine: &dyn Engine, model: &Path) -> Result<()> {
    if engine.takes() == ModelForm::FolderOrFile || !model.is_dir() {
        return Ok(());
    }
    let message = format!("{} reads GGUF files, and {} is a folder", engine.name(), model.display());
    Err(Error::usage(message).hint("name the file, or an engine that reads folders: vllm, sglang"))
}

/// How a binary is asked about itself.
#[derive(Debug, Clone)]
pub struct Questions {
    /// Arguments that make it print its version.
    pub version: Vec<&'static str>,
    /// Arguments that make it print its flags.
    pub help: Vec<&'static str>,
    /// How long either may take.
    pub limit: Duration,
}

impl Default for Questions {
    fn default() -> Self {
        Self { version: vec!["--version"], help: vec!["--help"], limit: Duration::from_secs(20) }
    }
}

/// A model server. Engines describe; the runner acts.
pub trait Engine: Sync {
    /// Name in suites.
    fn name(&self) -> &'static str;

    /// One line for `kneepoint list engines`.
    fn summary(&self) -> &'static str;

    /// Names of the binary to look for on `PATH`.
    fn binaries(&self) -> &'static [&'static str];

    /// Cache types that `k` and `v` of a setting may name.
    fn cache_types(&self) -> &'static [&'static str];

    /// Speculation types that a setting may name, `off` among them.
    fn speculation_types(&self) -> &'static [&'static str];

    /// Cache type of a setting that names none.
    fn default_cache_type(&self) -> &'static str {
        "f16"
    }

    /// Flash attention of a setting that does not speak of it.
    fn default_flash_attention(&self) -> FlashAttention {
        FlashAttention::On
    }

    /// Whether a speculation type (one, not a list) drafts with a second model; then a setting must name one.
    fn takes_draft(&self, _speculation: &str) -> bool {
        false
    }

    /// Options that a setting may name, in the order in which they go onto the command line.
    fn options(&self) -> &'static [ServerOption] {
        &[]
    }

    /// Why this setting cannot run here, before anything is started; `None` when it can.
    fn impossible(&self, setting: &Setting) -> Option<String>;

    /// What it does with a context beyond the one that the model was made for, in words.
    fn beyond_trained(&self) -> &'static str {
        "every setting answers worse there, whatever its quant"
    }

    /// How much of a thing it can do, and what is missing. The default follows from the endpoints.
    fn supports(&self, capability: Capability) -> Support {
        capability::of_endpoints(capability, self.endpoints(), self.binaries())
    }

    /// What form of weights it reads.
    fn takes(&self) -> ModelForm {
        ModelForm::File
    }

    /// How this binary is asked about itself.
    fn questions(&self, _binary: &Path) -> Questions {
        Questions::default()
    }

    /// Whether a binary with this help text is this engine's: binaries of two engines have the same name.
    fn owns(&self, _help: &str) -> bool {
        true
    }

    /// The line of a log in which the server says that it cannot run the setting.
    fn refusal<'a>(&self, log: &'a str) -> Option<&'a str> {
        arguments::refusal(log, &[])
    }

    /// Paths that are asked in turn for the settings in force, until one answers.
    fn properties(&self) -> Vec<&'static str> {
        self.endpoints().props.into_iter().collect()
    }

    /// Reads what the binary says of itself from its `--version` and `--help` output.
    fn build(&self, version: &str, help: &str) -> Build;

    /// What the pinned package's build can do, for engines that have one: kneepoint's own tests hold it against the
    /// real one.
    fn pinned_build(&self) -> Build {
        Build::default()
    }

    /// The server's command line.
    ///
    /// # Errors
    /// When this build of the server cannot run the setting.
    fn argv(&self, cell: &Cell, launch: &Launch<'_>) -> Result<Argv>;

    /// Arguments of [`argv`](Self::argv) that are there only to measure, each with its value: a command to serve with
    /// does without them.
    fn measuring_arguments(&self) -> &'static [&'static [&'static str]] {
        &[]
    }

    /// How requests to it are written.
    fn dialect(&self) -> Dialect;

    /// Paths of its HTTP interface.
    fn endpoints(&self) -> Endpoints;

    /// The engine's own figures in the last event of a reply (or in a whole non-streamed reply).
    fn measurements(&self, last: &serde_json::Value) -> Vec<Measurement>;

    /// What the server really runs.
    fn effective(&self, log: &str, props: &serde_json::Value) -> Effective;

    /// What the server silently changed: one line a deviation of `effective` from the cell.
    fn deviations(&self, cell: &Cell, effective: &Effective) -> Vec<String>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_for_engines_that_read_folders() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.gguf");
        std::fs::write(&file, "GGUF").unwrap();
        for engine in ENGINES {
            assert!(check_form(*engine, &file).is_ok());
            let reads_folders = engine.takes() == ModelForm::FolderOrFile;
            assert_eq!(check_form(*engine, folder.path()).is_ok(), reads_folders, "{}", engine.name());
        }
    }

    #[test]
    fn a_command_to_serve_with_keeps_what_the_user_wants() {
        let args = "-m ~/m.gguf --host 127.0.0.1 --port 39123 -c 4096 -np 1 -fa on --cache-ram 0 --fit off --jinja \
                    --metrics --slots --no-ui --log-verbosity 4";
        let users = "-np 1 --cache-ram 0 --port 9000";
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let (own, all) = (words(args).len(), words(&format!("{args} {users}")));
        let argv = Argv { program: "llama-server".into(), args: all, env: Vec::new() };
        let served = serving(&llama_cpp::LlamaCpp, &argv, own);
        assert_eq!(
            served.args.join(" "),
            format!("-m ~/m.gguf --host 127.0.0.1 --port 8080 -c 4096 -fa on --fit off --jinja {users}")
        );
        let slots = Argv { args: words("-np 4 --port 1"), ..argv };
        assert_eq!(serving(&llama_cpp::LlamaCpp, &slots, 4).args.join(" "), "-np 4 --port 8080");
    }

    /// What every engine's own builder puts there to measure is not in the command to serve with.
    #[test]
    fn no_engine_serves_as_it_is_measured() {
        let vllm = "serve /m --port 1 --max-model-len 4096 --enable-prefix-caching --max-logprobs 1024 \
                    --generation-config vllm --enable-prompt-tokens-details --enable-per-request-metrics \
                    --per-request-spec-decode-metrics summary";
        let sglang = "serve --model-path /m --port 1 --context-length 4096 --enable-cache-report --enable-metrics \
                      --sampling-defaults openai";
        let ik =
            "-m /m --port 1 -c 4096 -np 1 --no-context-shift --cache-ram 0 --jinja --metrics --webui none";
        for (engine, command, served) in [
            (
                &vllm::Vllm as &dyn Engine,
                vllm,
                "serve /m --port 8080 --max-model-len 4096 --enable-prefix-caching",
            ),
            (&sglang::Sglang, sglang, "serve --model-path /m --port 8080 --context-length 4096"),
            (&ik_llama::IkLlama, ik, "-m /m --port 8080 -c 4096 --no-context-shift --jinja"),
        ] {
            let args: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            let argv = Argv { program: "server".into(), args, env: Vec::new() };
            assert_eq!(serving(engine, &argv, argv.args.len()).args.join(" "), served, "{}", engine.name());
        }
    }
}
