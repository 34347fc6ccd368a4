//! A made-up but plausible run: eight settings, two context lengths, a void cell, failures with hostile text.

use std::collections::BTreeMap;

use kneepoint::judge::analysis::Tasks;
use kneepoint::record::journal::{FORMAT, Header, Journal, LaunchRecord};
use kneepoint::record::kv::{KvGroup, KvShape};
use kneepoint::record::suite::{
    EngineSpec, FlashAttention, ModelSpec, Relaunch, Sampling, Setting, Suite, TaskSpec,
};
use kneepoint::record::{
    Argv, Arm, Case, Effective, EngineInfo, FinishReason, KeyParts, Machine, Measurement, Message, ModelInfo,
    Objective, Outcome, PackedDistributions, Packing, Prompt, Reply, Score, Source, Stage, Trial, metric,
    short_hash,
};
use kneepoint::task::{Comparison, PositionKld, Weight};

pub(crate) const CONTEXTS: [u32; 2] = [512, 2048];
pub(crate) const HOSTILE: &str =
    "<script>alert('x')</script> | `rm -rf` \u{1b}[2J\nserver said: ![a](http://b) \u{202e}@all";

/// How a setting really is, in this made-up world.
struct Truth {
    weights: &'static str,
    kv: &'static str,
    speculation: &'static str,
    /// Probability that a case which the reference gets right is lost.
    loss: f64,
    kld: f64,
    decode_tps: f64,
    memory_mib: f64,
}

const fn truth(
    weights: &'static str,
    kv: &'static str,
    speculation: &'static str,
    loss: f64,
    kld: f64,
    decode_tps: f64,
    memory_mib: f64,
) -> Truth {
    Truth { weights, kv, speculation, loss, kld, decode_tps, memory_mib }
}

const TRUTHS: &[Truth] = &[
    truth("Q8_0", "f16", "off", 0.0, 0.0, 41.0, 312.0),
    truth("Q8_0", "q8_0", "off", 0.0, 0.002, 40.5, 291.0),
    truth("Q8_0", "q4_0", "off", 0.25, 0.03, 40.0, 280.0),
    truth("Q8_0", "f16", "ngram-simple", 0.0, 0.0, 55.0, 313.0),
    truth("Q4_1", "f16", "off", 0.02, 0.06, 58.0, 226.0),
    truth("Q4_1", "q8_0", "off", 0.02, 0.062, 57.0, 205.0),
    truth("Q4_1", "q4_0", "ngram-simple", 0.3, 0.1, 74.0, 195.0),
    truth("Q2_K", "q4_0", "off", 0.9, 0.9, 62.0, 160.0),
];

/// Repeatable numbers in 0..1 from a name.
pub(crate) fn chance(name: &str) -> f64 {
    let digits = u64::from_str_radix(&short_hash(name.as_bytes())[..12], 16).expect("hex digits");
    digits as f64 / (1_u64 << 48) as f64
}

/// Repeatable noise around 1.
fn wobble(name: &str) -> f64 {
    1.0 + 0.06 * (chance(name) + chance(&format!("{name} again")) - 1.0)
}

/// The tasks of the made-up run.
pub(crate) struct MadeUp;

impl Tasks for MadeUp {
    fn weight(&self, task: &str) -> Option<Weight> {
        Some(match task {
            "coherence/kld" => Weight::Comparative,
            "retrieval/niah_single_1" => Weight::Sanity,
            _ => Weight::Primary,
        })
    }

    fn comparison(&self, task: &str) -> Comparison {
        if task == "coherence/kld" { Comparison::Distributions(positions) } else { Comparison::None }
    }
}

/// The reply's `data` is the mean KLD of the setting.
fn positions(case: &Case, reply: &Reply, reference: &Reply) -> Vec<PositionKld> {
    let mean = |reply: &Reply| reply.distributions.as_ref()?.data.parse::<f64>().ok();
    let (Some(shift), Some(none)) = (mean(reply), mean(reference)) else {
        return Vec::new();
    };
    let position = |at: usize| {
        let luck = chance(&format!("{} {at}", case.id));
        PositionKld {
            position: case.context as usize - 64 + at,
            kld: (shift - none) * 3.0 * luck * luck,
            delta_p: -shift * luck,
            same_top: luck * shift < 0.05,
            nll: 2.0 + luck + shift,
            outside: luck > 0.97,
            unlisted: 0.2 * luck,
        }
    };
    (0..64).map(position).collect()
}

pub(crate) fn journal() -> Journal {
    let suite = suite();
    let header = Header {
        format: FORMAT,
        run: "20260203-040506-made-up-1a2b".into(),
        started: "2026-02-03T04:05:06Z".into(),
        tool_version: "0.1.0".into(),
        git_hash: None,
        fingerprint: suite.fingerprint(),
        suite: suite.clone(),
        repeat: "kneepoint run suites/made-up.toml".into(),
        files: Vec::new(),
        filters: Vec::new(),
        environment: None,
        choice_notes: None,
        spread: None,
        worker: None,
        machine: Machine {
            os: "Linux 6.1".into(),
            cpu: "Made-up CPU at 2.5 GHz".into(),
            cpus: 2,
            memory_bytes: 8 << 30,
            ..Machine::default()
        },
        engines: vec![EngineInfo {
            name: "llama.cpp".into(),
            version: "b10068".into(),
            origin: "the pinned package".into(),
            sha256: None,
            placement: None,
        }],
        models: vec![model("Q8_0", false), model("Q4_1", true)],
    };
    let mut journal = Journal::new(header);
    journal.cases = cases(&suite);
    for round in 0..suite.rounds {
        for context in CONTEXTS {
            for (setting, truth) in suite.settings.iter().zip(TRUTHS) {
                visit(&mut journal, setting, truth, (context, round, 0));
            }
            visit(&mut journal, &suite.settings[0], &TRUTHS[0], (context, round, 1));
        }
    }
    journal
}

fn model(weights: &str, derived: bool) -> ModelInfo {
    let origin = if derived { "requantised from Q8_0 by kneepoint" } else { "the pinned package" };
    ModelInfo {
        name: "tiny".into(),
        weights: weights.into(),
        origin: origin.into(),
        derived,
        sha256: "b".repeat(64),
        bytes: 98_765_432,
        // 30 layers of 3 KV heads of 64 values: 11,520 bytes a token and side in f16, as `launch` has it.
        kv: Some(KvShape {
            groups: vec![KvGroup { layers: 30, k_values: 192, v_values: 192, ..KvGroup::default() }],
            state_bytes: 0,
        }),
        kv_unknown: None,
        trained: None,
        mostly: None,
        parameters: None,
        read_bytes: None,
        tokenizer: None,
    }
}

fn suite() -> Suite {
    let settings = TRUTHS.iter().map(|truth| {
        let mut setting = Setting {
            label: String::new(),
            engine: "llama.cpp".into(),
            model: "tiny".into(),
            weights: truth.weights.into(),
            k: truth.kv.into(),
            v: truth.kv.into(),
            speculation: truth.speculation.into(),
            flash_attention: FlashAttention::On,
            draft: None,
            options: Default::default(),
            extra_args: Vec::new(),
            sampling: None,
        };
        setting.label = setting.label_of(false);
        setting
    });
    let task = |name: &str, samples, arms: &[Arm]| TaskSpec {
        name: name.into(),
        samples,
        contexts: CONTEXTS.to_vec(),
        arms: arms.to_vec(),
        mode: Default::default(),
        score: Default::default(),
        questions: 1,
        repeats: 1,
        window: None,
        primary: None,
        text: None,
        options: BTreeMap::new(),
        file: None,
    };
    Suite {
        pack: None,
        name: "made-up".into(),
        description: "A run that never happened.".into(),
        seed: 7,
        rounds: 2,
        margin: 0.02,
        confidence: 0.95,
        draws: 200,
        contexts: CONTEXTS.to_vec(),
        objectives: vec![Objective::Quality, Objective::Decode, Objective::Memory],
        engine: EngineSpec {
            speed_overlaps: false,
            name: "llama.cpp".into(),
            binary: None,
            args: Vec::new(),
            threads: Some(2),
            start_timeout_s: 60.0,
            request_timeout_s: 120.0,
            idle_timeout_s: 60.0,
            url: None,
            api_key_env: None,
            served_model: None,
            relaunch: Relaunch::Context,
        },
        models: vec![ModelSpec {
            name: "tiny".into(),
            package: Some("tiny".into()),
            weights: "Q8_0".into(),
            derive: vec!["Q4_1".into(), "Q2_K".into()],
            ..ModelSpec::default()
        }],
        settings: settings.collect(),
        tasks: vec![
            task("retrieval/niah_multikey_2", 100, &[]),
            task("retrieval/niah_single_1", 20, &[]),
            task("tools/arguments", 100, &[Arm::Prompted, Arm::Native]),
            task("coherence/kld", 4, &[]),
        ],
        sampling: Sampling::default(),
        stopping: None,
        load: None,
        gates: Vec::new(),
        notify: None,
    }
}

fn cases(suite: &Suite) -> Vec<Case> {
    let mut cases = Vec::new();
    for context in CONTEXTS {
        for task in &suite.tasks {
            let arms: Vec<Option<Arm>> = match task.arms.as_slice() {
                [] => vec![None],
                arms => arms.iter().copied().map(Some).collect(),
            };
            for arm in arms {
                cases.extend(
                    (0..task.samples).map(|index| case(&task.name, arm, context, index, task.samples)),
                );
            }
        }
    }
    cases
}

fn case(task: &str, arm: Option<Arm>, context: u32, index: u32, samples: u32) -> Case {
    let prompt = if task == "coherence/kld" {
        Prompt::Distributions {
            tokens: (0..context).collect(),
            first: context as usize - 64,
            top_k: 64,
            bands: Vec::new(),
            by_decode: false,
        }
    } else {
        Prompt::chat(vec![Message::user(format!("{task} {index}"))])
    };
    let has_place = task.starts_with("retrieval/");
    Case {
        id: "".into(),
        task: task.into(),
        task_version: 1,
        arm,
        context,
        index,
        depth: has_place.then(|| f64::from(index) / f64::from(samples - 1)),
        cluster: format!("{task} {index}").into(),
        prompt,
        max_tokens: 32,
        prompt_tokens: context - 32,
        target: serde_json::Value::Null,
        forced: Vec::new(),
        shared_tokens: 0,
    }
    .seal()
}

fn visit(
    journal: &mut Journal,
    setting: &Setting,
    truth: &Truth,
    (context, round, replicate): (u32, u32, u32),
) {
    let id = journal.launches.len() as u32;
    journal.launches.push(launch(setting, truth, (context, round, replicate), id));
    let rounds = journal.header.suite.rounds;
    let cases: Vec<Case> = journal
        .cases
        .iter()
        .filter(|case| case.context == context && case.index % rounds == round)
        .cloned()
        .collect();
    for case in cases {
        let trial = trial(&case, setting, truth, (round, replicate), id, journal.trials.len());
        journal.trials.push(trial);
    }
}

fn launch(
    setting: &Setting,
    truth: &Truth,
    (context, round, replicate): (u32, u32, u32),
    id: u32,
) -> LaunchRecord {
    let kv_bytes = u64::from(context) * if truth.kv == "f16" { 11_520 } else { 6_120 };
    let args = ["-m", "tiny.gguf", "-c", &context.to_string(), "-ctk", truth.kv, "-ctv", truth.kv];
    let void = truth.weights == "Q2_K" && context == 2048;
    LaunchRecord {
        pack: None,
        id,
        setting: setting.label.as_str().into(),
        context,
        served_at: None,
        round,
        replicate,
        started: "2026-02-03T04:05:06Z".into(),
        tick: None,
        argv: Argv {
            program: "llama-server".into(),
            args: args.map(str::to_owned).to_vec(),
            env: Vec::new(),
        },
        load_s: Some(0.8),
        effective: Effective {
            build: Some("b10068".into()),
            k: Some(truth.kv.into()),
            v: Some(truth.kv.into()),
            flash_attention: Some(true),
            context: Some(context),
            k_bytes: Some(kv_bytes),
            v_bytes: Some(kv_bytes),
            ..Effective::default()
        },
        deviations: if void { vec!["context per slot is 1024, not 2048".into()] } else { Vec::new() },
        failure: None,
        log: format!("engine/{id}.log"),
        attached: None,
    }
}

fn trial(
    case: &Case,
    setting: &Setting,
    truth: &Truth,
    (round, replicate): (u32, u32),
    launch: u32,
    number: usize,
) -> Trial {
    let name = format!("{} {} {replicate}", case.id, setting.label);
    let reply = reply(case, truth, &name);
    Trial {
        key: KeyParts {
            setting: setting.label.as_str().into(),
            context: case.context,
            round,
            replicate,
            task: case.task.as_str().into(),
            arm: case.arm,
            index: case.index,
            repeat: 0,
        }
        .key(),
        case: case.id.as_str().into(),
        launch,
        started: format!("2026-02-03T{:02}:{:02}:{:02}Z", 4 + number / 3600, number / 60 % 60, number % 60)
            .into(),
        tick: None,
        measurements: measurements(case, truth, &name).into(),
        outcome: outcome(case, setting, truth, replicate),
        reply: Some(Box::new(reply)),
    }
}

fn reply(case: &Case, truth: &Truth, name: &str) -> Reply {
    let distributions = matches!(case.prompt, Prompt::Distributions { .. }).then(|| PackedDistributions {
        path: kneepoint::record::ReadPath::Decode,
        top_k: 64,
        data: truth.kld.to_string(),
        packing: Packing::Records,
    });
    Reply {
        content: format!("{:.3}", truth.loss),
        finish_reason: Some(if chance(name) < 0.03 { FinishReason::Length } else { FinishReason::Stop }),
        distributions,
        ..Reply::default()
    }
}

fn outcome(case: &Case, setting: &Setting, truth: &Truth, replicate: u32) -> Outcome {
    if case.task == "coherence/kld" {
        return Outcome::Scored(Score::default());
    }
    if truth.weights == "Q2_K" && case.index == 3 && case.task == "retrieval/niah_single_1" {
        return Outcome::Failed { stage: Stage::Stream, error: HOSTILE.into() };
    }
    if case.arm == Some(Arm::Native) && case.index.is_multiple_of(10) {
        return Outcome::Unscored { reason: "the chat template drops the tools".into() };
    }
    if case.arm == Some(Arm::Native) {
        return Outcome::Scored(Score::of(0.0).labelled("no_call"));
    }
    let base = if case.task == "retrieval/niah_single_1" { 0.99 } else { 0.72 };
    let right = chance(&case.id) < base;
    let lost =
        chance(&format!("{} {} {replicate}", case.id, truth.weights.to_owned() + truth.kv)) < truth.loss;
    let _ = setting;
    match (right, lost) {
        (true, false) => Outcome::Scored(Score::of(1.0)),
        (true, true) => Outcome::Scored(Score::of(0.0).labelled("other_needle")),
        _ => Outcome::Scored(Score::of(0.0).labelled("wrong")),
    }
}

fn measurements(case: &Case, truth: &Truth, name: &str) -> Vec<Measurement> {
    let noisy = |what: &'static str, value: f64| value * wobble(&format!("{name} {what}"));
    let mib = |what: &'static str, value: f64| {
        let bytes = (noisy(what, value) * f64::from(1 << 20)).round();
        Measurement::new(what, Source::Procfs, bytes)
    };
    let mut all = vec![
        mib(metric::PEAK_RSS_BYTES, truth.memory_mib),
        Measurement::absent(metric::PEAK_PSS_BYTES, Source::Procfs, "smaps_rollup cannot be read"),
        Measurement::new(metric::STEAL, Source::Procfs, if chance(name) < 0.02 { 0.12 } else { 0.0 }),
        Measurement::new(metric::OTHER_CPU, Source::Procfs, 0.02),
    ];
    if matches!(case.prompt, Prompt::Distributions { .. }) {
        return all;
    }
    let decode = noisy(metric::DECODE_TPS, truth.decode_tps);
    let prefill = noisy(metric::PREFILL_TPS, 900.0);
    all.extend([
        Measurement::new(metric::TTFT_S, Source::Client, f64::from(case.context) / prefill),
        Measurement::new(metric::TOTAL_S, Source::Client, f64::from(case.context) / prefill + 0.5),
        Measurement::new(metric::CPU_ENERGY_J, Source::Rapl, noisy(metric::CPU_ENERGY_J, 25.0)),
        Measurement::absent(metric::GPU_ENERGY_J, Source::Nvml, "no card answers"),
        Measurement::absent(metric::GPU_OTHERS, Source::Nvml, "no card answers"),
        Measurement::new(metric::PREFILL_TPS, Source::Engine, prefill),
        Measurement::new(metric::DECODE_TPS, Source::Client, decode),
        Measurement::new(
            metric::DECODE_TPS,
            Source::Engine,
            decode * if truth.kv == "q4_0" { 1.08 } else { 1.01 },
        ),
        Measurement::new(metric::OUTPUT_TOKENS, Source::Engine, 24.0),
        Measurement::new(metric::ITL_P50_S, Source::Client, 1.0 / decode),
        Measurement::new(metric::ITL_P95_S, Source::Client, 1.4 / decode),
        Measurement::new(metric::ITL_MAX_S, Source::Client, 3.0 / decode),
    ]);
    if truth.speculation != "off" {
        all.push(Measurement::new(metric::DRAFT_TOKENS, Source::Engine, 20.0));
        all.push(Measurement {
            name: metric::DRAFT_ACCEPTED.into(),
            source: Source::Engine,
            value: Some(9.0),
            absent: None,
        });
    }
    all
}
