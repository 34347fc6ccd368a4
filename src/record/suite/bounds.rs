//! What the numbers of a suite may be: the same for a suite file and for the suite in a journal's header.

use std::collections::HashSet;
use std::hash::Hash;
use std::ops::RangeInclusive;

use super::{Gate, LoadSearch, LoadSpec, Sampling, SearchOver, Setting, Suite, TaskSpec, Window};
use crate::record::filter::Filter;

/// How often every cell is visited.
pub(crate) const ROUNDS: RangeInclusive<u32> = 1..=100;
/// Non-inferiority margin (points of the 0..1 scale).
pub(crate) const MARGIN: RangeInclusive<f64> = 0.0..=0.5;
/// Longest time to tell somebody how a run ended (s).
pub(crate) const NOTIFY_S: RangeInclusive<f64> = 0.1..=3600.0;
/// Confidence of intervals.
pub(crate) const CONFIDENCE: RangeInclusive<f64> = 0.5..=0.999;
/// Bootstrap draws.
pub(crate) const DRAWS: RangeInclusive<u32> = 100..=1_000_000;
/// Context length (tokens).
pub(crate) const CONTEXT: RangeInclusive<u32> = 128..=4_194_304;
/// Cases of a task for each context length and arm.
pub(crate) const SAMPLES: RangeInclusive<u32> = 1..=100_000;
/// How often a case is asked.
pub(crate) const REPEATS: RangeInclusive<u32> = 1..=100;
/// Temperature of sampling.
pub(crate) const TEMPERATURE: RangeInclusive<f64> = 0.0..=10.0;
/// A share of probability.
pub(crate) const SHARE: RangeInclusive<f64> = 0.0..=1.0;
/// Penalty on tokens that the text has already, a factor.
pub(crate) const REPEAT_PENALTY: RangeInclusive<f64> = 0.1..=10.0;
/// Penalty on tokens that the text has already, taken from the logit; the range of OpenAI's interface.
pub(crate) const PRESENCE_PENALTY: RangeInclusive<f64> = -2.0..=2.0;
/// Limits of waiting (s).
pub(crate) const WAIT_S: RangeInclusive<f64> = 0.1..=86_400.0;
/// Limits of a gate, in its metric's unit.
pub(crate) const LIMIT: RangeInclusive<f64> = -1e15..=1e15;
/// Streams and slots of the load phase.
pub(crate) const STREAMS: RangeInclusive<u32> = 1..=1024;
/// Rates of the load phase (requests/s).
pub(crate) const RATE: RangeInclusive<f64> = 0.001..=1000.0;
/// How close a search for the highest load comes, a share of it.
pub(crate) const WITHIN: RangeInclusive<f64> = 0.01..=1.0;
/// Share of a step's requests that must keep the limits for it to hold.
pub(crate) const GOAL: RangeInclusive<f64> = 0.5..=1.0;
/// Tokens of a prompt of the load phase.
pub(crate) const PROMPT_TOKENS: RangeInclusive<u32> = 32..=4_194_304;
/// Tokens of a reply of the load phase.
pub(crate) const OUTPUT_TOKENS: RangeInclusive<u32> = 1..=65_536;

/// Entries of any list: settings, tasks, gates, steps. Far more than anybody runs, and few enough for every analysis.
const MOST: usize = 1_000;
/// Longest text (bytes): names, descriptions, arguments.
pub(crate) const LONGEST: usize = 65_536;
/// Trials of a run, the second visits of the reference among them.
const MOST_TRIALS: u64 = 100_000_000;

/// A number beyond its bounds, in words; `None` when it is within.
pub(crate) fn beyond<T: PartialOrd + std::fmt::Display>(
    what: &str,
    number: T,
    bounds: &RangeInclusive<T>,
) -> Option<String> {
    let (least, most) = (bounds.start(), bounds.end());
    (!bounds.contains(&number)).then(|| format!("{what} is {number}, it must be {least} to {most}"))
}

/// As [`beyond`], as an error.
pub(crate) fn within<T: PartialOrd + std::fmt::Display>(
    what: &str,
    number: T,
    bounds: &RangeInclusive<T>,
) -> Result<(), String> {
    beyond(what, number, bounds).map_or(Ok(()), Err)
}

/// Texts of bearable length.
pub(crate) fn texts<'t>(what: &str, texts: impl IntoIterator<Item = &'t str>) -> Result<(), String> {
    let long = texts.into_iter().find(|text| text.len() > LONGEST);
    long.map_or(Ok(()), |text| Err(format!("{what} has {} bytes, at most {LONGEST} are read", text.len())))
}

/// Lists of bearable length.
pub(crate) fn count(what: &str, length: usize) -> Result<(), String> {
    within(&format!("the number of {what}"), length, &(0..=MOST))
}

fn some(what: &str, length: usize) -> Result<(), String> {
    within(&format!("the number of {what}"), length, &(1..=MOST))
}

fn unlike<T: Hash + Eq>(what: &str, all: impl IntoIterator<Item = T>) -> Result<(), String> {
    let mut seen = HashSet::new();
    if all.into_iter().all(|one| seen.insert(one)) { Ok(()) } else { Err(format!("two {what} are alike")) }
}

impl Suite {
    /// Checks everything that a plan and the analysis rest on. A suite that was read from a file keeps all of it; one
    /// from a journal may have been changed or damaged.
    ///
    /// # Errors
    /// The first thing that cannot be, in words.
    pub fn check(&self) -> Result<(), String> {
        texts("a text of the suite", [self.name.as_str(), &self.description])?;
        within("rounds", self.rounds, &ROUNDS)?;
        within("margin", self.margin, &MARGIN)?;
        within("confidence", self.confidence, &CONFIDENCE)?;
        within("draws", self.draws, &DRAWS)?;
        some("context lengths", self.contexts.len())?;
        let possible = 1..=*CONTEXT.end();
        self.contexts.iter().try_for_each(|length| within("a context length", *length, &possible))?;
        unlike("context lengths", &self.contexts)?;
        count("objectives", self.objectives.len())?;
        self.check_engine()?;
        self.check_settings()?;
        self.check_pack()?;
        some("tasks", self.tasks.len())?;
        self.tasks.iter().try_for_each(|task| task.check(&self.contexts))?;
        unlike("tasks", self.tasks.iter().map(|task| &task.name))?;
        self.check_stopping()?;
        self.load.as_ref().map_or(Ok(()), |load| load.check(self))?;
        count("gates", self.gates.len())?;
        self.gates.iter().try_for_each(Gate::check)?;
        within("the number of trials", self.trials(), &(0..=MOST_TRIALS))
    }

    /// Trials of the whole matrix, the second visits of the reference among them.
    fn trials(&self) -> u64 {
        let of_task = |task: &TaskSpec| {
            task.contexts.len() as u64
                * u64::from(task.samples)
                * u64::from(task.repeats)
                * task.arms.len().max(1) as u64
        };
        self.tasks.iter().map(of_task).sum::<u64>() * (self.settings.len() as u64 + 1)
    }

    fn check_engine(&self) -> Result<(), String> {
        let engine = &self.engine;
        texts("a text of the engine", engine.args.iter().chain([&engine.name]).map(String::as_str))?;
        count("arguments", engine.args.len())?;
        within("start_timeout_s", engine.start_timeout_s, &WAIT_S)?;
        within("request_timeout_s", engine.request_timeout_s, &WAIT_S)?;
        within("idle_timeout_s", engine.idle_timeout_s, &WAIT_S)?;
        self.sampling.check()
    }

    fn check_settings(&self) -> Result<(), String> {
        count("models", self.models.len())?;
        let names = self.models.iter().map(|model| model.name.as_str());
        texts("the name of a model", names.clone())?;
        some("settings", self.settings.len())?;
        unlike("settings", self.settings.iter().map(|setting| &setting.label))?;
        let known: HashSet<&str> = names.collect();
        for Setting { label, model, options, extra_args, sampling, .. } in &self.settings {
            texts("the label of a setting", [label.as_str(), model])?;
            count("options of a setting", options.len() + extra_args.len())?;
            sampling.map_or(Ok(()), |sampling| sampling.check())?;
            if !known.is_empty() && !known.contains(model.as_str()) {
                return Err(format!("setting {label} is of a model that the suite does not have, {model}"));
            }
        }
        Ok(())
    }

    fn check_pack(&self) -> Result<(), String> {
        let Some(pack) = &self.pack else { return Ok(()) };
        texts(
            "a text of the pack",
            [&pack.run, &pack.started, &pack.setting, &pack.sha256].map(String::as_str),
        )?;
        count("engines of the pack", pack.engines.len())?;
        match self.settings.len() {
            1 => Err("its reference comes from a pack, and it has no other setting".to_owned()),
            _ => Ok(()),
        }
    }

    fn check_stopping(&self) -> Result<(), String> {
        let Some(stopping) = &self.stopping else { return Ok(()) };
        let budget_s = stopping.budget_s.map(|budget| within("budget_s", budget, &(1.0..=31_536_000.0)));
        budget_s.unwrap_or(Ok(()))?;
        within("budget_tokens", stopping.budget_tokens.unwrap_or(u64::MAX), &(1..=u64::MAX))
    }
}

impl TaskSpec {
    fn check(&self, contexts: &[u32]) -> Result<(), String> {
        let name = &self.name;
        texts("the name of a task", [name.as_str()])?;
        within(&format!("samples of {name}"), self.samples, &SAMPLES)?;
        within(&format!("questions of {name}"), self.questions, &SAMPLES)?;
        within(&format!("repeats of {name}"), self.repeats, &REPEATS)?;
        if self.window.is_some_and(|window| Window::new(window.low(), window.high()).is_none()) {
            return Err(format!("the window of {name} is no part of 0 to 1"));
        }
        if let Some(stray) = self.contexts.iter().find(|context| !contexts.contains(context)) {
            return Err(format!("{name} runs at {stray} tokens, which is no context length of the suite"));
        }
        unlike(&format!("context lengths of {name}"), &self.contexts)?;
        unlike(&format!("arms of {name}"), &self.arms)?;
        count(&format!("options of {name}"), self.options.len())
    }
}

impl Sampling {
    fn check(&self) -> Result<(), String> {
        within("temperature", self.temperature, &TEMPERATURE)?;
        within("top_p", self.top_p, &SHARE)?;
        within("min_p", self.min_p, &SHARE)?;
        within("repeat_penalty", self.repeat_penalty, &REPEAT_PENALTY)?;
        within("presence_penalty", self.presence_penalty, &PRESENCE_PENALTY)
    }
}

impl LoadSpec {
    fn check(&self, suite: &Suite) -> Result<(), String> {
        count("steps of the load phase", self.concurrency.len() + self.rates.len())?;
        count("lengths of the load phase", self.prompt_tokens.len() + self.output_tokens.len())?;
        within("slots", u32::from(self.slots), &STREAMS)?;
        self.concurrency.iter().try_for_each(|streams| within("concurrency", *streams, &STREAMS))?;
        unlike("numbers of streams", &self.concurrency)?;
        self.rates.iter().try_for_each(|rate| within("a rate", *rate, &RATE))?;
        self.prompt_tokens.iter().try_for_each(|n| within("prompt_tokens", *n, &PROMPT_TOKENS))?;
        self.output_tokens.iter().try_for_each(|n| within("output_tokens", *n, &OUTPUT_TOKENS))?;
        within("shared_prefix_tokens", self.shared_prefix_tokens, &(0..=*PROMPT_TOKENS.end()))?;
        within("requests", self.requests.unwrap_or(2), &(2..=100_000))?;
        within("duration_s", self.duration_s.unwrap_or(1.0), &(1.0..=86_400.0))?;
        within("max_in_flight", self.max_in_flight, &(1..=4096))?;
        within("warm_up_s", self.warm_up_s, &(0.0..=3600.0))?;
        self.search.map_or(Ok(()), |search| search.check())?;
        let limits = self.limits.unwrap_or_default();
        for limit in [limits.ttft_s, limits.itl_s, limits.e2e_s].into_iter().flatten() {
            within("a limit of the load phase", limit, &(0.000_1..=86_400.0))?;
        }
        let Some(quality) = &self.quality else { return Ok(()) };
        let task = suite.tasks.iter().find(|task| task.name == quality.task);
        let task = task.ok_or_else(|| format!("the load phase asks cases of {}", quality.task))?;
        within("samples of the load phase", quality.samples, &(1..=task.samples))
    }
}

impl LoadSearch {
    fn check(&self) -> Result<(), String> {
        let (least, most) = match self.over {
            SearchOver::Streams => (f64::from(*STREAMS.start()), f64::from(*STREAMS.end())),
            SearchOver::Rate => (*RATE.start(), *RATE.end()),
        };
        within("the lowest load of a search", self.from, &(least..=most))?;
        within("the highest load of a search", self.to, &(self.from..=most))?;
        within("the resolution of a search", self.within, &WITHIN)?;
        within("the goal of a search", self.goal, &GOAL)
    }
}

impl Gate {
    fn check(&self) -> Result<(), String> {
        for limit in [self.min, self.max].into_iter().flatten() {
            within("a gate's limit", limit, &LIMIT)?;
        }
        count("terms of a gate", self.cells.len())?;
        let filter = Filter::parse(&self.cells).map_err(|error| error.to_string())?;
        if filter.is_of_cells() { Ok(()) } else { Err("a gate names no cells".into()) }
    }
}
