//! Requests remembered for a day, so that a retry gets the first answer and never a second thing.
//!
//! What was asked is kept only as a keyed hash. For an upload the key comes from the record's leaf, so that the hash dies
//! with the record; for everything else it is the vault's own.

use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Vault;
use super::book::Book;
use super::error::Error;
use super::rows::RequestRow;
use crate::crypto::secret::Secret;
use crate::domain::ids::{Place, RecordId, RequestId};
use crate::domain::retention::{Now, hour_of};
use crate::store::ledger::Transaction;
use crate::store::schema;

/// For how many hours a request is remembered: a day, and what is left of the hour.
const REMEMBERED_HOURS: u32 = 25;

/// A request: who asks, under which id, and what, in a canonical form.
pub(super) struct Request {
    key: Vec<u8>,
    content: Zeroizing<Vec<u8>>,
}

/// What a request made.
pub(super) enum Made<'a> {
    /// A record.
    Record {
        /// Its id.
        id: RecordId,
        /// Its place.
        place: Place,
        /// Its leaf.
        leaf: &'a Secret,
    },
    /// Something else, by its id.
    Other(Uuid),
}

impl Request {
    /// The request `id` of `caller` (with the kind of thing asked for) with this content.
    pub(super) fn new(book: &Book, caller: (&str, &str), id: RequestId, content: impl Into<Zeroizing<Vec<u8>>>) -> Self {
        let tag = book.tag("request", &[caller.0.as_bytes(), caller.1.as_bytes(), id.as_bytes()]);
        Self { key: schema::request(tag), content: content.into() }
    }
}

impl Vault {
    /// Whether the id of a request was used before, for whatever it was.
    pub(super) fn knows(&self, request: &Request) -> Result<bool, Error> {
        self.book.has(&request.key)
    }

    /// What an earlier request made, if this is that request again.
    ///
    /// # Errors
    /// [`Error::RequestIdReused`] when the id was used for something else, [`Error::RecordGone`] when the record that it
    /// made is gone and with it the means to compare.
    pub(super) fn remembered(&self, request: &Request) -> Result<Option<Uuid>, Error> {
        let Some(row) = self.book.get::<RequestRow>(&request.key)? else { return Ok(None) };
        let place = row.place();
        let mac = if place.to_u64() == 0 {
            self.request_mac(request)
        } else {
            record_mac(&self.keyring.leaf(place)?.ok_or(Error::RecordGone)?, request)
        };
        if bool::from(mac.ct_eq(row.mac())) { row.made().map(Some) } else { Err(Error::RequestIdReused) }
    }

    /// Remembers what a request made.
    pub(super) fn remember(
        &self,
        transaction: &mut Transaction,
        request: &Request,
        made: &Made<'_>,
        now: Now,
    ) -> Result<(), Error> {
        let row = match *made {
            Made::Record { id, place, leaf } => RequestRow::new(id.0, record_mac(leaf, request), Some(place)),
            Made::Other(id) => RequestRow::new(id, self.request_mac(request), None),
        };
        self.book.put(transaction, request.key.clone(), &row)?;
        Book::put_mark(transaction, schema::due(hour_of(now.lo).plus(REMEMBERED_HOURS), &request.key));
        Ok(())
    }

    fn request_mac(&self, request: &Request) -> [u8; 32] {
        self.keyring.index_key().derive(&[b"idvault/request/v1"]).mac(&[&request.content])
    }
}

fn record_mac(leaf: &Secret, request: &Request) -> [u8; 32] {
    leaf.derive(&[b"idvault/request/v1"]).mac(&[&request.content])
}
