//! What ledger rows hold, and how the domain's values become rows and come back.
//!
//! Rows are protobuf messages declared here, in code: fields may be added, numbers are never used again. A row that cannot
//! become a valid domain value again is damaged.

mod record;
mod tenant;

pub(super) use record::PlaceRow;
pub use record::RecordRow;
pub(super) use tenant::{ReceiptKeyRow, TenantRow};

use chrono::{DateTime, Utc};
use prost::Message;
use prost_types::Timestamp;
use uuid::Uuid;

use super::error::Error;
use crate::crypto::receipt;
use crate::domain::category::Category;
use crate::domain::consent::{Consent, ConsentEvent, ConsentEventKind};
use crate::domain::ids::{JobId, Place};
use crate::domain::purpose::{Purpose, PurposeSet};

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
impl Row for ConsentRow {}
impl Row for CountRow {}
impl Row for RequestRow {}

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
