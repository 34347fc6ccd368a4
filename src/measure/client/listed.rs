//! Log-probabilities as servers list them.

use serde_json::Value;

/// A log-probability may exceed 0 by this much through rounding in the server.
const ROUNDING: f64 = 1e-3;

/// Most probable tokens listed beside a forced answer: enough for every digit and the letters that matter behind it, and
/// what OpenAI's interface allows.
pub(super) const FORCED_TOP: u32 = 20;

/// The natural-log probability of an entry; `None` where it has none.
pub(super) fn log_probability(entry: &Value) -> Option<f32> {
    let logprob = entry.get("logprob")?.as_f64()?;
    // Below the range of f32 is as improbable as f32 can say.
    let logprob = logprob.max(f64::from(f32::MIN));
    (logprob <= ROUNDING).then_some(logprob as f32)
}

/// Most probable first; equally probable ones by id, so that every run has them in the same order.
pub(super) fn sort(top: &mut [(u32, f32)]) {
    top.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
}
