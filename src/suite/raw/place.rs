//! Defaults have no place in the text.

use toml::Spanned;

pub(super) fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}
