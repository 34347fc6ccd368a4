//! A chat whose reply a grammar forces, with how probable each of its tokens was: like a llama-server that takes grammars of
//! text and no tokens in them.

use serde_json::{Value, json};

use super::document::Speech;
use super::plan::{self, Plan};
use super::script::Script;
use super::tokens;
use super::wire::Refused;

/// How probable a forced token still is where the script says that it loses.
const LOSS: f64 = 0.05;

/// The text that a grammar of nothing but a text forces.
pub(super) fn text(grammar: &str) -> Result<String, Refused> {
    let quoted = grammar.strip_prefix("root ::= ").filter(|quoted| quoted.starts_with('"'));
    let text = quoted.and_then(|quoted| serde_json::from_str(quoted).ok());
    text.ok_or_else(|| Refused::invalid("failed to parse grammar"))
}

/// The reply in one piece, with its tokens' probabilities after a prompt; behind them it may end.
pub(super) fn plan(prompt: &[u32], speech: &Speech<'_>, script: &Script) -> Plan {
    let loss = if tokens::is_hit(prompt, script.forced_losses) { LOSS.ln() } else { 0.0 };
    let mut prefix = prompt.to_vec();
    let mut listed: Vec<Value> = Vec::new();
    for token in &speech.tokens {
        let likeliest = tokens::distribution(&prefix, 1).first().map_or(0.0, |(_, logprob)| *logprob);
        listed.push(entry(token, likeliest + loss));
        prefix.extend(tokens::ids(token));
    }
    listed.push(entry(".", -0.1));
    let mut document = json!(plan::document(speech, script));
    document["choices"][0]["logprobs"] = json!({ "content": listed });
    plan::single(script.ready(speech.processed, speech.count()), &document)
}

fn entry(token: &str, logprob: f64) -> Value {
    let id = tokens::ids(token).first().copied();
    let said = json!({ "id": id, "token": token, "bytes": token.as_bytes(), "logprob": logprob });
    let mut entry = said.clone();
    entry["top_logprobs"] = json!([said]);
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probability(prompt: &[u32], losses: f64) -> f64 {
        let tokens = vec![" 12"];
        let speech = Speech { request: 1, tokens, complete: true, processed: 2, cached: 0 };
        let plan = plan(prompt, &speech, &Script { forced_losses: losses, ..Script::default() });
        let said: Value = serde_json::from_slice(&plan.writes[0].bytes).unwrap();
        assert_eq!(said["choices"][0]["message"]["content"], " 12");
        said["choices"][0]["logprobs"]["content"][0]["logprob"].as_f64().unwrap().exp()
    }

    #[test]
    fn a_damaged_model_finds_what_is_forced_less_probable() {
        for prompt in [[1, 2], [3, 4]] {
            let (whole, lost) = (probability(&prompt, 0.0), probability(&prompt, 1.0));
            assert!((0.1..=0.5).contains(&whole) && (lost / whole - LOSS).abs() < 1e-9, "{whole} {lost}");
        }
        let hit = (0..1000).filter(|prompt| tokens::is_hit(&[*prompt], 0.3)).count();
        assert!((250..350).contains(&hit), "{hit}");
    }

    #[test]
    fn grammars_of_text_are_taken_and_others_refused() {
        assert_eq!(text("root ::= \" a \\\"b\\\"\"").ok().as_deref(), Some(" a \"b\""));
        assert!(text("root ::= <[1]> <[2]>").is_err());
    }
}
