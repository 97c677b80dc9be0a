//! Rows of tenants: what they are, and the receipt keys that they have shown to hold.

use prost::Message;
use prost_types::Timestamp;

use super::{Row, digest, parse, stamp, time};
use crate::domain::retention::Retention;
use crate::domain::shredding::{Shredding, Word};
use crate::domain::tenant::{KeyRevocation, MetadataPolicy, NoticeVersion, Tenant, Terms};
use crate::vault::error::Error;

/// A tenant.
#[derive(Clone, PartialEq, Message)]
pub(in crate::vault) struct TenantRow {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    jwks: String,
    #[prost(uint32, tag = "3")]
    retention_days: u32,
    #[prost(bool, tag = "4")]
    keep_metadata: bool,
    #[prost(message, optional, tag = "5")]
    create_time: Option<Timestamp>,
    #[prost(message, repeated, tag = "6")]
    revocations: Vec<KeyRevocationRow>,
    #[prost(message, repeated, tag = "7")]
    notices: Vec<NoticeRow>,
    /// Who has said that all that it has is to be destroyed.
    #[prost(message, repeated, tag = "8")]
    words: Vec<WordRow>,
    /// When nothing was left.
    #[prost(message, optional, tag = "9")]
    shredded: Option<Timestamp>,
}

/// One person's word.
#[derive(Clone, PartialEq, Message)]
struct WordRow {
    #[prost(string, tag = "1")]
    by: String,
    #[prost(bool, tag = "2")]
    is_officer: bool,
    #[prost(message, optional, tag = "3")]
    time: Option<Timestamp>,
}

/// The end of a receipt key.
#[derive(Clone, PartialEq, Message)]
struct KeyRevocationRow {
    #[prost(string, tag = "1")]
    kid: String,
    #[prost(message, optional, tag = "2")]
    time: Option<Timestamp>,
}

/// A registered notice.
#[derive(Clone, PartialEq, Message)]
struct NoticeRow {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(string, tag = "2")]
    version: String,
    #[prost(bytes = "vec", tag = "3")]
    sha256: Vec<u8>,
    #[prost(bool, tag = "4")]
    invalidating: bool,
    #[prost(message, optional, tag = "5")]
    registered: Option<Timestamp>,
}

/// A receipt key that a tenant has shown to hold. Kept for ever: receipts that it signed cannot be denied.
#[derive(Clone, PartialEq, Message)]
pub(in crate::vault) struct ReceiptKeyRow {
    #[prost(string, tag = "1")]
    pub(in crate::vault) kid: String,
    /// SHA-256 (RFC 7638).
    #[prost(bytes = "vec", tag = "2")]
    pub(in crate::vault) thumbprint: Vec<u8>,
    /// The JWK as it was registered.
    #[prost(string, tag = "3")]
    pub(in crate::vault) jwk: String,
    /// The proof of possession.
    #[prost(string, tag = "4")]
    pub(in crate::vault) proof: String,
    #[prost(message, optional, tag = "5")]
    pub(in crate::vault) registered: Option<Timestamp>,
}

impl Row for TenantRow {}
impl Row for ReceiptKeyRow {}

impl TenantRow {
    pub(in crate::vault) fn from_domain(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            jwks: tenant.jwks.clone(),
            retention_days: u32::from(tenant.retention.days()),
            keep_metadata: tenant.metadata_policy == MetadataPolicy::Keep,
            create_time: Some(stamp(tenant.create_time)),
            revocations: tenant.terms.revocations.iter().map(KeyRevocationRow::from_domain).collect(),
            notices: tenant.terms.notices.iter().map(NoticeRow::from_domain).collect(),
            words: tenant.shredding.words.iter().map(WordRow::from_domain).collect(),
            shredded: tenant.shredding.finished.map(stamp),
        }
    }

    pub(in crate::vault) fn into_domain(self) -> Result<Tenant, Error> {
        let words = self.words.into_iter().map(WordRow::into_domain).collect::<Result<_, _>>()?;
        let shredding = Shredding { words, finished: self.shredded.map(|shredded| time(Some(shredded))).transpose()? };
        Ok(Tenant {
            id: parse(&self.id)?,
            jwks: self.jwks,
            retention: u8::try_from(self.retention_days).ok().and_then(Retention::from_days).ok_or(Error::Damaged)?,
            metadata_policy: if self.keep_metadata { MetadataPolicy::Keep } else { MetadataPolicy::Strip },
            create_time: time(self.create_time)?,
            terms: Terms {
                revocations: self.revocations.into_iter().map(KeyRevocationRow::into_domain).collect::<Result<_, _>>()?,
                notices: self.notices.into_iter().map(NoticeRow::into_domain).collect::<Result<_, _>>()?,
                is_shredded: shredding.is_decided(),
            },
            shredding,
        })
    }
}

impl WordRow {
    fn from_domain(word: &Word) -> Self {
        Self { by: word.by.to_string(), is_officer: word.is_officer, time: Some(stamp(word.time)) }
    }

    fn into_domain(self) -> Result<Word, Error> {
        Ok(Word { by: parse(&self.by)?, is_officer: self.is_officer, time: time(self.time)? })
    }
}

impl KeyRevocationRow {
    fn from_domain(revocation: &KeyRevocation) -> Self {
        Self { kid: revocation.kid.clone(), time: Some(stamp(revocation.time)) }
    }

    fn into_domain(self) -> Result<KeyRevocation, Error> {
        Ok(KeyRevocation { kid: self.kid, time: time(self.time)? })
    }
}

impl NoticeRow {
    fn from_domain(notice: &NoticeVersion) -> Self {
        Self {
            id: notice.id.clone(),
            version: notice.version.clone(),
            sha256: notice.sha256.to_vec(),
            invalidating: notice.invalidating,
            registered: Some(stamp(notice.registered_at)),
        }
    }

    fn into_domain(self) -> Result<NoticeVersion, Error> {
        let Self { id, version, sha256, invalidating, registered } = self;
        Ok(NoticeVersion { id, version, sha256: digest(&sha256)?, invalidating, registered_at: time(registered)? })
    }
}
