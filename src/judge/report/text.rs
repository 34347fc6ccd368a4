//! Words and numbers for people: units, intervals, and harmless forms of hostile text.

use crate::judge::analysis::RULER_LINE;
use std::fmt::Write as _;

pub(crate) use crate::judge::analysis::words::{about, bytes, percent, points, significant, thousands};

use crate::console::is_unsafe;
use crate::judge::analysis::summary::{CellSummary, Estimate, FrontStatus, MemoryKind, Verdict};
use crate::record::Objective;

/// What stands where there is no figure.
pub(crate) const NONE: &str = "–";

/// Longer texts of servers and models are cut (characters).
const LONGEST: usize = 400;

/// A duration in seconds, or milliseconds below one second.
pub(crate) fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{} ms", significant(value * 1000.0))
    } else {
        format!("{} s", significant(value))
    }
}

/// A long duration, such as `7 min 40 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// `0.42 [0.31, 0.55]`, with `of` for each number.
pub(crate) fn estimate(estimate: Option<Estimate>, of: impl Fn(f64) -> String) -> String {
    match estimate {
        None => NONE.into(),
        Some(Estimate { value, low: Some(low), high: Some(high), .. }) => {
            format!("{} [{}, {}]", of(value), of(low), of(high))
        }
        Some(Estimate { value, .. }) => of(value),
    }
}

/// An adjusted p-value.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.001 { "< 0.001".into() } else { format!("{p:.3}") }
}

/// A score of the 0..1 scale.
pub(crate) fn score(value: f64) -> String {
    format!("{value:.2}")
}

/// A difference of scores in points (hundredths of the 0..1 scale), with its sign.
pub(crate) fn signed_points(value: f64) -> String {
    let rounded = (value * 1000.0).round() / 10.0;
    if rounded == 0.0 { "0.0".into() } else { format!("{rounded:+.1}").replace('-', "−") }
}

/// A KLD in nat: few digits, small ones in powers of ten.
pub(crate) fn nat(value: f64) -> String {
    if value == 0.0 {
        "0".into()
    } else if value.abs() < 1e-4 {
        format!("{value:.1e}")
    } else if value.abs() < 0.01 {
        format!("{value:.4}")
    } else {
        significant(value)
    }
}

/// The verdict in words.
pub(crate) const fn verdict(verdict: Verdict) -> &'static str {
    verdict.words()
}

/// What the verdict says of a cell's quality, and of which tasks nothing can be said.
pub(crate) fn judgement(cell: &CellSummary) -> String {
    let words = verdict(cell.verdict);
    if cell.not_comparable.is_empty() {
        return words.to_owned();
    }
    format!("{words} on {}", cell.not_comparable.join(", "))
}

/// How many of its trials broke, to be put behind the quality in which they count as lost; nothing when none did.
pub(crate) fn broke(cell: &CellSummary) -> String {
    let tried = cell.scored + cell.unscored + cell.failed;
    let counts = cell.failed > 0 && cell.quality.is_some();
    if counts { format!("({} of {tried} broke)", cell.failed) } else { String::new() }
}

/// The place relative to the front in words, with how sure it is.
pub(crate) fn front(cell: &CellSummary) -> String {
    let words = match cell.front {
        FrontStatus::OnFront => "on front",
        FrontStatus::OnlyByCost => "only by cost",
        FrontStatus::Dominated => "dominated",
        FrontStatus::NotSeparable => "not separable",
        FrontStatus::NotMeasured => return NONE.into(),
    };
    match cell.front_frequency {
        Some(share) => format!("{words} ({:.0}%)", share * 100.0),
        None => words.into(),
    }
}

/// The objective with its unit, as on an axis.
pub(crate) const fn axis(objective: Objective) -> &'static str {
    match objective {
        Objective::Quality => "quality (mean score, 0 to 1)",
        Objective::Decode => "decode rate (tokens/s)",
        Objective::Prefill => "cold prefill rate (tokens/s)",
        Objective::Ttft => "time to first token (ms)",
        Objective::Memory => "peak memory (MiB)",
        Objective::Kld => "KLD from the reference (nat)",
        Objective::Energy => "energy of a request (J)",
    }
}

/// One line without anything that could steer a terminal or turn the reading direction: control and
/// invisible formatting characters are spelled out, runs of white space become one space, long texts are cut.
pub(crate) fn plain(text: &str) -> String {
    let whole = text.trim();
    match whole.char_indices().nth(LONGEST) {
        Some((end, _)) => plain_whole(&whole[..end]) + "…",
        None => plain_whole(whole),
    }
}

/// As [`plain`], however long; for our own sentences.
pub(crate) fn plain_whole(text: &str) -> String {
    let mut line = String::new();
    let mut space = false;
    for c in text.trim().chars() {
        if c.is_whitespace() {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) {
            line.push(' ');
        }
        if is_unsafe(c) {
            let _ = write!(line, "\\u{{{:x}}}", u32::from(c));
        } else {
            line.push(c);
        }
    }
    line
}

/// A context length.
pub(crate) fn tokens(context: u32) -> String {
    thousands(u64::from(context))
}

/// RULER's fixed line as its tables write it, in points.
pub(crate) fn ruler_line() -> String {
    format!("{:.1}", RULER_LINE * 100.0)
}

/// Text for Markdown, tables included: nothing in it is taken for markup, HTML, a mention or a link.
pub(crate) fn markdown(text: &str) -> String {
    escape(&plain(text))
}

/// As [`markdown`], however long; for our own sentences.
pub(crate) fn markdown_whole(text: &str) -> String {
    escape(&plain_whole(text))
}

fn escape(line: &str) -> String {
    let mut escaped = String::new();
    for c in line.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '|' | '`' | '*' | '[' | ']' | '\\' | '~' | '$' | '@' => {
                let _ = write!(escaped, "&#{};", u32::from(c));
            }
            _ => escaped.push(c),
        }
    }
    // Underscores inside words are no markup; at a word's edge they are. Bare links would become live.
    escaped.replace("://", "&#58;//").replace("www.", "www&#46;").replace(" _", " &#95;")
}

/// A name in code type: backticks where that is safe, escaped text else.
pub(crate) fn code(text: &str) -> String {
    let line = plain(text);
    if line.is_empty() || line.contains(['`', '|', '<', '>', '\\']) {
        format!("<code>{}</code>", markdown(text))
    } else {
        format!("`{line}`")
    }
}

/// A block of code that its content cannot leave: the fence is longer than any run of backticks in it.
pub(crate) fn fenced(text: &str, language: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for c in text.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat((longest + 1).max(3));
    let safe: String = text.chars().map(|c| if is_unsafe(c) && c != '\n' { '\u{fffd}' } else { c }).collect();
    format!("{fence}{language}\n{}\n{fence}", safe.trim_end())
}

/// Text for XML.
pub(crate) fn xml(text: &str) -> String {
    xml_escaped(&plain(text))
}

fn xml_escaped(line: &str) -> String {
    line.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}

/// As [`xml`], however long; for our own sentences.
pub(crate) fn xml_whole(text: &str) -> String {
    xml_escaped(&plain_whole(text))
}

/// A difference of bytes, such as `−6.00 MiB`.
pub(crate) fn signed_bytes(difference: i64) -> String {
    let size = bytes(difference.unsigned_abs());
    if difference < 0 { format!("−{size}") } else { size }
}

/// The same with a sign in any case.
pub(crate) fn more_bytes(difference: i64) -> String {
    let sign = if difference < 0 { "−" } else { "+" };
    format!("{sign}{}", bytes(difference.unsigned_abs()))
}

/// A difference with its sign, three digits.
pub(crate) fn signed(value: f64) -> String {
    let size = significant(value.abs());
    match () {
        () if value > 0.0 => format!("+{size}"),
        () if value < 0.0 => format!("−{size}"),
        () => size,
    }
}

/// A ratio as a change in percent, with its sign.
pub(crate) fn change(ratio: f64) -> String {
    let percent = ((ratio - 1.0) * 1000.0).round() / 10.0;
    if percent == 0.0 { "0.0%".into() } else { format!("{percent:+.1}%").replace('-', "−") }
}

/// A difference of KLDs (nat) with its sign.
pub(crate) fn signed_nat(value: f64) -> String {
    let sign = if value > 0.0 { "+" } else { "" };
    format!("{sign}{}", nat(value)).replace('-', "−")
}

/// Head of a column of peaks: which memory they are of, where that is one kind.
pub(super) fn memory_head<'a>(cells: impl Iterator<Item = &'a CellSummary>) -> &'static str {
    let mut kinds: Vec<MemoryKind> = cells.filter_map(|cell| cell.memory.peak_kind).collect();
    kinds.dedup();
    match kinds.as_slice() {
        [MemoryKind::Gpu] => "GPU memory",
        [MemoryKind::Cards] => "memory in use on the cards",
        [MemoryKind::Main] => "main memory",
        [MemoryKind::Pooled] => "weights and cache",
        _ => "memory",
    }
}

/// The kind of a peak, to be put behind it where the column has several.
pub(super) fn peak_kind(cell: &CellSummary, head: &str) -> String {
    let kind = cell.memory.peak_kind.filter(|_| head == "memory" && cell.memory.peak_bytes.is_some());
    kind.map_or_else(String::new, |kind| format!("({})", kind.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_units_and_few_digits() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(138_412_032), "132 MiB");
        assert_eq!(bytes(25_769_803_776), "24.0 GiB");
        assert_eq!(seconds(0.0851), "85.1 ms");
        assert_eq!(seconds(12.34), "12.3 s");
        assert_eq!(duration(460.0), "7 min 40 s");
        assert_eq!(significant(0.012_34), "0.0123");
        assert_eq!(nat(0.0), "0");
        assert_eq!(nat(0.000_012), "1.2e-5");
        assert_eq!(signed_points(-0.0001), "0.0");
        assert_eq!(signed_points(-0.05), "−5.0");
        assert_eq!(signed_points(0.0514), "+5.1");
    }

    #[test]
    fn hostile_text_becomes_one_harmless_line() {
        let hostile = "<script>alert(1)</script> | `x` \u{1b}[31mred\n![a](http://b) \u{202e}@you";
        let safe = markdown(hostile);
        for bad in ["<", ">", "|", "`", "\u{1b}", "\n", "](", "://", "\u{202e}", "@"] {
            assert!(!safe.contains(bad), "{bad:?} in {safe}");
        }
        assert!(safe.contains("&lt;script&gt;"));
    }

    #[test]
    fn long_text_is_cut() {
        let line = plain(&"x".repeat(10_000));
        assert!(line.chars().count() == LONGEST + 1 && line.ends_with('…'));
    }

    #[test]
    fn code_leaves_its_backticks_only_when_safe() {
        assert_eq!(code("Q4_1 kv=q8_0"), "`Q4_1 kv=q8_0`");
        assert_eq!(code("a`b|c"), "<code>a&#96;b&#124;c</code>");
    }

    #[test]
    fn fences_outgrow_their_content() {
        let block = fenced("echo ```` \u{1b}[0m", "sh");
        assert!(block.starts_with("`````sh\n") && block.ends_with("\n`````"));
        assert!(!block.contains('\u{1b}'));
    }
}
