//! What keeps a server's prefix cache and what breaks it, and whether a warm answer is the cold one's.
//!
//! A case is three requests: one that fills the cache, the same with a [change](Variant) that applications make (warm:
//! the server may take from its cache what it can), and that one again with the cache forbidden (cold). What the cache
//! could give is the beginning that the second prompt shares with the first and its reply, by the server's own
//! template and tokenizer. Every case has notes of its own from the first words on, so that nothing of an earlier case
//! helps.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::variants::{Edit, Variant};
use crate::error::Result;
use crate::record::{Case, Message, Outcome, Prompt, Reply, Role, Score, Served, Tool};
use crate::task::fitting::{Draft, Fitter, Piece};
use crate::task::options::{OUTPUT_HELP, THINKING, max_tokens, output_tokens, read_target};
use crate::task::random::Random;
use crate::task::sizing::{Fit, too_small};
use crate::task::words::{Keys, Numbers};
use crate::task::{
    Ask, Card, Comparison, Needs, Params, Step, Task, TaskOption, TokenCounter, WarmAndCold, Weight,
};

/// Name of the task.
const TASK: &str = "serving/prefix_cache";

/// Fewest notes of a case: those that are asked about are among the first.
const FEWEST_NOTES: usize = 6;
/// Notes that no context is larger than.
const MOST_NOTES: usize = 200_000;
/// The notes that the first and the second question are about.
const ASKED: [usize; 2] = [1, 3];
/// Tokens kept for what a changed schema adds, and for a reply that has more tokens when it is read again.
const SLACK: u32 = 64;
/// Servers keep caches in blocks: so many tokens may be missing of what could be reused,
const BLOCK: u32 = 64;
/// or this share of them.
const MISSING: f64 = 0.05;

static OPTIONS: &[TaskOption] = &[output_tokens(48, OUTPUT_HELP), THINKING];

/// The task `serving/prefix_cache`.
#[derive(Debug)]
pub struct PrefixCache;

/// What the second request is, and its right answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Target {
    variant: Variant,
    /// The question that is asked second.
    question: String,
    /// What it is answered with.
    answer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    edit: Option<Edit>,
    /// The tools that are offered second.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool>,
}

impl Task for PrefixCache {
    fn card(&self) -> Card {
        Card {
            name: TASK,
            summary: "what keeps and what breaks the server's prefix cache, and whether a warm answer is the cold one's",
            weight: Weight::Sanity,
            options: OPTIONS,
            needs: Needs { watches_cache: true, ..Needs::LONG },
            figures: &["possible", "reused", "same_text", "right_warm", "right_cold", "ttft_ratio"],
            ..Card::PRIMARY
        }
    }

    fn comparison(&self) -> Comparison {
        Comparison::Warm(compared)
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        max_tokens(self, params)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let added = [
            Message::new(Role::Assistant, String::new()),
            Message::user(question("number", "velvet-mountain")),
        ];
        let reserve = tokens.count_chat(&added, &[])?.saturating_add(SLACK);
        let replies = self.max_tokens(params).saturating_mul(2);
        let budget = params.context.saturating_sub(replies).saturating_sub(reserve);
        let mut fitter = Fitter::new(budget, FEWEST_NOTES, MOST_NOTES);
        let mut case = |index| self.case(params, seed, index, &mut fitter, tokens);
        (0..params.samples).map(&mut case).collect()
    }

    fn step(&self, case: &Case, replies: &[Reply]) -> Step {
        let (Prompt::Chat { messages, tools, .. }, Ok(target)) = (&case.prompt, read_target::<Target>(case))
        else {
            return Step::Done;
        };
        let Some(first) = replies.first().filter(|_| replies.len() < 3) else { return Step::Done };
        let (messages, tools) = target.second(messages, tools, first);
        Step::Ask(Ask { messages, tools, reuse_cache: replies.len() == 1 })
    }

    /// 1 when the cache gave what it could and the warm answer is the cold one, word by word. Figures: `possible` and
    /// `reused` (shares of the warm prompt, 0..1), `same_text`, `right_warm` and `right_cold` (0 or 1), `ttft_ratio`
    /// (warm to cold).
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let target: Target = match read_target(case) {
            Ok(target) => target,
            Err(outcome) => return outcome,
        };
        let turns: Vec<&Reply> = reply.turns().collect();
        let &[_, warm, cold] = turns.as_slice() else {
            return Outcome::Scored(Score::of(0.0).labelled("incomplete"));
        };
        judge(&target, warm, cold).unwrap_or_else(|reason| Outcome::Unscored { reason: reason.to_owned() })
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target: Target = read_target(case).ok()?;
        let tokens = Some(case.prompt_tokens);
        let served = Served { prompt_tokens: tokens, shared_tokens: tokens, ..Served::default() };
        let said = |cached_tokens, cold| Reply {
            content: target.answer.clone(),
            served: Some(Served { cached_tokens, cold, ..served }),
            ..Reply::default()
        };
        Reply::of_conversation(vec![said(Some(0), false), said(tokens, false), said(Some(0), true)])
    }
}

/// Why a case says nothing about the cache.
const UNKNOWN: &str = "the engine does not say what came from its cache";
const NEVER_COLD: &str =
    "the server took from its cache although it was told not to: nothing cold to compare with";
const NO_WAY: &str =
    "this interface has no way to ask for a reply without the cache: nothing cold to compare with";
const NOT_SHOWN: &str =
    "the server does not show its prompts as tokens: what a cache could give is not known";

fn judge(target: &Target, warm: &Reply, cold: &Reply) -> Result<Outcome, &'static str> {
    let (served, beside) = (warm.served.unwrap_or_default(), cold.served.unwrap_or_default());
    let cached = served.cached_tokens.ok_or(UNKNOWN)?;
    if beside.cached_tokens.ok_or(UNKNOWN)? > 0 {
        return Err(if beside.cold { NEVER_COLD } else { NO_WAY });
    }
    let possible = served.possible_tokens().ok_or(NOT_SHOWN)?;
    let right = |reply: &Reply| reply.answer().contains(&target.answer);
    let same = same_text(warm, cold);
    let label = if !reused(cached, possible) {
        Some("not reused")
    } else if right(warm) != right(cold) {
        Some("other answer")
    } else if !same {
        Some("other text")
    } else {
        None
    };
    let flag = |is: bool| f64::from(u8::from(is));
    let mut score = Score::of(flag(label.is_none()))
        .with("same_text", flag(same))
        .with("right_warm", flag(right(warm)))
        .with("right_cold", flag(right(cold)));
    let shares = [
        ("possible", served.possible()),
        ("reused", served.reused()),
        ("ttft_ratio", ttft_ratio(&served, &beside)),
    ];
    for (name, value) in shares {
        score.metrics.extend(value.map(|value| (name.to_owned(), value)));
    }
    score.label = label.map(|label| format!("{}: {label}", target.variant.name()).into());
    Ok(Outcome::Scored(score))
}

/// Returns whether the cache gave what it could, up to the block that a server must begin anew.
fn reused(cached: u32, possible: u32) -> bool {
    let missing = BLOCK.max((f64::from(possible) * MISSING) as u32);
    cached.saturating_add(missing) >= possible
}

/// Returns whether both say the same, tool calls included.
fn same_text(warm: &Reply, cold: &Reply) -> bool {
    let calls = |reply: &Reply| -> Vec<_> {
        reply.tool_calls.iter().map(|call| (call.name.clone(), call.arguments.clone())).collect()
    };
    warm.text() == cold.text() && calls(warm) == calls(cold)
}

fn ttft_ratio(warm: &Served, cold: &Served) -> Option<f64> {
    let (warm, cold) = (warm.ttft_s?, cold.ttft_s?);
    (cold > 0.0).then(|| warm / cold)
}

/// What the warm reply is beside the cold one; `None` for a case that is about no known change.
fn compared(case: &Case, warm: &Reply, cold: &Reply) -> Option<WarmAndCold> {
    let target: Target = read_target(case).ok()?;
    let right = |reply: &Reply| reply.answer().contains(&target.answer);
    Some(WarmAndCold {
        change: target.variant,
        same_text: same_text(warm, cold),
        right_warm: right(warm),
        right_cold: right(cold),
    })
}

impl PrefixCache {
    fn case(
        &self,
        params: &Params,
        seed: u64,
        index: u32,
        fitter: &mut Fitter,
        tokens: &dyn TokenCounter,
    ) -> Result<Case> {
        let random = Random::of_case(seed, TASK, params.context, index);
        let mut notes = Notes::new(random, Variant::of_case(index));
        let Some(Fit { units, tokens: prompt_tokens }) = fitter.fit(&mut notes, tokens)? else {
            let needed = tokens.count_chat(&notes.messages(FEWEST_NOTES), notes.tools())?;
            let kept = params.context.saturating_sub(fitter.budget());
            return Err(too_small(&self.card(), params.context, kept, needed));
        };
        let messages = notes.messages(units);
        let target = notes.target(units);
        let prompt = Prompt::Chat { messages, tools: notes.tools, tool_choice: None, response_schema: None };
        let case = self.card().case(params.context, index, prompt, json!(target));
        Ok(case.sized(prompt_tokens, self.max_tokens(params)).seal())
    }
}

impl Target {
    /// The second request, after the first and its reply.
    fn second(&self, messages: &[Message], tools: &[Tool], first: &Reply) -> (Vec<Message>, Vec<Tool>) {
        let mut messages = messages.to_vec();
        match self.variant {
            Variant::SameSystem => {
                messages.pop();
                messages.push(Message::user(self.question.clone()));
            }
            Variant::Append => {
                messages.push(Message::new(Role::Assistant, first.content.clone()));
                messages.push(Message::user(self.question.clone()));
            }
            _ => self.edit.iter().for_each(|edit| edit.apply(&mut messages)),
        }
        let tools = if self.variant == Variant::ToolSchema { self.tools.clone() } else { tools.to_vec() };
        (messages, tools)
    }
}

/// The notes of a case, as many as fit, and what is asked about them.
struct Notes {
    variant: Variant,
    random: Random,
    keys: Keys,
    numbers: Numbers,
    lines: Vec<String>,
    facts: Vec<(String, u32)>,
    /// The day's time of both requests.
    times: [String; 2],
    /// The tools that are offered first.
    tools: Vec<Tool>,
}

impl Notes {
    fn new(mut random: Random, variant: Variant) -> Self {
        let (hour, minute, second) = (random.between(6, 20), random.between(0, 57), random.between(0, 59));
        let time = |minute: u32| format!("2026-03-14 {hour:02}:{minute:02}:{second:02}");
        let tools = if variant == Variant::ToolSchema { tools("kilograms") } else { Vec::new() };
        Self {
            variant,
            random,
            keys: Keys::default(),
            numbers: Numbers::default(),
            lines: Vec::new(),
            facts: Vec::new(),
            times: [time(minute), time(minute + 2)],
            tools,
        }
    }

    fn grow(&mut self, units: usize) {
        while self.lines.len() < units {
            let key = self.keys.next(&mut self.random);
            let number = self.numbers.next(&mut self.random);
            self.lines.push(format!("The {key} locker has the number {number}."));
            self.facts.push((key, number));
        }
    }

    fn question(&self, asked: usize) -> String {
        question("number", &self.facts[asked].0)
    }

    /// What the second request changes and is answered with. The middle of the notes lies behind those asked about.
    fn target(&self, units: usize) -> Target {
        let [first, second] = ASKED;
        let asked = match self.variant {
            Variant::SameSystem | Variant::Append => second,
            _ => first,
        };
        let time = |message| Edit { message, from: self.times[0].clone(), to: self.times[1].clone() };
        let edit = match self.variant {
            Variant::TimeFirst => Some(time(0)),
            Variant::TimeLast => Some(time(1)),
            Variant::EditedHistory => Some(self.correction(units)),
            _ => None,
        };
        Target {
            variant: self.variant,
            question: self.question(asked),
            answer: self.facts[asked].1.to_string(),
            edit,
            tools: if self.variant == Variant::ToolSchema { tools("pounds") } else { Vec::new() },
        }
    }

    /// Another number for the first note of the second half, which is a message of its own.
    fn correction(&self, units: usize) -> Edit {
        let number = self.facts[half(units)].1;
        let other = if number == 9_999_999 { number - 1 } else { number + 1 };
        Edit { message: 3, from: number.to_string(), to: other.to_string() }
    }
}

const INTRODUCTION: &str =
    "You keep the notes of a warehouse. Answer questions about them with the number alone.";

fn question(what: &str, key: &str) -> String {
    format!("What is the {what} of the {key} locker?")
}

/// Where the second half of the notes begins; what is asked about lies in front of it.
fn half(units: usize) -> usize {
    (units / 2).max(ASKED[1] + 1)
}

/// Tools that nobody needs for the question; the unit of weight is in the first one's schema.
fn tools(unit: &str) -> Vec<Tool> {
    let tool = |name: &str, description: &str, parameters| Tool {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters,
    };
    let locker = json!({ "type": "string", "description": "name of the locker" });
    vec![
        tool(
            "weigh_locker",
            "Weighs what is in a locker.",
            json!({
                "type": "object",
                "properties": {
                    "locker": locker,
                    "limit": { "type": "number", "description": format!("heaviest weight allowed, in {unit}") },
                },
                "required": ["locker"],
            }),
        ),
        tool(
            "open_locker",
            "Opens a locker for a visitor.",
            json!({ "type": "object", "properties": { "locker": locker }, "required": ["locker"] }),
        ),
    ]
}

impl Draft for Notes {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        self.grow(units);
        let asked = self.question(ASKED[0]);
        let system = |notes: &[String]| Message::system(format!("{INTRODUCTION}\n\n{}", notes.join("\n")));
        let all = &self.lines[..units];
        match self.variant {
            Variant::TimeFirst => {
                let notes = format!("It is {}.\n{INTRODUCTION}\n\n{}", self.times[0], all.join("\n"));
                vec![Message::system(notes), Message::user(asked)]
            }
            Variant::TimeLast => {
                vec![system(all), Message::user(format!("It is {}.\n{asked}", self.times[0]))]
            }
            Variant::EditedHistory => {
                let (early, late) = all.split_at(half(units));
                let noted = Message::new(Role::Assistant, "Noted.");
                vec![
                    Message::system(INTRODUCTION),
                    Message::user(early.join("\n")),
                    noted.clone(),
                    Message::user(late.join("\n")),
                    noted,
                    Message::user(asked),
                ]
            }
            _ => vec![system(all), Message::user(asked)],
        }
    }

    fn tools(&self) -> &[Tool] {
        &self.tools
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.grow(to);
        Piece::of(&self.lines, from, to, "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::testing::{WordCounter, params};

    fn cases() -> Vec<Case> {
        PrefixCache.cases(&params(2048, 7, None), 1, &WordCounter::default()).unwrap()
    }

    fn chat(case: &Case) -> (&[Message], &[Tool]) {
        let Prompt::Chat { messages, tools, .. } = &case.prompt else { panic!("no chat") };
        (messages, tools)
    }

    fn asked(case: &Case, replies: &[Reply]) -> Ask {
        let Step::Ask(ask) = PrefixCache.step(case, replies) else { panic!("nothing is asked") };
        ask
    }

    fn text(ask: &[Message], tools: &[Tool]) -> String {
        serde_json::to_string(tools).unwrap() + &serde_json::to_string(ask).unwrap()
    }

    #[test]
    fn the_same_is_asked_warm_and_then_cold() {
        for case in cases() {
            let said = Reply { content: "It is 7.".into(), ..Reply::default() };
            let warm = asked(&case, std::slice::from_ref(&said));
            let cold = asked(&case, &[said.clone(), Reply::default()]);
            assert!(warm.reuse_cache && !cold.reuse_cache);
            assert_eq!((&warm.messages, &warm.tools), (&cold.messages, &cold.tools));
            assert_eq!(PrefixCache.step(&case, &[said.clone(), said.clone(), said]), Step::Done);
        }
    }

    #[test]
    fn each_change_begins_where_it_says() {
        // Share of the first request that the second begins with, roughly.
        let shared = |case: &Case| {
            let said = Reply { content: "It is 7.".into(), ..Reply::default() };
            let second = asked(case, &[said]);
            let (messages, tools) = chat(case);
            let (first, second) = (text(messages, tools), text(&second.messages, &second.tools));
            let common = first.bytes().zip(second.bytes()).take_while(|(a, b)| a == b).count();
            common as f64 / first.len() as f64
        };
        let cases = cases();
        let of = |variant: Variant| {
            cases
                .iter()
                .find(|case| compared(case, &Reply::default(), &Reply::default()).unwrap().change == variant)
                .map(shared)
                .unwrap()
        };
        assert!((of(Variant::Repeat) - 1.0).abs() < f64::EPSILON);
        for kept in [Variant::SameSystem, Variant::Append, Variant::TimeLast] {
            assert!(of(kept) > 0.9 && of(kept) < 1.0, "{kept:?} {}", of(kept));
        }
        for broken in [Variant::TimeFirst, Variant::ToolSchema] {
            assert!(of(broken) < 0.15, "{broken:?} {}", of(broken));
        }
        let middle = of(Variant::EditedHistory);
        assert!((0.4..0.7).contains(&middle), "{middle}");
    }

    #[test]
    fn the_answers_are_in_the_notes() {
        for case in cases() {
            let second = asked(&case, &[Reply::default()]);
            let notes = text(&second.messages, &[]);
            let target: Target = read_target(&case).unwrap();
            assert!(notes.contains(&target.answer), "{}", target.variant.name());
            let warm = Reply { content: format!("{}.", target.answer), ..Reply::default() };
            let found = compared(&case, &warm, &Reply::default()).unwrap();
            assert!(found.right_warm && !found.right_cold && !found.same_text);
        }
    }

    fn judged(warm: Served, cold: Served, said: [&str; 2]) -> Outcome {
        let reply = |content: &str, served| Reply {
            content: content.into(),
            served: Some(served),
            ..Reply::default()
        };
        let turns = vec![Reply::default(), reply(said[0], warm), reply(said[1], cold)];
        PrefixCache.score(&cases()[0], &Reply::of_conversation(turns).unwrap())
    }

    fn served(cached: Option<u32>, ttft_s: f64) -> Served {
        Served {
            prompt_tokens: Some(1000),
            cached_tokens: cached,
            shared_tokens: Some(990),
            ttft_s: Some(ttft_s),
            cold: false,
        }
    }

    fn label(outcome: &Outcome) -> Option<&str> {
        outcome.score().unwrap().label.as_deref()
    }

    #[test]
    fn reuse_and_the_answer_are_judged() {
        let cold = served(Some(0), 2.0);
        let fine = judged(served(Some(960), 0.5), cold, ["a", "a"]);
        let score = fine.score().unwrap();
        assert_eq!(
            (score.quality, score.metrics["reused"], score.metrics["ttft_ratio"]),
            (Some(1.0), 0.96, 0.25)
        );
        assert_eq!(score.metrics["possible"], 0.99);
        let missed = judged(served(Some(500), 0.5), cold, ["a", "a"]);
        assert_eq!(label(&missed), Some("repeat: not reused"));
        assert_eq!(label(&judged(served(Some(989), 0.5), cold, ["a", "b"])), Some("repeat: other text"));
        let target: Target = read_target(&cases()[0]).unwrap();
        let other = judged(served(Some(989), 0.5), cold, [&target.answer, "b"]);
        assert_eq!(
            (label(&other), other.score().unwrap().quality),
            (Some("repeat: other answer"), Some(0.0))
        );
    }

    #[test]
    fn what_cannot_be_told_is_not_scored() {
        let reason = |outcome| match outcome {
            Outcome::Unscored { reason } => reason,
            other => panic!("{other:?}"),
        };
        let cold = served(Some(0), 2.0);
        assert_eq!(reason(judged(served(None, 0.5), cold, ["a", "a"])), UNKNOWN);
        let warm_again = served(Some(9), 0.5);
        assert_eq!(reason(judged(served(Some(9), 0.5), warm_again, ["a", "a"])), NO_WAY);
        let told = Served { cold: true, ..warm_again };
        assert_eq!(reason(judged(served(Some(9), 0.5), told, ["a", "a"])), NEVER_COLD);
        let hidden = Served { shared_tokens: None, ..served(Some(9), 0.5) };
        assert_eq!(reason(judged(hidden, cold, ["a", "a"])), NOT_SHOWN);
    }
}
