//! The data set `datasets/tools`: tools, requests that are right with exact calls, and requests that need none.
//!
//! A change of a tool or a request, however small, changes cases: the tasks that read it get a new
//! [version](crate::task::Card::version).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::record::Tool;

use super::ladder::Expected;

#[cfg(test)]
mod tests;

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../../datasets/tools/", $name, ".json")))),*]
    };
}

/// Tools and requests, a file for each domain.
#[rustfmt::skip]
static DOMAINS: &[(&str, &str)] = files![
    "files", "mail", "calendar", "shop", "travel", "maps", "finance", "home", "devops", "databases", "health", "music",
    "weather", "crm", "messaging", "media", "projects", "near_names", "parallel",
];
static ABSTENTION: &[(&str, &str)] = files!["abstention"];

static DATA: LazyLock<std::result::Result<DataSet, String>> = LazyLock::new(read);

/// All that `datasets/tools` has for tasks of one turn.
#[derive(Debug, Clone, Default)]
pub struct DataSet {
    /// Every tool, by domain.
    pub tools: Vec<Listed>,
    /// Requests that are right with exactly their calls.
    pub requests: Vec<Request>,
    /// Requests that are right without any call.
    pub abstentions: Vec<Abstention>,
}

/// A tool of the data set.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Function name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema (Draft 2020-12) of the arguments.
    pub parameters: serde_json::Value,
    /// Tools that could do the same: they are not drawn to stand beside it.
    #[serde(default)]
    pub alike: Vec<String>,
}

impl Listed {
    /// As it is offered.
    pub fn tool(&self) -> Tool {
        Tool {
            name: self.name.clone(),
            description: self.description.clone(),
            parameters: self.parameters.clone(),
        }
    }
}

/// A request and the calls that are right.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its name, unique in the data set.
    pub id: String,
    /// What it is hard about.
    pub tags: Vec<String>,
    /// Names of the tools that are offered, the right ones first.
    pub tools: Vec<String>,
    /// What the person says.
    pub user: String,
    /// The right calls, in any order.
    pub calls: Vec<Expected>,
    /// Values of the calls that the person says in other words, and how.
    #[serde(default)]
    pub derived: BTreeMap<String, String>,
}

/// What is right to do about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// To call a tool.
    Call,
    /// To ask for what is missing.
    Ask,
    /// To answer in words: no tool is needed.
    Answer,
    /// To say that it cannot be done: no tool does it.
    Refuse,
}

/// A request that is right without any call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abstention {
    /// Its name, unique in the data set.
    pub id: String,
    /// What is right instead; never [`RequestKind::Call`].
    pub right: RequestKind,
    /// Names of the tools that are offered.
    pub tools: Vec<String>,
    /// What the person says.
    pub user: String,
    /// For [`RequestKind::Ask`]: the arguments that the person left out.
    #[serde(default)]
    pub missing: Vec<Missing>,
}

/// A required argument that a person left out.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Missing {
    /// The tool that would be right.
    pub tool: String,
    /// Its argument.
    pub argument: String,
    /// Beginnings of words by which a question may name it, in lower case.
    pub words: Vec<String>,
}

impl DataSet {
    /// The tool of that name.
    pub fn tool(&self, name: &str) -> Option<&Listed> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// The tools of these names, in that order.
    pub fn named(&self, names: &[String]) -> Vec<Tool> {
        names.iter().filter_map(|name| self.tool(name)).map(Listed::tool).collect()
    }

    /// Requests that are right with one call.
    pub fn of_one_call(&self) -> Vec<&Request> {
        self.requests.iter().filter(|request| request.calls.len() == 1).collect()
    }

    /// Requests that are right with several calls.
    pub fn of_several_calls(&self) -> Vec<&Request> {
        self.requests.iter().filter(|request| request.calls.len() > 1).collect()
    }
}

/// The data set.
///
/// # Errors
/// When a file of it cannot be read: this build was made with a broken one.
pub fn data() -> Result<&'static DataSet> {
    DATA.as_ref().map_err(|error| Error::runtime(format!("the data set of tools cannot be read: {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    #[serde(default)]
    tools: Vec<Listed>,
    cases: Vec<Request>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Abstentions {
    cases: Vec<Abstention>,
}

fn read() -> std::result::Result<DataSet, String> {
    let mut data = DataSet::default();
    for (name, text) in DOMAINS {
        let domain: Domain = parse(name, text)?;
        data.tools.extend(domain.tools);
        data.requests.extend(domain.cases);
    }
    for (name, text) in ABSTENTION {
        let file: Abstentions = parse(name, text)?;
        data.abstentions.extend(file.cases);
    }
    Ok(data)
}

fn parse<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> std::result::Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{name}.json: {error}"))
}
