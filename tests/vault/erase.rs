//! Erasing a person, and revoking a job: what was said before does not come back, what streams ends.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use idvault::proto::consent::State as ConsentState;
use idvault::proto::training_job::State;
use idvault::proto::{
    Destruction, EraseSubjectRequest, FetchRecordsRequest, GetConsentRequest, GetTrainingJobRequest, RegisterConsentRequest,
    RevokeTrainingJobRequest, TrainingJob,
};
use serde_json::{Value, json};
use tonic::{Code, Response, Status};

use crate::client::{Client, DEPUTY, MODEL_OWNER, OFFICER, WORKLOAD, invalid, reason_of, refused};
use crate::server::Server;
use crate::stream::{Epoch, whole};
use crate::world::{active_job, approve, pending_job, snapshot, snapshot_of};

async fn erase(server: &Server, who: &str, subject: &str) -> Result<Response<Destruction>, Status> {
    let request = EraseSubjectRequest { parent: server.acme.name(), subject_ref: subject.to_owned() };
    let answer = server.client.consents(who).erase_subject(request).await?;
    Ok(answer.map(|answer| answer.destruction.unwrap()))
}

/// The claims of a person's yes at this time.
fn said(server: &Server, subject: &str, time: DateTime<Utc>) -> Value {
    let mut claims = server.acme.claims(server.clock.now());
    claims["subject_ref"] = json!(subject);
    claims["event"]["time"] = json!(time.to_rfc3339_opts(SecondsFormat::Secs, true));
    claims
}

#[tokio::test]
async fn a_person_is_erased_in_one_commit_and_does_not_come_back() {
    let mut server = Server::start().await;
    let (client, before) = (server.client.clone(), server.clock.now() - TimeDelta::minutes(1));
    let mut records = Vec::new();
    for subject in ["anna", "anna", "ben"] {
        let receipt = server.acme.sign(&said(&server, subject, before));
        let upload = server.acme.upload_under(receipt, server.clock.now());
        records.push((upload.clone(), server.acme.send(&client, upload).await.unwrap()));
    }
    // A yes that is registered and has no records, and one that waits to be sent.
    let unused = server.acme.sign(&said(&server, "anna", before));
    let register = RegisterConsentRequest { parent: server.acme.name(), receipt: unused };
    let unused = client.consents("tenant/acme").register_consent(register).await.unwrap().into_inner();
    let waiting = server.acme.sign(&said(&server, "anna", before));

    let generation = server.acme.status(&client).await.keyring_generation;
    assert_eq!(erase(&server, "tenant/acme", "anna").await.unwrap().get_ref().record_count, 2);
    assert_eq!(server.acme.status(&client).await.keyring_generation, generation + 1, "one commit");
    assert_eq!(server.acme.status(&client).await.live_record_count, 1, "Ben stays");
    for name in [&records[0].1.consent, &records[1].1.consent, &unused.consent.unwrap().name] {
        let request = GetConsentRequest { name: name.clone() };
        let consent = client.consents(OFFICER).get_consent(request).await.unwrap().into_inner().consent.unwrap();
        assert_eq!(consent.state(), ConsentState::Withdrawn);
    }
    // Again, by somebody else: nothing is left to do.
    assert_eq!(erase(&server, DEPUTY, "anna").await.unwrap().get_ref().record_count, 0);

    server.clock.advance(TimeDelta::minutes(10));
    server = server.restart().await;
    let client = server.client.clone();
    let upload = |receipt: String| server.acme.upload_under(receipt, server.clock.now());
    let sent = client.records("tenant/acme").create_record(upload(waiting.clone())).await;
    refused(sent, Code::FailedPrecondition, "CONSENT_WITHDRAWN");
    let register = RegisterConsentRequest { parent: server.acme.name(), receipt: waiting };
    let registered = client.consents("tenant/acme").register_consent(register).await;
    refused(registered, Code::FailedPrecondition, "CONSENT_WITHDRAWN");
    let retried = client.records("tenant/acme").create_record(records[0].0.clone()).await;
    refused(retried, Code::NotFound, "RECORD_GONE");
    // A new yes is a new yes; and Ben was never asked.
    for (subject, time) in [("anna", server.clock.now()), ("ben", before)] {
        let receipt = server.acme.sign(&said(&server, subject, time));
        server.acme.send(&client, upload(receipt)).await.unwrap();
    }
}

#[tokio::test]
async fn somebody_unknown_can_be_erased_ahead() {
    let server = Server::start().await;
    assert_eq!(erase(&server, OFFICER, "carl").await.unwrap().get_ref().record_count, 0);
    let receipt = server.acme.sign(&said(&server, "carl", server.clock.now() - TimeDelta::minutes(1)));
    let upload = server.acme.upload_under(receipt, server.clock.now());
    let sent = server.client.records("tenant/acme").create_record(upload).await;
    refused(sent, Code::FailedPrecondition, "CONSENT_WITHDRAWN");
    invalid(erase(&server, OFFICER, "").await, "subject_ref");
    invalid(erase(&server, OFFICER, &"x".repeat(129)).await, "subject_ref");
    let nobody = EraseSubjectRequest { parent: "tenants/nobody".to_owned(), subject_ref: "carl".to_owned() };
    refused(server.client.consents(OFFICER).erase_subject(nobody).await, Code::NotFound, "NOT_FOUND");
}

async fn revoke(client: &Client, who: &str, job: &TrainingJob, reason: &str) -> Result<Response<TrainingJob>, Status> {
    let request = RevokeTrainingJobRequest { name: job.name.clone(), reason: reason.to_owned() };
    Ok(client.training(who).revoke_training_job(request).await?.map(|answer| answer.training_job.unwrap()))
}

#[tokio::test]
async fn a_revoked_job_ends_its_open_stream_within_a_message() {
    let server = Server::start().await;
    let client = &server.client;
    for mark in 0..8 {
        let upload = server.acme.upload_face(mark, 900_000, server.clock.now());
        server.acme.send(client, upload).await.unwrap();
    }
    let list = snapshot_of(client, server.acme.spec(server.clock.now())).await;
    let job = TrainingJob { name: list.name.split("/snapshots/").next().unwrap().to_owned(), ..TrainingJob::default() };
    let mut epoch = Epoch::open(client, whole(&list)).await.unwrap();
    assert!(epoch.read_one().await.unwrap());
    let revoked = revoke(client, MODEL_OWNER, &job, "the model was given up").await.unwrap().into_inner();
    assert_eq!((revoked.state(), revoked.revocation.unwrap().reason), (State::Revoked, "the model was given up".to_owned()));
    let mut more = 0;
    let end = loop {
        match epoch.read_one().await {
            Ok(true) => more += 1,
            Ok(false) => panic!("the stream came to its end"),
            Err(end) => break end,
        }
    };
    // What was handed over before is on its way; of the rest nothing is made.
    assert!(more <= 2, "{more} messages more");
    assert_eq!(reason_of(&end), (Code::FailedPrecondition, "JOB_NOT_ACTIVE".to_owned()));
    assert_eq!(end.message(), "the job was revoked: the model was given up");
    let again = client.training(WORKLOAD).fetch_records(FetchRecordsRequest { start_position: 1, ..whole(&list) }).await;
    refused(again, Code::FailedPrecondition, "JOB_NOT_ACTIVE");
}

#[tokio::test]
async fn one_approver_revokes_for_good() {
    let mut server = Server::start().await;
    let client = server.client.clone();
    let pending = pending_job(&client, server.acme.spec(server.clock.now())).await;
    let active = active_job(&client, server.acme.spec(server.clock.now())).await;
    let list = snapshot(&client, &active).await;
    for job in [&pending, &active] {
        let first = revoke(&client, OFFICER, job, "a doubt").await.unwrap().into_inner();
        // Again changes nothing, whoever says it and why.
        assert_eq!(revoke(&client, MODEL_OWNER, job, "another").await.unwrap().into_inner(), first);
    }
    server = server.restart().await;
    let client = server.client.clone();
    let shown = client.training(WORKLOAD).get_training_job(GetTrainingJobRequest { name: active.name.clone() }).await;
    assert_eq!(shown.unwrap().into_inner().training_job.unwrap().state(), State::Revoked);
    let late = approve(&client, &pending, OFFICER, idvault::proto::ApproverRole::PrivacyOfficer).await.unwrap_err();
    assert_eq!(reason_of(&late).1, "JOB_STATE_INVALID");
    refused(client.training(WORKLOAD).fetch_records(whole(&list)).await, Code::FailedPrecondition, "JOB_NOT_ACTIVE");
    for reason in ["", "a\nline", &"x".repeat(257)] {
        invalid(revoke(&client, OFFICER, &active, reason).await, "reason");
    }
    let nothing = TrainingJob { name: format!("trainingJobs/{}", uuid::Uuid::nil()), ..TrainingJob::default() };
    refused(revoke(&client, OFFICER, &nothing, "why").await, Code::NotFound, "NOT_FOUND");
    let expired = active_job(&client, server.acme.spec(server.clock.now())).await;
    server.clock.advance(TimeDelta::days(31));
    refused(revoke(&client, OFFICER, &expired, "late").await, Code::FailedPrecondition, "JOB_STATE_INVALID");
}
