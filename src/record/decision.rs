//! Cells that were stopped early, and why.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::key::TrialKey;

/// A cell that was stopped between two rounds, or between two texts of a visit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Decision {
    /// The last round that it was part of, from 0.
    pub after_round: u32,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Only this visit of the cell (1: the reference's second one); absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicate: Option<u32>,
    /// Whether not even its first round is wanted: it was given up before it was tried.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untried: bool,
    /// Where in its last round it was stopped; absent: behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<WithinRound>,
    /// Why.
    pub reason: StopReason,
    /// The figures behind it, in words.
    pub because: String,
}

/// Where in a round a cell was stopped: as soon as the texts that it had answered showed enough.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct WithinRound {
    /// Texts that it rests on, those of all rounds; with several tasks one of each together.
    pub texts: u32,
    /// By task the first of the round's cases (by its index) that is not asked any more; none of a task that was through.
    pub from: BTreeMap<String, u32>,
}

impl Decision {
    /// Whether a planned trial is not wanted any more because of it.
    pub fn stops(&self, key: &TrialKey) -> bool {
        self.leaves_out(key.round, &key.task, key.index)
            && self.covers(&key.setting, key.context, key.replicate)
    }

    /// Whether a case of the cell is not wanted any more, by its round, task and index.
    pub fn leaves_out(&self, round: u32, task: &str, index: u32) -> bool {
        let in_its_last = |within: &WithinRound| {
            round == self.after_round && within.from.get(task).is_some_and(|from| index >= *from)
        };
        round >= self.rounds() || self.within.as_ref().is_some_and(in_its_last)
    }

    /// How many rounds it was part of, the one that it was stopped within included.
    pub const fn rounds(&self) -> u32 {
        if self.untried { 0 } else { self.after_round.saturating_add(1) }
    }

    /// How many rounds it was part of to their end.
    pub const fn whole_rounds(&self) -> u32 {
        if self.within.is_some() { self.after_round } else { self.rounds() }
    }

    /// Whether it is about this visit of a cell.
    pub fn covers(&self, setting: &str, context: u32, replicate: u32) -> bool {
        self.context == context && self.setting == setting && self.replicate.is_none_or(|r| r == replicate)
    }
}

/// A cell whose verdict is open, and what it would take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct OpenCell {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// What it would take.
    pub outlook: Outlook,
}

/// What a verdict would take, if what comes is like what came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Outlook {
    /// What is counted.
    pub unit: EvidenceUnit,
    /// Units so far.
    pub seen: u32,
    /// Units in all with which the verdict is expected; `None`: none that anybody would wait for.
    pub needed: Option<u32>,
    /// Time that servers would work on the further ones (s), the reference's share included; `None` where no reply was timed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub further_s: Option<f64>,
}

/// What evidence of a paired difference counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EvidenceUnit {
    /// Pairs of independent cases, or of clusters of them.
    Pairs,
    /// Texts, each with its questions.
    Texts,
}

impl EvidenceUnit {
    /// Returns the name in sentences.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::Texts => "texts",
        }
    }
}

/// Why a cell was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Its verdict cannot change any more; of the reference's second visit: the noise floor is shown to be below
    /// the margin.
    Settled,
    /// No verdict can be expected within what is planned.
    Undecidable,
    /// Another setting is better, and no worse on speed and memory.
    Dominated,
    /// It would not be chosen: one that is shown to be good enough is better in what was asked for, or what keeps more than it
    /// is worse already.
    NotNeeded,
    /// Its next-token distributions are far from the reference's, and its cases so far lean below the margin: it was given up, and its
    /// verdict stays open.
    Alarm,
    /// The budget is spent.
    Budget,
    /// It is the reference, and no other cell of its context length goes on.
    NothingLeft,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::KeyParts;

    fn key(round: u32, task: &str, index: u32) -> TrialKey {
        KeyParts {
            setting: "m kv=q4_0".into(),
            context: 512,
            round,
            replicate: 0,
            task: task.into(),
            arm: None,
            index,
            repeat: 0,
        }
        .key()
    }

    fn decision(within: Option<WithinRound>) -> Decision {
        Decision {
            after_round: 1,
            setting: "m kv=q4_0".into(),
            context: 512,
            replicate: None,
            untried: false,
            within,
            reason: StopReason::Settled,
            because: "worse".into(),
        }
    }

    #[test]
    fn what_stops_within_a_round_leaves_out_the_rest_of_it_and_all_that_comes_later() {
        let within = WithinRound { texts: 7, from: BTreeMap::from([("a".to_owned(), 12)]) };
        let decision = decision(Some(within));
        for (round, task, index, stopped) in [
            (0, "a", 99, false),
            (1, "a", 11, false),
            (1, "a", 12, true),
            // Its texts of this round were through.
            (1, "b", 99, false),
            (2, "a", 0, true),
            (2, "b", 0, true),
        ] {
            assert_eq!(decision.stops(&key(round, task, index)), stopped, "{round} {task} {index}");
        }
        assert!(!decision.stops(&KeyParts { setting: "m kv=f16".into(), ..key(2, "a", 0).parts() }.key()));
        assert_eq!((decision.rounds(), decision.whole_rounds()), (2, 1));
    }

    #[test]
    fn decisions_of_earlier_builds_read_and_are_written_as_before() {
        let line =
            r#"{"after_round":1,"setting":"m kv=q4_0","context":512,"reason":"settled","because":"worse"}"#;
        let read: Decision = serde_json::from_str(line).unwrap();
        assert_eq!(read, decision(None));
        assert_eq!(serde_json::to_string(&read).unwrap(), line);
        assert_eq!((read.rounds(), read.whole_rounds()), (2, 2));
        assert!(!read.stops(&key(1, "a", 99)) && read.stops(&key(2, "a", 0)));
    }
}
