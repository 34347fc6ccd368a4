//! Whether to call at all: some requests lack what a tool requires, some are nothing that a tool does, some need
//! no tool, and some are right with a call. Over-calling is what damaged models fall into; a control of requests
//! that are right with a call keeps one that never calls from winning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::record::{Arm, Case, ForcedPart, Outcome, Reply, Score, Scoring, Tool};
use crate::task::random::Random;
use crate::task::{Card, Needs, Params, Task, TaskOption, TokenCounter, probability};

use super::cases::{OUTPUT_TOKENS, ToolCase, arm, enough, output_tokens, random_of};
use super::data::{DataSet, RequestKind, data};
use super::fault::Fault;
use super::grading::{self, read};
use super::ladder::Expected;
use super::offer::{CallCount, Offer};

mod reply_kind;

use reply_kind::ReplyKind;

static OPTIONS: &[TaskOption] =
    &[output_tokens("output budget in tokens (calls have up to some 200, other right replies fewer)", 256)];

/// In turn, so that any number of samples has about as many of each.
const IN_TURN: [RequestKind; 4] =
    [RequestKind::Ask, RequestKind::Refuse, RequestKind::Answer, RequestKind::Call];

/// The task `tools/abstention`.
#[derive(Debug)]
pub struct Abstain;

#[derive(Debug, Serialize, Deserialize)]
struct Target {
    /// The request's name in the data set.
    request: String,
    /// What is right.
    right: RequestKind,
    /// Beginnings of words by which a question may name what is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<String>,
    /// The right call, if one is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected: Option<Expected>,
    /// The tools that were offered, where they are in no `tools` field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    offered: Vec<Tool>,
}

/// A request of any kind.
#[derive(Debug, Clone)]
struct Asked<'a> {
    id: &'a str,
    right: RequestKind,
    tools: &'a [String],
    user: &'a str,
    missing: Vec<String>,
    expected: Option<&'a Expected>,
}

impl Task for Abstain {
    fn card(&self) -> Card {
        Card {
            name: "tools/abstention",
            summary: "a tool is called only where one is right; else the model asks, answers or says that it cannot",
            // A forced call leaves nothing to decide: no constrained arm.
            arms: &[Arm::Native, Arm::Prompted],
            options: OPTIONS,
            needs: Needs { closed_answer: true, ..Needs::SHORT },
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), OUTPUT_TOKENS)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let data = data()?;
        let arm = arm(self, params)?;
        let all = in_turn(data, Random::of_task(seed, self.card().name));
        enough(self, params, all.len())?;
        let case = |(index, asked): (u32, Asked<'_>)| {
            let random = random_of(self, seed, index);
            let offer = Offer::new(CallCount::OneOrNone, arm, data.named(asked.tools), random);
            let target = grading::to_json(&Target {
                request: asked.id.to_owned(),
                right: asked.right,
                missing: asked.missing,
                expected: asked.expected.cloned(),
                offered: offer.only_told(),
            })?;
            let (user, forced) = match params.score {
                Scoring::Match => (asked.user.to_owned(), Vec::new()),
                Scoring::Probability => {
                    (format!("{}\n\n{YES_OR_NO}", asked.user), vec![yes_or_no(asked.right, tokens)?])
                }
            };
            let request = asked.id;
            ToolCase { task: self, params, index, request, offer, target, forced }.case(&user, tokens)
        };
        (0..params.samples).zip(all).map(case).collect()
    }

    /// Quality is 1 when the reply is of the right kind (where that is a call: a call of the right tool), else 0;
    /// how kinds are told apart is said at [`ReplyKind`]. Metrics, 0 or 1: what the reply was (`called`, `asked`,
    /// `answered`, `refused`), and where a call is right, whether it was `exact`. The label of a wrong one
    /// names both kinds, such as `ask_but_called`.
    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        match read::<Target>(case) {
            Ok(target) => Outcome::Scored(score(case, &target, reply)),
            Err(outcome) => outcome,
        }
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        let target: Target = read(case).ok()?;
        let says = |content: String| Reply { content, ..Reply::default() };
        Some(match target.right {
            RequestKind::Call => grading::reply_with(case.arm, &[target.expected?]),
            RequestKind::Ask => says(format!("Please tell me this first: {}?", target.missing.first()?)),
            RequestKind::Answer => says("Gladly: that is a good question, and the answer is short.".into()),
            RequestKind::Refuse => says("Sorry, I cannot do that: no function of mine does it.".into()),
        })
    }
}

/// What is asked behind a request where the decision alone is scored, by the probability of the right one.
const YES_OR_NO: &str = "Do not do it yet. Say first, with yes or no and nothing else, whether one of the functions \
                         should be called now.";

/// The right decision: yes where a call is right, no where the model must ask, answer or refuse.
fn yes_or_no(right: RequestKind, tokens: &dyn TokenCounter) -> Result<ForcedPart> {
    let forms = if right == RequestKind::Call { ["Yes", "yes"] } else { ["No", "no"] };
    probability::part("", &forms.map(str::to_owned), None, tokens)
}

/// Every request, one kind after another, as long as there are requests of all of them.
fn in_turn(data: &DataSet, mut random: Random) -> Vec<Asked<'_>> {
    let mut kinds: BTreeMap<RequestKind, Vec<Asked<'_>>> = BTreeMap::new();
    for asked in every(data) {
        kinds.entry(asked.right).or_default().push(asked);
    }
    kinds.values_mut().for_each(|kind| random.shuffle(kind));
    let mut all = Vec::new();
    loop {
        let round: Option<Vec<Asked<'_>>> =
            IN_TURN.iter().map(|kind| kinds.get_mut(kind).and_then(Vec::pop)).collect();
        let Some(round) = round else { return all };
        all.extend(round);
    }
}

fn every(data: &DataSet) -> impl Iterator<Item = Asked<'_>> {
    let abstentions = data.abstentions.iter().map(|asked| Asked {
        id: &asked.id,
        right: asked.right,
        tools: &asked.tools,
        user: &asked.user,
        missing: asked.missing.iter().flat_map(|missing| missing.words.clone()).collect(),
        expected: None,
    });
    let controls = data.of_one_call().into_iter().map(|request| Asked {
        id: &request.id,
        right: RequestKind::Call,
        tools: &request.tools,
        user: &request.user,
        missing: Vec::new(),
        expected: request.calls.first(),
    });
    abstentions.chain(controls)
}

fn score(case: &Case, target: &Target, reply: &Reply) -> Score {
    let offered = grading::offered(case, &target.offered);
    let calls = grading::calls(case.arm, reply, offered);
    let said = ReplyKind::of(&calls, &reply.answer(), &target.missing);
    let bit = |is: bool| f64::from(u8::from(is));
    let fault = match (target.right, &target.expected) {
        (RequestKind::Call, Some(expected)) => wrong_call(&calls, said, expected),
        (right, _) => (said.kind() != Some(right)).then(|| said.label(right)),
    };
    let mut score = Score::of(bit(fault.is_none()))
        .with("called", bit(said.kind() == Some(RequestKind::Call)))
        .with("asked", bit(said.kind() == Some(RequestKind::Ask)))
        .with("answered", bit(said.kind() == Some(RequestKind::Answer)))
        .with("refused", bit(said.kind() == Some(RequestKind::Refuse)));
    if target.right == RequestKind::Call {
        let exact = grading::exact(&calls, target.expected.as_ref(), offered);
        score = score.with("exact", bit(exact));
    }
    match fault {
        Some(label) => score.labelled(label),
        None => score,
    }
}

/// What is wrong where a call is right; its arguments do not count here.
fn wrong_call(
    calls: &std::result::Result<Vec<super::extract::Call>, Fault>,
    said: ReplyKind,
    expected: &Expected,
) -> Option<String> {
    match calls {
        Ok(calls) if calls.len() > 1 => Some(Fault::ExtraCall.name().into()),
        Ok(calls) if calls.iter().any(|call| call.name == expected.name) => None,
        Ok(_) => Some(Fault::WrongTool.name().into()),
        Err(fault @ (Fault::BadJson | Fault::LeakedToContent | Fault::Truncated)) => {
            Some(fault.name().into())
        }
        Err(_) => Some(said.label(RequestKind::Call)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ToolCall;
    use crate::task::testing::{WordCounter, params};

    fn all() -> usize {
        in_turn(data().unwrap(), Random::of_task(1, "t")).len()
    }

    fn cases(arm: Arm, samples: u32) -> Vec<Case> {
        Abstain.cases(&params(8192, samples, Some(arm)), 3, &WordCounter::default()).unwrap()
    }

    fn judged(case: &Case, reply: &Reply) -> (f64, Option<String>) {
        let outcome = Abstain.score(case, reply);
        let score = outcome.score().unwrap();
        (score.quality.unwrap(), score.label.map(String::from))
    }

    fn right(case: &Case) -> RequestKind {
        read::<Target>(case).unwrap().right
    }

    #[test]
    fn any_number_of_samples_has_as_many_of_each_kind() {
        let cases = cases(Arm::Native, all() as u32);
        assert!(cases.len() >= 80);
        for four in cases.chunks(4) {
            assert_eq!(four.iter().map(right).collect::<Vec<_>>(), IN_TURN);
        }
        let error = Abstain.cases(&params(8192, 999, Some(Arm::Native)), 3, &WordCounter::default());
        assert!(!error.unwrap_err().hints().is_empty());
    }

    #[test]
    fn calling_is_wrong_where_nothing_has_to_be_called() {
        let cases = cases(Arm::Native, 40);
        for case in &cases {
            let Prompt::Chat { tools, .. } = &case.prompt else { panic!("not a chat") };
            let call = ToolCall { id: None, name: tools[0].name.clone(), arguments: "{}".into() };
            let reply = Reply { tool_calls: vec![call], ..Reply::default() };
            let label = match right(case) {
                RequestKind::Ask => "ask_but_called",
                RequestKind::Answer => "answer_but_called",
                RequestKind::Refuse => "refuse_but_called",
                RequestKind::Call => continue,
            };
            assert_eq!(judged(case, &reply), (0.0, Some(label.into())));
        }
    }

    /// A call that nobody got is still no answer, in whatever syntax it stands in the text.
    #[test]
    fn a_call_in_the_models_own_syntax_is_no_answer() {
        for case in &cases(Arm::Native, 8) {
            let Prompt::Chat { tools, .. } = &case.prompt else { panic!("not a chat") };
            for text in [
                format!("<function={}>\n</function>", tools[0].name),
                format!("[TOOL_CALLS]{}[ARGS]{{}}", tools[0].name),
            ] {
                let label = match right(case) {
                    RequestKind::Ask => "ask_but_called",
                    RequestKind::Answer => "answer_but_called",
                    RequestKind::Refuse => "refuse_but_called",
                    RequestKind::Call => "leaked_to_content",
                };
                let reply = Reply { content: text, ..Reply::default() };
                assert_eq!(judged(case, &reply), (0.0, Some(label.into())));
            }
        }
    }

    #[test]
    fn a_right_call_needs_the_right_tool() {
        for case in cases(Arm::Native, 40).iter().filter(|case| right(case) == RequestKind::Call) {
            let mut reply = Abstain.perfect(case).unwrap();
            reply.tool_calls[0].arguments = "{}".into();
            assert_eq!(judged(case, &reply).0, 1.0);
            reply.tool_calls[0].name = "something_else".into();
            assert_eq!(judged(case, &reply), (0.0, Some("wrong_tool".into())));
            let reply = Reply { content: "Here you are.".into(), ..Reply::default() };
            assert_eq!(judged(case, &reply), (0.0, Some("call_but_answered".into())));
            assert_eq!(judged(case, &Reply::default()), (0.0, Some("call_but_nothing".into())));
        }
    }

    #[test]
    fn every_perfect_reply_of_one_kind_is_wrong_for_the_others() {
        for arm in [Arm::Native, Arm::Prompted] {
            let cases = cases(arm, 40);
            for four in cases.chunks(4) {
                for (one, other) in four.iter().flat_map(|one| four.iter().map(move |other| (one, other))) {
                    let reply = Abstain.perfect(other).unwrap();
                    let quality = judged(one, &reply).0;
                    assert_eq!(quality, f64::from(u8::from(one.id == other.id)), "{reply:?}");
                }
            }
        }
    }

    use crate::record::Prompt;
}
