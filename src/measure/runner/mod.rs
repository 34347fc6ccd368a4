//! Launch, warm up, drive, emit: one visit after another. The runner acts; engines and tasks describe.
//!
//! Everything that happens is an [`Event`]; the journal, the display and the tests subscribe.

mod attach;
mod by_table;
mod case_file;
mod case_server;
mod cases;
mod constraints;
mod conversation;
mod drafts;
mod early_stopping;
mod estimate;
mod event;
mod figures;
mod forced_answer;
mod foreseen;
mod grammar_server;
mod handle;
mod interrupt;
mod loadtest;
mod lookout;
mod lost_reference;
mod own_tokens;
mod packed;
mod prefix_tracker;
mod prepare;
mod prepared;
mod run;
mod scratch;
mod server;
mod short_launch;
mod start;
mod swapped;
mod trained;
mod turns;

pub use by_table::told_version;
pub use case_server::{CaseServer, Timing};
pub use constraints::Reach;
pub use estimate::{Basis, Estimator, Eta, Observed, Speed, probe};
pub use event::{Event, Subscriber};
pub use foreseen::foreseen;
pub use grammar_server::{GrammarServer, held};
pub use interrupt::{Interrupt, end_at_once};
pub use lookout::gone;
pub use prepare::{Preparations, check_engine, is_server_here, megabytes, preparations, prepare};
pub use prepared::{Attachment, Prepared};
pub use run::{Ending, Runner, Terms};
pub use server::{ConfigFile, ServerCommand, command};
pub use short_launch::{Line, SetAside, ShortLaunch, short_contexts};
pub use turns::Turns;
