//! Training jobs: asked for by one person, approved by two others.

use prost::Message;
use prost_types::Timestamp;

use super::Vault;
use super::error::Error;
use super::pages::{Listed, Page};
use super::requests::{Made, Request};
use super::rows::{self, Row, parse, stamp, time};
use crate::domain::ids::{Identity, JobId, RequestId};
use crate::domain::job::{Approval, ApproverRole, Job, JobSpec, JobState, Revocation};
use crate::domain::retention::Now;
use crate::store::ledger::Transaction;
use crate::store::schema;

impl Vault {
    /// Creates a job, as a draft of its requester.
    ///
    /// # Errors
    /// [`Error::Restored`], [`Error::Invalid`] when the spec is not one that could be approved, [`Error::RequestIdReused`].
    pub fn create_job(&self, requester: Identity, request: RequestId, spec: JobSpec, digest: [u8; 32]) -> Result<Job, Error> {
        self.restored.check()?;
        let now = self.now()?;
        let caller = requester.to_string();
        let request = Request::new(&self.book, ("job", &caller), request, digest.to_vec());
        let writes = self.writes.lock();
        if let Some(made) = self.remembered(&request)? {
            drop(writes);
            self.book.sync_all()?;
            return self.job(JobId(made));
        }
        let id = JobId(super::new_uuid(now)?);
        let job = new_job(id, requester, spec, digest, now)?;
        let mut transaction = Transaction::default();
        self.remember(&mut transaction, &request, &Made::Other(id.0), now)?;
        self.book.put(&mut transaction, schema::job(id), &JobRow::from_domain(&job))?;
        let ticket = self.book.apply(transaction)?;
        drop(writes);
        self.book.sync(ticket)?;
        Ok(job)
    }

    /// A job in its state now, with the approvals that still count.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn job(&self, id: JobId) -> Result<Job, Error> {
        let now = self.now()?;
        let mut job = self.book.get::<JobRow>(&schema::job(id))?.ok_or(Error::NotFound)?.into_domain()?;
        job.approvals = job.approvals_at(now.hi).cloned().collect();
        job.state = job.state_at(now.hi);
        Ok(job)
    }

    /// A page of all jobs, oldest first, each as [`Vault::job`] shows it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the token is not one of this list.
    pub fn jobs(&self, page: &Page) -> Result<Listed<Job>, Error> {
        self.page(&schema::jobs(), page, |key| self.job(schema::job_of(key).ok_or(Error::Damaged)?).map(Some))
    }

    /// Submits a draft for approval.
    ///
    /// # Errors
    /// When `by` is not its requester or it is no draft.
    pub fn submit_job(&self, id: JobId, by: &Identity) -> Result<Job, Error> {
        self.change_job(id, |job, _| Ok(job.submit(by)?))
    }

    /// Approves a job, in one role, as it was read: by the digest of its spec.
    ///
    /// # Errors
    /// When this person may not approve, the digest is another, or the job is not pending.
    pub fn approve_job(&self, id: JobId, by: Identity, role: ApproverRole, digest: [u8; 32]) -> Result<Job, Error> {
        self.change_job(id, |job, now| Ok(job.approve(by, role, digest, now.hi)?))
    }

    /// Stops a job for good. Nothing that was decided before is handed over after this.
    ///
    /// # Errors
    /// When it has expired.
    pub fn revoke_job(&self, id: JobId, by: Identity, reason: String) -> Result<Job, Error> {
        let now = self.now()?;
        let writes = self.writes.lock();
        let mut job = self.job(id)?;
        job.revoke(Revocation { by, time: now.hi, reason })?;
        let mut transaction = Transaction::default();
        self.book.put(&mut transaction, schema::job(id), &JobRow::from_domain(&job))?;
        let ticket = self.book.apply(transaction)?;
        self.gate.raise();
        drop(writes);
        self.book.sync(ticket)?;
        Ok(job)
    }

    /// Stops every job that has not ended, in the vault's own name.
    pub(super) fn void_jobs(&self, reason: &str) -> Result<(), Error> {
        let now = self.now()?;
        let ids: Vec<_> = self.book.keys(&schema::jobs()).map(|key| Ok(schema::job_of(&key?))).collect::<Result<_, Error>>()?;
        for id in ids.into_iter().flatten() {
            let mut job = match self.job(id) {
                Ok(job) if !matches!(job.state, JobState::Revoked | JobState::Expired) => job,
                // What is damaged receives nothing.
                Ok(_) | Err(Error::Damaged) => continue,
                Err(failure) => return Err(failure),
            };
            let by = Identity::Workload("idvault".to_owned());
            job.revoke(Revocation { by, time: now.hi, reason: reason.to_owned() })?;
            let mut transaction = Transaction::default();
            self.book.put(&mut transaction, schema::job(id), &JobRow::from_domain(&job))?;
            self.book.apply(transaction)?;
        }
        Ok(())
    }

    fn change_job(&self, id: JobId, change: impl FnOnce(&mut Job, Now) -> Result<(), Error>) -> Result<Job, Error> {
        self.restored.check()?;
        let now = self.working_now()?;
        let writes = self.writes.lock();
        let mut job = self.job(id)?;
        change(&mut job, now)?;
        let mut transaction = Transaction::default();
        self.book.put(&mut transaction, schema::job(id), &JobRow::from_domain(&job))?;
        let ticket = self.book.apply(transaction)?;
        drop(writes);
        self.book.sync(ticket)?;
        Ok(job)
    }
}

/// A draft, if it is one that could be approved.
pub(super) fn new_job(id: JobId, requester: Identity, spec: JobSpec, digest: [u8; 32], now: Now) -> Result<Job, Error> {
    if let Some(violation) = spec.validate(now.hi).into_iter().next() {
        return Err(Error::invalid(&format!("spec.{}", violation.field), violation.rule));
    }
    let (state, approvals, revocation) = (JobState::Draft, Vec::new(), None);
    Ok(Job { id, spec, digest, requester, create_time: now.lo, state, approvals, revocation })
}

/// A job.
#[derive(Clone, PartialEq, Message)]
struct JobRow {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    spec: Option<SpecRow>,
    #[prost(bytes = "vec", tag = "3")]
    digest: Vec<u8>,
    #[prost(string, tag = "4")]
    requester: String,
    #[prost(message, optional, tag = "5")]
    create_time: Option<Timestamp>,
    #[prost(uint32, tag = "6")]
    state: u32,
    #[prost(message, repeated, tag = "7")]
    approvals: Vec<ApprovalRow>,
    #[prost(message, optional, tag = "8")]
    revocation: Option<RevocationRow>,
}

/// What a job asks for.
#[derive(Clone, PartialEq, Message)]
struct SpecRow {
    #[prost(uint32, tag = "1")]
    purpose: u32,
    #[prost(uint32, repeated, tag = "2")]
    categories: Vec<u32>,
    #[prost(string, repeated, tag = "3")]
    tenants: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    jurisdictions: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    workloads: Vec<String>,
    #[prost(uint64, tag = "6")]
    max_records: u64,
    #[prost(uint64, tag = "7")]
    max_bytes: u64,
    #[prost(message, optional, tag = "8")]
    expire_time: Option<Timestamp>,
    #[prost(string, tag = "9")]
    legal_entity: String,
    #[prost(string, tag = "10")]
    region: String,
    #[prost(string, tag = "11")]
    model_family: String,
    #[prost(string, tag = "12")]
    assessment_ref: String,
    #[prost(message, optional, tag = "13")]
    uploaded_from: Option<Timestamp>,
    #[prost(message, optional, tag = "14")]
    uploaded_before: Option<Timestamp>,
}

/// An approval.
#[derive(Clone, PartialEq, Message)]
struct ApprovalRow {
    #[prost(string, tag = "1")]
    approver: String,
    #[prost(uint32, tag = "2")]
    role: u32,
    #[prost(message, optional, tag = "3")]
    time: Option<Timestamp>,
}

/// The end of a job before its time.
#[derive(Clone, PartialEq, Message)]
struct RevocationRow {
    #[prost(string, tag = "1")]
    by: String,
    #[prost(message, optional, tag = "2")]
    time: Option<Timestamp>,
    #[prost(string, tag = "3")]
    reason: String,
}

impl Row for JobRow {}

impl JobRow {
    fn from_domain(job: &Job) -> Self {
        let approval = |approval: &Approval| ApprovalRow {
            approver: approval.approver.to_string(),
            role: match approval.role {
                ApproverRole::PrivacyOfficer => 1,
                ApproverRole::ModelOwner => 2,
            },
            time: Some(stamp(approval.time)),
        };
        Self {
            id: job.id.0.as_bytes().to_vec(),
            spec: Some(SpecRow::from_domain(&job.spec)),
            digest: job.digest.to_vec(),
            requester: job.requester.to_string(),
            create_time: Some(stamp(job.create_time)),
            state: match job.state {
                JobState::Draft => 1,
                JobState::PendingApproval => 2,
                JobState::Active => 3,
                JobState::Revoked => 4,
                JobState::Expired => 5,
            },
            approvals: job.approvals.iter().map(approval).collect(),
            revocation: job.revocation.as_ref().map(|revocation| RevocationRow {
                by: revocation.by.to_string(),
                time: Some(stamp(revocation.time)),
                reason: revocation.reason.clone(),
            }),
        }
    }

    fn into_domain(self) -> Result<Job, Error> {
        let approval = |row: ApprovalRow| -> Result<Approval, Error> {
            let role = match row.role {
                1 => ApproverRole::PrivacyOfficer,
                2 => ApproverRole::ModelOwner,
                _ => return Err(Error::Damaged),
            };
            Ok(Approval { approver: parse(&row.approver)?, role, time: time(row.time)? })
        };
        let revocation = |row: RevocationRow| -> Result<Revocation, Error> {
            Ok(Revocation { by: parse(&row.by)?, time: time(row.time)?, reason: row.reason })
        };
        Ok(Job {
            id: rows::job_id(&self.id)?,
            spec: self.spec.ok_or(Error::Damaged)?.into_domain()?,
            digest: rows::digest(&self.digest)?,
            requester: parse(&self.requester)?,
            create_time: time(self.create_time)?,
            state: match self.state {
                1 => JobState::Draft,
                2 => JobState::PendingApproval,
                3 => JobState::Active,
                4 => JobState::Revoked,
                5 => JobState::Expired,
                _ => return Err(Error::Damaged),
            },
            approvals: self.approvals.into_iter().map(approval).collect::<Result<_, _>>()?,
            revocation: self.revocation.map(revocation).transpose()?,
        })
    }
}

impl SpecRow {
    fn from_domain(spec: &JobSpec) -> Self {
        Self {
            purpose: u32::from(spec.purpose.number()),
            categories: spec.categories.iter().map(|category| u32::from(category.number())).collect(),
            tenants: spec.tenants.iter().map(ToString::to_string).collect(),
            jurisdictions: spec.jurisdictions.iter().map(|jurisdiction| jurisdiction.as_str().to_owned()).collect(),
            workloads: spec.workloads.iter().map(ToString::to_string).collect(),
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

    fn into_domain(self) -> Result<JobSpec, Error> {
        let optional = |stamp: Option<Timestamp>| stamp.map(|stamp| time(Some(stamp))).transpose();
        let categories = self.categories.iter().map(|number| rows::category(*number).ok_or(Error::Damaged));
        Ok(JobSpec {
            purpose: rows::purpose(self.purpose).ok_or(Error::Damaged)?,
            categories: categories.collect::<Result<_, _>>()?,
            tenants: self.tenants.iter().map(|tenant| parse(tenant)).collect::<Result<_, _>>()?,
            jurisdictions: self.jurisdictions.iter().map(|jurisdiction| parse(jurisdiction)).collect::<Result<_, _>>()?,
            workloads: self.workloads.iter().map(|workload| parse(workload)).collect::<Result<_, _>>()?,
            max_records: self.max_records,
            max_bytes: self.max_bytes,
            expire_time: time(self.expire_time)?,
            legal_entity: self.legal_entity,
            region: self.region,
            model_family: self.model_family,
            assessment_ref: self.assessment_ref,
            uploaded_from: optional(self.uploaded_from)?,
            uploaded_before: optional(self.uploaded_before)?,
        })
    }
}
