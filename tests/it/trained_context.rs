//! A context beyond the one that the model was made for is never passed over in silence.

use std::process::Output;

use crate::common::MockBench;

/// A bench whose model is made for 256 tokens and whose suite asks for 512; `scaling` goes into the file.
fn bench(scaling: &[(&str, Value)]) -> MockBench {
    let bench = MockBench::new("");
    let mut pairs = vec![
        ("general.architecture", Value::Text("llama")),
        ("general.file_type", Value::Number(7)),
        ("llama.context_length", Value::Number(256)),
    ];
    pairs.extend_from_slice(scaling);
    std::fs::write(bench.dir.path().join("model.gguf"), gguf(&pairs)).unwrap();
    bench
}

#[derive(Clone, Copy)]
enum Value {
    Number(u32),
    Real(f32),
    Text(&'static str),
}

fn gguf(pairs: &[(&str, Value)]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend((pairs.len() as u64).to_le_bytes());
    for (key, value) in pairs {
        bytes.extend(text(key));
        match value {
            Value::Number(number) => bytes.extend([4_u32.to_le_bytes(), number.to_le_bytes()].concat()),
            Value::Real(real) => bytes.extend([6_u32.to_le_bytes(), real.to_le_bytes()].concat()),
            Value::Text(word) => bytes.extend([&8_u32.to_le_bytes()[..], &text(word)].concat()),
        }
    }
    bytes
}

fn stdout(out: &Output) -> String {
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

const SAID: &str = "512 goes beyond the 256 tokens that mock was made for";

#[test]
fn validate_and_the_dry_run_say_that_the_model_was_made_for_less() {
    let bench = bench(&[]);
    let validated = stdout(&bench.command(&["validate", "suite.toml"]).output().unwrap());
    assert!(validated.contains(SAID), "{validated}");
    assert!(validated.contains("hint: leave it out"), "{validated}");
    let planned = stdout(&bench.command(&["run", "suite.toml", "--dry-run"]).output().unwrap());
    assert!(planned.contains(SAID), "{planned}");
    for args in [&["validate", "suite.toml", "--json"][..], &["run", "suite.toml", "--dry-run", "--json"]] {
        let json: serde_json::Value =
            serde_json::from_str(&stdout(&bench.command(args).output().unwrap())).unwrap();
        assert_eq!(json["warnings"][0]["code"], "beyond-trained-context", "{args:?}");
    }
}

#[test]
fn a_run_says_so_in_its_report() {
    let bench = bench(&[]);
    stdout(&bench.command(&["run", "suite.toml", "-q"]).output().unwrap());
    let report = std::fs::read_to_string(bench.run_folder().join("report.md")).unwrap();
    assert!(report.contains("trained for 256 tokens: what is said of 512 tokens"), "{report}");
}

#[test]
fn rope_scaling_in_the_file_or_in_the_setting_says_otherwise() {
    let yarn = [
        ("llama.rope.scaling.type", Value::Text("yarn")),
        ("llama.rope.scaling.factor", Value::Real(4.0)),
        ("llama.rope.scaling.original_context_length", Value::Number(256)),
    ];
    let in_file = bench(&yarn);
    let validated = stdout(&in_file.command(&["validate", "suite.toml"]).output().unwrap());
    assert!(!validated.contains(SAID), "{validated}");
    let by_hand = bench(&[]);
    let args = ["validate", "suite.toml", "--set", "engine.args=[\"--rope-scaling\", \"yarn\"]"];
    let validated = stdout(&by_hand.command(&args).output().unwrap());
    assert!(!validated.contains(SAID), "{validated}");
}

#[test]
fn cases_of_a_server_that_gives_less_name_the_reason_in_words() {
    let bench = MockBench::new("--context 512");
    let path = bench.dir.path().join("suite.toml");
    let suite = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, suite.replace("contexts = [512]", "contexts = [32768]")).unwrap();
    let args = ["cases", "suite.toml", "--task", "retrieval/niah_single_1", "--context", "32768"];
    let temporary = tempfile::tempdir().unwrap();
    let out = bench.command(&args).env("TMPDIR", temporary.path()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(101), "{said}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing of it is left behind");
    assert!(said.contains("cannot be used: void cell"), "{said}");
    assert!(!said.contains("Unscored"), "{said}");
}
