//! What makers say of their cards.

/// A card's data sheet, rounded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CardSheet {
    /// Part of the name by which drivers call it.
    part: &'static str,
    /// Bandwidth of its memory (GB/s).
    pub bandwidth: f64,
    /// Dense 16-bit arithmetic (Tflop/s).
    pub arithmetic: f64,
}

/// Cards by a part of their names. The first that fits counts.
const CARDS: &[CardSheet] = &[
    card("B200", 8000.0, 2250.0),
    card("H200", 4800.0, 990.0),
    card("H100", 3350.0, 990.0),
    card("A100", 2000.0, 312.0),
    card("MI300", 5300.0, 1300.0),
    card("L40S", 864.0, 362.0),
    card("L40", 864.0, 181.0),
    card("L4", 300.0, 121.0),
    card("T4", 320.0, 65.0),
    card("A6000", 768.0, 155.0),
    card("5090", 1792.0, 210.0),
    card("4090", 1008.0, 165.0),
    card("3090", 936.0, 71.0),
    card("7900 XTX", 960.0, 123.0),
    card("GB10", 273.0, 100.0),
    card("Orin", 205.0, 20.0),
];

const fn card(part: &'static str, bandwidth: f64, arithmetic: f64) -> CardSheet {
    CardSheet { part, bandwidth, arithmetic }
}

/// The data sheet of a card by the name that its driver gives it.
pub fn sheet(name: &str) -> Option<&'static CardSheet> {
    CARDS.iter().find(|card| name.contains(card.part))
}
