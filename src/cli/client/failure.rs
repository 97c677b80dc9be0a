//! Why a command did not do what it was asked, with what to do next.

use std::fmt;
use std::io;
use std::path::Path;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::cli::{EX_SOFTWARE, EX_TEMPFAIL, EX_USAGE};

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
        let mut causes = String::new();
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            causes = format!(": {error}");
            cause = error.source();
        }
        let message = format!("{server} does not answer{causes}\n  next: is `idvault serve` running there?");
        Self { code: EX_TEMPFAIL, message }
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
        let code = if status.code() == Code::InvalidArgument {
            EX_USAGE
        } else if PASSING.contains(&status.code()) {
            EX_TEMPFAIL
        } else {
            EX_SOFTWARE
        };
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        let mut message = status.message().to_owned();
        if !reason.is_empty() {
            message = format!("{message} ({reason})");
        }
        if let Some(next) = next_step(&reason) {
            message = format!("{message}\n  next: {next}");
        }
        Self { code, message }
    }
}

/// What helps, by the reason of a refusal.
fn next_step(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "CALLER_UNKNOWN" => {
            "name the caller with --as or in the profile, as spiffe://<trust domain>/tenant|person|workload/<name>"
        }
        "CALLER_NOT_ALLOWED" => "call as somebody whose role allows it: see [roles] of the vault's configuration",
        "CONSENT_KEY_UNKNOWN" => "sign with a key whose kid is in the tenant's jwks: idvault tenant show",
        "CONSENT_CATEGORY_NOT_COVERED" | "CONSENT_EXPLICIT_REQUIRED" => {
            "upload only what the receipt grants explicitly: idvault consent show"
        }
        "CONSENT_PURPOSE_NOT_GRANTED" => "the receipt must grant a training purpose, with recipients and regions",
        "CONSENT_AFTER_COLLECTION" => "ask for consent before collecting: event.time must not be after the collection",
        "CALL_ID_EXISTS" => "choose another --call-id, or shred the live record that has it",
        "JOB_NOT_ACTIVE" => "have the job approved by a privacy officer and a model owner: idvault job show",
        "JOB_STATE_INVALID" => "see where the job stands: idvault job show",
        "JOB_SPEC_MISMATCH" => "read the job again, and approve the spec_sha256 that it shows",
        "APPROVER_IS_REQUESTER" | "APPROVER_DUPLICATE" => "another person must approve",
        "SNAPSHOT_DEPLETED" => "make a new one: idvault snapshot create",
        "RETENTION_TOO_SHORT" => "the receipt's exp, or the tenant's retention, must leave the record an hour and more",
        "STORAGE_FULL" => "the vault's operator must make room",
        "KEYRING_UNAVAILABLE" | "CLOCK_UNTRUSTED" => "try again later; the vault's log says what it waits for",
        _ => return None,
    })
}
