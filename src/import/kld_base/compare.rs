//! A position of a base beside what a server lists of it.

use super::Row;

/// Probability (0..1) below which what is left over by a list is rounding.
const REST_FLOOR: f64 = 1e-6;

/// A position of a base beside what a server lists of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Compared {
    /// KL(base || served) over the listed tokens and one outcome for the rest (nat): a lower bound of the divergence.
    pub kld: f64,
    /// Probability that the base gives to the tokens that are not listed (0..1).
    pub unlisted: f64,
    /// Negative natural-log probability of the text's next token by the base.
    pub base_nll: f64,
    /// The same as served; of a token that is not listed, the least that it can be.
    pub nll: f64,
    /// Whether the text's next token is not listed.
    pub outside: bool,
    /// Whether both have the same most probable token.
    pub same_top: bool,
}

impl Row<'_> {
    /// Compares with a list, most probable first; `actual` is the token that comes next in the text. `None` where either names
    /// tokens beyond the base's vocabulary.
    ///
    /// Merging outcomes never raises a Kullback-Leibler divergence (data processing inequality), so one outcome for all the tokens that are not
    /// listed makes a lower bound.
    pub fn against(&self, listed: &[(u32, f32)], actual: u32) -> Option<Compared> {
        let (mut sum, mut base_listed, mut served_listed) = (0.0, 0.0, 0.0);
        let mut nll = None;
        for &(token, served) in listed {
            let (base, served) = (self.log_probability(token)?, f64::from(served));
            sum += base.exp() * (base - served);
            base_listed += base.exp();
            served_listed += served.exp();
            if token == actual {
                nll = Some(-served);
            }
        }
        let base_rest = (1.0 - base_listed).max(REST_FLOOR);
        let served_rest = (1.0 - served_listed).max(REST_FLOOR);
        let last = listed.last().map_or(1.0, |(_, log)| f64::from(*log).exp());
        Some(Compared {
            kld: (sum + base_rest * (base_rest / served_rest).ln()).max(0.0),
            unlisted: (1.0 - base_listed).clamp(0.0, 1.0),
            base_nll: -self.log_probability(actual)?,
            nll: nll.unwrap_or(-last.min(served_rest).ln()),
            outside: nll.is_none(),
            same_top: listed.first().is_some_and(|(token, _)| *token == self.top()),
        })
    }
}
