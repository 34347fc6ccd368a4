//! Inference servers: each engine describes itself here; [`supervise`] acts.
//!
//! A new engine is one folder and one line in [`ENGINES`].

mod arguments;
mod capability;
mod card;
mod definition;
mod deviation;
mod figures;
mod flags;
pub mod ik_llama;
mod launch;
pub mod llama_cpp;
mod llama_family;
mod llama_options;
pub mod openai;
pub mod option;
pub mod sglang;
pub mod supervise;
pub mod tabbyapi;
mod table;
mod types;
pub mod vllm;

pub use crate::measure::client::Endpoints;
pub use capability::{Capability, Support};
pub use card::{EngineCard, FlagStyle, Introspection, ModelForm, check_form};
pub use definition::Engine;
pub use flags::check_flags;
pub use launch::{Launch, SERVING_PORT, serving};
pub use option::{OptionKind, ServerOption, may_be_type};
pub use table::{ENGINES, find, to_serve};
pub use types::{check_types, with_known_types};
