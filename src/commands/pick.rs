//! `pick`: the setting to use, from a run's journal alone.

use std::collections::BTreeMap;

use super::output::{print, print_json};
use super::runs;
use crate::cli::{Global, PickArgs, ServeForms};
use crate::error::Result;
use crate::judge::analysis::pick;
use crate::judge::analysis::pick::{MinQuality, PickRequest};
use crate::judge::report;
use crate::measure::engine;

pub(super) fn pick(args: &PickArgs, global: &Global) -> Result<u8> {
    let folder = runs::find(&global.runs_dir, &args.run)?;
    let picked = pick::pick(&super::output::open(&folder)?, &request(args), &engine::to_serve)?;
    if args.json {
        print_json(&picked)
    } else {
        print(&report::pick(&picked, &ServeForms::all_of(&args.serve))?)
    }
}

fn request(args: &PickArgs) -> PickRequest {
    PickRequest {
        context: args.context.unwrap_or_default(),
        longest: args.longest,
        memory: args.memory,
        min_quality: args.min_quality.unwrap_or(MinQuality::WithinMargin),
        min_decode: args.min_decode,
        min_prefill: args.min_prefill,
        max_ttft: args.ttft_under,
        bytes: args.bytes,
        goal: args.objective,
        task_weights: args.task_weights.iter().cloned().collect::<BTreeMap<_, _>>(),
        extrapolate: args.extrapolate,
        strict: args.strict,
    }
}
