//! What to mind of the table, and what would make it fit.

use super::caches::Caches;
use super::data::{FitTable, Fits, KvMeasured, LaunchedType, Row};
use super::measured::Measured;
use crate::judge::analysis::summary::MemoryKind;
use crate::judge::analysis::words::{bytes, percent, thousands};
use crate::measure::model::{Form, Offering};
use crate::record::kv::{KvShape, KvUse, kv_types};

/// Every note, the most important first.
pub(super) fn notes(
    table: &FitTable,
    offering: &Offering,
    caches: &Caches,
    measured: &Measured,
) -> Vec<String> {
    let mut notes: Vec<String> = nearest_miss(table).into_iter().collect();
    notes.extend(table.kv_measured.as_ref().map(by_launch));
    let do_what = measured.why_not.as_deref().unwrap_or("start the server once to see what it takes");
    match (&table.kv_not_known, &measured.why_not) {
        (Some(why), _) => notes.push(format!("the KV cache is not known ({why}): totals lack it; {do_what}")),
        (None, Some(why)) => {
            notes.push(format!("types whose values' bytes are not known here were not measured: {why}"))
        }
        (None, None) => {}
    }
    notes.extend(table.quants.iter().filter_map(|quant| {
        let mostly = quant.mostly.as_ref()?;
        let share = quant.made_of.iter().find(|kind| kind.name == *mostly)?.share;
        let (label, share) = (&quant.weights, percent(share));
        Some(format!("{label} is that by name only: {share} of its weights are {mostly}"))
    }));
    if let Some(trained) = table.trained_context.filter(|trained| u64::from(table.context) > *trained) {
        let (context, trained) = (thousands(table.context.into()), thousands(trained));
        notes.push(format!(
            "the model was made for {trained} tokens: at {context} every setting answers worse"
        ));
    }
    notes.extend(prediction(table, offering));
    notes.extend(table.unread.iter().map(|unread| format!("{} was left out: {}", unread.file, unread.why)));
    notes.push(scope(table, offering, caches));
    notes
}

/// That figures are measured, and how.
fn by_launch(source: &KvMeasured) -> String {
    let KvMeasured { file, server, contexts, launched, because } = source;
    let lengths: Vec<String> = contexts.iter().map(|tokens| thousands((*tokens).into())).collect();
    let pair = |LaunchedType { k, v }: &LaunchedType| if k == v { k.clone() } else { format!("{k}/{v}") };
    let types: Vec<String> = launched.iter().map(pair).collect();
    format!(
        "{because}: the KV cache and what is computed in were measured by a short launch of the server ({server}) with {file} at {} tokens, on the processor, with the cache in {}; other lengths are on the line through these, other types follow from the bytes of their values",
        lengths.join(" and "),
        types.join(", ")
    )
}

/// The setting that lacks the least, and what would make it fit.
fn nearest_miss(table: &FitTable) -> Option<String> {
    if table.rows.iter().any(|row| row.fits == Fits::Yes) {
        return None;
    }
    let possible = |row: &&Row| row.kv_not_known.is_none() || table.kv_not_known.is_some();
    let nearest = table.rows.iter().filter(possible).min_by_key(|row| row.total_bytes)?;
    let short = bytes(nearest.total_bytes.saturating_sub(table.memory.bytes));
    let nothing = if table.rows.iter().all(|row| row.fits == Fits::No) {
        "nothing fits"
    } else {
        "nothing fits as a whole"
    };
    let (weights, cache) = (&nearest.weights, kv_types(&nearest.k, &nearest.v));
    let mut ways = vec![format!("--memory {}", mebibytes(nearest.total_bytes))];
    if let Some(context) = nearest.longest_context {
        ways.push(format!("--context {context}"));
    }
    ways.extend(bits(table, nearest).map(|bits| format!("weights of {bits:.1} bits or fewer")));
    Some(format!(
        "{nothing}: nearest is {weights} with {cache} K/V, {short} too much; it would fit with {}",
        ways.join(", or ")
    ))
}

/// A number of whole MiB that is no less.
fn mebibytes(bytes: u64) -> String {
    format!("{}MiB", bytes.div_ceil(1 << 20))
}

/// Bits of a weight with which the rest would fit beside the weights.
fn bits(table: &FitTable, row: &Row) -> Option<f64> {
    let rest = row.total_bytes.saturating_sub(row.weights_bytes);
    let left = table.memory.bytes.checked_sub(rest).filter(|left| *left > 0)?;
    let bits = table.quants.iter().find(|quant| quant.file == row.file)?.bits_per_weight?;
    let bits = (bits * left as f64 / row.weights_bytes as f64 * 10.0).floor() / 10.0;
    (bits >= 1.0).then_some(bits)
}

/// Layers that only predict further tokens.
fn prediction(table: &FitTable, offering: &Offering) -> Option<String> {
    let offered = offering.offered.first().filter(|offered| offered.form == Form::File)?;
    let count = offered.metadata.nextn_layers.filter(|count| *count > 0)? as usize;
    let layers = &offered.contents.layers;
    let last: u64 = layers.iter().rev().take(count).map(|layer| layer.all).sum();
    let what = if count == 1 {
        "its last layer predicts".to_owned()
    } else {
        format!("its last {count} layers predict")
    };
    let kv = KvUse::new(table.context, "f16", "f16");
    let shape = KvShape::of_prediction(&offered.metadata).ok().flatten();
    let drafting = shape
        .and_then(|shape| shape.bytes(kv).ok())
        .map_or_else(String::new, |cache| format!(", then {} in f16", bytes(cache.total())));
    Some(format!(
        "{what} further tokens ({} in {}): they are counted among the weights, and have no cache unless they draft{drafting}",
        bytes(last),
        offered.label
    ))
}

/// What the figures are of.
fn scope(table: &FitTable, offering: &Offering, caches: &Caches) -> String {
    if caches.is_paged() {
        let weights = "weights and the cache of one request";
        return format!(
            "totals are {weights}: what {} computes in is measured when it starts, and its pool takes the rest of the memory that it may use",
            caches.engine.title()
        );
    }
    let mut text = format!(
        "totals are {}'s buffers for one slot, batches of 512 and flash attention; the process and a card's driver take more",
        caches.engine.title()
    );
    if !table.compute_checked && table.kv_measured.is_none() {
        text += "; for this architecture the compute buffers are an estimate";
    }
    if table.memory.kind != MemoryKind::Main
        && let Some(input) = offering.offered.first().map(|offered| offered.contents.main_bytes())
    {
        text += &format!(
            "; the table of the vocabulary ({} in {}) lies in main memory",
            bytes(input),
            table.quants[0].weights
        );
    } else if offering.offered.iter().any(|offered| offered.contents.repacked_bytes > 0) {
        text += "; weights include what is kept twice, in another order, for processors with AVX2";
    }
    text
}
