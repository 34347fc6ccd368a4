//! What speculation does: how much of what is drafted is accepted, and where; how much faster replies are than without
//! it on the same requests; whether they stay the same; and what it costs in memory.
//!
//! Everything is compared with the setting's twin: the one of the suite that is the same but for speculation.

use std::collections::HashMap;

use super::Run;
use super::frame::Visit;
use super::summary::{
    DraftMemory, Estimate, LosslessFinding, Losslessness, SpeculationRow, SpeculationVerdict, Summary,
};
use super::words::significant;
use crate::judge::stats::{Part, nested_mean_draws, percentile_interval, rng};
use crate::record::suite::Setting;
use crate::record::{Outcome, Trial};

mod acceptance;
mod lossless;
mod speed;
#[cfg(test)]
mod tests;
mod twin;

/// A gain below this factor is none worth having.
const WORTHWHILE: f64 = 1.05;

/// Fewer cases than this have no interval.
const MIN_CASES: usize = 3;

/// Draws of intervals of acceptance; they change little beyond these.
const MOST_DRAWS: u32 = 2000;

/// A speculating cell with what its parts look up.
struct Audit<'r, 'a> {
    run: &'r Run<'a>,
    /// The cell's first visit.
    ours: Visit<'r>,
    /// That of its twin.
    twin: Option<Visit<'r>>,
    /// Clusters of the cases, by id.
    clusters: &'r HashMap<&'a str, &'a str>,
}

/// The rows of every speculating setting, by context, in suite order.
pub(crate) fn rows(run: &Run<'_>, summary: &Summary) -> Vec<SpeculationRow> {
    let cases = run.journal.cases.iter();
    let clusters: HashMap<&str, &str> = cases.map(|case| (case.id.as_str(), case.cluster.as_str())).collect();
    let mut rows = Vec::new();
    for &context in &run.suite.contexts {
        let audits: Vec<Audit<'_, '_>> = run
            .suite
            .settings
            .iter()
            .filter(|setting| setting.speculates())
            .map(|setting| Audit::new(run, setting, context, &clusters))
            .filter(Audit::was_looked_into)
            .collect();
        let findings = lossless::findings(&audits, summary);
        rows.extend(audits.iter().zip(findings).map(|(audit, found)| audit.row(found, summary)));
    }
    rows
}

impl<'r, 'a> Audit<'r, 'a> {
    fn new(
        run: &'r Run<'a>,
        setting: &'r Setting,
        context: u32,
        clusters: &'r HashMap<&'a str, &'a str>,
    ) -> Self {
        let visit = |setting: &'r Setting| Visit { setting: &setting.label, context, replicate: 0 };
        let twin = twin::of(setting, &run.suite.settings).map(visit);
        Self { run, ours: visit(setting), twin, clusters }
    }

    /// Whether the run says something of it: drafts were traced, or greedy replies compared.
    fn was_looked_into(&self) -> bool {
        let traced = |trial: &&Trial| {
            let mut turns = trial.reply.iter().flat_map(|reply| reply.turns());
            turns.any(|turn| turn.drafts.is_some())
        };
        let trials = self.trials(self.ours);
        !trials.is_empty() && (trials.iter().any(traced) || lossless::was_asked(self))
    }

    /// The answered chats of a visit; none of a void cell.
    fn trials(&self, visit: Visit<'r>) -> Vec<&'a Trial> {
        if self.run.void.contains_key(&(visit.setting, visit.context)) {
            return Vec::new();
        }
        let answered = |trial: &&'a Trial| {
            let failed = matches!(trial.outcome, Outcome::Failed { .. });
            !failed && trial.reply.as_ref().is_some_and(|reply| reply.distributions.is_none())
        };
        self.run.trials(visit).iter().copied().filter(answered).collect()
    }

    fn cluster(&self, trial: &'a Trial) -> &'a str {
        self.clusters.get(trial.case.as_str()).copied().unwrap_or(&trial.case)
    }

    fn row(&self, losslessness: Losslessness, summary: &Summary) -> SpeculationRow {
        let all = self.figures("all", |_| true);
        let (verdict, because) = verdict(all.decode, &losslessness, self.twin.is_some());
        SpeculationRow {
            setting: self.ours.setting.into(),
            context: self.ours.context,
            twin: self.twin.map(|twin| twin.setting.into()),
            tasks: self.by_task(),
            positions: self.positions(),
            stretches: self.stretches(),
            memory: self.memory(summary),
            all,
            losslessness,
            verdict,
            because,
        }
    }

    fn memory(&self, summary: &Summary) -> DraftMemory {
        let peak = |visit: Visit<'_>| {
            let mut cells = summary.cells.iter();
            let cell =
                cells.find(|cell| (cell.setting.as_str(), cell.context) == (visit.setting, visit.context))?;
            Some((cell.memory.peak_kind, i64::try_from(cell.memory.peak_bytes?).ok()?))
        };
        // Peaks of two kinds of memory have no difference.
        let beyond =
            |((kind, ours), (of_twin, twin)): ((_, i64), (_, i64))| (kind == of_twin).then_some(ours - twin);
        let launches: Vec<_> = self.run.launches(self.ours.setting, self.ours.context).collect();
        let reported = |of: fn(&crate::record::Effective) -> Option<u64>| {
            launches.iter().filter_map(|launch| of(&launch.effective)).max()
        };
        DraftMemory {
            beyond_twin_bytes: peak(self.ours).zip(self.twin.and_then(peak)).and_then(beyond),
            model_bytes: reported(|effective| effective.draft_model_bytes),
            kv_bytes: reported(|effective| effective.draft_kv_bytes),
        }
    }

    /// A ratio of sums, with a bootstrap interval over clusters: how many of so many, of each trial.
    fn ratio<'c>(&self, what: &str, counts: impl Iterator<Item = (&'c str, f64, f64)>) -> Option<Estimate> {
        let mut sums: Vec<(f64, f64)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for (cluster, part, whole) in counts {
            let place = *places.entry(cluster).or_insert_with(|| {
                sums.push((0.0, 0.0));
                sums.len() - 1
            });
            sums[place].0 += part;
            sums[place].1 += whole;
        }
        sums.retain(|(_, whole)| *whole > 0.0);
        let whole: f64 = sums.iter().map(|(_, whole)| whole).sum();
        if whole <= 0.0 {
            return None;
        }
        let value = sums.iter().map(|(part, _)| part).sum::<f64>() / whole;
        let parts: Vec<Part> = sums.iter().map(|&(part, of)| Part { mean: part / of, count: of }).collect();
        let n = parts.len();
        let mut stream = rng(self.run.resampling.seed, &self.purpose(what));
        let draws = nested_mean_draws(&[parts], self.run.resampling.draws.min(MOST_DRAWS), &mut stream);
        let interval = percentile_interval(draws, self.run.resampling.confidence).filter(|_| n >= MIN_CASES);
        Some(Estimate {
            value,
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            n: n as u32,
        })
    }

    fn purpose(&self, what: &str) -> String {
        format!("speculation {what} {} {}", self.ours.context, self.ours.setting)
    }
}

/// What it comes to, and why, in words.
fn verdict(decode: Option<Estimate>, lossless: &Losslessness, twin: bool) -> (SpeculationVerdict, String) {
    if !twin {
        let because = "no setting of the suite is the same but for speculation";
        return (SpeculationVerdict::NotShown, because.to_owned());
    }
    let verdict = match (lossless.finding, decode) {
        (LosslessFinding::BeyondNoise, _) => SpeculationVerdict::NotLossless,
        (LosslessFinding::AsNoise, Some(Estimate { low: Some(low), .. })) if low > 1.0 => {
            SpeculationVerdict::FasterAndLossless
        }
        (LosslessFinding::AsNoise, Some(Estimate { high: Some(high), .. })) if high < WORTHWHILE => {
            SpeculationVerdict::LosslessNotFaster
        }
        _ => SpeculationVerdict::NotShown,
    };
    (verdict, format!("{}; {}", speed_words(decode), lossless_words(lossless)))
}

fn speed_words(decode: Option<Estimate>) -> String {
    match decode {
        None => "no request was timed with and without it".to_owned(),
        Some(Estimate { value, low: Some(low), high: Some(high), n }) => format!(
            "decode rate {}× [{}, {}] on {n} requests",
            significant(value),
            significant(low),
            significant(high)
        ),
        Some(Estimate { value, n, .. }) => {
            format!("decode rate {}× on {n} requests, too few for an interval", significant(value))
        }
    }
}

fn lossless_words(lossless: &Losslessness) -> String {
    let counts = format!(
        "{} of {} greedy replies part from the twin's, {} of {} of the reference from its own",
        lossless.parted, lossless.replies, lossless.noise_parted, lossless.noise_replies
    );
    match lossless.finding {
        LosslessFinding::AsNoise | LosslessFinding::BeyondNoise => counts,
        LosslessFinding::Unclear => format!("{counts}: too few to tell"),
        LosslessFinding::NoNoiseFloor => format!(
            "{} of {} greedy replies part from the twin's, and the reference did not run twice",
            lossless.parted, lossless.replies
        ),
        LosslessFinding::NotGreedy => match lossless.kld {
            Some(kld) => format!(
                "sampling is not greedy, so texts cannot show losslessness; served KLD from the twin {} nat",
                significant(kld)
            ),
            None => "sampling is not greedy, so texts cannot show losslessness, and no KLD from the twin was measured"
                .to_owned(),
        },
        LosslessFinding::NotMeasured => "no greedy replies were compared".to_owned(),
    }
}
