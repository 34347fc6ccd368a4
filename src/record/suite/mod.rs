//! The suite as it was resolved: every default filled in, the matrix expanded. The journal's header holds it.

pub(crate) mod bounds;
mod judging;
mod notify;
mod packed;
mod parts;
mod resolved;
mod sampled;
mod sampling;
mod serving;
mod setting;

pub use judging::{Gate, GateMetric, Stopping, StoppingRule};
pub use notify::{Notify, NotifyWhen};
pub use packed::PackedReference;
pub use parts::{EngineSpec, ModelSpec, QuantFile, Relaunch, TaskSpec, TextSource, Window};
pub use resolved::Suite;
pub use sampled::SampledAlike;
pub use sampling::Sampling;
pub use serving::{Arrivals, LoadLimits, LoadQuality, LoadSpec};
pub use setting::{Cell, DraftModel, FlashAttention, Setting, UNKNOWN, is_of_speculation_alone};
