//! Peak memory of a cell.

use super::Run;
use super::frame::{self, Visit};
use super::summary::MemorySummary;
use crate::engine::Effective;
use crate::error::Result;

/// The largest of the peaks of the cell's trials, and the buffers that the engine reported.
pub(crate) fn measure(run: &Run<'_>, visit: Visit<'_>) -> Result<MemorySummary> {
    let peak = |column| -> Result<Option<u64>> {
        Ok(run.frame.largest(visit, column)?.filter(|bytes| *bytes >= 0.0).map(|bytes| bytes as u64))
    };
    let peak_rss_bytes = peak(frame::RSS)?;
    let peak_pss_bytes = peak(frame::PSS)?;
    let launches: Vec<_> = run.launches(visit.setting, visit.context).collect();
    let reported = |of: &dyn Fn(&Effective) -> Option<u64>| {
        launches.iter().filter_map(|launch| of(&launch.effective)).max()
    };
    let peak_vram_bytes = peak(frame::VRAM)?;
    // Where the peak is that of graphics cards, only what lies on them is a part of it.
    let part = |on_cards: &dyn Fn(&Effective) -> Option<u64>, all: &dyn Fn(&Effective) -> Option<u64>| {
        peak_vram_bytes.and_then(|_| reported(on_cards)).or_else(|| reported(all))
    };
    Ok(MemorySummary {
        peak_bytes: peak_vram_bytes.or(peak_pss_bytes).or(peak_rss_bytes),
        peak_vram_bytes,
        peak_vram_device_bytes: peak(frame::VRAM_DEVICE)?,
        peak_rss_bytes,
        peak_pss_bytes,
        peak_anon_bytes: peak(frame::ANON)?,
        peak_file_bytes: peak(frame::FILE)?,
        kv_bytes: reported(&|effective| Some(effective.k_bytes? + effective.v_bytes?)),
        compute_bytes: part(&|effective| effective.compute_gpu_bytes, &|effective| effective.compute_bytes),
        model_bytes: part(&|effective| effective.model_gpu_bytes, &|effective| effective.model_bytes),
    })
}
