//! Parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use kneepoint::cli::Cli;
use kneepoint::commands;

fn main() -> ExitCode {
    let cli = Cli::parse();
    commands::set_up_logging(&cli.global);
    match commands::dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            commands::print_error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}
