//! Steps the options that make a task harder or easier until its score lies in the wanted range.

use std::collections::BTreeMap;

use crate::task::{Harder, Task, TaskOption};

/// Mean scores (0..1) at which a task tells settings apart: room for a loss, and for luck.
pub(super) const WANTED: (f64, f64) = (0.60, 0.90);

/// Steps a task at most.
const MAX_STEPS: usize = 8;

/// What was tried, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// Every tuned option with its value.
    pub(super) options: BTreeMap<String, u32>,
    /// Mean score (0..1).
    pub(super) score: f64,
}

/// One option with what is known about its values.
#[derive(Debug, Clone)]
struct Knob {
    option: TaskOption,
    harder: Harder,
    value: u32,
    /// A value that was too easy, and one that was too hard.
    easy: Option<u32>,
    hard: Option<u32>,
}

/// The search of one task: its options are turned one after another, in the order of its table.
#[derive(Debug, Clone)]
pub(super) struct Search {
    knobs: Vec<Knob>,
    turning: usize,
    pub(super) tried: Vec<Step>,
}

impl Search {
    /// Starts at the suite's own values.
    pub(super) fn new(task: &dyn Task, given: &BTreeMap<String, u32>) -> Self {
        Self::of(task.card().options, given)
    }

    fn of(options: &[TaskOption], given: &BTreeMap<String, u32>) -> Self {
        let knobs = options.iter().filter_map(|option| {
            let value = given.get(option.name).copied().unwrap_or(option.default);
            Some(Knob { option: *option, harder: option.difficulty?, value, easy: None, hard: None })
        });
        Self { knobs: knobs.collect(), turning: 0, tried: Vec::new() }
    }

    /// The tuned options as they are to be tried now.
    pub(super) fn options(&self) -> BTreeMap<String, u32> {
        self.knobs.iter().map(|knob| (knob.option.name.to_owned(), knob.value)).collect()
    }

    /// Takes the mean score of what [`Search::options`] says; whether there is something else to try.
    pub(super) fn learn(&mut self, score: f64) -> bool {
        self.tried.push(Step { options: self.options(), score });
        if in_range(score) || self.tried.len() >= MAX_STEPS {
            return false;
        }
        while let Some(knob) = self.knobs.get_mut(self.turning) {
            if knob.turn(score > WANTED.1) {
                return true;
            }
            // This option is at its end: leave it at its best and turn the next.
            self.settle();
            self.turning += 1;
        }
        false
    }

    fn settle(&mut self) {
        let Some(best) = self.best().map(|step| step.options.clone()) else { return };
        for knob in &mut self.knobs {
            knob.value = best.get(knob.option.name).copied().unwrap_or(knob.value);
        }
    }

    /// The step nearest to the range; of those in it, the one nearest to its middle.
    pub(super) fn best(&self) -> Option<&Step> {
        let middle = WANTED.0.midpoint(WANTED.1);
        let distance = |step: &Step| (step.score - middle).abs();
        self.tried.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))
    }
}

impl Knob {
    /// Sets the next value to try; `false` when there is none.
    fn turn(&mut self, too_easy: bool) -> bool {
        if too_easy {
            self.easy = Some(self.value);
        } else {
            self.hard = Some(self.value);
        }
        let next = match (self.easy, self.hard) {
            (Some(easy), Some(hard)) => easy.midpoint(hard),
            _ if too_easy == (self.harder == Harder::Larger) => {
                self.value.saturating_mul(2).max(1).min(self.option.max)
            }
            _ => (self.value / 2).max(self.option.min),
        };
        let known = [self.easy, self.hard].contains(&Some(next));
        if !known {
            self.value = next;
        }
        !known
    }
}

/// Whether a score is one that tells settings apart.
pub(super) fn in_range(score: f64) -> bool {
    (WANTED.0..=WANTED.1).contains(&score)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn option(
        name: &'static str,
        default: u32,
        min: u32,
        max: u32,
        difficulty: Option<Harder>,
    ) -> TaskOption {
        TaskOption { name, help: "", default, min, max, difficulty }
    }

    /// Searches with a made-up model; what was tried of the first option, and the best.
    fn search(options: &[TaskOption], score: impl Fn(&BTreeMap<String, u32>) -> f64) -> (usize, Step) {
        let mut search = Search::of(options, &BTreeMap::new());
        while search.learn(score(&search.options())) {}
        for step in &search.tried {
            for option in options {
                let value = step.options.get(option.name);
                assert!(value.is_none_or(|value| (option.min..=option.max).contains(value)), "{step:?}");
            }
        }
        (search.tried.len(), search.best().unwrap().clone())
    }

    #[test]
    fn too_easy_and_too_hard_are_both_mended() {
        // Falls from 1 at 0 to 0 at 200: 20 to 80 are in range.
        let linear = |options: &BTreeMap<String, u32>| (1.0 - f64::from(options["n"]) / 200.0).max(0.0);
        for start in [1, 7, 50, 170, 1000] {
            let options = [option("n", start, 1, 1000, Some(Harder::Larger))];
            let (steps, best) = search(&options, linear);
            assert!(in_range(best.score) && steps <= MAX_STEPS, "from {start}: {best:?}");
        }
        let options = [option("n", 500, 1, 1000, Some(Harder::Smaller))];
        let (_, best) = search(&options, |options| (f64::from(options["n"]) / 100.0).min(1.0));
        assert!(in_range(best.score), "{best:?}");
    }

    #[test]
    fn the_next_option_is_turned_when_the_first_is_at_its_end() {
        let options = [
            option("ignored", 9, 1, 100, None),
            option("a", 2, 1, 4, Some(Harder::Larger)),
            option("b", 1, 1, 64, Some(Harder::Larger)),
        ];
        let (_, best) = search(&options, |options| 1.0 - f64::from(options["a"] * options["b"]) / 100.0);
        assert!(in_range(best.score), "{best:?}");
        assert_eq!(best.options.len(), 2);
    }

    #[test]
    fn a_score_that_never_moves_ends_with_the_nearest() {
        let options = [option("n", 8, 4, 32, Some(Harder::Larger))];
        let (steps, best) = search(&options, |_| 1.0);
        assert!(steps <= 4);
        assert_eq!(best.score, 1.0);
        let (_, best) = search(&options, |options| if options["n"] > 9 { 0.0 } else { 1.0 });
        assert!(
            best.options["n"] == 9 || best.options["n"] == 8,
            "a cliff: its easy side is nearer: {best:?}"
        );
    }

    #[test]
    fn a_task_without_such_options_is_tried_once() {
        let mut search = Search::of(&[option("output_tokens", 9, 1, 100, None)], &BTreeMap::new());
        assert!(search.options().is_empty() && !search.learn(1.0));
        assert!(search.best().unwrap().options.is_empty());
    }
}
