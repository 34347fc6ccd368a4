//! A unit of the user's systemd.
//!
//! Source: systemd.syntax(7) (quoting and escapes), systemd.service(5) (command lines: `$` begins a variable, `%` a
//! specifier), systemd.exec(5) (`Environment=`: specifiers, no variables), systemd.unit(5) (`%h`: the user's home folder).

use std::path::Path;

use super::form::{ServeForm, ServeText};
use super::served::Serving;
use crate::record::{Stretch, stretches};

const FORM: ServeForm = ServeForm::Systemd;

pub(super) fn write(serving: &Serving) -> ServeText {
    let program = serving.argv.program.to_string_lossy().into_owned();
    let bare = Path::new(&program).components().count() == 1;
    if !bare && !is_whole(&program) {
        return ServeText::none(
            FORM,
            "systemd wants the program by its whole path, and the run names it by a shorter one",
        );
    }
    if program.chars().any(char::is_control) {
        return ServeText::none(FORM, "systemd takes no control characters in the path of a program");
    }
    let env = serving.argv.env.iter().map(|(name, value)| {
        let value = format!("{name}={}", escaped(value, Dollar::Plain));
        format!("Environment=\"{value}\"\n")
    });
    let env: String = env.collect();
    let args = serving.argv.args.iter().map(|arg| word(arg));
    let command: Vec<String> = std::iter::once(word(&program)).chain(args).collect();
    let text = format!(
        "[Unit]\nDescription={} ({})\nAfter=network.target\n\n[Service]\n{env}ExecStart={}\nRestart=on-failure\n\n[Install]\nWantedBy=default.target\n",
        serving.name,
        serving.engine,
        command.join(" "),
    );
    let file = format!("~/.config/systemd/user/{}.service", serving.name);
    let written = ServeText::file(FORM, file, text)
        .then(format!("systemctl --user daemon-reload && systemctl --user enable --now {}", serving.name));
    match bare {
        true => written.note(format!(
            "systemd looks for `{program}` in its own folders alone, not in those of your PATH: write its whole path"
        )),
        false => written,
    }
}

fn is_whole(path: &str) -> bool {
    path.starts_with('/') || path.starts_with("~/")
}

/// Whether a dollar means something.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dollar {
    Plain,
    Variable,
}

/// A word of a command line.
fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+".contains(c);
    let text = escaped(word, Dollar::Variable);
    let bare = match stretches(word).as_slice() {
        [Stretch::Text(text)] | [Stretch::Home, Stretch::Text(text)] => {
            !text.is_empty() && text.chars().all(plain)
        }
        _ => false,
    };
    if bare { text } else { format!("\"{text}\"") }
}

/// A text within double quotes, with the home folder put in by systemd.
fn escaped(word: &str, dollar: Dollar) -> String {
    let mut written = String::new();
    for stretch in stretches(word) {
        match stretch {
            Stretch::Home => written.push_str("%h/"),
            Stretch::Text(text) => text.chars().for_each(|c| push(&mut written, c, dollar)),
        }
    }
    written
}

fn push(written: &mut String, c: char, dollar: Dollar) {
    match c {
        '%' => written.push_str("%%"),
        '$' if dollar == Dollar::Variable => written.push_str("$$"),
        '"' | '\\' => written.extend(['\\', c]),
        '\n' => written.push_str("\\n"),
        '\r' => written.push_str("\\r"),
        '\t' => written.push_str("\\t"),
        c if c.is_control() => written.push_str(&format!("\\u{:04x}", u32::from(c))),
        c => written.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::serving::served::tests::{HOSTILE, served};

    #[test]
    fn a_plain_setting_reads_well() {
        let mut serving =
            served(&["-m", "~/my models/m.gguf", "--host", "127.0.0.1", "--port", "8080", "-c", "4096"]);
        serving.argv.env = vec![("LD_LIBRARY_PATH".into(), "~/lib".into())];
        insta::assert_snapshot!(write(&serving).text.unwrap());
    }

    #[test]
    fn a_program_without_a_place_is_told_of() {
        let mut serving = served(&[]);
        serving.argv.program = "vllm".into();
        assert!(write(&serving).notes.iter().any(|note| note.contains("whole path")));
        serving.argv.program = "./llama-server".into();
        assert_eq!(write(&serving).text, None);
        serving.argv.program = "/a\nb".into();
        assert_eq!(write(&serving).text, None);
    }

    #[test]
    fn no_word_leaves_its_line() {
        let text = write(&served(HOSTILE)).text.unwrap();
        assert_eq!(text.lines().count(), 10, "{text}");
    }
}
