//! `[sampling]`, and what a model or a setting says otherwise.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::place::unplaced;
use crate::record::suite::Sampling;

/// `[sampling]`: every parameter is sent with every request.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RawSampling {
    /// 0: always the most probable token.
    #[cfg_attr(test, schemars(with = "f64"))]
    pub temperature: Spanned<f64>,
    /// How many tokens stay candidates; 0: all.
    pub top_k: u32,
    /// Probability mass that stays candidate (0..1).
    #[cfg_attr(test, schemars(with = "f64"))]
    pub top_p: Spanned<f64>,
    /// Least probability relative to the best (0..1).
    #[cfg_attr(test, schemars(with = "f64"))]
    pub min_p: Spanned<f64>,
    /// 1: no penalty.
    #[cfg_attr(test, schemars(with = "f64"))]
    pub repeat_penalty: Spanned<f64>,
    /// What is taken from the logit of a token that the text has already (-2..2); 0: nothing.
    #[cfg_attr(test, schemars(with = "f64"))]
    pub presence_penalty: Spanned<f64>,
    /// Seed of the server's sampler.
    pub seed: u32,
}

impl Default for RawSampling {
    fn default() -> Self {
        let sampling = Sampling::default();
        Self {
            temperature: unplaced(sampling.temperature),
            top_k: sampling.top_k,
            top_p: unplaced(sampling.top_p),
            min_p: unplaced(sampling.min_p),
            repeat_penalty: unplaced(sampling.repeat_penalty),
            presence_penalty: unplaced(sampling.presence_penalty),
            seed: sampling.seed,
        }
    }
}

/// `sampling` of a model or a setting: what it says replaces what the suite says, the rest stays.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct OwnSampling {
    /// 0: always the most probable token.
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub temperature: Option<Spanned<f64>>,
    /// How many tokens stay candidates; 0: all.
    pub top_k: Option<u32>,
    /// Probability mass that stays candidate (0..1).
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub top_p: Option<Spanned<f64>>,
    /// Least probability relative to the best (0..1).
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub min_p: Option<Spanned<f64>>,
    /// 1: no penalty.
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub repeat_penalty: Option<Spanned<f64>>,
    /// What is taken from the logit of a token that the text has already (-2..2); 0: nothing.
    #[cfg_attr(test, schemars(with = "Option<f64>"))]
    pub presence_penalty: Option<Spanned<f64>>,
    /// Seed of the server's sampler.
    pub seed: Option<u32>,
}

impl OwnSampling {
    /// What it says, by name.
    pub fn said(&self) -> Vec<(&'static str, f64)> {
        let number = |value: &Option<Spanned<f64>>| value.as_ref().map(|value| *value.get_ref());
        let said = [
            ("temperature", number(&self.temperature)),
            ("top_k", self.top_k.map(f64::from)),
            ("top_p", number(&self.top_p)),
            ("min_p", number(&self.min_p)),
            ("repeat_penalty", number(&self.repeat_penalty)),
            ("presence_penalty", number(&self.presence_penalty)),
            ("seed", self.seed.map(f64::from)),
        ];
        said.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}
