//! Many numbered blocks, and code words that belong into some of them: a plan that has to be kept over a long reply.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{option, ran_out, read_target, short_case};
use crate::error::Result;
use crate::record::{Case, Outcome, Reply, Score};
use crate::task::random::Random;
use crate::task::words::NOUNS;
use crate::task::{Card, Harder, Needs, Params, Task, TaskOption, TokenCounter};

/// What a block begins with.
const HEAD: &str = "Block";

static OPTIONS: &[TaskOption] = &[
    TaskOption {
        difficulty: Some(Harder::Larger),
        ..option("blocks", "numbered blocks to write", 12, 6, 400)
    },
    option("block_tokens", "output budget of a block in tokens", 64, 24, 1024),
];

/// Code words: no tokenizer's text has them by chance.
const CODE_WORDS: &[&str] = &[
    "ALDEBARAN",
    "BASALT",
    "CORMORANT",
    "DAMASK",
    "EIDER",
    "FELDSPAR",
    "GOSSAMER",
    "HALYARD",
    "ISINGLASS",
    "JASPER",
    "KESTREL",
    "LAZULI",
    "MARLIN",
    "NACRE",
    "OBSIDIAN",
    "PUMICE",
    "QUARTZ",
    "ROSEWOOD",
    "SEXTANT",
    "TOURMALINE",
];

/// The task `coherence/block_plan`.
#[derive(Debug)]
pub struct BlockPlan;

/// The blocks that a code word belongs into.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rule {
    word: String,
    blocks: BTreeSet<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Target {
    blocks: u32,
    /// Once, in a range, every k.
    rules: Vec<Rule>,
}

impl Task for BlockPlan {
    fn card(&self) -> Card {
        Card {
            name: "coherence/block_plan",
            summary: "numbered blocks with code words once, in a range and every k-th: a plan kept over a long reply",
            options: OPTIONS,
            needs: Needs::SHORT,
            figures: &["completion", "once", "range", "every"],
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), "blocks").saturating_mul(params.option(&self.card(), "block_tokens"))
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let case = |index| {
            let mut random = Random::of_case(seed, self.card().name, params.context, index);
            let plan = Plan::draw(&mut random, params.option(&self.card(), "blocks"));
            short_case(self, params, index, plan.text(), json!(plan.target()), tokens)
        };
        (0..params.samples).map(case).collect()
    }

    /// Quality is completion times the mean of the three rules. `completion` is the share of the blocks that are
    /// there, in order and not empty; a rule (`once`, `range`, `every`) is the number of blocks that rightly have its
    /// word, by the number of those that should or do have it.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let target: Target = match read_target(case) {
            Ok(target) => target,
            Err(outcome) => return outcome,
        };
        let answer = reply.answer();
        let blocks = blocks(&answer, target.blocks);
        let completion = blocks.len() as f64 / f64::from(target.blocks.max(1));
        let kept: Vec<f64> = target.rules.iter().map(|rule| rule.kept(&blocks)).collect();
        let accuracy = kept.iter().sum::<f64>() / kept.len().max(1) as f64;
        let mut score = Score::of((completion * accuracy).clamp(0.0, 1.0)).with("completion", completion);
        for (name, kept) in ["once", "range", "every"].into_iter().zip(&kept) {
            score = score.with(name, *kept);
        }
        Outcome::Scored(match error(completion, &kept, reply) {
            Some(label) => score.labelled(label),
            None => score,
        })
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target: Target = read_target(case).ok()?;
        let lines = (1..=target.blocks).map(|number| {
            let words = target.rules.iter().filter(|rule| rule.blocks.contains(&number));
            let words: String = words.map(|rule| format!(" {}", rule.word)).collect();
            format!("{HEAD} {number}: Nothing new.{words}")
        });
        Some(Reply { content: lines.collect::<Vec<_>>().join("\n"), ..Reply::default() })
    }
}

fn error(completion: f64, kept: &[f64], reply: &Reply) -> Option<&'static str> {
    match () {
        () if completion < 1.0 && ran_out(reply) => Some("truncated"),
        () if completion < 1.0 => Some("blocks missing"),
        () if kept.iter().any(|kept| *kept < 1.0) => Some("rule broken"),
        () => None,
    }
}

impl Rule {
    /// Blocks that rightly have the word by those that should or do (0..1).
    fn kept(&self, blocks: &BTreeMap<u32, &str>) -> f64 {
        let has = |text: &str| text.split(|c: char| !c.is_alphanumeric()).any(|word| word == self.word);
        let found: BTreeSet<u32> =
            blocks.iter().filter(|(_, text)| has(text)).map(|(number, _)| *number).collect();
        let either = self.blocks.union(&found).count();
        self.blocks.intersection(&found).count() as f64 / either.max(1) as f64
    }
}

/// The blocks of a reply by number: those whose heads come in ascending order, with some text. A head is a line that
/// begins with `Block` and a number, whatever Markdown stands around them.
fn blocks(text: &str, most: u32) -> BTreeMap<u32, &str> {
    let mut heads: Vec<(u32, usize, usize)> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let number = head(line).filter(|(number, _)| (1..=most).contains(number));
        if let Some((number, length)) = number
            && heads.last().is_none_or(|(before, ..)| *before < number)
        {
            heads.push((number, at, at + length));
        }
        at += line.len();
    }
    let ends = heads.iter().skip(1).map(|(_, start, _)| *start).chain([text.len()]);
    let block = |((number, _, body), end): (&(u32, usize, usize), usize)| (*number, text[*body..end].trim());
    let has_text = |(_, body): &(u32, &str)| body.chars().any(char::is_alphanumeric);
    heads.iter().zip(ends).map(block).filter(has_text).collect()
}

/// The number of a block's head, and how many bytes of the line it takes.
fn head(line: &str) -> Option<(u32, usize)> {
    let name = line.trim_start_matches(|c: char| c.is_whitespace() || "#*_>-".contains(c));
    let rest = name.strip_prefix(HEAD)?.trim_start_matches([' ', '\u{a0}', '#']);
    let behind = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = rest[..rest.len() - behind.len()].parse().ok()?;
    Some((number, line.len() - behind.len()))
}

/// What a case asks for.
struct Plan {
    blocks: u32,
    words: [&'static str; 3],
    once: u32,
    range: (u32, u32),
    every: u32,
    topic: &'static str,
}

impl Plan {
    fn draw(random: &mut Random, blocks: u32) -> Self {
        let mut words = CODE_WORDS.to_vec();
        random.shuffle(&mut words);
        // Late enough to be forgotten: the plan is stated before the first block.
        let once = random.between(blocks / 2, blocks);
        let length = (blocks / 4).max(2);
        let from = random.between(blocks / 4 + 1, blocks - length);
        Self {
            blocks,
            words: [words[0], words[1], words[2]],
            once,
            range: (from, from + length),
            every: random.between(2, (blocks / 3).clamp(2, 5)),
            topic: random.pick(NOUNS),
        }
    }

    fn text(&self) -> String {
        let Self { blocks, words: [once, range, every], topic, .. } = self;
        let (from, to) = self.range;
        let k = self.every;
        format!(
            "Write a logbook about a {topic} in exactly {blocks} numbered blocks. Begin each block on a new line with \
             `{HEAD} 1:`, `{HEAD} 2:` and so on up to `{HEAD} {blocks}:`, followed by one short sentence.\n\n\
             Code words have to be in some of the blocks, in capital letters as they stand here:\n\
             - {once}: in block {}, and in no other block.\n\
             - {range}: in every block from {from} to {to}, and in no other block.\n\
             - {every}: in every block whose number is divisible by {k} ({k}, {}, ...), and in no other block.\n\n\
             Write only the blocks, without a word before or after them.",
            self.once,
            2 * k
        )
    }

    fn target(&self) -> Target {
        let rule = |word: &str, blocks: BTreeSet<u32>| Rule { word: word.into(), blocks };
        let [once, range, every] = self.words;
        let (from, to) = self.range;
        Target {
            blocks: self.blocks,
            rules: vec![
                rule(once, BTreeSet::from([self.once])),
                rule(range, (from..=to).collect()),
                rule(every, (1..=self.blocks).filter(|number| number.is_multiple_of(self.every)).collect()),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::FinishReason;
    use crate::task::testing::{WordCounter, params};

    fn case() -> Case {
        let rule =
            |word: &str, blocks: &[u32]| Rule { word: word.into(), blocks: blocks.iter().copied().collect() };
        let target = Target {
            blocks: 4,
            rules: vec![rule("KESTREL", &[3]), rule("NACRE", &[2, 3]), rule("QUARTZ", &[2, 4])],
        };
        let mut case = BlockPlan.cases(&params(2048, 1, None), 1, &WordCounter::default()).unwrap().remove(0);
        case.target = json!(target);
        case
    }

    fn judged(content: &str) -> Score {
        BlockPlan
            .score(&case(), &Reply { content: content.into(), ..Reply::default() })
            .score()
            .unwrap()
            .clone()
    }

    const RIGHT: &str =
        "Block 1: Calm.\nBlock 2: Fog, NACRE and QUARTZ.\nBlock 3: KESTREL; NACRE.\nBlock 4: QUARTZ!";

    #[test]
    fn what_keeps_the_plan_is_right_in_any_dress() {
        for content in [
            RIGHT.to_owned(),
            RIGHT.replace("Block", "**Block").replace(':', ":**\n"),
            RIGHT.replace("Block", "### Block").replace(": ", " - "),
            format!("Here is the logbook:\n\n{}", RIGHT.replace('\n', "\n\n")),
        ] {
            let score = judged(&content);
            assert_eq!((score.quality, score.label), (Some(1.0), None), "{content}");
        }
    }

    #[test]
    fn each_kind_of_break_costs_its_part() {
        let score = judged(&RIGHT.replace("KESTREL; NACRE.", "NACRE."));
        assert_eq!((score.metrics["once"], score.metrics["range"]), (0.0, 1.0));
        assert_eq!(score.label.as_deref(), Some("rule broken"));
        // In a block too many: one of two.
        let score = judged(&RIGHT.replace("Calm.", "KESTREL."));
        assert_eq!(score.metrics["once"], 0.5);
        // Lower case and parts of words are not the code word.
        let score = judged(&RIGHT.replace("KESTREL", "kestrel KESTRELS"));
        assert_eq!(score.metrics["once"], 0.0);
        let score = judged(&RIGHT[..RIGHT.find("Block 4").unwrap()]);
        assert_eq!((score.metrics["completion"], score.metrics["every"]), (0.75, 0.5));
        assert_eq!(score.label.as_deref(), Some("blocks missing"));
    }

    #[test]
    fn blocks_out_of_order_repeated_or_empty_do_not_count() {
        let completion = |content: &str| judged(content).metrics["completion"];
        assert_eq!(completion("Block 2: a\nBlock 1: b\nBlock 4: c"), 0.5);
        assert_eq!(completion("Block 1: a\nBlock 1: b\nBlock 1: c"), 0.25);
        assert_eq!(completion("Block 1:\nBlock 2: -\nBlock 3: word"), 0.25);
        assert_eq!(completion("Block 0: a\nBlock 99999999999: b\nBlock 5: c\nBlock: d\nblock 1: e"), 0.0);
        assert_eq!(completion("I would write Block 1: a"), 0.0);
    }

    #[test]
    fn a_reply_that_ran_out_is_called_so() {
        let reply = Reply {
            content: "Block 1: a".into(),
            finish_reason: Some(FinishReason::Length),
            ..Reply::default()
        };
        let outcome = BlockPlan.score(&case(), &reply);
        assert_eq!(outcome.score().unwrap().label.as_deref(), Some("truncated"));
    }

    #[test]
    fn rules_lie_within_the_blocks() {
        for blocks in 6..=60 {
            let mut random = Random::of_task(u64::from(blocks), "plan");
            let target = Plan::draw(&mut random, blocks).target();
            assert_eq!(target.rules.len(), 3);
            for rule in &target.rules {
                let (first, last) = (rule.blocks.first().unwrap(), rule.blocks.last().unwrap());
                assert!(*first >= 1 && *last <= blocks && rule.blocks.len() < blocks as usize, "{rule:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_cut_into_blocks(text in "(\\PC|\n|Block |[0-9]|\\*|:){0,200}", most in 0_u32..50) {
            let found = blocks(&text, most);
            prop_assert!(found.keys().all(|number| (1..=most).contains(number)));
        }
    }
}
