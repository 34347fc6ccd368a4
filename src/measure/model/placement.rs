//! Whether weights, cache and buffers fit into a memory, wholly or with a part in main memory.

use super::contents::{Contents, LayerBytes};

/// What a server needs, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// Weights.
    pub weights: u64,
    /// KV cache.
    pub kv: u64,
    /// What it computes in.
    pub compute: u64,
}

impl Demand {
    /// All together.
    pub const fn total(self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.compute)
    }
}

/// Whether it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// As a whole.
    Whole,
    /// With the experts of the first so many layers in main memory.
    Experts {
        /// Layers.
        layers: u32,
        /// Bytes in main memory.
        main: u64,
    },
    /// With the first so many layers in main memory, their part of the cache included.
    Layers {
        /// Layers.
        layers: u32,
        /// Bytes in main memory.
        main: u64,
    },
    /// Not at all.
    No {
        /// Bytes that are lacking.
        short: u64,
    },
}

impl Fit {
    /// Fits into a memory that takes all or nothing.
    pub const fn whole(total: u64, memory: u64) -> Self {
        match total.checked_sub(memory) {
            None | Some(0) => Self::Whole,
            Some(short) => Self::No { short },
        }
    }

    /// Fits onto a card with main memory beside it: whole, else with as few experts as need be in main memory, else with as
    /// few layers as need be (with equal parts of the cache).
    pub fn on_card(contents: &Contents, demand: Demand, memory: u64) -> Self {
        let total = demand.total();
        if total <= memory {
            return Self::Whole;
        }
        let experts = spill(&contents.layers, total, memory, |layer| layer.experts);
        if let Some((layers, main)) =
            experts.filter(|_| contents.layers.iter().any(|layer| layer.experts > 0))
        {
            return Self::Experts { layers, main };
        }
        let share = demand.kv / (contents.layers.len() as u64).max(1);
        match spill(&contents.layers, total, memory, |layer| layer.all.saturating_add(share)) {
            Some((layers, main)) => Self::Layers { layers, main },
            None => Self::No { short: total - memory },
        }
    }
}

/// How many of the first layers must go, and their bytes; `None` when all of them are not enough.
fn spill(
    layers: &[LayerBytes],
    total: u64,
    memory: u64,
    part: impl Fn(&LayerBytes) -> u64,
) -> Option<(u32, u64)> {
    let mut gone = 0_u64;
    for (count, layer) in (1..).zip(layers) {
        gone = gone.saturating_add(part(layer));
        if total.saturating_sub(gone) <= memory {
            return Some((count, gone));
        }
    }
    None
}

/// The longest context of at most `most` tokens for which `fits` holds, in steps of 256 tokens; `None` when none does.
pub fn longest_context(most: u32, fits: impl Fn(u32) -> bool) -> Option<u32> {
    const STEP: u32 = 256;
    if fits(most) {
        return Some(most);
    }
    // What fits at a length fits at any shorter one.
    let (mut short, mut long) = (0, most.div_ceil(STEP));
    while long - short > 1 {
        let middle = short + (long - short) / 2;
        if fits(middle * STEP) { short = middle } else { long = middle }
    }
    (short > 0).then_some(short * STEP)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(layers: u64, all: u64, experts: u64) -> Contents {
        Contents { layers: vec![LayerBytes { all, experts }; layers as usize], ..Contents::default() }
    }

    #[test]
    fn what_is_too_large_goes_to_main_memory_layer_by_layer() {
        let dense = model(10, 100, 0);
        let demand = Demand { weights: 1000, kv: 200, compute: 50 };
        assert_eq!(Fit::on_card(&dense, demand, 1250), Fit::Whole);
        assert_eq!(Fit::on_card(&dense, demand, 1249), Fit::Layers { layers: 1, main: 120 });
        assert_eq!(Fit::on_card(&dense, demand, 60), Fit::Layers { layers: 10, main: 1200 });
        assert_eq!(Fit::on_card(&dense, demand, 49), Fit::No { short: 1201 });
        assert_eq!(Fit::whole(10, 10), Fit::Whole);
        assert_eq!(Fit::whole(11, 10), Fit::No { short: 1 });
    }

    #[test]
    fn experts_go_first() {
        let mixed = model(10, 100, 80);
        let demand = Demand { weights: 1000, kv: 200, compute: 50 };
        assert_eq!(Fit::on_card(&mixed, demand, 1000), Fit::Experts { layers: 4, main: 320 });
        assert_eq!(Fit::on_card(&mixed, demand, 300), Fit::Layers { layers: 8, main: 960 });
    }

    #[test]
    fn the_longest_context_is_found() {
        assert_eq!(longest_context(8192, |_| true), Some(8192));
        assert_eq!(longest_context(8192, |context| context <= 5000), Some(4864));
        assert_eq!(longest_context(8192, |_| false), None);
        assert_eq!(longest_context(100, |context| context <= 50), None);
    }
}
