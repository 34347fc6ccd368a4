//! A Modelfile of Ollama, and its server's environment.
//!
//! Sources: `docs/modelfile.mdx` (instructions and parameters) and `docs/faq.mdx` (flash attention, types of the cache, requests
//! at once) of ollama/ollama (2026). A value ends with its line, unless it stands in three double quotes; a path may begin
//! with `~/`. Everything else of a setting has no word there, and is named instead of left out.

use super::form::{ServeForm, ServeText};
use super::paths;
use super::served::Serving;
use crate::record::shell_text;
use crate::record::suite::FlashAttention;

const FORM: ServeForm = ServeForm::Ollama;
/// Types of the KV cache that its environment names.
const CACHE_TYPES: &[&str] = &["f16", "q8_0", "q4_0"];

pub(super) fn write(serving: &Serving) -> ServeText {
    if serving.engine != "llama.cpp" {
        let reason =
            format!("Ollama runs GGUF files by its own build of llama.cpp, not by {}", serving.engine);
        return ServeText::none(FORM, reason);
    }
    let model = serving.values("-m").chain(serving.values("--model")).last();
    let Some(from) = model.and_then(value) else {
        return ServeText::none(FORM, "a Modelfile cannot hold the path of this model");
    };
    let environment = environment(serving);
    let unsaid = unsaid(serving);
    let mut text = String::new();
    if !unsaid.is_empty() {
        text.push_str(&format!(
            "# This is NOT the setting that was measured. Ollama cannot say: {}\n",
            unsaid.join("; ")
        ));
    }
    if !environment.is_empty() {
        text.push_str("# The environment of `ollama serve`, for all its models:\n");
        let lines = environment.iter().map(|(name, value)| format!("#   {name}={value}\n"));
        text.extend(lines);
    }
    text.push_str(&format!("FROM {from}\nPARAMETER num_ctx {}\n", serving.context));
    let mut written = ServeText::file(FORM, "Modelfile".to_owned(), text);
    written.environment = environment;
    if !unsaid.is_empty() {
        written = written.note(format!(
            "this is not the setting that was measured: Ollama cannot say {}",
            unsaid.join("; ")
        ));
    }
    let variables = written.environment.iter().map(|(name, value)| format!("{name}={}", shell_text(value)));
    let variables: Vec<String> = variables.collect();
    written
        .then(format!("ollama create {} -f Modelfile", serving.name))
        .note(format!(
            "its server must be started with {}, which holds for all its models",
            if variables.is_empty() { "no variable of its own".to_owned() } else { variables.join(" ") }
        ))
        .note(
            "quality and speed were measured with llama-server: Ollama has a build, a form of the chat template and a \
             choice of layers and threads of its own",
        )
}

fn environment(serving: &Serving) -> Vec<(String, String)> {
    let setting = &serving.setting;
    let flash = match setting.flash_attention {
        FlashAttention::On => Some("1"),
        FlashAttention::Off => Some("0"),
        FlashAttention::Auto => None,
    };
    let cache =
        (setting.k == setting.v).then_some(setting.k.as_str()).filter(|kind| CACHE_TYPES.contains(kind));
    let slots =
        serving.values("-np").last().filter(|slots| slots.parse::<u16>().is_ok_and(|slots| slots > 1));
    let pairs =
        [("OLLAMA_FLASH_ATTENTION", flash), ("OLLAMA_KV_CACHE_TYPE", cache), ("OLLAMA_NUM_PARALLEL", slots)];
    pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect()
}

/// What of the setting has no word in a Modelfile or the environment, one line each.
fn unsaid(serving: &Serving) -> Vec<String> {
    let setting = &serving.setting;
    let mut unsaid = Vec::new();
    if setting.k != setting.v {
        unsaid.push(format!("K in {} beside V in {} (it has one type for both)", setting.k, setting.v));
    } else if !CACHE_TYPES.contains(&setting.k.as_str()) {
        unsaid.push(format!("a cache of type {} (it has {})", setting.k, CACHE_TYPES.join(", ")));
    }
    if setting.speculates() {
        unsaid.push(format!("speculation {}", setting.speculation));
    }
    if let Some(draft) = &setting.draft {
        unsaid.push(format!("the draft model {draft}"));
    }
    unsaid.extend(setting.options.iter().map(|(name, value)| format!("the option {name} = {value}")));
    if !serving.users.is_empty() {
        unsaid.push(format!("the arguments {}", serving.users.join(" ")));
    }
    unsaid.iter().map(|line| line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()).collect()
}

/// A value of an instruction; `None` where none can hold it.
fn value(path: &str) -> Option<String> {
    // What is relative is taken from the Modelfile's folder; a mere name would be that of a model.
    let path =
        if paths::is_relative(path) && !path.contains('/') { format!("./{path}") } else { path.to_owned() };
    let unprintable = |c: char| c.is_control() && c != '\n';
    if path.chars().any(unprintable) || path.contains("\"\"\"") || path.ends_with('"') {
        return None;
    }
    let plain = path.trim() == path && !path.contains('\n') && !path.starts_with('"');
    Some(if plain { path } else { format!("\"\"\"{path}\"\"\"") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::serving::served::tests::{HOSTILE, served};

    /// The instructions of a Modelfile, by its documented grammar: comments, `INSTRUCTION arguments` a line, and values in
    /// three double quotes, which may have lines of their own.
    fn read(text: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            if line.is_empty() || line.starts_with('#') {
                rest = after;
                continue;
            }
            let (name, argument) = line.split_once(' ').unwrap();
            assert!(["FROM", "PARAMETER"].contains(&name), "{line}");
            match argument.strip_prefix("\"\"\"") {
                Some(_) => {
                    let (_, quoted) = rest.split_once("\"\"\"").unwrap();
                    let (argument, after) = quoted.split_once("\"\"\"\n").unwrap();
                    found.push((name.to_owned(), argument.to_owned()));
                    rest = after;
                }
                None => {
                    found.push((name.to_owned(), argument.to_owned()));
                    rest = after;
                }
            }
        }
        found
    }

    #[test]
    fn a_plain_setting_is_said_wholly() {
        let written = write(&served(&["-m", "~/my models/m.gguf", "--port", "8080", "-c", "4096"]));
        insta::assert_snapshot!(written.text.unwrap());
        let names: Vec<&str> = written.environment.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["OLLAMA_FLASH_ATTENTION", "OLLAMA_KV_CACHE_TYPE"]);
        assert!(!written.notes.iter().any(|note| note.contains("not the setting")));
    }

    #[test]
    fn what_cannot_be_said_is_named() {
        let mut serving = served(&["-m", "/m.gguf", "-np", "4", "-c", "16384", "--frob", "x"]);
        serving.setting.v = "q4_0".into();
        serving.setting.speculation = "ngram-simple".into();
        serving.setting.options.insert("ubatch".into(), "128\nFROM evil".into());
        serving.users = vec!["--frob".into(), "x".into()];
        let written = write(&serving);
        let text = written.text.unwrap();
        for part in ["K in q8_0 beside V in q4_0", "speculation ngram-simple", "ubatch = 128", "--frob x"] {
            assert!(text.lines().next().unwrap().contains(part), "{part}: {text}");
            assert!(written.notes[0].contains(part));
        }
        let said =
            [("FROM".to_owned(), "/m.gguf".to_owned()), ("PARAMETER".to_owned(), "num_ctx 4096".to_owned())];
        assert_eq!(read(&text), said);
        assert!(written.environment.contains(&("OLLAMA_NUM_PARALLEL".to_owned(), "4".to_owned())));
        serving.engine = "vllm".into();
        assert_eq!(write(&serving).text, None);
    }

    #[test]
    fn a_path_comes_through_or_is_refused() {
        for hostile in HOSTILE {
            let path = format!("/{hostile}/{hostile}");
            match write(&served(&["-m", &path])).text {
                Some(text) => assert_eq!(read(&text)[0], ("FROM".to_owned(), path)),
                None => assert!(path.ends_with('"') || path.contains(['\t', '\u{7}']), "{path:?}"),
            }
        }
        assert!(write(&served(&["-m", "m.gguf"])).text.unwrap().contains("FROM ./m.gguf\n"));
    }
}
