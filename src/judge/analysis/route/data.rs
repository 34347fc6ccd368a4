//! The cases that routing is judged on: what each setting scored and took.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::features::{Feature, family};
use super::request::RouteRequest;
use crate::error::{Error, Result, nearest};
use crate::judge::analysis::frame::net_energy;
use crate::judge::analysis::run::Run;
use crate::record::{Arm, Case, Source, Trial, metric, short_hash};
use crate::task::Weight;

/// A setting takes part when it answered at least this share of what fast and smart both answered.
const COVERAGE: f64 = 0.95;

/// Fewer cases than this have no two halves worth the name.
const MIN_CASES: usize = 20;

/// What one setting made of a case.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Answer {
    /// Score (0..1).
    pub(super) quality: f64,
    /// Time of the request (s).
    pub(super) latency_s: f64,
    /// Energy of the request (J).
    pub(super) energy_j: Option<f64>,
}

/// A case that all settings answered.
#[derive(Debug, Clone)]
pub(super) struct RoutedCase<'a> {
    pub(super) family: &'a str,
    /// By the order of [`Feature::ALL`].
    pub(super) features: Vec<f64>,
    /// Which stratum (task, arm, context length) and which cluster of it.
    pub(super) stratum: usize,
    pub(super) cluster: usize,
    /// Which half it belongs to.
    pub(super) half: usize,
    /// By setting.
    pub(super) answers: Vec<Answer>,
}

/// The cases, and who answered them.
pub(super) struct Data<'a> {
    /// Labels of the settings that take part.
    pub(super) settings: Vec<&'a str>,
    pub(super) fast: usize,
    pub(super) smart: usize,
    pub(super) cases: Vec<RoutedCase<'a>>,
    /// Clusters of each stratum.
    pub(super) clusters: Vec<usize>,
    pub(super) notes: Vec<String>,
}

/// Answers by setting, of each case.
type Answers<'a> = BTreeMap<&'a str, HashMap<&'a str, Answer>>;

impl<'a> Data<'a> {
    pub(super) fn of(run: &Run<'a>, request: &RouteRequest) -> Result<Self> {
        let answers = answers(run);
        let smart = named(run, request.smart.as_deref())?.unwrap_or(run.suite.reference().label.as_str());
        let fast = match named(run, request.fast.as_deref())? {
            Some(fast) => fast,
            None => fastest(&answers, smart).ok_or_else(too_few)?,
        };
        if fast == smart {
            return Err(Error::usage("the fast and the smart setting are the same")
                .hint("name two with --fast and --smart"));
        }
        let empty = HashMap::new();
        let of = |setting: &str| answers.get(setting).unwrap_or(&empty);
        let common: BTreeSet<&str> =
            of(fast).keys().filter(|case| of(smart).contains_key(*case)).copied().collect();
        let covers = |setting: &&str| {
            let seen = common.iter().filter(|case| of(setting).contains_key(*case)).count();
            seen as f64 >= COVERAGE * common.len() as f64
        };
        let labels = run.suite.settings.iter().map(|setting| setting.label.as_str());
        let settings: Vec<&str> = labels.filter(covers).collect();
        let left_out = run.suite.settings.len() - settings.len();
        let cases: Vec<&Case> = run
            .journal
            .cases
            .iter()
            .filter(|case| settings.iter().all(|setting| of(setting).contains_key(case.id.as_str())))
            .collect();
        let place = |label: &str| settings.iter().position(|setting| *setting == label).ok_or_else(too_few);
        let (fast, smart) = (place(fast)?, place(smart)?);
        if cases.len() < MIN_CASES {
            return Err(
                too_few().hint(format!("there are {} such cases; {MIN_CASES} are the least", cases.len()))
            );
        }
        let mut data =
            Self { fast, smart, cases: Vec::new(), clusters: Vec::new(), notes: Vec::new(), settings };
        data.add(&cases, &answers);
        if left_out > 0 {
            data.notes.push(format!("{left_out} settings are left out: they answered too few of the cases"));
        }
        Ok(data)
    }

    fn add(&mut self, cases: &[&'a Case], answers: &Answers<'a>) {
        let mut strata: BTreeMap<(&str, Option<Arm>, u32), usize> = BTreeMap::new();
        let mut clusters: Vec<BTreeMap<&str, usize>> = Vec::new();
        for &case in cases {
            let next = strata.len();
            let stratum = *strata.entry((&case.task, case.arm, case.context)).or_insert(next);
            clusters.resize_with(strata.len(), BTreeMap::new);
            let next = clusters[stratum].len();
            let cluster = *clusters[stratum].entry(&case.cluster).or_insert(next);
            let of = |setting: &&str| answers[setting][case.id.as_str()];
            self.cases.push(RoutedCase {
                family: family(case),
                features: Feature::ALL.iter().map(|feature| feature.of(case)).collect(),
                stratum,
                cluster,
                half: 0,
                answers: self.settings.iter().map(of).collect(),
            });
        }
        self.halve(&clusters);
        self.clusters = clusters.iter().map(BTreeMap::len).collect();
    }

    /// Clusters go to a half as a whole, every second one of a stratum in the order of their hashes: both
    /// halves see every task at every context length.
    fn halve(&mut self, clusters: &[BTreeMap<&str, usize>]) {
        let halves: Vec<HashMap<usize, usize>> = clusters
            .iter()
            .map(|stratum| {
                let mut order: Vec<(String, usize)> =
                    stratum.iter().map(|(name, &number)| (short_hash(name.as_bytes()), number)).collect();
                order.sort();
                order.into_iter().enumerate().map(|(at, (_, number))| (number, at % 2)).collect()
            })
            .collect();
        for case in &mut self.cases {
            case.half = halves[case.stratum].get(&case.cluster).copied().unwrap_or_default();
        }
    }
}

fn too_few() -> Error {
    Error::usage("too few cases were answered and timed by two settings")
        .hint("routing needs a run with at least two settings and primary tasks with scores")
}

/// The suite's own label of a setting that the user named.
fn named<'a>(run: &Run<'a>, name: Option<&str>) -> Result<Option<&'a str>> {
    let Some(name) = name else { return Ok(None) };
    let labels = || run.suite.settings.iter().map(|setting| setting.label.as_str());
    match labels().find(|label| *label == name) {
        Some(label) => Ok(Some(label)),
        None => {
            let error = Error::usage(format!("no setting `{name}` in this run"));
            Err(match nearest(name, labels()) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint(format!("there are: {}", labels().collect::<Vec<_>>().join(", "))),
            })
        }
    }
}

/// The setting with the lowest mean latency over the cases that it shares with the smart one.
fn fastest<'a>(answers: &Answers<'a>, smart: &str) -> Option<&'a str> {
    let theirs = answers.get(smart)?;
    let mean = |own: &HashMap<&str, Answer>| {
        let shared = own.iter().filter(|(case, _)| theirs.contains_key(*case));
        let times: Vec<f64> = shared.map(|(_, answer)| answer.latency_s).collect();
        (times.len() as f64 >= COVERAGE * theirs.len() as f64)
            .then(|| times.iter().sum::<f64>() / times.len() as f64)
    };
    let others = answers.iter().filter(|(setting, _)| **setting != smart);
    let timed = others.filter_map(|(setting, own)| Some((*setting, mean(own)?)));
    timed.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(setting, _)| setting)
}

/// What every setting that is not void made of the primary cases: the mean of a case's trials.
fn answers<'a>(run: &Run<'a>) -> Answers<'a> {
    let journal: &'a crate::record::journal::Journal = run.journal;
    let idle_w = journal.header.machine.idle_gpu_w.unwrap_or_default();
    let forced: HashSet<&str> =
        journal.cases.iter().filter(|case| !case.forced.is_empty()).map(|case| case.id.as_str()).collect();
    let mut trials: BTreeMap<&'a str, HashMap<&'a str, Vec<Tried>>> = BTreeMap::new();
    for trial in journal.trials.iter().filter(|trial| trial.key.replicate == 0) {
        let void = run.void.contains_key(&(trial.key.setting.as_str(), trial.key.context));
        if void || run.weight(&trial.key.task) != Weight::Primary {
            continue;
        }
        let case = run.case_of(trial);
        if let Some(mut tried) = tried(trial, idle_w).filter(|_| !case.is_empty()) {
            tried.energy_j = tried.energy_j.filter(|_| !forced.contains(case));
            let of_setting = trials.entry(&trial.key.setting).or_default();
            of_setting.entry(case).or_default().push(tried);
        }
    }
    let settings = trials.into_iter().map(|(setting, cases)| (setting, timed(cases)));
    settings.filter(|(_, cases)| !cases.is_empty()).collect()
}

/// A trial; one that broke may not have been timed.
struct Tried {
    quality: f64,
    latency_s: Option<f64>,
    energy_j: Option<f64>,
}

/// What broke is lost: a server that dies on the hard cases must not look the better for it.
fn tried(trial: &Trial, idle_w: f64) -> Option<Tried> {
    let quality = trial.outcome.judged()?;
    let latency_s = trial.measured(metric::TOTAL_S, Source::Client);
    let broke = trial.outcome.score().is_none();
    (broke || latency_s.is_some()).then(|| Tried { quality, latency_s, energy_j: net_energy(trial, idle_w) })
}

/// The answers of a setting by case. A trial that broke before it was timed took as long as the slowest that was.
fn timed<'a>(cases: HashMap<&'a str, Vec<Tried>>) -> HashMap<&'a str, Answer> {
    let times = cases.values().flatten().filter_map(|tried| tried.latency_s);
    let Some(slowest) = times.max_by(f64::total_cmp) else { return HashMap::new() };
    let answer = |tried: &Tried| Answer {
        quality: tried.quality,
        latency_s: tried.latency_s.unwrap_or(slowest),
        energy_j: tried.energy_j,
    };
    let mean =
        |(case, tried): (&'a str, Vec<Tried>)| (case, average(&tried.iter().map(answer).collect::<Vec<_>>()));
    cases.into_iter().map(mean).collect()
}

fn average(answers: &[Answer]) -> Answer {
    let n = answers.len().max(1) as f64;
    let mean = |of: fn(&Answer) -> f64| answers.iter().map(of).sum::<f64>() / n;
    let energies: Option<Vec<f64>> = answers.iter().map(|answer| answer.energy_j).collect();
    Answer {
        quality: mean(|answer| answer.quality),
        latency_s: mean(|answer| answer.latency_s),
        energy_j: energies.map(|joules| joules.iter().sum::<f64>() / n),
    }
}
