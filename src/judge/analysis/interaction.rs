//! 2x2 interactions: two changes that are each fine and break together.
//!
//! For settings A, B and A+B (each the reference with some factors changed, A and B with none in common) the
//! contrast `A+B - A - B + reference` is formed case by case, so that what makes a case hard cancels out.

use std::collections::BTreeMap;

use super::measured::Measured;
use super::quality::{Evidence, Level, contrast_of};
use super::run::Run;
use super::summary::{Estimate, Interaction, InteractionFinding, Verdict};
use crate::judge::stats::{ClusterSums, joint_draws, rng};
use crate::record::suite::{Setting, Suite};

/// A setting's factors that differ from the reference's, by name.
type Changes = BTreeMap<&'static str, String>;

/// Every pair of changes of one context length that was measured alone and together.
pub(crate) fn interactions(run: &Run<'_>, level: &Level<'_>, cells: &[Measured]) -> Vec<Interaction> {
    let triples: Vec<(Triple<'_>, Vec<ClusterSums>)> = triples(&run.suite.settings)
        .into_iter()
        .filter_map(|triple| {
            let contrast = level.contrast(&triple.one.label, &triple.other.label, &triple.both.label)?;
            Some((triple, contrast))
        })
        .collect();
    let columns: Vec<&[ClusterSums]> = triples.iter().map(|(_, contrast)| contrast.as_slice()).collect();
    let mut stream = rng(run.resampling.seed, &format!("interactions {}", level.context));
    let draws = joint_draws(&columns, run.resampling.draws, &mut stream);
    let verdict = |setting: &Setting| {
        let cell = cells.iter().find(|cell| cell.summary.setting == setting.label);
        cell.map_or(Verdict::NotMeasured, |cell| cell.summary.verdict)
    };
    let found = triples.into_iter().zip(&draws).filter_map(|((triple, strata), draws)| {
        let contrast = if run.suite.stops_by_outcome() {
            anytime(run.suite, &strata)?
        } else {
            contrast_of(&strata, &draws.means, run.resampling)?
        };
        let verdicts = [triple.one, triple.other, triple.both].map(verdict);
        Some(triple.interaction(level.context, contrast, finding(contrast, verdicts)))
    });
    found.collect()
}

/// The contrast's confidence sequence, for cells that were stopped by what they showed.
fn anytime(suite: &Suite, strata: &[ClusterSums]) -> Option<Estimate> {
    let halved: Vec<ClusterSums> = strata.iter().map(|stratum| stratum.scaled(0.5)).collect();
    let units = Evidence::of(suite, &halved);
    let (low, high) = units.confidence_sequence(suite.confidence)?;
    let n = units.len() as u32;
    Some(Estimate { value: 2.0 * units.mean()?, low: Some(2.0 * low), high: Some(2.0 * high), n })
}

fn finding(contrast: Estimate, [one, other, both]: [Verdict; 3]) -> InteractionFinding {
    let fine = |verdict| !matches!(verdict, Verdict::Worse | Verdict::NotComparable | Verdict::NotMeasured);
    match (contrast.low, contrast.high) {
        (_, Some(high)) if high < 0.0 && fine(one) && fine(other) && both == Verdict::Worse => {
            InteractionFinding::BrokenTogether
        }
        (_, Some(high)) if high < 0.0 => InteractionFinding::CostsMore,
        (Some(low), _) if low > 0.0 => InteractionFinding::CostsLess,
        _ => InteractionFinding::NotSeparable,
    }
}

struct Triple<'s> {
    one: &'s Setting,
    other: &'s Setting,
    both: &'s Setting,
    changes: [String; 2],
}

impl Triple<'_> {
    fn interaction(self, context: u32, contrast: Estimate, finding: InteractionFinding) -> Interaction {
        let [first_change, second_change] = self.changes;
        Interaction {
            context,
            one: self.one.label.clone(),
            other: self.other.label.clone(),
            both: self.both.label.clone(),
            first_change,
            second_change,
            contrast,
            finding,
        }
    }
}

fn triples(settings: &[Setting]) -> Vec<Triple<'_>> {
    let Some((reference, others)) = settings.split_first() else { return Vec::new() };
    let changed: Vec<(&Setting, Changes)> =
        others.iter().map(|setting| (setting, changes(setting, reference))).collect();
    let mut triples = Vec::new();
    for (at, (one, first)) in changed.iter().enumerate() {
        for (other, second) in &changed[at + 1..] {
            if first.keys().any(|factor| second.contains_key(factor)) {
                continue;
            }
            let union: Changes = first.iter().chain(second).map(|(k, v)| (*k, v.clone())).collect();
            let both = changed.iter().find(|(_, changes)| *changes == union);
            triples.extend(both.map(|(both, _)| Triple {
                one,
                other,
                both,
                changes: [words(first), words(second)],
            }));
        }
    }
    triples
}

fn changes(setting: &Setting, reference: &Setting) -> Changes {
    let factors = |setting: &Setting| {
        [
            ("model", setting.model.clone()),
            ("weights", setting.weights.clone()),
            ("k", setting.k.clone()),
            ("v", setting.v.clone()),
            ("speculation", setting.speculation.clone()),
            ("flash attention", setting.flash_attention.name().to_owned()),
            ("draft", setting.draft.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("options", options(setting)),
            ("arguments", setting.extra_args.join(" ")),
            ("sampling", setting.sampling.map(|sampling| sampling.words()).unwrap_or_default()),
            ("engine", setting.engine.clone()),
        ]
    };
    let pairs = factors(setting).into_iter().zip(factors(reference));
    pairs.filter(|(own, usual)| own != usual).map(|(own, _)| own).collect()
}

/// `name=value`, with spaces between.
fn options(setting: &Setting) -> String {
    let options = setting.options.iter().map(|(name, value)| format!("{name}={value}"));
    options.collect::<Vec<_>>().join(" ")
}

fn words(changes: &Changes) -> String {
    let mut changes = changes.clone();
    let mut parts = Vec::new();
    if changes.contains_key("k") && changes.get("k") == changes.get("v") {
        parts.extend(changes.remove("k").map(|kind| format!("kv={kind}")));
        changes.remove("v");
    }
    parts.extend(changes.iter().map(|(factor, value)| format!("{factor}={value}")));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::suite::FlashAttention;

    fn setting(weights: &str, kv: &str, speculation: &str) -> Setting {
        let mut setting = Setting {
            label: String::new(),
            engine: "llama.cpp".into(),
            model: "m".into(),
            weights: weights.into(),
            k: kv.into(),
            v: kv.into(),
            speculation: speculation.into(),
            flash_attention: FlashAttention::On,
            draft: None,
            options: Default::default(),
            extra_args: Vec::new(),
            sampling: None,
        };
        setting.label = setting.label_of(false);
        setting
    }

    #[test]
    fn changes_alone_and_together_are_found() {
        let settings = [
            setting("Q8_0", "f16", "off"),
            setting("Q8_0", "q4_0", "off"),
            setting("Q8_0", "q8_0", "off"),
            setting("Q8_0", "f16", "ngram"),
            setting("Q8_0", "q4_0", "ngram"),
            setting("Q4_0", "q8_0", "ngram"),
        ];
        let found = triples(&settings);
        let shown: Vec<_> = found.iter().map(|t| (t.changes.join(" x "), t.both.label.as_str())).collect();
        assert_eq!(shown, [("kv=q4_0 x speculation=ngram".to_owned(), "Q8_0 kv=q4_0 spec=ngram")]);
        assert!(triples(&[]).is_empty());
    }

    #[test]
    fn fine_alone_and_broken_together_is_a_finding_of_its_own() {
        let contrast =
            |low, high| Estimate { value: (low + high) / 2.0, low: Some(low), high: Some(high), n: 100 };
        use Verdict::{NoWorse, NotSeparable, Worse};
        let below = contrast(-0.3, -0.1);
        assert_eq!(finding(below, [NoWorse, NotSeparable, Worse]), InteractionFinding::BrokenTogether);
        assert_eq!(finding(below, [NoWorse, Worse, Worse]), InteractionFinding::CostsMore);
        assert_eq!(finding(contrast(-0.3, 0.1), [NoWorse, NoWorse, Worse]), InteractionFinding::NotSeparable);
        assert_eq!(finding(contrast(0.1, 0.2), [Worse, Worse, Worse]), InteractionFinding::CostsLess);
    }
}
