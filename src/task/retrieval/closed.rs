//! Right answers that are one text, or one after another: what is forced where a task is scored by probability.

use crate::error::Result;
use crate::record::ForcedPart;
use crate::task::{TokenCounter, probability};

/// Parts of a list that are asked for: each takes as many requests as there are answers left.
pub(crate) const MOST_PARTS: usize = 6;

/// A right answer, part after part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Closed {
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
    pub(crate) fn one(begun: impl Into<String>, answer: &str) -> Self {
        Self {
            parts: vec![ClosedPart { begun: begun.into(), forms: vec![format!(" {answer}")], depth: None }],
        }
    }

    /// Several answers, with their places in the context (0..1), that a reply lists in any order. Each part is the chance
    /// that the next one listed is a right one that was not named before, the ones in front being named in this order.
    pub(crate) fn listed(begun: &str, answers: &[(&str, f64)]) -> Self {
        let answers: Vec<(&str, Option<f64>)> =
            answers.iter().map(|&(answer, depth)| (answer, Some(depth))).collect();
        Self::enclosed(begun, "", &answers)
    }

    /// The same with a bracket in front of the first; an answer need not have a place. Of long lists the first
    /// [`MOST_PARTS`] are asked for.
    pub(crate) fn enclosed(begun: &str, bracket: &str, answers: &[(&str, Option<f64>)]) -> Self {
        let part = |(at, (_, depth)): (usize, &(&str, Option<f64>))| {
            let named: Vec<&str> = answers[..at].iter().map(|(answer, _)| *answer).collect();
            let (begun, bracket) = match named.as_slice() {
                [] => (begun.to_owned(), bracket),
                named => (format!("{begun} {bracket}{},", named.join(", ")), ""),
            };
            let forms = answers[at..].iter().map(|(answer, _)| format!(" {bracket}{answer}")).collect();
            ClosedPart { begun, forms, depth: *depth }
        };
        Self { parts: answers.iter().enumerate().take(MOST_PARTS).map(part).collect() }
    }

    /// Answers one after another, each behind its own beginning of the reply, which goes on from the one before.
    pub(crate) fn steps(steps: impl IntoIterator<Item = (String, String)>) -> Self {
        let part = |(begun, answer): (String, String)| ClosedPart {
            begun,
            forms: vec![format!(" {answer}")],
            depth: None,
        };
        Self { parts: steps.into_iter().map(part).collect() }
    }

    /// The beginning of the reply.
    pub(crate) fn begun(&self) -> &str {
        self.parts.first().map_or("", |part| &part.begun)
    }

    /// With the tokens that its forms have.
    pub(crate) fn forced(&self, tokens: &dyn TokenCounter) -> Result<Vec<ForcedPart>> {
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
        let nodes: Vec<(&str, Option<f64>)> =
            ["a", "b", "c", "d", "e", "f", "g", "h"].map(|n| (n, None)).to_vec();
        let enclosed = Closed::enclosed("Nodes:", "[", &nodes);
        assert_eq!((enclosed.parts.len(), enclosed.parts[5].forms.len()), (6, 3));
        assert_eq!(enclosed.parts[0].forms[1], " [b");
        assert_eq!(
            (enclosed.parts[1].begun.as_str(), enclosed.parts[1].forms[0].as_str()),
            ("Nodes: [a,", " b")
        );
    }
}
