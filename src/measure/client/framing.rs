//! How HTTP/1.1 frames a reply: its head, and where its body ends.

use reqwest::StatusCode;
use thiserror::Error;

/// Largest head (bytes).
const HEAD_BYTES: usize = 64 << 10;
/// Most header fields of a reply.
const FIELDS: usize = 100;
/// Longest line of a chunk's size, or of a field behind the last chunk (bytes).
const LINE_BYTES: usize = 8 << 10;

/// Why bytes are no reply.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Unframed {
    /// Its head cannot be read.
    #[error("the head of the reply is not HTTP/1.1 ({0})")]
    Head(String),
    /// Its head has no end in sight.
    #[error("the head of the reply is longer than {HEAD_BYTES} bytes")]
    LongHead,
    /// Its length is said in two ways, or is no number.
    #[error("the reply does not say how long it is in one way")]
    Length,
    /// A chunk is framed wrongly.
    #[error("a chunk of the reply is not framed as HTTP/1.1 wants it")]
    Chunk,
}

/// The head of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    /// Value of `Content-Type`; empty when there is none.
    pub(super) content_type: String,
    pub(super) body: Body,
}

impl Head {
    /// The head at the beginning of these bytes, and its length; `None`: more bytes are wanted. Interim replies (1xx) are
    /// passed over.
    ///
    /// # Errors
    /// When these bytes are not the beginning of a reply.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<(Self, usize)>, Unframed> {
        let mut start = 0;
        loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS];
            let mut response = httparse::Response::new(&mut fields);
            let parsed =
                response.parse(&bytes[start..]).map_err(|error| Unframed::Head(error.to_string()))?;
            let httparse::Status::Complete(length) = parsed else {
                return if bytes.len() - start > HEAD_BYTES { Err(Unframed::LongHead) } else { Ok(None) };
            };
            start += length;
            let status = StatusCode::from_u16(response.code.unwrap_or_default())
                .map_err(|error| Unframed::Head(error.to_string()))?;
            if !status.is_informational() {
                return Ok(Some((Self::of(status, response.headers)?, start)));
            }
        }
    }

    fn of(status: StatusCode, fields: &[httparse::Header<'_>]) -> Result<Self, Unframed> {
        let value = |name: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        let content_type = value("content-type").and_then(|field| std::str::from_utf8(field.value).ok());
        let is_empty = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = if is_empty { Body::Sized(0) } else { Body::of(fields)? };
        Ok(Self { status, content_type: content_type.unwrap_or_default().to_owned(), body })
    }
}

/// What of a body is still to come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Sized(u64),
    /// All until the connection ends.
    UntilClosed,
    /// Chunks.
    Chunked(Chunks),
}

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the line of a chunk's size.
    Size { size: u64, digits: u8, length: usize },
    /// Behind the digits of that line.
    Extension { size: u64, length: usize },
    /// In its line end.
    SizeEnd { size: u64 },
    /// In a chunk's data, so many bytes before its end.
    Data(u64),
    /// In the line end behind it.
    DataEnd,
    /// In the line feed of that line end.
    DataFeed,
    /// In a line of the fields behind the last chunk, so long already.
    Trailer(usize),
    /// In the line feed of the empty line that ends the body.
    LastFeed,
    /// Behind the body.
    Done,
}

impl Chunks {
    const START: Self = Self::Size { size: 0, digits: 0, length: 0 };

    /// Behind one byte of the framing.
    fn after(self, byte: u8) -> Result<Self, Unframed> {
        Ok(match (self, byte) {
            (Self::Size { size, digits: 1.., .. }, b'\r') => Self::SizeEnd { size },
            (Self::Size { size, digits: 1.., .. }, b'\n') => Self::of_size(size),
            (Self::Size { size, digits: 1.., length }, b';' | b' ' | b'\t') => {
                Self::Extension { size, length }
            }
            (Self::Size { size, digits: digits @ ..16, length }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Unframed::Chunk)?;
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1, length: length + 1 }
            }
            (Self::Extension { size, .. }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { size, .. }, b'\n') => Self::of_size(size),
            (Self::Extension { size, length: length @ ..LINE_BYTES }, _) => {
                Self::Extension { size, length: length + 1 }
            }
            (Self::SizeEnd { size }, b'\n') => Self::of_size(size),
            (Self::DataEnd, b'\r') => Self::DataFeed,
            (Self::DataEnd | Self::DataFeed, b'\n') => Self::START,
            (Self::Trailer(0), b'\r') => Self::LastFeed,
            (Self::Trailer(0) | Self::LastFeed, b'\n') => Self::Done,
            (Self::Trailer(_), b'\n') => Self::Trailer(0),
            (Self::Trailer(length @ ..LINE_BYTES), _) => Self::Trailer(length + 1),
            _ => return Err(Unframed::Chunk),
        })
    }

    fn of_size(size: u64) -> Self {
        if size == 0 { Self::Trailer(0) } else { Self::Data(size) }
    }
}

impl Body {
    fn of(fields: &[httparse::Header<'_>]) -> Result<Self, Unframed> {
        let values = |name: &'static str| {
            fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
        };
        if let Some(coding) = values("transfer-encoding").next_back() {
            let last = coding.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
            let is_chunked = last.eq_ignore_ascii_case(b"chunked");
            return Ok(if is_chunked { Self::Chunked(Chunks::START) } else { Self::UntilClosed });
        }
        let mut lengths = values("content-length");
        let Some(first) = lengths.next() else { return Ok(Self::UntilClosed) };
        let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
        let length = std::str::from_utf8(first).ok().filter(|_| is_number).and_then(|text| text.parse().ok());
        match length {
            Some(length) if lengths.all(|other| other == first) => Ok(Self::Sized(length)),
            _ => Err(Unframed::Length),
        }
    }

    /// Whether nothing more belongs to it.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Sized(0) | Self::Chunked(Chunks::Done))
    }

    /// Whether it is whole when the connection ends here.
    pub(super) fn may_end(&self) -> bool {
        self.has_ended() || *self == Self::UntilClosed
    }

    /// Takes the next bytes; `keep` gets what in them is the body itself. What comes behind its end is dropped.
    ///
    /// # Errors
    /// When they are framed wrongly.
    pub(super) fn take(&mut self, mut bytes: &[u8], mut keep: impl FnMut(&[u8])) -> Result<(), Unframed> {
        while !bytes.is_empty() && !self.has_ended() {
            let most = bytes.len() as u64;
            let data = match self {
                Self::UntilClosed => most,
                Self::Sized(left) | Self::Chunked(Chunks::Data(left)) => most.min(*left),
                Self::Chunked(chunks) => {
                    *chunks = chunks.after(bytes[0])?;
                    bytes = &bytes[1..];
                    continue;
                }
            };
            let (piece, rest) = bytes.split_at(data as usize);
            keep(piece);
            bytes = rest;
            match self {
                Self::Sized(left) => *left -= data,
                Self::Chunked(Chunks::Data(left)) if *left > data => *left -= data,
                Self::Chunked(chunks) => *chunks = Chunks::DataEnd,
                Self::UntilClosed => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Result<Option<(Head, usize)>, Unframed> {
        Head::read(text.as_bytes())
    }

    fn body(fields: &str) -> Result<Body, Unframed> {
        head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).map(|read| read.unwrap().0.body)
    }

    /// The body in these bytes, cut at `cuts`, and whether it has ended.
    fn taken(mut body: Body, bytes: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, bool), Unframed> {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let (mut kept, mut from) = (Vec::new(), 0);
        for to in cuts {
            body.take(&bytes[from..to], |piece| kept.extend_from_slice(piece))?;
            from = to;
        }
        Ok((kept, body.has_ended()))
    }

    fn chunked(bytes: &[u8]) -> Result<(Vec<u8>, bool), Unframed> {
        taken(Body::Chunked(Chunks::START), bytes, &[])
    }

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-TYPE: a/b; c\r\nContent-Length: 3\r\n\r\nabc";
        for end in 0..text.len() - 3 {
            assert_eq!(head(&text[..end]), Ok(None), "{end}");
        }
        let (read, length) = head(text).unwrap().unwrap();
        assert_eq!((read.status, read.content_type.as_str()), (StatusCode::NOT_FOUND, "a/b; c"));
        assert_eq!((read.body, &text[length..]), (Body::Sized(3), "abc"));
        assert_eq!(head("HTTP/1.1 204 No Content\r\n\r\n").unwrap().unwrap().0.body, Body::Sized(0));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "\0\0\0",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        ] {
            assert!(matches!(head(text), Err(Unframed::Head(_))), "{text}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\na: {}", "x".repeat(HEAD_BYTES));
        assert_eq!(head(&endless), Err(Unframed::LongHead));
        let many = "a: b\r\n".repeat(FIELDS + 1);
        assert!(matches!(body(&many), Err(Unframed::Head(_))));
    }

    #[test]
    fn a_body_ends_as_its_head_says() {
        assert_eq!(body("content-length: 7\r\n"), Ok(Body::Sized(7)));
        assert_eq!(body("content-length: 7\r\nContent-Length: 7\r\n"), Ok(Body::Sized(7)));
        assert_eq!(body(""), Ok(Body::UntilClosed));
        assert_eq!(body("transfer-encoding: gzip\r\n"), Ok(Body::UntilClosed));
        let both = "content-length: 7\r\ntransfer-encoding: gzip, Chunked\r\n";
        assert_eq!(body(both), Ok(Body::Chunked(Chunks::START)));
        for wrong in ["7\r\ncontent-length: 8", "-1", "+7", "7,7", "", "99999999999999999999"] {
            assert_eq!(body(&format!("content-length: {wrong}\r\n")), Err(Unframed::Length), "{wrong}");
        }
    }

    #[test]
    fn bodies_end_where_they_should() {
        assert_eq!(taken(Body::Sized(3), b"abcd", &[2]), Ok((b"abc".to_vec(), true)));
        assert_eq!(taken(Body::Sized(3), b"ab", &[]), Ok((b"ab".to_vec(), false)));
        assert_eq!(taken(Body::UntilClosed, b"ab", &[1]), Ok((b"ab".to_vec(), false)));
        let whole = b"3\r\nabc\r\n00A;x=\"y\"\r\n0123456789\r\n1 \nd\n0\r\nField: v\r\n\r\nbehind it";
        assert_eq!(chunked(whole), Ok((b"abc0123456789d".to_vec(), true)));
        assert_eq!(chunked(b"3\r\nabc\r\n0\r\n"), Ok((b"abc".to_vec(), false)));
    }

    #[test]
    fn wrong_chunks_are_refused() {
        for wrong in
            ["\r\n", "x\r\n", "3\rx", "3\r\nabcd", "1\r\na\rb", "0x3\r\n", "-1\r\n", "fffffffffffffffff\r\n"]
        {
            assert_eq!(chunked(wrong.as_bytes()), Err(Unframed::Chunk), "{wrong}");
        }
        for endless in
            [format!("1;{}", "x".repeat(2 * LINE_BYTES)), format!("0\r\n{}", "x".repeat(2 * LINE_BYTES))]
        {
            assert_eq!(chunked(endless.as_bytes()), Err(Unframed::Chunk));
        }
    }

    proptest! {
        #[test]
        fn cuts_make_no_difference(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            cuts in prop::collection::vec(any::<usize>(), 0..20),
        ) {
            let mut wire = Vec::new();
            for piece in &pieces {
                wire.extend(format!("{:x}\r\n", piece.len()).bytes());
                wire.extend(piece);
                wire.extend(b"\r\n");
            }
            wire.extend(b"0\r\n\r\n");
            prop_assert_eq!(taken(Body::Chunked(Chunks::START), &wire, &cuts), Ok((pieces.concat(), true)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cuts in prop::collection::vec(any::<usize>(), 0..4),
        ) {
            let _ = Head::read(&bytes);
            let cut = taken(Body::Chunked(Chunks::START), &bytes, &cuts);
            prop_assert_eq!(cut.is_ok(), chunked(&bytes).is_ok());
        }
    }
}
