//! The trials of a run as tables. Everything that knows polars is in this folder.
//!
//! A table is made of the trials of a visit when something is asked of them, with the columns that it takes, and gone then: of
//! a run of millions of trials only what was counted stays in memory beside the journal. Rows of a visit lie in the order in
//! which the trials ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use polars::prelude::DataFrame;

use self::queries::Tallies;
use self::table::{BROKE, COUNTED, Columns, INDEX, JUDGED, LAUNCH, REQUEST, ROUND, Row};
use super::Tasks;
use super::visits::{Places, VisitTrials, Visits};
use super::workers::Workers;
use crate::error::Result;
use crate::record::journal::Journal;
use crate::record::{Arm, Name, Outcome, Selection};

mod columns;
mod parquet;
mod queries;
mod read;
mod requests;
mod table;

pub(crate) use columns::{
    ACCEPTED, ANON, CPU_ENERGY, DECODE, DRAFTED, ENERGY, ENGINE_DECODE, FILE, GPU_ENERGY, GPU_OTHERS,
    ITL_MAX, ITL_P50, ITL_P95, OTHER_CPU, OUTPUT, PREFILL, PSS, QUALITY, RSS, STEAL, THINKING, THROTTLED,
    TTFT, VRAM, VRAM_DEVICE, arm_name, net_energy,
};
pub use parquet::trials_parquet;
pub(crate) use queries::Counts;
pub(crate) use requests::RequestKey;

/// The trials of a run by visit, and what was counted of each.
pub(crate) struct Frame<'a> {
    columns: Columns<'a>,
    trials: Arc<Visits<'a>>,
    /// By setting, context and replicate.
    visits: BTreeMap<(&'a str, u32, u32), Rows>,
    tallies: Tallies,
}

/// The rows of a visit.
#[derive(Debug)]
struct Rows {
    /// Number of the visit.
    visit: u32,
    /// Of each of its trials the number of the request.
    requests: Vec<u32>,
}

/// One visit of a cell; replicate 1 is the reference's second visit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VisitKey<'a> {
    pub(crate) setting: &'a str,
    pub(crate) context: u32,
    pub(crate) replicate: u32,
}

/// A case with its mean score.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ScoredCase {
    /// Number of its request, by which the cases of a run's visits pair.
    pub(crate) number: u32,
    pub(crate) quality: f64,
    /// Whether one of its trials broke; that one counts as lost.
    pub(crate) broke: bool,
    /// Whether all of them did.
    pub(crate) lost: bool,
}

/// One judged case of a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    /// Number of its request.
    pub(crate) case: u32,
    /// Number of its cluster, in the order of their names.
    pub(crate) cluster: u32,
    pub(crate) quality: f64,
    /// Whether one of its trials broke, and so counts as lost.
    pub(crate) broke: bool,
}

/// A figure of a chat trial, and which request and server process it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Timed {
    pub(crate) launch: u32,
    pub(crate) request: RequestKey,
    /// Length of the prompt (tokens), as the case was made.
    pub(crate) prompt_tokens: u32,
    pub(crate) value: f64,
}

/// Of every visit, how many trials have a figure, and how many of them lie above a threshold.
pub(crate) struct Above<'f> {
    frame: &'f Frame<'f>,
    visits: BTreeMap<u32, (u32, u32)>,
}

impl Above<'_> {
    /// Trials with the figure and those above the threshold, of the whole run.
    pub(crate) fn all(&self) -> (u32, u32) {
        self.visits.values().fold((0, 0), |sums, visit| (sums.0 + visit.0, sums.1 + visit.1))
    }

    /// As [`Above::all`], of the trials of one visit.
    pub(crate) fn of(&self, visit: VisitKey<'_>) -> (u32, u32) {
        let rows = self.frame.rows(visit);
        rows.and_then(|rows| self.visits.get(&rows.visit)).copied().unwrap_or_default()
    }
}

impl<'a> Frame<'a> {
    /// The journal's trials; of workers whose figures of time, energy and memory do not count, without these.
    pub(crate) fn new(
        (journal, workers): (&'a Journal, &Arc<Workers>),
        tasks: &dyn Tasks,
        void: &Arc<BTreeMap<(&'a str, u32), String>>,
        trials: &Arc<Visits<'a>>,
        (places, selection): (&Places<'a>, &Arc<Selection>),
    ) -> Result<Self> {
        let (asked, requests) = requests::numbered(journal, tasks, trials, places);
        let rows = (0..).zip(asked).map(|(visit, requests)| Rows { visit, requests });
        let visits = trials.keys().zip(rows).collect::<BTreeMap<_, _>>();
        let columns = Columns::new(journal, workers, void, selection, requests);
        let of_visits = visits.iter().map(|(&visit, rows)| in_rows(trials.trials(visit), rows));
        let tallies = Tallies::of(&columns, of_visits)?;
        Ok(Self { columns, trials: Arc::clone(trials), visits, tallies })
    }

    /// The rows of a visit; `None` when it did not happen.
    fn rows<'v>(&'v self, visit: VisitKey<'v>) -> Option<&'v Rows> {
        let visits: &'v BTreeMap<(&'v str, u32, u32), Rows> = &self.visits;
        visits.get(&(visit.setting, visit.context, visit.replicate))
    }

    /// The numbers of the requests of a visit's trials, in the order they ended.
    pub(crate) fn asked<'v>(&'v self, visit: VisitKey<'v>) -> &'v [u32] {
        self.rows(visit).map_or(&[], |rows| &rows.requests)
    }

    /// The trials of a visit; `None` when it did not happen.
    fn of_visit<'v>(&'v self, visit: VisitKey<'v>) -> Option<Vec<Row<'v>>> {
        let rows = self.rows(visit)?;
        Some(in_rows(self.trials.trials((visit.setting, visit.context, visit.replicate)), rows))
    }

    /// Columns of the trials of a visit; `None` when it did not happen, or nobody measured one of them.
    fn table(&self, visit: VisitKey<'_>, names: &[&str]) -> Result<Option<DataFrame>> {
        let Some(rows) = self.of_visit(visit) else { return Ok(None) };
        self.columns.table(&rows, names).transpose()
    }

    /// Trials of a visit by outcome, void or not.
    pub(crate) fn counts(&self, visit: VisitKey<'_>) -> Counts {
        self.rows(visit).map_or_else(Counts::default, |rows| self.tallies.counts(rows.visit as usize))
    }

    /// The judged cases of the primary endpoint, repeats averaged, in a fixed order; what broke counts as lost. None
    /// where nothing was scored: a server that never answered has no quality.
    pub(crate) fn cases(&self, visit: VisitKey<'_>) -> Vec<ScoredCase> {
        let rows = self.of_visit(visit).unwrap_or_default();
        let primary = rows.iter().filter(|row| self.columns.is_primary(row));
        let judged = |row: &Row<'_>| {
            let broke = matches!(row.trial.outcome, Outcome::Failed { .. });
            Some((row.request, self.columns.judged(row)?, broke))
        };
        let mut judged: Vec<(u32, f64, bool)> = primary.filter_map(judged).collect();
        // Repeats stay in the order they ended.
        judged.sort_by_key(|(request, ..)| *request);
        let case = |trials: &[(u32, f64, bool)]| {
            let number = trials[0].0;
            ScoredCase {
                number,
                quality: trials.iter().map(|(_, quality, _)| quality).sum::<f64>() / trials.len() as f64,
                broke: trials.iter().any(|(.., broke)| *broke),
                lost: trials.iter().all(|(.., broke)| *broke),
            }
        };
        let mut cases: Vec<ScoredCase> = judged.chunk_by(|a, b| a.0 == b.0).map(case).collect();
        cases.shrink_to_fit();
        if cases.iter().any(|case| !case.lost) { cases } else { Vec::new() }
    }

    /// The judged cases of one task (and arm) in a visit, repeats averaged; none where nothing was scored.
    pub(crate) fn judged(&self, visit: VisitKey<'_>, task: &str, arm: Option<Arm>) -> Result<Vec<Judged>> {
        let names = [REQUEST, INDEX, ROUND, JUDGED, BROKE];
        let Some(rows) = self.table(visit, &names)? else { return Ok(Vec::new()) };
        let planned = read::wholes(&rows, INDEX)?.into_iter().zip(read::wholes(&rows, ROUND)?);
        let scores = read::numbers(&rows, JUDGED)?.into_iter().zip(read::flags(&rows, BROKE)?);
        let mut found = Vec::new();
        for ((number, planned), (score, broke)) in
            read::wholes(&rows, REQUEST)?.into_iter().zip(planned).zip(scores)
        {
            let request = &self.columns.requests[number as usize];
            let asked = request.key.task == *task && request.key.arm == *arm_name(arm);
            if let Some(quality) = score.filter(|_| asked) {
                let (case, cluster) = (number, request.cluster_number);
                found.push((planned, Judged { case, cluster, quality, broke }));
            }
        }
        found.sort_by_key(|(planned, _)| *planned);
        let judged: Vec<Judged> = found.into_iter().map(|(_, judged)| judged).collect();
        Ok(if judged.iter().any(|trial| !trial.broke) { averaged(judged) } else { Vec::new() })
    }

    /// The requests of the run by their numbers, each with the name of its cluster.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (RequestKey, Name)> {
        self.columns.requests.iter().map(|request| (request.key, request.cluster))
    }

    /// The request of a case, and the name of its cluster.
    pub(crate) fn request(&self, case: &ScoredCase) -> (RequestKey, Name) {
        let request = &self.columns.requests[case.number as usize];
        (request.key, request.cluster)
    }

    /// A figure of a visit's chat trials with the request that each belongs to, in order of time.
    pub(crate) fn timed(&self, visit: VisitKey<'_>, column: &str) -> Result<Vec<Timed>> {
        let Some(rows) = self.table(visit, &[COUNTED, LAUNCH, REQUEST, column])? else {
            return Ok(Vec::new());
        };
        let asked = read::wholes(&rows, LAUNCH)?.into_iter().zip(read::wholes(&rows, REQUEST)?);
        let timed = counted(&rows, column)?.into_iter().zip(asked).filter_map(|(value, (launch, number))| {
            let request = &self.columns.requests[number as usize];
            let (key, prompt_tokens) = (request.key, request.prompt_tokens);
            Some(Timed { launch, request: key, prompt_tokens, value: value? })
        });
        Ok(timed.collect())
    }

    /// A figure of a visit's chat trials, one list a server process, each in order of time.
    pub(crate) fn by_launch(&self, visit: VisitKey<'_>, column: &str) -> Result<Vec<Vec<f64>>> {
        let Some(rows) = self.table(visit, &[COUNTED, LAUNCH, column])? else { return Ok(Vec::new()) };
        let mut lists: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (launch, value) in read::wholes(&rows, LAUNCH)?.into_iter().zip(counted(&rows, column)?) {
            if let Some(value) = value {
                lists.entry(launch).or_default().push(value);
            }
        }
        Ok(lists.into_values().collect())
    }

    /// Two figures of the same chat trials, where both were measured and the reply has at least
    /// `min_tokens` tokens.
    pub(crate) fn both(
        &self,
        visit: VisitKey<'_>,
        columns: [&str; 2],
        min_tokens: f64,
    ) -> Result<Vec<(f64, f64)>> {
        let [first, second] = columns;
        let mut names = vec![COUNTED, first, second];
        // Of energy a token the second figure is the tokens.
        if !names.contains(&OUTPUT) {
            names.push(OUTPUT);
        }
        let Some(rows) = self.table(visit, &names)? else { return Ok(Vec::new()) };
        let figures = counted(&rows, first)?.into_iter().zip(counted(&rows, second)?);
        let figures = figures.zip(counted(&rows, OUTPUT)?);
        let long = figures.filter(|(_, tokens)| tokens.is_some_and(|tokens| tokens >= min_tokens));
        Ok(long.filter_map(|((ours, theirs), _)| Some((ours?, theirs?))).collect())
    }

    /// The largest value of a figure over all trials of a visit.
    pub(crate) fn largest(&self, visit: VisitKey<'_>, column: &str) -> Option<f64> {
        self.tallies.largest(self.rows(visit)?.visit as usize, column)
    }

    /// The sum of a figure over all trials of a visit; `None` when none has it. It is added up from the smallest on: the
    /// same to the last bit in whatever order the trials ended.
    pub(crate) fn total(&self, visit: VisitKey<'_>, column: &str) -> Result<Option<f64>> {
        let Some(rows) = self.table(visit, &[column])? else { return Ok(None) };
        let mut values = read::present(&rows, column)?;
        values.sort_unstable_by(f64::total_cmp);
        Ok((!values.is_empty()).then(|| values.iter().sum()))
    }

    /// Whether any trial of a visit has a figure.
    pub(crate) fn has(&self, visit: VisitKey<'_>, column: &str) -> bool {
        self.rows(visit).is_some_and(|rows| self.tallies.has(rows.visit as usize, column))
    }

    /// Of every visit, how many trials have a figure, and how many of them lie above a threshold.
    pub(crate) fn above(&self, column: &str, threshold: f64) -> Result<Above<'_>> {
        let mut visits = BTreeMap::new();
        for (&(setting, context, replicate), rows) in &self.visits {
            let Some(figure) = self.table(VisitKey { setting, context, replicate }, &[column])? else {
                continue;
            };
            let values = read::present(&figure, column)?;
            let above = values.iter().filter(|value| **value > threshold).count();
            visits.insert(rows.visit, (values.len() as u32, above as u32));
        }
        Ok(Above { frame: self, visits })
    }
}

fn in_rows<'a>(trials: VisitTrials<'_, 'a>, rows: &Rows) -> Vec<Row<'a>> {
    let numbered = trials.zip(&rows.requests);
    numbered.map(|(trial, &request)| Row { trial, request }).collect()
}

/// The trials of one case, which are neighbours, as one.
fn averaged(trials: Vec<Judged>) -> Vec<Judged> {
    if trials.windows(2).all(|pair| pair[0].case != pair[1].case) {
        return trials;
    }
    let mean = |case: &[Judged]| Judged {
        quality: case.iter().map(|trial| trial.quality).sum::<f64>() / case.len() as f64,
        broke: case.iter().any(|trial| trial.broke),
        ..case[0].clone()
    };
    trials.chunk_by(|a, b| a.case == b.case).map(mean).collect()
}

/// A figure where speed and energy count; `None` elsewhere.
fn counted(rows: &DataFrame, column: &str) -> Result<Vec<Option<f64>>> {
    let flags = read::flags(rows, COUNTED)?.into_iter();
    Ok(flags.zip(read::numbers(rows, column)?).map(|(counts, value)| value.filter(|_| counts)).collect())
}
