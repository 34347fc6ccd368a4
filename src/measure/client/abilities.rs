//! What a server that kneepoint did not start can do: it is asked once, with requests of a few tokens.

use serde_json::{Value, json};

use super::connection::Client;
use super::exchange::Failure;
use super::wire::conversation::Conversation;
use super::wire::format::Quirks;
use crate::error::{Error, Kind, Result, chain};
use crate::record::suite::Sampling;
use crate::record::{Message, Tool};

/// Tokens that a reply may have while it is only seen whether one comes.
const REPLY_TOKENS: u32 = 4;
/// A text of more than two tokens in any vocabulary.
const TEXT: &str = "The river keeps over the stones.";
/// Times that it is repeated in a prompt that is longer than a block of any server's cache.
const REPEATED: usize = 30;
/// Share of a context that is filled to see that the server reads all of it.
const FILLED: f64 = 0.9;
/// Words that are counted to know what a word costs.
const SAMPLE_WORDS: u32 = 100;
/// Count and expectation may differ by this share: tokens reach over the seams of repeated text.
const TOLERANCE: f64 = 0.02;

/// What a server can do; where it cannot, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abilities {
    /// Token ids of a text.
    pub tokenizer: Result<(), String>,
    /// The number of tokens of a prompt.
    pub counting: Result<(), String>,
    /// Replies in pieces, as they are made.
    pub streaming: Result<(), String>,
    /// Token counts with a streamed reply.
    pub usage: Result<(), String>,
    /// How much of a prompt came from a cache.
    pub cache_state: Result<(), String>,
    /// Probabilities of tokens, with their ids.
    pub probabilities: Result<(), String>,
    /// Requests with tools.
    pub tools: Result<(), String>,
    /// What is told beside.
    remarks: Vec<String>,
}

impl Abilities {
    /// One line each, for the journal and the report.
    pub fn notes(&self) -> Vec<String> {
        let all = [
            ("tokenizer", &self.tokenizer),
            ("counts of prompt tokens", &self.counting),
            ("streaming", &self.streaming),
            ("token counts with streamed replies", &self.usage),
            ("tokens that came from a cache", &self.cache_state),
            ("token probabilities", &self.probabilities),
            ("tools", &self.tools),
        ];
        let missing = all.iter().filter_map(|(what, ability)| {
            let reason = ability.as_ref().err()?;
            Some(format!("not available: {what} ({reason})"))
        });
        self.remarks.iter().cloned().chain(missing).collect()
    }
}

/// Finds out what the server can do, and how it wants to be asked; the client that comes back knows it.
///
/// # Errors
/// When the server does not answer a chat at all.
pub async fn probe(client: Client) -> Result<(Client, Abilities)> {
    let mut client = client;
    let exchange = loop {
        match client.chat(&greeting(), &Sampling::default(), REPLY_TOKENS).await {
            Ok(exchange) => break exchange,
            Err(failure) => match learned(client.writer.quirks, &failure) {
                Some(quirks) => client.writer.quirks = quirks,
                None => return Err(no_chat(&failure)),
            },
        }
    };
    let prompt = exchange.last.pointer("/usage/prompt_tokens").and_then(Value::as_u64);
    let streamed = exchange.timeline.is_some();
    let tokenizer = tokenizer(&mut client).await;
    let counting = counting(&mut client, prompt).await;
    let probabilities = probabilities(&client).await;
    let tools = tools(&client).await;
    let cache_state = cache_state(&client, &exchange.last).await;
    let remarks = remarks(&client);
    let abilities = Abilities {
        tokenizer,
        counting,
        streaming: streamed.then_some(()).ok_or_else(|| "its replies come in one piece".to_owned()),
        usage: prompt.map(drop).ok_or_else(|| "no `usage` came with the stream".to_owned()),
        cache_state,
        probabilities,
        tools,
        remarks,
    };
    Ok((client, abilities))
}

fn greeting_messages() -> &'static [Message] {
    static MESSAGES: std::sync::LazyLock<[Message; 1]> =
        std::sync::LazyLock::new(|| [Message::user("Say hello.")]);
    MESSAGES.as_slice()
}

fn greeting() -> Conversation<'static> {
    Conversation::of(greeting_messages())
}

fn no_chat(failure: &Failure) -> Error {
    Error::new(Kind::EngineStart, format!("the server does not answer a chat: {failure}"))
        .hint("is it the engine that the suite names, and does `engine.served_model` name one of its models?")
}

/// What a refusal says about how the server wants to be asked; `None` when it says nothing new.
fn learned(known: Quirks, failure: &Failure) -> Option<Quirks> {
    let says = |word: &str| failure.message.contains(word);
    let mut quirks = known;
    quirks.completion_limit |= says("max_completion_tokens");
    quirks.no_stream_options |= says("stream_options");
    (quirks != known).then_some(quirks)
}

/// Whether a text can be tokenised; a path that does not work is not asked again.
async fn tokenizer(client: &mut Client) -> Result<(), String> {
    let asked = client.tokenize(TEXT, false).await;
    match asked {
        Ok(ids) if ids.len() > 2 => Ok(()),
        Ok(ids) => {
            client.endpoints.tokenize = None;
            Err(format!("{} tokens were given for {} words", ids.len(), TEXT.split(' ').count()))
        }
        Err(error) => {
            client.endpoints.tokenize = None;
            Err(chain(&error))
        }
    }
}

/// Whether prompts can be counted, and that the count is what a reply's `usage` says; else that is what counts.
async fn counting(client: &mut Client, usage: Option<u64>) -> Result<(), String> {
    let counted = client.count_chat(greeting_messages(), &[]).await;
    let agrees = |count: u32| usage.is_none_or(|usage| usage == u64::from(count));
    if matches!(counted, Ok(count) if agrees(count)) {
        return Ok(());
    }
    if client.counts_by_usage() {
        let differ = |count| format!("it counts {count} tokens where a streamed reply has {usage:?}");
        return Err(counted.map_or_else(|error| chain(&error), differ));
    }
    client.writer.quirks.count_by_usage = true;
    client.count_chat(greeting_messages(), &[]).await.map(drop).map_err(|error| chain(&error))
}

/// Whether the server counts what comes from its cache. vLLM and SGLang leave a count of zero out: a prompt that was just
/// read must be asked again to see one. Two prefills of a few hundred tokens.
async fn cache_state(client: &Client, first: &Value) -> Result<(), String> {
    let counted = |last: &Value| {
        let places = ["/usage/prompt_tokens_details/cached_tokens", "/timings/cache_n"];
        places.iter().any(|place| last.pointer(place).is_some_and(Value::is_number))
    };
    if counted(first) {
        return Ok(());
    }
    let messages = [Message::user(TEXT.repeat(REPEATED))];
    let talk = client.conversation();
    for reuse_cache in [false, true] {
        let conversation = Conversation { reuse_cache, ..Conversation::of(&messages) };
        let asked = talk.chat(&conversation, &Sampling::default(), 1).await;
        let last = asked.map_err(|failure| failure.message)?.last;
        if counted(&last) {
            return Ok(());
        }
    }
    Err("no `cached_tokens` in its `usage`, not even of a prompt that it had just read".to_owned())
}

async fn probabilities(client: &Client) -> Result<(), String> {
    if client.endpoints.completion.is_none() && client.endpoints.prompt_logprobs.is_none() {
        return Err("its interface does not list them with token ids".to_owned());
    }
    let ids = client.tokenize(TEXT, false).await.map_err(|error| chain(&error))?;
    client.distributions(&ids, &[1], 2).await.map(drop).map_err(|failure| failure.message)
}

async fn tools(client: &Client) -> Result<(), String> {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    let tool = Tool { name: "weather".into(), description: "Weather of a city".into(), parameters };
    let conversation = Conversation { tools: &[tool], ..greeting() };
    let asked = client.chat_whole(&conversation, &Sampling::default(), 1).await;
    asked.map(drop).map_err(|failure| failure.message)
}

fn remarks(client: &Client) -> Vec<String> {
    let mut remarks = Vec::new();
    let not_sent = client.writer.wire.not_sent();
    if !not_sent.is_empty() {
        remarks.push(format!("not sent: {} (the server's own values hold)", not_sent.join(", ")));
    }
    if client.counts_by_usage() {
        remarks.push(
            "prompts are counted by a request for one token: each count costs a prefill of the prompt"
                .to_owned(),
        );
    }
    remarks
}

/// Tokens of a prompt that fills most of a context, as the server reads it and as its length says: two numbers that
/// agree unless it cuts what does not fit. One prefill of the context.
///
/// # Errors
/// When the server refuses the prompt, or does not count.
pub async fn read_whole(client: &Client, context: u32) -> Result<(), String> {
    let prompt = |words: u32| [Message::user("river ".repeat(words as usize))];
    let count = async |words| client.count_chat(&prompt(words), &[]).await.map_err(|error| chain(&error));
    let (few, more) = (count(SAMPLE_WORDS).await?, count(2 * SAMPLE_WORDS).await?);
    let word = f64::from(more.saturating_sub(few)) / f64::from(SAMPLE_WORDS);
    if word <= 0.0 {
        return Err(format!("{few} tokens were counted for {SAMPLE_WORDS} words, {more} for twice as many"));
    }
    let room = f64::from(context) * FILLED - f64::from(few);
    let words = SAMPLE_WORDS + (room / word).max(0.0) as u32;
    let expected = f64::from(few) + word * f64::from(words - SAMPLE_WORDS);
    // Not `count_chat`: a refusal must not be made an estimate.
    let asked = client.chat_whole(&Conversation::of(&prompt(words)), &Sampling::default(), 1).await;
    let exchange = asked.map_err(|failure| failure.message)?;
    let read = exchange.last.pointer("/usage/prompt_tokens").and_then(Value::as_f64);
    match read {
        Some(read) if (read / expected - 1.0).abs() <= TOLERANCE => Ok(()),
        Some(read) => Err(format!("{expected:.0} tokens were sent, the server read {read}")),
        None => Err("the server does not count what it read".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_teaches_each_quirk_once() {
        let refusal = |message: &str| Failure::request(message.to_owned());
        let first =
            learned(Quirks::default(), &refusal("HTTP 400: use 'max_completion_tokens' instead")).unwrap();
        assert!(first.completion_limit && !first.no_stream_options);
        assert_eq!(learned(first, &refusal("HTTP 400: use 'max_completion_tokens' instead")), None);
        assert!(learned(first, &refusal("HTTP 422: stream_options: extra field")).unwrap().no_stream_options);
        assert_eq!(learned(Quirks::default(), &refusal("HTTP 401: no key")), None);
    }

    #[test]
    fn only_what_is_missing_is_noted() {
        let all = Abilities {
            tokenizer: Ok(()),
            counting: Ok(()),
            streaming: Ok(()),
            usage: Ok(()),
            cache_state: Ok(()),
            probabilities: Err("why".into()),
            tools: Ok(()),
            remarks: vec!["not sent: top_k".into()],
        };
        assert_eq!(all.notes(), ["not sent: top_k", "not available: token probabilities (why)"]);
    }
}
