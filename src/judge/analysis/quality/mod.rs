//! The primary endpoint: quality of a cell, its paired difference to the reference, and the verdict.
//!
//! The endpoint at a context length is the mean over the primary tasks (each arm of a tool task counts as
//! one) of the task's mean score. A task at which the reference scores 0 cannot show a loss and would only
//! dilute the others', so it is left out for every setting alike, and flagged.
//!
//! Settings are only compared on the same cases of the same tasks. What broke counts as lost, whoever broke it; what
//! does not apply to one of two settings is left out of both; a cell that has no case of a task in common with the
//! reference is not compared at all.

use std::collections::{BTreeMap, HashMap, HashSet};

use foldhash::fast::RandomState;

use super::draws::Draw;
use super::frame::{RequestKey, ScoredCase, VisitKey, arm_name};
use super::measured::Measured;
use super::run::Run;
use super::summary::{AaSummary, Estimate, Verdict};
use crate::judge::stats::{CellDraws, ClusterSums, holm, joint_draws, rng};
use crate::record::suite::Suite;
use crate::record::{Name, Prompt, Reply, Trial};
use crate::task::Weight;

mod alone;
mod evidence;
pub(crate) mod interval;
pub(crate) mod probability;
mod rule;

pub(crate) use alone::{difference_in, difference_of_runs, score_in};
pub(crate) use evidence::Evidence;

pub(crate) use interval::{
    Difference, anytime_difference, anytime_score, contrast_of, mean_score, paired_difference,
};
use interval::{difference_of, mean_of_means, mean_score_of};
pub(crate) use rule::Rule;

/// The cases of one primary task (and arm) at one context length, by cluster.
#[derive(Debug, Clone)]
struct Stratum {
    task: Name,
    arm: Name,
    clusters: HashMap<Name, usize, RandomState>,
}

/// The primary tasks of a context length, and where each request of the run stands among them.
#[derive(Debug, Clone)]
struct Strata {
    all: Vec<Stratum>,
    /// By the request's number: its stratum, and its cluster there where it is of a known one.
    places: Vec<Option<(u32, Option<u32>)>>,
}

/// What is shared by all cells of a context length.
pub(crate) struct Level<'a> {
    pub(crate) context: u32,
    suite: &'a Suite,
    reference: &'a str,
    strata: Strata,
    cells: BTreeMap<&'a str, Cell>,
    aa: Option<Difference>,
    /// How far each case of the reference's second visit is from its first.
    aa_sizes: Evidence,
    aa_replies: Option<(u32, u32)>,
}

/// The quality of one cell before it is judged.
struct Cell {
    quality: Option<Estimate>,
    draws: CellDraws,
    difference: Option<Difference>,
    cases: Vec<ScoredCase>,
    /// What of the difference comes from cases that broke on the reference.
    credit: f64,
    /// Tasks of which it has no case in common with the reference.
    not_comparable: Vec<String>,
}

/// Pairs of a visit with the reference's first one, added up by stratum and cluster.
struct Change {
    strata: Vec<ClusterSums>,
    /// How far they are apart, whichever way.
    absolute: f64,
    /// What the pairs gain whose case broke on the reference.
    credit: f64,
    discordance: f64,
}

/// The cases of the reference's first visit, by their requests' numbers.
type Reference<'i> = HashMap<u32, &'i ScoredCase, RandomState>;

/// A setting on its way to a cell: its cases, their scores, and how they differ from the reference's.
struct Scored<'a> {
    setting: &'a str,
    cases: Vec<ScoredCase>,
    scores: Vec<ClusterSums>,
    change: Change,
}

/// The draws of a setting, which are paired with those of all others.
struct Drawn {
    scores: CellDraws,
    changes: CellDraws,
}

/// What the settings of a context length have in common while their cells are made.
struct Shared<'r, 'a> {
    run: &'r Run<'a>,
    context: u32,
    strata: &'r Strata,
    /// Whether there is a task at which the reference can lose something.
    comparable: bool,
    reference: Reference<'r>,
}

impl Shared<'_, '_> {
    fn scored<'s>(&self, setting: &'s str, mut cases: Vec<ScoredCase>, compared: bool) -> Scored<'s> {
        keep_shared(&mut cases, &self.reference);
        let scores = score_sums(self.strata, &cases);
        let change = self.change(if compared { &cases } else { &[] });
        Scored { setting, cases, scores, change }
    }

    fn change(&self, cases: &[ScoredCase]) -> Change {
        Change::of(&self.pairs(cases))
    }

    /// How far each case is from the reference's.
    fn sizes(&self, cases: &[ScoredCase]) -> Vec<ClusterSums> {
        self.pairs(cases).sums(|change, _| change.abs())
    }

    fn pairs<'c>(&self, cases: &'c [ScoredCase]) -> Pairs<'_, 'c> {
        Pairs::of(self.strata, if self.comparable { cases } else { &[] }, &self.reference)
    }

    /// The draws of every setting, and those of the reference's second visit: all at once, which pairs them.
    fn draw(&self, scored: &[Scored<'_>], again: &Change) -> (Vec<Drawn>, CellDraws) {
        let scores = scored.iter().map(|one| one.scores.as_slice());
        let changes = scored.iter().map(|one| one.change.strata.as_slice());
        let columns: Vec<&[ClusterSums]> = scores.chain(changes).chain([again.strata.as_slice()]).collect();
        let mut stream = rng(self.run.resampling.seed, &format!("items {}", self.context));
        let mut draws = joint_draws(&columns, self.run.resampling.draws, &mut stream);
        let of_again = draws.pop().unwrap_or_default();
        let changes = draws.split_off(scored.len());
        let drawn = draws.into_iter().zip(changes).map(|(scores, changes)| Drawn { scores, changes });
        (drawn.collect(), of_again)
    }

    fn cell(&self, scored: Scored<'_>, drawn: Drawn, whole: &Whole) -> Cell {
        let Scored { setting, cases, scores, change } = scored;
        let Drawn { scores: mut draws, changes } = drawn;
        let confidence = self.run.resampling.confidence;
        let difference = change.difference(self.run, &changes, &format!("{} {setting}", self.context));
        let by_probability = probability::Rule::of(self.run.suite);
        let mut quality = match (by_probability, self.run.suite.stops_by_outcome()) {
            (Some(rule), _) => rule.score(&scores, &draws.means),
            (None, true) => anytime_score(&scores, confidence),
            (None, false) => mean_score_of(&scores, &draws.means, self.run.resampling),
        };
        if cases.len() < whole.cases {
            let slope = slope(self.strata, &cases, &self.reference);
            whole.adjust(&mut quality, &mut draws, difference.as_ref(), (slope, &changes));
        }
        let credit = change.credit;
        let mut cell = Cell { quality, draws, difference, cases, credit, not_comparable: Vec::new() };
        if self.comparable && setting != self.run.suite.reference().label {
            cell.hold_apart(self.strata, &scores, &change);
        }
        cell
    }
}

/// The reference on all cases that it answered.
struct Whole {
    cases: usize,
    mean: Option<f64>,
    draws: Vec<Draw>,
}

impl Whole {
    /// The first setting is the reference.
    fn of(scored: &[Scored<'_>], drawn: &[Drawn]) -> Self {
        let (first, draws) = (scored.first(), drawn.first());
        Self {
            cases: first.map_or(0, |first| first.cases.len()),
            mean: first.and_then(|first| mean_of_means(&first.scores)),
            draws: draws.map(|drawn| drawn.scores.means.clone()).unwrap_or_default(),
        }
    }

    /// A cell that has not answered all cases of the reference (it stopped before, or some do not apply to it) saw
    /// perhaps the easier ones. Its quality is
    /// adjusted by how far the reference did better on these than on all: own + slope (all - these), the slope of
    /// its scores on the reference's (the regression estimator of survey sampling, Cochran 1977, chapter 7). So
    /// cells of unlike cases can be laid side by side; the interval stays the cell's own, which holds without that.
    fn adjust(
        &self,
        quality: &mut Option<Estimate>,
        draws: &mut CellDraws,
        difference: Option<&Difference>,
        (slope, changes): (f64, &CellDraws),
    ) {
        let (Some(quality), Some(difference), Some(mean)) = (quality, difference, self.mean) else { return };
        let adjusted = |own: f64, change: f64, all: f64| own + slope * (all - (own - change));
        quality.value = adjusted(quality.value, difference.estimate.value, mean).clamp(0.0, 1.0);
        quality.low = quality.low.map(|low| low.min(quality.value));
        quality.high = quality.high.map(|high| high.max(quality.value));
        let beside = self.draws.iter().zip(&changes.means);
        for ((own, smoothed), (all, change)) in draws.means.iter_mut().zip(&mut draws.smoothed).zip(beside) {
            let (Some(now), Some(all), Some(change)) = (*own, *all, *change) else { continue };
            let put = adjusted(now, change, all);
            *own = Some(put);
            *smoothed = smoothed.map(|smoothed| smoothed + put - now);
        }
    }
}

/// Slope (0..1) of a cell's scores on the reference's over the cases that both answered, each about its task's mean.
fn slope(strata: &Strata, cases: &[ScoredCase], reference: &Reference<'_>) -> f64 {
    let (mut together, mut alone) = (0.0, 0.0);
    for at in 0..strata.all.len() {
        let here = cases.iter().filter(|case| strata.holds(at, case));
        let pairs: Vec<(f64, f64)> =
            here.filter_map(|case| Some((case.quality, reference.get(&case.number)?.quality))).collect();
        let n = pairs.len().max(1) as f64;
        let own_mean = pairs.iter().map(|(own, _)| own).sum::<f64>() / n;
        let their_mean = pairs.iter().map(|(_, theirs)| theirs).sum::<f64>() / n;
        together += pairs.iter().map(|(own, theirs)| (own - own_mean) * (theirs - their_mean)).sum::<f64>();
        alone += pairs.iter().map(|(_, theirs)| (theirs - their_mean).powi(2)).sum::<f64>();
    }
    if alone > 0.0 { (together / alone).clamp(0.0, 1.0) } else { 0.0 }
}

impl<'a> Level<'a> {
    /// Everything that the cells of a context length have in common is drawn at once.
    pub(crate) fn new(run: &Run<'a>, context: u32) -> Self {
        let reference = run.suite.reference().label.as_str();
        let visit = |setting, replicate| VisitKey { setting, context, replicate };
        let own = run.frame.cases(visit(reference, 0));
        let (strata, comparable) = informative(run, strata(run, context), &own);
        let shared = Shared { run, context, strata: &strata, comparable, reference: by_number(&own) };
        let settings = run.suite.settings.iter().map(|setting| setting.label.as_str());
        let scored: Vec<Scored<'a>> = settings
            .map(|label| match label == reference {
                // The reference is compared with itself only by its second visit.
                true => shared.scored(label, own.clone(), false),
                false => shared.scored(label, run.frame.cases(visit(label, 0)), true),
            })
            .collect();
        // The noise floor is what answers differ by; a server that breaks is no noise.
        let mut again = run.frame.cases(visit(reference, 1));
        again.retain(|case| answered_by_both(case, &shared.reference));
        let aa_sizes = shared.sizes(&again);
        let again = shared.change(&again);
        let (drawn, of_again) = shared.draw(&scored, &again);
        let whole = Whole::of(&scored, &drawn);
        let cells = scored.into_iter().zip(drawn);
        let cells =
            cells.map(|(scored, drawn)| (scored.setting, shared.cell(scored, drawn, &whole))).collect();
        let aa = again.difference(run, &of_again, &format!("{context} aa"));
        let aa_sizes = Evidence::of(run.suite, &aa_sizes);
        let aa_replies = identical_replies(run, reference, context);
        Self { context, suite: run.suite, reference, cells, aa, aa_sizes, aa_replies, strata }
    }

    /// Fills in quality and difference of a cell.
    pub(crate) fn measure(&self, measured: &mut Measured) {
        let Measured { summary: cell, draws, .. } = measured;
        let Some(own) = self.cells.get(cell.setting.as_str()) else { return };
        cell.not_comparable.clone_from(&own.not_comparable);
        cell.quality = own.quality;
        if own.quality.is_some() {
            draws.quality.clone_from(&own.draws.means);
            draws.smoothed.clone_from(&own.draws.smoothed);
        }
        cell.difference = own.difference.as_ref().map(|difference| difference.estimate);
        cell.mde = own.difference.as_ref().and_then(|difference| difference.mde);
        cell.texts = own.difference.as_ref().and_then(|difference| difference.texts);
        measured.difference.clone_from(&own.difference);
        measured.credit = own.credit;
    }

    /// The contrast `both - one - other + reference` of every case that all four cells scored, by stratum and
    /// cluster.
    pub(crate) fn contrast(&self, one: &str, other: &str, both: &str) -> Option<Vec<ClusterSums>> {
        let scores = |setting: &str| Some(scores_of(&self.cells.get(setting)?.cases));
        let (one, other, reference) = (scores(one)?, scores(other)?, scores(self.reference)?);
        let contrast = |case: &ScoredCase| {
            let key = &case.number;
            Some(case.quality - one.get(key)? - other.get(key)? + reference.get(key)?)
        };
        Some(compared_sums(&self.strata, &self.cells.get(both)?.cases, contrast))
    }

    /// Paired differences of two cells (the first minus the second) as evidence that may be looked at any time.
    pub(crate) fn between(&self, first: &str, second: &str) -> Option<Evidence> {
        let other = scores_of(&self.cells.get(second)?.cases);
        let difference = |case: &ScoredCase| Some(case.quality - other.get(&case.number)?);
        let sums = compared_sums(&self.strata, &self.cells.get(first)?.cases, difference);
        Some(Evidence::of(self.suite, &sums))
    }

    /// What a setting can lose: the reference's quality.
    fn room(&self) -> f64 {
        let quality = self.cells.get(self.reference).and_then(|cell| cell.quality);
        quality.map_or(1.0, |quality| quality.value)
    }

    /// When a cell of this context length is no worse, worse, or neither.
    pub(crate) fn rule(&self) -> Rule {
        Rule {
            margin: self.suite.margin,
            floor: self.aa.as_ref().map(|aa| aa.absolute),
            room: self.room(),
            level: 1.0 - self.suite.confidence,
            anytime: self.suite.stops_by_outcome(),
        }
    }

    /// The most that the noise floor can be, by a bound that may be looked at any time, and on how many pairs;
    /// `None` without the reference's second visit.
    pub(crate) fn floor_at_most(&self, confidence: f64) -> Option<(f64, usize)> {
        let (_, most) = self.aa_sizes.confidence_sequence(confidence)?;
        Some((most, self.aa_sizes.len()))
    }

    /// The pass/fail cases of a cell when it has one primary task and independent cases: right, and all.
    pub(crate) fn right_of(&self, run: &Run<'_>, setting: &str) -> Option<(u32, u32)> {
        let cases = &self.cells.get(setting)?.cases;
        let [_] = self.strata.all.as_slice() else { return None };
        let mine = cases.iter().filter(|case| self.strata.holds(0, case));
        let mine: Vec<&ScoredCase> = mine.collect();
        let clusters: HashSet<u32> = mine.iter().map(|case| run.frame.request(case).1.number()).collect();
        let pass_fail = mine.iter().all(|case| case.quality == 0.0 || case.quality == 1.0);
        let right = mine.iter().filter(|case| case.quality == 1.0).count() as u32;
        (pass_fail && clusters.len() == mine.len() && !mine.is_empty()).then_some((right, mine.len() as u32))
    }

    /// The noise floor, once the reference ran twice.
    pub(crate) fn aa(&self, max_kld: Option<f64>) -> Option<AaSummary> {
        if self.aa.is_none() && self.aa_replies.is_none() && max_kld.is_none() {
            return None;
        }
        let (identical, replies) = self.aa_replies.unwrap_or_default();
        Some(AaSummary {
            context: self.context,
            pairs: self.aa.as_ref().map_or(0, |aa| aa.estimate.n),
            discordance: self.aa.as_ref().map_or(0.0, |aa| aa.discordance),
            floor: self.aa.as_ref().map_or(0.0, |aa| aa.absolute),
            identical_replies: f64::from(identical) / f64::from(replies.max(1)),
            difference: self.aa.as_ref().map(|aa| aa.estimate),
            max_kld,
        })
    }
}

/// Gives every cell of a context length its verdict; p-values are adjusted over these cells.
pub(crate) fn judge(cells: &mut [Measured], level: &Level<'_>) {
    let tested: Vec<usize> = (0..cells.len()).filter(|&i| cells[i].difference.is_some()).collect();
    let p_value = |&i: &usize| cells[i].difference.as_ref().map_or(1.0, |difference| difference.p_value);
    let adjusted = holm(&tested.iter().map(p_value).collect::<Vec<_>>());
    for (&index, p) in tested.iter().zip(adjusted) {
        cells[index].summary.p_holm = Some(p);
    }
    let rule = level.rule();
    for cell in cells {
        let (summary, credit) = (&mut cell.summary, cell.credit);
        summary.verdict = if summary.setting == level.reference && summary.void.is_none() {
            Verdict::Reference
        } else if !summary.not_comparable.is_empty() {
            Verdict::NotComparable
        } else if summary.quality.is_none() {
            Verdict::NotMeasured
        } else {
            rule.verdict(summary.difference.as_ref(), summary.p_holm, credit)
        };
    }
}

/// Leaves out what the reference has no case of: the same cases are compared, or none. A cell that shares no case at
/// all with it (another tokenizer makes other cases of the same tasks) keeps its own.
fn keep_shared(cases: &mut Vec<ScoredCase>, reference: &Reference<'_>) {
    let shared = |case: &ScoredCase| reference.contains_key(&case.number);
    if cases.iter().any(shared) {
        cases.retain(shared);
    }
}

/// Whether neither visit of the reference broke on it.
fn answered_by_both(case: &ScoredCase, reference: &Reference<'_>) -> bool {
    !case.broke && reference.get(&case.number).is_none_or(|first| !first.broke)
}

impl Cell {
    /// A cell that misses a whole task of the reference's has no mean that could be laid beside the others'.
    fn hold_apart(&mut self, strata: &Strata, scores: &[ClusterSums], change: &Change) {
        if self.quality.is_none() {
            return;
        }
        let has = |sums: &ClusterSums| sums.mean().is_some();
        let pairs = change.strata.iter().any(has);
        let missing = strata.all.iter().zip(scores).zip(&change.strata);
        let missing = missing.filter(|((_, own), paired)| if pairs { !has(paired) } else { !has(own) });
        self.not_comparable = missing.map(|((stratum, _), _)| stratum.name()).collect();
        if !self.not_comparable.is_empty() {
            (self.quality, self.difference) = (None, None);
        }
    }
}

impl Stratum {
    fn asks(&self, request: &RequestKey) -> bool {
        self.task == request.task && self.arm == request.arm
    }

    /// The task, and the arm where it has one.
    fn name(&self) -> String {
        if self.arm.is_empty() { self.task.to_string() } else { format!("{} ({})", self.task, self.arm) }
    }
}

/// The primary tasks and arms of a context length, with the clusters of their cases.
fn strata(run: &Run<'_>, context: u32) -> Strata {
    let task_arms = run.task_arms(context).into_iter();
    let primary = task_arms.filter(|(task, _)| run.weight(task) == Weight::Primary);
    let all = primary
        .map(|(task, arm)| {
            let mut clusters = HashMap::default();
            let cases = run.journal.cases.iter();
            for case in cases.filter(|c| c.context == context && c.task == task && c.arm == arm) {
                let next = clusters.len();
                clusters.entry(case.cluster).or_insert(next);
            }
            Stratum { task: task.into(), arm: arm_name(arm).into(), clusters }
        })
        .collect();
    Strata::new(run, all)
}

impl Strata {
    /// Every request is looked up once, not once a setting.
    fn new(run: &Run<'_>, all: Vec<Stratum>) -> Self {
        let place = |(request, cluster): (RequestKey, Name)| {
            let at = all.iter().position(|stratum| stratum.asks(&request))?;
            Some((at as u32, all[at].clusters.get(&cluster).map(|cluster| *cluster as u32)))
        };
        let places = run.frame.requests().map(place).collect();
        Self { all, places }
    }

    /// Whether a case is of the stratum at this place.
    fn holds(&self, at: usize, case: &ScoredCase) -> bool {
        self.places[case.number as usize].is_some_and(|(stratum, _)| stratum as usize == at)
    }
}

/// The strata at which the reference can lose something, and whether there are any; all of them without.
fn informative(run: &Run<'_>, strata: Strata, reference: &[ScoredCase]) -> (Strata, bool) {
    let by_task = score_sums(&strata, reference);
    let shows_loss = |sums: &ClusterSums| sums.mean().is_some_and(|mean| mean > 0.0);
    let kept = by_task.iter().filter(|sums| shows_loss(sums)).count();
    if kept == 0 || kept == strata.all.len() {
        return (strata, kept > 0);
    }
    let kept = strata.all.into_iter().zip(&by_task).filter(|(_, sums)| shows_loss(sums));
    (Strata::new(run, kept.map(|(stratum, _)| stratum).collect()), true)
}

fn score_sums(strata: &Strata, cases: &[ScoredCase]) -> Vec<ClusterSums> {
    sums(strata, cases.iter().map(|case| (case, case.quality)))
}

fn by_number(cases: &[ScoredCase]) -> Reference<'_> {
    cases.iter().map(|case| (case.number, case)).collect()
}

fn scores_of(cases: &[ScoredCase]) -> HashMap<u32, f64> {
    cases.iter().map(|case| (case.number, case.quality)).collect()
}

/// What `of` makes of the cases, added up; cases for which it has nothing to compare with are left out.
fn compared_sums(
    strata: &Strata,
    cases: &[ScoredCase],
    of: impl Fn(&ScoredCase) -> Option<f64>,
) -> Vec<ClusterSums> {
    sums(strata, cases.iter().filter_map(|case| Some((case, of(case)?))))
}

/// Cases that the reference has, too: each with its change, and whether it broke on the reference.
struct Pairs<'s, 'c> {
    strata: &'s Strata,
    all: Vec<(&'c ScoredCase, f64, bool)>,
}

impl<'s, 'c> Pairs<'s, 'c> {
    fn of(strata: &'s Strata, cases: &'c [ScoredCase], reference: &Reference<'_>) -> Self {
        let pair = |case: &'c ScoredCase| {
            let theirs = reference.get(&case.number)?;
            Some((case, case.quality - theirs.quality, theirs.broke))
        };
        Self { strata, all: cases.iter().filter_map(pair).collect() }
    }

    fn sums(&self, of: impl Fn(f64, bool) -> f64) -> Vec<ClusterSums> {
        sums(self.strata, self.all.iter().map(|(case, change, broke)| (*case, of(*change, *broke))))
    }
}

impl Change {
    /// Of millions of cases only what is drawn stays in memory.
    fn of(pairs: &Pairs<'_, '_>) -> Self {
        let mean = |sums: &[ClusterSums]| mean_of_means(sums).unwrap_or_default();
        let differing = pairs.all.iter().filter(|(_, change, _)| *change != 0.0).count();
        Self {
            strata: pairs.sums(|change, _| change),
            absolute: mean(&pairs.sums(|change, _| change.abs())),
            credit: mean(&pairs.sums(|change, broke| if broke { change.max(0.0) } else { 0.0 })),
            discordance: differing as f64 / pairs.all.len().max(1) as f64,
        }
    }

    fn difference(&self, run: &Run<'_>, draws: &CellDraws, name: &str) -> Option<Difference> {
        let difference = if let Some(rule) = probability::Rule::of(run.suite) {
            rule.difference(&self.strata, &draws.means)
        } else if run.suite.stops_by_outcome() {
            anytime_difference(&self.strata, run.resampling.confidence)
        } else {
            difference_of(&self.strata, &draws.means, run.resampling, &format!("difference {name}"))
        };
        let Self { absolute, discordance, .. } = *self;
        difference.map(|difference| Difference { absolute, discordance, ..difference })
    }
}

/// Adds values of cases up by stratum and cluster; cases of other strata are left out.
fn sums<'i>(strata: &Strata, values: impl Iterator<Item = (&'i ScoredCase, f64)>) -> Vec<ClusterSums> {
    let mut all: Vec<ClusterSums> = strata.all.iter().map(|s| ClusterSums::new(s.clusters.len())).collect();
    for (case, value) in values {
        if let Some((at, Some(cluster))) = strata.places[case.number as usize] {
            all[at as usize].add(cluster as usize, value);
        }
    }
    all
}

/// How many chat replies of the reference's two visits are byte-identical, of how many.
fn identical_replies(run: &Run<'_>, reference: &str, context: u32) -> Option<(u32, u32)> {
    let visit = |replicate| run.trials(VisitKey { setting: reference, context, replicate });
    if visit(1).len() == 0 {
        return None;
    }
    let here = run.journal.cases.iter().filter(|case| case.context == context);
    let chats = here.filter(|case| matches!(case.prompt, Prompt::Chat { .. }));
    let chats: HashSet<&str> = chats.map(|case| case.id.as_str()).collect();
    let is_chat = |trial: &&Trial| trial.reply.is_some() && chats.contains(trial.case.as_str());
    let first: BTreeMap<(&str, u32), &Trial> =
        visit(0).filter(is_chat).map(|trial| ((trial.case.as_str(), trial.key.repeat), trial)).collect();
    let turn = |reply: &Reply| {
        let calls: Vec<_> =
            reply.tool_calls.iter().map(|call| (call.name.clone(), call.arguments.clone())).collect();
        (reply.content.clone(), reply.reasoning.clone(), calls, reply.forced.clone())
    };
    let text =
        |trial: &Trial| -> Vec<_> { trial.reply.iter().flat_map(|reply| reply.turns()).map(turn).collect() };
    let pairs: Vec<bool> = visit(1)
        .filter(is_chat)
        .filter_map(|trial| Some(text(trial) == text(first.get(&(trial.case.as_str(), trial.key.repeat))?)))
        .collect();
    let identical = pairs.iter().filter(|same| **same).count();
    (!pairs.is_empty()).then_some((identical as u32, pairs.len() as u32))
}

#[cfg(test)]
mod tests;
