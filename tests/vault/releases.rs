//! Who received what, while records live and when they are gone; and what a job would receive, before it is one.

use chrono::TimeDelta;
use idvault::proto::eligibility::{Exclusion, Reason};
use idvault::proto::{
    Category, CreateTrainingJobRequest, Eligibility, EraseSubjectRequest, ListReleasesRequest, ListTrainingJobsRequest, Purpose,
    Record, Release, TrainingJobSpec,
};
use serde_json::json;
use tonic::Code::{NotFound, PermissionDenied};

use crate::client::{MODEL_OWNER, OFFICER, OPERATOR, REQUESTER, WORKLOAD, invalid, refused};
use crate::server::{Server, eventually};
use crate::stream::{Epoch, whole};
use crate::world::{Provider, active_job, grant, snapshot, stamp};

async fn releases(server: &Server, who: &str, parent: &str, subject_ref: &str) -> Vec<Release> {
    let request =
        ListReleasesRequest { parent: parent.to_owned(), subject_ref: subject_ref.to_owned(), ..ListReleasesRequest::default() };
    server.client.training(who).list_releases(request).await.unwrap().into_inner().releases
}

/// A job that has received all that it may.
async fn fetch_all(server: &Server, spec: TrainingJobSpec) -> String {
    let job = active_job(&server.client, spec).await;
    let snapshot = snapshot(&server.client, &job).await;
    Epoch::read(&server.client, whole(&snapshot)).await.unwrap();
    job.name
}

async fn record_of(server: &Server, subject: &str) -> Record {
    let now = server.clock.now();
    let mut claims = server.acme.claims(now);
    claims["subject_ref"] = json!(subject);
    server.acme.send(&server.client, server.acme.upload_under(server.acme.sign(&claims), now)).await.unwrap()
}

fn release(record: &Record, jobs: &[&String]) -> Release {
    let mut training_jobs: Vec<_> = jobs.iter().map(|job| (*job).clone()).collect();
    training_jobs.sort();
    Release { record: record.name.clone(), training_jobs, expire_time: record.expire_time, record_count: 1 }
}

#[tokio::test]
async fn who_received_a_record_is_known_after_it_is_gone() {
    let mut server = Server::start().await;
    let [shredded, withdrawn, erased, expired] = [
        record_of(&server, "a").await,
        record_of(&server, "b").await,
        record_of(&server, "c").await,
        record_of(&server, "d").await,
    ];
    let faces = fetch_all(&server, server.acme.spec(server.clock.now())).await;
    let documents = fetch_all(&server, server.acme.ocr_spec(server.clock.now())).await;
    let unseen = record_of(&server, "a").await;
    let all = [("a", &shredded), ("b", &withdrawn), ("c", &erased), ("d", &expired)];
    let is_known = async |server: &Server| {
        for (subject, record) in all {
            let wanted = [release(record, &[&faces, &documents])];
            for who in [OFFICER, "tenant/acme"] {
                assert_eq!(releases(server, who, &record.name, "").await, wanted, "{subject}");
                assert_eq!(releases(server, who, "tenants/acme", subject).await, wanted, "{subject}");
            }
        }
        assert_eq!(releases(server, OFFICER, &unseen.name, "").await, [], "released to nobody");
        assert_eq!(releases(server, OFFICER, "tenants/acme", "e").await, []);
        let by_hour = Release { record: String::new(), record_count: 4, ..release(&shredded, &[&faces]) };
        assert_eq!(releases(server, MODEL_OWNER, &faces, "").await, [by_hour]);
    };
    is_known(&server).await;
    server.acme.shred(&server.client, &shredded).await.unwrap();
    server.acme.withdraw(&server.client, &withdrawn, &[]).await.unwrap();
    let erase = EraseSubjectRequest { parent: server.acme.name(), subject_ref: "c".to_owned() };
    server.client.consents(OFFICER).erase_subject(erase).await.unwrap();
    is_known(&server).await;
    server.clock.advance(TimeDelta::days(31));
    eventually(async || server.acme.status(&server.client).await.live_record_count == 0).await;
    let mut server = server.restart().await;
    is_known(&server).await;
    // Two years and a month after the last of them nothing is known any more.
    for _ in 0..26 {
        server.clock.advance(TimeDelta::days(31));
        let now = server.clock.now();
        eventually(async || crate::world::time(server.acme.status(&server.client).await.trusted_time) >= now).await;
    }
    eventually(async || releases(&server, OFFICER, "tenants/acme", "a").await.is_empty()).await;
    assert_eq!(releases(&server, OFFICER, &expired.name, "").await, []);
}

#[tokio::test]
async fn what_a_job_received_is_counted_by_hour() {
    let mut server = Server::start().await;
    for _ in 0..3 {
        record_of(&server, "a").await;
        server.clock.advance(TimeDelta::hours(2));
    }
    let job = fetch_all(&server, server.acme.spec(server.clock.now())).await;
    let (mut counts, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListReleasesRequest { parent: job.clone(), page_size: 1, page_token, subject_ref: String::new() };
        let page = server.client.training(REQUESTER).list_releases(request).await.unwrap().into_inner();
        counts.extend(page.releases.into_iter().map(|release| (release.training_jobs, release.record_count)));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(counts, vec![(vec![job], 1); 3]);
}

#[tokio::test]
async fn releases_are_asked_for_by_those_whom_they_concern() {
    let server = Server::start().await;
    Provider::new("rival").create(&server.client).await;
    let record = record_of(&server, "a").await;
    let job = fetch_all(&server, server.acme.spec(server.clock.now())).await;
    let ask = |parent: &str, subject_ref: &str| ListReleasesRequest {
        parent: parent.to_owned(),
        subject_ref: subject_ref.to_owned(),
        ..ListReleasesRequest::default()
    };
    for (who, parent, subject) in [
        ("tenant/acme", job.as_str(), ""),
        (OPERATOR, &job, ""),
        (WORKLOAD, &job, ""),
        (REQUESTER, "tenants/rival/x", ""),
        ("tenant/rival", &record.name, ""),
        ("tenant/rival", "tenants/acme", "a"),
        (MODEL_OWNER, &record.name, ""),
        (OPERATOR, "tenants/acme", "a"),
    ] {
        // Rita is a privacy officer too: she may ask, and is told that this is no name.
        let answer = server.client.training(who).list_releases(ask(parent, subject)).await;
        if who == REQUESTER {
            invalid(answer, "parent");
        } else {
            refused(answer, PermissionDenied, "CALLER_NOT_ALLOWED");
        }
    }
    invalid(server.client.training(OFFICER).list_releases(ask("tenants/acme", "")).await, "parent");
    invalid(server.client.training(OFFICER).list_releases(ask(&record.name, "a")).await, "parent");
    invalid(server.client.training(OFFICER).list_releases(ask(&job, "a")).await, "subject_ref");
    let missing = format!("trainingJobs/{}", uuid::Uuid::now_v7());
    refused(server.client.training(OFFICER).list_releases(ask(&missing, "")).await, NotFound, "NOT_FOUND");
    refused(server.client.training(OFFICER).list_releases(ask("tenants/nobody", "a")).await, NotFound, "NOT_FOUND");
}

async fn validate(server: &Server, spec: TrainingJobSpec) -> Eligibility {
    let request = CreateTrainingJobRequest { request_id: String::new(), spec: Some(spec), validate_only: true };
    let answer = server.client.training(REQUESTER).create_training_job(request).await.unwrap().into_inner();
    let job = answer.training_job.unwrap();
    assert!(job.name.is_empty() && job.spec_sha256.len() == 32);
    answer.eligibility.unwrap()
}

#[tokio::test]
async fn a_job_can_be_tried_before_it_is_asked_for() {
    let server = Server::start().await;
    let now = server.clock.now();
    let [_, withdrawn, other] = [record_of(&server, "a").await, record_of(&server, "b").await, record_of(&server, "c").await];
    server.acme.withdraw(&server.client, &withdrawn, &[Purpose::TrainFaceMatch]).await.unwrap();
    server.acme.withdraw(&server.client, &other, &[Purpose::TrainDocumentOcr]).await.unwrap();
    let mut claims = server.acme.claims(now);
    claims["jurisdiction"] = json!("HK");
    claims["grants"] = json!([grant("TRAIN_LIVENESS", &["FACE_IMAGE", "DOCUMENT_FRONT", "NAME", "ID_NUMBER"])]);
    server.acme.send(&server.client, server.acme.upload_under(server.acme.sign(&claims), now)).await.unwrap();
    let excluded = |reason: Reason, record_count| Exclusion { reason: reason.into(), record_count };
    let found = validate(&server, server.acme.spec(now)).await;
    assert_eq!((found.record_count, found.size_bytes), (2, 6_000));
    let wanted = [
        excluded(Reason::ConsentWithdrawn, 1),
        excluded(Reason::JurisdictionNotAsked, 1),
        excluded(Reason::PurposeNotGranted, 1),
    ];
    assert_eq!(found.exclusions, wanted);
    let elsewhere = TrainingJobSpec { region: "eu-1".to_owned(), ..server.acme.spec(now) };
    let found = validate(&server, elsewhere).await;
    assert_eq!((found.record_count, found.exclusions[2]), (0, excluded(Reason::PurposeNotGranted, 1)));
    assert_eq!(found.exclusions[3], excluded(Reason::DestinationNotGranted, 3));
    let later = TrainingJobSpec {
        uploaded_from: Some(stamp(now + TimeDelta::hours(1))),
        categories: vec![Category::LivenessVideo.into()],
        ..server.acme.spec(now)
    };
    let reasons: Vec<_> = validate(&server, later).await.exclusions.iter().map(Exclusion::reason).collect();
    assert!(reasons.contains(&Reason::UploadTimeNotAsked) && reasons.contains(&Reason::CategoryNotGranted));
    // What was found is what a job then gets, and nothing was made of trying.
    let jobs = server.client.training(OFFICER).list_training_jobs(ListTrainingJobsRequest::default()).await.unwrap();
    assert_eq!(jobs.into_inner().training_jobs, []);
    let job = active_job(&server.client, server.acme.spec(now)).await;
    assert_eq!(snapshot(&server.client, &job).await.position_count, 2);
    let invalid_spec = TrainingJobSpec { max_records: 0, ..server.acme.spec(now) };
    let request = CreateTrainingJobRequest { request_id: String::new(), spec: Some(invalid_spec), validate_only: true };
    invalid(server.client.training(REQUESTER).create_training_job(request).await, "spec.max_records");
}
