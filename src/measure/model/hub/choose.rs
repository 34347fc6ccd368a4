//! Which files of a repository a model is: by file, by quant, or the whole of it.

use std::path::{Path, PathBuf};

use super::api::{Listing, RepoFile};
use super::reference::Reference;
use crate::error::{Error, nearest};
use crate::measure::model::split_name::split_name;
use crate::measure::model::{folder, quant_name};

/// Files that an error names at most.
const SHOWN: usize = 12;

/// The files of a model.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen<'a> {
    /// Every file that is needed.
    pub files: Vec<&'a RepoFile>,
    /// The file that a server is given; `None`: the folder.
    pub main: Option<&'a str>,
}

impl Chosen<'_> {
    /// What a server is given, when the files lie in this folder.
    pub(super) fn path(&self, folder: &Path) -> PathBuf {
        self.main.map_or_else(|| folder.to_owned(), |main| folder.join(main))
    }
}

/// Why no model could be chosen.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ChoiceError {
    #[error("it has no file or quant `{wanted}`")]
    None { wanted: String, known: Vec<String> },
    #[error("several of its files hold {wanted}: {}", .files.join(", "))]
    Several { wanted: String, files: Vec<String> },
    #[error("it lacks part {part} of {name}")]
    Part { part: u32, name: String },
    #[error("`{0}` is neither a GGUF file nor config.json")]
    Kind(String),
    #[error("it holds no model: neither GGUF files nor config.json with safetensors")]
    Empty,
}

impl ChoiceError {
    pub(super) fn of(self, reference: &Reference) -> Error {
        let error = Error::usage(format!("cannot take a model from {reference}: {self}"));
        let repo = &reference.repo;
        match self {
            Self::None { wanted, known } => {
                let near =
                    nearest(&wanted.to_uppercase(), known.iter().map(String::as_str)).map(str::to_owned);
                let list = known.into_iter().take(SHOWN).collect::<Vec<_>>().join(", ");
                match near {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error,
                }
                .hint(format!("its GGUF files hold: {}", if list.is_empty() { "nothing" } else { &list }))
                .hint(format!("`hf:{repo}:config.json` takes the whole repository, where that is a model"))
            }
            Self::Several { files, .. } => {
                let file = files.into_iter().next().unwrap_or_default();
                error.hint(format!("name one of them: `from = \"hf:{repo}:{file}\"`"))
            }
            Self::Part { .. } => error.hint("another revision may have all parts: `hf:OWNER/REPO@REVISION`"),
            Self::Kind(_) | Self::Empty => error.hint(format!(
                "`hf:{repo}:config.json` takes the whole repository, `hf:{repo}:QUANT` one quant"
            )),
        }
    }
}

/// Chooses by what the reference says, else by the quant.
pub(super) fn choose<'a>(
    listing: &'a Listing,
    selector: Option<&str>,
    quant: &str,
) -> Result<Chosen<'a>, ChoiceError> {
    if let Some(file) = selector.and_then(|path| listing.files.iter().find(|file| file.path == path)) {
        return match file.path.as_str() {
            folder::CONFIG => whole(listing),
            path if is_gguf(path) => with_parts(listing, path),
            path => Err(ChoiceError::Kind(path.to_owned())),
        };
    }
    let wanted = selector.unwrap_or(quant);
    let models: Vec<&str> =
        listing.files.iter().map(|file| file.path.as_str()).filter(|p| is_model(p)).collect();
    let of_quant = |path: &&str| quant_name::in_path(path).is_some_and(|own| same(&own, wanted));
    let found: Vec<&str> = models.iter().copied().filter(of_quant).collect();
    match (found.as_slice(), selector) {
        ([path], _) => with_parts(listing, path),
        // One file that does not say its quant: what it says of itself is checked when it is here.
        ([], None) if models.len() == 1 && quant_name::in_path(models[0]).is_none() => {
            with_parts(listing, models[0])
        }
        ([], None) if models.is_empty() => whole(listing),
        ([], None) if is_whole(listing) && quant_name::in_name(wanted).is_none() => whole(listing),
        ([], _) => Err(ChoiceError::None {
            wanted: wanted.to_owned(),
            known: models.iter().filter_map(|path| quant_name::in_path(path)).collect(),
        }),
        (several, _) => Err(ChoiceError::Several {
            wanted: wanted.to_owned(),
            files: several.iter().take(SHOWN).map(|path| (*path).to_owned()).collect(),
        }),
    }
}

/// Every model that a reference without a quant offers: each GGUF file, else the whole repository. What cannot be chosen
/// says why.
pub(super) fn all<'a>(listing: &'a Listing, selector: Option<&str>) -> Vec<Result<Chosen<'a>, ChoiceError>> {
    if selector.is_some() {
        return vec![choose(listing, selector, "")];
    }
    let models: Vec<&str> =
        listing.files.iter().map(|file| file.path.as_str()).filter(|path| is_model(path)).collect();
    match models.as_slice() {
        [] => vec![whole(listing)],
        models => models.iter().map(|path| with_parts(listing, path)).collect(),
    }
}

/// Whether a quant is the wanted one, however it is written (`fp16`, `q4_k_m`).
fn same(own: &str, wanted: &str) -> bool {
    own.eq_ignore_ascii_case(wanted) || quant_name::in_name(wanted).is_some_and(|wanted| wanted == own)
}

fn is_gguf(path: &str) -> bool {
    path.to_ascii_lowercase().ends_with(".gguf")
}

/// A GGUF file that is a model, or the first part of one; no projector of pictures, no importance matrix.
fn is_model(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let beside = lower.contains("mmproj") || lower.contains("imatrix");
    is_gguf(path) && !beside && split_name(path).is_none_or(|split| split.part == 1)
}

fn with_parts<'a>(listing: &'a Listing, path: &str) -> Result<Chosen<'a>, ChoiceError> {
    let find = |path: &str| listing.files.iter().find(|file| file.path == path);
    let names = match split_name(path) {
        None => vec![(1, path.to_owned())],
        Some(split) => (1..=split.of).map(|part| (part, split.name_of(part))).collect(),
    };
    let files = names
        .iter()
        .map(|(part, name)| find(name).ok_or_else(|| ChoiceError::Part { part: *part, name: name.clone() }))
        .collect::<Result<Vec<_>, _>>()?;
    let main = files.first().map(|file| file.path.as_str());
    Ok(Chosen { files, main })
}

fn is_whole(listing: &Listing) -> bool {
    let has = |wanted: fn(&str) -> bool| listing.files.iter().any(|file| wanted(&file.path));
    has(|path| path == folder::CONFIG) && has(|path| !path.contains('/') && path.ends_with(".safetensors"))
}

fn whole(listing: &Listing) -> Result<Chosen<'_>, ChoiceError> {
    if !is_whole(listing) {
        return Err(ChoiceError::Empty);
    }
    let files = listing.files.iter().filter(|file| folder::is_part(&file.path)).collect();
    Ok(Chosen { files, main: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(paths: &[&str]) -> Listing {
        let file = |path: &&str| RepoFile { path: (*path).to_owned(), size: 1, sha256: None, blob: None };
        Listing { commit: "c".repeat(40), files: paths.iter().map(file).collect() }
    }

    fn paths(chosen: &Chosen<'_>) -> Vec<String> {
        chosen.files.iter().map(|file| file.path.clone()).collect()
    }

    const QUANTS: &[&str] = &[
        "README.md",
        "config.json",
        "m-Q4_K_M.gguf",
        "m-UD-Q4_K_M.gguf",
        "m-q8_0.gguf",
        "mmproj-F16.gguf",
        "Q6_K/m-Q6_K-00001-of-00002.gguf",
        "Q6_K/m-Q6_K-00002-of-00002.gguf",
        "m-fp16.gguf",
    ];

    #[test]
    fn a_quant_is_found_by_name_in_any_case() {
        let listing = listing(QUANTS);
        let one = |selector, quant| choose(&listing, selector, quant).unwrap().main.unwrap().to_owned();
        assert_eq!(one(None, "Q4_K_M"), "m-Q4_K_M.gguf");
        assert_eq!(one(Some("q4_k_m"), "other"), "m-Q4_K_M.gguf");
        assert_eq!(one(None, "UD-Q4_K_M"), "m-UD-Q4_K_M.gguf");
        assert_eq!(one(Some("Q8_0"), "Q8_0"), "m-q8_0.gguf");
        assert_eq!(one(None, "F16"), "m-fp16.gguf");
        assert_eq!(one(Some("m-q8_0.gguf"), "whatever"), "m-q8_0.gguf");
        let split = choose(&listing, None, "Q6_K").unwrap();
        assert_eq!(split.main, Some("Q6_K/m-Q6_K-00001-of-00002.gguf"));
        assert_eq!(paths(&split).len(), 2);
        assert_eq!(split.path(Path::new("/x")), Path::new("/x/Q6_K/m-Q6_K-00001-of-00002.gguf"));
    }

    #[test]
    fn what_is_not_there_or_not_clear_is_listed() {
        let reference = Reference::parse("hf:o/r").unwrap();
        let missing = choose(&listing(QUANTS), None, "Q5_K_M").unwrap_err().of(&reference);
        assert!(missing.hints().concat().contains("UD-Q4_K_M"), "{:?}", missing.hints());
        let twice = listing(&["a-Q4_0.gguf", "b-Q4_0.gguf"]);
        let error = choose(&twice, None, "Q4_0").unwrap_err();
        assert_eq!(
            error,
            ChoiceError::Several {
                wanted: "Q4_0".into(),
                files: vec!["a-Q4_0.gguf".into(), "b-Q4_0.gguf".into()]
            }
        );
        let error = error.of(&reference);
        assert!(
            error.to_string().contains("a-Q4_0.gguf, b-Q4_0.gguf")
                && error.hints()[0].contains("hf:o/r:a-Q4_0.gguf")
        );
        let torn = listing(&["m-Q4_0-00001-of-00002.gguf"]);
        assert!(matches!(choose(&torn, None, "Q4_0"), Err(ChoiceError::Part { part: 2, .. })));
        assert_eq!(choose(&listing(&["README.md"]), None, "Q4_0"), Err(ChoiceError::Empty));
        assert!(matches!(choose(&listing(QUANTS), Some("README.md"), ""), Err(ChoiceError::Kind(_))));
    }

    #[test]
    fn a_whole_repository_is_its_folder_without_what_is_not_needed() {
        let repo = [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "onnx/model.onnx",
            "pytorch_model.bin",
            "README.md",
            "original/params.json",
            ".gitattributes",
        ];
        let listing = listing(&repo);
        let chosen = choose(&listing, None, "BF16").unwrap();
        assert_eq!((chosen.main, paths(&chosen).len()), (None, 3), "{chosen:?}");
        assert_eq!(choose(&listing, Some("config.json"), "").unwrap(), chosen);
        let both = self::listing(&[&repo[..], &["m-Q8_0.gguf"]].concat());
        assert_eq!(choose(&both, None, "fp8").unwrap().main, None);
        assert_eq!(choose(&both, None, "Q8_0").unwrap().main, Some("m-Q8_0.gguf"));
        assert!(choose(&both, None, "Q4_0").is_err());
        let unnamed = self::listing(&["model.gguf"]);
        assert_eq!(choose(&unnamed, None, "Q4_0").unwrap().main, Some("model.gguf"));
    }
}
