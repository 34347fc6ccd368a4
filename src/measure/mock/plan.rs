//! What a reply consists of and when each piece leaves, worked out before the first piece does.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::document::{Document, Speech, Timings, Usage};
use super::script::{FaultKind, Script};

/// A piece of a reply's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    /// When it leaves, after the request came in.
    pub at: Duration,
    /// What leaves.
    pub bytes: Bytes,
}

/// How a body ends after its last piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As HTTP wants it.
    Complete,
    /// The connection is cut.
    Abort,
    /// Never.
    Hang,
}

/// A body with its timetable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub writes: Vec<Write>,
    pub end: End,
    pub media_type: &'static str,
}

/// What a streamed request asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub usage: bool,
    /// Token counts with every event.
    pub continuous_usage: bool,
    pub timings_per_token: bool,
}

/// A chat completion as an event stream.
pub(super) fn streamed(speech: &Speech<'_>, script: &Script, wanted: Wanted) -> Plan {
    let ready = |count| script.ready(speech.processed, count);
    let mut writes = Vec::new();
    if script.role_chunk {
        writes.push(event(ready(0), &speech.role()));
    }
    let mut said = 0;
    let chunks = TextChunks::of(speech);
    for group in speech.tokens.chunks(script.tokens_per_chunk.max(1) as usize) {
        said += group.len() as u64;
        let timed = wanted.timings_per_token && script.per_token_timings;
        let timings = timed.then(|| speech.timings(script, said));
        let usage = wanted.continuous_usage.then(|| speech.usage(script, said));
        writes.push(chunks.event(ready(said), &group.concat(), usage, timings));
    }
    let mut last = speech.finish();
    if script.usage_chunk && wanted.usage {
        writes.push(event(ready(said), &last));
        last = speech.bare();
        last.usage = Some(speech.usage(script, said));
    }
    last.timings = times(script).then(|| speech.timings(script, said));
    writes.push(event(ready(said), &last));
    writes.push(Write { at: ready(said), bytes: Bytes::from_static(b"data: [DONE]\n\n") });
    Plan { writes, end: End::Complete, media_type: "text/event-stream" }
}

/// Whether the server tells how long things took.
fn times(script: &Script) -> bool {
    script.like.is_llama()
}

fn event(at: Duration, document: &Document) -> Write {
    let mut bytes = b"data: ".to_vec();
    bytes.extend(written(document));
    bytes.extend(b"\n\n");
    Write { at, bytes: bytes.into() }
}

/// The events of a reply's texts. What all of them share is written once: many replies are planned at the same moment, and while
/// one is, the others wait.
struct TextChunks {
    /// Up to the text.
    head: Vec<u8>,
    /// From the text on, without the end of the document.
    tail: Vec<u8>,
}

impl TextChunks {
    fn of(speech: &Speech<'_>) -> Self {
        const EMPTY: &[u8] = b"\"\"";
        let bytes = written(&speech.text(String::new()));
        let at = bytes.windows(EMPTY.len()).position(|two| two == EMPTY).unwrap_or_default();
        let end = bytes.len().saturating_sub(1).max(at);
        Self {
            head: [b"data: ", &bytes[..at]].concat(),
            tail: bytes[at..end].strip_prefix(EMPTY).unwrap_or_default().to_vec(),
        }
    }

    fn event(&self, at: Duration, text: &str, usage: Option<Usage>, timings: Option<Timings>) -> Write {
        let mut bytes = Vec::with_capacity(self.head.len() + self.tail.len() + text.len() + 256);
        bytes.extend_from_slice(&self.head);
        bytes.extend(written(&text));
        bytes.extend_from_slice(&self.tail);
        if let Some(usage) = usage {
            bytes.extend_from_slice(b",\"usage\":");
            bytes.extend(written(&usage));
        }
        if let Some(timings) = timings {
            bytes.extend_from_slice(b",\"timings\":");
            bytes.extend(written(&timings));
        }
        bytes.extend_from_slice(b"}\n\n");
        Write { at, bytes: bytes.into() }
    }
}

/// Documents of strings and numbers can always be written.
fn written(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).unwrap_or_default()
}

/// A chat completion in one piece.
pub(super) fn whole(speech: &Speech<'_>, script: &Script) -> Plan {
    single(script.ready(speech.processed, speech.count()), &document(speech, script))
}

/// What it says.
pub(super) fn document(speech: &Speech<'_>, script: &Script) -> Document {
    let mut document = speech.whole();
    document.usage = Some(speech.usage(script, speech.count()));
    document.timings = times(script).then(|| speech.timings(script, speech.count()));
    document
}

/// A JSON document that leaves at once.
pub(super) fn single(at: Duration, document: &impl Serialize) -> Plan {
    Plan {
        writes: vec![Write { at, bytes: written(document).into() }],
        end: End::Complete,
        media_type: "application/json; charset=utf-8",
    }
}

impl Plan {
    /// The same reply gone wrong. Faults of the status line and of the prompt are not this function's.
    pub(super) fn with(mut self, fault: FaultKind, script: &Script) -> Self {
        match fault {
            FaultKind::Silence => self.stop_half_way(End::Hang),
            FaultKind::Close => self.stop_half_way(End::Abort),
            FaultKind::Cut => self.stop_half_way(End::Complete),
            FaultKind::MalformedJson => self.cut_one_event(),
            FaultKind::ErrorEvent => {
                let error = json!({ "error": {
                    "code": 500, "message": "scripted error event", "type": "server_error",
                }});
                self.stop_half_way(End::Complete);
                self.add(format!("data: {error}\n\n"));
            }
            FaultKind::HugeLine => {
                let filler = "x".repeat(script.huge_line_bytes);
                let chunk = json!({ "choices": [{ "index": 0, "delta": { "content": filler } }] });
                let rest = self.writes.split_off(self.writes.len() / 2);
                self.add(format!("data: {chunk}\n\n"));
                self.writes.extend(rest);
            }
            FaultKind::WrongContentType => {
                let page = "<html><script>alert(1)</script>\u{1b}[2Jnot what you wanted</html>";
                self.writes.clear();
                self.add(page.to_owned());
                self.media_type = "text/html; charset=utf-8";
            }
            FaultKind::SplitUtf8 => self.writes = self.writes.iter().flat_map(split).collect(),
            FaultKind::Crlf => {
                for write in &mut self.writes {
                    let text = String::from_utf8_lossy(&write.bytes).replace('\n', "\r\n");
                    write.bytes = text.into();
                }
            }
            FaultKind::Http500
            | FaultKind::Unwritable
            | FaultKind::Hang
            | FaultKind::TruncatedPrompt
            | FaultKind::Exit
            | FaultKind::Freeze => {}
        }
        self
    }

    /// Appends a piece that leaves with the last one.
    fn add(&mut self, text: String) {
        let at = self.writes.last().map_or(Duration::ZERO, |last| last.at);
        self.writes.push(Write { at, bytes: text.into() });
    }

    /// Of several pieces the first half stays, of a single one its first half.
    fn stop_half_way(&mut self, end: End) {
        let count = self.writes.len();
        if let [only] = self.writes.as_mut_slice() {
            only.bytes.truncate(only.bytes.len() / 2);
        }
        self.writes.truncate(count.div_ceil(2));
        self.end = end;
    }

    fn cut_one_event(&mut self) {
        let middle = self.writes.len() / 2;
        if let Some(write) = self.writes.get_mut(middle) {
            let text = String::from_utf8_lossy(&write.bytes);
            let body = text.trim_end();
            let line_ends = &text[body.len()..];
            let half: String = body.chars().take(body.chars().count() / 2).collect();
            write.bytes = format!("{half}{line_ends}").into();
        }
    }
}

/// Splits a piece within its first long character, or else in the middle; the second half leaves 1 ms later.
fn split(write: &Write) -> [Write; 2] {
    let inside = write.bytes.iter().position(|byte| !byte.is_ascii());
    let at = inside.map_or(write.bytes.len() / 2, |start| start + 1);
    let [head, tail] = [write.bytes.slice(..at), write.bytes.slice(at..)];
    [Write { at: write.at, bytes: head }, Write { at: write.at + Duration::from_millis(1), bytes: tail }]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speech() -> Speech<'static> {
        Speech {
            request: 1,
            tokens: super::super::tokens::filler(10),
            complete: false,
            processed: 100,
            cached: 20,
        }
    }

    fn plan(script: &Script) -> Plan {
        let wanted = Wanted { usage: true, continuous_usage: false, timings_per_token: true };
        streamed(&speech(), script, wanted)
    }

    fn texts(plan: &Plan) -> Vec<String> {
        let text = |write: &Write| String::from_utf8_lossy(&write.bytes).into_owned();
        plan.writes.iter().map(text).collect()
    }

    #[test]
    fn chunks_of_text_are_the_documents() {
        let (speech, script) = (speech(), Script::default());
        for (usage, timings) in [(false, false), (true, false), (false, true), (true, true)] {
            let usage = usage.then(|| speech.usage(&script, 3));
            let timings = timings.then(|| speech.timings(&script, 3));
            let mut document = speech.text("a \"naïve\"\n".to_owned());
            let chunk = TextChunks::of(&speech).event(
                Duration::ZERO,
                "a \"naïve\"\n",
                usage.clone(),
                timings.clone(),
            );
            (document.usage, document.timings) = (usage, timings);
            assert_eq!(chunk, event(Duration::ZERO, &document));
        }
    }

    #[test]
    fn the_timetable_is_absolute() {
        let script = Script {
            prefill_ms_per_token: 1.0,
            decode_ms_per_token: 20.0,
            tokens_per_chunk: 4,
            ..Script::default()
        };
        let at: Vec<u128> = plan(&script).writes.iter().map(|write| write.at.as_millis()).collect();
        // role, three chunks of 4, 4 and 2 tokens, finish, usage, done
        assert_eq!(at, [100, 180, 260, 300, 300, 300, 300]);
    }

    #[test]
    fn the_form_follows_the_script() {
        let bare = Script {
            role_chunk: false,
            usage_chunk: false,
            per_token_timings: false,
            tokens_per_chunk: 16,
            ..Script::default()
        };
        let texts = texts(&plan(&bare));
        assert_eq!(texts.len(), 3);
        assert!(texts[0].contains("naïve") && !texts[0].contains("timings"));
        assert!(texts[1].contains("\"finish_reason\":\"length\"") && texts[1].contains("timings"));
        assert_eq!(texts[2], "data: [DONE]\n\n");
    }

    #[test]
    fn faults_change_what_they_name() {
        let script = Script { huge_line_bytes: 5000, ..Script::default() };
        let good = plan(&script);
        let with = |fault| good.clone().with(fault, &script);
        assert_eq!(with(FaultKind::Close).end, End::Abort);
        assert_eq!(with(FaultKind::Silence).end, End::Hang);
        assert_eq!(with(FaultKind::Cut).end, End::Complete);
        assert_eq!(with(FaultKind::Cut).writes, good.writes[..good.writes.len().div_ceil(2)]);
        assert!(texts(&with(FaultKind::ErrorEvent)).concat().ends_with("\"server_error\"}}\n\n"));
        assert!(texts(&with(FaultKind::HugeLine)).iter().any(|text| text.len() > 5000));
        assert!(texts(&with(FaultKind::Crlf)).iter().all(|text| text.ends_with("\r\n\r\n")));
        let malformed = texts(&with(FaultKind::MalformedJson));
        let odd = malformed.iter().zip(texts(&good)).filter(|(a, b)| *a != b).count();
        assert_eq!(odd, 1);
        let split = with(FaultKind::SplitUtf8);
        assert_eq!(
            texts(&good).concat().into_bytes(),
            split.writes.iter().flat_map(|w| w.bytes.to_vec()).collect::<Vec<_>>()
        );
        assert!(split.writes.iter().any(|write| std::str::from_utf8(&write.bytes).is_err()));
    }

    #[test]
    fn half_of_a_single_piece_is_half_of_its_bytes() {
        let script = Script::default();
        let good = whole(&speech(), &script);
        let cut = good.clone().with(FaultKind::Close, &script);
        assert_eq!(cut.writes[0].bytes.len(), good.writes[0].bytes.len() / 2);
    }
}
