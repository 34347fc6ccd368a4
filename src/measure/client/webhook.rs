//! Posting a message to an address that the user named.

use std::time::Duration;

use reqwest::Url;
use reqwest::header::AUTHORIZATION;
use serde_json::Value;

use super::direct;
use super::http;
use super::key::ApiKey;
use crate::error::{Error, Result};

/// Posts JSON once: no redirects, no retries. The address is a secret and is never shown.
///
/// # Errors
/// When it is no http or https address, nobody answers in time, or the answer is not a success.
pub async fn post_once(address: &str, body: &Value, limit: Duration) -> Result<()> {
    let url = Url::parse(address.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| Error::usage("the webhook's address is neither http nor https"))?;
    let failed = |why: &str| Error::runtime(format!("the webhook {why}"));
    let client = http::build(&url).map_err(|_| failed("cannot be asked: no HTTP client"))?;
    let answer = client.post(url).timeout(limit).json(body).send().await.map_err(|error| {
        let why = if error.is_timeout() { "did not answer in time" } else { "cannot be reached" };
        failed(why)
    })?;
    match answer.status() {
        status if status.is_success() => Ok(()),
        status => Err(failed(&format!("answered HTTP {}", status.as_u16()))),
    }
}

/// What a site answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The body where it is JSON, else its beginning as a string; the key never.
    pub body: Value,
}

/// Most of a body that is no JSON (bytes), and the largest body that is read.
const SHOWN: usize = 400;
const LARGEST: usize = 1 << 20;

/// Posts JSON once with a key: no redirects, no retries.
///
/// # Errors
/// When it is no http or https address, when a key would go over plain http to another machine, or when nobody answers in
/// time.
pub async fn post_with_key(address: &str, key: &ApiKey, body: &Value, limit: Duration) -> Result<Answer> {
    let url = Url::parse(address.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url =
        url.ok_or_else(|| Error::usage(format!("{address} is neither an http nor an https address")))?;
    if url.scheme() == "http" && !direct::is_loopback(&url) {
        return Err(
            Error::usage("a key is not sent over http to another machine").hint("give an https address")
        );
    }
    let failed = |why: String| Error::runtime(format!("{address} {why}"));
    let client = http::build(&url).map_err(|_| failed("cannot be asked: no HTTP client".into()))?;
    let request = client.post(url).timeout(limit).header(AUTHORIZATION, key.header()).json(body);
    let mut answer = request.send().await.map_err(|error| {
        failed(if error.is_timeout() { "did not answer in time" } else { "cannot be reached" }.into())
    })?;
    let status = answer.status().as_u16();
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|_| failed("broke off its answer".into()))? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LARGEST {
            return Err(failed(format!("answered with more than {LARGEST} bytes")));
        }
    }
    key.redact(&mut bytes);
    let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| {
        Value::from(String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]).into_owned())
    });
    Ok(Answer { status, body })
}
