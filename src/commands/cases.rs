//! `cases`: what a task of a suite sends, without running it.

use super::output::print_json_line;
use super::progress::Display;
use super::setup;
use crate::cli::{CasesArgs, Global};
use crate::error::{EXIT_OK, Error, Result, nearest};
use crate::measure::runner::{CaseServer, Interrupt};
use crate::record::suite::{Suite, TaskSpec};
use crate::record::{Arm, Case};
use crate::task::{self, Approximate, Params};
use crate::{console, suite};

pub(super) fn cases(args: &CasesArgs, global: &Global) -> Result<u8> {
    let suite = suite::load(&args.suite, &args.overrides())?;
    let spec = spec_of(&suite, &args.task)?;
    let contexts = contexts(spec, args.context)?;
    let arms = arms(spec, args.arm)?;
    if args.approximate {
        console::note(
            "counted four characters a token: the sizes are not exact, and other cases than a run's",
        );
        approximate(&suite, spec, &contexts, &arms)
    } else {
        exact(&suite, spec, &contexts, &arms, global)
    }
}

fn spec_of<'a>(suite: &'a Suite, name: &str) -> Result<&'a TaskSpec> {
    let names = || suite.tasks.iter().map(|spec| spec.name.as_str());
    suite.tasks.iter().find(|spec| spec.name == name).ok_or_else(|| {
        let error = Error::usage(format!("the suite has no task {name}"));
        match nearest(name, names()) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("it has {}", names().collect::<Vec<_>>().join(", "))),
        }
    })
}

fn contexts(spec: &TaskSpec, only: Option<u32>) -> Result<Vec<u32>> {
    match only {
        None => Ok(spec.contexts.clone()),
        Some(context) if spec.contexts.contains(&context) => Ok(vec![context]),
        Some(context) => Err(Error::usage(format!("{} does not run at {context} tokens", spec.name))
            .hint(format!("the suite has it at {:?}", spec.contexts))),
    }
}

fn arms(spec: &TaskSpec, only: Option<Arm>) -> Result<Vec<Option<Arm>>> {
    match (only, spec.arms.as_slice()) {
        (None, []) => Ok(vec![None]),
        (None, arms) => Ok(arms.iter().copied().map(Some).collect()),
        (Some(arm), arms) if arms.contains(&arm) => Ok(vec![Some(arm)]),
        (Some(arm), _) => Err(Error::usage(format!("{} has no arm {arm} in this suite", spec.name))),
    }
}

fn emit(case: &Case) -> Result<()> {
    print_json_line(case)
}

fn approximate(suite: &Suite, spec: &TaskSpec, contexts: &[u32], arms: &[Option<Arm>]) -> Result<u8> {
    let task = task::find(&spec.name).ok_or_else(|| Error::usage(format!("unknown task {}", spec.name)))?;
    for &context in contexts {
        for &arm in arms {
            let params = Params::of(spec, context, arm);
            task.each_case(&params, suite.seed, &Approximate, &mut |case| emit(&case))?;
        }
    }
    Ok(EXIT_OK)
}

/// Counting needs no room in the server's cache, so one server with the least room counts for all lengths.
fn exact(
    suite: &Suite,
    spec: &TaskSpec,
    contexts: &[u32],
    arms: &[Option<Arm>],
    global: &Global,
) -> Result<u8> {
    let display = Display::new(global);
    // Only the reference's files are needed.
    let suite = Suite { settings: vec![suite.reference().clone()], ..suite.clone() };
    let prepared = setup::prepare(&suite, &display)?;
    display.finish();
    setup::runtime()?.block_on(async {
        let interrupt = Interrupt::listen()?;
        let least = contexts.iter().copied().min().unwrap_or_default();
        let desk = CaseServer::open(&suite, &prepared, least, &interrupt).await?;
        let made = tokio::select! {
            made = every(&desk, &suite, spec, contexts, arms) => made,
            () = interrupt.asked(1) => Err(Error::new(crate::error::Kind::Interrupted, "stopped")),
        };
        desk.close().await?;
        made
    })?;
    Ok(EXIT_OK)
}

async fn every(
    desk: &CaseServer,
    suite: &Suite,
    spec: &TaskSpec,
    contexts: &[u32],
    arms: &[Option<Arm>],
) -> Result<()> {
    for &context in contexts {
        for &arm in arms {
            desk.each_case(spec, suite.seed, context, arm, &mut |case| emit(&case)).await?;
        }
    }
    Ok(())
}
