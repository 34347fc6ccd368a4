//! A `docker run` command with the engine's official image.
//!
//! Sources: llama.cpp's `docs/docker.md` (images, cards; the image's entrypoint is the server), vLLM's `docs/deployment/docker.md`
//! and `docs/getting_started/installation` (the entrypoint is `vllm serve`), SGLang's `docs/get-started/install` (the command
//! is given). Folders are bound with `--mount`, whose value is a line of CSV: there a path may hold anything.

use super::form::{ServeForm, ServeText};
use super::paths;
use super::served::{Device, Serving};
use crate::record::{Stretch, shell_text, shell_word, stretches};

const FORM: ServeForm = ServeForm::Docker;
/// Where the first folder stands in the container.
const FOLDER: &str = "/models";
/// What gives a container NVIDIA's cards.
const NVIDIA: &[&str] = &["--gpus all"];
/// What gives a container AMD's cards by ROCm; the groups by number, since images do not know the names.
const ROCM: &[&str] = &[
    "--device /dev/kfd",
    "--device /dev/dri",
    "--group-add \"$(getent group video | cut -d: -f3)\"",
    "--group-add \"$(getent group render | cut -d: -f3)\"",
];
/// What PyTorch's processes share their data by.
const SHARED_MEMORY: &str = "--ipc=host";

/// An image, and what `docker run` takes for it.
struct Image {
    name: &'static str,
    flags: Vec<&'static str>,
    /// How many of the server's first arguments are in the image's entrypoint already.
    skip: usize,
    /// What stands before the arguments.
    program: &'static str,
}

pub(super) fn write(serving: &Serving) -> ServeText {
    let image = match image(serving) {
        Ok(image) => image,
        Err(reason) => return ServeText::none(FORM, reason),
    };
    let Some(port) = serving.port() else {
        return ServeText::none(FORM, serving.without_port().unwrap_or_default());
    };
    let (args, mounts) = moved(serving);
    let mut lines = vec!["docker run --rm --init".to_owned()];
    lines.extend(image.flags.iter().map(|&flag| flag.to_owned()));
    // To this machine alone, as without the container.
    lines.push(format!("-p 127.0.0.1:{port}:{port}"));
    lines.extend(mounts.iter().map(|(folder, target)| mount(folder, target)));
    lines.extend(serving.argv.env.iter().filter(|(name, _)| !is_of_loader(name)).map(variable));
    lines.push(image.name.to_owned());
    let words: Vec<String> = args.iter().skip(image.skip).map(|arg| shell_word(arg)).collect();
    let program = if image.program.is_empty() { String::new() } else { format!("{} ", image.program) };
    lines.push(format!("{program}{}", words.join(" ")));
    notes(serving, &args, ServeText::command(FORM, lines.join(" \\\n  ")))
}

/// The official image for what the setting ran on.
fn image(serving: &Serving) -> Result<Image, String> {
    let plain = |name, flags: &[&'static str]| Image { name, flags: flags.to_vec(), skip: 0, program: "" };
    match (serving.engine.as_str(), serving.device) {
        ("llama.cpp", Device::Cpu) => Ok(plain("ghcr.io/ggml-org/llama.cpp:server", &[])),
        ("llama.cpp", Device::Cuda) => Ok(plain("ghcr.io/ggml-org/llama.cpp:server-cuda", NVIDIA)),
        ("llama.cpp", Device::Rocm) => Ok(plain("ghcr.io/ggml-org/llama.cpp:server-rocm", ROCM)),
        ("llama.cpp", Device::Sycl) => Ok(plain("ghcr.io/ggml-org/llama.cpp:server-intel", &["--device /dev/dri"])),
        ("llama.cpp", Device::Vulkan { nvidia: false }) => {
            Ok(plain("ghcr.io/ggml-org/llama.cpp:server-vulkan", &["--device /dev/dri"]))
        }
        // NVIDIA's toolkit brings Vulkan in only with the graphics capability.
        ("llama.cpp", Device::Vulkan { nvidia: true }) => Ok(plain(
            "ghcr.io/ggml-org/llama.cpp:server-vulkan",
            &["--gpus all", "-e NVIDIA_DRIVER_CAPABILITIES=compute,graphics,utility"],
        )),
        ("vllm", device) => {
            let (name, cards): (_, &[&'static str]) = match device {
                Device::Cpu => ("vllm/vllm-openai-cpu:latest-x86_64", &["--cap-add SYS_NICE", "--security-opt seccomp=unconfined"]),
                Device::Cuda => ("vllm/vllm-openai:latest", NVIDIA),
                Device::Rocm => ("vllm/vllm-openai-rocm:latest", ROCM),
                _ => return Err(unknown(serving)),
            };
            let skip = usize::from(serving.argv.args.first().is_some_and(|word| word == "serve"));
            Ok(Image { name, flags: [cards, &[SHARED_MEMORY]].concat(), skip, program: "" })
        }
        ("sglang", Device::Cuda) => {
            let by_module = serving.argv.args.first().is_some_and(|word| word == "-m");
            let program = if by_module { "python3" } else { "sglang" };
            let flags = ["--gpus all", "--shm-size 32g", SHARED_MEMORY].to_vec();
            Ok(Image { name: "lmsysorg/sglang:latest", flags, skip: 0, program })
        }
        ("ik_llama.cpp", _) => Err("ik_llama.cpp publishes no image; the files in its folder `docker` build one".to_owned()),
        ("tabbyapi", _) => Err("TabbyAPI reads all from its configuration file, which would have to be written for the container".to_owned()),
        ("llama.cpp", Device::Metal) => Err("containers on macOS get no card: there the server runs without one".to_owned()),
        _ => Err(unknown(serving)),
    }
}

fn unknown(serving: &Serving) -> String {
    format!("no official image of {} for what this setting ran on is known here", serving.engine)
}

/// What is said of the command.
fn notes(serving: &Serving, args: &[String], written: ServeText) -> ServeText {
    let mut written = match &serving.build {
        Some(build) => written.note(format!(
            "the image holds the newest build; measured was {}",
            build.chars().filter(|c| !c.is_control()).take(40).collect::<String>()
        )),
        None => written,
    };
    if serving.engine == "vllm" && serving.device == Device::Cpu {
        written = written.note("on ARM processors the image's tag is `latest-arm64`");
    }
    let known = paths::places(serving);
    let strange = args.iter().enumerate().filter(|(at, arg)| !known.contains(at) && !paths::is_relative(arg));
    let strange: Vec<String> = strange.map(|(_, arg)| shell_text(arg)).collect();
    if !strange.is_empty() {
        written = written.note(format!(
            "if it is a path, the container does not have it: {}; bind its folder with another --mount",
            strange.join(", ")
        ));
    }
    written
}

/// The arguments with the host that a container needs and paths within it, and the folders that must be bound, each with its
/// place there.
fn moved(serving: &Serving) -> (Vec<String>, Vec<(String, String)>) {
    let mut args = serving.args_with(&[("--host", "0.0.0.0")]);
    let mut mounts: Vec<(String, String)> = Vec::new();
    let mut place = |path: &str| {
        let is_folder =
            serving.engine != "llama.cpp" && !path.ends_with(".gguf") && !path.ends_with(".jinja");
        let (folder, rest) = paths::folder_and_rest(path, is_folder);
        let known = mounts.iter().find(|(bound, _)| bound == folder).map(|(_, target)| target.clone());
        let target = known.unwrap_or_else(|| {
            let target = match mounts.len() {
                0 => FOLDER.to_owned(),
                others => format!("{FOLDER}-{}", others + 1),
            };
            mounts.push((folder.to_owned(), target.clone()));
            target
        });
        if rest.is_empty() { target } else { format!("{target}/{rest}") }
    };
    for at in paths::places(serving) {
        args[at] = place(&args[at]);
    }
    // vLLM's draft model stands within JSON.
    for at in 1..args.len() {
        if args[at - 1] == "--speculative-config"
            && let Ok(mut config) = serde_json::from_str::<serde_json::Value>(&args[at])
            && let Some(draft) = config.get("model").and_then(serde_json::Value::as_str).map(str::to_owned)
        {
            config["model"] = place(&draft).into();
            args[at] = config.to_string();
        }
    }
    (args, mounts)
}

/// The loader's folders are those of the image.
fn is_of_loader(name: &str) -> bool {
    ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"].contains(&name)
}

fn variable((name, value): &(String, String)) -> String {
    format!("-e {name}={}", mid_word(value))
}

/// A text that does not begin its word: a shell expands no `~` there.
fn mid_word(text: &str) -> String {
    let written = stretches(text).into_iter().map(|stretch| match stretch {
        Stretch::Home => "\"$HOME\"/".to_owned(),
        Stretch::Text(text) => shell_text(text),
    });
    written.collect()
}

/// `--mount type=bind,source=..,target=..,readonly`.
fn mount(folder: &str, target: &str) -> String {
    let (base, rest) = match folder.strip_prefix("~/") {
        _ if folder == "~" => ("\"$HOME\"", ""),
        Some(rest) => ("\"$HOME\"/", rest),
        None if folder == "." => ("\"$PWD\"", ""),
        None if folder.starts_with('/') => ("", folder),
        None => ("\"$PWD\"/", folder),
    };
    let (open, close) = if rest.contains([',', '"', '\n', '\r']) { ("\"", "\"") } else { ("", "") };
    let before = format!("type=bind,{open}source=");
    let after = format!("{}{close},target={target},readonly", rest.replace('"', "\"\""));
    match base {
        "" => format!("--mount {}", shell_text(&format!("{before}{after}"))),
        _ => format!("--mount {}{base}{}", shell_text(&before), shell_text(&after)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::serving::served::tests::{HOSTILE, served, shell_words};

    /// The fields of a line of CSV.
    fn fields(line: &str) -> Vec<String> {
        let (mut fields, mut quoted) = (vec![String::new()], false);
        let mut rest = line.chars().peekable();
        while let Some(c) = rest.next() {
            let field = fields.last_mut().unwrap();
            match c {
                '"' if quoted && rest.peek() == Some(&'"') => field.push(rest.next().unwrap()),
                '"' => quoted = !quoted,
                ',' if !quoted => fields.push(String::new()),
                c => field.push(c),
            }
        }
        fields
    }

    fn text(serving: &Serving) -> String {
        write(serving).text.unwrap()
    }

    #[test]
    fn a_plain_setting_reads_well() {
        let mut serving =
            served(&["-m", "~/models/m.gguf", "--host", "127.0.0.1", "--port", "8080", "-c", "4096"]);
        serving.device = Device::Cuda;
        serving.argv.env = vec![("LD_LIBRARY_PATH".into(), "/opt/lib".into()), ("A".into(), "b c".into())];
        insta::assert_snapshot!(text(&serving));
    }

    #[test]
    fn every_folder_and_word_comes_through() {
        for hostile in HOSTILE.iter().filter(|word| !word.is_empty()) {
            for path in [
                format!("/{hostile}/{hostile}.gguf"),
                format!("~/{hostile}/m.gguf"),
                format!("{hostile}/m.gguf"),
            ] {
                let mut serving = served(&["-m", &path, "--port", "8080", "--alias", hostile]);
                serving.argv.env = vec![("NAME".into(), (*hostile).into())];
                let words = shell_words(&text(&serving));
                let bound = words.iter().position(|word| word == "--mount").unwrap() + 1;
                let fields = fields(&words[bound]);
                let home = "/home/a b";
                let whole = match path.strip_prefix("~/") {
                    // A folder called `~` is the home folder to whoever reads a command.
                    Some(rest) => format!("{home}/{rest}"),
                    None if path.starts_with('/') => path.clone(),
                    None => format!("//{path}"),
                };
                let (folder, file) = whole.rsplit_once('/').unwrap();
                assert_eq!(fields[..2], ["type=bind".to_owned(), format!("source={folder}")], "{path}");
                assert_eq!(fields[2..], ["target=/models", "readonly"]);
                let at = words.iter().position(|word| word == "-m").unwrap();
                assert_eq!(words[at + 1], format!("/models/{file}"));
                assert_eq!(words.last().unwrap(), hostile);
                assert!(words.contains(&format!("NAME={hostile}")));
            }
        }
    }

    #[test]
    fn models_of_one_folder_share_it() {
        let serving = served(&[
            "-m",
            "/a/m.gguf",
            "-md",
            "/a/d.gguf",
            "--mmproj",
            "/b/p.gguf",
            "--port",
            "8080",
            "--x",
            "/y",
        ]);
        let text = text(&serving);
        assert_eq!(text.matches("--mount").count(), 2, "{text}");
        assert!(text.contains("-m /models/m.gguf -md /models/d.gguf --mmproj /models-2/p.gguf"), "{text}");
        let notes = write(&serving).notes;
        assert!(notes.iter().any(|note| note.contains("/y") && !note.contains("/a")), "{notes:?}");
    }

    #[test]
    fn engines_have_their_images_and_cards() {
        let with = |engine: &str, device, args: &[&str]| {
            let mut serving = served(args);
            engine.clone_into(&mut serving.engine);
            serving.device = device;
            write(&serving).text
        };
        let llama = |device| with("llama.cpp", device, &["-m", "m.gguf", "--port", "1"]).unwrap();
        let cpu = llama(Device::Cpu);
        assert!(cpu.contains("llama.cpp:server \\") && !cpu.contains("--gpus"), "{cpu}");
        assert!(cpu.contains("--mount type=bind,source=\"$PWD\",target=/models,readonly"), "{cpu}");
        assert!(llama(Device::Vulkan { nvidia: false }).contains("--device /dev/dri \\"));
        assert!(llama(Device::Rocm).contains("llama.cpp:server-rocm"));
        let config = r#"{"method":"draft_model","model":"~/d"}"#;
        let vllm = ["serve", "~/m", "--port", "8000", "--speculative-config", config];
        let vllm = with("vllm", Device::Cuda, &vllm).unwrap();
        assert!(
            vllm.contains("--gpus all") && vllm.contains("vllm/vllm-openai:latest \\\n  /models --port 8000"),
            "{vllm}"
        );
        assert!(vllm.contains(r#"'{"method":"draft_model","model":"/models-2"}'"#), "{vllm}");
        let sglang = with("sglang", Device::Cuda, &["serve", "--model-path", "/m", "--port", "1"]).unwrap();
        assert!(
            sglang.contains("lmsysorg/sglang:latest \\\n  sglang serve --model-path /models"),
            "{sglang}"
        );
        for (engine, device) in
            [("sglang", Device::Cpu), ("ik_llama.cpp", Device::Cpu), ("llama.cpp", Device::Metal)]
        {
            assert_eq!(with(engine, device, &["--port", "1"]), None, "{engine}");
        }
    }
}
