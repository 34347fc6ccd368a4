//! Small made-up summaries for unit tests.

use std::path::Path;

use super::summary::{CellSummary, SUMMARY_SCHEMA_VERSION, Summary};
use crate::record::journal::{FORMAT, Header, Journal, LaunchRecord};
use crate::record::suite::Suite;
use crate::record::{
    Argv, Case, Effective, KeyParts, Machine, Measurement, Measurements, Message, ModelInfo, Objective,
    Outcome, Prompt, Score, Source, Stage, Trial, metric,
};

/// The setting of [`Play`] that breaks or is compared.
pub(crate) const OTHER: &str = "m kv=q4_0";

/// The reference of [`Play`].
pub(crate) const REFERENCE: &str = "m kv=f16";

/// A made-up run of the reference (twice) and one setting over three tasks, 19 cases each: an easy one, a middling one
/// and a hard one.
pub(crate) struct Play {
    pub(crate) journal: Journal,
}

/// The tasks of [`Play`] with the share of cases that the reference gets right, in twentieths, and the length of their
/// prompts (tokens).
pub(crate) const PLAYED: [(&str, u32, u32); 3] =
    [("retrieval/niah_multikey_2", 18, 500), ("retrieval/counting", 10, 480), ("tools/selection", 4, 60)];

/// Cases of each task of [`Play`].
pub(crate) const ITEMS: u32 = 19;

impl Play {
    /// The run before its first trial, with more lines of the suite.
    pub(crate) fn new(more: &str) -> Self {
        let task = |(name, ..): &(&str, u32, u32)| {
            let arms = if name.starts_with("tools/") { "arms = [\"native\"]\n" } else { "" };
            format!("[[task]]\nname = \"{name}\"\nsamples = {ITEMS}\n{arms}")
        };
        let tasks: String = PLAYED.iter().map(task).collect();
        let text = format!(
            "name = \"t\"\ncontexts = [512]\nrounds = 1\ndraws = 300\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\n\
             weights = \"Q8_0\"\n[reference]\n[[setting]]\nkv = \"q4_0\"\n{tasks}{more}"
        );
        let mut suite = crate::suite::parse(&text, Path::new("t.toml"), &[]).expect("a suite");
        suite.settings[0].label = REFERENCE.into();
        suite.settings[1].label = OTHER.into();
        let mut journal = Journal::new(header(suite));
        for (task, _, prompt_tokens) in PLAYED {
            journal.cases.extend((0..ITEMS).map(|index| case(task, index, prompt_tokens)));
        }
        Self { journal }
    }

    /// Both visits of the reference.
    pub(crate) fn reference(mut self) -> Self {
        for replicate in 0..2 {
            self.visit(REFERENCE, replicate, right);
        }
        self
    }

    /// The other setting, whose every case ends like this.
    pub(crate) fn other(mut self, outcome: impl Fn(&str, u32) -> Outcome) -> Self {
        self.visit(OTHER, 0, outcome);
        self
    }

    fn visit(&mut self, setting: &str, replicate: u32, outcome: impl Fn(&str, u32) -> Outcome) {
        for (task, _, prompt_tokens) in PLAYED {
            for index in 0..ITEMS {
                let of = case(task, index, prompt_tokens);
                let outcome = outcome(task, index);
                let broke = matches!(outcome, Outcome::Failed { .. });
                let speed = if setting == OTHER { 2.0 } else { 1.0 };
                let measured = |name, value| Measurement::new(name, Source::Client, value);
                self.journal.trials.push(Trial {
                    key: KeyParts {
                        setting: setting.into(),
                        context: 512,
                        round: 0,
                        replicate,
                        task: task.into(),
                        arm: of.arm,
                        index,
                        repeat: 0,
                    }
                    .key(),
                    // What the server's end took with it was never made into a case.
                    case: if broke { "".into() } else { of.id },
                    launch: replicate + 2 * u32::from(setting == OTHER),
                    started: "2026-01-01T00:00:00Z".into(),
                    tick: None,
                    reply: None,
                    measurements: if broke {
                        Measurements::default()
                    } else {
                        Measurements::from(vec![
                            measured(metric::TTFT_S, f64::from(prompt_tokens) / 1000.0 / speed),
                            measured(metric::DECODE_TPS, 50.0 * speed),
                            measured(metric::TOTAL_S, 1.0 / speed),
                            Measurement::new(
                                metric::PEAK_RSS_BYTES,
                                Source::Procfs,
                                if setting == OTHER { 4e8 } else { 5e8 },
                            ),
                        ])
                    },
                    outcome,
                });
            }
        }
    }
}

fn case(task: &str, index: u32, prompt_tokens: u32) -> Case {
    Case {
        id: format!("{task} {index}").into(),
        task: task.into(),
        task_version: 1,
        arm: task.starts_with("tools/").then_some(crate::record::Arm::Native),
        context: 512,
        index,
        depth: None,
        cluster: format!("{task} {index}").into(),
        prompt: Prompt::chat(vec![Message::user("?")]),
        max_tokens: 8,
        prompt_tokens,
        target: serde_json::Value::Null,
        forced: Vec::new(),
        shared_tokens: 0,
    }
}

/// What the reference makes of a case of [`Play`].
pub(crate) fn right(task: &str, index: u32) -> Outcome {
    let of = PLAYED.iter().find(|(name, ..)| *name == task).map_or(0, |(_, twentieths, _)| *twentieths);
    Outcome::Scored(Score::of(f64::from(u8::from(index * 7 % 20 < of))))
}

/// A trial that broke.
pub(crate) fn broke() -> Outcome {
    Outcome::Failed { stage: Stage::Server, error: "the server is gone".into() }
}

/// A case that does not apply.
pub(crate) fn unscored() -> Outcome {
    Outcome::Unscored { reason: "the template drops the tools".into() }
}

/// A cell with nothing measured.
pub(crate) fn cell(setting: &str, context: u32) -> CellSummary {
    CellSummary::unmeasured(setting, context)
}

/// The header of a run of a suite.
pub(crate) fn header(suite: Suite) -> Header {
    Header {
        format: FORMAT,
        run: "20260101-000000-test-0123".into(),
        started: "2026-01-01T00:00:00Z".into(),
        tool_version: "0.1.0".into(),
        git_hash: None,
        fingerprint: suite.fingerprint(),
        suite,
        repeat: "kneepoint run suites/test.toml".into(),
        machine: Machine::default(),
        engines: Vec::new(),
        models: Vec::new(),
        files: Vec::new(),
        filters: Vec::new(),
        environment: None,
        choice_notes: None,
        spread: None,
        worker: None,
    }
}

/// A model file of so many bytes, of which nothing else is known.
pub(crate) fn model(bytes: u64) -> ModelInfo {
    ModelInfo {
        name: "m".into(),
        weights: "Q8_0".into(),
        origin: String::new(),
        derived: false,
        sha256: String::new(),
        bytes,
        kv: None,
        kv_unknown: None,
        trained: None,
        mostly: None,
        parameters: None,
        read_bytes: None,
        tokenizer: None,
    }
}

/// A server of a setting that came up.
pub(crate) fn launch(setting: &str, context: u32) -> LaunchRecord {
    LaunchRecord {
        id: 0,
        setting: setting.into(),
        context,
        served_at: None,
        round: 0,
        replicate: 0,
        started: "2026-01-01T00:00:00Z".into(),
        tick: None,
        argv: Argv::default(),
        load_s: Some(1.0),
        effective: Effective::default(),
        deviations: Vec::new(),
        failure: None,
        log: String::new(),
        attached: None,
        pack: None,
    }
}

/// A run in which nothing was measured.
pub(crate) fn summary() -> Summary {
    Summary {
        pack: None,
        schema_version: SUMMARY_SCHEMA_VERSION,
        tool_version: "0.1.0".into(),
        suite: "test".into(),
        description: "made up".into(),
        fingerprint: "0123456789abcdef".into(),
        run: "20260101-000000-test-0123".into(),
        started: "2026-01-01T00:00:00Z".into(),
        duration_s: 60.0,
        repeat: "kneepoint run suites/test.toml".into(),
        planned: 0,
        done: 0,
        machine: Machine::default(),
        engines: Vec::new(),
        models: Vec::new(),
        reference: "F16 kv=f16".into(),
        margin: 0.02,
        score: Default::default(),
        busy_s: 0.0,
        selection: Vec::new(),
        seed: 1,
        confidence: 0.95,
        draws: 1000,
        sampling: Vec::new(),
        objectives: vec![Objective::Quality, Objective::Decode, Objective::Memory],
        verdict: "Made up.".into(),
        night_before: None,
        cells: Vec::new(),
        aa: Vec::new(),
        tasks: Vec::new(),
        repeats: Vec::new(),
        thinking: Vec::new(),
        speeds: Vec::new(),
        depths: Vec::new(),
        conversations: Vec::new(),
        kld_bands: Vec::new(),
        divergence: Vec::new(),
        speculation: Vec::new(),
        prefix_cache: Vec::new(),
        workers: Vec::new(),
        figures: Vec::new(),
        memory_fits: Vec::new(),
        effective: Vec::new(),
        triggers: Vec::new(),
        arms: Vec::new(),
        held: Vec::new(),
        load: None,
        fronts: Vec::new(),
        interactions: Vec::new(),
        stopping: None,
        gates: Vec::new(),
        failures: Vec::new(),
        warnings: Vec::new(),
        not_measured: Vec::new(),
    }
}
