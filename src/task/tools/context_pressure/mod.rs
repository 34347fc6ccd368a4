//! Exact arguments after a long chat: the tools stand in front of it, and the request behind. What a quantised
//! cache loses of the schemas shows as the context grows; the requests are the same at every length.

use crate::error::Result;
use crate::record::{Case, Message, Outcome, Reply, Tool};
use crate::task::fitting::{Draft, Fitter, Piece};
use crate::task::sizing::{Fit, too_small};
use crate::task::{Card, Emit, Needs, Params, Task, TaskOption, TokenCounter};

use super::cases::{ALL_ARMS, OUTPUT_TOKENS, ToolCase, arm, drawn, output_tokens, random_of};
use super::data::{Request, data};
use super::grading;
use super::offer::{CallCount, Offer};

mod chat;

use chat::Chat;

/// Most sentences of a chat: more than any context has room for.
const MAX_SENTENCES: usize = 1_000_000;

static OPTIONS: &[TaskOption] = &[
    output_tokens("output budget in tokens (the longest right call has some 200)", 256),
    TaskOption {
        name: "fill_percent",
        help: "how full the chat makes the room that the context has for the prompt, in percent; 0: no chat",
        default: 100,
        min: 0,
        max: 100,
        difficulty: None,
    },
    TaskOption {
        name: "chat_tokens",
        help: "most tokens of the chat, such as 8192, 32768 or 65536; 0: as many as fill_percent says",
        default: 0,
        min: 0,
        max: 10_000_000,
        difficulty: None,
    },
];

/// The task `tools/context_pressure`.
#[derive(Debug)]
pub struct ContextPressure;

impl Task for ContextPressure {
    fn card(&self) -> Card {
        Card {
            name: "tools/context_pressure",
            summary: "tool calls keep exact arguments when a long chat lies between the tools and the request",
            arms: ALL_ARMS,
            options: OPTIONS,
            needs: Needs::SHORT,
            ..Card::PRIMARY
        }
    }

    fn max_tokens(&self, params: &Params) -> u32 {
        params.option(&self.card(), OUTPUT_TOKENS)
    }

    fn cases(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter) -> Result<Vec<Case>> {
        let mut all = Vec::new();
        self.each_case(params, seed, tokens, &mut |case| {
            all.push(case);
            Ok(())
        })?;
        Ok(all)
    }

    fn each_case(&self, params: &Params, seed: u64, tokens: &dyn TokenCounter, emit: Emit<'_>) -> Result<()> {
        let data = data()?;
        let arm = arm(self, params)?;
        let mut room = Room::new(self, params);
        for (index, request) in (0..).zip(drawn(self, params, seed, data.of_one_call())?) {
            let random = random_of(self, seed, index);
            let offer = Offer::new(CallCount::One, arm, data.named(&request.tools), random.clone());
            let mut draft = Pressed { offer: &offer, user: &request.user, chat: Chat::new(random) };
            let Fit { units, tokens } = room.fit(&mut draft, tokens)?;
            let messages = draft.messages(units);
            emit(self.case(params, index, request, offer, messages, tokens)?)?;
        }
        Ok(())
    }

    fn score(&self, case: &Case, reply: &Reply) -> Outcome {
        grading::outcome(case, reply)
    }

    fn perfect(&self, case: &Case) -> Option<Reply> {
        grading::perfect(case)
    }
}

impl ContextPressure {
    fn case(
        &self,
        params: &Params,
        index: u32,
        request: &Request,
        offer: Offer,
        messages: Vec<Message>,
        prompt_tokens: u32,
    ) -> Result<Case> {
        let target = grading::target(request, &offer)?;
        ToolCase { task: self, params, index, request: &request.id, offer, target, forced: Vec::new() }
            .sized(messages, prompt_tokens)
    }
}

/// How many tokens a prompt may have, and what is known of the sentences that fill it.
struct Room<'a> {
    task: &'a dyn Task,
    params: &'a Params,
    /// Tokens that the context leaves for the prompt.
    whole: u32,
    /// Tokens of the chat, where a suite says how many.
    chat: Option<u32>,
    fitter: Fitter,
}

impl<'a> Room<'a> {
    fn new(task: &'a dyn Task, params: &'a Params) -> Self {
        let whole = params.context.saturating_sub(task.max_tokens(params));
        let percent = params.option(&task.card(), "fill_percent");
        let filled = (u64::from(whole) * u64::from(percent) / 100) as u32;
        let chat = Some(params.option(&task.card(), "chat_tokens")).filter(|tokens| *tokens > 0);
        // Without any share to fill, the bare prompt is the largest.
        let most = if percent == 0 && chat.is_none() { 0 } else { MAX_SENTENCES };
        Self { task, params, whole, chat, fitter: Fitter::new(filled, 0, most) }
    }

    /// The most sentences that there is room for; none where the bare prompt fills its share already.
    fn fit(&mut self, draft: &mut Pressed<'_>, tokens: &dyn TokenCounter) -> Result<Fit> {
        if let Some(chat) = self.chat {
            let bare = Self::bare(draft, tokens)?.tokens;
            let budget = bare.saturating_add(chat);
            if budget > self.whole {
                return Err(self.too_small(budget));
            }
            self.fitter.set_budget(budget);
        }
        if let Some(fit) = self.fitter.fit(draft, tokens)? {
            return Ok(fit);
        }
        let bare = Self::bare(draft, tokens)?;
        if bare.tokens > self.whole { Err(self.too_small(bare.tokens)) } else { Ok(bare) }
    }

    fn bare(draft: &mut Pressed<'_>, tokens: &dyn TokenCounter) -> Result<Fit> {
        Ok(Fit { units: 0, tokens: tokens.count_chat(&draft.messages(0), draft.tools())? })
    }

    fn too_small(&self, needed: u32) -> crate::Error {
        let max_tokens = self.task.max_tokens(self.params);
        too_small(&self.task.card(), self.params.context, max_tokens, needed)
    }
}

/// Tools, a chat of any length, and a request.
struct Pressed<'a> {
    offer: &'a Offer,
    user: &'a str,
    chat: Chat,
}

impl Draft for Pressed<'_> {
    fn messages(&mut self, units: usize) -> Vec<Message> {
        let mut messages = self.offer.opening();
        messages.extend(self.chat.messages(units));
        messages.push(Message::user(self.user));
        messages
    }

    fn tools(&self) -> &[Tool] {
        self.offer.field()
    }

    fn piece(&mut self, from: usize, to: usize) -> Piece {
        self.chat.piece(from, to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Arm, Prompt, Role};
    use crate::task::testing::{WordCounter, params};

    fn cases(context: u32, samples: u32, options: &[(&str, u32)], arm: Arm) -> Result<Vec<Case>> {
        let mut params = params(context, samples, Some(arm));
        params.options.extend(options.iter().map(|(name, value)| ((*name).to_owned(), *value)));
        ContextPressure.cases(&params, 9, &WordCounter::default())
    }

    fn messages(case: &Case) -> &[Message] {
        match &case.prompt {
            Prompt::Chat { messages, .. } => messages,
            Prompt::Distributions { .. } => panic!("not a chat"),
        }
    }

    /// Tokens (of the test's tokenizer) of a question with the first sentence of its answer: one unit at most.
    const UNIT: u32 = 64;

    #[test]
    fn the_chat_fills_the_context() {
        for arm in [Arm::Native, Arm::Prompted] {
            for context in [2048, 4096, 32_768] {
                for case in cases(context, 6, &[], arm).unwrap() {
                    let left = context - case.prompt_tokens - case.max_tokens;
                    assert!(left < UNIT, "{left} of {context} left");
                    assert_eq!(messages(&case)[0].role, Role::System);
                    for pair in messages(&case)[1..].windows(2) {
                        assert_ne!(pair[0].role, pair[1].role, "roles take turns");
                    }
                }
            }
        }
    }

    #[test]
    fn a_longer_chat_goes_on_where_a_shorter_one_ends() {
        let short = cases(2048, 4, &[], Arm::Native).unwrap();
        let long = cases(8192, 4, &[], Arm::Native).unwrap();
        for (short, long) in short.iter().zip(&long) {
            assert_eq!(short.target, long.target);
            let (short, long) = (messages(short), messages(long));
            assert_eq!(short.last(), long.last());
            // The last reply of the shorter one may end sooner.
            let whole = short.len() - 2;
            assert_eq!(short[..whole], long[..whole]);
            assert!(long[whole].content.starts_with(&short[whole].content));
        }
    }

    #[test]
    fn the_pressure_is_what_a_suite_says() {
        let bare = cases(16_384, 5, &[("fill_percent", 0)], Arm::Native).unwrap();
        assert!(bare.iter().all(|case| messages(case).len() == 2));
        let half = cases(16_384, 5, &[("fill_percent", 50)], Arm::Native).unwrap();
        for case in &half {
            let budget = (16_384 - case.max_tokens) / 2;
            assert!((budget - UNIT..=budget).contains(&case.prompt_tokens));
        }
        let fixed = cases(16_384, 5, &[("chat_tokens", 8192)], Arm::Native).unwrap();
        for (fixed, bare) in fixed.iter().zip(&bare) {
            let chat = fixed.prompt_tokens - bare.prompt_tokens;
            assert!((8192 - UNIT..=8192).contains(&chat), "{chat}");
            assert_eq!(fixed.target, bare.target);
        }
    }

    #[test]
    fn what_does_not_fit_is_a_usage_error() {
        for (context, options) in [(400, vec![]), (8192, vec![("chat_tokens", 8192)])] {
            let error = cases(context, 1, &options, Arm::Native).unwrap_err();
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert!(!error.hints().is_empty());
        }
    }

    #[test]
    fn a_long_context_takes_few_counts() {
        let counter = WordCounter::default();
        ContextPressure.cases(&params(65_536, 8, Some(Arm::Native)), 1, &counter).unwrap();
        assert!(counter.counts.get() <= 8 * 3 + 6, "{} counts", counter.counts.get());
    }
}
