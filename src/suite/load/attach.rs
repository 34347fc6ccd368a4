//! What a suite may say of a server that runs already.

use std::collections::BTreeSet;

use toml::Spanned;

use super::super::checker::Checker;
use super::super::raw::{RawEngine, RawModel, RawSuite};
use crate::error::{Error, Result};
use crate::measure::client;
use crate::measure::engine::Engine;
use crate::record::suite::{ModelSpec, Setting, UNKNOWN};

impl Checker {
    /// Whether what is said of an attached server, or of none, makes sense.
    pub(super) fn attachment(&self, raw: &RawEngine, engine: &dyn Engine) -> Result<()> {
        let Some(url) = &raw.url else { return self.not_attached(raw, engine) };
        client::check_address(url.get_ref()).map_err(|error| {
            let shown = self.error(url.span(), error.to_string(), "this address");
            error.hints().iter().fold(shown, |shown, hint| shown.hint(hint.clone()))
        })?;
        let starts = [
            ("binary", raw.binary.is_some()),
            ("args", !raw.args.is_empty()),
            ("threads", raw.threads.is_some()),
        ];
        if let Some((key, _)) = starts.iter().find(|(_, said)| *said) {
            let message =
                format!("`engine.{key}` beside `engine.url`: a server that runs already is not started");
            return Err(self
                .error(url.span(), message, "this server runs already")
                .hint("leave one of the two out"));
        }
        raw.api_key_env.as_ref().map_or(Ok(()), |name| key_variable(name.get_ref()))
    }

    fn not_attached(&self, raw: &RawEngine, engine: &dyn Engine) -> Result<()> {
        if engine.card().binaries.is_empty() {
            let message = format!("the engine {} starts no server", engine.name());
            return Err(self
                .error(raw.name.span(), message, "where does it run?")
                .hint("name the address of a running one: engine.url = \"http://127.0.0.1:11434/v1\""));
        }
        if raw.api_key_env.is_some() {
            // Not shown: it may hold the key itself.
            return Err(Error::usage("`engine.api_key_env` without `engine.url`")
                .hint("only a server that runs already is given a key"));
        }
        match &raw.served_model {
            Some(name) => {
                let label = "leave this out, or name the server's address";
                Err(self.error(name.span(), "`engine.served_model` without `engine.url`", label))
            }
            None => Ok(()),
        }
    }

    /// The models of an attached server: names and labels, no files.
    pub(super) fn attached_models(&self, raw: &[RawModel]) -> Result<Vec<ModelSpec>> {
        let [model] = raw else {
            let place = raw.get(1).map_or(0..0, |model| model.name.span());
            return Err(self
                .error(place, "a suite with `engine.url` has exactly one model", "one server, one model")
                .hint("add [[model]] with `name`, and `weights` as a label such as \"Q4_K_M\""));
        };
        let files = [
            model.package.as_ref().map(|package| ("package", package.span())),
            model.path.as_ref().map(|path| ("path", path.span())),
            model.from.as_ref().map(|from| ("from", from.span())),
            model.derive.first().map(|quant| ("derive", quant.span())),
        ];
        if let Some((key, span)) = files.into_iter().flatten().next() {
            let message = format!("`{key}` beside `engine.url`: the server has its own weights");
            return Err(self
                .error(span, message, "leave this out")
                .hint("say what they are with `weights`, as a label; `engine.served_model` names the model to the server"));
        }
        let weights =
            model.weights.as_ref().map_or_else(|| UNKNOWN.to_owned(), |label| label.get_ref().clone());
        let name = model.name.get_ref().clone();
        Ok(vec![ModelSpec { name, weights, ..ModelSpec::default() }])
    }

    /// Lists of a matrix that would make other settings than the reference: told before anything else is, because
    /// nothing that is said of them (`--set matrix.kv=..`) can help.
    pub(super) fn no_matrix(&self, raw: &RawSuite) -> Result<()> {
        let Some(matrix) = &raw.matrix else { return Ok(()) };
        let (lists, reference) = (matrix.get_ref(), raw.reference.get_ref());
        let one = |list: &[Spanned<String>], own: &Option<Spanned<String>>| match list {
            [] => true,
            [only] => own.as_ref().is_some_and(|own| own.get_ref() == only.get_ref()),
            _ => false,
        };
        let others = [
            ("model", one(&lists.model, &reference.model)),
            ("weights", one(&lists.weights, &reference.weights)),
            ("kv", one(&lists.kv, &reference.kv)),
            ("k", one(&lists.k, &reference.k)),
            ("v", one(&lists.v, &reference.v)),
            ("speculation", one(&lists.speculation, &reference.speculation)),
            ("flash_attention", lists.flash_attention.is_empty()),
            ("draft", one(&lists.draft, &reference.draft)),
            ("options", lists.options.is_empty()),
        ];
        let named: Vec<String> =
            others.iter().filter(|(_, fits)| !fits).map(|(key, _)| format!("matrix.{key}")).collect();
        if named.is_empty() {
            return Ok(());
        }
        let message = format!(
            "`{}` beside `engine.url`: a server that runs already has exactly one setting",
            named.join("`, `")
        );
        Err(self
            .error(matrix.span(), message, "this would need another server")
            .hint("leave the matrix out; say what the server runs in [reference], such as reference.kv")
            .hint("run the suite once for each server, and put the runs side by side with `kneepoint compare A B`"))
    }

    /// An attached server runs one setting: another would need another server.
    pub(super) fn one_setting(&self, raw: &RawSuite, settings: &[Setting]) -> Result<()> {
        let all = std::iter::once(&raw.reference).chain(&raw.settings);
        if let Some(setting) = all.into_iter().find(|setting| !setting.get_ref().extra_args.is_empty()) {
            let message = "`extra_args` of a server that runs already";
            return Err(self.error(setting.span(), message, "nothing is started that could take them"));
        }
        let labels: BTreeSet<&str> = settings.iter().map(|setting| setting.label.as_str()).collect();
        if labels.len() == 1 {
            return Ok(());
        }
        let second = raw.settings.first().map(Spanned::span);
        let place = second.or(raw.matrix.as_ref().map(Spanned::span)).unwrap_or(0..0);
        Err(self
            .error(place, "a suite with `engine.url` has exactly one setting", "this would need another server")
            .hint("write [reference] alone; it is visited twice, which shows the noise")
            .hint("run the suite once for each server, and put the runs side by side with `kneepoint compare A B`"))
    }
}

/// Whether this can be the name of a variable. The text is never shown: it may be the key itself.
fn key_variable(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = name.chars().all(plain) && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if named && name.len() <= 64 {
        return Ok(());
    }
    Err(Error::usage(
        "`engine.api_key_env` is not the name of an environment variable (its value is not shown)",
    )
    .hint("write the variable's name, never the key: api_key_env = \"MY_SERVER_KEY\"")
    .hint("and set it: `export MY_SERVER_KEY=...`"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::super::parse;
    use super::*;
    use crate::record::suite::Suite;

    const MODEL: &str = "[[model]]\nname = \"m\"\nweights = \"Q4_K_M\"\n";

    fn suite(engine: &str, rest: &str) -> Result<Suite> {
        let text = format!(
            "name = \"a\"\ncontexts = [512]\n[engine]\n{engine}\n{rest}\n[[task]]\nname = \"retrieval/niah_single_1\"\nsamples = 1\n"
        );
        parse(&text, Path::new("a.toml"), &[])
    }

    const URL: &str = "name = \"openai\"\nurl = \"http://127.0.0.1:11434/v1\"";

    #[test]
    fn an_attached_server_has_one_setting_of_unknown_parts() {
        let plain = suite(URL, &format!("{MODEL}[reference]")).unwrap();
        assert_eq!(plain.settings.len(), 1);
        let setting = plain.reference();
        assert_eq!(
            (setting.k.as_str(), setting.speculation.as_str(), setting.label.as_str()),
            ("unknown", "unknown", "Q4_K_M")
        );
        let named = suite(
            "name = \"llama.cpp\"\nurl = \"http://h:1\"",
            &format!(
                "{MODEL}[reference]\nkv = \"q8_0\"\nspeculation = \"ngram-simple\"\nflash_attention = \"off\""
            ),
        );
        assert_eq!(named.unwrap().reference().label, "Q4_K_M kv=q8_0 spec=ngram-simple fa=off");
    }

    #[test]
    fn what_would_need_a_start_is_refused_with_what_to_do() {
        let model = format!("{MODEL}[reference]");
        let wrong = |engine: &str, rest: &str| suite(engine, rest).unwrap_err();
        for (error, words) in [
            (wrong(URL, &format!("{model}\n[[setting]]\nkv = \"q8_0\"")), "exactly one setting"),
            (wrong(URL, &format!("{model}\n[matrix]\nkv = [\"q8_0\", \"f16\"]")), "exactly one setting"),
            (wrong(URL, &format!("{model}\nextra_args = [\"-ngl\", \"9\"]")), "extra_args"),
            (
                wrong(URL, "[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n[reference]"),
                "own weights",
            ),
            (
                wrong(URL, &format!("{MODEL}{}[reference]", MODEL.replace("\"m\"", "\"n\""))),
                "exactly one model",
            ),
            (wrong(&format!("{URL}\nthreads = 4"), &model), "threads"),
            (wrong("name = \"openai\"", &model), "starts no server"),
            (wrong("name = \"openai\"\nurl = \"127.0.0.1\"", &model), "not the address"),
            (wrong("served_model = \"m\"", &model), "without `engine.url`"),
        ] {
            assert_eq!(error.kind(), crate::error::Kind::Usage);
            assert!(error.to_string().contains(words), "{error}");
            assert!(!error.hints().is_empty() || error.location().is_some(), "{error}");
        }
    }

    #[test]
    fn a_key_in_the_suite_is_refused_and_not_shown() {
        for key in ["sk-abcdef-0123456789", "0123456789abcdef"] {
            let error = suite(&format!("{URL}\napi_key_env = \"{key}\""), &format!("{MODEL}[reference]"))
                .unwrap_err();
            assert!(error.location().is_none() && !error.to_string().contains(key), "{error}");
        }
        let error = suite("api_key_env = \"MY_KEY\"", &format!("{MODEL}[reference]")).unwrap_err();
        assert!(error.location().is_none(), "{error}");
        let good =
            suite(&format!("{URL}\napi_key_env = \"MY_KEY\""), &format!("{MODEL}[reference]")).unwrap();
        assert_eq!(good.engine.api_key_env.as_deref(), Some("MY_KEY"));
    }
}
