//! Walks over a directed graph that is given edge by edge, after OpenAI's GraphWalks (openai/graphwalks, MIT):
//! its two operations and its way of grading, with graphs and words of our own.
//!
//! The walk that is asked for lies in a small core whose edges are scattered over the context; all the other
//! edges start where they cannot change the answer.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::record::{Case, Outcome, Reply, Score};
use crate::task::random::Random;
use crate::task::{Card, Harder, Needs, TaskOption};

use super::listing::{Fixed, Listing, Question, share};
use super::{
    About, CaseDraft, Closed, Draw, OUTPUT_HELP, Retrieval, THINKING, option, output_tokens, ran_out,
    read_target, tuned,
};

/// Most nodes of one depth: answers stay short.
const MAX_LEVEL: usize = 24;
/// In so many of 100 draws a filler edge starts at a new node.
const NEW_SOURCE: usize = 40;
/// In so many of 100 draws a filler edge ends at a new node.
const NEW_END: usize = 40;
/// What the last line of a reply must hold.
const MARK: &str = "Final Answer:";

static OPTIONS: &[TaskOption] = &[
    output_tokens(128, OUTPUT_HELP),
    THINKING,
    tuned(
        option("depth", "depth k of a breadth-first walk in edges; deeper is harder", 2, 1, 8),
        Harder::Larger,
    ),
    tuned(
        option("fanout", "most edges that lead on from a node of the walk; more is harder", 2, 1, 4),
        Harder::Larger,
    ),
    option("operation", "what is asked: 0 both in turn, 1 breadth-first walks, 2 parents", 0, 0, 2),
];

/// Sets of nodes that several hops lead to.
#[derive(Debug)]
pub struct GraphWalks;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    /// The nodes of the right answer, sorted.
    nodes: BTreeSet<String>,
}

impl Retrieval for GraphWalks {
    fn about(&self) -> About {
        About {
            card: Card {
                name: "retrieval/graph_walks",
                summary: "edges scattered over the context are followed for several hops, and none is missed",
                options: OPTIONS,
                needs: Needs { closed_answer: true, ..Needs::LONG },
                ..Card::PRIMARY
            },
            prefill: None,
        }
    }

    fn draft<'a>(&self, draw: &Draw<'a>) -> Box<dyn CaseDraft + 'a> {
        let (random, fanout) = (draw.random(""), draw.option("fanout") as usize);
        Box::new(match (draw.option("operation"), draw.index % 2) {
            (1, _) | (0, 0) => walk(random, draw.option("depth"), fanout),
            _ => parents(random, fanout),
        })
    }

    /// Quality is F1 of the set of nodes, the metric `exact` whether the sets are equal.
    fn judge(&self, case: &Case, reply: &Reply) -> Result<Score, Outcome> {
        let target: Target = read_target(case)?;
        let answer = reply.answer();
        let said = final_answer(&answer);
        let nodes = said.clone().unwrap_or_default();
        let wanted: BTreeSet<&str> = target.nodes.iter().map(String::as_str).collect();
        let exact = nodes == wanted;
        let score = Score::of(f1(&wanted, &nodes)).with("exact", f64::from(u8::from(exact)));
        Ok(match said {
            Some(_) if exact => score,
            _ if ran_out(reply) => score.labelled("truncated"),
            None => score.labelled("no_final_answer"),
            Some(nodes) => score.labelled(error_label(&wanted, &nodes)),
        })
    }

    fn right_answer(&self, case: &Case) -> Option<String> {
        let target: Target = read_target(case).ok()?;
        let nodes: Vec<String> = target.nodes.into_iter().collect();
        Some(format!("{MARK} [{}]", nodes.join(", ")))
    }
}

/// F1 of two sets, 0..1; 1 when both are empty.
fn f1(wanted: &BTreeSet<&str>, said: &BTreeSet<&str>) -> f64 {
    if wanted.is_empty() && said.is_empty() {
        return 1.0;
    }
    // 2 / (1 / precision + 1 / recall), written without its division by zero.
    2.0 * wanted.intersection(said).count() as f64 / (wanted.len() + said.len()) as f64
}

fn error_label(wanted: &BTreeSet<&str>, said: &BTreeSet<&str>) -> &'static str {
    match (wanted.is_subset(said), said.is_subset(wanted)) {
        (true, _) => "extra_nodes",
        (_, true) => "missing_nodes",
        _ => "other_nodes",
    }
}

/// The nodes that the last line names as `Final Answer: [a, b]`; none when it is not of that form. White
/// space behind the last line does not count.
fn final_answer(content: &str) -> Option<BTreeSet<&str>> {
    let last = content.trim_end().rsplit(['\n', '\r']).next()?;
    let (_, list) = last.split_once(MARK)?;
    let list = list.strip_prefix(' ').unwrap_or(list).strip_prefix('[')?;
    let (list, _) = list.rsplit_once(']')?;
    let nodes =
        list.split(',').map(|node| node.trim_matches(|c: char| c.is_whitespace() || "[]\"'`".contains(c)));
    Some(nodes.filter(|node| !node.is_empty()).collect())
}

/// A case that asks for the nodes at a depth.
fn walk(random: Random, depth: u32, fanout: usize) -> Listing {
    let mut graph = Graph::new(random);
    let start = graph.node();
    let mut level = vec![start];
    for _ in 0..depth {
        level = graph.next_level(&level, fanout);
    }
    // The walk must stop here, and everything may start here.
    for &last in &level {
        let beyond = graph.open_node();
        graph.link(last, beyond);
        graph.open.push(last);
    }
    let question = format!(
        "Walk the graph breadth-first from the node {}. Which nodes are at depth {depth}? These are the nodes \
         whose shortest path from {} has exactly {depth} {}.",
        graph.name(start),
        graph.name(start),
        if depth == 1 { "edge" } else { "edges" }
    );
    let nodes = level.iter().map(|&node| graph.name(node).to_owned()).collect();
    graph.listing(&question, &Target { nodes })
}

/// A case that asks which nodes have an edge to a node.
fn parents(random: Random, fanout: usize) -> Listing {
    let mut graph = Graph::new(random);
    let asked = graph.node();
    graph.closed = Some(asked);
    let count = 2 + graph.random.below(2 * fanout);
    let parents: Vec<usize> = (0..count).map(|_| graph.open_node()).collect();
    for &parent in &parents {
        graph.link(parent, asked);
    }
    // Edges the other way round: children are not parents.
    for _ in 0..fanout {
        let child = graph.open_node();
        graph.link(asked, child);
    }
    let question = format!(
        "Which nodes are the parents of the node {}? These are the nodes with an edge that leads to {}.",
        graph.name(asked),
        graph.name(asked)
    );
    let nodes = parents.iter().map(|&node| graph.name(node).to_owned()).collect();
    graph.listing(&question, &Target { nodes })
}

/// A graph that grows edge by edge.
struct Graph {
    random: Random,
    /// Names of the nodes, which are numbered in the order of their making.
    names: Vec<String>,
    taken: BTreeSet<String>,
    edges: BTreeSet<(usize, usize)>,
    /// The edges of the core.
    core: Vec<(usize, usize)>,
    /// Nodes that filler edges may start at.
    open: Vec<usize>,
    /// The node that no filler edge may lead to.
    closed: Option<usize>,
}

impl Graph {
    fn new(random: Random) -> Self {
        Self {
            random,
            names: Vec::new(),
            taken: BTreeSet::new(),
            edges: BTreeSet::new(),
            core: Vec::new(),
            open: Vec::new(),
            closed: None,
        }
    }

    fn name(&self, node: usize) -> &str {
        &self.names[node]
    }

    /// A new node of the core.
    fn node(&mut self) -> usize {
        loop {
            let name = format!("{:08x}", self.random.below(1 << 32));
            if self.taken.insert(name.clone()) {
                self.names.push(name);
                return self.names.len() - 1;
            }
        }
    }

    /// A new node that filler edges may start at.
    fn open_node(&mut self) -> usize {
        let node = self.node();
        self.open.push(node);
        node
    }

    /// An edge of the core, unless it is there.
    fn link(&mut self, from: usize, to: usize) {
        if self.edges.insert((from, to)) {
            self.core.push((from, to));
        }
    }

    /// New nodes one edge further than `level`. Some have two ways in, and some edges lead back: neither makes
    /// a path shorter.
    fn next_level(&mut self, level: &[usize], fanout: usize) -> Vec<usize> {
        let earlier = self.names.len();
        let mut next = Vec::new();
        for &from in level {
            for _ in 0..1 + self.random.below(fanout) {
                let shared = !next.is_empty() && self.random.chance(25);
                if shared || next.len() >= MAX_LEVEL {
                    let to = next[self.random.below(next.len())];
                    self.link(from, to);
                } else {
                    let to = self.node();
                    self.link(from, to);
                    next.push(to);
                }
            }
        }
        let (from, to) = (next[self.random.below(next.len())], self.random.below(earlier));
        self.link(from, to);
        next
    }

    /// One more edge that does not change the answer.
    fn filler(&mut self) -> (usize, usize) {
        loop {
            let from = if self.open.is_empty() || self.random.chance(NEW_SOURCE) {
                self.open_node()
            } else {
                self.open[self.random.below(self.open.len())]
            };
            let to = if self.random.chance(NEW_END) {
                self.open_node()
            } else {
                self.random.below(self.names.len())
            };
            if from != to && Some(to) != self.closed && self.edges.insert((from, to)) {
                return (from, to);
            }
        }
    }

    fn edge(&self, (from, to): (usize, usize)) -> String {
        format!("{} -> {}", self.names[from], self.names[to])
    }

    fn listing(mut self, question: &str, target: &Target) -> Listing {
        let core = std::mem::take(&mut self.core);
        let fixed =
            core.into_iter().map(|edge| Fixed::new(share(&mut self.random), self.edge(edge))).collect();
        let question = format!(
            "{question} Leave out all other nodes. The last line of your reply must have this form, with the \
             nodes in any order:\n{MARK} [node, node]"
        );
        let next = move || {
            let edge = self.filler();
            self.edge(edge)
        };
        let nodes: Vec<(&str, Option<f64>)> = target.nodes.iter().map(|node| (node.as_str(), None)).collect();
        let closed = Some(Closed::enclosed(MARK, "[", &nodes));
        let question = Question { text: question, target: json!(target), closed };
        Listing::new(INTRO.into(), vec![question], fixed, next)
    }
}

const INTRO: &str = "Below is a directed graph, one edge on each line: `a -> b` is an edge that leads from the \
                     node a to the node b. You will be asked about it.";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{judge, judged, make, messages, with};
    use super::*;
    use crate::record::FinishReason;
    use crate::task::Task;
    use crate::task::testing::WordCounter;

    fn edges(case: &Case) -> Vec<(&str, &str)> {
        messages(case)[0]
            .content
            .lines()
            .filter_map(|line| line.split_once(" -> "))
            .filter(|e| e.0.len() == 8)
            .collect()
    }

    fn nodes(case: &Case) -> BTreeSet<String> {
        read_target::<Target>(case).unwrap().nodes
    }

    /// The text behind `before`, up to the next character that no number or node has.
    fn word_after<'a>(text: &'a str, before: &str) -> &'a str {
        text.split_once(before).unwrap().1.split(|c: char| !c.is_alphanumeric()).next().unwrap()
    }

    /// Answers the question of the prompt from the prompt alone. Depths by relaxing all edges until nothing
    /// changes (Bellman and Ford), not by a walk.
    fn solve(case: &Case) -> BTreeSet<String> {
        let text = &messages(case)[0].content;
        let edges = edges(case);
        if text.contains("the parents of the node ") {
            let asked = word_after(text, "the parents of the node ");
            return edges.iter().filter(|edge| edge.1 == asked).map(|edge| edge.0.to_owned()).collect();
        }
        let start = word_after(text, "breadth-first from the node ");
        let depth: usize = word_after(text, "Which nodes are at depth ").parse().unwrap();
        let mut depths = std::collections::BTreeMap::from([(start, 0_usize)]);
        loop {
            let mut changed = false;
            for &(from, to) in &edges {
                let Some(&at) = depths.get(from) else { continue };
                if depths.get(to).is_none_or(|&known| known > at + 1) {
                    depths.insert(to, at + 1);
                    changed = true;
                }
            }
            if !changed {
                break;
            }
        }
        depths.into_iter().filter(|&(_, at)| at == depth).map(|(node, _)| node.to_owned()).collect()
    }

    #[test]
    fn a_solver_of_its_own_finds_the_same_nodes() {
        proptest!(ProptestConfig::with_cases(40), |(seed: u64, depth in 1_u32..=5, fanout in 1_u32..=4)| {
            let options = [("depth", depth), ("fanout", fanout), ("output_tokens", 1024)];
            let cases = GraphWalks.cases(&with(8192, 2, &options), seed, &WordCounter::default()).unwrap();
            for case in &cases {
                prop_assert_eq!(solve(case), nodes(case));
                prop_assert!(!nodes(case).is_empty());
            }
        });
    }

    #[test]
    fn edges_are_different_and_the_core_is_scattered() {
        let case = &make(&GraphWalks, 8192, 1, &[("operation", 1), ("depth", 3)])[0];
        let edges = edges(case);
        assert!(edges.len() > 300);
        assert_eq!(edges.iter().collect::<BTreeSet<_>>().len(), edges.len());
        assert!(edges.iter().all(|edge| edge.0 != edge.1));
        let text = &messages(case)[0].content;
        let start = word_after(text, "breadth-first from the node ");
        let places: Vec<usize> = (0..edges.len())
            .filter(|&at| edges[at].0 == start || nodes(case).contains(edges[at].1))
            .collect();
        assert!(places.last().unwrap() - places[0] > edges.len() / 10, "{places:?}");
        // The start is in no way the only node that is followed: others have as many edges.
        let degree = |node: &str| edges.iter().filter(|edge| edge.0 == node).count();
        assert!(edges.iter().any(|edge| degree(edge.0) > degree(start)));
    }

    #[test]
    fn both_operations_are_asked_in_turn() {
        let asked = |operation| {
            let cases = make(&GraphWalks, 2048, 4, &[("operation", operation)]);
            let parents = |case: &Case| messages(case)[0].content.contains("the parents of");
            cases.iter().map(parents).collect::<Vec<_>>()
        };
        assert_eq!(asked(0), [false, true, false, true]);
        assert_eq!(asked(1), [false; 4]);
        assert_eq!(asked(2), [true; 4]);
    }

    #[test]
    fn deep_walks_fit_and_answers_stay_short() {
        let options = [("depth", 8), ("fanout", 4), ("operation", 1), ("output_tokens", 512)];
        for case in make(&GraphWalks, 16_384, 3, &options) {
            assert!(nodes(&case).len() <= MAX_LEVEL);
            assert_eq!(solve(&case), nodes(&case));
        }
    }

    #[test]
    fn the_last_line_is_read() {
        let read = |text| final_answer(text).map(|nodes| nodes.into_iter().collect::<Vec<_>>().join(" "));
        for (text, nodes) in [
            ("Final Answer: [a, b]", Some("a b")),
            ("Final Answer:[b,a,a]\n\n", Some("a b")),
            ("thoughts\r\n**Final Answer: [a]**", Some("a")),
            ("So: Final Answer: [\"a\", `b`]", Some("a b")),
            ("Final Answer: []", Some("")),
            ("Final Answer: [ , ,]", Some("")),
            ("Final Answer: [a]\nThat is all.", None),
            ("Final Answer: a, b", None),
            ("Final Answer: [a, b", None),
            ("final answer: [a]", None),
            ("[a, b]", None),
            ("", None),
        ] {
            assert_eq!(read(text).as_deref(), nodes, "{text}");
        }
    }

    #[test]
    fn scores_are_f1_and_errors_get_their_label() {
        let mut case = make(&GraphWalks, 1024, 1, &[]).remove(0);
        case.target = json!({"nodes": ["a", "b", "c", "d"]});
        let cases: [(&str, f64, Option<&str>); 6] = [
            ("Final Answer: [d, c, b, a]", 1.0, None),
            ("Final Answer: [a, b, c, d, e, f]", 0.8, Some("extra_nodes")),
            ("Final Answer: [a, b]", 2.0 / 3.0, Some("missing_nodes")),
            ("Final Answer: [a, b, x, y]", 0.5, Some("other_nodes")),
            ("Final Answer: [x]", 0.0, Some("other_nodes")),
            ("a, b, c, d", 0.0, Some("no_final_answer")),
        ];
        for (content, quality, label) in cases {
            let (found, said) = judged(&GraphWalks, &case, content);
            assert!((found - quality).abs() < 1e-12, "{content}: {found}");
            assert_eq!(said.as_deref(), label, "{content}");
        }
        assert_eq!(
            judge(&GraphWalks, &case, "Final Answer: [a, ", FinishReason::Length).1,
            Some("truncated".into())
        );
        let exact = |content: &str| {
            let reply = Reply { content: content.into(), ..Reply::default() };
            GraphWalks.score(&case, &reply).score().unwrap().metrics["exact"]
        };
        assert_eq!((exact("Final Answer: [a,b,c,d]"), exact("Final Answer: [a,b,c]")), (1.0, 0.0));
    }
}
