//! The longest context at which a setting meets the requirements, and what stops the next longer one.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::candidate::{self, Candidate};
use super::levels::{self, Basis};
use super::request::PickRequest;
use super::warning;
use crate::error::{Error, Kind, Result};
use crate::judge::analysis::memory_formula::MemoryFormula;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::words;

/// Lengths by formula are whole multiples of this (tokens): servers round their caches up to it.
const STEP: u32 = 256;
/// So many settings are named with what stops them.
const NAMED: usize = 8;

/// What stands beyond the longest context.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Longest {
    /// The longest measured context length at which a setting meets the requirements (tokens).
    pub measured: u32,
    /// The next longer one that was looked at (tokens); `None`: nothing longer was measured, or may be.
    pub next: Option<u32>,
    /// What stops it, setting by setting.
    pub stopped_by: Vec<String>,
}

/// Finds the longest context: the request for it, and what stops the next.
///
/// # Errors
/// An error of kind [`Kind::NothingSelected`] when no setting meets the requirements at any measured length.
pub(super) fn find(run: &Run<'_>, request: &PickRequest) -> Result<(PickRequest, Longest)> {
    let mut longest = Longest::default();
    let mut shorter = Vec::new();
    for context in levels::measured(run).into_iter().rev() {
        let at = PickRequest { context, ..request.clone() };
        let basis = Basis::Measured(context);
        let candidates = candidate::all(run, &basis, &at)?;
        let blind = warning::quality_can_be_judged(run, &basis, &at).err();
        let fitting: Vec<&Candidate<'_>> = match blind {
            Some(_) => Vec::new(),
            None => candidates.iter().filter(|one| one.refused.is_empty()).collect(),
        };
        if fitting.is_empty() {
            longest.next = Some(context);
            longest.stopped_by =
                blind.map_or_else(|| reasons(&candidates), |error| error.hints()[..1].to_vec());
            shorter.push(format!(
                "{} tokens: {}",
                words::thousands(context.into()),
                longest.stopped_by.join("; ")
            ));
            continue;
        }
        longest.measured = context;
        if longest.next.is_some() {
            return Ok((at, longest));
        }
        return beyond(run, at, &fitting, longest);
    }
    let message = "no setting meets the requirements at any context length that was measured";
    Err(shorter.into_iter().fold(Error::new(Kind::NothingSelected, message), Error::hint))
}

/// Why each setting is refused.
fn reasons(candidates: &[Candidate<'_>]) -> Vec<String> {
    let one = |candidate: &Candidate<'_>| format!("{}: {}", candidate.label(), candidate.refused.join(", "));
    let mut lines: Vec<String> = candidates.iter().take(NAMED).map(one).collect();
    if candidates.len() > NAMED {
        lines.push(format!("and {} more settings", candidates.len() - NAMED));
    }
    lines
}

/// Beyond what was measured: by the memory formula, up to the context that the model was made for.
fn beyond(
    run: &Run<'_>,
    at: PickRequest,
    fitting: &[&Candidate<'_>],
    mut longest: Longest,
) -> Result<(PickRequest, Longest)> {
    if !at.extrapolate {
        longest.stopped_by =
            vec!["nothing longer was measured (--extrapolate goes on by the memory formula)".into()];
        return Ok((at, longest));
    }
    let mut reached = at.context;
    let mut limits = Vec::new();
    for candidate in fitting {
        let limit = limit(run, candidate, &at)?;
        reached = reached.max(limit.tokens);
        limits.push((limit, candidate.label()));
    }
    // Time to the first token grows with the context: what the formula lets pass may be too slow there.
    let longer = PickRequest { context: reached, ..at.clone() };
    if reached > at.context {
        let candidates = candidate::all(run, &Basis::Beyond(at.context), &longer)?;
        if candidates.iter().all(|candidate| !candidate.refused.is_empty()) {
            longest.next = Some(reached);
            longest.stopped_by = reasons(&candidates);
            return Ok((at, longest));
        }
    }
    let there = limits.iter().filter(|(limit, _)| limit.tokens == reached);
    longest.next = there.clone().filter_map(|(limit, _)| limit.next).min();
    longest.stopped_by =
        there.take(NAMED).map(|(limit, label)| format!("{label}: {}", limit.reason)).collect();
    Ok((longer, longest))
}

/// How far a setting goes by formula, and why no farther.
struct Limit {
    tokens: u32,
    next: Option<u32>,
    reason: String,
}

fn limit(run: &Run<'_>, candidate: &Candidate<'_>, at: &PickRequest) -> Result<Limit> {
    let stay = |reason: &str| Limit { tokens: at.context, next: None, reason: reason.to_owned() };
    let trained = run.trained_context(candidate.setting).and_then(|tokens| u32::try_from(tokens).ok());
    let Some(trained) = trained else {
        return Ok(stay("the context that its model was made for is not known"));
    };
    if trained <= at.context {
        return Ok(stay(&format!("its model was made for {} tokens", words::thousands(trained.into()))));
    }
    let made_for = Limit {
        tokens: trained,
        next: None,
        reason: format!("its model was made for {} tokens", words::thousands(trained.into())),
    };
    let Some(limit) = at.memory else { return Ok(made_for) };
    let formula = MemoryFormula::of(run, candidate.setting)?;
    let bytes = |tokens: u32| formula.at(tokens).total_bytes;
    let Some(whole) = bytes(trained) else {
        return Ok(stay("its memory at longer contexts is not known"));
    };
    if whole <= limit {
        return Ok(made_for);
    }
    let fits = |tokens: u32| bytes(tokens).is_some_and(|bytes| bytes <= limit);
    let tokens = farthest(at.context, trained, fits);
    let next = (tokens / STEP + 1) * STEP;
    let next = next.min(trained);
    let needs = bytes(next).map_or("more memory".to_owned(), words::bytes);
    let reason = format!("by formula it needs {needs} at {} tokens", words::thousands(next.into()));
    Ok(Limit { tokens, next: Some(next), reason })
}

/// The longest multiple of [`STEP`] up to `most` that fits, at least `least`; what fits at a length fits at all shorter ones.
fn farthest(least: u32, most: u32, fits: impl Fn(u32) -> bool) -> u32 {
    let (mut low, mut high) = (least / STEP, most / STEP);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        match fits(middle * STEP) {
            true => low = middle,
            false => high = middle - 1,
        }
    }
    (low * STEP).max(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_farthest_that_fits_is_found() {
        assert_eq!(farthest(1024, 32_768, |tokens| tokens <= 10_000), 9984);
        assert_eq!(farthest(1024, 32_768, |_| false), 1024);
        assert_eq!(farthest(1000, 32_768, |_| false), 1000);
        assert_eq!(farthest(1024, 32_768, |_| true), 32_768);
        assert_eq!(farthest(u32::MAX - 300, u32::MAX, |_| true), u32::MAX / STEP * STEP);
    }
}
