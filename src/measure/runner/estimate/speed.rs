//! How fast a server reads and writes: as measured, or by rule of thumb.

use super::work::Work;
use crate::record::{Machine, cards};

/// Time of a request beside its tokens (s).
const REQUEST_S: f64 = 0.02;

/// Reading a token costs twice as much when so many stand in front of it as when none does (tokens): attention grows
/// with the context, everything else does not. Of models with 1 to 70 billion weights it is 20,000 to 100,000.
const DOUBLED_AT: f64 = 50_000.0;

/// Arithmetic that a CPU core does in practice while prefilling (operations/s): SmolLM2-135M on 2 cores
/// prefilled 160 to 240 tokens/s, that is 22 to 32 Gop/s a core.
const OPS_PER_CORE: f64 = 25e9;
/// Bytes that a CPU core reads in practice while decoding, up to what memory gives (bytes/s): SmolLM2-135M at 98 MB
/// decoded 40 to 80 tokens/s on 2 cores.
const READ_PER_CORE: f64 = 2.5e9;
const READ_AT_MOST: f64 = 50e9;

/// Share of a card's arithmetic and of its memory's bandwidth that servers reach, and the time that a card needs to be
/// told what to do for a token (s).
const CARD_OPS: f64 = 0.25;
const CARD_READ: f64 = 0.5;
const CARD_TOKEN_S: f64 = 0.0015;

/// What is assumed of any other card.
const ANY_CARD: (f64, f64) = (300.0, 40.0);

/// How fast one model file is on one machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Speed {
    /// Lengths of prompts (tokens) and how fast they were read (tokens/s), by length; at least one.
    prefill: Vec<(f64, f64)>,
    /// Time of a generated token (s).
    token_s: f64,
}

impl Speed {
    /// From measured rates (tokens/s), with the lengths of the prompts (tokens). `None` without any that can be used.
    pub fn new(mut prefill: Vec<(f64, f64)>, decode_tps: f64) -> Option<Self> {
        let usable = |number: f64| number.is_finite() && number > 0.0;
        prefill.retain(|(length, rate)| usable(*length) && usable(*rate));
        prefill.sort_by(|a, b| a.0.total_cmp(&b.0));
        (!prefill.is_empty() && usable(decode_tps)).then(|| Self { prefill, token_s: 1.0 / decode_tps })
    }

    /// The same machine with another file of the model: reading the weights is what a token takes.
    pub(super) fn scaled(&self, times_the_bytes: f64) -> Self {
        Self { prefill: self.prefill.clone(), token_s: self.token_s * times_the_bytes }
    }

    /// Time of a request alone (s).
    pub(super) fn seconds(&self, work: Work) -> f64 {
        REQUEST_S + self.prompt_s(work.prompt) + work.output * self.token_s
    }

    /// Time to read a prompt of so many tokens (s), from the length that was measured next to it.
    fn prompt_s(&self, tokens: f64) -> f64 {
        let next = |a: &&(f64, f64), b: &&(f64, f64)| {
            let apart = |length: f64| (length.max(1.0).ln() - tokens.max(1.0).ln()).abs();
            apart(a.0).total_cmp(&apart(b.0))
        };
        let Some((length, rate)) = self.prefill.iter().min_by(next) else { return 0.0 };
        tokens / rate * attention(tokens) / attention(*length)
    }

    pub(super) fn token_s(&self) -> f64 {
        self.token_s
    }

    /// Time of a prompt token in prompts of such a length (s).
    pub(super) fn prompt_token_s(&self, tokens: f64) -> f64 {
        self.prompt_s(tokens) / tokens.max(1.0)
    }
}

/// What a token of a prompt costs beside one of a short prompt, on average over the prompt.
fn attention(tokens: f64) -> f64 {
    1.0 + tokens / 2.0 / DOUBLED_AT
}

/// Weights that a file of so many bytes holds, from the name of its quant.
fn weights_in(bytes: f64, quant: &str) -> f64 {
    let digits: String =
        quant.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    let bits = match digits.parse::<f64>() {
        Ok(bits) if (1.0..=8.0).contains(&bits) => bits + 0.6,
        Ok(bits) if bits <= 32.0 => bits,
        _ => 16.0,
    };
    bytes * 8.0 / bits
}

/// The speed of a model file by rule of thumb, on the card if one is used, else on the CPU.
pub(super) fn by_rule(machine: &Machine, on_card: bool, bytes: f64, quant: &str) -> Speed {
    let cores = f64::from(machine.cpus.max(1));
    let cpu = (OPS_PER_CORE * cores, (READ_PER_CORE * cores).min(READ_AT_MOST));
    let ops_a_token = 2.0 * weights_in(bytes.max(1.0), quant);
    if !on_card {
        return of_rates(ops_a_token / cpu.0, bytes / cpu.1);
    }
    let (bandwidth, arithmetic) = card(machine).1;
    let room = machine.cards.iter().filter_map(|card| card.memory_bytes).sum::<u64>() as f64;
    // What the cards have no room for stays in main memory.
    let outside = if room > 0.0 { (bytes - room).max(0.0) } else { 0.0 };
    let share = outside / bytes.max(1.0);
    let prompt_s = ops_a_token * ((1.0 - share) / (CARD_OPS * arithmetic * 1e12) + share / cpu.0);
    let token_s = CARD_TOKEN_S + (bytes - outside) / (CARD_READ * bandwidth * 1e9) + outside / cpu.1;
    of_rates(prompt_s, token_s)
}

fn of_rates(prompt_token_s: f64, token_s: f64) -> Speed {
    Speed { prefill: vec![(1.0, 1.0 / prompt_token_s.max(1e-9))], token_s: token_s.max(1e-6) }
}

/// The card that a rule is about, and its figures; whether they are its own.
fn card(machine: &Machine) -> (String, (f64, f64), bool) {
    let name = machine.gpus.first().cloned().unwrap_or_else(|| "an unknown card".to_owned());
    match cards::sheet(&name) {
        Some(sheet) => (name, (sheet.bandwidth, sheet.arithmetic), true),
        None => (name, ANY_CARD, false),
    }
}

/// What the rule is about, in words, and by which factor it may be off either way.
pub(super) fn rule_words(machine: &Machine, on_card: bool) -> (String, f64) {
    if !on_card {
        return (format!("a rule of thumb for {} CPUs", machine.cpus.max(1)), 3.0);
    }
    match card(machine) {
        (name, _, true) => (format!("a rule of thumb for {name}"), 3.0),
        (name, _, false) => (format!("a rule of thumb for any card ({name} is not in its table)"), 6.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(gpus: &[&str]) -> Machine {
        Machine { cpus: 16, gpus: gpus.iter().map(|gpu| (*gpu).to_owned()).collect(), ..Machine::default() }
    }

    #[test]
    fn a_card_is_not_estimated_as_a_cpu() {
        let bytes = 4.9e9;
        let work = Work { prompt: 32_000.0, output: 64.0 };
        let cpu = by_rule(&machine(&[]), false, bytes, "Q4_K_M").seconds(work);
        let card = by_rule(&machine(&["NVIDIA H100 80GB HBM3"]), true, bytes, "Q4_K_M").seconds(work);
        // llama.cpp reads 5,000 to 12,000 tokens/s of an 8B model on an H100: 3 to 7 s.
        assert!((1.5..15.0).contains(&card), "{card}");
        assert!(cpu > 50.0 * card, "{cpu} against {card}");
    }

    #[test]
    fn what_a_card_has_no_room_for_is_read_by_the_cpu() {
        let mut small = machine(&["NVIDIA RTX 4090"]);
        small.cards =
            vec![crate::record::GpuCard { memory_bytes: Some(24_000_000_000), ..Default::default() }];
        let work = Work { prompt: 100.0, output: 100.0 };
        let fits = by_rule(&small, true, 20e9, "Q4_K_M").seconds(work);
        let spills = by_rule(&small, true, 40e9, "Q4_K_M").seconds(work);
        assert!(spills > 5.0 * fits, "{spills} against {fits}");
    }

    #[test]
    fn a_longer_prompt_than_was_measured_takes_more_than_its_share() {
        let speed = Speed::new(vec![(1000.0, 500.0), (8000.0, 400.0)], 20.0).unwrap();
        let at = |prompt| speed.seconds(Work { prompt, output: 0.0 });
        assert!((at(1000.0) - 2.02).abs() < 1e-9);
        assert!(at(32_000.0) > 4.0 * at(8000.0));
        let decode = speed.seconds(Work { prompt: 1000.0, output: 100.0 }) - at(1000.0);
        assert!((decode - 5.0).abs() < 1e-9);
        assert_eq!(Speed::new(vec![(0.0, 1.0)], 1.0), None);
        assert_eq!(Speed::new(vec![(1.0, 1.0)], f64::NAN), None);
    }

    #[test]
    fn bits_of_a_weight_come_from_the_quants_name() {
        for (quant, bits) in
            [("Q4_K_M", 4.6), ("IQ2_XS", 2.6), ("Q8_0", 8.6), ("F16", 16.0), ("BF16", 16.0), ("", 16.0)]
        {
            assert!((weights_in(1e9, quant) - 8e9 / bits).abs() < 1.0, "{quant}");
        }
    }
}
