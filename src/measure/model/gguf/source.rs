//! Where a header is read from: a stream, or pieces of a file that lies elsewhere.

use std::io::{self, Read};

/// Bytes that are taken in order, some of them passed over.
pub trait Source {
    /// Fills the buffer with the next bytes.
    ///
    /// # Errors
    /// When there are not so many.
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<()>;

    /// Passes over so many bytes.
    ///
    /// # Errors
    /// When there are not so many.
    fn skip(&mut self, length: u64) -> io::Result<()>;
}

/// A stream, from its start.
#[derive(Debug)]
pub struct Stream<R>(pub R);

impl<R: Read> Source for Stream<R> {
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(buffer)
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        match io::copy(&mut (&mut self.0).take(length), &mut io::sink())? {
            skipped if skipped == length => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

/// Pieces of a file, as far as they were fetched. What is passed over need not be there.
#[derive(Debug, Default)]
pub struct Spans {
    pieces: Vec<(u64, Vec<u8>)>,
    at: u64,
    lacking: Option<u64>,
}

impl Spans {
    /// Adds the bytes from an offset on, and goes back to the start of the file.
    pub fn add(&mut self, offset: u64, bytes: Vec<u8>) {
        self.pieces.push((offset, bytes));
        (self.at, self.lacking) = (0, None);
    }

    /// The offset from which bytes were wanted that are not here.
    pub fn lacking(&self) -> Option<u64> {
        self.lacking
    }
}

impl Source for &mut Spans {
    fn take(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let (at, length) = (self.at, buffer.len());
        let held = self.pieces.iter().rev().find_map(|(offset, bytes)| {
            let from = usize::try_from(at.checked_sub(*offset)?).ok()?;
            bytes.get(from..from.checked_add(length)?)
        });
        let Some(held) = held else {
            self.lacking = Some(at);
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        buffer.copy_from_slice(held);
        self.at += length as u64;
        Ok(())
    }

    fn skip(&mut self, length: u64) -> io::Result<()> {
        self.at = self.at.saturating_add(length);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_say_what_they_lack() {
        let mut spans = Spans::default();
        let mut two = [0; 2];
        assert!((&mut spans).take(&mut two).is_err());
        assert_eq!(spans.lacking(), Some(0));
        spans.add(0, vec![1, 2, 3]);
        let mut source = &mut spans;
        source.take(&mut two).unwrap();
        assert!(source.take(&mut two).is_err(), "it must lie in one piece");
        assert_eq!(spans.lacking(), Some(2));
        spans.add(2, vec![3, 4, 5]);
        let mut source = &mut spans;
        source.skip(3).unwrap();
        source.take(&mut two).unwrap();
        assert_eq!(two, [4, 5]);
    }
}
