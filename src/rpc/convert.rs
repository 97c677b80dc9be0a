//! The wire's words and the domain's, one into the other. What is not valid goes no further.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use prost::Message as _;
use prost_types::Timestamp;
use sha2::{Digest, Sha256};

mod certificates;
mod records;
mod tenants;

pub(super) use certificates::{certificate, destruction, membership, record_of, tenant_shredding};
pub(super) use records::{attributes, part_header, receipt, record, upload, upload_header, which};
pub(super) use tenants::{TenantField, new_tenant, tenant, tenant_fields, tenant_update};

use super::names;
use super::status::Denied;
use crate::domain::attributes::{Attributes, Field};
use crate::domain::category::Category;
use crate::domain::consent::ConsentState;
use crate::domain::ids::{Identity, RequestId, TenantId, TrustDomain};
use crate::domain::job::{ApproverRole, Job, JobSpec, JobState};
use crate::domain::policy::Reason;
use crate::domain::purpose::Purpose;
use crate::domain::retention::time_of;
use crate::proto;
use crate::vault::consents::ConsentView;
use crate::vault::lineage::Released;
use crate::vault::pages::Page;
use crate::vault::release::{Content, Item, Message};
use crate::vault::snapshots::{Eligibility, Snapshot};

/// A required text of a type of its own.
pub(super) fn text<T: FromStr>(text: &str, field: &'static str) -> Result<T, Denied>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| Denied::invalid(field, error.to_string()))
}

/// A required request id.
pub(super) fn request_id(id: &str, field: &'static str) -> Result<RequestId, Denied> {
    text(id, field)
}

fn time(stamp: Option<Timestamp>, field: &'static str) -> Result<DateTime<Utc>, Denied> {
    optional_time(stamp, field)?.ok_or(Denied::invalid(field, "is required"))
}

fn optional_time(stamp: Option<Timestamp>, field: &'static str) -> Result<Option<DateTime<Utc>>, Denied> {
    let Some(stamp) = stamp else { return Ok(None) };
    let nanos = u32::try_from(stamp.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let time = nanos.and_then(|nanos| DateTime::from_timestamp(stamp.seconds, nanos));
    time.map(Some).ok_or(Denied::invalid(field, "is not a valid timestamp"))
}

/// A time on the wire.
pub(super) fn stamp(time: DateTime<Utc>) -> Timestamp {
    Timestamp { seconds: time.timestamp(), nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or(0) }
}

fn category(number: i32, field: &str) -> Result<Category, Denied> {
    let category = u8::try_from(number).ok().and_then(Category::from_number);
    category.ok_or_else(|| Denied::invalid(field, "is not a known category"))
}

/// A purpose.
pub(super) fn purpose(number: i32, field: &'static str) -> Result<Purpose, Denied> {
    let purpose = u8::try_from(number).ok().and_then(Purpose::from_number);
    purpose.ok_or(Denied::invalid(field, "is not a known purpose"))
}

/// A consent on the wire.
pub(super) fn consent(view: &ConsentView) -> proto::Consent {
    let purposes =
        |purposes: crate::domain::purpose::PurposeSet| purposes.iter().map(|purpose| i32::from(purpose.number())).collect();
    let state = match view.state {
        ConsentState::Active => proto::consent::State::Active,
        ConsentState::Withdrawn => proto::consent::State::Withdrawn,
        ConsentState::Expired => proto::consent::State::Expired,
        ConsentState::Invalidated => proto::consent::State::Invalidated,
    };
    proto::Consent {
        name: names::of_consent(&view.consent.tenant, view.consent.id()),
        state: state.into(),
        granted_purposes: purposes(view.consent.granted()),
        withdrawn_purposes: purposes(view.consent.withdrawn()),
        expire_time: Some(stamp(view.consent.receipt.expires_at)),
    }
}

/// What a job asks for, and the digest of it that approvers approve.
pub(super) fn spec(wire: proto::TrainingJobSpec, domain: &TrustDomain) -> Result<(JobSpec, [u8; 32]), Denied> {
    let workload =
        |uri: &String| Identity::parse(uri, domain).map_err(|error| Denied::invalid("spec.workloads", error.to_string()));
    let spec = JobSpec {
        purpose: purpose(wire.purpose, "spec.purpose")?,
        categories: wire.categories.iter().map(|number| category(*number, "spec.categories")).collect::<Result<_, _>>()?,
        tenants: wire.tenants.iter().map(|name| names::tenant(name, "spec.tenants")).collect::<Result<_, _>>()?,
        jurisdictions: wire.jurisdictions.iter().map(|code| text(code, "spec.jurisdictions")).collect::<Result<_, _>>()?,
        workloads: wire.workloads.iter().map(workload).collect::<Result<_, _>>()?,
        max_records: wire.max_records,
        max_bytes: wire.max_bytes,
        expire_time: time(wire.expire_time, "spec.expire_time")?,
        legal_entity: wire.legal_entity,
        region: wire.region,
        model_family: wire.model_family,
        assessment_ref: wire.assessment_ref,
        uploaded_from: optional_time(wire.uploaded_from, "spec.uploaded_from")?,
        uploaded_before: optional_time(wire.uploaded_before, "spec.uploaded_before")?,
    };
    let digest = Sha256::new().chain_update("idvault/job-spec/v1").chain_update(spec_on_wire(&spec, domain).encode_to_vec());
    Ok((spec, digest.finalize().into()))
}

fn spec_on_wire(spec: &JobSpec, domain: &TrustDomain) -> proto::TrainingJobSpec {
    proto::TrainingJobSpec {
        purpose: i32::from(spec.purpose.number()),
        categories: spec.categories.iter().map(|category| i32::from(category.number())).collect(),
        tenants: spec.tenants.iter().map(names::of_tenant).collect(),
        jurisdictions: spec.jurisdictions.iter().map(|jurisdiction| jurisdiction.as_str().to_owned()).collect(),
        workloads: spec.workloads.iter().map(|workload| workload.to_uri(domain)).collect(),
        max_records: spec.max_records,
        max_bytes: spec.max_bytes,
        expire_time: Some(stamp(spec.expire_time)),
        legal_entity: spec.legal_entity.clone(),
        region: spec.region.clone(),
        model_family: spec.model_family.clone(),
        assessment_ref: spec.assessment_ref.clone(),
        uploaded_from: spec.uploaded_from.map(stamp),
        uploaded_before: spec.uploaded_before.map(stamp),
    }
}

/// The role in which somebody approves.
pub(super) fn approver_role(role: i32) -> Result<ApproverRole, Denied> {
    match proto::ApproverRole::try_from(role) {
        Ok(proto::ApproverRole::PrivacyOfficer) => Ok(ApproverRole::PrivacyOfficer),
        Ok(proto::ApproverRole::ModelOwner) => Ok(ApproverRole::ModelOwner),
        Ok(proto::ApproverRole::Unspecified) | Err(_) => Err(Denied::invalid("role", "must be a role that approves")),
    }
}

/// A job on the wire.
pub(super) fn job(job: &Job, domain: &TrustDomain) -> proto::TrainingJob {
    let state = match job.state {
        JobState::Draft => proto::training_job::State::Draft,
        JobState::PendingApproval => proto::training_job::State::PendingApproval,
        JobState::Active => proto::training_job::State::Active,
        JobState::Revoked => proto::training_job::State::Revoked,
        JobState::Expired => proto::training_job::State::Expired,
    };
    let approval = |approval: &crate::domain::job::Approval| proto::Approval {
        approver: approval.approver.to_uri(domain),
        role: match approval.role {
            ApproverRole::PrivacyOfficer => proto::ApproverRole::PrivacyOfficer.into(),
            ApproverRole::ModelOwner => proto::ApproverRole::ModelOwner.into(),
        },
        approve_time: Some(stamp(approval.time)),
    };
    proto::TrainingJob {
        name: names::of_job(job.id),
        spec: Some(spec_on_wire(&job.spec, domain)),
        state: state.into(),
        requester: job.requester.to_uri(domain),
        spec_sha256: job.digest.to_vec(),
        approvals: job.approvals.iter().map(approval).collect(),
        revocation: job.revocation.as_ref().map(|revocation| proto::Revocation {
            revoker: revocation.by.to_uri(domain),
            revoke_time: Some(stamp(revocation.time)),
            reason: revocation.reason.clone(),
        }),
    }
}

/// How much a job would receive, on the wire.
pub(super) fn eligibility(eligibility: &Eligibility) -> proto::Eligibility {
    let exclusion = |(reason, count): (&Reason, &u64)| proto::eligibility::Exclusion {
        reason: exclusion_reason(*reason).into(),
        record_count: *count,
    };
    let mut exclusions: Vec<_> = eligibility.excluded.iter().map(exclusion).collect();
    exclusions.sort_unstable_by_key(|exclusion| exclusion.reason);
    proto::Eligibility { record_count: eligibility.records, size_bytes: eligibility.bytes, exclusions }
}

fn exclusion_reason(reason: Reason) -> proto::eligibility::Reason {
    use proto::eligibility::Reason as Wire;
    match reason {
        Reason::RecordGone => Wire::RecordGone,
        Reason::ConsentMismatch => Wire::RecordDamaged,
        Reason::ConsentNotApplicable => Wire::ConsentNotApplicable,
        Reason::ConsentExpired => Wire::ConsentExpired,
        Reason::ConsentWithdrawn => Wire::ConsentWithdrawn,
        Reason::ConsentVoid => Wire::ConsentInvalidated,
        Reason::GuardianRequired => Wire::GuardianRequired,
        Reason::JurisdictionNotAsked => Wire::JurisdictionNotAsked,
        Reason::UploadTimeNotAsked => Wire::UploadTimeNotAsked,
        Reason::PurposeNotGranted => Wire::PurposeNotGranted,
        Reason::DestinationNotGranted => Wire::DestinationNotGranted,
        Reason::CategoryNotGranted => Wire::CategoryNotGranted,
        // The job is taken as active, and only its tenants' records are looked at.
        Reason::JobNotActive | Reason::TenantNotAsked => Wire::Unspecified,
    }
}

/// A release on the wire; `tenant` is whose record it is of, where it is of one.
pub(super) fn release(released: &Released, tenant: Option<&TenantId>) -> proto::Release {
    let record = released.record.zip(tenant).map(|(record, tenant)| names::of_record(tenant, record));
    proto::Release {
        record: record.unwrap_or_default(),
        training_jobs: released.jobs.iter().map(|job| names::of_job(*job)).collect(),
        expire_time: Some(stamp(time_of(released.hour))),
        record_count: released.count,
    }
}

/// Which page of a list is wanted.
pub(super) fn page(size: u32, token: String) -> Page {
    const DEFAULT: usize = 100;
    const MOST: usize = 1000;
    let size = usize::try_from(size).unwrap_or(MOST).min(MOST);
    Page { size: if size == 0 { DEFAULT } else { size }, token }
}

/// Why a job is revoked.
pub(super) fn reason(reason: String) -> Result<String, Denied> {
    if (1..=256).contains(&reason.chars().count()) && !reason.chars().any(char::is_control) {
        Ok(reason)
    } else {
        Err(Denied::invalid("reason", "must be 1 to 256 characters, none of them control characters"))
    }
}

/// A snapshot on the wire.
pub(super) fn snapshot(snapshot: &Snapshot) -> proto::Snapshot {
    proto::Snapshot {
        name: names::of_snapshot(snapshot.job, snapshot.id),
        position_count: snapshot.position_count,
        expire_time: Some(stamp(snapshot.expire_time)),
    }
}

/// A message of a stream on the wire.
pub(super) fn message(message: Message, release_sequence: u64) -> proto::FetchRecordsResponse {
    let items = message.items.into_iter().map(item).collect();
    proto::FetchRecordsResponse { release_sequence, next_position: message.next_position, items }
}

fn item(item: Item) -> proto::fetch_records_response::Item {
    use proto::fetch_records_response::item::Content as Wire;
    use proto::fetch_records_response::{Chunk, Tombstone};
    let content = match item.content {
        Content::Chunk { part, category, media_type, size, offset, data } => Wire::Chunk(Chunk {
            part: u32::from(part),
            category: i32::from(category.number()),
            media_type: media_type.name().to_owned(),
            size_bytes: size,
            offset,
            data,
        }),
        Content::Attributes(attributes) => Wire::Attributes(attributes_on_wire(&attributes)),
        Content::Gone => Wire::Tombstone(Tombstone::Gone.into()),
        Content::Damaged => Wire::Tombstone(Tombstone::Damaged.into()),
    };
    let record_token = item.token.map_or_else(Vec::new, |token| token.to_vec());
    proto::fetch_records_response::Item { position: item.position, record_token, content: Some(content), last: item.last }
}

fn attributes_on_wire(attributes: &Attributes) -> proto::Attributes {
    let mut wire = proto::Attributes::default();
    for (field, value) in attributes.iter() {
        let value = value.to_owned();
        match field {
            Field::Surname => wire.surname = value,
            Field::GivenNames => wire.given_names = value,
            Field::NativeName => wire.native_name = value,
            Field::Address => wire.address = value,
            Field::IdNumber => wire.id_number = value,
            Field::IdType => wire.id_type = value,
            Field::Expires => wire.expires = value,
            Field::Country => wire.country = value,
            Field::Nationality => wire.nationality = value,
            Field::DateOfBirth => wire.date_of_birth = value,
            Field::Sex => wire.sex = value,
            Field::Mrz => wire.mrz.push(value),
        }
    }
    wire
}
