//! How long a run may take, from what this machine showed before.

use std::path::Path;

use super::earlier::{self, Earlier};
use super::setup;
use crate::judge::analysis::history::machine_name;
use crate::measure::runner;
use crate::measure::runner::{Estimator, Interrupt, Observed, Prepared};
use crate::record::journal;
use crate::record::journal::{Header, Journal};
use crate::record::suite::{Suite, TaskSpec};

/// Earlier runs that are read, the latest first.
const RUNS: usize = 3;

/// Larger journals (bytes) take too long to read for an estimate.
const LARGEST: u64 = 200 << 20;

/// What is known before the run: earlier runs of the same model files and engine on this machine, else a rule. `own` is
/// what an earlier session of this run left.
pub(super) fn estimator(
    suite: &Suite,
    prepared: &Prepared,
    runs_dir: &Path,
    own: Option<&Journal>,
) -> Estimator {
    let alike = |header: &Header| is_of_this_machine(header, suite, prepared);
    let mut observed = Observed::default();
    let mut runs = 0;
    let mut add = |journal: &Journal| {
        runs += usize::from(!journal.trials.is_empty());
        observe(&mut observed, journal, suite, prepared);
    };
    if let Some(journal) = own {
        add(journal);
    }
    let earlier = earlier::runs(runs_dir, alike);
    let others = earlier.iter().filter(|earlier| own.is_none_or(|own| own.header.run != earlier.header.run));
    for Earlier { folder, .. } in others.filter(|earlier| is_small(earlier)).take(RUNS) {
        // One damaged run must not stop another.
        if let Ok(journal) = journal::load(folder) {
            add(&journal);
        }
    }
    Estimator::of_runs(prepared, crate::measure::probe::machine::machine(), &observed, runs)
}

/// A journal that is read for an estimate.
pub(super) fn is_small(earlier: &Earlier) -> bool {
    let folders = std::iter::once(earlier.folder.clone()).chain(journal::parts(&earlier.folder));
    let sizes =
        folders.map(|folder| std::fs::metadata(folder.join(journal::FILE_NAME)).map(|file| file.len()));
    sizes.sum::<std::io::Result<u64>>().is_ok_and(|bytes| bytes <= LARGEST)
}

/// A run of this machine, of the same server with a file in common.
pub(super) fn is_of_this_machine(header: &Header, suite: &Suite, prepared: &Prepared) -> bool {
    let machine = crate::measure::probe::machine::machine();
    let name = machine_name(&machine, std::slice::from_ref(&prepared.engine_info));
    machine_name(&header.machine, &header.engines) == name && is_alike(header, suite, prepared)
}

/// The same server, asked in the same way, with a file in common.
fn is_alike(header: &Header, suite: &Suite, prepared: &Prepared) -> bool {
    let (theirs, ours) = (&header.suite.engine, &suite.engine);
    let same_engine = header.engines.iter().any(|engine| engine.name == prepared.engine_info.name);
    let same_file = header.models.iter().any(|theirs| {
        prepared.model_infos.iter().any(|ours| !ours.sha256.is_empty() && ours.sha256 == theirs.sha256)
    });
    let same_server =
        ours.url.is_some() && header.engines.iter().any(|engine| engine.is_build_of(&prepared.engine_info));
    same_engine && theirs.threads == ours.threads && theirs.args == ours.args && (same_file || same_server)
}

fn observe(observed: &mut Observed, journal: &Journal, suite: &Suite, prepared: &Prepared) {
    let hash = |of: &[crate::record::ModelInfo], model: &str, weights: &str| {
        let found = of.iter().find(|info| info.name == model && info.weights == weights);
        found.map(|info| info.sha256.clone())
    };
    let same_file = |model: &str, weights: &str| {
        let ours = hash(&prepared.model_infos, model, weights);
        prepared.attached.is_some()
            || (ours.is_some() && ours == hash(&journal.header.models, model, weights))
    };
    let same_task = |name: &str| {
        let of = |suite: &Suite| suite.tasks.iter().find(|spec| spec.name == name).map(alike_task);
        of(suite).is_some() && of(suite) == of(&journal.header.suite)
    };
    observed.add(journal, same_file, same_task);
}

/// A task without what does not change the time of a trial.
fn alike_task(spec: &TaskSpec) -> TaskSpec {
    TaskSpec { samples: 0, repeats: 1, contexts: Vec::new(), arms: Vec::new(), primary: None, ..spec.clone() }
}

/// Looks how fast the reference is, when no earlier run says it; what goes wrong leaves the rule of thumb, and is said.
pub(super) fn probed(estimator: &mut Estimator, suite: &Suite, prepared: &Prepared) -> Option<String> {
    let reference = suite.reference();
    if prepared.attached.is_some() || suite.pack.is_some() || estimator.knows(reference) {
        return None;
    }
    let probed = setup::runtime().and_then(|runtime| {
        runtime.block_on(async {
            let interrupt = Interrupt::listen()?;
            runner::probe(suite, prepared, &interrupt).await
        })
    });
    match probed {
        Ok(speed) => {
            estimator.learn(&reference.model, &reference.weights, speed);
            None
        }
        Err(error) => Some(format!("its speed could not be probed: {}", crate::error::chain(&error))),
    }
}
