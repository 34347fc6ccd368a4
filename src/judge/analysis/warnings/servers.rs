//! What servers and models are that the reader may not expect.

use std::collections::BTreeMap;

use super::finding::Finding;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{Summary, Unit, WarningCode};
use crate::record::{Effective, ModelInfo, Source, TrainedContext, metric};

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

/// Caches whose types differ, on a card, beside work of the processor's that the same model in other types has not.
///
/// llama.cpp cuts a graph in two where all layers are on cards; where a kernel is missing, in two more for each layer. Only a
/// cell with more pieces than the fewest of its model and context counts, so that layers left in main memory do not.
pub(super) fn caches_on_the_processor(run: &Run<'_>) -> Vec<Finding> {
    let launches = run.journal.launches.iter().filter(|launch| launch.effective.gpu_backend.is_some());
    let launches: Vec<_> = launches.collect();
    let least = launches.iter().filter_map(|launch| launch.effective.graph_splits).min().unwrap_or_default();
    let mut findings: Vec<Finding> = Vec::new();
    for launch in launches {
        let Effective { k: Some(k), v: Some(v), graph_splits: Some(splits), .. } = &launch.effective else {
            continue;
        };
        if k == v || launch.effective.compute_cpu_bytes.is_none() || *splits <= least.max(2) {
            continue;
        }
        let finding = Finding::at(WarningCode::CacheOnProcessor, &launch.setting, launch.context)
            .figure("splits", *splits, Unit::Pieces)
            .detail(format!("{k} and V in {v}"));
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
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
    use crate::record::journal::Journal;

    #[test]
    fn a_label_that_misleads_is_named() {
        let mut summary = testing::summary();
        let mostly = Mostly { kind: "iq4_nl".into(), weights: 59, of: 100 };
        let model = |mostly| ModelInfo { weights: "Q2_K".into(), mostly, ..testing::model(1) };
        summary.models = vec![model(None), model(Some(mostly))];
        let found = misleading_labels(&summary);
        assert_eq!(found.len(), 1);
        assert_eq!(
            sentence(&found[0]),
            "the Q2_K weights of m are that by name only: 59% of them are iq4_nl"
        );
    }

    #[test]
    fn caches_that_fall_back_to_the_processor_are_named() {
        let text = "name = \"t\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
                    [reference]\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n";
        let suite = crate::suite::parse(text, std::path::Path::new("t.toml"), &[]).unwrap();
        let mut journal = Journal::new(testing::header(suite));
        for (setting, k, v, splits, cpu) in [
            ("plain", "f16", "f16", 2, None),
            ("mixed", "q8_0", "q4_0", 62, Some(1)),
            ("alike", "q4_0", "q4_0", 2, None),
        ] {
            let mut launch = testing::launch(setting, 512);
            launch.effective.gpu_backend = Some("CUDA".into());
            launch.effective.k = Some(k.into());
            launch.effective.v = Some(v.into());
            launch.effective.graph_splits = Some(splits);
            launch.effective.compute_cpu_bytes = cpu;
            journal.launches.push(launch);
        }
        let run = Run::new(&journal, &crate::judge::analysis::Registry).unwrap();
        let [finding] = &caches_on_the_processor(&run)[..] else { panic!("one") };
        let said = sentence(finding);
        assert!(
            said.contains("mixed at 512 tokens")
                && said.contains("q8_0 and V in q4_0")
                && said.contains("62 pieces"),
            "{said}"
        );
        // On the processor alone there is nothing to fall back from.
        journal.launches.iter_mut().for_each(|launch| launch.effective.gpu_backend = None);
        let run = Run::new(&journal, &crate::judge::analysis::Registry).unwrap();
        assert!(caches_on_the_processor(&run).is_empty());
    }
}
