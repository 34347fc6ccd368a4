//! What a model's KV cache holds, from its GGUF metadata; the formula of its bytes is in [`crate::record::kv`].

use super::gguf::Metadata;
use crate::record::kv::{KvError, KvGroup, KvShape};

mod layers;

impl KvShape {
    /// The shape that a file's metadata describe.
    ///
    /// # Errors
    /// When they lack something, or when the model keeps what the rules do not cover.
    pub fn of(metadata: &Metadata) -> Result<Self, KvError> {
        layers::shape(metadata)
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
