//! `repeats`: how often each case is asked.

use toml::Spanned;

use super::super::checker::Checker;
use super::packed::NamedPack;
use crate::error::Result;
use crate::record::Scoring;
use crate::record::suite::{Sampling, Setting, TaskSpec, bounds};
use crate::task;

impl Checker {
    /// Says of every task how often its cases are asked: those without a score of their own once. Beside a pack that is what the
    /// pack was asked, unless the suite says otherwise.
    pub(super) fn repeat(
        &self,
        repeats: &Spanned<u32>,
        pack: Option<&NamedPack>,
        tasks: &mut [TaskSpec],
    ) -> Result<()> {
        let said = self.inside(repeats, &bounds::REPEATS, "repeats")?;
        for spec in tasks.iter_mut() {
            let of_pack =
                pack.filter(|_| repeats.span().is_empty()).map(|pack| pack.suite().repeats_of(&spec.name));
            let can = task::find(&spec.name).is_some_and(can_be_repeated);
            spec.repeats = of_pack.unwrap_or(if can { said } else { 1 });
        }
        if said > 1 && tasks.iter().all(|spec| spec.repeats == 1) {
            let message =
                "no task of the suite has a score of its own: there is nothing to ask several times";
            return Err(self.error(repeats.span(), message, "leave this out"));
        }
        Ok(())
    }

    /// Whether cases that are asked several times can have several answers.
    pub(super) fn check_repeats(
        &self,
        repeats: &Spanned<u32>,
        tasks: &[TaskSpec],
        (settings, sampling): (&[Setting], Sampling),
    ) -> Result<()> {
        let Some(times) = tasks.iter().map(|spec| spec.repeats).max().filter(|times| *times > 1) else {
            return Ok(());
        };
        if tasks.iter().any(|spec| spec.score == Scoring::Probability) {
            let message = format!(
                "repeats = {times} beside score = \"probability\": nothing is drawn there, so an answer is as probable every time"
            );
            return Err(self.error(repeats.span(), message, "leave this out, or choose score = \"match\""));
        }
        let greedy = settings.iter().find(|setting| setting.sampling.unwrap_or(sampling).is_greedy());
        let Some(greedy) = greedy else { return Ok(()) };
        let how = match greedy.sampling.unwrap_or(sampling).temperature > 0.0 {
            true => "top_k 1",
            false => "temperature 0",
        };
        let message = format!(
            "repeats = {times} at {how} ({}): the most probable token is always taken, so every reply to a case would be the same",
            greedy.label
        );
        Err(self
            .error(repeats.span(), message, "this needs a temperature above 0")
            .hint("say how to sample: [sampling] temperature = 0.7, or what the model's publisher recommends")
            .hint("or leave `repeats` out"))
    }
}

/// A task with a score of its own, which is about what the model says and not about the server's cache.
fn can_be_repeated(task: &dyn task::Task) -> bool {
    let card = task.card();
    card.weight != task::Weight::Comparative && !card.needs.watches_cache
}
