//! Upload: a record is taken in whole, durably, under a consent that allows its use, or not at all.
//!
//! A record arrives in steps, one use case each: its header, then for each part what it is and its bytes, then the rest. Bytes
//! are sealed as they come and lie in volumes before any row names them. What is not finished leaves no row: its leaf is
//! forgotten with the next commit, and what was sealed under it is dead weight until its hour is over.

mod entrance;
mod intake;

pub use crate::crypto::seal::Plaintext;
pub(in crate::vault) use entrance::Entrance;
pub use intake::{Intake, part_context};

use std::sync::mpsc;

use chrono::{DateTime, SubsecRound, Utc};

use super::Vault;
use super::error::Error;
use super::requests::Request;
use crate::domain::attributes::Attributes;
use crate::domain::category::{Category, CategorySet};
use crate::domain::consent::Consent;
use crate::domain::ids::{CallId, ConsentId, RequestId, TenantId};
use crate::domain::media::MediaType;
use crate::domain::policy::{self, Offer};
use crate::domain::record::{Record, RecordState};
use crate::domain::retention::{self, Now};
use crate::domain::tenant::{Tenant, Terms};
use crate::store::schema;
use intake::{Claim, Fresh};

/// A record to be taken in, all of it.
#[expect(missing_debug_implementations, reason = "holds identification data")]
pub struct Upload {
    /// What it is.
    pub header: UploadHeader,
    /// The files.
    pub parts: Vec<UploadPart>,
    /// The attributes; may be empty.
    pub attributes: Attributes,
}

/// What a record is, said before its parts.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a receipt names a person")]
pub struct UploadHeader {
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
}

/// Where the consent of an upload is.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a receipt names a person")]
pub enum ConsentSource {
    /// Registered before.
    Registered(ConsentId),
    /// A receipt that comes with the upload.
    Receipt(String),
}

/// A file to be taken in.
#[expect(missing_debug_implementations, reason = "holds identification data")]
pub struct UploadPart {
    /// What it is.
    pub header: PartHeader,
    /// Its bytes.
    pub data: Plaintext,
}

/// What the caller says of a file before its bytes.
#[derive(Debug, Clone, Copy)]
pub struct PartHeader {
    /// What it shows.
    pub category: Category,
    /// Its format.
    pub media_type: MediaType,
    /// Its size in bytes.
    pub size: u64,
    /// Its CRC-32C.
    pub crc32c: u32,
}

/// A consent found for an upload.
struct Found {
    consent: Consent,
    /// When it is not in the ledger yet.
    new: Option<NewReceipt>,
}

/// A receipt that is to be registered with its record.
struct NewReceipt {
    receipt: String,
    /// The keys that it was verified with.
    jwks: String,
}

impl Vault {
    /// Takes in a record. When this returns it is durable; a retry of the same request gives the same record.
    ///
    /// # Errors
    /// A refusal with its reason; the record then does not exist.
    pub fn create_record(&self, upload: Upload) -> Result<Record, Error> {
        let (answer, answered) = mpsc::channel();
        self.take_in(upload, move |outcome| drop(answer.send(outcome)));
        answered.recv().unwrap_or_else(|_| Err(Error::Failed("an upload ended without an answer".to_owned())))
    }

    /// Takes in a record and answers as [`Vault::finish_upload`] does.
    pub fn take_in(&self, upload: Upload, answer: impl FnOnce(Result<Record, Error>) + Send + 'static) {
        let Upload { header, parts, attributes } = upload;
        let intake = self.begin_upload(header).and_then(|mut intake| {
            for UploadPart { header, data } in parts {
                self.begin_part(&mut intake, header)?;
                self.add_bytes(&mut intake, data.expose())?;
                self.end_part(&mut intake)?;
            }
            Ok(intake)
        });
        match intake {
            Ok(intake) => self.finish_upload(intake, &attributes, answer),
            Err(refusal) => answer(Err(refusal)),
        }
    }

    /// Begins to take in a record.
    ///
    /// # Errors
    /// A refusal with its reason.
    pub fn begin_upload(&self, header: UploadHeader) -> Result<Intake, Error> {
        let now = self.working_now()?;
        let tenant = self.book.tenant(&header.tenant)?.ok_or(Error::NotFound)?;
        let found = self.find_consent(&header.consent, &tenant, now)?;
        let request = Request::new(&self.book, ("record", header.tenant.as_str()), header.request, Vec::new());
        let is_known = || self.knows(&request);
        if is_known()? {
            return Ok(Intake::again(header, found));
        }
        admit(&header, CategorySet::default(), &found.consent, &tenant.terms, now)?;
        if self.book.has(&self.call_key(&header.tenant, &header.call_id))? {
            // The live record may be that of this very request, sent twice at once.
            return if is_known()? { Ok(Intake::again(header, found)) } else { Err(Error::CallIdExists) };
        }
        self.catch_up()?;
        let upload_time = now.lo.trunc_subsecs(3);
        let hour = retention::expiry(upload_time, tenant.retention, found.consent.receipt.expires_at)
            .map_err(|_| Error::RetentionTooShort)?;
        let (claim, leaf) = Claim::draw(&self.keyring, hour)?;
        let record = Record {
            id: super::new_record_id(now)?,
            tenant: header.tenant.clone(),
            call_id: header.call_id.clone(),
            consent: found.consent.id(),
            receipt_sha256: found.consent.receipt_sha256,
            collect_time: header.collect_time,
            upload_time,
            expire_time: retention::time_of(hour),
            place: claim.place(),
            state: RecordState::Live,
            parts: Vec::new(),
            fields: CategorySet::default(),
        };
        let fresh = Fresh::new(self.id.clone(), tenant.metadata_policy, record, claim, leaf);
        Ok(Intake::new(header, found, fresh))
    }

    /// Begins with the next part; the one before has ended.
    ///
    /// # Errors
    /// A refusal with its reason.
    pub fn begin_part(&self, intake: &mut Intake, header: PartHeader) -> Result<(), Error> {
        self.working_now()?;
        intake.begin_part(header)?;
        self.admit_so_far(intake)
    }

    /// Ends the part under way, if there is one.
    ///
    /// # Errors
    /// A refusal with its reason: it is not what its header says.
    pub fn end_part(&self, intake: &mut Intake) -> Result<(), Error> {
        self.working_now()?;
        intake.end_part(&self.volumes)
    }

    /// Takes the next bytes of the part.
    ///
    /// # Errors
    /// A refusal with its reason.
    pub fn add_bytes(&self, intake: &mut Intake, bytes: &[u8]) -> Result<(), Error> {
        self.working_now()?;
        intake.add_bytes(bytes, &self.volumes)
    }

    fn find_consent(&self, source: &ConsentSource, tenant: &Tenant, now: Now) -> Result<Found, Error> {
        match source {
            ConsentSource::Registered(id) => {
                Ok(Found { consent: self.book.consent(&tenant.id, *id)?.ok_or(Error::NotFound)?, new: None })
            }
            ConsentSource::Receipt(receipt) => {
                let offered = self.offered(tenant, receipt, now)?;
                // Refused when the id is another receipt's, or what it says was taken back.
                if let Some(consent) = self.known(&offered)? {
                    return Ok(Found { consent, new: None });
                }
                let new = NewReceipt { receipt: receipt.clone(), jwks: tenant.jwks.clone() };
                Ok(Found { consent: offered, new: Some(new) })
            }
        }
    }

    /// Refuses early what would be refused in the end, by what is known of the record so far. A retry is not judged again.
    fn admit_so_far(&self, intake: &Intake) -> Result<(), Error> {
        if intake.fresh.is_none() {
            return Ok(());
        }
        let tenant = self.tenant(&intake.header.tenant)?;
        Ok(admit(&intake.header, intake.categories(), &intake.found.consent, &tenant.terms, self.working_now()?)?)
    }

    pub(super) fn call_key(&self, tenant: &TenantId, call: &CallId) -> Vec<u8> {
        schema::call(self.book.tag("call", &[tenant.as_str().as_bytes(), call.as_str().as_bytes()]))
    }
}

fn admit(
    header: &UploadHeader,
    categories: CategorySet,
    consent: &Consent,
    terms: &Terms,
    now: Now,
) -> Result<(), policy::Refusal> {
    policy::admit(&Offer { call_id: &header.call_id, collect_time: header.collect_time, categories }, consent, terms, now)
}
