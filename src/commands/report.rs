//! `report`: the report again, from the journal alone.

use std::path::{Path, PathBuf};

use super::output::print;
use super::{night_before, runs};
use crate::cli::{Format, Global, ReportArgs};
use crate::error::{Context, EXIT_GATE_FAILED, EXIT_INCOMPLETE, EXIT_OK, Error, Result};
use crate::judge::analysis::summary::{GateStatus, Summary};
use crate::judge::{analysis, report};
use crate::record::journal::Journal;
use crate::{console, files};

pub(super) fn report(args: &ReportArgs, global: &Global) -> Result<u8> {
    let folder = runs::find(&global.runs_dir, &args.run)?;
    let journal = super::output::open(&folder)?;
    let mut summary = analysis::summarise(&journal)?;
    summary.night_before = night_before::of(&journal, &folder, &global.runs_dir);
    let template = args.template.as_deref().map(read_template).transpose()?;
    let format = if args.json { Some(Format::Json) } else { args.format };
    match format {
        Some(format) => {
            print(&match format {
                Format::Html => report::report_page(&summary, &journal)?,
                format => one(&summary, format, template.as_deref())?,
            })?;
        }
        None => {
            let out = args.out.clone().unwrap_or(folder);
            for path in write(&journal, &summary, &out, template.as_deref())? {
                print(&format!("{}\n", path.display()))?;
            }
        }
    }
    let gates = tell_gates(&summary);
    super::github::tell(&summary);
    Ok(exit_code(&summary, gates))
}

/// Writes the report's files of a run beside its journal.
///
/// # Errors
/// When the journal does not hold together, or a file cannot be written.
pub(super) fn remake(journal: &Journal, folder: &Path, runs_dir: &Path) -> Result<()> {
    let mut summary = analysis::summarise(journal)?;
    summary.night_before = night_before::of(journal, folder, runs_dir);
    write(journal, &summary, folder, None).map(|_| ())
}

/// What the gates say of a run that was measured before. While it is not finished none of them is final.
fn exit_code(summary: &Summary, gates: Gates) -> u8 {
    match gates {
        Gates::Kept => EXIT_OK,
        Gates::Failed if summary.done >= summary.planned => EXIT_GATE_FAILED,
        Gates::Failed | Gates::Undecided => EXIT_INCOMPLETE,
    }
}

/// How the gates of a run stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gates {
    /// None failed, and all could be judged.
    Kept,
    /// None failed, but some could not be judged yet.
    Undecided,
    /// At least one failed.
    Failed,
}

/// Says on stderr which gates failed or could not be decided.
pub(super) fn tell_gates(summary: &Summary) -> Gates {
    let of = |status| summary.gates.iter().filter(move |result| result.status == status);
    for (word, status) in
        [("failed", GateStatus::Failed), ("open", GateStatus::Open), ("undecided", GateStatus::Undecided)]
    {
        for result in of(status) {
            let (setting, context) = (report::plain(&result.setting), result.context);
            let (gate, because) = (report::plain(&result.gate), report::plain_whole(&result.because));
            console::note(&format!("gate {word}: {gate}: {setting} at {context}: {because}"));
        }
    }
    let any = |status| of(status).next().is_some();
    match (any(GateStatus::Failed), any(GateStatus::Undecided)) {
        (true, _) => Gates::Failed,
        (false, true) => Gates::Undecided,
        (false, false) => Gates::Kept,
    }
}

fn read_template(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|source| {
        Error::usage(format!("cannot read template {}", path.display())).with_source(source)
    })
}

fn one(summary: &Summary, format: Format, template: Option<&str>) -> Result<String> {
    let name = match format {
        Format::Md => report::REPORT_FILE,
        Format::Json => report::SUMMARY_FILE,
        Format::Csv => report::CELLS_FILE,
        Format::Svg => report::FRONT_FILE,
        Format::Heatmap => report::HEATMAP_FILE,
        Format::Junit => report::JUNIT_FILE,
        Format::Html => report::PAGE_FILE,
        Format::Card => return report::card(summary),
    };
    let file = report::render_with(summary, template)?.into_iter().find(|(file, _)| file == name);
    let (_, bytes) = file.ok_or_else(|| Error::runtime(format!("the report has no {name}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes the report's files into a folder, the trials as data beside them; their paths, the Markdown first.
pub(super) fn write(
    journal: &Journal,
    summary: &Summary,
    folder: &Path,
    template: Option<&str>,
) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).context(|| format!("cannot create {}", folder.display()))?;
    let mut written = report::render_with(summary, template)?;
    written.push((report::PAGE_FILE.into(), report::report_page(summary, journal)?.into_bytes()));
    written.push((report::TRIALS_FILE.into(), analysis::trials_parquet(journal)?));
    files::write_all(folder, &written)
}
