//! Names that come again and again: of settings, tasks, cases, figures. Equal ones are one text.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::kept::{Kept, Known, Near};

static KNOWN: Known<str> = Known::new();

thread_local! {
    static NEAR: Near<str> = Near::default();
}

/// A name of which there are few and which stands in every trial: four bytes, copied like a number. Its text is kept once
/// and until the process ends, so that a journal of ever new names takes no more memory than their texts do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name(Kept<str>);

impl Name {
    /// The name as text.
    #[inline]
    pub fn as_str(&self) -> &'static str {
        KNOWN.get(self.0)
    }

    /// A number that equal names share, and no others, as long as the process lasts.
    #[inline]
    pub(crate) fn number(self) -> u32 {
        self.0.number()
    }

    /// The name that has a number, if one has.
    pub(super) fn numbered(number: u32) -> Option<Self> {
        let name = Kept::numbered(number)?;
        KNOWN.find(name).map(|_| Self(name))
    }
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self(KNOWN.kept(text, &NEAR))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if self == other { std::cmp::Ordering::Equal } else { self.as_str().cmp(other.as_str()) }
    }
}

// As the text does, by which maps are asked for names.
impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<&String> for Name {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.as_str().into()
    }
}

impl Default for Name {
    fn default() -> Self {
        "".into()
    }
}

impl Deref for Name {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for Name {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        *self.as_str() == *other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        *self.as_str() == **other
    }
}

impl PartialEq<String> for Name {
    fn eq(&self, other: &String) -> bool {
        *self.as_str() == **other
    }
}

impl PartialEq<Name> for str {
    fn eq(&self, other: &Name) -> bool {
        *self == *other.as_str()
    }
}

impl PartialEq<Name> for &str {
    fn eq(&self, other: &Name) -> bool {
        **self == *other.as_str()
    }
}

impl PartialEq<Name> for String {
    fn eq(&self, other: &Name) -> bool {
        **self == *other.as_str()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
impl JsonSchema for Name {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        String::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::kept::AT_HAND;
    use super::*;

    #[test]
    fn equal_names_share_their_text_however_they_come_in() {
        let name = Name::from("retrieval/counting");
        let read: Name = serde_json::from_str("\"retrieval/counting\"").unwrap();
        let escaped: Name = serde_json::from_str("\"retrieval\\/counting\"").unwrap();
        let owned: Name = serde_json::from_value(serde_json::json!("retrieval/counting")).unwrap();
        for other in [&read, &escaped, &owned] {
            assert_eq!(&name, other);
        }
        assert_eq!(serde_json::to_string(&name).unwrap(), "\"retrieval/counting\"");
        assert!(serde_json::from_str::<Name>("7").is_err());
    }

    #[test]
    fn names_are_one_text_in_all_threads_and_after_many_others() {
        let first = Name::from("name 7");
        let others =
            || (0..AT_HAND + 100).map(|number| Name::from(format!("name {number}"))).collect::<Vec<_>>();
        let (here, there) = (others(), std::thread::spawn(others).join().unwrap());
        assert_eq!(here, there);
        assert_eq!((first, here[7], &*here[AT_HAND + 99]), (there[7], first, "name 65635"));
        assert!(here[10] < here[7] && here[7].cmp(&first).is_eq(), "in the order of their texts");
    }
}
