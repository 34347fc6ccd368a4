//! What is data beside its words, and was words alone in older summaries.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Data with a sentence, which once was all that there was.
pub(super) trait Worded: Sized {
    /// Returns what an older kneepoint wrote.
    fn of_sentence(sentence: String) -> Self;
}

/// Reads a list of any version of the summary: its entries once were sentences.
pub(super) fn of_any_version<'de, D, T>(source: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Worded + Deserialize<'de>,
{
    source.deserialize_seq(List(PhantomData))
}

struct List<T>(PhantomData<T>);

impl<'de, T: Worded + Deserialize<'de>> Visitor<'de> for List<T> {
    type Value = Vec<T>;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("a list of objects or sentences")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(AnyVersion(entry)) = entries.next_element()? {
            list.push(entry);
        }
        Ok(list)
    }
}

/// An entry, or the sentence that it once was.
struct AnyVersion<T>(T);

impl<'de, T: Worded + Deserialize<'de>> Deserialize<'de> for AnyVersion<T> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(Entry(PhantomData)).map(Self)
    }
}

struct Entry<T>(PhantomData<T>);

impl<'de, T: Worded + Deserialize<'de>> Visitor<'de> for Entry<T> {
    type Value = T;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object or its sentence")
    }

    fn visit_str<E>(self, sentence: &str) -> Result<Self::Value, E> {
        Ok(T::of_sentence(sentence.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}
