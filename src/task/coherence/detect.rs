//! Detectors of degenerate text: pure functions over a reply's tokens or characters.

use std::collections::HashSet;
use std::hash::Hash;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// Longest period of a loop (tokens).
pub const LOOP_PERIOD: usize = 256;
/// A loop repeats its period at least so often.
pub const LOOP_REPEATS: usize = 3;
/// A loop covers at least so many tokens at the end of the reply.
pub const LOOP_TOKENS: usize = 200;
/// Text that compresses better than this is repetitive (bytes by zlib bytes).
pub const COMPRESSION_LIMIT: f64 = 2.4;

/// The end of a reply that repeats itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loop {
    /// Index of the first token of the part that repeats.
    pub start: usize,
    /// Tokens after which it repeats, 1 to [`LOOP_PERIOD`]; the shortest.
    pub period: usize,
}

/// The loop that the tokens end in: a period of at most 256 tokens that is repeated at least 3 times and covers at
/// least the last 200 tokens. The last repetition may be cut off.
pub fn trailing_loop(tokens: &[u32]) -> Option<Loop> {
    (1..=LOOP_PERIOD.min(tokens.len())).find_map(|period| {
        let same = (period..tokens.len()).rev().take_while(|&at| tokens[at] == tokens[at - period]).count();
        let covered = same + period;
        let long = covered >= LOOP_TOKENS && covered >= LOOP_REPEATS * period;
        long.then(|| Loop { start: tokens.len() - covered, period })
    })
}

/// Share of runs of `n` items that occurred before (0..1); `None` where there are fewer than `n` items.
///
/// Formula: seq-rep-n = 1 - unique / total n-grams; Welleck et al. (2020), "Neural text generation with
/// unlikelihood training".
pub fn seq_rep<T: Eq + Hash>(items: &[T], n: usize) -> Option<f64> {
    distinct(items, n).map(|share| 1.0 - share)
}

/// Share of different runs of `n` items among all (0..1); `None` where there are fewer than `n` items.
///
/// Formula: distinct-n = unique / total n-grams; Li et al. (2016), "A diversity-promoting objective function".
pub fn distinct<T: Eq + Hash>(items: &[T], n: usize) -> Option<f64> {
    if n == 0 || items.len() < n {
        return None;
    }
    let unique: HashSet<&[T]> = items.windows(n).collect();
    Some(unique.len() as f64 / items.windows(n).count() as f64)
}

/// Bytes of the text by bytes of its zlib form; `None` for an empty text.
pub fn compression_ratio(text: &str) -> Option<f64> {
    if text.is_empty() {
        return None;
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).ok()?;
    let packed = encoder.finish().ok()?;
    Some(text.len() as f64 / packed.len() as f64)
}

/// Share of characters that are U+FFFD, what is left of bytes that were no text (0..1); `None` for an empty text.
pub fn replacement_rate(text: &str) -> Option<f64> {
    let characters = text.chars().count();
    let broken = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count();
    (characters > 0).then(|| broken as f64 / characters as f64)
}

/// Share of neighbouring letters that are of different scripts (0..1), whatever stands between them; `None` for a
/// text of fewer than two letters.
pub fn script_switch_rate(text: &str) -> Option<f64> {
    let scripts: Vec<Script> = text.chars().filter_map(Script::of).collect();
    let switches = scripts.windows(2).filter(|pair| pair[0] != pair[1]).count();
    (scripts.len() > 1).then(|| switches as f64 / (scripts.len() - 1) as f64)
}

/// Writing systems as far as a text in one of them keeps to it: Japanese mixes Han and kana, so they are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Hebrew,
    Arabic,
    Indic,
    Thai,
    Hangul,
    HanKana,
    Other,
}

impl Script {
    /// The script of a letter, by its Unicode block; `None` for what is no letter.
    fn of(c: char) -> Option<Self> {
        if !c.is_alphabetic() {
            return None;
        }
        Some(match c {
            '\u{0000}'..='\u{024F}'
            | '\u{0250}'..='\u{02FF}'
            | '\u{1E00}'..='\u{1EFF}'
            | '\u{FF21}'..='\u{FF5A}' => Self::Latin,
            '\u{0370}'..='\u{03FF}' | '\u{1F00}'..='\u{1FFF}' => Self::Greek,
            '\u{0400}'..='\u{052F}' | '\u{1C80}'..='\u{1C8F}' | '\u{2DE0}'..='\u{2DFF}' => Self::Cyrillic,
            '\u{0590}'..='\u{05FF}' => Self::Hebrew,
            '\u{0600}'..='\u{06FF}'
            | '\u{0750}'..='\u{077F}'
            | '\u{08A0}'..='\u{08FF}'
            | '\u{FB50}'..='\u{FEFC}' => Self::Arabic,
            '\u{0900}'..='\u{0DFF}' => Self::Indic,
            '\u{0E00}'..='\u{0E7F}' => Self::Thai,
            '\u{1100}'..='\u{11FF}'
            | '\u{3130}'..='\u{318F}'
            | '\u{A960}'..='\u{A97F}'
            | '\u{AC00}'..='\u{D7FF}' => Self::Hangul,
            '\u{2E80}'..='\u{312F}'
            | '\u{31A0}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{FF66}'..='\u{FF9F}'
            | '\u{1B000}'..='\u{1B16F}'
            | '\u{20000}'..='\u{323AF}' => Self::HanKana,
            _ => Self::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::task::prose::Prose;
    use crate::task::random::Random;

    /// Tokens that do not repeat.
    fn varied(n: u32) -> Vec<u32> {
        (0..n).map(|i| 10_000 + i).collect()
    }

    fn prose() -> String {
        let mut prose = Prose::new(Random::of_task(1, "detect"));
        (0..12).map(|_| prose.paragraph()).collect::<Vec<_>>().join("\n\n")
    }

    #[test]
    fn a_loop_is_found_with_its_start_and_period() {
        for (period, length) in [(1, 200), (7, 210), (40, 201), (64, 200), (256, 768)] {
            let mut tokens = varied(100);
            tokens.extend((0..length).map(|i| i % period));
            let found = trailing_loop(&tokens).unwrap();
            assert_eq!((found.start, found.period), (100, period as usize));
        }
    }

    #[test]
    fn what_is_too_short_too_rare_or_over_is_no_loop() {
        let looping = |period: u32, length: u32| -> Vec<u32> { (0..length).map(|i| i % period).collect() };
        assert_eq!(trailing_loop(&looping(7, 199)), None, "fewer than 200 tokens");
        assert_eq!(trailing_loop(&looping(100, 299)), None, "fewer than three repetitions");
        assert_eq!(trailing_loop(&looping(257, 1024)), None, "a longer period");
        let left_again = [looping(7, 400), varied(1)].concat();
        assert_eq!(trailing_loop(&left_again), None, "the loop was left");
        assert_eq!(trailing_loop(&varied(4000)), None);
        assert_eq!(trailing_loop(&[]), None);
        // Longer copies of a text are repetition, but no loop of at most 256 tokens.
        assert_eq!(trailing_loop(&[varied(500), varied(500), varied(500)].concat()), None);
    }

    #[test]
    fn repetition_by_hand() {
        // Of four 2-grams, 1-2 occurs twice: three are different.
        assert_eq!(distinct(&[1, 2, 1, 2, 3], 2), Some(0.75));
        assert_eq!(seq_rep(&[1, 2, 1, 2, 3], 2), Some(0.25));
        assert_eq!(seq_rep(&[5; 100], 4), Some(1.0 - 1.0 / 97.0));
        assert_eq!(seq_rep(&varied(100), 4), Some(0.0));
        assert_eq!(distinct(&[1, 2], 3), None);
        assert_eq!(distinct(&[1, 2], 0), None);
    }

    #[test]
    fn repetitive_text_compresses_beyond_the_limit_and_prose_does_not() {
        assert!(compression_ratio(&"I am not sure what to say. ".repeat(60)).unwrap() > 20.0);
        let once = prose();
        assert!(compression_ratio(&once[..1500]).unwrap() < COMPRESSION_LIMIT);
        assert!(compression_ratio("Hello.").unwrap() < 1.0);
        assert_eq!(compression_ratio(""), None);
    }

    #[test]
    fn broken_characters_are_counted() {
        assert_eq!(replacement_rate("ab\u{fffd}d"), Some(0.25));
        assert_eq!(replacement_rate("größe 日本 🦀"), Some(0.0));
        assert_eq!(replacement_rate(""), None);
    }

    #[test]
    fn switches_between_scripts_are_counted_and_accents_are_none() {
        for clean in
            ["Größe, naïve café: Ærø 12.", "日本語のテキストです", "Привет, мир", "שלום", "x² + y² 🦀"]
        {
            assert_eq!(script_switch_rate(clean), Some(0.0), "{clean}");
        }
        // a|б, б|c
        assert_eq!(script_switch_rate("a б c"), Some(1.0));
        let broken = "The harbour was calm and 船 the ships 在港口 were still";
        assert!(script_switch_rate(broken).unwrap() > 0.05);
        assert_eq!(script_switch_rate("1 2 3"), None);
    }

    proptest! {
        #[test]
        fn any_tokens_can_be_looked_at(tokens in proptest::collection::vec(0_u32..4, 0..900), n in 0_usize..6) {
            if let Some(found) = trailing_loop(&tokens) {
                let tail = &tokens[found.start..];
                prop_assert!(tail.len() >= LOOP_TOKENS && tail.len() >= LOOP_REPEATS * found.period);
                prop_assert!((found.period..tail.len()).all(|at| tail[at] == tail[at - found.period]));
            }
            prop_assert!(seq_rep(&tokens, n).is_none_or(|rate| (0.0..=1.0).contains(&rate)));
        }

        #[test]
        fn any_text_can_be_looked_at(text in any::<String>()) {
            for rate in [replacement_rate(&text), script_switch_rate(&text)].into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&rate));
            }
            prop_assert!(compression_ratio(&text).is_none_or(|ratio| ratio.is_finite() && ratio > 0.0));
        }

        #[test]
        fn loops_behind_any_beginning_are_found(
            beginning in proptest::collection::vec(100_u32..200, 0..50),
            period in 1_usize..60,
        ) {
            let mut tokens = beginning;
            tokens.extend((0..period as u32).cycle().take(LOOP_TOKENS.max(LOOP_REPEATS * period)));
            prop_assert!(trailing_loop(&tokens).is_some());
        }
    }
}
