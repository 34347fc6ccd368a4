//! `share`: what a board takes of a run. It is sent only when that is asked for.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::output::{open, print};
use super::publish::Scrubber;
use super::runs;
use super::setup::runtime;
use crate::cli::{Global, ShareArgs};
use crate::error::{Context, EXIT_OK, Error, Result};
use crate::judge::analysis;
use crate::judge::report;
use crate::judge::report::{Asked, Destination, Document};
use crate::measure::client::{ApiKey, post_with_key};
use crate::{console, files};

/// How long a site may take to answer.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn share(args: &ShareArgs, global: &Global) -> Result<u8> {
    // Before anything is read: a run may be large.
    let key = args.key_env.as_deref().map(|name| ApiKey::of_variable(name, "the site's key")).transpose()?;
    let folder = runs::find(&global.runs_dir, &args.run)?;
    let journal = open(&folder)?;
    let mut scrubber = Scrubber::of_this_machine();
    let summary = scrubber.scrubbed(&analysis::summarise(&journal)?, true)?;
    let shared = report::shared(&summary, &journal, args.setting.as_deref(), args.context)?;
    let document = report::document(args.format, &shared, &asked(args)?)?;
    match &args.out {
        Some(file) => files::write(file, document.text.as_bytes())?,
        None => drop(print(&document.text)?),
    }
    for line in scrubber.removed() {
        console::note(&format!("taken out: {line}"));
    }
    match key {
        Some(key) => send(&document, args.site.as_deref(), &key)?,
        None => tell(&document.to),
    }
    Ok(EXIT_OK)
}

fn asked(args: &ShareArgs) -> Result<Asked> {
    Ok(Asked {
        hf_id: args.hf_id.clone(),
        hardware: args.hardware.as_deref().map(hardware).transpose()?,
        dataset: args.dataset.clone(),
        dataset_task: args.dataset_task.clone(),
        task: args.task.clone(),
        source_url: args.source_url.clone(),
    })
}

fn hardware(file: &Path) -> Result<Value> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).context(|| format!("cannot read {shown}"))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|source| Error::usage(format!("{shown} is not JSON")).with_source(source))?;
    match value.get("hwClass").and_then(Value::as_str) {
        Some(_) => Ok(value),
        None => Err(Error::usage(format!("{shown} has no `hwClass`")).hint(
            "it is the `hardware` object of localmaxxing's documentation: DISCRETE_GPU, UNIFIED or CPU_ONLY",
        )),
    }
}

/// Says that nothing was sent, and where it would go.
fn tell(to: &Destination) {
    match to {
        Destination::Post { site, path } => {
            console::note(&format!(
                "nothing was sent; --send --key-env NAME posts this to {site}{path}, where it is public"
            ));
        }
        Destination::File { repository, path } => {
            console::note(&format!(
                "nothing was sent; it goes into {path} of {repository}, by a pull request"
            ));
        }
    }
}

fn send(document: &Document, site: Option<&str>, key: &ApiKey) -> Result<()> {
    let Destination::Post { site: own, path } = &document.to else {
        return Err(Error::usage("this is a file of a repository: there is nothing to send it to")
            .hint("leave --send out, and put it into the model's repository by a pull request"));
    };
    let body: Value =
        serde_json::from_str(&document.text).context(|| "cannot read what was written".into())?;
    let address = format!("{}{path}", site.unwrap_or(own).trim_end_matches('/'));
    let answer = runtime()?.block_on(post_with_key(&address, key, &body, LIMIT))?;
    // The site answers 201 with the record; whatever else says success recorded nothing.
    let id = answer.body.get("id").and_then(Value::as_str);
    match (answer.status, id) {
        (201, Some(id)) => {
            console::note(&format!("sent to {address}; its id there is {}", report::plain(id)));
            Ok(())
        }
        (status, _) => Err(Error::runtime(format!("{address} answered HTTP {status}, not with a record"))
            .hint(report::plain(&answer.body.to_string()))),
    }
}
