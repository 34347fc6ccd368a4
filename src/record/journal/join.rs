//! Joining the journals of the workers of a run: what a run folder holds, whoever measured it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::RandomState;

use super::belongs::difference;
use super::folder::{self, FILE_NAME};
use super::index::Index;
use super::launch::LaunchRecord;
use super::read::{Keep, Shared, load_one, load_part};
use super::shelf::{Shelf, Shelved};
use super::whole::{Journal, Part};
use crate::clock::Tick;
use crate::error::{Error, Result};
use crate::record::{Arm, KeyParts, Name, Outcome, Trial, TrialKey};

/// Numbers of replicates from here on are those of repeated trials.
const REPEATED: u32 = 2;

/// Reads the journal of a run folder, or the packed one of a published report, with those of its workers. Torn last lines
/// (a crash while writing) are left out.
///
/// # Errors
/// When a file cannot be read, does not start with a header of this format whose numbers can be, or lines are damaged
/// (counted, the first of them named): no JSON, a wrong checksum, a trial that is not of the plan or of no known case; and
/// when a worker's journal is of another run.
pub fn load(folder: &Path) -> Result<Journal> {
    joined(folder, Keep::All)
}

/// As [`load`], without replies, measurements and prompts: what it takes to see how far a run is.
///
/// # Errors
/// As [`load`].
pub fn progress(folder: &Path) -> Result<Journal> {
    joined(folder, Keep::Progress)
}

/// The journal file of a folder alone, without replies, measurements and prompts, and without what workers wrote beside it.
///
/// # Errors
/// As [`load`].
pub fn own(folder: &Path) -> Result<Journal> {
    load_one(folder, Keep::Progress)
}

fn joined(folder: &Path, keep: Keep) -> Result<Journal> {
    let own = load_one(folder, keep)?;
    let parts = folder::parts(folder);
    if parts.is_empty() {
        return Ok(own);
    }
    let mut joined = Joined::of(own);
    let shelf = Shelf::default();
    in_turn(
        &parts,
        |part| load_part(part, keep, &shelf),
        |part, read| {
            let name = part.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            joined.add(name, read?).map_err(|why| stray(part, &why))
        },
    )?;
    Ok(joined.finish())
}

/// Reads folders over the machine's threads, and hands them on in their order while others are read.
fn in_turn(
    parts: &[PathBuf],
    read: impl Fn(&Path) -> Result<Shared> + Sync,
    mut take: impl FnMut(&Path, Result<Shared>) -> Result<()>,
) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(parts.len());
    let next = AtomicUsize::new(0);
    let (done, came) = std::sync::mpsc::sync_channel(threads);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (done, next, read) = (done.clone(), &next, &read);
            scope.spawn(move || {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(part) = parts.get(at) else { return };
                    // Whoever takes them ends at the first that is none: then nobody wants this one.
                    if done.send((at, read(part))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let mut early = BTreeMap::new();
        let mut turn = 0;
        for (at, journal) in came {
            early.insert(at, journal);
            while let Some(journal) = early.remove(&turn) {
                take(&parts[turn], journal)?;
                turn += 1;
            }
        }
        Ok(())
    })
}

fn stray(part: &Path, why: &str) -> Error {
    Error::runtime(format!("{} does not belong to its run: {why}", part.join(FILE_NAME).display()))
        .hint("move its folder elsewhere: `kneepoint report` reads it by itself")
        .hint("then `kneepoint resume` measures what is missing")
}

/// The place of a case in the plan.
type Place = (u32, Name, Option<Arm>, u32);

/// A journal that others are joined to.
struct Joined {
    journal: Journal,
    /// Where the trial of a key stands.
    trials: Index,
    /// The part that each trial is from.
    parts: Vec<u32>,
    /// How often a key has been repeated.
    repeats: HashMap<TrialKey, u32>,
    cases: HashSet<Name, RandomState>,
    /// The reference's cases, and the part that had each first.
    reference: HashMap<Place, (Name, usize), RandomState>,
    next_launch: u32,
    next_session: u32,
}

impl Joined {
    /// Begins with the run's own journal, whose trials, if it has any, are a part as well.
    fn of(own: Journal) -> Self {
        let mut joined = Self {
            journal: Journal::new(own.header.clone()),
            trials: Index::default(),
            parts: Vec::new(),
            repeats: HashMap::new(),
            cases: HashSet::default(),
            reference: HashMap::default(),
            next_launch: 0,
            next_session: 0,
        };
        joined.journal.doubts.clone_from(&own.doubts);
        if !own.trials.is_empty() || !own.launches.is_empty() || !own.load.is_empty() {
            joined.take("run".to_owned(), own, &[]);
        }
        joined
    }

    /// Adds a journal of the run.
    ///
    /// # Errors
    /// Why it is none, in words.
    fn add(&mut self, name: String, read: Shared) -> Result<(), String> {
        let Shared { journal: other, cases, .. } = read;
        if let Some(difference) = difference(&self.journal.header, &other.header) {
            return Err(difference);
        }
        self.same_cases(&other)?;
        self.take(name, other, &cases);
        Ok(())
    }

    /// Whether the reference was asked the same as in the parts before.
    fn same_cases(&mut self, other: &Journal) -> Result<(), String> {
        let (reference, part) =
            (self.journal.header.suite.reference().label.clone(), self.journal.parts.len());
        for trial in
            other.trials.iter().filter(|trial| trial.key.setting == reference && !trial.case.is_empty())
        {
            let KeyParts { context, task, arm, index, .. } = trial.key.parts();
            let place = (context, task, arm, index);
            let (case, first) = self.reference.entry(place).or_insert_with(|| (trial.case, part));
            if *case != trial.case {
                let before = self.journal.parts.get(*first).map_or("this journal", |part| part.name.as_str());
                return Err(format!(
                    "case {index} of {task} at {context} tokens is {} here and {case} in {before}: the tokenizer or \
                     kneepoint is another one",
                    trial.case
                ));
            }
        }
        Ok(())
    }

    fn take(&mut self, name: String, other: Journal, shelved: &[Arc<Shelved>]) {
        let Journal { header, cases, launches, trials, decisions, held, load, doubts, .. } = other;
        let first = self.next_launch;
        let mut numbers = Numbers { first, launches: HashMap::new(), session: self.next_session, last: None };
        let logs = if name == "run" { String::new() } else { format!("{}/{name}/", folder::PARTS) };
        let journal = &mut self.journal;
        journal.cases.extend(cases.into_iter().filter(|case| self.cases.insert(case.id)));
        let first_seen = shelved.iter().filter(|case| self.cases.insert(case.id));
        journal.cases.extend(first_seen.filter_map(|case| case.take()));
        journal.launches.extend(launches.into_iter().map(|launch| numbers.launch(launch, &logs)));
        let known = |a: &crate::record::Decision, all: &[crate::record::Decision]| all.contains(a);
        for decision in decisions {
            if !known(&decision, &journal.decisions) {
                journal.decisions.push(decision);
            }
        }
        for schema in held.schemas {
            if !journal.held.schemas.contains(&schema) {
                journal.held.schemas.push(schema);
            }
        }
        for case in held.cases {
            if !journal.held.cases.contains(&case) {
                journal.held.cases.push(case);
            }
        }
        for mut server in load.servers {
            server.launch = numbers.launch(server.launch, &logs);
            journal.load.servers.push(server);
        }
        for mut step in load.steps {
            step.launch = numbers.number(step.launch);
            journal.load.add_step(step);
        }
        for mut asked in load.trials {
            asked.trial = numbers.trial(asked.trial);
            let same = |known: &crate::record::journal::loadtest::LoadtestTrial| {
                (known.streams, &known.trial.key) == (asked.streams, &asked.trial.key)
            };
            if !journal.load.trials.iter().any(same) {
                journal.load.trials.push(asked);
            }
        }
        journal
            .doubts
            .extend(doubts.into_iter().filter(|doubt| !journal.doubts.contains(doubt)).collect::<Vec<_>>());
        let (part, count) = (journal.parts.len() as u32, trials.len() as u32);
        for trial in trials {
            let trial = numbers.trial(trial);
            self.trial(trial, part);
        }
        self.next_launch = numbers.next();
        self.next_session = numbers.last.map_or(self.next_session, |last| last + 1);
        let (place, cards) = match header.worker {
            Some(worker) => (worker.place, worker.cards),
            None => (header.run.clone(), Vec::new()),
        };
        self.journal.parts.push(Part {
            name,
            place,
            cards,
            machine: header.machine,
            launches: first..self.next_launch,
            trials: count,
        });
    }

    /// A trial that another part has, too, is a repeated one; what did not break stands for the key.
    fn trial(&mut self, trial: Trial, part: u32) {
        let Some(at) = self.trials.find_or_add(&self.journal.trials, &trial.key) else {
            self.journal.trials.push(trial);
            self.parts.push(part);
            return;
        };
        let before = self.parts[at];
        let broke = |trial: &Trial| matches!(trial.outcome, Outcome::Failed { .. });
        let known = &mut self.journal.trials[at];
        let mut second = trial;
        if broke(known) && !broke(&second) {
            std::mem::swap(known, &mut second);
            self.parts[at] = part;
        }
        // What broke and went well elsewhere shows nothing.
        if before == part || broke(&second) {
            return;
        }
        let times = self.repeats.entry(second.key).or_default();
        second.key.change(|key| key.replicate += REPEATED + 2 * *times);
        *times += 1;
        self.journal.repeated.push(second);
    }

    /// The run is told of the machine that measured most of it.
    fn finish(mut self) -> Journal {
        let most = self.journal.parts.iter().rev().max_by_key(|part| part.trials);
        if let Some(part) = most.filter(|part| part.trials > 0) {
            self.journal.header.machine = part.machine.clone();
        }
        self.journal
    }
}

/// The numbers of a part's launches and sessions in the joined journal.
struct Numbers {
    first: u32,
    launches: HashMap<u32, u32>,
    session: u32,
    last: Option<u32>,
}

impl Numbers {
    fn number(&mut self, launch: u32) -> u32 {
        let next = self.next();
        *self.launches.entry(launch).or_insert(next)
    }

    fn next(&self) -> u32 {
        self.first.saturating_add(self.launches.len() as u32)
    }

    fn tick(&mut self, tick: Option<Tick>) -> Option<Tick> {
        let session = self.session.saturating_add(tick?.session());
        self.last = self.last.max(Some(session));
        tick.map(|tick| Tick::new(session, tick.at_s))
    }

    fn launch(&mut self, mut launch: LaunchRecord, logs: &str) -> LaunchRecord {
        launch.id = self.number(launch.id);
        launch.tick = self.tick(launch.tick);
        if !launch.log.is_empty() {
            launch.log.insert_str(0, logs);
        }
        launch
    }

    fn trial(&mut self, mut trial: Trial) -> Trial {
        trial.launch = self.number(trial.launch);
        trial.tick = self.tick(trial.tick);
        trial
    }
}

#[cfg(test)]
mod tests {
    use super::super::header::Header;
    use super::super::records::Record;
    use super::super::write::JournalWriter;
    use super::*;
    use crate::judge::analysis::testing;
    use crate::record::{Case, Effective, Machine, Prompt, Score, Spread, SpreadOn, Worker};

    const SUITE: &str = "name = \"t\"\ncontexts = [512]\nrounds = 2\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\n\
                         weights = \"Q8_0\"\n[reference]\n[[setting]]\nkv = \"q8_0\"\n[[task]]\n\
                         name = \"retrieval/niah_single_1\"\nsamples = 2\n";

    fn header() -> Header {
        let suite = crate::suite::parse(SUITE, Path::new("t.toml"), &[]).unwrap();
        let spread = Spread { workers: 2, on: SpreadOn::Cards(vec![vec![0], vec![1]]) };
        Header { spread: Some(spread), ..testing::header(suite) }
    }

    fn trial(setting: usize, index: u32, replicate: u32, outcome: Outcome) -> Trial {
        let setting = header().suite.settings[setting].label.as_str().into();
        let task = "retrieval/niah_single_1".into();
        let key = KeyParts {
            setting,
            context: 512,
            round: index % 2,
            replicate,
            task,
            arm: None,
            index,
            repeat: 0,
        }
        .key();
        let tick = Some(Tick::new(0, 1.0));
        Trial {
            key,
            case: format!("c{index}").into(),
            launch: 7,
            started: "".into(),
            tick,
            reply: None,
            measurements: Vec::new().into(),
            outcome,
        }
    }

    fn right() -> Outcome {
        Outcome::Scored(Score::of(1.0))
    }

    fn broke() -> Outcome {
        Outcome::Failed { stage: crate::record::Stage::Server, error: "gone".into() }
    }

    fn case(index: u32) -> Case {
        let task = "retrieval/niah_single_1";
        Case::new(task, 1, index, Prompt::chat(Vec::new()), serde_json::Value::Null).in_context(512)
    }

    fn launch() -> LaunchRecord {
        LaunchRecord {
            id: 7,
            setting: header().suite.settings[0].label.clone(),
            context: 512,
            served_at: None,
            round: 0,
            replicate: 0,
            started: String::new(),
            tick: None,
            argv: crate::record::Argv::default(),
            load_s: None,
            effective: Effective::default(),
            deviations: Vec::new(),
            failure: None,
            log: "engine/007.log".into(),
            attached: None,
            pack: None,
        }
    }

    /// A run folder with the journals of these workers.
    fn run(parts: &[(&str, Vec<Trial>)]) -> (tempfile::TempDir, PathBuf) {
        run_of(header(), parts)
    }

    fn run_of(header: Header, parts: &[(&str, Vec<Trial>)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("run");
        std::fs::create_dir_all(&folder).unwrap();
        JournalWriter::create(&folder, &header).unwrap();
        for (index, (name, trials)) in (0..).zip(parts) {
            let part = folder.join(folder::PARTS).join(name);
            std::fs::create_dir_all(&part).unwrap();
            let worker = Worker { index, place: (*name).to_owned(), cards: vec![index] };
            let machine = Machine { cpu: (*name).to_owned(), ..Machine::default() };
            let mut writer =
                JournalWriter::create(&part, &Header { worker: Some(worker), machine, ..header.clone() })
                    .unwrap();
            writer.append(&Record::Launch(Box::new(launch()))).unwrap();
            for trial in trials {
                let case = Case { id: trial.case, ..case(trial.key.index) };
                writer.append(&Record::Case(Box::new(case))).unwrap();
                writer.append(&Record::Trial(Box::new(trial.clone()))).unwrap();
            }
        }
        (dir, folder)
    }

    #[test]
    fn parts_are_joined_with_numbers_of_their_own() {
        let (_dir, folder) = run(&[
            ("0000@a", vec![trial(0, 0, 0, right()), trial(1, 0, 0, right())]),
            ("0001@b", vec![trial(0, 1, 0, right()), trial(0, 0, 1, right())]),
        ]);
        let journal = load(&folder).unwrap();
        assert_eq!((journal.trials.len(), journal.repeated.len(), journal.cases.len()), (4, 0, 2));
        assert_eq!(journal.trials.iter().map(|trial| trial.launch).collect::<Vec<_>>(), [0, 0, 1, 1]);
        assert_eq!(journal.launches.iter().map(|launch| launch.id).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(journal.launches[1].log, "parts/0001@b/engine/007.log");
        assert_eq!(journal.trials[2].tick.unwrap().session(), 1, "sessions of two machines are two");
        assert_eq!(journal.part_of(1), Some(1));
        assert_eq!((journal.part_of(2), journal.machine_of(0).cpu.as_str()), (None, "0000@a"));
        assert_eq!(journal.parts[1].cards, [1]);
    }

    #[test]
    fn what_several_measured_counts_once_and_the_rest_is_kept() {
        let (_dir, folder) = run(&[
            ("0000@a", vec![trial(0, 0, 0, broke()), trial(0, 1, 0, right())]),
            ("0001@b", vec![trial(0, 0, 0, right()), trial(0, 1, 0, right())]),
        ]);
        let journal = load(&folder).unwrap();
        assert_eq!(journal.trials.len(), 2);
        assert_eq!((journal.trials[0].outcome.clone(), journal.trials[0].launch), (right(), 1));
        assert_eq!(journal.repeated.len(), 1, "what broke elsewhere is no repetition");
        assert_eq!((journal.repeated[0].key.index, journal.repeated[0].key.replicate), (1, 2));
    }

    #[test]
    fn several_replies_to_a_case_are_neither_lost_nor_taken_for_one() {
        let suite = SUITE.replace("rounds = 2", "rounds = 2\nrepeats = 2\nsampling = { temperature = 0.5 }");
        let suite = crate::suite::parse(&suite, Path::new("t.toml"), &[]).unwrap();
        let again = |trial: Trial| Trial { key: KeyParts { repeat: 1, ..trial.key.parts() }.key(), ..trial };
        let first = trial(0, 0, 0, right());
        let parts = [
            ("0000@a", vec![first.clone(), again(first.clone())]),
            ("0001@b", vec![trial(0, 1, 0, right()), again(first.clone())]),
        ];
        let (_dir, folder) = run_of(Header { suite, ..header() }, &parts);
        let journal = load(&folder).unwrap();
        let seen: Vec<_> = journal.trials.iter().map(|trial| (trial.key.index, trial.key.repeat)).collect();
        assert_eq!(seen, [(0, 0), (0, 1), (1, 0)]);
        let repeated: Vec<_> =
            journal.repeated.iter().map(|trial| (trial.key.repeat, trial.key.replicate)).collect();
        assert_eq!(repeated, [(1, 2)], "what two workers asked");
    }

    #[test]
    fn a_torn_end_and_a_worker_without_a_header_are_no_damage() {
        let (_dir, folder) = run(&[("0000@a", vec![trial(0, 0, 0, right())])]);
        let journal = folder.join("parts/0000@a").join(FILE_NAME);
        let text = std::fs::read_to_string(&journal).unwrap();
        std::fs::write(&journal, text + "{\"trial\":{\"key\"").unwrap();
        let begun = folder.join("parts/0001@b");
        std::fs::create_dir_all(&begun).unwrap();
        std::fs::write(begun.join(FILE_NAME), "{\"header\":").unwrap();
        assert_eq!(load(&folder).unwrap().trials.len(), 1);
    }

    #[test]
    fn a_part_of_another_run_is_named() {
        let (_dir, folder) = run(&[("0000@a", Vec::new())]);
        let part = folder.join("parts/0001@b");
        std::fs::create_dir_all(&part).unwrap();
        let suite =
            crate::suite::parse(&SUITE.replace("samples = 2", "samples = 3"), Path::new("t.toml"), &[]);
        JournalWriter::create(&part, &testing::header(suite.unwrap())).unwrap();
        let error = load(&folder).unwrap_err();
        assert!(
            error.to_string().contains("0001@b") && error.to_string().contains("its `tasks` differs"),
            "{error}"
        );

        let (_dir, folder) = run(&[
            ("0000@a", vec![trial(0, 0, 0, right())]),
            ("0001@b", vec![Trial { case: "c1".into(), ..trial(0, 0, 1, right()) }]),
        ]);
        let error = load(&folder).unwrap_err();
        assert!(
            error.to_string().contains("0001@b") && error.to_string().contains("c1 here and c0"),
            "{error}"
        );
    }
}
