//! How long a run may take, by rule of thumb: good enough to choose between lunch and a night.

use super::Prepared;
use crate::plan::{Plan, Visit};
use crate::suite::{Arrivals, LoadSpec};

/// Seconds to start a server and warm it up.
const LAUNCH_S: f64 = 3.0;
/// Arithmetic that a CPU core does in practice while prefilling (operations/s): SmolLM2-135M on 2 cores
/// prefilled 160 to 240 tokens/s, that is 22 to 32 Gop/s a core.
const OPS_PER_CORE: f64 = 25e9;
/// Bytes that two CPU cores read in practice while decoding (bytes/s): SmolLM2-135M at 98 MB decoded 40 to
/// 80 tokens/s.
const READ_PER_S: f64 = 5e9;
/// Bits a weight of the usual quants.
const BITS_PER_WEIGHT: f64 = 5.0;
/// Tokens that a reply has on average.
const REPLY_TOKENS: f64 = 40.0;

/// Streams that share the reading of the weights on a CPU before computing is what takes the time.
const SHARED_READS: f64 = 4.0;

/// Rough duration of a plan on this machine's CPU (s), its load phase included; with a GPU it takes a fraction of it.
pub fn estimate_s(plan: &Plan, prepared: &Prepared, load: Option<&LoadSpec>) -> f64 {
    let visits = plan.visits.iter().map(|visit| {
        let (prefill_s, decode_s) = token_s(visit, prepared);
        let trial_s = f64::from(visit.cell.context) * prefill_s + REPLY_TOKENS * decode_s;
        LAUNCH_S + visit.trials.len() as f64 * trial_s
    });
    let of_load = plan.load.iter().filter_map(|visit| Some(load_s(load?, token_s(visit, prepared))));
    visits.chain(of_load).sum()
}

/// Time of a prompt token and of a generated one, alone (s).
fn token_s(visit: &Visit, prepared: &Prepared) -> (f64, f64) {
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let setting = &visit.cell.setting;
    let mut infos = prepared.model_infos.iter();
    let info = infos.find(|info| info.name == setting.model && info.weights == setting.weights);
    let bytes = info.map_or(0.0, |info| info.bytes as f64);
    let weights = bytes * 8.0 / BITS_PER_WEIGHT;
    (2.0 * weights / (OPS_PER_CORE * cores), bytes / READ_PER_S)
}

/// The load phase of one setting (s).
fn load_s(load: &LoadSpec, (prefill_s, decode_s): (f64, f64)) -> f64 {
    let mean = |numbers: &[u32]| {
        numbers.iter().map(|number| f64::from(*number)).sum::<f64>() / numbers.len().max(1) as f64
    };
    let request_s = |prompt: f64, output: f64, streams: u32| {
        prompt * prefill_s + output * decode_s / f64::from(streams).clamp(1.0, SHARED_READS)
    };
    let of_load = |streams| request_s(mean(&load.prompt_tokens), mean(&load.output_tokens), streams);
    let steps = load.steps().into_iter().map(|step| {
        // Those that bring the load up and keep it up come on top.
        let (streams, least_s) = match step {
            Arrivals::Closed(streams) => (streams, 0.0),
            Arrivals::Poisson(rate) => {
                (load.slots.into(), load.requests.map_or(0.0, |n| f64::from(n) / rate))
            }
        };
        let around_s = 1.5 * f64::from(streams) * of_load(streams);
        let counted_s = load.requests.map(|n| (f64::from(n) * of_load(streams)).max(least_s));
        let counted_s = counted_s.unwrap_or(f64::INFINITY).min(load.duration_s.unwrap_or(f64::INFINITY));
        around_s + counted_s
    });
    let quality = load.quality.iter().flat_map(|quality| {
        let item_s = move |streams| request_s(f64::from(quality.context), REPLY_TOKENS, streams);
        let rounds = [1, 1].into_iter().chain(load.crowds());
        rounds.map(move |streams| f64::from(quality.samples) * item_s(streams))
    });
    LAUNCH_S
        + load.warm_up_s.min(4.0 * f64::from(load.slots) * of_load(load.slots.into()))
        + steps.sum::<f64>()
        + quality.sum::<f64>()
}
