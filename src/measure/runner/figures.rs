//! Finding one figure among those of a request.

use crate::record::{Measurement, Source};

/// The figure of the same name and source.
pub(super) fn alike<'a>(turn: &'a [Measurement], figure: &Measurement) -> Option<&'a Measurement> {
    turn.iter().find(|other| other.name == figure.name && other.source == figure.source)
}

/// The engine's figure of that name, if it gave one.
pub(super) fn engine_figure(turn: &[Measurement], name: &str) -> Option<f64> {
    turn.iter().find(|m| m.name == name && m.source == Source::Engine).and_then(|m| m.value)
}
