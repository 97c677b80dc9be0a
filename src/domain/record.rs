//! A record: one eKYC check of one person, the unit of consent, retention and shredding.
//!
//! Only what is known about the data; the data itself is sealed and is never held here.

use chrono::{DateTime, Utc};

use crate::domain::category::{Category, CategorySet};
use crate::domain::ids::{CallId, ConsentId, Place, RecordId, TenantId};
use crate::domain::media::MediaType;
use crate::domain::metadata::Treatment;

/// Whether a record may still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordState {
    /// Its key exists.
    Live,
    /// Its destruction has begun and is never taken back.
    Shredding,
}

/// Where sealed bytes of a part are: in which volume of the record's hour, from where, how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Number of the volume within the hour.
    pub volume: u32,
    /// First byte, counted from the start of the volume.
    pub offset: u64,
    /// How many bytes.
    pub length: u64,
}

/// One file or attribute set of a record: the unit of sealing and release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number within the record.
    pub number: u8,
    /// What it is.
    pub category: Category,
    /// Its format.
    pub media_type: MediaType,
    /// Size of the plaintext, in bytes.
    pub size: u64,
    /// What became of the metadata inside.
    pub treatment: Treatment,
    /// Where it is sealed, piece after piece.
    pub extents: Vec<Extent>,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub id: RecordId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The tenant's name for the check.
    pub call_id: CallId,
    /// The one consent under which it was taken in.
    pub consent: ConsentId,
    /// SHA-256 of that consent's receipt.
    pub receipt_sha256: [u8; 32],
    /// When the data was collected, as the tenant says.
    pub collect_time: DateTime<Utc>,
    /// When the upload was accepted.
    pub upload_time: DateTime<Utc>,
    /// From when on nothing is served.
    pub expire_time: DateTime<Utc>,
    /// Where its key grows.
    pub place: Place,
    /// Whether it may still be used.
    pub state: RecordState,
    /// Its parts, by number.
    pub parts: Vec<Part>,
    /// The categories of its non-empty attribute fields.
    pub fields: CategorySet,
}

impl Record {
    /// All categories that can be granted and that it holds: those of its files and of its fields.
    #[must_use]
    pub fn categories(&self) -> CategorySet {
        let files = self.parts.iter().map(|part| part.category).filter(|category| category.is_file());
        files.collect::<CategorySet>().union(self.fields)
    }

    /// Size of its plaintext over all parts, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.parts.iter().fold(0, |sum, part| sum.saturating_add(part.size))
    }

    /// Size of what is sealed of it, in bytes.
    #[must_use]
    pub fn sealed_size(&self) -> u64 {
        self.parts.iter().flat_map(|part| &part.extents).fold(0, |sum, extent| sum.saturating_add(extent.length))
    }
}
