//! Wire formats: what servers call the same things. An engine names one in its card, or brings its own.

pub mod body;
pub mod conversation;
pub mod decode_list;
pub mod format;
mod llama_cpp;
mod openai;
pub mod prompt_lists;
pub mod step;
mod vllm;

pub use format::{ChatRequest, Quirks, WireFormat};
pub use llama_cpp::LlamaCpp;
pub(super) use llama_cpp::token_by_token;
pub use openai::OpenAi;
pub use vllm::{Sglang, Vllm};
