//! Posting a message to an address that the user named.

use std::time::Duration;

use reqwest::Url;
use serde_json::Value;

use super::http;
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
