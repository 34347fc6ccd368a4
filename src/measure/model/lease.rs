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

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::error::{Context, Error, Result};
use crate::files;

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
                bury(&held, &seen);
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
        if fs::read_to_string(&self.held).is_ok_and(|said| is_of(&said, &self.owner)) {
            let _ = fs::remove_file(&self.held);
        }
    }
}

/// Makes the file that says who holds the name; false when there is one.
fn make(held: &Path, owner: &str) -> Result<bool> {
    let failed = |source| Error::runtime(format!("cannot write {}", held.display())).with_source(source);
    match OpenOptions::new().write(true).create_new(true).open(held) {
        Ok(mut file) => match file.write_all(format!("{owner} 0").as_bytes()) {
            Ok(()) => Ok(true),
            Err(source) => {
                // An empty one would keep others waiting for nobody.
                let _ = fs::remove_file(held);
                Err(failed(source))
            }
        },
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(failed(source)),
    }
}

/// Removes what a dead one left. It is moved away first: of several who see it, one moves it. Who comes late moves the file of the one
/// that took over, and puts it back.
fn bury(held: &Path, dead: &str) {
    let grave = held.with_extension(format!("{}.dead", files::unique()));
    if fs::rename(held, &grave).is_ok() {
        if fs::read_to_string(&grave).is_ok_and(|said| said != dead) {
            let _ = fs::hard_link(&grave, held);
        }
        let _ = fs::remove_file(grave);
    }
}

/// Shows every now and then that the holder lives, until it says that it is done.
fn beats(held: PathBuf, owner: String, every: Duration) -> Option<(Sender<()>, JoinHandle<()>)> {
    let (stop, stopped) = channel();
    let beat = move || {
        let mut number = 0_u64;
        while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
            number += 1;
            match fs::read_to_string(&held) {
                Ok(said) if !is_of(&said, &owner) => return, // Somebody took us for dead: the file is theirs.
                Ok(_) => drop(fs::write(&held, format!("{owner} {number}"))),
                // Moved away by one who came late, and not put back: it is ours as long as nobody else has one.
                Err(_) => drop(make(&held, &owner)),
            }
        }
    };
    // Without a thread the name is held for as long as a silent one is believed to live.
    let thread = std::thread::Builder::new().name("lease".into()).spawn(beat).ok()?;
    Some((stop, thread))
}

fn is_of(said: &str, owner: &str) -> bool {
    said.strip_prefix(owner).is_some_and(|rest| rest.starts_with(' '))
}

/// Who holds a name: where its process number means something, the process, and a name of its own.
fn owner() -> String {
    format!("{} {} {}", files::processes(), std::process::id(), files::unique())
}

/// Whether the holder was a process of this machine that is no more.
fn is_dead_here(said: &str) -> bool {
    let mut words = said.split(' ');
    let (Some(place), Some(process)) = (words.next(), words.next().and_then(|word| word.parse::<i32>().ok()))
    else {
        return false;
    };
    // Not by /proc: it may hide the processes of other users.
    place == files::processes() && kill(Pid::from_raw(process), None) == Err(Errno::ESRCH)
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
        assert!(is_of(&fs::read_to_string(&held.held).unwrap(), &held.owner));
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
        fs::write(folder.path().join("x.held"), format!("{} {process} x 7", files::processes())).unwrap();
        Lease::take(&folder.path().join("x"), PATIENT, || panic!("it is dead")).unwrap();
        assert!(
            !is_dead_here("")
                && !is_dead_here("a b")
                && !is_dead_here(&format!("{} {}", files::processes(), std::process::id()))
        );
    }

    #[test]
    fn who_comes_late_to_a_burial_puts_back_what_is_alive() {
        let folder = tempfile::tempdir().unwrap();
        let held = folder.path().join("x.held");
        fs::write(&held, "the next 1 0 4").unwrap();
        bury(&held, "the dead 1 0 9");
        assert_eq!(fs::read_to_string(&held).unwrap(), "the next 1 0 4");
        bury(&held, "the next 1 0 4");
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lease::take(&folder.path().join("x"), PATIENT, || ()).unwrap();
        fs::remove_file(&held.held).unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while !held.held.exists() && Instant::now() < until {
            std::thread::yield_now();
        }
        assert!(held.held.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_to_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Lease::take(&folder.path().join("none/x"), QUICK, || ()).is_err());
        fs::create_dir(folder.path().join("x")).unwrap();
        assert!(Lease::take(&folder.path().join("x"), QUICK, || ()).is_err());
    }
}
