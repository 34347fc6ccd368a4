//! What a GGUF file says of its model.

use super::quants::quant_name;

/// What a GGUF file says of its model; `None` or empty where it says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `general.name`.
    pub name: Option<String>,
    /// `general.architecture`, such as `llama`.
    pub architecture: Option<String>,
    /// Context length that it was trained for (tokens).
    pub context_length: Option<u64>,
    /// Context length that the file's rope scaling stretches it to (tokens).
    pub scaled_context: Option<u64>,
    /// Layers.
    pub block_count: Option<u64>,
    /// Width of the embedding.
    pub embedding_length: Option<u64>,
    /// Attention heads: one number for all layers, or one a layer.
    pub head_count: Vec<u64>,
    /// Attention heads of K and V: one number for all layers, or one a layer.
    pub head_count_kv: Vec<u64>,
    /// Width of a K head, when it is not `embedding_length / head_count`.
    pub key_length: Option<u64>,
    /// Width of a V head.
    pub value_length: Option<u64>,
    /// Width of a K head in layers with a sliding window, when it is another one.
    pub key_length_swa: Option<u64>,
    /// Width of a V head in layers with a sliding window.
    pub value_length_swa: Option<u64>,
    /// Tokens that a layer with a sliding window looks back.
    pub sliding_window: Option<u64>,
    /// Which layers have a sliding window: a period (the last layer of each looks at everything), or one
    /// truth value a layer.
    pub sliding_window_pattern: Vec<u64>,
    /// Last layers that use the cache of earlier ones.
    pub shared_kv_layers: Option<u64>,
    /// Rank of a compressed K and V (multi-head latent attention).
    pub kv_lora_rank: Option<u64>,
    /// Width of a K head as the attention sees it, where the cache holds a compressed K and V alone.
    pub key_length_mla: Option<u64>,
    /// Width of a V head as the attention sees it, where the cache holds a compressed K and V alone.
    pub value_length_mla: Option<u64>,
    /// Last layers that predict further tokens (multi-token prediction); `block_count` counts them.
    pub nextn_layers: Option<u64>,
    /// Which layers keep a state in place of K and V: one truth value a layer.
    pub recurrent_layers: Vec<u64>,
    /// Every how manyth layer attends to all tokens, where the others keep a state.
    pub full_attention_interval: Option<u64>,
    /// Width of the keys of an indexer that chooses the tokens to attend to.
    pub indexer_key_length: Option<u64>,
    /// Which layers have an indexer of their own: one truth value a layer.
    pub indexer_types: Vec<u64>,
    /// First layers without experts.
    pub leading_dense: Option<u64>,
    /// Width of the feed-forward network: one number for all layers, or one a layer.
    pub feed_forward: Vec<u64>,
    /// Width of the feed-forward network of one expert: one number for all layers, or one a layer.
    pub expert_feed_forward: Vec<u64>,
    /// Width of a token's embedding of its own in each layer (Gemma 3n, Gemma 4).
    pub per_layer_input: Option<u64>,
    /// Experts that each token goes through.
    pub experts_used: Option<u64>,
    /// Whether it has recurrent layers of whose state nothing more is known (`config.json` alone).
    pub has_unknown_state: bool,
    /// Width of the state of recurrent layers.
    pub state_size: Option<u64>,
    /// Width of recurrent layers inside.
    pub state_inner_size: Option<u64>,
    /// Groups of the state of recurrent layers.
    pub state_groups: Option<u64>,
    /// Tokens under the convolution of recurrent layers.
    pub conv_kernel: Option<u64>,
    /// Tokens under a short convolution (LFM2).
    pub short_conv: Option<u64>,
    /// Width of a head of the state of RWKV.
    pub wkv_head_size: Option<u64>,
    /// Shifted tokens that RWKV keeps.
    pub token_shift_count: Option<u64>,
    /// Width of a head of delta attention (Kimi).
    pub kda_head_dim: Option<u64>,
    /// `general.file_type`; see [`quant_name`].
    pub file_type: Option<u64>,
    /// Which part of a split model this file is, from 0.
    pub split_no: Option<u64>,
    /// Files that the model is split into.
    pub split_count: Option<u64>,
    /// `general.alignment`: tensors begin at multiples of it (bytes).
    pub alignment: Option<u64>,
    /// The chat template.
    pub chat_template: Option<String>,
}

impl Metadata {
    /// The weight quant that most tensors have, such as `Q4_1`, if the number is a known one.
    pub fn weights(&self) -> Option<&'static str> {
        quant_name(self.file_type?)
    }
}
