//! Where models and engine binaries come from: paths, a Hub, pinned packages, derived quants.

mod byte_pairs;
mod compute;
pub mod config;
mod contents;
mod derive;
mod fetch;
pub(crate) mod folder;
pub mod gguf;
mod hub;
pub mod kv;
mod lease;
mod located;
mod offers;
pub mod packages;
mod parts;
mod placement;
mod quant_name;
mod rope;
mod safetensors;
mod sources;
mod split_name;
mod store;
mod tokenizer;
mod tokenizer_json;
mod trained;
mod witness;

pub use byte_pairs::BytePairs;
pub use compute::{ComputeUse, compute_bytes, is_checked};
pub use contents::{Contents, KindShare, LayerBytes};
pub use derive::DERIVABLE;
pub use hub::{DEFAULT_ENDPOINT, Hub, HubError, Reference};
pub use located::{EngineFiles, Location, ModelFile};
pub use offers::{Form, Offered, Offering, Unread, mostly, offering, parameters, read_bytes};
pub use placement::{Demand, Fit, longest_context};
pub(crate) use sources::unhashed_bytes;
pub use sources::{
    file_witness, is_on_path, kv_shape, local_weights, locate_server, locate_weights, server, server_witness,
    weights,
};
pub use store::{Progress, Silent, Store};
pub use tokenizer::tokenizer;
pub use trained::trained_context;
pub use witness::Witness;
