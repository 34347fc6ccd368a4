//! How tokens are drawn: the parameters that are sent with every request.

use std::hash::{Hash, Hasher};

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sampling parameters; the defaults are greedy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Sampling {
    /// 0: always the most probable token.
    pub temperature: f64,
    /// How many tokens stay candidates; 0: all.
    pub top_k: u32,
    /// Probability mass that stays candidate (0..1).
    pub top_p: f64,
    /// Least probability relative to the best (0..1).
    pub min_p: f64,
    /// 1: no penalty.
    pub repeat_penalty: f64,
    /// What is taken from the logit of a token that the text has already (-2..2); 0: nothing.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub presence_penalty: f64,
    /// Seed of the server's sampler.
    pub seed: u32,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repeat_penalty: 1.0,
            presence_penalty: 0.0,
            seed: 1,
        }
    }
}

/// Numbers of suites are never NaN (they lie within bounds), so equality is one.
impl Eq for Sampling {}

impl Hash for Sampling {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.seed.hash(state);
        // Adding 0 makes one of the two zeros.
        self.numbers().for_each(|(_, number)| (number + 0.0).to_bits().hash(state));
    }
}

impl Sampling {
    /// Returns whether always the most probable token is taken.
    pub fn is_greedy(&self) -> bool {
        self.temperature <= 0.0 || self.top_k == 1
    }

    /// The parameters by their names in suites, but for the seed.
    fn numbers(&self) -> impl Iterator<Item = (&'static str, f64)> {
        [
            ("temperature", self.temperature),
            ("top_k", f64::from(self.top_k)),
            ("top_p", self.top_p),
            ("min_p", self.min_p),
            ("repeat_penalty", self.repeat_penalty),
            ("presence_penalty", self.presence_penalty),
        ]
        .into_iter()
    }

    /// Returns what differs from another one's, by name: the value here, and there.
    pub fn differences(&self, other: &Self) -> Vec<(&'static str, f64, f64)> {
        let seeds = [("seed", f64::from(self.seed), f64::from(other.seed))];
        let pairs =
            self.numbers().zip(other.numbers()).map(|((name, ours), (_, theirs))| (name, ours, theirs));
        pairs.chain(seeds).filter(|(_, ours, theirs)| ours != theirs).collect()
    }

    /// Returns all parameters in words, by their names in suites.
    pub fn words(&self) -> String {
        let of = |(name, number): (&str, f64)| format!("{name} {number}");
        // A penalty that nobody asked for was not told of before there was one.
        let shown = self.numbers().filter(|(name, number)| *name != "presence_penalty" || *number != 0.0);
        let words: Vec<String> = shown.map(of).chain([format!("seed {}", self.seed)]).collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greedy_is_no_temperature_or_one_candidate() {
        let sampling = Sampling::default();
        assert!(sampling.is_greedy());
        let warm = Sampling { temperature: 0.7, ..sampling };
        assert!(!warm.is_greedy() && Sampling { top_k: 1, ..warm }.is_greedy());
    }

    #[test]
    fn alike_is_hashed_alike() {
        let hash = |sampling: Sampling| {
            let mut hasher = std::collections::hash_map::DefaultHasher::new();
            sampling.hash(&mut hasher);
            hasher.finish()
        };
        let sampling = Sampling::default();
        assert_eq!(hash(sampling), hash(Sampling { temperature: -0.0, ..sampling }));
        assert_ne!(hash(sampling), hash(Sampling { top_p: 0.5, ..sampling }));
    }

    #[test]
    fn a_sampling_without_a_presence_penalty_is_read_and_written_as_ever() {
        let text = r#"{"temperature":0.0,"top_k":0,"top_p":1.0,"min_p":0.0,"repeat_penalty":1.0,"seed":1}"#;
        assert_eq!(serde_json::from_str::<Sampling>(text).unwrap(), Sampling::default());
        assert_eq!(serde_json::to_string(&Sampling::default()).unwrap(), text);
    }
}
