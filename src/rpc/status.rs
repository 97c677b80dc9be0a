//! What goes wrong, on the wire: the one place where a gRPC status is made.
//!
//! A status carries a code, a message for a person, and `google.rpc.ErrorInfo` with the reason for a program. It never
//! carries personal data, and nothing of what happened inside.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::domain::job::JobError;
use crate::domain::policy::Refusal;
use crate::vault::error::{Error, JwsError};

const DOMAIN: &str = "idvault";
/// When a caller may try again after a passing failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A refusal before the vault was asked.
#[derive(Debug)]
pub(super) enum Denied {
    /// Nobody this vault knows.
    CallerUnknown,
    /// Somebody who may not do this.
    NotAllowed,
    /// A field that is not what it must be.
    Invalid {
        /// Its path in the request.
        field: String,
        /// What it must be.
        rule: String,
    },
    /// An upload without a consent.
    ReceiptRequired,
    /// An upload that does not come to its end.
    Stalled,
    /// An upload for which there is no room now.
    TooManyUploads,
}

impl Denied {
    /// An invalid field.
    pub(super) fn invalid(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), rule: rule.into() }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::CallerUnknown => status(
                Code::Unauthenticated,
                "CALLER_UNKNOWN",
                "the only URI in the client's certificate, or without TLS the metadata key idvault-caller, \
                 must be a SPIFFE id of this vault's trust domain",
            ),
            Denied::NotAllowed => status(Code::PermissionDenied, "CALLER_NOT_ALLOWED", "the caller may not do this"),
            Denied::Invalid { field, rule } => invalid(&field, &rule),
            Denied::TooManyUploads => passing(
                Code::ResourceExhausted,
                "TOO_MANY_UPLOADS",
                "too many uploads are under way, or too large ones; try again when some have ended",
            ),
            Denied::Stalled => status(
                Code::DeadlineExceeded,
                "UPLOAD_STALLED",
                "nothing came for 60 seconds, or the upload took longer than 10 minutes",
            ),
            Denied::ReceiptRequired => status(
                Code::InvalidArgument,
                "CONSENT_RECEIPT_REQUIRED",
                "there must be a receipt, or the name of a consent that is registered",
            ),
        }
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        of(error)
    }
}

/// The status of a vault's error.
fn of(error: Error) -> Status {
    let message = error.to_string();
    let (code, reason) = match error {
        Error::Invalid { field, rule } => return invalid(&field, &rule),
        Error::Refused(Refusal::CollectionInFuture) => return invalid("header.collect_time", "must not lie in the future"),
        Error::Refused(refusal) => (Code::FailedPrecondition, of_refusal(refusal)),
        Error::Receipt(receipt) => of_receipt(&receipt),
        Error::Job(job) => of_job(job),
        Error::JobNotActive | Error::JobRevoked(_) => (Code::FailedPrecondition, "JOB_NOT_ACTIVE"),
        Error::PartTooLarge(_) => (Code::InvalidArgument, "PART_TOO_LARGE"),
        Error::PartChecksum(_) => (Code::InvalidArgument, "PART_CHECKSUM_MISMATCH"),
        Error::PartType(_) => (Code::InvalidArgument, "PART_TYPE_MISMATCH"),
        Error::PartSize(_) => (Code::InvalidArgument, "PART_SIZE_MISMATCH"),
        Error::RetentionTooShort => (Code::FailedPrecondition, "RETENTION_TOO_SHORT"),
        Error::OfficerMissing(_) => (Code::FailedPrecondition, "OFFICER_MISSING"),
        Error::TenantExists => (Code::AlreadyExists, "TENANT_EXISTS"),
        Error::CallIdExists => (Code::AlreadyExists, "CALL_ID_EXISTS"),
        Error::RequestIdReused => (Code::AlreadyExists, "REQUEST_ID_REUSED"),
        Error::ConsentIdReused => (Code::AlreadyExists, "CONSENT_ID_REUSED"),
        Error::NotFound => (Code::NotFound, "NOT_FOUND"),
        Error::RecordGone => (Code::NotFound, "RECORD_GONE"),
        Error::JobQuotaExceeded => (Code::ResourceExhausted, "JOB_QUOTA_EXCEEDED"),
        Error::SnapshotDepleted => (Code::FailedPrecondition, "SNAPSHOT_DEPLETED"),
        Error::Restored => (Code::FailedPrecondition, "RESTORED"),
        Error::StorageFull => (Code::ResourceExhausted, "STORAGE_FULL"),
        Error::ClockUntrusted => return unavailable("CLOCK_UNTRUSTED", "the vault's clock cannot be trusted at the moment"),
        Error::Damaged => (Code::DataLoss, "RECORD_DAMAGED"),
        Error::Stopped | Error::Failed(_) => return unavailable("KEYRING_UNAVAILABLE", "the vault has stopped"),
    };
    status(code, reason, message)
}

/// The client broke the request off; nobody hears this.
pub(super) fn broken_off() -> Status {
    Status::aborted("the request was broken off")
}

fn of_refusal(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::NotYetValid => "CONSENT_NOT_YET_VALID",
        Refusal::Expired => "CONSENT_EXPIRED",
        Refusal::KeyRevoked => "CONSENT_KEY_UNKNOWN",
        Refusal::NoticeUnknown | Refusal::NoticeReplaced => "NOTICE_UNKNOWN",
        Refusal::TenantShredded => "TENANT_SHREDDED",
        Refusal::Withdrawn => "CONSENT_WITHDRAWN",
        Refusal::GuardianRequired => "GUARDIAN_REQUIRED",
        Refusal::BindingMismatch => "CONSENT_BINDING_MISMATCH",
        Refusal::CollectionInFuture => "INVALID_FIELD",
        Refusal::AfterCollection => "CONSENT_AFTER_COLLECTION",
        Refusal::PurposeNotGranted => "CONSENT_PURPOSE_NOT_GRANTED",
        Refusal::CategoryNotCovered(_) => "CONSENT_CATEGORY_NOT_COVERED",
        Refusal::ExplicitRequired(_) => "CONSENT_EXPLICIT_REQUIRED",
    }
}

fn of_receipt(error: &JwsError) -> (Code, &'static str) {
    match error {
        JwsError::Malformed(_) => (Code::InvalidArgument, "CONSENT_MALFORMED"),
        JwsError::KeyUnknown => (Code::FailedPrecondition, "CONSENT_KEY_UNKNOWN"),
        JwsError::SignatureInvalid => (Code::InvalidArgument, "CONSENT_SIGNATURE_INVALID"),
    }
}

fn of_job(error: JobError) -> (Code, &'static str) {
    match error {
        JobError::NotRequester => (Code::PermissionDenied, "CALLER_NOT_ALLOWED"),
        JobError::ApproverIsRequester => (Code::PermissionDenied, "APPROVER_IS_REQUESTER"),
        JobError::ApproverDuplicate => (Code::PermissionDenied, "APPROVER_DUPLICATE"),
        JobError::SpecMismatch => (Code::FailedPrecondition, "JOB_SPEC_MISMATCH"),
        JobError::StateInvalid => (Code::FailedPrecondition, "JOB_STATE_INVALID"),
    }
}

fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    let message = message.into();
    if code == Code::FailedPrecondition {
        details.add_precondition_failure_violation(reason, "", message.clone());
    }
    Status::with_error_details(code, message, details)
}

/// What an answer ends with that nothing cut short.
pub(super) fn at_the_end() -> Status {
    Status::ok("")
}

fn invalid(field: &str, rule: &str) -> Status {
    let mut details = ErrorDetails::with_error_info("INVALID_FIELD", DOMAIN, HashMap::new());
    details.add_bad_request_violation(field, rule);
    Status::with_error_details(Code::InvalidArgument, format!("{field}: {rule}"), details)
}

fn unavailable(reason: &str, message: &str) -> Status {
    passing(Code::Unavailable, reason, message)
}

/// A refusal that passes.
fn passing(code: Code, reason: &str, message: &str) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, HashMap::new());
    details.set_retry_info(Some(RETRY_AFTER));
    Status::with_error_details(code, message, details)
}
