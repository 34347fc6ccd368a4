//! A running server: its command line, and what it is asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::conversation::HeldConversation;
use super::handle::ServerHandle;
use super::prepared::Prepared;
use crate::clock::Moment;
use crate::error::{self, Context, Error, Result};
use crate::measure::client::{Client, Conversation, Limits, PromptTokens};
use crate::measure::engine::{Engine, Launch};
use crate::measure::probe::sampler::Sampler;
use crate::measure::{client, engine};
use crate::record::journal::LaunchRecord;
use crate::record::plan::Visit;
use crate::record::suite::{Sampling, Suite};
use crate::record::{
    Argv, Arm, Case, Measurement, Message, Name, Outcome, Prompt, Reply, Source, Stage, Trial, TrialKey,
    metric, short_hash,
};
use crate::task::{self, Task};

/// Lines of a server's log that go into an error.
const LOG_TAIL_LINES: usize = 12;
/// Characters of a server's refusal that are kept.
const REFUSAL_CHARS: usize = 300;
/// How long a server may take to answer `/health` before it counts as hung.
const ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Tokens that a warm-up request generates.
const WARM_UP_TOKENS: u32 = 4;
/// Most warm-up requests of a server on a graphics card.
const WARM_UP_ROUNDS: u32 = 5;
/// Words of such a request: more than a batch of any server.
const WARM_UP_WORDS: usize = 3000;
/// Two warm-up requests whose times differ by less than this share are steady.
const STEADY: f64 = 0.2;

/// What became of a launch.
pub(super) enum LaunchOutcome {
    /// The server answers.
    Ready(Box<RunningServer>),
    /// It did not come up, or runs something else than asked: every trial of the visit ends so.
    Refused(Outcome),
    /// The user asked to stop while it was loading.
    Interrupted,
}

/// A server that answers.
pub(super) struct RunningServer {
    /// Whether the server may keep counters of its drafts.
    pub(super) counts_drafts: bool,
    server: ServerHandle,
    client: Client,
    engine: &'static dyn Engine,
    sampler: Sampler,
    launch: u32,
    /// Context length (tokens) that it was started for, where it serves another: its memory says nothing there.
    served_at: Option<u32>,
    drops_tools: Option<bool>,
    /// The text that was asked about last, and the client that asked.
    text: Option<(Name, Client)>,
    /// What tells the tokens of prompts without asking.
    own: Option<Arc<dyn PromptTokens>>,
    /// Why tools cannot be sent, where that is known.
    no_tools: Option<String>,
}

/// What a server is started with.
#[derive(Debug, Clone)]
pub struct ServerCommand {
    /// Its command line.
    pub argv: Argv,
    /// The configuration file that the command line names, for engines that read one.
    pub config: Option<ConfigFile>,
}

/// A server's configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Where it lies: in the run folder, beside the server's log.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

impl ConfigFile {
    pub(super) fn write(&self) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).context(|| format!("cannot make {}", folder.display()))?;
        }
        std::fs::write(&self.path, &self.text).context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Returns the server's command line for a visit, and its configuration file as it would lie in a run folder; nothing is
/// written.
///
/// # Errors
/// When this build cannot run the setting, or the server is one that runs already.
pub fn command(
    suite: &Suite,
    prepared: &Prepared,
    visit: &Visit,
    port: u16,
    folder: &Path,
) -> Result<ServerCommand> {
    let files = prepared.files.as_ref().ok_or_else(|| Error::usage("an attached server is not started"))?;
    let (engine, model) = (prepared.engine, prepared.model(&visit.cell.setting)?);
    engine::check_form(engine.card(), model)?;
    let launch = Launch {
        binary: &files.binary,
        library_path: files.library_path.as_deref(),
        model,
        draft: prepared.draft(&visit.cell.setting)?,
        port,
        slots: visit.slots,
        threads: suite.engine.threads,
        extra_args: &suite.engine.args,
        build: &prepared.build,
        gpu: prepared.gpu,
        config: None,
    };
    let cell = visit.served();
    let Some(name) = engine.card().config_file else {
        return Ok(ServerCommand { argv: engine.argv(&cell, &launch)?, config: None });
    };
    let text = engine.config(&cell, &launch)?;
    // One file for each text: two servers of a run may differ in nothing else.
    let path = folder.join("engine").join(format!("{}-{name}", short_hash(text.as_bytes())));
    let argv = engine.argv(&cell, &Launch { config: Some(&path), ..launch })?;
    Ok(ServerCommand { argv, config: Some(ConfigFile { path, text }) })
}

/// What the log of a server that did not come up says of its setting, without control characters.
pub(super) fn refusal(engine: &dyn Engine, log: &Path) -> Option<String> {
    let bytes = std::fs::read(log).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = engine.refusal(&text)?;
    Some(line.chars().filter(|c| !c.is_control()).take(REFUSAL_CHARS).collect())
}

/// A client for a server of that address, in the engine's wire format.
pub(super) fn client_of(suite: &Suite, engine: &dyn Engine, base: &str) -> Result<Client> {
    let limits = Limits {
        request_timeout: Duration::from_secs_f64(suite.engine.request_timeout_s),
        idle_timeout: Duration::from_secs_f64(suite.engine.idle_timeout_s),
        ..Limits::default()
    };
    Ok(Client::new(base, engine.endpoints(), limits)?.speaking(engine.card().wire))
}

/// What the server says of itself, from the first path that answers; null when none does.
pub(super) async fn properties(engine: &dyn Engine, client: &Client) -> serde_json::Value {
    for path in engine.card().properties {
        if let Ok(answer) = client.get_json(path).await {
            return answer;
        }
    }
    serde_json::Value::Null
}

impl RunningServer {
    pub(super) fn new(
        server: ServerHandle,
        client: Client,
        engine: &'static dyn Engine,
        sampler: Sampler,
        launch: u32,
        no_tools: Option<String>,
    ) -> Self {
        Self {
            counts_drafts: false,
            server,
            client,
            engine,
            sampler,
            launch,
            served_at: None,
            drops_tools: None,
            text: None,
            own: None,
            no_tools,
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn engine(&self) -> &'static dyn Engine {
        self.engine
    }

    /// Number of its launch.
    pub(super) const fn launch_id(&self) -> u32 {
        self.launch
    }

    /// It serves this visit from now on, as this launch; what is written down of it.
    pub(super) fn serve(&mut self, visit: &Visit, record: LaunchRecord) -> LaunchRecord {
        self.launch = record.id;
        self.served_at = visit.served_at;
        match visit.served_at {
            Some(_) => LaunchRecord { effective: record.effective.without_memory(), ..record },
            None => record,
        }
    }

    /// The probes measure from now on.
    pub(super) fn watch(&self) {
        self.sampler.begin();
    }

    /// What the probes measured since [`RunningServer::watch`].
    pub(super) fn watched(&self) -> Vec<Measurement> {
        self.sampler.end()
    }

    /// Whether the server died or hangs, and what its log says; `error` is what was noticed of it.
    pub(super) async fn gone(&mut self, error: String) -> Option<String> {
        match self.blame(Stage::Stream, error).await {
            Outcome::Failed { stage: Stage::Server, error } => Some(error),
            _ => None,
        }
    }

    /// Ends the server and waits for it.
    pub(super) async fn stop(self) -> Result<()> {
        self.server.stop().await
    }

    /// Requests whose results do not count: the first one pays for lazily made buffers, and on a graphics card for
    /// kernels that are compiled for each shape of work, so there it is long enough to have them all, asked further over
    /// the cache (a question to a text that was read is a shape of its own, which took 4 s on a fresh card), and repeated
    /// until its time is steady. If it fails, the first trial will say so.
    pub(super) async fn warm_up(&self, sampling: &Sampling, gpu: bool, context: u32) {
        let (words, rounds) = if gpu { (context as usize / 4, WARM_UP_ROUNDS) } else { (0, 1) };
        let text = "One more word. ".repeat(words.min(WARM_UP_WORDS) / 3);
        let cold = [Message::user(format!("{text}Say hello."))];
        let further =
            [Message::user(format!("{text}Say what the last of the words before this question was."))];
        let cold = Conversation::of(&cold);
        let further = gpu.then_some(Conversation { reuse_cache: true, ..Conversation::of(&further) });
        let mut before = f64::INFINITY;
        for _ in 0..rounds {
            let client = self.client.conversation();
            let began = std::time::Instant::now();
            for asked in [Some(&cold), further.as_ref()].into_iter().flatten() {
                if let Err(failure) = client.chat(asked, sampling, WARM_UP_TOKENS).await {
                    tracing::debug!("warm-up failed: {}", failure.message);
                    return;
                }
            }
            let took = began.elapsed().as_secs_f64();
            if (took / before - 1.0).abs() < STEADY {
                return;
            }
            before = took;
        }
    }

    /// What tells the tokens of prompts without asking the server.
    pub(super) fn tell_tokens_by(&mut self, own: Option<Arc<dyn PromptTokens>>) {
        self.own = own;
    }

    /// Runs one case and judges the reply.
    pub(super) async fn run(&mut self, key: &TrialKey, case: &Case, sampling: &Sampling) -> Trial {
        let started = crate::clock::moment();
        // In the constrained arm the server forces a call, but of tools that the model was not told of.
        if key.arm != Some(Arm::Prompted) && self.template_drops_tools(case).await {
            let reason = "the chat template drops the tools".to_owned();
            return self.trial(key, &case.id, started, None, Vec::new(), Outcome::Unscored { reason });
        }
        if let Some(reason) = self.cannot_send_tools(key, case) {
            return self.trial(key, &case.id, started, None, Vec::new(), Outcome::Unscored { reason });
        }
        let Some(task) = task::find(&case.task) else {
            let reason = format!("unknown task {}", case.task);
            return self.trial(key, &case.id, started, None, Vec::new(), Outcome::Unscored { reason });
        };
        let counters = self.draft_counters().await;
        let (client, warm) = self.client_for(case);
        let client = client.with_own_tokens(self.own.clone());
        self.sampler.begin();
        let mut talk = HeldConversation::hold(&client, self.engine, task, case, sampling, warm).await;
        let mut probed = self.of_its_length(self.sampler.end());
        if let Some(reply) = &mut talk.reply {
            self.add_tokens(task, reply).await;
        }
        let mut measurements = talk.measurements;
        measurements.append(&mut probed);
        let outcome = match (&talk.reply, talk.failure) {
            (_, Some(failure)) if failure.unsupported => Outcome::Unscored { reason: failure.message },
            (_, Some(failure)) => refused(case, self.blame(failure.stage, failure.message).await),
            (Some(reply), None) => task.judge(case, reply),
            (None, None) => Outcome::Unscored { reason: "nothing was asked".to_owned() },
        };
        let mut trial = self.trial(key, &case.id, started, talk.reply, measurements, outcome);
        self.add_drafts(counters.as_ref(), &mut trial).await;
        trial
    }

    /// Memory is that of the context length that the server was started for.
    fn of_its_length(&self, measured: Vec<Measurement>) -> Vec<Measurement> {
        let Some(served_at) = self.served_at else { return measured };
        let known = |figure: Measurement| match metric::MEMORY.contains(&figure.name.as_ref()) {
            true => Measurement {
                value: None,
                absent: Some(format!("the server was started for a context of {served_at} tokens").into()),
                ..figure
            },
            false => figure,
        };
        measured.into_iter().map(known).collect()
    }

    /// The client that asks a case, and whether it has just asked another question to the same text: then the server's cache
    /// may hold the beginning of the prompt, which is wanted. Everything else is asked cold.
    fn client_for(&mut self, case: &Case) -> (Client, bool) {
        if case.shared_tokens == 0 {
            self.text = None;
            return (self.client.conversation(), false);
        }
        match &self.text {
            Some((text, client)) if *text == case.cluster => (client.clone(), true),
            _ => {
                let client = self.client.conversation();
                self.text = Some((case.cluster, client.clone()));
                (client, false)
            }
        }
    }

    /// Asks once more without streaming and notes whether the tool calls are others: then one of the server's two
    /// ways to send them is wrong. Conversations of several turns are left alone.
    pub(super) async fn check_stream(&self, case: &Case, sampling: &Sampling, trial: &mut Trial) {
        let (Prompt::Chat { messages, tools, tool_choice, response_schema }, Some(streamed)) =
            (&case.prompt, trial.reply.as_ref().filter(|reply| reply.earlier.is_empty()))
        else {
            return;
        };
        let conversation = Conversation {
            messages,
            tools,
            tool_choice: *tool_choice,
            response_schema: response_schema.as_deref(),
            reuse_cache: false,
        };
        let measured = match self.client.chat_whole(&conversation, sampling, case.max_tokens).await {
            Ok(whole) => {
                let differs = !task::tools::same_calls(streamed, &whole.reply);
                Measurement::new(metric::STREAM_DIFFERS, Source::Client, f64::from(u8::from(differs)))
            }
            Err(failure) => Measurement::absent(metric::STREAM_DIFFERS, Source::Client, failure.message),
        };
        trial.measurements.push(measured);
    }

    /// Asks the server's tokenizer for the tokens of a reply, where the task reads them. Speculation puts several
    /// tokens into one event and servers do not name those that they accepted, so the text is what counts.
    async fn add_tokens(&self, task: &dyn Task, reply: &mut Reply) {
        if !task.card().needs.reads_tokens {
            return;
        }
        match self.client.tokenize(&reply.text(), false).await {
            Ok(tokens) => reply.tokens = tokens,
            // The task says that it has no tokens to judge.
            Err(error) => tracing::debug!("the reply has no token ids: {}", error::chain(&error)),
        }
    }

    /// A failure is the server's when it is gone or does not answer any more; its log says why.
    async fn blame(&mut self, stage: Stage, error: String) -> Outcome {
        let answers = tokio::time::timeout(ALIVE_TIMEOUT, self.client.healthy()).await.unwrap_or(false);
        if self.server.is_alive() && answers {
            return Outcome::Failed { stage, error };
        }
        let state = self.server.broken().await;
        let tail = self.server.log_tail(LOG_TAIL_LINES);
        Outcome::Failed { stage: Stage::Server, error: format!("the server {state}: {error}\n{tail}") }
    }

    /// The outcome of a trial whose case could not be made.
    pub(super) async fn no_case(&mut self, key: &TrialKey, error: &Error) -> Trial {
        if client::is_unsupported(error) {
            let outcome = Outcome::Unscored { reason: error::chain(error) };
            return self.trial(key, "", crate::clock::moment(), None, Vec::new(), outcome);
        }
        let message = format!("cannot make the case: {}", error::chain(error));
        let outcome = self.blame(Stage::Request, message).await;
        self.trial(key, "", crate::clock::moment(), None, Vec::new(), outcome)
    }

    /// Whether the prompt is the same with and without the case's tools: then the model cannot know of them. No for
    /// a case without tools.
    pub(super) async fn template_drops_tools(&mut self, case: &Case) -> bool {
        let Prompt::Chat { messages, tools, .. } = &case.prompt else { return false };
        if tools.is_empty() {
            return false;
        }
        if let Some(known) = self.drops_tools {
            return known;
        }
        let drops = self.client.drops_tools(messages, tools).await;
        self.drops_tools = drops;
        drops.unwrap_or(false)
    }

    /// Why a case with tools cannot be sent to this server.
    fn cannot_send_tools(&self, key: &TrialKey, case: &Case) -> Option<String> {
        let Prompt::Chat { tools, .. } = &case.prompt else { return None };
        let sends = !tools.is_empty() && key.arm.is_some_and(|arm| arm != Arm::Prompted);
        let reason = self.no_tools.as_ref().filter(|_| sends)?;
        Some(format!("this server takes no tools: {reason}"))
    }

    fn trial(
        &self,
        key: &TrialKey,
        case: &str,
        started: Moment,
        reply: Option<Reply>,
        measurements: Vec<Measurement>,
        outcome: Outcome,
    ) -> Trial {
        Trial {
            key: *key,
            case: case.into(),
            launch: self.launch,
            started: started.wall.into(),
            tick: started.tick,
            reply: reply.map(Box::new),
            measurements: measurements.into(),
            outcome,
        }
    }
}

/// A refused request may say something about its case, such as a schema that the server cannot compile.
fn refused(case: &Case, outcome: Outcome) -> Outcome {
    let Outcome::Failed { stage: Stage::Request, error } = &outcome else { return outcome };
    let said = task::find(&case.task).and_then(|task| task.refused(case, error));
    said.unwrap_or(outcome)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::measure::engine::tabbyapi::TabbyApi;
    use crate::measure::model::EngineFiles;
    use crate::record::suite::Cell;
    use crate::record::{Build, EngineInfo};

    fn suite() -> Suite {
        let text = "name = \"a\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"/models/m\"\nweights = \"exl3\"\n[reference]\n\
                    [[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n[engine]\nname = \"tabbyapi\"\n";
        crate::suite::parse(text, Path::new("a.toml"), &[]).unwrap()
    }

    fn prepared(model: &Path) -> Prepared {
        Prepared {
            engine: &TabbyApi,
            files: Some(EngineFiles {
                binary: "/opt/tabbyAPI/main.py".into(),
                library_path: None,
                origin: String::new(),
            }),
            build: Build::default(),
            weights: HashMap::from([(("m".to_owned(), "exl3".to_owned()), model.to_owned())]),
            engine_info: EngineInfo {
                name: "tabbyapi".into(),
                version: String::new(),
                origin: String::new(),
                sha256: None,
                placement: None,
            },
            model_infos: Vec::new(),
            file_infos: Vec::new(),
            witnesses: Vec::new(),
            gpu: false,
            attached: None,
        }
    }

    #[test]
    fn a_configuration_file_lies_beside_the_log_and_is_named_on_the_command_line() {
        let folder = tempfile::tempdir().unwrap();
        let (suite, prepared) = (suite(), prepared(folder.path()));
        let cell = Cell { setting: suite.reference().clone(), context: 512 };
        let visit = Visit { cell, round: 0, replicate: 0, slots: 1, served_at: None, trials: Vec::new() };
        let of = |port| command(&suite, &prepared, &visit, port, folder.path()).unwrap();
        let ServerCommand { argv, config } = of(5001);
        let config = config.unwrap();
        assert_eq!(argv.args.last().map(Path::new), Some(config.path.as_path()));
        assert_eq!(config.path.parent(), Some(folder.path().join("engine").as_path()));
        assert!(config.text.contains("  port: 5001\n") && config.text.contains("  max_seq_len: 512\n"));
        assert!(!config.path.exists(), "asking for the command writes nothing");
        config.write().unwrap();
        assert_eq!(std::fs::read_to_string(&config.path).unwrap(), config.text);
        assert_eq!(of(5001).config.as_ref(), Some(&config));
        assert_ne!(of(5002).config.map(|other| other.path), Some(config.path));
    }
}
