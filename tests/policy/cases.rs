//! Arbitrary jobs, records and consents, from pools so small that they often meet; and the change that makes any of them
//! a case in which something is released.

use chrono::{DateTime, TimeDelta, Utc};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use idvault::domain::category::{Category, CategorySet};
use idvault::domain::consent::{Consent, ConsentEvent, ConsentEventKind};
use idvault::domain::ids::{CallId, ConsentId, Hour, Identity, JobId, Place, RecordId, Serial, TenantId};
use idvault::domain::job::{Job, JobSpec, JobState};
use idvault::domain::media::MediaType;
use idvault::domain::metadata::Treatment;
use idvault::domain::purpose::Purpose;
use idvault::domain::receipt::{
    ConsentAct, ConsentType, Grant, GrantDecision, Jurisdiction, LawfulBasis, Notice, Receipt, SubjectClass,
};
use idvault::domain::record::{Extent, Part, Record, RecordState};
use idvault::domain::retention::Now;
use idvault::domain::tenant::{KeyRevocation, NoticeVersion, Terms};
use uuid::Uuid;

pub(crate) const ENTITIES: [&str; 2] = ["acme labs", "beta labs"];
pub(crate) const REGIONS: [&str; 2] = ["hk-1", "sg-1"];
const TENANTS: [&str; 2] = ["acme", "beta"];
const JURISDICTIONS: [&str; 2] = ["HK", "SG"];
const KEYS: [&str; 2] = ["key-1", "key-2"];
const NOTICES: [&str; 2] = ["notice-1", "notice-2"];
const VERSIONS: [&str; 2] = ["1", "2"];
const CALLS: [&str; 2] = ["call-1", "call-2"];

/// Everything that a release is decided from.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) job: Job,
    pub(crate) record: Record,
    pub(crate) consent: Consent,
    pub(crate) terms: Terms,
    pub(crate) now: Now,
}

/// The moment around which all times lie.
pub(crate) fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

pub(crate) fn days(count: i64) -> TimeDelta {
    TimeDelta::days(count)
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

pub(crate) fn jurisdiction(code: &str) -> Jurisdiction {
    code.parse().unwrap()
}

fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Days around noon, and the edges of the allowed skew.
fn times() -> impl Strategy<Value = DateTime<Utc>> {
    prop_oneof![-3i64..=3, select(vec![300, 301])]
        .prop_map(|it| noon() + TimeDelta::seconds(if it < 300 { it * 86_400 } else { it }))
}

/// What is usually in the past.
fn past_times() -> impl Strategy<Value = DateTime<Utc>> {
    prop_oneof![4 => Just(noon() - days(4)), 1 => times()]
}

/// What is usually in the future.
fn future_times() -> impl Strategy<Value = DateTime<Utc>> {
    prop_oneof![4 => Just(noon() + days(4)), 1 => times()]
}

/// Usually the first of the pool.
fn names<const N: usize>(pool: [&'static str; N]) -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just(pool[0]), 1 => select(pool.to_vec())]
}

fn grantable() -> Vec<Category> {
    Category::ALL.into_iter().filter(|category| category.is_grantable()).collect()
}

pub(crate) fn purposes() -> impl Strategy<Value = Purpose> {
    prop_oneof![3 => Just(Purpose::TrainFaceMatch), 2 => Just(Purpose::TrainLiveness), 1 => select(Purpose::ALL.to_vec())]
}

fn categories(range: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<Category>> {
    subsequence(grantable(), range)
}

pub(crate) fn grants() -> impl Strategy<Value = Grant> {
    let what = (purposes(), categories(0..=12), prop::bool::weighted(0.8));
    let how = (
        prop_oneof![4 => Just(ConsentType::Explicit), 1 => Just(ConsentType::Expressed), 1 => Just(ConsentType::Deemed)],
        prop_oneof![6 => Just(LawfulBasis::Consent), 1 => Just(LawfulBasis::LegitimateInterest)],
        prop::option::weighted(0.9, Just("button".to_owned())),
    );
    let whom =
        (subsequence(ENTITIES.map(str::to_owned).to_vec(), 0..=2), subsequence(REGIONS.map(str::to_owned).to_vec(), 0..=2));
    (what, how, whom).prop_map(
        |((purpose, categories, given), (consent_type, lawful_basis, ui_element_id), (recipients, regions))| {
            let decision = if given { GrantDecision::Given } else { GrantDecision::Refused };
            let categories = categories.into_iter().collect();
            Grant {
                purpose,
                categories,
                decision,
                consent_type,
                lawful_basis,
                recipients,
                regions,
                ui_element_id,
                basis_ref: None,
            }
        },
    )
}

fn receipts() -> impl Strategy<Value = Receipt> {
    let when = (past_times(), past_times(), past_times(), future_times());
    let who = (prop::bool::weighted(0.2), prop::option::of(Just("guardian-1".to_owned())), names(TENANTS), names(JURISDICTIONS));
    let bound = prop::option::weighted(0.3, names(CALLS));
    let under = (names(KEYS), names(NOTICES), names(VERSIONS), 0_u8..2);
    (when, who, bound, under, vec(grants(), 0..5)).prop_map(
        |((iat, nbf, act, exp), (minor, guardian_ref, issuer, law), bound, (kid, notice, version, digest), grants)| Receipt {
            kid: kid.to_owned(),
            issuer: tenant(issuer),
            audience: "vault-1".parse().unwrap(),
            id: ConsentId(uuid(1)),
            issued_at: iat,
            not_before: nbf,
            expires_at: exp,
            subject_ref: "subject-1".parse().unwrap(),
            subject_class: if minor { SubjectClass::Minor } else { SubjectClass::Adult },
            jurisdiction: jurisdiction(law),
            notice: Notice {
                id: notice.to_owned(),
                version: version.to_owned(),
                sha256: [digest; 32],
                language: "en".to_owned(),
            },
            event: ConsentAct { time: act, method: "in_app".to_owned(), actor: "subject".to_owned() },
            grants,
            guardian_ref,
            bound_call_id: bound.map(|call| call.parse().unwrap()),
        },
    )
}

pub(crate) fn terms() -> impl Strategy<Value = Terms> {
    let revocation = (names(KEYS), times()).prop_map(|(kid, time)| KeyRevocation { kid: kid.to_owned(), time });
    let notice = || {
        let what = (names(NOTICES), names(VERSIONS), 0_u8..2, prop::bool::weighted(0.3));
        what.prop_map(|(id, version, digest, invalidating)| NoticeVersion {
            id: id.to_owned(),
            version: version.to_owned(),
            sha256: [digest; 32],
            invalidating,
            registered_at: noon(),
        })
    };
    let notices = prop_oneof![Just(0_usize), 1_usize..5].prop_flat_map(move |count| vec(notice(), count));
    let revocations = vec(revocation, 0..2);
    let terms = (revocations, notices, proptest::bool::weighted(0.1));
    terms.prop_map(|(revocations, notices, is_shredded)| Terms { revocations, notices, is_shredded })
}

fn events() -> impl Strategy<Value = ConsentEvent> {
    let kind = prop_oneof![
        1 => Just(ConsentEventKind::WithdrawnWhole),
        3 => vec(purposes(), 0..3).prop_map(|purposes| ConsentEventKind::Withdrawn(purposes.into_iter().collect())),
    ];
    kind.prop_map(|kind| ConsentEvent { time: noon(), kind })
}

pub(crate) fn consents() -> impl Strategy<Value = Consent> {
    let events = prop_oneof![3 => Just(vec![]), 1 => vec(events(), 1..3)];
    (receipts(), names(TENANTS), events).prop_map(|(receipt, owner, events)| Consent {
        tenant: tenant(owner),
        receipt,
        receipt_sha256: [1; 32],
        registered_at: noon(),
        events,
    })
}

/// Parts of these categories: one for each file, and a last one for all the fields.
fn parts(categories: &[Category]) -> Vec<Part> {
    let files = categories.iter().copied().filter(|category| category.is_file());
    let attributes = categories.iter().any(|category| category.is_field()).then_some(Category::Attributes);
    let part = |(number, category)| {
        let media_type = if category == Category::Attributes { MediaType::Attributes } else { MediaType::Jpeg };
        let extent = Extent { volume: 0, offset: 0, length: 1056 };
        Part { number, category, media_type, size: 1000, extents: vec![extent], treatment: Treatment::Unknown }
    };
    (0..).zip(files.chain(attributes)).map(part).collect()
}

fn records() -> impl Strategy<Value = Record> {
    let names = (names(TENANTS), names(CALLS), prop::bool::weighted(0.9), prop::bool::weighted(0.9));
    let when = (past_times(), past_times(), future_times());
    (names, when, categories(0..=12), prop::bool::weighted(0.9)).prop_map(
        |((owner, call, same_id, same_receipt), (collect_time, upload_time, expire_time), categories, live)| Record {
            id: RecordId(uuid(2)),
            tenant: tenant(owner),
            call_id: call.parse().unwrap(),
            consent: ConsentId(uuid(if same_id { 1 } else { 9 })),
            receipt_sha256: if same_receipt { [1; 32] } else { [9; 32] },
            collect_time,
            upload_time,
            expire_time,
            place: Place { hour: Hour::new(500_000).unwrap(), serial: Serial::new(7).unwrap() },
            state: if live { RecordState::Live } else { RecordState::Shredding },
            parts: parts(&categories),
            fields: categories.into_iter().filter(|category| category.is_field()).collect(),
        },
    )
}

fn jobs() -> impl Strategy<Value = Job> {
    let whose = (subsequence(TENANTS.map(tenant).to_vec(), 1..=2), subsequence(JURISDICTIONS.map(jurisdiction).to_vec(), 1..=2));
    let when = (future_times(), prop::option::weighted(0.2, times()), prop::option::weighted(0.2, times()));
    let where_to = (select(ENTITIES.to_vec()), select(REGIONS.to_vec()));
    let other = select(vec![JobState::Draft, JobState::PendingApproval, JobState::Revoked, JobState::Expired]);
    let state = prop_oneof![6 => Just(JobState::Active), 1 => other];
    (purposes(), categories(1..=12), whose, when, where_to, state).prop_map(
        |(purpose, categories, (tenants, jurisdictions), (expire_time, from, before), (legal_entity, region), state)| Job {
            id: JobId(uuid(3)),
            spec: JobSpec {
                purpose,
                categories,
                tenants,
                jurisdictions,
                workloads: vec![Identity::Workload("trainer".to_owned())],
                max_records: 1000,
                max_bytes: 1 << 40,
                expire_time,
                legal_entity: legal_entity.to_owned(),
                region: region.to_owned(),
                model_family: "face".to_owned(),
                assessment_ref: "dpia-1".to_owned(),
                uploaded_from: from,
                uploaded_before: before,
            },
            digest: [3; 32],
            requester: Identity::Person("rita".to_owned()),
            create_time: noon() - days(1),
            state,
            approvals: vec![],
            revocation: None,
        },
    )
}

/// `hi` is `lo` or ahead of it, as a wall clock may be.
pub(crate) fn nows() -> impl Strategy<Value = Now> {
    prop_oneof![3 => Just(0i64), 1 => 0i64..100_000].prop_map(|ahead| Now { lo: noon(), hi: noon() + TimeDelta::seconds(ahead) })
}

/// Anything at all.
pub(crate) fn cases() -> impl Strategy<Value = Case> {
    (jobs(), records(), consents(), terms(), nows()).prop_map(|(job, record, consent, terms, now)| Case {
        job,
        record,
        consent,
        terms,
        now,
    })
}

/// Cases in which something is released: [`cases`], with all put right that could be wrong, and otherwise as arbitrary.
pub(crate) fn eligible_cases() -> impl Strategy<Value = Case> {
    (cases(), select(grantable())).prop_map(|(mut case, shared)| {
        let Case { job, record, consent, terms, now } = &mut case;
        let (spec, receipt) = (&mut job.spec, &mut consent.receipt);
        if !spec.purpose.is_training() {
            spec.purpose = Purpose::EvaluateBias;
        }
        if !spec.categories.contains(&shared) {
            spec.categories.push(shared);
        }
        (job.state, spec.expire_time) = (JobState::Active, noon() + days(5));
        (spec.uploaded_from, spec.uploaded_before) = (None, None);
        (spec.tenants, spec.jurisdictions) = (vec![record.tenant.clone()], vec![receipt.jurisdiction.clone()]);

        let mut held: Vec<_> = record.categories().iter().filter(|category| *category != shared).collect();
        held.push(shared);
        (record.parts, record.fields) = (parts(&held), held.iter().copied().filter(|it| it.is_field()).collect());
        (record.state, record.consent, record.receipt_sha256) = (RecordState::Live, consent.receipt.id, consent.receipt_sha256);
        (record.collect_time, record.upload_time, record.expire_time) = (noon() - days(3), noon() - days(2), noon() + days(5));

        let receipt = &mut consent.receipt;
        (consent.tenant, receipt.issuer) = (record.tenant.clone(), record.tenant.clone());
        (receipt.issued_at, receipt.not_before, receipt.event.time) = (noon() - days(4), noon() - days(4), noon() - days(4));
        (receipt.expires_at, receipt.bound_call_id) =
            (noon() + days(5), receipt.bound_call_id.take().map(|_| record.call_id.clone()));
        terms.is_shredded = false;
        terms.revocations.retain(|revocation| revocation.kid != receipt.kid);
        if let Some(notice) = terms.notices.first() {
            // As many of the same name as there are, and none that voids what came before.
            receipt.notice = Notice {
                id: notice.id.clone(),
                version: notice.version.clone(),
                sha256: notice.sha256,
                language: "en".to_owned(),
            };
            terms.notices.retain(|notice| !notice.invalidating || notice.id != receipt.notice.id);
            let registered = NoticeVersion {
                id: receipt.notice.id.clone(),
                version: receipt.notice.version.clone(),
                sha256: receipt.notice.sha256,
                invalidating: false,
                registered_at: noon(),
            };
            terms.notices.push(registered);
        }
        if receipt.subject_class == SubjectClass::Minor {
            receipt.guardian_ref = Some("guardian-1".to_owned());
        }
        for grant in
            receipt.grants.iter_mut().filter(|grant| grant.purpose == spec.purpose && grant.decision == GrantDecision::Refused)
        {
            grant.categories = grant.categories.without(set([shared]));
        }
        receipt.grants.push(usable_grant(spec, set([shared])));
        consent.events.clear();
        now.hi = now.hi.min(noon() + days(1));
        case
    })
}

/// A grant of exactly what `spec` asks `categories` for.
pub(crate) fn usable_grant(spec: &JobSpec, categories: CategorySet) -> Grant {
    Grant {
        purpose: spec.purpose,
        categories,
        decision: GrantDecision::Given,
        consent_type: ConsentType::Explicit,
        lawful_basis: LawfulBasis::Consent,
        recipients: vec![spec.legal_entity.clone()],
        regions: vec![spec.region.clone()],
        ui_element_id: Some("button".to_owned()),
        basis_ref: None,
    }
}

pub(crate) fn set(categories: impl IntoIterator<Item = Category>) -> CategorySet {
    categories.into_iter().collect()
}

pub(crate) fn call(name: &str) -> CallId {
    name.parse().unwrap()
}
