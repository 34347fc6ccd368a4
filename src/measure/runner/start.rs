//! A visit's server: started here, or one that runs already; read back, and warm where that is wanted.

use std::path::Path;
use std::time::{Duration, Instant};

use super::attach;
use super::handle::ServerHandle;
use super::interrupt::Interrupt;
use super::prepared::{Attachment, Prepared};
use super::server::{self, LaunchOutcome, RunningServer, ServerCommand, command};
use crate::error::{self, Context, Error, Result};
use crate::measure::client::Client;
use crate::measure::engine::supervise::{self, Launcher, PORTS, Server};
use crate::measure::probe::Subject;
use crate::measure::probe::sampler::Sampler;
use crate::record::journal::LaunchRecord;
use crate::record::plan::Visit;
use crate::record::suite::Suite;
use crate::record::{Argv, Effective, Outcome, Stage};

/// What became of a launch, and what is written down of it.
type Launched = (LaunchRecord, LaunchOutcome);

/// What the servers of a run are started with.
#[derive(Clone, Copy)]
pub(super) struct Starter<'a> {
    /// The suite.
    pub(super) suite: &'a Suite,
    /// Its engine and files, or the server that runs already.
    pub(super) prepared: &'a Prepared,
    /// Where logs and configuration files go.
    pub(super) folder: &'a Path,
    /// How the user stops it.
    pub(super) interrupt: &'a Interrupt,
}

/// The record of a launch that begins now.
pub(super) fn begun(visit: &Visit, id: u32) -> LaunchRecord {
    let now = crate::clock::moment();
    LaunchRecord {
        id,
        setting: visit.cell.setting.label.clone(),
        context: visit.cell.context,
        served_at: visit.served_at,
        round: visit.round,
        replicate: visit.replicate,
        started: now.wall,
        tick: now.tick,
        argv: Argv::default(),
        load_s: None,
        effective: Effective::default(),
        deviations: Vec::new(),
        failure: None,
        log: String::new(),
        pack: None,
        attached: None,
    }
}

impl Starter<'_> {
    /// As [`Starter::start`], and the server is warm then.
    ///
    /// # Errors
    /// As [`Starter::start`], and when a server cannot be ended.
    pub(super) async fn start_warm(&self, visit: &Visit, id: u32) -> Result<Launched> {
        let (record, up) = self.start(visit, id).await?;
        let LaunchOutcome::Ready(live) = up else { return Ok((record, up)) };
        let sampling = self.suite.sampling_of(&visit.cell.setting);
        tokio::select! {
            () = live.warm_up(&sampling, self.prepared.gpu, visit.served().context) => {}
            () = self.interrupt.asked(1) => {
                live.stop().await?;
                return Ok((record, LaunchOutcome::Interrupted));
            }
        }
        Ok((record, LaunchOutcome::Ready(live)))
    }

    /// Starts a server for a visit, or attaches to the one that runs; it is read back then, and not warm yet.
    ///
    /// # Errors
    /// When the reference cannot run, or no thread for sampling can be started.
    pub(super) async fn start(&self, visit: &Visit, id: u32) -> Result<Launched> {
        match &self.prepared.attached {
            Some(attachment) => self.attach(attachment, visit, id).await,
            None => self.launch(visit, id).await,
        }
    }

    /// Starts the server; once more on another port where another process was quicker to take the one that had been free.
    async fn launch(&self, visit: &Visit, id: u32) -> Result<Launched> {
        let mut launched = self.launch_on(supervise::free_port()?, visit, id).await?;
        for _ in 1..PORTS {
            let log = self.folder.join(&launched.0.log);
            if launched.0.failure.is_none() || !supervise::port_was_taken(&log) {
                break;
            }
            tracing::info!("the port of a server was taken in between: it is started on another one");
            launched = self.launch_on(supervise::free_port()?, visit, id).await?;
        }
        Ok(launched)
    }

    async fn launch_on(&self, port: u16, visit: &Visit, id: u32) -> Result<Launched> {
        let mut record = LaunchRecord { log: format!("engine/{id:03}.log"), ..begun(visit, id) };
        // Without the reference nothing can be compared; that another setting cannot run is a result.
        let is_reference = visit.cell.setting == *self.suite.reference();
        // The server may look for its file from another folder than this one.
        let folder =
            std::path::absolute(self.folder).context(|| format!("cannot find {}", self.folder.display()))?;
        let ServerCommand { argv, config } = match command(self.suite, self.prepared, visit, port, &folder) {
            Ok(command) => command,
            Err(error) if is_reference => return Err(error),
            Err(error) => {
                let hints = error.hints().iter().map(|hint| format!("; {hint}"));
                return Ok(unsupported(record, &(error::chain(&error) + &hints.collect::<String>())));
            }
        };
        if let Some(config) = &config {
            config.write()?;
        }
        record.argv = argv.clone().portable();
        let client = self.client(&argv, port)?;
        let log = self.folder.join(&record.log);
        let started = tokio::select! {
            started = self.serve(&argv, port, &log) => started,
            () = self.interrupt.asked(1) => return Ok((record, LaunchOutcome::Interrupted)),
        };
        let server = match started {
            Ok(server) => server,
            Err(error) => {
                let refusal = server::refusal(self.prepared.engine, &log).filter(|_| !is_reference);
                return Ok(match refusal {
                    Some(said) => unsupported(record, &format!("the server says: {said}")),
                    None => failed(record, &error),
                });
            }
        };
        record.load_s = Some(server.load_time().as_secs_f64());
        record.effective = self.read_back(&client, &server).await;
        record.deviations = self.prepared.engine.deviations(&visit.served(), &record.effective);
        record.deviations.extend(too_few_slots(visit, &record.effective));
        if !record.deviations.is_empty() {
            server.stop().await?;
            return Ok(void(record, "changed"));
        }
        let sampler = Sampler::start(Subject { server_pid: server.pid() })?;
        let server = ServerHandle::Started(server);
        let live = RunningServer::new(server, client, self.prepared.engine, sampler, id, None);
        Ok(ready(record, visit, live))
    }

    async fn attach(&self, attachment: &Attachment, visit: &Visit, id: u32) -> Result<Launched> {
        let mut attached = attach::as_named_by(attachment);
        let mut record =
            LaunchRecord { served_at: None, attached: Some(attached.clone()), ..begun(visit, id) };
        let began = Instant::now();
        let found = tokio::select! {
            found = attach::find(self.suite, self.prepared, attachment, &visit.cell) => found,
            () = self.interrupt.asked(1) => return Ok((record, LaunchOutcome::Interrupted)),
        };
        let found = match found {
            Ok(found) => found,
            Err(error) => return Ok(failed(record, &error)),
        };
        record.load_s = Some(began.elapsed().as_secs_f64());
        let process = attachment.process();
        attached.notes = attach::notes(attachment, &found.abilities, process.as_ref().err());
        attached.pid = process.as_ref().ok().copied();
        record.attached = Some(attached);
        record.effective = found.effective;
        record.deviations = found.deviations;
        if !record.deviations.is_empty() {
            return Ok(void(record, "runs something else:"));
        }
        let sampler = match process {
            Ok(server_pid) => Sampler::start(Subject { server_pid })?,
            Err(reason) => Sampler::absent(reason),
        };
        let (server, no_tools) = (ServerHandle::Attached, found.abilities.tools.err());
        let live = RunningServer::new(server, found.client, self.prepared.engine, sampler, id, no_tools);
        Ok(ready(record, visit, live))
    }

    async fn serve(&self, argv: &Argv, port: u16, log: &Path) -> Result<Server> {
        let engine = self.prepared.engine;
        let patience = Duration::from_secs_f64(self.suite.engine.start_timeout_s);
        let launcher = Launcher { grace: engine.card().grace, ..Launcher::new(patience) };
        launcher.start(argv, port, engine.endpoints().health, log).await
    }

    fn client(&self, argv: &Argv, port: u16) -> Result<Client> {
        let engine = self.prepared.engine;
        let client = server::client_of(self.suite, engine, &format!("http://127.0.0.1:{port}"))?;
        Ok(if engine.card().counts_cached(&argv.args) { client.expecting_cache_counts() } else { client })
    }

    /// What the server really runs, from its log and its properties; what cannot be read stays unknown.
    async fn read_back(&self, client: &Client, server: &Server) -> Effective {
        let engine = self.prepared.engine;
        let log = server.read_log().unwrap_or_default();
        engine.effective(&log, &server::properties(engine, client).await)
    }
}

/// A server that answers, as it was asked to.
fn ready(record: LaunchRecord, visit: &Visit, mut live: RunningServer) -> Launched {
    live.counts_drafts = visit.cell.setting.speculates();
    (record, LaunchOutcome::Ready(Box::new(live)))
}

/// A server that did not come up.
fn failed(record: LaunchRecord, error: &Error) -> Launched {
    let error = error::chain(error);
    let record = LaunchRecord { failure: Some(error.clone()), ..record };
    (record, LaunchOutcome::Refused(Outcome::Failed { stage: Stage::Launch, error }))
}

/// A server that does something else than asked.
fn void(record: LaunchRecord, does: &str) -> Launched {
    let reason = format!("void cell: the server {does} {}", record.deviations.join("; "));
    (record, LaunchOutcome::Refused(Outcome::Unscored { reason }))
}

/// A setting that this build or this machine cannot run: known, and no failure.
fn unsupported(record: LaunchRecord, why: &str) -> Launched {
    let reason = format!("unsupported: {why}");
    let record = LaunchRecord { failure: Some(reason.clone()), ..record };
    (record, LaunchOutcome::Refused(Outcome::Unscored { reason }))
}

/// Where several requests are to be answered at the same time, a server with fewer slots would queue them.
fn too_few_slots(visit: &Visit, effective: &Effective) -> Option<String> {
    let wanted = u32::from(visit.slots);
    let running = effective.slots.filter(|slots| *slots < wanted && wanted > 1)?;
    Some(format!("slots: asked for {wanted}, the server runs {running}"))
}
