//! The columns of figures by name; where each comes from is declared in [`metric`].

use crate::record::{Arm, Source, Trial, metric};

/// Time to first token (s), client's clock.
pub(crate) const TTFT: &str = "ttft_s";
/// Cold prefill rate (tokens/s), engine's where it reports one.
pub(crate) const PREFILL: &str = "prefill_tps";
/// Decode rate (tokens/s), client's clock.
pub(crate) const DECODE: &str = "decode_tps";
/// Decode rate (tokens/s) as the engine reports it.
pub(crate) const ENGINE_DECODE: &str = "engine_decode_tps";
/// Tokens generated.
pub(crate) const OUTPUT: &str = "output_tokens";
/// Tokens of the thinking.
pub(crate) const THINKING: &str = "thinking_tokens";
/// Median gap between tokens (s).
pub(crate) const ITL_P50: &str = "itl_p50_s";
/// 95th percentile of the gap (s).
pub(crate) const ITL_P95: &str = "itl_p95_s";
/// Longest gap (s).
pub(crate) const ITL_MAX: &str = "itl_max_s";
/// Drafted tokens.
pub(crate) const DRAFTED: &str = "draft_tokens";
/// Accepted drafted tokens.
pub(crate) const ACCEPTED: &str = "draft_accepted";
/// Peak resident set (bytes).
pub(crate) const RSS: &str = "peak_rss_bytes";
/// Peak proportional set (bytes).
pub(crate) const PSS: &str = "peak_pss_bytes";
/// Peak anonymous memory (bytes).
pub(crate) const ANON: &str = "peak_anon_bytes";
/// Peak file-mapped memory (bytes).
pub(crate) const FILE: &str = "peak_file_bytes";
/// Peak GPU memory of the server (bytes).
pub(crate) const VRAM: &str = "peak_vram_bytes";
/// Peak GPU memory in use (bytes).
pub(crate) const VRAM_DEVICE: &str = "peak_vram_device_bytes";
/// Energy of the cards (J).
pub(crate) const GPU_ENERGY: &str = "gpu_energy_j";
/// Energy of the processor packages (J).
pub(crate) const CPU_ENERGY: &str = "cpu_energy_j";
/// Whether a card slowed down.
pub(crate) const THROTTLED: &str = "gpu_throttled";
/// Other processes on the cards.
pub(crate) const GPU_OTHERS: &str = "gpu_other_processes";
/// Energy of cards and packages beyond the idle cards (J); requests whose answer was forced have none.
pub(crate) const ENERGY: &str = "energy_j";
/// Stolen share of CPU time.
pub(crate) const STEAL: &str = "steal_ratio";
/// Score (0..1) of the reply.
pub(crate) const QUALITY: &str = "quality";
/// Share of CPU time that others used.
pub(crate) const OTHER_CPU: &str = "other_cpu_ratio";

/// The arm as a column value; joins do not match absent values, so a task without arms has an empty one.
pub(crate) fn arm_name(arm: Option<Arm>) -> &'static str {
    arm.map_or("", Arm::name)
}

/// Energy of a trial beyond cards that draw `idle_w` (W) when idle (J); never below 0, where the idle power was
/// watched at a warmer time.
pub(crate) fn net_energy(trial: &Trial, idle_w: f64) -> Option<f64> {
    let gpu = [Source::Nvml, Source::Sysfs]
        .into_iter()
        .find_map(|source| trial.measured(metric::GPU_ENERGY_J, source));
    let cpu = trial.measured(metric::CPU_ENERGY_J, Source::Rapl);
    let time = trial.measured(metric::TOTAL_S, Source::Client)?;
    let counted = |source| trial.measured(metric::GPU_CARDS, source);
    let cards = counted(Source::Nvml).or_else(|| counted(Source::Sysfs)).unwrap_or(1.0);
    let net = gpu.map(|joules| (joules - idle_w * cards * time).max(0.0));
    match (net, cpu) {
        (None, None) => None,
        (net, cpu) => Some(net.unwrap_or_default() + cpu.unwrap_or_default()),
    }
}
