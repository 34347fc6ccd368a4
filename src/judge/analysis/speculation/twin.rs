//! The setting that is the same but for speculation.

use crate::record::suite::{Setting, is_of_speculation_alone};

/// Beginnings of flags that are about speculation alone.
const FLAGS: &[&str] = &["--spec-", "--draft", "--speculative-", "--model-draft", "--cache-type-k-draft"];
/// Such flags that are written short, and others that no beginning tells.
const SHORT: &[&str] =
    &["-md", "-ctkd", "-ctvd", "-ngld", "-devd", "-cd", "-td", "-tbd", "--cache-type-v-draft"];

/// The setting that differs from this one only in speculation, and does not speculate itself.
pub(super) fn of<'s>(setting: &Setting, settings: &'s [Setting]) -> Option<&'s Setting> {
    let wanted = bare(setting);
    settings.iter().find(|other| !other.speculates() && bare(other) == wanted)
}

/// A setting without its name and everything that is about speculation.
fn bare(setting: &Setting) -> Setting {
    let mut bare = setting.clone();
    bare.label = String::new();
    bare.speculation = "off".to_owned();
    bare.draft = None;
    bare.options.retain(|name, _| !is_of_speculation_alone(name));
    bare.extra_args = without_speculation(&setting.extra_args);
    bare
}

/// Arguments without those of speculation and their values.
fn without_speculation(args: &[String]) -> Vec<String> {
    let mut kept = Vec::new();
    let mut dropping = false;
    for arg in args {
        let is_flag = arg.starts_with('-') && arg.parse::<f64>().is_err();
        dropping = if is_flag { is_of_speculation(arg) } else { dropping };
        if !dropping {
            kept.push(arg.clone());
        }
    }
    kept
}

fn is_of_speculation(flag: &str) -> bool {
    let name = flag.split('=').next().unwrap_or(flag);
    SHORT.contains(&name) || FLAGS.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(text: &str) -> Vec<Setting> {
        let text = format!(
            "name = \"t\"\ncontexts = [512]\n[[model]]\nname = \"m\"\npath = \"m.gguf\"\nweights = \"Q8_0\"\n\
             [reference]\n{text}\n[[task]]\nname = \"coherence/kld\"\nsamples = 1\n"
        );
        crate::suite::parse(&text, Path::new("t.toml"), &[]).unwrap().settings
    }

    fn twin_of(last: &str) -> Option<String> {
        let all = settings(&format!("[[setting]]\nkv = \"q8_0\"\n[[setting]]\n{last}"));
        of(all.last().unwrap(), &all).map(|setting| setting.label.clone())
    }

    #[test]
    fn the_twin_differs_in_nothing_else() {
        assert_eq!(twin_of("speculation = \"ngram-simple\"").as_deref(), Some("Q8_0 kv=f16"));
        assert_eq!(twin_of("speculation = \"ngram-simple\"\nkv = \"q8_0\"").as_deref(), Some("Q8_0 kv=q8_0"));
        assert_eq!(twin_of("speculation = \"ngram-simple\"\nkv = \"q4_0\""), None);
        let drafted = "speculation = \"draft-simple\"\n\
                       extra_args = [\"-md\", \"d.gguf\", \"--spec-draft-n-max\", \"4\"]";
        assert_eq!(twin_of(drafted).as_deref(), Some("Q8_0 kv=f16"));
        let batched = "speculation = \"ngram-mod\"\n\
                       extra_args = [\"--spec-ngram-mod-n-match\", \"4\", \"-ub\", \"128\"]";
        assert_eq!(twin_of(batched), None, "the micro-batch differs, too");
        let named = "speculation = \"draft-simple\"\ndraft = \"m\"\n[setting.options]\ndraft_max = 4";
        assert_eq!(twin_of(named).as_deref(), Some("Q8_0 kv=f16"));
        assert_eq!(twin_of(&format!("{named}\nubatch = 128")), None);
    }

    #[test]
    fn values_go_with_their_flags() {
        let args =
            ["-ub", "128", "-md", "a b.gguf", "--spec-type=x", "--draft-p-min", "-0.5", "--temp", "-1"];
        let args: Vec<String> = args.map(str::to_owned).to_vec();
        assert_eq!(without_speculation(&args), ["-ub", "128", "--temp", "-1"]);
    }
}
