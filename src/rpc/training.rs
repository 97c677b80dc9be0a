//! `TrainingService`: jobs asked for and approved, snapshots, and the stream of records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{self, StreamExt};
use tokio::task::JoinHandle;
use tonic::{Request, Response, Status};

use super::caller::{Caller, Role};
use super::status::Denied;
use super::{Api, Messages, convert, names, packed};
use crate::domain::ids::JobId;
use crate::domain::job::{ApproverRole, Job};
use crate::domain::receipt::SubjectRef;
use crate::proto::training_service_server::TrainingService;
use crate::proto::{
    ApproveTrainingJobRequest, ApproveTrainingJobResponse, CreateSnapshotRequest, CreateSnapshotResponse,
    CreateTrainingJobRequest, CreateTrainingJobResponse, FetchRecordsRequest, FetchRecordsResponse, GetSnapshotRequest,
    GetSnapshotResponse, GetTrainingJobRequest, GetTrainingJobResponse, ListReleasesRequest, ListReleasesResponse,
    ListTrainingJobsRequest, ListTrainingJobsResponse, RevokeTrainingJobRequest, RevokeTrainingJobResponse,
    SubmitTrainingJobRequest, SubmitTrainingJobResponse, TrainingJob,
};
use crate::vault::error::Error;
use crate::vault::release::{Ahead, Iteration, MESSAGE_BYTES, Release};

/// Who may see any job and make snapshots of it.
const STAFF: [Role; 3] = [Role::Requester, Role::PrivacyOfficer, Role::ModelOwner];
/// What the messages of all open streams share: with more streams each message is smaller. Whoever does not read
/// holds one, and nobody waits for another's sake: the ranks of a training step may well wait for each other.
const MESSAGES_BYTES: u64 = 48 << 20;
const SMALLEST_MESSAGE: u64 = 64 << 10;
/// What all open streams may hold of sealed bytes that were read ahead, and one at the most. With very many nothing is read ahead.
const AHEAD_BYTES: u64 = 32 << 20;
const MOST_AHEAD: u64 = 8 << 20;

/// Counts the streams that are open.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams(Arc<AtomicU64>);

/// A stream that is open.
#[derive(Debug)]
struct Open(Streams);

/// A stream that records are fetched through.
struct Fetch {
    release: Release,
    /// What is being read ahead.
    reading: Option<JoinHandle<Result<Ahead, Status>>>,
    open: Open,
}

impl Streams {
    fn open(&self) -> Open {
        self.0.fetch_add(1, Ordering::SeqCst);
        Open(self.clone())
    }

    /// How many bytes a message should have now.
    fn room(&self) -> u64 {
        let share = MESSAGES_BYTES.checked_div(self.0.load(Ordering::SeqCst)).unwrap_or(MESSAGE_BYTES);
        share.clamp(SMALLEST_MESSAGE, MESSAGE_BYTES)
    }

    /// How many sealed bytes a stream may read ahead.
    fn ahead(&self) -> u64 {
        let share = AHEAD_BYTES.checked_div(self.0.load(Ordering::SeqCst)).unwrap_or(MOST_AHEAD);
        if share < SMALLEST_MESSAGE { 0 } else { share.min(MOST_AHEAD) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Self(Streams(count)) = self;
        count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl TrainingService for Api {
    async fn create_training_job(
        &self,
        request: Request<CreateTrainingJobRequest>,
    ) -> Result<Response<CreateTrainingJobResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        caller.must_be(&[Role::Requester])?;
        let CreateTrainingJobRequest { request_id, spec, validate_only } = request.into_inner();
        let domain = self.callers.domain();
        if validate_only {
            let (spec, digest) = convert::spec(spec.unwrap_or_default(), domain)?;
            let (draft, found) = self.run(move |vault| vault.eligibility(caller.identity, spec, digest)).await?;
            let training_job = TrainingJob { name: String::new(), ..convert::job(&draft, domain) };
            let eligibility = Some(convert::eligibility(&found));
            return Ok(Response::new(CreateTrainingJobResponse { training_job: Some(training_job), eligibility }));
        }
        let id = convert::request_id(&request_id, "request_id")?;
        let (spec, digest) = convert::spec(spec.unwrap_or_default(), domain)?;
        let job = self.run(move |vault| vault.create_job(caller.identity, id, spec, digest)).await?;
        let training_job = Some(convert::job(&job, self.callers.domain()));
        Ok(Response::new(CreateTrainingJobResponse { training_job, eligibility: None }))
    }

    async fn get_training_job(
        &self,
        request: Request<GetTrainingJobRequest>,
    ) -> Result<Response<GetTrainingJobResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        caller.must_be_or_workload(&STAFF)?;
        let job = self.job_for(&caller, &STAFF, names::job(&request.into_inner().name, "name")?).await?;
        Ok(Response::new(GetTrainingJobResponse { training_job: Some(convert::job(&job, self.callers.domain())) }))
    }

    async fn list_training_jobs(
        &self,
        request: Request<ListTrainingJobsRequest>,
    ) -> Result<Response<ListTrainingJobsResponse>, Status> {
        self.callers.identify(&request)?.must_be(&STAFF)?;
        let ListTrainingJobsRequest { page_size, page_token } = request.into_inner();
        let page = convert::page(page_size, page_token);
        let listed = self.run(move |vault| vault.jobs(&page)).await?;
        let training_jobs = listed.items.iter().map(|job| convert::job(job, self.callers.domain())).collect();
        Ok(Response::new(ListTrainingJobsResponse { training_jobs, next_page_token: listed.next }))
    }

    async fn submit_training_job(
        &self,
        request: Request<SubmitTrainingJobRequest>,
    ) -> Result<Response<SubmitTrainingJobResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        caller.must_be(&[Role::Requester])?;
        let id = names::job(&request.into_inner().name, "name")?;
        let job = self.run(move |vault| vault.submit_job(id, &caller.identity)).await?;
        Ok(Response::new(SubmitTrainingJobResponse { training_job: Some(convert::job(&job, self.callers.domain())) }))
    }

    async fn approve_training_job(
        &self,
        request: Request<ApproveTrainingJobRequest>,
    ) -> Result<Response<ApproveTrainingJobResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        caller.must_be(&[Role::PrivacyOfficer, Role::ModelOwner])?;
        let ApproveTrainingJobRequest { name, spec_sha256, role } = request.into_inner();
        let role = convert::approver_role(role)?;
        caller.must_be(&[match role {
            ApproverRole::PrivacyOfficer => Role::PrivacyOfficer,
            ApproverRole::ModelOwner => Role::ModelOwner,
        }])?;
        let id = names::job(&name, "name")?;
        let digest: [u8; 32] =
            spec_sha256.try_into().map_err(|_| Denied::invalid("spec_sha256", "must be the 32 bytes of a SHA-256"))?;
        let job = self.run(move |vault| vault.approve_job(id, caller.identity, role, digest)).await?;
        Ok(Response::new(ApproveTrainingJobResponse { training_job: Some(convert::job(&job, self.callers.domain())) }))
    }

    async fn revoke_training_job(
        &self,
        request: Request<RevokeTrainingJobRequest>,
    ) -> Result<Response<RevokeTrainingJobResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        caller.must_be(&[Role::PrivacyOfficer, Role::ModelOwner])?;
        let RevokeTrainingJobRequest { name, reason } = request.into_inner();
        let id = names::job(&name, "name")?;
        let reason = convert::reason(reason)?;
        let job = self.run(move |vault| vault.revoke_job(id, caller.identity, reason)).await?;
        Ok(Response::new(RevokeTrainingJobResponse { training_job: Some(convert::job(&job, self.callers.domain())) }))
    }

    async fn create_snapshot(&self, request: Request<CreateSnapshotRequest>) -> Result<Response<CreateSnapshotResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        caller.must_be_or_workload(&STAFF)?;
        let CreateSnapshotRequest { parent, request_id } = request.into_inner();
        let job = self.job_for(&caller, &STAFF, names::job(&parent, "parent")?).await?;
        let id = convert::request_id(&request_id, "request_id")?;
        let snapshot = self.run(move |vault| vault.create_snapshot(job.id, &caller.identity, id)).await?;
        Ok(Response::new(CreateSnapshotResponse { snapshot: Some(convert::snapshot(&snapshot)) }))
    }

    async fn get_snapshot(&self, request: Request<GetSnapshotRequest>) -> Result<Response<GetSnapshotResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        caller.must_be_or_workload(&STAFF)?;
        let (job, id) = names::snapshot(&request.into_inner().name, "name")?;
        let job = self.job_for(&caller, &STAFF, job).await?;
        let snapshot = self.run(move |vault| vault.snapshot(job.id, id)).await?;
        Ok(Response::new(GetSnapshotResponse { snapshot: Some(convert::snapshot(&snapshot)) }))
    }

    async fn list_releases(&self, request: Request<ListReleasesRequest>) -> Result<Response<ListReleasesResponse>, Status> {
        let caller = self.callers.identify(&request)?;
        let ListReleasesRequest { parent, page_size, page_token, subject_ref } = request.into_inner();
        let page = convert::page(page_size, page_token);
        let (tenant, listed) = if parent.starts_with("trainingJobs/") {
            caller.must_be(&STAFF)?;
            let job = names::job(&parent, "parent")?;
            if !subject_ref.is_empty() {
                return Err(Denied::invalid("subject_ref", "must be left out where parent is no tenant").into());
            }
            (None, self.run(move |vault| vault.releases_to(job, &page)).await?)
        } else {
            let tenant = caller.must_be_tenant_of(&parent, "parent", &[Role::PrivacyOfficer])?;
            let of = tenant.clone();
            let listed = if subject_ref.is_empty() {
                let record = names::record(&parent, "parent")?;
                self.run(move |vault| vault.releases_of(&of, record, &page)).await?
            } else {
                names::tenant(&parent, "parent")?;
                let subject: SubjectRef = convert::text(&subject_ref, "subject_ref")?;
                self.run(move |vault| vault.releases_of_subject(&of, &subject, &page)).await?
            };
            (Some(tenant), listed)
        };
        let releases = listed.items.iter().map(|released| convert::release(released, tenant.as_ref())).collect();
        Ok(Response::new(ListReleasesResponse { releases, next_page_token: listed.next }))
    }

    type FetchRecordsStream = Messages;

    async fn fetch_records(&self, request: Request<FetchRecordsRequest>) -> Result<Response<Self::FetchRecordsStream>, Status> {
        let caller = self.callers.identify(&request)?;
        caller.must_be_or_workload(&[])?;
        let FetchRecordsRequest { snapshot, seed, epoch, rank, world_size, start_position, .. } = request.into_inner();
        let (job, snapshot) = names::snapshot(&snapshot, "snapshot")?;
        let job = self.job_for(&caller, &[], job).await?;
        let iteration = Iteration { job: job.id, snapshot, seed, epoch, rank, world_size, start_position };
        let release = self.run(move |vault| vault.release(&iteration)).await?;
        let fetch = Fetch { release, reading: None, open: self.streams.open() };
        let messages = stream::try_unfold((self.clone(), fetch), |(api, fetch)| async move {
            let next = api.next_message(fetch).await?;
            Ok(next.map(|(message, fetch)| (message, (api, fetch))))
        });
        Ok(packed(messages.boxed()))
    }
}

impl Api {
    /// The job of this name, for a caller with one of these roles or a workload of the job. For all others a job that is not
    /// there is as forbidden as one that is.
    async fn job_for(&self, caller: &Caller, roles: &[Role], id: JobId) -> Result<Job, Status> {
        let job = self.run(move |vault| match vault.job(id) {
            Err(Error::NotFound) => Ok(None),
            job => job.map(Some),
        });
        let staff = caller.is_any(roles);
        match job.await? {
            Some(job) if staff || job.spec.workloads.contains(&caller.identity) => Ok(job),
            None if staff => Err(Error::NotFound.into()),
            _ => Err(Denied::NotAllowed.into()),
        }
    }

    /// The stream's next message, made and handed over when the transport asks for it, which is when the one before has left:
    /// nothing that was decided waits for a slow reader but what is left of one message, and nobody waits for its sake.
    async fn next_message(&self, fetch: Fetch) -> Result<Option<(FetchRecordsResponse, Fetch)>, Status> {
        let Fetch { mut release, mut reading, open } = fetch;
        if let Some(read) = reading.take_if(|reading| release.has_caught_up() || reading.is_finished()) {
            release.take_in(read.await.unwrap_or_else(|_| Ok(Ahead::default()))?);
        }
        let room = self.streams.room();
        let next = self.run(move |vault| {
            while let Some(message) = vault.next_message(&mut release, room)? {
                let mut sent = None;
                if vault.hand_over(&mut release, message, |message, sequence| sent = Some(convert::message(message, sequence))) {
                    return Ok(sent.map(|message| (message, release)));
                }
            }
            Ok(None)
        });
        let Some((message, release)) = next.await? else { return Ok(None) };
        if reading.is_none() {
            reading = release.next_reads(self.streams.ahead()).map(|reads| {
                let api = self.clone();
                tokio::spawn(async move { api.run(move |vault| Ok(vault.read_ahead(&reads))).await })
            });
        }
        Ok(Some((message, Fetch { release, reading, open })))
    }
}
