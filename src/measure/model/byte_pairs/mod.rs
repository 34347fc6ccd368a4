//! A tokenizer of byte pairs, made of a model file's vocabulary: what llama-server makes of a text, without asking it.
//!
//! For vocabularies of GPT-2's kind whose way of cutting texts into words is known here. Whoever counts with it checks it
//! against the server's own tokens, which rule. Formula: Sennrich and others 2016 (arXiv 1508.07909), on bytes as GPT-2 writes
//! them.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use self::cut::Cut;
use super::gguf::{self, Vocabulary};
use super::tokenizer_json;

mod cut;

/// Bytes of a word beyond which it is not tokenised here: merging takes the square of it.
const LONGEST_WORD: usize = 4096;
/// Words whose tokens are kept.
const KEPT_WORDS: usize = 1 << 18;
/// The first character that may be composed with the one before it (Unicode's NFC leaves all before it as they are).
const COMBINING: char = '\u{300}';
/// Kinds of tokens that texts are cut at: unknown, control, the user's.
const CUT_AT: [u64; 3] = [2, 3, 4];
/// The kind of vocabulary.
const KIND: &str = "gpt2";
/// The way of cutting whose words are looked up whole before anything is merged, and whose texts begin with a token.
const LLAMA: &str = "llama-bpe";

/// A tokenizer.
#[derive(Debug)]
pub struct BytePairs {
    cut: Cut,
    /// The token of each byte; `None` for one that the vocabulary lacks.
    bytes: Vec<Option<u32>>,
    /// By left and right token: how early the pair is merged, and to which token.
    merges: HashMap<(u32, u32), (u32, u32)>,
    /// Words that are tokens as they stand; empty where all words are merged from bytes.
    whole: HashMap<Vec<u8>, u32>,
    /// Tokens that texts are cut at, the longest first.
    special: Vec<(String, u32)>,
    /// What texts begin with where a prompt is meant.
    first: Option<u32>,
    /// What each token says, empty where that is no text of its own.
    spelled: Vec<Box<[u8]>>,
    /// Whether texts are composed (Unicode's NFC) before anything else.
    normalizes: bool,
    known: Mutex<HashMap<Box<str>, Box<[u32]>>>,
}

impl BytePairs {
    /// The tokenizer of a model's file, or of its folder's `tokenizer.json`; `None` where it is of another kind or cannot be read.
    pub fn of_model(path: &Path) -> Option<Self> {
        // Not to know it is no reason not to run it: the server counts.
        let vocabulary = match path.is_dir() {
            true => tokenizer_json::of_folder(path)?,
            false => gguf::read_vocabulary(path).ok()?,
        };
        Self::new(&vocabulary)
    }

    /// `None` where the vocabulary is of another kind, is cut in a way that is not known here, or does not hold together.
    pub fn new(vocabulary: &Vocabulary) -> Option<Self> {
        if vocabulary.kind != KIND {
            return None;
        }
        let cut = Cut::named(&vocabulary.pre)?;
        let number = |at: usize| u32::try_from(at).ok();
        let mut ids: HashMap<&str, u32> = HashMap::new();
        for (at, token) in vocabulary.tokens.iter().enumerate() {
            ids.entry(token).or_insert(number(at)?);
        }
        let letters = letters();
        let bytes = letters.iter().map(|letter| ids.get(letter.to_string().as_str()).copied()).collect();
        let mut merges = HashMap::new();
        for (rank, merge) in vocabulary.merges.iter().enumerate() {
            let (left, right) = merge.split_once(' ')?;
            let pair = (*ids.get(left)?, *ids.get(right)?);
            let merged = *ids.get(format!("{left}{right}").as_str())?;
            merges.entry(pair).or_insert((number(rank)?, merged));
        }
        let is_llama = vocabulary.pre == LLAMA;
        let of_letters: HashMap<char, u8> = letters.iter().copied().zip(0..=u8::MAX).collect();
        let spelled =
            |token: &str| token.chars().map(|c| of_letters.get(&c).copied()).collect::<Option<Vec<u8>>>();
        let whole = ids.iter().filter(|_| is_llama).filter_map(|(token, id)| Some((spelled(token)?, *id)));
        let mut special: Vec<(String, u32)> = Vec::new();
        for ((at, token), kind) in vocabulary.tokens.iter().enumerate().zip(&vocabulary.kinds) {
            if CUT_AT.contains(kind) && !token.is_empty() {
                special.push((token.clone(), number(at)?));
            }
        }
        special.sort_by_key(|(token, _)| Reverse(token.len()));
        let begins = vocabulary.begins.unwrap_or(is_llama);
        Some(Self {
            cut,
            bytes,
            merges,
            whole: whole.collect(),
            special,
            first: vocabulary.first_token.filter(|_| begins).and_then(|first| u32::try_from(first).ok()),
            spelled: spelled_tokens(vocabulary, &of_letters),
            normalizes: vocabulary.normalizes,
            known: Mutex::default(),
        })
    }

    /// The text of tokens, special ones spelled out; `None` where one is not of the vocabulary, or the bytes are no text.
    pub fn text(&self, tokens: &[u32]) -> Option<String> {
        let mut bytes = Vec::new();
        for token in tokens {
            let spelled = self.spelled.get(*token as usize).filter(|spelled| !spelled.is_empty())?;
            bytes.extend_from_slice(spelled);
        }
        String::from_utf8(bytes).ok()
    }

    /// The tokens of a text, special ones where they are spelled out; with `begin`, as a prompt begins. `None` for a text with
    /// a word that is too long, or with a byte that the vocabulary lacks.
    pub fn tokens(&self, text: &str, begin: bool) -> Option<Vec<u32>> {
        let mut tokens: Vec<u32> = self.first.filter(|_| begin).into_iter().collect();
        self.walk(text, |word| tokens.extend_from_slice(word))?;
        Some(tokens)
    }

    /// How many there are.
    pub fn count(&self, text: &str, begin: bool) -> Option<u32> {
        let mut count = usize::from(begin && self.first.is_some());
        self.walk(text, |word| count += word.len())?;
        u32::try_from(count).ok()
    }

    /// Hands over the tokens of one word after the other.
    fn walk(&self, text: &str, mut take: impl FnMut(&[u32])) -> Option<()> {
        if self.normalizes && text.chars().any(|c| c >= COMBINING) {
            return None;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > KEPT_WORDS {
            known.clear();
        }
        let mut fits = true;
        for part in self.parts(text) {
            match part {
                Part::Special(id) => take(&[id]),
                Part::Text(text) => self.cut.words(text, &mut |word| {
                    if let Some(tokens) = known.get(word) {
                        take(tokens);
                    } else if let Some(tokens) = self.word(word.as_bytes()) {
                        take(&tokens);
                        known.insert(word.into(), tokens.into());
                    } else {
                        fits = false;
                    }
                }),
            }
        }
        fits.then_some(())
    }

    /// Cuts a text at its special tokens, the longest of all first wherever they stand, as llama.cpp does.
    fn parts<'t>(&self, text: &'t str) -> Vec<Part<'t>> {
        let mut parts = vec![Part::Text(text)];
        for (token, id) in self.special.iter().filter(|(token, _)| text.contains(token.as_str())) {
            parts = parts.into_iter().flat_map(|part| part.cut_at(token, *id)).collect();
        }
        parts
    }

    /// Merges the bytes of a word, always the pair that comes first in the vocabulary, the leftmost of it first.
    fn word(&self, word: &[u8]) -> Option<Vec<u32>> {
        if let Some(&id) = self.whole.get(word) {
            return Some(vec![id]);
        }
        if word.len() > LONGEST_WORD {
            return None;
        }
        let mut tokens =
            word.iter().map(|byte| self.bytes[usize::from(*byte)]).collect::<Option<Vec<u32>>>()?;
        loop {
            let pairs = tokens.windows(2).enumerate();
            let found = pairs.filter_map(|(at, pair)| {
                let (rank, merged) = *self.merges.get(&(pair[0], pair[1]))?;
                Some((rank, at, merged))
            });
            let Some((_, at, merged)) = found.min() else { return Some(tokens) };
            tokens[at] = merged;
            tokens.remove(at + 1);
        }
    }
}

/// What each token of a vocabulary says.
fn spelled_tokens(vocabulary: &Vocabulary, of_letters: &HashMap<char, u8>) -> Vec<Box<[u8]>> {
    let of = |(at, token): (usize, &String)| -> Box<[u8]> {
        if vocabulary.kinds.get(at).is_some_and(|kind| CUT_AT.contains(kind)) {
            return token.as_bytes().into();
        }
        token.chars().map(|c| of_letters.get(&c).copied()).collect::<Option<_>>().unwrap_or_default()
    };
    vocabulary.tokens.iter().enumerate().map(of).collect()
}

/// A piece of a text.
enum Part<'t> {
    Text(&'t str),
    Special(u32),
}

impl<'t> Part<'t> {
    fn cut_at(self, token: &str, id: u32) -> Vec<Self> {
        let Self::Text(mut rest) = self else { return vec![self] };
        let mut parts = Vec::new();
        while let Some(at) = rest.find(token) {
            if at > 0 {
                parts.push(Self::Text(&rest[..at]));
            }
            parts.push(Self::Special(id));
            rest = &rest[at + token.len()..];
        }
        if !rest.is_empty() {
            parts.push(Self::Text(rest));
        }
        parts
    }
}

/// The letter that GPT-2's vocabularies write for each byte: itself where it is printable in Latin-1, else the next from U+0100 on.
fn letters() -> Vec<char> {
    let mut next = 0x100;
    let mut letter = |byte: u8| {
        if matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) {
            return char::from(byte);
        }
        next += 1;
        char::from_u32(next - 1).unwrap_or_default()
    };
    (0..=u8::MAX).map(&mut letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte, a few merges, and two special tokens.
    fn vocabulary(pre: &str) -> Vocabulary {
        let mut tokens: Vec<String> = letters().iter().map(char::to_string).collect();
        let merges = ["t h", "th e", "Ġ the", "a b", "b c"];
        tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
        let mut kinds = vec![1; tokens.len()];
        for special in ["<|end|>", "<|end|>x"] {
            tokens.push(special.into());
            kinds.push(3);
        }
        Vocabulary {
            kind: "gpt2".into(),
            pre: pre.into(),
            tokens,
            kinds,
            merges: merges.iter().map(|merge| (*merge).to_owned()).collect(),
            begins: None,
            first_token: Some(7),
            normalizes: false,
        }
    }

    fn names(pairs: &BytePairs, vocabulary: &Vocabulary, text: &str) -> Vec<String> {
        let tokens = pairs.tokens(text, false).unwrap();
        tokens.iter().map(|id| vocabulary.tokens[*id as usize].clone()).collect()
    }

    #[test]
    fn bytes_are_merged_in_the_order_of_the_vocabulary() {
        let vocabulary = vocabulary("smollm");
        let pairs = BytePairs::new(&vocabulary).unwrap();
        let of = |text| names(&pairs, &vocabulary, text);
        assert_eq!(of("the the abc"), ["the", "Ġthe", "Ġ", "ab", "c"]);
        assert_eq!(of("é\n"), ["Ã", "©", "Ċ"]);
        assert_eq!(pairs.count("the the abc", true), Some(5), "nothing begins these prompts");
        // Again, from what is known by now.
        assert_eq!(of("the the abc"), ["the", "Ġthe", "Ġ", "ab", "c"]);
    }

    #[test]
    fn tokens_say_their_text_again() {
        let pairs = BytePairs::new(&vocabulary("smollm")).unwrap();
        let text = "the é<|end|>x abc\n";
        assert_eq!(pairs.text(&pairs.tokens(text, false).unwrap()).as_deref(), Some(text));
        assert_eq!(pairs.text(&[9999]), None, "no such token");
        assert_eq!(pairs.text(&pairs.tokens("é", false).unwrap()[..1]), None, "half a character");
    }

    #[test]
    fn special_tokens_cut_a_text_the_longest_first() {
        let vocabulary = vocabulary("smollm");
        let pairs = BytePairs::new(&vocabulary).unwrap();
        assert_eq!(names(&pairs, &vocabulary, "a<|end|>xb<|end|>"), ["a", "<|end|>x", "b", "<|end|>"]);
        assert_eq!(names(&pairs, &vocabulary, "<|end"), ["<", "|", "e", "n", "d"]);
    }

    #[test]
    fn llama_prompts_begin_with_a_token_unless_the_file_says_otherwise() {
        let mut of = vocabulary("llama-bpe");
        assert_eq!(BytePairs::new(&of).unwrap().tokens("the", true).unwrap().len(), 2);
        assert_eq!(BytePairs::new(&of).unwrap().tokens("the", false).unwrap().len(), 1);
        of.begins = Some(false);
        assert_eq!(BytePairs::new(&of).unwrap().tokens("the", true).unwrap().len(), 1);
    }

    #[test]
    fn what_is_not_known_here_is_left_to_the_server() {
        let of = |change: fn(&mut Vocabulary)| {
            let mut vocabulary = vocabulary("smollm");
            change(&mut vocabulary);
            BytePairs::new(&vocabulary).is_some()
        };
        assert!(of(|_| ()));
        assert!(!of(|vocabulary| vocabulary.kind = "llama".into()));
        assert!(!of(|vocabulary| vocabulary.pre = "never-seen".into()));
        assert!(!of(|vocabulary| vocabulary.merges.push("x".into())), "no pair");
        assert!(!of(|vocabulary| vocabulary.merges.push("x yz".into())), "no such token");
        let mut lacking = vocabulary("smollm");
        lacking.tokens[4] = "?".into();
        let pairs = BytePairs::new(&lacking).unwrap();
        assert_eq!((pairs.count("a\u{4}", false), pairs.count("a", false)), (None, Some(1)));
        assert_eq!(pairs.count(&"a".repeat(LONGEST_WORD + 1), false), None);
    }
}
