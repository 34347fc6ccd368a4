//! `trials.parquet`: the trials as they were measured, one row each, for people who want the data and not the report.
//!
//! The columns are listed in docs/results.md.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use polars::prelude::{
    ArrayRef, ArrowSchema, Column, CompatLevel, DataFrame, NamedFrom, PolarsError, PolarsResult, Series,
    polars_err,
};
use polars_parquet::parquet::error::ParquetError;
use polars_parquet::write::{
    CompressionOptions, Compressor, DynIter, DynStreamingIterator, Encoding, FallibleStreamingIterator,
    FileWriter, Page, ParquetType, RowGroupIterColumns, StatisticsOptions, Version, WriteOptions,
    array_to_pages, get_dtype_encoding, to_nested, to_parquet_leaves, to_parquet_type,
};

use super::table::is_truncated;
use crate::error::{Context, Result};
use crate::judge::analysis::run::void_cells;
use crate::judge::analysis::visits::Places;
use crate::record::journal::Journal;
use crate::record::{Arm, Case, Outcome, Source, Trial};

/// Rows per row group: what is in memory beside the journal.
const GROUP: usize = 1 << 17;

const OPTIONS: WriteOptions = WriteOptions {
    statistics: StatisticsOptions {
        min_value: true,
        max_value: true,
        distinct_count: false,
        null_count: true,
        binary_statistics_truncate_length: None,
    },
    version: Version::V1,
    compression: CompressionOptions::Gzip(None),
    data_page_size: None,
};

/// Returns the bytes of `trials.parquet`: one row per trial, in the order of the journal. The same journal gives the
/// same bytes.
///
/// # Errors
/// When the table cannot be made or encoded.
pub fn trials_parquet(journal: &Journal) -> Result<Vec<u8>> {
    let known = Known::of(journal);
    let schema: ArrowSchema = known
        .table(&[])?
        .columns()
        .iter()
        .map(|column| column.field().to_arrow(CompatLevel::oldest()))
        .collect();
    let failed = || "cannot write the trials as Parquet".into();
    let types =
        schema.iter_values().map(to_parquet_type).collect::<PolarsResult<Vec<_>>>().context(failed)?;
    let mut file = FileWriter::try_new(Vec::new(), schema.clone(), OPTIONS).context(failed)?;
    for trials in journal.trials.chunks(GROUP) {
        let table = known.table(trials)?;
        for batch in table.iter_chunks(CompatLevel::oldest(), false) {
            let columns = batch.into_arrays().into_iter().zip(&types);
            let columns = columns.map(|(values, kind)| pages(&values, kind)).collect::<PolarsResult<_>>();
            file.write(trials.len() as u64, row_group(columns.context(failed)?)).context(failed)?;
        }
    }
    // Without the schema of Arrow: what the format says of its columns is enough for every reader.
    file.end(Some(Vec::new())).context(failed)?;
    Ok(file.into_inner())
}

/// The pages of a column.
type Pages = DynIter<'static, PolarsResult<Page>>;

/// Columns are flat, so each is its own leaf. `RowGroupIterator` looks for the leaves of every column, and at the first one without a
/// value polars 0.55 sets aside 8 MiB of zeroes for good: a sixth of what a small run takes.
fn pages(values: &ArrayRef, kind: &ParquetType) -> PolarsResult<Pages> {
    let nested = to_nested(&**values, kind)?;
    let leaf = nested.first().zip(to_parquet_leaves(kind.clone()).pop());
    let (nested, leaf) = leaf.ok_or_else(|| polars_err!(ComputeError: "a column without a type"))?;
    let encodings = get_dtype_encoding(values.dtype());
    let encoding = encodings.first().copied().unwrap_or(Encoding::Plain);
    array_to_pages(&**values, leaf, nested, OPTIONS, encoding)
}

fn row_group(columns: Vec<Pages>) -> RowGroupIterColumns<'static, PolarsError> {
    let compressed = |pages: Pages| {
        let pages = pages.map(|page| page.map_err(|error| ParquetError::OutOfSpec(error.to_string())));
        let compressor = Compressor::new(DynIter::new(pages), OPTIONS.compression, Vec::new());
        Ok(DynStreamingIterator::new(compressor.map_err(PolarsError::from)))
    };
    DynIter::new(columns.into_iter().map(compressed))
}

/// What a journal knows beside its trials, and which figures they have.
struct Known<'a> {
    run: &'a str,
    cases: HashMap<&'a str, &'a Case>,
    places: Places<'a>,
    void: BTreeMap<(&'a str, u32), String>,
    measured: BTreeSet<(&'a str, Source)>,
    metrics: BTreeSet<&'a str>,
}

impl<'a> Known<'a> {
    fn of(journal: &'a Journal) -> Self {
        let measurements = journal.trials.iter().flat_map(|trial| &trial.measurements);
        let scores = journal.trials.iter().filter_map(|trial| trial.outcome.score());
        Self {
            run: &journal.header.run,
            cases: journal.cases.iter().map(|case| (case.id.as_str(), case)).collect(),
            places: Places::new(journal),
            void: void_cells(&journal.launches),
            measured: measurements.map(|found| (found.name.as_str(), found.source)).collect(),
            metrics: scores.flat_map(|score| score.metrics.keys()).map(String::as_str).collect(),
        }
    }

    fn table(&self, trials: &'a [Trial]) -> Result<DataFrame> {
        let mut columns = self.plan(trials);
        columns.extend(self.cases(trials));
        columns.extend(outcomes(trials));
        columns.extend(self.metrics.iter().map(|&name| {
            column(&format!("score_{name}"), trials, |trial| {
                trial.outcome.score()?.metrics.get(name).copied()
            })
        }));
        columns.extend(self.measured.iter().map(|&(name, source)| {
            column(&format!("{}_{name}", source.name()), trials, |trial| trial.measured(name, source))
        }));
        DataFrame::new(trials.len(), columns).context(|| "cannot make a table of the trials".into())
    }

    /// Which planned trial a row is, and who answered when.
    fn plan(&self, trials: &'a [Trial]) -> Vec<Column> {
        let void = |trial: &Trial| self.void.contains_key(&(trial.key.setting.as_str(), trial.key.context));
        vec![
            column("run", trials, |_| Some(self.run)),
            column("setting", trials, |trial| Some(trial.key.setting.as_str())),
            column("context_tokens", trials, |trial| Some(trial.key.context)),
            column("round", trials, |trial| Some(trial.key.round)),
            column("replicate", trials, |trial| Some(trial.key.replicate)),
            column("task", trials, |trial| Some(trial.key.task.as_str())),
            column("arm", trials, |trial| trial.key.arm.map(Arm::name)),
            column("index", trials, |trial| Some(trial.key.index)),
            column("repeat", trials, |trial| Some(trial.key.repeat)),
            column("launch", trials, |trial| Some(trial.launch)),
            column("started", trials, |trial| Some(trial.started.text())),
            column("void", trials, |trial| Some(void(trial))),
        ]
    }

    /// What was asked.
    fn cases(&self, trials: &'a [Trial]) -> Vec<Column> {
        let id = |trial: &'a Trial| self.case(trial).map_or(trial.case.as_str(), |case| &case.id);
        vec![
            column("case", trials, |trial| Some(id(trial)).filter(|id| !id.is_empty())),
            column("cluster", trials, |trial| Some(self.case(trial)?.cluster.as_str())),
            column("depth_ratio", trials, |trial| self.case(trial)?.depth),
            column("case_prompt_tokens", trials, |trial| Some(self.case(trial)?.prompt_tokens)),
        ]
    }

    /// The case of a trial; of one that broke before it was made, the case of its place in the plan.
    fn case(&self, trial: &'a Trial) -> Option<&'a Case> {
        match trial.case.as_str() {
            "" => self.places.of(&trial.key),
            id => self.cases.get(id).copied(),
        }
    }
}

/// What became of the trials.
fn outcomes(trials: &[Trial]) -> Vec<Column> {
    let outcome = |trial: &Trial| match &trial.outcome {
        Outcome::Scored(_) => "scored",
        Outcome::Unscored { .. } => "unscored",
        Outcome::Failed { .. } => "failed",
    };
    let stage = |trial: &Trial| match &trial.outcome {
        Outcome::Failed { stage, .. } => Some(stage.name()),
        Outcome::Scored(_) | Outcome::Unscored { .. } => None,
    };
    vec![
        column("outcome", trials, |trial| Some(outcome(trial))),
        column("quality", trials, |trial| trial.outcome.score()?.quality),
        column("label", trials, |trial| trial.outcome.score()?.label.as_deref()),
        column("stage", trials, stage),
        column("reason", trials, |trial| match &trial.outcome {
            Outcome::Scored(_) => None,
            Outcome::Unscored { reason: why } | Outcome::Failed { error: why, .. } => Some(why.as_str()),
        }),
        column("truncated", trials, |trial| Some(is_truncated(trial))),
    ]
}

fn column<'t, T>(name: &str, trials: &'t [Trial], of: impl Fn(&'t Trial) -> Option<T>) -> Column
where
    Series: NamedFrom<Vec<Option<T>>, [Option<T>]>,
{
    Column::new(name.into(), trials.iter().map(of).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use polars::prelude::AnyValue;
    use polars_parquet::read::{
        BasicDecompressor, PageReader, column_iter_to_arrays, infer_schema, read_metadata,
    };

    use super::*;
    use crate::judge::analysis::testing::{Play, broke, right};
    use crate::record::{Score, metric};

    /// Reads a file back, column by column.
    fn read(bytes: &[u8]) -> DataFrame {
        let metadata = read_metadata(&mut Cursor::new(bytes)).unwrap();
        let schema = infer_schema(&metadata).unwrap();
        let of = |field: &polars::prelude::ArrowField| {
            let mut arrays = Vec::new();
            for group in &metadata.row_groups {
                let chunk = group.columns_under_root_iter(&field.name).unwrap().next().unwrap();
                let range = chunk.byte_range();
                let part = bytes[range.start as usize..range.end as usize].to_vec();
                let pages = PageReader::new(Cursor::new(part.into()), chunk, Vec::new(), usize::MAX);
                let pages = BasicDecompressor::new(pages, Vec::new());
                let kind = &chunk.descriptor().descriptor.primitive_type;
                arrays.extend(column_iter_to_arrays(vec![pages], vec![kind], field.clone(), None).unwrap().0);
            }
            Column::from(Series::try_from((field.name.clone(), arrays)).unwrap())
        };
        DataFrame::new(metadata.num_rows, schema.iter_values().map(of).collect()).unwrap()
    }

    fn texts(table: &DataFrame, name: &str) -> Vec<Option<String>> {
        let column = table.column(name).unwrap().str().unwrap();
        column.iter().map(|text| text.map(str::to_owned)).collect()
    }

    fn numbers(table: &DataFrame, name: &str) -> Vec<Option<f64>> {
        table.column(name).unwrap().f64().unwrap().iter().collect()
    }

    /// A run in which some trials broke, one setting has a name to stumble over, and one task counts something.
    fn journal() -> Journal {
        let other = |task: &str, index| if index % 3 == 0 { broke() } else { right(task, index) };
        let mut journal = Play::new("").reference().other(other).journal;
        journal.trials[0].outcome =
            Outcome::Scored(Score::of(0.5).with("steps", 3.0).labelled("'); \u{0} \n=1+1"));
        journal.trials[1].key.change(|key| key.setting = "\"a\",\u{1b}[31m\n\u{202e}".into());
        journal
    }

    #[test]
    fn the_trials_come_back_as_they_were() {
        let journal = journal();
        let table = read(&trials_parquet(&journal).unwrap());
        assert_eq!(table.height(), journal.trials.len());
        let own = |of: &dyn Fn(&Trial) -> Option<f64>| journal.trials.iter().map(of).collect::<Vec<_>>();
        let ttft = own(&|trial| trial.measured(metric::TTFT_S, Source::Client));
        assert!(ttft.iter().any(Option::is_some) && ttft.iter().any(Option::is_none));
        assert_eq!(numbers(&table, "client_ttft_s"), ttft);
        assert_eq!(numbers(&table, "quality"), own(&|trial| trial.outcome.score()?.quality));
        assert_eq!(
            numbers(&table, "score_steps"),
            own(&|trial| trial.outcome.score()?.metrics.get("steps").copied())
        );
        let settings: Vec<_> =
            journal.trials.iter().map(|trial| Some(trial.key.setting.to_string())).collect();
        assert_eq!(texts(&table, "setting"), settings);
        assert_eq!(texts(&table, "label")[0].as_deref(), Some("'); \u{0} \n=1+1"));
        let at = journal.trials.iter().position(|trial| trial.case.is_empty()).unwrap();
        assert!(texts(&table, "case")[at].is_some(), "the case that another visit made");
        assert_eq!(texts(&table, "outcome")[at].as_deref(), Some("failed"));
        assert_eq!(texts(&table, "stage")[at].as_deref(), Some("server"));
        assert_eq!(table.column("context_tokens").unwrap().get(at).unwrap(), AnyValue::UInt32(512));
    }

    #[test]
    fn the_same_journal_gives_the_same_bytes() {
        let journal = journal();
        assert_eq!(trials_parquet(&journal).unwrap(), trials_parquet(&journal).unwrap());
    }

    #[test]
    fn a_run_without_trials_has_columns_and_no_rows() {
        let bytes = trials_parquet(&Play::new("").journal).unwrap();
        let metadata = read_metadata(&mut Cursor::new(bytes)).unwrap();
        assert_eq!(metadata.num_rows, 0);
        assert!(infer_schema(&metadata).unwrap().contains("setting"));
    }
}
