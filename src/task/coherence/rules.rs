//! Rules of writing that a text keeps or breaks, no judge needed.

use serde::{Deserialize, Serialize};

use crate::task::random::Random;
use crate::task::words::{ADJECTIVES, NOUNS};

use super::turns::{holds, words};

/// Words that a text may do without.
const AVOIDED: &[&str] = &["the", "and", "is", "of", "it"];
/// Words that end a text.
const ENDINGS: &[&str] = &["over", "done", "stop", "amen", "finis"];

/// A rule for a text. All of them can be kept at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Rule {
    /// Begins with the word and a colon.
    Begin(String),
    /// The last word is this one.
    End(String),
    /// The word is in it.
    Include(String),
    /// The word is not in it.
    Avoid(String),
    /// No upper-case letter.
    LowerCase,
    /// No comma.
    NoComma,
    /// No digit.
    NoDigit,
    /// One line.
    OneLine,
    /// At most so many words.
    MaxWords(usize),
}

impl Rule {
    /// Different rules in a random order: first of all those that ask for something to be there, because a text
    /// that knows nothing of the rules keeps most prohibitions.
    pub(super) fn draw(random: &mut Random, count: usize) -> Vec<Self> {
        let mut rules = vec![
            Self::Begin(random.pick(NOUNS).into()),
            Self::End(random.pick(ENDINGS).into()),
            Self::Include(random.pick(NOUNS).into()),
        ];
        let mut prohibitions = [
            Self::Avoid(random.pick(AVOIDED).into()),
            Self::LowerCase,
            Self::NoComma,
            Self::NoDigit,
            Self::OneLine,
            Self::MaxWords(random.between(14, 24) as usize),
        ];
        random.shuffle(&mut rules);
        random.shuffle(&mut prohibitions);
        rules.extend(prohibitions);
        rules.truncate(count);
        random.shuffle(&mut rules);
        rules
    }

    /// How many rules [`Rule::draw`] can give.
    pub(super) const MOST: u32 = 9;

    /// The rule in words.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Begin(word) => format!("begin with the word \"{word}\" and a colon"),
            Self::End(word) => format!("end with the word \"{word}\""),
            Self::Include(word) => format!("use the word \"{word}\""),
            Self::Avoid(word) => format!("never use the word \"{word}\""),
            Self::LowerCase => "write in lower case only".into(),
            Self::NoComma => "use no commas".into(),
            Self::NoDigit => "use no digits".into(),
            Self::OneLine => "write a single line".into(),
            Self::MaxWords(most) => format!("write at most {most} words"),
        }
    }

    /// Returns whether a text keeps the rule; one without any word keeps none.
    pub(super) fn kept(&self, text: &str) -> bool {
        let text = text.trim();
        let words = words(text);
        if words.trim().is_empty() {
            return false;
        }
        match self {
            Self::Begin(word) => begins(text, word),
            Self::End(word) => words.ends_with(&format!(" {} ", word.to_lowercase())),
            Self::Include(word) => holds(&words, word),
            Self::Avoid(word) => !holds(&words, word),
            Self::LowerCase => !text.chars().any(char::is_uppercase),
            Self::NoComma => !text.contains([',', '，', '、']),
            Self::NoDigit => !text.chars().any(char::is_numeric),
            Self::OneLine => !text.contains(['\n', '\r']),
            Self::MaxWords(most) => text.split_whitespace().count() <= *most,
        }
    }
}

/// The word and a colon, in either case: the case is another rule's.
fn begins(text: &str, word: &str) -> bool {
    let colon = text.split_once(':');
    colon.is_some_and(|(first, _)| first.trim().to_lowercase() == word.to_lowercase())
}

/// A text that keeps all of the rules.
pub(super) fn example(rules: &[Rule], random: &mut Random) -> String {
    let [mut begin, mut include, mut end] = [const { String::new() }; 3];
    for rule in rules {
        match rule {
            Rule::Begin(word) => begin = format!("{word}: "),
            Rule::Include(word) => include = format!(" near some {word}"),
            Rule::End(word) => end = format!(" {word}"),
            _ => {}
        }
    }
    format!("{begin}a {} {} rests here{include}{end}", random.pick(ADJECTIVES), random.pick(NOUNS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_rule_on_texts_that_keep_it_and_texts_that_break_it() {
        let word = |word: &str| word.to_owned();
        for (rule, keep, broken) in [
            (
                Rule::Begin(word("owl")),
                &["owl: yes", " Owl : yes", "OWL:"][..],
                &["yes owl:", "owl yes", "owls: a"][..],
            ),
            (
                Rule::End(word("over")),
                &["so over", "So OVER.", "over!\n"],
                &["over and out", "moreover", "over 1"],
            ),
            (Rule::Include(word("lamp")), &["a lamp.", "Lamp"], &["lamps", "a l-amp"]),
            (Rule::Avoid(word("the")), &["a lamp", "other"], &["The lamp", "at the\nend"]),
            (Rule::LowerCase, &["all low. é 1"], &["One", "é É"]),
            (Rule::NoComma, &["a; b"], &["a, b", "a、b"]),
            (Rule::NoDigit, &["one"], &["1", "x²"]),
            (Rule::OneLine, &["one line\n"], &["two\nlines", "two\r\nlines"]),
            (Rule::MaxWords(3), &["one two three"], &["one two three four"]),
        ] {
            assert!(keep.iter().all(|text| rule.kept(text)), "{rule:?}");
            assert!(!broken.iter().any(|text| rule.kept(text)), "{rule:?}");
            assert!(!["", " \n", "...", "\u{0}"].iter().any(|text| rule.kept(text)), "{rule:?}");
            assert!(!rule.text().is_empty());
        }
    }

    #[test]
    fn rules_are_different_and_one_text_keeps_all_of_them() {
        for seed in 0..200 {
            let mut random = Random::of_task(seed, "rules");
            for count in 1..=Rule::MOST as usize {
                let rules = Rule::draw(&mut random, count);
                assert_eq!(rules.len(), count);
                let kinds: std::collections::HashSet<_> = rules.iter().map(std::mem::discriminant).collect();
                assert_eq!(kinds.len(), count);
                let text = example(&rules, &mut random);
                assert!(rules.iter().all(|rule| rule.kept(&text)), "{rules:?}: {text}");
                assert!(rules.iter().any(|rule| !rule.kept("Something else, like 1 of\nthe plain texts")));
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_keeps_a_rule_or_not(text in any::<String>(), seed in any::<u64>()) {
            for rule in Rule::draw(&mut Random::of_task(seed, "rules"), Rule::MOST as usize) {
                rule.kept(&text);
            }
        }
    }
}
