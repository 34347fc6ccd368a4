//! One file, resumed where it broke off.
//!
//! What came so far lies beside the target as `NAME.ID.part`, where ID is the content's own, so that another content
//! is another part; the server's ETag lies beside it. A part becomes the file by a rename, after its size and
//! SHA-256 were checked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderName};
use reqwest::{Response, StatusCode};

use super::api::{Api, HubError, RepoFile, Resume, refusal};
use super::reference::Reference;
use crate::error::{Context, Error, Result};
use crate::measure::model::store::{Step, Store, file_name, sha256_of, sync_dir};

/// Attempts in a row that may bring nothing.
pub(super) const FRUITLESS: u32 = 4;

/// A file that is not all here.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    etag: PathBuf,
}

impl Part {
    /// The part of a file; those of other contents of it are removed.
    pub(super) fn of(target: &Path, file: &RepoFile) -> Self {
        let name = file_name(target);
        let id = file.id().get(..16).unwrap_or(file.id());
        let own = format!("{name}.{id}.part");
        for entry in fs::read_dir(target.parent().unwrap_or(target)).into_iter().flatten().flatten() {
            let other = entry.file_name().to_string_lossy().into_owned();
            let rest = other.strip_prefix(&format!("{name}.")).unwrap_or_default();
            let part = rest.strip_suffix(".etag").unwrap_or(rest).strip_suffix(".part");
            // An id has no dots: `model.safetensors` has nothing to do with `model.safetensors.index.json`.
            if part.is_some_and(|other| other != id && !other.contains('.')) {
                let _ = fs::remove_file(entry.path());
            }
        }
        let path = target.with_file_name(own);
        let mut etag = path.clone().into_os_string();
        etag.push(".etag");
        Self { path, etag: etag.into() }
    }

    /// Where to go on; `None` at the start.
    fn from(&self) -> Option<Resume> {
        let offset = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        let etag = fs::read_to_string(&self.etag).ok().filter(|etag| !etag.is_empty());
        (offset > 0).then_some(Resume { offset, etag })
    }

    fn remove(&self) {
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(&self.etag);
    }

    fn failed(&self, source: io::Error) -> HubError {
        HubError::Write { file: self.path.display().to_string(), source }
    }

    fn open(&self, offset: u64) -> Result<File, HubError> {
        let open = || {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path)?;
            file.set_len(offset)?;
            let mut file = file;
            io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
            Ok(file)
        };
        open().map_err(|source| self.failed(source))
    }

    /// Checks the whole part and gives it its name.
    ///
    /// # Errors
    /// When it is not what the hub listed; then it is deleted.
    pub(super) fn finish(&self, file: &RepoFile, target: &Path, store: &Store<'_>) -> Result<()> {
        let step = Step::begin(store.progress, &format!("checking {}", file.path), Some(file.size));
        let found = sha256_of(&self.path, &step)?;
        if let Some(wanted) = file.sha256.as_ref().filter(|wanted| **wanted != found) {
            self.remove();
            return Err(Error::runtime(format!(
                "{} is not the file that the hub lists: its SHA-256 is {found}, not {wanted}",
                file.path
            ))
            .hint("it was deleted; run the command again, and if it comes again, do not trust the source"));
        }
        fs::rename(&self.path, target).context(|| format!("cannot write {}", target.display()))?;
        let _ = fs::remove_file(&self.etag);
        sync_dir(target.parent().unwrap_or(target));
        store.remember_sha256(target, &found);
        Ok(())
    }
}

/// Brings a part to its full size; `done` counts its bytes.
///
/// # Errors
/// When nothing more comes, after some attempts; what came is kept.
pub(super) async fn download(
    api: &Api<'_>,
    reference: &Reference,
    commit: &str,
    file: &RepoFile,
    part: &Part,
    done: &AtomicU64,
) -> Result<(), HubError> {
    let mut fruitless = 0;
    loop {
        let before = part.from().map_or(0, |from| from.offset);
        if before == file.size && (before > 0 || part.path.is_file()) {
            return Ok(());
        }
        match attempt(api, reference, commit, file, part, done).await {
            Ok(()) => {}
            Err(error) if !error.passes() => return Err(error),
            Err(error) => {
                let after = part.from().map_or(0, |from| from.offset);
                fruitless = if after > before { 0 } else { fruitless + 1 };
                if fruitless >= FRUITLESS {
                    return Err(error);
                }
                tracing::info!("{}: {error}; it goes on at {after} of {} bytes", file.path, file.size);
                tokio::time::sleep(api.pause()).await;
            }
        }
    }
}

/// One request, from where the part ends.
async fn attempt(
    api: &Api<'_>,
    reference: &Reference,
    commit: &str,
    file: &RepoFile,
    part: &Part,
    done: &AtomicU64,
) -> Result<(), HubError> {
    // A part that is too long is of something else.
    if part.from().is_some_and(|from| from.offset > file.size) {
        part.remove();
    }
    let from = part.from();
    let response = api.file(reference, commit, &file.path, from.as_ref()).await?;
    let offset = match (response.status(), &from) {
        (StatusCode::PARTIAL_CONTENT, Some(from)) if continues(&response, from, file.size) => from.offset,
        // The server counts otherwise, or has another content now: from the start.
        (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
            part.remove();
            return Err(HubError::Unreachable {
                host: "the hub".to_owned(),
                why: "it does not go on where the download broke off".to_owned(),
            });
        }
        (StatusCode::OK, _) => 0,
        (status, _) => return Err(refusal(status)),
    };
    if let Some(length) =
        response.content_length().filter(|length| offset.saturating_add(*length) != file.size)
    {
        part.remove();
        return Err(HubError::Content(format!(
            "{} has {} bytes by the hub's list, but {} are sent",
            file.path,
            file.size,
            offset.saturating_add(length)
        )));
    }
    // Of no use without the ETag, harmful with a wrong one.
    match header(&response, ETAG) {
        Some(etag) => drop(fs::write(&part.etag, etag)),
        None => drop(fs::remove_file(&part.etag)),
    }
    receive(api, response, offset, file, part, done).await
}

async fn receive(
    api: &Api<'_>,
    mut response: Response,
    mut offset: u64,
    file: &RepoFile,
    part: &Part,
    done: &AtomicU64,
) -> Result<(), HubError> {
    let mut out = part.open(offset)?;
    done.store(offset, Ordering::Relaxed);
    while let Some(chunk) = response.chunk().await.map_err(|error| api.unreachable(&error))? {
        offset = offset.saturating_add(chunk.len() as u64);
        if offset > file.size {
            part.remove();
            return Err(HubError::Content(format!("{} is longer than the hub lists it", file.path)));
        }
        out.write_all(&chunk).map_err(|source| part.failed(source))?;
        done.store(offset, Ordering::Relaxed);
    }
    out.sync_all().map_err(|source| part.failed(source))?;
    if offset == file.size {
        return Ok(());
    }
    Err(HubError::Unreachable { host: "the hub".to_owned(), why: format!("it stopped at {offset} bytes") })
}

/// Whether a partial answer goes on where the part ends, with the same content.
fn continues(response: &Response, from: &Resume, size: u64) -> bool {
    let range = header(response, CONTENT_RANGE).unwrap_or_default();
    let begins = range.strip_prefix("bytes ").and_then(|rest| rest.split_once('-'));
    let starts = begins.and_then(|(start, _)| start.trim().parse().ok()) == Some(from.offset);
    let total = range.rsplit_once('/').and_then(|(_, total)| total.parse::<u64>().ok());
    let same = match (&from.etag, header(response, ETAG)) {
        (Some(before), Some(now)) => *before == now,
        _ => true,
    };
    starts && total.is_none_or(|total| total == size) && same
}

fn header(response: &Response, name: HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}
