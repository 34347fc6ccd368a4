//! What was measured of a trial, in little room: nearly all trials of a run have the same figures from the same sources, so
//! that these are kept once, and of a trial its numbers alone.

use std::fmt;
use std::hash::{Hash, Hasher};

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::kept::{Kept, Known, Near, kept};
use super::measurement::{Measurement, Source};
use super::name::Name;

/// A measurement without its number and its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Figure {
    name: Name,
    source: Source,
    /// Whether there is a number.
    is_number: bool,
    /// Whether there is a reason why there is none.
    has_reason: bool,
}

impl Hash for Figure {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.name.number(), self.source, self.is_number, self.has_reason).hash(state);
    }
}

static FIGURES: Known<[Figure]> = Known::new(Default::default);
static REASONS: Known<[Name]> = Known::new(Default::default);

thread_local! {
    static NEAR_FIGURES: Near<[Figure]> = Near::default();
    static NEAR_REASONS: Near<[Name]> = Near::default();
}

/// What was measured of a trial, each with its source, in the order in which it was measured.
#[derive(Clone)]
pub struct Measurements {
    figures: &'static Kept<[Figure]>,
    /// Of the figures that have one, in their order: apart, for some name a number, such as that of the tokens that a cache had.
    reasons: &'static Kept<[Name]>,
    /// As the reasons.
    numbers: Box<[f64]>,
}

impl Measurements {
    /// All of them.
    pub fn iter(&self) -> Iter<'_> {
        Iter {
            figures: self.figures.contents().iter(),
            reasons: self.reasons.contents().iter(),
            numbers: self.numbers.iter(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.figures.contents().len()
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.figures.contents().is_empty()
    }

    /// The number that `source` measured as `name`, if there is one.
    pub fn number(&self, name: &str, source: Source) -> Option<f64> {
        let mut place = 0;
        for figure in self.figures.contents() {
            if figure.source == source && figure.name == *name {
                return if figure.is_number { self.numbers.get(place).copied() } else { None };
            }
            place += usize::from(figure.is_number);
        }
        None
    }

    /// Changes them as a list.
    pub fn edit(&mut self, change: impl FnOnce(&mut Vec<Measurement>)) {
        let mut all = self.iter().collect();
        change(&mut all);
        *self = all.into();
    }

    /// Changes each of them.
    pub fn change(&mut self, each: impl FnMut(&mut Measurement)) {
        self.edit(|all| all.iter_mut().for_each(each));
    }

    /// Adds one.
    pub fn push(&mut self, measurement: Measurement) {
        self.edit(|all| all.push(measurement));
    }

    /// Leaves out those that are not wanted.
    pub fn retain(&mut self, wanted: impl FnMut(&Measurement) -> bool) {
        self.edit(|all| all.retain(wanted));
    }
}

impl Default for Measurements {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl From<Vec<Measurement>> for Measurements {
    fn from(all: Vec<Measurement>) -> Self {
        let figure = |measurement: &Measurement| {
            let Measurement { name, source, value, absent } = *measurement;
            Figure { name, source, is_number: value.is_some(), has_reason: absent.is_some() }
        };
        let figures: Vec<Figure> = all.iter().map(figure).collect();
        let reasons: Vec<Name> = all.iter().filter_map(|measurement| measurement.absent).collect();
        Self {
            figures: kept(&figures[..], &NEAR_FIGURES, &FIGURES),
            reasons: kept(&reasons[..], &NEAR_REASONS, &REASONS),
            numbers: all.iter().filter_map(|measurement| measurement.value).collect(),
        }
    }
}

impl FromIterator<Measurement> for Measurements {
    fn from_iter<I: IntoIterator<Item = Measurement>>(all: I) -> Self {
        all.into_iter().collect::<Vec<_>>().into()
    }
}

impl<'a> IntoIterator for &'a Measurements {
    type Item = Measurement;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Goes through measurements.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    figures: std::slice::Iter<'static, Figure>,
    reasons: std::slice::Iter<'static, Name>,
    numbers: std::slice::Iter<'a, f64>,
}

impl Iterator for Iter<'_> {
    type Item = Measurement;

    fn next(&mut self) -> Option<Measurement> {
        let &Figure { name, source, is_number, has_reason } = self.figures.next()?;
        let value = if is_number { self.numbers.next().copied() } else { None };
        let absent = if has_reason { self.reasons.next().copied() } else { None };
        Some(Measurement { name, source, value, absent })
    }
}

impl PartialEq for Measurements {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.figures, other.figures)
            && std::ptr::eq(self.reasons, other.reasons)
            && self.numbers == other.numbers
    }
}

impl fmt::Debug for Measurements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl Serialize for Measurements {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self)
    }
}

impl<'de> Deserialize<'de> for Measurements {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Measurements;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of measurements")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Measurements, A::Error> {
                let mut all = Vec::with_capacity(32);
                while let Some(measurement) = list.next_element()? {
                    all.push(measurement);
                }
                Ok(all.into())
            }
        }
        deserializer.deserialize_seq(List)
    }
}

#[cfg(test)]
impl JsonSchema for Measurements {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        <Vec<Measurement>>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        <Vec<Measurement>>::json_schema(generator)
    }

    fn inline_schema() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::metric;

    #[test]
    fn they_are_the_list_that_they_were_made_of() {
        let list = vec![
            Measurement::new(metric::TTFT_S, Source::Client, 0.25),
            Measurement::absent(metric::PREFILL_TPS, Source::Engine, "not said"),
            Measurement { value: None, ..Measurement::new(metric::STEAL, Source::Procfs, 0.0) },
            // Nobody writes both, but what a file says comes back.
            Measurement {
                absent: Some("why".into()),
                ..Measurement::new(metric::DECODE_TPS, Source::Engine, 7.0)
            },
            Measurement::new(metric::DECODE_TPS, Source::Client, 8.0),
        ];
        let all: Measurements = list.clone().into();
        assert_eq!((all.iter().collect::<Vec<_>>(), all.len()), (list.clone(), 5));
        assert_eq!(all.number(metric::DECODE_TPS, Source::Client), Some(8.0));
        assert_eq!(all.number(metric::DECODE_TPS, Source::Engine), Some(7.0));
        assert_eq!(all.number(metric::PREFILL_TPS, Source::Engine), None);
        assert_eq!(all.number(metric::STEAL, Source::Procfs), None);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(text, serde_json::to_string(&list).unwrap());
        assert_eq!(serde_json::from_str::<Measurements>(&text).unwrap(), all);
    }

    #[test]
    fn what_is_measured_again_is_kept_once() {
        let of =
            |seconds| Measurements::from(vec![Measurement::new(metric::TTFT_S, Source::Client, seconds)]);
        let (one, other) = (of(1.0), std::thread::spawn(move || of(2.0)).join().unwrap());
        assert!(std::ptr::eq(one.figures, other.figures) && one != other && one == of(1.0));
        let mut more = one.clone();
        more.push(Measurement::new(metric::TOTAL_S, Source::Client, 3.0));
        more.retain(|measurement| measurement.name != metric::TTFT_S);
        assert_eq!((one.len(), more.len(), more.number(metric::TOTAL_S, Source::Client)), (1, 1, Some(3.0)));
        assert!(Measurements::default().is_empty());
    }
}
