//! What every check of a suite's text needs: errors that point into it, bounds, and paths.

use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;

use super::scalar::Tokens;
use crate::error::{Error, Location, Result, nearest};
use crate::record::secrets::expand_home;

/// The folder of a file.
pub(super) fn folder_of(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Checks one text; every method returns an error that points into it.
pub(super) struct Checker {
    pub(super) text: Arc<str>,
    file: PathBuf,
    /// Where relative paths start.
    pub(super) folder: PathBuf,
}

impl Checker {
    pub(super) fn new(text: &str, file: &Path) -> Self {
        Self { text: text.into(), file: file.into(), folder: folder_of(file) }
    }

    pub(super) fn error(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
    ) -> Error {
        let location =
            Location { file: self.file.clone(), text: self.text.clone(), span, label: label.into() };
        Error::usage(message).at(location)
    }

    pub(super) fn within(&self, value: &Spanned<u32>, min: u32, max: u32, what: &str) -> Result<u32> {
        self.inside(value, &(min..=max), what)
    }

    /// [`Checker::within`] for tokens.
    pub(super) fn tokens(&self, value: &Spanned<Tokens>, min: u32, max: u32, what: &str) -> Result<u32> {
        self.within(&Spanned::new(value.span(), value.get_ref().0), min, max, what)
    }

    pub(super) fn within_f64(&self, value: &Spanned<f64>, min: f64, max: f64, what: &str) -> Result<f64> {
        self.inside(value, &(min..=max), what)
    }

    /// A number within bounds; what is no number at all is in none.
    pub(super) fn inside<T: PartialOrd + Copy + Display>(
        &self,
        value: &Spanned<T>,
        bounds: &RangeInclusive<T>,
        what: &str,
    ) -> Result<T> {
        let number = *value.get_ref();
        if bounds.contains(&number) {
            return Ok(number);
        }
        let (min, max) = (bounds.start(), bounds.end());
        Err(self.error(value.span(), format!("{what} is {number}"), format!("must be {min} to {max}")))
    }

    /// A path that the suite names: from its folder, or from the home folder (`~/`).
    pub(super) fn path(&self, path: &Path) -> PathBuf {
        match path.to_str() {
            Some(text) => self.folder.join(expand_home(text)),
            None => self.folder.join(path),
        }
    }

    /// A path of the suite's; `pair`: two of them with a comma between.
    pub(super) fn in_folder(&self, file: &Path, pair: bool) -> PathBuf {
        match file.to_str().and_then(|text| text.rsplit_once(',')) {
            Some((first, second)) if pair => {
                let mut both = self.path(Path::new(first)).into_os_string();
                both.push(",");
                both.push(self.path(Path::new(second)));
                both.into()
            }
            _ => self.path(file),
        }
    }

    pub(super) fn unknown<'a>(
        &self,
        word: &Spanned<String>,
        what: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Error {
        let known: Vec<_> = known.into_iter().collect();
        let error = self.error(word.span(), format!("unknown {what} `{}`", word.get_ref()), "not known");
        match nearest(word.get_ref(), known.iter().copied()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None if known.is_empty() => error.hint("there are none"),
            None => error.hint(format!("known: {}", known.join(", "))),
        }
    }
}
