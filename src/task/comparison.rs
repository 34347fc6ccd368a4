//! How a task lays a reply beside another: the reference's to the same case, or its own.

use std::collections::BTreeMap;

use super::serving::Variant;
use crate::record::{Case, Reply};

/// Figures by name.
pub type Figures = BTreeMap<String, f64>;

/// What a task compares of a reply and the reference's reply to the same case. Each function is pure.
#[derive(Debug, Clone, Copy)]
pub enum Comparison {
    /// Nothing: the task judges each reply by itself.
    None,
    /// Figures of its own, those that [`Card::figures`](super::Card::figures) names among them. `None`: the replies cannot
    /// be compared.
    Figures(fn(&Case, &Reply, &Reply) -> Option<Figures>),
    /// The next-token distributions of a given text, position by position. Empty: they cannot be compared.
    Distributions(fn(&Case, &Reply, &Reply) -> Vec<PositionKld>),
    /// The place where two greedy replies part. `None`: they cannot be compared.
    Greedy(fn(&Case, &Reply, &Reply) -> Option<Divergence>),
    /// Whether tools are called where the reference calls them: whether a reply does.
    Calls(fn(&Reply) -> bool),
    /// The warm reply of a case and its cold one, the second and the third of its requests. `None`: it is no such case.
    Warm(fn(&Case, &Reply, &Reply) -> Option<WarmAndCold>),
}

impl Comparison {
    /// Returns the figures of a reply against the reference's; none where the task has no such figures or the replies
    /// cannot be compared.
    pub fn figures(&self, case: &Case, reply: &Reply, reference: &Reply) -> Figures {
        match self {
            Self::Figures(compare) => compare(case, reply, reference).unwrap_or_default(),
            _ => Figures::new(),
        }
    }

    /// Returns the reply's distance from the reference's at each position; empty where the task compares no distributions
    /// or the replies cannot be compared.
    pub fn positions(&self, case: &Case, reply: &Reply, reference: &Reply) -> Vec<PositionKld> {
        match self {
            Self::Distributions(compare) => compare(case, reply, reference),
            _ => Vec::new(),
        }
    }

    /// Returns where the reply parts from the reference's; `None` where the task does not ask for it or the replies
    /// cannot be compared.
    pub fn divergence(&self, case: &Case, reply: &Reply, reference: &Reply) -> Option<Divergence> {
        match self {
            Self::Greedy(compare) => compare(case, reply, reference),
            _ => None,
        }
    }

    /// Returns what a warm reply is beside the cold one; `None` where the task does not ask for it.
    pub fn warm(&self, case: &Case, warm: &Reply, cold: &Reply) -> Option<WarmAndCold> {
        match self {
            Self::Warm(compare) => compare(case, warm, cold),
            _ => None,
        }
    }

    /// Returns whether next-token distributions are compared.
    pub fn is_of_distributions(&self) -> bool {
        matches!(self, Self::Distributions(_))
    }

    /// Returns whether the place is asked for where greedy replies part.
    pub fn is_greedy(&self) -> bool {
        matches!(self, Self::Greedy(_))
    }
}

/// One position of a setting against the reference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionKld {
    /// How many tokens the position sees.
    pub position: usize,
    /// Divergence of the setting's distribution from the reference's (nat, at least 0): a lower bound.
    pub kld: f64,
    /// Probability of the actual next token, setting minus reference (-1..1).
    pub delta_p: f64,
    /// Both find the same token most probable.
    pub same_top: bool,
    /// Negative log-likelihood of the actual next token under the setting (nat).
    pub nll: f64,
    /// The actual next token is outside one of the lists: its probability there is the largest that it
    /// can have, not known.
    pub outside: bool,
    /// Probability that the reference gives to tokens that not both lists name (0..1): of what moved among those
    /// only the total is seen.
    pub unlisted: f64,
}

/// Where a reply parts from the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Divergence {
    /// Index of the first token that differs, from 0; `None`: none does, as far as both go.
    pub first: Option<usize>,
    /// Tokens that are the same, or that could be compared.
    pub compared: usize,
}

/// A reply that the server's cache had a part in, beside the one without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmAndCold {
    /// What changed since the request that filled the cache.
    pub change: Variant,
    /// Both say the same, tool calls included.
    pub same_text: bool,
    /// The warm reply is right.
    pub right_warm: bool,
    /// The cold reply is right.
    pub right_cold: bool,
}
