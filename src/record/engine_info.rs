//! An engine build that was used, and where it puts what it holds.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An engine build that was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct EngineInfo {
    /// Engine name.
    pub name: String,
    /// Version as the binary says it.
    pub version: String,
    /// Where it came from, in words.
    pub origin: String,
    /// SHA-256 of its binary, or of the lines `HASH  NAME` of it and the libraries beside it; runs before it was kept,
    /// and servers that ran already, have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Where it puts weights and caches; runs before it was kept have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
}

impl EngineInfo {
    /// Returns whether both are the same build from the same place.
    #[must_use]
    pub fn is_build_of(&self, other: &Self) -> bool {
        Self { placement: None, ..self.clone() } == Self { placement: None, ..other.clone() }
    }
}

/// Where an engine puts weights and caches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// On graphics cards wherever there are any.
    Cards,
    /// As its log says of its buffers: in main memory where it names none of a card.
    Logged,
    /// Nobody can tell by the engine alone.
    #[default]
    Unknown,
}

impl Placement {
    /// Returns where the engine of that name puts them, of those that a run used.
    #[must_use]
    pub fn of(engines: &[EngineInfo], name: &str) -> Self {
        let told = engines.iter().find(|engine| engine.name == name).and_then(|engine| engine.placement);
        told.unwrap_or_else(|| Self::before_it_was_kept(name))
    }

    /// Older journals know an engine by its name alone. These are all that there were.
    fn before_it_was_kept(name: &str) -> Self {
        match name {
            "vllm" | "sglang" | "tabbyapi" => Self::Cards,
            "llama.cpp" => Self::Logged,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_journals_know_where_an_engine_puts_its_weights_by_its_name() {
        let info = |name: &str, placement| EngineInfo {
            name: name.into(),
            version: String::new(),
            origin: String::new(),
            sha256: None,
            placement,
        };
        let of = |name, placement| Placement::of(&[info(name, placement)], name);
        assert_eq!([of("vllm", None), of("llama.cpp", None)], [Placement::Cards, Placement::Logged]);
        assert_eq!(
            [of("new", None), of("new", Some(Placement::Cards))],
            [Placement::Unknown, Placement::Cards]
        );
        assert_eq!(Placement::of(&[], "sglang"), Placement::Cards);
        assert!(info("vllm", None).is_build_of(&info("vllm", Some(Placement::Cards))));
    }
}
