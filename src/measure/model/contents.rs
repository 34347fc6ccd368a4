//! What weights are really made of: the types of their tensors, and how much of them lies in which layers.

use std::collections::BTreeMap;

use super::gguf::{Header, Tensor};
use crate::record::Mostly;
use crate::record::blocks::BlockType;

/// Types of tensors that llama.cpp's processor backend (AVX2) keeps a second time, in another order.
const REPACKED: &[&str] = &["q4_0", "q4_K", "iq4_nl", "mxfp4"];
/// Rows that such a tensor has multiples of.
const REPACKED_ROWS: u64 = 8;
/// Mixes of quants by their first letters, and the type that most of their weights have.
const MIXES: &[(&str, &str)] = &[
    ("Q2_K", "q2_K"),
    ("Q3_K", "q3_K"),
    ("Q4_K", "q4_K"),
    ("Q5_K", "q5_K"),
    ("Q6_K", "q6_K"),
    ("IQ3_M", "iq3_s"),
    ("IQ2_M", "iq2_s"),
];

/// Weights of one model in one quant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Bytes of all tensors.
    pub bytes: u64,
    /// Values in all tensors; `None` where they are packed in a way that does not tell.
    pub values: Option<u64>,
    /// Types, the one that most values have first.
    pub kinds: Vec<KindShare>,
    /// Bytes of the table that turns tokens into embeddings.
    pub input_bytes: u64,
    /// Bytes of the tables that turn tokens into embeddings of each layer (Gemma 3n, Gemma 4).
    pub per_layer_input_bytes: u64,
    /// Whether the first table is used for the output, too.
    pub is_tied: bool,
    /// Experts of a layer; 0 where it has none.
    pub experts: u64,
    /// Each layer, the first one first.
    pub layers: Vec<LayerBytes>,
    /// Bytes that llama.cpp keeps a second time where it computes on processors with AVX2.
    pub repacked_bytes: u64,
    /// Tokens in the vocabulary; 0 where that is not known.
    pub vocabulary: u64,
}

/// How much of the weights has one type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindShare {
    /// The type, such as `q4_K`.
    pub name: String,
    /// Values.
    pub values: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Bytes of a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LayerBytes {
    /// All of it.
    pub all: u64,
    /// Its experts.
    pub experts: u64,
}

impl Contents {
    /// What the headers of a file's parts say; each with the size of the part (bytes).
    pub fn of_parts(parts: &[(Header, u64)]) -> Self {
        let mut contents = Self { values: Some(0), is_tied: true, ..Self::default() };
        let mut layers = BTreeMap::new();
        for (header, file) in parts {
            for (tensor, bytes) in header.tensors.all.iter().zip(header.tensors.sizes(*file)) {
                contents.add(tensor, bytes, &mut layers);
            }
        }
        contents.layers = layers.into_values().collect();
        contents.sort_kinds();
        contents
    }

    /// Puts the type that most values have first.
    pub(super) fn sort_kinds(&mut self) {
        self.kinds.sort_by(|a, b| b.values.cmp(&a.values).then_with(|| a.name.cmp(&b.name)));
    }

    fn add(&mut self, tensor: &Tensor, bytes: u64, layers: &mut BTreeMap<u64, LayerBytes>) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.values = self.values.map(|values| values.saturating_add(tensor.values()));
        self.add_kind(&tensor.kind(), tensor.values(), bytes);
        if let Some(number) = layer_of(&tensor.name) {
            let layer = layers.entry(number).or_default();
            layer.all = layer.all.saturating_add(bytes);
            if tensor.name.contains("_exps.") {
                layer.experts = layer.experts.saturating_add(bytes);
                self.experts = self.experts.max(tensor.shape.get(2).copied().unwrap_or_default());
            }
        }
        match tensor.name.as_str() {
            "per_layer_token_embd.weight" => self.per_layer_input_bytes = bytes,
            "token_embd.weight" => {
                self.input_bytes = bytes;
                self.vocabulary = tensor.shape.get(1).copied().unwrap_or_default();
            }
            "output.weight" => self.is_tied = false,
            _ => {}
        }
        if is_repacked(tensor) {
            self.repacked_bytes = self.repacked_bytes.saturating_add(bytes);
        }
    }

    pub(super) fn add_kind(&mut self, name: &str, values: u64, bytes: u64) {
        match self.kinds.iter_mut().find(|kind| kind.name == name) {
            Some(kind) => {
                kind.values = kind.values.saturating_add(values);
                kind.bytes = kind.bytes.saturating_add(bytes);
            }
            None => self.kinds.push(KindShare { name: name.to_owned(), values, bytes }),
        }
    }

    /// Bits of a value on average.
    pub fn bits_per_weight(&self) -> Option<f64> {
        self.values.filter(|values| *values > 0).map(|values| self.bytes as f64 * 8.0 / values as f64)
    }

    /// The type that most weights have where the label promises another one: what the file should be called.
    ///
    /// A quant's own type needs rows of whole blocks; where a model has none, quantisers take another type, and keep the
    /// label. Labels of a publisher's own mixes promise nothing.
    pub fn is_rather(&self, label: &str) -> Option<Mostly> {
        let most = self.kinds.first()?;
        let promised = promised(label)?;
        let of = self.kinds.iter().fold(0_u64, |sum, kind| sum.saturating_add(kind.values));
        let own = self.kinds.iter().find(|kind| kind.name == promised).map_or(0, |kind| kind.values);
        (own.saturating_mul(2) < of && most.name != promised).then(|| Mostly {
            kind: most.name.clone(),
            weights: most.values,
            of,
        })
    }

    /// Bytes that each generated token reads, where it goes through `experts_used` of a layer's experts; `None` where that is
    /// not known. Of the tables of the input it reads a row, which does not count.
    pub fn read_bytes(&self, experts_used: Option<u64>) -> Option<u64> {
        let experts = self.layers.iter().fold(0_u64, |sum, layer| sum.saturating_add(layer.experts));
        let read = match (experts, experts_used) {
            (0, _) => 0,
            (_, Some(used)) if (1..=self.experts).contains(&used) => experts / self.experts * used,
            _ => return None,
        };
        let input = if self.is_tied { 0 } else { self.input_bytes };
        let unread = input.saturating_add(self.per_layer_input_bytes).saturating_add(experts - read);
        self.bytes.checked_sub(unread).filter(|bytes| *bytes > 0)
    }

    /// Bytes of the weights on a card, with every layer there: the table of the input stays in main memory, and is copied
    /// where the output uses it, too.
    pub fn card_bytes(&self) -> u64 {
        let copied = if self.is_tied { self.input_bytes } else { 0 };
        self.bytes.saturating_sub(self.main_bytes()).saturating_add(copied)
    }

    /// Bytes that lie in main memory also where every layer is on a card: the tables of the input.
    pub fn main_bytes(&self) -> u64 {
        self.input_bytes.saturating_add(self.per_layer_input_bytes)
    }
}

/// The type that most weights of a label should have.
fn promised(label: &str) -> Option<&'static str> {
    let upper = label.to_ascii_uppercase();
    let mix = MIXES.iter().find(|(start, _)| upper.starts_with(start)).map(|&(_, kind)| kind);
    mix.or_else(|| BlockType::named(&label.to_ascii_lowercase()).map(|kind| kind.name))
}

/// The layer that a tensor belongs to: `blk.12.attn_q.weight`.
fn layer_of(name: &str) -> Option<u64> {
    name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// Matrices of layers and of the output, in rows that can be interleaved.
fn is_repacked(tensor: &Tensor) -> bool {
    let rows = tensor.shape.get(1).copied().unwrap_or_default();
    let is_matrix = rows > 0 && rows.is_multiple_of(REPACKED_ROWS);
    is_matrix && tensor.name != "token_embd.weight" && REPACKED.contains(&tensor.kind().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::model::gguf::{Metadata, Tensors};

    fn tensor(name: &str, shape: &[u64], number: u32) -> Tensor {
        Tensor { name: name.into(), shape: shape.to_vec(), number, offset: 0 }
    }

    fn contents(tensors: Vec<Tensor>) -> Contents {
        let tensors = Tensors { start: 0, all: tensors };
        Contents::of_parts(&[(Header { metadata: Metadata::default(), tensors, ..Header::default() }, 0)])
    }

    #[test]
    fn weights_are_sorted_by_where_they_lie() {
        let found = contents(vec![
            tensor("token_embd.weight", &[256, 1000], 8),
            tensor("output_norm.weight", &[256], 0),
            tensor("blk.0.attn_q.weight", &[256, 256], 12),
            tensor("blk.1.ffn_up_exps.weight", &[256, 512, 4], 12),
        ]);
        let q4 = |values: u64| values / 256 * 144;
        assert_eq!(found.input_bytes, 256 * 1000 / 32 * 34);
        assert!(found.is_tied && found.card_bytes() == found.bytes);
        assert_eq!(found.layers[0], LayerBytes { all: q4(256 * 256), experts: 0 });
        assert_eq!(found.layers[1], LayerBytes { all: q4(256 * 2048), experts: q4(256 * 2048) });
        assert_eq!(found.repacked_bytes, q4(256 * 256) + q4(256 * 2048));
        assert_eq!(found.vocabulary, 1000);
        let own =
            contents(vec![tensor("token_embd.weight", &[32, 8], 8), tensor("output.weight", &[32, 8], 8)]);
        assert_eq!(own.card_bytes() * 2, own.bytes);
    }

    #[test]
    fn a_token_reads_no_table_of_the_input_and_only_its_experts() {
        let input = tensor("token_embd.weight", &[32, 8], 8);
        let query = tensor("blk.0.attn_q.weight", &[256, 256], 12);
        let tied = contents(vec![input.clone(), query.clone()]);
        assert_eq!(tied.read_bytes(None), Some(tied.bytes));
        let own = contents(vec![input.clone(), tensor("output.weight", &[32, 8], 8), query.clone()]);
        assert_eq!(own.read_bytes(None), Some(tied.bytes));
        let experts = tensor("blk.0.ffn_up_exps.weight", &[256, 512, 4], 12);
        let mixed = contents(vec![input.clone(), query.clone(), experts.clone()]);
        let expert = 256 * 512 / 256 * 144;
        assert_eq!(mixed.read_bytes(Some(1)), Some(tied.bytes + expert));
        assert_eq!(mixed.read_bytes(Some(4)), Some(mixed.bytes));
        let bias = tensor("blk.0.ffn_up_exps.bias", &[512, 4], 0);
        let biased = contents(vec![input, query, experts, bias]);
        assert_eq!(
            biased.read_bytes(Some(1)),
            Some(tied.bytes + expert + 512 * 4),
            "a bias is of two dimensions"
        );
        assert_eq!([mixed.read_bytes(None), mixed.read_bytes(Some(0)), mixed.read_bytes(Some(5))], [None; 3]);
        assert_eq!(contents(Vec::new()).read_bytes(None), None);
    }

    #[test]
    fn a_label_that_promises_another_type_is_noticed() {
        let found = contents(vec![
            tensor("blk.0.attn_q.weight", &[576, 576], 20),
            tensor("blk.0.attn_v.weight", &[1536, 64], 10),
        ]);
        assert_eq!(found.is_rather("Q2_K").map(|mostly| mostly.kind).as_deref(), Some("iq4_nl"));
        assert_eq!(found.is_rather("UD-Q2_K_XL"), None, "a publisher's own mix");
        assert_eq!(found.is_rather("IQ4_NL"), None);
        assert_eq!(contents(Vec::new()).is_rather("Q2_K"), None);
    }
}
