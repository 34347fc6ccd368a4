//! Ctrl-C and SIGTERM: the first asks the run to stop after the trial, the second stops it at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::error::{Context, Result};

/// Tells how often the user asked to stop. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Interrupt {
    count: watch::Receiver<u32>,
}

impl Interrupt {
    /// Listens for SIGINT and SIGTERM from now on; they no longer end the process by themselves.
    /// Needs a running tokio runtime.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn listen() -> Result<Self> {
        let mut int = signal(SignalKind::interrupt()).context(|| "cannot listen for Ctrl-C".into())?;
        let mut term = signal(SignalKind::terminate()).context(|| "cannot listen for SIGTERM".into())?;
        let (sender, count) = watch::channel(0);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = int.recv() => {}
                    _ = term.recv() => {}
                }
                sender.send_modify(|count| *count += 1);
                if *sender.borrow() == 1 {
                    eprintln!("stopping after this trial; press Ctrl-C again to stop at once");
                }
            }
        });
        Ok(Self { count })
    }

    /// One that never fires, for tests.
    pub fn never() -> Self {
        Self { count: watch::channel(0).1 }
    }

    /// Whether the user asked to stop.
    pub fn requested(&self) -> bool {
        *self.count.borrow() > 0
    }

    /// Waits until the user has asked `times` times; for ever if nobody listens.
    pub async fn asked(&self, times: u32) {
        let mut count = self.count.clone();
        if count.wait_for(|count| *count >= times).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
