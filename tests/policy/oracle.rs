//! The rules of release by the letter: written from them, sharing no code with what they judge.

use chrono::TimeDelta;

use idvault::domain::category::Category;
use idvault::domain::consent::ConsentEventKind;
use idvault::domain::job::JobState;
use idvault::domain::purpose::Purpose;
use idvault::domain::receipt::{ConsentType, Grant, GrantDecision, LawfulBasis, Receipt, SubjectClass};
use idvault::domain::record::RecordState;
use idvault::domain::tenant::{KeyRevocation, NoticeVersion, Terms};

use super::cases::Case;

/// Rule 3 for one category, by the letter.
pub(crate) fn may_release(case: &Case, category: Category) -> bool {
    let spec = &case.job.spec;
    let about = |grant: &&Grant| grant.purpose == spec.purpose && grant.categories.contains(category);
    let mut grants = case.consent.receipt.grants.iter().filter(about);
    let refused = grants.clone().any(|grant| grant.decision == GrantDecision::Refused);
    let given = grants.any(|grant| {
        grant.decision == GrantDecision::Given
            && grant.consent_type == ConsentType::Explicit
            && grant.ui_element_id.is_some()
            && grant.lawful_basis == LawfulBasis::Consent
            && grant.recipients.contains(&spec.legal_entity)
            && grant.regions.contains(&spec.region)
    });
    given && !refused && spec.purpose != Purpose::VerifyIdentity && spec.categories.contains(&category)
}

/// Rule 5 and the end of keys, by the letter.
pub(crate) fn rests(receipt: &Receipt, terms: &Terms) -> bool {
    let is_revoked = |revocation: &KeyRevocation| revocation.kid == receipt.kid && revocation.time < receipt.issued_at;
    let is_shown = |notice: &NoticeVersion| {
        (&notice.id, &notice.version, notice.sha256) == (&receipt.notice.id, &receipt.notice.version, receipt.notice.sha256)
    };
    let mut later = terms.notices.iter();
    let is_registered = later.by_ref().any(is_shown);
    let is_replaced = later.any(|later| later.id == receipt.notice.id && later.invalidating);
    let is_held = !terms.is_shredded && !terms.revocations.iter().any(is_revoked);
    is_held && (terms.notices.is_empty() || is_registered && !is_replaced)
}

/// The rules about the case as a whole, by the letter.
pub(crate) fn is_releasable(Case { job, record, consent, terms, now }: &Case) -> bool {
    let (spec, receipt) = (&job.spec, &consent.receipt);
    let skewed = now.lo + TimeDelta::seconds(300);
    let withdrawn = consent.events.iter().any(|event| match event.kind {
        ConsentEventKind::WithdrawnWhole => true,
        ConsentEventKind::Withdrawn(purposes) => purposes.contains(spec.purpose),
    });
    job.state == JobState::Active
        && record.state == RecordState::Live
        && [spec.expire_time, record.expire_time, receipt.expires_at].iter().all(|end| now.hi < *end)
        && [receipt.issued_at, receipt.not_before, receipt.event.time].iter().all(|begin| *begin <= skewed)
        && receipt.event.time <= record.collect_time
        && receipt.bound_call_id.iter().all(|bound| *bound == record.call_id)
        && (record.consent, record.receipt_sha256) == (receipt.id, consent.receipt_sha256)
        && record.tenant == consent.tenant
        && receipt.issuer == consent.tenant
        && (receipt.subject_class == SubjectClass::Adult || receipt.guardian_ref.is_some())
        && spec.tenants.contains(&record.tenant)
        && spec.jurisdictions.contains(&receipt.jurisdiction)
        && spec.uploaded_from.iter().all(|from| *from <= record.upload_time)
        && spec.uploaded_before.iter().all(|before| record.upload_time < *before)
        && !withdrawn
        && rests(receipt, terms)
}
