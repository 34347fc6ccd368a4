//! Looks out for the run folder: what is written into a deleted one is lost, however long the run still takes.

use std::time::Duration;

use crate::error::Error;
use crate::record::journal::Place;

/// How often the folder is looked at.
const AGAIN: Duration = Duration::from_millis(250);

/// Returns when the journal does not lie at its place any more, with what to say then. The looking is done on an OS
/// thread of its own, which ends when nobody waits any more; for ever, when no thread can be started.
pub async fn gone(place: Place) -> Error {
    let (tell, told) = tokio::sync::oneshot::channel();
    let look = move || {
        while !tell.is_closed() {
            if let Err(error) = place.check() {
                // An error means that nobody waits any more.
                let _ = tell.send(error);
                return;
            }
            std::thread::sleep(AGAIN);
        }
    };
    // Without it, the next line of the journal finds out.
    let _ = std::thread::Builder::new().name("lookout".into()).spawn(look);
    match told.await {
        Ok(error) => error,
        Err(_) => std::future::pending().await,
    }
}
