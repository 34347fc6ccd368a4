//! A lock on a name in the cache, also between machines: a shared file system may keep file locks to each machine (or to each mount),
//! and then they keep nobody out.
//!
//! So whoever has the file lock also has to make a file that must not exist yet (`NAME.held`, exclusive creation, which is atomic on every
//! file system that is shared), and writes to it every few seconds. One that nobody writes to for long is of somebody who died, and is taken
//! over.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result};

/// How often the holder shows that it lives, and after what silence it is dead. File systems may show changes of other machines
/// some seconds late.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    beat: Duration,
    dead: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { beat: Duration::from_secs(5), dead: Duration::from_secs(45) }
    }
}

/// A name that is held; released when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    held: PathBuf,
    owner: String,
    beats: Option<(Sender<()>, JoinHandle<()>)>,
    /// Released last: who waits for it finds no file.
    _file: File,
}

impl Lease {
    /// Waits until nobody else holds the name of this file. `waiting` is called once, when it has to wait; what it returns is dropped as soon as the
    /// waiting is over.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub(super) fn take<W>(path: &Path, pace: Pace, waiting: impl Fn() -> W) -> Result<Self> {
        let file = File::create(path).context(|| format!("cannot write {}", path.display()))?;
        let mut step = None;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                step = Some(waiting());
                file.lock().context(|| format!("cannot lock {}", path.display()))?;
            }
            // A file system without locks: the file that must not exist is all there is.
            Err(TryLockError::Error(_)) => {}
        }
        let mut held = path.as_os_str().to_owned();
        held.push(".held");
        let held = PathBuf::from(held);
        let owner = owner();
        let mut watched: Option<(String, Instant)> = None;
        while !make(&held, &owner)? {
            let seen = fs::read_to_string(&held).unwrap_or_default();
            let since = match &watched {
                Some((before, since)) if *before == seen => *since,
                _ => Instant::now(),
            };
            if is_dead_here(&seen) || since.elapsed() >= pace.dead {
                bury(&held);
                watched = None;
                continue;
            }
            watched = Some((seen, since));
            step.get_or_insert_with(&waiting);
            std::thread::sleep(pace.beat.min(Duration::from_millis(200)));
        }
        let beats = beats(held.clone(), owner.clone(), pace.beat);
        Ok(Self { held, owner, beats, _file: file })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((stop, beats)) = self.beats.take() {
            drop(stop);
            let _ = beats.join();
        }
        if is_of(&self.held, &self.owner) {
            let _ = fs::remove_file(&self.held);
        }
    }
}

/// Makes the file that says who holds the name; false when there is one.
fn make(held: &Path, owner: &str) -> Result<bool> {
    let made = OpenOptions::new().write(true).create_new(true).open(held);
    match made.and_then(|mut file| file.write_all(format!("{owner} 0").as_bytes())) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(Error::runtime(format!("cannot write {}", held.display())).with_source(source)),
    }
}

/// Removes what a dead one left. It is moved away first: of several who see it, one moves it.
fn bury(held: &Path) {
    let grave = held.with_extension(format!("{}.dead", short(&owner())));
    if fs::rename(held, &grave).is_ok() {
        let _ = fs::remove_file(grave);
    }
}

fn short(owner: &str) -> String {
    crate::record::short_hash(owner.as_bytes())
}

/// Shows every now and then that the holder lives, until it says that it is done.
fn beats(held: PathBuf, owner: String, every: Duration) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = channel();
    let beat = move || {
        let mut number = 0_u64;
        while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            number += 1;
            // Somebody took us for dead: the file is theirs.
            if !is_of(&held, &owner) {
                return;
            }
            let _ = fs::write(&held, format!("{owner} {number}"));
        }
    };
    // Without a thread the name is held for as long as a silent one is believed to live.
    let thread = std::thread::Builder::new().name("lease".into()).spawn(beat).ok()?;
    Some((stop, thread))
}

fn is_of(held: &Path, owner: &str) -> bool {
    fs::read_to_string(held)
        .is_ok_and(|said| said.strip_prefix(owner).is_some_and(|rest| rest.starts_with(' ')))
}

/// Who holds a name: the kernel that runs, the space of process numbers, the process, and which of its leases.
fn owner() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static LEASES: AtomicU64 = AtomicU64::new(0);
    let number = LEASES.fetch_add(1, Ordering::Relaxed);
    format!("{} {} {number}", processes(), std::process::id())
}

/// Where process numbers mean something: the kernel's run and its space of numbers; containers have spaces of their own.
fn processes() -> String {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let space = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    format!("{}/{}", boot.trim(), space.display())
}

/// Whether the holder was a process of this machine that is no more.
fn is_dead_here(said: &str) -> bool {
    let mut words = said.split(' ');
    let (Some(place), Some(process)) = (words.next(), words.next().and_then(|word| word.parse::<u32>().ok()))
    else {
        return false;
    };
    place == processes() && !Path::new("/proc").join(process.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const QUICK: Pace = Pace { beat: Duration::from_millis(20), dead: Duration::from_millis(1500) };
    /// Nobody is taken for dead on a busy machine.
    const PATIENT: Pace = Pace { dead: Duration::from_secs(3600), ..QUICK };

    fn names(folder: &Path) -> Vec<String> {
        let entries =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        entries.collect()
    }

    #[test]
    fn a_name_is_held_until_it_is_dropped_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let held = Lease::take(&path, QUICK, || panic!("nobody to wait for")).unwrap();
        assert!(is_of(&held.held, &held.owner));
        drop(held);
        assert_eq!(names(folder.path()), ["x"]);
    }

    /// Two mounts whose locks do not know of each other: the lock file of each is another one, the file of the lease is the same.
    #[test]
    fn names_are_held_where_locks_keep_nobody_out() {
        let folder = tempfile::tempdir().unwrap();
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let path = folder.path().join("x");
                        let held = Lease::take(&path, PATIENT, || ()).unwrap();
                        // The lock is lost as on another machine.
                        let _ = fs::remove_file(&path);
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                        std::thread::sleep(Duration::from_millis(5));
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(held);
                    }
                });
            }
        });
    }

    #[test]
    fn one_that_lives_elsewhere_is_waited_for_and_one_that_is_silent_is_dead() {
        let folder = tempfile::tempdir().unwrap();
        let (path, held) = (folder.path().join("x"), folder.path().join("x.held"));
        let elsewhere = "another/pid:[1] 1 0".to_owned();
        fs::write(&held, format!("{elsewhere} 0")).unwrap();
        let beating = beats(held.clone(), elsewhere, QUICK.beat).unwrap();
        let (waited, start) = (AtomicU32::new(0), Instant::now());
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| {
                let waiting = || waited.fetch_add(1, Ordering::SeqCst);
                Lease::take(&path, QUICK, waiting).map(|_| start.elapsed())
            });
            std::thread::sleep(2 * QUICK.dead);
            assert!(!taken.is_finished(), "it lives");
            drop(beating.0);
            beating.1.join().unwrap();
            assert!(taken.join().unwrap().unwrap() > 2 * QUICK.dead);
        });
        assert_eq!(waited.load(Ordering::SeqCst), 1, "it is told once");
    }

    #[test]
    fn one_that_died_here_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        let process = gone.id();
        gone.wait().unwrap();
        fs::write(folder.path().join("x.held"), format!("{} {process} 0 7", processes())).unwrap();
        Lease::take(&folder.path().join("x"), PATIENT, || panic!("it is dead")).unwrap();
        assert!(
            !is_dead_here("")
                && !is_dead_here("a b")
                && !is_dead_here(&format!("{} {}", processes(), std::process::id()))
        );
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lease::take(&folder.path().join("none/x"), QUICK, || ()).is_err());
        fs::create_dir(folder.path().join("x")).unwrap();
        assert!(Lease::take(&folder.path().join("x"), QUICK, || ()).is_err());
    }
}
