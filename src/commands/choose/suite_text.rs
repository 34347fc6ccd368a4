//! The suite that `choose` writes: an ordinary one, which `run` takes as well.

use super::super::fit::FitTable;
use super::candidates::Candidates;
use super::pilot::LOST;
use super::questions::Question;
use crate::cli::{Best, ChooseArgs};
use crate::judge::analysis::summary::MemoryKind;
use crate::measure::model::packages;

/// Rounds that a setting is visited in at most.
pub(super) const ROUNDS: u32 = 6;

/// From this context length on (tokens) a single cold prompt a visit must do for the speed.
const LONG: u32 = 4096;

/// What a suite is made of.
pub(super) struct Text<'a> {
    pub args: &'a ChooseArgs,
    pub table: &'a FitTable,
    pub candidates: &'a Candidates,
    pub questions: &'a [Question],
    /// The reference's score when it tried them; `None`: it did not yet.
    pub score: Option<f64>,
    pub budget_s: f64,
}

impl Text<'_> {
    /// The suite as TOML.
    pub(super) fn write(&self) -> String {
        let mut text = self.head();
        text.push_str(&self.engine());
        text.push_str(&self.model());
        text.push_str(&self.settings());
        text.push_str(&self.stopping());
        for question in self.questions {
            text.push_str(&self.task(question));
        }
        text.push_str(&self.others());
        text
    }

    fn head(&self) -> String {
        let keep = self.args.keep;
        let share = (keep * 1000.0).round() / 10.0;
        let why = match self.score {
            Some(score) => format!(
                "{share}% of the reference's quality is to be kept: it scored {score:.3} on other cases"
            ),
            None => format!(
                "{share}% of the reference's quality is to be kept: its score is not known yet, and taken for 1"
            ),
        };
        format!(
            "# Written by `kneepoint choose`.\nname = {}\ndescription = {}\nseed = 20261128\nrounds = {ROUNDS}\n\
             # {why}.\nmargin = {:.4}\n\
             contexts = [{}]\nobjectives = [\"quality\", {}, \"memory\"]\n",
            quoted(&self.name()),
            quoted(&format!("Which setting of {} is the best that keeps its quality", self.args.model)),
            (1.0 - keep) * self.score.unwrap_or(1.0),
            self.table.context,
            quoted(if self.goal() == "memory" { "decode" } else { self.goal() }),
        )
    }

    /// What may stand in a folder's name.
    fn name(&self) -> String {
        let last = self.args.model.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let slug: String = last.trim_end_matches(".gguf").chars().map(plain).take(50).collect();
        format!("choose-{}", slug.trim_matches('-'))
    }

    fn goal(&self) -> &'static str {
        match self.args.objective {
            Best::Decode => "decode",
            Best::Ttft => "ttft",
            Best::Memory => "memory",
            Best::Energy => "energy",
        }
    }

    fn engine(&self) -> String {
        let name = self.table.engine.suite_name();
        let binary = self.args.binary.as_ref().map_or(String::new(), |binary| {
            let binary = std::path::absolute(binary).unwrap_or_else(|_| binary.clone());
            format!("binary = {}\n", quoted(&binary.display().to_string()))
        });
        // Long prompts take their time on slow machines, and large models to load.
        let patience = "start_timeout_s = 1800\nrequest_timeout_s = 3600\nidle_timeout_s = 3600\n";
        format!("\n[engine]\nname = {}\n{binary}{patience}", quoted(name))
    }

    fn model(&self) -> String {
        let model = &self.args.model;
        let (reference, ..) = &self.candidates.reference;
        let weights = &self.candidates.weights;
        let source = if model.starts_with("hf:") {
            let quants: Vec<String> = weights.iter().map(|quant| quoted(quant)).collect();
            format!(
                "from = {}\nweights = {}\nquants = [{}]\n",
                quoted(&bare(model)),
                quoted(reference),
                quants.join(", ")
            )
        } else if packages::model(model).is_ok() && !std::path::Path::new(model).exists() {
            format!("package = {}\n", quoted(model))
        } else {
            let path = std::path::absolute(model).unwrap_or_else(|_| model.into());
            format!("path = {}\nweights = {}\n", quoted(&path.display().to_string()), quoted(reference))
        };
        format!("\n[[model]]\nname = \"model\"\n{source}")
    }

    fn settings(&self) -> String {
        let (weights, k, v) = &self.candidates.reference;
        let options = self.options();
        let mut text = format!(
            "\n# It runs twice: its distance from itself is the noise floor.\n[reference]\n{}{options}",
            setting(weights, k, v)
        );
        let mut add = |weights: &str, (k, v): (&str, &str), speculation: &str| {
            let types = setting(weights, k, v);
            let drafts = match speculation {
                "" => String::new(),
                name => format!("speculation = {}\n", quoted(name)),
            };
            text.push_str(&format!("\n[[setting]]\n{types}{drafts}{options}"));
        };
        // The reference's own parts first, so that what differs in one thing stands before products.
        let all_weights = || std::iter::once(weights).chain(&self.candidates.weights);
        let others = self.candidates.caches.iter().map(|(k, v)| (k.as_str(), v.as_str()));
        let caches: Vec<(&str, &str)> = std::iter::once((k.as_str(), v.as_str())).chain(others).collect();
        let speculation =
            || std::iter::once("").chain(self.candidates.speculation.iter().map(String::as_str));
        for parts in 1..=3 {
            for drafts in speculation() {
                for own in all_weights() {
                    for cache in &caches {
                        let differs =
                            [!drafts.is_empty(), own != weights, *cache != (k.as_str(), v.as_str())];
                        if differs.into_iter().filter(|differs| *differs).count() == parts {
                            add(own, *cache, drafts);
                        }
                    }
                }
            }
        }
        text
    }

    /// What fits onto a card is put there whole.
    fn options(&self) -> &'static str {
        match self.table.engine.is_llama() && self.table.memory.kind == MemoryKind::Gpu {
            true => "options.gpu_layers = 999\n",
            false => "",
        }
    }

    fn stopping(&self) -> String {
        format!(
            "\n[stopping]\nrule = \"best\"\ngoal = {}\nmemory = \"{}B\"\nbudget_s = {:.0}\n",
            quoted(self.goal()),
            self.table.memory.bytes,
            self.budget_s.max(1.0)
        )
    }

    fn task(&self, question: &Question) -> String {
        let Question { task, texts, arm, options, .. } = question;
        let questions = question.questions_at(self.table.context);
        let mut text = format!(
            "\n[[task]]\nname = {}\nsamples = {}\nscore = \"probability\"\n# What the reference cannot answer shows no damage.\n\
             window = [{LOST}, 1.0]\n",
            quoted(task),
            questions * texts * ROUNDS
        );
        if questions > 1 {
            text.push_str(&format!("questions = {questions}\n"));
        }
        if let Some(arm) = arm {
            text.push_str(&format!("arms = [{}]\n", quoted(arm)));
        }
        for (name, value) in *options {
            text.push_str(&format!("options.{name} = {value}\n"));
        }
        text
    }

    /// The alarm, and the speed: answers that are forced have none of their own.
    fn others(&self) -> String {
        let prompts = if self.table.context > LONG { 1 } else { 2 };
        format!(
            "\n# One text in the first round: an alarm, no verdict.\n[[task]]\nname = \"coherence/kld\"\nsamples = 1\n\
             options.positions = 32\noptions.top_k = 32\n\
             \n[[task]]\nname = \"serving/speed\"\nsamples = {}\noptions.output_tokens = 64\n",
            prompts * ROUNDS
        )
    }
}

/// A repository without the quant that was named.
fn bare(model: &str) -> String {
    let rest = model.trim_start_matches("hf:");
    let repository = rest.split_once(':').map_or(rest, |(repository, _)| repository);
    format!("hf:{repository}")
}

fn setting(weights: &str, k: &str, v: &str) -> String {
    let cache = if k == v {
        format!("kv = {}\n", quoted(k))
    } else {
        format!("k = {}\nv = {}\n", quoted(k), quoted(v))
    };
    format!("weights = {}\n{cache}", quoted(weights))
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_whatever_is_in_them() {
        for name in ["plain", "a \"quote\"", "back\\slash", "two\nlines", "[table]", "'''", "\u{1b}[31m"] {
            let text = format!("key = {}\n", quoted(name));
            let table: toml::Table = text.parse().unwrap();
            assert_eq!(table["key"].as_str(), Some(name), "{text}");
        }
    }

    #[test]
    fn a_quant_that_was_named_is_no_part_of_the_repository() {
        assert_eq!(bare("hf:owner/repo:Q4_K_M"), "hf:owner/repo");
        assert_eq!(bare("hf:owner/repo@main"), "hf:owner/repo@main");
        assert_eq!(bare("hf:owner/repo"), "hf:owner/repo");
    }
}
