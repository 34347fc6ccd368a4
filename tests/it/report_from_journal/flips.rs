//! A flipped bit in a journal is damage that is named, or changes nothing.

use std::path::Path;

use kneepoint::record::journal::{FILE_NAME, Journal, JournalWriter, PACKED_NAME, Record, load};
use proptest::prelude::*;

/// A small run as kneepoint writes it: every kind of line that it has, checksums and a fingerprint of its own.
fn small() -> Journal {
    let mut journal = super::journal::journal();
    journal.trials.truncate(6);
    let asked: Vec<&str> = journal.trials.iter().map(|trial| trial.case.as_str()).collect();
    let mut cases = std::mem::take(&mut journal.cases);
    cases.retain(|case| asked.contains(&case.id.as_str()));
    journal.cases = cases;
    journal.launches.truncate(1);
    journal.header.suite.tasks.retain(|task| task.name == "retrieval/niah_multikey_2");
    let header = &journal.header;
    // As the made-up cases have it.
    let versions = "retrieval/niah_multikey_2=1";
    let suite = header.suite.fingerprint();
    let engines = header.engines.iter().map(|engine| format!("{}={}", engine.name, engine.version));
    let models =
        header.models.iter().map(|model| format!("{}:{}={}", model.name, model.weights, model.sha256));
    let parts: Vec<String> = [suite, versions.to_owned()].into_iter().chain(engines).chain(models).collect();
    journal.header.fingerprint = kneepoint::record::short_hash(parts.join("\n").as_bytes());
    journal
}

fn write(journal: &Journal, folder: &Path) -> Vec<u8> {
    let mut writer = JournalWriter::create(folder, &journal.header).unwrap();
    let cases = journal.cases.iter().map(|case| Record::Case(Box::new(case.clone())));
    let launches = journal.launches.iter().map(|launch| Record::Launch(Box::new(launch.clone())));
    let trials = journal.trials.iter().map(|trial| Record::Trial(Box::new(trial.clone())));
    cases.chain(launches).chain(trials).for_each(|record| writer.append(&record).unwrap());
    std::fs::read(folder.join(FILE_NAME)).unwrap()
}

/// The journal of these bytes as every command reads it.
fn read(name: &str, bytes: &[u8]) -> Result<Journal, String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(name), bytes).unwrap();
    load(folder.path()).map_err(|error| error.to_string())
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes
}

/// Named damage, or the very same journal.
fn assert_named_or_same(bytes: &[u8], bit: usize, same: &Journal) {
    match read(FILE_NAME, &flipped(bytes, bit)) {
        Err(error) => assert!(error.contains(" is damaged: "), "bit {bit}: {error}"),
        Ok(read) => assert_eq!(&read, same, "bit {bit}"),
    }
}

#[test]
fn any_flipped_bit_is_named_or_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal = small();
    let bytes = write(&journal, folder.path());
    let as_written = read(FILE_NAME, &bytes).unwrap();
    assert_eq!(as_written, journal, "what was written is read back, and no doubt is left");
    let bits = bytes.len() * 8;
    // The line breaks, the checksums and the beginnings of lines; then anything.
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
    let around = ends.flat_map(|end| end.saturating_sub(21)..(end + 10).min(bytes.len()));
    for at in around {
        (0..8).for_each(|bit| assert_named_or_same(&bytes, at * 8 + bit, &journal));
    }
    proptest!(ProptestConfig::with_cases(1500), |(bit in 0..bits)| {
        assert_named_or_same(&bytes, bit, &journal);
    });
}

#[test]
fn a_packed_journal_is_checked_as_an_open_one() {
    use std::io::Write;
    let pack = |bytes: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    let journal = small();
    let bytes = write(&journal, folder.path());
    assert_eq!(read(PACKED_NAME, &pack(&bytes)).unwrap(), journal);
    let score = String::from_utf8_lossy(&bytes).find(r#""quality":1.0"#).unwrap();
    // 1.0 becomes 0.0.
    let error = read(PACKED_NAME, &pack(&flipped(&bytes, (score + 10) * 8))).unwrap_err();
    assert!(error.contains("is damaged: its checksum is"), "{error}");
    let packed = pack(&bytes);
    let (mut named, bits) = (0, packed.len() * 8);
    for bit in (0..bits).step_by(97) {
        match read(PACKED_NAME, &flipped(&packed, bit)) {
            Err(_) => named += 1,
            Ok(read) => assert_eq!(read, journal, "bit {bit}"),
        }
    }
    assert!(named * 97 > bits * 8 / 10, "{named}");
}
