//! Keys for servers that want one.

use std::fmt;
use std::sync::Arc;

use reqwest::header::HeaderValue;

use crate::error::{Error, Result};
use crate::record::{FinishReason, Reply};

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
        Self::of_variable(variable, "the server's key")
            .map_err(|error| error.hint("or leave `engine.api_key_env` out, if the server wants no key"))
    }

    /// As [`ApiKey::from_env`], for another key; `whose`: which one, in words.
    ///
    /// # Errors
    /// As [`ApiKey::from_env`], and for what is no variable's name: a key itself, given by mistake, is not shown.
    pub fn of_variable(variable: &str, whose: &str) -> Result<Self> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if variable.is_empty()
            || !variable.chars().all(is_name)
            || variable.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(Error::usage("that is not the name of an environment variable")
                .hint(format!("put {whose} into a variable, and give the variable's name")));
        }
        let value = std::env::var(variable).map_err(|_| {
            // In small letters it may be the key itself.
            let is_shown = !variable.chars().any(|c| c.is_ascii_lowercase());
            let (shown, name) = if is_shown { (variable, variable) } else { ("of that name", "NAME") };
            Error::usage(format!("the environment variable {shown} is not set"))
                .hint(format!("it must hold {whose}: `export {name}=...`"))
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

    /// Overwrites the key wherever a server repeats it, so that it gets into no error and no reply: as it is, or with
    /// characters written as escapes. The length stays: bytes and the moments of their arrival belong together.
    pub(super) fn redact(&self, bytes: &mut [u8]) {
        let key = self.value.as_bytes();
        if key.len() < SECRET_BYTES {
            return;
        }
        let mut at = 0;
        while at < bytes.len() {
            match spelled(key, &bytes[at..]) {
                Some(length) => {
                    bytes[at..at + length].fill(b'*');
                    at += length;
                }
                None => at += 1,
            }
        }
    }

    /// As [`ApiKey::redact`], for text: what stood in several events is together here.
    pub(super) fn hide_in(&self, text: &mut String) {
        let mut bytes = std::mem::take(text).into_bytes();
        self.redact(&mut bytes);
        // Keys are ASCII, and so are stars: what was text still is.
        *text = String::from_utf8(bytes).unwrap_or_default();
    }

    /// Overwrites the key in everything that a reply holds.
    pub(super) fn hide_in_reply(&self, reply: &mut Reply) {
        self.hide_in(&mut reply.content);
        self.hide_in(&mut reply.reasoning);
        for call in &mut reply.tool_calls {
            self.hide_in(&mut call.name);
            self.hide_in(&mut call.arguments);
            call.id.iter_mut().for_each(|id| self.hide_in(id));
        }
        if let Some(FinishReason::Other(reason)) = &mut reply.finish_reason {
            self.hide_in(reason);
        }
    }
}

/// The number of bytes at the beginning of `bytes` that spell the key; `None` when they do not.
fn spelled(key: &[u8], bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for wanted in key {
        length += character(*wanted, &bytes[length..])?;
    }
    Some(length)
}

/// The number of bytes at the beginning of `bytes` that stand for a character: itself, `\u0073` or `\/` as JSON has it
/// (with more backslashes where JSON stands in a string of JSON), `\x73` as Python's, or `%73` as addresses have it.
fn character(wanted: u8, bytes: &[u8]) -> Option<usize> {
    let hex = |digits: Option<&[u8]>| {
        let digits = std::str::from_utf8(digits?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    };
    let is_wanted = |code: Option<u32>| code == Some(u32::from(wanted));
    let slashes = bytes.iter().take_while(|byte| **byte == b'\\').count();
    let escaped = &bytes[slashes..];
    match (slashes, escaped.first()) {
        (1.., Some(b'u')) if is_wanted(hex(escaped.get(1..5))) => Some(slashes + 5),
        (1.., Some(b'x')) if is_wanted(hex(escaped.get(1..3))) => Some(slashes + 3),
        (1.., Some(b'/' | b'"' | b'\'')) if escaped[0] == wanted => Some(slashes + 1),
        (1.., _) => (wanted == b'\\').then_some(slashes),
        (_, Some(b'%')) if is_wanted(hex(escaped.get(1..3))) => Some(3),
        (_, first) => (first == Some(&wanted)).then_some(1),
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
    use crate::record::ToolCall;

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

    #[test]
    fn a_key_with_escaped_characters_is_overwritten() {
        let key = ApiKey::new("K", "sk-01/34+x").unwrap();
        for text in [
            r"sk-01/34+x",
            r"sk-01\/34+x",
            r"\u0073k-01\u002f34\u002Bx",
            r"\u0073\u006b\u002d\u0030\u0031\u002f\u0033\u0034\u002b\u0078",
            r"\\u0073k-01\\/34+x",
            r"\\\\u0073k-01\\\/34+x",
            r"sk-01%2F34%2bx",
            r"\x73k-01/34+\x78",
        ] {
            let mut said = format!("<{text}>");
            key.hide_in(&mut said);
            assert_eq!(said, format!("<{}>", "*".repeat(text.len())), "{text}");
        }
        for other in [r"sk-01\\34+x", r"sk-01/34\u002", "sk-01/34%2", r"\u0074k-01/34+x", "größe sk-01/34"]
        {
            let mut said = other.to_owned();
            key.hide_in(&mut said);
            assert_eq!(said, other);
        }
    }

    #[test]
    fn every_part_of_a_reply_is_searched() {
        let key = ApiKey::new("K", "sk-01234567").unwrap();
        let told = |before: &str| format!("{before}sk-0123\\u0034567");
        let mut reply = Reply {
            content: told("ü "),
            reasoning: told(""),
            tool_calls: vec![ToolCall { id: Some(told("a")), name: told("b"), arguments: told("{") }],
            finish_reason: Some(FinishReason::Other(told(""))),
            ..Reply::default()
        };
        key.hide_in_reply(&mut reply);
        let shown = format!("{reply:?}");
        assert!(!shown.contains("0123") && shown.contains("ü ****"), "{shown}");
    }
}
