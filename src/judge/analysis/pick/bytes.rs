//! What a byte buys: from the reference down, what each step in weights and in KV cache saves and costs.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::candidate::Candidate;
use crate::error::Result;
use crate::judge::analysis::memory_formula::MemoryFormula;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::Estimate;
use crate::judge::analysis::words;
use crate::judge::stats::percentile_interval;
use crate::record::Objective;
use crate::record::suite::Setting;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
/// Memory that differs by no more than this share is about the same.
const ABOUT: f64 = 0.05;

/// What of a setting is made smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Its weights.
    Weights,
    /// Its KV cache.
    Kv,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Kv => "KV cache",
        }
    }
}

/// A setting that differs from the reference in weights or KV cache alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ByteStep {
    /// What is smaller.
    pub part: Part,
    /// Setting label.
    pub setting: String,
    /// Memory that it saves (bytes): the reference's peak less its own.
    pub saved_bytes: i64,
    /// What it costs: the paired difference of its quality to the reference's (points of the 0..1 scale; negative is a loss).
    pub difference: Estimate,
    /// That difference for every GiB saved; `None` where it saves nothing.
    pub per_gib: Option<f64>,
}

/// Two settings of about the same memory: one has the better weights, the other the better cache.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct EqualPair {
    /// Label of the one with more bytes of weights.
    pub more_weights: String,
    /// Label of the one with more bytes of KV cache.
    pub more_kv: String,
    /// Memory of both (bytes), in that order.
    pub memory_bytes: [u64; 2],
    /// Quality of the first less that of the second (points of the 0..1 scale).
    pub difference: Estimate,
}

/// The answer to whether better weights or a better cache are worth their bytes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Bytes {
    /// It in a sentence.
    pub answer: String,
    /// From the reference down, the cheapest first.
    pub steps: Vec<ByteStep>,
    /// Pairs of about the same memory.
    pub pairs: Vec<EqualPair>,
}

/// Compares them at the context length of the candidates (tokens).
pub(super) fn compare(run: &Run<'_>, candidates: &[Candidate<'_>], context: u32) -> Result<Bytes> {
    let steps = steps(candidates);
    let pairs = pairs(run, candidates, context)?;
    Ok(Bytes { answer: answer(&steps, &pairs), steps, pairs })
}

fn steps(candidates: &[Candidate<'_>]) -> Vec<ByteStep> {
    let Some(reference) = candidates.iter().find(|candidate| candidate.is_reference) else {
        return Vec::new();
    };
    let step = |candidate: &Candidate<'_>| {
        let part = single_step(reference.setting, candidate.setting)?;
        let saved = i64::try_from(reference.memory()?).ok()? - i64::try_from(candidate.memory()?).ok()?;
        let same_kind = reference.memory_kind == candidate.memory_kind;
        let difference = candidate.difference?;
        let per_gib = (saved > 0).then(|| difference.value / (saved as f64 / GIB));
        same_kind.then(|| ByteStep {
            part,
            setting: candidate.label().to_owned(),
            saved_bytes: saved,
            difference,
            per_gib,
        })
    };
    let mut steps: Vec<ByteStep> = candidates.iter().filter_map(step).collect();
    // What saves nothing stands last.
    let cost = |step: &ByteStep| step.per_gib.map_or(f64::INFINITY, |points| -points);
    steps.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    steps
}

/// What of two settings differs, where that is the weights or the cache alone.
fn single_step(from: &Setting, to: &Setting) -> Option<Part> {
    let bare = |setting: &Setting| Setting {
        label: String::new(),
        weights: String::new(),
        k: String::new(),
        v: String::new(),
        ..setting.clone()
    };
    let same_weights = from.weights == to.weights;
    let same_cache = (&from.k, &from.v) == (&to.k, &to.v);
    match (bare(from) == bare(to), same_weights, same_cache) {
        (true, false, true) => Some(Part::Weights),
        (true, true, false) => Some(Part::Kv),
        _ => None,
    }
}

/// A candidate with the bytes of its parts.
struct Sized<'c, 'a> {
    candidate: &'c Candidate<'a>,
    memory: u64,
    weights: u64,
    kv: u64,
}

fn pairs(run: &Run<'_>, candidates: &[Candidate<'_>], context: u32) -> Result<Vec<EqualPair>> {
    let mut sized = Vec::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.setting.speculates()) {
        let parts = MemoryFormula::of(run, candidate.setting)?.at(context);
        if let Some((memory, kv)) = candidate.memory().zip(parts.kv_bytes) {
            sized.push(Sized { candidate, memory, weights: parts.weights_bytes, kv });
        }
    }
    let mut pairs = Vec::new();
    for a in &sized {
        pairs.extend(sized.iter().filter_map(|b| equal_pair(a, b, run.resampling.confidence)));
    }
    Ok(pairs)
}

/// `a` has more weights and less cache than `b`, and about as many bytes.
fn equal_pair(a: &Sized<'_, '_>, b: &Sized<'_, '_>, confidence: f64) -> Option<EqualPair> {
    let crossed = a.weights > b.weights && a.kv < b.kv;
    let about = a.memory.abs_diff(b.memory) as f64 <= ABOUT * a.memory.max(b.memory) as f64;
    let comparable = a.candidate.setting.model == b.candidate.setting.model
        && a.candidate.memory_kind == b.candidate.memory_kind;
    if !(crossed && about && comparable) {
        return None;
    }
    let (ours, theirs) =
        (a.candidate.figures.get(&Objective::Quality)?, b.candidate.figures.get(&Objective::Quality)?);
    let draws = a.candidate.draws().min(b.candidate.draws());
    let differences: Vec<f64> =
        (0..draws).filter_map(|number| Some(ours.draw(number)? - theirs.draw(number)?)).collect();
    let interval = percentile_interval(differences, confidence);
    Some(EqualPair {
        more_weights: a.candidate.label().to_owned(),
        more_kv: b.candidate.label().to_owned(),
        memory_bytes: [a.memory, b.memory],
        difference: Estimate {
            value: ours.estimate.value - theirs.estimate.value,
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            n: ours.estimate.n.min(theirs.estimate.n),
        },
    })
}

/// The sentence: the cheapest step of each part, and whether they can be told apart.
fn answer(steps: &[ByteStep], pairs: &[EqualPair]) -> String {
    let best = |part| steps.iter().find(|step| step.part == part && step.per_gib.is_some());
    let told = pairs.iter().filter(|pair| {
        pair.difference.low.zip(pair.difference.high).is_some_and(|(low, high)| low > 0.0 || high < 0.0)
    });
    if let Some(pair) = told.max_by(|a, b| a.difference.value.abs().total_cmp(&b.difference.value.abs())) {
        let (better, worse, what) = match pair.difference.value > 0.0 {
            true => (&pair.more_weights, &pair.more_kv, "weights"),
            false => (&pair.more_kv, &pair.more_weights, "KV cache"),
        };
        return format!(
            "For about the same memory ({}) the better {what} buys more: {better} is {} above {worse}{}",
            words::bytes(pair.memory_bytes[0]),
            words::points(pair.difference.value.abs()),
            interval(&towards(pair.difference)),
        );
    }
    match (best(Part::Kv), best(Part::Weights)) {
        (Some(kv), Some(weights)) => {
            let (cheap, dear) = if kv.per_gib >= weights.per_gib { (kv, weights) } else { (weights, kv) };
            let told = apart(&cheap.difference, &dear.difference, cheap.saved_bytes, dear.saved_bytes);
            let doubt = if told { "" } else { ", but the intervals overlap: this run cannot tell which is cheaper" };
            format!("A GiB is cheapest from the {}: {}, beside {}{doubt}", cheap.part.name(), shown(cheap), shown(dear))
        }
        (Some(only), None) | (None, Some(only)) => {
            let other = if only.part == Part::Kv { Part::Weights } else { Part::Kv };
            format!(
                "{}; no setting with other {} alone was measured beside the reference: which is cheaper cannot be said",
                shown(only),
                other.name()
            )
        }
        (None, None) => "No setting with other weights alone, or another KV cache alone, saves memory beside the reference and has a \
                         quality: what a byte buys cannot be said"
            .to_owned(),
    }
}

/// The difference as that of the better one.
fn towards(difference: Estimate) -> Estimate {
    match difference.value < 0.0 {
        true => Estimate {
            value: -difference.value,
            low: difference.high.map(|high| -high),
            high: difference.low.map(|low| -low),
            ..difference
        },
        false => difference,
    }
}

fn shown(step: &ByteStep) -> String {
    format!(
        "{} saves {} for {:+.1} points{}, {:+.1} a GiB",
        step.setting,
        words::bytes(step.saved_bytes.unsigned_abs()),
        step.difference.value * 100.0,
        interval(&step.difference),
        step.per_gib.unwrap_or_default() * 100.0,
    )
}

fn interval(estimate: &Estimate) -> String {
    match (estimate.low, estimate.high) {
        (Some(low), Some(high)) => format!(" (interval {:+.1} to {:+.1})", low * 100.0, high * 100.0),
        _ => " (without an interval)".to_owned(),
    }
}

/// Whether the intervals of two costs for a GiB do not overlap.
fn apart(a: &Estimate, b: &Estimate, saved_a: i64, saved_b: i64) -> bool {
    let scaled = |estimate: &Estimate, saved: i64| {
        let gib = saved as f64 / GIB;
        Some((estimate.low? / gib, estimate.high? / gib))
    };
    match (scaled(a, saved_a), scaled(b, saved_b)) {
        (Some((low_a, high_a)), Some((low_b, high_b))) => low_a > high_b || low_b > high_a,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(part: Part, setting: &str, saved: f64, value: f64, half: f64) -> ByteStep {
        let saved_bytes = (saved * GIB) as i64;
        let difference = Estimate { value, low: Some(value - half), high: Some(value + half), n: 100 };
        ByteStep {
            part,
            setting: setting.into(),
            saved_bytes,
            difference,
            per_gib: (saved > 0.0).then_some(value / saved),
        }
    }

    #[test]
    fn the_cheaper_part_is_named_and_doubt_is_said() {
        let kv = step(Part::Kv, "kv=q8_0", 2.0, -0.002, 0.001);
        let weights = step(Part::Weights, "Q4_K_M", 2.0, -0.05, 0.01);
        let said = answer(&[kv.clone(), weights.clone()], &[]);
        assert!(
            said.starts_with("A GiB is cheapest from the KV cache: kv=q8_0 saves 2.00 GiB for -0.2 points"),
            "{said}"
        );
        assert!(!said.contains("overlap"), "{said}");
        let unsure = step(Part::Weights, "Q4_K_M", 2.0, -0.004, 0.01);
        assert!(answer(&[kv.clone(), unsure], &[]).contains("cannot tell"));
        assert!(answer(&[kv], &[]).contains("no setting with other weights alone"));
        assert!(answer(&[step(Part::Kv, "x", 0.0, 0.0, 0.1)], &[]).contains("cannot be said"));
        let pair = EqualPair {
            more_weights: "Q8_0 kv=q4_0".into(),
            more_kv: "Q4_K_M kv=f16".into(),
            memory_bytes: [4 << 30, 4 << 30],
            difference: Estimate { value: -0.1, low: Some(-0.15), high: Some(-0.05), n: 100 },
        };
        let said = answer(&[weights], &[pair]);
        assert!(
            said.contains(
                "the better KV cache buys more: Q4_K_M kv=f16 is 10 points above Q8_0 kv=q4_0 (interval +5.0 to +15.0)"
            ),
            "{said}"
        );
    }
}
