//! Sections that the template makes of the summary.

mod arms;
mod coherence;
mod conversations;
mod hostile;
mod load;
mod machine;
mod serving;
mod speculation;
