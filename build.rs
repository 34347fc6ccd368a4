//! Puts the git commit into the binary, for the journal's header. Without git there is none.

#![allow(clippy::print_stdout, reason = "cargo reads it")]

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/logs/HEAD");
    let git = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let hash = git.ok().filter(|out| out.status.success()).and_then(|out| String::from_utf8(out.stdout).ok());
    if let Some(hash) = hash {
        println!("cargo::rustc-env=KNEEPOINT_GIT_HASH={}", hash.trim());
    }
}
