//! Tenants: who may upload, the keys that sign their receipts, and what else their receipts rest on.
//!
//! A key is taken in with a proof that the tenant holds it. Both are kept for good, and a name stands for one key for ever:
//! so nobody can say later that a receipt was signed by somebody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use prost::Message;

use super::Vault;
use super::error::Error;
use super::pages::{Listed, Page};
use super::rows::{ReceiptKeyRow, TenantRow, stamp};
use crate::crypto::jwk::{KeySet, PublicKey};
use crate::crypto::key_proof;
use crate::domain::ids::TenantId;
use crate::domain::retention::{Now, Retention};
use crate::domain::shredding::Shredding;
use crate::domain::tenant::{KeyRevocation, MetadataPolicy, NoticeVersion, Tenant, Terms};
use crate::store::ledger::Transaction;
use crate::store::schema;

/// How many revocations and how many notices a tenant has at most.
const MAX_TERMS: usize = 100;
/// How many keys a tenant has had at most: they are kept for good.
const MAX_KEYS_EVER: usize = 1000;
/// How many bytes all that is said of a tenant has at most: the row is read with each of its records.
const MAX_ROW_BYTES: usize = 32 << 10;

/// Receipt keys, and the proofs of those that are new.
#[derive(Debug)]
pub struct Keys {
    /// An RFC 7517 set.
    pub jwks: String,
    /// See [`crate::crypto::key_proof`].
    pub proofs: Vec<String>,
}

/// A version of a text to be registered.
#[derive(Debug)]
pub struct NewNotice {
    /// Name of the text.
    pub id: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// Whether consents under earlier versions become void.
    pub invalidating: bool,
}

/// What is to change about a tenant, or to be said of a new one.
#[derive(Debug, Default)]
pub struct TenantUpdate {
    /// Its receipt keys from now on.
    pub keys: Option<Keys>,
    /// Keys that no longer sign.
    pub revocations: Vec<KeyRevocation>,
    /// Texts to be registered.
    pub notices: Vec<NewNotice>,
    /// What happens to metadata in its images.
    pub metadata_policy: Option<MetadataPolicy>,
    /// How long its records live.
    pub retention: Option<Retention>,
}

/// Receipt keys as they are to be, and the proofs that hold, by `kid`.
struct ProvedKeys {
    jwks: String,
    set: KeySet,
    proofs: BTreeMap<String, String>,
}

impl Vault {
    /// Creates a tenant: its keys must be given.
    ///
    /// # Errors
    /// [`Error::TenantExists`]; [`Error::Invalid`] when the keys are no set of receipt keys or one of them is not proved.
    pub fn create_tenant(&self, id: &TenantId, given: TenantUpdate) -> Result<Tenant, Error> {
        let tenant = Tenant {
            id: id.clone(),
            jwks: String::new(),
            retention: Retention::MAX,
            metadata_policy: MetadataPolicy::Strip,
            create_time: self.now()?.lo,
            terms: Terms::default(),
            shredding: Shredding::default(),
        };
        self.put_tenant(id, given, |known| if known.is_some() { Err(Error::TenantExists) } else { Ok(tenant) })
    }

    /// Changes a tenant. When this returns, nothing is handed over that was decided on what it was.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Invalid`] when a key is not proved, or what is known is said to be something else.
    pub fn update_tenant(&self, id: &TenantId, update: TenantUpdate) -> Result<Tenant, Error> {
        self.put_tenant(id, update, |known| known.ok_or(Error::NotFound))
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
    pub fn tenant(&self, id: &TenantId) -> Result<Arc<Tenant>, Error> {
        self.now()?;
        self.book.tenant(id)?.ok_or(Error::NotFound)
    }

    /// Puts the tenant that `base` makes of what is known, changed.
    fn put_tenant(
        &self,
        id: &TenantId,
        update: TenantUpdate,
        base: impl FnOnce(Option<Tenant>) -> Result<Tenant, Error>,
    ) -> Result<Tenant, Error> {
        let now = self.now()?;
        let TenantUpdate { keys, revocations, notices, metadata_policy, retention } = update;
        let keys = keys.map(|keys| self.prove(id, keys)).transpose()?;
        let mut transaction = Transaction::default();
        let writes = self.writes.lock();
        let mut tenant = base(self.book.tenant(id)?.map(Arc::unwrap_or_clone))?;
        if let Some(keys) = keys {
            self.put_keys(&mut transaction, &tenant, &keys, now)?;
            tenant.jwks = keys.jwks;
        }
        let kids: BTreeSet<_> = revocations.iter().map(|revocation| &revocation.kid).collect();
        if kids.len() < revocations.len() {
            return Err(Error::invalid("tenant.key_revocations", "must name each key once"));
        }
        for revocation in revocations {
            self.revoke(&mut tenant, revocation)?;
        }
        for notice in notices {
            register(&mut tenant.terms.notices, notice, now.lo)?;
        }
        tenant.metadata_policy = metadata_policy.unwrap_or(tenant.metadata_policy);
        tenant.retention = retention.unwrap_or(tenant.retention);
        let row = TenantRow::from_domain(&tenant);
        if row.encoded_len() > MAX_ROW_BYTES {
            return Err(Error::invalid("tenant", "must have at most 32 KiB with all that is registered"));
        }
        self.book.put(&mut transaction, schema::tenant(self.book.tenant_tag(id)), &row)?;
        let ticket = self.book.apply(transaction)?;
        self.gate.raise();
        drop(writes);
        self.book.sync(ticket)?;
        Ok(tenant)
    }

    /// A set of keys, with those whose possession is shown.
    fn prove(&self, tenant: &TenantId, keys: Keys) -> Result<ProvedKeys, Error> {
        let set = KeySet::parse(&keys.jwks)?;
        if keys.proofs.len() > set.iter().count() {
            return Err(Error::invalid("tenant.jwks_proofs", "must be one for each new key at most"));
        }
        let mut proofs = BTreeMap::new();
        for (number, proof) in keys.proofs.into_iter().enumerate() {
            let kid = key_proof::verify(&proof, &set, tenant, &self.id);
            let kid = kid.map_err(|error| Error::invalid(&format!("tenant.jwks_proofs[{number}]"), error.to_string()))?;
            proofs.insert(kid, proof);
        }
        Ok(ProvedKeys { jwks: keys.jwks, set, proofs })
    }

    /// Puts the keys of a set that were never the tenant's, each with its proof.
    fn put_keys(&self, transaction: &mut Transaction, tenant: &Tenant, keys: &ProvedKeys, now: Now) -> Result<(), Error> {
        let held = KeySet::parse(&tenant.jwks).ok();
        let ever = self.book.keys(&schema::receipt_keys(self.book.tenant_tag(&tenant.id))).count();
        if ever.saturating_add(keys.proofs.len()) > MAX_KEYS_EVER {
            return Err(Error::invalid("tenant.jwks", "must not be one of more than 1000 keys that the tenant ever had"));
        }
        let revoked = self.revoked_keys(tenant)?;
        for (kid, key) in keys.set.iter() {
            // A key that the first version took in without proof stays good until it is replaced.
            if held.as_ref().and_then(|held| held.get(kid)) == Some(key) {
                continue;
            }
            if revoked.iter().any(|(name, thumbprint)| name == kid || *thumbprint == key.thumbprint()) {
                return Err(Error::invalid("tenant.jwks", "must not bring back a key that was revoked, under whatever name"));
            }
            let row_key = self.receipt_key(&tenant.id, kid);
            if let Some(known) = self.book.get::<ReceiptKeyRow>(&row_key)? {
                if known.thumbprint == key.thumbprint() {
                    continue;
                }
                return Err(Error::invalid("tenant.jwks", "must not give the kid of one key to another"));
            }
            let proof = keys.proofs.get(kid).cloned();
            let proof = proof.ok_or_else(|| Error::invalid("tenant.jwks_proofs", "must prove possession of each new key"))?;
            self.book.put(transaction, row_key, &receipt_key_row(kid, key, proof, now))?;
        }
        Ok(())
    }

    /// The names of the keys that were revoked, and their thumbprints; none is known of a key that was never proved.
    fn revoked_keys(&self, tenant: &Tenant) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let revoked = tenant.terms.revocations.iter().map(|revocation| {
            let row = self.book.get::<ReceiptKeyRow>(&self.receipt_key(&tenant.id, &revocation.kid))?;
            Ok((revocation.kid.clone(), row.map(|row| row.thumbprint).unwrap_or_default()))
        });
        revoked.collect()
    }

    /// Notes when a key of the tenant's, past or present, was revoked.
    fn revoke(&self, tenant: &mut Tenant, revocation: KeyRevocation) -> Result<(), Error> {
        let invalid = |rule: &str| Error::invalid("tenant.key_revocations", rule);
        let is_held = KeySet::parse(&tenant.jwks).is_ok_and(|held| held.get(&revocation.kid).is_some());
        if !is_held && !self.book.has(&self.receipt_key(&tenant.id, &revocation.kid))? {
            return Err(invalid("must name keys that the tenant has or had"));
        }
        let revocations = &mut tenant.terms.revocations;
        let is_full = revocations.len() >= MAX_TERMS;
        match revocations.iter_mut().find(|known| known.kid == revocation.kid) {
            Some(known) if known.time < revocation.time => {
                return Err(invalid("must not take back a revocation, nor make it later"));
            }
            Some(known) => *known = revocation,
            None if is_full => return Err(invalid("must be 100 at most")),
            None => revocations.push(revocation),
        }
        Ok(())
    }

    fn receipt_key(&self, tenant: &TenantId, kid: &str) -> Vec<u8> {
        let tag = self.book.tag("receipt key", &[tenant.as_str().as_bytes(), kid.as_bytes()]);
        schema::receipt_key(self.book.tenant_tag(tenant), tag)
    }
}

/// Adds a text after those that are registered, if it is not there.
fn register(notices: &mut Vec<NoticeVersion>, new: NewNotice, now: DateTime<Utc>) -> Result<(), Error> {
    let NewNotice { id, version, sha256, invalidating } = new;
    match notices.iter().find(|known| known.id == id && known.version == version) {
        Some(known) if known.sha256 == sha256 && known.invalidating == invalidating => Ok(()),
        Some(_) => Err(Error::invalid("tenant.notices", "must not change a version that is registered")),
        None if notices.len() >= MAX_TERMS => Err(Error::invalid("tenant.notices", "must be 100 at most")),
        None => {
            notices.push(NoticeVersion { id, version, sha256, invalidating, registered_at: now });
            Ok(())
        }
    }
}

fn receipt_key_row(kid: &str, key: &PublicKey, proof: String, now: Now) -> ReceiptKeyRow {
    let thumbprint = key.thumbprint().to_vec();
    ReceiptKeyRow { kid: kid.to_owned(), thumbprint, jwk: key.to_jwk(), proof, registered: Some(stamp(now.lo)) }
}
