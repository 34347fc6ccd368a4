//! A user's own text: found and hashed when the suite is read, cut into sentences when cases are made.

use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::record::short_hash;
use crate::record::suite::TextSource;

/// Largest text (bytes): far more than the longest context holds.
const MAX_BYTES: u64 = 64 << 20;
/// Longest sentence (bytes); longer ones are cut at a blank. A budget is met within one sentence.
const MAX_SENTENCE: usize = 400;
/// Files of a folder that are text.
const EXTENSIONS: [&str; 2] = ["txt", "md"];

impl TextSource {
    /// Reads the text at a path for its hash.
    ///
    /// # Errors
    /// When there is no text, it is not UTF-8, or it is larger than 64 MiB.
    pub fn open(path: &Path) -> Result<Self> {
        let text = read(path)?;
        if sentences(&text).is_empty() {
            return Err(Error::usage(format!("no text in {}", path.display())));
        }
        Ok(Self { path: path.to_path_buf(), hash: short_hash(text.as_bytes()) })
    }

    /// The text cut into sentences, white space folded.
    ///
    /// # Errors
    /// When it cannot be read any more, or is not the text that it was.
    pub fn sentences(&self) -> Result<Vec<String>> {
        let text = read(&self.path)?;
        if short_hash(text.as_bytes()) != self.hash {
            let message = format!("the text in {} changed since the suite was read", self.path.display());
            return Err(Error::usage(message).hint("start a new run, or bring the old text back"));
        }
        Ok(sentences(&text))
    }
}

fn read(path: &Path) -> Result<String> {
    let mut files = Vec::new();
    if path.is_dir() {
        collect(path, &mut files)?;
        files.sort();
    } else {
        files.push(path.to_path_buf());
    }
    let mut text = String::new();
    let mut bytes = 0;
    for file in files {
        let at = || format!("cannot read text {}", file.display());
        bytes += std::fs::metadata(&file).context(at)?.len();
        if bytes > MAX_BYTES {
            return Err(Error::usage(format!(
                "more than {} MiB of text in {}",
                MAX_BYTES >> 20,
                path.display()
            )));
        }
        text.push_str(&std::fs::read_to_string(&file).context(at)?);
        text.push_str("\n\n");
    }
    Ok(text)
}

/// Text files of a folder and the folders in it; links to folders are not followed.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let at = || format!("cannot read folder {}", folder.display());
    for entry in std::fs::read_dir(folder).context(at)? {
        let entry = entry.context(at)?;
        let path = entry.path();
        if entry.file_type().context(at)?.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ext| EXTENSIONS.iter().any(|known| ext == *known)) {
            files.push(path);
        }
    }
    Ok(())
}

/// Cuts a text behind `.`, `!` and `?` (with closing quotes) that white space follows, and at empty lines.
fn sentences(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for paragraph in text.replace("\r\n", "\n").split("\n\n") {
        let mut sentence = String::new();
        for word in paragraph.split_whitespace().flat_map(pieces) {
            if !sentence.is_empty() && sentence.len() + word.len() >= MAX_SENTENCE {
                found.push(std::mem::take(&mut sentence));
            }
            if !sentence.is_empty() {
                sentence.push(' ');
            }
            sentence.push_str(word);
            let end = word.trim_end_matches(['"', '\'', ')', '”', '’']);
            if end.ends_with(['.', '!', '?', '。', '！', '？']) {
                found.push(std::mem::take(&mut sentence));
            }
        }
        if !sentence.is_empty() {
            found.push(sentence);
        }
    }
    found
}

/// A word in pieces that are short enough: scripts without blanks have words as long as paragraphs.
fn pieces(word: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = word;
    while rest.len() >= MAX_SENTENCE {
        let (piece, after) = rest.split_at(rest.floor_char_boundary(MAX_SENTENCE - 1));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_they_end() {
        let text = "# Title\n\nOne here.  Two\nthere? \"Three!\" he said (so.)\r\n\r\nNo end";
        let expected = ["# Title", "One here.", "Two there?", "\"Three!\"", "he said (so.)", "No end"];
        assert_eq!(sentences(text), expected);
        assert!(sentences(" \n\n \t").is_empty());
    }

    #[test]
    fn long_sentences_are_cut_at_blanks() {
        let text = "word ".repeat(1000);
        let cut = sentences(&text);
        assert!(cut.iter().all(|sentence| sentence.len() < MAX_SENTENCE));
        assert_eq!(cut.join(" "), text.trim());
    }

    #[test]
    fn a_folder_is_read_in_order_and_a_change_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        for (name, text) in
            [("b.txt", "Second one."), ("a.md", "First one."), ("sub/c.txt", "Third."), ("x.png", "no")]
        {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let source = TextSource::open(folder.path()).unwrap();
        assert_eq!(source.sentences().unwrap(), ["First one.", "Second one.", "Third."]);
        assert_eq!(TextSource::open(folder.path()).unwrap(), source);
        std::fs::write(folder.path().join("b.txt"), "Another one.").unwrap();
        let error = source.sentences().unwrap_err();
        assert!(error.to_string().contains("changed") && !error.hints().is_empty());
        assert_ne!(TextSource::open(folder.path()).unwrap().hash, source.hash);
    }

    #[test]
    fn no_text_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(TextSource::open(folder.path()).is_err());
        assert!(TextSource::open(&folder.path().join("missing.txt")).is_err());
        std::fs::write(folder.path().join("bad.txt"), b"\xff\xfe\x00").unwrap();
        assert!(TextSource::open(folder.path()).is_err());
    }
}
