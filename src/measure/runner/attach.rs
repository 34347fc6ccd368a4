//! Servers that run already: found by their address, asked what they can do, and left as they are.

use std::time::Duration;

use serde_json::Value;

use super::by_table::told_version;
use super::prepared::{Attachment, Prepared};
use super::server;
use crate::error::{self, Error, Kind, Result, nearest};
use crate::measure::client;
use crate::measure::client::abilities::Abilities;
use crate::measure::client::{ApiKey, Client, abilities};
use crate::measure::engine::Engine;
use crate::measure::probe::{listener, machine};
use crate::record::journal::AttachedServer;
use crate::record::suite::{Cell, EngineSpec, Setting, Suite, UNKNOWN};
use crate::record::{Build, Effective, EngineInfo};

/// Where every server lists its models.
const MODELS: &str = "/v1/models";
/// How often a server that does not answer yet is asked again.
const POLL: Duration = Duration::from_millis(500);
/// Most models that an error names.
const LISTED: usize = 12;

/// What [`prepare`](super::prepare()) does where nothing is started: looks whether the server is there, and which
/// model is meant.
///
/// # Errors
/// When the key is not there, the server does not answer, or it is not clear which of its models is meant.
pub(super) async fn prepare(suite: &Suite, engine: &'static dyn Engine, url: &str) -> Result<Prepared> {
    let base = client::base_of(url).to_owned();
    let key = suite.engine.api_key_env.as_deref().map(ApiKey::from_env).transpose()?;
    let mut attachment =
        Attachment { base, model: String::new(), routes: 0, key, effective: Effective::default() };
    let client = attachment.client(suite, engine)?;
    let listed = client.get_json(MODELS).await.map_err(|error| no_answer(&attachment.base, &error))?;
    attachment.model = model(&suite.engine, &ids(&listed))?;
    attachment.routes = routes(&listed);
    let effective = attachment.read_back(engine, &attachment.client(suite, engine)?).await;
    let named = format!("model {}", label(&attachment.model));
    let build = effective.build.as_ref();
    let version = build.map_or_else(|| named.clone(), |build| format!("{build}, {named}"));
    attachment.effective = effective;
    let origin = format!("attached at {}", attachment.base);
    Ok(Prepared {
        engine,
        files: None,
        build: Build::default(),
        weights: std::collections::HashMap::new(),
        engine_info: EngineInfo {
            name: engine.name().to_owned(),
            version,
            origin,
            sha256: None,
            placement: Some(engine.card().placement),
        },
        model_infos: Vec::new(),
        file_infos: Vec::new(),
        witnesses: Vec::new(),
        gpu: client::loopback_port(&attachment.base).is_some() && machine::has_gpu(),
        attached: Some(attachment),
    })
}

fn no_answer(base: &str, error: &Error) -> Error {
    Error::new(
        Kind::EngineStart,
        format!("the server at {base} does not list its models: {}", error::chain(error)),
    )
    .hint("is it running, and is `engine.url` its address?")
}

/// The names in a list of models.
fn ids(listed: &Value) -> Vec<String> {
    let models = listed.get("data").and_then(Value::as_array);
    let ids = models.into_iter().flatten().filter_map(|model| model.get("id")?.as_str());
    ids.map(crate::console::shown).collect()
}

/// How many models a llama-server that is a router passes requests on to: it says of each whether it is loaded.
fn routes(listed: &Value) -> usize {
    let models = listed.get("data").and_then(Value::as_array);
    models.into_iter().flatten().filter(|model| model.pointer("/status/value").is_some()).count()
}

/// The model that the suite means: the one that it names, else the only one.
fn model(spec: &EngineSpec, listed: &[String]) -> Result<String> {
    let names = || match listed.len() {
        0 => "it lists none".to_owned(),
        count if count <= LISTED => format!("it has {}", listed.join(", ")),
        count => format!("it has {} and {} more", listed[..LISTED].join(", "), count - LISTED),
    };
    match (&spec.served_model, listed) {
        (Some(wanted), []) => Ok(wanted.clone()),
        (Some(wanted), _) if listed.contains(wanted) => Ok(wanted.clone()),
        (Some(wanted), _) => {
            let error = Error::usage(format!("the server has no model {wanted}")).hint(names());
            Err(match nearest(wanted, listed.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error,
            })
        }
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Error::usage(format!("which of the server's models is meant? {}", names()))
            .hint("name it in the suite: engine.served_model = \"NAME\"")),
    }
}

/// A model's name as journals and reports show it: of a path, which llama-server names a model by, its last part.
fn label(model: &str) -> &str {
    let is_path = model.starts_with(['/', '.', '~']) || model.get(1..3) == Some(":\\");
    let last = model.rsplit(['/', '\\']).next().filter(|last| !last.is_empty());
    if is_path { last.unwrap_or(model) } else { model }
}

impl Attachment {
    fn client(&self, suite: &Suite, engine: &dyn Engine) -> Result<Client> {
        let mut client = server::client_of(suite, engine, &self.base)?;
        if !self.model.is_empty() {
            client = client.of_model(&self.model);
        }
        Ok(match &self.key {
            Some(key) => client.with_key(key.clone()),
            None => client,
        })
    }

    /// What the server says that it runs. There is no log to read; metrics hold some of what would stand there.
    async fn read_back(&self, engine: &dyn Engine, client: &Client) -> Effective {
        let mut props = server::properties(engine, client).await;
        if let Some(models) = props.get_mut("data").and_then(Value::as_array_mut) {
            models.retain(|entry| entry.get("id").and_then(Value::as_str) == Some(self.model.as_str()));
        }
        let metrics = match client.endpoints().metrics {
            Some(path) => client.get_text(path).await.unwrap_or_default(),
            None => String::new(),
        };
        let effective = engine.effective(&metrics, &props);
        let build = match effective.build {
            None => told_version(engine, client).await,
            build => build,
        };
        Effective { build, ..effective }
    }

    /// The process to look at, or why its memory is not known.
    pub(super) fn process(&self) -> Result<u32, String> {
        match client::loopback_port(&self.base) {
            Some(port) => listener::owner(port),
            None => Err("the server runs on another machine".to_owned()),
        }
    }
}

/// The server as it is written down before it is asked anything.
pub(super) fn as_named_by(attachment: &Attachment) -> AttachedServer {
    AttachedServer {
        url: attachment.base.clone(),
        model: label(&attachment.model).to_owned(),
        pid: None,
        notes: Vec::new(),
    }
}

/// What it was found not to take or not to tell; `no_process`: why its memory is not known.
pub(super) fn notes(
    attachment: &Attachment,
    abilities: &Abilities,
    no_process: Option<&String>,
) -> Vec<String> {
    let mut notes = abilities.notes();
    if attachment.routes > 0 && no_process.is_none() {
        notes.push(format!(
            "it passes requests on to servers of {} models: memory and energy are those of all that are loaded",
            attachment.routes
        ));
    }
    notes.extend(
        no_process.map(|reason| format!("not available: memory and energy of the server ({reason})")),
    );
    notes
}

/// A server that answers, and what it turned out to be.
pub(super) struct Found {
    pub(super) client: Client,
    pub(super) abilities: Abilities,
    pub(super) effective: Effective,
    pub(super) deviations: Vec<String>,
}

/// Waits until the server answers, and asks it what it can do and what it runs.
///
/// # Errors
/// When it does not answer in time, or goes away when it is asked.
pub(super) async fn find(
    suite: &Suite,
    prepared: &Prepared,
    attachment: &Attachment,
    cell: &Cell,
) -> Result<Found> {
    let engine = prepared.engine;
    let client = attachment.client(suite, engine)?;
    let limit = Duration::from_secs_f64(suite.engine.start_timeout_s);
    tokio::time::timeout(limit, ready(&client)).await.map_err(|_| {
        let message =
            format!("the server at {} did not answer within {} s", attachment.base, limit.as_secs_f64());
        Error::new(Kind::EngineStart, message).hint("is it running, and is `engine.url` its address?")
    })?;
    let (client, abilities) = abilities::probe(client).await?;
    let effective = attachment.read_back(engine, &client).await;
    let mut deviations = engine.deviations(&as_named(cell, &effective), &effective);
    if effective.context.is_none() && deviations.is_empty() {
        deviations.extend(cut_short(&client, cell.context).await?);
    }
    Ok(Found { client, abilities, effective, deviations })
}

async fn ready(client: &Client) {
    while !client.healthy().await {
        tokio::time::sleep(POLL).await;
    }
}

/// A server that does not say how much it reads is shown a prompt that nearly fills the cell's context: some cut what
/// does not fit, and say nothing.
async fn cut_short(client: &Client, context: u32) -> Result<Option<String>> {
    let Err(reason) = abilities::read_whole(client, context).await else { return Ok(None) };
    if !client.healthy().await {
        let message = format!("the server went away when it was sent nearly {context} tokens: {reason}");
        return Err(Error::new(Kind::EngineStart, message).hint("memory may have run out: look at its log"));
    }
    Ok(Some(format!("context: asked for {context} tokens, but of a prompt that fills it: {reason}")))
}

/// What the user named of a setting; the rest is whatever the server runs.
fn as_named(cell: &Cell, effective: &Effective) -> Cell {
    let known = |named: &str, runs: &Option<String>| match named {
        UNKNOWN => runs.clone().unwrap_or_else(|| named.to_owned()),
        _ => named.to_owned(),
    };
    let setting = &cell.setting;
    Cell {
        setting: Setting {
            k: known(&setting.k, &effective.k),
            v: known(&setting.v, &effective.v),
            speculation: known(&setting.speculation, &effective.speculation),
            ..setting.clone()
        },
        context: cell.context,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn spec(served: Option<&str>) -> EngineSpec {
        let text = "name = \"a\"\ncontexts = [512]\n[[model]]\nname = \"m\"\n[reference]\n[[task]]\nname = \"retrieval/niah_single_1\"\n\
                    samples = 1\n[engine]\nname = \"openai\"\nurl = \"http://127.0.0.1:1/v1\"\n";
        let suite = crate::suite::parse(text, std::path::Path::new("a.toml"), &[]).unwrap();
        EngineSpec { served_model: served.map(str::to_owned), ..suite.engine }
    }

    #[test]
    fn the_model_is_the_one_named_or_the_only_one() {
        let many: Vec<String> = ["qwen2.5:0.5b", "llama3.2"].map(str::to_owned).to_vec();
        assert_eq!(model(&spec(None), &many[..1]).unwrap(), "qwen2.5:0.5b");
        assert_eq!(model(&spec(Some("llama3.2")), &many).unwrap(), "llama3.2");
        assert_eq!(model(&spec(Some("hidden")), &[]).unwrap(), "hidden");
        let which = model(&spec(None), &many).unwrap_err();
        assert!(which.to_string().contains("qwen2.5:0.5b, llama3.2"), "{which}");
        assert!(which.hints()[0].contains("served_model"));
        let wrong = model(&spec(Some("llama3.1")), &many).unwrap_err();
        assert!(wrong.hints().iter().any(|hint| hint.contains("`llama3.2`")), "{:?}", wrong.hints());
        assert!(model(&spec(None), &[]).is_err());
    }

    #[test]
    fn a_model_that_is_a_path_is_shown_by_its_last_part() {
        assert_eq!(label("/home/me/models/a-Q4_1.gguf"), "a-Q4_1.gguf");
        assert_eq!(label("C:\\models\\a.gguf"), "a.gguf");
        assert_eq!(label("Qwen/Qwen2.5-7B"), "Qwen/Qwen2.5-7B");
        assert_eq!(label("qwen2.5:0.5b"), "qwen2.5:0.5b");
    }

    #[test]
    fn names_of_models_are_safe_to_show() {
        let listed = serde_json::json!({ "data": [{ "id": "a\u{1b}[2J" }, { "id": 7 }, {}] });
        assert_eq!(ids(&listed), ["a\\u{1b}[2J"]);
    }

    #[test]
    fn what_nobody_named_is_no_deviation() {
        let setting = Setting {
            label: String::new(),
            engine: "llama.cpp".into(),
            model: "m".into(),
            weights: UNKNOWN.into(),
            k: UNKNOWN.into(),
            v: "q8_0".into(),
            speculation: UNKNOWN.into(),
            flash_attention: crate::record::suite::FlashAttention::Auto,
            draft: None,
            options: BTreeMap::new(),
            extra_args: Vec::new(),
            sampling: None,
        };
        let cell = Cell { setting, context: 512 };
        let effective = Effective {
            k: Some("q4_0".into()),
            v: Some("f16".into()),
            speculation: Some("mtp".into()),
            ..Effective::default()
        };
        let named = as_named(&cell, &effective).setting;
        assert_eq!((named.k.as_str(), named.v.as_str(), named.speculation.as_str()), ("q4_0", "q8_0", "mtp"));
    }
}
