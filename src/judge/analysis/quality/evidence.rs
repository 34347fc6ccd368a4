//! Paired differences of two cells, whatever their scores are.

use super::interval::pooled;
use super::probability;
use crate::judge::stats::{ClusterSums, Differences, Interval, StudentUnits};
use crate::record::EvidenceUnit;
use crate::record::suite::Suite;

/// Paired differences as evidence that may be looked at any time.
pub(crate) enum Evidence {
    /// Of scores that are right or wrong, or graded: bets.
    Bets(Differences),
    /// Of probabilities: a t statistic of texts.
    Texts(StudentUnits),
}

impl Evidence {
    pub(crate) fn of(suite: &Suite, strata: &[ClusterSums]) -> Self {
        match probability::Rule::of(suite) {
            Some(rule) => Self::Texts(rule.units(strata)),
            None => Self::Bets(pooled(strata)),
        }
    }

    /// Interval of the mean that holds after every look at once.
    pub(crate) fn confidence_sequence(&self, confidence: f64) -> Option<Interval> {
        match self {
            Self::Bets(differences) => differences.confidence_sequence(confidence),
            Self::Texts(units) => units.confidence_sequence(confidence),
        }
    }

    /// The mean; `None` without units.
    pub(crate) fn mean(&self) -> Option<f64> {
        match self {
            Self::Bets(differences) => differences.mean(),
            Self::Texts(units) => units.mean(),
        }
    }

    /// The E-value against a mean of zero.
    pub(crate) fn e_value(&self) -> f64 {
        match self {
            Self::Bets(differences) => differences.e_value(),
            Self::Texts(units) => units.e_value(),
        }
    }

    /// Standard error of the mean; `None` for fewer than two units.
    pub(crate) fn standard_error(&self) -> Option<f64> {
        match self {
            Self::Bets(differences) => differences.standard_error(),
            Self::Texts(units) => units.standard_error(),
        }
    }

    /// What so many units in all would be, if the further ones are like these, off by `shift` on average.
    pub(crate) fn continued(&self, total: usize, shift: f64) -> Self {
        match self {
            Self::Bets(differences) => Self::Bets(differences.continued(total, shift)),
            Self::Texts(units) => Self::Texts(units.continued(total, shift)),
        }
    }

    /// What is counted.
    pub(crate) const fn unit(&self) -> EvidenceUnit {
        match self {
            Self::Bets(_) => EvidenceUnit::Pairs,
            Self::Texts(_) => EvidenceUnit::Texts,
        }
    }

    /// How many units.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bets(differences) => differences.len(),
            Self::Texts(units) => units.len(),
        }
    }
}
