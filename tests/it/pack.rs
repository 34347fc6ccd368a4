//! A reference that does not fit here: exported by one run, compared with by another.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kneepoint::record::journal::{Journal, pack};
use kneepoint::record::{Source, journal, metric};

use crate::common::{MockBench, tiny_gguf};

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

fn exit(out: &Output) -> i32 {
    out.status.code().unwrap()
}

/// A run on the mock server, and its pack.
struct Elsewhere {
    bench: MockBench,
    pack: PathBuf,
}

impl Elsewhere {
    fn new() -> Self {
        let bench = MockBench::new("--decode-ms 0.1 --prefill-ms 0");
        let ran = bench.command(&["run", "suite.toml", "--json"]).output().unwrap();
        assert_eq!(exit(&ran), 0, "{}", said(&ran));
        let out =
            bench.command(&["reference", "export", "latest", "--out", "reference.pack"]).output().unwrap();
        assert_eq!(exit(&out), 0, "{}", said(&out));
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(text.contains("6 cases, 6 trials of Q8_0 kv=f16 and 6 of its second visit"), "{text}");
        let pack = bench.dir.path().join("reference.pack");
        Self { bench, pack }
    }

    fn summary(&self) -> serde_json::Value {
        let out = self.bench.command(&["report", "latest", "--json"]).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Another machine with the pack, as `change` leaves it.
    fn here(&self, change: impl FnOnce(&mut Journal)) -> MockBench {
        let bench = MockBench::new("--decode-ms 0.1 --prefill-ms 0");
        let mut journal = pack::open(&self.pack).unwrap().journal;
        change(&mut journal);
        pack::write(&bench.dir.path().join("reference.pack"), &journal).unwrap();
        edit(&bench, "[reference]", "[reference]\nfrom = \"reference.pack\"");
        bench
    }
}

fn edit(bench: &MockBench, from: &str, to: &str) {
    let path = bench.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from}");
    std::fs::write(path, text.replace(from, to)).unwrap();
}

fn run(bench: &MockBench) -> Output {
    bench.command(&["run", "suite.toml", "--json"]).output().unwrap()
}

fn cell<'a>(summary: &'a serde_json::Value, setting: &str) -> &'a serde_json::Value {
    let cells = summary["cells"].as_array().unwrap();
    cells.iter().find(|cell| cell["setting"] == setting).unwrap_or_else(|| panic!("{setting}: {cells:?}"))
}

#[test]
fn settings_are_compared_with_a_pack_as_with_the_reference_itself() {
    let elsewhere = Elsewhere::new();
    let here = elsewhere.here(|_| ());
    let out = run(&here);
    assert_eq!(exit(&out), 0, "{}", said(&out));
    let (theirs, ours) =
        (elsewhere.summary(), serde_json::from_slice::<serde_json::Value>(&out.stdout).unwrap());
    let (alone, packed) = (cell(&theirs, "Q8_0 kv=q8_0"), cell(&ours, "Q8_0 kv=q8_0"));
    for figure in ["verdict", "difference", "quality", "kld"] {
        assert_eq!(alone[figure], packed[figure], "{figure}");
    }
    assert_eq!(theirs["aa"], ours["aa"]);
    assert_eq!((&ours["done"], &ours["planned"]), (&18.into(), &18.into()));
    // Its speed and memory are compared with nothing.
    let reference = cell(&ours, "Q8_0 kv=f16 (pack)");
    assert!(reference["kld"].is_object() && packed["kld"].is_object(), "{reference}");
    for figure in ["decode_tps", "ttft_s", "prefill_tps", "command"] {
        assert!(reference[figure].is_null(), "{figure}: {reference}");
    }
    assert!(reference["memory"]["peak_bytes"].is_null());
    for figure in ["ttft_ratio", "decode_ratio", "prefill_ratio", "energy_ratio"] {
        assert!(packed[figure].is_null(), "{figure}: {packed}");
    }
    assert!(packed["memory"]["peak_bytes"].is_number(), "{packed}");
    let warnings = ours["warnings"].to_string();
    assert!(
        warnings.contains("reference-from-pack") && !warnings.contains("reference-other-build"),
        "{warnings}"
    );

    // The journal alone is enough, and says where the reference ran.
    std::fs::remove_file(here.dir.path().join("reference.pack")).unwrap();
    let journal = journal::load(&here.run_folder()).unwrap();
    let server = journal.launches.iter().find_map(|launch| launch.pack.as_ref()).unwrap();
    assert_eq!(server.run, theirs["run"].as_str().unwrap());
    let of_reference = journal.trials.iter().filter(|trial| trial.key.setting == "Q8_0 kv=f16 (pack)");
    assert!(of_reference.clone().all(|trial| trial.measured(metric::TTFT_S, Source::Client).is_none()));
    assert_eq!(of_reference.count(), 12);
    let report = here.command(&["report", "latest", "--format", "md"]).output().unwrap();
    let text = String::from_utf8_lossy(&report.stdout).into_owned();
    assert!(text.contains("the reference was not measured here but in"), "{text}");
    let picked = here.command(&["pick", "latest", "--context", "512", "--json"]).output().unwrap();
    let answer = String::from_utf8_lossy(&picked.stdout).into_owned() + &said(&picked);
    assert!(answer.contains("comes from a pack"), "{answer}");
}

#[test]
fn a_run_beside_a_pack_is_resumed_from_its_journal_alone() {
    let elsewhere = Elsewhere::new();
    let here = elsewhere.here(|_| ());
    assert_eq!(exit(&run(&here)), 0);
    std::fs::remove_file(here.dir.path().join("reference.pack")).unwrap();
    let file = here.run_folder().join(journal::FILE_NAME);
    let text = std::fs::read_to_string(&file).unwrap();
    let kept = text.lines().count() - 3;
    std::fs::write(&file, text.lines().take(kept).map(|line| format!("{line}\n")).collect::<String>())
        .unwrap();
    let out = here.command(&["resume"]).output().unwrap();
    assert_eq!(exit(&out), 0, "{}", said(&out));
    let journal = journal::load(&here.run_folder()).unwrap();
    assert_eq!(journal.trials.len(), 18);
    assert_eq!(journal.cases.len(), 6);
    // What was cut off before all of the pack was there cannot go on.
    let first: String = text.lines().take(10).map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, first).unwrap();
    let out = here.command(&["resume"]).output().unwrap();
    assert_eq!(exit(&out), 2);
    assert!(said(&out).contains("12 trials of its pack"), "{}", said(&out));
}

#[test]
fn the_tasks_and_the_margin_are_the_packs_where_the_suite_names_none() {
    let elsewhere = Elsewhere::new();
    let here = elsewhere.here(|journal| journal.header.suite.tasks.truncate(2));
    let path = here.dir.path().join("suite.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let bare = text.split("[[task]]").next().unwrap().replace("[[setting]]\nkv = \"q8_0\"\n", "");
    std::fs::write(&path, bare).unwrap();
    let out = here.command(&["validate", "suite.toml", "--json"]).output().unwrap();
    let checked: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(checked["valid"], true, "{checked}");
    let suite = &checked["suite"];
    assert_eq!(suite["tasks"].as_array().unwrap().len(), 2);
    // What is served here is the model as it is, beside the same setting of the pack.
    let labels: Vec<&str> =
        suite["settings"].as_array().unwrap().iter().map(|s| s["label"].as_str().unwrap()).collect();
    assert_eq!(labels, ["Q8_0 kv=f16 (pack)", "Q8_0 kv=f16"]);
    assert_eq!(checked["trials"], 6);
    // Less than the pack holds is asked of the first cases.
    let few = here.command(&["run", "suite.toml", "--filter", "task=coherence/*"]).output().unwrap();
    assert_eq!(exit(&few), 0, "{}", said(&few));
    assert_eq!(journal::load(&here.run_folder()).unwrap().trials.len(), 6);
}

/// The model of the suite, with a vocabulary of so many tokens.
fn with_vocabulary(tokens: u64) -> Vec<u8> {
    let mut bytes = tiny_gguf();
    bytes[16..24].copy_from_slice(&3_u64.to_le_bytes());
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    };
    text(&mut bytes, "tokenizer.ggml.tokens");
    bytes.extend(9_u32.to_le_bytes());
    bytes.extend(8_u32.to_le_bytes());
    bytes.extend(tokens.to_le_bytes());
    (0..tokens).for_each(|number| text(&mut bytes, &number.to_string()));
    bytes
}

#[test]
fn another_tokenizer_or_template_is_refused_with_the_difference() {
    let elsewhere = Elsewhere::new();
    // The file says it, before anything is served.
    std::fs::write(elsewhere.bench.dir.path().join("model.gguf"), with_vocabulary(40)).unwrap();
    assert_eq!(exit(&run(&elsewhere.bench)), 0);
    let again =
        elsewhere.bench.command(&["reference", "export", "latest", "--out", "known.pack"]).output().unwrap();
    assert_eq!(exit(&again), 0, "{}", said(&again));
    let known = Elsewhere { pack: elsewhere.bench.dir.path().join("known.pack"), ..elsewhere };
    let here = known.here(|_| ());
    std::fs::write(here.dir.path().join("model.gguf"), with_vocabulary(41)).unwrap();
    let out = run(&here);
    assert_eq!(exit(&out), 2);
    assert!(said(&out).contains("the vocabulary has 41 tokens here and 40 in the pack"), "{}", said(&out));
    assert!(!here.dir.path().join("runs").exists(), "nothing was begun");

    // The server says it, where no file does.
    let here = known.here(|journal| {
        for case in &mut journal.cases {
            case.prompt_tokens += 1;
            let sealed = case.clone().seal();
            let old = std::mem::replace(case, sealed).id;
            for trial in journal.trials.iter_mut().filter(|trial| trial.case == old) {
                trial.case = case.id.as_str().into();
            }
        }
    });
    let out = run(&here);
    assert_eq!(exit(&out), 2);
    assert!(said(&out).contains("tokens with this server and"), "{}", said(&out));

    let here = known.here(|journal| {
        journal.launches.iter_mut().for_each(|launch| launch.effective.template_hash = Some("00ff".into()));
    });
    let out = run(&here);
    assert_eq!(exit(&out), 2);
    assert!(
        said(&out).contains("another chat template") && said(&out).contains("00ff there"),
        "{}",
        said(&out)
    );
}

#[test]
fn another_engine_build_is_a_warning() {
    let elsewhere = Elsewhere::new();
    let here = elsewhere.here(|journal| {
        // A header's fingerprint holds the build.
        let header = &mut journal.header;
        header.engines[0].version = "another build".into();
        header.fingerprint = journal::fingerprint(
            &header.suite,
            &header.filters,
            kneepoint::task::version_of,
            &header.engines,
            &header.models,
            &header.files,
        );
    });
    let out = run(&here);
    assert_eq!(exit(&out), 0, "{}", said(&out));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("served by llama.cpp another build, the settings by llama.cpp 1 (mock)"), "{text}");
}

#[test]
fn a_suite_that_asks_something_else_is_refused_with_what_differs() {
    let elsewhere = Elsewhere::new();
    for (from, to, words) in [
        ("rounds = 2", "rounds = 2\nseed = 7", "its seed is 1, the suite's 7"),
        ("contexts = [512]", "contexts = [512, 1024]", "no context length 1024, only 512"),
        (
            "samples = 4",
            "samples = 5",
            "it has 4 cases of retrieval/niah_single_1 at 512 tokens, the suite asks 5",
        ),
        ("retrieval/niah_single_1", "retrieval/qa_synthetic_x", "unknown task"),
        ("retrieval/niah_single_1", "retrieval/niah_single_2", "it has no retrieval/niah_single_2"),
        ("positions = 8", "positions = 9", "option positions of coherence/kld is 8 in it and 9 in the suite"),
        ("[engine]", "[sampling]\ntemperature = 0.5\n[engine]", "it was sampled with"),
        ("from =", "kv = \"f16\"\nfrom =", "other keys beside `reference.from`"),
        ("kv = \"q8_0\"", "from = \"reference.pack\"", "`from` is of the reference alone"),
        ("reference.pack", "other.pack", "cannot read"),
    ] {
        let here = elsewhere.here(|_| ());
        edit(&here, from, to);
        let out = here.command(&["validate", "suite.toml"]).output().unwrap();
        assert_eq!(exit(&out), 2, "{to}: {}", said(&out));
        assert!(said(&out).contains(words), "{to}: {}", said(&out));
    }
}

#[test]
fn a_damaged_pack_and_half_a_reference_are_refused() {
    let elsewhere = Elsewhere::new();
    let here = elsewhere.here(|_| ());
    let path = here.dir.path().join("reference.pack");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let out = run(&here);
    assert_eq!(exit(&out), 2);
    assert!(said(&out).contains("cut off or damaged in its journal, behind"), "{}", said(&out));

    let export = |args: &[&str]| {
        let out = elsewhere.bench.command(&[&["reference", "export"], args].concat()).output().unwrap();
        (exit(&out), said(&out))
    };
    let (code, words) = export(&["latest", "--out", "reference.pack"]);
    assert!(code == 2 && words.contains("is there already"), "{words}");
    let file = elsewhere.bench.run_folder().join(journal::FILE_NAME);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.lines().take(4).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
    let (code, words) = export(&["latest", "--out", "half.pack"]);
    assert!(code == 2 && words.contains("of its 6 cases") && words.contains("resume"), "{words}");
}

const REAL: &str = r#"
name = "real"
contexts = [512]
rounds = 2
draws = 1000
margin = 0.05

[engine]
threads = 1

[[model]]
name = "SmolLM2-135M-Instruct"
package = "smollm2-135m-instruct"

[reference]
kv = "f16"

[[setting]]
kv = "q4_0"

[[task]]
name = "retrieval/niah_multikey_2"
samples = 8
questions = 4
score = "probability"
options.output_tokens = 16

[[task]]
name = "coherence/kld"
samples = 1
options.positions = 16
"#;

/// Runs a suite of the real server in a folder; the summary.
fn real(dir: &Path, suite: &str) -> serde_json::Value {
    std::fs::write(dir.join("suite.toml"), suite).unwrap();
    let out = kneepoint(dir, &["run", "suite.toml", "--json"]);
    assert_eq!(exit(&out), 0, "{}", said(&out));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn kneepoint(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kneepoint"));
    command
        .current_dir(dir)
        .args(args)
        .env_remove("KNEEPOINT_RUNS_DIR")
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

#[test]
fn a_real_setting_beside_a_pack_has_the_verdict_that_it_has_beside_the_reference() {
    let (there, here) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let theirs = real(there.path(), REAL);
    let pack = here.path().join("f16.pack");
    let out = kneepoint(there.path(), &["reference", "export", "--out", pack.to_str().unwrap(), "--json"]);
    let exported: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(
        (&exported["trials"], &exported["again"], &exported["has_tokenizer"]),
        (&9.into(), &9.into(), &true.into())
    );
    let suite = REAL.replace("[reference]\nkv = \"f16\"", "[reference]\nfrom = \"f16.pack\"");
    let ours = real(here.path(), &suite);
    let (alone, packed) = (cell(&theirs, "Q4_1 kv=q4_0"), cell(&ours, "Q4_1 kv=q4_0"));
    assert_eq!(alone["verdict"], packed["verdict"]);
    assert_eq!(alone["difference"]["n"], packed["difference"]["n"]);
    let number = |cell: &serde_json::Value, path: &str| cell.pointer(path).unwrap().as_f64().unwrap();
    for path in ["/difference/value", "/difference/low", "/quality/value", "/kld/mean/value"] {
        let (a, b) = (number(alone, path), number(packed, path));
        assert!((a - b).abs() < 1e-6, "{path}: {a} {b}");
    }
    assert_eq!(theirs["aa"], ours["aa"]);
    let cases = |dir: &Path| {
        let run = std::fs::read_dir(dir.join("runs")).unwrap().next().unwrap().unwrap().path();
        let mut ids: Vec<String> =
            journal::load(&run).unwrap().cases.into_iter().map(|case| case.id.into()).collect();
        ids.sort();
        ids
    };
    assert_eq!(cases(there.path()), cases(here.path()));
}
