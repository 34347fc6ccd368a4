//! From what fits to the settings that can matter: not the full product.

use super::super::fit::{FitTable, Fits, Quant, Row};
use crate::cli::ChooseArgs;
use crate::error::{Error, Kind, Result, nearest};
use crate::judge::analysis::summary::MemoryKind;
use crate::judge::analysis::words::{bytes, percent};
use crate::record::kv::kv_types;

/// Weights beside the reference's, at most.
const WEIGHTS: usize = 3;
/// Bits of a weight that are looked for, the most promising first: where the loss usually begins, well below, and above.
const WANTED_BITS: [f64; WEIGHTS] = [4.85, 3.6, 6.2];
/// Weights of more bits than this are not the reference unless they are named: twice the download for what hardly differs.
const PLAIN_BITS: f64 = 9.0;
/// A smaller file saves at least this share.
const SAVES: f64 = 0.08;
/// Files that differ by less than this share are tried once.
const AS_LARGE: f64 = 0.03;
/// A cache of a smaller share of the total is left as it is.
const CACHE_MATTERS: f64 = 0.03;

/// What is compared.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidates {
    /// The reference's weights, and its types of K and V.
    pub reference: (String, String, String),
    /// Other weights, the most promising first.
    pub weights: Vec<String>,
    /// Other types of K and V, the most promising first.
    pub caches: Vec<(String, String)>,
    /// Types of speculation beside none.
    pub speculation: Vec<String>,
    /// Bytes to download, by weights.
    pub downloads: Vec<(String, u64)>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

impl Candidates {
    /// Chooses among what fits; `speculation` joins as it is, since it changes no memory.
    ///
    /// # Errors
    /// When nothing fits as a whole, or a name is not offered.
    pub(super) fn of(args: &ChooseArgs, table: &FitTable, speculation: Vec<String>) -> Result<Self> {
        let mut notes = Vec::new();
        let quants = distinct(&table.quants, &mut notes);
        let caches = cache_types(table);
        let (reference, cache) = reference(args, table, &quants, &caches, &mut notes)?;
        let fits = |quant: &str, cache: &(String, String)| {
            row(table, quant, cache).is_some_and(|row| row.fits == Fits::Yes)
        };
        let weights = match &args.weights {
            Some(named) => named.iter().map(|name| named_quant(name, table)).collect::<Result<_>>()?,
            None => promising(&quants, reference),
        };
        let weights: Vec<String> =
            weights.into_iter().filter(|quant| *quant != reference.weights && fits(quant, &cache)).collect();
        let others =
            caches.iter().filter(|other| **other != cache).filter(|other| fits(&reference.weights, other));
        let mut others: Vec<(String, String)> = others.cloned().collect();
        let share = row(table, &reference.weights, &cache).and_then(cache_share);
        if args.kv.is_none() && share.is_some_and(|share| share < CACHE_MATTERS) {
            others.clear();
            let share = percent(share.unwrap_or_default());
            notes.push(format!(
                "types of the cache are left out: it is {share} of the memory (--kv asks for them)"
            ));
        }
        if weights.is_empty() && others.is_empty() && speculation.is_empty() {
            return Err(Error::new(Kind::NothingSelected, format!("there is nothing to choose from: {} is all that {} offers here", reference.weights, table.model))
                .hint("name a repository or folder with several quants, or types of the cache (--kv q8_0,q8_0/q4_0)"));
        }
        let size = |label: &String| {
            let quant = table.quants.iter().find(|quant| quant.weights == *label);
            (label.clone(), quant.map_or(0, |quant| quant.file_bytes))
        };
        let downloads = std::iter::once(&reference.weights).chain(&weights).map(size).collect();
        Ok(Self {
            reference: (reference.weights.clone(), cache.0, cache.1),
            weights,
            caches: others,
            speculation,
            downloads,
            notes,
        })
    }

    /// Settings that differ from the reference in one thing.
    pub(super) fn singles(&self) -> usize {
        self.weights.len() + self.caches.len() + self.speculation.len()
    }

    /// Keeps the most promising so many of those, weights and caches in turn, and then speculation.
    pub(super) fn keep(&mut self, most: usize) {
        let caches = self.caches.len().min(most.div_ceil(2).max(most.saturating_sub(self.weights.len())));
        let weights = self.weights.len().min(most - caches);
        let left_out = self.weights.split_off(weights);
        let speculation = self.speculation.len().min(most - caches - weights);
        let caches = self.caches.split_off(caches);
        let speculation = self.speculation.split_off(speculation);
        let names: Vec<String> =
            left_out.into_iter().chain(caches.iter().map(words)).chain(speculation).collect();
        if !names.is_empty() {
            self.notes.push(format!("left out, for the budget: {}", names.join(", ")));
        }
    }
}

fn words((k, v): &(String, String)) -> String {
    kv_types(k, v)
}

/// The types of the table, in its order.
fn cache_types(table: &FitTable) -> Vec<(String, String)> {
    let mut types: Vec<(String, String)> = Vec::new();
    for row in &table.rows {
        let cache = (row.k.clone(), row.v.clone());
        if !types.contains(&cache) {
            types.push(cache);
        }
    }
    types
}

fn row<'t>(table: &'t FitTable, quant: &str, (k, v): &(String, String)) -> Option<&'t Row> {
    table.rows.iter().find(|row| row.weights == quant && row.k == *k && row.v == *v)
}

fn cache_share(row: &Row) -> Option<f64> {
    Some(row.kv_bytes? as f64 / row.total_bytes.max(1) as f64)
}

/// Two files of the same types are one setting.
fn distinct<'t>(quants: &'t [Quant], notes: &mut Vec<String>) -> Vec<&'t Quant> {
    let mut kept: Vec<&Quant> = Vec::new();
    for quant in quants {
        let kinds = |quant: &Quant| -> Vec<(String, u64)> {
            quant.made_of.iter().map(|kind| (kind.name.clone(), kind.bytes)).collect()
        };
        match kept.iter().find(|other| kinds(other) == kinds(quant)) {
            Some(other) => notes.push(format!(
                "{} is left out: it is made of the same types as {}",
                quant.weights, other.weights
            )),
            None => kept.push(quant),
        }
    }
    kept
}

/// The finest weights that fit as a whole, with the finest cache that fits beside them.
fn reference<'t>(
    args: &ChooseArgs,
    table: &'t FitTable,
    quants: &[&'t Quant],
    caches: &[(String, String)],
    notes: &mut Vec<String>,
) -> Result<(&'t Quant, (String, String))> {
    let fitting = |quant: &Quant| {
        let fits = |cache: &&(String, String)| {
            row(table, &quant.weights, cache).is_some_and(|row| row.fits == Fits::Yes)
        };
        caches.iter().find(fits).cloned()
    };
    if let Some(named) = &args.reference {
        let label = named_quant(named, table)?;
        let quant = table.quants.iter().find(|quant| quant.weights == label);
        return quant
            .and_then(|quant| Some((quant, fitting(quant)?)))
            .ok_or_else(|| does_not_fit(&format!("{label} does not fit as a whole"), table));
    }
    let usual = |quant: &&&Quant| quant.bits_per_weight.is_none_or(|bits| bits <= PLAIN_BITS);
    let whole_cache = |quant: &Quant| fitting(quant).filter(|cache| Some(cache) == caches.first());
    let plain = quants.iter().filter(usual).find_map(|quant| Some((*quant, whole_cache(quant)?)));
    let any = || quants.iter().find_map(|quant| Some((*quant, fitting(quant)?)));
    let found = plain.or_else(any).ok_or_else(|| does_not_fit("nothing fits as a whole", table))?;
    if let Some(larger) = quants.iter().take_while(|quant| quant.weights != found.0.weights).last() {
        let why = if larger.bits_per_weight.is_some_and(|bits| bits > PLAIN_BITS) && fitting(larger).is_some()
        {
            "twice the download".to_owned()
        } else {
            format!("too large for {}", bytes(table.memory.bytes))
        };
        notes.push(format!("{} is not the reference: {why} (--reference names another)", larger.weights));
    }
    if Some(&found.1) != caches.first() {
        notes
            .push(format!("the reference's cache is {}: no weights fit beside a finer one", words(&found.1)));
    }
    Ok(found)
}

fn does_not_fit(message: &str, table: &FitTable) -> Error {
    let kind = if table.memory.kind == MemoryKind::Main { "main memory" } else { "GPU memory" };
    let message =
        format!("{message} into {} of {kind} at {} tokens", bytes(table.memory.bytes), table.context);
    let error = Error::new(Kind::NothingSelected, message);
    let error = table.notes.iter().take(1).fold(error, |error, note| error.hint(note.clone()));
    error.hint("`kneepoint fit` shows every quant and cache type, also with layers in main memory")
}

fn named_quant(name: &str, table: &FitTable) -> Result<String> {
    let labels = || table.quants.iter().map(|quant| quant.weights.as_str());
    if let Some(label) = labels().find(|label| label.eq_ignore_ascii_case(name.trim())) {
        return Ok(label.to_owned());
    }
    let error = Error::usage(format!("{} offers no weights `{name}`", table.model));
    let error = match nearest(name, labels()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    };
    Err(error.hint(format!("it has {}", labels().collect::<Vec<_>>().join(", "))))
}

/// Sizes below the reference's, spread over the bits that are looked for.
fn promising(quants: &[&Quant], reference: &Quant) -> Vec<String> {
    let limit = reference.weights_bytes as f64 * (1.0 - SAVES);
    let mut left: Vec<&Quant> = quants.iter().copied().filter(|q| (q.weights_bytes as f64) < limit).collect();
    let mut chosen: Vec<&Quant> = Vec::new();
    for wanted in WANTED_BITS {
        let distance = |quant: &&Quant| (quant.bits_per_weight.unwrap_or(wanted) - wanted).abs();
        let Some(best) = left.iter().copied().min_by(|a, b| distance(a).total_cmp(&distance(b))) else {
            break;
        };
        chosen.push(best);
        // What is about as large tells the same.
        left.retain(|quant| {
            let ratio = quant.weights_bytes as f64 / best.weights_bytes as f64;
            !(1.0 - AS_LARGE..=1.0 + AS_LARGE).contains(&ratio)
        });
    }
    chosen.into_iter().map(|quant| quant.weights.clone()).collect()
}

#[cfg(test)]
mod tests;
