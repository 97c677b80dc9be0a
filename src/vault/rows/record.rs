//! Rows of records: what is known of them, and where they stand.

use prost::Message;
use prost_types::Timestamp;

use super::{Row, category, digest, parse, stamp, time, uuid};
use crate::domain::category::CategorySet;
use crate::domain::ids::{ConsentId, Place, RecordId, TenantId};
use crate::domain::media::MediaType;
use crate::domain::metadata::{MetadataKind, Treatment};
use crate::domain::record::{Extent, Part, Record, RecordState};
use crate::vault::error::Error;

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
    /// Its further pieces, if it does not lie in one.
    #[prost(message, repeated, tag = "8")]
    more: Vec<ExtentRow>,
    /// Of the metadata inside: 0 unknown, 1 stripped, 2 kept, 3 untouched.
    #[prost(uint32, tag = "9")]
    treatment: u32,
    /// Numbers of the kinds of metadata that were removed.
    #[prost(uint32, repeated, tag = "10")]
    removed: Vec<u32>,
}

/// A piece of a part.
#[derive(Clone, PartialEq, Message)]
struct ExtentRow {
    #[prost(uint32, tag = "1")]
    volume: u32,
    #[prost(uint64, tag = "2")]
    offset: u64,
    #[prost(uint64, tag = "3")]
    length: u64,
}

/// Whose record stands at a place.
#[derive(Clone, PartialEq, Message)]
pub(in crate::vault) struct PlaceRow {
    #[prost(string, tag = "1")]
    tenant: String,
    #[prost(bytes = "vec", tag = "2")]
    record: Vec<u8>,
}

impl Row for RecordRow {}
impl Row for PlaceRow {}

impl RecordRow {
    pub(in crate::vault) fn from_domain(record: &Record) -> Self {
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
        let mut extents = part.extents.iter().copied().map(ExtentRow::from);
        let ExtentRow { volume, offset, length } = extents.next().unwrap_or_default();
        let (treatment, removed) = match &part.treatment {
            Treatment::Unknown => (0, Vec::new()),
            Treatment::Stripped(removed) => (1, removed.iter().map(|kind| u32::from(kind.number())).collect()),
            Treatment::Kept => (2, Vec::new()),
            Treatment::Untouched => (3, Vec::new()),
        };
        Self {
            number: u32::from(part.number),
            category: u32::from(part.category.number()),
            media_type: u32::from(part.media_type.number()),
            size: part.size,
            volume,
            offset,
            length,
            more: extents.collect(),
            treatment,
            removed,
        }
    }

    fn into_domain(self) -> Option<Part> {
        let kind = |number: u32| MetadataKind::from_number(u8::try_from(number).ok()?);
        let first = ExtentRow { volume: self.volume, offset: self.offset, length: self.length };
        Some(Part {
            number: u8::try_from(self.number).ok()?,
            category: category(self.category)?,
            media_type: MediaType::from_number(u8::try_from(self.media_type).ok()?)?,
            size: self.size,
            treatment: match self.treatment {
                0 => Treatment::Unknown,
                1 => Treatment::Stripped(self.removed.into_iter().map(kind).collect::<Option<_>>()?),
                2 => Treatment::Kept,
                3 => Treatment::Untouched,
                _ => return None,
            },
            extents: std::iter::once(first).chain(self.more).map(Extent::from).collect(),
        })
    }
}

impl From<Extent> for ExtentRow {
    fn from(Extent { volume, offset, length }: Extent) -> Self {
        Self { volume, offset, length }
    }
}

impl From<ExtentRow> for Extent {
    fn from(ExtentRow { volume, offset, length }: ExtentRow) -> Self {
        Self { volume, offset, length }
    }
}

impl PlaceRow {
    pub(in crate::vault) fn from_domain(record: &Record) -> Self {
        Self { tenant: record.tenant.to_string(), record: record.id.0.as_bytes().to_vec() }
    }

    pub(in crate::vault) fn into_domain(self) -> Result<(TenantId, RecordId), Error> {
        Ok((parse(&self.tenant)?, RecordId(uuid(&self.record)?)))
    }
}
