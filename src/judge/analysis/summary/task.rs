//! Scores by task, depth, arm and conversation.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Estimate, Verdict};
use crate::record::Arm;

/// One task on one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct TaskRow {
    /// Task name.
    pub task: String,
    /// Arm, for tool tasks.
    pub arm: Option<Arm>,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// A sanity check, or only compared: not part of the primary endpoint.
    pub sanity: bool,
    /// Mean score (0..1), what broke counted as 0, with its interval (Wilson for pass/fail scores, bootstrap else); `None`
    /// where nothing was scored.
    pub quality: Option<Estimate>,
    /// Setting minus reference over the independent groups of cases that both have, scored or broken: their mean with Tango's interval
    /// (pass/fail) or Student's; nothing of it is adjusted for the number of tasks. `None` for the reference.
    #[serde(default)]
    pub difference: Option<Estimate>,
    /// How long the server worked on this task's requests here (s), of replies that have a time.
    #[serde(default)]
    pub server_s: f64,
    /// How long servers would work on this setting's and the reference's requests (s) until a difference of this size shows (80% power);
    /// `None` where the interval does not exclude 0 or the cases differ all alike.
    #[serde(default)]
    pub shown_after_s: Option<f64>,
    /// Above 97% (nearly no room for a gain, and small damage hides) or at 0 on the reference (no damage can
    /// show): see [`Summary::warnings`].
    pub uninformative: bool,
    /// Error labels and how often.
    pub labels: BTreeMap<String, u32>,
    /// Trials with a score.
    pub scored: u32,
    /// Why trials were not scored, and how many.
    pub unscored: BTreeMap<String, u32>,
    /// Trials that broke.
    pub failed: u32,
}

/// One task on one cell whose cases are asked several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct RepeatRow {
    /// Task name.
    pub task: String,
    /// Arm, for tool tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// How often each case is asked.
    pub repeats: u32,
    /// Cases with a reply that was judged, or that broke.
    pub cases: u32,
    /// Such replies.
    pub replies: u32,
    /// pass^k for every k up to the repeats.
    pub pass: Vec<PassRow>,
    /// Standard deviation of the scores of a case's replies, pooled over the cases (points of the 0..1 scale); `None` where no
    /// case has two.
    pub spread: Option<f64>,
}

/// pass^k: how reliably a setting is right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct PassRow {
    /// So many replies.
    pub k: u32,
    /// Share of cases (0..1) of which so many replies are all right, over the cases that have so many: the mean of C(right, k) /
    /// C(replies, k); what broke is not right, and a graded reply is right with a score of 1.
    pub share: Estimate,
}

/// How much the replies of a cell think, where they do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ThinkingRow {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Median of the tokens that a reply thinks, over those that do and say how much.
    pub tokens: Estimate,
    /// Share of all tokens of these replies (0..1) that is thinking; `None` where the others were not counted.
    pub share: Option<f64>,
}

/// Scores of one task by depth of the answer in the context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct DepthRow {
    /// Task name.
    pub task: String,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Start of the bin (0..1).
    pub from: f64,
    /// End of the bin (0..1).
    pub to: f64,
    /// Mean score (0..1), or mean KLD (nat) for `coherence/kld`.
    pub value: f64,
    /// Observations: answers, each part of one that lies in several places by itself.
    pub n: u32,
}

/// Conversations of one task on one cell, with one kind of history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ConversationRow {
    /// Task name.
    pub task: String,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Whether the conversations went on from the right replies instead of the model's own.
    pub gold: bool,
    /// Conversations with a score.
    pub n: u32,
    /// Mean number of judged turns.
    pub turns: Option<f64>,
    /// Mean score (0..1) in each quarter of the conversation; `None` where no turn falls.
    pub quarters: Vec<Option<f64>>,
    /// Median of the first turn (from 1) that was not all right; `None` when at least half of the conversations have
    /// none.
    pub first_wrong_turn: Option<f64>,
    /// Mean of the last turn up to which at least half of the score was reached.
    pub horizon: Option<f64>,
    /// Share of the turns (0..1) that are wrong because the model followed an earlier mistake of its own.
    pub own_mistake: Option<f64>,
    /// Share of the turns (0..1) that are wrong though nothing wrong that the model said leads there.
    pub forgot: Option<f64>,
    /// Share of the turns (0..1) without an answer that could be judged.
    pub unanswered: Option<f64>,
}

/// How far a setting goes on the ladder of context lengths. A length counts only when all shorter ones do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct EffectiveLength {
    /// Setting label.
    pub setting: String,
    /// Longest context (tokens) up to which the mean score stays within the margin of the reference's at the
    /// same context, by the point estimate; `None`: not even at the shortest.
    pub within_margin: Option<u32>,
    /// Longest context (tokens) up to which that is shown: the verdict is `no_worse`.
    pub shown_within_margin: Option<u32>,
    /// Longest context (tokens) up to which the mean score is at least RULER's fixed line of 0.856.
    pub above_line: Option<u32>,
    /// The ladder, by context.
    pub points: Vec<EffectivePoint>,
}

/// A setting at one context length of the ladder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct EffectivePoint {
    /// Context length (tokens).
    pub context: u32,
    /// Mean score of the primary tasks (0..1).
    pub quality: Option<Estimate>,
    /// Paired difference to the reference (points of the 0..1 scale).
    pub difference: Option<Estimate>,
    /// Whether the quality is kept.
    pub verdict: Verdict,
}

/// The reference against itself: the noise floor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct AaSummary {
    /// Context length (tokens).
    pub context: u32,
    /// Pairs of cases.
    pub pairs: u32,
    /// Share of pairs with different scores (0..1).
    pub discordance: f64,
    /// Mean absolute difference of the two visits, over primary tasks (points of the 0..1 scale): no
    /// setting is called worse for less than this.
    pub floor: f64,
    /// Share of chat pairs with byte-identical replies (0..1).
    pub identical_replies: f64,
    /// Paired difference of the two visits.
    pub difference: Option<Estimate>,
    /// Largest KLD between the two visits (nat); `None` when kld did not run.
    pub max_kld: Option<f64>,
}

/// A user's own requests (`tools/requests`) on one setting: does it call tools where the reference does?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct TriggerRow {
    /// Setting label; the reference's own row compares its second visit with its first, the noise floor.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Requests that both answered.
    pub cases: u32,
    /// Requests on which both called tools.
    pub both: u32,
    /// Requests on which the setting alone did.
    pub only_setting: u32,
    /// Requests on which the reference alone did.
    pub only_reference: u32,
    /// F1 of calling tools at all, the reference's finish reason taken as the truth (0..1), with a bootstrap
    /// interval over requests; `None` when neither ever called. A call that the server left in the text is none of the
    /// setting's, and the truth of the reference's.
    pub f1: Option<Estimate>,
    /// Requests on which the server left the setting's calls in the text.
    #[serde(default)]
    pub leaked: u32,
    /// Requests on which it left the reference's there.
    #[serde(default)]
    pub reference_leaked: u32,
    /// Calls that the setting made on those requests.
    pub calls: u32,
    /// Calls whose tool is offered and whose arguments are valid against its schema.
    pub valid_calls: u32,
}

/// What the arms of a tool task show on a cell: the same requests, asked in other ways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ArmRow {
    /// Task name.
    pub task: String,
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// Mean score of the native arm minus that of the prompted one, over the requests that both scored (points of
    /// the 0..1 scale): what the engine's template, grammar and parser contribute. `None` without such requests.
    pub native: Option<Estimate>,
    /// What holding the output to a form does; `None` where the arm has no answer.
    pub constrained: Option<ConstrainedArm>,
}

/// What holding the output to a form brings, and costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ConstrainedArm {
    /// Mean score of the constrained arm minus that of the prompted one, over the requests that both scored (points
    /// of the 0..1 scale). `None` without such requests.
    pub difference: Option<Estimate>,
    /// Share of the requests whose schemas the server holds in full (0..1), with Wilson's interval, where that was tried before
    /// the first trial (`held`). Else, and in older journals, the share of those that it took: not taken are those whose schema
    /// it could not compile and, where the task does not tell, those that it refused.
    pub coverage: Estimate,
    /// What the server holds of the schemas of these requests; `None` where it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldArm>,
    /// Share of what came for those that is valid against the schema (0..1), calls of a request averaged; with
    /// Wilson's interval where all are 0 or 1, else Student's. `None` where the task does not say.
    pub compliance: Option<Estimate>,
    /// What it costs; `None` where neither other arm was timed on the same requests.
    pub cost: Option<ConstraintCost>,
}

/// What a server holds of the schemas that a task's requests are constrained by.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct HeldArm {
    /// Schemas that were asked about.
    pub schemas: u32,
    /// Of these, those that are held in full, as far as values were tried.
    pub in_full: u32,
    /// Those that the server refuses.
    pub refused: u32,
    /// Those of which nothing is known.
    pub unknown: u32,
    /// Why, and of how many; not of all where there are many reasons.
    #[serde(default)]
    pub unknown_because: BTreeMap<String, u32>,
    /// Engine, version and library as the table of `docs/seen/constrained.md` has them, and how many schemas are judged by them: no server
    /// was asked about those.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_table: BTreeMap<String, u32>,
    /// Keywords that are not enforced, and in how many schemas.
    pub not_enforced: BTreeMap<String, u32>,
    /// Keywords for which right values cannot be written, and in how many schemas.
    pub over_restricted: BTreeMap<String, u32>,
    /// Keywords for which schemas are refused, and how many.
    pub refused_for: BTreeMap<String, u32>,
    /// Requests that no right reply can be written to: they do not count.
    pub unreachable: u32,
    /// Requests whose one right answer cannot be written, those among them.
    pub answer_barred: u32,
    /// Requests that were answered, and not fully right: what the grammar would have allowed.
    #[serde(default)]
    pub failures: HeldFailures,
}

/// Wrong replies by what the grammar would have allowed: the indexes of their cases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct HeldFailures {
    /// The very answer that was asked for could have been written: the model's own failures.
    pub answer: Vec<u32>,
    /// Not that answer, but another right reply.
    pub other: Vec<u32>,
    /// There was no grammar: the server refused the schema.
    pub refused: Vec<u32>,
    /// That is not known.
    pub unknown: Vec<u32>,
}

impl HeldFailures {
    /// Puts a failure where it belongs.
    pub fn add(&mut self, allowed: Allowed, index: u32) {
        let list = match allowed {
            Allowed::Answer => &mut self.answer,
            Allowed::Other => &mut self.other,
            Allowed::Refused => &mut self.refused,
            Allowed::Unknown => &mut self.unknown,
        };
        list.push(index);
    }
}

/// What the grammar of a request would have allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allowed {
    /// The very answer that was asked for.
    Answer,
    /// Not that answer, but another right reply.
    Other,
    /// There was no grammar: the server refused the schema.
    Refused,
    /// That is not known.
    Unknown,
}

/// What the server holds of the schemas of a task's requests; the same for every setting of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct HeldTask {
    /// Task name.
    pub task: String,
    /// Context length (tokens).
    pub context: u32,
    /// What is held, of the first setting that was asked.
    pub held: HeldArm,
}

/// Time and speed of the constrained arm, as ratios to those of another arm on the same requests (client's clock).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ConstraintCost {
    /// The other arm: native, or prompted where native was not timed.
    pub against: Arm,
    /// Median over requests of the ratio of the times to first token; above 1 is slower.
    pub ttft: Option<Estimate>,
    /// Median over requests of the ratio of the decode rates; below 1 is slower.
    pub decode: Option<Estimate>,
}
