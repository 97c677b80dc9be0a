//! Why a command did not do what it was asked, with what to do next.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::Path;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::cli::{EX_SOFTWARE, EX_TEMPFAIL, EX_USAGE};
use crate::store::backup::BackupError;
use crate::tls::Fault;
use crate::vault::OpenError;
use crate::vault::restore::RestoreError;

/// A failure and the exit code it ends the program with.
#[derive(Debug)]
pub(in crate::cli) struct Failure {
    /// The exit code.
    pub(in crate::cli) code: u8,
    message: String,
}

impl Failure {
    /// What the user said cannot be done.
    pub(in crate::cli) fn usage(message: impl Into<String>) -> Self {
        Self { code: EX_USAGE, message: message.into() }
    }

    /// It must not be done.
    pub(in crate::cli) fn refused(message: impl Into<String>) -> Self {
        Self { code: EX_SOFTWARE, message: message.into() }
    }

    /// A file that cannot be read or written.
    pub(in crate::cli) fn file(path: &Path, error: &io::Error) -> Self {
        Self::usage(format!("{}: {error}", path.display()))
    }

    /// The same failure, with what to do next.
    pub(in crate::cli) fn with(self, next: &str) -> Self {
        Self { message: format!("{}\n  next: {next}", self.message), ..self }
    }

    /// Nobody answers.
    pub(super) fn unreachable(server: &str, error: &tonic::transport::Error) -> Self {
        let (code, what, next) = match Fault::in_causes_of(error) {
            None => (EX_TEMPFAIL, "does not answer", "is `idvault serve` running there?"),
            Some(Fault::ClientRefused) => {
                let next = "its [tls] client_ca must have signed the profile's cert, which must not have expired";
                (EX_SOFTWARE, "refuses the certificate", next)
            }
            Some(Fault::ServerUntrusted) => {
                let next = "the profile's ca must have signed its certificate, for the host in the profile's server";
                (EX_SOFTWARE, "is not to be trusted", next)
            }
            Some(Fault::Protocol) => (EX_SOFTWARE, "does not speak TLS 1.3", "does its configuration have a section [tls]?"),
        };
        Self { code, message: format!("{server} {what}{}", first_cause(error)) }.with(next)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        const PASSING: [Code; 4] = [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted, Code::Aborted];
        if let Some(error) = status.source().filter(|error| error.is::<tonic::transport::Error>()) {
            let failure = Self { code: EX_TEMPFAIL, message: format!("the connection broke{}", first_cause(error)) };
            return failure.with("is the vault still running? With a section [tls] its address is https://, without http://");
        }
        let code = if status.code() == Code::InvalidArgument {
            EX_USAGE
        } else if PASSING.contains(&status.code()) {
            EX_TEMPFAIL
        } else {
            EX_SOFTWARE
        };
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let said = status.message();
        let mut message = if said.is_empty() { status.code().description() } else { said }.to_owned();
        if !reason.is_empty() {
            message = format!("{message} ({reason})");
        }
        if let Some(next) = next_step(&reason) {
            message = format!("{message}\n  next: {next}");
        }
        Self { code, message }
    }
}

impl From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        let is_passing = matches!(error, RestoreError::Vault(OpenError::Locked(_)) | RestoreError::Backup(BackupError::Moving));
        Self { code: if is_passing { EX_TEMPFAIL } else { EX_SOFTWARE }, message: error.to_string() }
    }
}

/// What an error began with, after a colon; nothing if it began with itself.
fn first_cause(error: &dyn Error) -> String {
    let first = std::iter::successors(error.source(), |error| (**error).source()).last();
    first.map(|error| format!(": {error}")).unwrap_or_default()
}

/// What helps, by the reason of a refusal.
fn next_step(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "CALLER_UNKNOWN" => {
            "let the certificate, or without TLS --as or the profile, name spiffe://<trust domain>/tenant|person|workload/<name>"
        }
        "CALLER_NOT_ALLOWED" => "call as somebody whose role allows it: see [roles] of the vault's configuration",
        "CONSENT_KEY_UNKNOWN" => "sign with a key whose kid is in the tenant's jwks: idvault tenant show",
        "CONSENT_CATEGORY_NOT_COVERED" | "CONSENT_EXPLICIT_REQUIRED" => {
            "upload only what the receipt grants explicitly: idvault consent show"
        }
        "NOTICE_UNKNOWN" => {
            "sign a notice that the tenant has (idvault tenant show), or let the operator add it: idvault tenant update --notice-file"
        }
        "CONSENT_PURPOSE_NOT_GRANTED" => "the receipt must grant a training purpose, with recipients and regions",
        "CONSENT_AFTER_COLLECTION" => "ask for consent before collecting: event.time must not be after the collection",
        "PART_TYPE_MISMATCH" => {
            "upload the whole file as its format has it; where metadata is removed, an image that is malformed is refused"
        }
        "UPLOAD_STALLED" => "try again over a faster connection: a minute without a message, or ten in all, is too slow",
        "TOO_MANY_UPLOADS" => "try again in a moment",
        "CALL_ID_EXISTS" => "choose another --call-id, or shred the live record that has it",
        "JOB_NOT_ACTIVE" => "have the job approved by a privacy officer and a model owner: idvault job show",
        "JOB_STATE_INVALID" => "see where the job stands: idvault job show",
        "JOB_SPEC_MISMATCH" => "read the job again, and approve the spec_sha256 that it shows",
        "APPROVER_IS_REQUESTER" | "APPROVER_DUPLICATE" => "another person must approve",
        "SNAPSHOT_DEPLETED" => "make a new one: idvault snapshot create",
        "RETENTION_TOO_SHORT" => "the receipt's exp, or the tenant's retention, must leave the record an hour and more",
        "RESTORED" => "the vault's operator must replay the withdrawals since the backup, then complete the restore",
        "STORAGE_FULL" => "the vault's operator must make room",
        "KEYRING_UNAVAILABLE" | "CLOCK_UNTRUSTED" => "try again later; the vault's log says what it waits for",
        _ => return None,
    })
}
