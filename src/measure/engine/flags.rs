//! Arguments that a suite passes on as they are: their flags are held against those that the binary's help names, before
//! anything starts.

use super::card::FlagStyle;
use super::definition::Engine;
use crate::error::{Error, Result, nearest};
use crate::record::Build;
use crate::record::suite::Suite;

/// Every server has it: a help without it was not read, and says nothing of other flags.
const PORT: &str = "--port";

/// What is wrong with an argument.
#[derive(Debug, PartialEq, Eq)]
enum Wrong<'a> {
    /// No such flag.
    Unknown(&'a str),
    /// The flag is known, and its value stands in the same word.
    Joined(&'a str),
}

/// Checks the flags of `[engine] args` and of every setting's `extra_args` against those of the build. Where its help could not
/// be read, or does not name all flags, nothing is asked.
///
/// # Errors
/// A usage error that names the flag, where it stands, and the nearest one of the build.
pub fn check_flags(engine: &dyn Engine, build: &Build, suite: &Suite) -> Result<()> {
    let card = engine.card();
    if card.flag_style == FlagStyle::Unjudged || !build.has(PORT) {
        return Ok(());
    }
    let of_settings = suite
        .measured()
        .map(|setting| (format!("extra_args of the setting {}", setting.label), &setting.extra_args));
    for (place, args) in
        std::iter::once(("args of [engine]".to_owned(), &suite.engine.args)).chain(of_settings)
    {
        if let Some(wrong) = first_wrong(card.flag_style, build, args) {
            return Err(error(&wrong, card.name, build).hint(format!("it stands in {place}")));
        }
    }
    Ok(())
}

fn error(wrong: &Wrong<'_>, engine: &str, build: &Build) -> Error {
    let whose = format!("this server of {engine} ({})", build.version);
    match wrong {
        Wrong::Joined(flag) => {
            Error::usage(format!("{whose} takes the value of `{flag}` as a word of its own"))
                .hint(format!("write it as two: \"{flag}\", \"VALUE\""))
        }
        Wrong::Unknown(flag) => {
            let error = Error::usage(format!("{whose} has no flag `{flag}`"));
            match nearest(flag, build.flags.iter().map(String::as_str)) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("its --help names all that it has"),
            }
        }
    }
}

fn first_wrong<'a>(style: FlagStyle, build: &Build, args: &'a [String]) -> Option<Wrong<'a>> {
    let mut words = args.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if !is_flag(word) {
            continue;
        }
        let end = word.find(|c: char| c == '=' || c.is_whitespace());
        let name = &word[..end.unwrap_or(word.len())];
        let Some(known) = find(style, build, name) else { return Some(Wrong::Unknown(name)) };
        match end {
            Some(_) if style == FlagStyle::Apart => return Some(Wrong::Joined(name)),
            Some(_) => {}
            // Whatever it is: a value may begin with a dash.
            None if build.takes_value(&known) => drop(words.next()),
            None => {}
        }
    }
    None
}

/// Whether a word is a flag: not a dash alone, and not a negative number.
fn is_flag(word: &str) -> bool {
    let name = word.trim_start_matches('-');
    name.len() < word.len() && name.starts_with(char::is_alphabetic) && word.parse::<f64>().is_err()
}

/// The flag of the build that a word means.
fn find(style: FlagStyle, build: &Build, name: &str) -> Option<String> {
    let dashed = if name.starts_with("--") { name.replace('_', "-") } else { name.to_owned() };
    let exact = [name, &dashed].into_iter().find(|flag| build.has(flag)).map(str::to_owned);
    match style {
        FlagStyle::Argparse => exact.or_else(|| shortened(build, &dashed)),
        FlagStyle::Apart | FlagStyle::Unjudged => exact,
    }
}

/// What `argparse` takes a word for: `--max-model` for `--max-model-len`, `--config.level` for `--config`, `-O3` for `-O`.
fn shortened(build: &Build, word: &str) -> Option<String> {
    let base = word.split('.').next().unwrap_or(word);
    let mut flags = build.flags.iter();
    let found = match base.starts_with("--") {
        true => flags.find(|flag| flag.starts_with(base)),
        false => flags.find(|flag| !flag.starts_with("--") && base.starts_with(flag.as_str())),
    };
    found.cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::engine::{ik_llama, llama_cpp, vllm};

    const HELP: &str = "\
-h,    --help, --usage                  print usage and exit
-m,    --model FNAME                    model path to load
-c,    --ctx-size N                     size of the prompt context (default: 0, 0 = loaded from model)
-r,    --reverse-prompt PROMPT          halt generation at PROMPT, return control in interactive mode
--mlock                                 force system to keep model in RAM
--mmap, --no-mmap                       whether to memory-map model. (default: enabled)
--defrag-thold N                        DEPRECATED: argument has been removed
--rope-freq-scale N                     RoPE frequency scaling factor
-sm,   --split-mode {none,layer,row,tensor}
                                        how to split the model
--port PORT                             port to listen (default: 8080)
--jinja, --no-jinja                     whether to use jinja template engine for chat
";
    const ARGPARSE: &str = "\
usage: vllm serve [model_tag] [options]
  -h, --help            show this help
  --model MODEL
  --port PORT           Port number.
  --max-model-len MAX_MODEL_LEN
  --enable-prefix-caching, --no-enable-prefix-caching
  --compilation-config COMPILATION_CONFIG, -cc COMPILATION_CONFIG
  -O OPTIMIZATION_LEVEL, --optimization-level OPTIMIZATION_LEVEL
";

    fn suite(engine: &str, args: &[&str]) -> Suite {
        let words: Vec<String> = args.iter().map(|word| format!("{word:?}")).collect();
        let model = if engine == "vllm" { "folder" } else { "m.gguf" };
        let text = format!(
            "name = \"t\"\ncontexts = [512]\n[engine]\nname = \"{engine}\"\nbinary = \"x\"\n[[model]]\nname = \"m\"\n\
             path = \"{model}\"\nweights = \"Q8_0\"\n[reference]\n[[setting]]\nextra_args = [{}]\n[[task]]\nname = \"serving/speed\"\n\
             samples = 1\n",
            words.join(", ")
        );
        crate::suite::parse(&text, std::path::Path::new("t.toml"), &[]).unwrap()
    }

    fn llama(args: &[&str]) -> Result<()> {
        let build = llama_cpp::LlamaCpp.build("version: 1 (x)", HELP);
        check_flags(&llama_cpp::LlamaCpp, &build, &suite("llama.cpp", args))
    }

    #[test]
    fn flags_of_the_build_pass_with_whatever_values() {
        for args in [
            &["--mlock", "--no-mmap", "-c", "512"][..],
            &["--rope_freq_scale", "-0.5", "-r", "--not-a-flag", "--no-jinja"],
            &["--rope-freq-scale", "-1e-3", "-sm", "row", "--usage"],
            &["-r", "-x"],
            &[],
        ] {
            assert!(llama(args).is_ok(), "{args:?}: {:?}", llama(args));
        }
    }

    #[test]
    fn a_flag_that_the_build_has_not_is_named_with_place_and_nearest() {
        let said = |args: &[&str]| {
            let error = llama(args).unwrap_err();
            format!("{error}\n{}", error.hints().join("\n"))
        };
        let text = said(&["--mlock", "--no-mmpa"]);
        assert!(text.contains("this server of llama.cpp (1 (x)) has no flag `--no-mmpa`"), "{text}");
        assert!(text.contains("did you mean `--no-mmap`?"), "{text}");
        assert!(text.contains("it stands in extra_args of the setting "), "{text}");
        // A switch takes no value, so what follows it is looked at.
        assert!(said(&["--jinja", "--no-jinjaa"]).contains("did you mean `--no-jinja`?"));
        // Named in the help only to say that it is gone.
        assert!(said(&["--defrag-thold", "0.1"]).contains("has no flag `--defrag-thold`"));
        let text = said(&["--ctx-size=512"]);
        assert!(text.contains("takes the value of `--ctx-size` as a word of its own"), "{text}");
        assert!(said(&["-c 512"]).contains("write it as two: \"-c\", \"VALUE\""));
        assert!(said(&["--api-key=secret"]).contains("has no flag `--api-key`"));
        assert!(!said(&["--api-key=secret"]).contains("secret"));
    }

    #[test]
    fn argparse_takes_beginnings_and_joined_values() {
        let build = vllm::Vllm.build("0.11.0", ARGPARSE);
        let check = |args: &[&str]| check_flags(&vllm::Vllm, &build, &suite("vllm", args));
        for args in [
            &["--max-model=512", "--max_model_len", "512"][..],
            &["-O3", "-cc.mode=3", "--compilation-config.mode", "3", "-O", "-1"],
            &["--no-enable-prefix-caching"],
        ] {
            assert!(check(args).is_ok(), "{args:?}: {:?}", check(args));
        }
        let error = check(&["--enable-prefix-cashing"]).unwrap_err();
        assert!(error.hints().join("\n").contains("did you mean `--enable-prefix-caching`?"), "{error:?}");
    }

    #[test]
    fn where_the_help_does_not_tell_nothing_is_asked() {
        let silent = llama_cpp::LlamaCpp.build("version: 1 (x)", "  -m, --model FNAME\n");
        assert!(check_flags(&llama_cpp::LlamaCpp, &silent, &suite("llama.cpp", &["--what"])).is_ok());
        assert!(
            check_flags(
                &llama_cpp::LlamaCpp,
                &llama_cpp::LlamaCpp.pinned_build(),
                &suite("llama.cpp", &["--what"])
            )
            .is_ok()
        );
        let build = ik_llama::IkLlama.build("version: 1 (x)", "  --port PORT\n  -mla, --mla-use\n");
        assert!(
            check_flags(&ik_llama::IkLlama, &build, &suite("ik_llama.cpp", &["--what"])).is_ok(),
            "its help is not whole"
        );
    }
}
