//! A short look at how fast this machine is with the suite's reference: one server, two short requests.

use std::time::Duration;

use super::Speed;
use crate::error::{Error, Kind, Result};
use crate::measure::runner::{CaseServer, Interrupt, Prepared};
use crate::record::suite::Suite;

/// A server that is not up after this time is not waited for, and requests that take longer are left.
const START: Duration = Duration::from_secs(60);
const REQUESTS: Duration = Duration::from_secs(20);

/// Words of the prompts: a short one first; the long one only where it fits and the short one took a fraction of the time there is.
const SHORT: usize = 200;
const LONG: usize = 1500;
const QUICK_S: f64 = 2.0;

/// Tokens that the model is asked for.
const TOKENS: u32 = 16;

/// Starts the reference's server and times a few tokens; about 20 s and the time that the weights take to be read.
///
/// # Errors
/// When the server does not come up in time, does not answer in time, or the user asked to stop.
pub async fn probe(suite: &Suite, prepared: &Prepared, interrupt: &Interrupt) -> Result<Speed> {
    let context = suite.contexts.first().copied().unwrap_or_default();
    let desk = tokio::time::timeout(START, CaseServer::open(suite, prepared, context, interrupt)).await;
    let desk = desk.map_err(|_| late("did not come up", START))??;
    let timed = tokio::time::timeout(REQUESTS, times(&desk)).await;
    desk.close().await?;
    timed.map_err(|_| late("did not answer", REQUESTS))?
}

async fn times(desk: &CaseServer) -> Result<Speed> {
    let short = desk.time(SHORT, TOKENS).await?;
    let mut prefill = vec![(short.prompt_tokens, short.prefill_tps)];
    if short.ttft_s < QUICK_S && desk.fits(LONG, TOKENS) {
        let long = desk.time(LONG, TOKENS).await?;
        prefill.push((long.prompt_tokens, long.prefill_tps));
    }
    Speed::new(prefill, short.decode_tps)
        .ok_or_else(|| Error::new(Kind::Runtime, "the server does not say how fast it was"))
}

fn late(what: &str, limit: Duration) -> Error {
    Error::new(Kind::EngineStart, format!("the server {what} within {} s", limit.as_secs()))
}
