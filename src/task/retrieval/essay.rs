//! Generated prose to hide needles in.
//!
//! A needle must not stand out by its style, or finding it says nothing about memory. So the prose is varied
//! (a cast with facts that come back, clauses put together in thousands of ways), and it has sentences that look like
//! needles: keys of the same form, values of the same form, none of them asked for. Everything here was
//! written for kneepoint.

use std::collections::BTreeSet;

use super::needles::Needles;
use crate::task::prose::Prose;
use crate::task::random::Random;

/// How a composed sentence may begin.
const OPENINGS: &[&str] = &[
    "",
    "",
    "",
    "{time_first}, ",
    "Some say that ",
    "According to the {trade} of {town}, ",
    "In the spring of {year}, ",
    "For reasons that {other} never explained, ",
    "Long after {subject} was forgotten, ",
    "To the surprise of all {home}, ",
    "If the old {trade} can be believed, ",
    "Not far from {town}, ",
    "Between two spells of work, ",
    "As {other} had feared, ",
];

/// What a composed sentence says.
const CORES: &[&str] = &[
    "{name} {deed} a {adjective} {noun}",
    "{name} and {other} quarrelled about {subject}",
    "the {noun} turned out to be {adjective} and quite useless",
    "{count} people came to see the {material} {noun}",
    "{other} would not part with the {adjective} {noun}",
    "the price of a {noun} rose to {count} coins",
    "{name} taught the children how to mend a {noun}",
    "nobody understood why the {trade} {deed} the {noun}",
    "a {trade} offered {food} in exchange for a {noun}",
    "the road between {home} and {town} was lined with {adjective} {noun}s",
    "{name} dreamed of a {noun} made of {material}",
    "the {keepsake} lay forgotten behind a {noun}",
    "{other} read aloud from a book about {subject}",
    "{weather} kept the {trade}s of {town} at home",
    "{name} was too {mood} to speak of {subject}",
    "the {adjective} {noun} belonged to nobody in particular",
    "a letter about {subject} arrived with {count} others",
    "{other} painted the {noun} and then the {noun}",
    "the smell of {food} filled the {noun}",
    "{name} measured the {noun} twice and found it {adjective}",
    "they buried a {material} {noun} under the {adjective} {noun}",
    "the council of {town} could not agree on {subject}",
    "{name} sold {count} {noun}s to a {mood} {trade}",
    "silence hung over {home} like a {noun}",
    "{other} learned to sail on a {noun} of {material}",
    "rust had eaten into every {noun} on the estate",
    "two {trade}s shared one {adjective} lodging above the {noun}",
    "{name} whistled the tune that {other} hated most",
    "a fever kept the {trade} in bed for {count} days",
    "moths got into the {material} and ruined it",
    "{name} swore an oath on the {noun} of a stranger",
    "the ferryman charged {count} coins and a handful of {food}",
    "strangers asked about {subject} at every inn",
    "{other} traded the {noun} for passage to {town}",
    "no map showed the {adjective} path behind the {noun}",
    "the youngest {trade} won the race by a {noun}'s width",
    "clocks in {town} ran {count} minutes slow",
    "{name} lost count of the {noun}s somewhere past {count}",
    "the cellar smelled of {food} and wet {material}",
    "{other} carved initials into the {noun}",
    "geese crossed the {adjective} sky in a crooked line",
    "the verdict on {subject} pleased only the {trade}",
    "{name} owed {other} {count} coins and an apology",
    "half of {home} slept through the alarm",
    "a {material} bell rang {count} times for {subject}",
    "the {noun} floated downstream as far as {town}",
    "{other} burned the letters and kept the {noun}",
    "dust settled on the {adjective} {noun} and the {material} {noun}",
];

/// How a composed sentence may end.
const ENDINGS: &[&str] = &[
    ".",
    ".",
    ".",
    " {reason}.",
    " {time}.",
    ", and {other} felt {mood} ever since.",
    ", as anyone in {town} will tell you.",
    "; {other} thought it {adjective}.",
    ", which had not happened since {year}.",
    ", though {subject} seemed more urgent.",
    " while {weather} passed over {town}.",
    ", and that was the end of the matter.",
    ", or so {other} wrote to {town}.",
    " with {count} {noun}s to spare.",
];

/// Sentences that look like needles. `{key}` and `{value}` are never those of a needle.
const ALIKE: &[&str] = &[
    "The parcel marked {key} left {town} under the label {value}.",
    "{name} wrote {value} on the back of the {noun} called {key}.",
    "A ledger in {home} gives {value} for the {key} of {year}.",
    "The catalogue lists the {key} as item {value}.",
    "{other} read out {value}, and the {trade} looked up {key}.",
    "Under {key}, the register of {town} only says {value}.",
    "The {key} passed through {home} as freight {value}.",
    "\"Is {value} the {key}?\" asked {other}.",
];

/// Of 100 sentences, so many are put together from clauses, and so many more look like needles.
const COMPOSED_PERCENT: usize = 50;
const ALIKE_PERCENT: usize = 6;

/// Prose that goes on for as long as it is asked to.
#[derive(Debug, Clone)]
pub(super) struct Essay {
    prose: Prose,
    random: Random,
    /// First sentences of paragraphs; those that bring somebody back would come again and again.
    openings: BTreeSet<String>,
}

impl Essay {
    pub(super) fn new(random: Random) -> Self {
        Self { prose: Prose::new(random.clone()), random, openings: BTreeSet::new() }
    }

    /// The next paragraph, sentence by sentence.
    pub(super) fn paragraph(&mut self, needles: &mut Needles) -> Vec<String> {
        let mut sentences = self.prose.sentences();
        if !self.openings.insert(sentences[0].clone()) {
            sentences[0] = self.composed();
        }
        for sentence in sentences.iter_mut().skip(1) {
            let draw = self.random.below(100);
            if draw < ALIKE_PERCENT {
                *sentence = self.alike(needles);
            } else if draw < ALIKE_PERCENT + COMPOSED_PERCENT {
                *sentence = self.composed();
            }
        }
        sentences
    }

    fn composed(&mut self) -> String {
        let parts = [OPENINGS, CORES, ENDINGS].map(|list| self.random.pick(list));
        first_upper(&self.prose.fill(&parts.concat()))
    }

    fn alike(&mut self, needles: &mut Needles) -> String {
        let needle = needles.draw();
        let template = self.random.pick(ALIKE);
        let template = template.replace("{key}", &needle.key).replace("{value}", &needle.value);
        self.prose.fill(&template)
    }
}

fn first_upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::haystack::{Haystack, HaystackKind};
    use super::super::needles::ValueKind;
    use super::*;

    fn text(kind: HaystackKind, bytes: usize) -> String {
        let mut needles = Needles::new(Random::of_task(1, "needles"), ValueKind::Words, ValueKind::Number);
        let mut haystack = Haystack::new(kind, Random::of_task(1, "essay"), None);
        let mut text = haystack.units(bytes / 20, &mut needles).join(" ");
        text.truncate(bytes);
        text
    }

    /// Different words for each word (0..1).
    fn type_token_ratio(text: &str) -> f64 {
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        let types: BTreeSet<&str> = words.iter().copied().collect();
        types.len() as f64 / words.len() as f64
    }

    /// Bytes for each byte after deflate.
    fn deflate_ratio(text: &str) -> f64 {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default();
        archive.start_file("text", options.compression_method(zip::CompressionMethod::Deflated)).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
        let bytes = archive.finish().unwrap().into_inner().len();
        text.len() as f64 / bytes as f64
    }

    #[test]
    fn prose_is_varied_where_noise_is_not() {
        let (prose, noise) = (text(HaystackKind::Prose, 32_000), text(HaystackKind::Noise, 32_000));
        let types = [&prose, &noise].map(|text| type_token_ratio(text));
        let deflate = [&prose, &noise].map(|text| deflate_ratio(text));
        println!("type/token ratio {types:?}, deflate ratio {deflate:?} (prose, noise)");
        assert!(types[0] > 0.12 && types[0] > 20.0 * types[1], "{types:?}");
        // Written English of this length has some 2.2 to 2.7: templates show, but far less than noise does.
        assert!(deflate[0] < 4.0 && deflate[0] * 10.0 < deflate[1], "{deflate:?}");
    }

    #[test]
    fn few_sentences_come_twice() {
        let mut needles = Needles::new(Random::of_task(1, "needles"), ValueKind::Words, ValueKind::Number);
        let mut haystack = Haystack::new(HaystackKind::Prose, Random::of_task(2, "essay"), None);
        let units = haystack.units(5_000, &mut needles);
        let different: BTreeSet<&String> = units.iter().collect();
        assert!(different.len() > 4_800, "{} of 5000 are different", different.len());
    }

    #[test]
    fn values_like_those_of_needles_stand_in_it_but_no_needle() {
        for (kind, digits) in [(ValueKind::Number, 7), (ValueKind::Code, 12)] {
            let mut needles = Needles::new(Random::of_task(1, "needles"), ValueKind::Words, kind);
            let mut haystack = Haystack::new(HaystackKind::Prose, Random::of_task(3, "essay"), None);
            let units = haystack.units(1_000, &mut needles);
            let alike = |unit: &&String| {
                unit.split(|c: char| !c.is_ascii_hexdigit())
                    .any(|part| part.len() == digits && part.contains(|c: char| c.is_ascii_digit()))
            };
            let found = units.iter().filter(alike).count();
            assert!((20..=90).contains(&found), "{found} of 1000");
            assert!(units.iter().all(|unit| !unit.contains("secret")));
        }
    }

    #[test]
    fn every_slot_is_filled() {
        let text = text(HaystackKind::Prose, 200_000);
        assert!(!text.contains(['{', '}']) && !text.contains("something"), "{text}");
    }
}
