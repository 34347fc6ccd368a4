//! Run folders: made, and found again by path, unique prefix or `latest`.

use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::journal;
use crate::suite::Suite;

/// Makes the folder of a new run: `<utc time>-<suite>-<short id>`.
pub(super) fn create(runs_dir: &Path, suite: &Suite) -> Result<PathBuf> {
    let stamp = crate::clock::folder_stamp();
    let unique = format!("{}{}{}", crate::clock::now(), std::process::id(), suite.fingerprint());
    let id = crate::trial::short_hash(unique.as_bytes());
    let folder = runs_dir.join(format!("{stamp}-{}-{}", suite.name, &id[..6]));
    std::fs::create_dir_all(folder.join("engine"))
        .context(|| format!("cannot create {}", folder.display()))
        .map_err(|error| error.hint("choose another place with --runs-dir or KNEEPOINT_RUNS_DIR"))?;
    Ok(folder)
}

/// Finds a run: a folder with a journal, a unique prefix of a name, or `latest`.
pub(super) fn find(runs_dir: &Path, name: &str) -> Result<PathBuf> {
    let direct = Path::new(name);
    if journal::is_in(direct) {
        return Ok(direct.to_path_buf());
    }
    let names = names(runs_dir);
    if name == "latest" {
        let last = names.last().ok_or_else(|| none_there(runs_dir))?;
        return Ok(runs_dir.join(last));
    }
    let matching: Vec<&String> = names.iter().filter(|known| known.starts_with(name)).collect();
    match matching.as_slice() {
        [one] => Ok(runs_dir.join(one)),
        [] if names.is_empty() => Err(none_there(runs_dir)),
        [] => Err(Error::usage(format!("no run `{name}` in {}", runs_dir.display()))
            .hint(format!("the latest is {}", names.last().map_or("", String::as_str)))),
        several => Err(Error::usage(format!("`{name}` is the start of {} runs", several.len()))
            .hint(format!("give more of the name: {}", shown(several)))),
    }
}

fn shown(names: &[&String]) -> String {
    names.iter().take(5).map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
}

fn none_there(runs_dir: &Path) -> Error {
    Error::usage(format!("no runs in {}", runs_dir.display()))
        .hint("`kneepoint run suites/quickstart.toml` makes one; --runs-dir names another folder")
}

/// Names of the runs in a folder, oldest first.
pub(super) fn names(runs_dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(runs_dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter(|entry| journal::is_in(&entry.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}
