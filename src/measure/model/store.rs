//! The cache folder: where things lie, locks, hashes.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::hub::place::Hub;
use super::lease::{Lease, Pace};
use super::packages::Package;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::record::{hex, short_hash};

/// Told how a long step goes on. Every `begin` is followed by one `end`, even after an error.
pub trait Progress {
    /// A step starts; its size in bytes when it is known.
    fn begin(&self, step: &str, total_bytes: Option<u64>);
    /// So many bytes of the step are done. Not called by steps that cannot tell.
    fn at(&self, bytes: u64);
    /// The step is over.
    fn end(&self);
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>) {}
    fn at(&self, _: u64) {}
    fn end(&self) {}
}

/// A step in progress; its end is told when it is dropped.
pub(super) struct Step<'a>(&'a dyn Progress);

impl<'a> Step<'a> {
    pub(super) fn begin(progress: &'a dyn Progress, step: &str, total_bytes: Option<u64>) -> Self {
        progress.begin(step, total_bytes);
        Self(progress)
    }

    pub(super) fn at(&self, bytes: u64) {
        self.0.at(bytes);
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The cache folder and how things get there.
pub struct Store<'a> {
    pub(super) root: PathBuf,
    pub(super) python: PathBuf,
    pub(super) hub: Hub,
    pub(super) progress: &'a dyn Progress,
    hashes: bool,
}

impl<'a> Store<'a> {
    /// The user's cache: `$KNEEPOINT_CACHE_DIR`, else `$XDG_CACHE_HOME/kneepoint`, else
    /// `~/.cache/kneepoint`. Python is `$KNEEPOINT_PYTHON`, else the `python3` on `PATH`.
    ///
    /// # Errors
    /// When none of these is set.
    pub fn open(progress: &'a dyn Progress) -> Result<Self> {
        let root = cache_dir(&|name| std::env::var_os(name).map(PathBuf::from))?;
        let python = std::env::var_os("KNEEPOINT_PYTHON").unwrap_or_else(|| "python3".into());
        let hub = Hub::from_env(&|name| std::env::var_os(name));
        Ok(Self { hub, ..Self::at(root, python, progress) })
    }

    /// A cache in this folder.
    pub fn at(root: impl Into<PathBuf>, python: impl Into<PathBuf>, progress: &'a dyn Progress) -> Self {
        Self { root: root.into(), python: python.into(), hub: Hub::default(), progress, hashes: true }
    }

    /// The same with another Hub.
    #[must_use]
    pub fn with_hub(self, hub: Hub) -> Self {
        Self { hub, ..self }
    }

    /// The same for those who only look: a file that was not hashed before has the hash `""`.
    #[must_use]
    pub fn without_hashing(self) -> Self {
        Self { hashes: false, ..self }
    }

    /// The Hub that models come from.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The cache folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of a package that is used, when the package lies here unpacked.
    pub fn unpacked(&self, package: &Package) -> Option<PathBuf> {
        let file = self.package_dir(package).join(package.main);
        file.is_file().then_some(file)
    }

    /// Where a package is unpacked; the hash makes another pin another folder.
    pub(super) fn package_dir(&self, package: &Package) -> PathBuf {
        let name = format!("{}-{}-{}", package.pip, package.version, &package.sha256[..8]);
        self.root.join("packages").join(name)
    }

    /// Waits until no other process, here or on a machine that shares the cache, holds that name; it is released when dropped.
    pub(super) fn lock(&self, name: &str) -> Result<Lease> {
        let path = self.folder("locks")?.join(name);
        let waiting = || Step::begin(self.progress, &format!("waiting for another kneepoint ({name})"), None);
        Lease::take(&path, Pace::default(), waiting)
    }

    /// A folder of the cache, made when it is not there.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.root.join(name);
        make_dir(&path)?;
        Ok(path)
    }

    /// SHA-256 of a file (hex), remembered for as long as it is the same file in the same state (see [`Seen`]).
    ///
    /// # Errors
    /// When the file cannot be read, or changes while it is read.
    pub fn sha256(&self, path: &Path) -> Result<String> {
        let seen = Seen::of(path)?;
        if let Some(remembered) =
            Remembered::load(&self.memory_path(&seen)).filter(|known| known.file == seen)
        {
            return Ok(remembered.sha256);
        }
        if !self.hashes {
            return Ok(String::new());
        }
        let read = || {
            let step = Step::begin(self.progress, &format!("hashing {}", file_name(path)), Some(seen.bytes));
            sha256_of(path, &step)
        };
        let (sha256, seen, settled) = unchanged(seen.clone(), read, || Seen::of(path))?;
        if settled {
            // Not being able to remember only costs time.
            let memory = self.memory(&seen)?;
            let _ = Remembered { file: seen, sha256: sha256.clone() }.save(&memory);
        }
        Ok(sha256)
    }

    /// The SHA-256 of a file (hex), if it is remembered; nothing is hashed.
    ///
    /// # Errors
    /// When the file is not there.
    pub(super) fn remembered_sha256(&self, path: &Path) -> Result<Option<String>> {
        let seen = Seen::of(path)?;
        let remembered = Remembered::load(&self.memory_path(&seen)).filter(|known| known.file == seen);
        Ok(remembered.map(|remembered| remembered.sha256))
    }

    /// Remembers the SHA-256 (hex) of a file that was just computed otherwise.
    pub(super) fn remember_sha256(&self, path: &Path, sha256: &str) {
        let Ok(file) = Seen::of(path) else { return };
        if let Ok(memory) = self.memory(&file) {
            // Not being able to remember only costs time.
            let _ = Remembered { file, sha256: sha256.to_owned() }.save(&memory);
        }
    }

    /// Where the hash of a file is remembered; the folder is made.
    fn memory(&self, seen: &Seen) -> Result<PathBuf> {
        self.folder("hashes")?;
        Ok(self.memory_path(seen))
    }

    fn memory_path(&self, seen: &Seen) -> PathBuf {
        let name = short_hash(seen.path.as_os_str().as_encoded_bytes());
        self.root.join("hashes").join(format!("{name}.json"))
    }
}

/// `var` reads an environment variable.
fn cache_dir(var: &dyn Fn(&str) -> Option<PathBuf>) -> Result<PathBuf> {
    let set = |name: &str| var(name).filter(|path| !path.as_os_str().is_empty());
    if let Some(own) = set("KNEEPOINT_CACHE_DIR") {
        return Ok(own);
    }
    // The XDG specification: a relative path is to be ignored.
    set("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|cache| cache.join("kneepoint"))
        .ok_or_else(|| {
            Error::runtime("there is no place for a cache: neither HOME nor XDG_CACHE_HOME is set")
                .hint("set KNEEPOINT_CACHE_DIR to a folder with about 500 MB of room")
        })
}

/// What tells one state of a file from another. Size and time of modification are not enough: `cp -p`, `rsync -t` and
/// the layers of containers keep both for other contents. Whatever puts other contents under a name makes another
/// inode or moves on the time of the inode's own change, which no program can set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) path: PathBuf,
    bytes: u64,
    device: u64,
    inode: u64,
    /// Contents changed, since 1970 (ns).
    modified: i128,
    /// Contents, name or attributes changed, since 1970 (ns).
    changed: i128,
}

/// How often a file is read at most for one hash.
const READS: u32 = 3;

/// Reads a file until it is afterwards what it was before: what was read, the file's state, and whether that had settled.
/// Where contents and times stand still, and the state alone moves, it is read again: a network file system (seen with FUSE) may tell for a
/// second what was so before a file got a further name.
fn unchanged<T>(
    mut seen: Seen,
    read: impl Fn() -> Result<T>,
    look: impl Fn() -> Result<Seen>,
) -> Result<(T, Seen, bool)> {
    for _ in 0..READS {
        let settled = seen.is_settled(SystemTime::now());
        let found = read()?;
        let after = look()?;
        if after == seen {
            return Ok((found, seen, settled));
        }
        if (after.bytes, after.modified) != (seen.bytes, seen.modified) {
            break;
        }
        seen = after;
    }
    Err(Error::runtime(format!("{} changed while it was read", seen.path.display()))
        .hint("is it still being copied or downloaded? Try again when that is done"))
}

impl Seen {
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let path = fs::canonicalize(path).context(|| format!("cannot find {}", path.display()))?;
        let found = fs::metadata(&path).context(|| format!("cannot read {}", path.display()))?;
        let ns = |seconds: i64, ns: i64| i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        Ok(Self {
            bytes: found.len(),
            device: found.dev(),
            inode: found.ino(),
            modified: ns(found.mtime(), found.mtime_nsec()),
            changed: ns(found.ctime(), found.ctime_nsec()),
            path,
        })
    }

    /// Whether the file was left alone for so long that a further change would have another time: clocks of file
    /// systems tick every few milliseconds, some every other second.
    fn is_settled(&self, now: SystemTime) -> bool {
        let whole_seconds = self.changed % 1_000_000_000 == 0;
        let tick = if whole_seconds { Duration::from_secs(2) } else { Duration::from_millis(20) };
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos() as i128;
        self.changed + tick.as_nanos() as i128 <= now
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    file: Seen,
    sha256: String,
}

impl Remembered {
    fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    fn save(&self, path: &Path) -> Result<()> {
        let bytes = serde_json::to_vec(self).context(|| "cannot write JSON".into())?;
        files::write(path, &bytes)
    }
}

/// SHA-256 of a file's bytes (hex).
pub(super) fn sha256_of(path: &Path, step: &Step<'_>) -> Result<String> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).context(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut done = 0;
    loop {
        let read = file.read(&mut buffer).context(failed)?;
        if read == 0 {
            return Ok(hex(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
        done += read as u64;
        step.at(done);
    }
}

pub(super) fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| {
        Error::runtime(format!("cannot make {}", path.display()))
            .with_source(source)
            .hint("set KNEEPOINT_CACHE_DIR to a folder that you may write to")
    })
}

/// Makes a folder's entries (a rename in it) last through a power cut.
pub(super) fn sync_dir(path: &Path) {
    // Some file systems refuse; then the rename lasts when the system sees fit.
    let _ = File::open(path).and_then(|folder| folder.sync_all());
}

pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_file_whose_state_settles_late_is_read_again_and_one_that_grows_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let first = Seen::of(file.path()).unwrap();
        let moves = |times: i128, bytes: u64| {
            let (reads, first) = (Cell::new(0), first.clone());
            let read = || {
                reads.set(reads.get() + 1);
                Ok(())
            };
            let look = || {
                let changed = first.changed + reads.get().min(times);
                Ok(Seen { changed, bytes: first.bytes + bytes, ..first.clone() })
            };
            let found = unchanged(first.clone(), read, look).map(|(_, seen, _)| seen.changed - first.changed);
            (found.ok(), reads.get())
        };
        assert_eq!(moves(0, 0), (Some(0), 1));
        assert_eq!(moves(1, 0), (Some(1), 2), "what was told late is so");
        assert_eq!(moves(9, 0), (None, 3), "it never settles");
        assert_eq!(moves(0, 1), (None, 1), "it grew");
    }

    #[test]
    fn the_cache_follows_the_xdg_specification() {
        let with = |vars: &'static [(&str, &str)]| {
            cache_dir(&move |name| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| PathBuf::from(v)))
        };
        let path = |vars| with(vars).unwrap().to_string_lossy().into_owned();
        assert_eq!(path(&[("HOME", "/h")]), "/h/.cache/kneepoint");
        assert_eq!(path(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/c")]), "/c/kneepoint");
        assert_eq!(path(&[("HOME", "/h"), ("XDG_CACHE_HOME", "relative")]), "/h/.cache/kneepoint");
        assert_eq!(path(&[("HOME", "/h"), ("KNEEPOINT_CACHE_DIR", "/k")]), "/k");
        assert!(with(&[("HOME", "")]).unwrap_err().hints()[0].contains("KNEEPOINT_CACHE_DIR"));
    }

    #[test]
    fn hashes_are_remembered_until_the_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("cache"), "python3", &Silent);
        let file = folder.path().join("file");
        fs::write(&file, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        settle();
        assert_eq!(store.sha256(&file).unwrap(), abc);
        // What is remembered is what counts: a doctored memory shows that the file is not read again.
        let memory =
            fs::read_dir(folder.path().join("cache/hashes")).unwrap().next().unwrap().unwrap().path();
        let doctored = fs::read_to_string(&memory).unwrap().replace(abc, "remembered");
        fs::write(&memory, doctored).unwrap();
        assert_eq!(store.sha256(&file).unwrap(), "remembered");
        fs::write(&file, "abcd").unwrap();
        settle();
        assert_ne!(store.sha256(&file).unwrap(), "remembered");
        fs::write(&memory, "{").unwrap();
        assert_eq!(store.sha256(&file).unwrap().len(), 64, "a damaged memory is no obstacle");
    }

    /// Lets the file system's clock tick.
    fn settle() {
        std::thread::sleep(std::time::Duration::from_millis(40));
    }

    fn with_times_of(file: &Path, other: &Path) {
        let done = std::process::Command::new("touch").arg("-r").args([other, file]).status().unwrap();
        assert!(done.success());
    }

    #[test]
    fn another_file_of_the_same_size_and_time_is_hashed_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path().join("cache"), "python3", &Silent);
        let [file, other] = ["model.gguf", "other.gguf"].map(|name| folder.path().join(name));
        fs::write(&file, "abc").unwrap();
        fs::write(&other, "xyz").unwrap();
        with_times_of(&other, &file);
        settle();
        let abc = store.sha256(&file).unwrap();
        let xyz = store.sha256(&other).unwrap();
        assert_ne!(abc, xyz);
        // `mv`: another inode.
        let kept = folder.path().join("kept");
        fs::rename(&file, &kept).unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(store.sha256(&file).unwrap(), xyz, "moved over it");
        // `cp -p` and `rsync --inplace -t`: the same inode, the old times.
        let times = folder.path().join("times");
        fs::write(&times, "").unwrap();
        with_times_of(&times, &file);
        fs::write(&file, "abc").unwrap();
        with_times_of(&file, &times);
        settle();
        assert_eq!(store.sha256(&file).unwrap(), abc, "written over");
        // A link to another version.
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(store.sha256(&link).unwrap(), abc);
        fs::remove_file(&link).unwrap();
        fs::write(&kept, "xyz").unwrap();
        with_times_of(&kept, &file);
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        assert_eq!(store.sha256(&link).unwrap(), xyz, "linked elsewhere");
    }

    #[test]
    fn a_file_that_has_just_changed_is_not_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "abc").unwrap();
        let seen = Seen::of(&file).unwrap();
        let at = |ns: i128| SystemTime::UNIX_EPOCH + Duration::from_nanos((seen.changed + ns) as u64);
        assert!(!seen.is_settled(at(1_000_000)), "the next write may get the same time");
        assert!(seen.is_settled(at(50_000_000)));
        let coarse = Seen { changed: 1_700_000_000_000_000_000, ..seen };
        let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_001);
        assert!(!coarse.is_settled(second), "this file system's clock ticks in seconds");
    }

    #[test]
    fn a_lock_keeps_others_out() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::at(folder.path(), "python3", &Silent);
        let held = store.lock("x").unwrap();
        let second = File::open(folder.path().join("locks/x")).unwrap();
        assert!(second.try_lock().is_err());
        drop(held);
        assert!(second.try_lock().is_ok());
    }
}
