//! Counts of cached tokens that a reply leaves out because they are zero.
//!
//! vLLM leaves `prompt_tokens_details` out of a reply that took nothing from its prefix cache, SGLang sends null (seen with
//! vLLM 0.23.0 and SGLang 0.5.17). A server that does not report at all answers the same way, so a missing count means
//! zero only once the server is known to report.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

/// Where OpenAI's `usage` counts them.
const CACHED: &str = "/usage/prompt_tokens_details/cached_tokens";

/// Whether the server is known to count what comes from its cache; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct CacheReport(Arc<AtomicBool>);

impl CacheReport {
    /// The server was told to count, or has shown that it does.
    pub(super) fn expect(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a reply without a count says zero.
    pub(super) fn is_expected(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Learns from a reply that counts, and writes the zero into one that does not.
    pub(super) fn complete(&self, last: &mut Value) {
        if last.pointer(CACHED).is_some_and(Value::is_number) {
            return self.expect();
        }
        let usage = last.get_mut("usage").and_then(Value::as_object_mut);
        let Some(usage) = usage.filter(|usage| usage.get("prompt_tokens").is_some_and(Value::is_number))
        else {
            return;
        };
        if self.is_expected() {
            let details = usage.entry("prompt_tokens_details").or_insert(Value::Null);
            match details.as_object_mut() {
                Some(details) => drop(details.insert("cached_tokens".to_owned(), json!(0))),
                None => *details = json!({ "cached_tokens": 0 }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(report: &CacheReport, usage: Value) -> Value {
        let mut last = json!({ "usage": usage });
        report.complete(&mut last);
        last.pointer(CACHED).cloned().unwrap_or_default()
    }

    #[test]
    fn nothing_said_is_zero_once_the_server_has_counted() {
        let report = CacheReport::default();
        let sglang = json!({ "prompt_tokens": 34, "prompt_tokens_details": null });
        let vllm = json!({ "prompt_tokens": 34 });
        assert_eq!(completed(&report, sglang.clone()), Value::Null, "nobody knows whether it reports");
        let warm = json!({ "prompt_tokens": 34, "prompt_tokens_details": { "cached_tokens": 33 } });
        assert_eq!(completed(&report.clone(), warm), json!(33));
        assert_eq!(completed(&report, sglang), json!(0));
        assert_eq!(completed(&report, vllm), json!(0));
        let others = json!({ "prompt_tokens": 34, "prompt_tokens_details": { "audio_tokens": 0 } });
        assert_eq!(completed(&report, others), json!(0));
    }

    #[test]
    fn what_counts_no_prompt_is_left_alone() {
        let report = CacheReport::default();
        report.expect();
        for usage in [json!(null), json!({}), json!({ "prompt_tokens": "many" }), json!([1])] {
            assert_eq!(completed(&report, usage.clone()), Value::Null, "{usage}");
        }
        let mut nothing = Value::Null;
        report.complete(&mut nothing);
        assert_eq!(nothing, Value::Null);
    }
}
