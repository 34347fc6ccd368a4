//! Rules in the system prompt, and then many turns about something else: does the model drift away from them?

use crate::error::Result;
use crate::record::{Case, Outcome, Reply};
use crate::task::options::{self, OUTPUT_HELP, THINKING, option, output_tokens, tuned};
use crate::task::random::Random;
use crate::task::retrieval::ran_out;
use crate::task::words::{ADJECTIVES, NOUNS};
use crate::task::{Card, Harder, Params, Step, Task, TaskOption, TokenCounter};

use super::dialogue::{self, Draft, Target, Turn};
use super::rules::{self, Rule};
use super::turns::{self, Judged, Verdict};

/// What the turns are about: nothing that a rule says.
const REQUESTS: &[&str] = &[
    "Tell me something about a {adjective} {noun}.",
    "What would you do with a {adjective} {noun}?",
    "Describe a {noun} to somebody who never saw one.",
    "Where would you look for a {adjective} {noun}?",
    "What does a {noun} have to do with a {noun}?",
    "Make up a name for a shop that sells a {adjective} {noun}.",
    "Why would anybody want a {adjective} {noun}?",
    "Say how a {noun} might become {adjective}.",
];

static OPTIONS: &[TaskOption] = &[
    output_tokens(48, OUTPUT_HELP),
    THINKING,
    tuned(option("rules", "rules to keep; more is harder", 4, 1, Rule::MOST), Harder::Larger),
];

/// The task `coherence/instruction_retention`.
#[derive(Debug)]
pub struct InstructionRetention;

type Rules = Target<Vec<Rule>, ()>;

impl Task for InstructionRetention {
    fn card(&self) -> Card {
        Card {
            name: "coherence/instruction_retention",
            summary: "drift: rules of the system prompt kept over many turns about something else",
            options: OPTIONS,
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        options::max_tokens(self, params)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let rules = params.option(&self.card(), "rules") as usize;
        dialogue::cases(self, params, seed, tokens, |random| Chat::new(random, rules))
    }

    fn step(&self, case: &Case, replies: &[Reply]) -> Step {
        dialogue::step(case, replies)
    }

    /// A turn's score is the share of the rules that it keeps. Where all that it breaks was broken in the model's
    /// reply before it, it follows its own mistake.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        let target = match Rules::read(case) {
            Ok(target) => target,
            Err(outcome) => return outcome,
        };
        let rules = &target.opening;
        let mut judged = Vec::with_capacity(target.turns.len());
        let mut broken_before: Vec<&Rule> = Vec::new();
        for (_, reply) in target.replies(reply) {
            let text = reply.map(turns::read).unwrap_or_default();
            let broken: Vec<&Rule> = rules.iter().filter(|rule| !rule.kept(&text)).collect();
            let followed = !target.gold && broken.iter().all(|rule| broken_before.contains(rule));
            let verdict = match reply {
                None => Verdict::Unanswered("missing"),
                Some(_) if broken.is_empty() => Verdict::Right,
                Some(reply) if ran_out(reply) => Verdict::Unanswered("truncated"),
                Some(_) if text.trim().is_empty() => Verdict::Unanswered("empty"),
                Some(_) if followed => Verdict::OwnMistake,
                Some(_) => Verdict::Forgot("forgot"),
            };
            let kept = 1.0 - broken.len() as f64 / rules.len().max(1) as f64;
            judged.push(Judged { score: kept, ..Judged::exact(judged.len(), target.turns.len(), verdict) });
            broken_before = broken;
        }
        let all_kept = judged.iter().filter(|turn| turn.verdict == Verdict::Right).count();
        let all_kept = all_kept as f64 / judged.len().max(1) as f64;
        Outcome::Scored(turns::score(target.gold, &judged).with("all_rules_kept", all_kept))
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        Rules::read(case).ok()?.perfect()
    }
}

/// Rules, and requests that have nothing to do with them.
struct Chat {
    random: Random,
    rules: Vec<Rule>,
    turns: Vec<Turn<()>>,
}

impl Chat {
    fn new(mut random: Random, rules: usize) -> Self {
        let rules = Rule::draw(&mut random, rules);
        Self { random, rules, turns: Vec::new() }
    }

    fn turn(&mut self) -> Turn<()> {
        let request = self.random.pick(REQUESTS);
        let mut say = request.replace("{adjective}", self.random.pick(ADJECTIVES));
        while say.contains("{noun}") {
            say = say.replacen("{noun}", self.random.pick(NOUNS), 1);
        }
        Turn { say, right: rules::example(&self.rules, &mut self.random), facts: () }
    }
}

impl Draft for Chat {
    type Opening = Vec<Rule>;
    type Facts = ();

    fn grow(&mut self, units: usize) {
        while self.turns.len() < units {
            let turn = self.turn();
            self.turns.push(turn);
        }
    }

    fn system(&self, _: usize) -> String {
        let rules: Vec<String> = self.rules.iter().map(|rule| format!("- {}", rule.text())).collect();
        format!(
            "In every single reply of this conversation, whatever you are asked, you keep these rules:\n{}\nAnswer with \
             one short sentence.",
            rules.join("\n")
        )
    }

    fn opening(&self) -> Vec<Rule> {
        self.rules.clone()
    }

    fn turns(&self, units: usize) -> Vec<Turn<()>> {
        self.turns[..units].to_vec()
    }

    fn added(&self, unit: usize) -> String {
        self.turns[unit].say.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialogue::testing::{judge, make};
    use super::*;
    use crate::record::{FinishReason, Message, Role};

    /// Keeps what the system prompt says, read line by line, up to a turn; from then on it forgets its ending.
    fn model(messages: &[Message], forgets_at: usize) -> String {
        let turn = messages.iter().filter(|message| message.role == Role::User).count();
        let quoted = |start: &str| {
            let lines = messages[0].content.lines();
            let line = lines.filter_map(|line| line.strip_prefix(&format!("- {start} \""))).next()?;
            Some(line.split('"').next().unwrap().to_owned())
        };
        let begin = quoted("begin with the word").map(|word| word + ": ").unwrap_or_default();
        let include = quoted("use the word").unwrap_or_default();
        let end = quoted("end with the word").unwrap_or_default();
        match turn >= forgets_at {
            true => format!("{begin}who knows {include} so far"),
            false => format!("{begin}who knows {include} {end}"),
        }
    }

    #[test]
    fn a_model_that_reads_the_rules_keeps_them() {
        for rules in 1..=Rule::MOST {
            for case in make(&InstructionRetention, 2048, 4, &[("rules", rules)]) {
                let score = judge(&InstructionRetention, &case, |messages| model(messages, usize::MAX));
                assert_eq!(
                    (score.quality, score.label),
                    (Some(1.0), None),
                    "{rules} {:?}",
                    case.target["opening"]
                );
                assert_eq!(score.metrics["all_rules_kept"], 1.0);
            }
        }
    }

    #[test]
    fn drift_shows_as_a_slope_and_as_its_own_mistake() {
        let cases = make(&InstructionRetention, 4096, 2, &[("rules", Rule::MOST)]);
        let [free, gold] =
            [&cases[0], &cases[1]].map(|case| judge(&InstructionRetention, case, |said| model(said, 6)));
        let turns = free.metrics["turns"];
        assert_eq!((free.metrics["first_wrong_turn"], free.metrics["forgot"]), (6.0, 1.0 / turns));
        assert_eq!(free.metrics["own_mistake"], (turns - 6.0) / turns);
        assert!(free.metrics["slope"] < 0.0 && free.metrics["turn_acc_q1"] > free.metrics["turn_acc_q4"]);
        assert!((free.metrics["turn_acc_q4"] - 8.0 / 9.0).abs() < 1e-9);
        assert_eq!(free.metrics["all_rules_kept"], 5.0 / turns);
        // Right replies stand in the history: what is broken again is forgotten again.
        assert_eq!((gold.metrics["own_mistake"], gold.quality), (0.0, free.quality));
        assert_eq!(gold.metrics["forgot"], (turns - 5.0) / turns);
    }

    #[test]
    fn replies_that_were_cut_or_empty_are_named() {
        let case = &make(&InstructionRetention, 1024, 1, &[])[0];
        let label = |content: &str, finish_reason| {
            let earlier = vec![Reply { content: content.into(), finish_reason, ..Reply::default() }; 40];
            let reply = Reply { earlier, ..Reply::default() };
            InstructionRetention.score(case, &reply).score().unwrap().label.unwrap()
        };
        assert_eq!(label("A, B,\n1", Some(FinishReason::Length)), "truncated");
        assert_eq!(label("", Some(FinishReason::Stop)), "empty");
    }
}
