//! Whether replies stay what they are without speculation.

use super::audit::Audit;
use crate::judge::analysis::divergence;
use crate::judge::analysis::divergence::{Beside, Parting};
use crate::judge::analysis::summary::{
    AcceptanceHalf, DivergenceVerdict, LosslessFinding, Losslessness, Summary,
};
use crate::judge::stats::holm;

/// Fewer replies that were drafted for are not split.
const MIN_SPLIT: usize = 4;

/// Whether a task of the suite compares greedy replies at this context length.
pub(super) fn was_asked(audit: &Audit<'_, '_>) -> bool {
    divergence::is_asked(audit.run, audit.ours.context)
}

/// What can be said of each of the audited cells, which are of one context length.
pub(super) fn findings(audits: &[Audit<'_, '_>], summary: &Summary) -> Vec<Losslessness> {
    let beside: Vec<Option<Beside>> = audits.iter().map(compared).collect();
    // Those that are tested share their risk of a false finding.
    let tested: Vec<usize> = (0..beside.len()).filter(|at| p_value(beside[*at].as_ref()).is_some()).collect();
    let p_values: Vec<f64> = tested.iter().filter_map(|at| p_value(beside[*at].as_ref())).collect();
    let mut adjusted = vec![None; beside.len()];
    tested.iter().zip(holm(&p_values)).for_each(|(at, p)| adjusted[*at] = Some(p));
    let all = audits.iter().zip(&beside).zip(adjusted);
    all.map(|((audit, beside), p)| finding(audit, beside.as_ref(), p, summary)).collect()
}

fn compared(audit: &Audit<'_, '_>) -> Option<Beside> {
    divergence::beside(audit.run, audit.ours, audit.twin?)
}

fn p_value(beside: Option<&Beside>) -> Option<f64> {
    beside?.p
}

fn finding(
    audit: &Audit<'_, '_>,
    beside: Option<&Beside>,
    p_holm: Option<f64>,
    summary: &Summary,
) -> Losslessness {
    let found = match beside {
        _ if !audit.run.suite.sampling_at(audit.ours.setting).is_greedy() => LosslessFinding::NotGreedy,
        None => LosslessFinding::NotMeasured,
        Some(beside) => match beside.verdict {
            DivergenceVerdict::NoNoiseFloor => LosslessFinding::NoNoiseFloor,
            DivergenceVerdict::Unclear => match p_holm {
                Some(p) if p <= 1.0 - audit.run.suite.confidence => LosslessFinding::BeyondNoise,
                _ => LosslessFinding::Unclear,
            },
            DivergenceVerdict::TooFew => LosslessFinding::Unclear,
            DivergenceVerdict::Noise | DivergenceVerdict::AsNoise => LosslessFinding::AsNoise,
            DivergenceVerdict::BeyondNoise => LosslessFinding::BeyondNoise,
        },
    };
    let count = |partings: &[Parting]| partings.iter().filter(|reply| reply.parted).count() as u32;
    let (ours, noise) = beside.map_or((&[][..], &[][..]), |beside| (&beside.ours, &beside.noise));
    Losslessness {
        finding: found,
        replies: ours.len() as u32,
        parted: count(ours),
        noise_replies: noise.len() as u32,
        noise_parted: count(noise),
        p_holm: p_holm.filter(|_| found != LosslessFinding::NotGreedy),
        halves: halves(ours),
        kld: kld(audit, summary),
    }
}

/// The replies with the lower and with the higher acceptance.
fn halves(replies: &[Parting]) -> Vec<AcceptanceHalf> {
    let mut drafted: Vec<(f64, bool)> =
        replies.iter().filter_map(|reply| Some((reply.acceptance?, reply.parted))).collect();
    if drafted.len() < MIN_SPLIT {
        return Vec::new();
    }
    drafted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (low, high) = drafted.split_at(drafted.len() / 2);
    let half = |half: &[(f64, bool)]| {
        Some(AcceptanceHalf {
            from: half.first()?.0,
            to: half.last()?.0,
            replies: half.len() as u32,
            parted: half.iter().filter(|(_, parted)| *parted).count() as u32,
        })
    };
    [half(low), half(high)].into_iter().flatten().collect()
}

/// The KLD of the cell is from the reference: it is from the twin where that is the reference.
fn kld(audit: &Audit<'_, '_>, summary: &Summary) -> Option<f64> {
    let twin = audit.twin?;
    let mut cells = summary.cells.iter().filter(|_| twin.setting == summary.reference);
    let cell = cells
        .find(|cell| (cell.setting.as_str(), cell.context) == (audit.ours.setting, audit.ours.context))?;
    cell.kld.as_ref().map(|kld| kld.mean.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_split_at_the_median_of_those_drafted() {
        let reply = |acceptance, parted| Parting { acceptance, parted };
        let replies = [
            reply(Some(0.9), false),
            reply(Some(0.1), true),
            reply(None, true),
            reply(Some(0.2), true),
            reply(Some(0.8), false),
        ];
        let halves = halves(&replies);
        let seen: Vec<_> =
            halves.iter().map(|half| (half.from, half.to, half.replies, half.parted)).collect();
        assert_eq!(seen, [(0.1, 0.2, 2, 2), (0.8, 0.9, 2, 0)]);
        assert!(super::halves(&replies[..3]).is_empty());
    }
}
