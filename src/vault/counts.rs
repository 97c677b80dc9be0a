//! How many records are alive, by hour of expiry and tenant: kept in memory and, with every change, in the ledger.

use std::collections::BTreeMap;

use super::book::Book;
use super::error::Error;
use super::rows::{self, CountRow};
use crate::domain::ids::{Hour, TenantId};
use crate::domain::record::Record;
use crate::store::ledger::Transaction;
use crate::store::schema;

/// Records and their sealed bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// Live records.
    pub records: u64,
    /// What they take on disk, in bytes.
    pub sealed_bytes: u64,
}

/// The live counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    live: BTreeMap<(Hour, TenantId), Count>,
    /// Records that are marked and whose destruction is not finished, by hour and tenant.
    marked: BTreeMap<(Hour, TenantId), u64>,
}

impl Counts {
    /// Reads the counts from the ledger.
    pub(super) fn load(book: &Book) -> Result<Self, Error> {
        let mut counts = Self::default();
        for row in book.scan::<CountRow>(&schema::counts()) {
            let (key, row) = row?;
            let (hour, _) = schema::count_in(&key).ok_or(Error::Damaged)?;
            let count = Count { records: row.records, sealed_bytes: row.sealed_bytes };
            counts.live.insert((hour, rows::parse(&row.tenant)?), count);
        }
        Ok(counts)
    }

    /// A record came to be.
    pub(super) fn add(&mut self, book: &Book, transaction: &mut Transaction, record: &Record) -> Result<(), Error> {
        let count = self.live.entry(key(record)).or_default();
        count.records = count.records.saturating_add(1);
        count.sealed_bytes = count.sealed_bytes.saturating_add(record.sealed_size());
        Self::put(book, transaction, record, *count)
    }

    /// A record is about to be shredded.
    pub(super) fn mark(&mut self, book: &Book, transaction: &mut Transaction, record: &Record) -> Result<(), Error> {
        let count = self.live.entry(key(record)).or_default();
        count.records = count.records.saturating_sub(1);
        count.sealed_bytes = count.sealed_bytes.saturating_sub(record.sealed_size());
        self.remark(record);
        Self::put(book, transaction, record, *self.live.entry(key(record)).or_default())
    }

    /// A record was found marked at the start.
    pub(super) fn remark(&mut self, record: &Record) {
        let marked = self.marked.entry(key(record)).or_default();
        *marked = marked.saturating_add(1);
    }

    /// A marked record is gone.
    pub(super) fn finish(&mut self, record: &Record) {
        if let Some(marked) = self.marked.get_mut(&key(record)) {
            *marked = marked.saturating_sub(1);
        }
    }

    /// All hours up to this one are gone.
    pub(super) fn forget(&mut self, book: &Book, transaction: &mut Transaction, over: Hour) {
        while let Some(((hour, tenant), _)) = self.live.first_key_value()
            && *hour <= over
        {
            transaction.remove(schema::count(*hour, book.tenant_tag(tenant)));
            self.live.pop_first();
        }
        self.marked.retain(|(hour, _), _| *hour > over);
    }

    /// The hours that records live in or lived in.
    pub(super) fn hours(&self) -> impl Iterator<Item = Hour> {
        self.live.keys().map(|(hour, _)| *hour)
    }

    /// The live counts of one tenant or of all, by hour.
    pub(super) fn by_hour(&self, tenant: Option<&TenantId>) -> BTreeMap<Hour, Count> {
        let mut hours = BTreeMap::<Hour, Count>::new();
        for ((hour, of), count) in &self.live {
            if tenant.is_none_or(|tenant| tenant == of) && count.records > 0 {
                let sum = hours.entry(*hour).or_default();
                sum.records = sum.records.saturating_add(count.records);
                sum.sealed_bytes = sum.sealed_bytes.saturating_add(count.sealed_bytes);
            }
        }
        hours
    }

    /// How many records of one tenant or of all are marked.
    pub(super) fn marked(&self, tenant: Option<&TenantId>) -> u64 {
        self.marked.iter().filter(|((_, of), _)| tenant.is_none_or(|tenant| tenant == of)).map(|(_, marked)| marked).sum()
    }

    fn put(book: &Book, transaction: &mut Transaction, record: &Record, count: Count) -> Result<(), Error> {
        let row = CountRow { tenant: record.tenant.to_string(), records: count.records, sealed_bytes: count.sealed_bytes };
        book.put(transaction, schema::count(record.place.hour, book.tenant_tag(&record.tenant)), &row)
    }
}

fn key(record: &Record) -> (Hour, TenantId) {
    (record.place.hour, record.tenant.clone())
}
