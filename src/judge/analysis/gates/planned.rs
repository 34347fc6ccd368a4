//! Before a run: gates that its planned cases cannot decide, however well it goes.

use std::collections::BTreeMap;

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{rate, short, within};
use crate::judge::analysis::quality::{anytime_difference, anytime_score, mean_score, probability};
use crate::judge::analysis::summary::{Estimate, GateStatus};
use crate::judge::analysis::words::thousands;
use crate::judge::analysis::{InSuite, Registry, Resampling, Tasks};
use crate::judge::stats::{ClusterSums, tango, wilson};
use crate::record::Arm;
use crate::record::filter::Filter;
use crate::record::plan::Plan;
use crate::record::suite::{Gate, GateMetric, Suite};
use crate::task::Weight;

/// More cases than this times the planned ones are not looked for.
const MOST: f64 = 10_000.0;

/// Trials that a figure of speed needs for an interval.
const FOR_SPEED: u32 = 3;

/// Windows of text that a divergence needs for an interval.
const FOR_KLD: u32 = 2;

/// Draws of bounds that hardly depend on them: all cases are alike.
const DRAWS: u32 = 100;

/// A gate that a perfect run leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct UndecidableGate {
    /// The gate, in words.
    pub gate: String,
    /// Context length (tokens).
    pub context: u32,
    /// Planned cases that it looks at, in each cell.
    pub items: u32,
    /// The fewest cases with which a perfect run passes; `None`: no number does.
    pub needed: Option<u32>,
    /// All of this in a sentence.
    pub because: String,
}

/// Every gate that cannot pass with the cases that are planned: cells that keep to what is wanted in every case end
/// with an interval that still reaches over the limit. Each is named once a context length.
pub fn undecidable(suite: &Suite, plan: &Plan) -> Vec<UndecidableGate> {
    let cells = planned(suite, plan);
    let mut found: Vec<UndecidableGate> = Vec::new();
    for gate in &suite.gates {
        let Ok(filter) = Filter::parse(&gate.cells) else { continue };
        for ((setting, context), cases) in &cells {
            let compared = gate.no_worse_than_reference || gate.metric == GateMetric::Difference;
            let of_reference = *setting == suite.reference().label;
            if !filter.keeps_cell(setting, *context) || (compared && of_reference) {
                continue;
            }
            let known = found.iter().any(|other| other.gate == gate.words() && other.context == *context);
            found.extend(judged(gate, suite, *context, cases).filter(|_| !known));
        }
    }
    found
}

/// The planned trials of a cell's first visit, by task and arm.
type CaseCounts<'a> = BTreeMap<(&'a str, Option<Arm>), u32>;

fn planned<'a>(suite: &'a Suite, plan: &'a Plan) -> Vec<((&'a str, u32), CaseCounts<'a>)> {
    let mut cells: BTreeMap<(&str, u32), CaseCounts<'_>> = BTreeMap::new();
    for key in plan.keys().filter(|key| key.replicate == 0 && key.repeat == 0) {
        let cell = cells.entry((&key.setting, key.context)).or_default();
        *cell.entry((&key.task, key.arm)).or_default() += 1;
    }
    let order = |(setting, _): &(&str, u32)| suite.settings.iter().position(|known| known.label == *setting);
    let mut cells: Vec<_> = cells.into_iter().collect();
    cells.sort_by_key(|(cell, _)| (cell.1, order(cell)));
    cells
}

/// The figure that a perfect run has over so many cases of each task.
type BestFigure<'b> = Box<dyn Fn(&[u32]) -> Option<Estimate> + 'b>;

/// What a gate looks at, and what the best run makes of so many cases.
struct Best<'b> {
    /// Planned cases, by task and arm.
    cases: Vec<u32>,
    /// What counts them, in words.
    word: &'static str,
    /// The figure of a run in which all is well; `None`: so few cases have no interval.
    of: BestFigure<'b>,
    /// The limits that it is held against.
    limits: Gate,
}

fn judged(gate: &Gate, suite: &Suite, context: u32, cases: &CaseCounts<'_>) -> Option<UndecidableGate> {
    let best = best(gate, suite, context, cases)?;
    let count: u32 = best.cases.iter().sum();
    let passes = |cases: &[u32]| {
        (best.of)(cases).is_some_and(|value| within(&best.limits, value) == GateStatus::Passed)
    };
    if passes(&best.cases) {
        return None;
    }
    let needed = fewest(&best.cases, passes);
    let gives = match (best.of)(&best.cases) {
        Some(Estimate { value, low: Some(low), high: Some(high), .. }) => {
            format!("gives {} [{}, {}]", short(value), short(low), short(high))
        }
        _ => "gives no interval".to_owned(),
    };
    let takes = match needed {
        Some(needed) => format!("it takes {} {}", thousands(u64::from(needed)), best.word),
        None if count == 0 => format!("no task of the suite gives {} there", best.word),
        None => "no number of them is enough".to_owned(),
    };
    Some(UndecidableGate {
        gate: gate.words(),
        context,
        items: count,
        needed,
        because: format!(
            "gate `{}` cannot pass at {} tokens: a perfect run of its {} {} {gives}; {takes}",
            gate.words(),
            thousands(u64::from(context)),
            thousands(u64::from(count)),
            best.word
        ),
    })
}

/// `None` for a gate of which nothing can be said before the run: a memory has no interval, and of a difference above
/// 0 only better settings are asked.
fn best<'b>(gate: &Gate, suite: &'b Suite, context: u32, cases: &CaseCounts<'_>) -> Option<Best<'b>> {
    let confidence = suite.confidence;
    let anytime = suite.stops_by_outcome();
    let by_probability = probability::Rule::of(suite);
    // Texts are the units of scores by probability.
    let texts = |wanted: &dyn Fn(&str) -> bool| -> Vec<u32> {
        let questions = |name: &str| {
            suite.tasks.iter().find(|task| task.name == name).map_or(1, |task| task.questions.max(1))
        };
        let scored = cases.iter().filter(|((task, _), _)| wanted(task));
        scored.map(|((task, _), count)| *count / questions(task)).collect()
    };
    let word = if by_probability.is_some() { "texts" } else { "cases" };
    let counts = |wanted: &dyn Fn(&str) -> bool| -> Vec<u32> {
        cases.iter().filter(|((task, _), _)| wanted(task)).map(|(_, count)| *count).collect()
    };
    let reads_text = |task: &str| Registry.comparison(task).is_of_distributions();
    let tasks = InSuite { tasks: &Registry, suite };
    let primary = |task: &str| tasks.weight(task).unwrap_or(Weight::Primary) == Weight::Primary;
    let limits = gate.clone();
    match gate.metric {
        GateMetric::Failed => Some(Best {
            cases: counts(&|_| true),
            word: "trials",
            of: Box::new(move |cases| rate(0, cases.iter().sum(), confidence)),
            limits: Gate { min: None, ..limits },
        }),
        GateMetric::Quality if gate.no_worse_than_reference => Some(Best {
            cases: texts(&primary),
            word,
            of: Box::new(move |cases| match by_probability {
                Some(rule) => Some(rule.difference(&alike(cases, 0.0), &[])?.estimate),
                None => no_difference(cases, confidence, anytime),
            }),
            limits: Gate { min: Some(-suite.margin), max: None, no_worse_than_reference: false, ..limits },
        }),
        GateMetric::Quality => {
            let right = gate.min.is_some();
            let one_task = gate.task.clone();
            let cases = match &gate.task {
                Some(task) => texts(&|other| other == task),
                None => texts(&primary),
            };
            Some(Best {
                cases,
                word,
                of: Box::new(move |cases| match by_probability {
                    Some(rule) => rule.score(&alike(cases, if right { 1.0 } else { 0.0 }), &[]),
                    None => all_alike(cases, right, one_task.is_some(), anytime, confidence, context),
                }),
                limits: Gate { max: if right { None } else { limits.max }, ..limits },
            })
        }
        GateMetric::Difference if gate.min.is_some_and(|min| min < 0.0) => Some(Best {
            cases: texts(&primary),
            word,
            of: Box::new(move |cases| match by_probability {
                Some(rule) => Some(rule.difference(&alike(cases, 0.0), &[])?.estimate),
                None => no_difference(cases, confidence, anytime),
            }),
            limits: Gate { max: None, ..limits },
        }),
        GateMetric::Kld => Some(Best {
            cases: counts(&reads_text),
            word: "windows of text",
            of: Box::new(|cases| has_interval(cases, FOR_KLD)),
            limits: unlimited(limits),
        }),
        GateMetric::Decode | GateMetric::Prefill | GateMetric::Ttft | GateMetric::Energy => Some(Best {
            cases: counts(&|task| !reads_text(task)),
            word: "chat trials",
            of: Box::new(|cases| has_interval(cases, FOR_SPEED)),
            limits: unlimited(limits),
        }),
        GateMetric::Difference | GateMetric::Memory => None,
    }
}

/// What is only asked to have an interval.
fn unlimited(gate: Gate) -> Gate {
    Gate { min: Some(0.0), max: None, ..gate }
}

fn has_interval(cases: &[u32], least: u32) -> Option<Estimate> {
    let n = cases.iter().sum();
    (n >= least).then_some(Estimate { value: 1.0, low: Some(1.0), high: Some(1.0), n })
}

/// A setting that equals the reference in every case.
fn no_difference(cases: &[u32], confidence: f64, anytime: bool) -> Option<Estimate> {
    if anytime {
        return Some(anytime_difference(&alike(cases, 0.0), confidence)?.estimate);
    }
    let smallest = cases.iter().copied().filter(|count| *count > 0).min()?;
    let pairs = smallest * cases.iter().filter(|count| **count > 0).count() as u32;
    let (low, high) = tango(0.0, 0.0, f64::from(pairs), confidence)?;
    Some(Estimate { value: 0.0, low: Some(low), high: Some(high), n: pairs })
}

/// Every case right, or every case wrong.
fn all_alike(
    cases: &[u32],
    right: bool,
    one_task: bool,
    anytime: bool,
    confidence: f64,
    context: u32,
) -> Option<Estimate> {
    let score = if right { 1.0 } else { 0.0 };
    if one_task {
        // The worst of its arms.
        let n = cases.iter().copied().min()?;
        let (low, high) = wilson(score * f64::from(n), f64::from(n), confidence)?;
        return Some(Estimate { value: score, low: Some(low), high: Some(high), n });
    }
    if anytime {
        return anytime_score(&alike(cases, score), confidence);
    }
    if let [n] = cases {
        return rate(if right { *n } else { 0 }, *n, confidence);
    }
    mean_score(
        &alike(cases, score),
        Resampling { seed: 1, draws: DRAWS, confidence, graded_from: Resampling::GRADED_UNITS },
        context,
    )
}

/// Independent cases that all have one score, by task.
fn alike(cases: &[u32], score: f64) -> Vec<ClusterSums> {
    let of_task = |count: &u32| {
        let n = *count as usize;
        ClusterSums { sums: vec![score; n], counts: vec![1; n] }
    };
    cases.iter().map(of_task).collect()
}

/// The fewest cases, in the proportions of those that are planned, with which a perfect run passes.
fn fewest(planned: &[u32], passes: impl Fn(&[u32]) -> bool) -> Option<u32> {
    let times = |factor: f64| -> Vec<u32> {
        planned.iter().map(|count| (f64::from(*count) * factor).ceil() as u32).collect()
    };
    let all: f64 = planned.iter().map(|count| f64::from(*count)).sum();
    if all == 0.0 {
        return None;
    }
    let mut above = 2.0;
    while !passes(&times(above)) {
        above *= 2.0;
        if above > MOST || above * all > 1e5 {
            return None;
        }
    }
    let mut below = above / 2.0;
    while (above - below) * all > 0.5 {
        let middle = f64::midpoint(below, above);
        if passes(&times(middle)) { above = middle } else { below = middle }
    }
    Some(times(above).iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::plan::plan;

    fn suite(more: &str) -> Suite {
        let text = format!(
            r#"
            name = "t"
            contexts = [1024]
            rounds = 2
            margin = 0.05
            [[model]]
            name = "m"
            path = "m.gguf"
            weights = "Q8_0"
            [reference]
            [[setting]]
            kv = "q8_0"
            [[task]]
            name = "retrieval/niah_multikey_2"
            samples = 132
            {more}
        "#
        );
        crate::suite::parse(&text, std::path::Path::new("t.toml"), &[]).unwrap()
    }

    fn found(more: &str) -> Vec<UndecidableGate> {
        let suite = suite(more);
        undecidable(&suite, &plan(&suite, &Filter::default()).unwrap())
    }

    fn needed(more: &str) -> Vec<(u32, Option<u32>)> {
        found(more).iter().map(|gate| (gate.items, gate.needed)).collect()
    }

    /// python3: math.ceil(math.log(0.025) / math.log(1 - 0.02)) is 183.
    #[test]
    fn a_failure_rate_of_2_percent_needs_183_trials_without_a_failure() {
        let gates = found("[[gate]]\nmetric = \"failed\"\nmax = 0.02\n");
        assert_eq!((gates.len(), gates[0].items, gates[0].needed), (1, 132, Some(183)));
        assert_eq!(
            gates[0].because,
            "gate `failed at most 0.02` cannot pass at 1,024 tokens: a perfect run of its 132 trials gives \
             0 [0, 0.02756]; it takes 183 trials"
        );
        assert!(found("[[gate]]\nmetric = \"failed\"\nmax = 0.03\n").is_empty());
        assert_eq!(needed("[[gate]]\nmetric = \"failed\"\nmax = 0\n"), [(132, None)]);
    }

    #[test]
    fn scores_are_held_against_a_run_without_a_mistake() {
        // python3: math.ceil(math.log(0.025) / math.log(0.98)) is 183.
        assert_eq!(needed("[[gate]]\nmetric = \"quality\"\nmin = 0.98\n"), [(132, Some(183))]);
        assert!(found("[[gate]]\nmetric = \"quality\"\nmin = 0.9\n").is_empty());
        assert_eq!(needed("[[gate]]\nmetric = \"quality\"\nmin = 1\n"), [(132, None)]);
        // Wilson's: n / (n + 3.841) is at least 0.98 from 189 on.
        let one = "[[gate]]\nmetric = \"quality\"\ntask = \"retrieval/niah_multikey_2\"\nmin = 0.98\n";
        assert_eq!(needed(one), [(132, Some(189))]);
    }

    #[test]
    fn a_margin_is_held_against_a_setting_that_equals_the_reference() {
        let gate = "[[gate]]\nmetric = \"quality\"\nno_worse_than_reference = true\n";
        assert!(found(gate).is_empty());
        // docs/statistics.md, section 4: 189 pairs without a flip are within 2 points.
        let narrow = suite(gate);
        let narrow = Suite { margin: 0.02, ..narrow };
        let plan = plan(&narrow, &Filter::default()).unwrap();
        assert_eq!(undecidable(&narrow, &plan)[0].needed, Some(189));
        assert_eq!(needed("[[gate]]\nmetric = \"difference\"\nmin = -0.02\n"), [(132, Some(189))]);
    }

    #[test]
    fn figures_that_no_task_gives_are_named() {
        let gates = found("[[gate]]\nmetric = \"kld\"\nmax = 0.01\n");
        assert!(gates[0].because.ends_with("no task of the suite gives windows of text there"), "{gates:?}");
        assert!(
            found("[[gate]]\nmetric = \"decode\"\nmin = 10\n[[gate]]\nmetric = \"memory\"\nmax = 1\n")
                .is_empty()
        );
    }

    /// The kind of mistake that this is for was shipped.
    #[test]
    fn a_perfect_run_of_a_shipped_suite_passes_all_its_gates() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("suites");
        let mut gated = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|ending| ending != "toml") {
                continue;
            }
            let suite = crate::suite::load(&path, &[]).unwrap();
            gated += suite.gates.len();
            let plan = plan(&suite, &Filter::default()).unwrap();
            assert_eq!(undecidable(&suite, &plan), [], "{}", path.display());
        }
        assert!(gated >= 4, "{gated} gates in the shipped suites");
    }
}
