//! `schema-check`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `schema-check`.
#[derive(Debug, Args)]
pub struct SchemaCheckArgs {
    /// A JSON Schema, an array of tools as OpenAI's interface takes it, the body of a chat completion, or schemas with values as in
    /// `datasets/tools`
    pub file: PathBuf,
    /// The engine: one that tells what grammar it makes of a schema, or vllm or sglang, of which the table of docs/seen/constrained.md says
    /// what they hold (no server is asked)
    #[arg(long, value_name = "NAME", default_value = "llama.cpp")]
    pub engine: String,
    /// Version of an engine that is judged by table; default: what the server at `--url` says, else the table's newest
    #[arg(long = "version", value_name = "VERSION")]
    pub engine_version: Option<String>,
    /// Library that the server is told to make grammars with, for an engine that is judged by table (vLLM's
    /// `--structured-outputs-config.backend`, SGLang's `--grammar-backend`)
    #[arg(long, value_name = "NAME")]
    pub backend: Option<String>,
    /// Its binary; default: the one on PATH, else the pinned package
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub binary: Option<PathBuf>,
    /// A model to start it with, whichever: grammars do not depend on it; default: the pinned SmolLM2
    #[arg(long, value_name = "FILE", conflicts_with = "url")]
    pub model: Option<PathBuf>,
    /// Address of a server that runs, such as http://127.0.0.1:8080, instead of starting one
    #[arg(long)]
    pub url: Option<String>,
    /// What that server calls the model, where it has several
    #[arg(long, value_name = "NAME", requires = "url")]
    pub served_model: Option<String>,
    /// Environment variable that holds that server's key
    #[arg(long, value_name = "NAME", requires = "url")]
    pub api_key_env: Option<String>,
    /// Print what is held as JSON on stdout, with whole instances
    #[arg(long)]
    pub json: bool,
}
