//! The words of warnings: the one place where a finding becomes a sentence.

use super::finding::Finding;
use crate::judge::analysis::summary::{Warning, WarningCode as Code};
use crate::judge::analysis::words::{bytes, percent, significant};

/// Returns the finding with its words, as it is published.
pub(crate) fn warning(finding: Finding) -> Warning {
    let sentence = sentence(&finding);
    let Finding { code, cell, subject, figures, detail } = finding;
    Warning { code, severity: code.severity(), cell, subject, figures, detail, sentence }
}

/// Returns what a finding says, made of its data alone.
pub(crate) fn sentence(finding: &Finding) -> String {
    let count = |name: &str| format!("{:.0}", finding.number(name));
    let share = |name: &str| percent(finding.number(name));
    let size = |name: &str| bytes(finding.number(name) as u64);
    let detail = finding.detail.as_deref().unwrap_or_default();
    let subject = finding.subject.as_deref().unwrap_or_default();
    let setting = setting(finding);
    let context = context(finding);
    let cell = format!("{setting} at {context} tokens");
    let step = format!("{setting} under load ({subject})");
    match finding.code {
        Code::HeaderChanged | Code::Other => detail.to_owned(),
        Code::RunIncomplete => format!(
            "the run is incomplete: {} of {} planned trials are in the journal",
            count("done"),
            count("planned")
        ),
        Code::CellVoid => format!("{cell} does not count: {detail}"),
        Code::NoNoiseFloor => format!(
            "the reference did not run twice at {context} tokens: without its noise floor no setting is called worse there"
        ),
        Code::NoiseFloor => format!(
            "the reference disagrees with itself on {} of cases at {context} tokens: no setting is called worse for a smaller difference than {}",
            share("disagreement"),
            share("floor")
        ),
        Code::PrefillPath => format!(
            "at {context} tokens {detail} were read on the prefill path, as part of a prompt, not over the cache: what a \
             KV type does that is not read there does not show, and kneepoint pick does not count it"
        ),
        Code::NothingToLose => format!(
            "the reference's quality at {context} tokens is {}, no more than the margin of {}: a setting that gets nothing \
             right would be within it, so none is called no worse there; easier tasks can tell",
            share("quality"),
            share("margin")
        ),
        Code::UninformativeTask | Code::TaskLeftOut => format!(
            "{subject} at {context} tokens is uninformative: the reference scores {}, {}",
            share("reference_score"),
            uninformative(finding)
        ),
        Code::TaskBroke => format!(
            "the reference broke in every trial of {subject} at {context} tokens: the task is left out of the quality"
        ),
        Code::ServerFailed => {
            format!("the server of {cell} did not come up (round {}): {detail}", count("round"))
        }
        Code::AttachedServer => format!(
            "the server at {subject} was running already: its settings are not kneepoint's, and other requests may have met it"
        ),
        Code::SamplingDiffers => format!(
            "{subject} is sampled otherwise than the reference ({detail}): what that does is part of every difference"
        ),
        Code::ReferenceFromPack => format!(
            "the reference was not measured here but in {subject} ({detail}): its quality is compared, its speed and memory are not"
        ),
        Code::ReferenceOtherBuild => format!(
            "the reference was served by {subject}, the settings by {detail}: what the two do differently is part of every difference"
        ),
        Code::ServerNote => format!("server: {detail}"),
        Code::TrialsBroke | Code::ReferenceBroke | Code::NothingScored => format!(
            "{} of {} trials of {cell} broke; {}",
            count("failed"),
            count("planned"),
            consequence(finding.code)
        ),
        Code::NotComparable => format!(
            "{cell} is not comparable on {subject}: it has no result there that the reference has too, so it has no \
             quality, no verdict and no place on the front"
        ),
        Code::RepliesTruncated => format!(
            "{} replies ran out of their output budget (of {} scored trials)",
            count("truncated"),
            count("scored")
        ),
        Code::BeyondTrainedContext => format!(
            "{subject} was trained for {} tokens: what is said of {context} tokens is said of a model beyond its range",
            count("trained")
        ),
        Code::KldListsShort => format!(
            "the lists behind the KLD at {context} tokens hold {} of the reference's probability: the true divergence is larger than shown; a larger top_k of coherence/kld shows more of it",
            share("listed")
        ),
        Code::CacheOnProcessor => format!(
            "{cell} may be computed in part by the processor: K in {detail} have no kernel on the card where its log names a compute \
             buffer of the processor's and {} pieces of the graph; its speed is that, not the types'",
            count("splits")
        ),
        Code::LabelMisleads => {
            format!("{subject} are that by name only: {} of them are {detail}", share("share"))
        }
        Code::DerivedWeights => format!("{subject} are not the publisher's: {detail}"),
        Code::SpeculationNotLossless => format!(
            "the speculation of {setting} is not lossless at {context} tokens: {} of {} greedy replies part from the reference's, \
             beyond its own noise",
            share("parted"),
            count("replies")
        ),
        Code::StreamingDiffers => format!(
            "the server of {cell} gave other tool calls without streaming in {} of {} cases",
            count("different"),
            count("cases")
        ),
        Code::FinishReasonContradicts => format!(
            "{} of {} replies of {cell} came with a finish_reason that contradicts their tool calls: the calls are what counts",
            count("contradicting"),
            count("replies")
        ),
        Code::BudgetIgnored => format!(
            "{} of {} replies of {cell} are longer than their output budget{}: the server ignored it",
            count("over"),
            count("replies"),
            longest(finding)
        ),
        Code::ClocksDisagree => format!(
            "the client's decode rate of {cell} is {:+.0}% off the engine's in the median reply, more than {}",
            finding.number("gap") * 100.0,
            share("limit")
        ),
        Code::NoiseStolenCpu => format!(
            "the machine's host took more than {} of its CPU time in {} of {} trials: their speed is doubtful",
            share("limit"),
            count("affected"),
            count("trials")
        ),
        Code::NoiseOtherProcesses => format!(
            "other processes used more than {} of the machine's CPU time in {} of {} trials: their speed is doubtful",
            share("limit"),
            count("affected"),
            count("trials")
        ),
        Code::GpuThrottled => format!(
            "a graphics card slowed down for power or heat in {} of {} trials: their speed is not the card's best",
            count("affected"),
            count("trials")
        ),
        Code::GpuShared => format!(
            "other processes were on the graphics cards in {} of {} trials: energy and memory in use hold theirs too",
            count("affected"),
            count("trials")
        ),
        Code::MemoryShared => format!(
            "processes shared more than {} of the memory of the servers in {} of {} cells (another server of the same model file?): memory counts only a part of that",
            share("limit"),
            count("affected"),
            count("cells")
        ),
        Code::MemoryOfCards => format!(
            "the memory of {} of {} cells is what was in use on the graphics cards, by whomever: the server's own part is not known",
            count("affected"),
            count("cells")
        ),
        Code::MemoryKindsMixed => format!(
            "memory is not of one kind in all cells ({subject}): no front, ratio or difference is made of two kinds"
        ),
        Code::MemoryUnknown => {
            format!("memory of {} of {} cells is not known ({detail})", count("affected"), count("cells"))
        }
        Code::KvCacheDisagrees => format!(
            "the KV cache of {cell} is not what the formula gives: the engine reports {}, the formula {}; the engine's figures are used",
            size("reported"),
            size("formula")
        ),
        Code::SpeedLeftOut => format!("speeds measured on {subject} are in no comparison: {detail}"),
        Code::PlaceBroke => format!(
            "on {subject} {} of {} trials broke, and hardly any elsewhere: its card, driver or machine failed, or was gone; `kneepoint resume \
             --retry-failed` measures them again",
            count("broke"),
            count("trials")
        ),
        Code::FewVisits => format!(
            "speed comes from {} of each cell: its intervals do not cover drift of the machine between visits",
            match finding.number("visits") {
                1.0 => "1 visit".to_owned(),
                _ => format!("{} visits", count("visits")),
            }
        ),
        Code::LoadBroke => format!("{step} was broken off: {detail}"),
        Code::LoadFailed => format!(
            "{step}: {} of {} requests failed, most with: {detail}",
            count("failed"),
            count("requests")
        ),
        Code::LoadNotSent => format!(
            "{step}: {} of {} requests were not sent, because too many were under way: its latencies are too low",
            count("not_sent"),
            count("requests")
        ),
        Code::LoadFallsBehind => {
            format!("{step} falls behind what arrives: its latencies grow with the length of the step")
        }
        Code::LoadSentLate => format!(
            "{step}: kneepoint itself sent 5% of the requests {} ms late or more",
            significant(finding.number("late_p95") * 1000.0)
        ),
        Code::LoadCached => format!(
            "{step}: {} of the prompt tokens came from a cache, though all prompts differ",
            share("cached")
        ),
        Code::LoadShort => format!("{step}: {} replies are shorter than asked", count("short")),
        Code::LoadUntimed => format!(
            "{step}: {} replies have no time to the first token and no times between tokens: {detail}",
            count("untimed")
        ),
        Code::LoadNotSteady => {
            format!("the load server of {setting} was not steady after {} rounds of warm-up", count("rounds"))
        }
        Code::LoadVoid => format!("{setting} has no figures under load: {detail}"),
    }
}

fn setting(finding: &Finding) -> &str {
    finding.cell.as_ref().and_then(|cell| cell.setting.as_deref()).unwrap_or("every setting")
}

fn context(finding: &Finding) -> String {
    let context = finding.cell.as_ref().and_then(|cell| cell.context);
    context.map_or_else(|| "all".to_owned(), |context| context.to_string())
}

fn uninformative(finding: &Finding) -> &'static str {
    if finding.number("reference_score") > 0.0 {
        "so easy that little damage can show"
    } else if finding.code == Code::TaskLeftOut {
        "so hard that no damage can show; it is left out of the quality"
    } else {
        "so hard that no damage can show"
    }
}

/// What follows from trials that broke.
const fn consequence(code: Code) -> &'static str {
    match code {
        Code::NothingScored => "nothing of it was scored, so it has no quality",
        Code::ReferenceBroke => "they count as lost, and what others gain there shows nothing of them",
        _ => "on tasks of the quality they count as lost there, in its verdict and in its place on the front",
    }
}

fn longest(finding: &Finding) -> String {
    match finding.number("longest") {
        tokens if tokens > 0.0 => format!(" (up to {tokens} tokens)"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::summary::{Severity, Unit};

    #[test]
    fn a_warning_has_its_data_and_their_sentence() {
        let finding = Finding::at(Code::ClocksDisagree, "q8_0", 512)
            .figure("gap", -0.126, Unit::Share)
            .figure("limit", 0.05, Unit::Share);
        let warning = warning(finding);
        assert_eq!(warning.severity, Severity::Caution);
        assert_eq!(
            warning.sentence,
            "the client's decode rate of q8_0 at 512 tokens is -13% off the engine's in the median reply, more than 5%"
        );
    }
}
