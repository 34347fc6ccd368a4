//! A short launch: what a server sets aside for a model that no formula covers, by its own log.
//!
//! The server is started at two context lengths and ended as soon as it is ready; no token is computed. What grows with the
//! context grows by a line as long as no layer looks back over less than both lengths, so the lengths stand above the window that
//! the file names. The log has two decimals of a MiB: over 2,048 tokens that is 5 bytes a token.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::scratch::scratch;
use super::server::refusal;
use crate::error::{Error, Kind, Result};
use crate::measure::engine::supervise::{Launcher, PORTS, Server};
use crate::measure::engine::{Engine, Launch, supervise};
use crate::measure::model::EngineFiles;
use crate::record::kv::{CELL_PADDING, DEFAULT_UBATCH};
use crate::record::suite::{Cell, FlashAttention, Setting};
use crate::record::{Build, Effective};

/// The first length (tokens), where no window asks for a longer one.
const SHORT: u64 = 2048;
/// How much longer the second one is (tokens).
const FURTHER: u64 = 2048;
/// How long a server may take to load (s): a large file comes from a disk.
const LOAD_S: u64 = 600;

/// A server that can be started shortly, and the model for it.
#[expect(missing_debug_implementations, reason = "an engine has none")]
pub struct ShortLaunch<'a> {
    /// The engine.
    pub engine: &'static dyn Engine,
    /// Its binary.
    pub files: &'a EngineFiles,
    /// What the binary can do.
    pub build: &'a Build,
    /// The model's file.
    pub model: &'a Path,
}

/// Bytes by the context length: the line through what two servers said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Cells (tokens, padded as the server pads them) and bytes, the smaller length first.
    points: [(u64, u64); 2],
}

/// What a server sets aside, by the context length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetAside {
    /// K.
    pub k: Line,
    /// V.
    pub v: Line,
    /// State of recurrent layers (bytes).
    pub state: u64,
    /// What it computes in, the results apart.
    pub compute: Line,
}

impl Line {
    /// Bytes at a context length (tokens), drawn out beyond both.
    ///
    /// Formula: `y1 + (y2 - y1) (x - x1) / (x2 - x1)`, no less than 0.
    #[must_use]
    pub fn at(&self, context: u32) -> u64 {
        let [(x1, y1), (x2, y2)] = self.points.map(|(cells, bytes)| (i128::from(cells), i128::from(bytes)));
        let x = i128::from(cells(context.into()));
        let further = if x2 > x1 { (y2 - y1) * (x - x1) / (x2 - x1) } else { 0 };
        u64::try_from(y1 + further).unwrap_or_default()
    }
}

/// llama.cpp's padding of a context.
const fn cells(context: u64) -> u64 {
    context.next_multiple_of(CELL_PADDING)
}

/// Two lengths (tokens) to start a server at: above a window, and no longer than what the model was made for.
#[must_use]
pub fn short_contexts(window: Option<u64>, trained: Option<u64>) -> [u32; 2] {
    let beyond = window.map_or(0, |window| window.saturating_add(DEFAULT_UBATCH));
    let first = cells(SHORT.max(beyond).min(u64::from(u32::MAX / 4)));
    let longest = trained.unwrap_or(u64::MAX).max(2 * CELL_PADDING);
    let second = (first + FURTHER).min(longest / CELL_PADDING * CELL_PADDING);
    let first = if first < second { first } else { cells(second / 2) };
    [first, second].map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX))
}

impl ShortLaunch<'_> {
    /// Starts the server at both lengths with these types of the cache, on the processor, and reads what it set aside.
    ///
    /// # Errors
    /// When it does not come up, runs another type, or its log names no cache.
    pub async fn set_aside(&self, k: &str, v: &str, contexts: [u32; 2]) -> Result<SetAside> {
        let folder = scratch()?;
        let mut said = Vec::new();
        for context in contexts {
            said.push((context, self.once(k, v, context, folder.path()).await?));
        }
        let [short, long] = said.as_slice() else { return Err(Error::runtime("two launches are not two")) };
        set_aside(short, long)
    }

    async fn once(&self, k: &str, v: &str, context: u32, folder: &Path) -> Result<Effective> {
        let cell = Cell { setting: setting(self.engine.name(), k, v), context };
        let log: PathBuf = folder.join(format!("{context}.log"));
        let (server, _) = self.start(&cell, &["--no-warmup", "--no-repack"], &log).await?;
        let text = server.read_log();
        server.stop().await?;
        let effective = self.engine.effective(&text?, &Value::Null);
        for (side, asked, runs) in [("K", k, &effective.k), ("V", v, &effective.v)] {
            if let Some(other) = runs.as_ref().filter(|runs| *runs != asked) {
                let message = format!("asked for {side} in {asked}, the server runs {other}");
                return Err(Error::new(Kind::EngineStart, message));
            }
        }
        Ok(effective)
    }
}

impl ShortLaunch<'_> {
    /// Starts the server on the processor, with those of these flags that its build has; it, and its port.
    ///
    /// # Errors
    /// When it does not come up: what it says itself, where its log tells.
    pub(super) async fn start(&self, cell: &Cell, flags: &[&str], log: &Path) -> Result<(Server, u16)> {
        let mut started = self.start_on(supervise::free_port()?, cell, flags, log).await;
        for _ in 1..PORTS {
            if started.is_ok() || !supervise::port_was_taken(log) {
                break;
            }
            started = self.start_on(supervise::free_port()?, cell, flags, log).await;
        }
        started
    }

    async fn start_on(&self, port: u16, cell: &Cell, flags: &[&str], log: &Path) -> Result<(Server, u16)> {
        let known = flags.iter().filter(|flag| self.build.has(flag));
        let extra: Vec<String> = known.map(|flag| (*flag).to_owned()).collect();
        let launch = Launch {
            binary: &self.files.binary,
            library_path: self.files.library_path.as_deref(),
            model: self.model,
            draft: None,
            port,
            slots: 1,
            threads: None,
            gpu: false,
            extra_args: &extra,
            build: self.build,
            config: None,
        };
        let argv = self.engine.argv(cell, &launch)?;
        let launcher = Launcher::new(Duration::from_secs(LOAD_S));
        let started = launcher.start(&argv, port, self.engine.endpoints().health, log).await;
        let server = started.map_err(|error| match refusal(self.engine, log) {
            Some(said) => Error::new(Kind::EngineStart, format!("the server says: {said}")),
            None => error,
        })?;
        Ok((server, port))
    }
}

/// A setting with nothing but types of the cache.
pub(super) fn setting(engine: &str, k: &str, v: &str) -> Setting {
    Setting {
        label: String::new(),
        engine: engine.to_owned(),
        model: String::new(),
        weights: String::new(),
        k: k.to_owned(),
        v: v.to_owned(),
        speculation: "off".to_owned(),
        flash_attention: FlashAttention::On,
        draft: None,
        options: Default::default(),
        extra_args: Vec::new(),
        sampling: None,
    }
}

fn set_aside(short: &(u32, Effective), long: &(u32, Effective)) -> Result<SetAside> {
    if let Some((context, _)) = [short, long].into_iter().find(|(_, said)| said.kv_bytes().is_none()) {
        return Err(Error::runtime(format!("its log at {context} tokens names no KV cache")));
    }
    let line = |of: fn(&Effective) -> Option<u64>| Line {
        points: [short, long]
            .map(|(context, said)| (cells(u64::from(*context)), of(said).unwrap_or_default())),
    };
    Ok(SetAside {
        k: line(|said| said.k_bytes),
        v: line(|said| said.v_bytes),
        state: long.1.state_bytes.unwrap_or_default(),
        compute: line(|said| said.compute_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(k: u64, compute: u64) -> Effective {
        Effective {
            k_bytes: Some(k),
            v_bytes: Some(k / 2),
            state_bytes: Some(7),
            compute_bytes: Some(compute),
            ..Effective::default()
        }
    }

    #[test]
    fn what_two_servers_said_is_drawn_out() {
        let found = set_aside(&(2048, said(2_000, 50)), &(4096, said(4_000, 60))).unwrap();
        assert_eq!((found.k.at(2048), found.k.at(3000), found.k.at(32_768)), (2_000, 3_000, 32_000));
        assert_eq!((found.v.at(1024), found.state, found.compute.at(8192)), (500, 7, 80));
        assert_eq!(found.compute.at(0), 40);
        let error = set_aside(&(2048, Effective::default()), &(4096, said(1, 1))).unwrap_err();
        assert!(error.to_string().contains("names no KV cache"), "{error}");
    }

    #[test]
    fn lengths_stand_above_a_window_and_within_what_the_model_was_made_for() {
        assert_eq!(short_contexts(None, None), [2048, 4096]);
        assert_eq!(short_contexts(Some(4096), Some(131_072)), [4608, 6656]);
        assert_eq!(short_contexts(None, Some(2048)), [1024, 2048]);
        assert_eq!(short_contexts(None, Some(300)), [256, 512]);
        let huge = short_contexts(Some(u64::MAX), None);
        assert!(huge[0] < huge[1], "{huge:?}");
    }
}
