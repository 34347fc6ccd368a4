//! Environment variables that change what a server answers, or how fast.

use std::collections::BTreeMap;

use super::secrets::is_key;

/// How the names of such variables begin: engines' own, and those of the cards' runtimes.
const PREFIXES: &[&str] = &["LLAMA_", "GGML_", "VLLM_", "SGLANG_", "CUDA_"];
/// Longest value that is kept (characters).
const MAX_CHARS: usize = 200;

/// The variables of this process that a server started by it sees and may obey, by name; none that holds a key or a token, the
/// home folder written as `~`.
pub fn telling_variables() -> BTreeMap<String, String> {
    let home = std::env::var("HOME").unwrap_or_default();
    let all = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
    telling(all.map(|(name, value)| (name, value.to_string_lossy().into_owned())), &home)
}

fn telling(all: impl Iterator<Item = (String, String)>, home: &str) -> BTreeMap<String, String> {
    let tells = |name: &str| PREFIXES.iter().any(|prefix| name.starts_with(prefix)) && !is_key(name);
    let short = |value: &str| {
        let value = if home.len() > 1 { value.replace(home, "~") } else { value.to_owned() };
        value.chars().take(MAX_CHARS).collect::<String>()
    };
    all.filter(|(name, _)| tells(name)).map(|(name, value)| (name, short(&value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_results_is_kept_and_what_is_secret_is_not() {
        let all = [
            ("LLAMA_ATTN_ROT_DISABLE", "1"),
            ("LLAMA_ARG_THREADS", "4"),
            ("GGML_CUDA_FORCE_MMQ", "1"),
            ("CUDA_VISIBLE_DEVICES", "0,1"),
            ("LLAMA_CACHE", "/home/me/models"),
            ("LLAMA_ARG_IMAGE_MAX_TOKENS", "64"),
            ("LLAMA_API_KEY", "sk-secret"),
            ("LLAMA_ARG_API_KEY_FILE", "/home/me/key"),
            ("VLLM_API_KEY", "sk-secret"),
            ("VLLM_S3_SECRET_ACCESS", "secret"),
            ("SGLANG_AUTH_TOKEN", "secret"),
            ("HF_TOKEN", "secret"),
            ("PATH", "/bin"),
        ];
        let found = telling(all.iter().map(|(name, value)| ((*name).into(), (*value).into())), "/home/me");
        let found: Vec<String> = found.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            found,
            [
                "CUDA_VISIBLE_DEVICES=0,1",
                "GGML_CUDA_FORCE_MMQ=1",
                "LLAMA_ARG_IMAGE_MAX_TOKENS=64",
                "LLAMA_ARG_THREADS=4",
                "LLAMA_ATTN_ROT_DISABLE=1",
                "LLAMA_CACHE=~/models",
            ]
        );
    }
}
