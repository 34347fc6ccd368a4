//! `choose`: from a model and a memory to a setting. What fits is told from headers, what can matter is fetched, the reference
//! tries the questions, and a search ([`search`](crate::judge::analysis::search)) visits one setting after the other until the best
//! is shown. What it leaves is an ordinary run with an ordinary suite.

use super::fit;
use super::fit::AskedTypes;
use super::output::print;
use super::progress::Display;
use super::run::Start;
use super::setup::{prepare, runtime};
use crate::cli::{ChooseArgs, FitArgs, FitEngine, Global, ServeForms};
use crate::error::{Error, Kind, Result};
use crate::judge::analysis::words::bytes;
use crate::judge::report::about;
use crate::measure::model::Store;
use crate::measure::probe::machine::machine;
use crate::record::filter::Filter;
use crate::record::plan;
use crate::record::suite::Suite;
use crate::suite;

mod candidates;
mod pilot;
mod questions;
mod speculation;
mod suite_text;

use candidates::Candidates;
use pilot::Found;
use questions::Question;
use suite_text::Text;

/// Types of the cache that are tried, the reference's first.
const LLAMA_CACHES: &[&str] = &["f16", "q8_0", "q8_0/q4_0", "q4_0"];
const IK_LLAMA_CACHES: &[&str] = &["f16", "q8_0", "q8_KV/q8_0", "q8_0/q4_0", "q4_0"];
const VLLM_CACHES: &[&str] = &["auto", "fp8"];
const SGLANG_CACHES: &[&str] = &["auto", "fp8_e5m2"];

pub(super) fn choose(args: &ChooseArgs, global: &Global) -> Result<u8> {
    checked(args)?;
    let display = Display::new(global);
    let table = fit::look(&fit_args(args), &display, |engine| cache_types(args, engine))?;
    let engine = table.engine;
    let store = Store::open(&display)?;
    let server = fit::Server::of(engine, args.binary.as_deref(), &store)?;
    let mut candidates = Candidates::of(args, &table, speculation::of(args, engine, &server)?)?;
    let every: Vec<Question> =
        questions::of(args.purpose).iter().flat_map(|ladder| ladder.iter().copied()).collect();
    let draft = Text {
        args,
        table: &table,
        candidates: &candidates,
        questions: &every,
        score: None,
        budget_s: args.budget,
    };
    let draft = draft.write();
    if args.dry_run {
        return print(&format!("{}\n{draft}", planned(&candidates, &table)));
    }
    display.tell(&planned(&candidates, &table));
    let found = tried(&parsed(&draft)?, &display, args)?;
    display.tell(&told(&found));
    let known = candidates.notes.len();
    within_budget(&mut candidates, &found, args.budget)?;
    candidates.notes.iter().skip(known).for_each(|note| display.tell(&format!("  {note}")));
    let text = Text {
        args,
        table: &table,
        candidates: &candidates,
        questions: &found.questions,
        score: Some(found.score),
        budget_s: args.budget - found.took_s,
    };
    let text = text.write();
    let suite = parsed(&text)?;
    let plan = plan::plan(&suite, &Filter::parse(&[])?)?;
    let notes = candidates.notes.into_iter().chain(found.notes).collect();
    let start = Start {
        suite,
        text,
        values: Vec::new(),
        repeat: words(),
        filters: Vec::new(),
        choice_notes: Some(notes),
        spread: None,
        json: args.json,
    };
    let (mut session, prepared) = start.begin(&display, global)?;
    let mut display = display;
    let ending = session.measure(&plan, &prepared, &mut display, global)?;
    session.conclude(ending, &ServeForms::all_of(&args.serve), global)
}

fn checked(args: &ChooseArgs) -> Result<()> {
    if !(0.5..1.0).contains(&args.keep) {
        return Err(Error::usage(format!("--keep {} leaves nothing to choose", args.keep))
            .hint("write the share of the reference's quality to be kept, from 50% to 99%"));
    }
    Ok(())
}

fn fit_args(args: &ChooseArgs) -> FitArgs {
    FitArgs {
        model: args.model.clone(),
        context: args.context,
        memory: args.memory,
        // It measures here: a memory that is named is that of a card only where there is one.
        cpu: args.cpu || machine().gpus.is_empty(),
        kv: Vec::new(),
        engine: args.engine,
        binary: args.binary.clone(),
        json: false,
    }
}

/// Types of the cache, the reference's first.
fn cache_types(args: &ChooseArgs, engine: FitEngine) -> AskedTypes {
    let usual = match engine {
        FitEngine::LlamaCpp => LLAMA_CACHES,
        FitEngine::IkLlama => IK_LLAMA_CACHES,
        FitEngine::Vllm => VLLM_CACHES,
        FitEngine::Sglang => SGLANG_CACHES,
    };
    let mut types: Vec<String> = usual.iter().map(|&name| name.to_owned()).collect();
    if let Some(named) = &args.kv {
        types.truncate(1);
        types.extend(named.iter().cloned());
    }
    AskedTypes { types, named: args.kv.is_some() }
}

/// The suite, as `run` would read it.
fn parsed(text: &str) -> Result<Suite> {
    let here = std::env::current_dir().unwrap_or_default().join("choose.toml");
    suite::parse(text, &here, &[])
}

/// What is compared, and what is fetched for it.
fn planned(candidates: &Candidates, table: &fit::FitTable) -> String {
    let (weights, k, v) = &candidates.reference;
    let cache = |k: &String, v: &String| if k == v { k.clone() } else { format!("{k}/{v}") };
    let mut lines = vec![
        format!("{} at {} tokens in {}", table.origin, table.context, bytes(table.memory.bytes)),
        format!("  reference: {weights} with a cache in {}", cache(k, v)),
    ];
    if !candidates.weights.is_empty() {
        lines.push(format!("  weights: {}", candidates.weights.join(", ")));
    }
    if !candidates.caches.is_empty() {
        let caches: Vec<String> = candidates.caches.iter().map(|(k, v)| cache(k, v)).collect();
        lines.push(format!("  cache: {}", caches.join(", ")));
    }
    if !candidates.speculation.is_empty() {
        lines.push(format!("  speculation: {}", candidates.speculation.join(", ")));
    }
    let total: u64 = candidates.downloads.iter().map(|(_, bytes)| bytes).sum();
    lines.push(format!("  files: {} of {}", candidates.downloads.len(), bytes(total)));
    lines.extend(candidates.notes.iter().map(|note| format!("  {note}")));
    crate::console::clean(&lines.join("\n")).into_owned()
}

/// The reference tries every question.
fn tried(suite: &Suite, display: &Display, args: &ChooseArgs) -> Result<Found> {
    // Only its own files are needed.
    let suite = Suite { settings: vec![suite.reference().clone()], ..suite.clone() };
    let prepared = prepare(&suite, display)?;
    display.tell("the reference tries the questions");
    runtime()?.block_on(pilot::pilot(&suite, &prepared, questions::of(args.purpose)))
}

fn told(found: &Found) -> String {
    let asked: Vec<&str> = found.questions.iter().map(|question| question.task).collect();
    let mut lines = vec![format!(
        "  {}: it scores {:.2}; a visit of a setting takes about {}",
        asked.join(" and "),
        found.score,
        about(found.visit_s)
    )];
    lines.extend(found.notes.iter().map(|note| format!("  {note}")));
    lines.join("\n")
}

/// Leaves out what there is no time for; too little for a single verdict is said before anything is fetched.
fn within_budget(candidates: &mut Candidates, found: &Found, budget_s: f64) -> Result<()> {
    // Both visits of the reference, and one of another setting.
    let left = budget_s - found.took_s;
    let visits = (left / found.visit_s.max(f64::MIN_POSITIVE)) as usize;
    if visits < 3 {
        let least = found.took_s + 3.0 * found.visit_s;
        let all = found.took_s + (3 + candidates.singles()) as f64 * found.visit_s;
        return Err(Error::new(Kind::Usage, format!("{} is too little for any verdict", about(budget_s)))
            .hint(format!(
                "a visit of a setting takes about {}: the first verdict some {}, all of them {}",
                about(found.visit_s),
                about(least),
                about(all)
            ))
            .hint("give it a larger --budget, a shorter --context, or fewer settings (--weights, --kv)"));
    }
    candidates.keep(visits - 2);
    Ok(())
}

fn words() -> Vec<String> {
    // The command line itself: what it was given is what repeats it.
    std::iter::once("kneepoint".to_owned()).chain(std::env::args().skip(1)).collect()
}
