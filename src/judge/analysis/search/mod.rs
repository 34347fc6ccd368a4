//! `rule = "best"`: which visit comes next, until the best setting that is no worse than the reference is shown.
//!
//! A matrix of weights x cache x speculation is mostly settings that nobody would choose. So they are visited one at a time: first
//! those that differ from the reference in one thing, then, of the parts that are shown to be no worse, the product that
//! promises most. What would not be chosen is given up untried: what keeps less (of weights, K and V) than a setting
//! that is worse, and what is beaten in the goal by one that is shown. Where the suite asks for distributions
//! (`coherence/kld`), settings that are far from the reference raise an [`alarm`]: they come last, and are given up when their cases lean the same way.
//!
//! Giving up on such grounds claims nothing about a setting: its verdict stays open. What is claimed rests on evidence that
//! holds whenever one looks ([`stopping`](super::stopping)), so the order of the visits and the end of the search, which both
//! depend on what was seen, raise no rate of false claims. That what keeps less is no better is an assumption; that two parts
//! which are each no worse are no worse together is not made: the product is tested itself.
//!
//! Pure: the same journal gives the same next visit, so a search that was interrupted goes on where it was.

use std::collections::BTreeMap;

use super::kld::{self, Comparison};
use super::measured::Measured;
use super::quality::{self, Level};
use super::run::Run;
use super::warnings::is_shared;
use super::words::{bytes, points};
use super::{Registry, Tasks, cells, stopping};
use crate::error::Result;
use crate::record::journal::Journal;
use crate::record::plan::Plan;
use crate::record::{Decision, Objective, StopReason};

mod alarm;
mod candidate;
mod fidelity;

use alarm::alarms;
use candidate::{Candidate, End, Progress, Seen, shown};
use fidelity::shares;

/// Draws of the speed intervals that are looked at on the way.
const DRAWS: u32 = 1000;

/// A figure of a single visit may be off by so much (a share) before a setting is called slower by it.
const SLACK: f64 = 0.1;

/// A visit that is to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextVisit {
    /// Setting label.
    pub setting: String,
    /// Round, from 0.
    pub round: u32,
    /// 1: the reference's second visit.
    pub replicate: u32,
}

/// What the search does next.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Settings that end here, each with why.
    pub decisions: Vec<Decision>,
    /// The next visit; `None`: the search is over.
    pub next: Option<NextVisit>,
    /// Settings that may still be visited, the products that cannot be foreseen apart.
    pub open: Vec<String>,
    /// Time that these would keep servers busy if one more visit decides each (s); `None` before the first.
    pub expected_s: Option<f64>,
}

/// Says what a search does next, from everything that was measured so far; `plan` is the whole plan of the suite.
///
/// # Errors
/// When the journal does not hold together.
pub fn next(journal: &Journal, plan: &Plan) -> Result<Step> {
    next_with(journal, plan, &Registry)
}

fn next_with(journal: &Journal, plan: &Plan, tasks: &dyn Tasks) -> Result<Step> {
    let mut run = Run::new(journal, tasks)?;
    run.resampling.draws = run.resampling.draws.min(DRAWS);
    let context = run.suite.contexts.first().copied().unwrap_or_default();
    let comparison = kld::compare(&run, context);
    step(&run, plan, &comparison, &alarms(&comparison))
}

fn step(run: &Run<'_>, plan: &Plan, comparison: &Comparison, far: &BTreeMap<String, f64>) -> Result<Step> {
    let context = run.suite.contexts.first().copied().unwrap_or_default();
    let level = Level::new(run, context);
    let mut cells = cells::of_level(run, &level, comparison)?;
    quality::judge(&mut cells, &level);
    let mut search = Search::new(run, &level, &cells, plan);
    search.raise(far);
    search.judge();
    search.prune();
    let next = search.next_visit();
    let over_budget = next.as_ref().and_then(|_| search.over_budget());
    if let Some(because) = &over_budget {
        search.end_all(StopReason::Budget, because);
    } else if next.is_none() {
        search.end_all(StopReason::NotNeeded, "");
    }
    let open = search.candidates.iter().filter(|candidate| candidate.is_live() && candidate.is_single());
    let open: Vec<String> = open.map(|candidate| candidate.label().to_owned()).collect();
    let expected_s = search.visit_s().map(|visit_s| visit_s * open.len().max(1) as f64);
    Ok(Step { decisions: search.decisions, next: next.filter(|_| over_budget.is_none()), open, expected_s })
}

struct Search<'r, 'a> {
    run: &'r Run<'a>,
    level: &'r Level<'r>,
    cells: &'r [Measured],
    progress: Progress<'r>,
    goal: Objective,
    /// The reference stands first.
    candidates: Vec<Candidate<'a>>,
    decisions: Vec<Decision>,
}

impl<'r, 'a> Search<'r, 'a> {
    fn new(run: &'r Run<'a>, level: &'r Level<'r>, cells: &'r [Measured], plan: &'r Plan) -> Self
    where
        'a: 'r,
    {
        let goal = run.suite.stopping.and_then(|stopping| stopping.goal).unwrap_or(Objective::Decode);
        let progress = Progress::new(plan, run);
        let suite = run.suite;
        let sharing = cells.iter().any(|cell| is_shared(&cell.summary.memory));
        let candidates = suite.settings.iter().map(|setting| {
            let rounds = progress.rounds(run, &setting.label);
            Candidate::new(run, setting, rounds, Seen { cells, goal, sharing })
        });
        let candidates = candidates.collect();
        Self { run, level, cells, progress, goal, candidates, decisions: Vec::new() }
    }

    fn cell(&self, label: &str) -> Option<&'r Measured> {
        self.cells.iter().find(|cell| cell.summary.setting == label)
    }

    fn end(&mut self, at: usize, end: End, reason: StopReason, because: String) {
        let candidate = &mut self.candidates[at];
        candidate.end = Some(end);
        self.decisions.push(Decision {
            after_round: candidate.rounds.saturating_sub(1),
            setting: candidate.label().to_owned(),
            context: self.level.context,
            replicate: None,
            untried: !candidate.tried,
            within: None,
            reason,
            because,
        });
    }

    /// Marks those whose distributions are far from the reference's.
    fn raise(&mut self, far: &BTreeMap<String, f64>) {
        for candidate in self.candidates.iter_mut().filter(|candidate| !candidate.is_reference()) {
            candidate.alarm = far.get(candidate.label()).copied();
        }
    }

    /// What the complete rounds of each setting show.
    fn judge(&mut self) {
        for at in 0..self.candidates.len() {
            let candidate = &self.candidates[at];
            if !candidate.is_live() || candidate.rounds == 0 {
                continue;
            }
            let Some(cell) = self.cell(candidate.label()) else { continue };
            if let Some(because) = self.too_large(candidate) {
                self.end(at, End::GivenUp, StopReason::NotNeeded, because);
            } else if let Some((end, reason, because)) = shown(self.run, self.level, cell, candidate.rounds) {
                self.end(at, end, reason, because);
            } else if let Some(because) = self.far_and_leaning(candidate, cell) {
                self.end(at, End::Far, StopReason::Alarm, because);
            }
        }
    }

    /// That its distributions are far from the reference's, and its cases so far lean below the margin.
    fn far_and_leaning(&self, candidate: &Candidate<'_>, cell: &Measured) -> Option<String> {
        let (far, difference) = (candidate.alarm?, cell.difference.as_ref()?.estimate.value);
        let margin = self.run.suite.margin;
        (difference < -margin).then(|| {
            format!(
                "its distributions are at least {far:.2} nat from the reference's, and its cases so far lean the same way: {} where the \
                 margin is {}",
                points(difference),
                points(margin)
            )
        })
    }

    fn too_large(&self, candidate: &Candidate<'_>) -> Option<String> {
        let limit = self.run.suite.stopping?.memory_bytes?;
        let took = candidate.memory? as u64;
        (took > limit).then(|| format!("it takes {} of the {} that there are", bytes(took), bytes(limit)))
    }

    /// Gives up what would not be chosen whatever its verdict is.
    fn prune(&mut self) {
        for at in 0..self.candidates.len() {
            if !self.candidates[at].is_live() {
                continue;
            }
            let because = self.below_a_worse_one(at).or_else(|| self.beaten(at));
            if let Some(because) = because {
                self.end(at, End::GivenUp, StopReason::NotNeeded, because);
            }
        }
    }

    fn below_a_worse_one(&self, at: usize) -> Option<String> {
        let own = &self.candidates[at];
        let worse = self.candidates.iter().find(|other| {
            let no_finer = other.fidelity.covers(&own.fidelity);
            let alike = !other.setting.speculates() || other.setting.speculation == own.setting.speculation;
            matches!(other.end, Some(End::Worse | End::Far)) && no_finer && alike
        })?;
        let what = if worse.end == Some(End::Far) { "far from the reference" } else { "worse" };
        Some(format!("{} keeps no less, and is {what}", worse.label()))
    }

    /// That one which may be chosen is better in the goal. What differs in one thing is a part of products, too: only the
    /// reference, or what differs in the same thing, makes it needless.
    fn beaten(&self, at: usize) -> Option<String> {
        let own = &self.candidates[at];
        let stands_for =
            |other: &Candidate<'_>| !own.is_single() || other.is_reference() || other.parts == own.parts;
        let better = self
            .candidates
            .iter()
            .find(|other| other.is_good() && stands_for(other) && self.beats(other, own))?;
        let what = match self.goal {
            Objective::Memory => "takes less memory",
            Objective::Ttft => "is sooner at its first token",
            Objective::Energy => "takes less energy",
            _ => "decodes faster",
        };
        Some(match better.is_reference() {
            true => format!("{} itself {what}", better.label()),
            false => format!("{} is no worse, and {what}", better.label()),
        })
    }

    fn beats(&self, better: &Candidate<'_>, own: &Candidate<'_>) -> bool {
        let memory = self.goal == Objective::Memory;
        if let Some((theirs, ours)) = better.gain.zip(own.gain.filter(|_| own.rounds > 0)) {
            return if memory { theirs > ours * 1.005 } else { theirs > ours * (1.0 + SLACK) };
        }
        // Not measured: larger weights over the same cache are no faster, and whatever keeps more takes more memory.
        let keeps_more = own.fidelity.covers(&better.fidelity) && own.fidelity != better.fidelity;
        let same_speculation = own.setting.speculation == better.setting.speculation;
        let comparable = memory || own.fidelity.has_cache_of(&better.fidelity);
        keeps_more && same_speculation && comparable
    }

    /// The visit to come: of a setting that differs in one thing, else of the most promising product, else of one that raised the
    /// alarm.
    fn next_visit(&mut self) -> Option<NextVisit> {
        let at =
            self.next_single(false).or_else(|| self.next_product()).or_else(|| self.next_single(true))?;
        let round = self.candidates[at].rounds;
        let candidate = self.candidates[at].label().to_owned();
        Some(self.visit_of_the_reference(round).unwrap_or(NextVisit {
            setting: candidate,
            round,
            replicate: 0,
        }))
    }

    /// The reference answers first, and a second time until the noise floor is shown to be below the margin.
    fn visit_of_the_reference(&self, round: u32) -> Option<NextVisit> {
        let reference = self.run.suite.reference().label.as_str();
        let missing = |replicate: u32| {
            let mut rounds = 0..=round;
            let round =
                rounds.find(|&round| !self.progress.is_done(self.run, reference, round, replicate))?;
            Some(NextVisit { setting: reference.to_owned(), round, replicate })
        };
        let floor = self.level.floor_at_most(self.run.suite.confidence);
        let floor_is_low = floor.is_some_and(|(most, _)| most < self.run.suite.margin);
        missing(0).or_else(|| if floor_is_low { None } else { missing(1) })
    }

    fn next_single(&self, alarmed: bool) -> Option<usize> {
        let live = (0..self.candidates.len()).filter(|&at| {
            let candidate = &self.candidates[at];
            candidate.is_live() && candidate.is_single() && candidate.alarm.is_some() == alarmed
        });
        live.min_by_key(|&at| self.candidates[at].rounds)
    }

    /// Of the products whose parts are all shown to be no worse, the one that promises most, and more than what is shown.
    fn next_product(&mut self) -> Option<usize> {
        let shown = self.candidates.iter().filter(|candidate| candidate.is_good());
        let best = shown.filter_map(|candidate| candidate.gain).fold(1.0, f64::max);
        let mut products: Vec<(usize, f64)> = (0..self.candidates.len())
            .filter(|&at| self.candidates[at].is_live() && !self.candidates[at].is_single())
            .filter_map(|at| Some((at, self.promise(at)?)))
            .filter(|(_, promise)| *promise > best)
            .collect();
        products.sort_by(|a, b| b.1.total_cmp(&a.1));
        products.first().map(|(at, _)| *at)
    }

    /// What a product may gain, by what its parts gain alone; `None` where one of them is not shown to be no worse.
    fn promise(&self, at: usize) -> Option<f64> {
        let own = &self.candidates[at];
        let reference = self.candidates.first()?;
        let gains: Option<Vec<f64>> = own
            .parts
            .iter()
            .map(|&part| {
                let of_part = |other: &&Candidate<'_>| {
                    other.parts == [part] && shares(part, other.setting, own.setting)
                };
                let single = self.candidates.iter().find(of_part)?;
                single.gain.filter(|_| single.is_good())
            })
            .collect();
        let gains = gains?;
        Some(match (self.goal, reference.memory) {
            // What each part saves is saved together.
            (Objective::Memory, Some(_)) => {
                let left = 1.0 - gains.iter().map(|gain| 1.0 - 1.0 / gain).sum::<f64>();
                1.0 / left.max(f64::MIN_POSITIVE)
            }
            _ => gains.iter().product(),
        })
    }

    /// Ends what is left, and the reference with it.
    fn end_all(&mut self, reason: StopReason, because: &str) {
        for at in 0..self.candidates.len() {
            if self.candidates[at].is_live() {
                let because = match because {
                    "" => self.why_not(at),
                    because => because.to_owned(),
                };
                self.end(at, End::GivenUp, reason, because);
            }
        }
        self.end_the_reference();
    }

    /// Its second visits end where they stood: there may be fewer of them.
    fn end_the_reference(&mut self) {
        let label = &self.run.suite.reference().label;
        if self.run.journal.decisions.iter().any(|decision| decision.setting == *label) {
            return;
        }
        let mut rounds = 0..self.run.suite.rounds;
        let second = rounds.find(|&round| !self.progress.is_done(self.run, label, round, 1));
        self.end(0, End::GivenUp, StopReason::NothingLeft, "the search is over".to_owned());
        if let (Some(rounds), Some(first)) = (second, self.decisions.last().cloned()) {
            let (after_round, untried) = (rounds.saturating_sub(1), rounds == 0);
            self.decisions.push(Decision { after_round, untried, replicate: Some(1), ..first });
        }
    }

    /// Why a product that nobody tried was left out.
    fn why_not(&self, at: usize) -> String {
        match self.promise(at) {
            None => "one of its parts is not shown to be no worse".to_owned(),
            Some(_) => "by what its parts gain alone it would be no better than what is shown".to_owned(),
        }
    }

    /// Mean time that a server was up for a visit (s).
    fn visit_s(&self) -> Option<f64> {
        let journal = self.run.journal;
        let visits: std::collections::BTreeSet<_> = journal
            .trials
            .iter()
            .map(|trial| (trial.key.setting.as_str(), trial.key.round, trial.key.replicate))
            .collect();
        (!visits.is_empty()).then(|| stopping::server_s(journal) / visits.len() as f64)
    }

    fn over_budget(&self) -> Option<String> {
        let budget = self.run.suite.stopping?.budget_s?;
        let used = stopping::server_s(self.run.journal);
        let next = self.visit_s()?;
        (used + next > budget)
            .then(|| format!("servers were up for {used:.0} s: another visit would go beyond the budget"))
    }
}

#[cfg(test)]
mod tests;
