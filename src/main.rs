//! Parse, run, exit code.

use std::process::ExitCode;

use kneepoint::{commands, console};

fn main() -> ExitCode {
    console::clean_panics();
    let cli = match commands::parse() {
        Ok(cli) => cli,
        Err(code) => return ExitCode::from(code),
    };
    commands::set_up_logging(&cli.global);
    match commands::dispatch(cli) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            commands::print_error(&error);
            ExitCode::from(error.kind().exit_code())
        }
    }
}
