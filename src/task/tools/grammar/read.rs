//! Reads GBNF, as llama.cpp's `grammars/README.md` describes it.

use std::collections::HashMap;

use super::{Class, Grammar, Id, Node, Symbol};

/// Longest grammar (bytes).
const MAX_BYTES: usize = 1 << 20;
/// How a grammar begins that llama.cpp built with `LLAMA_LLGUIDANCE` makes of a schema (seen in build 11549).
const LLGUIDANCE: &str = "%llguidance";
/// Groups within groups.
const MAX_DEPTH: u32 = 100;

/// Why a text is no grammar that can be matched here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is longer than a mebibyte.
    #[error("it is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// The server was built with llguidance, which takes the schema as it is.
    #[error(
        "the server leaves schemas to llguidance, whose grammars are not GBNF: docs/seen/constrained.md says what it holds"
    )]
    Llguidance,
    /// Its groups are nested too deep.
    #[error("line {0}: groups are nested deeper than {MAX_DEPTH}")]
    TooDeep(usize),
    /// It names tokens of a vocabulary, which no text shows.
    #[error("line {0}: it names tokens of a vocabulary, which a text alone does not show")]
    Tokens(usize),
    /// Something else was expected.
    #[error("line {0}: expected {1}")]
    Expected(usize, &'static str),
    /// A rule that is named and not there.
    #[error("there is no rule `{0}`")]
    NoRule(String),
}

impl Grammar {
    /// Reads a grammar; its first rule is `root`, wherever that stands.
    ///
    /// # Errors
    /// Why the text is none that can be matched here.
    pub fn read(text: &str) -> Result<Self, Unreadable> {
        if text.len() > MAX_BYTES {
            return Err(Unreadable::TooLong);
        }
        if text.starts_with(LLGUIDANCE) {
            return Err(Unreadable::Llguidance);
        }
        let mut reader = Reader::new(text);
        reader.rules()?;
        reader.grammar()
    }
}

struct Reader<'t> {
    rest: std::str::Chars<'t>,
    line: usize,
    nodes: Vec<Node>,
    classes: Vec<Class>,
    class_ids: HashMap<Class, Id>,
    /// Rules by name, in the order in which they were first named, and whether each was written.
    rules: HashMap<String, (Id, bool)>,
    names: Vec<String>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            rest: text.chars(),
            line: 1,
            nodes: Vec::new(),
            classes: Vec::new(),
            class_ids: HashMap::new(),
            rules: HashMap::new(),
            names: Vec::new(),
        }
    }

    fn grammar(self) -> Result<Grammar, Unreadable> {
        let missing = self.names.iter().find(|name| !self.rules[*name].1);
        if let Some(name) = missing {
            return Err(Unreadable::NoRule(name.clone()));
        }
        match self.rules.get("root") {
            Some((root, _)) => Ok(Grammar::new(self.nodes, self.classes, *root)),
            None => Err(Unreadable::NoRule("root".into())),
        }
    }

    fn rules(&mut self) -> Result<(), Unreadable> {
        self.space(true);
        while self.peek().is_some() {
            self.rule()?;
            self.space(true);
        }
        Ok(())
    }

    fn rule(&mut self) -> Result<(), Unreadable> {
        let name = self.name()?;
        self.space(false);
        for sign in "::=".chars() {
            self.take(sign, "`::=` behind the name of a rule")?;
        }
        self.space(true);
        let sequences = self.alternatives(0)?;
        let id = self.rule_id(name.clone());
        self.nodes[id as usize] = Node::Any(sequences);
        self.rules.insert(name, (id, true));
        match self.peek() {
            None | Some('\n' | '\r') => Ok(()),
            Some(_) => Err(self.expected("the end of a rule")),
        }
    }

    fn alternatives(&mut self, depth: u32) -> Result<Vec<Vec<Symbol>>, Unreadable> {
        if depth > MAX_DEPTH {
            return Err(Unreadable::TooDeep(self.line));
        }
        let mut all = vec![self.sequence(depth)?];
        while self.peek() == Some('|') {
            self.next();
            self.space(true);
            all.push(self.sequence(depth)?);
        }
        Ok(all)
    }

    fn sequence(&mut self, depth: u32) -> Result<Vec<Symbol>, Unreadable> {
        let mut sequence = Vec::new();
        // Where the part begins that a sign of repetition is about.
        let mut last = None;
        while let Some(sign) = self.peek() {
            let begun = sequence.len();
            match sign {
                '"' => self.literal(&mut sequence)?,
                '[' => {
                    let class = self.class()?;
                    sequence.push(self.one(class));
                }
                '.' => {
                    self.next();
                    let any = self.one(Class { ranges: Vec::new(), negated: true });
                    sequence.push(any);
                }
                '(' => {
                    self.next();
                    self.space(true);
                    let inner = self.alternatives(depth + 1)?;
                    self.take(')', "`)`")?;
                    sequence.push(self.add(Node::Any(inner)));
                }
                '*' | '+' | '?' | '{' => {
                    let (least, most) = self.times()?;
                    let from = last.ok_or_else(|| self.expected("something in front of a repetition"))?;
                    let body = self.whole(sequence.split_off(from));
                    sequence.push(self.add(Node::Repeat { body, least, most }));
                    self.space(depth > 0);
                    continue;
                }
                '<' | '!' => return Err(Unreadable::Tokens(self.line)),
                c if is_of_name(c) => {
                    let name = self.name()?;
                    let id = self.rule_id(name);
                    sequence.push(Symbol::Node(id));
                }
                _ => break,
            }
            last = Some(begun);
            self.space(depth > 0);
        }
        Ok(sequence)
    }

    /// A sequence as one symbol.
    fn whole(&mut self, mut sequence: Vec<Symbol>) -> Symbol {
        match (sequence.len(), sequence.pop()) {
            (1, Some(only)) => only,
            (_, None) => self.add(Node::Any(vec![Vec::new()])),
            (_, Some(last)) => {
                sequence.push(last);
                self.add(Node::Any(vec![sequence]))
            }
        }
    }

    fn times(&mut self) -> Result<(u32, Option<u32>), Unreadable> {
        match self.next() {
            Some('*') => Ok((0, None)),
            Some('+') => Ok((1, None)),
            Some('?') => Ok((0, Some(1))),
            _ => {
                self.space(true);
                let least = self.number()?;
                self.space(true);
                let most = if self.peek() == Some(',') {
                    self.next();
                    self.space(true);
                    let bounded = self.peek().is_some_and(|c| c.is_ascii_digit());
                    if bounded { Some(self.number()?) } else { None }
                } else {
                    Some(least)
                };
                self.space(true);
                self.take('}', "`}`")?;
                if most.is_some_and(|most| most < least) {
                    return Err(self.expected("a repetition whose bounds are in order"));
                }
                Ok((least, most))
            }
        }
    }

    /// A count; one that is larger than any text is long stands for that.
    fn number(&mut self) -> Result<u32, Unreadable> {
        let mut number: Option<u32> = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            self.next();
            number = Some(number.unwrap_or(0).saturating_mul(10).saturating_add(digit));
        }
        number.ok_or_else(|| self.expected("a number"))
    }

    fn literal(&mut self, sequence: &mut Vec<Symbol>) -> Result<(), Unreadable> {
        self.next();
        loop {
            match self.peek() {
                None => return Err(self.expected("the `\"` that ends a text")),
                Some('"') => break,
                Some(_) => {
                    let c = self.character()?;
                    let one = self.one(Class { ranges: vec![(c, c)], negated: false });
                    sequence.push(one);
                }
            }
        }
        self.next();
        Ok(())
    }

    fn class(&mut self) -> Result<Class, Unreadable> {
        self.next();
        let negated = self.peek() == Some('^');
        if negated {
            self.next();
        }
        let mut ranges = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.expected("the `]` that ends a class")),
                Some(']') => break,
                Some(_) => {}
            }
            let first = self.character()?;
            let mut ahead = self.rest.clone();
            let is_range = ahead.next() == Some('-') && ahead.next().is_some_and(|c| c != ']');
            let last = if is_range {
                self.next();
                self.character()?
            } else {
                first
            };
            ranges.push((first, last));
        }
        self.next();
        Ok(Class { ranges, negated })
    }

    /// A character of a text or a class, escaped or as it is.
    fn character(&mut self) -> Result<char, Unreadable> {
        match self.next() {
            Some('\\') => {}
            Some(c) => return Ok(c),
            None => return Err(self.expected("a character")),
        }
        match self.next() {
            Some('x') => self.code(2),
            Some('u') => self.code(4),
            Some('U') => self.code(8),
            Some('t') => Ok('\t'),
            Some('r') => Ok('\r'),
            Some('n') => Ok('\n'),
            Some(c) if c.is_ascii_punctuation() => Ok(c),
            _ => Err(self.expected("a known escape behind `\\`")),
        }
    }

    fn code(&mut self, digits: u32) -> Result<char, Unreadable> {
        let mut code = 0_u32;
        for _ in 0..digits {
            let digit = self.next().and_then(|c| c.to_digit(16));
            let digit = digit.ok_or_else(|| self.expected("hexadecimal digits"))?;
            code = code.wrapping_mul(16).wrapping_add(digit);
        }
        char::from_u32(code).ok_or_else(|| self.expected("the code of a character"))
    }

    fn name(&mut self) -> Result<String, Unreadable> {
        let mut name = String::new();
        while let Some(c) = self.peek().filter(|c| is_of_name(*c)) {
            name.push(c);
            self.next();
        }
        if name.is_empty() { Err(self.expected("the name of a rule")) } else { Ok(name) }
    }

    fn rule_id(&mut self, name: String) -> Id {
        if let Some((id, _)) = self.rules.get(&name) {
            return *id;
        }
        let id = self.nodes.len() as Id;
        self.nodes.push(Node::Any(Vec::new()));
        self.names.push(name.clone());
        self.rules.insert(name, (id, false));
        id
    }

    fn add(&mut self, node: Node) -> Symbol {
        self.nodes.push(node);
        Symbol::Node(self.nodes.len() as Id - 1)
    }

    fn one(&mut self, class: Class) -> Symbol {
        let next = self.classes.len() as Id;
        let id = *self.class_ids.entry(class.clone()).or_insert(next);
        if id == next {
            self.classes.push(class);
        }
        Symbol::One(id)
    }

    fn peek(&self) -> Option<char> {
        self.rest.clone().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.next();
        self.line += usize::from(next == Some('\n'));
        next
    }

    fn take(&mut self, sign: char, what: &'static str) -> Result<(), Unreadable> {
        match self.next() {
            Some(c) if c == sign => Ok(()),
            _ => Err(self.expected(what)),
        }
    }

    /// Skips white space and comments; line breaks only where a rule may go on behind them.
    fn space(&mut self, line_breaks: bool) {
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' => {}
                '\n' | '\r' if line_breaks => {}
                '#' => {
                    while self.peek().is_some_and(|c| c != '\n' && c != '\r') {
                        self.next();
                    }
                    continue;
                }
                _ => return,
            }
            self.next();
        }
    }

    fn expected(&self, what: &'static str) -> Unreadable {
        Unreadable::Expected(self.line, what)
    }
}

/// Names of llama.cpp's have no underscore, those of xgrammar's do.
fn is_of_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grammar_of_llguidance_is_named_as_such() {
        let reported = "%llguidance {}\nstart: %json {\"type\":\"object\"}";
        assert_eq!(Grammar::read(reported).unwrap_err(), Unreadable::Llguidance);
    }

    #[test]
    fn what_is_no_grammar_says_where_and_why() {
        for (text, words) in [
            ("", "there is no rule `root`"),
            ("root ::= a", "there is no rule `a`"),
            ("a ::= \"x\"", "there is no rule `root`"),
            ("root ::= \"x\nroot", "line 2: expected the `\"` that ends a text"),
            ("root ::= [a", "line 1: expected the `]` that ends a class"),
            ("root ::= (\"a\"", "line 1: expected `)`"),
            ("root ::= *", "line 1: expected something in front of a repetition"),
            ("root ::= \"a\"{3,2}", "line 1: expected a repetition whose bounds are in order"),
            ("root ::= \"\\ud800\"", "line 1: expected the code of a character"),
            ("root ::= \"\\q\"", "line 1: expected a known escape behind `\\`"),
            ("root = \"a\"", "line 1: expected `::=` behind the name of a rule"),
            ("root ::= \"a\" )", "line 1: expected the end of a rule"),
            (
                "root ::= <[220]> <[16]>",
                "line 1: it names tokens of a vocabulary, which a text alone does not show",
            ),
        ] {
            assert_eq!(Grammar::read(text).unwrap_err().to_string(), words, "{text}");
        }
        let deep = format!("root ::= {}\"a\"{}", "(".repeat(200), ")".repeat(200));
        assert_eq!(Grammar::read(&deep), Err(Unreadable::TooDeep(1)));
        assert_eq!(Grammar::read(&"#".repeat(2 << 20)), Err(Unreadable::TooLong));
    }
}
