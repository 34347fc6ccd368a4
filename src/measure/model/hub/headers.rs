//! What a repository offers, without its weights: sizes from the list of files, headers by ranges.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::api::{Api, HubError, Listing, RepoFile};
use super::choose::{self, Chosen};
use super::download::FRUITLESS;
use super::reference::Reference;
use super::{folder, is_here, listing, wait};
use crate::error::{Error, Result, chain};
use crate::measure::model::folder::CONFIG;
use crate::measure::model::gguf::{self, Arrays, GgufError, Header, Spans};
use crate::measure::model::safetensors::{self, Stored};
use crate::measure::model::store::{Step, Store};

/// Bytes of a header that are asked for first; each further part is twice as long.
const FIRST: u64 = 256 << 10;
/// Bytes that are asked for at once at most.
const MOST: u64 = 8 << 20;
/// Bytes that a `config.json` may have.
const MAX_CONFIG: u64 = 16 << 20;

/// A model of a repository.
#[derive(Debug)]
pub(in crate::measure::model) struct Remote {
    /// The file (the first of several parts), or the repository.
    pub name: String,
    /// Bytes of all its files.
    pub bytes: u64,
    /// What its header says, or why it could not be read.
    pub form: Result<RemoteForm, String>,
}

/// What was read of a model.
#[derive(Debug)]
pub(in crate::measure::model) enum RemoteForm {
    /// The headers of a GGUF file's parts, each with the size of the part (bytes).
    Gguf(Vec<(Header, u64)>),
    /// A `config.json`, and the tensors beside it.
    Folder(Vec<u8>, Vec<Stored>),
}

/// The commit and every model that a reference offers.
///
/// # Errors
/// When the Hub gives nothing, or offers no model.
pub(in crate::measure::model) fn look(
    reference: &Reference,
    store: &Store<'_>,
) -> Result<(String, Vec<Remote>)> {
    let listing = listing(reference, store)?;
    let chosen = choose::all(&listing, reference.selector.as_deref());
    let mut offers = Vec::new();
    let mut refused = Vec::new();
    for choice in chosen {
        match choice {
            Ok(chosen) => offers.push(chosen),
            Err(error) => refused.push(error),
        }
    }
    if offers.is_empty() {
        let error = refused.pop().map(|error| error.of(reference));
        return Err(error.unwrap_or_else(|| Error::usage(format!("{reference} offers no model"))));
    }
    let broken = refused.iter().map(|error| Remote {
        name: reference.repo.clone(),
        bytes: 0,
        form: Err(error.to_string()),
    });
    let here = folder(reference, &listing.commit, store);
    let mut read = read_all(reference, &listing, &offers, &here, store)?;
    read.extend(broken);
    Ok((listing.commit, read))
}

fn read_all(
    reference: &Reference,
    listing: &Listing,
    offers: &[Chosen<'_>],
    here: &Path,
    store: &Store<'_>,
) -> Result<Vec<Remote>> {
    let api = Api::new(&store.hub)?;
    let step = Step::begin(store.progress, &format!("reading headers of {reference}"), None);
    let fetcher = Fetcher { api: &api, reference, commit: &listing.commit, here, done: AtomicU64::new(0) };
    let read = wait(&step, &AtomicU64::new(0), fetcher.all(offers, store.hub.offline))?;
    read.map_err(|error| error.explain(reference, &store.hub))
}

struct Fetcher<'a> {
    api: &'a Api<'a>,
    reference: &'a Reference,
    commit: &'a str,
    here: &'a Path,
    done: AtomicU64,
}

impl Fetcher<'_> {
    /// Every model. One that cannot be read says so; a Hub that refuses all ends it.
    async fn all(&self, offers: &[Chosen<'_>], offline: bool) -> Result<Vec<Remote>, HubError> {
        let mut known = Arrays::new();
        let mut all = Vec::new();
        for chosen in offers {
            let form = match chosen.main {
                Some(_) => self.parts(chosen, offline, &mut known).await,
                None => self.folder(chosen, offline).await,
            };
            let form = match form {
                Err(ReadError::Hub(error)) => return Err(error),
                Err(ReadError::File(why)) => Err(why),
                Ok(form) => Ok(form),
            };
            let name = chosen.main.unwrap_or(&self.reference.repo).to_owned();
            all.push(Remote { name, bytes: chosen.files.iter().map(|file| file.size).sum(), form });
        }
        tracing::debug!("{} bytes of headers were fetched", self.done.load(Ordering::Relaxed));
        Ok(all)
    }

    async fn parts(
        &self,
        chosen: &Chosen<'_>,
        offline: bool,
        known: &mut Arrays,
    ) -> Result<RemoteForm, ReadError> {
        let mut parts = Vec::new();
        for file in &chosen.files {
            let header = if is_here(file, self.here) {
                gguf::read_header(&self.here.join(&file.path))
                    .map_err(|error| ReadError::File(chain(&error)))?
            } else if offline {
                return Err(not_here());
            } else {
                self.header(file, known).await?
            };
            known.extend(header.arrays.clone());
            parts.push((header, file.size));
        }
        Ok(RemoteForm::Gguf(parts))
    }

    /// The header of a file. A vocabulary that was read before is passed over; whether that was right shows in where the
    /// last tensor ends.
    async fn header(&self, file: &RepoFile, known: &Arrays) -> Result<Header, ReadError> {
        if !known.is_empty()
            && let Ok(header) = self.header_with(file, known).await
            && header.tensors.ends_at(file.size)
        {
            return Ok(header);
        }
        self.header_with(file, &Arrays::new()).await
    }

    async fn header_with(&self, file: &RepoFile, known: &Arrays) -> Result<Header, ReadError> {
        let mut spans = Spans::default();
        let mut length = FIRST;
        loop {
            let parsed = gguf::parse_header(&mut spans, known);
            let from = match (parsed, spans.lacking()) {
                (Ok(header), _) => return Ok(header),
                (Err(GgufError::Io(_)), Some(from)) if from < file.size => from,
                (Err(error), _) => return Err(ReadError::File(chain(&error))),
            };
            let to = from.saturating_add(length).min(file.size);
            spans.add(from, self.span(file, (from, to)).await?);
            length = (length * 2).min(MOST);
        }
    }

    async fn folder(&self, chosen: &Chosen<'_>, offline: bool) -> Result<RemoteForm, ReadError> {
        let config = chosen.files.iter().find(|file| file.path == CONFIG);
        let config = config.ok_or_else(|| ReadError::File(format!("it has no {CONFIG}")))?;
        let bytes = match (is_here(config, self.here), offline) {
            (true, _) => {
                std::fs::read(self.here.join(CONFIG)).map_err(|error| ReadError::File(error.to_string()))?
            }
            (false, true) => return Err(not_here()),
            (false, false) => self.span(config, (0, config.size.min(MAX_CONFIG))).await?,
        };
        let mut tensors = Vec::new();
        for file in chosen.files.iter().filter(|file| file.path.ends_with(".safetensors")) {
            tensors.extend(self.tensors(file, offline).await?);
        }
        Ok(RemoteForm::Folder(bytes, tensors))
    }

    /// The tensors of a safetensors file.
    async fn tensors(&self, file: &RepoFile, offline: bool) -> Result<Vec<Stored>, ReadError> {
        let broken =
            |error: safetensors::HeaderError| ReadError::File(format!("{}: {}", file.path, chain(&error)));
        if is_here(file, self.here) {
            return safetensors::read(&self.here.join(&file.path))
                .map_err(|error| ReadError::File(chain(&error)));
        }
        if offline {
            return Err(not_here());
        }
        let start = self.span(file, (0, FIRST.min(file.size))).await?;
        let first = start.first_chunk::<8>().ok_or(safetensors::HeaderError::Long).map_err(broken)?;
        let end = 8 + safetensors::header_length(*first, file.size).map_err(broken)?;
        let held = start.len() as u64;
        let mut header = start;
        if held < end {
            header.extend(self.span(file, (held, end)).await?);
        }
        safetensors::tensors(&header[8..end as usize], file.size).map_err(broken)
    }

    /// Bytes of a file, asked for again where that may help.
    async fn span(&self, file: &RepoFile, span: (u64, u64)) -> Result<Vec<u8>, ReadError> {
        let mut fruitless = 0;
        loop {
            match self.api.span(self.reference, self.commit, &file.path, span).await {
                Ok(bytes) => {
                    self.done.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    return Ok(bytes);
                }
                Err(error) if error.passes() && fruitless + 1 < FRUITLESS => {
                    fruitless += 1;
                    tracing::info!("{}: {error}; it is asked for again", file.path);
                    tokio::time::sleep(self.api.pause()).await;
                }
                Err(error) => return Err(ReadError::Hub(error)),
            }
        }
    }
}

/// Why a header could not be read: the Hub, or the file itself.
enum ReadError {
    Hub(HubError),
    File(String),
}

fn not_here() -> ReadError {
    ReadError::File("it was not fetched before, and HF_HUB_OFFLINE forbids to ask".to_owned())
}
