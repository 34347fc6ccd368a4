//! A run whose suite has `rule = "best"`: visit by visit, until the best setting is shown.

use super::progress::Display;
use super::session::Session;
use super::setup::runtime;
use crate::cli::Global;
use crate::error::{Error, Kind, Result};
use crate::judge::analysis::search;
use crate::judge::analysis::search::{NextVisit, Step};
use crate::judge::report::{about, plain};
use crate::measure::runner::{Ending, Interrupt, Prepared};
use crate::record::capacity::CrowdAnswer;
use crate::record::journal;
use crate::record::journal::{Journal, Place, Record};
use crate::record::plan::{Plan, Visit};
use crate::record::{Decision, Look, StopRule};

/// Inside of a visit nothing is decided.
struct NeverInside;

impl StopRule for NeverInside {
    fn decide(&self, _: &Journal, _: u32) -> Result<Look> {
        Ok(Look::default())
    }

    /// Such a suite has no load phase.
    fn crowd(&self, _: &Journal, _: &str, _: u32) -> Result<CrowdAnswer> {
        Ok(CrowdAnswer::Open)
    }
}

impl Session {
    /// Goes from visit to visit; what ends a setting is told, and written down before the next visit.
    ///
    /// # Errors
    /// As the runner's; that a single setting does not start ends that setting alone.
    pub(super) fn search(
        &mut self,
        plan: &Plan,
        prepared: &Prepared,
        display: &mut Display,
        global: &Global,
        place: &Place,
    ) -> Result<Ending> {
        let runtime = runtime()?;
        let interrupt = runtime.block_on(async { Interrupt::listen() })?;
        let mut before = None;
        loop {
            let step = search::next(&self.journal, plan)?;
            for decision in &step.decisions {
                self.writer.append(&Record::Decision(Box::new(decision.clone())))?;
                // That of its second visits alone says nothing new.
                if decision.replicate.is_none() {
                    display.tell(&ended(decision));
                }
            }
            self.journal.decisions.extend(step.decisions.iter().cloned());
            let Some(next) = step.next.clone() else { return Ok(Ending::Complete) };
            if before.as_ref() == Some(&next) {
                let what =
                    format!("the visit of {} in round {} left trials undone", next.setting, next.round + 1);
                return Err(Error::runtime(what).hint("this is a fault of kneepoint: please report it"));
            }
            display.tell(&coming(&step, &next));
            let visit = only(plan, &next);
            self.expect(&visit, prepared, display, global);
            let run = self.run(&visit, prepared, display, &NeverInside, &interrupt, place);
            let ending = runtime.block_on(run);
            self.journal = journal::load(&self.folder)?;
            match ending {
                Ok(Ending::Complete) => {}
                Err(error) if self.goes_on_after(&error, &next) => {}
                other => return other,
            }
            before = Some(next);
        }
    }

    /// A setting whose server does not start is no reason to stop, unless it is what the others are compared with.
    fn goes_on_after(&self, error: &Error, next: &NextVisit) -> bool {
        error.kind() == Kind::EngineStart && next.setting != self.suite.reference().label
    }
}

/// The part of a plan that is one visit.
fn only(plan: &Plan, next: &NextVisit) -> Plan {
    let is_next = |visit: &&Visit| {
        let of = (visit.cell.setting.label.as_str(), visit.round, visit.replicate);
        of == (next.setting.as_str(), next.round, next.replicate)
    };
    Plan { visits: plan.visits.iter().filter(is_next).cloned().collect(), load: Vec::new() }
}

fn ended(decision: &Decision) -> String {
    let tried = if decision.untried { "not tried" } else { "ends" };
    format!("  {} {tried}: {}", plain(&decision.setting), plain(&decision.because))
}

fn coming(step: &Step, next: &NextVisit) -> String {
    let again = if next.replicate > 0 { " a second time, for the noise" } else { "" };
    let open = match step.open.len() {
        0 => "what fits together is tried now".to_owned(),
        1 => "1 setting is open".to_owned(),
        more => format!("{more} settings are open"),
    };
    let time = step.expected_s.map_or(String::new(), |seconds| format!(", about {}", about(seconds)));
    format!("{}{again}, round {} ({open}{time})", plain(&next.setting), next.round + 1)
}
