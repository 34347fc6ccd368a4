//! Cases added up by cluster.

use std::collections::HashMap;
use std::hash::Hash;

use foldhash::fast::RandomState;

/// The cases of one stratum (a task, or an arm of it), added up by cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterSums {
    /// Sum of the items' values, a cluster each.
    pub sums: Vec<f64>,
    /// Number of cases, a cluster each; 0 where none was scored.
    pub counts: Vec<u32>,
}

impl ClusterSums {
    /// An empty stratum of so many clusters.
    pub fn new(clusters: usize) -> Self {
        Self { sums: vec![0.0; clusters], counts: vec![0; clusters] }
    }

    /// A cluster for each value.
    #[cfg(test)]
    pub(crate) fn singletons(values: &[f64]) -> Self {
        Self { sums: values.to_vec(), counts: vec![1; values.len()] }
    }

    /// Cases with the names (or numbers) of their clusters, added up; clusters in the order in which they first come.
    pub fn of<K: Eq + Hash>(cases: impl IntoIterator<Item = (K, f64)>) -> Self {
        let mut numbers: HashMap<K, usize, RandomState> = HashMap::default();
        let mut all = Self::default();
        for (cluster, value) in cases {
            let next = numbers.len();
            let number = *numbers.entry(cluster).or_insert(next);
            if number == next {
                all.sums.push(0.0);
                all.counts.push(0);
            }
            all.add(number, value);
        }
        all
    }

    /// Adds one case to its cluster.
    pub fn add(&mut self, cluster: usize, value: f64) {
        self.sums[cluster] += value;
        self.counts[cluster] += 1;
    }

    /// Number of cases in all clusters together.
    pub fn cases(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// Mean of the cases; `None` without any.
    pub fn mean(&self) -> Option<f64> {
        let count = f64::from(self.cases());
        (count > 0.0).then(|| self.sums.iter().sum::<f64>() / count)
    }

    /// Every value times a factor.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        Self { sums: self.sums.iter().map(|sum| sum * factor).collect(), counts: self.counts.clone() }
    }

    /// Means of the clusters that hold cases.
    pub fn cluster_means(&self) -> Vec<f64> {
        let pairs = self.sums.iter().zip(&self.counts);
        pairs.filter(|(_, count)| **count > 0).map(|(sum, count)| sum / f64::from(*count)).collect()
    }
}
