use proptest::prelude::*;

use super::testing::base;
use super::*;

fn read(bytes: &[u8]) -> Result<BaseFile<&[u8]>, String> {
    BaseFile::read(bytes, bytes.len() as u64)
}

/// Two chunks of six tokens with a vocabulary of five: two rows each.
fn small() -> Vec<u8> {
    let row = |probabilities: [f64; 5]| probabilities.iter().map(|p| p.ln()).collect::<Vec<f64>>();
    let rows = [
        row([0.5, 0.25, 0.125, 0.0625, 0.0625]),
        row([0.1, 0.2, 0.3, 0.2, 0.2]),
        row([0.2; 5]),
        row([1.0 - 4e-9, 1e-9, 1e-9, 1e-9, 1e-9]),
    ];
    base(6, &[0, 1, 2, 3, 4, 0, 4, 3, 2, 1, 0, 4], &rows)
}

#[test]
fn rows_come_back_in_the_order_of_the_text() {
    let bytes = small();
    let mut file = read(&bytes).unwrap();
    let shape = file.shape();
    assert_eq!((shape.first(), shape.rows(), shape.whole), (4, 2, 2));
    assert_eq!(file.tokens(1), [4, 3, 2, 1, 0, 4]);
    assert!(file.tokens(2).is_empty());
    let probability = |row: &Row<'_>, token: u32| row.log_probability(token).unwrap().exp();
    let row = file.next_row().unwrap();
    assert!((probability(&row, 1) - 0.25).abs() < 1e-4 && row.top() == 0);
    assert_eq!(row.log_probability(5), None, "what fills the row up is no token");
    assert_eq!(file.next_row().unwrap().top(), 2);
    let flat = file.next_row().unwrap();
    assert!((probability(&flat, 4) - 0.2).abs() < 1e-6);
    let sure = file.next_row().unwrap();
    assert!(probability(&sure, 0) > 0.9999 && sure.log_probability(1).unwrap() > -17.0, "cut off at 16 nats");
    assert!(file.next_row().unwrap_err().contains("row 4 (chunk 2)"));
}

#[test]
fn the_bound_is_the_divergence_where_all_is_listed_and_less_where_not() {
    let bytes = small();
    let mut file = read(&bytes).unwrap();
    let served = [0.4_f64, 0.3, 0.1, 0.1, 0.1];
    let listed = |count: usize| -> Vec<(u32, f32)> {
        (0..).zip(served).take(count).map(|(token, p)| (token, p.ln() as f32)).collect()
    };
    let row = file.next_row().unwrap();
    let whole = row.against(&listed(5), 1).unwrap();
    let true_kld: f64 = [0.5, 0.25, 0.125, 0.0625, 0.0625]
        .iter()
        .zip(served)
        .map(|(p, q): (&f64, f64)| p * (p / q).ln())
        .sum();
    assert!((whole.kld - true_kld).abs() < 1e-3, "{} {true_kld}", whole.kld);
    assert!(whole.unlisted < 1e-4 && (whole.base_nll - 4_f64.ln()).abs() < 1e-3 && !whole.outside);
    let part = row.against(&listed(2), 4).unwrap();
    assert!(part.kld < whole.kld && (part.unlisted - 0.25).abs() < 1e-3 && part.outside && part.same_top);
    assert!((part.nll + 0.3_f64.ln()).abs() < 1e-6, "no more than the last one listed");
    assert_eq!(row.against(&[(5, -1.0)], 0), None);
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_allocated() {
    let bytes = small();
    let said = |bytes: &[u8]| read(bytes).unwrap_err();
    assert!(said(&bytes[..10]).contains("10 bytes"));
    assert!(said(b"GGUF\x03\0\0\0aaaabbbbcccc").contains("does not begin with `_logits_`"));
    let with = |at: usize, number: u32| {
        let mut bytes = small();
        bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    assert!(said(&with(8, u32::MAX)).contains("tokens of a chunk is 4294967295"));
    assert!(said(&with(12, 0)).contains("tokens of the vocabulary is 0"));
    assert!(said(&with(16, i32::MAX as u32)).contains("ends within the tokens of its 2147483647 chunks"));
    assert!(said(&with(16, 0)).contains("chunks is 0"));
    assert!(said(&with(20, 5)).contains("token 0 is 5, beyond its vocabulary of 5"));
    assert!(said(&[&bytes[..], b"x"].concat()).contains("longer than its 2 chunks"));
    assert!(said(&bytes[..80]).contains("before the end of its first chunk"));
    // One that was cut off keeps its whole chunks.
    let cut = read(&bytes[..bytes.len() - 1]).unwrap().shape();
    assert_eq!((cut.chunks, cut.whole), (2, 1));
    let mut odd = bytes.clone();
    odd[20 + 48..20 + 52].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(read(&odd).unwrap().next_row().unwrap_err().contains("row 0 (chunk 0): scale NaN"));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), at in 0_usize..400, byte: u8) {
        let _ = read(&bytes);
        let framed = [&b"_logits_"[..], &bytes].concat();
        let _ = read(&framed);
        let mut changed = small();
        let at = at % changed.len();
        changed[at] = byte;
        if let Ok(mut file) = read(&changed) {
            for _ in 0..5 {
                if let Ok(row) = file.next_row() {
                    let _ = row.against(&[(0, -0.1), (4, -3.0)], 2);
                }
            }
        }
    }
}
