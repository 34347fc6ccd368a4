//! A search as its setting's steps and cases left it: what was found, and what comes next.

use super::bisect::{self, Answer, Ask, Bracket};
use super::step::{crowd, share_kept};
use crate::error::Result;
use crate::record::journal::loadtest::LoadtestStep;
use crate::record::suite::{Arrivals, LoadSearch, LoadSpec};

/// What the cases of a crowd came to beside the same cases alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrowdAnswer {
    /// They were not all asked yet.
    Open,
    /// They are not shown to be worse.
    Held,
    /// They got worse.
    Worse,
    /// No server was there to ask.
    Unknown,
}

/// What a search does next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next {
    /// A step; how often this load was visited before.
    Step(Arrivals, u32),
    /// The cases alone, with so many under way (2 or more), and alone again, as far as they were not asked.
    Cases(u32),
    /// Nothing.
    Over,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It goes on.
    Open,
    /// Both ends are found.
    Found,
    /// Loads answered differently when they were visited again, until there were too many visits.
    Unsettled,
    /// Nothing can be measured: no server came up.
    NotMeasured,
}

/// How far the search of a setting came.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// The loads within the limits.
    pub limits: Bracket,
    /// How the search for them ended.
    pub limits_end: End,
    /// The loads within the limits at which nothing got worse; `None` where no cases are asked, or the limits are not found
    /// yet, or no load keeps them.
    pub quality: Option<Bracket>,
    /// How the search for those ended.
    pub quality_end: End,
    /// What comes next.
    pub next: Next,
}

/// The visits of a load.
struct Visited<'a> {
    load: f64,
    steps: Vec<&'a LoadtestStep>,
    /// Mean share of requests that keep the limits, of its visits.
    share: f64,
}

impl Course {
    /// From the steps of one setting, in any order; `cases` says what the cases with so many under way came to.
    ///
    /// # Errors
    /// Those of `cases`.
    pub fn of<'a>(
        spec: &LoadSpec,
        search: &LoadSearch,
        steps: impl Iterator<Item = &'a LoadtestStep>,
        cases: impl FnMut(u32) -> Result<CrowdAnswer>,
    ) -> Result<Self> {
        let Some(visited) = visits(spec, search, steps) else { return Ok(Self::not_measured()) };
        let answers: Vec<Answer> = visited.iter().map(|load| load.answer(search)).collect();
        let (limits, ask) = bisect::limits(search, &answers);
        let limits_end = match ask {
            Ask::Visit(load, visit) => {
                let next = Next::Step(search.arrivals(load), visit);
                return Ok(Self { limits, next, ..Self::open() });
            }
            Ask::Nothing => End::Found,
            Ask::GivenUp => End::Unsettled,
        };
        let course = Self { limits, limits_end, next: Next::Over, ..Self::open() };
        match limits.held.filter(|_| spec.quality.is_some()) {
            Some(top) => course.with_quality(spec, search, top, &visited, cases),
            None => Ok(Self { quality_end: End::Found, ..course }),
        }
    }

    /// How the search for the limits ended, whatever the cases came to.
    pub fn limits_end<'a>(
        spec: &LoadSpec,
        search: &LoadSearch,
        steps: impl Iterator<Item = &'a LoadtestStep>,
    ) -> End {
        Self::of(spec, search, steps, |_| Ok(CrowdAnswer::Open)).map_or(End::Open, |course| course.limits_end)
    }

    fn open() -> Self {
        Self {
            limits: Bracket::default(),
            limits_end: End::Open,
            quality: None,
            quality_end: End::Open,
            next: Next::Over,
        }
    }

    fn not_measured() -> Self {
        Self { limits_end: End::NotMeasured, quality_end: End::NotMeasured, ..Self::open() }
    }

    /// At the highest load within the limits, and below it where cases got worse there.
    fn with_quality(
        self,
        spec: &LoadSpec,
        search: &LoadSearch,
        top: f64,
        visited: &[Visited<'_>],
        mut cases: impl FnMut(u32) -> Result<CrowdAnswer>,
    ) -> Result<Self> {
        let mut answers = Vec::new();
        for load in visited {
            let held = match load.crowd(spec) {
                // Alone is what crowds are compared with.
                ..=1 => true,
                streams => match cases(streams)? {
                    CrowdAnswer::Open => continue,
                    CrowdAnswer::Unknown => return Ok(Self { quality_end: End::NotMeasured, ..self }),
                    CrowdAnswer::Held => true,
                    CrowdAnswer::Worse => false,
                },
            };
            answers.push(Answer { load: load.load, held, visits: 1 });
        }
        let (bracket, next) = bisect::quality(search, top, &answers);
        let course = Self { quality: Some(bracket), ..self };
        let Some(load) = next else { return Ok(Self { quality_end: End::Found, ..course }) };
        let next = match visited.iter().find(|known| known.load == load) {
            Some(known) => Next::Cases(known.crowd(spec)),
            None if visited.iter().map(|known| known.steps.len()).sum::<usize>()
                >= search.most_steps(true) as usize =>
            {
                return Ok(Self { quality_end: End::Unsettled, ..course });
            }
            None => Next::Step(search.arrivals(load), 0),
        };
        Ok(Self { next, ..course })
    }
}

/// The loads that were visited; `None` when a step could not be tried at all.
fn visits<'a>(
    spec: &LoadSpec,
    search: &LoadSearch,
    steps: impl Iterator<Item = &'a LoadtestStep>,
) -> Option<Vec<Visited<'a>>> {
    let mut visited: Vec<Visited<'a>> = Vec::new();
    for step in steps {
        let Some(load) = search.load_of(step.arrivals) else { continue };
        let share = share_kept(step, spec)?;
        match visited.iter_mut().find(|known| known.load == load) {
            Some(known) => {
                let before = known.steps.len() as f64;
                known.share = (known.share * before + share) / (before + 1.0);
                known.steps.push(step);
            }
            None => visited.push(Visited { load, steps: vec![step], share }),
        }
    }
    Some(visited)
}

impl Visited<'_> {
    fn answer(&self, search: &LoadSearch) -> Answer {
        // The small term is for sums of shares.
        let held = self.share + 1e-9 >= search.goal;
        Answer { load: self.load, held, visits: self.steps.len() as u32 }
    }

    /// That of its first visit.
    fn crowd(&self, spec: &LoadSpec) -> u32 {
        let first = self.steps.iter().min_by_key(|step| step.visit);
        first.map_or(1, |step| crowd(step, spec.slots))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::capacity::step::tests::{spec, step};
    use crate::record::suite::{LoadQuality, SearchOver};

    fn search(over: SearchOver, to: f64) -> LoadSearch {
        LoadSearch { over, from: 1.0, to, within: 0.1, goal: 0.9 }
    }

    fn with_quality(spec: LoadSpec) -> LoadSpec {
        let quality = LoadQuality { task: "t".into(), samples: 4, context: 512, arm: None };
        LoadSpec { quality: Some(quality), ..spec }
    }

    /// Goes through a search on a server that keeps the limits up to `capacity`, and whose answers are as good with up to
    /// `good` under way; the course at its end, the steps and the crowds.
    fn play(
        (spec, search): (&LoadSpec, &LoadSearch),
        capacity: f64,
        good: u32,
    ) -> (Course, Vec<(f64, u32)>, Vec<u32>) {
        let (mut steps, mut crowds): (Vec<LoadtestStep>, Vec<u32>) = (Vec::new(), Vec::new());
        loop {
            let answer = |streams| match crowds.contains(&streams) {
                false => CrowdAnswer::Open,
                true if streams > good => CrowdAnswer::Worse,
                true => CrowdAnswer::Held,
            };
            let course = Course::of(spec, search, steps.iter(), |streams| Ok(answer(streams))).unwrap();
            match course.next {
                Next::Step(arrivals, visit) => {
                    let kept = if search.load_of(arrivals).unwrap() <= capacity { 10 } else { 5 };
                    steps.push(LoadtestStep { visit, ..step(arrivals, kept) });
                }
                Next::Cases(streams) => crowds.push(streams),
                Next::Over => {
                    let of = |step: &LoadtestStep| (search.load_of(step.arrivals).unwrap(), step.visit);
                    return (course, steps.iter().map(of).collect(), crowds);
                }
            }
            assert!(steps.len() as u32 <= search.most_steps(true), "{steps:?}");
        }
    }

    #[test]
    fn the_limits_come_first_and_cases_are_asked_at_the_highest_load_within_them() {
        let search = search(SearchOver::Streams, 16.0);
        let (course, steps, crowds) = play((&with_quality(spec()), &search), 5.0, 9);
        assert_eq!(course.limits, Bracket { held: Some(5.0), failed: Some(6.0) });
        let visited = [(1., 0), (2., 0), (4., 0), (8., 0), (6., 0), (5., 0), (5., 1), (6., 1)];
        assert_eq!(steps, visited);
        assert_eq!(crowds, [5]);
        assert_eq!(course.quality, Some(Bracket { held: Some(5.0), failed: None }));
        assert_eq!((course.limits_end, course.quality_end), (End::Found, End::Found));
    }

    #[test]
    fn where_answers_got_worse_the_highest_load_below_is_looked_for() {
        let search = search(SearchOver::Streams, 16.0);
        let (course, steps, crowds) = play((&with_quality(spec()), &search), 5.0, 2);
        // One stream is alone, so it is not asked; a load between has a step, too.
        assert_eq!(crowds, [5, 2, 3]);
        assert_eq!(steps.last(), Some(&(3., 0)));
        assert_eq!(course.quality, Some(Bracket { held: Some(2.0), failed: Some(3.0) }));
    }

    #[test]
    fn a_rate_is_asked_in_the_crowd_that_was_under_way() {
        let search = search(SearchOver::Rate, 8.0);
        let spec = LoadSpec { slots: 4, ..with_quality(spec()) };
        let (course, _, crowds) = play((&spec, &search), 3.0, 9);
        assert!(course.limits.held.unwrap() <= 3.0 && course.limits.failed.unwrap() > 3.0);
        // Requests of the made-up steps last ten times as long as they are apart.
        assert_eq!(crowds, [4]);
    }

    #[test]
    fn without_cases_nothing_is_asked_and_without_a_load_neither() {
        let search = search(SearchOver::Streams, 8.0);
        let (course, _, crowds) = play((&spec(), &search), 99.0, 0);
        assert_eq!((course.limits.held, course.limits.failed, course.quality), (Some(8.0), None, None));
        assert_eq!(crowds, [0; 0]);
        let (course, steps, crowds) = play((&with_quality(spec()), &search), 0.0, 0);
        assert_eq!((course.limits.held, course.limits.failed), (None, Some(1.0)));
        assert_eq!((steps.len(), crowds.len(), course.quality), (2, 0, None));
    }

    #[test]
    fn a_load_that_the_server_broke_under_failed_and_one_that_met_no_server_ends_the_search() {
        let search = search(SearchOver::Streams, 8.0);
        let held = step(Arrivals::Closed(1), 10);
        let broke = LoadtestStep { broke: Some("died".into()), ..step(Arrivals::Closed(2), 10) };
        let of = |steps: &[&LoadtestStep]| {
            Course::of(&spec(), &search, steps.iter().copied(), |_| Ok(CrowdAnswer::Open)).unwrap()
        };
        let course = of(&[&held, &broke]);
        assert_eq!(course.limits, Bracket { held: Some(1.0), failed: Some(2.0) });
        let never = LoadtestStep { requests: Vec::new(), ..broke };
        let course = of(&[&held, &never]);
        assert_eq!((course.limits_end, course.next), (End::NotMeasured, Next::Over));
    }

    #[test]
    fn both_visits_of_a_load_decide_together() {
        let search = search(SearchOver::Streams, 2.0);
        let steps = |kept| {
            let second = LoadtestStep { visit: 1, ..step(Arrivals::Closed(2), kept) };
            [step(Arrivals::Closed(1), 10), step(Arrivals::Closed(2), 10), second]
        };
        let limits = |steps: &[LoadtestStep]| {
            let course = Course::of(&spec(), &search, steps.iter(), |_| Ok(CrowdAnswer::Open)).unwrap();
            course.limits
        };
        // 90% of both together are asked for.
        assert_eq!(limits(&steps(8)).held, Some(2.0));
        assert_eq!(limits(&steps(7)), Bracket { held: Some(1.0), failed: Some(2.0) });
    }
}
