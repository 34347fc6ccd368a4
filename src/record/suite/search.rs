//! `[load.search]`: the highest load that a setting bears, found by doubling and bisection.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::arrivals::Arrivals;

/// Visits that confirm what was found: the highest load that held and the lowest that did not, once more each.
const CONFIRMATIONS: u32 = 2;
/// Significant digits of a rate that a search comes to.
const DIGITS: i32 = 4;

/// What a search raises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SearchOver {
    /// Closed loop: the number of streams.
    Streams,
    /// Open loop: requests a second.
    Rate,
}

/// A search for the highest load: doubled until a step does not hold, then bisected.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct LoadSearch {
    /// What is raised.
    pub over: SearchOver,
    /// The lowest load (streams, or requests/s).
    pub from: f64,
    /// The highest load (streams, or requests/s), above `from`.
    pub to: f64,
    /// The search ends when the lowest load that does not hold is above the highest that does by no more than this
    /// share of it (0.01..=1), or by one stream.
    pub within: f64,
    /// Share of a step's requests that must be answered and keep the limits (0.5..=1).
    pub goal: f64,
}

impl LoadSearch {
    /// The step of a load (streams, or requests/s).
    pub fn arrivals(&self, load: f64) -> Arrivals {
        match self.over {
            SearchOver::Streams => Arrivals::Closed(load as u32),
            SearchOver::Rate => Arrivals::Poisson(load),
        }
    }

    /// The load of a step (streams, or requests/s); `None` for a step of the other kind.
    pub fn load_of(&self, arrivals: Arrivals) -> Option<f64> {
        match (self.over, arrivals) {
            (SearchOver::Streams, Arrivals::Closed(streams)) => Some(f64::from(streams)),
            (SearchOver::Rate, Arrivals::Poisson(rate)) => Some(rate),
            _ => None,
        }
    }

    /// The load behind `load` on the way up: twice as high, and at most the highest.
    pub fn doubled(&self, load: f64) -> f64 {
        (2.0 * load).min(self.to)
    }

    /// A load between two others, the middle of their ratio; `None` when they are as close as asked.
    pub fn between(&self, held: f64, failed: f64) -> Option<f64> {
        if failed <= held * (1.0 + self.within) {
            return None;
        }
        let middle = (held * failed).sqrt();
        let middle = match self.over {
            SearchOver::Streams => middle.round().max(held + 1.0).min(failed - 1.0),
            SearchOver::Rate => rounded(middle),
        };
        (held < middle && middle < failed).then_some(middle)
    }

    /// The loads on the way up, from the lowest to the highest.
    pub fn ladder(&self) -> Vec<f64> {
        let above = |load: &f64| (*load < self.to).then(|| self.doubled(*load));
        std::iter::successors(Some(self.from), above).collect()
    }

    /// Most bisections between two loads of which one is so many times the other. One comes on top, as streams are whole
    /// and rates rounded.
    fn halvings(&self, ratio: f64) -> u32 {
        let apart = ratio.ln() / (1.0 + self.within).ln();
        if apart <= 1.0 { 0 } else { apart.log2().ceil() as u32 + 1 }
    }

    /// Steps that a search takes at most where every load answers the same at each of its visits.
    pub fn expected_steps(&self) -> u32 {
        self.ladder().len() as u32 + self.halvings(2.0) + CONFIRMATIONS
    }

    /// Steps after which the search for the limits ends in any case: there is room for one load that answered differently
    /// when it was confirmed.
    pub fn most_limit_steps(&self) -> u32 {
        self.expected_steps() + self.halvings(2.0) + CONFIRMATIONS
    }

    /// Crowds that are asked the cases at most: the highest load within the limits, the lowest load, and those between.
    pub fn most_crowds(&self) -> u32 {
        2 + self.halvings(self.to / self.from)
    }

    /// Steps after which the whole search of a setting ends in any case. A load whose crowd is asked has a step.
    pub fn most_steps(&self, with_quality: bool) -> u32 {
        self.most_limit_steps() + if with_quality { self.most_crowds() } else { 0 }
    }
}

/// A rate with few digits: it is part of what a step is called.
fn rounded(rate: f64) -> f64 {
    let decimals = DIGITS - 1 - rate.log10().floor() as i32;
    if decimals >= 0 {
        let scale = 10_f64.powi(decimals);
        (rate * scale).round() / scale
    } else {
        rate.round()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(over: SearchOver, from: f64, to: f64, within: f64) -> LoadSearch {
        LoadSearch { over, from, to, within, goal: 0.95 }
    }

    #[test]
    fn the_way_up_doubles_and_ends_at_the_highest() {
        let streams = search(SearchOver::Streams, 1.0, 20.0, 0.1);
        assert_eq!(streams.ladder(), [1.0, 2.0, 4.0, 8.0, 16.0, 20.0]);
        assert_eq!(streams.arrivals(4.0), Arrivals::Closed(4));
        let rate = search(SearchOver::Rate, 0.5, 2.0, 0.1);
        assert_eq!(rate.ladder(), [0.5, 1.0, 2.0]);
        assert_eq!(rate.load_of(rate.arrivals(0.5)), Some(0.5));
        assert_eq!(rate.load_of(Arrivals::Closed(2)), None);
    }

    #[test]
    fn what_lies_between_is_whole_or_has_few_digits() {
        let streams = search(SearchOver::Streams, 1.0, 64.0, 0.05);
        assert_eq!(streams.between(8.0, 16.0), Some(11.0));
        assert_eq!(streams.between(8.0, 9.0), None, "no stream is between");
        assert_eq!(streams.between(40.0, 42.0), None, "within 5%");
        let rate = search(SearchOver::Rate, 0.1, 100.0, 0.05);
        assert_eq!(rate.between(1.0, 2.0), Some(1.414));
        assert_eq!(rate.between(2.0, 2.1), None);
        assert_eq!(rounded(0.012_345_6), 0.012_35);
        assert_eq!(rounded(141.421), 141.4);
    }

    #[test]
    fn doubling_alone_bisects_nothing() {
        let search = search(SearchOver::Streams, 1.0, 8.0, 1.0);
        assert_eq!(search.between(4.0, 8.0), None);
        assert_eq!((search.expected_steps(), search.most_steps(false)), (6, 8));
    }
}
