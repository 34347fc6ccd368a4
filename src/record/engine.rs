//! Engines: their builds, the command lines of their servers, and what a server says that it runs.

use std::collections::BTreeMap;
use std::path::PathBuf;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secrets::{mask_args, mask_env};

/// A server's command line, before it is started; empty for a server that runs already.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Argv {
    /// The binary.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables set on top of kneepoint's own.
    pub env: Vec<(String, String)>,
}

impl Argv {
    /// The same with keys masked: it is shown to people, who pass it on.
    #[must_use]
    pub fn without_keys(self) -> Self {
        Self { args: mask_args(&self.args), env: mask_env(&self.env), ..self }
    }

    /// The same with the user's home folder written as `~` and keys masked: journals and reports are published.
    #[must_use]
    pub fn portable(self) -> Self {
        self.without_keys().with_short_home()
    }

    fn with_short_home(mut self) -> Self {
        let home = std::env::var("HOME").unwrap_or_default();
        if home.len() < 2 {
            return self;
        }
        let shorten = |text: &str| match text.strip_prefix(&home) {
            Some(rest) if rest.starts_with('/') => format!("~{rest}"),
            // Within JSON.
            _ => text.replace(&format!("\"{home}/"), "\"~/"),
        };
        self.program = shorten(&self.program.to_string_lossy()).into();
        self.args = self.args.iter().map(|arg| shorten(arg)).collect();
        self.env = self.env.iter().map(|(name, value)| (name.clone(), shorten(value))).collect();
        self
    }

    /// The command as one line for a POSIX shell, ready to be pasted once masked keys are put in.
    pub fn shell(&self) -> String {
        let (env, args) = (mask_env(&self.env), mask_args(&self.args));
        let env = env.iter().map(|(name, value)| format!("{name}={}", shell_word(value)));
        let program = std::iter::once(shell_word(&self.program.to_string_lossy()));
        env.chain(program).chain(args.iter().map(|arg| shell_word(arg))).collect::<Vec<_>>().join(" ")
    }
}

/// A stretch of a word of a [portable](Argv::portable) command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stretch<'a> {
    /// The user's home folder with the slash behind it, written `~/`.
    Home,
    /// Text that stands for itself.
    Text(&'a str),
}

/// Tells the home folder in a word from what stands for itself: at its beginning, and at the beginning of a text within JSON.
pub fn stretches(word: &str) -> Vec<Stretch<'_>> {
    let mut found = Vec::new();
    let mut rest = word;
    if let Some(more) = rest.strip_prefix("~/") {
        found.push(Stretch::Home);
        rest = more;
    }
    while let Some(at) = rest.find("\"~/") {
        let (text, more) = rest.split_at(at + 1);
        found.extend([Stretch::Text(text), Stretch::Home]);
        rest = &more[2..];
    }
    if !rest.is_empty() || found.is_empty() {
        found.push(Stretch::Text(rest));
    }
    found
}

/// A word for a POSIX shell, quoted where it must be; the shell puts the home folder in.
pub fn shell_word(word: &str) -> String {
    let written = stretches(word).into_iter().enumerate().map(|(at, stretch)| match stretch {
        // A leading `~/` must stay bare: only then is it expanded.
        Stretch::Home if at == 0 => "~/".to_owned(),
        Stretch::Home => "\"$HOME\"/".to_owned(),
        Stretch::Text(text) => shell_text(text),
    });
    written.collect()
}

/// A text for a POSIX shell, quoted where it must be.
pub fn shell_text(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// What a binary says about itself (`--version`, `--help`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Build {
    /// Version text, one line.
    pub version: String,
    /// Long and short flags that its help names, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Of these flags, those that are followed by a value, sorted; none where its help does not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Speculation types that its help names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub speculation: Vec<String>,
    /// Types of the KV cache that its help names, where it does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cache_types: Vec<String>,
    /// Whether its flag for flash attention takes a value (`on`, `off`, `auto`) or is a mere switch.
    #[serde(default)]
    pub flash_attention_value: bool,
}

impl Build {
    /// Whether the help names this flag.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.binary_search_by(|known| known.as_str().cmp(flag)).is_ok()
    }

    /// Whether this flag is followed by a value, by the help.
    pub fn takes_value(&self, flag: &str) -> bool {
        self.values.binary_search_by(|known| known.as_str().cmp(flag)).is_ok()
    }

    /// The first of these flags that the help names.
    pub fn first_of<'a>(&self, flags: &[&'a str]) -> Option<&'a str> {
        flags.iter().copied().find(|flag| self.has(flag))
    }
}

/// What the server really runs, read back from its log and properties. `None`: it does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Effective {
    /// Build of the server.
    pub build: Option<String>,
    /// Type of the K cache.
    pub k: Option<String>,
    /// Type of the V cache.
    pub v: Option<String>,
    /// Flash attention.
    pub flash_attention: Option<bool>,
    /// Context length per slot (tokens).
    pub context: Option<u32>,
    /// Slots.
    pub slots: Option<u32>,
    /// Threads that compute.
    pub threads: Option<u32>,
    /// Speculation types in force.
    pub speculation: Option<String>,
    /// Weight quant as the server names it.
    pub weights: Option<String>,
    /// SHA-256 of the chat template (16 hex digits).
    pub template_hash: Option<String>,
    /// Bytes of the KV cache by type: K.
    pub k_bytes: Option<u64>,
    /// Bytes of the KV cache by type: V.
    pub v_bytes: Option<u64>,
    /// Bytes of the states of recurrent layers, which are kept beside K and V.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_bytes: Option<u64>,
    /// Of K, V and states, the bytes on graphics cards; `None` where all of them are in main memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_gpu_bytes: Option<u64>,
    /// Bytes of the compute buffers, all devices together.
    pub compute_bytes: Option<u64>,
    /// Bytes of the model buffers, all devices together.
    pub model_bytes: Option<u64>,
    /// Of the compute buffers, the bytes on graphics cards; `None` where all of them are in main memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_gpu_bytes: Option<u64>,
    /// Of the model buffers, the bytes on graphics cards; `None` where all of them are in main memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_gpu_bytes: Option<u64>,
    /// What computes on the graphics cards, as the server names their buffers, without the card's number: `CUDA`, `ROCm`,
    /// `Vulkan`, `SYCL`, `Metal`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_backend: Option<String>,
    /// Of the model buffers, the bytes that are the file itself, mapped into memory: they are there as far as they were
    /// read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_mapped_bytes: Option<u64>,
    /// Whether K is rotated before it is quantised (llama.cpp since spring 2026; the variable `LLAMA_ATTN_ROT_DISABLE`): the same
    /// type loses less then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k_rotated: Option<bool>,
    /// Whether V is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub v_rotated: Option<bool>,
    /// Pieces that the graph is cut into, each computed on one device: two where all of it is on a card but the embedding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_splits: Option<u32>,
    /// Of the compute buffers, the bytes of the processor's own, where a card computes too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_cpu_bytes: Option<u64>,
    /// Values of options that the server says it renamed, old and new.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub renamed: BTreeMap<String, String>,
    /// Options that the server names, by their names in suites.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Bytes of the draft model's buffers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft_model_bytes: Option<u64>,
    /// Bytes of the draft model's KV cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draft_kv_bytes: Option<u64>,
    /// Bytes set aside for the KV caches of all requests together, where the server takes them at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_pool_bytes: Option<u64>,
    /// Tokens that fit into them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_pool_tokens: Option<u64>,
}

impl Effective {
    /// The same without what depends on the context length that the server was started for. A pool does not: it takes what
    /// memory is left, whatever a request may ask for.
    #[must_use]
    pub fn without_memory(self) -> Self {
        Self {
            k_bytes: None,
            v_bytes: None,
            state_bytes: None,
            kv_gpu_bytes: None,
            compute_bytes: None,
            compute_gpu_bytes: None,
            draft_kv_bytes: None,
            ..self
        }
    }

    /// Bytes that a token takes of the pool, which holds the KV caches of all requests.
    pub fn pool_token_bytes(&self) -> Option<f64> {
        let tokens = self.kv_pool_tokens.filter(|tokens| *tokens > 0)?;
        Some(self.kv_pool_bytes? as f64 / tokens as f64)
    }

    /// K, V and states together (bytes), as far as the server says.
    pub fn kv_bytes(&self) -> Option<u64> {
        let kv = self.k_bytes.zip(self.v_bytes).map(|(k, v)| k.saturating_add(v));
        match (kv, self.state_bytes) {
            (Some(kv), Some(state)) => Some(kv.saturating_add(state)),
            (known, state) => known.or(state),
        }
    }

    /// What holds the KV of everything under way (bytes): each slot's own together, or the pool that all requests share.
    pub fn kv_of_all_bytes(&self) -> Option<u64> {
        self.kv_bytes().or(self.kv_pool_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_what_it_is_at_every_context_length() {
        let effective = Effective {
            k_bytes: Some(1 << 20),
            compute_bytes: Some(1 << 22),
            model_bytes: Some(1 << 30),
            kv_pool_bytes: Some(6 << 30),
            kv_pool_tokens: Some(1 << 20),
            ..Effective::default()
        };
        let elsewhere = effective.clone().without_memory();
        assert_eq!((elsewhere.k_bytes, elsewhere.compute_bytes), (None, None));
        assert_eq!(elsewhere.pool_token_bytes(), Some(6144.0));
        assert_eq!((elsewhere.kv_pool_bytes, elsewhere.model_bytes), (Some(6 << 30), Some(1 << 30)));
        assert_eq!(elsewhere.kv_of_all_bytes(), Some(6 << 30));
    }

    #[test]
    fn slots_that_have_caches_of_their_own_share_no_pool() {
        let effective = Effective { k_bytes: Some(1 << 20), v_bytes: Some(3 << 20), ..Effective::default() };
        assert_eq!(effective.kv_of_all_bytes(), Some(4 << 20));
        assert_eq!(Effective::default().kv_of_all_bytes(), None);
    }

    #[test]
    fn a_home_folder_stays_bare_where_the_rest_is_quoted() {
        assert_eq!(shell_word("~/my models/it's.gguf"), r"~/'my models/it'\''s.gguf'");
        assert_eq!(
            (shell_word("~/m.gguf"), shell_word("~"), shell_word("")),
            ("~/m.gguf".into(), "'~'".into(), "''".into())
        );
        // A shell expands no `~` within quotes.
        assert_eq!(shell_word(r#"{"model":"~/d raft"}"#), r#"'{"model":"'"$HOME"/'d raft"}'"#);
    }

    #[test]
    fn a_published_command_names_no_home() {
        let Ok(home) = std::env::var("HOME") else { return };
        let words =
            [format!("{home}/m.gguf"), format!("{{\"model\":\"{home}/draft\"}}"), format!("{home}-other")];
        let argv = Argv { program: format!("{home}/bin/s").into(), args: words.to_vec(), env: Vec::new() };
        let argv = argv.portable();
        assert_eq!(argv.program, PathBuf::from("~/bin/s"));
        assert_eq!(argv.args[..2], ["~/m.gguf", "{\"model\":\"~/draft\"}"]);
        assert_eq!(argv.args[2], words[2]);
    }
}
