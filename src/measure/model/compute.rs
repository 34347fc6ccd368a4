//! How much a llama.cpp server takes to compute in, from the model's metadata.
//!
//! ggml plans one graph for a whole batch and lets its results share memory, so what counts is the step that holds most
//! at once. Read off the logs of build 10068 with flash attention (`sched_reserve: .. compute buffer size`), see the table
//! in docs/choosing.md: per token of the batch, in values of 4 bytes,
//!
//! - a dense feed-forward network: its three widths and four embeddings (three where the cache is quantised or some layers
//!   are recurrent);
//! - experts: the same with the width of the experts in use, or, where that is more, two embeddings for each expert in
//!   use, their width once and three embeddings;
//! - attention: two rows of Q, one of K, three embeddings;
//! - a state space: three times what goes in (both halves of its width, both parts of each group's state), two
//!   embeddings.
//!
//! Embeddings that each layer has of its own come on top. On a card two embeddings less: the inputs lie in main memory. Beside them there is a mask of 2 bytes for each token of
//! the batch and each cell, one for layers that see everything and one for those with a window. The logits are those of
//! the slots alone; older builds and ik_llama.cpp keep them for the whole batch.

use std::collections::BTreeSet;

use super::gguf::Metadata;
use crate::record::kv::{KvShape, KvUse};

/// Bytes of a value that is computed with.
const VALUE: u64 = 4;
/// Bytes of a value of the attention mask.
const MASK: u64 = 2;

/// Architectures whose rule was held against a server's log; of others it is an estimate.
const CHECKED: &[&str] =
    &["gemma3", "gemma4", "gpt-oss", "jamba", "lfm2", "llama", "mamba2", "qwen2", "qwen35", "qwen3moe"];

/// How the server computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComputeUse<'a> {
    /// Context, cache types and tokens at once.
    pub kv: KvUse<'a>,
    /// Requests at the same time.
    pub slots: u64,
    /// Whether the layers are on a graphics card.
    pub on_card: bool,
    /// Whether logits are kept for every token of a batch.
    pub all_logits: bool,
}

/// Whether the rule was held against a server's log for this architecture.
pub fn is_checked(architecture: &str) -> bool {
    CHECKED.contains(&architecture)
}

/// Bytes to compute in, the buffer of the results included; `None` where the metadata lack the widths.
///
/// Formula: see above.
pub fn compute_bytes(
    metadata: &Metadata,
    vocabulary: u64,
    shape: Option<&KvShape>,
    usage: ComputeUse<'_>,
) -> Option<u64> {
    let widest = Widths::of(metadata)?.widest(usage);
    let computed = usage.kv.ubatch.saturating_mul(VALUE).saturating_mul(widest);
    let logits = |rows: u64| rows.saturating_mul(vocabulary).saturating_mul(VALUE);
    let computed = if usage.all_logits { computed.max(logits(usage.kv.ubatch)) } else { computed };
    Some(computed.saturating_add(mask_bytes(shape, usage.kv)).saturating_add(logits(usage.slots)))
}

fn mask_bytes(shape: Option<&KvShape>, usage: KvUse<'_>) -> u64 {
    let windows: BTreeSet<Option<u32>> = match shape {
        Some(shape) => shape.groups.iter().map(|group| group.window).collect(),
        None => [None].into(),
    };
    let cells = windows.into_iter().fold(0_u64, |sum, window| sum.saturating_add(usage.cells(window)));
    cells.saturating_mul(usage.ubatch).saturating_mul(MASK)
}

/// Values of a token in the steps of a layer.
struct Widths {
    embedding: u64,
    network: u64,
    /// Experts in use, and the width of one.
    experts: Option<(u64, u64)>,
    q: u64,
    k: u64,
    /// What goes into a state space.
    state: u64,
    /// Whether some layers are recurrent.
    is_recurrent: bool,
    /// Embeddings of all layers.
    per_layer: u64,
}

impl Widths {
    fn of(metadata: &Metadata) -> Option<Self> {
        let embedding = metadata.embedding_length?;
        let most = |figures: &[u64]| figures.iter().copied().max();
        let heads = most(&metadata.head_count).unwrap_or_default();
        let width = metadata.key_length.or_else(|| embedding.checked_div(heads)).unwrap_or_default();
        let network = most(&metadata.feed_forward);
        let used = metadata.experts_used.filter(|used| *used > 0);
        let experts = used.zip(most(&metadata.expert_feed_forward).or(network));
        Some(Self {
            embedding,
            network: network.or(experts.map(|_| 0))?,
            experts,
            q: heads.saturating_mul(width),
            k: most(&metadata.head_count_kv).unwrap_or(heads).saturating_mul(width),
            state: state_input(metadata),
            is_recurrent: metadata.state_inner_size.or(metadata.short_conv).is_some(),
            per_layer: metadata
                .per_layer_input
                .unwrap_or_default()
                .saturating_mul(metadata.block_count.unwrap_or_default()),
        })
    }

    fn widest(&self, usage: ComputeUse<'_>) -> u64 {
        let sum = |parts: &[(u64, u64)]| {
            parts.iter().fold(0_u64, |sum, (times, width)| sum.saturating_add(times.saturating_mul(*width)))
        };
        let quantised = !["f32", "f16", "bf16"].contains(&usage.kv.k) && self.experts.is_none();
        let fewer = u64::from(quantised || self.is_recurrent);
        let network = sum(&[(3, self.network), (4 - fewer, self.embedding)]);
        let experts = self.experts.map_or(0, |(used, width)| {
            let width = used.saturating_mul(width);
            let gates = sum(&[(3, width), (4, self.embedding)]);
            gates.max(sum(&[(used.saturating_mul(2), self.embedding), (1, width), (3, self.embedding)]))
        });
        let attention = sum(&[(2, self.q), (1, self.k), (3, self.embedding)]);
        let state = if self.state > 0 { sum(&[(3, self.state), (2, self.embedding)]) } else { 0 };
        let widest = network.max(experts).max(attention).max(state);
        let inputs = if usage.on_card { 2 - fewer } else { 0 };
        widest.saturating_sub(inputs.saturating_mul(self.embedding)).saturating_add(self.per_layer)
    }
}

/// Values of a token that a state space takes in; 0 for a model without one.
fn state_input(metadata: &Metadata) -> u64 {
    let (Some(inner), Some(state)) = (metadata.state_inner_size, metadata.state_size) else {
        return 0;
    };
    let groups = metadata.state_groups.unwrap_or_default();
    inner.saturating_add(groups.saturating_mul(state)).saturating_mul(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1024.0 * 1024.0;

    fn dense(architecture: &str, embedding: u64, network: u64, heads: (u64, u64), width: u64) -> Metadata {
        Metadata {
            architecture: Some(architecture.into()),
            block_count: Some(2),
            embedding_length: Some(embedding),
            feed_forward: vec![network],
            head_count: vec![heads.0],
            head_count_kv: vec![heads.1],
            key_length: Some(width),
            value_length: Some(width),
            ..Metadata::default()
        }
    }

    fn experts(metadata: Metadata, used: u64, width: u64) -> Metadata {
        Metadata { experts_used: Some(used), expert_feed_forward: vec![width], ..metadata }
    }

    fn predicted(metadata: &Metadata, kv: KvUse<'_>, on_card: bool) -> f64 {
        let shape = KvShape::of(metadata).unwrap();
        let usage = ComputeUse { kv, slots: 1, on_card, all_logits: false };
        compute_bytes(metadata, 0, Some(&shape), usage).unwrap() as f64 / MIB
    }

    /// `sched_reserve: CPU compute buffer size` of llama-server build 10068, batches of 512 unless said otherwise, flash
    /// attention: of SmolLM2 and Qwen2.5-Coder themselves, of the others with files of the real widths and empty weights.
    #[test]
    fn the_servers_log_is_met_within_a_mebibyte() {
        let smollm2 = dense("llama", 576, 1536, (9, 3), 64);
        let qwen = dense("qwen2", 896, 4864, (14, 2), 64);
        let llama = dense("llama", 4096, 14_336, (32, 8), 128);
        let gemma = Metadata {
            block_count: Some(18),
            sliding_window: Some(512),
            ..dense("gemma3", 640, 2048, (4, 1), 256)
        };
        let qwen3moe = experts(dense("qwen3moe", 2048, 6144, (32, 4), 128), 8, 768);
        let gpt_oss = Metadata {
            sliding_window: Some(128),
            ..experts(dense("gpt-oss", 2880, 2880, (64, 8), 64), 4, 2880)
        };
        let deepseek = Metadata {
            kv_lora_rank: Some(512),
            key_length_mla: Some(192),
            value_length_mla: Some(128),
            ..experts(dense("deepseek2", 2048, 10_944, (16, 1), 576), 6, 1408)
        };
        let state = |metadata: Metadata, inner, size, groups| Metadata {
            state_inner_size: Some(inner),
            state_size: Some(size),
            state_groups: Some(groups),
            conv_kernel: Some(4),
            ..metadata
        };
        let qwen35 = Metadata {
            block_count: Some(8),
            ..state(dense("qwen35", 5120, 17_408, (24, 4), 256), 6144, 128, 16)
        };
        let lfm2 = Metadata { short_conv: Some(3), ..dense("lfm2", 2048, 8192, (32, 8), 64) };
        let gemma4 = Metadata {
            block_count: Some(6),
            sliding_window: Some(512),
            sliding_window_pattern: vec![1, 1, 1, 1, 0, 1],
            key_length_swa: Some(256),
            value_length_swa: Some(256),
            per_layer_input: Some(256),
            ..dense("gemma4", 1536, 6144, (8, 1), 512)
        };
        let at = |context, k| KvUse::new(context, k, k);
        for (name, metadata, kv, logged) in [
            ("SmolLM2", &smollm2, at(512, "f16"), 14.01),
            ("SmolLM2", &smollm2, at(8192, "f16"), 21.51),
            ("SmolLM2", &smollm2, at(32_768, "f16"), 45.51),
            ("SmolLM2", &smollm2, at(8192, "q8_0"), 20.42),
            ("SmolLM2", &smollm2, at(8192, "q4_0"), 20.42),
            ("SmolLM2, batches of 128", &smollm2, KvUse { ubatch: 128, ..at(4096, "f16") }, 4.38),
            ("SmolLM2, batches of 2048", &smollm2, KvUse { ubatch: 2048, ..at(4096, "f16") }, 70.05),
            ("Qwen2.5 0.5B", &qwen, at(512, "f16"), 36.01),
            ("Qwen2.5 0.5B", &qwen, at(32_768, "f16"), 67.51),
            ("Qwen2.5 0.5B", &qwen, at(32_768, "q4_0"), 65.79),
            ("Llama 8B", &llama, at(16_384, "f16"), 132.01),
            ("Llama 8B", &llama, at(4096, "q8_0"), 112.09),
            ("Gemma 3 270M", &gemma, at(4096, "f16"), 22.77),
            ("Gemma 3 270M", &gemma, at(16_384, "f16"), 34.77),
            ("Qwen3 30B-A3B", &qwen3moe, at(4096, "f16"), 92.01),
            ("Qwen3 30B-A3B", &qwen3moe, at(16_384, "f16"), 104.01),
            ("DeepSeek V2 Lite", &deepseek, at(4096, "f16"), 84.13),
            ("Qwen3.5 27B", &qwen35, at(16_384, "f16"), 148.02),
            ("LFM2 1.2B", &lfm2, at(16_384, "f16"), 76.03),
            ("Gemma 4 E2B with 6 layers", &gemma4, at(16_384, "f16"), 68.02),
        ] {
            let predicted = predicted(metadata, kv, false);
            assert!((predicted - logged).abs() < 1.0, "{name} {kv:?}: {predicted:.2}, the log says {logged}");
        }
        let mamba2 = state(dense("mamba2", 2560, 0, (1, 1), 64), 5120, 128, 8);
        let jamba = Metadata {
            head_count_kv: vec![0, 1],
            ..state(dense("jamba", 2560, 8192, (20, 1), 128), 5120, 16, 0)
        };
        for (name, metadata, kv, logged) in [
            ("gpt-oss 20B", &gpt_oss, at(16_384, "f16"), 109.14),
            ("Mamba 2 2.7B", &mamba2, at(16_384, "f16"), 79.90),
            ("Jamba 3B", &jamba, at(4096, "f16"), 69.44),
        ] {
            let predicted = predicted(metadata, kv, false);
            assert!((predicted - logged).abs() < 5.0, "{name}: {predicted:.2}, the log says {logged}");
        }
    }

    /// `Vulkan0 compute buffer size` of the same build on an H200 (reports/hardware-h200): bytes, rounded by the log.
    #[test]
    fn on_a_card_the_inputs_lie_elsewhere() {
        let qwen = dense("qwen2", 896, 4864, (14, 2), 64);
        for (context, logged) in [(2048, 35_662_070.0), (8192, 41_953_526.0), (32_768, 67_119_350.0)] {
            for k in ["f16", "q8_0"] {
                let predicted = predicted(&qwen, KvUse::new(context, k, k), true) * MIB;
                assert!(
                    (predicted - logged).abs() < MIB,
                    "{context} {k}: {predicted}, the log says {logged}"
                );
            }
        }
    }

    #[test]
    fn an_engine_that_keeps_all_logits_takes_them_in() {
        // Ollama's runner and llama.cpp of 2025 say 300.75 MiB for Qwen's vocabulary of 151,936: 296.75 of logits.
        let qwen = dense("qwen2", 896, 4864, (14, 2), 64);
        let usage =
            ComputeUse { kv: KvUse::new(1024, "f16", "f16"), slots: 1, on_card: false, all_logits: true };
        let bytes = compute_bytes(&qwen, 151_936, None, usage).unwrap() as f64 / MIB;
        assert!((bytes - 300.75).abs() < 4.0, "{bytes}");
        assert_eq!(compute_bytes(&Metadata::default(), 1, None, usage), None, "widths are not known");
    }
}
