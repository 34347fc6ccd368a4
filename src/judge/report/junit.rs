//! Gates as JUnit XML, for what shows test results.

use std::fmt::Write as _;

use super::text::xml;
use crate::judge::analysis::summary::{GateResult, GateStatus, Summary};

/// One test case a gate and cell; an open or undecided gate is skipped, with its reason. `None` without gates.
///
/// Form: the `testsuites` / `testsuite` / `testcase` elements that CI systems read, as in the schema of Jenkins'
/// xUnit plugin.
pub fn junit(summary: &Summary) -> Option<String> {
    if summary.gates.is_empty() {
        return None;
    }
    let count = |status| summary.gates.iter().filter(|result| result.status == status).count();
    let counts = format!(
        r#"tests="{}" failures="{}" skipped="{}" errors="0""#,
        summary.gates.len(),
        count(GateStatus::Failed),
        count(GateStatus::Open) + count(GateStatus::Undecided)
    );
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(text, r#"<testsuites name="kneepoint" {counts} time="{:.3}">"#, summary.duration_s);
    let _ = writeln!(
        text,
        r#"  <testsuite name="{}" {counts} timestamp="{}" time="{:.3}">"#,
        xml(&summary.suite),
        xml(&summary.started),
        summary.duration_s
    );
    for result in &summary.gates {
        case(&mut text, result);
    }
    text.push_str("  </testsuite>\n</testsuites>\n");
    Some(text)
}

fn case(text: &mut String, result: &GateResult) {
    let (name, because) = (xml(&result.gate), xml(&result.because));
    let class = format!("{} at {}", xml(&result.setting), result.context);
    let _ = write!(text, r#"    <testcase classname="{class}" name="{name}""#);
    let _ = match result.status {
        GateStatus::Passed => writeln!(text, "/>"),
        GateStatus::Failed => writeln!(text, ">\n      <failure message=\"{because}\"/>\n    </testcase>"),
        GateStatus::Open | GateStatus::Undecided => {
            writeln!(text, ">\n      <skipped message=\"{because}\"/>\n    </testcase>")
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;

    fn result(status: GateStatus, because: &str) -> GateResult {
        GateResult {
            gate: "quality at least 0.8".into(),
            setting: "Q4_0 <kv=\"q8_0\">".into(),
            context: 512,
            value: None,
            status,
            because: because.into(),
        }
    }

    #[test]
    fn gates_are_test_cases_and_hostile_text_stays_text() {
        let mut summary = testing::summary();
        assert_eq!(junit(&summary), None);
        summary.gates = vec![
            result(GateStatus::Passed, "fine"),
            result(GateStatus::Failed, "]]></failure><x a='\u{1b}\u{0}' b=\"&\">"),
            result(GateStatus::Open, "0.8 [0.7, 0.9]"),
        ];
        let text = junit(&summary).unwrap();
        assert!(text.contains(r#"<testsuite name="test" tests="3" failures="1" skipped="1""#), "{text}");
        assert!(text.contains("classname=\"Q4_0 &lt;kv=&quot;q8_0&quot;&gt; at 512\""));
        assert_eq!(text.matches("<testcase").count(), 3);
        assert_eq!(text.matches("</failure>").count(), 0, "what was quoted closes nothing: {text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }
}
