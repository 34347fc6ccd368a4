//! The answer in two sentences: what is shown, and what is not.
//!
//! "Not shown to differ" is never turned into "does not differ".

use std::collections::{BTreeMap, BTreeSet};

use super::gain::{Gain, gain, reference_of};
use super::quality::probability::texts_for_margin;
use super::summary::{CellSummary, Estimate, Summary, Verdict};
use super::words::{points, thousands};
use crate::judge::stats::pairs_for_margin;
use crate::record::{Objective, Scoring};

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

    /// The context lengths with this verdict.
    fn at(&self, verdict: Verdict) -> impl Iterator<Item = u32> {
        self.cells.iter().filter(move |cell| cell.verdict == verdict).map(|cell| cell.context)
    }

    /// Its name, with the context lengths of this verdict where it has others, too.
    fn named(&self, verdict: Verdict) -> String {
        if self.all(verdict) {
            return self.setting.to_owned();
        }
        format!("{} ({})", self.setting, lengths(self.at(verdict)))
    }
}

/// The verdict of a run.
pub(crate) fn sentences(summary: &Summary) -> String {
    let settings = judged(summary);
    if settings.is_empty() && summary.load.is_some() && summary.planned == 0 {
        return "The load alone was asked for: nothing is compared but what the servers bore and answered under it.".to_owned();
    }
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

/// What the data show, context length by context length: what holds at one says nothing of the next.
fn shown(summary: &Summary, settings: &[Judged<'_>]) -> String {
    let margin = points(summary.margin);
    let mut keeping: Vec<&Judged<'_>> = settings.iter().filter(|s| s.all(Verdict::NoWorse)).collect();
    // The most saving first; equal ones stay in suite order.
    keeping.sort_by(|a, b| benefit(summary, b).total_cmp(&benefit(summary, a)));
    let Some(best) = keeping.first() else {
        let partly = partly(settings, "is");
        if !partly.is_empty() {
            return format!(
                "No setting is shown to be within {margin} of the reference {} at every context length tested, but {}.",
                summary.reference,
                partly.join("; ")
            );
        }
        let triage = triage(settings).map(|triage| format!(" {triage}")).unwrap_or_default();
        return format!(
            "No setting is shown to be within {margin} of the reference {}.{triage}",
            summary.reference
        );
    };
    let others = match keeping.len() {
        1 => String::new(),
        2 => " (so does 1 other setting)".into(),
        n => format!(" (so do {} other settings)", n - 1),
    };
    let partly: String = partly(settings, "does so").iter().map(|words| format!("; {words}")).collect();
    format!(
        "{} keeps the quality of {} within {margin} at every context length tested{others}; {}{partly}.",
        best.setting,
        summary.reference,
        savings(summary, best),
    )
}

/// Settings that are shown to be no worse at some context lengths and not at others, and at which.
fn partly(settings: &[Judged<'_>], does: &str) -> Vec<String> {
    let mixed = settings.iter().filter(|s| s.any(Verdict::NoWorse) && !s.all(Verdict::NoWorse));
    let words = |judged: &Judged<'_>| {
        let others = judged.cells.iter().filter(|cell| cell.verdict != Verdict::NoWorse);
        format!(
            "{} {does} at {}, not shown at {}",
            judged.setting,
            lengths(judged.at(Verdict::NoWorse)),
            lengths(others.map(|cell| cell.context))
        )
    };
    mixed.map(words).collect()
}

/// `2,048 and 4,096 tokens`, in ascending order.
fn lengths(contexts: impl Iterator<Item = u32>) -> String {
    let contexts: BTreeSet<u32> = contexts.collect();
    let words: Vec<String> = contexts.into_iter().map(|context| thousands(u64::from(context))).collect();
    format!("{} tokens", list(&words.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// What KLD warns of when quality cannot tell: which settings moved the served probabilities least and
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
    let mut text = String::from("By KLD (a warning, not proof), next-token probabilities ");
    if !unmoved.is_empty() {
        text.push_str(&format!("were unchanged under {}, ", list(&unmoved)));
    }
    text.push_str(&format!("changed least under {} ({} nat)", least.1, nats(least.0)));
    if most.1 != least.1 {
        text.push_str(&format!(" and most under {} ({} nat)", most.1, nats(most.0)));
    }
    Some(text + ".")
}

/// A KLD with two significant digits.
fn nats(kld: f64) -> String {
    let digits = (1.0 - kld.log10().floor()).clamp(0.0, 8.0);
    format!("{kld:.0$}", digits as usize)
}

/// What stays open, and what is worse.
fn open(summary: &Summary, settings: &[Judged<'_>]) -> String {
    let mut parts = Vec::new();
    for (verdict, words) in [
        (Verdict::Worse, "worse than the reference"),
        (Verdict::NotComparable, "not comparable with the reference for want of a task"),
    ] {
        let named: Vec<String> =
            settings.iter().filter(|s| s.any(verdict)).map(|s| s.named(verdict)).collect();
        if !named.is_empty() {
            parts.push(format!("{words}: {}", list(&named.iter().map(String::as_str).collect::<Vec<_>>())));
        }
    }
    let unsure: Vec<&Judged<'_>> = settings.iter().filter(|s| s.any(Verdict::NotSeparable)).collect();
    if !unsure.is_empty() {
        parts.push(format!("{}{}", undecided(settings, &unsure), resolution(summary, &unsure)));
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

/// Who cannot be told from the reference, and where.
fn undecided(settings: &[Judged<'_>], unsure: &[&Judged<'_>]) -> String {
    let everywhere = unsure.iter().all(|judged| judged.all(Verdict::NotSeparable));
    let place = if everywhere {
        String::new()
    } else {
        format!(" at {}", lengths(unsure.iter().flat_map(|judged| judged.at(Verdict::NotSeparable))))
    };
    if everywhere && unsure.len() == settings.len() {
        return "none of the settings can be told from the reference on quality".into();
    }
    let who = match unsure {
        [one] => one.setting.to_owned(),
        _ => count(unsure.len(), "setting"),
    };
    format!("{who} cannot be told from the reference on quality{place}")
}

/// What the farthest verdict would take, where cells may be looked at any time.
fn far_off(open: &[&CellSummary]) -> Option<String> {
    let outlooks = open.iter().filter_map(|cell| Some((cell, cell.outlook.as_ref()?)));
    let (cell, outlook) = outlooks.max_by_key(|(_, outlook)| outlook.needed.unwrap_or(u32::MAX))?;
    let place = format!("{} at {}", cell.setting, thousands(u64::from(cell.context)));
    let farthest =
        if open.len() > 1 { format!("; {place} is farthest from a verdict") } else { String::new() };
    Some(format!("{farthest}: {}", super::outlook::words(outlook)))
}

/// What so many cases can show at each context length, and how many the margin needs.
fn resolution(summary: &Summary, unsure: &[&Judged<'_>]) -> String {
    let mut worst: BTreeMap<u32, (f64, Estimate)> = BTreeMap::new();
    let cells = unsure.iter().flat_map(|judged| &judged.cells);
    let open_cells: Vec<&CellSummary> =
        cells.filter(|cell| cell.verdict == Verdict::NotSeparable).copied().collect();
    for cell in &open_cells {
        let Some(found) = cell.mde.zip(cell.difference) else { continue };
        let entry = worst.entry(cell.context).or_insert(found);
        if found.0 > entry.0 {
            *entry = found;
        }
    }
    if let Some(words) = far_off(&open_cells) {
        return words;
    }
    let Some(&(mde, difference)) = worst.values().max_by(|a, b| a.0.total_cmp(&b.0)) else {
        return ": no primary task was scored on both, or none on which the reference can lose".into();
    };
    let texts = unsure.iter().flat_map(|judged| &judged.cells).filter_map(|cell| cell.texts).min();
    if let (Scoring::Probability, Some(texts)) = (summary.score, texts) {
        return resolution_of_texts(summary, (mde, difference), texts);
    }
    // The discordance that the detectable effect stands for, from its own formula.
    let unit =
        crate::judge::stats::minimum_detectable_effect(1.0, f64::from(difference.n), summary.confidence);
    let discordance = unit.map_or(1.0, |unit| (mde / unit).powi(2).min(1.0));
    let needed = pairs_for_margin(discordance, summary.margin, summary.confidence);
    let needed = needed.map_or(String::new(), |pairs| {
        format!(" (a margin of {} takes about {} cases)", points(summary.margin), thousands(round_up(pairs)))
    });
    let says = |(mde, difference): &(f64, Estimate)| match *mde {
        mde if mde >= 1.0 => {
            format!("with {} paired cases per cell no difference can be detected", difference.n)
        }
        mde => {
            format!(
                "with {} paired cases per cell only a difference of {} or more can be detected",
                difference.n,
                points(mde)
            )
        }
    };
    let mut lines: Vec<(String, Vec<u32>)> = Vec::new();
    for (context, found) in &worst {
        let line = says(found);
        match lines.iter_mut().find(|(known, _)| *known == line) {
            Some((_, contexts)) => contexts.push(*context),
            None => lines.push((line, vec![*context])),
        }
    }
    let lines: Vec<String> = match lines.as_slice() {
        [(line, _)] => vec![line.clone()],
        _ => lines.iter().map(|(line, at)| format!("at {} {line}", lengths(at.iter().copied()))).collect(),
    };
    format!(": {}{needed}", lines.join(", "))
}

/// As [`resolution`], where texts with several questions are what counts.
fn resolution_of_texts(summary: &Summary, (mde, difference): (f64, Estimate), texts: u32) -> String {
    let needed = texts_for_margin(texts, mde, summary.margin, summary.confidence);
    let needed = needed.map_or(String::new(), |texts| {
        format!(" (a margin of {} takes about {} texts)", points(summary.margin), thousands(round_up(texts)))
    });
    format!(
        ": with {} questions to {texts} texts per cell only a difference of {} or more can be detected{needed}",
        difference.n,
        points(mde)
    )
}

/// How much better than the reference the setting is, as a sum of log ratios over what it clearly gains or loses.
fn benefit(summary: &Summary, judged: &Judged<'_>) -> f64 {
    let gains = [Objective::Decode, Objective::Memory].map(|objective| gain_of(summary, judged, objective));
    gains.iter().flatten().filter(|gain| gain.is_clear).map(|gain| gain.times.ln()).sum()
}

/// The geometric mean of a setting's gains over its context lengths; clear where it is clear at every one of them.
fn gain_of(summary: &Summary, judged: &Judged<'_>, objective: Objective) -> Option<Gain> {
    let at = |cell: &&CellSummary| gain(cell, reference_of(summary, cell.context)?, objective);
    let gains: Vec<Gain> = judged.cells.iter().filter_map(at).collect();
    let mean = |of: fn(&Gain) -> f64| {
        (gains.iter().map(|gain| of(gain).ln()).sum::<f64>() / gains.len() as f64).exp()
    };
    let is_clear = gains.iter().all(|gain| gain.is_clear);
    (!gains.is_empty()).then(|| Gain {
        ratio: mean(|gain| gain.ratio),
        times: mean(|gain| gain.times),
        is_clear,
    })
}

fn savings(summary: &Summary, judged: &Judged<'_>) -> String {
    let mut words = Vec::new();
    match gain_of(summary, judged, Objective::Decode) {
        Some(gain) if gain.is_clear => words.push(format!("it decodes {:.2} times as fast", gain.ratio)),
        Some(_) => words.push("its decode rate cannot be told from the reference's".into()),
        None => {}
    }
    if let Some(gain) = gain_of(summary, judged, Objective::Memory) {
        let share = (gain.ratio - 1.0) * 100.0;
        words.push(if !gain.is_clear {
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
            let ratio = decode / 50.0;
            cell.decode_ratio =
                Some(Estimate { value: ratio, low: Some(ratio - 0.1), high: Some(ratio + 0.1), n: 60 });
        }
        cell
    }

    /// Context length, verdict, paired cases, detectable effect.
    type Rung = (u32, Verdict, u32, f64);

    /// A run over context lengths with the verdicts, paired cases and detectable effects of each setting at each.
    fn ladder(settings: &[(&str, &[Rung])]) -> Summary {
        let mut summary = summary(&[]);
        summary.cells.clear();
        for (name, cells) in settings {
            for &(context, verdict, n, mde) in *cells {
                let mut cell = cell(name, verdict, 80.0);
                cell.context = context;
                cell.mde = Some(mde);
                cell.difference = cell.difference.map(|difference| Estimate { n, ..difference });
                summary.cells.push(cell);
            }
        }
        summary
    }

    #[test]
    fn each_context_length_is_spoken_of_by_itself() {
        use Verdict::{NoWorse, NotSeparable, Worse};
        // As in the published run on long contexts.
        let text = sentences(&ladder(&[
            (
                "q8_0",
                &[
                    (2048, NoWorse, 160, 0.04),
                    (4096, NoWorse, 160, 0.05),
                    (8192, NotSeparable, 80, 0.09),
                    (16_384, NotSeparable, 20, 0.234),
                ],
            ),
            (
                "q4_0",
                &[
                    (2048, Worse, 160, 0.1),
                    (4096, Worse, 160, 0.1),
                    (8192, Worse, 80, 0.1),
                    (16_384, Worse, 20, 0.3),
                ],
            ),
        ]));
        assert!(
            text.contains("q8_0 is at 2,048 and 4,096 tokens, not shown at 8,192 and 16,384 tokens"),
            "{text}"
        );
        assert!(text.contains("at every context length tested, but"), "{text}");
        assert!(text.contains("Worse than the reference: q4_0;"), "{text}");
        assert!(
            text.contains("q8_0 cannot be told from the reference on quality at 8,192 and 16,384 tokens"),
            "{text}"
        );
        assert!(
            text.contains("at 8,192 tokens with 80 paired cases per cell only a difference of 9 points"),
            "{text}"
        );
        assert!(
            text.contains("at 16,384 tokens with 20 paired cases per cell only a difference of 23.4 points"),
            "{text}"
        );
    }

    #[test]
    fn what_is_worse_at_one_length_and_open_at_another_is_both() {
        use Verdict::{NoWorse, NotComparable, NotSeparable, Worse};
        let text = sentences(&ladder(&[
            ("a", &[(2048, Worse, 60, 0.1), (4096, NotSeparable, 60, 0.1)]),
            ("b", &[(2048, NoWorse, 60, 0.1), (4096, NoWorse, 60, 0.1)]),
            ("c", &[(2048, NoWorse, 60, 0.1), (4096, NotComparable, 60, 0.1)]),
        ]));
        assert!(text.starts_with("b keeps the quality"), "{text}");
        assert!(text.contains("c does so at 2,048 tokens, not shown at 4,096 tokens"), "{text}");
        assert!(text.contains("Worse than the reference: a (2,048 tokens);"), "{text}");
        assert!(text.contains("for want of a task: c (4,096 tokens)"), "{text}");
        assert!(
            text.contains("a cannot be told from the reference on quality at 4,096 tokens: with 60 paired"),
            "{text}"
        );
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
        assert!(
            text.contains(
                "with 60 paired cases per cell only a difference of 8 points or more can be detected"
            ),
            "{text}"
        );
        assert!(text.contains("takes about 960 cases"), "{text}");
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
