//! Where a series of nights changed its level, and how sure the date is.
//!
//! Three questions, three tools. Whether there is a change is decided by random orders of the nights, which holds for
//! any noise and any number of nights; where it is, by least squares over all places at once; how well that is known,
//! by the likelihood ratio of the other places.

use rand::Rng;

use super::random::pick;
use super::two_sided_z;
use crate::quantile::median;

/// A level needs at least so many nights on either side of a change.
const LEAST: usize = 3;

/// A level that went and came back within so many nights is looked for, too.
const LONGEST_ARC: usize = 30;

/// Share of the level that is spent on changes of one direction; the rest is for levels that came back.
const FOR_STEPS: f64 = 0.75;

/// Most random orders that a series is compared with, and how many as extreme ones are enough to know that it is not.
const MOST_ORDERS: u32 = 19_999;
const ENOUGH: u32 = 20;

/// One night of so many, but fewer than make a level, may be far off on either side: it counts like the next one.
const ODD_ONE_OF: usize = 8;

/// A night farther than so many robust standard deviations from its level, and than half a step, costs no more than one
/// that is there, when a change is dated: a single bad night is not a level.
const ODD: f64 = 3.0;

/// Confidence of the set of nights that may be the date.
const DATE_CONFIDENCE: f64 = 0.95;

/// Confidence of the nights' own intervals.
const OWN_CONFIDENCE: f64 = 0.95;

/// One night of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Night {
    /// The figure.
    pub value: f64,
    /// Half the width of its own 95% interval; 0 where it has none.
    pub half_width: f64,
}

/// A change of level in a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Number of the first night of the new level: the most likely one.
    pub at: usize,
    /// Every night that may be the first of the new level (95%), `at` among them, in order.
    pub candidates: Vec<usize>,
    /// Mean of the level before.
    pub before: f64,
    /// Mean of the level after.
    pub after: f64,
    /// How often a series without change, of the same numbers, looks as changed (0..1).
    pub p_value: f64,
}

/// How often a series without change looks as changed as this one (0..1); `None` for one that is too short, or has one
/// value only. Of many series, it is what tells which to look at.
pub fn evidence_of_change(series: &[Night], rng: &mut impl Rng) -> Option<f64> {
    let first = series.first()?.value;
    if !usable(series) || series.iter().all(|night| night.value == first) {
        return None;
    }
    let (values, weights) = (clamped(series), weights(series));
    let piece = Centred::of(&values, &weights);
    let of = |largest: fn(&Centred) -> Place, share: f64, rng: &mut _| {
        let orders = Orders { most: MOST_ORDERS, stop_after: ENOUGH };
        orders.p_value(&values, &weights, largest, largest(&piece).squares, rng) / share
    };
    let steps = of(largest_step, FOR_STEPS, rng);
    Some(steps.min(of(largest_arc, 1.0 - FOR_STEPS, rng)).min(1.0))
}

fn usable(series: &[Night]) -> bool {
    series.len() >= 2 * LEAST && series.iter().all(|night| night.value.is_finite())
}

/// What a series did.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    /// Changes of level, in order; none where it drifts.
    pub changes: Vec<Change>,
    /// A straight line describes it better than any levels do: its first and last point.
    pub drift: Option<(f64, f64)>,
}

/// The changes of level of a series: those that random order explains with a probability of at most `level`, and
/// whose step is larger than what the nights' own intervals leave open.
///
/// Formulas: binary segmentation (Scott and Knott 1974), each piece cut where the weighted sum of squares between
/// its parts is largest, also into a middle and its surroundings (circular binary segmentation, Olshen and others
/// 2004); the distribution of that largest sum comes from random orders of the nights instead of a normal
/// distribution. The dates are those of the best partition into so many levels (optimal partitioning by dynamic
/// programming, Jackson and others 2005; what PELT, Killick and others 2012, finds faster for long series), with a
/// bounded loss for single bad nights (biweight, Fearnhead and Rigaill 2019). The set of dates inverts the
/// likelihood ratio as Hansen (2000, "Sample splitting and threshold estimation") does, with the F distribution's tail
/// for few nights. Weights are 1 / (own variance + variance between nights).
pub fn change_points(series: &[Night], level: f64, rng: &mut impl Rng) -> Course {
    if !usable(series) {
        return Course::default();
    }
    let weights = weights(series);
    let clamped = clamped(series);
    let mut found = Vec::new();
    cut(&clamped, &weights, 0, level, rng, &mut found);
    found.sort_by_key(|(at, _)| *at);
    if found.is_empty() {
        return Course::default();
    }
    let places: Vec<usize> = found.iter().map(|(at, _)| *at).collect();
    let costs = Costs::of(series, weights, &places);
    if let Some(drift) = drift(&costs, found.len()) {
        return Course { changes: Vec::new(), drift: Some(drift) };
    }
    dated(series, &costs, found)
}

/// The best dates for so many changes; a step within the nights' own intervals is given up, and the others are dated
/// anew.
fn dated(series: &[Night], costs: &Costs, mut found: Vec<(usize, f64)>) -> Course {
    while !found.is_empty() {
        let starts = costs.best_partition(found.len());
        let excess = |number: usize| {
            let (before, after) = (piece(series, &starts, number), piece(series, &starts, number + 1));
            (mean(after) - mean(before)).abs() - own_noise(before).hypot(own_noise(after))
        };
        let least = (0..starts.len()).min_by(|a, b| excess(*a).total_cmp(&excess(*b)));
        match least.filter(|number| excess(*number) <= 0.0) {
            Some(number) => {
                found.remove(number);
            }
            None => {
                return Course { changes: changes(series, costs, &starts, &found), drift: None };
            }
        }
    }
    Course::default()
}

fn changes(series: &[Night], costs: &Costs, starts: &[usize], found: &[(usize, f64)]) -> Vec<Change> {
    let freedom = series.len() as f64 - starts.len() as f64 - 1.0;
    let variance = costs.of_partition(starts) / freedom.max(1.0);
    let change = |(number, (&at, &(_, p_value))): (usize, (&usize, &(usize, f64)))| Change {
        at,
        candidates: costs.candidates(starts, number, variance, freedom.max(1.0)),
        before: mean(piece(series, starts, number)),
        after: mean(piece(series, starts, number + 1)),
        p_value,
    };
    starts.iter().zip(found).enumerate().map(change).collect()
}

/// The nights of a level.
fn piece<'s>(series: &'s [Night], starts: &[usize], number: usize) -> &'s [Night] {
    let start = number.checked_sub(1).map_or(0, |before| starts[before]);
    &series[start..starts.get(number).copied().unwrap_or(series.len())]
}

fn mean(nights: &[Night]) -> f64 {
    nights.iter().map(|night| night.value).sum::<f64>() / nights.len().max(1) as f64
}

/// Half the width of the interval of a level's mean, from the nights' own intervals.
fn own_noise(nights: &[Night]) -> f64 {
    let squares: f64 = nights.iter().map(|night| night.half_width.powi(2)).sum();
    squares.sqrt() / nights.len().max(1) as f64
}

/// Finds the place at which a change is largest.
type Largest = fn(&Centred) -> Place;

/// Cuts a piece of the series that starts at night `start`, and what comes of it, while random order does not explain
/// the cut.
fn cut(
    values: &[f64],
    weights: &[f64],
    start: usize,
    level: f64,
    rng: &mut impl Rng,
    found: &mut Vec<(usize, f64)>,
) {
    let tests: [(Largest, f64); 2] =
        [(largest_step, level * FOR_STEPS), (largest_arc, level * (1.0 - FOR_STEPS))];
    for (largest, share) in tests {
        let place = largest(&Centred::of(values, weights));
        let Some(p_value) = p_value(values, weights, largest, place.squares, share, rng) else { continue };
        let mut edges = vec![0];
        edges.extend(place.cuts.iter().flatten());
        edges.push(values.len());
        found.extend(place.cuts.iter().flatten().map(|at| (start + at, p_value)));
        for edge in edges.windows(2) {
            let (from, to) = (edge[0], edge[1]);
            // All pieces together have the level once more.
            let share = level * (to - from) as f64 / values.len() as f64;
            cut(&values[from..to], &weights[from..to], start + from, share, rng, found);
        }
        return;
    }
}

/// A cut of a piece, and the weighted sum of squares between its parts.
#[derive(Debug, Clone, Copy)]
struct Place {
    cuts: [Option<usize>; 2],
    squares: f64,
}

const NOWHERE: Place = Place { cuts: [None, None], squares: 0.0 };

/// Running sums of the weights, and of the weighted distances from the weighted mean.
struct Centred {
    weights: Vec<f64>,
    sums: Vec<f64>,
}

impl Centred {
    fn of(values: &[f64], weights: &[f64]) -> Self {
        let total: f64 = weights.iter().sum();
        let centre = values.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>() / total;
        let (mut weight_so_far, mut so_far) = (vec![0.0], vec![0.0]);
        for (value, weight) in values.iter().zip(weights) {
            weight_so_far.push(weight_so_far[weight_so_far.len() - 1] + weight);
            so_far.push(so_far[so_far.len() - 1] + weight * (value - centre));
        }
        Self { weights: weight_so_far, sums: so_far }
    }

    fn nights(&self) -> usize {
        self.sums.len() - 1
    }

    /// Sum of squares between the nights `from..to` and all others.
    fn between(&self, from: usize, to: usize) -> f64 {
        let all = self.weights[self.nights()];
        let inside = self.weights[to] - self.weights[from];
        let apart = self.sums[to] - self.sums[from];
        let scale = inside * (all - inside);
        if scale > 0.0 { apart * apart * all / scale } else { 0.0 }
    }
}

fn largest_step(piece: &Centred) -> Place {
    let mut best = NOWHERE;
    for at in LEAST..=piece.nights().saturating_sub(LEAST) {
        let squares = piece.between(0, at);
        if squares > best.squares {
            best = Place { cuts: [Some(at), None], squares };
        }
    }
    best
}

fn largest_arc(piece: &Centred) -> Place {
    let mut best = NOWHERE;
    let last = piece.nights().saturating_sub(LEAST);
    for from in LEAST..=last {
        for to in (from + LEAST)..=last.min(from + LONGEST_ARC) {
            let squares = piece.between(from, to);
            if squares > best.squares {
                best = Place { cuts: [Some(from), Some(to)], squares };
            }
        }
    }
    best
}

/// The p-value of a cut, unless it is above `level`.
fn p_value(
    values: &[f64],
    weights: &[f64],
    largest: fn(&Centred) -> Place,
    seen: f64,
    level: f64,
    rng: &mut impl Rng,
) -> Option<f64> {
    let most = ((20.0 / level).ceil() as u32).clamp(99, MOST_ORDERS);
    let stop_after = (level * f64::from(most + 1)).floor() as u32;
    let p_value = Orders { most, stop_after }.p_value(values, weights, largest, seen, rng);
    (p_value <= level).then_some(p_value)
}

/// How many random orders a piece is compared with.
struct Orders {
    most: u32,
    /// Once so many are as extreme, no more are needed.
    stop_after: u32,
}

impl Orders {
    /// The share of random orders whose largest sum of squares is as large. Stopping early keeps it a p-value (Besag and
    /// Clifford 1991).
    fn p_value(
        &self,
        values: &[f64],
        weights: &[f64],
        largest: fn(&Centred) -> Place,
        seen: f64,
        rng: &mut impl Rng,
    ) -> f64 {
        if seen <= 0.0 {
            return 1.0;
        }
        let mut nights: Vec<(f64, f64)> = values.iter().copied().zip(weights.iter().copied()).collect();
        let mut as_far = 0;
        for order in 1..=self.most {
            shuffle(&mut nights, rng);
            let (values, weights): (Vec<f64>, Vec<f64>) = nights.iter().copied().unzip();
            let squares = largest(&Centred::of(&values, &weights)).squares;
            as_far += u32::from(squares >= seen * (1.0 - 1e-9));
            if as_far >= self.stop_after.max(1) {
                return f64::from(as_far) / f64::from(order);
            }
        }
        f64::from(as_far + 1) / f64::from(self.most + 1)
    }
}

/// 1 / (own variance + variance between nights); all 1 where neither is known.
fn weights(series: &[Night]) -> Vec<f64> {
    let z = two_sided_z(OWN_CONFIDENCE);
    let own = |night: &Night| (night.half_width / z).powi(2);
    // Differences of neighbours hold twice the variance, and hardly any change of level.
    let steps: Vec<f64> = series.windows(2).map(|pair| pair[1].value - pair[0].value).collect();
    let scatter = spread(&steps).powi(2) / 2.0;
    let typical = median(&mut series.iter().map(own).collect::<Vec<_>>()).unwrap_or_default();
    let between = (scatter - typical).max(0.0);
    let floor = 1e-6 * series.iter().map(own).fold(0.0, f64::max);
    let weight = |night: &Night| 1.0 / (own(night) + between + floor);
    let all: Vec<f64> = series.iter().map(weight).collect();
    if all.iter().all(|weight| weight.is_finite()) { all } else { vec![1.0; series.len()] }
}

/// The values, the few smallest and largest of them replaced by the next ones (Winsor's mean). Their order plays no part in
/// it, so that random orders stay comparable, and a level of [`LEAST`] nights stays one.
fn clamped(series: &[Night]) -> Vec<f64> {
    let values: Vec<f64> = series.iter().map(|night| night.value).collect();
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let odd = (values.len() / ODD_ONE_OF).min(LEAST - 1);
    let (low, high) = (sorted[odd], sorted[sorted.len() - 1 - odd]);
    values.into_iter().map(|value| value.clamp(low, high)).collect()
}

/// A standard deviation that single numbers do not move: from the median distance to zero, or from the mean distance
/// where more than half of the numbers are zero (Iglewicz and Hoaglin 1993).
fn spread(numbers: &[f64]) -> f64 {
    let mut sizes: Vec<f64> = numbers.iter().map(|number| number.abs()).collect();
    let middle = median(&mut sizes).unwrap_or_default();
    if middle > 0.0 {
        return 1.4826 * middle;
    }
    1.2533 * sizes.iter().sum::<f64>() / sizes.len().max(1) as f64
}

/// The ends of the straight line through a series, where it describes it better than the best partition with so many
/// changes does: by what either leaves unexplained, and by what it has to choose (Schwarz 1978).
fn drift(costs: &Costs, changes: usize) -> Option<(f64, f64)> {
    let nights = costs.values.len() as f64;
    let (first, last) = costs.line();
    let by_levels = costs.of_partition(&costs.best_partition(changes));
    let rounding = 1e-9 * costs.cost(0, costs.values.len());
    let criterion = |left: f64, chosen: usize| nights * (left + rounding).ln() + chosen as f64 * nights.ln();
    let on_line = costs.about_line(first, last);
    (criterion(on_line, 2) < criterion(by_levels, 2 * changes + 1)).then_some((first, last))
}

/// What it costs to call any stretch of nights a level: the weighted sum of squares about it, bounded for each night.
struct Costs {
    values: Vec<f64>,
    weights: Vec<f64>,
    /// Farther from its level no night costs more.
    reach: f64,
    /// Of the nights `from..to`, at `from * (nights + 1) + to`.
    table: Vec<f64>,
}

impl Costs {
    /// `places`: about where the levels change.
    fn of(series: &[Night], weights: Vec<f64>, places: &[usize]) -> Self {
        let values: Vec<f64> = series.iter().map(|night| night.value).collect();
        let steps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let noise = spread(&steps) / std::f64::consts::SQRT_2;
        let edges = std::iter::once(0).chain(places.iter().copied());
        let levels: Vec<f64> = edges
            .zip(places.iter().copied().chain([values.len()]))
            .filter_map(|(from, to)| median(&mut values[from..to].to_vec()))
            .collect();
        let least_step =
            levels.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(f64::INFINITY, f64::min);
        let reach = (ODD * noise).max(if least_step.is_finite() { least_step / 2.0 } else { 0.0 });
        let nights = values.len();
        let mut costs = Self { values, weights, reach, table: vec![0.0; (nights + 1) * (nights + 1)] };
        for from in 0..nights {
            let mut sorted: Vec<f64> = Vec::new();
            for to in from + 1..=nights {
                let value = costs.values[to - 1];
                sorted.insert(sorted.partition_point(|other| *other < value), value);
                costs.table[from * (nights + 1) + to] = costs.about(from, to, costs.level(&sorted));
            }
        }
        costs
    }

    /// The mean of the nights that are near the median.
    fn level(&self, sorted: &[f64]) -> f64 {
        let middle = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        let near = sorted.iter().filter(|value| (*value - middle).abs() <= self.reach);
        let (sum, count) = near.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
        if count > 0.0 { sum / count } else { middle }
    }

    fn about(&self, from: usize, to: usize, level: f64) -> f64 {
        (from..to).map(|at| self.loss(at, level)).sum()
    }

    fn loss(&self, at: usize, level: f64) -> f64 {
        self.weights[at] * (self.values[at] - level).abs().min(self.reach).powi(2)
    }

    fn cost(&self, from: usize, to: usize) -> f64 {
        self.table[from * (self.values.len() + 1) + to]
    }

    /// Over all levels of a partition.
    fn of_partition(&self, starts: &[usize]) -> f64 {
        let edges = std::iter::once(0).chain(starts.iter().copied());
        edges
            .zip(starts.iter().copied().chain([self.values.len()]))
            .map(|(from, to)| self.cost(from, to))
            .sum()
    }

    /// The ends of a straight line through all nights: the median of the slopes between any two (Theil 1950, Sen 1968).
    fn line(&self) -> (f64, f64) {
        let nights = self.values.len();
        let slope = |from: usize, to: usize| (self.values[to] - self.values[from]) / (to - from) as f64;
        let mut slopes: Vec<f64> = (0..nights)
            .flat_map(|from| (from + 1..nights).map(move |to| (from, to)))
            .map(|(a, b)| slope(a, b))
            .collect();
        let slope = median(&mut slopes).unwrap_or_default();
        let mut starts: Vec<f64> =
            self.values.iter().enumerate().map(|(at, value)| value - slope * at as f64).collect();
        let first = median(&mut starts).unwrap_or_default();
        (first, first + slope * (nights - 1) as f64)
    }

    fn about_line(&self, first: f64, last: f64) -> f64 {
        let nights = self.values.len();
        let line = |at: usize| first + (last - first) * at as f64 / (nights - 1) as f64;
        (0..nights).map(|at| self.loss(at, line(at))).sum()
    }

    /// First nights of the levels behind the first one, for the partition with so many changes and the smallest cost.
    fn best_partition(&self, changes: usize) -> Vec<usize> {
        let nights = self.values.len();
        // The cost of the best partition of the first `to` nights, and where its last level starts.
        let mut best: Vec<(f64, usize)> = (0..=nights)
            .map(|to| if to >= LEAST { (self.cost(0, to), 0) } else { (f64::INFINITY, 0) })
            .collect();
        let mut lasts = Vec::new();
        for change in 1..=changes {
            let with_one_more = |to: usize| {
                let earliest = change * LEAST;
                let starts = earliest..=to.saturating_sub(LEAST);
                let of = |from: usize| (best[from].0 + self.cost(from, to), from);
                starts.map(of).min_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::INFINITY, 0))
            };
            best = (0..=nights).map(with_one_more).collect();
            lasts.push(best.iter().map(|(_, from)| *from).collect::<Vec<_>>());
        }
        let mut starts = Vec::new();
        let mut to = nights;
        for last in lasts.iter().rev() {
            to = last[to];
            starts.push(to);
        }
        starts.reverse();
        starts
    }

    /// Every night that may be the first of a new level, the neighbouring changes where they are.
    fn candidates(&self, starts: &[usize], number: usize, variance: f64, freedom: f64) -> Vec<usize> {
        let from = number.checked_sub(1).map_or(0, |before| starts[before]);
        let to = starts.get(number + 1).copied().unwrap_or(self.values.len());
        let cost = |at: usize| self.cost(from, at) + self.cost(at, to);
        let least = cost(starts[number]);
        // Nothing but rounding where the levels have no noise at all.
        let rounding = 1e-9 * self.cost(from, to);
        let reach = variance * date_limit(freedom) + rounding;
        (from + 1..to).filter(|&at| at == starts[number] || cost(at) - least <= reach).collect()
    }
}

/// How much worse another date may fit (in variances): the quantile of Hansen's distribution, P(x) = (1 - q)^2 with q
/// the tail of two squared normal numbers, exp(-x / 2), or of F(2, freedom) where the variance is estimated.
fn date_limit(freedom: f64) -> f64 {
    let tail = 1.0 - DATE_CONFIDENCE.sqrt();
    freedom * (tail.powf(-2.0 / freedom) - 1.0)
}

/// Fisher and Yates (1938).
fn shuffle<T>(items: &mut [T], rng: &mut impl Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, pick(rng, last + 1));
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;

    use super::super::{close, normal_quantile, rng};
    use super::*;

    fn nights(values: &[f64]) -> Vec<Night> {
        values.iter().map(|&value| Night { value, half_width: 0.0 }).collect()
    }

    fn course(values: &[f64], level: f64) -> Course {
        change_points(&nights(values), level, &mut rng(1, "course"))
    }

    fn dates(course: &Course) -> Vec<usize> {
        course.changes.iter().map(|change| change.at).collect()
    }

    fn uniform(rng: &mut ChaCha8Rng) -> f64 {
        (f64::from(rng.next_u32()) + 0.5) / (f64::from(u32::MAX) + 1.0)
    }

    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        normal_quantile(uniform(rng))
    }

    /// Student's t with two degrees of freedom: about one number in a hundred is beyond seven.
    fn heavy(rng: &mut ChaCha8Rng) -> f64 {
        let u = 2.0 * uniform(rng) - 1.0;
        u * (2.0 / (1.0 - u * u)).sqrt()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        let series = [0.80, 0.81, 0.79, 0.80, 0.82, 0.81, 0.70, 0.71, 0.69, 0.70];
        let changes = course(&series, 0.05).changes;
        assert_eq!(changes.len(), 1);
        assert_eq!((changes[0].at, &*changes[0].candidates), (6, [6].as_slice()));
        close(changes[0].before, 0.805, 1e-9);
        close(changes[0].after, 0.70, 1e-9);
    }

    /// A rank statistic gave nights of the old level that happened to lie above its median to the new one.
    #[test]
    fn a_clean_step_is_dated_to_its_night_wherever_it_is() {
        let mut noise = rng(5, "clean");
        let (mut series_in_all, mut right) = (0, 0);
        for n in [12, 14, 20, 35, 60] {
            for at in [n / 2, n - 5, n - 4] {
                for _ in 0..10 {
                    let level = |night| if night < at { 50.0 } else { 40.0 };
                    let series: Vec<f64> = (0..n).map(|night| level(night) + normal(&mut noise)).collect();
                    let found = dates(&course(&series, 0.01));
                    assert!(found.contains(&at), "{found:?} in {n} nights: {series:?}");
                    series_in_all += 1;
                    right += u32::from(found == [at]);
                }
            }
        }
        // Another date beside it is a false alarm: 1% of them.
        assert!(right >= series_in_all - 5, "{right} of {series_in_all}");
    }

    #[test]
    fn levels_without_any_noise_change_on_one_night() {
        let series: Vec<f64> = (0..15).map(|night| if night < 11 { 0.8125 } else { 0.7969 }).collect();
        let changes = course(&series, 0.05).changes;
        assert_eq!((changes[0].at, changes[0].candidates.len()), (11, 1));
    }

    #[test]
    fn the_set_of_dates_holds_the_night_as_often_as_it_says() {
        let mut noise = rng(6, "set");
        for (n, at, step) in [(20, 12, 2.0), (40, 30, 1.5), (15, 10, 3.0)] {
            let (mut found, mut held, mut nights) = (0, 0, 0);
            for _ in 0..200 {
                let level = |night| if night < at { 0.0 } else { step };
                let series: Vec<f64> = (0..n).map(|night| level(night) + normal(&mut noise)).collect();
                if let [change] = course(&series, 0.05).changes.as_slice() {
                    found += 1;
                    held += usize::from(change.candidates.contains(&at));
                    nights += change.candidates.len();
                }
            }
            // 95% less three standard errors.
            let least = 0.95 - 3.0 * (0.95 * 0.05 / found as f64).sqrt();
            assert!(found > 60, "{found} of 200 found");
            assert!(held as f64 >= least * found as f64, "{held} of {found} at a step of {step}");
            assert!(nights < 10 * found, "{nights} nights in {found} sets");
        }
    }

    #[test]
    fn one_bad_night_and_few_nights_are_no_change() {
        let outlier = [0.80, 0.81, 0.79, 0.10, 0.80, 0.82, 0.81, 0.80, 0.79, 0.81];
        assert_eq!(course(&outlier, 0.05), Course::default());
        assert_eq!(course(&[0.9, 0.9, 0.9, 0.1, 0.1, 0.1], 0.05), Course::default());
        assert_eq!(course(&[0.5; 20], 0.05), Course::default());
        assert_eq!(course(&[], 0.05), Course::default());
        assert_eq!(course(&[f64::NAN; 20], 0.05), Course::default());
    }

    #[test]
    fn bad_nights_beside_a_step_do_not_move_its_date() {
        let mut noise = rng(7, "bad nights");
        let mut right = 0;
        for bad in [2, 5, 9, 13] {
            for _ in 0..10 {
                let level = |night| if night < 11 { 50.0 } else { 40.0 };
                let mut series: Vec<f64> = (0..18).map(|night| level(night) + normal(&mut noise)).collect();
                series[bad] = 5.0;
                right += u32::from(dates(&course(&series, 0.01)) == [11]);
            }
        }
        assert!(right >= 38, "{right} of 40");
    }

    #[test]
    fn a_level_that_came_back_has_two_dates() {
        let mut noise = rng(9, "arc");
        let level = |night| if (20..26).contains(&night) { 40.0 } else { 50.0 };
        let series: Vec<f64> = (0..45).map(|night| level(night) + normal(&mut noise)).collect();
        assert_eq!(dates(&course(&series, 0.05)), [20, 26]);
    }

    #[test]
    fn a_drift_has_no_date() {
        let mut noise = rng(10, "drift");
        let mut drifts = 0;
        for _ in 0..20 {
            let series: Vec<f64> =
                (0..30).map(|night| 50.0 - 0.4 * f64::from(night) + normal(&mut noise)).collect();
            let course = course(&series, 0.05);
            drifts += u32::from(
                course.changes.is_empty() && course.drift.is_some_and(|(first, last)| first > last + 8.0),
            );
        }
        assert!(drifts >= 19, "{drifts} of 20");
    }

    /// A night with few items has a wide interval: it may be far off without a change.
    #[test]
    fn nights_weigh_by_their_own_intervals() {
        let mut series = nights(&[0.80, 0.81, 0.80, 0.79, 0.80, 0.81, 0.80, 0.79, 0.80, 0.72, 0.73, 0.71]);
        let sure = change_points(&series, 0.05, &mut rng(1, "weights"));
        assert_eq!(dates(&sure), [9]);
        for night in &mut series[9..] {
            night.half_width = 0.2;
        }
        assert_eq!(change_points(&series, 0.05, &mut rng(1, "weights")), Course::default());
    }

    #[test]
    fn evidence_is_a_p_value() {
        let mut rng = rng(12, "evidence");
        let mut small = 0;
        for _ in 0..400 {
            let series: Vec<f64> = (0..12).map(|_| normal(&mut rng)).collect();
            small += u32::from(evidence_of_change(&nights(&series), &mut rng).unwrap() <= 0.05);
        }
        // 5% of 400 and three standard errors.
        assert!(small <= 33, "{small} of 400");
        let step: Vec<f64> = (0..14).map(|night| if night < 9 { 1.0 } else { 3.0 }).collect();
        assert!(evidence_of_change(&nights(&step), &mut rng).unwrap() < 0.003);
        assert_eq!(evidence_of_change(&nights(&[1.0; 20]), &mut rng), None);
        assert_eq!(evidence_of_change(&nights(&[1.0, 2.0]), &mut rng), None);
    }

    #[test]
    fn noise_is_seldom_called_a_change() {
        type Noise = fn(&mut ChaCha8Rng) -> f64;
        let kinds: [(&str, Noise); 3] =
            [("normal", normal), ("heavy", heavy), ("coarse", |rng| (normal(rng) * 1.5).round())];
        for (name, noise) in kinds {
            for n in [6, 9, 14, 30, 60] {
                let mut rng = rng(8, &format!("{name} {n}"));
                let alarms = (0..200)
                    .filter(|_| {
                        let series: Vec<f64> = (0..n).map(|_| noise(&mut rng)).collect();
                        let course = change_points(&nights(&series), 0.05, &mut rng);
                        course != Course::default()
                    })
                    .count();
                // 5% of 200 and three standard errors.
                assert!(alarms <= 19, "{alarms} false alarms in 200 flat series of {n} nights, {name} noise");
            }
        }
    }
}
