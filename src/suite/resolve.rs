//! From raw settings and the matrix to settings of one engine.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;

use super::checker::Checker;
use super::raw::{RawMatrix, RawSetting};
use super::samplings::Samplings;
use super::scalar::Scalar;
use crate::error::Result;
use crate::measure::engine::{Engine, ServerOption, may_be_type, with_known_types};
use crate::record::suite::{DraftModel, FlashAttention, ModelSpec, Setting, UNKNOWN};

/// In a matrix: every quant that the model offers.
const ALL: &str = "all";

/// Turns raw settings into settings of one engine.
pub(super) struct Resolver<'a> {
    pub(super) checker: &'a Checker,
    pub(super) engine: &'a dyn Engine,
    pub(super) models: &'a [ModelSpec],
    /// How settings sample before they say anything themselves.
    pub(super) sampling: &'a Samplings,
    /// Whether the server runs already: what the suite does not name is whatever it runs.
    pub(super) attached: bool,
    /// Whether the server's binary is here, so that its help will tell which types it has.
    pub(super) asks_binary: bool,
    /// What a matrix leaves out is taken from here.
    pub(super) raw_reference: Option<&'a Setting>,
}

impl Resolver<'_> {
    pub(super) fn setting(&self, raw: &Spanned<RawSetting>) -> Result<Setting> {
        self.one(raw.get_ref(), raw.span())
    }

    fn one(&self, raw: &RawSetting, span: Range<usize>) -> Result<Setting> {
        self.checker.not_from_a_pack(raw)?;
        let model = self.model(raw.model.as_ref())?;
        let weights = match &raw.weights {
            None => model.weights.clone(),
            Some(quant) => self.weights(quant, model)?,
        };
        let (k, v) = self.caches(raw)?;
        let speculation = match &raw.speculation {
            None if self.attached => UNKNOWN.to_owned(),
            None => "off".to_owned(),
            Some(word) => self.speculation(word)?,
        };
        let usual =
            if self.attached { FlashAttention::Auto } else { self.engine.card().default_flash_attention };
        let mut setting = Setting {
            label: String::new(),
            engine: self.engine.name().to_owned(),
            model: model.name.clone(),
            weights,
            k,
            v,
            speculation,
            flash_attention: raw.flash_attention.as_ref().map_or(usual, |wanted| *wanted.get_ref()),
            draft: raw.draft.as_ref().map(|word| self.draft(word)).transpose()?,
            options: self.options(&raw.options)?,
            extra_args: raw.extra_args.clone(),
            sampling: Some(self.checker.replaced(self.sampling.of_model(&model.name), &raw.sampling)?)
                .filter(|sampling| *sampling != self.sampling.suite),
        };
        setting.label = setting.label_of(self.models.len() > 1);
        let said = raw.sampling.said();
        setting.label.extend(said.iter().map(|(name, value)| format!(" {name}={value}")));
        if self.attached {
            return Ok(setting);
        }
        match self.engine.validate(&with_known_types(self.engine.card(), &setting)) {
            Ok(()) => Ok(setting),
            Err(reason) => {
                Err(self.checker.error(span, format!("impossible setting: {reason}"), "this setting"))
            }
        }
    }

    /// One type, or a list of types.
    fn speculation(&self, word: &Spanned<String>) -> Result<String> {
        for name in word.get_ref().split(',') {
            let part = Spanned::new(word.span(), name.to_owned());
            self.of_engine(&part, "speculation type", self.engine.card().speculation_types)?;
        }
        Ok(word.get_ref().clone())
    }

    /// `MODEL`, or `MODEL:QUANT`.
    fn draft(&self, word: &Spanned<String>) -> Result<DraftModel> {
        let text = word.get_ref();
        let known = |name: &str| self.models.iter().any(|model| model.name == name);
        let (name, quant) = match text.rsplit_once(':') {
            Some((name, quant)) if !known(text) => (name, Some(quant)),
            _ => (text.as_str(), None),
        };
        let part = |text: &str| Spanned::new(word.span(), text.to_owned());
        let model = self.model(Some(&part(name)))?;
        let weights = match quant {
            None => model.weights.clone(),
            Some(quant) => self.weights(&part(quant), model)?,
        };
        Ok(DraftModel { model: model.name.clone(), weights })
    }

    fn options(&self, raw: &BTreeMap<Spanned<String>, Spanned<Scalar>>) -> Result<BTreeMap<String, String>> {
        raw.iter()
            .map(|(name, value)| {
                let option = self.option(name)?;
                let value = option
                    .check(&value.get_ref().0)
                    .map_err(|message| self.checker.error(value.span(), message, "this value"))?;
                Ok((option.name.to_owned(), value))
            })
            .collect()
    }

    fn option(&self, name: &Spanned<String>) -> Result<&'static ServerOption> {
        let table = self.engine.card().options;
        table.iter().find(|option| option.name == name.get_ref()).ok_or_else(|| {
            let what = format!("option of {}", self.engine.name());
            self.checker.unknown(name, &what, table.iter().map(|option| option.name))
        })
    }

    /// Whether this speculation drafts with a second model.
    fn takes_draft(&self, speculation: &str) -> bool {
        speculation.split(',').any(|name| self.engine.card().takes_draft(name))
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
        if model.offered().any(|name| name == quant.get_ref()) {
            return Ok(quant.get_ref().clone());
        }
        let hint = format!("add it to `derive` of model {} to make it from {}", model.name, model.weights);
        Err(self.checker.unknown(quant, "weight quant of this model", model.offered()).hint(hint))
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
            None if self.attached => Ok(UNKNOWN.to_owned()),
            None => Ok(self.engine.card().default_cache_type.to_owned()),
            Some(word) => self.of_engine(word, "cache type", self.engine.card().cache_types),
        }
    }

    fn of_engine(&self, word: &Spanned<String>, what: &str, known: &[&str]) -> Result<String> {
        let listed = known.contains(&word.get_ref().as_str());
        // What is not known here may be a fork's: the binary is asked before anything is fetched.
        if listed || (self.asks_binary && may_be_type(word.get_ref())) {
            return Ok(word.get_ref().clone());
        }
        let what = format!("{what} of {}", self.engine.name());
        Err(self.checker.unknown(word, &what, known.iter().copied()))
    }

    /// The product of the lists, less the excluded; an impossible combination is an error unless excluded.
    pub(super) fn matrix(&self, matrix: &Spanned<RawMatrix>) -> Result<Vec<Setting>> {
        let lists = matrix.get_ref();
        let split = !lists.k.is_empty() || !lists.v.is_empty();
        if split && !lists.kv.is_empty() {
            let message = "`kv` beside `k` or `v` in the matrix";
            return Err(self.checker.error(lists.kv[0].span(), message, "say either `kv`, or `k` and `v`"));
        }
        let excluded = lists.exclude.iter().map(|raw| self.pattern(raw)).collect::<Result<Vec<_>>>()?;
        let mut settings = Vec::new();
        for mut raw in self.product(lists) {
            self.leave_out_what_means_nothing(&mut raw);
            let draft = raw.draft.as_ref().map(|word| self.draft(word)).transpose()?;
            if excluded.iter().any(|pattern| pattern.matches(&raw, draft.as_ref())) {
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
            from: None,
            model: Some(Spanned::new(0..0, reference.model.clone())),
            weights: Some(Spanned::new(0..0, reference.weights.clone())),
            k: Some(Spanned::new(0..0, reference.k.clone())),
            v: Some(Spanned::new(0..0, reference.v.clone())),
            kv: None,
            speculation: Some(Spanned::new(0..0, reference.speculation.clone())),
            flash_attention: Some(Spanned::new(0..0, reference.flash_attention)),
            draft: reference.draft.as_ref().map(|draft| Spanned::new(0..0, draft.to_string())),
            options: reference.options.iter().map(|(name, value)| unplaced(name, value)).collect(),
            extra_args: reference.extra_args.clone(),
            sampling: self.sampling.reference.clone(),
        });
        let mut product = vec![base.unwrap_or_default()];
        expand(&mut product, &lists.model, |raw, word| {
            raw.model = Some(word);
            raw.weights = None;
        });
        product = product.into_iter().flat_map(|raw| self.with_weights(raw, &lists.weights)).collect();
        expand(&mut product, &lists.kv, |raw, word| {
            raw.kv = Some(word);
            raw.k = None;
            raw.v = None;
        });
        expand(&mut product, &lists.k, |raw, word| raw.k = Some(word));
        expand(&mut product, &lists.v, |raw, word| raw.v = Some(word));
        expand(&mut product, &lists.speculation, |raw, word| raw.speculation = Some(word));
        expand(&mut product, &lists.flash_attention, |raw, word| raw.flash_attention = Some(word));
        expand(&mut product, &lists.draft, |raw, word| raw.draft = Some(word));
        for (name, values) in &lists.options {
            expand(&mut product, values, |raw, value| {
                raw.options.insert(name.clone(), value);
            });
        }
        product
    }

    /// A draft model and options of speculation are for the combinations that can use them.
    fn leave_out_what_means_nothing(&self, raw: &mut RawSetting) {
        let speculation = raw.speculation.as_ref().map_or("off", |word| word.get_ref().as_str());
        let drafts = self.takes_draft(speculation);
        let table = self.engine.card().options;
        raw.options.retain(|name, _| {
            let option = table.iter().find(|option| option.name == name.get_ref());
            option.is_none_or(|option| option.applies(speculation, drafts))
        });
        if !drafts {
            raw.draft = None;
        }
    }

    /// A setting in every quant of the list; `all` stands for those that its model offers.
    fn with_weights(&self, raw: RawSetting, words: &[Spanned<String>]) -> Vec<RawSetting> {
        if words.is_empty() {
            return vec![raw];
        }
        let quants =
            words.iter().flat_map(|word| match (word.get_ref().as_str(), self.model(raw.model.as_ref())) {
                (ALL, Ok(model)) => {
                    model.offered().map(|quant| Spanned::new(word.span(), quant.to_owned())).collect()
                }
                _ => vec![word.clone()],
            });
        quants.map(|quant| RawSetting { weights: Some(quant), ..raw.clone() }).collect()
    }

    fn pattern(&self, raw: &Spanned<RawSetting>) -> Result<Pattern> {
        let setting = raw.get_ref();
        self.checker.not_from_a_pack(setting)?;
        if !setting.sampling.said().is_empty() {
            let message = "`sampling` in an exclusion: a matrix has one sampling for all that it makes";
            return Err(self.checker.error(raw.span(), message, "leave `sampling` out here"));
        }
        let text = |word: &Option<Spanned<String>>| word.as_ref().map(|word| word.get_ref().clone());
        let kv = setting.kv.as_ref().map(|kv| self.both(kv)).transpose()?;
        let pattern = Pattern {
            model: text(&setting.model),
            weights: text(&setting.weights),
            k: kv.as_ref().map(|(k, _)| k.clone()).or(text(&setting.k)),
            v: kv.map(|(_, v)| v).or(text(&setting.v)),
            speculation: text(&setting.speculation),
            flash_attention: setting.flash_attention.as_ref().map(|fa| *fa.get_ref()),
            draft: setting.draft.as_ref().map(|word| self.draft(word)).transpose()?,
            options: self.options(&setting.options)?,
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
    flash_attention: Option<crate::record::suite::FlashAttention>,
    draft: Option<DraftModel>,
    options: BTreeMap<String, String>,
}

fn unplaced(name: &str, value: &str) -> (Spanned<String>, Spanned<Scalar>) {
    (Spanned::new(0..0, name.to_owned()), Spanned::new(0..0, Scalar(value.to_owned())))
}

impl Pattern {
    fn matches(&self, raw: &RawSetting, draft: Option<&DraftModel>) -> bool {
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
            && (self.draft.is_none() || self.draft.as_ref() == draft)
            && self.options.iter().all(|(name, wanted)| {
                let found = raw.options.iter().find(|(own, _)| own.get_ref() == name);
                found.is_some_and(|(_, value)| value.get_ref().0 == *wanted)
            })
    }
}
