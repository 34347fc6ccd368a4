//! What servers and models are that the reader may not expect.

use std::collections::BTreeMap;

use super::finding::Finding;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{Summary, Unit, WarningCode};
use crate::record::{ModelInfo, Source, TrainedContext, metric};

pub(super) fn launches(run: &Run<'_>) -> Vec<Finding> {
    let failed = run.journal.launches.iter().filter_map(|launch| Some((launch, launch.failure.as_ref()?)));
    let finding = |(launch, failure): (&crate::record::journal::LaunchRecord, &String)| {
        Finding::at(WarningCode::ServerFailed, &launch.setting, launch.context)
            .figure("round", launch.round, Unit::Rounds)
            .detail(failure.lines().next().unwrap_or_default())
    };
    failed.map(finding).collect()
}

/// What was measured ran already: nobody set it, and it may not take or tell everything.
pub(super) fn attached(run: &Run<'_>) -> Vec<Finding> {
    let servers = run.journal.launches.iter().filter_map(|launch| launch.attached.as_ref());
    let mut findings = Vec::new();
    for server in servers {
        let note = |note: &String| Finding::new(WarningCode::ServerNote).about(&server.url).detail(note);
        let running = Finding::new(WarningCode::AttachedServer).about(&server.url);
        for finding in std::iter::once(running).chain(server.notes.iter().map(note)) {
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

/// That the reference was measured elsewhere, and with which other build.
pub(super) fn from_a_pack(run: &Run<'_>) -> Vec<Finding> {
    let Some(pack) = &run.suite.pack else { return Vec::new() };
    let (machine, theirs) = (pack.machine_words(), pack.engine_words());
    let elsewhere =
        Finding::new(WarningCode::ReferenceFromPack).about(&pack.run).detail(format!("{machine}, {theirs}"));
    let ours: Vec<String> = run
        .journal
        .header
        .engines
        .iter()
        .map(|engine| format!("{} {}", engine.name, engine.version))
        .collect();
    let ours = ours.join(", ");
    let other = Finding::new(WarningCode::ReferenceOtherBuild).about(theirs.as_str()).detail(&ours);
    std::iter::once(elsewhere).chain((ours != theirs).then_some(other)).collect()
}

/// Contexts beyond the one that the model was trained for: nothing there speaks of a quant alone.
pub(super) fn beyond_trained(run: &Run<'_>) -> Vec<Finding> {
    let header = &run.journal.header;
    let is_used = |model: &&ModelInfo| {
        header.suite.settings.iter().any(|setting| {
            setting.model == model.name
                && setting.weights == model.weights
                && !header.suite.scales_positions(setting)
        })
    };
    let mut findings = Vec::new();
    for model in header.models.iter().filter(is_used) {
        let Some(longest) = model.trained.map(TrainedContext::longest) else { continue };
        for &context in header.suite.contexts.iter().filter(|&&context| u64::from(context) > longest) {
            let finding = Finding::new(WarningCode::BeyondTrainedContext)
                .in_context(context)
                .about(&model.name)
                .figure("trained", longest as f64, Unit::Tokens);
            // One for a model, not one for each of its quants.
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
    }
    findings
}

pub(super) fn derived(summary: &Summary) -> Vec<Finding> {
    let models = summary.models.iter().filter(|model| model.derived);
    let finding = |model: &ModelInfo| {
        Finding::new(WarningCode::DerivedWeights)
            .about(format!("the {} weights of {}", model.weights, model.name))
            .detail(&model.origin)
    };
    models.map(finding).collect()
}

/// Weights that are another type than their label says, such as a `Q2_K` of a model whose rows are no multiple of 256.
pub(super) fn misleading_labels(summary: &Summary) -> Vec<Finding> {
    let finding = |model: &ModelInfo| {
        let mostly = model.mostly.as_ref()?;
        let about = format!("the {} weights of {}", model.weights, model.name);
        let finding = Finding::new(WarningCode::LabelMisleads).about(about).detail(&mostly.kind);
        Some(finding.figure("share", mostly.share(), Unit::Share))
    };
    summary.models.iter().filter_map(finding).collect()
}

/// Tool calls that a server sends otherwise when it streams: it, not the model, makes some of them wrong.
pub(super) fn streams(run: &Run<'_>) -> Vec<Finding> {
    let mut checked: BTreeMap<(&str, u32), (u32, u32)> = BTreeMap::new();
    for trial in &run.journal.trials {
        if let Some(differs) = trial.measured(metric::STREAM_DIFFERS, Source::Client) {
            let (different, all) = checked.entry((&trial.key.setting, trial.key.context)).or_default();
            *different += u32::from(differs > 0.0);
            *all += 1;
        }
    }
    let finding = |((setting, context), (different, all)): ((&str, u32), (u32, u32))| {
        Finding::at(WarningCode::StreamingDiffers, setting, context)
            .figure("different", different, Unit::Cases)
            .figure("cases", all, Unit::Cases)
    };
    checked.into_iter().filter(|(_, (different, _))| *different > 0).map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sentence;
    use super::*;
    use crate::judge::analysis::testing;
    use crate::record::Mostly;

    #[test]
    fn a_label_that_misleads_is_named() {
        let mut summary = testing::summary();
        let mostly = Mostly { kind: "iq4_nl".into(), weights: 59, of: 100 };
        let model = |mostly| ModelInfo {
            name: "m".into(),
            weights: "Q2_K".into(),
            origin: "made up".into(),
            derived: false,
            sha256: String::new(),
            bytes: 1,
            kv: None,
            kv_unknown: None,
            trained: None,
            mostly,
            parameters: None,
            tokenizer: None,
        };
        summary.models = vec![model(None), model(Some(mostly))];
        let found = misleading_labels(&summary);
        assert_eq!(found.len(), 1);
        assert_eq!(
            sentence(&found[0]),
            "the Q2_K weights of m are that by name only: 59% of them are iq4_nl"
        );
    }
}
