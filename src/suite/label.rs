//! Names of settings.

use crate::measure::engine;
use crate::record::kv::kv_types;
use crate::record::suite::{FlashAttention, Setting, UNKNOWN};

impl Setting {
    /// The short name of a setting: what differs from the engine's usual (no speculation, flash attention on) is
    /// spelled out, the cache types always, and what is [`UNKNOWN`] never. `with_model` puts the model in front
    /// (suites with several models).
    pub fn label_of(&self, with_model: bool) -> String {
        let mut parts = Vec::new();
        if with_model {
            parts.push(self.model.clone());
        }
        parts.push(self.weights.clone());
        let unknown = self.k == UNKNOWN && self.v == UNKNOWN;
        if !unknown {
            parts.push(format!("kv={}", kv_types(&self.k, &self.v)));
        }
        if self.speculation != "off" && self.speculation != UNKNOWN {
            parts.push(format!("spec={}", self.speculation));
        }
        parts.extend(self.draft.iter().map(|draft| format!("draft={draft}")));
        let usual = engine::find(&self.engine).map(|engine| engine.card().default_flash_attention);
        let unsaid = unknown && self.flash_attention == FlashAttention::Auto;
        if self.flash_attention != usual.unwrap_or_default() && !unsaid {
            parts.push(format!("fa={}", self.flash_attention.name()));
        }
        parts.extend(self.options.iter().map(|(name, value)| format!("{name}={value}")));
        parts.extend(self.extra_args.iter().cloned());
        // Labels are written everywhere.
        crate::record::secrets::shown_args(&parts).join(" ")
    }
}
