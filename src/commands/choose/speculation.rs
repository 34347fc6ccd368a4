//! Types of speculation that join the search: those that draft from the text itself change the speed, and neither what is answered
//! nor the memory. Others need a second model, or heads that few files have.

use crate::cli::{Best, ChooseArgs, FitEngine};
use crate::commands::fit::Server;
use crate::error::{Error, Result, nearest};
use crate::measure::engine::EngineCard;

/// How the names of such types begin.
const FROM_THE_TEXT: &str = "ngram";
/// What is tried where none is named: the plainest, else the first that the build lists.
const USUAL: &str = "ngram-simple";
/// No speculation at all.
const OFF: &str = "off";

/// The types that are tried beside none, where a speed is asked for that they change.
///
/// # Errors
/// For a type that the build does not list, or that does not draft from the text alone.
pub(super) fn of(args: &ChooseArgs, engine: FitEngine, server: &Server<'_>) -> Result<Vec<String>> {
    // vLLM's and SGLang's want to be told how much to draft: that is for a suite to say.
    let drafts = engine.is_llama();
    match &args.speculation {
        Some(named) if named.iter().any(|name| name == OFF) => Ok(Vec::new()),
        Some(_) if !drafts => Err(Error::usage("--speculation is for llama.cpp and ik_llama.cpp")
            .hint("write a suite for another engine: docs/suites.md, `rule = \"best\"`")),
        Some(named) => {
            let listed = listed(server)?;
            named.iter().map(|name| checked(name, &listed, server.engine.card())).collect()
        }
        None if drafts && args.objective == Best::Decode => {
            let listed = listed(server)?;
            let usual = listed.iter().find(|name| *name == USUAL).or_else(|| listed.first());
            Ok(usual.cloned().into_iter().collect())
        }
        None => Ok(Vec::new()),
    }
}

/// Those of the build that draft from the text: by the server's help where it is here, else by that of the package that will be
/// fetched.
fn listed(server: &Server<'_>) -> Result<Vec<String>> {
    let build = match server.ask()? {
        Some(here) => here.build,
        None => server.engine.pinned_build(),
    };
    Ok(build.speculation.into_iter().filter(|name| name.starts_with(FROM_THE_TEXT)).collect())
}

fn checked(name: &str, listed: &[String], card: &EngineCard) -> Result<String> {
    if listed.iter().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let error = Error::usage(format!(
        "this server of {} has no speculation type `{name}` that drafts from the text alone",
        card.name
    ));
    let error = match nearest(name, listed.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    };
    Err(match listed {
        [] => error.hint("its help lists none: leave --speculation out, or use a newer build"),
        _ => error.hint(format!("it has {}", listed.join(", "))),
    })
}
