//! What a running TabbyAPI says of itself: `/v1/model`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::config::PLAIN;
use crate::measure::engine::deviation::Deviations;
use crate::record::Effective;
use crate::record::suite::Cell;

/// Options that `/v1/model` names, by the same name.
const TOLD: &[&str] =
    &["cache_size", "max_batch_size", "chunk_size", "rope_scale", "rope_alpha", "prompt_template"];

/// Reads the card of the model in use; whatever is not found stays `None`.
pub(super) fn effective(card: &Value) -> Effective {
    let Some(parameters) = card.get("parameters").filter(|parameters| parameters.is_object()) else {
        return Effective::default();
    };
    let count = |key: &str| parameters.get(key).and_then(Value::as_u64);
    let short = |key: &str| u32::try_from(count(key)?).ok();
    let (k, v) = parameters.get("cache_mode").and_then(Value::as_str).and_then(cache_types).unzip();
    let drafts = parameters.get("draft").is_some_and(Value::is_object);
    Effective {
        k,
        v,
        context: short("max_seq_len"),
        slots: short("max_batch_size"),
        // It does not name n-grams and MTP: without a draft model nothing is known.
        speculation: drafts.then(|| "model".to_owned()),
        kv_pool_tokens: count("cache_size"),
        options: options(parameters),
        ..Effective::default()
    }
}

/// `FP16`, `Q6`, or `8,4` -> the types of K and V.
fn cache_types(mode: &str) -> Option<(String, String)> {
    if mode == PLAIN || mode.starts_with('Q') {
        return Some((mode.to_owned(), mode.to_owned()));
    }
    let (k, v) = mode.split_once(',')?;
    Some((format!("Q{}", k.trim()), format!("Q{}", v.trim())))
}

fn options(parameters: &Value) -> BTreeMap<String, String> {
    let named = TOLD.iter().filter_map(|name| {
        let value = match parameters.get(*name)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        Some(((*name).to_owned(), value))
    });
    named.collect()
}

/// One line a setting that the server runs otherwise than asked. What it does not say is no deviation.
pub(super) fn deviations(cell: &Cell, effective: &Effective) -> Vec<String> {
    let mut found = Deviations::of(cell, effective);
    found.cache_sides();
    found.context("context");
    found.speculation(|asked, runs| asked == runs);
    found.options(&effective.options, &effective.renamed)
}
