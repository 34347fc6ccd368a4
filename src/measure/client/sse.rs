//! Server-sent events: bytes in any chunking to events.
//!
//! Follows the event stream format of the WHATWG HTML standard (section 9.2.6, "interpreting an event
//! stream"): lines end in LF, CRLF or CR; a byte-order mark in front is dropped; comment lines are skipped;
//! several `data` lines of one event are joined with LF; an event that no blank line ends is discarded.
//! `id` and `retry` are of no use here and are skipped too.

use thiserror::Error;

/// One event with the place in the stream where it was complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The event's name; `None` when the server gave none.
    pub name: Option<String>,
    /// The data; bytes that are not UTF-8 became U+FFFD.
    pub data: String,
    /// Offset just past the line end that completed the event (bytes from the start of the stream). In a
    /// final CRLF that is the CR: nothing more has to arrive for the event to be complete.
    pub end: usize,
}

impl Event {
    /// Whether this is the mark with which OpenAI-style servers end a stream.
    pub fn is_done(&self) -> bool {
        self.data.trim() == "[DONE]"
    }
}

/// How large lines and events may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Longest line without its end (bytes).
    pub line: usize,
    /// Most data in one event (bytes).
    pub event: usize,
}

/// Why a stream is not worth reading further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SseError {
    /// A line has no end in sight.
    #[error("a line of the event stream is longer than {limit} bytes")]
    LineTooLong {
        /// [`Bounds::line`].
        limit: usize,
    },
    /// An event collects data without end.
    #[error("an event of the stream holds more than {limit} bytes")]
    EventTooLarge {
        /// [`Bounds::event`].
        limit: usize,
    },
}

/// All events of a whole stream.
///
/// # Errors
/// When a line or an event is over its bound.
pub fn decode(stream: &[u8], bounds: Bounds) -> Result<Vec<Event>, SseError> {
    let mut events = Vec::new();
    Decoder::new(bounds).push(stream, &mut events)?;
    Ok(events)
}

/// Decodes a stream that arrives in pieces; how it is cut makes no difference.
#[derive(Debug)]
pub struct Decoder {
    bounds: Bounds,
    /// The line so far, without its end.
    line: Vec<u8>,
    name: Option<String>,
    /// The data lines so far, each followed by LF.
    data: Vec<u8>,
    /// Bytes taken so far.
    taken: usize,
    first_line: bool,
    /// The last line ended in CR: a LF now belongs to that line end.
    after_cr: bool,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            line: Vec::new(),
            name: None,
            data: Vec::new(),
            taken: 0,
            first_line: true,
            after_cr: false,
        }
    }

    /// Takes the next bytes and appends the events that they complete.
    ///
    /// # Errors
    /// When a line or an event is over its bound; the decoder is of no use afterwards.
    pub fn push(&mut self, mut bytes: &[u8], events: &mut Vec<Event>) -> Result<(), SseError> {
        while !bytes.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if bytes[0] == b'\n' {
                    bytes = self.skip(bytes, 1);
                    continue;
                }
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', bytes) else {
                self.extend_line(bytes)?;
                self.taken += bytes.len();
                return Ok(());
            };
            let line = &bytes[..end];
            self.after_cr = bytes[end] == b'\r';
            bytes = self.skip(bytes, end + 1);
            self.end_line(line, events)?;
        }
        Ok(())
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], count: usize) -> &'a [u8] {
        self.taken += count;
        &bytes[count..]
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), SseError> {
        self.check_line(bytes)?;
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn check_line(&self, more: &[u8]) -> Result<(), SseError> {
        let limit = self.bounds.line;
        let fits = more.len() <= limit.saturating_sub(self.line.len());
        if fits { Ok(()) } else { Err(SseError::LineTooLong { limit }) }
    }

    /// The line ends with these bytes. One that came in one piece, as almost all do, is not copied.
    fn end_line(&mut self, rest: &[u8], events: &mut Vec<Event>) -> Result<(), SseError> {
        if self.line.is_empty() {
            self.check_line(rest)?;
            return self.whole_line(rest, events);
        }
        self.extend_line(rest)?;
        let mut line = std::mem::take(&mut self.line);
        self.whole_line(&line, events)?;
        line.clear();
        self.line = line; // keeps its allocation
        Ok(())
    }

    fn whole_line(&mut self, line: &[u8], events: &mut Vec<Event>) -> Result<(), SseError> {
        let is_first = std::mem::take(&mut self.first_line);
        let line = line.strip_prefix(b"\xEF\xBB\xBF").filter(|_| is_first).unwrap_or(line);
        if line.is_empty() {
            self.dispatch(events);
            return Ok(());
        }
        self.field(line)
    }

    /// A line with a colon in front is a comment: its field name is empty.
    fn field(&mut self, line: &[u8]) -> Result<(), SseError> {
        let colon = memchr::memchr(b':', line);
        let (name, value) = match colon {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &line[line.len()..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match name {
            b"data" => {
                let limit = self.bounds.event;
                if value.len() + 1 > (limit + 1).saturating_sub(self.data.len()) {
                    return Err(SseError::EventTooLarge { limit });
                }
                self.data.reserve(value.len() + 1);
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => self.name = Some(String::from_utf8_lossy(value).into_owned()),
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, events: &mut Vec<Event>) {
        let name = self.name.take();
        if self.data.pop().is_none() {
            return; // no data line at all: not an event
        }
        let data = std::mem::take(&mut self.data);
        let data = String::from_utf8(data)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        events.push(Event { name, data, end: self.taken });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WIDE: Bounds = Bounds { line: 1 << 20, event: 1 << 20 };

    fn data(stream: &[u8]) -> Vec<String> {
        let events = decode(stream, WIDE).unwrap();
        events.into_iter().map(|event| event.data).collect()
    }

    #[test]
    fn every_line_end_separates_events() {
        let expected = ["a", "b"];
        assert_eq!(data(b"data: a\n\ndata: b\n\n"), expected);
        assert_eq!(data(b"data: a\r\n\r\ndata: b\r\n\r\n"), expected);
        assert_eq!(data(b"data: a\r\rdata: b\r\r"), expected);
        assert_eq!(data(b"data: a\r\n\ndata: b\n\r\n"), expected);
    }

    #[test]
    fn fields_follow_the_standard() {
        assert_eq!(data(b"data: one\ndata: two\n\n"), ["one\ntwo"]);
        assert_eq!(data(b"data:x\ndata\ndata:  y\n\n"), ["x\n\n y"]);
        assert_eq!(data(b": comment\n\nid: 7\nretry: 9\nother\n\ndata: z\n\n"), ["z"]);
        assert_eq!(data(b"data\n\n"), [""]);
        let named = decode(b"event: error\ndata: {}\n\ndata: next\n\n", WIDE).unwrap();
        assert_eq!(named[0].name.as_deref(), Some("error"));
        assert_eq!(named[1].name, None);
    }

    #[test]
    fn byte_order_mark_counts_only_in_front() {
        assert_eq!(data(b"\xEF\xBB\xBFdata: a\n\ndata: b\n\n"), ["a", "b"]);
        assert_eq!(data(b"\n\xEF\xBB\xBFdata: a\n\n"), Vec::<String>::new());
    }

    #[test]
    fn an_event_without_its_blank_line_is_discarded() {
        assert_eq!(data(b"data: a\n\ndata: b\n"), ["a"]);
        assert_eq!(data(b"data: a\n\ndata: b"), ["a"]);
    }

    #[test]
    fn an_event_ends_where_it_is_complete() {
        let events = decode(b"data: a\r\n\r\ndata: b\n\n", WIDE).unwrap();
        assert_eq!(events[0].end, 10);
        assert_eq!(events[1].end, 20);
    }

    #[test]
    fn done_is_recognised() {
        let events = decode(b"data: [DONE]\n\ndata: {\"a\":\"[DONE]\"}\n\n", WIDE).unwrap();
        assert!(events[0].is_done());
        assert!(!events[1].is_done());
    }

    #[test]
    fn bounds_hold() {
        let bounds = Bounds { line: 10, event: 9 };
        assert_eq!(decode(b"data: 12345", bounds), Err(SseError::LineTooLong { limit: 10 }));
        assert_eq!(decode(b"data: 1234\ndata: 1234\n\n", bounds).map(|e| e.len()), Ok(1));
        assert_eq!(
            decode(b"data: 1234\ndata: 1234\ndata\n\n", bounds),
            Err(SseError::EventTooLarge { limit: 9 })
        );
    }

    fn in_pieces(stream: &[u8], cuts: &[usize]) -> Result<Vec<Event>, SseError> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
        cuts.push(stream.len());
        cuts.sort_unstable();
        let mut decoder = Decoder::new(WIDE);
        let mut events = Vec::new();
        let mut from = 0;
        for to in cuts {
            decoder.push(&stream[from..to], &mut events)?;
            from = to;
        }
        Ok(events)
    }

    /// Pieces that make streams with every feature likely.
    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(b"data: ".to_vec()),
            Just(b"data".to_vec()),
            Just(b"event: e".to_vec()),
            Just(b": note".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"\r\n".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\n\n".to_vec()),
            Just("\u{FEFF}".as_bytes().to_vec()),
            Just("naïve 日本 🦀".as_bytes().to_vec()),
            prop::collection::vec(any::<u8>(), 0..8),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_events(
            stream in stream(),
            cuts in prop::collection::vec(any::<usize>(), 0..30),
        ) {
            prop_assert_eq!(decode(&stream, WIDE), in_pieces(&stream, &cuts));
        }

        #[test]
        fn byte_by_byte_is_no_different(stream in stream()) {
            let cuts: Vec<usize> = (0..stream.len()).collect();
            prop_assert_eq!(decode(&stream, WIDE), in_pieces(&stream, &cuts));
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            stream in prop::collection::vec(any::<u8>(), 0..400),
            line in 0usize..40,
            event in 0usize..40,
        ) {
            if let Ok(events) = decode(&stream, Bounds { line, event }) {
                let ends: Vec<usize> = events.iter().map(|event| event.end).collect();
                prop_assert!(ends.is_sorted());
                prop_assert!(ends.last().is_none_or(|end| *end <= stream.len()));
            }
        }
    }
}
