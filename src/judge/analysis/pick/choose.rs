//! The choice, and how often the draws repeat it.

use super::answer::{CandidateRow, RunnerUp};
use super::candidate::Candidate;
use super::request::{Goal, PickRequest};
use super::warning::asks_for_quality;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::Estimate;
use crate::judge::stats::percentile_interval;
use crate::record::{Direction, Objective};

/// Below this share of draws a pick is called unsure.
const UNSURE: f64 = 0.8;

/// What was chosen.
pub(super) struct Choice {
    /// Place of the pick among the candidates.
    pub(super) best: usize,
    /// Places of those that meet the requirements, best first.
    ranking: Vec<usize>,
    /// Places of the refused ones, in suite order.
    refused: Vec<(usize, bool)>,
    /// In how many draws each one won.
    wins: Vec<u32>,
    /// Draws; 0 when nothing varies.
    draws: u32,
    margin: Option<Estimate>,
    pub(super) notes: Vec<String>,
}

/// Chooses; `None` when no candidate meets the requirements.
pub(super) fn choose(candidates: &[Candidate<'_>], run: &Run<'_>, request: &PickRequest) -> Option<Choice> {
    let contest = Contest { candidates, objectives: &run.suite.objectives, goal: request.goal };
    let fitting: Vec<usize> = (0..candidates.len()).filter(|&at| candidates[at].refused.is_empty()).collect();
    let ranking = contest.rank(&fitting, None);
    let (&best, second) = (ranking.first()?, ranking.get(1).copied());
    let reference = candidates.iter().find(|candidate| candidate.is_reference)?;
    let draws = candidates.iter().map(Candidate::draws).filter(|&draws| draws > 0).min().unwrap_or_default();
    let draws = if contest.is_thin(best, request) { 0 } else { draws };
    let mut wins = vec![0_u32; candidates.len()];
    let mut margins = Vec::new();
    for number in 0..draws {
        // What is not shown for the whole interval is refused, however often a single draw would let it pass.
        let shown = |at: usize| !request.strict || candidates[at].refused.is_empty();
        let holds =
            |&at: &usize| shown(at) && candidates[at].holds_in(number, reference, request, run.suite.margin);
        let fitting: Vec<usize> = (0..candidates.len()).filter(holds).collect();
        if let Some(&winner) = contest.rank(&fitting, Some(number)).first() {
            wins[winner] += 1;
        }
        margins.extend(second.and_then(|second| contest.margin(best, second, &ranking, Some(number))));
    }
    let margin = second.and_then(|second| contest.margin(best, second, &ranking, None)).map(|value| {
        let interval = percentile_interval(margins, run.resampling.confidence);
        Estimate {
            value,
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            n: draws as u32,
        }
    });
    let unfit = (0..candidates.len()).filter(|&at| !candidates[at].refused.is_empty());
    let refused = unfit.map(|at| (at, contest.looks_better(at, best))).collect();
    let mut choice = Choice { best, ranking, refused, wins, draws: draws as u32, margin, notes: Vec::new() };
    choice.notes = choice.remarks(candidates, &contest);
    Some(choice)
}

/// What the candidates are ranked by.
struct Contest<'c, 'a> {
    candidates: &'c [Candidate<'a>],
    objectives: &'c [Objective],
    goal: Goal,
}

impl Contest<'_, '_> {
    /// The places of those with a figure for the goal, best first; equal ones by quality, then in suite order.
    fn rank(&self, places: &[usize], draw: Option<usize>) -> Vec<usize> {
        let scores = self.scores(places, draw);
        let quality = |at: usize| self.figure(at, Objective::Quality, None).unwrap_or(f64::MIN);
        let mut ranked: Vec<(usize, f64)> =
            places.iter().zip(scores).filter_map(|(&at, score)| Some((at, score?))).collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1).then(quality(b.0).total_cmp(&quality(a.0))));
        ranked.into_iter().map(|(at, _)| at).collect()
    }

    /// For each place how good it is, more is better; `None` without the figure.
    fn scores(&self, places: &[usize], draw: Option<usize>) -> Vec<Option<f64>> {
        let by = |objective: Objective| places.iter().map(|&at| self.gain(at, objective, draw)).collect();
        match self.goal {
            Goal::Decode => by(Objective::Decode),
            Goal::Ttft => by(Objective::Ttft),
            Goal::Memory => by(Objective::Memory),
            Goal::Energy => by(Objective::Energy),
            Goal::Knee => self.compromise(places, draw),
        }
    }

    /// The mean over the suite's objectives of the gain, each scaled to 0 (worst of these) .. 1 (best). Its
    /// largest value is the front point farthest from the plane through the extremes: the knee.
    ///
    /// Formula: Das (1999), "On characterizing the knee of the Pareto curve", on normalised axes.
    fn compromise(&self, places: &[usize], draw: Option<usize>) -> Vec<Option<f64>> {
        let mut sums = vec![Some(0.0); places.len()];
        let mut used = 0.0;
        for &objective in self.objectives {
            let gains: Vec<Option<f64>> = places.iter().map(|&at| self.gain(at, objective, draw)).collect();
            let known = || gains.iter().flatten().copied();
            let (low, high) = (known().fold(f64::MAX, f64::min), known().fold(f64::MIN, f64::max));
            if known().next().is_none() {
                continue;
            }
            used += 1.0;
            for (sum, gain) in sums.iter_mut().zip(gains) {
                let scaled = |gain: f64| if high > low { (gain - low) / (high - low) } else { 0.5 };
                *sum = sum.zip(gain).map(|(sum, gain)| sum + scaled(gain));
            }
        }
        sums.into_iter().map(|sum| sum.filter(|_| used > 0.0).map(|sum| sum / used)).collect()
    }

    fn figure(&self, at: usize, objective: Objective, draw: Option<usize>) -> Option<f64> {
        self.candidates[at].figures.get(&objective)?.ranked(draw)
    }

    fn gain(&self, at: usize, objective: Objective, draw: Option<usize>) -> Option<f64> {
        let value = self.figure(at, objective, draw)?;
        Some(match objective.direction() {
            Direction::Up => value,
            Direction::Down => -value,
        })
    }

    /// By how much `best` is better than `second`: a share of the latter's figure, for the knee a difference.
    fn margin(&self, best: usize, second: usize, all: &[usize], draw: Option<usize>) -> Option<f64> {
        let scores = self.scores(all, draw);
        let of = |place: usize| all.iter().position(|&at| at == place).and_then(|at| scores[at]);
        let (ours, theirs) = (of(best)?, of(second)?);
        let margin = match self.goal {
            Goal::Knee => ours - theirs,
            _ => (ours - theirs) / theirs.abs(),
        };
        margin.is_finite().then_some(margin)
    }

    /// Whether what the choice rests on was seen so seldom that its draws are all alike.
    fn is_thin(&self, best: usize, request: &PickRequest) -> bool {
        let of_goal = match self.goal {
            Goal::Decode => Some(Objective::Decode),
            Goal::Ttft => Some(Objective::Ttft),
            Goal::Energy => Some(Objective::Energy),
            Goal::Memory | Goal::Knee => None,
        };
        let of_quality = asks_for_quality(request).then_some(Objective::Quality);
        of_goal.into_iter().chain(of_quality).any(|objective| self.candidates[best].is_thin(objective))
    }

    /// Whether a refused one has the better figure; for the knee: is faster or smaller.
    fn looks_better(&self, at: usize, best: usize) -> bool {
        let beats = |objective| self.gain(at, objective, None) > self.gain(best, objective, None);
        match self.goal {
            Goal::Decode => beats(Objective::Decode),
            Goal::Ttft => beats(Objective::Ttft),
            Goal::Memory => beats(Objective::Memory),
            Goal::Energy => beats(Objective::Energy),
            Goal::Knee => beats(Objective::Decode) || beats(Objective::Memory),
        }
    }
}

impl Choice {
    /// Share of draws in which this one won.
    pub(super) fn frequency(&self, at: usize) -> Option<f64> {
        (self.draws > 0).then(|| f64::from(self.wins[at]) / f64::from(self.draws))
    }

    pub(super) fn runner_up(&self, candidates: &[Candidate<'_>]) -> Option<RunnerUp> {
        let &second = self.ranking.get(1)?;
        Some(RunnerUp {
            setting: candidates[second].label().to_owned(),
            margin: self.margin?,
            frequency: self.frequency(second),
        })
    }

    /// The pick, those that would do, the refused.
    pub(super) fn rows(&self, candidates: &[Candidate<'_>]) -> Vec<CandidateRow> {
        let fitting = self.ranking.iter().map(|&at| (at, false));
        let listed: Vec<(usize, bool)> = fitting.chain(self.refused.iter().copied()).collect();
        let unranked = (0..candidates.len()).filter(|at| !listed.iter().any(|(listed, _)| listed == at));
        let all: Vec<(usize, bool)> = listed.iter().copied().chain(unranked.map(|at| (at, false))).collect();
        all.into_iter().map(|(at, better_looking)| self.row(candidates, at, better_looking)).collect()
    }

    fn row(&self, candidates: &[Candidate<'_>], at: usize, better_looking: bool) -> CandidateRow {
        let candidate = &candidates[at];
        let mut refused = candidate.refused.clone();
        if refused.is_empty() && !self.ranking.contains(&at) {
            refused.push("the figure to be the best in was not measured".into());
        }
        CandidateRow {
            setting: candidate.label().to_owned(),
            quality: candidate.quality(),
            difference: candidate.difference,
            decode_tps: candidate.estimate(Objective::Decode),
            ttft_s: candidate.estimate(Objective::Ttft),
            energy_j: candidate.estimate(Objective::Energy),
            memory_bytes: candidate.memory(),
            memory_kind: candidate.memory_kind,
            frequency: self.frequency(at),
            untried: candidate.is_untried(),
            refused,
            better_looking,
        }
    }

    fn remarks(&self, candidates: &[Candidate<'_>], contest: &Contest<'_, '_>) -> Vec<String> {
        let mut notes = Vec::new();
        match self.frequency(self.best) {
            None => notes.push("too little was measured to say how sure the pick is".into()),
            Some(share) if share < UNSURE => notes.push(format!(
                "unsure: only {:.0}% of the bootstrap draws pick it; more cases or rounds would tell",
                share * 100.0
            )),
            Some(_) => {}
        }
        if self.margin.is_some_and(|margin| margin.low.is_some_and(|low| low <= 0.0)) {
            notes.push(
                "the interval of its margin over the runner-up reaches to 0: they cannot be told apart"
                    .into(),
            );
        }
        let best = &candidates[self.best];
        if best.quality().is_none() {
            notes.push("its quality was not measured here".into());
        } else if !best.is_reference && best.difference.and_then(|difference| difference.low).is_none() {
            notes.push("its quality's difference from the reference has no interval".into());
        }
        notes.extend(best.about_its_memory());
        let missing = contest.objectives.iter().filter(|objective| !best.figures.contains_key(objective));
        if contest.goal == Goal::Knee {
            notes.extend(missing.map(|objective| {
                format!("{} was not measured and has no part in the knee", objective.name())
            }));
        }
        notes
    }
}
