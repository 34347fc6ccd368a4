//! What is said of a cell, figure by figure. Each is declared once, in [`COLUMNS`] or, where it has no field of its own, in
//! [`metric`]: the Markdown table, the terminal's table and `cells.csv` follow.

use serde::Serialize;

use super::csv::{Field, with_interval};
use super::filters::{self, Figure};
use super::text;
use crate::judge::analysis::summary::{CellSummary, Estimate, FrontStatus, MemoryKind};
use crate::record::Direction;
use crate::record::kv::kv_types;
use crate::record::metric::{self, Over, Unit};

/// A figure of a cell.
#[derive(Clone, Copy)]
pub(super) struct Column {
    /// Name in `cells.csv`.
    pub(super) name: &'static str,
    /// Unit in `cells.csv`, behind the name; empty where it has none.
    unit: &'static str,
    take: Take,
    shown: Option<Shown>,
}

/// How a figure is taken from a cell.
#[derive(Clone, Copy)]
enum Take {
    Text(fn(&CellSummary) -> String),
    Whole(fn(&CellSummary) -> Option<u64>),
    Number(fn(&CellSummary) -> Option<f64>),
    /// With both ends of its interval.
    Estimate(fn(&CellSummary) -> Option<Estimate>),
    /// And with the number of observations.
    Counted(fn(&CellSummary) -> Option<Estimate>),
    /// One that has no field of its own, by its name.
    Declared(&'static str, Over),
}

/// How tables for people show a figure.
#[derive(Clone, Copy)]
struct Shown {
    head: &'static str,
    /// Unit in the column's head; empty where each value has its own.
    unit: &'static str,
    better: Option<Direction>,
    format: Format,
    terminal: Terminal,
}

/// How a value is written.
#[derive(Clone, Copy)]
enum Format {
    /// A number.
    Figure(Figure),
    /// The same, with words behind it.
    Noted(Figure, fn(&CellSummary) -> String),
    /// Words of the cell.
    Words(fn(&CellSummary) -> String),
    /// A peak of memory, whose kind the head says where all cells have the same.
    Peak,
    /// A time: in the unit of the head, or each with its own where there is none.
    Time,
}

/// How much of a figure the terminal has room for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminal {
    Nothing,
    Value,
    Interval,
}

/// Every figure that has a field of its own, in the order of `cells.csv` and of tables.
const COLUMNS: &[Column] = &[
    text("setting", |cell| cell.setting.clone()),
    whole("context", "tokens", |cell| Some(cell.context.into())),
    text("void", |cell| cell.void.clone().unwrap_or_default()),
    whole("planned", "", |cell| Some(cell.planned.into())),
    whole("scored", "", |cell| Some(cell.scored.into())),
    whole("unscored", "", |cell| Some(cell.unscored.into())),
    whole("failed", "", |cell| Some(cell.failed.into())),
    whole("truncated", "", |cell| Some(cell.truncated.into())),
    text("verdict", |cell| text::verdict(cell.verdict).to_owned()).shown(
        "verdict",
        "",
        Format::Words(verdict),
        Terminal::Value,
    ),
    whole("file", "bytes", |cell| cell.weights.map(|weights| weights.bytes)).shown(
        "file",
        "GiB",
        Format::Figure(filters::GIB),
        Terminal::Nothing,
    ),
    number("bits_per_weight", "", |cell| cell.weights?.bits).shown(
        "bits a weight",
        "",
        Format::Figure(filters::RATE),
        Terminal::Nothing,
    ),
    text("kv_types", kv_types_of).shown("KV", "", Format::Words(kv_types_of), Terminal::Nothing),
    whole("peak", "bytes", |cell| cell.memory.peak_bytes)
        .shown("memory", "", Format::Peak, Terminal::Value)
        .better(Direction::Down),
    estimate("prefill", "tps", |cell| cell.prefill_tps)
        .shown("prefill", "tokens/s", Format::Figure(filters::RATE), Terminal::Nothing)
        .better(Direction::Up),
    estimate("decode", "tps", |cell| cell.decode_tps)
        .shown("decode", "tokens/s", Format::Figure(filters::RATE), Terminal::Value)
        .better(Direction::Up),
    number("bandwidth_share", "", |cell| cell.roofline.map(|roofline| roofline.share)).shown(
        "of bandwidth",
        "",
        Format::Figure(filters::SHARE),
        Terminal::Nothing,
    ),
    estimate("ttft", "s", |cell| cell.ttft_s)
        .shown("TTFT", "ms", Format::Time, Terminal::Value)
        .better(Direction::Down),
    counted("quality", |cell| cell.quality)
        .shown("quality", "", Format::Noted(filters::SCORE, text::broke), Terminal::Value)
        .better(Direction::Up),
    counted("difference", |cell| cell.difference).shown(
        "difference",
        "points",
        Format::Figure(filters::POINTS),
        Terminal::Interval,
    ),
    number("mde", "", |cell| cell.mde),
    number("p_holm", "", |cell| cell.p_holm),
    estimate("kld_mean", "nat", |cell| cell.kld.as_ref().map(|kld| kld.mean))
        .shown("KLD", "nat", Format::Figure(filters::NAT), Terminal::Value)
        .better(Direction::Down),
    number("kld_median", "nat", |cell| cell.kld.as_ref().map(|kld| kld.median)),
    number("kld_p99", "nat", |cell| cell.kld.as_ref().map(|kld| kld.p99)),
    number("kld_p999", "nat", |cell| cell.kld.as_ref().map(|kld| kld.p999)),
    number("rms_delta_p", "", |cell| cell.kld.as_ref().map(|kld| kld.rms_delta_p)),
    number("top1_agreement", "", |cell| cell.kld.as_ref().map(|kld| kld.top1_agreement)),
    number("perplexity", "", |cell| cell.kld.as_ref().map(|kld| kld.perplexity)),
    number("kld_unlisted", "", |cell| cell.kld.as_ref().and_then(|kld| kld.unlisted)),
    number("engine_decode", "tps", |cell| cell.engine_decode_tps.map(|rate| rate.value)),
    number("itl_p50", "s", |cell| cell.itl_p50_s),
    number("itl_p95", "s", |cell| cell.itl_p95_s),
    number("itl_max", "s", |cell| cell.itl_max_s),
    number("draft_acceptance", "", |cell| cell.draft_acceptance),
    whole("peak_rss", "bytes", |cell| cell.memory.peak_rss_bytes),
    whole("peak_pss", "bytes", |cell| cell.memory.peak_pss_bytes),
    whole("peak_anon", "bytes", |cell| cell.memory.peak_anon_bytes),
    whole("peak_file", "bytes", |cell| cell.memory.peak_file_bytes),
    whole("kv", "bytes", |cell| cell.memory.kv_bytes),
    whole("pool", "bytes", |cell| cell.memory.pool.map(|pool| pool.bytes)),
    whole("pool_tokens", "", |cell| cell.memory.pool.map(|pool| pool.tokens)),
    number("pool_token", "bytes", |cell| cell.memory.pool.map(|pool| pool.token_bytes)),
    whole("compute", "bytes", |cell| cell.memory.compute_bytes),
    whole("model", "bytes", |cell| cell.memory.model_bytes),
    whole("peak_vram", "bytes", |cell| cell.memory.peak_vram_bytes),
    whole("peak_vram_device", "bytes", |cell| cell.memory.peak_vram_device_bytes),
    number("energy_per_request", "j", |cell| cell.energy.as_ref().map(|energy| energy.per_request_j.value)),
    number("energy_per_token", "j", |cell| cell.energy.as_ref().and_then(|energy| energy.per_token_j)),
    number("energy_per_right_answer", "j", |cell| {
        cell.energy.as_ref().and_then(|energy| energy.per_right_answer_j)
    }),
    text("front", |cell| front_name(cell.front).to_owned()).shown(
        "front",
        "",
        Format::Words(text::front),
        Terminal::Value,
    ),
    number("front_frequency", "", |cell| cell.front_frequency),
    text("not_comparable", |cell| cell.not_comparable.join("; ")),
    estimate("ttft_ratio", "", |cell| cell.ttft_ratio),
    estimate("prefill_ratio", "", |cell| cell.prefill_ratio),
    estimate("decode_ratio", "", |cell| cell.decode_ratio),
    estimate("energy_ratio", "", |cell| cell.energy_ratio),
    text("peak_kind", |cell| cell.memory.peak_kind.map_or("", MemoryKind::name).to_owned()),
];

/// Columns that tables with room have whatever is known.
const ALWAYS: &[&str] = &["verdict", "quality", "difference", "decode", "peak", "front"];

/// Returns every column of these cells: those of [`COLUMNS`], and behind them the declared figures that a cell has.
pub(super) fn of(cells: &[CellSummary]) -> Vec<Column> {
    with_declared(cells, metric::FIGURES)
}

fn with_declared(cells: &[CellSummary], figures: &'static [metric::Figure]) -> Vec<Column> {
    let declared = figures.iter().filter_map(declared);
    let declared = declared.filter(|column| cells.iter().any(|cell| column.number(cell).is_some()));
    COLUMNS.iter().copied().chain(declared).collect()
}

/// The column of a figure without a field, where it says how it is shown.
fn declared(figure: &'static metric::Figure) -> Option<Column> {
    let shown = figure.shown?;
    let suffix = shown.unit.suffix();
    let bare = figure.name.strip_suffix(suffix).and_then(|name| name.strip_suffix('_'));
    let (format, unit) = written(shown.unit);
    let terminal = if shown.in_terminal { Terminal::Value } else { Terminal::Nothing };
    Some(Column {
        name: bare.unwrap_or(figure.name),
        unit: bare.map_or("", |_| suffix),
        take: Take::Declared(figure.name, shown.over),
        shown: Some(Shown {
            head: shown.head,
            unit,
            better: shown.better,
            format: Format::Figure(format),
            terminal,
        }),
    })
}

/// How values of a unit are written, and what the head says of it.
const fn written(unit: Unit) -> (Figure, &'static str) {
    match unit {
        Unit::Seconds => (filters::SECONDS, ""),
        Unit::Bytes => (filters::BYTES, ""),
        Unit::TokensPerSecond => (filters::RATE, "tokens/s"),
        Unit::Joules => (filters::RATE, "J"),
        Unit::Share => (filters::SHARE, ""),
        Unit::Count => (filters::RATE, ""),
    }
}

/// Types of the cache as the server says, K and V apart where they differ; empty where it does not say.
fn kv_types_of(cell: &CellSummary) -> String {
    let Some(effective) = &cell.effective else { return String::new() };
    match (effective.k.as_deref(), effective.v.as_deref()) {
        (Some(k), Some(v)) => kv_types(k, v),
        (one, other) => one.or(other).unwrap_or_default().to_owned(),
    }
}

const fn column(name: &'static str, unit: &'static str, take: Take) -> Column {
    Column { name, unit, take, shown: None }
}

const fn text(name: &'static str, take: fn(&CellSummary) -> String) -> Column {
    column(name, "", Take::Text(take))
}

const fn whole(name: &'static str, unit: &'static str, take: fn(&CellSummary) -> Option<u64>) -> Column {
    column(name, unit, Take::Whole(take))
}

const fn number(name: &'static str, unit: &'static str, take: fn(&CellSummary) -> Option<f64>) -> Column {
    column(name, unit, Take::Number(take))
}

const fn estimate(
    name: &'static str,
    unit: &'static str,
    take: fn(&CellSummary) -> Option<Estimate>,
) -> Column {
    column(name, unit, Take::Estimate(take))
}

const fn counted(name: &'static str, take: fn(&CellSummary) -> Option<Estimate>) -> Column {
    column(name, "", Take::Counted(take))
}

impl Column {
    /// Shows it in tables for people, too.
    const fn shown(self, head: &'static str, unit: &'static str, format: Format, terminal: Terminal) -> Self {
        let Self { name, unit: csv_unit, take, .. } = self;
        let shown = Shown { head, unit, better: None, format, terminal };
        Self { name, unit: csv_unit, take, shown: Some(shown) }
    }

    /// Says which way is better.
    const fn better(mut self, direction: Direction) -> Self {
        if let Some(shown) = &mut self.shown {
            shown.better = Some(direction);
        }
        self
    }

    /// Returns its names in the header of `cells.csv`.
    pub(super) fn csv_names(&self) -> Vec<String> {
        let name = |part: &str| {
            let unit = if self.unit.is_empty() { String::new() } else { format!("_{}", self.unit) };
            format!("{}{part}{unit}", self.name)
        };
        match self.take {
            Take::Text(_)
            | Take::Whole(_)
            | Take::Number(_)
            | Take::Declared(_, Over::Largest | Over::Total) => vec![name("")],
            Take::Estimate(_) => vec![name(""), name("_low"), name("_high")],
            Take::Counted(_) | Take::Declared(_, Over::Median) => {
                vec![name(""), name("_low"), name("_high"), format!("{}_n", self.name)]
            }
        }
    }

    /// Returns the values for [`Self::csv_names`].
    pub(super) fn csv_fields(&self, cell: &CellSummary) -> Vec<Field<'static>> {
        match self.take {
            Take::Text(take) => vec![Field::Words(take(cell))],
            Take::Whole(take) => vec![Field::Whole(take(cell))],
            Take::Number(take) => vec![Field::Number(take(cell))],
            Take::Estimate(take) => with_interval(take(cell)).into(),
            Take::Counted(take) => counted_fields(take(cell)),
            Take::Declared(_, Over::Median) => counted_fields(self.number(cell)),
            Take::Declared(_, Over::Largest | Over::Total) => {
                vec![Field::Number(self.number(cell).map(|figure| figure.value))]
            }
        }
    }

    fn number(&self, cell: &CellSummary) -> Option<Estimate> {
        let bare = |value: f64| Estimate { value, low: None, high: None, n: 0 };
        match self.take {
            Take::Text(_) => None,
            Take::Whole(take) => take(cell).map(|whole| bare(whole as f64)),
            Take::Number(take) => take(cell).map(bare),
            Take::Estimate(take) | Take::Counted(take) => take(cell),
            Take::Declared(name, _) => cell.figures.get(name).copied(),
        }
    }

    /// Whether it has something for a cell.
    fn says_something(&self, cell: &CellSummary) -> bool {
        match self.take {
            Take::Text(take) => !take(cell).is_empty(),
            _ => self.number(cell).is_some(),
        }
    }

    /// Whether it says something in words.
    pub(super) const fn is_words(&self) -> bool {
        matches!(self.take, Take::Text(_))
    }
}

fn counted_fields(estimate: Option<Estimate>) -> Vec<Field<'static>> {
    with_interval(estimate).into_iter().chain([Field::count(estimate)]).collect()
}

/// The columns of a table for people.
pub(super) struct Shape {
    all: Vec<Column>,
    /// Which memory the peaks are of.
    memory: &'static str,
    /// Whether peaks are in GiB, not in MiB.
    in_gib: bool,
    /// Names of the columns that a cell has something for.
    filled: Vec<&'static str>,
    /// Numbers come first, words behind them; with values that have no room for their intervals.
    is_narrow: bool,
}

impl Shape {
    /// A table with intervals and units in its heads.
    pub(super) fn wide(cells: &[CellSummary]) -> Self {
        Self::over(of(cells), cells)
    }

    fn over(all: Vec<Column>, cells: &[CellSummary]) -> Self {
        let has = |column: &&Column| cells.iter().any(|cell| column.says_something(cell));
        let filled = all.iter().filter(has).map(|column| column.name).collect();
        let largest = cells.iter().filter_map(|cell| cell.memory.peak_bytes).max();
        let in_gib = largest.is_some_and(|bytes| bytes >= 4 << 30);
        Self { all, memory: text::memory_head(cells.iter()), in_gib, filled, is_narrow: false }
    }

    /// A table for a terminal.
    pub(super) fn narrow(cells: &[CellSummary]) -> Self {
        Self { is_narrow: true, ..Self::wide(cells) }
    }

    /// Returns the columns that the table has.
    pub(super) fn columns(&self) -> Vec<&Column> {
        let shown = |column: &&Column| {
            let in_terminal = |shown: &Shown| shown.terminal != Terminal::Nothing;
            let has_room = |shown: &Shown| match self.is_narrow {
                true => in_terminal(shown),
                // What nothing is known of takes no room; the report says elsewhere why.
                false => ALWAYS.contains(&column.name) || self.filled.contains(&column.name),
            };
            column.shown.as_ref().is_some_and(has_room)
        };
        let mut columns: Vec<&Column> = self.all.iter().filter(shown).collect();
        if self.is_narrow {
            columns.sort_by_key(|column| column.is_words());
        }
        columns
    }

    /// Returns the head of a column.
    pub(super) fn head(&self, column: &Column) -> Head {
        let Some(shown) = &column.shown else {
            return Head { name: column.name, unit: "", better: None, is_words: column.is_words() };
        };
        let (name, unit) = match shown.format {
            Format::Peak => (self.memory, if self.in_gib { "GiB" } else { "MiB" }),
            _ => (shown.head, shown.unit),
        };
        Head { name, unit, better: shown.better, is_words: column.is_words() }
    }

    /// How peaks are written.
    const fn of_peaks(&self) -> Figure {
        match (self.is_narrow, self.in_gib) {
            (true, _) => filters::BYTES,
            (false, true) => filters::GIB,
            (false, false) => filters::MIB,
        }
    }

    /// Returns a cell's value.
    pub(super) fn value(&self, column: &Column, cell: &CellSummary) -> ColumnValue {
        let Some(shown) = &column.shown else { return ColumnValue::default() };
        let is_short = self.is_narrow && shown.terminal == Terminal::Value;
        let bare = |estimate: Estimate| Estimate { low: None, high: None, ..estimate };
        let number = column.number(cell);
        let number = if is_short { number.map(bare) } else { number };
        let (figure, words) = match shown.format {
            Format::Figure(figure) => (Some(figure), String::new()),
            Format::Noted(figure, note) => (Some(figure), note(cell)),
            Format::Words(words) => (None, words(cell)),
            Format::Peak => (Some(self.of_peaks()), text::peak_kind(cell, self.memory)),
            Format::Time if self.is_narrow => (Some(filters::SECONDS), String::new()),
            Format::Time => (Some(filters::MILLISECONDS), String::new()),
        };
        ColumnValue { number, figure, words }
    }
}

/// The head of a column.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Head {
    pub(super) name: &'static str,
    /// Empty where each value has its own.
    unit: &'static str,
    better: Option<Direction>,
    is_words: bool,
}

/// A cell's value in a column: a figure, words, or words behind a figure. Nothing in it is escaped.
#[derive(Default, Serialize)]
pub(super) struct ColumnValue {
    number: Option<Estimate>,
    /// How the number is written; `None`: there are only words.
    figure: Option<Figure>,
    words: String,
}

impl ColumnValue {
    /// Returns it as plain text.
    pub(super) fn plain(&self) -> String {
        match (self.figure, self.words.as_str()) {
            (None, words) => words.to_owned(),
            (Some(figure), "") => figure.of(self.number),
            (Some(figure), words) => format!("{} {words}", figure.of(self.number)),
        }
    }
}

fn verdict(cell: &CellSummary) -> String {
    if cell.void.is_some() { "void".to_owned() } else { text::judgement(cell) }
}

const fn front_name(front: FrontStatus) -> &'static str {
    match front {
        FrontStatus::OnFront => "on_front",
        FrontStatus::OnlyByCost => "only_by_cost",
        FrontStatus::Dominated => "dominated",
        FrontStatus::NotSeparable => "not_separable",
        FrontStatus::NotMeasured => "not_measured",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;

    #[test]
    fn every_table_follows_from_the_declarations() {
        let mut cell = testing::cell("q8_0", 512);
        cell.kld = None;
        cell.ttft_s = Some(Estimate { value: 0.5, low: Some(0.25), high: Some(0.75), n: 9 });
        let ttft = COLUMNS.iter().find(|column| column.name == "ttft").unwrap();
        assert_eq!(ttft.csv_names(), ["ttft_s", "ttft_low_s", "ttft_high_s"]);
        let cells = [cell];
        let (wide, narrow) = (Shape::wide(&cells), Shape::narrow(&cells));
        let head = Head { name: "TTFT", unit: "ms", better: Some(Direction::Down), is_words: false };
        assert_eq!(wide.head(ttft), head);
        assert_eq!(wide.value(ttft, &cells[0]).plain(), "500 [250, 750]", "one unit a column");
        assert_eq!(narrow.value(ttft, &cells[0]).plain(), "500 ms");
        let words: Vec<&str> = narrow.columns().iter().rev().take(2).map(|column| column.name).collect();
        assert_eq!(words, ["front", "verdict"], "words stand behind the numbers");
    }

    const FIGURES: &[metric::Figure] = &[
        figure("reply_bytes", metric::Shown { over: Over::Median, ..SHOWN }),
        figure(
            "replies",
            metric::Shown { unit: Unit::Count, over: Over::Total, in_terminal: false, ..SHOWN },
        ),
        figure("nobody_has_it", SHOWN),
    ];

    const SHOWN: metric::Shown = metric::Shown {
        head: "reply",
        unit: Unit::Bytes,
        better: Some(Direction::Down),
        over: Over::Largest,
        in_terminal: true,
    };

    const fn figure(name: &'static str, shown: metric::Shown) -> metric::Figure {
        metric::Figure { name, metric: name, sources: &[], shown: Some(shown) }
    }

    #[test]
    fn a_figure_without_a_field_has_its_columns_where_a_cell_has_it() {
        let mut cell = testing::cell("q8_0", 512);
        let reply = Estimate { value: 2048.0, low: Some(1024.0), high: Some(4096.0), n: 9 };
        let replies = Estimate { value: 12.0, low: None, high: None, n: 1 };
        cell.figures =
            [("reply_bytes", reply), ("replies", replies)].map(|(n, of)| (n.to_owned(), of)).into();
        let cells = [cell];
        let wide = Shape::over(with_declared(&cells, FIGURES), &cells);
        let narrow = Shape { is_narrow: true, ..Shape::over(wide.all.clone(), &cells) };
        let [.., reply, replies] = wide.all.as_slice() else { panic!() };
        assert_eq!(reply.csv_names(), ["reply_bytes", "reply_low_bytes", "reply_high_bytes", "reply_n"]);
        assert_eq!((reply.csv_fields(&cells[0]).len(), replies.csv_names()), (4, vec!["replies".to_owned()]));
        assert_eq!((wide.head(reply).name, wide.head(reply).better), ("reply", Some(Direction::Down)));
        assert_eq!(wide.value(reply, &cells[0]).plain(), "2.00 KiB [1.00 KiB, 4.00 KiB]");
        assert_eq!(narrow.value(reply, &cells[0]).plain(), "2.00 KiB");
        let names = |shape: &Shape| shape.columns().iter().map(|column| column.name).collect::<Vec<_>>();
        let always = ["verdict", "peak", "decode", "quality", "difference", "front"];
        assert_eq!(
            names(&wide),
            [&always[..], &["reply", "replies"]].concat(),
            "what nobody has takes no room"
        );
        assert!(
            names(&narrow).contains(&"reply") && !names(&narrow).contains(&"replies"),
            "{:?}",
            names(&narrow)
        );
        assert_eq!(with_declared(&[testing::cell("q8_0", 512)], FIGURES).len(), COLUMNS.len());
    }
}
