//! What the engines' command lines and help texts have in common.

use std::collections::BTreeMap;
use std::path::Path;

use super::card::EngineCard;
use super::launch::LIBRARY_PATH;
use crate::error::nearest;
use crate::record::Build;
use crate::record::suite::{FlashAttention, Setting};

/// A growing list of arguments.
#[derive(Debug, Default)]
pub(super) struct Args(Vec<String>);

impl Args {
    pub(super) fn pair(&mut self, flag: &str, value: impl AsRef<str>) {
        self.0.push(flag.to_owned());
        self.0.push(value.as_ref().to_owned());
    }

    pub(super) fn word(&mut self, word: &str) {
        self.0.push(word.to_owned());
    }

    pub(super) fn extend(&mut self, more: impl IntoIterator<Item = String>) {
        self.0.extend(more);
    }
}

impl From<Args> for Vec<String> {
    fn from(args: Args) -> Self {
        args.0
    }
}

/// The loader looks into this folder before any other.
pub(super) fn library_path(folder: &Path) -> (String, String) {
    (LIBRARY_PATH.to_owned(), folder.to_string_lossy().into_owned())
}

/// `version: 1 (571d0d5)` -> `1 (571d0d5)`; else the first line that is not empty, cut to 120 characters.
pub(super) fn version_of(text: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("version:"))
        .or_else(|| text.lines().find(|line| !line.trim().is_empty()))
        .unwrap_or_default();
    printable(line)
}

/// The last line that begins with a digit: Python programs warn before they answer.
pub(super) fn bare_version_of(text: &str) -> String {
    let numbered = |line: &&str| line.trim_start().starts_with(|c: char| c.is_ascii_digit());
    printable(text.lines().rev().find(numbered).unwrap_or_default())
}

fn printable(line: &str) -> String {
    line.trim().chars().filter(|c| !c.is_control()).take(120).collect()
}

/// The flags that the help of a Python program (`argparse`) defines, sorted: `  --a A, -b A   what it does`.
pub(super) fn argparse_flags(help: &str) -> Vec<String> {
    let mut flags: Vec<String> =
        help.lines().flat_map(argparse_line).map(|(flag, _)| flag.to_owned()).collect();
    flags.sort();
    flags.dedup();
    flags
}

/// The flags among them that are followed by a value, sorted; of several names the last alone may show it.
pub(super) fn argparse_values(help: &str) -> Vec<String> {
    let takes = |line: &&str| argparse_line(line).any(|(_, value)| !value.is_empty());
    let named = help.lines().filter(takes).flat_map(argparse_line);
    let mut flags: Vec<String> = named.map(|(flag, _)| flag.to_owned()).collect();
    flags.sort();
    flags.dedup();
    flags
}

/// The words that the help of a Python program lists for a flag: `--flag {a,b,None}`; empty when it lists none.
pub(super) fn argparse_choices(help: &str, flag: &str) -> Vec<String> {
    let found = help.lines().flat_map(argparse_line).find(|(name, _)| *name == flag);
    let list = found.and_then(|(_, value)| value.strip_prefix('{')?.split('}').next());
    let words = list.into_iter().flat_map(|list| list.split(','));
    words.filter(|word| !word.is_empty() && *word != "None").map(str::to_owned).collect()
}

/// What the help of a Python program says of a flag, on one line; empty when it does not name it.
pub(super) fn argparse_description(help: &str, flag: &str) -> String {
    let defines = |line: &&str| argparse_line(line).any(|(name, _)| name == flag);
    let mut lines = help.lines().skip_while(|line| !defines(line));
    let own = lines.next().unwrap_or_default().trim_start();
    let beside = own.split_once("  ").map_or("", |(_, beside)| beside);
    let more = lines.take_while(|line| line.starts_with("   "));
    std::iter::once(beside).chain(more).map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Values that a log says were renamed, old and new: `The tool_call_parser 'qwen25' is deprecated. Please use 'qwen' instead.`
pub(super) fn renames(log: &str) -> BTreeMap<String, String> {
    let quoted = |text: &str| text.split('\'').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let renamed = |line: &str| {
        let said = line.contains("is deprecated") && line.contains("use '");
        match quoted(line).as_slice() {
            [old, new] if said => Some((old.clone(), new.clone())),
            _ => None,
        }
    };
    log.lines().filter_map(renamed).collect()
}

/// Flags of a line, each with what it takes. Definitions are indented by two, descriptions by more.
fn argparse_line(line: &str) -> impl Iterator<Item = (&str, &str)> {
    let definition = line.strip_prefix("  ").filter(|rest| rest.starts_with('-')).unwrap_or_default();
    let definition = definition.split("  ").next().unwrap_or_default();
    definition.split(", ").filter(|part| part.starts_with('-')).map(|part| {
        let (flag, value) = part.split_once(' ').unwrap_or((part, ""));
        (flag.trim_end_matches(','), value)
    })
}

/// Why a cache type of the setting is not one of the engine's.
pub(super) fn unknown_cache_type(card: &EngineCard, setting: &Setting) -> Option<String> {
    let known = card.cache_types;
    let sides = [("k", &setting.k), ("v", &setting.v)];
    let (side, name) = sides.into_iter().find(|(_, name)| !known.contains(&name.as_str()))?;
    let what = format!("cache type for `{side}`");
    Some(unknown(card.name, &what, name, known))
}

/// `ENGINE has no WHAT NAME`, with the nearest or all known ones.
pub(super) fn unknown(engine: &str, what: &str, name: &str, known: &[&str]) -> String {
    let guess = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are {}", known.join(", ")),
    };
    format!("{engine} has no {what} `{name}`: {guess}")
}

/// Why two types of KV cache are one too many; `more` names types of the engine that hold two, or is empty.
pub(super) fn two_cache_types(engine: &str, setting: &Setting, more: &str) -> Option<String> {
    (setting.k != setting.v).then(|| {
        format!(
            "{engine} has one type for both caches, not `{}` for K and `{}` for V: name one with `kv`{more}",
            setting.k, setting.v
        )
    })
}

/// Why flash attention cannot be asked for of an engine that chooses kernels by name; `kernels` are two of them.
pub(super) fn no_flash_attention(engine: &str, setting: &Setting, kernels: &str) -> Option<String> {
    (setting.flash_attention != FlashAttention::Auto).then(|| {
        format!(
            "{engine} has no switch for flash attention: leave `flash_attention` out and choose kernels with the \
             option attention_backend, such as {kernels}"
        )
    })
}

/// Why the speculation of an engine that has one type at a time is not one of its types; `shown` is the engine's name
/// in sentences.
pub(super) fn unknown_speculation(card: &EngineCard, shown: &str, setting: &Setting) -> Option<String> {
    let (name, known) = (setting.speculation.as_str(), card.speculation_types);
    if known.contains(&name) {
        return None;
    }
    Some(match name.contains(',') {
        true => format!("{shown} speculates in one way at a time, not `{name}`"),
        false => unknown(card.name, "speculation type", name, known),
    })
}

/// A type that drafts with a second model needs one, and no other type has a use for it; `by_flag`: the setting's own
/// arguments name it.
pub(super) fn unfit_draft(card: &EngineCard, setting: &Setting, by_flag: bool) -> Option<String> {
    let needs = setting.speculation.split(',').find(|name| card.takes_draft(name));
    match (needs, &setting.draft) {
        (Some(name), None) if !by_flag => Some(format!(
            "speculation `{name}` needs a draft model: name one, `draft = \"MODEL\"` or `\"MODEL:QUANT\"` (a [[model]] \
             of the suite), or take a type that drafts without one"
        )),
        (Some(_), Some(_)) if by_flag => {
            Some("the setting names two draft models, in `draft` and in `extra_args`".to_owned())
        }
        (None, Some(draft)) => Some(format!(
            "speculation `{}` drafts without a second model: leave `draft = \"{draft}\"` out",
            setting.speculation
        )),
        _ => None,
    }
}

/// Arguments of which the build knows the first word.
pub(super) fn known_to<const N: usize>(build: &Build, words: [&[&str]; N]) -> Vec<String> {
    let known = words.into_iter().filter(|words| build.has(words[0]));
    known.flatten().map(|&word| word.to_owned()).collect()
}

/// Words of a log line by which a server says that it cannot run what it was asked.
const REFUSALS: &[&str] = &[
    "is not supported",
    "not supported for",
    "are not supported",
    "does not support",
    "unsupported",
    "unrecognized arguments",
    "invalid choice",
    "unknown argument",
    "invalid argument",
    "unknown model architecture",
];

/// The first line of a log by which a server says that it cannot run what it was asked: an error with such words, or a
/// line with words of `more`, which the engine knows.
pub(super) fn refusal<'a>(log: &'a str, more: &[&str]) -> Option<&'a str> {
    let says = |line: &&str| {
        let lower = line.to_lowercase();
        let has = |words: &&str| lower.contains(words);
        let error = lower.contains("error") || line.contains(" E ");
        more.iter().any(has) || (error && REFUSALS.iter().any(has))
    };
    log.lines().find(says).map(|line| without_place(line.trim()))
}

/// `(Worker pid=1) ERROR 11-22 18:04:53 [executor.py:1063] what` -> `what`: the rest is another one each time.
fn without_place(line: &str) -> &str {
    let said = line.split_once(".py:").and_then(|(_, rest)| rest.split_once("] "));
    said.map_or(line, |(_, said)| said.trim())
}

/// What follows a marker, up to a comma, a bracket or a space, without quotes: `dtype=torch.bfloat16, ..`.
pub(super) fn word_after<'a>(text: &'a str, marker: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(marker)?;
    let word = rest.split([',', ')', '(', ' ', '\n', '\r', ';']).next()?;
    let word = word.trim_matches(['\'', '"']);
    (!word.is_empty()).then_some(word)
}

/// The number that follows a marker; thousands may be parted by commas.
pub(super) fn count_after(text: &str, marker: &str) -> Option<u64> {
    let (_, rest) = text.split_once(marker)?;
    let digits: String = rest
        .trim_start()
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',')
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

/// `12.5` after a marker, in GiB -> bytes.
pub(super) fn gibibytes_after(text: &str, marker: &str) -> Option<u64> {
    let (_, rest) = text.split_once(marker)?;
    let number: String = rest.trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    gibibytes(number.parse().ok()?)
}

/// GiB -> bytes; `None` for what is no size.
pub(super) fn gibibytes(value: f64) -> Option<u64> {
    let plausible = value.is_finite() && (0.0..1e9).contains(&value);
    plausible.then(|| (value * 1024.0 * 1024.0 * 1024.0).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "\
usage: vllm serve [model_tag] [options]
  --api-server-count API_SERVER_COUNT, -asc API_SERVER_COUNT
                        --not-a-flag in a description
  --enable-prefix-caching, --no-enable-prefix-caching
  --host HOST           Host name. (default: None)
  --kv-cache-dtype {auto,fp8,None}
";

    #[test]
    fn argparse_help_is_read() {
        let flags = argparse_flags(HELP);
        for flag in ["--api-server-count", "-asc", "--no-enable-prefix-caching", "--host", "--kv-cache-dtype"]
        {
            assert!(flags.iter().any(|known| known == flag), "{flag}: {flags:?}");
        }
        assert!(!flags.iter().any(|flag| flag.contains("not-a-flag")));
        assert_eq!(argparse_choices(HELP, "--kv-cache-dtype"), ["auto", "fp8"]);
        assert!(argparse_choices(HELP, "--host").is_empty());
    }

    #[test]
    fn versions() {
        assert_eq!(version_of("\nversion: 1 (571d0d5)\nbuilt with x"), "1 (571d0d5)");
        assert_eq!(bare_version_of("Triton is installed, but..\n0.32.0+cpu\n"), "0.32.0+cpu");
        assert_eq!(bare_version_of("no number"), "");
    }

    #[test]
    fn a_server_says_what_it_cannot_do() {
        let log = "INFO up\nWARNING: fp8 is not supported here, using bf16\nValueError: dtype fp8 is not supported\n";
        assert_eq!(refusal(log, &[]), Some("ValueError: dtype fp8 is not supported"));
        assert_eq!(refusal("out of memory", &[]), None);
        let placed =
            "(Worker pid=7) ERROR 11-22 18:04:53 [executor.py:1063] ValueError: fp8 is not supported";
        assert_eq!(refusal(placed, &[]), Some("ValueError: fp8 is not supported"));
        assert!(refusal("V cache quantization requires flash_attn", &["requires flash_attn"]).is_some());
    }

    #[test]
    fn figures_in_logs() {
        assert_eq!(count_after("GPU KV cache size: 93,184 tokens", "KV cache size: "), Some(93_184));
        assert_eq!(count_after("size: x", "size: "), None);
        assert_eq!(gibibytes_after("took 0.25 GiB", "took "), Some(1 << 28));
        assert_eq!(gibibytes(f64::NAN), None);
        assert_eq!(word_after("a=1, dtype=torch.bfloat16, b", "dtype=torch."), Some("bfloat16"));
        assert_eq!(word_after("method='ngram', model", "method="), Some("ngram"));
    }
}
