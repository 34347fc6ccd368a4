//! The answer in two sentences: what is shown, and what is not.
//!
//! "Not shown to differ" is never turned into "does not differ".

use std::collections::BTreeMap;

use super::stats::pairs_for_margin;
use super::summary::{CellSummary, Summary, Verdict};
use super::words::{points, thousands};

/// How a setting fared over all its context lengths.
struct Judged<'a> {
    setting: &'a str,
    cells: Vec<&'a CellSummary>,
}

impl Judged<'_> {
    fn all(&self, verdict: Verdict) -> bool {
        !self.cells.is_empty() && self.cells.iter().all(|cell| cell.verdict == verdict)
    }

    fn any(&self, verdict: Verdict) -> bool {
        self.cells.iter().any(|cell| cell.verdict == verdict)
    }
}

/// The verdict of a run.
pub(crate) fn sentences(summary: &Summary) -> String {
    let settings = judged(summary);
    if settings.is_empty() {
        return format!(
            "Only the reference {} was measured, so there is nothing to compare. Add settings to the suite's matrix.",
            summary.reference
        );
    }
    format!("{} {}", shown(summary, &settings), open(summary, &settings))
}

/// Every setting but the reference, in suite order.
fn judged(summary: &Summary) -> Vec<Judged<'_>> {
    let mut settings: Vec<Judged<'_>> = Vec::new();
    for cell in summary.cells.iter().filter(|cell| cell.setting != summary.reference) {
        match settings.iter_mut().find(|judged| judged.setting == cell.setting) {
            Some(judged) => judged.cells.push(cell),
            None => settings.push(Judged { setting: &cell.setting, cells: vec![cell] }),
        }
    }
    settings
}

/// What the data show.
fn shown(summary: &Summary, settings: &[Judged<'_>]) -> String {
    let margin = points(summary.margin);
    let mut keeping: Vec<&Judged<'_>> = settings.iter().filter(|s| s.all(Verdict::NoWorse)).collect();
    // The most saving first; equal ones stay in suite order.
    keeping.sort_by(|a, b| benefit(summary, b).total_cmp(&benefit(summary, a)));
    let Some(best) = keeping.first() else {
        let triage = triage(settings).unwrap_or_default();
        return format!(
            "No setting is shown to be within {margin} of the reference {}{triage}.",
            summary.reference
        );
    };
    let others = match keeping.len() {
        1 => String::new(),
        2 => " (so does 1 other setting)".into(),
        n => format!(" (so do {} other settings)", n - 1),
    };
    format!(
        "{} keeps the quality of {} within {margin} at every context length tested{others}; {}.",
        best.setting,
        summary.reference,
        savings(summary, best),
    )
}

/// Where the alarm rings when quality cannot tell: which settings moved the served probabilities least and
/// most, each by its worst context length.
fn triage(settings: &[Judged<'_>]) -> Option<String> {
    let mut moved: Vec<(f64, &str)> = Vec::new();
    for judged in settings {
        let means = judged.cells.iter().map(|cell| cell.kld.as_ref().map(|kld| kld.mean.value));
        let worst = means.collect::<Option<Vec<f64>>>()?.into_iter().max_by(f64::total_cmp)?;
        moved.push((worst, judged.setting));
    }
    moved.sort_by(|a, b| a.0.total_cmp(&b.0));
    let unmoved: Vec<&str> =
        moved.iter().filter(|(kld, _)| *kld == 0.0).map(|(_, setting)| *setting).collect();
    let (least, most) = (moved.iter().find(|(kld, _)| *kld > 0.0)?, moved.last()?);
    let mut text = String::from("; by KLD (an alarm, no proof) its next-token probabilities ");
    if !unmoved.is_empty() {
        text.push_str(&format!("did not move with {}, ", list(&unmoved)));
    }
    text.push_str(&format!("moved least with {} ({} nat)", least.1, nats(least.0)));
    if most.1 != least.1 {
        text.push_str(&format!(" and most with {} ({} nat)", most.1, nats(most.0)));
    }
    Some(text)
}

/// A KLD with two significant digits.
fn nats(kld: f64) -> String {
    let digits = (1.0 - kld.log10().floor()).clamp(0.0, 8.0);
    format!("{kld:.0$}", digits as usize)
}

/// What stays open, and what is worse.
fn open(summary: &Summary, settings: &[Judged<'_>]) -> String {
    let mut parts = Vec::new();
    let worse: Vec<&str> = settings.iter().filter(|s| s.any(Verdict::Worse)).map(|s| s.setting).collect();
    if !worse.is_empty() {
        parts.push(format!("worse than the reference: {}", list(&worse)));
    }
    let settled = |s: &&Judged<'_>| !s.any(Verdict::Worse) && s.any(Verdict::NotSeparable);
    let unsure: Vec<&Judged<'_>> = settings.iter().filter(settled).collect();
    if !unsure.is_empty() {
        let who = if unsure.len() == settings.len() {
            "none of the settings".into()
        } else {
            count(unsure.len(), "setting")
        };
        let cannot = if unsure.len() == settings.len() { "can be told from" } else { "cannot be told from" };
        parts.push(format!("{who} {cannot} the reference on quality{}", resolution(summary, &unsure)));
    }
    let blind = blind_contexts(summary);
    if !blind.is_empty() {
        parts.push(format!(
            "no primary task was scored at {} tokens",
            list(&blind.iter().map(String::as_str).collect::<Vec<_>>())
        ));
    }
    let lacks_result = |cell: &&CellSummary| {
        cell.verdict == Verdict::NotMeasured && !blind.contains(&thousands(u64::from(cell.context)))
    };
    let missing = settings.iter().filter(|s| s.cells.iter().any(lacks_result)).count();
    if missing > 0 {
        let verb = if missing == 1 { "has" } else { "have" };
        parts.push(format!("{} {verb} cells without a result", count(missing, "setting")));
    }
    if parts.is_empty() {
        return "Nothing is left open at this margin; differences smaller than it were not looked for."
            .into();
    }
    capitalise(&parts.join("; ")) + "."
}

/// Context lengths at which the reference itself has no quality: nothing could be compared there.
fn blind_contexts(summary: &Summary) -> Vec<String> {
    let reference = summary.cells.iter().filter(|cell| cell.setting == summary.reference);
    let blind = reference.filter(|cell| cell.quality.is_none() && cell.void.is_none());
    blind.map(|cell| thousands(u64::from(cell.context))).collect()
}

/// What so many items can show, and how many the margin needs.
fn resolution(summary: &Summary, unsure: &[&Judged<'_>]) -> String {
    let cells: Vec<&CellSummary> = unsure
        .iter()
        .flat_map(|judged| &judged.cells)
        .filter(|cell| cell.verdict == Verdict::NotSeparable)
        .copied()
        .collect();
    let worst = cells
        .iter()
        .filter_map(|cell| Some((cell.mde?, cell.difference?)))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let Some((mde, difference)) = worst else {
        return ": no primary task was scored on both, or none on which the reference can lose".into();
    };
    // The discordance that the detectable effect stands for, from its own formula.
    let unit = super::stats::minimum_detectable_effect(1.0, f64::from(difference.n), summary.confidence);
    let discordance = unit.map_or(1.0, |unit| (mde / unit).powi(2).min(1.0));
    let needed = pairs_for_margin(discordance, summary.margin, summary.confidence);
    let needed = needed.map_or(String::new(), |pairs| {
        format!(" (a margin of {} takes about {} items)", points(summary.margin), thousands(round_up(pairs)))
    });
    if mde >= 1.0 {
        return format!(": {} paired items a cell are too few to show any change{needed}", difference.n);
    }
    format!(
        ": {} paired items a cell can only show a change of {} or more{needed}",
        difference.n,
        points(mde)
    )
}

/// How much better than the reference the setting is, as a sum of log ratios over the declared objectives.
fn benefit(summary: &Summary, judged: &Judged<'_>) -> f64 {
    ratios(summary, judged).into_values().map(|ratio| ratio.gain.ln()).sum()
}

#[derive(Debug, Clone, Copy)]
struct Ratio {
    /// Geometric mean over contexts of how many times better (above 1) it is.
    gain: f64,
    /// Whether the intervals of setting and reference are apart at every context length.
    apart: bool,
}

/// By objective: decode and prefill as rates, memory as its inverse.
fn ratios(summary: &Summary, judged: &Judged<'_>) -> BTreeMap<&'static str, Ratio> {
    let mut ratios: BTreeMap<&'static str, (f64, u32, bool)> = BTreeMap::new();
    let mut add = |name, gain: f64, apart: bool| {
        if gain.is_finite() && gain > 0.0 {
            let entry = ratios.entry(name).or_insert((0.0, 0, true));
            *entry = (entry.0 + gain.ln(), entry.1 + 1, entry.2 && apart);
        }
    };
    for cell in &judged.cells {
        let is_reference =
            |other: &&CellSummary| other.setting == summary.reference && other.context == cell.context;
        let Some(reference) = summary.cells.iter().find(is_reference) else {
            continue;
        };
        if let (Some(ours), Some(theirs)) = (cell.decode_tps, reference.decode_tps) {
            let apart = ours.low > theirs.high && theirs.high.is_some()
                || ours.high < theirs.low && ours.high.is_some();
            add("decode", ours.value / theirs.value, apart);
        }
        if let (Some(ours), Some(theirs)) = (cell.memory.peak_bytes, reference.memory.peak_bytes) {
            let gain = theirs as f64 / ours as f64;
            add("memory", gain, (gain - 1.0).abs() > 0.01);
        }
    }
    let mean = |(ln, n, apart): (f64, u32, bool)| Ratio { gain: (ln / f64::from(n)).exp(), apart };
    ratios.into_iter().map(|(name, sums)| (name, mean(sums))).collect()
}

fn savings(summary: &Summary, judged: &Judged<'_>) -> String {
    let ratios = ratios(summary, judged);
    let mut words = Vec::new();
    match ratios.get("decode") {
        Some(ratio) if ratio.apart => words.push(format!("it decodes {:.2} times as fast", ratio.gain)),
        Some(_) => words.push("its decode rate cannot be told from the reference's".into()),
        None => {}
    }
    if let Some(ratio) = ratios.get("memory") {
        let share = (1.0 / ratio.gain - 1.0) * 100.0;
        words.push(if !ratio.apart {
            "it needs as much memory".into()
        } else if share < 0.0 {
            format!("it needs {:.0}% less memory", -share)
        } else {
            format!("it needs {share:.0}% more memory")
        });
    }
    if words.is_empty() { "its speed and memory were not measured".into() } else { words.join(" and ") }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).into(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Two leading digits: a sample size is not known better.
fn round_up(n: u64) -> u64 {
    let scale = 10_u64.pow(n.max(1).ilog10().saturating_sub(1));
    n.div_ceil(scale) * scale
}

fn capitalise(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + chars.as_str()
}

#[cfg(test)]
mod tests {
    use super::super::summary::Estimate;
    use super::super::testing;
    use super::*;

    fn summary(verdicts: &[(&str, Verdict)]) -> Summary {
        let mut summary = testing::summary();
        summary.cells = vec![cell(&summary.reference.clone(), Verdict::Reference, 50.0)];
        summary.cells.extend(verdicts.iter().map(|(name, verdict)| cell(name, *verdict, 80.0)));
        summary
    }

    fn cell(name: &str, verdict: Verdict, decode: f64) -> CellSummary {
        let estimate = |value: f64, spread: f64| {
            Some(Estimate { value, low: Some(value - spread), high: Some(value + spread), n: 60 })
        };
        let mut cell = testing::cell(name, 512);
        cell.verdict = verdict;
        cell.quality = estimate(0.8, 0.1);
        cell.decode_tps = estimate(decode, 2.0);
        if verdict != Verdict::Reference {
            cell.difference = estimate(0.0, 0.06);
            cell.mde = Some(0.08);
        }
        cell
    }

    #[test]
    fn what_keeps_the_quality_comes_with_what_it_saves() {
        let text = sentences(&summary(&[("quick", Verdict::NoWorse)]));
        assert!(text.contains("quick keeps the quality of"), "{text}");
        assert!(text.contains("decodes 1.60 times as fast"), "{text}");
    }

    #[test]
    fn data_that_cannot_tell_say_so_and_how_much_would() {
        let text = sentences(&summary(&[("quick", Verdict::NotSeparable), ("small", Verdict::NotSeparable)]));
        assert!(text.starts_with("No setting is shown to be within 2 points"), "{text}");
        assert!(text.contains("60 paired items a cell can only show a change of 8 points or more"), "{text}");
        assert!(text.contains("takes about 960 items"), "{text}");
        assert!(!text.contains("lossless"));
    }

    #[test]
    fn worse_settings_are_named() {
        let text = sentences(&summary(&[("tiny", Verdict::Worse), ("quick", Verdict::NoWorse)]));
        assert!(text.contains("Worse than the reference: tiny"), "{text}");
    }

    #[test]
    fn a_reference_alone_is_nothing_to_compare() {
        assert!(sentences(&summary(&[])).contains("nothing to compare"));
    }

    #[test]
    fn numbers_are_rounded_for_reading() {
        assert_eq!(thousands(round_up(1963)), "2,000");
        assert_eq!(round_up(7), 7);
    }
}
