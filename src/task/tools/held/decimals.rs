//! Multiples of fractions as they are written: three tenths are 0.3, where the product of floating-point numbers is
//! 0.30000000000000004 and no multiple of 0.1.

use serde_json::{Value, json};

/// Most digits behind the point that are kept.
const MAX_PLACES: usize = 15;
/// Whole numbers below it are exact.
const MAX_WHOLE: f64 = 1e15;

/// A number as JSON; a whole one without a point.
pub(super) fn json(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < MAX_WHOLE { json!(number as i64) } else { json!(number) }
}

/// So many steps.
pub(super) fn times(count: f64, step: f64) -> f64 {
    rounded(count * step, places(step))
}

/// How many steps a number is: a whole number where it is a multiple as written.
pub(super) fn steps(number: f64, step: f64) -> f64 {
    let nearest = (number / step).round();
    if times(nearest, step) == number { nearest } else { number / step }
}

/// A number and a part of a step.
pub(super) fn plus(number: f64, part: f64, step: f64) -> f64 {
    // Half of what ends in an odd digit has one digit more.
    let more = usize::from(part.fract() != 0.0);
    rounded(number + part * step, places(number).max(places(step) + more))
}

/// Digits behind the point in the shortest writing of a number.
fn places(number: f64) -> usize {
    let text = number.to_string();
    text.split_once('.').map_or(0, |(_, digits)| digits.len()).min(MAX_PLACES)
}

fn rounded(number: f64, places: usize) -> f64 {
    format!("{number:.places$}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiples_of_fractions_are_as_written() {
        assert_eq!(json(times(3.0, 0.1)).to_string(), "0.3");
        assert_eq!(json(times(7.0, 0.01)).to_string(), "0.07");
        assert_eq!(json(times(4.0, 0.25)).to_string(), "1");
        assert_eq!(steps(0.3, 0.1), 3.0);
        assert_eq!(steps(0.07, 0.01), 7.0);
        assert_eq!(steps(0.35, 0.1).ceil(), 4.0);
        assert_eq!(json(plus(0.3, 0.5, 0.01)).to_string(), "0.305");
        assert_eq!(json(plus(0.3, -1.0, 0.1)).to_string(), "0.2");
        assert_eq!(json(plus(10.0, 0.5, 5.0)).to_string(), "12.5");
    }
}
