//! Word lists, written for kneepoint: short, common words that most tokenizers know.

use std::collections::BTreeSet;

use super::random::Random;

/// Adjectives for keys such as `amber-anchor`.
#[rustfmt::skip]
pub(crate) const ADJECTIVES: &[&str] = &[
    "able", "amber", "ancient", "autumn", "bald", "bitter", "black", "blank", "blue", "bold", "brave", "brief",
    "bright", "broad", "brown", "busy", "calm", "careful", "cheap", "clean", "clear", "clever", "cloudy", "cold",
    "common", "crisp", "curious", "curly", "daily", "damp", "dark", "dear", "deep", "distant", "double", "dry",
    "dull", "dusty", "eager", "early", "eastern", "easy", "empty", "equal", "even", "exact", "faint", "fair",
    "famous", "fancy", "fast", "fierce", "fine", "firm", "flat", "fond", "foreign", "formal", "free", "fresh",
    "frozen", "full", "gentle", "giant", "glad", "golden", "grand", "grateful", "gray", "green", "happy", "hard",
    "heavy", "hidden", "high", "hollow", "honest", "humble", "idle", "inner", "joyful", "keen", "kind", "large",
    "late", "lazy", "light", "little", "lively", "local", "lonely", "long", "loose", "loud", "lucky", "mellow",
    "mild", "modern", "modest", "narrow", "neat", "noble", "northern", "odd", "open", "orange", "outer", "patient",
    "plain", "polite", "proud", "public", "purple", "quick", "quiet", "rapid", "rare", "ready", "red", "rich",
    "rough", "round", "royal", "rural", "sacred", "sharp", "silent", "silver", "simple", "slow", "smooth", "soft",
    "solid", "southern", "spare", "steady", "steep", "still", "stormy", "strange", "strong", "sunny", "sweet", "tall",
    "tame", "thick", "tidy", "tiny", "urban", "useful", "vast", "velvet", "violet", "warm", "western", "wild",
    "wise", "young",
];

/// Nouns for keys such as `amber-anchor`.
#[rustfmt::skip]
pub(crate) const NOUNS: &[&str] = &[
    "acorn", "anchor", "apple", "apron", "arrow", "badge", "baker", "banana", "banner", "barn", "barrel", "basket",
    "beach", "bell", "berry", "bird", "blanket", "boat", "book", "bottle", "bowl", "branch", "bread", "brick",
    "bridge", "brush", "bucket", "button", "cabin", "cable", "camel", "camera", "candle", "canyon", "carpet", "castle",
    "cedar", "chain", "chair", "cherry", "circle", "clock", "cloud", "coat", "coin", "copper", "corner", "cotton",
    "crane", "creek", "crown", "cup", "curtain", "desert", "desk", "dragon", "drum", "eagle", "engine", "falcon",
    "farm", "feather", "fence", "ferry", "field", "flag", "flower", "forest", "fork", "fountain", "fox", "garden",
    "gate", "glove", "goat", "grape", "hammer", "harbor", "hat", "hill", "honey", "horse", "island", "jacket",
    "jar", "kettle", "key", "kitchen", "kite", "ladder", "lake", "lamp", "lantern", "leaf", "lemon", "letter",
    "lion", "maple", "market", "meadow", "mill", "mirror", "monkey", "moon", "mountain", "mouse", "needle", "nest",
    "ocean", "olive", "orchard", "otter", "owl", "paper", "parrot", "peach", "pencil", "piano", "pillow", "planet",
    "plate", "pocket", "pond", "potato", "prairie", "rabbit", "rail", "ribbon", "river", "road", "robin", "roof",
    "rope", "saddle", "sail", "salmon", "school", "shadow", "shell", "ship", "shoe", "spider", "spoon", "spring",
    "stone", "stove", "street", "table", "temple", "thread", "ticket", "tiger", "tower", "train", "tree", "tunnel",
    "valley", "village", "violin", "wagon", "wallet", "water", "whale", "wheel", "window", "winter", "wolf", "zebra",
];

/// Different adjective-noun keys, one after another.
#[derive(Debug, Default)]
pub(crate) struct Keys(BTreeSet<(usize, usize)>);

impl Keys {
    /// How many different keys there are.
    pub(crate) const MAX: usize = ADJECTIVES.len() * NOUNS.len();

    /// A key that was not given out before. There must be fewer than [`Keys::MAX`] so far.
    pub(crate) fn next(&mut self, random: &mut Random) -> String {
        loop {
            let pair = (random.below(ADJECTIVES.len()), random.below(NOUNS.len()));
            if self.0.insert(pair) {
                return format!("{}-{}", ADJECTIVES[pair.0], NOUNS[pair.1]);
            }
        }
    }
}

/// Different 7-digit numbers, one after another.
#[derive(Debug, Default)]
pub(crate) struct Numbers(BTreeSet<u32>);

impl Numbers {
    /// A number in 1000000..=9999999 that was not given out before.
    pub(crate) fn next(&mut self, random: &mut Random) -> u32 {
        loop {
            let number = random.between(1_000_000, 9_999_999);
            if self.0.insert(number) {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_is_listed_twice() {
        for list in [ADJECTIVES, NOUNS] {
            let different: BTreeSet<_> = list.iter().collect();
            assert_eq!(different.len(), list.len());
            assert!(list.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
        }
    }

    #[test]
    fn keys_and_numbers_do_not_repeat() {
        let mut random = Random::of_task(1, "words");
        let (mut keys, mut numbers) = (Keys::default(), Numbers::default());
        let many: BTreeSet<_> = (0..8000).map(|_| keys.next(&mut random)).collect();
        assert_eq!(many.len(), 8000);
        let many: BTreeSet<_> = (0..8000).map(|_| numbers.next(&mut random)).collect();
        assert_eq!(many.len(), 8000);
    }
}
