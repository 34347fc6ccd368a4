//! Labelled records over the whole context; how often a label occurs has to be added up.
//!
//! Four questions, each with its own way of laying out the labels:
//! - count: a rare label occurs 2 to `most` times; the other labels fill the context evenly.
//! - most, least: every label fills the context, the one asked for a little more (less) often.
//! - compare: two rare labels, as in count; in one of three cases they occur equally often.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::record::{Case, Outcome, Reply, Score};
use crate::task::random::Random;
use crate::task::words::{NOUNS, Numbers};
use crate::task::{Card, Harder, Needs, TaskOption};

use super::listing::{Fixed, Listing, Question, share};
use super::{
    About, CaseDraft, Closed, Draw, OUTPUT_HELP, Retrieval, THINKING, option, output_tokens, ran_out,
    read_target, tuned,
};

/// What comes before the answer, in lower case.
const MARK: &str = "answer:";
/// How a reply begins that is made to answer.
const BEGUN: &str = "Answer:";
/// The answer to a comparison of two labels that occur equally often.
const EQUAL: &str = "equal";
/// By how many records the label asked for leads (or trails) at least. Every label occurs once in a block of
/// records and the last block may be cut off anywhere, which alone makes a difference of up to one.
const LEAD: usize = 2;

static OPTIONS: &[TaskOption] = &[
    output_tokens(64, OUTPUT_HELP),
    THINKING,
    tuned(
        option(
            "labels",
            "different labels in the context; more make the most and least frequent harder",
            6,
            3,
            12,
        ),
        Harder::Larger,
    ),
    tuned(
        option("most", "largest count that is asked for or compared; larger is harder", 9, 2, 64),
        Harder::Larger,
    ),
    option(
        "gap",
        "percent by which the most (least) frequent label occurs more (less) often than the others; smaller \
         is harder",
        50,
        1,
        100,
    ),
    option(
        "question",
        "what is asked: 0 all in turn, 1 count, 2 most, 3 least frequent, 4 compare two",
        0,
        0,
        4,
    ),
];

/// Counts that have to be added up over the whole context.
#[derive(Debug)]
pub struct Counting;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    answer: String,
    /// The words among which the answer is; none when it is a number.
    choices: Vec<String>,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Count,
    Most,
    Least,
    Compare,
}

impl Ask {
    const ALL: [Self; 4] = [Self::Count, Self::Most, Self::Least, Self::Compare];

    /// The one that the option `question` names, or the turn of case `index`.
    fn of_case(option: u32, index: u32) -> Self {
        let at = option.checked_sub(1).unwrap_or(index % 4);
        Self::ALL[at as usize % 4]
    }
}

impl Retrieval for Counting {
    fn about(&self) -> About {
        About {
            card: Card {
                name: "retrieval/counting",
                summary: "records with a label are counted and compared over the whole context (aggregation)",
                options: OPTIONS,
                needs: Needs { closed_answer: true, ..Needs::LONG },
                ..Card::PRIMARY
            },
            prefill: None,
        }
    }

    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a> {
        Box::new(listing(draw, Ask::of_case(draw.option("question"), draw.index)))
    }

    /// Quality is 1 for the right answer, else 0. A count also has the metric `closeness`: 0.75 to the power of
    /// the distance between answer and truth, 0 without an answer.
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let said = answer(&reply.answer(), &target);
        let right = said.as_ref() == Some(&target.answer);
        let mut score = Score::of(f64::from(u8::from(right)));
        if target.choices.is_empty() {
            score = score.with("closeness", closeness(&target.answer, said.as_deref()));
        }
        Ok(match said {
            _ if right => score,
            _ if ran_out(reply) => score.labelled("truncated"),
            None => score.labelled("none"),
            Some(said) => score.labelled(error_label(&target, &said)),
        })
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        let target: Target = read_target(case).ok()?;
        Some(format!("Answer: {}", target.answer))
    }
}

fn listing(draw: &Draw<'_>, ask: Ask) -> Listing {
    let mut random = draw.random("");
    let mut labels = NOUNS.to_vec();
    random.shuffle(&mut labels);
    labels.truncate(draw.option("labels") as usize);
    let (first, second) = (labels[0], labels[1]);
    let most = draw.option("most");
    let plan = match ask {
        Ask::Count => Plan::count(&labels, random.between(2, most)),
        Ask::Most => Plan::most(&labels),
        Ask::Least => Plan::least(&labels),
        Ask::Compare => Plan::compare(&labels, compared(&mut random, most)),
    };
    let Plan { target, rare, even, tilt } = plan;
    let mut ids = Numbers::default();
    let fixed = rare
        .into_iter()
        .flat_map(|(label, count)| std::iter::repeat_n(label, count))
        .map(|label| Fixed::new(share(&mut random), record(ids.next(&mut random), label)))
        .collect();
    let mut blocks = Blocks { even, tilt, gap: draw.option("gap") as usize, left: Vec::new() };
    let next = move || {
        let label = blocks.next(&mut random);
        record(ids.next(&mut random), label)
    };
    let question = Question {
        text: ask.text(first, second),
        closed: Some(Closed::one(BEGUN, &target.answer)),
        target: json!(target),
    };
    Listing::new(INTRO.into(), vec![question], fixed, next)
}

const INTRO: &str = "Below are records, one on each line: a number and the label of that record. You will be asked \
                     how often labels occur.";

fn record(id: u32, label: &str) -> String {
    format!("{id}: {label}")
}

impl Ask {
    fn text(self, first: &str, second: &str) -> String {
        let (ask, form) = match self {
            Self::Count => (format!("How many records have the label {first}?"), "a number"),
            Self::Most => ("Which label do the most records have?".into(), "a label"),
            Self::Least => ("Which label do the fewest records have?".into(), "a label"),
            Self::Compare => {
                // In the order of the alphabet, which says nothing about the answer.
                let (a, b) = if first < second { (first, second) } else { (second, first) };
                let ask = format!(
                    "Which label do more records have: {a} or {b}, or do as many have one as the other?"
                );
                (ask, "one of the two labels, or the word equal")
            }
        };
        format!("{ask} Count over all records. End your reply with a line `Answer:` followed by {form}.")
    }
}

/// Two counts in 2..=`most`, equal in one of three cases.
fn compared(random: &mut Random, most: u32) -> (u32, u32) {
    let first = random.between(2, most);
    if most == 2 || random.below(3) == 0 {
        return (first, first);
    }
    loop {
        let second = random.between(2, most);
        if second != first {
            return (first, second);
        }
    }
}

/// Which labels a case has, and how often.
struct Plan {
    target: Target,
    /// Labels with the number of records that a case of any length has.
    rare: Vec<(&'static str, usize)>,
    /// Labels that fill the context evenly.
    even: Vec<&'static str>,
    /// The label among them that occurs more or less often.
    tilt: Tilt,
}

/// Which label the filler prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tilt {
    None,
    More(&'static str),
    Less(&'static str),
}

impl Plan {
    fn count(labels: &[&'static str], count: u32) -> Self {
        Self {
            target: Target { answer: count.to_string(), choices: Vec::new() },
            rare: vec![(labels[0], count as usize)],
            even: labels[1..].to_vec(),
            tilt: Tilt::None,
        }
    }

    fn most(labels: &[&'static str]) -> Self {
        Self {
            target: Target { answer: labels[0].into(), choices: owned(labels) },
            rare: vec![(labels[0], LEAD)],
            even: labels.to_vec(),
            tilt: Tilt::More(labels[0]),
        }
    }

    /// The rarest label occurs at least once, even where every block leaves it out.
    fn least(labels: &[&'static str]) -> Self {
        let others = labels[1..].iter().map(|label| (*label, 1 + LEAD));
        Self {
            target: Target { answer: labels[0].into(), choices: owned(labels) },
            rare: std::iter::once((labels[0], 1)).chain(others).collect(),
            even: labels.to_vec(),
            tilt: Tilt::Less(labels[0]),
        }
    }

    fn compare(labels: &[&'static str], (first, second): (u32, u32)) -> Self {
        let answer = match first.cmp(&second) {
            std::cmp::Ordering::Less => labels[1],
            std::cmp::Ordering::Equal => EQUAL,
            std::cmp::Ordering::Greater => labels[0],
        };
        Self {
            target: Target { answer: answer.into(), choices: owned(&[labels[0], labels[1], EQUAL]) },
            rare: vec![(labels[0], first as usize), (labels[1], second as usize)],
            even: labels[2..].to_vec(),
            tilt: Tilt::None,
        }
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Labels in blocks: each label once, in a random order, and the tilted one in some blocks twice or not at all.
struct Blocks {
    even: Vec<&'static str>,
    tilt: Tilt,
    /// Percent of the blocks that are tilted.
    gap: usize,
    left: Vec<&'static str>,
}

impl Blocks {
    fn next(&mut self, random: &mut Random) -> &'static str {
        loop {
            if let Some(label) = self.left.pop() {
                return label;
            }
            self.left.clone_from(&self.even);
            match self.tilt {
                Tilt::More(label) if random.chance(self.gap) => self.left.push(label),
                Tilt::Less(label) if random.chance(self.gap) => self.left.retain(|other| *other != label),
                _ => {}
            }
            random.shuffle(&mut self.left);
        }
    }
}

/// What a reply answers: the one number or choice that it names on the line behind its last `Answer:`, or in all
/// of it without such a line; none when it names none or several.
fn answer(content: &str, target: &Target) -> Option<String> {
    let text = content.to_lowercase();
    let text = match text.rfind(MARK) {
        Some(at) => text[at + MARK.len()..].lines().next().unwrap_or_default(),
        None => &text,
    };
    // The minus stays: no count is below 0.
    let sign = |c: char| !c.is_alphanumeric() && c != '-';
    let words = text.split_whitespace().map(|word| word.trim_matches(sign));
    let named: BTreeSet<String> = words.filter_map(|word| named(word, &target.choices)).collect();
    if named.len() == 1 { named.into_iter().next() } else { None }
}

/// The number or choice that a word is.
fn named(word: &str, choices: &[String]) -> Option<String> {
    if choices.is_empty() {
        return word.parse::<u64>().ok().map(|number| number.to_string());
    }
    choices.iter().find(|choice| *choice == word).cloned()
}

/// 0.75 to the power of the distance between two counts.
fn closeness(gold: &str, said: Option<&str>) -> f64 {
    match (gold.parse::<u64>(), said.map(str::parse::<u64>)) {
        (Ok(gold), Some(Ok(said))) => 0.75_f64.powf(gold.abs_diff(said) as f64),
        _ => 0.0,
    }
}

fn error_label(target: &Target, said: &str) -> &'static str {
    match (target.answer.parse::<u64>(), said.parse::<u64>()) {
        (Ok(gold), Ok(said)) if gold.abs_diff(said) == 1 => "off_by_one",
        (Ok(gold), Ok(said)) if said < gold => "too_few",
        (Ok(_), Ok(_)) => "too_many",
        _ => "wrong_label",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::testing::{judge, judged, make, messages, with};
    use super::*;
    use crate::record::FinishReason;
    use crate::task::Task;
    use crate::task::testing::WordCounter;

    fn target(case: &Case) -> Target {
        read_target(case).unwrap()
    }

    /// How often each label occurs, read from the prompt.
    fn counts(case: &Case) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for line in messages(case)[0].content.lines() {
            if let Some((id, label)) = line.split_once(": ")
                && id.parse::<u32>().is_ok()
            {
                *counts.entry(label).or_default() += 1;
            }
        }
        counts
    }

    /// Answers the question of the prompt from the prompt alone.
    fn solve(case: &Case) -> String {
        let text = messages(case)[0].content.lines().last().unwrap();
        let counts = counts(case);
        let words: Vec<&str> = text.split([' ', '?', ',']).collect();
        let label_after = |word: &str| words[words.iter().position(|w| *w == word).unwrap() + 1];
        let only = |wanted: usize| {
            let labels: Vec<_> = counts.iter().filter(|(_, count)| **count == wanted).collect();
            assert_eq!(labels.len(), 1, "{counts:?}");
            (*labels[0].0).to_owned()
        };
        if text.starts_with("How many records") {
            return counts[label_after("label")].to_string();
        } else if text.starts_with("Which label do the most") {
            return only(*counts.values().max().unwrap());
        } else if text.starts_with("Which label do the fewest") {
            return only(*counts.values().min().unwrap());
        }
        let (a, b) = (label_after("have:"), label_after("or"));
        match counts[a].cmp(&counts[b]) {
            std::cmp::Ordering::Less => b.into(),
            std::cmp::Ordering::Equal => "equal".into(),
            std::cmp::Ordering::Greater => a.into(),
        }
    }

    #[test]
    fn counting_the_prompt_gives_the_same_answers() {
        let any = (any::<u64>(), 3_u32..=12, 2_u32..=20, 1_u32..=100, 1024_u32..6000);
        proptest!(ProptestConfig::with_cases(40), |((seed, labels, most, gap, context) in any)| {
            let options = [("labels", labels), ("most", most), ("gap", gap)];
            let params = with(context, 4, &options);
            for case in &Counting.cases(&params, seed, &WordCounter::default()).unwrap() {
                prop_assert_eq!(solve(case), target(case).answer);
                prop_assert_eq!(counts(case).len(), labels as usize);
            }
        });
    }

    #[test]
    fn all_questions_are_asked_in_turn_or_one_alone() {
        let kinds = |question| {
            let cases = make(&Counting, 2048, 8, &[("question", question)]);
            let kind = |case: &Case| match target(case) {
                Target { choices, .. } if choices.is_empty() => 1,
                Target { choices, .. } if choices.last().is_some_and(|choice| choice == EQUAL) => 4,
                _ if messages(case)[0].content.contains("the most records") => 2,
                _ => 3,
            };
            cases.iter().map(kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(0), [1, 2, 3, 4, 1, 2, 3, 4]);
        for question in 1..=4 {
            assert_eq!(kinds(question), [question; 8]);
        }
    }

    #[test]
    fn the_gap_decides_how_far_the_answer_leads() {
        let lead = |gap, question| {
            let case = &make(&Counting, 8192, 1, &[("gap", gap), ("question", question)])[0];
            let counts = counts(case);
            let answer = counts[target(case).answer.as_str()] as f64;
            let others = (counts.values().sum::<usize>() as f64 - answer) / (counts.len() - 1) as f64;
            answer / others
        };
        assert!((1.75..=2.1).contains(&lead(100, 2)), "{}", lead(100, 2));
        assert!((1.0..=1.15).contains(&lead(2, 2)), "{}", lead(2, 2));
        assert_eq!(make(&Counting, 8192, 1, &[("gap", 100), ("question", 3)]).len(), 1);
        assert!((0.85..1.0).contains(&lead(2, 3)), "{}", lead(2, 3));
    }

    #[test]
    fn comparisons_have_every_answer() {
        let cases = make(&Counting, 1024, 60, &[("question", 4)]);
        let equal = cases.iter().filter(|case| target(case).answer == EQUAL).count();
        assert!((8..=34).contains(&equal), "{equal} of 60");
        let case = cases.iter().find(|case| target(case).answer != EQUAL).unwrap();
        assert_eq!(judged(&Counting, case, "Answer: equal"), (0.0, Some("wrong_label".into())));
        assert!(
            make(&Counting, 1024, 8, &[("question", 4), ("most", 2)])
                .iter()
                .all(|c| target(c).answer == EQUAL)
        );
    }

    #[test]
    fn answers_are_read() {
        let count = Target { answer: "7".into(), choices: Vec::new() };
        let label = Target { answer: "fox".into(), choices: owned(&["fox", "owl", EQUAL]) };
        for (target, content, said) in [
            (&count, "7", Some("7")),
            (&count, "There are **7** of them.", Some("7")),
            (&count, "3 and 4 make 7.\nANSWER: 007\n12", Some("7")),
            (&count, "Answer: 6\nNo, Answer: 7 records.", Some("7")),
            (&count, "Answer: \u{1b}[1m", None),
            (&count, "3 or 4", None),
            (&count, "7.5", None),
            (&count, "seven", None),
            (&count, "99999999999999999999999999", None),
            (&count, "Answer:", None),
            (&label, "I count owl 3, fox 4.\nAnswer: Fox", Some("fox")),
            (&label, "Answer: fox, not owl", None),
            (&label, "It is the \"owl\".", Some("owl")),
            (&label, "foxes", None),
            (&label, "Equal!", Some("equal")),
        ] {
            assert_eq!(answer(content, target).as_deref(), said, "{content}");
        }
    }

    #[test]
    fn counts_are_exact_and_also_close() {
        let mut case = make(&Counting, 1024, 1, &[]).remove(0);
        case.target = json!({"answer": "7", "choices": []});
        for (content, quality, close, label) in [
            ("Answer: 7", 1.0, 1.0, None),
            ("Answer: 8", 0.0, 0.75, Some("off_by_one")),
            ("Answer: 5", 0.0, 0.5625, Some("too_few")),
            ("Answer: 9", 0.0, 0.5625, Some("too_many")),
            ("Answer: 18446744073709551615", 0.0, 0.0, Some("too_many")),
            ("Answer: -7", 0.0, 0.0, Some("none")),
            ("no idea", 0.0, 0.0, Some("none")),
        ] {
            let reply = Reply { content: content.into(), ..Reply::default() };
            let outcome = Counting.score(&case, &reply);
            let score = outcome.score().unwrap();
            assert_eq!((score.quality, score.label.as_deref()), (Some(quality), label), "{content}");
            assert!((score.metrics["closeness"] - close).abs() < 1e-12, "{content}");
        }
        assert_eq!(judge(&Counting, &case, "Answer: ", FinishReason::Length).1, Some("truncated".into()));
    }
}
