//! Snapshots: the frozen list of records that a job may iterate, in the order of their places; and how long it would be.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use prost::Message;
use prost_types::Timestamp;
use roaring::RoaringTreemap;

use super::Vault;
use super::book::Book;
use super::error::Error;
use super::jobs::new_job;
use super::release::Grounds;
use super::requests::{Made, Request};
use super::rows::{self, RecordRow, Row, stamp, time};
use super::shred::ROWS_AT_ONCE;
use crate::domain::ids::{Hour, Identity, JobId, Place, RequestId, Serial, SnapshotId};
use crate::domain::job::{Job, JobSpec, JobState};
use crate::domain::policy::{self, Denial, PartPermit, Reason, ReleasePermit};
use crate::domain::record::Record;
use crate::domain::retention::{Now, hour_of};
use crate::store::ledger::Transaction;
use crate::store::schema;

/// How many records one row of a list names at most, so that the row stays small.
const PIECE_LEN: usize = 4096;

/// A snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// The job it belongs to.
    pub job: JobId,
    /// How many records it lists.
    pub position_count: u64,
    /// When nothing in it can be fetched any more.
    pub expire_time: DateTime<Utc>,
}

/// How much of what its tenants have a job would receive.
#[derive(Debug, Clone, Default)]
pub struct Eligibility {
    /// Records that it would receive.
    pub records: u64,
    /// Their plaintext bytes.
    pub bytes: u64,
    /// How many records it would not receive, by reason; each under all that hold.
    pub excluded: BTreeMap<Reason, u64>,
}

impl Vault {
    /// How much a job with this spec would receive, if it were active now. Creates nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the spec is not one that could be approved.
    pub fn eligibility(&self, requester: Identity, spec: JobSpec, digest: [u8; 32]) -> Result<(Job, Eligibility), Error> {
        let now = self.working_now()?;
        let draft = new_job(JobId(uuid::Uuid::nil()), requester, spec, digest, now)?;
        let job = Job { state: JobState::Active, ..draft.clone() };
        let mut eligibility = Eligibility::default();
        let mut exclude = |reasons: &[Reason]| {
            for reason in reasons {
                let count = eligibility.excluded.entry(*reason).or_default();
                *count = count.saturating_add(1);
            }
        };
        let (mut records, mut bytes) = (0_u64, 0_u64);
        for decision in self.decisions(&job, now) {
            match decision {
                Ok((record, Ok(permit))) => {
                    let parts: Vec<_> = permit.into_parts().iter().map(PartPermit::part).collect();
                    let sent = record.parts.iter().filter(|part| parts.contains(&part.number)).map(|part| part.size);
                    records = records.saturating_add(1);
                    bytes = bytes.saturating_add(sent.sum());
                }
                Ok((_, Err(denial))) => exclude(denial.reasons()),
                Err(Error::Damaged) => exclude(&[Reason::ConsentMismatch]),
                Err(failure) => return Err(failure),
            }
        }
        Ok((draft, Eligibility { records, bytes, ..eligibility }))
    }

    /// Freezes the list of the records that an active job may receive now.
    ///
    /// # Errors
    /// [`Error::Restored`], [`Error::NotFound`], [`Error::JobNotActive`], [`Error::RequestIdReused`].
    pub fn create_snapshot(&self, job: JobId, by: &Identity, request: RequestId) -> Result<Snapshot, Error> {
        self.restored.check()?;
        let now = self.working_now()?;
        let request = Request::new(&self.book, ("snapshot", &by.to_string()), request, job.0.as_bytes().to_vec());
        if let Some(made) = self.remembered(&request)? {
            self.book.sync_all()?;
            return self.snapshot(job, SnapshotId(made));
        }
        let job = self.active_job(job)?;
        let (list, last_end) = self.eligible(&job, now)?;
        let id = SnapshotId(super::new_uuid(now)?);
        let expire_time = last_end.map_or(job.spec.expire_time, |end| end.min(job.spec.expire_time));
        let snapshot = Snapshot { id, job: job.id, position_count: list.len(), expire_time };
        // A snapshot is of no use after its job, and is then forgotten.
        let end = hour_of(job.spec.expire_time).plus(1);
        let mut transaction = Transaction::default();
        for (hour, number, serials) in pieces(&list) {
            let mut bytes = Vec::with_capacity(serials.serialized_size());
            serials.serialize_into(&mut bytes).map_err(|error| Error::Failed(error.to_string()))?;
            let key = schema::snapshot_piece(id, hour, number);
            Book::put_mark(&mut transaction, schema::due(end, &key));
            self.book.put(&mut transaction, key, &PieceRow { serials: bytes })?;
        }
        Book::put_mark(&mut transaction, schema::due(end, &schema::snapshot(id)));
        self.book.put(&mut transaction, schema::snapshot(id), &SnapshotRow::from_domain(&snapshot))?;
        let writes = self.writes.lock();
        if let Some(made) = self.remembered(&request)? {
            drop(writes);
            self.book.sync_all()?;
            return self.snapshot(job.id, SnapshotId(made));
        }
        self.remember(&mut transaction, &request, &Made::Other(id.0), now)?;
        let ticket = self.book.apply(transaction)?;
        drop(writes);
        self.book.sync(ticket)?;
        Ok(snapshot)
    }

    /// A snapshot of a job.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn snapshot(&self, job: JobId, id: SnapshotId) -> Result<Snapshot, Error> {
        self.now()?;
        let snapshot = self.book.get::<SnapshotRow>(&schema::snapshot(id))?.ok_or(Error::NotFound)?.into_domain()?;
        if snapshot.job == job { Ok(snapshot) } else { Err(Error::NotFound) }
    }

    /// A job that is active now, while anything may be released.
    pub(super) fn active_job(&self, id: JobId) -> Result<Job, Error> {
        self.restored.check()?;
        let job = self.job(id)?;
        match job.revocation {
            Some(revocation) => Err(Error::JobRevoked(revocation.reason)),
            None if job.state == JobState::Active => Ok(job),
            None => Err(Error::JobNotActive),
        }
    }

    /// Removes every snapshot.
    pub(super) fn void_snapshots(&self) -> Result<(), Error> {
        for prefix in [schema::snapshots(), schema::all_snapshot_pieces()] {
            loop {
                let keys: Vec<_> = self.book.keys(&prefix).take(ROWS_AT_ONCE).collect::<Result<_, _>>()?;
                if keys.is_empty() {
                    break;
                }
                let mut transaction = Transaction::default();
                for key in keys {
                    transaction.remove(key);
                }
                self.book.apply(transaction)?;
            }
        }
        Ok(())
    }

    /// The list of a snapshot: its places as numbers.
    pub(super) fn snapshot_list(&self, id: SnapshotId) -> Result<RoaringTreemap, Error> {
        let mut list = RoaringTreemap::new();
        for row in self.book.scan::<PieceRow>(&schema::snapshot_pieces(id)) {
            let (key, row) = row?;
            let hour = schema::piece_hour(&key).ok_or(Error::Damaged)?;
            let serials = RoaringTreemap::deserialize_from(row.serials.as_slice()).map_err(|_| Error::Damaged)?;
            for serial in serials {
                list.insert(Place { hour, serial: Serial::new(serial).ok_or(Error::Damaged)? }.to_u64());
            }
        }
        Ok(list)
    }

    /// The places of the records that the rules release to a job now, and when the last of them ends.
    fn eligible(&self, job: &Job, now: Now) -> Result<(RoaringTreemap, Option<DateTime<Utc>>), Error> {
        let (mut list, mut last_end) = (RoaringTreemap::new(), None);
        for decision in self.decisions(job, now) {
            match decision {
                Ok((record, Ok(_))) => {
                    list.insert(record.place.to_u64());
                    last_end = last_end.max(Some(record.expire_time));
                }
                // What is damaged is not eligible, and no reason to withhold the rest.
                Ok((_, Err(_))) | Err(Error::Damaged) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok((list, last_end))
    }

    /// Every record of the job's tenants, with what the rules say of releasing it to the job now.
    fn decisions<'a>(
        &'a self,
        job: &'a Job,
        now: Now,
    ) -> impl Iterator<Item = Result<(Record, Result<ReleasePermit, Denial>), Error>> + 'a {
        let tenants = job.spec.tenants.iter().map(|tenant| schema::records_of(self.book.tenant_tag(tenant)));
        let rows = tenants.flat_map(|prefix| self.book.scan::<RecordRow>(&prefix));
        rows.map(move |row| {
            let record = row?.1.into_domain()?;
            let Grounds { consent, tenant } = self.grounds(&record)?.ok_or(Error::Damaged)?;
            let decision = policy::decide(job, &record, &consent, &tenant.terms, now);
            Ok((record, decision))
        })
    }
}

/// Cuts a list into pieces: the hour, the number of the piece within it, the serials.
fn pieces(list: &RoaringTreemap) -> Vec<(Hour, u32, RoaringTreemap)> {
    let places: Vec<_> = list.iter().map(Place::from_u64).collect();
    let hours = places.chunk_by(|a, b| a.hour == b.hour);
    let pieces = hours.flat_map(|hour| (0_u32..).zip(hour.chunks(PIECE_LEN)));
    pieces
        .filter_map(|(number, piece)| {
            Some((piece.first()?.hour, number, piece.iter().map(|place| place.serial.number()).collect()))
        })
        .collect()
}

/// A snapshot.
#[derive(Clone, PartialEq, Message)]
struct SnapshotRow {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    job: Vec<u8>,
    #[prost(uint64, tag = "3")]
    position_count: u64,
    #[prost(message, optional, tag = "4")]
    expire_time: Option<Timestamp>,
}

/// Some of the records of a snapshot: serials of one hour.
#[derive(Clone, PartialEq, Message)]
struct PieceRow {
    /// A portable Roaring treemap.
    #[prost(bytes = "vec", tag = "1")]
    serials: Vec<u8>,
}

impl Row for SnapshotRow {}
impl Row for PieceRow {}

impl SnapshotRow {
    fn from_domain(snapshot: &Snapshot) -> Self {
        Self {
            id: snapshot.id.0.as_bytes().to_vec(),
            job: snapshot.job.0.as_bytes().to_vec(),
            position_count: snapshot.position_count,
            expire_time: Some(stamp(snapshot.expire_time)),
        }
    }

    fn into_domain(self) -> Result<Snapshot, Error> {
        Ok(Snapshot {
            id: SnapshotId(rows::uuid(&self.id)?),
            job: rows::job_id(&self.job)?,
            position_count: self.position_count,
            expire_time: time(self.expire_time)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_hold_every_place_once(places in prop::collection::btree_set(0_u64..1 << 42, 0..300)) {
            let list: RoaringTreemap = places.iter().copied().collect();
            let mut again = RoaringTreemap::new();
            for (hour, _, serials) in pieces(&list) {
                again.extend(serials.into_iter().map(|serial| Place { hour, serial: Serial::new(serial).unwrap() }.to_u64()));
            }
            prop_assert_eq!(again, list);
        }
    }
}
