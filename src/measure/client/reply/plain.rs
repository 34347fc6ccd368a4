//! Events of the form that almost all have, read without building a document of each: under load, what an event costs is what
//! the other streams wait for.
//!
//! [`read`] takes an event only where it would be read the same way as a document. Whatever is out of the ordinary (calls,
//! several choices, errors, parts in place of a text, a field of a wrong type) is left to the document.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::drafts::Drafted;
use super::super::sse::Event;

/// Openings of lists and objects in an event that is read here: a document may be 128 deep.
const MOST_OPENINGS: usize = 100;

/// What a plain event says.
#[derive(Debug, Default)]
pub(super) struct Plain<'a> {
    /// Its choice, of index 0; an event of nothing but counts has none.
    pub(super) choice: Option<PlainChoice<'a>>,
    /// What `usage` counts.
    pub(super) generated: Option<u64>,
    /// What `timings` count.
    pub(super) drafted: Drafted,
    /// There is `usage`, or there are `timings`.
    pub(super) counts: bool,
}

/// The delta of a plain event.
#[derive(Debug, Default)]
pub(super) struct PlainChoice<'a> {
    pub(super) content: Cow<'a, str>,
    pub(super) reasoning: Cow<'a, str>,
    pub(super) finish_reason: Option<Cow<'a, str>>,
}

/// Reads a plain event; `None`: it must be read as a document.
pub(super) fn read(event: &Event) -> Option<Plain<'_>> {
    if event.name.is_some() || !is_harmless(&event.data) {
        return None;
    }
    let Object(form) = serde_json::from_str::<Object<Form<'_>>>(&event.data).ok()?;
    let mut choices = form.choices.unwrap_or_default().into_iter();
    let choice = choices.next();
    if choices.next().is_some()
        || choice.as_ref().is_some_and(|choice| choice.0.index.unwrap_or_default() != 0)
    {
        return None;
    }
    let (usage, timings) = (form.usage, form.timings);
    Some(Plain {
        choice: choice.map(|Object(choice)| choice.plain()),
        counts: usage.is_some() || timings.is_some(),
        generated: usage.and_then(|Object(usage)| usage.completion_tokens),
        drafted: timings.map(|Object(timings)| timings.drafted()).unwrap_or_default(),
    })
}

/// Whether what is skipped here unread is also what a document takes: no escape that may be half of a character, no lists in
/// lists without end, nothing that the library takes for its own.
fn is_harmless(data: &str) -> bool {
    const DOUBTFUL: [(u8, &str); 3] = [(b'\\', "\\ud"), (b'\\', "\\uD"), (b'$', "$serde_json::private")];
    let openings = data.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
    // Few hold so much as the first byte of what is looked for.
    let holds = |(first, text): &(u8, &str)| {
        memchr::memchr(*first, data.as_bytes()).is_some_and(|at| data[at..].contains(text))
    };
    openings <= MOST_OPENINGS && !DOUBTFUL.iter().any(holds)
}

/// An object: derived structs take lists, too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OfMap<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfMap<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }
        deserializer.deserialize_map(OfMap(PhantomData))
    }
}

/// A text that is borrowed where it holds no escapes.
#[derive(Default, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Nothing: a field of this type may be null or missing.
#[derive(Deserialize)]
enum Never {}

#[derive(Deserialize)]
struct Form<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Object<Choice<'a>>>>,
    usage: Option<Object<Usage>>,
    timings: Option<Object<Timings>>,
    #[serde(rename = "error")]
    _error: Option<Never>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    delta: Object<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(rename = "tool_calls")]
    _tool_calls: Option<Never>,
    #[serde(rename = "function_call")]
    _function_call: Option<Never>,
}

#[derive(Deserialize)]
struct Usage {
    completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct Timings {
    predicted_n: Option<u64>,
    draft_n: Option<u64>,
    draft_n_accepted: Option<u64>,
}

impl<'a> Choice<'a> {
    fn plain(self) -> PlainChoice<'a> {
        let Object(delta) = self.delta;
        let of = |text: Option<Text<'a>>| text.unwrap_or_default().0;
        // In the order in which a document is searched (`said::reasoning`).
        let thoughts = [of(delta.reasoning_content), of(delta.reasoning), of(delta.thinking)];
        PlainChoice {
            content: of(delta.content),
            reasoning: thoughts.into_iter().find(|text| !text.is_empty()).unwrap_or_default(),
            finish_reason: self.finish_reason.map(|text| text.0),
        }
    }
}

impl Timings {
    fn drafted(&self) -> Drafted {
        Drafted { generated: self.predicted_n, drafted: self.draft_n, accepted: self.draft_n_accepted }
    }
}
