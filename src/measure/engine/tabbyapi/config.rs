//! TabbyAPI's configuration file.

use std::path::Path;

use super::options::{LISTS, OPTIONS};
use crate::error::{Error, Result};
use crate::measure::engine::launch::Launch;
use crate::measure::engine::option::{self, OptionKind, ServerOption};
use crate::record::suite::{Cell, Setting};

/// Cache type that is not quantised.
pub(super) const PLAIN: &str = "FP16";

/// The cache's size is a multiple of this (tokens).
const PAGE: u64 = 256;

/// Returns the file (YAML): what the cell asks for, what would otherwise be chosen by the server, and the options.
///
/// # Errors
/// When a model's folder has no name.
pub(super) fn text(cell: &Cell, launch: &Launch<'_>) -> Result<String> {
    let setting = &cell.setting;
    let mut file = File::default();
    file.section("network");
    file.text("host", "127.0.0.1");
    file.plain("port", launch.port);
    file.plain("disable_auth", true);
    file.section("model");
    let (folder, name) = folder_and_name(launch.model)?;
    file.text("model_dir", &folder);
    file.text("model_name", &name);
    file.text("backend", "exllamav3");
    file.plain("max_seq_len", cell.context);
    file.unless(setting, "cache_size", cache_size(cell.context, launch.slots));
    file.text("cache_mode", &cache_mode(setting));
    file.unless(setting, "max_batch_size", u64::from(launch.slots));
    file.options(setting, "model");
    file.section("draft_model");
    file.text("draft_mode", if setting.speculation == "off" { "disabled" } else { &setting.speculation });
    if let Some(draft) = launch.draft {
        let (folder, name) = folder_and_name(draft)?;
        file.text("draft_model_dir", &folder);
        file.text("draft_model_name", &name);
    }
    file.options(setting, "draft_model");
    file.section("memory");
    file.options(setting, "memory");
    Ok(file.0)
}

/// Why an option's value is not what the file can hold.
pub(super) fn malformed(setting: &Setting) -> Option<String> {
    let is_list =
        |value: &str| value.split(',').all(|part| part.trim().parse::<f64>().is_ok_and(f64::is_finite));
    let wrong = LISTS.iter().find_map(|name| {
        let value = setting.options.get(*name).filter(|value| !is_list(value))?;
        Some(format!("option `{name}` is a list of numbers such as 20,24, not `{value}`"))
    });
    wrong.or_else(|| {
        let size = setting.options.get("cache_size")?;
        let whole = size.parse::<u64>().is_ok_and(|tokens| tokens % PAGE == 0);
        (!whole).then(|| format!("option `cache_size` is a multiple of {PAGE}, not {size}"))
    })
}

/// Room for every request's whole context, in whole pages (tokens).
fn cache_size(context: u32, slots: u16) -> u64 {
    u64::from(context).div_ceil(PAGE) * PAGE * u64::from(slots.max(1))
}

/// `FP16`, or the bits of K and of V.
fn cache_mode(setting: &Setting) -> String {
    match (setting.k.strip_prefix('Q'), setting.v.strip_prefix('Q')) {
        (Some(k), Some(v)) => format!("{k},{v}"),
        _ => PLAIN.to_owned(),
    }
}

/// A model is named by its folder's name within the folder of all models.
fn folder_and_name(model: &Path) -> Result<(String, String)> {
    let parts = model.parent().zip(model.file_name());
    let (folder, name) =
        parts.ok_or_else(|| Error::usage(format!("{} is no folder with a name", model.display())))?;
    Ok((folder.to_string_lossy().into_owned(), name.to_string_lossy().into_owned()))
}

/// A file that grows line by line.
#[derive(Default)]
struct File(String);

impl File {
    fn section(&mut self, name: &str) {
        self.0.push_str(&format!("{name}:\n"));
    }

    fn plain(&mut self, key: &str, value: impl std::fmt::Display) {
        self.0.push_str(&format!("  {key}: {value}\n"));
    }

    /// A text in double quotes: JSON's are YAML's, too.
    fn text(&mut self, key: &str, value: &str) {
        self.plain(key, serde_json::Value::from(value));
    }

    /// What holds unless the setting names the option of that name.
    fn unless(&mut self, setting: &Setting, key: &str, value: u64) {
        if !setting.options.contains_key(key) {
            self.plain(key, value);
        }
    }

    /// The setting's options of a section. An empty section is one without a value, which TabbyAPI reads as its defaults.
    fn options(&mut self, setting: &Setting, section: &str) {
        for (key, option, value) in option::configured(OPTIONS, setting, section) {
            self.option(key, option, value);
        }
    }

    fn option(&mut self, key: &str, option: &ServerOption, value: &str) {
        match option.kind {
            _ if LISTS.contains(&option.name) => self.plain(key, format!("[{value}]")),
            OptionKind::Int { .. } | OptionKind::Number { .. } | OptionKind::Switch => self.plain(key, value),
            OptionKind::IntOr { .. } | OptionKind::Words(_) | OptionKind::CacheType(_) | OptionKind::Text => {
                self.text(key, value)
            }
        }
    }
}
