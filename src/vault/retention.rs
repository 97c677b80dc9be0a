//! What is alive, until when, and what time the vault believes it is.

use chrono::{DateTime, Utc};

use super::Vault;
use super::counts::Count;
use super::error::Error;
use crate::domain::ids::TenantId;
use crate::domain::retention::{hour_of, time_of};

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
}
