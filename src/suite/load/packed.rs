//! `[reference] from`: a reference that was measured elsewhere, and whether it is one for this suite.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::super::checker::Checker;
use super::super::raw::{RawSetting, RawSuite};
use crate::error::{Result, chain};
use crate::record::journal::pack;
use crate::record::suite::{ModelSpec, PackedReference, Setting, Suite, TaskSpec};
use crate::record::{Arm, ModelInfo, Trial, packed};
use crate::task;

/// A pack that a suite names, and where it does.
pub(super) struct NamedPack {
    pack: pack::Pack,
    path: PathBuf,
    span: Range<usize>,
}

impl Checker {
    /// Reads the pack that the reference comes from.
    pub(super) fn pack(&self, raw: &RawSuite, from: &Spanned<PathBuf>) -> Result<NamedPack> {
        self.nothing_beside(raw)?;
        let path = self.path(from.get_ref());
        let pack = pack::open(&path).map_err(|error| {
            let pointed = self.error(from.span(), chain(&error), "this pack");
            error.hints().iter().fold(pointed, |pointed, hint| pointed.hint(hint.clone()))
        })?;
        Ok(NamedPack { pack, path, span: from.span() })
    }

    /// What the reference is stands in the pack, and the load phase needs a reference that is served here.
    fn nothing_beside(&self, raw: &RawSuite) -> Result<()> {
        let RawSetting {
            from: _,
            model,
            weights,
            kv,
            k,
            v,
            speculation,
            flash_attention,
            draft,
            options,
            extra_args,
            sampling,
        } = raw.reference.get_ref();
        let named = [model, weights, kv, k, v, speculation, draft].iter().any(|key| key.is_some())
            || flash_attention.is_some()
            || !options.is_empty()
            || !extra_args.is_empty()
            || !sampling.said().is_empty();
        if named {
            let message = "other keys beside `reference.from`: the pack says what the reference is";
            let hint = "describe the settings that are served here in [matrix] or [[setting]]";
            return Err(self.error(raw.reference.span(), message, "only `from` here").hint(hint));
        }
        if let Some(load) = &raw.load {
            let message = "`[load]` beside `reference.from`: it compares with the reference's server";
            return Err(self.error(load.span(), message, "leave this out, or run it as a suite of its own"));
        }
        Ok(())
    }

    /// Only the reference can come from a pack.
    pub(in crate::suite) fn not_from_a_pack(&self, raw: &RawSetting) -> Result<()> {
        raw.from.as_ref().map_or(Ok(()), |from| {
            Err(self.error(from.span(), "`from` is of the reference alone", "leave this out"))
        })
    }
}

impl NamedPack {
    /// The suite that the reference was measured with.
    pub(super) fn suite(&self) -> &Suite {
        &self.pack.journal.header.suite
    }

    /// The tasks that it holds, at those of the context lengths that it has.
    pub(super) fn tasks(&self, contexts: &[u32]) -> Vec<TaskSpec> {
        let here = |task: &TaskSpec| {
            let contexts =
                contexts.iter().copied().filter(|context| task.contexts.contains(context)).collect();
            TaskSpec { contexts, ..task.clone() }
        };
        self.suite().tasks.iter().map(here).filter(|task| !task.contexts.is_empty()).collect()
    }

    /// Puts its reference in front of the settings, under names that no setting of the suite has.
    pub(super) fn take_place(&self, settings: &mut Vec<Setting>, models: &mut Vec<ModelSpec>) {
        let reference = self.suite().reference();
        let model = format!("{} (pack)", reference.model);
        models.push(ModelSpec {
            name: model.clone(),
            weights: reference.weights.clone(),
            ..ModelSpec::default()
        });
        let label = format!("{} (pack)", reference.label);
        settings.insert(0, Setting { label, model, ..reference.clone() });
    }

    /// Checks that its reference was asked what the suite asks, and makes it the suite's.
    pub(super) fn belong_to(self, checker: &Checker, suite: &mut Suite) -> Result<()> {
        let differs = |what: String| {
            checker
                .error(self.span.clone(), format!("this pack is of another suite: {what}"), "this pack")
                .hint("ask what the pack was asked, or make another one: `kneepoint reference export RUN`")
        };
        if let Some(what) = self.difference(suite) {
            return Err(differs(what));
        }
        let mut origin = self.origin();
        let taken = packed::for_suite(&self.pack.journal, &origin, suite, &[])?;
        origin.trials = taken.trials.len() as u32;
        suite.pack = Some(origin);
        Ok(())
    }

    fn origin(&self) -> PackedReference {
        let journal = &self.pack.journal;
        let (header, reference) = (&journal.header, journal.header.suite.reference());
        let of_reference =
            |model: &&ModelInfo| model.name == reference.model && model.weights == reference.weights;
        PackedReference {
            path: self.path.clone(),
            sha256: self.pack.sha256.clone(),
            run: header.run.clone(),
            started: header.started.clone(),
            setting: reference.label.clone(),
            machine: header.machine.clone(),
            engines: header.engines.clone(),
            model: header.models.iter().find(of_reference).cloned(),
            template_hash: journal.launches.iter().find_map(|launch| launch.effective.template_hash.clone()),
            trials: 0,
        }
    }

    /// What makes its cases others than the suite's, or is not in it.
    fn difference(&self, suite: &Suite) -> Option<String> {
        let theirs = self.suite();
        if suite.seed != theirs.seed {
            return Some(format!("its seed is {}, the suite's {}", theirs.seed, suite.seed));
        }
        if suite.sampling != theirs.sampling {
            return Some(format!(
                "it was sampled with {:?}, the suite says {:?}",
                theirs.sampling, suite.sampling
            ));
        }
        let held = self.held();
        let lacking = suite.contexts.iter().find(|context| !held.keys().any(|(.., held)| held == *context));
        if let Some(context) = lacking {
            let has: Vec<String> = theirs.contexts.iter().map(u32::to_string).collect();
            return Some(format!("it has no context length {context}, only {}", has.join(", ")));
        }
        suite.tasks.iter().find_map(|task| self.other_task(task, &held))
    }

    /// Cases of its first visit, by task, arm and context length.
    fn held(&self) -> Held<'_> {
        let mut held = Held::new();
        let firsts = |trial: &&Trial| trial.key.replicate == 0 && trial.key.repeat == 0;
        for trial in self.pack.journal.trials.iter().filter(firsts) {
            *held.entry((trial.key.task.as_str(), trial.key.arm, trial.key.context)).or_default() += 1;
        }
        held
    }

    fn other_task(&self, task: &TaskSpec, held: &Held<'_>) -> Option<String> {
        let name = &task.name;
        let Some(theirs) = self.suite().tasks.iter().find(|other| other.name == *name) else {
            let has: Vec<&str> = self.suite().tasks.iter().map(|task| task.name.as_str()).collect();
            return Some(format!("it has no {name}, only {}", has.join(", ")));
        };
        let mut cases = self.pack.journal.cases.iter();
        let version = cases.find(|case| case.task == *name).map(|case| case.task_version);
        let own = task::version_of(name);
        if let Some(version) = version.filter(|version| *version != own) {
            return Some(format!("its {name} is version {version}, this kneepoint's is {own}"));
        }
        let (ours, others) = (asked(task), asked(theirs));
        if let Some(key) = ours.keys().chain(others.keys()).find(|key| ours.get(*key) != others.get(*key)) {
            let shown =
                |all: &BTreeMap<String, String>| all.get(key).cloned().unwrap_or_else(|| "none".to_owned());
            return Some(format!(
                "{key} of {name} is {} in it and {} in the suite",
                shown(&others),
                shown(&ours)
            ));
        }
        let arms: Vec<Option<Arm>> = match task.arms.as_slice() {
            [] => vec![None],
            arms => arms.iter().copied().map(Some).collect(),
        };
        let lists = task.contexts.iter().flat_map(|context| arms.iter().map(move |arm| (*context, *arm)));
        for (context, arm) in lists {
            let has = held.get(&(name.as_str(), arm, context)).copied().unwrap_or_default();
            if has < task.samples {
                let arm = arm.map_or(String::new(), |arm| format!(" ({arm})"));
                return Some(format!(
                    "it has {has} cases of {name}{arm} at {context} tokens, the suite asks {}",
                    task.samples
                ));
            }
        }
        None
    }
}

/// Cases by task, arm and context length.
type Held<'a> = BTreeMap<(&'a str, Option<Arm>, u32), u32>;

/// What decides on the cases of a task and their scores, by the keys of suites; options with their defaults.
fn asked(task: &TaskSpec) -> BTreeMap<String, String> {
    let mut asked = BTreeMap::from([
        ("mode".to_owned(), task.mode.name().to_owned()),
        ("score".to_owned(), task.score.name().to_owned()),
        ("questions".to_owned(), task.questions.to_string()),
        ("repeats".to_owned(), task.repeats.to_string()),
    ]);
    if let Some(window) = task.window {
        asked.insert("window".into(), format!("[{}, {}]", window.low(), window.high()));
    }
    if let Some(text) = &task.text {
        asked.insert("the hash of the text".into(), text.hash.clone());
    }
    for option in task::find(&task.name).map_or(&[][..], |task| task.card().options) {
        let value = task.options.get(option.name).copied().unwrap_or(option.default);
        asked.insert(format!("option {}", option.name), value.to_string());
    }
    asked
}
