//! How far a setting goes, in words.

use super::text;
use crate::judge::analysis::summary::EffectiveLength;

/// How far a setting goes on the ladder of context lengths, in tokens. An end of the ladder is no limit of the
/// setting.
pub(super) struct Reach {
    /// Within the margin of the reference, by the point estimate.
    pub(super) within: String,
    /// Shown to be no worse.
    pub(super) shown: String,
    /// Above RULER's line.
    pub(super) above: String,
}

impl Reach {
    pub(super) fn new(length: &EffectiveLength, reference: &str) -> Self {
        let compared = |reached, not_at_all| match length.setting == reference {
            true => "reference".into(),
            false => words(length, reached, not_at_all),
        };
        Self {
            within: compared(length.within_margin, "<"),
            // Not shown is not refuted.
            shown: compared(length.shown_within_margin, "not shown at"),
            above: words(length, length.above_line, "<"),
        }
    }
}

fn words(length: &EffectiveLength, reached: Option<u32>, not_at_all: &str) -> String {
    let shortest = length.points.first().filter(|point| point.quality.is_some());
    let longest = length.points.last().map(|point| point.context);
    match (reached, shortest) {
        (Some(context), _) if Some(context) == longest => format!("≥ {}", text::tokens(context)),
        (Some(context), _) => text::tokens(context),
        (None, Some(shortest)) => format!("{not_at_all} {}", text::tokens(shortest.context)),
        (None, None) => text::NONE.into(),
    }
}
