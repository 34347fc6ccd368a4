//! A warning before it has words.

use crate::judge::analysis::summary::{Figure, Unit, WarningCell, WarningCode};

/// What was found, as data; [`super::words::warning`] words it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Finding {
    pub(crate) code: WarningCode,
    pub(crate) cell: Option<WarningCell>,
    pub(crate) subject: Option<String>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) detail: Option<String>,
}

impl Finding {
    /// A finding about the run as a whole.
    pub(crate) const fn new(code: WarningCode) -> Self {
        Self { code, cell: None, subject: None, figures: Vec::new(), detail: None }
    }

    /// A finding about one setting at one context length (tokens).
    pub(crate) fn at(code: WarningCode, setting: &str, context: u32) -> Self {
        Self::of_setting(code, setting).in_context(context)
    }

    /// A finding about one setting at every context length.
    pub(crate) fn of_setting(code: WarningCode, setting: &str) -> Self {
        let cell = WarningCell { setting: Some(setting.to_owned()), context: None };
        Self { cell: Some(cell), ..Self::new(code) }
    }

    /// Narrows it to a context length (tokens).
    pub(crate) fn in_context(mut self, context: u32) -> Self {
        self.cell.get_or_insert_default().context = Some(context);
        self
    }

    /// Names what else it is about.
    pub(crate) fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// Adds a number that it rests on.
    pub(crate) fn figure(mut self, name: &str, value: impl Into<f64>, unit: Unit) -> Self {
        self.figures.push(Figure { name: name.to_owned(), value: value.into(), unit });
        self
    }

    /// Adds a reason in somebody else's words.
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Returns the number of that name; not a number where there is none.
    pub(super) fn number(&self, name: &str) -> f64 {
        self.figures.iter().find(|figure| figure.name == name).map_or(f64::NAN, |figure| figure.value)
    }
}
