//! Where greedy replies part from the reference's, and whether that is more than the reference's own noise.

use std::collections::BTreeMap;

use super::frame::VisitKey;
use super::run::Run;
use super::summary::{
    AcceptanceRow, DivergenceExample, DivergenceRow, DivergenceVerdict, Estimate, SurvivalPoint,
};
use crate::judge::stats::{Observation, clopper_pearson, holm, log_rank_scores, rng, sign_flip, survival};
use crate::quantile::median;
use crate::record::{Case, Source, Trial, metric};
use crate::task::Divergence;

/// Tokens at which the survival curve is given, as far as the replies go.
const CURVE: [u32; 8] = [1, 16, 64, 128, 256, 512, 1024, 4096];

/// Edges of the ranges of draft acceptance.
const ACCEPTANCE: [f64; 4] = [0.0, 0.5, 0.8, 1.0];

/// Characters shown in front of and behind the place where a reply parts.
const SHOWN: usize = 60;

/// Fewer replies show no likeness even if none parts: with ten, one in four may still do (95%, rule of three).
const LEAST_REPLIES: usize = 10;

/// A reply beside the reference's.
struct Pair<'a> {
    case: &'a Case,
    trial: &'a Trial,
    reference: &'a Trial,
    parted: Divergence,
}

impl Pair<'_> {
    fn observation(&self) -> Observation {
        Observation {
            time: self.parted.first.unwrap_or(self.parted.compared) as f64,
            event: self.parted.first.is_some(),
        }
    }

    /// Accepted share of drafted tokens (0..1); `None` when nothing was drafted.
    fn acceptance(&self) -> Option<f64> {
        let (accepted, drafted) = self.drafts()?;
        Some(accepted / drafted)
    }

    fn drafts(&self) -> Option<(f64, f64)> {
        let drafted = self.trial.measured(metric::DRAFT_TOKENS, Source::Engine)?;
        let accepted = self.trial.measured(metric::DRAFT_ACCEPTED, Source::Engine)?;
        (drafted > 0.0).then_some((accepted, drafted))
    }
}

/// The rows of one context length by task: the reference against itself first, then the settings in suite order.
pub(crate) fn rows(run: &Run<'_>, context: u32) -> Vec<DivergenceRow> {
    asked(run, context).into_iter().flat_map(|task| task_rows(run, task, context)).collect()
}

/// The tasks of a context length that compare greedy replies, in suite order.
fn asked<'a>(run: &Run<'a>, context: u32) -> Vec<&'a str> {
    let mut tasks: Vec<&str> = run.task_arms(context).into_iter().map(|(task, _)| task).collect();
    tasks.dedup();
    tasks.retain(|task| run.tasks.comparison(task).is_greedy());
    tasks
}

fn task_rows(run: &Run<'_>, task: &str, context: u32) -> Vec<DivergenceRow> {
    let reference = VisitKey { setting: &run.suite.reference().label, context, replicate: 0 };
    let again = pairs(run, task, VisitKey { replicate: 1, ..reference }, reference);
    let mut rows: Vec<DivergenceRow> =
        row(run, reference, &again, DivergenceVerdict::Noise).into_iter().collect();
    let mut p_values = Vec::new();
    let first = rows.len();
    for setting in run.suite.settings.iter().filter(|setting| setting.label != reference.setting) {
        let visit = VisitKey { setting: &setting.label, ..reference };
        let ours = pairs(run, task, visit, reference);
        let Some(row) = row(run, visit, &ours, verdict_by_counts(&ours, &again)) else { continue };
        rows.push(row);
        p_values.push(log_rank(run, &ours, &again).unwrap_or(1.0));
    }
    for (row, p) in rows[first..].iter_mut().zip(holm(&p_values)) {
        row.p_holm = (row.verdict != DivergenceVerdict::NoNoiseFloor).then_some(p);
        if row.verdict == DivergenceVerdict::Unclear && p <= 1.0 - run.suite.confidence {
            row.verdict = DivergenceVerdict::BeyondNoise;
        }
    }
    rows
}

/// A greedy reply beside another setting's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Parting {
    /// Accepted share of drafted tokens (0..1); `None` when nothing was drafted.
    pub(crate) acceptance: Option<f64>,
    /// Whether it parts from the other at all.
    pub(crate) parted: bool,
}

/// The greedy replies of a visit beside another setting's, and the reference's beside its own.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Beside {
    pub(crate) ours: Vec<Parting>,
    pub(crate) noise: Vec<Parting>,
    /// Never [`DivergenceVerdict::BeyondNoise`]: that is for the test to say.
    pub(crate) verdict: DivergenceVerdict,
    /// Two-sided p-value of the paired log-rank test, where it is not settled by counting.
    pub(crate) p: Option<f64>,
}

/// Whether a task of the suite compares greedy replies at a context length.
pub(crate) fn is_asked(run: &Run<'_>, context: u32) -> bool {
    !asked(run, context).is_empty()
}

/// Compares the greedy replies of all tasks that ask for them with those of another setting than the reference.
/// `None` when both answered none of the same requests.
pub(crate) fn beside(run: &Run<'_>, ours: VisitKey<'_>, other: VisitKey<'_>) -> Option<Beside> {
    let reference = VisitKey { setting: &run.suite.reference().label, context: ours.context, replicate: 0 };
    let tasks = asked(run, ours.context);
    let all = |of: VisitKey<'_>, than: VisitKey<'_>| -> Vec<Pair<'_>> {
        tasks.iter().flat_map(|task| pairs(run, task, of, than)).collect()
    };
    let (ours, again) = (all(ours, other), all(VisitKey { replicate: 1, ..reference }, reference));
    if ours.is_empty() {
        return None;
    }
    let verdict = verdict_by_counts(&ours, &again);
    let p = (verdict == DivergenceVerdict::Unclear).then(|| log_rank(run, &ours, &again).unwrap_or(1.0));
    let partings = |pairs: &[Pair<'_>]| -> Vec<Parting> {
        let parting =
            |pair: &Pair<'_>| Parting { acceptance: pair.acceptance(), parted: pair.parted.first.is_some() };
        pairs.iter().map(parting).collect()
    };
    Some(Beside { ours: partings(&ours), noise: partings(&again), verdict, p })
}

/// The replies that this visit and the reference's first both have.
fn pairs<'a>(run: &Run<'a>, task: &str, visit: VisitKey<'_>, reference: VisitKey<'_>) -> Vec<Pair<'a>> {
    let theirs = run.scored(reference);
    let ours = run.scored(visit);
    let cases = run.journal.cases.iter().filter(|case| case.task == task && case.context == visit.context);
    let pair = |case: &'a Case| {
        let (&trial, &reference) = (ours.get(case.id.as_str())?, theirs.get(case.id.as_str())?);
        let parted =
            run.tasks.comparison(task).divergence(case, trial.reply.as_ref()?, reference.reply.as_ref()?)?;
        Some(Pair { case, trial, reference, parted })
    };
    cases.filter_map(pair).collect()
}

fn parted(pairs: &[Pair<'_>]) -> usize {
    pairs.iter().filter(|pair| pair.parted.first.is_some()).count()
}

/// No more than the noise by mere counting, too few to say so, or to be tested.
fn verdict_by_counts(ours: &[Pair<'_>], again: &[Pair<'_>]) -> DivergenceVerdict {
    let rate = |pairs: &[Pair<'_>]| parted(pairs) as f64 / pairs.len().max(1) as f64;
    if again.is_empty() {
        DivergenceVerdict::NoNoiseFloor
    } else if rate(ours) > rate(again) || earlier(ours, again) {
        DivergenceVerdict::Unclear
    } else if ours.len() < LEAST_REPLIES {
        DivergenceVerdict::TooFew
    } else {
        DivergenceVerdict::AsNoise
    }
}

/// Whether the replies part earlier than the reference's own, by the sum of the log-rank scores.
fn earlier(ours: &[Pair<'_>], again: &[Pair<'_>]) -> bool {
    score_differences(ours, again).iter().sum::<f64>() > 0.0
}

/// Differences of the log-rank scores of the cases that both have: positive where the setting parts earlier.
fn score_differences(ours: &[Pair<'_>], again: &[Pair<'_>]) -> Vec<f64> {
    let noise: BTreeMap<&str, Observation> =
        again.iter().map(|pair| (pair.case.id.as_str(), pair.observation())).collect();
    let both: Vec<(Observation, Observation)> = ours
        .iter()
        .filter_map(|pair| Some((pair.observation(), *noise.get(pair.case.id.as_str())?)))
        .collect();
    let pooled: Vec<Observation> =
        both.iter().map(|pair| pair.0).chain(both.iter().map(|pair| pair.1)).collect();
    let scores = log_rank_scores(&pooled);
    let (ours, noise) = scores.split_at(both.len());
    ours.iter().zip(noise).map(|(ours, noise)| ours - noise).collect()
}

/// Two-sided p-value of the paired log-rank test; `None` where the setting does not part earlier. Under no difference
/// each case's two replies could as well have been swapped, so the signs of the differences are.
fn log_rank(run: &Run<'_>, ours: &[Pair<'_>], again: &[Pair<'_>]) -> Option<f64> {
    if !earlier(ours, again) {
        return None;
    }
    let label = &ours.first()?.trial.key.setting;
    let mut stream = rng(run.resampling.seed, &format!("divergence {label}"));
    Some(sign_flip(&score_differences(ours, again), run.resampling.draws, &mut stream))
}

fn row(
    run: &Run<'_>,
    visit: VisitKey<'_>,
    pairs: &[Pair<'_>],
    verdict: DivergenceVerdict,
) -> Option<DivergenceRow> {
    let (n, differ) = (pairs.len() as u32, parted(pairs) as u32);
    let interval = clopper_pearson(differ, n, run.resampling.confidence)?;
    let mut firsts: Vec<f64> =
        pairs.iter().filter_map(|pair| pair.parted.first).map(|at| at as f64).collect();
    Some(DivergenceRow {
        task: pairs.first()?.case.task.into(),
        setting: visit.setting.into(),
        context: visit.context,
        parted: Estimate {
            value: f64::from(differ) / f64::from(n),
            low: Some(interval.0),
            high: Some(interval.1),
            n,
        },
        median_first: median(&mut firsts),
        survival: curve(pairs),
        p_holm: None,
        verdict,
        draft_acceptance: acceptance(pairs),
        by_acceptance: by_acceptance(pairs),
        example: earliest(pairs),
    })
}

fn curve(pairs: &[Pair<'_>]) -> Vec<SurvivalPoint> {
    let observations: Vec<Observation> = pairs.iter().map(Pair::observation).collect();
    let longest = observations.iter().map(|observation| observation.time).fold(0.0, f64::max);
    let within = CURVE.into_iter().filter(|token| f64::from(*token) <= longest);
    within
        .filter_map(|token| Some(SurvivalPoint { token, share: survival(&observations, f64::from(token))? }))
        .collect()
}

fn acceptance(pairs: &[Pair<'_>]) -> Option<f64> {
    let drafts = pairs.iter().filter_map(Pair::drafts);
    let (accepted, drafted) =
        drafts.fold((0.0, 0.0), |(a, d), (accepted, drafted)| (a + accepted, d + drafted));
    (drafted > 0.0).then(|| accepted / drafted)
}

fn by_acceptance(pairs: &[Pair<'_>]) -> Vec<AcceptanceRow> {
    let rows = ACCEPTANCE.windows(2).map(|edges| {
        let (from, to) = (edges[0], edges[1]);
        let inside = |share: f64| from <= share && (share < to || to == 1.0);
        let here = || pairs.iter().filter(|pair| pair.acceptance().is_some_and(inside));
        let parted = here().filter(|pair| pair.parted.first.is_some()).count() as u32;
        AcceptanceRow { from, to, replies: here().count() as u32, parted }
    });
    rows.filter(|row| row.replies > 0).collect()
}

fn earliest(pairs: &[Pair<'_>]) -> Option<DivergenceExample> {
    let (at, pair) =
        pairs.iter().filter_map(|pair| Some((pair.parted.first?, pair))).min_by_key(|(at, _)| *at)?;
    let (ours, theirs) = (pair.trial.reply.as_ref()?.text(), pair.reference.reply.as_ref()?.text());
    let common = ours.chars().zip(theirs.chars()).take_while(|(a, b)| a == b).count();
    let rest = |text: &str| text.chars().skip(common).take(SHOWN).collect();
    Some(DivergenceExample {
        index: pair.case.index,
        token: at as u32,
        before: ours.chars().take(common).skip(common.saturating_sub(SHOWN)).collect(),
        setting: rest(&ours),
        reference: rest(&theirs),
    })
}
