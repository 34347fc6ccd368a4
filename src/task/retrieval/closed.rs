//! Right answers that are one text, or one after another: what is forced where a task is scored by probability.

use crate::error::Result;
use crate::record::ForcedPart;
use crate::task::{TokenCounter, probability};

/// A right answer, part after part.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Closed {
    parts: Vec<ClosedPart>,
}

#[derive(Debug, Clone, PartialEq)]
struct ClosedPart {
    begun: String,
    forms: Vec<String>,
    depth: Option<f64>,
}

impl Closed {
    /// One right answer behind the beginning of a reply.
    pub(super) fn one(begun: impl Into<String>, answer: &str) -> Self {
        Self {
            parts: vec![ClosedPart { begun: begun.into(), forms: vec![format!(" {answer}")], depth: None }],
        }
    }

    /// Several answers, with their places in the context (0..1), that a reply lists in any order. Each part is the chance
    /// that the next one listed is a right one that was not named before, the ones in front being named in this order.
    pub(super) fn listed(begun: &str, answers: &[(&str, f64)]) -> Self {
        let part = |(at, (_, depth)): (usize, &(&str, f64))| {
            let named: Vec<&str> = answers[..at].iter().map(|(answer, _)| *answer).collect();
            let begun = match named.as_slice() {
                [] => begun.to_owned(),
                named => format!("{begun} {},", named.join(", ")),
            };
            let forms = answers[at..].iter().map(|(answer, _)| format!(" {answer}")).collect();
            ClosedPart { begun, forms, depth: Some(*depth) }
        };
        Self { parts: answers.iter().enumerate().map(part).collect() }
    }

    /// The beginning of the reply.
    pub(super) fn begun(&self) -> &str {
        self.parts.first().map_or("", |part| &part.begun)
    }

    /// With the tokens that its forms have.
    pub(super) fn forced(&self, tokens: &dyn TokenCounter) -> Result<Vec<ForcedPart>> {
        let of = |part: &ClosedPart| probability::part(&part.begun, &part.forms, part.depth, tokens);
        self.parts.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_list_goes_on_behind_those_named_before() {
        let closed = Closed::listed("They are", &[("1", 0.1), ("2", 0.5), ("3", 0.9)]);
        let begun: Vec<&str> = closed.parts.iter().map(|part| part.begun.as_str()).collect();
        assert_eq!(begun, ["They are", "They are 1,", "They are 1, 2,"]);
        assert_eq!(closed.parts[1].forms, [" 2", " 3"]);
        assert_eq!(closed.begun(), "They are");
        assert_eq!(Closed::one("It is", "7").parts[0].forms, [" 7"]);
    }
}
