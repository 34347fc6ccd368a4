//! When something began, by the wall clock.

use std::fmt;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::name::Name;

/// A moment by the wall clock: UTC, RFC 3339, as the journal has it: to the letter, also where it is no such text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Timestamp(i64);

/// What a number stands for.
enum Form {
    /// As kneepoint writes it, with milliseconds: these since 1970.
    Millis(i64),
    /// Anything else.
    Text(Name),
}

impl Timestamp {
    fn form(self) -> Form {
        // No year of four digits is so long ago: the numbers from the least on are those of texts.
        let text = self.0.checked_sub(i64::MIN).and_then(|number| Name::numbered(number.try_into().ok()?));
        text.map_or(Form::Millis(self.0), Form::Text)
    }

    /// Milliseconds since 1970; `None` where the text is none.
    pub fn millis(&self) -> Option<i64> {
        match self.form() {
            Form::Millis(millis) => Some(millis),
            Form::Text(text) => Some(DateTime::parse_from_rfc3339(&text).ok()?.timestamp_millis()),
        }
    }

    /// The text.
    pub fn text(&self) -> String {
        let of = |millis| DateTime::<Utc>::from_timestamp_millis(millis);
        match self.form() {
            // Every moment in this form was read from a text.
            Form::Millis(millis) => {
                of(millis).map_or(String::new(), |at| at.to_rfc3339_opts(SecondsFormat::Millis, true))
            }
            Form::Text(text) => text.as_str().to_owned(),
        }
    }
}

impl From<&str> for Timestamp {
    fn from(text: &str) -> Self {
        let as_text = || i64::MIN + i64::from(Name::from(text).number());
        Self(millis_of(text).unwrap_or_else(as_text))
    }
}

impl From<String> for Timestamp {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// Milliseconds of `2026-01-02T03:04:05.678Z`; `None` for any other form.
fn millis_of(text: &str) -> Option<i64> {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
    let bytes = text.as_bytes();
    let fits = |(byte, form): (&u8, &u8)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form };
    if bytes.len() != FORM.len() || !bytes.iter().zip(FORM).all(fits) {
        return None;
    }
    let number = |from: usize, to: usize| {
        bytes[from..to].iter().fold(0, |sum, byte| 10 * sum + u32::from(byte - b'0'))
    };
    let date = NaiveDate::from_ymd_opt(number(0, 4) as i32, number(5, 7), number(8, 10))?;
    let at = date.and_hms_milli_opt(number(11, 13), number(14, 16), number(17, 19), number(20, 23))?;
    Some(at.and_utc().timestamp_millis())
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Timestamp").field(&self.text()).finish()
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(<std::borrow::Cow<'de, str>>::deserialize(deserializer)?.as_ref().into())
    }
}

#[cfg(test)]
impl JsonSchema for Timestamp {
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
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn moments_come_back_to_the_letter() {
        for (text, millis) in [
            ("2026-01-02T03:04:05.678Z", Some(1_767_323_045_678)),
            ("0001-01-01T00:00:00.000Z", Some(-62_135_596_800_000)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("2026-01-02T03:04:05Z", Some(1_767_323_045_000)),
            ("2026-01-02T04:04:05.678+01:00", Some(1_767_323_045_678)),
            // A second that is no more than written.
            ("2026-02-30T03:04:05.678Z", None),
            ("2026-01-02T03:04:61.678Z", None),
            ("", None),
            ("yesterday", None),
        ] {
            let moment = Timestamp::from(text);
            assert_eq!((moment.text().as_str(), moment.millis()), (text, millis));
            let written = serde_json::to_string(&moment).unwrap();
            assert_eq!(written, serde_json::to_string(text).unwrap());
            assert_eq!(serde_json::from_str::<Timestamp>(&written).unwrap(), moment);
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back(text in "\\PC{0,30}|[0-9]{4}-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9]\\.[0-9]{3}Z") {
            prop_assert_eq!(Timestamp::from(text.as_str()).text(), text);
        }
    }
}
