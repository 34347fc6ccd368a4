//! What was measured of a trial, and by whom.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who measured a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// kneepoint's own clock and counters.
    Client,
    /// The inference server's own timings or usage.
    Engine,
    /// The Linux `/proc` file system.
    Procfs,
    /// NVIDIA's management library.
    Nvml,
    /// Running average power limit counters.
    Rapl,
    /// The Linux `/sys` file system.
    Sysfs,
    /// Computed by a formula from other figures.
    Formula,
}

/// One measured number, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// Name with its unit, such as `ttft_s`; the constants are in [`metric`].
    #[serde(rename = "n")]
    pub name: Cow<'static, str>,
    /// Who measured it.
    #[serde(rename = "s")]
    pub source: Source,
    /// The number; `None` with a reason in `absent`.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Why there is no number.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<String>,
}

impl Measurement {
    /// A measured number; a number that is not finite becomes absent.
    pub fn new(name: &'static str, source: Source, value: f64) -> Self {
        if !value.is_finite() {
            return Self::absent(name, source, "not a finite number");
        }
        Self { name: Cow::Borrowed(name), source, value: Some(value), absent: None }
    }

    /// No number, and why.
    pub fn absent(name: &'static str, source: Source, reason: impl Into<String>) -> Self {
        Self { name: Cow::Borrowed(name), source, value: None, absent: Some(reason.into()) }
    }
}

/// Names of measurements. Durations in seconds, memory in bytes, rates in tokens per second.
///
/// Of a conversation of several turns: time to first token, prefill rate and cached tokens are those of the first
/// turn (the later ones go on from the cache), prompt tokens those of the last (how long it became), decode rate
/// and inter-token latency are over the tokens of all turns, everything else is the sum over the turns.
pub mod metric {
    /// Time from sending the request to the first token (s).
    pub const TTFT_S: &str = "ttft_s";
    /// Time from sending the request to the end of the reply (s).
    pub const TOTAL_S: &str = "total_s";
    /// Prompt tokens processed per second, cold (tokens/s).
    pub const PREFILL_TPS: &str = "prefill_tps";
    /// Tokens generated per second after the first event (tokens/s).
    pub const DECODE_TPS: &str = "decode_tps";
    /// Median time between events that carry tokens (s).
    pub const ITL_P50_S: &str = "itl_p50_s";
    /// 95th percentile of the time between events that carry tokens (s).
    pub const ITL_P95_S: &str = "itl_p95_s";
    /// Longest time between events that carry tokens (s).
    pub const ITL_MAX_S: &str = "itl_max_s";
    /// Tokens of the prompt.
    pub const PROMPT_TOKENS: &str = "prompt_tokens";
    /// Tokens generated.
    pub const OUTPUT_TOKENS: &str = "output_tokens";
    /// Prompt tokens taken from a cache.
    pub const CACHED_TOKENS: &str = "cached_tokens";
    /// Tokens drafted by speculation.
    pub const DRAFT_TOKENS: &str = "draft_tokens";
    /// Drafted tokens that were accepted.
    pub const DRAFT_ACCEPTED: &str = "draft_accepted";
    /// 1 where the same request without streaming was answered with other tool calls, 0 where not.
    pub const STREAM_DIFFERS: &str = "stream_differs";
    /// Time per position of a distributions request (s).
    pub const POSITION_S: &str = "position_s";
    /// Peak resident set of the server's process tree (bytes).
    pub const PEAK_RSS_BYTES: &str = "peak_rss_bytes";
    /// Peak proportional set size of the server's process tree (bytes).
    pub const PEAK_PSS_BYTES: &str = "peak_pss_bytes";
    /// Peak anonymous memory of the server's process tree (bytes).
    pub const PEAK_ANON_BYTES: &str = "peak_anon_bytes";
    /// Peak file-mapped memory of the server's process tree (bytes).
    pub const PEAK_FILE_BYTES: &str = "peak_file_bytes";
    /// Peak GPU memory of the server's processes, over all cards (bytes).
    pub const PEAK_VRAM_BYTES: &str = "peak_vram_bytes";
    /// Peak GPU memory in use on the server's cards, by whomever (bytes).
    pub const PEAK_VRAM_DEVICE_BYTES: &str = "peak_vram_device_bytes";
    /// 1 when the server's processes are on a graphics card, 0 when they are on none; absent where nobody can tell.
    pub const ON_GPU: &str = "on_gpu";
    /// Cards that the server is on.
    pub const GPU_CARDS: &str = "gpu_cards";
    /// Energy of the server's cards during the trial, what they use when idle included (J).
    pub const GPU_ENERGY_J: &str = "gpu_energy_j";
    /// 1 when a card slowed down for power or heat during the trial, else 0.
    pub const GPU_THROTTLED: &str = "gpu_throttled";
    /// Processes on the server's cards that are not its own.
    pub const GPU_OTHERS: &str = "gpu_other_processes";
    /// Energy of the processor packages during the trial, what they use when idle included (J).
    pub const CPU_ENERGY_J: &str = "cpu_energy_j";
    /// Share of the machine's CPU time stolen by its host during the trial (0..1).
    pub const STEAL: &str = "steal_ratio";
    /// Share of the machine's CPU time used by anything but the server and kneepoint (0..1).
    pub const OTHER_CPU: &str = "other_cpu_ratio";
    /// One-minute load average when the trial ended.
    pub const LOAD1: &str = "load1";
    /// Mean CPU clock when the trial ended (Hz).
    pub const CPU_HZ: &str = "cpu_hz";
}
