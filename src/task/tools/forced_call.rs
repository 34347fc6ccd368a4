//! A right call as text, in two parts: the choice of the function, and its arguments behind that.
//!
//! The form is that of the worked example in the prompt, with the arguments in the order of the data set: another order, or
//! other white space, is no wrong call, so the probability is a lower bound of that of a right one. Settings are compared by
//! it, not models.

use super::grading::prompted_text;
use super::ladder::Expected;
use crate::error::{Error, Result};
use crate::record::ForcedPart;
use crate::task::{TokenCounter, probability};

/// The parts of a call: `begun` is what comes in front of the function's name.
///
/// # Errors
/// When there is not one call, the server cannot tokenize, or no token of the reply ends near the function's name.
pub(super) fn parts(calls: &[Expected], tokens: &dyn TokenCounter) -> Result<Vec<ForcedPart>> {
    let [call] = calls else {
        return Err(Error::runtime("a call that is scored by its probability must be the only one"));
    };
    let reply = prompted_text(std::slice::from_ref(call));
    let name = reply.find(&call.name).unwrap_or_default();
    let behind = name + call.name.len();
    let no_seam = || Error::runtime(format!("no token of {reply} ends near the function's name"));
    let before: Vec<usize> = (0..=name).rev().collect();
    let front = probability::seam(&reply, &before, tokens)?.ok_or_else(no_seam)?;
    // Its closing quote tells a name from a longer one.
    let after: Vec<usize> = (behind + 1..reply.len()).collect();
    let cut = probability::seam(&reply, &after, tokens)?.ok_or_else(no_seam)?;
    let part = |from: usize, to: usize| {
        probability::part(&reply[..from], &[reply[from..to].to_owned()], None, tokens)
    };
    Ok(vec![part(front, cut)?, part(cut, reply.len())?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::testing::WordCounter;

    #[test]
    fn the_choice_comes_first_and_both_parts_make_the_call() {
        let call: Expected =
            serde_json::from_str(r#"{"name": "set_timer", "arguments": {"minutes": 5, "label": "tea"}}"#)
                .unwrap();
        let parts = parts(&[call], &WordCounter::default()).unwrap();
        assert!(parts[0].begun.starts_with("{\"name\":"), "{parts:?}");
        let said = |part: &ForcedPart| format!("{}{}", part.begun, part.forms[0].text);
        assert_eq!(said(&parts[0]), parts[1].begun);
        assert!(parts[1].begun.contains("\"set_timer\""));
        assert_eq!(said(&parts[1]), r#"{"name": "set_timer", "arguments": {"minutes": 5, "label": "tea"}}"#);
        assert!(parts.iter().all(|part| !part.forms[0].tokens.is_empty()));
    }
}
