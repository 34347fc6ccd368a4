//! Between two rounds: which cells need not go on; between two texts of a visit: [`within`].
//!
//! Pure: the trials so far decide, so a run that was interrupted decides the same again. Every claim behind a
//! decision holds at any time (E-values and confidence sequences), so looking after every round does not raise
//! the rate of false claims, and the report's verdicts rest on the same figures.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::kld::Comparison;
use super::loadtest;
use super::measured::Measured;
use super::quality::{self, Evidence, Level};
use super::run::Run;
use super::summary::{Estimate, StoppingSummary, Verdict};
use super::words::{points, thousands};
use super::{Registry, Tasks, cells, outlook, pareto};
use crate::error::Result;
use crate::record::capacity::CrowdAnswer;
use crate::record::journal::{Journal, LaunchRecord};
use crate::record::suite::{Stopping, StoppingRule, Suite};
use crate::record::{
    Decision, Direction, Look, Objective, OpenCell, Source, StopReason, StopRule, Timestamp, Trial, metric,
};

mod settled;
pub mod within;

pub(super) use settled::settled;

/// Draws of the speed intervals that racing looks at.
const DRAWS: u32 = 1000;

/// The rule of `[stopping]`: cells stop when their verdict is settled, or cannot be expected within what is planned, and with
/// racing when another setting is better.
#[derive(Debug, Clone, Copy)]
pub struct Sequential;

impl StopRule for Sequential {
    fn decide(&self, so_far: &Journal, after_round: u32) -> Result<Look> {
        decide(so_far, after_round)
    }

    fn decide_within(
        &self,
        so_far: &Journal,
        setting: &str,
        context: u32,
        round: u32,
    ) -> Result<Option<Decision>> {
        within::decide(so_far, (setting, context), round, &Registry)
    }

    fn crowd(&self, so_far: &Journal, setting: &str, streams: u32) -> Result<CrowdAnswer> {
        loadtest::crowd(so_far, setting, streams)
    }
}

/// Which cells stop after a round (from 0), given everything that was measured until its end. Trials of later
/// rounds are not looked at; cells that `journal.decisions` stopped already are not named again.
///
/// # Errors
/// When the journal does not hold together.
pub fn decide(journal: &Journal, after_round: u32) -> Result<Look> {
    decide_with(journal, after_round, &Registry)
}

/// As [`decide`], with another table of tasks.
///
/// # Errors
/// As [`decide`].
pub fn decide_with(journal: &Journal, after_round: u32, tasks: &dyn Tasks) -> Result<Look> {
    let Some(stopping) = journal.header.suite.stopping else {
        return Ok(Look::default());
    };
    let journal = until(journal, after_round);
    let mut run = Run::new(&journal, tasks)?;
    run.resampling.draws = run.resampling.draws.min(DRAWS);
    let mut deciding = EarlyStopping {
        run: &run,
        stopping,
        after_round,
        racing: false,
        decisions: Vec::new(),
        open: Vec::new(),
    };
    if let Some(rule) = stopping.rule {
        deciding.racing = rule == StoppingRule::Racing;
        for &context in &run.suite.contexts {
            deciding.judge_level(context)?;
        }
    }
    deciding.hold_budget();
    deciding.release_reference();
    Ok(deciding.look())
}

/// The journal as it was at the end of a round.
fn until(journal: &Journal, round: u32) -> Cow<'_, Journal> {
    if journal.trials.iter().all(|trial| trial.key.round <= round) {
        return Cow::Borrowed(journal);
    }
    let mut earlier = journal.clone();
    earlier.trials.retain(|trial| trial.key.round <= round);
    earlier.launches.retain(|launch| launch.round <= round);
    earlier.decisions.retain(|decision| decision.after_round <= round);
    Cow::Owned(earlier)
}

struct EarlyStopping<'r, 'a> {
    run: &'r Run<'a>,
    stopping: Stopping,
    after_round: u32,
    racing: bool,
    decisions: Vec<Decision>,
    open: Vec<OpenCell>,
}

impl EarlyStopping<'_, '_> {
    fn stopped(&self, setting: &str, context: u32) -> bool {
        self.visit_stopped(setting, context, 0)
    }

    fn visit_stopped(&self, setting: &str, context: u32, replicate: u32) -> bool {
        let before = self.run.journal.decisions.iter().chain(&self.decisions);
        before.into_iter().any(|decision| decision.covers(setting, context, replicate))
    }

    fn stop(&mut self, setting: &str, context: u32, reason: StopReason, because: String) {
        let (after_round, setting) = (self.after_round, setting.to_owned());
        self.decisions.push(Decision {
            after_round,
            setting,
            context,
            replicate: None,
            untried: false,
            within: None,
            reason,
            because,
        });
    }

    fn judge_level(&mut self, context: u32) -> Result<()> {
        let level = Level::new(self.run, context);
        let mut cells = cells::of_level(self.run, &level, &Comparison::default())?;
        quality::judge(&mut cells, &level);
        let family = self.run.suite.settings.len() as f64 - 1.0;
        for cell in &cells {
            if self.stopped(&cell.summary.setting, context) {
                continue;
            }
            match settled(self.run.suite, cell, family) {
                Some(because) => self.stop(&cell.summary.setting, context, StopReason::Settled, because),
                None => self.look_ahead(&level, cell),
            }
        }
        self.judge_floor(&level);
        if self.racing {
            self.race(&level, &cells);
        }
        Ok(())
    }

    /// The reference's second visit is there for the noise floor: once that is shown to be below the margin,
    /// more of it could only matter to differences that are smaller than the margin.
    fn judge_floor(&mut self, level: &Level<'_>) {
        let suite = self.run.suite;
        let reference = &suite.reference().label;
        if self.run.suite.pack.is_some() || self.visit_stopped(reference, level.context, 1) {
            return;
        }
        let below = |(most, _): &(f64, usize)| *most < suite.margin;
        if let Some((most, pairs)) = level.floor_at_most(suite.confidence).filter(below) {
            self.decisions.push(Decision {
                after_round: self.after_round,
                setting: reference.clone(),
                context: level.context,
                replicate: Some(1),
                untried: false,
                within: None,
                reason: StopReason::Settled,
                because: format!(
                    "the reference differs from itself by at most {} on {} pairs, the margin is {}",
                    points(most),
                    thousands(pairs as u64),
                    points(suite.margin)
                ),
            });
        }
    }

    /// Gives up a cell whose verdict cannot be expected within what is planned, even if the further cases are kind to it;
    /// else notes what its verdict would take.
    fn look_ahead(&mut self, level: &Level<'_>, cell: &Measured) {
        let setting = cell.summary.setting.as_str();
        if cell.summary.verdict != Verdict::NotSeparable {
            return;
        }
        let rule = level.rule();
        let Some(open) = outlook::Open::new(self.run, level, (setting, cell.credit), &rule) else { return };
        let outlook = open.outlook(outlook::busy_s(self.run, setting, level.context));
        let rounds = f64::from(self.after_round + 1);
        let total = (open.seen() as f64 * self.rounds_at_most() / rounds) as usize;
        if open.seen() >= open.enough_to_give_up() && open.is_hopeless_with(total) {
            let because = format!(
                "the {} {} that are planned would most likely leave it open: {}",
                thousands(total as u64),
                outlook.unit.name(),
                outlook::words(&outlook)
            );
            self.stop(setting, level.context, StopReason::Undecidable, because);
        } else {
            self.open.push(OpenCell { setting: setting.to_owned(), context: level.context, outlook });
        }
    }

    /// Rounds that there may be in all: as many as planned, or as the budget has room for.
    fn rounds_at_most(&self) -> f64 {
        let rounds = f64::from(self.after_round + 1);
        let (tokens, seconds) = self.used();
        let by = |budget: Option<f64>, used: f64| {
            budget.filter(|_| used > 0.0).map_or(f64::INFINITY, |budget| (budget / used * rounds).floor())
        };
        let by_tokens = by(self.stopping.budget_tokens.map(|budget| budget as f64), tokens);
        let by_time = by(self.stopping.budget_s, seconds);
        f64::from(self.run.suite.rounds).min(by_tokens).min(by_time).max(rounds)
    }

    /// Tokens, and time that servers were up (s).
    fn used(&self) -> (f64, f64) {
        let here = |trial: &&Trial| !self.run.suite.is_packed(&trial.key.setting);
        (self.run.journal.trials.iter().filter(here).map(tokens_of).sum(), server_s(self.run.journal))
    }

    /// Drops every cell that another one beats on quality and meets on everything else that is measured.
    fn race(&mut self, level: &Level<'_>, cells: &[Measured]) {
        let reference = &self.run.suite.reference().label;
        let costs: Vec<Objective> = self.run.suite.objectives.iter().copied().filter(is_cost).collect();
        let comparisons = (cells.len() * cells.len().saturating_sub(1)) as f64;
        let confidence = 1.0 - (1.0 - self.run.suite.confidence) / comparisons.max(1.0);
        for measured in cells {
            let cell = &measured.summary;
            if cell.setting == *reference || self.stopped(&cell.setting, level.context) {
                continue;
            }
            let beaten = cells.iter().find_map(|rival| {
                let other = &rival.summary;
                let meets = other.setting != cell.setting && costs.iter().all(|o| meets(rival, measured, *o));
                let ahead = level.between(&other.setting, &cell.setting).filter(|_| meets)?;
                lead(&ahead, confidence).map(|lead| (other.setting.clone(), lead))
            });
            if let Some((winner, lead)) = beaten {
                let names: Vec<&str> = costs.iter().map(|objective| objective.name()).collect();
                let meets = match names.as_slice() {
                    [] => String::new(),
                    names => format!(" and no worse on {}", names.join(", ")),
                };
                let because = format!("{winner} is better by at least {}{meets}", points(lead));
                self.stop(&cell.setting, level.context, StopReason::Dominated, because);
            }
        }
    }

    /// Stops everything when the next round, as costly as the mean of those so far, would break the budget.
    fn hold_budget(&mut self) {
        let next = f64::from(self.after_round + 2) / f64::from(self.after_round + 1);
        let stopping = self.stopping;
        let (tokens, seconds) = self.used();
        let because = if stopping.budget_tokens.is_some_and(|budget| tokens * next > budget as f64) {
            format!("{} tokens were used", thousands(tokens as u64))
        } else if stopping.budget_s.is_some_and(|budget| seconds * next > budget) {
            format!("servers were up for {seconds:.0} s")
        } else {
            return;
        };
        let because = format!("{because}: another round would go beyond the budget");
        for (setting, context) in self.cells() {
            if !self.stopped(&setting, context) && !self.run.suite.is_packed(&setting) {
                self.stop(&setting, context, StopReason::Budget, because.clone());
            }
        }
    }

    /// The reference runs for the others' sake.
    fn release_reference(&mut self) {
        if self.run.suite.pack.is_some() {
            return;
        }
        let reference = self.run.suite.reference().label.clone();
        for &context in &self.run.suite.contexts {
            let mut others =
                self.cells().into_iter().filter(|(s, c)| *s != reference && *c == context).peekable();
            let compares = others.peek().is_some();
            if compares
                && others.all(|(setting, c)| self.stopped(&setting, c))
                && !self.stopped(&reference, context)
            {
                let because = "every other cell of this context length was stopped".to_owned();
                self.stop(&reference, context, StopReason::NothingLeft, because);
            }
        }
    }

    /// What was found; a cell that something else stopped is not open.
    fn look(mut self) -> Look {
        let stopped = std::mem::take(&mut self.decisions);
        let goes_on = |cell: &OpenCell| !stopped.iter().any(|d| d.covers(&cell.setting, cell.context, 0));
        let open = self.open.into_iter().filter(goes_on).collect();
        Look { stopped, open }
    }

    /// Cells with trials in the plan, by context.
    fn cells(&self) -> Vec<(String, u32)> {
        let suite = self.run.suite;
        let contexts = suite.contexts.iter().filter(|context| self.run.planned(**context) > 0);
        contexts.flat_map(|&c| suite.settings.iter().map(move |s| (s.label.clone(), c))).collect()
    }
}

/// The least difference that the confidence sequence leaves, when it is above zero.
fn lead(ahead: &Evidence, confidence: f64) -> Option<f64> {
    let (low, _) = ahead.confidence_sequence(confidence)?;
    (low > 0.0).then_some(low)
}

fn is_cost(objective: &Objective) -> bool {
    !matches!(objective, Objective::Quality | Objective::Kld)
}

/// Whether the pessimistic end of `a`'s interval is at least as good as `b`'s figure; time and energy beside the
/// reference's on the same requests.
fn meets(a: &Measured, b: &Measured, objective: Objective) -> bool {
    let figure = |cell: &Measured| match cell.standing.get(&objective) {
        Some(standing) => Some(standing.estimate),
        None => pareto::value(&cell.summary, objective)
            .filter(|_| objective == Objective::Memory)
            .map(|value| Estimate { value, low: None, high: None, n: 1 }),
    };
    let figures = figure(a).zip(figure(b));
    figures.is_some_and(|(own, other)| match objective.direction() {
        Direction::Up => own.low.unwrap_or(own.value) >= other.value,
        Direction::Down => own.high.unwrap_or(own.value) <= other.value,
    })
}

/// Prompt and output tokens; without the engine's word the whole context.
fn tokens_of(trial: &Trial) -> f64 {
    let of = |name| trial.measured(name, Source::Engine).or_else(|| trial.measured(name, Source::Client));
    of(metric::PROMPT_TOKENS).unwrap_or(f64::from(trial.key.context))
        + of(metric::OUTPUT_TOKENS).unwrap_or(0.0)
}

/// Time that servers were up: from each launch to the end of its last trial (s). By the monotonic clock where both have
/// one of the same session, else by the wall clock.
pub(super) fn server_s(journal: &Journal) -> f64 {
    let launches: BTreeMap<u32, &LaunchRecord> =
        journal.launches.iter().map(|launch| (launch.id, launch)).collect();
    let mut up: BTreeMap<u32, f64> = BTreeMap::new();
    let suite = &journal.header.suite;
    for trial in journal.trials.iter().filter(|trial| !suite.is_packed(&trial.key.setting)) {
        let Some(since) = launches.get(&trial.launch).and_then(|launch| since_launch_s(launch, trial)) else {
            continue;
        };
        let until = since + trial.measured(metric::TOTAL_S, Source::Client).unwrap_or_default();
        let longest = up.entry(trial.launch).or_insert(until);
        *longest = longest.max(until);
    }
    up.values().map(|up| up.max(0.0)).sum()
}

/// How long after the launch of its server a trial started (s).
fn since_launch_s(launch: &LaunchRecord, trial: &Trial) -> Option<f64> {
    match (launch.tick, trial.tick) {
        (Some(launched), Some(started)) if launched.session() == started.session() => {
            Some(started.at_s - launched.at_s)
        }
        _ => {
            let launched = Timestamp::from(launch.started.as_str()).millis()?;
            Some((trial.started.millis()? - launched) as f64 / 1000.0)
        }
    }
}

/// What the report says about stopping.
pub(crate) fn summary(suite: &Suite, decisions: &[Decision], saved: u32) -> Option<StoppingSummary> {
    let stopping = suite.stopping?;
    let mut rules = Vec::new();
    match stopping.rule {
        Some(StoppingRule::Sequential) => rules
            .push("a cell stops when its verdict is settled, or cannot be expected within what is planned".to_owned()),
        Some(StoppingRule::Racing) => rules.push(
            "a cell stops when its verdict is settled or cannot be expected within what is planned, or when another is better and no \
             worse on speed and memory"
                .to_owned(),
        ),
        Some(StoppingRule::Best) => rules.push(format!(
            "settings are visited one after the other, the most promising first, until the best in {} that is no worse is shown; \
             what would not be chosen is not tried",
            stopping.goal.unwrap_or(Objective::Decode).name()
        )),
        None => {}
    }
    rules.extend(stopping.budget_tokens.map(|n| format!("no round goes beyond {} tokens", thousands(n))));
    rules.extend(stopping.budget_s.map(|s| format!("no round goes beyond {s:.0} s of server time")));
    let guarantee = if suite.stops_by_outcome() {
        let level = (1.0 - suite.confidence) * 100.0;
        let looks = if decisions.iter().any(|decision| decision.within.is_some()) { "text" } else { "round" };
        format!(
            "Intervals of a cell's quality are confidence sequences and p-values are one over E-values: they hold after every \
             {looks} at once, whatever made a cell stop. The chance that any setting of a context length which in truth \
             equals the reference is ever called worse stays at most {level:.0}% (Holm over its settings). The \
             quality of a cell that answered fewer cases than the reference is adjusted for how hard those were to it. \
             Intervals by task and by depth are the usual ones, which hold for one look."
        )
    } else {
        "A budget does not look at results, so the usual intervals hold.".to_owned()
    };
    Some(StoppingSummary { rule: rules.join("; "), guarantee, decisions: decisions.to_vec(), saved })
}

#[cfg(test)]
mod tests;
