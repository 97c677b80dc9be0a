//! What ledger rows hold, and how the domain's values become rows and come back.
//!
//! Rows are protobuf messages declared here, in code: fields may be added, numbers are never used again. A row that cannot
//! become a valid domain value again is damaged.

use chrono::{DateTime, Utc};
use prost::Message;
use prost_types::Timestamp;
use uuid::Uuid;

use super::error::Error;
use crate::crypto::receipt;
use crate::domain::category::{Category, CategorySet};
use crate::domain::consent::{Consent, ConsentEvent, ConsentEventKind};
use crate::domain::ids::{ConsentId, JobId, Place, RecordId, TenantId};
use crate::domain::media::MediaType;
use crate::domain::purpose::{Purpose, PurposeSet};
use crate::domain::record::{Extent, Part, Record, RecordState};
use crate::domain::retention::Retention;
use crate::domain::tenant::{MetadataPolicy, Tenant};

/// A kind of row.
pub trait Row: Message + Default {}

/// What the vault knows of itself.
#[derive(Clone, PartialEq, Message)]
pub(super) struct VaultRow {
    /// The keyring's generation when this was written: an older keyring is a rollback.
    #[prost(uint64, tag = "1")]
    pub(super) keyring_generation: u64,
    /// Whether every consent is found by its person: not yet where the first version wrote the ledger.
    #[prost(bool, tag = "2")]
    pub(super) subjects_indexed: bool,
}

/// A consent is a person's: all is in the key, and the row goes with the consent's.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SubjectConsentRow {}

/// The erasure of a person.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ErasedRow {
    /// Receipts whose event is not later are refused.
    #[prost(message, optional, tag = "1")]
    pub(super) time: Option<Timestamp>,
}

/// A tenant.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TenantRow {
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
}

/// A record with its parts.
#[derive(Clone, PartialEq, Message)]
pub struct RecordRow {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(string, tag = "2")]
    tenant: String,
    #[prost(string, tag = "3")]
    call_id: String,
    #[prost(bytes = "vec", tag = "4")]
    consent: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    receipt_sha256: Vec<u8>,
    #[prost(message, optional, tag = "6")]
    collect_time: Option<Timestamp>,
    #[prost(message, optional, tag = "7")]
    upload_time: Option<Timestamp>,
    #[prost(message, optional, tag = "8")]
    expire_time: Option<Timestamp>,
    #[prost(fixed64, tag = "9")]
    place: u64,
    #[prost(bool, tag = "10")]
    shredding: bool,
    #[prost(message, repeated, tag = "11")]
    parts: Vec<PartRow>,
    /// Numbers of the categories of its attribute fields.
    #[prost(uint32, repeated, tag = "12")]
    fields: Vec<u32>,
}

/// A part of a record.
#[derive(Clone, PartialEq, Message)]
struct PartRow {
    #[prost(uint32, tag = "1")]
    number: u32,
    #[prost(uint32, tag = "2")]
    category: u32,
    #[prost(uint32, tag = "3")]
    media_type: u32,
    #[prost(uint64, tag = "4")]
    size: u64,
    #[prost(uint32, tag = "5")]
    volume: u32,
    #[prost(uint64, tag = "6")]
    offset: u64,
    #[prost(uint64, tag = "7")]
    length: u64,
}

/// Whose record stands at a place.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PlaceRow {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    record: Vec<u8>,
}

/// A consent: the receipt as it was signed, and its events.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub(super) struct ConsentRow {
    #[prost(string, tag = "1")]
    pub(super) receipt: String,
    #[prost(message, optional, tag = "2")]
    registered: Option<Timestamp>,
    #[prost(message, repeated, tag = "3")]
    events: Vec<ConsentEventRow>,
    /// When its last record ends: the row is kept for two years more.
    #[prost(message, optional, tag = "4")]
    last_end: Option<Timestamp>,
}

/// Something that happened to a consent.
#[derive(Clone, PartialEq, Message)]
struct ConsentEventRow {
    #[prost(message, optional, tag = "1")]
    time: Option<Timestamp>,
    /// Numbers of the purposes withdrawn; none: withdrawn whole.
    #[prost(uint32, repeated, tag = "2")]
    withdrawn: Vec<u32>,
}

/// A live count.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CountRow {
    #[prost(string, tag = "1")]
    pub(super) tenant: String,
    #[prost(uint64, tag = "2")]
    pub(super) records: u64,
    #[prost(uint64, tag = "3")]
    pub(super) sealed_bytes: u64,
}

/// A remembered request: what it made, and a keyed hash of what it asked.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RequestRow {
    /// The id of what it made.
    #[prost(bytes = "vec", tag = "1")]
    made: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    mac: Vec<u8>,
    /// The record's place, whose leaf keys the hash; 0 where the vault's own key does.
    #[prost(fixed64, tag = "3")]
    place: u64,
}

impl Row for VaultRow {}
impl Row for SubjectConsentRow {}
impl Row for ErasedRow {}
impl Row for TenantRow {}
impl Row for RecordRow {}
impl Row for PlaceRow {}
impl Row for ConsentRow {}
impl Row for CountRow {}
impl Row for RequestRow {}

impl TenantRow {
    pub(super) fn from_domain(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            jwks: tenant.jwks.clone(),
            retention_days: u32::from(tenant.retention.days()),
            keep_metadata: tenant.metadata_policy == MetadataPolicy::Keep,
            create_time: Some(stamp(tenant.create_time)),
        }
    }

    pub(super) fn into_domain(self) -> Result<Tenant, Error> {
        Ok(Tenant {
            id: parse(&self.id)?,
            jwks: self.jwks,
            retention: u8::try_from(self.retention_days).ok().and_then(Retention::from_days).ok_or(Error::Damaged)?,
            metadata_policy: if self.keep_metadata { MetadataPolicy::Keep } else { MetadataPolicy::Strip },
            create_time: time(self.create_time)?,
        })
    }
}

impl RecordRow {
    pub(super) fn from_domain(record: &Record) -> Self {
        Self {
            id: record.id.0.as_bytes().to_vec(),
            tenant: record.tenant.to_string(),
            call_id: record.call_id.to_string(),
            consent: record.consent.0.as_bytes().to_vec(),
            receipt_sha256: record.receipt_sha256.to_vec(),
            collect_time: Some(stamp(record.collect_time)),
            upload_time: Some(stamp(record.upload_time)),
            expire_time: Some(stamp(record.expire_time)),
            place: record.place.to_u64(),
            shredding: record.state == RecordState::Shredding,
            parts: record.parts.iter().map(PartRow::from_domain).collect(),
            fields: record.fields.iter().map(|category| u32::from(category.number())).collect(),
        }
    }

    /// The record in the row.
    ///
    /// # Errors
    /// When the row is not one of a record.
    pub fn into_domain(self) -> Result<Record, Error> {
        let fields: Option<CategorySet> = self.fields.iter().map(|number| category(*number)).collect();
        Ok(Record {
            id: RecordId(uuid(&self.id)?),
            tenant: parse(&self.tenant)?,
            call_id: parse(&self.call_id)?,
            consent: ConsentId(uuid(&self.consent)?),
            receipt_sha256: digest(&self.receipt_sha256)?,
            collect_time: time(self.collect_time)?,
            upload_time: time(self.upload_time)?,
            expire_time: time(self.expire_time)?,
            place: Place::from_u64(self.place),
            state: if self.shredding { RecordState::Shredding } else { RecordState::Live },
            parts: self.parts.into_iter().map(PartRow::into_domain).collect::<Option<_>>().ok_or(Error::Damaged)?,
            fields: fields.ok_or(Error::Damaged)?,
        })
    }
}

impl PartRow {
    fn from_domain(part: &Part) -> Self {
        Self {
            number: u32::from(part.number),
            category: u32::from(part.category.number()),
            media_type: u32::from(part.media_type.number()),
            size: part.size,
            volume: part.extent.volume,
            offset: part.extent.offset,
            length: part.extent.length,
        }
    }

    fn into_domain(self) -> Option<Part> {
        Some(Part {
            number: u8::try_from(self.number).ok()?,
            category: category(self.category)?,
            media_type: MediaType::from_number(u8::try_from(self.media_type).ok()?)?,
            size: self.size,
            extent: Extent { volume: self.volume, offset: self.offset, length: self.length },
        })
    }
}

impl PlaceRow {
    pub(super) fn from_domain(record: &Record) -> Self {
        Self { tenant: record.tenant.to_string(), record: record.id.0.as_bytes().to_vec() }
    }

    pub(super) fn into_domain(self) -> Result<(TenantId, RecordId), Error> {
        Ok((parse(&self.tenant)?, RecordId(uuid(&self.record)?)))
    }
}

impl ConsentRow {
    /// The row of a consent whose receipt, as it was signed, is `receipt` and whose last record ends at `last_end`.
    pub(super) fn from_domain(consent: &Consent, receipt: String, last_end: DateTime<Utc>) -> Self {
        let event = |event: &ConsentEvent| ConsentEventRow {
            time: Some(stamp(event.time)),
            withdrawn: match event.kind {
                ConsentEventKind::WithdrawnWhole => Vec::new(),
                ConsentEventKind::Withdrawn(purposes) => purposes.iter().map(|purpose| u32::from(purpose.number())).collect(),
            },
        };
        Self {
            receipt,
            registered: Some(stamp(consent.registered_at)),
            events: consent.events.iter().map(event).collect(),
            last_end: Some(stamp(last_end)),
        }
    }

    pub(super) fn last_end(&self) -> Result<DateTime<Utc>, Error> {
        time(self.last_end)
    }

    pub(super) fn into_domain(self) -> Result<Consent, Error> {
        let event = |row: ConsentEventRow| -> Result<ConsentEvent, Error> {
            let purposes: Option<PurposeSet> = row.withdrawn.iter().map(|number| purpose(*number)).collect();
            let purposes = purposes.ok_or(Error::Damaged)?;
            let kind = if purposes.is_empty() { ConsentEventKind::WithdrawnWhole } else { ConsentEventKind::Withdrawn(purposes) };
            Ok(ConsentEvent { time: time(row.time)?, kind })
        };
        let parsed = receipt::parse_stored(&self.receipt).map_err(|_| Error::Damaged)?;
        Ok(Consent {
            tenant: parsed.issuer.clone(),
            receipt: parsed,
            receipt_sha256: receipt::sha256(&self.receipt),
            registered_at: time(self.registered)?,
            events: self.events.into_iter().map(event).collect::<Result<_, _>>()?,
        })
    }
}

impl RequestRow {
    /// The memory of a request that made the thing `made`; `place` is the record's, if it made one.
    pub(super) fn new(made: Uuid, mac: [u8; 32], place: Option<Place>) -> Self {
        Self { made: made.as_bytes().to_vec(), mac: mac.to_vec(), place: place.map_or(0, Place::to_u64) }
    }

    pub(super) fn made(&self) -> Result<Uuid, Error> {
        uuid(&self.made)
    }

    pub(super) fn place(&self) -> Place {
        Place::from_u64(self.place)
    }

    pub(super) fn mac(&self) -> &[u8] {
        &self.mac
    }
}

pub(super) fn stamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0) }
}

pub(super) fn time(stamp: Option<Timestamp>) -> Result<DateTime<Utc>, Error> {
    let stamp = stamp.ok_or(Error::Damaged)?;
    u32::try_from(stamp.nanos).ok().and_then(|nanos| DateTime::from_timestamp(stamp.seconds, nanos)).ok_or(Error::Damaged)
}

pub(super) fn parse<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::Damaged)
}

pub(super) fn uuid(bytes: &[u8]) -> Result<Uuid, Error> {
    Uuid::from_slice(bytes).map_err(|_| Error::Damaged)
}

pub(super) fn digest(bytes: &[u8]) -> Result<[u8; 32], Error> {
    bytes.try_into().map_err(|_| Error::Damaged)
}

pub(super) fn category(number: u32) -> Option<Category> {
    Category::from_number(u8::try_from(number).ok()?)
}

pub(super) fn purpose(number: u32) -> Option<Purpose> {
    Purpose::from_number(u8::try_from(number).ok()?)
}

/// The id of a job in a row.
pub(super) fn job_id(bytes: &[u8]) -> Result<JobId, Error> {
    uuid(bytes).map(JobId)
}
