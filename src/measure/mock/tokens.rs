//! The mock's tokenizer, filler words and probabilities: simple, deterministic, and in agreement.

/// Token ids are below this; a power of two.
pub(super) const VOCABULARY: u32 = 1 << 15;

/// Each is one token with the space in front; some are longer in UTF-8 than in characters.
const FILLER: [&str; 12] = [
    " the",
    " river",
    " naïve",
    " keeps",
    " 日本",
    " over",
    " größer",
    " stones",
    " and",
    " мир",
    " flows",
    " on",
];

/// Cuts a text into tokens that together are the text: a run of letters and digits, or any other single
/// character, each with at most one space in front.
pub(super) fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(piece_length(rest));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

fn piece_length(text: &str) -> usize {
    let space = usize::from(text.starts_with(' '));
    let body = &text[space..];
    let word = body.find(|c: char| !c.is_alphanumeric()).unwrap_or(body.len());
    let other = || body.chars().next().filter(|c| *c != ' ').map_or(0, char::len_utf8);
    let length = space + if word > 0 { word } else { other() };
    length.max(1)
}

/// Ids of the tokens of a text.
pub(super) fn ids(text: &str) -> Vec<u32> {
    let pieces = pieces(text).into_iter();
    pieces.map(|piece| hash(piece.bytes()) as u32 % VOCABULARY).collect()
}

/// The first `count` tokens of an endless reply.
pub(super) fn filler(count: u32) -> Vec<&'static str> {
    let words = FILLER.iter().cycle();
    words.take(count as usize).copied().collect()
}

/// The `count` most probable tokens after `prefix` with their natural-log probabilities: rank r has
/// (1 - q) q^r, with q and the ids drawn from the prefix, so that all ranks together sum to 1.
pub(super) fn distribution(prefix: &[u32], count: usize) -> Vec<(u32, f64)> {
    let seed = hash(prefix.iter().flat_map(|id| id.to_le_bytes()));
    let q = 0.5 + 0.4 * (seed >> 11) as f64 / (1u64 << 53) as f64;
    let start = seed as u32;
    // An odd stride visits every id once.
    let stride = (seed >> 32) as u32 | 1;
    (0..VOCABULARY.min(count as u32))
        .map(|rank| {
            let id = start.wrapping_add(rank.wrapping_mul(stride)) % VOCABULARY;
            (id, (1.0 - q).ln() + f64::from(rank) * q.ln())
        })
        .collect()
}

/// Whether a prompt is among so large a share of all (0..1).
pub(super) fn is_hit(prompt: &[u32], share: f64) -> bool {
    let hash = hash(prompt.iter().flat_map(|id| id.to_le_bytes()));
    ((hash >> 11) as f64 / (1u64 << 53) as f64) < share
}

/// FNV-1a, 64 bits, with a final mix: its high bits alone are weak on short input.
fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_and_marks_are_tokens() {
        assert_eq!(pieces("Hi  you, naïve\n 日本!"), ["Hi", " ", " you", ",", " naïve", "\n", " 日本", "!"]);
        assert_eq!(pieces(" "), [" "]);
        assert_eq!(pieces(""), Vec::<&str>::new());
    }

    #[test]
    fn filler_words_are_one_token_each() {
        let words = filler(30);
        assert_eq!(pieces(&words.concat()), words);
    }

    #[test]
    fn distributions_are_proper_and_depend_on_the_prefix() {
        let all = distribution(&[1, 2, 3], VOCABULARY as usize);
        let sum: f64 = all.iter().map(|(_, logprob)| logprob.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        let ids: std::collections::BTreeSet<u32> = all.iter().map(|(id, _)| *id).collect();
        assert_eq!(ids.len(), VOCABULARY as usize);
        assert!(all.is_sorted_by(|a, b| a.1 > b.1));
        assert_eq!(distribution(&[1, 2, 3], 4), all[..4]);
        assert_ne!(distribution(&[1, 2, 4], 4), all[..4]);
    }

    proptest! {
        #[test]
        fn pieces_make_up_the_text(text in "[ a-zé日\\n.,🦀]{0,60}") {
            let pieces = pieces(&text);
            prop_assert_eq!(pieces.concat(), text.clone());
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert_eq!(ids(&text).len(), pieces.len());
        }
    }
}
