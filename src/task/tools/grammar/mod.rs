//! Grammars of llama.cpp (GBNF), and what can be written in them: what a server really holds replies to.
//!
//! A grammar comes from a server and a text from a model: both are hostile. The reader refuses what is too large or nested too
//! deep; the matcher counts its steps and gives up at a limit. Counted repetitions (`{2,2000}`) are counted, not unrolled.
//!
//! | module | what it does |
//! |---|---|
//! | [`read`] | from GBNF to a [`Grammar`] |
//! | [`chart`] | which prefixes a grammar allows (Earley's algorithm, over a lattice of texts) |
//! | [`writings`] | whether a JSON value can be written at all: in any order of its keys, with any escapes |

pub mod chart;
pub mod read;
pub mod writings;

/// Matching would have taken more steps than it was allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("matching it takes more steps than the limits allow")]
pub struct OverLimit;

/// A number of a [`Node`] or a [`Class`].
pub(super) type Id = u32;

/// A grammar that can be matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grammar {
    nodes: Vec<Node>,
    classes: Vec<Class>,
    root: Id,
    /// Which nodes can be the empty text.
    empty: Vec<bool>,
}

/// What may stand at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    /// Any one of these sequences.
    Any(Vec<Vec<Symbol>>),
    /// The same over and over.
    Repeat {
        body: Symbol,
        least: u32,
        /// `None`: without end.
        most: Option<u32>,
    },
}

/// A part of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Symbol {
    /// One character of a class.
    One(Id),
    /// Whatever a node allows.
    Node(Id),
}

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Class {
    /// First and last of each range.
    ranges: Vec<(char, char)>,
    /// All others instead.
    negated: bool,
}

impl Class {
    fn holds(&self, c: char) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != self.negated
    }
}

impl Grammar {
    fn new(nodes: Vec<Node>, classes: Vec<Class>, root: Id) -> Self {
        let empty = empty_nodes(&nodes);
        Self { nodes, classes, root, empty }
    }

    fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    fn can_be_empty(&self, symbol: Symbol) -> bool {
        match symbol {
            Symbol::One(_) => false,
            Symbol::Node(id) => self.empty[id as usize],
        }
    }
}

/// Which nodes can be the empty text: the least fixed point, in time linear in the grammar. Of every sequence those parts are counted
/// that are not known to be empty; none left makes its node empty, and so lowers the counts where that stands.
fn empty_nodes(nodes: &[Node]) -> Vec<bool> {
    let mut empty = vec![false; nodes.len()];
    let mut open: Vec<usize> = Vec::new();
    let mut sequences: Vec<(usize, usize)> = Vec::new();
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (at, node) in nodes.iter().enumerate() {
        for sequence in ways_to_be_empty(node) {
            if sequence.is_empty() {
                open.push(at);
            }
            for symbol in sequence {
                if let Symbol::Node(id) = symbol {
                    users[*id as usize].push(sequences.len());
                }
            }
            // A character is a part that never goes.
            sequences.push((at, sequence.len()));
        }
    }
    while let Some(at) = open.pop() {
        if std::mem::replace(&mut empty[at], true) {
            continue;
        }
        for &sequence in &users[at] {
            let (owner, left) = &mut sequences[sequence];
            *left -= 1;
            if *left == 0 {
                open.push(*owner);
            }
        }
    }
    empty
}

/// Sequences of which one that is empty makes the node empty.
fn ways_to_be_empty(node: &Node) -> Vec<&[Symbol]> {
    match node {
        Node::Any(sequences) => sequences.iter().map(Vec::as_slice).collect(),
        Node::Repeat { least: 0, .. } => vec![&[]],
        Node::Repeat { body, .. } => vec![std::slice::from_ref(body)],
    }
}
