//! What must not be written down: keys and tokens that stand in arguments, and the user's home folder. Journals, reports
//! and run folders are published.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Context, Result};
use crate::files;
use crate::record::suite::Suite;
use crate::tree;

/// What stands in place of a secret.
pub const MASK: &str = "***";
/// Environment variables whose values are keys, whatever the suite says.
const VARIABLES: &[&str] =
    &["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "LLAMA_API_KEY", "VLLM_API_KEY", "OPENAI_API_KEY"];
/// How the names of flags and variables end whose value is secret.
const ENDS: &[&str] =
    &["api-key", "api-keys", "admin-key", "access-key", "secret-key", "auth-token", "hf-token"];
/// The last words of such names.
const WORDS: &[&str] = &["token", "password", "passwd", "secret"];
/// Short forms: llama.cpp's of `--hf-token`.
const SHORT: &[&str] = &["-hft"];
/// How the value of the header `Authorization` begins.
const SCHEMES: &[&str] = &["Bearer", "Basic", "Token", "bearer", "basic", "token"];
/// A shorter value is masked where it stands and not searched for: it may be a word.
const SHORTEST: usize = 6;

/// Whether the value of a flag (`--api-key`, `--hf_token`) or variable (`HF_TOKEN`) is secret.
fn is_secret(name: &str) -> bool {
    if SHORT.contains(&name) {
        return true;
    }
    let name = name.trim_start_matches('-').to_ascii_lowercase().replace('_', "-");
    let last = name.rsplit('-').next().unwrap_or_default();
    ENDS.iter().any(|end| name.ends_with(end)) || WORDS.contains(&last)
}

/// What in a command is a secret, in words that do not show it: the value of a flag, a variable or a header, or a part of an
/// address. A variable in its place (`$NAME`), which a shell puts in, is none.
pub fn secret_in_command(args: &[String]) -> Option<String> {
    let words: Vec<&str> = args.iter().flat_map(|arg| arg.split_whitespace()).map(unquoted).collect();
    (0..words.len()).find_map(|at| in_address(words[at]).or_else(|| in_words(&words[at..])))
}

fn in_words(words: &[&str]) -> Option<String> {
    let (word, rest) = words.split_first()?;
    let (name, value) = match (word.split_once('='), word.strip_suffix(':')) {
        (Some((name, value)), _) => (name, Some(value)),
        (None, Some(header)) => (header, rest.iter().copied().find(|word| !SCHEMES.contains(word))),
        (None, None) if is_flag(word) => (*word, rest.first().copied()),
        (None, None) => return None,
    };
    let secret = is_secret(name) || name.eq_ignore_ascii_case("authorization");
    (secret && value.is_some_and(is_said)).then(|| format!("the value of `{name}`"))
}

/// A name and password in front of the host, or a key behind the path.
fn in_address(word: &str) -> Option<String> {
    let (_, rest) = word.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if let Some((login, _)) = authority.rsplit_once('@')
        && login.split_once(':').is_some_and(|(_, password)| is_said(password))
    {
        return Some("the password in an address".to_owned());
    }
    let (_, query) = rest.split_once('?')?;
    let fields = query.split('&').filter_map(|field| field.split_once('='));
    let (name, _) = fields.into_iter().find(|(name, value)| is_secret(name) && is_said(value))?;
    Some(format!("`{name}` in an address"))
}

/// Whether a value stands there itself, and not the name of a variable for it.
fn is_said(value: &str) -> bool {
    let value = unquoted(value);
    !value.is_empty() && !value.starts_with('$')
}

fn unquoted(word: &str) -> &str {
    word.trim_matches(['"', '\''])
}

/// Whether a variable's value may be a key or a token, or where one lies: any word of its name says so.
pub(super) fn is_key(name: &str) -> bool {
    const KEYS: &[&str] =
        &["key", "keys", "token", "secret", "secrets", "password", "passwd", "credential", "credentials"];
    is_secret(name) || name.to_ascii_lowercase().split('_').any(|word| KEYS.contains(&word))
}

/// A flag that stands for itself: `--name`, `-n`, not a negative number.
fn is_flag(arg: &str) -> bool {
    arg.starts_with('-') && !arg[1..].starts_with(|c: char| c.is_ascii_digit() || c == '.')
}

/// Calls `found` with the place and the value of every secret: (which argument, from which byte of it on).
fn each_secret(args: &[String], mut found: impl FnMut(usize, usize)) {
    let mut at = 0;
    while let Some(arg) = args.get(at) {
        at += 1;
        if !is_flag(arg) {
            continue;
        }
        match arg.split_once('=') {
            Some((name, _)) if is_secret(name) => found(at - 1, name.len() + 1),
            None if is_secret(arg) => {
                // vLLM's takes several.
                while args.get(at).is_some_and(|value| !is_flag(value)) {
                    found(at, 0);
                    at += 1;
                }
            }
            _ => {}
        }
    }
}

/// Arguments with the values of secret flags masked.
#[must_use]
pub fn mask_args(args: &[String]) -> Vec<String> {
    let mut masked = args.to_vec();
    each_secret(args, |which, from| masked[which].replace_range(from.., MASK));
    masked
}

/// Arguments as they may be shown: keys masked, the home folder written as `~`.
#[must_use]
pub fn shown_args(args: &[String]) -> Vec<String> {
    let secrets = Secrets::new([], &home());
    mask_args(args).iter().map(|arg| secrets.text(arg)).collect()
}

/// This user's home folder; empty when it is not known.
fn home() -> String {
    std::env::var("HOME").unwrap_or_default().trim_end_matches('/').to_owned()
}

/// Environment variables with the values of secret ones masked.
#[must_use]
pub fn mask_env(env: &[(String, String)]) -> Vec<(String, String)> {
    let one = |(name, value): &(String, String)| {
        let value = if is_secret(name) { MASK.to_owned() } else { value.clone() };
        (name.clone(), value)
    };
    env.iter().map(one).collect()
}

/// The secrets of a run: found in its suite and in the environment, masked in what is written.
#[derive(Debug, Clone, Default)]
pub struct Secrets {
    /// The longest first: one may hold another.
    values: Vec<String>,
    home: String,
}

impl Secrets {
    /// Those of a suite and of this process's environment.
    pub fn of(suite: &Suite) -> Self {
        let named = suite.engine.api_key_env.as_deref();
        let variables = VARIABLES.iter().copied().chain(named);
        let values = variables.filter_map(|name| std::env::var(name).ok());
        Self::new(values.chain(values_in(suite)), &home())
    }

    /// Those that stand in a suite, such as that of a journal of an earlier kneepoint, whoever reads it where.
    pub fn in_suite(suite: &Suite) -> Self {
        Self::new(values_in(suite), "")
    }

    /// Those of a suite's file and its overrides, too: what is overridden stands in the file still.
    #[must_use]
    pub fn and_in_toml(self, texts: impl IntoIterator<Item = String>) -> Self {
        let mut values: BTreeSet<String> = self.values.into_iter().collect();
        for table in texts.into_iter().filter_map(|text| text.parse::<toml::Table>().ok()) {
            values_in_toml(&toml::Value::Table(table), &mut values);
        }
        Self::new(values, &self.home)
    }

    fn new(values: impl IntoIterator<Item = String>, home: &str) -> Self {
        let mut values: Vec<String> = values.into_iter().filter(|value| value.len() >= SHORTEST).collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        // `/` alone is no home.
        Self { values, home: if home.len() < 2 { String::new() } else { home.to_owned() } }
    }

    /// A text without secret values, the home folder written as `~`.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.short_home(&self.values(text))
    }

    /// A text without secret values.
    fn values(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, value| text.replace(value.as_str(), MASK))
    }

    fn short_home(&self, text: &str) -> String {
        if self.home.is_empty() {
            return text.to_owned();
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(&self.home) {
            let (before, from) = rest.split_at(at);
            let after = &from[self.home.len()..];
            let begins = !before.ends_with(in_path) && (!before.is_empty() || !out.ends_with(in_path));
            let whole = after.is_empty() || !after.starts_with(|c| in_path(c) && c != '/');
            out.push_str(before);
            out.push_str(if begins && whole { "~" } else { &self.home });
            rest = after;
        }
        out + rest
    }

    /// The same value with every text in it masked: arguments by their flags, all by what is known.
    ///
    /// # Errors
    /// When it cannot be written as JSON and read back.
    pub fn masked<T: Serialize + DeserializeOwned>(&self, value: &T) -> Result<T> {
        let mut json = tree::tree(value).context(|| "cannot write JSON".into())?;
        each_text(&mut json, &|text| self.text(text));
        tree::value(&json).context(|| "cannot read JSON back".into())
    }

    /// A suite fit to be written down.
    ///
    /// # Errors
    /// As [`Secrets::masked`].
    pub fn masked_suite(&self, suite: &Suite) -> Result<Suite> {
        let mut bare = suite.clone();
        bare.engine.args = mask_args(&bare.engine.args);
        for setting in &mut bare.settings {
            setting.extra_args = mask_args(&setting.extra_args);
        }
        let mut masked: Suite = self.masked(&bare)?;
        // Trials name their setting by its label, which is fit to be shown from the start.
        for (masked, own) in masked.settings.iter_mut().zip(&suite.settings) {
            masked.label.clone_from(&own.label);
        }
        Ok(masked)
    }

    /// Masks secret values in the files of a folder, which servers wrote there by themselves.
    pub fn clean_folder(&self, folder: &Path) {
        if self.values.is_empty() {
            return;
        }
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            // What is no text, or cannot be read, cannot be cleaned.
            let Ok(text) = std::fs::read_to_string(&path) else { continue };
            let clean = self.values(&text);
            if clean != text
                && let Err(error) = files::write(&path, clean.as_bytes())
            {
                tracing::warn!("a key may stand in {}: {error}", path.display());
            }
        }
    }
}

/// Values of secret flags in a suite's arguments.
fn values_in(suite: &Suite) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    let settings = suite.settings.iter().map(|setting| &setting.extra_args);
    for args in std::iter::once(&suite.engine.args).chain(settings) {
        values_of(args, &mut values);
    }
    values
}

/// Values of secret flags in any list of texts.
fn values_in_toml(value: &toml::Value, values: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(keys) => keys.values().for_each(|value| values_in_toml(value, values)),
        toml::Value::Array(items) => {
            let args: Vec<String> =
                items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect();
            values_of(&args, values);
            items.iter().for_each(|item| values_in_toml(item, values));
        }
        _ => {}
    }
}

fn values_of(args: &[String], values: &mut BTreeSet<String>) {
    each_secret(args, |which, from| {
        let value = &args[which][from..];
        // llama.cpp takes several keys with commas between.
        values.extend(value.split(',').map(str::to_owned));
        values.insert(value.to_owned());
    });
}

/// Whether arguments hold a mask: then the secret is lost, and they cannot be used.
pub fn is_masked(suite: &Suite) -> bool {
    let settings = suite.settings.iter().flat_map(|setting| &setting.extra_args);
    let mut args = suite.engine.args.iter().chain(settings);
    args.any(|arg| arg == MASK || arg.ends_with(&format!("={MASK}")))
}

/// The same with `~/` written as the home folder again, where a path begins.
///
/// # Errors
/// When it cannot be written as JSON and read back.
pub fn with_home<T: Serialize + DeserializeOwned>(value: &T) -> Result<T> {
    let mut json = tree::tree(value).context(|| "cannot write JSON".into())?;
    each_text(&mut json, &|text| with_home_in(text, &home()));
    tree::value(&json).context(|| "cannot read JSON back".into())
}

/// `~/` at the beginning, and where a value or a text of JSON begins (`--flag=~/x`).
fn with_home_in(text: &str, home: &str) -> String {
    if home.len() < 2 {
        return text.to_owned();
    }
    let text = text.strip_prefix("~/").map_or_else(|| text.to_owned(), |rest| format!("{home}/{rest}"));
    ["=", ",", "\""]
        .iter()
        .fold(text, |text, sign| text.replace(&format!("{sign}~/"), &format!("{sign}{home}/")))
}

/// A text that begins with `~/`, with the home folder instead.
pub fn expand_home(text: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    match text.strip_prefix("~/") {
        Some(rest) if home.len() > 1 => format!("{}/{rest}", home.trim_end_matches('/')),
        _ => text.to_owned(),
    }
}

fn each_text(value: &mut Value, change: &dyn Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(fields) => fields.values_mut().for_each(|field| each_text(field, change)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Characters of which a part of a path goes on.
fn in_path(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &str) -> Vec<String> {
        words.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_values_of_secret_flags_are_masked() {
        for (given, masked) in [
            ("--api-key abc -c 512", "--api-key *** -c 512"),
            ("--api-key=abc --port 1", "--api-key=*** --port 1"),
            ("--hf_token x -hft y", "--hf_token *** -hft ***"),
            ("--api-key a b --x c", "--api-key *** *** --x c"),
            ("--admin-api-key k --ssl-keyfile-password p", "--admin-api-key *** --ssl-keyfile-password ***"),
            (
                "--api-key-file f --max-tokens 5 --tokenizer t",
                "--api-key-file f --max-tokens 5 --tokenizer t",
            ),
            ("--ctx-size -1 --override-kv key=3", "--ctx-size -1 --override-kv key=3"),
        ] {
            assert_eq!(mask_args(&args(given)), args(masked), "{given}");
        }
        let env =
            vec![("HF_TOKEN".to_owned(), "x".to_owned()), ("OMP_NUM_THREADS".to_owned(), "2".to_owned())];
        assert_eq!(mask_env(&env)[0].1, MASK);
        assert_eq!(mask_env(&env)[1], env[1]);
    }

    #[test]
    fn a_command_shows_its_secrets_and_not_where_they_come_from() {
        for (given, found) in [
            ("send --token abc", Some("the value of `--token`")),
            ("send --password=abc", Some("the value of `--password`")),
            ("send --api-key abc me@example.org", Some("the value of `--api-key`")),
            ("curl https://me:abc@example.org/x", Some("the password in an address")),
            ("curl https://example.org/x?room=1&token=abc", Some("`token` in an address")),
            ("curl -H Authorization: Bearer abc", Some("the value of `Authorization`")),
            ("curl -H 'X-API-Key: abc'", Some("the value of `X-API-Key`")),
            ("env SEND_TOKEN=abc send", Some("the value of `SEND_TOKEN`")),
            ("send --token $TOKEN hello", None),
            ("send --token=\"${TOKEN}\" hello", None),
            ("curl -H \"Authorization: Bearer $TOKEN\" https://$USER:$PASS@example.org", None),
            ("mail -s kneepoint: me@example.org", None),
            ("ssh://git@example.org/a https://example.org/a@b:c", None),
            ("send --token-file t --max-tokens 5", None),
        ] {
            assert_eq!(secret_in_command(&args(given)).as_deref(), found, "{given}");
            let by_shell = ["sh".to_owned(), "-c".to_owned(), given.to_owned()];
            assert_eq!(secret_in_command(&by_shell).as_deref(), found, "sh -c {given}");
        }
    }

    #[test]
    fn home_folders_and_values_disappear_from_texts() {
        let secrets = Secrets::new(["sk-0123456789".to_owned(), "short".to_owned()], "/home/me");
        for (text, clean) in [
            ("/home/me/models/a.gguf", "~/models/a.gguf"),
            ("model.0.path=/home/me/a", "model.0.path=~/a"),
            ("cannot open '/home/me/a': no", "cannot open '~/a': no"),
            ("{\"model\":\"/home/me/b\"}", "{\"model\":\"~/b\"}"),
            ("/home/meadow/x /mnt/home/me/y /home/me", "/home/meadow/x /mnt/home/me/y ~"),
            ("key sk-0123456789, short", "key ***, short"),
        ] {
            assert_eq!(secrets.text(text), clean);
        }
        assert_eq!(Secrets::new([], "/").text("/a"), "/a");
        for path in ["/home/me/a", "--file=/home/me/a", "{\"model\":\"/home/me/b\"}", "/mnt/~/x"] {
            assert_eq!(with_home_in(&secrets.text(path), "/home/me"), path);
        }
    }
}
