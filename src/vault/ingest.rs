//! Upload: a record is taken in whole, durably, under a consent that allows its use, or not at all.

pub use crate::crypto::seal::Plaintext;

use chrono::{DateTime, SubsecRound, Utc};

use super::Vault;
use super::book::Book;
use super::error::Error;
use super::metadata;
use super::requests::{Made, Request};
use super::rows::{ConsentRow, PlaceRow, RecordRow};
use crate::crypto::seal::{self, PartKey, Salt};
use crate::crypto::secret::Secret;
use crate::domain::attributes::Attributes;
use crate::domain::category::{Category, CategorySet};
use crate::domain::consent::Consent;
use crate::domain::context::PartContext;
use crate::domain::ids::{CallId, ConsentId, RecordId, RequestId, TenantId, VaultId};
use crate::domain::media::{MAX_PARTS, MAX_RECORD_BYTES, MediaType};
use crate::domain::policy::{self, Offer};
use crate::domain::record::{Extent, Part, Record, RecordState};
use crate::domain::retention::{self, Now};
use crate::domain::tenant::{MetadataPolicy, Tenant};
use crate::store::ledger::Transaction;
use crate::store::schema;
use crate::store::volume::Appended;

/// A record to be taken in.
#[expect(missing_debug_implementations, reason = "holds identification data")]
pub struct Upload {
    /// Whose.
    pub tenant: TenantId,
    /// Which attempt.
    pub request: RequestId,
    /// The tenant's name for the check.
    pub call_id: CallId,
    /// When the data was collected.
    pub collect_time: DateTime<Utc>,
    /// The consent it stands under.
    pub consent: ConsentSource,
    /// The files.
    pub parts: Vec<UploadPart>,
    /// The attributes; may be empty.
    pub attributes: Attributes,
}

/// Where the consent of an upload is.
#[expect(missing_debug_implementations, reason = "a receipt names a person")]
pub enum ConsentSource {
    /// Registered before.
    Registered(ConsentId),
    /// A receipt that comes with the upload.
    Receipt(String),
}

/// A file to be taken in, with what the caller says of it.
#[expect(missing_debug_implementations, reason = "holds identification data")]
pub struct UploadPart {
    /// What it shows.
    pub category: Category,
    /// Its format.
    pub media_type: MediaType,
    /// Its declared size in bytes.
    pub size: u64,
    /// Its declared CRC-32C.
    pub crc32c: u32,
    /// Its bytes.
    pub data: Plaintext,
}

/// A consent found for an upload; `receipt` is set when it is not in the ledger yet.
struct Found {
    consent: Consent,
    receipt: Option<String>,
}

impl Vault {
    /// Takes in a record. When this returns it is durable; a retry of the same request gives the same record.
    ///
    /// # Errors
    /// A refusal with its reason; nothing of the record is then kept.
    pub fn create_record(&self, upload: &Upload) -> Result<Record, Error> {
        let now = self.working_now()?;
        check_parts(upload)?;
        let tenant = self.book.tenant(&upload.tenant)?.ok_or(Error::NotFound)?;
        let found = self.find_consent(&upload.consent, &tenant, now)?;
        let request = self.upload_request(upload, &found.consent);
        if let Some(record) = self.uploaded_before(&upload.tenant, &request)? {
            return Ok(record);
        }
        match self.admit(upload, &found.consent, now) {
            // The live record may be that of this very request, sent twice at once.
            Err(Error::CallIdExists) => return self.uploaded_before(&upload.tenant, &request)?.ok_or(Error::CallIdExists),
            admitted => admitted?,
        }
        self.catch_up()?;
        let stripped = strip_parts(upload, tenant.metadata_policy)?;
        let upload_time = now.lo.trunc_subsecs(3);
        let hour = retention::expiry(upload_time, tenant.retention, found.consent.receipt.expires_at)
            .map_err(|_| Error::RetentionTooShort)?;
        let (place, leaf) = self.keyring.draw(hour)?;
        let record = Record {
            id: super::new_record_id(now)?,
            tenant: upload.tenant.clone(),
            call_id: upload.call_id.clone(),
            consent: found.consent.id(),
            receipt_sha256: found.consent.receipt_sha256,
            collect_time: upload.collect_time,
            upload_time,
            expire_time: retention::time_of(hour),
            place,
            state: RecordState::Live,
            parts: Vec::new(),
            fields: upload.attributes.categories(),
        };
        let attributes = Plaintext::from(upload.attributes.encode());
        let parts = parts_to_seal(upload, &stripped, &attributes);
        let outcome = self.store(&parts, record, &leaf).and_then(|record| self.enter(upload, record, leaf, found));
        if outcome.is_err() {
            self.keyring.abandon(place);
        }
        outcome
    }

    /// A record of a tenant, as long as it is alive.
    ///
    /// # Errors
    /// [`Error::RecordGone`], also when it never was.
    pub fn record(&self, tenant: &TenantId, id: RecordId) -> Result<Record, Error> {
        let now = self.now()?;
        let record =
            self.book.record(tenant, id)?.filter(|record| record.state == RecordState::Live && now.hi < record.expire_time);
        record.ok_or(Error::RecordGone)
    }

    fn find_consent(&self, source: &ConsentSource, tenant: &Tenant, now: Now) -> Result<Found, Error> {
        match source {
            ConsentSource::Registered(id) => {
                Ok(Found { consent: self.book.consent(&tenant.id, *id)?.ok_or(Error::NotFound)?, receipt: None })
            }
            ConsentSource::Receipt(receipt) => {
                let offered = self.verify_receipt(tenant, receipt, now)?;
                Ok(match self.known(&offered)? {
                    Some(consent) => Found { consent, receipt: None },
                    None => Found { consent: offered, receipt: Some(receipt.clone()) },
                })
            }
        }
    }

    fn admit(&self, upload: &Upload, consent: &Consent, now: Now) -> Result<(), Error> {
        let categories =
            upload.parts.iter().map(|part| part.category).collect::<CategorySet>().union(upload.attributes.categories());
        policy::admit(&Offer { call_id: &upload.call_id, collect_time: upload.collect_time, categories }, consent, now)?;
        if self.book.has(&self.call_key(&upload.tenant, &upload.call_id))? { Err(Error::CallIdExists) } else { Ok(()) }
    }

    pub(super) fn call_key(&self, tenant: &TenantId, call: &CallId) -> Vec<u8> {
        schema::call(self.book.tag("call", &[tenant.as_str().as_bytes(), call.as_str().as_bytes()]))
    }

    /// Seals the parts and makes them durable. No row names them yet.
    fn store(&self, parts: &[(Category, MediaType, &Plaintext)], mut record: Record, leaf: &Secret) -> Result<Record, Error> {
        let mut sealed = Vec::with_capacity(parts.len());
        for (number, &(category, media_type, data)) in (0_u8..).zip(parts) {
            let size = u64::try_from(data.expose().len()).unwrap_or(u64::MAX);
            let part = Part { number, category, media_type, size, extent: Extent { volume: 0, offset: 0, length: 0 } };
            let context = part_context(&self.id, &record, &part);
            sealed.push((
                number,
                seal::seal_part(&PartKey::derive(leaf, u16::from(number)), &Salt::random()?, &context, data.expose()),
            ));
            record.parts.push(part);
        }
        let frames: Vec<_> = sealed.iter().map(|(number, sealed)| (*number, sealed.as_slice())).collect();
        let appended: Appended = self.volumes.append(record.place, &frames)?;
        for (part, extent) in record.parts.iter_mut().zip(&appended.extents) {
            part.extent = *extent;
        }
        appended.sync()?;
        Ok(record)
    }

    /// Enters a stored record into the ledger, everything checked once more in the one order of changes.
    fn enter(&self, upload: &Upload, record: Record, leaf: Secret, found: Found) -> Result<Record, Error> {
        let request = self.upload_request(upload, &found.consent);
        let writes = self.writes.lock();
        let now = self.working_now()?;
        if let Some(first) = self.uploaded_before(&upload.tenant, &request)? {
            self.keyring.abandon(record.place);
            return Ok(first);
        }
        let (consent, receipt) = match self.known(&found.consent)? {
            Some(consent) => (consent, None),
            None => (found.consent, found.receipt),
        };
        self.admit(upload, &consent, now)?;
        if now.hi >= record.expire_time || !self.keyring.covers(record.place) {
            return Err(Error::RetentionTooShort);
        }
        let tenant = self.book.tenant_tag(&record.tenant);
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
        drop(writes);
        self.book.sync(ticket)?;
        Ok(record)
    }

    /// Keeps the consent for as long as this record asks for; puts it, if it is new.
    fn extend_consent(
        &self,
        transaction: &mut Transaction,
        consent: &Consent,
        receipt: Option<String>,
        end: DateTime<Utc>,
    ) -> Result<(), Error> {
        let key = schema::consent(self.book.tenant_tag(&consent.tenant), consent.id());
        match (receipt, self.book.get::<ConsentRow>(&key)?) {
            (Some(receipt), None) => self.put_consent(transaction, consent, receipt, end),
            (_, Some(row)) if row.last_end()? < end => self.put_consent(transaction, consent, row.receipt, end),
            (_, Some(_)) => Ok(()),
            (None, None) => Err(Error::NotFound),
        }
    }

    /// The record that an earlier attempt at this request made.
    fn uploaded_before(&self, tenant: &TenantId, request: &Request) -> Result<Option<Record>, Error> {
        let Some(made) = self.remembered(request)? else { return Ok(None) };
        let record = self.record(tenant, RecordId(made))?;
        self.book.sync_all()?;
        Ok(Some(record))
    }

    /// What an upload asks, in a canonical form: header, then of each part its category, format, length and checksum.
    fn upload_request(&self, upload: &Upload, consent: &Consent) -> Request {
        let mut bytes = Vec::new();
        let mut field = |value: &[u8]| {
            bytes.extend_from_slice(&u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
            bytes.extend_from_slice(value);
        };
        field(upload.call_id.as_str().as_bytes());
        field(&upload.collect_time.timestamp_millis().to_be_bytes());
        field(consent.id().0.as_bytes());
        field(&consent.receipt_sha256);
        for part in &upload.parts {
            field(&[part.category.number(), part.media_type.number()]);
            field(&part.size.to_be_bytes());
            field(&part.crc32c.to_be_bytes());
        }
        field(&upload.attributes.encode());
        Request::new(&self.book, ("record", upload.tenant.as_str()), upload.request, bytes)
    }

    /// The keys of all rows of a record but its request's, which is forgotten in its own time.
    pub(super) fn rows_of(&self, record: &Record) -> [Vec<u8>; 5] {
        let tenant = self.book.tenant_tag(&record.tenant);
        [
            schema::record(tenant, record.id),
            schema::place(record.place),
            schema::marked(record.place),
            schema::consent_record(tenant, record.consent, record.id),
            self.call_key(&record.tenant, &record.call_id),
        ]
    }
}

/// What a sealed part is bound to, rebuilt from its row.
#[must_use]
pub fn part_context(vault: &VaultId, record: &Record, part: &Part) -> Vec<u8> {
    PartContext {
        vault,
        tenant: &record.tenant,
        record: record.id,
        part: part.number,
        category: part.category,
        media_type: part.media_type.name(),
        consent: record.consent,
        receipt_sha256: &record.receipt_sha256,
        upload_time: record.upload_time,
        place: record.place,
    }
    .encode()
}

/// Checks the files against what the caller says of them, before anything is stored.
fn check_parts(upload: &Upload) -> Result<(), Error> {
    let attributes = usize::from(!upload.attributes.is_empty());
    let count = upload.parts.len().saturating_add(attributes);
    if count == 0 || count > MAX_PARTS {
        return Err(Error::invalid("parts", format!("must be 1 to {MAX_PARTS}, attributes included")));
    }
    let mut total = 0_u64;
    for (number, part) in upload.parts.iter().enumerate() {
        let data = part.data.expose();
        total = total.saturating_add(part.size);
        if part.size > part.media_type.max_bytes() || total > MAX_RECORD_BYTES {
            return Err(Error::PartTooLarge(number));
        }
        if u64::try_from(data.len()) != Ok(part.size) || data.is_empty() {
            return Err(Error::PartSize(number));
        }
        if crc32c::crc32c(data) != part.crc32c {
            return Err(Error::PartChecksum(number));
        }
        // HEIC is a HEIF file with an HEVC picture; the crate calls all of those HEIF.
        let found = infer::get(data).map(|kind| kind.mime_type().replace("image/heif", "image/heic"));
        if found.as_deref() != Some(part.media_type.name()) {
            return Err(Error::PartType(number));
        }
    }
    Ok(())
}

/// What the tenant's policy leaves of each file, in their order; nothing for a file that stays as it was sent.
fn strip_parts(upload: &Upload, policy: MetadataPolicy) -> Result<Vec<Option<Plaintext>>, Error> {
    let strip = |(number, part): (usize, &UploadPart)| match policy {
        MetadataPolicy::Strip => metadata::strip(part.media_type, &part.data).map_err(|_| Error::PartType(number)),
        MetadataPolicy::Keep => Ok(None),
    };
    upload.parts.iter().enumerate().map(strip).collect()
}

/// All parts of the record: the files, each as it was stripped or else as it was sent, and the attributes if there are any.
fn parts_to_seal<'a>(
    upload: &'a Upload,
    stripped: &'a [Option<Plaintext>],
    attributes: &'a Plaintext,
) -> Vec<(Category, MediaType, &'a Plaintext)> {
    let files = upload.parts.iter().zip(stripped);
    let files = files.map(|(part, stripped)| (part.category, part.media_type, stripped.as_ref().unwrap_or(&part.data)));
    let attributes = (!upload.attributes.is_empty()).then_some((Category::Attributes, MediaType::Attributes, attributes));
    files.chain(attributes).collect()
}
