//! What speculation does: how much of what is drafted is accepted, and where; how much faster replies are than without
//! it on the same requests; whether they stay the same; and what it costs in memory.
//!
//! Everything is compared with the setting's twin: the one of the suite that is the same but for speculation.

use std::collections::HashMap;

use super::frame::VisitKey;
use super::run::Run;
use super::summary::{
    DraftMemory, Estimate, LosslessFinding, Losslessness, SpeculationRow, SpeculationVerdict, Summary,
};
use super::words::significant;
use crate::record::Trial;

mod acceptance;
mod audit;
mod lossless;
mod speed;
#[cfg(test)]
mod tests;
mod twin;

use audit::Audit;

/// A gain below this factor is none worth having.
const WORTHWHILE: f64 = 1.05;

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

impl Audit<'_, '_> {
    /// Whether the run says something of it: drafts were traced, or greedy replies compared.
    fn was_looked_into(&self) -> bool {
        let traced = |trial: &&Trial| {
            let mut turns = trial.reply.iter().flat_map(|reply| reply.turns());
            turns.any(|turn| turn.drafts.is_some())
        };
        let trials = self.trials(self.ours);
        !trials.is_empty() && (trials.iter().any(traced) || lossless::was_asked(self))
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
        let peak = |visit: VisitKey<'_>| {
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
