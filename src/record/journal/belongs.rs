//! Whether two journals belong to one run: the same suite, engine build, model files and tasks.

use super::header::Header;

/// What the run of `other` differs in from that of `own`, in words that begin with what it is about; `None` when trials of
/// both can be laid side by side. Filters, machines and times may differ.
pub fn difference(own: &Header, other: &Header) -> Option<String> {
    let (ours, theirs) = (own.suite.fingerprint(), other.suite.fingerprint());
    if ours != theirs {
        return Some(format!(
            "the suite is another one (fingerprint {theirs}, not {ours}){}",
            key(own, other)
        ));
    }
    engines(own, other)
        .or_else(|| models(own, other))
        .or_else(|| files(own, other))
        .or_else(|| tasks(own, other))
}

/// The first key of the suites that differs.
fn key(own: &Header, other: &Header) -> String {
    let tree = |header: &Header| serde_json::to_value(&header.suite).ok()?.as_object().cloned();
    let (Some(ours), Some(theirs)) = (tree(own), tree(other)) else { return String::new() };
    // Neither makes two suites different.
    let judged = ["description", "gates", "notify"];
    let differs = |key: &&String| !judged.contains(&key.as_str()) && ours.get(*key) != theirs.get(*key);
    ours.keys()
        .chain(theirs.keys())
        .find(differs)
        .map_or(String::new(), |key| format!(": its `{key}` differs"))
}

fn engines(own: &Header, other: &Header) -> Option<String> {
    if own.engines.len() != other.engines.len() {
        return Some(format!("it was served by {} engines, not {}", other.engines.len(), own.engines.len()));
    }
    let differs = |(a, b): &(&_, &_)| {
        let (a, b): (&crate::record::EngineInfo, &crate::record::EngineInfo) = (a, b);
        a.name != b.name || a.version != b.version || a.sha256 != b.sha256
    };
    let (ours, theirs) = own.engines.iter().zip(&other.engines).find(differs)?;
    let words = |engine: &crate::record::EngineInfo| {
        let bytes = engine.sha256.as_deref().map_or("not hashed", short);
        format!("{} {} (SHA-256 {bytes})", engine.name, engine.version)
    };
    Some(format!("the engine is {}, not {}", words(theirs), words(ours)))
}

fn models(own: &Header, other: &Header) -> Option<String> {
    own.models.iter().find_map(|ours| {
        let named = format!("{} {}", ours.name, ours.weights);
        let same =
            |model: &&crate::record::ModelInfo| (&model.name, &model.weights) == (&ours.name, &ours.weights);
        match other.models.iter().find(same) {
            None => Some(format!("it has no file of {named}")),
            Some(theirs) => (theirs.sha256 != ours.sha256).then(|| {
                let (was, is) = (short(&ours.sha256), short(&theirs.sha256));
                format!("the file of {named} is another one (SHA-256 {is}, not {was})")
            }),
        }
    })
}

fn files(own: &Header, other: &Header) -> Option<String> {
    let missing = own.files.iter().find(|file| !other.files.contains(file))?;
    Some(format!("the file {} is another one, or not there", missing.name))
}

/// Where all else is the same, fingerprints differ by the versions of the tasks.
fn tasks(own: &Header, other: &Header) -> Option<String> {
    let differ = own.filters == other.filters && own.fingerprint != other.fingerprint;
    differ.then(|| {
        format!(
            "its tasks have other versions (fingerprint {} by kneepoint {}, not {} by {})",
            other.fingerprint, other.tool_version, own.fingerprint, own.tool_version
        )
    })
}

fn short(sha256: &str) -> &str {
    sha256.get(..16).unwrap_or(sha256)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::judge::analysis::testing;
    use crate::record::{EngineInfo, ModelInfo};

    fn header(seed: u32) -> Header {
        let text = format!(
            "name = \"t\"\nseed = {seed}\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
             [reference]\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 2\n"
        );
        let suite = crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap();
        let engine = EngineInfo {
            name: "llama.cpp".into(),
            version: "b1".into(),
            origin: String::new(),
            sha256: Some("aa".repeat(32)),
            placement: None,
        };
        let models = vec![ModelInfo { sha256: "bb".repeat(32), ..testing::model(1) }];
        Header { engines: vec![engine], models, ..testing::header(suite) }
    }

    #[test]
    fn each_difference_is_named() {
        assert_eq!(difference(&header(1), &header(1)), None);
        let of = |change: fn(&mut Header)| {
            let mut other = header(1);
            change(&mut other);
            difference(&header(1), &other).unwrap()
        };
        assert!(difference(&header(1), &header(2)).unwrap().contains("its `seed` differs"));
        assert!(of(|other| other.engines[0].version = "b2".into()).contains("llama.cpp b2"));
        assert!(of(|other| other.engines[0].sha256 = None).contains("not hashed"));
        assert!(of(|other| other.models[0].sha256 = "cc".repeat(32)).contains("the file of m Q8_0"));
        assert!(of(|other| other.models.clear()).contains("no file of m Q8_0"));
        assert!(of(|other| other.fingerprint.push('0')).contains("tasks have other versions"));
        let filtered = Header { filters: vec!["task=x".into()], fingerprint: "f".into(), ..header(1) };
        assert_eq!(difference(&header(1), &filtered), None, "what is left to measure is no difference");
    }
}
