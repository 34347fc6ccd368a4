//! A journal survives what a crash leaves of it.

use kneepoint::record::journal::{FILE_NAME, Journal, JournalWriter, Record, load, parse};
use kneepoint::record::{Prompt, Trial};
use proptest::prelude::*;

/// A journal of some trials as bytes, with the end of each line.
fn written() -> &'static (Journal, Vec<u8>, Vec<usize>) {
    static WRITTEN: std::sync::OnceLock<(Journal, Vec<u8>, Vec<usize>)> = std::sync::OnceLock::new();
    WRITTEN.get_or_init(write)
}

fn write() -> (Journal, Vec<u8>, Vec<usize>) {
    let mut journal = super::journal::journal();
    journal.trials.truncate(60);
    let records = std::iter::once(Record::Header(Box::new(journal.header.clone())))
        .chain(journal.cases.iter().map(|case| Record::Case(Box::new(case.clone()))))
        .chain(journal.launches.iter().map(|launch| Record::Launch(Box::new(launch.clone()))))
        .chain(journal.trials.iter().map(|trial| Record::Trial(Box::new(trial.clone()))));
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for record in records {
        serde_json::to_writer(&mut bytes, &record).expect("a record is JSON");
        bytes.push(b'\n');
        ends.push(bytes.len());
    }
    (journal, bytes, ends)
}

#[test]
fn what_was_written_is_read_back() {
    let (journal, bytes, _) = written();
    let (read, whole) = parse(bytes).unwrap();
    assert_eq!(read, *journal);
    assert_eq!(whole, bytes.len());
}

#[test]
fn damage_before_the_last_line_is_named() {
    let (_, mut bytes, ends) = written().clone();
    bytes[ends[1] + 3] = b'!';
    assert!(parse(&bytes).unwrap_err().starts_with("line 3 is damaged"));
}

#[test]
fn an_open_journal_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let (journal, ..) = written();
    let writer = JournalWriter::create(folder.path(), &journal.header).unwrap();
    let error = JournalWriter::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("another kneepoint"), "{error}");
    drop(writer);
    JournalWriter::open(folder.path()).unwrap();
}

#[test]
fn a_later_outcome_of_the_same_trial_supersedes() {
    let (journal, mut bytes, _) = written().clone();
    let again = Trial { case: "again".into(), ..journal.trials[0].clone() };
    serde_json::to_writer(&mut bytes, &Record::Trial(Box::new(again.clone()))).unwrap();
    bytes.push(b'\n');
    let (read, _) = parse(&bytes).unwrap();
    assert_eq!(read.trials.len(), journal.trials.len());
    assert_eq!(read.trials[0], again);
}

#[test]
fn going_on_takes_the_progress_and_nothing_more() {
    let (journal, bytes, _) = written();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE_NAME), bytes).unwrap();
    let (_, found) = JournalWriter::open(folder.path()).unwrap();
    assert_eq!((found.done(), found.next_launch()), (journal.done(), journal.next_launch()));
    assert_eq!(found.header, journal.header);
    for (mine, theirs) in found.trials.iter().zip(&journal.trials) {
        assert_eq!((&mine.case, &mine.outcome), (&theirs.case, &theirs.outcome));
        assert!(mine.reply.is_none() && mine.measurements.is_empty());
    }
    let ids = |journal: &Journal| journal.cases.iter().map(|case| case.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&found), ids(journal));
    assert!(found.cases.iter().all(|case| case.prompt == Prompt::chat(Vec::new())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Cut anywhere: what is read is the whole lines before the cut, and writing goes on behind them.
    #[test]
    fn any_truncation_loses_at_most_the_torn_line(share in 0.0f64..1.0) {
        let (journal, bytes, ends) = written();
        let cut = (bytes.len() as f64 * share) as usize;
        let whole = ends.iter().copied().filter(|end| *end <= cut).max();
        match (parse(&bytes[..cut]), whole) {
            (Err(_), None) => {}
            (Ok((read, length)), Some(end)) => {
                prop_assert_eq!(length, end);
                prop_assert!(journal.trials.starts_with(&read.trials));
            }
            (result, whole) => prop_assert!(false, "{:?} with {:?}", result.is_ok(), whole),
        }
        if whole.is_some() {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join(FILE_NAME), &bytes[..cut]).unwrap();
            let (mut writer, found) = JournalWriter::open(folder.path()).unwrap();
            let next = journal.trials.iter().skip(found.trials.len()).take(3);
            for trial in next.clone() {
                writer.append(&Record::Trial(Box::new(trial.clone()))).unwrap();
            }
            drop(writer);
            let now = load(folder.path()).unwrap().trials;
            prop_assert_eq!(now.len(), found.trials.len() + next.count());
            prop_assert!(journal.trials.starts_with(&now));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse(&bytes);
    }
}
