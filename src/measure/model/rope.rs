//! How rope scaling stretches the context of a model.

/// The length that rope scaling stretches a model to (tokens); `None` when it stretches nothing.
///
/// `linear`, `dynamic` and `yarn` multiply the original length, or the named one where no original is named (the
/// rule of Hugging Face's `rope_scaling` and of vLLM); `longrope` and `llama3` name the stretched length themselves.
pub(super) fn scaled(
    context: Option<u64>,
    kind: Option<&str>,
    factor: Option<f64>,
    original: Option<u64>,
) -> Option<u64> {
    let factor = factor.filter(|factor| factor.is_finite() && (1.0..=1e6).contains(factor))?;
    let base = original.filter(|&original| original > 0).or(context)?;
    matches!(kind?, "linear" | "dynamic" | "yarn").then(|| (base as f64 * factor) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rope_scaling_stretches_as_its_kind_says() {
        let yarn = scaled(Some(32_768), Some("yarn"), Some(4.0), Some(32_768));
        assert_eq!(yarn, Some(131_072));
        assert_eq!(scaled(Some(131_072), Some("yarn"), Some(4.0), Some(32_768)), Some(131_072));
        assert_eq!(scaled(Some(4096), Some("linear"), Some(2.0), None), Some(8192));
        assert_eq!(scaled(Some(131_072), Some("llama3"), Some(8.0), Some(8192)), None, "stretched already");
        assert_eq!(scaled(Some(131_072), Some("longrope"), Some(32.0), Some(4096)), None);
        assert_eq!(scaled(Some(4096), Some("yarn"), None, None), None);
        assert_eq!(scaled(Some(4096), Some("yarn"), Some(f64::NAN), None), None);
    }
}
