//! How many units (sentences, records) of a haystack fill a token budget.

use crate::error::{Error, Result};

/// The largest number of units that fits, and what it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fit {
    /// Units of haystack.
    pub(crate) units: usize,
    /// Tokens of the prompt with so many units.
    pub(crate) tokens: u32,
}

/// Counts after which halving replaces interpolation.
const HALVE_AFTER: u32 = 6;

/// Counts the tokens of the prompt with so many units.
type Count<'a> = &'a mut dyn FnMut(usize) -> Result<u32>;

/// Finds the largest number of units whose prompt stays within a budget. Counting goes to a server, so it
/// starts from the last case's answer (cases of one task are alike) and interpolates: two to four
/// counts a case instead of a dozen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizer {
    /// Tokens that the prompt may have.
    budget: u32,
    /// Fewest units that make a case.
    min: usize,
    /// Most units that there are.
    max: usize,
    /// Where to start looking.
    guess: usize,
    /// Tokens of one unit, as seen last.
    unit_tokens: Option<f64>,
}

impl Sizer {
    /// For prompts of `min..=max` units and at most `budget` tokens.
    pub(crate) fn new(budget: u32, min: usize, max: usize) -> Self {
        Self { budget, min, max, guess: min, unit_tokens: None }
    }

    /// The largest number of units that fits: so many fit, and one more does not (or there are no more).
    ///
    /// # Errors
    /// `Ok(None)` when not even the fewest units fit; an error when counting fails.
    pub(crate) fn fit(&mut self, count: Count<'_>) -> Result<Option<Fit>> {
        let mut fits: Option<Fit> = None;
        let mut over: Option<Fit> = None;
        let mut last: Option<Fit> = None;
        let mut units = self.guess;
        for probes in 1_u32.. {
            let probe = Fit { units, tokens: count(units)? };
            if probe.tokens <= self.budget {
                fits = Some(probe);
            } else {
                over = Some(probe);
            }
            match (fits, over) {
                (None, Some(bad)) if bad.units <= self.min => break,
                (Some(best), _) if best.units >= self.max => break,
                (Some(best), Some(bad)) if bad.units == best.units + 1 => break,
                _ => {}
            }
            self.learn(last, probe);
            last = Some(probe);
            let low = fits.map_or(self.min, |fit| fit.units + 1);
            let high = over.map_or(self.max, |fit| fit.units - 1);
            units = match (fits, over) {
                // Interpolation creeps where the cost is far from a straight line.
                (Some(_), Some(_)) if probes > HALVE_AFTER => low.midpoint(high),
                _ => self.aim(probe).clamp(low, high),
            };
        }
        self.guess = fits.map_or(self.guess, |best| best.units);
        Ok(fits)
    }

    /// Keeps the cost of a unit that two counts show.
    fn learn(&mut self, last: Option<Fit>, probe: Fit) {
        let Some(last) = last else { return };
        let units = probe.units as f64 - last.units as f64;
        let tokens = f64::from(probe.tokens) - f64::from(last.tokens);
        if tokens / units >= 1.0 {
            self.unit_tokens = Some(tokens / units);
        }
    }

    /// The number of units that should just fit, going by one count and the cost of a unit.
    fn aim(&self, probe: Fit) -> usize {
        let Some(unit_tokens) = self.unit_tokens else {
            return probe.units * 2 + 1;
        };
        let room = f64::from(self.budget) - f64::from(probe.tokens);
        let aim = probe.units as f64 + (room / unit_tokens).floor();
        aim.max(0.0) as usize
    }
}

/// The error for a context that cannot hold a case.
pub(crate) fn too_small(task: &str, context: u32, max_tokens: u32, needed: u32) -> Error {
    Error::usage(format!(
        "{task}: a context of {context} tokens is too small: the smallest prompt has {needed} tokens, and {max_tokens} \
         are kept for the reply"
    ))
    .hint(format!(
        "give the task contexts of at least {} tokens, or lower its `output_tokens`",
        needed.saturating_add(max_tokens)
    ))
}

/// The error for a context that the task has not enough material for.
pub(crate) fn too_large(task: &str, context: u32, most: u32) -> Error {
    Error::usage(format!(
        "{task}: a context of {context} tokens is too large: the longest prompt has {most} tokens"
    ))
    .hint("give the task smaller contexts")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fits `units` with a cost that jumps a little, and says how often it counted.
    fn fit(sizer: &mut Sizer, cost: impl Fn(usize) -> u32) -> (Option<Fit>, u32) {
        let mut calls = 0;
        let fit = sizer.fit(&mut |units| {
            calls += 1;
            Ok(cost(units))
        });
        (fit.unwrap(), calls)
    }

    #[test]
    fn the_largest_number_that_fits_is_found() {
        let cost = |units: usize| 57 + units as u32 * 23 + (units as u32 * 7919) % 5;
        for budget in 80..3000 {
            let (found, calls) = fit(&mut Sizer::new(budget, 1, 10_000), cost);
            let best = (1..200).rev().find(|&units| cost(units) <= budget);
            assert_eq!(found.map(|fit| fit.units), best, "budget {budget}");
            assert!(calls <= 16, "{calls} counts for {budget}");
        }
    }

    #[test]
    fn a_second_case_needs_few_counts() {
        let mut sizer = Sizer::new(120_000, 1, 100_000);
        fit(&mut sizer, |units| 60 + units as u32 * 21);
        let (found, calls) = fit(&mut sizer, |units| 63 + units as u32 * 21 + units as u32 / 40);
        assert!(found.unwrap().tokens <= 120_000);
        assert!(calls <= 5, "{calls}");
    }

    #[test]
    fn nothing_fits_and_everything_fits() {
        let (found, _) = fit(&mut Sizer::new(100, 2, 50), |units| 95 + units as u32 * 3);
        assert_eq!(found, None);
        let (found, _) = fit(&mut Sizer::new(10_000, 2, 50), |units| 95 + units as u32 * 3);
        assert_eq!(found.unwrap().units, 50);
    }

    #[test]
    fn a_tokenizer_that_is_not_additive_ends_too() {
        // Even numbers of units cost less than the odd ones before them.
        let cost = |units: usize| 10 * units as u32 + if units % 2 == 1 { 15 } else { 0 };
        for budget in 30..400 {
            let (found, _) = fit(&mut Sizer::new(budget, 1, 1000), cost);
            let found = found.unwrap();
            assert!(cost(found.units) <= budget && cost(found.units + 1) > budget);
        }
    }

    #[test]
    fn a_failing_count_is_passed_on() {
        let mut sizer = Sizer::new(100, 1, 10);
        assert!(sizer.fit(&mut |_| Err(Error::runtime("gone"))).is_err());
    }

    #[test]
    fn too_small_says_what_would_do() {
        let error = too_small("a/b", 128, 64, 100);
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert!(error.hints()[0].contains("164"));
    }
}
