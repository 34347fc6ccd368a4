//! `[sampling]`, and what models and settings say otherwise.

use std::collections::BTreeMap;

use toml::Spanned;

use super::checker::Checker;
use super::raw::{OwnSampling, RawModel, RawSampling, RawSuite};
use crate::error::Result;
use crate::record::suite::{Sampling, bounds};

/// How settings sample before they say anything themselves.
pub(super) struct Samplings {
    /// What the suite says.
    pub(super) suite: Sampling,
    /// By model: the suite's, with what the model says otherwise.
    models: BTreeMap<String, Sampling>,
    /// What the reference says itself: settings of the matrix take that over.
    pub(super) reference: OwnSampling,
}

impl Samplings {
    pub(super) fn of_model(&self, name: &str) -> Sampling {
        self.models.get(name).copied().unwrap_or(self.suite)
    }
}

impl Checker {
    pub(super) fn sampling(&self, raw: &RawSampling) -> Result<Sampling> {
        Ok(Sampling {
            temperature: self.inside(&raw.temperature, &bounds::TEMPERATURE, "temperature")?,
            top_k: raw.top_k,
            top_p: self.inside(&raw.top_p, &bounds::SHARE, "top_p")?,
            min_p: self.inside(&raw.min_p, &bounds::SHARE, "min_p")?,
            repeat_penalty: self.inside(&raw.repeat_penalty, &bounds::REPEAT_PENALTY, "repeat_penalty")?,
            presence_penalty: self.inside(
                &raw.presence_penalty,
                &bounds::PRESENCE_PENALTY,
                "presence_penalty",
            )?,
            seed: raw.seed,
        })
    }

    /// A sampling with what is said otherwise.
    pub(super) fn replaced(&self, base: Sampling, own: &OwnSampling) -> Result<Sampling> {
        let said = |value: &Option<Spanned<f64>>, base: f64| {
            value.clone().unwrap_or_else(|| Spanned::new(0..0, base))
        };
        self.sampling(&RawSampling {
            temperature: said(&own.temperature, base.temperature),
            top_k: own.top_k.unwrap_or(base.top_k),
            top_p: said(&own.top_p, base.top_p),
            min_p: said(&own.min_p, base.min_p),
            repeat_penalty: said(&own.repeat_penalty, base.repeat_penalty),
            presence_penalty: said(&own.presence_penalty, base.presence_penalty),
            seed: own.seed.unwrap_or(base.seed),
        })
    }

    pub(super) fn samplings(&self, raw: &RawSuite, suite: Sampling) -> Result<Samplings> {
        let of_model =
            |model: &RawModel| Ok((model.name.get_ref().clone(), self.replaced(suite, &model.sampling)?));
        let models = raw.models.iter().map(of_model).collect::<Result<_>>()?;
        Ok(Samplings { suite, models, reference: raw.reference.get_ref().sampling.clone() })
    }
}
