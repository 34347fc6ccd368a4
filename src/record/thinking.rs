//! Parts a reply's text into what the model thought and what it said.
//!
//! Servers that know a model's format take the reasoning out of the text; others leave it in. One rule for every
//! task and every import, so that a score does not depend on which server answered:
//!
//! 1. What stands between a pair of [`TAGS`] is thinking, wherever it stands.
//! 2. A closing tag without an opening one ends thinking that the template began in the prompt: all in front of it is
//!    thinking.
//! 3. An opening tag at the start of a line that nothing closes opens thinking that never ended: all behind it is
//!    thinking.
//! 4. In the channels of harmony (gpt-oss) `analysis` is thinking, `final` is what was said, and so is `commentary`
//!    to nobody where there is no `final`; a message to a function is a call, neither of both.
//! 5. Granite 3.2 writes its borders in words.
//!
//! A tag in backquotes or quotes is talk about the tag.

use std::borrow::Cow;

/// Opening and closing tags of thinking, as the models' own templates have them.
///
/// Sources: the reasoning parsers of vLLM and SGLang and the chat formats of llama.cpp.
pub const TAGS: &[(&str, &str)] = &[
    // Qwen, DeepSeek, GLM, MiniMax, Nemotron, Hunyuan, Step, ERNIE, Hermes, Olmo and many more.
    ("<think>", "</think>"),
    // Hunyuan 3.
    ("<think:opensource>", "</think:opensource>"),
    ("<thinking>", "</thinking>"),
    // EXAONE Deep.
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    // Seed-OSS.
    ("<seed:think>", "</seed:think>"),
    // LongCat.
    ("<longcat_think>", "</longcat_think>"),
    // Magistral and later Mistral models.
    ("[THINK]", "[/THINK]"),
    // Command A Reasoning.
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    // Apertus.
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    // Kimi.
    ("◁think▷", "◁/think▷"),
    // Open-weight distillations in the manner of o1.
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    // Gemma 4.
    ("<|channel>thought", "<channel|>"),
    // Solar Open.
    ("<|think|>", "<|end|>"),
];

/// Closing tags that also end other things: only behind their opening tag do they end thinking.
const ENDS_MORE: &[&str] = &["<|end|>"];

/// The second characters of all tags: most of what begins like a tag goes on otherwise.
const SECOND: [char; 8] = ['/', '|', 't', 'r', 's', 'l', 'c', 'T'];

/// Bytes in front of which tags are looked for: a million tokens. A text of more is no reply to anything.
const LOOKED_AT: usize = 4 << 20;

/// Where Granite 3.2 says that it thinks, and that it answers.
const GRANITE: [&[&str]; 2] = [
    &["Here is my thought process:", "Here's my thought process:"],
    &["Here is my response:", "Here's my response:"],
];

/// Markers of harmony.
const CHANNEL: &str = "<|channel|>";
const START: &str = "<|start|>";
const MESSAGE: &str = "<|message|>";
const MESSAGE_ENDS: [&str; 5] = ["<|end|>", "<|return|>", "<|call|>", START, CHANNEL];
/// What is left of harmony's markers where a server leaves special tokens out.
const BARE_ANALYSIS: &str = "analysis";
const BARE_FINAL: &str = "assistantfinal";
const BARE_TURN: &str = "assistantcommentary";

/// A text in parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parted<'a> {
    /// What the model thought, its parts one after another.
    pub thinking: Cow<'a, str>,
    /// What it said: the text without the thinking and, in harmony, without the markers and the calls.
    pub answer: Cow<'a, str>,
    /// All but the thinking, markers and calls included.
    pub rest: Cow<'a, str>,
}

/// Parts a text.
pub fn part(text: &str) -> Parted<'_> {
    if let Some(parted) = harmony(text).or_else(|| bare_harmony(text)).or_else(|| granite(text)) {
        return parted;
    }
    let Some(pieces) = by_tags(text) else {
        return Parted { answer: text.into(), rest: text.into(), thinking: "".into() };
    };
    let of = |thought: bool| {
        let mut pieces = pieces.iter().filter(|piece| piece.thought == thought).map(|piece| piece.text);
        match (pieces.next(), pieces.next()) {
            (None, _) => Cow::Borrowed(""),
            (Some(only), None) => Cow::Borrowed(only),
            (Some(one), Some(two)) => Cow::Owned([one, two].into_iter().chain(pieces).collect()),
        }
    };
    Parted { thinking: of(true), answer: of(false), rest: of(false) }
}

/// A stretch of a text.
struct Piece<'a> {
    text: &'a str,
    thought: bool,
}

/// The text in stretches by its tags; none without a tag that counts.
fn by_tags(text: &str) -> Option<Vec<Piece<'_>>> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    // Pieces that are known to be thinking, whatever comes.
    let mut settled = 0;
    let mut missing: Vec<&str> = Vec::new();
    let mut at = 0;
    let mut from = 0;
    let mut found = false;
    while let Some(tag) = next_tag(text, from) {
        from = tag.end;
        match tag.closed_by {
            // A closing tag: what stands in front of it was thinking.
            None => {
                pieces[settled..].iter_mut().for_each(|piece| piece.thought = true);
                pieces.push(Piece { text: &text[at..tag.start], thought: true });
                settled = pieces.len();
                at = tag.end;
            }
            Some(close) => match find_once(text, tag.end, close, &mut missing) {
                Some(end) => {
                    pieces.push(said(&text[at..tag.start]));
                    pieces.push(Piece { text: &text[tag.end..end], thought: true });
                    at = end + close.len();
                    from = at;
                }
                None if starts_line(text, tag.start) => {
                    pieces.push(said(&text[at..tag.start]));
                    pieces.push(Piece { text: &text[tag.end..], thought: true });
                    return Some(pieces);
                }
                None => continue,
            },
        }
        found = true;
    }
    pieces.push(Piece { text: &text[at..], thought: false });
    found.then_some(pieces)
}

/// What stands in front of thinking; blanks alone are nothing that was said.
fn said(text: &str) -> Piece<'_> {
    Piece { text, thought: text.trim().is_empty() }
}

/// Where `mark` next stands; what is not there once is not looked for again.
fn find_once<'a>(text: &str, from: usize, mark: &'a str, missing: &mut Vec<&'a str>) -> Option<usize> {
    if missing.contains(&mark) {
        return None;
    }
    let found = text[from..].find(mark).map(|offset| from + offset);
    if found.is_none() {
        missing.push(mark);
    }
    found
}

/// A tag in a text.
struct Tag {
    start: usize,
    end: usize,
    /// For an opening tag: the tag that closes it.
    closed_by: Option<&'static str>,
}

/// The first tag at or behind `from` that is not just talked about.
fn next_tag(text: &str, from: usize) -> Option<Tag> {
    let end = text.floor_char_boundary(LOOKED_AT);
    let mut at = from;
    while let Some(offset) = text.get(at..end).and_then(|text| text.find(['<', '[', '◁'])) {
        at += offset;
        let here = &text[at..];
        if !here.chars().nth(1).is_some_and(|c| SECOND.contains(&c)) {
            at += here.chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let tag = TAGS.iter().find_map(|(open, close)| {
            let tag = |of: &str, closed_by| Tag { start: at, end: at + of.len(), closed_by };
            if here.starts_with(open) {
                Some(tag(open, Some(*close)))
            } else if here.starts_with(close) && !ENDS_MORE.contains(close) {
                Some(tag(close, None))
            } else {
                None
            }
        });
        match tag {
            Some(tag) if !is_quoted(text, &tag) => return Some(tag),
            Some(tag) => at = tag.end,
            None => at += here.chars().next().map_or(1, char::len_utf8),
        }
    }
    None
}

/// Whether a tag stands between two backquotes or quotes of the same kind.
fn is_quoted(text: &str, tag: &Tag) -> bool {
    let before = text[..tag.start].chars().next_back();
    let after = text[tag.end..].chars().next();
    matches!((before, after), (Some(a @ ('`' | '"' | '\'')), Some(b)) if a == b)
}

fn starts_line(text: &str, at: usize) -> bool {
    let before = text[..at].trim_end_matches([' ', '\t', '\r']);
    before.is_empty() || before.ends_with('\n')
}

/// A text in harmony's channels.
fn harmony(text: &str) -> Option<Parted<'_>> {
    if !text[..text.floor_char_boundary(LOOKED_AT)].contains(CHANNEL) {
        return None;
    }
    let (mut thinking, mut finals, mut preambles) = (String::new(), String::new(), String::new());
    let mut rest = String::new();
    let mut at = 0;
    while let Some(offset) = text[at..].find(CHANNEL) {
        let channel = at + offset;
        // The header of a message may name its recipient in front of the channel.
        let start = text[at..channel].rfind(START).map_or(channel, |offset| at + offset);
        let Some(body) = text[channel..].find(MESSAGE).map(|offset| channel + offset + MESSAGE.len()) else {
            break;
        };
        preambles.push_str(&text[at..start]);
        rest.push_str(&text[at..start]);
        let end = message_end(text, body);
        let header = &text[start..body];
        let is_call = header.contains(" to=");
        let name = text[channel + CHANNEL.len()..].trim_start();
        let said = &text[body..end];
        if !is_call && name.starts_with(BARE_ANALYSIS) {
            thinking.push_str(said);
        } else {
            rest.push_str(&text[start..end]);
            match name.starts_with("final") {
                _ if is_call => {}
                true => finals.push_str(said),
                false => preambles.push_str(said),
            }
        }
        // The mark that ends a message is no text.
        let mark = MESSAGE_ENDS[..3].iter().find(|mark| text[end..].starts_with(**mark));
        at = end + mark.map_or(0, |mark| mark.len());
    }
    // A header without a message is all that is left of a reply that was cut off.
    if !text[at..].contains(CHANNEL) && !text[at..].starts_with(START) {
        preambles.push_str(&text[at..]);
    }
    rest.push_str(&text[at..]);
    let answer = if finals.is_empty() { preambles } else { finals };
    Some(Parted { thinking: thinking.into(), answer: answer.into(), rest: rest.into() })
}

/// Where the message ends that begins at `body`.
fn message_end(text: &str, body: usize) -> usize {
    let mut marks = text[body..].match_indices("<|").map(|(offset, _)| body + offset);
    marks.find(|at| MESSAGE_ENDS.iter().any(|end| text[*at..].starts_with(end))).unwrap_or(text.len())
}

/// Harmony without its special tokens: `analysisWe need ..assistantfinalIt is 7.`
fn bare_harmony(text: &str) -> Option<Parted<'_>> {
    let thinking = text.trim_start().strip_prefix(BARE_ANALYSIS)?;
    let glued = thinking.starts_with(|c: char| c.is_uppercase());
    if let Some((thinking, answer)) = thinking.rsplit_once(BARE_FINAL) {
        return Some(Parted { thinking: thinking.into(), answer: answer.into(), rest: answer.into() });
    }
    let (thinking, rest) = match thinking.find(BARE_TURN) {
        Some(at) => thinking.split_at(at),
        None if glued => (thinking, ""),
        None => return None,
    };
    Some(Parted { thinking: thinking.into(), answer: "".into(), rest: rest.into() })
}

/// Granite 3.2: `Here is my thought process: .. Here is my response: ..`
fn granite(text: &str) -> Option<Parted<'_>> {
    let start = text.trim_start();
    let thinking = GRANITE[0].iter().find_map(|phrase| start.strip_prefix(phrase))?;
    let answer =
        GRANITE[1].iter().filter_map(|phrase| thinking.split_once(phrase)).min_by_key(|(a, _)| a.len());
    let (thinking, answer) = answer.unwrap_or((thinking, ""));
    Some(Parted { thinking: thinking.into(), answer: answer.into(), rest: answer.into() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(text: &str) -> String {
        part(text).answer.into_owned()
    }

    #[test]
    fn every_kind_of_tag_parts_the_thinking_from_the_answer() {
        for (open, close) in TAGS {
            let parted = format!("{open}\nIs it 6?\n{close}\n\nIt is 7.");
            let parted = part(&parted);
            assert_eq!((parted.thinking.trim(), parted.answer.trim()), ("Is it 6?", "It is 7."), "{open}");
            assert_eq!(answer(&format!("{open}\nIs it 6?")), "", "{open} that nothing closes");
            if !ENDS_MORE.contains(close) {
                assert_eq!(answer(&format!("Is it 6?\n{close}It is 7.")), "It is 7.", "only {close}");
            }
        }
    }

    #[test]
    fn thinking_is_taken_out_wherever_it_stands() {
        for (text, said) in [
            ("", ""),
            ("It is 7.", "It is 7."),
            ("<think></think>", ""),
            (" <think>It must be 7", ""),
            // Both the template and the model opened it, or the model closed it twice.
            ("<think>5</think>6?</think>7", "7"),
            ("5<think>6</think>6?</think>7", "7"),
            // Interleaved: what was said before counts as well.
            ("First, <think>hm</think>7.", "First, 7."),
            ("It is 7.\n<think>Or is it 8", "It is 7.\n"),
            ("I <think> so", "I <think> so"),
            ("Close it with `</think>`, then say 7.", "Close it with `</think>`, then say 7."),
            ("\"<think>\" begins and \"</think>\" ends it.", "\"<think>\" begins and \"</think>\" ends it."),
            ("<think>a `</think>` is written</think>7", "7"),
        ] {
            assert_eq!(answer(text), said, "{text}");
        }
    }

    #[test]
    fn harmonys_channels_are_told_apart() {
        let analysis = "<|channel|>analysis<|message|>Is it 6?<|end|>";
        for (text, said) in [
            (
                format!("{analysis}<|start|>assistant<|channel|>final<|message|>It is 7.<|return|>"),
                "It is 7.",
            ),
            (format!("<|start|>assistant{analysis}<|start|>assistant<|channel|>final<|message|>7"), "7"),
            (analysis.to_owned(), ""),
            ("<|channel|>analysis<|message|>Is it 6".to_owned(), ""),
            ("<|channel|>final<|message|>7".to_owned(), "7"),
            ("<|channel|>final <|constrain|>json<|message|>{}".to_owned(), "{}"),
            (
                format!("{analysis}<|start|>assistant<|channel|>commentary<|message|>I look it up.<|end|>"),
                "I look it up.",
            ),
            (
                format!(
                    "{analysis}<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{{}}<|call|>"
                ),
                "",
            ),
            ("analysisIs it 6?assistantfinalIt is 7.".to_owned(), "It is 7."),
            ("analysisWe need to look".to_owned(), ""),
            ("analysis of the text: 7".to_owned(), "analysis of the text: 7"),
        ] {
            assert_eq!(answer(&text), said, "{text}");
            assert!(!part(&text).rest.contains("6?"), "{text}");
        }
        let call = "<|start|>assistant to=functions.f<|channel|>commentary json<|message|>{}<|call|>";
        let call_after_thinking = format!("{analysis}{call}");
        let parted = part(&call_after_thinking);
        assert_eq!((parted.thinking.as_ref(), parted.answer.as_ref()), ("Is it 6?", ""));
        assert!(parted.rest.contains("to=functions.f"), "{parted:?}");
    }

    #[test]
    fn granites_borders_are_words() {
        let text = "Here is my thought process:\nIs it 6?\nHere is my response:\nIt is 7.";
        assert_eq!(answer(text).trim(), "It is 7.");
        assert_eq!(answer("Here's my thought process: 6"), "");
        assert_eq!(answer("It is 7. Here is my response:"), "It is 7. Here is my response:");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"(<think>|</think>|\[THINK\]|<\||\|>|<\|channel\|>|<\|message\|>|<\|start\|>|<\|end\|>|analysis|assistantfinal|final| to=f|é|◁|`|\n|a){0,24}"#) {
            let parted = part(&text);
            prop_assert!(parted.answer.len() + parted.thinking.len() <= text.len());
        }
    }

    /// Texts of megabytes that make careless scanners quadratic. The limit is far above what it takes.
    #[test]
    fn hostile_texts_take_bounded_time() {
        let start = std::time::Instant::now();
        for pattern in [
            "<think>",
            "</think>",
            "`<think>`",
            "x<think>",
            "<",
            "<|channel|>",
            "<|channel|>final<|message|>",
            "[",
            "◁",
        ] {
            part(&pattern.repeat(2_000_000 / pattern.len()));
        }
        assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
    }
}
