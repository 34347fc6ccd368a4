//! What the mock server does: timing, form and faults.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, nearest};

/// Whose interface the mock server has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Likeness {
    /// llama-server.
    #[default]
    LlamaServer,
    /// ik_llama.cpp's llama-server: its `/completion` lists texts without token ids.
    IkLlama,
    /// A server with OpenAI's interface and nothing else: no tokenizer, no timings, no word about its cache.
    Openai,
    /// vLLM: a tokenizer that takes chats, probabilities of the prompt's tokens, salted prefix cache.
    Vllm,
}

impl Likeness {
    /// Whether it is one of those that began as llama.cpp's.
    pub(super) const fn is_llama(self) -> bool {
        matches!(self, Self::LlamaServer | Self::IkLlama)
    }
}

/// How the mock server behaves. Token `i` (from 1) is ready `prefill + i * decode` after a request came in and had a
/// slot; a chunk leaves when its last token is ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Whose interface it has.
    pub like: Likeness,
    /// The key that every request must bring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<String>,
    /// Whether a prompt that is longer than the context is cut, silently, instead of refused.
    pub cut_prompts: bool,
    /// Time per prompt token that is not cached (ms).
    pub prefill_ms_per_token: f64,
    /// Time per generated token (ms).
    pub decode_ms_per_token: f64,
    /// Tokens in one chunk, at least 1.
    pub tokens_per_chunk: u32,
    /// Tokens of a reply when `replies` is empty; a request's `max_tokens` may cut it.
    pub output_tokens: u32,
    /// Whether a chunk with nothing but the role comes first (when the prompt is processed).
    pub role_chunk: bool,
    /// Whether usage comes in a chunk of its own, to requests that ask for it.
    pub usage_chunk: bool,
    /// Whether `timings_per_token` is honoured.
    pub per_token_timings: bool,
    /// Prompt tokens of a chat that count as cached.
    pub cached_tokens: u32,
    /// Context length (tokens): a longer prompt is refused.
    pub context: u32,
    /// Requests that are worked on at the same time, the others wait; 0: any number.
    pub slots: u32,
    /// Whether `/completion` follows a grammar of tokens.
    pub token_grammars: bool,
    /// Share (0..1) of the prompts after which a token that a grammar forces is a twentieth as probable as it would be.
    pub forced_losses: f64,
    /// Texts of the replies, in turn; empty: filler words.
    pub replies: Vec<String>,
    /// Length of the line that [`FaultKind::HugeLine`] sends (bytes).
    pub huge_line_bytes: usize,
    /// What goes wrong, and when.
    pub faults: Vec<Fault>,
    /// Where it is written down when each streamed request came in and each piece of its reply left: JSON lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_log: Option<PathBuf>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            like: Likeness::default(),
            api_key: None,
            cut_prompts: false,
            prefill_ms_per_token: 0.1,
            decode_ms_per_token: 20.0,
            tokens_per_chunk: 1,
            output_tokens: 32,
            role_chunk: true,
            usage_chunk: true,
            per_token_timings: true,
            cached_tokens: 0,
            context: 8192,
            slots: 0,
            token_grammars: true,
            forced_losses: 0.0,
            replies: Vec::new(),
            huge_line_bytes: 2 << 20,
            faults: Vec::new(),
            sent_log: None,
        }
    }
}

impl Script {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// A usage error that names the number.
    pub fn check(&self) -> Result<()> {
        let rate = |name: &str, ms: f64| {
            if (0.0..=60_000.0).contains(&ms) {
                return Ok(());
            }
            Err(Error::usage(format!("mock server: {name} is {ms}"))
                .hint("give milliseconds between 0 and 60000"))
        };
        rate("prefill_ms_per_token", self.prefill_ms_per_token)?;
        rate("decode_ms_per_token", self.decode_ms_per_token)?;
        if !(0.0..=1.0).contains(&self.forced_losses) {
            return Err(Error::usage(format!("mock server: forced_losses is {}", self.forced_losses))
                .hint("give a share between 0 and 1"));
        }
        for (name, value) in [
            ("tokens_per_chunk", self.tokens_per_chunk),
            ("output_tokens", self.output_tokens),
            ("context", self.context),
        ] {
            if value == 0 {
                return Err(Error::usage(format!("mock server: {name} is 0")).hint("give at least 1"));
            }
        }
        Ok(())
    }

    /// What goes wrong with the n-th generating request, counted from 1.
    pub fn fault(&self, request: u64) -> Option<FaultKind> {
        let hit = self.faults.iter().find(|fault| fault.hits(request));
        hit.map(|fault| fault.kind)
    }

    /// When token `count` (from 1) of a reply is ready, after a request whose prompt has `processed` tokens
    /// that are not cached.
    pub fn ready(&self, processed: u64, count: u64) -> Duration {
        let ms = self.prefill_ms(processed) + self.decode_ms_per_token * count as f64;
        Duration::try_from_secs_f64(ms / 1e3).unwrap_or(Duration::MAX)
    }

    /// Time for the prompt (ms).
    pub fn prefill_ms(&self, processed: u64) -> f64 {
        self.prefill_ms_per_token * processed as f64
    }
}

/// A way to go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// HTTP 500 with an error document.
    Http500,
    /// HTTP 500, as the reply holds a piece of a character and JSON holds none.
    Unwritable,
    /// Nothing is ever answered.
    Hang,
    /// The stream falls silent half-way and stays open.
    Silence,
    /// The connection is cut half-way.
    Close,
    /// The stream ends half-way as if it were complete.
    Cut,
    /// One event is cut-off JSON.
    MalformedJson,
    /// An error event half-way.
    ErrorEvent,
    /// A line of [`Script::huge_line_bytes`] half-way.
    HugeLine,
    /// An HTML page with status 200.
    WrongContentType,
    /// Only half of the prompt is processed, and nothing said.
    TruncatedPrompt,
    /// The server's process ends without an answer. Only for a server that is a process of its own.
    Exit,
    /// The server's process stops answering anything, `/health` too. As [`FaultKind::Exit`].
    Freeze,
    /// Not wrong, only awkward: every write is split, within a character where there is a long one.
    SplitUtf8,
    /// Not wrong, only awkward: lines end in CRLF.
    Crlf,
}

impl FaultKind {
    /// Every kind with its name in scripts.
    pub const ALL: [(&'static str, Self); 15] = [
        ("http-500", Self::Http500),
        ("unwritable", Self::Unwritable),
        ("hang", Self::Hang),
        ("silence", Self::Silence),
        ("close", Self::Close),
        ("cut", Self::Cut),
        ("malformed-json", Self::MalformedJson),
        ("error-event", Self::ErrorEvent),
        ("huge-line", Self::HugeLine),
        ("wrong-content-type", Self::WrongContentType),
        ("truncated-prompt", Self::TruncatedPrompt),
        ("exit", Self::Exit),
        ("freeze", Self::Freeze),
        ("split-utf8", Self::SplitUtf8),
        ("crlf", Self::Crlf),
    ];

    fn named(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind)
    }

    fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, kind)| *kind == self);
        found.map_or("", |(name, _)| name)
    }
}

/// A fault and the requests that it hits, written `close@3`, `close@3-5` or `close@*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// First request hit, counted from 1 over all generating requests.
    pub first: u64,
    /// Last request hit.
    pub last: u64,
}

impl Fault {
    fn hits(&self, request: u64) -> bool {
        (self.first..=self.last).contains(&request)
    }
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let names = || FaultKind::ALL.map(|(name, _)| name);
        let (name, requests) = text.split_once('@').ok_or_else(|| {
            Error::usage(format!("fault `{text}` does not say which request it hits"))
                .hint(format!("write `{text}@3`, `{text}@3-5` or `{text}@*`"))
        })?;
        let kind = FaultKind::named(name).ok_or_else(|| {
            let error = Error::usage(format!("no fault is called `{name}`"));
            match nearest(name, names()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("there are {}", names().join(", "))),
            }
        })?;
        let (first, last) = range(requests).ok_or_else(|| {
            Error::usage(format!("`{requests}` is no request number of fault `{name}`"))
                .hint("numbers count from 1: `3`, `3-5`, or `*` for every request")
        })?;
        Ok(Self { kind, first, last })
    }
}

fn range(text: &str) -> Option<(u64, u64)> {
    if text == "*" {
        return Some((1, u64::MAX));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first >= 1 && first <= last).then_some((first, last))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.kind.name();
        match (self.first, self.last) {
            (1, u64::MAX) => write!(f, "{name}@*"),
            (first, last) if first == last => write!(f, "{name}@{first}"),
            (first, last) => write!(f, "{name}@{first}-{last}"),
        }
    }
}

impl TryFrom<String> for Fault {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.to_string()
    }
}

/// Options of `kneepoint mock-server`.
#[derive(Debug, Clone, Args)]
pub struct MockArgs {
    /// Loopback port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Whose interface it has
    #[arg(long, value_enum, default_value_t = Likeness::default())]
    pub like: Likeness,
    /// Key that every request must bring
    #[arg(long, value_name = "KEY")]
    pub api_key: Option<String>,
    /// Cut a prompt that is longer than the context instead of refusing it
    #[arg(long)]
    pub cut_prompts: bool,
    /// Time per prompt token (ms)
    #[arg(long, value_name = "MS", default_value_t = Script::default().prefill_ms_per_token)]
    pub prefill_ms: f64,
    /// Time per generated token (ms)
    #[arg(long, value_name = "MS", default_value_t = Script::default().decode_ms_per_token)]
    pub decode_ms: f64,
    /// Tokens in one chunk
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub tokens_per_chunk: u32,
    /// Tokens of a reply of filler words
    #[arg(long, value_name = "N", default_value_t = Script::default().output_tokens)]
    pub output_tokens: u32,
    /// Send a chunk with nothing but the role first
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub role_chunk: bool,
    /// Send usage in a last chunk of its own
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub usage_chunk: bool,
    /// Send timings with every chunk to requests that ask for them
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub per_token_timings: bool,
    /// Prompt tokens that count as cached
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub cached_tokens: u32,
    /// Context length (tokens)
    #[arg(long, value_name = "N", default_value_t = Script::default().context)]
    pub context: u32,
    /// Requests that are worked on at the same time, the others wait; 0: any number
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub slots: u32,
    /// Let `/completion` follow a grammar of tokens
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub token_grammars: bool,
    /// Share (0..1) of the prompts after which a forced token is a twentieth as probable, as with a damaged model
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub forced_losses: f64,
    /// Text of a reply; several are given in turn
    #[arg(long = "reply", value_name = "TEXT")]
    pub replies: Vec<String>,
    /// Length of the line that the fault huge-line sends (bytes)
    #[arg(long, value_name = "BYTES", default_value_t = Script::default().huge_line_bytes)]
    pub huge_line_bytes: usize,
    /// Fault and the requests that it hits, such as close@3, silence@2-4, http-500@*
    #[arg(long = "fault", value_name = "KIND@REQUESTS")]
    pub faults: Vec<String>,
    /// Write down when each streamed request came in and each piece of its reply left, one JSON line a reply
    #[arg(long, value_name = "FILE")]
    pub sent_log: Option<PathBuf>,
}

impl MockArgs {
    /// The script that these options describe.
    ///
    /// # Errors
    /// A usage error when a fault cannot be read or a number makes no sense.
    pub fn script(&self) -> Result<Script> {
        let faults: Result<Vec<Fault>> = self.faults.iter().map(|fault| fault.parse()).collect();
        let script = Script {
            like: self.like,
            api_key: self.api_key.clone(),
            cut_prompts: self.cut_prompts,
            prefill_ms_per_token: self.prefill_ms,
            decode_ms_per_token: self.decode_ms,
            tokens_per_chunk: self.tokens_per_chunk,
            output_tokens: self.output_tokens,
            role_chunk: self.role_chunk,
            usage_chunk: self.usage_chunk,
            per_token_timings: self.per_token_timings,
            cached_tokens: self.cached_tokens,
            context: self.context,
            slots: self.slots,
            token_grammars: self.token_grammars,
            forced_losses: self.forced_losses,
            replies: self.replies.clone(),
            huge_line_bytes: self.huge_line_bytes,
            faults: faults?,
            sent_log: self.sent_log.clone(),
        };
        script.check()?;
        Ok(script)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: MockArgs,
    }

    fn script(line: &str) -> Result<Script> {
        let words = std::iter::once("mock").chain(line.split_whitespace());
        Cli::try_parse_from(words).unwrap().args.script()
    }

    #[test]
    fn no_options_give_the_default_script() {
        assert_eq!(script("").unwrap(), Script::default());
    }

    #[test]
    fn options_become_a_script() {
        let script =
            script("--tokens-per-chunk 4 --role-chunk false --fault close@3 --fault crlf@2-4").unwrap();
        assert_eq!(script.tokens_per_chunk, 4);
        assert!(!script.role_chunk);
        assert_eq!(script.fault(3), Some(FaultKind::Close));
        assert_eq!(script.fault(4), Some(FaultKind::Crlf));
        assert_eq!(script.fault(5), None);
    }

    #[test]
    fn nonsense_is_a_usage_error_with_a_hint() {
        for line in [
            "--decode-ms=-1",
            "--prefill-ms NaN",
            "--tokens-per-chunk 0",
            "--fault close",
            "--fault clsoe@1",
            "--fault close@0",
            "--fault close@5-3",
            "--fault close@x",
            "--forced-losses 1.5",
        ] {
            let error = script(line).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Usage, "{line}");
            assert!(!error.hints().is_empty(), "{line}");
        }
        assert_eq!(script("--fault clsoe@1").unwrap_err().hints(), ["did you mean `close`?"]);
    }

    #[test]
    fn faults_are_written_as_they_are_read() {
        for text in ["close@3", "silence@2-4", "http-500@*"] {
            assert_eq!(text.parse::<Fault>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_script_survives_json() {
        let script = Script { faults: vec!["close@3".parse().unwrap()], ..Script::default() };
        let text = serde_json::to_string(&script).unwrap();
        assert_eq!(serde_json::from_str::<Script>(&text).unwrap(), script);
    }

    #[test]
    fn tokens_are_ready_on_schedule() {
        let script = Script { prefill_ms_per_token: 2.0, decode_ms_per_token: 20.0, ..Script::default() };
        assert_eq!(script.ready(50, 0), Duration::from_millis(100));
        assert_eq!(script.ready(50, 3), Duration::from_millis(160));
    }
}
