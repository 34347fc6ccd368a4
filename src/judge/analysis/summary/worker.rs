//! Who measured a run that several workers measured.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A machine, or some cards of one, that measured a part of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct WorkerRow {
    /// Name of the machine, as its cluster calls it; of the run, where that was one of its own.
    pub place: String,
    /// Cards that its servers were told to use; empty: all that they see.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<u32>,
    /// What decides how fast it is: processor, cards, driver.
    pub kind: String,
    /// Trials that it measured.
    pub trials: u32,
    /// How many of them broke.
    #[serde(default, skip_serializing_if = "is_none")]
    pub broke: u32,
    /// How fast the reference decodes there, beside most of the others, on the same requests; `None` where it shares none with
    /// them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed: Option<f64>,
    /// Why its figures of time, energy and memory do not count; its answers do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

fn is_none(broke: &u32) -> bool {
    *broke == 0
}

impl WorkerRow {
    /// What it is called: the machine, and its cards where they are named.
    pub fn name(&self) -> String {
        let cards: Vec<String> = self.cards.iter().map(u32::to_string).collect();
        match cards.as_slice() {
            [] => self.place.clone(),
            [one] => format!("{}, card {one}", self.place),
            several => format!("{}, cards {}", self.place, several.join("+")),
        }
    }
}
