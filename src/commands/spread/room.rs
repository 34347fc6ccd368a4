//! How the workers of one machine share its processors and its main memory.

use std::collections::{BTreeMap, HashSet};

use crate::judge::analysis::words::bytes;

/// The processors of each worker: whole cores, as many for each, of those near its cards as far as there are enough (`near`: by
/// worker, empty where nobody knows). None where there are fewer cores than workers.
pub(super) fn dealt(cores: &[Vec<usize>], near: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let each = cores.len().checked_div(near.len()).unwrap_or_default();
    if each == 0 {
        return Vec::new();
    }
    let mut free: Vec<&Vec<usize>> = cores.iter().collect();
    let mut dealt: Vec<Vec<&Vec<usize>>> = vec![Vec::new(); near.len()];
    for (processors, workers) in neighbours(near) {
        let here = |core: &&Vec<usize>| core.iter().any(|cpu| processors.contains(cpu));
        let (mine, others): (Vec<_>, Vec<_>) = free.into_iter().partition(here);
        let share = each.min(mine.len() / workers.len());
        let mut mine = mine.into_iter();
        for worker in workers {
            dealt[worker].extend(mine.by_ref().take(share));
        }
        free = mine.chain(others).collect();
    }
    free.sort_unstable();
    let mut free = free.into_iter();
    for worker in &mut dealt {
        let missing = each - worker.len();
        worker.extend(free.by_ref().take(missing));
    }
    dealt.into_iter().map(|cores| cores.into_iter().flatten().copied().collect()).collect()
}

/// The workers that are near the same processors, together; those of which nobody knows are near none.
fn neighbours(near: &[Vec<usize>]) -> Vec<(HashSet<usize>, Vec<usize>)> {
    let mut places: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for (worker, processors) in near.iter().enumerate().filter(|(_, processors)| !processors.is_empty()) {
        let mut place = processors.clone();
        place.sort_unstable();
        place.dedup();
        places.entry(place).or_default().push(worker);
    }
    places.into_iter().map(|(place, workers)| (place.into_iter().collect(), workers)).collect()
}

/// What is wrong where the largest models, as many as there are workers, do not fit into the free main memory together: each
/// server reads its own through it, also to a card (sizes in bytes). A model that several serve is there once.
pub(super) fn crowded(models: &[u64], workers: usize, free: u64) -> Option<String> {
    let mut largest = models.to_vec();
    largest.sort_unstable_by(|a, b| b.cmp(a));
    largest.truncate(workers);
    let needed: u64 = largest.iter().fold(0, |sum, size| sum.saturating_add(*size));
    (workers > 1 && needed > free).then(|| {
        format!(
            "the {} largest models of the suite take {} of main memory together, and {} are free: servers that load at the same \
             time slow each other down, or are ended by the kernel; name fewer cards (`--gpus`)",
            largest.len(),
            bytes(needed),
            bytes(free)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNKNOWN: &[usize] = &[];

    fn shares(cores: &[Vec<usize>], near: &[&[usize]]) -> Vec<Vec<usize>> {
        dealt(cores, &near.iter().map(|near| near.to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn whole_cores_are_dealt_as_many_to_each() {
        let cores = [vec![0, 4], vec![1, 5], vec![2, 6], vec![3, 7], vec![8]];
        assert_eq!(shares(&cores, &[UNKNOWN; 2]), [vec![0, 4, 1, 5], vec![2, 6, 3, 7]]);
        assert_eq!(shares(&cores, &[UNKNOWN; 5]).len(), 5);
        assert!(shares(&cores, &[UNKNOWN; 6]).is_empty() && shares(&[], &[UNKNOWN]).is_empty());
        // One memory for all: as if nobody knew.
        let all: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(shares(&cores, &[all; 2]), shares(&cores, &[UNKNOWN; 2]));
    }

    /// Two sockets of four cores: 0 to 3 with 8 to 11 for their second threads, and 4 to 7 with 12 to 15.
    fn two_sockets() -> Vec<Vec<usize>> {
        (0..8).map(|core| vec![core, core + 8]).collect()
    }
    const FIRST: &[usize] = &[0, 1, 2, 3, 8, 9, 10, 11];
    const SECOND: &[usize] = &[4, 5, 6, 7, 12, 13, 14, 15];

    #[test]
    fn a_worker_gets_the_cores_near_its_card() {
        let cores = two_sockets();
        assert_eq!(
            shares(&cores, &[SECOND, FIRST]),
            [[4, 12, 5, 13, 6, 14, 7, 15], [0, 8, 1, 9, 2, 10, 3, 11]]
        );
        let four = shares(&cores, &[FIRST, SECOND, FIRST, SECOND]);
        assert_eq!(four, [[0, 8, 1, 9], [4, 12, 5, 13], [2, 10, 3, 11], [6, 14, 7, 15]]);
    }

    #[test]
    fn where_one_side_has_more_cards_than_cores_the_others_are_dealt_too() {
        let cores = two_sockets();
        let three = shares(&cores, &[FIRST, FIRST, FIRST]);
        assert_eq!(three.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4]);
        let mut all = three.concat();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 12, "no core is dealt twice: {three:?}");
        assert!(three.iter().all(|share| FIRST.contains(&share[0])));
        let mixed = shares(&cores, &[FIRST, UNKNOWN]);
        assert_eq!(mixed, [[0, 8, 1, 9, 2, 10, 3, 11], [4, 12, 5, 13, 6, 14, 7, 15]]);
    }

    #[test]
    fn models_that_do_not_fit_side_by_side_are_said_to() {
        let gib = |n: u64| n << 30;
        let models = [gib(4), gib(40), gib(30)];
        assert_eq!(crowded(&models, 2, gib(80)), None);
        assert_eq!(crowded(&models, 1, gib(8)), None, "a server alone is no crowd");
        let said = crowded(&models, 2, gib(64)).unwrap();
        assert!(said.contains("the 2 largest models") && said.contains("70.0 GiB"), "{said}");
        assert!(crowded(&models[..1], 4, gib(64)).is_none(), "one model for all is there once");
    }
}
