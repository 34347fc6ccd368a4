//! Who measured what of a run that several workers measured, and whose figures of time, energy and memory count together.
//!
//! Machines of different kinds (processor, cards, driver) are never pooled: the kind that measured most counts. Of one kind, a
//! place whose speed on the reference's requests differs from the others' is left out; its answers count all the same. The same
//! requests of the reference lie on two places each (see [`share`](crate::record::share)), so every place has a neighbour that it
//! is laid beside.
//!
//! Formula: the speed of a place beside a neighbour is the median ratio over these requests; its noise is the median absolute
//! deviation times 1.4826 (Hampel 1974), and that of a median 1.2533 times as much as a mean's, over the root of their number
//! (Kendall and Stuart 1977, 10.12).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::summary::{Unit, WarningCode, WorkerRow};
use super::warnings::Finding;
use crate::quantile::median;
use crate::record::journal::Journal;
use crate::record::{Arm, Outcome, Source, Trial, metric};

/// Ratios closer to 1 than this share are the same speed, however sure they are.
const ALIKE: f64 = 0.05;
/// How many times its noise a difference must be.
const TIMES_NOISE: f64 = 3.0;
/// Requests that two places must have in common.
const MIN_SHARED: usize = 3;
/// From median absolute deviations to standard deviations, and from those of means to those of medians.
const NOISE_OF_MEDIAN: f64 = 1.4826 * 1.2533;

/// The places that a run was measured on.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// The place of each part of the journal.
    of_part: Vec<usize>,
    places: Vec<Place>,
    /// Replicates of the reference's first visit on further places.
    pub(crate) repeats: BTreeSet<u32>,
}

/// A machine, or some cards of one.
#[derive(Debug)]
struct Place {
    row: WorkerRow,
}

/// How fast a place is beside another, by the natural logarithm, and the noise of that.
#[derive(Debug, Clone, Copy)]
struct Beside {
    log: f64,
    noise: f64,
}

/// A request of the reference: context length, task, arm, index of the case, which of its replies.
type Asked<'j> = (u32, &'j str, Option<Arm>, u32, u32);

/// A figure of the reference by which places are compared.
#[derive(Debug, Clone, Copy)]
struct Measure {
    name: &'static str,
    /// 1 where more is faster, -1 where less is.
    sign: f64,
    words: &'static str,
}

const MEASURES: [Measure; 2] = [
    Measure { name: metric::DECODE_TPS, sign: 1.0, words: "decodes" },
    Measure { name: metric::TTFT_S, sign: -1.0, words: "begins its replies" },
];

impl Workers {
    /// The places of a journal; none where one process measured the run.
    pub(crate) fn of(journal: &Journal) -> Self {
        let mut workers = Self::default();
        for part in &journal.parts {
            let kind = part.machine.kind();
            let same = |place: &Place| {
                (&place.row.place, &place.row.cards, &place.row.kind) == (&part.place, &part.cards, &kind)
            };
            let at = workers.places.iter().position(same).unwrap_or_else(|| {
                let row = WorkerRow {
                    place: part.place.clone(),
                    cards: part.cards.clone(),
                    kind: kind.clone(),
                    trials: 0,
                    broke: 0,
                    speed: None,
                    left_out: None,
                };
                workers.places.push(Place { row });
                workers.places.len() - 1
            });
            workers.places[at].row.trials += part.trials;
            workers.of_part.push(at);
        }
        workers.repeats = journal
            .repeated
            .iter()
            .map(|trial| trial.key.replicate)
            .filter(|replicate| replicate % 2 == 0)
            .collect();
        workers.count_what_broke(journal);
        workers.leave_out_other_kinds();
        workers.leave_out_what_differs(journal);
        workers
    }

    fn count_what_broke(&mut self, journal: &Journal) {
        for trial in journal.trials.iter().chain(&journal.repeated) {
            if matches!(trial.outcome, Outcome::Failed { .. })
                && let Some(at) = self.place(journal, trial.launch)
            {
                self.places[at].row.broke += 1;
            }
        }
    }

    /// Whether the figures of time, energy and memory of a launch count.
    pub(crate) fn counts(&self, journal: &Journal, launch: u32) -> bool {
        self.place(journal, launch).is_none_or(|place| self.places[place].row.left_out.is_none())
    }

    /// Whether two launches ran on one place: only such are compared in speed.
    pub(crate) fn same(&self, journal: &Journal, a: u32, b: u32) -> bool {
        self.places.len() < 2 || self.place(journal, a) == self.place(journal, b)
    }

    /// Who measured what.
    pub(crate) fn rows(&self) -> Vec<WorkerRow> {
        self.places.iter().map(|place| place.row.clone()).collect()
    }

    /// Places whose speeds do not count, and those on which much broke that went well elsewhere.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let left_out = self.places.iter().filter_map(|place| Some((place, place.row.left_out.as_ref()?)));
        let left_out = left_out
            .map(|(place, why)| Finding::new(WarningCode::SpeedLeftOut).about(place.row.name()).detail(why));
        let broke = self.places.iter().filter(|place| self.broke_alone(&place.row)).map(|place| {
            Finding::new(WarningCode::PlaceBroke)
                .about(place.row.name())
                .figure("broke", place.row.broke, Unit::Trials)
                .figure("trials", place.row.trials, Unit::Trials)
        });
        left_out.chain(broke).collect()
    }

    /// Whether a third of a place's trials and more broke, and on the others together less than a tenth: a card, a driver or a machine that
    /// is gone, not a setting that does not work.
    fn broke_alone(&self, row: &WorkerRow) -> bool {
        let others = self.places.iter().map(|place| &place.row).filter(|other| *other != row);
        let (broke, trials) =
            others.fold((0, 0), |(broke, trials), other| (broke + other.broke, trials + other.trials));
        trials > 0 && row.broke * 3 >= row.trials.max(1) && broke * 10 < trials
    }

    fn place(&self, journal: &Journal, launch: u32) -> Option<usize> {
        self.of_part.get(journal.part_of(launch)?).copied()
    }

    fn leave_out_other_kinds(&mut self) {
        let mut kinds = BTreeMap::<&str, u32>::new();
        for place in &self.places {
            *kinds.entry(&place.row.kind).or_default() += place.row.trials;
        }
        let most = kinds.iter().rev().max_by_key(|(_, trials)| **trials).map(|(kind, _)| (*kind).to_owned());
        let Some(most) = most.filter(|_| kinds.len() > 1) else { return };
        for place in self.places.iter_mut().filter(|place| place.row.kind != most) {
            place.row.left_out =
                Some(format!("it is another kind of machine ({}) than {most}", place.row.kind));
        }
    }

    fn leave_out_what_differs(&mut self, journal: &Journal) {
        if self.places.len() < 2 {
            return;
        }
        let shared = self.shared(journal);
        for measure in MEASURES {
            let speeds = self.speeds(&shared, measure);
            let Some(norm) = norm(&speeds) else { continue };
            for (place, speed) in self.places.iter_mut().zip(&speeds) {
                let Some(speed) = speed else { continue };
                let log = speed.log - norm;
                if measure.name == metric::DECODE_TPS {
                    place.row.speed = Some(log.exp());
                }
                let differs = log.abs() > tolerance(speed.noise);
                if differs && place.row.left_out.is_none() {
                    let (times, than) = (log.exp(), if log < 0.0 { "slower" } else { "faster" });
                    place.row.left_out = Some(format!(
                        "the reference {} {times:.2} times as fast there as on the others, on the same requests: {than} by a \
                         power limit, clocks, the link or other work",
                        measure.words
                    ));
                }
            }
        }
    }

    /// The reference's trials of one request on several places: the place and the trial of each.
    fn shared<'j>(&self, journal: &'j Journal) -> Vec<Vec<(usize, &'j Trial)>> {
        let reference = &journal.header.suite.reference().label;
        let mut asked: HashMap<Asked<'_>, Vec<(usize, &Trial)>> = HashMap::new();
        for trial in
            journal.trials.iter().chain(&journal.repeated).filter(|trial| trial.key.setting == *reference)
        {
            let Some(place) = self.place(journal, trial.launch) else { continue };
            // Those of another kind are out already.
            if self.places[place].row.left_out.is_none() {
                let key = &trial.key;
                asked
                    .entry((key.context, &key.task, key.arm, key.index, key.repeat))
                    .or_default()
                    .push((place, trial));
            }
        }
        asked.into_values().filter(|trials| trials.len() > 1).collect()
    }

    /// How fast each place is beside the first of those that it can be compared with; `None`: with none.
    fn speeds(&self, shared: &[Vec<(usize, &Trial)>], measure: Measure) -> Vec<Option<Beside>> {
        let mut logs = BTreeMap::<(usize, usize), Vec<f64>>::new();
        for trials in shared {
            let mut values: Vec<(usize, f64)> = trials
                .iter()
                .filter_map(|(place, trial)| Some((*place, trial.measured(measure.name, Source::Client)?)))
                .filter(|(_, value)| *value > 0.0)
                .collect();
            values.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            for (at, (a, first)) in values.iter().enumerate() {
                for (b, second) in values[at + 1..].iter().filter(|(b, _)| b != a) {
                    logs.entry((*a, *b)).or_default().push(measure.sign * (second / first).ln());
                }
            }
        }
        let edges: Vec<((usize, usize), Beside)> = logs
            .into_iter()
            .filter(|(_, logs)| logs.len() >= MIN_SHARED)
            .filter_map(|(pair, logs)| Some((pair, beside(logs)?)))
            .collect();
        walk(self.places.len(), &edges)
    }
}

fn beside(mut logs: Vec<f64>) -> Option<Beside> {
    let count = logs.len() as f64;
    let log = median(&mut logs)?;
    let mut deviations: Vec<f64> = logs.iter().map(|one| (one - log).abs()).collect();
    let noise = NOISE_OF_MEDIAN * median(&mut deviations)? / count.sqrt();
    Some(Beside { log, noise })
}

/// From the ratios of pairs to a speed of each place: along the shortest way from the first place of each piece, only the largest
/// piece.
fn walk(places: usize, edges: &[((usize, usize), Beside)]) -> Vec<Option<Beside>> {
    let mut best: Vec<Option<Beside>> = vec![None; places];
    for root in 0..places {
        let mut found: Vec<Option<Beside>> = vec![None; places];
        found[root] = Some(Beside { log: 0.0, noise: 0.0 });
        let mut open = std::collections::VecDeque::from([root]);
        while let Some(at) = open.pop_front() {
            let Some(here) = found[at] else { continue };
            for ((a, b), step) in edges {
                let (to, sign) = match at {
                    at if at == *a => (*b, 1.0),
                    at if at == *b => (*a, -1.0),
                    _ => continue,
                };
                if found[to].is_none() {
                    let noise = here.noise.hypot(step.noise);
                    found[to] = Some(Beside { log: here.log + sign * step.log, noise });
                    open.push_back(to);
                }
            }
        }
        let count = |speeds: &[Option<Beside>]| speeds.iter().flatten().count();
        if count(&found) > count(&best) {
            best = found;
        }
    }
    if best.iter().flatten().count() < 2 { vec![None; places] } else { best }
}

/// The speed that most places have; of several such, the fastest: something slows a card down, nothing speeds it up.
fn norm(speeds: &[Option<Beside>]) -> Option<f64> {
    let alike = |log: f64| {
        let near = |speed: &&Beside| (speed.log - log).abs() <= tolerance(speed.noise);
        speeds.iter().flatten().filter(near).count()
    };
    let order = |a: f64, b: f64| alike(a).cmp(&alike(b)).then(a.total_cmp(&b));
    speeds.iter().flatten().map(|speed| speed.log).max_by(|a, b| order(*a, *b))
}

fn tolerance(noise: f64) -> f64 {
    (1.0 + ALIKE).ln().max(TIMES_NOISE * noise)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::analysis::testing;
    use crate::record::Machine;
    use crate::record::journal::Part;

    fn speeds(logs: &[f64]) -> Vec<Option<Beside>> {
        logs.iter().map(|log| Some(Beside { log: *log, noise: 0.0 })).collect()
    }

    #[test]
    fn speeds_of_another_kind_of_machine_do_not_count() {
        let text = "name = \"a\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
                    [reference]\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n";
        let suite = crate::suite::parse(text, std::path::Path::new("a.toml"), &[]).unwrap();
        let part = |place: &str, cpu: &str, launches, trials| Part {
            name: place.to_owned(),
            place: place.to_owned(),
            cards: Vec::new(),
            machine: Machine { cpu: cpu.to_owned(), cpus: 8, ..Machine::default() },
            launches,
            trials,
        };
        let mut journal = Journal::new(testing::header(suite));
        journal.parts =
            vec![part("a", "EPYC", 0..2, 4), part("b", "Xeon", 2..3, 5), part("c", "EPYC", 3..4, 3)];
        let workers = Workers::of(&journal);
        assert_eq!([0, 1, 2, 3].map(|launch| workers.counts(&journal, launch)), [true, true, false, true]);
        assert!(workers.same(&journal, 0, 1) && !workers.same(&journal, 1, 3), "one kind, two machines");
        let found = workers.findings();
        assert_eq!(found.len(), 1, "the kind that measured most counts, not the machine");
        assert!(workers.rows()[1].left_out.as_ref().unwrap().contains("another kind of machine (Xeon x 8)"));
    }

    #[test]
    fn a_place_on_which_alone_trials_broke_is_named() {
        let row = |place: &str, trials, broke| Place {
            row: WorkerRow {
                place: place.to_owned(),
                cards: vec![0],
                kind: String::new(),
                trials,
                broke,
                speed: None,
                left_out: None,
            },
        };
        let named = |places: Vec<Place>| -> Vec<String> {
            let workers = Workers { places, ..Workers::default() };
            workers.findings().into_iter().filter_map(|finding| finding.subject).collect()
        };
        assert_eq!(named(vec![row("a", 9, 0), row("b", 9, 3), row("c", 9, 1)]), ["b, card 0"]);
        assert!(named(vec![row("a", 9, 4), row("b", 9, 6)]).is_empty(), "what breaks everywhere is no card");
        assert!(named(vec![row("a", 9, 9)]).is_empty(), "nothing to lay it beside");
    }

    #[test]
    fn most_places_make_the_norm_and_of_two_the_faster() {
        assert_eq!(norm(&speeds(&[0.0, -0.5, 0.01, 0.02])), Some(0.02));
        assert_eq!(norm(&speeds(&[0.0, -0.5])), Some(0.0));
        assert_eq!(norm(&speeds(&[-0.5, -0.51, 0.0])), Some(-0.5), "one that is faster than most differs");
        assert_eq!(norm(&[None, None]), None);
    }

    #[test]
    fn speeds_follow_from_neighbours() {
        let edge = |log: f64| Beside { log, noise: 0.01 };
        let found = walk(4, &[((0, 1), edge(0.1)), ((1, 2), edge(-0.3))]);
        let logs: Vec<Option<f64>> = found.iter().map(|speed| speed.map(|speed| speed.log)).collect();
        assert!((logs[2].unwrap() + 0.2).abs() < 1e-12 && logs[3].is_none(), "{logs:?}");
        assert!((found[2].unwrap().noise - 0.01 * 2.0_f64.sqrt()).abs() < 1e-12);
        assert!(walk(2, &[]).iter().all(Option::is_none));
    }

    #[test]
    fn noise_is_that_of_a_median() {
        let found = beside(vec![0.0, 0.1, 0.2, 0.3, 0.4]).unwrap();
        assert!((found.log - 0.2).abs() < 1e-12);
        assert!((found.noise - NOISE_OF_MEDIAN * 0.1 / 5.0_f64.sqrt()).abs() < 1e-12);
        assert!(tolerance(0.0) < 0.05 && (tolerance(0.1) - 0.3).abs() < 1e-12);
    }
}
