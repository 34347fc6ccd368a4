//! Where models and engine binaries come from: paths, a Hub, pinned packages, derived quants.

pub mod config;
mod derive;
mod fetch;
pub(crate) mod folder;
pub mod gguf;
mod hub;
pub mod kv;
mod located;
pub mod packages;
mod parts;
mod quant_name;
mod rope;
mod sources;
mod split_name;
mod store;
mod trained;
mod witness;

pub use derive::DERIVABLE;
pub use hub::{DEFAULT_ENDPOINT, Hub, HubError, Reference};
pub use located::{EngineFiles, Location, ModelFile};
pub(crate) use sources::unhashed_bytes;
pub use sources::{
    file_witness, kv_shape, local_weights, locate_server, locate_weights, server, server_witness, weights,
};
pub use store::{Progress, Silent, Store};
pub use trained::trained_context;
pub use witness::Witness;
