//! `[[model]]`: where weights come from, and which quants of them there are.

use std::collections::BTreeSet;

use toml::Spanned;

use super::super::checker::Checker;
use super::super::raw::RawModel;
use crate::error::{Error, Result, chain};
use crate::measure::model::folder::{Found, Offer};
use crate::measure::model::{DERIVABLE, Reference, folder, packages};
use crate::record::suite::{ModelSpec, QuantFile};

impl Checker {
    pub(super) fn models(&self, raw: &[RawModel]) -> Result<Vec<ModelSpec>> {
        if raw.is_empty() {
            return Err(self
                .error(0..0, "the suite names no model", "")
                .hint("add [[model]] with `name` and either `package`, `path` or `from`, and `weights`"));
        }
        let mut seen = BTreeSet::new();
        raw.iter()
            .map(|model| {
                if !seen.insert(model.name.get_ref()) {
                    return Err(self.error(model.name.span(), "two models have this name", "used before"));
                }
                self.model(model)
            })
            .collect()
    }

    fn model(&self, raw: &RawModel) -> Result<ModelSpec> {
        let spec = match (&raw.package, &raw.path, &raw.from) {
            (Some(package), None, None) => self.packaged(raw, package)?,
            (None, Some(path), None) => {
                let path = Spanned::new(path.span(), self.path(path.get_ref()));
                let found = folder::look(path.get_ref()).map_err(|error| self.pointed(path.span(), error))?;
                match found {
                    Found::File => ModelSpec {
                        weights: self.stated(raw, folder::weights_of(path.get_ref()))?,
                        path: Some(path.into_inner()),
                        ..ModelSpec::default()
                    },
                    Found::Folder(weights) => ModelSpec {
                        weights: self.stated(raw, weights)?,
                        path: Some(path.into_inner()),
                        ..ModelSpec::default()
                    },
                    Found::Quants(offers) => self.choice(raw, offers)?,
                }
            }
            (None, None, Some(from)) => self.of_hub(raw, from)?,
            _ => {
                let message = format!(
                    "model {} must have exactly one of `package`, `path` and `from`",
                    raw.name.get_ref()
                );
                return Err(self.error(raw.name.span(), message, "this model"));
            }
        };
        if let Some(quant) = raw.quants.first().filter(|_| raw.from.is_none()) {
            return Err(self
                .error(
                    quant.span(),
                    "`quants` are of a repository: this model has no `from`",
                    "leave this out",
                )
                .hint("a folder or a pattern (`path = \"models/Foo-*.gguf\"`) offers its quants by itself"));
        }
        let offered: Vec<&str> = spec.offered().collect();
        let derive = raw.derive.iter().map(|quant| self.derivable(quant, &offered)).collect::<Result<_>>()?;
        Ok(ModelSpec { name: raw.name.get_ref().clone(), derive, ..spec })
    }

    fn packaged(&self, raw: &RawModel, package: &Spanned<String>) -> Result<ModelSpec> {
        let known = packages::model(package.get_ref())
            .map_err(|message| self.error(package.span(), message, "not known"))?;
        let weights = known.weights().unwrap_or_default();
        if let Some(given) = raw.weights.as_ref().filter(|given| given.get_ref() != weights) {
            return Err(self.error(given.span(), format!("the package holds {weights}"), "leave this out"));
        }
        Ok(ModelSpec {
            package: Some(package.get_ref().clone()),
            weights: weights.to_owned(),
            ..ModelSpec::default()
        })
    }

    /// What the suite calls the weights, else what is known of them.
    fn stated(&self, raw: &RawModel, known: Option<String>) -> Result<String> {
        raw.weights.as_ref().map(|weights| weights.get_ref().clone()).or(known).ok_or_else(|| {
            let message = format!("model {} does not say its weight quant", raw.name.get_ref());
            self.error(raw.name.span(), message, "this model")
                .hint("add weights = \"Q4_K_M\" (or whatever the file is)")
        })
    }

    /// Of several quants the named one is the usual one, else the largest; the others are offered, too.
    fn choice(&self, raw: &RawModel, mut offers: Vec<Offer>) -> Result<ModelSpec> {
        let at = match &raw.weights {
            None => 0,
            Some(named) => {
                let same = |offer: &Offer| offer.weights.eq_ignore_ascii_case(named.get_ref());
                offers.iter().position(same).ok_or_else(|| {
                    self.unknown(
                        named,
                        "weight quant here",
                        offers.iter().map(|offer| offer.weights.as_str()),
                    )
                })?
            }
        };
        let usual = offers.remove(at);
        let quant = |offer: Offer| QuantFile { weights: offer.weights, path: Some(offer.path) };
        Ok(ModelSpec {
            path: Some(usual.path),
            weights: usual.weights,
            quants: offers.into_iter().map(quant).collect(),
            ..ModelSpec::default()
        })
    }

    /// Nothing is asked of the Hub here: names are checked when the files are wanted.
    fn of_hub(&self, raw: &RawModel, from: &Spanned<String>) -> Result<ModelSpec> {
        let reference = Reference::parse(from.get_ref()).map_err(|message| {
            self.error(from.span(), message, "not a model of a hub")
                .hint("write `hf:OWNER/REPO`, `hf:OWNER/REPO:Q4_K_M` or `hf:OWNER/REPO@REVISION:FILE.gguf`")
        })?;
        let weights = self.stated(raw, reference.quant())?;
        let mut seen = BTreeSet::from([weights.clone()]);
        let mut quants = Vec::new();
        for quant in &raw.quants {
            if !seen.insert(quant.get_ref().clone()) {
                return Err(self.error(quant.span(), "this quant is named twice", "used before"));
            }
            quants.push(QuantFile { weights: quant.get_ref().clone(), path: None });
        }
        Ok(ModelSpec { from: Some(from.get_ref().clone()), weights, quants, ..ModelSpec::default() })
    }

    fn derivable(&self, quant: &Spanned<String>, offered: &[&str]) -> Result<String> {
        if offered.contains(&quant.get_ref().as_str()) {
            let message = format!("cannot derive {}: it is there already", quant.get_ref());
            return Err(self.error(quant.span(), message, "a file is this already"));
        }
        if !DERIVABLE.contains(&quant.get_ref().as_str()) {
            return Err(self.unknown(quant, "quant that can be derived", DERIVABLE.iter().copied()));
        }
        Ok(quant.get_ref().clone())
    }

    /// The same error, shown at a place of the suite.
    fn pointed(&self, span: std::ops::Range<usize>, error: Error) -> Error {
        let hints = error.hints().to_vec();
        let pointed = self.error(span, chain(&error), "this path");
        hints.into_iter().fold(pointed, Error::hint)
    }
}
