use std::path::Path;

use super::super::{Registry, summarise_with, testing};
use super::*;
use crate::record::journal::Journal;
use crate::record::{
    Case, DraftPoint, DraftPosition, DraftTrace, KeyParts, Measurement, Message, Outcome, Prompt, Reply,
    Score, Source, metric,
};
use crate::task::Task as _;
use crate::task::coherence::greedy_divergence::GreedyDivergence;

/// What a made-up reply is like.
struct Made {
    /// Decode rate (tokens/s).
    rate: f64,
    /// Drafted and accepted tokens.
    drafts: Option<(u32, u32)>,
    /// Whether it parts from the others'.
    parts: bool,
}

fn journal(sampling: &str, settings: &str) -> Journal {
    let text = format!(
        "name = \"t\"\ncontexts = [4096]\nrounds = 1\ndraws = 400\n[sampling]\n{sampling}\n[[model]]\nname = \"m\"\n\
         path = \"m.gguf\"\nweights = \"Q8_0\"\n[reference]\n{settings}\n[[task]]\nname = \"{}\"\nsamples = 12\n",
        GreedyDivergence.card().name
    );
    Journal::new(testing::header(crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap()))
}

const SPECULATING: &str = "[[setting]]\nspeculation = \"ngram-simple\"";

/// Answers 12 requests on a setting.
fn answer(journal: &mut Journal, setting: usize, replicate: u32, make: impl Fn(u32) -> Made) {
    let label = journal.header.suite.settings[setting].label.clone();
    for index in 0..12 {
        let case = Case {
            id: format!("case {index}").into(),
            task: GreedyDivergence.card().name.into(),
            task_version: 1,
            arm: None,
            context: 4096,
            index,
            depth: None,
            cluster: format!("text {index}").into(),
            prompt: Prompt::chat(vec![Message::user("?")]),
            max_tokens: 64,
            prompt_tokens: 100,
            target: serde_json::Value::Null,
            forced: Vec::new(),
            shared_tokens: 0,
        };
        let made = make(index);
        journal.trials.push(trial(&label, replicate, &case, &made, setting as u32 * 2 + replicate));
        if !journal.cases.iter().any(|known| known.id == case.id) {
            journal.cases.push(case);
        }
    }
}

fn trial(label: &str, replicate: u32, case: &Case, made: &Made, launch: u32) -> Trial {
    let tokens: Vec<u32> = (0..40).map(|at| if made.parts && at == 20 { 999 } else { at }).collect();
    let traced = |(drafted, accepted): (u32, u32)| DraftTrace {
        series: vec![
            DraftPoint { tokens: 32, drafted: drafted / 2, accepted: accepted / 2 },
            DraftPoint { tokens: 40, drafted, accepted },
        ],
        positions: vec![
            DraftPosition { drafted: drafted / 2, accepted: drafted / 2 },
            DraftPosition { drafted: drafted / 2, accepted: accepted - drafted / 2 },
        ],
    };
    let count = |name, of: Option<u32>| match of {
        Some(tokens) => Measurement::new(name, Source::Engine, f64::from(tokens)),
        None => Measurement::absent(name, Source::Engine, "the reply names no drafted tokens"),
    };
    Trial {
        key: KeyParts {
            setting: label.into(),
            context: 4096,
            round: 0,
            replicate,
            task: case.task,
            arm: None,
            index: case.index,
            repeat: 0,
        }
        .key(),
        case: case.id,
        launch,
        started: "2026-01-01T00:00:00Z".into(),
        tick: None,
        reply: Some(Box::new(Reply {
            content: if made.parts { "other".into() } else { "same".into() },
            tokens,
            drafts: made.drafts.map(traced),
            ..Reply::default()
        })),
        measurements: vec![
            Measurement::new(metric::DECODE_TPS, Source::Client, made.rate),
            Measurement::new(metric::TOTAL_S, Source::Client, 40.0 / made.rate),
            Measurement::new(metric::OUTPUT_TOKENS, Source::Engine, 40.0),
            count(metric::DRAFT_TOKENS, made.drafts.map(|(drafted, _)| drafted)),
            count(metric::DRAFT_ACCEPTED, made.drafts.map(|(_, accepted)| accepted)),
        ]
        .into(),
        outcome: Outcome::Scored(Score::default()),
    }
}

fn plain(_: u32) -> Made {
    Made { rate: 20.0, drafts: None, parts: false }
}

/// Twice as fast; every fourth reply is not drafted for.
fn fast(index: u32) -> Made {
    let drafts = (index % 4 != 3).then_some((40, 30));
    Made { rate: 40.0 + f64::from(index % 3), drafts, parts: false }
}

fn found(journal: &Journal) -> Vec<SpeculationRow> {
    summarise_with(journal, &Registry).unwrap().speculation
}

#[test]
fn a_lossless_gain_is_found_with_everything_about_it() {
    let mut journal = journal("", SPECULATING);
    answer(&mut journal, 0, 0, plain);
    answer(&mut journal, 0, 1, plain);
    answer(&mut journal, 1, 0, fast);
    let rows = found(&journal);
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(row.twin.as_deref(), Some("Q8_0 kv=f16"));
    assert_eq!((row.all.requests, row.all.undrafted, row.all.drafted, row.all.accepted), (12, 3, 360, 270));
    let acceptance = row.all.acceptance.unwrap();
    assert_eq!((acceptance.value, acceptance.low, acceptance.n), (0.75, Some(0.75), 9));
    let decode = row.all.decode.unwrap();
    assert!(decode.low.unwrap() >= 2.0 && decode.high.unwrap() <= 2.1, "{decode:?}");
    assert!((row.all.total.unwrap().value - decode.value).abs() < 1e-9);
    assert_eq!((row.all.same_replies, row.all.compared), (12, 12));
    let rates: Vec<_> =
        row.positions.iter().map(|at| (at.position, at.drafted, at.acceptance.value)).collect();
    assert_eq!(rates, [(1, 180, 1.0), (2, 180, 0.5)]);
    let stretches: Vec<_> = row.stretches.iter().map(|at| (at.from, at.to, at.drafted)).collect();
    assert_eq!(stretches, [(0, 32, 180), (32, 40, 180)]);
    assert_eq!(row.losslessness.finding, LosslessFinding::AsNoise);
    assert_eq!((row.losslessness.replies, row.losslessness.noise_replies), (12, 12));
    let halves: Vec<_> = row.losslessness.halves.iter().map(|half| half.replies).collect();
    assert_eq!(halves, [4, 5]);
    assert_eq!(row.verdict, SpeculationVerdict::FasterAndLossless);
    assert!(row.because.contains("12 requests") && row.because.contains("0 of 12"), "{}", row.because);
}

#[test]
fn replies_that_part_are_not_lossless_however_fast() {
    let mut journal = journal("", SPECULATING);
    answer(&mut journal, 0, 0, plain);
    answer(&mut journal, 0, 1, plain);
    answer(&mut journal, 1, 0, |index| Made { parts: index < 9, ..fast(index) });
    let row = found(&journal).remove(0);
    assert_eq!((row.losslessness.finding, row.losslessness.parted), (LosslessFinding::BeyondNoise, 9));
    assert!(row.losslessness.p_holm.unwrap() < 0.05);
    assert_eq!(row.verdict, SpeculationVerdict::NotLossless);
}

#[test]
fn one_reply_that_parts_cannot_tell() {
    let mut journal = journal("", SPECULATING);
    answer(&mut journal, 0, 0, plain);
    answer(&mut journal, 0, 1, plain);
    answer(&mut journal, 1, 0, |index| Made { parts: index == 0, ..fast(index) });
    let row = found(&journal).remove(0);
    assert_eq!(
        (row.losslessness.finding, row.verdict),
        (LosslessFinding::Unclear, SpeculationVerdict::NotShown)
    );
}

#[test]
fn no_gain_and_nothing_drafted_is_said_too() {
    let mut journal = journal("", SPECULATING);
    answer(&mut journal, 0, 0, plain);
    answer(&mut journal, 0, 1, plain);
    answer(&mut journal, 1, 0, |index| Made { rate: 20.0 - f64::from(index % 2), ..plain(index) });
    let row = found(&journal).remove(0);
    assert_eq!(row.verdict, SpeculationVerdict::LosslessNotFaster);
    // Nobody says that drafts were counted.
    assert_eq!((row.all.requests, row.all.acceptance, row.all.compared), (0, None, 12));
    assert!(row.positions.is_empty() && row.stretches.is_empty());
}

#[test]
fn texts_of_warm_sampling_and_a_missing_twin_or_floor_show_nothing() {
    let mut warm = journal("temperature = 0.7", SPECULATING);
    answer(&mut warm, 0, 0, plain);
    answer(&mut warm, 0, 1, plain);
    answer(&mut warm, 1, 0, fast);
    let row = found(&warm).remove(0);
    assert_eq!(
        (row.losslessness.finding, row.verdict),
        (LosslessFinding::NotGreedy, SpeculationVerdict::NotShown)
    );
    assert!(row.because.contains("not greedy"), "{}", row.because);

    let mut once = journal("", SPECULATING);
    answer(&mut once, 0, 0, plain);
    answer(&mut once, 1, 0, fast);
    assert_eq!(found(&once).remove(0).losslessness.finding, LosslessFinding::NoNoiseFloor);

    let mut alone = journal("", "[[setting]]\nspeculation = \"ngram-simple\"\nkv = \"q8_0\"");
    answer(&mut alone, 0, 0, plain);
    answer(&mut alone, 1, 0, fast);
    let row = found(&alone).remove(0);
    assert_eq!((row.twin, row.all.decode, row.verdict), (None, None, SpeculationVerdict::NotShown));
    assert!(row.all.acceptance.is_some());
}

#[test]
fn nothing_is_said_of_a_run_that_did_not_look_into_it() {
    let text = "name = \"t\"\ncontexts = [4096]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
                [reference]\n[[setting]]\nspeculation = \"ngram-simple\"\n[[task]]\n\
                name = \"retrieval/niah_single_1\"\nsamples = 12\n";
    let suite = crate::suite::parse(text, Path::new("t.toml"), &[]).unwrap();
    let mut journal = Journal::new(testing::header(suite));
    answer(&mut journal, 0, 0, plain);
    answer(&mut journal, 1, 0, plain);
    assert!(found(&journal).is_empty());
    // A draft that was traced is something to say.
    answer(&mut journal, 1, 1, fast);
    journal.trials.iter_mut().for_each(|trial| trial.key.change(|key| key.replicate = 0));
    assert_eq!(found(&journal).len(), 1);
}
