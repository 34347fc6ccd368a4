//! Base files for tests, as llama-perplexity writes them.

/// A base file of these tokens (whole chunks) and for each row of it the log-probabilities of the vocabulary.
pub(crate) fn base(chunk: u32, tokens: &[u32], rows: &[Vec<f64>]) -> Vec<u8> {
    let vocabulary = rows[0].len();
    let mut out = b"_logits_".to_vec();
    let chunks = tokens.len() as u32 / chunk;
    [chunk, vocabulary as u32, chunks].iter().for_each(|n| out.extend(n.to_le_bytes()));
    tokens.iter().for_each(|token| out.extend(token.to_le_bytes()));
    for row in rows {
        let most = row.iter().copied().fold(f64::MIN, f64::max);
        let least = row.iter().copied().fold(f64::MAX, f64::min).max(most - 16.0);
        let scale = (most - least) as f32 / 65_535.0;
        out.extend(scale.to_le_bytes());
        out.extend((least as f32).to_le_bytes());
        let step = |log: &f64| {
            if scale > 0.0 { ((log - least).max(0.0) / f64::from(scale)).round() as u16 } else { 0 }
        };
        row.iter().for_each(|log| out.extend(step(log).to_le_bytes()));
        if vocabulary % 2 == 1 {
            out.extend([0xab, 0xcd]);
        }
    }
    out
}
