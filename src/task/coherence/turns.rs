//! Turn by turn: what each reply of a conversation was worth, and what the conversation comes to.

use std::collections::BTreeMap;

use crate::record::{Reply, Score};
use crate::task::retrieval::ran_out;

/// Names of the figures of a conversation in [`Score::metrics`].
pub mod metric {
    /// 1 where the conversation went on from the right replies, 0 where from the model's own.
    pub const GOLD_HISTORY: &str = "gold_history";
    /// Judged turns.
    pub const TURNS: &str = "turns";
    /// The first turn that was not all right, from 1; absent when there is none.
    pub const FIRST_WRONG: &str = "first_wrong_turn";
    /// The last judged turn up to which the mean score is at least one half, from 1; 0 when there is none.
    pub const HORIZON: &str = "horizon";
    /// Change of the score over the whole conversation (-1..1 or beyond): the least-squares slope of the score
    /// over the place of a turn (0..1).
    pub const SLOPE: &str = "slope";
    /// Share of the turns (0..1) that are wrong because the model followed an earlier mistake of its own.
    pub const OWN_MISTAKE: &str = "own_mistake";
    /// Share of the turns (0..1) that are wrong though nothing wrong that the model said leads there.
    pub const FORGOT: &str = "forgot";
    /// Share of the turns (0..1) without an answer that could be judged: empty, cut off, or none in the text.
    pub const UNANSWERED: &str = "unanswered";
    /// Mean score in each quarter of the conversation.
    pub const QUARTERS: [&str; 4] = ["turn_acc_q1", "turn_acc_q2", "turn_acc_q3", "turn_acc_q4"];
}

/// Characters of a reply that are read: many times what a short answer needs.
const READ_CHARACTERS: usize = 4096;

/// What became of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// All right.
    Right,
    /// What follows from an earlier mistake of the model.
    OwnMistake,
    /// Wrong, in the task's own terms.
    Forgot(&'static str),
    /// Nothing to judge, and why.
    Unanswered(&'static str),
}

impl Verdict {
    /// Of a reply whose answer was read: whether it is `right`, and if not, whether it is what `follows` from the
    /// model's own mistake; `error` names other errors.
    pub(super) fn of<T: PartialEq>(
        reply: Option<&Reply>,
        answer: Option<&T>,
        right: &T,
        follows: Option<&T>,
        error: &'static str,
    ) -> Self {
        let Some(reply) = reply else { return Self::Unanswered("missing") };
        match answer {
            Some(answer) if answer == right => Self::Right,
            _ if ran_out(reply) => Self::Unanswered("truncated"),
            None if read(reply).trim().is_empty() => Self::Unanswered("empty"),
            None => Self::Unanswered("no_answer"),
            Some(_) if answer == follows => Self::OwnMistake,
            Some(_) => Self::Forgot(error),
        }
    }

    fn label(self) -> Option<&'static str> {
        match self {
            Self::Right => None,
            Self::OwnMistake => Some("own_mistake"),
            Self::Forgot(label) | Self::Unanswered(label) => Some(label),
        }
    }
}

/// A judged turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Judged {
    /// Its number in the conversation, from 1.
    pub(super) turn: usize,
    /// Where in the conversation what it asks about lies, 0 (start) to 1 (end).
    pub(super) place: f64,
    /// 0 (wrong) to 1 (right).
    pub(super) score: f64,
    /// What became of it.
    pub(super) verdict: Verdict,
}

impl Judged {
    /// A turn that is right or wrong, the `index`-th (from 0) of `turns` that are asked about in order.
    pub(super) fn exact(index: usize, turns: usize, verdict: Verdict) -> Self {
        let score = f64::from(u8::from(verdict == Verdict::Right));
        Self { turn: index + 1, place: index as f64 / turns.max(1) as f64, score, verdict }
    }
}

/// What a conversation comes to: quality is the mean score of its turns, the label its most frequent error.
pub(super) fn score(gold: bool, turns: &[Judged]) -> Score {
    let quality = mean(turns.iter().map(|turn| turn.score)).unwrap_or_default();
    let share = |is: fn(Verdict) -> bool| {
        mean(turns.iter().map(|turn| f64::from(u8::from(is(turn.verdict))))).unwrap_or_default()
    };
    let mut score = Score::of(quality)
        .with(metric::GOLD_HISTORY, f64::from(u8::from(gold)))
        .with(metric::TURNS, turns.len() as f64)
        .with(metric::HORIZON, horizon(turns) as f64)
        .with(metric::OWN_MISTAKE, share(|verdict| verdict == Verdict::OwnMistake))
        .with(metric::FORGOT, share(|verdict| matches!(verdict, Verdict::Forgot(_))))
        .with(metric::UNANSWERED, share(|verdict| matches!(verdict, Verdict::Unanswered(_))));
    for (quarter, name) in metric::QUARTERS.into_iter().enumerate() {
        let here = turns.iter().filter(|turn| (turn.place * 4.0).clamp(0.0, 3.0) as usize == quarter);
        if let Some(accuracy) = mean(here.map(|turn| turn.score)) {
            score = score.with(name, accuracy);
        }
    }
    if let Some(slope) = slope(turns) {
        score = score.with(metric::SLOPE, slope);
    }
    if let Some(first) = turns.iter().find(|turn| turn.verdict != Verdict::Right) {
        score = score.with(metric::FIRST_WRONG, first.turn as f64);
    }
    match most_frequent(turns.iter().filter_map(|turn| turn.verdict.label())) {
        Some(label) => score.labelled(label),
        None => score,
    }
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.fold((0.0, 0_u32), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / f64::from(n))
}

fn horizon(turns: &[Judged]) -> usize {
    let mut sum = 0.0;
    let mut last = 0;
    for (at, turn) in turns.iter().enumerate() {
        sum += turn.score;
        if sum >= 0.5 * (at + 1) as f64 {
            last = turn.turn;
        }
    }
    last
}

/// Least squares; `None` where all turns are at one place.
fn slope(turns: &[Judged]) -> Option<f64> {
    let (x, y) = (mean(turns.iter().map(|turn| turn.place))?, mean(turns.iter().map(|turn| turn.score))?);
    let covariance = mean(turns.iter().map(|turn| (turn.place - x) * (turn.score - y)))?;
    let variance = mean(turns.iter().map(|turn| (turn.place - x).powi(2)))?;
    (variance > 0.0).then(|| covariance / variance)
}

/// The first in the alphabet of the most frequent ones.
fn most_frequent<'a>(labels: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    labels.for_each(|label| *counts.entry(label).or_default() += 1);
    let most = counts.values().max().copied()?;
    counts.into_iter().find(|(_, count)| *count == most).map(|(label, _)| label)
}

/// The beginning of a reply's text after the reasoning, as much as is judged.
pub(super) fn read(reply: &Reply) -> String {
    reply.answer().chars().take(READ_CHARACTERS).collect()
}

/// The words of a text in lower case, each with one blank before and behind.
pub(super) fn words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(String::from(" "), |text, word| text + word + " ")
}

/// Returns whether [`words`] hold an expression as whole words.
pub(super) fn holds(words: &str, expression: &str) -> bool {
    words.contains(&self::words(expression))
}

/// The only expression of a vocabulary that a text holds as whole words; `None` when it holds none, or several.
pub(super) fn only_one<'v>(vocabulary: &[&'v str], text: &str) -> Option<&'v str> {
    let words = words(text);
    let mut held = vocabulary.iter().filter(|expression| holds(&words, expression));
    let only = held.next()?;
    held.next().is_none().then_some(*only)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::FinishReason;

    fn exact(verdicts: &[Verdict]) -> Vec<Judged> {
        let all = verdicts.iter().enumerate();
        all.map(|(index, verdict)| Judged::exact(index, verdicts.len(), *verdict)).collect()
    }

    #[test]
    fn a_conversation_in_numbers() {
        use Verdict::{Forgot, OwnMistake, Right, Unanswered};
        let turns =
            exact(&[Right, Right, Right, Forgot("lost"), OwnMistake, OwnMistake, Right, Unanswered("x")]);
        let score = score(false, &turns);
        assert_eq!((score.quality, score.label.as_deref()), (Some(0.5), Some("own_mistake")));
        let of = |name: &str| score.metrics.get(name).copied();
        assert_eq!(metric::QUARTERS.map(of), [Some(1.0), Some(0.5), Some(0.0), Some(0.5)]);
        assert_eq!((of(metric::FIRST_WRONG), of(metric::HORIZON)), (Some(4.0), Some(8.0)));
        assert_eq!((of(metric::OWN_MISTAKE), of(metric::FORGOT)), (Some(0.25), Some(0.125)));
        assert_eq!((of(metric::UNANSWERED), of(metric::GOLD_HISTORY)), (Some(0.125), Some(0.0)));
        assert!(of(metric::SLOPE).unwrap() < -0.5);
    }

    #[test]
    fn all_right_all_wrong_and_nothing() {
        let right = score(true, &exact(&[Verdict::Right; 5]));
        assert_eq!((right.quality, right.label), (Some(1.0), None));
        assert_eq!(right.metrics.get(metric::SLOPE), Some(&0.0));
        assert!(!right.metrics.contains_key(metric::FIRST_WRONG));
        let wrong = score(true, &exact(&[Verdict::Forgot("lost"); 5]));
        assert_eq!((wrong.quality, wrong.metrics[metric::HORIZON]), (Some(0.0), 0.0));
        assert_eq!(score(true, &[]).quality, Some(0.0));
        // A conversation of three turns has nothing in the quarter between its second and its third turn.
        let three = score(false, &exact(&[Verdict::Right; 3]));
        assert_eq!(metric::QUARTERS.iter().filter(|name| three.metrics.contains_key(**name)).count(), 3);
    }

    #[test]
    fn the_horizon_is_the_last_turn_with_half_of_the_answers_right() {
        let turns = |scores: &[f64]| -> Vec<Judged> {
            let verdict = Verdict::Right;
            let judged = |(index, score): (usize, &f64)| Judged {
                turn: index + 1,
                place: 0.0,
                score: *score,
                verdict,
            };
            scores.iter().enumerate().map(judged).collect()
        };
        assert_eq!(horizon(&turns(&[1.0, 0.0, 0.0, 1.0, 0.0])), 4);
        assert_eq!(horizon(&turns(&[0.0, 1.0, 0.0])), 2);
        assert_eq!(horizon(&turns(&[0.4, 0.5])), 0);
    }

    #[test]
    fn verdicts_tell_why() {
        let reply = |content: &str, finish| Reply {
            content: content.into(),
            finish_reason: Some(finish),
            ..Reply::default()
        };
        let stop = reply("7", FinishReason::Stop);
        let of = |answer, follows| Verdict::of(Some(&stop), answer, &7, follows, "lost");
        assert_eq!(of(Some(&7), Some(&8)), Verdict::Right);
        assert_eq!(of(Some(&8), Some(&8)), Verdict::OwnMistake);
        assert_eq!(of(Some(&8), Some(&9)), Verdict::Forgot("lost"));
        assert_eq!(of(Some(&8), None), Verdict::Forgot("lost"));
        assert_eq!(of(None, None), Verdict::Unanswered("no_answer"));
        let cut = reply("so 7", FinishReason::Length);
        assert_eq!(Verdict::of(Some(&cut), Some(&8), &7, None, "lost"), Verdict::Unanswered("truncated"));
        assert_eq!(Verdict::of(Some(&cut), Some(&7), &7, None, "lost"), Verdict::Right);
        let empty = reply(" \n", FinishReason::Stop);
        assert_eq!(Verdict::of(Some(&empty), None, &7, None, "lost"), Verdict::Unanswered("empty"));
        assert_eq!(Verdict::of(None, None, &7, None, "lost"), Verdict::Unanswered("missing"));
    }

    #[test]
    fn expressions_are_whole_words() {
        let vocabulary = ["key", "cinder bay", "monkey", "Émile"];
        for (text, expected) in [
            ("The key.", Some("key")),
            ("KEY", Some("key")),
            ("a monkey", Some("monkey")),
            ("keys", None),
            ("In *Cinder\nBay*!", Some("cinder bay")),
            ("key or monkey", None),
            ("key, yes, key", Some("key")),
            ("émile", Some("Émile")),
            ("", None),
        ] {
            assert_eq!(only_one(&vocabulary, text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in any::<String>()) {
            only_one(&["key", "é"], &text);
            let reply = Reply { content: text.repeat(50), ..Reply::default() };
            prop_assert!(read(&reply).chars().count() <= READ_CHARACTERS);
        }
    }
}
