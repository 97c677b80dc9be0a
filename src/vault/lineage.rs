//! Lineage: which records each job received, and how much, durable before the bytes leave.
//!
//! This is what `max_records` and `max_bytes` are counted on, so a job stays within them across streams, epochs, workers
//! and restarts. A message that was accounted for and then discarded stays accounted for: what counts is what may have left.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use prost::Message;
use roaring::RoaringTreemap;

use super::Vault;
use super::book::Book;
use super::error::Error;
use super::rows::Row;
use crate::domain::ids::{Hour, JobId, Place};
use crate::domain::job::Job;
use crate::store::ledger::Transaction;
use crate::store::schema;

/// What jobs have received, of the jobs that have been asked about in this run.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    jobs: Mutex<HashMap<JobId, Received>>,
}

/// What one job received.
#[derive(Debug, Default)]
struct Received {
    bytes: u64,
    records: u64,
    by_hour: BTreeMap<Hour, RoaringTreemap>,
    /// Hours that changed since they were last put into the ledger.
    changed: Vec<Hour>,
    bytes_changed: bool,
}

/// How many plaintext bytes a job received.
#[derive(Clone, PartialEq, Message)]
struct ReceivedRow {
    #[prost(uint64, tag = "1")]
    bytes: u64,
}

/// The serials of an hour whose records a job received.
#[derive(Clone, PartialEq, Message)]
struct ReceivedHourRow {
    /// A portable Roaring treemap.
    #[prost(bytes = "vec", tag = "1")]
    serials: Vec<u8>,
}

impl Row for ReceivedRow {}
impl Row for ReceivedHourRow {}

impl Vault {
    /// Accounts for a record of which `bytes` are about to be released to a job; durable with [`Vault::save_received`].
    ///
    /// # Errors
    /// [`Error::JobQuotaExceeded`] when the job's limits do not allow it; nothing is then accounted for.
    pub(super) fn account(&self, job: &Job, place: Place, bytes: u64) -> Result<(), Error> {
        let mut jobs = self.lineage.jobs.lock();
        let received = received(&self.book, &mut jobs, job.id)?;
        let is_new = !received.by_hour.get(&place.hour).is_some_and(|serials| serials.contains(place.serial.number()));
        let (records, bytes) = (received.records.saturating_add(u64::from(is_new)), received.bytes.saturating_add(bytes));
        if records > job.spec.max_records || bytes > job.spec.max_bytes {
            return Err(Error::JobQuotaExceeded);
        }
        if is_new {
            received.by_hour.entry(place.hour).or_default().insert(place.serial.number());
            received.changed.push(place.hour);
        }
        received.records = records;
        received.bytes_changed |= received.bytes != bytes;
        received.bytes = bytes;
        Ok(())
    }

    /// Makes durable what was accounted for. Bytes leave only after this.
    pub(super) fn save_received(&self, job: JobId) -> Result<(), Error> {
        let mut transaction = Transaction::default();
        let mut jobs = self.lineage.jobs.lock();
        let received = received(&self.book, &mut jobs, job)?;
        received.changed.sort_unstable();
        received.changed.dedup();
        for hour in received.changed.drain(..) {
            let mut serials = Vec::new();
            if let Some(bitmap) = received.by_hour.get(&hour) {
                bitmap.serialize_into(&mut serials).map_err(|error| Error::Failed(error.to_string()))?;
            }
            self.book.put(&mut transaction, schema::lineage(job, hour), &ReceivedHourRow { serials })?;
        }
        if std::mem::take(&mut received.bytes_changed) {
            self.book.put(&mut transaction, schema::received(job), &ReceivedRow { bytes: received.bytes })?;
        }
        let ticket = self.book.apply(transaction)?;
        drop(jobs);
        self.book.sync(ticket)
    }
}

fn received<'a>(book: &Book, jobs: &'a mut HashMap<JobId, Received>, job: JobId) -> Result<&'a mut Received, Error> {
    Ok(match jobs.entry(job) {
        Entry::Occupied(received) => received.into_mut(),
        Entry::Vacant(received) => received.insert(load(book, job)?),
    })
}

fn load(book: &Book, job: JobId) -> Result<Received, Error> {
    let bytes = book.get::<ReceivedRow>(&schema::received(job))?.map_or(0, |row| row.bytes);
    let mut received = Received { bytes, ..Received::default() };
    for row in book.scan::<ReceivedHourRow>(&schema::lineage_of(job)) {
        let (key, row) = row?;
        let serials = RoaringTreemap::deserialize_from(row.serials.as_slice()).map_err(|_| Error::Damaged)?;
        received.records = received.records.saturating_add(serials.len());
        received.by_hour.insert(schema::lineage_hour(&key).ok_or(Error::Damaged)?, serials);
    }
    Ok(received)
}
