//! How tables look on a terminal, and elsewhere.

use comfy_table::presets::{NOTHING, UTF8_FULL_CONDENSED};
use comfy_table::{ContentArrangement, Table};

/// How a table may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Colours and bold type.
    pub colour: bool,
    /// Columns to stay within; `None`: as wide as it gets.
    pub width: Option<u16>,
    /// Lines around the cells.
    pub lines: bool,
}

impl Look {
    /// Fit for the output: a terminal of that width gets lines, and colour unless `no_color` (the variable
    /// `NO_COLOR` is set and not empty); anything else gets plain columns that are never wrapped.
    pub fn of(is_terminal: bool, no_color: bool, width: Option<u16>) -> Self {
        Self { colour: is_terminal && !no_color, width: width.filter(|_| is_terminal), lines: is_terminal }
    }
}

/// A table without rows.
pub(super) fn blank(look: Look) -> Table {
    let mut table = Table::new();
    table.load_style(if look.lines { UTF8_FULL_CONDENSED } else { NOTHING });
    table.force_no_tty();
    if look.colour {
        table.enforce_styling();
    }
    if let Some(width) = look.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

/// Its lines.
pub(super) fn drawn(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}
