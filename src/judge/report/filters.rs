//! How templates write figures and texts: filters that are the same for every format, and the escaping of one.
//!
//! What a template prints is escaped unless a filter made it: a name, a reply or an error of a server never becomes
//! markup because somebody forgot to say so.

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment};

use super::text;
use crate::judge::analysis::summary::Estimate;

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
}

/// Markdown, tables included.
pub(super) const MARKDOWN: Markup = Markup {
    name: "markdown",
    text: text::markdown,
    whole: text::markdown_whole,
    code: text::code,
    fenced: text::fenced,
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
    // Figures: a number, or an estimate with its interval; a dash without one.
    for &(name, of) in FIGURES {
        environment.add_filter(name, move |value: Value| safe(text::estimate(taken(&value), of)));
    }
}

/// Writes a number.
type Format = fn(f64) -> String;

/// The filters of figures, and how they write a number.
const FIGURES: &[(&str, Format)] = &[
    ("bytes", |bytes| text::bytes(bytes as u64)),
    ("change_of_bytes", |bytes| text::signed_bytes(bytes as i64)),
    ("count", |count| text::thousands(count as u64)),
    ("duration", text::duration),
    ("margin", text::points),
    ("nat", text::nat),
    ("p_value", text::p_value),
    ("points", text::signed_points),
    ("rate", text::significant),
    ("ratio", |ratio| format!("{ratio:.2}×")),
    ("score", text::score),
    ("seconds", text::seconds),
    ("share", text::percent),
    ("times", |ratio| format!("{}×", text::significant(ratio))),
    ("tokens", |tokens| text::thousands(tokens as u64)),
    ("turn", |turn| format!("{}", (turn * 10.0).round() / 10.0)),
];

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
    }
}
