//! What was measured of a trial, in little room: nearly all trials of a run have the same figures from the same sources, so
//! that these are kept once, and of a trial its numbers alone.

use std::cell::RefCell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::AtomicU64;

#[cfg(test)]
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::kept::{Kept, Known, Near};
use super::measurement::{Measurement, Source};
use super::name::Name;
use super::numbers::{self, Block};

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

/// What the measurements of many trials have in common: all but the numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Form {
    figures: Vec<Figure>,
    /// Of the figures that have one, in their order: apart, for some name a number, such as that of the tokens that a cache had.
    reasons: Vec<Name>,
    /// How many have a number.
    numbers: usize,
}

// The figures say how many numbers and reasons there are.
impl Hash for Form {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.figures.hash(state);
        self.reasons.iter().for_each(|reason| reason.number().hash(state));
    }
}

impl From<&Form> for Box<Form> {
    fn from(form: &Form) -> Self {
        Self::new(form.clone())
    }
}

static FORMS: Known<Form> = Known::new();

thread_local! {
    static NEAR: Near<Form> = Near::default();
    static GATHERED: RefCell<Gathered> = RefCell::default();
}

/// What was measured of a trial, each with its source, in the order in which it was measured.
#[derive(Clone)]
pub struct Measurements {
    form: Kept<Form>,
    /// Where its numbers begin in the block.
    at: u32,
    block: Option<Block>,
}

/// Measurements as they come in.
#[derive(Default)]
struct Gathered {
    form: Form,
    numbers: Vec<f64>,
}

impl Gathered {
    fn push(&mut self, measurement: Measurement) {
        let Measurement { name, source, value, absent } = measurement;
        self.form.figures.push(Figure {
            name,
            source,
            is_number: value.is_some(),
            has_reason: absent.is_some(),
        });
        self.form.reasons.extend(absent);
        self.form.numbers += usize::from(value.is_some());
        self.numbers.extend(value);
    }

    fn kept(&self) -> Measurements {
        let (block, at) = numbers::stored(&self.numbers);
        Measurements { form: FORMS.kept(&self.form, &NEAR), at, block }
    }

    fn clear(&mut self) {
        self.form.figures.clear();
        self.form.reasons.clear();
        self.form.numbers = 0;
        self.numbers.clear();
    }
}

impl Measurements {
    /// All of them.
    pub fn iter(&self) -> Iter<'_> {
        let Form { figures, reasons, .. } = self.form();
        Iter { figures: figures.iter(), reasons: reasons.iter(), numbers: self.numbers().iter() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.form().figures.len()
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.form().figures.is_empty()
    }

    /// Whether others are of the same figures by the same sources, whatever their numbers.
    pub fn is_like(&self, other: &Self) -> bool {
        self.form == other.form
    }

    /// The number that `source` measured as `name`, if there is one.
    pub fn number(&self, name: &str, source: Source) -> Option<f64> {
        let mut place = 0;
        for figure in &self.form().figures {
            if figure.source == source && figure.name == *name {
                return if figure.is_number { self.numbers().get(place).map(numbers::read) } else { None };
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

    fn form(&self) -> &'static Form {
        FORMS.get(self.form)
    }

    fn numbers(&self) -> &[AtomicU64] {
        self.block.as_ref().map_or(&[], |block| &block[self.at as usize..][..self.form().numbers])
    }
}

impl Default for Measurements {
    fn default() -> Self {
        Gathered::default().kept()
    }
}

impl From<Vec<Measurement>> for Measurements {
    fn from(all: Vec<Measurement>) -> Self {
        all.into_iter().collect()
    }
}

impl FromIterator<Measurement> for Measurements {
    fn from_iter<I: IntoIterator<Item = Measurement>>(all: I) -> Self {
        let mut gathered = Gathered::default();
        all.into_iter().for_each(|measurement| gathered.push(measurement));
        gathered.kept()
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
    numbers: std::slice::Iter<'a, AtomicU64>,
}

impl Iterator for Iter<'_> {
    type Item = Measurement;

    fn next(&mut self) -> Option<Measurement> {
        let &Figure { name, source, is_number, has_reason } = self.figures.next()?;
        let value = if is_number { self.numbers.next().map(numbers::read) } else { None };
        let absent = if has_reason { self.reasons.next().copied() } else { None };
        Some(Measurement { name, source, value, absent })
    }
}

impl PartialEq for Measurements {
    fn eq(&self, other: &Self) -> bool {
        let numbers = |all: &Self| all.numbers().iter().map(numbers::read).collect::<Vec<_>>();
        self.form == other.form && numbers(self) == numbers(other)
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
                // The memory of the one before: millions are read.
                let mut gathered = GATHERED.take();
                gathered.clear();
                while let Some(measurement) = list.next_element()? {
                    gathered.push(measurement);
                }
                let kept = gathered.kept();
                GATHERED.set(gathered);
                Ok(kept)
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
        assert!(one.is_like(&other) && one != other && one == of(1.0));
        let mut more = one.clone();
        more.push(Measurement::new(metric::TOTAL_S, Source::Client, 3.0));
        more.retain(|measurement| measurement.name != metric::TTFT_S);
        assert_eq!((one.len(), more.len(), more.number(metric::TOTAL_S, Source::Client)), (1, 1, Some(3.0)));
        assert!(Measurements::default().is_empty());
    }
}
