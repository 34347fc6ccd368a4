//! A server of the reference outside of a run: it counts tokens for `cases` and answers the pilot.

use tempfile::TempDir;

use super::cases;
use super::interrupt::Interrupt;
use super::prepared::Prepared;
use super::scratch::scratch;
use super::server::{LaunchOutcome, RunningServer};
use super::start::Starter;
use crate::error::{Context, Error, Kind, Result};
use crate::measure::client::Conversation;
use crate::record::plan::Visit;
use crate::record::suite::{Cell, Sampling, Suite, TaskSpec};
use crate::record::{Arm, Case, KeyParts, Message, Outcome, Trial, metric};
use crate::task::Emit;

/// A running server of the suite's reference; nothing of it is journalled.
pub struct CaseServer {
    live: RunningServer,
    setting: String,
    /// Room for a request and its reply (tokens).
    context: u32,
    sampling: Sampling,
    /// Of its log.
    _folder: TempDir,
    interrupt: Interrupt,
}

/// Tokens of a number at most: four digits, each a token for some models, and the space before them.
const NUMBER: u32 = 5;
/// Tokens of the rest of a timed request and of the chat template, amply.
const FRAME: u32 = 120;

/// How fast a request was answered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Tokens of the prompt.
    pub prompt_tokens: f64,
    /// Time to first token (s).
    pub ttft_s: f64,
    /// Prefill rate (tokens/s), the engine's where it says one.
    pub prefill_tps: f64,
    /// Decode rate (tokens/s), the engine's where it says one.
    pub decode_tps: f64,
}

impl CaseServer {
    /// Starts the reference with room for `context` tokens. Its log goes to a folder that is gone with the server.
    ///
    /// # Errors
    /// When the server does not come up, runs something else than asked, or the user asked to stop; also where the reference
    /// comes from a pack.
    pub async fn open(
        suite: &Suite,
        prepared: &Prepared,
        context: u32,
        interrupt: &Interrupt,
    ) -> Result<Self> {
        if suite.pack.is_some() {
            return Err(Error::usage(
                "the suite's reference comes from a pack: it is not served here, and its cases are made",
            )
            .hint("ask the suite that the pack was made with"));
        }
        let folder = scratch()?;
        let engine = folder.path().join("engine");
        std::fs::create_dir(&engine).context(|| format!("cannot create {}", engine.display()))?;
        let cell = Cell { setting: suite.reference().clone(), context };
        let visit = Visit { cell, round: 0, replicate: 0, slots: 1, served_at: None, trials: Vec::new() };
        let starter = Starter { suite, prepared, folder: folder.path(), interrupt };
        let (_, up) = starter.start_warm(&visit, 0).await?;
        let setting = suite.reference().label.clone();
        match up {
            LaunchOutcome::Ready(live) => Ok(Self {
                live: *live,
                setting,
                context,
                sampling: suite.sampling_of(suite.reference()),
                _folder: folder,
                interrupt: interrupt.clone(),
            }),
            LaunchOutcome::Interrupted => {
                Err(Error::new(Kind::Interrupted, "stopped while the server was loading"))
            }
            LaunchOutcome::Refused(Outcome::Failed { error, .. }) => Err(Error::new(
                Kind::EngineStart,
                format!("the server of {setting} did not come up:\n{error}"),
            )
            .hint("`kneepoint run SUITE --dry-run` prints its exact command, to be tried by hand")),
            LaunchOutcome::Refused(Outcome::Unscored { reason }) => {
                Err(Error::new(Kind::EngineStart, format!("{setting} cannot be used: {reason}")))
            }
            LaunchOutcome::Refused(Outcome::Scored(_)) => {
                Err(Error::new(Kind::EngineStart, format!("{setting} cannot be used")))
            }
        }
    }

    /// Makes the cases of a task, counted by this server; `emit` takes them one by one.
    ///
    /// # Errors
    /// As [`Task::cases`](crate::task::Task::cases), and what `emit` returns.
    pub async fn each_case(
        &self,
        spec: &TaskSpec,
        seed: u64,
        context: u32,
        arm: Option<Arm>,
        emit: Emit<'_>,
    ) -> Result<()> {
        let counter = cases::Counter::of(self.live.client().clone(), self.interrupt.clone());
        cases::each_case(spec, seed, context, arm, counter, emit).await
    }

    /// Sends a case and judges the reply.
    pub async fn ask(&mut self, case: &Case) -> Trial {
        let key = KeyParts {
            setting: self.setting.as_str().into(),
            context: case.context,
            round: 0,
            replicate: 0,
            task: case.task,
            arm: case.arm,
            index: case.index,
            repeat: 0,
        }
        .key();
        self.live.run(&key, case, &self.sampling).await
    }

    /// Whether [`CaseServer::time`] can send so many words.
    pub fn fits(&self, words: usize, max_tokens: u32) -> bool {
        words <= words_that_fit(self.context, max_tokens)
    }

    /// Asks for a reply to a prompt of so many words (fewer, where no more fit) that no cache holds, and says how fast that went.
    ///
    /// # Errors
    /// When the server does not answer, or neither it nor the client's clock gives a rate.
    pub async fn time(&self, words: usize, max_tokens: u32) -> Result<Timing> {
        let words = words.min(words_that_fit(self.context, max_tokens));
        let numbers: Vec<String> = (1..=words).map(|n| (n * 7919 % 9973).to_string()).collect();
        let text = format!("{}\nCount from 1 to 50.", numbers.join(" "));
        let messages = [Message::user(text)];
        let live = &self.live;
        let answer = live.client().chat(&Conversation::of(&messages), &self.sampling, max_tokens).await;
        let answer = answer.map_err(|failure| Error::runtime(failure.message))?;
        let engine = live.engine().measurements(&answer.last);
        let of = |name: &str| {
            let all = engine.iter().chain(&answer.measurements);
            all.filter(|measured| measured.name == name).find_map(|measured| measured.value)
        };
        let known =
            |name: &str| of(name).ok_or_else(|| Error::runtime(format!("the server gives no {name}")));
        let (prompt_tokens, ttft_s) = (known(metric::PROMPT_TOKENS)?, known(metric::TTFT_S)?);
        Ok(Timing {
            prompt_tokens,
            ttft_s,
            prefill_tps: of(metric::PREFILL_TPS).unwrap_or(prompt_tokens / ttft_s),
            decode_tps: known(metric::DECODE_TPS)?,
        })
    }

    /// Ends the server, waits for it and removes its log.
    ///
    /// # Errors
    /// When the server cannot be ended.
    pub async fn close(self) -> Result<()> {
        self.live.stop().await
    }
}

/// Numbers in a prompt that fits into a context (tokens) together with its reply; one where none does.
fn words_that_fit(context: u32, max_tokens: u32) -> usize {
    (context.saturating_sub(max_tokens + FRAME) / NUMBER).max(1) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timed_prompt_fits_whatever_the_tokenizer() {
        for (context, words) in [(128, 1), (256, 24), (512, 75), (2048, 382), (8192, 1611)] {
            assert_eq!(words_that_fit(context, 16), words);
            assert!(words == 1 || words as u32 * NUMBER + FRAME + 16 <= context);
        }
    }
}
