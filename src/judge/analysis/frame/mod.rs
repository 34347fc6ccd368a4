//! The trials of a run as one table. Everything that knows polars is in this folder.
//!
//! What is counted, added up or averaged of every visit is asked once, by a grouped query over the whole table
//! (`queries.rs`), and looked up visit by visit. Series in order of time are read where they stand: the rows of a visit
//! lie together, in the order in which the trials ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use polars::prelude::DataFrame;

use self::queries::{CaseColumns, Tallies};
use self::requests::Request;
use self::table::{BROKE, COUNTED, INDEX, JUDGED, LAUNCH, PLACE, ROUND, request_at};
use super::Tasks;
use super::visits::{Places, Visits};
use super::workers::Workers;
use crate::error::Result;
use crate::record::journal::Journal;
use crate::record::{Arm, Selection};

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

/// The trials of a run, a row each, and what was asked of all visits at once.
pub(crate) struct Frame {
    trials: DataFrame,
    requests: Vec<Request>,
    /// By setting, context and replicate.
    visits: BTreeMap<(String, u32, u32), Rows>,
    tallies: Tallies,
    cases: CaseColumns,
}

/// Where the rows of a visit are.
#[derive(Debug, Clone, Copy)]
struct Rows {
    /// Number of the visit.
    visit: usize,
    first: usize,
    rows: usize,
}

/// One visit of a cell; replicate 1 is the reference's second visit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VisitKey<'a> {
    pub(crate) setting: &'a str,
    pub(crate) context: u32,
    pub(crate) replicate: u32,
}

/// A case with its mean score.
#[derive(Debug, Clone)]
pub(crate) struct ScoredCase {
    /// Number of its request, by which the cases of a run's visits pair.
    pub(crate) number: u32,
    pub(crate) request: Arc<RequestKey>,
    pub(crate) cluster: Arc<str>,
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
    pub(crate) request: Arc<RequestKey>,
    /// Length of the prompt (tokens), as the case was made.
    pub(crate) prompt_tokens: u32,
    pub(crate) value: f64,
}

/// Of every visit, how many trials have a figure, and how many of them lie above a threshold.
pub(crate) struct Above<'f> {
    frame: &'f Frame,
    visits: BTreeMap<usize, (u32, u32)>,
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

impl Frame {
    /// The journal's trials as a table; of workers whose figures of time, energy and memory do not count, without these.
    pub(crate) fn new(
        (journal, workers): (&Journal, &Workers),
        tasks: &dyn Tasks,
        void: &BTreeMap<(&str, u32), String>,
        visits: &Visits<'_>,
        (places, selection): (&Places<'_>, &Selection),
    ) -> Result<Self> {
        let sizes: Vec<usize> = visits.values().map(Vec::len).collect();
        let (rows, requests) = requests::rows(journal, tasks, visits, places);
        let trials = table::table((journal, workers), (void, selection), &sizes, &rows, &requests)?;
        drop(rows);
        let mut first = 0;
        let mut visit_rows = BTreeMap::new();
        for (visit, ((setting, context, replicate), trials)) in visits.iter().enumerate() {
            let rows = Rows { visit, first, rows: trials.len() };
            visit_rows.insert(((*setting).to_owned(), *context, *replicate), rows);
            first += trials.len();
        }
        let (tallies, cases) = (Tallies::of(&trials)?, CaseColumns::of(&trials)?);
        Ok(Self { trials, requests, visits: visit_rows, tallies, cases })
    }

    /// Where the trials of a visit are; `None` when it did not happen.
    fn rows(&self, visit: VisitKey<'_>) -> Option<Rows> {
        self.visits.get(&(visit.setting.to_owned(), visit.context, visit.replicate)).copied()
    }

    /// Columns of the trials of a visit; `None` when it did not happen, or nobody measured one of them.
    fn columns(&self, visit: VisitKey<'_>, names: &[&str]) -> Option<DataFrame> {
        let Rows { first, rows, .. } = self.rows(visit)?;
        let columns: Option<Vec<_>> =
            names.iter().map(|name| Some(self.trials.column(name).ok()?.slice(first as i64, rows))).collect();
        DataFrame::new(rows, columns?).ok()
    }

    /// Trials of a visit by outcome, void or not.
    pub(crate) fn counts(&self, visit: VisitKey<'_>) -> Result<Counts> {
        self.rows(visit).map_or(Ok(Counts::default()), |rows| self.tallies.counts(rows.visit))
    }

    /// The judged cases of the primary endpoint, repeats averaged, in a fixed order; what broke counts as lost. None
    /// where nothing was scored: a server that never answered has no quality.
    pub(crate) fn cases(&self, visit: VisitKey<'_>) -> Vec<ScoredCase> {
        let Some(rows) = self.rows(visit) else { return Vec::new() };
        let case = |at: usize| {
            let number = request_at(self.cases.places[at]);
            let request = &self.requests[number];
            ScoredCase {
                number: number as u32,
                request: Arc::clone(&request.key),
                cluster: Arc::clone(&request.cluster),
                quality: self.cases.quality[at],
                broke: self.cases.broke[at] > 0,
                lost: self.cases.broke[at] == self.cases.trials[at],
            }
        };
        let cases: Vec<ScoredCase> = self.cases.of_visit(rows.visit).map(case).collect();
        if cases.iter().any(|case| !case.lost) { cases } else { Vec::new() }
    }

    /// The judged cases of one task (and arm) in a visit, repeats averaged; none where nothing was scored.
    pub(crate) fn judged(&self, visit: VisitKey<'_>, task: &str, arm: Option<Arm>) -> Result<Vec<Judged>> {
        let Some(rows) = self.columns(visit, &[PLACE, INDEX, ROUND, JUDGED, BROKE]) else {
            return Ok(Vec::new());
        };
        let planned = read::wholes(&rows, INDEX)?.into_iter().zip(read::wholes(&rows, ROUND)?);
        let scores = read::numbers(&rows, JUDGED)?.into_iter().zip(read::flags(&rows, BROKE)?);
        let mut found = Vec::new();
        for ((place, planned), (score, broke)) in
            read::places(&rows, PLACE)?.into_iter().zip(planned).zip(scores)
        {
            let number = request_at(place);
            let request = &self.requests[number];
            let asked = *request.key.task == *task && *request.key.arm == *arm_name(arm);
            if let Some(quality) = score.filter(|_| asked) {
                let (case, cluster) = (number as u32, request.cluster_number);
                found.push((planned, Judged { case, cluster, quality, broke }));
            }
        }
        found.sort_by_key(|(planned, _)| *planned);
        let judged: Vec<Judged> = found.into_iter().map(|(_, judged)| judged).collect();
        Ok(if judged.iter().any(|trial| !trial.broke) { averaged(judged) } else { Vec::new() })
    }

    /// The requests of the run by their numbers, each with the name of its cluster.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&RequestKey, &str)> {
        self.requests.iter().map(|request| (&*request.key, &*request.cluster))
    }

    /// A figure of a visit's chat trials with the request that each belongs to, in order of time.
    pub(crate) fn timed(&self, visit: VisitKey<'_>, column: &str) -> Result<Vec<Timed>> {
        let Some(rows) = self.columns(visit, &[COUNTED, LAUNCH, PLACE, column]) else {
            return Ok(Vec::new());
        };
        let asked = read::wholes(&rows, LAUNCH)?.into_iter().zip(read::places(&rows, PLACE)?);
        let timed = counted(&rows, column)?.into_iter().zip(asked).filter_map(|(value, (launch, place))| {
            let request = &self.requests[request_at(place)];
            let (key, prompt_tokens) = (Arc::clone(&request.key), request.prompt_tokens);
            Some(Timed { launch, request: key, prompt_tokens, value: value? })
        });
        Ok(timed.collect())
    }

    /// A figure of a visit's chat trials, one list a server process, each in order of time.
    pub(crate) fn by_launch(&self, visit: VisitKey<'_>, column: &str) -> Result<Vec<Vec<f64>>> {
        let Some(rows) = self.columns(visit, &[COUNTED, LAUNCH, column]) else { return Ok(Vec::new()) };
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
        let find = |column| self.columns(visit, &[COUNTED, column]);
        let (Some(ours), Some(theirs), Some(output)) = (find(first), find(second), find(OUTPUT)) else {
            return Ok(Vec::new());
        };
        let figures = counted(&ours, first)?.into_iter().zip(counted(&theirs, second)?);
        let figures = figures.zip(counted(&output, OUTPUT)?);
        let long = figures.filter(|(_, tokens)| tokens.is_some_and(|tokens| tokens >= min_tokens));
        Ok(long.filter_map(|((ours, theirs), _)| Some((ours?, theirs?))).collect())
    }

    /// The largest value of a figure over all trials of a visit.
    pub(crate) fn largest(&self, visit: VisitKey<'_>, column: &str) -> Result<Option<f64>> {
        self.rows(visit).map_or(Ok(None), |rows| self.tallies.largest(rows.visit, column))
    }

    /// The sum of a figure over all trials of a visit; `None` when none has it. It is added up from the smallest on: the
    /// same to the last bit in whatever order the trials ended.
    pub(crate) fn total(&self, visit: VisitKey<'_>, column: &str) -> Result<Option<f64>> {
        let Some(rows) = self.columns(visit, &[column]) else { return Ok(None) };
        let mut values = read::present(&rows, column)?;
        values.sort_unstable_by(f64::total_cmp);
        Ok((!values.is_empty()).then(|| values.iter().sum()))
    }

    /// Whether any trial of a visit has a figure.
    pub(crate) fn has(&self, visit: VisitKey<'_>, column: &str) -> bool {
        self.rows(visit).is_some_and(|rows| self.tallies.has(rows.visit, column))
    }

    /// Of every visit, how many trials have a figure, and how many of them lie above a threshold.
    pub(crate) fn above(&self, column: &str, threshold: f64) -> Result<Above<'_>> {
        Ok(Above { frame: self, visits: queries::above(&self.trials, column, threshold)? })
    }
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
