//! What a reply does: call, ask, refuse or answer. A fixed rule, without any judge.

use crate::task::tools::data::RequestKind;
use crate::task::tools::extract::Call;
use crate::task::tools::fault::Fault;

/// Characters of a text that are read: what it does is said by then.
const READ: usize = 4096;

/// Words with which one asks for something without a question mark.
#[rustfmt::skip]
const ASKING: &[&str] = &[
    "please provide", "please tell", "please specify", "please give", "please let me know", "please share",
    "let me know", "tell me", "i need", "i'll need", "i will need", "could you", "can you", "provide the", "specify the",
];

/// Of Latin, Chinese and Arabic script.
const QUESTION_MARKS: [char; 3] = ['?', '\u{ff1f}', '\u{61f}'];

/// Words with which one says that it cannot be done.
#[rustfmt::skip]
const REFUSING: &[&str] = &[
    "i can't", "i cannot", "i can not", "i could not", "i couldn't", "i'm unable", "i am unable", "unable to",
    "i'm not able", "i am not able", "not able to", "i don't have", "i do not have", "i have no", "no function",
    "no tool", "none of the", "can't help", "cannot help", "can't do that", "cannot do that", "can't be done",
    "cannot be done", "not possible", "not supported", "beyond my", "not something i can",
];

/// What a reply does. By the first rule that holds:
///
/// 1. it has a call, or something that was meant to be one: it *calls*;
/// 2. there is no text: it does *nothing*;
/// 3. something is missing, and the text has a question mark or a phrase of asking, and a word that begins as one
///    of those that name what is missing: it *asks*; where nothing is missing, it asks if it is one question and
///    nothing else (an answer may end with "How can I help you?");
/// 4. the text has a phrase of refusing: it *refuses*;
/// 5. else it *answers*.
///
/// Case, white space and the shape of apostrophes do not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReplyKind(Option<RequestKind>);

impl ReplyKind {
    /// Goes by the calls, else by the text. `missing` are beginnings of words, in lower case.
    pub(super) fn of(calls: &Result<Vec<Call>, Fault>, content: &str, missing: &[String]) -> Self {
        if matches!(calls, Ok(_) | Err(Fault::BadJson | Fault::LeakedToContent)) {
            return Self(Some(RequestKind::Call));
        }
        let text = plain(content);
        Self(if text.is_empty() {
            None
        } else if asks_for(&text, missing) {
            Some(RequestKind::Ask)
        } else if REFUSING.iter().any(|phrase| names(&text, phrase)) {
            Some(RequestKind::Refuse)
        } else {
            Some(RequestKind::Answer)
        })
    }

    /// `None`: nothing.
    pub(super) const fn kind(self) -> Option<RequestKind> {
        self.0
    }

    /// The label of a reply where something else was right, such as `ask_but_called`.
    pub(super) fn label(self, right: RequestKind) -> String {
        let right = match right {
            RequestKind::Call => "call",
            RequestKind::Ask => "ask",
            RequestKind::Answer => "answer",
            RequestKind::Refuse => "refuse",
        };
        let did = match self.0 {
            None => "nothing",
            Some(RequestKind::Call) => "called",
            Some(RequestKind::Ask) => "asked",
            Some(RequestKind::Answer) => "answered",
            Some(RequestKind::Refuse) => "refused",
        };
        format!("{right}_but_{did}")
    }
}

/// Lower case, plain apostrophes, single blanks.
fn plain(text: &str) -> String {
    let head: String = text.chars().take(READ).collect();
    let lower = head.to_lowercase().replace(['\u{2019}', '\u{2bc}'], "'");
    lower.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn asks_for(text: &str, missing: &[String]) -> bool {
    if missing.is_empty() {
        let question = text.strip_suffix(QUESTION_MARKS);
        return question
            .is_some_and(|rest| !rest.contains(['.', '!', '\u{3002}']) && !rest.contains(QUESTION_MARKS));
    }
    let asks = text.contains(QUESTION_MARKS) || ASKING.iter().any(|phrase| names(text, phrase));
    asks && missing.iter().any(|word| names(text, word))
}

/// Returns whether a word of the text begins so.
fn names(text: &str, beginning: &str) -> bool {
    let starts_word = |at: usize| !text[..at].chars().next_back().is_some_and(char::is_alphanumeric);
    text.match_indices(beginning).any(|(at, _)| starts_word(at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(content: &str, missing: &[&str]) -> Option<RequestKind> {
        let missing: Vec<String> = missing.iter().map(|word| (*word).to_owned()).collect();
        ReplyKind::of(&Err(Fault::NoCall), content, &missing).kind()
    }

    #[test]
    fn texts_are_told_apart() {
        use RequestKind::{Answer, Ask, Refuse};
        let date: &[&str] = &["date", "when"];
        for (content, missing, kind) in [
            ("On which date would you like to fly?", date, Ask),
            ("WHEN do you leave", date, Answer),
            ("Please tell me the travel dates.", date, Ask),
            ("I can't search without a date. Could you give me one?", date, Ask),
            ("I cannot search for flights without more information.", date, Refuse),
            ("Your booking was updated. Anything else?", date, Answer),
            ("日付 (date) は？", date, Ask),
            ("Here are three flights on 24 October.", date, Answer),
            ("Hello! How can I help you today?", &[], Answer),
            ("Which city do you mean?", &[], Ask),
            ("I\u{2019}m unable to order pizza. Would you like a recipe?", &[], Refuse),
            ("Sorry, none of the functions can do that.", &[], Refuse),
            ("Penguins cannot fly.", &[], Answer),
            ("Lisbon.", &[], Answer),
        ] {
            assert_eq!(said(content, missing), Some(kind), "{content}");
        }
        assert_eq!(said(" \n\t", date), None);
    }

    #[test]
    fn what_was_meant_to_be_a_call_is_one() {
        for (calls, kind) in [
            (Err(Fault::BadJson), RequestKind::Call),
            (Err(Fault::LeakedToContent), RequestKind::Call),
            (Err(Fault::NoCall), RequestKind::Answer),
            (Err(Fault::Truncated), RequestKind::Answer),
        ] {
            assert_eq!(ReplyKind::of(&calls, "Well.", &[]).kind(), Some(kind));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(content in any::<String>(), word in "[a-zé?]{0,3}") {
            said(&content, &[&word]);
        }
    }
}
