//! What each setting is sampled with, and the seed of each reply.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resolved::Suite;
use super::sampling::Sampling;
use super::setting::Setting;
use crate::record::TrialKey;
use crate::record::hash::short_hash;

/// Derived seeds lie below this: engines read seeds as 32-bit numbers, some of them with a sign, and llama.cpp takes the largest one
/// without a sign for "any seed".
const SEEDS: u64 = (1 << 31) - 1;

/// Settings that sample alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct SampledAlike {
    /// Their labels, in suite order.
    pub settings: Vec<String>,
    /// What is sent with every request to them.
    pub sampling: Sampling,
    /// What differs from the reference's, in words, such as `temperature 0.6 instead of 0`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differs: Vec<String>,
}

impl Suite {
    /// What is sent with every request to a setting, but for the seeds of repeated cases: its own sampling, else the suite's.
    pub fn sampling_of(&self, setting: &Setting) -> Sampling {
        setting.sampling.unwrap_or(self.sampling)
    }

    /// As [`Suite::sampling_of`], by the setting's label.
    pub fn sampling_at(&self, label: &str) -> Sampling {
        let setting = self.settings.iter().find(|setting| setting.label == label);
        setting.map_or(self.sampling, |setting| self.sampling_of(setting))
    }

    /// How often each case of a task is asked.
    pub fn repeats_of(&self, task: &str) -> u32 {
        self.tasks.iter().find(|spec| spec.name == task).map_or(1, |spec| spec.repeats)
    }

    /// How often cases are asked, where that is more than once.
    pub fn repeats(&self) -> Option<u32> {
        self.tasks.iter().map(|spec| spec.repeats).max().filter(|repeats| *repeats > 1)
    }

    /// What is sent with the request of a trial. Where a case is asked several times, each reply has a seed of its own, the same one for
    /// every setting: of the suite's seed, the sampler's, the case, the visit and the repeat. The reference's second visit has
    /// others than its first, so that the noise floor holds what drawing other tokens does.
    pub fn sampling_for(&self, key: &TrialKey, case: &str) -> Sampling {
        let sampling = self.sampling_at(&key.setting);
        if self.repeats_of(&key.task) <= 1 {
            return sampling;
        }
        let parts = format!("{} {} {case} {} {}", self.seed, sampling.seed, key.replicate, key.repeat);
        let hash = u64::from_str_radix(&short_hash(parts.as_bytes()), 16).unwrap_or_default();
        Sampling { seed: (hash % SEEDS) as u32, ..sampling }
    }

    /// Settings by how they sample, the reference's kind first; nothing where all are greedy by default, as ever.
    pub fn sampled(&self) -> Vec<SampledAlike> {
        let reference = self.sampling_of(self.reference());
        let mut all: Vec<SampledAlike> = Vec::new();
        for setting in &self.settings {
            let sampling = self.sampling_of(setting);
            let label = setting.label.clone();
            match all.iter_mut().find(|alike| alike.sampling == sampling) {
                Some(alike) => alike.settings.push(label),
                None => {
                    let differs = sampling.differences(&reference).into_iter();
                    let differs = differs
                        .map(|(name, ours, theirs)| format!("{name} {ours} instead of {theirs}"))
                        .collect();
                    all.push(SampledAlike { settings: vec![label], sampling, differs });
                }
            }
        }
        let is_usual = |alike: &SampledAlike| alike.sampling == Sampling::default();
        if all.iter().all(is_usual) { Vec::new() } else { all }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;
    use crate::record::KeyParts;

    fn suite(more: &str) -> Suite {
        let text = format!(
            "name = \"t\"\ncontexts = [512]\nseed = 7\nrepeats = 3\n[sampling]\ntemperature = 0.7\n[[model]]\nname = \"m\"\n\
             path = \"m.gguf\"\nweights = \"Q8_0\"\n{more}[[setting]]\nkv = \"q8_0\"\n[setting.sampling]\ntemperature = 0.6\n\
             top_k = 20\n[reference]\n[[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = 2\n\
             [[task]]\nname = \"serving/speed\"\nsamples = 2\n"
        );
        crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap()
    }

    fn key(suite: &Suite, task: &str, replicate: u32, repeat: u32) -> TrialKey {
        KeyParts {
            setting: suite.reference().label.as_str().into(),
            context: 512,
            round: 0,
            replicate,
            task: task.into(),
            arm: None,
            index: 0,
            repeat,
        }
        .key()
    }

    #[test]
    fn every_repeat_has_a_seed_of_its_own_and_every_setting_the_same_one() {
        let suite = suite("");
        let task = "retrieval/niah_multikey_2";
        let mut seeds = HashSet::new();
        for case in ["a", "b"] {
            for replicate in 0..2 {
                for repeat in 0..3 {
                    let key = key(&suite, task, replicate, repeat);
                    let ours = suite.sampling_for(&key, case);
                    let other =
                        KeyParts { setting: suite.settings[1].label.as_str().into(), ..key.parts() }.key();
                    let theirs = suite.sampling_for(&other, case);
                    assert_eq!((ours.seed, ours.temperature), (theirs.seed, 0.7));
                    assert_eq!((theirs.temperature, theirs.top_k), (0.6, 20));
                    assert!(u64::from(ours.seed) < SEEDS && seeds.insert(ours.seed));
                }
            }
        }
        assert_eq!(seeds.len(), 12);
        let again = suite.sampling_for(&key(&suite, task, 0, 1), "a");
        assert!(seeds.contains(&again.seed), "the same trial has the same seed");
        let other = Suite { seed: 8, ..suite.clone() };
        assert!(!seeds.contains(&other.sampling_for(&key(&suite, task, 0, 1), "a").seed));
        let once = suite.sampling_for(&key(&suite, "serving/speed", 0, 0), "a");
        assert_eq!(once, suite.sampling, "what is asked once keeps the seed that the suite says");
    }

    #[test]
    fn settings_are_told_by_how_they_sample() {
        let suite = suite("");
        let rows = suite.sampled();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].differs.is_empty());
        assert_eq!(rows[1].differs, ["temperature 0.6 instead of 0.7", "top_k 20 instead of 0"]);
        let greedy =
            Suite { sampling: Sampling::default(), settings: vec![suite.reference().clone()], ..suite };
        assert_eq!(greedy.sampled(), []);
    }
}
