//! `[load]`.

use std::ops::RangeInclusive;

use toml::Spanned;

use super::super::checker::Checker;
use crate::error::Result;
use crate::record::Arm;
use crate::record::suite::{LoadLimits, LoadQuality, LoadSearch, LoadSpec, SearchOver, TaskSpec, bounds};
use crate::suite::raw::loadtest::{OneOrMany, RawLoad, RawLoadLimits, RawLoadQuality};
use crate::task::{self, Weight};

/// Slots of a server where only rates are asked for.
const SLOTS: u32 = 4;
/// Prompts that could not be fitted by a tokenizer come out at most so much longer than asked (share and tokens).
const SLACK: f64 = 1.1;
const SLACK_TOKENS: u32 = 32;

impl Checker {
    pub(super) fn load(
        &self,
        raw: &Spanned<RawLoad>,
        tasks: &[TaskSpec],
        contexts: &[u32],
    ) -> Result<LoadSpec> {
        let load = raw.get_ref();
        let concurrency = self.streams(&load.concurrency)?;
        let rates = self.rates(&load.rates)?;
        let search = load.search.as_ref().map(|search| self.load_search(search, load)).transpose()?;
        if concurrency.is_empty() && rates.is_empty() && search.is_none() {
            return Err(self
                .error(
                    raw.span(),
                    "[load] says neither how many streams nor how many requests a second",
                    "here",
                )
                .hint(
                    "give it concurrency = [1, 2, 4, 8], or rates = [0.5, 1.0], or a table [load.search]",
                ));
        }
        if load.requests.is_none() && load.duration_s.is_none() {
            return Err(self.error(raw.span(), "[load] does not say how long a step is", "here").hint(
                "give it requests = 100 (the fewest that have a 99th percentile), or duration_s = 60",
            ));
        }
        let streams = match search {
            Some(LoadSearch { over: SearchOver::Streams, to, .. }) => Some(to as u32),
            _ => concurrency.iter().copied().max(),
        };
        let slots = match &load.slots {
            Some(slots) => self.inside(slots, &bounds::STREAMS, "slots")?,
            None => streams.unwrap_or(SLOTS),
        };
        // An open loop is searched with so many under way as the server works on.
        let crowd = streams.unwrap_or(if search.is_some() { slots } else { 1 });
        let quality = load.quality.as_ref().map(|quality| self.load_quality(quality, tasks, crowd));
        let quality = quality.transpose()?;
        let prompt_tokens = self.each(&load.prompt_tokens, &bounds::PROMPT_TOKENS, "prompt_tokens")?;
        let output_tokens = self.each(&load.output_tokens, &bounds::OUTPUT_TOKENS, "output_tokens")?;
        Ok(LoadSpec {
            context: self.load_context(raw, (&prompt_tokens, &output_tokens), quality.as_ref(), contexts)?,
            slots: u16::try_from(slots).unwrap_or(u16::MAX),
            requests: load.requests.as_ref().map(|n| self.within(n, 2, 100_000, "requests")).transpose()?,
            duration_s: load
                .duration_s
                .as_ref()
                .map(|s| self.within_f64(s, 1.0, 86_400.0, "duration_s"))
                .transpose()?,
            shared_prefix_tokens: self.shared_prefix(load, &prompt_tokens)?,
            max_in_flight: self.within(&load.max_in_flight, 1, 4096, "max_in_flight")?,
            warm_up_s: self.within_f64(&load.warm_up_s, 0.0, 3600.0, "warm_up_s")?,
            limits: load.limits.as_ref().map(|limits| self.load_limits(limits)).transpose()?,
            concurrency,
            rates,
            search,
            prompt_tokens,
            output_tokens,
            quality,
        })
    }

    fn streams(&self, raw: &[Spanned<u32>]) -> Result<Vec<u32>> {
        let mut all = Vec::new();
        for streams in raw {
            let number = self.inside(streams, &bounds::STREAMS, "concurrency (streams)")?;
            if all.contains(&number) {
                return Err(self.error(streams.span(), format!("{number} streams are named twice"), "again"));
            }
            all.push(number);
        }
        Ok(all)
    }

    fn rates(&self, raw: &[Spanned<f64>]) -> Result<Vec<f64>> {
        let mut all = Vec::new();
        for rate in raw {
            let number = self.inside(rate, &bounds::RATE, "rate (requests/s)")?;
            if all.contains(&number) {
                let message = format!("{number} requests/s are named twice");
                return Err(self.error(rate.span(), message, "again"));
            }
            all.push(number);
        }
        Ok(all)
    }

    fn each(&self, raw: &Spanned<OneOrMany>, bounds: &RangeInclusive<u32>, what: &str) -> Result<Vec<u32>> {
        let all = raw.get_ref().all();
        if all.is_empty() {
            return Err(self.error(raw.span(), format!("{what} is empty"), "name at least one number"));
        }
        all.iter().map(|&number| self.inside(&Spanned::new(raw.span(), number), bounds, what)).collect()
    }

    fn shared_prefix(&self, load: &RawLoad, prompt_tokens: &[u32]) -> Result<u32> {
        let Some(shared) = &load.shared_prefix_tokens else { return Ok(0) };
        let shortest = prompt_tokens.iter().copied().min().unwrap_or_default();
        // What is shared must leave room for what is not.
        self.tokens(shared, 0, shortest.saturating_sub(16), "shared_prefix_tokens")
    }

    fn load_limits(&self, raw: &Spanned<RawLoadLimits>) -> Result<LoadLimits> {
        let limits = raw.get_ref();
        let seconds = |value: &Option<Spanned<f64>>, what: &str| {
            value.as_ref().map(|value| self.within_f64(value, 0.000_1, 86_400.0, what)).transpose()
        };
        let checked = LoadLimits {
            ttft_s: seconds(&limits.ttft_s, "ttft_s")?,
            itl_s: seconds(&limits.itl_s, "itl_s")?,
            e2e_s: seconds(&limits.e2e_s, "e2e_s")?,
        };
        if checked == LoadLimits::default() {
            let label = "give it ttft_s, itl_s or e2e_s";
            return Err(self.error(raw.span(), "[load.limits] limits nothing", label));
        }
        Ok(checked)
    }

    /// The smallest context of the suite that holds every request, or the one that the suite names.
    fn load_context(
        &self,
        raw: &Spanned<RawLoad>,
        (prompt_tokens, output_tokens): (&[u32], &[u32]),
        quality: Option<&LoadQuality>,
        contexts: &[u32],
    ) -> Result<u32> {
        let most = |numbers: &[u32]| numbers.iter().copied().max().unwrap_or_default();
        let prompt = (f64::from(most(prompt_tokens)) * SLACK).ceil() as u32 + SLACK_TOKENS;
        let request = prompt.saturating_add(most(output_tokens));
        let needed = request.max(quality.map_or(0, |quality| quality.context));
        if let Some(named) = &raw.get_ref().context {
            let context = named.get_ref().0;
            if !contexts.contains(&context) {
                let message = format!("context {context} is not one of the suite's");
                return Err(self.error(named.span(), message, format!("the suite has {contexts:?}")));
            }
            if context < needed {
                let message = format!("context {context} does not hold a request of {needed} tokens");
                return Err(self
                    .error(named.span(), message, "too small")
                    .hint("prompt (10% and 32 tokens longer at most) and reply together must fit, and the cases of [load.quality]"));
            }
            return Ok(context);
        }
        contexts.iter().copied().find(|context| *context >= needed).ok_or_else(|| {
            let message = format!("no context of the suite holds a request of {needed} tokens");
            self.error(raw.span(), message, "here")
                .hint("add a longer one to `contexts`, or lower prompt_tokens or output_tokens")
        })
    }

    fn load_quality(
        &self,
        raw: &Spanned<RawLoadQuality>,
        tasks: &[TaskSpec],
        crowd: u32,
    ) -> Result<LoadQuality> {
        let quality = raw.get_ref();
        let spec = tasks.iter().find(|spec| spec.name == *quality.task.get_ref()).ok_or_else(|| {
            let names = tasks.iter().map(|spec| spec.name.as_str());
            self.unknown(&quality.task, "task of this suite", names)
        })?;
        if task::find(&spec.name).is_none_or(|task| task.card().weight == Weight::Comparative) {
            let message = format!("{} has no scores of its own", spec.name);
            return Err(self.error(quality.task.span(), message, "choose a task that has"));
        }
        if crowd < 2 {
            return Err(self
                .error(raw.span(), "quality under load without a load", "this table")
                .hint("add a number above 1 to `concurrency`, or search with more than one slot"));
        }
        Ok(LoadQuality {
            task: spec.name.clone(),
            samples: match &quality.samples {
                Some(samples) => {
                    self.within(samples, 1, spec.samples, "samples (the task's are the most)")?
                }
                None => spec.samples,
            },
            context: self.quality_context(quality, spec)?,
            arm: self.quality_arm(quality, spec)?,
        })
    }

    fn quality_context(&self, quality: &RawLoadQuality, spec: &TaskSpec) -> Result<u32> {
        match &quality.context {
            Some(context) if spec.contexts.contains(&context.get_ref().0) => Ok(context.get_ref().0),
            Some(context) => {
                let message = format!("{} does not run at {} tokens", spec.name, context.get_ref().0);
                Err(self.error(context.span(), message, format!("it runs at {:?}", spec.contexts)))
            }
            None => spec.contexts.first().copied().ok_or_else(|| {
                self.error(
                    quality.task.span(),
                    format!("{} runs at no context length", spec.name),
                    "this task",
                )
            }),
        }
    }

    fn quality_arm(&self, quality: &RawLoadQuality, spec: &TaskSpec) -> Result<Option<Arm>> {
        match &quality.arm {
            Some(arm) if spec.arms.contains(arm.get_ref()) => Ok(Some(*arm.get_ref())),
            Some(arm) => {
                let message = format!("{} does not run in arm {}", spec.name, arm.get_ref());
                let arms: Vec<&str> = spec.arms.iter().map(|arm| arm.name()).collect();
                let label = if arms.is_empty() { "it is no tool task".to_owned() } else { arms.join(", ") };
                Err(self.error(arm.span(), message, label))
            }
            None => Ok(spec.arms.first().copied()),
        }
    }
}
