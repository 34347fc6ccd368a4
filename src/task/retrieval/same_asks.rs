//! One conversation in which nearly the same was asked for again and again: the n-th reply is wanted. In idea after MRCR
//! (Vodrahalli et al. 2024, arXiv 2409.12640; openai/mrcr, MIT), with requests and replies of our own; beside
//! [`ordinal_recall`](super::ordinal_recall) its replies are made of the same few words, there may be 64 of them, and one text
//! is asked many questions.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::record::{Case, Message, Outcome, Reply, Role, Score};
use crate::task::fitting::{Draft, Piece};
use crate::task::random::Random;
use crate::task::words::{ADJECTIVES, NOUNS};
use crate::task::{Card, Harder, Needs, TaskOption};

use super::closed::Closed;
use super::draft::{CaseDraft, Draw};
use super::listing::share;
use super::{About, OUTPUT_HELP, Retrieval, THINKING, option, output_tokens, ran_out, read_target, tuned};

/// What the conversation asks for.
const KINDS: &[&str] = &["motto", "riddle", "label", "toast", "title", "greeting", "warning", "recipe"];
/// Words of each sort that the alike replies are made of.
const POOL: usize = 6;
/// About what a template puts around a message: pieces are counted with it.
const TURN: &str = "\n\nturn:\n";
/// Most questions to one conversation.
const MOST_QUESTIONS: u32 = 32;

static OPTIONS: &[TaskOption] = &[
    output_tokens(48, OUTPUT_HELP),
    THINKING,
    tuned(
        option("look_alikes", "how often the same was asked for: 2, 4, 8, 64; more is harder", 4, 2, 64),
        Harder::Larger,
    ),
];

/// The n-th of several replies to the same request.
#[derive(Debug)]
pub struct SameAsks;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Target {
    /// The piece that is wanted.
    answer: String,
    /// Its number among its look-alikes, from 1.
    number: usize,
    /// All replies to that request, in order.
    alike: Vec<String>,
}

impl Retrieval for SameAsks {
    fn about(&self) -> About {
        About {
            card: Card {
                name: "retrieval/same_asks",
                summary: "of up to 64 replies to the same request, made of the same words, the n-th one is given",
                options: OPTIONS,
                figures: &["off_by"],
                needs: Needs { closed_answer: true, questions: MOST_QUESTIONS, ..Needs::LONG },
                ..Card::PRIMARY
            },
            prefill: None,
        }
    }

    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a> {
        let (alike, questions) = (draw.option("look_alikes") as usize, draw.params.questions as usize);
        Box::new(Conversation::new(draw.random(""), draw.depth(""), alike, questions))
    }

    /// Quality is 1 when the reply holds the wanted piece and none of its look-alikes, whatever its letters' case and the
    /// signs between its words. Where it holds one other, the figure `off_by` is how many replies that stands from the
    /// wanted one; 0 for a right one.
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let said = words(&reply.answer());
        let holds = |piece: &&String| said.contains(&words(piece));
        let named: Vec<usize> =
            (1..).zip(&target.alike).filter(|(_, piece)| holds(piece)).map(|(n, _)| n).collect();
        let right = named == [target.number];
        let score = Score::of(f64::from(u8::from(right)));
        Ok(match named.as_slice() {
            [_] if right => score.with("off_by", 0.0),
            _ if ran_out(reply) => score.labelled("truncated"),
            [other] => score.with("off_by", other.abs_diff(target.number) as f64).labelled("other_number"),
            [_, ..] => score.labelled("several"),
            [] if said.trim().is_empty() => score.labelled("empty"),
            [] => score.labelled("altered"),
        })
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        read_target::<Target>(case).ok().map(|target| target.answer)
    }
}

/// Words in lower case, each between blanks.
fn words(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let words: String = words.map(|word| format!(" {}", word.to_lowercase())).collect();
    format!("{words} ")
}

/// `3rd`, `11th`, `42nd`.
fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asked {
    kind: &'static str,
    topic: &'static str,
}

impl Asked {
    fn draw(random: &mut Random) -> Self {
        Self { kind: random.pick(KINDS), topic: random.pick(NOUNS) }
    }

    fn text(self) -> String {
        format!("Write a {} for the {}.", self.kind, self.topic)
    }
}

/// The alike replies to one request.
#[derive(Debug)]
struct Group {
    asked: Asked,
    pieces: Vec<String>,
    /// Where each stands, as a share of the way; in order.
    shares: Vec<f64>,
}

/// A conversation of any length. A unit is a request and its reply.
struct Conversation {
    random: Random,
    groups: Vec<Group>,
    /// Groups and numbers (from 0) in the order in which they are asked about.
    order: Vec<(usize, usize)>,
    asking: usize,
    used: BTreeSet<String>,
    others: Vec<(Asked, String)>,
}

impl Conversation {
    fn new(mut random: Random, depth: f64, alike: usize, questions: usize) -> Self {
        let mut made = Self {
            groups: Vec::new(),
            order: Vec::new(),
            asking: 0,
            used: BTreeSet::new(),
            others: Vec::new(),
            random: random.clone(),
        };
        for _ in 0..questions.div_ceil(alike).max(1) {
            made.add_group(&mut random, alike);
        }
        made.order = (0..made.groups.len()).flat_map(|group| (0..alike).map(move |at| (group, at))).collect();
        random.shuffle(&mut made.order);
        // The first one that is asked about lies where the case's depth says.
        let nearest = |at: &(usize, usize)| (made.groups[at.0].shares[at.1] - depth).abs();
        let first = (0..made.order.len())
            .min_by(|a, b| nearest(&made.order[*a]).total_cmp(&nearest(&made.order[*b])));
        made.order.swap(0, first.unwrap_or_default());
        made.random = random;
        made
    }

    fn add_group(&mut self, random: &mut Random, alike: usize) {
        let asked = loop {
            let asked = Asked::draw(random);
            if self.groups.iter().all(|group| group.asked != asked) {
                break asked;
            }
        };
        let (adjectives, nouns) = (pool(random, ADJECTIVES), pool(random, NOUNS));
        let pieces = (0..alike).map(|_| self.piece(random, &adjectives, &nouns)).collect();
        let mut shares: Vec<f64> = (0..alike).map(|_| share(random)).collect();
        shares.sort_by(f64::total_cmp);
        self.groups.push(Group { asked, pieces, shares });
    }

    /// A piece that was not written before.
    fn piece(&mut self, random: &mut Random, adjectives: &[&str], nouns: &[&str]) -> String {
        loop {
            let mut phrase = || format!("{} {}", random.pick(adjectives), random.pick(nouns));
            let piece = format!("A {}, a {} and a {}.", phrase(), phrase(), phrase());
            if self.used.insert(piece.clone()) {
                return piece;
            }
        }
    }

    fn grow(&mut self, units: usize) {
        while self.others.len() < units {
            let mut random = self.random.clone();
            let asked = self.other(&mut random);
            let piece = self.piece(&mut random, ADJECTIVES, NOUNS);
            self.random = random;
            self.others.push((asked, piece));
        }
    }

    /// A request that none of the groups is about; in 6 of 10 draws of the same kind or topic as one.
    fn other(&self, random: &mut Random) -> Asked {
        loop {
            let near = self.groups[random.below(self.groups.len())].asked;
            let mut other = Asked::draw(random);
            match random.below(10) {
                0..=2 => other.kind = near.kind,
                3..=5 => other.topic = near.topic,
                _ => {}
            }
            if self.groups.iter().all(|group| group.asked != other) {
                return other;
            }
        }
    }

    /// The alike exchanges by their places: how many of the others stand in front, group and number.
    fn placed(&self, units: usize) -> Vec<(usize, usize, usize)> {
        let place = |share: f64| (share * (units + 1) as f64) as usize;
        let mut all: Vec<(f64, usize, usize)> = Vec::new();
        for (group, of) in self.groups.iter().enumerate() {
            all.extend(of.shares.iter().enumerate().map(|(at, share)| (*share, group, at)));
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.into_iter().map(|(share, group, at)| (place(share), group, at)).collect()
    }

    fn exchanges(&self, units: usize) -> Vec<(Asked, &str)> {
        let mut exchanges = Vec::new();
        let mut placed = self.placed(units).into_iter().peekable();
        for behind in 0..=units {
            while let Some((_, group, at)) = placed.next_if(|(place, ..)| *place <= behind) {
                exchanges.push((self.groups[group].asked, self.groups[group].pieces[at].as_str()));
            }
            exchanges.extend(
                self.others.get(behind).filter(|_| behind < units).map(|(asked, piece)| (*asked, &**piece)),
            );
        }
        exchanges
    }

    fn wanted(&self) -> (&Group, usize) {
        let (group, at) = self.order[self.asking];
        (&self.groups[group], at)
    }
}

/// Some of the words.
fn pool(random: &mut Random, words: &[&'static str]) -> Vec<&'static str> {
    let mut words = words.to_vec();
    random.shuffle(&mut words);
    words.truncate(POOL);
    words
}

impl Draft for Conversation {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        self.grow(units);
        let exchanges = self.exchanges(units).into_iter();
        let mut messages: Vec<Message> = exchanges
            .flat_map(|(asked, piece)| [Message::user(asked.text()), Message::new(Role::Assistant, piece)])
            .collect();
        messages.push(Message::user(self.question()));
        messages
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.grow(to);
        let text = |(asked, piece): &(Asked, String)| format!("{TURN}{}{TURN}{piece}", asked.text());
        let lead = from.checked_sub(1).map(|before| self.others[before].1.clone()).unwrap_or_default();
        Piece { lead, added: self.others[from..to].iter().map(text).collect() }
    }
}

impl CaseDraft for Conversation {
    fn units(&self) -> RangeInclusive<usize> {
        1..=usize::MAX
    }

    fn depth(&self, units: usize) -> Option<f64> {
        let wanted = self.order[self.asking];
        let placed = self.placed(units);
        let at = placed.iter().position(|(_, group, at)| (*group, *at) == wanted)?;
        Some((at + placed[at].0) as f64 / (placed.len() + units) as f64)
    }

    fn target(&self, _: usize) -> Value {
        let (group, at) = self.wanted();
        json!(Target { answer: group.pieces[at].clone(), number: at + 1, alike: group.pieces.clone() })
    }

    fn ask(&mut self, question: u32) {
        self.asking = (question as usize).min(self.order.len() - 1);
    }

    fn question(&self) -> String {
        let (Group { asked: Asked { kind, topic }, pieces, .. }, at) = self.wanted();
        format!(
            "In this conversation you wrote a {kind} for the {topic} {} times. Which was the {} {kind} for the {topic}, \
             counted from the start? Reply with that {kind}, word for word, and nothing else.",
            pieces.len(),
            ordinal(at + 1)
        )
    }

    fn closed(&self, _: usize) -> Option<Closed> {
        let (Group { asked: Asked { kind, topic }, pieces, .. }, at) = self.wanted();
        Some(Closed::one(format!("The {} {kind} for the {topic}:", ordinal(at + 1)), &pieces[at]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{judge, judged, make, messages, with};
    use super::*;
    use crate::record::FinishReason;
    use crate::task::Task;
    use crate::task::testing::WordCounter;

    /// Reads the conversation and answers its last message.
    fn solve(case: &Case) -> String {
        let (question, said) = messages(case).split_last().unwrap();
        let (_, rest) = question.content.split_once("Which was the ").unwrap();
        let mut words = rest.split([' ', ',']);
        let number: usize = words.next().unwrap().trim_end_matches(char::is_alphabetic).parse().unwrap();
        let (kind, topic) = (words.next().unwrap(), words.nth(2).unwrap());
        let request = format!("Write a {kind} for the {topic}.");
        let mut replies =
            said.chunks(2).filter(|pair| pair[0].content == request).map(|pair| &pair[1].content);
        replies.nth(number - 1).unwrap().clone()
    }

    #[test]
    fn a_reader_of_the_conversation_finds_the_piece() {
        for (context, alike) in [(1024, 2), (2048, 4), (4096, 8), (8192, 64), (16_384, 64)] {
            for case in make(&SameAsks, context, 6, &[("look_alikes", alike)]) {
                let target: Target = read_target(&case).unwrap();
                assert_eq!(target.alike.len(), alike as usize);
                assert_eq!(target.alike.iter().collect::<BTreeSet<_>>().len(), alike as usize);
                assert_eq!(solve(&case), target.answer);
                assert_eq!(judged(&SameAsks, &case, &solve(&case)), (1.0, None));
            }
        }
    }

    #[test]
    fn many_questions_to_one_text_ask_for_different_pieces() {
        for (alike, questions) in [(2, 6), (4, 12), (64, 32)] {
            let mut params = with(16_384, questions, &[("look_alikes", alike)]);
            params.questions = questions;
            let cases = SameAsks.cases(&params, 3, &WordCounter::default()).unwrap();
            let answers: BTreeSet<String> = cases.iter().map(solve).collect();
            assert_eq!(answers.len(), questions as usize);
            assert!(cases.iter().all(|case| judged(&SameAsks, case, &solve(case)).0 == 1.0));
        }
    }

    #[test]
    fn depths_are_spread() {
        let cases = make(&SameAsks, 8192, 32, &[("look_alikes", 64)]);
        for quarter in 0..4 {
            let n = cases.iter().filter(|case| (case.depth.unwrap() * 4.0) as usize == quarter).count();
            assert!((5..=11).contains(&n), "{n} of 32 in quarter {quarter}");
        }
    }

    #[test]
    fn errors_get_their_label() {
        let case = &make(&SameAsks, 2048, 1, &[])[0];
        let target: Target = read_target(case).unwrap();
        let other = target.alike.iter().find(|piece| **piece != target.answer).unwrap();
        let label = |content: &str| judged(&SameAsks, case, content).1;
        assert_eq!(label(other).as_deref(), Some("other_number"));
        assert_eq!(label(&format!("{} {other}", target.answer)).as_deref(), Some("several"));
        assert_eq!(label(&target.answer[..target.answer.len() / 2]).as_deref(), Some("altered"));
        assert_eq!(label(" \u{0} ").as_deref(), Some("empty"));
        assert_eq!(judge(&SameAsks, case, "A", FinishReason::Length).1.as_deref(), Some("truncated"));
        assert_eq!(label(&format!("<think>{}</think>", target.answer)).as_deref(), Some("empty"));
        for dressed in [target.answer.to_uppercase(), format!("**{}**", target.answer.replace(' ', "\n"))] {
            assert_eq!(judged(&SameAsks, case, &dressed), (1.0, None), "{dressed}");
        }
    }

    #[test]
    fn ordinals_are_those_of_english() {
        let found = [1, 2, 3, 4, 11, 12, 13, 21, 22, 23, 42, 64].map(ordinal);
        let right =
            ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "22nd", "23rd", "42nd", "64th"];
        assert_eq!(found, right);
    }

    proptest! {
        #[test]
        fn only_the_wanted_piece_alone_is_right(text in any::<String>(), number in 0_usize..4) {
            let case = &make(&SameAsks, 1024, 1, &[])[0];
            let target: Target = read_target(case).unwrap();
            let (quality, _) = judged(&SameAsks, case, &format!("{text} {}", target.alike[number]));
            prop_assert!(quality == 0.0 || target.number == number + 1);
            prop_assert_eq!(judged(&SameAsks, case, &text).0, 0.0);
        }
    }
}
