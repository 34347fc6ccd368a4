//! Names of measurements. Durations in seconds, memory in bytes, rates in tokens per second.
//!
//! Of a conversation of several turns: time to first token, prefill rate and cached tokens are those of the first
//! turn (the later ones go on from the cache), prompt tokens those of the last (how long it became), decode rate
//! and inter-token latency are over the tokens of all turns, everything else is the sum over the turns.
//!
//! What the analysis takes from trials is in [`FIGURES`]: a figure that says how it is shown needs nothing but its line there.

use super::measurement::Source;
use super::objective::Direction;

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
/// Tokens generated before the answer: of the thinking, as the engine counts it, or up to its end in the stream.
pub const THINKING_TOKENS: &str = "thinking_tokens";
/// Prompt tokens taken from a cache.
pub const CACHED_TOKENS: &str = "cached_tokens";
/// Tokens that the server computed for a case over all of its requests: prompts less what came from a cache, and what was
/// written.
pub const COMPUTED_TOKENS: &str = "computed_tokens";
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
/// All of those.
pub const MEMORY: [&str; 6] = [
    PEAK_RSS_BYTES,
    PEAK_PSS_BYTES,
    PEAK_ANON_BYTES,
    PEAK_FILE_BYTES,
    PEAK_VRAM_BYTES,
    PEAK_VRAM_DEVICE_BYTES,
];
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

/// A figure of trials: a measurement, by one of its sources.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// Name with its unit: the column of the table of trials, and of everything that follows from it.
    pub name: &'static str,
    /// Name of the measurement.
    pub metric: &'static str,
    /// Who may have measured it, the best first.
    pub sources: &'static [Source],
    /// How it is shown without anybody asking; `None` for what has a place of its own in the summary.
    pub shown: Option<Shown>,
}

/// How a figure is made of a cell's trials and shown: in the summary's `figures` and, where a cell has it, in `cells.csv`,
/// the report's table and the terminal's.
#[derive(Debug, Clone, Copy)]
pub struct Shown {
    /// Head of its column, and its name in words.
    pub head: &'static str,
    /// What it is counted in.
    pub unit: Unit,
    /// Which way is better.
    pub better: Option<Direction>,
    /// What is made of the trials.
    pub over: Over,
    /// Whether the terminal shows it, too.
    pub in_terminal: bool,
}

/// What a figure is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Tokens per second.
    TokensPerSecond,
    /// Joules.
    Joules,
    /// A share (0..1).
    Share,
    /// Things that are counted.
    Count,
}

impl Unit {
    /// Returns what stands behind the names of figures; nothing for a share and a count.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Bytes => "bytes",
            Self::TokensPerSecond => "tps",
            Self::Joules => "j",
            Self::Share | Self::Count => "",
        }
    }
}

/// What is made of a cell's trials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The median over its chat requests, with the interval of a bootstrap over server processes.
    Median,
    /// The largest of any trial.
    Largest,
    /// The sum over all trials.
    Total,
}

impl Figure {
    const fn of(metric: &'static str, sources: &'static [Source]) -> Self {
        Self { name: metric, metric, sources, shown: None }
    }
}

/// Every figure that the analysis takes from trials.
pub const FIGURES: &[Figure] = &[
    Figure::of(TTFT_S, &[Source::Client]),
    Figure::of(PREFILL_TPS, &[Source::Engine, Source::Client]),
    Figure::of(DECODE_TPS, &[Source::Client]),
    Figure { name: "engine_decode_tps", ..Figure::of(DECODE_TPS, &[Source::Engine]) },
    Figure::of(OUTPUT_TOKENS, &[Source::Engine, Source::Client]),
    Figure::of(THINKING_TOKENS, &[Source::Engine, Source::Client]),
    Figure::of(ITL_P50_S, &[Source::Client]),
    Figure::of(ITL_P95_S, &[Source::Client]),
    Figure::of(ITL_MAX_S, &[Source::Client]),
    Figure::of(DRAFT_TOKENS, &[Source::Engine, Source::Client]),
    Figure::of(DRAFT_ACCEPTED, &[Source::Engine, Source::Client]),
    Figure::of(PEAK_RSS_BYTES, &[Source::Procfs]),
    Figure::of(PEAK_PSS_BYTES, &[Source::Procfs]),
    Figure::of(PEAK_ANON_BYTES, &[Source::Procfs]),
    Figure::of(PEAK_FILE_BYTES, &[Source::Procfs]),
    Figure::of(PEAK_VRAM_BYTES, &[Source::Nvml, Source::Sysfs]),
    Figure::of(PEAK_VRAM_DEVICE_BYTES, &[Source::Nvml, Source::Sysfs]),
    Figure::of(GPU_ENERGY_J, &[Source::Nvml, Source::Sysfs]),
    Figure::of(CPU_ENERGY_J, &[Source::Rapl]),
    Figure::of(GPU_THROTTLED, &[Source::Nvml]),
    Figure::of(GPU_OTHERS, &[Source::Nvml]),
    Figure::of(STEAL, &[Source::Procfs]),
    Figure::of(OTHER_CPU, &[Source::Procfs]),
];
