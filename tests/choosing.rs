//! `pick`, `compare` and `route` as a user meets them, on a published journal.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kneepoint::journal::{self, Journal, Record};
use kneepoint::model::kv::{KvGroup, KvShape, KvUse};
use kneepoint::trial::metric;

fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/quickstart")
}

fn kneepoint(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kneepoint")).args(args).env("NO_COLOR", "1").output().unwrap()
}

fn code(args: &[&str]) -> i32 {
    let out = kneepoint(args);
    let code = out.status.code().unwrap();
    assert!(code == 0 || code == 100 || !out.stderr.is_empty(), "{args:?} fails without a word");
    code
}

/// Writes a journal into a folder of its own.
fn write(journal: &Journal, folder: &Path) {
    let records = std::iter::once(Record::Header(Box::new(journal.header.clone())))
        .chain(journal.cases.iter().map(|case| Record::Case(Box::new(case.clone()))))
        .chain(journal.launches.iter().map(|launch| Record::Launch(Box::new(launch.clone()))))
        .chain(journal.trials.iter().map(|trial| Record::Trial(Box::new(trial.clone()))));
    let lines: String = records.map(|record| serde_json::to_string(&record).unwrap() + "\n").collect();
    std::fs::write(folder.join(journal::FILE_NAME), lines).unwrap();
}

/// The published journal with fewer draws than a report needs: a debug build takes its time over them.
fn quick() -> Journal {
    let mut journal = journal::load(&published()).unwrap();
    journal.header.suite.draws = 500;
    journal
}

#[test]
fn the_exit_code_says_how_it_went() {
    let folder = tempfile::tempdir().unwrap();
    write(&quick(), folder.path());
    let run = folder.path().to_str().unwrap();
    assert_eq!(code(&["pick", run, "--context", "1k", "--min-quality", "0"]), 0);
    assert_eq!(code(&["pick", run, "--context", "4k", "--min-quality", "0"]), 2, "not measured");
    assert_eq!(code(&["pick", run, "--context", "4k", "--min-quality", "0", "--extrapolate"]), 0);
    assert_eq!(code(&["pick", run, "--context", "1k", "--min-quality", "0", "--memory", "1MiB"]), 4);
    assert_eq!(code(&["pick", run, "--context", "many"]), 2);
    assert_eq!(code(&["compare", run, run, "--fail-on", "quality=2pp,decode=10%,memory=5%"]), 0);
    assert_eq!(code(&["compare", run, run, "--fail-on", "speed=2pp"]), 2);
    assert_eq!(code(&["route", run]), 2, "too few items");
}

#[test]
fn a_slower_run_fails_only_when_asked_to() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut slower = quick();
    write(&slower, other.path());
    for measurement in slower.trials.iter_mut().flat_map(|trial| &mut trial.measurements) {
        if measurement.name == metric::DECODE_TPS {
            measurement.value = measurement.value.map(|rate| rate / 10.0);
        }
    }
    write(&slower, folder.path());
    let (run, slow) = (other.path().to_str().unwrap(), folder.path().to_str().unwrap());
    assert_eq!(code(&["compare", run, slow]), 0);
    assert_eq!(code(&["compare", run, slow, "--fail-on", "decode=10%"]), 100);
    assert_eq!(code(&["compare", slow, run, "--fail-on", "decode=10%"]), 0, "faster is no regression");
    let out = kneepoint(&["compare", run, slow, "--fail-on", "decode=10%"]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("## Regressions"));
}

#[test]
fn the_kv_formula_gives_what_the_published_servers_logged() {
    // SmolLM2-135M: 30 layers, 3 KV heads of 64 values. The log rounds to hundredths of a MiB.
    let shape = KvShape { groups: vec![KvGroup { layers: 30, k_values: 192, v_values: 192, window: None }] };
    let rounding = (0.005 * 1024.0 * 1024.0_f64).ceil() as u64;
    let journal = journal::load(&published()).unwrap();
    assert!(journal.launches.len() > 20);
    for launch in &journal.launches {
        let logged = &launch.effective;
        let (k, v) = (logged.k.as_deref().unwrap(), logged.v.as_deref().unwrap());
        let bytes = shape.bytes(KvUse::new(launch.context, k, v)).unwrap();
        for (formula, logged) in [(bytes.k, logged.k_bytes.unwrap()), (bytes.v, logged.v_bytes.unwrap())] {
            assert!(formula.abs_diff(logged) <= rounding, "{formula} against {logged} of {}", launch.setting);
        }
    }
}
