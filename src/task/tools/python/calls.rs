//! Calls written as Python, such as `f(a=1, b="x")`, with the values that BFCL's published decoder gives to their
//! arguments: it walks Python's syntax tree, so that a name is its own text, and a few signs mean what they do not
//! mean in Python.

use std::collections::{BTreeMap, BTreeSet};

use super::Python;
use super::arithmetic::{Operator, Sign, calculated, signed};
use crate::task::tools::extract::MAX_BYTES;

/// Levels of brackets, signs and calls that are read.
const MAX_DEPTH: usize = 64;

/// A call, its arguments in the order they were written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Vec<(String, Python)>,
}

impl Call {
    pub(crate) fn argument(&self, name: &str) -> Option<&Python> {
        self.arguments.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// A text that is one list of calls, `[f(a=1), g()]`.
///
/// # Errors
/// Why it is none, and where.
pub(crate) fn list(text: &str) -> Result<Vec<Call>, String> {
    if text.len() > MAX_BYTES {
        return Err(format!("the text is longer than {MAX_BYTES} bytes"));
    }
    let mut parser = Parser { text, at: 0, depth: 0 };
    parser.calls().map_err(|reason| format!("no calls can be read at byte {}: {reason}", parser.at))
}

/// The call that a text begins with, and the bytes that it takes.
pub(crate) fn one(text: &str) -> Result<(Call, usize), String> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    parser.call_alone().map(|call| (call, parser.at))
}

/// A reader of the part of Python's expressions that BFCL's decoder gives a value to.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, String>;

/// An expression. The published decoder walks the syntax tree and takes a sign for a minus, whichever it is, and
/// only in front of a constant; an operator between two values it leaves to Python.
struct Term {
    /// What the decoder makes of it.
    decoded: Parsed<Python>,
    /// What Python makes of it, where it stands beside an operator.
    evaluated: Parsed<Python>,
    is_constant: bool,
}

impl Term {
    fn constant(value: Python) -> Self {
        Self { decoded: Ok(value.clone()), evaluated: Ok(value), is_constant: true }
    }

    /// Something with a name, which means nothing to Python here.
    fn named(decoded: Parsed<Python>) -> Self {
        Self { decoded, evaluated: Err("a name has no value here".into()), is_constant: false }
    }

    /// A list, tuple or dictionary.
    fn display(decoded: Parsed<Python>, evaluated: Parsed<Python>) -> Self {
        Self { decoded, evaluated, is_constant: false }
    }

    fn signed(self, sign: Sign) -> Self {
        let decoded = match self.is_constant {
            true => self.evaluated.clone().and_then(|value| signed(Sign::Minus, &value)),
            false => Err("a sign in front of something that is no constant".into()),
        };
        let evaluated = self.evaluated.and_then(|value| signed(sign, &value));
        Self { decoded, evaluated, is_constant: false }
    }

    fn combined(self, operator: Operator, other: Self) -> Self {
        let both = self.evaluated.and_then(|a| Ok((a, other.evaluated?)));
        let evaluated = both.and_then(|(a, b)| calculated(operator, &a, &b));
        Self { decoded: evaluated.clone(), evaluated, is_constant: false }
    }
}

impl<'a> Parser<'a> {
    fn calls(&mut self) -> Parsed<Vec<Call>> {
        self.expect('[')?;
        let (calls, _) = self.items(']', Self::call_alone)?;
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

    /// The rest of a call behind its opening bracket. Arguments without a name are dropped, whatever they are.
    fn call(&mut self, name: &str) -> Parsed<Call> {
        let (given, _) = self.items(')', |parser| {
            parser.blanks();
            let start = parser.at;
            let key = parser.name().filter(|_| parser.take('='));
            match key {
                Some(key) => Ok(Some((key.to_owned(), parser.value()?))),
                None => {
                    parser.at = start;
                    parser.term().map(|_| None)
                }
            }
        })?;
        let mut seen = BTreeSet::new();
        let arguments: Vec<(String, Python)> = given.into_iter().flatten().collect();
        match arguments.iter().find(|(key, _)| !seen.insert(key.as_str())) {
            Some((key, _)) => Err(format!("the argument `{key}` is given twice")),
            None => Ok(Call { name: name.to_owned(), arguments }),
        }
    }

    /// Items separated by commas up to a closing bracket, and whether a comma stands in front of it.
    fn items<T>(
        &mut self,
        close: char,
        mut item: impl FnMut(&mut Self) -> Parsed<T>,
    ) -> Parsed<(Vec<T>, bool)> {
        self.deeper(|parser| {
            let mut items = Vec::new();
            let mut comma_at_end = false;
            while !parser.take(close) {
                items.push(item(parser)?);
                comma_at_end = parser.take(',');
                if !comma_at_end {
                    parser.expect(close)?;
                    break;
                }
            }
            Ok((items, comma_at_end))
        })
    }

    fn value(&mut self) -> Parsed<Python> {
        self.term()?.decoded
    }

    fn term(&mut self) -> Parsed<Term> {
        self.blanks();
        let after = self.rest().strip_prefix("not");
        if after.is_some_and(|after| !after.starts_with(|c: char| c.is_alphanumeric() || c == '_')) {
            self.at += "not".len();
            return self.deeper(Self::term).map(|term| term.signed(Sign::Not));
        }
        self.sum()
    }

    fn sum(&mut self) -> Parsed<Term> {
        let mut term = self.product()?;
        while let Some(operator) = self.operator(&[("+", Operator::Add), ("-", Operator::Subtract)]) {
            term = term.combined(operator, self.product()?);
        }
        Ok(term)
    }

    fn product(&mut self) -> Parsed<Term> {
        let mut term = self.factor()?;
        let operators = [
            ("//", Operator::Floor),
            ("/", Operator::Divide),
            ("*", Operator::Multiply),
            ("%", Operator::Remainder),
        ];
        while let Some(operator) = self.operator(&operators) {
            term = term.combined(operator, self.factor()?);
        }
        Ok(term)
    }

    fn factor(&mut self) -> Parsed<Term> {
        for (mark, sign) in [('+', Sign::Plus), ('-', Sign::Minus), ('~', Sign::Invert)] {
            if self.take(mark) {
                return self.deeper(Self::factor).map(|term| term.signed(sign));
            }
        }
        let base = self.atom()?;
        if self.operator(&[("**", Operator::Power)]).is_some() {
            let exponent = self.deeper(Self::factor)?;
            return Ok(base.combined(Operator::Power, exponent));
        }
        Ok(base)
    }

    /// The first of these operators that stands here, behind any blanks. `*` is not the beginning of `**`.
    fn operator(&mut self, operators: &[(&str, Operator)]) -> Option<Operator> {
        let start = self.at;
        self.blanks();
        let rest = self.rest();
        let stands = |mark: &str| rest.starts_with(mark) && !(mark == "*" && rest.starts_with("**"));
        let found = operators.iter().find(|(mark, _)| stands(mark));
        self.at = found.map_or(start, |(mark, _)| self.at + mark.len());
        found.map(|(_, operator)| *operator)
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("more than {MAX_DEPTH} levels"));
        }
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn atom(&mut self) -> Parsed<Term> {
        self.blanks();
        let start = self.at;
        match self.rest().chars().next() {
            Some('[') => {
                self.at += 1;
                let (items, _) = self.items(']', Self::term)?;
                let (decoded, evaluated) = both(items);
                Ok(Term::display(decoded.map(Python::List), evaluated.map(Python::List)))
            }
            Some('(') => self.parenthesised(),
            Some('{') => self.dict(),
            Some('"' | '\'') => self.texts(),
            Some(c) if c.is_ascii_digit() || c == '.' => self.number().map(Term::constant),
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
    fn parenthesised(&mut self) -> Parsed<Term> {
        self.at += 1;
        let (mut items, comma_at_end) = self.items(')', Self::term)?;
        match items.pop() {
            Some(only) if items.is_empty() && !comma_at_end => Ok(only),
            last => {
                items.extend(last);
                let (decoded, evaluated) = both(items);
                Ok(Term::display(decoded.map(Python::Tuple), evaluated.map(Python::Tuple)))
            }
        }
    }

    fn dict(&mut self) -> Parsed<Term> {
        self.at += 1;
        let (entries, _) = self.items('}', |parser| {
            let Python::Text(key) = parser.value()? else {
                return Err("a key of a dictionary is not text".into());
            };
            parser.expect(':')?;
            Ok((key, parser.value()?))
        })?;
        // The last of equal keys counts.
        let decoded = Ok(Python::Dict(entries.into_iter().collect::<BTreeMap<_, _>>()));
        Ok(Term::display(decoded, Err("a dictionary beside an operator".into())))
    }

    /// A name: a constant, a variable (its name is its value), a call, or an element of a variable.
    fn named(&mut self) -> Parsed<Term> {
        let start = self.at;
        let name = self.dotted_name()?;
        if self.take('(') {
            let call = self.call(name)?;
            return Ok(Term::named(Ok(match call.arguments.is_empty() {
                true => Python::Text(self.text[start..self.at].to_owned()),
                false => {
                    let arguments = Python::Dict(call.arguments.into_iter().collect());
                    Python::Dict(BTreeMap::from([(call.name, arguments)]))
                }
            })));
        }
        if self.take('[') {
            self.items(']', Self::term)?;
            return Ok(Term::named(Ok(Python::Text(self.text[start..self.at].to_owned()))));
        }
        Ok(match name {
            "True" => Term::constant(Python::Bool(true)),
            "False" => Term::constant(Python::Bool(false)),
            "None" => Term::constant(Python::None),
            _ if name.contains('.') => Term::named(Err(format!("`{name}` is neither a value nor a call"))),
            _ => Term::named(Ok(Python::Text(name.to_owned()))),
        })
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
    fn texts(&mut self) -> Parsed<Term> {
        let mut text = String::new();
        loop {
            let raw = matches!(self.name(), Some("r" | "R"));
            self.text_literal(raw, &mut text)?;
            let end = self.at;
            self.blanks();
            if !self.rest().starts_with(['"', '\'']) {
                self.at = end;
                return Ok(Term::constant(Python::Text(text)));
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

    /// Blanks, line ends and comments, which a bracket may hold anywhere.
    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']).len();
            let rest = self.rest();
            if rest.starts_with('#') {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("\\\n") {
                self.at += 2;
            } else {
                return;
            }
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
}

/// The values of several terms: as the decoder and as Python have them.
fn both(terms: Vec<Term>) -> (Parsed<Vec<Python>>, Parsed<Vec<Python>>) {
    let (decoded, evaluated): (Vec<_>, Vec<_>) =
        terms.into_iter().map(|term| (term.decoded, term.evaluated)).unzip();
    (decoded.into_iter().collect(), evaluated.into_iter().collect())
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
