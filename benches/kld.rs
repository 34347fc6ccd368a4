//! What a compared position costs kneepoint itself: bytes in the journal, and time to pack, unpack and compare.
//!
//! The served cost of a position, one decode step, is in every journal as `position_s`.
//!
//!     cargo bench --bench kld

#![allow(clippy::print_stdout, reason = "its results")]

use std::time::Instant;

use kneepoint::record::{Band, Case, PackedDistributions, Prompt, Reply};
use kneepoint::task::coherence::kld;

/// Three bands in 16K tokens.
const ENDS: [usize; 3] = [1023, 4095, 16_383];
const POSITIONS: usize = 128;
const VOCABULARY: u32 = 151_936;
/// Comparisons that are timed together.
const ROUNDS: u32 = 20;

/// Repeatable numbers in 0..1 (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A list whose probabilities fall about as a language model's do.
fn listed(noise: &mut Noise, top_k: usize) -> Vec<(u32, f32)> {
    let mut log_probability = -0.1 - 2.0 * noise.next();
    let mut list = Vec::with_capacity(top_k);
    let start = (noise.next() * f64::from(VOCABULARY)) as u32;
    for rank in 0..top_k as u32 {
        list.push(((start + rank * 7919) % VOCABULARY, log_probability as f32));
        log_probability -= noise.next() * 4.0 / f64::from(rank + 1);
    }
    list
}

fn case(top_k: usize) -> Case {
    let bands = ENDS.map(|end| Band { first: end - POSITIONS, end });
    let prompt = Prompt::Distributions {
        tokens: (0..ENDS[2] as u32).collect(),
        first: bands[0].first,
        top_k,
        bands: bands.to_vec(),
        by_decode: false,
    };
    Case {
        id: "".into(),
        task: "coherence/kld".into(),
        task_version: 1,
        arm: None,
        context: 16_384,
        index: 0,
        depth: None,
        cluster: "bench".into(),
        prompt,
        max_tokens: 1,
        prompt_tokens: ENDS[2] as u32 - 1,
        target: serde_json::Value::Null,
        forced: Vec::new(),
        shared_tokens: 0,
    }
    .seal()
}

fn main() {
    println!("| K | journal, bytes a position | pack, µs | read and compare, µs |");
    println!("|--:|--:|--:|--:|");
    for top_k in [16, 64, 256] {
        measure(top_k);
    }
}

fn measure(top_k: usize) {
    let case = case(top_k);
    let positions = case.prompt.positions().len();
    let mut noise = Noise(88_172_645_463_325_252);
    let lists: Vec<_> = (0..positions).map(|_| listed(&mut noise, top_k)).collect();
    let per_position =
        |from: Instant| from.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS) / positions as f64;
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(PackedDistributions::pack(top_k, &lists));
    }
    let pack_us = per_position(begin);
    let packed = PackedDistributions::pack(top_k, &lists);
    let bytes = packed.data.len() as f64 / positions as f64;
    let reply = Reply { distributions: Some(packed), ..Reply::default() };
    let begin = Instant::now();
    for _ in 0..ROUNDS {
        std::hint::black_box(kld::positions(&case, &reply, &reply));
    }
    println!("| {top_k} | {bytes:.0} | {pack_us:.1} | {:.1} |", per_position(begin));
}
