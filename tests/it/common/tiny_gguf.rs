//! Small models with random weights that the real server loads: for what depends on shapes, not on sense.

use std::path::Path;

/// Values of GGUF's metadata, by the format's number of the type.
const U32: u32 = 4;
const F32: u32 = 6;
const TEXT: u32 = 8;
const LIST: u32 = 9;
/// `general.file_type` of weights in f16, and the type of such a tensor.
const F16: u32 = 1;
/// Where tensors may begin.
const ALIGNMENT: usize = 32;

/// The shape of a model.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// `gemma3` or `qwen2`.
    pub(crate) architecture: &'static str,
    pub(crate) layers: u32,
    pub(crate) embedding: u32,
    pub(crate) heads: u32,
    pub(crate) kv_heads: u32,
    pub(crate) head_width: u32,
    /// Tokens that a layer with a window looks back.
    pub(crate) window: Option<u32>,
}

/// Writes the model: a vocabulary of bytes, weights in f16.
pub(crate) fn write(shape: Shape, path: &Path) {
    let mut file = Gguf::default();
    file.metadata(shape);
    file.vocabulary();
    file.layers(shape);
    std::fs::write(path, file.bytes()).unwrap();
}

#[derive(Default)]
struct Gguf {
    pairs: u64,
    metadata: Vec<u8>,
    tensors: u64,
    infos: Vec<u8>,
    data: Vec<u8>,
    random: u64,
}

impl Gguf {
    fn metadata(&mut self, shape: Shape) {
        let name = shape.architecture;
        self.text("general.architecture", name);
        self.number("general.file_type", F16);
        for (key, value) in [
            ("context_length", 32_768),
            ("embedding_length", shape.embedding),
            ("block_count", shape.layers),
            ("feed_forward_length", 64),
            ("attention.head_count", shape.heads),
            ("attention.head_count_kv", shape.kv_heads),
            ("attention.key_length", shape.head_width),
            ("attention.value_length", shape.head_width),
        ] {
            self.number(&format!("{name}.{key}"), value);
        }
        if let Some(window) = shape.window {
            self.number(&format!("{name}.attention.sliding_window"), window);
        }
        self.key(&format!("{name}.attention.layer_norm_rms_epsilon"), F32);
        self.metadata.extend(1e-6_f32.to_le_bytes());
    }

    /// Three special tokens and one for each byte.
    fn vocabulary(&mut self) {
        let special = ["<unk>", "<s>", "</s>"].map(str::to_owned);
        let bytes = (0..=255).map(|byte: u8| format!("<0x{byte:02X}>"));
        let tokens: Vec<String> = special.into_iter().chain(bytes).collect();
        self.text("tokenizer.ggml.model", "llama");
        self.list("tokenizer.ggml.tokens", TEXT, tokens.len());
        for token in &tokens {
            push_text(&mut self.metadata, token);
        }
        self.list("tokenizer.ggml.scores", F32, tokens.len());
        self.metadata.extend(vec![0; 4 * tokens.len()]);
        self.list("tokenizer.ggml.token_type", U32, tokens.len());
        for number in 0..tokens.len() {
            // Unknown, control, byte.
            let kind: u32 = [2, 3, 3].get(number).copied().unwrap_or(6);
            self.metadata.extend(kind.to_le_bytes());
        }
        self.number("tokenizer.ggml.unknown_token_id", 0);
        self.number("tokenizer.ggml.bos_token_id", 1);
        self.number("tokenizer.ggml.eos_token_id", 2);
    }

    fn layers(&mut self, shape: Shape) {
        let (embedding, forward) = (shape.embedding, 64);
        let (q, kv) = (shape.heads * shape.head_width, shape.kv_heads * shape.head_width);
        self.matrix("token_embd", embedding, 259);
        self.norm("output_norm.weight", embedding);
        for layer in 0..shape.layers {
            let at = |name: &str| format!("blk.{layer}.{name}");
            self.norm(&at("attn_norm.weight"), embedding);
            self.matrix(&at("attn_q"), embedding, q);
            self.matrix(&at("attn_k"), embedding, kv);
            self.matrix(&at("attn_v"), embedding, kv);
            self.matrix(&at("attn_output"), q, embedding);
            self.norm(&at("ffn_norm.weight"), embedding);
            self.matrix(&at("ffn_gate"), embedding, forward);
            self.matrix(&at("ffn_up"), embedding, forward);
            self.matrix(&at("ffn_down"), forward, embedding);
            if shape.architecture == "gemma3" {
                self.norm(&at("post_attention_norm.weight"), embedding);
                self.norm(&at("post_ffw_norm.weight"), embedding);
                self.norm(&at("attn_q_norm.weight"), shape.head_width);
                self.norm(&at("attn_k_norm.weight"), shape.head_width);
            } else {
                self.norm(&at("attn_q.bias"), q);
                self.norm(&at("attn_k.bias"), kv);
                self.norm(&at("attn_v.bias"), kv);
            }
        }
    }

    fn key(&mut self, key: &str, kind: u32) {
        self.pairs += 1;
        push_text(&mut self.metadata, key);
        self.metadata.extend(kind.to_le_bytes());
    }

    fn number(&mut self, key: &str, value: u32) {
        self.key(key, U32);
        self.metadata.extend(value.to_le_bytes());
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key, TEXT);
        push_text(&mut self.metadata, value);
    }

    fn list(&mut self, key: &str, kind: u32, length: usize) {
        self.key(key, LIST);
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend((length as u64).to_le_bytes());
    }

    /// A matrix of random weights around 1/64, in f16.
    fn matrix(&mut self, name: &str, columns: u32, rows: u32) {
        self.tensor(&format!("{name}.weight"), &[columns, rows], F16);
        for _ in 0..columns * rows {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let bits = 0x2400 | ((self.random >> 48) as u16 & 0x83ff);
            self.data.extend(bits.to_le_bytes());
        }
    }

    /// A vector of ones, in f32.
    fn norm(&mut self, name: &str, length: u32) {
        self.tensor(name, &[length], 0);
        for _ in 0..length {
            self.data.extend(1.0_f32.to_le_bytes());
        }
    }

    fn tensor(&mut self, name: &str, sizes: &[u32], kind: u32) {
        self.data.resize(self.data.len().next_multiple_of(ALIGNMENT), 0);
        self.tensors += 1;
        push_text(&mut self.infos, name);
        self.infos.extend((sizes.len() as u32).to_le_bytes());
        for size in sizes {
            self.infos.extend(u64::from(*size).to_le_bytes());
        }
        self.infos.extend(kind.to_le_bytes());
        self.infos.extend((self.data.len() as u64).to_le_bytes());
    }

    fn bytes(self) -> Vec<u8> {
        let mut out = b"GGUF\x03\0\0\0".to_vec();
        out.extend(self.tensors.to_le_bytes());
        out.extend(self.pairs.to_le_bytes());
        out.extend(self.metadata);
        out.extend(self.infos);
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out.extend(self.data);
        out
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
