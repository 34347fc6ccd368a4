//! The command line of `pick`.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::judge::analysis::pick::{Goal, MinQuality};
use crate::judge::serving::ServeForm;
use crate::quantity;

/// Arguments of `pick`.
#[derive(Debug, Args)]
pub struct PickArgs {
    /// Run folder, a unique prefix of its name, `latest`, or `latest~1` for the one before
    #[arg(default_value = "latest")]
    pub run: String,
    /// Context length that it is for, in tokens, such as 32k (k is 1024)
    #[arg(long, value_name = "TOKENS", value_parser = quantity::tokens, required_unless_present = "longest")]
    pub context: Option<u32>,
    /// Ask for the longest context length at which a setting meets the requirements; beyond the measured ones with
    /// --extrapolate
    #[arg(long, conflicts_with = "context")]
    pub longest: bool,
    /// Memory that there is, such as 24GiB or 24GB (decimal)
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub memory: Option<u64>,
    /// The least quality: a share of the reference's, such as 98%, or a score, such as 0.8; 0 for any
    /// [default: within the suite's margin of the reference]
    #[arg(long, value_name = "SHARE|SCORE", value_parser = min_quality)]
    pub min_quality: Option<MinQuality>,
    /// The least decode rate, such as 30t/s
    #[arg(long, visible_alias = "at-least", value_name = "RATE", value_parser = quantity::rate)]
    pub min_decode: Option<f64>,
    /// The least rate at which prompts are read, such as 500t/s
    #[arg(long, value_name = "RATE", value_parser = quantity::rate)]
    pub min_prefill: Option<f64>,
    /// The longest time to the first token, such as 2s or 800ms
    #[arg(long, value_name = "TIME", value_parser = quantity::seconds)]
    pub ttft_under: Option<f64>,
    /// Say what a byte buys: better weights, or a better KV cache?
    #[arg(long)]
    pub bytes: bool,
    /// What to be the best in
    #[arg(long, value_enum, default_value_t)]
    pub objective: Goal,
    /// Weights of tasks in the quality, by name; others have 1
    #[arg(long, value_name = "TASK=WEIGHT,..", value_delimiter = ',', value_parser = task_weight)]
    pub task_weights: Vec<(String, f64)>,
    /// Answer for a context length that was not measured, from the nearest ones; memory by formula
    #[arg(long)]
    pub extrapolate: bool,
    /// Require what is required of the whole interval, not of the estimate
    #[arg(long)]
    pub strict: bool,
    /// In which forms to print what serves it; `all` for every one. JSON holds all of them
    #[arg(long, value_name = "FORM,..", value_delimiter = ',', default_value = "shell", value_enum)]
    pub serve: Vec<ServeForms>,
    /// Print as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Forms of the command to serve with that may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeForms {
    /// One.
    One(ServeForm),
    /// Every one.
    All,
}

impl ServeForms {
    /// Returns the forms, each once, in the order asked.
    #[must_use]
    pub fn all_of(asked: &[Self]) -> Vec<ServeForm> {
        let mut forms = Vec::new();
        for one in asked {
            let more = match one {
                Self::One(form) => vec![*form],
                Self::All => ServeForm::value_variants().to_vec(),
            };
            forms.extend(more.into_iter().filter(|form| !forms.contains(form)).collect::<Vec<_>>());
        }
        forms
    }
}

impl ValueEnum for ServeForms {
    fn value_variants<'a>() -> &'a [Self] {
        use ServeForm::{Docker, LlamaSwap, Ollama, Shell, Systemd};
        &[
            Self::One(Shell),
            Self::One(LlamaSwap),
            Self::One(Docker),
            Self::One(Systemd),
            Self::One(Ollama),
            Self::All,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::One(form) => form.to_possible_value(),
            Self::All => Some(PossibleValue::new("all").help("Every form")),
        }
    }
}

/// `98%` or `0.8`.
fn min_quality(text: &str) -> Result<MinQuality, String> {
    let value = quantity::share(text)?;
    match text.trim().ends_with('%') {
        true => Ok(MinQuality::OfReference(value)),
        false if value <= 1.0 => Ok(MinQuality::Score(value)),
        false => Err("write a share such as 98%, or a score from 0 to 1".into()),
    }
}

/// `TASK=WEIGHT`.
fn task_weight(text: &str) -> Result<(String, f64), String> {
    let (task, weight) = text.split_once('=').ok_or("write weights as TASK=2,OTHER=0.5")?;
    Ok((task.trim().to_owned(), quantity::share(weight)?))
}
