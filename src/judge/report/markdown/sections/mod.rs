//! Sections that the template makes of the summary alone.

mod arms;
mod conversations;
mod hostile;
mod serving;
