//! Settings, policies and the oracle on the cases: means with intervals, and the gain over the front.

use super::answer::{Point, PolicyRow};
use super::data::{Answer, Data, RoutedCase};
use super::policy::{Policy, PolicyKind};
use crate::judge::analysis::Resampling;
use crate::judge::analysis::draws::Draw;
use crate::judge::analysis::summary::Estimate;
use crate::judge::stats::{ClusterSums, percentile_interval, rng, stratified_draws};

/// Means and their draws, all from one stream: every draw draws the same clusters for everything.
pub(super) struct Evaluation<'d, 'a> {
    data: &'d Data<'a>,
    resampling: Resampling,
    /// Quality and latency of each setting.
    settings: Vec<(Mean, Mean)>,
}

/// A mean and its draws.
struct Mean {
    value: f64,
    draws: Vec<Draw>,
}

impl<'d, 'a> Evaluation<'d, 'a> {
    pub(super) fn new(data: &'d Data<'a>, resampling: Resampling) -> Self {
        let mut evaluation = Self { data, resampling, settings: Vec::new() };
        for at in 0..data.settings.len() {
            let quality = evaluation.mean(|case| Some(case.answers[at].quality));
            let latency = evaluation.mean(|case| Some(case.answers[at].latency_s));
            evaluation.settings.extend(quality.zip(latency));
        }
        evaluation
    }

    /// A setting alone.
    pub(super) fn setting(&self, at: usize) -> Point {
        self.point(self.data.settings[at], |_| at)
    }

    /// Always the better of the two, the faster when they are equal.
    pub(super) fn oracle(&self) -> Point {
        let (fast, smart) = (self.data.fast, self.data.smart);
        self.point("oracle", |case| {
            let (a, b) = (case.answers[fast], case.answers[smart]);
            let faster = if b.latency_s < a.latency_s { smart } else { fast };
            match b.quality.total_cmp(&a.quality) {
                std::cmp::Ordering::Greater => smart,
                std::cmp::Ordering::Less => fast,
                std::cmp::Ordering::Equal => faster,
            }
        })
    }

    /// A policy on the cases of each half that the other half chose it for.
    pub(super) fn policy(&self, kind: PolicyKind, chosen: [Policy; 2], tried: usize) -> PolicyRow {
        let is_smart = |case: &RoutedCase<'_>| chosen[case.half].is_smart(case);
        let pick = |case: &RoutedCase<'_>| if is_smart(case) { self.data.smart } else { self.data.fast };
        let to_smart =
            self.mean(|case| Some(f64::from(u8::from(is_smart(case))))).map_or(0.0, |mean| mean.value);
        let gain = self.gain(pick, tried);
        PolicyRow {
            kind,
            to_smart,
            point: self.point(kind.words(), pick),
            beats_front: gain.low.is_some_and(|low| low > 0.0),
            gain,
            chosen: chosen.to_vec(),
        }
    }

    fn point(&self, name: &str, pick: impl Fn(&RoutedCase<'_>) -> usize) -> Point {
        let by = |of: fn(&Answer) -> Option<f64>| self.mean(|case| of(&case.answers[pick(case)]));
        let always = |of: fn(&Answer) -> Option<f64>| self.estimate(by(of));
        let nothing = Estimate { value: 0.0, low: None, high: None, n: 0 };
        Point {
            name: name.to_owned(),
            quality: always(|answer| Some(answer.quality)).unwrap_or(nothing),
            latency_s: always(|answer| Some(answer.latency_s)).unwrap_or(nothing),
            energy_j: always(|answer| answer.energy_j),
        }
    }

    /// Quality above the front at the same mean latency; the interval at 1 - (1 - confidence) / tried.
    fn gain(&self, pick: impl Fn(&RoutedCase<'_>) -> usize, tried: usize) -> Estimate {
        let n = self.data.cases.len() as u32;
        let quality = self.mean(|case| Some(case.answers[pick(case)].quality));
        let latency = self.mean(|case| Some(case.answers[pick(case)].latency_s));
        let (Some(quality), Some(latency)) = (quality, latency) else {
            return Estimate { value: 0.0, low: None, high: None, n };
        };
        let points = |of: &dyn Fn(&Mean) -> Draw| -> Option<Vec<(f64, f64)>> {
            self.settings.iter().map(|(quality, latency)| Some((of(latency)?, of(quality)?))).collect()
        };
        let above =
            |quality: f64, latency: f64, points: Vec<(f64, f64)>| Some(quality - front(&points, latency)?);
        let value =
            points(&|mean| Some(mean.value)).and_then(|points| above(quality.value, latency.value, points));
        let draws = (0..self.resampling.draws as usize).filter_map(|number| {
            let at = |mean: &Mean| mean.draws.get(number).copied().flatten();
            above(at(&quality)?, at(&latency)?, points(&at)?)
        });
        let confidence = 1.0 - (1.0 - self.resampling.confidence) / tried.max(1) as f64;
        let interval = percentile_interval(draws, confidence);
        Estimate {
            value: value.unwrap_or_default(),
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            n,
        }
    }

    /// The mean over strata of a figure; `None` when a case lacks it.
    fn mean(&self, of: impl Fn(&RoutedCase<'_>) -> Option<f64>) -> Option<Mean> {
        let mut strata: Vec<ClusterSums> =
            self.data.clusters.iter().map(|&clusters| ClusterSums::new(clusters)).collect();
        for case in &self.data.cases {
            strata[case.stratum].add(case.cluster, of(case)?);
        }
        let means: Vec<f64> = strata.iter().filter_map(ClusterSums::mean).collect();
        let draws = stratified_draws(&strata, self.resampling.draws, &mut rng(self.resampling.seed, "route"));
        Some(Mean { value: means.iter().sum::<f64>() / means.len().max(1) as f64, draws })
    }

    fn estimate(&self, mean: Option<Mean>) -> Option<Estimate> {
        let mean = mean?;
        let interval = percentile_interval(mean.draws.into_iter().flatten(), self.resampling.confidence);
        Some(Estimate {
            value: mean.value,
            low: interval.map(|(low, _)| low),
            high: interval.map(|(_, high)| high),
            n: self.data.cases.len() as u32,
        })
    }
}

/// The best quality that a setting, or a mixture of two by the toss of a coin, has within a mean latency.
/// Points are latency and quality; below the fastest one, that one's quality.
fn front(points: &[(f64, f64)], latency: f64) -> Option<f64> {
    let fastest = points.iter().min_by(|a, b| a.0.total_cmp(&b.0))?.1;
    let within = points.iter().filter(|point| point.0 <= latency);
    let beyond = || points.iter().filter(|point| point.0 > latency);
    let mixed =
        within.clone().flat_map(|a| beyond().map(move |b| a.1 + (b.1 - a.1) * (latency - a.0) / (b.0 - a.0)));
    Some(within.clone().map(|point| point.1).chain(mixed).fold(fastest, f64::max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_front_is_the_best_mixture() {
        let points = [(1.0, 0.5), (3.0, 0.9), (2.0, 0.6)];
        let close = |latency, expected: f64| {
            let found = front(&points, latency).unwrap();
            assert!((found - expected).abs() < 1e-12, "{found} at {latency}");
        };
        close(1.0, 0.5);
        close(2.0, 0.7);
        close(3.0, 0.9);
        close(9.0, 0.9);
        close(0.5, 0.5);
        assert_eq!(front(&[], 1.0), None);
    }
}
