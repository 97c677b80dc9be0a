//! Records: what is known of those that are alive.

use super::Vault;
use super::error::Error;
use super::pages::{List, Listed, Page};
use super::rows::{PlaceRow, RecordRow};
use crate::domain::ids::{CallId, RecordId, TenantId};
use crate::domain::receipt::SubjectRef;
use crate::domain::record::{Record, RecordState};
use crate::domain::retention::Now;
use crate::store::schema;

/// Which records of a tenant.
#[derive(Debug, Clone)]
pub enum Which {
    /// All.
    All,
    /// The one of this call.
    OfCall(CallId),
    /// Those of this person.
    OfSubject(SubjectRef),
}

impl Vault {
    /// A record of a tenant, as long as it is alive.
    ///
    /// # Errors
    /// [`Error::RecordGone`], also when it never was.
    pub fn record(&self, tenant: &TenantId, id: RecordId) -> Result<Record, Error> {
        let now = self.now()?;
        self.book.record(tenant, id)?.filter(|record| is_alive(record, now)).ok_or(Error::RecordGone)
    }

    /// A page of the live records of a tenant, or of some of them.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such tenant, [`Error::Invalid`] when the token is not one of this list.
    pub fn records(&self, tenant: &TenantId, which: &Which, page: &Page) -> Result<Listed<Record>, Error> {
        let now = self.now()?;
        self.tenant(tenant)?;
        let alive = |record: Record| is_alive(&record, now).then_some(record);
        match which {
            Which::All => self.page(&schema::records_of(self.book.tenant_tag(tenant)), page, |key| {
                Ok(self.book.get::<RecordRow>(key)?.map(RecordRow::into_domain).transpose()?.and_then(alive))
            }),
            Which::OfCall(call) => self.page_of_one(&self.call_key(tenant, call), page, |key| {
                let Some(found) = self.book.get::<PlaceRow>(key)? else { return Ok(None) };
                let (tenant, id) = found.into_domain()?;
                Ok(self.book.record(&tenant, id)?.and_then(alive))
            }),
            Which::OfSubject(subject) => {
                self.page_of_subject(tenant, subject, page, |id| Ok(self.book.record(tenant, id)?.and_then(alive)))
            }
        }
    }

    /// A page of what `read` makes of the records of a person: those alive, and those gone of which something is known.
    pub(super) fn page_of_subject<T>(
        &self,
        tenant: &TenantId,
        subject: &SubjectRef,
        page: &Page,
        read: impl Fn(RecordId) -> Result<Option<T>, Error>,
    ) -> Result<Listed<T>, Error> {
        let tag = self.book.tenant_tag(tenant);
        let consents = schema::consents_of(tag, self.book.subject_tag(tenant, subject));
        let list = List { name: &consents, prefix: &schema::consent_records(tag) };
        // The consents ascend, and so do the keys of their records.
        let records = |consent: Result<Vec<u8>, Error>| {
            let consent = consent.and_then(|key| schema::consent_of(&key).ok_or(Error::Damaged));
            let prefix = consent.map(|consent| schema::records_under(tag, consent));
            let (keys, failure) = match prefix {
                Ok(prefix) => (Some(self.book.keys(&prefix)), None),
                Err(failure) => (None, Some(Err(failure))),
            };
            keys.into_iter().flatten().chain(failure)
        };
        let keys = |after: &[u8]| {
            let after = after.to_vec();
            let is_later = move |key: &Result<Vec<u8>, Error>| key.as_ref().map_or(true, |key| *key > after);
            self.book.keys(&consents).flat_map(records).filter(is_later)
        };
        self.page_of(list, page, keys, |key| read(schema::record_under(key).ok_or(Error::Damaged)?))
    }
}

/// Whether a record may be looked at.
fn is_alive(record: &Record, now: Now) -> bool {
    record.state == RecordState::Live && now.hi < record.expire_time
}
