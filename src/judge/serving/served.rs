//! What is served: a command line to serve with, and what of the setting and the machine the forms need beside it.

use crate::record::journal::{Header, LaunchRecord};
use crate::record::suite::Setting;
use crate::record::{Argv, Effective, GpuCard, Machine, Placement};

/// Longest name made of a label (characters).
const LONGEST_NAME: usize = 64;

/// A setting that is to be served.
#[derive(Debug, Clone, PartialEq)]
pub struct Serving {
    /// Engine, as suites name it.
    pub engine: String,
    /// A name for it: letters, digits, dots, dashes and underscores alone.
    pub name: String,
    /// The setting.
    pub setting: Setting,
    /// Context length of a request (tokens).
    pub context: u32,
    /// The command line to serve with; the home folder is written `~`, keys are masked.
    pub argv: Argv,
    /// Arguments of the command line that are the suite's and the setting's own, as they are; they stand at its end.
    pub users: Vec<String>,
    /// What it computed on.
    pub device: Device,
    /// Build that was measured, as it named itself.
    pub build: Option<String>,
}

/// What a server computes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Processors.
    Cpu,
    /// NVIDIA's cards, by CUDA.
    Cuda,
    /// AMD's cards, by ROCm.
    Rocm,
    /// Intel's cards, by SYCL.
    Sycl,
    /// Apple's chips, by Metal.
    Metal,
    /// Cards of any maker, by Vulkan.
    Vulkan {
        /// Whether they are NVIDIA's.
        nvidia: bool,
    },
    /// Cards, nobody knows which.
    Unknown,
}

impl Serving {
    /// What a launch of a setting ran, to be served with this command line, of whose arguments the last `users` are the user's.
    #[must_use]
    pub fn of(
        header: &Header,
        launch: &LaunchRecord,
        setting: &Setting,
        context: u32,
        argv: Argv,
        users: usize,
    ) -> Self {
        let engine = header.suite.engine.name.clone();
        let argv = argv.without_keys();
        let at = argv.args.len().saturating_sub(users);
        Self {
            device: Device::of(&header.machine, Placement::of(&header.engines, &engine), &launch.effective),
            engine,
            name: name_of(setting),
            setting: setting.clone(),
            context,
            users: argv.args[at..].to_vec(),
            argv,
            build: launch.effective.build.clone(),
        }
    }

    /// The values of a flag, `--flag value` and `--flag=value`, in order.
    pub(super) fn values<'a>(&'a self, flag: &'a str) -> impl Iterator<Item = &'a str> {
        let args = &self.argv.args;
        args.iter().enumerate().filter_map(move |(at, arg)| match arg.strip_prefix(flag)? {
            "" => args.get(at + 1).map(String::as_str),
            rest => rest.strip_prefix('='),
        })
    }

    /// The port that it listens on, where its arguments say so.
    pub(super) fn port(&self) -> Option<u16> {
        self.values("--port").last()?.parse().ok()
    }

    /// The arguments with other values for some flags, wherever they stand.
    pub(super) fn args_with(&self, flags: &[(&str, &str)]) -> Vec<String> {
        let mut args = self.argv.args.clone();
        for (flag, value) in flags {
            for at in 0..args.len() {
                if args[at] == *flag && at + 1 < args.len() {
                    (*value).clone_into(&mut args[at + 1]);
                } else if args[at].strip_prefix(flag).is_some_and(|rest| rest.starts_with('=')) {
                    args[at] = format!("{flag}={value}");
                }
            }
        }
        args
    }

    /// Why nobody can give it another port.
    pub(super) fn without_port(&self) -> Option<String> {
        let where_it_is = match self.reads_file() {
            true => ": its configuration file says that and all else",
            false => "",
        };
        self.port().is_none().then(|| format!("{} has no port on its command line{where_it_is}", self.engine))
    }

    /// Whether a configuration file says all of it.
    pub(super) fn reads_file(&self) -> bool {
        self.values("--config").next().is_some()
    }
}

impl Device {
    fn of(machine: &Machine, placement: Placement, effective: &Effective) -> Self {
        let named = |maker: &str| {
            let cards = machine.cards.iter().map(|card: &GpuCard| &card.name);
            cards.chain(&machine.gpus).any(|name| name.to_ascii_lowercase().contains(maker))
        };
        // Drivers of NVIDIA's cards leave the maker out of some names.
        let nvidia = named("nvidia") || named("geforce") || named("tesla") || named("rtx");
        if let Some(backend) = &effective.gpu_backend {
            return match backend.as_str() {
                "CUDA" => Self::Cuda,
                "ROCm" | "HIP" => Self::Rocm,
                "SYCL" => Self::Sycl,
                "Metal" | "MTL" => Self::Metal,
                "Vulkan" => Self::Vulkan { nvidia },
                _ => Self::Unknown,
            };
        }
        let on_cards = match placement {
            Placement::Cards => !machine.gpus.is_empty(),
            Placement::Logged => effective.model_gpu_bytes.is_some_and(|bytes| bytes > 0),
            Placement::Unknown => effective.model_gpu_bytes.is_some_and(|bytes| bytes > 0),
        };
        match on_cards {
            false => Self::Cpu,
            true if nvidia => Self::Cuda,
            true if named("amd") || named("radeon") => Self::Rocm,
            true if named("intel") => Self::Sycl,
            true if named("apple") => Self::Metal,
            true => Self::Unknown,
        }
    }
}

/// `SmolLM2-135M-Instruct-Q4_1-kv-q8_0`: what files, services and models of other programs may be called.
fn name_of(setting: &Setting) -> String {
    let whole = match setting.label.contains(&setting.model) {
        true => setting.label.clone(),
        false => format!("{} {}", setting.model, setting.label),
    };
    let mut name = String::new();
    for c in whole.chars().take(LONGEST_NAME) {
        match c {
            c if c.is_ascii_alphanumeric() || "._".contains(c) => name.push(c),
            _ if name.ends_with('-') => {}
            _ => name.push('-'),
        }
    }
    let name = name.trim_matches(['-', '.', '_']);
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::suite::FlashAttention;

    /// llama-server on a processor.
    pub(in crate::judge::serving) fn served(args: &[&str]) -> Serving {
        let setting = Setting {
            label: "Q4_1 kv=q8_0".into(),
            engine: "llama.cpp".into(),
            model: "SmolLM2".into(),
            weights: "Q4_1".into(),
            k: "q8_0".into(),
            v: "q8_0".into(),
            speculation: "off".into(),
            flash_attention: FlashAttention::On,
            draft: None,
            options: BTreeMap::new(),
            extra_args: Vec::new(),
            sampling: None,
        };
        Serving {
            engine: "llama.cpp".into(),
            name: name_of(&setting),
            setting,
            context: 4096,
            argv: Argv {
                program: "/opt/llama/llama-server".into(),
                args: args.iter().map(|&arg| arg.to_owned()).collect(),
                env: Vec::new(),
            },
            users: Vec::new(),
            device: Device::Cpu,
            build: None,
        }
    }

    /// The words of a command line as a shell reads them, its program left out.
    pub(in crate::judge::serving) fn shell_words(command: &str) -> Vec<String> {
        let program = command.split(' ').next().unwrap();
        let script = format!(
            "kneepoint() {{ for word; do printf '%s\\0' \"$word\"; done; }}\nkneepoint{}\n",
            &command[program.len()..]
        );
        let shell = std::process::Command::new("sh")
            .args(["-c", &script])
            .env("HOME", "/home/a b")
            .current_dir("/")
            .output();
        let out = shell.unwrap();
        assert!(out.status.success(), "{command}\n{}", String::from_utf8_lossy(&out.stderr));
        let text = String::from_utf8(out.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    /// Words that any file name may be, and that mean something to somebody.
    pub(in crate::judge::serving) const HOSTILE: &[&str] = &[
        "a b",
        "it's",
        "say \"so\"",
        "50%",
        "%h",
        "%%",
        "$HOME",
        "${HOME}",
        "${PORT}",
        "${env.HOME}",
        "$$",
        "$(id)",
        "`id`",
        "{{ x }}",
        "back\\slash",
        "ends\\",
        "a;b",
        ";",
        "#c",
        "two\nlines",
        "line\n#comment",
        "line\\\nmore",
        "tab\there",
        "",
        "~",
        "*",
        "ünï",
        "a,b",
        "'",
        "\"",
        "bell\u{7}",
    ];

    #[test]
    fn names_are_harmless() {
        let mut setting = served(&[]).setting;
        assert_eq!(name_of(&setting), "SmolLM2-Q4_1-kv-q8_0");
        for hostile in HOSTILE {
            (*hostile).clone_into(&mut setting.model);
            setting.label = format!("{hostile} {hostile}");
            let name = name_of(&setting);
            assert!(!name.is_empty() && name.len() <= LONGEST_NAME, "{name}");
            assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c)), "{name}");
            assert!(!name.starts_with(['-', '.']), "{name}");
        }
    }

    #[test]
    fn the_last_port_counts_and_all_are_replaced() {
        let serving = served(&["--port", "8080", "-c", "1", "--port=9000"]);
        assert_eq!(serving.port(), Some(9000));
        assert_eq!(serving.args_with(&[("--port", "1")]), ["--port", "1", "-c", "1", "--port=1"]);
        assert!(served(&["--config", "x"]).without_port().unwrap().contains("configuration file"));
    }

    #[test]
    fn what_it_computed_on_is_what_its_log_says() {
        let machine = |gpu: &str| Machine { gpus: vec![gpu.into()], ..Machine::default() };
        let log = |backend: Option<&str>, bytes| Effective {
            gpu_backend: backend.map(str::to_owned),
            model_gpu_bytes: bytes,
            ..Effective::default()
        };
        let of = |gpu: &str, placement, effective| Device::of(&machine(gpu), placement, &effective);
        assert_eq!(of("NVIDIA H200", Placement::Logged, log(None, None)), Device::Cpu, "it was not used");
        assert_eq!(of("NVIDIA H200", Placement::Logged, log(None, Some(1))), Device::Cuda);
        assert_eq!(
            of("NVIDIA H200", Placement::Logged, log(Some("Vulkan"), Some(1))),
            Device::Vulkan { nvidia: true }
        );
        assert_eq!(of("AMD Radeon 780M", Placement::Unknown, log(None, Some(1))), Device::Rocm);
        assert_eq!(of("NVIDIA H200", Placement::Cards, log(None, None)), Device::Cuda);
        assert_eq!(Device::of(&Machine::default(), Placement::Cards, &log(None, None)), Device::Cpu);
    }
}
