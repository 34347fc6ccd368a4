//! What is said of energy and GPU memory.

use crate::judge::analysis::summary::{CellSummary, Summary};
use crate::judge::report::text;

/// Whether a cell has energy or GPU memory to show.
pub(super) const fn is_known(cell: &CellSummary) -> bool {
    cell.energy.is_some() || cell.memory.peak_vram_device_bytes.is_some()
}

/// What the energy holds, in a sentence; `None` where none was measured.
pub(super) fn words(summary: &Summary) -> Option<String> {
    let energy = summary.cells.iter().find_map(|cell| cell.energy.as_ref())?;
    let parts = match (energy.gpu, energy.cpu) {
        (true, true) => "the graphics cards and the processor packages",
        (true, false) => "the graphics cards (this machine has no counters for the processor)",
        _ => "the processor packages",
    };
    let idle = match energy.idle_w {
        Some(idle) => format!(
            "The {} W that a card used before the first server started are taken off; that a loaded model keeps \
             its clocks up is not.",
            text::significant(idle)
        ),
        None => "What they use when idle is in it.".to_owned(),
    };
    Some(format!("Energy of {parts} during the requests, prefill included. {idle}"))
}
