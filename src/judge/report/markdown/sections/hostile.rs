//! A summary in which every text is hostile, made from its own schema, so that no field is forgotten.

use serde_json::{Map, Value, json};

use super::super::render_markdown;
use crate::judge::analysis::summary::Summary;

/// What must not come through: a tag, the end of a table's cell, code, a link, a terminal's escape, a new line.
const HOSTILE: &str = "<b>zq|zq`zq`zq\u{1b}[31m\n# zq![zq](http://zq)";

/// Variants of enums, absent figures and signs differ between that many summaries.
const ROUNDS: usize = 12;

/// Makes values that a schema allows.
struct Maker<'a> {
    definitions: &'a Value,
    round: usize,
}

impl Maker<'_> {
    /// Makes an item of a list, which is not like the one before.
    fn item(&self, at: usize) -> Self {
        Self { round: self.round + at, ..*self }
    }

    fn value(&self, name: &str, schema: &Value) -> Value {
        if let Some(reference) = schema["$ref"].as_str() {
            let defined = reference.rsplit('/').next().unwrap_or_default();
            return self.value(name, &self.definitions[defined]);
        }
        if let Some(fixed) = schema.get("const") {
            return fixed.clone();
        }
        let any = ["enum", "oneOf", "anyOf"].into_iter().find_map(|key| Some((key, schema[key].as_array()?)));
        if let Some((key, options)) = any {
            let is_null = |option: &Value| option["type"] == "null";
            if options.iter().any(is_null) && self.leaves_out(name) {
                return Value::Null;
            }
            let options: Vec<&Value> = options.iter().filter(|option| !is_null(option)).collect();
            let option = options[self.round % options.len()];
            return if key == "enum" { option.clone() } else { self.value(name, option) };
        }
        match schema["type"].as_array() {
            Some(types) if self.leaves_out(name) && types.iter().any(|kind| kind == "null") => Value::Null,
            Some(types) => self.of_type(types[0].as_str().unwrap_or_default(), name, schema),
            None => self.of_type(schema["type"].as_str().unwrap_or_default(), name, schema),
        }
    }

    fn of_type(&self, kind: &str, name: &str, schema: &Value) -> Value {
        let sign = if self.round.is_multiple_of(2) { 1.0 } else { -1.0 };
        match kind {
            "string" => json!(format!("{name} {HOSTILE}")),
            "boolean" => json!(self.round.is_multiple_of(2)),
            "integer" if name == "context" => json!(512),
            "integer" => json!(3),
            "number" if name == "confidence" => json!(0.95),
            // The whole interval lies on one side.
            "number" if name == if sign > 0.0 { "low" } else { "high" } => json!(sign * 0.125),
            "number" if name == if sign > 0.0 { "high" } else { "low" } => json!(sign * 0.5),
            "number" => json!(sign * 0.25),
            "array" if schema["prefixItems"].is_array() => {
                let parts = schema["prefixItems"].as_array().into_iter().flatten();
                parts.enumerate().map(|(at, part)| self.item(at).value(name, part)).collect()
            }
            "array" => {
                let items = if name == "quarters" { 4 } else { 2 };
                (0..items).map(|at| self.item(at).value(name, &schema["items"])).collect()
            }
            "object" => self.object(name, schema),
            other => panic!("no value for {name}: {other:?} in {schema}"),
        }
    }

    fn object(&self, name: &str, schema: &Value) -> Value {
        let mut object = Map::new();
        if let Some(properties) = schema["properties"].as_object() {
            object.extend(properties.iter().map(|(name, of)| (name.clone(), self.value(name, of))));
        } else if schema["additionalProperties"].is_object() {
            let value = self.value(name, &schema["additionalProperties"]);
            object.insert(format!("{name} {HOSTILE}"), value);
        }
        object.into()
    }

    /// Some figures are absent in some rounds; what excludes all others is absent in more of them.
    fn leaves_out(&self, name: &str) -> bool {
        match name {
            "void" | "unscored" | "broke" => !self.round.is_multiple_of(4),
            "replicate" => self.round.is_multiple_of(3),
            _ => self.round % 4 == 3,
        }
    }
}

/// A summary with every list filled and every text hostile.
fn summary(round: usize) -> Summary {
    let schema = serde_json::to_value(schemars::schema_for!(Summary)).unwrap();
    let maker = Maker { definitions: &schema["$defs"], round };
    serde_json::from_value(maker.object("summary", &schema)).unwrap()
}

/// The lines that are not in a block of code.
fn outside_code(report: &str) -> Vec<&str> {
    let mut outside = Vec::new();
    let mut fence = None;
    for line in report.lines() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        match fence {
            None if ticks >= 3 => fence = Some(&line[..ticks]),
            None => outside.push(line),
            Some(open) if line == open => fence = None,
            Some(_) => {}
        }
    }
    assert_eq!(fence, None, "every block ends");
    outside
}

#[test]
fn no_text_becomes_markup() {
    for round in 0..ROUNDS {
        let summary = summary(round);
        let report = render_markdown(&summary, None).unwrap();
        let lines = outside_code(&report);
        for line in &lines {
            for bad in ["<b>", "zq|", "zq`", "zq](", "\u{1b}", "://zq"] {
                assert!(!line.contains(bad), "{bad:?} in round {round}: {line}");
            }
            assert!(!line.starts_with("# zq"), "{line}");
        }
        // A row that has more bars than its head has a cell that nobody wrote.
        for rows in lines.chunk_by(|a, b| a.starts_with('|') && b.starts_with('|')) {
            let bars = |line: &str| line.matches('|').count();
            for row in rows {
                assert_eq!(bars(row), bars(rows[0]), "round {round}: {row}\nbelow {}", rows[0]);
            }
        }
    }
}

#[test]
fn every_section_is_there() {
    let report = render_markdown(&summary(0), None).unwrap();
    for heading in include_str!("../../templates/report.md.j2").lines().filter(|line| line.starts_with("## "))
    {
        assert!(report.lines().any(|line| line == heading), "{heading}");
    }
}
