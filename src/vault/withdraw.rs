//! Withdrawal: a person's no, from which no release is decided any more; the last no to training shreds at once.

use super::Vault;
use super::book::Book;
use super::consents::{ConsentView, view};
use super::error::Error;
use super::rows::{ConsentRow, ErasedRow, stamp};
use super::shred::Destruction;
use crate::domain::consent::{Consent, ConsentEvent, ConsentEventKind};
use crate::domain::ids::{ConsentId, RecordId, TenantId};
use crate::domain::purpose::PurposeSet;
use crate::domain::receipt::SubjectRef;
use crate::domain::record::Record;
use crate::domain::retention::{Now, hour_of};
use crate::domain::trigger::Trigger;
use crate::store::ledger::Transaction;
use crate::store::schema;

impl Vault {
    /// Withdraws purposes of a consent, or all of it when none are named. When this returns, no message with a larger
    /// release sequence than the answer names was decided under what was withdrawn; where no training purpose is left, its
    /// records are unrecoverable. Withdrawing again changes nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn withdraw_consent(
        &self,
        tenant: &TenantId,
        id: ConsentId,
        purposes: PurposeSet,
    ) -> Result<(ConsentView, Destruction), Error> {
        let now = self.now()?;
        self.catch_up()?;
        let writes = self.writes.lock();
        let row = self.book.get(&schema::consent(self.book.tenant_tag(tenant), id))?.ok_or(Error::NotFound)?;
        let kind = if purposes.is_empty() { ConsentEventKind::WithdrawnWhole } else { ConsentEventKind::Withdrawn(purposes) };
        let mut transaction = Transaction::default();
        let consent = self.take_back(&mut transaction, row, kind, now)?;
        let (records, all_whole) = if consent.keeps_alive() { (Vec::new(), true) } else { self.records_under(&consent)? };
        let marked = self.mark(transaction, &records, Trigger::ConsentWithdrawn)?;
        drop(writes);
        let destruction = self.destroy(marked)?;
        let tenant = self.tenant(tenant)?;
        if all_whole { Ok((view(consent, &tenant.terms, now), destruction)) } else { Err(Error::Damaged) }
    }

    /// Erases a person: all of their consents are withdrawn and all of their records unrecoverable when this returns, and
    /// receipts that they gave up to now are refused from then on.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such tenant.
    pub fn erase_subject(&self, tenant: &TenantId, subject: &SubjectRef) -> Result<Destruction, Error> {
        let now = self.now()?;
        self.catch_up()?;
        self.tenant(tenant)?;
        let (tenant_tag, subject_tag) = (self.book.tenant_tag(tenant), self.book.subject_tag(tenant, subject));
        let writes = self.writes.lock();
        let mut transaction = Transaction::default();
        // The latest that it can be: what a person said until now must not come back because a clock was slow.
        let erased = ErasedRow { time: Some(stamp(now.hi)) };
        self.book.put(&mut transaction, schema::erased(tenant_tag, subject_tag), &erased)?;
        let (mut records, mut all_whole) = (Vec::new(), true);
        for key in self.book.keys(&schema::consents_of(tenant_tag, subject_tag)) {
            let id = schema::consent_of(&key?).ok_or(Error::Damaged)?;
            let Some(row) = self.book.get(&schema::consent(tenant_tag, id))? else { continue };
            let consent = self.take_back(&mut transaction, row, ConsentEventKind::WithdrawnWhole, now)?;
            let (under, whole) = self.records_under(&consent)?;
            records.extend(under);
            all_whole &= whole;
        }
        let marked = self.mark(transaction, &records, Trigger::SubjectErased)?;
        drop(writes);
        let destruction = self.destroy(marked)?;
        if all_whole { Ok(destruction) } else { Err(Error::Damaged) }
    }

    /// Adds a withdrawal to a consent's events, if it says anything new. The caller holds `writes`.
    fn take_back(
        &self,
        transaction: &mut Transaction,
        row: ConsentRow,
        kind: ConsentEventKind,
        now: Now,
    ) -> Result<Consent, Error> {
        let (receipt, last_end) = (row.receipt.clone(), row.last_end()?);
        let mut consent = row.into_domain()?;
        let is_new = match kind {
            ConsentEventKind::WithdrawnWhole => consent.events.iter().all(|event| event.kind != kind),
            ConsentEventKind::Withdrawn(purposes) => !purposes.without(consent.withdrawn()).is_empty(),
        };
        if is_new {
            consent.events.push(ConsentEvent { time: now.lo, kind });
            self.put_consent(transaction, &consent, receipt, last_end.max(now.lo))?;
            // Longer than the row: a receipt must not come again as if nothing had been said.
            let withdrawn = schema::withdrawn(self.book.tenant_tag(&consent.tenant), consent.id());
            Book::put_mark(transaction, schema::due(hour_of(consent.receipt.expires_at).plus(1), &withdrawn));
            Book::put_mark(transaction, withdrawn);
        }
        Ok(consent)
    }

    fn records_under(&self, consent: &Consent) -> Result<(Vec<Record>, bool), Error> {
        let prefix = schema::records_under(self.book.tenant_tag(&consent.tenant), consent.id());
        let (mut records, mut all_whole) = (Vec::new(), true);
        for key in self.book.keys(&prefix) {
            let id: RecordId = schema::record_under(&key?).ok_or(Error::Damaged)?;
            match self.book.record(&consent.tenant, id) {
                Err(Error::Damaged) => all_whole = false,
                record => records.extend(record?),
            }
        }
        Ok((records, all_whole))
    }
}
