//! What commands share when they answer: data on stdout, tables, and the journal that figures come from.

use std::path::Path;

use serde::Serialize;

use crate::console::{self, Form, Reader};
use crate::error::{Context, EXIT_OK, Error, Kind, Result};
use crate::record::journal;
use crate::record::journal::Journal;
use crate::tree;

/// Prints data on stdout. A closed pipe is not an error: the work is done.
pub(super) fn print(text: &str) -> Result<u8> {
    console::data(text, Form::Plain).map(|_| EXIT_OK)
}

/// As [`print`], for what may hold our own colours.
pub(super) fn print_styled(text: &str) -> Result<u8> {
    let form = if console::stdout_has_colours() { Form::Coloured } else { Form::Plain };
    console::data(text, form).map(|_| EXIT_OK)
}

/// Prints one of many lines of JSON; those that would follow are not made for nobody.
///
/// # Errors
/// [`Kind::ReaderGone`] when nobody reads them.
pub(super) fn print_json_line(data: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string(data).context(|| "cannot write JSON".into())?;
    match console::data(&format!("{text}\n"), Form::Json)? {
        Reader::There => Ok(()),
        Reader::Gone => Err(Error::new(Kind::ReaderGone, "nobody reads stdout any more")),
    }
}

/// Prints data on stdout as JSON.
pub(super) fn print_json(data: &impl Serialize) -> Result<u8> {
    let text = tree::pretty(data).context(|| "cannot write JSON".into())?;
    console::data(&format!("{text}\n"), Form::Json).map(|_| EXIT_OK)
}

/// The journal of a run, for figures; what speaks against them is said first.
pub(super) fn open(folder: &Path) -> Result<Journal> {
    let journal = journal::load(folder)?;
    for doubt in &journal.doubts {
        // Also with --quiet: it is about the figures, not about how things go.
        console::note(&format!("warning: {}: {doubt}", folder.display()));
    }
    Ok(journal)
}

/// Columns without lines.
pub(super) fn plain_table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table
}

/// How the table at the end of a run looks here.
pub(super) fn look() -> crate::judge::report::Look {
    let width = comfy_table::Table::new().width();
    crate::judge::report::Look::of(console::stdout_is_terminal(), !console::stdout_has_colours(), width)
}
