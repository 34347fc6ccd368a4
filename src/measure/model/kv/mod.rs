//! What a model's KV cache holds, from its GGUF metadata; the formula of its bytes is in [`crate::record::kv`].

use super::gguf::Metadata;
use crate::record::kv::{KvError, KvGroup, KvShape};

mod known;
mod layers;

pub use known::is_known;

impl KvShape {
    /// The shape that a file's metadata describe.
    ///
    /// # Errors
    /// When they lack something, or when the model keeps what the rules do not cover.
    pub fn of(metadata: &Metadata) -> Result<Self, KvError> {
        layers::shape(metadata)
    }

    /// What the layers keep that only predict further tokens (MTP), when they draft; `None` for a model without any.
    ///
    /// # Errors
    /// When the metadata lack something.
    pub fn of_prediction(metadata: &Metadata) -> Result<Option<Self>, KvError> {
        layers::prediction(metadata)
    }

    fn add(&mut self, layer: KvGroup) {
        let alike = |group: &&mut KvGroup| KvGroup { layers: 1, ..**group } == layer;
        match self.groups.iter_mut().find(alike) {
            Some(group) => group.layers += 1,
            None => self.groups.push(layer),
        }
    }
}

#[cfg(test)]
mod tests;
