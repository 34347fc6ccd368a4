//! The cases of a run: made once with the served model's tokenizer, the same for every setting of a model, and kept
//! on disk.

use std::collections::HashMap;
use std::path::Path;

use super::case_file::{CaseFile, Place};
use super::interrupt::Interrupt;
use super::packed;
use super::packed::PackedList;
use super::server::RunningServer;
use crate::error::{Context, Error, Kind, Result};
use crate::measure::client::Client;
use crate::record::journal::Journal;
use crate::record::suite::{Suite, TaskSpec};
use crate::record::{Arm, Case, Message, Tool, TrialKey};
use crate::task::{self, Params, TokenCounter};

/// What identifies a list of cases: model (for its tokenizer), task, arm, context.
type ListKey = (String, String, Option<Arm>, u32);

/// Cases that may be made before they are taken.
const AHEAD: usize = 2;

/// Makes cases when they are first needed, and checks them against those of an earlier session.
pub(super) struct CaseBook {
    seed: u64,
    specs: HashMap<String, TaskSpec>,
    models: HashMap<String, String>,
    /// Where the cases of each list lie, by index.
    lists: HashMap<ListKey, Vec<Place>>,
    spool: CaseFile,
    journalled: HashMap<(ListKey, u32), String>,
    /// Where the cases of the reference's pack lie; empty where it is served here.
    packed: HashMap<PackedList, Vec<Place>>,
    interrupt: Interrupt,
}

impl CaseBook {
    /// # Errors
    /// When the run folder cannot be written to.
    pub(super) fn new(suite: &Suite, journal: &Journal, folder: &Path, interrupt: Interrupt) -> Result<Self> {
        let models: HashMap<_, _> =
            suite.settings.iter().map(|setting| (setting.label.clone(), setting.model.clone())).collect();
        let mut spool = CaseFile::create(folder)?;
        let mut book = Self {
            packed: packed::lists(suite, journal, &mut spool)?,
            seed: suite.seed,
            specs: suite.tasks.iter().map(|spec| (spec.name.clone(), spec.clone())).collect(),
            models,
            lists: HashMap::new(),
            spool,
            journalled: HashMap::new(),
            interrupt,
        };
        for trial in journal.trials.iter().filter(|trial| !trial.case.is_empty()) {
            let key = (book.list_key(&trial.key), trial.key.index);
            book.journalled.insert(key, trial.case.clone());
        }
        Ok(book)
    }

    fn list_key(&self, key: &TrialKey) -> ListKey {
        let model = self.models.get(&key.setting).cloned().unwrap_or_default();
        (model, key.task.clone(), key.arm, key.context)
    }

    /// Makes the list of a trial's case, unless it is there; `server` counts tokens.
    pub(super) async fn ready(&mut self, key: &TrialKey, server: &RunningServer) -> Result<()> {
        let list_key = self.list_key(key);
        if !self.lists.contains_key(&list_key) {
            let of_pack = self.packed.get(&(key.task.clone(), key.arm, key.context)).cloned();
            let places = match of_pack {
                Some(places) => self.checked(places, server).await?,
                None => self.make(key, &list_key, server.client().clone()).await?,
            };
            self.lists.insert(list_key, places);
        }
        Ok(())
    }

    /// The case of a trial. `server` counts tokens when the list has to be made.
    pub(super) async fn case(&mut self, key: &TrialKey, server: &RunningServer) -> Result<Case> {
        self.ready(key, server).await?;
        let list_key = self.list_key(key);
        let place = self.lists[&list_key].get(key.index as usize).copied().ok_or_else(|| {
            Error::runtime(format!("{} made fewer cases than asked: no case {}", key.task, key.index))
        })?;
        self.spool.read(place)
    }

    /// The pack's cases, if the server sees the first of them as the pack's did.
    async fn checked(&mut self, places: Vec<Place>, server: &RunningServer) -> Result<Vec<Place>> {
        if let Some(first) = places.first() {
            packed::same_tokens(&self.spool.read(*first)?, server.client()).await?;
        }
        Ok(places)
    }

    /// Makes the cases of a list and puts them on disk; where they lie.
    async fn make(&mut self, key: &TrialKey, list_key: &ListKey, client: Client) -> Result<Vec<Place>> {
        let Self { seed, specs, spool, journalled, interrupt, .. } = self;
        let spec = specs
            .get(&key.task)
            .ok_or_else(|| Error::usage(format!("the suite has no task {}", key.task)))?;
        let mut places = Vec::new();
        let counter = Counter { client, interrupt: interrupt.clone() };
        each_case(spec, *seed, key.context, key.arm, counter, &mut |case| {
            check(journalled.get(&(list_key.clone(), case.index)), &case)?;
            places.push(spool.push(&case)?);
            Ok(())
        })
        .await?;
        Ok(places)
    }
}

/// A resumed run must go on with the very same cases; `known` is the id that an earlier session used.
fn check(known: Option<&String>, case: &Case) -> Result<()> {
    if known.is_none_or(|known| *known == case.id) {
        return Ok(());
    }
    let message = format!("case {} of {} is not the one that this run began with", case.index, case.task);
    Err(Error::usage(message)
        .hint("the server's tokenizer or chat template, or kneepoint itself, changed since then")
        .hint("start a new run instead of resuming this one"))
}

/// Makes the cases of a task with a server's counts; `emit` takes them one by one.
///
/// Tasks are not async: they run on a blocking thread and wait there for the server. No more than
/// [`AHEAD`] cases are made before they are taken.
pub(super) async fn each_case(
    spec: &TaskSpec,
    seed: u64,
    context: u32,
    arm: Option<Arm>,
    counter: Counter,
    emit: task::Emit<'_>,
) -> Result<()> {
    let task = task::find(&spec.name).ok_or_else(|| Error::usage(format!("unknown task {}", spec.name)))?;
    let params = Params::of(spec, context, arm);
    let tokens = ServerTokens { counter, runtime: tokio::runtime::Handle::current() };
    let (sender, mut made) = tokio::sync::mpsc::channel(AHEAD);
    let maker = tokio::task::spawn_blocking(move || {
        task.each_case(&params, seed, &tokens, &mut |case| {
            sender.blocking_send(case).context(|| "nobody takes the cases any more".into())
        })
    });
    while let Some(case) = made.recv().await {
        emit(case)?;
    }
    maker.await.context(|| format!("{} panicked while making cases", task.name()))?
}

/// Who counts tokens, until the user asks to stop.
pub(super) struct Counter {
    pub(super) client: Client,
    pub(super) interrupt: Interrupt,
}

/// Counts with the served model's tokenizer and chat template, over HTTP.
struct ServerTokens {
    counter: Counter,
    runtime: tokio::runtime::Handle,
}

impl ServerTokens {
    /// Waits for an answer of the server, or for the user, who may not want to wait for a slow one.
    fn wait<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = answer => answer,
                () = self.counter.interrupt.asked(1) => {
                    Err(Error::new(Kind::Interrupted, "stopped while cases were made"))
                }
            }
        })
    }
}

impl TokenCounter for ServerTokens {
    fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
        self.wait(self.counter.client.size_chat(messages, tools))
    }

    fn count_text(&self, text: &str) -> Result<u32> {
        self.wait(self.counter.client.count_text(text))
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        self.wait(self.counter.client.tokenize(text, false))
    }
}
