//! How long trials took in runs that were made.

use std::collections::HashMap;

use super::Kind;
use super::speed::Speed;
use crate::quantile::median;
use crate::record::journal::Journal;
use crate::record::{Outcome, Source, Trial, metric};

/// Model and quant.
type File = (String, String);

/// What journals say of this machine.
#[derive(Debug, Default)]
pub struct Observed {
    trials: HashMap<Kind, Vec<f64>>,
    /// Lengths of prompts and the rates at which they were read.
    prefill: HashMap<File, Vec<(f64, f64)>>,
    decode: HashMap<File, Vec<f64>>,
    launches: Vec<f64>,
}

impl Observed {
    /// Adds a journal. `same_file` says whether a model and quant of it is the very file that will be used, `same_task`
    /// whether a task of it makes trials like those that are planned.
    pub fn add(
        &mut self,
        journal: &Journal,
        same_file: impl Fn(&str, &str) -> bool,
        same_task: impl Fn(&str) -> bool,
    ) {
        let settings = &journal.header.suite.settings;
        let files: HashMap<&str, File> = settings
            .iter()
            .filter(|setting| same_file(&setting.model, &setting.weights))
            .map(|setting| (setting.label.as_str(), (setting.model.clone(), setting.weights.clone())))
            .collect();
        for (place, trial) in journal.trials.iter().enumerate() {
            let Some(file) = files.get(trial.key.setting.as_str()) else { continue };
            if !matches!(trial.outcome, Outcome::Scored(_)) {
                continue;
            }
            self.add_rates(file, trial);
            let took = took_s(trial, journal.trials.get(place + 1));
            if let Some(took) = took.filter(|_| same_task(&trial.key.task)) {
                self.trials.entry(Kind::of(&trial.key)).or_default().push(took);
            }
        }
        self.launches.extend(journal.launches.iter().filter_map(|launch| launch.load_s));
    }

    fn add_rates(&mut self, file: &File, trial: &Trial) {
        let of = |name| trial.measured(name, Source::Engine).or_else(|| trial.measured(name, Source::Client));
        if let (Some(length), Some(rate)) = (of(metric::PROMPT_TOKENS), of(metric::PREFILL_TPS)) {
            self.prefill.entry(file.clone()).or_default().push((length, rate));
        }
        if let Some(rate) = of(metric::DECODE_TPS) {
            self.decode.entry(file.clone()).or_default().push(rate);
        }
    }

    /// Median time of a trial of each kind (s).
    pub(super) fn trial_s(&self) -> HashMap<Kind, f64> {
        let of = |(kind, times): (&Kind, &Vec<f64>)| Some((kind.clone(), median(&mut times.clone())?));
        self.trials.iter().filter_map(of).collect()
    }

    /// Median time until a server was ready (s).
    pub(super) fn launch_s(&self) -> Option<f64> {
        median(&mut self.launches.clone())
    }

    /// How fast each file was.
    pub(super) fn speeds(&self) -> HashMap<File, Speed> {
        let of = |(file, rates): (&File, &Vec<(f64, f64)>)| {
            let decode = median(&mut self.decode.get(file)?.clone())?;
            Some((file.clone(), Speed::new(by_length(rates), decode)?))
        };
        self.prefill.iter().filter_map(of).collect()
    }
}

/// The median rate of prompts of about one length: within a factor of 1.4.
fn by_length(rates: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut groups: HashMap<i64, (Vec<f64>, Vec<f64>)> = HashMap::new();
    for (length, rate) in rates {
        let group = groups.entry((length.max(1.0).log2() * 2.0).round() as i64).or_default();
        group.0.push(*length);
        group.1.push(*rate);
    }
    let medians =
        |(mut lengths, mut rates): (Vec<f64>, Vec<f64>)| Some((median(&mut lengths)?, median(&mut rates)?));
    groups.into_values().filter_map(medians).collect()
}

/// The time of a trial with everything around it (s): until the next one of its server began, or the time of its
/// request.
fn took_s(trial: &Trial, next: Option<&Trial>) -> Option<f64> {
    let next = next.filter(|next| next.launch == trial.launch);
    let until_next = next.and_then(|next| Some(next.started.millis()? - trial.started.millis()?));
    let seconds = until_next.map(|millis| millis as f64 / 1000.0);
    let request = trial.measured(metric::TOTAL_S, Source::Client);
    // A clock that was set in between gives a time that is none; the request's own is a lower bound.
    match (seconds.filter(|seconds| *seconds > 0.0), request) {
        (Some(seconds), Some(request)) if seconds > 10.0 * request + 60.0 => Some(request),
        (Some(seconds), request) => Some(seconds.max(request.unwrap_or_default())),
        (None, request) => request,
    }
}
