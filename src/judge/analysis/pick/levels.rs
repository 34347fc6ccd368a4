//! The context length asked for, in terms of those that were measured.

use super::request::PickRequest;
use crate::error::{Error, Result};
use crate::judge::analysis::measured::Measured;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::{cells, kld, quality};

/// How the context length asked for relates to the measured ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Basis {
    /// It was measured.
    Measured(u32),
    /// It lies between two: `share` of the way from `low` to `high`, on a logarithmic scale.
    Between {
        /// The next shorter one (tokens).
        low: u32,
        /// The next longer one (tokens).
        high: u32,
        /// 0 at `low`, 1 at `high`.
        share: f64,
    },
    /// It lies beyond all: the nearest.
    Beyond(u32),
}

impl Basis {
    pub(super) fn of(run: &Run<'_>, request: &PickRequest) -> Result<Self> {
        let asked = request.context;
        let measured = measured(run);
        if measured.contains(&asked) {
            return Ok(Self::Measured(asked));
        }
        let list = measured.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        let error = Error::usage(format!("{asked} tokens were not measured in this run"));
        if !request.extrapolate {
            return Err(error.hint(format!("measured: {list}")).hint(
                "--extrapolate answers from the nearest measured lengths, memory by formula, and says so",
            ));
        }
        let low = measured.iter().copied().rfind(|&context| context < asked);
        let high = measured.iter().copied().find(|&context| context > asked);
        match (low, high) {
            (Some(low), Some(high)) => {
                let log = |context: u32| f64::from(context).ln();
                let share = (log(asked) - log(low)) / (log(high) - log(low));
                Ok(Self::Between { low, high, share })
            }
            (Some(nearest), None) | (None, Some(nearest)) => Ok(Self::Beyond(nearest)),
            (None, None) => Err(error.hint("the suite has no task at any context length")),
        }
    }

    /// The measured context lengths that the answer rests on (tokens).
    pub(super) fn contexts(&self) -> Vec<u32> {
        match *self {
            Self::Measured(context) | Self::Beyond(context) => vec![context],
            Self::Between { low, high, .. } => vec![low, high],
        }
    }

    pub(super) fn is_measured(&self) -> bool {
        matches!(self, Self::Measured(_))
    }

    /// How a figure that grows with the prompt is scaled.
    pub(super) fn scale(&self, asked: u32) -> f64 {
        match *self {
            Self::Beyond(nearest) => f64::from(asked) / f64::from(nearest),
            _ => 1.0,
        }
    }

    /// What an answer for a length that was not measured rests on.
    pub(super) fn note(&self, request: &PickRequest) -> Option<String> {
        let asked = request.context;
        match *self {
            Self::Measured(_) => None,
            Self::Between { low, high, .. } => Some(format!(
                "{asked} tokens were not measured: quality and speed lie between those at {low} and {high} tokens, memory is by formula"
            )),
            Self::Beyond(nearest) => Some(format!(
                "{asked} tokens were not measured: quality and decode rate are those at {nearest} tokens, time to first token and energy are scaled in proportion to the context, memory is by formula; quality may be lower at longer contexts"
            )),
        }
    }
}

/// The context lengths that were measured (tokens), the shortest first.
pub(super) fn measured(run: &Run<'_>) -> Vec<u32> {
    let mut measured = run.suite.contexts.clone();
    measured.retain(|&context| run.planned(context) > 0);
    measured.sort_unstable();
    measured
}

/// Every setting at one measured context length, judged.
pub(super) fn measure(run: &Run<'_>, context: u32) -> Result<Vec<Measured>> {
    let level = quality::Level::new(run, context);
    let kld = kld::compare(run, context);
    let mut cells = cells::of_level(run, &level, &kld)?;
    quality::judge(&mut cells, &level);
    Ok(cells)
}
