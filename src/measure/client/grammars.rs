//! What a server makes of a JSON Schema.

use serde_json::Value;

use super::connection::Client;
use crate::task::tools::held::check::Answer;
use crate::task::tools::json_schema::is_about_a_schema;

impl Client {
    /// Whether the engine's interface tells grammars at all.
    pub fn tells_grammars(&self) -> bool {
        self.writer.wire.grammar_of(&Value::Null).is_some()
    }

    /// Asks for the grammar that a schema becomes. Nothing is generated but one token.
    pub async fn grammar_of(&self, schema: &Value) -> Answer {
        let wire = self.writer.wire;
        let Some((path, mut body)) = wire.grammar_of(schema) else {
            return Answer::Nothing("this engine does not tell what grammar it makes of a schema".into());
        };
        if let Some(model) = &self.writer.model {
            body["model"] = Value::from(&**model);
        }
        let answer = match self.http.post(path, &body).await {
            // Of another refusal (a model that is not there, a server that is full) the schema is not the reason.
            Err(failure) if failure.refuses_the_request() && is_about_a_schema(&failure.message) => {
                return Answer::Refused(failure.message);
            }
            Err(failure) => return Answer::Nothing(failure.message),
            Ok(answer) => answer,
        };
        let answer = serde_json::from_slice::<Value>(answer.recording.bytes());
        let grammar = answer.ok().and_then(|answer| wire.read_grammar(&answer));
        match grammar {
            Some(grammar) => Answer::Grammar(grammar),
            None => Answer::Nothing(format!("the answer of {path} names no grammar")),
        }
    }
}
