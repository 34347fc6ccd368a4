//! How far a setting goes on the ladder of context lengths.

use serde::{Deserialize, Serialize};

use super::text;
use crate::judge::analysis::summary::EffectiveLength;

/// How far a setting goes, by three rules.
#[derive(Serialize)]
pub(super) struct Reach {
    /// Within the margin of the reference, by the point estimate.
    pub(super) within: Reached,
    /// Shown to be no worse.
    pub(super) shown: Reached,
    /// Above RULER's line.
    pub(super) above: Reached,
}

/// How far a setting goes by a rule (tokens). An end of the ladder is no limit of the setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reached {
    /// It is what others are compared with.
    Reference,
    /// Nothing was measured.
    NotMeasured,
    /// Not even so far, which is the shortest length.
    Below(u32),
    /// Nothing is shown at the shortest length, which refutes nothing.
    NotShownAt(u32),
    /// So far and no farther.
    UpTo(u32),
    /// So far, where the ladder ends.
    AtLeast(u32),
}

impl Reach {
    pub(super) fn new(length: &EffectiveLength, reference: &str) -> Self {
        let compared = |reached, short| match length.setting == reference {
            true => Reached::Reference,
            false => Reached::new(length, reached, short),
        };
        Self {
            within: compared(length.within_margin, Reached::Below),
            shown: compared(length.shown_within_margin, Reached::NotShownAt),
            above: Reached::new(length, length.above_line, Reached::Below),
        }
    }
}

impl Reached {
    /// Takes the longest length that a rule holds for, and what to say where it holds for none.
    fn new(length: &EffectiveLength, reached: Option<u32>, short: fn(u32) -> Self) -> Self {
        let shortest = length.points.first().filter(|point| point.quality.is_some());
        let longest = length.points.last().map(|point| point.context);
        match (reached, shortest) {
            (Some(context), _) if Some(context) == longest => Self::AtLeast(context),
            (Some(context), _) => Self::UpTo(context),
            (None, Some(shortest)) => short(shortest.context),
            (None, None) => Self::NotMeasured,
        }
    }

    /// Returns it in words, lengths in tokens.
    pub(super) fn words(self) -> String {
        match self {
            Self::Reference => "reference".to_owned(),
            Self::NotMeasured => text::NONE.to_owned(),
            Self::Below(context) => format!("< {}", text::tokens(context)),
            Self::NotShownAt(context) => format!("not shown at {}", text::tokens(context)),
            Self::UpTo(context) => text::tokens(context),
            Self::AtLeast(context) => format!("≥ {}", text::tokens(context)),
        }
    }
}
