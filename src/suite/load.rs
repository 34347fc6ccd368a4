//! From a suite file to a resolved [`Suite`]: parse, override, expand the matrix, check everything.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;

use super::raw::{RawEngine, RawMatrix, RawModel, RawSampling, RawSetting, RawSuite, RawTask};
use super::{EngineSpec, ModelSpec, Sampling, Setting, Suite, TaskSpec};
use crate::engine::{self, Engine};
use crate::error::{Context, Error, Location, Result, nearest};
use crate::model::{DERIVABLE, packages};
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
    let merged = super::overrides::apply(table, overrides)?;
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

fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Checks one text; every method returns an error that points into it.
struct Checker {
    text: Arc<str>,
    file: PathBuf,
    folder: PathBuf,
}

impl Checker {
    fn new(text: &str, file: &Path) -> Self {
        Self { text: text.into(), file: file.into(), folder: folder_of(file) }
    }

    fn error(&self, span: Range<usize>, message: impl Into<String>, label: impl Into<String>) -> Error {
        let location =
            Location { file: self.file.clone(), text: self.text.clone(), span, label: label.into() };
        Error::usage(message).at(location)
    }

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
        let rounds = self.within(&raw.rounds, 1, 100, "rounds")?;
        let margin =
            self.within_f64(&raw.margin, 0.0, 0.5, "margin (a share: 0.02 is 2 percentage points)")?;
        let confidence = self.within_f64(&raw.confidence, 0.5, 0.999, "confidence")?;
        let draws = self.within(&raw.draws, 100, 1_000_000, "draws")?;
        let contexts = self.contexts(&raw.contexts)?;
        let (engine_spec, engine) = self.engine(&raw.engine)?;
        let models = self.models(&raw.models)?;
        let settings = self.settings(&raw, engine, &models)?;
        let tasks = self.tasks(&raw.tasks, &contexts)?;
        let mut objectives = raw.objectives;
        objectives.dedup();
        Ok(Suite {
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
            tasks,
            sampling: self.sampling(&raw.sampling)?,
        })
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

    fn within(&self, value: &Spanned<u32>, min: u32, max: u32, what: &str) -> Result<u32> {
        let number = *value.get_ref();
        if (min..=max).contains(&number) {
            return Ok(number);
        }
        Err(self.error(value.span(), format!("{what} is {number}"), format!("must be {min} to {max}")))
    }

    fn within_f64(&self, value: &Spanned<f64>, min: f64, max: f64, what: &str) -> Result<f64> {
        let number = *value.get_ref();
        if number.is_finite() && (min..=max).contains(&number) {
            return Ok(number);
        }
        Err(self.error(value.span(), format!("{what} is {number}"), format!("must be {min} to {max}")))
    }

    fn contexts(&self, contexts: &[Spanned<u32>]) -> Result<Vec<u32>> {
        let mut lengths = BTreeSet::new();
        for context in contexts {
            lengths.insert(self.within(context, 128, 4_194_304, "context length (tokens)")?);
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
        let seconds = |value: &Spanned<f64>, what: &str| self.within_f64(value, 0.1, 86_400.0, what);
        if let Some(threads) = &raw.threads
            && *threads.get_ref() == 0
        {
            return Err(self.error(threads.span(), "threads is 0", "leave it out to let the server decide"));
        }
        let spec = EngineSpec {
            name: name.clone(),
            binary: raw.binary.as_ref().map(|path| self.folder.join(path)),
            args: raw.args.clone(),
            threads: raw.threads.as_ref().map(|threads| *threads.get_ref()),
            start_timeout_s: seconds(&raw.start_timeout_s, "start_timeout_s")?,
            request_timeout_s: seconds(&raw.request_timeout_s, "request_timeout_s")?,
            idle_timeout_s: seconds(&raw.idle_timeout_s, "idle_timeout_s")?,
        };
        Ok((spec, engine))
    }

    fn sampling(&self, raw: &RawSampling) -> Result<Sampling> {
        Ok(Sampling {
            temperature: self.within_f64(&raw.temperature, 0.0, 10.0, "temperature")?,
            top_k: raw.top_k,
            top_p: self.within_f64(&raw.top_p, 0.0, 1.0, "top_p")?,
            min_p: self.within_f64(&raw.min_p, 0.0, 1.0, "min_p")?,
            repeat_penalty: self.within_f64(&raw.repeat_penalty, 0.1, 10.0, "repeat_penalty")?,
            seed: raw.seed,
        })
    }

    fn models(&self, raw: &[RawModel]) -> Result<Vec<ModelSpec>> {
        if raw.is_empty() {
            return Err(self
                .error(0..0, "the suite names no model", "")
                .hint("add [[model]] with `name` and either `package` or `path` and `weights`"));
        }
        let mut seen = BTreeSet::new();
        raw.iter()
            .map(|model| {
                if !seen.insert(model.name.get_ref()) {
                    return Err(self.error(model.name.span(), "two models have this name", "used before"));
                }
                self.model(model)
            })
            .collect()
    }

    fn model(&self, raw: &RawModel) -> Result<ModelSpec> {
        let name = raw.name.get_ref().clone();
        let (package, path, weights) = match (&raw.package, &raw.path) {
            (Some(package), None) => {
                let known = packages::model(package.get_ref())
                    .map_err(|message| self.error(package.span(), message, "not known"))?;
                let weights = known.weights().unwrap_or_default().to_owned();
                (Some(package.get_ref().clone()), None, weights)
            }
            (None, Some(path)) => {
                let weights = raw.weights.as_ref().ok_or_else(|| {
                    self.error(
                        raw.name.span(),
                        format!("model {name} does not say its weight quant"),
                        "this model",
                    )
                    .hint("add weights = \"Q4_K_M\" (or whatever the file is) beside `path`")
                })?;
                (None, Some(self.folder.join(path.get_ref())), weights.get_ref().clone())
            }
            _ => {
                let message = format!("model {name} must have exactly one of `package` and `path`");
                return Err(self.error(raw.name.span(), message, "this model"));
            }
        };
        if let Some(given) = &raw.weights
            && *given.get_ref() != weights
        {
            return Err(self.error(given.span(), format!("the package holds {weights}"), "leave this out"));
        }
        let derive = raw.derive.iter().map(|quant| self.derivable(quant, &weights)).collect::<Result<_>>()?;
        Ok(ModelSpec { name, package, path, weights, derive })
    }

    fn derivable(&self, quant: &Spanned<String>, source: &str) -> Result<String> {
        if quant.get_ref() == source {
            let label = "the file is this already";
            return Err(self.error(quant.span(), format!("cannot derive {source} from itself"), label));
        }
        if !DERIVABLE.contains(&quant.get_ref().as_str()) {
            return Err(self.unknown(quant, "quant that can be derived", DERIVABLE.iter().copied()));
        }
        Ok(quant.get_ref().clone())
    }

    /// The reference, then the matrix, then the explicit ones; the same setting counts once.
    fn settings(&self, raw: &RawSuite, engine: &dyn Engine, models: &[ModelSpec]) -> Result<Vec<Setting>> {
        let resolver = Resolver { checker: self, engine, models, raw_reference: None };
        let reference = resolver.setting(&raw.reference)?;
        let resolver = Resolver { raw_reference: Some(&reference), ..resolver };
        let mut settings = vec![reference.clone()];
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
        let samples = self.within(&raw.samples, 1, 100_000, "samples")?;
        let mut options = std::collections::BTreeMap::new();
        for (name, value) in &raw.options {
            let known =
                task.options().iter().find(|option| option.name == name.get_ref()).ok_or_else(|| {
                    self.unknown(
                        name,
                        &format!("option of {}", task.name()),
                        task.options().iter().map(|o| o.name),
                    )
                })?;
            options.insert(known.name.to_owned(), self.within(value, known.min, known.max, known.name)?);
        }
        Ok(TaskSpec {
            name: task.name().to_owned(),
            samples,
            contexts: self.task_contexts(raw, contexts)?,
            arms: self.arms(raw, task)?,
            options,
        })
    }

    fn task_contexts(&self, raw: &RawTask, contexts: &[u32]) -> Result<Vec<u32>> {
        let Some(own) = &raw.contexts else {
            return Ok(contexts.to_vec());
        };
        let mut chosen = BTreeSet::new();
        for context in own {
            if !contexts.contains(context.get_ref()) {
                let message = format!("context {} is not one of the suite's", context.get_ref());
                return Err(self.error(context.span(), message, format!("the suite has {contexts:?}")));
            }
            chosen.insert(*context.get_ref());
        }
        Ok(chosen.into_iter().collect())
    }

    fn arms(&self, raw: &RawTask, task: &dyn task::Task) -> Result<Vec<crate::trial::Arm>> {
        let Some(arms) = &raw.arms else {
            return Ok(task.arms().to_vec());
        };
        let mut chosen = Vec::new();
        for arm in arms {
            if !task.arms().contains(arm.get_ref()) {
                let message = format!("{} has no arm {}", task.name(), arm.get_ref());
                let known: Vec<_> = task.arms().iter().map(|arm| arm.name()).collect();
                let label = if known.is_empty() { "it is not a tool task".into() } else { known.join(", ") };
                return Err(self.error(arm.span(), message, label));
            }
            if !chosen.contains(arm.get_ref()) {
                chosen.push(*arm.get_ref());
            }
        }
        Ok(chosen)
    }

    fn unknown<'a>(
        &self,
        word: &Spanned<String>,
        what: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Error {
        let known: Vec<_> = known.into_iter().collect();
        let error = self.error(word.span(), format!("unknown {what} `{}`", word.get_ref()), "not known");
        match nearest(word.get_ref(), known.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None if known.is_empty() => error.hint("there are none"),
            None => error.hint(format!("known: {}", known.join(", "))),
        }
    }
}

/// Turns raw settings into settings of one engine.
struct Resolver<'a> {
    checker: &'a Checker,
    engine: &'a dyn Engine,
    models: &'a [ModelSpec],
    /// What a matrix leaves out is taken from here.
    raw_reference: Option<&'a Setting>,
}

impl Resolver<'_> {
    fn setting(&self, raw: &Spanned<RawSetting>) -> Result<Setting> {
        self.one(raw.get_ref(), raw.span())
    }

    fn one(&self, raw: &RawSetting, span: Range<usize>) -> Result<Setting> {
        let model = self.model(raw.model.as_ref())?;
        let weights = match &raw.weights {
            None => model.weights.clone(),
            Some(quant) => self.weights(quant, model)?,
        };
        let (k, v) = self.caches(raw)?;
        let speculation = match &raw.speculation {
            None => "off".to_owned(),
            Some(word) => self.of_engine(word, "speculation type", self.engine.speculation_types())?,
        };
        let mut setting = Setting {
            label: String::new(),
            engine: self.engine.name().to_owned(),
            model: model.name.clone(),
            weights,
            k,
            v,
            speculation,
            flash_attention: raw.flash_attention.as_ref().map(|fa| *fa.get_ref()).unwrap_or_default(),
            extra_args: raw.extra_args.clone(),
        };
        setting.label = setting.label_of(self.models.len() > 1);
        match self.engine.impossible(&setting) {
            None => Ok(setting),
            Some(reason) => {
                Err(self.checker.error(span, format!("impossible setting: {reason}"), "this setting"))
            }
        }
    }

    fn model(&self, name: Option<&Spanned<String>>) -> Result<&ModelSpec> {
        let Some(name) = name else {
            return Ok(&self.models[0]);
        };
        let known = self.models.iter().map(|model| model.name.as_str());
        self.models
            .iter()
            .find(|model| model.name == *name.get_ref())
            .ok_or_else(|| self.checker.unknown(name, "model", known))
    }

    fn weights(&self, quant: &Spanned<String>, model: &ModelSpec) -> Result<String> {
        let known = || std::iter::once(&model.weights).chain(&model.derive).map(String::as_str);
        if known().any(|name| name == quant.get_ref()) {
            return Ok(quant.get_ref().clone());
        }
        let hint = format!("add it to `derive` of model {} to make it from {}", model.name, model.weights);
        Err(self.checker.unknown(quant, "weight quant of this model", known()).hint(hint))
    }

    fn caches(&self, raw: &RawSetting) -> Result<(String, String)> {
        if let (Some(kv), true) = (&raw.kv, raw.k.is_some() || raw.v.is_some()) {
            let label = "say either `kv`, or `k` and `v`";
            return Err(self.checker.error(kv.span(), "`kv` beside `k` or `v`", label));
        }
        match &raw.kv {
            Some(kv) => self.both(kv),
            None => Ok((self.cache(raw.k.as_ref())?, self.cache(raw.v.as_ref())?)),
        }
    }

    fn both(&self, kv: &Spanned<String>) -> Result<(String, String)> {
        let (k, v) = kv.get_ref().split_once('/').unwrap_or((kv.get_ref(), kv.get_ref()));
        let part = |word: &str| Spanned::new(kv.span(), word.trim().to_owned());
        Ok((self.cache(Some(&part(k)))?, self.cache(Some(&part(v)))?))
    }

    fn cache(&self, word: Option<&Spanned<String>>) -> Result<String> {
        match word {
            None => Ok("f16".to_owned()),
            Some(word) => self.of_engine(word, "cache type", self.engine.cache_types()),
        }
    }

    fn of_engine(&self, word: &Spanned<String>, what: &str, known: &[&str]) -> Result<String> {
        if known.contains(&word.get_ref().as_str()) {
            return Ok(word.get_ref().clone());
        }
        let what = format!("{what} of {}", self.engine.name());
        Err(self.checker.unknown(word, &what, known.iter().copied()))
    }

    /// The product of the lists, less the excluded; an impossible combination is an error unless excluded.
    fn matrix(&self, matrix: &Spanned<RawMatrix>) -> Result<Vec<Setting>> {
        let lists = matrix.get_ref();
        let split = !lists.k.is_empty() || !lists.v.is_empty();
        if split && !lists.kv.is_empty() {
            let message = "`kv` beside `k` or `v` in the matrix";
            return Err(self.checker.error(lists.kv[0].span(), message, "say either `kv`, or `k` and `v`"));
        }
        let excluded = lists.exclude.iter().map(|raw| self.pattern(raw)).collect::<Result<Vec<_>>>()?;
        let mut settings = Vec::new();
        for raw in self.product(lists) {
            if excluded.iter().any(|pattern| pattern.matches(&raw)) {
                continue;
            }
            settings.push(self.one(&raw, matrix.span()).map_err(|error| {
                if error.location().is_some_and(|place| place.span == matrix.span()) {
                    error.hint("leave the combination out with [[matrix.exclude]]")
                } else {
                    error
                }
            })?);
        }
        if settings.is_empty() {
            return Err(self.checker.error(
                matrix.span(),
                "everything in the matrix is excluded",
                "this matrix",
            ));
        }
        Ok(settings)
    }

    fn product(&self, lists: &RawMatrix) -> Vec<RawSetting> {
        let base = self.raw_reference.map(|reference| RawSetting {
            model: Some(Spanned::new(0..0, reference.model.clone())),
            weights: Some(Spanned::new(0..0, reference.weights.clone())),
            k: Some(Spanned::new(0..0, reference.k.clone())),
            v: Some(Spanned::new(0..0, reference.v.clone())),
            kv: None,
            speculation: Some(Spanned::new(0..0, reference.speculation.clone())),
            flash_attention: Some(Spanned::new(0..0, reference.flash_attention)),
            extra_args: reference.extra_args.clone(),
        });
        let mut product = vec![base.unwrap_or_default()];
        expand(&mut product, &lists.model, |raw, word| {
            raw.model = Some(word);
            raw.weights = None;
        });
        expand(&mut product, &lists.weights, |raw, word| raw.weights = Some(word));
        expand(&mut product, &lists.kv, |raw, word| {
            raw.kv = Some(word);
            raw.k = None;
            raw.v = None;
        });
        expand(&mut product, &lists.k, |raw, word| raw.k = Some(word));
        expand(&mut product, &lists.v, |raw, word| raw.v = Some(word));
        expand(&mut product, &lists.speculation, |raw, word| raw.speculation = Some(word));
        expand(&mut product, &lists.flash_attention, |raw, word| raw.flash_attention = Some(word));
        product
    }

    fn pattern(&self, raw: &Spanned<RawSetting>) -> Result<Pattern> {
        let setting = raw.get_ref();
        let text = |word: &Option<Spanned<String>>| word.as_ref().map(|word| word.get_ref().clone());
        let kv = setting.kv.as_ref().map(|kv| self.both(kv)).transpose()?;
        let pattern = Pattern {
            model: text(&setting.model),
            weights: text(&setting.weights),
            k: kv.as_ref().map(|(k, _)| k.clone()).or(text(&setting.k)),
            v: kv.map(|(_, v)| v).or(text(&setting.v)),
            speculation: text(&setting.speculation),
            flash_attention: setting.flash_attention.as_ref().map(|fa| *fa.get_ref()),
        };
        if pattern == Pattern::default() {
            let label = "name at least one key to match";
            return Err(self.checker.error(raw.span(), "this exclusion would exclude everything", label));
        }
        Ok(pattern)
    }
}

fn expand<T: Clone>(
    product: &mut Vec<RawSetting>,
    words: &[Spanned<T>],
    set: impl Fn(&mut RawSetting, Spanned<T>),
) {
    if words.is_empty() {
        return;
    }
    let mut expanded = Vec::with_capacity(product.len() * words.len());
    for base in product.iter() {
        for word in words {
            let mut raw = base.clone();
            set(&mut raw, word.clone());
            expanded.push(raw);
        }
    }
    *product = expanded;
}

/// A combination to leave out: every key given must match.
#[derive(Debug, Default, PartialEq)]
struct Pattern {
    model: Option<String>,
    weights: Option<String>,
    k: Option<String>,
    v: Option<String>,
    speculation: Option<String>,
    flash_attention: Option<super::FlashAttention>,
}

impl Pattern {
    fn matches(&self, raw: &RawSetting) -> bool {
        let same = |wanted: &Option<String>, got: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| got.is_some_and(|got| got == wanted))
        };
        let word = |word: &Option<Spanned<String>>| word.as_ref().map(|word| word.get_ref().clone());
        let kv = word(&raw.kv);
        let (k, v) = match &kv {
            Some(kv) => {
                let (k, v) = kv.split_once('/').unwrap_or((kv, kv));
                (Some(k.to_owned()), Some(v.to_owned()))
            }
            None => (word(&raw.k), word(&raw.v)),
        };
        let flash_attention = raw.flash_attention.as_ref().map(|fa| *fa.get_ref()).unwrap_or_default();
        same(&self.model, word(&raw.model).as_deref())
            && same(&self.weights, word(&raw.weights).as_deref())
            && same(&self.k, k.as_deref())
            && same(&self.v, v.as_deref())
            && same(&self.speculation, word(&raw.speculation).as_deref().or(Some("off")))
            && self.flash_attention.is_none_or(|wanted| wanted == flash_attention)
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
