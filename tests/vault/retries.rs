//! Retries and races: the same request is the same thing however often it is sent, and two requests are never one.

use chrono::TimeDelta;
use idvault::proto::{CreateRecordRequest, CreateSnapshotRequest, CreateTrainingJobRequest, Purpose, Record};
use tonic::{Code, Response, Status};
use uuid::Uuid;

use crate::client::{REQUESTER, WORKLOAD, reason_of, refused};
use crate::server::{Server, together};
use crate::world::{active_job, face};

/// How many calls race.
const RACERS: usize = 8;

/// Sends these uploads at once, each over a connection of its own.
async fn race(server: &Server, uploads: Vec<CreateRecordRequest>) -> Vec<Result<Record, Status>> {
    let mut senders = Vec::new();
    for upload in uploads {
        let (client, acme) = (server.connect().await, server.acme.clone());
        senders.push(async move { acme.send(&client, upload).await });
    }
    together(senders).await
}

#[tokio::test]
async fn an_upload_sent_many_times_at_once_is_one_record() {
    let server = Server::start().await;
    for _ in 0..4 {
        let before = server.acme.status(&server.client).await.live_record_count;
        let upload = server.acme.upload(server.clock.now());
        let records = race(&server, vec![upload; RACERS]).await;
        let first = records[0].as_ref().unwrap();
        assert!(records.iter().all(|record| record.as_ref().unwrap() == first));
        assert_eq!(server.acme.status(&server.client).await.live_record_count, before + 1);
    }
}

#[tokio::test]
async fn of_two_uploads_of_one_call_exactly_one_wins() {
    let server = Server::start().await;
    for round in 0..4 {
        let mut uploads: Vec<_> = (0..RACERS).map(|_| server.acme.upload(server.clock.now())).collect();
        for upload in &mut uploads {
            upload.header.as_mut().unwrap().call_id = format!("call-{round}");
        }
        let outcomes = race(&server, uploads).await;
        let losers: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert_eq!(losers.len(), RACERS - 1);
        for loser in losers {
            assert_eq!(reason_of(loser), (Code::AlreadyExists, "CALL_ID_EXISTS".to_owned()));
        }
        assert_eq!(server.acme.status(&server.client).await.live_record_count, round + 1);
    }
}

#[tokio::test]
async fn a_call_id_is_free_again_when_its_record_is_gone() {
    let server = Server::start().await;
    let now = server.clock.now();
    let (first, mut second) = (server.acme.upload(now), server.acme.upload(now));
    second.header.as_mut().unwrap().call_id.clone_from(&first.header.as_ref().unwrap().call_id);
    let record = server.acme.send(&server.client, first).await.unwrap();
    let answer = server.client.records("tenant/acme").create_record(second.clone()).await;
    refused(answer, Code::AlreadyExists, "CALL_ID_EXISTS");
    server.acme.shred(&server.client, &record).await.unwrap();
    server.acme.send(&server.client, second).await.unwrap();
}

#[tokio::test]
async fn a_retry_gets_the_first_answer_for_a_day_also_after_a_restart() {
    let mut server = Server::start().await;
    let upload = server.acme.upload(server.clock.now());
    let record = server.acme.send(&server.client, upload.clone()).await.unwrap();
    server.acme.withdraw(&server.client, &record, &[Purpose::TrainFaceMatch]).await.unwrap();
    assert_eq!(server.acme.send(&server.client, upload.clone()).await.unwrap(), record, "what was withdrawn since is no matter");
    server.clock.advance(TimeDelta::hours(24) - TimeDelta::seconds(1));
    let server = server.restart().await;
    assert_eq!(server.acme.send(&server.client, upload.clone()).await.unwrap(), record);
    server.acme.shred(&server.client, &record).await.unwrap();
    let answer = server.client.records("tenant/acme").create_record(upload).await;
    refused(answer, Code::NotFound, "RECORD_GONE");
}

#[tokio::test]
async fn a_request_id_means_one_thing() {
    let server = Server::start().await;
    let upload = server.acme.upload(server.clock.now());
    server.acme.send(&server.client, upload.clone()).await.unwrap();
    let changes: [fn(&mut CreateRecordRequest); 5] = [
        |upload| upload.header.as_mut().unwrap().call_id.push('x'),
        |upload| upload.header.as_mut().unwrap().collect_time.as_mut().unwrap().seconds -= 1,
        |upload| upload.parts[0] = face(2, 3_000),
        |upload| upload.attributes.as_mut().unwrap().surname.push('X'),
        |upload| upload.parts.truncate(1),
    ];
    for change in changes {
        let mut other = upload.clone();
        change(&mut other);
        let answer = server.client.records("tenant/acme").create_record(other).await;
        refused(answer, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
    let mut other = server.acme.upload(server.clock.now());
    other.header.as_mut().unwrap().request_id = upload.header.unwrap().request_id;
    let answer = server.client.records("tenant/acme").create_record(other).await;
    refused(answer, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_job_created_many_times_at_once_is_one_job() {
    let server = Server::start().await;
    let request_id = Uuid::new_v4().to_string();
    let request = CreateTrainingJobRequest { request_id, spec: Some(server.acme.spec(server.clock.now())), validate_only: false };
    let create = |request: CreateTrainingJobRequest| {
        let client = server.client.clone();
        async move { client.training(REQUESTER).create_training_job(request).await.map(Response::into_inner) }
    };
    let jobs = together((0..RACERS).map(|_| create(request.clone()))).await;
    let first = jobs[0].as_ref().unwrap();
    assert!(jobs.iter().all(|job| job.as_ref().unwrap() == first));
    let mut other = request;
    other.spec.as_mut().unwrap().max_records += 1;
    refused(server.client.training(REQUESTER).create_training_job(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn a_snapshot_created_many_times_at_once_is_one_snapshot() {
    let server = Server::start().await;
    let now = server.clock.now();
    let [job, another] =
        [active_job(&server.client, server.acme.spec(now)).await, active_job(&server.client, server.acme.spec(now)).await];
    let request = CreateSnapshotRequest { parent: job.name, request_id: Uuid::new_v4().to_string() };
    let create = |request: CreateSnapshotRequest| {
        let client = server.client.clone();
        async move { client.training(WORKLOAD).create_snapshot(request).await.map(Response::into_inner) }
    };
    let snapshots = together((0..RACERS).map(|_| create(request.clone()))).await;
    let first = snapshots[0].as_ref().unwrap();
    assert!(snapshots.iter().all(|snapshot| snapshot.as_ref().unwrap() == first));
    server.acme.send(&server.client, server.acme.upload(now)).await.unwrap();
    assert_eq!(create(request.clone()).await.as_ref().unwrap(), first, "the list is frozen");
    let other = CreateSnapshotRequest { parent: another.name, ..request };
    refused(server.client.training(WORKLOAD).create_snapshot(other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
}
