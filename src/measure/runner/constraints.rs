//! What the server holds of the schemas that replies are constrained by: asked once for each, before the first trial that depends
//! on it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::interrupt::Interrupt;
use crate::error::{Context, Result};
use crate::measure::client::Client;
use crate::record::journal::Journal;
use crate::record::{Case, Conversion, HeldCase, HeldSchema, Name, Outcome, Prompt, ToolChoice};
use crate::task::tools::held::by_table::Column;
use crate::task::tools::held::check::{Answer, Check, Constraint};
use crate::task::{self, Task};

/// How long a schema may take, the server's answers among that.
pub(super) const EACH: Duration = Duration::from_secs(30);
/// How long all schemas of a session may take.
const ALL: Duration = Duration::from_secs(300);

/// What is known of a schema: whether the answer that is asked for, and whether any right one, can be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// The one answer that is asked for.
    pub answer: Option<bool>,
    /// Any of the right values.
    pub right: Option<bool>,
}

/// What was found out in this run.
pub(super) struct HeldBook {
    /// Schemas that were asked about, by hash.
    schemas: HashSet<String>,
    /// What can be written of a schema's right values, by both.
    reaches: HashMap<(String, String), Reach>,
    cases: HashMap<String, HeldCase>,
    /// Cases that were looked at, those without schemas too.
    seen: HashSet<Name>,
    /// Time that is left for what was not looked at yet.
    left: Duration,
}

/// Who says what is held of a schema.
#[derive(Clone, Copy)]
pub(super) enum Oracle<'a> {
    /// The server, by the grammar that it makes of it.
    Server(&'a Client),
    /// The table, by the engine's column; why it has none.
    Table(&'a Result<Column, String>),
}

/// What was found out of a case just now.
#[derive(Default)]
pub(super) struct News {
    pub(super) schemas: Vec<HeldSchema>,
    pub(super) case: Option<HeldCase>,
}

impl HeldBook {
    pub(super) fn of(journal: &Journal) -> Self {
        let cases = journal.held.cases.iter();
        Self {
            schemas: journal.held.schemas.iter().map(|held| held.schema.clone()).collect(),
            reaches: HashMap::new(),
            seen: cases.clone().map(|held| Name::from(&held.case)).collect(),
            cases: cases.map(|held| (held.case.clone(), held.clone())).collect(),
            left: ALL,
        }
    }

    /// Whether the cases of a task in this arm may be held to schemas.
    pub(super) fn concerns(task: &dyn Task, constrained: bool) -> bool {
        constrained || task.constrains_every_arm()
    }

    /// The schemas of a case that was not looked at yet; none where it was.
    pub(super) fn news_of(&mut self, case: &Case) -> Vec<Constraint> {
        match self.seen.insert(case.id) {
            true => task::find(&case.task).map(|task| task.constraints(case)).unwrap_or_default(),
            false => Vec::new(),
        }
    }

    /// Whether a schema would be asked about.
    pub(super) fn is_news(&self, constraint: &Constraint) -> bool {
        !self.schemas.contains(&constraint.hash())
            || (!constraint.right.is_empty() && self.reach(constraint).is_none())
    }

    fn reach(&self, constraint: &Constraint) -> Option<Reach> {
        self.reaches.get(&(constraint.hash(), constraint.hash_of_right())).copied()
    }

    /// Finds out what the server holds of the schemas of a case that are not known yet; what there is no time for is not known.
    ///
    /// # Errors
    /// When a thread panics.
    pub(super) async fn look(
        &mut self,
        case: &Case,
        constraints: Vec<Constraint>,
        oracle: Oracle<'_>,
        interrupt: &Interrupt,
    ) -> Result<News> {
        let mut news = News::default();
        let mut reaches = Vec::new();
        for constraint in &constraints {
            if self.is_news(constraint) {
                let began = Instant::now();
                let until = began + EACH.min(self.left);
                let (held, reach) = match oracle {
                    Oracle::Table(column) => (by_table(column, case, constraint), Reach::default()),
                    Oracle::Server(_) if self.left.is_zero() => {
                        (unknown(constraint, out_of_time()), Reach::default())
                    }
                    Oracle::Server(client) => {
                        let patience = Patience { until, interrupt: interrupt.clone() };
                        look_at(constraint.clone(), client, patience).await?
                    }
                };
                self.left = self.left.saturating_sub(began.elapsed());
                self.reaches.insert((constraint.hash(), constraint.hash_of_right()), reach);
                // Two requests may have one schema and other answers: of those alone there is news then.
                if self.schemas.insert(constraint.hash()) {
                    news.schemas.push(held.kept());
                }
            }
            reaches.push(self.reach(constraint).unwrap_or_default());
        }
        // Of several schemas (tools), none is that of the whole reply.
        let Reach { answer, right } = match reaches.as_slice() {
            [only] => *only,
            _ => Reach::default(),
        };
        let schemas = constraints.iter().map(Constraint::hash).collect();
        let held = HeldCase { case: case.id.into(), schemas, answer, right };
        self.cases.insert(held.case.clone(), held.clone());
        news.case = Some(held);
        Ok(news)
    }

    /// What becomes of a case that nobody could have answered: it says nothing of the setting.
    pub(super) fn outcome(&self, case: &str, outcome: Outcome) -> Outcome {
        match self.cases.get(case) {
            Some(held) => held.counted(outcome),
            None => outcome,
        }
    }
}

/// What the table says of a schema of a case.
pub(super) fn by_table(column: &Result<Column, String>, case: &Case, constraint: &Constraint) -> HeldSchema {
    match column {
        Err(reason) => unknown(constraint, reason.clone()),
        Ok(_) if is_of_free_call(&case.prompt, constraint) => unknown(constraint, FREE_CALLS.to_owned()),
        Ok(column) => column.held(constraint),
    }
}

/// Why nothing is said of the tools of a request that leaves it to the model whether it calls one.
const FREE_CALLS: &str = "the table is about replies that are held to a schema; calls that are left to the model are read from its text";

/// Whether a schema is that of a tool that the model need not call.
fn is_of_free_call(prompt: &Prompt, constraint: &Constraint) -> bool {
    let Prompt::Chat { tools, tool_choice, .. } = prompt else { return false };
    let is_tool =
        tools.iter().any(|tool| tool.name == constraint.name && tool.parameters == constraint.schema);
    is_tool && *tool_choice != Some(ToolChoice::Required)
}

fn out_of_time() -> String {
    format!("the schemas before it took {} s, and no more is spent on them", ALL.as_secs())
}

fn unknown(constraint: &Constraint, reason: String) -> HeldSchema {
    HeldSchema::unknown(constraint.hash(), constraint.name.clone(), Conversion::Unknown { reason })
}

/// How long somebody waits.
#[derive(Debug, Clone)]
pub(super) struct Patience {
    pub(super) until: Instant,
    pub(super) interrupt: Interrupt,
}

impl Patience {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until || self.interrupt.requested()
    }

    /// The server's answer, as long as somebody waits for it.
    async fn answer(&self, client: &Client, schema: &Value) -> Answer {
        let late = tokio::time::sleep_until(self.until.into());
        tokio::select! {
            answer = client.grammar_of(schema) => answer,
            () = late => Answer::Nothing("the server did not answer in time".into()),
            () = self.interrupt.asked(1) => Answer::Nothing("nobody waited for the answer".into()),
        }
    }
}

/// What a server holds of a schema, and of the answers that are known.
///
/// # Errors
/// When a thread panics.
pub(super) async fn look_at(
    constraint: Constraint,
    client: &Client,
    patience: Patience,
) -> Result<(HeldSchema, Reach)> {
    if !client.tells_grammars() {
        let reason = "this engine does not tell what grammar it makes of a schema".to_owned();
        return Ok((unknown(&constraint, reason), Reach::default()));
    }
    let (nothing, schema) = (unknown(&constraint, String::new()), constraint.schema.clone());
    let waits = patience.clone();
    let made = tokio::task::spawn_blocking(move || Check::new(constraint, &|| waits.is_over())).await;
    match made.context(|| "panicked while values of a schema were made".into())? {
        Ok(check) => hold(Arc::new(check), &schema, client, patience).await,
        Err(reason) => {
            Ok((HeldSchema { conversion: Conversion::Unknown { reason }, ..nothing }, Reach::default()))
        }
    }
}

/// Asks the server about a schema, and about the schema without its keywords where the first answer leaves that open.
async fn hold(
    check: Arc<Check>,
    schema: &Value,
    client: &Client,
    patience: Patience,
) -> Result<(HeldSchema, Reach)> {
    let panicked = || "panicked while values of a schema were tried".to_owned();
    let answer = patience.answer(client, schema).await;
    let (own, waits) = (Arc::clone(&check), patience.clone());
    let tried = tokio::task::spawn_blocking(move || {
        let over = || waits.is_over();
        let (answer_fits, right) = own.reach(&answer, &over);
        (own.first(&answer, &over), Reach { answer: answer_fits, right })
    });
    let (found, reach) = tried.await.context(panicked)?;
    let mut answers: Vec<Answer> = Vec::new();
    for keyword in &found.ask {
        answers.push(patience.answer(client, &check.without(*keyword)).await);
    }
    let finished = tokio::task::spawn_blocking(move || check.finish(found, &answers, &|| patience.is_over()));
    Ok((finished.await.context(panicked)?, reach))
}
