//! How long a run may take, by rule of thumb: good enough to choose between lunch and a night.

use super::Prepared;
use crate::plan::Plan;

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

/// Rough duration of a plan on this machine's CPU (s); with a GPU it takes a fraction of it.
pub fn estimate_s(plan: &Plan, prepared: &Prepared) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    plan.visits
        .iter()
        .map(|visit| {
            let setting = &visit.cell.setting;
            let infos = prepared.model_infos.iter();
            let bytes = infos
                .filter(|info| info.name == setting.model && info.weights == setting.weights)
                .map(|info| info.bytes as f64)
                .next()
                .unwrap_or_default();
            let weights = bytes * 8.0 / BITS_PER_WEIGHT;
            let prefill = f64::from(visit.cell.context) * 2.0 * weights / (OPS_PER_CORE * cores);
            let decode = REPLY_TOKENS * bytes / READ_PER_S;
            LAUNCH_S + visit.trials.len() as f64 * (prefill + decode)
        })
        .sum()
}
