//! The table of engines: a new one is its folder and a line here.

use super::definition::Engine;
use super::launch::serving;
use crate::record::Argv;

/// Every engine that kneepoint knows.
pub static ENGINES: &[&dyn Engine] = &[
    &super::llama_cpp::LlamaCpp,
    &super::ik_llama::IkLlama,
    &super::vllm::Vllm,
    &super::sglang::Sglang,
    &super::tabbyapi::TabbyApi,
    &super::openai::OpenAi,
];

/// Returns the engine of that name.
pub fn find(name: &str) -> Option<&'static dyn Engine> {
    ENGINES.iter().copied().find(|engine| engine.name() == name)
}

/// As [`serving`], by the engine's name; the same command for an engine that is not known.
#[must_use]
pub fn to_serve(engine: &str, argv: &Argv, own: usize) -> Argv {
    find(engine).map_or_else(|| argv.clone(), |engine| serving(engine.card(), argv, own))
}

#[cfg(test)]
mod tests {
    use super::super::card::{ModelForm, check_form};
    use super::super::{ik_llama, llama_cpp, sglang, vllm};
    use super::*;

    /// Servers of all others were started and asked.
    #[test]
    fn only_what_was_never_run_is_experimental() {
        let experimental = ENGINES.iter().filter(|engine| engine.card().experimental);
        assert_eq!(experimental.map(|engine| engine.name()).collect::<Vec<_>>(), ["tabbyapi"]);
    }

    #[test]
    fn a_folder_is_for_engines_that_read_folders() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.gguf");
        std::fs::write(&file, "GGUF").unwrap();
        for engine in ENGINES {
            let reads_files = engine.card().model_form != ModelForm::Folder;
            assert_eq!(check_form(engine.card(), &file).is_ok(), reads_files, "{}", engine.name());
            let reads_folders = engine.card().model_form != ModelForm::File;
            assert_eq!(check_form(engine.card(), folder.path()).is_ok(), reads_folders, "{}", engine.name());
        }
    }

    #[test]
    fn a_command_to_serve_with_keeps_what_the_user_wants() {
        let args = "-m ~/m.gguf --host 127.0.0.1 --port 39123 -c 4096 -np 1 -fa on --cache-ram 0 --fit off --jinja \
                    --metrics --slots --no-ui --log-verbosity 4";
        let users = "-np 1 --cache-ram 0 --port 9000";
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let (own, all) = (words(args).len(), words(&format!("{args} {users}")));
        let argv = Argv { program: "llama-server".into(), args: all, env: Vec::new() };
        let served = serving(llama_cpp::LlamaCpp.card(), &argv, own);
        assert_eq!(
            served.args.join(" "),
            format!("-m ~/m.gguf --host 127.0.0.1 --port 8080 -c 4096 -fa on --fit off --jinja {users}")
        );
        let slots = Argv { args: words("-np 4 --port 1"), ..argv };
        assert_eq!(serving(llama_cpp::LlamaCpp.card(), &slots, 4).args.join(" "), "-np 4 --port 8080");
    }

    /// What every engine's own builder puts there to measure is not in the command to serve with.
    #[test]
    fn no_engine_serves_as_it_is_measured() {
        let vllm = "serve /m --port 1 --max-model-len 4096 --enable-prefix-caching --max-logprobs 1024 \
                    --generation-config vllm --enable-prompt-tokens-details --enable-per-request-metrics \
                    --per-request-spec-decode-metrics summary";
        let sglang = "serve --model-path /m --port 1 --context-length 4096 --enable-cache-report --enable-metrics \
                      --sampling-defaults openai";
        let ik =
            "-m /m --port 1 -c 4096 -np 1 --no-context-shift --cache-ram 0 --jinja --metrics --webui none";
        for (engine, command, served) in [
            (
                &vllm::Vllm as &dyn Engine,
                vllm,
                "serve /m --port 8080 --max-model-len 4096 --enable-prefix-caching",
            ),
            (&sglang::Sglang, sglang, "serve --model-path /m --port 8080 --context-length 4096"),
            (&ik_llama::IkLlama, ik, "-m /m --port 8080 -c 4096 --no-context-shift --jinja"),
        ] {
            let args: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
            let argv = Argv { program: "server".into(), args, env: Vec::new() };
            assert_eq!(
                serving(engine.card(), &argv, argv.args.len()).args.join(" "),
                served,
                "{}",
                engine.name()
            );
        }
    }
}
