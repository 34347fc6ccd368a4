//! Evidence of a mean whose units are means themselves (of the questions to one text, over tasks), which may be looked at
//! after every unit: a t-test that holds at any time.
//!
//! Betting on bounded numbers must allow for one unit in fifty that loses everything, whatever the others look like, so
//! it takes some hundred units to show a margin of five points. Means of a dozen probabilities are close to normal and vary
//! little, and a t statistic uses that. The price is the assumption: exact for normal units, and checked by simulation for
//! skewed and bounded ones with clusters.
//!
//! Formula: the Bayes factor of a normal prior on the effect size (mean over standard deviation, variance `g`) with the
//! right Haar prior on the scale, `(1 + n g)^(-1/2) [(1 + t^2/v) / (1 + t^2/(v (1 + n g)))]^((v + 1)/2)`, `v = n - 1` (Gönen,
//! Johnson, Lu and Westfall 2005). It is an E-value under optional stopping, whatever the scale (Hendriksen, de Heide and
//! Grünwald 2021); its inversion is a confidence sequence (Lai 1976; Wang and Ramdas 2025, "Anytime-valid t-tests and
//! confidence sequences for Gaussian means with unknown variance").

use statrs::distribution::{ContinuousCDF, StudentsT};

use super::Interval;

/// Variance of the effect sizes that are looked for: means about as large as the units' own scatter.
const G: f64 = 1.0;

/// Units (texts): how many, their mean, and how much they scatter. Their standard deviation has a floor: that of a few may be
/// small by luck.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StudentUnits {
    n: usize,
    mean: f64,
    /// Standard deviation, at least the floor; `None` for fewer than two units.
    deviation: Option<f64>,
}

impl StudentUnits {
    /// From the units' values in any order; the standard deviation counts as at least `floor`.
    pub fn new(mut units: Vec<f64>, floor: f64) -> Self {
        // A sum of the same numbers is the same to the bit.
        units.sort_by(f64::total_cmp);
        let n = units.len();
        let mean = units.iter().sum::<f64>() / n.max(1) as f64;
        let squares: f64 = units.iter().map(|unit| (unit - mean).powi(2)).sum();
        let deviation = (n > 1).then(|| (squares / (n - 1) as f64).sqrt().max(floor));
        Self { n, mean, deviation }
    }

    /// What so many units in all (at least those that there are) would be, if the further ones scatter as these do, about
    /// a mean that is off theirs by `shift`.
    pub fn continued(&self, total: usize, shift: f64) -> Self {
        let further = total.saturating_sub(self.n);
        let n = self.n + further;
        Self { n, mean: self.mean + shift * further as f64 / n.max(1) as f64, deviation: self.deviation }
    }

    /// How many units.
    pub fn len(&self) -> usize {
        self.n
    }

    /// Returns whether there are no units.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// The mean; `None` without units.
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then_some(self.mean)
    }

    /// Standard error of the mean, from the standard deviation of the units or its floor; `None` for fewer than two.
    pub fn standard_error(&self) -> Option<f64> {
        Some(self.deviation? / (self.n as f64).sqrt())
    }

    /// Student's interval of the mean, which holds for one look; `None` for fewer than two units.
    pub fn interval(&self, confidence: f64) -> Option<Interval> {
        let (mean, error) = self.mean().zip(self.standard_error())?;
        let reach = self.student()?.inverse_cdf(0.5 + confidence / 2.0) * error;
        Some((mean - reach, mean + reach))
    }

    /// P-value of Student's two-sided test of a mean of zero, for one look; 1 for fewer than two units.
    pub fn p_value(&self) -> f64 {
        let Some((mean, error)) = self.mean().zip(self.standard_error()) else { return 1.0 };
        match self.student() {
            Some(student) if error > 0.0 => 2.0 * student.cdf(-(mean / error).abs()),
            _ => f64::from(u8::from(mean == 0.0)),
        }
    }

    fn student(&self) -> Option<StudentsT> {
        StudentsT::new(0.0, 1.0, self.len() as f64 - 1.0).ok()
    }

    /// The E-value against a mean of zero: at or above 1/a it refutes at level a, whenever one looks. 1 for fewer than two
    /// units.
    pub fn e_value(&self) -> f64 {
        let Some((mean, error)) = self.mean().zip(self.standard_error()) else { return 1.0 };
        if error == 0.0 {
            return if mean == 0.0 { 1.0 } else { f64::MAX };
        }
        let (n, v) = (self.len() as f64, self.len() as f64 - 1.0);
        let t2 = (mean / error).powi(2);
        let widened = 1.0 + n * G;
        let ln = n / 2.0 * ((1.0 + t2 / v).ln() - (1.0 + t2 / (v * widened)).ln()) - 0.5 * widened.ln();
        ln.exp()
    }

    /// Interval of the mean that holds with this confidence after every unit at once; `None` while any mean is possible.
    pub fn confidence_sequence(&self, confidence: f64) -> Option<Interval> {
        let (mean, error) = self.mean().zip(self.standard_error())?;
        let reach = t_bound(self.len(), 1.0 - confidence)? * error;
        Some((mean - reach, mean + reach))
    }
}

/// The |t| of `n` units from which their mean is refuted at level `alpha`, whenever one looks; `None` where none is large
/// enough.
pub fn t_bound(n: usize, alpha: f64) -> Option<f64> {
    if n < 2 {
        return None;
    }
    let (n, v) = (n as f64, n as f64 - 1.0);
    let widened = 1.0 + n * G;
    let ratio = ((widened.sqrt() / alpha).ln() * 2.0 / n).exp();
    (ratio < widened).then(|| (v * (ratio - 1.0) / (1.0 - ratio / widened)).sqrt())
}

#[cfg(test)]
mod tests {
    use rand::Rng;
    use rand_chacha::ChaCha8Rng;

    use super::super::{close, normal_quantile, rng};
    use super::*;

    fn units(values: &[f64]) -> StudentUnits {
        StudentUnits::new(values.to_vec(), 0.0)
    }

    #[test]
    fn the_e_value_agrees_with_its_integral() {
        // python3: scipy.integrate.quad(lambda d: nct.pdf(t, n-1, d*sqrt(n)) * norm.pdf(d), -8, 8)[0] / t.pdf(t, n-1)
        // with n = 8 and t = 3.1.
        let mut values = [-1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0];
        let error = (8.0_f64 / 7.0).sqrt() / 8.0_f64.sqrt();
        values.iter_mut().for_each(|value| *value += 3.1 * error);
        close(units(&values).e_value(), 5.988_824_215, 1e-6);
    }

    #[test]
    fn the_interval_is_what_the_e_value_does_not_refute() {
        let values = [0.1, -0.2, 0.05, 0.3, -0.1, 0.0, 0.12, -0.04, 0.2];
        let (low, high) = units(&values).confidence_sequence(0.95).unwrap();
        for end in [low, high] {
            let shifted: Vec<f64> = values.iter().map(|value| value - end).collect();
            close(units(&shifted).e_value(), 20.0, 1e-6);
        }
        assert_eq!(units(&values[..4]).confidence_sequence(0.95), None, "four units cannot tell");
        assert!(units(&values[..5]).confidence_sequence(0.95).is_some());
    }

    #[test]
    fn units_that_are_all_alike_still_have_an_interval() {
        let alike = StudentUnits::new(vec![0.0; 8], 0.01);
        let (low, high) = alike.confidence_sequence(0.95).unwrap();
        assert!(low < -0.01 && low > -0.02 && high == -low, "{low} {high}");
        assert!(alike.e_value() < 1.0);
        assert_eq!((units(&[]).e_value(), units(&[0.3]).e_value()), (1.0, 1.0));
    }

    #[test]
    fn further_units_are_like_those_that_there_are() {
        let values = [0.1, -0.2, 0.05, 0.3];
        let twice: Vec<f64> = values.iter().chain(&values).copied().collect();
        let continued = units(&values).continued(8, 0.0);
        assert_eq!((continued.len(), continued.mean()), (8, units(&twice).mean()));
        close(units(&values).continued(8, 0.2).mean().unwrap(), 0.0625 + 0.1, 1e-12);
        assert_eq!(units(&values).continued(2, 0.2), units(&values), "what is there stays");
    }

    fn uniform(rng: &mut ChaCha8Rng) -> f64 {
        (f64::from(rng.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0)
    }

    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        normal_quantile(uniform(rng))
    }

    /// The mean difference of the questions to one text: what the text does to all of them (a share `icc` of the variance),
    /// and each for itself, as probabilities that move between 0 and 1. Its expectation is not zero: see [`truth`].
    fn text(rng: &mut ChaCha8Rng, icc: f64, questions: u32, shift: f64) -> f64 {
        let common = normal(rng);
        let logistic = |x: f64| 1.0 / (1.0 + (-x).exp());
        let of_question = |rng: &mut ChaCha8Rng| {
            let level = 1.5 * normal(rng);
            let moved = shift + 0.6 * (icc.sqrt() * common + (1.0 - icc).sqrt() * normal(rng));
            logistic(level + moved) - logistic(level)
        };
        (0..questions).map(|_| of_question(rng)).sum::<f64>() / f64::from(questions)
    }

    fn truth(icc: f64, shift: f64) -> f64 {
        let mut rng = rng(31, &format!("truth {icc} {shift}"));
        (0..20_000).map(|_| text(&mut rng, icc, 12, shift)).sum::<f64>() / 20_000.0
    }

    /// Looks after every text from the second to the fortieth.
    #[test]
    fn looking_after_every_text_keeps_the_level_with_clusters() {
        for (icc, shift) in [(0.0, 0.0), (0.2, 0.0), (0.5, 0.0), (0.2, -0.8), (0.5, -0.8)] {
            let truth = truth(icc, shift);
            let mut rng = rng(32, &format!("looks {icc} {shift}"));
            let (mut missed, mut called_worse) = (0, 0);
            for _ in 0..2000 {
                let mut values: Vec<f64> = Vec::new();
                let (mut wrong, mut worse) = (false, false);
                for _ in 0..40 {
                    values.push(text(&mut rng, icc, 12, shift) - truth);
                    let units = StudentUnits::new(values.clone(), 0.0);
                    let refuted = units.e_value() >= 20.0;
                    wrong |= refuted;
                    worse |= refuted && units.mean().is_some_and(|mean| mean < 0.0);
                }
                missed += u32::from(wrong);
                called_worse += u32::from(worse);
            }
            // 5% of 2,000 in all and 2.5% one way, and three standard errors.
            assert!(missed <= 129, "icc {icc}, shift {shift}: {missed} of 2000");
            assert!(called_worse <= 71, "icc {icc}, shift {shift}: {called_worse} of 2000");
        }
    }
}
