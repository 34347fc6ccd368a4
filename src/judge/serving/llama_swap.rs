//! A model of llama-swap's configuration.
//!
//! Source: `config.example.yaml` and `docs/configuration.md` of mostlygeek/llama-swap (August 2026). `cmd` is split as a POSIX
//! shell splits it, after lines that begin with `#` are dropped and backslashes at the ends of lines are taken for
//! continuations; nothing else of a shell is done. `${NAME}` is a macro in any value, `${env.NAME}` a variable of the
//! environment; one that is not known is an error, and there is no way to escape it but by the quotes of the command.

use super::form::{ServeForm, ServeText};
use super::served::Serving;
use crate::record::{Stretch, shell_text, stretches};

const FORM: ServeForm = ServeForm::LlamaSwap;
/// How the parts of a command stand under its key.
const INDENT: &str = "      ";

pub(super) fn write(serving: &Serving) -> ServeText {
    if let Some(reason) = serving.without_port() {
        return ServeText::none(FORM, reason);
    }
    let served_as = serving.values("--served-model-name").last();
    if served_as.is_some_and(holds_macro) {
        return ServeText::none(
            FORM,
            "llama-swap would take a part of the model's name for a macro of its own",
        );
    }
    let mut text = format!("models:\n  {}:\n", quoted(&serving.name));
    text.push_str(&command(serving));
    text.push_str("    proxy: \"http://127.0.0.1:${PORT}\"\n");
    if let Some(name) = served_as {
        text.push_str(&format!("    useModelName: {}\n", quoted(name)));
    }
    let variables: Vec<String> =
        serving.argv.env.iter().filter(|pair| !needs_env(pair)).map(variable).collect();
    if !variables.is_empty() {
        text.push_str(&format!("    env:\n{}", variables.concat()));
    }
    ServeText::file(FORM, "config.yaml".to_owned(), text).note(
        "llama-swap starts it when a request names this model; a port of its own is put in for PORT. Where the file has models \
         already, add the entry below them",
    )
}

/// `cmd`, a flag and its value a line; where a line cannot hold it, as one quoted text.
fn command(serving: &Serving) -> String {
    let program = serving.argv.program.to_string_lossy().into_owned();
    let mut words = Vec::new();
    let bound = serving.argv.env.iter().filter(needs_env);
    let bound: Vec<String> = bound.map(|(name, value)| word(&format!("{name}={value}"))).collect();
    if !bound.is_empty() {
        words.push("env".to_owned());
        words.extend(bound);
    }
    words.push(word(&program));
    let args = serving.args_with(&[("--port", PORT)]);
    let mut lines = vec![words.join(" ")];
    for arg in &args {
        let written = word_with_port(arg);
        match lines.last_mut() {
            Some(line) if !arg.starts_with('-') => line.push_str(&format!(" {written}")),
            _ => lines.push(written),
        }
    }
    if lines.iter().any(|line| line.chars().any(must_be_escaped)) {
        return format!("    cmd: {}\n", quoted(&lines.join(" ")));
    }
    let lines: String = lines.iter().map(|line| format!("{INDENT}{line}\n")).collect();
    format!("    cmd: |\n{lines}")
}

/// What stands for the port until it is written: no argument of a server holds it.
const PORT: &str = "\u{0}PORT";

fn word_with_port(arg: &str) -> String {
    match arg.split_once(PORT) {
        Some((flag, "")) => format!("{flag}${{PORT}}"),
        _ => word(arg),
    }
}

/// A word of the command: quoted for its splitter, and so that it holds no macro and no line that begins with `#` or ends
/// with a backslash.
fn word(word: &str) -> String {
    let written = stretches(word).into_iter().map(|stretch| match stretch {
        // Its value may hold spaces.
        Stretch::Home => "\"${env.HOME}\"/".to_owned(),
        Stretch::Text(text) => shell_text(text).replace("${", "$''{").replace('\n', "''\n''"),
    });
    written.collect()
}

fn holds_macro(text: &str) -> bool {
    text.contains("${")
}

/// Whether a variable cannot stand in `env`, where nothing keeps a macro from being one.
fn needs_env((_, value): &&(String, String)) -> bool {
    holds_macro(value)
}

fn variable((name, value): &(String, String)) -> String {
    let value: String = stretches(value)
        .into_iter()
        .map(|stretch| match stretch {
            Stretch::Home => "${env.HOME}/",
            Stretch::Text(text) => text,
        })
        .collect();
    format!("{INDENT}- {}\n", quoted(&format!("{name}={value}")))
}

/// A text in YAML's double quotes.
fn quoted(text: &str) -> String {
    let mut written = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => written.extend(['\\', c]),
            '\n' => written.push_str("\\n"),
            '\t' => written.push_str("\\t"),
            c if must_be_escaped(c) && u32::from(c) > 0xff => {
                written.push_str(&format!("\\u{:04x}", u32::from(c)))
            }
            c if must_be_escaped(c) => written.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => written.push(c),
        }
    }
    written.push('"');
    written
}

/// What YAML does not let stand as it is, or takes for the end of a line.
fn must_be_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::serving::served::tests::{HOSTILE, served};

    const HOME: &str = "/home/some one";

    /// What llama-swap makes of a file: macros are put in, then the command is split. A macro that is not known is an error.
    fn read(yaml: &str) -> (Vec<String>, Vec<String>, serde_norway::Value) {
        let yaml = yaml.replace("${env.HOME}", &HOME.replace('\\', "\\\\").replace('"', "\\\""));
        let parsed: serde_norway::Value =
            serde_norway::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"));
        let (_, model) = parsed["models"].as_mapping().unwrap().iter().next().unwrap();
        let put_in = |text: &str| text.replace("${PORT}", "5800");
        let command = put_in(model["cmd"].as_str().unwrap());
        let env = model.get("env").and_then(serde_norway::Value::as_sequence).into_iter().flatten();
        let env: Vec<String> = env.map(|line| put_in(line.as_str().unwrap())).collect();
        for text in env.iter().chain([&command]) {
            assert!(!text.contains("${"), "an unknown macro: {text}");
        }
        (split(&command), env, model.clone())
    }

    /// llama-swap's `SanitizeCommand` and a POSIX splitter.
    fn split(command: &str) -> Vec<String> {
        let lines = command.lines().filter(|line| !line.trim().starts_with('#')).map(|line| {
            let trimmed = line.trim();
            trimmed.strip_suffix('\\').map_or(line.to_owned(), |line| format!("{line} "))
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (Some('"'), '\\') => panic!("a backslash within double quotes"),
                (Some(_), c) => word.get_or_insert_default().push(c),
                (None, '\\') => word.get_or_insert_default().push(rest.next().unwrap()),
                (None, '\'' | '"') => {
                    word.get_or_insert_default();
                    quote = Some(c);
                }
                (None, ' ' | '\t' | '\n') => words.extend(word.take()),
                (None, c) => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn a_plain_setting_reads_well() {
        let mut serving =
            served(&["-m", "~/m.gguf", "--host", "127.0.0.1", "--port", "8080", "-c", "4096", "--jinja"]);
        serving.argv.env = vec![("LD_LIBRARY_PATH".into(), "~/lib".into())];
        insta::assert_snapshot!(write(&serving).text.unwrap());
    }

    #[test]
    fn every_word_and_variable_comes_through() {
        let mut args = vec!["-m", "/m.gguf", "--port", "8080", "--port=9"];
        args.extend(HOSTILE);
        let mut serving = served(&args);
        serving.argv.program = "~/it's/${x}/llama-server".into();
        serving.argv.env = HOSTILE.iter().map(|value| ("NAME".to_owned(), (*value).to_owned())).collect();
        let (words, env, _) = read(&write(&serving).text.unwrap());
        let program = words.iter().position(|word| word.ends_with("llama-server")).unwrap();
        assert_eq!(words[program], format!("{HOME}/it's/${{x}}/llama-server"));
        let expected: Vec<&str> = args.iter().map(|arg| arg.trim_end_matches("8080")).collect();
        for (read, asked) in words[program + 1..].iter().zip(expected) {
            match asked {
                "" if read == "5800" => {}
                "--port=9" => assert_eq!(read, "--port=5800"),
                asked => assert_eq!(read, asked),
            }
        }
        assert_eq!(words.len() - program - 1, args.len());
        let told: Vec<String> = words[..program]
            .iter()
            .chain(&env)
            .filter_map(|w| Some(w.strip_prefix("NAME=")?.to_owned()))
            .collect();
        let mut told: Vec<&str> = told.iter().map(String::as_str).collect();
        let mut asked = HOSTILE.to_vec();
        told.sort_unstable();
        asked.sort_unstable();
        assert_eq!(told, asked);
    }

    #[test]
    fn a_server_that_knows_its_model_by_name_is_asked_by_that_name() {
        let serving = served(&["serve", "/m", "--served-model-name", "a: \"b\"", "--port", "8080"]);
        let (.., model) = read(&write(&serving).text.unwrap());
        assert_eq!(model["useModelName"].as_str(), Some("a: \"b\""));
        let hostile = served(&["--served-model-name", "${x}", "--port", "8080"]);
        assert_eq!(write(&hostile).text, None);
        assert_eq!(write(&served(&["--config", "c.yml"])).text, None);
    }
}
