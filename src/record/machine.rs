//! The machine that a run was made on, and the files that its figures depend on.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine that a run was made on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Machine {
    /// Operating system and kernel.
    pub os: String,
    /// Processor.
    pub cpu: String,
    /// Logical processors.
    pub cpus: u32,
    /// Memory (bytes).
    pub memory_bytes: u64,
    /// GPUs, by name.
    pub gpus: Vec<String>,
    /// Mean power of a card before the first server started (W), where the driver says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_gpu_w: Option<f64>,
    /// What all processors together move when they copy memory (bytes/s), read and written bytes both counted; the
    /// median of several copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_copy_bytes_per_s: Option<f64>,
    /// Mean clock of the processors when the run started (Hz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_hz: Option<f64>,
    /// Highest clock of the first processor (Hz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_max_hz: Option<f64>,
    /// What decides on the clock of the first processor, such as `performance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_governor: Option<String>,
    /// What the cards' drivers say of them, when the run started.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cards: Vec<GpuCard>,
}

impl Machine {
    /// What decides how fast it is, as far as it can be read, in words: processor and how many of it, cards and their driver.
    /// Speeds of machines of different kinds are never pooled.
    pub fn kind(&self) -> String {
        let mut words = vec![format!("{} x {}", self.cpu, self.cpus)];
        match self.cards.as_slice() {
            [] => words.extend(self.gpus.iter().cloned()),
            cards => words.extend(cards.iter().map(|card| match &card.driver {
                Some(driver) => format!("{} ({driver})", card.name),
                None => card.name.clone(),
            })),
        }
        words.join(", ")
    }

    /// The same with only these cards, by the driver's numbers; as it is where the driver names no such cards.
    #[must_use]
    pub fn with_cards(mut self, numbers: &[u32]) -> Self {
        let known = |len: usize| !numbers.is_empty() && numbers.iter().all(|number| (*number as usize) < len);
        if known(self.cards.len()) {
            self.cards = numbers.iter().map(|number| self.cards[*number as usize].clone()).collect();
        }
        if known(self.gpus.len()) {
            self.gpus = numbers.iter().map(|number| self.gpus[*number as usize].clone()).collect();
        }
        self
    }
}

/// A graphics card as its driver describes it; `None` where it does not say.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct GpuCard {
    /// Name.
    pub name: String,
    /// Driver and its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Memory (bytes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Clock of the cores when the run started (Hz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_hz: Option<f64>,
    /// Highest clock of the cores (Hz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_clock_hz: Option<f64>,
    /// Highest clock of the memory (Hz).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_clock_hz: Option<f64>,
    /// What it may draw (W).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_w: Option<f64>,
    /// Link to the machine when the run started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie: Option<String>,
    /// Instances that MIG has split it into.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<String>,
}

/// Another file that a run's figures depend on: cases of the user's, a chat template on the server's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct FileInfo {
    /// Name of the file, without its folder.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
}
