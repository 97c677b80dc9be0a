//! The book: the ledger's rows, typed and sealed.
//!
//! A value is: format (1 byte, `1`), the month of the key that seals it (2 bytes, big-endian, 0 for the ledger key), the
//! sealed row. Rows are sealed as parts are, with the row's key as context: a row that was edited or moved does not open.
//! Rows kept for two years are sealed under the key of the month in which they fall due and die with it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::Error;
use super::rows::{ConsentRow, PlaceRow, RecordRow, Row, TenantRow};
use crate::crypto::seal::{self, Plaintext, Salt};
use crate::crypto::secret::Secret;
use crate::domain::consent::Consent;
use crate::domain::ids::{ConsentId, Place, RecordId, TenantId};
use crate::domain::receipt::SubjectRef;
use crate::domain::record::Record;
use crate::domain::tenant::Tenant;
use crate::keys::keyring::Keyring;
use crate::store::group::Ticket;
use crate::store::ledger::{Ledger, Transaction};
use crate::store::schema::{self, Tag};

const FORMAT: u8 = 1;
const LEDGER_KEY: u16 = 0;
/// How many opened tenants are kept at hand.
const MAX_TENANTS: usize = 1024;

/// The sealed ledger.
pub(super) struct Book {
    ledger: Box<dyn Ledger>,
    keyring: Arc<Keyring>,
    row_key: Secret,
    index_key: Secret,
    /// Tenants at hand: as long as the ledger has the value that one was in, it need not be opened again.
    tenants: Mutex<HashMap<TenantId, OpenedTenant>>,
}

/// A tenant, and the value that it was in.
struct OpenedTenant {
    value: Vec<u8>,
    tenant: Arc<Tenant>,
}

impl Book {
    /// The book over this ledger, its keys from the keyring.
    pub(super) fn new(ledger: Box<dyn Ledger>, keyring: Arc<Keyring>) -> Self {
        let (row_key, index_key) = (keyring.ledger_key(), keyring.index_key());
        Self { ledger, keyring, row_key, index_key, tenants: Mutex::default() }
    }

    /// The tag of a name: an HMAC over its kind and its fields, each with its length.
    pub(super) fn tag(&self, kind: &str, fields: &[&[u8]]) -> Tag {
        let mut message = Vec::new();
        for field in std::iter::once(&kind.as_bytes()).chain(fields) {
            message.extend_from_slice(&u64::try_from(field.len()).unwrap_or(u64::MAX).to_be_bytes());
            message.extend_from_slice(field);
        }
        let mac = self.index_key.mac(&[&message]);
        Tag(mac.first_chunk().copied().unwrap_or_default())
    }

    /// The tag of a tenant.
    pub(super) fn tenant_tag(&self, tenant: &TenantId) -> Tag {
        self.tag("tenant", &[tenant.as_str().as_bytes()])
    }

    /// The tag of a person of a tenant.
    pub(super) fn subject_tag(&self, tenant: &TenantId, subject: &SubjectRef) -> Tag {
        self.tag("subject", &[tenant.as_str().as_bytes(), subject.as_str().as_bytes()])
    }

    /// The row under `key`. A row whose month is over is not there.
    pub(super) fn get<R: Row>(&self, key: &[u8]) -> Result<Option<R>, Error> {
        match self.ledger.get(key)? {
            Some(value) => self.open(key, &value),
            None => Ok(None),
        }
    }

    /// The rows whose keys begin with `prefix`, with their keys.
    pub(super) fn scan<'a, R: Row>(&'a self, prefix: &[u8]) -> impl Iterator<Item = Result<(Vec<u8>, R), Error>> + use<'a, R> {
        self.ledger.scan(prefix).filter_map(|row| match row {
            Ok(row) => self.open(&row.key, &row.value).map(|opened| Some((row.key, opened?))).transpose(),
            Err(error) => Some(Err(error.into())),
        })
    }

    /// The keys that begin with `prefix`.
    pub(super) fn keys<'a>(&'a self, prefix: &[u8]) -> impl Iterator<Item = Result<Vec<u8>, Error>> + use<'a> {
        self.ledger.scan(prefix).map(|row| Ok(row?.key))
    }

    /// The keys that begin with `prefix` and come after `after`.
    pub(super) fn keys_after<'a>(
        &'a self,
        prefix: &[u8],
        after: &[u8],
    ) -> impl Iterator<Item = Result<Vec<u8>, Error>> + use<'a> {
        self.ledger.scan_after(prefix, after).map(|row| Ok(row?.key))
    }

    /// Every row's key, and whether the row is whole: it opens, has nothing to open, or its month is over.
    pub(super) fn rows(&self) -> impl Iterator<Item = Result<(Vec<u8>, bool), Error>> {
        self.ledger.scan(&[]).map(|row| {
            let row = row?;
            let opens = if row.value.is_empty() { schema::is_mark(&row.key) } else { self.opens(&row.key, &row.value) };
            Ok((row.key, opens))
        })
    }

    /// Whether there is a row under `key`.
    pub(super) fn has(&self, key: &[u8]) -> Result<bool, Error> {
        Ok(self.ledger.get(key)?.is_some())
    }

    /// Whether the row under `key` is one that may be removed when it is due: not sealed under a month that still has a key.
    pub(super) fn is_over(&self, key: &[u8]) -> Result<bool, Error> {
        let month = self.ledger.get(key)?.as_deref().and_then(split_value).map(|(month, _)| month);
        Ok(!month.is_some_and(|month| month != LEDGER_KEY && self.keyring.month_key(month).is_some()))
    }

    /// Puts a row under the ledger key.
    pub(super) fn put<R: Row>(&self, transaction: &mut Transaction, key: Vec<u8>, row: &R) -> Result<(), Error> {
        put_sealed(transaction, key, row, (LEDGER_KEY, &self.row_key))
    }

    /// Puts a row that is kept until `month`, under that month's key.
    pub(super) fn put_until<R: Row>(
        &self,
        transaction: &mut Transaction,
        key: Vec<u8>,
        row: &R,
        month: u16,
    ) -> Result<(), Error> {
        let secret = self.keyring.month_key(month).ok_or_else(|| Error::Failed(format!("month {month} has no key")))?;
        put_sealed(transaction, key, row, (month, &secret))
    }

    /// Puts a key that says all by being there.
    pub(super) fn put_mark(transaction: &mut Transaction, key: Vec<u8>) {
        transaction.put(key, Vec::new());
    }

    /// Applies a transaction: visible at once, durable after [`Book::sync`].
    pub(super) fn apply(&self, transaction: Transaction) -> Result<Ticket, Error> {
        Ok(self.ledger.apply(transaction)?)
    }

    /// Returns when everything up to `ticket` is durable.
    pub(super) fn sync(&self, ticket: Ticket) -> Result<(), Error> {
        Ok(self.ledger.sync(ticket)?)
    }

    /// The ticket of everything that is visible.
    pub(super) fn latest(&self) -> Ticket {
        self.ledger.latest()
    }

    /// Returns when everything visible is durable. Whoever answers for a row that another call wrote calls it first.
    pub(super) fn sync_all(&self) -> Result<(), Error> {
        self.sync(self.latest())
    }

    /// The sequence of the last transaction that is known to be durable.
    pub(super) fn durable(&self) -> u64 {
        self.ledger.durable()
    }

    /// Lets the ledger do what it does from time to time.
    pub(super) fn keep(&self, day: u32) -> Result<(), Error> {
        Ok(self.ledger.keep(day)?)
    }

    /// A tenant.
    pub(super) fn tenant(&self, id: &TenantId) -> Result<Option<Arc<Tenant>>, Error> {
        let key = schema::tenant(self.tenant_tag(id));
        let Some(value) = self.ledger.get(&key)? else { return Ok(None) };
        if let Some(opened) = self.tenants.lock().get(id).filter(|opened| opened.value == value) {
            return Ok(Some(Arc::clone(&opened.tenant)));
        }
        let Some(row) = self.open::<TenantRow>(&key, &value)? else { return Ok(None) };
        let tenant = Arc::new(row.into_domain()?);
        let mut tenants = self.tenants.lock();
        if tenants.len() >= MAX_TENANTS {
            tenants.clear();
        }
        tenants.insert(id.clone(), OpenedTenant { value, tenant: Arc::clone(&tenant) });
        Ok(Some(tenant))
    }

    /// A record.
    pub(super) fn record(&self, tenant: &TenantId, record: RecordId) -> Result<Option<Record>, Error> {
        self.get::<RecordRow>(&schema::record(self.tenant_tag(tenant), record))?.map(RecordRow::into_domain).transpose()
    }

    /// A consent.
    pub(super) fn consent(&self, tenant: &TenantId, consent: ConsentId) -> Result<Option<Consent>, Error> {
        self.get::<ConsentRow>(&schema::consent(self.tenant_tag(tenant), consent))?.map(ConsentRow::into_domain).transpose()
    }

    /// Whose record stands at a place.
    pub(super) fn place(&self, place: Place) -> Result<Option<(TenantId, RecordId)>, Error> {
        self.get::<PlaceRow>(&schema::place(place))?.map(PlaceRow::into_domain).transpose()
    }

    fn open<R: Row>(&self, key: &[u8], value: &[u8]) -> Result<Option<R>, Error> {
        match split_value(value).ok_or(Error::Damaged)? {
            (LEDGER_KEY, _) => open_row(&self.row_key, key, value).map(Some).ok_or(Error::Damaged),
            (month, _) => match self.keyring.month_key(month) {
                Some(secret) => open_row(&secret, key, value).map(Some).ok_or(Error::Damaged),
                None => Ok(None),
            },
        }
    }

    /// Whether a value opens, whatever row it is; it need not when its month is over.
    fn opens(&self, key: &[u8], value: &[u8]) -> bool {
        match split_value(value) {
            Some((LEDGER_KEY, _)) => open_value(&self.row_key, key, value).is_some(),
            Some((month, _)) => self.keyring.month_key(month).is_none_or(|secret| open_value(&secret, key, value).is_some()),
            None => false,
        }
    }
}

/// The row in a value, if `secret` sealed it under this key.
#[must_use]
pub fn open_row<R: Row>(secret: &Secret, key: &[u8], value: &[u8]) -> Option<R> {
    R::decode(open_value(secret, key, value)?.expose()).ok()
}

fn open_value(secret: &Secret, key: &[u8], value: &[u8]) -> Option<Plaintext> {
    let (_, sealed) = split_value(value)?;
    seal::open(secret, &context(key), sealed).ok()
}

/// The month and the sealed row in a value.
fn split_value(value: &[u8]) -> Option<(u16, &[u8])> {
    let (month, sealed) = value.strip_prefix(&[FORMAT])?.split_first_chunk()?;
    Some((u16::from_be_bytes(*month), sealed))
}

fn context(key: &[u8]) -> Vec<u8> {
    [b"idvault/row/v1", key].concat()
}

fn put_sealed<R: Row>(
    transaction: &mut Transaction,
    key: Vec<u8>,
    row: &R,
    (month, secret): (u16, &Secret),
) -> Result<(), Error> {
    let plaintext = zeroize::Zeroizing::new(row.encode_to_vec());
    let mut value = vec![FORMAT];
    value.extend_from_slice(&month.to_be_bytes());
    value.extend_from_slice(&seal::seal(secret, &Salt::random()?, &context(&key), &plaintext));
    transaction.put(key, value);
    Ok(())
}
