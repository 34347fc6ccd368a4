//! How long a run may take: from earlier runs on this machine, from a short probe of it, or by a rule of thumb that says
//! how rough it is.

use std::collections::HashMap;

use crate::record::plan::Plan;
use crate::record::suite::{Arrivals, LoadSpec, Setting, Suite};
use crate::record::{Arm, Machine, Name, TrialKey};

mod eta;
mod observed;
mod probe;
mod speed;
mod work;

pub use eta::Eta;
pub use observed::Observed;
pub use probe::probe;
pub use speed::Speed;

use super::prepared::Prepared;
use work::Work;

/// Seconds to start a server and warm it up, where nothing is known of it: before its weights are read.
const LAUNCH_S: f64 = 3.0;

/// Bytes of weights that a server reads into memory in a second.
const LOADED_PER_S: f64 = 1e9;

/// Tokens that a reply of the load phase's cases has on average.
const REPLY_TOKENS: f64 = 40.0;

/// Streams that share the reading of the weights before computing is what takes the time.
const SHARED_READS: f64 = 4.0;

/// What is measured of this machine may be off by so much either way.
const MEASURED_FACTOR: f64 = 1.5;

/// Trials that take about as long: those of a task (and arm) on a cell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Kind {
    setting: Name,
    context: u32,
    task: Name,
    arm: Option<Arm>,
}

impl Kind {
    fn of(key: &TrialKey) -> Self {
        Self { setting: key.setting, context: key.context, task: key.task, arm: key.arm }
    }
}

/// What an estimate rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Basis {
    /// In words.
    pub words: String,
    /// It may be off by this factor either way.
    pub factor: f64,
}

/// What is known before a run of the time that it takes.
#[derive(Debug)]
pub struct Estimator {
    /// Of trials that were run before (s).
    known: HashMap<Kind, f64>,
    /// Of model files, by model and quant.
    speeds: HashMap<(String, String), Speed>,
    /// Sizes of model files (bytes), by model and quant.
    bytes: HashMap<(String, String), f64>,
    machine: Machine,
    on_card: bool,
    launch_s: f64,
    basis: Basis,
    calibrated: bool,
}

impl Estimator {
    /// From what was observed on this machine, if anything; `prepared` is what will be run, `machine` what it runs on.
    /// `runs`: how many earlier runs were looked at.
    pub fn of_runs(prepared: &Prepared, machine: Machine, observed: &Observed, runs: usize) -> Self {
        let mut estimator = Self::by_rule(prepared, machine);
        estimator.known = observed.trial_s();
        estimator.speeds = observed.speeds();
        if let Some(seconds) = observed.launch_s() {
            estimator.launch_s = seconds;
        }
        if !estimator.known.is_empty() || !estimator.speeds.is_empty() {
            let of = if runs == 1 { "an earlier run".to_owned() } else { format!("{runs} earlier runs") };
            let words = format!("measured in {of} on this machine");
            estimator.basis = Basis { words, factor: MEASURED_FACTOR };
            estimator.calibrated = true;
        }
        estimator
    }

    /// By rule of thumb alone.
    fn by_rule(prepared: &Prepared, machine: Machine) -> Self {
        let file =
            |info: &crate::record::ModelInfo| ((info.name.clone(), info.weights.clone()), info.bytes as f64);
        let bytes: HashMap<_, _> = prepared.model_infos.iter().map(file).collect();
        let (words, factor) = speed::rule_words(&machine, prepared.gpu);
        let largest = bytes.values().copied().fold(0.0, f64::max);
        Self {
            known: HashMap::new(),
            speeds: HashMap::new(),
            launch_s: LAUNCH_S + largest / LOADED_PER_S,
            // Of a server that runs already nothing is known.
            calibrated: prepared.attached.is_none(),
            bytes,
            machine,
            on_card: prepared.gpu,
            basis: Basis { words, factor },
        }
    }

    /// Takes what a [`probe`] found out about a model's file.
    pub fn learn(&mut self, model: &str, weights: &str, speed: Speed) {
        self.speeds.insert((model.to_owned(), weights.to_owned()), speed);
        self.calibrated = true;
        self.basis = Basis { words: "measured now with a few tokens".into(), factor: 2.0 };
    }

    /// What it rests on.
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// Whether a file of the suite's model was measured on this machine.
    pub fn knows(&self, setting: &Setting) -> bool {
        self.speeds.keys().any(|(model, _)| *model == setting.model)
    }

    /// Whether its figures are times; else only what takes longer than what.
    pub fn is_calibrated(&self) -> bool {
        self.calibrated
    }

    fn launch_s(&self) -> f64 {
        self.launch_s
    }

    /// Time of a whole plan, its load phase included (s); `None` where nothing is known of the server.
    pub fn total_s(&self, suite: &Suite, plan: &Plan) -> Option<f64> {
        Eta::new(suite, plan, self, |_| false).left_s(0.0, 0.0)
    }

    /// Time of a trial (s).
    fn trial_s(&self, suite: &Suite, setting: &Setting, kind: &Kind) -> f64 {
        if let Some(seconds) = self.known.get(kind) {
            return *seconds;
        }
        let spec = suite.tasks.iter().find(|spec| spec.name == kind.task);
        let work = spec.map(|spec| Work::of(spec, kind.context, kind.arm));
        work.map_or(0.0, |work| self.speed(setting).seconds(work))
    }

    /// How fast a setting's file is: as measured, as measured of another quant of the model, or by rule.
    fn speed(&self, setting: &Setting) -> Speed {
        let file = (setting.model.clone(), setting.weights.clone());
        if let Some(speed) = self.speeds.get(&file) {
            return speed.clone();
        }
        let bytes = |file| self.bytes.get(file).copied().filter(|bytes| *bytes > 0.0);
        let mut siblings: Vec<_> =
            self.speeds.iter().filter(|((model, _), _)| *model == setting.model).collect();
        siblings.sort_by(|a, b| a.0.cmp(b.0));
        let sibling = siblings.first().map(|(other, speed)| (bytes(&file).zip(bytes(other)), speed));
        match sibling {
            Some((Some((own, other)), speed)) => speed.scaled(own / other),
            Some((None, speed)) => (*speed).clone(),
            None => {
                // Of a server that runs already not even the size is known: the figure orders, no more.
                let bytes = bytes(&file).unwrap_or(5e9);
                speed::by_rule(&self.machine, self.on_card, bytes, &setting.weights)
            }
        }
    }

    /// Time of the load phase of a setting (s).
    fn load_s(&self, load: &LoadSpec, setting: &Setting) -> f64 {
        let speed = self.speed(setting);
        let mean = |numbers: &[u32]| {
            numbers.iter().map(|number| f64::from(*number)).sum::<f64>() / numbers.len().max(1) as f64
        };
        let request_s = |prompt: f64, output: f64, streams: u32| {
            prompt * speed.prompt_token_s(prompt)
                + output * speed.token_s() / f64::from(streams).clamp(1.0, SHARED_READS)
        };
        let of_load = |streams| request_s(mean(&load.prompt_tokens), mean(&load.output_tokens), streams);
        let steps = expected_steps(load).into_iter().map(|step| {
            // Those that bring the load up and keep it up come on top.
            let (streams, least_s) = match step {
                Arrivals::Closed(streams) => (streams, 0.0),
                Arrivals::Poisson(rate) => {
                    (load.slots.into(), load.requests.map_or(0.0, |n| f64::from(n) / rate))
                }
            };
            let around_s = 1.5 * f64::from(streams) * of_load(streams);
            let counted_s = load.requests.map(|n| (f64::from(n) * of_load(streams)).max(least_s));
            let counted_s = counted_s.unwrap_or(f64::INFINITY).min(load.duration_s.unwrap_or(f64::INFINITY));
            around_s + counted_s
        });
        let quality = load.quality.iter().flat_map(|quality| {
            let item_s = move |streams| request_s(f64::from(quality.context), REPLY_TOKENS, streams);
            let rounds = [1, 1].into_iter().chain(expected_crowds(load));
            rounds.map(move |streams| f64::from(quality.samples) * item_s(streams))
        });
        self.launch_s
            + load.warm_up_s.min(4.0 * f64::from(load.slots) * of_load(load.slots.into()))
            + steps.sum::<f64>()
            + quality.sum::<f64>()
    }

    /// One that says so many seconds for 1,000 tokens of any kind.
    #[cfg(test)]
    fn for_tests(thousand_s: f64, calibrated: bool) -> Self {
        let speed = Speed::new(vec![(1000.0, 1000.0 / thousand_s)], 1000.0 / thousand_s);
        let file = ("m".to_owned(), "Q8_0".to_owned());
        Self {
            known: HashMap::new(),
            speeds: HashMap::from([(file, speed.expect("a speed"))]),
            bytes: HashMap::new(),
            machine: Machine::default(),
            on_card: false,
            launch_s: 1.0,
            basis: Basis { words: "made up".into(), factor: 1.0 },
            calibrated,
        }
    }
}

/// The steps of a load phase; of a search the way up, and those between about as long as in its middle.
fn expected_steps(load: &LoadSpec) -> Vec<Arrivals> {
    let Some(search) = &load.search else { return load.steps() };
    let ladder = search.ladder();
    let middle = ladder.get(ladder.len() / 2).copied().unwrap_or(search.to);
    let others = search.expected_steps().saturating_sub(ladder.len() as u32) as usize;
    ladder.into_iter().chain(std::iter::repeat_n(middle, others)).map(|load| search.arrivals(load)).collect()
}

/// The crowds that cases are asked in; of a search a single one, where nothing got worse.
fn expected_crowds(load: &LoadSpec) -> Vec<u32> {
    match &load.search {
        Some(_) => vec![load.slots.into()],
        None => load.concurrencies().collect(),
    }
}
