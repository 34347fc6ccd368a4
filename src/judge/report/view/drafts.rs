//! How the tokens of drafts did, by their position.

use serde::Serialize;

use crate::judge::analysis::summary::{SpeculationRow, Summary};

/// Positions of a draft that have a column, where any draft reaches so far.
const POSITIONS: [u32; 12] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];

/// Accepted shares by position within a draft.
#[derive(Serialize)]
pub(super) struct DraftPositions<'a> {
    positions: Vec<u32>,
    rows: Vec<PositionsRow<'a>>,
}

#[derive(Serialize)]
struct PositionsRow<'a> {
    setting: &'a str,
    context: u32,
    shares: Vec<Option<f64>>,
}

/// Returns the table, without rows where no reply says how the positions did.
pub(super) fn positions(summary: &Summary) -> DraftPositions<'_> {
    let rows = &summary.speculation;
    let reached =
        |position: &u32| rows.iter().any(|row| row.positions.iter().any(|at| at.position == *position));
    let positions: Vec<u32> = POSITIONS.into_iter().filter(reached).collect();
    let known = rows.iter().filter(|row| !row.positions.is_empty());
    let rows = known.map(|row| line(row, &positions)).collect();
    DraftPositions { positions, rows }
}

fn line<'a>(row: &'a SpeculationRow, positions: &[u32]) -> PositionsRow<'a> {
    let share = |position: &u32| {
        let at = row.positions.iter().find(|at| at.position == *position);
        at.map(|at| at.acceptance.value)
    };
    let shares = positions.iter().map(share).collect();
    PositionsRow { setting: &row.setting, context: row.context, shares }
}
