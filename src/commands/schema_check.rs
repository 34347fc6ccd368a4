//! `schema-check`: what a server really holds of one's own tools and schemas.

use std::io::Read as _;
use std::path::Path;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::output::{plain_table, print, print_json};
use super::progress::Display;
use super::setup::{attached_client, runtime};
use crate::cli::{Global, SchemaCheckArgs};
use crate::console::{self, clean};
use crate::error::{Context, EXIT_GATE_FAILED, EXIT_OK, Error, Kind, Result};
use crate::import::schemas::{MAX_BYTES, schemas};
use crate::measure::client::{Client, check_address};
use crate::measure::engine::{self, Engine, supervise};
use crate::measure::model::packages::SMOLLM2;
use crate::measure::model::{self, Progress as _, Store};
use crate::measure::runner::{GrammarServer, Interrupt, Reach, ShortLaunch, held, told_version};
use crate::record::{Conversion, HeldKeyword, HeldSchema, Hold};
use crate::task::tools::held::by_table::{Column, is_in_table};
use crate::task::tools::held::check::Constraint;

/// Longest instance that the table shows (characters); `--json` has it whole.
const MAX_SHOWN: usize = 80;
/// What is said of what no server was asked about.
const BY_TABLE: &str = "by table, no server was asked";

/// What `schema-check --json` prints.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct SchemaCheck {
    /// Version of this form.
    pub schema_version: u32,
    /// The engine.
    pub engine: String,
    /// Its build, as the server names it.
    pub build: Option<String>,
    /// The engine and its version as the table of `docs/seen/constrained.md` has them, where that says what is held; then no server was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Whether everything is held in full; what is not known is not.
    pub held: bool,
    /// What else the table says of the engine, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The schemas of the file.
    pub schemas: Vec<Checked>,
}

/// A schema of the file.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(super) struct Checked {
    /// What is held of it.
    #[serde(flatten)]
    pub schema: HeldSchema,
    /// Whether it is held in full, as far as values were tried; null where that is not known.
    pub in_full: Option<bool>,
    /// Whether the answer that the file names can be written; null where it names none, or that is not known.
    pub answer_reachable: Option<bool>,
    /// Whether any of the right values that were tried can be written; null as above.
    pub right_reachable: Option<bool>,
}

impl Checked {
    fn of((schema, reach): (HeldSchema, Reach)) -> Self {
        let in_full = schema.in_full().map(|full| full && reach.answer != Some(false));
        Self { schema, in_full, answer_reachable: reach.answer, right_reachable: reach.right }
    }
}

pub(super) fn schema_check(args: &SchemaCheckArgs, global: &Global) -> Result<u8> {
    let constraints = read(&args.file)?;
    let engine = engine(&args.engine)?;
    let check = runtime()?.block_on(async {
        let interrupt = Interrupt::listen()?;
        tokio::select! {
            check = look(args, engine, constraints, global, &interrupt) => check,
            () = interrupt.asked(1) => Err(Error::new(Kind::Interrupted, "stopped")),
        }
    })?;
    if args.json {
        print_json(&check)?;
    } else {
        print(&check.text())?;
    }
    Ok(if check.held { EXIT_OK } else { EXIT_GATE_FAILED })
}

fn read(file: &Path) -> Result<Vec<Constraint>> {
    let shown = file.display();
    let mut text = String::new();
    let opened = std::fs::File::open(file).context(|| format!("cannot open {shown}"))?;
    opened.take(MAX_BYTES + 1).read_to_string(&mut text).context(|| format!("cannot read {shown}"))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Error::usage(format!("{shown} is longer than {} MiB", MAX_BYTES >> 20)));
    }
    schemas(&text).map_err(|reason| {
        Error::usage(format!("{shown} cannot be checked: {reason}"))
            .hint("a file is a JSON Schema, an array of tools, the body of a chat completion, or {\"schemas\": [{\"schema\": ..}]}")
    })
}

/// An engine that tells its grammars, or that the table is about.
fn engine(name: &str) -> Result<&'static dyn Engine> {
    let (told, listed): (Vec<&dyn Engine>, Vec<&dyn Engine>) =
        engine::ENGINES.iter().copied().filter(|engine| is_known(*engine)).partition(|engine| tells(*engine));
    let names =
        |engines: &[&dyn Engine]| engines.iter().map(|engine| engine.name()).collect::<Vec<_>>().join(", ");
    match engine::ENGINES.iter().find(|engine| engine.name() == name) {
        Some(engine) if is_known(*engine) => Ok(*engine),
        found => Err(Error::usage(match found {
            Some(_) => {
                format!("{name} does not tell what grammar it makes of a schema, and is not in the table")
            }
            None => format!("no engine is called {name}"),
        })
        .hint(format!("these tell their grammars: {}", names(&told)))
        .hint(format!(
            "of these the table of docs/seen/constrained.md says what they hold: {}",
            names(&listed)
        ))),
    }
}

fn is_known(engine: &dyn Engine) -> bool {
    tells(engine) || is_in_table(engine.name())
}

fn tells(engine: &dyn Engine) -> bool {
    engine.card().wire.grammar_of(&serde_json::Value::Null).is_some()
}

/// What the table says of the schemas. A server that is named is asked for its version, and for nothing else.
async fn looked_up(
    args: &SchemaCheckArgs,
    engine: &'static dyn Engine,
    constraints: &[Constraint],
) -> Result<SchemaCheck> {
    if args.binary.is_some() || args.model.is_some() {
        return Err(Error::usage(format!("{} is judged by table: no server is started", engine.name()))
            .hint("leave out --binary and --model; --version names the engine's version"));
    }
    let build = match (&args.engine_version, &args.url) {
        (Some(version), _) => Some(version.clone()),
        (None, Some(url)) => told_version(engine, &attached(args, engine, url)?).await,
        (None, None) => None,
    };
    let flags: Vec<String> =
        args.backend.iter().flat_map(|name| ["--grammar-backend".to_owned(), name.clone()]).collect();
    let no_column = || format!("the table has no column of {}", engine.name());
    let column = Column::of(engine.name(), build.as_deref(), &flags).unwrap_or_else(|| Err(no_column()));
    let column = column.map_err(|reason| {
        Error::usage(reason)
            .hint("docs/seen/constrained.md has the engines and libraries that were looked at")
    })?;
    let found = constraints.iter().map(|constraint| Checked::of((column.held(constraint), Reach::default())));
    let schemas: Vec<Checked> = found.collect();
    Ok(SchemaCheck {
        schema_version: 1,
        engine: engine.name().to_owned(),
        build,
        table: Some(column.words().to_owned()),
        held: schemas.iter().all(|held| held.in_full == Some(true)),
        notes: notes(&column, &schemas),
        schemas,
    })
}

/// What holds of a keyword however it is used.
fn notes(column: &Column, schemas: &[Checked]) -> Vec<String> {
    let bounds = |keyword: &HeldKeyword| matches!(keyword.keyword.as_str(), "minLength" | "maxLength");
    let is_bounded = schemas.iter().flat_map(|checked| &checked.schema.keywords).any(bounds);
    let note = "texts with a bound of their length cannot hold what has to be escaped: quotes, backslashes, line breaks";
    if is_bounded && column.bars_escapes() { vec![note.to_owned()] } else { Vec::new() }
}

async fn look(
    args: &SchemaCheckArgs,
    engine: &'static dyn Engine,
    constraints: Vec<Constraint>,
    global: &Global,
    interrupt: &Interrupt,
) -> Result<SchemaCheck> {
    if !tells(engine) {
        return looked_up(args, engine, &constraints).await;
    }
    if args.engine_version.is_some() || args.backend.is_some() {
        return Err(Error::usage(format!(
            "{} is asked itself: --version and --backend are for engines that are judged by table",
            engine.name()
        )));
    }
    let display = Display::new(global);
    match &args.url {
        Some(url) => {
            let client = attached(args, engine, url)?;
            let build = build_of(&client).await?;
            checked(engine, build, constraints, (&client, interrupt), &display).await
        }
        None => {
            let server = started(args, engine, &display).await?;
            let build = build_of(server.client()).await.ok().flatten();
            let check = checked(engine, build, constraints, (server.client(), interrupt), &display).await;
            server.stop().await?;
            check
        }
    }
}

fn attached(args: &SchemaCheckArgs, engine: &dyn Engine, url: &str) -> Result<Client> {
    check_address(url)?;
    attached_client(engine, url, args.served_model.as_deref(), args.api_key_env.as_deref())
}

/// A server with a small model: grammars do not depend on it.
async fn started(
    args: &SchemaCheckArgs,
    engine: &'static dyn Engine,
    display: &Display,
) -> Result<GrammarServer> {
    let store = Store::open(display)?;
    let files = model::server(engine, args.binary.as_deref(), &store)?;
    let build = supervise::ask(engine, &files.binary, files.library_path.as_deref()).await?;
    let model = match &args.model {
        Some(file) => file.clone(),
        None => store.fetch(&SMOLLM2)?,
    };
    GrammarServer::start(ShortLaunch { engine, files: &files, build: &build, model: &model }).await
}

async fn build_of(client: &Client) -> Result<Option<String>> {
    let properties = client.get_json("/props").await.map_err(|error| {
        error.hint("grammars are told by llama-server and its forks; other servers' are not known")
    })?;
    Ok(properties.get("build_info").and_then(|build| build.as_str()).map(console::shown))
}

async fn checked(
    engine: &dyn Engine,
    build: Option<String>,
    constraints: Vec<Constraint>,
    (client, interrupt): (&Client, &Interrupt),
    display: &Display,
) -> Result<SchemaCheck> {
    let (mut found, all) = (Vec::new(), constraints.len());
    for constraint in constraints {
        display.begin(&format!("schema {} of {all}: {}", found.len() + 1, constraint.name), None);
        found.push(Checked::of(held(constraint, client, interrupt).await?));
    }
    display.finish();
    Ok(SchemaCheck {
        schema_version: 1,
        engine: engine.name().to_owned(),
        build,
        table: None,
        notes: Vec::new(),
        held: found.iter().all(|held| held.in_full == Some(true)),
        schemas: found,
    })
}

impl SchemaCheck {
    fn text(&self) -> String {
        let head = match (&self.table, &self.build) {
            (Some(table), _) => format!("{}: {BY_TABLE}", clean(table)),
            (None, Some(build)) => format!("{} ({build})", self.engine),
            (None, None) => self.engine.clone(),
        };
        let mut table = plain_table();
        table.set_header(["SCHEMA", "AT", "KEYWORD", "HELD", "SHOWN BY"]);
        for Checked { schema, .. } in &self.schemas {
            for keyword in &schema.keywords {
                let place = if keyword.at.is_empty() { "/" } else { &keyword.at };
                let shown = keyword
                    .instance
                    .as_ref()
                    .map(instance)
                    .or_else(|| keyword.row.clone())
                    .unwrap_or_default();
                let cells = [&*clean(&schema.name), &*clean(place), &*clean(&keyword.keyword)];
                table.add_row(cells.into_iter().chain([keyword.hold.name(), &*shown]));
            }
        }
        let verdicts: Vec<String> = self.schemas.iter().map(verdict).collect();
        let notes: String = self.notes.iter().map(|note| format!("\n{note}\n")).collect();
        format!("{head}\n\n{}\n\n{}\n{notes}", table.trim_fmt(), verdicts.join("\n"))
    }
}

fn instance(value: &serde_json::Value) -> String {
    let text = clean(&value.to_string()).into_owned();
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}..", &text[..at]),
        None => text,
    }
}

/// A sentence about a schema.
fn verdict(checked: &Checked) -> String {
    let held = &checked.schema;
    let name = clean(&held.name);
    let closed = if held.closed { "; properties without a name of their own cannot be written" } else { "" };
    match &held.conversion {
        Conversion::Unknown { reason } => format!("{name}: not known: {}", clean(reason)),
        Conversion::Refused { words } => {
            format!("{name}: REFUSED{}: {}", of(held, Hold::Refused, " for "), clean(words))
        }
        Conversion::Made if checked.in_full.is_none() && held.table.is_some() => {
            format!("{name}: not known{}", of(held, Hold::Unshown, ": the table has no row for "))
        }
        Conversion::Made if checked.in_full.is_none() => {
            format!("{name}: not known: no right value was found to try")
        }
        Conversion::Made if checked.in_full == Some(true) => {
            let open = count(held, Hold::Unshown);
            let open = if open > 0 {
                format!("; {open} not shown by any value that was made")
            } else {
                String::new()
            };
            let by = if held.table.is_some() { ", by table" } else { "" };
            format!("{name}: held in full{by}{open}{closed}")
        }
        Conversion::Made => {
            let (dropped, barred) = (
                of(held, Hold::Dropped, "; not enforced: "),
                of(held, Hold::OverRestricted, "; right values barred by: "),
            );
            let answer = match (checked.right_reachable, checked.answer_reachable) {
                (Some(false), _) => "; answer unreachable: no right value can be written",
                (_, Some(false)) => "; the answer itself cannot be written",
                _ => "",
            };
            let wrong = match held.wrong_allowed {
                0 => String::new(),
                count => format!("; {count} of {} wrong values of the file can be written", held.wrong),
            };
            format!("{name}: NOT held in full{dropped}{barred}{wrong}{answer}{closed}")
        }
    }
}

fn count(held: &HeldSchema, hold: Hold) -> usize {
    held.keywords.iter().filter(|keyword: &&HeldKeyword| keyword.hold == hold).count()
}

fn of(held: &HeldSchema, hold: Hold, lead: &str) -> String {
    match held.keywords_of(hold) {
        names if names.is_empty() => String::new(),
        names => format!("{lead}{}", names.join(", ")),
    }
}
