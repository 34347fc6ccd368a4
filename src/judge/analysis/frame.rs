//! The trials as a table. Everything that knows polars is in this file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use polars::prelude::{
    Column, DataFrame, DataType, IntoLazy, LazyFrame, Scalar, SortMultipleOptions, col, lit,
};

use super::Tasks;
use super::visits::{Places, Visits};
use crate::error::{Context, Result};
use crate::record::journal::Journal;
use crate::record::{Arm, Case, FinishReason, Outcome, Prompt, Source, Trial, metric};
use crate::task::Weight;

/// One row a trial, those of a visit together: nearly every question is about one.
pub(crate) struct Frame {
    trials: DataFrame,
    /// First row and number of rows of each visit (setting, context, replicate).
    visits: BTreeMap<(String, u32, u32), (i64, usize)>,
}

/// One visit of a cell; replicate 1 is the reference's second visit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit<'a> {
    pub(crate) setting: &'a str,
    pub(crate) context: u32,
    pub(crate) replicate: u32,
}

/// Trials of a visit by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) scored: u32,
    pub(crate) unscored: u32,
    pub(crate) failed: u32,
    pub(crate) truncated: u32,
}

/// An item with its mean score.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ScoredCase {
    pub(crate) task: Arc<str>,
    pub(crate) arm: Arc<str>,
    pub(crate) case: String,
    pub(crate) cluster: String,
    pub(crate) quality: f64,
    /// Whether one of its trials broke; that one counts as lost.
    pub(crate) broke: bool,
}

/// One judged trial of a task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) case: String,
    pub(crate) cluster: String,
    pub(crate) quality: f64,
    /// Whether it broke, and so counts as lost.
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

/// What identifies a request between visits: task, arm and case.
pub(crate) type RequestKey = (Arc<str>, Arc<str>, String);

/// Time to first token (s), client's clock.
pub(crate) const TTFT: &str = "ttft_s";
/// Cold prefill rate (tokens/s), engine's where it reports one.
pub(crate) const PREFILL: &str = "prefill_tps";
/// Decode rate (tokens/s), client's clock.
pub(crate) const DECODE: &str = "decode_tps";
/// Decode rate (tokens/s) as the engine reports it.
pub(crate) const ENGINE_DECODE: &str = "engine_decode_tps";
/// Tokens generated.
pub(crate) const OUTPUT: &str = "output_tokens";
/// Median gap between tokens (s).
pub(crate) const ITL_P50: &str = "itl_p50_s";
/// 95th percentile of the gap (s).
pub(crate) const ITL_P95: &str = "itl_p95_s";
/// Longest gap (s).
pub(crate) const ITL_MAX: &str = "itl_max_s";
/// Drafted tokens.
pub(crate) const DRAFTED: &str = "draft_tokens";
/// Accepted drafted tokens.
pub(crate) const ACCEPTED: &str = "draft_accepted";
/// Peak resident set (bytes).
pub(crate) const RSS: &str = "peak_rss_bytes";
/// Peak proportional set (bytes).
pub(crate) const PSS: &str = "peak_pss_bytes";
/// Peak anonymous memory (bytes).
pub(crate) const ANON: &str = "peak_anon_bytes";
/// Peak file-mapped memory (bytes).
pub(crate) const FILE: &str = "peak_file_bytes";
/// Peak GPU memory of the server (bytes).
pub(crate) const VRAM: &str = "peak_vram_bytes";
/// Peak GPU memory in use (bytes).
pub(crate) const VRAM_DEVICE: &str = "peak_vram_device_bytes";
/// Energy of the cards (J).
pub(crate) const GPU_ENERGY: &str = "gpu_energy_j";
/// Energy of the processor packages (J).
pub(crate) const CPU_ENERGY: &str = "cpu_energy_j";
/// Whether a card slowed down.
pub(crate) const THROTTLED: &str = "gpu_throttled";
/// Other processes on the cards.
pub(crate) const GPU_OTHERS: &str = "gpu_other_processes";
/// Energy of cards and packages beyond the idle cards (J).
pub(crate) const ENERGY: &str = "energy_j";
/// Stolen share of CPU time.
pub(crate) const STEAL: &str = "steal_ratio";
/// Share of CPU time that others used.
pub(crate) const OTHER_CPU: &str = "other_cpu_ratio";

/// The arm as a column value; joins do not match absent values, so a task without arms has an empty one.
pub(crate) fn arm_name(arm: Option<Arm>) -> &'static str {
    arm.map_or("", Arm::name)
}

/// Energy of a trial beyond cards that draw `idle_w` (W) when idle (J); never below 0, where the idle power was
/// watched at a warmer time.
pub(crate) fn net_energy(trial: &Trial, idle_w: f64) -> Option<f64> {
    let gpu = [Source::Nvml, Source::Sysfs]
        .into_iter()
        .find_map(|source| trial.measured(metric::GPU_ENERGY_J, source));
    let cpu = trial.measured(metric::CPU_ENERGY_J, Source::Rapl);
    let time = trial.measured(metric::TOTAL_S, Source::Client)?;
    let counted = |source| trial.measured(metric::GPU_CARDS, source);
    let cards = counted(Source::Nvml).or_else(|| counted(Source::Sysfs)).unwrap_or(1.0);
    let net = gpu.map(|joules| (joules - idle_w * cards * time).max(0.0));
    match (net, cpu) {
        (None, None) => None,
        (net, cpu) => Some(net.unwrap_or_default() + cpu.unwrap_or_default()),
    }
}

impl Frame {
    /// The journal's trials as a table.
    pub(crate) fn new(
        journal: &Journal,
        tasks: &dyn Tasks,
        void: &BTreeMap<(&str, u32), String>,
        visits: &Visits<'_>,
        places: &Places<'_>,
    ) -> Result<Self> {
        let rows = &rows(journal, tasks, visits, places);
        let mut columns = vec![
            number("round", rows, |row| row.trial.key.round),
            text("task", rows, |row| &row.trial.key.task),
            text("arm", rows, |row| arm_name(row.trial.key.arm)),
            number("index", rows, |row| row.trial.key.index),
            text("case", rows, |row| row.case.map_or(&row.trial.case, |case| &case.id)),
            text("cluster", rows, |row| row.case.map_or(&row.trial.case, |case| &case.cluster)),
            number("prompt", rows, |row| row.case.map_or(0, |case| case.prompt_tokens)),
            number("launch", rows, |row| row.trial.launch),
            flag("primary", rows, |row| row.weight.unwrap_or(Weight::Primary) == Weight::Primary),
            flag("scored", rows, |row| matches!(row.trial.outcome, Outcome::Scored(_))),
            flag("unscored", rows, |row| matches!(row.trial.outcome, Outcome::Unscored { .. })),
            optional("quality", rows, |row| row.trial.outcome.score().and_then(|score| score.quality)),
            // What broke before its case was made, and is not known from another visit, pairs with nothing.
            optional("judged", rows, |row| row.trial.outcome.judged().filter(|_| row.has_case())),
            number("broke", rows, |row| u32::from(matches!(row.trial.outcome, Outcome::Failed { .. }))),
            // A comparative task asks for as long a reply as its budget allows.
            flag("truncated", rows, |row| row.weight != Some(Weight::Comparative) && is_truncated(row.trial)),
            flag("chat", rows, |row| row.case.is_some_and(|case| matches!(case.prompt, Prompt::Chat { .. }))),
            flag("void", rows, |row| {
                void.contains_key(&(row.trial.key.setting.as_str(), row.trial.key.context))
            }),
        ];
        let taken = measured(journal);
        for figure in metric::FIGURES {
            let here = |source: &Source| taken.contains(&(figure.metric, *source));
            let sources: Vec<Source> = figure.sources.iter().copied().filter(here).collect();
            columns.push(optional(figure.name, rows, |row| {
                sources.iter().find_map(|source| row.trial.measured(figure.metric, *source))
            }));
        }
        let idle_w = journal.header.machine.idle_gpu_w.unwrap_or_default();
        columns.push(optional(ENERGY, rows, |row| net_energy(row.trial, idle_w)));
        let table =
            DataFrame::new(rows.len(), columns).context(|| "cannot make a table of the trials".into())?;
        let mut first = 0;
        let mut places = BTreeMap::new();
        for ((setting, context, replicate), trials) in visits {
            places.insert(((*setting).to_owned(), *context, *replicate), (first, trials.len()));
            first += trials.len() as i64;
        }
        Ok(Self { trials: table, visits: places })
    }

    /// The trials of a visit; none when it did not happen.
    fn visit(&self, visit: Visit<'_>) -> LazyFrame {
        let name = (visit.setting.to_owned(), visit.context, visit.replicate);
        let (first, rows) = self.visits.get(&name).copied().unwrap_or((0, 0));
        self.trials.slice(first, rows).lazy()
    }

    /// Trials of a visit by outcome, void or not.
    pub(crate) fn counts(&self, visit: Visit<'_>) -> Result<Counts> {
        let rows = collect(self.visit(visit).select([col("scored"), col("unscored"), col("truncated")]))?;
        let count = |name| Ok(flags(&rows, name)?.into_iter().filter(|set| *set).count() as u32);
        let (scored, unscored) = (count("scored")?, count("unscored")?);
        let failed = rows.height() as u32 - scored - unscored;
        Ok(Counts { scored, unscored, failed, truncated: count("truncated")? })
    }

    /// The judged items of the primary endpoint, repeats averaged, in a fixed order; what broke counts as lost. None
    /// where nothing was scored: a server that never answered has no quality.
    pub(crate) fn items(&self, visit: Visit<'_>) -> Result<Vec<ScoredCase>> {
        let rows = collect(self.primary(visit))?;
        let tasks = names(&rows, "task")?.into_iter().zip(names(&rows, "arm")?);
        let cases = texts(&rows, "case")?.into_iter().zip(texts(&rows, "cluster")?);
        let scores = present(&rows, "judged")?.into_iter().zip(wholes(&rows, "broke")?);
        let items = tasks.zip(cases).zip(scores).map(|(((task, arm), (case, cluster)), (quality, broke))| {
            ScoredCase { task, arm, case, cluster, quality, broke: broke > 0 }
        });
        let items: Vec<ScoredCase> = items.collect();
        let answered = items.iter().any(|item| !item.broke);
        Ok(if answered { items } else { Vec::new() })
    }

    fn primary(&self, visit: Visit<'_>) -> LazyFrame {
        let judged = col("primary").and(col("judged").is_not_null()).and(col("void").not());
        self.visit(visit)
            .filter(judged)
            .group_by_stable([col("task"), col("arm"), col("case"), col("cluster")])
            .agg([col("judged").mean(), col("broke").max()])
            .sort(["task", "arm", "case"], SortMultipleOptions::default())
    }

    /// The judged trials of one task (and arm) in a visit; none where nothing was scored.
    pub(crate) fn judged(&self, visit: Visit<'_>, task: &str, arm: Option<Arm>) -> Result<Vec<Judged>> {
        let of_task = col("task").eq(lit(task)).and(col("arm").eq(lit(arm_name(arm))));
        let counted = col("judged").is_not_null().and(col("void").not());
        let rows = self
            .visit(visit)
            .filter(of_task.and(counted))
            .sort(["index", "round"], SortMultipleOptions::default());
        let rows = collect(rows)?;
        let names = texts(&rows, "case")?.into_iter().zip(texts(&rows, "cluster")?);
        let scores = present(&rows, "judged")?.into_iter().zip(wholes(&rows, "broke")?);
        let judged: Vec<Judged> = names
            .zip(scores)
            .map(|((case, cluster), (quality, broke))| Judged { case, cluster, quality, broke: broke > 0 })
            .collect();
        let answered = judged.iter().any(|trial| !trial.broke);
        Ok(if answered { judged } else { Vec::new() })
    }

    /// A figure of a visit's chat trials with the request that each belongs to, in order of time.
    pub(crate) fn timed(&self, visit: Visit<'_>, column: &str) -> Result<Vec<Timed>> {
        let counted = col("chat").and(col("void").not()).and(col(column).is_not_null());
        let wanted = ["launch", "task", "arm", "case", "prompt", column].map(col);
        let rows = collect(self.visit(visit).filter(counted).select(wanted))?;
        let names = names(&rows, "task")?.into_iter().zip(names(&rows, "arm")?).zip(texts(&rows, "case")?);
        let places = wholes(&rows, "launch")?.into_iter().zip(wholes(&rows, "prompt")?);
        let figures = names.zip(places).zip(present(&rows, column)?);
        Ok(figures
            .map(|((((task, arm), case), (launch, prompt_tokens)), value)| Timed {
                launch,
                request: (task, arm, case),
                prompt_tokens,
                value,
            })
            .collect())
    }

    /// A figure of a visit's chat trials, one list a server process.
    pub(crate) fn by_launch(&self, visit: Visit<'_>, column: &str) -> Result<Vec<Vec<f64>>> {
        let counted = col("chat").and(col("void").not()).and(col(column).is_not_null());
        let rows = self.visit(visit).filter(counted).select([col("launch"), col(column)]);
        let rows = collect(rows)?;
        let mut lists: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for (launch, value) in wholes(&rows, "launch")?.into_iter().zip(present(&rows, column)?) {
            lists.entry(launch).or_default().push(value);
        }
        Ok(lists.into_values().collect())
    }

    /// The largest value of a figure over all trials of a visit.
    pub(crate) fn largest(&self, visit: Visit<'_>, column: &str) -> Result<Option<f64>> {
        let rows = self.visit(visit).select([col(column).max()]);
        Ok(numbers(&collect(rows)?, column)?.into_iter().flatten().next())
    }

    /// The sum of a figure over all trials of a visit; `None` when none has it.
    pub(crate) fn total(&self, visit: Visit<'_>, column: &str) -> Result<Option<f64>> {
        let rows = self.visit(visit).filter(col(column).is_not_null());
        let values = present(&collect(rows.select([col(column)]))?, column)?;
        Ok((!values.is_empty()).then(|| values.iter().sum()))
    }

    /// Two figures of the same chat trials, where both were measured and the reply has at least
    /// `min_tokens` tokens.
    pub(crate) fn both(
        &self,
        visit: Visit<'_>,
        columns: [&str; 2],
        min_tokens: f64,
    ) -> Result<Vec<(f64, f64)>> {
        let [first, second] = columns;
        let counted = col(first).is_not_null().and(col(second).is_not_null());
        let long = col(OUTPUT).gt_eq(lit(min_tokens)).and(col("chat")).and(col("void").not());
        let rows = self.visit(visit).filter(counted.and(long));
        let rows = collect(rows.select([col(first), col(second)]))?;
        Ok(present(&rows, first)?.into_iter().zip(present(&rows, second)?).collect())
    }

    /// As [`Frame::above`], of the trials of one visit.
    pub(crate) fn above_of(&self, visit: Visit<'_>, column: &str, threshold: f64) -> Result<(u32, u32)> {
        let rows = self.visit(visit).filter(col(column).is_not_null()).select([col(column)]);
        let values = present(&collect(rows)?, column)?;
        let above = values.iter().filter(|value| **value > threshold).count();
        Ok((values.len() as u32, above as u32))
    }

    /// How many trials have a figure, and how many of them lie above a threshold.
    pub(crate) fn above(&self, column: &str, threshold: f64) -> Result<(u32, u32)> {
        let rows = self.trials.clone().lazy().filter(col(column).is_not_null()).select([col(column)]);
        let values = present(&collect(rows)?, column)?;
        let above = values.iter().filter(|value| **value > threshold).count();
        Ok((values.len() as u32, above as u32))
    }
}

/// What was measured on any trial, and by whom: a figure that nobody measured is not looked for a million times.
fn measured(journal: &Journal) -> HashSet<(&str, Source)> {
    let measurements = journal.trials.iter().flat_map(|trial| &trial.measurements);
    measurements.map(|measurement| (measurement.name.as_ref(), measurement.source)).collect()
}

/// A trial with what is known of its case and its task.
struct Row<'a> {
    trial: &'a Trial,
    case: Option<&'a Case>,
    weight: Option<Weight>,
}

impl Row<'_> {
    fn has_case(&self) -> bool {
        self.case.is_some() || !self.trial.case.is_empty()
    }
}

/// A row a trial, visit by visit.
fn rows<'a>(
    journal: &'a Journal,
    tasks: &dyn Tasks,
    visits: &Visits<'a>,
    places: &Places<'a>,
) -> Vec<Row<'a>> {
    let cases: HashMap<&str, &Case> = journal.cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let mut weights: HashMap<&str, Option<Weight>> = HashMap::new();
    let row = |&trial: &&'a Trial| {
        let task = trial.key.task.as_str();
        let weight = *weights.entry(task).or_insert_with(|| tasks.weight(task));
        let case = match trial.case.as_str() {
            "" => places.of(&trial.key),
            id => cases.get(id).copied(),
        };
        Row { trial, case, weight }
    };
    visits.values().flatten().map(row).collect()
}

fn is_truncated(trial: &Trial) -> bool {
    let reply = trial.reply.as_ref().filter(|reply| reply.distributions.is_none());
    reply.is_some_and(|reply| reply.turns().any(|turn| turn.finish_reason == Some(FinishReason::Length)))
}

fn text<'t>(name: &str, rows: &'t [Row<'_>], of: impl Fn(&'t Row<'_>) -> &'t str) -> Column {
    Column::new(name.into(), rows.iter().map(of).collect::<Vec<_>>())
}

fn number(name: &str, rows: &[Row<'_>], of: impl Fn(&Row<'_>) -> u32) -> Column {
    Column::new(name.into(), rows.iter().map(of).collect::<Vec<_>>())
}

/// Most runs lack most figures (cards, energy, drafts): a column that nothing fills takes no room.
fn optional(name: &str, rows: &[Row<'_>], of: impl Fn(&Row<'_>) -> Option<f64>) -> Column {
    if rows.iter().all(|row| of(row).is_none()) {
        return Column::new_scalar(name.into(), Scalar::null(DataType::Float64), rows.len());
    }
    Column::new(name.into(), rows.iter().map(of).collect::<Vec<_>>())
}

fn flag(name: &str, rows: &[Row<'_>], of: impl Fn(&Row<'_>) -> bool) -> Column {
    Column::new(name.into(), rows.iter().map(of).collect::<Vec<_>>())
}

fn collect(rows: LazyFrame) -> Result<DataFrame> {
    rows.collect().context(|| "cannot query the table of trials".into())
}

fn broken(name: &str) -> String {
    format!("the table of trials has no usable column `{name}`")
}

fn texts(rows: &DataFrame, name: &str) -> Result<Vec<String>> {
    let column = rows.column(name).and_then(|column| column.str()).context(|| broken(name))?;
    Ok(column.iter().map(|value| value.unwrap_or_default().to_owned()).collect())
}

/// As [`texts`], of few different values that come in runs: each run is kept once.
fn names(rows: &DataFrame, name: &str) -> Result<Vec<Arc<str>>> {
    let column = rows.column(name).and_then(|column| column.str()).context(|| broken(name))?;
    let mut last: Arc<str> = Arc::from("");
    let mut of = |value: &str| {
        if *last != *value {
            last = Arc::from(value);
        }
        Arc::clone(&last)
    };
    Ok(column.iter().map(|value| of(value.unwrap_or_default())).collect())
}

fn numbers(rows: &DataFrame, name: &str) -> Result<Vec<Option<f64>>> {
    let column = rows.column(name).and_then(|column| column.f64()).context(|| broken(name))?;
    Ok(column.iter().collect())
}

/// As [`numbers`], of rows that were filtered to have the value.
fn present(rows: &DataFrame, name: &str) -> Result<Vec<f64>> {
    Ok(numbers(rows, name)?.into_iter().flatten().collect())
}

/// As [`present`], of whole numbers.
fn wholes(rows: &DataFrame, name: &str) -> Result<Vec<u32>> {
    let column = rows.column(name).and_then(|column| column.u32()).context(|| broken(name))?;
    Ok(column.iter().flatten().collect())
}

fn flags(rows: &DataFrame, name: &str) -> Result<Vec<bool>> {
    let column = rows.column(name).and_then(|column| column.bool()).context(|| broken(name))?;
    Ok(column.iter().map(|value| value.unwrap_or_default()).collect())
}
