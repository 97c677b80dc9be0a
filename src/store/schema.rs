//! The ledger's tables and the layout of their keys.
//!
//! A key is the table's byte, then fields of fixed length in big-endian order. Tenants, callers, call ids and the like
//! appear only as [`Tag`]s (HMACs made by the vault), so a stolen index names nobody. `docs/format.md` has the byte table.

mod certificates;

use crate::domain::ids::{ConsentId, Hour, JobId, Place, RecordId, SnapshotId};
pub use certificates::{
    certificate, certificate_of, certificate_tokens, certificates, certificates_of, draft, draft_piece, draft_pieces, drafts,
};

/// Which kind of row a key belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// What the vault knows of itself: one row.
    Vault,
    /// Tenants, by tenant tag.
    Tenant,
    /// Receipt keys that a tenant has shown to hold, by tenant tag and key tag.
    ReceiptKey,
    /// Records with their parts, by tenant tag and record id.
    Record,
    /// Where a record stands, by its place: hour, then serial.
    Place,
    /// Places whose records are being shredded.
    Marked,
    /// Records of a tenant's call, by call tag.
    Call,
    /// Consents with their events, by tenant tag and consent id.
    Consent,
    /// Consents of which something was withdrawn, by tenant tag and consent id: known for as long as the receipt could come again.
    Withdrawn,
    /// Records under a consent, by tenant tag, consent id and record id: those alive, and those that jobs received.
    ConsentRecord,
    /// Which jobs received a record that is gone, by tenant tag and record id.
    Released,
    /// Consents of a person, by tenant tag, person tag and consent id.
    SubjectConsent,
    /// When a person was erased, by tenant tag and person tag.
    Erased,
    /// Remembered requests, by request tag.
    Request,
    /// Training jobs.
    Job,
    /// How much a job received.
    Received,
    /// Which records a job received, by job and hour.
    Lineage,
    /// Snapshots.
    Snapshot,
    /// The records of a snapshot, by snapshot, hour and piece.
    SnapshotPiece,
    /// Live records by hour and tenant tag.
    Count,
    /// Certificates of destruction, by tenant tag and certificate id.
    Certificate,
    /// The tokens of a certificate's records, by tenant tag, certificate id and piece.
    CertificateTokens,
    /// Certificates that are being put together, by tenant tag and keyring generation.
    Draft,
    /// Their tokens, by tenant tag, keyring generation and piece.
    DraftTokens,
    /// Rows to be removed later, by the hour in which they are due and their key.
    Due,
}

impl Table {
    /// The first byte of its keys.
    #[must_use]
    pub const fn byte(self) -> u8 {
        match self {
            Self::Vault => b'V',
            Self::Tenant => b'T',
            Self::ReceiptKey => b'B',
            Self::Record => b'R',
            Self::Place => b'P',
            Self::Marked => b'M',
            Self::Call => b'L',
            Self::Consent => b'C',
            Self::Withdrawn => b'W',
            Self::ConsentRecord => b'N',
            Self::Released => b'O',
            Self::SubjectConsent => b'U',
            Self::Erased => b'E',
            Self::Request => b'Q',
            Self::Job => b'J',
            Self::Received => b'A',
            Self::Lineage => b'G',
            Self::Snapshot => b'S',
            Self::SnapshotPiece => b'I',
            Self::Count => b'K',
            Self::Certificate => b'F',
            Self::CertificateTokens => b'X',
            Self::Draft => b'Y',
            Self::DraftTokens => b'Z',
            Self::Due => b'D',
        }
    }

    fn key(self, fields: &[&[u8]]) -> Vec<u8> {
        let mut key = vec![self.byte()];
        for field in fields {
            key.extend_from_slice(field);
        }
        key
    }
}

/// Whether a row under this key may say all by being there.
#[must_use]
pub fn is_mark(key: &[u8]) -> bool {
    const MARKS: [Table; 4] = [Table::Marked, Table::Withdrawn, Table::ConsentRecord, Table::Due];
    MARKS.iter().any(|table| key.first() == Some(&table.byte()))
}

/// A keyed hash that stands for a name in keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub [u8; 16]);

/// The key of the vault's own row.
#[must_use]
pub fn vault() -> Vec<u8> {
    Table::Vault.key(&[])
}

/// The key of a tenant.
#[must_use]
pub fn tenant(tenant: Tag) -> Vec<u8> {
    Table::Tenant.key(&[&tenant.0])
}

/// The key of a receipt key.
#[must_use]
pub fn receipt_key(tenant: Tag, kid: Tag) -> Vec<u8> {
    Table::ReceiptKey.key(&[&tenant.0, &kid.0])
}

/// What the keys of a tenant's receipt keys begin with.
#[must_use]
pub fn receipt_keys(tenant: Tag) -> Vec<u8> {
    Table::ReceiptKey.key(&[&tenant.0])
}

/// The key of a record.
#[must_use]
pub fn record(tenant: Tag, record: RecordId) -> Vec<u8> {
    Table::Record.key(&[&tenant.0, record.0.as_bytes()])
}

/// What the keys of a tenant's records begin with.
#[must_use]
pub fn records_of(tenant: Tag) -> Vec<u8> {
    Table::Record.key(&[&tenant.0])
}

/// The key of a place.
#[must_use]
pub fn place(place: Place) -> Vec<u8> {
    Table::Place.key(&[&place.to_u64().to_be_bytes()])
}

/// What the keys of an hour's places begin with.
#[must_use]
pub fn places_of(hour: Hour) -> Vec<u8> {
    Table::Place.key(&[&hour_bytes(hour)])
}

/// What the keys of all places begin with.
#[must_use]
pub fn places() -> Vec<u8> {
    Table::Place.key(&[])
}

/// The key that says that the record at a place is being shredded.
#[must_use]
pub fn marked(place: Place) -> Vec<u8> {
    Table::Marked.key(&[&place.to_u64().to_be_bytes()])
}

/// What the keys of all such places begin with.
#[must_use]
pub fn all_marked() -> Vec<u8> {
    Table::Marked.key(&[])
}

/// The place at the end of a key of either kind.
#[must_use]
pub fn place_in(key: &[u8]) -> Option<Place> {
    let (_, number) = key.split_first()?;
    Some(Place::from_u64(u64::from_be_bytes(number.try_into().ok()?)))
}

/// The key of a call id.
#[must_use]
pub fn call(call: Tag) -> Vec<u8> {
    Table::Call.key(&[&call.0])
}

/// The key of a consent.
#[must_use]
pub fn consent(tenant: Tag, consent: ConsentId) -> Vec<u8> {
    Table::Consent.key(&[&tenant.0, consent.0.as_bytes()])
}

/// The key that says that something of a consent was withdrawn.
#[must_use]
pub fn withdrawn(tenant: Tag, consent: ConsentId) -> Vec<u8> {
    Table::Withdrawn.key(&[&tenant.0, consent.0.as_bytes()])
}

/// The key that says that a record stands under a consent.
#[must_use]
pub fn consent_record(tenant: Tag, consent: ConsentId, record: RecordId) -> Vec<u8> {
    Table::ConsentRecord.key(&[&tenant.0, consent.0.as_bytes(), record.0.as_bytes()])
}

/// What the keys of the records under a tenant's consents begin with.
#[must_use]
pub fn consent_records(tenant: Tag) -> Vec<u8> {
    Table::ConsentRecord.key(&[&tenant.0])
}

/// What the keys of the records under a consent begin with.
#[must_use]
pub fn records_under(tenant: Tag, consent: ConsentId) -> Vec<u8> {
    Table::ConsentRecord.key(&[&tenant.0, consent.0.as_bytes()])
}

/// The record in such a key.
#[must_use]
pub fn record_under(key: &[u8]) -> Option<RecordId> {
    Some(RecordId(uuid::Uuid::from_bytes(*key.last_chunk()?)))
}

/// The key of which jobs received a record that is gone.
#[must_use]
pub fn released(tenant: Tag, record: RecordId) -> Vec<u8> {
    Table::Released.key(&[&tenant.0, record.0.as_bytes()])
}

/// The key that says that a consent is a person's.
#[must_use]
pub fn subject_consent(tenant: Tag, subject: Tag, consent: ConsentId) -> Vec<u8> {
    Table::SubjectConsent.key(&[&tenant.0, &subject.0, consent.0.as_bytes()])
}

/// What the keys of a person's consents begin with.
#[must_use]
pub fn consents_of(tenant: Tag, subject: Tag) -> Vec<u8> {
    Table::SubjectConsent.key(&[&tenant.0, &subject.0])
}

/// The consent in such a key.
#[must_use]
pub fn consent_of(key: &[u8]) -> Option<ConsentId> {
    Some(ConsentId(uuid::Uuid::from_bytes(*key.last_chunk()?)))
}

/// The key of when a person was erased.
#[must_use]
pub fn erased(tenant: Tag, subject: Tag) -> Vec<u8> {
    Table::Erased.key(&[&tenant.0, &subject.0])
}

/// What the keys of all consents begin with.
#[must_use]
pub fn consents() -> Vec<u8> {
    Table::Consent.key(&[])
}

/// The key of a remembered request.
#[must_use]
pub fn request(request: Tag) -> Vec<u8> {
    Table::Request.key(&[&request.0])
}

/// The key of a job.
#[must_use]
pub fn job(job: JobId) -> Vec<u8> {
    Table::Job.key(&[job.0.as_bytes()])
}

/// What the keys of all jobs begin with.
#[must_use]
pub fn jobs() -> Vec<u8> {
    Table::Job.key(&[])
}

/// The job in such a key.
#[must_use]
pub fn job_of(key: &[u8]) -> Option<JobId> {
    Some(JobId(uuid::Uuid::from_bytes(*key.last_chunk()?)))
}

/// What the keys of all tenants begin with.
#[must_use]
pub fn tenants() -> Vec<u8> {
    Table::Tenant.key(&[])
}

/// What the keys of a tenant's consents begin with.
#[must_use]
pub fn consents_of_tenant(tenant: Tag) -> Vec<u8> {
    Table::Consent.key(&[&tenant.0])
}

/// The key of how much a job received.
#[must_use]
pub fn received(job: JobId) -> Vec<u8> {
    Table::Received.key(&[job.0.as_bytes()])
}

/// The key of what a job received of an hour.
#[must_use]
pub fn lineage(job: JobId, hour: Hour) -> Vec<u8> {
    Table::Lineage.key(&[job.0.as_bytes(), &hour_bytes(hour)])
}

/// What the keys of all that a job received begin with.
#[must_use]
pub fn lineage_of(job: JobId) -> Vec<u8> {
    Table::Lineage.key(&[job.0.as_bytes()])
}

/// The hour in such a key.
#[must_use]
pub fn lineage_hour(key: &[u8]) -> Option<Hour> {
    hour_from(*key.last_chunk()?)
}

/// The key of a snapshot.
#[must_use]
pub fn snapshot(snapshot: SnapshotId) -> Vec<u8> {
    Table::Snapshot.key(&[snapshot.0.as_bytes()])
}

/// What the keys of all snapshots begin with.
#[must_use]
pub fn snapshots() -> Vec<u8> {
    Table::Snapshot.key(&[])
}

/// What the keys of all pieces of snapshots begin with.
#[must_use]
pub fn all_snapshot_pieces() -> Vec<u8> {
    Table::SnapshotPiece.key(&[])
}

/// The key of one piece of a snapshot's list.
#[must_use]
pub fn snapshot_piece(snapshot: SnapshotId, hour: Hour, piece: u32) -> Vec<u8> {
    Table::SnapshotPiece.key(&[snapshot.0.as_bytes(), &hour_bytes(hour), &piece.to_be_bytes()])
}

/// What the keys of a snapshot's pieces begin with.
#[must_use]
pub fn snapshot_pieces(snapshot: SnapshotId) -> Vec<u8> {
    Table::SnapshotPiece.key(&[snapshot.0.as_bytes()])
}

/// The hour in such a key.
#[must_use]
pub fn piece_hour(key: &[u8]) -> Option<Hour> {
    let (rest, _piece) = key.split_last_chunk::<4>()?;
    hour_from(*rest.last_chunk()?)
}

/// The key of the count of a tenant's live records of an hour.
#[must_use]
pub fn count(hour: Hour, tenant: Tag) -> Vec<u8> {
    Table::Count.key(&[&hour_bytes(hour), &tenant.0])
}

/// What the keys of all counts begin with.
#[must_use]
pub fn counts() -> Vec<u8> {
    Table::Count.key(&[])
}

/// The hour and the tenant in such a key.
#[must_use]
pub fn count_in(key: &[u8]) -> Option<(Hour, Tag)> {
    let (hour, tenant) = key.strip_prefix(&[Table::Count.byte()])?.split_first_chunk()?;
    Some((hour_from(*hour)?, Tag(tenant.try_into().ok()?)))
}

/// The key that says that the row under `key` is to be removed in `hour`.
#[must_use]
pub fn due(hour: Hour, key: &[u8]) -> Vec<u8> {
    Table::Due.key(&[&hour_bytes(hour), key])
}

/// What the keys of all rows due begin with.
#[must_use]
pub fn dues() -> Vec<u8> {
    Table::Due.key(&[])
}

/// The hour in which a row is due and its key.
#[must_use]
pub fn due_in(key: &[u8]) -> Option<(Hour, &[u8])> {
    let (hour, key) = key.strip_prefix(&[Table::Due.byte()])?.split_first_chunk()?;
    Some((hour_from(*hour)?, key))
}

/// An hour as its low three bytes: what fits in a key and sorts.
fn hour_bytes(hour: Hour) -> [u8; 3] {
    let [_, bytes @ ..] = hour.number().to_be_bytes();
    bytes
}

fn hour_from([a, b, c]: [u8; 3]) -> Option<Hour> {
    Hour::new(u32::from_be_bytes([0, a, b, c]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Serial;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_give_back_what_is_in_them(hour in 0_u32..1 << 24, serial in 0_u64..1 << 40, tag: [u8; 16], key: Vec<u8>) {
            let place_ = Place { hour: Hour::new(hour).unwrap(), serial: Serial::new(serial).unwrap() };
            prop_assert_eq!(place_in(&place(place_)), Some(place_));
            prop_assert!(place(place_).starts_with(&places_of(place_.hour)));
            prop_assert_eq!(count_in(&count(place_.hour, Tag(tag))), Some((place_.hour, Tag(tag))));
            let due_key = due(place_.hour, &key);
            prop_assert_eq!(due_in(&due_key), Some((place_.hour, &key[..])));
        }

        #[test]
        fn strange_keys_are_refused(key: Vec<u8>) {
            let _parsed = (place_in(&key), count_in(&key), due_in(&key), record_under(&key));
        }
    }
}
