//! What the server was found to hold of the schemas of a task's requests.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::frame::VisitKey;
use super::run::Run;
use super::summary::{Allowed, HeldArm, HeldFailures, HeldTask};
use crate::record::journal::Journal;
use crate::record::{Conversion, HeldCase, HeldSchema, Hold, Score, Trial};

/// Reasons that are listed, and how long each is (characters).
const MAX_REASONS: usize = 3;
const MAX_REASON: usize = 160;

/// What a journal says of schemas, by case.
pub(crate) struct Held<'a> {
    cases: HashMap<&'a str, &'a HeldCase>,
    schemas: HashMap<&'a str, &'a HeldSchema>,
    /// Servers of another build on another machine: what is known of this run's says nothing of theirs.
    elsewhere: HashSet<u32>,
}

impl<'a> Held<'a> {
    pub(crate) fn of(journal: &'a Journal) -> Self {
        let cases = journal.held.cases.iter().map(|held| (held.case.as_str(), held));
        let schemas = journal.held.schemas.iter().map(|held| (held.schema.as_str(), held));
        let packed = journal.launches.iter().filter(|launch| launch.pack.is_some());
        Self {
            cases: cases.collect(),
            schemas: schemas.collect(),
            elsewhere: packed.map(|launch| launch.id).collect(),
        }
    }

    /// Whether everything that a trial's reply is held to is held in full; `None` where that is not known.
    pub(super) fn in_full(&self, trial: &Trial) -> Option<bool> {
        let case = self.case(trial)?;
        let holds = self.schemas_of(case).map(HeldSchema::in_full).collect::<Option<Vec<bool>>>()?;
        (!holds.is_empty()).then(|| holds.into_iter().all(|full| full) && case.answer != Some(false))
    }

    /// What the grammar would have allowed to a reply that was scored and is not fully right; `None` for all other trials, and for those
    /// that are held to nothing that was asked about.
    pub(crate) fn allowed(&self, trial: &Trial) -> Option<Allowed> {
        let failed = |score: &Score| score.quality.is_some_and(|quality| quality < 1.0);
        let case = self.case(trial).filter(|_| trial.outcome.score().is_some_and(failed))?;
        Some(match (case.answer, case.right) {
            (Some(true), _) => Allowed::Answer,
            (_, Some(true)) => Allowed::Other,
            _ if self.schemas_of(case).any(is_refused) => Allowed::Refused,
            _ => Allowed::Unknown,
        })
    }

    fn case(&self, trial: &Trial) -> Option<&'a HeldCase> {
        let case = self.cases.get(trial.case.as_str()).copied();
        case.filter(|_| !self.elsewhere.contains(&trial.launch))
    }

    fn schemas_of(&self, case: &'a HeldCase) -> impl Iterator<Item = &'a HeldSchema> {
        case.schemas.iter().filter_map(|schema| self.schemas.get(schema.as_str()).copied())
    }

    /// What these trials were held to; `None` where nothing was asked about.
    pub(super) fn of_trials(&self, trials: &[&Trial]) -> Option<HeldArm> {
        let cases: Vec<&HeldCase> = trials.iter().filter_map(|trial| self.case(trial)).collect();
        let names: BTreeSet<&str> =
            cases.iter().flat_map(|case| case.schemas.iter().map(String::as_str)).collect();
        let schemas: Vec<&HeldSchema> =
            names.iter().filter_map(|schema| self.schemas.get(schema).copied()).collect();
        if schemas.is_empty() {
            return None;
        }
        let mut failures = HeldFailures::default();
        for trial in trials {
            if let Some(allowed) = self.allowed(trial) {
                failures.add(allowed, trial.key.index);
            }
        }
        let count = |fits: fn(&HeldSchema) -> bool| schemas.iter().filter(|held| fits(held)).count() as u32;
        let count_cases = |fits: fn(&HeldCase) -> bool| cases.iter().filter(|case| fits(case)).count() as u32;
        Some(HeldArm {
            schemas: schemas.len() as u32,
            in_full: count(|held| held.in_full() == Some(true)),
            refused: count(is_refused),
            unknown: count(|held| held.in_full().is_none()),
            unknown_because: reasons(&schemas),
            by_table: tables(&schemas),
            not_enforced: by_keyword(&schemas, Hold::Dropped),
            over_restricted: by_keyword(&schemas, Hold::OverRestricted),
            refused_for: by_keyword(&schemas, Hold::Refused),
            unreachable: count_cases(|case| case.right == Some(false)),
            answer_barred: count_cases(|case| case.answer == Some(false)),
            failures,
        })
    }
}

fn is_refused(held: &HeldSchema) -> bool {
    matches!(held.conversion, Conversion::Refused { .. })
}

/// A row for every task whose requests are held to schemas, by context: the first setting's.
pub(super) fn tasks(run: &Run<'_>) -> Vec<HeldTask> {
    let held = Held::of(run.journal);
    let mut rows = Vec::new();
    for &context in &run.suite.contexts {
        for task in run.suite.tasks.iter().filter(|task| task.contexts.contains(&context)) {
            let found = run.suite.settings.iter().find_map(|setting| {
                let visit = VisitKey { setting: &setting.label, context, replicate: 0 };
                let trials = run.trials(visit);
                held.of_trials(&trials.filter(|trial| trial.key.task == task.name).collect::<Vec<_>>())
            });
            rows.extend(found.map(|held| HeldTask { task: task.name.clone(), context, held }));
        }
    }
    rows
}

/// Why nothing is known of schemas: the first few reasons, each cut to what can be read.
fn reasons(schemas: &[&HeldSchema]) -> BTreeMap<String, u32> {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    for held in schemas.iter().filter(|held| held.in_full().is_none()) {
        let reason = match &held.conversion {
            Conversion::Unknown { reason } => reason.chars().take(MAX_REASON).collect(),
            _ if held.table.is_some() => no_row(held),
            _ => "no right value was found to try".to_owned(),
        };
        if counts.len() < MAX_REASONS || counts.contains_key(&reason) {
            *counts.entry(reason).or_insert(0) += 1;
        }
    }
    counts
}

/// Why the table does not say what is held of a schema.
fn no_row(held: &HeldSchema) -> String {
    let names = held.keywords_of(Hold::Unshown).join(", ");
    format!("the table has no row for {names}").chars().take(MAX_REASON).collect()
}

/// How many schemas are judged by each column of the table.
fn tables(schemas: &[&HeldSchema]) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for table in schemas.iter().filter_map(|held| held.table.as_ref()) {
        *counts.entry(table.clone()).or_insert(0) += 1;
    }
    counts
}

/// In how many schemas this is held of each keyword.
fn by_keyword(schemas: &[&HeldSchema], hold: Hold) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for keyword in schemas.iter().flat_map(|held| held.keywords_of(hold)) {
        *counts.entry(keyword.to_owned()).or_insert(0) += 1;
    }
    counts
}
