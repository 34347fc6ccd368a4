//! What the verdict of a cell would take, and whether it can be expected at all.
//!
//! A plan, not evidence: the further cases are taken to be like those that there are. Nothing is called worse or no worse
//! because of it. Giving a cell up on such grounds raises no rate of false claims: it stays not separable.

use super::frame::VisitKey;
use super::measured::Measured;
use super::quality::{Evidence, Level, Rule};
use super::run::Run;
use super::summary::{Estimate, Verdict};
use super::words::{about, thousands};
use crate::record::{EvidenceUnit, Outlook, Source, metric};

/// Units beyond which nobody is told how many it takes.
const MOST: usize = 100_000;

/// Standard errors that the units so far may be off by, when it is asked whether a verdict is still possible.
const LUCK: f64 = 2.5;

/// A cell whose verdict is open, with the rule that it is judged by.
pub(super) struct Open<'l> {
    evidence: Evidence,
    rule: &'l Rule,
    /// Confidence of its interval (0..1).
    confidence: f64,
    /// What Holm's adjustment multiplies a p-value by at most.
    family: f64,
    /// What of the difference proves nothing.
    credit: f64,
}

impl<'l> Open<'l> {
    /// `None` where the cell has nothing in common with the reference.
    pub(super) fn new(
        run: &Run<'_>,
        level: &Level<'_>,
        (setting, credit): (&str, f64),
        rule: &'l Rule,
    ) -> Option<Self> {
        let evidence = level.between(setting, &run.suite.reference().label)?;
        let family = run.suite.settings.len() as f64 - 1.0;
        Some(Self { evidence, rule, confidence: run.suite.confidence, family, credit })
    }

    /// What it would take; `further_s` comes from what the units so far took.
    pub(super) fn outlook(&self, busy_s: Option<f64>) -> Outlook {
        let (seen, needed) = (self.evidence.len(), self.needed());
        let further = needed.map(|needed| needed.saturating_sub(seen) as f64 / seen.max(1) as f64);
        Outlook {
            unit: self.evidence.unit(),
            seen: seen as u32,
            needed: needed.map(|needed| needed as u32),
            further_s: further.zip(busy_s).map(|(further, busy_s)| further * busy_s),
        }
    }

    /// Units in all with which the verdict is expected.
    fn needed(&self) -> Option<usize> {
        let seen = self.evidence.len().max(2);
        let decides = |total: usize| self.decided(&self.evidence.continued(total, 0.0)).is_some();
        let mut low = seen;
        let mut high = seen;
        while !decides(high) {
            if high >= MOST {
                return None;
            }
            low = high;
            high = (high * 2).min(MOST);
        }
        while low + 1 < high {
            let middle = usize::midpoint(low, high);
            if decides(middle) { high = middle } else { low = middle }
        }
        Some(high)
    }

    /// Whether so many units in all leave it open even if the further ones are better, or worse, than those that there are by
    /// [`LUCK`] standard errors.
    pub(super) fn is_hopeless_with(&self, total: usize) -> bool {
        let Some(luck) = self.evidence.standard_error().map(|error| LUCK * error) else { return false };
        [luck, 0.0, -luck].iter().all(|&shift| self.decided(&self.evidence.continued(total, shift)).is_none())
    }

    fn decided(&self, evidence: &Evidence) -> Option<Verdict> {
        let (low, high) = evidence.confidence_sequence(self.confidence)?;
        let estimate =
            Estimate { value: evidence.mean()?, low: Some(low), high: Some(high), n: evidence.len() as u32 };
        let p = (self.family / evidence.e_value()).min(1.0);
        let verdict = self.rule.verdict(Some(&estimate), Some(p), self.credit);
        (verdict != Verdict::NotSeparable).then_some(verdict)
    }

    pub(super) fn seen(&self) -> usize {
        self.evidence.len()
    }

    /// Fewer units than this say nothing of how the further ones will be.
    pub(super) const fn enough_to_give_up(&self) -> usize {
        match self.evidence.unit() {
            EvidenceUnit::Pairs => 40,
            EvidenceUnit::Texts => 8,
        }
    }
}

/// Says of every open cell what its verdict would take, where cells may be looked at any time. Elsewhere the detectable
/// difference says it.
pub(super) fn fill_in(run: &Run<'_>, level: &Level<'_>, cells: &mut [Measured]) {
    if !run.suite.stops_by_outcome() {
        return;
    }
    let rule = level.rule();
    for cell in cells.iter_mut().filter(|cell| cell.summary.verdict == Verdict::NotSeparable) {
        let setting = cell.summary.setting.as_str();
        let open = Open::new(run, level, (setting, cell.credit), &rule);
        cell.summary.outlook = open.map(|open| open.outlook(busy_s(run, setting, level.context)));
    }
}

/// Time that servers worked for a cell's pairs (s): on its own trials, and on the reference's. `None` where a trial has no
/// time.
pub(super) fn busy_s(run: &Run<'_>, setting: &str, context: u32) -> Option<f64> {
    // One that comes from a pack costs nothing more.
    let reference = Some(run.suite.reference().label.as_str()).filter(|_| run.suite.pack.is_none());
    let visits = [Some(setting), reference.filter(|reference| *reference != setting)].into_iter().flatten();
    let trials = visits.flat_map(|setting| run.trials(VisitKey { setting, context, replicate: 0 }));
    trials.map(|trial| trial.measured(metric::TOTAL_S, Source::Client)).sum()
}

/// Returns what the verdict of an open cell takes yet: `about 9 texts would be needed, 40 s more of the servers' time`.
pub(crate) fn words(outlook: &Outlook) -> String {
    let Outlook { unit, needed, further_s, .. } = *outlook;
    format!("{} would be needed{}", units(unit, needed), servers_time(further_s, " more"))
}

/// Returns what a verdict takes in all: `about 9 texts, 40 s of the servers' time`.
pub(crate) fn takes(unit: EvidenceUnit, needed: Option<u32>, busy_s: Option<f64>) -> String {
    format!("{}{}", units(unit, needed), servers_time(busy_s, ""))
}

fn units(unit: EvidenceUnit, needed: Option<u32>) -> String {
    let unit = unit.name();
    match needed {
        None => format!("more than {} {unit}", thousands(MOST as u64)),
        Some(needed) => format!("about {} {unit}", thousands(u64::from(needed))),
    }
}

fn servers_time(seconds: Option<f64>, more: &str) -> String {
    seconds.map_or(String::new(), |seconds| format!(", {}{more} of the servers' time", about(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::stats::{Differences, StudentUnits};

    const RULE: Rule = Rule { margin: 0.05, floor: Some(0.0), room: 1.0, level: 0.05, anytime: true };

    #[test]
    fn what_a_verdict_takes_reads_alike_whoever_says_it() {
        let outlook =
            Outlook { unit: EvidenceUnit::Texts, seen: 5, needed: Some(1200), further_s: Some(40.0) };
        assert_eq!(words(&outlook), "about 1,200 texts would be needed, 40 s more of the servers' time");
        assert_eq!(
            takes(EvidenceUnit::Texts, Some(1200), Some(40.0)),
            "about 1,200 texts, 40 s of the servers' time"
        );
        let never = Outlook { unit: EvidenceUnit::Pairs, needed: None, further_s: None, ..outlook };
        assert_eq!(words(&never), "more than 100,000 pairs would be needed");
        assert_eq!(takes(EvidenceUnit::Pairs, None, None), "more than 100,000 pairs");
    }

    fn open(evidence: Evidence) -> Open<'static> {
        Open { evidence, rule: &RULE, confidence: 0.95, family: 1.0, credit: 0.0 }
    }

    fn texts(means: &[f64]) -> Open<'static> {
        open(Evidence::Texts(StudentUnits::new(means.to_vec(), 0.0)))
    }

    fn pairs(losses: usize, gains: usize, ties: usize) -> Open<'static> {
        let values = [(-1.0, losses), (1.0, gains), (0.0, ties)];
        let all = values.iter().flat_map(|(value, count)| std::iter::repeat_n(*value, *count));
        open(Evidence::Bets(Differences::new(all)))
    }

    #[test]
    fn the_units_that_a_verdict_takes_decide_it_and_one_fewer_do_not() {
        for open in
            [texts(&[0.05, -0.06, 0.04, -0.03, 0.02]), texts(&[-0.2, -0.02, -0.1, 0.01]), pairs(6, 5, 60)]
        {
            let needed = open.outlook(Some(10.0)).needed.unwrap() as usize;
            assert!(needed > open.seen());
            let at = |total| open.decided(&open.evidence.continued(total, 0.0)).is_some();
            assert!(at(needed) && !at(needed - 1), "{needed}");
        }
    }

    #[test]
    fn time_grows_with_the_units_that_are_missing() {
        let outlook = texts(&[0.05, -0.06, 0.04, -0.03, 0.02]).outlook(Some(10.0));
        let expected = (f64::from(outlook.needed.unwrap()) - 5.0) / 5.0 * 10.0;
        assert!((outlook.further_s.unwrap() - expected).abs() < 1e-9);
    }

    /// A difference at the margin itself: no number of cases decides it.
    #[test]
    fn what_lies_on_the_margin_is_given_up_and_what_may_yet_move_is_not() {
        let on_the_margin = pairs(26, 20, 74);
        assert_eq!(on_the_margin.outlook(None).further_s, None);
        assert!(on_the_margin.is_hopeless_with(160));
        assert!(!on_the_margin.is_hopeless_with(4000));
        assert!(!pairs(0, 0, 60).is_hopeless_with(120), "equal so far");
        assert!(!texts(&[-0.2, -0.1, -0.15, -0.02]).is_hopeless_with(16), "much worse so far");
    }
}
