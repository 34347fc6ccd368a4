//! What is written about the tool is what the tool says of itself.

use std::path::{Path, PathBuf};
use std::process::Command;

mod both_ways;
mod power;

fn stdout(args: &[&str]) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_kneepoint"))
        .args(args)
        .env_remove("KNEEPOINT_RUNS_DIR")
        .output()
        .unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// A number of points with its sign, to one decimal.
fn signed(value: f64) -> String {
    match (value * 10.0).round() / 10.0 {
        value if value > 0.0 => format!("+{value:.1}"),
        value if value < 0.0 => format!("−{:.1}", -value),
        _ => "0.0".to_owned(),
    }
}

fn thousands(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}

/// Compares a file with what it must be; `KNEEPOINT_UPDATE_DOCS=1` writes it instead.
fn assert_current(file: &str, expected: &str) {
    let path = root().join(file);
    if std::env::var_os("KNEEPOINT_UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "{file} is out of date: KNEEPOINT_UPDATE_DOCS=1 cargo test --test it docs::");
}

#[test]
fn the_command_line_reference_is_current() {
    assert_current("docs/cli.md", &stdout(&["__reference"]));
}

#[test]
fn the_table_of_engines_is_current() {
    assert_current("docs/engines.md", &stdout(&["__reference", "--engines"]));
}

/// That they are those of the types is a test beside the command.
#[test]
fn the_schemas_printed_are_the_files() {
    for entry in std::fs::read_dir(root().join("docs/schema")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().strip_suffix(".schema.json").unwrap();
        assert!(stdout(&["schema", name]) == std::fs::read_to_string(&path).unwrap(), "{name}");
    }
}

#[test]
fn every_shipped_suite_is_valid_and_described_in_the_readme_or_docs() {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap()
        + &std::fs::read_to_string(root().join("docs/suites.md")).unwrap();
    let suites = std::fs::read_dir(root().join("suites")).unwrap();
    let mut count = 0;
    for suite in suites.map(|entry| entry.unwrap().path()) {
        let path = suite.to_str().unwrap();
        stdout(&["validate", path]);
        let name = suite.file_name().unwrap().to_str().unwrap();
        assert!(text.contains(name), "{name} is mentioned nowhere");
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn printed_json_follows_its_schema() {
    let quickstart = root().join("suites/quickstart.toml");
    let quickstart = quickstart.to_str().unwrap();
    let published = root().join("reports/quickstart");
    let published = published.to_str().unwrap();
    for (schema, args) in [
        ("list", vec!["list", "tasks", "--json"]),
        ("list", vec!["list", "engines", "--json"]),
        ("doctor", vec!["doctor", "--json"]),
        ("validate", vec!["validate", quickstart, "--json"]),
        ("plan", vec!["run", quickstart, "--dry-run", "--json"]),
        ("pick", vec!["pick", published, "--context", "512", "--min-quality", "0", "--json"]),
        ("pick", vec!["pick", published, "--context", "1k", "--min-quality", "0", "--extrapolate", "--json"]),
        ("compare", vec!["compare", published, published, "--fail-on", "quality=2pp,decode=10%", "--json"]),
        ("beside", vec!["compare", published, published, published, "--json"]),
    ] {
        let schema: serde_json::Value = serde_json::from_str(&stdout(&["schema", schema])).unwrap();
        let data: serde_json::Value = serde_json::from_str(&stdout(&args)).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(&data).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{args:?}: {errors:?}");
        assert_eq!(data["schema_version"], 1, "{args:?}");
    }
}

#[test]
fn the_man_page_and_completions_are_made() {
    assert!(stdout(&["man"]).contains(".TH kneepoint"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&["completions", shell]).contains("mock-server"), "{shell}");
    }
}

#[test]
fn every_published_report_is_what_its_journal_says() {
    let reports = std::fs::read_dir(root().join("reports")).unwrap();
    let mut folders: Vec<PathBuf> = reports.map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| ["journal.jsonl", "journal.jsonl.gz"].iter().any(|name| path.join(name).exists()));
    assert!(!folders.is_empty());
    std::thread::scope(|scope| {
        for folder in &folders {
            scope.spawn(|| check_published(folder));
        }
    });
}

/// `kneepoint report` makes these very files of the journal. The trials as data are not published: they are the journal
/// again, and their bytes those of one version of the compressor.
fn check_published(folder: &Path) {
    let out = tempfile::tempdir().unwrap();
    stdout(&["report", folder.to_str().unwrap(), "--out", out.path().to_str().unwrap()]);
    let files = std::fs::read_dir(out.path()).unwrap().map(|entry| entry.unwrap().path());
    // The page is the summary and the journal again.
    let again = ["trials.parquet", "report.html"];
    for file in files.filter(|file| !again.iter().any(|name| file.ends_with(name))) {
        let published = folder.join(file.file_name().unwrap());
        let same = std::fs::read(&published).ok() == std::fs::read(&file).ok();
        assert!(same, "{} is not what `kneepoint report` makes of its journal", published.display());
    }
}

#[test]
fn the_trials_as_data_are_the_same_bytes_each_time() {
    let published = root().join("reports/quickstart");
    let made = || {
        let out = tempfile::tempdir().unwrap();
        stdout(&["report", published.to_str().unwrap(), "--out", out.path().to_str().unwrap()]);
        std::fs::read(out.path().join("trials.parquet")).unwrap()
    };
    assert!(made().starts_with(b"PAR1"));
    assert_eq!(made(), made());
}

/// Every formula of the code stands in docs/statistics.md with its source: by the years that its doc comment names.
#[test]
fn every_formula_is_in_the_statistics() {
    let text = std::fs::read_to_string(root().join("docs/statistics.md")).unwrap();
    let (mut formulas, mut missing) = (0, Vec::new());
    for file in sources(&root().join("src/judge")) {
        let code = std::fs::read_to_string(&file).unwrap();
        for (number, line) in code.lines().enumerate() {
            let Some((_, source)) = line.split_once("Formula").filter(|_| line.contains("//")) else {
                continue;
            };
            formulas += 1;
            let numbers = source.split(|c: char| !c.is_ascii_digit());
            let years = numbers.filter(|digits| digits.len() == 4 && ("1800".."2100").contains(digits));
            missing.extend(
                years
                    .filter(|year| !text.contains(*year))
                    .map(|year| format!("{}:{}: {year}", file.display(), number + 1)),
            );
        }
    }
    assert!(formulas > 20, "the comments are not found: {formulas}");
    assert!(missing.is_empty(), "docs/statistics.md lacks the source of {missing:?}");
}

/// Every Rust file under a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
