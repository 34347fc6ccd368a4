//! How templates write figures and texts: filters that are the same for every format, and the escaping of one.
//!
//! What a template prints is escaped unless a filter made it: a name, a reply or an error of a server never becomes
//! markup because somebody forgot to say so.

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, ErrorKind};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use super::effective::Reached;
use super::text;
use crate::judge::analysis::compare::Threshold;
use crate::judge::analysis::pick::Goal;
use crate::judge::analysis::summary::{
    DivergenceVerdict, Estimate, MemoryKind, NightBefore, SpeculationVerdict, Verdict,
};
use crate::record::StopReason;
use crate::record::suite::Arrivals;
use crate::task::serving::Variant;

/// How a format writes texts that are not its own.
pub(super) struct Markup {
    name: &'static str,
    /// Text in a line, cut where it is long.
    text: fn(&str) -> String,
    /// A sentence of ours, however long.
    whole: fn(&str) -> String,
    /// A name in code type.
    code: fn(&str) -> String,
    /// A block of code in a language.
    fenced: fn(&str, &str) -> String,
    /// Figures and words of ours, which hold nobody else's text.
    ours: fn(&str) -> String,
}

/// Markdown, tables included.
pub(super) const MARKDOWN: Markup = Markup {
    name: "markdown",
    text: text::markdown,
    whole: text::markdown_whole,
    code: text::code,
    fenced: text::fenced,
    ours: str::to_owned,
};

/// HTML: text of elements and of attributes in double quotes.
pub(super) const HTML: Markup = Markup {
    name: "kneepoint-html",
    text: text::xml,
    whole: text::xml_whole,
    code: |name| format!("<code>{}</code>", text::xml(name)),
    fenced: |code, _| format!("<pre>{}</pre>", text::xml(code)),
    ours: text::xml_whole,
};

/// Gives an environment the filters, and escapes for the format whatever comes out of none of them.
pub(super) fn install(environment: &mut Environment<'_>, markup: &'static Markup) {
    environment.set_auto_escape_callback(|_| AutoEscape::Custom(markup.name.into()));
    environment.set_formatter(|out, _, value| {
        if value.is_none() {
            return Ok(out.write_str(text::NONE)?);
        }
        match value.as_str().filter(|_| !value.is_safe()) {
            Some(raw) => out.write_str(&(markup.text)(raw))?,
            None => out.write_str(&value.to_string())?,
        }
        Ok(())
    });
    environment.add_filter("md", |raw: String| safe((markup.text)(&raw)));
    environment.add_filter("whole", |raw: String| safe((markup.whole)(&raw)));
    environment.add_filter("code", |raw: String| safe((markup.code)(&raw)));
    environment.add_filter("fenced", |raw: String, language: String| safe((markup.fenced)(&raw, &language)));
    let ours = move |words: &str| safe((markup.ours)(words));
    for figure in FIGURES {
        environment.add_filter(figure.name, move |value: Value| ours(&figure.of(taken(&value))));
    }
    environment.add_filter("solid", |value: Value| safe(value.to_string().replace(' ', "\u{a0}")));
    environment.add_filter("figure", move |value: Value, name: String| {
        let figure = FIGURES.iter().find(|figure| figure.name == name);
        let figure = figure.ok_or_else(|| minijinja::Error::new(ErrorKind::UnknownFilter, name))?;
        Ok::<_, minijinja::Error>(ours(&figure.of(taken(&value))))
    });
    for &(name, words) in WORDS {
        environment.add_filter(name, move |value: Value| words(&value).map_or(value, |words| ours(&words)));
    }
    environment.add_filter("since", |value: Value| read(&value).as_ref().map(NightBefore::sentence));
    environment.add_test("known", |value: Value| !value.is_undefined() && !value.is_none());
}

/// How a number is written, with its unit where it has one. An estimate has its interval behind it, and what is not
/// known is a dash.
#[derive(Clone, Copy)]
pub(super) struct Figure {
    /// Name of the filter.
    name: &'static str,
    write: fn(f64) -> String,
}

impl Figure {
    const fn new(name: &'static str, write: fn(f64) -> String) -> Self {
        Self { name, write }
    }

    /// Returns the figure as plain text.
    pub(super) fn of(&self, estimate: Option<Estimate>) -> String {
        text::estimate(estimate, self.write)
    }
}

impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name)
    }
}

/// Bytes with a binary unit.
pub(super) const BYTES: Figure = Figure::new("bytes", |bytes| text::bytes(bytes as u64));
/// By how much something is ahead (0.1 is 10%).
pub(super) const LEAD: Figure = Figure::new("lead", |lead| text::change(1.0 + lead));
/// A KLD (nat).
pub(super) const NAT: Figure = Figure::new("nat", text::nat);
/// A difference of scores in points, with its sign.
pub(super) const POINTS: Figure = Figure::new("points", text::signed_points);
/// A number with three digits.
pub(super) const RATE: Figure = Figure::new("rate", text::significant);
/// A score (0..1).
pub(super) const SCORE: Figure = Figure::new("score", text::score);
/// A size in GiB, for a head that says so.
pub(super) const GIB: Figure = Figure::new("gib", |bytes| text::significant(bytes / f64::from(1 << 30)));
/// A size in MiB, for a head that says so.
pub(super) const MIB: Figure = Figure::new("mib", |bytes| text::significant(bytes / f64::from(1 << 20)));
/// A time in milliseconds, for a head that says so.
pub(super) const MILLISECONDS: Figure =
    Figure::new("milliseconds", |seconds| text::significant(seconds * 1000.0));
/// A time in seconds, or milliseconds.
pub(super) const SECONDS: Figure = Figure::new("seconds", text::seconds);

/// A share in percent.
pub(super) const SHARE: Figure = Figure::new("share", text::percent);

/// A change of a score that a threshold is beside, in points.
pub(super) const IN_POINTS: Figure =
    Figure::new("in_points", |change| format!("{:.1} points", change * 100.0));
/// A change as a share that a threshold is beside.
pub(super) const IN_PERCENT: Figure = Figure::new("in_percent", |change| format!("{:.1}%", change * 100.0));
/// A change of a KLD that a threshold is beside.
pub(super) const IN_NAT: Figure = Figure::new("in_nat", |change| format!("{} nat", text::nat(change)));

/// Every figure that templates write.
const FIGURES: &[Figure] = &[
    BYTES,
    GIB,
    LEAD,
    MIB,
    MILLISECONDS,
    NAT,
    POINTS,
    RATE,
    SCORE,
    SECONDS,
    SHARE,
    IN_POINTS,
    IN_PERCENT,
    IN_NAT,
    Figure::new("change", text::change),
    Figure::new("change_of_bytes", |bytes| text::signed_bytes(bytes as i64)),
    Figure::new("count", |count| text::thousands(count as u64)),
    Figure::new("duration", text::duration),
    Figure::new("edge", |share| format!("{}", (share * 1000.0).round() / 10.0)),
    Figure::new("frequency", |share| format!("{:.0}%", share * 100.0)),
    Figure::new("giga", |value| text::significant(value / 1e9)),
    Figure::new("hundredths", |share| format!("{:.1}", share * 100.0)),
    Figure::new("margin", text::points),
    Figure::new("more_bytes", |bytes| text::more_bytes(bytes as i64)),
    Figure::new("p_value", text::p_value),
    Figure::new("ratio", |ratio| format!("{ratio:.2}×")),
    Figure::new("signed", text::signed),
    Figure::new("signed_nat", text::signed_nat),
    Figure::new("times", |ratio| format!("{}×", text::significant(ratio))),
    Figure::new("tokens", |tokens| text::thousands(tokens as u64)),
    Figure::new("turn", |turn| format!("{}", (turn * 10.0).round() / 10.0)),
];

/// Says in words what a value of a closed set means; `None` for a value of another version.
type Words = fn(&Value) -> Option<String>;

/// The filters of closed sets.
const WORDS: &[(&str, Words)] = &[
    ("arrivals", |value| read::<Arrivals>(value).map(Arrivals::words)),
    ("divergence_verdict", |value| read(value).map(|verdict| divergence(verdict).to_owned())),
    ("goal", |value| read(value).map(|goal| named(goal).to_owned())),
    ("memory_kind", |value| read::<MemoryKind>(value).map(|kind| kind.words().to_owned())),
    ("reached", |value| read::<Reached>(value).map(Reached::words)),
    ("speculation_verdict", |value| {
        read::<SpeculationVerdict>(value).map(|verdict| verdict.words().to_owned())
    }),
    ("stop_reason", |value| read(value).map(|reason| stop_reason(reason).to_owned())),
    ("threshold", |value| read::<Threshold>(value).map(|threshold| threshold.to_string())),
    ("variant", |value| Variant::named(value.as_str()?).map(|variant| variant.words().to_owned())),
    ("verdict", |value| read::<Verdict>(value).map(|verdict| verdict.words().to_owned())),
];

/// Returns the value as what it was before it came into the template.
fn read<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

const fn named(goal: Goal) -> &'static str {
    match goal {
        Goal::Decode => "highest decode rate",
        Goal::Ttft => "shortest time to the first token",
        Goal::Memory => "least memory",
        Goal::Energy => "least energy for a request",
        Goal::Knee => "best compromise of the suite's objectives",
    }
}

const fn divergence(verdict: DivergenceVerdict) -> &'static str {
    match verdict {
        DivergenceVerdict::Noise => "this is the noise",
        DivergenceVerdict::AsNoise => "as the reference's own noise",
        DivergenceVerdict::TooFew => "no more, but so few replies show no likeness",
        DivergenceVerdict::BeyondNoise => "beyond it",
        DivergenceVerdict::Unclear => "more, but so few replies cannot tell",
        DivergenceVerdict::NoNoiseFloor => "the reference did not run twice",
    }
}

const fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Settled => "settled",
        StopReason::Undecidable => "cannot be decided",
        StopReason::Dominated => "dominated",
        StopReason::NotNeeded => "not needed",
        StopReason::Alarm => "alarm",
        StopReason::Budget => "budget",
        StopReason::NothingLeft => "nothing left to compare",
    }
}

fn safe(text: String) -> Value {
    Value::from_safe_string(text)
}

/// The number or estimate that a value is; `None` for anything else.
fn taken(value: &Value) -> Option<Estimate> {
    let number = |value: Value| f64::try_from(value).ok();
    if let Some(value) = number(value.clone()) {
        return Some(Estimate { value, low: None, high: None, n: 0 });
    }
    let part = |name: &str| value.get_attr(name).ok().and_then(number);
    Some(Estimate { value: part("value")?, low: part("low"), high: part("high"), n: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str, of: Value) -> String {
        let mut environment = Environment::new();
        install(&mut environment, &MARKDOWN);
        environment.render_str(template, minijinja::context! { of }).unwrap()
    }

    #[test]
    fn what_no_filter_made_is_escaped() {
        let hostile = Value::from("<b>|`x`");
        assert_eq!(rendered("{{ of }}", hostile.clone()), "&lt;b&gt;&#124;&#96;x&#96;");
        assert_eq!(rendered("{{ of ~ '|' }}", hostile.clone()), rendered("{{ of }}&#124;", hostile.clone()));
        assert_eq!(rendered("{{ of | code }}", hostile), "<code>&lt;b&gt;&#124;&#96;x&#96;</code>");
    }

    #[test]
    fn figures_have_their_interval_or_a_dash() {
        let estimate = Estimate { value: 0.5, low: Some(0.25), high: Some(0.75), n: 9 };
        let of = Value::from(minijinja::value::Serde(estimate));
        assert_eq!(rendered("{{ of | seconds }}", of.clone()), "500 ms [250 ms, 750 ms]");
        assert_eq!(rendered("{{ of.value | share }}", of), "50%");
        assert_eq!(rendered("{{ of | nat }} {{ of }}", Value::from(())), "– –");
        assert_eq!(rendered("{{ of | tokens }}", Value::from(8192)), "8,192");
        assert_eq!(rendered("{{ of | figure('score') }}", Value::from(0.5)), "0.50");
    }

    #[test]
    fn closed_sets_have_words_and_other_values_stay_harmless() {
        let arrivals = Value::from(minijinja::value::Serde(Arrivals::Closed(4)));
        assert_eq!(rendered("{{ of | arrivals }}", arrivals), "4 streams");
        assert_eq!(rendered("{{ of | verdict }}", Value::from("no_worse")), "no worse");
        assert_eq!(rendered("{{ of | verdict }}", Value::from("<b>")), "&lt;b&gt;");
        let reached = Value::from(minijinja::value::Serde(Reached::NotShownAt(512)));
        assert_eq!(rendered("{{ of | reached }}", reached), "not shown at 512");
    }

    #[test]
    fn zero_is_known_and_nothing_is_not() {
        let known = "{% if of is known %}yes{% else %}no{% endif %}";
        assert_eq!(rendered(known, Value::from(0)), "yes");
        assert_eq!(rendered(known, Value::from(())), "no");
        assert_eq!(rendered("{% if of.part is known %}yes{% else %}no{% endif %}", Value::from(())), "no");
    }
}
