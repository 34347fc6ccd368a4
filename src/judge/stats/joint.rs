//! The paired bootstrap of many cells at once.
//!
//! A draw gives every cluster a weight (how often it was drawn) that all cells share: that pairs them, and it
//! makes a draw of a cell one dot product. Every draw has a stream of its own, so draws can be made in any order.
//!
//! Most columns are nearly empty (paired differences) or nearly another column (scores of settings on the same cases):
//! then only where they differ is multiplied, which gives the same sums to the last bit.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::clusters::ClusterSums;
use super::parallel::{fill_rows, threads_for};
use super::random::for_each_pick;

/// Numbers that are multiplied side by side.
const LANES: usize = 16;

/// Products that are added in single precision before they go into a double (exact for whole numbers).
const BLOCK: usize = 4096;

/// A column is nearly empty when at most one of so many numbers is not 0.
const FEW: usize = 8;

/// Whole numbers up to this one are exact in single precision.
const EXACT: f64 = 16_777_216.0;

/// Draws made side by side: the cases are read once for all of them.
const TOGETHER: usize = 4;

/// Set in the number of a draw: its second stream, so that coins do not move what is drawn.
const COINS: usize = 1 << 63;

/// The bootstrap draws of one cell; a draw without any case is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CellDraws {
    /// Mean over strata of the strata's means.
    pub means: Vec<Option<f64>>,
    /// The same with one more case in every stratum that comes out right or wrong by the toss of a coin. Cells
    /// that agree on every case then still differ in some draws, the more the fewer cases they were seen on:
    /// an equality seen on four cases is not a certainty.
    pub smoothed: Vec<Option<f64>>,
}

/// Streams of random numbers, one a draw.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams {
    key: [u8; 32],
}

impl Streams {
    pub(super) fn of(rng: &mut impl Rng) -> Self {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Self { key }
    }

    pub(super) fn draw(&self, number: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream(number as u64);
        rng
    }
}

/// Bootstrap draws of cells together. Each cell is a list of strata (tasks), the same in all cells, and a
/// stratum has the same clusters in all cells (with no cases where a cell has none). Clusters are drawn whole,
/// inside their stratum, the same ones for every cell.
///
/// Formula: Efron and Tibshirani (1993), chapters 6 and 8; cluster form Davison and Hinkley (1997), 3.8.
pub fn joint_draws(cells: &[&[ClusterSums]], draws: u32, rng: &mut impl Rng) -> Vec<CellDraws> {
    let items: usize = cells.first().map_or(0, |strata| strata.iter().map(|s| s.sums.len()).sum());
    let steps = draws as usize * items * (cells.len() / 4 + 3);
    joint_draws_on(threads_for(steps), cells, draws, Streams::of(rng))
}

fn joint_draws_on(threads: usize, cells: &[&[ClusterSums]], draws: u32, streams: Streams) -> Vec<CellDraws> {
    let strata: Vec<Stratum> =
        (0..cells.first().map_or(0, |strata| strata.len())).map(|at| Stratum::of(cells, at)).collect();
    let groups = (draws as usize).div_ceil(TOGETHER);
    let mut rows = vec![(None, None); groups * TOGETHER * cells.len()];
    let state = || Group::new(&strata, cells.len());
    fill_rows(&mut rows, TOGETHER * cells.len(), threads, state, |group, number, row| {
        group.draw(&strata, streams, number * TOGETHER);
        for (place, total) in row.iter_mut().zip(&group.totals) {
            *place = total.means();
        }
    });
    rows.truncate(draws as usize * cells.len());
    let cell = |at: usize| {
        let own = rows.iter().skip(at).step_by(cells.len());
        let (means, smoothed) = own.copied().unzip();
        CellDraws { means, smoothed }
    };
    (0..cells.len()).map(cell).collect()
}

/// Draws that are made together, and the memory that they work in.
struct Group {
    /// How often each cluster was drawn: counted small, so that it stays in the cache, ..
    counts: Vec<u16>,
    /// .. and as it is multiplied, a draw after the other.
    weights: [Vec<f32>; TOGETHER],
    /// By column of the stratum at hand.
    drawn: Vec<Drawn>,
    /// By column: what [`few_dots`] gave; 0 for one that has no such entries.
    products: Vec<[f64; TOGETHER]>,
    /// By draw and cell.
    totals: Vec<Totals>,
    cells: usize,
}

impl Group {
    fn new(strata: &[Stratum], cells: usize) -> Self {
        let largest = strata.iter().map(|stratum| stratum.clusters).max().unwrap_or(0);
        Self {
            counts: vec![0; largest],
            weights: std::array::from_fn(|_| vec![0.0; largest]),
            drawn: Vec::with_capacity(cells),
            products: Vec::with_capacity(cells),
            totals: vec![Totals::default(); TOGETHER * cells],
            cells,
        }
    }

    /// The draws from `first` on.
    fn draw(&mut self, strata: &[Stratum], streams: Streams, first: usize) {
        let mut rngs: [_; TOGETHER] = std::array::from_fn(|at| streams.draw(first + at));
        let mut coins: [_; TOGETHER] = std::array::from_fn(|at| streams.draw((first + at) | COINS));
        self.totals.fill(Totals::default());
        for stratum in strata {
            for (weights, rng) in self.weights.iter_mut().zip(&mut rngs) {
                stratum.draw(&mut self.counts[..stratum.clusters], &mut weights[..stratum.clusters], rng);
            }
            let weights: [&[f32]; TOGETHER] = std::array::from_fn(|at| &self.weights[at][..stratum.clusters]);
            self.drawn.clear();
            self.products.clear();
            for (cell, column) in stratum.columns.iter().enumerate() {
                let product = column.sums.product(weights, &self.products);
                let drawn = column.drawn(weights, product, &self.drawn);
                self.products.push(product);
                for (at, drawn) in drawn.into_iter().enumerate() {
                    self.totals[at * self.cells + cell].add(drawn, &mut coins[at]);
                }
                self.drawn.push(drawn);
            }
        }
    }
}

/// A stratum as it is drawn: its clusters, and a column for each cell.
struct Stratum {
    clusters: usize,
    columns: Vec<Column>,
}

struct Column {
    sums: Sums,
    counts: Counts,
}

/// Sums a cluster.
enum Sums {
    All(Vec<f32>),
    /// Those that are not 0, where they are few.
    Few(Entries),
    /// Those that differ from an earlier column, where both are whole numbers: the difference to it.
    Beside(usize, Entries),
}

/// The few numbers of a column that are not 0, or the earlier column that has the same: paired differences are what a
/// setting's scores differ by from the reference's.
enum Entries {
    Own(Vec<Entry>),
    As(usize),
}

/// A number of a column that is not 0.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Entry {
    cluster: u32,
    value: f32,
}

/// Sum and number of the drawn cases of a column, for each draw.
type Drawn = [(f64, f64); TOGETHER];

/// Cases a cluster.
enum Counts {
    /// As many in every cluster: the drawn number is known without drawing.
    Same(f64),
    Own(Vec<f32>),
}

impl Stratum {
    fn of(cells: &[&[ClusterSums]], at: usize) -> Self {
        let clusters = cells.first().map_or(0, |strata| strata[at].sums.len());
        // What the columns are laid beside: the first one that is full, and of whole numbers.
        let mut base: Option<(usize, &ClusterSums)> = None;
        let mut columns: Vec<Column> = Vec::with_capacity(cells.len());
        for (number, strata) in cells.iter().enumerate() {
            let mut column = Column::of(&strata[at], base);
            column.sums.share(&columns);
            if base.is_none() && matches!(column.sums, Sums::All(_)) && is_whole(&strata[at].sums) {
                base = Some((number, &strata[at]));
            }
            columns.push(column);
        }
        Self { clusters, columns }
    }

    /// How often each cluster is drawn. No cluster comes up 65,536 times where there are fewer, and where there are more
    /// it does not happen.
    fn draw(&self, counts: &mut [u16], weights: &mut [f32], rng: &mut impl Rng) {
        counts.fill(0);
        for_each_pick(rng, self.clusters, self.clusters, |cluster| {
            let count = &mut counts[cluster];
            *count = count.saturating_add(1);
        });
        for (weight, count) in weights.iter_mut().zip(counts.iter()) {
            *weight = f32::from(*count);
        }
    }
}

impl Column {
    fn of(stratum: &ClusterSums, base: Option<(usize, &ClusterSums)>) -> Self {
        let first = stratum.counts.first().copied().unwrap_or(0);
        let counts = if stratum.counts.iter().all(|count| *count == first) {
            Counts::Same(f64::from(first))
        } else {
            Counts::Own(stratum.counts.iter().map(|count| *count as f32).collect())
        };
        Self { sums: Sums::of(&stratum.sums, base), counts }
    }

    /// `product` is that of its entries ([`Sums::product`]).
    fn drawn(&self, weights: [&[f32]; TOGETHER], product: [f64; TOGETHER], earlier: &[Drawn]) -> Drawn {
        let sums = match &self.sums {
            Sums::All(sums) => dots(weights, sums),
            Sums::Few(_) => product,
            Sums::Beside(base, _) => std::array::from_fn(|at| earlier[*base][at].0 + product[at]),
        };
        let counts = match &self.counts {
            Counts::Same(count) => [count * weights[0].len() as f64; TOGETHER],
            Counts::Own(counts) => dots(weights, counts),
        };
        std::array::from_fn(|at| (sums[at], counts[at]))
    }
}

impl Sums {
    fn of(sums: &[f64], base: Option<(usize, &ClusterSums)>) -> Self {
        if let Some(entries) = few(sums.iter().copied()) {
            return Self::Few(Entries::Own(entries));
        }
        if let Some((number, base)) = base.filter(|_| is_whole(sums)) {
            let differences = sums.iter().zip(&base.sums).map(|(own, base)| own - base);
            if let Some(entries) = few(differences) {
                return Self::Beside(number, Entries::Own(entries));
            }
        }
        Self::All(sums.iter().map(|sum| *sum as f32).collect())
    }

    fn entries(&self) -> Option<&Entries> {
        match self {
            Self::All(_) => None,
            Self::Few(entries) | Self::Beside(_, entries) => Some(entries),
        }
    }

    /// Leaves entries that an earlier column has, too, to that one.
    fn share(&mut self, earlier: &[Column]) {
        let (Self::Few(entries) | Self::Beside(_, entries)) = self else { return };
        let Entries::Own(own) = entries else { return };
        let same =
            |column: &Column| matches!(column.sums.entries(), Some(Entries::Own(other)) if other == own);
        if let Some(at) = earlier.iter().position(same) {
            *entries = Entries::As(at);
        }
    }

    /// The product of its few entries with the weights of each draw; 0 where it is full.
    fn product(&self, weights: [&[f32]; TOGETHER], earlier: &[[f64; TOGETHER]]) -> [f64; TOGETHER] {
        match self.entries() {
            Some(Entries::Own(entries)) => few_dots(weights, entries),
            Some(Entries::As(at)) => earlier[*at],
            None => [0.0; TOGETHER],
        }
    }
}

/// The numbers that are not 0, where they are few.
fn few(numbers: impl ExactSizeIterator<Item = f64> + Clone) -> Option<Vec<Entry>> {
    let present = numbers.clone().filter(|number| *number != 0.0).count();
    let entry = |(cluster, value): (usize, f64)| Entry { cluster: cluster as u32, value: value as f32 };
    (present * FEW <= numbers.len())
        .then(|| numbers.enumerate().filter(|(_, number)| *number != 0.0).map(entry).collect())
}

/// Whether all sums of the numbers are exact in single precision, however they are drawn and added up.
fn is_whole(numbers: &[f64]) -> bool {
    // Halved, for differences of two such columns.
    let largest = EXACT / 2.0 / numbers.len().max(1) as f64;
    numbers.iter().all(|number| number.fract() == 0.0 && number.abs() <= largest)
}

/// A cell's strata, added up in one draw.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    means: f64,
    smoothed: f64,
    strata: f64,
}

impl Totals {
    fn add(&mut self, (sum, count): (f64, f64), coins: &mut impl Rng) {
        let coin = f64::from(coins.next_u32() >> 31);
        if count > 0.0 {
            self.means += sum / count;
            self.smoothed += (sum + coin) / (count + 1.0);
            self.strata += 1.0;
        }
    }

    fn means(&self) -> (Option<f64>, Option<f64>) {
        let mean = |total: f64| (self.strata > 0.0).then(|| total / self.strata);
        (mean(self.means), mean(self.smoothed))
    }
}

/// The dot products of one column with the weights of each draw, block by block: a block is read from memory once.
fn dots(weights: [&[f32]; TOGETHER], values: &[f32]) -> [f64; TOGETHER] {
    let mut sums = [0.0; TOGETHER];
    for (number, values) in values.chunks(BLOCK).enumerate() {
        for (sum, weights) in sums.iter_mut().zip(weights) {
            let weights = &weights[number * BLOCK..][..values.len()];
            *sum += f64::from(dot_block(weights, values));
        }
    }
    sums
}

/// As [`dots`] of a column that is 0 everywhere else. What is added goes where [`dot_block`] adds it, in its order.
fn few_dots(weights: [&[f32]; TOGETHER], entries: &[Entry]) -> [f64; TOGETHER] {
    let clusters = weights[0].len();
    let tail = clusters - clusters % BLOCK % LANES;
    let mut sums = [0.0; TOGETHER];
    for entries in entries.chunk_by(|a, b| a.cluster as usize / BLOCK == b.cluster as usize / BLOCK) {
        let mut lanes = [[0.0_f32; LANES + 1]; TOGETHER];
        for entry in entries {
            let cluster = entry.cluster as usize;
            let lane = if cluster < tail { cluster % LANES } else { LANES };
            for (lanes, weights) in lanes.iter_mut().zip(&weights) {
                lanes[lane] += weights[cluster] * entry.value;
            }
        }
        for (sum, lanes) in sums.iter_mut().zip(&lanes) {
            *sum += f64::from(lanes[..LANES].iter().sum::<f32>() + lanes[LANES]);
        }
    }
    sums
}

fn dot_block(weights: &[f32], values: &[f32]) -> f32 {
    let (weights, values) = (weights.chunks_exact(LANES), values.chunks_exact(LANES));
    let mut tail = 0.0;
    for (weight, value) in weights.remainder().iter().zip(values.remainder()) {
        tail += weight * value;
    }
    let mut lanes = [0.0_f32; LANES];
    for (weights, values) in weights.zip(values) {
        for lane in 0..LANES {
            lanes[lane] += weights[lane] * values[lane];
        }
    }
    lanes.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use super::super::{close, rng};
    use super::*;

    fn numbers(n: usize) -> Vec<f64> {
        (0..n).map(|i| (i * 37 % 11) as f64 / 10.0).collect()
    }

    #[test]
    fn draws_do_not_depend_on_threads() {
        let strata = [ClusterSums::singletons(&numbers(70)), ClusterSums::singletons(&numbers(31))];
        let other = [ClusterSums::singletons(&[0.5; 70]), ClusterSums::new(31)];
        let on =
            |threads| joint_draws_on(threads, &[&strata, &other], 50, Streams::of(&mut rng(3, "threads")));
        assert_eq!(on(1), on(2));
        assert_eq!(on(1), on(13));
    }

    #[test]
    fn cells_are_drawn_together() {
        let one = [ClusterSums::singletons(&numbers(40))];
        let shifted = [ClusterSums::singletons(&numbers(40).iter().map(|x| x + 1.0).collect::<Vec<_>>())];
        let draws = joint_draws(&[&one, &shifted], 100, &mut rng(1, "pairs"));
        for (a, b) in draws[0].means.iter().zip(&draws[1].means) {
            close(b.unwrap() - a.unwrap(), 1.0, 1e-6);
        }
        let alone = joint_draws(&[&one], 100, &mut rng(1, "pairs"));
        let single_stratum = alone[0].means == draws[0].means;
        assert!(single_stratum, "a cell's draws do not depend on the other cells");
    }

    #[test]
    fn clusters_without_items_weigh_nothing() {
        let mut half = ClusterSums::new(20);
        (0..10).for_each(|cluster| half.add(cluster, 1.0));
        let draws = joint_draws(&[&[half], &[ClusterSums::new(20)]], 50, &mut rng(1, "empty"));
        assert!(draws[0].means.iter().all(|mean| *mean == Some(1.0)));
        assert!(draws[1].means.iter().all(Option::is_none));
        assert!(joint_draws(&[], 5, &mut rng(1, "none")).is_empty());
    }

    #[test]
    fn smoothing_shrinks_with_the_items() {
        let lowest = |n: usize| {
            let draws = joint_draws(&[&[ClusterSums::singletons(&vec![1.0; n])]], 200, &mut rng(1, "s"));
            draws[0].smoothed.iter().flatten().fold(1.0, |low: f64, mean| low.min(*mean))
        };
        close(lowest(4), 0.8, 1e-12);
        close(lowest(99), 0.99, 1e-12);
    }

    #[test]
    fn dot_products_are_exact_for_whole_numbers() {
        let weights: Vec<f32> = (0..10_007).map(|i| (i % 5) as f32).collect();
        let values: Vec<f32> = (0..10_007).map(|i| (i % 3) as f32 - 1.0).collect();
        let expected: f64 = (0..10_007).map(|i| f64::from(i % 5) * (f64::from(i % 3) - 1.0)).sum();
        assert_eq!(dots([&weights; TOGETHER], &values), [expected; TOGETHER]);
    }

    #[test]
    fn columns_that_are_nearly_empty_or_nearly_another_give_the_same_sums() {
        for clusters in [40, 4096, 10_007] {
            let weights: [Vec<f32>; TOGETHER] =
                std::array::from_fn(|at| (0..clusters).map(|i| ((i * 31 + at * 7) % 4) as f32).collect());
            let weights: [&[f32]; TOGETHER] = std::array::from_fn(|at| weights[at].as_slice());
            let base = ClusterSums::singletons(
                &(0..clusters).map(|i| f64::from(u8::from(i % 5 > 0))).collect::<Vec<_>>(),
            );
            let mut beside = base.clone();
            (0..clusters).step_by(17).for_each(|i| beside.sums[i] = 1.0 - beside.sums[i]);
            let thirds: Vec<f64> =
                (0..clusters).map(|i| if i % 11 == 3 { i as f64 / 3.0 } else { 0.0 }).collect();
            // What a paired difference to the first one is.
            let change: Vec<f64> = beside.sums.iter().zip(&base.sums).map(|(own, base)| own - base).collect();
            let columns =
                [base.clone(), beside, ClusterSums::singletons(&thirds), ClusterSums::singletons(&change)];
            let cells: Vec<&[ClusterSums]> = columns.iter().map(std::slice::from_ref).collect();
            let stratum = Stratum::of(&cells, 0);
            let [full, near, few, again] = stratum.columns.as_slice() else { panic!("four columns") };
            assert!(matches!(
                (&full.sums, &near.sums, &few.sums, &again.sums),
                (
                    Sums::All(_),
                    Sums::Beside(0, Entries::Own(_)),
                    Sums::Few(Entries::Own(_)),
                    Sums::Few(Entries::As(1))
                )
            ));
            let (mut drawn, mut products) = (Vec::new(), Vec::new());
            for (column, own) in stratum.columns.iter().zip(&columns) {
                products.push(column.sums.product(weights, &products));
                drawn.push(column.drawn(weights, products[products.len() - 1], &drawn));
                let single: Vec<f32> = own.sums.iter().map(|sum| *sum as f32).collect();
                assert_eq!(drawn[drawn.len() - 1].map(|(sum, _)| sum), dots(weights, &single), "{clusters}");
            }
        }
    }
}
