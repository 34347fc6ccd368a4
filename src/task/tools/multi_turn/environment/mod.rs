//! The worlds that scenarios play in: small deterministic state machines. A call gives a new state and a
//! result, or an error and the old state; no clock, no randomness.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::record::Tool;
use crate::task::tools::ladder::schema_fault;

mod answer;
mod bank;
mod calendar;
mod files;
mod home;
mod shop;
mod tickets;

pub use answer::{Answer, Environment};

/// A kind of environment.
pub struct EnvironmentKind {
    /// Name in the data set.
    pub name: &'static str,
    /// Opens it in a state as the data set writes it.
    open: fn(Value) -> Result<Box<dyn Environment>, String>,
    /// Its tools and scenarios, JSON.
    pub data: &'static str,
}

/// Every environment that scenarios may play in.
pub static KINDS: &[EnvironmentKind] = &[
    EnvironmentKind {
        name: "files",
        open: open::<files::Files>,
        data: include_str!("../../../../../datasets/tools/scenarios-files.json"),
    },
    EnvironmentKind {
        name: "calendar",
        open: open::<calendar::Calendar>,
        data: include_str!("../../../../../datasets/tools/scenarios-calendar.json"),
    },
    EnvironmentKind {
        name: "shop",
        open: open::<shop::Shop>,
        data: include_str!("../../../../../datasets/tools/scenarios-shop.json"),
    },
    EnvironmentKind {
        name: "bank",
        open: open::<bank::Bank>,
        data: include_str!("../../../../../datasets/tools/scenarios-bank.json"),
    },
    EnvironmentKind {
        name: "home",
        open: open::<home::Home>,
        data: include_str!("../../../../../datasets/tools/scenarios-home.json"),
    },
    EnvironmentKind {
        name: "tickets",
        open: open::<tickets::Tickets>,
        data: include_str!("../../../../../datasets/tools/scenarios-tickets.json"),
    },
];

fn open<E: Environment + DeserializeOwned + 'static>(state: Value) -> Result<Box<dyn Environment>, String> {
    let environment: E = serde_json::from_value(state).map_err(|error| error.to_string())?;
    Ok(Box::new(environment))
}

/// An environment with the tools that reach it.
pub struct World<'a> {
    tools: &'a [Tool],
    environment: Box<dyn Environment>,
}

impl<'a> World<'a> {
    /// Opens the environment of that name in a state.
    ///
    /// # Errors
    /// When there is no such environment or the state is not one of it.
    pub fn open(name: &str, state: &Value, tools: &'a [Tool]) -> Result<Self, String> {
        let kind = KINDS.iter().find(|kind| kind.name == name);
        let kind = kind.ok_or_else(|| format!("no environment is called {name}"))?;
        let environment =
            (kind.open)(state.clone()).map_err(|error| format!("{name}: bad state: {error}"))?;
        Ok(Self { tools, environment })
    }

    /// Carries out a call of one of the tools, after a look at its arguments.
    ///
    /// # Errors
    /// What went wrong, in words for the model.
    pub fn call(&mut self, name: &str, arguments: Value) -> Answer {
        let tool = self.tools.iter().find(|tool| tool.name == name).ok_or("there is no such function")?;
        if let Some(fault) = schema_fault(&tool.parameters, &arguments) {
            return Err(format!("invalid arguments ({})", fault.name()));
        }
        self.environment.call(name, arguments)
    }

    /// See [`Environment::essence`].
    pub fn essence(&self) -> Value {
        self.environment.essence()
    }
}
