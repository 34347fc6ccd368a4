//! How much of the model a setting keeps: bytes of the weights' file, bits of K and of V.

use crate::record::blocks::BlockType;
use crate::record::journal::Header;
use crate::record::suite::Setting;

/// What a setting keeps; more is finer. Types that nobody knows the size of are like nothing but themselves.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fidelity {
    weights_bytes: Option<u64>,
    weights: String,
    k: (String, Option<f64>),
    v: (String, Option<f64>),
}

/// A part of a setting that may differ from the reference's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Weights,
    Cache,
    Speculation,
    /// Anything else: flash attention, options, a draft model.
    Rest,
}

impl Fidelity {
    pub(super) fn of(setting: &Setting, header: &Header) -> Self {
        let mut models = header.models.iter();
        let file = models.find(|info| info.name == setting.model && info.weights == setting.weights);
        Self {
            weights_bytes: file.map(|file| file.bytes).filter(|bytes| *bytes > 0),
            weights: format!("{} {}", setting.model, setting.weights),
            k: (setting.k.clone(), bits(&setting.k)),
            v: (setting.v.clone(), bits(&setting.v)),
        }
    }

    /// Whether it keeps at least as much of everything.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let weights = self.weights == other.weights
            || self.weights_bytes.zip(other.weights_bytes).is_some_and(|(ours, theirs)| ours >= theirs);
        weights && at_least(&self.k, &other.k) && at_least(&self.v, &other.v)
    }

    /// Whether both have the same cache.
    pub(super) fn has_cache_of(&self, other: &Self) -> bool {
        self.k.0 == other.k.0 && self.v.0 == other.v.0
    }
}

fn at_least(ours: &(String, Option<f64>), theirs: &(String, Option<f64>)) -> bool {
    ours.0 == theirs.0 || ours.1.zip(theirs.1).is_some_and(|(ours, theirs)| ours >= theirs)
}

/// Bits of a value, with its part of the block's scale; `None` for a type that is not in the table.
fn bits(name: &str) -> Option<f64> {
    let kind = BlockType::named(name)?;
    Some(kind.bytes as f64 * 8.0 / kind.values as f64)
}

/// The parts in which a setting differs from another.
pub(super) fn parts(setting: &Setting, reference: &Setting) -> Vec<Part> {
    let mut parts = Vec::new();
    if (&setting.model, &setting.weights) != (&reference.model, &reference.weights) {
        parts.push(Part::Weights);
    }
    if (&setting.k, &setting.v) != (&reference.k, &reference.v) {
        parts.push(Part::Cache);
    }
    if setting.speculation != reference.speculation || setting.draft != reference.draft {
        parts.push(Part::Speculation);
    }
    let rest = |setting: &Setting| {
        (setting.flash_attention, setting.options.clone(), setting.extra_args.clone(), setting.engine.clone())
    };
    if rest(setting) != rest(reference) {
        parts.push(Part::Rest);
    }
    parts
}

/// Whether two settings have the same of a part.
pub(super) fn shares(part: Part, a: &Setting, b: &Setting) -> bool {
    !parts(a, b).contains(&part)
}
