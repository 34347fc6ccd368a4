//! kneepoint's own cases, as `kneepoint cases` prints them.

use super::format::{Format, Imported, Matching};
use super::lines::Line;
use crate::record::Case;

/// Lines of JSON, a [`Case`] each; the id is the case's own.
#[derive(Debug)]
pub struct Own;

impl Format for Own {
    fn name(&self) -> &'static str {
        "kneepoint"
    }

    fn summary(&self) -> &'static str {
        "what `kneepoint cases` prints"
    }

    fn case(&self, line: &Line<'_>, matching: Option<Matching>) -> Result<Imported, String> {
        if matching.is_some() {
            return Err("--match is for imported files: kneepoint's own cases have one rule each".into());
        }
        let case: Case = serde_json::from_str(line.text).map_err(|error| format!("not a case: {error}"))?;
        Ok(Imported { id: case.id.into(), case })
    }
}
