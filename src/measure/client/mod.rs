//! Requests to an inference server, and what they cost on the client's clock.
//!
//! A request is sent, its chunks are stamped and stored as they come ([`timeline::Recording`]), and only
//! when the stream has ended are they decoded ([`sse`], [`reply`]) and measured ([`timeline`]).

pub mod abilities;
mod address;
mod budget;
mod cache_report;
mod chat;
mod completion;
mod connection;
mod counting;
mod counts;
mod decode_lists;
mod direct;
pub mod distributions;
mod drafts;
mod endpoints;
mod exchange;
mod forced;
mod forced_steps;
mod forced_tokens;
mod frame;
mod framing;
mod gather;
mod grammars;
mod http;
mod key;
mod listed;
pub mod prompt_logprobs;
mod prompt_tokens;
mod refusals;
pub mod reply;
pub mod sse;
pub mod timeline;
mod webhook;
pub mod wire;
mod writer;

pub use address::{base_of, check_address, loopback_port};
pub use connection::Client;
pub use endpoints::Endpoints;
pub use exchange::{Exchange, Failure, Limits};
pub use forced::ForcedExchange;
pub use frame::{Frame, frame_name};
pub use gather::gather;
pub use key::ApiKey;
pub use prompt_tokens::PromptTokens;
pub(crate) use refusals::is_unsupported;
pub use webhook::{Answer, post_once, post_with_key};
pub use wire::conversation::Conversation;
pub use wire::format::WireFormat;
