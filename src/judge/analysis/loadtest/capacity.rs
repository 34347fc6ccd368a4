//! What a search for the highest load found, and what stopped it.

use super::quality;
use crate::error::Result;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{
    CapacityCrowd, CapacityEnd, CapacityQuality, CapacityRow, CapacityStep, LoadCapacity, LoadLimit,
    LoadQualityRow, MissedLimit,
};
use crate::quantile::nearest_rank;
use crate::record::capacity::{Bracket, Course, CrowdAnswer, End, crowd, is_behind, share_kept, token_s};
use crate::record::journal::loadtest::{LoadtestRequest, LoadtestStep};
use crate::record::suite::{LoadLimits, LoadSearch, LoadSpec};

/// Every setting that a step was tried on.
pub(super) fn summary(
    run: &Run<'_>,
    spec: &LoadSpec,
    search: &LoadSearch,
    quality: &[LoadQualityRow],
) -> Result<LoadCapacity> {
    let settings = run.suite.settings.iter().map(|setting| setting.label.as_str());
    let tried = settings.filter(|label| run.journal.load.steps_of(label).next().is_some());
    let rows = tried.map(|label| {
        let steps: Vec<&LoadtestStep> = run.journal.load.steps_of(label).collect();
        let cases = |streams| {
            let asked = spec.quality.as_ref();
            Ok(asked.map_or(CrowdAnswer::Open, |asked| quality::crowd(run, asked, label, streams)))
        };
        let course = Course::of(spec, search, steps.iter().copied(), cases)?;
        let mine = quality.iter().filter(|row| row.setting == label).collect();
        Ok(Setting { label, spec, search, steps, quality: mine }.row(&course))
    });
    Ok(LoadCapacity { search: *search, rows: rows.collect::<Result<_>>()? })
}

/// What is known of a setting.
struct Setting<'a> {
    label: &'a str,
    spec: &'a LoadSpec,
    search: &'a LoadSearch,
    steps: Vec<&'a LoadtestStep>,
    quality: Vec<&'a LoadQualityRow>,
}

impl Setting<'_> {
    fn row(&self, course: &Course) -> CapacityRow {
        let quality = self.spec.quality.as_ref().map(|_| {
            let bracket = course.quality.unwrap_or_default();
            CapacityQuality {
                held: bracket.held.map(|load| self.crowd(load)),
                failed: bracket.failed.map(|load| self.crowd(load)),
                end: end(course.quality_end, bracket),
            }
        });
        CapacityRow {
            setting: self.label.to_owned(),
            held: course.limits.held.map(|load| self.step(load)),
            failed: course.limits.failed.map(|load| self.step(load)),
            end: end(course.limits_end, course.limits),
            quality,
        }
    }

    /// The visits of a load.
    fn visits(&self, load: f64) -> impl Iterator<Item = &LoadtestStep> {
        let arrivals = self.search.arrivals(load);
        self.steps.iter().copied().filter(move |step| step.arrivals == arrivals)
    }

    fn step(&self, load: f64) -> CapacityStep {
        let visits: Vec<&LoadtestStep> = self.visits(load).collect();
        let counted: Vec<&LoadtestRequest> = visits
            .iter()
            .filter(|step| step.broke.is_none())
            .flat_map(|step| step.requests.iter().filter(|request| request.counts))
            .collect();
        let shares: f64 = visits.iter().filter_map(|step| share_kept(step, self.spec)).sum();
        CapacityStep {
            arrivals: self.search.arrivals(load),
            visits: visits.len() as u32,
            share: shares / visits.len().max(1) as f64,
            requests: counted.len() as u32,
            failed: counted.iter().filter(|request| !request.is_done()).count() as u32,
            behind: visits.iter().filter(|step| is_behind(step, self.spec.slots)).count() as u32,
            broke: visits.iter().find_map(|step| step.broke.clone()),
            missed: missed(&counted, &self.spec.limits.unwrap_or_default(), self.search.goal),
        }
    }

    fn crowd(&self, load: f64) -> CapacityCrowd {
        let first = self.visits(load).min_by_key(|step| step.visit);
        let streams = first.map_or(1, |step| crowd(step, self.spec.slots));
        let row = self.quality.iter().find(|row| streams > 1 && row.streams == streams);
        CapacityCrowd {
            arrivals: self.search.arrivals(load),
            streams,
            difference: row.and_then(|row| row.difference),
            verdict: row.map(|row| row.verdict),
        }
    }
}

fn end(end: End, bracket: Bracket) -> CapacityEnd {
    match (end, bracket.held, bracket.failed) {
        (End::Open, ..) => CapacityEnd::Open,
        (End::NotMeasured, ..) => CapacityEnd::NotMeasured,
        (End::Unsettled, ..) => CapacityEnd::Unsettled,
        (End::Found, None, _) => CapacityEnd::Bottom,
        (End::Found, Some(_), None) => CapacityEnd::Top,
        (End::Found, Some(_), Some(_)) => CapacityEnd::Found,
    }
}

/// The limits that fewer requests kept than asked; one that was not answered kept none.
fn missed(counted: &[&LoadtestRequest], limits: &LoadLimits, goal: f64) -> Vec<MissedLimit> {
    let of = |limit: LoadLimit, allowed: Option<f64>, time: fn(&LoadtestRequest) -> Option<f64>| {
        let allowed_s = allowed?;
        let mut times: Vec<f64> = counted
            .iter()
            .map(|request| time(request).filter(|_| request.is_done()).unwrap_or(f64::INFINITY))
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        let reached = nearest_rank(&times, goal)?;
        (reached > allowed_s).then_some(MissedLimit {
            limit,
            allowed_s,
            reached_s: Some(reached).filter(|reached| reached.is_finite()),
        })
    };
    let all = [
        of(LoadLimit::Ttft, limits.ttft_s, |request| Some(request.first_s? - request.due_s)),
        of(LoadLimit::Itl, limits.itl_s, token_s),
        of(LoadLimit::E2e, limits.e2e_s, |request| Some(request.end_s? - request.due_s)),
    ];
    all.into_iter().flatten().collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::steps::tests as made;
    use super::*;
    use crate::judge::analysis::Registry;
    use crate::judge::analysis::summary::{LoadSummary, Verdict};
    use crate::judge::analysis::testing::{ITEMS, OTHER, PLAYED, Play, REFERENCE, right};
    use crate::record::capacity::Next;
    use crate::record::journal::Journal;
    use crate::record::journal::loadtest::LoadtestTrial;
    use crate::record::{KeyParts, Outcome, Score, Stage};

    const SEARCH: &str = "[load]\nrequests = 20\nprompt_tokens = 100\noutput_tokens = 11\n[load.limits]\nttft_s = 0.5\n\
                          [load.quality]\ntask = \"retrieval/niah_multikey_2\"\n\
                          [load.search]\nover = \"streams\"\nto = 8\n";

    /// A step in which every request keeps the limits, or none does.
    fn step(
        setting: &str,
        arrivals: crate::record::suite::Arrivals,
        visit: u32,
        holds: bool,
    ) -> LoadtestStep {
        let mut step = LoadtestStep { setting: setting.into(), arrivals, visit, ..made::step(20) };
        if !holds {
            step.requests.iter_mut().for_each(|request| request.first_s = Some(request.due_s + 0.7));
        }
        step
    }

    /// The cases of a round.
    fn round(
        setting: &str,
        streams: u32,
        replicate: u32,
        outcome: impl Fn(u32) -> Outcome,
    ) -> Vec<LoadtestTrial> {
        let play = Play::new("").reference();
        let template = play.journal.trials[0].clone();
        let asked = |index| LoadtestTrial {
            streams,
            trial: crate::record::Trial {
                key: KeyParts { setting: setting.into(), replicate, index, ..template.key.parts() }.key(),
                case: format!("{} {index}", PLAYED[0].0).into(),
                outcome: outcome(index),
                ..template.clone()
            },
        };
        (0..ITEMS).map(asked).collect()
    }

    /// Does what the search of a setting asks for, as a runner would, on a server that keeps the limits up to `capacity`
    /// streams and answers wrongly with more than `good` under way.
    fn search(journal: &mut Journal, setting: &str, capacity: u32, good: u32) {
        let spec = journal.header.suite.load.clone().unwrap();
        let of = spec.search.unwrap();
        loop {
            let steps: Vec<LoadtestStep> = journal.load.steps_of(setting).cloned().collect();
            let cases = |streams| super::super::crowd(journal, setting, streams);
            match Course::of(&spec, &of, steps.iter(), cases).unwrap().next {
                Next::Step(arrivals, visit) => {
                    let holds = of.load_of(arrivals).unwrap() <= f64::from(capacity);
                    journal.load.add_step(step(setting, arrivals, visit, holds));
                }
                Next::Cases(streams) => {
                    let first = journal.load.trials.iter().all(|asked| asked.trial.key.setting != setting);
                    let alone = |index| right(PLAYED[0].0, index);
                    let crowd =
                        |index| if streams > good { Outcome::Scored(Score::of(0.0)) } else { alone(index) };
                    if first {
                        journal
                            .load
                            .trials
                            .extend([0, 1].into_iter().flat_map(|again| round(setting, 1, again, alone)));
                    }
                    journal.load.trials.extend(round(setting, streams, 0, crowd));
                }
                Next::Over => return,
            }
        }
    }

    fn summary(journal: &Journal) -> LoadSummary {
        let run = Run::new(journal, &Registry).unwrap();
        super::super::summary(&run).unwrap().unwrap()
    }

    fn found(journal: &Journal) -> LoadCapacity {
        summary(journal).capacity.unwrap()
    }

    /// The reference bears five streams.
    pub(in super::super) fn of_a_run() -> LoadSummary {
        let mut journal = Play::new(SEARCH).reference().journal;
        search(&mut journal, REFERENCE, 5, 9);
        summary(&journal)
    }

    #[test]
    fn the_report_finds_what_the_search_found_and_says_what_stopped_it() {
        let mut journal = Play::new(SEARCH).reference().journal;
        search(&mut journal, REFERENCE, 5, 9);
        search(&mut journal, OTHER, 9, 3);
        let capacity = found(&journal);
        let [reference, other] = capacity.rows.as_slice() else { panic!("{capacity:?}") };

        let streams =
            |step: &Option<CapacityStep>| step.as_ref().map(|step| (step.arrivals.words(), step.share));
        assert_eq!(reference.end, CapacityEnd::Found);
        assert_eq!(streams(&reference.held), Some(("5 streams".into(), 1.0)));
        assert_eq!(streams(&reference.failed), Some(("6 streams".into(), 0.0)));
        let failed = reference.failed.clone().unwrap();
        assert_eq!((failed.visits, failed.requests, failed.failed), (2, 40, 0));
        let [missed] = failed.missed.as_slice() else { panic!("{failed:?}") };
        assert_eq!((missed.limit, missed.allowed_s), (LoadLimit::Ttft, 0.5));
        assert!((missed.reached_s.unwrap() - 0.7).abs() < 1e-9);
        let quality = reference.quality.clone().unwrap();
        assert_eq!((quality.end, quality.failed), (CapacityEnd::Top, None));
        let held = quality.held.unwrap();
        assert_eq!((held.streams, held.verdict), (5, Some(Verdict::NotSeparable)));
        assert_eq!(held.difference.unwrap().value, 0.0);

        // The limits are kept up to the end of the search, and answers are worse from four streams on.
        assert_eq!((other.end, &other.failed), (CapacityEnd::Top, &None));
        let quality = other.quality.clone().unwrap();
        assert_eq!(quality.end, CapacityEnd::Found);
        let (held, failed) = (quality.held.unwrap(), quality.failed.unwrap());
        assert_eq!((held.streams, failed.streams, failed.verdict), (3, 4, Some(Verdict::Worse)));
        assert!(failed.difference.unwrap().high.unwrap() < -0.5);
    }

    #[test]
    fn what_other_settings_show_changes_nothing_that_a_search_found() {
        let mut journal = Play::new(SEARCH).reference().journal;
        search(&mut journal, REFERENCE, 9, 3);
        let before = found(&journal).rows[0].clone();
        search(&mut journal, OTHER, 3, 1);
        assert_eq!(found(&journal).rows[0], before);
    }

    #[test]
    fn cases_that_met_no_server_end_a_search_without_a_verdict() {
        let mut journal = Play::new(SEARCH).reference().journal;
        search(&mut journal, REFERENCE, 9, 9);
        let gone = || Outcome::Failed { stage: Stage::Launch, error: "it did not start".into() };
        let crowded = journal.load.trials.iter_mut().filter(|asked| asked.streams > 1);
        crowded.for_each(|asked| asked.trial.outcome = gone());
        let quality = found(&journal).rows[0].quality.clone().unwrap();
        assert_eq!((quality.end, quality.held), (CapacityEnd::NotMeasured, None));
        // A run that was interrupted before the cases were asked says so.
        journal.load.trials.truncate(3);
        assert_eq!(found(&journal).rows[0].quality.clone().unwrap().end, CapacityEnd::Open);
    }
}
