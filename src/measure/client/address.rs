//! Addresses of servers.

use super::http;
use crate::error::Result;

/// `http://host:8080/v1/` -> `http://host:8080`: the paths that are asked bring `/v1` along.
pub fn base_of(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v1").unwrap_or(url).trim_end_matches('/')
}

/// Checks that this can be the address of a server.
///
/// # Errors
/// A usage error that says what is wrong with it; a password in it is not repeated.
pub fn check_address(url: &str) -> Result<()> {
    http::check_address(url)
}

/// The port of a server on this machine's loopback interface; `None` for any other address.
pub fn loopback_port(url: &str) -> Option<u16> {
    http::loopback_port(url)
}
