//! Pages of journals that are old, new, cut short or lopsided: the page says what is missing and stays readable.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kneepoint::record::journal;

use crate::common::{KNEEPOINT, MockBench, without_checksums};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journals").join(name)
}

fn kneepoint(args: &[&str]) -> Output {
    Command::new(KNEEPOINT).args(args).env("NO_COLOR", "1").env_remove("KNEEPOINT_RUNS_DIR").output().unwrap()
}

/// The page of a run, and what was said beside it.
fn page(run: &Path) -> (String, String) {
    let out = kneepoint(&["report", run.to_str().unwrap(), "--format", "html"]);
    let (page, said) =
        (String::from_utf8(out.stdout).unwrap(), String::from_utf8_lossy(&out.stderr).into_owned());
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"), "{said}");
    (page, said)
}

/// The page without its script.
fn markup(page: &str) -> &str {
    page.rsplit_once("<script>").unwrap().0
}

/// A run of the mock's suite with a changed text and more arguments.
fn ran(change: impl Fn(&str) -> String, more: &[&str]) -> MockBench {
    let bench = MockBench::new("--decode-ms 0.1 --prefill-ms 0.01");
    let path = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, change(&text)).unwrap();
    let out = bench.command(&[&["run", "suite.toml"], more].concat()).output().unwrap();
    assert!(bench.dir.path().join("runs").exists(), "{}", String::from_utf8_lossy(&out.stderr));
    bench
}

#[test]
fn journals_of_every_older_kind_have_a_page() {
    let mut kinds = 0;
    for entry in std::fs::read_dir(fixture("")).unwrap() {
        let folder = entry.unwrap().path();
        let mut journal = journal::load(&folder).unwrap();
        // Draws decide nothing about what there is.
        journal.header.suite.draws = 200;
        let summary = kneepoint::judge::analysis::summarise(&journal).unwrap();
        let page = kneepoint::judge::report::report_page(&summary, &journal).unwrap();
        assert_eq!(page.matches("<details id=\"cell-").count(), summary.cells.len(), "{}", folder.display());
        let markup = markup(&page);
        assert!(!markup.contains("NaN") && !markup.contains("undefined"), "{}", folder.display());
        assert!(page.contains("id=\"answer\""), "{}", folder.display());
        kinds += 1;
    }
    assert!(kinds >= 5);
}

#[test]
fn a_journal_of_a_later_format_is_refused_by_everything_that_makes_pages() {
    let bench = ran(str::to_owned, &[]);
    let run = bench.run_folder();
    let file = run.join(journal::FILE_NAME);
    let text = without_checksums(&std::fs::read_to_string(&file).unwrap());
    let now = format!("\"format\":{}", journal::FORMAT);
    assert!(text.contains(&now));
    std::fs::write(&file, text.replacen(&now, &format!("\"format\":{}", journal::FORMAT + 1), 1)).unwrap();
    let (run, out) = (run.to_str().unwrap(), bench.dir.path().join("out"));
    let out = out.to_str().unwrap();
    for args in [
        vec!["report", run, "--format", "html"],
        vec!["compare", run, run, "--html", out],
        vec!["publish", run, "--to", out],
        vec!["share", run, "--format", "localmaxxing"],
    ] {
        let told = kneepoint(&args);
        let said = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.code().is_some_and(|code| code == 1 || code == 2), "{args:?}: {said}");
        assert!(said.contains("a later kneepoint wrote it") && told.stdout.is_empty(), "{args:?}: {said}");
    }
    assert!(!Path::new(out).exists(), "nothing is left behind");
}

#[test]
fn a_run_without_its_reference_says_so() {
    let bench = ran(str::to_owned, &["--filter", "setting=Q8_0 kv=q8_0"]);
    let (page, _) = page(&bench.run_folder());
    assert!(page.contains("nothing was compared") || page.contains("not measured"), "{page}");
    assert!(page.contains("Settings one by one"));
    let answer = page.split("id=\"answer\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(!answer.contains("<strong>Use</strong>") && !answer.contains("no worse within"), "{answer}");
}

#[test]
fn one_cell_is_a_page_too() {
    let bench = ran(|text| text.replace("[[setting]]\nkv = \"q8_0\"\n", ""), &[]);
    let (page, said) = page(&bench.run_folder());
    assert_eq!(page.matches("<details id=\"cell-").count(), 1, "{said}");
    assert!(page.contains("id=\"plot\"") && !markup(&page).contains("NaN"));
}

#[test]
fn a_run_that_was_cut_off_shows_what_is_missing() {
    let bench = ran(str::to_owned, &[]);
    let run = bench.run_folder();
    let file = run.join(journal::FILE_NAME);
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let last_of = |setting: &str| {
        let is_its = |line: &&str| line.starts_with("{\"trial\"") && line.contains(setting);
        lines.iter().position(is_its).unwrap()
    };
    // Before the first trial of the second setting; then before any.
    for (keep, cells) in [(last_of("Q8_0 kv=q8_0"), 2), (last_of("Q8_0 kv=f16"), 2)] {
        std::fs::write(&file, lines[..keep].concat()).unwrap();
        let (page, said) = page(&run);
        assert_eq!(page.matches("<details id=\"cell-").count(), cells, "{said}");
        assert!(page.contains("at 512 tokens: not measured") && !markup(&page).contains("NaN"), "{said}");
    }
}
