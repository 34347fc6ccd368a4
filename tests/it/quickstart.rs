//! The first run that people make teaches something: its reference neither fails everything nor answers everything.

use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::Value;

/// Scores at which damage can show and a setting can be better by chance.
const TELLING: RangeInclusive<f64> = 0.3..=0.9;

fn published() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/quickstart/summary.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Rows of the reference that are part of the quality: neither sanity checks nor alarms.
fn primary(summary: &Value) -> Vec<&Value> {
    let rows = summary["tasks"].as_array().unwrap().iter();
    rows.filter(|row| row["setting"] == summary["reference"] && row["sanity"] == false).collect()
}

#[test]
fn the_reference_scores_between_0_3_and_0_9_on_every_primary_task() {
    let summary = published();
    let rows = primary(&summary);
    for row in &rows {
        let score = row["quality"]["value"].as_f64();
        let name = format!("{} {} at {} tokens", row["task"], row["arm"], row["context"]);
        assert!(score.is_some_and(|score| TELLING.contains(&score)), "{name}: {score:?}");
        assert_eq!(row["uninformative"], false, "{name}");
    }
    for context in summary["contexts"]
        .as_array()
        .map_or(vec![512, 1024], |contexts| contexts.iter().filter_map(Value::as_u64).collect())
    {
        assert!(rows.iter().any(|row| row["context"] == context), "no primary task at {context} tokens");
    }
}

#[test]
fn it_shows_retrieval_coherence_and_tools_on_six_settings_at_two_lengths() {
    let summary = published();
    let tasks: Vec<&str> =
        summary["tasks"].as_array().unwrap().iter().filter_map(|row| row["task"].as_str()).collect();
    for family in ["retrieval/", "coherence/", "tools/"] {
        assert!(tasks.iter().any(|task| task.starts_with(family)), "nothing of {family}");
    }
    assert_eq!(summary["cells"].as_array().unwrap().len(), 12);
    assert!(summary["duration_s"].as_f64().unwrap() < 600.0, "under ten minutes");
}
