//! Tenants: who may upload, and the keys that sign their receipts.

use super::Vault;
use super::error::Error;
use super::pages::{Listed, Page};
use super::rows::TenantRow;
use crate::crypto::jwk::KeySet;
use crate::domain::ids::TenantId;
use crate::domain::retention::Retention;
use crate::domain::tenant::{MetadataPolicy, Tenant};
use crate::store::ledger::Transaction;
use crate::store::schema;

/// A tenant to be.
#[derive(Debug)]
pub struct NewTenant {
    /// Its id.
    pub id: TenantId,
    /// Its receipt keys, an RFC 7517 set.
    pub jwks: String,
    /// How long its records live.
    pub retention: Retention,
    /// What happens to metadata in its images.
    pub metadata_policy: MetadataPolicy,
}

impl Vault {
    /// Creates a tenant.
    ///
    /// # Errors
    /// [`Error::TenantExists`]; [`Error::Invalid`] when the keys are no set of receipt keys.
    pub fn create_tenant(&self, new: NewTenant) -> Result<Tenant, Error> {
        let now = self.now()?;
        KeySet::parse(&new.jwks)?;
        let NewTenant { id, jwks, retention, metadata_policy } = new;
        let tenant = Tenant { id, jwks, retention, metadata_policy, create_time: now.lo };
        let key = schema::tenant(self.book.tenant_tag(&tenant.id));
        let writes = self.writes.lock();
        if self.book.has(&key)? {
            return Err(Error::TenantExists);
        }
        let mut transaction = Transaction::default();
        self.book.put(&mut transaction, key, &TenantRow::from_domain(&tenant))?;
        let ticket = self.book.apply(transaction)?;
        drop(writes);
        self.book.sync(ticket)?;
        Ok(tenant)
    }

    /// A page of all tenants.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the token is not one of this list.
    pub fn tenants(&self, page: &Page) -> Result<Listed<Tenant>, Error> {
        self.now()?;
        self.page(&schema::tenants(), page, |key| self.book.get::<TenantRow>(key)?.map(TenantRow::into_domain).transpose())
    }

    /// A tenant.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn tenant(&self, id: &TenantId) -> Result<Tenant, Error> {
        self.now()?;
        self.book.tenant(id)?.ok_or(Error::NotFound)
    }
}
