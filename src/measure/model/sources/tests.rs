use std::os::unix::fs::PermissionsExt;

use super::super::gguf::tests::small;
use super::super::packages::{QUANTISER, SMOLLM2};
use super::super::store::Silent;
use super::*;
use crate::measure::engine::llama_cpp::LlamaCpp;

/// Python that must not be called.
const NO_PYTHON: &str = "/no/such/python3";

fn program(path: &Path, script: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn spec(path: &Path, weights: &str) -> ModelSpec {
    ModelSpec {
        name: "tiny".into(),
        path: Some(path.to_owned()),
        weights: weights.into(),
        derive: vec!["Q8_0".into(), "Q4_0".into()],
        ..ModelSpec::default()
    }
}

/// A cache with a quantiser that writes a GGUF file of type Q8_0, whatever it is asked for.
fn cache_with_quantiser(folder: &Path) -> Store<'static> {
    let store = Store::at(folder.join("cache"), NO_PYTHON, &Silent);
    let q8_0 = folder.join("q8_0");
    fs::write(&q8_0, small(7)).unwrap();
    let script = format!(
        "[ \"$1\" = --allow-requantize ] || exit 9\necho x >> '{}/runs'\ncp '{}' \"$3\"",
        folder.display(),
        q8_0.display()
    );
    program(&store.package_dir(&QUANTISER).join(QUANTISER.main), &script);
    store
}

#[test]
fn a_named_server_wins_and_brings_the_libraries_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("cache"), NO_PYTHON, &Silent);
    let binary = folder.path().join("build/llama-server");
    program(&binary, "");
    let found = server(&LlamaCpp, Some(&binary), &store).unwrap();
    assert_eq!((found.binary, found.library_path), (binary.clone(), None));
    fs::write(binary.with_file_name("libllama.so"), "").unwrap();
    let found = server(&LlamaCpp, Some(&binary), &store).unwrap();
    assert_eq!(found.library_path, fs::canonicalize(binary.parent().unwrap()).ok());
    assert!(matches!(locate_server(&LlamaCpp, Some(&binary), &store).unwrap(), Location::Present(_)));
    let error = server(&LlamaCpp, Some(&folder.path().join("none")), &store).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Usage);
}

#[test]
fn only_programs_are_found_on_path() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("a"), folder.path().join("b"));
    program(&second.join("llama-server"), "");
    fs::create_dir_all(first.join("llama-server")).unwrap();
    let path = env::join_paths([&first, &second]).unwrap();
    assert_eq!(on_path(Path::new("llama-server"), &path), Some(second.join("llama-server")));
    fs::set_permissions(second.join("llama-server"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(on_path(Path::new("llama-server"), &path), None);
}

#[test]
fn a_file_of_another_quant_than_named_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("cache"), NO_PYTHON, &Silent);
    let file = folder.path().join("m.gguf");
    fs::write(&file, small(3)).unwrap();
    let found = weights(&spec(&file, "Q4_1"), "Q4_1", &store).unwrap();
    assert_eq!((found.path, found.derived, found.sha256.len()), (file.clone(), false, 64));
    let error = weights(&spec(&file, "Q8_0"), "Q8_0", &store).unwrap_err();
    assert!(error.to_string().contains("holds Q4_1"), "{error}");
    fs::write(&file, "no model").unwrap();
    let error = weights(&spec(&file, "Q4_1"), "Q4_1", &store).unwrap_err();
    assert!(error.to_string().contains("no readable GGUF file"), "{error}");
}

#[test]
fn a_quant_is_derived_once_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = cache_with_quantiser(folder.path());
    let file = folder.path().join("m.gguf");
    fs::write(&file, small(3)).unwrap();
    let spec = spec(&file, "Q4_1");
    let would = || match locate_weights(&spec, "Q8_0", &store).unwrap() {
        Location::WouldDerive { what, bytes, needs, makes } => {
            assert_eq!(
                (bytes, needs, makes),
                (0, vec![], Some(fs::metadata(&file).unwrap().len() * 17 / 10))
            );
            what
        }
        other => panic!("{other:?}"),
    };
    assert!(would().starts_with("requantise Q4_1 to Q8_0 (unless"), "looking hashes nothing");
    assert!(store.remembered_sha256(&file).unwrap().is_none());
    // A file that changed a moment ago is not remembered by itself: it may change again within the clock's tick.
    store.remember_sha256(&file, &store.sha256(&file).unwrap());
    assert_eq!(would(), "requantise Q4_1 to Q8_0");
    let derived = weights(&spec, "Q8_0", &store).unwrap();
    assert!(derived.derived);
    assert_eq!(
        derived.origin,
        "requantised from Q4_1 by kneepoint with llama-quantize (ik-llama-cpp-python 0.1.5)"
    );
    assert_eq!(weights(&spec, "Q8_0", &store).unwrap(), derived);
    assert_eq!(fs::read_to_string(folder.path().join("runs")).unwrap(), "x\n", "quantised once");
    assert_eq!(locate_weights(&spec, "Q8_0", &store).unwrap(), Location::Present(derived.path));
}

#[test]
fn a_quantiser_that_makes_something_else_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = cache_with_quantiser(folder.path());
    let file = folder.path().join("m.gguf");
    fs::write(&file, small(3)).unwrap();
    let error = weights(&spec(&file, "Q4_1"), "Q4_0", &store).unwrap_err();
    assert!(error.to_string().contains("made Q8_0 where Q4_0"), "{error}");
    let quantiser = store.package_dir(&QUANTISER).join(QUANTISER.main);
    program(&quantiser, "echo 'bad tensor' >&2; exit 1");
    let error = weights(&spec(&file, "Q4_1"), "Q8_0", &store).unwrap_err();
    assert!(error.to_string().contains("bad tensor"), "{error}");
    assert!(matches!(
        locate_weights(&spec(&file, "Q4_1"), "Q8_0", &store).unwrap(),
        Location::WouldDerive { .. }
    ));
}

#[test]
fn an_unknown_quant_is_a_usage_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("cache"), NO_PYTHON, &Silent);
    let file = folder.path().join("m.gguf");
    fs::write(&file, small(3)).unwrap();
    for quant in ["Q6_K", "Q9_9"] {
        let error = weights(&spec(&file, "Q4_1"), quant, &store).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Usage, "{quant} is not in `derive`");
    }
}

#[test]
fn an_empty_cache_says_what_it_would_fetch() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path().join("cache"), NO_PYTHON, &Silent);
    let packaged =
        ModelSpec { package: Some(SMOLLM2.name.into()), path: None, ..spec(Path::new(""), "Q4_1") };
    assert_eq!(
        locate_weights(&packaged, "Q4_1", &store).unwrap(),
        Location::WouldFetch {
            what: format!("{} from package {}", SMOLLM2.name, SMOLLM2.title()),
            bytes: SMOLLM2.bytes
        }
    );
    let fetched = |package: &packages::Package| Location::WouldFetch {
        what: format!("{} from package {}", package.name, package.title()),
        bytes: package.bytes,
    };
    let needs = vec![fetched(&SMOLLM2), fetched(&QUANTISER)];
    let Location::WouldDerive { what, bytes, needs: named, makes } =
        locate_weights(&packaged, "Q8_0", &store).unwrap()
    else {
        panic!("it would be derived");
    };
    assert_eq!((what.as_str(), bytes), ("requantise Q4_1 to Q8_0", SMOLLM2.bytes + QUANTISER.bytes));
    assert_eq!(named, needs, "the base model and the quantiser are named");
    assert_eq!(makes, Some(SMOLLM2.bytes * 17 / 10));
    assert!(!store.root().exists(), "nothing was made or fetched");
}
