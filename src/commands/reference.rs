//! `reference export`, and what a run takes from such a pack.

use std::path::{Path, PathBuf};

use super::output::{print, print_json};
use super::runs;
use crate::cli::{Global, ReferenceAction, ReferencePackArgs};
use crate::error::{Error, Result};
use crate::judge::report::plain;
use crate::measure::runner::{Prepared, megabytes};
use crate::record::journal::{Journal, pack};
use crate::record::suite::Suite;
use crate::record::{ModelInfo, journal, packed};

pub(super) fn reference(args: &ReferencePackArgs, global: &Global) -> Result<u8> {
    let ReferenceAction::Export { run, out, json } = &args.action;
    let folder = runs::find(&global.runs_dir, run)?;
    let whole = journal::load(&folder)?;
    let exported = packed::of_run(&whole)?;
    let path = out.clone().unwrap_or_else(|| PathBuf::from(format!("{}.pack", whole.header.run)));
    not_there_yet(&path)?;
    let bytes = pack::write(&path, &exported)?;
    let said = Exported::of(&exported, &path, bytes);
    if *json { print_json(&said) } else { print(&said.text()) }
}

/// What somebody measured for hours is not written over.
fn not_there_yet(path: &Path) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    Err(Error::usage(format!("{} is there already", path.display()))
        .hint("name another file with --out, or delete this one"))
}

/// What `reference export --json` prints.
#[derive(Debug, serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct Exported {
    /// Version of this form.
    pub schema_version: u32,
    /// The pack.
    pub pack: PathBuf,
    /// Its size (bytes).
    pub bytes: u64,
    /// The run that it was made of.
    pub run: String,
    /// The reference's label there.
    pub setting: String,
    /// Context lengths (tokens).
    pub contexts: Vec<u32>,
    /// Cases.
    pub cases: usize,
    /// Trials of the first visit.
    pub trials: usize,
    /// Trials of the second visit (A/A).
    pub again: usize,
    /// Whether the tokenizer is in it, so that another machine's can be compared before anything is served.
    pub has_tokenizer: bool,
}

impl Exported {
    fn of(journal: &Journal, pack: &Path, bytes: u64) -> Self {
        let suite = &journal.header.suite;
        let reference = suite.reference();
        let of_visit =
            |replicate: u32| journal.trials.iter().filter(|trial| trial.key.replicate == replicate).count();
        let is_its = |model: &&ModelInfo| model.name == reference.model && model.weights == reference.weights;
        let model = journal.header.models.iter().find(is_its);
        Self {
            schema_version: 1,
            pack: pack.to_owned(),
            bytes,
            run: journal.header.run.clone(),
            setting: reference.label.clone(),
            contexts: suite.contexts.clone(),
            cases: journal.cases.len(),
            trials: of_visit(0),
            again: of_visit(1),
            has_tokenizer: model.is_some_and(|model| model.tokenizer.is_some()),
        }
    }

    fn text(&self) -> String {
        let tokenizer = match self.has_tokenizer {
            true => "",
            false => {
                "\nthe run does not know its tokenizer: another machine's is compared by the tokens of the cases alone"
            }
        };
        format!(
            "{}: {} cases, {} trials of {} and {} of its second visit, {}{tokenizer}\n\n\
             in a suite elsewhere:\n\n[reference]\nfrom = \"{}\"\n",
            self.pack.display(),
            self.cases,
            self.trials,
            plain(&self.setting),
            self.again,
            megabytes(self.bytes),
            self.pack.file_name().unwrap_or_default().to_string_lossy(),
        )
    }
}

/// What a run takes from the pack of its suite; `None` where its reference is served here.
pub(super) fn taken(suite: &mut Suite, filters: &[String]) -> Result<Option<Journal>> {
    let Some(origin) = suite.pack.clone() else { return Ok(None) };
    let pack = pack::open(&origin.path)?;
    if pack.sha256 != origin.sha256 {
        return Err(Error::usage(format!("{} was changed while it was read", origin.path.display())));
    }
    let taken = packed::for_suite(&pack.journal, &origin, suite, filters)?;
    suite.pack = Some(crate::record::suite::PackedReference { trials: taken.trials.len() as u32, ..origin });
    Ok(Some(taken))
}

/// Refuses models whose files have another tokenizer than the pack's: no case would be the same tokens.
pub(super) fn same_tokenizer(suite: &Suite, prepared: &Prepared) -> Result<()> {
    let theirs = suite.pack.as_ref().and_then(|pack| pack.model.as_ref()?.tokenizer.as_ref());
    let Some(theirs) = theirs else { return Ok(()) };
    // A draft model's is its own affair.
    let served =
        |model: &&ModelInfo| suite.measured().any(|s| s.model == model.name && s.weights == model.weights);
    for model in prepared.model_infos.iter().filter(served) {
        let ours = model.tokenizer.as_ref();
        if let Some(what) = ours.and_then(|ours| ours.difference(theirs, ["here", "in the pack"])) {
            let message =
                format!("{} {} has another tokenizer than the pack: {what}", model.name, model.weights);
            return Err(Error::usage(message).hint(
                "settings are compared on the same tokens: take a quant of the model that the pack is of",
            ));
        }
    }
    Ok(())
}

/// Whether all that a run took from its pack is in its journal; a machine that went down in its first moment leaves less.
pub(super) fn is_all_there(journal: &Journal) -> Result<()> {
    let suite = &journal.header.suite;
    let Some(pack) = &suite.pack else { return Ok(()) };
    let there = journal.trials.iter().filter(|trial| suite.is_packed(&trial.key.setting)).count();
    if there == pack.trials as usize {
        return Ok(());
    }
    let message = format!("{there} of the {} trials of its pack are in this run's journal", pack.trials);
    Err(Error::usage(message).hint("it was cut off as it began: start a new run with `kneepoint run`"))
}
