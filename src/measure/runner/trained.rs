//! Contexts beyond what a model was made for, before anything is started.

use std::collections::BTreeSet;

use crate::measure::engine::Engine;
use crate::measure::model::Store;
use crate::measure::{engine, model};
use crate::record::suite::{Setting, Suite};
use crate::record::{TrainedContext, Warning};

/// One warning for each model file that the suite uses at contexts beyond the one it was made for. Reads what is on
/// this machine; what is not there yet says nothing.
pub(super) fn beyond_trained(suite: &Suite, store: &Store<'_>) -> Vec<Warning> {
    let Some(engine) = engine::find(&suite.engine.name) else { return Vec::new() };
    let mut warnings: Vec<Warning> = Vec::new();
    for setting in suite.measured().filter(|setting| !suite.scales_positions(setting)) {
        let Some(trained) = trained(suite, setting, store) else { continue };
        let warning = warning(suite, setting, trained, engine);
        warnings.extend(warning.filter(|warning| !warnings.contains(warning)));
    }
    warnings
}

fn trained(suite: &Suite, setting: &Setting, store: &Store<'_>) -> Option<TrainedContext> {
    let spec = suite.models.iter().find(|model| model.name == setting.model)?;
    let path = model::local_weights(spec, &setting.weights, store)?;
    // A file that cannot be read is told when it is to be served.
    model::trained_context(&path).ok().flatten()
}

fn warning(
    suite: &Suite,
    setting: &Setting,
    trained: TrainedContext,
    engine: &dyn Engine,
) -> Option<Warning> {
    let contexts: BTreeSet<u32> =
        suite.contexts.iter().copied().filter(|&context| u64::from(context) > trained.longest()).collect();
    let list: Vec<String> = contexts.iter().map(u32::to_string).collect();
    let (noun, verb) = if list.len() == 1 { ("context", "goes") } else { ("contexts", "go") };
    (!list.is_empty()).then(|| {
        Warning::new(
            "beyond-trained-context",
            format!(
                "{noun} {} {verb} beyond the {} tokens that {} was made for: {}",
                list.join(", "),
                trained.longest(),
                setting.model,
                engine.card().beyond_trained
            ),
        )
        .hint(format!(
            "leave {} out, or scale positions in the setting's options as the model's publisher says",
            if list.len() == 1 { "it" } else { "them" }
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::model::Silent;
    use crate::suite;

    fn warned(context_length: u32, contexts: &str, setting: &str) -> Vec<Warning> {
        let folder = tempfile::tempdir().unwrap();
        let config = format!("{{\"model_type\": \"qwen2\", \"max_position_embeddings\": {context_length}}}");
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let text = format!(
            "name = \"t\"\ncontexts = {contexts}\n[engine]\nname = \"vllm\"\n[[model]]\nname = \"m\"\npath = {:?}\nweights = \"BF16\"\n[reference]\n{setting}\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n",
            folder.path()
        );
        let suite = suite::parse(&text, std::path::Path::new("t.toml"), &[]).unwrap();
        beyond_trained(&suite, &Store::at(folder.path(), "python3", &Silent))
    }

    #[test]
    fn a_context_beyond_the_trained_one_is_named_with_both_figures() {
        let [warning] = &warned(8192, "[8192, 16384, 32768]", "")[..] else { panic!("one warning") };
        assert_eq!(warning.code, "beyond-trained-context");
        assert!(
            warning.text.starts_with("contexts 16384, 32768 go beyond the 8192 tokens"),
            "{}",
            warning.text
        );
        assert!(warned(8192, "[512, 8192]", "").is_empty());
    }

    #[test]
    fn a_setting_that_scales_positions_itself_knows_what_it_does() {
        let scaled = "[reference.options]\nhf_overrides = '{\"rope_scaling\": {\"rope_type\": \"yarn\"}}'";
        assert!(warned(8192, "[32768]", scaled).is_empty());
    }
}
