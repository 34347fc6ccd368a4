//! Models that are a folder: `config.json`, weights in safetensors, a tokenizer. And what a folder or pattern
//! offers: several GGUF quants of one model.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::split_name::split_name;
use super::{config, gguf, parts, quant_name};
use crate::error::{Context, Error, Result};
use crate::record::filter::glob;

/// The file that makes a folder a model.
pub(super) const CONFIG: &str = "config.json";
/// Lists which file holds which tensor.
const INDEX: &str = "model.safetensors.index.json";
/// Bytes that the index may have.
const MAX_INDEX: u64 = 256 << 20;
/// Ends of the names of files that belong to a model.
const ENDS: &[&str] = &[".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken"];

/// Whether a file of a folder (not of a folder within) belongs to the model.
pub(super) fn is_part(name: &str) -> bool {
    !name.contains('/') && !name.starts_with('.') && ENDS.iter().any(|end| name.ends_with(end))
}

/// Files of a folder model, by name.
///
/// # Errors
/// When the folder cannot be read, or lacks weights that it should have.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let names = names(folder)?;
    let lacks = |what: &str| {
        Error::usage(format!("{} holds no {what}", folder.display()))
            .hint("a model is a folder with config.json, safetensors and a tokenizer, or a GGUF file")
    };
    if !names.iter().any(|name| name == CONFIG) {
        return Err(lacks(CONFIG));
    }
    if !names.iter().any(|name| name.ends_with(".safetensors")) {
        return Err(lacks("weights (.safetensors)"));
    }
    let missing: Vec<String> = indexed(folder)?.into_iter().filter(|name| !names.contains(name)).collect();
    if !missing.is_empty() {
        let shown = missing.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
        let (folder, count) = (folder.display(), missing.len());
        return Err(Error::usage(format!("{folder} lacks {count} of its files with weights: {shown}"))
            .hint("the download may not be finished"));
    }
    Ok(names.into_iter().filter(|name| is_part(name)).map(|name| folder.join(name)).collect())
}

/// Files with weights that the folder's index names; none without an index.
fn indexed(folder: &Path) -> Result<BTreeSet<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let path = folder.join(INDEX);
    let Ok(metadata) = fs::metadata(&path) else {
        return Ok(BTreeSet::new());
    };
    if metadata.len() > MAX_INDEX {
        return Err(Error::runtime(format!("{} is larger than {MAX_INDEX} bytes", path.display())));
    }
    let bytes = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
    let index: Index =
        serde_json::from_slice(&bytes).context(|| format!("{} is no index of weights", path.display()))?;
    Ok(index.weight_map.into_values().collect())
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.flatten().filter(|entry| entry.path().is_file());
    let mut names: Vec<String> = files.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// Checks that the suite's name for the weights is what `config.json` says; a name that is neither a number format
/// nor a known method's is the publisher's own and cannot be checked.
///
/// # Errors
/// A usage error with a hint when they differ.
pub(super) fn check_weights(config: &config::Config, named: &str, folder: &Path) -> Result<()> {
    const METHODS: &[&str] = &["awq", "gptq", "fp8", "bitsandbytes", "compressed-tensors", "mxfp4"];
    let lower = named.to_ascii_lowercase();
    let known = gguf::is_standard_quant(named) || METHODS.iter().any(|method| lower.starts_with(method));
    match &config.weights {
        Some(real) if known && !real.eq_ignore_ascii_case(named) => Err(Error::usage(format!(
            "the suite calls the weights `{named}`, but {} holds {real}",
            folder.display()
        ))
        .hint(format!("write `weights = \"{real}\"`, or name another folder"))),
        _ => Ok(()),
    }
}

/// What a `path` of a suite stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// One file, there or not.
    File,
    /// A folder model, and how its weights are stored when it says so.
    Folder(Option<String>),
    /// Quants of one model, the largest first.
    Quants(Vec<Offer>),
}

/// A GGUF file (or the first of several parts) and its quant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offer {
    /// The quant.
    pub weights: String,
    /// The file.
    pub path: PathBuf,
}

/// The weight quant of a GGUF file: what it says, else what its name says; it need not be there.
pub(crate) fn weights_of(path: &Path) -> Option<String> {
    let said = gguf::read(path).ok().and_then(|metadata| metadata.weights().map(str::to_owned));
    said.or_else(|| quant_name::in_name(path.file_name()?.to_str()?))
}

/// Looks at a path: a folder offers every quant in it, a pattern (`*` in the last part) those that match it.
///
/// # Errors
/// When nothing matches, a file cannot be read, or two files would have one name.
pub(crate) fn look(path: &Path) -> Result<Found> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name == CONFIG {
        return folder_model(path.parent().unwrap_or(path));
    }
    let (folder, pattern) = match (path.is_dir(), name.contains('*')) {
        (true, _) => (path, "*.gguf".to_owned()),
        (false, true) => (path.parent().unwrap_or(path), name.into_owned()),
        (false, false) => return Ok(Found::File),
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let quants = models(&names(folder)?, &pattern);
    match (quants.is_empty(), folder.join(CONFIG).is_file()) {
        (true, true) if path.is_dir() => folder_model(folder),
        (true, _) => Err(Error::usage(format!("no GGUF file matches {}", folder.join(pattern).display()))
            .hint("name a file, a folder, or a pattern such as `models/Foo-*.gguf`")),
        (false, true) if path.is_dir() => {
            Err(Error::usage(format!("{} holds both GGUF files and {CONFIG}", folder.display()))
                .hint("name `FOLDER/*.gguf` for the files, or `FOLDER/config.json` for the folder"))
        }
        (false, _) => Ok(Found::Quants(offers(folder, &quants)?)),
    }
}

fn folder_model(folder: &Path) -> Result<Found> {
    Ok(Found::Folder(config::read(&folder.join(CONFIG))?.weights))
}

/// Names that match and are models: one for all parts of a split one; no projectors of pictures, no importance
/// matrices.
fn models(names: &[String], pattern: &str) -> Vec<String> {
    let beside = |name: &str| name.contains("mmproj") || name.contains("imatrix");
    let later_part = |name: &str| split_name(name).is_some_and(|split| split.part > 1);
    names
        .iter()
        .filter(|name| name.to_ascii_lowercase().ends_with(".gguf") && glob(pattern, name))
        .filter(|name| !beside(&name.to_ascii_lowercase()) && !later_part(name))
        .cloned()
        .collect()
}

fn offers(folder: &Path, names: &[String]) -> Result<Vec<Offer>> {
    let mut found: Vec<(u64, Offer)> = Vec::new();
    for name in names {
        let path = folder.join(name);
        let metadata = gguf::read(&path)?;
        let bytes = parts::parts(&path, &metadata)?
            .iter()
            .map(|part| fs::metadata(part).map_or(0, |metadata| metadata.len()))
            .sum();
        let weights = quant_of(&path, name, &metadata)?;
        if let Some((_, other)) = found.iter().find(|(_, other)| other.weights == weights) {
            return Err(Error::usage(format!(
                "both {} and {} hold {weights}",
                other.path.display(),
                path.display()
            ))
            .hint("name a pattern that only one of them matches"));
        }
        found.push((bytes, Offer { weights, path }));
    }
    found.sort_by(|(a, first), (b, second)| b.cmp(a).then_with(|| first.weights.cmp(&second.weights)));
    Ok(found.into_iter().map(|(_, offer)| offer).collect())
}

/// What the file says of itself and what its name says must not contradict each other; a name of the publisher's
/// own (`UD-Q4_K_XL`) says more than the file does.
fn quant_of(path: &Path, name: &str, metadata: &gguf::Metadata) -> Result<String> {
    match (quant_name::in_name(name), metadata.weights()) {
        (Some(named), Some(real)) if gguf::is_standard_quant(&named) && named != real => {
            Err(Error::usage(format!("{} is named {named}, but holds {real}", path.display()))
                .hint("rename the file, or name a pattern that does not match it"))
        }
        (Some(named), _) => Ok(named),
        (None, Some(real)) => Ok(real.to_owned()),
        (None, None) => Err(Error::usage(format!(
            "neither the name nor the metadata of {} tell its quant",
            path.display()
        ))
        .hint("give it a `[[model]]` of its own with `path` and `weights`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::model::gguf::tests::small;
    use crate::measure::model::store::{Silent, Store};

    fn write(folder: &Path, name: &str, bytes: &[u8]) {
        fs::write(folder.join(name), bytes).unwrap();
    }

    fn quants(path: &Path) -> Vec<(String, String)> {
        let Found::Quants(offers) = look(path).unwrap() else { panic!("{}", path.display()) };
        offers
            .into_iter()
            .map(|o| (o.weights, o.path.file_name().unwrap().to_string_lossy().into()))
            .collect()
    }

    #[test]
    fn a_folder_and_a_pattern_offer_their_quants() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        write(at, "Foo-Q4_1.gguf", &small(3));
        write(at, "Foo-Q8_0.gguf", &[small(7), vec![0; 100]].concat());
        write(at, "Foo-UD-Q4_K_XL.gguf", &[small(15), vec![0; 10]].concat());
        write(at, "plain.gguf", &small(2));
        write(at, "mmproj-F16.gguf", &small(1));
        write(at, "notes.txt", b"");
        let all = quants(at);
        let names: Vec<&str> = all.iter().map(|(weights, _)| weights.as_str()).collect();
        assert_eq!(names, ["Q8_0", "UD-Q4_K_XL", "Q4_0", "Q4_1"], "the largest first");
        assert_eq!(quants(&at.join("Foo-Q*.gguf")).len(), 2);
        assert_eq!(look(&at.join("Foo-Q4_1.gguf")).unwrap(), Found::File);
        assert_eq!(look(&at.join("none.gguf")).unwrap(), Found::File, "said when it is needed");
        assert!(look(&at.join("Bar-*.gguf")).unwrap_err().to_string().contains("no GGUF file matches"));
    }

    #[test]
    fn a_name_that_contradicts_its_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "Foo-Q8_0.gguf", &small(3));
        let error = look(folder.path()).unwrap_err();
        assert!(error.to_string().contains("named Q8_0, but holds Q4_1"), "{error}");
        write(folder.path(), "Foo-Q8_0.gguf", &small(7));
        write(folder.path(), "Bar-Q8_0.gguf", &small(7));
        assert!(look(folder.path()).unwrap_err().to_string().contains("hold Q8_0"));
        write(folder.path(), "Bar-Q8_0.gguf", b"no model");
        assert!(look(folder.path()).unwrap_err().to_string().contains("no readable GGUF file"));
    }

    #[test]
    fn a_folder_model_is_complete_and_known_by_all_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        write(at, CONFIG, br#"{"torch_dtype": "bfloat16"}"#);
        write(at, "model-00001-of-00002.safetensors", b"one");
        write(at, "README.md", b"of no account");
        let index = br#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
        write(at, INDEX, index);
        let error = files(at).unwrap_err();
        assert!(error.to_string().contains("lacks 1 of its files"), "{error}");
        write(at, "model-00002-of-00002.safetensors", b"two");
        let found = files(at).unwrap();
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(look(at).unwrap(), Found::Folder(Some("BF16".into())));
        assert_eq!(look(&at.join(CONFIG)).unwrap(), Found::Folder(Some("BF16".into())));

        let cache = tempfile::tempdir().unwrap();
        let store = Store::at(cache.path(), "python3", &Silent);
        let hash = || parts::joint_sha256(&files(at).unwrap(), at, &|file| store.sha256(file)).unwrap();
        let before = hash();
        write(at, "README.md", b"changed");
        assert_eq!(hash(), before);
        write(at, "tokenizer.json", b"{}");
        assert_ne!(hash(), before);

        write(at, "m-Q4_1.gguf", &small(3));
        assert!(look(at).unwrap_err().hints()[0].contains("FOLDER/*.gguf"));
        let config = config::read(&at.join(CONFIG)).unwrap();
        assert!(check_weights(&config, "bf16", at).is_ok() && check_weights(&config, "my-own", at).is_ok());
        assert!(check_weights(&config, "F16", at).unwrap_err().to_string().contains("holds BF16"));
        assert!(check_weights(&config, "awq-4bit", at).is_err());
    }

    #[test]
    fn a_folder_without_weights_is_no_model() {
        let folder = tempfile::tempdir().unwrap();
        assert!(files(folder.path()).unwrap_err().to_string().contains("config.json"));
        write(folder.path(), CONFIG, b"{}");
        assert!(files(folder.path()).unwrap_err().to_string().contains("safetensors"));
        assert_eq!(look(folder.path()).unwrap(), Found::Folder(None));
    }
}
