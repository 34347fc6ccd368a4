//! How a suite loads its servers with many requests at once.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arrivals::Arrivals;
use super::search::LoadSearch;
use crate::record::Arm;

/// The load phase: servers of its own, one a setting, that answer many requests at the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadSpec {
    /// Context length of a slot (tokens).
    pub context: u32,
    /// Requests that the server works on at the same time.
    pub slots: u16,
    /// Closed loop: streams, a step each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub concurrency: Vec<u32>,
    /// Open loop: requests a second, a step each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rates: Vec<f64>,
    /// A search for the highest load, in place of the steps above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<LoadSearch>,
    /// Measured requests of a step; `None`: as many as `duration_s` allows.
    pub requests: Option<u32>,
    /// How long measured requests of a step are begun (s); `None`: until `requests` are.
    pub duration_s: Option<f64>,
    /// Tokens of a prompt, in turn.
    pub prompt_tokens: Vec<u32>,
    /// Tokens of a reply, in turn; the list moves on when all of `prompt_tokens` had theirs.
    pub output_tokens: Vec<u32>,
    /// Tokens that all prompts begin with; 0: no two begin alike.
    pub shared_prefix_tokens: u32,
    /// Open loop: most requests under way.
    pub max_in_flight: u32,
    /// Longest warm-up of a server (s).
    pub warm_up_s: f64,
    /// What counts for the goodput.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<LoadLimits>,
    /// Quality under load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<LoadQuality>,
}

impl LoadSpec {
    /// The steps in the order in which a server goes through them; none where they are searched for.
    pub fn steps(&self) -> Vec<Arrivals> {
        let closed = self.concurrency.iter().map(|&streams| Arrivals::Closed(streams));
        closed.chain(self.rates.iter().map(|&rate| Arrivals::Poisson(rate))).collect()
    }

    /// Tokens of the prompt and of the reply of a request, counted from 0.
    pub fn sizes(&self, number: u32) -> (u32, u32) {
        let number = number as usize;
        let (prompts, outputs) = (self.prompt_tokens.len().max(1), self.output_tokens.len().max(1));
        let prompt = self.prompt_tokens.get(number % prompts).copied().unwrap_or_default();
        let output = self.output_tokens.get(number / prompts % outputs).copied().unwrap_or_default();
        (prompt, output)
    }

    /// The concurrencies at which quality is measured beside alone; those of a search follow from what it finds.
    pub fn concurrencies(&self) -> impl Iterator<Item = u32> {
        self.concurrency.iter().copied().filter(|streams| *streams > 1)
    }

    /// Whether cases may be asked with so many under way, alone aside.
    pub fn may_ask_beside(&self, streams: u32) -> bool {
        match &self.search {
            Some(search) => f64::from(streams) <= search.to.max(self.slots.into()),
            None => self.concurrency.contains(&streams),
        }
    }
}

/// What a request has to keep; `None`: anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadLimits {
    /// Time to the first token (s), from the moment that the request was due.
    pub ttft_s: Option<f64>,
    /// Mean time of a token after the first (s).
    pub itl_s: Option<f64>,
    /// Time to the end of the reply (s), from the moment that the request was due.
    pub e2e_s: Option<f64>,
}

/// Cases of a task that are asked alone and under load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadQuality {
    /// A task of the suite.
    pub task: String,
    /// Its first so many cases.
    pub samples: u32,
    /// Their context length (tokens).
    pub context: u32,
    /// For tool tasks: the arm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
}
