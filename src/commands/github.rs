//! GitHub Actions: failed gates as annotations, the report as the job's summary.

use std::io::{Read, Write};
use std::path::Path;

use crate::console;
use crate::judge::analysis::summary::{GateStatus, Summary};
use crate::judge::report;

/// Largest summary of a step (bytes): GitHub refuses what is larger than 1 MiB.
const LARGEST: usize = 1 << 20;

/// Tells a workflow how the gates stand; nothing elsewhere. What goes wrong with it is said, and changes nothing.
pub(super) fn tell(summary: &Summary) {
    if std::env::var_os("GITHUB_ACTIONS").is_none() {
        return;
    }
    for gate in summary.gates.iter().filter(|gate| gate.status == GateStatus::Failed) {
        let said = format!("{} at {} tokens: {}", gate.setting, gate.context, gate.because);
        console::note(&annotation(&format!("gate failed: {}", gate.gate), &said));
    }
    if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY")
        && let Err(error) = append(Path::new(&path), summary)
    {
        console::note(&format!("the job's summary cannot be written: {error}"));
    }
}

/// A workflow command on one line: its own signs are escaped, so that no name ends it or begins another.
fn annotation(title: &str, message: &str) -> String {
    let escaped = |text: &str, more: &[(char, &str)]| {
        let mut escaped = report::plain(text).replace('%', "%25");
        for (sign, code) in more {
            escaped = escaped.replace(*sign, code);
        }
        escaped
    };
    let title = escaped(title, &[(':', "%3A"), (',', "%2C")]);
    format!("::error title={title}::{}", escaped(message, &[]))
}

fn append(path: &Path, summary: &Summary) -> std::io::Result<()> {
    let report = report::render_markdown(summary, None).map_err(std::io::Error::other)?;
    let mut file = std::fs::OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let mut before = Vec::new();
    file.read_to_end(&mut before)?;
    // A step that runs a suite and then asks for its report tells of it twice.
    if String::from_utf8_lossy(&before).contains(report.trim()) {
        return Ok(());
    }
    file.write_all(within(&report, LARGEST.saturating_sub(before.len())).as_bytes())
}

/// As many whole lines as there is room for, and a word where the rest is.
fn within(report: &str, room: usize) -> String {
    const MORE: &str = "\n\n*The rest is in the run's report.md: a summary of a step has room for 1 MiB.*\n";
    if report.len() <= room {
        return report.to_owned();
    }
    let mut kept = String::new();
    for line in report.split_inclusive('\n') {
        if kept.len() + line.len() + MORE.len() > room {
            break;
        }
        kept.push_str(line);
    }
    if kept.len() + MORE.len() <= room { kept + MORE } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn an_annotation_is_one_command_whatever_it_says() {
        let made = annotation("a: b, 50%", "x\n::error::y\r100%");
        assert_eq!(made, "::error title=a%3A b%2C 50%25::x ::error::y 100%25");
        assert_eq!(made.lines().count(), 1);
    }

    #[test]
    fn the_same_report_is_appended_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step.md");
        std::fs::write(&path, "what another tool said\n").unwrap();
        let mut summary = testing::summary();
        for _ in 0..2 {
            append(&path, &summary).unwrap();
        }
        summary.suite = "another".into();
        append(&path, &summary).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("what another tool said\n"), "{text}");
        assert_eq!(text.matches("## Verdict").count(), 2, "{text}");
    }

    #[test]
    fn a_summary_keeps_to_its_room() {
        let report = "line\n".repeat(400_000);
        let kept = within(&report, LARGEST);
        assert!(kept.len() <= LARGEST && kept.ends_with("1 MiB.*\n") && kept.len() > LARGEST - 200);
        assert_eq!(within("short\n", LARGEST), "short\n");
        assert_eq!(within(&report, 10), "");
    }
}
