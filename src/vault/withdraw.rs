//! Withdrawal: a person's no, from which no release is decided any more; the last no to training shreds at once.

use super::Vault;
use super::book::Book;
use super::consents::{ConsentView, view};
use super::error::Error;
use super::rows::ConsentRow;
use super::shred::Destruction;
use crate::domain::consent::{Consent, ConsentEvent, ConsentEventKind};
use crate::domain::ids::{ConsentId, RecordId, TenantId};
use crate::domain::purpose::PurposeSet;
use crate::domain::record::Record;
use crate::domain::retention::hour_of;
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
        let key = schema::consent(self.book.tenant_tag(tenant), id);
        let row = self.book.get::<ConsentRow>(&key)?.ok_or(Error::NotFound)?;
        let (receipt, last_end) = (row.receipt.clone(), row.last_end()?);
        let mut consent = row.into_domain()?;
        let kind = if purposes.is_empty() { ConsentEventKind::WithdrawnWhole } else { ConsentEventKind::Withdrawn(purposes) };
        let mut transaction = Transaction::default();
        let is_new = match kind {
            ConsentEventKind::WithdrawnWhole => consent.events.iter().all(|event| event.kind != kind),
            ConsentEventKind::Withdrawn(purposes) => !purposes.without(consent.withdrawn()).is_empty(),
        };
        if is_new {
            consent.events.push(ConsentEvent { time: now.lo, kind });
            self.put_consent(&mut transaction, &consent, receipt, last_end.max(now.lo))?;
            // Longer than the row: a receipt must not come again as if nothing had been said.
            let withdrawn = schema::withdrawn(self.book.tenant_tag(tenant), id);
            Book::put_mark(&mut transaction, schema::due(hour_of(consent.receipt.expires_at).plus(1), &withdrawn));
            Book::put_mark(&mut transaction, withdrawn);
        }
        let (records, all_whole) = if consent.keeps_alive() { (Vec::new(), true) } else { self.records_under(&consent)? };
        let marked = self.mark(transaction, &records)?;
        drop(writes);
        let destruction = self.destroy(marked)?;
        if all_whole { Ok((view(consent, now), destruction)) } else { Err(Error::Damaged) }
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
