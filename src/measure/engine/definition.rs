//! What an engine does beyond what its card says.

use std::path::Path;

use serde_json::Value;

use super::arguments;
use super::capability::{Capability, Support};
use super::card::{EngineCard, Introspection};
use super::launch::Launch;
use crate::error::Result;
use crate::measure::client::Endpoints;
use crate::record::suite::{Cell, Setting};
use crate::record::{Argv, Build, Effective, Measurement};

/// A model server. Engines describe; the runner acts.
pub trait Engine: Sync {
    /// Returns everything about it that needs no asking.
    fn card(&self) -> &'static EngineCard;

    /// Returns its name in suites.
    fn name(&self) -> &'static str {
        self.card().name
    }

    /// Returns the paths of its HTTP interface.
    fn endpoints(&self) -> Endpoints {
        self.card().endpoints
    }

    /// Returns how far it supports something.
    fn supports(&self, capability: Capability) -> Support {
        self.card().supports(capability)
    }

    /// Checks a setting before anything is started.
    ///
    /// # Errors
    /// Why the setting cannot run here, in words.
    fn validate(&self, setting: &Setting) -> Result<(), String>;

    /// Returns how this binary is asked about itself.
    fn introspection(&self, binary: &Path) -> Introspection {
        Introspection::of(binary)
    }

    /// Returns whether a binary with this help text is this engine's: binaries of two engines have the same name.
    fn recognises(&self, _help: &str) -> bool {
        true
    }

    /// Returns the line of a log in which the server says that it cannot run the setting.
    fn refusal<'a>(&self, log: &'a str) -> Option<&'a str> {
        arguments::refusal(log, self.card().refusals)
    }

    /// Reads what the binary says of itself from its `--version` and `--help` output.
    fn build(&self, version: &str, help: &str) -> Build;

    /// Returns what the pinned package's build can do, for engines that have one: kneepoint's own tests hold it
    /// against the real one.
    fn pinned_build(&self) -> Build {
        Build::default()
    }

    /// Returns the server's command line.
    ///
    /// # Errors
    /// When this build of the server cannot run the setting.
    fn argv(&self, cell: &Cell, launch: &Launch<'_>) -> Result<Argv>;

    /// Returns the text of the server's configuration file, for engines whose card names a
    /// [`config_file`](EngineCard::config_file): the runner writes it to [`Launch::config`] before the server starts.
    ///
    /// # Errors
    /// When this build of the server cannot run the setting.
    fn config(&self, _cell: &Cell, _launch: &Launch<'_>) -> Result<String> {
        Ok(String::new())
    }

    /// Returns the engine's own figures in the last event of a reply (or in a whole non-streamed reply).
    fn measurements(&self, last: &Value) -> Vec<Measurement>;

    /// Returns what the server really runs, from its log and its properties.
    fn effective(&self, log: &str, props: &Value) -> Effective;

    /// Returns what the server silently changed: one line per deviation of `effective` from the cell.
    fn deviations(&self, cell: &Cell, effective: &Effective) -> Vec<String>;
}
