//! What a reader must know beside the figures, as data that a program can filter.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::worded::Worded;

/// Something that the reader must know beside the figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Warning {
    /// What kind of thing it is.
    pub code: WarningCode,
    /// How much it weighs.
    pub severity: Severity,
    /// The setting, the context length or both, where it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cell: Option<WarningCell>,
    /// What else it is about: a task, a model, a server's address, a step under load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The numbers that it rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
    /// A reason in the words of whoever gave it, such as a server's error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// All of it in words.
    pub sentence: String,
}

/// How much a warning weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Good to know; the figures stand.
    Info,
    /// The figures say less than they seem to.
    Caution,
    /// The figures that it is about do not count, or may be another run's.
    Invalid,
}

/// What a warning is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct WarningCell {
    /// Setting label; absent where it is about all settings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
    /// Context length (tokens); absent where it is about all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<u32>,
}

/// A named number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Figure {
    /// What it is, such as `failed` or `limit`.
    pub name: String,
    /// The number.
    pub value: f64,
    /// What it counts or measures.
    pub unit: Unit,
}

/// Units of the figures of warnings and absences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Cases.
    Cases,
    /// Cells.
    Cells,
    /// Pieces of a graph.
    Pieces,
    /// Replies.
    Replies,
    /// Requests.
    Requests,
    /// Rounds of visits, or of warm-up.
    Rounds,
    /// Seconds.
    Seconds,
    /// A share (0..1), or a score of that scale.
    Share,
    /// Tokens.
    Tokens,
    /// Trials.
    Trials,
}

/// Kinds of warnings. Names stay: programs filter by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum WarningCode {
    /// The journal's header is not the one that its fingerprint was made of.
    HeaderChanged,
    /// Planned trials have no outcome yet.
    RunIncomplete,
    /// A server silently changed something: the cell has no figures.
    CellVoid,
    /// The reference did not run twice.
    NoNoiseFloor,
    /// The reference disagrees with itself.
    NoiseFloor,
    /// The reference scores so high or so low on a task that little or no damage can show.
    UninformativeTask,
    /// Probabilities were read on the way of prompts, not by decode steps.
    PrefillPath,
    /// The reference's quality is no more than the margin: nothing can be called no worse there.
    NothingToLose,
    /// The reference scores 0 on a task, so the quality leaves it out.
    TaskLeftOut,
    /// The reference broke in every trial of a task, so the quality leaves it out.
    TaskBroke,
    /// A server did not come up.
    ServerFailed,
    /// The server ran already.
    AttachedServer,
    /// Settings are sampled otherwise than the reference.
    SamplingDiffers,
    /// The reference's trials come from a pack.
    ReferenceFromPack,
    /// The reference of a pack was served by another engine or build.
    ReferenceOtherBuild,
    /// What an attached server does not take or tell.
    ServerNote,
    /// Trials of a setting broke.
    TrialsBroke,
    /// Trials of the reference broke.
    ReferenceBroke,
    /// No trial of a cell was scored.
    NothingScored,
    /// A cell has no result on a whole task of the reference's.
    NotComparable,
    /// Replies ran out of their output budget.
    RepliesTruncated,
    /// A context length is beyond the one that the model was trained for.
    BeyondTrainedContext,
    /// The lists behind the KLD hold too little of the probability.
    KldListsShort,
    /// Weights are not the publisher's.
    DerivedWeights,
    /// Most weights have another type than their label promises.
    LabelMisleads,
    /// The processor computes parts of what a card should: no kernel for the types of the cache.
    CacheOnProcessor,
    /// Speculation changes greedy replies beyond the noise.
    SpeculationNotLossless,
    /// A server sends other tool calls when it streams.
    StreamingDiffers,
    /// Reasons for the end of replies contradict their tool calls.
    FinishReasonContradicts,
    /// Replies are longer than their output budget.
    BudgetIgnored,
    /// The client's decode rate is not the engine's.
    ClocksDisagree,
    /// The machine's host took CPU time.
    NoiseStolenCpu,
    /// Other processes took CPU time.
    NoiseOtherProcesses,
    /// A graphics card slowed down.
    GpuThrottled,
    /// Other processes were on the graphics cards.
    GpuShared,
    /// Processes shared much of the servers' memory.
    MemoryShared,
    /// Memory is what was in use on the cards, by whomever.
    MemoryOfCards,
    /// Memory is not of one kind in all cells.
    MemoryKindsMixed,
    /// The memory of cells is not known.
    MemoryUnknown,
    /// The engine's KV cache is not what the formula gives.
    KvCacheDisagrees,
    /// Speeds that were measured on a place do not count.
    SpeedLeftOut,
    /// On one place much broke that went well on the others.
    PlaceBroke,
    /// Too few visits to show drift of the machine.
    FewVisits,
    /// A step under load was broken off.
    LoadBroke,
    /// Requests under load failed.
    LoadFailed,
    /// Requests under load were not sent.
    LoadNotSent,
    /// A step under load falls behind what arrives.
    LoadFallsBehind,
    /// kneepoint itself sent requests late.
    LoadSentLate,
    /// Prompts that are all different came from a cache.
    LoadCached,
    /// Replies under load are shorter than asked.
    LoadShort,
    /// Replies under load have no times of their tokens.
    LoadUntimed,
    /// A load server was not steady after its warm-up.
    LoadNotSteady,
    /// A load server has no figures.
    LoadVoid,
    /// A warning of an older kneepoint, which had words only.
    Other,
}

impl WarningCode {
    /// Returns how much a warning of this kind weighs.
    pub const fn severity(self) -> Severity {
        match self {
            Self::HeaderChanged | Self::CellVoid | Self::NothingScored | Self::LoadVoid | Self::LoadBroke => {
                Severity::Invalid
            }
            Self::NoiseFloor
            | Self::AttachedServer
            | Self::ServerNote
            | Self::ReferenceFromPack
            | Self::DerivedWeights
            | Self::LabelMisleads
            | Self::FewVisits
            | Self::FinishReasonContradicts
            | Self::Other => Severity::Info,
            _ => Severity::Caution,
        }
    }
}

impl Worded for Warning {
    fn of_sentence(sentence: String) -> Self {
        let code = WarningCode::Other;
        Self {
            code,
            severity: code.severity(),
            cell: None,
            subject: None,
            figures: Vec::new(),
            detail: None,
            sentence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Summary;
    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn the_sentences_of_old_summaries_are_read() {
        let mut old = serde_json::to_value(testing::summary()).unwrap();
        let fields = old.as_object_mut().unwrap();
        fields.remove("warnings");
        fields.insert("flags".into(), serde_json::json!(["the run is incomplete"]));
        let read: Summary = serde_json::from_value(old).unwrap();
        assert_eq!(read.warnings[0].code, WarningCode::Other);
        assert_eq!(read.warnings[0].sentence, "the run is incomplete");
    }

    #[test]
    fn warnings_are_read_as_they_were_written() {
        let warning = Warning {
            code: WarningCode::ClocksDisagree,
            severity: Severity::Caution,
            cell: Some(WarningCell { setting: Some("a".into()), context: Some(512) }),
            subject: None,
            figures: vec![Figure { name: "gap".into(), value: -0.25, unit: Unit::Share }],
            detail: None,
            sentence: "apart".into(),
        };
        let mut summary = testing::summary();
        summary.warnings = vec![warning];
        let text = serde_json::to_string(&summary).unwrap();
        assert!(text.contains(r#""code":"clocks-disagree","severity":"caution""#), "{text}");
        assert_eq!(serde_json::from_str::<Summary>(&text).unwrap(), summary);
    }
}
