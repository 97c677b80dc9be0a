//! What a use case can answer but success: each variant says who is at fault and what to do.

pub use crate::crypto::jws::JwsError;

use crate::crypto::jwk::JwksError;
use crate::crypto::random::RandomError;
use crate::crypto::seal::OpenError;
use crate::domain::job::JobError;
use crate::domain::policy::Refusal;
use crate::domain::shredding::OfficerMissing;
use crate::keys::keyring::KeyringError;
use crate::store::ledger::LedgerError;
use crate::store::volume::VolumeError;

/// A refusal or a failure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller: a field is not what it must be.
    #[error("{field}: {rule}")]
    Invalid {
        /// The field's path in the request.
        field: String,
        /// What it must be.
        rule: String,
    },
    /// The caller: the consent does not allow this.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The caller: the receipt cannot be accepted.
    #[error("the receipt: {0}")]
    Receipt(#[from] JwsError),
    /// The caller: the job does not allow this.
    #[error("{0}")]
    Job(#[from] JobError),
    /// The caller: the job is not active.
    #[error("the job is not active")]
    JobNotActive,
    /// The caller: an approver stopped the job.
    #[error("the job was revoked: {0}")]
    JobRevoked(String),
    /// The caller: a part is larger than its format allows, or the record as a whole is.
    #[error("part {0} is larger than its format or the record allows")]
    PartTooLarge(usize),
    /// The caller: a part's bytes do not have the declared CRC-32C.
    #[error("part {0} does not have the declared CRC-32C")]
    PartChecksum(usize),
    /// The caller: a part's bytes are not of the declared media type, or are malformed where metadata is to be removed.
    #[error("part {0} is not of the declared media type")]
    PartType(usize),
    /// The caller: a part does not have the declared size.
    #[error("part {0} does not have the declared size")]
    PartSize(usize),
    /// The caller: the consent ends, or the retention is, too soon to keep the record for an hour.
    #[error("the record would live for less than an hour")]
    RetentionTooShort,
    /// The caller: nobody of the two who ask for it is a privacy officer.
    #[error(transparent)]
    OfficerMissing(#[from] OfficerMissing),
    /// The caller: there is a tenant of this id.
    #[error("the tenant exists")]
    TenantExists,
    /// The caller: a live record has this call id.
    #[error("a live record has this call id")]
    CallIdExists,
    /// The caller: this request id was used for something else within 24 hours.
    #[error("the request id was used for another request")]
    RequestIdReused,
    /// The caller: this consent id was used for another receipt.
    #[error("the consent id was used for another receipt")]
    ConsentIdReused,
    /// The caller: there is no such thing.
    #[error("not found")]
    NotFound,
    /// The caller: the record is gone or never was.
    #[error("the record is gone")]
    RecordGone,
    /// The caller: the job has received all that it may.
    #[error("the job has received all that its limits allow")]
    JobQuotaExceeded,
    /// The caller: less than half of the snapshot is still alive.
    #[error("less than half of the snapshot is alive; make a new one")]
    SnapshotDepleted,
    /// The operator: the disk is full.
    #[error("no space is left")]
    StorageFull,
    /// The operator: wall clock and elapsed time disagree.
    #[error("the clock cannot be trusted")]
    ClockUntrusted,
    /// The operator: a backup was put back, and withdrawals since are still to be replayed.
    #[error("the vault was restored from a backup and releases nothing until withdrawals since then were replayed")]
    Restored,
    /// The vault: what is stored is not what was written.
    #[error("stored data is damaged")]
    Damaged,
    /// The vault has stopped after a failure.
    #[error("the vault has stopped")]
    Stopped,
    /// The vault: disk, ledger, keyring or the system's random numbers failed. Whoever sees it stops the vault.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// An invalid field.
    pub(super) fn invalid(field: &str, rule: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), rule: rule.into() }
    }
}

impl From<LedgerError> for Error {
    fn from(error: LedgerError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<RandomError> for Error {
    fn from(error: RandomError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<KeyringError> for Error {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Closed => Self::Stopped,
            KeyringError::NoSuchHour => Self::RetentionTooShort,
            KeyringError::NotOpened
            | KeyringError::PageDamaged(_)
            | KeyringError::HeadTooLarge
            | KeyringError::NotForgotten
            | KeyringError::Random(_)
            | KeyringError::Custody(_)
            | KeyringError::Disk(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<VolumeError> for Error {
    fn from(error: VolumeError) -> Self {
        match error {
            VolumeError::Gone | VolumeError::Damaged(_) => Self::Damaged,
            VolumeError::Full => Self::StorageFull,
            VolumeError::Disk(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<OpenError> for Error {
    fn from(_: OpenError) -> Self {
        Self::Damaged
    }
}

impl From<JwksError> for Error {
    fn from(error: JwksError) -> Self {
        Self::invalid("tenant.jwks", error.to_string())
    }
}
