//! The table of energy and GPU memory.

use serde::Serialize;

use crate::judge::analysis::summary::{CellSummary, Summary};
use crate::judge::report::text;

/// A cell's energy and GPU memory.
#[derive(Serialize)]
pub(super) struct EnergyView {
    context: String,
    setting: String,
    request: String,
    token: String,
    right: String,
    vram: String,
    cards: String,
}

/// One row a cell that has any of it.
pub(super) fn rows(summary: &Summary) -> Vec<EnergyView> {
    summary.cells.iter().filter_map(row).collect()
}

fn row(cell: &CellSummary) -> Option<EnergyView> {
    let energy = cell.energy.as_ref();
    let memory = &cell.memory;
    if energy.is_none() && memory.peak_vram_device_bytes.is_none() {
        return None;
    }
    let joules = |value: Option<f64>| value.map_or(text::NONE.to_owned(), text::significant);
    let bytes = |value: Option<u64>| value.map_or(text::NONE.to_owned(), text::bytes);
    Some(EnergyView {
        context: text::tokens(cell.context),
        setting: text::code(&cell.setting),
        request: text::estimate(energy.map(|energy| energy.per_request_j), text::significant),
        token: joules(energy.and_then(|energy| energy.per_token_j)),
        right: joules(energy.and_then(|energy| energy.per_right_answer_j)),
        vram: bytes(memory.peak_vram_bytes),
        cards: bytes(memory.peak_vram_device_bytes),
    })
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
