//! What few trials have: a pointer's room in all others.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A collection that is mostly empty and takes eight bytes then.
#[derive(Clone)]
pub struct Rare<T>(Option<Box<T>>);

/// A collection of which there is an empty one.
pub trait Empty: 'static {
    /// The empty one.
    const EMPTY: &'static Self;

    /// Whether nothing is in it.
    fn has_none(&self) -> bool;
}

impl<K: 'static, V: 'static> Empty for BTreeMap<K, V> {
    const EMPTY: &'static Self = &Self::new();

    fn has_none(&self) -> bool {
        self.is_empty()
    }
}

impl<V: 'static> Empty for Vec<V> {
    const EMPTY: &'static Self = &Self::new();

    fn has_none(&self) -> bool {
        self.is_empty()
    }
}

impl<T: Empty> Rare<T> {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.has_none()
    }
}

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Empty> From<T> for Rare<T> {
    fn from(all: T) -> Self {
        Self((!all.has_none()).then(|| Box::new(all)))
    }
}

impl<T: Empty + FromIterator<I>, I> FromIterator<I> for Rare<T> {
    fn from_iter<A: IntoIterator<Item = I>>(items: A) -> Self {
        T::from_iter(items).into()
    }
}

impl<T: Empty> Rare<T> {
    /// The collection by itself.
    pub fn taken(self) -> T
    where
        T: Default,
    {
        self.0.map_or_else(T::default, |all| *all)
    }
}

impl<T: Empty> Deref for Rare<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::EMPTY)
    }
}

impl<T: Empty + Default> DerefMut for Rare<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}

impl<T: Empty + PartialEq> PartialEq for Rare<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T: Empty + fmt::Debug> fmt::Debug for Rare<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: Empty + Serialize> Serialize for Rare<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de, T: Empty + Deserialize<'de>> Deserialize<'de> for Rare<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
impl<T: JsonSchema> JsonSchema for Rare<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }

    fn inline_schema() -> bool {
        T::inline_schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_collection_that_it_holds() {
        assert_eq!(size_of::<Rare<BTreeMap<String, f64>>>(), 8);
        let mut rare: Rare<BTreeMap<String, f64>> = Rare::default();
        assert!(rare.is_empty() && rare == BTreeMap::new().into());
        rare.insert("fields".into(), 0.5);
        let text = serde_json::to_string(&rare).unwrap();
        assert_eq!((text.as_str(), rare["fields"]), ("{\"fields\":0.5}", 0.5));
        assert_eq!(serde_json::from_str::<Rare<BTreeMap<String, f64>>>(&text).unwrap(), rare);
        rare.clear();
        assert_eq!(rare, Rare::default(), "empty is empty, however it came to be");
    }
}
