//! A pack: the reference of a run as one file, for a machine on which it does not fit.
//!
//! gzip of a small journal (the run's header; cases, servers and trials of its reference) behind one line that says what
//! it is: the version of the form, and size and SHA-256 of all that follows. Lines have checksums, as in every journal.
//! It is read as what a stranger sent: nothing is believed before it is checked, and nothing that it promises is allocated.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::line::{self, Seal};
use super::read::{self, Keep};
use super::records::Record;
use super::whole::Journal;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::record::hash::hex;

/// Version of the form of packs; newer ones are refused.
pub const FORMAT: u64 = 1;
/// Largest journal in a pack (bytes).
const LARGEST: u64 = 1 << 36;
/// Longest first line (bytes).
const LONGEST_TITLE: u64 = 4096;

/// A pack in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Pack {
    /// SHA-256 of its journal.
    pub sha256: String,
    /// The run's header, and what there is of its reference.
    pub journal: Journal,
}

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Title {
    pack: Form,
}

/// What a pack says of itself.
#[derive(Debug, Serialize, Deserialize)]
struct Form {
    /// [`FORMAT`].
    format: u64,
    /// Version of the kneepoint that made it.
    tool_version: String,
    /// Length of the journal behind this line (bytes).
    bytes: u64,
    /// Its SHA-256.
    sha256: String,
}

/// Writes a pack; its length (bytes).
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, journal: &Journal) -> Result<u64> {
    let bytes = bytes_of(journal).context(|| "cannot make the pack".into())?;
    files::write(path, &bytes)?;
    Ok(bytes.len() as u64)
}

fn bytes_of(journal: &Journal) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    for record in records(journal) {
        body.extend(line::seal(&record)?);
    }
    let form = Form {
        format: FORMAT,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        bytes: body.len() as u64,
        sha256: hex(&Sha256::digest(&body)),
    };
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&line::seal(&Title { pack: form })?)?;
    packed.write_all(&body)?;
    packed.finish()
}

fn records(journal: &Journal) -> impl Iterator<Item = Record> {
    let header = std::iter::once(Record::Header(Box::new(journal.header.clone())));
    header.chain(journal.records())
}

/// Reads a pack.
///
/// # Errors
/// When it cannot be read, is no pack, is of a newer form, was cut off or changed; with what is wrong and where.
pub fn open(path: &Path) -> Result<Pack> {
    let file = File::open(path).context(|| format!("cannot read {}", path.display()))?;
    read(file).map_err(|reason| {
        Error::usage(format!("{}: {reason}", path.display()))
            .hint("copy it again, or make it again: `kneepoint reference export RUN`")
    })
}

/// Reads a pack from bytes.
///
/// # Errors
/// As [`open`], in words.
pub fn read(packed: impl Read) -> Result<Pack, String> {
    let mut reader = BufReader::new(MultiGzDecoder::new(packed));
    let form = form(&mut reader)?;
    if form.bytes > LARGEST {
        return Err(format!("it says that its journal has {} bytes, more than {LARGEST}", form.bytes));
    }
    let mut body = Hashed { inner: reader.take(form.bytes + 1), hash: Sha256::new(), bytes: 0 };
    let journal = read::read(BufReader::new(&mut body), Keep::All);
    // The reader stops where it finds damage: what is cut off is told from what was changed by what is left.
    let rest = std::io::copy(&mut body, &mut std::io::sink());
    let Hashed { hash, bytes, .. } = body;
    if let Err(error) = rest {
        return Err(format!(
            "it is cut off or damaged in its journal, behind {bytes} of {} bytes ({error})",
            form.bytes
        ));
    }
    let (journal, _) = journal.map_err(|reason| format!("in its journal, {reason}"))?;
    if bytes != form.bytes {
        let more = if bytes > form.bytes { "more than " } else { "" };
        return Err(format!("its journal has {more}{} of {} bytes", bytes.min(form.bytes), form.bytes));
    }
    let found = hex(&hash.finalize());
    if found != form.sha256 {
        return Err(format!("its journal was changed: SHA-256 {found}, it was {}", form.sha256));
    }
    of_reference_alone(&journal)?;
    Ok(Pack { sha256: form.sha256, journal })
}

/// The first line, whose form decides whether anything behind it can be understood.
fn form(reader: &mut impl BufRead) -> Result<Form, String> {
    let mut line = Vec::new();
    let read = reader.by_ref().take(LONGEST_TITLE).read_until(b'\n', &mut line);
    read.map_err(|error| format!("it is no pack ({error})"))?;
    if line.pop_if(|last| *last == b'\n').is_none() {
        return Err("it is no pack: its first line does not end".into());
    }
    let sealed = line::unseal(&mut line).map_err(|reason| format!("its first line is damaged: {reason}"))?;
    let value: serde_json::Value =
        serde_json::from_slice(&line).map_err(|error| format!("it is no pack ({error})"))?;
    let said = |key: &str| value.pointer(key);
    let Some(format) = said("/pack/format").and_then(serde_json::Value::as_u64) else {
        return Err("it is no pack: its first line names no format".into());
    };
    if format > FORMAT {
        let made =
            said("/pack/tool_version").and_then(serde_json::Value::as_str).unwrap_or("a newer version");
        return Err(format!(
            "its format is {format}, made by kneepoint {}; this kneepoint ({}) reads up to {FORMAT}",
            crate::console::shown(made),
            env!("CARGO_PKG_VERSION")
        ));
    }
    if sealed == Seal::Absent {
        return Err("its first line has no checksum".into());
    }
    let title: Title =
        serde_json::from_value(value).map_err(|error| format!("its first line is damaged: {error}"))?;
    Ok(title.pack)
}

/// Whether there is nothing in it but the reference.
fn of_reference_alone(journal: &Journal) -> Result<(), String> {
    let reference = journal.header.suite.reference();
    if let Some(doubt) = journal.doubts.first() {
        return Err(doubt.clone());
    }
    if let Some(case) = journal.cases.iter().find(|case| (*case).clone().seal().id != case.id) {
        return Err(format!(
            "case {} of {} is not what its hash says",
            case.index,
            crate::console::shown(&case.task)
        ));
    }
    let launches = journal.launches.iter().map(|launch| launch.setting.as_str());
    let stray = launches.chain(journal.trials.iter().map(|trial| trial.key.setting.as_str()));
    match stray.into_iter().find(|setting| *setting != reference.label) {
        Some(stray) => {
            Err(format!("it holds what is not of its reference: {}", crate::console::shown(stray)))
        }
        None if journal.trials.is_empty() => Err("it holds no trial".into()),
        None => Ok(()),
    }
}

/// A reader that hashes and counts what it gives.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.bytes += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::record::packed;

    fn published() -> Journal {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/quickstart");
        packed::of_run(&super::super::load(&folder).unwrap()).unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        MultiGzDecoder::new(bytes).read_to_end(&mut all).unwrap();
        all
    }

    fn repacked(bytes: &[u8]) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    }

    #[test]
    fn a_pack_comes_back_as_it_was_and_is_small() {
        let journal = published();
        let bytes = bytes_of(&journal).unwrap();
        let pack = read(&bytes[..]).unwrap();
        assert_eq!(pack.journal, journal);
        assert!(bytes.len() * 2 < unpacked(&bytes).len(), "{}", bytes.len());
    }

    #[test]
    fn what_was_cut_off_or_changed_is_refused_with_its_place() {
        let bytes = bytes_of(&published()).unwrap();
        let whole = unpacked(&bytes);
        let said = |bytes: &[u8]| read(bytes).unwrap_err();
        assert!(said(&bytes[..bytes.len() / 2]).contains("it is cut off or damaged in its journal"));
        assert!(
            said(&bytes[..bytes.len() - 4]).contains("it is cut off or damaged in its journal"),
            "the sum of gzip is lost"
        );
        assert!(said(b"GGUF and more").contains("it is no pack"));
        assert!(said(&repacked(b"{\"header\":{}}\n")).contains("names no format"));
        // Whole lines that were taken away, and lines that were changed.
        let lines: Vec<&[u8]> = whole.split_inclusive(|byte| *byte == b'\n').collect();
        let short = said(&repacked(&lines[..lines.len() - 1].concat()));
        assert!(short.contains("its journal has") && short.contains("bytes"), "{short}");
        let mut other = lines.clone();
        let at = other.len() - 1;
        let changed = String::from_utf8(other[at].to_vec()).unwrap().replacen("\"index\":", "\"indey\":", 1);
        other[at] = changed.as_bytes();
        let changed = said(&repacked(&other.concat()));
        assert!(changed.contains(&format!("line {at} is damaged")), "{changed}");
    }

    #[test]
    fn a_newer_form_is_refused_before_anything_of_it_is_read() {
        let newer = b"{\"pack\":{\"format\":2,\"tool_version\":\"9.1.0\",\"novel\":[]}}\n";
        let said = read(&repacked(newer)[..]).unwrap_err();
        assert!(said.contains("format is 2") && said.contains("kneepoint 9.1.0"), "{said}");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read(&bytes[..]);
            let _ = read(&repacked(&bytes)[..]);
            let title = b"{\"pack\":{\"format\":1,\"tool_version\":\"1\",\"bytes\":68719476736,\"sha256\":\"\"}}\n";
            let _ = read(&repacked(&[title, &bytes[..]].concat())[..]);
        }
    }
}
