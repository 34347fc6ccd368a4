//! `[stopping]` and `[[gate]]`.

use toml::Spanned;

use super::super::checker::Checker;
use super::super::raw::{RawGate, RawNotify, RawStopping};
use super::super::scalar::Limit;
use crate::error::{Error, Result};
use crate::record::Objective;
use crate::record::filter::Filter;
use crate::record::secrets::secret_in_command;
use crate::record::suite::{
    Gate, GateMetric, Notify, Setting, Stopping, StoppingRule, Suite, TaskSpec, bounds,
};

/// What a setting can be the best in.
const GOALS: &[Objective] = &[Objective::Decode, Objective::Ttft, Objective::Memory, Objective::Energy];

impl Checker {
    pub(super) fn stopping(&self, raw: &Spanned<RawStopping>) -> Result<Stopping> {
        let stopping = raw.get_ref();
        if stopping.rule.is_none() && stopping.budget_tokens.is_none() && stopping.budget_s.is_none() {
            return Err(self
                .error(raw.span(), "[stopping] says nothing", "this table")
                .hint("give it rule = \"sequential\", \"racing\" or \"best\", budget_tokens or budget_s"));
        }
        if let Some(tokens) = stopping.budget_tokens.as_ref().filter(|tokens| tokens.get_ref().0 == 0) {
            return Err(self.error(tokens.span(), "budget_tokens is 0", "leave it out for no budget"));
        }
        self.of_best_alone(stopping)?;
        let budget_s = stopping.budget_s.as_ref();
        Ok(Stopping {
            rule: stopping.rule,
            goal: stopping.goal.as_ref().map(|goal| *goal.get_ref()),
            memory_bytes: stopping.memory.as_ref().map(|limit| limit.get_ref().value as u64),
            budget_tokens: stopping.budget_tokens.as_ref().map(|tokens| tokens.get_ref().0),
            budget_s: budget_s.map(|s| self.within_f64(s, 1.0, 31_536_000.0, "budget_s")).transpose()?,
        })
    }

    /// What only the rule `best` looks at.
    fn of_best_alone(&self, stopping: &RawStopping) -> Result<()> {
        let best = stopping.rule == Some(StoppingRule::Best);
        let named = stopping.goal.as_ref().map(Spanned::span).or(stopping.memory.as_ref().map(Spanned::span));
        if let Some(span) = named.filter(|_| !best) {
            return Err(self
                .error(span, "only the rule `best` looks for the best setting", "without that rule")
                .hint("write rule = \"best\", or leave this out"));
        }
        if let Some(goal) = stopping.goal.as_ref().filter(|goal| !GOALS.contains(goal.get_ref())) {
            let message = format!("{} is nothing to be the best in", goal.get_ref().name());
            return Err(self.error(goal.span(), message, "write decode, ttft, memory or energy"));
        }
        if let Some(limit) = stopping.memory.as_ref().filter(|limit| !limit.get_ref().is_memory) {
            return Err(self.error(limit.span(), "an amount of memory has a unit", "write \"24GiB\""));
        }
        if best && stopping.budget_tokens.is_some() {
            return Err(self
                .error(0..0, "the rule `best` has no budget of tokens", "")
                .hint("give it budget_s"));
        }
        Ok(())
    }

    /// The rule `best` looks for one setting for one context length, by the probability of answers.
    pub(super) fn fits_best(&self, raw: &Spanned<RawStopping>, suite: &Suite) -> Result<()> {
        if raw.get_ref().rule != Some(StoppingRule::Best) {
            return Ok(());
        }
        let what = match () {
            () if suite.contexts.len() != 1 => "one context length",
            () if !suite.scores_by_probability() => "tasks with score = \"probability\"",
            () if suite.load.is_some() => "no [load]",
            () if suite.engine.url.is_some() => "servers that it starts itself",
            () => return Ok(()),
        };
        let message = format!("the rule `best` needs {what}");
        Err(self.error(raw.span(), message, "this table").hint("rule = \"racing\" does without"))
    }

    /// Whom to tell: somebody at least, and no secret in the suite itself.
    pub(super) fn notify(&self, raw: &Spanned<RawNotify>) -> Result<Notify> {
        let notify = raw.get_ref();
        if notify.command.is_empty() && notify.webhook_env.is_none() {
            return Err(self
                .error(raw.span(), "[notify] tells nobody", "this table")
                .hint("give it command = [\"PROGRAM\", ..], or webhook_env = \"NAME\" of a variable with the address"));
        }
        if let Some(name) = &notify.webhook_env {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.get_ref().is_empty() || !name.get_ref().chars().all(plain) {
                // Not shown: it may be the address itself.
                return Err(Error::usage("notify.webhook_env is not the name of an environment variable")
                    .hint("name the variable that holds the address: addresses of webhooks are secrets"));
            }
        }
        if let Some(secret) = secret_in_command(&notify.command) {
            // Not shown, and the suite's text beside it neither.
            return Err(Error::usage(format!("notify.command holds a secret: {secret}"))
                .hint("a suite is passed on, and journals hold it: put the secret into an environment variable")
                .hint("the command is given the variables of kneepoint; a shell puts one in: [\"sh\", \"-c\", \"tell --token $NAME\"]"));
        }
        let timeout_s = self.inside(&notify.timeout_s, &bounds::NOTIFY_S, "notify.timeout_s")?;
        Ok(Notify {
            when: notify.when,
            command: notify.command.clone(),
            webhook_env: notify.webhook_env.as_ref().map(|name| name.get_ref().clone()),
            timeout_s,
        })
    }

    pub(super) fn gate(
        &self,
        raw: &Spanned<RawGate>,
        settings: &[Setting],
        tasks: &[TaskSpec],
        contexts: &[u32],
    ) -> Result<Gate> {
        let gate = raw.get_ref();
        let metric = gate.metric.name();
        if gate.min.is_none() && gate.max.is_none() && !gate.no_worse_than_reference {
            return Err(self
                .error(raw.span(), format!("the gate on {metric} has no limit"), "this gate")
                .hint("give it min, max or no_worse_than_reference = true"));
        }
        if gate.no_worse_than_reference && (gate.metric != GateMetric::Quality || gate.task.is_some()) {
            return Err(self
                .error(raw.span(), format!("no verdict on {metric} exists"), "this gate")
                .hint("no_worse_than_reference is for metric = \"quality\" without a task: use min or max"));
        }
        Ok(Gate {
            metric: gate.metric,
            task: gate.task.as_ref().map(|task| self.gate_task(gate.metric, task, tasks)).transpose()?,
            cells: self.gate_cells(raw, settings, contexts)?,
            min: gate.min.as_ref().map(|min| self.limit(gate.metric, min, "min")).transpose()?,
            max: gate.max.as_ref().map(|max| self.limit(gate.metric, max, "max")).transpose()?,
            no_worse_than_reference: gate.no_worse_than_reference,
            strict: gate.strict,
        })
    }

    /// An amount of memory is no limit of anything else.
    fn limit(&self, metric: GateMetric, limit: &Spanned<Limit>, what: &str) -> Result<f64> {
        if limit.get_ref().is_memory && metric != GateMetric::Memory {
            let message = format!("{what} of {} is an amount of memory", metric.name());
            return Err(self.error(limit.span(), message, "write a number"));
        }
        self.inside(&Spanned::new(limit.span(), limit.get_ref().value), &bounds::LIMIT, what)
    }

    fn gate_task(&self, metric: GateMetric, task: &Spanned<String>, tasks: &[TaskSpec]) -> Result<String> {
        if metric != GateMetric::Quality {
            let message = format!("a gate on the {} of one task", metric.name());
            return Err(self.error(task.span(), message, "only quality is known by task"));
        }
        if !tasks.iter().any(|spec| spec.name == *task.get_ref()) {
            return Err(self.unknown(
                task,
                "task of this suite",
                tasks.iter().map(|spec| spec.name.as_str()),
            ));
        }
        Ok(task.get_ref().clone())
    }

    /// Every term must be readable, and all of them together leave a cell.
    fn gate_cells(
        &self,
        raw: &Spanned<RawGate>,
        settings: &[Setting],
        contexts: &[u32],
    ) -> Result<Vec<String>> {
        let terms: Vec<String> = raw.get_ref().cells.iter().map(|term| term.get_ref().clone()).collect();
        for term in &raw.get_ref().cells {
            let readable = Filter::parse(std::slice::from_ref(term.get_ref()));
            if !readable.is_ok_and(|filter| filter.is_of_cells()) {
                let message = format!("`{}` names no cells", term.get_ref());
                return Err(self
                    .error(term.span(), message, "not a term")
                    .hint("write setting=PATTERN or context=TOKENS, with * for anything"));
            }
        }
        let filter = Filter::parse(&terms)?;
        let kept = |setting: &Setting| contexts.iter().any(|c| filter.keeps_cell(&setting.label, *c));
        if !settings.iter().any(kept) {
            let labels: Vec<&str> = settings.iter().map(|setting| setting.label.as_str()).collect();
            return Err(self
                .error(raw.span(), "the gate is about no cell of this suite", "this gate")
                .hint(format!("the settings are: {}", labels.join(", "))));
        }
        Ok(terms)
    }
}
