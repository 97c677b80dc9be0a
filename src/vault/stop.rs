//! Whether the vault still works: after the first failure it does not, and says why.

use std::sync::OnceLock;

use tokio::sync::Notify;

use super::error::Error;

/// Set once, by the first failure.
#[derive(Debug, Default)]
pub struct Stop {
    reason: OnceLock<String>,
    stopped: Notify,
}

impl Stop {
    /// Stops the vault for this reason, unless it has stopped already.
    pub fn stop(&self, reason: String) {
        if self.reason.set(reason).is_ok() {
            self.stopped.notify_waiters();
        }
    }

    /// Why the vault stopped, if it has.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// Returns when the vault has stopped.
    pub async fn stopped(&self) {
        let notified = self.stopped.notified();
        if self.reason().is_none() {
            notified.await;
        }
    }

    /// Fails once the vault has stopped.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.reason.get().is_some() { Err(Error::Stopped) } else { Ok(()) }
    }
}
