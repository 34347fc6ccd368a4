//! Lines of a user's file: numbered, bounded, and never lost because of a bad neighbour.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use crate::error::{Error, Result};

/// The longest line that is read (bytes): a context of a million tokens fits several times.
const LONGEST: u64 = 64 << 20;

/// One line of a file.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Number from 1, empty lines counted.
    pub number: usize,
    /// Its text without the line break.
    pub text: &'a str,
}

/// Calls `each` with every line that is not blank: its number, and its text or why it has none. Lines end
/// with a line feed, with or without a carriage return; a byte order mark in front is left out. `-` is the
/// standard input.
///
/// # Errors
/// A usage error when the file cannot be opened, a runtime error when reading breaks off; else what `each`
/// returns.
pub fn lines(path: &Path, mut each: impl FnMut(usize, Result<&str, String>) -> Result<()>) -> Result<()> {
    let mut reader: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(path)
            .map_err(|source| Error::usage(format!("cannot read {}", path.display())).with_source(source))?;
        Box::new(BufReader::new(file))
    };
    let mut bytes = Vec::new();
    for number in 1.. {
        bytes.clear();
        let broken = |source| {
            Error::runtime(format!("cannot read on in {} after line {}", path.display(), number - 1))
                .with_source(source)
        };
        if (&mut reader).take(LONGEST).read_until(b'\n', &mut bytes).map_err(broken)? == 0 {
            return Ok(());
        }
        if bytes.len() as u64 == LONGEST && bytes.last() != Some(&b'\n') {
            reader.skip_until(b'\n').map_err(broken)?;
            each(number, Err(format!("the line is longer than {} MiB", LONGEST >> 20)))?;
            continue;
        }
        let start = if number == 1 && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        match std::str::from_utf8(&bytes[start..]).map(str::trim_ascii) {
            Ok("") => {}
            Ok(text) => each(number, Ok(text))?,
            Err(error) => each(number, Err(format!("the line is not UTF-8: {error}")))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_do_not_hide_good_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lines");
        std::fs::write(&path, b"\xef\xbb\xbfone\r\n\n\xff\xfe\n  four  \nlast").unwrap();
        let mut seen = Vec::new();
        lines(&path, |number, text| {
            seen.push((number, text.map(str::to_owned).map_err(|error| error.len() > 10)));
            Ok(())
        })
        .unwrap();
        let good = |text: &str| Ok(text.to_owned());
        assert_eq!(seen, [(1, good("one")), (3, Err(true)), (4, good("four")), (5, good("last"))]);
    }

    #[test]
    fn a_file_that_is_not_there_is_a_usage_error() {
        let error = lines(Path::new("nowhere.jsonl"), |_, _| Ok(())).unwrap_err();
        assert_eq!(error.kind(), crate::error::Kind::Usage);
        assert!(error.to_string().contains("nowhere.jsonl"));
    }
}
