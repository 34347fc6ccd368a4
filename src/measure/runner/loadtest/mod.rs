//! The load phase: after the trials, every setting gets a server with several slots, which goes through the suite's
//! steps and then answers the same cases alone and concurrently.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::event::Event;
use super::run::Runner;
use super::server::{LaunchOutcome, RunningServer};
use super::start::Starter;
use super::swapped::swapped_reason;
use super::turns::Company;
use crate::error::{Kind, Result, chain};
use crate::measure::client::timeline::Timeline;
use crate::measure::client::{Conversation, Failure};
use crate::record::journal::loadtest::{LoadtestServer, LoadtestStep, LoadtestTrial, WarmUp};
use crate::record::plan::{Plan, Visit};
use crate::record::suite::{Arrivals, LoadSpec, Sampling, Suite};
use crate::record::{Arm, Case, Outcome, Stage, Trial, TrialKey};
use crate::task;

mod agenda;
pub(super) mod done;
mod drive;
mod prompts;
mod quality;
mod schedule;

use agenda::{Agenda, Work, step_words};
use drive::drive;
use prompts::Prompts;
use quality::{Asked, Asker};
use schedule::{Extent, Schedule, Shot};

/// Most rounds of a warm-up.
const WARM_UP_ROUNDS: u32 = 8;
/// Two rounds whose times differ by less than this share are steady.
const STEADY: f64 = 0.1;
/// Prompts that are fitted for a step which does not say how many it needs.
const FITTED: u32 = 128;
/// Most prompts that are fitted for a step.
const MOST_FITTED: u32 = 4096;
/// Tokens of a reply while warming up: a few show whether decoding is steady.
const WARM_UP_TOKENS: u32 = 16;

/// A server of the load phase that answers.
struct Serving {
    live: RunningServer,
    prompts: Arc<Prompts>,
}

/// What became of starting one.
enum Served {
    Ready(Box<Serving>),
    Refused(String),
    Interrupted,
}

impl Runner<'_> {
    /// Goes through what remains of the load phase.
    ///
    /// # Errors
    /// As [`Runner::run`].
    pub(super) async fn load_phase(&mut self, plan: &Plan) -> Result<()> {
        let Some(spec) = self.suite.load.clone() else { return Ok(()) };
        for visit in &plan.load {
            if self.interrupt.requested() {
                return Ok(());
            }
            let agenda = Agenda::of(&spec, &visit.cell.setting.label, &mut self.load_done)?;
            if !agenda.is_empty() {
                let (steps, at_most) = (agenda.at_most(), spec.search.is_some());
                self.emit(&Event::LoadtestVisit { visit, steps, at_most })?;
                self.load_setting(visit, &spec, agenda).await?;
            }
        }
        Ok(())
    }

    /// One server does all of it; one that breaks is started again.
    async fn load_setting(&mut self, visit: &Visit, spec: &LoadSpec, mut agenda: Agenda<'_>) -> Result<()> {
        self.check_files()?;
        let Some(_turn) = self.turn(Company::Alone).await? else { return Ok(()) };
        self.load_with_server(visit, spec, &mut agenda).await?;
        let Err(error) = self.check_files() else { return Ok(()) };
        let reason = swapped_reason(&error);
        agenda.all().try_for_each(|work| self.give_up(visit, &work, &reason))?;
        Err(error)
    }

    async fn load_with_server(
        &mut self,
        visit: &Visit,
        spec: &LoadSpec,
        agenda: &mut Agenda<'_>,
    ) -> Result<()> {
        let mut server: Option<Box<Serving>> = None;
        // A search goes where servers break.
        let mut restarts = spec.search.map_or(1, |search| search.most_steps(spec.quality.is_some()));
        let mut given_up: Option<String> = None;
        while let Some(work) = agenda.next(&mut self.load_done)? {
            if let Some(reason) = &given_up {
                self.give_up(visit, &work, reason)?;
                continue;
            }
            let mut serving = match server.take() {
                Some(serving) => serving,
                None => match self.serve(visit, spec).await? {
                    Served::Ready(serving) => serving,
                    Served::Interrupted => return Ok(()),
                    Served::Refused(_) if self.ended_with_us().await => return Ok(()),
                    Served::Refused(reason) => {
                        self.give_up(visit, &work, &reason)?;
                        given_up = Some(reason);
                        continue;
                    }
                },
            };
            self.emit(&Event::LoadtestWork { setting: &visit.cell.setting.label, what: &work.words() })?;
            let went_on = self.work(&mut serving, visit, spec, &work).await?;
            if !went_on {
                return serving.live.stop().await;
            }
            match serving.live.gone("after a step under load".to_owned()).await {
                None => server = Some(serving),
                Some(reason) => {
                    serving.live.stop().await?;
                    if restarts == 0 {
                        given_up = Some(reason);
                    }
                    restarts = restarts.saturating_sub(1);
                }
            }
        }
        match server {
            Some(serving) => serving.live.stop().await,
            None => Ok(()),
        }
    }

    /// Does one thing; `false`: the user asked to stop.
    async fn work(
        &mut self,
        serving: &mut Serving,
        visit: &Visit,
        spec: &LoadSpec,
        work: &Work,
    ) -> Result<bool> {
        match work {
            Work::Step(arrivals, again) => match self.step(serving, visit, spec, (*arrivals, *again)).await {
                Some(step) => {
                    self.emit(&Event::LoadtestStep(&step))?;
                    Ok(true)
                }
                None => Ok(false),
            },
            Work::Items(streams, keys) => self.items(serving, *streams, keys).await,
        }
    }

    /// Starts a server for the load phase and warms it up.
    async fn serve(&mut self, visit: &Visit, spec: &LoadSpec) -> Result<Served> {
        let id = self.next_launch;
        self.next_launch += 1;
        let (suite, prepared) = (self.suite, self.prepared);
        let starter = Starter { suite, prepared, folder: &self.folder, interrupt: &self.interrupt };
        let (launch, up) = starter.start_warm(visit, id).await?;
        let mut record = LoadtestServer { launch, slots: visit.slots, warm_up: None };
        let live = match up {
            LaunchOutcome::Interrupted => return Ok(Served::Interrupted),
            LaunchOutcome::Refused(outcome) => {
                self.last_launch_failure = record.launch.failure.clone();
                self.emit(&Event::LoadtestServer(&record))?;
                return Ok(Served::Refused(words_of(&outcome)));
            }
            LaunchOutcome::Ready(live) => *live,
        };
        self.launches_up += 1;
        let warmed = tokio::select! {
            warmed = Serving::warm_up(live, self.suite, spec, visit) => warmed,
            // What was started ends with its handle.
            () = self.interrupt.asked(1) => return Ok(Served::Interrupted),
        };
        match warmed {
            Ok((serving, warm_up)) => {
                record.warm_up = Some(warm_up);
                self.emit(&Event::LoadtestServer(&record))?;
                Ok(Served::Ready(Box::new(serving)))
            }
            Err(error) => {
                self.emit(&Event::LoadtestServer(&record))?;
                Ok(Served::Refused(format!("warming up failed: {}", chain(&error))))
            }
        }
    }

    /// One step; `None`: the user asked to stop.
    async fn step(
        &self,
        serving: &mut Serving,
        visit: &Visit,
        spec: &LoadSpec,
        (arrivals, again): (Arrivals, u32),
    ) -> Option<LoadtestStep> {
        let words = step_words(arrivals, again);
        let extent =
            Extent { requests: spec.requests, duration: spec.duration_s.map(Duration::from_secs_f64) };
        let purpose = format!("load arrivals {words}");
        let mut schedule = Schedule::new(arrivals, extent, spec.max_in_flight, self.suite.seed, &purpose);
        let sampling = self.suite.sampling_of(&visit.cell.setting);
        let requests = tokio::select! {
            requests = Requests::of(serving, sampling, words, spec, arrivals) => requests,
            () = self.interrupt.asked(1) => return None,
        };
        serving.live.watch();
        // The times of requests count from here; the probes take some milliseconds to begin.
        let started = crate::clock::now();
        let driven = tokio::select! {
            driven = drive(&mut schedule, |shot| requests.send(shot)) => Some(driven),
            () = self.interrupt.asked(1) => None,
        };
        let measurements = serving.live.watched();
        let driven = driven?;
        // A server that went away in the middle leaves figures of nothing.
        let failed = driven.requests.iter().rev().find_map(|request| request.error.clone());
        let gone = match failed {
            Some(error) => serving.live.gone(error).await,
            None => None,
        };
        let broke = gone.or(driven.broke);
        if broke.is_some() && self.ended_with_us().await {
            return None;
        }
        let window = schedule.window();
        Some(LoadtestStep {
            setting: visit.cell.setting.label.clone(),
            context: visit.cell.context,
            launch: serving.live.launch_id(),
            arrivals,
            visit: again,
            started,
            from_s: window.map(|(from, _)| from.as_secs_f64()),
            until_s: window.map(|(_, until)| until.as_secs_f64()),
            requests: driven.requests,
            pressure: driven.pressure,
            peak_in_flight: schedule.peak(),
            broke,
            measurements,
        })
    }

    /// Cases with so many requests under way; `false`: the user asked to stop.
    async fn items(&mut self, serving: &mut Serving, streams: u32, keys: &[TrialKey]) -> Result<bool> {
        let mut cases = Vec::new();
        for key in keys {
            let case = match self.cases.case(key, &serving.live).await {
                Ok(case) => case,
                Err(error) if error.kind() == Kind::Usage => return Err(error),
                Err(error) if error.kind() == Kind::Interrupted => return Ok(false),
                Err(error) => {
                    let error = format!("cannot make the case: {}", chain(&error));
                    self.settle_item(streams, key, &Outcome::Failed { stage: Stage::Request, error })?;
                    continue;
                }
            };
            if self.journalled_cases.insert(case.id) {
                self.emit(&Event::Case(&case))?;
            }
            cases.push((*key, Arc::new(case)));
        }
        if let Some(reason) = self.cannot_ask(serving, &cases).await {
            for (key, _) in &cases {
                self.settle_item(streams, key, &Outcome::Unscored { reason: reason.clone() })?;
            }
            return Ok(true);
        }
        let Some(first) = keys.first() else { return Ok(true) };
        let Some(task) = task::find(&first.task) else { return Ok(true) };
        let asker = serving.asker(self.suite.sampling_at(&first.setting));
        let launch = serving.live.launch_id();
        let of_index: Vec<(u32, TrialKey)> = cases.iter().map(|(key, case)| (case.index, *key)).collect();
        let interrupt = self.interrupt.clone();
        let seen = |asked: Asked| -> Result<bool> {
            // The server may have been ended together with us; the item is then asked again.
            if interrupt.requested() && matches!(asked.outcome, Outcome::Failed { .. }) {
                return Ok(false);
            }
            if let Some((_, key)) = of_index.iter().find(|(index, _)| *index == asked.case.index) {
                self.emit(&Event::LoadtestTrial(&asked.trial(streams, *key, launch)))?;
            }
            Ok(!interrupt.requested())
        };
        let cases = cases.into_iter().map(|(_, case)| case).collect();
        quality::ask_all(&asker, task, cases, streams, seen).await?;
        Ok(!self.interrupt.requested())
    }

    /// Why cases mean nothing on this server, if so: as for trials, tools that the chat template drops.
    async fn cannot_ask(&mut self, serving: &mut Serving, cases: &[(TrialKey, Arc<Case>)]) -> Option<String> {
        let (key, case) = cases.first()?;
        let with_tools = key.arm.is_some_and(|arm| arm != Arm::Prompted);
        let drops = with_tools && serving.live.template_drops_tools(case).await;
        drops.then(|| "the chat template drops the tools".to_owned())
    }

    /// Notes what could not be done.
    fn give_up(&mut self, visit: &Visit, work: &Work, reason: &str) -> Result<()> {
        match work {
            Work::Step(arrivals, again) => self.emit(&Event::LoadtestStep(&LoadtestStep {
                setting: visit.cell.setting.label.clone(),
                context: visit.cell.context,
                launch: self.next_launch.saturating_sub(1),
                arrivals: *arrivals,
                visit: *again,
                started: crate::clock::now(),
                from_s: None,
                until_s: None,
                requests: Vec::new(),
                pressure: 0,
                peak_in_flight: 0,
                broke: Some(reason.to_owned()),
                measurements: Vec::new(),
            })),
            Work::Items(streams, keys) => keys.iter().try_for_each(|key| {
                let outcome = Outcome::Failed { stage: Stage::Launch, error: reason.to_owned() };
                self.settle_item(*streams, key, &outcome)
            }),
        }
    }

    fn settle_item(&mut self, streams: u32, key: &TrialKey, outcome: &Outcome) -> Result<()> {
        let trial = self.untried(key, outcome);
        self.emit(&Event::LoadtestTrial(&LoadtestTrial { streams, trial }))
    }
}

fn words_of(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed { error, .. } => error.clone(),
        Outcome::Unscored { reason } => reason.clone(),
        Outcome::Scored(_) => String::new(),
    }
}

impl Asked {
    fn trial(self, streams: u32, key: TrialKey, launch: u32) -> LoadtestTrial {
        let trial = Trial {
            key,
            case: self.case.id,
            launch,
            started: self.started.wall.into(),
            tick: self.started.tick,
            reply: self.reply.map(Box::new),
            measurements: self.measurements.into(),
            outcome: self.outcome,
        };
        LoadtestTrial { streams, trial }
    }
}

impl Serving {
    fn asker(&self, sampling: Sampling) -> Asker {
        Asker {
            client: self.live.client().clone(),
            engine: self.live.engine(),
            sampling,
            prompts: self.prompts.clone(),
        }
    }

    /// Gives every slot a request at the same time, again and again, until that takes the same time twice running, or
    /// has taken too long in all.
    async fn warm_up(
        live: RunningServer,
        suite: &Suite,
        spec: &LoadSpec,
        visit: &Visit,
    ) -> Result<(Self, WarmUp)> {
        let (began, sampling) = (Instant::now(), suite.sampling_of(&visit.cell.setting));
        let prompts = Prompts::learn(live.client(), &sampling, spec, suite.seed).await?;
        let serving = Self { live, prompts: Arc::new(prompts) };
        let mut warm_up = WarmUp { rounds: 0, seconds: 0.0, steady: false };
        let mut before = f64::INFINITY;
        while warm_up.rounds < WARM_UP_ROUNDS && began.elapsed().as_secs_f64() < spec.warm_up_s {
            let round = Instant::now();
            serving.all_slots_once(sampling, visit.slots, warm_up.rounds).await;
            let took = round.elapsed().as_secs_f64();
            warm_up.rounds += 1;
            warm_up.steady = (took / before - 1.0).abs() < STEADY;
            if warm_up.steady {
                break;
            }
            before = took;
        }
        warm_up.seconds = began.elapsed().as_secs_f64();
        Ok((serving, warm_up))
    }

    /// If a request fails, the first step will say so.
    async fn all_slots_once(&self, sampling: Sampling, slots: u16, round: u32) {
        let mut under_way = JoinSet::new();
        for slot in 0..slots {
            let (client, prompts) = (self.live.client().clone(), self.prompts.clone());
            under_way.spawn(async move {
                // The same sizes in every round, or two rounds could not take the same time.
                let ask = prompts.make(&format!("warm-up {round}"), u32::from(slot));
                let tokens = ask.max_tokens.min(WARM_UP_TOKENS);
                let conversation = Conversation::of(&ask.messages);
                client.chat_under_load(&conversation, &sampling, tokens, true).await.is_ok()
            });
        }
        while under_way.join_next().await.is_some() {}
    }
}

/// The requests of a step. Prompts that will surely be needed are fitted before it begins.
struct Requests {
    asker: Asker,
    step: String,
    made: Vec<prompts::Ask>,
}

impl Requests {
    async fn of(
        serving: &Serving,
        sampling: Sampling,
        step: String,
        spec: &LoadSpec,
        arrivals: Arrivals,
    ) -> Self {
        let streams = if let Arrivals::Closed(streams) = arrivals { streams } else { spec.slots.into() };
        let needed = spec.requests.unwrap_or(FITTED).saturating_add(2 * streams).min(MOST_FITTED);
        let made = serving.prompts.fitted(serving.live.client(), &step, needed).await;
        Self { asker: serving.asker(sampling), step, made }
    }

    /// The future begins the request when it is polled.
    fn send(
        &self,
        shot: &Shot,
    ) -> impl Future<Output = std::result::Result<Timeline, Failure>> + Send + use<> {
        let asker = self.asker.clone();
        let made = self.made.get(shot.number as usize).cloned();
        let ask = made.unwrap_or_else(|| asker.prompts.make(&self.step, shot.number));
        async move { asker.load(&ask).await }
    }
}
