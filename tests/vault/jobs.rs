//! Training jobs: four eyes on one spec, and nothing before both have approved.

use chrono::TimeDelta;
use idvault::proto::training_job::State;
use idvault::proto::{
    ApproveTrainingJobRequest, ApproverRole, CreateSnapshotRequest, CreateTrainingJobRequest, GetSnapshotRequest,
    GetTrainingJobRequest, SubmitTrainingJobRequest, TrainingJob, TrainingJobSpec,
};
use prost::Message as _;
use sha2::{Digest, Sha256};
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::client::{Client, DEPUTY, MODEL_OWNER, OFFICER, REQUESTER, WORKLOAD, invalid, reason_of, refused, spiffe_id};
use crate::server::Server;
use crate::stream::{Epoch, whole};
use crate::world::{active_job, approve, pending_job, snapshot};

/// A field that is wrong, and how a spec comes to it.
struct Case(&'static str, fn(&mut TrainingJobSpec));

async fn state(client: &Client, job: &TrainingJob) -> State {
    let request = GetTrainingJobRequest { name: job.name.clone() };
    client.training(WORKLOAD).get_training_job(request).await.unwrap().into_inner().training_job.unwrap().state()
}

async fn try_snapshot(client: &Client, job: &TrainingJob) -> Result<Response<()>, Status> {
    let request = CreateSnapshotRequest { parent: job.name.clone(), request_id: Uuid::new_v4().to_string() };
    client.training(WORKLOAD).create_snapshot(request).await.map(|answer| answer.map(drop))
}

#[tokio::test]
async fn two_persons_in_two_roles_make_a_job_active() {
    let server = Server::start().await;
    let client = &server.client;
    server.acme.send(client, server.acme.upload(server.clock.now())).await.unwrap();
    let spec = server.acme.spec(server.clock.now());
    let request =
        CreateTrainingJobRequest { request_id: Uuid::new_v4().to_string(), spec: Some(spec.clone()), validate_only: false };
    let draft = client.training(REQUESTER).create_training_job(request).await.unwrap().into_inner().training_job.unwrap();
    assert_eq!((draft.state(), draft.spec.as_ref()), (State::Draft, Some(&spec)));
    assert_eq!(draft.requester, spiffe_id(REQUESTER));
    let digest = Sha256::new().chain_update("idvault/job-spec/v1").chain_update(spec.encode_to_vec()).finalize();
    assert_eq!(draft.spec_sha256, digest.to_vec());
    refused(try_snapshot(client, &draft).await, Code::FailedPrecondition, "JOB_NOT_ACTIVE");
    let early = approve(client, &draft, OFFICER, ApproverRole::PrivacyOfficer).await.unwrap_err();
    assert_eq!(reason_of(&early), (Code::FailedPrecondition, "JOB_STATE_INVALID".to_owned()));

    let submit = SubmitTrainingJobRequest { name: draft.name.clone() };
    let job = client.training(REQUESTER).submit_training_job(submit.clone()).await.unwrap().into_inner().training_job.unwrap();
    assert_eq!(job.state(), State::PendingApproval);
    let twice = client.training(REQUESTER).submit_training_job(submit).await;
    refused(twice, Code::FailedPrecondition, "JOB_STATE_INVALID");
    refused(try_snapshot(client, &job).await, Code::FailedPrecondition, "JOB_NOT_ACTIVE");
    let first = approve(client, &job, OFFICER, ApproverRole::PrivacyOfficer).await.unwrap();
    assert_eq!((first.state(), first.approvals.len()), (State::PendingApproval, 1));
    refused(try_snapshot(client, &job).await, Code::FailedPrecondition, "JOB_NOT_ACTIVE");
    let second = approve(client, &job, MODEL_OWNER, ApproverRole::ModelOwner).await.unwrap();
    assert_eq!(second.state(), State::Active);
    let approvers: Vec<_> = second.approvals.iter().map(|approval| (approval.approver.clone(), approval.role())).collect();
    let wanted = [(OFFICER, ApproverRole::PrivacyOfficer), (MODEL_OWNER, ApproverRole::ModelOwner)];
    assert_eq!(approvers, wanted.map(|(who, role)| (spiffe_id(who), role)));
    assert_eq!(snapshot(client, &job).await.position_count, 1);
}

#[tokio::test]
async fn nobody_approves_alone() {
    let server = Server::start().await;
    let client = &server.client;
    let job = pending_job(client, server.acme.spec(server.clock.now())).await;
    let denied = |status: Result<_, Status>| reason_of(&status.map(|_: TrainingJob| ()).unwrap_err());
    let own = approve(client, &job, REQUESTER, ApproverRole::PrivacyOfficer).await;
    assert_eq!(denied(own), (Code::PermissionDenied, "APPROVER_IS_REQUESTER".to_owned()));
    let role = approve(client, &job, MODEL_OWNER, ApproverRole::PrivacyOfficer).await;
    assert_eq!(denied(role), (Code::PermissionDenied, "CALLER_NOT_ALLOWED".to_owned()));
    approve(client, &job, OFFICER, ApproverRole::PrivacyOfficer).await.unwrap();
    for role in [ApproverRole::PrivacyOfficer, ApproverRole::ModelOwner] {
        let twice = approve(client, &job, OFFICER, role).await;
        assert_eq!(denied(twice), (Code::PermissionDenied, "APPROVER_DUPLICATE".to_owned()));
    }
    let same_role = approve(client, &job, DEPUTY, ApproverRole::PrivacyOfficer).await;
    assert_eq!(denied(same_role), (Code::PermissionDenied, "APPROVER_DUPLICATE".to_owned()));
    refused(try_snapshot(client, &job).await, Code::FailedPrecondition, "JOB_NOT_ACTIVE");
}

#[tokio::test]
async fn an_approval_is_of_one_spec_in_one_role() {
    let server = Server::start().await;
    let job = pending_job(&server.client, server.acme.spec(server.clock.now())).await;
    let mut request =
        ApproveTrainingJobRequest { name: job.name, spec_sha256: vec![7; 32], role: ApproverRole::PrivacyOfficer.into() };
    let answer = server.client.training(OFFICER).approve_training_job(request.clone()).await;
    refused(answer, Code::FailedPrecondition, "JOB_SPEC_MISMATCH");
    request.spec_sha256.pop();
    invalid(server.client.training(OFFICER).approve_training_job(request.clone()).await, "spec_sha256");
    request.role = 0;
    invalid(server.client.training(OFFICER).approve_training_job(request).await, "role");
}

#[tokio::test]
async fn one_approval_waits_72_hours_for_the_other() {
    let mut server = Server::start().await;
    let job = pending_job(&server.client, server.acme.spec(server.clock.now())).await;
    approve(&server.client, &job, OFFICER, ApproverRole::PrivacyOfficer).await.unwrap();
    server.clock.advance(TimeDelta::hours(72));
    let late = approve(&server.client, &job, MODEL_OWNER, ApproverRole::ModelOwner).await.unwrap();
    assert_eq!((late.state(), late.approvals.len()), (State::PendingApproval, 1));
    server.clock.advance(TimeDelta::hours(72) - TimeDelta::seconds(1));
    let server = server.restart().await;
    let both = approve(&server.client, &job, OFFICER, ApproverRole::PrivacyOfficer).await.unwrap();
    assert_eq!(both.state(), State::Active);
}

#[tokio::test]
async fn an_expired_job_receives_nothing() {
    let mut server = Server::start().await;
    let now = server.clock.now();
    server.acme.send(&server.client, server.acme.upload(now)).await.unwrap();
    let expire_time = Some(crate::world::stamp(now + TimeDelta::days(2)));
    let job = active_job(&server.client, TrainingJobSpec { expire_time, ..server.acme.spec(now) }).await;
    let list = snapshot(&server.client, &job).await;
    assert_eq!(list.expire_time, expire_time);
    server.clock.advance(TimeDelta::days(2) - TimeDelta::seconds(1));
    assert_eq!(Epoch::read(&server.client, whole(&list)).await.unwrap().faces().len(), 1);
    server.clock.advance(TimeDelta::seconds(1));
    assert_eq!(state(&server.client, &job).await, State::Expired);
    refused(try_snapshot(&server.client, &job).await, Code::FailedPrecondition, "JOB_NOT_ACTIVE");
    let answer = server.client.training(WORKLOAD).fetch_records(whole(&list)).await;
    refused(answer, Code::FailedPrecondition, "JOB_NOT_ACTIVE");
}

#[tokio::test]
async fn what_could_not_be_approved_is_not_created() {
    let server = Server::start().await;
    let create = |spec| {
        let request = CreateTrainingJobRequest { request_id: Uuid::new_v4().to_string(), spec, validate_only: false };
        let client = server.client.clone();
        async move { client.training(REQUESTER).create_training_job(request).await }
    };
    let cases = [
        Case("spec.purpose", |spec| spec.purpose = 1),
        Case("spec.categories", |spec| spec.categories.clear()),
        Case("spec.tenants", |spec| spec.tenants.clear()),
        Case("spec.jurisdictions", |spec| spec.jurisdictions = vec!["sg".to_owned()]),
        Case("spec.workloads", |spec| spec.workloads = vec![spiffe_id(OFFICER)]),
        Case("spec.max_records", |spec| spec.max_records = 0),
        Case("spec.expire_time", |spec| spec.expire_time.as_mut().unwrap().seconds += 1),
        Case("spec.legal_entity", |spec| spec.legal_entity.clear()),
    ];
    for Case(field, spoil) in cases {
        let mut spec = server.acme.spec(server.clock.now());
        spoil(&mut spec);
        invalid(create(Some(spec)).await, field);
    }
    invalid(create(None).await, "spec.purpose");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let server = Server::start().await;
    let mut training = server.client.training(REQUESTER);
    let name = format!("trainingJobs/{}", Uuid::now_v7());
    refused(training.get_training_job(GetTrainingJobRequest { name: name.clone() }).await, Code::NotFound, "NOT_FOUND");
    let submit = SubmitTrainingJobRequest { name: name.clone() };
    refused(training.submit_training_job(submit).await, Code::NotFound, "NOT_FOUND");
    let job = active_job(&server.client, server.acme.spec(server.clock.now())).await;
    let another = active_job(&server.client, server.acme.spec(server.clock.now())).await;
    let list = snapshot(&server.client, &another).await;
    let own = training.get_snapshot(GetSnapshotRequest { name: list.name.clone() }).await.unwrap();
    assert_eq!(own.into_inner().snapshot, Some(list.clone()));
    let foreign = list.name.replace(&another.name, &job.name);
    refused(training.get_snapshot(GetSnapshotRequest { name: foreign }).await, Code::NotFound, "NOT_FOUND");
    invalid(training.get_snapshot(GetSnapshotRequest { name: job.name }).await, "name");
}
