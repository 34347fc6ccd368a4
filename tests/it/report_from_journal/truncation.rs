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
    let ids = |journal: &Journal| journal.cases.iter().map(|case| case.id).collect::<Vec<_>>();
    assert_eq!(ids(&found), ids(journal));
    assert!(found.cases.iter().all(|case| case.prompt == Prompt::chat(Vec::new())));
}

/// Cuts a journal there: what is read is the whole lines before the cut, and writing goes on behind them, as a resumed
/// run does: the cases that were lost first, since a trial without its case is damage.
fn cut_at(cut: usize) {
    let (journal, bytes, ends) = written();
    let whole = ends.iter().copied().filter(|end| *end <= cut).max();
    match (parse(&bytes[..cut]), whole) {
        (Err(_), None) => return,
        (Ok((read, length)), Some(end)) => {
            assert_eq!(length, end, "cut at {cut}");
            assert!(journal.cases.starts_with(&read.cases), "cut at {cut}");
            assert!(journal.trials.starts_with(&read.trials), "cut at {cut}");
        }
        (result, whole) => panic!("{:?} with {whole:?}, cut at {cut}", result.is_ok()),
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE_NAME), &bytes[..cut]).unwrap();
    let (mut writer, found) = JournalWriter::open(folder.path()).unwrap();
    let cases = journal.cases.iter().skip(found.cases.len()).map(|case| Record::Case(Box::new(case.clone())));
    let next = journal.trials.iter().skip(found.trials.len()).take(3);
    for record in cases.chain(next.clone().map(|trial| Record::Trial(Box::new(trial.clone())))) {
        writer.append(&record).unwrap();
    }
    drop(writer);
    let now = load(folder.path()).unwrap();
    assert_eq!(now.cases, journal.cases, "cut at {cut}");
    assert_eq!(now.trials.len(), found.trials.len() + next.count(), "cut at {cut}");
    assert!(journal.trials.starts_with(&now.trials), "cut at {cut}");
}

#[test]
fn a_cut_at_the_end_of_a_line_and_beside_it_loses_at_most_that_line() {
    // The first lines are of every kind; behind them each is like the others.
    let ends = &written().2;
    for end in ends.iter().take(5).chain(ends.iter().skip(5).step_by(13)).chain(ends.last()) {
        for cut in [end - 1, *end, (end + 1).min(written().1.len())] {
            cut_at(cut);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_truncation_loses_at_most_the_torn_line(share in 0.0f64..1.0) {
        cut_at((written().1.len() as f64 * share) as usize);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse(&bytes);
    }
}
