//! Parse, run, exit code.

use std::process::ExitCode;

use kneepoint::{commands, fault};

fn main() -> ExitCode {
    ExitCode::from(fault::guard(run))
}

fn run() -> u8 {
    let cli = match commands::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    commands::set_up_logging(&cli.global);
    match commands::dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            commands::print_error(&error);
            error.kind().exit_code()
        }
    }
}
