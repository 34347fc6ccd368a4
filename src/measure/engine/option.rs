//! Options of a server that suites set by name: `[setting.options] ubatch = 128`.
//!
//! Each engine has a table of them. What a name becomes on the command line depends on the build: the first of
//! its flags that the binary's help names is taken, so a suite outlives a flag that was renamed.

use std::collections::BTreeMap;

use crate::error::{Error, Result, nearest};
use crate::record::Build;
use crate::record::suite::Setting;

/// One option of an engine's table.
#[derive(Debug, Clone, Copy)]
pub struct ServerOption {
    /// Name in suites.
    pub name: &'static str,
    /// What values it takes.
    pub kind: OptionKind,
    /// How it gets onto the command line.
    pub place: Place,
    /// To which speculation types it belongs; elsewhere it means nothing.
    pub only: Only,
    /// What it does, one line.
    pub summary: &'static str,
}

/// What values an option takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum OptionKind {
    /// A whole number (inclusive).
    Int {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A whole number (inclusive) or one of these words.
    IntOr {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
        /// The words.
        words: &'static [&'static str],
    },
    /// A number (inclusive).
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// One of these words.
    Words(&'static [&'static str]),
    /// A type of KV cache: one of these, or another that the binary's help lists.
    CacheType(&'static [&'static str]),
    /// Any text that is not empty and holds no control characters.
    Text,
    /// `true` or `false`.
    Switch,
}

/// How an option gets onto the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A flag, then the value; of several, the first that the binary knows.
    Flag(&'static [&'static str]),
    /// A flag alone, one for `true` and one for `false`; an empty list: that value is the server's default and needs
    /// none.
    Switch {
        /// For `true`; of several, the first that the binary knows.
        on: &'static [&'static str],
        /// For `false`.
        off: &'static [&'static str],
    },
    /// A parameter within the engine's flag for speculation, by this name.
    Speculation(&'static str),
    /// An environment variable of this name.
    Env(&'static str),
    /// A key of the server's configuration file.
    Config {
        /// The part of the file that it stands in.
        section: &'static str,
        /// Its name there.
        key: &'static str,
    },
}

/// To which speculation types an option belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Only {
    /// It has nothing to do with speculation.
    Always,
    /// To all but `off`.
    Speculating,
    /// To these.
    Types(&'static [&'static str]),
    /// To those that take a draft model.
    Draft,
}

impl OptionKind {
    /// A number of things, one at least.
    pub const COUNT: Self = Self::Int { min: 1, max: 1 << 30 };
    /// A number of things, or none.
    pub const COUNT_OR_NONE: Self = Self::Int { min: 0, max: 1 << 30 };
    /// A size (bytes).
    pub const BYTES: Self = Self::Int { min: 1, max: i64::MAX };
    /// A number of threads.
    pub const THREADS: Self = Self::Int { min: 1, max: 4096 };
    /// A share or a probability (0..=1).
    pub const SHARE: Self = Self::Number { min: 0.0, max: 1.0 };
    /// A factor that is not negative.
    pub const FACTOR: Self = Self::Number { min: 0.0, max: 1e9 };
}

/// An option that is a flag and a value.
pub const fn flag(
    name: &'static str,
    kind: OptionKind,
    flags: &'static [&'static str],
    summary: &'static str,
) -> ServerOption {
    ServerOption { name, kind, place: Place::Flag(flags), only: Only::Always, summary }
}

/// An option that is a flag alone, one for `true` and one for `false`.
pub const fn switch(
    name: &'static str,
    on: &'static [&'static str],
    off: &'static [&'static str],
    summary: &'static str,
) -> ServerOption {
    let place = Place::Switch { on, off };
    ServerOption { name, kind: OptionKind::Switch, place, only: Only::Always, summary }
}

/// A parameter of speculation, by the server's name for it.
pub const fn parameter(
    name: &'static str,
    kind: OptionKind,
    key: &'static str,
    summary: &'static str,
) -> ServerOption {
    ServerOption { name, kind, place: Place::Speculation(key), only: Only::Speculating, summary }
}

/// An option that stands in the server's configuration file.
pub const fn config(
    name: &'static str,
    kind: OptionKind,
    section: &'static str,
    key: &'static str,
    summary: &'static str,
) -> ServerOption {
    ServerOption { name, kind, place: Place::Config { section, key }, only: Only::Always, summary }
}

impl ServerOption {
    /// The same, for some types of speculation.
    #[must_use]
    pub const fn only(self, only: Only) -> Self {
        Self { only, ..self }
    }

    /// Whether it means something with this speculation; `drafts`: it takes a draft model.
    pub fn applies(&self, speculation: &str, drafts: bool) -> bool {
        match self.only {
            Only::Always => true,
            Only::Speculating => speculation != "off",
            Only::Types(types) => speculation.split(',').any(|name| types.contains(&name)),
            Only::Draft => drafts,
        }
    }

    /// The value as it goes to the server.
    ///
    /// # Errors
    /// A sentence that says what it takes.
    pub fn check(&self, value: &str) -> Result<String, String> {
        self.kind.check(value).map(|()| value.to_owned()).map_err(|takes| {
            let guess = match self.kind {
                OptionKind::Words(words) | OptionKind::IntOr { words, .. } => {
                    nearest(value, words.iter().copied())
                }
                _ => None,
            };
            let guess = guess.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
            format!("option `{}` takes {takes}, not `{value}`{guess}", self.name)
        })
    }

    /// Its words on the command line.
    ///
    /// # Errors
    /// When this build has none of its flags.
    fn words(&self, value: &str, build: &Build) -> Result<Vec<String>> {
        let (flags, value) = match self.place {
            Place::Flag(flags) => (flags, Some(value)),
            Place::Switch { on, off } => (if value == "true" { on } else { off }, None),
            Place::Speculation(_) | Place::Env(_) | Place::Config { .. } => return Ok(Vec::new()),
        };
        if flags.is_empty() {
            return Ok(Vec::new());
        }
        let flag = build.first_of(flags).ok_or_else(|| {
            let flags = flags.join("`, `");
            Error::usage(format!("this server ({}) has no option `{}`", build.version, self.name))
                .hint(format!("its help does not name `{flags}`: leave the option out, or use another build"))
        })?;
        Ok(std::iter::once(flag).chain(value).map(str::to_owned).collect())
    }
}

impl OptionKind {
    /// What it takes, in words.
    pub fn describe(&self) -> String {
        match self {
            Self::Int { min, max } => range(*min, *max),
            Self::IntOr { min, max, words } => format!("{} or {}", range(*min, *max), words.join(", ")),
            Self::Number { min, max } => format!("a number from {min} to {max}"),
            Self::Words(words) => format!("one of {}", words.join(", ")),
            Self::CacheType(words) => {
                format!("one of {}, or another that the binary lists", words.join(", "))
            }
            Self::Text => "a text".to_owned(),
            Self::Switch => "true or false".to_owned(),
        }
    }

    fn check(&self, value: &str) -> Result<(), String> {
        let whole = |min: i64, max: i64| value.parse().is_ok_and(|number: i64| (min..=max).contains(&number));
        let fits = match self {
            Self::Int { min, max } => whole(*min, *max),
            Self::IntOr { min, max, words } => whole(*min, *max) || words.contains(&value),
            Self::Number { min, max } => {
                value.parse().is_ok_and(|number: f64| (*min..=*max).contains(&number))
            }
            Self::Words(words) => words.contains(&value),
            Self::CacheType(words) => words.contains(&value) || may_be_type(value),
            Self::Text => !value.is_empty() && !value.contains(char::is_control),
            Self::Switch => matches!(value, "true" | "false"),
        };
        if fits { Ok(()) } else { Err(self.describe()) }
    }
}

/// Longest name of a type (characters).
const LONGEST_TYPE: usize = 40;

/// Returns whether a text may be the name of a type of caches or speculation: it becomes a word of a command line, and of
/// labels.
#[must_use]
pub fn may_be_type(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
    name.len() <= LONGEST_TYPE
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(plain)
}

/// A bound that nobody would reach is not worth a word.
fn range(min: i64, max: i64) -> String {
    match max {
        i64::MAX => format!("a whole number from {min}"),
        _ => format!("a whole number from {min} to {max}"),
    }
}

/// The words of a setting's options on the command line, in the order of the table.
///
/// # Errors
/// When this build lacks one of them.
pub fn words(table: &[ServerOption], setting: &Setting, build: &Build) -> Result<Vec<String>> {
    let mut words = Vec::new();
    for option in table {
        if let Some(value) = setting.options.get(option.name) {
            words.extend(option.words(value, build)?);
        }
    }
    Ok(words)
}

/// The setting's parameters for one type of speculation, by the server's names, in the order of the table; `drafts`:
/// the type takes a draft model.
pub fn speculation<'a>(
    table: &'a [ServerOption],
    setting: &'a Setting,
    kind: &'a str,
    drafts: bool,
) -> impl Iterator<Item = (&'static str, &'a ServerOption, &'a str)> {
    table.iter().filter(move |option| option.applies(kind, drafts)).filter_map(|option| match option.place {
        Place::Speculation(key) => Some((key, option, setting.options.get(option.name)?.as_str())),
        _ => None,
    })
}

/// What the server runs otherwise than a setting's options ask, one line each. What it does not say is no deviation,
/// `auto` asks for nothing, and a value that the server says it renamed is the same.
pub fn deviations(
    setting: &Setting,
    running: &BTreeMap<String, String>,
    renamed: &BTreeMap<String, String>,
) -> Vec<String> {
    let differs = |(name, asked): (&String, &String)| {
        let got = running.get(name).filter(|got| asked != "auto" && !same_value(asked, got))?;
        if renamed.get(asked) == Some(got) {
            return None;
        }
        Some(format!("option {name}: asked for {asked}, the server runs {got}"))
    };
    setting.options.iter().filter_map(differs).collect()
}

/// Whether two values are the same text or the same number.
fn same_value(asked: &str, running: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-4 * a.abs().max(b.abs());
    asked == running
        || number(asked).zip(number(running)).is_some_and(|(asked, running)| close(asked, running))
}

/// The setting's keys for one part of the configuration file, in the order of the table.
pub fn configured<'a>(
    table: &'a [ServerOption],
    setting: &'a Setting,
    part: &'a str,
) -> impl Iterator<Item = (&'static str, &'a ServerOption, &'a str)> {
    table.iter().filter_map(move |option| match option.place {
        Place::Config { section, key } if section == part => {
            Some((key, option, setting.options.get(option.name)?.as_str()))
        }
        _ => None,
    })
}

/// The setting's environment variables, in the order of the table.
pub fn env(table: &[ServerOption], setting: &Setting) -> Vec<(String, String)> {
    let pairs = table.iter().filter_map(|option| match option.place {
        Place::Env(name) => Some((name.to_owned(), setting.options.get(option.name)?.clone())),
        _ => None,
    });
    pairs.collect()
}

/// Why an option of the setting means nothing in it; `drafts`: its speculation takes a draft model.
pub fn misplaced(table: &[ServerOption], setting: &Setting, drafts: bool) -> Option<String> {
    let option = table.iter().find(|option| {
        setting.options.contains_key(option.name) && !option.applies(&setting.speculation, drafts)
    })?;
    let belongs = match option.only {
        Only::Always => return None,
        Only::Speculating => "any speculation".to_owned(),
        Only::Types(types) => format!("speculation {}", types.join(", ")),
        Only::Draft => "speculation with a draft model".to_owned(),
    };
    Some(format!("option `{}` belongs to {belongs}, not to `{}`", option.name, setting.speculation))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::suite::is_of_speculation_alone;

    const fn option(name: &'static str, kind: OptionKind, place: Place) -> ServerOption {
        ServerOption { name, kind, place, only: Only::Always, summary: "" }
    }

    #[test]
    fn values_are_checked_by_kind() {
        let check = |kind, value| option("o", kind, Place::Flag(&["-o"])).check(value);
        let whole = OptionKind::Int { min: 1, max: 8 };
        assert_eq!(check(whole, "8").unwrap(), "8");
        for bad in ["0", "9", "1.5", "", "x", "99999999999999999999"] {
            assert!(check(whole, bad).unwrap_err().contains("1 to 8"), "{bad}");
        }
        let layers = OptionKind::IntOr { min: 0, max: i64::MAX, words: &["auto", "all"] };
        assert!(check(layers, "all").is_ok() && check(layers, "99").is_ok());
        assert!(check(layers, "al").unwrap_err().contains("did you mean `all`"));
        let share = OptionKind::Number { min: 0.0, max: 1.0 };
        assert!(check(share, "0.5").is_ok() && check(share, "NaN").is_err() && check(share, "1.1").is_err());
        assert!(check(OptionKind::Words(&["a"]), "b").is_err());
        assert!(check(OptionKind::Switch, "yes").is_err());
        assert!(check(OptionKind::Text, "a\nb").is_err() && check(OptionKind::Text, "1,2").is_ok());
    }

    #[test]
    fn the_first_flag_that_the_build_knows_is_taken() {
        let old = Build { flags: vec!["--old".into()], ..Build::default() };
        let both = Build { flags: vec!["--new".into(), "--old".into()], ..Build::default() };
        let named = option("n", OptionKind::Text, Place::Flag(&["--new", "--old"]));
        assert_eq!(named.words("1", &both).unwrap(), ["--new", "1"]);
        assert_eq!(named.words("1", &old).unwrap(), ["--old", "1"]);
        assert!(!named.words("1", &Build::default()).unwrap_err().hints().is_empty());
        let switch = option("s", OptionKind::Switch, Place::Switch { on: &["--old"], off: &[] });
        assert_eq!(switch.words("true", &old).unwrap(), ["--old"]);
        assert!(switch.words("false", &Build::default()).unwrap().is_empty());
    }

    /// Judging knows options by name alone.
    #[test]
    fn names_tell_the_options_of_speculation() {
        for engine in crate::measure::engine::ENGINES {
            for option in engine.card().options {
                let alone = !option.applies("off", false);
                assert_eq!(is_of_speculation_alone(option.name), alone, "{}: {}", engine.name(), option.name);
            }
        }
    }
}
