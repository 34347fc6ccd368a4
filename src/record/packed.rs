//! What of a run makes a pack, and what of a pack a run takes.

use std::collections::{HashMap, HashSet};

use super::filter::Filter;
use super::journal::{Journal, LaunchRecord, PackedServer};
use super::plan::{self, Planned};
use super::suite::{PackedReference, Suite};
use super::trial::Trial;
use super::{Measurement, Reply, metric};
use crate::error::{Error, Result};

/// Measurements that say something of the replies, not of the machine.
const OF_REPLIES: &[&str] = &[
    metric::PROMPT_TOKENS,
    metric::OUTPUT_TOKENS,
    metric::THINKING_TOKENS,
    metric::CACHED_TOKENS,
    metric::COMPUTED_TOKENS,
    metric::DRAFT_TOKENS,
    metric::DRAFT_ACCEPTED,
    metric::STREAM_DIFFERS,
];
/// How names of figures end that are of the machine: seconds, rates.
const OF_MACHINES: &[&str] = &["_s", "_tps", "ttft_ratio"];

/// The reference's part of a run: both of its visits, without what speaks of the machine (times, memory, energy).
///
/// # Errors
/// A usage error where there is no whole reference to export.
pub fn of_run(run: &Journal) -> Result<Journal> {
    let suite = &run.header.suite;
    if let Some(doubt) = run.doubts.first() {
        return Err(Error::usage(format!("this run cannot be exported: {doubt}")));
    }
    if let Some(pack) = &suite.pack {
        return Err(Error::usage("the reference of this run comes from a pack itself")
            .hint(format!("export it from the run that measured it, {}, or copy that pack", pack.run)));
    }
    let reference = &suite.reference().label;
    let launches = || run.launches.iter().filter(|launch| launch.setting == *reference);
    if let Some(void) = launches().find(|launch| !launch.deviations.is_empty()) {
        let message =
            format!("the reference does not count: its server changed {}", void.deviations.join("; "));
        return Err(
            Error::usage(message).hint("say in the suite what the server is to run, and run it again")
        );
    }
    let trials: Vec<Trial> =
        run.trials.iter().filter(|trial| trial.key.setting == *reference).map(of_replies).collect();
    is_whole(run, &trials)?;
    let asked: HashSet<&str> = trials.iter().map(|trial| trial.case.as_str()).collect();
    let cases = run.cases.iter().filter(|case| asked.contains(case.id.as_str())).cloned().collect();
    let launches = launches().map(without_machine).collect();
    Ok(Journal { cases, launches, trials, ..Journal::new(run.header.clone()) })
}

/// Every case of the plan must have been asked of the reference's first visit; of the second one, what there is.
fn is_whole(run: &Journal, trials: &[Trial]) -> Result<()> {
    let suite = &run.header.suite;
    let plan = plan::plan(suite, &Filter::parse(&run.header.filters)?)?;
    let first = |setting: &str, replicate: u32| setting == suite.reference().label && replicate == 0;
    let planned = plan.keys().filter(|key| first(&key.setting, key.replicate)).count();
    let asked = trials.iter().filter(|trial| trial.key.replicate == 0 && !trial.case.is_empty()).count();
    if asked == planned && planned > 0 {
        return Ok(());
    }
    let error = Error::usage(format!("the reference was asked {asked} of its {planned} cases"));
    Err(match run.decisions.is_empty() {
        true => error.hint("`kneepoint resume` (with --retry-failed) asks the others"),
        false => error
            .hint("it was stopped early together with the other settings: run it alone ([reference] and no other setting)"),
    })
}

/// A trial with what its replies say alone.
fn of_replies(trial: &Trial) -> Trial {
    let says = |measured: &Measurement| OF_REPLIES.contains(&measured.name.as_ref());
    let mut trial =
        Trial { tick: None, measurements: trial.measurements.iter().filter(says).collect(), ..trial.clone() };
    if let super::Outcome::Scored(score) = &mut trial.outcome {
        score.metrics.retain(|name, _| !OF_MACHINES.iter().any(|end| name.ends_with(end)));
    }
    let timeless = |reply: &mut Reply| {
        if let Some(served) = &mut reply.served {
            served.ttft_s = None;
        }
    };
    if let Some(reply) = &mut trial.reply {
        timeless(reply);
        reply.earlier.iter_mut().for_each(timeless);
    }
    trial
}

fn without_machine(launch: &LaunchRecord) -> LaunchRecord {
    let effective = launch.effective.clone().without_memory();
    let effective = super::Effective {
        model_bytes: None,
        model_gpu_bytes: None,
        model_mapped_bytes: None,
        draft_model_bytes: None,
        kv_pool_bytes: None,
        kv_pool_tokens: None,
        ..effective
    };
    LaunchRecord { effective, load_s: None, tick: None, log: String::new(), ..launch.clone() }
}

/// The part of a pack that a run of the suite takes: the trials that the suite plans for its reference, under the names and in
/// the rounds that they have there, with their cases and servers.
///
/// # Errors
/// As [`Filter::parse`].
pub fn for_suite(
    pack: &Journal,
    origin: &PackedReference,
    suite: &Suite,
    filters: &[String],
) -> Result<Journal> {
    let planned = Planned::new(suite, filters)?;
    let numbers: HashMap<u32, u32> = pack.launches.iter().map(|launch| launch.id).zip(0..).collect();
    let trials = pack.trials.iter().filter_map(|trial| renamed(trial, suite, &planned, &numbers));
    let trials: Vec<Trial> = trials.collect();
    let asked: HashSet<&str> = trials.iter().map(|trial| trial.case.as_str()).collect();
    let used: HashSet<u32> = trials.iter().map(|trial| trial.launch).collect();
    let cases = pack.cases.iter().filter(|case| asked.contains(case.id.as_str())).cloned().collect();
    let mut launches: Vec<LaunchRecord> = Vec::new();
    for (launch, id) in pack.launches.iter().zip(0..).filter(|(_, id)| used.contains(id)) {
        let server = PackedServer::of(origin);
        launches.push(LaunchRecord {
            id,
            setting: suite.reference().label.clone(),
            pack: Some(server),
            ..launch.clone()
        });
    }
    Ok(Journal { cases, launches, trials, ..Journal::new(pack.header.clone()) })
}

/// The trial by its key in the suite; `None` when that does not plan it.
fn renamed(trial: &Trial, suite: &Suite, planned: &Planned, launches: &HashMap<u32, u32>) -> Option<Trial> {
    let spec = suite.tasks.iter().find(|spec| spec.name == trial.key.task)?;
    let mut trial = trial.clone();
    trial.key.change(|key| {
        key.setting = suite.reference().label.as_str().into();
        key.round = spec.round_of(key.index, suite.rounds);
    });
    trial.launch = launches.get(&trial.launch).copied().unwrap_or_default();
    planned.stranger(&trial.key).is_none().then_some(trial)
}
