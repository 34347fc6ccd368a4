//! CSV as spreadsheets read it.

use super::text;
use crate::judge::analysis::summary::Estimate;

/// A value of a row; absent numbers are written as nothing.
pub(super) enum Field<'a> {
    Text(&'a str),
    Words(String),
    Number(Option<f64>),
    Whole(Option<u64>),
}

impl Field<'_> {
    pub(super) fn whole(number: u32) -> Self {
        Field::Whole(Some(u64::from(number)))
    }

    pub(super) fn length(tokens: Option<u32>) -> Self {
        Field::Whole(tokens.map(u64::from))
    }

    pub(super) fn count(estimate: Option<Estimate>) -> Self {
        Field::Whole(estimate.map(|estimate| u64::from(estimate.n)))
    }
}

/// The figure and both ends of its interval.
pub(super) fn with_interval(estimate: Option<Estimate>) -> [Field<'static>; 3] {
    [
        Field::Number(estimate.map(|estimate| estimate.value)),
        Field::Number(estimate.and_then(|estimate| estimate.low)),
        Field::Number(estimate.and_then(|estimate| estimate.high)),
    ]
}

/// RFC 4180 with line feeds. Texts that a spreadsheet would take for a formula get an apostrophe in front.
pub(super) struct Csv(String);

impl Csv {
    pub(super) fn new<T: AsRef<str>>(header: &[T]) -> Self {
        let names: Vec<&str> = header.iter().map(AsRef::as_ref).collect();
        Self(names.join(",") + "\n")
    }

    pub(super) fn row(&mut self, fields: Vec<Field<'_>>) {
        let written: Vec<String> = fields.into_iter().map(write_field).collect();
        self.0.push_str(&written.join(","));
        self.0.push('\n');
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0.into_bytes()
    }
}

fn write_field(field: Field<'_>) -> String {
    match field {
        Field::Number(None) | Field::Whole(None) => String::new(),
        Field::Number(Some(number)) => number.to_string(),
        Field::Whole(Some(whole)) => whole.to_string(),
        Field::Text(raw) => quoted(&text::plain(raw)),
        Field::Words(raw) => quoted(&text::plain(&raw)),
    }
}

fn quoted(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_formulas_disarmed() {
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("say \"x\""), "\"say \"\"x\"\"\"");
        assert_eq!(quoted("=1+1"), "'=1+1");
        assert_eq!(write_field(Field::Number(Some(-0.5))), "-0.5");
        assert_eq!(write_field(Field::Text("a\nb\u{1b}[0m")), "a b\\u{1b}[0m");
    }
}
