//! From a suite file to a resolved [`Suite`]: parse, override, expand the matrix, check everything.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::checker::{Checker, folder_of};
use super::raw::{RawEngine, RawSetting, RawSuite, RawTask};
use super::resolve::Resolver;
use super::scalar::Tokens;
use crate::error::{Context, Error, Result, nearest};
use crate::measure::engine;
use crate::measure::engine::Engine;
use crate::record::suite::{
    EngineSpec, Gate, ModelSpec, Sampling, Setting, Suite, TaskSpec, TextSource, bounds,
};
use crate::record::{Arm, Mode, Scoring};
use crate::task;

/// Reads a suite file and checks all of it, before anything is started.
///
/// `overrides` are `KEY=VALUE` pairs, the key dotted (`matrix.kv`, `task.0.samples`), the value TOML or
/// a bare word.
///
/// # Errors
/// A usage error with file, line, column and a hint.
pub fn load(path: &Path, overrides: &[String]) -> Result<Suite> {
    let text = std::fs::read_to_string(path).map_err(|source| {
        Error::usage(format!("cannot read suite {}", path.display())).with_source(source).hint(
            "name a suite file, such as suites/quickstart.toml; `kneepoint list suites` shows those here",
        )
    })?;
    parse(&text, path, overrides)
}

/// [`load`] from text; `path` is what errors name, and its folder is where relative paths start.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, path: &Path, overrides: &[String]) -> Result<Suite> {
    if overrides.is_empty() {
        return Checker::new(text, path).suite();
    }
    let table = text.parse::<toml::Table>().map_err(|error| Checker::new(text, path).syntax(&error))?;
    let merged = super::overrides::apply(table, overrides, &folder_of(path))?;
    let merged = toml::to_string(&merged).context(|| "cannot write the overridden suite".into())?;
    let name = PathBuf::from(format!("{} with --set", path.display()));
    let mut checker = Checker::new(&merged, &name);
    checker.folder = folder_of(path);
    // A mistake of the file itself is shown in the file, not in the merged text.
    checker.suite().map_err(|error| match Checker::new(text, path).suite() {
        Err(own) if own.to_string() == error.to_string() => own,
        _ => error,
    })
}

impl Checker {
    fn syntax(&self, error: &toml::de::Error) -> Error {
        let message = error.message().trim().to_owned();
        let span = error.span().unwrap_or(0..0);
        let shown = self.error(span, format!("suite is not valid: {message}"), "here");
        match unknown_field_hint(&message) {
            Some(hint) => shown.hint(hint),
            None => shown.hint("the keys of a suite are described in docs/suites.md"),
        }
    }

    /// The recipe: parse, then check part by part.
    fn suite(&self) -> Result<Suite> {
        let raw: RawSuite = toml::from_str(&self.text).map_err(|error| self.syntax(&error))?;
        let name = self.name(&raw.name)?;
        let rounds = self.inside(&raw.rounds, &bounds::ROUNDS, "rounds")?;
        let pack = raw.reference.get_ref().from.as_ref().map(|from| self.pack(&raw, from)).transpose()?;
        let margin = match &pack {
            Some(pack) if is_unplaced(&raw.margin) => pack.suite().margin,
            _ => {
                self.inside(&raw.margin, &bounds::MARGIN, "margin (a share: 0.02 is 2 percentage points)")?
            }
        };
        let confidence = self.inside(&raw.confidence, &bounds::CONFIDENCE, "confidence")?;
        let draws = self.inside(&raw.draws, &bounds::DRAWS, "draws")?;
        let contexts = self.contexts(&raw.contexts)?;
        let (engine_spec, engine) = self.engine(&raw.engine)?;
        let mut models = match engine_spec.url {
            Some(_) => {
                self.no_matrix(&raw)?;
                self.attached_models(&raw.models)?
            }
            None => self.models(&raw.models)?,
        };
        let sampling = self.sampling(&raw.sampling)?;
        let mut settings = self.settings(&raw, engine, &models, sampling)?;
        if engine_spec.url.is_some() {
            self.one_setting(&raw, &settings)?;
        }
        let mut tasks = match &pack {
            Some(pack) if raw.tasks.is_empty() => pack.tasks(&contexts),
            _ => self.tasks(&raw.tasks, &contexts)?,
        };
        self.repeat(&raw.repeats, pack.as_ref(), &mut tasks)?;
        if let Some(pack) = &pack {
            pack.take_place(&mut settings, &mut models);
        }
        self.check_scores(&raw, &tasks, engine)?;
        self.check_repeats(&raw.repeats, &tasks, (&settings, sampling))?;
        let stopping = raw.stopping.as_ref().map(|stopping| self.stopping(stopping)).transpose()?;
        let load = raw.load.as_ref().map(|load| self.load(load, &tasks, &contexts)).transpose()?;
        let gates: Vec<Gate> = raw
            .gates
            .iter()
            .map(|gate| self.gate(gate, &settings, &tasks, &contexts))
            .collect::<Result<_>>()?;
        let mut objectives = raw.objectives;
        objectives.dedup();
        let mut suite = Suite {
            name,
            description: raw.description,
            seed: raw.seed,
            rounds,
            margin,
            confidence,
            draws,
            contexts,
            objectives,
            engine: engine_spec,
            models,
            settings,
            pack: None,
            tasks,
            sampling,
            stopping,
            load,
            gates,
            notify: raw.notify.as_ref().map(|notify| self.notify(notify)).transpose()?,
        };
        if let Some(pack) = pack {
            pack.belong_to(self, &mut suite)?;
        }
        // What no single key can say: how large all of it is together.
        suite.check().map_err(|reason| Error::usage(format!("suite is not valid: {reason}")))?;
        if let Some(stopping) = &raw.stopping {
            self.fits_best(stopping, &suite)?;
        }
        Ok(suite)
    }

    fn name(&self, name: &Spanned<String>) -> Result<String> {
        let text = name.get_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if text.is_empty() || text.len() > 60 || !text.chars().all(plain) {
            let message = "name of the suite is not usable as part of a folder name";
            return Err(self.error(name.span(), message, "use 1 to 60 letters, digits, `-` and `_`"));
        }
        Ok(text.clone())
    }

    fn contexts(&self, contexts: &[Spanned<Tokens>]) -> Result<Vec<u32>> {
        let mut lengths = BTreeSet::new();
        for context in contexts {
            let (min, max) = (*bounds::CONTEXT.start(), *bounds::CONTEXT.end());
            lengths.insert(self.tokens(context, min, max, "context length (tokens)")?);
        }
        if lengths.is_empty() {
            return Err(self
                .error(0..0, "`contexts` is empty", "")
                .hint("name at least one length, such as contexts = [4096]"));
        }
        Ok(lengths.into_iter().collect())
    }

    fn engine(&self, raw: &RawEngine) -> Result<(EngineSpec, &'static dyn Engine)> {
        let name = raw.name.get_ref();
        let names = || engine::ENGINES.iter().map(|engine| engine.name());
        let engine = engine::find(name).ok_or_else(|| {
            self.unknown(&raw.name, "engine", names()).hint("`kneepoint list engines` shows them all")
        })?;
        self.attachment(raw, engine)?;
        let seconds = |value: &Spanned<f64>, what: &str| self.inside(value, &bounds::WAIT_S, what);
        if let Some(threads) = &raw.threads
            && *threads.get_ref() == 0
        {
            return Err(self.error(threads.span(), "threads is 0", "leave it out to let the server decide"));
        }
        let spec = EngineSpec {
            name: name.clone(),
            binary: raw.binary.as_ref().map(|path| self.path(path)),
            args: raw.args.clone(),
            threads: raw.threads.as_ref().map(|threads| *threads.get_ref()),
            start_timeout_s: seconds(&raw.start_timeout_s, "start_timeout_s")?,
            request_timeout_s: seconds(&raw.request_timeout_s, "request_timeout_s")?,
            idle_timeout_s: seconds(&raw.idle_timeout_s, "idle_timeout_s")?,
            url: raw.url.as_ref().map(|url| url.get_ref().clone()),
            api_key_env: raw.api_key_env.as_ref().map(|name| name.get_ref().clone()),
            served_model: raw.served_model.as_ref().map(|name| name.get_ref().clone()),
            relaunch: raw.relaunch,
            speed_overlaps: raw.speed_overlaps,
        };
        Ok((spec, engine))
    }

    /// The reference, then the matrix, then the explicit ones; the same setting counts once.
    fn settings(
        &self,
        raw: &RawSuite,
        engine: &dyn Engine,
        models: &[ModelSpec],
        sampling: Sampling,
    ) -> Result<Vec<Setting>> {
        let attached = raw.engine.url.is_some();
        let named = raw.engine.binary.is_some();
        let asks_binary = !attached && (named || crate::measure::model::is_on_path(engine));
        let sampling = self.samplings(raw, sampling)?;
        let resolver = Resolver {
            checker: self,
            engine,
            models,
            sampling: &sampling,
            attached,
            asks_binary,
            raw_reference: None,
        };
        let packed = raw.reference.get_ref().from.is_some();
        let others = raw.matrix.iter().len() + raw.settings.len();
        // Beside a pack, what a matrix leaves out is the usual, and without other settings that is the one to compare.
        let usual = packed.then(|| Spanned::new(raw.reference.span(), RawSetting::default()));
        let reference = resolver.setting(usual.as_ref().unwrap_or(&raw.reference))?;
        let resolver = Resolver { raw_reference: Some(&reference), ..resolver };
        let mut settings = Vec::new();
        if !packed || others == 0 {
            settings.push(reference.clone());
        }
        if let Some(matrix) = &raw.matrix {
            settings.extend(resolver.matrix(matrix)?);
        }
        for setting in &raw.settings {
            settings.push(resolver.setting(setting)?);
        }
        let mut seen = BTreeSet::new();
        settings.retain(|setting| seen.insert(setting.label.clone()));
        Ok(settings)
    }

    fn tasks(&self, raw: &[RawTask], contexts: &[u32]) -> Result<Vec<TaskSpec>> {
        if raw.is_empty() {
            return Err(self
                .error(0..0, "the suite names no task", "")
                .hint("add [[task]] with `name` and `samples`; `kneepoint list tasks` shows them all"));
        }
        let mut seen = BTreeSet::new();
        raw.iter()
            .map(|task| {
                if !seen.insert(task.name.get_ref()) {
                    let label = "used before: put its contexts and arms into one [[task]]";
                    return Err(self.error(task.name.span(), "this task is named twice", label));
                }
                self.task(task, contexts)
            })
            .collect()
    }

    fn task(&self, raw: &RawTask, contexts: &[u32]) -> Result<TaskSpec> {
        let names = || task::TASKS.iter().map(|task| task.name());
        let task = task::find(raw.name.get_ref()).ok_or_else(|| {
            self.unknown(&raw.name, "task", names()).hint("`kneepoint list tasks` shows them all")
        })?;
        let samples = self.inside(&raw.samples, &bounds::SAMPLES, "samples")?;
        let mut options = std::collections::BTreeMap::new();
        for (name, value) in &raw.options {
            let known =
                task.card().options.iter().find(|option| option.name == name.get_ref()).ok_or_else(|| {
                    self.unknown(
                        name,
                        &format!("option of {}", task.name()),
                        task.card().options.iter().map(|o| o.name),
                    )
                })?;
            options.insert(known.name.to_owned(), self.tokens(value, known.min, known.max, known.name)?);
        }
        Ok(TaskSpec {
            name: task.name().to_owned(),
            samples,
            contexts: self.task_contexts(raw, contexts)?,
            arms: self.arms(raw, task)?,
            mode: self.mode(raw, task)?,
            score: self.score(raw, task)?,
            questions: self.questions(raw, task)?,
            repeats: 1,
            window: self.window(raw)?,
            primary: self.primary(raw, task)?,
            text: self.text_source(raw, task)?,
            options,
            file: self.task_file(raw, task)?,
        })
    }

    fn task_file(&self, raw: &RawTask, task: &dyn task::Task) -> Result<Option<PathBuf>> {
        match (&raw.file, task.card().needs.reads_file) {
            (Some(file), true) => Ok(Some(self.in_folder(file.get_ref(), task.card().needs.reads_answers))),
            (None, false) => Ok(None),
            (Some(file), false) => {
                let message = format!("{} makes its own cases", task.name());
                Err(self.error(file.span(), message, "leave this out"))
            }
            (None, true) => {
                let message = format!("{} does not say which file it reads", task.name());
                Err(self.error(raw.name.span(), message, "this task").hint("add file = \"cases.jsonl\""))
            }
        }
    }

    fn task_contexts(&self, raw: &RawTask, contexts: &[u32]) -> Result<Vec<u32>> {
        let Some(own) = &raw.contexts else {
            return Ok(contexts.to_vec());
        };
        let mut chosen = BTreeSet::new();
        for context in own {
            let tokens = context.get_ref().0;
            if !contexts.contains(&tokens) {
                let message = format!("context {tokens} is not one of the suite's");
                return Err(self.error(context.span(), message, format!("the suite has {contexts:?}")));
            }
            chosen.insert(tokens);
        }
        Ok(chosen.into_iter().collect())
    }

    fn arms(&self, raw: &RawTask, task: &dyn task::Task) -> Result<Vec<Arm>> {
        let forced = raw.score.as_ref().is_some_and(|score| *score.get_ref() == Scoring::Probability);
        let possible = |arm: &Arm| !forced || *arm == Arm::Prompted;
        let Some(arms) = &raw.arms else {
            return Ok(task.card().arms.iter().copied().filter(possible).collect());
        };
        let mut chosen = Vec::new();
        for arm in arms {
            if !possible(arm.get_ref()) {
                let message = format!("the arm {} beside a score by probability", arm.get_ref());
                let label = "a call can be forced where the model writes it as text: \"prompted\"";
                return Err(self.error(arm.span(), message, label));
            }
            if !task.card().arms.contains(arm.get_ref()) {
                let message = format!("{} has no arm {}", task.name(), arm.get_ref());
                let known: Vec<_> = task.card().arms.iter().map(|arm| arm.name()).collect();
                let label = if known.is_empty() { "it is not a tool task".into() } else { known.join(", ") };
                return Err(self.error(arm.span(), message, label));
            }
            if !chosen.contains(arm.get_ref()) {
                chosen.push(*arm.get_ref());
            }
        }
        Ok(chosen)
    }

    fn mode(&self, raw: &RawTask, task: &dyn task::Task) -> Result<Mode> {
        let Some(mode) = &raw.mode else {
            return Ok(Mode::default());
        };
        if !task.card().needs.modes.contains(mode.get_ref()) {
            let message = format!("{} has no mode {}", task.name(), mode.get_ref().name());
            return Err(self.error(mode.span(), message, "leave this out"));
        }
        let thinks = raw
            .options
            .iter()
            .find(|(name, value)| name.get_ref() == task::options::THINKING_TOKENS && value.get_ref().0 > 0);
        match thinks {
            Some((name, _)) if *mode.get_ref() == Mode::Prefill => {
                let message =
                    "a budget for thinking beside mode prefill: a reply that began already does not think";
                Err(self.error(name.span(), message, "leave this out, or choose mode = \"chat\""))
            }
            _ => Ok(*mode.get_ref()),
        }
    }

    fn text_source(&self, raw: &RawTask, task: &dyn task::Task) -> Result<Option<TextSource>> {
        let Some(path) = &raw.text else {
            return Ok(None);
        };
        if !task.card().needs.takes_text {
            let message = format!("{} hides nothing in prose: it takes no text", task.name());
            return Err(self.error(path.span(), message, "leave this out"));
        }
        let source = TextSource::open(&self.path(path.get_ref())).map_err(|error| {
            let hint =
                "name a UTF-8 text file, or a folder with .txt or .md files, relative to the suite's folder";
            self.error(path.span(), error.to_string(), "this text").hint(hint)
        })?;
        Ok(Some(source))
    }
}

/// serde says ``unknown field `x`, expected one of `a`, `b` ``: turn that into a did-you-mean.
fn unknown_field_hint(message: &str) -> Option<String> {
    let rest =
        message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"))?;
    let (word, expected) = rest.split_once('`')?;
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    match nearest(word, known.iter().copied()) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => Some(format!("known here: {}", known.join(", "))),
    }
}

/// Whether the suite does not say it.
fn is_unplaced<T>(value: &Spanned<T>) -> bool {
    value.span().is_empty()
}

mod attach;
mod judging;
mod models;
mod packed;
mod repeats;
mod scoring;
mod searching;
mod serving;
#[cfg(test)]
mod tests;
