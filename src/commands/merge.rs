//! `merge`: joins runs of one plan, or of a suite that was split by `--filter`. Journals are copied as they are, each into a
//! folder of its own, and read as one from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::{print, print_json};
use super::runs;
use crate::cli::{Global, MergeArgs};
use crate::error::{Context, Error, Result};
use crate::files;
use crate::judge::report::plain;
use crate::record::filter::Filter;
use crate::record::journal::{FILE_NAME, Header, Journal, JournalWriter, PACKED_NAME, PARTS};
use crate::record::{Spread, SpreadOn, journal, plan};
use crate::task;

/// Version of the JSON form.
const SCHEMA_VERSION: u32 = 1;

/// A journal that is joined: where it lies, and what it is called then.
struct Source {
    folder: PathBuf,
    /// The run that it is of, as the user named it.
    run: PathBuf,
    name: String,
    header: Header,
}

/// What `merge --json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Merged {
    /// Version of this form.
    pub schema_version: u32,
    /// The folder that was made.
    pub folder: PathBuf,
    /// Planned trials.
    pub planned: usize,
    /// Of them, trials with an outcome.
    pub done: usize,
    /// Trials that several runs had measured: one of each counts, all are kept.
    pub repeated: usize,
    /// Who measured what.
    pub parts: Vec<MergedPart>,
}

/// A journal that was joined.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct MergedPart {
    /// Folder below `parts`.
    pub name: String,
    /// Machine, as its cluster calls it, or the run.
    pub place: String,
    /// What decides how fast that is.
    pub kind: String,
    /// Trials.
    pub trials: u32,
}

pub(super) fn merge(args: &MergeArgs, global: &Global) -> Result<u8> {
    let sources = sources(args, global)?;
    alike(&sources)?;
    let header = header(args, &sources)?;
    let made = write(&args.out, &header, &sources)?;
    let merged = match checked(&made, &header) {
        Ok(merged) => merged,
        Err(error) => {
            // What cannot be read as one is no run.
            let _ = std::fs::remove_dir_all(&made);
            return Err(error);
        }
    };
    std::fs::rename(&made, &args.out).context(|| format!("cannot create {}", args.out.display()))?;
    let merged = Merged { folder: args.out.clone(), ..merged };
    if args.json { print_json(&merged) } else { print(&merged.text()) }
}

/// The journals of the runs, those of their workers each by itself.
fn sources(args: &MergeArgs, global: &Global) -> Result<Vec<Source>> {
    if args.out.exists() {
        return Err(Error::usage(format!("{} exists already", args.out.display()))
            .hint("merge makes a new folder: name another one with --out"));
    }
    let (mut sources, mut seen) = (Vec::<Source>::new(), BTreeSet::new());
    for named in &args.runs {
        let run = runs::find(&global.runs_dir, named)?;
        let real = std::fs::canonicalize(&run).context(|| format!("cannot read {}", run.display()))?;
        if !seen.insert(real) {
            return Err(Error::usage(format!("{} is named twice", run.display())));
        }
        if journal::is_locked(&run) {
            return Err(Error::usage(format!("{} is being written to", run.display()))
                .hint("wait until it has ended, or stop it"));
        }
        for folder in std::iter::once(run.clone()).chain(journal::parts(&run)) {
            let own = journal::own(&folder)?;
            refuse(&run, &own)?;
            let is_empty = own.trials.is_empty() && own.launches.is_empty() && own.load.is_empty();
            if folder == run && own.header.spread.is_some() && is_empty {
                continue;
            }
            let name = unique(&name_of(&run, &folder, &own.header), &sources);
            sources.push(Source { folder, run: run.clone(), name, header: own.header });
        }
    }
    Ok(sources)
}

/// Runs that cannot be joined, whatever to.
fn refuse(run: &Path, own: &Journal) -> Result<()> {
    if let Some(doubt) = own.doubts.first() {
        return Err(Error::usage(format!("{} cannot be merged: {doubt}", run.display()))
            .hint("bring the old header back: what nobody can vouch for is not joined to what is sound"));
    }
    if own.header.suite.pack.is_some() {
        return Err(Error::usage(format!(
            "{} cannot be merged: its reference comes from a pack",
            run.display()
        ))
        .hint("`kneepoint compare` lays two such runs side by side"));
    }
    Ok(())
}

fn name_of(run: &Path, folder: &Path, header: &Header) -> String {
    let last = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let own = last(run).filter(|name| !name.is_empty()).unwrap_or_else(|| header.run.clone());
    match folder == run {
        true => own,
        false => format!("{own}.{}", last(folder).unwrap_or_default()),
    }
}

fn unique(name: &str, known: &[Source]) -> String {
    let taken = |name: &str| known.iter().any(|source| source.name == name);
    let mut names =
        (1..).map(|number| if number == 1 { name.to_owned() } else { format!("{name}.{number}") });
    names.find(|name| !taken(name)).unwrap_or_else(|| name.to_owned())
}

/// Whether all are of one suite, engine build and set of model files. All that are not are named.
fn alike(sources: &[Source]) -> Result<()> {
    let Some((first, others)) = sources.split_first() else {
        return Err(Error::usage("the runs hold nothing to merge"));
    };
    let mut strays = others.iter().filter_map(|other| {
        let difference = journal::difference(&first.header, &other.header)?;
        Some((other, difference))
    });
    let Some((stray, difference)) = strays.next() else { return Ok(()) };
    let error = Error::usage(format!(
        "{} does not belong to {}: {difference}",
        stray.folder.display(),
        first.folder.display()
    ));
    let error = strays.fold(error, |error, (stray, difference)| {
        error.hint(format!("nor does {}: {difference}", stray.folder.display()))
    });
    Err(error.hint("`kneepoint compare A B` lays runs of different set-ups side by side"))
}

/// The header of the whole: the first one's, with the filters that all have.
fn header(args: &MergeArgs, sources: &[Source]) -> Result<Header> {
    let first = sources.first().ok_or_else(|| Error::usage("the runs hold nothing to merge"))?;
    let same = sources.iter().all(|source| source.header.filters == first.header.filters);
    let filters = if same { first.header.filters.clone() } else { Vec::new() };
    let Header { suite, engines, models, files, .. } = &first.header;
    let fingerprint = match same {
        true => first.header.fingerprint.clone(),
        false => journal::fingerprint(suite, &filters, task::version_of, engines, models, files),
    };
    let started = sources.iter().map(|source| source.header.started.as_str()).min().unwrap_or_default();
    let runs: BTreeSet<String> = sources.iter().map(|source| source.header.run.clone()).collect();
    let run = args.out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let spread = Spread { workers: 1, on: SpreadOn::Merged(runs.into_iter().collect()) };
    let started = started.to_owned();
    Ok(Header {
        run,
        filters,
        fingerprint,
        started,
        spread: Some(spread),
        worker: None,
        ..first.header.clone()
    })
}

/// Writes the folder under a hidden name beside its own: the name.
fn write(out: &Path, header: &Header, sources: &[Source]) -> Result<PathBuf> {
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).context(|| format!("cannot create {}", parent.display()))?;
    let made = parent.join(format!(".merge-{}-{}", header.run, std::process::id()));
    let cannot = |path: &Path| format!("cannot write {}", path.display());
    std::fs::create_dir_all(&made).context(|| cannot(&made))?;
    let written = (|| {
        JournalWriter::create(&made, header)?;
        for name in ["suite.json", "suite.toml"] {
            let from = sources.first().map(|source| source.run.join(name)).filter(|file| file.is_file());
            if let Some(from) = from {
                std::fs::copy(&from, made.join(name)).context(|| cannot(&made.join(name)))?;
            }
        }
        sources.iter().try_for_each(|source| copy(source, &made.join(PARTS).join(&source.name)))
    })();
    if let Err(error) = written {
        // The error says more than what was left.
        let _ = std::fs::remove_dir_all(&made);
        return Err(error);
    }
    Ok(made)
}

/// Copies a journal with its servers' logs; a packed one is unpacked.
fn copy(source: &Source, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).context(|| format!("cannot create {}", to.display()))?;
    let (plain, packed) = (source.folder.join(FILE_NAME), source.folder.join(PACKED_NAME));
    let target = to.join(FILE_NAME);
    let copied = match plain.is_file() {
        true => std::fs::copy(&plain, &target).map(drop),
        false => std::fs::File::open(&packed).and_then(|file| {
            let mut reader = flate2::read::MultiGzDecoder::new(file);
            std::io::copy(&mut reader, &mut std::fs::File::create(&target)?).map(drop)
        }),
    };
    copied.context(|| format!("cannot copy {}", source.folder.display()))?;
    let logs = source.folder.join("engine");
    if logs.is_dir() {
        files::copy_folder(&logs, &to.join("engine"))?;
    }
    Ok(())
}

/// Reads the whole as every other command will.
fn checked(made: &Path, header: &Header) -> Result<Merged> {
    let whole = journal::progress(made).map_err(|error| error.hint("nothing was written"))?;
    let planned = plan::plan(&header.suite, &Filter::parse(&header.filters)?)?.trials();
    let parts = whole.parts.iter().map(|part| MergedPart {
        name: part.name.clone(),
        place: part.place.clone(),
        kind: part.machine.kind(),
        trials: part.trials,
    });
    Ok(Merged {
        schema_version: SCHEMA_VERSION,
        folder: made.to_path_buf(),
        planned,
        done: whole.trials.len(),
        repeated: whole.repeated.len(),
        parts: parts.collect(),
    })
}

impl Merged {
    fn text(&self) -> String {
        let mut text = format!("{}: {} of {} planned trials", self.folder.display(), self.done, self.planned);
        if self.repeated > 0 {
            text.push_str(&format!("; {} more were measured by several and are kept", self.repeated));
        }
        text.push('\n');
        for part in &self.parts {
            let (name, kind) = (plain(&part.name), plain(&part.kind));
            text.push_str(&format!("  {name}: {} trials on {kind}\n", part.trials));
        }
        let kinds: BTreeMap<&str, u32> =
            self.parts.iter().map(|part| (part.kind.as_str(), part.trials)).collect();
        if kinds.len() > 1 {
            text.push_str("machines of several kinds: speeds are those of the kind that measured most\n");
        }
        if self.done < self.planned {
            text.push_str("`kneepoint resume` measures what is missing\n");
        }
        text
    }
}
