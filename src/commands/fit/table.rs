//! The answer as text.

use super::data::{FitTable, Fits, Quant, Row};
use crate::commands::output::plain_table;
use crate::console::clean;
use crate::judge::analysis::words::{bytes, percent, thousands};
use crate::record::kv::kv_types;

/// Types of tensors that are named at most.
const KINDS: usize = 3;
/// Share of the weights from which on a type is named.
const LEAST: f64 = 0.001;
/// Where nothing is known.
const NONE: &str = "–";

/// The head, the quants, every quant with every cache type, and the notes.
pub(super) fn text(table: &FitTable) -> String {
    let notes: Vec<String> = table.notes.iter().map(|note| format!("- {note}")).collect();
    let parts = [head(table), quants(table), rows(table), notes.join("\n")];
    format!("{}\n", clean(&parts.join("\n\n")))
}

fn head(table: &FitTable) -> String {
    let mut model =
        vec![table.architecture.clone().unwrap_or_else(|| "of an unnamed architecture".to_owned())];
    model.extend(table.layers.map(|layers| format!("{layers} layers")));
    model.extend(table.trained_context.map(|tokens| format!("made for {} tokens", thousands(tokens))));
    let memory = &table.memory;
    let kind = match memory.kind {
        crate::judge::analysis::summary::MemoryKind::Main => "main memory",
        _ => "GPU memory",
    };
    format!(
        "{}: {}\n{} tokens in {} of {kind} ({}), {}",
        table.origin,
        model.join(", "),
        thousands(table.context.into()),
        bytes(memory.bytes),
        memory.source,
        table.engine.title()
    )
}

fn quants(table: &FitTable) -> String {
    let mut drawn = plain_table();
    drawn.set_header(["weights", "to download", "bits a weight", "made of", "file"]);
    for quant in &table.quants {
        let bits = quant.bits_per_weight.map_or_else(|| NONE.to_owned(), |bits| format!("{bits:.2}"));
        drawn.add_row([label(quant), bytes(quant.file_bytes), bits, made_of(quant), quant.file.clone()]);
    }
    drawn.trim_fmt()
}

/// What it is called, and what it is instead.
fn label(quant: &Quant) -> String {
    match &quant.mostly {
        Some(mostly) => format!("{} (mostly {mostly})", quant.weights),
        None => quant.weights.clone(),
    }
}

fn made_of(quant: &Quant) -> String {
    let kinds = quant.made_of.iter().filter(|kind| kind.share >= LEAST);
    let words: Vec<String> = kinds.map(|kind| format!("{} {}", kind.name, percent(kind.share))).collect();
    match words.len() {
        0 => NONE.to_owned(),
        1..=KINDS => words.join(", "),
        all => format!("{}, {} more", words[..KINDS].join(", "), all - KINDS),
    }
}

fn rows(table: &FitTable) -> String {
    let mut drawn = plain_table();
    drawn.set_header([
        "weights",
        "K/V",
        "weights",
        "KV cache",
        "compute",
        "total",
        "fits",
        "longest context",
    ]);
    let mut rows = table.rows.as_slice();
    while let [first, rest @ ..] = rows {
        let alike = rest.iter().take_while(|row| is_alike(first, row)).count();
        let (same, others) = rows.split_at(alike + 1);
        drawn.add_row(row(table, same));
        rows = others;
    }
    drawn.trim_fmt()
}

/// Whether two cache types take the same.
fn is_alike(a: &Row, b: &Row) -> bool {
    (&a.file, a.kv_bytes, a.total_bytes, a.measured, &a.kv_not_known)
        == (&b.file, b.kv_bytes, b.total_bytes, b.measured, &b.kv_not_known)
}

/// One line for cache types that take the same.
fn row(table: &FitTable, same: &[Row]) -> Vec<String> {
    let first = &same[0];
    let quant = table.quants.iter().find(|quant| quant.file == first.file);
    let caches: Vec<String> = same.iter().map(|row| kv_types(&row.k, &row.v)).collect();
    let measured = if first.measured { " (measured)" } else { "" };
    let known = |figure: Option<u64>, or: &str| figure.map_or_else(|| or.to_owned(), bytes);
    vec![
        quant.map_or_else(|| first.weights.clone(), label),
        caches.join(" "),
        bytes(first.weights_bytes),
        known(first.kv_bytes, "not known") + measured,
        known(first.compute_bytes, "not known") + measured,
        bytes(first.total_bytes),
        fits(table, first),
        first.longest_context.map_or_else(|| NONE.to_owned(), |tokens| thousands(tokens.into())),
    ]
}

/// Whether it fits, with the flag that makes it.
fn fits(table: &FitTable, row: &Row) -> String {
    let layers = row.layers_in_main_memory.unwrap_or_default();
    let of = table.layers.map(|all| format!(" of {all}")).unwrap_or_default();
    // The output counts as one more layer.
    let on_card = table.layers.map_or(0, |all| (all + 1).saturating_sub(layers.into()));
    match (row.fits, row.short_bytes, &row.kv_not_known) {
        (Fits::Yes, ..) => "yes".to_owned(),
        (Fits::WithExpertsInMainMemory, ..) => {
            format!("experts of {layers}{of} layers in main memory (--n-cpu-moe {layers})")
        }
        (Fits::WithLayersInMainMemory, ..) => format!("{layers}{of} layers in main memory (-ngl {on_card})"),
        (Fits::No, Some(short), _) => format!("no, {} too much", bytes(short)),
        (Fits::No, None, Some(why)) => format!("no: {why}"),
        (Fits::No, None, None) => "no".to_owned(),
    }
}
