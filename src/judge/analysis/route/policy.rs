//! Policies: which setting gets a request, by what is known before the answer.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::data::{Data, RoutedCase};
use super::features::Feature;

/// Thresholds that are tried for a feature.
const CUTS: usize = 16;

/// More families than this are not tried in all combinations.
const MAX_FAMILIES: usize = 8;

/// What a policy looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

    /// Whether an item goes to the smart setting.
    pub(super) fn is_smart(&self, item: &RoutedCase<'_>) -> bool {
        let value = |feature: &Feature| {
            let place = Feature::ALL.iter().position(|known| known == feature);
            place.map_or(0.0, |at| item.features[at])
        };
        match self {
            Self::AtLeast(feature, at) => value(feature) >= *at,
            Self::Below(feature, at) => value(feature) < *at,
            Self::Families(names) => names.contains(item.family),
        }
    }
}

/// For each half the policy of a kind that does best on the other half; `None` when the items do not differ
/// in what the kind looks at.
pub(super) fn choose_on_halves(kind: PolicyKind, data: &Data<'_>) -> Option<[Policy; 2]> {
    let on = |half: usize| {
        let items: Vec<&RoutedCase<'_>> = data.items.iter().filter(|item| item.half == half).collect();
        best_on(kind, data, &items)
    };
    Some([on(1)?, on(0)?])
}

fn best_on(kind: PolicyKind, data: &Data<'_>, items: &[&RoutedCase<'_>]) -> Option<Policy> {
    let scored = policies(kind, items).into_iter().map(|policy| (worth(&policy, data, items), policy));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, policy)| policy)
}

/// Quality above what the coin-tossed mixture of the two settings has at the same mean latency; without a
/// difference in latency, the quality. Every stratum weighs the same.
fn worth(policy: &Policy, data: &Data<'_>, items: &[&RoutedCase<'_>]) -> f64 {
    let mean = |of: &dyn Fn(&RoutedCase<'_>) -> f64| stratified(items, data.clusters.len(), of);
    let pick = |item: &RoutedCase<'_>| if policy.is_smart(item) { data.smart } else { data.fast };
    let quality = |at: usize| mean(&|item| item.answers[at].quality);
    let latency = |at: usize| mean(&|item| item.answers[at].latency_s);
    let (fast_s, smart_s) = (latency(data.fast), latency(data.smart));
    let own = mean(&|item| item.answers[pick(item)].quality);
    let own_s = mean(&|item| item.answers[pick(item)].latency_s);
    if smart_s <= fast_s {
        return own;
    }
    let share = (own_s - fast_s) / (smart_s - fast_s);
    own - quality(data.fast) - share * (quality(data.smart) - quality(data.fast))
}

/// The mean over strata of the items' means.
fn stratified(items: &[&RoutedCase<'_>], strata: usize, of: &dyn Fn(&RoutedCase<'_>) -> f64) -> f64 {
    let mut sums = vec![(0.0, 0.0); strata];
    for item in items {
        let (sum, count) = &mut sums[item.stratum];
        *sum += of(item);
        *count += 1.0;
    }
    let means: Vec<f64> =
        sums.into_iter().filter(|(_, count)| *count > 0.0).map(|(sum, count)| sum / count).collect();
    means.iter().sum::<f64>() / means.len().max(1) as f64
}

/// The policies of a kind that these items tell apart.
fn policies(kind: PolicyKind, items: &[&RoutedCase<'_>]) -> Vec<Policy> {
    match kind {
        PolicyKind::Threshold(feature) => thresholds(feature, items),
        PolicyKind::Family => families(items),
        PolicyKind::Best => {
            let others = PolicyKind::ALL.iter().filter(|kind| **kind != PolicyKind::Best);
            others.flat_map(|&kind| policies(kind, items)).collect()
        }
    }
}

fn thresholds(feature: Feature, items: &[&RoutedCase<'_>]) -> Vec<Policy> {
    let Some(place) = Feature::ALL.iter().position(|known| *known == feature) else { return Vec::new() };
    let mut values: Vec<f64> = items.iter().map(|item| item.features[place]).collect();
    values.sort_by(f64::total_cmp);
    values.dedup();
    // The smallest value as a threshold would send everything one way.
    let step = values.len().div_ceil(CUTS).max(1);
    let cuts = values.iter().skip(1).step_by(step);
    cuts.flat_map(|&at| [Policy::AtLeast(feature, at), Policy::Below(feature, at)]).collect()
}

fn families(items: &[&RoutedCase<'_>]) -> Vec<Policy> {
    let names: BTreeSet<&str> = items.iter().map(|item| item.family).collect();
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
