//! The Markdown report: the summary, put into a template whose filters write its figures.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::Serialize;

use super::view::View;
use super::{filters, names};
use crate::error::{Error, Result};
use crate::judge::analysis::summary::Summary;
use crate::judge::report::names::Shortened;
use crate::tree;

#[cfg(test)]
mod sections;

const TEMPLATE: &str = include_str!("../templates/report.md.j2");

/// How deep a template may nest.
const RECURSION: usize = 50;

/// The report as Markdown, from the built-in template or the user's own.
///
/// A template sees what the built-in one sees: `summary` with the plain figures, and what is grouped for tables. Texts
/// are escaped as they are printed; filters write figures with their units (`seconds`, `rate`, `share`, `bytes` ..)
/// and names in code type (`code`).
///
/// # Errors
/// A usage error that names the line when the user's template is wrong.
pub fn render_markdown(summary: &Summary, template: Option<&str>) -> Result<String> {
    markdown(&names::shortened(summary)?, template)
}

/// As [`render_markdown`], of a summary whose names are short.
pub(super) fn markdown(shown: &Shortened, template: Option<&str>) -> Result<String> {
    rendered("report.md", template.unwrap_or(TEMPLATE), View::new(&shown.summary, &shown.shared))
        .map_err(|source| failed(source, template.is_some()))
}

/// Puts a view into a template of ours.
pub(super) fn built_in(name: &str, template: &str, view: impl Serialize) -> Result<String> {
    rendered(name, template, view).map_err(|source| failed(source, false))
}

fn rendered(
    name: &str,
    template: &str,
    view: impl Serialize,
) -> std::result::Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_recursion_limit(RECURSION);
    filters::install(&mut environment, &filters::MARKDOWN);
    let rendered = environment.template_from_named_str(name, template)?.render(plain(&view)?)?;
    Ok(tidy(&rendered))
}

/// A view as what templates see, by way of its JSON: the summary's types are compiled for one writer less.
fn plain(view: &impl Serialize) -> std::result::Result<Value, minijinja::Error> {
    let failed = |error| minijinja::Error::new(ErrorKind::BadSerialization, "the view").with_source(error);
    tree::tree(view).map_err(failed).map(value)
}

fn value(tree: serde_json::Value) -> Value {
    match tree {
        serde_json::Value::Null => Value::from(()),
        serde_json::Value::Bool(flag) => Value::from(flag),
        serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(count), _) => Value::from(count),
            (_, Some(count)) => Value::from(count),
            _ => Value::from(number.as_f64()),
        },
        serde_json::Value::String(text) => Value::from(text),
        serde_json::Value::Array(list) => list.into_iter().map(value).collect(),
        serde_json::Value::Object(fields) => Value::from(
            fields
                .into_iter()
                .map(|(name, field)| (Value::from(name), value(field)))
                .collect::<BTreeMap<_, _>>(),
        ),
    }
}

fn failed(source: minijinja::Error, users: bool) -> Error {
    let place = source.line().map_or(String::new(), |line| format!(" at line {line}"));
    let message = format!("cannot render the report's template{place}: {source}");
    if users {
        Error::usage(message).with_source(source).hint(
            "compare with the fields that the built-in template src/judge/report/templates/report.md.j2 uses",
        )
    } else {
        Error::runtime(message).with_source(source)
    }
}

/// No trailing blanks, no more than one empty line in a row, one line feed at the end.
fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let mut empty = 1;
    for line in text.lines().map(str::trim_end) {
        empty = if line.is_empty() { empty + 1 } else { 0 };
        if empty <= 1 {
            tidied.push_str(line);
            tidied.push('\n');
        }
    }
    let end = tidied.trim_end().len();
    tidied.truncate(end);
    tidied.push('\n');
    tidied
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::judge::analysis::testing;

    #[test]
    fn an_own_template_sees_fields_and_filters() {
        let mut summary = testing::summary();
        summary.suite = "a|b".into();
        let own = "{{ suite }} {{ summary.suite | md }} {{ summary.suite | code }} {{ summary.seed }}";
        assert_eq!(
            render_markdown(&summary, Some(own)).unwrap(),
            "a&#124;b a&#124;b <code>a&#124;b</code> 1\n"
        );
    }

    #[test]
    fn mistakes_in_a_template_name_their_line() {
        let summary = testing::summary();
        for wrong in ["# ok\n{% for x in %}", "# ok\n{{ no_such_field }}"] {
            let error = render_markdown(&summary, Some(wrong)).unwrap_err();
            assert_eq!(error.kind(), Kind::Usage);
            assert!(error.to_string().contains("line 2"), "{error}");
            assert!(!error.hints().is_empty());
        }
    }

    #[test]
    fn an_empty_run_still_has_a_report() {
        let report = render_markdown(&testing::summary(), None).unwrap();
        assert!(report.starts_with("# test\n"));
        assert!(!report.contains("\n\n\n") && report.ends_with('\n'));
    }
}
