//! `hf:OWNER/REPO[@REVISION][:QUANT or FILE]`.

use std::fmt;

use crate::measure::model::quant_name;

/// What introduces a reference.
pub(super) const PREFIX: &str = "hf:";
/// The revision when none is named.
const MAIN: &str = "main";

/// Names a model in a Hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `OWNER/REPO`.
    pub repo: String,
    /// A branch, a tag or a commit.
    pub revision: String,
    /// A quant such as `Q4_K_M`, or a file of the repository; `config.json` stands for the whole of it.
    pub selector: Option<String>,
}

impl Reference {
    /// Reads a reference.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest =
            text.strip_prefix(PREFIX).ok_or_else(|| format!("`{text}` does not begin with `{PREFIX}`"))?;
        let (place, selector) = match rest.split_once(':') {
            Some((place, selector)) => (place, Some(selector)),
            None => (rest, None),
        };
        let (repo, revision) = place.split_once('@').unwrap_or((place, MAIN));
        if repo.matches('/').count() > 1 || !is_path(repo) {
            return Err(format!("`{repo}` is no repository: write {PREFIX}OWNER/REPO"));
        }
        if !is_path(revision) {
            return Err(format!("`{revision}` is no branch, tag or commit"));
        }
        if let Some(selector) = selector.filter(|selector| !is_path(selector)) {
            return Err(format!("`{selector}` is neither a quant nor a file"));
        }
        Ok(Self {
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            selector: selector.map(str::to_owned),
        })
    }

    /// The quant that the reference itself tells: its selector, or the name of its file.
    pub fn quant(&self) -> Option<String> {
        quant_name::in_path(self.selector.as_deref()?)
    }

    /// The same repository without a selector: a quant in it is found by its name.
    pub fn without_selector(&self) -> Self {
        Self { selector: None, ..self.clone() }
    }

    /// A name for folders and locks.
    pub(super) fn folder_name(&self) -> String {
        self.repo.replace('/', "--")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.repo)?;
        if self.revision != MAIN {
            write!(f, "@{}", self.revision)?;
        }
        match &self.selector {
            Some(selector) => write!(f, ":{selector}"),
            None => Ok(()),
        }
    }
}

/// Plain names with `/` between them: nothing that leads out of a folder or that a URL would read otherwise.
pub(super) fn is_path(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "-_.+ ()[]=,~".contains(c);
    let name = |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(plain);
    text.len() <= 1024 && text.split('/').all(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_are_read() {
        let parse = |text: &str| Reference::parse(text).unwrap();
        let plain = parse("hf:owner/repo-GGUF");
        assert_eq!((plain.repo.as_str(), plain.revision.as_str()), ("owner/repo-GGUF", "main"));
        assert_eq!((plain.selector.clone(), plain.quant()), (None, None));
        assert_eq!(plain.folder_name(), "owner--repo-GGUF");
        let quant = parse("hf:owner/repo@v1.0:q4_k_m");
        assert_eq!((quant.revision.as_str(), quant.quant().as_deref()), ("v1.0", Some("Q4_K_M")));
        let file = parse("hf:owner/repo@refs/pr/1:Q8_0/m-Q8_0-00001-of-00002.gguf");
        assert_eq!((file.revision.as_str(), file.quant().as_deref()), ("refs/pr/1", Some("Q8_0")));
        assert_eq!(file.without_selector().selector, None);
        for text in ["hf:owner/repo", "hf:gpt2", "hf:owner/repo@v1.0:Q4_0"] {
            assert_eq!(parse(text).to_string(), text);
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused() {
        for text in [
            "owner/repo",
            "hf:",
            "hf:a/b/c",
            "hf:../x",
            "hf:a/..",
            "hf:a/b@../c",
            "hf:a/b:/etc/passwd",
            "hf:a/b:x/../y",
            "hf:a/b?x=1",
            "hf:a/b#x",
            "hf:a/b@",
            "hf:a/b:",
            "hf:a\\b",
            "hf:a/%2e%2e",
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "hf:[a-z./@:%-]{0,20}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(Reference::parse(&reference.to_string()), Ok(reference));
            }
        }
    }
}
