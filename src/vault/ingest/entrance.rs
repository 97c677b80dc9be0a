//! The last step of an upload: records that have come whole enter the ledger together.
//!
//! One sync of their volumes and one of the ledger serve all that came while the ones before them were synced. Whoever comes
//! when nobody is at it does it, for himself and for those who come meanwhile: they are told, and wait in no thread.

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

use super::intake::{Intake, Stored};
use super::{Found, NewReceipt, UploadHeader, admit};
use crate::domain::attributes::Attributes;
use crate::domain::consent::Consent;
use crate::domain::ids::{RecordId, TenantId};
use crate::domain::record::Record;
use crate::store::group::Ticket;
use crate::store::ledger::Transaction;
use crate::store::schema;
use crate::vault::Vault;
use crate::vault::book::Book;
use crate::vault::error::Error;
use crate::vault::requests::{Made, Request};
use crate::vault::rows::{ConsentRow, PlaceRow, RecordRow};

/// Where records that have come whole wait to enter.
#[derive(Default)]
pub(in crate::vault) struct Entrance(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether somebody lets in who comes.
    is_attended: bool,
}

/// A record that has come whole, and who is told what became of it.
struct Waiting {
    whole: Whole,
    answer: Answer,
}

/// A record that has come whole: its parts are in volumes, not yet durable.
struct Whole {
    header: UploadHeader,
    request: Request,
    stored: Stored,
    found: Found,
}

/// Tells somebody what became of an upload.
struct Answer(Box<dyn FnOnce(Result<Record, Error>) + Send>);

impl Entrance {
    /// Waits with the others. Whether the caller has to let them in.
    fn join(&self, waiting: Waiting) -> bool {
        let mut queue = self.0.lock();
        queue.waiting.push(waiting);
        !std::mem::replace(&mut queue.is_attended, true)
    }

    /// Those who wait. With none, the caller's turn is over.
    fn next(&self) -> Vec<Waiting> {
        let mut queue = self.0.lock();
        queue.is_attended = !queue.waiting.is_empty();
        std::mem::take(&mut queue.waiting)
    }
}

/// The turn of whoever lets the others in. One who panics leaves nobody waiting.
struct Turn<'a>(&'a Entrance);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let left = std::mem::take(&mut *self.0.0.lock());
            drop(left);
        }
    }
}

impl Vault {
    /// Ends the last part, adds the attributes if there are any, and takes the record in. `answer` is called once it is durable or
    /// refused, by this thread or another; a refused record does not exist.
    pub fn finish_upload(
        &self,
        intake: Intake,
        attributes: &Attributes,
        answer: impl FnOnce(Result<Record, Error>) + Send + 'static,
    ) {
        let (request, Intake { header, found, fresh, .. }) = match self.end(intake, attributes) {
            Ok(ended) => ended,
            Err(refusal) => return answer(Err(refusal)),
        };
        match fresh.map(|fresh| fresh.stored(&self.volumes)) {
            Some(Ok(stored)) => {
                let whole = Whole { header, request, stored, found };
                self.enter(Waiting { whole, answer: Answer(Box::new(answer)) });
            }
            Some(Err(refusal)) => answer(Err(refusal)),
            None => answer(self.uploaded_before(&header.tenant, &request).and_then(|record| record.ok_or(Error::RecordGone))),
        }
    }

    /// Ends what has come, and says what it asks.
    fn end(&self, mut intake: Intake, attributes: &Attributes) -> Result<(Request, Intake), Error> {
        self.end_part(&mut intake)?;
        intake.add_attributes(attributes, &self.volumes)?;
        self.admit_so_far(&intake)?;
        let content = intake.content(attributes);
        Ok((Request::new(&self.book, ("record", intake.header.tenant.as_str()), intake.header.request, content), intake))
    }

    /// Lets a record in, and with it all that come meanwhile, unless somebody else is at it.
    fn enter(&self, waiting: Waiting) {
        if !self.entrance.join(waiting) {
            return;
        }
        let turn = Turn(&self.entrance);
        loop {
            let group = turn.0.next();
            if group.is_empty() {
                return;
            }
            self.enter_together(group);
        }
    }

    /// Lets records in, in an order that a crash may cut anywhere.
    fn enter_together(&self, group: Vec<Waiting>) {
        let mut entered = Vec::new();
        for Waiting { whole, answer } in group {
            // 1. Its bytes become durable, with those of all that were written before: no row names what may be lost.
            let synced = whole.stored.appending.sync().map_err(Error::from);
            // 2. Its rows, judged after those that came before it.
            match synced.and_then(|()| self.enter_rows(whole)) {
                Ok((record, ticket)) => entered.push((record, ticket, answer)),
                Err(error) => answer.0(Err(error)),
            }
        }
        for (record, ticket, answer) in entered {
            // 3. The first waits until the rows of all are durable.
            answer.0(self.book.sync(ticket).map(|()| record));
        }
    }

    /// Puts the rows of a record into the ledger, everything checked once more in the one order of changes.
    fn enter_rows(&self, whole: Whole) -> Result<(Record, Ticket), Error> {
        let Whole { header, request, stored, found } = whole;
        let Stored { record, claim, leaf, .. } = stored;
        let _writes = self.writes.lock();
        let now = self.working_now()?;
        if let Some(first) = self.uploaded_before(&header.tenant, &request)? {
            return Ok((first, self.book.latest()));
        }
        let tenant = self.tenant(&header.tenant)?;
        let (consent, receipt) = match (self.known(&found.consent)?, found.new) {
            (Some(consent), _) => (consent, None),
            (None, None) => return Err(Error::NotFound),
            (None, Some(NewReceipt { receipt, jwks })) => {
                // Its key may have left the set since the upload began.
                if jwks != tenant.jwks {
                    self.verify_receipt(&tenant, &receipt, now)?;
                }
                (found.consent, Some(receipt))
            }
        };
        admit(&header, record.categories(), &consent, &tenant.terms, now)?;
        if self.book.has(&self.call_key(&header.tenant, &header.call_id))? {
            return Err(Error::CallIdExists);
        }
        if now.hi >= record.expire_time || !self.keyring.covers(record.place)? {
            return Err(Error::RetentionTooShort);
        }
        let tenant = self.book.tenant_tag(&tenant.id);
        let key = schema::record(tenant, record.id);
        let mut transaction = Transaction::default();
        self.book.put(&mut transaction, key, &RecordRow::from_domain(&record))?;
        self.book.put(&mut transaction, schema::place(record.place), &PlaceRow::from_domain(&record))?;
        self.book.put(&mut transaction, self.call_key(&record.tenant, &record.call_id), &PlaceRow::from_domain(&record))?;
        Book::put_mark(&mut transaction, schema::consent_record(tenant, record.consent, record.id));
        self.extend_consent(&mut transaction, &consent, receipt, record.expire_time)?;
        self.remember(&mut transaction, &request, &Made::Record { id: record.id, place: record.place, leaf: &leaf }, now)?;
        // Once the row can be seen it can be shredded, and nobody may hold its key then.
        drop(leaf);
        self.counts.lock().add(&self.book, &mut transaction, &record)?;
        let ticket = self.book.apply(transaction)?;
        claim.keep();
        Ok((record, ticket))
    }

    /// Keeps the consent for as long as this record asks for; puts it, if it is new.
    fn extend_consent(
        &self,
        transaction: &mut Transaction,
        consent: &Consent,
        receipt: Option<String>,
        end: DateTime<Utc>,
    ) -> Result<(), Error> {
        let Some(receipt) = receipt else {
            let key = schema::consent(self.book.tenant_tag(&consent.tenant), consent.id());
            let row = self.book.get::<ConsentRow>(&key)?.ok_or(Error::NotFound)?;
            let is_kept = row.last_end()? >= end;
            return if is_kept { Ok(()) } else { self.put_consent(transaction, consent, row.receipt, end) };
        };
        self.put_consent(transaction, consent, receipt, end)
    }

    /// The record that an earlier attempt at this request made.
    fn uploaded_before(&self, tenant: &TenantId, request: &Request) -> Result<Option<Record>, Error> {
        let Some(made) = self.remembered(request)? else { return Ok(None) };
        let record = self.record(tenant, RecordId(made))?;
        self.book.sync_all()?;
        Ok(Some(record))
    }
}
