//! Consents: receipts taken in, their state beside them.

use chrono::{DateTime, Datelike, Months, Utc};

use super::Vault;
use super::book::Book;
use super::error::Error;
use super::pages::{Listed, Page};
use super::rows::{self, ConsentRow, ErasedRow, Row, SubjectConsentRow};
use crate::crypto::jwk::KeySet;
use crate::crypto::receipt::{self, Expected};
use crate::domain::consent::{Consent, ConsentState};
use crate::domain::ids::{ConsentId, Hour, TenantId};
use crate::domain::policy::{self, Refusal};
use crate::domain::receipt::SubjectRef;
use crate::domain::retention::{Now, hour_of};
use crate::domain::tenant::{Tenant, Terms};
use crate::store::ledger::Transaction;
use crate::store::schema;

/// For how many months a consent is kept after its last record.
const KEPT_MONTHS: u32 = 24;

/// A consent and its state at the time of asking.
#[derive(Debug)]
pub struct ConsentView {
    /// The consent.
    pub consent: Consent,
    /// Its state.
    pub state: ConsentState,
}

impl Vault {
    /// Takes in a receipt before any upload names it. The same receipt again gives the same answer.
    ///
    /// # Errors
    /// When the receipt is not one of this tenant for this vault, or its time has not come or is over.
    pub fn register_consent(&self, tenant: &TenantId, receipt: String) -> Result<ConsentView, Error> {
        let now = self.now()?;
        self.catch_up()?;
        let writes = self.writes.lock();
        // Under the lock, so that no key leaves the set and no term changes before it is taken in.
        let tenant = self.tenant(tenant)?;
        let offered = self.offered(&tenant, &receipt, now)?;
        if let Some(known) = self.known(&offered)? {
            drop(writes);
            self.book.sync_all()?;
            return Ok(view(known, &tenant.terms, now));
        }
        policy::admit_receipt(&offered.receipt, &tenant.terms, now)?;
        let mut transaction = Transaction::default();
        self.put_consent(&mut transaction, &offered, receipt, now.lo)?;
        let ticket = self.book.apply(transaction)?;
        drop(writes);
        self.book.sync(ticket)?;
        Ok(view(offered, &tenant.terms, now))
    }

    /// A consent and its state.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn consent(&self, tenant: &TenantId, id: ConsentId) -> Result<ConsentView, Error> {
        let now = self.now()?;
        let consent = self.book.consent(tenant, id)?.ok_or(Error::NotFound)?;
        Ok(view(consent, &self.tenant(tenant)?.terms, now))
    }

    /// A page of the consents of a tenant, or of one person.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such tenant, [`Error::Invalid`] when the token is not one of this list.
    pub fn consents(&self, tenant: &TenantId, subject: Option<&SubjectRef>, page: &Page) -> Result<Listed<ConsentView>, Error> {
        let now = self.now()?;
        let of = self.tenant(tenant)?;
        let tag = self.book.tenant_tag(tenant);
        let prefix = match subject {
            Some(subject) => schema::consents_of(tag, self.book.subject_tag(tenant, subject)),
            None => schema::consents_of_tenant(tag),
        };
        self.page(&prefix, page, |key| {
            let id = schema::consent_of(key).ok_or(Error::Damaged)?;
            Ok(self.book.consent(tenant, id)?.map(|consent| view(consent, &of.terms, now)))
        })
    }

    /// The consent that a receipt gives, if a key of the tenant signed it for this vault. Times are not judged here.
    pub(super) fn verify_receipt(&self, tenant: &Tenant, receipt: &str, now: Now) -> Result<Consent, Error> {
        let keys = KeySet::parse(&tenant.jwks).map_err(|_| Error::Damaged)?;
        let parsed = receipt::verify(receipt, &keys, &Expected { issuer: &tenant.id, audience: &self.id })?;
        Ok(Consent {
            tenant: tenant.id.clone(),
            receipt: parsed,
            receipt_sha256: receipt::sha256(receipt),
            registered_at: now.lo,
            events: Vec::new(),
        })
    }

    /// The consent that a receipt gives, or that this very receipt gave before: its signature was good then, whatever became
    /// of the key.
    pub(super) fn offered(&self, tenant: &Tenant, receipt: &str, now: Now) -> Result<Consent, Error> {
        let refusal = match self.verify_receipt(tenant, receipt, now) {
            Ok(offered) => return Ok(offered),
            Err(refusal) => refusal,
        };
        let Ok(parsed) = receipt::parse_stored(receipt) else { return Err(refusal) };
        let known = self.book.consent(&tenant.id, parsed.id)?;
        known.filter(|known| known.receipt_sha256 == receipt::sha256(receipt)).ok_or(refusal)
    }

    /// The consent of this id as it stands, if there is one.
    ///
    /// # Errors
    /// [`Error::ConsentIdReused`] when it came with another receipt, [`Refusal::Withdrawn`] when it was withdrawn so long ago
    /// that nothing else is known of it.
    pub(super) fn known(&self, offered: &Consent) -> Result<Option<Consent>, Error> {
        let withdrawn = schema::withdrawn(self.book.tenant_tag(&offered.tenant), offered.id());
        match self.book.consent(&offered.tenant, offered.id())? {
            Some(known) if known.receipt_sha256 != offered.receipt_sha256 => Err(Error::ConsentIdReused),
            None if self.book.has(&withdrawn)? || self.was_erased(offered)? => Err(Refusal::Withdrawn.into()),
            known => Ok(known),
        }
    }

    /// Whether the person was erased since the consent was given.
    fn was_erased(&self, offered: &Consent) -> Result<bool, Error> {
        let subject = self.book.subject_tag(&offered.tenant, &offered.receipt.subject_ref);
        let erased = self.book.get::<ErasedRow>(&schema::erased(self.book.tenant_tag(&offered.tenant), subject))?;
        Ok(match erased {
            Some(erased) => offered.receipt.event.time <= rows::time(erased.time)?,
            None => false,
        })
    }

    /// Finds every consent by its person, also those that the first version took in.
    pub(super) fn index_subjects(&self, transaction: &mut Transaction) -> Result<(), Error> {
        for row in self.book.scan::<ConsentRow>(&schema::consents()) {
            match row.and_then(|(_, row)| Ok((row.last_end()?, row.into_domain()?))) {
                Ok((last_end, consent)) => self.index_subject(transaction, &consent, last_end)?,
                Err(Error::Damaged) => tracing::error!("the row of a consent is damaged"),
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    fn index_subject(&self, transaction: &mut Transaction, consent: &Consent, last_end: DateTime<Utc>) -> Result<(), Error> {
        let subject = self.book.subject_tag(&consent.tenant, &consent.receipt.subject_ref);
        let key = schema::subject_consent(self.book.tenant_tag(&consent.tenant), subject, consent.id());
        self.put_two_years(transaction, key, &SubjectConsentRow {}, last_end)
    }

    /// Puts a row that goes two years after `last_end`.
    pub(super) fn put_two_years<R: Row>(
        &self,
        transaction: &mut Transaction,
        key: Vec<u8>,
        row: &R,
        last_end: DateTime<Utc>,
    ) -> Result<(), Error> {
        Book::put_mark(transaction, schema::due(hour_over(last_end), &key));
        self.book.put_until(transaction, key, row, due_month(last_end))
    }

    /// Puts a consent that is kept for two years after `last_end`.
    pub(super) fn put_consent(
        &self,
        transaction: &mut Transaction,
        consent: &Consent,
        receipt: String,
        last_end: DateTime<Utc>,
    ) -> Result<(), Error> {
        let key = schema::consent(self.book.tenant_tag(&consent.tenant), consent.id());
        self.index_subject(transaction, consent, last_end)?;
        self.put_two_years(transaction, key, &ConsentRow::from_domain(consent, receipt, last_end), last_end)
    }
}

/// The month whose key seals what is kept for two years after `last_end`.
pub(super) fn due_month(last_end: DateTime<Utc>) -> u16 {
    month_of(last_end).saturating_add(u16::try_from(KEPT_MONTHS).unwrap_or(u16::MAX))
}

/// The hour in which what is kept for two years after `last_end` goes.
pub(super) fn hour_over(last_end: DateTime<Utc>) -> Hour {
    hour_of(last_end.checked_add_months(Months::new(KEPT_MONTHS.saturating_add(1))).unwrap_or(last_end))
}

/// Months since January 1970.
pub(super) fn month_of(time: DateTime<Utc>) -> u16 {
    let years = u16::try_from(time.year().saturating_sub(1970)).unwrap_or(0);
    years.saturating_mul(12).saturating_add(u16::try_from(time.month0()).unwrap_or(0))
}

pub(super) fn view(consent: Consent, terms: &Terms, now: Now) -> ConsentView {
    let state = consent.state(terms, now);
    ConsentView { consent, state }
}
