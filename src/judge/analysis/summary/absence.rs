//! What has no figure, as data that a program can filter.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Figure;
use super::worded::Worded;

/// Something that was not measured, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Absence {
    /// What kind of thing it is.
    pub code: AbsenceCode,
    /// What has no figure: a measurement in words, an objective, a task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The numbers of it, such as how many trials lack it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub figures: Vec<Figure>,
    /// The reason in the words of whoever gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// All of it in words.
    pub sentence: String,
}

/// Kinds of absences. Names stay: programs filter by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum AbsenceCode {
    /// The kneepoint that measured had no probe for it.
    NoProbe,
    /// No cell has a figure for an objective, so the front leaves it out.
    ObjectiveUnknown,
    /// No source of some trials had a measurement.
    MeasurementAbsent,
    /// Trials of a task do not apply.
    TrialsUnscored,
    /// An absence of an older kneepoint, which had words only.
    Other,
}

impl Worded for Absence {
    fn of_sentence(sentence: String) -> Self {
        Self { code: AbsenceCode::Other, subject: None, figures: Vec::new(), detail: None, sentence }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Summary, Unit};
    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn absences_of_every_version_are_read() {
        let absence = Absence {
            code: AbsenceCode::MeasurementAbsent,
            subject: Some("GPU memory".into()),
            figures: vec![Figure { name: "trials".into(), value: 3.0, unit: Unit::Trials }],
            detail: Some("no card".into()),
            sentence: "GPU memory: no card (3 trials)".into(),
        };
        let mut summary = testing::summary();
        summary.not_measured = vec![absence];
        let mut written = serde_json::to_value(&summary).unwrap();
        assert_eq!(written["not_measured"][0]["code"], "measurement-absent");
        assert_eq!(serde_json::from_value::<Summary>(written.clone()).unwrap(), summary);
        written["not_measured"] = serde_json::json!(["GPU memory: no card (3 trials)"]);
        let old: Summary = serde_json::from_value(written).unwrap();
        assert_eq!(old.not_measured[0].code, AbsenceCode::Other);
        assert_eq!(old.not_measured[0].sentence, summary.not_measured[0].sentence);
    }
}
