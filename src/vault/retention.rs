//! What is alive, until when, and what time the vault believes it is.

use chrono::{DateTime, TimeDelta, Utc};
use subtle::ConstantTimeEq;

use super::Vault;
use super::counts::Count;
use super::error::Error;
use crate::clock::Heartbeat;
use crate::crypto::secret::Secret;
use crate::domain::ids::TenantId;
use crate::domain::retention::{hour_of, time_of};
use crate::files;

/// How often the heartbeat is saved, in trusted time, and how often where the ledger has changed.
const HEARTBEAT_EVERY: TimeDelta = TimeDelta::minutes(1);
const HEARTBEAT_EVERY_IF_CHANGED: TimeDelta = TimeDelta::seconds(5);
const CLOCK_LEN: usize = 40;
const SEQUENCE_LEN: usize = 8;
const MAC_LEN: usize = 32;

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

    /// Saves the clock and how far the ledger has come, authenticated, from time to time.
    pub(super) fn save_heartbeat(&self) -> Result<(), Error> {
        let heartbeat = self.clock.heartbeat();
        let sequence = self.book.durable();
        let mut saved = self.last_heartbeat.lock();
        let (at, of) = *saved;
        let every = if sequence == of { HEARTBEAT_EVERY } else { HEARTBEAT_EVERY_IF_CHANGED };
        if heartbeat.lo.signed_duration_since(at) >= every {
            let bytes = [&heartbeat.to_bytes()[..], &sequence.to_be_bytes()].concat();
            let file = [&bytes[..], &self.keyring.clock_key().mac(&[&bytes])].concat();
            files::replace(&self.heartbeat_path, &file).map_err(|error| Error::Failed(format!("saving the clock: {error}")))?;
            *saved = (heartbeat.lo, sequence);
        }
        Ok(())
    }
}

/// The clock and the ledger's sequence in a saved file, if it is the vault's own. The first version saved no sequence.
pub(super) fn read_heartbeat(file: &[u8], clock_key: &Secret) -> Option<(Heartbeat, u64)> {
    let (bytes, mac) = file.split_at_checked(file.len().checked_sub(MAC_LEN)?)?;
    if !bool::from(clock_key.mac(&[bytes]).ct_eq(mac)) {
        return None;
    }
    let (clock, sequence) = bytes.split_first_chunk::<CLOCK_LEN>()?;
    let sequence = match sequence.len() {
        0 => 0,
        SEQUENCE_LEN => u64::from_be_bytes(sequence.try_into().ok()?),
        _ => return None,
    };
    Some((Heartbeat::from_bytes(clock)?, sequence))
}
