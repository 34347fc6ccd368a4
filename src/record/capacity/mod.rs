//! How far a setting's search for its highest load came, from its steps alone: measuring asks what is next, and judging
//! what was found.

mod bisect;
mod course;
mod step;

pub use bisect::Bracket;
pub use course::{Course, CrowdAnswer, End, Next};
pub use step::{SteadyPart, crowd, falls_behind, is_behind, keeps, share_kept, token_s};
