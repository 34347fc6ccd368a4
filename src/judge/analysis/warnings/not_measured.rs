//! What has no figure, and why.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::quality::task_name;
use crate::judge::analysis::pareto;
use crate::judge::analysis::run::Run;
use crate::judge::analysis::summary::{Absence, AbsenceCode, CellSummary, Figure, Summary, Unit};
use crate::record::{Measurement, Source, Trial, metric};

/// Returns what has no figure, worded.
pub(crate) fn not_measured(run: &Run<'_>, summary: &Summary) -> Vec<Absence> {
    let mut absences = Vec::new();
    let trials = &run.journal.trials;
    if !trials.is_empty() && !trials.iter().any(knows_energy) {
        absences.push(absence(AbsenceCode::NoProbe, "energy and GPU memory", None, None));
    }
    for &objective in &summary.objectives {
        let has = |cell: &CellSummary| pareto::value(cell, objective).is_some();
        if !summary.cells.is_empty() && !summary.cells.iter().any(has) {
            absences.push(absence(AbsenceCode::ObjectiveUnknown, objective.name(), None, None));
        }
    }
    absences.extend(absent(run));
    absences.extend(forced_energy(run));
    absences.extend(unscored(summary));
    absences
}

/// Puts one together, with its words.
fn absence(code: AbsenceCode, subject: &str, reason: Option<&str>, trials: Option<u32>) -> Absence {
    let figure = |trials: u32| Figure { name: "trials".into(), value: trials.into(), unit: Unit::Trials };
    Absence {
        code,
        subject: Some(subject.to_owned()),
        figures: trials.map(figure).into_iter().collect(),
        detail: reason.map(str::to_owned),
        sentence: format!(
            "{subject}: {}",
            words(code, reason.unwrap_or_default(), trials.unwrap_or_default())
        ),
    }
}

/// Returns what is said of a thing that has no figure.
fn words(code: AbsenceCode, reason: &str, trials: u32) -> String {
    match code {
        AbsenceCode::NoProbe => "the kneepoint that measured this had no probe for them".to_owned(),
        AbsenceCode::ObjectiveUnknown => "no cell has it, so the front leaves it out".to_owned(),
        AbsenceCode::MeasurementAbsent if trials == 1 => format!("{reason} (1 trial)"),
        AbsenceCode::MeasurementAbsent => format!("{reason} ({trials} trials)"),
        AbsenceCode::TrialsUnscored => format!("{reason} ({trials} trials not scored)"),
        AbsenceCode::Other => reason.to_owned(),
    }
}

/// Whether energy was looked for, found or not.
fn knows_energy(trial: &Trial) -> bool {
    trial.measurements.iter().any(|m| m.name == metric::CPU_ENERGY_J || m.name == metric::GPU_ENERGY_J)
}

/// Energy of forced answers: measured, and in no figure.
fn forced_energy(run: &Run<'_>) -> Option<Absence> {
    let cases = run.journal.cases.iter().filter(|case| !case.forced.is_empty());
    let forced: HashSet<&str> = cases.map(|case| case.id.as_str()).collect();
    let counted = |measured: Measurement| {
        measured.value.is_some()
            && [metric::CPU_ENERGY_J, metric::GPU_ENERGY_J].contains(&measured.name.as_ref())
    };
    let kept_apart =
        |trial: &&Trial| forced.contains(trial.case.as_str()) && trial.measurements.iter().any(counted);
    let trials = run.journal.trials.iter().filter(kept_apart).count() as u32;
    let of = |trials| {
        absence(
            AbsenceCode::MeasurementAbsent,
            "energy of a request",
            Some("the answer was forced"),
            Some(trials),
        )
    };
    (trials > 0).then(|| of(trials))
}

/// Measurements that no source of a trial had, by name and reason.
fn absent(run: &Run<'_>) -> Vec<Absence> {
    let mut reasons: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for trial in &run.journal.trials {
        // Several figures of one source have one name in words: a trial counts once.
        let of_trial: BTreeSet<_> =
            absent_of(trial).into_iter().map(|(name, reason)| (in_words(name), reason)).collect();
        for missing in of_trial {
            *reasons.entry(missing).or_default() += 1;
        }
    }
    let of =
        |((name, reason), trials)| absence(AbsenceCode::MeasurementAbsent, name, Some(reason), Some(trials));
    reasons.into_iter().map(of).collect()
}

fn absent_of(trial: &Trial) -> BTreeMap<&'static str, &'static str> {
    // Most trials of a machine that measures everything: nothing to sort out.
    if trial.measurements.iter().all(|m| m.value.is_some()) {
        return BTreeMap::new();
    }
    let counts = |m: &Measurement| m.source == Source::Client || !only_the_clients(&m.name);
    let figures = || trial.measurements.iter().filter(counts);
    let known = |name: &str| figures().any(|m| m.name == name && m.value.is_some());
    let (clients, others): (Vec<_>, Vec<_>) =
        figures().filter(|m| m.value.is_none() && !known(&m.name)).partition(|m| m.source == Source::Client);
    // Where several sources have none, the client's reason is the one that is kept.
    let without = others.into_iter().chain(clients);
    without.map(|m| (m.name.as_str(), m.absent.map_or("no reason given", |why| why.as_str()))).collect()
}

/// Figures that are the client's alone in every table: that an engine names its own is no reason to leave out why they
/// are not there.
fn only_the_clients(name: &str) -> bool {
    [metric::TTFT_S, metric::DECODE_TPS, metric::ITL_P50_S, metric::ITL_P95_S, metric::ITL_MAX_S]
        .contains(&name)
}

/// Returns a measurement's name for people.
fn in_words(name: &str) -> &str {
    match name {
        metric::TTFT_S => "time to first token",
        metric::TOTAL_S => "time of the whole reply",
        metric::PREFILL_TPS => "prefill rate",
        metric::DECODE_TPS => "decode rate",
        metric::ITL_P50_S | metric::ITL_P95_S | metric::ITL_MAX_S => "time between tokens",
        metric::PROMPT_TOKENS => "prompt tokens",
        metric::OUTPUT_TOKENS => "output tokens",
        metric::CACHED_TOKENS => "cached tokens",
        metric::DRAFT_TOKENS | metric::DRAFT_ACCEPTED => "draft tokens",
        metric::POSITION_S => "time per position",
        metric::PEAK_RSS_BYTES => "resident memory",
        metric::PEAK_PSS_BYTES => "proportional memory",
        metric::PEAK_ANON_BYTES => "anonymous memory",
        metric::PEAK_FILE_BYTES => "file-mapped memory",
        metric::PEAK_VRAM_BYTES => "GPU memory of the server",
        metric::ON_GPU => "whether the server is on a graphics card",
        metric::PEAK_VRAM_DEVICE_BYTES
        | metric::GPU_CARDS
        | metric::GPU_ENERGY_J
        | metric::GPU_THROTTLED
        | metric::GPU_OTHERS => "the graphics cards",
        metric::CPU_ENERGY_J => "energy of the processor",
        metric::STEAL => "stolen CPU time",
        metric::OTHER_CPU => "CPU time of other processes",
        metric::LOAD1 => "load average",
        metric::CPU_HZ => "CPU clock",
        other => declared(other).unwrap_or(other),
    }
}

/// What a figure without words of its own is called in its column.
fn declared(name: &str) -> Option<&'static str> {
    let shown = metric::FIGURES.iter().filter(|figure| figure.metric == name).find_map(|figure| figure.shown);
    shown.map(|shown| shown.head)
}

fn unscored(summary: &Summary) -> Vec<Absence> {
    let mut reasons: BTreeMap<(String, &str), u32> = BTreeMap::new();
    for row in &summary.tasks {
        for (reason, count) in &row.unscored {
            *reasons.entry((task_name(row), reason)).or_default() += count;
        }
    }
    let of = |((task, reason), trials): ((String, &str), u32)| {
        absence(AbsenceCode::TrialsUnscored, &task, Some(reason), Some(trials))
    };
    reasons.into_iter().map(of).collect()
}
