//! What no rule covers is measured: the server is started shortly, where it and a file of the model are here already.

use std::path::Path;

use super::caches::Caches;
use super::data::{KvMeasured, LaunchedType};
use super::server::Server;
use super::shape::shape;
use crate::commands::progress::Display;
use crate::commands::setup::runtime;
use crate::error::chain;
use crate::judge::analysis::words::thousands;
use crate::measure::model::{Form, Offered, Offering};
use crate::measure::runner::{SetAside, ShortLaunch, short_contexts};
use crate::record::TrainedContext;
use crate::record::blocks::BlockType;

/// The type that is started where none is named: the others follow by the bytes of their values.
const PLAIN: &str = "f16";

/// What was measured, or why not.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// What the server set aside by types of K and V, or why it did not.
    found: Vec<(String, String, Result<SetAside, String>)>,
    /// Where it is from, for the answer.
    pub source: Option<KvMeasured>,
    /// Why nothing was measured, and what to do.
    pub why_not: Option<String>,
}

/// What a pair of types takes by a launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// The KV cache and states (bytes).
    pub kv: u64,
    /// What the server computes in, the results apart (bytes).
    pub compute: u64,
}

impl Measured {
    /// Measures what the rules do not cover; nothing where they cover everything.
    pub(super) fn of(offering: &Offering, caches: &Caches, server: &Server<'_>, display: &Display) -> Self {
        let types = wanted(offering, caches);
        if types.is_empty() {
            return Self::default();
        }
        let local = offering.offered.iter().filter(|offered| offered.path.is_some());
        let Some(smallest) = local.min_by_key(|offered| offered.file_bytes) else {
            let why =
                "none of its files is on this machine to be measured with: download one, and name that file";
            return Self { why_not: Some(why.to_owned()), ..Self::default() };
        };
        match smallest.path.as_deref().map(|path| launched(smallest, path, &types, caches, server, display)) {
            Some(Ok(measured)) => measured,
            Some(Err(why)) => Self { why_not: Some(why), ..Self::default() },
            None => Self::default(),
        }
    }

    /// What a pair of types takes at a context length (tokens): as it was launched, or by the launch of another type and the
    /// bytes of their values. `None`: nothing was measured.
    pub(super) fn at(&self, context: u32, k: &str, v: &str) -> Option<Result<Taken, String>> {
        let launched = self.found.iter().find(|(own_k, own_v, _)| own_k == k && own_v == v);
        let (own_k, own_v, found) = launched.or_else(|| self.found.first())?;
        let taken = |found: &SetAside| {
            let side = |bytes, from: &str, to: &str| scaled(bytes, from, to);
            let k_bytes = side(found.k.at(context), own_k, k)?;
            let v_bytes = side(found.v.at(context), own_v, v)?;
            let kv = k_bytes.saturating_add(v_bytes).saturating_add(found.state);
            Ok(Taken { kv, compute: found.compute.at(context) })
        };
        Some(found.as_ref().map_err(Clone::clone).and_then(taken))
    }
}

/// Bytes in a type, of bytes in another.
fn scaled(bytes: u64, from: &str, to: &str) -> Result<u64, String> {
    if from == to || bytes == 0 {
        return Ok(bytes);
    }
    let block = |name: &str| {
        let known = BlockType::named(name).filter(|kind| kind.row == 0);
        known.ok_or_else(|| {
            format!(
                "the bytes of a value in `{name}` are not known here: --kv {name} starts the server with it"
            )
        })
    };
    let (from, to) = (block(from)?, block(to)?);
    let values = u128::from(bytes) * u128::from(from.values) / u128::from(from.bytes.max(1));
    u64::try_from(values * u128::from(to.bytes) / u128::from(to.values.max(1)))
        .map_err(|_| "beyond any size".to_owned())
}

/// The pairs of types that have to be launched: those that were named where no rule covers the model, else one for all; and
/// those of which nobody knows the bytes of a value.
fn wanted(offering: &Offering, caches: &Caches) -> Vec<(String, String)> {
    let file = offering.offered.first().filter(|offered| offered.form == Form::File && !caches.is_paged());
    let Some(first) = file else { return Vec::new() };
    let covered = shape(first).is_ok();
    let is_unknown = |(k, v): &&(String, String)| [k, v].iter().any(|name| BlockType::named(name).is_none());
    match (covered, caches.named) {
        (true, _) => caches.types.iter().filter(is_unknown).cloned().collect(),
        (false, true) => caches.types.clone(),
        (false, false) => vec![(PLAIN.to_owned(), PLAIN.to_owned())],
    }
}

fn launched(
    offered: &Offered,
    path: &Path,
    types: &[(String, String)],
    caches: &Caches,
    server: &Server<'_>,
    display: &Display,
) -> Result<Measured, String> {
    let asked = server.ask().map_err(|error| chain(&error))?;
    let Some(here) = asked else {
        return Err(format!(
            "no server of {} is here to be measured with: put one on PATH or name it with --binary",
            caches.engine.title()
        ));
    };
    let metadata = &offered.metadata;
    let trained = TrainedContext::of(metadata).map(TrainedContext::longest);
    let contexts = short_contexts(metadata.sliding_window, trained);
    let because = match shape(offered) {
        Ok(_) => unknown_types(types),
        Err(why) => why,
    };
    let lengths = contexts.map(|tokens| thousands(tokens.into())).join(" and ");
    display.tell(&format!("{because}: {} is started shortly at {lengths} tokens", caches.engine.title()));
    let launch = ShortLaunch { engine: server.engine, files: &here.files, build: &here.build, model: path };
    let runtime = runtime().map_err(|error| chain(&error))?;
    let mut found = Vec::new();
    for (k, v) in types {
        let took =
            runtime.block_on(launch.set_aside(k, v, contexts)).map_err(|error| first_line(&chain(&error)));
        found.push((k.clone(), v.clone(), took));
    }
    if let [(.., Err(why))] = found.as_slice() {
        return Err(format!("a short launch showed nothing: {why}"));
    }
    let launched = found.iter().filter(|(.., took)| took.is_ok());
    let source = KvMeasured {
        file: offered.file.clone(),
        server: here.build.version.clone(),
        contexts: contexts.to_vec(),
        launched: launched.map(|(k, v, _)| LaunchedType { k: k.clone(), v: v.clone() }).collect(),
        because,
    };
    Ok(Measured { found, source: Some(source), why_not: None })
}

fn unknown_types(types: &[(String, String)]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in types.iter().flat_map(|(k, v)| [k.as_str(), v]) {
        if BlockType::named(name).is_none() && !names.contains(&name) {
            names.push(name);
        }
    }
    format!("the bytes of a value in {} are not known here", names.join(", "))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end_matches([':', ';']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_type_takes_its_share_of_what_was_measured() {
        assert_eq!(scaled(2048, "f16", "q8_0"), Ok(1088));
        assert_eq!(scaled(2048, "f16", "f16"), Ok(2048));
        assert_eq!(scaled(1088, "q8_0", "q4_0"), Ok(576));
        assert_eq!(scaled(0, "tbq3_0", "f16"), Ok(0), "nothing is nothing in any type");
        assert!(scaled(64, "f16", "tbq3_0").unwrap_err().contains("--kv tbq3_0"));
        assert!(scaled(64, "f16", "q8_KV").is_err(), "its rows have bytes of their own");
        assert!(scaled(u64::MAX, "q4_0", "f32").is_err());
    }
}
