//! The end of a server's log, and what it may mean.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

use crate::error::{Error, Kind};

/// Lines of the log that an error shows.
pub(super) const TAIL_LINES: usize = 15;
/// Characters of a log line that are shown.
const LINE_CHARS: usize = 300;
/// The last lines of a log file, control characters escaped, long lines cut; empty when it cannot be read.
pub fn log_tail(path: &Path, lines: usize) -> String {
    let tail_bytes = 64 << 10;
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(tail_bytes)))?;
        file.take(tail_bytes).read_to_end(&mut bytes)
    });
    match read {
        Ok(_) => printable_tail(&String::from_utf8_lossy(&bytes), lines),
        Err(_) => String::new(),
    }
}

pub(super) fn printable_tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| printable(line)).collect::<Vec<_>>().join("\n")
}

/// A line without anything that a terminal would act on.
pub(super) fn printable(line: &str) -> String {
    let mut shown = String::new();
    for (at, c) in line.chars().enumerate() {
        match c {
            _ if at == LINE_CHARS => {
                shown.push_str("..");
                break;
            }
            '\t' => shown.push(' '),
            c if crate::console::is_unsafe(c) => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

pub(super) fn engine_start(message: impl Into<String>) -> Error {
    Error::new(Kind::EngineStart, message)
}

pub(super) fn cannot_run(program: &Path, source: std::io::Error) -> Error {
    let hint = match source.kind() {
        std::io::ErrorKind::NotFound => "the file is not there (or its loader is not): check `engine.binary`",
        std::io::ErrorKind::PermissionDenied => "it has no run bit: `chmod +x` it",
        _ => "is it a program for this machine?",
    };
    engine_start(format!("cannot run {}", program.display())).with_source(source).hint(hint)
}

pub(super) fn exit_words(status: ExitStatus) -> String {
    match (signal_of(status), status.code()) {
        (Some(signal), _) => format!("killed by {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => "unknown end".to_owned(),
    }
}

#[cfg(unix)]
pub(super) fn signal_of(status: ExitStatus) -> Option<Signal> {
    use std::os::unix::process::ExitStatusExt;
    status.signal().and_then(|number| Signal::try_from(number).ok())
}

/// What servers say when another process has the port.
const TAKEN_PORT: [&str; 3] = ["address already in use", "couldn't bind", "failed to bind"];

/// Whether the end of this log says that another process had taken the server's port.
pub fn port_was_taken(log: &Path) -> bool {
    let tail = log_tail(log, TAIL_LINES).to_lowercase();
    TAKEN_PORT.iter().any(|word| tail.contains(word))
}

/// What the end of a server may mean, from the signal that killed it and the end of its log.
pub(super) fn hints(signal: Option<Signal>, log: &str) -> Vec<String> {
    let log = log.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| log.contains(word));
    let mut hints = Vec::new();
    let mut add = |hint: &str| hints.push(hint.to_owned());
    if signal == Some(Signal::SIGILL) || says(&["illegal instruction"]) {
        add("this build needs processor instructions that this machine lacks (such as AVX-512 or AMX): \
             name another build in `engine.binary`");
    }
    if signal == Some(Signal::SIGKILL) || says(&["out of memory", "failed to allocate", "cannot allocate"]) {
        add("memory may have run out: try a smaller context, a smaller quant or a quantised cache");
    }
    if says(&["error while loading shared libraries", "cannot open shared object"]) {
        add("a shared library is missing: install it, or name another build in `engine.binary`");
    }
    if says(&TAKEN_PORT) {
        add("its port was taken by another process each time: are servers being started by the hundred?");
    }
    if says(&["invalid argument", "unknown argument", "unrecognized"]) {
        add("this build does not know one of the arguments: check `args` in the suite against its --help");
    }
    if says(&["v cache quantization requires"]) {
        add("a quantised V cache needs flash attention: set `flash_attention = \"on\"`");
    }
    if says(&["failed to load model", "error loading model", "unknown model architecture"]) {
        add("the weights may be damaged, or too new for this build");
    }
    hints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_short_and_harmless() {
        let long = format!("first\n\nred \u{1b}[31mtext\u{7}\n{}\nlast", "x".repeat(400));
        let tail = printable_tail(&long, 3);
        let lines: Vec<&str> = tail.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "red \\u{1b}[31mtext\\u{7}");
        assert_eq!(lines[1].len(), LINE_CHARS + 2);
        assert_eq!(lines[2], "last");
    }

    #[test]
    fn a_taken_port_is_known_by_the_words_of_each_server() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let taken = |text: &str| {
            std::fs::write(&log, text).unwrap();
            port_was_taken(&log)
        };
        for said in [
            // llama-server 10068
            "start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 8080",
            // vLLM 0.32.0
            "OSError: [Errno 98] Address already in use",
            // SGLang 0.5.17 (uvicorn)
            "[Errno 98] error while attempting to bind on address ('127.0.0.1', 30000): address already in use",
        ] {
            assert!(taken(&format!("loading\n{said}\nended\n")), "{said}");
        }
        assert!(!taken("error loading model"));
    }

    #[test]
    fn a_missing_log_has_an_empty_tail() {
        assert_eq!(log_tail(Path::new("no such file"), 5), "");
    }

    #[test]
    fn hints_name_the_cause() {
        assert!(hints(Some(Signal::SIGILL), "")[0].contains("AVX-512"));
        assert!(hints(None, "x: error while loading shared libraries: libz.so")[0].contains("library"));
        assert!(hints(None, "couldn't bind HTTP server socket")[0].contains("port"));
        let real = include_str!("../../../../tests/fixtures/llama-server-b10068/vbad.log");
        assert!(
            hints(Some(Signal::SIGSEGV), &printable_tail(real, TAIL_LINES))[0].contains("flash attention")
        );
        assert!(hints(None, "all is well").is_empty());
    }
}
