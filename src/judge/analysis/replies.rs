//! What servers said of their replies that contradicts the replies themselves.

use std::collections::{BTreeMap, HashMap};

use super::run::Run;
use super::summary::{Unit, WarningCode};
use super::warnings::finding::Finding;
use crate::record::{Case, Reply, Source, Trial, metric};

/// So many tokens over its budget are a matter of how a server counts (the token that ends a reply, a last draft).
const COUNTING_TOKENS: f64 = 8.0;
/// The same as a share of the budget.
const COUNTING_SHARE: f64 = 0.05;

/// Returns a finding for each cell and kind of contradiction.
pub(super) fn findings(run: &Run<'_>) -> Vec<Finding> {
    let cases: HashMap<&str, &Case> = run.journal.cases.iter().map(|case| (case.id.as_str(), case)).collect();
    let mut cells: BTreeMap<(&str, u32), Found> = BTreeMap::new();
    for trial in &run.journal.trials {
        let Some(reply) = trial.reply.as_deref() else { continue };
        let found = cells.entry((&trial.key.setting, trial.key.context)).or_default();
        found.add(trial, reply, cases.get(trial.case.as_str()).copied());
    }
    cells.into_iter().flat_map(|(cell, found)| found.findings(cell)).collect()
}

/// What was found in the replies of a cell.
#[derive(Default)]
struct Found {
    replies: u32,
    /// Calls beside a reason for the end that denies them, or none beside one that names them.
    odd_ends: u32,
    /// More than the output budget.
    over: u32,
    /// The longest of those (tokens).
    longest: f64,
}

impl Found {
    fn add(&mut self, trial: &Trial, reply: &Reply, case: Option<&Case>) {
        self.replies += 1;
        self.odd_ends += u32::from(reply.turns().any(Reply::end_denies_calls));
        let counted =
            trial.measured(metric::OUTPUT_TOKENS, Source::Engine).filter(|_| reply.earlier.is_empty());
        let over = counted.zip(case).filter(|(tokens, case)| is_over(*tokens, case.max_tokens));
        if let Some((tokens, _)) = over {
            self.longest = self.longest.max(tokens);
        }
        self.over += u32::from(over.is_some() || reply.turns().any(|turn| turn.overlong.is_some()));
    }

    fn findings(self, (setting, context): (&str, u32)) -> Vec<Finding> {
        let of = |code| Finding::at(code, setting, context).figure("replies", self.replies, Unit::Replies);
        let odd = (self.odd_ends > 0).then(|| {
            of(WarningCode::FinishReasonContradicts).figure("contradicting", self.odd_ends, Unit::Replies)
        });
        let over = (self.over > 0).then(|| {
            let finding = of(WarningCode::BudgetIgnored).figure("over", self.over, Unit::Replies);
            match self.longest {
                0.0 => finding,
                longest => finding.figure("longest", longest, Unit::Tokens),
            }
        });
        odd.into_iter().chain(over).collect()
    }
}

fn is_over(tokens: f64, budget: u32) -> bool {
    let budget = f64::from(budget);
    tokens > budget + COUNTING_TOKENS.max(COUNTING_SHARE * budget)
}
