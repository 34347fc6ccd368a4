//! Evidence that may be looked at after every round: E-values and confidence sequences by betting.
//!
//! A gambler bets on every paired difference d (-1..1) that its mean is not `m`: the capital is multiplied by
//! 1 + l (d - m). If the mean is `m` nothing is won on average, whatever the bet l, so the capital exceeds 1/a with
//! probability at most a, at any time and however one decides to stop (Ville 1939). The bet is not chosen: the
//! capital is the average over all bets, which is again such a game.
//!
//! Several tasks in one endpoint: with one case of every task in each step, the product over the tasks wins at
//! most as much as if all had the mean over tasks (the geometric mean is at most the arithmetic one), so the cases
//! of all tasks can be pooled as long as every task brings equally many.

use statrs::function::gamma::ln_gamma;

use super::Interval;

/// Bets that the capital is averaged over; an average over any fixed set of bets keeps the guarantee.
const BETS: u32 = 64;

/// The E-value against "as many gains as losses", from discordant pairs: at or above 1/a it refutes at level a,
/// whenever one looks. Eight flips one way suffice at 5%.
///
/// Formula: 2^(b+c) b! c! / (b+c+1)!, the average capital over all bets of 1 + l d, l uniform on -1..1; the Bayes
/// factor of a uniform prior on the share of gains (Jeffreys 1935), an E-value by Ville's inequality.
pub fn flip_e_value(gains: u32, losses: u32) -> f64 {
    flips(f64::from(gains), f64::from(losses))
}

/// The same for expected numbers of flips.
fn flips(b: f64, c: f64) -> f64 {
    let ln = (b + c) * std::f64::consts::LN_2 + ln_gamma(b + 1.0) + ln_gamma(c + 1.0) - ln_gamma(b + c + 2.0);
    ln.exp()
}

/// Paired differences (-1..1), equal ones counted together: the order of the cases does not matter here.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Differences {
    /// Value and how often, in ascending order.
    counted: Vec<(f64, f64)>,
}

impl Differences {
    /// From the differences in any order; those outside -1..1 are taken as -1 or 1.
    pub fn new(differences: impl IntoIterator<Item = f64>) -> Self {
        let mut all: Vec<f64> = differences.into_iter().map(|d| d.clamp(-1.0, 1.0)).collect();
        all.sort_by(f64::total_cmp);
        let mut counted: Vec<(f64, f64)> = Vec::new();
        for value in all {
            match counted.last_mut() {
                Some((last, count)) if *last == value => *count += 1.0,
                _ => counted.push((value, 1.0)),
            }
        }
        Self { counted }
    }

    /// What so many differences in all (at least those that there are) would be, if the further ones are like these, each
    /// off by `shift`. Their numbers need not be whole.
    pub fn continued(&self, total: usize, shift: f64) -> Self {
        let further = total.saturating_sub(self.len()) as f64 / self.len().max(1) as f64;
        let mut counted = self.counted.clone();
        if shift == 0.0 {
            counted.iter_mut().for_each(|(_, count)| *count *= 1.0 + further);
        } else if further > 0.0 {
            let shifted =
                self.counted.iter().map(|(value, count)| ((value + shift).clamp(-1.0, 1.0), count * further));
            counted.extend(shifted);
        }
        Self { counted }
    }

    /// Standard error of the mean; `None` for fewer than two differences.
    pub fn standard_error(&self) -> Option<f64> {
        let (mean, n) = (self.mean()?, self.len() as f64);
        let squares: f64 = self.counted.iter().map(|(value, count)| count * (value - mean).powi(2)).sum();
        (n > 1.0).then(|| (squares / (n - 1.0) / n).sqrt())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.counted.iter().map(|(_, count)| count).sum::<f64>().round() as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counted.is_empty()
    }

    /// The mean; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        let sum: f64 = self.counted.iter().map(|(value, count)| value * count).sum();
        (!self.is_empty()).then(|| sum / self.len() as f64)
    }

    /// The E-value against a mean of zero: [`flip_e_value`] where every difference is -1, 0 or 1, the same average
    /// over bets else.
    pub fn e_value(&self) -> f64 {
        let count = |value: f64| self.counted.iter().find(|(v, _)| *v == value).map_or(0.0, |(_, n)| *n);
        if self.counted.iter().all(|(value, _)| value.fract() == 0.0) {
            return flips(count(1.0), count(-1.0));
        }
        f64::midpoint(self.ln_capital(0.0, 1.0).exp(), self.ln_capital(0.0, -1.0).exp())
    }

    /// Interval of the mean that holds with this confidence after every round at once: the means that neither
    /// the bets upwards nor those downwards refute, each at half the level. `None` without any difference.
    ///
    /// Formula: hedged capital of Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables
    /// by betting", section 4, with the mixture over constant bets in place of their predictable ones.
    pub fn confidence_sequence(&self, confidence: f64) -> Option<Interval> {
        let mean = self.mean()?;
        let end = |direction: f64| {
            let (mut inside, mut outside) = (mean, -direction);
            for _ in 0..40 {
                let middle = f64::midpoint(inside, outside);
                if self.refutes(middle, direction, confidence) { outside = middle } else { inside = middle }
            }
            // The outer end of the last step: never shorter than what was computed.
            outside
        };
        Some((end(1.0), end(-1.0)))
    }

    /// Whether bets that the mean lies above (`direction` 1) or below (-1) `mean` have won enough.
    fn refutes(&self, mean: f64, direction: f64, confidence: f64) -> bool {
        self.ln_capital(mean, direction) >= (2.0 / (1.0 - confidence)).ln()
    }

    /// Log of the capital of bets that the mean lies above (`direction` 1) or below (-1) `mean`, averaged.
    fn ln_capital(&self, mean: f64, direction: f64) -> f64 {
        // The largest bet that cannot lose more than everything.
        let largest = 1.0 / (1.0 + direction * mean).max(f64::MIN_POSITIVE);
        let of_bet = |number: u32| {
            let bet = direction * largest * (f64::from(number) + 0.5) / f64::from(BETS);
            self.counted.iter().map(|(value, count)| count * (bet * (value - mean)).ln_1p()).sum::<f64>()
        };
        let capitals: Vec<f64> = (0..BETS).map(of_bet).collect();
        let most = capitals.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + (capitals.iter().map(|ln| (ln - most).exp()).sum::<f64>() / f64::from(BETS)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{close, rng};
    use super::*;
    use rand::Rng;

    #[test]
    fn e_values_of_flips_agree_with_scipy() {
        // python3: 2**(b+c) * scipy.special.beta(b + 1, c + 1)
        close(flip_e_value(0, 8), 28.444_444_444_444_443, 1e-9);
        close(flip_e_value(8, 0), 28.444_444_444_444_443, 1e-9);
        close(flip_e_value(3, 20), 197.360_436_664_784_5, 1e-9);
        close(flip_e_value(0, 0), 1.0, 1e-12);
        assert!(flip_e_value(0, 7) < 20.0, "eight flips one way, not seven");
    }

    #[test]
    fn further_differences_are_like_those_that_there_are() {
        let of = |losses: usize, gains: usize, ties: usize| {
            let values = [(-1.0, losses), (1.0, gains), (0.0, ties)];
            Differences::new(values.iter().flat_map(|(value, count)| std::iter::repeat_n(*value, *count)))
        };
        let (few, many) = (of(3, 1, 20), of(9, 3, 60));
        let continued = few.continued(72, 0.0);
        assert_eq!(continued.len(), 72);
        close(continued.e_value(), many.e_value(), 1e-9);
        assert_eq!(few.continued(10, 0.5), few, "what is there stays");
        let lucky = few.continued(72, 0.1).mean().unwrap();
        // A gain cannot be more than whole, a loss becomes a smaller one.
        assert!(lucky > few.mean().unwrap() && lucky < few.mean().unwrap() + 0.1, "{lucky}");
        close(few.standard_error().unwrap(), (0.159_722_2_f64 / 23.0).sqrt(), 1e-6);
    }

    #[test]
    fn the_average_over_bets_is_the_closed_form() {
        // 12 losses, 3 gains, 40 ties; one difference off the grid by nearly nothing takes the other path.
        let mut values = vec![-1.0; 12];
        values.extend([1.0; 3]);
        values.extend([0.0; 40]);
        let closed = Differences::new(values.clone()).e_value();
        values[54] = 1e-12;
        let averaged = Differences::new(values).e_value();
        close(averaged / closed, 1.0, 0.01);
    }

    #[test]
    fn sequences_narrow_with_the_items_and_hold_the_mean() {
        let interval = |n: usize| {
            let values = (0..n).map(|i| if i % 10 == 0 { -1.0 } else { 0.0 });
            Differences::new(values).confidence_sequence(0.95).unwrap()
        };
        let (few, many) = (interval(50), interval(2000));
        assert!(few.0 < many.0 && many.1 < few.1, "{few:?} {many:?}");
        assert!(many.0 < -0.1 && -0.1 < many.1 && many.1 < -0.07, "{many:?}");
        assert_eq!(Differences::new([]).confidence_sequence(0.95), None);
    }

    #[test]
    fn so_many_equal_pairs_show_a_margin() {
        let low = |n: usize| Differences::new(vec![0.0; n]).confidence_sequence(0.95).unwrap().0;
        // Tango's interval, looked at once, needs 189 pairs for 2 points and 73 for 5.
        assert!(low(240) < -0.02 && low(280) > -0.02, "{} {}", low(240), low(280));
        assert!(low(90) < -0.05 && low(115) > -0.05, "{} {}", low(90), low(115));
    }

    #[test]
    fn all_one_way_ends_at_the_edge() {
        let (low, high) = Differences::new(vec![1.0; 30]).confidence_sequence(0.95).unwrap();
        assert!(low > 0.5 && low < 1.0 && high == 1.0, "{low} {high}");
    }

    /// Looks after every 15 cases, eight times; counts runs in which the truth was ever refuted.
    fn ever_wrong(name: &str, truth: f64, draw: impl Fn(f64) -> f64) -> u32 {
        let mut rng = rng(21, name);
        let mut wrong = 0;
        for _ in 0..400 {
            let mut values = Vec::new();
            let mut refuted = false;
            for _ in 0..8 {
                values.extend((0..15).map(|_| draw(f64::from(rng.next_u32()) / 4_294_967_296.0)));
                let differences = Differences::new(values.iter().copied());
                refuted |= [1.0, -1.0].iter().any(|side| differences.refutes(truth, *side, 0.95));
                refuted |= truth == 0.0 && differences.e_value() >= 20.0;
            }
            wrong += u32::from(refuted);
        }
        wrong
    }

    #[test]
    fn looking_after_every_round_keeps_the_level() {
        let flips = |loss: f64, gain: f64| {
            move |u: f64| {
                if u < loss {
                    -1.0
                } else if u < loss + gain {
                    1.0
                } else {
                    0.0
                }
            }
        };
        // At most 5% each for interval and E-value: 40 of 400 together, and three standard errors.
        for (name, loss, gain) in [("null", 0.1, 0.1), ("often", 0.4, 0.4), ("loss", 0.15, 0.05)] {
            let wrong = ever_wrong(name, gain - loss, flips(loss, gain));
            assert!(wrong <= 58, "{name}: {wrong} of 400");
        }
    }
}
