//! What an engine can do for kneepoint. `docs/engines.md` is made from this.

/// Something that tasks, probes or reports need of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Capability {
    /// kneepoint starts and ends it.
    Launch,
    /// A server that runs already can be used by its address.
    Attach,
    /// Text to tokens: exact sizes of prompts, greedy divergence.
    Tokenise,
    /// The server's own times of prefill and decode beside the client's.
    Timings,
    /// Probabilities of generated tokens.
    TokenLogprobs,
    /// Probabilities at positions of a given text: `coherence/kld`.
    PromptLogprobs,
    /// Native tool calls, parsed by the server.
    Tools,
    /// How much of a prompt came from a cache.
    CacheState,
    /// What it really runs, against what was asked.
    Effective,
    /// What of its memory are weights, KV cache and compute buffers.
    Memory,
    /// KV caches of fewer bits.
    QuantisedKv,
    /// Speculative decoding, with counts of drafted and accepted tokens.
    Speculation,
}

impl Capability {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 12] = [
        Self::Launch,
        Self::Attach,
        Self::Tokenise,
        Self::Timings,
        Self::TokenLogprobs,
        Self::PromptLogprobs,
        Self::Tools,
        Self::CacheState,
        Self::Effective,
        Self::Memory,
        Self::QuantisedKv,
        Self::Speculation,
    ];

    /// Name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Attach => "attach by URL",
            Self::Tokenise => "tokenise",
            Self::Timings => "timings",
            Self::TokenLogprobs => "token probabilities",
            Self::PromptLogprobs => "prompt probabilities",
            Self::Tools => "tool calls",
            Self::CacheState => "cache state",
            Self::Effective => "effective settings",
            Self::Memory => "memory attribution",
            Self::QuantisedKv => "quantised KV cache",
            Self::Speculation => "speculation",
        }
    }

    /// What goes without it.
    pub const fn without(self) -> &'static str {
        match self {
            Self::Launch => "start the server yourself and name its address",
            Self::Attach => "only servers that kneepoint starts",
            Self::Tokenise => "prompts are counted by a request; `coherence/greedy_divergence` is unscored",
            Self::Timings => "prefill and decode rates are the client's",
            Self::TokenLogprobs => "`score = probability` is refused",
            Self::PromptLogprobs => "`coherence/kld` is unscored",
            Self::Tools => "the arms `native` and `constrained` are unscored",
            Self::CacheState => "no prefill rate: it would count what was not computed",
            Self::Effective => "a server that runs something else than asked goes unnoticed",
            Self::Memory => "only the memory of the whole process and card",
            Self::QuantisedKv => "one type of cache",
            Self::Speculation => "no rate of acceptance",
        }
    }
}

/// How far an engine supports something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Wholly.
    Yes,
    /// With what is missing.
    Partly(&'static str),
    /// Not at all, and why.
    No(&'static str),
}

impl Support {
    /// `yes`, `partly: ..` or `no: ..`.
    pub fn words(self) -> String {
        match self {
            Self::Yes => "yes".to_owned(),
            Self::Partly(missing) => format!("partly: {missing}"),
            Self::No(reason) => format!("no: {reason}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::engine::ENGINES;

    #[test]
    fn no_engine_promises_what_its_endpoints_lack() {
        for engine in ENGINES {
            let endpoints = engine.endpoints();
            let promises = |capability| !matches!(engine.supports(capability), Support::No(_));
            let lists = endpoints.completion.is_some() || endpoints.prompt_logprobs.is_some();
            assert_eq!(promises(Capability::PromptLogprobs), lists, "{}", engine.name());
            assert_eq!(promises(Capability::Tokenise), endpoints.tokenize.is_some(), "{}", engine.name());
            assert_eq!(promises(Capability::Launch), !engine.card().binaries.is_empty(), "{}", engine.name());
            for capability in Capability::ALL {
                let words = engine.supports(capability).words();
                assert!(words.len() < 160 && !words.contains('|'), "{words}");
            }
        }
    }

    #[tokio::test]
    async fn without_probabilities_a_comparison_is_unsupported_and_nothing_is_asked() {
        use crate::measure::client::{Client, Limits};
        for engine in ENGINES {
            let lacks = matches!(engine.supports(Capability::PromptLogprobs), Support::No(_));
            // Nobody listens there: what can be asked fails by that.
            let client = Client::new("http://127.0.0.1:9", engine.endpoints(), Limits::default()).unwrap();
            let failure = client.distributions(&[1, 2, 3], &[2], 4).await.unwrap_err();
            assert_eq!(failure.unsupported, lacks, "{}: {}", engine.name(), failure.message);
        }
    }

    #[test]
    fn names_of_options_are_unique_and_plain() {
        for engine in ENGINES {
            let mut seen = std::collections::HashSet::new();
            for option in engine.card().options {
                assert!(seen.insert(option.name), "{} {}", engine.name(), option.name);
                assert!(
                    option.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                );
                assert!(!option.summary.is_empty() && !option.summary.contains('|'), "{}", option.name);
            }
        }
    }

    #[test]
    fn a_draft_is_asked_for_by_every_engine_alike() {
        for engine in ENGINES {
            for kind in engine.card().speculation_types {
                let drafts = engine.card().takes_draft(kind);
                assert!(!(drafts && *kind == "off"), "{} {kind}", engine.name());
            }
            assert!(
                engine.card().cache_types.contains(&engine.card().default_cache_type),
                "{}",
                engine.name()
            );
        }
    }
}
