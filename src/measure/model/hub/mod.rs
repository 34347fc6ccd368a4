//! Models from a Hub: `hf:OWNER/REPO[@REVISION][:QUANT or FILE]`, through its public HTTP interface.
//!
//! A revision becomes a commit, the commit's files are listed with their sizes and hashes, and what was chosen is
//! fetched into the cache: resumed where a download broke off, checked, and named by the commit that it is from.
//! A finished file in the cache of the Hub's own tools is used where it lies.
//!
//! `HF_ENDPOINT`, `HF_TOKEN`, `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN_PATH` and `HF_HUB_OFFLINE` mean what they mean to
//! those tools. The token is sent to the endpoint alone: never to where it redirects to, into a log, or a file.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::located::Location;
use super::store::{Step, Store, make_dir};
use crate::error::{Context, Error, Result};

mod api;
mod choose;
mod download;
mod headers;
pub(super) mod place;
mod reference;

pub use api::HubError;
pub(super) use headers::{Remote, RemoteForm, look};
pub use place::{DEFAULT_ENDPOINT, Hub};
pub use reference::Reference;

use api::{Api, Listing, RepoFile};
use choose::Chosen;

/// How often the growing download is looked at.
const POLL: Duration = Duration::from_millis(20);

/// What was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fetched {
    /// The file (the first of several parts), or the folder.
    pub path: PathBuf,
    /// Where it came from, in words.
    pub origin: String,
}

/// Gets the files of a model in a quant.
pub(super) fn fetch(reference: &Reference, quant: &str, store: &Store<'_>) -> Result<Fetched> {
    let listing = listing(reference, store)?;
    let chosen = choose::choose(&listing, reference.selector.as_deref(), quant)
        .map_err(|error| error.of(reference))?;
    let folder = folder(reference, &listing.commit, store);
    if chosen.files.iter().any(|file| !is_here(file, &folder)) {
        let _lock = store.lock(&format!("hub-{}-{}", reference.folder_name(), listing.commit))?;
        remember(reference, &listing, store)?;
        for file in &chosen.files {
            if !is_here(file, &folder) {
                obtain(reference, &listing.commit, file, &folder, store)?;
            }
        }
    }
    Ok(Fetched { path: chosen.path(&folder), origin: origin(reference, &listing.commit, &chosen, store) })
}

/// The files of a model in a quant when they were fetched before; nothing is asked.
pub(super) fn local(reference: &Reference, quant: &str, store: &Store<'_>) -> Option<PathBuf> {
    let listing = Listing::load(&listing_path(reference, &reference.revision, store))?;
    let chosen = choose::choose(&listing, reference.selector.as_deref(), quant).ok()?;
    let folder = folder(reference, &listing.commit, store);
    chosen.files.iter().all(|file| is_here(file, &folder)).then(|| chosen.path(&folder))
}

/// What [`fetch`] would do: it asks the Hub for the list of files, nothing more.
pub(super) fn locate(reference: &Reference, quant: &str, store: &Store<'_>) -> Result<Location> {
    let listing = listing(reference, store)?;
    let chosen = choose::choose(&listing, reference.selector.as_deref(), quant)
        .map_err(|error| error.of(reference))?;
    let folder = folder(reference, &listing.commit, store);
    let lacking: Vec<&&RepoFile> = chosen
        .files
        .iter()
        .filter(|file| !is_here(file, &folder))
        .filter(|file| in_tools_cache(reference, &listing.commit, file, store).is_none())
        .collect();
    if lacking.is_empty() {
        return Ok(Location::Present(chosen.path(&folder)));
    }
    let bytes = lacking.iter().map(|file| file.size).sum();
    Ok(Location::WouldFetch { what: origin(reference, &listing.commit, &chosen, store), bytes })
}

fn origin(reference: &Reference, commit: &str, chosen: &Chosen<'_>, store: &Store<'_>) -> String {
    let what = match (chosen.main, chosen.files.len()) {
        (None, count) => format!("{count} files"),
        (Some(main), 1) => main.to_owned(),
        (Some(main), count) => format!("{main} and {} more parts", count - 1),
    };
    let place = match store.hub.endpoint.as_str() {
        DEFAULT_ENDPOINT => String::new(),
        other => format!(" from {other}"),
    };
    format!("hf:{}@{commit}, {what}{place}", reference.repo)
}

/// Where the files of a commit lie.
fn folder(reference: &Reference, commit: &str, store: &Store<'_>) -> PathBuf {
    store.root.join("hub").join(reference.folder_name()).join(commit)
}

fn is_here(file: &RepoFile, folder: &Path) -> bool {
    fs::metadata(folder.join(&file.path)).is_ok_and(|found| found.is_file() && found.len() == file.size)
}

/// The files of a revision. A commit's never change, so those that are known need not be asked for; nor can they
/// be without a network.
fn listing(reference: &Reference, store: &Store<'_>) -> Result<Listing> {
    let known = || Listing::load(&listing_path(reference, &reference.revision, store));
    if let Some(listing) = known().filter(|listing| listing.commit == reference.revision) {
        return Ok(listing);
    }
    if store.hub.offline {
        return known().ok_or_else(|| {
            Error::runtime(format!("{reference} was not fetched before, and HF_HUB_OFFLINE forbids to ask"))
                .hint("unset HF_HUB_OFFLINE, or name a file: `path = \"FILE.gguf\"`")
        });
    }
    let api = Api::new(&store.hub)?;
    let step = Step::begin(store.progress, &format!("asking for the files of {reference}"), None);
    let asked = wait(&step, &AtomicU64::new(0), api.listing(reference))?;
    match (asked, known()) {
        (Ok(listing), _) => Ok(listing),
        (Err(error @ HubError::Unreachable { .. }), Some(listing)) => {
            tracing::warn!("{error}; what is known of {reference} is used");
            Ok(listing)
        }
        (Err(error), _) => Err(error.explain(reference, &store.hub)),
    }
}

fn remember(reference: &Reference, listing: &Listing, store: &Store<'_>) -> Result<()> {
    make_dir(&store.root.join("hub").join(reference.folder_name()))?;
    // Not being able to remember only costs a question.
    for revision in [&reference.revision, &listing.commit] {
        let _ = listing.save(&listing_path(reference, revision, store));
    }
    Ok(())
}

fn listing_path(reference: &Reference, revision: &str, store: &Store<'_>) -> PathBuf {
    let name = format!("{}.json", revision.replace('/', "--"));
    store.root.join("hub").join(reference.folder_name()).join(name)
}

/// A finished file in the cache of the Hub's own tools.
fn in_tools_cache(
    reference: &Reference,
    commit: &str,
    file: &RepoFile,
    store: &Store<'_>,
) -> Option<PathBuf> {
    let repo = store.hub.tools_cache.as_ref()?.join(format!("models--{}", reference.folder_name()));
    let blob = file.sha256.as_ref().or(file.blob.as_ref()).map(|id| repo.join("blobs").join(id));
    let snapshot = repo.join("snapshots").join(commit).join(&file.path);
    blob.into_iter()
        .chain([snapshot])
        .find(|path| fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() == file.size))
}

/// Gets one file: from the cache of the Hub's tools when it is right, else from the Hub.
fn obtain(
    reference: &Reference,
    commit: &str,
    file: &RepoFile,
    folder: &Path,
    store: &Store<'_>,
) -> Result<()> {
    let target = folder.join(&file.path);
    make_dir(target.parent().unwrap_or(folder))?;
    // A link whose file is gone, or a file of another size: not what is wanted.
    let _ = fs::remove_file(&target);
    if let Some(found) = in_tools_cache(reference, commit, file, store) {
        let right = file.sha256.is_none() || file.sha256 == Some(store.sha256(&found)?);
        let found = fs::canonicalize(&found).context(|| format!("cannot find {}", found.display()))?;
        if right {
            return link(&found, &target).context(|| format!("cannot write {}", target.display()));
        }
        tracing::warn!("{} is damaged and is fetched again", found.display());
    }
    let api = Api::new(&store.hub)?;
    let part = download::Part::of(&target, file);
    let title = format!("downloading {}", file.path);
    let step = Step::begin(store.progress, &title, Some(file.size));
    let done = AtomicU64::new(0);
    let fetched = wait(&step, &done, download::download(&api, reference, commit, file, &part, &done))?;
    drop(step);
    fetched.map_err(|error| error.explain(reference, &store.hub))?;
    part.finish(file, &target, store)
}

#[cfg(unix)]
fn link(found: &Path, target: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(found, target)
}

/// Waits for network work from code that does not know of it, also from within another runtime: on a thread of its
/// own. Meanwhile the display follows `done`.
fn wait<T: Send>(step: &Step<'_>, done: &AtomicU64, work: impl Future<Output = T> + Send) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "cannot start the async runtime".into())?;
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || runtime.block_on(work));
        while !worker.is_finished() {
            step.at(done.load(Ordering::Relaxed));
            std::thread::sleep(POLL);
        }
        worker.join().map_err(|_| Error::runtime("the download broke down"))
    })
}

#[cfg(test)]
mod tests;
