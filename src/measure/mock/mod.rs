//! A server with scripted timing and scripted faults, for what a real one can't be made to show.
//!
//! It speaks llama-server's dialect: `/health`, `/v1/chat/completions` (streamed or not), `/completion` (not
//! streamed; with `n_probs`), `/tokenize`, `/apply-template`, `/props`, `/slots`, `/metrics`; or vLLM's, or nothing but
//! OpenAI's (see [`Likeness`]). Every reply follows from the request and the [`Script`] alone.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};

use axum::serve::ListenerExt as _;
use serde_json::json;
use tokio::net::TcpListener;

use crate::console;
use crate::error::{Context, Error, Result};
use crate::measure::engine::Endpoints;

mod document;
mod forced;
mod others;
mod plan;
mod script;
mod sent;
mod server;
mod tokens;
mod wire;

pub use script::{Fault, FaultKind, Likeness, MockArgs, Script};

/// Paths of the mock's HTTP interface; they are llama-server's.
pub const ENDPOINTS: Endpoints = Endpoints {
    health: "/health",
    chat: "/v1/chat/completions",
    completion: Some("/completion"),
    prompt_logprobs: None,
    tokenize: Some("/tokenize"),
    apply_template: Some("/apply-template"),
    props: Some("/props"),
    metrics: Some("/metrics"),
};

/// Serves on `listener` until `shutdown` completes; connections that are still open are then cut.
///
/// # Errors
/// When the script makes no sense (a usage error), its log cannot be written or the listener fails.
pub async fn serve(
    listener: TcpListener,
    script: Script,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<()> {
    script.check()?;
    let log = script.sent_log.as_deref().map(sent::SentLog::create).transpose()?;
    // Small writes must leave at their time, not when the kernel has gathered enough of them.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "mock server keeps Nagle's algorithm");
        }
    });
    let app = server::router(script, log);
    tokio::select! {
        served = axum::serve(listener, app) => served.context(|| "mock server failed".to_owned()),
        () = shutdown => Ok(()),
    }
}

/// What `kneepoint mock-server` does: listens on the loopback, prints one JSON line with its address on
/// stdout, and serves until `shutdown` completes.
///
/// # Errors
/// When the port is taken or the script makes no sense.
pub async fn run(args: &MockArgs, shutdown: impl Future<Output = ()> + Send + 'static) -> Result<()> {
    let script = args.script()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let listener = TcpListener::bind(address).await.map_err(|source| {
        Error::runtime(format!("mock server cannot listen on {address}"))
            .with_source(source)
            .hint("--port 0 takes a free port")
    })?;
    let address = listener.local_addr().context(|| "mock server has no address".to_owned())?;
    let line = json!({ "schema_version": 1, "address": address, "url": format!("http://{address}") });
    // A test that has read enough may close the pipe.
    let _ = console::data(&format!("{line}\n"), console::Form::Json)?;
    serve(listener, script, shutdown).await
}
