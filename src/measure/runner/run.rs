//! One visit after another: launch, warm up, drive, emit.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Kind, Result, chain};
use crate::measure::model::Witness;
use crate::record::journal::{Journal, LaunchRecord};
use crate::record::plan::{Plan, Visit};
use crate::record::suite::{Relaunch, Suite};
use crate::record::{Arm, Decision, Measurements, Name, Outcome, Stage, StopRule, Trial, TrialKey};
use crate::task::STREAM_CHECK;

use super::by_table;
use super::cases::CaseBook;
use super::constraints::{HeldBook, Oracle};
use super::early_stopping::EarlyStopping;
use super::event::{Event, Subscriber};
use super::interrupt::Interrupt;
use super::loadtest::done::LoadtestDone;
use super::lost_reference::LostReference;
use super::packed;
use super::prepared::Prepared;
use super::server::{LaunchOutcome, RunningServer};
use super::start::{Starter, begun};
use super::swapped::{is_swapped, swapped_reason};
use super::turns::{Company, Turn, Turns};

/// How the names of tasks that are about speed begin.
const SPEED_TASKS: &str = "serving/";
/// How much later than a server that died of it a signal may be heard of here.
const HEARD_LAST: Duration = Duration::from_millis(300);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every planned trial has an outcome, or its cell was stopped by the suite's rule.
    Complete,
    /// The user stopped it; the journal holds what was done.
    Interrupted,
}

/// How a run goes on and ends.
pub struct Terms<'a> {
    /// Whether trials that broke in an earlier session are tried again.
    pub retry_failed: bool,
    /// Which cells stop early; asked only where the suite has `[stopping]`.
    pub stop_rule: &'a dyn StopRule,
    /// How the user stops it.
    pub interrupt: Interrupt,
    /// What it shares with other workers of this machine; `None` where there are none.
    pub turns: Option<Turns>,
}

/// Runs the trials of a plan that a journal does not hold yet.
pub struct Runner<'a> {
    pub(super) suite: &'a Suite,
    pub(super) prepared: &'a Prepared,
    pub(super) folder: PathBuf,
    pub(super) interrupt: Interrupt,
    turns: Option<Turns>,
    pub(super) subscribers: Vec<&'a mut dyn Subscriber>,
    pub(super) done: HashSet<TrialKey>,
    /// Planned trials that nobody asks any more: their cells stopped, or the reference did not choose their cases.
    left_out: HashSet<TrialKey>,
    pub(super) pace: EarlyStopping<'a>,
    pub(super) cases: CaseBook,
    /// What the server holds of the cases' schemas.
    pub(super) held: HeldBook,
    pub(super) next_launch: u32,
    pub(super) journalled_cases: HashSet<Name>,
    pub(super) launches_up: usize,
    pub(super) last_launch_failure: Option<String>,
    pub(super) load_done: LoadtestDone<'a>,
    /// Files that must stay as they are.
    pub(super) witnesses: Vec<Witness>,
    /// Trials since these were last looked at.
    pub(super) in_doubt: Vec<TrialKey>,
    /// Where the reference does not run.
    lost: LostReference,
    /// The server of the last visit, where it may serve the next one, too.
    kept: Option<Kept>,
}

/// A server that is up, and what it was last used for.
struct Kept {
    server: RunningServer,
    visit: Visit,
    record: LaunchRecord,
}

impl<'a> Runner<'a> {
    /// A runner for a run folder; `journal` is what an earlier session left.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn new(
        suite: &'a Suite,
        prepared: &'a Prepared,
        folder: PathBuf,
        journal: &Journal,
        terms: Terms<'a>,
        subscribers: Vec<&'a mut dyn Subscriber>,
    ) -> Result<Self> {
        let retry = |trial: &&Trial| {
            is_swapped(&trial.outcome)
                || (terms.retry_failed && matches!(trial.outcome, Outcome::Failed { .. }))
        };
        let done = journal.trials.iter().filter(|trial| !retry(trial)).map(|trial| trial.key).collect();
        Ok(Self {
            suite,
            prepared,
            cases: CaseBook::new((suite, prepared), journal, &folder, terms.interrupt.clone())?,
            held: HeldBook::of(journal),
            folder,
            interrupt: terms.interrupt,
            turns: terms.turns,
            subscribers,
            done,
            left_out: HashSet::new(),
            pace: EarlyStopping::new(journal, terms.stop_rule),
            next_launch: journal.next_launch(),
            journalled_cases: journal.cases.iter().map(|case| case.id).collect(),
            launches_up: 0,
            last_launch_failure: None,
            load_done: LoadtestDone::of(journal, terms.stop_rule, terms.retry_failed),
            witnesses: prepared.witnesses.clone(),
            in_doubt: Vec::new(),
            lost: LostReference::of(journal, suite, terms.retry_failed),
            kept: None,
        })
    }

    /// Runs what remains of the plan.
    ///
    /// # Errors
    /// When a subscriber fails, a case cannot be made from the suite's parameters, or no server at all
    /// came up. What was measured until then is in the journal.
    pub async fn run(&mut self, plan: &Plan) -> Result<Ending> {
        let ending = self.measure(plan).await;
        self.let_go().await?;
        ending
    }

    async fn measure(&mut self, plan: &Plan) -> Result<Ending> {
        self.leave(plan, |pace, key| pace.is_stopped(key) || pace.skips(key));
        let total = plan.trials() - self.left_out.len();
        let done = plan.keys().filter(|key| self.done.contains(*key)).count();
        self.emit(&Event::Started { total, done })?;
        for visit in &plan.visits {
            if self.lost.at(visit.cell.context) {
                continue;
            }
            self.decide_before(visit.round, plan)?;
            self.skip(plan)?;
            let wanted = |key: &&TrialKey| !self.done.contains(*key) && !self.left_out.contains(*key);
            let remaining: Vec<_> = visit.trials.iter().filter(wanted).cloned().collect();
            if remaining.is_empty() {
                continue;
            }
            self.emit(&Event::Visit { visit, remaining: remaining.len() })?;
            self.visit(visit, &remaining, plan).await?;
            if self.interrupt.requested() {
                return Ok(Ending::Interrupted);
            }
        }
        if self.lost.everywhere(&self.suite.contexts) {
            return self.came_up().and(self.lost.error().map_or(Ok(Ending::Complete), Err));
        }
        // The servers of the load phase have the machine to themselves.
        self.let_go().await?;
        self.load_phase(plan).await?;
        if self.interrupt.requested() {
            return Ok(Ending::Interrupted);
        }
        self.came_up().and(self.lost.error().map_or(Ok(Ending::Complete), Err))
    }

    /// Whether any server came up, where one was started.
    fn came_up(&self) -> Result<()> {
        match &self.last_launch_failure {
            Some(failure) if self.launches_up == 0 => Err(Error::new(
                Kind::EngineStart,
                format!("no server of this run came up; the last one said:\n{failure}"),
            )
            .hint("`kneepoint run SUITE --dry-run` prints the exact commands, to be tried by hand")
            .hint("`kneepoint resume --retry-failed` tries again")),
            _ => Ok(()),
        }
    }

    /// Which planned trials are not asked any more, each of them once.
    fn leave(
        &mut self,
        plan: &Plan,
        leaves: impl Fn(&EarlyStopping<'_>, &TrialKey) -> bool,
    ) -> Vec<TrialKey> {
        let wanted = |key: &&TrialKey| !self.done.contains(*key) && !self.left_out.contains(*key);
        let gone: Vec<_> =
            plan.keys().filter(wanted).filter(|key| leaves(&self.pace, key)).cloned().collect();
        self.left_out.extend(gone.iter().cloned());
        gone
    }

    /// Says which trials the reference's choice leaves out, in visits to come, too.
    fn skip(&mut self, plan: &Plan) -> Result<()> {
        // Plans are long: they are looked through only where something can be left out.
        if !self.pace.selects() {
            return Ok(());
        }
        let skipped = self.leave(plan, |pace, key| pace.skips(key));
        if skipped.is_empty() { Ok(()) } else { self.emit(&Event::Skipped(&skipped)) }
    }

    /// At the end of a round: which cells stop.
    fn decide_before(&mut self, round: u32, plan: &Plan) -> Result<()> {
        let look = self.pace.decide_before(round)?;
        look.stopped.iter().try_for_each(|decision| self.stop(decision, plan))?;
        if !look.open.is_empty() {
            self.emit(&Event::Open(&look.open))?;
        }
        Ok(())
    }

    /// In the middle of a visit: whether its cell stops in front of a trial.
    fn stops_in_front_of(&mut self, visit: &Visit, next: &TrialKey, plan: &Plan) -> Result<bool> {
        let Some(decision) = self.pace.decide_within(visit, next)? else { return Ok(false) };
        // What was measured of other files than the run's settles nothing.
        self.check_files()?;
        self.stop(&decision, plan)?;
        Ok(true)
    }

    /// Leaves out what a decision leaves of the plan.
    fn stop(&mut self, decision: &Decision, plan: &Plan) -> Result<()> {
        let saved = self.leave(plan, |_, key| decision.stops(key)).len();
        self.emit(&Event::Stopped { decision, saved })
    }

    /// Looks whether every file that the figures depend on is what it was when the run began. Where one is not, the
    /// trials since the last look are void, and nothing goes on.
    pub(super) fn check_files(&mut self) -> Result<()> {
        let checked = self.witnesses.iter_mut().try_for_each(Witness::check);
        let in_doubt = std::mem::take(&mut self.in_doubt);
        let Err(error) = checked else { return Ok(()) };
        self.settle(&in_doubt, &Outcome::Unscored { reason: swapped_reason(&error) })?;
        Err(match in_doubt.len() {
            0 => error,
            count => error.hint(format!("the last {count} trials are void: `resume` runs them again")),
        })
    }

    pub(super) fn emit(&mut self, event: &Event<'_>) -> Result<()> {
        self.pace.note(event);
        self.load_done.note(event);
        self.subscribers.iter_mut().try_for_each(|subscriber| subscriber.on(event))
    }

    /// One visit: a fresh server answers the trials; one that breaks is restarted once.
    async fn visit(&mut self, visit: &Visit, keys: &[TrialKey], plan: &Plan) -> Result<()> {
        let mut record = None;
        let mut live = self.carried_over(visit, &mut record).await?;
        if let Some(server) = &live {
            self.make_cases(keys, server).await?;
            self.look_at_schemas(keys, server).await?;
        }
        let mut restarts = 1;
        for (position, key) in keys.iter().enumerate() {
            if self.interrupt.requested() || self.stops_in_front_of(visit, key, plan)? {
                break;
            }
            let mut server = match live.take() {
                Some(server) => server,
                None => match self.launch(visit, &keys[position..], &mut record).await? {
                    LaunchOutcome::Ready(server) => {
                        self.warm_up_and_make_cases(visit, &keys[position..], &server).await?;
                        if self.interrupt.requested() {
                            live = Some(*server);
                            break;
                        }
                        *server
                    }
                    LaunchOutcome::Interrupted => break,
                    LaunchOutcome::Refused(_) if self.ended_with_us().await => break,
                    LaunchOutcome::Refused(outcome) => {
                        self.settle(&keys[position..], &outcome)?;
                        let said = self.lost.note(self.suite, visit, &outcome);
                        return said.map_or(Ok(()), |said| self.emit(&Event::Note(&said)));
                    }
                },
            };
            let trial = match self.trial(&mut server, key).await {
                Err(error) if error.kind() == Kind::Interrupted => {
                    live = Some(server);
                    break;
                }
                trial => trial?,
            };
            let broke = matches!(&trial.outcome, Outcome::Failed { stage: Stage::Server, .. });
            if broke && self.ended_with_us().await {
                server.stop().await?;
                break;
            }
            self.finish(&trial)?;
            if !broke {
                live = Some(server);
                continue;
            }
            server.stop().await?;
            if restarts == 0 {
                let error = "the server had broken twice in this visit and was not started again".to_owned();
                return self.settle(&keys[position + 1..], &Outcome::Failed { stage: Stage::Server, error });
            }
            restarts -= 1;
            self.emit(&Event::Note(&format!("the server of {} broke and is started again", key.setting)))?;
        }
        if let Some(server) = live {
            match record.filter(|_| self.suite.engine.relaunch == Relaunch::Setting) {
                Some(record) => self.kept = Some(Kept { server, visit: visit.clone(), record }),
                None => server.stop().await?,
            }
        }
        self.check_files()
    }

    /// The server of the visit before, where it serves this one, too; any other is stopped.
    async fn carried_over(
        &mut self,
        visit: &Visit,
        record: &mut Option<LaunchRecord>,
    ) -> Result<Option<RunningServer>> {
        if !self.kept.as_ref().is_some_and(|kept| visit.goes_on_with(&kept.visit)) {
            self.let_go().await?;
            return Ok(None);
        }
        let Some(Kept { mut server, record: before, .. }) = self.kept.take() else { return Ok(None) };
        let LaunchRecord { argv, effective, deviations, log, attached, pack, .. } = before.clone();
        let begun = begun(visit, self.next_launch);
        let next = LaunchRecord { argv, effective, deviations, log, attached, pack, ..begun };
        self.next_launch += 1;
        *record = Some(before);
        self.emit(&Event::Launched(&server.serve(visit, next)))?;
        Ok(Some(server))
    }

    async fn let_go(&mut self) -> Result<()> {
        match self.kept.take() {
            Some(kept) => kept.server.stop().await,
            None => Ok(()),
        }
    }

    /// Makes the cases of a visit before its first trial: a task that does not fit is found out at once, not after the
    /// trials of all others. What else goes wrong here is for the trials to say.
    async fn make_cases(&mut self, keys: &[TrialKey], server: &RunningServer) -> Result<()> {
        let made = self.make_all(keys, server).await;
        for note in self.cases.take_notes() {
            self.emit(&Event::Note(&note))?;
        }
        made
    }

    /// Finds out what the server holds of the schemas of these trials' cases, where it tells; how many it was asked about.
    async fn look_at_schemas(&mut self, keys: &[TrialKey], server: &RunningServer) -> Result<usize> {
        let mut asked = 0;
        let column =
            keys.first().and_then(|key| by_table::column(self.suite, &key.setting, self.prepared.version()));
        let oracle = match &column {
            Some(column) if !server.client().tells_grammars() => Oracle::Table(column),
            _ => Oracle::Server(server.client()),
        };
        for key in keys {
            let task = crate::task::find(&key.task);
            let constrained = key.arm == Some(Arm::Constrained);
            if !task.is_some_and(|task| HeldBook::concerns(task, constrained)) {
                continue;
            }
            // What is wrong with a case is for its trial to say.
            let Ok(case) = self.cases.case(key, server).await else { continue };
            let constraints = self.held.news_of(&case);
            if constraints.is_empty() {
                continue;
            }
            let news = constraints.iter().filter(|constraint| self.held.is_news(constraint)).count();
            if news > 0 && server.client().tells_grammars() {
                self.emit(&Event::Schemas { setting: &key.setting, asked })?;
                asked += news;
            }
            let news = self.held.look(&case, constraints, oracle, &self.interrupt).await?;
            // What was cut short says nothing.
            if self.interrupt.requested() {
                break;
            }
            for held in &news.schemas {
                self.emit(&Event::HeldSchema(held))?;
            }
            if let Some(held) = &news.case {
                if self.journalled_cases.insert(case.id) {
                    self.emit(&Event::Case(&case))?;
                }
                self.emit(&Event::HeldCase(held))?;
            }
        }
        Ok(asked)
    }

    async fn make_all(&mut self, keys: &[TrialKey], server: &RunningServer) -> Result<()> {
        let mut unfit: Vec<(&TrialKey, Error)> = Vec::new();
        for key in keys {
            if self.interrupt.requested() {
                break;
            }
            if unfit.iter().any(|(other, _)| (&other.task, other.arm) == (&key.task, key.arm)) {
                continue;
            }
            match self.cases.ready(key, server).await {
                Err(error) if error.kind() == Kind::Usage => unfit.push((key, error)),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        // All of them at once: nobody wants to start over for each.
        let mut unfit = unfit.into_iter().map(|(_, error)| error);
        match unfit.next() {
            Some(first) => {
                Err(unfit.fold(first, |first, other| first.hint(format!("also: {}", chain(&other)))))
            }
            None => Ok(()),
        }
    }

    /// Warms the server of a visit up and makes its cases. On a graphics card the two go on beside each other, for nothing of either
    /// is measured; on a processor they would keep the cores from each other, and a warm-up is one short request.
    async fn warm_up_and_make_cases(
        &mut self,
        visit: &Visit,
        keys: &[TrialKey],
        server: &RunningServer,
    ) -> Result<()> {
        let Some(_turn) = self.turn(Company::Beside).await? else { return Ok(()) };
        let (prepared, interrupt) = (self.prepared, self.interrupt.clone());
        let sampling = self.suite.sampling_of(&visit.cell.setting);
        let warm = async || {
            tokio::select! {
                () = server.warm_up(&sampling, prepared.gpu, visit.served().context) => {}
                // Who asked is noticed when the cases are made.
                () = interrupt.asked(1) => {}
            }
        };
        if prepared.gpu {
            tokio::join!(warm(), self.make_cases(keys, server)).1?;
        } else {
            warm().await;
            self.make_cases(keys, server).await?;
        }
        // What was warm may have cooled down while values were tried.
        if self.look_at_schemas(keys, server).await? > 0 {
            warm().await;
        }
        Ok(())
    }

    /// Starts the server of a visit; while it loads, those cases are made that need no server.
    async fn launch(
        &mut self,
        visit: &Visit,
        keys: &[TrialKey],
        whole: &mut Option<LaunchRecord>,
    ) -> Result<LaunchOutcome> {
        self.check_files()?;
        let Some(_turn) = self.turn(Company::Beside).await? else { return Ok(LaunchOutcome::Interrupted) };
        let id = self.next_launch;
        self.next_launch += 1;
        let (suite, prepared) = (self.suite, self.prepared);
        let starter = Starter { suite, prepared, folder: &self.folder, interrupt: &self.interrupt };
        let (started, ()) = tokio::join!(starter.start(visit, id), self.cases.make_ahead(keys));
        let (record, mut up) = started?;
        if matches!(up, LaunchOutcome::Interrupted) {
            return Ok(up);
        }
        packed::same_template(self.suite, &record)?;
        match &record.failure {
            Some(failure) => self.last_launch_failure = Some(failure.clone()),
            None => self.launches_up += 1,
        }
        let launched = match &mut up {
            LaunchOutcome::Ready(server) => server.serve(visit, record.clone()),
            _ => record.clone(),
        };
        self.emit(&Event::Launched(&launched))?;
        *whole = Some(record);
        // What it loaded is what lay there before and lies there still.
        self.check_files()?;
        Ok(up)
    }

    /// The same outcome for trials that could not be tried.
    fn settle(&mut self, keys: &[TrialKey], outcome: &Outcome) -> Result<()> {
        keys.iter().try_for_each(|key| {
            let trial = self.untried(key, outcome);
            self.finish(&trial)
        })
    }

    /// A trial of which there is nothing but its outcome, of the last server that was started.
    pub(super) fn untried(&self, key: &TrialKey, outcome: &Outcome) -> Trial {
        let now = crate::clock::moment();
        Trial {
            key: *key,
            case: "".into(),
            launch: self.next_launch.saturating_sub(1),
            started: now.wall.into(),
            tick: now.tick,
            reply: None,
            measurements: Measurements::default(),
            outcome: outcome.clone(),
        }
    }

    async fn trial(&mut self, server: &mut RunningServer, key: &TrialKey) -> Result<Trial> {
        self.emit(&Event::TrialStarted(key))?;
        let case = match self.cases.case(key, server).await {
            Ok(case) => case,
            // The suite asks for the impossible, or the run's cases changed: nothing can be measured.
            Err(error) if matches!(error.kind(), Kind::Usage | Kind::Interrupted) => return Err(error),
            Err(error) => return Ok(server.no_case(key, &error).await),
        };
        if self.journalled_cases.insert(case.id) {
            self.emit(&Event::Case(&case))?;
        }
        let company = if self.measures_speed(key) { Company::Alone } else { Company::Beside };
        let Some(_turn) = self.turn(company).await? else {
            return Err(Error::new(Kind::Interrupted, "interrupted"));
        };
        let sampling = self.suite.sampling_for(key, &case.id);
        server.tell_tokens_by(self.cases.own_tokens(&key.setting));
        let mut trial = server.run(key, &case, &sampling).await;
        trial.outcome = self.held.outcome(&case.id, trial.outcome);
        if self.checks_stream(key) {
            server.check_stream(&case, &sampling, &mut trial).await;
        }
        Ok(trial)
    }

    /// Whether a trial has the machine to itself: it is of a task that is about speed, and the suite does not let it overlap.
    fn measures_speed(&self, key: &TrialKey) -> bool {
        !self.suite.engine.speed_overlaps && key.task.starts_with(SPEED_TASKS)
    }

    /// Whether a server that is gone was ended by who asks us to stop: a terminal and a cluster signal all processes at once,
    /// and ours may hear of it last. The trial is then asked again by who goes on.
    pub(super) async fn ended_with_us(&self) -> bool {
        tokio::time::timeout(HEARD_LAST, self.interrupt.asked(1)).await.is_ok()
    }

    /// Waits for a turn among the workers of this machine; `None`: the user asks to stop.
    pub(super) async fn turn(&self, company: Company) -> Result<Option<Turn>> {
        let Some(turns) = &self.turns else { return Ok(Some(Turn::default())) };
        match turns.take(company, &self.interrupt).await {
            Err(error) if error.kind() == Kind::Interrupted => Ok(None),
            turn => turn.map(Some),
        }
    }

    /// Whether the suite asks for the option [`STREAM_CHECK`] and the server parses the calls.
    fn checks_stream(&self, key: &TrialKey) -> bool {
        let spec = self.suite.tasks.iter().find(|spec| spec.name == key.task);
        let wanted = spec.and_then(|spec| spec.options.get(STREAM_CHECK.name)) == Some(&1);
        wanted && key.arm.is_some_and(|arm| arm != Arm::Prompted)
    }

    fn finish(&mut self, trial: &Trial) -> Result<()> {
        self.emit(&Event::Trial(trial))?;
        self.done.insert(trial.key);
        self.in_doubt.push(trial.key);
        Ok(())
    }
}
