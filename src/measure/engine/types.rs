//! Types of KV caches and of speculation: what the binary's help lists decides; the engine's own list is for binaries that
//! list none, or that cannot be asked.

use super::card::EngineCard;
use super::definition::Engine;
use super::option::{OptionKind, may_be_type};
use crate::error::{Error, Result, nearest};
use crate::record::Build;
use crate::record::suite::Setting;

/// Checks that a binary has the types of every setting, before anything is fetched for them. (An option that has no flag is
/// no mistake: its cells are unsupported, and the run goes on.)
///
/// # Errors
/// A usage error that names the setting, the nearest type and all that there are.
pub fn check_types(engine: &dyn Engine, build: &Build, settings: &[Setting]) -> Result<()> {
    let card = engine.card();
    let caches = listed(&build.cache_types, card.cache_types);
    let mut speculation = listed(&build.speculation, card.speculation_types);
    speculation.push("off");
    for setting in settings {
        let of_draft = card.options.iter().filter(|option| matches!(option.kind, OptionKind::CacheType(_)));
        let of_draft =
            of_draft.filter_map(|option| Some(("type of cache", setting.options.get(option.name)?)));
        let sides = [("type of K cache", &setting.k), ("type of V cache", &setting.v)];
        for (what, name) in sides.into_iter().chain(of_draft) {
            one_of(card, build, setting, what, name, &caches, !build.cache_types.is_empty())?;
        }
        for name in setting.speculation.split(',') {
            let asked = !build.speculation.is_empty();
            one_of(card, build, setting, "speculation type", name, &speculation, asked)?;
        }
    }
    Ok(())
}

/// What the binary lists, else what the engine is known to have.
fn listed<'a>(build: &'a [String], card: &[&'a str]) -> Vec<&'a str> {
    match build {
        [] => card.to_vec(),
        listed => listed.iter().map(String::as_str).collect(),
    }
}

fn one_of(
    card: &EngineCard,
    build: &Build,
    setting: &Setting,
    what: &str,
    name: &str,
    known: &[&str],
    asked: bool,
) -> Result<()> {
    if known.contains(&name) {
        return Ok(());
    }
    let message = format!("this server of {} ({}) has no {what} `{name}`", card.name, build.version);
    let error = Error::usage(message).hint(format!("the setting {} asks for it", setting.label));
    let error = match nearest(name, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error,
    };
    let source = if asked { "its help lists" } else { "its help lists none; known are" };
    Err(error.hint(format!("{source} {}", known.join(", "))))
}

/// The setting with types that the engine is known to have in place of those that only its binary knows: the engine's rules
/// for a setting are about those. A type of a fork counts as a quantised cache, or as speculation of an ordinary kind.
#[must_use]
pub fn with_known_types(card: &EngineCard, setting: &Setting) -> Setting {
    let cache = |name: &String| match card.cache_types.contains(&name.as_str()) {
        true => name.clone(),
        false => card.cache_types.last().map_or_else(|| name.clone(), |&last| last.to_owned()),
    };
    let usual = match setting.draft {
        Some(_) => card.draft_types.first(),
        None => card.speculation_types.iter().find(|name| **name != "off" && !card.takes_draft(name)),
    };
    let speculation = |name: &str| match (card.speculation_types.contains(&name), usual) {
        (false, Some(usual)) => (*usual).to_owned(),
        _ => name.to_owned(),
    };
    let kinds: Vec<String> = setting.speculation.split(',').map(speculation).collect();
    Setting { k: cache(&setting.k), v: cache(&setting.v), speculation: kinds.join(","), ..setting.clone() }
}

/// The types that a help text of llama.cpp's form lists for a flag: the words behind `allowed values:`, which may go on
/// over lines, up to a bracket or the next flag.
pub(super) fn allowed_values(help: &str, flag: &str) -> Vec<String> {
    let defines = |line: &str| {
        let mut words = line.split_whitespace().take_while(|word| word.starts_with('-'));
        words.any(|word| word.trim_end_matches(',') == flag)
    };
    let mut lines = help.lines().skip_while(|line| !defines(line));
    lines.next();
    let description: Vec<&str> = lines.take_while(|line| !line.trim_start().starts_with('-')).collect();
    let text = description.join(" ");
    let list = text.split_once("allowed values:").map_or("", |(_, list)| list);
    let list = list.split(['(', '[']).next().unwrap_or_default();
    let names = list.split(|c: char| c == ',' || c.is_whitespace()).filter(|name| !name.is_empty());
    names.map(str::to_owned).filter(|name| may_be_type(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::engine::{ik_llama, llama_cpp};

    const HELP: &str = "\
-ctk,  --cache-type-k TYPE              KV cache data type for K
                                        allowed values: f32, f16, bf16, q8_0, q4_0, q4_1, iq4_nl, q5_0, q5_1,
                                        tbq3_0, turbo4
                                        (default: f16)
                                        (env: LLAMA_ARG_CACHE_TYPE_K)
-ctv,  --cache-type-v TYPE              KV cache data type for V
                                        allowed values: f16, q8_0
--spec-type none,draft-simple,ngram-mod,quokka
                                        comma-separated list of types of speculative decoding to use (default:
                                        none)
  -m, --model FNAME
";

    fn setting(k: &str, speculation: &str) -> Setting {
        let text = format!(
            "name = \"t\"\ncontexts = [512]\n[engine]\nbinary = \"x\"\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
             [reference]\nk = \"{k}\"\nspeculation = \"{speculation}\"\n[[task]]\nname = \"serving/speed\"\nsamples = 1\n"
        );
        let suite = crate::suite::parse(&text, std::path::Path::new("t.toml"), &[]).unwrap();
        suite.settings[0].clone()
    }

    #[test]
    fn what_the_help_lists_is_read_over_lines() {
        let build = llama_cpp::LlamaCpp.build("version: 1 (x)", HELP);
        for name in ["f16", "tbq3_0", "turbo4"] {
            assert!(build.cache_types.iter().any(|known| known == name), "{name}: {:?}", build.cache_types);
        }
        assert_eq!(build.cache_types.len(), 11, "{:?}", build.cache_types);
        assert!(build.speculation.iter().any(|known| known == "quokka"));
        assert!(allowed_values("--cache-type-k TYPE  KV cache\n", "--cache-type-k").is_empty());
    }

    #[test]
    fn a_type_that_only_the_binary_knows_runs_and_another_is_refused() {
        let build = llama_cpp::LlamaCpp.build("version: 1 (x)", HELP);
        let check = |k: &str, speculation: &str| {
            check_types(&llama_cpp::LlamaCpp, &build, &[setting(k, speculation)])
        };
        assert!(check("tbq3_0", "off").is_ok() && check("f16", "quokka").is_ok());
        let error = check("tbq4_0", "off").unwrap_err();
        assert!(error.to_string().contains("has no type of K cache `tbq4_0`"), "{error}");
        let hints = error.hints().join("\n");
        assert!(
            hints.contains("did you mean `tbq3_0`?") && hints.contains("its help lists f32, f16"),
            "{hints}"
        );
        let error = check("f16", "ngram-cache").unwrap_err();
        assert!(error.hints().join("\n").contains("ngram-mod"), "known to us, not to this build: {error:?}");
        // One that lists nothing has what is known of its engine.
        let silent = Build::default();
        assert!(check_types(&ik_llama::IkLlama, &silent, &[setting("q8_0", "off")]).is_ok());
        let error = check_types(&ik_llama::IkLlama, &silent, &[setting("q8_KVV", "off")]).unwrap_err();
        assert!(error.hints().join("\n").contains("its help lists none; known are"), "{error:?}");
    }

    #[test]
    fn the_rules_of_an_engine_hold_for_types_of_forks() {
        let card = llama_cpp::LlamaCpp.card();
        let known = with_known_types(card, &setting("tbq3_0", "quokka"));
        assert!(
            card.cache_types.contains(&known.k.as_str())
                && card.speculation_types.contains(&known.speculation.as_str())
        );
        assert_eq!(with_known_types(card, &setting("q8_0", "off")), setting("q8_0", "off"));
    }

    #[test]
    fn names_that_are_none_are_not_passed_on() {
        for bad in ["", "-x", "a b", "a;b", "$(x)", "a/b", "ü", &"x".repeat(41)] {
            assert!(!may_be_type(bad), "{bad}");
        }
        assert!(["q8_KV", "tbq3_0", "turbo4", "fp8-e5m2"].iter().all(|name| may_be_type(name)));
    }
}
