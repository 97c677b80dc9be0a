//! The rules: which uploads are admitted, and which parts of which record a job receives.
//!
//! Pure functions of values; they cannot panic and cannot fail open: every check must hold, what cannot be decided is
//! denied, and what a person refused beats what anybody granted. Nothing else makes a [`ReleasePermit`].

use chrono::{DateTime, Utc};

use crate::domain::category::{Category, CategorySet};
use crate::domain::consent::Consent;
use crate::domain::ids::{CallId, JobId, Place};
use crate::domain::job::{Job, JobState};
use crate::domain::receipt::{Grant, Receipt, SubjectClass};
use crate::domain::record::{Part, Record, RecordState};
use crate::domain::retention::Now;
use crate::domain::tenant::{Terms, Void};

/// The version of the rules below; it changes whenever a decision could.
pub const RULE_SET_VERSION: u32 = 2;

/// What an upload brings.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// The tenant's name for the check.
    pub call_id: &'a CallId,
    /// When the data was collected.
    pub collect_time: DateTime<Utc>,
    /// The categories of its files and of its non-empty attribute fields.
    pub categories: CategorySet,
}

/// Why an upload is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The receipt was signed, begins or was decided on in the future.
    #[error("the consent is not yet valid")]
    NotYetValid,
    /// The receipt may have expired.
    #[error("the consent has expired")]
    Expired,
    /// Its key was revoked before it was signed.
    #[error("the receipt's key was revoked before it was signed")]
    KeyRevoked,
    /// The text that the person was shown is not a registered one.
    #[error("the notice is not registered for the tenant")]
    NoticeUnknown,
    /// A later version of that text voids consents under it.
    #[error("a later version of the notice voids consents under this one")]
    NoticeReplaced,
    /// All that the tenant has is being destroyed, or was.
    #[error("the tenant is being shredded, or was")]
    TenantShredded,
    /// The person withdrew it.
    #[error("the consent was withdrawn")]
    Withdrawn,
    /// A minor's receipt names no guardian.
    #[error("the consent of a minor needs a guardian")]
    GuardianRequired,
    /// The receipt is bound to another check.
    #[error("the consent is bound to another check")]
    BindingMismatch,
    /// The data was collected in the future.
    #[error("the data was collected in the future")]
    CollectionInFuture,
    /// The person decided after the data was collected.
    #[error("the consent is later than the collection")]
    AfterCollection,
    /// No training purpose is granted.
    #[error("the consent grants no training purpose")]
    PurposeNotGranted,
    /// No grant of a training purpose covers these categories.
    #[error("the consent does not cover every category")]
    CategoryNotCovered(CategorySet),
    /// These categories would be covered if their grants were explicit.
    #[error("the consent to some categories is not explicit")]
    ExplicitRequired(CategorySet),
}

/// Decides on an upload: the vault takes in nothing that it may not use.
///
/// # Errors
/// The first reason to refuse it.
pub fn admit(offer: &Offer<'_>, consent: &Consent, terms: &Terms, now: Now) -> Result<(), Refusal> {
    let receipt = &consent.receipt;
    admit_receipt(receipt, terms, now)?;
    let conditions = [
        (!consent.is_withdrawn(), Refusal::Withdrawn),
        (has_guardian(receipt), Refusal::GuardianRequired),
        (is_bound_to(receipt, offer.call_id), Refusal::BindingMismatch),
        (now.has_reached(offer.collect_time), Refusal::CollectionInFuture),
        (receipt.event.time <= offer.collect_time, Refusal::AfterCollection),
    ];
    if let Some((_, refusal)) = conditions.into_iter().find(|(holds, _)| !holds) {
        return Err(refusal);
    }
    let usable = consent.given(Grant::is_usable);
    let but_for_explicitness = consent.given(Grant::is_grounded);
    let uncovered = offer.categories.without(but_for_explicitness);
    let implicit = offer.categories.without(usable);
    if but_for_explicitness.is_empty() {
        Err(Refusal::PurposeNotGranted)
    } else if !uncovered.is_empty() {
        Err(Refusal::CategoryNotCovered(uncovered))
    } else if usable.is_empty() || !implicit.is_empty() {
        Err(Refusal::ExplicitRequired(implicit))
    } else {
        Ok(())
    }
}

/// Decides on a receipt alone, its times and what it rests on, as when it is registered before any upload.
///
/// # Errors
/// The first reason to refuse it.
pub fn admit_receipt(receipt: &Receipt, terms: &Terms, now: Now) -> Result<(), Refusal> {
    if !has_begun(receipt, now) {
        return Err(Refusal::NotYetValid);
    }
    if now.may_have_passed(receipt.expires_at) {
        return Err(Refusal::Expired);
    }
    terms.hold(receipt).map_err(|void| match void {
        Void::KeyRevoked => Refusal::KeyRevoked,
        Void::NoticeUnknown => Refusal::NoticeUnknown,
        Void::NoticeReplaced => Refusal::NoticeReplaced,
        Void::TenantShredded => Refusal::TenantShredded,
    })
}

/// Why a job does not receive a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The job is not active now.
    JobNotActive,
    /// The record is being destroyed, or may have expired.
    RecordGone,
    /// The consent is not the one under which the record was taken in.
    ConsentMismatch,
    /// The consent is not yet valid, or later than the collection, or bound to another check.
    ConsentNotApplicable,
    /// The consent may have expired.
    ConsentExpired,
    /// The person withdrew the consent, or this purpose of it.
    ConsentWithdrawn,
    /// The consent is void: its key was revoked before it was signed, or its notice is not one that holds.
    ConsentVoid,
    /// A minor's consent names no guardian.
    GuardianRequired,
    /// The job did not ask for this tenant.
    TenantNotAsked,
    /// The job did not ask for this jurisdiction.
    JurisdictionNotAsked,
    /// The job did not ask for records uploaded then.
    UploadTimeNotAsked,
    /// The consent does not grant the job's purpose.
    PurposeNotGranted,
    /// The consent grants the job's purpose, but not to its legal entity in its region.
    DestinationNotGranted,
    /// Nothing that the job asks for is both granted and there.
    CategoryNotGranted,
}

/// A decision against a release.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("denied by rule set {rule_set}: {reasons:?}")]
pub struct Denial {
    rule_set: u32,
    reasons: Vec<Reason>,
}

impl Denial {
    /// The version of the rules that decided.
    #[must_use]
    pub fn rule_set(&self) -> u32 {
        self.rule_set
    }

    /// All reasons, at least one, in ascending order.
    #[must_use]
    pub fn reasons(&self) -> &[Reason] {
        &self.reasons
    }
}

/// Leave to release some parts of one record to one job, now. Only [`decide`] gives it, and it cannot be copied.
#[derive(Debug)]
pub struct ReleasePermit {
    job: JobId,
    place: Place,
    parts: Vec<PartPermit>,
}

impl ReleasePermit {
    /// The job that receives.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Where the record's key grows.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Leave for each part, at least one, in the order of the record.
    #[must_use]
    pub fn into_parts(self) -> Vec<PartPermit> {
        self.parts
    }
}

/// Leave to open one part of a record, once.
#[derive(Debug)]
pub struct PartPermit {
    place: Place,
    part: u8,
    fields: CategorySet,
}

impl PartPermit {
    /// Where the record's key grows.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Number of the part within its record.
    #[must_use]
    pub fn part(&self) -> u8 {
        self.part
    }

    /// The fields to keep of the attributes part; no others may be sent. Empty for a file.
    #[must_use]
    pub fn fields(&self) -> CategorySet {
        self.fields
    }
}

/// Decides whether `job` receives `record` now, and which parts and fields of it. `consent` is the record's own, `terms` its
/// tenant's.
///
/// # Errors
/// A [`Denial`] with every reason.
pub fn decide(job: &Job, record: &Record, consent: &Consent, terms: &Terms, now: Now) -> Result<ReleasePermit, Denial> {
    let (spec, receipt) = (&job.spec, &consent.receipt);
    let conditions = [
        (job.state_at(now.hi) == JobState::Active, Reason::JobNotActive),
        (record.state == RecordState::Live && !now.may_have_passed(record.expire_time), Reason::RecordGone),
        (is_consent_of(record, consent), Reason::ConsentMismatch),
        (is_applicable(record, receipt, now), Reason::ConsentNotApplicable),
        (!now.may_have_passed(receipt.expires_at), Reason::ConsentExpired),
        (!consent.withdrawn().contains(spec.purpose), Reason::ConsentWithdrawn),
        (terms.hold(receipt).is_ok(), Reason::ConsentVoid),
        (has_guardian(receipt), Reason::GuardianRequired),
        (spec.tenants.contains(&record.tenant), Reason::TenantNotAsked),
        (spec.jurisdictions.contains(&receipt.jurisdiction), Reason::JurisdictionNotAsked),
        (spec.accepts_upload_at(record.upload_time), Reason::UploadTimeNotAsked),
    ];
    let unmet = conditions.into_iter().filter(|(holds, _)| !holds).map(|(_, reason)| reason);
    let parts = granted_parts(job, record, receipt);
    let reasons: Vec<_> = unmet.chain(parts.as_ref().err().copied()).collect();
    match parts {
        Ok(parts) if reasons.is_empty() => Ok(ReleasePermit { job: job.id, place: record.place, parts }),
        _ => Err(Denial { rule_set: RULE_SET_VERSION, reasons }),
    }
}

/// The parts of which something is both asked for and granted, to this recipient in this region.
fn granted_parts(job: &Job, record: &Record, receipt: &Receipt) -> Result<Vec<PartPermit>, Reason> {
    let spec = &job.spec;
    if !spec.purpose.is_training() || receipt.given(spec.purpose, Grant::is_usable).is_empty() {
        return Err(Reason::PurposeNotGranted);
    }
    let names_destination = |grant: &Grant| grant.recipients.contains(&spec.legal_entity) && grant.regions.contains(&spec.region);
    let granted = receipt.given(spec.purpose, |grant| grant.is_usable() && names_destination(grant));
    if granted.is_empty() {
        return Err(Reason::DestinationNotGranted);
    }
    let released = granted.intersection(spec.categories.iter().copied().collect());
    let permit = |part: &Part| {
        let (fields, is_released) = if part.category == Category::Attributes {
            let fields = released.intersection(record.fields);
            (fields, !fields.is_empty())
        } else {
            (CategorySet::default(), released.contains(part.category))
        };
        is_released.then_some(PartPermit { place: record.place, part: part.number, fields })
    };
    let parts: Vec<_> = record.parts.iter().filter_map(permit).collect();
    if parts.is_empty() { Err(Reason::CategoryNotGranted) } else { Ok(parts) }
}

fn is_consent_of(record: &Record, consent: &Consent) -> bool {
    record.tenant == consent.tenant
        && consent.receipt.issuer == consent.tenant
        && record.consent == consent.id()
        && record.receipt_sha256 == consent.receipt_sha256
}

/// Whether the receipt has begun, was decided on before the data was collected, and is for this check.
fn is_applicable(record: &Record, receipt: &Receipt, now: Now) -> bool {
    has_begun(receipt, now) && receipt.event.time <= record.collect_time && is_bound_to(receipt, &record.call_id)
}

fn has_begun(receipt: &Receipt, now: Now) -> bool {
    [receipt.issued_at, receipt.not_before, receipt.event.time].into_iter().all(|time| now.has_reached(time))
}

fn is_bound_to(receipt: &Receipt, call_id: &CallId) -> bool {
    receipt.bound_call_id.as_ref().is_none_or(|bound| bound == call_id)
}

fn has_guardian(receipt: &Receipt) -> bool {
    receipt.subject_class == SubjectClass::Adult || receipt.guardian_ref.is_some()
}
