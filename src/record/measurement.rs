//! What was measured of a trial, and by whom.

#[cfg(test)]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::Name;

/// Who measured a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// kneepoint's own clock and counters.
    Client,
    /// The inference server's own timings or usage.
    Engine,
    /// The Linux `/proc` file system.
    Procfs,
    /// NVIDIA's management library.
    Nvml,
    /// Running average power limit counters.
    Rapl,
    /// The Linux `/sys` file system.
    Sysfs,
    /// Computed by a formula from other figures.
    Formula,
}

impl Source {
    /// The name used in journals and in `trials.parquet`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Engine => "engine",
            Self::Procfs => "procfs",
            Self::Nvml => "nvml",
            Self::Rapl => "rapl",
            Self::Sysfs => "sysfs",
            Self::Formula => "formula",
        }
    }
}

/// One measured number, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub struct Measurement {
    /// Name with its unit, such as `ttft_s`; the constants are in `record::metric`.
    #[serde(rename = "n")]
    pub name: Name,
    /// Who measured it.
    #[serde(rename = "s")]
    pub source: Source,
    /// The number; `None` with a reason in `absent`.
    #[serde(rename = "v", default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Why there is no number.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Name>,
}

impl Measurement {
    /// A measured number; a number that is not finite becomes absent.
    pub fn new(name: &'static str, source: Source, value: f64) -> Self {
        if !value.is_finite() {
            return Self::absent(name, source, "not a finite number");
        }
        Self { name: name.into(), source, value: Some(value), absent: None }
    }

    /// No number, and why.
    pub fn absent(name: &'static str, source: Source, reason: impl Into<Name>) -> Self {
        Self { name: name.into(), source, value: None, absent: Some(reason.into()) }
    }
}
