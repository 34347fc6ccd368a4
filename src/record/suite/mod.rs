//! The suite as it was resolved: every default filled in, the matrix expanded. The journal's header holds it.

mod arrivals;
pub(crate) mod bounds;
mod judging;
mod notify;
mod packed;
mod parts;
mod resolved;
mod sampled;
mod sampling;
mod search;
mod serving;
mod setting;

pub use arrivals::Arrivals;
pub use judging::{Gate, GateMetric, Stopping, StoppingRule};
pub use notify::{Notify, NotifyWhen};
pub use packed::PackedReference;
pub use parts::{EngineSpec, ModelSpec, QuantFile, Relaunch, TaskSpec, TextSource, Window};
pub use resolved::Suite;
pub use sampled::SampledAlike;
pub use sampling::Sampling;
pub use search::{LoadSearch, SearchOver};
pub use serving::{LoadLimits, LoadQuality, LoadSpec};
pub use setting::{Cell, DraftModel, FlashAttention, Setting, UNKNOWN, is_of_speculation_alone};
