//! The cases of a run: made once with the served model's tokenizer, the same for every setting of a model, and kept
//! on disk.
//!
//! Tokens are counted here where the model's file has a vocabulary that is known here: that takes a tenth of the server's time,
//! and what needs nothing of the server is made while it loads. The server has the last word: it is asked for the tokens of
//! the first case of every list, and where they are others, it counts for all of that model's cases.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::case_file::{CaseFile, Place};
use super::interrupt::Interrupt;
use super::own_tokens::{self, OwnTokens};
use super::packed;
use super::packed::PackedList;
use super::prepared::Prepared;
use super::server::RunningServer;
use crate::error::{Context, Error, Kind, Result, chain};
use crate::measure::client::{Client, PromptTokens};
use crate::measure::model::BytePairs;
use crate::record::journal::Journal;
use crate::record::suite::{Suite, TaskSpec};
use crate::record::{Arm, Case, Message, Name, Prompt, Tool, TrialKey};
use crate::task::{self, Params, TokenCounter};

/// What identifies a list of cases: model (for its tokenizer), task, arm, context.
type ListKey = (String, Name, Option<Arm>, u32);

/// Cases that may be made before they are taken.
const AHEAD: usize = 2;
/// Processors with which a server that loads does not notice that cases are made: it loads on one or two.
const ENOUGH_PROCESSORS: usize = 4;

/// Makes cases when they are first needed, and checks them against those of an earlier session.
pub(super) struct CaseBook {
    seed: u64,
    specs: HashMap<String, TaskSpec>,
    models: HashMap<String, String>,
    /// Where the cases of each list lie, by index.
    lists: HashMap<ListKey, Vec<Place>>,
    spool: CaseFile,
    journalled: HashMap<(ListKey, u32), Name>,
    /// Where the cases of the reference's pack lie; empty where it is served here.
    packed: HashMap<PackedList, Vec<Place>>,
    interrupt: Interrupt,
    /// By model: where its vocabulary may be read.
    vocabularies: HashMap<String, PathBuf>,
    /// By model: what counts its tokens here; `None` where the server does.
    own: HashMap<String, Option<Arc<OwnTokens>>>,
    /// Lists that were made without a server, and are not checked yet.
    ahead: HashMap<ListKey, Vec<Place>>,
    /// What the user should know.
    notes: Vec<String>,
}

impl CaseBook {
    /// # Errors
    /// When the run folder cannot be written to.
    pub(super) fn new(
        (suite, prepared): (&Suite, &Prepared),
        journal: &Journal,
        folder: &Path,
        interrupt: Interrupt,
    ) -> Result<Self> {
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
            vocabularies: own_tokens::files(suite, prepared),
            own: HashMap::new(),
            ahead: HashMap::new(),
            notes: Vec::new(),
        };
        for trial in journal.trials.iter().filter(|trial| !trial.case.is_empty()) {
            let key = (book.list_key(&trial.key), trial.key.index);
            book.journalled.insert(key, trial.case);
        }
        Ok(book)
    }

    fn list_key(&self, key: &TrialKey) -> ListKey {
        let model = self.models.get(key.setting.as_str()).cloned().unwrap_or_default();
        (model, key.task, key.arm, key.context)
    }

    /// Makes the list of a trial's case, unless it is there; `server` counts tokens.
    pub(super) async fn ready(&mut self, key: &TrialKey, server: &RunningServer) -> Result<()> {
        let list_key = self.list_key(key);
        if !self.lists.contains_key(&list_key) {
            let of_pack = self.packed.get(&(key.task, key.arm, key.context)).cloned();
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

    /// Makes the cases of a list and puts them on disk; where they lie. The server counts where that cannot be done here, and
    /// where what was made here is not what it sees.
    async fn make(&mut self, key: &TrialKey, list_key: &ListKey, client: Client) -> Result<Vec<Place>> {
        if let Some(own) = self.own_of(&list_key.0).await {
            let counter = Counter {
                client: Some(client.clone()),
                own: Some(Arc::clone(&own)),
                interrupt: self.interrupt.clone(),
            };
            let made = match self.ahead.remove(list_key) {
                Some(places) => Ok(places),
                None => self.put_on_disk(key, list_key, counter).await,
            };
            match made {
                Ok(places) => match self.differs(&own, &places, &client).await? {
                    None => return Ok(places),
                    Some(note) => {
                        self.notes.push(note);
                        self.own.insert(list_key.0.clone(), None);
                    }
                },
                Err(error) if error.kind() == Kind::Interrupted => return Err(error),
                // What went wrong is for the server to say.
                Err(_) => {}
            }
        }
        let counter = Counter::of(client, self.interrupt.clone());
        self.put_on_disk(key, list_key, counter).await
    }

    async fn put_on_disk(
        &mut self,
        key: &TrialKey,
        list_key: &ListKey,
        counter: Counter,
    ) -> Result<Vec<Place>> {
        let Self { seed, specs, spool, journalled, .. } = self;
        let spec = specs
            .get(key.task.as_str())
            .ok_or_else(|| Error::usage(format!("the suite has no task {}", key.task)))?;
        let mut places = Vec::new();
        each_case(spec, *seed, key.context, key.arm, counter, &mut |case| {
            check(journalled.get(&(list_key.clone(), case.index)), &case)?;
            places.push(spool.push(&case)?);
            Ok(())
        })
        .await?;
        Ok(places)
    }

    /// Makes the lists of these trials without a server, as far as that can be done; the server checks them when it is up. Nothing
    /// where the server that loads needs all processors: the time that it takes is a figure.
    pub(super) async fn make_ahead(&mut self, keys: &[TrialKey]) {
        if std::thread::available_parallelism().is_ok_and(|processors| processors.get() < ENOUGH_PROCESSORS) {
            return;
        }
        let mut tried: HashSet<ListKey> = HashSet::new();
        for key in keys {
            let list_key = self.list_key(key);
            let made = self.lists.contains_key(&list_key)
                || self.ahead.contains_key(&list_key)
                || self.packed.contains_key(&(key.task, key.arm, key.context));
            if made || self.interrupt.requested() || !tried.insert(list_key.clone()) {
                continue;
            }
            // Also where it is of no use yet: it is read while nothing else can be done.
            let Some(own) = self.own_of(&list_key.0).await.filter(|own| own.knows_a_frame()) else {
                continue;
            };
            let counter = Counter { client: None, own: Some(own), interrupt: self.interrupt.clone() };
            match self.put_on_disk(key, &list_key, counter).await {
                Ok(places) => drop(self.ahead.insert(list_key, places)),
                Err(error) => tracing::debug!("cases of {} wait for the server: {}", key.task, chain(&error)),
            }
        }
    }

    /// What tells the tokens of a setting's prompts here, where its cases were counted with it.
    pub(super) fn own_tokens(&self, setting: &str) -> Option<Arc<dyn PromptTokens>> {
        let own = self.own.get(self.models.get(setting)?)?.clone()?;
        Some(own)
    }

    /// What counts a model's tokens here.
    async fn own_of(&mut self, model: &str) -> Option<Arc<OwnTokens>> {
        if let Some(known) = self.own.get(model) {
            return known.clone();
        }
        let read = self.vocabularies.get(model).cloned().map(|file| {
            tokio::task::spawn_blocking(move || BytePairs::of_model(&file).map(OwnTokens::new).map(Arc::new))
        });
        let own = match read {
            Some(read) => read.await.ok().flatten(),
            None => None,
        };
        self.own.insert(model.to_owned(), own.clone());
        own
    }

    /// Asks the server for the tokens of a list's first case; what to say where they are not those that were counted here.
    async fn differs(
        &mut self,
        own: &OwnTokens,
        places: &[Place],
        client: &Client,
    ) -> Result<Option<String>> {
        let Some(first) = places.first() else { return Ok(None) };
        let case = self.spool.read(*first)?;
        let Prompt::Chat { messages, tools, .. } = &case.prompt else { return Ok(None) };
        let Some(ours) = own.of_chat(messages, tools) else { return Ok(None) };
        let theirs = match client.prompt_tokens(messages, tools).await {
            // Then it is no case to be asked.
            Err(error) if error.kind() == Kind::Refused => return Ok(None),
            theirs => theirs?,
        };
        Ok((ours != theirs).then(|| {
            format!(
                "the server makes other tokens of case 0 of {} at {} tokens of context than its model's file says ({} and {}): \
                 it counts from now on",
                case.task,
                case.context,
                theirs.len(),
                ours.len()
            )
        }))
    }

    /// What the user should know since it was asked last.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// A resumed run must go on with the very same cases; `known` is the id that an earlier session used.
fn check(known: Option<&Name>, case: &Case) -> Result<()> {
    if known.is_none_or(|known| *known == case.id) {
        return Ok(());
    }
    let message = format!("case {} of {} is not the one that this run began with", case.index, case.task);
    Err(Error::usage(message)
        .hint("the server's tokenizer or chat template, or kneepoint itself, changed since then")
        .hint("start a new run instead of resuming this one"))
}

/// Makes the cases of a task; `emit` takes them one by one.
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
    let tokens = ServedTokens { counter, runtime: tokio::runtime::Handle::current() };
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
    /// The server's; `None` while it loads.
    client: Option<Client>,
    /// What counts here, asked first.
    own: Option<Arc<OwnTokens>>,
    interrupt: Interrupt,
}

impl Counter {
    /// The server counts.
    pub(super) fn of(client: Client, interrupt: Interrupt) -> Self {
        Self { client: Some(client), own: None, interrupt }
    }
}

/// Counts with the served model's tokenizer and chat template: here, or over HTTP.
struct ServedTokens {
    counter: Counter,
    runtime: tokio::runtime::Handle,
}

impl ServedTokens {
    /// Waits for an answer of the server, or for the user, who may not want to wait for a slow one.
    fn wait<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = answer => answer,
                () = self.counter.interrupt.asked(1) => Err(stopped()),
            }
        })
    }

    fn client(&self) -> Result<&Client> {
        self.counter.client.as_ref().ok_or_else(|| Error::runtime("there is no server to ask yet"))
    }

    /// What counts here, unless the user asked to stop.
    fn own(&self) -> Result<Option<&OwnTokens>> {
        match self.counter.interrupt.requested() {
            true => Err(stopped()),
            false => Ok(self.counter.own.as_deref()),
        }
    }
}

fn stopped() -> Error {
    Error::new(Kind::Interrupted, "stopped while cases were made")
}

impl TokenCounter for ServedTokens {
    fn count_chat(&self, messages: &[Message], tools: &[Tool]) -> Result<u32> {
        if let Some(own) = self.own()? {
            if let Some(client) = &self.counter.client {
                self.wait(own.learn(messages, tools, client))?;
            }
            if let Some(count) = own.count_chat(messages, tools) {
                return Ok(count);
            }
        }
        self.wait(self.client()?.size_chat(messages, tools))
    }

    fn count_text(&self, text: &str) -> Result<u32> {
        match self.own()?.and_then(|own| own.count_text(text)) {
            Some(count) => Ok(count),
            None => self.wait(self.client()?.count_text(text)),
        }
    }

    fn tokenize(&self, text: &str) -> Result<Vec<u32>> {
        match self.own()?.and_then(|own| own.tokenize(text)) {
            Some(tokens) => Ok(tokens),
            None => self.wait(self.client()?.tokenize(text, false)),
        }
    }
}
