//! Policies: which setting gets a request, by what is known before the answer.

use std::collections::BTreeSet;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::{Data, RoutedCase};
use super::features::Feature;

/// Thresholds that are tried for a feature.
const CUTS: usize = 16;

/// More families than this are not tried in all combinations.
const MAX_FAMILIES: usize = 8;

/// What a policy looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PolicyKind {
    /// One number of the request against a threshold.
    Threshold(Feature),
    /// The family of the task.
    Family,
    /// Whichever of the others does best on the half that it is chosen on.
    Best,
}

impl PolicyKind {
    /// Every one.
    pub const ALL: &[Self] = &[
        Self::Threshold(Feature::PromptTokens),
        Self::Threshold(Feature::Tools),
        Self::Threshold(Feature::Messages),
        Self::Threshold(Feature::LastMessage),
        Self::Threshold(Feature::Digits),
        Self::Family,
        Self::Best,
    ];

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Threshold(feature) => feature.words(),
            Self::Family => "task family",
            Self::Best => "the best of all features",
        }
    }
}

/// Which requests go to the smart setting; the others go to the fast one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Those with at least this much of a feature.
    AtLeast(Feature, f64),
    /// Those with less than this.
    Below(Feature, f64),
    /// Those of these families.
    Families(BTreeSet<String>),
}

impl Policy {
    /// In words.
    pub fn words(&self) -> String {
        let number = |value: f64| format!("{}", (value * 1000.0).round() / 1000.0);
        match self {
            Self::AtLeast(feature, at) => format!("{} >= {}", feature.words(), number(*at)),
            Self::Below(feature, at) => format!("{} < {}", feature.words(), number(*at)),
            Self::Families(names) if names.is_empty() => "no family".into(),
            Self::Families(names) => {
                format!("families {}", names.iter().cloned().collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Whether a case goes to the smart setting.
    pub(super) fn is_smart(&self, case: &RoutedCase<'_>) -> bool {
        let value = |feature: &Feature| {
            let place = Feature::ALL.iter().position(|known| known == feature);
            place.map_or(0.0, |at| case.features[at])
        };
        match self {
            Self::AtLeast(feature, at) => value(feature) >= *at,
            Self::Below(feature, at) => value(feature) < *at,
            Self::Families(names) => names.contains(case.family),
        }
    }
}

/// For each half the policy of a kind that does best on the other half; `None` when the cases do not differ
/// in what the kind looks at.
pub(super) fn choose_on_halves(kind: PolicyKind, data: &Data<'_>) -> Option<[Policy; 2]> {
    let on = |half: usize| {
        let cases: Vec<&RoutedCase<'_>> = data.cases.iter().filter(|case| case.half == half).collect();
        best_on(kind, data, &cases)
    };
    Some([on(1)?, on(0)?])
}

fn best_on(kind: PolicyKind, data: &Data<'_>, cases: &[&RoutedCase<'_>]) -> Option<Policy> {
    let scored = policies(kind, cases).into_iter().map(|policy| (worth(&policy, data, cases), policy));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, policy)| policy)
}

/// Quality above what the coin-tossed mixture of the two settings has at the same mean latency; without a
/// difference in latency, the quality. Every stratum weighs the same.
fn worth(policy: &Policy, data: &Data<'_>, cases: &[&RoutedCase<'_>]) -> f64 {
    let mean = |of: &dyn Fn(&RoutedCase<'_>) -> f64| stratified(cases, data.clusters.len(), of);
    let pick = |case: &RoutedCase<'_>| if policy.is_smart(case) { data.smart } else { data.fast };
    let quality = |at: usize| mean(&|case| case.answers[at].quality);
    let latency = |at: usize| mean(&|case| case.answers[at].latency_s);
    let (fast_s, smart_s) = (latency(data.fast), latency(data.smart));
    let own = mean(&|case| case.answers[pick(case)].quality);
    let own_s = mean(&|case| case.answers[pick(case)].latency_s);
    if smart_s <= fast_s {
        return own;
    }
    let share = (own_s - fast_s) / (smart_s - fast_s);
    own - quality(data.fast) - share * (quality(data.smart) - quality(data.fast))
}

/// The mean over strata of the cases' means.
fn stratified(cases: &[&RoutedCase<'_>], strata: usize, of: &dyn Fn(&RoutedCase<'_>) -> f64) -> f64 {
    let mut sums = vec![(0.0, 0.0); strata];
    for case in cases {
        let (sum, count) = &mut sums[case.stratum];
        *sum += of(case);
        *count += 1.0;
    }
    let means: Vec<f64> =
        sums.into_iter().filter(|(_, count)| *count > 0.0).map(|(sum, count)| sum / count).collect();
    means.iter().sum::<f64>() / means.len().max(1) as f64
}

/// The policies of a kind that these cases tell apart.
fn policies(kind: PolicyKind, cases: &[&RoutedCase<'_>]) -> Vec<Policy> {
    match kind {
        PolicyKind::Threshold(feature) => thresholds(feature, cases),
        PolicyKind::Family => families(cases),
        PolicyKind::Best => {
            let others = PolicyKind::ALL.iter().filter(|kind| **kind != PolicyKind::Best);
            others.flat_map(|&kind| policies(kind, cases)).collect()
        }
    }
}

fn thresholds(feature: Feature, cases: &[&RoutedCase<'_>]) -> Vec<Policy> {
    let Some(place) = Feature::ALL.iter().position(|known| *known == feature) else { return Vec::new() };
    let mut values: Vec<f64> = cases.iter().map(|case| case.features[place]).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    // The smallest value as a threshold would send everything one way.
    let step = values.len().div_ceil(CUTS).max(1);
    let cuts = values.iter().skip(1).step_by(step);
    cuts.flat_map(|&at| [Policy::AtLeast(feature, at), Policy::Below(feature, at)]).collect()
}

fn families(cases: &[&RoutedCase<'_>]) -> Vec<Policy> {
    let names: BTreeSet<&str> = cases.iter().map(|case| case.family).collect();
    let names: Vec<&str> = names.into_iter().collect();
    if names.len() < 2 || names.len() > MAX_FAMILIES {
        return Vec::new();
    }
    let subset = |mask: usize| {
        let inside = names.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0);
        Policy::Families(inside.map(|(_, name)| (*name).to_owned()).collect())
    };
    // Neither none nor all of them: those are the settings alone.
    (1..(1 << names.len()) - 1).map(subset).collect()
}
