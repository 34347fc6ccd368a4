//! `run` and `resume`.

use std::path::{Path, PathBuf};

use super::progress::Display;
use super::session::Session;
use super::setup::prepare;
use super::{dry_run, reference, runs};
use crate::cli::{Global, ResumeArgs, RunArgs};
use crate::error::{Context, Error, Result};
use crate::measure::model::{Silent, Store};
use crate::measure::runner;
use crate::measure::runner::Prepared;
use crate::record::filter::Filter;
use crate::record::journal::{FORMAT, Header, Journal, JournalWriter};
use crate::record::plan::Plan;
use crate::record::secrets::{self, Secrets};
use crate::record::suite::Suite;
use crate::record::{EngineInfo, FileInfo, ModelInfo, Spread, journal, plan};
use crate::tree;
use crate::{files, suite, task};

pub(super) fn run(args: &RunArgs, global: &Global) -> Result<u8> {
    let suite = suite::load(&args.suite, &args.overrides())?;
    let filter = Filter::parse(&args.filters)?;
    let planned = plan::plan(&suite, &filter)?;
    if args.dry_run {
        return dry_run::dry_run(&suite, &planned, args, global);
    }
    let asked = Asked { file: &args.suite, sets: &args.overrides(), filters: &args.filters, json: args.json };
    let start = asked.start(suite, None)?;
    let display = Display::new(global);
    let (session, prepared) = start.begin(&display, global)?;
    // A running server gave its setting another name.
    let plan = if prepared.attached.is_some() { plan::plan(&session.suite, &filter)? } else { planned };
    session.go_on(&plan, &prepared, display, global)
}

/// What a user asks of a new run.
pub(super) struct Asked<'a> {
    /// The suite's file.
    pub(super) file: &'a Path,
    /// What is changed of it.
    pub(super) sets: &'a [String],
    pub(super) filters: &'a [String],
    pub(super) json: bool,
}

impl Asked<'_> {
    /// What the run starts from.
    ///
    /// # Errors
    /// When the suite's file cannot be read again.
    pub(super) fn start(&self, suite: Suite, spread: Option<Spread>) -> Result<Start> {
        let text = std::fs::read_to_string(self.file).context(|| "cannot copy the suite".into())?;
        let sets = self.sets.iter();
        let values = sets.map(|set| set.split_once('=').map_or(String::new(), value_as_toml)).collect();
        Ok(Start {
            suite,
            text,
            values,
            repeat: self.words(),
            filters: self.filters.to_vec(),
            choice_notes: None,
            spread,
            json: self.json,
        })
    }

    fn words(&self) -> Vec<String> {
        let mut words = vec!["kneepoint".to_owned(), "run".to_owned(), self.file.display().to_string()];
        words.extend(self.sets.iter().flat_map(|set| ["--set".to_owned(), set.clone()]));
        words.extend(self.filters.iter().flat_map(|filter| ["--filter".to_owned(), filter.clone()]));
        words
    }
}

/// What a new run starts from.
pub(super) struct Start {
    pub(super) suite: Suite,
    /// The suite as it was written.
    pub(super) text: String,
    /// Values that were set beside it, as TOML.
    pub(super) values: Vec<String>,
    /// The words of the command that repeats it.
    pub(super) repeat: Vec<String>,
    pub(super) filters: Vec<String>,
    /// What `choose` has to say of its candidates and questions.
    pub(super) choice_notes: Option<Vec<String>>,
    /// Who measures, where several workers do.
    pub(super) spread: Option<Spread>,
    pub(super) json: bool,
}

/// A run whose engine and files are here, and whose folder is not there yet.
struct Ready {
    suite: Suite,
    secrets: Secrets,
    header: Header,
    /// The suite as the journal holds it.
    written: Suite,
    /// The suite as it was written.
    text: String,
    /// What it takes from a pack.
    taken: Option<Journal>,
    prepared: Prepared,
}

impl Start {
    /// Fetches what is needed and begins the run's folder and journal.
    ///
    /// # Errors
    /// When something that the suite needs cannot be had, or the folder cannot be written.
    pub(super) fn begin(self, display: &Display, global: &Global) -> Result<(Session, Prepared)> {
        let json = self.json;
        let new = runs::prepare(&global.runs_dir, &self.suite)?;
        let Ready { suite, secrets, header, written, text, taken, prepared } =
            self.ready(display, new.name())?;
        write_suites(&text, &written, &secrets, new.hidden())?;
        let (folder, writer) = new.begin(&header, taken.as_ref())?;
        let journal = match taken {
            Some(taken) => Journal { header, ..taken },
            None => Journal::new(header),
        };
        let session = Session { folder, suite, secrets, journal, writer, retry_failed: false, json };
        Ok((session, prepared))
    }

    /// Begins the run under a name that several starters share: one of them makes the folder, the others find it. `own` is
    /// what no other starter is called.
    ///
    /// # Errors
    /// As [`Start::begin`], and when the run that is there is another one.
    pub(super) fn begin_once(
        self,
        display: &Display,
        runs_dir: &Path,
        name: &str,
        own: &str,
    ) -> Result<PathBuf> {
        let Ready { secrets, header, written, text, .. } = self.ready(display, name.to_owned())?;
        let (folder, made) = (runs_dir.join(name), runs_dir.join(".begin").join(format!("{name}-{own}")));
        let cannot = |folder: &Path| format!("cannot create {}", folder.display());
        if made.exists() {
            std::fs::remove_dir_all(&made).context(|| cannot(&made))?;
        }
        std::fs::create_dir_all(&made).context(|| cannot(&made))?;
        write_suites(&text, &written, &secrets, &made)?;
        JournalWriter::create(&made, &header)?;
        // Where the folder is there already it is not empty: it is never replaced.
        let begun = std::fs::rename(&made, &folder);
        if begun.is_err() {
            std::fs::remove_dir_all(&made).context(|| format!("cannot remove {}", made.display()))?;
        }
        if !journal::is_in(&folder) {
            begun.context(|| cannot(&folder))?;
        }
        let there = journal::own(&folder)?.header;
        match journal::difference(&header, &there) {
            Some(difference) => {
                Err(Error::usage(format!("{} is another run: {difference}", folder.display()))
                    .hint("choose another name for the run"))
            }
            None => Ok(folder),
        }
    }

    /// Fetches what is needed, and says what the run is.
    fn ready(self, display: &Display, name: String) -> Result<Ready> {
        let Self { mut suite, text, values, repeat, filters, choice_notes, spread, json: _ } = self;
        let taken = reference::taken(&mut suite, &filters)?;
        let prepared = prepare(&suite, display)?;
        name_what_runs(&mut suite, &prepared);
        reference::same_tokenizer(&suite, &prepared)?;
        for warning in runner::foreseen(&suite, &Store::open(&Silent)?, prepared.version()) {
            tracing::warn!("{}", warning.text);
        }
        let secrets = Secrets::of(&suite).and_in_toml(values.into_iter().chain([text.clone()]));
        let written = secrets.masked_suite(&suite)?;
        if secrets::is_masked(&written) {
            tracing::warn!(
                "the suite's server arguments hold a key: it is not written down, so this run cannot be resumed; give \
                 servers their keys by environment variables, such as HF_TOKEN or LLAMA_API_KEY"
            );
        }
        let repeat = repeat_command(&repeat, &secrets);
        let header = header_of((repeat, filters), &written, &secrets, &prepared, name)?;
        let header = Header { choice_notes: secrets.masked(&choice_notes)?, spread, ..header };
        Ok(Ready { suite, secrets, header, written, text, taken, prepared })
    }
}

/// The setting of a server that runs already is called what it runs, not what the suite left open.
fn name_what_runs(suite: &mut Suite, prepared: &Prepared) {
    let Some(attached) = &prepared.attached else { return };
    let several = suite.models.len() > 1;
    for setting in &mut suite.settings {
        attached.name_what_runs(setting);
        setting.label = setting.label_of(several);
    }
}

/// The suite beside the journal, as resolved and as the user wrote it.
fn write_suites(own: &str, written: &Suite, secrets: &Secrets, folder: &Path) -> Result<()> {
    let resolved = tree::pretty(written).context(|| "cannot write the suite".into())?;
    files::write(&folder.join("suite.json"), (resolved + "\n").as_bytes())?;
    files::write(&folder.join("suite.toml"), secrets.text(own).as_bytes())
}

/// The value of an override as a text of TOML.
fn value_as_toml((_, value): (&str, &str)) -> String {
    format!("value = {value}")
}

pub(super) fn resume(args: &ResumeArgs, global: &Global) -> Result<u8> {
    let Resumed { session, plan, prepared, display } = reopen(args, global)?;
    session.go_on(&plan, &prepared, display, global)
}

/// A run that goes on.
pub(super) struct Resumed {
    pub(super) session: Session,
    pub(super) plan: Plan,
    pub(super) prepared: Prepared,
    pub(super) display: Display,
}

/// Opens a run to go on with it.
///
/// # Errors
/// When it cannot be resumed, with the reason.
pub(super) fn reopen(args: &ResumeArgs, global: &Global) -> Result<Resumed> {
    let folder = runs::find(&global.runs_dir, &args.run)?;
    let (writer, mut journal) = JournalWriter::open(&folder)?;
    reference::is_all_there(&journal)?;
    if journal.header.suite.pack.is_some() {
        // The cases are made nowhere else.
        journal.cases = journal::load(&folder)?.cases;
    }
    let (suite, secrets) = suite_of(&journal)?;
    let plan = plan::plan(&suite, &Filter::parse(&journal.header.filters)?)?;
    let display = Display::new(global);
    let prepared = prepare(&suite, &display)?;
    check_same(&journal.header, &prepared, &secrets)?;
    reference::same_tokenizer(&suite, &prepared)?;
    let retry_failed = args.retry_failed;
    let session = Session { folder, suite, secrets, journal, writer, retry_failed, json: args.json };
    Ok(Resumed { session, plan, prepared, display })
}

/// The suite of a run that goes on.
///
/// # Errors
/// When it cannot go on, with the reason.
pub(super) fn suite_of(journal: &Journal) -> Result<(Suite, Secrets)> {
    let header = &journal.header;
    if secrets::is_masked(&header.suite) {
        return Err(Error::usage(
            "this run cannot be resumed: its servers were given a key, which was not written down",
        )
        .hint("start a new run with `kneepoint run`")
        .hint("give servers their keys by environment variables, such as HF_TOKEN or LLAMA_API_KEY"));
    }
    unchanged(journal)?;
    let suite = secrets::with_home(&header.suite)?;
    let secrets = Secrets::of(&suite);
    Ok((suite, secrets))
}

/// A run goes on only by the header that it was started with.
fn unchanged(journal: &Journal) -> Result<()> {
    let doubt =
        journal.doubts.first().map(|doubt| Error::usage(format!("this run cannot be resumed: {doubt}")));
    let hint = "bring the old header back, or start a new run with `kneepoint run`";
    doubt.map_or(Ok(()), |error| Err(error.hint(hint)))
}

/// Trials of two sessions belong together only when everything that they depend on is the same.
pub(super) fn check_same(header: &Header, prepared: &Prepared, secrets: &Secrets) -> Result<()> {
    let today = as_kept(header, prepared, secrets)?;
    let now = journal::fingerprint(
        &header.suite,
        &header.filters,
        task::version_of,
        &today.engines,
        &today.models,
        &today.files,
    );
    if now == header.fingerprint {
        return Ok(());
    }
    let mut error = Error::usage(format!(
        "this run cannot be resumed: its fingerprint is {}, that of today's set-up is {now}",
        header.fingerprint
    ));
    let short = |sha256: &str| sha256.get(..16).unwrap_or(sha256).to_owned();
    let swapped = |what: String, before: &str, now: &str| {
        format!("{what} is another one now (SHA-256 {}, was {})", short(now), short(before))
    };
    for (before, today) in header.engines.iter().zip(&today.engines) {
        if before.version != today.version {
            error = error.hint(format!("the engine was `{}` and is `{}`", before.version, today.version));
        } else if let (Some(old), Some(new)) = (&before.sha256, &today.sha256)
            && old != new
        {
            error = error.hint(swapped(format!("the server of {}", before.name), old, new));
        }
    }
    for (before, today) in header.models.iter().zip(&today.models) {
        if before.sha256 != today.sha256 {
            let what = format!("the file of {} {}", before.name, before.weights);
            error = error.hint(swapped(what, &before.sha256, &today.sha256));
        }
    }
    for (before, today) in header.files.iter().zip(&today.files) {
        if before != today {
            error = error.hint(swapped(format!("the file {}", before.name), &before.sha256, &today.sha256));
        }
    }
    if header.tool_version != env!("CARGO_PKG_VERSION") {
        error = error.hint(format!("it was made by kneepoint {}", header.tool_version));
    }
    Err(error.hint("start a new run with `kneepoint run`"))
}

/// What a fingerprint is made of, beside the suite.
struct SetUp {
    engines: Vec<EngineInfo>,
    models: Vec<ModelInfo>,
    files: Vec<FileInfo>,
}

/// Today's set-up, as far as the run kept its own: older runs did not hash the server, nor other files.
fn as_kept(header: &Header, prepared: &Prepared, secrets: &Secrets) -> Result<SetUp> {
    let mut engine = prepared.engine_info.clone();
    let kept = header.engines.iter().any(|engine| engine.sha256.is_some());
    if !kept {
        engine.sha256 = None;
    }
    let files = if kept { secrets.masked(&prepared.file_infos)? } else { Vec::new() };
    let engines = secrets.masked(&vec![engine])?;
    Ok(SetUp { engines, models: secrets.masked(&prepared.model_infos)?, files })
}

/// The first line of the journal; `asked` are the command that repeats the run, and its filters.
fn header_of(
    asked: (String, Vec<String>),
    suite: &Suite,
    secrets: &Secrets,
    prepared: &Prepared,
    run: String,
) -> Result<Header> {
    let (repeat, filters) = asked;
    let engines = secrets.masked(&vec![prepared.engine_info.clone()])?;
    let models = secrets.masked(&prepared.model_infos)?;
    let files = secrets.masked(&prepared.file_infos)?;
    Ok(Header {
        format: FORMAT,
        run,
        started: crate::clock::now(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_hash: option_env!("KNEEPOINT_GIT_HASH").map(str::to_owned),
        fingerprint: journal::fingerprint(suite, &filters, task::version_of, &engines, &models, &files),
        suite: suite.clone(),
        repeat,
        machine: crate::measure::probe::machine::measured(prepared.files.is_some()),
        engines,
        models,
        files,
        filters,
        environment: prepared.files.is_some().then(crate::record::environment::telling_variables),
        choice_notes: None,
        spread: None,
        worker: None,
    })
}

fn repeat_command(words: &[String], secrets: &Secrets) -> String {
    words.iter().map(|word| crate::record::shell_word(&secrets.text(word))).collect::<Vec<_>>().join(" ")
}
