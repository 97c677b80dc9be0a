//! What is alive, until when, and what time the vault believes it is.

use chrono::{DateTime, TimeDelta, Utc};

use super::Vault;
use super::counts::Count;
use super::error::Error;
use crate::clock::Heartbeat;
use crate::domain::ids::TenantId;
use crate::domain::retention::{hour_of, time_of};
use crate::files;

/// How often the clock is saved, in trusted time.
const HEARTBEAT_EVERY: TimeDelta = TimeDelta::minutes(1);
const HEARTBEAT_LEN: usize = 40;

/// What is alive.
#[derive(Debug)]
pub struct RetentionStatus {
    /// The trusted time.
    pub trusted_time: DateTime<Utc>,
    /// The generation of the keyring.
    pub keyring_generation: u64,
    /// Hours with live records, ascending: when they expire and how much is in them.
    pub hours: Vec<(DateTime<Utc>, Count)>,
    /// Records due or marked whose destruction is not finished.
    pub backlog: u64,
}

impl Vault {
    /// What is alive of one tenant, or of all.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such tenant.
    pub fn retention_status(&self, tenant: Option<&TenantId>) -> Result<RetentionStatus, Error> {
        let now = self.now()?;
        if let Some(tenant) = tenant {
            self.tenant(tenant)?;
        }
        let counts = self.counts.lock();
        let by_hour = counts.by_hour(tenant);
        let over = hour_of(now.hi);
        let due: u64 = by_hour.range(..=over).map(|(_, count)| count.records).sum();
        let live = by_hour.into_iter().filter(|(hour, _)| *hour > over);
        Ok(RetentionStatus {
            trusted_time: now.lo,
            keyring_generation: self.keyring.generation(),
            hours: live.map(|(hour, count)| (time_of(hour), count)).collect(),
            backlog: due.saturating_add(counts.marked(tenant)),
        })
    }

    /// Saves the clock, authenticated, if a minute has passed since it was saved.
    pub(super) fn save_heartbeat(&self) -> Result<(), Error> {
        let heartbeat = self.clock.heartbeat();
        let mut saved = self.last_heartbeat.lock();
        if heartbeat.lo.signed_duration_since(*saved) >= HEARTBEAT_EVERY {
            let bytes = heartbeat.to_bytes();
            let file = [&bytes[..], &self.keyring.clock_key().mac(&[&bytes])].concat();
            files::replace(&self.heartbeat_path, &file).map_err(|error| Error::Failed(format!("saving the clock: {error}")))?;
            *saved = heartbeat.lo;
        }
        Ok(())
    }
}

/// The heartbeat in a saved file, if it is the vault's own.
pub(super) fn read_heartbeat(file: &[u8], clock_key: &crate::crypto::secret::Secret) -> Option<Heartbeat> {
    use subtle::ConstantTimeEq;
    let (bytes, mac) = file.split_first_chunk::<HEARTBEAT_LEN>()?;
    bool::from(clock_key.mac(&[bytes]).ct_eq(mac)).then(|| Heartbeat::from_bytes(bytes)).flatten()
}
