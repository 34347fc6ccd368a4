//! The first run that people make teaches something: it ends with verdicts, at lengths at which its reference has something to
//! lose.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::Value;

/// Probabilities of right answers at which damage shows: more than the margin, and not all of them.
const TELLING: RangeInclusive<f64> = 0.15..=0.9;

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
fn the_reference_has_something_to_lose_on_every_primary_task() {
    let summary = published();
    let rows = primary(&summary);
    for row in &rows {
        let score = row["quality"]["value"].as_f64();
        let name = format!("{} {} at {} tokens", row["task"], row["arm"], row["context"]);
        assert!(score.is_some_and(|score| TELLING.contains(&score)), "{name}: {score:?}");
        assert_eq!(row["uninformative"], false, "{name}");
    }
    for context in [384, 512] {
        assert!(rows.iter().any(|row| row["context"] == context), "no primary task at {context} tokens");
    }
}

#[test]
fn it_ends_with_the_verdict_of_every_setting_in_under_ten_minutes() {
    let summary = published();
    let cells = summary["cells"].as_array().unwrap();
    assert_eq!(cells.len(), 12);
    let mut verdicts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for cell in cells {
        let of = verdicts.entry(cell["setting"].as_str().unwrap()).or_default();
        of.push(cell["verdict"].as_str().unwrap());
    }
    let expected = [
        ("Q2_K kv=f16", "worse"),
        ("Q4_1 kv=f16", "reference"),
        ("Q4_1 kv=f16 spec=ngram-simple", "no_worse"),
        ("Q4_1 kv=q4_0", "worse"),
        ("Q4_1 kv=q8_0", "no_worse"),
        ("Q8_0 kv=f16", "no_worse"),
    ];
    assert_eq!(verdicts, expected.map(|(setting, verdict)| (setting, vec![verdict; 2])).into());
    assert!(summary["duration_s"].as_f64().unwrap() < 600.0, "under ten minutes");
}

/// What is published is what is shipped.
#[test]
fn the_published_run_is_that_of_the_shipped_suite() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [shipped, run] = ["suites/quickstart.toml", "reports/quickstart/suite.toml"]
        .map(|path| std::fs::read_to_string(root.join(path)).unwrap().parse::<toml::Table>().unwrap());
    assert_eq!(shipped, run);
}
