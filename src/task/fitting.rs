//! Filling a token budget exactly, with at most two counts of a full-length prompt a case.
//!
//! Rendering and counting a long prompt is the dearest thing in making a case. So the number of units (sentences,
//! records) is estimated from what units cost, the whole prompt is counted once, and what is missing or too much
//! is found by counting only the few units concerned. A second count of the whole prompt verifies that. Only where
//! a tokenizer's counts do not add up (tokens that reach over the seam of two sentences) a third may be needed: the
//! budget holds in any case.

use super::TokenCounter;
use super::sizing::Fit;
use crate::error::Result;
use crate::record::{Message, Tool};

/// A case whose length is not decided yet.
pub(crate) trait Draft {
    /// The conversation with so many units.
    fn messages(&mut self, units: usize) -> Vec<Message>;

    /// Tools that are offered beside.
    fn tools(&self) -> &[Tool] {
        &[]
    }

    /// What the units `from..to` add to the text.
    fn piece(&mut self, from: usize, to: usize) -> Piece;
}

/// Text that units add, and what stands in front of it: tokens may reach over the seam.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The end of the text in front.
    pub(crate) lead: String,
    /// The units with their separators.
    pub(crate) added: String,
}

impl Piece {
    /// What the units `from..to` add behind the one in front of them.
    pub(crate) fn of(units: &[String], from: usize, to: usize, separator: &str) -> Self {
        let added = units[from..to].iter().flat_map(|unit| [separator, unit]).collect();
        Self { lead: units[from.saturating_sub(1)].clone(), added }
    }
}

/// A unit has at least so many tokens on average: a server that counts less would be asked for ever longer prompts.
const LEAST_UNIT: f64 = 0.5;
/// Rooms of at most so many tokens, or this share of the budget, are filled by counting units.
const NEAR_TOKENS: i64 = 1024;
const NEAR_SHARE: i64 = 16;
/// Units are sampled in so many places, so many in each.
const SAMPLES: usize = 4;
const SAMPLE_UNITS: usize = 64;
/// Steps of one walk; a tokenizer that needs more is counted as a whole again.
const STEPS: u32 = 24;
/// Units of a step before it is known what they cost.
const FIRST_STEP: i64 = 4;
/// Whole counts after which halving takes over (only tokenizers that are far from additive get there).
const HALVE_AFTER: u32 = 4;

/// Finds the largest number of units whose prompt stays within a budget.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fitter {
    /// Tokens that the prompt may have.
    budget: u32,
    /// Fewest units that make a case.
    min: usize,
    /// Most units that there are.
    max: usize,
    /// Units of the last case: cases of one task are alike.
    guess: usize,
    /// Tokens of one unit, as seen last.
    unit_tokens: Option<f64>,
}

impl Fitter {
    /// For prompts of `min..=max` units and at most `budget` tokens. More units than a prompt of that length can
    /// have are never tried.
    pub(crate) fn new(budget: u32, min: usize, max: usize) -> Self {
        let max = max.min((f64::from(budget) / LEAST_UNIT) as usize).max(min);
        Self { budget, min, max, guess: min, unit_tokens: None }
    }

    /// Tokens that the prompt may have.
    pub(crate) const fn budget(&self) -> u32 {
        self.budget
    }

    /// The next prompts may have so many tokens.
    pub(crate) const fn set_budget(&mut self, budget: u32) {
        self.budget = budget;
    }

    /// Fewest units that make a case.
    pub(crate) const fn min(&self) -> usize {
        self.min
    }

    /// Most units that there are.
    pub(crate) const fn max(&self) -> usize {
        self.max
    }

    /// The largest number of units that fits: so many fit, and one more does not (or there are no more).
    ///
    /// # Errors
    /// `Ok(None)` when not even the fewest units fit; an error when counting fails.
    pub(crate) fn fit(&mut self, draft: &mut dyn Draft, tokens: &dyn TokenCounter) -> Result<Option<Fit>> {
        let mut fits: Option<Fit> = None;
        let mut over: Option<usize> = None;
        let mut units = self.guess;
        for round in 1_u32.. {
            let messages = draft.messages(units);
            let probe = Fit { units, tokens: tokens.count_chat(&messages, draft.tools())? };
            if probe.tokens <= self.budget {
                fits = Some(probe);
            } else {
                over = Some(units);
            }
            match (fits, over) {
                (None, Some(bad)) if bad <= self.min => break,
                (Some(best), _) if best.units >= self.max => break,
                (Some(best), Some(bad)) if bad == best.units + 1 => break,
                _ => {}
            }
            let aim = self.aim(probe, draft, tokens)?;
            if aim == units && fits == Some(probe) {
                break;
            }
            let low = fits.map_or(self.min, |fit| fit.units + 1);
            let high = over.map_or(self.max, |bad| bad - 1);
            units = match (fits, over) {
                (Some(_), Some(_)) if round > HALVE_AFTER => low.midpoint(high),
                _ => aim.clamp(low, high),
            };
        }
        self.guess = fits.map_or(self.guess, |best| best.units);
        Ok(fits)
    }

    /// The number of units that should just fit, going by a count of the whole prompt.
    fn aim(&mut self, probe: Fit, draft: &mut dyn Draft, tokens: &dyn TokenCounter) -> Result<usize> {
        let near = NEAR_TOKENS.max(i64::from(self.budget) / NEAR_SHARE);
        if self.room(probe).abs() > near {
            return self.jump(probe, draft, tokens);
        }
        self.walk(probe, draft, tokens)
    }

    fn room(&self, probe: Fit) -> i64 {
        i64::from(self.budget) - i64::from(probe.tokens)
    }

    /// From far away: by the mean cost of units sampled between here and there.
    fn jump(&mut self, probe: Fit, draft: &mut dyn Draft, tokens: &dyn TokenCounter) -> Result<usize> {
        let mut target = match self.unit_tokens {
            None => self.moved(probe.units, SAMPLES as i64 * FIRST_STEP),
            Some(_) => self.moved(probe.units, self.step(self.room(probe))),
        };
        // Each sample says better where to take the next.
        for _ in 0..3 {
            let (from, to) = (probe.units.min(target), probe.units.max(target));
            self.sample(from, to, draft, tokens)?;
            target = self.moved(probe.units, self.step(self.room(probe)));
        }
        Ok(target)
    }

    /// `units` more or fewer, within what there is.
    fn moved(&self, units: usize, by: i64) -> usize {
        let by = isize::try_from(by).unwrap_or(isize::MAX);
        units.saturating_add_signed(by).clamp(self.min, self.max)
    }

    /// Learns the mean cost of the units `from..to` from some of them.
    fn sample(
        &mut self,
        from: usize,
        to: usize,
        draft: &mut dyn Draft,
        tokens: &dyn TokenCounter,
    ) -> Result<()> {
        let stride = (to - from) / SAMPLES;
        let length = (stride / 2).min(SAMPLE_UNITS);
        if length == 0 {
            return Ok(());
        }
        let mut cost = 0;
        for sample in 0..SAMPLES {
            let start = from + sample * stride + (stride - length) / 2;
            cost += added_tokens(start, start + length, draft, tokens)?;
        }
        self.learn(cost, SAMPLES * length);
        Ok(())
    }

    /// How many units should make up for so many tokens; a few, as long as nothing is known of units.
    fn step(&self, room: i64) -> i64 {
        match self.unit_tokens {
            Some(unit) => (room as f64 / unit).floor() as i64,
            None => FIRST_STEP * room.signum(),
        }
    }

    /// Notes what units cost. Some cost nothing, and a step must not become endless for that.
    fn learn(&mut self, cost: i64, units: usize) {
        let mean = cost as f64 / units as f64;
        let least = self.unit_tokens.map_or(LEAST_UNIT, |known| (known / 2.0).max(LEAST_UNIT));
        if cost > 0 || units >= FIRST_STEP as usize {
            self.unit_tokens = Some(mean.max(least));
        }
    }

    /// From nearby: counts the units between here and there.
    fn walk(&mut self, probe: Fit, draft: &mut dyn Draft, tokens: &dyn TokenCounter) -> Result<usize> {
        let mut at = probe.units;
        let mut room = self.room(probe);
        for _ in 0..STEPS {
            let step = self.step(room);
            // Where no whole unit should fit, the next one has the last word.
            let next = self.moved(at, if step == 0 { 1 } else { step });
            if next == at {
                break;
            }
            let cost = added_tokens(at.min(next), at.max(next), draft, tokens)?;
            if step == 0 && cost > room {
                break;
            }
            room += if next > at { -cost } else { cost };
            self.learn(cost, at.abs_diff(next));
            at = next;
        }
        Ok(at)
    }
}

/// Tokens that the units `from..to` add.
fn added_tokens(from: usize, to: usize, draft: &mut dyn Draft, tokens: &dyn TokenCounter) -> Result<i64> {
    let Piece { lead, added } = draft.piece(from, to);
    let without = i64::from(tokens.count_text(&lead)?);
    let with = i64::from(tokens.count_text(&(lead + &added))?);
    Ok((with - without).max(0))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::Error;
    use crate::task::testing::{WordCounter, params};
    use crate::task::{Task, find};

    /// Counts how often a text of about the full length is counted, as a whole or without its template.
    #[derive(Default)]
    struct Watch {
        counter: WordCounter,
        full: u32,
        calls: Cell<u32>,
        short: Cell<u32>,
    }

    impl Watch {
        fn seen(&self, tokens: usize) {
            let calls = if tokens > self.full as usize / 2 { &self.calls } else { &self.short };
            calls.set(calls.get() + 1);
        }
    }

    impl TokenCounter for Watch {
        fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
            let count = self.counter.count_chat(messages, tools)?;
            self.seen(count as usize);
            Ok(count)
        }

        fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
            let tokens = self.counter.tokenize(text)?;
            self.seen(tokens.len());
            Ok(tokens)
        }
    }

    const TASKS: [&str; 16] = [
        "retrieval/niah_single_1",
        "retrieval/niah_single_2",
        "retrieval/niah_single_3",
        "retrieval/niah_multikey_1",
        "retrieval/niah_multikey_2",
        "retrieval/niah_multikey_3",
        "retrieval/niah_multivalue",
        "retrieval/niah_multiquery",
        "retrieval/variable_tracking",
        "retrieval/common_words",
        "retrieval/frequent_words",
        "retrieval/confusable_keys",
        "retrieval/graph_walks",
        "retrieval/counting",
        "retrieval/ordinal_recall",
        "retrieval/same_asks",
    ];

    /// Makes cases and says how many tokens each leaves unused, and how many full-length counts they took.
    fn made(task: &dyn Task, context: u32, samples: u32, seed: u64) -> (Vec<u32>, u32) {
        let watch = Watch { full: context - task.max_tokens(&params(context, 1, None)), ..Watch::default() };
        let cases = task.cases(&params(context, samples, None), seed, &watch).unwrap();
        let left =
            cases.iter().map(|case| context.checked_sub(case.prompt_tokens + case.max_tokens).unwrap());
        (left.collect(), watch.calls.get())
    }

    #[test]
    fn every_length_takes_at_most_two_full_counts_a_case() {
        for name in TASKS {
            let task = find(name).unwrap();
            for (context, samples) in [(512, 8), (4096, 6), (32_768, 2), (131_072, 2)] {
                let mut before = 0;
                for samples in 1..=samples {
                    let (left, calls) = made(task, context, samples, 11);
                    assert!(
                        calls - before <= 2,
                        "{name} at {context}: {} for case {samples}",
                        calls - before
                    );
                    assert!(left.iter().all(|left| *left < 48), "{name} at {context}: {left:?} left");
                    before = calls;
                }
            }
        }
    }

    #[test]
    fn short_counts_stay_few() {
        for name in TASKS {
            let task = find(name).unwrap();
            let watch = Watch { full: 32_768, ..Watch::default() };
            task.cases(&params(32_768, 10, None), 3, &watch).unwrap();
            let short = watch.short.get();
            assert!(short <= 10 * 16, "{name}: {short} short counts for 10 cases");
        }
    }

    /// Numbers as units, a tokenizer that is not additive at all when `odd` is set.
    struct Numbers;

    impl Draft for Numbers {
        fn messages(&mut self, units: usize) -> Vec<Message> {
            vec![Message::user("x ".repeat(units))]
        }

        fn piece(&mut self, from: usize, to: usize) -> Piece {
            Piece { lead: String::new(), added: "x ".repeat(to - from) }
        }
    }

    /// Says what a prompt of so many units costs; pieces cost something else.
    struct Costs<F>(F, u32);

    impl<F: Fn(u32) -> u32> TokenCounter for Costs<F> {
        fn count_chat(&self, messages: &[Message], _: &[Tool]) -> Result<u32> {
            Ok((self.0)(messages[0].content.len() as u32 / 2))
        }

        fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
            Ok(vec![0; text.len() / 2 * self.1 as usize])
        }
    }

    #[test]
    fn the_largest_number_that_fits_is_found_whatever_pieces_seem_to_cost() {
        let cost = |units: u32| 57 + units * 23 + (units * 7919) % 5;
        for seeming in [1, 20, 23, 60] {
            for budget in (60..3000).step_by(7) {
                let found = Fitter::new(budget, 1, 10_000).fit(&mut Numbers, &Costs(cost, seeming)).unwrap();
                let best = (1..200).rev().find(|&units| cost(units) <= budget);
                let found = found.map(|fit| fit.units as u32);
                if seeming > 18 {
                    // Where a unit may seem dearer than it is, some room may be left: never too little.
                    assert!(found <= best && found.is_some() == best.is_some());
                    let left = found.map(|units| budget - cost(units));
                    assert!(left.is_none_or(|left| left < seeming.max(28)), "{left:?} left of {budget}");
                } else {
                    assert_eq!(found, best, "budget {budget}, seeming {seeming}");
                }
            }
        }
    }

    #[test]
    fn a_case_like_the_last_takes_one_count() {
        let mut fitter = Fitter::new(120_000, 1, 100_000);
        let costs = Costs(|units: u32| 60 + units * 21, 21);
        let first = fitter.fit(&mut Numbers, &costs).unwrap().unwrap();
        assert_eq!(first, Fit { units: 5711, tokens: 60 + 5711 * 21 });
        let counts = Cell::new(0);
        let costs = Costs(
            |units: u32| {
                counts.set(counts.get() + 1);
                63 + units * 21
            },
            21,
        );
        assert_eq!(fitter.fit(&mut Numbers, &costs).unwrap().unwrap().units, 5711);
        assert_eq!(counts.get(), 1);
    }

    #[test]
    fn nothing_fits_and_everything_fits() {
        let costs = Costs(|units: u32| 95 + units * 3, 3);
        assert_eq!(Fitter::new(100, 2, 50).fit(&mut Numbers, &costs).unwrap(), None);
        assert_eq!(Fitter::new(10_000, 2, 50).fit(&mut Numbers, &costs).unwrap().unwrap().units, 50);
    }

    struct Gone;

    impl TokenCounter for Gone {
        fn count_chat(&self, _: &[Message], _: &[Tool]) -> Result<u32> {
            Err(Error::runtime("gone"))
        }

        fn tokenize(&self, _: &str) -> Result<Vec<u32>> {
            Err(Error::runtime("gone"))
        }
    }

    #[test]
    fn a_failing_count_is_passed_on() {
        assert!(Fitter::new(100, 1, 10).fit(&mut Numbers, &Gone).is_err());
    }
}
