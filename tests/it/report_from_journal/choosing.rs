//! `pick`, `compare` and `route` on made-up runs whose truth is known.

use std::sync::LazyLock;

use kneepoint::error::{Kind, Result};
use kneepoint::judge::analysis::compare::{Comparison, compare_with};
use kneepoint::judge::analysis::pick::{Goal, MinQuality, Part, Pick, PickRequest, WarningCode, pick_with};
use kneepoint::judge::analysis::route::{Feature, PolicyKind, Route, route_with};
use kneepoint::judge::analysis::{compare, route};
use kneepoint::judge::report;
use kneepoint::judge::serving::ServeForm;
use kneepoint::measure::engine;
use kneepoint::record::journal::Journal;
use kneepoint::record::{Measurement, Outcome, Score, Source, Stage, TrainedContext, Trial, metric};

use super::journal::{MadeUp, chance, journal};

const REFERENCE: &str = "Q8_0 kv=f16";
const FAST: &str = "Q4_1 kv=f16";

fn pick(request: &PickRequest) -> Result<Pick> {
    pick_with(&journal(), &MadeUp, request, &engine::to_serve)
}

/// The plain pick at the shorter context length.
static PLAIN: LazyLock<Pick> = LazyLock::new(|| pick(&PickRequest::new(512)).expect("a pick"));

fn best(request: PickRequest) -> String {
    pick(&request).expect("a pick").setting
}

fn refused<'p>(pick: &'p Pick, setting: &str) -> &'p [String] {
    &pick.candidates.iter().find(|row| row.setting == setting).expect("a row").refused
}

#[test]
fn the_fastest_setting_that_keeps_the_quality_is_picked() {
    let pick = pick(&PickRequest::new(2048)).unwrap();
    insta::assert_snapshot!(report::pick(&pick, &[ServeForm::Shell]).unwrap());
    // q4_0 caches lose a quarter and more, whatever their speed.
    let quickest = pick.candidates.iter().find(|row| row.setting.contains("Q4_1 kv=q4_0")).unwrap();
    assert!(quickest.better_looking && quickest.refused[0].contains("below the reference's"));
    assert!(refused(&pick, "Q2_K kv=q4_0")[0].starts_with("void"));
    assert_ne!(pick.setting, quickest.setting);
    let shares: f64 = pick.candidates.iter().filter_map(|row| row.frequency).sum();
    assert!(shares <= 1.0 + 1e-9 && pick.frequency.unwrap() > 0.0);
    assert_eq!(pick.candidates[0].setting, pick.setting);
}

#[test]
fn requirements_narrow_the_choice() {
    let at = |change: &dyn Fn(&mut PickRequest)| {
        let mut request = PickRequest::new(512);
        change(&mut request);
        request
    };
    let small = best(at(&|r| {
        r.min_quality = MinQuality::Score(0.0);
        r.goal = Goal::Memory;
    }));
    assert_eq!(small, "Q2_K kv=q4_0", "the smallest, whatever it scores");
    let small = best(at(&|r| {
        r.min_quality = MinQuality::OfReference(0.9);
        r.goal = Goal::Memory;
    }));
    assert_eq!(small, "Q4_1 kv=q8_0", "the smallest that keeps nine tenths");
    let strict = best(at(&|r| r.strict = true));
    let keeps_all = ["Q8_0 kv=f16", "Q8_0 kv=q8_0", "Q8_0 kv=f16 spec=ngram-simple"];
    assert!(keeps_all.contains(&strict.as_str()), "{strict} is shown to keep the quality");
    let limited = pick(&at(&|r| r.memory = Some(300 << 20))).unwrap();
    assert!(refused(&limited, REFERENCE)[0].contains("MiB of main memory"));
    assert!(limited.memory.total_bytes.is_some());
}

#[test]
fn requirements_that_nothing_meets_are_explained() {
    let error = pick(&PickRequest { memory: Some(1 << 20), ..PickRequest::new(512) }).unwrap_err();
    assert_eq!(error.kind(), Kind::NothingSelected);
    assert!(error.hints().iter().any(|hint| hint.contains("MiB of main memory")), "{:?}", error.hints());
}

#[test]
fn a_context_that_was_not_measured_takes_a_flag() {
    let error = pick(&PickRequest::new(1024)).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.hints()[1].contains("--extrapolate"));

    let between = pick(&PickRequest { extrapolate: true, ..PickRequest::new(1024) }).unwrap();
    assert_eq!(between.based_on, [512, 2048]);
    let said = &between.warnings[0];
    assert_eq!(said.code, WarningCode::ContextNotMeasured);
    assert!(said.text.contains("not measured"), "{said:?}");
    assert!(between.command.as_deref().unwrap().contains("-c 1024"));

    let beyond = pick(&PickRequest { extrapolate: true, ..PickRequest::new(8192) }).unwrap();
    insta::assert_snapshot!(report::pick(&beyond, &[ServeForm::Shell]).unwrap());
    assert_eq!(beyond.based_on, [2048]);
    // By the metadata: 30 layers x 2 x 192 values x 2 bytes for each of 8192 tokens.
    assert_eq!(beyond.memory.kv_bytes, Some(30 * 2 * 192 * 2 * 8192));
    let ttft = |pick: &Pick| pick.candidates[0].ttft_s.unwrap().value;
    let measured = pick(&PickRequest::new(2048)).unwrap();
    assert_eq!(measured.setting, beyond.setting);
    assert!((ttft(&beyond) / ttft(&measured) - 4.0).abs() < 1e-9, "four times the prompt");
}

#[test]
fn the_longest_context_is_found_with_what_stops_the_next() {
    let asked = |change: &dyn Fn(&mut PickRequest)| {
        let mut request = PickRequest { longest: true, ..PickRequest::new(0) };
        change(&mut request);
        request
    };
    let plain = pick(&asked(&|_| {})).unwrap();
    let beyond = plain.longest.unwrap();
    assert_eq!((plain.context, beyond.measured, beyond.next), (2048, 2048, None));
    assert!(beyond.stopped_by[0].contains("--extrapolate"), "{beyond:?}");

    // A prompt of four times the length takes four times as long.
    let soonest = PLAIN.candidates.iter().filter_map(|row| Some(row.ttft_s?.value)).fold(f64::MAX, f64::min);
    let quick = asked(&|r| {
        r.max_ttft = Some(soonest * 2.0);
        r.min_quality = MinQuality::Score(0.0);
    });
    let quick = pick(&quick).unwrap();
    let beyond = quick.longest.as_ref().unwrap();
    assert_eq!((quick.context, beyond.measured, beyond.next), (512, 512, Some(2048)));
    assert!(beyond.stopped_by.iter().any(|line| line.contains("its first token comes after")), "{beyond:?}");
    let text = report::pick(&quick, &[ServeForm::Shell]).unwrap();
    assert!(
        text.contains("It is the longest context") && text.contains("What stops 2,048 tokens:"),
        "{text}"
    );
    let never = pick(&asked(&|r| r.max_ttft = Some(1e-6))).unwrap_err();
    assert_eq!((never.kind(), never.hints().len()), (Kind::NothingSelected, 2));
}

#[test]
fn beyond_what_was_measured_the_memory_formula_goes_up_to_the_trained_context() {
    let longest = |memory: Option<u64>, trained: Option<u64>| {
        let mut journal = journal();
        for model in &mut journal.header.models {
            model.trained = trained.map(|tokens| TrainedContext { tokens, scaled: None });
        }
        let request = PickRequest { longest: true, extrapolate: true, memory, ..PickRequest::new(0) };
        pick_with(&journal, &MadeUp, &request, &engine::to_serve).unwrap()
    };
    let unknown = longest(None, None);
    assert_eq!(unknown.context, 2048);
    assert!(unknown.longest.unwrap().stopped_by[0].contains("is not known"));
    let free = longest(None, Some(8192));
    assert_eq!((free.context, free.based_on.as_slice()), (8192, &[2048][..]));
    assert!(free.longest.unwrap().stopped_by[0].contains("made for 8,192 tokens"));

    let smallest =
        free.candidates.iter().filter(|row| row.refused.is_empty()).filter_map(|row| row.memory_bytes).min();
    let limit = smallest.unwrap() - (20 << 20);
    let limited = longest(Some(limit), Some(8192));
    let beyond = limited.longest.clone().unwrap();
    assert!(limited.context > 2048 && limited.context < 8192 && limited.context % 256 == 0, "{limited:?}");
    assert_eq!(beyond.next, Some(limited.context + 256));
    assert!(beyond.stopped_by[0].contains("by formula it needs"), "{beyond:?}");
    assert!(limited.memory.total_bytes.unwrap() <= limit);
}

#[test]
fn what_a_byte_buys_is_told_for_weights_and_cache() {
    let bytes = pick(&PickRequest { bytes: true, ..PickRequest::new(512) }).unwrap().bytes.unwrap();
    let of = |setting: &str| bytes.steps.iter().find(|step| step.setting == setting).unwrap();
    assert_eq!((of("Q8_0 kv=q8_0").part, of(FAST).part), (Part::Kv, Part::Weights));
    assert!(bytes.steps.iter().all(|step| !step.setting.contains("spec=") && step.setting != REFERENCE));
    let costs: Vec<f64> = bytes.steps.iter().filter_map(|step| step.per_gib).collect();
    assert!(costs.windows(2).all(|pair| pair[0] >= pair[1]), "the cheapest first: {costs:?}");
    assert!(bytes.steps.iter().all(|step| step.difference.low.is_some()), "each with its interval");
    assert!(bytes.answer.contains("GiB"), "{}", bytes.answer);
}

#[test]
fn rates_are_required_of_prompts_too() {
    let rates = PLAIN.candidates.iter().find(|row| row.refused.is_empty()).unwrap();
    let most = rates.decode_tps.unwrap().value * 10.0;
    let error = pick(&PickRequest { min_decode: Some(most), ..PickRequest::new(512) }).unwrap_err();
    assert!(error.hints().iter().any(|hint| hint.contains("it decodes")), "{:?}", error.hints());
    let error = pick(&PickRequest { min_prefill: Some(1e9), ..PickRequest::new(512) }).unwrap_err();
    assert!(
        error.hints().iter().any(|hint| hint.contains("it reads") || hint.contains("prefill rate")),
        "{:?}",
        error.hints()
    );
}

#[test]
fn the_formula_is_checked_against_the_measured_cells() {
    for check in &PLAIN.memory.checks {
        assert_eq!(check.kv_formula_bytes, check.kv_reported_bytes, "the made-up server obeys the formula");
        assert!(check.residual_bytes.unwrap() <= 0, "the rest is the largest excess: {check:?}");
    }
    assert!(PLAIN.memory.checks.iter().any(|check| check.residual_bytes == Some(0)));
}

#[test]
fn weights_of_tasks_move_the_quality() {
    let with = |name: &str, weight: f64| {
        let mut request = PickRequest::new(512);
        request.task_weights.insert(name.into(), weight);
        pick(&request)
    };
    let quality = |pick: &Pick| {
        pick.candidates.iter().find(|row| row.setting == REFERENCE).and_then(|row| row.quality).unwrap().value
    };
    let plain = quality(&PLAIN);
    assert!((quality(&with("niah_multikey_2", 1.0).unwrap()) - plain).abs() < 1e-9, "1 is the default");
    let needles = quality(&with("tools/arguments", 0.0).unwrap());
    let tools = quality(&with("retrieval/niah_multikey_2", 0.0).unwrap());
    assert!((needles - tools).abs() > 1e-6);
    let twice = quality(&with("niah_multikey_2", 2.0).unwrap());
    assert!((twice - (2.0 * needles + tools) / 3.0).abs() < 1e-9, "two of three parts");
    let error = with("niah_multikye_2", 1.0).unwrap_err();
    assert!(error.hints()[0].contains("niah_multikey_2"), "{:?}", error.hints());
    assert!(with("niah_single_1", 2.0).is_err(), "a sanity task has no part in the quality");
}

#[test]
fn without_energy_nothing_is_picked_for_it() {
    let request = PickRequest { goal: Goal::Energy, ..PickRequest::new(512) };
    let mut journal = journal();
    journal.trials.iter_mut().for_each(|trial| trial.measurements.retain(|m| m.name != metric::CPU_ENERGY_J));
    let error = pick_with(&journal, &MadeUp, &request, &engine::to_serve).unwrap_err();
    assert!(error.hints().iter().any(|hint| hint.contains("no energy was measured")), "{:?}", error.hints());
    for trial in &mut journal.trials {
        let joules = if trial.key.setting == "Q8_0 kv=q8_0" { 3.0 } else { 5.0 };
        trial.measurements.push(Measurement::new(metric::CPU_ENERGY_J, Source::Rapl, joules));
    }
    let pick = pick_with(&journal, &MadeUp, &request, &engine::to_serve).unwrap();
    assert_eq!(pick.setting, "Q8_0 kv=q8_0");
    assert!((pick.runner_up.unwrap().margin.value - 0.4).abs() < 1e-9, "two of five joules less");
}

#[test]
fn the_knee_is_no_extreme_that_others_surround() {
    let pick = pick(&PickRequest { goal: Goal::Knee, ..PickRequest::new(512) }).unwrap();
    assert!(pick.candidates[0].refused.is_empty());
    let margin = pick.runner_up.as_ref().unwrap().margin.value;
    assert!((0.0..=1.0).contains(&margin), "{margin}");
}

fn compare(b: &Journal, fail_on: &[&str]) -> Result<Comparison> {
    compare_at(b, fail_on, compare::Prices::default())
}

fn compare_at(b: &Journal, fail_on: &[&str], prices: compare::Prices) -> Result<Comparison> {
    let thresholds = fail_on.iter().map(|text| text.parse().expect("a threshold")).collect();
    compare_with(&journal(), b, &MadeUp, &compare::CompareRequest { thresholds, flips: 4, prices })
}

const FAIL_ON: &[&str] = &["quality=2pp", "decode=10%", "ttft=10%", "memory=5%"];

/// Changes the measurement of that name.
fn scale(trial: &mut Trial, name: &str, factor: f64) {
    trial.measurements.change(|measurement| {
        if measurement.name == name {
            measurement.value = measurement.value.map(|value| value * factor);
        }
    });
}

#[test]
fn a_run_compared_with_itself_changes_nothing() {
    let same = compare(&journal(), FAIL_ON).unwrap();
    assert!(same.regressions.is_empty() && same.differences.is_empty() && same.flips_in_all == 0);
    for cell in same.cells.iter().filter(|cell| cell.void.is_none()) {
        assert_eq!(cell.quality.unwrap().value, 0.0);
        // The same requests took the same time, each of them.
        let decode = cell.decode.unwrap().ratio;
        assert_eq!((decode.value, decode.low, decode.high), (1.0, Some(1.0), Some(1.0)));
    }
    assert!(same.cells.iter().any(|cell| cell.void.is_some()), "the void cell is listed");
}

#[test]
fn the_noise_floor_is_that_of_the_report() {
    let mut noisy = journal();
    for trial in noisy.trials.iter_mut().filter(|trial| trial.key.replicate == 1) {
        let scored = trial.outcome.score().is_some_and(|score| score.quality.is_some());
        if scored && chance(&format!("aa {}", trial.case)) < 0.1 {
            trial.outcome = Outcome::Scored(Score::of(0.0));
        }
    }
    let compared = compare(&noisy, &[]).unwrap();
    for aa in kneepoint::judge::analysis::summarise_with(&noisy, &MadeUp).unwrap().aa {
        let cell = compared.cells.iter().find(|cell| cell.context == aa.context).unwrap();
        assert!(aa.floor > 0.0 && (cell.floor.unwrap() - aa.floor).abs() < 1e-12, "{cell:?} {aa:?}");
    }
}

/// Tonight's build: one setting loses three tenths of its right answers, all decode a fifth slower.
fn tonight() -> Journal {
    let mut journal = journal();
    journal.header.run = "20260204-040506-made-up-3c4d".into();
    journal.header.engines[0].version = "b10434".into();
    for trial in &mut journal.trials {
        scale(trial, metric::DECODE_TPS, 0.8);
        let right = trial.outcome.score().and_then(|score| score.quality) == Some(1.0);
        if right && trial.key.setting == FAST && chance(&format!("tonight {}", trial.case)) < 0.3 {
            trial.outcome = Outcome::Scored(Score::of(0.0));
            if let Some(reply) = &mut trial.reply {
                reply.content = super::journal::HOSTILE.into();
            }
        }
    }
    journal
}

#[test]
fn what_got_worse_is_found_and_nothing_else() {
    let comparison = compare(&tonight(), FAIL_ON).unwrap();
    insta::assert_snapshot!(report::comparison(&comparison).expect("a text"));
    let of = |name: &str| -> Vec<&str> {
        let found = comparison.regressions.iter().filter(|r| r.threshold.measure.name() == name);
        found.map(|regression| regression.setting.as_str()).collect()
    };
    assert_eq!(of("quality"), [FAST, FAST], "at both context lengths");
    assert_eq!(of("decode").len(), 15, "every cell but the void one");
    assert!(of("ttft").is_empty() && of("memory").is_empty());
    assert_eq!(comparison.differences.len(), 1);
    assert_eq!(comparison.differences[0].what, "engine");
    assert_eq!(comparison.flips.len(), 4);
    assert!(comparison.flips.iter().all(|flip| flip.setting == FAST && flip.score_b < flip.score_a));
}

/// The same suite on another machine: twice as fast, four times as expensive.
#[test]
fn two_machines_stand_side_by_side_with_what_a_token_costs() {
    let mut other = journal();
    other.header.machine.cpu = "Another CPU".into();
    other.header.machine.memory_copy_bytes_per_s = Some(4e10);
    other.trials.iter_mut().for_each(|trial| scale(trial, metric::DECODE_TPS, 2.0));
    let plain = compare(&other, &[]).unwrap();
    assert_eq!(plain.differences.len(), 1, "a speed that only one of them knows is no difference");
    let row = plain.costs.iter().find(|row| row.setting == FAST).unwrap();
    assert_eq!(row.b.decode_tps, row.a.decode_tps.map(|rate| rate * 2.0));
    assert_eq!((row.a.prefill_tps, row.a.token_j), (row.b.prefill_tps, row.b.token_j));
    assert_eq!(row.a.million_output, None);
    let void = plain.cells.iter().find(|cell| cell.void.is_some()).unwrap();
    assert!(!plain.costs.iter().any(|row| (&row.setting, row.context) == (&void.setting, void.context)));

    let prices = compare::Prices { a: Some(1.0), b: Some(4.0) };
    let priced = compare_at(&other, &[], prices).unwrap();
    let row = priced.costs.iter().find(|row| row.setting == FAST).unwrap();
    let hour = row.a.decode_tps.unwrap() * 3600.0;
    assert!((row.a.million_output.unwrap() - 1e6 / hour).abs() < 1e-9);
    assert!((row.b.million_output.unwrap() / row.a.million_output.unwrap() - 2.0).abs() < 1e-9);
    assert!((row.b.million_prompt.unwrap() / row.a.million_prompt.unwrap() - 4.0).abs() < 1e-9);
    let text = report::comparison(&priced).expect("a text");
    assert!(text.contains("## The machines side by side") && text.contains("Another CPU"), "{text}");

    assert!(compare(&journal(), &[]).unwrap().costs.is_empty(), "one machine, no price: nothing to say");
    assert!(!compare_at(&journal(), &[], prices).unwrap().costs.is_empty());
}

#[test]
fn hostile_replies_are_harmless_in_the_comparison() {
    let text = report::comparison(&compare(&tonight(), &[]).unwrap()).expect("a text");
    for bad in ["<script", "\u{1b}", "](http", "\u{202e}", "@all"] {
        assert!(!text.contains(bad), "{bad:?}");
    }
}

#[test]
fn an_improvement_or_a_change_within_the_threshold_does_not_fail() {
    let mut better = journal();
    better.trials.iter_mut().for_each(|trial| scale(trial, metric::DECODE_TPS, 1.5));
    assert!(compare(&better, FAIL_ON).unwrap().regressions.is_empty());
    let mut slightly = journal();
    slightly.trials.iter_mut().for_each(|trial| scale(trial, metric::DECODE_TPS, 0.93));
    assert!(compare(&slightly, FAIL_ON).unwrap().regressions.is_empty());
}

#[test]
fn a_server_that_died_on_every_item_is_a_regression() {
    let mut dead = journal();
    for trial in dead.trials.iter_mut().filter(|trial| trial.key.setting == FAST) {
        trial.outcome = Outcome::Failed { stage: Stage::Server, error: "it died".into() };
        trial.reply = None;
    }
    let comparison = compare(&dead, &["quality=2pp"]).unwrap();
    assert_eq!(comparison.regressions.len(), 2);
    assert!(comparison.flips[0].reply_b.contains("it died"));
}

#[test]
fn runs_on_other_items_are_refused_by_name() {
    let mut other = journal();
    other.header.suite.seed = 8;
    for trial in &mut other.trials {
        trial.case = format!("other {}", trial.case).into();
    }
    let error = compare(&other, &[]).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(error.hints().iter().any(|hint| hint == "seed differs: 7 in A, 8 in B"), "{:?}", error.hints());

    let mut elsewhere = journal();
    for context in &mut elsewhere.header.suite.contexts {
        *context += 1;
    }
    let error = compare(&elsewhere, &[]).unwrap_err();
    assert!(error.to_string().contains("no setting at the same context length"), "{error}");
}

#[test]
fn runs_without_a_common_name_are_compared_by_their_references() {
    let mut other = journal();
    let labels = other.header.suite.settings.iter_mut().map(|setting| &mut setting.label);
    labels.for_each(|label| label.push_str(" elsewhere"));
    for trial in &mut other.trials {
        trial.key.change(|key| key.setting = format!("{} elsewhere", key.setting).into());
    }
    let comparison = compare(&other, &[]).unwrap();
    assert!(comparison.cells.iter().all(|cell| cell.setting == REFERENCE && cell.pairs > 0));
    assert!(!comparison.cells.is_empty() && comparison.flips_in_all == 0);
    let named = format!("`{REFERENCE}` in A with `{REFERENCE} elsewhere` in B");
    assert!(comparison.notes[0].contains(&named), "{:?}", comparison.notes);
}

#[test]
fn other_model_files_are_named() {
    let mut other = journal();
    other.header.models[1].sha256 = "c".repeat(64);
    let comparison = compare(&other, &[]).unwrap();
    assert_eq!(comparison.differences.len(), 1);
    assert_eq!(comparison.differences[0].what, "file of tiny Q4_1");
}

/// The smart and the fast setting of the made-up run, every case right, one second and two a request.
static TWO_SPEEDS: LazyLock<Journal> = LazyLock::new(|| {
    let mut journal = journal();
    let known = |label: &str| [REFERENCE, FAST].contains(&label);
    journal.header.suite.settings.retain(|setting| known(&setting.label));
    journal.trials.retain(|trial| known(&trial.key.setting) && trial.key.replicate == 0);
    for trial in &mut journal.trials {
        let seconds = if trial.key.setting == REFERENCE { 2.0 } else { 1.0 };
        trial.measurements.change(|m| {
            if m.name == metric::TOTAL_S && m.source == Source::Client {
                m.value = Some(seconds);
            }
        });
        if trial.outcome.score().is_some_and(|score| score.quality.is_some()) {
            trial.outcome = Outcome::Scored(Score::of(1.0));
        }
    }
    journal
});

/// The same with the cases that the fast setting loses.
fn two_speeds(loses: impl Fn(&Trial) -> bool) -> Journal {
    let mut journal = TWO_SPEEDS.clone();
    for trial in journal.trials.iter_mut().filter(|trial| trial.key.setting == FAST) {
        if trial.outcome.score().is_some_and(|score| score.quality.is_some()) && loses(trial) {
            trial.outcome = Outcome::Scored(Score::of(0.0));
        }
    }
    journal
}

fn route(journal: &Journal) -> Route {
    route_with(journal, &MadeUp, &route::RouteRequest::default()).expect("a route")
}

#[test]
fn a_policy_that_knows_where_the_fast_one_fails_beats_the_front() {
    let routed = route(&two_speeds(|trial| trial.key.context == 2048));
    insta::assert_snapshot!(report::route(&routed).unwrap());
    assert_eq!((routed.fast.as_str(), routed.smart.as_str()), (FAST, REFERENCE));
    let by_length =
        routed.policies.iter().find(|row| row.kind == PolicyKind::Threshold(Feature::PromptTokens)).unwrap();
    assert!(by_length.beats_front, "{by_length:?}");
    let smart = routed.settings.iter().find(|point| point.name == REFERENCE).unwrap();
    assert!((by_length.point.quality.value - smart.quality.value).abs() < 1e-9, "nothing is lost");
    assert!((by_length.point.latency_s.value - 1.5).abs() < 1e-9, "half of the cases take half as long");
    assert!(routed.verdict.starts_with("Routing by"), "{}", routed.verdict);
    assert!(routed.oracle.quality.value >= by_length.point.quality.value);
}

#[test]
fn where_nothing_known_beforehand_tells_no_policy_beats_the_front() {
    // The fast setting loses cases by the luck of their hashes: over ten such worlds, at most one false alarm.
    let mut alarms = 0;
    for world in 0..10 {
        let routed = route(&two_speeds(|trial| chance(&format!("{world} {}", trial.case)) < 0.3));
        alarms += u32::from(routed.policies.iter().any(|row| row.beats_front));
    }
    assert!(alarms <= 1, "{alarms} of 10");
}

#[test]
fn a_smart_setting_that_is_not_slower_needs_no_routing() {
    let mut journal = two_speeds(|_| false);
    for trial in &mut journal.trials {
        scale(trial, metric::TOTAL_S, if trial.key.setting == REFERENCE { 0.25 } else { 1.0 });
    }
    assert!(route(&journal).verdict.contains("nothing to route for"));
}

#[test]
fn settings_to_route_between_can_be_named() {
    let request = |fast: &str, smart: &str| {
        let request = route::RouteRequest { fast: Some(fast.into()), smart: Some(smart.into()) };
        route_with(&journal(), &MadeUp, &request)
    };
    assert_eq!(request("Q4_1 kv=q8_0", FAST).unwrap().smart, FAST);
    assert!(request(FAST, FAST).unwrap_err().to_string().contains("the same"));
    let error = request("Q4_1 kv=q8", FAST).unwrap_err();
    assert!(error.hints()[0].contains("did you mean"), "{:?}", error.hints());
}

#[test]
fn the_json_obeys_its_schemas() {
    let check = |schema: &str, value: serde_json::Value| {
        let validator = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
        let errors: Vec<String> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    };
    let plain = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let picked = pick(&PickRequest { goal: Goal::Knee, ..PickRequest::new(512) }).unwrap();
    let text = serde_json::to_string(&picked).unwrap();
    assert_eq!(serde_json::from_str::<Pick>(&text).unwrap(), picked);
    check(include_str!("../../../docs/schema/pick.schema.json"), plain(text));
    let compared = compare(&tonight(), FAIL_ON).unwrap();
    let text = serde_json::to_string(&compared).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&text).unwrap(), compared);
    check(include_str!("../../../docs/schema/compare.schema.json"), plain(text));
    let routed = route(&two_speeds(|trial| trial.key.context == 2048));
    let text = serde_json::to_string(&routed).unwrap();
    assert_eq!(serde_json::from_str::<Route>(&text).unwrap(), routed);
    check(include_str!("../../../docs/schema/route.schema.json"), plain(text));
}
