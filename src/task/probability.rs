//! Scores by probability: the chance that the model, sampling at temperature 1 from where the reply was begun, says the right
//! answer next and ends it there.

use super::TokenCounter;
use crate::error::{Error, Result};
use crate::record::{Case, Forced, ForcedForm, ForcedPart, Outcome, Part, Reply, Score};

/// Natural logarithm of the probability that the whole answer is said, part after part; of one that was not said to its end
/// ([`Forced::cut`]) that of its beginning.
pub const LOG_PROBABILITY: &str = "log_probability";

/// Returns a part of an answer: what the reply has said before it, and what it may say now. Each form is tokenized as it
/// stands behind that; one whose tokens reach over the seam has none, and its case will be unscored.
///
/// # Errors
/// When the server cannot tokenize, or one form is the beginning of another one: their probabilities would be counted twice.
pub fn part(
    begun: &str,
    forms: &[String],
    depth: Option<f64>,
    tokens: &dyn TokenCounter,
) -> Result<ForcedPart> {
    for (at, form) in forms.iter().enumerate() {
        if forms.iter().enumerate().any(|(other, text)| other != at && text.starts_with(form.as_str())) {
            return Err(Error::runtime(format!("the answer `{form}` is the beginning of another right one")));
        }
    }
    let front = if begun.is_empty() { Vec::new() } else { tokens.tokenize(begun)? };
    let forms = forms.iter().map(|form| {
        let whole = tokens.tokenize(&format!("{begun}{form}"))?;
        let tail = whole.strip_prefix(front.as_slice()).unwrap_or_default();
        Ok(ForcedForm { text: form.clone(), tokens: tail.to_vec() })
    });
    Ok(ForcedPart { begun: begun.to_owned(), forms: forms.collect::<Result<_>>()?, depth })
}

/// The first of these places (bytes) of a reply at which one of its tokens ends: what stands in front of it and what stands
/// behind it have the same tokens apart as together. `None` when no place is one.
///
/// # Errors
/// When the server cannot tokenize.
pub fn seam(reply: &str, places: &[usize], tokens: &dyn TokenCounter) -> Result<Option<usize>> {
    let whole = tokens.tokenize(reply)?;
    for &place in places {
        let Some(front) = reply.get(..place) else { continue };
        if front.is_empty() || whole.starts_with(&tokens.tokenize(front)?) {
            return Ok(Some(place));
        }
    }
    Ok(None)
}

/// Returns a stretch (bytes) of a reply as a part of an answer, with what of its surroundings shares a token with it.
///
/// # Errors
/// When the server cannot tokenize, or no token of the reply ends near the stretch.
pub fn stretch(
    reply: &str,
    stretch: std::ops::Range<usize>,
    tokens: &dyn TokenCounter,
) -> Result<ForcedPart> {
    let no_seam = || Error::runtime(format!("no token of {reply} ends near {}", &reply[stretch.clone()]));
    let before: Vec<usize> = (0..=stretch.start).rev().collect();
    let front = seam(reply, &before, tokens)?.ok_or_else(no_seam)?;
    let behind: Vec<usize> = (stretch.end..=reply.len()).collect();
    let cut = seam(reply, &behind, tokens)?.ok_or_else(no_seam)?;
    part(&reply[..front], &[reply[front..cut].to_owned()], None, tokens)
}

/// Judges a reply of forced answers: the mean over the parts of the probability of their forms together.
pub(super) fn score(case: &Case, reply: &Reply) -> Outcome {
    let parts: Result<Vec<f64>, String> =
        case.forced.iter().enumerate().map(|(at, part)| probability(at, part, &reply.forced)).collect();
    match parts {
        Ok(parts) if !parts.is_empty() => Outcome::Scored(scored(case, &parts)),
        Ok(_) => Outcome::Unscored { reason: "the case names no answer".to_owned() },
        Err(reason) => Outcome::Unscored { reason },
    }
}

fn scored(case: &Case, parts: &[f64]) -> Score {
    let mean = parts.iter().sum::<f64>() / parts.len() as f64;
    let log: f64 = parts.iter().map(|part| part.max(f64::MIN_POSITIVE).ln()).sum();
    let mut score = Score::of(mean).with(LOG_PROBABILITY, log);
    let placed = case.forced.iter().zip(parts);
    let placed: Option<Vec<Part>> =
        placed.map(|(part, quality)| Some(Part { depth: part.depth?, quality: *quality })).collect();
    score.parts = placed.filter(|placed| placed.len() > 1).unwrap_or_default().into();
    score
}

/// The probability of a part: that of its forms, which exclude each other, together.
fn probability(at: usize, part: &ForcedPart, forced: &[Forced]) -> Result<f64, String> {
    let mut sum = 0.0;
    for (number, form) in part.forms.iter().enumerate() {
        let found = forced.iter().find(|one| (one.part as usize, one.form as usize) == (at, number));
        let found = found.ok_or_else(|| format!("the answer `{}` was not asked for", form.text))?;
        canonical(form, found)?;
        sum += found.log_probability().exp();
    }
    Ok(sum.clamp(0.0, 1.0))
}

/// The answer must be said with the tokens that the tokenizer makes of it: another spelling has another probability. Where
/// the server names no tokens, their number must be right.
fn canonical(form: &ForcedForm, forced: &Forced) -> Result<(), String> {
    if form.tokens.is_empty() {
        return Err(format!(
            "the tokens of `{}` reach into what was begun: its probability cannot be told",
            form.text
        ));
    }
    let whole = forced.tokens.len() == form.tokens.len();
    let begun = forced.cut && forced.tokens.len() < form.tokens.len() && forced.is_impossible();
    let alike = (whole || begun)
        && forced
            .tokens
            .iter()
            .zip(&form.tokens)
            .all(|(said, wanted)| said.id.is_none_or(|id| id == *wanted));
    if alike {
        return Ok(());
    }
    Err(format!(
        "the server said `{}` with other tokens ({} instead of {}): its probability is not that of the text",
        form.text,
        forced.tokens.len(),
        form.tokens.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{ForcedToken, Prompt};
    use crate::task::testing::WordCounter;

    fn case(forms: &[&[u32]]) -> Case {
        let forms =
            forms.iter().map(|tokens| ForcedForm { text: format!(" {tokens:?}"), tokens: tokens.to_vec() });
        let part = ForcedPart { begun: "It is".into(), forms: forms.collect(), depth: Some(0.25) };
        Case::new("a/b", 1, 0, Prompt::chat(Vec::new()), serde_json::Value::Null).forcing(vec![part])
    }

    fn said(form: u32, tokens: &[(Option<u32>, f32)], ends: Option<f64>) -> Forced {
        let tokens = tokens.iter().map(|&(id, logprob)| ForcedToken { id, logprob }).collect();
        Forced { form, tokens, ends, ..Forced::default() }
    }

    fn quality(case: &Case, forced: Vec<Forced>) -> Result<f64, String> {
        match score(case, &Reply { forced, ..Reply::default() }) {
            Outcome::Scored(score) => Ok(score.quality.unwrap()),
            Outcome::Unscored { reason } => Err(reason),
            failed => panic!("{failed:?}"),
        }
    }

    #[test]
    fn the_forms_of_a_part_add_up_and_the_end_counts() {
        let case = case(&[&[7, 8], &[9]]);
        let half = 0.5_f32.ln();
        let forced = vec![
            said(0, &[(Some(7), half), (Some(8), half)], Some(0.5)),
            said(1, &[(Some(9), 0.25_f32.ln())], None),
        ];
        assert!((quality(&case, forced).unwrap() - 0.375).abs() < 1e-6);
    }

    #[test]
    fn other_tokens_and_answers_that_were_not_asked_for_are_unscored() {
        let case = case(&[&[7, 8]]);
        assert!(
            quality(&case, vec![said(0, &[(Some(7), -0.1), (Some(9), -0.1)], None)])
                .unwrap_err()
                .contains("other tokens")
        );
        assert!(
            quality(&case, vec![said(0, &[(Some(7), -0.1)], None)]).unwrap_err().contains("1 instead of 2")
        );
        assert!(quality(&case, Vec::new()).unwrap_err().contains("not asked for"));
        assert!(quality(&case, vec![said(0, &[(None, -0.1), (None, -0.1)], None)]).is_ok());
    }

    #[test]
    fn an_answer_that_was_cut_counts_as_its_beginning_if_that_is_next_to_impossible() {
        let case = case(&[&[7, 8, 9]]);
        let begun =
            |logprob: f32, cut| Forced { cut, ..said(0, &[(Some(7), logprob), (Some(8), -0.5)], None) };
        let score = quality(&case, vec![begun(-8.0, true)]).unwrap();
        assert!((score - (-8.5_f64).exp()).abs() < 1e-9);
        assert!(quality(&case, vec![begun(-8.0, false)]).unwrap_err().contains("2 instead of 3"));
        assert!(quality(&case, vec![begun(-3.0, true)]).unwrap_err().contains("2 instead of 3"));
        let other = Forced { cut: true, ..said(0, &[(Some(6), -8.0)], None) };
        assert!(quality(&case, vec![other]).unwrap_err().contains("other tokens"));
    }

    #[test]
    fn a_form_has_the_tokens_that_it_has_behind_what_was_begun() {
        let counter = WordCounter::default();
        let of = |forms: &[&str]| {
            let forms: Vec<String> = forms.iter().map(|form| (*form).to_owned()).collect();
            part("The number is", &forms, None, &counter)
        };
        let made = of(&[" seven", " eight"]).unwrap();
        assert!(made.forms.iter().all(|form| !form.tokens.is_empty()));
        // A letter of the word that was begun: the tokens of the whole are others from there on.
        assert!(of(&["s"]).unwrap().forms[0].tokens.is_empty());
        assert!(of(&[" seven", " sevenfold"]).unwrap_err().to_string().contains("beginning"));
    }
}
