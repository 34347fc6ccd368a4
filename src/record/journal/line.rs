//! A line of a journal: a record as JSON, and a checksum of its bytes as the last key.
//!
//! `{"trial":{..},"crc32":"1a2b3c4d"}` is the record `{"trial":{..}}`, whose bytes have the CRC-32 (IEEE 802.3, as of
//! gzip and zip) `1a2b3c4d`. It is over bytes, so that no other way of writing the same JSON can change it, and it
//! finds every change of up to 32 neighbouring bits and every two flipped bits of a line. It is no signature: whoever
//! wants to, can make another one. Journals of before 2026-11 have none.

use serde::Serialize;

/// Between the record's last but one byte and the digits.
const OPEN: &[u8] = br#","crc32":""#;
/// Hex digits of a checksum.
const DIGITS: usize = 8;
/// Behind the digits.
const CLOSE: &[u8] = br#""}"#;

/// Whether a line had a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seal {
    /// It had, and it is right.
    Kept,
    /// It had none.
    Absent,
}

/// A record as a line with its checksum and the line break.
pub(super) fn seal(record: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(record)?;
    let sum = crc32fast::hash(&line);
    line.pop();
    line.extend_from_slice(OPEN);
    line.extend_from_slice(format!("{sum:08x}").as_bytes());
    line.extend_from_slice(CLOSE);
    line.push(b'\n');
    Ok(line)
}

/// Takes the checksum off a line without its line break; what is left is the record.
///
/// # Errors
/// When it is not that of the line, in words.
pub(super) fn unseal(line: &mut Vec<u8>) -> Result<Seal, String> {
    let Some((record, sum)) = split(line) else {
        return Ok(Seal::Absent);
    };
    line.truncate(record);
    line.push(b'}');
    let now = crc32fast::hash(line);
    if now == sum {
        return Ok(Seal::Kept);
    }
    Err(format!("its checksum is {sum:08x}, that of its bytes is {now:08x}"))
}

/// Whether an unended line is a whole one with another byte than a line break behind it.
pub(super) fn lost_its_end(line: &[u8]) -> bool {
    line.split_last().is_some_and(|(_, rest)| unseal(&mut rest.to_vec()) == Ok(Seal::Kept))
}

/// Whether a line has a checksum that another tool has put elsewhere.
pub(super) fn was_rewritten(line: &[u8]) -> bool {
    let value = serde_json::from_slice::<serde_json::Value>(line);
    value.is_ok_and(|value| value.get("crc32").is_some())
}

/// How many bytes are the record's, but for its last; and the checksum.
fn split(line: &[u8]) -> Option<(usize, u32)> {
    let rest = line.strip_suffix(CLOSE)?;
    let (rest, digits) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let record = rest.strip_suffix(OPEN)?.len();
    let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
    Some((record, u32::from_str_radix(digits?, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_gzip_and_zip() {
        // python3 -c 'import zlib; print("%08x" % zlib.crc32(b"{\"trial\":1}"))'
        let mut line = br#"{"trial":1,"crc32":"f47cf1c7"}"#.to_vec();
        let found = unseal(&mut line);
        assert_eq!((found, line.as_slice()), (Ok(Seal::Kept), br#"{"trial":1}"#.as_slice()));
    }

    #[test]
    fn a_wrong_checksum_is_said_and_none_is_none() {
        let wrong = unseal(&mut br#"{"trial":2,"crc32":"f47cf1c7"}"#.to_vec()).unwrap_err();
        assert!(wrong.contains("f47cf1c7"), "{wrong}");
        for plain in
            [r#"{"trial":{}}"#, r#"{"trial":1,"crc32":"7ffae9"}"#, "", "}", r#"{"crc32":"f47cf1c7"}"#]
        {
            assert_eq!(unseal(&mut plain.as_bytes().to_vec()), Ok(Seal::Absent), "{plain}");
        }
        assert!(was_rewritten(br#"{"crc32": "f47cf1c7", "trial": 1}"#) && !was_rewritten(br#"{"trial":1}"#));
    }
}
