//! One setting at one context length of a run, with what boards ask for and summaries do not hold.

use crate::error::{Error, Result};
use crate::judge::analysis::summary::{CellSummary, Summary};
use crate::judge::report::text;
use crate::quantile;
use crate::record::journal::Journal;
use crate::record::suite::Setting;
use crate::record::{ModelInfo, Source, metric};

/// A measured cell of a run.
#[derive(Debug, Clone)]
pub struct Shared<'a> {
    /// The run.
    pub summary: &'a Summary,
    /// The cell.
    pub cell: &'a CellSummary,
    /// Its setting; `None` where the suite does not list it.
    pub setting: Option<&'a Setting>,
    /// Its model.
    pub model: Option<&'a ModelInfo>,
    /// Median length of its prompts (tokens).
    pub prompt_tokens: Option<f64>,
    /// Median length of its replies (tokens).
    pub output_tokens: Option<f64>,
    /// Graphics cards that its server was on.
    pub cards: Option<u32>,
    /// Temperature of the sampler.
    pub temperature: f64,
}

/// Finds the cell that is meant. Without a name it is the only one there is.
///
/// # Errors
/// A usage error, with what there is, when none or several fit, or when the cell is void.
pub fn shared<'a>(
    summary: &'a Summary,
    journal: &'a Journal,
    setting: Option<&str>,
    context: Option<u32>,
) -> Result<Shared<'a>> {
    let fits = |cell: &&CellSummary| {
        setting.is_none_or(|name| cell.setting == name) && context.is_none_or(|asked| cell.context == asked)
    };
    let found: Vec<&CellSummary> = summary.cells.iter().filter(fits).collect();
    let cell = match found.as_slice() {
        [cell] => *cell,
        [] => return Err(which(summary.cells.iter(), "the run has no such setting at that context length")),
        several => {
            return Err(which(several.iter().copied(), "a board takes one setting at one context length"));
        }
    };
    if let Some(void) = &cell.void {
        let name = text::plain(&cell.setting);
        return Err(Error::usage(format!("{name} at {} is void: {}", cell.context, text::plain(void))));
    }
    let suite = &journal.header.suite;
    let listed = suite.settings.iter().find(|listed| listed.label == cell.setting);
    let is_its = |model: &&ModelInfo| {
        listed.is_some_and(|own| model.name == own.model && model.weights == own.weights)
    };
    let median = |name: &str| {
        let trials = journal.trials.iter().filter(|trial| {
            (trial.key.setting.as_str(), trial.key.context, trial.key.replicate)
                == (cell.setting.as_str(), cell.context, 0)
        });
        let of =
            |source| trials.clone().filter_map(|trial| trial.measured(name, source)).collect::<Vec<f64>>();
        quantile::median(&mut of(Source::Engine)).or_else(|| quantile::median(&mut of(Source::Client)))
    };
    let cards = |source| {
        let here = journal.trials.iter().filter(|trial| trial.key.setting == cell.setting);
        here.filter_map(|trial| trial.measured(metric::GPU_CARDS, source)).map(|cards| cards as u32).max()
    };
    Ok(Shared {
        summary,
        cell,
        setting: listed,
        model: summary.models.iter().find(is_its),
        prompt_tokens: median(metric::PROMPT_TOKENS),
        output_tokens: median(metric::OUTPUT_TOKENS),
        cards: cards(Source::Nvml).or_else(|| cards(Source::Sysfs)).filter(|cards| *cards > 0),
        temperature: suite.sampling_at(&cell.setting).temperature,
    })
}

fn which<'a>(cells: impl Iterator<Item = &'a CellSummary>, what: &str) -> Error {
    const MOST: usize = 12;
    let names: Vec<String> = cells
        .map(|cell| format!("--setting '{}' --context {}", text::plain(&cell.setting), cell.context))
        .collect();
    let error = names.iter().take(MOST).fold(Error::usage(what), |error, name| error.hint(name.clone()));
    if names.len() > MOST { error.hint(format!("and {} more", names.len() - MOST)) } else { error }
}
