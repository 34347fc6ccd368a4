//! Commands and files to serve a setting with, in the forms in which people keep them.
//!
//! Each form is a function from what is served to text; a new one is a file and a line in [`table`]. None touches a file, a
//! clock or the environment. Names, paths and arguments are hostile: each form quotes by the rules of who reads it.

mod docker;
mod form;
mod llama_swap;
mod ollama;
mod paths;
mod served;
mod shell;
mod systemd;
mod table;

pub use form::{ServeForm, ServeText};
pub use paths::about_files;
pub use served::{Device, Serving};
pub use table::{forms, write};
