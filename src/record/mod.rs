//! What is written down: the nouns that measuring fills in and judging reads, and the journal that holds them.
//!
//! Nothing here measures or judges, and nothing but the journal does I/O.

mod arm;
pub mod blocks;
pub mod capacity;
pub mod cards;
mod case;
mod decision;
mod distributions;
mod engine;
mod engine_info;
pub mod environment;
pub mod filter;
mod forced;
mod hash;
mod held;
pub mod journal;
mod kept;
mod key;
pub mod kv;
mod machine;
mod measurement;
mod measurements;
mod message;
pub mod metric;
mod model;

mod name;
mod numbers;
mod objective;
mod outcome;
pub mod packed;
pub mod plan;
mod rare;
mod reply;
pub mod said;
pub mod secrets;
mod selection;
mod served;
pub mod share;
mod spread;
mod stop_rule;
pub mod suite;
pub mod thinking;
mod timestamp;
pub mod token_lengths;
mod trial;
mod warning;

pub use arm::{Arm, Mode};
pub use case::{ANY_OBJECT, Band, Case, Prompt};
pub use decision::{Decision, EvidenceUnit, OpenCell, Outlook, StopReason, WithinRound};
pub use engine::{Argv, Build, Effective, Stretch, shell_text, shell_word, stretches};
pub use engine_info::{EngineInfo, Placement};
pub use forced::{
    BESIDE_THE_CACHE, Forced, ForcedForm, ForcedPart, ForcedToken, IMPOSSIBLE, ReadPath, Scoring,
};
pub use hash::{hex, short_hash};
pub use held::{Conversion, HeldCase, HeldKeyword, HeldSchema, Hold};
pub use key::{KeyParts, Row, TrialKey};
pub use machine::{FileInfo, GpuCard, Machine};
pub use measurement::{Measurement, Source};
pub use measurements::Measurements;
pub use message::{Message, Role, Tool, ToolCall, ToolChoice, prefill};
pub use model::{ModelInfo, Mostly, Tokenizer, TrainedContext};
pub use name::Name;
pub use objective::{Direction, Objective};
pub use outcome::{Outcome, Part, Score, Stage};
pub use rare::Rare;
pub use reply::{Distribution, FinishReason, PackedDistributions, Packing, Reply};
pub use selection::{SelectedCases, Selection};
pub use served::{DraftPoint, DraftPosition, DraftTrace, Overlong, Served};
pub use spread::{MOST_WORKERS, Spread, SpreadOn, Worker};
pub use stop_rule::{Look, StopRule};
pub use timestamp::Timestamp;
pub use trial::Trial;
pub use warning::Warning;
