//! Which texts a grammar allows: Earley's algorithm (J. Earley, An efficient context-free parsing algorithm, CACM 13, 1970), with
//! the treatment of empty rules by J. Aycock and R. N. Horspool (Practical Earley parsing, The Computer Journal 45, 2002).
//!
//! The input is no line but a lattice: from a place several texts may lead on, and meet again ([`Chart::meet`]). So all ways to
//! write a value are tried together, and none of them twice.

use std::collections::{HashMap, HashSet};

use super::{Grammar, Id, Node, OverLimit, Symbol};

/// A place between two characters; every text that leads there is taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(u32);

/// A rule that was begun at a place and not ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Item {
    node: Id,
    /// Which of its sequences; 0 for a repetition.
    sequence: u32,
    /// Parts of the sequence that are there; for a repetition how often its body is, as far as that matters.
    dot: u32,
    origin: Place,
}

/// What can go on at a place.
#[derive(Debug, Default)]
struct Set {
    items: Vec<Item>,
    seen: HashSet<Item>,
    /// The items that wait for a node.
    waiting: HashMap<Id, Vec<Item>>,
    /// The items that wait for a character, and for which class.
    open: Vec<(Item, Id)>,
    /// Whether the grammar may end here.
    end: bool,
}

/// What a grammar allows of the texts that were written so far.
#[derive(Debug)]
pub struct Chart<'g> {
    grammar: &'g Grammar,
    sets: Vec<Set>,
    /// Steps that are left.
    left: u32,
}

impl<'g> Chart<'g> {
    /// A chart with nothing written, which takes so many steps at most.
    ///
    /// # Errors
    /// When the beginning alone takes more.
    pub fn new(grammar: &'g Grammar, steps: u32) -> Result<Self, OverLimit> {
        let mut chart = Self { grammar, sets: Vec::new(), left: steps };
        chart.sets.push(Set::default());
        chart.begin(0, grammar.root)?;
        chart.close(0)?;
        Ok(chart)
    }

    /// The beginning of all texts.
    pub const fn start(&self) -> Place {
        Place(0)
    }

    /// Whether a text that leads to this place is whole.
    pub fn may_end(&self, place: Place) -> bool {
        self.sets[place.0 as usize].end
    }

    /// Steps that are left; none after one was refused.
    pub const fn left(&self) -> u32 {
        self.left
    }

    /// Where a text leads from a place; `None`: the grammar does not allow it there.
    ///
    /// # Errors
    /// When that takes more steps than are left.
    pub fn write(&mut self, from: Place, text: &str) -> Result<Option<Place>, OverLimit> {
        let mut place = from;
        for c in text.chars() {
            match self.step(place, c)? {
                Some(next) => place = next,
                None => return Ok(None),
            }
        }
        Ok(Some(place))
    }

    /// One place for several: from there goes on what goes on from any of them. `None` for none.
    ///
    /// # Errors
    /// As [`Chart::write`].
    pub fn meet(&mut self, places: &[Place]) -> Result<Option<Place>, OverLimit> {
        let (Some(first), at) = (places.first(), self.sets.len()) else { return Ok(None) };
        if places.len() == 1 {
            return Ok(Some(*first));
        }
        self.sets.push(Set::default());
        for place in places {
            // What was begun there is begun here once more; but for the root, which nothing waits for.
            let items = self.sets[place.0 as usize].items.clone();
            for item in items.into_iter().filter(|item| item.origin != *place || item.origin == Place(0)) {
                self.add(at, item)?;
            }
        }
        self.close(at)?;
        Ok(Some(Place(at as u32)))
    }

    fn step(&mut self, from: Place, c: char) -> Result<Option<Place>, OverLimit> {
        let grammar = self.grammar;
        let at = self.sets.len();
        let open = &self.sets[from.0 as usize].open;
        let (looked_at, fits) = (open.len(), |class: Id| grammar.classes[class as usize].holds(c));
        let next: Vec<Item> =
            open.iter().filter(|(_, class)| fits(*class)).map(|(item, _)| self.advanced(*item)).collect();
        self.spend(looked_at)?;
        if next.is_empty() {
            return Ok(None);
        }
        self.sets.push(Set::default());
        for item in next {
            self.add(at, item)?;
        }
        self.close(at)?;
        Ok(Some(Place(at as u32)))
    }

    fn spend(&mut self, steps: usize) -> Result<(), OverLimit> {
        let steps = u32::try_from(steps).unwrap_or(u32::MAX);
        let left = self.left.checked_sub(steps);
        self.left = left.unwrap_or(0);
        left.map(|_| ()).ok_or(OverLimit)
    }

    fn add(&mut self, at: usize, item: Item) -> Result<(), OverLimit> {
        self.spend(1)?;
        let set = &mut self.sets[at];
        if set.seen.insert(item) {
            set.items.push(item);
        }
        Ok(())
    }

    /// Adds what a node may begin with.
    fn begin(&mut self, at: usize, node: Id) -> Result<(), OverLimit> {
        let sequences = match self.grammar.node(node) {
            Node::Any(sequences) => sequences.len() as u32,
            Node::Repeat { .. } => 1,
        };
        let origin = Place(at as u32);
        (0..sequences).try_for_each(|sequence| self.add(at, Item { node, sequence, dot: 0, origin }))
    }

    /// Follows everything that can be said without a further character.
    fn close(&mut self, at: usize) -> Result<(), OverLimit> {
        let mut done = 0;
        while let Some(&item) = self.sets[at].items.get(done) {
            done += 1;
            if self.is_whole(item) {
                self.complete(at, item)?;
            }
            match self.awaited(item) {
                Some(Symbol::One(class)) => self.sets[at].open.push((item, class)),
                Some(Symbol::Node(node)) => self.await_node(at, item, node)?,
                None => {}
            }
        }
        Ok(())
    }

    fn await_node(&mut self, at: usize, item: Item, node: Id) -> Result<(), OverLimit> {
        let waiting = self.sets[at].waiting.entry(node).or_default();
        waiting.push(item);
        if waiting.len() == 1 {
            self.begin(at, node)?;
        }
        let repeats = matches!(self.grammar.node(item.node), Node::Repeat { .. });
        // A repetition with an empty body has no least number: see `least`.
        if self.grammar.can_be_empty(Symbol::Node(node)) && !repeats {
            self.add(at, self.advanced(item))?;
        }
        Ok(())
    }

    fn complete(&mut self, at: usize, item: Item) -> Result<(), OverLimit> {
        if item.node == self.grammar.root && item.origin == Place(0) {
            self.sets[at].end = true;
        }
        // What began here and is empty was stepped over where it was awaited.
        if item.origin.0 as usize == at {
            return Ok(());
        }
        let waiting = self.sets[item.origin.0 as usize].waiting.get(&item.node);
        let waiting = waiting.cloned().unwrap_or_default();
        waiting.into_iter().try_for_each(|waiting| self.add(at, self.advanced(waiting)))
    }

    fn is_whole(&self, item: Item) -> bool {
        match self.grammar.node(item.node) {
            Node::Any(sequences) => item.dot as usize == sequences[item.sequence as usize].len(),
            Node::Repeat { body, least, .. } => item.dot >= self.least(*body, *least),
        }
    }

    fn awaited(&self, item: Item) -> Option<Symbol> {
        match self.grammar.node(item.node) {
            Node::Any(sequences) => sequences[item.sequence as usize].get(item.dot as usize).copied(),
            Node::Repeat { body, most, .. } => most.is_none_or(|most| item.dot < most).then_some(*body),
        }
    }

    fn advanced(&self, item: Item) -> Item {
        let dot = match self.grammar.node(item.node) {
            // Beyond its least number one that has no end is the same however often.
            Node::Repeat { body, least, most: None } => (item.dot + 1).min(self.least(*body, *least)),
            _ => item.dot + 1,
        };
        Item { dot, ..item }
    }

    /// How often a body has to be there: where it can be empty, it is as often as anybody likes.
    fn least(&self, body: Symbol, least: u32) -> u32 {
        if self.grammar.can_be_empty(body) { 0 } else { least }
    }
}

impl Grammar {
    /// Whether a text is one of the grammar's, in so many steps at most.
    ///
    /// # Errors
    /// When that takes more steps.
    pub fn accepts(&self, text: &str, steps: u32) -> Result<bool, OverLimit> {
        let mut chart = Chart::new(self, steps)?;
        let end = chart.write(chart.start(), text)?;
        Ok(end.is_some_and(|end| chart.may_end(end)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STEPS: u32 = 1_000_000;

    fn accepts(grammar: &str, text: &str) -> bool {
        Grammar::read(grammar).unwrap().accepts(text, STEPS).unwrap()
    }

    #[test]
    fn texts_are_told_from_others() {
        for (grammar, yes, no) in [
            ("root ::= \"a\"", vec!["a"], vec!["", "b", "aa"]),
            ("root ::=", vec![""], vec!["a"]),
            ("root ::= \"a\" | \"b\" \"c\"", vec!["a", "bc"], vec!["b", "ac"]),
            ("root ::= [a-c^\\]] [^a-c]", vec!["a!", "^é", "]🦀"], vec!["d!", "ab"]),
            ("root ::= \"ab\"*", vec!["", "ab", "abab"], vec!["aba", "abb"]),
            ("root ::= \"ab\"{2,3}", vec!["abab", "ababab"], vec!["ab", "abababab"]),
            ("root ::= [0-9]{2} [a-]{,}", vec![], vec![]),
            ("root ::= .? \"x\"+", vec!["x", "xx", "éxx"], vec!["", "yy"]),
            ("root ::= a # says\n  # more\na ::= (\n \"x\" |\n \"y\" )\n", vec!["x", "y"], vec!["xy"]),
            ("root ::= \"(\" root \")\" | \"\"", vec!["", "(())"], vec!["(()"]),
            // Left recursion, hidden left recursion, and a circle of empty rules.
            ("root ::= root \"a\" | \"b\"", vec!["b", "baa"], vec!["", "a"]),
            ("root ::= e root \"a\" | \"b\"\ne ::= \"\" | \"x\"", vec!["ba", "xba", "xxbaa"], vec!["xa"]),
            ("root ::= a | \"z\"\na ::= b\nb ::= a | \"\"", vec!["", "z"], vec!["a"]),
            ("root ::= (\"\" | \"a\"){3,5}", vec!["", "aaaaa"], vec!["aaaaaa"]),
            ("root ::= (\"a\"*)*", vec!["", "aaa"], vec!["b"]),
            ("root ::= \"\\x41\\u00e9\\U0001F980\\n\\\"\\\\\"", vec!["Aé🦀\n\"\\"], vec!["Aé🦀"]),
        ] {
            let Ok(grammar) = Grammar::read(grammar) else {
                assert!(yes.is_empty(), "{grammar}");
                continue;
            };
            yes.iter()
                .for_each(|text| assert_eq!(grammar.accepts(text, STEPS), Ok(true), "{grammar:?} {text}"));
            no.iter()
                .for_each(|text| assert_eq!(grammar.accepts(text, STEPS), Ok(false), "{grammar:?} {text}"));
        }
    }

    #[test]
    fn a_huge_repetition_costs_what_the_text_does() {
        assert!(accepts("root ::= [a-z]{2,4000000000}", &"a".repeat(1000)));
        assert!(!accepts("root ::= [a-z]{1001,}", &"a".repeat(1000)));
        assert!(accepts("root ::= ([a-z]{0,2000}){0,4000000000}", "abc"));
    }

    #[test]
    fn a_hostile_grammar_gives_up() {
        let grammar = Grammar::read("root ::= root root root | \"a\" | \"\"").unwrap();
        assert_eq!(grammar.accepts(&"a".repeat(3000), STEPS), Err(OverLimit));
        // Many rules that all begin at once, at every character.
        let rules: String = (0..2000).map(|n| format!("r{n} ::= \"a\" root? | [^b] root?\n")).collect();
        let any: Vec<String> = (0..2000).map(|n| format!("r{n}")).collect();
        let grammar = Grammar::read(&format!("root ::= {}\n{rules}", any.join(" | "))).unwrap();
        assert_eq!(grammar.accepts(&"a".repeat(3000), STEPS), Err(OverLimit));
    }

    #[test]
    fn a_long_chain_of_empty_rules_is_read_in_no_time() {
        // Each rule is known to be empty only after all behind it, and each stands in the root.
        let names: Vec<String> = (0..40_000).map(|n| format!("r{n}")).collect();
        let rules: String = names.iter().map(|name| format!("{name} ::= \"\"\n")).collect();
        let grammar = Grammar::read(&format!("{rules}root ::= {}\n", names.join(" "))).unwrap();
        assert_eq!(grammar.accepts("", STEPS), Ok(true));
    }

    #[test]
    fn texts_that_meet_go_on_as_one() {
        let grammar = Grammar::read("root ::= (\"ab\" | \"c\") \"d\" [0-9]*").unwrap();
        let mut chart = Chart::new(&grammar, STEPS).unwrap();
        let start = chart.start();
        let ends: Vec<Place> =
            ["ab", "c", "x"].iter().filter_map(|text| chart.write(start, text).unwrap()).collect();
        assert_eq!(ends.len(), 2);
        let met = chart.meet(&ends).unwrap().unwrap();
        assert!(!chart.may_end(met));
        let end = chart.write(met, "d12").unwrap().unwrap();
        assert!(chart.may_end(end));
        assert_eq!(chart.meet(&[]), Ok(None));
    }

    /// A small grammar as text, and as a regular expression.
    fn regular() -> impl Strategy<Value = (String, String)> {
        let leaf = prop_oneof![
            Just(("\"a\"".to_owned(), "a".to_owned())),
            Just(("\"bc\"".to_owned(), "(?:bc)".to_owned())),
            Just(("[a-b]".to_owned(), "[a-b]".to_owned())),
            Just(("[^a]".to_owned(), "[^a]".to_owned())),
            Just(("\"\"".to_owned(), "(?:a{0})".to_owned())),
        ];
        leaf.prop_recursive(4, 24, 3, |inner| {
            let times =
                prop_oneof![Just("*"), Just("+"), Just("?"), Just("{2}"), Just("{1,3}"), Just("{2,}")];
            prop_oneof![
                (inner.clone(), times).prop_map(|((g, r), t)| (format!("({g}){t}"), format!("(?:{r}){t}"))),
                (inner.clone(), inner.clone())
                    .prop_map(|((g, r), (h, s))| (format!("({g} {h})"), format!("(?:{r}{s})"))),
                (inner.clone(), inner)
                    .prop_map(|((g, r), (h, s))| (format!("({g} | {h})"), format!("(?:{r}|{s})"))),
            ]
        })
    }

    proptest! {
        #[test]
        fn regular_grammars_are_matched_as_regular_expressions_are(
            (grammar, expression) in regular(), texts in proptest::collection::vec("[abc]{0,7}", 8),
        ) {
            let schema = serde_json::json!({"pattern": format!("^(?:{expression})$")});
            // An empty text that is repeated is no expression to every engine.
            let Ok(schema) = crate::task::tools::schema::Schema::compile(&schema) else { return Ok(()) };
            let grammar = Grammar::read(&format!("root ::= {grammar}")).unwrap();
            for text in texts {
                use crate::task::tools::schema::Judgement;
                let judged = schema.judge(&serde_json::json!(text));
                prop_assume!(judged != Judgement::OverLimit);
                prop_assert_eq!(grammar.accepts(&text, STEPS), Ok(judged == Judgement::Valid), "{}", text);
            }
        }

        #[test]
        fn anything_is_read_and_matched_or_refused(grammar in "(root|a) ::= [\"()|*+?{}0-9a\\[\\]^-]{0,30}", text in "[a0]{0,9}") {
            if let Ok(grammar) = Grammar::read(&grammar) {
                let _ = grammar.accepts(&text, 10_000);
            }
        }
    }
}
