//! Changes that fail a comparison: only when the whole interval lies beyond them.

use std::fmt;
use std::str::FromStr;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compared::{ComparedCell, Ratio};
use crate::judge::analysis::summary::Estimate;
use crate::quantity;

/// What a threshold is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Measure {
    /// Mean score; falls are regressions, in points.
    Quality,
    /// Decode rate; falls are regressions, as a share.
    Decode,
    /// Prefill rate; falls are regressions.
    Prefill,
    /// Time to first token; rises are regressions.
    Ttft,
    /// Energy of a request; rises are regressions.
    Energy,
    /// Peak memory; rises are regressions.
    Memory,
    /// Mean KLD from the run's own reference; rises are regressions, in nat.
    Kld,
    /// Share of replies to tool tasks whose calls stand in the text; rises are regressions, in points.
    Leaked,
    /// Share of trials that broke; rises are regressions, in points.
    Failed,
}

/// What a threshold counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Points of a 0..1 scale.
    Points,
    /// A share of what A has.
    Share,
    /// Nat.
    Nat,
}

impl Measure {
    pub(crate) const ALL: &[Self] = &[
        Self::Quality,
        Self::Decode,
        Self::Prefill,
        Self::Ttft,
        Self::Energy,
        Self::Memory,
        Self::Kld,
        Self::Leaked,
        Self::Failed,
    ];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quality => "quality",
            Self::Decode => "decode",
            Self::Prefill => "prefill",
            Self::Ttft => "ttft",
            Self::Energy => "energy",
            Self::Memory => "memory",
            Self::Kld => "kld",
            Self::Leaked => "leaked",
            Self::Failed => "failed",
        }
    }

    /// What its thresholds count in.
    pub const fn unit(self) -> Unit {
        match self {
            Self::Quality | Self::Leaked | Self::Failed => Unit::Points,
            Self::Kld => Unit::Nat,
            Self::Decode | Self::Prefill | Self::Ttft | Self::Energy | Self::Memory => Unit::Share,
        }
    }

    /// How much worse B is (positive: worse), with an interval, in the measure's unit.
    pub(crate) fn worsening(self, cell: &ComparedCell) -> Option<Estimate> {
        let fall = |ratio: Ratio| turned(shifted(ratio.ratio));
        let rise = |ratio: Ratio| shifted(ratio.ratio);
        match self {
            Self::Quality => cell.quality.map(turned),
            Self::Decode => cell.decode.map(fall),
            Self::Prefill => cell.prefill.map(fall),
            Self::Ttft => cell.ttft.map(rise),
            Self::Energy => cell.energy.map(rise),
            Self::Memory => cell.memory.map(rise),
            Self::Kld => cell.kld.map(|shift| shift.difference),
            Self::Leaked => cell.leaked.map(|shift| shift.difference),
            Self::Failed => cell.failed.map(|shift| shift.difference),
        }
    }
}

/// A ratio as a change: 1.1 is 0.1.
fn shifted(ratio: Estimate) -> Estimate {
    let by = |value: f64| value - 1.0;
    Estimate { value: by(ratio.value), low: ratio.low.map(by), high: ratio.high.map(by), n: ratio.n }
}

/// The same with the other sign.
fn turned(change: Estimate) -> Estimate {
    Estimate {
        value: -change.value,
        low: change.high.map(|high| -high),
        high: change.low.map(|low| -low),
        n: change.n,
    }
}

/// A change that fails the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Threshold {
    /// Of what.
    pub measure: Measure,
    /// By how much B may be worse: points of the 0..1 scale for quality, leaked and failed, nat for kld, a share for
    /// others.
    pub by: f64,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("write thresholds as quality=2pp,decode=10%")?;
        let find = |measure: &&Measure| measure.name() == name.trim();
        let measure = Measure::ALL.iter().find(find).ok_or_else(|| {
            let names: Vec<&str> = Measure::ALL.iter().map(|measure| measure.name()).collect();
            format!("unknown measure `{}`: there are {}", name.trim(), names.join(", "))
        })?;
        let by = match measure.unit() {
            Unit::Nat => value.trim().trim_end_matches("nat").trim_end().parse().ok(),
            Unit::Points | Unit::Share => Some(quantity::change(value)?),
        };
        let by = by.filter(|by: &f64| by.is_finite() && *by >= 0.0);
        let by = by
            .ok_or_else(|| format!("`{value}` is no amount of {}: write kld=0.01, in nat", measure.name()))?;
        Ok(Self { measure: *measure, by })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.measure.name();
        let hundredths = (self.by * 1e4).round() / 100.0;
        match self.measure.unit() {
            Unit::Points => write!(f, "{name}={hundredths}pp"),
            Unit::Share => write!(f, "{name}={hundredths}%"),
            Unit::Nat => write!(f, "{name}={}", self.by),
        }
    }
}

/// A threshold that a cell's whole interval lies beyond.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Regression {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// The threshold.
    pub threshold: Threshold,
    /// How much worse B is, in the threshold's unit.
    pub worse_by: Estimate,
}

/// Every cell and threshold where the whole interval lies beyond it; for quality also beyond the noise floor.
pub(super) fn regressions(cells: &[ComparedCell], thresholds: &[Threshold]) -> Vec<Regression> {
    let mut found = Vec::new();
    for cell in cells {
        for &threshold in thresholds {
            let Some(worse_by) = threshold.measure.worsening(cell) else { continue };
            let floor = cell.floor.filter(|_| threshold.measure == Measure::Quality).unwrap_or_default();
            let beyond = worse_by.low.is_some_and(|low| low > threshold.by) && worse_by.value > floor;
            if beyond {
                found.push(Regression {
                    setting: cell.setting.clone(),
                    context: cell.context,
                    threshold,
                    worse_by,
                });
            }
        }
    }
    found
}

/// Thresholds that could not be judged somewhere, and how often.
pub(super) fn unjudged(cells: &[ComparedCell], thresholds: &[Threshold]) -> Vec<String> {
    let line = |threshold: &Threshold| {
        let judged =
            |cell: &&ComparedCell| threshold.measure.worsening(cell).is_some_and(|worse| worse.low.is_some());
        let missing = cells.len() - cells.iter().filter(judged).count();
        (missing > 0).then(|| {
            format!("{threshold} could not be judged in {missing} of {} cells: no figure with an interval in both runs", cells.len())
        })
    };
    thresholds.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::compare::compared::Shift;

    #[test]
    fn thresholds_are_read_and_written() {
        let quality: Threshold = "quality=2pp".parse().unwrap();
        assert_eq!(quality, Threshold { measure: Measure::Quality, by: 0.02 });
        assert_eq!(quality.to_string(), "quality=2pp");
        assert_eq!("decode=10%".parse::<Threshold>().unwrap().to_string(), "decode=10%");
        assert!("speed=10%".parse::<Threshold>().unwrap_err().contains("decode"));
        let kld: Threshold = "kld=0.005".parse().unwrap();
        assert_eq!((kld.by, kld.to_string().as_str()), (0.005, "kld=0.005"));
        assert!("kld=10%".parse::<Threshold>().unwrap_err().contains("nat"));
        assert_eq!("leaked=2pp".parse::<Threshold>().unwrap().to_string(), "leaked=2pp");
        assert!("decode".parse::<Threshold>().is_err() && "decode=fast".parse::<Threshold>().is_err());
    }

    fn cell(quality: (f64, f64, f64), decode: (f64, f64, f64), floor: Option<f64>) -> ComparedCell {
        let estimate = |(value, low, high)| Estimate { value, low: Some(low), high: Some(high), n: 50 };
        ComparedCell {
            setting: "s".into(),
            context: 512,
            void: None,
            pairs: 50,
            unpaired: 0,
            not_comparable: Vec::new(),
            lost: 0,
            gained: 0,
            quality_a: None,
            quality_b: None,
            quality: Some(estimate(quality)),
            p_holm: None,
            floor,
            decode: Some(Ratio { a: 1.0, b: 1.0, ratio: estimate(decode) }),
            prefill: None,
            ttft: None,
            energy: None,
            memory: None,
            kld: None,
            leaked: None,
            failed: None,
        }
    }

    #[test]
    fn a_larger_kld_and_more_leaks_are_regressions() {
        let shift = |low, high| {
            let difference =
                Estimate { value: f64::midpoint(low, high), low: Some(low), high: Some(high), n: 9 };
            Some(Shift { a: 0.0, b: 0.0, difference })
        };
        let worse = ComparedCell {
            kld: shift(0.02, 0.04),
            leaked: shift(0.1, 0.3),
            failed: shift(-0.01, 0.2),
            ..cell((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), None)
        };
        let thresholds = ["kld=0.01", "leaked=5pp", "failed=0"].map(|text| text.parse().unwrap());
        let found = regressions(&[worse], &thresholds);
        let names: Vec<&str> = found.iter().map(|regression| regression.threshold.measure.name()).collect();
        assert_eq!(names, ["kld", "leaked"]);
    }

    #[test]
    fn only_a_whole_interval_beyond_the_threshold_fails() {
        let thresholds = ["quality=2pp", "decode=10%"].map(|text| text.parse().unwrap());
        let count = |quality, decode, floor| regressions(&[cell(quality, decode, floor)], &thresholds).len();
        assert_eq!(count((-0.10, -0.15, -0.05), (0.80, 0.75, 0.85), None), 2);
        assert_eq!(count((-0.10, -0.15, -0.01), (0.80, 0.75, 0.95), None), 0, "both reach back");
        assert_eq!(count((0.10, 0.05, 0.15), (1.3, 1.2, 1.4), None), 0, "better is no regression");
        assert_eq!(count((-0.10, -0.15, -0.05), (1.0, 0.9, 1.1), Some(0.2)), 0, "within the noise floor");
    }

    #[test]
    fn what_cannot_be_judged_is_said() {
        let thresholds = ["ttft=10%".parse().unwrap(), "decode=10%".parse().unwrap()];
        let notes = unjudged(&[cell((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), None)], &thresholds);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].starts_with("ttft=10% could not be judged in 1 of 1"), "{notes:?}");
    }
}
