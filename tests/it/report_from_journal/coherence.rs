//! Coherence from journals with a known truth: greedy divergence, KLD by band, figures of tasks.

use kneepoint::judge::analysis::summarise;
use kneepoint::judge::analysis::summary::{DivergenceRow, DivergenceVerdict, FigureRow, Summary};
use kneepoint::record::journal::Journal;
use kneepoint::record::suite::TaskSpec;
use kneepoint::record::{
    Band, Case, FinishReason, KeyParts, Measurement, Message, Outcome, PackedDistributions, Prompt, Reply,
    Score, Source, Trial, metric,
};

use super::journal;

const CONTEXT: u32 = 2048;
const REFERENCE: &str = "Q8_0 kv=f16";
const Q8: &str = "Q8_0 kv=q8_0";
const Q4: &str = "Q8_0 kv=q4_0";
const SPECULATING: &str = "Q8_0 kv=f16 spec=ngram-simple";
/// Setting and replicate of every visit.
const VISITS: [(&str, u32); 5] = [(REFERENCE, 0), (REFERENCE, 1), (Q8, 0), (Q4, 0), (SPECULATING, 0)];

/// A run of one task over four settings, its trials made by `reply` from (setting, replicate, case).
fn run(task: &str, cases: u32, prompt: Prompt, reply: impl Fn(&str, u32, u32) -> (Reply, Score)) -> Journal {
    let mut journal = journal::journal();
    journal.cases.clear();
    journal.trials.clear();
    journal.launches.clear();
    let suite = &mut journal.header.suite;
    suite.contexts = vec![CONTEXT];
    suite.settings.truncate(4);
    suite.tasks = vec![TaskSpec {
        name: task.into(),
        samples: cases,
        contexts: vec![CONTEXT],
        arms: Vec::new(),
        mode: Default::default(),
        score: Default::default(),
        questions: 1,
        repeats: 1,
        window: None,
        primary: None,
        text: None,
        options: Default::default(),
        file: None,
    }];
    for index in 0..cases {
        let case = case(task, index, prompt.clone());
        for (setting, replicate) in VISITS {
            let (reply, score) = reply(setting, replicate, index);
            journal.trials.push(trial(&case, setting, replicate, reply, score));
        }
        journal.cases.push(case);
    }
    journal
}

fn case(task: &str, index: u32, prompt: Prompt) -> Case {
    Case {
        id: "".into(),
        task: task.into(),
        task_version: 1,
        arm: None,
        context: CONTEXT,
        index,
        depth: None,
        cluster: format!("{task} {index}").into(),
        prompt,
        max_tokens: 128,
        prompt_tokens: 1024,
        target: serde_json::Value::Null,
        forced: Vec::new(),
        shared_tokens: 0,
    }
    .seal()
}

fn trial(case: &Case, setting: &str, replicate: u32, reply: Reply, score: Score) -> Trial {
    Trial {
        key: KeyParts {
            setting: setting.into(),
            context: CONTEXT,
            round: 0,
            replicate,
            task: case.task.as_str().into(),
            arm: None,
            index: case.index,
            repeat: 0,
        }
        .key(),
        case: case.id.as_str().into(),
        launch: 0,
        started: "2026-02-03T04:05:06Z".into(),
        tick: None,
        reply: Some(Box::new(reply)),
        measurements: vec![
            Measurement::new(metric::DRAFT_TOKENS, Source::Engine, 10.0),
            Measurement::new(metric::DRAFT_ACCEPTED, Source::Engine, 9.0),
        ]
        .into(),
        outcome: Outcome::Scored(score),
    }
}

/// A reply of 100 tokens, a letter each, that differs from token `from` on.
fn letters(from: Option<usize>) -> Reply {
    let letter = |at: usize| if from.is_some_and(|from| at >= from) { 'B' } else { 'a' };
    let text: String = (0..100).map(letter).collect();
    let tokens = text.bytes().map(u32::from).collect();
    Reply { content: text, tokens, finish_reason: Some(FinishReason::Length), ..Reply::default() }
}

/// A run over 20 cases in which `parts` says where the reply of a (setting, replicate, case) parts.
fn greedy(parts: impl Fn(&str, u32, u32) -> Option<usize>) -> Summary {
    greedy_over(20, parts)
}

fn greedy_over(cases: u32, parts: impl Fn(&str, u32, u32) -> Option<usize>) -> Summary {
    let prompt = Prompt::chat(vec![Message::user("Go on.")]);
    let journal = run("coherence/greedy_divergence", cases, prompt, |setting, replicate, index| {
        (letters(parts(setting, replicate, index)), Score::default())
    });
    summarise(&journal).expect("a summary")
}

fn row<'s>(summary: &'s Summary, setting: &str) -> &'s DivergenceRow {
    let not_noise = |row: &&DivergenceRow| row.verdict != DivergenceVerdict::Noise;
    summary.divergence.iter().filter(not_noise).find(|row| row.setting == setting).expect("a row")
}

#[test]
fn a_lossless_setting_is_as_the_noise_and_a_lossy_one_beyond_it() {
    let summary = greedy(|setting, _, index| (setting == Q4 && index < 12).then_some(10 + index as usize));
    assert_eq!(summary.divergence.len(), 4);
    assert_eq!(row(&summary, SPECULATING).verdict, DivergenceVerdict::AsNoise);
    let noise = &summary.divergence[0];
    assert_eq!((noise.setting.as_str(), noise.verdict), (REFERENCE, DivergenceVerdict::Noise));
    assert_eq!((noise.parted.value, noise.parted.n, noise.p_holm), (0.0, 20, None));
    let lossless = row(&summary, Q8);
    assert_eq!((lossless.verdict, &lossless.example), (DivergenceVerdict::AsNoise, &None));
    let lossy = row(&summary, Q4);
    assert_eq!(lossy.verdict, DivergenceVerdict::BeyondNoise);
    assert_eq!((lossy.parted.value, lossy.median_first), (0.6, Some(15.5)));
    // Twelve one-way differences: 2 / 2^12, three times for the three settings.
    assert!(lossy.p_holm.expect("a p-value") < 0.002);
    let shares: Vec<(u32, f64)> =
        lossy.survival.iter().map(|point| (point.token, (point.share * 100.0).round())).collect();
    // Before token 16 those at 10 to 15 have parted: six of twenty.
    assert_eq!(shares, [(1, 100.0), (16, 70.0), (64, 40.0)]);
    let example = lossy.example.as_ref().expect("an example");
    assert_eq!((example.token, example.before.as_str()), (10, "aaaaaaaaaa"));
    assert!(example.setting.starts_with("BB") && example.reference.starts_with("aa"));
    assert_eq!(lossy.draft_acceptance, Some(0.9));
    let [accepted] = lossy.by_acceptance.as_slice() else { panic!("{:?}", lossy.by_acceptance) };
    assert_eq!((accepted.from, accepted.replies, accepted.parted), (0.8, 20, 12));
}

#[test]
fn speculation_that_changes_replies_is_named_and_a_quantised_cache_is_not() {
    let flagged = |changed: &str| {
        let summary = greedy(|setting, _, _| (setting == changed).then_some(7));
        assert_eq!(row(&summary, changed).verdict, DivergenceVerdict::BeyondNoise);
        let mut warnings = summary.warnings.iter();
        warnings.any(|warning| warning.sentence.contains("is not lossless at 2048 tokens: 100% of 20"))
    };
    assert!(flagged(SPECULATING));
    assert!(!flagged(Q4));
}

#[test]
fn what_the_reference_does_to_itself_is_no_damage() {
    // The reference parts from itself on the first ten cases, the settings on the last ten, later.
    let summary = greedy(|setting, replicate, index| match (setting, replicate) {
        (REFERENCE, 0) => None,
        (REFERENCE, _) => (index < 10).then_some(20),
        _ => (index >= 10).then_some(30),
    });
    assert_eq!(row(&summary, Q4).verdict, DivergenceVerdict::AsNoise);
    assert_eq!(row(&summary, Q4).p_holm, Some(1.0));
}

#[test]
fn a_few_more_than_the_noise_cannot_tell() {
    let summary = greedy(|setting, _, index| (setting == Q4 && index < 3).then_some(5));
    assert_eq!(row(&summary, Q4).verdict, DivergenceVerdict::Unclear);
}

#[test]
fn a_handful_that_does_not_part_shows_no_likeness() {
    let none = |_: &str, _: u32, _: u32| None;
    assert_eq!(row(&greedy_over(9, none), Q8).verdict, DivergenceVerdict::TooFew);
    assert_eq!(row(&greedy_over(10, none), Q8).verdict, DivergenceVerdict::AsNoise);
    let lossy = greedy_over(9, |setting, _, _| (setting == Q4).then_some(5));
    assert_eq!(row(&lossy, Q4).verdict, DivergenceVerdict::BeyondNoise, "nine of nine differ");
}

#[test]
fn the_same_count_but_earlier_is_tested() {
    let summary = greedy(|setting, replicate, _| match (setting, replicate) {
        (REFERENCE, 0) => None,
        (REFERENCE, _) => Some(90),
        _ => Some(2),
    });
    assert_eq!(row(&summary, Q4).verdict, DivergenceVerdict::BeyondNoise);
}

#[test]
fn without_a_second_visit_there_is_no_verdict() {
    let prompt = Prompt::chat(vec![Message::user("Go on.")]);
    let mut journal =
        run("coherence/greedy_divergence", 20, prompt, |_, _, _| (letters(None), Score::default()));
    journal.trials.retain(|trial| trial.key.replicate == 0);
    let summary = summarise(&journal).expect("a summary");
    assert!(summary.divergence.iter().all(|row| row.verdict == DivergenceVerdict::NoNoiseFloor));
    assert!(summary.divergence.iter().all(|row| row.p_holm.is_none()));
}

/// Two tokens with a probability that moves by `shift`, at every position.
fn lists(positions: &[usize], shift: impl Fn(usize) -> f64) -> Reply {
    let list = |position: &usize| {
        let p = 0.6 - shift(*position);
        vec![(1, p.ln() as f32), (2, (0.95 - p).ln() as f32)]
    };
    let listed: Vec<Vec<(u32, f32)>> = positions.iter().map(list).collect();
    Reply { distributions: Some(PackedDistributions::pack(2, &listed)), ..Reply::default() }
}

#[test]
fn divergence_is_told_by_band_of_depth() {
    let bands = vec![Band { first: 100, end: 140 }, Band { first: 500, end: 540 }];
    let prompt =
        Prompt::Distributions { tokens: vec![1; 540], first: 100, top_k: 2, bands, by_decode: false };
    let positions = prompt.positions();
    let journal = run("coherence/kld", 3, prompt, |setting, _, index| {
        // Texts differ a little; damage is four times as large in the deeper band.
        let scale = if setting == Q4 { 0.05 + 0.005 * f64::from(index) } else { 0.0 };
        (lists(&positions, |at| if at < 200 { scale } else { 4.0 * scale }), Score::default())
    });
    let summary = summarise(&journal).expect("a summary");
    let of =
        |setting: &str| summary.kld_bands.iter().filter(|band| band.setting == setting).collect::<Vec<_>>();
    let damaged = of(Q4);
    assert_eq!(damaged.iter().map(|band| (band.from, band.to)).collect::<Vec<_>>(), [(100, 139), (500, 539)]);
    assert!(damaged[1].mean.value > 8.0 * damaged[0].mean.value, "{damaged:#?}");
    for band in &damaged {
        assert_eq!((band.positions, band.mean.n), (120, 3));
        for figure in [
            band.mean,
            band.median,
            band.p99,
            band.p999,
            band.rms_delta_p,
            band.top1_agreement,
            band.perplexity,
        ] {
            let (low, high) = (figure.low.expect("a low end"), figure.high.expect("a high end"));
            assert!(low <= figure.value + 1e-12 && figure.value <= high + 1e-12, "{figure:?}");
        }
        assert!(band.mean.low < band.mean.high, "texts differ: {band:?}");
    }
    // Token 1 is less probable than token 2 once its probability is below 0.475.
    assert_eq!((damaged[0].top1_agreement.value, damaged[1].top1_agreement.value), (1.0, 0.0));
    assert!(of(REFERENCE).iter().all(|band| band.mean.value == 0.0 && band.perplexity.value > 1.0));
    assert!(summary.depths.is_empty(), "bands have rows of their own");
}

#[test]
fn figures_stand_beside_the_references() {
    let prompt = Prompt::chat(vec![Message::user("Write.")]);
    let journal = run("coherence/degeneration", 10, prompt, |setting, replicate, index| {
        let looping = setting == Q4 && index < 6 || replicate == 1 && index == 0;
        let reply = Reply {
            content: "text".into(),
            tokens: vec![1; if setting == Q4 { 50 } else { 100 }],
            ..Reply::default()
        };
        (reply, Score::default().with("loop", f64::from(u8::from(looping))))
    });
    let summary = summarise(&journal).expect("a summary");
    let figure = |name: &str, setting: &str, replicate: u32| -> &FigureRow {
        let mut rows = summary.figures.iter();
        let found =
            rows.find(|row| row.figure == name && row.setting == setting && row.replicate == replicate);
        found.expect("a figure")
    };
    assert_eq!(figure("loop", REFERENCE, 0).value.value, 0.0);
    assert_eq!(figure("loop", REFERENCE, 0).difference, None);
    assert_eq!(figure("loop", REFERENCE, 1).value.value, 0.1);
    let damaged = figure("loop", Q4, 0).difference.expect("a difference");
    assert_eq!((damaged.value, damaged.n), (0.6, 10));
    assert!(damaged.low.expect("a low end") > 0.0);
    assert_eq!(figure("length_ratio", Q4, 0).value.value, 0.5);
    assert_eq!(figure("length_ratio", Q8, 0).value.value, 1.0);
}
