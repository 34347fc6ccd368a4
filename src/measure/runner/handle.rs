//! The server behind the client: one that kneepoint started, or one that ran already.

use crate::error::Result;
use crate::measure::engine::supervise::{Broken, Server};

/// A running server.
pub(super) enum ServerHandle {
    /// Started by kneepoint, and ended by it.
    Started(Server),
    /// Somebody else's: it is left as it is.
    Attached,
}

impl ServerHandle {
    /// Whether it still runs, as far as that can be seen from outside.
    pub(super) fn is_alive(&mut self) -> bool {
        match self {
            Self::Started(server) => server.is_alive(),
            Self::Attached => true,
        }
    }

    /// What became of a server that does not answer, as a verb.
    pub(super) async fn broken(&mut self) -> &'static str {
        match self {
            Self::Started(server) => match server.broken().await {
                Broken::Died => "died",
                Broken::ClosedItsPort => "crashed (nothing listens on its port, and its process goes on)",
                Broken::Hangs => "hangs",
            },
            Self::Attached => "does not answer any more",
        }
    }

    /// The last lines of its log; empty for a server that was not started here.
    pub(super) fn log_tail(&self, lines: usize) -> String {
        match self {
            Self::Started(server) => server.log_tail(lines),
            Self::Attached => String::new(),
        }
    }

    /// Ends it, if it was started here.
    pub(super) async fn stop(self) -> Result<()> {
        match self {
            Self::Started(server) => server.stop().await,
            Self::Attached => Ok(()),
        }
    }
}
