//! A suite, and what makes two of them the same.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::judging::{Gate, Stopping, StoppingRule};
use super::notify::Notify;
use super::packed::PackedReference;
use super::parts::{EngineSpec, ModelSpec, TaskSpec};
use super::sampling::Sampling;
use super::serving::LoadSpec;
use super::setting::Setting;
use crate::record::forced::Scoring;
use crate::record::hash::short_hash;
use crate::record::key::TrialKey;
use crate::record::objective::Objective;

/// A suite with every default filled in and the matrix expanded. This is what the journal's header holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Suite {
    /// Short name, used in the run folder's name.
    pub name: String,
    /// What the suite is for.
    pub description: String,
    /// Seed of cases and resampling.
    pub seed: u64,
    /// How often every cell is visited, each time with a slice of the cases.
    pub rounds: u32,
    /// Non-inferiority margin (points of the 0..1 scale).
    pub margin: f64,
    /// Confidence of intervals (0..1).
    pub confidence: f64,
    /// Bootstrap draws.
    pub draws: u32,
    /// Context lengths (tokens), ascending.
    pub contexts: Vec<u32>,
    /// What the front trades off.
    pub objectives: Vec<Objective>,
    /// The engine that serves.
    pub engine: EngineSpec,
    /// Models by name.
    pub models: Vec<ModelSpec>,
    /// Every setting, the reference first.
    pub settings: Vec<Setting>,
    /// Where the reference's trials come from, when it is not measured in the run itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackedReference>,
    /// Tasks in order.
    pub tasks: Vec<TaskSpec>,
    /// Sampling parameters, every one sent with every request to a setting that has none of its own.
    pub sampling: Sampling,
    /// Stopping early.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopping: Option<Stopping>,
    /// Many requests at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<LoadSpec>,
    /// Limits that a run must keep.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// Whom to tell when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<Notify>,
}

impl Suite {
    /// The setting that the others are compared with.
    pub fn reference(&self) -> &Setting {
        &self.settings[0]
    }

    /// Returns whether a setting is the reference and comes from a pack: no server is started for it, and its trials say
    /// nothing of this machine.
    pub fn is_packed(&self, label: &str) -> bool {
        self.pack.is_some() && self.reference().label == label
    }

    /// The settings that servers are started for.
    pub fn measured(&self) -> impl Iterator<Item = &Setting> {
        self.settings.iter().skip(usize::from(self.pack.is_some()))
    }

    /// Whether the suite itself says how a setting's positions are scaled, so that the context named in the model's
    /// file is not the longest.
    pub fn scales_positions(&self, setting: &Setting) -> bool {
        let named = setting.options.keys().any(|name| SCALING_OPTIONS.contains(&name.as_str()));
        let flagged = |word: &String| {
            let flag = word.split('=').next().unwrap_or_default();
            let name = flag.trim_start_matches('-').replace('-', "_");
            flag.starts_with("--") && SCALING_OPTIONS.contains(&name.as_str())
        };
        named || self.engine.args.iter().any(flagged)
    }

    /// Whether cells may be stopped because of what they showed: then only evidence that holds at any time
    /// counts.
    pub fn stops_by_outcome(&self) -> bool {
        self.stopping.is_some_and(|stopping| stopping.rule.is_some())
    }

    /// Whether a cell may be stopped in the middle of a visit: every task asks several questions to a text and scores them by
    /// probability, so that each text is evidence of its own which may be looked at, and none is about speed, for which
    /// the settings have to take turns.
    pub fn stops_within_visits(&self) -> bool {
        let rule = self.stopping.and_then(|stopping| stopping.rule);
        let by_text = |task: &TaskSpec| task.score == Scoring::Probability && task.questions > 1;
        matches!(rule, Some(StoppingRule::Sequential | StoppingRule::Racing))
            && self.tasks.iter().all(by_text)
    }

    /// Which of its round's texts (from 0) a planned trial is about.
    pub fn text_of(&self, key: &TrialKey) -> u32 {
        let task = self.tasks.iter().find(|task| task.name == key.task.as_str());
        task.map_or(0, |task| task.text_of(key.index, self.rounds))
    }

    /// Returns whether its answers are scored by their probability: then all of them are.
    pub fn scores_by_probability(&self) -> bool {
        self.tasks.iter().any(|task| task.score == Scoring::Probability)
    }

    /// Hash of everything that makes trials comparable: the whole resolved suite but its description and what
    /// only judges them (gates, limits of the goodput) or tells of them.
    pub fn fingerprint(&self) -> String {
        // Where a search goes follows from the limits.
        let limits = |load: &LoadSpec| load.limits.filter(|_| load.search.is_some());
        let load = self.load.clone().map(|load| LoadSpec { limits: limits(&load), ..load });
        let bare = Self { description: String::new(), gates: Vec::new(), notify: None, load, ..self.clone() };
        short_hash(&serde_json::to_vec(&bare).unwrap_or_default())
    }
}

/// Options (and, with dashes, flags) of the engines that say how positions are scaled or what the model's file says
/// of its context.
const SCALING_OPTIONS: &[&str] = &[
    "rope_scaling",
    "rope_scale",
    "rope_freq_base",
    "rope_freq_scale",
    "yarn_orig_ctx",
    "override_kv",
    "hf_overrides",
    "json_model_override_args",
];
