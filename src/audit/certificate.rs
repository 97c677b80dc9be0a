//! The text of a certificate of destruction, and the tokens by which it names records.
//!
//! It is the vault's statement, which it cannot take back; it is no proof of physics. Lines `key: value`, in a fixed order, so that
//! people can read it and there is one form only; `docs/format.md` says what each means.

use std::collections::BTreeMap;
use std::fmt::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use sha2::{Digest, Sha256};

use crate::domain::category::Category;
use crate::domain::ids::{CertificateId, JobId, RecordId, TenantId, VaultId};
use crate::domain::trigger::Trigger;

/// The first line.
pub const FORM: &str = "idvault/certificate/v1";
/// Bytes of a token.
pub const TOKEN_LEN: usize = 16;

const CIPHER: &str =
    "AES-256-GCM (C2SP chunked-encryption, SHA-512), each record under a leaf of a puncturable key tree (SHA-256)";
const VERIFIED: &str = "the new keyring, read back from its medium, holds no key of these records";

/// From when to when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first time.
    pub first: DateTime<Utc>,
    /// The last.
    pub last: DateTime<Utc>,
}

impl Span {
    /// The span with this time in it too.
    #[must_use]
    pub fn with(span: Option<Self>, time: DateTime<Utc>) -> Self {
        span.map_or(Self { first: time, last: time }, |span| Self { first: span.first.min(time), last: span.last.max(time) })
    }
}

/// What was destroyed by one commit, of one tenant, for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// How many records.
    pub records: u64,
    /// How many parts of each category.
    pub parts: BTreeMap<Category, u64>,
    /// When they were uploaded.
    pub created: Option<Span>,
    /// When they would have expired.
    pub due: Option<Span>,
    /// When they were taken out of use.
    pub disabled: Option<Span>,
    /// How many of them each job had received.
    pub released: BTreeMap<JobId, u64>,
    /// Records of which nothing but their being there could be read.
    pub unread: u64,
}

/// How it was destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The generations of the keyring before and after.
    pub generations: (u64, u64),
    /// When.
    pub time: DateTime<Utc>,
    /// The custody of the root, where it is, how the old root died, and what that is worth.
    pub custody: String,
    /// See `custody`.
    pub place: String,
    /// See `custody`.
    pub method: String,
    /// See `custody`.
    pub class: String,
    /// In how many directories the keyring is.
    pub keyrings: usize,
    /// No message with a larger release sequence carried any of the records.
    pub last_release_sequence: u64,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Which.
    pub id: CertificateId,
    /// Of which vault.
    pub vault: VaultId,
    /// Of which tenant.
    pub tenant: TenantId,
    /// Why.
    pub trigger: Trigger,
    /// What.
    pub destroyed: Destroyed,
    /// The root of the records' tokens, sorted.
    pub tokens: [u8; 32],
    /// How.
    pub commit: Commit,
}

impl Certificate {
    /// The text that is signed.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self { id, vault, tenant, trigger, destroyed, tokens, commit } = self;
        let parts: Vec<_> = destroyed.parts.iter().map(|(category, count)| format!("{} {count}", category.name())).collect();
        let level = match trigger {
            Trigger::RetentionExpired => "HOUR: the seed of all records of the hour",
            Trigger::ConsentWithdrawn | Trigger::RecordShredded | Trigger::SubjectErased | Trigger::TenantShredded => {
                "LEAF: the secret of each record and all from which it could be derived"
            }
        };
        let (before, after) = commit.generations;
        let keyrings = commit.keyrings;
        let exceptions = match destroyed.unread {
            0 => "none".to_owned(),
            count => format!("{count} records whose rows were damaged: their parts and times are not counted above"),
        };
        let mut text = format!("{FORM}\n");
        let mut line = |key: &str, value: &str| {
            // What a custody says of itself is one line here.
            let value: String = value.chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
            writeln!(text, "{key}: {value}").unwrap_or_default();
        };
        line("vault", vault.as_str());
        line("version", env!("CARGO_PKG_VERSION"));
        line("name", &format!("tenants/{tenant}/certificates/{id}"));
        line("trigger", trigger.name());
        line("rule", trigger.rule());
        line("records", &destroyed.records.to_string());
        line("parts", if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }.as_str());
        line("tokens", &base16ct::lower::encode_string(tokens));
        line("created", &span(destroyed.created));
        line("due", &span(destroyed.due));
        line("disabled", &span(destroyed.disabled));
        line("destroyed", &stamp(commit.time));
        line("cipher", CIPHER);
        line("level", level);
        line("generation", &format!("{before} to {after}"));
        line("custody", &commit.custody);
        line("place", &commit.place);
        line("method", &commit.method);
        line("class", &commit.class);
        line("copies", &format!("the keyring in {keyrings} places, sealed by the root; the memory of the vault, wiped"));
        for (job, count) in &destroyed.released {
            line("released", &format!("trainingJobs/{job} {count}"));
        }
        line("last-release-sequence", &commit.last_release_sequence.to_string());
        line("verified", &format!("{} {VERIFIED}", stamp(commit.time)));
        line("exceptions", &exceptions);
        text
    }
}

/// The value of a line of a certificate's text.
#[must_use]
pub fn field<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

/// By what a certificate names a record: whoever does not know the record's id, 74 bits of which are random, learns nothing.
#[must_use]
pub fn token(tenant: &TenantId, record: RecordId) -> [u8; TOKEN_LEN] {
    let digest = Sha256::new()
        .chain_update(b"idvault/record-token/v1")
        .chain_update(record.0.as_bytes())
        .chain_update(tenant.as_str())
        .finalize();
    let mut token = [0; TOKEN_LEN];
    for (byte, of) in token.iter_mut().zip(digest) {
        *byte = of;
    }
    token
}

fn span(span: Option<Span>) -> String {
    match span {
        Some(Span { first, last }) if first == last => stamp(first),
        Some(Span { first, last }) => format!("{} to {}", stamp(first), stamp(last)),
        None => "unknown".to_owned(),
    }
}

fn stamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_text_has_every_field_in_its_place() {
        let time = |seconds: i64| DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap();
        let job = JobId(Uuid::from_u128(7));
        let certificate = Certificate {
            id: CertificateId(Uuid::from_u128(1)),
            vault: "hk-1".parse().unwrap(),
            tenant: "acme".parse().unwrap(),
            trigger: Trigger::ConsentWithdrawn,
            destroyed: Destroyed {
                records: 3,
                parts: [(Category::Attributes, 2), (Category::FaceImage, 3)].into(),
                created: Some(Span::with(Some(Span::with(None, time(60))), time(0))),
                due: Some(Span::with(None, time(3600))),
                disabled: None,
                released: [(job, 2)].into(),
                unread: 1,
            },
            tokens: [0xab; 32],
            commit: Commit {
                generations: (41, 42),
                time: time(7),
                custody: "file".to_owned(),
                place: "/data/root\ncell".to_owned(),
                method: "overwritten".to_owned(),
                class: "BEST_EFFORT".to_owned(),
                keyrings: 2,
                last_release_sequence: 99,
            },
        };
        let text = certificate.to_text();
        assert!(text.starts_with("idvault/certificate/v1\nvault: hk-1\n") && text.ends_with("not counted above\n"), "{text}");
        for (key, value) in [
            ("name", "tenants/acme/certificates/00000000-0000-0000-0000-000000000001"),
            ("trigger", "CONSENT_WITHDRAWN"),
            ("records", "3"),
            ("parts", "FACE_IMAGE 3, ATTRIBUTES 2"),
            ("tokens", &"ab".repeat(32)),
            ("created", "2027-01-15T08:00:00Z to 2027-01-15T08:01:00Z"),
            ("due", "2027-01-15T09:00:00Z"),
            ("disabled", "unknown"),
            ("destroyed", "2027-01-15T08:00:07Z"),
            ("generation", "41 to 42"),
            ("place", "/data/root cell"),
            ("released", "trainingJobs/00000000-0000-0000-0000-000000000007 2"),
            ("last-release-sequence", "99"),
        ] {
            assert_eq!(field(&text, key), Some(value), "{key}");
        }
    }

    #[test]
    fn tokens_are_of_one_record_of_one_tenant() {
        let (one, other) = (RecordId(Uuid::from_u128(1)), RecordId(Uuid::from_u128(2)));
        let (acme, beta) = ("acme".parse().unwrap(), "beta".parse().unwrap());
        assert_eq!(token(&acme, one), token(&acme, one));
        assert_ne!(token(&acme, one), token(&acme, other));
        assert_ne!(token(&acme, one), token(&beta, one));
    }
}
