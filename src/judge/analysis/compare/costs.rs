//! What a token costs on each of two machines: time, energy, money.

use std::collections::{HashMap, HashSet};

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pair::Pair;
use crate::error::Result;
use crate::judge::analysis::frame;
use crate::judge::analysis::frame::{RequestKey, Timed, VisitKey};
use crate::judge::analysis::run::Run;
use crate::quantile::median;

/// Price of a machine for an hour, in any currency; `None`: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Prices {
    /// Of the machine of run A.
    pub a: Option<f64>,
    /// Of the machine of run B.
    pub b: Option<f64>,
}

/// A cell on both machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct CostRow {
    /// Setting label.
    pub setting: String,
    /// Context length (tokens).
    pub context: u32,
    /// In A.
    pub a: Cost,
    /// In B.
    pub b: Cost,
}

/// What a cell does on one machine, one request at a time, over the requests that both machines have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Cost {
    /// Median decode rate (tokens/s).
    pub decode_tps: Option<f64>,
    /// Median cold prefill rate (tokens/s).
    pub prefill_tps: Option<f64>,
    /// Energy of an output token (J), prefill included, beyond the idle machine where that is known.
    pub token_j: Option<f64>,
    /// Price of a million tokens that are generated, one request after another; in the currency of the price.
    pub million_output: Option<f64>,
    /// Price of a million tokens of prompts that are read.
    pub million_prompt: Option<f64>,
}

/// Every cell that both runs have; none when the machines are alike and no price is given.
pub(super) fn rows(runs: &Pair<'_>, cells: &[(&str, u32)], prices: Prices) -> Result<Vec<CostRow>> {
    let alike = super::headers::same_machine(&runs.a.journal.header, &runs.b.journal.header);
    if alike && prices == Prices::default() {
        return Ok(Vec::new());
    }
    let row = |&(setting, context): &(&str, u32)| {
        let visit = VisitKey { setting, context, replicate: 0 };
        Ok(CostRow {
            setting: setting.to_owned(),
            context,
            a: cost((&runs.a, &runs.b), visit, prices.a)?,
            b: cost((&runs.b, &runs.a), visit, prices.b)?,
        })
    };
    let counted = |&&(setting, context): &&(&str, u32)| {
        !runs.a.void.contains_key(&(setting, context)) && !runs.b.void.contains_key(&(setting, context))
    };
    cells.iter().filter(counted).map(row).collect()
}

/// What a run's cell costs, over the requests that the other run timed, too: machines are compared on the same work.
fn cost((run, other): (&Run<'_>, &Run<'_>), visit: VisitKey<'_>, price: Option<f64>) -> Result<Cost> {
    let shared = |column| -> Result<Vec<Timed>> {
        let theirs = other.frame.timed(visit, column)?;
        let theirs: HashSet<&RequestKey> = theirs.iter().map(|timed| &timed.request).collect();
        let mut ours = run.frame.timed(visit, column)?;
        ours.retain(|timed| theirs.contains(&timed.request));
        Ok(ours)
    };
    let rate = |column| -> Result<Option<f64>> {
        let mut rates: Vec<f64> = shared(column)?.iter().map(|timed| timed.value).collect();
        Ok(median(&mut rates).filter(|rate| *rate > 0.0))
    };
    let (decode_tps, prefill_tps) = (rate(frame::DECODE)?, rate(frame::PREFILL)?);
    let token_j = token_j(&shared(frame::ENERGY)?, &shared(frame::OUTPUT)?);
    Ok(Cost {
        decode_tps,
        prefill_tps,
        token_j,
        million_output: million(price, decode_tps),
        million_prompt: million(price, prefill_tps),
    })
}

/// All energy over all tokens of the requests that have both (J).
fn token_j(energy: &[Timed], output: &[Timed]) -> Option<f64> {
    let tokens: HashMap<&RequestKey, f64> =
        output.iter().filter(|timed| timed.value >= 1.0).map(|timed| (&timed.request, timed.value)).collect();
    let both = energy.iter().filter_map(|timed| Some((timed.value, *tokens.get(&timed.request)?)));
    let (joules, tokens) = both.fold((0.0, 0.0), |(j, t), (energy, output)| (j + energy, t + output));
    (tokens > 0.0).then(|| joules / tokens)
}

/// Price of a million tokens at a rate (tokens/s), from the price of an hour.
fn million(price: Option<f64>, rate: Option<f64>) -> Option<f64> {
    Some(price? / 3600.0 / rate? * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_tokens_cost_the_hours_that_they_take() {
        // 100 tokens/s are 360,000 an hour: 2.78 hours.
        let cost = million(Some(3.6), Some(100.0)).unwrap();
        assert!((cost - 10.0).abs() < 1e-9, "{cost}");
        assert_eq!((million(None, Some(100.0)), million(Some(1.0), None)), (None, None));
    }
}
