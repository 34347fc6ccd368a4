//! Launch, warm up, drive, emit: one visit after another. The runner acts; engines and tasks describe.
//!
//! Everything that happens is an [`Event`]; the journal, the display and the tests subscribe.

mod attach;
mod cases;
mod desk;
mod drafts;
mod estimate;
mod event;
mod host;
mod interrupt;
mod live;
mod loadtest;
mod lookout;
mod pace;
mod prepare;
mod prepared;
mod run;
mod spool;
mod start;
mod swapped;
mod talk;
mod trained;
mod watch;

pub use desk::{Desk, Timing};
pub use estimate::{Basis, Estimator, Eta, Observed, Speed, probe};
pub use event::{Event, Subscriber};
pub use interrupt::{Interrupt, end_at_once};
pub use live::argv;
pub use lookout::gone;
pub use prepare::{Preparations, check_engine, megabytes, preparations, prepare};
pub use prepared::{Attachment, Prepared};
pub use run::{Ending, Runner, Terms};
pub use trained::beyond_trained;
