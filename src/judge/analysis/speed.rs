//! Speed of a cell: medians over its chat trials.
//!
//! Intervals come from a nested bootstrap: visits (server processes) are drawn with replacement, then the
//! trials of each drawn visit. With one or two visits they cannot cover drift between visits, which the
//! report says.
//!
//! Cells are compared on the same requests: the prompts of a context length may differ in length many times over, and the
//! median of all of them then jumps from the short to the long ones. Each request's figure is divided by the reference's on
//! the same request, and the median of these ratios is what counts; its draws group the ratios by the pair of server
//! processes they come from. All cells of a context length are drawn alike, which pairs them with each other, too.
//!
//! Formula: the bootstrap of hierarchical data (Davison and Hinkley 1997, 3.8; for ratios of speeds Kalibera and Jones
//! 2013, "Rigorous benchmarking in reasonable time", section 7), of the median of paired ratios instead of the ratio of
//! means: half of the requests are slower than it says, whatever their mix of lengths.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use super::Resampling;
use super::draws::{Draw, Draws};
use super::frame::{self, RequestKey, Timed, VisitKey};
use super::measured::{Measured, Standing};
use super::run::Run;
use super::summary::{CellSummary, Estimate, SpeedRow};
use crate::error::Result;
use crate::judge::stats::{nested_median_draws, percentile_interval, rng};
use crate::quantile::median;
use crate::record::Objective;

/// Fewer trials than this have no interval.
const MIN_TRIALS: usize = 3;

/// Fills in the speed of a cell and its draws.
pub(crate) fn measure(run: &Run<'_>, cell: &mut CellSummary, draws: &mut Draws) -> Result<()> {
    let setting = cell.setting.clone();
    let visit = VisitKey { setting: &setting, context: cell.context, replicate: 0 };
    let median_of = |column: &str| -> Result<Option<(Estimate, Vec<Draw>)>> {
        let purpose = format!("speed {column} {} {setting}", visit.context);
        Ok(estimate(&run.frame.by_launch(visit, column)?, run.resampling, &purpose))
    };
    let plain = |column: &str| -> Result<Option<f64>> {
        let mut values: Vec<f64> = run.frame.by_launch(visit, column)?.concat();
        Ok(median(&mut values))
    };
    (cell.ttft_s, draws.ttft) = split(median_of(frame::TTFT)?);
    (cell.prefill_tps, draws.prefill) = split(median_of(frame::PREFILL)?);
    (cell.decode_tps, draws.decode) = split(median_of(frame::DECODE)?);
    (cell.engine_decode_tps, _) = split(median_of(frame::ENGINE_DECODE)?);
    cell.itl_p50_s = plain(frame::ITL_P50)?;
    cell.itl_p95_s = plain(frame::ITL_P95)?;
    cell.itl_max_s = run.frame.largest(visit, frame::ITL_MAX);
    let drafted = run.frame.total(visit, frame::DRAFTED)?.filter(|tokens| *tokens > 0.0);
    let accepted = run.frame.total(visit, frame::ACCEPTED)?;
    cell.draft_acceptance = accepted.zip(drafted).map(|(accepted, drafted)| accepted / drafted);
    Ok(())
}

fn split(found: Option<(Estimate, Vec<Draw>)>) -> (Option<Estimate>, Vec<Draw>) {
    found.map_or((None, Vec::new()), |(estimate, draws)| (Some(estimate), draws))
}

/// Median over all trials, grouped by visit, with its interval and draws.
pub(crate) fn estimate(
    visits: &[Vec<f64>],
    resampling: Resampling,
    purpose: &str,
) -> Option<(Estimate, Vec<Draw>)> {
    let mut all = visits.concat();
    let value = median(&mut all)?;
    let draws = nested_median_draws(visits, resampling.draws, &mut rng(resampling.seed, purpose));
    let interval = percentile_interval(draws.iter().copied(), resampling.confidence);
    let interval = interval.filter(|_| all.len() >= MIN_TRIALS);
    let estimate = Estimate {
        value,
        low: interval.map(|(low, _)| low),
        high: interval.map(|(_, high)| high),
        n: all.len() as u32,
    };
    Some((estimate, draws.into_iter().map(Some).collect()))
}

/// What is compared request by request, and where it stands in the table of trials.
const COMPARED: &[(Objective, &str)] = &[
    (Objective::Ttft, frame::TTFT),
    (Objective::Prefill, frame::PREFILL),
    (Objective::Decode, frame::DECODE),
    (Objective::Energy, frame::ENERGY),
];

/// Lays the speed and the energy of every cell of a context length beside the reference's.
pub(crate) fn relate(run: &Run<'_>, context: u32, cells: &mut [Measured]) -> Result<()> {
    let reference = run.suite.reference().label.as_str();
    for &(objective, column) in COMPARED {
        let theirs = of_reference(run, context, column)?;
        for cell in cells.iter_mut() {
            let setting = cell.summary.setting.clone();
            let found = if theirs.is_empty() {
                own_standing(cell, objective)
            } else if setting == reference {
                Some(unit(&theirs, run.resampling))
            } else {
                let ours = run.frame.timed(VisitKey { setting: &setting, context, replicate: 0 }, column)?;
                ratio_on_each(run, &ours, &theirs, &format!("ratio {column} {context}"))
            };
            if !theirs.is_empty() && setting != reference {
                *ratio_of(&mut cell.summary, objective) = found.as_ref().map(|standing| standing.estimate);
            }
            cell.standing.extend(found.map(|standing| (objective, standing)));
        }
    }
    Ok(())
}

/// A figure of the reference, wherever it was measured.
fn of_reference(run: &Run<'_>, context: u32, column: &str) -> Result<Vec<Timed>> {
    let setting = run.suite.reference().label.as_str();
    let visit = VisitKey { setting, context, replicate: 0 };
    let mut timed = run.frame.timed(visit, column)?;
    for &replicate in &run.workers.repeats {
        timed.extend(run.frame.timed(VisitKey { replicate, ..visit }, column)?);
    }
    Ok(timed)
}

fn ratio_of(cell: &mut CellSummary, objective: Objective) -> &mut Option<Estimate> {
    match objective {
        Objective::Ttft => &mut cell.ttft_ratio,
        Objective::Prefill => &mut cell.prefill_ratio,
        Objective::Energy => &mut cell.energy_ratio,
        _ => &mut cell.decode_ratio,
    }
}

fn own_standing(cell: &Measured, objective: Objective) -> Option<Standing> {
    let (estimate, draws) = match objective {
        Objective::Ttft => (cell.summary.ttft_s, &cell.draws.ttft),
        Objective::Prefill => (cell.summary.prefill_tps, &cell.draws.prefill),
        Objective::Energy => {
            (cell.summary.energy.as_ref().map(|energy| energy.per_request_j), &cell.draws.energy)
        }
        _ => (cell.summary.decode_tps, &cell.draws.decode),
    };
    Some(Standing { estimate: estimate?, draws: draws.clone() })
}

/// The reference beside itself.
fn unit(theirs: &[Timed], resampling: Resampling) -> Standing {
    let estimate = Estimate { value: 1.0, low: Some(1.0), high: Some(1.0), n: theirs.len() as u32 };
    Standing { estimate, draws: vec![Some(1.0); resampling.draws as usize] }
}

/// The median ratio of a figure over the requests that both have; `None` without any.
pub(crate) fn ratio(
    ours: &[Timed],
    theirs: &[Timed],
    resampling: Resampling,
    purpose: &str,
) -> Option<Standing> {
    let (estimate, draws) = estimate(&ratios(ours, theirs, &|_, _| true), resampling, purpose)?;
    Some(Standing { estimate, draws })
}

/// As [`ratio`], of pairs within one machine, or one worker's cards, alone.
fn ratio_on_each(run: &Run<'_>, ours: &[Timed], theirs: &[Timed], purpose: &str) -> Option<Standing> {
    let same = |a: u32, b: u32| run.workers.same(run.journal, a, b);
    let (estimate, draws) = estimate(&ratios(ours, theirs, &same), run.resampling, purpose)?;
    Some(Standing { estimate, draws })
}

/// Ours divided by theirs, request by request, a group for every pair of server processes, in order of time; only pairs of
/// server processes that `may` be compared.
fn ratios(ours: &[Timed], theirs: &[Timed], may: &dyn Fn(u32, u32) -> bool) -> Vec<Vec<f64>> {
    let mut left: HashMap<&RequestKey, Vec<&Timed>, RandomState> = HashMap::default();
    for timed in theirs.iter().rev().filter(|timed| timed.value > 0.0) {
        left.entry(&timed.request).or_default().push(timed);
    }
    let mut groups: BTreeMap<(u32, u32), Vec<f64>> = BTreeMap::new();
    for timed in ours.iter().filter(|timed| timed.value > 0.0) {
        let others = left.get_mut(&timed.request);
        let fits = |other: &&Timed| may(timed.launch, other.launch);
        let other = others.and_then(|others| others.iter().rposition(fits).map(|at| others.remove(at)));
        if let Some(other) = other {
            groups.entry((timed.launch, other.launch)).or_default().push(timed.value / other.value);
        }
    }
    groups.into_values().collect()
}

/// Medians over prompts of about one length, for every cell of a context length; none where all are of about one length.
pub(crate) fn by_length(run: &Run<'_>, context: u32) -> Result<Vec<SpeedRow>> {
    let reference = run.suite.reference().label.as_str();
    let mut all: Vec<(&str, Figures)> = Vec::new();
    for setting in &run.suite.settings {
        all.push((&setting.label, Figures::of(run, &setting.label, context)?));
    }
    let lengths = strata(all.iter().flat_map(|(_, figures)| figures.lengths()).collect());
    let theirs = all.iter().find(|(setting, _)| *setting == reference).map(|(_, figures)| figures.clone());
    let theirs = theirs.unwrap_or_default();
    let mut rows = Vec::new();
    for &(shortest, longest) in lengths.iter().filter(|_| lengths.len() > 1) {
        for (setting, figures) in &all {
            let others = (*setting != reference).then_some(&theirs);
            let name = format!("{context} {longest} {setting}");
            rows.extend(figures.row(run, (shortest, longest), others, &name).map(|row| SpeedRow {
                setting: (*setting).to_owned(),
                context,
                ..row
            }));
        }
    }
    Ok(rows)
}

/// What was timed in a visit.
#[derive(Clone, Default)]
struct Figures {
    ttft: Vec<Timed>,
    prefill: Vec<Timed>,
    decode: Vec<Timed>,
}

impl Figures {
    fn of(run: &Run<'_>, setting: &str, context: u32) -> Result<Self> {
        let visit = VisitKey { setting, context, replicate: 0 };
        let timed = |column| run.frame.timed(visit, column);
        Ok(Self { ttft: timed(frame::TTFT)?, prefill: timed(frame::PREFILL)?, decode: timed(frame::DECODE)? })
    }

    fn lengths(&self) -> impl Iterator<Item = u32> {
        let all = self.ttft.iter().chain(&self.prefill).chain(&self.decode);
        all.map(|timed| timed.prompt_tokens).filter(|tokens| *tokens > 0)
    }

    /// `None` when nothing was timed on such prompts.
    fn row(
        &self,
        run: &Run<'_>,
        lengths: (u32, u32),
        reference: Option<&Self>,
        name: &str,
    ) -> Option<SpeedRow> {
        let median = |timed: &[Timed], what: &str| {
            let visits = by_launch(&within(timed, lengths));
            Some(estimate(&visits, run.resampling, &format!("length {what} {name}"))?.0)
        };
        let beside = |ours: &[Timed], theirs: Option<&Vec<Timed>>, what: &str| {
            let theirs = within(theirs?, lengths);
            let purpose = format!("length ratio {what} {name}");
            Some(ratio_on_each(run, &within(ours, lengths), &theirs, &purpose)?.estimate)
        };
        let row = SpeedRow {
            setting: String::new(),
            context: 0,
            shortest: lengths.0,
            longest: lengths.1,
            ttft_s: median(&self.ttft, frame::TTFT),
            prefill_tps: median(&self.prefill, frame::PREFILL),
            decode_tps: median(&self.decode, frame::DECODE),
            ttft_ratio: beside(&self.ttft, reference.map(|other| &other.ttft), frame::TTFT),
            decode_ratio: beside(&self.decode, reference.map(|other| &other.decode), frame::DECODE),
        };
        (row.ttft_s.is_some() || row.prefill_tps.is_some() || row.decode_tps.is_some()).then_some(row)
    }
}

fn within(timed: &[Timed], (shortest, longest): (u32, u32)) -> Vec<Timed> {
    timed.iter().filter(|one| (shortest..=longest).contains(&one.prompt_tokens)).cloned().collect()
}

fn by_launch(timed: &[Timed]) -> Vec<Vec<f64>> {
    let mut visits: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for one in timed {
        visits.entry(one.launch).or_default().push(one.value);
    }
    visits.into_values().collect()
}

/// Shortest and longest prompt of each group of about one length, the longest first: from the longest down, what is more
/// than half as long belongs together.
fn strata(mut lengths: Vec<u32>) -> Vec<(u32, u32)> {
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let mut groups: Vec<(u32, u32)> = Vec::new();
    for length in lengths {
        match groups.last_mut() {
            Some((shortest, longest)) if 2 * u64::from(length) > u64::from(*longest) => *shortest = length,
            _ => groups.push((length, length)),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timed(task: &str, case: usize, launch: u32, prompt_tokens: u32, value: f64) -> Timed {
        let request = RequestKey { task: task.into(), arm: "".into(), case: case.to_string().into() };
        Timed { launch, request, prompt_tokens, value }
    }

    /// Short prompts of 100 and long ones of 4,000 tokens, 0.1 and 4 s to the first token, `slowness` times as slow. The
    /// clock of each server process runs a little faster or slower.
    fn mixed(slowness: f64) -> Vec<Timed> {
        let mut all = Vec::new();
        for launch in 0..4 {
            let drift = 1.0 + 0.02 * f64::from(launch);
            for case in 0..6 {
                let noise = 1.0 + 0.01 * f64::from((case * 7 + launch * 3) % 5);
                let at = (launch * 6 + case) as usize;
                all.push(timed("tools/arguments", at, launch, 100, 0.1 * drift * noise * slowness));
                all.push(timed("retrieval/niah", at, launch, 4000, 4.0 * drift * noise * slowness));
            }
        }
        all
    }

    #[test]
    fn prompts_of_different_lengths_are_compared_request_by_request() {
        let (ours, theirs) = (mixed(1.2), mixed(1.0));
        let paired = ratio(&ours, &theirs, RESAMPLING, "t").unwrap().estimate;
        assert!((paired.value - 1.2).abs() < 1e-9 && paired.n == 48, "{paired:?}");
        let (low, high) = (paired.low.unwrap(), paired.high.unwrap());
        assert!(low > 1.15 && high < 1.25, "20% slower whatever the prompts' lengths: {paired:?}");
        // What it replaces: the ratio of the medians over all prompts, drawn apart.
        let pooled = |all: &[Timed], name: &str| estimate(&by_launch(all), RESAMPLING, name).unwrap().1;
        let apart = pooled(&ours, "a").into_iter().zip(pooled(&theirs, "b"));
        let apart = apart.filter_map(|(a, b)| Some(a? / b?));
        let (low, high) = percentile_interval(apart, 0.95).unwrap();
        assert!(high / low > 10.0, "the medians jump from the short prompts to the long ones: {low} {high}");
    }

    #[test]
    fn only_the_same_requests_are_compared() {
        // One setting was timed on the short prompts alone.
        let short: Vec<Timed> = mixed(1.0).into_iter().filter(|timed| timed.prompt_tokens == 100).collect();
        let paired = ratio(&short, &mixed(1.0), RESAMPLING, "t").unwrap().estimate;
        assert_eq!((paired.value, paired.n), (1.0, 24));
        assert!(ratio(&short, &[timed("other/task", 0, 0, 100, 1.0)], RESAMPLING, "t").is_none());
    }

    #[test]
    fn lengths_fall_into_groups_of_less_than_twice_the_shortest() {
        assert_eq!(strata(vec![4100, 120, 4000, 2100, 100]), [(2100, 4100), (100, 120)]);
        assert_eq!(strata(vec![1000, 501, 500]), [(501, 1000), (500, 500)]);
        assert_eq!(strata(Vec::new()), []);
    }

    const RESAMPLING: Resampling =
        Resampling { seed: 1, draws: 500, confidence: 0.95, graded_from: Resampling::GRADED_UNITS };

    #[test]
    fn two_trials_have_no_interval() {
        let (estimate, draws) = estimate(&[vec![10.0, 12.0]], RESAMPLING, "t").unwrap();
        assert_eq!((estimate.value, estimate.low, estimate.n), (11.0, None, 2));
        assert_eq!(draws.len(), 500);
        assert!(super::estimate(&[], RESAMPLING, "t").is_none());
    }

    #[test]
    fn an_outlier_does_not_move_the_median() {
        let steady = vec![10.0, 10.1, 9.9, 10.0, 10.2, 9.8, 10.0, 10.1];
        let mut visits = [steady.clone(), steady.clone(), steady];
        visits[1][0] = 0.1;
        let (estimate, _) = estimate(&visits, RESAMPLING, "t").unwrap();
        assert_eq!(estimate.value, 10.0);
        assert!(estimate.low.unwrap() > 5.0 && estimate.high.unwrap() < 10.3, "{estimate:?}");
    }
}
