//! The compact form of next-token distributions in the journal, and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{PackedDistributions, Packing, ReadPath};

/// Steps a nat of [`Packing::Steps`].
const STEPS: f64 = 65_536.0;
/// Bytes of one record of [`Packing::Records`]: a token id (u32) and a natural-log probability (f32).
const RECORD: usize = 8;
/// The logarithm of the least probability that a f32 can hold (2^-149); below it there is only 0.
const LEAST: f32 = -103.28;
/// Servers round: a log probability this far above 0 is still taken, as 0.
const ROUNDING: f32 = 0.01;

/// The tokens listed at one position, with natural-log probabilities.
type Listed = Vec<(u32, f32)>;

impl PackedDistributions {
    /// Packs the listed tokens of each position: token ids and natural-log probabilities, most probable
    /// first, in [`Packing::Steps`]. What is beyond `top_k` is dropped, and so are tokens of probability 0.
    pub fn pack(top_k: usize, positions: &[Listed]) -> Self {
        let mut bytes = Vec::new();
        for listed in positions {
            let mut levels: Vec<(u32, u32)> = listed.iter().take(top_k).filter_map(level).collect();
            levels.sort_by_key(|(_, level)| *level);
            write_varint(&mut bytes, levels.len() as u32);
            let mut before = 0;
            for (token, level) in levels {
                write_varint(&mut bytes, token);
                write_varint(&mut bytes, level - before);
                before = level;
            }
        }
        Self { top_k, data: STANDARD.encode(bytes), packing: Packing::Steps, path: ReadPath::Decode }
    }

    /// The listed tokens of each position, most probable first. Tokens of probability 0 are left out, so that
    /// every number is finite and at most 0.
    ///
    /// # Errors
    /// When the data cannot have been packed from distributions, with what is wrong in words.
    pub fn unpack(&self) -> Result<Vec<Listed>, String> {
        let bytes =
            STANDARD.decode(&self.data).map_err(|error| format!("distributions are not base64: {error}"))?;
        let positions = match self.packing {
            Packing::Records => read_records(&bytes, self.top_k)?,
            Packing::Steps => read_steps(&bytes, self.top_k)?,
        };
        let check = |(index, listed)| checked(listed).map_err(|what| format!("position {index}: {what}"));
        positions.into_iter().enumerate().map(check).collect()
    }
}

/// How many steps below 0 a token's log probability lies; `None` for probability 0 and for what is none.
fn level(&(token, log_probability): &(u32, f32)) -> Option<(u32, u32)> {
    let possible = log_probability >= LEAST && !log_probability.is_nan();
    possible.then(|| (token, (f64::from(-log_probability.min(0.0)) * STEPS).round() as u32))
}

fn write_varint(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// The next number, which is cut off the front of `bytes`.
fn read_varint(bytes: &mut &[u8]) -> Result<u32, String> {
    let mut number = 0_u64;
    for shift in [0, 7, 14, 21, 28] {
        let (&byte, rest) = bytes.split_first().ok_or("the distributions end within a number")?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return u32::try_from(number).map_err(|_| format!("the number {number} is too large"));
        }
    }
    Err("a number has more than 5 bytes".into())
}

fn read_steps(mut bytes: &[u8], top_k: usize) -> Result<Vec<Listed>, String> {
    let mut positions = Vec::new();
    while !bytes.is_empty() {
        let count = read_varint(&mut bytes)?;
        if count as usize > top_k {
            return Err(format!(
                "{count} tokens at position {}, at most {top_k} are listed",
                positions.len()
            ));
        }
        let mut level = 0_u64;
        let mut listed = Vec::new();
        for _ in 0..count {
            let token = read_varint(&mut bytes)?;
            level += u64::from(read_varint(&mut bytes)?);
            listed.push((token, -(level as f64 / STEPS) as f32));
        }
        positions.push(listed);
    }
    Ok(positions)
}

fn read_records(bytes: &[u8], top_k: usize) -> Result<Vec<Listed>, String> {
    let width = top_k.checked_mul(RECORD).filter(|width| *width > 0);
    let width = width.ok_or_else(|| format!("distributions of {top_k} tokens a position"))?;
    if !bytes.len().is_multiple_of(width) {
        return Err(format!(
            "distributions of {} bytes do not divide into positions of {width} bytes",
            bytes.len()
        ));
    }
    let listed = |position: &[u8]| position.chunks_exact(RECORD).map(read_record).collect();
    Ok(bytes.chunks_exact(width).map(listed).collect())
}

fn read_record(record: &[u8]) -> (u32, f32) {
    let number = |half: &[u8]| half.iter().rev().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
    let (token, log_probability) = record.split_at(RECORD / 2);
    (number(token), f32::from_bits(number(log_probability)))
}

/// The list in order, without tokens of probability 0.
fn checked(mut listed: Listed) -> Result<Listed, String> {
    listed.retain(|(_, log_probability)| log_probability.is_nan() || *log_probability >= LEAST);
    for (_, log_probability) in &mut listed {
        if log_probability.is_nan() || *log_probability > ROUNDING {
            return Err(format!("{log_probability} is not the logarithm of a probability"));
        }
        *log_probability = log_probability.min(0.0);
    }
    let mut tokens: Vec<u32> = listed.iter().map(|(token, _)| *token).collect();
    tokens.sort_unstable();
    if let Some(pair) = tokens.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("token {} is listed twice", pair[0]));
    }
    listed.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(listed)
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
        PackedDistributions {
            top_k,
            data: STANDARD.encode(bytes),
            packing: Packing::Records,
            path: ReadPath::Decode,
        }
    }

    fn steps(top_k: usize, bytes: &[u8]) -> PackedDistributions {
        PackedDistributions {
            top_k,
            data: STANDARD.encode(bytes),
            packing: Packing::Steps,
            path: ReadPath::Decode,
        }
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
    fn the_layouts_are_fixed() {
        // Two tokens: id 1 at 1 nat (65,536 steps), id 300 half a nat (32,768 steps) below it.
        let packed = PackedDistributions::pack(2, &[vec![(1, -1.0), (300, -1.5)]]);
        let bytes = [2, 1, 0x80, 0x80, 4, 0xac, 2, 0x80, 0x80, 2];
        assert_eq!(STANDARD.decode(&packed.data).unwrap(), bytes);
        assert_eq!(raw(1, &[(1, -1.0)]).data, "AQAAAAAAgL8=");
        assert_eq!(raw(1, &[(1, -1.0)]).unpack().unwrap(), [vec![(1, -1.0)]]);
    }

    #[test]
    fn journals_without_a_packing_hold_records() {
        let old = r#"{"top_k":1,"data":"AQAAAAAAgL8="}"#;
        let old: PackedDistributions = serde_json::from_str(old).unwrap();
        assert_eq!(old, raw(1, &[(1, -1.0)]));
        assert!(!serde_json::to_string(&old).unwrap().contains("packing"));
    }

    #[test]
    fn a_language_models_list_takes_few_bytes() {
        // 64 tokens of a vocabulary of 150,000, log probabilities falling by some hundredths.
        let listed: Listed = (0..64_u32).map(|i| (i * 2311 + 7, -0.3 - 0.13 * i as f32)).collect();
        let packed = PackedDistributions::pack(64, &vec![listed; 384]);
        assert!(packed.data.len() < 384 * 64 * 7, "{} bytes", packed.data.len());
    }

    #[test]
    fn an_unordered_list_is_put_in_order() {
        let listed = [vec![(2, -0.5), (1, -3.0)]];
        assert_eq!(raw(2, &[(1, -3.0), (2, -0.5)]).unpack().unwrap(), listed);
        assert_eq!(PackedDistributions::pack(2, &[vec![(1, -3.0), (2, -0.5)]]).unpack().unwrap(), listed);
    }

    #[test]
    fn tokens_without_probability_are_left_out() {
        let listed = [(1, -1.0), (2, -104.0), (3, f32::MIN), (4, f32::NEG_INFINITY)];
        assert_eq!(raw(4, &listed).unpack().unwrap(), [vec![(1, -1.0)]]);
        let packed = PackedDistributions::pack(4, &[listed.to_vec()]);
        assert_eq!(packed.unpack().unwrap(), [vec![(1, -1.0)]]);
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
            (steps(2, &[2, 5, 0, 5, 0]), "twice"),
            (steps(1, &[2, 5, 0, 6, 0]), "at most 1"),
            (steps(1, &[1, 5]), "end within"),
            (steps(1, &[1, 0xff, 0xff, 0xff, 0xff, 0x7f, 0]), "too large"),
            (steps(1, &[0x80; 9]), "more than 5"),
        ] {
            let error = packed.unpack().unwrap_err();
            assert!(error.contains(what), "{error}");
        }
        let garbage = PackedDistributions { data: "\u{1b}[31m".into(), ..steps(1, &[]) };
        assert!(garbage.unpack().unwrap_err().contains("base64"));
    }

    proptest! {
        #[test]
        fn log_probabilities_keep_their_precision(
            logs in proptest::collection::btree_map(any::<u32>(), -100.0_f32..0.0, 0..80),
        ) {
            let listed: Listed = logs.iter().map(|(token, lp)| (*token, *lp)).collect();
            let back = PackedDistributions::pack(80, &[listed]).unpack().unwrap().remove(0);
            prop_assert_eq!(back.len(), logs.len());
            for (token, log_probability) in back {
                // Half a step, and what a f32 rounds.
                prop_assert!((log_probability - logs[&token]).abs() < 1.6e-5, "{} {}", log_probability, logs[&token]);
            }
        }

        #[test]
        fn hostile_data_never_panics(
            top_k in any::<usize>(),
            bytes in proptest::collection::vec(any::<u8>(), 0..256),
            records in any::<bool>(),
        ) {
            let packing = if records { Packing::Records } else { Packing::Steps };
            let packed = PackedDistributions { top_k, data: STANDARD.encode(bytes), packing, path: ReadPath::Decode };
            for position in packed.unpack().unwrap_or_default() {
                prop_assert!(position.iter().all(|(_, lp)| lp.is_finite() && *lp <= 0.0));
            }
        }
    }
}
