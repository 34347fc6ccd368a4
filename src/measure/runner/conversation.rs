//! What is said in one trial: a request and its reply, or a conversation that goes on until its task is done.
//!
//! A conversation is only ever appended to. Its first turn is cold; the later ones go on from what the server's
//! cache holds, as they would for a person who talks to it. Tasks that watch the cache make several requests of their
//! own instead, each of which may use it or not.

use super::figures::{alike, engine_figure};
use super::forced_answer::ForcedAnswer;
use super::prefix_tracker::PrefixTracker;
use crate::measure::client::{Client, Conversation, Exchange, Failure, timeline};
use crate::measure::engine::Engine;
use crate::record::suite::Sampling;
use crate::record::{Case, FinishReason, Measurement, Prompt, Reply, metric};
use crate::task::{Ask, Step, Task};

/// Turns after which a conversation does not count as one that will end.
const MAX_TURNS: usize = 4096;

/// What was said and measured, and why it broke off if it did.
#[derive(Debug, Default)]
pub(super) struct HeldConversation {
    /// The last reply, the earlier ones in it; `None` when there was none.
    pub(super) reply: Option<Reply>,
    /// Over all turns that were answered; see [`metric`].
    pub(super) measurements: Vec<Measurement>,
    /// Why it broke off, with the turn if it was a later one than the first.
    pub(super) failure: Option<Failure>,
}

impl HeldConversation {
    /// Asks what the case asks, and goes on until the task is done. `client` is one of a
    /// [conversation](Client::conversation); `warm`: it has just asked another question to the same text, whose prefix the
    /// server's cache may hold.
    pub(super) async fn hold(
        client: &Client,
        engine: &dyn Engine,
        task: &dyn Task,
        case: &Case,
        sampling: &Sampling,
        warm: bool,
    ) -> Self {
        let mut turns = Turns::default();
        if !case.forced.is_empty() {
            let (forced, failure) = ForcedAnswer::ask(client, engine, case, warm).await;
            // Half an answer has no probability.
            let reply = failure.is_none().then(|| forced.reply());
            return Self { reply, measurements: forced.measurements(), failure };
        }
        let failure = match &case.prompt {
            Prompt::Chat { .. } => turns.converse(client, engine, task, case, sampling, warm).await.err(),
            Prompt::Distributions { .. } => turns.single(client, engine, case, sampling).await.err(),
        };
        let measurements = turns.measurements();
        Self { reply: Reply::of_conversation(turns.replies), measurements, failure }
    }
}

/// How many tokens a prompt has that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    /// So many.
    Exactly(u32),
    /// No fewer than the one before.
    MoreThanBefore,
    /// Nobody counted.
    Unknown,
}

/// The turns so far.
#[derive(Debug, Default)]
struct Turns {
    replies: Vec<Reply>,
    /// The client's figures and the engine's of each turn.
    figures: Vec<Vec<Measurement>>,
    /// When what arrived, of each turn whose reply was streamed.
    timelines: Vec<timeline::Timeline>,
}

impl Turns {
    /// A request that nothing can follow.
    async fn single(
        &mut self,
        client: &Client,
        engine: &dyn Engine,
        case: &Case,
        sampling: &Sampling,
    ) -> Result<(), Failure> {
        let exchange = client.send(&case.prompt, sampling, case.max_tokens).await?;
        self.push(exchange, engine);
        Ok(())
    }

    async fn converse(
        &mut self,
        client: &Client,
        engine: &dyn Engine,
        task: &dyn Task,
        case: &Case,
        sampling: &Sampling,
        warm: bool,
    ) -> Result<(), Failure> {
        let Prompt::Chat { messages, tools, tool_choice, response_schema } = &case.prompt else {
            return Ok(());
        };
        let watches_cache = task.card().needs.watches_cache;
        let mut watch = watches_cache.then(PrefixTracker::default);
        let mut ask =
            Ask { messages: messages.clone(), tools: tools.clone(), reuse_cache: watches_cache || warm };
        let mut sent = match client.could_not_count(messages, tools) {
            true => Sent::Unknown,
            false => Sent::Exactly(case.prompt_tokens),
        };
        while self.replies.len() < MAX_TURNS {
            if let Some(watch) = &mut watch {
                watch.before(client, &ask.messages, &ask.tools).await;
            }
            if let (Sent::Unknown, Some(tokens)) =
                (sent, watch.as_ref().and_then(PrefixTracker::prompt_tokens))
            {
                sent = Sent::Exactly(tokens);
            }
            let conversation = Conversation {
                messages: &ask.messages,
                tools: &ask.tools,
                tool_choice: *tool_choice,
                response_schema: response_schema.as_deref(),
                reuse_cache: ask.reuse_cache,
            };
            // A later request that is to be cold must not share the conversation's cache.
            let apart = (!ask.reuse_cache && !self.replies.is_empty()).then(|| client.conversation());
            let asker = apart.as_ref().unwrap_or(client);
            let asked = asker.chat(&conversation, sampling, case.max_tokens).await;
            let exchange = asked.map_err(|failure| self.in_turn(failure, self.replies.len()))?;
            self.push(exchange, engine);
            if let (Some(watch), Some(reply), Some(figures)) =
                (&mut watch, self.replies.last_mut(), self.figures.last())
            {
                reply.served = Some(watch.after(client, reply, figures, ask.reuse_cache).await);
            }
            self.check(case, sent).map_err(|failure| self.in_turn(failure, self.replies.len() - 1))?;
            match task.step(case, &self.replies) {
                Step::Done => return Ok(()),
                Step::Say(messages) => {
                    ask.messages.extend(messages);
                    ask.reuse_cache = true;
                    sent = Sent::MoreThanBefore;
                }
                Step::Ask(next) => {
                    ask = next;
                    sent = Sent::Unknown;
                }
            }
        }
        let message = format!("the conversation did not end after {MAX_TURNS} turns");
        Err(Failure::integrity(message))
    }

    fn push(&mut self, exchange: Exchange, engine: &dyn Engine) {
        let mut figures = exchange.measurements;
        figures.extend(engine.measurements(&exchange.last));
        self.figures.push(figures);
        self.timelines.extend(exchange.timeline);
        self.replies.push(exchange.reply);
    }

    /// Says in which turn it was, where there are several.
    fn in_turn(&self, failure: Failure, index: usize) -> Failure {
        match index {
            0 => failure,
            _ => Failure { message: format!("turn {}: {}", index + 1, failure.message), ..failure },
        }
    }

    /// The last reply counts only if the server read the whole prompt (some cut an over-long one silently) and
    /// had room for the reply.
    fn check(&self, case: &Case, sent: Sent) -> Result<(), Failure> {
        let integrity = |message| Err(Failure::integrity(message));
        if let Some(overlong) = self.replies.last().and_then(|reply| reply.overlong.as_ref()) {
            return integrity(format!(
                "the server ignored the output budget: {} bytes came for {} tokens, of which the beginning is kept",
                overlong.bytes, case.max_tokens
            ));
        }
        let mut seen = self.figures.iter().rev().map(|turn| engine_figure(turn, metric::PROMPT_TOKENS));
        let (now, before) = (seen.next().flatten(), seen.next().flatten());
        match (sent, now, before) {
            (Sent::Exactly(tokens), Some(seen), _) if seen != f64::from(tokens) => {
                return integrity(format!("{tokens} prompt tokens were sent, the server saw {seen}"));
            }
            (Sent::MoreThanBefore, Some(seen), Some(before)) if seen < before => {
                return integrity(format!(
                    "the conversation grew, but the server saw {seen} prompt tokens after {before} in the turn before"
                ));
            }
            _ => {}
        }
        // The first request of a case has room for its reply by construction.
        match self.cut_off(case.max_tokens).filter(|_| self.figures.len() > 1) {
            Some(tokens) => integrity(format!(
                "the reply ended after {tokens} of {} tokens: the server's context is full",
                case.max_tokens
            )),
            None => Ok(()),
        }
    }

    /// Tokens of the last reply, if it ended for lack of room before its output budget was used up.
    fn cut_off(&self, max_tokens: u32) -> Option<f64> {
        let cut = self.replies.last()?.finish_reason == Some(FinishReason::Length);
        let tokens = engine_figure(self.figures.last()?, metric::OUTPUT_TOKENS)?;
        (cut && tokens < f64::from(max_tokens)).then_some(tokens)
    }

    /// The figures of the whole conversation: those of its only turn, or what [`metric`] says of several.
    fn measurements(&self) -> Vec<Measurement> {
        let Some(first) = self.figures.first() else { return Vec::new() };
        if self.figures.len() == 1 {
            return first.clone();
        }
        let whole = first.iter().map(|figure| self.over_all_turns(figure));
        if self.timelines.len() < self.figures.len() {
            return whole.collect();
        }
        let timed = timeline::of_turns(&self.timelines);
        let others = whole.filter(|figure| alike(&timed, figure).is_none());
        timed.iter().cloned().chain(others).collect()
    }

    fn over_all_turns(&self, first: &Measurement) -> Measurement {
        match first.name.as_ref() {
            metric::TTFT_S
            | metric::PREFILL_TPS
            | metric::CACHED_TOKENS
            | metric::ITL_P50_S
            | metric::ITL_P95_S
            | metric::ITL_MAX_S
            | metric::POSITION_S => *first,
            metric::PROMPT_TOKENS => {
                *self.figures.last().and_then(|turn| alike(turn, first)).unwrap_or(first)
            }
            metric::DECODE_TPS => self.decode_rate(first),
            _ => self.sum(first),
        }
    }

    /// The sum over the turns; absent when it is absent in one of them.
    fn sum(&self, first: &Measurement) -> Measurement {
        let all: Option<Vec<f64>> =
            self.figures.iter().map(|turn| alike(turn, first).and_then(|figure| figure.value)).collect();
        match (all, first.value) {
            (Some(values), _) => Measurement { value: Some(values.iter().sum()), ..*first },
            (None, Some(_)) => {
                Measurement { value: None, absent: Some("not given for every turn".into()), ..*first }
            }
            (None, None) => *first,
        }
    }

    /// Tokens after the first of each turn over their time; turns without a rate have no part in it.
    fn decode_rate(&self, first: &Measurement) -> Measurement {
        let timed = self.figures.iter().filter_map(|turn| {
            let rate = alike(turn, first)?.value.filter(|rate| *rate > 0.0)?;
            let tokens = engine_figure(turn, metric::OUTPUT_TOKENS)? - 1.0;
            (tokens > 0.0).then_some((tokens, tokens / rate))
        });
        let (tokens, seconds) = timed.fold((0.0, 0.0), |sum, turn| (sum.0 + turn.0, sum.1 + turn.1));
        match seconds > 0.0 {
            true => Measurement { value: Some(tokens / seconds), absent: None, ..*first },
            false => *first,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;
    use crate::error::Result;
    use crate::measure::client::Limits;
    use crate::measure::client::timeline::{Counts, Timeline};
    use crate::measure::engine::ENGINES;
    use crate::measure::mock;
    use crate::measure::mock::{ENDPOINTS, Script};
    use crate::record::{Message, Outcome, Role, Source, Stage};
    use crate::task::{Card, Params, TokenCounter};

    /// Talks for so many turns: each goes on with the model's own words and the number of the turn.
    struct Turnwise(usize);

    impl Task for Turnwise {
        fn card(&self) -> Card {
            Card { name: "test/turnwise", summary: "a conversation", ..Card::PRIMARY }
        }

        fn max_tokens(&self, _: &Params) -> u32 {
            8
        }

        fn cases(&self, _: &Params, _: u64, _: &dyn TokenCounter) -> Result<Vec<Case>> {
            Ok(Vec::new())
        }

        fn step(&self, _: &Case, replies: &[Reply]) -> Step {
            let last = replies.last().map(|reply| reply.content.clone()).unwrap_or_default();
            if replies.len() >= self.0 {
                return Step::Done;
            }
            let again = Message::user(format!("turn {}", replies.len() + 1));
            Step::Say(vec![Message::new(Role::Assistant, last), again])
        }

        fn score(&self, _: &Case, _: &Reply) -> Outcome {
            Outcome::Unscored { reason: "not judged".into() }
        }

        fn perfect(&self, _: &Case) -> Option<Reply> {
            None
        }
    }

    /// 13 tokens of the mock's template and tokenizer.
    fn case(prompt_tokens: u32) -> Case {
        Case {
            id: "".into(),
            task: "test/turnwise".into(),
            task_version: 1,
            arm: None,
            context: 512,
            index: 0,
            depth: None,
            cluster: "".into(),
            prompt: Prompt::chat(vec![Message::user("turn 1")]),
            max_tokens: 8,
            prompt_tokens,
            target: serde_json::Value::Null,
            forced: Vec::new(),
            shared_tokens: 0,
        }
    }

    fn hold(turns: usize, case: &Case, script: Script) -> HeldConversation {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(mock::serve(listener, script, std::future::pending()));
            let limits = Limits { idle_timeout: Duration::from_millis(300), ..Limits::default() };
            let client = Client::new(&url, ENDPOINTS, limits).unwrap();
            HeldConversation::hold(
                &client.conversation(),
                ENGINES[0],
                &Turnwise(turns),
                case,
                &Sampling::default(),
                false,
            )
            .await
        })
    }

    fn script(fault: Option<&str>) -> Script {
        Script {
            decode_ms_per_token: 4.0,
            replies: ["one", "two and two and two and two", "three"].map(str::to_owned).to_vec(),
            faults: fault.iter().map(|fault| fault.parse().unwrap()).collect(),
            ..Script::default()
        }
    }

    fn prompt_tokens() -> u32 {
        let talk = hold(1, &case(0), script(None));
        let message = talk.failure.unwrap().message;
        message.rsplit(' ').next().unwrap().parse().unwrap()
    }

    fn engine(talk: &HeldConversation, name: &str) -> Option<f64> {
        engine_figure(&talk.measurements, name)
    }

    #[test]
    fn a_conversation_goes_on_until_its_task_is_done() {
        let case = case(prompt_tokens());
        let one = hold(1, &case, script(None));
        let talk = hold(3, &case, script(None));
        assert_eq!((&one.failure, &talk.failure), (&None, &None));
        let reply = talk.reply.as_ref().unwrap();
        let said: Vec<&str> = reply.turns().map(|turn| turn.content.as_str()).collect();
        assert_eq!(said, ["one", "two and two and two and two", "three"]);
        assert!(reply.earlier.iter().all(|turn| turn.earlier.is_empty()));
        assert_eq!(one.reply.unwrap().earlier, []);
        // Sums, the last turn's prompt, and the first turn's cold figures.
        assert_eq!(engine(&talk, metric::OUTPUT_TOKENS), Some(9.0));
        assert!(engine(&talk, metric::PROMPT_TOKENS).unwrap() > f64::from(case.prompt_tokens) + 20.0);
        assert_eq!(engine(&talk, metric::CACHED_TOKENS), Some(0.0));
        assert!(engine(&talk, metric::PREFILL_TPS).is_some());
        let client = |name: &str| {
            let found = talk.measurements.iter().find(|m| m.name == name && m.source == Source::Client);
            found.unwrap().value
        };
        assert!(client(metric::PREFILL_TPS).is_some() && client(metric::DECODE_TPS).is_some());
        assert!(client(metric::TOTAL_S).unwrap() >= 0.036, "three replies take 36 ms at least");
    }

    #[test]
    fn later_turns_go_on_from_the_cache_and_the_first_does_not() {
        let case = case(prompt_tokens());
        let mut turns = Turns::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            tokio::spawn(mock::serve(listener, script(None), std::future::pending()));
            let client = Client::new(&url, ENDPOINTS, Limits::default()).unwrap();
            for _ in 0..2 {
                turns = Turns::default();
                let talked = turns
                    .converse(&client, ENGINES[0], &Turnwise(2), &case, &Sampling::default(), false)
                    .await;
                talked.unwrap();
            }
        });
        let cached: Vec<_> =
            turns.figures.iter().map(|turn| engine_figure(turn, metric::CACHED_TOKENS).unwrap()).collect();
        assert_eq!(cached[0], 0.0);
        assert!(cached[1] >= f64::from(case.prompt_tokens) - 4.0, "{cached:?}");
    }

    #[test]
    fn a_turn_that_fails_is_named_and_what_was_said_is_kept() {
        let case = case(prompt_tokens());
        for (fault, stage, said) in [
            ("http-500@3", Stage::Request, 2),
            ("close@2", Stage::Stream, 1),
            ("silence@2", Stage::Stream, 1),
            ("truncated-prompt@3", Stage::Integrity, 3),
        ] {
            let talk = hold(3, &case, script(Some(fault)));
            let failure = talk.failure.unwrap();
            assert_eq!(failure.stage, stage, "{fault}");
            let turn = fault.rsplit('@').next().unwrap();
            assert!(failure.message.starts_with(&format!("turn {turn}: ")), "{}", failure.message);
            assert_eq!(talk.reply.map(|reply| reply.turns().count()), Some(said), "{fault}");
        }
        let first = hold(3, &case, script(Some("close@1")));
        assert!(first.reply.is_none() && !first.failure.unwrap().message.contains("turn"));
    }

    #[test]
    fn a_prompt_that_was_not_read_whole_and_a_talk_without_end_break_it_off() {
        let talk = hold(3, &case(99), script(None));
        assert_eq!(talk.failure.unwrap().stage, Stage::Integrity);
        let case = case(prompt_tokens());
        let brief = Script { decode_ms_per_token: 0.0, prefill_ms_per_token: 0.0, ..script(None) };
        let full = hold(100, &case, Script { context: 60, ..brief });
        let failure = full.failure.unwrap();
        assert!(failure.stage == Stage::Request && failure.message.starts_with("turn "), "{failure}");
    }

    /// Of a conversation whose later reply ran out of room, with the engine's counts.
    fn turn(finish: FinishReason, prompt: f64, output: Option<f64>) -> (Reply, Vec<Measurement>) {
        let mut figures = vec![Measurement::new(metric::PROMPT_TOKENS, Source::Engine, prompt)];
        figures.extend(output.map(|tokens| Measurement::new(metric::OUTPUT_TOKENS, Source::Engine, tokens)));
        (Reply { finish_reason: Some(finish), ..Reply::default() }, figures)
    }

    #[test]
    fn a_full_context_is_told_from_a_used_budget() {
        let check = |later| {
            let (replies, figures) = [turn(FinishReason::Stop, 13.0, Some(3.0)), later].into_iter().unzip();
            Turns { replies, figures, timelines: Vec::new() }.check(&case(13), Sent::MoreThanBefore)
        };
        assert!(check(turn(FinishReason::Length, 20.0, Some(8.0))).is_ok());
        assert!(check(turn(FinishReason::Stop, 20.0, Some(3.0))).is_ok());
        assert!(check(turn(FinishReason::Length, 20.0, None)).is_ok());
        assert!(check(turn(FinishReason::Length, 20.0, Some(3.0))).unwrap_err().message.contains("3 of 8"));
        assert!(check(turn(FinishReason::Stop, 12.0, Some(3.0))).unwrap_err().message.contains("grew"));
    }

    #[test]
    fn a_sum_needs_every_turn() {
        let (replies, figures) =
            [turn(FinishReason::Stop, 13.0, Some(3.0)), turn(FinishReason::Stop, 20.0, None)]
                .into_iter()
                .unzip();
        let all = Turns { replies, figures, timelines: Vec::new() }.measurements();
        assert_eq!(engine_figure(&all, metric::PROMPT_TOKENS), Some(20.0));
        let output = all.iter().find(|m| m.name == metric::OUTPUT_TOKENS).unwrap();
        assert_eq!((output.value, output.absent.as_deref()), (None, Some("not given for every turn")));
    }

    #[test]
    fn a_new_figure_is_the_sum_of_its_turns() {
        let figures = |bytes| vec![Measurement::new("reply_bytes", Source::Client, bytes)];
        let turn =
            Timeline { events: Vec::new(), counts: Counts::default(), total_s: 1.0, other_choices: false };
        let turns = Turns {
            replies: vec![Reply::default(); 2],
            figures: vec![figures(10.0), figures(30.0)],
            timelines: vec![turn.clone(), turn],
        };
        let all = turns.measurements();
        let of = |name: &str| all.iter().find(|figure| figure.name == name).unwrap().value;
        assert_eq!((of("reply_bytes"), of(metric::TOTAL_S)), (Some(40.0), Some(2.0)));
    }
}
