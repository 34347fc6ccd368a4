//! Made-up runs of any size, the same every time: for what takes long or grows large.

use std::path::Path;

use kneepoint::error::Result;
use kneepoint::record::journal::{self, FORMAT, Header, Journal};
use kneepoint::record::{
    Case, KeyParts, Machine, Measurement, Message, Outcome, Prompt, Reply, Score, Source, Trial, TrialKey,
    metric,
};
use kneepoint::{suite, task};

const WEIGHTS: [&str; 4] = ["Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M"];
const CACHES: [&str; 5] = ["f16", "q8_0", "q5_1", "q5_0", "q4_0"];

/// The size of a made-up run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) settings: u32,
    pub(crate) contexts: u32,
    pub(crate) tasks: &'static [&'static str],
    /// Cases of each task at each context length.
    pub(crate) items: u32,
    pub(crate) draws: u32,
    /// Characters of a reply and, six times as many, of a prompt; 0: nothing is said.
    pub(crate) said: u32,
    pub(crate) rounds: u32,
}

/// A long night: some 7,000 trials with replies.
#[allow(dead_code, reason = "not every user of this file looks at pages")]
pub(crate) const TRIALS: Size = Size {
    settings: 10,
    contexts: 4,
    tasks: &["retrieval/niah_multikey_2", "retrieval/variable_tracking", "coherence/running_sum"],
    items: 59,
    draws: 1000,
    said: 900,
    rounds: 2,
};

/// A wide search: 1,000 cells.
#[allow(dead_code, reason = "as above")]
pub(crate) const CELLS: Size = Size {
    settings: 200,
    contexts: 5,
    tasks: &["retrieval/niah_multikey_2"],
    items: 8,
    draws: 1000,
    said: 900,
    rounds: 2,
};

/// A run whose settings lose the more cases the coarser they are, in two rounds.
pub(crate) fn journal(size: Size) -> Result<Journal> {
    let mut journal = Journal::new(header(size)?);

    let suite = journal.header.suite.clone();
    let mut luck = Luck(1);
    for (&context, level) in suite.contexts.iter().zip(0..) {
        for (&task, number) in size.tasks.iter().zip(0..) {
            for index in 0..size.items {
                let right = luck.share() < 0.8;
                let case = case(task, number, context, index, size.said);
                for (setting, coarseness) in suite.settings.iter().zip(0..) {
                    let kept = luck.share() >= 0.004 * f64::from(coarseness % 20);
                    let key = key(&setting.label, task, context, index, suite.rounds);
                    let launch = (level * size.settings + coarseness) * suite.rounds + index % suite.rounds;
                    let decode = 40.0 + f64::from(coarseness % 20) + luck.share();
                    let mut made = trial(key, &case.id, launch, right && kept, decode);
                    if size.said > 0 {
                        // What a setting says leaves the reference's words somewhere.
                        let same = if coarseness == 0 {
                            size.said
                        } else {
                            (luck.share() * f64::from(size.said)) as u32
                        };
                        let content = words(index, same) + &words(index + 1 + coarseness, size.said - same);
                        made.reply = Some(Box::new(Reply { content, ..Reply::default() }));
                    }
                    journal.trials.push(made);
                }
                journal.cases.push(case);
            }
        }
    }
    Ok(journal)
}

pub(crate) fn header(size: Size) -> Result<Header> {
    let suite = suite::parse(&suite_text(size), Path::new("bench.toml"), &[])?;
    Ok(Header {
        format: FORMAT,
        run: "bench".into(),
        started: "2026-01-01T00:00:00Z".into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        git_hash: None,
        fingerprint: journal::fingerprint(&suite, &[], task::version_of, &[], &[], &[]),
        suite,
        repeat: String::new(),
        machine: Machine::default(),
        engines: Vec::new(),
        models: Vec::new(),
        files: Vec::new(),
        filters: Vec::new(),
        environment: None,
        choice_notes: None,
        spread: None,
        worker: None,
    })
}

pub(crate) fn key(setting: &str, task: &str, context: u32, index: u32, rounds: u32) -> TrialKey {
    KeyParts {
        setting: setting.into(),
        context,
        round: index % rounds,
        replicate: 0,
        task: task.into(),
        arm: None,
        index,
        repeat: 0,
    }
    .key()
}

fn suite_text(size: Size) -> String {
    let contexts: Vec<String> = (0..size.contexts).map(|n| (1024 * (n + 1)).to_string()).collect();
    let models: String = WEIGHTS
        .iter()
        .map(|weights| {
            format!("[[model]]\nname = \"{weights}\"\npath = \"m.gguf\"\nweights = \"{weights}\"\n")
        })
        .collect();
    let pairs: Vec<(&str, &str)> =
        WEIGHTS.iter().flat_map(|weights| CACHES.iter().map(move |cache| (*weights, *cache))).collect();
    let settings: String = (0..size.settings as usize)
        .map(|at| {
            let (model, kv) = pairs[at % pairs.len()];
            let ubatch = match at / pairs.len() {
                0 => String::new(),
                variant => format!("options = {{ ubatch = {} }}\n", 32 * variant),
            };
            format!("[[setting]]\nmodel = \"{model}\"\nweights = \"{model}\"\nkv = \"{kv}\"\n{ubatch}")
        })
        .collect();
    let tasks: String = size
        .tasks
        .iter()
        .map(|task| format!("[[task]]\nname = \"{task}\"\nsamples = {}\n", size.items))
        .collect();
    format!(
        "name = \"bench\"\nrounds = {}\ndraws = {}\ncontexts = [{}]\nobjectives = [\"quality\", \"decode\", \"memory\"]\n\
         {models}[reference]\nmodel = \"Q8_0\"\nkv = \"f16\"\n{settings}{tasks}",
        size.rounds,
        size.draws,
        contexts.join(", "),
    )
}

pub(crate) fn id(context: u32, number: u32, index: u32) -> String {
    format!("{context:08x}{number:02x}{index:06x}")
}

pub(crate) fn case(task: &str, number: u32, context: u32, index: u32, said: u32) -> Case {
    let prompt = if said == 0 { "?".to_owned() } else { words(index, 6 * said) };
    Case {
        id: id(context, number, index).into(),
        task: task.into(),
        task_version: task::version_of(task),
        arm: None,
        context,
        index,
        depth: None,
        cluster: format!("{index}").into(),
        prompt: Prompt::chat(vec![Message::user(&prompt)]),
        max_tokens: 8,
        prompt_tokens: 100,
        target: serde_json::Value::Null,
        forced: Vec::new(),
        shared_tokens: 0,
    }
}

/// Words of so many characters.
fn words(from: u32, characters: u32) -> String {
    const WORDS: [&str; 8] = ["kiwi", "the", "<b>", "number", "of", "answer", "&", "seven"];
    let mut said = String::new();
    let mut luck = Luck(u64::from(from) + 7);
    while said.len() < characters as usize {
        said.push_str(WORDS[(luck.share() * WORDS.len() as f64) as usize]);
        said.push(' ');
    }
    said.truncate(characters as usize);
    said
}

pub(crate) fn trial(key: TrialKey, case: &str, launch: u32, right: bool, decode_tps: f64) -> Trial {
    Trial {
        key,
        case: case.into(),
        launch,
        started: "2026-01-01T00:00:00Z".into(),
        tick: None,
        reply: None,
        measurements: vec![
            Measurement::new(metric::DECODE_TPS, Source::Client, decode_tps),
            Measurement::new(metric::PEAK_RSS_BYTES, Source::Procfs, 1e9 / decode_tps),
        ]
        .into(),
        outcome: Outcome::Scored(Score::of(f64::from(u8::from(right)))),
    }
}

/// Repeatable numbers: splitmix64 (Steele et al. 2014).
pub(crate) struct Luck(pub(crate) u64);

impl Luck {
    /// In 0..1.
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / 2.0_f64.powi(64)
    }
}
