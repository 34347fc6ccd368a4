//! A Hub: where it is, and how to get in.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, fs};

/// Where models are when `HF_ENDPOINT` names no other place.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// How long to wait before a broken-off download goes on.
const PAUSE: Duration = Duration::from_secs(2);
/// A Hub, and how to get in.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(super) endpoint: String,
    pub(super) token: Option<Token>,
    /// The cache of the Hub's own tools.
    pub(super) tools_cache: Option<PathBuf>,
    pub(super) offline: bool,
    pub(super) pause: Duration,
}

/// A secret: it can be sent, not shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(pub(super) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token")
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.to_owned(),
            token: None,
            tools_cache: None,
            offline: false,
            pause: PAUSE,
        }
    }
}

impl Hub {
    /// The Hub that the environment names; `var` reads a variable.
    pub fn from_env(var: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let text = |name: &str| var(name)?.into_string().ok().filter(|text| !text.trim().is_empty());
        let path = |name: &str| var(name).map(PathBuf::from).filter(|path| !path.as_os_str().is_empty());
        let caches = || path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")));
        let home = path("HF_HOME").or_else(|| caches().map(|caches| caches.join("huggingface")));
        let token_file = path("HF_TOKEN_PATH").or_else(|| home.as_ref().map(|home| home.join("token")));
        let in_file = || fs::read_to_string(token_file?).ok();
        let token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")).or_else(in_file);
        let set = |value: String| ["1", "ON", "YES", "TRUE"].contains(&value.trim().to_uppercase().as_str());
        Self {
            endpoint: text("HF_ENDPOINT")
                .map_or_else(|| DEFAULT_ENDPOINT.to_owned(), |text| text.trim_end_matches('/').to_owned()),
            token: token.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).map(Token),
            tools_cache: path("HF_HUB_CACHE").or_else(|| home.map(|home| home.join("hub"))),
            offline: text("HF_HUB_OFFLINE").is_some_and(set),
            pause: PAUSE,
        }
    }

    /// Where it is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Whether there is a token to send.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether nothing may be asked or fetched.
    pub fn is_offline(&self) -> bool {
        self.offline
    }
}
