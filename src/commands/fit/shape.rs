//! What a model's cache holds by the rules, or why they do not cover it.

use crate::measure::model::kv::is_known;
use crate::measure::model::{Form, Offered};
use crate::record::kv::KvShape;

/// What a quant's cache holds by the rules.
///
/// # Errors
/// Why they do not cover it.
pub(super) fn shape(offered: &Offered) -> Result<KvShape, String> {
    let shape = KvShape::of(&offered.metadata).map_err(|error| error.to_string());
    match (offered.form, offered.metadata.architecture.as_deref()) {
        (Form::File, Some(name)) if !is_known(name) => {
            shape.and(Err(format!("no rule names the architecture `{name}`")))
        }
        (Form::File, None) => Err("the file names no architecture".to_owned()),
        _ => shape,
    }
}
