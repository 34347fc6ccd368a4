//! The search itself: which load is next, from what those before it answered. It knows no step and no clock.
//!
//! A wrong answer of a bisection is always one of its two ends, if all later ones are right: a load that held by chance
//! stays the highest that held, and one that failed by chance the lowest that failed. So both ends are visited a second
//! time before the search is settled.

use crate::record::suite::LoadSearch;

/// What a load answered, all of its visits together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Answer {
    /// The load (streams, or requests/s).
    pub(super) load: f64,
    pub(super) held: bool,
    /// How often it was visited, at least once.
    pub(super) visits: u32,
}

/// Between which loads the highest one lies.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bracket {
    /// The highest load that held, below the lowest that failed; `None`: none did.
    pub held: Option<f64>,
    /// The lowest load that failed; `None`: none did.
    pub failed: Option<f64>,
}

/// What a search does next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ask {
    /// Visit this load, for the so-manieth time (from 0).
    Visit(f64, u32),
    /// Nothing: both ends are confirmed.
    Nothing,
    /// Nothing, though answers contradict each other: there were too many visits.
    GivenUp,
}

impl Bracket {
    fn of(answers: &[Answer]) -> Self {
        let loads = |held: bool| answers.iter().filter(move |answer| answer.held == held).map(|one| one.load);
        let failed = loads(false).min_by(f64::total_cmp);
        let below = |load: &f64| failed.is_none_or(|failed| *load < failed);
        Self { held: loads(true).filter(below).max_by(f64::total_cmp), failed }
    }
}

/// The search for the limits: from the lowest load up, then between, then both ends again.
pub(super) fn limits(search: &LoadSearch, answers: &[Answer]) -> (Bracket, Ask) {
    let bracket = Bracket::of(answers);
    let visits = |load: f64| answers.iter().find(|answer| answer.load == load).map_or(0, |one| one.visits);
    let next = match (bracket.held, bracket.failed) {
        (None, None) => Some(search.from),
        (None, Some(_)) => None,
        (Some(held), None) => (held < search.to).then(|| search.doubled(held)),
        (Some(held), Some(failed)) => search.between(held, failed),
    };
    let ends = [bracket.held, bracket.failed].into_iter().flatten();
    let unconfirmed = ends.into_iter().find(|end| visits(*end) < 2);
    let ask = match next.or(unconfirmed) {
        None => Ask::Nothing,
        Some(_) if answers.iter().map(|one| one.visits).sum::<u32>() >= search.most_limit_steps() => {
            Ask::GivenUp
        }
        Some(load) => Ask::Visit(load, visits(load)),
    };
    (bracket, ask)
}

/// The search for quality, at and below the highest load within the limits: that one first, and only if it failed the
/// lowest and those between. `answers` are of loads up to `top`.
pub(super) fn quality(search: &LoadSearch, top: f64, answers: &[Answer]) -> (Bracket, Option<f64>) {
    let below: Vec<Answer> = answers.iter().copied().filter(|answer| answer.load <= top).collect();
    let bracket = Bracket::of(&below);
    let asked = |load: f64| below.iter().any(|answer| answer.load == load);
    let next = match (bracket.held, bracket.failed) {
        _ if !asked(top) => Some(top),
        (_, None) => None,
        (None, Some(_)) => (!asked(search.from)).then_some(search.from),
        (Some(held), Some(failed)) => search.between(held, failed),
    };
    (bracket, next)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::suite::SearchOver;

    fn search(over: SearchOver, from: f64, to: f64, within: f64) -> LoadSearch {
        LoadSearch { over, from, to, within, goal: 0.95 }
    }

    /// Goes through a search; what it found, and the loads in order.
    fn play(search: &LoadSearch, mut holds: impl FnMut(f64, u32) -> bool) -> (Bracket, Ask, Vec<f64>) {
        let mut answers: Vec<Answer> = Vec::new();
        let mut visited = Vec::new();
        loop {
            let (bracket, ask) = limits(search, &answers);
            let Ask::Visit(load, visit) = ask else { return (bracket, ask, visited) };
            assert!(visit < 2, "{load} is visited a third time");
            assert!((search.from..=search.to).contains(&load), "{load}");
            assert!(visited.len() < 1000, "no end: {visited:?}");
            visited.push(load);
            let held = holds(load, visit);
            match answers.iter_mut().find(|answer| answer.load == load) {
                Some(known) => {
                    assert_eq!(known.visits, visit);
                    *known = Answer { load, held, visits: visit + 1 };
                }
                None => answers.push(Answer { load, held, visits: 1 }),
            }
        }
    }

    /// As [`play`] for quality; every load is asked once.
    fn play_quality(search: &LoadSearch, top: f64, holds: impl Fn(f64) -> bool) -> (Bracket, Vec<f64>) {
        let (mut answers, mut asked) = (Vec::new(), Vec::new());
        loop {
            let (bracket, next) = quality(search, top, &answers);
            let Some(load) = next else { return (bracket, asked) };
            assert!(!asked.contains(&load), "{load} is asked twice");
            asked.push(load);
            answers.push(Answer { load, held: holds(load), visits: 1 });
        }
    }

    #[test]
    fn it_doubles_then_bisects_then_looks_at_both_ends_again() {
        let streams = search(SearchOver::Streams, 1.0, 64.0, 0.1);
        let (bracket, ask, visited) = play(&streams, |load, _| load <= 9.0);
        assert_eq!(bracket, Bracket { held: Some(9.0), failed: Some(10.0) });
        assert_eq!(ask, Ask::Nothing);
        assert_eq!(visited, [1.0, 2.0, 4.0, 8.0, 16.0, 11.0, 9.0, 10.0, 9.0, 10.0]);
    }

    #[test]
    fn both_ends_of_the_range_are_ends_of_the_search() {
        let streams = search(SearchOver::Streams, 2.0, 12.0, 0.1);
        let (bracket, _, visited) = play(&streams, |_, _| true);
        assert_eq!(bracket, Bracket { held: Some(12.0), failed: None });
        assert_eq!(visited, [2.0, 4.0, 8.0, 12.0, 12.0]);
        let (bracket, _, visited) = play(&streams, |_, _| false);
        assert_eq!(bracket, Bracket { held: None, failed: Some(2.0) });
        assert_eq!(visited, [2.0, 2.0]);
    }

    #[test]
    fn a_load_that_answered_by_chance_is_found_out() {
        let streams = search(SearchOver::Streams, 1.0, 64.0, 0.1);
        // 8 fails the first time only.
        let (bracket, ask, _) = play(&streams, |load, visit| load <= 9.0 && (load != 8.0 || visit > 0));
        assert_eq!((bracket, ask), (Bracket { held: Some(9.0), failed: Some(10.0) }, Ask::Nothing));
        // 16 holds the first time only.
        let (bracket, ask, _) = play(&streams, |load, visit| load <= 9.0 || (load == 16.0 && visit == 0));
        assert_eq!((bracket, ask), (Bracket { held: Some(9.0), failed: Some(10.0) }, Ask::Nothing));
    }

    #[test]
    fn quality_is_asked_at_the_top_and_further_down_only_if_it_fell_there() {
        let streams = search(SearchOver::Streams, 1.0, 64.0, 0.1);
        let (bracket, asked) = play_quality(&streams, 40.0, |_| true);
        assert_eq!((bracket, asked), (Bracket { held: Some(40.0), failed: None }, vec![40.0]));
        let (bracket, asked) = play_quality(&streams, 40.0, |load| load <= 5.0);
        assert_eq!(bracket, Bracket { held: Some(5.0), failed: Some(6.0) });
        assert_eq!(asked, [40.0, 1.0, 6.0, 2.0, 3.0, 4.0, 5.0]);
        let (bracket, asked) = play_quality(&streams, 40.0, |_| false);
        assert_eq!((bracket.held, bracket.failed, asked.len()), (None, Some(1.0), 2));
    }

    fn any_search() -> impl Strategy<Value = LoadSearch> {
        let streams = (1_u32..64, 1_u32..960, 0.01..=1.0_f64).prop_map(|(from, above, within)| {
            search(SearchOver::Streams, from.into(), (from + above).into(), within)
        });
        let rate = (0.001..100.0_f64, 1.01..10.0_f64, 0.01..=1.0_f64)
            .prop_map(|(from, ratio, within)| search(SearchOver::Rate, from, from * ratio, within));
        prop_oneof![streams, rate]
    }

    /// Whether a bracket is as close as asked; one stream apart, or, for rates, a digit.
    fn is_close(search: &LoadSearch, held: f64, failed: f64) -> bool {
        failed <= held * (1.0 + search.within)
            || (search.over == SearchOver::Streams && failed - held <= 1.0)
            || (search.over == SearchOver::Rate && failed <= held * 1.003)
    }

    proptest! {
        #[test]
        fn a_threshold_is_found_within_the_resolution_and_the_bound(search in any_search(), share in 0.0..1.1_f64) {
            let threshold = search.from * (search.to / search.from).powf(share) - 0.001 * search.from;
            let (bracket, ask, visited) = play(&search, |load, _| load <= threshold);
            prop_assert_eq!(ask, Ask::Nothing);
            prop_assert!(visited.len() as u32 <= search.expected_steps(), "{:?}", visited);
            let (held, failed) = (bracket.held, bracket.failed);
            prop_assert!(held.is_none_or(|held| held <= threshold));
            prop_assert!(failed.is_none_or(|failed| failed > threshold));
            match (held, failed) {
                (None, failed) => prop_assert_eq!(failed, Some(search.from)),
                (held, None) => prop_assert_eq!(held, Some(search.to)),
                (Some(held), Some(failed)) => prop_assert!(is_close(&search, held, failed), "{} {}", held, failed),
            }
        }

        #[test]
        fn answers_without_order_end_it_all_the_same(search in any_search(), seed in any::<u64>()) {
            let (bracket, _, visited) = play(&search, |load, visit| {
                let mixed = (load.to_bits() ^ u64::from(visit) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                mixed >> 63 == 0
            });
            prop_assert!(visited.len() as u32 <= search.most_limit_steps());
            let both = bracket.held.zip(bracket.failed);
            prop_assert!(both.is_none_or(|(held, failed)| held < failed));
        }

        #[test]
        fn quality_is_found_within_the_bound(search in any_search(), share in 0.0..1.1_f64) {
            let threshold = search.from * (search.to / search.from).powf(share) - 0.001 * search.from;
            let (bracket, asked) = play_quality(&search, search.to, |load| load <= threshold);
            prop_assert!(asked.len() as u32 <= search.most_crowds(), "{:?}", asked);
            if let Some((held, failed)) = bracket.held.zip(bracket.failed) {
                prop_assert!(is_close(&search, held, failed), "{} {}", held, failed);
            }
        }
    }
}
