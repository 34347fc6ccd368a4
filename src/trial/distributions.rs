//! The compact form of next-token distributions in the journal, and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::PackedDistributions;

/// Bytes of one record: a token id (u32) and a natural-log probability (f32).
const RECORD: usize = 8;
/// Fills the list of a position that has fewer tokens than the others.
const PADDING: (u32, f32) = (u32::MAX, f32::NEG_INFINITY);
/// The logarithm of the least probability that a f32 can hold (2^-149); below it there is only 0.
const LEAST: f32 = -103.28;
/// Servers round: a log probability this far above 0 is still taken, as 0.
const ROUNDING: f32 = 0.01;

impl PackedDistributions {
    /// Packs the listed tokens of each position: token ids and natural-log probabilities, most probable
    /// first. What is beyond `top_k` is dropped, what is missing is padded.
    pub fn pack(top_k: usize, positions: &[Vec<(u32, f32)>]) -> Self {
        let mut bytes = Vec::with_capacity(positions.len() * top_k * RECORD);
        for listed in positions {
            let records = listed.iter().copied().chain(std::iter::repeat(PADDING));
            for (token, log_probability) in records.take(top_k) {
                bytes.extend(token.to_le_bytes());
                bytes.extend(log_probability.to_le_bytes());
            }
        }
        Self { top_k, data: STANDARD.encode(bytes) }
    }

    /// The listed tokens of each position, most probable first, without the padding. Tokens of
    /// probability 0 are left out, so that every number is finite and at most 0.
    ///
    /// # Errors
    /// When the data cannot have been packed from distributions, with what is wrong in words.
    pub fn unpack(&self) -> Result<Vec<Vec<(u32, f32)>>, String> {
        let bytes =
            STANDARD.decode(&self.data).map_err(|error| format!("distributions are not base64: {error}"))?;
        let width = self.top_k.checked_mul(RECORD).filter(|width| *width > 0);
        let width = width.ok_or_else(|| format!("distributions of {} tokens a position", self.top_k))?;
        if bytes.len() % width != 0 {
            return Err(format!(
                "distributions of {} bytes do not divide into positions of {width} bytes",
                bytes.len()
            ));
        }
        bytes
            .chunks_exact(width)
            .enumerate()
            .map(|(index, position)| {
                unpack_position(position).map_err(|what| format!("position {index}: {what}"))
            })
            .collect()
    }
}

fn unpack_position(bytes: &[u8]) -> Result<Vec<(u32, f32)>, String> {
    let mut listed = Vec::with_capacity(bytes.len() / RECORD);
    for record in bytes.chunks_exact(RECORD) {
        let (token, log_probability) = unpack_record(record);
        if log_probability < LEAST {
            continue;
        }
        if log_probability.is_nan() || log_probability > ROUNDING {
            return Err(format!("{log_probability} is not the logarithm of a probability"));
        }
        listed.push((token, log_probability.min(0.0)));
    }
    let mut tokens: Vec<u32> = listed.iter().map(|(token, _)| *token).collect();
    tokens.sort_unstable();
    if let Some(pair) = tokens.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("token {} is listed twice", pair[0]));
    }
    listed.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(listed)
}

fn unpack_record(record: &[u8]) -> (u32, f32) {
    let mut halves = record
        .chunks_exact(4)
        .map(|half| half.iter().rev().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)));
    let token = halves.next().unwrap_or(PADDING.0);
    let log_probability = halves.next().map_or(PADDING.1, f32::from_bits);
    (token, log_probability)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn raw(top_k: usize, records: &[(u32, f32)]) -> PackedDistributions {
        let bytes: Vec<u8> = records
            .iter()
            .flat_map(|(token, lp)| token.to_le_bytes().into_iter().chain(lp.to_le_bytes()))
            .collect();
        PackedDistributions { top_k, data: STANDARD.encode(bytes) }
    }

    #[test]
    fn what_was_packed_comes_back() {
        let positions = vec![vec![(7, -0.25), (0, -2.5), (u32::MAX - 1, -30.0)], vec![(3, 0.0)], vec![]];
        let packed = PackedDistributions::pack(3, &positions);
        assert_eq!(packed.unpack().unwrap(), positions);
    }

    #[test]
    fn longer_lists_are_cut() {
        let packed = PackedDistributions::pack(1, &[vec![(1, -0.5), (2, -1.0)]]);
        assert_eq!(packed.unpack().unwrap(), [vec![(1, -0.5)]]);
    }

    #[test]
    fn the_layout_is_fixed() {
        let packed = PackedDistributions::pack(1, &[vec![(1, -1.0)]]);
        assert_eq!(STANDARD.decode(&packed.data).unwrap(), [1, 0, 0, 0, 0, 0, 0x80, 0xbf]);
    }

    #[test]
    fn an_unordered_list_is_put_in_order() {
        let listed = raw(2, &[(1, -3.0), (2, -0.5)]).unpack().unwrap();
        assert_eq!(listed, [vec![(2, -0.5), (1, -3.0)]]);
    }

    #[test]
    fn tokens_without_probability_are_left_out() {
        let listed = raw(3, &[(1, -1.0), (2, -104.0), (3, f32::MIN)]).unpack().unwrap();
        assert_eq!(listed, [vec![(1, -1.0)]]);
    }

    #[test]
    fn what_cannot_be_a_distribution_is_refused() {
        for (packed, what) in [
            (raw(1, &[(1, f32::NAN)]), "logarithm"),
            (raw(1, &[(1, f32::INFINITY)]), "logarithm"),
            (raw(1, &[(1, 0.5)]), "logarithm"),
            (raw(2, &[(1, -1.0), (1, -2.0)]), "twice"),
            (raw(2, &[(1, -1.0)]), "do not divide"),
            (raw(0, &[]), "0 tokens"),
            (raw(usize::MAX, &[(1, -1.0)]), "tokens a position"),
        ] {
            let error = packed.unpack().unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        let garbage = PackedDistributions { top_k: 1, data: "\u{1b}[31m".into() };
        assert!(garbage.unpack().unwrap_err().contains("base64"));
    }

    proptest! {
        #[test]
        fn hostile_data_never_panics(top_k in any::<usize>(), bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let packed = PackedDistributions { top_k, data: STANDARD.encode(bytes) };
            for position in packed.unpack().unwrap_or_default() {
                prop_assert!(position.iter().all(|(_, lp)| lp.is_finite() && *lp <= 0.0));
            }
        }
    }
}
