//! Destroying all that a tenant has, by the word of two persons, in batches that go on after a restart.
//!
//! From the second word on nothing of the tenant is taken in or released: its terms say so, and every rule asks them. The vault's
//! keeper then marks and shreds its records, some at each tick; what a crash left is marked, or found by the next tick. The tenant's own
//! row, its keys and its consents stay as long as what is kept for two years rests on them.

use super::Vault;
use super::error::Error;
use super::rows::TenantRow;
use crate::domain::ids::TenantId;
use crate::domain::retention::Now;
use crate::domain::shredding::{ShredState, Shredding, Word};
use crate::domain::trigger::Trigger;
use crate::store::ledger::Transaction;
use crate::store::schema;

/// How many records of a tenant a commit takes.
const RECORDS_AT_ONCE: usize = 1_000;
/// How many such commits a tick makes before it does what else there is to do.
const COMMITS_OF_A_TICK: usize = 8;

/// Where the destruction of a tenant stands.
#[derive(Debug)]
pub struct TenantShredding {
    /// Whose.
    pub tenant: TenantId,
    /// What was said.
    pub shredding: Shredding,
    /// Where it stands.
    pub state: ShredState,
    /// Records that are left.
    pub left: u64,
}

impl Vault {
    /// One person's word that all records of a tenant are to be destroyed, for good. With the second person's it is decided, and nothing
    /// of the tenant is taken in or released when this returns.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such tenant, [`Error::OfficerMissing`] when both are operators.
    pub fn shred_tenant(&self, id: &TenantId, word: impl FnOnce(Now) -> Word) -> Result<TenantShredding, Error> {
        let now = self.now()?;
        let writes = self.writes.lock();
        let mut tenant = (*self.book.tenant(id)?.ok_or(Error::NotFound)?).clone();
        let before = tenant.shredding.clone();
        tenant.shredding.say(word(now))?;
        if tenant.shredding != before {
            let mut transaction = Transaction::default();
            let row = TenantRow::from_domain(&tenant);
            self.book.put(&mut transaction, schema::tenant(self.book.tenant_tag(id)), &row)?;
            self.book.apply(transaction)?;
            // What was decided before is not handed over any more.
            self.gate.raise();
        }
        drop(writes);
        self.book.sync_all()?;
        let status = self.retention_status(Some(id))?;
        let left = status.hours.iter().fold(status.backlog, |left, (_, count)| left.saturating_add(count.records));
        let state = tenant.shredding.state(now.hi);
        Ok(TenantShredding { tenant: id.clone(), shredding: tenant.shredding, state, left })
    }

    /// Destroys some of what is to go of tenants that are being shredded.
    pub(super) fn go_on_with_tenants(&self) -> Result<(), Error> {
        for key in self.book.keys(&schema::tenants()) {
            let Some(tenant) = self.book.get::<TenantRow>(&key?)?.map(TenantRow::into_domain).transpose()? else { continue };
            if !tenant.shredding.is_decided() || tenant.shredding.finished.is_some() {
                continue;
            }
            for _ in 0..COMMITS_OF_A_TICK {
                if self.shred_some_of(&tenant.id)? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Destroys some records of a tenant; `true` when none was left, and that is noted.
    fn shred_some_of(&self, id: &TenantId) -> Result<bool, Error> {
        let tag = self.book.tenant_tag(id);
        let writes = self.writes.lock();
        let mut records = Vec::new();
        for key in self.book.keys(&schema::records_of(tag)).take(RECORDS_AT_ONCE) {
            let record = schema::record_under(&key?).ok_or(Error::Damaged)?;
            records.extend(self.book.record(id, record)?);
        }
        if records.is_empty() {
            let mut tenant = (*self.book.tenant(id)?.ok_or(Error::NotFound)?).clone();
            tenant.shredding.finished = Some(self.clock.times().lo);
            let mut transaction = Transaction::default();
            self.book.put(&mut transaction, schema::tenant(tag), &TenantRow::from_domain(&tenant))?;
            let ticket = self.book.apply(transaction)?;
            drop(writes);
            self.book.sync(ticket)?;
            tracing::warn!(tenant = %id, "all records of the tenant are destroyed");
            return Ok(true);
        }
        let marked = self.mark(Transaction::default(), &records, Trigger::TenantShredded)?;
        drop(writes);
        self.destroy(marked)?;
        Ok(false)
    }
}
