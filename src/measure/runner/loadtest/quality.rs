//! The same cases alone and concurrently, on the same server: does the quality fall when requests are batched?

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::prompts::{Ask, Prompts};
use crate::measure::client::timeline::Timeline;
use crate::measure::client::{Client, Conversation, Failure};
use crate::measure::engine::Engine;
use crate::measure::runner::conversation::HeldConversation;
use crate::record::suite::Sampling;
use crate::record::{Case, Measurement, Outcome, Reply, Stage};
use crate::task::Task;

/// Whom and how to ask.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) client: Client,
    pub(super) engine: &'static dyn Engine,
    pub(super) sampling: Sampling,
    pub(super) prompts: Arc<Prompts>,
}

/// A case that was answered, or not.
pub(super) struct Asked {
    pub(super) case: Arc<Case>,
    /// When it was sent (UTC, RFC 3339).
    pub(super) started: crate::clock::Moment,
    pub(super) reply: Option<Reply>,
    pub(super) measurements: Vec<Measurement>,
    pub(super) outcome: Outcome,
}

/// What ended: a case, or a request beside the cases.
enum Ended {
    Item(Box<Asked>),
    Beside,
}

/// Asks every case with so many requests under way from the first case to the last. When no case is left to be
/// asked, other requests stand in, so that the last ones are not alone. `seen` takes what ended, and says whether to
/// go on.
pub(super) async fn ask_all<E>(
    asker: &Asker,
    task: &'static dyn Task,
    cases: Vec<Arc<Case>>,
    streams: u32,
    mut seen: impl FnMut(Asked) -> Result<bool, E>,
) -> Result<(), E> {
    let mut waiting: VecDeque<Arc<Case>> = cases.into();
    let mut items_left = waiting.len();
    let mut beside = 0;
    let mut under_way: JoinSet<Ended> = JoinSet::new();
    while items_left > 0 {
        while under_way.len() < streams as usize {
            match waiting.pop_front() {
                Some(case) => {
                    let asker = asker.clone();
                    under_way.spawn(async move { Ended::Item(Box::new(asker.ask(task, case).await)) });
                }
                None => {
                    let asker = asker.clone();
                    let number = beside;
                    beside += 1;
                    under_way.spawn(async move {
                        asker.stand_in(streams, number).await;
                        Ended::Beside
                    });
                }
            }
        }
        match under_way.join_next().await {
            Some(Ok(Ended::Item(asked))) => {
                items_left -= 1;
                if !seen(*asked)? {
                    break;
                }
            }
            Some(Ok(Ended::Beside)) => {}
            // Neither panics; a case that did has no record, and is asked again on resume.
            Some(Err(_)) | None => items_left -= 1,
        }
    }
    under_way.shutdown().await;
    Ok(())
}

impl Asker {
    async fn ask(&self, task: &'static dyn Task, case: Arc<Case>) -> Asked {
        let started = crate::clock::moment();
        let talk = HeldConversation::hold(
            &self.client.conversation(),
            self.engine,
            task,
            &case,
            &self.sampling,
            false,
        )
        .await;
        let outcome = outcome(task, &case, &talk);
        Asked { case, started, reply: talk.reply, measurements: talk.measurements, outcome }
    }

    /// One request of a step.
    pub(super) async fn load(&self, ask: &Ask) -> Result<Timeline, Failure> {
        let messages = &ask.messages;
        let conversation =
            Conversation { reuse_cache: self.prompts.reuse_cache(), ..Conversation::of(messages) };
        let asked = self.client.chat_under_load(&conversation, &self.sampling, ask.max_tokens, true).await?;
        asked.timeline.ok_or_else(|| Failure::integrity("the server did not stream its reply"))
    }

    /// A request of the load's own kind; what becomes of it does not matter, but a server that refuses it at once
    /// must not be asked without a pause.
    async fn stand_in(&self, streams: u32, number: u32) {
        const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);
        let ask = self.prompts.make(&format!("beside {streams} items"), number);
        if self.load(&ask).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn outcome(task: &dyn Task, case: &Case, talk: &HeldConversation) -> Outcome {
    match (&talk.reply, &talk.failure) {
        (_, Some(failure)) if failure.unsupported => Outcome::Unscored { reason: failure.message.clone() },
        (_, Some(failure)) => {
            let refused = (failure.stage == Stage::Request).then(|| task.refused(case, &failure.message));
            refused
                .flatten()
                .unwrap_or_else(|| Outcome::Failed { stage: failure.stage, error: failure.message.clone() })
        }
        (Some(reply), None) => task.judge(case, reply),
        (None, None) => Outcome::Unscored { reason: "nothing was asked".to_owned() },
    }
}
