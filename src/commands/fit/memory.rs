//! The memory that there is.

use super::caches::Caches;
use super::data::Memory;
use crate::cli::FitArgs;
use crate::judge::analysis::summary::MemoryKind;
use crate::measure::probe::machine::machine;

/// What was named, else that of this machine: its cards', or its main memory where there are none.
pub(super) fn memory(args: &FitArgs, caches: &Caches) -> Memory {
    let on_card = !args.cpu || caches.is_paged();
    let kind = if on_card { MemoryKind::Gpu } else { MemoryKind::Main };
    if let Some(bytes) = args.memory {
        return Memory { bytes, kind, source: "--memory".to_owned() };
    }
    let machine = machine();
    let cards: Vec<u64> = machine.cards.iter().filter_map(|card| card.memory_bytes).collect();
    if on_card && !cards.is_empty() {
        return Memory { bytes: cards.iter().sum(), kind, source: machine.gpus.join(", ") };
    }
    Memory { bytes: machine.memory_bytes, kind: MemoryKind::Main, source: "this machine".to_owned() }
}
