//! Lineage: which records each job received, and how much, durable before the bytes leave.
//!
//! This is what `max_records` and `max_bytes` are counted on, so a job stays within them across streams, epochs, workers
//! and restarts. A message that was accounted for and then discarded stays accounted for: what counts is what may have left.

use std::cell::RefCell;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;
use prost::Message;
use roaring::RoaringTreemap;

use super::Vault;
use super::book::Book;
use super::consents::{due_month, hour_over};
use super::error::Error;
use super::pages::{Listed, Page};
use super::rows::{self, Row};
use crate::domain::ids::{Hour, JobId, Place, RecordId, TenantId};
use crate::domain::job::Job;
use crate::domain::receipt::SubjectRef;
use crate::domain::record::Record;
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

/// Which jobs received a record that is gone; kept for two years.
#[derive(Clone, PartialEq, Message)]
struct ReleasedRow {
    #[prost(bytes = "vec", repeated, tag = "1")]
    jobs: Vec<Vec<u8>>,
    /// The place at which it stood.
    #[prost(fixed64, tag = "2")]
    place: u64,
}

impl Row for ReceivedRow {}
impl Row for ReceivedHourRow {}
impl Row for ReleasedRow {}

/// Records that jobs received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The record; none where a job's records are counted.
    pub record: Option<RecordId>,
    /// The jobs.
    pub jobs: Vec<JobId>,
    /// The hour in which the records expire or expired.
    pub hour: Hour,
    /// How many records.
    pub count: u64,
}

/// Which jobs received records of an hour: of the hour asked about last.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    hour: Option<Hour>,
    jobs: Vec<(JobId, RoaringTreemap)>,
}

impl Receivers {
    /// The jobs that received the record at a place.
    pub(super) fn of(&mut self, book: &Book, place: Place) -> Result<Vec<JobId>, Error> {
        if self.hour != Some(place.hour) {
            self.jobs = receivers(book, place.hour)?;
            self.hour = Some(place.hour);
        }
        let serial = place.serial.number();
        Ok(self.jobs.iter().filter(|(_, serials)| serials.contains(serial)).map(|(job, _)| *job).collect())
    }
}

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

    /// Keeps, of a record that goes, which jobs received it; `false` when none did, and nothing is kept.
    pub(super) fn keep_released(
        &self,
        transaction: &mut Transaction,
        record: &Record,
        receivers: &mut Receivers,
    ) -> Result<bool, Error> {
        let jobs = receivers.of(&self.book, record.place)?;
        // A vault that was off for years finds records of which nothing is to be known any more.
        if jobs.is_empty() || self.keyring.month_key(due_month(record.expire_time)).is_none() {
            return Ok(false);
        }
        let jobs = jobs.into_iter().map(|job| job.0.as_bytes().to_vec()).collect();
        let tag = self.book.tenant_tag(&record.tenant);
        let row = ReleasedRow { jobs, place: record.place.to_u64() };
        self.put_two_years(transaction, schema::released(tag, record.id), &row, record.expire_time)?;
        // By it the record is found by its person.
        let mark = schema::consent_record(tag, record.consent, record.id);
        Book::put_mark(transaction, schema::due(hour_over(record.expire_time), &mark));
        Ok(true)
    }

    /// What a job received, hour by hour of expiry.
    ///
    /// # Errors
    /// [`Error::NotFound`], or [`Error::Invalid`] when the token is not one of this list.
    pub fn releases_to(&self, job: JobId, page: &Page) -> Result<Listed<Released>, Error> {
        self.job(job)?;
        self.page(&schema::lineage_of(job), page, |key| {
            let hour = schema::lineage_hour(key).ok_or(Error::Damaged)?;
            let Some(row) = self.book.get::<ReceivedHourRow>(key)? else { return Ok(None) };
            Ok(Some(Released { record: None, jobs: vec![job], hour, count: serials(&row)?.len() }))
        })
    }

    /// Who received a record, alive or gone; empty when nobody did, and when the record never was.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the token is not one of this list.
    pub fn releases_of(&self, tenant: &TenantId, record: RecordId, page: &Page) -> Result<Listed<Released>, Error> {
        self.now()?;
        let key = schema::released(self.book.tenant_tag(tenant), record);
        self.page_of_one(&key, page, |_| self.released(tenant, record, &mut Receivers::default()))
    }

    /// Who received which records of a person.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such tenant, [`Error::Invalid`] when the token is not one of this list.
    pub fn releases_of_subject(&self, tenant: &TenantId, subject: &SubjectRef, page: &Page) -> Result<Listed<Released>, Error> {
        self.tenant(tenant)?;
        let receivers = RefCell::default();
        self.page_of_subject(tenant, subject, page, |record| self.released(tenant, record, &mut receivers.borrow_mut()))
    }

    fn released(&self, tenant: &TenantId, id: RecordId, receivers: &mut Receivers) -> Result<Option<Released>, Error> {
        let (jobs, place) = if let Some(record) = self.book.record(tenant, id)? {
            (receivers.of(&self.book, record.place)?, record.place)
        } else {
            let row = self.book.get::<ReleasedRow>(&schema::released(self.book.tenant_tag(tenant), id))?.unwrap_or_default();
            (row.jobs.iter().map(|job| rows::job_id(job)).collect::<Result<_, _>>()?, Place::from_u64(row.place))
        };
        Ok((!jobs.is_empty()).then_some(Released { record: Some(id), jobs, hour: place.hour, count: 1 }))
    }
}

/// The jobs that received records of an hour, each with their serials.
fn receivers(book: &Book, hour: Hour) -> Result<Vec<(JobId, RoaringTreemap)>, Error> {
    let mut receivers = Vec::new();
    for key in book.keys(&schema::jobs()) {
        let job = schema::job_of(&key?).ok_or(Error::Damaged)?;
        match book.get::<ReceivedHourRow>(&schema::lineage(job, hour)).and_then(|row| row.as_ref().map(serials).transpose()) {
            // Destruction does not wait for a damaged row.
            Err(Error::Damaged) => tracing::error!(%job, hour = %hour, "what a job received is damaged"),
            received => receivers.extend(received?.map(|serials| (job, serials))),
        }
    }
    Ok(receivers)
}

fn serials(row: &ReceivedHourRow) -> Result<RoaringTreemap, Error> {
    RoaringTreemap::deserialize_from(row.serials.as_slice()).map_err(|_| Error::Damaged)
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
        let serials = serials(&row)?;
        received.records = received.records.saturating_add(serials.len());
        received.by_hour.insert(schema::lineage_hour(&key).ok_or(Error::Damaged)?, serials);
    }
    Ok(received)
}
