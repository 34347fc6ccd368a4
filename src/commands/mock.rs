//! `mock-server`.

use crate::error::{EXIT_OK, Result};
use crate::measure::mock;
use crate::measure::mock::MockArgs;
use crate::measure::runner::Interrupt;

/// Serves until Ctrl-C; the address goes to stdout as one JSON line once it listens.
pub(super) fn serve(args: &MockArgs) -> Result<u8> {
    super::setup::runtime()?.block_on(async {
        let interrupt = Interrupt::listen()?;
        mock::run(args, async move { interrupt.asked(1).await }).await
    })?;
    Ok(EXIT_OK)
}
