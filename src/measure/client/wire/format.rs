//! How a request is written for the server that gets it: the same wishes, under the names that it knows.

use std::borrow::Cow;
use std::fmt::Debug;

use serde_json::{Value, json};

use super::conversation::Conversation;
use super::decode_list::DecodeLists;
use super::prompt_lists::{PromptLists, PromptLogprobs};
use super::step::StepFormat;
use crate::measure::client::exchange::Failure;
use crate::measure::client::reply;
use crate::record::suite::Sampling;
use crate::record::{Message, Tool};

/// What a server was found to want otherwise than most of its kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quirks {
    /// It refuses `max_tokens` and wants `max_completion_tokens`.
    pub completion_limit: bool,
    /// It refuses `stream_options`.
    pub no_stream_options: bool,
    /// Its own way to count a prompt is missing or wrong: a request for one token counts it.
    pub count_by_usage: bool,
}

/// A chat completion that is asked for.
#[derive(Debug, Clone)]
pub struct ChatRequest<'a> {
    /// What is asked.
    pub conversation: &'a Conversation<'a>,
    /// How tokens are chosen.
    pub sampling: &'a Sampling,
    /// Most tokens of the reply.
    pub max_tokens: u32,
    /// Requests with the same salt share a prefix cache, all others do not; for servers that take one.
    pub salt: Option<String>,
    /// What this server wants otherwise.
    pub quirks: Quirks,
}

/// What a reply is made to say.
#[derive(Debug, Clone, Copy)]
pub struct ForcedText<'a> {
    /// The text.
    pub text: &'a str,
    /// The tokens that it must be said with, where the server can be told.
    pub tokens: Option<&'a [u32]>,
}

/// Whose names and habits a server's HTTP interface has. All of them speak OpenAI's chat completions; they differ in what
/// else they understand. An engine's card names its format; one with names of its own brings it in its folder.
pub trait WireFormat: Debug + Sync {
    /// Returns the body of a streamed chat completion.
    ///
    /// # Errors
    /// An [unsupported](Failure::unsupported) failure when the server has no way to be asked this.
    fn chat(&self, request: &ChatRequest<'_>) -> Result<Value, Failure>;

    /// Returns the body of a chat completion in one piece that can say nothing but `answer`, and lists for every token of it
    /// the log-probability that it had before anything was forced, token by token, as a reply is written.
    ///
    /// # Errors
    /// An [unsupported](Failure::unsupported) failure when the server has no such way.
    fn force(&self, _request: &ChatRequest<'_>, _answer: ForcedText<'_>) -> Result<Value, Failure> {
        Err(Failure::unsupported(
            "this engine does not list the probability that a forced answer had before it was forced",
        ))
    }

    /// Returns how the server is asked for the probability of one token after the other, where it cannot be made to say a whole
    /// answer whose probabilities stay the model's own.
    fn steps(&self) -> Option<&'static dyn StepFormat> {
        None
    }

    /// Returns how the server lists what follows a text, read over its cache, where it does so without a grammar of tokens.
    fn decode_lists(&self) -> Option<&'static dyn DecodeLists> {
        None
    }

    /// Returns how the server lists the probabilities of a prompt's own tokens, where it has an endpoint for that whose figures
    /// are of use.
    fn prompt_lists(&self) -> Option<&'static dyn PromptLists> {
        Some(&PromptLogprobs)
    }

    /// Returns the names of a suite's sampling parameters that the server cannot be sent: its own values hold.
    fn not_sent(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns whether requests take a salt for the prefix cache.
    fn takes_salt(&self) -> bool {
        false
    }

    /// Returns whether a request can forbid that anything comes from a cache: by a switch, or by a salt of its own.
    fn forbids_cache(&self) -> bool {
        self.takes_salt()
    }

    /// Returns whether a timed request's connection is opened with `HEAD`: where the path for it is a list of models,
    /// which may be long.
    fn opens_with_head(&self) -> bool {
        false
    }

    /// Returns the body of a request for the token ids of a text.
    fn tokenize(&self, text: &str, add_special: bool) -> Value {
        json!({ "content": text, "add_special": add_special, "parse_special": true })
    }

    /// Reads the token ids in the answer to [`tokenize`](Self::tokenize) or [`count_chat`](Self::count_chat).
    fn token_ids(&self, answer: &Value) -> Option<Vec<u32>> {
        reply::token_ids(answer)
    }

    /// Returns whether the tokeniser takes a whole chat.
    fn counts_chats(&self) -> bool {
        false
    }

    /// Returns the body of a request that tokenises a whole chat, rendered from the same fields as it is answered from;
    /// `None` for servers whose tokeniser takes text alone.
    fn count_chat(&self, _messages: &[Message], _tools: &[Tool]) -> Option<Value> {
        None
    }

    /// Returns path and body of a request whose answer tells the grammar that the server makes of a JSON Schema; `None` for servers
    /// that do not tell.
    fn grammar_of(&self, _schema: &Value) -> Option<(&'static str, Value)> {
        None
    }

    /// Reads the grammar in the answer to [`grammar_of`](Self::grammar_of).
    fn read_grammar(&self, _answer: &Value) -> Option<String> {
        None
    }

    /// Returns the path that tells of one of several models.
    fn path_of_model<'p>(&self, path: &'p str, _model: &str) -> Cow<'p, str> {
        Cow::Borrowed(path)
    }
}

impl dyn WireFormat {
    /// Returns whether a server of this format can be made to give an answer, and says how probable it was before.
    pub fn forces_answers(&self) -> bool {
        let asked = [Message::user(""), Message::prefill("It is")];
        let (conversation, sampling) = (Conversation::of(&asked), Sampling::default());
        let request = ChatRequest {
            conversation: &conversation,
            sampling: &sampling,
            max_tokens: 1,
            salt: None,
            quirks: Quirks::default(),
        };
        self.steps().is_some() || self.force(&request, ForcedText { text: " so", tokens: None }).is_ok()
    }
}
