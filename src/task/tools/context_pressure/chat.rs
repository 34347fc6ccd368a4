//! A chat about a story that goes on for as long as there is room: prose of ours, told sentence by sentence.

use std::fmt::Write as _;

use crate::record::{Message, Role};
use crate::task::fitting::Piece;
use crate::task::prose::Prose;
use crate::task::random::Random;

/// Sentences of a whole reply.
const SENTENCES: usize = 10;
/// What stands between two sentences, and about what a template puts around a message, for counting pieces.
const BLANK: &str = " ";
const TURN: &str = "\n\nturn:\n";

/// The first thing that is asked.
const OPENING: &str = "Let us pass the time. Tell me a long story, some sentences at a time.";

/// What is asked later.
const QUESTIONS: &[&str] = &[
    "And then?",
    "Go on, please.",
    "What became of {name}?",
    "What did {other} say about {subject}?",
    "Who else lived in {home}?",
    "Why was {name} so {mood}?",
    "What about {subject}?",
    "I did not expect that. What happened {time}?",
    "Tell me more about the {trade}.",
    "How far is it from {home} to {town}?",
];

/// Sentence `n` belongs to reply `n / SENTENCES`; the first of a reply brings the question along.
pub(super) struct Chat {
    random: Random,
    prose: Prose,
    questions: Vec<String>,
    sentences: Vec<String>,
}

impl Chat {
    pub(super) fn new(random: Random) -> Self {
        let prose = Prose::new(random.clone());
        Self { random, prose, questions: Vec::new(), sentences: Vec::new() }
    }

    /// The questions and replies with so many sentences; the last reply may be a short one.
    pub(super) fn messages(&mut self, sentences: usize) -> Vec<Message> {
        self.grow(sentences);
        let replies = self.sentences[..sentences].chunks(SENTENCES);
        let exchange = |(question, reply): (&String, &[String])| {
            [Message::user(question.clone()), Message::new(Role::Assistant, reply.join(BLANK))]
        };
        self.questions.iter().zip(replies).flat_map(exchange).collect()
    }

    /// What the sentences `from..to` add.
    pub(super) fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.grow(to);
        let lead = from.checked_sub(1).map(|before| self.sentences[before].clone()).unwrap_or_default();
        let mut added = String::new();
        for at in from..to {
            // Writing to a string does not fail.
            let _ = match at % SENTENCES {
                0 => write!(added, "{TURN}{}{TURN}{}", self.questions[at / SENTENCES], self.sentences[at]),
                _ => write!(added, "{BLANK}{}", self.sentences[at]),
            };
        }
        Piece { lead, added }
    }

    fn grow(&mut self, sentences: usize) {
        while self.sentences.len() < sentences {
            let paragraph = self.prose.sentences();
            self.sentences.extend(paragraph);
            while self.questions.len() * SENTENCES < self.sentences.len() {
                let question = self.question();
                self.questions.push(question);
            }
        }
    }

    /// The next question. Somebody was told about before.
    fn question(&mut self) -> String {
        if self.questions.is_empty() {
            return OPENING.into();
        }
        let template = self.random.pick(QUESTIONS);
        self.prose.fill(template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_can_be_asked() {
        let mut chat = Chat::new(Random::of_task(1, "chat"));
        chat.grow(20);
        for template in QUESTIONS {
            let text = chat.prose.fill(template);
            assert!(!text.contains("something") && !text.contains(['{', '}']), "{text}");
        }
    }

    #[test]
    fn whatever_length_is_asked_for_first_the_words_are_the_same() {
        let mut at_once = Chat::new(Random::of_task(2, "chat"));
        let all = at_once.messages(137);
        let mut step_by_step = Chat::new(Random::of_task(2, "chat"));
        for sentences in (0..=137).step_by(9) {
            step_by_step.messages(sentences);
        }
        assert_eq!(step_by_step.messages(137), all);
        assert_eq!(all.len(), 2 * 137_usize.div_ceil(SENTENCES));
    }

    #[test]
    fn pieces_are_the_chat() {
        let mut chat = Chat::new(Random::of_task(3, "chat"));
        let whole = chat.piece(0, 42).added;
        let parts = [(0, 7), (7, 10), (10, 25), (25, 42)].map(|(from, to)| chat.piece(from, to).added);
        assert_eq!(parts.concat(), whole);
        for message in chat.messages(42) {
            assert!(whole.contains(&message.content));
        }
    }
}
