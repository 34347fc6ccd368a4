//! A long chat in which the same thing was asked for several times; one of the replies, named by its ordinal,
//! is to be repeated behind a code. In structure after MRCR (Vodrahalli et al. 2024, arXiv 2409.12640, and
//! openai/mrcr), with requests and replies of our own. MRCR has 2, 4 or 8 alike requests.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::record::{Case, Message, Outcome, Reply, Role, Score};
use crate::task::fitting::{Draft, Piece};
use crate::task::random::Random;
use crate::task::words::{ADJECTIVES, NOUNS};
use crate::task::{Card, Harder, Needs, TaskOption};

use super::{
    About, CaseDraft, Closed, Draw, OUTPUT_HELP, Retrieval, THINKING, option, output_tokens, ran_out,
    read_target, tuned,
};

/// What the chat asks for again and again.
const KINDS: &[&str] = &["riddle", "slogan", "postcard", "fable", "speech", "toast", "rumor", "proverb"];
const ORDINALS: [&str; 8] = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"];

/// How a reply begins.
const OPENINGS: &[&str] = &[
    "Every {topic} has a {adjective} {noun}.",
    "No {topic} forgets the {adjective} {noun}.",
    "Bring the {topic} a {adjective} {noun}.",
    "A {topic} once met a {adjective} {noun}.",
    "The {topic} is like a {adjective} {noun}.",
    "Ask the {topic} about the {adjective} {noun}.",
];

/// How it goes on.
const SENTENCES: &[&str] = &[
    "The {adjective} {noun} waits beside the {noun}.",
    "Nobody moved the {noun} near the {adjective} {noun}.",
    "Some say the {noun} was {adjective} before the {noun}.",
    "A {noun} and a {noun} make one {adjective} {noun}.",
    "Under the {noun} lies a {adjective} {noun}.",
    "Give the {adjective} {noun} back to the {noun}.",
    "Was the {noun} ever as {adjective} as a {noun}?",
    "Not one {noun} is {adjective} without its {noun}.",
    "Long ago the {noun} sold a {adjective} {noun}.",
    "Keep your {noun} away from the {adjective} {noun}.",
    "First comes the {noun}, then the {adjective} {noun}.",
    "They traded a {adjective} {noun} for a {noun}.",
];

/// Sentences of a reply that may be asked for, the opening among them.
const ALIKE_SENTENCES: usize = 3;
/// Tokens of the context for which there is one more exchange of another kind or on another topic. These have
/// as many sentences as fill the context.
const EXCHANGE_TOKENS: u32 = 128;
/// Tokens of a short context that the alike exchanges and the question need.
const FIRST_EXCHANGE_AT: u32 = 512;
/// What stands between two sentences of a reply.
const SEPARATOR: &str = " ";
/// Fewest exchanges of another kind or on another topic.
const MIN_OTHERS: u32 = 2;
const CODE_CHARACTERS: &[u8] = b"bcdfghjkmnpqrstvwxz23456789";
const CODE_LENGTH: usize = 8;
/// A reply is read up to so many times the length of the right one; all behind it counts as wrong.
const READ_TIMES: usize = 4;

static OPTIONS: &[TaskOption] = &[
    output_tokens(96, OUTPUT_HELP),
    THINKING,
    tuned(
        option("alike", "how often the same was asked for: 2, 4 and 8 are usual; more is harder", 4, 2, 8),
        Harder::Larger,
    ),
];

/// The i-th of several alike replies.
#[derive(Debug)]
pub struct OrdinalRecall;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    /// What the reply must begin with.
    code: String,
    /// The reply to repeat.
    answer: String,
    /// The replies to the other alike requests.
    others: Vec<String>,
}

impl Retrieval for OrdinalRecall {
    fn about(&self) -> About {
        About {
            card: Card {
                name: "retrieval/ordinal_recall",
                summary: "of several alike replies in a long chat the right one is repeated word for word",
                options: OPTIONS,
                needs: Needs { closed_answer: true, ..Needs::LONG },
                ..Card::PRIMARY
            },
            prefill: None,
        }
    }

    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a> {
        let others = others(draw.params.context);
        Box::new(Chat::new(draw.random(""), draw.depth(""), draw.option("alike") as usize, others))
    }

    /// Quality is 0 unless the reply begins with the code (signs in front of it do not matter), else the
    /// similarity of the rest to the right reply: 1 - Levenshtein distance / length of the longer one, in
    /// characters. The metric `exact` is 1 when there is no difference. Runs of white space count as one blank.
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let content = plain(&reply.answer());
        let rest = content.strip_prefix(&target.code).map(without_signs);
        let quality = rest.map_or(0.0, |rest| similarity(&plain(&target.answer), rest));
        let score = Score::of(quality).with("exact", f64::from(u8::from(quality == 1.0)));
        Ok(match rest {
            Some(_) if quality == 1.0 => score,
            _ if ran_out(reply) => score.labelled("truncated"),
            None if content.is_empty() => score.labelled("empty"),
            None => score.labelled("no_code"),
            Some(rest) if target.others.iter().any(|other| similarity(&plain(other), rest) > quality) => {
                score.labelled("other_ordinal")
            }
            Some(_) => score.labelled("altered"),
        })
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        let target: Target = read_target(case).ok()?;
        Some(format!("{} {}", target.code, target.answer))
    }
}

/// How many exchanges of another kind or on another topic a chat of that length has.
fn others(context: u32) -> usize {
    (context.saturating_sub(FIRST_EXCHANGE_AT) / EXCHANGE_TOKENS).max(MIN_OTHERS) as usize
}

/// The text with control characters and runs of white space as one blank, without signs in front.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    without_signs(&words.collect::<Vec<_>>().join(" ")).to_owned()
}

fn without_signs(text: &str) -> &str {
    text.trim_start_matches(|c: char| !c.is_alphanumeric())
}

/// 1 - Levenshtein distance / length of the longer text, in characters; 1 for two empty texts. What is behind the
/// first [`READ_TIMES`] lengths of `wanted` counts as different, so a huge reply costs no more than a long one.
fn similarity(wanted: &str, said: &str) -> f64 {
    let length = wanted.chars().count();
    let read: String = said.chars().take(READ_TIMES * length).collect();
    let unread = said[read.len()..].chars().count();
    let longest = length.max(read.chars().count() + unread);
    if longest == 0 {
        return 1.0;
    }
    let distance = strsim::levenshtein(wanted, &read) + unread;
    (1.0 - distance as f64 / longest as f64).clamp(0.0, 1.0)
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ChatRequest {
    kind: &'static str,
    topic: &'static str,
}

impl ChatRequest {
    fn draw(random: &mut Random) -> Self {
        Self { kind: random.pick(KINDS), topic: random.pick(NOUNS) }
    }

    /// A request that is not `asked`, but in 6 of 10 draws of the same kind or on the same topic.
    fn beside(asked: Self, random: &mut Random) -> Self {
        loop {
            let mut other = Self::draw(random);
            match random.below(10) {
                0..=2 => other.kind = asked.kind,
                3..=5 => other.topic = asked.topic,
                _ => {}
            }
            if other != asked {
                return other;
            }
        }
    }

    fn text(self) -> String {
        format!("Write a {}. Topic: {}.", self.kind, self.topic)
    }
}

/// A chat of any length. A unit is a sentence: the n-th goes to the reply of the exchange n modulo how many
/// there are (leaving out the alike ones), so that one more sentence changes nothing else.
struct Chat {
    random: Random,
    asked: ChatRequest,
    /// The replies to it, in order.
    alike: Vec<String>,
    /// Which of them is to be repeated.
    ordinal: usize,
    code: String,
    /// For each alike exchange, how many of the others stand in front of it; never falling.
    places: Vec<usize>,
    others: Vec<ChatRequest>,
    sentences: Vec<String>,
}

impl Chat {
    fn new(mut random: Random, depth: f64, alike: usize, others: usize) -> Self {
        let asked = ChatRequest::draw(&mut random);
        let ordinal = random.below(alike);
        let code = (0..CODE_LENGTH).map(|_| CODE_CHARACTERS[random.below(CODE_CHARACTERS.len())]);
        let code = code.map(char::from).collect();
        let replies = alike_replies(&mut random, asked.topic, alike);
        let place = (depth * (others + 1) as f64) as usize;
        let places = places(&mut random, place, ordinal, alike, others);
        let others = (0..others).map(|_| ChatRequest::beside(asked, &mut random)).collect();
        Self { random, asked, alike: replies, ordinal, code, places, others, sentences: Vec::new() }
    }

    fn grow(&mut self, units: usize) {
        while self.sentences.len() < units {
            let at = self.sentences.len();
            let sentence = match self.others.get(at) {
                Some(request) => sentence(&mut self.random, OPENINGS, request.topic),
                None => sentence(&mut self.random, SENTENCES, ""),
            };
            self.sentences.push(sentence);
        }
    }

    /// Requests and replies in order, with whether the reply is the one to repeat.
    fn exchanges(&self, units: usize) -> Vec<(ChatRequest, String, bool)> {
        let mut alike = self.alike.iter().zip(&self.places).enumerate().peekable();
        let mut exchanges = Vec::with_capacity(self.alike.len() + self.others.len());
        for (at, &request) in self.others.iter().enumerate() {
            while let Some((n, (reply, _))) = alike.next_if(|(_, (_, place))| **place <= at) {
                exchanges.push((self.asked, reply.clone(), n == self.ordinal));
            }
            exchanges.push((request, self.reply(at, units), false));
        }
        exchanges.extend(alike.map(|(n, (reply, _))| (self.asked, reply.clone(), n == self.ordinal)));
        exchanges
    }

    /// The reply of another exchange when there are so many sentences.
    fn reply(&self, at: usize, units: usize) -> String {
        let sentences = self.sentences[..units].iter().skip(at).step_by(self.others.len());
        sentences.map(String::as_str).collect::<Vec<_>>().join(SEPARATOR)
    }

    fn wording(&self) -> String {
        format!(
            "In this chat you wrote a {kind} on the topic {topic} {n} times. Begin your reply with the code {code}. \
             Behind it, repeat the {ordinal} {kind} on the topic {topic}, word for word, and write nothing else.",
            kind = self.asked.kind,
            topic = self.asked.topic,
            n = self.alike.len(),
            code = self.code,
            ordinal = ORDINALS[self.ordinal],
        )
    }
}

/// For each alike exchange, how many of the others stand in front of it; the asked one has its place.
fn places(random: &mut Random, place: usize, ordinal: usize, alike: usize, others: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..ordinal).map(|_| random.below(place + 1)).collect();
    places.push(place);
    places.extend((ordinal + 1..alike).map(|_| place + random.below(others - place + 1)));
    places.sort_unstable();
    places
}

/// Different replies to one request.
fn alike_replies(random: &mut Random, topic: &str, count: usize) -> Vec<String> {
    let mut replies: Vec<String> = Vec::new();
    while replies.len() < count {
        let mut sentences = vec![sentence(random, OPENINGS, topic)];
        sentences.extend((1..ALIKE_SENTENCES).map(|_| sentence(random, SENTENCES, topic)));
        let reply = sentences.join(" ");
        if !replies.contains(&reply) {
            replies.push(reply);
        }
    }
    replies
}

fn sentence(random: &mut Random, templates: &[&str], topic: &str) -> String {
    let mut words = Vec::new();
    for word in random.pick(templates).split(' ') {
        words.push(if word.contains("{topic}") {
            word.replace("{topic}", topic)
        } else if word.contains("{adjective}") {
            word.replace("{adjective}", random.pick(ADJECTIVES))
        } else {
            word.replace("{noun}", random.pick(NOUNS))
        });
    }
    words.join(" ")
}

impl Draft for Chat {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        self.grow(units);
        let mut messages = Vec::new();
        for (request, reply, _) in self.exchanges(units) {
            messages.push(Message::user(request.text()));
            messages.push(Message::new(Role::Assistant, reply));
        }
        messages.push(Message::user(self.wording()));
        messages
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.grow(to);
        Piece::of(&self.sentences, from, to, SEPARATOR)
    }
}

impl CaseDraft for Chat {
    /// Every reply has a sentence.
    fn units(&self) -> RangeInclusive<usize> {
        self.others.len()..=usize::MAX
    }

    fn depth(&self, units: usize) -> Option<f64> {
        let exchanges = self.exchanges(units);
        let length = |(request, reply, _): &(ChatRequest, String, bool)| request.text().len() + reply.len();
        let asked = exchanges.iter().position(|(_, _, asked)| *asked)?;
        let before: usize = exchanges[..asked].iter().map(length).sum();
        let all: usize = exchanges.iter().map(length).sum();
        Some(before as f64 / all as f64)
    }

    fn target(&self, _: usize) -> Value {
        let mut others = self.alike.clone();
        let answer = others.remove(self.ordinal);
        json!(Target { code: self.code.clone(), answer, others })
    }

    /// The code is said already: what counts is the text behind it.
    fn closed(&self, _: usize) -> Option<Closed> {
        Some(Closed::one(self.code.as_str(), &self.alike[self.ordinal]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{judge, judged, make, messages};
    use super::*;
    use crate::record::FinishReason;

    fn target(case: &Case) -> Target {
        read_target(case).unwrap()
    }

    #[test]
    fn the_ordinal_of_the_question_leads_to_the_answer() {
        for (context, alike) in [(1024, 2), (2048, 4), (4096, 8), (16_384, 8)] {
            for case in make(&OrdinalRecall, context, 8, &[("alike", alike)]) {
                let (question, chat) = messages(&case).split_last().unwrap();
                let pairs: Vec<_> = chat.chunks(2).collect();
                assert!(
                    pairs.iter().all(|pair| pair[0].role == Role::User && pair[1].role == Role::Assistant)
                );
                let words: Vec<&str> = question.content.split([' ', ',']).collect();
                let after = |word: &str| words[words.iter().position(|w| *w == word).unwrap() + 1];
                let request = format!("Write a {}. Topic: {}.", after("a"), after("topic"));
                let alike_pairs: Vec<_> = pairs.iter().filter(|pair| pair[0].content == request).collect();
                assert_eq!(alike_pairs.len(), alike as usize);
                let ordinal = ORDINALS
                    .iter()
                    .position(|ordinal| *ordinal == after("repeat") || words.contains(ordinal));
                let Target { answer, others, code } = target(&case);
                assert_eq!(alike_pairs[ordinal.unwrap()][1].content, answer);
                assert!(question.content.contains(&format!("the code {code}.")));
                // No other reply has the answer in it, and none is nearly the same.
                assert_eq!(chat.iter().filter(|message| message.content.contains(&answer)).count(), 1);
                assert_eq!(others.len(), alike as usize - 1);
                assert!(others.iter().all(|other| similarity(&answer, other) < 0.85), "{answer} {others:?}");
            }
        }
    }

    #[test]
    fn depths_are_spread_and_every_ordinal_occurs() {
        let cases = make(&OrdinalRecall, 16_384, 32, &[]);
        for quarter in 0..4 {
            let n = cases.iter().filter(|case| (case.depth.unwrap() * 4.0) as usize == quarter).count();
            assert!((6..=10).contains(&n), "{n} of 32 in quarter {quarter}");
        }
        for ordinal in &ORDINALS[..4] {
            let named =
                |case: &&Case| messages(case).last().unwrap().content.contains(&format!("the {ordinal} "));
            assert!((2..=16).contains(&cases.iter().filter(named).count()), "{ordinal}");
        }
        // A chat has many exchanges beside the alike ones, some of them near.
        let case = &cases[0];
        let question = &messages(case).last().unwrap().content;
        let kind = question.split(' ').nth(6).unwrap();
        let same_kind = messages(case).iter().filter(|m| m.content.starts_with(&format!("Write a {kind}.")));
        assert!(same_kind.count() > 10, "{question}");
    }

    #[test]
    fn every_template_is_filled() {
        let mut random = Random::of_task(1, "templates");
        for template in [OPENINGS, SENTENCES].concat() {
            let text = sentence(&mut random, &[template], "owl");
            assert!(!text.contains(['{', '}']) && text.ends_with(['.', '?']), "{text}");
        }
    }

    #[test]
    fn similarity_is_a_ratio_of_edits() {
        assert_eq!(similarity("kitten", "kitten"), 1.0);
        assert_eq!(similarity("kitten", "sitting"), 1.0 - 3.0 / 7.0);
        assert_eq!(similarity("abcd", ""), 0.0);
        assert_eq!(similarity("", ""), 1.0);
        assert_eq!(similarity("", "x"), 0.0);
        assert_eq!(similarity("äöü", "äöu"), 1.0 - 1.0 / 3.0);
        // Too long to be read to its end: the rest counts as wrong.
        let long = format!("abcd{}", "x".repeat(96));
        assert!((similarity("abcd", &long) - 0.04).abs() < 1e-12);
        assert!(similarity("abcd", &"é".repeat(3_000_000)) < 1e-6);
    }

    #[test]
    fn replies_get_their_score_and_label() {
        let case = &make(&OrdinalRecall, 2048, 1, &[])[0];
        let Target { code, answer, others } = target(case);
        for content in [
            format!("{code} {answer}"),
            format!("\n**{code}**:\r\n\"{answer}").replacen(". ", ".\n", 1),
            format!("{code}{answer}"),
        ] {
            assert_eq!(judged(&OrdinalRecall, case, &content), (1.0, None), "{content}");
        }
        for (content, label) in [
            (String::new(), "empty"),
            (" \u{0}\u{1b} ".into(), "empty"),
            (answer.clone(), "no_code"),
            (format!("The code is {code}. {answer}"), "no_code"),
        ] {
            assert_eq!(judged(&OrdinalRecall, case, &content), (0.0, Some(label.into())), "{content}");
        }
        let (quality, label) = judged(&OrdinalRecall, case, &format!("{code} {}", others[0]));
        assert!(quality < 0.85 && label.as_deref() == Some("other_ordinal"), "{quality} {label:?}");
        let altered = format!("{code} {}x", &answer[..answer.len() - 1]);
        let (quality, label) = judged(&OrdinalRecall, case, &altered);
        assert!((0.95..1.0).contains(&quality) && label.as_deref() == Some("altered"));
        let half = format!("{code} {}", &answer[..answer.len() / 2]);
        let (quality, label) = judge(&OrdinalRecall, case, &half, FinishReason::Length);
        assert!((0.4..0.6).contains(&quality) && label.as_deref() == Some("truncated"), "{quality}");
    }
}
