//! Memory that is not what the reader takes it for.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::limits::SHARED_LIMIT;
use crate::judge::analysis::summary::{
    MemoryCheck, MemoryFit, MemoryKind, MemorySummary, Summary, Unit, WarningCode,
};

/// Whether so much of a server's memory is mapped by others, too, that its proportional size says little.
pub(crate) fn is_shared(memory: &MemorySummary) -> bool {
    let sizes = memory.peak_pss_bytes.zip(memory.peak_rss_bytes);
    let counts = match memory.peak_kind {
        Some(kind) => kind == MemoryKind::Main,
        None => memory.peak_vram_bytes.is_none(),
    };
    counts && sizes.is_some_and(|(own, all)| (own as f64) < (1.0 - SHARED_LIMIT) * all as f64)
}

/// Returns everything about memory, from what is shared to the caches that the formula gets wrong.
pub(super) fn findings(summary: &Summary) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(shared(summary));
    findings.extend(of_cards(summary));
    findings.extend(mixed(summary));
    findings.extend(unknown(summary));
    findings.extend(summary.memory_fits.iter().flat_map(other_caches));
    findings
}

/// So many cells of all have it; `None` where none has.
fn of_cells(code: WarningCode, affected: usize, summary: &Summary) -> Option<Finding> {
    let (affected, cells) = (affected as u32, summary.cells.len() as u32);
    (affected > 0).then(|| {
        Finding::new(code).figure("affected", affected, Unit::Cells).figure("cells", cells, Unit::Cells)
    })
}

/// A second server of the same model file halves what each is charged for it.
fn shared(summary: &Summary) -> Option<Finding> {
    let cells = summary.cells.iter().filter(|cell| is_shared(&cell.memory)).count();
    let finding = of_cells(WarningCode::MemoryShared, cells, summary)?;
    Some(finding.figure("limit", SHARED_LIMIT, Unit::Share))
}

fn of_cards(summary: &Summary) -> Option<Finding> {
    let cards = summary.cells.iter().filter(|cell| cell.memory.peak_kind == Some(MemoryKind::Cards));
    of_cells(WarningCode::MemoryOfCards, cards.count(), summary)
}

fn mixed(summary: &Summary) -> Option<Finding> {
    let kinds: BTreeSet<MemoryKind> = summary.cells.iter().filter_map(|cell| cell.memory.peak_kind).collect();
    let named: Vec<&str> = kinds.iter().map(|kind| kind.words()).collect();
    (named.len() > 1).then(|| Finding::new(WarningCode::MemoryKindsMixed).about(named.join("; ")))
}

fn unknown(summary: &Summary) -> Vec<Finding> {
    let mut absent: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in summary.cells.iter().filter_map(|cell| cell.memory.peak_absent.as_deref()) {
        *absent.entry(reason).or_default() += 1;
    }
    let finding =
        |(reason, cells)| Some(of_cells(WarningCode::MemoryUnknown, cells, summary)?.detail(reason));
    absent.into_iter().filter_map(finding).collect()
}

/// Where the formula of the KV cache is not the engine's.
fn other_caches(fit: &MemoryFit) -> Vec<Finding> {
    let finding = |check: &MemoryCheck| {
        let (reported, formula) = check.kv_reported_bytes.zip(check.kv_formula_bytes)?;
        Some(
            Finding::at(WarningCode::KvCacheDisagrees, &fit.setting, check.context)
                .figure("reported", reported as f64, Unit::Bytes)
                .figure("formula", formula as f64, Unit::Bytes),
        )
    };
    fit.checks.iter().filter(|check| check.kv_disagrees()).filter_map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::super::words::sentence;
    use super::*;
    use crate::judge::analysis::testing;

    fn found(pss: u64, rss: u64, vram: Option<u64>) -> Option<Finding> {
        let mut cell = testing::cell("q8_0", 512);
        cell.memory.peak_pss_bytes = Some(pss);
        cell.memory.peak_rss_bytes = Some(rss);
        cell.memory.peak_vram_bytes = vram;
        shared(&Summary { cells: vec![cell], ..testing::summary() })
    }

    #[test]
    fn memory_that_others_map_too_is_named() {
        // SmolLM2 with and without a second server of the same file (MiB).
        let both = sentence(&found(104, 160, None).unwrap());
        assert!(both.contains("20% of the memory") && both.contains("1 of 1 cells"), "{both}");
        assert_eq!(found(159, 160, None), None);
        assert_eq!(found(104, 160, Some(500)), None, "the card's memory is the figure there");
    }
}
