//! One message: an explanation, as many lines as fit, a question about them.

use std::ops::RangeInclusive;

use serde_json::Value;

use super::{CaseDraft, Closed};
use crate::record::Message;
use crate::task::fitting::{Draft, Piece};
use crate::task::random::Random;

/// A line that a listing has whatever its length.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fixed {
    /// Its place as a share of the way, 0 (start) to below 1 (end).
    pub(crate) share: f64,
    /// The text.
    pub(crate) line: String,
    /// The question that asks for it, if one does.
    pub(crate) asked: Option<u32>,
}

impl Fixed {
    /// A line that is not asked for.
    pub(crate) fn new(share: f64, line: String) -> Self {
        Self { share, line, asked: None }
    }

    /// How many of `units` lines stand in front of it.
    fn place(&self, units: usize) -> usize {
        (self.share * (units + 1) as f64) as usize
    }
}

/// What stands between two lines.
const SEPARATOR: &str = "\n";

/// A question about a listing.
pub(crate) struct Question {
    /// Its text.
    pub(crate) text: String,
    /// What a right answer is.
    pub(crate) target: Value,
    /// The right answer as one text, if there is one.
    pub(crate) closed: Option<Closed>,
}

/// An explanation, many lines, a question.
pub(crate) struct Listing {
    intro: String,
    /// At least one.
    questions: Vec<Question>,
    /// Number of the one that is asked.
    asking: usize,
    fixed: Vec<Fixed>,
    lines: Vec<String>,
    next: Box<dyn FnMut() -> String>,
    units: RangeInclusive<usize>,
}

impl Listing {
    /// A listing of the `fixed` lines and as many of those that `next` draws as fit.
    pub(crate) fn new(
        intro: String,
        questions: Vec<Question>,
        mut fixed: Vec<Fixed>,
        next: impl FnMut() -> String + 'static,
    ) -> Self {
        fixed.sort_by(|a, b| a.share.total_cmp(&b.share));
        Self {
            intro,
            questions,
            asking: 0,
            fixed,
            lines: Vec::new(),
            next: Box::new(next),
            units: 1..=usize::MAX,
        }
    }

    /// The same with just so many drawn lines, however long the context is.
    pub(crate) fn exactly(self, lines: usize) -> Self {
        Self { units: lines..=lines, ..self }
    }

    fn grow(&mut self, units: usize) {
        while self.lines.len() < units {
            self.lines.push((self.next)());
        }
    }

    fn text(&self, units: usize) -> String {
        let mut lines: Vec<&str> = Vec::with_capacity(units + self.fixed.len());
        let mut fixed = self.fixed.iter().peekable();
        for (at, line) in self.lines[..units].iter().enumerate() {
            while let Some(next) = fixed.next_if(|fixed| fixed.place(units) <= at) {
                lines.push(&next.line);
            }
            lines.push(line);
        }
        lines.extend(fixed.map(|fixed| fixed.line.as_str()));
        lines.join(SEPARATOR)
    }
}

impl Draft for Listing {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        self.grow(units);
        vec![Message::user(format!("{}\n\n{}\n\n{}", self.intro, self.text(units), self.question()))]
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.grow(to);
        Piece::of(&self.lines, from, to, SEPARATOR)
    }
}

impl CaseDraft for Listing {
    fn units(&self) -> RangeInclusive<usize> {
        self.units.clone()
    }

    fn depth(&self, units: usize) -> Option<f64> {
        let asking = u32::try_from(self.asking).ok();
        let asked = self.fixed.iter().position(|fixed| fixed.asked.is_some() && fixed.asked == asking)?;
        let before = asked + self.fixed[asked].place(units);
        Some(before as f64 / (units + self.fixed.len()) as f64)
    }

    fn target(&self, _: usize) -> Value {
        self.questions[self.asking].target.clone()
    }

    fn ask(&mut self, question: u32) {
        self.asking = (question as usize).min(self.questions.len() - 1);
    }

    fn question(&self) -> String {
        self.questions[self.asking].text.clone()
    }

    fn closed(&self, _: usize) -> Option<Closed> {
        self.questions[self.asking].closed.clone()
    }
}

/// A random share of the way, 0 to below 1.
pub(crate) fn share(random: &mut Random) -> f64 {
    random.below(1 << 32) as f64 / (1_u64 << 32) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_lines_keep_their_share_of_the_way() {
        let fixed = vec![
            Fixed::new(0.0, "first".into()),
            Fixed { share: 0.5, line: "middle".into(), asked: Some(0) },
            Fixed::new(0.999, "last".into()),
        ];
        let question = Question { text: "out".into(), target: Value::Null, closed: None };
        let mut listing = Listing::new("in".into(), vec![question], fixed, || "x".into());
        listing.grow(9);
        assert_eq!(listing.text(4), "first\nx\nx\nmiddle\nx\nx\nlast");
        assert_eq!(listing.text(1), "first\nx\nmiddle\nlast");
        assert_eq!(listing.depth(4), Some(3.0 / 7.0));
    }
}
