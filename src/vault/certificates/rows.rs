//! What the ledger keeps of certificates, of those that are being put together, and of why a record is being destroyed.

use chrono::{DateTime, Utc};
use prost::Message;
use prost_types::Timestamp;

use crate::audit::certificate::{Commit, Destroyed, Span};
use crate::domain::ids::TenantId;
use crate::domain::trigger::Trigger;
use crate::vault::error::Error;
use crate::vault::rows::{self, Row};

/// Why a record is being destroyed, and since when.
#[derive(Clone, PartialEq, Message)]
pub(in crate::vault) struct MarkRow {
    #[prost(uint32, tag = "1")]
    trigger: u32,
    #[prost(message, optional, tag = "2")]
    time: Option<Timestamp>,
}

/// A certificate.
#[derive(Clone, PartialEq, Message)]
pub(super) struct CertificateRow {
    #[prost(string, tag = "1")]
    pub(super) note: String,
    #[prost(uint32, tag = "2")]
    pub(super) trigger: u32,
    #[prost(uint64, tag = "3")]
    pub(super) records: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) destroyed: Option<Timestamp>,
}

/// Some tokens of a certificate, one after the other.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TokensRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) tokens: Vec<u8>,
}

/// A certificate of an expiry whose rows are being removed.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DraftRow {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(string, tag = "2")]
    tenant: String,
    #[prost(message, optional, tag = "3")]
    destroyed: Option<DestroyedRow>,
    #[prost(message, optional, tag = "4")]
    commit: Option<CommitRow>,
    /// How many pieces of tokens it has.
    #[prost(uint32, tag = "5")]
    pub(super) pieces: u32,
}

#[derive(Clone, PartialEq, Message)]
struct DestroyedRow {
    #[prost(uint64, tag = "1")]
    records: u64,
    #[prost(message, repeated, tag = "2")]
    parts: Vec<CountRow>,
    #[prost(message, optional, tag = "3")]
    created: Option<SpanRow>,
    #[prost(message, optional, tag = "4")]
    due: Option<SpanRow>,
    #[prost(message, optional, tag = "5")]
    disabled: Option<SpanRow>,
    #[prost(message, repeated, tag = "6")]
    released: Vec<CountRow>,
    #[prost(uint64, tag = "7")]
    unread: u64,
}

/// How many of a category, by its number, or of a job, by its id.
#[derive(Clone, PartialEq, Message)]
struct CountRow {
    #[prost(bytes = "vec", tag = "1")]
    of: Vec<u8>,
    #[prost(uint64, tag = "2")]
    count: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SpanRow {
    #[prost(message, optional, tag = "1")]
    first: Option<Timestamp>,
    #[prost(message, optional, tag = "2")]
    last: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
struct CommitRow {
    #[prost(uint64, tag = "1")]
    before: u64,
    #[prost(uint64, tag = "2")]
    after: u64,
    #[prost(message, optional, tag = "3")]
    time: Option<Timestamp>,
    #[prost(string, tag = "4")]
    custody: String,
    #[prost(string, tag = "5")]
    place: String,
    #[prost(string, tag = "6")]
    method: String,
    #[prost(string, tag = "7")]
    class: String,
    #[prost(uint64, tag = "8")]
    keyrings: u64,
    #[prost(uint64, tag = "9")]
    last_release_sequence: u64,
}

impl Row for MarkRow {}
impl Row for CertificateRow {}
impl Row for TokensRow {}
impl Row for DraftRow {}

impl MarkRow {
    /// Says why, and since when.
    pub(in crate::vault) fn new(trigger: Trigger, time: DateTime<Utc>) -> Self {
        Self { trigger: trigger.number().into(), time: Some(rows::stamp(time)) }
    }

    pub(super) fn trigger(&self) -> Result<Trigger, Error> {
        u8::try_from(self.trigger).ok().and_then(Trigger::from_number).ok_or(Error::Damaged)
    }

    pub(super) fn time(&self) -> Result<DateTime<Utc>, Error> {
        rows::time(self.time)
    }
}

impl DraftRow {
    pub(super) fn new(id: Vec<u8>, tenant: &TenantId, commit: &Commit) -> Self {
        let commit = CommitRow {
            before: commit.generations.0,
            after: commit.generations.1,
            time: Some(rows::stamp(commit.time)),
            custody: commit.custody.clone(),
            place: commit.place.clone(),
            method: commit.method.clone(),
            class: commit.class.clone(),
            keyrings: u64::try_from(commit.keyrings).unwrap_or(u64::MAX),
            last_release_sequence: commit.last_release_sequence,
        };
        Self { id, tenant: tenant.to_string(), destroyed: None, commit: Some(commit), pieces: 0 }
    }

    pub(super) fn tenant(&self) -> Result<TenantId, Error> {
        rows::parse(&self.tenant)
    }

    pub(super) fn commit(&self) -> Result<Commit, Error> {
        let row = self.commit.clone().ok_or(Error::Damaged)?;
        Ok(Commit {
            generations: (row.before, row.after),
            time: rows::time(row.time)?,
            custody: row.custody,
            place: row.place,
            method: row.method,
            class: row.class,
            keyrings: usize::try_from(row.keyrings).unwrap_or(usize::MAX),
            last_release_sequence: row.last_release_sequence,
        })
    }

    pub(super) fn destroyed(&self) -> Result<Destroyed, Error> {
        let Some(row) = self.destroyed.clone() else { return Ok(Destroyed::default()) };
        let mut destroyed = Destroyed {
            records: row.records,
            created: span(row.created)?,
            due: span(row.due)?,
            disabled: span(row.disabled)?,
            unread: row.unread,
            ..Destroyed::default()
        };
        for CountRow { of, count } in row.parts {
            let [number] = of.as_slice() else { return Err(Error::Damaged) };
            destroyed.parts.insert(rows::category((*number).into()).ok_or(Error::Damaged)?, count);
        }
        for CountRow { of, count } in row.released {
            destroyed.released.insert(rows::job_id(&of)?, count);
        }
        Ok(destroyed)
    }

    pub(super) fn set_destroyed(&mut self, destroyed: &Destroyed) {
        let parts = destroyed.parts.iter().map(|(category, count)| CountRow { of: vec![category.number()], count: *count });
        let released = destroyed.released.iter().map(|(job, count)| CountRow { of: job.0.as_bytes().to_vec(), count: *count });
        self.destroyed = Some(DestroyedRow {
            records: destroyed.records,
            parts: parts.collect(),
            created: destroyed.created.map(span_row),
            due: destroyed.due.map(span_row),
            disabled: destroyed.disabled.map(span_row),
            released: released.collect(),
            unread: destroyed.unread,
        });
    }
}

fn span(row: Option<SpanRow>) -> Result<Option<Span>, Error> {
    row.map(|row| Ok(Span { first: rows::time(row.first)?, last: rows::time(row.last)? })).transpose()
}

fn span_row(span: Span) -> SpanRow {
    SpanRow { first: Some(rows::stamp(span.first)), last: Some(rows::stamp(span.last)) }
}
