//! Keys for servers that want one.

use std::fmt;
use std::sync::Arc;

use reqwest::header::HeaderValue;

use crate::error::{Error, Result};

/// A key shorter than this is no secret (`EMPTY`, `ollama`, `none`): it is not looked for in what a server says, where
/// it might be an ordinary word (bytes).
const SECRET_BYTES: usize = 8;

/// A key for a server, from an environment variable. Its value is never shown, stored or logged.
#[derive(Clone)]
pub struct ApiKey {
    variable: Arc<str>,
    value: Arc<str>,
    header: HeaderValue,
}

impl ApiKey {
    /// The key in the environment variable of that name, without the blanks around it.
    ///
    /// # Errors
    /// A usage error when the variable is not set, is empty, or holds what cannot be sent; it never shows the value.
    pub fn from_env(variable: &str) -> Result<Self> {
        let value = std::env::var(variable).map_err(|_| {
            Error::usage(format!("the environment variable {variable} is not set"))
                .hint(format!("it must hold the server's key: `export {variable}=...`"))
                .hint("or leave `engine.api_key_env` out, if the server wants no key")
        })?;
        Self::new(variable, &value)
    }

    fn new(variable: &str, value: &str) -> Result<Self> {
        let value = value.trim();
        let unusable = |what: &str| {
            Error::usage(format!("the environment variable {variable} {what}"))
                .hint("it must hold the server's key and nothing else")
        };
        if value.is_empty() {
            return Err(unusable("is empty"));
        }
        let header = HeaderValue::from_str(&format!("Bearer {value}"));
        let mut header = header.map_err(|_| unusable("holds characters that no key has"))?;
        header.set_sensitive(true);
        Ok(Self { variable: variable.into(), value: value.into(), header })
    }

    /// Name of the variable.
    pub fn variable(&self) -> &str {
        &self.variable
    }

    /// The value of the header `Authorization`.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Overwrites the key wherever a server repeats it, so that it gets into no error and no reply. The length stays:
    /// bytes and the moments of their arrival belong together.
    pub(super) fn redact(&self, bytes: &mut [u8]) {
        let key = self.value.as_bytes();
        if key.len() < SECRET_BYTES {
            return;
        }
        let mut at = 0;
        while at + key.len() <= bytes.len() {
            if bytes[at..].starts_with(key) {
                bytes[at..at + key.len()].fill(b'*');
                at += key.len();
            } else {
                at += 1;
            }
        }
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({})", self.variable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_shown() {
        let key = ApiKey::new("MY_KEY", " sk-0123456789\n").unwrap();
        let shown = format!("{key:?} {:?}", key.header());
        assert!(shown.contains("MY_KEY") && !shown.contains("0123456789"), "{shown}");
        for wrong in ["", "  ", "sk-01234\u{7}56789"] {
            let error = ApiKey::new("MY_KEY", wrong).unwrap_err();
            assert!(error.to_string().contains("MY_KEY") && !error.to_string().contains("sk-"), "{error}");
        }
        let unset = ApiKey::from_env("KNEEPOINT_TEST_NO_SUCH_KEY").unwrap_err();
        assert!(unset.hints()[0].contains("export KNEEPOINT_TEST_NO_SUCH_KEY"));
    }

    #[test]
    fn what_a_server_repeats_is_overwritten() {
        let redacted = |key: &str, text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            ApiKey::new("K", key).unwrap().redact(&mut bytes);
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(redacted("sk-01234", "no sk-01234, sk-01234!"), "no ********, ********!");
        assert_eq!(redacted("sk-01234", "sk-0123"), "sk-0123");
        assert_eq!(redacted("ollama", "ollama runs"), "ollama runs");
    }
}
