//! The forms, and what is written in one of them.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A form in which people keep the command of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ServeForm {
    /// A line for a POSIX shell
    Shell,
    /// A model of llama-swap's configuration
    LlamaSwap,
    /// A `docker run` command with the engine's official image
    Docker,
    /// A unit of the user's systemd
    Systemd,
    /// A Modelfile of Ollama
    Ollama,
}

impl ServeForm {
    /// Returns its name on the command line and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shell => "shell",
            Self::LlamaSwap => "llama-swap",
            Self::Docker => "docker",
            Self::Systemd => "systemd",
            Self::Ollama => "ollama",
        }
    }

    /// Returns its name in sentences.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Shell => "a shell",
            Self::LlamaSwap => "llama-swap",
            Self::Docker => "Docker",
            Self::Systemd => "systemd",
            Self::Ollama => "Ollama",
        }
    }

    /// Returns the language of its text, for a block of code.
    #[must_use]
    pub const fn language(self) -> &'static str {
        match self {
            Self::Shell | Self::Docker => "sh",
            Self::LlamaSwap => "yaml",
            Self::Systemd => "ini",
            Self::Ollama => "dockerfile",
        }
    }
}

/// What serves a setting, written in one form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct ServeText {
    /// The form.
    pub form: ServeForm,
    /// The file that it is meant for; `None` for a command.
    #[serde(default)]
    pub file: Option<String>,
    /// The text; `None` where the setting cannot be said in this form.
    pub text: Option<String>,
    /// Variables that its server's environment needs, where the text cannot hold them.
    #[serde(default)]
    pub environment: Vec<(String, String)>,
    /// The command that takes the file up, for a shell; `None` where none is needed.
    #[serde(default)]
    pub then: Option<String>,
    /// What the text does not say, why there is none, what must be known of it.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl ServeText {
    /// A command.
    pub(super) fn command(form: ServeForm, text: String) -> Self {
        Self { form, file: None, text: Some(text), environment: Vec::new(), then: None, notes: Vec::new() }
    }

    /// A file.
    pub(super) fn file(form: ServeForm, name: String, text: String) -> Self {
        Self { file: Some(name), ..Self::command(form, text) }
    }

    /// Nothing, and why.
    pub(super) fn none(form: ServeForm, reason: impl Into<String>) -> Self {
        Self { form, file: None, text: None, environment: Vec::new(), then: None, notes: vec![reason.into()] }
    }

    /// The same with a command that takes the file up.
    pub(super) fn then(mut self, command: String) -> Self {
        self.then = Some(command);
        self
    }

    /// The same with a note.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}
