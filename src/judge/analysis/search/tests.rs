use std::path::Path;

use super::*;
use crate::judge::analysis::testing;
use crate::record::filter::Filter;
use crate::record::plan;
use crate::record::{Case, Measurement, Message, Outcome, Prompt, Score, Source, Trial, metric};
use crate::task::Weight;

const QUESTIONS: u32 = 4;
const ROUNDS: u32 = 6;

/// One primary task and nothing else.
struct OneTask;

impl Tasks for OneTask {
    fn weight(&self, _: &str) -> Option<Weight> {
        Some(Weight::Primary)
    }
}

/// What a setting loses in truth (0..1), its decode rate (tokens/s) and memory (bytes).
type Truth = fn(&str) -> (f64, f64, f64);

/// Two weights beside the reference's, three caches, and all products.
fn journal(stopping: &str) -> Journal {
    let mut settings = String::new();
    for cache in ["kv = \"q8_0\"", "k = \"q8_0\"\nv = \"q4_0\"", "kv = \"q4_0\""] {
        for weights in ["Q8_0", "Q4_0", "Q2_K"] {
            settings.push_str(&format!("[[setting]]\nweights = \"{weights}\"\n{cache}\n"));
        }
    }
    let text = format!(
        "name = \"t\"\ncontexts = [512]\nrounds = {ROUNDS}\ndraws = 100\nmargin = 0.03\n[[model]]\nname = \"m\"\n\
         package = \"smollm2-135m-instruct\"\nderive = [\"Q8_0\", \"Q4_0\", \"Q2_K\"]\n\
         [reference]\nweights = \"Q8_0\"\n[[setting]]\nweights = \"Q4_0\"\n[[setting]]\nweights = \"Q2_K\"\n{settings}\
         [stopping]\nrule = \"best\"\n{stopping}\n\
         [[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = {}\nquestions = {QUESTIONS}\nscore = \"probability\"\n",
        5 * QUESTIONS * ROUNDS
    );
    let suite = crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap();
    let mut journal = Journal::new(testing::header(suite));
    journal.header.models =
        [("Q8_0", 800), ("Q4_0", 450), ("Q2_K", 300)].map(|(weights, bytes)| model(weights, bytes)).into();
    journal.cases = (0..5 * QUESTIONS * ROUNDS).map(case).collect();
    journal
}

fn model(weights: &str, bytes: u64) -> crate::record::ModelInfo {
    crate::record::ModelInfo { weights: weights.into(), sha256: weights.into(), ..testing::model(bytes) }
}

fn case(index: u32) -> Case {
    Case {
        id: format!("{index:08}").into(),
        task: "retrieval/niah_multikey_2".into(),
        task_version: 1,
        arm: None,
        context: 512,
        index,
        depth: None,
        cluster: format!("{}", index / QUESTIONS).into(),
        prompt: Prompt::chat(vec![Message::user("?")]),
        max_tokens: 8,
        prompt_tokens: 100,
        shared_tokens: 0,
        target: serde_json::Value::Null,
        forced: Vec::new(),
    }
}

/// A number between -1 and 1 that looks drawn.
fn scatter(seed: u64) -> f64 {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678;
    x = (x ^ (x >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (x >> 40) as f64 / f64::from(1_u32 << 23) - 1.0
}

/// Plays a visit as it would be measured.
fn visit(journal: &mut Journal, plan: &Plan, next: &NextVisit, truth: Truth) {
    let here = |visit: &&plan::Visit| {
        let of = (visit.cell.setting.label.as_str(), visit.round, visit.replicate);
        of == (next.setting.as_str(), next.round, next.replicate)
    };
    let keys = plan.visits.iter().find(here).unwrap().trials.clone();
    let (loss, decode, memory) = truth(&next.setting);
    for key in keys {
        let own = next.setting.bytes().map(u64::from).sum::<u64>() * 1000 + u64::from(next.replicate);
        let text = 0.5 + 0.2 * scatter(u64::from(key.index / QUESTIONS));
        let noise = 0.01 * scatter(own + u64::from(key.index));
        let measured = |name, source, value| Measurement::new(name, source, value);
        journal.trials.push(Trial {
            case: case(key.index).id,
            key,
            launch: 0,
            started: "2026-01-01T00:00:00Z".into(),
            tick: None,
            reply: None,
            measurements: vec![
                measured(metric::DECODE_TPS, Source::Client, decode),
                measured(metric::TOTAL_S, Source::Client, 1.0),
                measured(metric::PEAK_RSS_BYTES, Source::Procfs, memory),
            ]
            .into(),
            outcome: Outcome::Scored(Score::of((text + noise - loss).clamp(0.0, 1.0))),
        });
    }
}

/// Searches to the end: the settings that were visited, in order, and the journal.
fn searched(stopping: &str, truth: Truth) -> (Vec<String>, Journal) {
    searched_in(journal(stopping), truth)
}

fn searched_in(mut journal: Journal, truth: Truth) -> (Vec<String>, Journal) {
    let plan = plan::plan(&journal.header.suite, &Filter::parse(&[]).unwrap()).unwrap();
    let mut visits = Vec::new();
    for _ in 0..200 {
        let step = next_with(&journal, &plan, &OneTask).unwrap();
        assert_eq!(next_with(&journal, &plan, &OneTask).unwrap(), step, "the same journal, the same step");
        journal.decisions.extend(step.decisions);
        let Some(next) = step.next else { return (visits, journal) };
        visit(&mut journal, &plan, &next, truth);
        visits.push(format!("{} {}.{}", next.setting, next.round, next.replicate));
    }
    panic!("no end: {visits:?}");
}

fn decided<'j>(journal: &'j Journal, setting: &str) -> &'j Decision {
    journal.decisions.iter().find(|decision| decision.setting == setting).unwrap_or_else(|| {
        let labels: Vec<&str> = journal.header.suite.settings.iter().map(|s| s.label.as_str()).collect();
        panic!("{setting} was not decided; there are {labels:?}")
    })
}

/// Low-bit weights break it, and so does a K of four bits.
fn usual(label: &str) -> (f64, f64, f64) {
    let mut loss = 0.0;
    let mut memory = 1000.0;
    let mut decode = 50.0;
    if label.contains("Q4_0") {
        (memory, decode) = (memory - 350.0, decode * 1.5);
    }
    if label.contains("Q2_K") {
        (loss, memory, decode) = (0.3, memory - 500.0, decode * 1.8);
    }
    if label.ends_with("kv=q8_0") {
        memory -= 80.0;
    }
    if label.contains("kv=q8_0/q4_0") {
        memory -= 120.0;
    }
    if label.contains("kv=q4_0") {
        (loss, memory) = (loss + 0.1, memory - 150.0);
    }
    (loss, decode, memory)
}

#[test]
fn the_smallest_that_is_no_worse_is_found_without_trying_what_cannot_be_it() {
    let (visits, journal) = searched("goal = \"memory\"", usual);
    let best = "Q4_0 kv=q8_0/q4_0";
    assert_eq!(decided(&journal, best).reason, StopReason::Settled, "{visits:#?}");
    assert!(decided(&journal, best).because.starts_with("no worse"));
    assert!(decided(&journal, "Q8_0 kv=q4_0").because.starts_with("worse"));
    assert!(decided(&journal, "Q2_K kv=f16").because.starts_with("worse"));
    for never in ["Q2_K kv=q8_0", "Q2_K kv=q4_0", "Q4_0 kv=q4_0", "Q4_0 kv=q8_0"] {
        let decision = decided(&journal, never);
        assert!(decision.untried && decision.reason == StopReason::NotNeeded, "{decision:?}");
    }
    // Every setting has an end, so nothing is planned any more.
    let plan = plan::plan(&journal.header.suite, &Filter::parse(&[]).unwrap()).unwrap();
    let done: std::collections::HashSet<_> = journal.trials.iter().map(|trial| &trial.key).collect();
    let open: Vec<_> = plan.keys().filter(|key| !done.contains(key) && !journal.is_stopped(key)).collect();
    assert!(open.is_empty(), "{} of {}: {:?}", open.len(), plan.trials(), open.first());
    assert!(visits.len() < 20, "{visits:#?}");
}

#[test]
fn what_is_slower_than_the_reference_needs_no_verdict_where_speed_is_asked_for() {
    fn slow_caches(label: &str) -> (f64, f64, f64) {
        let (loss, decode, memory) = usual(label);
        // Too much to be no worse at once, too little to be worse.
        if label.contains("kv=q") { (loss + 0.02, decode * 0.7, memory) } else { (loss, decode, memory) }
    }
    let (visits, journal) = searched("", slow_caches);
    assert_eq!(decided(&journal, "Q4_0 kv=f16").reason, StopReason::Settled, "{visits:#?}");
    let slow = decided(&journal, "Q8_0 kv=q8_0");
    assert_eq!((slow.reason, slow.untried), (StopReason::NotNeeded, false), "{slow:?}");
    assert!(slow.because.contains("decodes faster"), "{slow:?}");
}

#[test]
fn where_everything_is_worse_the_reference_is_left() {
    fn broken(label: &str) -> (f64, f64, f64) {
        let (_, decode, memory) = usual(label);
        (if label == "Q8_0 kv=f16" { 0.0 } else { 0.3 }, decode, memory)
    }
    let (visits, journal) = searched("goal = \"memory\"", broken);
    let settled = |decision: &&Decision| decision.because.starts_with("no worse");
    assert_eq!(journal.decisions.iter().find(settled), None, "{visits:#?}");
    assert_eq!(decided(&journal, "Q8_0 kv=f16").reason, StopReason::NothingLeft);
}

#[test]
fn a_visit_that_was_cut_off_comes_again_and_what_is_too_large_is_out() {
    let mut journal = journal("goal = \"memory\"\nmemory = \"900B\"");
    let plan = plan::plan(&journal.header.suite, &Filter::parse(&[]).unwrap()).unwrap();
    let first = next_with(&journal, &plan, &OneTask).unwrap().next.unwrap();
    visit(&mut journal, &plan, &first, usual);
    journal.trials.truncate(3);
    assert_eq!(next_with(&journal, &plan, &OneTask).unwrap().next, Some(first.clone()));
    let (_, journal) = searched("goal = \"memory\"\nmemory = \"900B\"", usual);
    let large = decided(&journal, "Q8_0 kv=q8_0");
    assert_eq!(large.reason, StopReason::NotNeeded);
    assert!(large.because.contains("920 B of the 900 B"), "{large:?}");
}

/// Searches with an alarm for what `far` names.
fn searched_with_alarms(far: &[&str], truth: Truth) -> (Vec<String>, Journal) {
    let mut journal = journal("goal = \"memory\"");
    let plan = plan::plan(&journal.header.suite, &Filter::parse(&[]).unwrap()).unwrap();
    let far: BTreeMap<String, f64> = far.iter().map(|label| ((*label).to_owned(), 0.5)).collect();
    let mut visits = Vec::new();
    for _ in 0..200 {
        let seen = journal.clone();
        let run = Run::new(&seen, &OneTask).unwrap();
        let step = step(&run, &plan, &Comparison::default(), &far).unwrap();
        journal.decisions.extend(step.decisions);
        let Some(next) = step.next else { return (visits, journal) };
        visit(&mut journal, &plan, &next, truth);
        visits.push(format!("{} {}.{}", next.setting, next.round, next.replicate));
    }
    panic!("no end: {visits:?}");
}

#[test]
fn an_alarm_puts_a_setting_last_and_gives_it_up_where_its_cases_lean_the_same_way() {
    fn leaning(label: &str) -> (f64, f64, f64) {
        let (loss, decode, memory) = usual(label);
        // A little below the margin of 3 points: to show it takes many rounds.
        (if label == "Q2_K kv=f16" { 0.036 } else { loss }, decode, memory)
    }
    let (visits, journal) = searched_with_alarms(&["Q2_K kv=f16"], leaning);
    let decision = decided(&journal, "Q2_K kv=f16");
    assert_eq!((decision.reason, decision.untried, decision.after_round), (StopReason::Alarm, false, 0));
    assert!(decision.because.contains("at least 0.50 nat"), "{decision:?}");
    let first = |label: &str| visits.iter().position(|visit| visit.starts_with(label)).unwrap();
    assert!(first("Q2_K kv=f16") > first("Q8_0 kv=q8_0/q4_0"), "{visits:#?}");
    let below = decided(&journal, "Q2_K kv=q8_0");
    assert!(below.untried && below.because.contains("far from the reference"), "{below:?}");
    // Without an alarm it is looked at until its verdict.
    let (visits, _) = searched("goal = \"memory\"", leaning);
    assert!(visits.contains(&"Q2_K kv=f16 1.0".to_owned()), "{visits:#?}");
}

#[test]
fn an_alarm_alone_gives_nothing_up() {
    let (visits, journal) = searched_with_alarms(&["Q4_0 kv=f16"], usual);
    let decision = decided(&journal, "Q4_0 kv=f16");
    assert!(decision.because.starts_with("no worse"), "{decision:?}");
    let product = decided(&journal, "Q4_0 kv=q8_0/q4_0");
    assert!(
        product.because.starts_with("no worse"),
        "it is a part like others then: {product:?} {visits:#?}"
    );
}

/// Weights, and drafts from the text.
fn drafting() -> Journal {
    let mut journal = journal("");
    let text = format!(
        "name = \"t\"\ncontexts = [512]\nrounds = {ROUNDS}\ndraws = 100\nmargin = 0.03\n[[model]]\nname = \"m\"\n\
         package = \"smollm2-135m-instruct\"\nderive = [\"Q8_0\", \"Q4_0\", \"Q2_K\"]\n[reference]\nweights = \"Q8_0\"\n\
         [[setting]]\nweights = \"Q8_0\"\nspeculation = \"ngram-simple\"\n[[setting]]\nweights = \"Q4_0\"\n\
         [[setting]]\nweights = \"Q4_0\"\nspeculation = \"ngram-simple\"\n[stopping]\nrule = \"best\"\n\
         [[task]]\nname = \"retrieval/niah_multikey_2\"\nsamples = {}\nquestions = {QUESTIONS}\nscore = \"probability\"\n",
        5 * QUESTIONS * ROUNDS
    );
    journal.header.suite = crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap();
    journal
}

#[test]
fn drafts_are_a_part_like_others_where_they_help_and_are_given_up_where_they_do_not() {
    fn faster(label: &str) -> (f64, f64, f64) {
        let (loss, decode, memory) = usual(label);
        (loss, if label.contains("ngram") { decode * 1.4 } else { decode }, memory)
    }
    fn slower(label: &str) -> (f64, f64, f64) {
        let (loss, decode, memory) = usual(label);
        // No worse would take long to show: it is needless before.
        if label.contains("ngram") { (loss + 0.02, decode * 0.7, memory) } else { (loss, decode, memory) }
    }
    let (visits, journal) = searched_in(drafting(), faster);
    let both = decided(&journal, "Q4_0 kv=f16 spec=ngram-simple");
    assert_eq!(both.reason, StopReason::Settled, "{visits:#?}");
    assert!(both.because.starts_with("no worse"), "{both:?}");
    let (visits, journal) = searched_in(drafting(), slower);
    let alone = decided(&journal, "Q8_0 kv=f16 spec=ngram-simple");
    assert!(alone.because.contains("itself decodes faster"), "{visits:#?}\n{alone:?}");
    assert!(decided(&journal, "Q4_0 kv=f16 spec=ngram-simple").untried, "a part of it is not shown");
}
