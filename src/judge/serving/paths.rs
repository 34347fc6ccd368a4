//! Which arguments of a server are paths.

use super::served::Serving;

/// Flags whose value is a file or folder that a server reads.
const FLAGS: &[&str] = &[
    "-m",
    "--model",
    "-md",
    "--model-draft",
    "--spec-draft-model",
    "-mm",
    "--mmproj",
    "--chat-template-file",
    "--lora",
    "--grammar-file",
    "-jf",
    "--json-schema-file",
    "-lcs",
    "--lookup-cache-static",
    "--api-key-file",
    "--model-path",
    "--speculative-draft-model-path",
    "--tokenizer",
    "--tokenizer-path",
];

/// Flags whose value is a model: always a path, also one without a slash.
const MODELS: &[&str] = &[
    "-m",
    "--model",
    "-md",
    "--model-draft",
    "--spec-draft-model",
    "--model-path",
    "--speculative-draft-model-path",
];

/// Places of the arguments that are paths as a whole, in order.
pub(super) fn places(serving: &Serving) -> Vec<usize> {
    let args = &serving.argv.args;
    let is_path = |at: usize| {
        let before = at.checked_sub(1).map_or("", |before| args[before].as_str());
        let model = MODELS.contains(&before) || is_vllms_model(serving, at);
        model || (FLAGS.contains(&before) && args[at].contains('/'))
    };
    (0..args.len()).filter(|&at| is_path(at)).collect()
}

/// `vllm serve MODEL`.
fn is_vllms_model(serving: &Serving, at: usize) -> bool {
    serving.engine == "vllm" && at == 1 && serving.argv.args[0] == "serve"
}

/// What of a path is a folder to be shared with a container, and what is named within it.
pub(super) fn folder_and_rest(path: &str, is_folder: bool) -> (&str, &str) {
    match path.rsplit_once('/') {
        _ if is_folder => (path.trim_end_matches('/'), ""),
        Some(("", file)) => ("/", file),
        Some((folder, file)) => (folder, file),
        None => (".", path),
    }
}

/// Whether a path is one of this machine alone: relative to the folder where the run was started.
pub(super) fn is_relative(path: &str) -> bool {
    !path.starts_with('/') && !path.starts_with("~/")
}

/// Whether a path lies in kneepoint's cache, by the names of its folders.
pub(super) fn is_cached(path: &str) -> bool {
    ["packages", "downloads", "derived", "hub"]
        .iter()
        .any(|part| path.contains(&format!("/kneepoint/{part}/")))
}

/// What must be known of the files that its command names.
#[must_use]
pub fn about_files(serving: &Serving) -> Option<String> {
    let program = serving.argv.program.to_string_lossy();
    let named = places(serving).into_iter().map(|at| serving.argv.args[at].as_str());
    let named: Vec<&str> = std::iter::once(program.as_ref()).chain(named).collect();
    if serving.reads_file() && serving.port().is_none() {
        return Some(
            "the command names a configuration file of the run: the port stands in it, and is a random one"
                .to_owned(),
        );
    }
    let cached = named.iter().any(|path| is_cached(path));
    let relative = named[1..].iter().any(|path| is_relative(path));
    let about = match (cached, relative) {
        (true, false) => {
            "the command names files in kneepoint's cache, which may be emptied: keep copies elsewhere, and name those"
        }
        (false, true) => "the command names files by paths that begin where the run was started",
        (true, true) => {
            "the command names files in kneepoint's cache, which may be emptied, and files by paths that begin where the run \
                 was started: keep copies elsewhere, and name those"
        }
        (false, false) => return None,
    };
    Some(about.to_owned())
}
