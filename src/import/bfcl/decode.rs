//! Takes the calls out of a reply, as BFCL does: from the server's tool calls, or from text like
//! `[f(a=1, b="x"), g()]`. JSON in the text is read too, as many of BFCL's handlers of single models do.

use std::collections::BTreeMap;

use serde_json::Value;

use super::python::Python;
use crate::task::tools::extract::{Extraction, MAX_BYTES, MAX_CALLS, from_server, from_text};
use crate::trial::Reply;

/// Levels of brackets and calls that are read.
const MAX_DEPTH: usize = 64;

/// A call, its arguments in the order they were written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<(String, Python)>,
}

impl Call {
    pub(super) fn argument(&self, name: &str) -> Option<&Python> {
        self.arguments.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// The calls of a reply; why there are none that can be read.
pub(super) fn decode(native: bool, reply: &Reply) -> Result<Vec<Call>, String> {
    if native {
        return of_extraction(from_server(&reply.tool_calls), "the reply holds no tool calls");
    }
    written(&reply.content).or_else(|reason| of_extraction(from_text(&reply.content), &reason))
}

fn of_extraction(found: Extraction, none: &str) -> Result<Vec<Call>, String> {
    match found {
        Extraction::NoCall => Err(none.to_owned()),
        Extraction::BadJson => Err("a call is not JSON".to_owned()),
        Extraction::Calls(calls) => calls
            .into_iter()
            .map(|call| match &call.arguments {
                Value::Object(arguments) => {
                    let arguments = arguments.iter().map(|(key, value)| (key.clone(), value.into()));
                    Ok(Call { name: call.name, arguments: arguments.collect() })
                }
                _ => Err(format!("the arguments of {} are not an object", call.name)),
            })
            .collect(),
    }
}

/// Calls written as Python. Backquotes, blanks and line ends around them do not count, and neither does a
/// missing bracket at either end.
pub(super) fn written(text: &str) -> Result<Vec<Call>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("the text is longer than {MAX_BYTES} bytes"));
    }
    let text = text.trim_matches(['`', '\n', ' ']);
    let open = if text.starts_with('[') { "" } else { "[" };
    let close = if text.ends_with(']') { "" } else { "]" };
    let text = format!("{open}{text}{close}");
    let mut parser = Parser { text: &text, at: 0, depth: 0 };
    parser.calls().map_err(|reason| format!("no calls can be read at byte {}: {reason}", parser.at))
}

/// A reader of the part of Python's expressions that BFCL's decoder gives a value to. Arithmetic, which it
/// evaluates, is not read.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, String>;

impl<'a> Parser<'a> {
    fn calls(&mut self) -> Parsed<Vec<Call>> {
        self.expect('[')?;
        let calls = self.until(']', Self::call_alone)?;
        self.blanks();
        if !self.rest().is_empty() {
            return Err("something follows the list of calls".into());
        }
        Ok(calls)
    }

    fn call_alone(&mut self) -> Parsed<Call> {
        self.blanks();
        let name = self.dotted_name()?;
        self.expect('(')?;
        self.call(name)
    }

    /// The rest of a call behind its opening bracket. Arguments without a name are read and dropped.
    fn call(&mut self, name: &str) -> Parsed<Call> {
        let given = self.until(')', |parser| {
            parser.blanks();
            let start = parser.at;
            let key = parser.name().filter(|_| parser.take('='));
            match key {
                Some(key) => Ok(Some((key.to_owned(), parser.value()?))),
                None => {
                    parser.at = start;
                    parser.value().map(|_| None)
                }
            }
        })?;
        let mut seen = std::collections::BTreeSet::new();
        let arguments: Vec<(String, Python)> = given.into_iter().flatten().collect();
        match arguments.iter().find(|(key, _)| !seen.insert(key.as_str())) {
            Some((key, _)) => Err(format!("the argument `{key}` is given twice")),
            None => Ok(Call { name: name.to_owned(), arguments }),
        }
    }

    /// Items separated by commas up to a closing bracket; a comma in front of it is fine.
    fn until<T>(&mut self, close: char, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} levels"));
        }
        let mut items = Vec::new();
        while !self.take(close) {
            items.push(item(self)?);
            if !self.take(',') {
                self.expect(close)?;
                break;
            }
        }
        self.depth -= 1;
        Ok(items)
    }

    fn value(&mut self) -> Parsed<Python> {
        self.blanks();
        let start = self.at;
        match self.rest().chars().next() {
            Some('[') => {
                self.at += 1;
                self.until(']', Self::value).map(Python::List)
            }
            Some('(') => self.parenthesised(),
            Some('{') => self.dict(),
            Some('"' | '\'') => self.texts(),
            Some('-') => {
                self.at += 1;
                self.blanks();
                self.number().map(negated)
            }
            Some(c) if c.is_ascii_digit() || c == '.' => self.number(),
            Some(_) => {
                let raw = self.name().is_some_and(|prefix| prefix.eq_ignore_ascii_case("r") || prefix == "u");
                if raw && self.rest().starts_with(['"', '\'']) {
                    self.at = start;
                    return self.texts();
                }
                self.at = start;
                self.named()
            }
            None => Err("the text ends within a call".into()),
        }
    }

    /// `(x)` is x, `(x,)` and `(x, y)` are tuples.
    fn parenthesised(&mut self) -> Parsed<Python> {
        let start = self.at;
        self.at += 1;
        let mut values = self.until(')', Self::value)?;
        let inside = self.text[start..self.at - 1].trim_end();
        match values.pop() {
            Some(only) if values.is_empty() && !inside.ends_with(',') => Ok(only),
            last => {
                values.extend(last);
                Ok(Python::Tuple(values))
            }
        }
    }

    fn dict(&mut self) -> Parsed<Python> {
        self.at += 1;
        let entries = self.until('}', |parser| {
            let Python::Text(key) = parser.value()? else {
                return Err("a key of a dictionary is not text".into());
            };
            parser.expect(':')?;
            Ok((key, parser.value()?))
        })?;
        // The last of equal keys counts.
        Ok(Python::Dict(entries.into_iter().collect::<BTreeMap<_, _>>()))
    }

    /// A name: a constant, a variable (its name is its value), a call, or an element of a variable.
    fn named(&mut self) -> Parsed<Python> {
        let start = self.at;
        let name = self.dotted_name()?;
        if self.take('(') {
            let call = self.call(name)?;
            return Ok(match call.arguments.is_empty() {
                true => Python::Text(self.text[start..self.at].to_owned()),
                false => {
                    let arguments = Python::Dict(call.arguments.into_iter().collect());
                    Python::Dict(BTreeMap::from([(call.name, arguments)]))
                }
            });
        }
        if self.take('[') {
            self.until(']', Self::value)?;
            return Ok(Python::Text(self.text[start..self.at].to_owned()));
        }
        match name {
            "True" => Ok(Python::Bool(true)),
            "False" => Ok(Python::Bool(false)),
            "None" => Ok(Python::None),
            _ if name.contains('.') => Err(format!("`{name}` is neither a value nor a call")),
            _ => Ok(Python::Text(name.to_owned())),
        }
    }

    fn dotted_name(&mut self) -> Parsed<&'a str> {
        let start = self.at;
        loop {
            if self.name().is_none() {
                return Err("a name is expected".into());
            }
            if !self.rest().starts_with('.') {
                return Ok(&self.text[start..self.at]);
            }
            self.at += 1;
        }
    }

    fn name(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        if !rest.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            return None;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.at += end;
        Some(&rest[..end])
    }

    fn number(&mut self) -> Parsed<Python> {
        let rest = self.rest();
        if rest.starts_with("...") {
            self.at += 3;
            return Ok(Python::Text("...".into()));
        }
        let mut end = 0;
        for c in rest.chars() {
            let sign = matches!(c, '+' | '-') && rest[..end].ends_with(['e', 'E']) && !rest.starts_with("0x");
            if !(c.is_ascii_alphanumeric() || c == '_' || c == '.' || sign) {
                break;
            }
            end += 1;
        }
        self.at += end;
        number(&rest[..end]).ok_or_else(|| format!("`{}` is no number", &rest[..end]))
    }

    /// One or more string literals side by side.
    fn texts(&mut self) -> Parsed<Python> {
        let mut text = String::new();
        loop {
            let raw = matches!(self.name(), Some("r" | "R"));
            self.text_literal(raw, &mut text)?;
            let end = self.at;
            self.blanks();
            if !self.rest().starts_with(['"', '\'']) {
                self.at = end;
                return Ok(Python::Text(text));
            }
        }
    }

    fn text_literal(&mut self, raw: bool, out: &mut String) -> Parsed<()> {
        let rest = self.rest();
        let quote = if rest.starts_with('"') { "\"" } else { "'" };
        let tripled = quote.repeat(3);
        let quote = if rest.starts_with(&tripled) { tripled.as_str() } else { quote };
        self.at += quote.len();
        loop {
            let rest = self.rest();
            if rest.starts_with(quote) {
                self.at += quote.len();
                return Ok(());
            }
            match rest.chars().next() {
                None => return Err("a string does not end".into()),
                Some('\n') if quote.len() == 1 => return Err("a string ends with its line".into()),
                Some('\\') if raw => {
                    let escaped = rest.chars().nth(1).map_or(0, char::len_utf8);
                    out.push_str(&rest[..1 + escaped]);
                    self.at += 1 + escaped;
                }
                Some('\\') => self.escape(out)?,
                Some(c) => {
                    out.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
    }

    /// An escape of a string literal; one that Python does not know stands for itself.
    fn escape(&mut self, out: &mut String) -> Parsed<()> {
        let Some(c) = self.rest().chars().nth(1) else {
            return Err("a string does not end".into());
        };
        self.at += 1 + c.len_utf8();
        let plain = match c {
            '\n' => return Ok(()),
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '\\' | '\'' | '"' => c,
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            '0'..='7' => {
                self.at -= 1;
                self.octal()
            }
            _ => {
                out.push('\\');
                c
            }
        };
        out.push(plain);
        Ok(())
    }

    /// A code point of so many hex digits; half of a surrogate pair is U+FFFD.
    fn code(&mut self, digits: usize) -> Parsed<char> {
        let hex = self.rest().get(..digits).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = hex.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        let code = code.ok_or("an escape lacks its digits")?;
        self.at += digits;
        Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn octal(&mut self) -> char {
        let digits = self.rest().bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
        let code = u32::from_str_radix(&self.rest()[..digits], 8).ok();
        self.at += digits;
        code.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
    }

    fn expect(&mut self, c: char) -> Parsed<()> {
        if self.take(c) { Ok(()) } else { Err(format!("`{c}` is expected")) }
    }

    /// Takes a character behind any blanks, if it is there.
    fn take(&mut self, c: char) -> bool {
        let start = self.at;
        self.blanks();
        // `a == b` is no named argument.
        let twice = c == '=' && self.rest().starts_with("==");
        if self.rest().starts_with(c) && !twice {
            self.at += c.len_utf8();
            return true;
        }
        self.at = start;
        false
    }

    fn blanks(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']).len();
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}

fn negated(value: Python) -> Python {
    match value {
        Python::Int(digits) => Python::int(&format!("-{digits}")),
        Python::Float(float) => Python::Float(-float),
        other => other,
    }
}

/// A number literal of Python's without its sign; none for imaginary ones.
fn number(lexeme: &str) -> Option<Python> {
    let single = !lexeme.contains("__") && !lexeme.ends_with('_') && !lexeme.starts_with('_');
    let digits = lexeme.replace('_', "").to_ascii_lowercase();
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find(|(prefix, _)| digits.starts_with(prefix));
    if let Some((prefix, radix)) = radix {
        let whole = u128::from_str_radix(digits.strip_prefix(prefix)?, radix).ok()?;
        return Some(Python::int(&whole.to_string()));
    }
    if !single || digits.is_empty() {
        return None;
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        let leading = digits.len() > 1 && digits.starts_with('0') && digits.bytes().any(|b| b != b'0');
        return (!leading).then(|| Python::int(&digits));
    }
    // What `parse` takes beside numbers (`inf`, `nan`) begins with a letter.
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.').then(|| Python::float(&digits)).flatten()
}

/// Whether a reply holds a call at all, for the categories that ask just that.
pub(super) fn has_call(native: bool, reply: &Reply) -> bool {
    decode(native, reply).is_ok_and(|calls| !calls.is_empty() && calls.len() <= MAX_CALLS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trial::ToolCall;

    fn shown(text: &str) -> Vec<String> {
        let calls = written(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let show = |call: Call| {
            let arguments: Vec<String> = call.arguments.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("{}({})", call.name, arguments.join(", "))
        };
        calls.into_iter().map(show).collect()
    }

    #[test]
    fn calls_are_read_as_pythons_own_parser_reads_them() {
        for (text, read) in [
            ("[f(a=1, b=\"x\"), g.h()]", vec!["f(a=1, b=\"x\")", "g.h()"]),
            ("```\n[f(a=1)]\n```", vec!["f(a=1)"]),
            ("f(a=1), g(b=2)", vec!["f(a=1)", "g(b=2)"]),
            ("[f(a=1)", vec!["f(a=1)"]),
            ("[f(\n  a = [1, 2.50, -3,],\n)]", vec!["f(a=[1, 2.5, -3])"]),
            ("[f(a=(1,), b=(2), c=(), d=(1, 'x'))]", vec!["f(a=(1), b=2, c=(), d=(1, \"x\"))"]),
            ("[f(a={'k': {'n': None}, \"l\": [True]})]", vec!["f(a={\"k\": {\"n\": None}, \"l\": [True]})"]),
            (
                "[f(a=x, b=true, c=1_000, d=0x1F, e=1e3, f=.5)]",
                vec!["f(a=\"x\", b=\"true\", c=1000, d=31, e=1000.0, f=0.5)"],
            ),
            ("[f(5, a=1)]", vec!["f(a=1)"]),
            ("[f(a=g(b=1), c=g(), d=x[0])]", vec!["f(a={\"g\": {\"b\": 1}}, c=\"g()\", d=\"x[0]\")"]),
            (
                r#"[f(a='it\'s', b="\u00e9\x41\n\q", c=r'\d', d='a' 'b')]"#,
                vec![r#"f(a="it's", b="éA\n\\q", c="\\d", d="ab")"#],
            ),
            ("[f(a='''two\nlines''')]", vec!["f(a=\"two\\nlines\")"]),
            ("[]", vec![]),
        ] {
            assert_eq!(shown(text), read, "{text}");
        }
    }

    #[test]
    fn what_is_no_list_of_calls_is_refused() {
        for text in [
            "Hello",
            "I cannot help with that.",
            "[f(a=1) and more]",
            "[f(a=1)] done",
            "[1, 2]",
            "[f(a=1, a=2)]",
            "[f(a=007)]",
            "[f(a=1j)]",
            "[f(a=1+2)]",
            "[f(a=)]",
            "[f(a='x)]",
            "[f(a=\"x\ny\")]",
            "[f(a={1: 2})]",
            "[f(a=x.y)]",
            "```python\n[f(a=1)]\n```",
            "",
        ] {
            let read = written(text);
            assert!(read.as_ref().is_err() || text.is_empty() && read == Ok(Vec::new()), "{text}: {read:?}");
        }
        let deep = format!("[f(a={}1{})]", "[".repeat(100), "]".repeat(100));
        assert!(written(&deep).unwrap_err().contains("levels"));
        assert!(written(&"f".repeat(MAX_BYTES + 1)).unwrap_err().contains("longer"));
    }

    #[test]
    fn json_is_read_where_there_is_no_python() {
        let reply = |content: &str| Reply { content: content.into(), ..Reply::default() };
        let calls = decode(false, &reply("```json\n[{\"name\": \"f\", \"arguments\": {\"a\": 5.0}}]\n```"));
        let call = Call { name: "f".into(), arguments: vec![("a".into(), Python::Float(5.0))] };
        assert_eq!(calls, Ok(vec![call]));
        assert!(!has_call(false, &reply("[]")) && !has_call(false, &reply("No function fits.")));
        assert!(has_call(false, &reply("[f()]")));
    }

    #[test]
    fn the_native_arm_reads_tool_calls_alone() {
        let reply = Reply { content: "[f()]".into(), ..Reply::default() };
        assert!(decode(true, &reply).is_err());
        let call = |arguments: &str| Reply {
            tool_calls: vec![ToolCall { id: None, name: "f".into(), arguments: arguments.into() }],
            ..Reply::default()
        };
        assert_eq!(decode(true, &call("{\"a\": 1}")).unwrap()[0].argument("a"), Some(&Python::int("1")));
        assert!(decode(true, &call("[1]")).is_err() && decode(true, &call("{")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,100}") {
            let _ = written(&text);
        }

        #[test]
        fn no_python_like_text_makes_it_panic(text in r#"([\[\](){},=:.'"\\-]|r'|'''|f|é|1|0x|1e|\\x4|\\u00|\\7|None|\n| ){0,40}"#) {
            let _ = written(&text);
        }

        #[test]
        fn whole_numbers_and_texts_come_back(number in any::<i64>(), text in "[a-z' ]{0,10}") {
            let quoted = text.replace('\'', "\\'");
            let call = written(&format!("[f(n={number}, t='{quoted}')]")).unwrap().remove(0);
            prop_assert_eq!(call.argument("n"), Some(&Python::int(&number.to_string())));
            prop_assert_eq!(call.argument("t"), Some(&Python::Text(text)));
        }
    }
}
